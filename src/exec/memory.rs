//! What a new mapping is to be made of, and how it is asked of the kernel.

use super::error::{ExecError, Refusal, Syscall};
use super::sys::{Bytes, Errno, Ground, Scratch};
use crate::{Backing, MapFlags, Prot, Region, Span};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::mm::{self, Advice};

/// The memory of a new mapping: protection, source and options.
///
/// # Examples
///
/// ```
/// use addrspace::{Executor, Memory, Placement, Prot, Reservation};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut exec = Executor::new(Reservation::new(1 << 30)?)?;
/// let rw = Prot::READ | Prot::WRITE;
///
/// let heap = exec.map_any(0x10000, Memory::anonymous(rw).no_reserve(), Placement::lowest())?;
/// let ring = exec.map_any(0x4000, Memory::anonymous(rw).shared().populate(), Placement::lowest())?;
/// assert_ne!(heap, ring);
///
/// let program = std::fs::File::open("/proc/self/exe")?;
/// let header = exec.map_any(0x1000, Memory::file(Prot::READ, &program, 0), Placement::lowest())?;
/// // SAFETY: the page is mapped, readable, and nobody unmaps it meanwhile.
/// assert_eq!(unsafe { header.cast::<[u8; 4]>().read() }, *b"\x7fELF");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Memory<'fd> {
    pub(super) prot: Prot,
    pub(super) flags: MapFlags,
    pub(super) source: Source<'fd>,
    pub(super) options: Options,
}

/// Where the bytes of a new mapping come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'fd> {
    Anonymous,
    File(BorrowedFd<'fd>, u64),
}

/// What is asked of the kernel once and is not in the books.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    populate: bool,
    huge: Option<Advice>,
}

impl Memory<'static> {
    /// Memory that reads as zeroes and belongs to this mapping alone.
    pub fn anonymous(prot: Prot) -> Self {
        let (flags, options) = (MapFlags::empty(), Options::default());
        Self { prot, flags, source: Source::Anonymous, options }
    }
}

impl<'fd> Memory<'fd> {
    /// A private view of `file` from `offset` (bytes) on: writes stay in memory.
    ///
    /// The file is borrowed for the call that maps it. The executor keeps neither
    /// the descriptor nor a copy of it: closing a copy would drop the locks that
    /// this process has on the file.
    pub fn file(prot: Prot, file: &'fd impl AsFd, offset: u64) -> Self {
        let (flags, options) = (MapFlags::empty(), Options::default());
        Self { prot, flags, source: Source::File(file.as_fd(), offset), options }
    }

    /// The same, shared: writes reach the file, and anonymous memory stays one for
    /// a child after `fork`, and for a duplicate by
    /// [`remap`](super::Executor::remap).
    #[must_use]
    pub fn shared(self) -> Self {
        self.with_flags(MapFlags::SHARED)
    }

    /// All pages are there from the start (`MAP_POPULATE`), as far as there is
    /// memory: the kernel does not say if there is not.
    #[must_use]
    pub fn populate(mut self) -> Self {
        self.options.populate = true;
        self
    }

    /// No swap space is set aside (`MAP_NORESERVE`).
    #[must_use]
    pub fn no_reserve(self) -> Self {
        self.with_flags(MapFlags::NO_RESERVE)
    }

    /// The pages are locked in memory (`MAP_LOCKED`).
    #[must_use]
    pub fn locked(self) -> Self {
        self.with_flags(MapFlags::LOCKED)
    }

    /// Large pages are wanted (`MADV_HUGEPAGE`).
    ///
    /// Advice to the kernel, which the books do not know: a
    /// [`remap`](super::Executor::remap) that grows the mapping does not repeat it.
    #[must_use]
    pub fn huge_pages(mut self) -> Self {
        self.options.huge = Some(Advice::LinuxHugepage);
        self
    }

    /// Large pages are not wanted (`MADV_NOHUGEPAGE`).
    #[must_use]
    pub fn no_huge_pages(mut self) -> Self {
        self.options.huge = Some(Advice::LinuxNoHugepage);
        self
    }

    /// The same with `flags` added.
    ///
    /// The kernel is asked for [`MapFlags::SHARED`], `LOCKED`, `NO_RESERVE`,
    /// `DONT_FORK`, `DONT_DUMP` and `WIPE_ON_FORK`. `GROWS_DOWN` and `SEALED` are
    /// refused by the executor; all others it only notes.
    #[must_use]
    pub fn with_flags(mut self, flags: MapFlags) -> Self {
        self.flags |= flags;
        self
    }
}

/// Flags that are advice to the kernel, with the advice that gives and takes them.
pub(super) const ADVISED: [(MapFlags, Advice, Advice); 3] = [
    (MapFlags::DONT_FORK, Advice::LinuxDontFork, Advice::LinuxDoFork),
    (MapFlags::DONT_DUMP, Advice::LinuxDontDump, Advice::LinuxDoDump),
    (MapFlags::WIPE_ON_FORK, Advice::LinuxWipeOnFork, Advice::LinuxKeepOnFork),
];

/// Refuses flags that no mapping in a reservation can have.
///
/// One that grows downwards would grow into the reserved pages below it, and one
/// that is sealed could never be given back.
pub(super) fn check_flags(flags: MapFlags) -> Result<(), ExecError> {
    let odd = flags & (MapFlags::GROWS_DOWN | MapFlags::SEALED);
    if odd.is_empty() { Ok(()) } else { Err(ExecError::Flags { flags: odd }) }
}

/// The flags of `mmap` for a mapping with `flags`.
const fn mmap_flags(flags: MapFlags) -> mm::MapFlags {
    let mut asked =
        if flags.contains(MapFlags::SHARED) { mm::MapFlags::SHARED } else { mm::MapFlags::PRIVATE };
    if flags.contains(MapFlags::LOCKED) {
        asked = asked.union(mm::MapFlags::LOCKED);
    }
    if flags.contains(MapFlags::NO_RESERVE) {
        asked = asked.union(mm::MapFlags::NORESERVE);
    }
    asked
}

/// How a region is put where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By one `mmap`, whose failure leaves the old mapping in place.
    Direct,
    /// At a scratch address first, so that the old mapping goes in the last step.
    Scratch,
}

/// Maps `region` where it says, and replaces what is there.
#[inline]
pub(super) fn put<F>(
    ground: &mut Ground,
    region: &Region<'_, F>,
    file: Option<BorrowedFd<'_>>,
    options: Options,
    way: Way,
) -> Result<(), Refusal> {
    let span = region.span;
    // Without a file it is anonymous; shared anonymous memory is booked as a file.
    let bytes = match (region.backing, file) {
        (Backing::File { offset, .. } | Backing::Physical { addr: offset }, Some(fd)) => {
            Bytes::File(fd, offset)
        }
        _ => Bytes::Zero,
    };
    let mut flags = mmap_flags(region.flags);
    let advised = ADVISED.iter().any(|(flag, ..)| region.flags.contains(*flag));
    if way == Way::Direct && !advised && options.huge.is_none() {
        if options.populate {
            flags |= mm::MapFlags::POPULATE;
        }
        return ground
            .map(span, region.prot, flags, bytes)
            .map_err(Refusal::of(Syscall::Mmap, span));
    }
    put_by_scratch(ground, region, flags, bytes, options)
}

fn put_by_scratch<F>(
    ground: &mut Ground,
    region: &Region<'_, F>,
    flags: mm::MapFlags,
    bytes: Bytes<'_>,
    options: Options,
) -> Result<(), Refusal> {
    let span = region.span;
    let advice = ADVISED.iter().filter(|(flag, ..)| region.flags.contains(*flag));
    let advice = advice.map(|(_, give, _)| *give).chain(options.huge);
    let mut scratch =
        Scratch::map(span, region.prot, flags, bytes).map_err(Refusal::of(Syscall::Mmap, span))?;
    for advice in advice {
        scratch.advise(span, advice).map_err(Refusal::of(Syscall::Madvise, span))?;
    }
    scratch.move_to(ground, 0, span).map_err(Refusal::of(Syscall::Mremap, span))?;
    if options.populate {
        let advice = if region.prot.contains(Prot::WRITE) && !region.is_shared() {
            Advice::LinuxPopulateWrite
        } else {
            Advice::LinuxPopulateRead
        };
        // As with MAP_POPULATE: what cannot be had now is had when it is touched.
        let _: Result<(), Errno> = ground.advise(span, advice);
    }
    Ok(())
}

/// Sets and clears flags of the memory of `span`, one call for each.
pub(super) fn change_flags(
    ground: &mut Ground,
    span: Span,
    set: MapFlags,
    clear: MapFlags,
) -> Result<(), Refusal> {
    let clear = clear.difference(set);
    if clear.contains(MapFlags::LOCKED) {
        ground.unlock(span).map_err(Refusal::of(Syscall::Munlock, span))?;
    }
    for (flag, give, take) in ADVISED {
        let advice = match (set.contains(flag), clear.contains(flag)) {
            (true, _) => give,
            (_, true) => take,
            _ => continue,
        };
        ground.advise(span, advice).map_err(Refusal::of(Syscall::Madvise, span))?;
    }
    if set.contains(MapFlags::LOCKED) {
        ground.lock(span).map_err(Refusal::of(Syscall::Mlock, span))?;
    }
    Ok(())
}
