//! Iterators. All are double-ended and fused, and borrow only the map.

use core::fmt;
use core::iter::FusedIterator;
use core::marker::PhantomData;
use core::ops::Range;

use super::node::NIL;
use super::spot::Spot;
use super::tree::Tree;
use super::{Key, RangeMap};

/// The ranges between two places of a tree, both included.
struct Walk<'a, V, const S: usize, const L: usize, const I: usize> {
    tree: &'a Tree<V, S, L, I>,
    /// Leaf and slot of the next range from the front, and from the back.
    ends: Option<((u32, usize), (u32, usize))>,
}

impl<V, const S: usize, const L: usize, const I: usize> Clone for Walk<'_, V, S, L, I> {
    fn clone(&self) -> Self {
        Walk { tree: self.tree, ends: self.ends }
    }
}

impl<'a, V, const S: usize, const L: usize, const I: usize> Walk<'a, V, S, L, I> {
    fn all(tree: &'a Tree<V, S, L, I>) -> Self {
        let last = tree.view(tree.last_leaf).len().checked_sub(1);
        Walk { tree, ends: last.map(|last| ((tree.first_leaf, 0), (tree.last_leaf, last))) }
    }

    /// The ranges that overlap `start..end`.
    fn overlapping(tree: &'a Tree<V, S, L, I>, start: u64, end: u64) -> Self {
        Walk { tree, ends: Self::overlap(tree, start, end) }
    }

    fn overlap(
        tree: &Tree<V, S, L, I>,
        start: u64,
        end: u64,
    ) -> Option<((u32, usize), (u32, usize))> {
        if start >= end {
            return None;
        }
        let (leaf, mut at) = tree.locate(start);
        let view = tree.view(leaf);
        let mut front = leaf;
        if at > 0 && view.ends[at - 1] > start {
            at -= 1;
        } else if at == view.len() {
            (front, at) = (tree.after(leaf)?, 0);
        }
        if tree.view(front).starts[at] >= end {
            return None;
        }
        // Where the range ends in the same leaf, no second descent is needed.
        let view = tree.view(front);
        let (back, below) = if view.starts[view.len() - 1] >= end || tree.after(front).is_none() {
            (front, view.starts.partition_point(|&start| start < end))
        } else {
            tree.locate(end)
        };
        Some(((front, at), (back, below - 1)))
    }

    #[inline]
    fn next(&mut self) -> Option<(u64, u64, &'a V)> {
        let (front, back) = self.ends?;
        self.ends = if front == back { None } else { self.up(front).map(|next| (next, back)) };
        Some(self.tree.entry(front))
    }

    #[inline]
    fn next_back(&mut self) -> Option<(u64, u64, &'a V)> {
        let (front, back) = self.ends?;
        self.ends = if front == back { None } else { self.down(back).map(|next| (front, next)) };
        Some(self.tree.entry(back))
    }

    fn up(&self, (leaf, at): (u32, usize)) -> Option<(u32, usize)> {
        if at + 1 < self.tree.view(leaf).len() {
            Some((leaf, at + 1))
        } else {
            self.tree.after(leaf).map(|leaf| (leaf, 0))
        }
    }

    fn down(&self, (leaf, at): (u32, usize)) -> Option<(u32, usize)> {
        if at > 0 {
            Some((leaf, at - 1))
        } else {
            self.tree.before(leaf).map(|leaf| (leaf, self.tree.view(leaf).len() - 1))
        }
    }
}

impl<V, const S: usize, const L: usize, const I: usize> Tree<V, S, L, I> {
    /// The ranges that overlap `start..end`, whole.
    pub(super) fn overlapping(
        &self,
        start: u64,
        end: u64,
    ) -> impl DoubleEndedIterator<Item = (u64, u64, &V)> {
        Overlapping::<u64, V, S, L, I>::new(self, start, end)
            .map(|(range, val)| (range.start, range.end, val))
    }

    /// The range in a slot of a leaf.
    #[inline]
    fn entry(&self, (leaf, at): (u32, usize)) -> (u64, u64, &V) {
        if leaf == NIL { self.small[0].entry(at) } else { self.leaves[leaf].entry(at) }
    }

    /// The one range at a spot, whole.
    #[inline]
    pub(super) fn only_at(&self, spot: Spot) -> Option<(u64, u64, &V)> {
        let at = spot.slots().filter(|slots| slots.count() == 1)?.from;
        if self.height == 0 {
            return self.small.first().map(|leaf| leaf.entry(at));
        }
        Some(self.leaves[self.path.leaf].entry(at))
    }

    fn after(&self, leaf: u32) -> Option<u32> {
        let next = if leaf == NIL { NIL } else { self.leaves[leaf].next };
        (next != NIL).then_some(next)
    }

    fn before(&self, leaf: u32) -> Option<u32> {
        let prev = if leaf == NIL { NIL } else { self.leaves[leaf].prev };
        (prev != NIL).then_some(prev)
    }
}

/// Declares an iterator over entries and what all of them have in common.
macro_rules! entries {
    ($(#[$doc:meta])* $name:ident, $state:ty) => {
        $(#[$doc])*
        pub struct $name<'a, K, V, const S: usize = 31, const L: usize = 15, const I: usize = 31> {
            walk: Walk<'a, V, S, L, I>,
            state: $state,
            keys: PhantomData<K>,
        }

        impl<K, V, const S: usize, const L: usize, const I: usize> Clone for $name<'_, K, V, S, L, I> {
            fn clone(&self) -> Self {
                $name { walk: self.walk.clone(), state: self.state, keys: PhantomData }
            }
        }

        impl<K: Key + fmt::Debug, V: fmt::Debug, const S: usize, const L: usize, const I: usize> fmt::Debug
            for $name<'_, K, V, S, L, I>
        {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), " "))?;
                f.debug_map().entries(self.clone()).finish()
            }
        }

        impl<'a, K: Key, V, const S: usize, const L: usize, const I: usize> Iterator for $name<'a, K, V, S, L, I> {
            type Item = (Range<K>, &'a V);
            #[inline]
            fn next(&mut self) -> Option<Self::Item> {
                let entry = self.walk.next()?;
                Some(Self::item(&mut self.state, entry))
            }
            fn size_hint(&self) -> (usize, Option<usize>) {
                self.left()
            }
        }

        impl<K: Key, V, const S: usize, const L: usize, const I: usize> DoubleEndedIterator
            for $name<'_, K, V, S, L, I>
        {
            #[inline]
            fn next_back(&mut self) -> Option<Self::Item> {
                let entry = self.walk.next_back()?;
                Some(Self::item(&mut self.state, entry))
            }
        }

        impl<K: Key, V, const S: usize, const L: usize, const I: usize> FusedIterator for $name<'_, K, V, S, L, I> {}
    };
}

fn keys<K: Key>(start: u64, end: u64) -> Range<K> {
    K::from_index(start)..K::from_index(end)
}

entries! {
    /// All ranges of a map with their values, ascending. See [`RangeMap::iter`].
    Iter, usize
}

impl<'a, K: Key, V, const S: usize, const L: usize, const I: usize> Iter<'a, K, V, S, L, I> {
    pub(super) fn new(tree: &'a Tree<V, S, L, I>) -> Self {
        Iter { walk: Walk::all(tree), state: tree.len, keys: PhantomData }
    }

    #[inline]
    fn item(left: &mut usize, (start, end, val): (u64, u64, &'a V)) -> (Range<K>, &'a V) {
        *left -= 1;
        (keys(start, end), val)
    }

    fn left(&self) -> (usize, Option<usize>) {
        (self.state, Some(self.state))
    }
}

impl<K: Key, V, const S: usize, const L: usize, const I: usize> ExactSizeIterator
    for Iter<'_, K, V, S, L, I>
{
}

entries! {
    /// The ranges of a map that overlap a range, whole. See [`RangeMap::overlapping`].
    Overlapping, ()
}

impl<'a, K: Key, V, const S: usize, const L: usize, const I: usize> Overlapping<'a, K, V, S, L, I> {
    pub(super) fn new(tree: &'a Tree<V, S, L, I>, start: u64, end: u64) -> Self {
        Overlapping { walk: Walk::overlapping(tree, start, end), state: (), keys: PhantomData }
    }

    /// The same where the spot of the range is known.
    #[inline]
    pub(super) fn at(tree: &'a Tree<V, S, L, I>, spot: Spot, start: u64, end: u64) -> Self {
        let Some(slots) = spot.slots() else { return Self::new(tree, start, end) };
        let leaf = tree.aimed_leaf();
        let ends = (slots.count() > 0).then(|| ((leaf, slots.from), (leaf, slots.to - 1)));
        Overlapping { walk: Walk { tree, ends }, state: (), keys: PhantomData }
    }

    #[inline]
    fn item((): &mut (), (start, end, val): (u64, u64, &'a V)) -> (Range<K>, &'a V) {
        (keys(start, end), val)
    }

    fn left(&self) -> (usize, Option<usize>) {
        (usize::from(self.walk.ends.is_some()), None)
    }
}

entries! {
    /// The ranges of a map clipped to a range. See [`RangeMap::pieces`].
    Pieces, (u64, u64)
}

impl<'a, K: Key, V, const S: usize, const L: usize, const I: usize> Pieces<'a, K, V, S, L, I> {
    pub(super) fn new(tree: &'a Tree<V, S, L, I>, start: u64, end: u64) -> Self {
        Pieces { walk: Walk::overlapping(tree, start, end), state: (start, end), keys: PhantomData }
    }

    #[inline]
    fn item(within: &mut (u64, u64), (start, end, val): (u64, u64, &'a V)) -> (Range<K>, &'a V) {
        (keys(start.max(within.0), end.min(within.1)), val)
    }

    fn left(&self) -> (usize, Option<usize>) {
        (usize::from(self.walk.ends.is_some()), None)
    }
}

/// The gaps of a map within a range, ascending. See [`RangeMap::gaps`].
pub struct Gaps<'a, K, V, const S: usize = 31, const L: usize = 15, const I: usize = 31> {
    tree: &'a Tree<V, S, L, I>,
    /// What has not been looked at, from either side.
    low: u64,
    high: u64,
    keys: PhantomData<K>,
}

impl<'a, K: Key, V, const S: usize, const L: usize, const I: usize> Gaps<'a, K, V, S, L, I> {
    pub(super) fn new(tree: &'a Tree<V, S, L, I>, low: u64, high: u64) -> Self {
        Gaps { tree, low, high, keys: PhantomData }
    }
}

impl<K, V, const S: usize, const L: usize, const I: usize> Clone for Gaps<'_, K, V, S, L, I> {
    fn clone(&self) -> Self {
        Gaps { keys: PhantomData, ..*self }
    }
}

impl<K: Key + fmt::Debug, V, const S: usize, const L: usize, const I: usize> fmt::Debug
    for Gaps<'_, K, V, S, L, I>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gaps ")?;
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<K: Key, V, const S: usize, const L: usize, const I: usize> Iterator
    for Gaps<'_, K, V, S, L, I>
{
    type Item = Range<K>;
    fn next(&mut self) -> Option<Range<K>> {
        // A search, not a walk: ranges without a gap between them cost nothing.
        let Some((start, end)) = self.tree.next_gap(1, self.low, self.high) else {
            self.low = self.high;
            return None;
        };
        self.low = end;
        Some(keys(start, end))
    }
}

impl<K: Key, V, const S: usize, const L: usize, const I: usize> DoubleEndedIterator
    for Gaps<'_, K, V, S, L, I>
{
    fn next_back(&mut self) -> Option<Range<K>> {
        let Some((start, end)) = self.tree.prev_gap(1, self.low, self.high) else {
            self.high = self.low;
            return None;
        };
        self.high = start;
        Some(keys(start, end))
    }
}

impl<K: Key, V, const S: usize, const L: usize, const I: usize> FusedIterator
    for Gaps<'_, K, V, S, L, I>
{
}

/// The ranges and values of a map, owned, ascending.
pub struct IntoIter<K, V, const S: usize = 31, const L: usize = 15, const I: usize = 31> {
    tree: Tree<V, S, L, I>,
    ends: Option<((u32, usize), (u32, usize))>,
    left: usize,
    keys: PhantomData<K>,
}

impl<K: Key, V, const S: usize, const L: usize, const I: usize> IntoIter<K, V, S, L, I> {
    pub(super) fn new(map: RangeMap<K, V, S, L, I>) -> Self {
        let tree = map.tree;
        IntoIter { ends: Walk::all(&tree).ends, left: tree.len, tree, keys: PhantomData }
    }

    /// Takes the next entry from the front, or from the back.
    fn take(&mut self, front: bool) -> Option<(Range<K>, V)> {
        let mut walk = Walk { tree: &self.tree, ends: self.ends };
        let (place, (start, end, _)) =
            if front { (self.ends?.0, walk.next()?) } else { (self.ends?.1, walk.next_back()?) };
        self.ends = walk.ends;
        self.left -= 1;
        let (leaf, at) = place;
        let slot = if leaf == NIL {
            &mut self.tree.small[0].vals[at]
        } else {
            &mut self.tree.leaves[leaf].vals[at]
        };
        slot.take().map(|val| (keys(start, end), val))
    }
}

impl<K, V: fmt::Debug, const S: usize, const L: usize, const I: usize> fmt::Debug
    for IntoIter<K, V, S, L, I>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoIter").field("left", &self.left).finish_non_exhaustive()
    }
}

impl<K: Key, V, const S: usize, const L: usize, const I: usize> Iterator
    for IntoIter<K, V, S, L, I>
{
    type Item = (Range<K>, V);
    fn next(&mut self) -> Option<Self::Item> {
        self.take(true)
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<K: Key, V, const S: usize, const L: usize, const I: usize> DoubleEndedIterator
    for IntoIter<K, V, S, L, I>
{
    fn next_back(&mut self) -> Option<Self::Item> {
        self.take(false)
    }
}

impl<K: Key, V, const S: usize, const L: usize, const I: usize> ExactSizeIterator
    for IntoIter<K, V, S, L, I>
{
}
impl<K: Key, V, const S: usize, const L: usize, const I: usize> FusedIterator
    for IntoIter<K, V, S, L, I>
{
}
