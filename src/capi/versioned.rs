//! Structs that can grow.
//!
//! A caller says how long a struct is where it was compiled. What this library does not
//! know of it has to be zero, as for clone3(2); what the caller does not know of, it does
//! not get. So either side may be the newer one.
#![allow(unsafe_code, reason = "structs of C come as pointers and are as long as they say")]

use super::status::Status;
use super::structs::{
    AddrspaceCursor, AddrspaceError, AddrspaceLimits, AddrspaceMapping, AddrspacePlacement,
    AddrspaceRegion, AddrspaceRemapping, AddrspaceSpan, AddrspaceUsage,
};
use core::ptr;

/// A struct of numbers without holes, the first being its size in bytes.
///
/// # Safety
///
/// So it is: any bytes are a value, and none is padding.
pub(super) unsafe trait Versioned: Copy {
    /// The size when it was first published.
    const FIRST: usize;
    /// What a member is that the caller does not know of.
    const NONE: Self;
}

macro_rules! versioned {
    ($($name:ident: $first:literal,)*) => {
        $(
            // SAFETY: `structs!` has seen to it, and puts a size first.
            unsafe impl Versioned for $name {
                const FIRST: usize = $first;
                const NONE: Self = Self::NONE;
            }
            const _: () = assert!(size_of::<$name>() >= $first);
        )*
    };
}

versioned! {
    AddrspaceMapping: 32,
    AddrspaceRegion: 48,
    AddrspacePlacement: 80,
    AddrspaceRemapping: 24,
    AddrspaceLimits: 24,
    AddrspaceUsage: 48,
    AddrspaceSpan: 24,
    AddrspaceCursor: 24,
    AddrspaceError: 24,
}

/// The size that a struct says it has.
///
/// # Safety
///
/// `c` is null, or points to a struct that begins with its size.
unsafe fn size_of_c<T: Versioned>(c: *const T) -> Result<usize, Status> {
    if c.is_null() {
        return Err(Status::Null);
    }
    // SAFETY: it is not null, and so begins with its size.
    let size = unsafe { c.cast::<u32>().read_unaligned() };
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    // No struct will ever be longer than a page; what says so is not initialised.
    if (T::FIRST..=4096).contains(&size) { Ok(size) } else { Err(Status::Struct) }
}

/// Reads a struct of any version.
///
/// # Safety
///
/// `c` is null, or points to a struct that begins with its size and is as long.
pub(super) unsafe fn read<T: Versioned>(c: *const T) -> Result<T, Status> {
    // SAFETY: as the caller says.
    let size = unsafe { size_of_c(c) }?;
    for at in size_of::<T>()..size {
        // SAFETY: the struct is `size` bytes long.
        let byte = unsafe { c.cast::<u8>().add(at) };
        // SAFETY: so it is one of its bytes.
        if unsafe { byte.read() } != 0 {
            return Err(Status::Struct);
        }
    }
    let mut value = T::NONE;
    let known = size.min(size_of::<T>());
    // SAFETY: both are as long, and `value` is ours.
    unsafe { ptr::copy_nonoverlapping(c.cast::<u8>(), (&raw mut value).cast::<u8>(), known) };
    Ok(value)
}

/// Writes as much of `value` as the caller has room for.
///
/// # Safety
///
/// As of [`read`], and it may be written to.
pub(super) unsafe fn write<T: Versioned>(c: *mut T, value: &T) -> Result<(), Status> {
    // SAFETY: as the caller says.
    let size = unsafe { size_of_c(c) }?;
    let known = size.min(size_of::<T>());
    // The size stays the caller's.
    let rest = known.saturating_sub(size_of::<u32>());
    let from = ptr::from_ref(value).cast::<u8>();
    // SAFETY: a struct has its size and at least `rest` bytes more.
    let from = unsafe { from.add(size_of::<u32>()) };
    // SAFETY: so does that of the caller.
    let to = unsafe { c.cast::<u8>().add(size_of::<u32>()) };
    // SAFETY: both are as long, and not the same.
    unsafe { ptr::copy_nonoverlapping(from, to, rest) };
    Ok(())
}
