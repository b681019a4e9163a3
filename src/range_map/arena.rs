//! Nodes of one kind in one block, named by number.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

#[cfg(test)]
use super::effort;
use super::node::{Inner, Leaf, NIL, ix};

/// A node that can stand in the list of free ones.
pub(super) trait Node {
    /// Where a free node keeps the number of the next free one.
    fn link(&mut self) -> &mut u32;
    /// A node with nothing in it.
    const EMPTY: Self;
    /// How many nodes to ask for at once, at the least.
    const STEP: usize;
}

impl<V, const N: usize> Node for Leaf<V, N> {
    const EMPTY: Self = Leaf::new();
    const STEP: usize = 4;
    fn link(&mut self) -> &mut u32 {
        &mut self.next
    }
}

impl<const N: usize> Node for Inner<N> {
    const EMPTY: Self = Inner::new();
    const STEP: usize = 1;
    fn link(&mut self) -> &mut u32 {
        &mut self.child[0]
    }
}

/// Numbered nodes; the free ones are linked, so that freeing needs no memory.
#[derive(Clone)]
pub(super) struct Arena<T> {
    nodes: Vec<T>,
    free: u32,
    free_count: usize,
}

impl<T: Node> Arena<T> {
    pub(super) const fn new() -> Self {
        Arena { nodes: Vec::new(), free: NIL, free_count: 0 }
    }

    /// How many nodes to allocate so that `count` can be added, if not enough
    /// are free: a sixteenth more each time, so that copies cost a constant per
    /// node, and little lies idle.
    fn missing(&self, count: usize) -> Option<usize> {
        let missing = count.checked_sub(self.free_count)?;
        if missing <= self.nodes.capacity() - self.nodes.len() {
            return None;
        }
        if missing >= ix(NIL) - self.nodes.len() {
            // Out of numbers, which the allocation answers like out of addresses.
            return Some(usize::MAX);
        }
        Some(T::STEP.max(self.nodes.len() / 32).max(missing))
    }

    /// Makes sure that `count` nodes can be added without memory.
    pub(super) fn try_reserve(&mut self, count: usize) -> Result<(), TryReserveError> {
        self.missing(count).map_or(Ok(()), |missing| self.nodes.try_reserve_exact(missing))
    }

    /// The same; where there is no memory it does what `Vec::reserve` does then.
    pub(super) fn reserve(&mut self, count: usize) {
        if let Some(missing) = self.missing(count) {
            self.nodes.reserve_exact(missing);
        }
    }

    /// Adds an empty node.
    pub(super) fn add(&mut self) -> u32 {
        if self.free != NIL {
            let id = self.free;
            self.free = *self[id].link();
            self.free_count -= 1;
            self[id] = T::EMPTY;
            return id;
        }
        self.reserve(1);
        let id = u32::try_from(self.nodes.len()).expect("`missing` keeps ids below NIL");
        self.nodes.push(T::EMPTY);
        id
    }

    /// Frees a node, whose values have been taken out.
    pub(super) fn free(&mut self, id: u32) {
        *self[id].link() = self.free;
        self.free = id;
        self.free_count += 1;
    }

    /// Two different nodes at once.
    pub(super) fn pair(&mut self, a: u32, b: u32) -> (&mut T, &mut T) {
        #[cfg(test)]
        effort::look();
        let [a, b] =
            self.nodes.get_disjoint_mut([ix(a), ix(b)]).expect("a node is no sibling of itself");
        (a, b)
    }

    /// Gives everything back to the allocator.
    pub(super) fn release(&mut self) {
        *self = Self::new();
    }

    /// Forgets all nodes and keeps the memory.
    pub(super) fn forget_all(&mut self) {
        self.nodes.clear();
        (self.free, self.free_count) = (NIL, 0);
    }

    /// Whether more nodes are free than in use.
    pub(super) fn is_sparse(&self) -> bool {
        self.free_count > self.in_use()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.nodes.capacity()
    }

    /// Nodes in use.
    pub(super) fn in_use(&self) -> usize {
        self.nodes.len() - self.free_count
    }
}

impl<T: Clone> Arena<T> {
    /// A copy, if there is memory.
    pub(super) fn try_clone(&self) -> Result<Self, TryReserveError> {
        let mut nodes = Vec::new();
        nodes.try_reserve_exact(self.nodes.len())?;
        nodes.extend_from_slice(&self.nodes);
        Ok(Self { nodes, ..*self })
    }
}

impl<T> Index<u32> for Arena<T> {
    type Output = T;
    #[inline]
    fn index(&self, id: u32) -> &T {
        #[cfg(test)]
        effort::look();
        &self.nodes[ix(id)]
    }
}

impl<T> IndexMut<u32> for Arena<T> {
    #[inline]
    fn index_mut(&mut self, id: u32) -> &mut T {
        #[cfg(test)]
        effort::look();
        &mut self.nodes[ix(id)]
    }
}

#[cfg(test)]
mod tests {
    use super::{Arena, Inner, Node};
    use crate::RangeMap;

    /// So that the copies that it takes cost a constant per node, and little lies idle.
    #[test]
    fn a_block_grows_by_a_part_of_itself() {
        let mut arena = Arena::<Inner<3>>::new();
        let mut growths = 0;
        for count in 0..20_000 {
            let before = arena.capacity();
            arena.add();
            growths += usize::from(arena.capacity() != before);
            let idle = arena.capacity() - arena.in_use();
            assert!(idle <= Inner::<3>::STEP.max(count / 32), "{idle} of {count}");
        }
        // 32 times one more, then by a 32nd each time.
        assert!(growths <= 32 + 230, "{growths}");
    }

    /// A copy of blocks has what is free in them as well.
    #[test]
    fn copies_are_of_blocks_unless_most_in_them_is_free() {
        let mut map = RangeMap::<u64, u64>::new();
        for at in 0..3_000 {
            map.insert(4 * at..4 * at + 2, at);
        }
        let built = map.tree.leaves.in_use();
        map.remove(0..4_000);
        let (used, free) = (map.tree.leaves.in_use(), map.tree.leaves.free_count);
        assert!(free > 0 && free < used && used + free == built);
        assert_eq!(map.clone().tree.leaves.free_count, free);
        map.remove(0..8_000);
        assert!(map.tree.leaves.free_count > map.tree.leaves.in_use());
        assert_eq!(map.clone().tree.leaves.free_count, 0);
        assert_eq!(map.clone(), map);
    }
}
