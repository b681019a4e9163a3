//! The map, the dense model and `rangemap::RangeMap` in step.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::iter::FusedIterator;
use std::mem;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use addrspace::range_map::RangeMap;

use super::dense::{Dense, Places};
use super::dummy::Dummy;
use super::ops::{Length, Op, PanicAt, Taken};
use super::window::{TestKey, Window};

/// A value of the map under test: the models hold its tag.
pub trait TestValue: Clone + PartialEq + Debug {
    fn of(tag: u8) -> Self;
    fn tag(&self) -> u8;
}

impl TestValue for u8 {
    fn of(tag: u8) -> Self {
        tag
    }
    fn tag(&self) -> u8 {
        *self
    }
}

/// Owns heap memory, and is compared byte by byte.
impl TestValue for String {
    fn of(tag: u8) -> Self {
        format!("a value too long to be stored in place, number {tag}")
    }
    fn tag(&self) -> u8 {
        self.as_bytes().last().unwrap() - b'0'
    }
}

impl TestValue for Dummy {
    fn of(tag: u8) -> Self {
        Self::new(tag)
    }
    fn tag(&self) -> u8 {
        self.tag
    }
}

/// A map and its two oracles. Every step asserts that they agree.
#[derive(Debug)]
pub struct Trio<K: TestKey, V, const S: usize, const L: usize, const I: usize> {
    pub map: RangeMap<K, V, S, L, I>,
    pub dense: Dense,
    peer: rangemap::RangeMap<K, u8>,
    pub window: Window<K>,
    steps: usize,
    /// All contents are compared every so many steps; `check` runs after each.
    compare_every: usize,
}

impl<K: TestKey, V: TestValue, const S: usize, const L: usize, const I: usize> Trio<K, V, S, L, I> {
    pub fn new(window: Window<K>) -> Self {
        Self {
            map: RangeMap::default(),
            dense: Dense::new(window.cells()),
            peer: rangemap::RangeMap::new(),
            window,
            steps: 0,
            compare_every: 1,
        }
    }

    pub fn comparing_every(self, compare_every: usize) -> Self {
        Self { compare_every, ..self }
    }

    /// Applies one step to all three and compares them.
    pub fn step(&mut self, op: &Op) {
        self.apply(op);
        self.map.check();
        self.steps += 1;
        if self.steps.is_multiple_of(self.compare_every) {
            self.compare();
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Insert { from, to, tag, taken } => {
                let expected = self.expected(from..to);
                let displaced = self.map.insert(self.window.keys(from..to), V::of(tag));
                let leaked = take(displaced, expected, taken);
                self.edit_models(from..to, Some(tag), leaked);
            }
            Op::Remove { from, to, taken } => {
                let expected = self.expected(from..to);
                let displaced = self.map.remove(self.window.keys(from..to));
                let leaked = take(displaced, expected, taken);
                self.edit_models(from..to, None, leaked);
            }
            Op::Update { from, to, change, panic } => {
                self.update(from..to, |piece, tag| change.apply(piece, tag), panic);
            }
            Op::Retain { kept } => self.retain(kept),
            Op::Clear => {
                self.map.clear();
                assert!(self.map.is_empty());
                self.set(0..self.window.cells(), None);
            }
            Op::Extend { from, step, count, tag } => {
                let cells = self.window.cells();
                let ranges = (0..count).map(|n| {
                    let start = (from + n * step) % (cells + 1);
                    // Lengths of 0 to 2: some are empty, some overlap the next one.
                    (start..(start + n % 3).min(cells), (tag + n as u8) % super::ops::TAGS)
                });
                let ranges: Vec<(Range<usize>, u8)> = ranges.collect();
                self.map.extend(
                    ranges
                        .iter()
                        .map(|(range, tag)| (self.window.keys(range.clone()), V::of(*tag))),
                );
                for (range, tag) in ranges {
                    self.set(range, Some(tag));
                }
            }
            Op::Clone => {
                let copy = self.map.clone();
                let tried = self.map.try_clone().expect("memory for a copy");
                assert!(copy == self.map && tried == copy, "a clone differs from its original");
                tried.check();
                self.map = copy;
            }
            Op::Rebuild { sorted } => {
                let contents = mem::take(&mut self.map).into_iter();
                self.map =
                    if sorted { RangeMap::from_sorted(contents) } else { contents.rev().collect() };
            }
            Op::ReserveEdit { from, to } => {
                self.map.try_reserve_edit(self.window.keys(from..to)).expect("memory for one edit");
            }
            Op::Get { at, salt } => self.get(at, salt),
            Op::Query { from, to, ends } => self.query(from..to, ends),
            Op::Search { from, to, len, align, n } => self.search(from..to, len, align, n),
        }
    }

    /// Sets the cells in both models.
    fn set(&mut self, cells: Range<usize>, tag: Option<u8>) {
        self.dense.set(cells.clone(), tag);
        if cells.is_empty() {
            return;
        }
        match tag {
            Some(tag) => self.peer.insert(self.window.keys(cells), tag),
            None => self.peer.remove(self.window.keys(cells)),
        }
    }

    /// What an edit should do, or what it should have done before it was leaked.
    fn edit_models(&mut self, cells: Range<usize>, tag: Option<u8>, leaked: Option<Vec<Range<K>>>) {
        let Some(handed_out) = leaked else { return self.set(cells, tag) };
        for cell in cells {
            if handed_out.iter().any(|range| range.contains(&self.window.cut(cell))) {
                self.set(cell..cell + 1, None);
            }
        }
    }

    /// The pieces in the cells, by key.
    fn expected(&self, cells: Range<usize>) -> VecDeque<(Range<K>, u8)> {
        self.by_key(self.dense.pieces(cells)).into()
    }

    fn by_key(&self, ranges: Vec<(Range<usize>, u8)>) -> Vec<(Range<K>, u8)> {
        ranges.into_iter().map(|(cells, tag)| (self.window.keys(cells), tag)).collect()
    }

    /// Updates the pieces by number and tag; panics in the closure if told to.
    pub fn update(
        &mut self,
        cells: Range<usize>,
        change: impl Fn(usize, u8) -> u8,
        panic: Option<PanicAt>,
    ) {
        let pieces = self.dense.pieces(cells.clone());
        let mut seen = 0;
        let keys = self.window.keys(cells.clone());
        let window = &self.window;
        let map = &mut self.map;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            map.update(keys, |range, value| {
                let (cells, tag) = pieces.get(seen).expect("a piece more than there are");
                assert_eq!(
                    (range, value.tag()),
                    (window.keys(cells.clone()), *tag),
                    "piece {seen}"
                );
                let panics = panic.filter(|at| at.piece == seen);
                seen += 1;
                if panics.is_none_or(|at| at.changed) {
                    *value = V::of(change(seen - 1, *tag));
                }
                if panics.is_some() {
                    resume_unwind(Box::new(PanicAt { piece: seen, changed: true }));
                }
            });
        }));
        if let Err(other) = outcome
            && !other.is::<PanicAt>()
        {
            resume_unwind(other);
        }
        let stop = panic.filter(|at| at.piece < pieces.len());
        assert_eq!(seen, stop.map_or(pieces.len(), |at| at.piece + 1), "pieces seen by an update");
        let changed = stop.map_or(pieces.len(), |at| at.piece + usize::from(at.changed));
        for (number, (cells, tag)) in pieces.into_iter().enumerate().take(changed) {
            self.set(cells, Some(change(number, tag)));
        }
    }

    fn retain(&mut self, kept: u32) {
        let ranges = self.dense.ranges();
        let keeps =
            |number: usize, tag: u8| kept >> ((number + usize::from(tag) * 5) % 32) & 1 == 1;
        let mut seen = 0;
        self.map.retain(|range, value| {
            let (cells, tag) = &ranges[seen];
            assert_eq!(
                (range, value.tag()),
                (self.window.keys(cells.clone()), *tag),
                "range {seen}"
            );
            seen += 1;
            keeps(seen - 1, *tag)
        });
        assert_eq!(seen, ranges.len(), "ranges seen by retain");
        for (number, (cells, tag)) in ranges.into_iter().enumerate() {
            if !keeps(number, tag) {
                self.set(cells, None);
            }
        }
    }

    fn get(&self, cell: usize, salt: u32) {
        let key = self.window.key_in(cell, salt);
        let expected = self.dense.get(cell);
        assert_eq!(self.map.get(key).map(TestValue::tag), expected, "get {key:?}");
        assert_eq!(self.map.contains(key), expected.is_some(), "contains {key:?}");
        let around =
            self.dense.range_around(cell).map(|(cells, tag)| (self.window.keys(cells), tag));
        let got = self.map.get_range(key).map(|(range, value)| (range, value.tag()));
        assert_eq!(got, around, "get_range {key:?}");
    }

    fn query(&self, cells: Range<usize>, ends: u32) {
        let keys = self.window.keys(cells.clone());
        let tagged = |(range, value): (Range<K>, &V)| (range, value.tag());
        let pieces = self.by_key(self.dense.pieces(cells.clone()));
        assert_eq!(self.map.overlaps(keys.clone()), !pieces.is_empty(), "overlaps {keys:?}");
        walk(self.map.pieces(keys.clone()).map(tagged), pieces, ends);
        let overlapping = self.by_key(self.dense.overlapping(&cells));
        walk(self.map.overlapping(keys.clone()).map(tagged), overlapping, ends.rotate_left(5));
        let gaps = self.dense.gaps(cells).into_iter().map(|gap| self.window.keys(gap)).collect();
        walk(self.map.gaps(keys), gaps, ends.rotate_left(9));
        walk(self.map.iter().map(tagged), self.by_key(self.dense.ranges()), ends.rotate_left(13));
        let mut iter = self.map.iter();
        for left in (0..self.map.len()).rev() {
            let _ = if (ends >> (left % 32)) & 1 == 0 { iter.next() } else { iter.next_back() };
            assert_eq!(iter.len(), left, "the exact size of iter");
        }
    }

    fn search(&self, cells: Range<usize>, len: Length, align: u64, n: u32) {
        let keys = self.window.keys(cells.clone());
        let wide =
            |gap: Range<usize>| self.window.cut(gap.start).wide()..self.window.cut(gap.end).wide();
        let gaps: Vec<Range<i128>> = self.dense.gaps(cells).into_iter().map(wide).collect();
        let len = match len {
            Length::Exactly(len) => len,
            Length::OfGap { which, plus } => {
                let gap = gaps.get(which % gaps.len().max(1)).map_or(1, |gap| gap.end - gap.start);
                u64::try_from(gap + i128::from(plus)).unwrap_or(0)
            }
        };
        let places = Places::new(gaps, len, align);
        let what = format!("{len} keys at a multiple of {align} in {keys:?}");
        let nth = |n| places.nth(n).map(K::narrow);
        let map = &self.map;
        assert_eq!(map.first_gap(len, align, keys.clone()), nth(0), "first gap of {what}");
        assert_eq!(
            map.last_gap(len, align, keys.clone()),
            places.last().map(K::narrow),
            "last gap of {what}"
        );
        let count = map.placements(len, align, keys.clone());
        assert_eq!(count, places.count(), "placements of {what}");
        let some = (u64::from(n) << 32 | u64::from(n)) % count.max(1);
        for n in [0, 1, some, count.saturating_sub(1), count, count.saturating_add(1), u64::MAX] {
            assert_eq!(
                map.nth_placement(n, len, align, keys.clone()),
                nth(n),
                "placement {n} of {what}"
            );
        }
    }

    /// Compares all contents.
    pub fn compare(&self) {
        let ranges = self.by_key(self.dense.ranges());
        let got: Vec<(Range<K>, u8)> =
            self.map.iter().map(|(range, value)| (range, value.tag())).collect();
        assert_eq!(got, ranges, "the map differs from the dense model");
        let peer: Vec<(Range<K>, u8)> =
            self.peer.iter().map(|(range, tag)| (range.clone(), *tag)).collect();
        assert_eq!(got, peer, "the map differs from rangemap");
        assert_eq!(self.map.len(), ranges.len());
        assert_eq!(self.map.is_empty(), ranges.is_empty());
        let tagged = |(range, value): (Range<K>, &V)| (range, value.tag());
        assert_eq!(self.map.first().map(tagged), ranges.first().cloned());
        assert_eq!(self.map.last().map(tagged), ranges.last().cloned());
        let stride = 1 + self.window.cells() / 64;
        for cell in (self.steps % stride..self.window.cells()).step_by(stride) {
            let key = self.window.key_in(cell, self.steps as u32);
            assert_eq!(self.map.get(key).map(TestValue::tag), self.dense.get(cell), "get {key:?}");
        }
    }
}

/// Steps through what an edit displaced, as told; answers with the ranges that
/// were handed out if the rest was leaked.
fn take<K: TestKey, V: TestValue>(
    mut displaced: impl DoubleEndedIterator<Item = (Range<K>, V)> + FusedIterator,
    mut expected: VecDeque<(Range<K>, u8)>,
    taken: Taken,
) -> Option<Vec<Range<K>>> {
    let (steps, ends) = match taken {
        Taken::Ignored => return None,
        Taken::All => (u32::MAX, 0),
        Taken::AllFromBack => (u32::MAX, u32::MAX),
        Taken::Some { steps, ends } | Taken::Forgotten { steps, ends } => (steps, ends),
    };
    let mut handed_out = Vec::new();
    for step in 0..steps {
        let (got, want) = if (ends >> (step % 32)) & 1 == 0 {
            (displaced.next(), expected.pop_front())
        } else {
            (displaced.next_back(), expected.pop_back())
        };
        assert_eq!(
            got.as_ref().map(|(range, value)| (range.clone(), value.tag())),
            want,
            "displaced at step {step}"
        );
        let Some((range, _)) = got else {
            assert!(displaced.next().is_none() && displaced.next_back().is_none(), "not fused");
            break;
        };
        handed_out.push(range);
    }
    matches!(taken, Taken::Forgotten { .. }).then(|| {
        mem::forget(displaced);
        handed_out
    })
}

/// Steps through an iterator from both ends and compares what it gives.
pub fn walk<T: PartialEq + Debug>(
    mut iter: impl DoubleEndedIterator<Item = T> + FusedIterator + Clone,
    expected: Vec<T>,
    ends: u32,
) {
    assert_eq!(iter.clone().count(), expected.len());
    assert_eq!(iter.clone().nth(2).as_ref(), expected.get(2));
    assert_eq!(iter.clone().nth_back(1).as_ref(), expected.iter().nth_back(1));
    assert_eq!(iter.clone().last().as_ref(), expected.last());
    let mut left = VecDeque::from(expected);
    for step in 0.. {
        let (least, most) = iter.size_hint();
        assert!(
            least <= left.len() && most.is_none_or(|most| most >= left.len()),
            "size hint {least}, {most:?}"
        );
        if step == ends % 8 {
            assert!(
                iter.clone().collect::<VecDeque<T>>() == left,
                "a clone half-way goes another way"
            );
            let mut folded = VecDeque::new();
            iter.clone().for_each(|entry| folded.push_back(entry));
            assert!(folded == left, "all at once is not what it is step by step");
        }
        let (got, want) = match (ends >> (step % 32)) & 1 {
            0 => (iter.next(), left.pop_front()),
            _ => (iter.next_back(), left.pop_back()),
        };
        assert_eq!(got, want, "step {step} of {ends:#b}");
        if want.is_none() {
            break;
        }
    }
    assert!(iter.next().is_none() && iter.next_back().is_none(), "not fused");
}
