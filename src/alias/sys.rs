//! Memory that this room owns, and the calls that change it.
//!
//! # Safety
//!
//! All calls here change memory of a [`Mapped`]: addresses that the kernel chose for it,
//! that nobody else owns, and that no reference points into, because this room hands out
//! raw pointers only. The one exception, [`Cells`], is read and written as atomics alone.

#![allow(unsafe_code, reason = "the system calls change the memory of this process")]

use crate::{Prot, Span, exec};
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::AtomicU64;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::mm::{self, Advice, MapFlags, MprotectFlags, MremapFlags, ProtFlags};

pub(super) use rustix::io::Errno;

/// Memory at a place that the kernel chose; given back on drop.
#[derive(Debug)]
pub(super) struct Mapped {
    start: usize,
    len: usize,
}

impl Mapped {
    /// `len` bytes of a file from `offset` on, shared.
    pub(super) fn file(
        fd: BorrowedFd<'_>,
        offset: u64,
        len: u64,
        prot: Prot,
    ) -> Result<Self, Errno> {
        let len = usize::try_from(len).map_err(|_| Errno::NOMEM)?;
        let (null, prot) = (ptr::null_mut(), ProtFlags::from_bits_retain(prot.bits()));
        // SAFETY: the kernel chooses addresses that nobody has.
        let start = unsafe { mm::mmap(null, len, prot, MapFlags::SHARED, fd, offset) }?;
        Ok(Self { start: start.expose_provenance(), len })
    }

    /// `len` bytes that read as zeroes and belong to nobody else.
    pub(super) fn anonymous(len: u64, prot: Prot) -> Result<Self, Errno> {
        let len = usize::try_from(len).map_err(|_| Errno::NOMEM)?;
        let (null, prot) = (ptr::null_mut(), ProtFlags::from_bits_retain(prot.bits()));
        let flags = MapFlags::PRIVATE.union(MapFlags::NORESERVE);
        // SAFETY: the kernel chooses addresses that nobody has.
        let start = unsafe { mm::mmap_anonymous(null, len, prot, flags) }?;
        Ok(Self { start: start.expose_provenance(), len })
    }

    /// Where it is.
    #[expect(clippy::expect_used, reason = "the kernel maps at least a page, below 2^64")]
    pub(super) fn span(&self) -> Span {
        let (start, len) = (u64::try_from(self.start), u64::try_from(self.len));
        let span = start.ok().zip(len.ok()).and_then(|(start, len)| Span::of(start, len));
        span.expect("the kernel maps at least a page, below 2^64")
    }

    /// A pointer to its first byte.
    pub(super) fn pointer(&self) -> *mut u8 {
        ptr::with_exposed_provenance_mut(self.start)
    }

    /// The start and the length of `part`, if it is a part of this.
    fn admit(&self, part: Span) -> Result<(*mut c_void, usize), Errno> {
        let all = self.span();
        if part.start() < all.start() || all.last() < part.last() {
            return Err(Errno::FAULT);
        }
        raw(part)
    }

    /// Gives `part` the protection `prot`.
    pub(super) fn protect(&self, part: Span, prot: Prot) -> Result<(), Errno> {
        let growing = MprotectFlags::GROWSDOWN.union(MprotectFlags::GROWSUP);
        if prot.bits() & growing.bits() != 0 {
            return Err(Errno::INVAL);
        }
        let (start, len) = self.admit(part)?;
        let prot = MprotectFlags::from_bits_retain(prot.bits());
        // SAFETY: the memory is ours, and no reference points into it.
        unsafe { mm::mprotect(start, len, prot) }
    }

    /// Forgets the pages of `part`; private memory reads as zeroes afterwards, or faults
    /// again where faults are handled.
    pub(super) fn discard(&self, part: Span) -> Result<(), Errno> {
        self.advise(part, Advice::LinuxDontNeed)
    }

    /// Keeps all of it out of children after `fork`.
    pub(super) fn stay(&self) -> Result<(), Errno> {
        self.advise(self.span(), Advice::LinuxDontFork)
    }

    /// Does without large pages, so that each page comes on its own.
    pub(super) fn small_pages(&self) -> Result<(), Errno> {
        match self.advise(self.span(), Advice::LinuxNoHugepage) {
            // A kernel that has none.
            Err(Errno::INVAL) => Ok(()),
            answer => answer,
        }
    }

    fn advise(&self, part: Span, advice: Advice) -> Result<(), Errno> {
        let (start, len) = self.admit(part)?;
        // SAFETY: the memory is ours, and no reference points into it.
        unsafe { mm::madvise(start, len, advice) }
    }

    /// Shows the shared memory at `source` a second time, in place of `part`, which is as
    /// long.
    pub(super) fn show(&self, part: Span, source: Span) -> Result<(), Errno> {
        let ((new, len), (old, old_len)) = (self.admit(part)?, raw(source)?);
        if len != old_len {
            return Err(Errno::INVAL);
        }
        // SAFETY:
        // 1. An old length of zero leaves the source as it is, whosever it is.
        // 2. The new place is ours to replace, and no reference points into it.
        unsafe { mm::mremap_fixed(old, 0, len, MremapFlags::MAYMOVE, new) }.map(drop)
    }

    /// Takes the pages of `other` in place of `part`, which is as long: in one step, which
    /// is for one mapping of the kernel's.
    pub(super) fn replace_part(&self, part: Span, mut other: Self) -> Result<(), Errno> {
        self.take(part, &other, other.span())?;
        // What has moved is no longer there.
        other.len = 0;
        Ok(())
    }

    /// Takes the pages of `other`, which is as long, in place of all its own: one of the
    /// kernel's mappings after the other. After a refusal some are taken.
    pub(super) fn replace(&self, mut other: Self) -> Result<(), Errno> {
        let (here, there) = (self.span(), other.span());
        if self.len != other.len {
            return Err(Errno::INVAL);
        }
        let mut made = Ok(());
        let regions = exec::regions(there)?;
        for piece in regions.iter().map(|region| region.span) {
            // Both are as long.
            let skipped = piece.start().saturating_sub(there.start());
            let to = here.start().checked_add(skipped).zip(piece.len());
            let to = to.and_then(|(start, len)| Span::of(start, len));
            made = made.and_then(|()| self.take(to.ok_or(Errno::FAULT)?, &other, piece));
            if made.is_err() {
                let (start, len) = raw(piece)?;
                // SAFETY: the piece is a part of `other` that is still there.
                let _ = unsafe { mm::munmap(start, len) };
            }
        }
        // What has moved is no longer there, and somebody else can have the addresses.
        other.len = 0;
        made
    }

    /// Moves `piece`, a part of `other`, to `part`.
    fn take(&self, part: Span, other: &Self, piece: Span) -> Result<(), Errno> {
        let ((new, len), (old, old_len)) = (self.admit(part)?, other.admit(piece)?);
        if len != old_len {
            return Err(Errno::INVAL);
        }
        // SAFETY: both places are ours, and no reference points into either.
        unsafe { mm::mremap_fixed(old, len, len, MremapFlags::MAYMOVE, new) }.map(drop)
    }

    /// Shows a device from `offset` on in place of `part`.
    ///
    /// It is mapped elsewhere and moved in: a device that refuses may have cost the
    /// mapping that it was to replace.
    pub(super) fn device(
        &self,
        part: Span,
        device: &impl AsFd,
        offset: u64,
        prot: Prot,
    ) -> Result<(), Errno> {
        let len = part.len().ok_or(Errno::NOMEM)?;
        self.replace_part(part, Self::file(device.as_fd(), offset, len, prot)?)
    }

    /// Reads the bytes at `source`, whosever they are, into this.
    ///
    /// `process` is the open `/proc/self/mem`.
    pub(super) fn fetch(&self, process: BorrowedFd<'_>, source: u64) -> Result<(), Errno> {
        let first = self.pointer().cast::<MaybeUninit<u8>>();
        // SAFETY: the memory is ours, as long, and nobody else knows of it: it is what
        // one thread fetches into.
        let bytes = unsafe { core::slice::from_raw_parts_mut(first, self.len) };
        let mut left = bytes;
        let mut at = source;
        while !left.is_empty() {
            let (read, rest) = match rustix::io::pread(process, &mut *left, at) {
                Ok((read, rest)) => (read.len(), rest.len()),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno),
            };
            if read == 0 {
                return Err(Errno::FAULT);
            }
            at = at.wrapping_add(u64::try_from(read).unwrap_or(0));
            let skip = left.len().saturating_sub(rest);
            left = left.get_mut(skip..).unwrap_or_default();
        }
        Ok(())
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: the memory is ours, and no reference points into it. There is
            // nothing to be done about a refusal: the memory stays, without an owner.
            let _ = unsafe { mm::munmap(self.pointer().cast(), self.len) };
        }
    }
}

/// Numbers that are not on the heap.
///
/// A thread that answers the faults of other memory may write nothing that could be a
/// part of that memory: it would wait for itself. So what it writes is here.
#[derive(Debug)]
pub(super) struct Cells {
    memory: Mapped,
    count: usize,
}

impl Cells {
    pub(super) fn new(count: usize) -> Result<Self, Errno> {
        let bytes = count.checked_mul(size_of::<AtomicU64>()).ok_or(Errno::NOMEM)?;
        let bytes = u64::try_from(bytes.max(1)).map_err(|_| Errno::NOMEM)?;
        let memory = Mapped::anonymous(bytes, Prot::READ | Prot::WRITE)?;
        Ok(Self { memory, count })
    }

    /// All of them.
    pub(super) fn all(&self) -> &[AtomicU64] {
        let first = self.memory.pointer().cast::<c_void>().cast::<AtomicU64>();
        // SAFETY:
        // 1. The memory has room for `count` of them, is aligned to pages, reads as
        //    zeroes at first, and stays mapped for as long as `self` lives.
        // 2. It is written through these atomics alone.
        unsafe { core::slice::from_raw_parts(first, self.count) }
    }
}

/// Memory of somebody else that stays in place as far as a process can see to it: locked,
/// and not in children. What it was not before it is no longer on drop.
#[derive(Debug)]
pub(super) struct Held {
    span: Span,
    unlock: bool,
    inherit: bool,
}

impl Held {
    /// Locks `span`, and keeps it out of children; `unlock` and `inherit` say whether to
    /// take that back on drop.
    pub(super) fn new(span: Span, unlock: bool, inherit: bool) -> Result<Self, Errno> {
        let (start, len) = raw(span)?;
        let held = Self { span, unlock, inherit };
        // SAFETY: locking changes no byte.
        unsafe { mm::mlock(start, len) }?;
        // SAFETY: no byte changes in this process.
        unsafe { mm::madvise(start, len, Advice::LinuxDontFork) }?;
        Ok(held)
    }

    /// Has all pages be there, and be written to without becoming others.
    pub(super) fn populate(&self) -> Result<(), Errno> {
        let (start, len) = raw(self.span)?;
        // SAFETY: the pages are touched as if to write to them, and no byte changes.
        unsafe { mm::madvise(start, len, Advice::LinuxPopulateWrite) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Ok((start, len)) = raw(self.span) else { return };
        // If the memory is gone, so is what was asked for it.
        if self.unlock {
            // SAFETY: unlocking changes no byte.
            let _ = unsafe { mm::munlock(start, len) };
        }
        if self.inherit {
            // SAFETY: no byte changes in this process.
            let _ = unsafe { mm::madvise(start, len, Advice::LinuxDoFork) };
        }
    }
}

/// A span as the system calls want it.
fn raw(span: Span) -> Result<(*mut c_void, usize), Errno> {
    let start = usize::try_from(span.start()).map_err(|_| Errno::FAULT)?;
    let len = span.len().and_then(|len| usize::try_from(len).ok()).ok_or(Errno::FAULT)?;
    Ok((ptr::with_exposed_provenance_mut(start), len))
}
