//! Ranges of keys and their values: [`RangeMap`].
//!
//! This room knows nothing of memory. The map is a gap-tracking B+-tree: it
//! finds a key, the neighbours of a range and a gap of a given size in
//! logarithmic time, and hands out what an edit displaces.
#![allow(
    clippy::arithmetic_side_effects,
    reason = "Slots are bounded by the capacities, which arrays check. Keys are only subtracted in the order \
              that invariants 1 and 2 of the tree give, and added below a bound: what a caller passes is compared \
              first."
)]
#![allow(
    clippy::inline_always,
    reason = "Where it says so, it was counted: the compiler makes calls of what is a few instructions, and a \
              call costs as many. `benches/instructions.tsv` holds them to it."
)]

mod arena;
mod bulk;
mod check;
mod convert;
mod displaced;
mod edit;
#[cfg(test)]
mod effort;
mod iter;
mod key;
mod node;
mod pending;
mod search;
mod shape;
mod shelf;
mod splice;
mod spot;
mod tree;

use alloc::collections::TryReserveError;
use core::marker::PhantomData;
use core::ops::Range;

pub use displaced::Displaced;
pub use iter::{Gaps, IntoIter, Iter, Overlapping, Pieces};
pub use key::Key;

use search::Grid;
pub(crate) use spot::{Extent, Spot};
use tree::Tree;

/// A map from ranges of integer keys to values, which joins equal neighbours.
///
/// Ranges are half-open and do not overlap. Two ranges that touch and have
/// equal values are one range; so two maps are equal exactly when they hold the
/// same values for the same keys.
///
/// - [`get`](Self::get), [`insert`](Self::insert), [`remove`](Self::remove) and
///   a search for a gap of a given length take logarithmic time.
/// - An insert or a remove hands out what it displaced.
/// - An empty map owns no memory; a map of up to 31 ranges is one block.
///
/// An empty range, or one whose end lies before its start, reads as nothing and
/// writes nothing: no method panics on it.
///
/// Values are compared with `==` and cloned where a range is cut in two. A
/// `clone` or `drop` that panics leaves a map that can be used on and that holds,
/// key by key, the values from before or from after the edit; what is then equal
/// and touches may not be joined. After an `==` that panics in an insert, keys of
/// its range may also have no value. A value that is not equal to itself, such as
/// a NaN, is never joined.
///
/// The three capacities are for tests, which set them low to reach every way a
/// tree can change its shape. Leave them at their defaults.
///
/// # Panics
///
/// Edits need memory as those of the standard collections do, and fail like
/// them where there is none. [`try_reserve_edit`](Self::try_reserve_edit)
/// secures it beforehand.
///
/// # Examples
///
/// ```
/// use addrspace::RangeMap;
///
/// let mut map = RangeMap::new();
/// map.insert(0..10, "code");
/// map.insert(10..20, "data");
/// map.insert(4..6, "data");
/// assert_eq!(format!("{map:?}"), r#"{0..4: "code", 4..6: "data", 6..10: "code", 10..20: "data"}"#);
///
/// map.insert(6..10, "data"); // joins both neighbours
/// assert_eq!(map.get_range(12), Some((4..20, &"data")));
/// assert_eq!(map.first_gap(5, 8, 0..100), Some(24));
/// ```
///
/// # Example: coming from libmmap
///
/// What the README of zyedidia/libmmap does with its range map, with the results
/// that it states:
///
/// ```
/// use addrspace::RangeMap;
///
/// let mut m = RangeMap::new();
/// m.insert(0..10, 1);
/// m.insert(5..15, 2);
/// assert!(m.iter().eq([(0..5, &1), (5..15, &2)]));
/// assert_eq!(m.get_range(7), Some((5..15, &2)));
/// m.remove(3..12);
/// assert!(m.iter().eq([(0..3, &1), (12..15, &2)]));
/// ```
pub struct RangeMap<K, V, const SMALL: usize = 31, const LEAF: usize = 15, const INNER: usize = 31>
{
    tree: Tree<V, SMALL, LEAF, INNER>,
    keys: PhantomData<K>,
}

impl<K, V> RangeMap<K, V> {
    /// Makes an empty map, which owns no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// static EMPTY: RangeMap<u64, char> = RangeMap::new();
    /// assert!(EMPTY.is_empty());
    /// ```
    pub const fn new() -> Self {
        RangeMap { tree: Tree::new(), keys: PhantomData }
    }
}

/// The indices of the ends of a range.
#[inline]
fn indices<K: Key>(range: &Range<K>) -> (u64, u64) {
    (range.start.to_index(), range.end.to_index())
}

#[inline]
fn entry<K: Key, V>((start, end, val): (u64, u64, &V)) -> (Range<K>, &V) {
    (K::from_index(start)..K::from_index(end), val)
}

/// What the tree calls with indices, for a closure over keys.
#[inline]
fn by_key<K: Key, V>(mut change: impl FnMut(Range<K>, &mut V)) -> impl FnMut(u64, u64, &mut V) {
    move |start, end, val| change(K::from_index(start)..K::from_index(end), val)
}

#[inline]
fn dup_at<K: Key, V>(mut dup: impl FnMut(K, &V) -> V) -> impl FnMut(u64, &V) -> V {
    move |key, val| dup(K::from_index(key), val)
}

impl<K: Key, V, const S: usize, const L: usize, const I: usize> RangeMap<K, V, S, L, I> {
    /// The number of ranges.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let map = RangeMap::from([(0..5, 'a'), (5..9, 'a'), (9..10, 'b')]);
    /// assert_eq!(map.len(), 2);
    /// ```
    pub fn len(&self) -> usize {
        self.tree.len
    }

    /// Whether no key has a value.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let mut map = RangeMap::new();
    /// map.insert(7..7, 'a'); // an empty range writes nothing
    /// assert!(map.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.tree.len == 0
    }

    /// Gives back the memory that an edit may have left unused.
    ///
    /// Edits keep what they free for those to come. Takes linear time, and memory
    /// for a second map while it works.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let mut map: RangeMap<u32, u32> = (0..1000).map(|n| (2 * n..2 * n + 1, n)).collect();
    /// map.remove(10..2000);
    /// map.shrink_to_fit(); // one block again
    /// assert_eq!(map.len(), 5);
    /// ```
    pub fn shrink_to_fit(&mut self) {
        let tree = core::mem::replace(&mut self.tree, Tree::new());
        for (range, val) in (RangeMap { tree, keys: PhantomData::<u64> }) {
            self.tree.append(range.start, range.end, val);
        }
        self.tree.finish();
    }

    /// Removes everything and gives the memory back.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let mut map = RangeMap::from([(0..5, 'a')]);
    /// map.clear();
    /// assert_eq!(map, RangeMap::new());
    /// ```
    pub fn clear(&mut self) {
        // The old tree is dropped when the map is already empty.
        drop(core::mem::replace(&mut self.tree, Tree::new()));
    }

    /// The value of `key`, if it has one.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let map = RangeMap::from([(3..5, 'a')]);
    /// assert_eq!(map.get(4), Some(&'a'));
    /// assert_eq!(map.get(5), None);
    /// ```
    #[inline]
    pub fn get(&self, key: K) -> Option<&V> {
        self.tree.get(key.to_index()).map(|(_, _, val)| val)
    }

    /// The whole range around `key` and its value.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let map = RangeMap::from([(-3..5, 'a')]);
    /// assert_eq!(map.get_range(0), Some((-3..5, &'a')));
    /// ```
    #[inline]
    pub fn get_range(&self, key: K) -> Option<(Range<K>, &V)> {
        self.tree.get(key.to_index()).map(entry)
    }

    /// Whether `key` has a value.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let map = RangeMap::from([(3..5, 'a')]);
    /// assert!(map.contains(3) && !map.contains(2));
    /// ```
    #[inline]
    pub fn contains(&self, key: K) -> bool {
        self.get(key).is_some()
    }

    /// The first range and its value.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let map = RangeMap::from([(3..5, 'a'), (7..9, 'b')]);
    /// assert_eq!(map.first(), Some((3..5, &'a')));
    /// ```
    pub fn first(&self) -> Option<(Range<K>, &V)> {
        self.iter().next()
    }

    /// The last range and its value.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let map = RangeMap::from([(3..5, 'a'), (7..9, 'b')]);
    /// assert_eq!(map.last(), Some((7..9, &'b')));
    /// ```
    pub fn last(&self) -> Option<(Range<K>, &V)> {
        self.iter().next_back()
    }

    /// All ranges with their values, ascending.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let map = RangeMap::from([(7..9, 'b'), (3..5, 'a')]);
    /// assert!(map.iter().eq([(3..5, &'a'), (7..9, &'b')]));
    /// ```
    #[inline]
    pub fn iter(&self) -> Iter<'_, K, V, S, L, I> {
        Iter::new(&self.tree)
    }

    /// Whether any key of `range` has a value.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let map = RangeMap::from([(3..5, 'a')]);
    /// assert!(map.overlaps(0..4));
    /// assert!(!map.overlaps(5..9) && !map.overlaps(4..4));
    /// ```
    pub fn overlaps(&self, range: Range<K>) -> bool {
        self.overlapping(range).next().is_some()
    }

    /// The ranges that overlap `range`, whole, ascending.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let map = RangeMap::from([(0..5, 'a'), (7..9, 'b'), (9..20, 'c')]);
    /// assert!(map.overlapping(3..8).eq([(0..5, &'a'), (7..9, &'b')]));
    /// ```
    pub fn overlapping(&self, range: Range<K>) -> Overlapping<'_, K, V, S, L, I> {
        let (start, end) = indices(&range);
        Overlapping::new(&self.tree, start, end)
    }

    /// The ranges that overlap `range`, clipped to it, ascending.
    ///
    /// Together with [`gaps`](Self::gaps) they tile the range.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let map = RangeMap::from([(0..5, 'a'), (7..9, 'b')]);
    /// assert!(map.pieces(3..8).eq([(3..5, &'a'), (7..8, &'b')]));
    /// ```
    pub fn pieces(&self, range: Range<K>) -> Pieces<'_, K, V, S, L, I> {
        let (start, end) = indices(&range);
        Pieces::new(&self.tree, start, end)
    }

    /// The maximal ranges of keys without a value in `within`, ascending.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let map = RangeMap::from([(0..5, 'a'), (7..9, 'b')]);
    /// assert!(map.gaps(3..12).eq([5..7, 9..12]));
    /// assert!(map.gaps(3..12).rev().eq([9..12, 5..7]));
    /// ```
    pub fn gaps(&self, within: Range<K>) -> Gaps<'_, K, V, S, L, I> {
        let (low, high) = indices(&within);
        Gaps::new(&self.tree, low, high)
    }

    /// The lowest multiple of `align` in `within` from which `len` keys are
    /// free and in `within` too.
    ///
    /// Any `align` will do; 0 counts as 1. A `len` of 0 is found nowhere.
    ///
    /// Takes logarithmic time, and as much again for each gap that is long
    /// enough and in which no aligned place fits.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let map = RangeMap::from([(0..5, 'a'), (7..9, 'b')]);
    /// assert_eq!(map.first_gap(2, 1, 0..100), Some(5));
    /// assert_eq!(map.first_gap(2, 4, 0..100), Some(12));
    /// assert_eq!(map.first_gap(2, 4, 0..13), None);
    /// ```
    pub fn first_gap(&self, len: u64, align: u64, within: Range<K>) -> Option<K> {
        let (low, high) = indices(&within);
        self.tree.first_fit(len, Grid::new(align, K::ORIGIN), low, high).map(K::from_index)
    }

    /// The highest multiple of `align` in `within` from which `len` keys are
    /// free and in `within` too.
    ///
    /// Everything else is as with [`first_gap`](Self::first_gap).
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let map = RangeMap::from([(0..5, 'a'), (90..100, 'b')]);
    /// assert_eq!(map.last_gap(2, 1, 0..100), Some(88));
    /// assert_eq!(map.last_gap(2, 16, 0..100), Some(80));
    /// ```
    pub fn last_gap(&self, len: u64, align: u64, within: Range<K>) -> Option<K> {
        let (low, high) = indices(&within);
        self.tree.last_fit(len, Grid::new(align, K::ORIGIN), low, high).map(K::from_index)
    }

    /// How many placements [`nth_placement`](Self::nth_placement) knows.
    ///
    /// Takes logarithmic time for each gap that is long enough.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let map = RangeMap::from([(4..6, 'a')]);
    /// assert_eq!(map.placements(3, 1, 0..10), 4); // at 0, 1, 6 and 7
    /// ```
    pub fn placements(&self, len: u64, align: u64, within: Range<K>) -> u64 {
        let (low, high) = indices(&within);
        self.tree.count_fits(len, Grid::new(align, K::ORIGIN), low, high)
    }

    /// The `n`-th place, ascending from 0, that [`first_gap`](Self::first_gap)
    /// could have answered if the ones before it were no choice.
    ///
    /// With an `n` drawn evenly from 0 to [`placements`](Self::placements), this
    /// is a uniformly random placement.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let map = RangeMap::from([(4..6, 'a')]);
    /// assert_eq!(map.nth_placement(2, 3, 1, 0..10), Some(6));
    /// assert_eq!(map.nth_placement(4, 3, 1, 0..10), None);
    /// ```
    pub fn nth_placement(&self, n: u64, len: u64, align: u64, within: Range<K>) -> Option<K> {
        let (low, high) = indices(&within);
        self.tree.nth_fit(n, len, Grid::new(align, K::ORIGIN), low, high).map(K::from_index)
    }

    /// Secures the memory that the next edit of `range`, or of a shorter range
    /// with the same start, can need.
    ///
    /// That edit, an [`insert`](Self::insert), a [`remove`](Self::remove) or an
    /// [`update`](Self::update), then does not allocate, but for what a value's
    /// own `clone` does. Where a leaf near the range is full this may secure a
    /// few nodes, as a rule nothing.
    ///
    /// # Errors
    ///
    /// If there is no memory. The map holds what it held.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let mut map = RangeMap::new();
    /// map.try_reserve_edit(0..4)?;
    /// map.insert(0..4, 'a'); // cannot fail
    /// # Ok::<(), std::collections::TryReserveError>(())
    /// ```
    pub fn try_reserve_edit(&mut self, range: Range<K>) -> Result<(), TryReserveError> {
        let (start, end) = indices(&range);
        if start >= end { Ok(()) } else { self.tree.try_reserve_edit(start, end) }
    }

    /// Where `range` lies, for an edit of it that does no more than `extent` says.
    #[inline]
    pub(crate) fn spot(&mut self, range: &Range<K>, extent: Extent) -> Spot {
        let (start, end) = indices(range);
        self.tree.aim(start, end, extent)
    }

    /// The range at `spot`, whole, if it is one and that is known.
    #[inline]
    pub(crate) fn only_at(&self, spot: Spot) -> Option<(Range<K>, &V)> {
        self.tree.only_at(spot).map(entry)
    }

    /// Like [`overlapping`](Self::overlapping) for a range whose spot is known.
    #[inline]
    pub(crate) fn overlapping_at(
        &self,
        spot: Spot,
        range: &Range<K>,
    ) -> Overlapping<'_, K, V, S, L, I> {
        let (start, end) = indices(range);
        Overlapping::at(&self.tree, spot, start, end)
    }
}

impl<K, V: Clone, const S: usize, const L: usize, const I: usize> RangeMap<K, V, S, L, I> {
    /// A copy, if there is memory for it.
    ///
    /// # Errors
    ///
    /// If there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let map = RangeMap::from([(0..5, 'a'), (9..10, 'b')]);
    /// assert_eq!(map.try_clone()?, map);
    /// # Ok::<(), std::collections::TryReserveError>(())
    /// ```
    pub fn try_clone(&self) -> Result<Self, TryReserveError> {
        Ok(RangeMap { tree: self.tree.try_clone()?, keys: PhantomData })
    }
}

impl<K: Key, V: Clone + PartialEq, const S: usize, const L: usize, const I: usize>
    RangeMap<K, V, S, L, I>
{
    /// Gives every key of `range` the value `value`.
    ///
    /// The answer hands out what is overwritten, clipped to `range`, ascending.
    /// The insert is complete when it is dropped; ignoring it costs nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let mut map = RangeMap::new();
    /// map.insert(0..5, 'a');
    /// map.insert(7..9, 'b');
    /// let displaced: Vec<_> = map.insert(3..8, 'c').collect();
    /// assert_eq!(displaced, [(3..5, 'a'), (7..8, 'b')]);
    /// assert!(map.iter().eq([(0..3, &'a'), (3..8, &'c'), (8..9, &'b')]));
    /// ```
    #[inline]
    pub fn insert(&mut self, range: Range<K>, value: V) -> Displaced<'_, K, V, S, L, I> {
        Displaced::new(&mut self.tree, indices(&range), Some(value))
    }

    /// Takes its value from every key of `range`.
    ///
    /// The answer hands out what is removed, clipped to `range`, ascending. The
    /// removal is complete when it is dropped; ignoring it costs nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let mut map = RangeMap::from([(0..9, 'a')]);
    /// map.remove(3..5);
    /// assert!(map.iter().eq([(0..3, &'a'), (5..9, &'a')]));
    /// assert!(map.remove(0..7).eq([(0..3, 'a'), (5..7, 'a')]));
    /// ```
    #[inline]
    pub fn remove(&mut self, range: Range<K>) -> Displaced<'_, K, V, S, L, I> {
        Displaced::new(&mut self.tree, indices(&range), None)
    }

    /// Lets `change` change the values in `range`, piece by piece, ascending.
    ///
    /// Ranges that reach out of `range` are cut at its ends first; afterwards
    /// what has become equal is joined. Both also hold when `change` panics:
    /// the pieces it was called for keep what it made of them.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let mut map = RangeMap::from([(0..6, 1), (8..9, 2)]);
    /// map.update(4..20, |_, value| *value += 10);
    /// assert!(map.iter().eq([(0..4, &1), (4..6, &11), (8..9, &12)]));
    /// ```
    pub fn update(&mut self, range: Range<K>, change: impl FnMut(Range<K>, &mut V)) {
        self.update_with(range, change, |_, val| val.clone());
    }

    /// Keeps the ranges that `keep` wants and removes all others, in one pass.
    ///
    /// Where `keep` panics, the ranges from there on stay, and may be some before
    /// that it did not want. Where the drop of a value panics, all of it is done first.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let mut map = RangeMap::from([(0..6, 'a'), (8..9, 'b')]);
    /// map.retain(|range, _| range.end <= 6);
    /// assert!(map.iter().eq([(0..6, &'a')]));
    /// ```
    pub fn retain(&mut self, mut keep: impl FnMut(Range<K>, &V) -> bool) {
        self.tree
            .retain(&mut |start, end, val| keep(K::from_index(start)..K::from_index(end), val));
    }

    /// Builds a map from ranges in ascending order, in linear time.
    ///
    /// Any other order is right too, only slower: from the first range on that
    /// does not lie behind all those before it, ranges are inserted one by one,
    /// so that later ones overwrite earlier ones.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::RangeMap;
    ///
    /// let map = RangeMap::<u8, char>::from_sorted([(0..6, 'a'), (6..7, 'a'), (8..9, 'b')]);
    /// assert!(map.iter().eq([(0..7, &'a'), (8..9, &'b')]));
    /// ```
    pub fn from_sorted(ranges: impl IntoIterator<Item = (Range<K>, V)>) -> Self {
        let mut map = Self::default();
        let mut ranges = ranges.into_iter();
        let mut left_over = None;
        for (range, value) in ranges.by_ref() {
            let (start, end) = indices(&range);
            if start >= end {
                continue;
            }
            match map.tree.last_appended() {
                Some((last, _)) if *last > start => {
                    left_over = Some((range, value));
                    break;
                }
                Some((last, equal)) if *last == start && *equal == value => *last = end,
                _ => map.tree.append(start, end, value),
            }
        }
        map.tree.finish();
        map.extend(left_over.into_iter().chain(ranges));
        map
    }

    /// Panics with the number of an invariant if one is broken: for tests and
    /// fuzz targets, which call it after every step.
    #[doc(hidden)]
    pub fn check(&self) {
        self.tree.check();
    }

    /// Like [`update`](Self::update), with `dup` in place of `clone`.
    ///
    /// `dup` is called at most once with the start of `range`, if a range is cut
    /// there, and then at most once with its end.
    #[inline]
    pub(crate) fn update_at(
        &mut self,
        spot: Spot,
        range: &Range<K>,
        change: impl FnMut(Range<K>, &mut V),
        dup: impl FnMut(K, &V) -> V,
    ) {
        let (start, end) = indices(range);
        self.tree.update_at(spot.slots(), start, end, by_key(change), &mut dup_at(dup));
    }

    /// Like [`insert`](Self::insert), displaced values dropped, with `dup` in
    /// place of `clone`: called at most once, with the start of `range`, if one
    /// range reaches past both ends of it.
    #[inline]
    pub(crate) fn insert_at(
        &mut self,
        spot: Spot,
        range: &Range<K>,
        value: V,
        dup: impl FnMut(K, &V) -> V,
    ) {
        let (start, end) = indices(range);
        self.tree.put_at(spot.slots(), start, end, value, &mut dup_at(dup));
    }

    /// Like [`remove`](Self::remove), displaced values dropped, with `dup` in
    /// place of `clone`, as in [`insert_at`](Self::insert_at).
    #[inline]
    pub(crate) fn remove_at(&mut self, spot: Spot, range: &Range<K>, dup: impl FnMut(K, &V) -> V) {
        let (start, end) = indices(range);
        self.tree.cut_at(spot.slots(), start, end, &mut dup_at(dup));
    }

    /// [`update_at`](Self::update_at) wherever `range` lies.
    pub(crate) fn update_with(
        &mut self,
        range: Range<K>,
        change: impl FnMut(Range<K>, &mut V),
        dup: impl FnMut(K, &V) -> V,
    ) {
        let (start, end) = indices(&range);
        let slots = self.tree.seek_slots(start, end);
        self.tree.update_at(slots, start, end, by_key(change), &mut dup_at(dup));
    }

    /// [`insert_at`](Self::insert_at) wherever `range` lies.
    pub(crate) fn insert_with(&mut self, range: Range<K>, value: V, dup: impl FnMut(K, &V) -> V) {
        let (start, end) = indices(&range);
        self.tree.put(start, end, value, &mut dup_at(dup));
    }

    /// [`remove_at`](Self::remove_at) wherever `range` lies.
    pub(crate) fn remove_with(&mut self, range: Range<K>, dup: impl FnMut(K, &V) -> V) {
        let (start, end) = indices(&range);
        self.tree.cut(start, end, &mut dup_at(dup));
    }
}

/// What the address space needs beside the public methods. Its keys are relative
/// to its start, so its alignments do not count from key zero.
impl<V, const S: usize, const L: usize, const I: usize> RangeMap<u64, V, S, L, I> {
    /// Secures what `count` edits can need, wherever they are.
    pub(crate) fn try_reserve_inserts(&mut self, count: usize) -> Result<(), TryReserveError> {
        self.tree.try_reserve_inserts(count)
    }

    /// The lowest key that is `phase` modulo `align`; see [`first_gap`](Self::first_gap).
    pub(crate) fn first_gap_on(
        &self,
        len: u64,
        align: u64,
        phase: u64,
        within: Range<u64>,
    ) -> Option<u64> {
        self.tree.first_fit(len, Grid::new(align, phase), within.start, within.end)
    }

    /// The highest key that is `phase` modulo `align`; see [`last_gap`](Self::last_gap).
    pub(crate) fn last_gap_on(
        &self,
        len: u64,
        align: u64,
        phase: u64,
        within: Range<u64>,
    ) -> Option<u64> {
        self.tree.last_fit(len, Grid::new(align, phase), within.start, within.end)
    }

    /// Counts the keys that are `phase` modulo `align`; see [`placements`](Self::placements).
    pub(crate) fn placements_on(
        &self,
        len: u64,
        align: u64,
        phase: u64,
        within: Range<u64>,
    ) -> u64 {
        self.tree.count_fits(len, Grid::new(align, phase), within.start, within.end)
    }

    /// The `n`-th of these; see [`nth_placement`](Self::nth_placement).
    pub(crate) fn nth_placement_on(
        &self,
        n: u64,
        len: u64,
        align: u64,
        phase: u64,
        within: Range<u64>,
    ) -> Option<u64> {
        self.tree.nth_fit(n, len, Grid::new(align, phase), within.start, within.end)
    }
}
