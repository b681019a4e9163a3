//! The gap that the last edit opened, should the next one close it.
//!
//! What is unmapped is often mapped again at once, or the other way round. To know
//! the largest gap of a node after that, one would have to look at all its slots;
//! it is cheaper to remember what it was.

use super::tree::Tree;

/// More levels than trees have as a rule; above, slots are looked at.
const LEVELS: usize = 8;

/// A gap in the finger's leaf that became the largest one under the slots of the
/// finger's path, on the lowest levels.
#[derive(Clone, Copy)]
pub(super) struct Peak {
    /// Its size; 0 if there is none.
    gap: u64,
    /// The largest gap that vanished when it was opened.
    closed: u64,
    /// On how many levels it became the largest.
    levels: usize,
    /// What the largest gap was there until then.
    before: [u64; LEVELS],
}

impl Peak {
    pub(super) const NONE: Self = Peak { gap: 0, closed: 0, levels: 0, before: [0; LEVELS] };

    #[inline]
    pub(super) fn forget(&mut self) {
        self.gap = 0;
    }
}

impl<V, const SMALL: usize, const LEAF: usize, const INNER: usize> Tree<V, SMALL, LEAF, INNER> {
    /// Makes every slot of the finger's path know a gap of `gap`, which was opened
    /// and took in gaps of up to `closed`.
    #[inline]
    pub(super) fn raise(&mut self, gap: u64, closed: u64) {
        (self.peak.gap, self.peak.closed, self.peak.levels) = (gap, closed, 0);
        for level in 1..=self.height {
            let (id, slot) = self.path.at(level);
            let known = &mut self.inners[id].gaps[slot];
            if *known >= gap {
                return;
            }
            let before = core::mem::replace(known, gap);
            if level <= LEVELS {
                self.peak.before[level - 1] = before;
                self.peak.levels = level;
            }
        }
    }

    /// Lets the slots of the finger's path know the largest gap again, after one of
    /// `closed`, which may have been the largest, gave way to one of `opened`, and
    /// was the `only` one that did.
    #[inline]
    pub(super) fn lower(&mut self, opened: u64, closed: u64, only: bool) {
        let mut level = 1;
        if self.peak.gap == closed && only {
            while level <= self.peak.levels {
                let before = self.peak.before[level - 1];
                if opened < before && before <= self.peak.closed {
                    // It was one that the peak took in. Others may be smaller.
                    break;
                }
                let (id, slot) = self.path.at(level);
                self.inners[id].gaps[slot] = before.max(opened);
                level += 1;
            }
        }
        self.peak.forget();
        if level <= self.height {
            self.look_for_largest(level, closed);
        }
    }

    /// Panics if invariant 14 does not hold; the finger is set.
    pub(super) fn check_peak(&self) {
        let Peak { gap, closed, levels, before } = self.peak;
        if gap == 0 {
            return;
        }
        let leaf = &self.leaves[self.path.leaf];
        let at = (0..leaf.live()).find(|&at| leaf.gap_before(at) == gap);
        let at = at.expect("invariant 14: the peak is a gap of the finger's leaf");
        let mut others = leaf.gaps_before(0, at - 1).max(leaf.gaps_before(at + 1, leaf.live()));
        for (level, before) in (1..=levels).zip(before) {
            let (id, slot) = self.path.at(level);
            let node = &self.inners[id];
            others = others.max(node.lead(slot));
            assert!(node.gaps[slot] == gap && others < gap, "invariant 14 at level {level}");
            assert!(
                others == before || (others < before && before <= closed),
                "invariant 14: {others} is not {before} at level {level}"
            );
            let gaps = (0..node.live()).filter(|&at| at != slot).map(|at| node.gaps[at]);
            others = others.max(gaps.max().unwrap_or(0));
        }
    }

    /// Looks for the largest gap anew, from `level` up, where it may have been one
    /// of `gap` that is gone.
    fn look_for_largest(&mut self, level: usize, gap: u64) {
        for level in level..=self.height {
            let (id, slot) = self.path.at(level);
            let node = &self.inners[id];
            if node.gaps[slot] > gap {
                return;
            }
            let left = self.max_gap(level - 1, node.child[slot]).max(node.lead(slot));
            if left == gap {
                return;
            }
            self.inners[id].gaps[slot] = left;
        }
    }
}
