//! Iterators. All are double-ended and fused, and borrow only the map.

use core::fmt;
use core::iter::{FusedIterator, Zip};
use core::marker::PhantomData;
use core::ops::Range;
use core::slice;

use super::node::NIL;
use super::spot::Spot;
use super::tree::{Tree, View};
use super::{Key, RangeMap};

/// A range in the tree: its leaf, where `NIL` names the small one, and its slot there.
type Place = (u32, usize);

/// Neighbouring ranges of one leaf.
struct Entries<'a, V> {
    // Zipped, so that a step looks at one length.
    slots: Zip<Zip<slice::Iter<'a, u64>, slice::Iter<'a, u64>>, slice::Iter<'a, u8>>,
    vals: &'a [Option<V>],
}

impl<V> Clone for Entries<'_, V> {
    fn clone(&self) -> Self {
        Entries { slots: self.slots.clone(), vals: self.vals }
    }
}

impl<'a, V> Entries<'a, V> {
    fn of(view: View<'a, V>, slots: Range<usize>) -> Self {
        let (places, vals) = view.vals;
        let starts = view.starts[slots.clone()].iter();
        let ends = view.ends[slots.clone()].iter();
        Entries { slots: starts.zip(ends).zip(&places[slots]), vals }
    }

    #[inline]
    fn entry(
        vals: &'a [Option<V>],
        ((start, end), place): ((&u64, &u64), &u8),
    ) -> (u64, u64, &'a V) {
        let val = vals[usize::from(*place)].as_ref();
        (*start, *end, val.expect("live slots hold a value"))
    }

    #[inline]
    fn next(&mut self) -> Option<(u64, u64, &'a V)> {
        self.slots.next().map(|slot| Self::entry(self.vals, slot))
    }

    #[inline]
    fn next_back(&mut self) -> Option<(u64, u64, &'a V)> {
        self.slots.next_back().map(|slot| Self::entry(self.vals, slot))
    }

    #[inline]
    fn fold<B>(self, all: B, add: &mut impl FnMut(B, (u64, u64, &'a V)) -> B) -> B {
        let vals = self.vals;
        self.slots.fold(all, |all, slot| add(all, Self::entry(vals, slot)))
    }
}

/// The ranges between two places of a tree, both included.
struct Walk<'a, V, const S: usize, const L: usize, const I: usize> {
    tree: &'a Tree<V, S, L, I>,
    front: Entries<'a, V>,
    /// The leaves behind that of `front`: the first, and the last with how many ranges of
    /// it are left. (Ranges are taken from the front as a rule; so that is what is kept
    /// ready, and little else, for it to stay in registers.)
    rest: Option<(u32, Place)>,
}

impl<V, const S: usize, const L: usize, const I: usize> Clone for Walk<'_, V, S, L, I> {
    fn clone(&self) -> Self {
        Walk { front: self.front.clone(), ..*self }
    }
}

impl<'a, V, const S: usize, const L: usize, const I: usize> Walk<'a, V, S, L, I> {
    #[inline(always)]
    fn new(tree: &'a Tree<V, S, L, I>, places: Option<(Place, Place)>) -> Self {
        let Some(((first, from), (last, to))) = places else {
            return Walk { tree, front: Entries::of(View::EMPTY, 0..0), rest: None };
        };
        let view = tree.view(first);
        if first == last {
            return Walk { tree, front: Entries::of(view, from..to + 1), rest: None };
        }
        let rest = (tree.leaves[first].next, (last, to + 1));
        Walk { tree, front: Entries::of(view, from..view.len()), rest: Some(rest) }
    }

    #[inline]
    fn all(tree: &'a Tree<V, S, L, I>) -> Self {
        Self::new(tree, tree.all())
    }

    /// The ranges that overlap `start..end`.
    fn overlapping(tree: &'a Tree<V, S, L, I>, start: u64, end: u64) -> Self {
        Self::new(tree, tree.overlap(start, end))
    }

    #[inline(always)]
    fn next(&mut self) -> Option<(u64, u64, &'a V)> {
        loop {
            if let Some(entry) = self.front.next() {
                return Some(entry);
            }
            let (leaf, (last, left)) = self.rest?;
            (self.front, self.rest) = self.tree.entries_of(leaf, last, left);
        }
    }

    #[inline]
    fn next_back(&mut self) -> Option<(u64, u64, &'a V)> {
        let Some((first, (last, left))) = self.rest else { return self.front.next_back() };
        let leaf = &self.tree.leaves[last];
        let left = left - 1;
        self.rest = if left > 0 {
            Some((first, (last, left)))
        } else if first != last {
            Some((first, (leaf.prev, self.tree.leaves[leaf.prev].live())))
        } else {
            None
        };
        Some(leaf.entry(left))
    }

    /// All that is left: one loop in another, where each `next` has to find out in which of
    /// the two it is.
    #[inline]
    fn fold<B>(self, all: B, mut add: impl FnMut(B, (u64, u64, &'a V)) -> B) -> B {
        let mut all = self.front.fold(all, &mut add);
        let Some((mut at, (last, left))) = self.rest else { return all };
        loop {
            let leaf = &self.tree.leaves[at];
            let live = if at == last { left.min(L) } else { leaf.live() };
            all = (0..live).fold(all, |all, slot| add(all, leaf.entry(slot)));
            if at == last {
                return all;
            }
            at = leaf.next;
        }
    }

    /// How many ranges are left, at the least and if that is known at the most.
    fn left(&self) -> (usize, Option<usize>) {
        let front = self.front.slots.len();
        match self.rest {
            Some((_, (_, left))) => (front + left, None),
            None => (front, Some(front)),
        }
    }
}

impl<V, const S: usize, const L: usize, const I: usize> Tree<V, S, L, I> {
    /// The entries of a leaf, of which `left` are left if it is the last; and what is
    /// behind them. (All by value, so that a loop can keep in registers what it was in.)
    #[inline(never)]
    fn entries_of(
        &self,
        leaf: u32,
        last: u32,
        left: usize,
    ) -> (Entries<'_, V>, Option<(u32, Place)>) {
        let view = self.view(leaf);
        if leaf == last {
            (Entries::of(view, 0..left), None)
        } else {
            (Entries::of(view, 0..view.len()), Some((self.leaves[leaf].next, (last, left))))
        }
    }

    /// The first range and the last.
    fn all(&self) -> Option<(Place, Place)> {
        let last = self.view(self.last_leaf).len().checked_sub(1)?;
        Some(((self.first_leaf, 0), (self.last_leaf, last)))
    }

    /// The first and the last range that overlap `start..end`.
    fn overlap(&self, start: u64, end: u64) -> Option<(Place, Place)> {
        if start >= end {
            return None;
        }
        let (leaf, mut at) = self.locate(start);
        let view = self.view(leaf);
        let mut front = leaf;
        if at > 0 && view.ends[at - 1] > start {
            at -= 1;
        } else if at == view.len() {
            (front, at) = (self.after(leaf)?, 0);
        }
        let view = self.view(front);
        if view.starts[at] >= end {
            return None;
        }
        // Where the range ends in the same leaf, no second descent is needed.
        let (back, below) = if view.starts[view.len() - 1] >= end || self.after(front).is_none() {
            (front, view.starts.partition_point(|&start| start < end))
        } else {
            self.locate(end)
        };
        Some(((front, at), (back, below - 1)))
    }

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

    /// The place after one that is not the last.
    fn up(&self, (leaf, at): Place) -> Place {
        if at + 1 < self.view(leaf).len() { (leaf, at + 1) } else { (self.leaves[leaf].next, 0) }
    }

    /// The place before one that is not the first.
    fn down(&self, (leaf, at): Place) -> Place {
        if at > 0 {
            return (leaf, at - 1);
        }
        let before = self.leaves[leaf].prev;
        (before, self.view(before).len() - 1)
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
            #[inline]
            fn fold<B, F: FnMut(B, Self::Item) -> B>(mut self, all: B, mut add: F) -> B {
                self.walk.fold(all, |all, entry| add(all, Self::item(&mut self.state, entry)))
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
        let places = (slots.count() > 0).then(|| ((leaf, slots.from), (leaf, slots.to - 1)));
        Overlapping { walk: Walk::new(tree, places), state: (), keys: PhantomData }
    }

    #[inline]
    fn item((): &mut (), (start, end, val): (u64, u64, &'a V)) -> (Range<K>, &'a V) {
        (keys(start, end), val)
    }

    fn left(&self) -> (usize, Option<usize>) {
        self.walk.left()
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
        self.walk.left()
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
    /// The next range from the front, and from the back.
    ends: Option<(Place, Place)>,
    left: usize,
    keys: PhantomData<K>,
}

impl<K: Key, V, const S: usize, const L: usize, const I: usize> IntoIter<K, V, S, L, I> {
    pub(super) fn new(map: RangeMap<K, V, S, L, I>) -> Self {
        let tree = map.tree;
        IntoIter { ends: tree.all(), left: tree.len, tree, keys: PhantomData }
    }

    /// Takes the range at one of the ends.
    fn take(&mut self, (leaf, at): Place) -> Option<(Range<K>, V)> {
        self.left -= 1;
        let (start, end, _) = self.tree.entry((leaf, at));
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
        let (front, back) = self.ends?;
        self.ends = (front != back).then(|| (self.tree.up(front), back));
        self.take(front)
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<K: Key, V, const S: usize, const L: usize, const I: usize> DoubleEndedIterator
    for IntoIter<K, V, S, L, I>
{
    fn next_back(&mut self) -> Option<Self::Item> {
        let (front, back) = self.ends?;
        self.ends = (front != back).then(|| (front, self.tree.down(back)));
        self.take(back)
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
