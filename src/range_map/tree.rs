//! The tree: where things are, and what each node knows of those below it.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

use super::arena::Arena;
use super::node::{Edit, Inner, Leaf, NIL, Summary, UNUSED, narrow};
use super::pending::Pending;
use super::shelf::lookup;

/// More levels than 2^32 leaves can need, as every node has two children.
pub(super) const MAX_HEIGHT: usize = 32;

/// A gap-tracking B+-tree over `u64`, the engine of [`RangeMap`](super::RangeMap).
///
/// Up to `SMALL` ranges are one leaf, which is a small block of its own. More
/// live in leaves of `LEAF` ranges, chained in order, under inner nodes of
/// `INNER` children.
//
// Invariants, checked by `check` in this order:
//  1. Every range is non-empty.
//  2. Ranges are disjoint and ascend, within leaves and over all of them.
//  3. Two ranges that touch have different values.
//  4. Unused slots start at `UNUSED`, hold no value, and know of no gap.
//  5. All leaves have the same depth, `height`; at height 0 the small leaf is the tree.
//  6. A leaf holds MIN to LEAF ranges, an inner node MIN (the root: 2) to INNER children.
//  7. A slot knows exactly the first start and the last end under its child.
//  8. A slot knows exactly the largest gap under its child, the one before the
//     child included unless it is the first of its node.
//  9. The chain of leaves is the order of the tree, in both directions.
// 10. `len` counts the ranges; every node of an arena is in the tree or free.
// 11. While `height` is not 0 the small leaf is allocated and empty, so that
//     the way back to it needs no memory.
// 12. The finger, when it is set, is a path that a descent would take.
// 13. The slots of a leaf have their values in different places.
// 14. What is pending is a gap at the finger; if there is one, 8 holds for what was so
//     before it was opened.
pub(super) struct Tree<V, const SMALL: usize, const LEAF: usize, const INNER: usize> {
    /// Holds at most one leaf. Nothing is allocated for an empty tree.
    pub(super) small: Vec<Leaf<V, SMALL>>,
    pub(super) leaves: Arena<Leaf<V, LEAF>>,
    pub(super) inners: Arena<Inner<INNER>>,
    pub(super) root: u32,
    pub(super) height: usize,
    pub(super) len: usize,
    pub(super) first_leaf: u32,
    pub(super) last_leaf: u32,
    pub(super) path: Path,
    pub(super) pending: Pending,
}

/// The way from the root to a leaf; kept as a finger to the last edited one.
#[derive(Clone)]
pub(super) struct Path {
    /// The leaf at the bottom, or `NIL`: the path leads nowhere.
    pub(super) leaf: u32,
    /// Where the ranges before the leaf end; 0 if there are none.
    pub(super) before: u64,
    /// Where the next leaf starts; `UNUSED` behind the last one.
    pub(super) limit: u64,
    /// The inner nodes, from level 1, the parents of leaves, up to the root, and the
    /// slots through which the path goes down from them.
    nodes: [u32; MAX_HEIGHT],
    pub(super) slots: [u8; MAX_HEIGHT],
}

impl Path {
    pub(super) const NOWHERE: Self = Path {
        leaf: NIL,
        before: UNUSED,
        limit: 0,
        nodes: [NIL; MAX_HEIGHT],
        slots: [0; MAX_HEIGHT],
    };

    /// The inner node at `level`, counted from 1, and the slot taken there.
    #[inline]
    pub(super) fn at(&self, level: usize) -> (u32, usize) {
        (self.nodes[level - 1], usize::from(self.slots[level - 1]))
    }
}

/// The live part of a leaf of either kind.
pub(super) struct View<'a, V> {
    pub(super) starts: &'a [u64],
    pub(super) ends: &'a [u64],
    pub(super) vals: (&'a [u8], &'a [Option<V>]),
}

impl<V> Clone for View<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<V> Copy for View<'_, V> {}

impl<'a, V> View<'a, V> {
    pub(super) const EMPTY: Self = View { starts: &[], ends: &[], vals: (&[], &[]) };

    fn of<const N: usize>(leaf: &'a Leaf<V, N>) -> Self {
        let len = leaf.live();
        View { starts: &leaf.starts[..len], ends: &leaf.ends[..len], vals: leaf.vals.parts() }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    #[inline]
    pub(super) fn val(&self, at: usize) -> &'a V {
        lookup(self.vals, at).expect("live slots hold a value")
    }
}

impl<V, const SMALL: usize, const LEAF: usize, const INNER: usize> Tree<V, SMALL, LEAF, INNER> {
    pub(super) const fn new() -> Self {
        Tree {
            small: Vec::new(),
            leaves: Arena::new(),
            inners: Arena::new(),
            root: NIL,
            height: 0,
            len: 0,
            first_leaf: NIL,
            last_leaf: NIL,
            path: Path::NOWHERE,
            pending: Pending::NOTHING,
        }
    }

    /// The ranges of a leaf; `NIL` names the small one.
    #[inline]
    pub(super) fn view(&self, leaf: u32) -> View<'_, V> {
        if leaf == NIL {
            self.small.first().map_or(View::EMPTY, View::of)
        } else {
            View::of(&self.leaves[leaf])
        }
    }

    // Finding.

    /// The leaf with the last range that starts below `key`, or the first leaf,
    /// without looking at the finger. The tree has inner nodes.
    #[inline]
    fn leaf_of(&self, key: u64) -> u32 {
        let mut id = self.root;
        for _ in 0..self.height {
            let node = &self.inners[id];
            id = node.child[node.slot(key)];
        }
        id
    }

    /// The leaf with the last range that starts below `key`, or the first leaf,
    /// and how many ranges of it start below `key`.
    #[inline]
    pub(super) fn locate(&self, key: u64) -> (u32, usize) {
        if self.height == 0 {
            return (NIL, self.small.first().map_or(0, |leaf| leaf.rank(key)));
        }
        let leaf =
            if self.descent_ends_at_finger(key) { self.path.leaf } else { self.leaf_of(key) };
        (leaf, self.leaves[leaf].rank(key))
    }

    /// The range around `key`. Goes past the finger, which random keys only miss.
    #[inline]
    pub(super) fn get(&self, key: u64) -> Option<(u64, u64, &V)> {
        let below = key.checked_add(1)?;
        if self.height == 0 {
            return around(self.small.first()?, key, below);
        }
        around(&self.leaves[self.leaf_of(below)], key, below)
    }

    /// Whether an edit at `key` can go to the leaf where the finger points. A descent
    /// may end in the leaf before it, if no range of this one starts below `key`.
    #[inline]
    pub(super) fn finger_holds(&self, key: u64) -> bool {
        self.path.before < key && key <= self.path.limit
    }

    /// The path to the leaf with the last range that starts below `key`; below
    /// all ranges, to the first leaf. The tree has inner nodes.
    pub(super) fn descend(&self, key: u64, path: &mut Path) {
        descend(&self.inners, (self.root, self.height), key, path);
    }

    /// Whether a descent for `key` would end where the finger points.
    #[inline]
    fn descent_ends_at_finger(&self, key: u64) -> bool {
        self.finger_holds(key) && self.leaves[self.path.leaf].starts[0] < key
    }

    /// Points the finger at a leaf where an edit at `key` can go, and tells where the
    /// next leaf starts.
    ///
    /// What the edit touches lies in that leaf, a left neighbour to join included, but
    /// for what lies at or behind the limit.
    #[inline]
    pub(super) fn seek(&mut self, key: u64) -> u64 {
        if self.height == 0 {
            return UNUSED;
        }
        if !self.finger_holds(key) {
            self.move_finger(key);
        }
        self.path.limit
    }

    #[inline(never)]
    fn move_finger(&mut self, key: u64) {
        self.flush();
        descend(&self.inners, (self.root, self.height), key, &mut self.path);
    }

    /// Takes the finger away, which every change of the shape must.
    pub(super) fn lift(&mut self) -> Path {
        self.flush();
        core::mem::replace(&mut self.path, Path::NOWHERE)
    }

    // Knowing: what the inner nodes hold about those below them.

    pub(super) fn summary(&self, level: usize, id: u32) -> Summary {
        if level == 0 {
            let leaf = &self.leaves[id];
            Summary { first: leaf.starts[0], last: leaf.last_end(), gap: leaf.max_gap() }
        } else {
            self.inners[id].summary()
        }
    }

    pub(super) fn max_gap(&self, level: usize, id: u32) -> u64 {
        if level == 0 { self.leaves[id].max_gap() } else { self.inners[id].max_gap() }
    }

    /// Learns anew what slot `slot` of inner node `id` at `level` knows.
    pub(super) fn reslot(&mut self, level: usize, id: u32, slot: usize) {
        let summary = self.summary(level - 1, self.inners[id].child[slot]);
        self.inners[id].set(slot, summary);
    }

    /// Learns anew what the slots on `path` know, from `level` up to the root.
    pub(super) fn refit(&mut self, path: &Path, level: usize) {
        for level in level..=self.height {
            let (id, slot) = path.at(level);
            self.reslot_both(level, id, slot);
        }
    }

    /// Takes an edit of the finger's leaf into account everywhere else. The
    /// tree is whole afterwards: what was displaced can be dropped.
    #[inline(always)]
    pub(super) fn settle(&mut self, edit: Edit) {
        if self.height > 0 {
            if edit.inside { self.note_inside(edit) } else { self.note_edges(edit) }
        }
        self.resize(edit.grew);
    }

    /// The same for an edit that changed no gap and neither edge of the leaf.
    #[inline]
    pub(super) fn resize(&mut self, grew: isize) {
        self.len = self.len.wrapping_add_signed(grew);
        if grew < 0 && self.height > 0 && self.leaves[self.path.leaf].len() < Leaf::<V, LEAF>::MIN {
            self.mend_leaf();
        }
    }

    // Memory.

    /// Secures what an edit of `start..end`, or of a part that begins there,
    /// can need.
    pub(super) fn try_reserve_edit(&mut self, start: u64, end: u64) -> Result<(), TryReserveError> {
        if self.height == 0 {
            if self.small.capacity() == 0 {
                self.small.try_reserve_exact(1)?;
            }
            if self.len + Leaf::<V, SMALL>::SLACK <= SMALL {
                return Ok(());
            }
            // The leaves that it grows into have room, unless capacities are tiny.
            let slack = Leaf::<V, LEAF>::SLACK;
            let roomy = SMALL.div_ceil(Self::GROWN_LEAVES) + slack <= LEAF;
            let leaves = Self::GROWN_LEAVES + if roomy { 0 } else { 2 * slack };
            self.leaves.try_reserve(leaves)?;
            return self.inners.try_reserve(if leaves <= INNER { 1 } else { 2 + 2 * slack });
        }
        // As the edit will, should it have to split the leaf and look again.
        if !self.descent_ends_at_finger(start) {
            self.move_finger(start);
        }
        let Path { mut leaf, mut limit, .. } = self.path;
        let mut inners = None;
        loop {
            if self.leaves[leaf].len() + Leaf::<V, LEAF>::SLACK > LEAF {
                let mut path = Path::NOWHERE;
                // Just behind its first start, so that the descent ends in this leaf.
                self.descend(self.leaves[leaf].starts[0] + 1, &mut path);
                inners = inners.max(Some(self.full_above(&path, 2 * Leaf::<V, LEAF>::SLACK)));
            }
            if limit >= end {
                break;
            }
            leaf = self.leaves[leaf].next;
            let next = self.leaves[leaf].next;
            limit = if next == NIL { UNUSED } else { self.leaves[next].starts[0] };
        }
        let Some(inners) = inners else { return Ok(()) };
        // An edit adds at most two ranges, and each can split a leaf once and
        // once more where capacities are tiny.
        self.leaves.try_reserve(2 * Leaf::<V, LEAF>::SLACK)?;
        self.inners.try_reserve(2 * Leaf::<V, LEAF>::SLACK * inners)
    }

    /// Counts the inner nodes that `splits` splits of leaves at the end of `path`
    /// can add, each at most.
    pub(super) fn full_above(&self, path: &Path, splits: usize) -> usize {
        for level in 1..=self.height {
            let (id, _) = path.at(level);
            if self.inners[id].len + splits <= INNER {
                return level - 1;
            }
        }
        self.height + 1
    }

    /// Secures what `count` edits can need, wherever they are.
    pub(super) fn try_reserve_inserts(&mut self, count: usize) -> Result<(), TryReserveError> {
        if count == 0 {
            return Ok(());
        }
        if self.small.capacity() == 0 {
            self.small.try_reserve_exact(1)?;
        }
        // Every edit adds at most two ranges, and splits a leaf for each; all
        // the same, no leaf holds fewer than MIN.
        let added = count.saturating_mul(Leaf::<V, LEAF>::SLACK);
        if self.height == 0 && self.len.saturating_add(added) <= SMALL {
            return Ok(());
        }
        let splits = added.saturating_add(Self::GROWN_LEAVES);
        let most = self.len.saturating_add(added) / Leaf::<V, LEAF>::MIN + 1;
        let leaves = splits.min(most.saturating_sub(self.leaves.in_use()).saturating_add(1));
        self.leaves.try_reserve(leaves)?;
        // At each level a split below splits at most one node. What was split takes
        // MIN more children before it is full again; but all that there are may be full
        // now. Above the root nothing is.
        let mut inners = self.height + 2;
        let mut splits = leaves;
        for _ in 0..self.height {
            let again = splits / (Inner::<INNER>::MIN - 1) + 1;
            splits = splits.min(self.inners.in_use().saturating_add(again));
            inners = inners.saturating_add(splits);
        }
        while splits > 0 {
            splits /= Inner::<INNER>::MIN;
            inners = inners.saturating_add(splits + 1);
        }
        self.inners.try_reserve(inners)
    }
}

#[inline]
fn around<V, const N: usize>(leaf: &Leaf<V, N>, key: u64, below: u64) -> Option<(u64, u64, &V)> {
    let at = leaf.rank(below).checked_sub(1)?;
    let end = leaf.ends[at];
    if end > key { Some((leaf.starts[at], end, leaf.val(at))) } else { None }
}

/// See [`Tree::descend`]; apart from the tree so that the path can be its finger.
#[inline]
fn descend<const N: usize>(
    inners: &Arena<Inner<N>>,
    (root, height): (u32, usize),
    key: u64,
    path: &mut Path,
) {
    let mut id = root;
    let (mut before, mut limit) = (0, UNUSED);
    let steps = path.nodes[..height].iter_mut().zip(&mut path.slots[..height]);
    for step in steps.rev() {
        let node = &inners[id];
        let slot = node.slot(key);
        (*step.0, *step.1) = (id, narrow(slot));
        if slot > 0 {
            before = node.lasts[slot - 1];
        }
        if slot + 1 < node.live() {
            limit = node.firsts[slot + 1];
        }
        id = node.child[slot];
    }
    (path.leaf, path.before, path.limit) = (id, before, limit);
}

#[cfg(test)]
mod tests {
    use crate::RangeMap;

    /// Nodes that are allocated, of each kind.
    fn capacities<V, const S: usize, const L: usize, const I: usize>(
        map: &RangeMap<u64, V, S, L, I>,
    ) -> [usize; 3] {
        let tree = &map.tree;
        [tree.small.capacity(), tree.leaves.capacity(), tree.inners.capacity()]
    }

    /// Full leaves under full inner nodes, of which each is to be split.
    #[test]
    fn memory_for_many_edits_is_enough_where_all_nodes_are_full() {
        let mut full = RangeMap::<u64, u8>::new();
        for at in 0..15 * 959 + 13 {
            full.insert(4 * at..4 * at + 3, 0); // ascending: leaves of 15
        }
        full.retain(|_, _| true); // inner nodes of 31
        for edits in 1..=31 {
            let mut map = full.clone();
            map.try_reserve_inserts(edits).unwrap();
            let before = capacities(&map);
            for edit in (0_u64..).take(edits) {
                // One in the middle of each inner node's children.
                let at = 4 * (15 * (31 * edit + 15) + 7);
                map.remove(at + 1..at + 2);
            }
            map.check();
            assert_eq!(capacities(&map), before, "{edits} edits");
        }
    }

    /// Cuts ranges in three, as long as there are such to cut, and then adds others.
    fn many_edits<const S: usize, const L: usize, const I: usize>(
        full: &RangeMap<u64, u64, S, L, I>,
        edits: usize,
        stride: u64,
    ) {
        let ranges = full.last().map_or(0, |(last, _)| last.end / 10);
        // A copy is allocated no more nodes than there are.
        let mut map = full.clone();
        map.try_reserve_inserts(edits).unwrap();
        let before = capacities(&map);
        for edit in (0..).take(edits) {
            let at = match (edit * stride).checked_rem(ranges) {
                Some(nth) if edit < 4 * ranges => 10 * nth + 1 + edit / ranges * 2,
                _ => 10 * (ranges + edit),
            };
            map.insert(at..at + 1, 1_000 + edit);
        }
        map.check();
        assert_eq!(capacities(&map), before, "{edits} edits of {ranges}, {S} {L} {I}");
    }

    fn holds<const S: usize, const L: usize, const I: usize>(ranges: u64) {
        for step in [1, 7, 17] {
            let mut full = RangeMap::<u64, u64, S, L, I>::default();
            for nth in (0..ranges).map(|nth| nth * step % ranges) {
                full.insert(10 * nth..10 * nth + 10, nth);
            }
            for edits in [1, 2, 3, 4, 5, 7, 9, 12, 30, 100] {
                many_edits(&full, edits, 1);
                many_edits(&full, edits, step);
            }
        }
    }

    #[test]
    fn memory_for_many_edits_is_enough_wherever_they_are() {
        for ranges in (0..40).chain([61, 100, 211, 400]) {
            holds::<3, 3, 3>(ranges);
            holds::<7, 3, 3>(ranges);
            holds::<7, 7, 7>(ranges);
            holds::<31, 15, 31>(ranges);
        }
    }
}
