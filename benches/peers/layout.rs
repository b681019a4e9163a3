//! A fragmented address space, and the dice.

use std::ops::Range;

use crate::books::Mapping;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

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

/// Mappings of 4 to 16 pages; every second one touches the next, the others are
/// followed by a gap of 1 to 8 pages. No two neighbours are alike.
#[derive(Clone, Debug)]
pub struct Layout {
    /// In units.
    mappings: Vec<Range<u64>>,
    unit: u64,
}

impl Layout {
    /// `unit` is 1 for books in pages and [`PAGE`] for books in bytes.
    pub fn new(mappings: usize, unit: u64) -> Self {
        let mut dice = Dice(mappings as u64);
        let mut at = 16;
        let mapping = |_| {
            let start = at;
            let end = start + 4 + dice.next() % 13;
            at = end + if dice.next().is_multiple_of(2) { 0 } else { 1 + dice.next() % 8 };
            start * unit..end * unit
        };
        Self { mappings: (0..mappings).map(mapping).collect(), unit }
    }

    pub fn len(&self) -> usize {
        self.mappings.len()
    }

    pub fn unit(&self) -> u64 {
        self.unit
    }

    pub fn mapping(&self, at: usize) -> (Range<u64>, Mapping) {
        (self.mappings[at].clone(), Mapping::new(at as u64))
    }

    pub fn ranges(&self) -> &[Range<u64>] {
        &self.mappings
    }

    /// The numbers of all mappings in random order.
    pub fn scattered(&self) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.len()).collect();
        let mut dice = Dice(1);
        for at in (1..all.len()).rev() {
            all.swap(at, dice.below(at + 1));
        }
        all
    }
}
