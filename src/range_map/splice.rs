//! Edits that two neighbouring leaves share.
//!
//! A range that is mapped over eight others reaches into a second leaf as a rule. Leaf by
//! leaf that takes three descents, and the nodes above are told twice; here it is one, and
//! they are told once. It saves a third of the instructions.

use super::node::{Doomed, Leaf};
use super::tree::Tree;

impl<V, const SMALL: usize, const LEAF: usize, const INNER: usize> Tree<V, SMALL, LEAF, INNER> {
    /// Removes `start..end`, of values that need no drop, if it reaches from the inside of
    /// one leaf to that of the next, and answers whether it did.
    pub(super) fn cut_two(
        &mut self,
        start: u64,
        end: u64,
        dup: &mut dyn FnMut(u64, &V) -> V,
    ) -> bool {
        let Some(beyond) = self.reach(start + 1, end) else { return false };
        let mut doomed: Doomed<V> = [None, None];
        let leaf = &mut self.leaves[self.path.leaf];
        if leaf.starts[0] >= start {
            return false;
        }
        let cut = leaf.cut(leaf.slots(start, end), (start, end), dup, &mut doomed);
        let Ok(edit) = cut else { return false };
        self.settle_both(edit.grew, beyond, end);
        true
    }

    /// Puts `val` on `start..end` if that displaces no value that needs a drop and reaches
    /// from one leaf to the inside of the next; else `val` stays where it is.
    pub(super) fn put_two(
        &mut self,
        start: u64,
        end: u64,
        val: &mut Option<V>,
        dup: &mut dyn FnMut(u64, &V) -> V,
    ) where
        V: PartialEq,
    {
        let Some(beyond) = self.reach(start, end) else { return };
        let leaf = &self.leaves[self.path.leaf];
        let next = &self.leaves[leaf.next];
        let touched = if next.ends[beyond - 1] > end { beyond - 1 } else { beyond };
        if next.starts[touched] <= end && val.as_ref() == Some(next.val(touched)) {
            return;
        }
        let mut doomed: Doomed<V> = [None, None];
        let leaf = &mut self.leaves[self.path.leaf];
        let put = leaf.put(leaf.slots(start, end), (start, end), val, dup, &mut doomed);
        if let Ok(edit) = put {
            // It is left where the range before is longer now.
            *val = None;
            self.settle_both(edit.grew, beyond, end);
        }
    }

    /// Points the finger at the leaf where an edit at `key` can go. If its first range does
    /// not start behind the key, and `end` lies in the next leaf, which has the same parent,
    /// before the last end of it: how many ranges of that leaf start before `end`.
    ///
    /// So neither leaf loses an edge that anyone but their parent knows of.
    fn reach(&mut self, key: u64, end: u64) -> Option<usize> {
        if self.height == 0 || self.seek(key) >= end {
            return None;
        }
        let leaf = &self.leaves[self.path.leaf];
        let (parent, slot) = self.path.at(1);
        if leaf.starts[0] > key || slot + 1 == self.inners[parent].live() {
            return None;
        }
        let next = &self.leaves[leaf.next];
        let beyond = (next.last_end() > end).then(|| next.rank(end));
        self.flush();
        beyond
    }

    /// Completes an edit by which the finger's leaf grew by so many ranges: cuts the next
    /// leaf, of which `beyond` ranges start below `end`, and takes both into account
    /// everywhere else.
    fn settle_both(&mut self, grew: isize, beyond: usize, end: u64) {
        let (parent, slot) = self.path.at(1);
        let known = |gaps: &[u64; INNER]| gaps[slot].max(gaps[slot + 1]);
        let closed = known(&self.inners[parent].gaps);
        let (leaf, next) = self.leaves.pair(self.path.leaf, self.leaves[self.path.leaf].next);
        let gone = next.cut_front(beyond, end);
        let few = Leaf::<V, LEAF>::MIN;
        let (small, small_next) = (leaf.len() < few, next.len() < few);
        let inside = leaf.starts[0] + 1;
        self.path.limit = next.starts[0];
        self.len = self.len.wrapping_add_signed(grew) - gone;
        self.reslot_both(1, parent, slot);
        if self.height > 1 {
            let opened = known(&self.inners[parent].gaps);
            self.tell_from((2, self.path.at(2).1), opened, closed);
        }
        if small || small_next {
            // The two are siblings, so that either is mended with the other.
            self.mend_leaf();
        }
        if small && small_next && self.height > 0 {
            // And what they have become may be too small.
            self.seek(inside);
            if self.leaves[self.path.leaf].len() < few {
                self.mend_leaf();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Leaf, Tree};
    use alloc::vec::Vec;

    const LEAF: usize = 15;
    type Ours<const I: usize> = Tree<u64, 31, LEAF, I>;

    /// What is done to `start..end`: a value put there, or all cut away.
    type Edit = (u64, u64, Option<u64>);

    /// Ranges of 8 keys, of which every third is followed by a gap of 2 to 6.
    fn tree<const I: usize>(count: u64) -> (Ours<I>, Vec<u64>) {
        let (mut tree, mut at) = (Tree::new(), 20);
        let mut starts = Vec::new();
        for nth in 0..count {
            tree.put(at, at + 8, nth, &mut |_, val| *val);
            starts.push(at);
            at += 8 + if nth % 3 == 0 { 2 + nth % 5 } else { 0 };
        }
        (tree, starts)
    }

    fn all<const I: usize>(tree: &Ours<I>) -> Vec<(u64, u64, u64)> {
        tree.overlapping(0, u64::MAX).map(|(start, end, val)| (start, end, *val)).collect()
    }

    fn by_leaves<const I: usize>(tree: &mut Ours<I>, (start, end, val): Edit) {
        match val {
            Some(val) => tree.put_over(start, end, val, &mut |_, val| *val),
            None => tree.cut_ranges(start, end, &mut |_, val| *val),
        }
    }

    /// Whether it was of two leaves.
    fn by_two<const I: usize>(tree: &mut Ours<I>, (start, end, val): Edit) -> bool {
        match val {
            None => tree.cut_two(start, end, &mut |_, val| *val),
            mut val => {
                tree.put_two(start, end, &mut val, &mut |_, val| *val);
                val.is_none()
            }
        }
    }

    /// Edits from each of the starts to each of the following, from and to the edges, the
    /// middle and the gap before; the values are new, or those of either neighbour.
    fn edits(starts: &[u64], widest: usize) -> Vec<Edit> {
        let mut edits = Vec::new();
        for ((nth, &from), at) in (0_u64..).zip(starts).zip(1..) {
            let beyond = starts[at..].iter().take(widest);
            for (width, &to) in (1..).zip(beyond) {
                for (start, end) in
                    [(from, to), (from + 3, to), (from, to + 3), (from + 3, to + 3), (from - 1, to)]
                {
                    for val in [
                        None,
                        Some(1_000),
                        nth.checked_sub(1),
                        Some(nth),
                        Some(nth + width - 1),
                        Some(nth + width),
                    ] {
                        edits.push((start, end, val));
                    }
                }
            }
        }
        edits
    }

    /// How many of the cuts and of the puts in a tree were of two leaves. Each is also made
    /// with a gap noted before, in the leaf where it begins.
    fn differ<const I: usize>(count: u64, widest: usize) -> [usize; 2] {
        let (whole, starts) = tree::<I>(count);
        let mut spliced = [0; 2];
        for edit in edits(&starts, widest) {
            for noted in [false, true] {
                let mut two = whole.clone();
                if noted {
                    let gap = starts[starts.partition_point(|&start| start < edit.0).max(2) - 2];
                    two.cut(gap, gap + 8, &mut |_, val| *val);
                }
                let mut leaves = two.clone();
                by_leaves(&mut leaves, edit);
                let mut public = two.clone();
                match edit {
                    (start, end, Some(val)) => public.put(start, end, val, &mut |_, val| *val),
                    (start, end, None) => public.cut(start, end, &mut |_, val| *val),
                }
                public.check();
                assert!(all(&public) == all(&leaves), "{edit:?}");
                let before = all(&two);
                let was = by_two(&mut two, edit);
                two.check();
                assert!(all(&two) == if was { all(&leaves) } else { before }, "{edit:?}");
                spliced[usize::from(edit.2.is_some())] += usize::from(was);
            }
        }
        spliced
    }

    /// Of all widths, and so that either leaf or both are left with few ranges.
    #[test]
    fn what_two_leaves_share_is_what_they_do_one_by_one() {
        for spliced in [differ::<31>(55, 40), differ::<3>(55, 40), differ::<3>(150, 9)] {
            assert!(spliced[0] > 300 && spliced[1] > 1_000, "{spliced:?}");
        }
    }

    /// Whoever makes room counts on it that leaves hold [`Leaf::MIN`].
    #[test]
    fn two_that_become_too_small_become_one_that_is_not() {
        let mut both = 0;
        let (whole, starts) = tree::<31>(60);
        for (nth, &from) in starts.iter().enumerate() {
            for &to in &starts[nth + 1..] {
                let mut tree = whole.clone();
                let leaves = tree.leaves.in_use();
                tree.cut(from, to, &mut |_, val| *val);
                tree.check();
                both += usize::from(tree.leaves.in_use() + 2 <= leaves);
            }
        }
        assert!(Leaf::<u64, LEAF>::MIN > 1 && both > 0);
    }
}
