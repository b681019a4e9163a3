/*
 * Replays what libmmap was seen to answer: results, callbacks, page states.
 *
 *     gzip -dc tests/data/capi_trace.txt.gz | golden
 *
 * A line is a call with its answer, after the callbacks that were seen:
 *
 *     new START LEN PAGESIZE
 *     aslr SEED
 *     any HINT LEN PROT FLAGS FD OFFSET [nocb] => ADDR [cb START LEN INFO]..
 *     at ADDR LEN PROT FLAGS FD OFFSET [nocb] => ADDR [cb START LEN INFO]..
 *     unmap ADDR LEN [nocb] => ERROR [cb START LEN INFO]..
 *     protect ADDR LEN PROT [nocb] => ERROR [cb START LEN INFO]..
 *     query ADDR [nocb] => INFO | -
 *     mark => void      unon [nocb] => void [cb ..]..      reset => void
 *     dump [PAGE+COUNT:INFO]..          entries [cb START LEN INFO]..
 *     end
 *
 * where INFO is PROT FLAGS FD OFFSET ORIGINAL. Callbacks for neighbours that are equal are
 * joined before they are compared, on both sides: libmmap leaves apart what becomes equal
 * by mmap_mark_original. How often that was needed is printed.
 */
#include "mmap_c.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 4096 };

/* A range with what is mapped there. */
struct piece {
    uint64_t start;
    uint64_t len;
    struct MMapInfo info;
};

struct pieces {
    struct piece at[MOST];
    size_t count;
    size_t joined;
};

static struct pieces heard, expected;
static unsigned long line_number, lines, callbacks, joins;
static char line[1 << 16];

static void fail(const char *what) {
    fprintf(stderr, "line %lu: %s\n", line_number, what);
    exit(1);
}

static bool same(const struct MMapInfo *a, const struct MMapInfo *b) {
    return a->prot == b->prot && a->flags == b->flags && a->fd == b->fd &&
           a->offset == b->offset && a->original == b->original;
}

static void add(struct pieces *pieces, uint64_t start, uint64_t len,
                const struct MMapInfo *info) {
    struct piece *last = pieces->count ? &pieces->at[pieces->count - 1] : NULL;
    if (last != NULL && last->start + last->len == start && same(&last->info, info)) {
        last->len += len;
        pieces->joined += 1;
        return;
    }
    if (pieces->count == MOST)
        fail("too many pieces for this program");
    last = &pieces->at[pieces->count];
    last->start = start;
    last->len = len;
    last->info = *info;
    pieces->count += 1;
}

static void forget(struct pieces *pieces) {
    pieces->count = 0;
    pieces->joined = 0;
}

static void hear(uintptr_t start, size_t len, struct MMapInfo info, void *udata) {
    add((struct pieces *)udata, start, len, &info);
}

/* The next word of the line; a line that ends too early is a failure. */
static char *word(void) {
    char *next = strtok(NULL, " \n");
    if (next == NULL)
        fail("the line ends too early");
    return next;
}

static uint64_t number(void) {
    char *end, *text = word();
    uint64_t value;
    errno = 0;
    value = text[0] == '-' ? (uint64_t)strtoll(text, &end, 0) : strtoull(text, &end, 0);
    if (errno != 0 || *end != '\0')
        fail("that is no number");
    return value;
}

static struct MMapInfo info_words(void) {
    struct MMapInfo info;
    info.prot = (int)number();
    info.flags = (int)number();
    info.fd = (int)number();
    info.offset = (int64_t)number();
    info.original = number() != 0;
    return info;
}

/* Passes over "=>"; tells whether the call was made without a callback. */
static bool no_callback(void) {
    const char *next = word();
    bool none = strcmp(next, "nocb") == 0;
    if (none)
        next = word();
    if (strcmp(next, "=>") != 0)
        fail("\"=>\" is missing");
    return none;
}

/* The callbacks that end the line are those that were heard. */
static void compare_callbacks(void) {
    size_t at;
    char *next;
    forget(&expected);
    while ((next = strtok(NULL, " \n")) != NULL) {
        uint64_t start, len;
        struct MMapInfo info;
        if (strcmp(next, "cb") != 0)
            fail("\"cb\" is missing");
        start = number();
        len = number();
        info = info_words();
        add(&expected, start, len, &info);
        callbacks += 1;
    }
    if (heard.count != expected.count)
        fail("another number of callbacks");
    for (at = 0; at < heard.count; at++) {
        const struct piece *a = &heard.at[at], *b = &expected.at[at];
        if (a->start != b->start || a->len != b->len || !same(&a->info, &b->info))
            fail("another callback");
    }
    if (heard.joined != 0)
        fail("neighbours that are equal were told apart");
    joins += expected.joined;
}

static void compare(uint64_t got, uint64_t wanted) {
    if (got != wanted)
        fail("another answer");
}

static void compare_void(void) {
    if (strcmp(word(), "void") != 0)
        fail("\"void\" is missing");
}

/* Hears of all pages of the space, as a callback would. */
static void walk(const struct MMapAddrSpace *mm, uint64_t first, uint64_t pages,
                 uint64_t page) {
    uint64_t at;
    forget(&heard);
    for (at = 0; at < pages; at++) {
        struct MMapInfo info;
        uint64_t addr = first + at * page;
        if (mmap_query_page(mm, addr + at % page, &info))
            add(&heard, addr, page, &info);
    }
    heard.joined = 0;
}

/* The pages are those of a dump: PAGE+COUNT:PROT FLAGS FD OFFSET ORIGINAL. */
static void compare_dump(uint64_t first, uint64_t page) {
    size_t at = 0;
    char *next;
    while ((next = strtok(NULL, " \n")) != NULL) {
        struct MMapInfo info;
        uint64_t start, count;
        char *plus, *colon, *end;
        start = strtoull(next, &plus, 10);
        if (*plus != '+')
            fail("a dump without a plus");
        count = strtoull(plus + 1, &colon, 10);
        if (*colon != ':')
            fail("a dump without a colon");
        info.prot = (int)strtol(colon + 1, &end, 10);
        if (*end != '\0')
            fail("a dump without a protection");
        info.flags = (int)number();
        info.fd = (int)number();
        info.offset = (int64_t)number();
        info.original = number() != 0;
        if (at == heard.count || heard.at[at].start != first + start * page ||
            heard.at[at].len != count * page || !same(&heard.at[at].info, &info))
            fail("other pages");
        at += 1;
    }
    if (at != heard.count)
        fail("more pages");
}

int main(void) {
    struct MMapAddrSpace *mm = NULL;
    uint64_t first = 0, pages = 0, page = 1;
    while (fgets(line, sizeof line, stdin) != NULL) {
        const char *verb;
        line_number += 1;
        if (strchr(line, '\n') == NULL)
            fail("a line too long for this program");
        verb = strtok(line, " \n");
        if (verb == NULL)
            fail("an empty line");
        forget(&heard);
        if (strcmp(verb, "new") == 0) {
            uint64_t start = number(), len = number();
            page = number();
            first = start - start % page;
            pages = len / page + (len % page != 0);
            if (mm != NULL)
                fail("a space within a space");
            mm = mmap_create(start, len, page);
            if (mm == NULL)
                fail("no space");
        } else if (mm == NULL) {
            fail("a call without a space");
        } else if (strcmp(verb, "aslr") == 0) {
            mmap_enable_aslr(mm, number());
        } else if (strcmp(verb, "any") == 0) {
            uint64_t hint = number(), len = number();
            int prot = (int)number(), flags = (int)number(), fd = (int)number();
            int64_t offset = (int64_t)number();
            no_callback();
            compare(mmap_map_any(mm, hint, len, prot, flags, fd, offset), number());
            compare_callbacks();
        } else if (strcmp(verb, "at") == 0) {
            uint64_t addr = number(), len = number();
            int prot = (int)number(), flags = (int)number(), fd = (int)number();
            int64_t offset = (int64_t)number();
            MMapUpdateFn ufn = no_callback() ? NULL : hear;
            compare(mmap_map_at(mm, addr, len, prot, flags, fd, offset, ufn, &heard), number());
            compare_callbacks();
        } else if (strcmp(verb, "unmap") == 0) {
            uint64_t addr = number(), len = number();
            MMapUpdateFn ufn = no_callback() ? NULL : hear;
            compare(mmap_unmap(mm, addr, len, ufn, &heard), number());
            compare_callbacks();
        } else if (strcmp(verb, "protect") == 0) {
            uint64_t addr = number(), len = number();
            int prot = (int)number();
            MMapUpdateFn ufn = no_callback() ? NULL : hear;
            compare(mmap_protect(mm, addr, len, prot, ufn, &heard), number());
            compare_callbacks();
        } else if (strcmp(verb, "query") == 0) {
            uint64_t addr = number();
            char *rest;
            struct MMapInfo info;
            bool mapped = mmap_query_page(mm, addr, &info);
            no_callback();
            rest = strtok(NULL, "\n");
            if (rest == NULL)
                fail("a query without an answer");
            if ((strcmp(rest, "-") != 0) != mapped)
                fail("another answer");
            if (mapped) {
                struct MMapInfo wanted;
                char text[128];
                snprintf(text, sizeof text, "= %s", rest);
                strtok(text, " ");
                wanted = info_words();
                if (!same(&info, &wanted))
                    fail("another page");
            }
        } else if (strcmp(verb, "mark") == 0) {
            no_callback();
            compare_void();
            mmap_mark_original(mm);
        } else if (strcmp(verb, "unon") == 0) {
            MMapUpdateFn ufn = no_callback() ? NULL : hear;
            compare_void();
            mmap_unmap_non_original(mm, ufn, &heard);
            compare_callbacks();
        } else if (strcmp(verb, "reset") == 0) {
            no_callback();
            compare_void();
            mmap_reset(mm);
        } else if (strcmp(verb, "dump") == 0) {
            walk(mm, first, pages, page);
            compare_dump(first, page);
        } else if (strcmp(verb, "entries") == 0) {
            walk(mm, first, pages, page);
            compare_callbacks();
        } else if (strcmp(verb, "end") == 0) {
            mmap_destroy(mm);
            mm = NULL;
        } else {
            fail("an unknown line");
        }
        if (strtok(NULL, " \n") != NULL)
            fail("the line goes on");
        lines += 1;
    }
    if (mm != NULL || lines == 0)
        fail("the trace ends too early");
    printf("golden: %lu lines, %lu callbacks, %lu joined because mark_original made equals\n",
           lines, callbacks, joins);
    return 0;
}
