//! Changes in two steps: the memory first, the record later.
//!
//! For those who cannot keep the space borrowed while the host hears of a change,
//! as in C, where a callback may come back in. What is recorded in between is
//! theirs to account for: see [`AddrSpace::prepare`].

use super::area::Area;
use super::commit::{Change, Commit, Recount};
use super::error::{Error, Verb};
use super::region::{Mapping, Region};
use super::update::ignore;
use super::{AddrSpace, Call};
use crate::range_map::Extent;
use crate::{Prot, Span};
use core::ops::Range;

impl<F: Clone + PartialEq> AddrSpace<F> {
    /// Secures the memory for `edits` records of one span each, wherever they are.
    ///
    /// It stays secured while no more than these are recorded, whatever is removed
    /// or marked beside; but [`reset`](Self::reset) and `retain` give memory back.
    pub(crate) fn prepare(&mut self, edits: usize) -> Result<(), Error> {
        let call = Call { verb: Verb::Map, addr: self.geometry.start(), len: self.len_clamped() };
        self.areas.try_reserve_inserts(edits).map_err(|_| call.no_memory())
    }

    /// The span of the `len` bytes at `addr`, checked as [`unmap`](Self::unmap) does.
    pub(crate) fn check_span(&self, verb: Verb, addr: u64, len: u64) -> Result<Span, Error> {
        let range = Call { verb, addr, len }.range(self.geometry)?;
        Ok(self.geometry.span_of(range.start, range.end))
    }

    /// The pieces in `span`, whose record comes next.
    pub(crate) fn pieces_to_change(&mut self, span: Span) -> impl Iterator<Item = Region<'_, F>> {
        let (geometry, range) = (self.geometry, self.pages(span));
        let spot = self.areas.spot(&range, Extent::Put);
        self.areas.overlapping_at(spot, &range).map(move |(whole, area)| {
            area.region(geometry, &(whole.start.max(range.start)..whole.end.min(range.end)))
        })
    }

    /// Records that nothing is mapped in `span`.
    pub(crate) fn record_unmap(&mut self, span: Span) {
        self.record(span, Change::Unmap);
    }

    /// Records the protection of what is mapped in `span`.
    pub(crate) fn record_protect(&mut self, span: Span, prot: Prot) {
        self.record(span, Change::Protect(prot));
    }

    /// Records `mapping` over `span`, marked as told.
    pub(crate) fn record_map(&mut self, span: Span, mapping: Mapping<F>, original: bool) {
        let mut area = Area::new(span.start(), mapping);
        area.set_original(original);
        self.record(span, Change::Map(area));
    }

    /// Records that only what is original is mapped, which needs no memory.
    pub(crate) fn record_cleanup(&mut self) {
        let books = Recount(self);
        books.0.areas.retain(|_, area| area.original());
    }

    /// Records a change of the pages of `span`, which lie in the space.
    fn record(&mut self, span: Span, change: Change<F>) {
        let range = self.pages(span);
        let spot = self.areas.spot(&range, change.extent());
        let maps = matches!(change, Change::Map(_));
        let mut commit = Commit::new(self, range, spot, change);
        // `ignore` refuses nothing.
        let _: Result<(), Error> =
            if maps { commit.report_map(ignore) } else { commit.report_runs(ignore) };
    }

    fn pages(&self, span: Span) -> Range<u64> {
        let first = self.geometry.boundary_at(span.start());
        let last = self.geometry.boundary_at(span.last());
        first..last.saturating_add(1)
    }
}
