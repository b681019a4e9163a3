/**
 * @file mmap_c.h
 * The books of an address space, with the functions of zyedidia/libmmap.
 *
 * A program written for libmmap includes this header instead and links libaddrspace. It
 * notices nothing but these differences:
 *
 *  - a range, or a hint, that begins behind the end of the space is refused;
 *  - mmap_create answers NULL for a space that would end past the highest address;
 *  - neighbours that become equal by mmap_mark_original are one entry, so they are
 *    told with one callback;
 *  - where there is no memory, the answer is MMAP_NOMEM, -1 or NULL, and not an exception
 *    of C++;
 *  - no exception passes through a callback.
 *
 * addrspace.h is the better interface for a new program: with reasons for what is
 * refused, callbacks that can refuse, and all that the library can do.
 *
 * Units: addresses and lengths are bytes. An address has to be page-aligned where
 * something is changed; a length is rounded up to whole pages and is not zero.
 *
 * Entries: what is mapped is a list of entries, each a range of pages with equal
 * protection, flags, fd, offset and mark. Neighbours that are equal are one entry.
 * prot, flags, fd and offset are the caller's own: any number is kept and told as
 * given. Where an entry is cut, both parts keep its offset: it does not advance.
 *
 * Callbacks: an MMapUpdateFn hears of each entry that a call is about to change, cut to
 * the range of the call, in ascending order; info is what is mapped until then. The
 * callback may call any function of the same space but mmap_destroy:
 *
 *  - mmap_unmap and mmap_map_at call back for all entries first, and then change the
 *    books: in the callbacks they are as before. What a callback maps in the range is
 *    removed with the rest.
 *  - mmap_protect calls back for an entry and changes it, then goes on with the next.
 *    What a callback does to an entry of the range that is still to come is undone:
 *    the entry is told as it was when the call began, and is then that with the new
 *    protection.
 *  - mmap_unmap_non_original unmaps one after the other the entries that were not
 *    marked when the call began, each as mmap_unmap does.
 *
 * It must not throw an exception through the library, nor leave it with longjmp.
 *
 * A null callback is none. A null space is answered by -1, MMAP_INVAL, false or no
 * effect.
 *
 * No memory: the answer is NULL, -1 or MMAP_NOMEM; nothing has changed and nothing was
 * told. A function without an answer has no effect then: mmap_unmap_non_original can need
 * memory if it has a callback, and each of them if it is called from a callback. For what
 * is told will be done: a change from within a callback first sets memory aside for all
 * entries that the calls around it still have to change, which for many entries is much.
 *
 * Threads: a space is used by one thread at a time. Different spaces have nothing in
 * common.
 */
/* The guard of the header that this one stands in for: a program needs one of them. */
#ifndef LIBMMAP_C_H
#define LIBMMAP_C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The books of a range of addresses. */
struct MMapAddrSpace;

/** What a page is. */
struct MMapInfo {
    int prot;       /**< The protection, as given. */
    int flags;      /**< The flags, as given. */
    int fd;         /**< The file, as given. */
    int64_t offset; /**< The offset, as given for the whole mapping. */
    bool original;  /**< Whether mmap_mark_original has marked the page. */
};

/** The answer of a call. The numbers do not change. */
enum MMapError {
    MMAP_OK = 0,    /**< It is done. */
    MMAP_INVAL = 1, /**< The range is none of the space. */
    MMAP_NOMEM = 2  /**< There is no memory for the books. */
};

/**
 * Hears of an entry that is about to change.
 *
 * @param start  Where it begins, or the part of it that is in the range of the call.
 * @param len    Its length in bytes; SIZE_MAX for one that is as long as all of memory.
 * @param info   What is mapped there until now.
 * @param udata  What the call was given.
 */
typedef void (*MMapUpdateFn)(uintptr_t start, size_t len, struct MMapInfo info,
                             void *udata);

/**
 * Makes the books of the `len` bytes at `start`, in which nothing is mapped.
 *
 * `start` is rounded down to a page and `len` up, one independently of the other. With
 * a length of zero nothing can be mapped.
 *
 * @param pagesize  A power of two, 1 included.
 * @return The space, which mmap_destroy takes back; NULL if `pagesize` is no power of
 *         two, if the end is past the highest address, or without memory.
 */
struct MMapAddrSpace *mmap_create(uintptr_t start, size_t len, size_t pagesize);

/** Gives the books back. NULL is none. Nobody is called; no call may be in progress. */
void mmap_destroy(struct MMapAddrSpace *mm);

/** Forgets all mappings and calls nobody. Random placement goes on where it was. */
void mmap_reset(struct MMapAddrSpace *mm);

/**
 * Makes mmap_map_any choose a random place from now on.
 *
 * Each call that finds its place by chance draws one number of a splitmix64 generator,
 * so the same seed and calls give the same places: of all n places, in ascending order,
 * that with the number drawn modulo n. Enabling it again starts anew.
 */
void mmap_enable_aslr(struct MMapAddrSpace *mm, uint64_t seed);

/**
 * Maps `len` bytes where nothing is mapped.
 *
 * @param hint  The wanted address. It is used if it is not zero and page-aligned and the
 *              whole range is free; else the place is the lowest that is free, or a
 *              random one.
 * @return The address; (uintptr_t) -1 if there is no place. 0 is an address.
 */
uintptr_t mmap_map_any(struct MMapAddrSpace *mm, uintptr_t hint, size_t len, int prot,
                       int flags, int fd, int64_t offset);

/**
 * Maps the `len` bytes at `addr` in place of what is there.
 *
 * The new pages are not marked.
 *
 * @param ufn  Hears of what is replaced, before.
 * @return `addr`; (uintptr_t) -1 if the range is none of the space.
 */
uintptr_t mmap_map_at(struct MMapAddrSpace *mm, uintptr_t addr, size_t len, int prot,
                      int flags, int fd, int64_t offset, MMapUpdateFn ufn, void *udata);

/**
 * Unmaps what is mapped of the `len` bytes at `addr`.
 *
 * @param ufn  Hears of it, before.
 */
enum MMapError mmap_unmap(struct MMapAddrSpace *mm, uintptr_t addr, size_t len,
                          MMapUpdateFn ufn, void *udata);

/**
 * Tells what the page around `addr` is; any address may be asked for.
 *
 * @param info  Is written if the page is mapped; NULL if that is all there is to know.
 * @return Whether it is mapped.
 */
bool mmap_query_page(const struct MMapAddrSpace *mm, uintptr_t addr,
                     struct MMapInfo *info);

/**
 * Gives what is mapped of the `len` bytes at `addr` the protection `prot`.
 *
 * Marks stay. Pages that are not mapped are skipped, also if all are.
 *
 * @param ufn  Hears of each entry before it changes, also if it has that protection.
 */
enum MMapError mmap_protect(struct MMapAddrSpace *mm, uintptr_t addr, size_t len,
                            int prot, MMapUpdateFn ufn, void *udata);

/** Marks all that is mapped now as original. */
void mmap_mark_original(struct MMapAddrSpace *mm);

/**
 * Unmaps all that is not original.
 *
 * A page that was mapped over an original one is not; what was there does not come back.
 *
 * @param ufn  Hears of each entry, before it goes.
 */
void mmap_unmap_non_original(struct MMapAddrSpace *mm, MMapUpdateFn ufn, void *udata);

#ifdef __cplusplus
}
#endif

#endif /* LIBMMAP_C_H */
