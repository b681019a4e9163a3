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
    missing_docs,
    unreachable_pub,
    reason = "a model for tests, of a few dozen pages"
)]

pub mod generate;
mod plan;

use addrspace::{
    AddrSpace, Backing, Gaps, Limits, MapFlags, Mapping, OpError, Pieces, Placement, Prot, Region,
    Remap, Span, Update,
};
use std::fmt::Debug;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

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

    fn compare_usage<F: File>(&self, space: &AddrSpace<F>) {
        let usage = space.usage();
        let count = |class: fn(&Page) -> bool| {
            self.pages.iter().flatten().filter(|page| class(page)).count() as u64
        };
        let shared = |page: &Page| page.flags.contains(MapFlags::SHARED);
        assert_eq!(usage.mapped, count(|_| true), "mapped");
        assert_eq!(usage.shared, count(shared), "shared");
        assert_eq!(usage.executable, count(|page| page.prot.contains(Prot::EXEC)), "executable");
        let writable = self.pages.iter().flatten();
        let writable = writable.filter(|page| page.prot.contains(Prot::WRITE) && !shared(page));
        assert_eq!(usage.writable_private, writable.count() as u64, "writable private");
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

/// Both sides, and what they remember for `Restore`.
#[derive(Clone, Debug)]
pub struct Pair<F: File> {
    pub space: AddrSpace<F>,
    pub model: Model,
    pub saved: (AddrSpace<F>, Model),
}

impl<F: File> Pair<F> {
    pub fn new(model: Model) -> Self {
        let space = model.space();
        Self { saved: (space.clone(), model.clone()), space, model }
    }
}

/// Tells, when a test fails, in which operation.
struct Context<'a>(&'a Op, Option<Refusal>, String);

impl Drop for Context<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(op, refusal, before) = self;
            eprintln!("on {before}: {op:x?}, refused: {refusal:?}");
        }
    }
}

/// What the refusing handler panics with.
struct Refused;

/// Applies `op` to both, with a handler that may refuse, and compares.
///
/// Tells how many updates there were.
pub fn step<F: File>(pair: &mut Pair<F>, op: &Op, refusal: Option<Refusal>) -> usize {
    let _context = Context(op, refusal, pair.space.picture().to_string());
    let mut events = Vec::new();
    let planned = pair.model.plan(op, &pair.saved.1);
    let (page, geometry) = (pair.model.page, pair.model.clone());
    let space = &mut pair.space;
    let before = space.clone();
    let mut refused_at = None;
    let clones = std::cell::Cell::new(None);
    let handler = |update: Update<'_, F>| -> Result<(), ()> {
        let number = events.len();
        events.push(event(&update));
        clones.set(Some(F::clones()));
        let Some(refusal) = refusal.filter(|refusal| refusal.at == number) else { return Ok(()) };
        let span = update.span();
        refused_at = Some(span.start());
        if let Some(made) = refusal.made {
            let addr = u128::from(span.start()) + page * u128::from(made);
            // The middle of a page is as good as its start; 2^64 cannot be said.
            let addr = u64::try_from(addr + page / 2).unwrap_or(u64::MAX);
            update.made_to(addr);
            update.made_to(span.start()); // is not taken back
            let made = (u128::from(addr) - u128::from(span.start())) / page;
            let pages = (u128::from(span.last()) + 1 - u128::from(span.start())) / page;
            let at = u128::from(span.start()) + made.min(pages) * page;
            refused_at = Some(u64::try_from(at).unwrap());
            clones.set(Some(F::clones()));
        }
        if refusal.panics {
            resume_unwind(Box::new(Refused));
        }
        Err(())
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| run(space, op, &pair.saved.0, handler)));
    // After the last update comes only the dropping of marks, which a restore does.
    if let Some(clones) = clones.get().filter(|_| !matches!(op, Op::Restore)) {
        assert_eq!(F::clones(), clones, "recording clones");
    }
    let outcome = match outcome {
        Ok(outcome) => Some(outcome),
        Err(payload) if payload.is::<Refused>() => None,
        Err(payload) => resume_unwind(payload),
    };

    let (answer, effects) = match planned {
        Err(errno) => {
            let Some(Err(OpError::Refused(error))) = outcome else {
                panic!("{op:?} gives {outcome:?}, expected errno {errno}")
            };
            assert_eq!(error.errno(), errno, "{op:?} gives {error:?}");
            assert!(events.is_empty(), "an error comes before the first update");
            assert_eq!(*space, before, "an error changes nothing");
            return 0;
        }
        Ok(planned) => planned,
    };
    // What the handler heard up to the refusal, and what that has made.
    let mut heard = 0;
    for effect in &effects {
        let expected = pair.model.event(effect);
        if let Some(expected) = &expected {
            assert_eq!(events.get(heard), Some(expected), "update {heard} of {op:?}");
            heard += 1;
        }
        match refused_at.filter(|_| expected.is_some() && heard == events.len()) {
            Some(at) => {
                let start = match effect {
                    Effect::Map { range, .. } | Effect::Unmap { range } => range.start,
                    Effect::Protect { range, .. } | Effect::Flags { range, .. } => range.start,
                    Effect::Move { from, .. } => from.start,
                    Effect::Unmark { .. } => unreachable!(),
                };
                let made = (u128::from(at) - geometry.addr(start)) / page;
                pair.model.apply(effect, Some(made as usize));
                break;
            }
            None => pair.model.apply(effect, None),
        }
    }
    assert_eq!(events.len(), heard, "{op:?} reports more than expected: {events:?}");
    match (refused_at, outcome) {
        (None, outcome) => assert_eq!(outcome, Some(Ok(answer)), "{op:?}"),
        (Some(_), None) => {}
        (Some(at), outcome) => {
            assert_eq!(outcome, Some(Err(OpError::Handler { at, source: () })), "{op:?}");
        }
    }
    match op {
        Op::MarkOriginal => {
            pair.model.pages.iter_mut().flatten().for_each(|page| page.original = true);
        }
        Op::Reset => pair.model.pages.fill(None),
        Op::Limit { pages, regions } => {
            (pair.model.page_limit, pair.model.region_limit) = (*pages, *regions);
        }
        Op::Snapshot => pair.saved = (pair.space.clone(), pair.model.clone()),
        Op::Restore if refused_at.is_none() => assert_eq!(pair.space, pair.saved.0),
        _ => {}
    }
    pair.model.compare(&pair.space);
    heard
}

/// Calls the verb of `op`.
pub fn run<F: File>(
    space: &mut AddrSpace<F>,
    op: &Op,
    saved: &AddrSpace<F>,
    handler: impl FnMut(Update<'_, F>) -> Result<(), ()>,
) -> Result<Option<u64>, OpError<()>> {
    match *op {
        Op::MapAny { len, mapping: ref m, place } => {
            return space.map_any(len, mapping(m), place.placement(), handler).map(Some);
        }
        Op::MapAt { addr, len, mapping: ref m, replace: true } => {
            space.map_at(addr, len, mapping(m), handler)?;
        }
        Op::MapAt { addr, len, mapping: ref m, replace: false } => {
            space.map_at_no_replace(addr, len, mapping(m), handler)?;
        }
        Op::Unmap { addr, len } => space.unmap(addr, len, handler)?,
        Op::Protect { addr, len, prot } => space.protect(addr, len, prot, handler)?,
        Op::SetFlags { addr, len, set, clear } => {
            space.set_flags(addr, len, set, clear, handler)?
        }
        Op::Remap { addr, old_len, new_len, target, keep_source } => {
            let mut how = match target {
                Target::InPlace => Remap::in_place(),
                Target::Anywhere(place) => Remap::may_move(place.placement()),
                Target::At(addr) => Remap::to(addr),
            };
            if keep_source {
                how = how.keep_source();
            }
            return space.remap(addr, old_len, new_len, how, handler).map(Some);
        }
        Op::UnmapNonOriginal => space.unmap_non_original(handler)?,
        Op::Restore => space.restore(saved, handler)?,
        Op::MarkOriginal => space.mark_original(),
        Op::Reset => space.reset(),
        Op::Limit { pages, regions } => {
            let page = space.page_size().bytes();
            // 2^64 bytes are no limit.
            let bytes = pages.and_then(|pages| pages.checked_mul(page));
            space.set_limits(Limits { bytes, regions });
        }
        Op::Snapshot => {}
    }
    Ok(None)
}
