//! Edits of ranges: put, cut, take, update, merge.

use core::mem::needs_drop;

use super::node::{Doomed, Edit, Full, Leaf, NIL, Slots, UNUSED};
use super::tree::Tree;

/// Does something to the leaf of the last `seek`, of whichever kind it is.
macro_rules! on_leaf {
    ($tree:expr, $leaf:ident => $act:expr) => {
        if $tree.height == 0 {
            let $leaf = $tree.small_leaf();
            $act
        } else {
            let $leaf = &mut $tree.leaves[$tree.path.leaf];
            $act
        }
    };
}

impl<V, const SMALL: usize, const LEAF: usize, const INNER: usize> Tree<V, SMALL, LEAF, INNER> {
    /// The small leaf, allocated if this is the first edit.
    pub(super) fn small_leaf(&mut self) -> &mut Leaf<V, SMALL> {
        if self.small.is_empty() {
            self.small.reserve_exact(1);
            self.small.push(Leaf::new());
        }
        &mut self.small[0]
    }

    /// Makes `start..end` free of ranges, also when dropping one of the values
    /// panics.
    #[inline]
    pub(super) fn cut(&mut self, start: u64, end: u64, dup: &mut dyn FnMut(u64, &V) -> V) {
        let slots = self.seek_slots(start, end);
        self.cut_at(slots, start, end, dup);
    }

    /// The same where the slots are known.
    #[inline]
    pub(super) fn cut_at(
        &mut self,
        slots: Option<Slots>,
        start: u64,
        end: u64,
        dup: &mut dyn FnMut(u64, &V) -> V,
    ) {
        if let Some(slots) = slots
            && (slots.count() <= 1 || !needs_drop::<V>())
        {
            // Dropped at the end, when the tree is whole.
            let mut doomed: Doomed<V> = [None, None];
            let cut = on_leaf!(self, leaf => leaf.cut(slots, (start, end), dup, &mut doomed));
            if let Ok(edit) = cut {
                return self.settle(edit);
            }
        }
        self.cut_wide(start, end, dup);
    }

    /// The same, leaf by leaf.
    #[inline(never)]
    fn cut_wide(&mut self, start: u64, end: u64, dup: &mut dyn FnMut(u64, &V) -> V) {
        if start < end && !needs_drop::<V>() && self.cut_two(start, end, dup) {
            return;
        }
        let mut cut = |tree: &mut Self| tree.cut_ranges(start, end, dup);
        if needs_drop::<V>() { to_the_end(self, cut) } else { cut(self) }
    }

    pub(super) fn cut_ranges(&mut self, start: u64, end: u64, dup: &mut dyn FnMut(u64, &V) -> V) {
        if start >= end || self.len == 0 {
            return;
        }
        // A descent for this key ends in the leaf of the range around `start`.
        let mut key = start + 1;
        loop {
            let limit = self.seek(key);
            // Dropped at the end of the step, when the tree is whole.
            let mut doomed: Doomed<V> = [None, None];
            let cut = on_leaf!(self, leaf => {
                leaf.cut(leaf.slots(start, end), (start, end), dup, &mut doomed)
            });
            let Ok(edit) = cut else {
                self.make_room(key);
                continue;
            };
            let more_here = needs_drop::<V>() && edit.grew < 0;
            self.settle(edit);
            if more_here {
                continue;
            }
            if limit >= end {
                return;
            }
            key = limit + 1;
        }
    }

    /// Takes out the range that starts at `start`.
    fn take_at(&mut self, start: u64) -> (u64, V) {
        self.seek(start + 1);
        let (end, edit, val) = on_leaf!(self, leaf => take_last_before(leaf, start + 1));
        self.settle(edit);
        (end, val)
    }

    /// The first piece of a range in `low..high`.
    pub(super) fn first_piece(&self, low: u64, high: u64) -> Option<(u64, u64)> {
        let (start, end, _) = self.overlapping(low, high).next()?;
        Some((start.max(low), end.min(high)))
    }

    /// The last piece of a range in `low..high`.
    pub(super) fn last_piece(&self, low: u64, high: u64) -> Option<(u64, u64)> {
        let (start, end, _) = self.overlapping(low, high).next_back()?;
        Some((start.max(low), end.min(high)))
    }

    /// Takes out the piece `start..end` of one range.
    pub(super) fn take_piece(
        &mut self,
        start: u64,
        end: u64,
        dup: &mut dyn FnMut(u64, &V) -> V,
    ) -> Option<V> {
        let (range_start, range_end, val) = self.get(start)?;
        if range_start == start && range_end == end {
            return Some(self.take_at(start).1);
        }
        let val = dup(start, val);
        self.cut(start, end, dup);
        Some(val)
    }

    /// Puts `val` on `start..end`, over what is there, also when dropping what
    /// was there panics.
    #[inline]
    pub(super) fn put(&mut self, start: u64, end: u64, val: V, dup: &mut dyn FnMut(u64, &V) -> V)
    where
        V: PartialEq,
    {
        if start < end {
            let slots = self.seek_slots(start, end);
            self.put_at(slots, start, end, val, dup);
        }
    }

    /// The same where the slots are known.
    #[inline]
    pub(super) fn put_at(
        &mut self,
        slots: Option<Slots>,
        start: u64,
        end: u64,
        val: V,
        dup: &mut dyn FnMut(u64, &V) -> V,
    ) where
        V: PartialEq,
    {
        let mut val = Some(val);
        if let Some(slots) = slots
            && (slots.count() == 0 || !needs_drop::<V>())
            && !self.joins_beyond(slots, start, end, val.as_ref())
        {
            // Dropped at the end, when the tree is whole.
            let mut doomed: Doomed<V> = [None, None];
            let put = on_leaf!(self, leaf => {
                leaf.put(slots, (start, end), &mut val, dup, &mut doomed)
            });
            if let Ok(edit) = put {
                return self.settle(edit);
            }
        }
        if let Some(val) = val {
            self.put_wide(start, end, val, dup);
        }
    }

    /// The same, whatever other leaves it touches.
    #[inline(never)]
    fn put_wide(&mut self, start: u64, end: u64, val: V, dup: &mut dyn FnMut(u64, &V) -> V)
    where
        V: PartialEq,
    {
        if needs_drop::<V>() && self.covers_whole_range(start, end) {
            let put = Put { tree: self, start, end, val: Some(val), dup };
            return put.tree.cut_ranges(start, end, put.dup);
        }
        let mut val = Some(val);
        if !needs_drop::<V>() {
            self.put_two(start, end, &mut val, dup);
        }
        if let Some(val) = val {
            self.put_over(start, end, val, dup);
        }
    }

    /// Puts `val` on `start..end`, where it displaces no value that needs a drop.
    pub(super) fn put_over(
        &mut self,
        start: u64,
        end: u64,
        val: V,
        dup: &mut dyn FnMut(u64, &V) -> V,
    ) where
        V: PartialEq,
    {
        let mut end = end;
        let mut val = Some(val);
        // Both are dropped at the end, when the tree is whole.
        let mut doomed: Doomed<V> = [None, None];
        let mut joined = None;
        loop {
            let limit = self.seek(start);
            if limit < end {
                self.cut_ranges(limit, end, dup);
                continue;
            }
            if limit == end && limit != UNUSED {
                let next = self.leaves[self.path.leaf].next;
                let (next_end, next_val) = (self.leaves[next].ends[0], self.leaves[next].val(0));
                if val.as_ref() == Some(next_val) {
                    // The rest of what is put comes from the next leaf.
                    joined = Some(self.take_at(end).1);
                    end = next_end;
                    continue;
                }
            }
            let put = on_leaf!(self, leaf => {
                leaf.put(leaf.slots(start, end), (start, end), &mut val, dup, &mut doomed)
            });
            match put {
                Ok(edit) => {
                    self.settle(edit);
                    return drop((joined, doomed));
                }
                Err(Full) => self.make_room(start),
            }
        }
    }

    /// Whether a range lies inside `start..end` with both ends.
    fn covers_whole_range(&self, start: u64, end: u64) -> bool {
        let (leaf, at) = self.locate(start);
        let view = self.view(leaf);
        if at < view.len() {
            return view.ends[at] <= end;
        }
        match if leaf == NIL { NIL } else { self.leaves[leaf].next } {
            NIL => false,
            next => self.leaves[next].ends[0] <= end,
        }
    }

    /// Cuts the ranges around `start` and `end`, if there are any, in two there,
    /// and tells where the leaf after the one at `start` starts.
    fn isolate(&mut self, start: u64, end: u64, dup: &mut dyn FnMut(u64, &V) -> V) -> u64 {
        let limit = loop {
            let limit = self.seek(start);
            // A range that reaches past `end` is in this leaf if it ends here.
            let to = if limit < end { start } else { end };
            match on_leaf!(self, leaf => leaf.isolate(start, to, dup)) {
                Ok(grew) => {
                    self.resize(grew);
                    break limit;
                }
                Err(Full) => self.make_room(start),
            }
        };
        if limit >= end {
            return limit;
        }
        loop {
            self.seek(end);
            match on_leaf!(self, leaf => leaf.isolate(end, end, dup)) {
                Ok(grew) => break self.resize(grew),
                Err(Full) => self.make_room(end),
            }
        }
        self.seek(start)
    }

    /// Isolates the pieces of `start..end`, which lies at `slots`, lets `change`
    /// change their values, and joins what has become equal, also when `change`
    /// panics.
    #[inline]
    pub(super) fn update_at(
        &mut self,
        slots: Option<Slots>,
        start: u64,
        end: u64,
        mut change: impl FnMut(u64, u64, &mut V),
        dup: &mut dyn FnMut(u64, &V) -> V,
    ) where
        V: PartialEq,
    {
        if let Some(slots) = slots
            && slots.count() <= 1
        {
            if slots.count() == 0 {
                return;
            }
            let at = slots.from;
            let isolated = on_leaf!(self, leaf => leaf.isolate_slot(at, (start, end), dup));
            if let Ok((at, grew)) = isolated {
                self.len += grew;
                let joined = Joined { tree: self, at: Some(at), start, end };
                on_leaf!(joined.tree, leaf => leaf.change_slot(at, &mut change));
                return;
            }
        }
        self.update_wide(start, end, &mut change, dup);
    }

    /// The same, leaf by leaf.
    #[inline(never)]
    fn update_wide(
        &mut self,
        start: u64,
        end: u64,
        change: &mut dyn FnMut(u64, u64, &mut V),
        dup: &mut dyn FnMut(u64, &V) -> V,
    ) where
        V: PartialEq,
    {
        if start >= end || self.len == 0 {
            return;
        }
        let joined = Joined { tree: self, at: None, start, end };
        let mut limit = joined.tree.isolate(start, end, dup);
        on_leaf!(joined.tree, leaf => leaf.change(start, end, change));
        let mut leaf = joined.tree.path.leaf;
        while limit < end {
            leaf = joined.tree.leaves[leaf].next;
            joined.tree.leaves[leaf].change(start, end, change);
            limit = match joined.tree.leaves[leaf].next {
                NIL => UNUSED,
                next => joined.tree.leaves[next].starts[0],
            };
        }
    }

    /// Joins the range in slot `at` of the finger's leaf with equal neighbours.
    #[inline]
    fn merge_slot(&mut self, at: usize, start: u64, end: u64)
    where
        V: PartialEq,
    {
        // A neighbour in another leaf that may be one to join.
        if self.height > 0 {
            let leaf = &self.leaves[self.path.leaf];
            let first = at == 0 && leaf.prev != NIL && self.leaves[leaf.prev].last_end() == start;
            if first || (at + 1 == leaf.len() && self.path.limit == end) {
                return self.merge(start, end);
            }
        }
        let mut doomed: Doomed<V> = [None, None];
        let grew = on_leaf!(self, leaf => leaf.merge_around(at, &mut doomed));
        self.resize(grew);
    }

    /// Joins equal ranges that touch at or between `start` and `end`.
    fn merge(&mut self, start: u64, end: u64)
    where
        V: PartialEq,
    {
        let mut key = start;
        loop {
            let limit = self.seek(key);
            let mut doomed: Doomed<V> = [None, None];
            let grew = on_leaf!(self, leaf => leaf.merge(start, end, &mut doomed));
            // If the leaf is mended away now, `key` finds its ranges again.
            self.resize(grew);
            if needs_drop::<V>() && grew < 0 {
                continue;
            }
            if limit > end || limit == UNUSED {
                return;
            }
            self.merge_at_limit(key);
            key = limit + 1;
        }
    }

    /// Joins the last range of the leaf at `key` with the first of the next leaf
    /// if they touch and are equal.
    fn merge_at_limit(&mut self, key: u64)
    where
        V: PartialEq,
    {
        let limit = self.seek(key);
        if self.height == 0 || limit == UNUSED {
            return;
        }
        let leaf = &self.leaves[self.path.leaf];
        let last = leaf.live() - 1;
        if leaf.ends[last] != limit || leaf.val(last) != self.leaves[leaf.next].val(0) {
            return;
        }
        let (parent, slot) = self.path.at(1);
        if slot + 1 < self.inners[parent].live() && self.leaves[leaf.next].len() > 1 {
            return self.join_sibling();
        }
        // The right one goes first: a hole for a moment, and never an overlap.
        let (end, _displaced) = self.take_at(limit);
        self.seek(limit);
        // The next leaf was mended with one behind it, or was empty: this one is as before.
        on_leaf!(self, leaf => leaf.extend_last(end));
        self.settle(Edit::NOTHING);
    }

    /// Joins the last range of the finger's leaf with the first of the next leaf,
    /// which has more and the same parent.
    ///
    /// No gap opens or closes: the one behind the first range of the next leaf is
    /// then the one before that leaf, which the same slot knows. And both leaves
    /// lie inside of what the nodes above know of their parent.
    fn join_sibling(&mut self) {
        let left = self.path.leaf;
        let (parent, slot) = self.path.at(1);
        let (leaf, next) = self.leaves.pair(left, self.leaves[left].next);
        let (end, _displaced) = next.take_first();
        leaf.extend_last(end);
        let (start, small) = (next.starts[0], next.len() < Leaf::<V, LEAF>::MIN);
        let node = &mut self.inners[parent];
        (node.lasts[slot], node.firsts[slot + 1]) = (end, start);
        self.path.limit = start;
        self.len -= 1;
        if small {
            // The two are siblings, so that either is mended with the other.
            self.mend_leaf();
        }
    }
}

/// Does `step`, and when it panics does it once more: what a value's panicking
/// `drop` interrupted is completed before the panic goes on.
fn to_the_end<T>(tree: &mut T, step: impl FnMut(&mut T)) {
    struct Again<'a, T, F: FnMut(&mut T)>(&'a mut T, F);
    impl<T, F: FnMut(&mut T)> Drop for Again<'_, T, F> {
        fn drop(&mut self) {
            (self.1)(self.0);
        }
    }
    let mut again = Again(tree, step);
    (again.1)(again.0);
    core::mem::forget(again);
}

/// Joins what is equal when it is dropped, after a change of `start..end`; if that
/// is one range, it is in slot `at` of the finger's leaf.
struct Joined<'a, V: PartialEq, const S: usize, const L: usize, const I: usize> {
    tree: &'a mut Tree<V, S, L, I>,
    at: Option<usize>,
    start: u64,
    end: u64,
}

impl<V: PartialEq, const S: usize, const L: usize, const I: usize> Drop for Joined<'_, V, S, L, I> {
    #[inline]
    fn drop(&mut self) {
        match self.at {
            Some(at) => self.tree.merge_slot(at, self.start, self.end),
            None => self.tree.merge(self.start, self.end),
        }
    }
}

/// A value on its way in: put when this is dropped, over a range then free.
struct Put<'a, V: PartialEq, const S: usize, const L: usize, const I: usize> {
    tree: &'a mut Tree<V, S, L, I>,
    start: u64,
    end: u64,
    val: Option<V>,
    dup: &'a mut dyn FnMut(u64, &V) -> V,
}

impl<V: PartialEq, const S: usize, const L: usize, const I: usize> Drop for Put<'_, V, S, L, I> {
    fn drop(&mut self) {
        let Some(val) = self.val.take() else { return };
        self.tree.cut_ranges(self.start, self.end, self.dup);
        self.tree.put_over(self.start, self.end, val, self.dup);
    }
}

/// Takes out the last range that starts below `key`.
fn take_last_before<V, const N: usize>(leaf: &mut Leaf<V, N>, key: u64) -> (u64, Edit, V) {
    let at = leaf.rank(key) - 1;
    let end = leaf.ends[at];
    let (edit, val) = leaf.take(at);
    (end, edit, val.expect("live slots hold a value"))
}
