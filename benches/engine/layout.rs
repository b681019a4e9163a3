//! A fragmented address space, and the dice.

use std::ops::Range;

use crate::books::Mapping;

/// All addresses, in pages: 2^36 pages of 4 KiB.
pub const SPACE: Range<u64> = 0..1 << 36;

/// A deterministic source of numbers (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }
}

/// Regions of 4 to 16 pages; every second one touches the next, the others are
/// followed by a gap of 1 to 8 pages. No two neighbours are alike.
#[derive(Clone, Debug)]
pub struct Layout {
    regions: Vec<Range<u64>>,
}

impl Layout {
    pub fn new(regions: usize) -> Self {
        let mut dice = Dice(regions as u64);
        let mut at = 16;
        let region = |_| {
            let start = at;
            let end = start + 4 + dice.next() % 13;
            at = end + if dice.next().is_multiple_of(2) { 0 } else { 1 + dice.next() % 8 };
            start..end
        };
        Self { regions: (0..regions).map(region).collect() }
    }

    pub fn len(&self) -> usize {
        self.regions.len()
    }

    pub fn region(&self, at: usize) -> (Range<u64>, Mapping) {
        (self.regions[at].clone(), mapping(at as u64))
    }

    pub fn ranges(&self) -> &[Range<u64>] {
        &self.regions
    }

    /// The numbers of all regions in random order.
    pub fn scattered(&self) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.len()).collect();
        let mut dice = Dice(1);
        for at in (1..all.len()).rev() {
            all.swap(at, dice.below(at + 1));
        }
        all
    }
}

pub fn mapping(origin: u64) -> Mapping {
    Mapping { origin, file: 3, prot: 3, flags: 2 }
}
