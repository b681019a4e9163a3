//! Where an edit goes: found once, for the look before it and for the edit.

use super::node::{Leaf, NIL, Slots, narrow};
use super::tree::Tree;

/// Where a range of keys lies, good until the finger moves: the next edit, the next
/// search for a spot and securing memory all move it.
///
/// Nearly every edit concerns one leaf. Then this names the slots, and nothing is
/// looked up a second time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spot {
    // Bytes, so that a spot fits a register.
    from: u8,
    to: u8,
    /// Whether `from..to` are the slots of the finger's leaf that overlap the range,
    /// and other leaves have none.
    local: bool,
    room: bool,
}

impl Spot {
    const WIDE: Self = Spot { from: 0, to: 0, local: false, room: false };

    #[inline]
    fn new(slots: Slots, room: bool) -> Self {
        Spot { from: narrow(slots.from), to: narrow(slots.to), local: true, room }
    }

    /// The slots of the ranges that overlap, if all are in the finger's leaf.
    #[inline]
    pub(super) fn slots(self) -> Option<Slots> {
        let slots = Slots { from: usize::from(self.from), to: usize::from(self.to) };
        self.local.then_some(slots)
    }

    /// Whether nothing overlaps; not all that is so is known to be.
    #[inline]
    pub(crate) fn is_gap(self) -> bool {
        self.local && self.from == self.to
    }

    /// Whether the edit that the spot was found for, or one of a part of the range
    /// that begins with it, needs no memory. If not, it may need some or none.
    #[inline]
    pub(crate) fn has_room(self) -> bool {
        self.room
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
    /// Points the finger at a leaf where an edit at `start` can go, and answers the slots
    /// of it that `start..end` overlaps, if no other leaf has such.
    #[inline(always)]
    pub(super) fn seek_slots(&mut self, start: u64, end: u64) -> Option<Slots> {
        if start >= end {
            None
        } else if self.height == 0 {
            Some(self.small.first()?.slots(start, end))
        } else if self.seek(start + 1) < end {
            None
        } else {
            Some(self.leaves[self.path.leaf].slots(start, end))
        }
    }

    /// The same, for an edit that does no more than `extent` says and comes later.
    #[inline(never)]
    pub(super) fn aim(&mut self, start: u64, end: u64, extent: Extent) -> Spot {
        let Some(slots) = self.seek_slots(start, end) else {
            // Where nothing is, only a put needs something.
            return Spot { room: self.len == 0 && extent != Extent::Put, ..Spot::WIDE };
        };
        if let (0, Some(small)) = (self.height, self.small.first()) {
            return Spot::new(slots, small.has_room(slots, start, extent));
        }
        // What takes the place of the first range may go to the leaf before.
        let stays = extent != Extent::Put || slots.from > 0 || slots.to == 0;
        let leaf = &self.leaves[self.path.leaf];
        Spot::new(slots, stays && leaf.has_room(slots, start, extent))
    }

    /// The leaf whose slots a spot names; `NIL` names the small one.
    #[inline]
    pub(super) fn aimed_leaf(&self) -> u32 {
        if self.height == 0 { NIL } else { self.path.leaf }
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
            || (slots.to == leaf.len()
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

#[cfg(test)]
mod tests {
    use super::{Extent, Tree};
    use alloc::boxed::Box;
    use alloc::vec::Vec;

    type Ours<V, const L: usize> = Tree<V, L, L, 3>;

    /// Free slots of every second leaf, and of the others.
    type Free = [usize; 2];

    /// Ranges of 8 keys, every third followed by a gap, in leaves with as many free slots
    /// as said, as far as can be.
    fn tree<V: Clone + PartialEq, const L: usize>(free: Free, val: fn(u64) -> V) -> Ours<V, L> {
        let mut tree = Ours::new();
        let starts: Vec<u64> = (0..).take(4 * L).map(|nth| 20 + nth * 8 + nth / 3 * 2).collect();
        for (nth, &at) in (0..).zip(&starts) {
            tree.put(at, at + 8, val(nth), &mut |_, val| val.clone());
        }
        for at in starts {
            let (leaf, _) = tree.locate(at + 1);
            let free = free[usize::from(leaf % 2 == 0)];
            if tree.leaves[leaf].len() + free < L {
                tree.cut(at + 6, at + 7, &mut |_, val| val.clone());
            } else if tree.leaves[leaf].len() + free > L {
                tree.cut(at, at + 8, &mut |_, val| val.clone());
            }
        }
        tree.check();
        tree
    }

    /// How many edits were found to have room. They take no node.
    fn with_room<V: Clone + PartialEq, const L: usize>(free: Free, val: fn(u64) -> V) -> usize {
        let dup = &mut |_: u64, val: &V| val.clone();
        let whole = tree::<V, L>(free, val);
        let nodes = |tree: &Ours<V, L>| (tree.leaves.in_use(), tree.inners.in_use());
        let mut found = 0;
        for start in (18..).take(34 * L) {
            for (len, part) in [(1, 1), (3, 2), (8, 8), (8, 3), (11, 11), (11, 9), (30, 30)] {
                for extent in [Extent::Cut, Extent::Update, Extent::Put] {
                    let mut tree = whole.clone();
                    if !tree.aim(start, start + len, extent).has_room() {
                        continue;
                    }
                    found += 1;
                    let (before, end) = (nodes(&tree), start + part);
                    match extent {
                        Extent::Cut => tree.cut(start, end, dup),
                        Extent::Update => {
                            let slots = tree.seek_slots(start, end);
                            tree.update_at(slots, start, end, |_, _, old| *old = val(2_000), dup);
                        }
                        Extent::Put => tree.put(start, end, val(2_000), dup),
                    }
                    tree.check();
                    let after = nodes(&tree);
                    let more = after.0 > before.0 || after.1 > before.1;
                    assert!(!more, "{extent:?} of {start}..{end}, {free:?} free: {after:?}");
                }
            }
        }
        found
    }

    #[test]
    fn what_has_room_takes_no_memory() {
        for free in [[0, 0], [1, 0], [0, 1], [2, 0], [0, 2], [2, 2]] {
            let found = [
                with_room::<u64, 3>(free, |nth| nth),
                with_room::<u64, 15>(free, |nth| nth),
                with_room::<Box<u64>, 7>(free, Box::new),
                with_room::<Box<u64>, 15>(free, Box::new),
            ];
            assert!(found.iter().all(|&found| found > 90), "{free:?} free: {found:?}");
        }
    }
}
