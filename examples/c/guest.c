#include <addrspace.h>
#include <inttypes.h>
#include <stdio.h>

/* The host makes each change of memory; this one only says what it would call. */
static int host(const addrspace_update *update, void *user) {
    static const char *const calls[] = {"mmap", "munmap", "mprotect"};
    (void)user;
    printf("%-8s %#" PRIx64 "..=%#" PRIx64 "\n", calls[update->kind], update->start, update->last);
    return 0;
}

int main(void) {
    addrspace *guest;
    addrspace_mapping memory = ADDRSPACE_MAPPING_INIT;
    uint64_t heap;
    char why[100];

    if (addrspace_create(0x10000, 1u << 30, 4096, &guest) != ADDRSPACE_OK)
        return 1;
    memory.prot = 1 | 2; /* PROT_READ | PROT_WRITE */
    if (addrspace_map_any(guest, 0x5000, &memory, NULL, host, NULL, &heap) != ADDRSPACE_OK)
        return 1;
    addrspace_protect(guest, heap, 0x1000, 0, host, NULL);
    if (addrspace_unmap(guest, heap, UINT64_MAX, host, NULL) != ADDRSPACE_OK) {
        addrspace_error_message(guest, why, sizeof why);
        printf("refused: %s\n", why);
    }
    addrspace_unmap_non_original(guest, host, NULL);
    addrspace_destroy(guest);
    return 0;
}
