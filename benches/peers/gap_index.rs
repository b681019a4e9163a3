//! `rangemap::RangeMap` with an index of its gaps beside it: the obvious way to
//! make up for the search that it lacks.
//!
//! The index is a set of `(length, start)`, for the search, and a map from start
//! to end, because an edit must find the gaps that it touches before it can
//! change their entries. Both are kept in step by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Ranges of one space, and the gaps between them.
#[derive(Clone, Debug)]
pub struct GapIndexed<V> {
    ranges: rangemap::RangeMap<u64, V>,
    by_len: BTreeSet<(u64, u64)>,
    by_start: BTreeMap<u64, u64>,
}

impl<V: Clone + Eq> GapIndexed<V> {
    /// An empty space, which is one gap.
    pub fn new(space: Range<u64>) -> Self {
        let mut new = Self {
            ranges: rangemap::RangeMap::new(),
            by_len: BTreeSet::new(),
            by_start: BTreeMap::new(),
        };
        new.add_gap(space);
        new
    }

    pub fn ranges(&self) -> &rangemap::RangeMap<u64, V> {
        &self.ranges
    }

    pub fn insert(&mut self, range: Range<u64>, value: V) {
        // The gaps that begin below the end of the range, from the last one down.
        while let Some((&start, &end)) = self.by_start.range(..range.end).next_back() {
            if end <= range.start {
                break;
            }
            self.remove_gap(start..end);
            if range.end < end {
                self.add_gap(range.end..end);
            }
            if start < range.start {
                self.add_gap(start..range.start);
                break;
            }
        }
        self.ranges.insert(range, value);
    }

    /// Changes the values of pieces that are all mapped, so that no gap changes.
    pub fn change(&mut self, pieces: impl IntoIterator<Item = (Range<u64>, V)>) {
        for (range, value) in pieces {
            self.ranges.insert(range, value);
        }
    }

    pub fn remove(&mut self, range: Range<u64>) {
        let mut gap = range.clone();
        // The gaps in the range and those that touch it become one.
        while let Some((&start, &end)) = self.by_start.range(..=range.end).next_back() {
            if end < range.start {
                break;
            }
            self.remove_gap(start..end);
            gap = gap.start.min(start)..gap.end.max(end);
        }
        self.add_gap(gap);
        self.ranges.remove(range);
    }

    /// The lowest address at which `len` fits.
    ///
    /// The set gives the *smallest* gap that is long enough at once. The lowest
    /// one takes a look at each different length from `len` up: the first entry
    /// of a length is its lowest gap.
    pub fn first_gap(&self, len: u64) -> Option<u64> {
        let mut lowest = None;
        let mut from = len;
        while let Some(&(len, start)) = self.by_len.range((from, 0)..).next() {
            lowest = Some(lowest.map_or(start, |lowest: u64| lowest.min(start)));
            from = len + 1;
        }
        lowest
    }

    fn add_gap(&mut self, gap: Range<u64>) {
        self.by_len.insert((gap.end - gap.start, gap.start));
        self.by_start.insert(gap.start, gap.end);
    }

    fn remove_gap(&mut self, gap: Range<u64>) {
        self.by_len.remove(&(gap.end - gap.start, gap.start));
        self.by_start.remove(&gap.start);
    }

    /// Asserts that the index lists exactly the gaps.
    pub fn check(&self, space: &Range<u64>) {
        let gaps: Vec<(u64, u64)> =
            self.ranges.gaps(space).map(|gap| (gap.start, gap.end)).collect();
        assert!(self.by_start.iter().map(|(start, end)| (*start, *end)).eq(gaps.iter().copied()));
        let by_len: BTreeSet<(u64, u64)> =
            gaps.iter().map(|(start, end)| (end - start, *start)).collect();
        assert_eq!(self.by_len, by_len);
    }
}
