/*
 * A sandbox runtime that was written for libmmap, linked with addrspace.
 *
 *     cc -o libmmap examples/c/libmmap.c $(pkg-config --cflags --libs addrspace)
 *
 * Guests run one after the other in a box of real memory. A program is loaded once and
 * marked; what a guest maps goes when it ends, and the next one finds the box as it was
 * after loading. The books decide, the callbacks make the calls.
 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS, MAP_NORESERVE */
#include <mmap_c.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FAILED ((uintptr_t)-1)

struct box {
    struct MMapAddrSpace *mm;
    uintptr_t base;
    size_t size, page;
};

static void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "libmmap: %s\n", what);
        exit(1);
    }
}

/* What is unmapped stays the box's own: without access, and without memory. */
static void give_back(uintptr_t start, size_t len, struct MMapInfo info, void *udata) {
    const struct box *box = (const struct box *)udata;
    int flags = MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    must(mmap((void *)start, len, PROT_NONE, flags, -1, 0) != MAP_FAILED, "give back");
    printf("    gives back %2zu pages at +%#05zx, prot %d\n", len / box->page,
           (size_t)(start - box->base), info.prot);
}

/* The callback hears what was there; what is to be comes with udata. */
static void set_prot(uintptr_t start, size_t len, struct MMapInfo info, void *udata) {
    const int *prot = (const int *)udata;
    (void)info;
    must(mprotect((void *)start, len, *prot) == 0, "set the protection");
}

static struct box make_box(size_t pages) {
    struct box box;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *base;
    box.page = (size_t)sysconf(_SC_PAGESIZE);
    box.size = pages * box.page;
    base = mmap(NULL, box.size, PROT_NONE, flags, -1, 0);
    must(base != MAP_FAILED, "reserve the box");
    box.base = (uintptr_t)base;
    box.mm = mmap_create(box.base, box.size, box.page);
    must(box.mm != NULL, "make the books");
    return box;
}

/* Makes real what the books have mapped at `addr`, and answers that. */
static uintptr_t back(uintptr_t addr, size_t len, int prot) {
    int flags = MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS;
    if (addr != FAILED)
        must(mmap((void *)addr, len, prot, flags, -1, 0) != MAP_FAILED, "map memory");
    return addr;
}

/* The calls of a guest. Every number may be wrong: the books refuse it before anything
   is done, and the guest sees their answer. */

static uintptr_t guest_mmap(struct box *box, size_t len, int prot) {
    return back(mmap_map_any(box->mm, 0, len, prot, 0, -1, 0), len, prot);
}

static uintptr_t guest_mmap_fixed(struct box *box, uintptr_t addr, size_t len, int prot) {
    /* Nobody has to hear what is replaced: the kernel replaces it as well. */
    addr = mmap_map_at(box->mm, addr, len, prot, 0, -1, 0, NULL, NULL);
    return back(addr, len, prot);
}

static int guest_munmap(struct box *box, uintptr_t addr, size_t len) {
    return mmap_unmap(box->mm, addr, len, give_back, box);
}

static int guest_mprotect(struct box *box, uintptr_t addr, size_t len, int prot) {
    return mmap_protect(box->mm, addr, len, prot, set_prot, &prot);
}

/* A column for each page: '.' not mapped, else its protection; in brackets what is
   original. */
static void show(const struct box *box, const char *when) {
    size_t at;
    printf("%-8s", when);
    for (at = 0; at < box->size; at += box->page) {
        struct MMapInfo info;
        if (!mmap_query_page(box->mm, box->base + at, &info))
            printf(" . ");
        else
            printf(info.original ? "[%d]" : " %d ", info.prot);
    }
    printf("\n");
}

static void load(struct box *box) {
    const int rw = PROT_READ | PROT_WRITE;
    uintptr_t text = guest_mmap(box, 3 * box->page, rw);
    must(text == box->base, "the lowest place comes first");
    strcpy((char *)text, "program");
    must(guest_mprotect(box, text, 3 * box->page, PROT_READ) == MMAP_OK, "protect the text");
    must(guest_mmap(box, 2 * box->page, rw) != FAILED, "map the data");
    mmap_mark_original(box->mm);
}

/* A guest that works, and tries what it should not. */
static void run(struct box *box, const char *name) {
    const int rw = PROT_READ | PROT_WRITE;
    uintptr_t heap = guest_mmap(box, 4 * box->page, rw);
    uintptr_t stack = box->base + box->size - 3 * box->page;
    must(heap != FAILED && ((char *)heap)[0] == 0, "a guest's memory is fresh");
    strcpy((char *)heap, name);
    must(guest_mmap_fixed(box, stack, 3 * box->page, rw) == stack, "map the stack");
    must(guest_mprotect(box, stack, box->page, PROT_NONE) == MMAP_OK, "guard the stack");
    must(guest_munmap(box, heap + 2 * box->page, box->page) == MMAP_OK, "unmap some heap");

    must(guest_mmap(box, SIZE_MAX, rw) == FAILED, "a length beyond the box");
    must(guest_munmap(box, heap, 0) == MMAP_INVAL, "no length");
    must(guest_munmap(box, heap + 1, box->page) == MMAP_INVAL, "half a page");
    must(guest_munmap(box, stack, 4 * box->page) == MMAP_INVAL, "past the end");
    must(guest_mmap_fixed(box, 0, box->page, rw) == FAILED, "outside of the box");
    show(box, name);
}

int main(void) {
    struct box box = make_box(16);
    load(&box);
    show(&box, "loaded");
    run(&box, "first");
    mmap_unmap_non_original(box.mm, give_back, &box);
    show(&box, "reset");
    run(&box, "second");
    mmap_unmap_non_original(box.mm, give_back, &box);
    must(strcmp((const char *)box.base, "program") == 0, "the program is still there");

    /* Forgetting calls nobody: the memory goes with the box. */
    mmap_reset(box.mm);
    mmap_destroy(box.mm);
    must(munmap((void *)box.base, box.size) == 0, "take down the box");
    return 0;
}
