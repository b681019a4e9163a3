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
    Physical(BorrowedFd<'fd>, u64),
}

/// What is asked of the kernel once and is not in the books.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    populate: bool,
    huge: Option<Advice>,
}

impl Memory<'static> {
    /// Memory that reads as zeroes and belongs to this mapping alone.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Placement, Prot, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let memory = Memory::anonymous(Prot::READ | Prot::WRITE);
    /// let page = guest.map_any(0x1000, memory, Placement::lowest())?;
    /// // SAFETY: the page was mapped just now and nobody else knows of it.
    /// unsafe { page.write(7) };
    /// guest.map_at(page.addr() as u64, 0x1000, memory)?;
    /// // SAFETY: as above.
    /// assert_eq!(unsafe { page.read() }, 0); // other memory, where the first was
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
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
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Placement, Prot, Reservation};
    /// use std::fs::File;
    /// use std::io::Read;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let mut program = File::open("/proc/self/exe")?;
    /// let memory = Memory::file(Prot::READ | Prot::WRITE, &program, 0);
    /// let header = guest.map_any(0x1000, memory, Placement::lowest())?.cast::<[u8; 4]>();
    /// // SAFETY: the page was mapped just now and nobody else knows of it.
    /// unsafe { header.write(*b"mine") };
    ///
    /// let mut bytes = [0; 4];
    /// program.read_exact(&mut bytes)?;
    /// assert_eq!(bytes, *b"\x7fELF");
    /// drop(program); // the mapping does not need it any more
    /// // SAFETY: as above.
    /// assert_eq!(unsafe { header.read() }, *b"mine");
    /// # Ok(())
    /// # }
    /// ```
    pub fn file(prot: Prot, file: &'fd impl AsFd, offset: u64) -> Self {
        let (flags, options) = (MapFlags::empty(), Options::default());
        Self { prot, flags, source: Source::File(file.as_fd(), offset), options }
    }

    /// Physical memory from the address `addr` on, seen through `device`: `/dev/mem`
    /// (`phys::PhysMem` is one), or anything else whose offsets are addresses. It is
    /// shared: writes reach it.
    ///
    /// The device is borrowed for the call that maps it. The books have the address,
    /// which advances over a split, and no device: one executor maps from one of them.
    /// How it is cached is the descriptor's affair (`O_SYNC`).
    ///
    /// Such a mapping does not grow or move, cannot be discarded or restored, and is
    /// no memory for direct input and output (`O_DIRECT`):
    /// [`remap`](super::Executor::remap), [`discard`](super::Executor::discard),
    /// [`restore`](super::Executor::restore) and
    /// [`direct_buffer`](super::Executor::direct_buffer) refuse it before the kernel
    /// would.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Backing, Executor, Memory, Placement, Prot, Reservation};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("addrspace-physical-{}", std::process::id()));
    /// # std::fs::write(&path, [7; 0x4000])?;
    /// # let device = std::fs::File::options().read(true).write(true).open(&path)?;
    ///
    /// // `device` is /dev/mem, or stands in for it.
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let memory = Memory::physical(Prot::READ | Prot::WRITE, &device, 0x1000);
    /// let addr = guest.map_any(0x3000, memory, Placement::lowest())?.addr() as u64;
    /// guest.protect(addr + 0x1000, 0x1000, Prot::READ)?;
    /// let last = guest.query(addr + 0x2000).unwrap();
    /// assert_eq!(last.backing, Backing::Physical { addr: 0x3000 });
    /// # std::fs::remove_file(&path)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn physical(prot: Prot, device: &'fd impl AsFd, addr: u64) -> Self {
        let (flags, options) = (MapFlags::SHARED, Options::default());
        Self { prot, flags, source: Source::Physical(device.as_fd(), addr), options }
    }

    /// The same, shared: writes reach the file, and anonymous memory stays one for
    /// a child after `fork`, and for a duplicate by
    /// [`remap`](super::Executor::remap).
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Placement, Prot, Remap, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let ring = Memory::anonymous(Prot::READ | Prot::WRITE).shared();
    /// let one = guest.map_any(0x1000, ring, Placement::lowest())?;
    /// // The same page again, right behind: no bytes are moved.
    /// let addr = one.addr() as u64;
    /// let two = guest.remap(addr, 0, 0x1000, Remap::to(addr + 0x1000))?;
    /// // SAFETY: both pages were mapped just now and nobody else knows of them.
    /// unsafe { one.write(7) };
    /// // SAFETY: as above.
    /// assert_eq!(unsafe { two.read() }, 7);
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    #[must_use]
    pub fn shared(self) -> Self {
        self.with_flags(MapFlags::SHARED)
    }

    /// All pages are there from the start (`MAP_POPULATE`), as far as there is
    /// memory: the kernel does not say if there is not.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Placement, Prot, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let memory = Memory::anonymous(Prot::READ | Prot::WRITE).populate();
    /// let ring = guest.map_any(0x4000, memory, Placement::lowest())?;
    /// let mut pages = [0; 4];
    /// // SAFETY: the four pages are mapped, and there is a byte for each.
    /// assert_eq!(unsafe { libc::mincore(ring.cast(), 0x4000, pages.as_mut_ptr()) }, 0);
    /// assert!(pages.iter().all(|page| page & 1 == 1)); // there, though nobody has touched them
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    #[must_use]
    pub fn populate(mut self) -> Self {
        self.options.populate = true;
        self
    }

    /// No swap space is set aside (`MAP_NORESERVE`).
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, MapFlags, Memory, Placement, Prot, Reservation};
    ///
    /// // A table of a gibibyte, of which two pages will be there.
    /// let mut guest = Executor::new(Reservation::new(1 << 30)?)?;
    /// let memory = Memory::anonymous(Prot::READ | Prot::WRITE).no_reserve();
    /// let table = guest.map_any(1 << 30, memory, Placement::lowest())?;
    /// for entry in [0, (1 << 30) - 1] {
    ///     // SAFETY: the table was mapped just now and nobody else knows of it.
    ///     unsafe { table.add(entry).write(7) };
    /// }
    /// assert_eq!(guest.query(table.addr() as u64).unwrap().flags, MapFlags::NO_RESERVE);
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    #[must_use]
    pub fn no_reserve(self) -> Self {
        self.with_flags(MapFlags::NO_RESERVE)
    }

    /// The pages are locked in memory (`MAP_LOCKED`).
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{ExecError, Executor, Memory, Placement, Prot, Reservation, Undiscardable};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let memory = Memory::anonymous(Prot::READ | Prot::WRITE).locked();
    /// let key = guest.map_any(0x1000, memory, Placement::lowest())?.addr() as u64;
    /// let refused = guest.discard(key, 0x1000);
    /// assert!(matches!(refused, Err(ExecError::Discard { why: Undiscardable::Locked, .. })));
    /// # Ok::<(), ExecError>(())
    /// ```
    #[must_use]
    pub fn locked(self) -> Self {
        self.with_flags(MapFlags::LOCKED)
    }

    /// Large pages are wanted (`MADV_HUGEPAGE`).
    ///
    /// Advice to the kernel, which the books do not know: a
    /// [`remap`](super::Executor::remap) that grows the mapping does not repeat it.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{ExecError, Executor, Memory, Placement, Prot, Reservation, Syscall};
    ///
    /// const LARGE: u64 = 0x20_0000;
    /// let mut guest = Executor::new(Reservation::options().aligned(LARGE).reserve(2 * LARGE)?)?;
    /// let memory = Memory::anonymous(Prot::READ | Prot::WRITE);
    /// let heap = match guest.map_any(LARGE, memory.huge_pages(), Placement::lowest()) {
    ///     // A kernel that was built without them. Nothing is mapped.
    ///     Err(ExecError::Kernel { call: Syscall::Madvise, .. }) => {
    ///         guest.map_any(LARGE, memory, Placement::lowest())?
    ///     }
    ///     made => made?,
    /// };
    /// assert_eq!(heap.addr() as u64 % LARGE, 0);
    /// assert_eq!(guest.space().usage().mapped, LARGE);
    /// # Ok::<(), ExecError>(())
    /// ```
    #[must_use]
    pub fn huge_pages(mut self) -> Self {
        self.options.huge = Some(Advice::LinuxHugepage);
        self
    }

    /// Large pages are not wanted (`MADV_NOHUGEPAGE`).
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Placement, Prot, Reservation};
    ///
    /// // A sparse table: what is not touched is not to come along with what is.
    /// let mut guest = Executor::new(Reservation::new(1 << 30)?)?;
    /// let memory = Memory::anonymous(Prot::READ | Prot::WRITE);
    /// guest.map_any(0x20_0000, memory.no_huge_pages(), Placement::lowest())?;
    /// guest.map_any(0x20_0000, memory, Placement::lowest())?;
    /// // The books do not know the advice: to them it is all alike.
    /// assert_eq!(guest.space().usage().regions, 1);
    /// assert_eq!(guest.verify()?, []);
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
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
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{ExecError, Executor, MapFlags, Memory, Placement, Prot, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let memory = Memory::anonymous(Prot::READ | Prot::WRITE);
    /// let secret = MapFlags::DONT_DUMP | MapFlags::WIPE_ON_FORK;
    /// let key = guest.map_any(0x1000, memory.with_flags(secret), Placement::lowest())?;
    /// assert_eq!(guest.query(key.addr() as u64).unwrap().flags, secret);
    ///
    /// let stack = memory.with_flags(MapFlags::GROWS_DOWN);
    /// let refused = guest.map_any(0x1000, stack, Placement::highest());
    /// assert_eq!(refused, Err(ExecError::Flags { flags: MapFlags::GROWS_DOWN }));
    /// # Ok::<(), ExecError>(())
    /// ```
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
