//! The values of a leaf, which stay where they are while their slots move.

use core::ops::{Index, IndexMut};

use super::node::narrow;

/// Up to `N` values by slot.
///
/// An edit in a leaf moves half of its slots on average. Of a value that moves a
/// byte, which says where on the shelf the value is.
#[derive(Clone, Copy)]
pub(super) struct Shelf<V, const N: usize> {
    /// How many slots are in use. Here, and a byte, because it takes no room beside the
    /// places: 0.7 bytes less for each mapping.
    len: u8,
    /// For each slot the place of its value. Every place occurs once.
    places: [u8; N],
    /// `None` for unused slots only.
    vals: [Option<V>; N],
}

impl<V, const N: usize> Shelf<V, N> {
    pub(super) const fn new() -> Self {
        let mut places = [0; N];
        let mut at = 0;
        while at < N {
            places[at] = narrow(at);
            at += 1;
        }
        Shelf { len: 0, places, vals: [const { None }; N] }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    #[inline]
    pub(super) fn set_len(&mut self, len: usize) {
        self.len = narrow(len);
    }

    /// Places and values as they lie, for [`lookup`].
    pub(super) fn parts(&self) -> (&[u8], &[Option<V>]) {
        (&self.places, &self.vals)
    }

    /// Where the value of slot `at` is.
    #[inline]
    pub(super) fn place(&self, at: usize) -> u8 {
        self.places[at]
    }

    /// Lets slot `at` have the value that is at `place`. In the end every place must be
    /// some slot's.
    #[inline]
    pub(super) fn set_place(&mut self, at: usize, place: u8) {
        self.places[at] = place;
    }

    /// Whether every place occurs once.
    pub(super) fn is_sound(&self) -> bool {
        let mut seen = [false; N];
        self.places.iter().all(|&place| {
            seen.get_mut(usize::from(place)).is_some_and(|seen| !core::mem::replace(seen, true))
        })
    }

    /// Exchanges the values of two slots, which moves neither.
    #[inline]
    pub(super) fn swap(&mut self, a: usize, b: usize) {
        self.places.swap(a, b);
    }
}

/// The value of slot `at` among the parts of a shelf.
#[inline]
pub(super) fn lookup<'a, V>(parts: (&[u8], &'a [Option<V>]), at: usize) -> Option<&'a V> {
    parts.1[usize::from(parts.0[at])].as_ref()
}

impl<V, const N: usize> Index<usize> for Shelf<V, N> {
    type Output = Option<V>;
    #[inline]
    fn index(&self, at: usize) -> &Option<V> {
        &self.vals[usize::from(self.places[at])]
    }
}

impl<V, const N: usize> IndexMut<usize> for Shelf<V, N> {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut Option<V> {
        &mut self.vals[usize::from(self.places[at])]
    }
}

#[cfg(test)]
mod tests {
    use super::Shelf;

    #[test]
    fn a_place_that_two_slots_share_is_noticed() {
        let mut shelf = Shelf::<u8, 7>::new();
        assert!(shelf.is_sound());
        shelf.swap(2, 5);
        assert!(shelf.is_sound());
        shelf.set_place(2, 3);
        assert!(!shelf.is_sound());
        shelf.set_place(2, 7);
        assert!(!shelf.is_sound(), "there is no place 7");
    }
}
