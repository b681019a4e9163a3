//! zyedidia/libmmap for those who link it: the functions of `include/mmap_c.h`.
//!
//! The header says what each does. `fd`, `offset` and `flags` are the embedder's own:
//! they are kept and told as given, and a split does not advance the offset.
#![allow(unsafe_code, reason = "C hands in pointers, and wants plain names")]

use super::boxed::try_box;
use super::reentrant::{Books, Refusal};
use alloc::boxed::Box;
use core::ffi::{c_int, c_void};
use core::mem::offset_of;
use core::ptr;

/// A space, as C holds it: `struct MMapAddrSpace`.
///
/// It is used by one thread at a time.
#[derive(Debug)]
pub struct MMapAddrSpace(Books);

/// What a page is: `struct MMapInfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MMapInfo {
    /// The protection, any number.
    pub prot: c_int,
    /// The flags, any number.
    pub flags: c_int,
    /// The file, or any number.
    pub fd: c_int,
    /// The offset of the mapping, which a split does not advance.
    pub offset: i64,
    /// Whether the page is marked by [`mmap_mark_original`].
    pub original: bool,
}

impl MMapInfo {
    /// The members with their types and offsets, for the test of the headers.
    #[doc(hidden)]
    pub const LAYOUT: &[(&str, &str, usize)] = &[
        ("prot", "c_int", offset_of!(Self, prot)),
        ("flags", "c_int", offset_of!(Self, flags)),
        ("fd", "c_int", offset_of!(Self, fd)),
        ("offset", "i64", offset_of!(Self, offset)),
        ("original", "bool", offset_of!(Self, original)),
    ];
}

/// The answer of a call: `enum MMapError`. The numbers reach guests.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MMapError {
    /// It is done.
    Ok = 0,
    /// The range is none of the space, or there is no space.
    Inval = 1,
    /// There is no memory for the books.
    NoMem = 2,
}

/// Hears of a piece that is going to change: `MMapUpdateFn`.
///
/// It may call any function of the same space but [`mmap_destroy`], and must neither
/// throw nor `longjmp`.
pub type MMapUpdateFn = unsafe extern "C" fn(usize, usize, MMapInfo, *mut c_void);

const FAILED: usize = usize::MAX;

impl From<Result<(), Refusal>> for MMapError {
    fn from(result: Result<(), Refusal>) -> Self {
        match result {
            Ok(()) => Self::Ok,
            Err(Refusal::Invalid) => Self::Inval,
            Err(Refusal::NoMemory) => Self::NoMem,
        }
    }
}

/// The books behind a handle; nothing behind null.
///
/// # Safety
///
/// `mm` is null, or from [`mmap_create`] and not destroyed during `'a`, and no other
/// thread uses it.
unsafe fn books<'a>(mm: *const MMapAddrSpace) -> Option<&'a Books> {
    // SAFETY: what `mmap_create` made is never borrowed exclusively, so that callbacks
    // can come back in; it stays until `mmap_destroy`.
    unsafe { mm.as_ref() }.map(|space| &space.0)
}

/// What calls back, if anything does.
///
/// # Safety
///
/// As long as the answer is used, `ufn` may be called with `udata`.
unsafe fn teller(
    ufn: Option<MMapUpdateFn>,
    udata: *mut c_void,
) -> Option<impl Fn(usize, usize, MMapInfo)> {
    ufn.map(|ufn| {
        move |start, len, info| {
            // SAFETY: the caller of `teller` answers for it.
            unsafe { ufn(start, len, info, udata) }
        }
    })
}

/// Makes the books of the `len` bytes at `start`, in pages of `pagesize` bytes; null
/// if that is no space, or there is no memory.
#[unsafe(no_mangle)]
pub extern "C" fn mmap_create(start: usize, len: usize, pagesize: usize) -> *mut MMapAddrSpace {
    let handle = Books::new(start, len, pagesize).and_then(|books| try_box(MMapAddrSpace(books)));
    handle.map_or(ptr::null_mut(), |handle| Box::into_raw(handle).cast())
}

/// Takes a space away; null is none.
///
/// # Safety
///
/// `mm` is null, or from [`mmap_create`] and not destroyed yet, and no call on it is in
/// progress.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap_destroy(mm: *mut MMapAddrSpace) {
    if !mm.is_null() {
        // SAFETY: `mmap_create` made it as a box of an array of one, and it is the
        // caller's to give up.
        drop(unsafe { Box::from_raw(mm.cast::<[MMapAddrSpace; 1]>()) });
    }
}

/// Forgets all mappings and tells nobody.
///
/// # Safety
///
/// `mm` is null or a live handle that no other thread uses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap_reset(mm: *mut MMapAddrSpace) {
    // SAFETY: as the caller says.
    if let Some(books) = unsafe { books(mm) } {
        // Without memory it has no effect; so says the header.
        let _ = books.reset();
    }
}

/// From now on places are random, from `seed`.
///
/// # Safety
///
/// `mm` is null or a live handle that no other thread uses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap_enable_aslr(mm: *mut MMapAddrSpace, seed: u64) {
    // SAFETY: as the caller says.
    if let Some(books) = unsafe { books(mm) } {
        books.enable_random(seed);
    }
}

/// Maps `len` bytes at `hint`, if that is free, or at a place of its own choice, and
/// tells the address; `(uintptr_t) -1` if there is none.
///
/// # Safety
///
/// `mm` is null or a live handle that no other thread uses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap_map_any(
    mm: *mut MMapAddrSpace,
    hint: usize,
    len: usize,
    prot: c_int,
    flags: c_int,
    fd: c_int,
    offset: i64,
) -> usize {
    let info = MMapInfo { prot, flags, fd, offset, original: false };
    // SAFETY: as the caller says.
    let books = unsafe { books(mm) };
    books.and_then(|books| books.map_any(hint, len, info).ok()).unwrap_or(FAILED)
}

/// Maps `len` bytes at `addr` in place of what is there, which is told before, and
/// tells the address; `(uintptr_t) -1` if that is refused.
///
/// # Safety
///
/// `mm` is null or a live handle that no other thread uses; `ufn` may be called with
/// `udata`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap_map_at(
    mm: *mut MMapAddrSpace,
    addr: usize,
    len: usize,
    prot: c_int,
    flags: c_int,
    fd: c_int,
    offset: i64,
    ufn: Option<MMapUpdateFn>,
    udata: *mut c_void,
) -> usize {
    let info = MMapInfo { prot, flags, fd, offset, original: false };
    // SAFETY: as the caller says.
    let Some(books) = (unsafe { books(mm) }) else { return FAILED };
    // SAFETY: as the caller says.
    let tell = unsafe { teller(ufn, udata) };
    books.map_at(addr, len, info, tell).map_or(FAILED, |()| addr)
}

/// Unmaps what is mapped of `len` bytes at `addr`, which is told before.
///
/// # Safety
///
/// As of [`mmap_map_at`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap_unmap(
    mm: *mut MMapAddrSpace,
    addr: usize,
    len: usize,
    ufn: Option<MMapUpdateFn>,
    udata: *mut c_void,
) -> MMapError {
    // SAFETY: as the caller says.
    let Some(books) = (unsafe { books(mm) }) else { return MMapError::Inval };
    // SAFETY: as the caller says.
    let tell = unsafe { teller(ufn, udata) };
    books.unmap(addr, len, tell).into()
}

/// Tells what the page around `addr` is, if it is mapped.
///
/// # Safety
///
/// `mm` is null or a live handle that no other thread uses; `info` is null or may be
/// written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap_query_page(
    mm: *const MMapAddrSpace,
    addr: usize,
    info: *mut MMapInfo,
) -> bool {
    // SAFETY: as the caller says.
    let found = unsafe { books(mm) }.and_then(|books| books.query(addr));
    if let Some(found) = found
        && !info.is_null()
    {
        // SAFETY: as the caller says; it is not null.
        unsafe { info.write(found) };
    }
    found.is_some()
}

/// Gives what is mapped of `len` bytes at `addr` the protection `prot`; each piece is
/// told before it changes.
///
/// # Safety
///
/// As of [`mmap_map_at`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap_protect(
    mm: *mut MMapAddrSpace,
    addr: usize,
    len: usize,
    prot: c_int,
    ufn: Option<MMapUpdateFn>,
    udata: *mut c_void,
) -> MMapError {
    // SAFETY: as the caller says.
    let Some(books) = (unsafe { books(mm) }) else { return MMapError::Inval };
    // SAFETY: as the caller says.
    let tell = unsafe { teller(ufn, udata) };
    books.protect(addr, len, prot, tell).into()
}

/// Marks all that is mapped now.
///
/// # Safety
///
/// `mm` is null or a live handle that no other thread uses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap_mark_original(mm: *mut MMapAddrSpace) {
    // SAFETY: as the caller says.
    if let Some(books) = unsafe { books(mm) } {
        // Without memory it has no effect; so says the header.
        let _ = books.mark_original();
    }
}

/// Unmaps all that is not marked; each entry is told before it goes.
///
/// # Safety
///
/// As of [`mmap_map_at`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap_unmap_non_original(
    mm: *mut MMapAddrSpace,
    ufn: Option<MMapUpdateFn>,
    udata: *mut c_void,
) {
    // SAFETY: as the caller says.
    let Some(books) = (unsafe { books(mm) }) else { return };
    // SAFETY: as the caller says.
    let tell = unsafe { teller(ufn, udata) };
    // Without memory it has no effect; so says the header.
    let _ = match &tell {
        Some(tell) => books.unmap_non_original(Some(tell)),
        None => books.unmap_non_original(None),
    };
}
