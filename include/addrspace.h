/**
 * @file addrspace.h
 * The books of a virtual address space: what is mapped where, and how.
 *
 * A space changes no memory. Each function that changes the books tells a callback, the
 * host, each change that has to be made; when the host has answered that it is made, it
 * is recorded. So the books say at every moment what the host has acknowledged.
 *
 *     #include <addrspace.h>
 *     #include <stdio.h>
 *
 *     int main(void) {
 *         addrspace *space;
 *         addrspace_mapping memory = ADDRSPACE_MAPPING_INIT;
 *         uint64_t addr;
 *         if (addrspace_create(0x10000, 0x100000, 4096, &space) != ADDRSPACE_OK)
 *             return 1;
 *         memory.prot = 1 | 2;
 *         if (addrspace_map_any(space, 0x3000, &memory, NULL, NULL, NULL, &addr))
 *             return 1;
 *         printf("mapped at %#llx\n", (unsigned long long)addr);
 *         addrspace_destroy(space);
 *         return 0;
 *     }
 *
 * Units: addresses, lengths and offsets are bytes and need not be checked beforehand; they
 * may come from a guest. They have 64 bits on every host. Lengths are rounded up to whole
 * pages; addresses have to be page-aligned where something changes. A range that is told
 * has its first and its last byte, because a space may end at 2^64.
 *
 * Answers: each function answers a status; ADDRSPACE_OK is 0. If it is another, nothing
 * has changed and nothing was told, unless it is ADDRSPACE_HANDLER. addrspace_last_error
 * and addrspace_error_message say more. What any function can answer: ADDRSPACE_NULL if
 * a pointer is NULL that must not be (all but those said to be), ADDRSPACE_STRUCT and
 * ADDRSPACE_ARGUMENT if what is handed in makes no sense, ADDRSPACE_BUSY; what else, its
 * comment says.
 *
 * Structs begin with their size and can grow: make them with the initialiser of their
 * name, also those that are written to. A member that the library does not know has to be
 * zero (ADDRSPACE_STRUCT); one that the program does not know is not written.
 *
 * Ownership: a space belongs to the caller, who destroys it. What callbacks are given is
 * good until they return. Nothing else is handed out.
 *
 * Callbacks: while one runs, the space cannot be changed: that answers ADDRSPACE_BUSY. In
 * a callback that makes a change it cannot be looked at either; only what is asked of the
 * update, and of the last error, is answered. A callback must not throw an
 * exception through the library, nor leave it with longjmp, nor destroy the space.
 *
 * Threads: a space is used by one thread at a time. Different spaces have nothing in
 * common.
 */
#ifndef ADDRSPACE_H
#define ADDRSPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The books of a range of addresses. */
typedef struct addrspace addrspace;

/** What a call answers. The numbers do not change; there may be more of them later. */
typedef enum addrspace_status {
    ADDRSPACE_OK = 0,                /**< It is done. */
    ADDRSPACE_NOTHING = 1,           /**< There is nothing there, or nothing more. */
    ADDRSPACE_NO_MEMORY = 2,         /**< No memory for the books. */
    ADDRSPACE_HANDLER = 3,           /**< The callback refused. */
    ADDRSPACE_BUSY = 4,              /**< Called on a space from its own callback. */
    ADDRSPACE_NULL = 5,              /**< Null where a pointer is needed. */
    ADDRSPACE_STRUCT = 6,            /**< A struct of a size or with contents that are not known. */
    ADDRSPACE_ARGUMENT = 7,          /**< A number that names none of the choices. */
    ADDRSPACE_PAGE_SIZE = 8,         /**< The page size is no power of two. */
    ADDRSPACE_GEOMETRY = 9,          /**< The space cannot be like that. */
    ADDRSPACE_UNALIGNED = 10,        /**< The address is not page-aligned. */
    ADDRSPACE_ZERO_LENGTH = 11,      /**< The length is zero. */
    ADDRSPACE_OUT_OF_BOUNDS = 12,    /**< The range leaves the space. */
    ADDRSPACE_UNALIGNED_OFFSET = 13, /**< The offset is not page-aligned. */
    ADDRSPACE_OFFSET_OVERFLOW = 14,  /**< The offset of the end is past 2^64. */
    ADDRSPACE_OCCUPIED = 15,         /**< Something is mapped there. */
    ADDRSPACE_NO_ROOM = 16,          /**< There is no place. */
    ADDRSPACE_ALIGNMENT = 17,        /**< Pages cannot be aligned like that. */
    ADDRSPACE_NOT_MAPPED = 18,       /**< Not all is mapped that has to be. */
    ADDRSPACE_SEVERAL_MAPPINGS = 19, /**< More than one mapping. */
    ADDRSPACE_OVERLAP = 20,          /**< Old and new place overlap. */
    ADDRSPACE_BAD_DESTINATION = 21,  /**< The new place leaves the space. */
    ADDRSPACE_BAD_REMAP = 22,        /**< It cannot be remapped like that. */
    ADDRSPACE_SHARED_FLAG = 23,      /**< Whether a mapping is shared cannot be changed. */
    ADDRSPACE_BYTE_LIMIT = 24,       /**< More would be mapped than the limit says. */
    ADDRSPACE_REGION_LIMIT = 25,     /**< There would be more regions than the limit says. */
    ADDRSPACE_OTHER_GEOMETRY = 26,   /**< The two spaces differ in start, length or page size. */
} addrspace_status;

/** What the bytes of a mapping come from. */
typedef enum addrspace_backing {
    ADDRSPACE_ANONYMOUS = 0, /**< Zeroes that belong to nobody else. */
    ADDRSPACE_FILE = 1,      /**< The file `handle` from `offset` on; a split advances it. */
    ADDRSPACE_PHYSICAL = 2,  /**< Physical memory from `offset` on; a split advances it. */
    ADDRSPACE_TAG = 3        /**< The program's own; a split does not advance `offset`. */
} addrspace_backing;

/**
 * Flags that mean something to the space: a shared mapping (MAP_SHARED), counted as such,
 * can be duplicated by addrspace_remap. All others are the program's own.
 */
#define ADDRSPACE_SHARED 1u

/**
 * What is to be mapped.
 *
 * `handle` identifies a file: equal means the same file for as long as it is mapped. Of a
 * tag `offset` may be a pointer. Neighbours that continue each other are one region.
 */
typedef struct addrspace_mapping {
    uint32_t size;
    uint32_t backing; /**< One of addrspace_backing. */
    uint32_t prot;    /**< PROT_*; bits that are not known are kept. */
    uint32_t flags;   /**< Kept as they are. */
    uint32_t handle;  /**< Of a file or tag; else it does not matter. */
    uint32_t reserved;
    uint64_t offset; /**< Of a file or in physical memory page-aligned; of a tag any. */
} addrspace_mapping;

/** Private anonymous memory without access, to be filled in. */
#define ADDRSPACE_MAPPING_INIT {sizeof(addrspace_mapping), 0, 0, 0, 0, 0, 0}

/** A maximal range with one mapping, or a piece of it. */
typedef struct addrspace_region {
    uint32_t size;
    uint32_t backing;
    uint64_t start; /**< The address of the first byte. */
    uint64_t last;  /**< The address of the last byte. */
    uint32_t prot;
    uint32_t flags;
    uint32_t handle;
    uint32_t original; /**< 1 if it is marked by addrspace_mark_original, else 0. */
    uint64_t offset;   /**< Where the byte at `start` comes from. */
} addrspace_region;

#define ADDRSPACE_REGION_INIT {sizeof(addrspace_region), 0, 0, 0, 0, 0, 0, 0, 0}

/** A range by its first and last byte. */
typedef struct addrspace_span {
    uint32_t size;
    uint32_t reserved;
    uint64_t start;
    uint64_t last;
} addrspace_span;

#define ADDRSPACE_SPAN_INIT {sizeof(addrspace_span), 0, 0, 0}

/** Which of the places that are free a new mapping takes. */
typedef enum addrspace_policy {
    ADDRSPACE_LOWEST = 0,
    ADDRSPACE_HIGHEST = 1,
    ADDRSPACE_NTH = 2,   /**< That with number `number`, ascending, from 0. */
    ADDRSPACE_RANDOM = 3 /**< One of them, by 64 random bits in `number`. */
} addrspace_policy;

#define ADDRSPACE_NEAR 1u   /**< `hint` counts. */
#define ADDRSPACE_WITHIN 2u /**< `within_start` and `within_len` count. */

/** Where a new mapping may go. */
typedef struct addrspace_placement {
    uint32_t size;
    uint32_t policy;  /**< One of addrspace_policy. */
    uint32_t options; /**< ADDRSPACE_NEAR, ADDRSPACE_WITHIN. */
    uint32_t reserved;
    uint64_t number;
    uint64_t hint;         /**< Taken if it is free, rounded down; else it is ignored. */
    uint64_t within_start; /**< Only places in these bytes. */
    uint64_t within_len;
    uint64_t align;        /**< Only multiples of it; 0 is any. */
    uint64_t align_offset; /**< So many bytes past them. */
    uint64_t guard_below;  /**< Only with so many bytes free before, and behind. */
    uint64_t guard_above;
} addrspace_placement;

/** The lowest place. */
#define ADDRSPACE_PLACEMENT_INIT {sizeof(addrspace_placement), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/** Where addrspace_remap may put a mapping. */
typedef enum addrspace_target {
    ADDRSPACE_IN_PLACE = 0, /**< It stays (no flag of mremap). */
    ADDRSPACE_MAY_MOVE = 1, /**< If it cannot stay it moves (MREMAP_MAYMOVE). */
    ADDRSPACE_TO = 2        /**< It moves to `to` over what is there (MREMAP_FIXED). */
} addrspace_target;

/** How to remap. */
typedef struct addrspace_remapping {
    uint32_t size;
    uint32_t target;      /**< One of addrspace_target. */
    uint32_t keep_source; /**< 1: the old place stays mapped (MREMAP_DONTUNMAP). */
    uint32_t reserved;
    uint64_t to;
} addrspace_remapping;

#define ADDRSPACE_REMAPPING_INIT {sizeof(addrspace_remapping), 0, 0, 0, 0}

#define ADDRSPACE_LIMIT_BYTES 1u   /**< `bytes` counts. */
#define ADDRSPACE_LIMIT_REGIONS 2u /**< `regions` counts. */

/** What there may be at most after a call. */
typedef struct addrspace_limits {
    uint32_t size;
    uint32_t which; /**< ADDRSPACE_LIMIT_BYTES, ADDRSPACE_LIMIT_REGIONS. */
    uint64_t bytes;
    uint64_t regions;
} addrspace_limits;

#define ADDRSPACE_LIMITS_INIT {sizeof(addrspace_limits), 0, 0, 0}

/** How much is mapped, in bytes; UINT64_MAX if it is more than that. */
typedef struct addrspace_usage {
    uint32_t size;
    uint32_t reserved;
    uint64_t mapped;
    uint64_t writable_private;
    uint64_t executable;
    uint64_t shared;
    uint64_t regions; /**< Their number. */
} addrspace_usage;

#define ADDRSPACE_USAGE_INIT {sizeof(addrspace_usage), 0, 0, 0, 0, 0, 0}

/**
 * How far an iteration has come: the addresses from `next` to `last` are left.
 *
 * It holds nothing of the space, which may change meanwhile.
 */
typedef struct addrspace_cursor {
    uint32_t size;
    uint32_t done; /**< Not 0 when nothing is left. */
    uint64_t next;
    uint64_t last;
} addrspace_cursor;

/** All addresses. */
#define ADDRSPACE_CURSOR_INIT {sizeof(addrspace_cursor), 0, 0, UINT64_MAX}

/** Why a call was refused. */
typedef struct addrspace_error {
    uint32_t size;
    addrspace_status status;
    int32_t sys_errno; /**< What Linux would answer, one of E*, with Linux's numbers. */
    int32_t handler;   /**< What the callback has answered, if it refused. */
    uint64_t at;       /**< Then nothing was done from this address on. */
} addrspace_error;

#define ADDRSPACE_ERROR_INIT {sizeof(addrspace_error), ADDRSPACE_OK, 0, 0, 0}

/** The kinds of changes. */
typedef enum addrspace_kind {
    ADDRSPACE_MAP = 0,     /**< A new mapping, over what is there. */
    ADDRSPACE_UNMAP = 1,   /**< Mappings that go. */
    ADDRSPACE_PROTECT = 2, /**< Mappings that get the protection `prot`. */
    ADDRSPACE_FLAGS = 3,   /**< Mappings whose flags change. */
    ADDRSPACE_MOVE = 4     /**< Mappings that move, over what is there. */
} addrspace_kind;

/**
 * One change that a host can make with one call.
 *
 * There is more behind it than is seen: the functions that ask about an update want the
 * pointer that the callback was given, not one to a copy.
 */
typedef struct addrspace_update {
    uint32_t size;
    uint32_t kind;     /**< One of addrspace_kind. */
    uint64_t start;    /**< The first byte that changes; of a move, at the old place. */
    uint64_t last;     /**< The last one. */
    uint64_t to_start; /**< The new place of a move, which may be longer. */
    uint64_t to_last;
    uint32_t prot;        /**< Of MAP and PROTECT. */
    uint32_t set;         /**< Of MAP the flags; of FLAGS those that are added. */
    uint32_t clear;       /**< Of FLAGS those that are taken away. */
    uint32_t keep_source; /**< 1 if the old place of a move stays mapped. */
} addrspace_update;

/**
 * Makes a change of memory.
 *
 * @param update  What to do; good until the callback returns.
 * @param user    What the call was given.
 * @return 0 if it is made. Any other number refuses: then nothing of it was made, but for
 *         what addrspace_update_made_to has acknowledged, and nothing more is told.
 */
typedef int (*addrspace_update_fn)(const addrspace_update *update, void *user);

/** Says whether a fork keeps a region: 0 if not. */
typedef int (*addrspace_keep_fn)(const addrspace_region *region, void *user);

/** Whose the gaps of a space are. */
typedef enum addrspace_gaps {
    ADDRSPACE_GAPS_FOREIGN = 0, /**< Somebody else's: an UNMAP never covers a gap. */
    ADDRSPACE_GAPS_OWNED = 1    /**< The host's: one UNMAP may reach over gaps. */
} addrspace_gaps;

/* Making and destroying. */

/**
 * Makes the books of the `len` bytes at `start`, in which nothing is mapped.
 *
 * @param page_size  A power of two; `start` and `len` are multiples of it. A length of
 *                   zero is a space in which every map fails.
 * @param out  The space, which addrspace_destroy takes back; NULL if it is refused.
 * @return ADDRSPACE_PAGE_SIZE, ADDRSPACE_GEOMETRY, ADDRSPACE_NO_MEMORY.
 */
addrspace_status addrspace_create(uint64_t start, uint64_t len, uint64_t page_size,
                                  addrspace **out);

/** The same for all 2^64 bytes, in pages of at least 2 bytes. */
addrspace_status addrspace_create_whole(uint64_t page_size, addrspace **out);

/** Gives the books back. NULL is none. Nothing is told. */
void addrspace_destroy(addrspace *space);

/**
 * Copies a space, its limits and marks included; the copy is a snapshot as well.
 *
 * @param out  The copy, which addrspace_destroy takes back; NULL if it is refused.
 * @return ADDRSPACE_NO_MEMORY.
 */
addrspace_status addrspace_clone(const addrspace *space, addrspace **out);

/** The same with the regions that `keep` wants, as for fork(2). NULL keeps all. */
addrspace_status addrspace_fork(const addrspace *space, addrspace_keep_fn keep, void *user,
                                addrspace **out);

/** Says whose the gaps are, one of addrspace_gaps; FOREIGN if it is not said. */
addrspace_status addrspace_set_gaps(addrspace *space, uint32_t gaps);

/** Forgets all mappings and tells nobody. Bounds and limits stay. */
addrspace_status addrspace_reset(addrspace *space);

/* Changing. `host` is told each change, with `user`; NULL keeps books alone.
 *
 * All of them answer ADDRSPACE_ZERO_LENGTH, ADDRSPACE_UNALIGNED or ADDRSPACE_OUT_OF_BOUNDS
 * if the range is no range of pages of the space, ADDRSPACE_REGION_LIMIT if a limit is in
 * the way, ADDRSPACE_NO_MEMORY if the books cannot grow, and ADDRSPACE_HANDLER if the host
 * refuses: then what it has made before is recorded, and calling again does the rest. */

/**
 * Maps `len` bytes where there is room; nothing is replaced.
 *
 * @param place  Where; NULL is the lowest place.
 * @param addr   The address.
 * @return Also ADDRSPACE_NO_ROOM, ADDRSPACE_ALIGNMENT, ADDRSPACE_BYTE_LIMIT,
 *         ADDRSPACE_UNALIGNED_OFFSET, ADDRSPACE_OFFSET_OVERFLOW.
 */
addrspace_status addrspace_map_any(addrspace *space, uint64_t len,
                                   const addrspace_mapping *what,
                                   const addrspace_placement *place, addrspace_update_fn host,
                                   void *user, uint64_t *addr);

/**
 * Maps the `len` bytes at `addr` in place of what is there, as one MAP.
 *
 * @return Also ADDRSPACE_BYTE_LIMIT, ADDRSPACE_UNALIGNED_OFFSET,
 *         ADDRSPACE_OFFSET_OVERFLOW.
 */
addrspace_status addrspace_map_at(addrspace *space, uint64_t addr, uint64_t len,
                                  const addrspace_mapping *what, addrspace_update_fn host,
                                  void *user);

/** The same if nothing is mapped there; else ADDRSPACE_OCCUPIED. */
addrspace_status addrspace_map_at_no_replace(addrspace *space, uint64_t addr, uint64_t len,
                                             const addrspace_mapping *what,
                                             addrspace_update_fn host, void *user);

/** Unmaps what is mapped of the `len` bytes at `addr`: one UNMAP per run without gaps. */
addrspace_status addrspace_unmap(addrspace *space, uint64_t addr, uint64_t len,
                                 addrspace_update_fn host, void *user);

/**
 * Gives what is mapped of the `len` bytes at `addr` the protection `prot`.
 *
 * Gaps are skipped: addrspace_is_fully_mapped tells those who have to answer ENOMEM.
 */
addrspace_status addrspace_protect(addrspace *space, uint64_t addr, uint64_t len,
                                   uint32_t prot, addrspace_update_fn host, void *user);

/** Adds and takes away flags; of ADDRSPACE_SHARED neither: ADDRSPACE_SHARED_FLAG. */
addrspace_status addrspace_set_flags(addrspace *space, uint64_t addr, uint64_t len,
                                     uint32_t set, uint32_t clear, addrspace_update_fn host,
                                     void *user);

/**
 * Resizes or moves the mapping of the `old_len` bytes at `addr`, by the rules of
 * mremap(2) of Linux 6.17; an `old_len` of 0 duplicates a shared mapping.
 *
 * @param place  Where it may go if it may move; NULL is the lowest place.
 * @param new_addr  Where it is afterwards.
 * @return Also ADDRSPACE_NO_ROOM, ADDRSPACE_ALIGNMENT, ADDRSPACE_NOT_MAPPED,
 *         ADDRSPACE_SEVERAL_MAPPINGS, ADDRSPACE_OVERLAP, ADDRSPACE_BAD_DESTINATION,
 *         ADDRSPACE_BAD_REMAP, ADDRSPACE_OFFSET_OVERFLOW, ADDRSPACE_BYTE_LIMIT.
 */
addrspace_status addrspace_remap(addrspace *space, uint64_t addr, uint64_t old_len,
                                 uint64_t new_len, const addrspace_remapping *how,
                                 const addrspace_placement *place, addrspace_update_fn host,
                                 void *user, uint64_t *new_addr);

/** Marks all that is mapped now as original. No host hears of it. */
addrspace_status addrspace_mark_original(addrspace *space);

/** Unmaps all that is not original: one UNMAP per run without gaps. */
addrspace_status addrspace_unmap_non_original(addrspace *space, addrspace_update_fn host,
                                              void *user);

/** Makes a space equal to a snapshot, the shortest way; also ADDRSPACE_OTHER_GEOMETRY. */
addrspace_status addrspace_restore(addrspace *space, const addrspace *snapshot,
                                   addrspace_update_fn host, void *user);

/** Sets the limits of the calls to come. */
addrspace_status addrspace_set_limits(addrspace *space, const addrspace_limits *limits);

/* Looking. Any address may be asked for, aligned or not, of the space or not. */

/** Tells the region around `addr`, whole; ADDRSPACE_NOTHING if it is not mapped. */
addrspace_status addrspace_query(const addrspace *space, uint64_t addr,
                                 addrspace_region *out);

/**
 * Tells the next region that has pages among the addresses of the cursor, cut to those
 * pages, and moves the cursor past it; ADDRSPACE_NOTHING at the end.
 */
addrspace_status addrspace_next_region(const addrspace *space, addrspace_cursor *cursor,
                                       addrspace_region *out);

/** The same for gaps. */
addrspace_status addrspace_next_gap(const addrspace *space, addrspace_cursor *cursor,
                                    addrspace_span *out);

/** Tells whether each of the `len` bytes at `addr` is mapped. */
addrspace_status addrspace_is_fully_mapped(const addrspace *space, uint64_t addr,
                                           uint64_t len, bool *out);

/** Counts the places for `len` bytes; neither hint nor policy matters. */
addrspace_status addrspace_placements(const addrspace *space, uint64_t len,
                                      const addrspace_placement *place, uint64_t *out);

/** Tells all addresses of the space; ADDRSPACE_NOTHING if its length is zero. */
addrspace_status addrspace_bounds(const addrspace *space, addrspace_span *out);

/** The size of a page in bytes; 0 for NULL, and from within a callback. */
uint64_t addrspace_page_size(const addrspace *space);

/** Tells how much is mapped. */
addrspace_status addrspace_usage_of(const addrspace *space, addrspace_usage *out);

/** Tells the limits in force. */
addrspace_status addrspace_limits_of(const addrspace *space, addrspace_limits *out);

/** Tells whether two spaces have the same bounds, pages, contents and marks. */
addrspace_status addrspace_equal(const addrspace *space, const addrspace *other, bool *out);

/**
 * Tells `hear` the updates that would make a space equal to `target`, without making them.
 *
 * If it answers other than 0 the answer is ADDRSPACE_HANDLER, and no more is told.
 */
addrspace_status addrspace_diff(const addrspace *space, const addrspace *target,
                                addrspace_update_fn hear, void *user);

/* Within a callback that was given an update, with the pointer that it was given. */

/**
 * Acknowledges that the update is made below `addr`, should the callback refuse the rest.
 *
 * Below it an UNMAP, PROTECT, FLAGS or MOVE is recorded, and what a MAP was to replace is
 * recorded as gone.
 */
addrspace_status addrspace_update_made_to(const addrspace_update *update, uint64_t addr);

/** Tells what a MAP maps; ADDRSPACE_NOTHING for other kinds. */
addrspace_status addrspace_update_region(const addrspace_update *update,
                                         addrspace_region *out);

/**
 * Tells the next piece that was there before, of a MAP of what it replaces, among the
 * addresses of the cursor, and moves the cursor past it; ADDRSPACE_NOTHING at the end.
 */
addrspace_status addrspace_update_next_piece(const addrspace_update *update,
                                             addrspace_cursor *cursor, addrspace_region *out);

/** Tells the next piece that a MAP or the new place of a MOVE replaces. */
addrspace_status addrspace_update_next_replaced(const addrspace_update *update,
                                                addrspace_cursor *cursor,
                                                addrspace_region *out);

/* When something was refused. */

/** Tells why the last call on the space that was not ADDRSPACE_OK was so; also from within
    a callback. What is asked of an update does not count. */
addrspace_status addrspace_last_error(const addrspace *space, addrspace_error *out);

/**
 * Tells the same in English, with the numbers.
 *
 * @param buf  Gets at most `cap` bytes, the terminating zero included.
 * @return The length of the whole message without the zero, as snprintf does; 0 if
 *         nothing was refused.
 */
size_t addrspace_error_message(const addrspace *space, char *buf, size_t cap);

/** A status in English; for addrspace_create, which has no space to ask. Static. */
const char *addrspace_status_text(addrspace_status status);

/** The version of the library, "0.1.0". Static. */
const char *addrspace_version(void);

#ifdef __cplusplus
}
#endif

#endif /* ADDRSPACE_H */
