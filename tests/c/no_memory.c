/*
 * What happens when there is no memory: a call fails as if it had not been made, and what
 * was told is recorded all the same.
 *
 *     no_memory [SEEDS]
 *
 * Linked with -Wl,--wrap=malloc,--wrap=realloc and a static library, so that the
 * allocations of the library, and only they, can be made to fail.
 */
#include "check.h"
#include "mmap_c.h"

#include <string.h>

#define PAGE ((size_t)0x1000)
#define BASE ((uintptr_t)0x100000)
#define FAILED ((uintptr_t)-1)
enum { PAGES = 4096, USED = 2048 };

#ifdef __cplusplus
extern "C" {
#endif
void *__real_malloc(size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *old, size_t size);

/* How many allocations succeed from now on; endlessly many if negative. */
static long left = -1;
static unsigned long refused;

static bool may(void) {
    if (left == 0) {
        refused += 1;
        return false;
    }
    left -= left > 0;
    return true;
}

void *__wrap_malloc(size_t size) {
    return may() ? __real_malloc(size) : NULL;
}

void *__wrap_realloc(void *old, size_t size) {
    return may() ? __real_realloc(old, size) : NULL;
}
#ifdef __cplusplus
}
#endif

/* The protection of each page, 0 for none, as the books should have it. */
struct model {
    struct MMapAddrSpace *mm;
    unsigned char prot[PAGES];
    bool original[PAGES];
    unsigned long told;
    int depth;
    unsigned long seed;
    size_t around;
    /* What mmap_protect will do when the callback has returned, if it calls back. */
    int protecting;
    size_t next_page, next_pages;
    bool next_original;
};

static unsigned long dice(struct model *model, unsigned long sides) {
    model->seed = model->seed * 6364136223846793005UL + 1442695040888963407UL;
    return (model->seed >> 33) % sides;
}

static size_t page_of(uintptr_t addr) {
    return (addr - BASE) / PAGE;
}

static void fill(struct model *model, size_t page, size_t pages, unsigned char prot) {
    memset(model->prot + page, prot, pages);
    memset(model->original + page, 0, pages);
}

/* Marks of pages that are not mapped do not matter. */
static void agree(const struct model *model) {
    size_t page;
    for (page = 0; page < PAGES; page++) {
        struct MMapInfo info;
        bool mapped = mmap_query_page(model->mm, BASE + page * PAGE, &info);
        CHECK(mapped == (model->prot[page] != 0));
        CHECK(!mapped || (info.prot == model->prot[page] &&
                          info.original == model->original[page]));
    }
}

/* A piece comes back as it was told, but for its protection. */
static void protect_next(struct model *model) {
    fill(model, model->next_page, model->next_pages, (unsigned char)model->protecting);
    memset(model->original + model->next_page, model->next_original, model->next_pages);
    model->next_pages = 0;
}

/* Uses up the memory that the books have set aside, far from where the call will be. */
static void drain(struct model *model) {
    size_t page;
    long before = left;
    left = 0;
    for (page = USED + 1; page < PAGES; page += 2) {
        if (model->prot[page] != 0)
            continue;
        if (mmap_map_at(model->mm, BASE + page * PAGE, PAGE, 1, 0, -1, 0, NULL, NULL) == FAILED)
            break;
        fill(model, page, 1, 1);
    }
    left = before;
}

static void map_or_unmap(struct model *model, size_t page, size_t pages) {
    uintptr_t addr = BASE + page * PAGE;
    unsigned char prot = (unsigned char)(1 + dice(model, 3));
    if (dice(model, 2) == 0) {
        if (mmap_map_at(model->mm, addr, pages * PAGE, prot, 0, -1, 0, NULL, NULL) != FAILED)
            fill(model, page, pages, prot);
    } else if (mmap_unmap(model->mm, addr, pages * PAGE, NULL, NULL) == MMAP_OK) {
        fill(model, page, pages, 0);
    }
}

/* Changes from within a callback, with the same lack of memory: they take the free places
   that the call around them counts on, free whole nodes there, and use those elsewhere. */
static void meddle(struct model *model) {
    size_t near = model->around < 16 ? 0 : model->around - 16, times = dice(model, 24);
    while (times-- > 0)
        map_or_unmap(model, near + dice(model, 96), dice(model, 4) == 0 ? 1 + dice(model, 8) : 1);
    if (dice(model, 3) == 0) {
        map_or_unmap(model, near, 112);
        drain(model);
    }
}

static void hear(uintptr_t start, size_t len, struct MMapInfo info, void *udata) {
    struct model *model = (struct model *)udata;
    model->told += 1;
    if (model->protecting != 0) {
        protect_next(model);
        model->next_page = page_of(start);
        model->next_pages = len / PAGE;
        model->next_original = info.original;
    }
    if (model->depth > 0 && model->told < 8)
        meddle(model);
}

/* Every page or every other one of a part is mapped, so that each edit may split a node. */
static struct model model_of(unsigned long seed) {
    struct model model;
    size_t page, filled;
    memset(&model, 0, sizeof model);
    model.seed = seed;
    model.mm = mmap_create(BASE, PAGES * PAGE, PAGE);
    CHECK(model.mm != NULL);
    filled = 10 + dice(&model, USED - 10);
    for (page = 0; page < filled; page += 1 + dice(&model, 2)) {
        unsigned char prot = (unsigned char)(1 + dice(&model, 3));
        CHECK(mmap_map_at(model.mm, BASE + page * PAGE, PAGE, prot, 0, -1, 0, NULL, NULL) !=
              FAILED);
        fill(&model, page, 1, prot);
    }
    drain(&model);
    return model;
}

/* Cuts the entry that comes next into pieces, and uses up the memory. */
static void cut_the_next(uintptr_t start, size_t len, struct MMapInfo info, void *udata) {
    struct model *model = (struct model *)udata;
    size_t page;
    (void)len;
    (void)info;
    if (model->told++ == 0)
        for (page = 4; page < 20; page += 2)
            CHECK(mmap_protect(model->mm, start + page * PAGE, PAGE, 2, NULL, NULL) == MMAP_OK);
    left = 0;
}

static void a_cleanup_is_done_whatever_memory_there_is(void) {
    struct model model;
    size_t page;
    memset(&model, 0, sizeof model);
    model.mm = mmap_create(BASE, PAGES * PAGE, PAGE);
    CHECK(mmap_map_at(model.mm, BASE, PAGE, 1, 0, -1, 0, NULL, NULL) == BASE);
    CHECK(mmap_map_at(model.mm, BASE + 3 * PAGE, 18 * PAGE, 1, 0, -1, 0, NULL, NULL) != FAILED);
    mmap_unmap_non_original(model.mm, cut_the_next, &model);
    left = -1;
    CHECK(model.told == 1 + 17); /* each piece, though they could not be listed */
    for (page = 0; page < PAGES; page++)
        CHECK(!mmap_query_page(model.mm, BASE + page * PAGE, NULL));
    mmap_destroy(model.mm);
}

static void a_space_needs_memory(void) {
    left = 0;
    CHECK(mmap_create(BASE, PAGE, PAGE) == NULL);
    left = -1;
}

/* One call, of which the allocations from the `fails`-th on fail. */
static bool step(unsigned long seed, long fails, int depth) {
    struct model model = model_of(seed);
    size_t page = dice(&model, USED - 128), pages = 1 + dice(&model, dice(&model, 2) ? 4 : 96);
    uintptr_t addr = BASE + page * PAGE;
    unsigned char prot = (unsigned char)(1 + dice(&model, 3));
    unsigned long verb = dice(&model, 4);
    bool done, told;
    if (dice(&model, 2) == 0) {
        mmap_mark_original(model.mm);
        memset(model.original, 1, sizeof model.original);
    }
    model.depth = depth;
    model.around = page;
    refused = 0;
    left = fails;
    if (verb == 0) {
        done = mmap_map_at(model.mm, addr, pages * PAGE, prot, 0, -1, 0, hear, &model) == addr;
        if (done)
            fill(&model, page, pages, prot);
    } else if (verb == 1) {
        enum MMapError error = mmap_unmap(model.mm, addr, pages * PAGE, hear, &model);
        CHECK(error == MMAP_OK || error == MMAP_NOMEM);
        done = error == MMAP_OK;
        if (done)
            fill(&model, page, pages, 0);
    } else if (verb == 2) {
        uintptr_t got = mmap_map_any(model.mm, 0, pages * PAGE, prot, 0, -1, 0);
        done = got != FAILED;
        if (done)
            fill(&model, page_of(got), pages, prot);
    } else {
        enum MMapError error;
        model.protecting = prot;
        error = mmap_protect(model.mm, addr, pages * PAGE, prot, hear, &model);
        CHECK(error == MMAP_OK || error == MMAP_NOMEM);
        done = error == MMAP_OK;
        protect_next(&model);
    }
    told = model.told > 0;
    CHECK(done || !told); /* what fails has told nobody */
    CHECK(done || refused > 0);
    left = -1;
    agree(&model);
    mmap_destroy(model.mm);
    return refused > 0;
}

int main(int argc, char **argv) {
    unsigned long seed, failures = 0, steps = 0;
    unsigned long seeds = argc > 1 ? strtoul(argv[1], NULL, 10) : 500;
    a_space_needs_memory();
    a_cleanup_is_done_whatever_memory_there_is();
    for (seed = 0; seed < seeds; seed++) {
        int depth;
        for (depth = 0; depth < 2; depth++) {
            long fails = 0;
            while (step(seed, fails, depth) && fails < 40) {
                fails += 1;
                failures += 1;
            }
            steps += 1;
        }
    }
    CHECK(failures > 100);
    printf("no_memory: %lu calls, %lu failures\n", steps, failures);
    return 0;
}
