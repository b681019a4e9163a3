//! The books under test: an [`AddrSpace`], every call into it timed, and every
//! update that it reports noted.

use core::mem;
use core::time::Duration;
use std::time::Instant;

use addrspace::{
    AddrSpace, Backing, Error, Label, MapFlags, Mapping, Prot, Region, Remap, Span, Update,
};

use super::compare::{Page, Run, Stretch};
use super::trace::{Area, Object, Trace, VmFlags};

/// Where the books end: user memory is in the lower half, on all machines.
const USER_END: u64 = 1 << 63;

/// A flag of ours: `VM_IO`, which forbids `MADV_DOFORK`.
pub(crate) const IO: MapFlags = MapFlags::from_bits_retain(1 << 31);
/// A flag of ours: `VM_SPECIAL`, which forbids `MADV_DODUMP`.
pub(crate) const SPECIAL: MapFlags = MapFlags::from_bits_retain(1 << 30);

/// Where `mremap` leaves a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Where it was; it grew or shrank there.
    InPlace,
    /// At another address.
    At {
        /// The address.
        addr: u64,
        /// Whether the old place stays mapped.
        keep_source: bool,
    },
}

/// The books of one address space.
#[derive(Debug)]
pub(crate) struct Books {
    space: AddrSpace<u32>,
    changed: Vec<Stretch>,
    spent: Duration,
    verbs: u64,
}

impl Books {
    /// Books of a space in which nothing is mapped.
    ///
    /// # Errors
    ///
    /// If the library refuses the page size.
    pub(crate) fn new(page_size: u64) -> Result<Self, Error> {
        Ok(Self::around(AddrSpace::new(0, USER_END, page_size)?))
    }

    fn around(space: AddrSpace<u32>) -> Self {
        Self { space, changed: Vec::new(), spent: Duration::ZERO, verbs: 0 }
    }

    /// Maps `len` bytes at `addr`, over what is there.
    pub(crate) fn map(&mut self, addr: u64, len: u64, mapping: Mapping) -> Result<(), Error> {
        self.verb(|space, note| space.map_at(addr, len, mapping, note))
    }

    /// Unmaps what is mapped in `len` bytes at `addr`.
    pub(crate) fn unmap(&mut self, addr: u64, len: u64) -> Result<(), Error> {
        self.verb(|space, note| space.unmap(addr, len, note))
    }

    /// Gives what is mapped in `len` bytes at `addr` the protection `prot`.
    pub(crate) fn protect(&mut self, addr: u64, len: u64, prot: Prot) -> Result<(), Error> {
        self.verb(|space, note| space.protect(addr, len, prot, note))
    }

    /// Sets and clears flags of what is mapped in `len` bytes at `addr`.
    pub(crate) fn set_flags(
        &mut self,
        addr: u64,
        len: u64,
        set: MapFlags,
        clear: MapFlags,
    ) -> Result<(), Error> {
        self.verb(|space, note| space.set_flags(addr, len, set, clear, note))
    }

    /// Resizes or moves `old_len` bytes at `addr` to `new_len` bytes.
    pub(crate) fn remap(
        &mut self,
        addr: u64,
        old_len: u64,
        new_len: u64,
        to: Destination,
    ) -> Result<(), Error> {
        let how = match to {
            Destination::InPlace => Remap::in_place(),
            Destination::At { addr, keep_source: false } => Remap::to(addr),
            Destination::At { addr, keep_source: true } => Remap::to(addr).keep_source(),
        };
        self.verb(|space, note| space.remap(addr, old_len, new_len, how, note).map(|_| ()))
    }

    /// The books of a child: those without what is not to be inherited.
    pub(crate) fn fork(&mut self) -> Self {
        let started = Instant::now();
        let child = self.space.fork(|region| !region.flags.contains(MapFlags::DONT_FORK));
        tick(&mut self.spent, &mut self.verbs, started);
        Self::around(child)
    }

    /// Sets the books, within `within`, to what the kernel has there.
    ///
    /// # Errors
    ///
    /// If the library refuses an area; those before it are taken over.
    pub(crate) fn take_over(
        &mut self,
        within: Stretch,
        areas: impl Iterator<Item = Area>,
    ) -> Result<(), Error> {
        self.unmap(within.start, within.end.saturating_sub(within.start))?;
        for area in areas {
            self.map_area(&clipped(area, within))?;
        }
        Ok(())
    }

    /// Maps what the kernel has.
    pub(crate) fn map_area(&mut self, area: &Area) -> Result<(), Error> {
        self.map(area.start, area.end.saturating_sub(area.start), mapping_of(area))
    }

    /// The region around `addr`.
    pub(crate) fn region_at(&mut self, addr: u64) -> Option<Region<'_>> {
        let started = Instant::now();
        let region = self.space.query(addr);
        tick(&mut self.spent, &mut self.verbs, started);
        region
    }

    /// The first piece in `within` that `wanted` accepts, clipped to `within`.
    pub(crate) fn first_piece(
        &mut self,
        within: Stretch,
        mut wanted: impl FnMut(&Region<'_>) -> bool,
    ) -> Option<Stretch> {
        let started = Instant::now();
        let found =
            self.pieces_in(within).find(|piece| wanted(piece)).map(|piece| stretch(piece.span));
        tick(&mut self.spent, &mut self.verbs, started);
        found
    }

    /// The first gap in `within`, clipped to it.
    pub(crate) fn first_gap(&mut self, within: Stretch) -> Option<Stretch> {
        let started = Instant::now();
        let gap = self
            .space
            .gaps_in(within.start, within.end.saturating_sub(within.start))
            .next()
            .map(stretch);
        tick(&mut self.spent, &mut self.verbs, started);
        gap
    }

    /// What is mapped in `within`, clipped to it.
    pub(crate) fn pieces_in(&self, within: Stretch) -> impl Iterator<Item = Region<'_>> {
        self.space.regions_in(within.start, within.end.saturating_sub(within.start))
    }

    /// What the pages in `within` show, clipped to it.
    pub(crate) fn runs_in(&self, within: Stretch) -> impl Iterator<Item = Run> {
        self.pieces_in(within).map(|piece| {
            let Stretch { start, end } = stretch(piece.span);
            let (object, offset) = match piece.backing {
                Backing::File { file, offset } => (Object::File(*file), offset),
                Backing::Tag { handle, .. } => (Object::Special(*handle), 0),
                // Nothing else is ever mapped here but anonymous memory.
                _ => (Object::Anonymous, 0),
            };
            Run {
                start,
                end,
                page: Page::new(piece.prot.bits(), piece.is_shared(), object, start, offset),
            }
        })
    }

    /// Everything that the books can hold.
    pub(crate) fn everything() -> Stretch {
        Stretch { start: 0, end: USER_END }
    }

    /// The number of regions.
    pub(crate) fn regions(&self) -> usize {
        self.space.regions().len()
    }

    /// What the updates since the last call of this changed.
    pub(crate) fn drain_changed(&mut self, into: &mut Vec<Stretch>) {
        into.append(&mut self.changed);
    }

    /// The time spent in the library since the last call of this, and how often
    /// it was called.
    pub(crate) fn drain_spent(&mut self) -> (Duration, u64) {
        (mem::take(&mut self.spent), mem::take(&mut self.verbs))
    }

    /// The layout in the form of `/proc/PID/maps`, with the names of `trace`.
    pub(crate) fn draw(&self, trace: &Trace) -> String {
        let label = |region: Region<'_>| {
            let name = match region.backing {
                Backing::File { file: id, .. } | Backing::Tag { handle: id, .. } => trace.name(*id),
                _ => None,
            };
            name.map_or_else(Label::default, |name| Label {
                device: device(&name.device).unwrap_or_default(),
                inode: name.inode,
                name: Some(name.path.clone()),
            })
        };
        self.space.maps(label).to_string()
    }

    /// Calls one verb with a handler that notes what it hears.
    fn verb<T>(
        &mut self,
        call: impl FnOnce(&mut AddrSpace<u32>, &mut dyn FnMut(Update<'_, u32>)) -> T,
    ) -> T {
        let changed = &mut self.changed;
        let mut note = |update: Update<'_, u32>| {
            changed.push(stretch(update.span()));
            if let Update::Move { to, .. } = update {
                changed.push(stretch(to));
            }
        };
        let started = Instant::now();
        let answer = call(&mut self.space, &mut note);
        tick(&mut self.spent, &mut self.verbs, started);
        answer
    }
}

/// Adds the time since `started`, and one more call of the library.
fn tick(spent: &mut Duration, verbs: &mut u64, started: Instant) {
    *spent = spent.saturating_add(started.elapsed());
    *verbs = verbs.saturating_add(1);
}

/// A mapping without flags, but for being shared.
pub(crate) fn mapping(prot: u32, shared: bool, object: Object, offset: u64) -> Mapping {
    let prot = Prot::from_bits_retain(prot);
    let mapping = match object {
        Object::Anonymous => Mapping::anonymous(prot),
        Object::Special(id) => Mapping::tag(prot, id, 0),
        Object::File(id) => Mapping::file(prot, id, offset),
    };
    if shared { mapping.shared() } else { mapping }
}

/// The part of a kernel area that is in `within`, where some of it is.
pub(crate) fn clipped(area: Area, within: Stretch) -> Area {
    let start = area.start.max(within.start);
    // The start is inside the area, and nothing advances but a file.
    let offset = Page::of(&area).offset_at(start);
    Area { start, end: area.end.min(within.end), offset, ..area }
}

/// The mapping of a kernel area, with the flags that the trace knows.
pub(crate) fn mapping_of(area: &Area) -> Mapping {
    mapping(area.prot, area.shared, area.object, area.offset).with_flags(flags_of(area))
}

/// The flags that the books keep of a kernel area, where the trace knows them.
fn flags_of(area: &Area) -> MapFlags {
    let Some(known) = area.flags else { return MapFlags::empty() };
    let pairs = [
        (VmFlags::GROWS_DOWN, MapFlags::GROWS_DOWN),
        (VmFlags::DONT_FORK, MapFlags::DONT_FORK),
        (VmFlags::DONT_DUMP, MapFlags::DONT_DUMP),
        (VmFlags::WIPE_ON_FORK, MapFlags::WIPE_ON_FORK),
        (VmFlags::NO_RESERVE, MapFlags::NO_RESERVE),
        (VmFlags::SEALED, MapFlags::SEALED),
        (VmFlags::IO, IO),
        (VmFlags::IO, SPECIAL),
        (VmFlags::DONT_EXPAND, SPECIAL),
        (VmFlags::PAGE_FRAMES, SPECIAL),
    ];
    let lacking = [
        (VmFlags::MAY_READ, MapFlags::NO_READ),
        (VmFlags::MAY_WRITE, MapFlags::NO_WRITE),
        (VmFlags::MAY_EXEC, MapFlags::NO_EXEC),
    ];
    let mut flags = MapFlags::empty();
    for (theirs, ours) in pairs {
        flags.set(ours, flags.contains(ours) || known.contains(theirs));
    }
    for (theirs, ours) in lacking {
        flags.set(ours, !known.contains(theirs));
    }
    flags
}

/// The major and minor number of a device, such as `fe:00`.
fn device(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?))
}

/// A span as a stretch. No space here ends at 2^64, so no end is lost.
fn stretch(span: Span) -> Stretch {
    Stretch { start: span.start(), end: span.end().unwrap_or(u64::MAX) }
}
