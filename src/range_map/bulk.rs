//! Work on the whole tree at once: building it, thinning it out, copying it.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

use super::arena::Node;
use super::node::{Inner, Leaf, NIL};
use super::pending::Pending;
use super::tree::{Path, Tree};

impl<V, const SMALL: usize, const LEAF: usize, const INNER: usize> Tree<V, SMALL, LEAF, INNER> {
    /// How full leaves are packed: a range that is cut in three still fits.
    const PACKED: usize = if LEAF > 4 { LEAF - Leaf::<V, LEAF>::SLACK } else { LEAF };

    /// Adds a range behind all others, which do not continue it. The index is
    /// out of date until `finish`.
    pub(super) fn append(&mut self, start: u64, end: u64, val: V) {
        if self.last_leaf == NIL || self.leaves[self.last_leaf].len() >= Self::PACKED {
            self.append_leaf();
        }
        self.leaves[self.last_leaf].push(start, end, val);
    }

    /// The end of the last range of the chain, and its value.
    pub(super) fn last_appended(&mut self) -> Option<(&mut u64, &V)> {
        if self.last_leaf == NIL {
            return None;
        }
        let leaf = &mut self.leaves[self.last_leaf];
        let at = leaf.live().checked_sub(1)?;
        Some((&mut leaf.ends[at], leaf.vals[at].as_ref()?))
    }

    /// Turns the chain of leaves into a tree again.
    ///
    /// Needs no memory if the tree had as many leaves before.
    pub(super) fn finish(&mut self) {
        // What was pending is nothing that the new nodes do not know.
        (self.path, self.pending) = (Path::NOWHERE, Pending::NOTHING);
        self.pack();
        self.len = 0;
        let mut leaf = self.first_leaf;
        while leaf != NIL {
            self.len += self.leaves[leaf].len();
            leaf = self.leaves[leaf].next;
        }
        if self.first_leaf == self.last_leaf {
            return self.become_small();
        }
        self.small_leaf();
        self.index();
    }

    /// Moves ranges to the front of the chain until leaves are full enough, and
    /// frees those that are left over.
    fn pack(&mut self) {
        let mut leaf = self.first_leaf;
        while leaf != NIL {
            let next = self.leaves[leaf].next;
            if next == NIL {
                break;
            }
            let (a, b) = self.leaves.pair(leaf, next);
            let count = b.len().min(Self::PACKED.saturating_sub(a.len()));
            a.pull(b, count);
            if b.len() == 0 {
                let after = b.next;
                self.link(leaf, after);
                self.leaves.free(next);
            } else {
                leaf = next;
            }
        }
        if leaf == NIL {
            return;
        }
        let (prev, last) = (self.leaves[leaf].prev, self.leaves[leaf].len());
        if prev != NIL && last < Leaf::<V, LEAF>::MIN {
            let (a, b) = self.leaves.pair(prev, leaf);
            a.push_into(b, (a.len() - b.len()) / 2);
        }
    }

    /// Takes what is left in at most one leaf into the small one.
    fn become_small(&mut self) {
        let last = match self.last_leaf {
            NIL => None,
            leaf => Some(core::mem::replace(&mut self.leaves[leaf], Leaf::EMPTY)),
        };
        self.leaves.release();
        self.inners.release();
        (self.root, self.first_leaf, self.last_leaf, self.height) = (NIL, NIL, NIL, 0);
        if let Some(last) = last {
            self.fill_small(last);
        }
    }

    /// Builds the inner nodes anew over two leaves or more.
    fn index(&mut self) {
        self.inners.forget_all();
        self.height = 0;
        let mut count = 0usize;
        let mut leaf = self.first_leaf;
        while leaf != NIL {
            count += 1;
            leaf = self.leaves[leaf].next;
        }
        let mut next = self.first_leaf;
        while count > 1 {
            self.height += 1;
            let nodes = count.div_ceil(INNER);
            let mut first = NIL;
            for nth in 0..nodes {
                let id = self.inners.add();
                if first == NIL {
                    first = id;
                }
                // Equal shares; the first ones take one more of what is over.
                let children = count / nodes + usize::from(nth < count % nodes);
                for slot in 0..children {
                    self.inners[id].insert(slot, next);
                    self.reslot(self.height, id, slot);
                    // Leaves are chained; inner nodes were added in order.
                    next = if self.height == 1 { self.leaves[next].next } else { next + 1 };
                }
            }
            (next, count) = (first, nodes);
        }
        self.root = next;
    }

    /// Keeps the ranges that `keep` wants; all that were not asked about stay
    /// when it panics. When the drop of a value does, the others go on.
    pub(super) fn retain(&mut self, keep: &mut dyn FnMut(u64, u64, &V) -> bool) {
        if let Some(small) = self.small.first_mut()
            && self.height == 0
        {
            let gone = small.retain(keep);
            self.len = small.len();
            drop(gone);
            return;
        }
        Retain { leaf: self.first_leaf, asks: false, tree: self, keep }.go_on();
    }
}

/// A walk over the leaves that thins them out, and makes a tree of them when dropped.
struct Retain<'a, V, const SMALL: usize, const LEAF: usize, const INNER: usize> {
    tree: &'a mut Tree<V, SMALL, LEAF, INNER>,
    keep: &'a mut dyn FnMut(u64, u64, &V) -> bool,
    /// The next leaf.
    leaf: u32,
    /// Whether `keep` is being asked.
    asks: bool,
}

impl<V, const SMALL: usize, const LEAF: usize, const INNER: usize>
    Retain<'_, V, SMALL, LEAF, INNER>
{
    fn go_on(&mut self) {
        while self.leaf != NIL {
            let leaf = &mut self.tree.leaves[self.leaf];
            self.asks = true;
            let gone = leaf.retain(self.keep);
            self.asks = false;
            self.leaf = leaf.next;
            drop(gone);
        }
    }
}

impl<V, const SMALL: usize, const LEAF: usize, const INNER: usize> Drop
    for Retain<'_, V, SMALL, LEAF, INNER>
{
    fn drop(&mut self) {
        if !self.asks {
            self.go_on();
        }
        self.tree.finish();
    }
}

impl<V: Clone, const SMALL: usize, const LEAF: usize, const INNER: usize> Clone
    for Tree<V, SMALL, LEAF, INNER>
{
    /// Copies blocks, unless most of what is in them is free.
    fn clone(&self) -> Self {
        if self.height == 0 {
            let mut small = Vec::new();
            if self.len > 0 {
                small.reserve_exact(1);
                small.extend(self.small.iter().cloned());
            }
            return Tree { small, len: self.len, ..Tree::new() };
        }
        let mut copy = Tree::new();
        if self.leaves.is_sparse() {
            let mut leaf = self.first_leaf;
            while leaf != NIL {
                let view = self.view(leaf);
                for at in 0..view.len() {
                    copy.append(view.starts[at], view.ends[at], view.val(at).clone());
                }
                leaf = self.leaves[leaf].next;
            }
            copy.finish();
            return copy;
        }
        copy.small_leaf();
        (copy.leaves, copy.inners) = (self.leaves.clone(), self.inners.clone());
        copy.shape_like(self);
        copy
    }
}

impl<V: Clone, const SMALL: usize, const LEAF: usize, const INNER: usize>
    Tree<V, SMALL, LEAF, INNER>
{
    /// A copy by blocks, if there is memory.
    pub(super) fn try_clone(&self) -> Result<Self, TryReserveError> {
        let mut copy = Tree::new();
        if self.len > 0 {
            copy.small.try_reserve_exact(1)?;
            copy.small.extend(self.small.iter().cloned());
            (copy.leaves, copy.inners) = (self.leaves.try_clone()?, self.inners.try_clone()?);
            copy.shape_like(self);
        }
        Ok(copy)
    }

    /// Takes over where things are from a tree with the same nodes.
    fn shape_like(&mut self, other: &Self) {
        (self.root, self.height, self.len) = (other.root, other.height, other.len);
        (self.first_leaf, self.last_leaf) = (other.first_leaf, other.last_leaf);
        self.path.clone_from(&other.path);
        self.pending = other.pending;
    }
}

// The bound that lets a clone of plain values be a copy of blocks.
const _: () = {
    const fn copy<T: Copy>() {}
    copy::<Leaf<u64, 15>>();
    copy::<Inner<31>>();
};
