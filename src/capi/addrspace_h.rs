//! The whole `AddrSpace` for C: the functions of `include/addrspace.h`.
//!
//! The header says what each does.
#![allow(unsafe_code, reason = "C hands in pointers, and wants plain names")]

use super::boxed::try_box;
use super::failure::{Code, Failure, Host};
use super::status::{AnyStatus, Status};
use super::structs::{
    AddrspaceCursor, AddrspaceError, AddrspaceLimits, AddrspaceMapping, AddrspacePlacement,
    AddrspaceRegion, AddrspaceRemapping, AddrspaceSpan, AddrspaceUpdate, AddrspaceUsage, gaps_of,
    kind,
};
use super::versioned;
use crate::{AddrSpace, MapFlags, Mapping, OpError, Pieces, Placement, Prot, Span, Update};
use alloc::boxed::Box;
use core::cell::{Cell, RefCell};
use core::ffi::{CStr, c_char, c_int, c_void};
use core::fmt::{self, Write};
use core::ptr;

/// A space, as C holds it: `struct addrspace`.
///
/// It is used by one thread at a time.
#[derive(Debug)]
pub struct Addrspace {
    books: RefCell<AddrSpace>,
    /// Why the last call that was refused was so.
    failure: Cell<Option<Failure>>,
}

/// Makes a change, or refuses: `addrspace_update_fn`.
pub type UpdateFn = unsafe extern "C" fn(*const AddrspaceUpdate, *mut c_void) -> c_int;

/// Says which regions a fork keeps: `addrspace_keep_fn`.
pub type KeepFn = unsafe extern "C" fn(*const AddrspaceRegion, *mut c_void) -> c_int;

/// An update with the part that C sees in front, so that a pointer to the one is a
/// pointer to the other.
#[repr(C)]
struct Reported<'a> {
    seen: AddrspaceUpdate,
    update: Update<'a>,
}

impl<'a> From<Update<'a>> for Reported<'a> {
    fn from(update: Update<'a>) -> Self {
        let span = update.span();
        let mut seen =
            AddrspaceUpdate { start: span.start(), last: span.last(), ..AddrspaceUpdate::NONE };
        match &update {
            Update::Map { region, .. } => {
                seen.kind = kind::MAP;
                (seen.prot, seen.set) = (region.prot.bits(), region.flags.bits());
            }
            Update::Unmap { .. } => seen.kind = kind::UNMAP,
            Update::Protect { prot, .. } => (seen.kind, seen.prot) = (kind::PROTECT, prot.bits()),
            Update::Flags { set, clear, .. } => {
                (seen.kind, seen.set, seen.clear) = (kind::FLAGS, set.bits(), clear.bits());
            }
            Update::Move { to, keep_source, .. } => {
                (seen.kind, seen.keep_source) = (kind::MOVE, (*keep_source).into());
                (seen.to_start, seen.to_last) = (to.start(), to.last());
            }
        }
        Self { seen, update }
    }
}

/// Lets `act` change the books of a space with a handler that asks C, or nobody.
///
/// # Safety
///
/// As of [`change`], and `host` may be called with `user`.
unsafe fn change_with(
    space: *mut Addrspace,
    host: Option<UpdateFn>,
    user: *mut c_void,
    act: impl FnOnce(&mut AddrSpace, Host<'_>) -> Result<(), Failure>,
) -> Status {
    let act = |books: &mut AddrSpace| {
        // SAFETY: as the caller says.
        act(books, &mut |update| unsafe { ask(host, user, update) })
    };
    // SAFETY: as the caller says.
    unsafe { change(space, act) }
}

/// Asks C to make a change.
///
/// # Safety
///
/// `host` may be called with `user`.
unsafe fn ask(host: Option<UpdateFn>, user: *mut c_void, update: Update<'_>) -> Result<(), Code> {
    let Some(host) = host else { return Ok(()) };
    let reported = Reported::from(update);
    let seen = ptr::from_ref(&reported).cast::<AddrspaceUpdate>();
    // SAFETY: as the caller says.
    match unsafe { host(seen, user) } {
        0 => Ok(()),
        code => Err(Code(code)),
    }
}

impl Addrspace {
    fn boxed(books: AddrSpace) -> Result<Box<[Self; 1]>, Status> {
        let space = Self { books: RefCell::new(books), failure: Cell::new(None) };
        try_box(space).ok_or(Status::NoMemory)
    }

    /// Keeps why a call was refused.
    fn conclude(&self, result: Result<(), Failure>) -> Status {
        match result {
            Ok(()) => Status::Ok,
            Err(failure) => {
                self.failure.set(Some(failure));
                failure.status()
            }
        }
    }
}

/// Lets `act` change the books of a space.
///
/// # Safety
///
/// `space` is null or a live handle that no other thread uses.
unsafe fn change(
    space: *mut Addrspace,
    act: impl FnOnce(&mut AddrSpace) -> Result<(), Failure>,
) -> Status {
    // SAFETY: as the caller says; a handle is never borrowed exclusively.
    let Some(space) = (unsafe { space.as_ref() }) else { return Status::Null };
    // Borrowed already: the call comes from a callback.
    let books = space.books.try_borrow_mut();
    let result = books.map_err(|_| Status::Busy.into()).and_then(|mut books| act(&mut books));
    space.conclude(result)
}

/// Lets `act` look into the books of a space.
///
/// # Safety
///
/// As of [`change`].
unsafe fn look(
    space: *const Addrspace,
    act: impl FnOnce(&AddrSpace) -> Result<(), Failure>,
) -> Status {
    // SAFETY: as the caller says; a handle is never borrowed exclusively.
    let Some(space) = (unsafe { space.as_ref() }) else { return Status::Null };
    let books = space.books.try_borrow();
    let result = books.map_err(|_| Status::Busy.into()).and_then(|books| act(&books));
    space.conclude(result)
}

/// Writes a result to where the caller wants it.
///
/// # Safety
///
/// `out` is null or may be written to.
unsafe fn put<T>(out: *mut T, value: T) -> Result<(), Failure> {
    if out.is_null() {
        return Err(Status::Null.into());
    }
    // SAFETY: as the caller says; it is not null.
    unsafe { out.write(value) };
    Ok(())
}

/// Reads what is to be mapped.
///
/// # Safety
///
/// As of [`versioned::read`].
unsafe fn mapping(c: *const AddrspaceMapping) -> Result<Mapping, Status> {
    // SAFETY: as the caller says.
    unsafe { versioned::read(c) }?.try_into()
}

/// Reads where it may go; null is the lowest place.
///
/// # Safety
///
/// As of [`versioned::read`].
unsafe fn placement(c: *const AddrspacePlacement) -> Result<Placement, Status> {
    if c.is_null() {
        return Ok(Placement::lowest());
    }
    // SAFETY: as the caller says.
    unsafe { versioned::read(c) }?.try_into()
}

/// Makes the books of `len` bytes at `start`.
///
/// # Safety
///
/// `out` is null or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_create(
    start: u64,
    len: u64,
    page_size: u64,
    out: *mut *mut Addrspace,
) -> Status {
    // SAFETY: as the caller says.
    unsafe { hand_out(out, || Ok(AddrSpace::new(start, len, page_size)?)) }
}

/// Makes the books of all 2^64 bytes.
///
/// # Safety
///
/// `out` is null or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_create_whole(
    page_size: u64,
    out: *mut *mut Addrspace,
) -> Status {
    // SAFETY: as the caller says.
    unsafe { hand_out(out, || Ok(AddrSpace::whole(page_size)?)) }
}

/// Gives `out` a new handle, or null.
///
/// # Safety
///
/// `out` is null or may be written to.
unsafe fn hand_out(
    out: *mut *mut Addrspace,
    make: impl FnOnce() -> Result<AddrSpace, Failure>,
) -> Status {
    if out.is_null() {
        return Status::Null;
    }
    let boxed = make().and_then(|books| Ok(Addrspace::boxed(books)?));
    let (handle, status) = match boxed {
        Ok(space) => (Box::into_raw(space).cast(), Status::Ok),
        Err(failure) => (ptr::null_mut(), failure.status()),
    };
    // SAFETY: as the caller says; it is not null.
    unsafe { out.write(handle) };
    status
}

/// Takes a space away; null is none.
///
/// # Safety
///
/// `space` is null or a live handle, and no call on it is in progress.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_destroy(space: *mut Addrspace) {
    if !space.is_null() {
        // SAFETY: `boxed` made it as a box of an array of one, and it is the caller's
        // to give up.
        drop(unsafe { Box::from_raw(space.cast::<[Addrspace; 1]>()) });
    }
}

/// Copies a space.
///
/// # Safety
///
/// As of [`addrspace_reset`]; `out` is null or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_clone(
    space: *const Addrspace,
    out: *mut *mut Addrspace,
) -> Status {
    // SAFETY: as the caller says.
    unsafe { addrspace_fork(space, None, ptr::null_mut(), out) }
}

/// Copies the regions that `keep` wants.
///
/// # Safety
///
/// As of [`addrspace_clone`], and `keep` may be called with `user`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_fork(
    space: *const Addrspace,
    keep: Option<KeepFn>,
    user: *mut c_void,
    out: *mut *mut Addrspace,
) -> Status {
    let fork = |books: &AddrSpace| {
        if out.is_null() {
            return Err(Status::Null.into());
        }
        // All that can be refused comes before the first question.
        let mut child = Addrspace::boxed(books.try_clone()?)?;
        if let Some(keep) = keep {
            let [space] = &mut *child;
            space.books.get_mut().retain(|region| {
                let region = AddrspaceRegion::from(region);
                // SAFETY: the caller answers for it.
                unsafe { keep(&raw const region, user) != 0 }
            });
        }
        // SAFETY: as the caller says.
        unsafe { put(out, Box::into_raw(child).cast()) }
    };
    // SAFETY: as the caller says.
    let status = unsafe { look(space, fork) };
    if status != Status::Ok && !out.is_null() {
        // SAFETY: as the caller says; it is not null.
        unsafe { out.write(ptr::null_mut()) };
    }
    status
}

/// Tells whether two spaces have the same contents.
///
/// # Safety
///
/// As of [`addrspace_reset`], for both; `out` is null or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_equal(
    space: *const Addrspace,
    other: *const Addrspace,
    out: *mut bool,
) -> Status {
    // SAFETY: as the caller says.
    let compare = |books: &AddrSpace, others: &AddrSpace| unsafe { put(out, books == others) };
    // SAFETY: as the caller says.
    unsafe { both(space, other, compare) }
}

/// Lets `act` look into two spaces.
///
/// # Safety
///
/// As of [`change`], for both.
unsafe fn both(
    space: *const Addrspace,
    other: *const Addrspace,
    act: impl FnOnce(&AddrSpace, &AddrSpace) -> Result<(), Failure>,
) -> Status {
    let look_at_both = |books: &AddrSpace| {
        // SAFETY: as the caller says; a handle is never borrowed exclusively.
        let other = unsafe { other.as_ref() }.ok_or(Status::Null)?;
        let others = other.books.try_borrow().map_err(|_| Status::Busy)?;
        act(books, &others)
    };
    // SAFETY: as the caller says.
    unsafe { look(space, look_at_both) }
}

/// Tells all addresses that are accounted for.
///
/// # Safety
///
/// As of [`addrspace_reset`]; `out` is null or as long as it says, and may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_bounds(
    space: *const Addrspace,
    out: *mut AddrspaceSpan,
) -> Status {
    let bounds = |books: &AddrSpace| {
        let span = books.span().ok_or(Status::Nothing)?;
        // SAFETY: as the caller says.
        Ok(unsafe { versioned::write(out, &span.into()) }?)
    };
    // SAFETY: as the caller says.
    unsafe { look(space, bounds) }
}

/// The size of a page; 0 for null.
///
/// # Safety
///
/// As of [`addrspace_reset`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_page_size(space: *const Addrspace) -> u64 {
    let mut bytes = 0;
    // SAFETY: as the caller says.
    unsafe {
        look(space, |books| {
            bytes = books.page_size().bytes();
            Ok(())
        });
    }
    bytes
}

/// Says whose the gaps are.
///
/// # Safety
///
/// As of [`addrspace_reset`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_set_gaps(space: *mut Addrspace, gaps: u32) -> Status {
    let set = |books: &mut AddrSpace| {
        books.set_gaps(gaps_of(gaps)?);
        Ok(())
    };
    // SAFETY: as the caller says.
    unsafe { change(space, set) }
}

/// Forgets all mappings and tells nobody.
///
/// # Safety
///
/// `space` is null or a live handle that no other thread uses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_reset(space: *mut Addrspace) -> Status {
    let reset = |books: &mut AddrSpace| {
        books.reset();
        Ok(())
    };
    // SAFETY: as the caller says.
    unsafe { change(space, reset) }
}

/// Maps `len` bytes where there is room.
///
/// # Safety
///
/// As of [`addrspace_reset`]; `what` and `place` are null or as long as they say; `host` may be
/// called with `user`; `out` is null or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_map_any(
    space: *mut Addrspace,
    len: u64,
    what: *const AddrspaceMapping,
    place: *const AddrspacePlacement,
    host: Option<UpdateFn>,
    user: *mut c_void,
    out: *mut u64,
) -> Status {
    let map = |books: &mut AddrSpace, host: Host<'_>| {
        if out.is_null() {
            return Err(Status::Null.into());
        }
        // SAFETY: as the caller says.
        let mapping = unsafe { mapping(what) }?;
        // SAFETY: as the caller says.
        let placement = unsafe { placement(place) }?;
        let addr = books.map_any(len, mapping, placement, host)?;
        // SAFETY: as the caller says.
        unsafe { put(out, addr) }
    };
    // SAFETY: as the caller says.
    unsafe { change_with(space, host, user, map) }
}

/// Maps `len` bytes at `addr` in place of what is there.
///
/// # Safety
///
/// As of [`addrspace_map_any`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_map_at(
    space: *mut Addrspace,
    addr: u64,
    len: u64,
    what: *const AddrspaceMapping,
    host: Option<UpdateFn>,
    user: *mut c_void,
) -> Status {
    let map = |books: &mut AddrSpace, host: Host<'_>| {
        // SAFETY: as the caller says.
        let mapping = unsafe { mapping(what) }?;
        Ok(books.map_at(addr, len, mapping, host)?)
    };
    // SAFETY: as the caller says.
    unsafe { change_with(space, host, user, map) }
}

/// Maps `len` bytes at `addr` if nothing is there.
///
/// # Safety
///
/// As of [`addrspace_map_any`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_map_at_no_replace(
    space: *mut Addrspace,
    addr: u64,
    len: u64,
    what: *const AddrspaceMapping,
    host: Option<UpdateFn>,
    user: *mut c_void,
) -> Status {
    let map = |books: &mut AddrSpace, host: Host<'_>| {
        // SAFETY: as the caller says.
        let mapping = unsafe { mapping(what) }?;
        Ok(books.map_at_no_replace(addr, len, mapping, host)?)
    };
    // SAFETY: as the caller says.
    unsafe { change_with(space, host, user, map) }
}

/// Unmaps what is mapped of `len` bytes at `addr`.
///
/// # Safety
///
/// As of [`addrspace_map_any`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_unmap(
    space: *mut Addrspace,
    addr: u64,
    len: u64,
    host: Option<UpdateFn>,
    user: *mut c_void,
) -> Status {
    // SAFETY: as the caller says.
    unsafe { change_with(space, host, user, |books, host| Ok(books.unmap(addr, len, host)?)) }
}

/// Sets the protection of what is mapped of `len` bytes at `addr`.
///
/// # Safety
///
/// As of [`addrspace_map_any`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_protect(
    space: *mut Addrspace,
    addr: u64,
    len: u64,
    prot: u32,
    host: Option<UpdateFn>,
    user: *mut c_void,
) -> Status {
    let prot = Prot::from_bits_retain(prot);
    // SAFETY: as the caller says.
    unsafe {
        change_with(space, host, user, |books, host| Ok(books.protect(addr, len, prot, host)?))
    }
}

/// Changes the flags of what is mapped of `len` bytes at `addr`.
///
/// # Safety
///
/// As of [`addrspace_map_any`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_set_flags(
    space: *mut Addrspace,
    addr: u64,
    len: u64,
    set: u32,
    clear: u32,
    host: Option<UpdateFn>,
    user: *mut c_void,
) -> Status {
    let (set, clear) = (MapFlags::from_bits_retain(set), MapFlags::from_bits_retain(clear));
    // SAFETY: as the caller says.
    unsafe {
        change_with(space, host, user, |books, host| {
            Ok(books.set_flags(addr, len, set, clear, host)?)
        })
    }
}

/// Resizes or moves what is mapped at `addr`.
///
/// # Safety
///
/// As of [`addrspace_map_any`]; `how` is null or as long as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_remap(
    space: *mut Addrspace,
    addr: u64,
    old_len: u64,
    new_len: u64,
    how: *const AddrspaceRemapping,
    place: *const AddrspacePlacement,
    host: Option<UpdateFn>,
    user: *mut c_void,
    out: *mut u64,
) -> Status {
    let remap = |books: &mut AddrSpace, host: Host<'_>| {
        if out.is_null() {
            return Err(Status::Null.into());
        }
        // SAFETY: as the caller says.
        let placement = unsafe { placement(place) }?;
        // SAFETY: as the caller says.
        let how = unsafe { versioned::read(how) }?.with(placement)?;
        let new = books.remap(addr, old_len, new_len, how, host)?;
        // SAFETY: as the caller says.
        unsafe { put(out, new) }
    };
    // SAFETY: as the caller says.
    unsafe { change_with(space, host, user, remap) }
}

/// Marks all that is mapped now as original.
///
/// # Safety
///
/// As of [`addrspace_reset`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_mark_original(space: *mut Addrspace) -> Status {
    let mark = |books: &mut AddrSpace| {
        books.mark_original();
        Ok(())
    };
    // SAFETY: as the caller says.
    unsafe { change(space, mark) }
}

/// Unmaps all that is not original.
///
/// # Safety
///
/// As of [`addrspace_map_any`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_unmap_non_original(
    space: *mut Addrspace,
    host: Option<UpdateFn>,
    user: *mut c_void,
) -> Status {
    // SAFETY: as the caller says.
    unsafe { change_with(space, host, user, |books, host| Ok(books.unmap_non_original(host)?)) }
}

/// Makes a space equal to another.
///
/// # Safety
///
/// As of [`addrspace_map_any`], for both spaces.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_restore(
    space: *mut Addrspace,
    snapshot: *const Addrspace,
    host: Option<UpdateFn>,
    user: *mut c_void,
) -> Status {
    let restore = |books: &mut AddrSpace, host: Host<'_>| {
        if ptr::eq(space, snapshot) {
            return Ok(()); // it is equal already
        }
        // SAFETY: as the caller says; a handle is never borrowed exclusively.
        let snapshot = unsafe { snapshot.as_ref() }.ok_or(Status::Null)?;
        let snapshot = snapshot.books.try_borrow().map_err(|_| Status::Busy)?;
        Ok(books.restore(&snapshot, host)?)
    };
    // SAFETY: as the caller says.
    unsafe { change_with(space, host, user, restore) }
}

/// Tells the updates that would make a space equal to another.
///
/// # Safety
///
/// As of [`addrspace_map_any`], for both spaces.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_diff(
    space: *const Addrspace,
    target: *const Addrspace,
    hear: Option<UpdateFn>,
    user: *mut c_void,
) -> Status {
    let tell = |books: &AddrSpace, target: &AddrSpace| {
        for update in books.diff(target)? {
            let at = update.span().start();
            // SAFETY: as the caller says.
            let answer = unsafe { ask(hear, user, update) };
            answer.map_err(|source| OpError::Handler { at, source })?;
        }
        Ok(())
    };
    // SAFETY: as the caller says.
    unsafe { both(space, target, tell) }
}

/// Tells the region around `addr`, whole.
///
/// # Safety
///
/// As of [`addrspace_reset`]; `out` is null or as long as it says, and may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_query(
    space: *const Addrspace,
    addr: u64,
    out: *mut AddrspaceRegion,
) -> Status {
    let query = |books: &AddrSpace| {
        let region = books.query(addr).ok_or(Status::Nothing)?;
        // SAFETY: as the caller says.
        Ok(unsafe { versioned::write(out, &region.into()) }?)
    };
    // SAFETY: as the caller says.
    unsafe { look(space, query) }
}

/// Tells whether each of `len` bytes at `addr` is mapped.
///
/// # Safety
///
/// As of [`addrspace_reset`]; `out` is null or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_is_fully_mapped(
    space: *const Addrspace,
    addr: u64,
    len: u64,
    out: *mut bool,
) -> Status {
    // SAFETY: as the caller says.
    let tell = |books: &AddrSpace| unsafe { put(out, books.is_fully_mapped(addr, len)) };
    // SAFETY: as the caller says.
    unsafe { look(space, tell) }
}

/// Counts the places where `len` bytes could be mapped.
///
/// # Safety
///
/// As of [`addrspace_map_any`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_placements(
    space: *const Addrspace,
    len: u64,
    place: *const AddrspacePlacement,
    out: *mut u64,
) -> Status {
    let count = |books: &AddrSpace| {
        // SAFETY: as the caller says.
        let places = books.placements(len, unsafe { placement(place) }?)?;
        // SAFETY: as the caller says.
        unsafe { put(out, places) }
    };
    // SAFETY: as the caller says.
    unsafe { look(space, count) }
}

impl AddrspaceCursor {
    /// The bytes that are left to look at, of a space.
    fn left(&self, books: &AddrSpace) -> Option<(u64, u64)> {
        let first = self.next.max(books.span()?.start());
        let len = self.last.checked_sub(first)?.saturating_add(1);
        (self.done == 0).then_some((first, len))
    }

    /// Goes past what was found, or notes that nothing is left.
    fn pass(&mut self, found: Option<Span>) -> Result<(), Status> {
        let next = found.and_then(Span::end).filter(|next| *next <= self.last);
        match next {
            Some(next) => self.next = next,
            None => self.done = 1,
        }
        found.map(|_| ()).ok_or(Status::Nothing)
    }
}

/// Gives the next of what `find` finds, and moves the cursor past it.
///
/// # Safety
///
/// `cursor` and `out` are null or as long as they say, and may be written to.
unsafe fn next<T: versioned::Versioned>(
    cursor: *mut AddrspaceCursor,
    out: *mut T,
    find: impl FnOnce(&AddrspaceCursor) -> Option<(Span, T)>,
) -> Result<(), Failure> {
    // SAFETY: as the caller says.
    let mut state = unsafe { versioned::read(cursor.cast_const()) }?;
    let found = find(&state);
    let passed = state.pass(found.as_ref().map(|(span, _)| *span));
    if let Some((_, value)) = found {
        // SAFETY: as the caller says. It comes first: without a place nothing is passed.
        unsafe { versioned::write(out, &value) }?;
    }
    // SAFETY: as the caller says.
    unsafe { versioned::write(cursor, &state) }?;
    Ok(passed?)
}

/// Tells the next region.
///
/// # Safety
///
/// As of [`addrspace_reset`]; `cursor` and `out` are null or as long as they say, and may be
/// written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_next_region(
    space: *const Addrspace,
    cursor: *mut AddrspaceCursor,
    out: *mut AddrspaceRegion,
) -> Status {
    let step = |books: &AddrSpace| {
        let find = |cursor: &AddrspaceCursor| {
            let (addr, len) = cursor.left(books)?;
            books.regions_in(addr, len).next().map(|region| (region.span, region.into()))
        };
        // SAFETY: as the caller says.
        unsafe { next(cursor, out, find) }
    };
    // SAFETY: as the caller says.
    unsafe { look(space, step) }
}

/// Tells the next gap.
///
/// # Safety
///
/// As of [`addrspace_next_region`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_next_gap(
    space: *const Addrspace,
    cursor: *mut AddrspaceCursor,
    out: *mut AddrspaceSpan,
) -> Status {
    let step = |books: &AddrSpace| {
        let find = |cursor: &AddrspaceCursor| {
            let (addr, len) = cursor.left(books)?;
            books.gaps_in(addr, len).next().map(|gap| (gap, gap.into()))
        };
        // SAFETY: as the caller says.
        unsafe { next(cursor, out, find) }
    };
    // SAFETY: as the caller says.
    unsafe { look(space, step) }
}

/// Tells how much is mapped.
///
/// # Safety
///
/// As of [`addrspace_query`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_usage_of(
    space: *const Addrspace,
    out: *mut AddrspaceUsage,
) -> Status {
    // SAFETY: as the caller says.
    let tell = |books: &AddrSpace| Ok(unsafe { versioned::write(out, &books.usage().into()) }?);
    // SAFETY: as the caller says.
    unsafe { look(space, tell) }
}

/// Tells the limits in force.
///
/// # Safety
///
/// As of [`addrspace_query`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_limits_of(
    space: *const Addrspace,
    out: *mut AddrspaceLimits,
) -> Status {
    // SAFETY: as the caller says.
    let tell = |books: &AddrSpace| Ok(unsafe { versioned::write(out, &books.limits().into()) }?);
    // SAFETY: as the caller says.
    unsafe { look(space, tell) }
}

/// Sets the limits of what is to come.
///
/// # Safety
///
/// As of [`addrspace_reset`]; `limits` is null or as long as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_set_limits(
    space: *mut Addrspace,
    limits: *const AddrspaceLimits,
) -> Status {
    let set = |books: &mut AddrSpace| {
        // SAFETY: as the caller says.
        books.set_limits(unsafe { versioned::read(limits) }?.try_into()?);
        Ok(())
    };
    // SAFETY: as the caller says.
    unsafe { change(space, set) }
}

/// The update that a callback was given.
///
/// # Safety
///
/// `update` is null, or what a callback of this library has been given and has not
/// answered yet.
unsafe fn reported<'a>(update: *const AddrspaceUpdate) -> Option<&'a Update<'a>> {
    // SAFETY: a callback is given a pointer to the whole of a `Reported`.
    unsafe { update.cast::<Reported<'a>>().as_ref() }.map(|reported| &reported.update)
}

/// Acknowledges a part of an update.
///
/// # Safety
///
/// `update` is null, or what a callback of this library has been given and has not
/// answered yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_update_made_to(
    update: *const AddrspaceUpdate,
    addr: u64,
) -> Status {
    // SAFETY: as the caller says.
    let Some(update) = (unsafe { reported(update) }) else { return Status::Null };
    update.made_to(addr);
    Status::Ok
}

/// Tells what a `MAP` update maps.
///
/// # Safety
///
/// As of [`addrspace_update_made_to`]; `out` is null or as long as it says, and may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_update_region(
    update: *const AddrspaceUpdate,
    out: *mut AddrspaceRegion,
) -> Status {
    // SAFETY: as the caller says.
    let Some(update) = (unsafe { reported(update) }) else { return Status::Null };
    let Update::Map { region, .. } = *update else { return Status::Nothing };
    // SAFETY: as the caller says.
    unsafe { versioned::write(out, &region.into()) }.err().unwrap_or(Status::Ok)
}

/// Tells the next piece that the update changes.
///
/// # Safety
///
/// As of [`addrspace_update_made_to`]; `cursor` and `out` are null or as long as they say, and may be
/// written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_update_next_piece(
    update: *const AddrspaceUpdate,
    cursor: *mut AddrspaceCursor,
    out: *mut AddrspaceRegion,
) -> Status {
    // SAFETY: as the caller says.
    let Some(update) = (unsafe { reported(update) }) else { return Status::Null };
    // SAFETY: as the caller says.
    unsafe { next_piece(update.pieces(), cursor, out) }
}

/// Tells the next piece that a move overwrites at its new place.
///
/// # Safety
///
/// As of [`addrspace_update_next_piece`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_update_next_replaced(
    update: *const AddrspaceUpdate,
    cursor: *mut AddrspaceCursor,
    out: *mut AddrspaceRegion,
) -> Status {
    // SAFETY: as the caller says.
    let Some(update) = (unsafe { reported(update) }) else { return Status::Null };
    let (Update::Move { replaced, .. } | Update::Map { replaced, .. }) = *update else {
        return Status::Nothing;
    };
    // SAFETY: as the caller says.
    unsafe { next_piece(replaced, cursor, out) }
}

/// Tells the next of `pieces`.
///
/// # Safety
///
/// As of [`next`].
unsafe fn next_piece(
    pieces: Pieces<'_>,
    cursor: *mut AddrspaceCursor,
    out: *mut AddrspaceRegion,
) -> Status {
    let find = |cursor: &AddrspaceCursor| {
        let piece = pieces.within(cursor.next, cursor.last).iter().next()?;
        (cursor.done == 0).then(|| (piece.span, piece.into()))
    };
    // SAFETY: as the caller says.
    unsafe { next(cursor, out, find) }.map_or_else(|failure| failure.status(), |()| Status::Ok)
}

/// Tells why the last call that was refused was so.
///
/// # Safety
///
/// As of [`addrspace_query`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_last_error(
    space: *const Addrspace,
    out: *mut AddrspaceError,
) -> Status {
    // SAFETY: as the caller says; a handle is never borrowed exclusively.
    let Some(space) = (unsafe { space.as_ref() }) else { return Status::Null };
    let error = space.failure.get().map_or(AddrspaceError::NONE, |failure| failure.describe());
    // SAFETY: as the caller says.
    unsafe { versioned::write(out, &error) }.err().unwrap_or(Status::Ok)
}

/// Text for C: as much as there is room for, and how long it is.
struct Text {
    to: *mut c_char,
    room: usize,
    len: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            // The last place is for the zero.
            if self.len.saturating_add(1) < self.room {
                // SAFETY: it is one of the `room` places that the caller has for us.
                let to = unsafe { self.to.add(self.len) };
                // SAFETY: so it is.
                unsafe { to.cast::<u8>().write(byte) };
            }
            self.len = self.len.saturating_add(1);
        }
        Ok(())
    }
}

/// Tells in words why the last call that was refused was so.
///
/// # Safety
///
/// As of [`addrspace_reset`]; `cap` bytes at `buf` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn addrspace_error_message(
    space: *const Addrspace,
    buf: *mut c_char,
    cap: usize,
) -> usize {
    let room = if buf.is_null() { 0 } else { cap };
    let mut text = Text { to: buf, room, len: 0 };
    // SAFETY: as the caller says; a handle is never borrowed exclusively.
    let failure = unsafe { space.as_ref() }.and_then(|space| space.failure.get());
    if let Some(failure) = failure {
        // Writing to a `Text` does not fail.
        let _ = write!(text, "{failure}");
    }
    if let Some(last) = room.checked_sub(1) {
        // SAFETY: it is one of the `room` places.
        let end = unsafe { buf.add(text.len.min(last)) };
        // SAFETY: so it is.
        unsafe { end.write(0) };
    }
    text.len
}

/// Tells a status in words.
#[unsafe(no_mangle)]
pub extern "C" fn addrspace_status_text(status: AnyStatus) -> *const c_char {
    Status::of(status).map_or(c"no status", Status::text).as_ptr()
}

/// Tells the version of the library.
#[unsafe(no_mangle)]
pub extern "C" fn addrspace_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => c"",
        };
    VERSION.as_ptr()
}
