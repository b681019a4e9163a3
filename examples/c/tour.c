/*
 * The address space of a guest, kept by libaddrspace: what a host is asked to do, what the
 * books say, and what they say when the host refuses.
 */
#include <addrspace.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { READ = 1, WRITE = 2, EXEC = 4, PAGE = 4096, ENOMEM_OF_THE_HOST = 12 };

/* The host of a real guest calls mmap and its kin here; this one says what it would do. */
static int host(const addrspace_update *update, void *user) {
    static const char *const what[] = {"mmap", "munmap", "mprotect", "madvise", "mremap"};
    const uint64_t *refused_above = (const uint64_t *)user;
    addrspace_cursor cursor = ADDRSPACE_CURSOR_INIT;
    addrspace_region old = ADDRSPACE_REGION_INIT;
    printf("  %-8s %#8" PRIx64 "..=%#" PRIx64, what[update->kind], update->start,
           update->last);
    while (addrspace_update_next_piece(update, &cursor, &old) == ADDRSPACE_OK)
        printf("  [was %" PRIu32 " at %#" PRIx64 "]", old.prot, old.start);
    if (refused_above != NULL && update->last > *refused_above) {
        /* It has come half of the way: what is below is made, the rest is not. */
        addrspace_update_made_to(update, *refused_above);
        printf("  refused from %#" PRIx64 " on\n", *refused_above);
        return ENOMEM_OF_THE_HOST;
    }
    printf("\n");
    return 0;
}

static void check(const addrspace *space, addrspace_status status) {
    char text[160];
    if (status == ADDRSPACE_OK)
        return;
    addrspace_error_message(space, text, sizeof text);
    fprintf(stderr, "%s: %s\n", addrspace_status_text(status), text);
    exit(1);
}

static void print(const addrspace *space, const char *title) {
    addrspace_cursor cursor = ADDRSPACE_CURSOR_INIT;
    addrspace_region region = ADDRSPACE_REGION_INIT;
    printf("%s\n", title);
    while (addrspace_next_region(space, &cursor, &region) == ADDRSPACE_OK) {
        printf("  %#8" PRIx64 "..=%#-8" PRIx64 " %c%c%c%s", region.start, region.last,
               region.prot & READ ? 'r' : '-', region.prot & WRITE ? 'w' : '-',
               region.prot & EXEC ? 'x' : '-', region.original ? " original" : "");
        if (region.backing == ADDRSPACE_FILE)
            printf(" file %" PRIu32 " from %#" PRIx64, region.handle, region.offset);
        printf("\n");
    }
}

int main(void) {
    addrspace *space, *clean;
    addrspace_mapping program = ADDRSPACE_MAPPING_INIT, memory = ADDRSPACE_MAPPING_INIT;
    addrspace_placement high = ADDRSPACE_PLACEMENT_INIT;
    addrspace_usage usage = ADDRSPACE_USAGE_INIT;
    addrspace_error error = ADDRSPACE_ERROR_INIT;
    addrspace_remapping in_place = ADDRSPACE_REMAPPING_INIT;
    uint64_t heap, stack, limit;
    addrspace_status status;
    char text[160];

    status = addrspace_create(0x10000, 0x100000, PAGE, &space);
    if (status != ADDRSPACE_OK) {
        fprintf(stderr, "%s\n", addrspace_status_text(status));
        return 1;
    }

    printf("load\n");
    program.backing = ADDRSPACE_FILE;
    program.handle = 7; /* a number of ours for this file */
    program.prot = READ | EXEC;
    check(space, addrspace_map_at(space, 0x10000, 4 * PAGE, &program, host, NULL));
    memory.prot = READ | WRITE;
    high.policy = ADDRSPACE_HIGHEST;
    high.guard_below = PAGE;
    check(space, addrspace_map_any(space, 8 * PAGE, &memory, &high, host, NULL, &stack));
    check(space, addrspace_mark_original(space));
    check(space, addrspace_clone(space, &clean));

    printf("run\n");
    check(space, addrspace_map_any(space, 2 * PAGE, &memory, NULL, host, NULL, &heap));
    check(space, addrspace_remap(space, heap, 2 * PAGE, 5 * PAGE, &in_place, NULL, host, NULL,
                                 &heap));
    check(space, addrspace_protect(space, 0x11000, PAGE, READ | WRITE, host, NULL));
    print(space, "books");

    printf("a hostile guest\n");
    status = addrspace_unmap(space, UINT64_MAX - 5, 7, host, NULL);
    addrspace_error_message(space, text, sizeof text);
    printf("  %d: %s\n", status, text);

    printf("a host that cannot\n");
    limit = heap + 3 * PAGE;
    status = addrspace_unmap(space, heap, 5 * PAGE, host, &limit);
    check(space, addrspace_last_error(space, &error));
    addrspace_error_message(space, text, sizeof text);
    printf("  %d, from %#" PRIx64 " on nothing was done: %s\n", status, error.at, text);

    printf("back to the start\n");
    check(space, addrspace_unmap_non_original(space, host, NULL));
    check(space, addrspace_restore(space, clean, host, NULL));
    print(space, "books");
    check(space, addrspace_usage_of(space, &usage));
    printf("%" PRIu64 " KiB in %" PRIu64 " regions\n", usage.mapped / 1024, usage.regions);

    addrspace_destroy(clean);
    addrspace_destroy(space);
    return 0;
}
