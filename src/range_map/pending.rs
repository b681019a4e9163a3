//! What an edit tells the nodes above its leaf, and when.
//!
//! What is unmapped is often mapped again at once. So a gap that grew at the finger is
//! noted here, and told to the nodes above when something else happens. If it is closed
//! before that, they never hear of it: this saves a seventh of the instructions of such a
//! pair.

use super::node::{Edit, NIL, UNUSED};
use super::tree::{Path, Tree};

/// Gaps of up to `inside` between ranges of the finger's leaf and one of `beside` at an
/// edge of it became one of `opened`, which is more. Until that is told, the nodes above
/// know what was so before.
///
/// So they can know too little, and a search has to look around the finger's leaf as
/// well. They never know so much that a search finds nothing: what is closed is part of
/// what is opened.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Pending {
    place: Place,
    /// 0 if there is nothing to tell.
    pub(super) opened: u64,
    inside: u64,
    beside: u64,
}

/// Where a gap lies, seen from the finger's leaf.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Before,
    Inside,
    After,
}

impl Pending {
    pub(super) const NOTHING: Self =
        Pending { place: Place::Inside, opened: 0, inside: 0, beside: 0 };
}

impl<V, const SMALL: usize, const LEAF: usize, const INNER: usize> Tree<V, SMALL, LEAF, INNER> {
    /// Takes an edit into account that left the edges of the finger's leaf in place.
    #[inline]
    pub(super) fn note_inside(&mut self, edit: Edit) {
        let Edit { opened, closed, only, .. } = edit;
        let place = Place::Inside;
        if only && self.pending == (Pending { place, opened: closed, inside: opened, beside: 0 }) {
            self.pending = Pending::NOTHING;
        } else if opened > closed && self.pending == Pending::NOTHING {
            self.pending = Pending { place, opened, inside: closed, beside: 0 };
        } else {
            self.flush();
            self.tell(place, opened, closed);
        }
    }

    /// Takes an edit into account that may have moved the edges of the finger's leaf.
    #[inline(never)]
    pub(super) fn note_edges(&mut self, edit: Edit) {
        let leaf = &self.leaves[self.path.leaf];
        if leaf.len() == 0 {
            // What is known of it goes with it.
            self.pending = Pending::NOTHING;
            return;
        }
        let (first, last, is_first) = (leaf.starts[0], leaf.last_end(), leaf.prev == NIL);
        let (id, slot) = self.path.at(1);
        let (old_first, old_last) = (self.inners[id].firsts[slot], self.inners[id].lasts[slot]);
        if (first, last) == (old_first, old_last) {
            return self.note_inside(edit);
        }
        self.set_edges(first, last);
        let Path { before, limit, .. } = self.path;
        let front = if is_first { (0, 0) } else { (old_first - before, first - before) };
        let back = if limit == UNUSED { (0, 0) } else { (limit - old_last, limit - last) };
        if first == old_first || last == old_last {
            let (place, (old, new)) =
                if last == old_last { (Place::Before, front) } else { (Place::After, back) };
            let Edit { opened, closed, only, .. } = edit;
            let undone = Pending { place, opened: old, inside: opened, beside: new };
            if self.pending == undone && closed == 0 && only {
                self.pending = Pending::NOTHING;
                return;
            }
            if self.pending == Pending::NOTHING && opened == 0 && new > old.max(closed) {
                self.pending = Pending { place, opened: new, inside: closed, beside: old };
                return;
            }
        }
        self.flush();
        self.tell(Place::Inside, edit.opened, edit.closed);
        self.tell(Place::Before, front.1, front.0);
        self.tell(Place::After, back.1, back.0);
    }

    /// Tells the nodes above the finger's leaf what is pending.
    #[inline]
    pub(super) fn flush(&mut self) {
        if self.pending.opened != 0 {
            self.tell_pending();
        }
    }

    #[inline(never)]
    fn tell_pending(&mut self) {
        let Pending { place, opened, inside, beside } =
            core::mem::replace(&mut self.pending, Pending::NOTHING);
        if place != Place::Inside {
            self.tell(Place::Inside, 0, inside);
        }
        self.tell(place, opened, beside);
    }

    /// Tells the nodes above the finger's leaf where it begins and ends.
    fn set_edges(&mut self, first: u64, last: u64) {
        let (mut is_first, mut is_last) = (true, true);
        for level in 1..=self.height {
            let (id, slot) = self.path.at(level);
            let node = &mut self.inners[id];
            if is_first {
                node.firsts[slot] = first;
            }
            if is_last {
                node.lasts[slot] = last;
            }
            is_first &= slot == 0;
            is_last &= slot + 1 == node.live();
            if !is_first && !is_last {
                return;
            }
        }
    }

    /// Tells those above the finger's leaf that know of the gaps at `place` of what was
    /// opened and closed there, each at the most.
    ///
    /// What they know stays exact at little cost: a slot looks below only where its
    /// largest gap may be one that was closed.
    #[inline(never)]
    fn tell(&mut self, place: Place, opened: u64, closed: u64) {
        if opened != closed
            && let Some(lowest) = self.knows_of(place)
        {
            self.tell_from(lowest, opened, closed);
        }
    }

    /// The same from a level up, and from a slot there on the finger's path or behind it.
    pub(super) fn tell_from(
        &mut self,
        (lowest, mut at): (usize, usize),
        mut opened: u64,
        mut closed: u64,
    ) {
        for level in lowest..=self.height {
            let (id, slot) = self.path.at(level);
            if level > lowest {
                at = slot;
            }
            let node = &self.inners[id];
            let known = node.gaps[at];
            if opened < known {
                if closed < known {
                    return;
                }
                opened = self.max_gap(level - 1, node.child[at]).max(node.lead(at));
            }
            if opened == known {
                return;
            }
            self.inners[id].gaps[at] = opened;
            closed = known;
        }
    }

    /// The lowest level, and the slot there, that knows of the gaps at a place. Further
    /// up the slots of the finger's path do.
    fn knows_of(&self, place: Place) -> Option<(usize, usize)> {
        (1..=self.height).find_map(|level| {
            let (id, slot) = self.path.at(level);
            match place {
                Place::Before => (slot > 0).then_some((level, slot)),
                Place::Inside => Some((level, slot)),
                Place::After => (slot + 1 < self.inners[id].live()).then_some((level, slot + 1)),
            }
        })
    }

    /// What slot `at` of inner node `id` at `level` ought to know, if `below` is known
    /// there; panics if what is pending is not so (invariant 14).
    pub(super) fn expected(&self, (level, id, at): (usize, u32, usize), below: u64) -> u64 {
        let Pending { place, opened, inside, beside } = self.pending;
        let node = &self.inners[id];
        let (mut below, mut before) = (below, node.lead(at));
        if opened == 0 {
            return below.max(before);
        }
        assert!(opened > inside.max(beside), "invariant 14: nothing grew");
        if level == 1 && node.child[at] == self.path.leaf {
            if place == Place::Inside {
                let leaf = &self.leaves[self.path.leaf];
                let gap = (1..leaf.live()).find(|&at| leaf.gap_before(at) == opened);
                let gap = gap.expect("invariant 14: what was opened is inside of the leaf");
                below = leaf.gaps_before(0, gap - 1).max(leaf.gaps_before(gap + 1, leaf.live()));
            }
            below = below.max(inside);
        }
        if place != Place::Inside
            && id == self.path.at(level).0
            && self.knows_of(place) == Some((level, at))
        {
            assert!(before == opened, "invariant 14: what was opened is beside the leaf");
            before = beside;
        }
        below.max(before)
    }
}

#[cfg(test)]
mod tests {
    use super::{Pending, Place, Tree};
    use alloc::vec::Vec;

    /// Ranges of 8 keys; every third is followed by a gap of 1 to 5.
    fn tree() -> (Tree<u64, 31, 15, 31>, Vec<u64>) {
        let (mut tree, mut at) = (Tree::new(), 0);
        let mut starts = Vec::new();
        for nth in 0..2_000 {
            tree.put(at, at + 8, nth, &mut |_, val| *val);
            starts.push(at);
            at += 8 + if nth % 3 == 0 { 1 + nth % 5 } else { 0 };
        }
        (tree, starts)
    }

    fn known<const I: usize>(tree: &Tree<u64, 31, 15, I>) -> Vec<u64> {
        let ids = (0..u32::MAX).take(tree.inners.in_use());
        ids.flat_map(|id| tree.inners[id].gaps).collect()
    }

    /// Wherever in its leaf a range lies, but for the ends of the map.
    #[test]
    fn nobody_hears_of_what_is_unmapped_and_mapped_again() {
        let (mut tree, starts) = tree();
        let before = known(&tree);
        let mut seen = [0; 3];
        for (nth, &at) in (0_u64..).zip(&starts).skip(1).take(starts.len() - 2) {
            tree.cut(at, at + 8, &mut |_, val| *val);
            assert!(tree.pending.opened >= 8, "nothing is noted of {at}");
            assert!(known(&tree) == before, "told when {at} went");
            let place = match tree.pending.place {
                Place::Before => 0,
                Place::Inside => 1,
                Place::After => 2,
            };
            seen[place] += 1;
            tree.check();
            tree.put(at, at + 8, nth, &mut |_, val| *val);
            assert!(tree.pending == Pending::NOTHING, "still noted of {at}");
            assert!(known(&tree) == before, "told when {at} came back");
        }
        tree.check();
        assert!(seen.iter().all(|&count| count > 100), "{seen:?}");
    }

    /// As another edit does, and a larger gap is then found from above.
    #[test]
    fn they_hear_of_it_when_something_else_happens() {
        let (mut tree, starts) = tree();
        let end = starts[starts.len() - 1] + 8;
        for (&at, &other) in starts.iter().skip(1).zip(starts.iter().rev()).take(900) {
            tree.cut(at, at + 8, &mut |_, val| *val);
            let gap = tree.next_gap(8, 0, end);
            assert!(gap.is_some_and(|gap| gap.0 <= at && at + 8 <= gap.1), "{gap:?} for {at}");
            assert_eq!(tree.prev_gap(8, 0, end), gap);
            tree.put(other + 2, other + 4, 1, &mut |_, val| *val);
            tree.check();
            assert!(tree.pending.opened < 8, "only noted of {at}");
            assert_eq!((tree.next_gap(8, 0, end), tree.prev_gap(8, 0, end)), (gap, gap));
            tree.put(at, at + 8, at, &mut |_, val| *val);
            tree.check();
            assert_eq!(tree.next_gap(8, 0, end), None);
        }
    }
}
