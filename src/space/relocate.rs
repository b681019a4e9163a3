//! Moving mapped pages to another place.

use super::area::Area;
use super::commit::{Ack, Cuts, Recount, straddling};
use super::error::Error;
use super::update::{Answer, Pieces, Update};
use super::usage::Tally;
use super::{AddrSpace, Call};
use alloc::vec;
use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

/// A move, in pages.
#[derive(Clone, Debug)]
pub(super) struct Journey {
    pub(super) from: Range<u64>,
    /// At least as long; longer only if `from` is one mapping.
    pub(super) to: Range<u64>,
    pub(super) keep_source: bool,
}

impl Journey {
    /// Where a page of `from`, or its end, comes to lie.
    const fn target(&self, page: u64) -> u64 {
        // Two steps that stay in `to`.
        self.to.start.wrapping_add(page.wrapping_sub(self.from.start))
    }

    /// Where a page of `to` comes from.
    const fn source(&self, page: u64) -> u64 {
        self.from.start.wrapping_add(page.wrapping_sub(self.to.start))
    }
}

/// An area at the place it moves to.
type Moved<F> = (Range<u64>, Area<F>);

impl<F: Clone + PartialEq> AddrSpace<F> {
    /// Prepares all that recording a move needs: the areas at their new place, and
    /// memory. `gone` is what is no longer mapped at the old place.
    pub(super) fn plan(
        &mut self,
        call: Call,
        journey: &Journey,
        gone: &Range<u64>,
    ) -> Result<Vec<Moved<F>>, Error> {
        let geometry = self.geometry;
        let pages = |range: &Range<u64>| range.end.wrapping_sub(range.start);
        let longer = pages(&journey.to) > pages(&journey.from);
        let distance =
            geometry.addr_of(journey.to.start).wrapping_sub(geometry.addr_of(journey.from.start));
        let mut moved = Vec::new();
        for (piece, area) in self.areas.pieces(journey.from.clone()) {
            moved.try_reserve(1).map_err(|_| call.no_memory())?;
            let mut area = area.clone().shifted(distance);
            area.set_original(false);
            moved.push((journey.target(piece.start)..journey.target(piece.end), area));
        }
        if let Some((last, _)) = moved.last_mut().filter(|_| longer) {
            last.end = journey.to.end;
        }
        let arriving = moved.iter().map(|(range, _)| pages(range)).sum();
        let leaving = if journey.keep_source { 0..0 } else { gone.clone() };
        let replaced = moved.iter().map(|(range, _)| range.clone());
        self.check_bytes(call, arriving, replaced.chain([leaving.clone()]))?;
        self.check_moved_regions(call, &moved, &leaving)?;
        // One for each area that arrives; a run is at least one of them, and is cut
        // out at both places. What is shrunk before comes on top.
        let edits = moved.len().saturating_mul(3).saturating_add(1);
        self.areas.try_reserve_inserts(edits).map_err(|_| call.no_memory())?;
        Ok(moved)
    }

    /// Refuses a move after which there would be too many regions.
    fn check_moved_regions(
        &self,
        call: Call,
        moved: &[Moved<F>],
        leaving: &Range<u64>,
    ) -> Result<(), Error> {
        if self.limits().regions.is_none() {
            return Ok(());
        }
        // What is mapped on a page afterwards.
        let after = |page: u64| {
            let at = moved.partition_point(|(range, _)| range.end <= page);
            let arrived = moved.get(at).filter(|(range, _)| range.contains(&page));
            let stays = || self.areas.get(page).filter(|_| !leaving.contains(&page));
            arrived.map(|(_, area)| area).or_else(stays)
        };
        let starts_after = |page: u64| {
            let left = page.checked_sub(1).and_then(after);
            usize::from(after(page).is_some_and(|area| left != Some(area)))
        };
        let starts_now = |page: u64| {
            usize::from(self.areas.get_range(page).is_some_and(|(whole, _)| whole.start == page))
        };
        // Regions can start elsewhere in a run that arrives, and right after it,
        // and in what leaves, and right after that. A page may be in both.
        let (mut before, mut then) = (0_usize, 0_usize);
        let mut shared = 0_usize;
        let mut runs = moved.iter().map(|(range, _)| range.clone()).peekable();
        while let Some(mut run) = runs.next() {
            then = then.saturating_add(starts_after(run.start));
            while let Some(next) = runs.next_if(|next| next.start == run.end) {
                then = then.saturating_add(starts_after(next.start));
                run.end = next.end;
            }
            then = then.saturating_add(starts_after(run.end));
            before = before.saturating_add(self.starts(&run));
            if !leaving.is_empty() {
                if run.end == leaving.start {
                    shared = shared.saturating_add(starts_now(run.end));
                }
                if run.start == leaving.end {
                    shared = shared.saturating_add(starts_now(run.start));
                    then = then.saturating_sub(starts_after(run.start));
                }
            }
        }
        if !leaving.is_empty() {
            before = before.saturating_add(self.starts(leaving));
            then = then.saturating_add(starts_after(leaving.end));
        }
        self.check_starts(call, before.saturating_sub(shared), then)
    }

    /// Reports and records one `Move` per run of `moved`, which is prepared.
    pub(super) fn relocate<A: Answer>(
        &mut self,
        journey: &Journey,
        moved: Vec<Moved<F>>,
        mut handler: impl FnMut(Update<'_, F>) -> A,
    ) -> Result<(), A::Error> {
        let mut moved = moved.into_iter();
        while let Some((first, _)) = moved.as_slice().first() {
            let mut to = first.clone();
            for (next, _) in moved.as_slice() {
                if next.start > to.end {
                    break;
                }
                to.end = next.end;
            }
            // What is longer at the new place has no source, and its end none either.
            let pages = to.end.wrapping_sub(to.start);
            let first = journey.source(to.start);
            let from = first..first.saturating_add(pages).min(journey.from.end);
            let run = Journey { from, to, keep_source: journey.keep_source };
            Relocation::new(self, run, &mut moved).report(&mut handler)?;
        }
        Ok(())
    }
}

/// Reports one `Move` and records, when dropped, what was acknowledged of it.
struct Relocation<'s, F: Clone + PartialEq> {
    space: &'s mut AddrSpace<F>,
    /// The move, without gaps.
    run: Journey,
    /// What arrives, and what later moves bring.
    moved: &'s mut vec::IntoIter<Moved<F>>,
    ack: Ack<F>,
    made: bool,
}

impl<'s, F: Clone + PartialEq> Relocation<'s, F> {
    fn new(
        space: &'s mut AddrSpace<F>,
        run: Journey,
        moved: &'s mut vec::IntoIter<Moved<F>>,
    ) -> Self {
        let cuts = Cuts::Move { to: run.to.start, source: !run.keep_source };
        Self { ack: Ack::new(run.from.start, cuts), made: false, space, run, moved }
    }

    fn report<A: Answer>(
        mut self,
        handler: &mut impl FnMut(Update<'_, F>) -> A,
    ) -> Result<(), A::Error> {
        let Journey { from, to, keep_source } = &self.run;
        let (areas, geometry) = (&self.space.areas, self.space.geometry);
        if let Some(area) = straddling(areas, from).filter(|_| !keep_source) {
            self.ack.keep_first(area);
        }
        if let Some(area) = straddling(areas, to) {
            self.ack.keep_end(area);
        }
        let update = Update::Move {
            from: geometry.span_of(from.start, from.end),
            to: geometry.span_of(to.start, to.end),
            keep_source: *keep_source,
            pieces: Pieces::new(areas, geometry, from, Some(&self.ack)),
            replaced: Pieces::new(areas, geometry, to, None),
        };
        handler(update).refusal(|| geometry.addr_of(self.ack.upto()))?;
        self.ack.complete(from.end);
        self.made = true;
        Ok(())
    }
}

impl<F: Clone + PartialEq> Drop for Relocation<'_, F> {
    fn drop(&mut self) {
        let upto = self.ack.upto();
        if upto == self.run.from.start {
            return;
        }
        let gone = self.run.from.start..upto;
        let end = if self.made { self.run.to.end } else { self.run.target(upto) };
        let taken = self.run.to.start..end;
        let (ack, keep_source) = (&self.ack, self.run.keep_source);
        let mut before = self.space.tally_of(taken.clone());
        if !keep_source {
            before.add(self.space.tally_of(gone.clone()));
        }
        let (space, moved) = (&mut *self.space, &mut *self.moved);
        let arrival = Arrival { space, moved, taken: taken.clone(), before };

        // What leaves goes first: what arrives beside it cannot merge with it, and
        // so not with what is to be cut.
        let areas = &mut arrival.space.areas;
        if !keep_source {
            areas.remove_with(gone, |page, area| ack.spare(page, area));
        }
        areas.remove_with(taken, |_, area| ack.spare_end(area));
    }
}

/// Books what arrives when it is dropped, also when dropping a handle that left or
/// was replaced has panicked.
struct Arrival<'s, F: Clone + PartialEq> {
    space: &'s mut AddrSpace<F>,
    moved: &'s mut vec::IntoIter<Moved<F>>,
    taken: Range<u64>,
    /// What was there, and what has left.
    before: Tally,
}

impl<F: Clone + PartialEq> Drop for Arrival<'_, F> {
    fn drop(&mut self) {
        let books = Recount(self.space);
        let mut after = Tally::ZERO;
        while self.moved.as_slice().first().is_some_and(|(range, _)| range.start < self.taken.end) {
            let Some((range, area)) = self.moved.next() else { break };
            let range = range.start..range.end.min(self.taken.end);
            after.count(area.prot, area.flags, &range);
            // Into a gap: nothing has to exist twice.
            books.0.areas.insert_with(range, area, |_, area| area.clone());
        }
        books.0.tally.sub(self.before);
        books.0.tally.add(after);
        mem::forget(books);
    }
}
