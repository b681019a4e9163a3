/* What a program that embeds libmmap counts on, story by story. */
#include "check.h"
#include "mmap_c.h"

#include <string.h>

#define PAGE ((size_t)0x1000)
#define BASE ((uintptr_t)0x10000)
#define FAILED ((uintptr_t)-1)
enum { PAGES = 16, MOST = 64 };

static unsigned stories;

/* What callbacks heard, and what they are to do. */
struct log {
    struct MMapAddrSpace *mm;
    size_t count;
    uintptr_t start[MOST];
    size_t len[MOST];
    struct MMapInfo info[MOST];
    char seen[MOST][PAGES + 1];
    void (*act)(struct log *);
};

/* The first PAGES pages: the protection as a digit, a capital from 'A' if original. */
static const char *picture(const struct MMapAddrSpace *mm) {
    static char text[PAGES + 1];
    int page;
    for (page = 0; page < PAGES; page++) {
        struct MMapInfo info;
        bool mapped = mmap_query_page(mm, BASE + (uintptr_t)page * PAGE, &info);
        text[page] = (char)(!mapped ? '.' : info.original ? 'A' + info.prot : '0' + info.prot);
    }
    return text;
}

static void hear(uintptr_t start, size_t len, struct MMapInfo info, void *udata) {
    struct log *log = (struct log *)udata;
    CHECK(log->count < MOST);
    log->start[log->count] = start;
    log->len[log->count] = len;
    log->info[log->count] = info;
    strcpy(log->seen[log->count], picture(log->mm));
    log->count += 1;
    if (log->act != NULL)
        log->act(log);
}

static struct log log_of(struct MMapAddrSpace *mm) {
    struct log log;
    memset(&log, 0, sizeof log);
    log.mm = mm;
    return log;
}

static uintptr_t at(int page) {
    return BASE + (uintptr_t)page * PAGE;
}

static struct MMapAddrSpace *space(void) {
    struct MMapAddrSpace *mm = mmap_create(BASE, PAGES * PAGE, PAGE);
    CHECK(mm != NULL);
    return mm;
}

static void put(struct MMapAddrSpace *mm, int page, int pages, int prot) {
    CHECK(mmap_map_at(mm, at(page), (size_t)pages * PAGE, prot, 0, -1, 0, NULL, NULL) ==
          at(page));
}

#define SHOWS(mm, wanted) CHECK(strcmp(picture(mm), wanted) == 0)
#define SAW(log, nth, wanted) CHECK(strcmp((log).seen[nth], wanted) == 0)
#define HEARD(log, nth, page, pages, protection)                                          \
    CHECK((log).start[nth] == at(page) && (log).len[nth] == (size_t)(pages) * PAGE &&     \
          (log).info[nth].prot == (protection))

/* 1. */
static void a_page_size_is_a_power_of_two(void) {
    const size_t good[] = {1, 2, 4096, (SIZE_MAX >> 1) + 1};
    const size_t bad[] = {0, 3, 4095, SIZE_MAX};
    size_t nth;
    for (nth = 0; nth < 4; nth++) {
        struct MMapAddrSpace *mm = mmap_create(0, 1, good[nth]);
        CHECK(mm != NULL);
        mmap_destroy(mm);
        CHECK(mmap_create(0, 1, bad[nth]) == NULL);
    }
}

/* 2. */
static void start_is_rounded_down_and_length_up(void) {
    struct MMapAddrSpace *mm = mmap_create(0x10123, 0x2001, PAGE);
    CHECK(mmap_map_at(mm, 0x10000, 3 * PAGE, 1, 0, -1, 0, NULL, NULL) == 0x10000);
    CHECK(mmap_map_at(mm, 0x13000, PAGE, 1, 0, -1, 0, NULL, NULL) == FAILED);
    mmap_destroy(mm);
    mm = mmap_create(0x10000, 0, PAGE);
    CHECK(mm != NULL);
    CHECK(mmap_map_any(mm, 0, 1, 1, 0, -1, 0) == FAILED);
    mmap_destroy(mm);
}

static void a_space_may_end_at_the_highest_address(void) {
    const uintptr_t last = (uintptr_t)0 - PAGE;
    struct MMapAddrSpace *mm = mmap_create(last, PAGE, PAGE);
    struct log log = log_of(mm);
    struct MMapInfo info;
    CHECK(mmap_map_any(mm, 0, PAGE, 1, 0, -1, 0) == last);
    CHECK(mmap_query_page(mm, UINTPTR_MAX, &info));
    CHECK(mmap_unmap(mm, last, SIZE_MAX, hear, &log) == MMAP_INVAL);
    CHECK(mmap_unmap(mm, last, PAGE, hear, &log) == MMAP_OK);
    CHECK(log.count == 1 && log.start[0] == last && log.len[0] == PAGE);
    mmap_destroy(mm);
    /* B4: all of memory; its length in a callback is the highest there is. */
    mm = mmap_create(0, SIZE_MAX, PAGE);
    log = log_of(mm);
    CHECK(mmap_map_any(mm, 0, SIZE_MAX, 1, 0, -1, 0) == 0);
    CHECK(mmap_unmap(mm, 0, SIZE_MAX, hear, &log) == MMAP_OK);
    CHECK(log.count == 1 && log.start[0] == 0 && log.len[0] == SIZE_MAX);
    mmap_destroy(mm);
}

/* B1 to B3. */
static void what_lies_past_the_end_is_refused(void) {
    struct MMapAddrSpace *mm = space();
    CHECK(mmap_map_at(mm, at(PAGES + 1), PAGE, 1, 0, -1, 0, NULL, NULL) == FAILED);
    CHECK(mmap_map_any(mm, at(PAGES + 1), PAGE, 1, 0, -1, 0) == at(0));
    CHECK(mmap_unmap(mm, at(PAGES + 1), PAGE, NULL, NULL) == MMAP_INVAL);
    CHECK(mmap_protect(mm, at(PAGES + 1), PAGE, 1, NULL, NULL) == MMAP_INVAL);
    mmap_destroy(mm);
    CHECK(mmap_create(UINTPTR_MAX - 2 * PAGE + 1, 3 * PAGE, PAGE) == NULL);
    CHECK(mmap_create(UINTPTR_MAX, 2, 1) == NULL);
    CHECK(mmap_create(PAGE, SIZE_MAX, PAGE) == NULL);
}

/* 3. */
static void reset_and_destroy_call_nobody_and_reset_keeps_the_dice(void) {
    struct MMapAddrSpace *mm = space(), *other = space();
    uintptr_t first, second;
    mmap_destroy(NULL);
    mmap_enable_aslr(mm, 7);
    mmap_enable_aslr(other, 7);
    first = mmap_map_any(mm, 0, PAGE, 1, 0, -1, 0);
    CHECK(first == mmap_map_any(other, 0, PAGE, 1, 0, -1, 0));
    mmap_reset(mm);
    mmap_reset(other);
    SHOWS(mm, "................");
    second = mmap_map_any(mm, 0, PAGE, 1, 0, -1, 0);
    CHECK(second == mmap_map_any(other, 0, PAGE, 1, 0, -1, 0));
    mmap_enable_aslr(mm, 7);
    mmap_reset(mm);
    CHECK(mmap_map_any(mm, 0, PAGE, 1, 0, -1, 0) == first);
    mmap_destroy(mm);
    mmap_destroy(other);
}

/* 4 and 5. */
static void bad_numbers_change_nothing_and_call_nobody(void) {
    struct MMapAddrSpace *mm = space();
    struct log log = log_of(mm);
    const struct {
        uintptr_t addr;
        size_t len;
    } bad[] = {
        {BASE, 0},          {BASE + 1, PAGE}, {BASE - PAGE, PAGE},    {BASE, PAGES *PAGE + 1},
        {BASE, SIZE_MAX},   {0, SIZE_MAX},    {UINTPTR_MAX, PAGE},    {BASE, SIZE_MAX - PAGE + 1},
        {BASE + PAGE, ~(size_t)0 - BASE}};
    size_t nth;
    put(mm, 0, PAGES, 1);
    for (nth = 0; nth < sizeof bad / sizeof bad[0]; nth++) {
        uintptr_t addr = bad[nth].addr;
        size_t len = bad[nth].len;
        CHECK(mmap_map_at(mm, addr, len, 2, 0, -1, 0, hear, &log) == FAILED);
        CHECK(mmap_map_any(mm, addr, len, 2, 0, -1, 0) == FAILED);
        CHECK(mmap_unmap(mm, addr, len, hear, &log) == MMAP_INVAL);
        CHECK(mmap_protect(mm, addr, len, 2, hear, &log) == MMAP_INVAL);
    }
    CHECK(log.count == 0);
    SHOWS(mm, "1111111111111111");
    /* Lengths are rounded up in unmap and protect as well. */
    CHECK(mmap_protect(mm, at(1), 1, 2, NULL, NULL) == MMAP_OK);
    CHECK(mmap_unmap(mm, at(3), PAGE + 1, NULL, NULL) == MMAP_OK);
    SHOWS(mm, "121..11111111111");
    mmap_destroy(mm);
}

/* 6. */
static void a_query_takes_any_address(void) {
    struct MMapAddrSpace *mm = space();
    struct MMapInfo info, before;
    memset(&info, 0x5a, sizeof info);
    before = info;
    put(mm, 1, 1, 1);
    CHECK(!mmap_query_page(mm, at(0), &info) && !mmap_query_page(mm, 0, &info));
    CHECK(!mmap_query_page(mm, UINTPTR_MAX, &info));
    CHECK(memcmp(&info, &before, sizeof info) == 0);
    CHECK(mmap_query_page(mm, at(1) + 0x123, &info) && info.prot == 1);
    CHECK(mmap_query_page(mm, at(1), NULL) && !mmap_query_page(mm, at(2), NULL));
    mmap_destroy(mm);
}

/* 7. */
static void numbers_are_kept_as_given(void) {
    struct MMapAddrSpace *mm = space();
    struct MMapInfo info;
    CHECK(mmap_map_at(mm, at(0), PAGE, -1, -2147483647 - 1, -77, INT64_MIN, NULL, NULL) == at(0));
    CHECK(mmap_query_page(mm, at(0), &info));
    CHECK(info.prot == -1 && info.flags == -2147483647 - 1 && info.fd == -77);
    CHECK(info.offset == INT64_MIN && !info.original);
    mmap_destroy(mm);
}

/* 8 and 10. */
static void equal_neighbours_are_one_entry(void) {
    struct MMapAddrSpace *mm = space();
    struct log log = log_of(mm);
    CHECK(mmap_map_at(mm, at(0), PAGE, 1, 2, 3, 0, NULL, NULL) == at(0));
    CHECK(mmap_map_at(mm, at(1), PAGE, 1, 2, 3, 0, NULL, NULL) == at(1));
    CHECK(mmap_map_at(mm, at(2), PAGE, 1, 2, 3, 0x1000, NULL, NULL) == at(2));
    CHECK(mmap_map_at(mm, at(1), PAGE, 1, 2, 3, 0, hear, &log) == at(1));
    CHECK(log.count == 1);
    HEARD(log, 0, 1, 1, 1);
    log = log_of(mm);
    CHECK(mmap_unmap(mm, at(0), PAGES * PAGE, hear, &log) == MMAP_OK);
    CHECK(log.count == 2);
    HEARD(log, 0, 0, 2, 1);
    HEARD(log, 1, 2, 1, 1);
    mmap_destroy(mm);
}

/* 9. */
static void a_split_does_not_advance_the_offset(void) {
    struct MMapAddrSpace *mm = space();
    struct MMapInfo info;
    CHECK(mmap_map_at(mm, at(0), 4 * PAGE, 1, 2, 3, 0x5000, NULL, NULL) == at(0));
    CHECK(mmap_unmap(mm, at(1), PAGE, NULL, NULL) == MMAP_OK);
    CHECK(mmap_query_page(mm, at(3), &info) && info.offset == 0x5000);
    mmap_destroy(mm);
}

/* 11 and 12. */
static void marks_stay_until_something_is_mapped_over_them(void) {
    struct MMapAddrSpace *mm = space();
    struct log log = log_of(mm);
    put(mm, 0, 4, 1);
    mmap_mark_original(mm);
    CHECK(mmap_map_any(mm, 0, PAGE, 1, 0, -1, 0) == at(4));
    CHECK(mmap_protect(mm, at(1), PAGE, 2, NULL, NULL) == MMAP_OK);
    put(mm, 3, 1, 3);
    SHOWS(mm, "BCB31...........");
    mmap_unmap_non_original(mm, hear, &log);
    SHOWS(mm, "BCB.............");
    CHECK(log.count == 2 && !log.info[0].original);
    HEARD(log, 0, 3, 1, 3);
    HEARD(log, 1, 4, 1, 1);
    SAW(log, 0, "BCB31...........");
    SAW(log, 1, "BCB.1...........");
    /* What becomes equal by a mark is one entry: the fault of libmmap that is gone. */
    put(mm, 3, 1, 1);
    mmap_mark_original(mm);
    log = log_of(mm);
    CHECK(mmap_unmap(mm, at(2), 2 * PAGE, hear, &log) == MMAP_OK && log.count == 1);
    mmap_destroy(mm);
}

/* 13 and 14. */
static void a_hint_is_taken_if_all_of_it_is_free(void) {
    struct MMapAddrSpace *mm = space();
    CHECK(mmap_map_any(mm, at(5), 2 * PAGE, 1, 0, -1, 0) == at(5));
    CHECK(mmap_map_any(mm, at(4), 2 * PAGE, 1, 0, -1, 0) == at(0));
    CHECK(mmap_map_any(mm, at(8) + 1, PAGE, 1, 0, -1, 0) == at(2));
    CHECK(mmap_map_any(mm, at(PAGES), PAGE, 1, 0, -1, 0) == at(3));
    CHECK(mmap_map_any(mm, at(PAGES - 1), 2 * PAGE, 1, 0, -1, 0) == at(7));
    SHOWS(mm, "1111.1111.......");
    CHECK(mmap_map_any(mm, 0, 8 * PAGE, 1, 0, -1, 0) == FAILED);
    mmap_destroy(mm);
    mm = mmap_create(0, 4 * PAGE, PAGE);
    CHECK(mmap_map_any(mm, 0, PAGE, 1, 0, -1, 0) == 0);
    mmap_destroy(mm);
}

/* 15: splitmix64 from the seed, one draw for each place that chance finds. */
static uint64_t draw(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void random_places_follow_from_the_seed(void) {
    struct MMapAddrSpace *mm = space();
    uint64_t state = 42;
    int page;
    mmap_enable_aslr(mm, 42);
    put(mm, 7, 1, 1);
    /* Two pages fit at 0 to 5 and at 8 to 14. */
    page = (int)(draw(&state) % 13);
    page += page > 5 ? 2 : 0;
    CHECK(mmap_map_any(mm, 0, 2 * PAGE, 1, 0, -1, 0) == at(page));
    CHECK(mmap_unmap(mm, at(page), 2 * PAGE, NULL, NULL) == MMAP_OK);
    /* Neither a hint that is taken nor a failure draws. */
    CHECK(mmap_map_any(mm, at(3), PAGE, 1, 0, -1, 0) == at(3));
    CHECK(mmap_map_any(mm, 0, 12 * PAGE, 1, 0, -1, 0) == FAILED);
    CHECK(mmap_unmap(mm, at(3), PAGE, NULL, NULL) == MMAP_OK);
    page = (int)(draw(&state) % 13);
    page += page > 5 ? 2 : 0;
    CHECK(mmap_map_any(mm, 0, 2 * PAGE, 1, 0, -1, 0) == at(page));
    mmap_destroy(mm);
}

/* 16. */
static void unmap_and_map_tell_all_before_they_change_anything(void) {
    struct MMapAddrSpace *mm = space();
    struct log log = log_of(mm);
    put(mm, 0, 2, 1);
    put(mm, 2, 2, 2);
    put(mm, 5, 2, 3);
    CHECK(mmap_map_at(mm, at(1), 5 * PAGE, 4, 0, -1, 0, hear, &log) == at(1));
    CHECK(log.count == 3);
    HEARD(log, 0, 1, 1, 1);
    HEARD(log, 1, 2, 2, 2);
    HEARD(log, 2, 5, 1, 3);
    SAW(log, 0, "1122.33.........");
    SAW(log, 2, "1122.33.........");
    SHOWS(mm, "1444443.........");
    log = log_of(mm);
    CHECK(mmap_unmap(mm, at(0), 7 * PAGE - 1, hear, &log) == MMAP_OK);
    CHECK(log.count == 3);
    SAW(log, 2, "1444443.........");
    SHOWS(mm, "................");
    CHECK(mmap_unmap(mm, at(0), PAGE, hear, &log) == MMAP_OK && log.count == 3);
    mmap_destroy(mm);
}

/* 17. */
static void protect_changes_an_entry_before_it_tells_the_next(void) {
    struct MMapAddrSpace *mm = space();
    struct log log = log_of(mm);
    put(mm, 0, 2, 1);
    put(mm, 3, 2, 2);
    CHECK(mmap_protect(mm, at(1), 4 * PAGE, 2, hear, &log) == MMAP_OK);
    CHECK(log.count == 2);
    HEARD(log, 0, 1, 1, 1);
    HEARD(log, 1, 3, 2, 2);
    SAW(log, 0, "11.22...........");
    SAW(log, 1, "12.22...........");
    CHECK(mmap_protect(mm, at(8), 4 * PAGE, 2, hear, &log) == MMAP_OK && log.count == 2);
    mmap_destroy(mm);
}

/* 18. */
static void map_another(struct log *log) {
    if (log->count == 1)
        put(log->mm, 12, 1, 5);
}

static void unmap_non_original_takes_what_there_was_when_it_began(void) {
    struct MMapAddrSpace *mm = space();
    struct log log = log_of(mm);
    put(mm, 1, 1, 1);
    put(mm, 3, 1, 2);
    log.act = map_another;
    mmap_unmap_non_original(mm, hear, &log);
    CHECK(log.count == 2);
    SAW(log, 1, "...2........5...");
    SHOWS(mm, "............5...");
    mmap_destroy(mm);
}

/* 19. */
static void map_within(struct log *log) {
    put(log->mm, 1, 1, 5);
    put(log->mm, 9, 1, 5);
}

static void what_a_callback_maps_in_the_range_goes_with_the_rest(void) {
    struct MMapAddrSpace *mm = space();
    struct log log = log_of(mm);
    put(mm, 0, 1, 1);
    log.act = map_within;
    CHECK(mmap_unmap(mm, at(0), 4 * PAGE, hear, &log) == MMAP_OK && log.count == 1);
    SHOWS(mm, ".........5......");
    mmap_destroy(mm);
}

static void unmap_all(struct log *log) {
    CHECK(mmap_unmap(log->mm, at(0), PAGES * PAGE, NULL, NULL) == MMAP_OK);
}

static void protected_entries_come_back_as_they_were_told(void) {
    struct MMapAddrSpace *mm = space();
    struct log log = log_of(mm);
    put(mm, 0, 1, 1);
    mmap_mark_original(mm);
    put(mm, 2, 1, 2);
    log.act = unmap_all;
    CHECK(mmap_protect(mm, at(0), 4 * PAGE, 3, hear, &log) == MMAP_OK && log.count == 2);
    HEARD(log, 1, 2, 1, 2);
    CHECK(log.info[0].original);
    /* The second callback has unmapped the first entry again. */
    SHOWS(mm, "..3.............");
    mmap_destroy(mm);
}

static void map_anywhere(struct log *log) {
    CHECK(mmap_map_any(log->mm, 0, PAGE, 6, 0, -1, 0) == at(2));
}

static void a_callback_of_map_still_sees_the_old_state(void) {
    struct MMapAddrSpace *mm = space();
    struct log log = log_of(mm);
    put(mm, 0, 1, 1);
    put(mm, 1, 1, 2);
    CHECK(mmap_unmap(mm, at(0), PAGE, NULL, NULL) == MMAP_OK);
    put(mm, 0, 1, 3);
    log.act = map_anywhere;
    CHECK(mmap_map_at(mm, at(0), PAGE, 4, 0, -1, 0, hear, &log) == at(0));
    SHOWS(mm, "426.............");
    mmap_destroy(mm);
}

static void no_space_is_no_crash(void) {
    struct MMapInfo info;
    mmap_destroy(NULL);
    mmap_reset(NULL);
    mmap_enable_aslr(NULL, 1);
    mmap_mark_original(NULL);
    mmap_unmap_non_original(NULL, hear, NULL);
    CHECK(mmap_map_any(NULL, 0, PAGE, 1, 0, -1, 0) == FAILED);
    CHECK(mmap_map_at(NULL, 0, PAGE, 1, 0, -1, 0, hear, NULL) == FAILED);
    CHECK(mmap_unmap(NULL, 0, PAGE, hear, NULL) == MMAP_INVAL);
    CHECK(mmap_protect(NULL, 0, PAGE, 1, hear, NULL) == MMAP_INVAL);
    CHECK(!mmap_query_page(NULL, 0, &info));
}

static void the_layout_is_the_one_that_clients_were_built_with(void) {
    CHECK(sizeof(enum MMapError) == 4);
    CHECK(MMAP_OK == 0 && MMAP_INVAL == 1 && MMAP_NOMEM == 2);
    CHECK(sizeof(struct MMapInfo) == 32 && offsetof(struct MMapInfo, prot) == 0);
    CHECK(offsetof(struct MMapInfo, flags) == 4 && offsetof(struct MMapInfo, fd) == 8);
    CHECK(offsetof(struct MMapInfo, offset) == 16);
    CHECK(offsetof(struct MMapInfo, original) == 24);
}

int main(void) {
    RUN(a_page_size_is_a_power_of_two);
    RUN(start_is_rounded_down_and_length_up);
    RUN(a_space_may_end_at_the_highest_address);
    RUN(what_lies_past_the_end_is_refused);
    RUN(reset_and_destroy_call_nobody_and_reset_keeps_the_dice);
    RUN(bad_numbers_change_nothing_and_call_nobody);
    RUN(a_query_takes_any_address);
    RUN(numbers_are_kept_as_given);
    RUN(equal_neighbours_are_one_entry);
    RUN(a_split_does_not_advance_the_offset);
    RUN(marks_stay_until_something_is_mapped_over_them);
    RUN(a_hint_is_taken_if_all_of_it_is_free);
    RUN(random_places_follow_from_the_seed);
    RUN(unmap_and_map_tell_all_before_they_change_anything);
    RUN(protect_changes_an_entry_before_it_tells_the_next);
    RUN(unmap_non_original_takes_what_there_was_when_it_began);
    RUN(what_a_callback_maps_in_the_range_goes_with_the_rest);
    RUN(protected_entries_come_back_as_they_were_told);
    RUN(a_callback_of_map_still_sees_the_old_state);
    RUN(no_space_is_no_crash);
    RUN(the_layout_is_the_one_that_clients_were_built_with);
    printf("behaviour: %u stories\n", stories);
    return 0;
}
