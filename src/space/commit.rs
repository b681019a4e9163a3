//! The one way into the books.

use super::area::Area;
use super::update::{Answer, Pieces, Update};
use super::usage::Tally;
use super::{AddrSpace, Areas, Gaps};
use crate::range_map::{Extent, Spot};
use crate::{MapFlags, Prot, Span};
use core::cell::Cell;
use core::mem;
use core::ops::Range;

/// What an operation does to the pages of its range.
#[derive(Debug)]
pub(super) enum Change<F> {
    Unmap,
    Map(Area<F>),
    Protect(Prot),
    Flags {
        set: MapFlags,
        clear: MapFlags,
    },
    /// Takes the original mark away; no host hears of it.
    Unmark,
}

impl<F> Change<F> {
    /// The protection and the flags that `area` has afterwards, if it stays.
    pub(super) fn applied_to(&self, area: &Area<F>) -> (Prot, MapFlags) {
        match *self {
            Self::Unmap | Self::Map(_) | Self::Unmark => area.attributes(),
            Self::Protect(prot) => (prot, area.flags),
            Self::Flags { set, clear } => (area.prot, area.flags.difference(clear).union(set)),
        }
    }

    /// Whether the areas stay and only change.
    const fn alters(&self) -> bool {
        matches!(self, Self::Protect(_) | Self::Flags { .. } | Self::Unmark)
    }

    /// What it does to the ranges of the books.
    pub(super) const fn extent(&self) -> Extent {
        match self {
            Self::Unmap => Extent::Cut,
            Self::Map(_) => Extent::Put,
            Self::Protect(_) | Self::Flags { .. } | Self::Unmark => Extent::Update,
        }
    }

    /// Adds to `gain` what is mapped of `piece` afterwards, but for what a `Map`
    /// puts there, and takes away what was before.
    #[inline]
    fn count(&self, area: &Area<F>, piece: &Range<u64>, gain: &mut Tally) {
        gain.discount(area.prot, area.flags, piece);
        if self.alters() {
            let (prot, flags) = self.applied_to(area);
            gain.count(prot, flags, piece);
        }
    }

    fn apply(&self, area: &mut Area<F>) {
        (area.prot, area.flags) = self.applied_to(area);
        if matches!(self, Self::Unmark) {
            area.set_original(false);
        }
    }

    /// What is reported of a run; a `Map` is reported by other means.
    const fn update<'a>(&self, span: Span, pieces: Pieces<'a, F>) -> Update<'a, F> {
        match *self {
            Self::Protect(prot) => Update::Protect { span, prot, pieces },
            Self::Flags { set, clear } => Update::Flags { span, set, clear, pieces },
            Self::Unmap | Self::Map(_) => Update::Unmap { span, pieces },
            Self::Unmark => {
                let (set, clear) = (MapFlags::empty(), MapFlags::empty());
                Update::Flags { span, set, clear, pieces }
            }
        }
    }
}

/// How far the handler has come, and the copies that recording may need.
///
/// An area must exist twice when it is cut in two. The copy is made beforehand,
/// before the update is reported or by `made_to`, so that recording clones
/// nothing and a panic of `F::clone` finds nothing half done.
pub(super) struct Ack<F> {
    /// The first page of the operation.
    first: u64,
    /// The page below which all is acknowledged.
    upto: Cell<u64>,
    cuts: Cuts,
    /// For a cut at `first`.
    at_first: Cell<Option<Area<F>>>,
    /// For a cut at `upto`, where `made_to` put it.
    at_upto: Cell<Option<Area<F>>>,
    /// For a cut at the end of the operation; of a move, at the new place.
    at_end: Cell<Option<Area<F>>>,
}

/// Which copies an acknowledgement needs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cuts {
    /// What is below goes: a copy of an area that reaches past both sides.
    Out,
    /// What is below changes: a copy of an area that reaches past.
    Through,
    /// As much goes at the page `to`, and what is below if the `source` goes.
    Move { to: u64, source: bool },
}

/// The area of the one range that reaches past both ends of `range`.
pub(super) fn straddling<'a, F: Clone + PartialEq>(
    areas: &'a Areas<F>,
    range: &Range<u64>,
) -> Option<&'a Area<F>> {
    let (whole, area) = areas.get_range(range.start)?;
    (whole.start < range.start && range.end < whole.end).then_some(area)
}

impl<F: Clone + PartialEq> Ack<F> {
    pub(super) const fn new(first: u64, cuts: Cuts) -> Self {
        Self {
            first,
            upto: Cell::new(first),
            cuts,
            at_first: Cell::new(None),
            at_upto: Cell::new(None),
            at_end: Cell::new(None),
        }
    }

    pub(super) const fn upto(&self) -> u64 {
        self.upto.get()
    }

    /// Takes the handler's `Ok` for all below the page `upto`.
    pub(super) fn complete(&self, upto: u64) {
        // The cut that `made_to` foresaw is not made, now that all is.
        self.at_upto.set(None);
        self.upto.set(upto);
    }

    pub(super) fn keep_first(&self, area: &Area<F>) {
        self.at_first.set(Some(area.clone()));
    }

    pub(super) fn keep_end(&self, area: &Area<F>) {
        self.at_end.set(Some(area.clone()));
    }

    /// Takes the handler's word that all below `page` is made.
    pub(super) fn acknowledge(&self, areas: &Areas<F>, page: u64) {
        if page <= self.upto.get() {
            return;
        }
        match self.cuts {
            Cuts::Out => Self::keep_straddling(&self.at_first, areas, &(self.first..page)),
            Cuts::Through => {
                let cut = areas.get_range(page).filter(|(whole, _)| whole.start < page);
                self.at_upto.set(cut.map(|(_, area)| area.clone()));
            }
            Cuts::Move { to, source } => {
                if source {
                    Self::keep_straddling(&self.at_first, areas, &(self.first..page));
                }
                // As many pages as of the source, and the target is not shorter.
                let end = to.wrapping_add(page.wrapping_sub(self.first));
                Self::keep_straddling(&self.at_end, areas, &(to..end));
            }
        }
        self.upto.set(page);
    }

    fn keep_straddling(cell: &Cell<Option<Area<F>>>, areas: &Areas<F>, range: &Range<u64>) {
        let kept = cell.take();
        cell.set(kept.or_else(|| straddling(areas, range).cloned()));
    }

    /// The copy for the cut at `page`.
    pub(super) fn spare(&self, page: u64, area: &Area<F>) -> Area<F> {
        let cell = if page == self.first { &self.at_first } else { &self.at_upto };
        // Each cut was foreseen. The clones are for one that was not: it would
        // cost a clone in the wrong place, which is better than a panic.
        cell.take().or_else(|| self.at_end.take()).unwrap_or_else(|| area.clone())
    }

    /// The copy for the cut at the new place of a move.
    pub(super) fn spare_end(&self, area: &Area<F>) -> Area<F> {
        self.at_end.take().unwrap_or_else(|| area.clone())
    }
}

/// Counts the usage anew when dropped, which is when a handle's `==` or `drop`
/// panics while a change is recorded; otherwise it is forgotten.
pub(super) struct Recount<'s, F: Clone + PartialEq>(pub(super) &'s mut AddrSpace<F>);

impl<F: Clone + PartialEq> Drop for Recount<'_, F> {
    fn drop(&mut self) {
        self.0.tally = self.0.tally_of(self.0.geometry.all());
    }
}

/// What one update reports.
struct Run {
    pages: Range<u64>,
    /// The difference that all up to its end makes.
    gain: Tally,
    /// Whether nothing follows.
    last: bool,
}

/// Reports an operation and records, when dropped, what the handler acknowledged.
///
/// Dropping does it so that success, an error and a panic of the handler take one
/// path. The books are not seen in between, so one edit records all the runs.
pub(super) struct Commit<'s, F: Clone + PartialEq> {
    space: &'s mut AddrSpace<F>,
    /// The pages of the operation.
    range: Range<u64>,
    /// Where they lie.
    spot: Spot,
    change: Change<F>,
    ack: Ack<F>,
    /// Whether a `Map` was made: having replaced all is not enough.
    made: bool,
    /// The page below which `gain` is counted.
    counted: u64,
    /// What is mapped afterwards, less what was before.
    gain: Tally,
}

impl<'s, F: Clone + PartialEq> Commit<'s, F> {
    /// The memory for it has to be reserved; the range lies at `spot`.
    #[inline]
    pub(super) const fn new(
        space: &'s mut AddrSpace<F>,
        range: Range<u64>,
        spot: Spot,
        change: Change<F>,
    ) -> Self {
        let cuts = if change.alters() { Cuts::Through } else { Cuts::Out };
        Self {
            ack: Ack::new(range.start, cuts),
            made: false,
            counted: range.start,
            gain: Tally::ZERO,
            space,
            range,
            spot,
            change,
        }
    }

    /// Reports one update per maximal run of pages without gaps.
    #[inline]
    pub(super) fn report_runs<A: Answer>(
        &mut self,
        mut handler: impl FnMut(Update<'_, F>) -> A,
    ) -> Result<(), A::Error> {
        let geometry = self.space.geometry;
        let mut next = self.first_run();
        while let Some(Run { pages: run, gain, last }) = next {
            let pieces = Pieces::new(&self.space.areas, geometry, &run, Some(&self.ack));
            let update = self.change.update(geometry.span_of(run.start, run.end), pieces);
            handler(update).refusal(|| geometry.addr_of(self.ack.upto().max(run.start)))?;
            self.ack.complete(run.end);
            self.counted = run.end;
            self.gain = gain;
            next = if last { None } else { self.run_from(run.end) };
        }
        Ok(())
    }

    /// The first run to report, with the copies for cutting it made.
    #[inline]
    fn first_run(&self) -> Option<Run> {
        let Some((whole, area)) = self.space.areas.only_at(self.spot) else {
            return if self.spot.is_gap() { None } else { self.run_from(self.range.start) };
        };
        let pages = self.clip(&whole);
        let mut gain = Tally::ZERO;
        self.change.count(area, &pages, &mut gain);
        if pages != whole {
            self.keep_copies((&whole, area), (&whole, area));
        }
        Some(Run { pages, gain, last: true })
    }

    /// The same for the first run from the page `from` on.
    #[inline(never)]
    fn run_from(&self, from: u64) -> Option<Run> {
        let over_gaps = self.space.gaps == Gaps::Owned && matches!(self.change, Change::Unmap);
        let mut gain = self.gain;
        let mut areas = self.space.areas.overlapping(from..self.range.end);
        let (first, first_area) = areas.next()?;
        self.change.count(first_area, &self.clip(&first), &mut gain);
        let (mut last, mut last_area) = (first.clone(), first_area);
        for (next, area) in areas {
            if !over_gaps && next.start != last.end {
                break;
            }
            self.change.count(area, &self.clip(&next), &mut gain);
            (last, last_area) = (next, area);
        }
        self.keep_copies((&first, first_area), (&last, last_area));
        let pages = self.clip(&(first.start..last.end));
        Some(Run { last: pages.end == self.range.end, pages, gain })
    }

    /// What of `pages` belongs to the operation.
    #[inline]
    fn clip(&self, pages: &Range<u64>) -> Range<u64> {
        pages.start.max(self.range.start)..pages.end.min(self.range.end)
    }

    /// Makes the copies for cutting a run that is made as a whole.
    #[inline(never)]
    fn keep_copies(&self, first: (&Range<u64>, &Area<F>), last: (&Range<u64>, &Area<F>)) {
        let cut_first = first.0.start < self.range.start;
        let cut_last = self.range.end < last.0.end;
        if self.change.alters() {
            if cut_first {
                self.ack.keep_first(first.1);
            }
            if cut_last {
                self.ack.keep_end(last.1);
            }
        } else if cut_first && first.0.end > self.range.end {
            self.ack.keep_first(first.1);
        }
    }

    /// Reports the one update of a `Map`.
    #[inline]
    pub(super) fn report_map<A: Answer>(
        &mut self,
        mut handler: impl FnMut(Update<'_, F>) -> A,
    ) -> Result<(), A::Error> {
        let geometry = self.space.geometry;
        let Change::Map(area) = &self.change else { return Ok(()) };
        let mut gain = if self.spot.is_gap() { Tally::ZERO } else { self.replaced() };
        let update = Update::Map {
            region: area.region(geometry, &self.range),
            replaced: Pieces::new(&self.space.areas, geometry, &self.range, Some(&self.ack)),
        };
        handler(update).refusal(|| geometry.addr_of(self.ack.upto()))?;
        gain.count(area.prot, area.flags, &self.range);
        self.gain = gain;
        self.counted = self.range.end;
        self.ack.complete(self.range.end);
        self.made = true;
        Ok(())
    }

    /// Counts what a `Map` replaces, and makes the copy for cutting it.
    fn replaced(&self) -> Tally {
        let mut gain = Tally::ZERO;
        for (whole, old) in self.space.areas.overlapping_at(self.spot, &self.range) {
            self.keep_copies((&whole, old), (&whole, old));
            self.change.count(old, &self.clip(&whole), &mut gain);
        }
        gain
    }

    /// Counts what was acknowledged in the midst of an update.
    #[cold]
    fn count_part(&mut self, upto: u64) {
        for (piece, area) in self.space.areas.pieces(self.counted..upto) {
            self.change.count(area, &piece, &mut self.gain);
        }
    }
}

impl<F: Clone + PartialEq> Drop for Commit<'_, F> {
    fn drop(&mut self) {
        let upto = self.ack.upto();
        if upto == self.range.start {
            return;
        }
        if self.counted < upto {
            self.count_part(upto);
        }
        if upto < self.range.end {
            self.range.end = upto;
            self.spot = self.space.areas.spot(&self.range, self.change.extent());
        }
        let (done, spot, gain) = (&self.range, self.spot, self.gain);
        let ack = &self.ack;
        let spare = |page, area: &Area<F>| ack.spare(page, area);
        let books = Recount(self.space);
        if self.change.alters() {
            let change = &self.change;
            books.0.areas.update_at(spot, done, |_, area| change.apply(area), spare);
        } else if self.made
            && let Change::Map(area) = mem::replace(&mut self.change, Change::Unmap)
        {
            books.0.areas.insert_at(spot, done, area, spare);
        } else {
            books.0.areas.remove_at(spot, done, spare);
        }
        books.0.tally.add(gain);
        mem::forget(books);
    }
}
