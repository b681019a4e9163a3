//! Mapped device memory: the one module of the room that has `unsafe` in it.
//!
//! # Safety
//!
//! A [`Pages`] owns addresses that the kernel chose. Nobody gets a reference into
//! device memory: every access is volatile, of a given width, and is checked here to
//! lie in the pages. What the bytes mean to the machine is not a matter of memory
//! safety, as with `/proc/self/mem`.

#![allow(unsafe_code, reason = "device memory is mapped, and read through raw pointers")]

use crate::Prot;
use core::ffi::c_void;
use core::fmt;
use core::ops::{BitAnd, BitOr, Not};
use core::ptr::{self, NonNull};
use rustix::fd::BorrowedFd;
use rustix::mm::{self, MapFlags, ProtFlags};

pub(super) use rustix::io::Errno;

/// An unsigned integer that a device register can be read and written as, in one
/// access: `u8`, `u16`, `u32`, and on 64-bit machines `u64`.
///
/// # Examples
///
/// ```
/// use addrspace::phys::Register;
///
/// fn width<R: Register>(_: R) -> usize {
///     size_of::<R>()
/// }
/// assert_eq!(width(7_u16), 2);
/// ```
pub trait Register:
    Copy
    + Eq
    + fmt::Debug
    + fmt::LowerHex
    + Into<u64>
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + Not<Output = Self>
    + sealed::Plain
{
}

mod sealed {
    /// Any bits are a value.
    pub trait Plain {}
}

macro_rules! registers {
    ($($word:ty),*) => { $(
        impl sealed::Plain for $word {}
        impl Register for $word {}
    )* };
}
registers!(u8, u16, u32);
// Elsewhere it would be two accesses.
#[cfg(target_pointer_width = "64")]
registers!(u64);

/// Bytes of one access of bulk copies.
const WORD: usize = size_of::<usize>();

/// Memory at an address that the kernel chose, given back on drop.
#[derive(Debug)]
pub(super) struct Pages {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the addresses belong to the value alone, and no thread has a part in that.
unsafe impl Send for Pages {}

impl Pages {
    /// Maps `len` bytes of `file` from `offset` on, shared.
    pub(super) fn map(
        file: BorrowedFd<'_>,
        offset: u64,
        len: usize,
        prot: Prot,
    ) -> Result<Self, Errno> {
        let prot = ProtFlags::from_bits_retain(prot.bits());
        // SAFETY: the kernel chooses addresses that nobody has.
        let start =
            unsafe { mm::mmap(ptr::null_mut(), len, prot, MapFlags::SHARED, file, offset) }?;
        Self::owned(start, len)
    }

    fn owned(start: *mut c_void, len: usize) -> Result<Self, Errno> {
        Ok(Self { start: NonNull::new(start.cast()).ok_or(Errno::FAULT)?, len })
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// A pointer to the byte at `at`, which may be one past the end.
    pub(super) fn pointer(&self, at: usize) -> Option<*mut u8> {
        (at <= self.len).then(|| self.start.as_ptr().wrapping_add(at))
    }

    /// A pointer to the `T` at `at`, if it is aligned and all of it lies in the pages.
    fn place<T>(&self, at: usize) -> Option<*mut T> {
        let end = at.checked_add(size_of::<T>())?;
        let pointer = self.pointer(at)?.cast::<T>();
        (end <= self.len && pointer.is_aligned()).then_some(pointer)
    }

    /// Reads in one access; the pages have to be readable.
    #[inline]
    pub(super) fn read<T: Register>(&self, at: usize) -> Option<T> {
        let place = self.place::<T>(at)?;
        // SAFETY: mapped by this value, in bounds, aligned; any bits are a `T`.
        Some(unsafe { place.read_volatile() })
    }

    /// Writes in one access; the pages have to be writable.
    #[inline]
    pub(super) fn write<T: Register>(&self, at: usize, value: T) -> Option<()> {
        let place = self.place::<T>(at)?;
        // SAFETY: mapped by this value, in bounds, aligned, and no reference points
        // there.
        unsafe { place.write_volatile(value) };
        Some(())
    }

    /// Copies from `at` on into `buf`, in aligned words but for the ends.
    #[allow(clippy::cast_ptr_alignment, reason = "aligned since the head")]
    pub(super) fn copy_out(&self, at: usize, buf: &mut [u8]) -> Option<()> {
        let mut from = self.run(at, buf.len())?;
        let head = buf.len().min(from.align_offset(WORD));
        let (head, rest) = buf.split_at_mut(head);
        let mut words = rest.chunks_exact_mut(WORD);
        for byte in head {
            // SAFETY: in bounds, because `run` has checked as many bytes as `buf` has.
            *byte = unsafe { from.read_volatile() };
            from = from.wrapping_add(1);
        }
        for word in &mut words {
            // SAFETY: as above, and aligned since the head.
            let read = unsafe { from.cast::<usize>().read_volatile() };
            word.copy_from_slice(&read.to_ne_bytes());
            from = from.wrapping_add(WORD);
        }
        for byte in words.into_remainder() {
            // SAFETY: as for the head.
            *byte = unsafe { from.read_volatile() };
            from = from.wrapping_add(1);
        }
        Some(())
    }

    /// Copies `bytes` to `at` on, in aligned words but for the ends.
    #[allow(clippy::cast_ptr_alignment, reason = "aligned since the head")]
    pub(super) fn copy_in(&self, at: usize, bytes: &[u8]) -> Option<()> {
        let mut to = self.run(at, bytes.len())?;
        let head = bytes.len().min(to.align_offset(WORD));
        let (head, rest) = bytes.split_at(head);
        let words = rest.chunks_exact(WORD);
        let tail = words.remainder();
        for byte in head {
            // SAFETY: in bounds, because `run` has checked as many bytes as are
            // copied, and no reference points there.
            unsafe { to.write_volatile(*byte) };
            to = to.wrapping_add(1);
        }
        for word in words {
            let mut bytes = [0; WORD];
            bytes.copy_from_slice(word);
            // SAFETY: as above, and aligned since the head.
            unsafe { to.cast::<usize>().write_volatile(usize::from_ne_bytes(bytes)) };
            to = to.wrapping_add(WORD);
        }
        for byte in tail {
            // SAFETY: as for the head.
            unsafe { to.write_volatile(*byte) };
            to = to.wrapping_add(1);
        }
        Some(())
    }

    /// A pointer to `len` bytes at `at`, all of which lie in the pages.
    fn run(&self, at: usize, len: usize) -> Option<*mut u8> {
        let end = at.checked_add(len)?;
        if end <= self.len { self.pointer(at) } else { None }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: mapped by this value, which ends here. A refusal leaves the memory
        // without an owner.
        let _ = unsafe { mm::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Memory of this process at the start of a page, as direct input and output wants it.
#[derive(Debug)]
pub(super) struct Buffer(Pages);

impl Buffer {
    /// `len` bytes of zeroes.
    pub(super) fn new(len: usize) -> Result<Self, Errno> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses addresses that nobody has.
        let start = unsafe { mm::mmap_anonymous(ptr::null_mut(), len, prot, MapFlags::PRIVATE) }?;
        Pages::owned(start, len).map(Self)
    }

    pub(super) const fn bytes(&self) -> &[u8] {
        // SAFETY: private memory of this value, readable and zeroed from the start;
        // who changes it needs the value for itself.
        unsafe { core::slice::from_raw_parts(self.0.start.as_ptr(), self.0.len) }
    }

    pub(super) const fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: private memory of this value, writable, and borrowed here alone.
        unsafe { core::slice::from_raw_parts_mut(self.0.start.as_ptr(), self.0.len) }
    }
}
