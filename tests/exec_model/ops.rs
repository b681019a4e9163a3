//! Operations as data, and how each runs on the executor and on plain books.

use super::memory::PAGE;
use super::{Store, World, ignore};
use addrspace::{
    Backing, ExecError, Limits, MapFlags, Mapping, Memory, Placement, Prot, Remap, Span,
};
use std::fs::File;

/// The memory of a new mapping.
#[derive(Clone, Copy, Debug)]
pub struct Mem {
    pub prot: Prot,
    pub kind: Kind,
    pub shared: bool,
    pub flags: MapFlags,
    pub populate: bool,
    pub huge: bool,
}

impl Mem {
    pub fn anonymous(prot: Prot) -> Self {
        let flags = MapFlags::empty();
        Self { prot, kind: Kind::Anonymous, shared: false, flags, populate: false, huge: false }
    }

    /// The test file `nth` from a page on.
    pub fn file(prot: Prot, nth: usize, page: u64) -> Self {
        Self { kind: Kind::File { nth, page }, ..Self::anonymous(prot) }
    }

    pub fn shared(self) -> Self {
        Self { shared: true, ..self }
    }

    pub fn with(self, flags: MapFlags) -> Self {
        Self { flags, ..self }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Anonymous,
    File { nth: usize, page: u64 },
}

/// Where a new mapping goes; places are pages from the start of the reservation.
#[derive(Clone, Copy, Debug)]
pub enum Where {
    Lowest,
    Highest,
    At(u64),
    NoReplace(u64),
}

#[derive(Clone, Copy, Debug)]
pub enum Target {
    InPlace,
    Anywhere,
    At(u64),
}

#[derive(Clone, Debug)]
pub enum Op {
    Map {
        place: Where,
        pages: u64,
        mem: Mem,
    },
    Unmap {
        page: u64,
        pages: u64,
    },
    Protect {
        page: u64,
        pages: u64,
        prot: Prot,
    },
    Flags {
        page: u64,
        pages: u64,
        set: MapFlags,
        clear: MapFlags,
    },
    Remap {
        page: u64,
        old: u64,
        new: u64,
        target: Target,
        keep_source: bool,
    },
    Discard {
        page: u64,
        pages: u64,
    },
    Mark,
    UnmapNonOriginal,
    Snapshot,
    Restore,
    Reset,
    /// What there may be from now on.
    Limit {
        regions: Option<usize>,
        pages: Option<u64>,
    },
    /// From now on somebody reads the published books.
    Read,
    /// An operation on the region `nth`, or what is left of its range from `inset`
    /// pages on.
    Aimed {
        nth: usize,
        inset: u64,
        op: Box<Op>,
    },
    /// Verbs with numbers as they are.
    Odd {
        verb: u8,
        addr: u64,
        len: u64,
    },
}

fn memory<'f>(files: &'f [File], mem: &Mem) -> Memory<'f> {
    let mut memory = match mem.kind {
        Kind::Anonymous => Memory::anonymous(mem.prot),
        Kind::File { nth, page } => Memory::file(mem.prot, &files[nth], page * PAGE),
    };
    memory = memory.with_flags(mem.flags);
    if mem.shared {
        memory = memory.shared();
    }
    if mem.populate {
        memory = memory.populate();
    }
    if mem.huge { memory.huge_pages() } else { memory }
}

impl World {
    fn at(&self, page: u64) -> u64 {
        self.start().wrapping_add(page.wrapping_mul(PAGE))
    }

    /// The operation with the pages that it is aimed at.
    pub fn aim(&self, op: &Op) -> Op {
        let Op::Aimed { nth, inset, op } = op else { return op.clone() };
        let regions: Vec<_> = self.exec.space().regions().map(|region| region.span).collect();
        let mut op = (**op).clone();
        let Some(span) = regions.get(nth % regions.len().max(1)) else { return op };
        let all = span.len().unwrap() / PAGE;
        let inset = inset % all;
        let first = (span.start() - self.start()) / PAGE + inset;
        let left = all - inset;
        match &mut op {
            Op::Discard { page, pages } => (*page, *pages) = (first, left.min(*pages)),
            Op::Remap { page, old, new, .. } => {
                *page = first;
                // To its end, where it can grow, and as much longer or shorter.
                if *old > 0 {
                    *new = (*new + left).saturating_sub(*old).max(1);
                    *old = left;
                }
            }
            _ => {}
        }
        op
    }

    pub fn run(&mut self, op: &Op) -> Result<(), ExecError> {
        self.last_place = None;
        match op.clone() {
            Op::Map { place, pages, mem } => self.map(place, pages, &mem),
            Op::Unmap { page, pages } => {
                let (addr, len) = (self.at(page), pages * PAGE);
                self.exec.unmap(addr, len)?;
                self.shadow.unmap(addr, len, ignore).unwrap();
                Ok(())
            }
            Op::Protect { page, pages, prot } => {
                let (addr, len) = (self.at(page), pages * PAGE);
                self.exec.protect(addr, len, prot)?;
                self.shadow.protect(addr, len, prot, ignore).unwrap();
                Ok(())
            }
            Op::Flags { page, pages, set, clear } => {
                let (addr, len) = (self.at(page), pages * PAGE);
                self.exec.set_flags(addr, len, set, clear)?;
                self.shadow.set_flags(addr, len, set, clear, ignore).unwrap();
                Ok(())
            }
            Op::Remap { page, old, new, target, keep_source } => {
                self.remap(self.at(page), [old * PAGE, new * PAGE], target, keep_source)
            }
            Op::Discard { page, pages } => {
                let (addr, len) = (self.at(page), pages * PAGE);
                self.exec.discard(addr, len)?;
                self.model().discarded(Span::of(addr, len).unwrap());
                Ok(())
            }
            Op::Mark => {
                self.exec.mark_original();
                self.shadow.mark_original();
                self.model().pages.iter_mut().flatten().for_each(|page| page.original = true);
                Ok(())
            }
            Op::UnmapNonOriginal => {
                self.exec.unmap_non_original()?;
                self.shadow.unmap_non_original(ignore).unwrap();
                Ok(())
            }
            Op::Snapshot => {
                self.snapshot = Some((self.exec.space().clone(), self.shadow.clone()));
                Ok(())
            }
            Op::Restore => {
                let Some((books, shadow)) = self.snapshot.clone() else { return Ok(()) };
                self.exec.restore(&books)?;
                self.shadow.restore(&shadow, ignore).unwrap();
                // The marks are no matter of a listener.
                let marks: Vec<_> = (0..self.model().pages.len() as u64)
                    .map(|page| self.shadow.query(self.at(page)).map(|region| region.original))
                    .collect();
                for (page, mark) in self.model().pages.iter_mut().zip(marks) {
                    if let (Some(page), Some(mark)) = (page, mark) {
                        page.original = mark;
                    }
                }
                Ok(())
            }
            Op::Reset => {
                self.exec.reset()?;
                self.shadow.reset();
                Ok(())
            }
            Op::Limit { regions, pages } => {
                let limits = Limits { regions, bytes: pages.map(|pages| pages * PAGE) };
                self.exec.set_limits(limits);
                self.shadow.set_limits(limits);
                Ok(())
            }
            Op::Read => {
                self.reader = Some(self.exec.reader());
                Ok(())
            }
            Op::Aimed { .. } => self.run(&self.aim(op)),
            Op::Odd { verb, addr, len } => {
                let memory = Memory::anonymous(Prot::READ);
                let moving = Remap::may_move(Placement::lowest());
                match verb % 7 {
                    0 => self.exec.map_at(addr, len, memory).map(drop),
                    1 => self.exec.unmap(addr, len),
                    2 => self.exec.protect(addr, len, Prot::empty()),
                    3 => self.exec.discard(addr, len),
                    4 => self.exec.remap(addr, len, len.wrapping_add(PAGE), moving).map(drop),
                    5 => self.exec.remap(self.start(), PAGE, len, Remap::to(addr)).map(drop),
                    _ => self.exec.map_at_no_replace(addr, len, memory).map(drop),
                }?;
                // If the numbers made sense after all.
                self.shadow = self.exec.space().clone();
                if verb % 7 == 3 {
                    let whole = len.div_ceil(PAGE) * PAGE;
                    self.model().discarded(Span::of(addr, whole).unwrap());
                }
                Ok(())
            }
        }
    }

    fn map(&mut self, place: Where, pages: u64, mem: &Mem) -> Result<(), ExecError> {
        let len = pages * PAGE;
        self.model().populates = mem.populate;
        self.model().next_store = match mem.kind {
            Kind::Anonymous => Store::Object,
            Kind::File { nth, .. } => Store::File(nth),
        };
        let (at, no_replace) = match place {
            Where::At(page) => (Some(self.at(page)), false),
            Where::NoReplace(page) => (Some(self.at(page)), true),
            Where::Lowest | Where::Highest => (None, false),
        };
        let memory = memory(&self.files, mem);
        let addr = match (at, no_replace) {
            (Some(addr), false) => self.exec.map_at(addr, len, memory)?,
            (Some(addr), true) => self.exec.map_at_no_replace(addr, len, memory)?,
            (None, _) => {
                let placement = match place {
                    Where::Highest => Placement::highest(),
                    _ => Placement::lowest(),
                };
                let got = self.exec.map_any(len, memory, placement)?;
                // Another mapping could be one region too many where this one is none.
                let mut search = self.shadow.clone();
                search.set_limits(Limits::default());
                let mapping = Mapping::anonymous(Prot::empty());
                let expected = search.map_any(len, mapping, placement, ignore);
                assert_eq!(Ok(got.addr() as u64), expected, "the place");
                got
            }
        };
        let addr = addr.addr() as u64;
        // Which number the file got is for the executor to say.
        let region = self.exec.query(addr).unwrap();
        let mut mapping = region.mapping();
        (mapping.prot, mapping.flags) = (mem.prot, mem.flags);
        if mem.shared {
            mapping = mapping.shared();
        }
        if let Backing::File { offset, .. } = &mut mapping.backing {
            *offset = match mem.kind {
                Kind::File { page, .. } => page * PAGE,
                Kind::Anonymous => 0,
            };
        } else {
            assert!(!mem.shared && matches!(mem.kind, Kind::Anonymous));
        }
        self.shadow.map_at(addr, len, mapping, ignore).unwrap();
        Ok(())
    }

    fn remap(
        &mut self,
        addr: u64,
        [old, new]: [u64; 2],
        target: Target,
        keep_source: bool,
    ) -> Result<(), ExecError> {
        let how = match target {
            Target::InPlace => Remap::in_place(),
            Target::Anywhere => Remap::may_move(Placement::lowest()),
            Target::At(page) => Remap::to(self.at(page)),
        };
        let how = if keep_source { how.keep_source() } else { how };
        let got = self.exec.remap(addr, old, new, how)?;
        self.last_place = Some(got.addr() as u64);
        let place = self.shadow.remap(addr, old, new, how, ignore).unwrap();
        assert_eq!(got.addr() as u64, place);
        if keep_source && old > 0 {
            // Linux takes the lock away from what stays behind.
            let locked: Vec<_> = (self.shadow.regions_in(addr, old))
                .filter(|region| region.flags.contains(MapFlags::LOCKED))
                .map(|region| region.span)
                .collect();
            // No limit stands in the way of what was not asked for.
            self.shadow.set_limits(Limits::default());
            for span in locked {
                let (none, locked) = (MapFlags::empty(), MapFlags::LOCKED);
                let len = span.len().unwrap();
                self.shadow.set_flags(span.start(), len, none, locked, ignore).unwrap();
            }
            self.shadow.set_limits(self.exec.space().limits());
        }
        Ok(())
    }
}
