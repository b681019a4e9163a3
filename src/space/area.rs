//! The stored form of a mapping.

use super::region::{Backing, Mapping, Region};
use crate::page::Geometry;
use crate::{MapFlags, Prot};
use core::ops::Range;

/// What the map of ranges stores for a region.
///
/// A file's offset is not stored, but the *origin*: the address, wrapping, at
/// which the file's byte 0 would lie. So cutting a region changes nothing in its
/// two parts, and two neighbours are equal exactly when the file continues.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Area<F> {
    /// The origin; the value of a tag; 0 for anonymous memory.
    word: u64,
    pub(super) prot: Prot,
    pub(super) flags: MapFlags,
    holder: Holder<F>,
}

/// The kind of backing, with its handle and the mark.
///
/// The mark stands in each variant because it fits beside the discriminant
/// there; as a field of [`Area`] it would cost eight bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Holder<F> {
    Anonymous { original: bool },
    Physical { original: bool },
    File { original: bool, file: F },
    Tag { original: bool, handle: F },
}

impl<F> Area<F> {
    /// The stored form of `mapping` where it starts at `addr`, not marked.
    pub(super) fn new(addr: u64, mapping: Mapping<F>) -> Self {
        let original = false;
        let (word, holder) = match mapping.backing {
            Backing::Anonymous => (0, Holder::Anonymous { original }),
            Backing::Physical { addr: offset } => {
                (addr.wrapping_sub(offset), Holder::Physical { original })
            }
            Backing::File { file, offset } => {
                (addr.wrapping_sub(offset), Holder::File { original, file })
            }
            Backing::Tag { handle, value } => (value, Holder::Tag { original, handle }),
        };
        Self { word, prot: mapping.prot, flags: mapping.flags, holder }
    }

    /// The backing of the byte at `addr`.
    pub(super) fn backing(&self, addr: u64) -> Backing<&F> {
        let offset = addr.wrapping_sub(self.word);
        match &self.holder {
            Holder::Anonymous { .. } => Backing::Anonymous,
            Holder::Physical { .. } => Backing::Physical { addr: offset },
            Holder::File { file, .. } => Backing::File { file, offset },
            Holder::Tag { handle, .. } => Backing::Tag { handle, value: self.word },
        }
    }

    /// What a caller sees of the area over the pages of `range`.
    pub(super) fn region(&self, geometry: Geometry, range: &Range<u64>) -> Region<'_, F> {
        let span = geometry.span_of(range.start, range.end);
        Region {
            span,
            prot: self.prot,
            flags: self.flags,
            backing: self.backing(span.start()),
            original: self.original(),
        }
    }

    pub(super) const fn attributes(&self) -> (Prot, MapFlags) {
        (self.prot, self.flags)
    }

    pub(super) const fn original(&self) -> bool {
        match self.holder {
            Holder::Anonymous { original }
            | Holder::Physical { original }
            | Holder::File { original, .. }
            | Holder::Tag { original, .. } => original,
        }
    }

    pub(super) const fn set_original(&mut self, mark: bool) {
        match &mut self.holder {
            Holder::Anonymous { original }
            | Holder::Physical { original }
            | Holder::File { original, .. }
            | Holder::Tag { original, .. } => *original = mark,
        }
    }

    /// The same bytes seen from `distance` bytes further up (wrapping).
    pub(super) const fn shifted(mut self, distance: u64) -> Self {
        if matches!(self.holder, Holder::Physical { .. } | Holder::File { .. }) {
            self.word = self.word.wrapping_add(distance);
        }
        self
    }
}

impl<F: PartialEq> Area<F> {
    /// Whether `other` continues the mapping; the mark does not matter.
    pub(super) fn continues(&self, other: &Self) -> bool {
        self.attributes() == other.attributes() && self.same_backing(other)
    }

    /// Whether both are equal but for protection and flags.
    pub(super) fn same_holder(&self, other: &Self) -> bool {
        self.word == other.word && self.holder == other.holder
    }

    /// Whether both have the same bytes at the same addresses, shared or private alike.
    pub(super) fn same_backing(&self, other: &Self) -> bool {
        let holders = match (&self.holder, &other.holder) {
            (Holder::Anonymous { .. }, Holder::Anonymous { .. })
            | (Holder::Physical { .. }, Holder::Physical { .. }) => true,
            (Holder::File { file: a, .. }, Holder::File { file: b, .. })
            | (Holder::Tag { handle: a, .. }, Holder::Tag { handle: b, .. }) => a == b,
            _ => false,
        };
        self.word == other.word
            && (self.flags ^ other.flags).intersection(MapFlags::SHARED).is_empty()
            && holders
    }
}

#[cfg(test)]
mod tests {
    use super::Area;

    #[test]
    fn an_area_takes_24_bytes_and_leaves_a_niche() {
        assert_eq!(size_of::<Area<u32>>(), 24);
        assert_eq!(size_of::<Option<Area<u32>>>(), 24);
    }
}
