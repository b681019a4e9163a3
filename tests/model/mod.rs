//! An address space so dull that it cannot be wrong: an array with a cell per page.
//!
//! [`step`] applies one operation to an `AddrSpace` and to the array, and compares
//! answer, updates and contents. It is driven by proptest here and can be driven by
//! a fuzzer elsewhere; the handler can refuse any update, in any way.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    dead_code,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    missing_docs,
    unreachable_pub,
    reason = "a model for tests, of a few dozen pages"
)]

pub mod generate;
mod plan;
mod step;

#[allow(unused_imports, reason = "not every driver uses all")]
pub use step::{Pair, run, step};

use addrspace::{
    AddrSpace, Backing, Gaps, MapFlags, Mapping, Pieces, Placement, Prot, Region, Span, Update,
};
use std::fmt::Debug;
use std::ops::Range;

/// A file's identity that the model can number.
pub trait File: Clone + PartialEq + Debug {
    fn make(number: u32) -> Self;
    fn number(&self) -> u32;

    /// How often one was cloned, for those who count.
    fn clones() -> u64 {
        0
    }
}

impl File for u32 {
    fn make(number: u32) -> Self {
        number
    }
    fn number(&self) -> u32 {
        *self
    }
}

/// What the model knows of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub prot: Prot,
    pub flags: MapFlags,
    pub backing: Backing<u32>,
    pub original: bool,
}

/// An operation, with arguments that may be nonsense.
#[derive(Clone, Debug)]
pub enum Op {
    MapAny {
        len: u64,
        mapping: Mapping,
        place: Place,
    },
    MapAt {
        addr: u64,
        len: u64,
        mapping: Mapping,
        replace: bool,
    },
    Unmap {
        addr: u64,
        len: u64,
    },
    Protect {
        addr: u64,
        len: u64,
        prot: Prot,
    },
    SetFlags {
        addr: u64,
        len: u64,
        set: MapFlags,
        clear: MapFlags,
    },
    Remap {
        addr: u64,
        old_len: u64,
        new_len: u64,
        target: Target,
        keep_source: bool,
    },
    MarkOriginal,
    UnmapNonOriginal,
    Reset,
    Limit {
        pages: Option<u64>,
        regions: Option<usize>,
    },
    /// Remember the space as it is, for `Restore`.
    Snapshot,
    Restore,
}

/// The parts of a `Placement`.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub policy: Policy,
    pub hint: Option<u64>,
    pub within: Option<(u64, u64)>,
    pub align: u64,
    pub offset: u64,
    pub guard: (u64, u64),
}

impl Place {
    /// Any place of the space, chosen by `policy` alone.
    pub fn anywhere(policy: Policy) -> Self {
        Self { policy, hint: None, within: None, align: 1, offset: 0, guard: (0, 0) }
    }
}

impl Op {
    /// A remap of the `old` bytes at `addr` to `new` bytes.
    pub fn remap(addr: u64, [old, new]: [u64; 2], target: Target, keep_source: bool) -> Self {
        Self::Remap { addr, old_len: old, new_len: new, target, keep_source }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Policy {
    Lowest,
    Highest,
    Nth(u64),
    Random(u64),
}

#[derive(Clone, Copy, Debug)]
pub enum Target {
    InPlace,
    Anywhere(Place),
    At(u64),
}

impl Place {
    pub fn placement(&self) -> Placement {
        let mut placement = match self.policy {
            Policy::Lowest => Placement::lowest(),
            Policy::Highest => Placement::highest(),
            Policy::Nth(n) => Placement::nth(n),
            Policy::Random(bits) => Placement::random(bits),
        };
        if let Some(hint) = self.hint {
            placement = placement.near(hint);
        }
        if let Some((addr, len)) = self.within {
            placement = placement.within(addr, len);
        }
        placement.aligned_at(self.align, self.offset).guarded(self.guard.0, self.guard.1)
    }
}

/// Which update the handler refuses, and how.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    /// The number of the update, from 0.
    pub at: usize,
    /// How many pages of it are acknowledged before.
    pub made: Option<u64>,
    pub panics: bool,
}

/// A piece: first byte, last byte, and what the first page is.
pub type Piece = (Span, Page);

/// An update with nothing borrowed.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Map { region: Piece, replaced: Vec<Piece> },
    Unmap { span: Span, pieces: Vec<Piece> },
    Protect { span: Span, prot: Prot, pieces: Vec<Piece> },
    Flags { span: Span, set: MapFlags, clear: MapFlags, pieces: Vec<Piece> },
    Move { from: Span, to: Span, keep_source: bool, pieces: Vec<Piece>, replaced: Vec<Piece> },
}

/// What an update does to the pages.
#[derive(Clone, Debug)]
pub enum Effect {
    Map {
        range: Range<usize>,
        pages: Vec<Page>,
    },
    Unmap {
        range: Range<usize>,
    },
    Protect {
        range: Range<usize>,
        prot: Prot,
    },
    Flags {
        range: Range<usize>,
        set: MapFlags,
        clear: MapFlags,
    },
    Move {
        from: Range<usize>,
        to: Range<usize>,
        pages: Vec<Page>,
        keep_source: bool,
    },
    /// Not reported.
    Unmark {
        range: Range<usize>,
    },
}

#[derive(Clone, Debug)]
pub struct Model {
    /// Wide enough for 2^64.
    pub start: u128,
    pub page: u128,
    pub pages: Vec<Option<Page>>,
    pub gaps: Gaps,
    pub page_limit: Option<u64>,
    pub region_limit: Option<usize>,
}

impl Model {
    pub fn new(start: u64, page: u64, pages: usize) -> Self {
        Self {
            start: start.into(),
            page: page.into(),
            pages: vec![None; pages],
            gaps: Gaps::Foreign,
            page_limit: None,
            region_limit: None,
        }
    }

    /// The space with the same bounds, empty.
    pub fn space<F: File>(&self) -> AddrSpace<F> {
        let page = u64::try_from(self.page).unwrap();
        let len = self.page * self.pages.len() as u128;
        let space = match u64::try_from(len) {
            Ok(len) => AddrSpace::new(self.start as u64, len, page),
            Err(_) => AddrSpace::whole(page),
        };
        space.unwrap().with_gaps(self.gaps)
    }

    pub fn addr(&self, page: usize) -> u128 {
        self.start + self.page * page as u128
    }

    pub fn span(&self, range: &Range<usize>) -> Span {
        let last = self.addr(range.end) - 1;
        Span::new(self.addr(range.start) as u64, last as u64).unwrap()
    }

    /// Whether page `b` continues what page `a`, before it, has; the mark aside.
    pub fn continues(&self, a: Page, b: Page) -> bool {
        let follows = |a: u64, b: u64| u128::from(a) + self.page == u128::from(b);
        let backing = match (a.backing, b.backing) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (Backing::File { file: f, offset: a }, Backing::File { file: g, offset: b }) => {
                f == g && follows(a, b)
            }
            (Backing::Physical { addr: a }, Backing::Physical { addr: b }) => follows(a, b),
            (a @ Backing::Tag { .. }, b @ Backing::Tag { .. }) => a == b,
            _ => false,
        };
        a.prot == b.prot && a.flags == b.flags && backing
    }

    /// Whether the pages `i` and `i + 1` are of one region.
    pub fn joined(&self, i: usize) -> bool {
        match (self.pages[i], self.pages.get(i + 1).copied().flatten()) {
            (Some(a), Some(b)) => a.original == b.original && self.continues(a, b),
            _ => false,
        }
    }

    /// The ranges of pages of `range` that are of one region each.
    pub fn runs(&self, range: &Range<usize>) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for i in range.clone().filter(|&i| self.pages[i].is_some()) {
            match runs.last_mut() {
                Some(run) if run.end == i && self.joined(i - 1) => run.end = i + 1,
                _ => runs.push(i..i + 1),
            }
        }
        runs
    }

    pub fn pieces(&self, range: &Range<usize>) -> Vec<Piece> {
        let runs = self.runs(range).into_iter();
        runs.map(|run| (self.span(&run), self.pages[run.start].unwrap())).collect()
    }

    /// The same pages `pages` further on in what they come from.
    pub fn advanced(&self, page: Page, pages: usize) -> Page {
        let step =
            |offset: u64| u64::try_from(u128::from(offset) + self.page * pages as u128).unwrap();
        let backing = match page.backing {
            Backing::File { file, offset } => Backing::File { file, offset: step(offset) },
            Backing::Physical { addr } => Backing::Physical { addr: step(addr) },
            other => other,
        };
        Page { backing, ..page }
    }

    /// What is reported of an effect, if it is.
    fn event(&self, effect: &Effect) -> Option<Event> {
        Some(match effect {
            Effect::Unmark { .. } => return None,
            Effect::Map { range, pages } => {
                Event::Map { region: (self.span(range), pages[0]), replaced: self.pieces(range) }
            }
            Effect::Unmap { range } => {
                Event::Unmap { span: self.span(range), pieces: self.pieces(range) }
            }
            Effect::Protect { range, prot } => {
                Event::Protect { span: self.span(range), prot: *prot, pieces: self.pieces(range) }
            }
            Effect::Flags { range, set, clear } => Event::Flags {
                span: self.span(range),
                set: *set,
                clear: *clear,
                pieces: self.pieces(range),
            },
            Effect::Move { from, to, keep_source, .. } => Event::Move {
                from: self.span(from),
                to: self.span(to),
                keep_source: *keep_source,
                pieces: self.pieces(from),
                replaced: self.pieces(to),
            },
        })
    }

    /// Does what an effect does, or what `made` acknowledged pages of it do.
    pub fn apply(&mut self, effect: &Effect, made: Option<usize>) {
        let cut = |range: &Range<usize>| range.clone().take(made.unwrap_or(range.len()));
        match effect {
            Effect::Map { range, pages } => {
                for (i, page) in cut(range).zip(pages) {
                    self.pages[i] = made.is_none().then_some(*page);
                }
            }
            Effect::Unmap { range } => cut(range).for_each(|i| self.pages[i] = None),
            Effect::Protect { range, prot } => {
                cut(range).for_each(|i| self.pages[i].as_mut().unwrap().prot = *prot);
            }
            Effect::Flags { range, set, clear } => cut(range).for_each(|i| {
                let page = self.pages[i].as_mut().unwrap();
                page.flags = page.flags.difference(*clear).union(*set);
            }),
            Effect::Move { from, to, pages, keep_source } => {
                for i in cut(from).filter(|_| !keep_source) {
                    self.pages[i] = None;
                }
                for (i, page) in cut(to).zip(pages) {
                    self.pages[i] = Some(*page);
                }
            }
            Effect::Unmark { range } => {
                cut(range).for_each(|i| self.pages[i].as_mut().unwrap().original = false);
            }
        }
    }

    pub fn mark_original(&mut self) {
        self.pages.iter_mut().flatten().for_each(|page| page.original = true);
    }

    /// Compares the space with the array, by every way of looking.
    pub fn compare<F: File>(&self, space: &AddrSpace<F>) {
        space.check();
        let all = 0..self.pages.len();
        let expected = self.pieces(&all);
        let found: Vec<Piece> = space.regions().map(|region| piece(&region)).collect();
        assert_eq!(found, expected, "regions");
        let mut back: Vec<Piece> = space.regions().rev().map(|region| piece(&region)).collect();
        back.reverse();
        assert_eq!(back, expected, "regions backwards");
        for (i, page) in self.pages.iter().enumerate() {
            let addr = self.addr(i) as u64;
            let last = (self.addr(i + 1) - 1) as u64;
            assert_eq!(space.query(addr).is_some(), page.is_some(), "query of {addr:#x}");
            assert_eq!(space.query(last).map(|r| r.span), space.query(addr).map(|r| r.span));
            let here: Vec<Piece> = space.regions_in(addr, 1).map(|region| piece(&region)).collect();
            assert_eq!(here, self.pieces(&(i..i + 1)), "the piece at {addr:#x}");
        }
        let mut covered: Vec<Span> = space.gaps().chain(space.regions().map(|r| r.span)).collect();
        covered.sort();
        let mut next = Some(self.start as u64);
        for span in covered {
            assert_eq!(Some(span.start()), next, "gaps and regions tile the space");
            next = span.end();
        }
        self.compare_usage(space);
    }

    /// The bytes of that many pages, as far as a `u64` can say.
    fn bytes(&self, pages: usize) -> u64 {
        u64::try_from(pages as u128 * self.page).unwrap_or(u64::MAX)
    }

    fn compare_usage<F: File>(&self, space: &AddrSpace<F>) {
        let usage = space.usage();
        let count = |class: fn(&Page) -> bool| {
            self.bytes(self.pages.iter().flatten().filter(|page| class(page)).count())
        };
        let shared = |page: &Page| page.flags.contains(MapFlags::SHARED);
        assert_eq!(usage.mapped, count(|_| true), "mapped");
        assert_eq!(usage.shared, count(shared), "shared");
        assert_eq!(usage.executable, count(|page| page.prot.contains(Prot::EXEC)), "executable");
        let writable = self.pages.iter().flatten();
        let writable = writable.filter(|page| page.prot.contains(Prot::WRITE) && !shared(page));
        assert_eq!(usage.writable_private, self.bytes(writable.count()), "writable private");
        assert_eq!(usage.regions, self.runs(&(0..self.pages.len())).len(), "regions");
    }
}

/// Does to bare pages what an update says, as a host would.
pub fn replay(host: &mut Model, event: &Event) {
    let range = |host: &Model, span: &Span| {
        let page = |addr: u128| ((addr - host.start) / host.page) as usize;
        page(span.start().into())..page(u128::from(span.last()) + 1)
    };
    let effect = match event {
        Event::Map { region: (span, first), .. } => {
            let range = range(host, span);
            let pages = (0..range.len()).map(|i| host.advanced(*first, i)).collect();
            Effect::Map { range, pages }
        }
        Event::Unmap { span, .. } => Effect::Unmap { range: range(host, span) },
        Event::Protect { span, prot, .. } => {
            Effect::Protect { range: range(host, span), prot: *prot }
        }
        Event::Flags { span, set, clear, .. } => {
            Effect::Flags { range: range(host, span), set: *set, clear: *clear }
        }
        Event::Move { from, to, keep_source, .. } => {
            let (from, to) = (range(host, from), range(host, to));
            let first = host.pages[from.start].unwrap();
            let moved = |i: usize| match host.pages.get(from.start + i).filter(|_| i < from.len()) {
                Some(page) => page.unwrap(),
                None => host.advanced(first, i),
            };
            let pages = (0..to.len()).map(moved).collect();
            Effect::Move { from, to, pages, keep_source: *keep_source }
        }
    };
    host.apply(&effect, None);
}

/// A region with nothing borrowed.
pub fn piece<F: File>(region: &Region<'_, F>) -> Piece {
    let backing = match region.backing {
        Backing::Anonymous => Backing::Anonymous,
        Backing::Physical { addr } => Backing::Physical { addr },
        Backing::File { file, offset } => Backing::File { file: file.number(), offset },
        Backing::Tag { handle, value } => Backing::Tag { handle: handle.number(), value },
    };
    let Region { span, prot, flags, original, .. } = *region;
    (span, Page { prot, flags, backing, original })
}

/// An update with nothing borrowed; its pieces are the same from both sides.
pub fn event<F: File>(update: &Update<'_, F>) -> Event {
    fn list<F: File>(pieces: &Pieces<'_, F>) -> Vec<Piece> {
        let forth: Vec<Piece> = pieces.iter().map(|region| piece(&region)).collect();
        let mut back: Vec<Piece> = pieces.iter().rev().map(|region| piece(&region)).collect();
        back.reverse();
        assert_eq!(forth, back, "pieces backwards");
        assert_eq!(pieces.is_empty(), forth.is_empty());
        forth
    }
    match update {
        Update::Map { region, replaced } => {
            Event::Map { region: piece(region), replaced: list(replaced) }
        }
        Update::Unmap { span, pieces } => Event::Unmap { span: *span, pieces: list(pieces) },
        Update::Protect { span, prot, pieces } => {
            Event::Protect { span: *span, prot: *prot, pieces: list(pieces) }
        }
        Update::Flags { span, set, clear, pieces } => {
            Event::Flags { span: *span, set: *set, clear: *clear, pieces: list(pieces) }
        }
        Update::Move { from, to, keep_source, pieces, replaced } => Event::Move {
            from: *from,
            to: *to,
            keep_source: *keep_source,
            pieces: list(pieces),
            replaced: list(replaced),
        },
    }
}

/// A mapping with a handle of the kind under test.
pub fn mapping<F: File>(mapping: &Mapping) -> Mapping<F> {
    let Mapping { prot, flags, backing } = *mapping;
    let backing = match backing {
        Backing::Anonymous => Backing::Anonymous,
        Backing::Physical { addr } => Backing::Physical { addr },
        Backing::File { file, offset } => Backing::File { file: F::make(file), offset },
        Backing::Tag { handle, value } => Backing::Tag { handle: F::make(handle), value },
    };
    Mapping { prot, flags, backing }
}
