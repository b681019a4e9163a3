//! What others have: the crates `rangemap` and `nodit`, the former also with an
//! index of its gaps.
//!
//! Pieces that change must be copied out first, because no map of these can be
//! changed while it is walked.

use std::ops::Range;

use nodit::interval::ie;
use nodit::{Interval, NoditMap};

use crate::books::{Books, Mapping};
use crate::gap_index::GapIndexed;
use crate::layout::SPACE;

type RangeMap = rangemap::RangeMap<u64, Mapping>;
type Nodit = NoditMap<u64, Interval<u64>, Mapping>;

/// The mapped pieces of the range, with another protection.
fn protected(ranges: &RangeMap, range: &Range<u64>, prot: u32) -> Vec<(Range<u64>, Mapping)> {
    let clip = |piece: &Range<u64>| piece.start.max(range.start)..piece.end.min(range.end);
    ranges
        .overlapping(range)
        .map(|(piece, mapping)| (clip(piece), mapping.with_prot(prot)))
        .collect()
}

fn marked(ranges: &RangeMap) -> RangeMap {
    ranges.iter().map(|(range, mapping)| (range.clone(), mapping.marked())).collect()
}

fn not_original(ranges: &RangeMap) -> Vec<Range<u64>> {
    let unwanted = ranges.iter().filter(|(_, mapping)| !mapping.original());
    unwanted.map(|(range, _)| range.clone()).collect()
}

fn all(ranges: &RangeMap) -> impl Iterator<Item = (u64, u64, u64, u32)> {
    ranges.iter().map(|(range, mapping)| (range.start, range.end, mapping.word, mapping.prot))
}

impl Books for RangeMap {
    const LOOKS_AT_ALL_GAPS: bool = true;
    fn empty() -> Self {
        Self::new()
    }
    fn find(&self, addr: u64) -> Option<u64> {
        self.get(&addr).map(|mapping| mapping.word)
    }
    fn map(&mut self, addr: u64, len: u64, mapping: Mapping) {
        self.insert(addr..addr + len, mapping);
    }
    fn map_any(&mut self, len: u64, mapping: Mapping) -> u64 {
        let addr = self.gaps(&SPACE).find(|gap| gap.end - gap.start >= len).map(|gap| gap.start);
        let addr = addr.expect("there is room");
        self.insert(addr..addr + len, mapping);
        addr
    }
    fn unmap(&mut self, addr: u64, len: u64) {
        self.remove(addr..addr + len);
    }
    fn protect(&mut self, addr: u64, len: u64, prot: u32) {
        for (piece, mapping) in protected(self, &(addr..addr + len), prot) {
            self.insert(piece, mapping);
        }
    }
    fn mark_original(&mut self) {
        *self = marked(self);
    }
    fn unmap_non_original(&mut self) {
        for range in not_original(self) {
            self.remove(range);
        }
    }
    fn iter(&self) -> impl Iterator<Item = (u64, u64, u64, u32)> {
        all(self)
    }
    fn check(&self) {}
}

impl Books for GapIndexed<Mapping> {
    const LOOKS_AT_ALL_GAPS: bool = false;
    fn empty() -> Self {
        Self::new(SPACE)
    }
    fn find(&self, addr: u64) -> Option<u64> {
        self.ranges().get(&addr).map(|mapping| mapping.word)
    }
    fn map(&mut self, addr: u64, len: u64, mapping: Mapping) {
        self.insert(addr..addr + len, mapping);
    }
    fn map_any(&mut self, len: u64, mapping: Mapping) -> u64 {
        let addr = self.first_gap(len).expect("there is room");
        self.insert(addr..addr + len, mapping);
        addr
    }
    fn unmap(&mut self, addr: u64, len: u64) {
        self.remove(addr..addr + len);
    }
    fn protect(&mut self, addr: u64, len: u64, prot: u32) {
        self.change(protected(self.ranges(), &(addr..addr + len), prot));
    }
    fn mark_original(&mut self) {
        let marked = marked(self.ranges());
        self.change(marked);
    }
    fn unmap_non_original(&mut self) {
        for range in not_original(self.ranges()) {
            self.remove(range);
        }
    }
    fn iter(&self) -> impl Iterator<Item = (u64, u64, u64, u32)> {
        all(self.ranges())
    }
    fn check(&self) {
        self.check(&SPACE);
    }
}

/// `insert_overwrite` joins nothing, so what is there is cut out, and then the
/// insert joins what is equal.
fn put(map: &mut Nodit, range: Interval<u64>, mapping: Mapping) {
    drop(map.cut(&range));
    map.insert_merge_touching_if_values_equal(range, mapping).expect("nothing overlaps");
}

/// With the end excluded.
fn ends(interval: &Interval<u64>) -> Range<u64> {
    *interval.start()..*interval.end() + 1
}

impl Books for Nodit {
    const LOOKS_AT_ALL_GAPS: bool = true;
    fn empty() -> Self {
        Self::new()
    }
    fn find(&self, addr: u64) -> Option<u64> {
        self.get_at_point(&addr).map(|mapping| mapping.word)
    }
    fn map(&mut self, addr: u64, len: u64, mapping: Mapping) {
        put(self, ie(addr, addr + len), mapping);
    }
    fn map_any(&mut self, len: u64, mapping: Mapping) -> u64 {
        let space = ie(SPACE.start, SPACE.end);
        let mut gaps = self.gaps_trimmed(&space).map(|gap: Interval<u64>| ends(&gap));
        let gap = gaps.find(|gap| gap.end - gap.start >= len).expect("there is room");
        drop(gaps);
        let range = ie(gap.start, gap.start + len);
        self.insert_merge_touching_if_values_equal(range, mapping).expect("nothing overlaps");
        gap.start
    }
    fn unmap(&mut self, addr: u64, len: u64) {
        drop(self.cut(&ie(addr, addr + len)));
    }
    fn protect(&mut self, addr: u64, len: u64, prot: u32) {
        // What is cut out needs no clipping.
        let pieces: Vec<_> = self.cut(&ie(addr, addr + len)).collect();
        for (piece, mapping) in pieces {
            self.insert_merge_touching_if_values_equal(piece, mapping.with_prot(prot))
                .expect("it was cut out");
        }
    }
    fn mark_original(&mut self) {
        for (_, mapping) in self.iter_mut() {
            *mapping = mapping.marked();
        }
    }
    fn unmap_non_original(&mut self) {
        let unwanted = self.iter().filter(|(_, mapping)| !mapping.original());
        for interval in unwanted.map(|(interval, _)| *interval).collect::<Vec<_>>() {
            drop(self.cut(&interval));
        }
    }
    fn iter(&self) -> impl Iterator<Item = (u64, u64, u64, u32)> {
        self.iter().map(|(interval, mapping)| {
            let range = ends(interval);
            (range.start, range.end, mapping.word, mapping.prot)
        })
    }
    fn check(&self) {}
}
