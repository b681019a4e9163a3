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
        let Some(beyond) = self.reach(start, end) else { return false };
        let mut doomed: Doomed<V> = [None, None];
        let leaf = &mut self.leaves[self.path.leaf];
        if leaf.starts[0] == start {
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
            self.settle_both(edit.grew, beyond, end);
        }
    }

    /// Whether `start..end` begins in the finger's leaf, behind its first start or with it,
    /// and ends in the next leaf, which has the same parent, before the last end of it: how
    /// many ranges of that leaf start before the end.
    ///
    /// So neither leaf loses an edge that anyone but their parent knows of.
    fn reach(&mut self, start: u64, end: u64) -> Option<usize> {
        if self.height == 0 || self.seek(start) >= end {
            return None;
        }
        let leaf = &self.leaves[self.path.leaf];
        let (parent, slot) = self.path.at(1);
        if leaf.starts[0] > start || slot + 1 == self.inners[parent].live() {
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
        let (first, small, small_next) = (next.starts[0], leaf.len() < few, next.len() < few);
        self.path.limit = first;
        self.len = self.len.wrapping_add_signed(grew) - gone;
        self.reslot_both(1, parent, slot);
        if self.height > 1 {
            let opened = known(&self.inners[parent].gaps);
            self.tell_from((2, self.path.at(2).1), opened, closed);
        }
        if small_next && !small {
            self.seek(first + 1);
        }
        if small || small_next {
            self.mend_leaf();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Tree;
    use alloc::vec::Vec;

    /// Ranges of 8 keys with gaps of 1 to 5 behind every third, and where they start.
    fn tree<const I: usize>(count: u64) -> (Tree<u64, 31, 15, I>, Vec<u64>) {
        let (mut tree, mut at) = (Tree::new(), 0);
        let mut starts = Vec::new();
        for nth in 0..count {
            tree.put(at, at + 8, nth, &mut |_, val| *val);
            starts.push(at);
            at += 8 + if nth % 3 == 0 { 1 + nth % 5 } else { 0 };
        }
        (tree, starts)
    }

    fn all<const I: usize>(tree: &Tree<u64, 31, 15, I>) -> Vec<(u64, u64, u64)> {
        tree.overlapping(0, u64::MAX).map(|(start, end, val)| (start, end, *val)).collect()
    }

    /// Does `edit` from each range to the eighth after it, from and to the middle of them
    /// or not, once by leaves and once by what is tested here: how many of the edits were
    /// of two leaves.
    fn differ<const I: usize>(
        by_two: impl Fn(&mut Tree<u64, 31, 15, I>, u64, u64) -> bool,
        by_leaves: impl Fn(&mut Tree<u64, 31, 15, I>, u64, u64),
    ) -> usize {
        let mut spliced = 0;
        for inset in [(0, 0), (3, 0), (0, 3), (3, 3)] {
            let (whole, starts) = tree::<I>(300);
            for eighth in starts.windows(9) {
                let (start, end) = (eighth[0] + inset.0, eighth[8] + inset.1);
                let (mut two, mut leaves) = (whole.clone(), whole.clone());
                by_leaves(&mut leaves, start, end);
                if !by_two(&mut two, start, end) {
                    continue;
                }
                spliced += 1;
                two.check();
                assert!(all(&two) == all(&leaves), "{start}..{end}");
                assert_eq!(two.len, leaves.len);
            }
        }
        spliced
    }

    #[test]
    fn what_two_leaves_share_is_what_they_do_one_by_one() {
        fn put<const I: usize>(val: u64) -> usize {
            differ::<I>(
                |tree, start, end| {
                    let mut val = Some(val);
                    tree.put_two(start, end, &mut val, &mut |_, val| *val);
                    val.is_none()
                },
                |tree, start, end| tree.put_over(start, end, val, &mut |_, val| *val),
            )
        }
        fn cut<const I: usize>() -> usize {
            differ::<I>(
                |tree, start, end| tree.cut_two(start, end, &mut |_, val| *val),
                |tree, start, end| tree.cut_ranges(start, end, &mut |_, val| *val),
            )
        }
        for spliced in [put::<31>(1_000), put::<3>(1_000), cut::<31>(), cut::<3>()] {
            assert!(spliced > 150, "{spliced}");
        }
        // An equal neighbour at either end is joined, by whichever way.
        for val in (0..300).step_by(7) {
            put::<31>(val);
        }
    }
}
