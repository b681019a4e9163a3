//! The invariants of the tree, checked one by one.

use super::node::{Inner, Leaf, NIL, Summary, UNUSED};
use super::pending::Pending;
use super::tree::{Path, Tree};

/// What a walk over the tree has come by so far.
#[derive(Default)]
struct Seen {
    /// The last leaf.
    leaf: Option<u32>,
    leaves: usize,
    inners: usize,
    ranges: usize,
}

impl<V: PartialEq, const SMALL: usize, const LEAF: usize, const INNER: usize>
    Tree<V, SMALL, LEAF, INNER>
{
    /// Walks the invariants listed at [`Tree`] and panics at the first that is
    /// broken, with its number.
    pub(super) fn check(&self) {
        let mut seen = Seen::default();
        let mut last: Option<(u64, &V)> = None;
        if self.height == 0 {
            assert!(
                self.small.len() <= 1 && self.first_leaf == NIL && self.last_leaf == NIL,
                "invariant 5"
            );
            if let Some(small) = self.small.first() {
                check_leaf(small, &mut last);
                seen.ranges = small.len();
            }
            assert!(
                self.leaves.in_use() == 0 && self.inners.in_use() == 0,
                "invariant 10: nodes at height 0"
            );
        } else {
            assert!(self.inners[self.root].len >= 2, "invariant 6: a root with one child");
            self.check_node(self.height, self.root, &mut seen, &mut last);
            assert!(seen.leaf == Some(self.last_leaf), "invariant 9: the last leaf");
            assert!(self.leaves[self.last_leaf].next == NIL, "invariant 9: after the last leaf");
            assert!(self.small.len() == 1 && self.small[0].len() == 0, "invariant 11");
            assert!(self.leaves.in_use() == seen.leaves, "invariant 10: leaves");
            assert!(self.inners.in_use() == seen.inners, "invariant 10: inner nodes");
        }
        let ranges = seen.ranges;
        assert!(self.len == ranges, "invariant 10: {ranges} ranges counted as {}", self.len);
        if self.path.leaf == NIL {
            assert!(self.pending == Pending::NOTHING, "invariant 14: without a finger");
        } else {
            self.check_finger();
        }
    }

    fn check_finger(&self) {
        let finger = &self.path;
        let leaf = &self.leaves[finger.leaf];
        let mut path = Path::NOWHERE;
        self.descend(leaf.starts[0] + 1, &mut path);
        assert!(path.leaf == finger.leaf, "invariant 12");
        assert!((path.before, path.limit) == (finger.before, finger.limit), "invariant 12: edges");
        for level in 1..=self.height {
            assert!(path.at(level) == finger.at(level), "invariant 12 at level {level}");
        }
    }

    fn check_node<'a>(
        &'a self,
        level: usize,
        id: u32,
        seen: &mut Seen,
        last: &mut Option<(u64, &'a V)>,
    ) -> Summary {
        if level == 0 {
            let leaf = &self.leaves[id];
            assert!(
                leaf.len() >= Leaf::<V, LEAF>::MIN && leaf.len() <= LEAF,
                "invariant 6: a leaf of {}",
                leaf.len()
            );
            let before = seen.leaf.replace(id);
            assert!(leaf.prev == before.unwrap_or(NIL), "invariant 9: before leaf {id}");
            let next = before.map_or(self.first_leaf, |before| self.leaves[before].next);
            assert!(next == id, "invariant 9: {next} stands before leaf {id}");
            check_leaf(leaf, last);
            seen.leaves += 1;
            seen.ranges += leaf.len();
            return self.summary(0, id);
        }
        let node = &self.inners[id];
        seen.inners += 1;
        let is_root = level == self.height;
        assert!(
            (is_root || node.len >= Inner::<INNER>::MIN) && node.len <= INNER,
            "invariant 6: {} children",
            node.len
        );
        for slot in 0..node.live() {
            let child = self.check_node(level - 1, node.child[slot], seen, last);
            assert!(
                child.first == node.firsts[slot] && child.last == node.lasts[slot],
                "invariant 7"
            );
            let gap = self.expected((level, id, slot), child.gap);
            assert!(
                node.gaps[slot] == gap,
                "invariant 8: {} is not {gap} in slot {slot}",
                node.gaps[slot]
            );
        }
        assert!(
            node.firsts[node.live()..].iter().all(|&first| first == UNUSED)
                && node.gaps[node.live()..].iter().all(|&gap| gap == 0),
            "invariant 4: inner"
        );
        node.summary()
    }
}

fn check_leaf<'a, V: PartialEq, const N: usize>(
    leaf: &'a Leaf<V, N>,
    last: &mut Option<(u64, &'a V)>,
) {
    assert!(leaf.len() <= N, "invariant 6: a leaf of {}", leaf.len());
    assert!(leaf.vals.is_sound(), "invariant 13");
    for at in 0..leaf.live() {
        let (start, end, val) = (leaf.starts[at], leaf.ends[at], leaf.val(at));
        assert!(start < end, "invariant 1: {start}..{end}");
        if let Some((before, equal)) = *last {
            assert!(before <= start, "invariant 2: {start} after {before}");
            assert!(before < start || equal != val, "invariant 3: not joined at {start}");
        }
        *last = Some((end, val));
    }
    for at in leaf.live()..N {
        assert!(leaf.starts[at] == UNUSED && leaf.vals[at].is_none(), "invariant 4: slot {at}");
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use alloc::boxed::Box;
    use alloc::string::String;
    use core::panic::AssertUnwindSafe;
    use std::panic::catch_unwind;

    type Ours = Tree<u8, 7, 7, 7>;

    /// What is broken, and how.
    type Damage = (&'static str, &'static dyn Fn(&mut Ours));

    /// So many ranges of 8 keys, of two values in turns, and gaps of 2.
    fn tree(count: u64) -> Ours {
        let mut tree = Tree::new();
        for nth in 0..count {
            let (at, val) = (20 + nth * 10, u8::from(nth % 2 == 0));
            tree.put(at, at + 8, val, &mut |_, val| *val);
        }
        tree.check();
        tree
    }

    /// What `check` says.
    fn verdict(tree: &Ours) -> String {
        let outcome = catch_unwind(AssertUnwindSafe(|| tree.check()));
        let payload = outcome.err().unwrap_or_else(|| Box::new("all is well"));
        match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => String::from(*payload.downcast::<&str>().expect("a text")),
        }
    }

    fn all_are_noticed(count: u64, damages: &[Damage]) {
        for (nth, (broken, damage)) in damages.iter().enumerate() {
            let mut tree = tree(count);
            damage(&mut tree);
            let found = verdict(&tree);
            assert!(found.starts_with(broken), "damage {nth} to {broken}: {found}");
        }
    }

    #[test]
    fn damage_to_a_small_tree_is_noticed() {
        all_are_noticed(
            5,
            &[
                ("invariant 1", &|tree| tree.small[0].ends[1] = tree.small[0].starts[1]),
                ("invariant 2", &|tree| tree.small[0].ends[1] = tree.small[0].starts[2] + 1),
                ("invariant 3", &|tree| {
                    tree.small[0].ends[1] = tree.small[0].starts[2];
                    tree.small[0].vals[2] = Some(0);
                }),
                ("invariant 4", &|tree| tree.small[0].starts[6] = 1000),
                ("invariant 4", &|tree| tree.small[0].vals[6] = Some(7)),
                ("invariant 5", &|tree| tree.first_leaf = 0),
                ("invariant 5", &|tree| tree.last_leaf = 0),
                ("invariant 10", &|tree| tree.len = 4),
                ("invariant 10: nodes", &|tree| _ = tree.inners.add()),
                ("invariant 14", &|tree| tree.pending = tree_with_pending().pending),
            ],
        );
    }

    #[test]
    fn damage_to_a_large_tree_is_noticed() {
        all_are_noticed(
            200,
            &[
                ("invariant 1", &|tree| {
                    let leaf = &mut tree.leaves[tree.first_leaf];
                    leaf.ends[1] = leaf.starts[1];
                }),
                ("invariant 2", &|tree| {
                    let leaf = &tree.leaves[tree.first_leaf];
                    let (next, end) = (leaf.next, leaf.ends[leaf.live() - 1]);
                    tree.leaves[next].starts[0] = end - 1;
                }),
                ("invariant 6: a root", &|tree| {
                    let root = tree.root;
                    tree.inners[root].len = 1;
                }),
                ("invariant 7", &|tree| {
                    let root = tree.root;
                    tree.inners[root].lasts[0] += 1;
                }),
                ("invariant 8", &|tree| {
                    let root = tree.root;
                    tree.inners[root].gaps[1] += 1;
                }),
                ("invariant 9", &|tree| tree.last_leaf = tree.first_leaf),
                ("invariant 9", &|tree| {
                    let next = tree.leaves[tree.first_leaf].next;
                    tree.leaves[next].prev = NIL;
                }),
                ("invariant 9", &|tree| {
                    let next = tree.leaves[tree.first_leaf].next;
                    tree.leaves[tree.first_leaf].next = tree.leaves[next].next;
                }),
                ("invariant 10", &|tree| tree.len += 1),
                ("invariant 10: leaves", &|tree| _ = tree.leaves.add()),
                ("invariant 10: inner", &|tree| _ = tree.inners.add()),
                ("invariant 11", &|tree| tree.small.clear()),
                ("invariant 12", &|tree| tree.path.leaf = tree.first_leaf),
                ("invariant 12: edges", &|tree| tree.path.before -= 1),
                ("invariant 12: edges", &|tree| tree.path.limit -= 1),
                ("invariant 12 at level 2", &|tree| tree.path.slots[1] += 1),
            ],
        );
    }

    #[test]
    fn a_map_is_checked_with_its_tree() {
        let mut map = crate::RangeMap::from([(0_u64..2, 'a')]);
        map.tree.len = 2;
        let outcome = catch_unwind(AssertUnwindSafe(|| map.check()));
        assert!(outcome.is_err());
    }

    fn tree_with_pending() -> Ours {
        let mut tree = tree(200);
        tree.cut(1020, 1024, &mut |_, val| *val);
        assert!(tree.pending != Pending::NOTHING, "a gap that only the finger knows");
        tree
    }
}
