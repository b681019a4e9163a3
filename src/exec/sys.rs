//! The system calls: the one module of the room that has `unsafe` in it.
//!
//! # Safety
//!
//! A call that changes memory is sound if nobody else relies on that memory.
//! Whoever makes one here shows a [`Ground`]: addresses that were reserved for it
//! and that no reference points into, because this room hands out raw pointers
//! only. Every method of it looks whether its span lies in the ground, so that
//! the rest of the room can be safe code.

#![allow(unsafe_code, reason = "the system calls change the memory of this process")]

use super::error::Syscall;
use super::{seam, view};
use crate::{Prot, RangeMap, Span};
use core::ffi::c_void;
use core::ops::Range;
use core::ptr;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{self, Mode, OFlags};
use rustix::ioctl;
use rustix::mm::{self, Advice, MapFlags, MlockFlags, MprotectFlags, MremapFlags, ProtFlags};

pub(super) use rustix::io::Errno;

/// Memory without access that holds its addresses and counts for nothing.
const NO_ACCESS: MapFlags = MapFlags::PRIVATE.union(MapFlags::NORESERVE);

/// Shared anonymous memory, which the kernel joins with nothing.
const BALLAST: MapFlags = MapFlags::SHARED.union(MapFlags::NORESERVE);

/// The bits of a protection that `mprotect` knows on machines of this kind, if perhaps not
/// on each: with `PROT_SEM`, and then `PROT_BTI` and `PROT_MTE`, `PROT_SAO`, `PROT_ADI`.
const KNOWN: u32 = if cfg!(target_arch = "aarch64") {
    0x3f
} else if cfg!(any(target_arch = "powerpc64", target_arch = "sparc64")) {
    0x1f
} else if cfg!(any(target_arch = "mips", target_arch = "mips64", target_arch = "xtensa")) {
    0x17
} else {
    0xf
};

/// A protection as the system calls want it.
///
/// Unknown bits are refused as by `mprotect`, also for `mmap`, which would ignore them:
/// the books would have what the kernel has not, and cannot be given later. (With
/// `PROT_GROWSDOWN` and `PROT_GROWSUP`, pages outside of a span would change.)
#[inline]
fn prot_flags(prot: Prot) -> Result<ProtFlags, Errno> {
    let known = prot.bits() & !KNOWN == 0;
    if known { Ok(ProtFlags::from_bits_retain(prot.bits())) } else { Err(Errno::INVAL) }
}

/// What a new mapping shows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bytes<'fd> {
    /// Zeroes.
    Zero,
    /// A file from an offset on.
    File(BorrowedFd<'fd>, u64),
}

/// Where addresses are reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Anywhere,
    There,
}

/// Whether a move leaves something mapped behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// The old place stays mapped, without its pages.
    Mapped,
    /// Anybody can get the old addresses.
    Nothing,
}

/// Addresses whose memory may be changed.
///
/// The value is the permission to do so: for [`Host::new`](super::Host::new) it is
/// made by an `unsafe` function, in which its maker vouches for the addresses.
#[derive(Debug)]
pub struct Ground {
    /// The addresses that may be changed.
    span: Span,
    /// What goes back to the system on drop: at least `span`, or nothing.
    reserved: Option<Span>,
    /// Addresses of the ground that the kernel has lost and where nothing could be
    /// reserved again. Somebody else may have got them.
    holes: RangeMap<u64, ()>,
    /// A mapping that can go: at the limit of mappings (`max_map_count`, which the
    /// kernel lets be passed by one) even an `mmap` that joins two is refused.
    ballast: Option<Scratch>,
}

impl Ground {
    /// All addresses of this process.
    ///
    /// # Safety
    ///
    /// For as long as the value lives, every span that it is used for has to be
    /// memory that nobody else relies on: no reference may point into it, and no
    /// other owner (the allocator, a stack, a loaded library) may have it. With a
    /// [`Host`](super::Host) that means: each mapping in the books that it works
    /// for was made by it, or was recorded by somebody who owned the memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Ground, Host, Mapping, Prot, ignore};
    /// use core::ptr;
    ///
    /// let (prot, flags) = (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    /// // SAFETY: the kernel chooses addresses that nobody has.
    /// let buffer = unsafe { libc::mmap(ptr::null_mut(), 0x2000, prot, flags, -1, 0) };
    /// assert_ne!(buffer, libc::MAP_FAILED);
    ///
    /// // SAFETY: the buffer is all that the books will have, and nobody else knows of it.
    /// let mut host = Host::new(unsafe { Ground::anywhere() });
    /// let mut space: AddrSpace = AddrSpace::whole(4096)?;
    /// let addr = buffer.expose_provenance() as u64;
    /// space.map_at(addr, 0x2000, Mapping::anonymous(Prot::READ), ignore)?;
    ///
    /// let rw = Prot::READ | Prot::WRITE;
    /// space.protect(addr, 0x1000, rw, |update| host.apply(update, None))?;
    /// // SAFETY: it is writable now, and no reference points into it.
    /// unsafe { buffer.cast::<u8>().write(7) };
    /// space.unmap(addr, 0x2000, |update| host.apply(update, None))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(clippy::unreachable, reason = "0 is not above the last address")]
    pub const unsafe fn anywhere() -> Self {
        let Some(span) = Span::new(0, u64::MAX) else { unreachable!() };
        Self { span, reserved: None, holes: RangeMap::new(), ballast: None }
    }

    /// The addresses of a test that has them to itself.
    #[cfg(test)]
    pub(super) const fn of(span: Span) -> Self {
        Self { span, reserved: None, holes: RangeMap::new(), ballast: None }
    }

    /// Takes addresses without access from the system: those of `asked`, or as many
    /// where the system likes.
    pub(super) fn reserve(asked: Span, at: Place) -> Result<Self, Errno> {
        let mut span = asked;
        seam::gate(Syscall::Mmap, asked, |asked| {
            if at == Place::There {
                return take_free(asked);
            }
            let (_, len) = raw(asked)?;
            let (null, prot) = (ptr::null_mut(), ProtFlags::empty());
            // SAFETY: the kernel chooses addresses that nobody has.
            let got = unsafe { mm::mmap_anonymous(null, len, prot, NO_ACCESS) }?;
            // What the kernel maps ends below 2^64.
            span = moved(asked, got).ok_or(Errno::NOMEM)?;
            Ok(())
        })?;
        Ok(Self { span, reserved: Some(span), holes: RangeMap::new(), ballast: None })
    }

    /// Gives back what is reserved outside of `kept`, and lets `inner`, a part of it,
    /// be changed from now on.
    pub(super) fn trim(&mut self, kept: Span, inner: Span) -> Result<(), Errno> {
        let Some(all) = self.reserved else { return Ok(()) };
        let within =
            |outer: Span, span: Span| outer.contains(span.start()) && outer.contains(span.last());
        if !within(all, kept) || !within(kept, inner) {
            return Err(Errno::FAULT);
        }
        let below = kept.start().checked_sub(1).and_then(|last| Span::new(all.start(), last));
        let above = kept.end().and_then(|end| Span::new(end, all.last()));
        if let Some(below) = below {
            // SAFETY: reserved by this ground, and given up here.
            seam::gate(Syscall::Munmap, below, |below| unsafe { give_back(below) })?;
            self.reserved = Span::new(kept.start(), all.last());
        }
        if let Some(above) = above {
            // SAFETY: as above.
            seam::gate(Syscall::Munmap, above, |above| unsafe { give_back(above) })?;
        }
        (self.reserved, self.span) = (Some(kept), inner);
        // If it cannot be had, it is not there when it is needed.
        self.ballast = self.spare();
        Ok(())
    }

    pub(super) const fn span(&self) -> Span {
        self.span
    }

    /// What goes back to the system on drop.
    pub(super) const fn reserved(&self) -> Option<Span> {
        self.reserved
    }

    /// The start and the length of `span`, if it may be changed.
    #[inline]
    fn admit(&mut self, span: Span) -> Result<(*mut c_void, usize), Errno> {
        if span.start() < self.span.start() || self.span.last() < span.last() {
            return Err(Errno::FAULT);
        }
        if !self.holes.is_empty() {
            self.refill(span)?;
        }
        raw(span)
    }

    /// Reserves again what was lost before, and refuses `span` if a part of it is
    /// still somebody else's.
    #[cold]
    fn refill(&mut self, span: Span) -> Result<(), Errno> {
        let mut refused = Ok(());
        for hole in self.holes.iter().map(|(hole, ())| hole).collect::<Vec<_>>() {
            let Some(lost) = Span::new(hole.start, hole.end.saturating_sub(1)) else { continue };
            match seam::gate(Syscall::Mmap, lost, take_free) {
                Ok(()) => drop(self.holes.remove(hole)),
                Err(errno) if lost.overlaps(span) => refused = Err(errno),
                Err(_) => {}
            }
        }
        refused
    }

    /// Reserves `span`, where nothing is mapped any more.
    ///
    /// Until that is possible, now or at a later call, nothing changes there:
    /// somebody else may have the addresses by now.
    pub(super) fn fill(&mut self, span: Span) {
        self.give_up(span);
        // A refusal is remembered as the hole that it leaves.
        let _ = self.refill(span);
    }

    /// Changes nothing at `span`, where somebody else has memory, until it is free
    /// and can be reserved again.
    pub(super) fn give_up(&mut self, span: Span) {
        if self.span.start() <= span.start() && span.last() <= self.span.last() {
            self.holes.insert(half_open(span), ());
        }
    }

    /// Tries to reserve again what was lost before.
    pub(super) fn retry(&mut self) {
        if !self.holes.is_empty() {
            let _ = self.refill(self.span);
        }
    }

    /// Takes access and contents away from `span`, which stays ours.
    #[inline]
    pub(super) fn close(&mut self, span: Span) -> Result<(), Errno> {
        match self.map(span, Prot::empty(), NO_ACCESS, Bytes::Zero) {
            Err(Errno::NOMEM) => self.close_at_the_limit(span),
            answer => answer,
        }
    }

    /// Tries again with one mapping less, if that does not take one more.
    #[cold]
    fn close_at_the_limit(&mut self, span: Span) -> Result<(), Errno> {
        let cuts = |end: u64| {
            let around = end.checked_sub(1).and_then(|before| Span::new(before, end));
            let whole = |around| {
                view::regions(around)
                    .is_ok_and(|found| found.iter().any(|region| region.span == around))
            };
            around.is_none_or(whole)
        };
        if cuts(span.start()) || span.end().is_none_or(cuts) {
            return Err(Errno::NOMEM);
        }
        drop(self.ballast.take().ok_or(Errno::NOMEM)?);
        let answer = self.map(span, Prot::empty(), NO_ACCESS, Bytes::Zero);
        // For the next time, at the price of being at the limit again.
        self.ballast = self.spare();
        answer
    }

    /// A mapping that counts as one and nothing else.
    fn spare(&self) -> Option<Scratch> {
        // As little as may be: the kernel rounds it up to a page, here and at the end.
        let target = Span::of(self.span.start(), 1)?;
        let spare = Scratch::map(target, Prot::empty(), BALLAST, Bytes::Zero).ok()?;
        // The kernel likes a hole in here as well as any place; that is to be filled.
        let ours = u64::try_from(spare.start).is_ok_and(|start| self.span.contains(start));
        (!ours).then_some(spare)
    }

    /// Maps `span` and replaces what is there.
    #[inline]
    pub(super) fn map(
        &mut self,
        span: Span,
        prot: Prot,
        flags: MapFlags,
        bytes: Bytes<'_>,
    ) -> Result<(), Errno> {
        let (prot, flags) = (prot_flags(prot)?, flags | MapFlags::FIXED);
        self.admit(span)?;
        seam::gate(Syscall::Mmap, span, |span| {
            let (start, len) = raw(span)?;
            match bytes {
                // SAFETY: the span is ours to change, as was checked above, and no
                // reference points into it.
                Bytes::Zero => unsafe { mm::mmap_anonymous(start, len, prot, flags) },
                // SAFETY: as above.
                Bytes::File(fd, offset) => unsafe { mm::mmap(start, len, prot, flags, fd, offset) },
            }
            // The pointers that callers get are made from addresses.
            .map(|got| _ = got.expose_provenance())
        })
    }

    /// Takes `span`, without access, if nobody has a page of it.
    pub(super) fn claim(&mut self, span: Span) -> Result<(), Errno> {
        self.admit(span)?;
        seam::gate(Syscall::Mmap, span, take_free)
    }

    /// Unmaps `span`, so that anybody can get its addresses.
    pub(super) fn unmap(&mut self, span: Span) -> Result<(), Errno> {
        self.admit(span)?;
        seam::gate(Syscall::Munmap, span, |span| {
            let (start, len) = raw(span)?;
            // SAFETY: the span is ours to change, and no reference points into it.
            unsafe { mm::munmap(start, len) }
        })
    }

    /// Gives `span` the protection `prot`.
    #[inline]
    pub(super) fn protect(&mut self, span: Span, prot: Prot) -> Result<(), Errno> {
        let prot = MprotectFlags::from_bits_retain(prot_flags(prot)?.bits());
        self.admit(span)?;
        seam::gate(Syscall::Mprotect, span, |span| {
            let (start, len) = raw(span)?;
            // SAFETY: the span is ours to change, and no reference points into it.
            unsafe { mm::mprotect(start, len, prot) }
        })
    }

    /// Gives advice about `span`; some of it drops its contents.
    pub(super) fn advise(&mut self, span: Span, advice: Advice) -> Result<(), Errno> {
        self.admit(span)?;
        seam::gate(Syscall::Madvise, span, |span| {
            let (start, len) = raw(span)?;
            // SAFETY: the span is ours to change, and no reference points into it.
            unsafe { mm::madvise(start, len, advice) }
        })
    }

    /// Locks the pages of `span` in memory.
    pub(super) fn lock(&mut self, span: Span) -> Result<(), Errno> {
        self.admit(span)?;
        seam::gate(Syscall::Mlock, span, |span| {
            let (start, len) = raw(span)?;
            // SAFETY: locking changes no byte, and the span is ours.
            unsafe { mm::mlock(start, len) }
        })
    }

    /// Locks those pages of `span` that are there, and the others when they come.
    pub(super) fn lock_on_fault(&mut self, span: Span) -> Result<(), Errno> {
        self.admit(span)?;
        seam::gate(Syscall::Mlock, span, |span| {
            let (start, len) = raw(span)?;
            // SAFETY: locking changes no byte, and the span is ours.
            unsafe { mm::mlock_with(start, len, MlockFlags::ONFAULT) }
        })
    }

    /// Takes the lock away from the pages of `span`.
    pub(super) fn unlock(&mut self, span: Span) -> Result<(), Errno> {
        self.admit(span)?;
        seam::gate(Syscall::Munlock, span, |span| {
            let (start, len) = raw(span)?;
            // SAFETY: unlocking changes no byte, and the span is ours.
            unsafe { mm::munlock(start, len) }
        })
    }

    /// Moves the pages of `from` to `to`, of the same length, and replaces what is
    /// there. `from` stays mapped, without its pages, if `how` says so.
    pub(super) fn travel(&mut self, from: Span, to: Span, how: Leave) -> Result<(), Errno> {
        self.admit(from)?;
        self.admit(to)?;
        let flags = match how {
            Leave::Mapped => MremapFlags::MAYMOVE | MremapFlags::DONTUNMAP,
            Leave::Nothing => MremapFlags::MAYMOVE,
        };
        seam::gate(Syscall::Mremap, to, |to| {
            let ((old, old_len), (new, len)) = (raw(from)?, raw(to)?);
            if old_len < len {
                return Err(Errno::INVAL);
            }
            // SAFETY: both spans are ours to change, and no reference points into
            // either.
            unsafe { mm::mremap_fixed(old, len, len, flags, new) }.map(drop)
        })
    }

    /// Moves the pages of `span` to `scratch`, which is as long; `span` stays mapped.
    ///
    /// A place of the kernel's choice would be one call less. But without
    /// `MREMAP_FIXED` the kernel takes a hint from a register that the binding does
    /// not set.
    pub(super) fn take_out(&mut self, span: Span, scratch: Scratch) -> Result<Scratch, Errno> {
        let (start, len) = self.admit(span)?;
        if scratch.len != len {
            return Err(Errno::INVAL);
        }
        let flags = MremapFlags::MAYMOVE | MremapFlags::DONTUNMAP;
        let made = seam::gate_elsewhere(Syscall::Mremap, span, |_| {
            // SAFETY: both places are ours to change, and no reference points into
            // either. The old one stays mapped.
            unsafe { mm::mremap_fixed(start, len, len, flags, scratch.at(0)) }.map(drop)
        });
        match made {
            Ok(()) => Ok(scratch),
            Err(errno) => {
                scratch.abandon();
                Err(errno)
            }
        }
    }

    /// Maps `len` bytes of what is shared at the start of `span` a second time, at
    /// a place outside.
    pub(super) fn duplicate(&mut self, span: Span, len: usize) -> Result<Scratch, Errno> {
        let (start, _) = self.admit(span)?;
        let mut made = None;
        seam::gate_elsewhere(Syscall::Mremap, span, |_| {
            // SAFETY: an old length of zero leaves the old place as it is, and the
            // kernel chooses a new one that nobody has.
            let got = unsafe { mm::mremap(start, 0, len, MremapFlags::MAYMOVE) }?;
            made = Some(Scratch { start: got.expose_provenance(), len });
            Ok(())
        })?;
        made.ok_or(Errno::FAULT)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let Some(all) = self.reserved else { return };
        // What lies in a hole is not ours to give back.
        for part in self.holes.gaps(half_open(all)) {
            let Some(part) = Span::new(part.start, part.end.saturating_sub(1)) else { continue };
            // SAFETY: reserved by this ground, which ends here, and not lost since.
            if unsafe { give_back(part) }.is_ok() {
                continue;
            }
            // One page that cannot go, a sealed one say, keeps the kernel from all.
            for region in view::regions(part).unwrap_or_default() {
                // SAFETY: as above; it is a part of it. What cannot be given back
                // stays, without an owner, for good.
                let _ = unsafe { give_back(region.span) };
            }
        }
    }
}

/// Memory at a place that the kernel chose, outside of every ground.
#[derive(Debug)]
pub(super) struct Scratch {
    start: usize,
    len: usize,
}

impl Scratch {
    /// Maps `len` bytes where the kernel likes.
    ///
    /// `target` is where they are to go, for the sake of whoever reads an error.
    pub(super) fn map(
        target: Span,
        prot: Prot,
        flags: MapFlags,
        bytes: Bytes<'_>,
    ) -> Result<Self, Errno> {
        let (prot, flags) = (prot_flags(prot)?, flags.difference(MapFlags::FIXED));
        let mut made = None;
        seam::gate_elsewhere(Syscall::Mmap, target, |target| {
            let (_, len) = raw(target)?;
            let null = ptr::null_mut();
            let start = match bytes {
                // SAFETY: the kernel chooses addresses that nobody has.
                Bytes::Zero => unsafe { mm::mmap_anonymous(null, len, prot, flags) },
                // SAFETY: as above.
                Bytes::File(fd, offset) => unsafe { mm::mmap(null, len, prot, flags, fd, offset) },
            }?;
            made = Some(Self { start: start.expose_provenance(), len });
            Ok(())
        })?;
        made.ok_or(Errno::FAULT)
    }

    /// As many bytes as `target` has, without access, where the kernel likes.
    pub(super) fn blank(target: Span) -> Result<Self, Errno> {
        Self::map(target, Prot::empty(), NO_ACCESS, Bytes::Zero)
    }

    fn at(&self, skipped: usize) -> *mut c_void {
        ptr::with_exposed_provenance_mut(self.start.wrapping_add(skipped))
    }

    /// Gives advice about the memory.
    pub(super) fn advise(&self, target: Span, advice: Advice) -> Result<(), Errno> {
        seam::gate_elsewhere(Syscall::Madvise, target, |_| {
            // SAFETY: the memory is ours, and no reference points into it.
            unsafe { mm::madvise(self.at(0), self.len, advice) }
        })
    }

    /// Makes it `len` bytes, which may be another place.
    pub(super) fn grow(&mut self, target: Span, len: usize) -> Result<(), Errno> {
        let mut grown = self.start;
        seam::gate_elsewhere(Syscall::Mremap, target, |_| {
            // SAFETY: the memory is ours, no reference points into it, and the
            // kernel chooses a new place that nobody has.
            let got = unsafe { mm::mremap(self.at(0), self.len, len, MremapFlags::MAYMOVE) }?;
            grown = got.expose_provenance();
            Ok(())
        })?;
        (self.start, self.len) = (grown, len);
        Ok(())
    }

    /// Gives back what a refused `mremap` to here has left of it.
    ///
    /// The kernel may have unmapped it before it refused, and then somebody else may
    /// have the addresses. What is not sure to be ours stays as it is.
    fn abandon(mut self) {
        let here = u64::try_from(self.start).ok().zip(u64::try_from(self.len).ok());
        let Some(here) = here.and_then(|(start, len)| Span::of(start, len)) else { return };
        let ours = match seam::gate_elsewhere(Syscall::Mmap, here, take_free) {
            // It was gone, and is taken again.
            Ok(()) => true,
            Err(_) => view::regions(here).is_ok_and(|found| {
                found.iter().all(view::KernelRegion::is_reserved) && !found.is_empty()
            }),
        };
        if !ours {
            self.len = 0;
        }
    }

    /// Gives up all but the first `len` bytes.
    pub(super) fn shrink(&mut self, target: Span, len: usize) -> Result<(), Errno> {
        if let Some(rest) = self.len.checked_sub(len).filter(|rest| *rest > 0) {
            seam::gate_elsewhere(Syscall::Munmap, target, |_| {
                // SAFETY: the memory is ours, and no reference points into it.
                unsafe { mm::munmap(self.at(len), rest) }
            })?;
            self.len = len;
        }
        Ok(())
    }

    /// Moves it, but for the first `skipped` bytes, to `to`, replacing what is there.
    pub(super) fn move_to(
        &mut self,
        ground: &mut Ground,
        skipped: usize,
        to: Span,
    ) -> Result<(), Errno> {
        ground.admit(to)?;
        seam::gate(Syscall::Mremap, to, |to| {
            let (new, len) = raw(to)?;
            if self.len.checked_sub(skipped) != Some(len) {
                return Err(Errno::INVAL);
            }
            // SAFETY:
            // 1. The old place is ours: the last `len` bytes of the scratch memory.
            // 2. The new place is ours to change: `admit` has seen to it.
            // 3. No reference points into either.
            unsafe { mm::mremap_fixed(self.at(skipped), len, len, MremapFlags::MAYMOVE, new) }
                .map(drop)
        })?;
        // What has moved is no longer here.
        self.len = skipped;
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: the memory is ours, and no reference points into it. There is
            // nothing to be done about a refusal: the memory stays, without an owner.
            let _ = unsafe { mm::munmap(self.at(0), self.len) };
        }
    }
}

/// Unmaps `span` behind everybody's back, as a kernel does that loses it.
#[cfg(test)]
pub(super) fn lose(span: Span) {
    // SAFETY: a test loses pages of its own reservation.
    let _ = unsafe { give_back(span) };
}

/// Maps `span`, without access, if nobody has a page of it.
fn take_free(span: Span) -> Result<(), Errno> {
    let (start, len) = raw(span)?;
    let flags = NO_ACCESS | MapFlags::FIXED_NOREPLACE;
    // SAFETY: nothing is replaced. A kernel that does not know the flag takes the
    // address as a hint and answers with a place that nobody has.
    let got = unsafe { mm::mmap_anonymous(start, len, ProtFlags::empty(), flags) }?;
    if got != start {
        // SAFETY: this was mapped just now, and nobody knows of it.
        unsafe { mm::munmap(got, len) }?;
        return Err(Errno::EXIST);
    }
    got.expose_provenance();
    Ok(())
}

/// Unmaps `part`.
///
/// # Safety
///
/// The caller owns the memory there, no reference points into it, and nobody uses it
/// afterwards.
unsafe fn give_back(part: Span) -> Result<(), Errno> {
    let (start, len) = raw(part)?;
    // SAFETY: so the caller promises.
    unsafe { mm::munmap(start, len) }
}

/// A span as the system calls want it.
fn raw(span: Span) -> Result<(*mut c_void, usize), Errno> {
    let start = usize::try_from(span.start()).map_err(|_| Errno::FAULT)?;
    let len = span.len().and_then(|len| usize::try_from(len).ok()).ok_or(Errno::FAULT)?;
    Ok((ptr::with_exposed_provenance_mut(start), len))
}

/// As many bytes as `span` has, where the kernel gave them.
fn moved(span: Span, start: *mut c_void) -> Option<Span> {
    Span::of(u64::try_from(start.expose_provenance()).ok()?, span.len()?)
}

/// The span without its end being a part of it; no memory reaches up to 2^64.
pub(super) const fn half_open(span: Span) -> Range<u64> {
    span.start()..span.last().saturating_add(1)
}

/// The argument of the `ioctl` `PROCMAP_QUERY`, as the kernel lays it out.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProcmapQuery {
    pub(super) size: u64,
    pub(super) query_flags: u64,
    pub(super) query_addr: u64,
    pub(super) vma_start: u64,
    pub(super) vma_end: u64,
    pub(super) vma_flags: u64,
    pub(super) vma_page_size: u64,
    pub(super) vma_offset: u64,
    pub(super) inode: u64,
    pub(super) dev_major: u32,
    pub(super) dev_minor: u32,
    pub(super) vma_name_size: u32,
    pub(super) build_id_size: u32,
    pub(super) vma_name_addr: u64,
    pub(super) build_id_addr: u64,
}

/// The open `/proc/self/maps`.
#[derive(Debug)]
pub(super) struct Maps(OwnedFd);

impl Maps {
    /// Opens the list of this process, as it is now.
    ///
    /// It is opened for each look: one that was kept would show, in a child after
    /// `fork`, the parent's memory.
    pub(super) fn open() -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        fs::open("/proc/self/maps", flags, Mode::empty()).map(Self)
    }

    /// Asks about one mapping.
    pub(super) fn query(&self, query: &mut ProcmapQuery) -> Result<(), Errno> {
        const PROCMAP_QUERY: ioctl::Opcode = ioctl::opcode::read_write::<ProcmapQuery>(b'f', 17);
        // The kernel reads and writes as many bytes as this says.
        query.size = u64::try_from(size_of::<ProcmapQuery>()).unwrap_or(0);
        // No name and no build id is asked for: the kernel writes the structure alone.
        (query.vma_name_size, query.build_id_size) = (0, 0);
        // SAFETY: the opcode belongs to this structure, whose size it carries.
        let query = unsafe { ioctl::Updater::<PROCMAP_QUERY, ProcmapQuery>::new(query) };
        // SAFETY: the descriptor is that of a list of mappings, to which the opcode
        // belongs, and the kernel writes nothing but the structure, because both
        // sizes of other memory are zero.
        unsafe { ioctl::ioctl(&self.0, query) }
    }
}
