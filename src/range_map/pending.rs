//! What the nodes above the finger's leaf have not been told yet.
//!
//! What is unmapped is often mapped again at once. So a gap that grew inside of a leaf
//! is noted here, and told to the nodes above when something else happens. If it is
//! closed before that, they never hear of it: this saves a third of the instructions of
//! such a pair, most of what exact bounds cost.

use super::node::Edit;
use super::tree::Tree;

/// Gaps inside of the finger's leaf of up to `closed` became gaps of up to `opened`,
/// which is more. Until it is told, what the slots of the finger's path know holds for
/// what was before.
///
/// So what they know can be too little, and a search has to look into the finger's leaf
/// as well. It is never so much that a search looks there in vain: what is closed is
/// part of what is opened.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Pending {
    /// 0 if there is nothing to tell.
    pub(super) opened: u64,
    closed: u64,
}

impl Pending {
    pub(super) const NOTHING: Self = Pending { opened: 0, closed: 0 };
}

impl<V, const SMALL: usize, const LEAF: usize, const INNER: usize> Tree<V, SMALL, LEAF, INNER> {
    /// Takes into account what an edit did to the gaps inside of the finger's leaf.
    #[inline]
    pub(super) fn note(&mut self, edit: Edit) {
        let Edit { opened, closed, .. } = edit;
        if opened == closed {
            return;
        }
        if self.pending == (Pending { opened: closed, closed: opened }) && edit.only {
            self.pending = Pending::NOTHING;
        } else if self.pending == Pending::NOTHING && opened > closed {
            self.pending = Pending { opened, closed };
        } else {
            self.tell(edit);
        }
    }

    /// Tells the nodes above the finger's leaf what is pending.
    #[inline]
    pub(super) fn flush(&mut self) {
        if self.pending != Pending::NOTHING {
            let gap = core::mem::replace(&mut self.pending, Pending::NOTHING).opened;
            self.raise(gap);
        }
    }

    /// Lets the slots of the finger's path know a gap that was opened.
    #[inline(never)]
    fn raise(&mut self, gap: u64) {
        for level in 1..=self.height {
            let (id, slot) = self.path.at(level);
            let known = &mut self.inners[id].gaps[slot];
            if *known >= gap {
                return;
            }
            *known = gap;
        }
    }

    /// Tells the nodes above the finger's leaf about an edit and what was pending.
    #[inline(never)]
    fn tell(&mut self, Edit { opened, closed, only, .. }: Edit) {
        let pending = self.pending;
        if only && closed == pending.opened {
            // They never heard of what is gone again. (And what is put into the middle of
            // a gap makes two of it, of which one could not be pending alone.)
            self.pending = Pending::NOTHING;
            if opened > pending.closed { self.raise(opened) } else { self.lower(pending.closed) }
        } else {
            self.flush();
            if opened > closed {
                self.pending = Pending { opened, closed };
            } else {
                self.lower(closed);
            }
        }
    }

    /// Lets the slots of the finger's path know the largest gap again, after one of
    /// `closed` gave way to smaller ones. A slot looks below only where its largest gap
    /// may be the one that is gone.
    fn lower(&mut self, closed: u64) {
        for level in 1..=self.height {
            let (id, slot) = self.path.at(level);
            let node = &self.inners[id];
            if node.gaps[slot] > closed {
                return;
            }
            let left = self.max_gap(level - 1, node.child[slot]).max(node.lead(slot));
            if left == node.gaps[slot] {
                return;
            }
            self.inners[id].gaps[slot] = left;
        }
    }

    /// Panics if invariant 14 does not hold; `known` is what the slot of the finger's
    /// leaf knows, and `lead` the gap before the leaf.
    pub(super) fn check_pending(&self, known: u64, lead: u64) {
        let Pending { opened, closed } = self.pending;
        assert!(opened > closed, "invariant 14: nothing grew");
        let leaf = &self.leaves[self.path.leaf];
        let at = (1..leaf.live()).find(|&at| leaf.gap_before(at) == opened);
        let at = at.expect("invariant 14: what was opened is a gap of the finger's leaf");
        let others = leaf.gaps_before(0, at - 1).max(leaf.gaps_before(at + 1, leaf.live()));
        let others = others.max(lead);
        assert!(
            others == known || (others < known && known <= closed),
            "invariant 14: {known} is known of {others}"
        );
    }
}
