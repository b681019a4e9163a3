//! The traits of the standard library, and conversions.

use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use core::ops::Range;

use super::tree::Tree;
use super::{IntoIter, Iter, Key, RangeMap};

impl<K, V, const S: usize, const L: usize, const I: usize> Default for RangeMap<K, V, S, L, I> {
    fn default() -> Self {
        RangeMap { tree: Tree::new(), keys: PhantomData }
    }
}

impl<K, V: Clone, const S: usize, const L: usize, const I: usize> Clone
    for RangeMap<K, V, S, L, I>
{
    fn clone(&self) -> Self {
        RangeMap { tree: self.tree.clone(), keys: PhantomData }
    }
}

impl<K: Key + fmt::Debug, V: fmt::Debug, const S: usize, const L: usize, const I: usize> fmt::Debug
    for RangeMap<K, V, S, L, I>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Key, V: PartialEq, const S: usize, const L: usize, const I: usize> PartialEq
    for RangeMap<K, V, S, L, I>
{
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<K: Key, V: Eq, const S: usize, const L: usize, const I: usize> Eq for RangeMap<K, V, S, L, I> {}

/// Ranges as pairs, which are ordered where ranges are not.
fn pairs<K: Key, V, const S: usize, const L: usize, const I: usize>(
    map: &RangeMap<K, V, S, L, I>,
) -> impl Iterator<Item = ((K, K), &V)> {
    map.iter().map(|(range, val)| ((range.start, range.end), val))
}

impl<K: Key, V: PartialOrd, const S: usize, const L: usize, const I: usize> PartialOrd
    for RangeMap<K, V, S, L, I>
{
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        pairs(self).partial_cmp(pairs(other))
    }
}

impl<K: Key, V: Ord, const S: usize, const L: usize, const I: usize> Ord
    for RangeMap<K, V, S, L, I>
{
    fn cmp(&self, other: &Self) -> Ordering {
        pairs(self).cmp(pairs(other))
    }
}

impl<K: Key, V: Hash, const S: usize, const L: usize, const I: usize> Hash
    for RangeMap<K, V, S, L, I>
{
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len().hash(state);
        for ((start, end), val) in pairs(self) {
            start.to_index().hash(state);
            end.to_index().hash(state);
            val.hash(state);
        }
    }
}

impl<K: Key, V: Clone + PartialEq, const N: usize> From<[(Range<K>, V); N]> for RangeMap<K, V> {
    fn from(ranges: [(Range<K>, V); N]) -> Self {
        Self::from_sorted(ranges)
    }
}

impl<K: Key, V: Clone + PartialEq, const S: usize, const L: usize, const I: usize>
    FromIterator<(Range<K>, V)> for RangeMap<K, V, S, L, I>
{
    fn from_iter<T: IntoIterator<Item = (Range<K>, V)>>(ranges: T) -> Self {
        Self::from_sorted(ranges)
    }
}

impl<K: Key, V: Clone + PartialEq, const S: usize, const L: usize, const I: usize>
    Extend<(Range<K>, V)> for RangeMap<K, V, S, L, I>
{
    fn extend<T: IntoIterator<Item = (Range<K>, V)>>(&mut self, ranges: T) {
        for (range, value) in ranges {
            drop(self.insert(range, value));
        }
    }
}

impl<K: Key, V, const S: usize, const L: usize, const I: usize> IntoIterator
    for RangeMap<K, V, S, L, I>
{
    type Item = (Range<K>, V);
    type IntoIter = IntoIter<K, V, S, L, I>;
    fn into_iter(self) -> Self::IntoIter {
        IntoIter::new(self)
    }
}

impl<'a, K: Key, V, const S: usize, const L: usize, const I: usize> IntoIterator
    for &'a RangeMap<K, V, S, L, I>
{
    type Item = (Range<K>, &'a V);
    type IntoIter = Iter<'a, K, V, S, L, I>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(feature = "rangemap")]
impl<K: Key, V: Clone + Eq> From<rangemap::RangeMap<K, V>> for RangeMap<K, V> {
    fn from(map: rangemap::RangeMap<K, V>) -> Self {
        Self::from_sorted(map)
    }
}

#[cfg(feature = "rangemap")]
impl<K: Key, V: Clone + Eq> From<RangeMap<K, V>> for rangemap::RangeMap<K, V> {
    fn from(map: RangeMap<K, V>) -> Self {
        map.into_iter().collect()
    }
}

/// A sequence of `(start, end, value)`.
#[cfg(feature = "serde")]
impl<K: Key + serde::Serialize, V: serde::Serialize, const S: usize, const L: usize, const I: usize>
    serde::Serialize for RangeMap<K, V, S, L, I>
{
    fn serialize<T: serde::Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        serializer.collect_seq(self.iter().map(|(range, val)| (range.start, range.end, val)))
    }
}

/// From a sequence of `(start, end, value)` in any order; later ones overwrite
/// earlier ones. A range that ends before it starts is refused.
#[cfg(feature = "serde")]
impl<'de, K, V, const S: usize, const L: usize, const I: usize> serde::Deserialize<'de>
    for RangeMap<K, V, S, L, I>
where
    K: Key + serde::Deserialize<'de>,
    V: Clone + PartialEq + serde::Deserialize<'de>,
{
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use alloc::vec::Vec;
        use serde::de::Error;
        let entries = Vec::<(K, K, V)>::deserialize(deserializer)?;
        if let Some((start, end, _)) = entries.iter().find(|(start, end, _)| start > end) {
            let (start, end) = (start.to_index(), end.to_index());
            return Err(D::Error::custom(format_args!(
                "a range from {start} ends before it, at {end}"
            )));
        }
        Ok(entries.into_iter().map(|(start, end, val)| (start..end, val)).collect())
    }
}
