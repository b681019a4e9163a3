//! Changes of the tree's shape that change no range: splitting, evening out,
//! joining nodes. Each leaves a whole tree behind, with no finger.

use super::arena::Node;
use super::node::{Inner, Leaf, NIL};
use super::tree::{Path, Tree};

impl<V, const SMALL: usize, const LEAF: usize, const INNER: usize> Tree<V, SMALL, LEAF, INNER> {
    /// How many leaves the small leaf becomes.
    pub(super) const GROWN_LEAVES: usize = {
        assert!(SMALL >= LEAF, "the last leaf must fit the small one");
        let leaves = if SMALL > LEAF { SMALL.div_ceil(LEAF) } else { 2 };
        assert!(leaves <= INNER, "the small leaf must fit one level of leaves");
        leaves
    };

    /// Makes room in the full leaf where an edit at `key` goes.
    ///
    /// The edit is then tried again. Every call either adds a node or evens two
    /// leaves out that differed by two ranges or more, so the tries end.
    #[cold]
    #[inline(never)]
    pub(super) fn make_room(&mut self, key: u64) {
        if self.height == 0 {
            return self.grow_first_level();
        }
        self.seek(key);
        let path = self.lift();
        if !self.spill(&path, key) {
            // All at once: where there is no memory, nothing is half done.
            self.leaves.reserve(1);
            self.inners.reserve(self.full_above(&path, 1));
            self.split_leaf(&path, key);
        }
    }

    /// Whether an edit at `key` goes to the very end, or the very beginning, of
    /// the tree, where ranges come in order as a rule.
    fn is_run(&self, leaf: u32, key: u64) -> (bool, bool) {
        let rank = self.leaves[leaf].rank(key);
        (
            leaf == self.last_leaf && rank == self.leaves[leaf].len(),
            leaf == self.first_leaf && rank <= 1,
        )
    }

    /// Turns the small leaf into leaves under a root.
    fn grow_first_level(&mut self) {
        self.leaves.reserve(Self::GROWN_LEAVES);
        self.inners.reserve(1);
        let mut small = core::mem::replace(&mut self.small[0], Leaf::new());
        let len = small.live();
        let leaves = Self::GROWN_LEAVES.min(len);
        self.root = self.inners.add();
        let mut from = 0;
        for nth in 0..leaves {
            let to = len * (nth + 1) / leaves;
            let id = self.append_leaf();
            for at in from..to {
                let val = small.vals[at].take().expect("live slots hold a value");
                self.leaves[id].push(small.starts[at], small.ends[at], val);
            }
            let root = self.root;
            self.inners[root].insert(nth, id);
            from = to;
        }
        self.height = 1;
        for nth in 0..leaves {
            self.reslot(1, self.root, nth);
        }
    }

    /// Adds an empty leaf at the end of the chain.
    pub(super) fn append_leaf(&mut self) -> u32 {
        let id = self.leaves.add();
        self.link(self.last_leaf, id);
        self.link(id, NIL);
        id
    }

    /// Makes `b` the leaf after `a`, either of which may be the end of the chain.
    pub(super) fn link(&mut self, a: u32, b: u32) {
        match a {
            NIL => self.first_leaf = b,
            a => self.leaves[a].next = b,
        }
        match b {
            NIL => self.last_leaf = a,
            b => self.leaves[b].prev = a,
        }
    }

    /// Moves ranges to a sibling that has room: a fair share under random
    /// insertion, as many as fit behind the end of an ordered run, so that
    /// leaves fill up either way.
    fn spill(&mut self, path: &Path, key: u64) -> bool {
        let (parent, slot) = path.at(1);
        let node = &self.inners[parent];
        let len = self.leaves[path.leaf].len();
        let len_of = |slot: usize| self.leaves[node.child[slot]].len();
        // At least one range must move, or the edit would be tried for ever.
        let most = len.saturating_sub(2);
        let (right, left) = (slot + 1 < node.live(), slot > 0);
        let (ascending, descending) = self.is_run(path.leaf, key);
        let movable = len - Leaf::<V, LEAF>::MIN;
        if ascending && left && movable > 0 && len_of(slot - 1) < LEAF {
            let left_len = len_of(slot - 1);
            self.share_out(parent, slot - 1, left_len + movable.min(LEAF - left_len));
        } else if descending && right && movable > 0 && len_of(slot + 1) < LEAF {
            let moved = movable.min(LEAF - len_of(slot + 1));
            self.share_out(parent, slot, len - moved);
        } else if right && len_of(slot + 1) <= most {
            let share = usize::midpoint(len, len_of(slot + 1));
            self.share_out(parent, slot, share);
        } else if left && len_of(slot - 1) <= most {
            let share = usize::midpoint(len, len_of(slot - 1));
            self.share_out(parent, slot - 1, share);
        } else {
            return false;
        }
        true
    }

    /// Moves ranges between the leaves in slots `left` and `left + 1` of
    /// `parent`, so that the left one has `share`.
    fn share_out(&mut self, parent: u32, left: usize, share: usize) {
        let node = &self.inners[parent];
        let (a, b) = self.leaves.pair(node.child[left], node.child[left + 1]);
        if a.len() > share {
            a.push_into(b, a.len() - share);
        } else {
            a.pull(b, share - a.len());
        }
        self.reslot_both(1, parent, left);
    }

    fn split_leaf(&mut self, path: &Path, key: u64) {
        let leaf = path.leaf;
        let len = self.leaves[leaf].len();
        // In an ordered run nearly all stay on one side, and the other has room
        // for those to come.
        let few = Leaf::<V, LEAF>::MIN;
        let keep = match self.is_run(leaf, key) {
            (true, _) => len - few,
            (_, true) => few,
            _ => len / 2,
        };
        let new = self.leaves.add();
        let next = self.leaves[leaf].next;
        self.link(leaf, new);
        self.link(new, next);
        let (a, b) = self.leaves.pair(leaf, new);
        a.push_into(b, len - keep);
        self.add_child(path, 1, new);
    }

    /// Adds `child`, just split off, behind the slot that the path takes at
    /// `level`, and learns anew what both slots know.
    fn add_child(&mut self, path: &Path, level: usize, child: u32) {
        if level > self.height {
            let old = self.root;
            self.root = self.inners.add();
            self.height = level;
            let root = self.root;
            for (slot, id) in [old, child].into_iter().enumerate() {
                self.inners[root].insert(slot, id);
                self.reslot(level, root, slot);
            }
            return;
        }
        let (id, slot) = path.at(level);
        let len = self.inners[id].live();
        if len < INNER {
            self.inners[id].insert(slot + 1, child);
            self.reslot_both(level, id, slot);
            return;
        }
        // Shares count the new child. At the end of a run most stay on the left.
        let total = len + 1;
        let share = if slot + 1 == len { total - Inner::<INNER>::MIN } else { total / 2 };
        let goes_left = slot + 1 < share;
        let keep = if goes_left { share - 1 } else { share };
        let new = self.inners.add();
        let (a, b) = self.inners.pair(id, new);
        a.push_into(b, len - keep);
        if goes_left {
            a.insert(slot + 1, child);
        } else {
            b.insert(slot + 1 - keep, child);
        }
        // The slots around the cut and around the new child.
        for at in [slot, slot + 1] {
            if at < share {
                self.reslot(level, id, at);
            } else {
                self.reslot(level, new, at - share);
            }
        }
        self.reslot(level, new, 0);
        self.add_child(path, level + 1, new);
    }

    /// Joins the finger's leaf, which has become too small, with a sibling, or
    /// evens the two out.
    #[cold]
    #[inline(never)]
    pub(super) fn mend_leaf(&mut self) {
        let path = self.lift();
        let (parent, slot) = path.at(1);
        let was_empty = self.leaves[path.leaf].len() == 0;
        let left = if slot + 1 < self.inners[parent].live() { slot } else { slot - 1 };
        let (a_id, b_id) = (self.inners[parent].child[left], self.inners[parent].child[left + 1]);
        let (a, b) = self.leaves.pair(a_id, b_id);
        if was_empty || a.len() + b.len() <= Leaf::<V, LEAF>::MERGE {
            let all = b.len();
            a.pull(b, all);
            let after = b.next;
            self.link(a_id, after);
            self.leaves.free(b_id);
            self.inners[parent].remove(left + 1);
            self.reslot_both(1, parent, left);
        } else {
            let share = usize::midpoint(a.len(), b.len());
            self.share_out(parent, left, share);
        }
        if was_empty {
            // With the last range of a leaf its bounds went too.
            self.refit(&path, 2);
        }
        self.mend_inner(&path, 1);
    }

    /// The same for the inner node at `level` of the path.
    fn mend_inner(&mut self, path: &Path, level: usize) {
        let (id, _) = path.at(level);
        let len = self.inners[id].live();
        if level == self.height {
            return self.drop_root(id, len);
        }
        if len >= Inner::<INNER>::MIN {
            return;
        }
        let (parent, at) = path.at(level + 1);
        let left = if at + 1 < self.inners[parent].live() { at } else { at - 1 };
        let (a_id, b_id) = (self.inners[parent].child[left], self.inners[parent].child[left + 1]);
        let (a, b) = self.inners.pair(a_id, b_id);
        let (a_len, b_len) = (a.len, b.len);
        if a_len + b_len <= Inner::<INNER>::MERGE {
            a.pull(b, b_len);
            self.reslot(level, a_id, a_len);
            self.inners.free(b_id);
            self.inners[parent].remove(left + 1);
            self.reslot_both(level + 1, parent, left);
        } else {
            let share = usize::midpoint(a_len, b_len);
            if a_len > share {
                a.push_into(b, a_len - share);
                self.reslot(level, b_id, 0);
                self.reslot(level, b_id, a_len - share);
            } else {
                a.pull(b, share - a_len);
                self.reslot(level, a_id, a_len);
                self.reslot(level, b_id, 0);
            }
            self.reslot_both(level + 1, parent, left);
        }
        self.mend_inner(path, level + 1);
    }

    /// Takes a root with one child away, and the last leaf into the small one.
    fn drop_root(&mut self, id: u32, len: usize) {
        if len > 1 {
            return;
        }
        self.root = self.inners[id].child[0];
        self.inners.free(id);
        self.height -= 1;
        if self.height > 0 {
            return;
        }
        let last = core::mem::replace(&mut self.leaves[self.root], Leaf::EMPTY);
        // Their memory stays: it may be what was reserved for edits to come.
        self.leaves.forget_all();
        self.inners.forget_all();
        (self.root, self.first_leaf, self.last_leaf) = (NIL, NIL, NIL);
        self.fill_small(last);
    }

    /// Moves the ranges of the only leaf to the small one, which is empty.
    pub(super) fn fill_small(&mut self, mut last: Leaf<V, LEAF>) {
        let small = self.small_leaf();
        for at in 0..last.live() {
            let val = last.vals[at].take().expect("live slots hold a value");
            small.push(last.starts[at], last.ends[at], val);
        }
    }

    /// Learns anew what the slots `left` and, if there is one, `left + 1` know.
    pub(super) fn reslot_both(&mut self, level: usize, id: u32, left: usize) {
        self.reslot(level, id, left);
        if left + 1 < self.inners[id].live() {
            self.reslot(level, id, left + 1);
        }
    }
}
