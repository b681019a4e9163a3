//! Changes in two steps: what will change and the memory for it, and the record.
//!
//! For those who cannot keep the space borrowed while the host hears of a change,
//! as in C, where a callback may come back in.

use super::area::Area;
use super::commit::{Change, Commit};
use super::error::{Error, Verb};
use super::region::{Mapping, Region};
use super::update::ignore;
use super::{AddrSpace, Call};
use crate::range_map::{Extent, Spot};
use crate::{Prot, Span};
use core::ops::Range;

/// A range that is going to change, found and checked. The memory for the one record
/// of it is secured, if nothing else is changed before.
#[derive(Clone, Debug)]
pub(crate) struct Aim {
    range: Range<u64>,
    spot: Spot,
}

impl Aim {
    /// Whether nothing is there to be changed; not all that is so is known to be.
    #[inline]
    pub(crate) fn is_gap(&self) -> bool {
        self.spot.is_gap()
    }
}

impl<F: Clone + PartialEq> AddrSpace<F> {
    /// Aims at the `len` bytes at `addr`, which are checked as by
    /// [`unmap`](Self::unmap).
    #[inline]
    pub(crate) fn aim(&mut self, verb: Verb, addr: u64, len: u64) -> Result<Aim, Error> {
        let call = Call { verb, addr, len };
        let range = call.range(self.geometry)?;
        let extent = if verb == Verb::Unmap { Extent::Cut } else { Extent::Put };
        let spot = self.secure(call, &range, extent)?;
        Ok(Aim { range, spot })
    }

    /// The pieces that a change of `aim` concerns.
    #[inline]
    pub(crate) fn aimed(&self, aim: &Aim) -> impl Iterator<Item = Region<'_, F>> {
        let (geometry, range) = (self.geometry, aim.range.clone());
        self.areas.overlapping_at(aim.spot, &range).map(move |(whole, area)| {
            area.region(geometry, &(whole.start.max(range.start)..whole.end.min(range.end)))
        })
    }

    /// The one piece that a change of `aim` concerns, if that is known at once.
    #[inline]
    pub(crate) fn only_aimed(&self, aim: &Aim) -> Option<Region<'_, F>> {
        let (whole, area) = self.areas.only_at(aim.spot)?;
        let range = &aim.range;
        let piece = whole.start.max(range.start)..whole.end.min(range.end);
        Some(area.region(self.geometry, &piece))
    }

    /// Looks for `aim` again, if something was changed since.
    pub(crate) fn aim_again(&mut self, aim: &mut Aim) {
        aim.spot = self.areas.spot(&aim.range, Extent::Put);
    }

    /// Records that nothing is mapped any more.
    #[inline]
    pub(crate) fn record_unmap(&mut self, aim: Aim) {
        let mut commit = Commit::new(self, aim.range, aim.spot, Change::Unmap);
        // `ignore` refuses nothing.
        let _: Result<(), Error> = commit.report_runs(ignore);
    }

    /// Records `mapping`, marked as told.
    #[inline]
    pub(crate) fn record_map(&mut self, aim: Aim, mapping: Mapping<F>, original: bool) {
        let mut area = Area::new(self.geometry.addr_of(aim.range.start), mapping);
        area.set_original(original);
        let mut commit = Commit::new(self, aim.range, aim.spot, Change::Map(area));
        // `ignore` refuses nothing.
        let _: Result<(), Error> = commit.report_map(ignore);
    }

    /// Records the protection of what is mapped.
    pub(crate) fn record_protect(&mut self, aim: Aim, prot: Prot) {
        let mut commit = Commit::new(self, aim.range, aim.spot, Change::Protect(prot));
        // `ignore` refuses nothing.
        let _: Result<(), Error> = commit.report_runs(ignore);
    }

    /// Aims at `span` of the space without securing memory.
    pub(crate) fn aim_at(&mut self, span: Span) -> Aim {
        let first = self.geometry.boundary_at(span.start());
        let last = self.geometry.boundary_at(span.last());
        let range = first..last.saturating_add(1);
        Aim { spot: self.areas.spot(&range, Extent::Put), range }
    }

    /// Secures the memory for `edits` records, wherever they are.
    ///
    /// It stays secured while no more than these are recorded, and whatever else is
    /// removed or marked; but [`reset`](Self::reset) and
    /// [`retain`](Self::retain) give memory back.
    pub(crate) fn prepare(&mut self, edits: usize) -> Result<(), Error> {
        let call = Call { verb: Verb::Map, addr: self.geometry.start(), len: self.len_clamped() };
        self.areas.try_reserve_inserts(edits).map_err(|_| call.no_memory())
    }
}
