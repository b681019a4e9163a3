//! What all contenders can do, in the words of an address space.

use std::ops::Range;

use addrspace::range_map::RangeMap;

use crate::gap_index::GapIndexed;
use crate::layout::{Layout, SPACE};

/// What an address space stores for a mapping: 24 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// Keeps neighbours apart, as the origins of two file mappings do.
    pub origin: u64,
    pub file: u64,
    pub prot: u32,
    pub flags: u32,
}

/// The books of an address space, as far as the workloads need them.
pub trait Books: Clone {
    fn empty() -> Self;
    fn find(&self, addr: u64) -> Option<&Mapping>;
    /// Maps the range, over whatever is there.
    fn map(&mut self, range: Range<u64>, mapping: Mapping);
    fn unmap(&mut self, range: Range<u64>);
    /// Sets the protection of what is mapped in the range.
    fn protect(&mut self, range: Range<u64>, prot: u32);
    /// The lowest address with `len` free.
    fn first_gap(&self, len: u64) -> Option<u64>;
    fn contents(&self) -> Vec<(Range<u64>, Mapping)>;
    fn check(&self);
}

pub fn build<B: Books>(layout: &Layout) -> B {
    let mut books = B::empty();
    // Scattered, as an address space that has lived for a while.
    for at in layout.scattered() {
        let (range, mapping) = layout.region(at);
        books.map(range, mapping);
    }
    books
}

impl Books for RangeMap<u64, Mapping> {
    fn empty() -> Self {
        Self::new()
    }
    fn find(&self, addr: u64) -> Option<&Mapping> {
        self.get(addr)
    }
    fn map(&mut self, range: Range<u64>, mapping: Mapping) {
        self.insert(range, mapping);
    }
    fn unmap(&mut self, range: Range<u64>) {
        self.remove(range);
    }
    fn protect(&mut self, range: Range<u64>, prot: u32) {
        self.update(range, |_, mapping| mapping.prot = prot);
    }
    fn first_gap(&self, len: u64) -> Option<u64> {
        self.first_gap(len, 1, SPACE)
    }
    fn contents(&self) -> Vec<(Range<u64>, Mapping)> {
        self.iter().map(|(range, mapping)| (range, *mapping)).collect()
    }
    fn check(&self) {
        self.check();
    }
}

/// The mapped pieces of the range, with another protection. They must be copied
/// out, because the map cannot be changed while it is walked.
fn protected(
    ranges: &rangemap::RangeMap<u64, Mapping>,
    range: &Range<u64>,
    prot: u32,
) -> Vec<(Range<u64>, Mapping)> {
    let clip = |piece: &Range<u64>| piece.start.max(range.start)..piece.end.min(range.end);
    ranges
        .overlapping(range)
        .map(|(piece, mapping)| (clip(piece), Mapping { prot, ..*mapping }))
        .collect()
}

fn owned(ranges: &rangemap::RangeMap<u64, Mapping>) -> Vec<(Range<u64>, Mapping)> {
    ranges.iter().map(|(range, mapping)| (range.clone(), *mapping)).collect()
}

impl Books for rangemap::RangeMap<u64, Mapping> {
    fn empty() -> Self {
        Self::new()
    }
    fn find(&self, addr: u64) -> Option<&Mapping> {
        self.get(&addr)
    }
    fn map(&mut self, range: Range<u64>, mapping: Mapping) {
        self.insert(range, mapping);
    }
    fn unmap(&mut self, range: Range<u64>) {
        self.remove(range);
    }
    fn protect(&mut self, range: Range<u64>, prot: u32) {
        for (piece, mapping) in protected(self, &range, prot) {
            self.insert(piece, mapping);
        }
    }
    fn first_gap(&self, len: u64) -> Option<u64> {
        self.gaps(&SPACE).find(|gap| gap.end - gap.start >= len).map(|gap| gap.start)
    }
    fn contents(&self) -> Vec<(Range<u64>, Mapping)> {
        owned(self)
    }
    fn check(&self) {}
}

impl Books for GapIndexed<Mapping> {
    fn empty() -> Self {
        Self::new(SPACE)
    }
    fn find(&self, addr: u64) -> Option<&Mapping> {
        self.ranges().get(&addr)
    }
    fn map(&mut self, range: Range<u64>, mapping: Mapping) {
        self.insert(range, mapping);
    }
    fn unmap(&mut self, range: Range<u64>) {
        self.remove(range);
    }
    fn protect(&mut self, range: Range<u64>, prot: u32) {
        self.change(protected(self.ranges(), &range, prot));
    }
    fn first_gap(&self, len: u64) -> Option<u64> {
        self.first_gap(len)
    }
    fn contents(&self) -> Vec<(Range<u64>, Mapping)> {
        owned(self.ranges())
    }
    fn check(&self) {
        self.check(&SPACE);
    }
}
