//! What an insert or a remove displaces.

use core::fmt;
use core::iter::FusedIterator;
use core::marker::PhantomData;
use core::ops::Range;

use super::Key;
use super::tree::Tree;

/// What [`insert`](super::RangeMap::insert) or [`remove`](super::RangeMap::remove)
/// displaces, clipped to the range, ascending.
///
/// Each step takes one piece out of the map and hands it over; dropping the
/// iterator takes out the rest and, for an insert, puts the new value in. So a
/// caller that does not care ignores it and pays nothing.
///
/// A piece that is only part of a range comes with a clone of its value, since
/// the rest of the range keeps the other.
///
/// If the iterator is leaked ([`core::mem::forget`]), what it has not handed
/// over stays in the map, and an insert does not happen.
pub struct Displaced<
    'a,
    K,
    V: Clone + PartialEq,
    const S: usize = 31,
    const L: usize = 15,
    const I: usize = 31,
> {
    tree: &'a mut Tree<V, S, L, I>,
    range: (u64, u64),
    /// The part of the range from which nothing has been taken yet.
    left: (u64, u64),
    insert: Option<V>,
    keys: PhantomData<K>,
}

impl<'a, K: Key, V: Clone + PartialEq, const S: usize, const L: usize, const I: usize>
    Displaced<'a, K, V, S, L, I>
{
    #[inline]
    pub(super) fn new(
        tree: &'a mut Tree<V, S, L, I>,
        range: (u64, u64),
        insert: Option<V>,
    ) -> Self {
        Displaced { tree, range, left: range, insert, keys: PhantomData }
    }
}

impl<K, V: Clone + PartialEq, const S: usize, const L: usize, const I: usize>
    Displaced<'_, K, V, S, L, I>
{
    fn take_first(&mut self) -> Option<(u64, u64, V)> {
        let (low, high) = self.left;
        let (start, end) = self.tree.first_piece(low, high)?;
        let val = self.tree.take_piece(start, end, &mut |_, val| val.clone())?;
        self.left.0 = end;
        Some((start, end, val))
    }

    fn take_last(&mut self) -> Option<(u64, u64, V)> {
        let (low, high) = self.left;
        let (start, end) = self.tree.last_piece(low, high)?;
        let val = self.tree.take_piece(start, end, &mut |_, val| val.clone())?;
        self.left.1 = start;
        Some((start, end, val))
    }
}

impl<K: Key, V: Clone + PartialEq, const S: usize, const L: usize, const I: usize> Iterator
    for Displaced<'_, K, V, S, L, I>
{
    type Item = (Range<K>, V);
    fn next(&mut self) -> Option<Self::Item> {
        self.take_first().map(|(start, end, val)| (K::from_index(start)..K::from_index(end), val))
    }
}

impl<K: Key, V: Clone + PartialEq, const S: usize, const L: usize, const I: usize>
    DoubleEndedIterator for Displaced<'_, K, V, S, L, I>
{
    fn next_back(&mut self) -> Option<Self::Item> {
        self.take_last().map(|(start, end, val)| (K::from_index(start)..K::from_index(end), val))
    }
}

impl<K: Key, V: Clone + PartialEq, const S: usize, const L: usize, const I: usize> FusedIterator
    for Displaced<'_, K, V, S, L, I>
{
}

impl<K, V: Clone + PartialEq, const S: usize, const L: usize, const I: usize> Drop
    for Displaced<'_, K, V, S, L, I>
{
    #[inline]
    fn drop(&mut self) {
        let (start, end) = self.range;
        match self.insert.take() {
            Some(val) => self.tree.put(start, end, val, &mut |_, val| val.clone()),
            None => self.tree.cut(self.left.0, self.left.1, &mut |_, val| val.clone()),
        }
    }
}

impl<K, V: Clone + PartialEq, const S: usize, const L: usize, const I: usize> fmt::Debug
    for Displaced<'_, K, V, S, L, I>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Displaced").field("inserts", &self.insert.is_some()).finish_non_exhaustive()
    }
}
