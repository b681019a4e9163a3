//! Where an edit goes: found once, for the look before it and for the edit.

use super::node::{Leaf, NIL, Slots};
use super::tree::Tree;

/// Where a range of keys lies, good until the next edit.
///
/// Nearly every edit concerns one leaf. Then this names the slots, and nothing is
/// looked up a second time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spot {
    /// The slots of the finger's leaf that overlap the range. The ends are the
    /// wrong way round if other leaves have some, too: this fits two registers.
    slots: Slots,
}

impl Spot {
    const WIDE: Self = Spot { slots: Slots { from: 1, to: 0 } };

    /// The slots of the ranges that overlap, if all are in the finger's leaf.
    #[inline]
    pub(super) fn slots(self) -> Option<Slots> {
        (self.slots.from <= self.slots.to).then_some(self.slots)
    }

    /// Whether nothing overlaps; not all that is so is known to be.
    #[inline]
    pub(crate) fn is_gap(self) -> bool {
        self.slots.from == self.slots.to
    }
}

/// What an edit does, at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// It removes.
    Cut,
    /// It changes what is there.
    Update,
    /// It puts a range in place of what is there, or removes.
    Put,
}

impl<V, const SMALL: usize, const LEAF: usize, const INNER: usize> Tree<V, SMALL, LEAF, INNER> {
    /// Points the finger at the leaf around `start`, and tells where in it
    /// `start..end` lies.
    #[inline]
    pub(super) fn aim(&mut self, start: u64, end: u64) -> Spot {
        if start >= end {
            return Spot::WIDE;
        }
        if self.height == 0 {
            let small = self.small.first();
            return small.map_or(Spot::WIDE, |leaf| Spot { slots: leaf.slots(start, end) });
        }
        if self.seek(start + 1) < end {
            return Spot::WIDE;
        }
        Spot { slots: self.leaves[self.path.leaf].slots(start, end) }
    }

    /// The leaf whose slots a spot names; `NIL` names the small one.
    #[inline]
    pub(super) fn aimed_leaf(&self) -> u32 {
        if self.height == 0 { NIL } else { self.path.leaf }
    }

    /// Whether an edit at `spot`, or of a part that begins at `start` too, needs no
    /// memory. That it may need some does not mean that it will.
    #[inline]
    pub(super) fn has_room(&self, spot: Spot, start: u64, extent: Extent) -> bool {
        let Some(slots) = spot.slots() else { return false };
        if self.height == 0 {
            return self.small.first().is_some_and(|leaf| leaf.has_room(slots, start, extent));
        }
        // What takes the place of the first range may go to the leaf before.
        let stays = extent != Extent::Put || slots.from > 0 || slots.to == 0;
        stays && self.leaves[self.path.leaf].has_room(slots, start, extent)
    }

    /// Whether `val` on `start..end`, at `slots`, continues a range of another leaf.
    #[inline]
    pub(super) fn joins_beyond(&self, slots: Slots, start: u64, end: u64, val: Option<&V>) -> bool
    where
        V: PartialEq,
    {
        if self.height == 0 {
            return false;
        }
        let leaf = &self.leaves[self.path.leaf];
        let before = slots.from == 0 && leaf.prev != NIL && {
            let prev = &self.leaves[leaf.prev];
            prev.last_end() == start && val == Some(prev.val(prev.live() - 1))
        };
        before
            || (slots.to == leaf.len
                && self.path.limit == end
                && leaf.next != NIL
                && val == Some(self.leaves[leaf.next].val(0)))
    }
}

impl<V, const N: usize> Leaf<V, N> {
    /// Whether an edit of the ranges in `slots`, or of those of a part that begins
    /// at `start` too, fits the leaf.
    #[inline]
    fn has_room(&self, slots: Slots, start: u64, extent: Extent) -> bool {
        // What reaches in from below stays where it is; then there is what is new,
        // or what reaches past the end of a part.
        let cut = slots.count() > 0 && self.starts[slots.from] < start;
        let new = extent != Extent::Cut;
        self.live() + usize::from(cut) + usize::from(new) <= N
    }
}
