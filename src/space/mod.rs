//! The books of an address space.
//!
//! One file per family of verbs; `commit` is the one place where what a handler
//! has acknowledged gets into the books.

mod area;
mod commit;
mod display;
mod error;
mod map;
mod original;
mod placement;
#[cfg(feature = "capi")]
mod prepared;
mod protect;
mod query;
mod region;
mod relocate;
mod remap;
#[cfg(feature = "serde")]
mod serial;
mod snapshot;
mod unmap;
mod update;
mod usage;

pub use display::{Label, Maps, Picture};
pub use error::{Error, OpError, Verb};
pub use placement::Placement;
#[cfg(feature = "capi")]
pub(crate) use prepared::Aim;
pub use region::{Backing, Mapping, Region};
pub use remap::Remap;
pub use update::{Answer, Pieces, PiecesIter, Update, ignore};
pub use usage::{Limits, Usage};

use crate::page::{Fault, Geometry};
use crate::range_map::{Extent, Spot};
use crate::{PageSize, RangeMap, Span, range_map};
use area::Area;
use core::ops::Range;
use usage::Tally;

/// The areas of a space by page, counted from its start.
type Areas<F> = RangeMap<u64, Area<F>>;
type AreaPieces<'a, F> = range_map::Pieces<'a, u64, Area<F>>;

/// Whose the gaps of a space are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Gaps {
    /// Somebody else may have mapped them: an `Unmap` never covers a gap.
    #[default]
    Foreign,
    /// They are the host's to touch, as in a reservation: one `Unmap` reaches
    /// from the first to the last mapped page, over the gaps between.
    Owned,
}

/// The books of a range of addresses: what is mapped where, and how.
///
/// A space changes no memory. Each verb that changes the books takes a *handler*
/// and reports to it, as an [`Update`], each change that the host has to make;
/// when the handler has answered that it is made, it is recorded.
/// So at every moment the books say exactly what the handler has acknowledged,
/// also after an error or a panic in the midst of an operation.
/// [`ignore`] is the handler for books without a host.
///
/// Addresses and lengths are bytes and need not be checked beforehand: they may
/// come from a guest. Lengths are rounded up to whole pages; addresses have to be
/// page-aligned where something changes. All checks, and getting the memory that
/// recording will need, come before the first update: an [`Error`] means that
/// nothing was reported and nothing has changed. Updates come in ascending order,
/// but for [`remap`](Self::remap), which shrinks before it moves.
///
/// `F` identifies a file, or the embedder's own kind of memory; equal means the
/// same file for as long as it is mapped. A raw descriptor number will do only if
/// it is never used again for another file. A `clone` or a `drop` of it that panics
/// finds nothing half done; an `==` that panics while a change is recorded can leave
/// the pages of that change unmapped in the books or as they were, and neighbours that
/// are equal not joined.
///
/// Two spaces are equal if they have the same bounds, pages and contents, the
/// marks of [`mark_original`](Self::mark_original) included;
/// limits and the ownership of gaps are not compared.
///
/// # Examples
///
/// ```
/// use addrspace::{AddrSpace, Mapping, Placement, Prot, Update, ignore};
///
/// let mut space: AddrSpace = AddrSpace::new(0x10000, 0x10_0000, 4096)?;
///
/// // The lowest free place, then a place of our own choice.
/// let heap = space.map_any(0x3000, Mapping::anonymous(Prot::READ | Prot::WRITE), Placement::lowest(), ignore)?;
/// assert_eq!(heap, 0x10000);
/// space.map_at(0x20000, 0x2000, Mapping::file(Prot::READ, 3, 0), ignore)?;
///
/// // The host makes each change: here it only prints.
/// let mut log = Vec::new();
/// space.protect(heap, 0x1000, Prot::READ, |update| log.push(format!("{}", update.span())))?;
/// assert_eq!(log, ["0x10000..=0x10fff"]);
///
/// assert_eq!(space.query(0x10fff).unwrap().prot, Prot::READ);
/// assert_eq!(space.query(0x11000).unwrap().prot, Prot::READ | Prot::WRITE);
///
/// space.unmap(0, 0x1000, ignore).unwrap_err(); // outside
/// space.unmap(0x10000, 0x10_0000, ignore)?;
/// assert_eq!(space.regions().count(), 0);
/// # Ok::<(), addrspace::Error>(())
/// ```
///
/// # Example: coming from libmmap
///
/// The README of zyedidia/libmmap maps a page anywhere and unmaps it again, the
/// callback being told the address, the length and what was there. A hint of 0 is
/// no hint here either, and `fd` -1 is no file:
///
/// ```
/// use addrspace::{AddrSpace, Backing, Mapping, Placement, Prot};
///
/// let mut mm: AddrSpace = AddrSpace::new(0x10000, 0x100000, 4096)?;
/// let p = mm.map_any(4096, Mapping::anonymous(Prot::READ), Placement::lowest(), |_| ())?;
/// assert_eq!(p, 0x10000);
///
/// let mut called = 0;
/// mm.unmap(p, 4096, |update| {
///     for piece in update.pieces() {
///         assert_eq!((piece.span.start(), piece.span.len()), (0x10000, Some(4096)));
///         assert_eq!((piece.prot, piece.backing), (Prot::READ, Backing::Anonymous));
///         called += 1; // the real munmap
///     }
/// })?;
/// assert_eq!(called, 1);
/// # Ok::<(), addrspace::Error>(())
/// ```
#[derive(Clone)]
pub struct AddrSpace<F = u32> {
    areas: Areas<F>,
    geometry: Geometry,
    gaps: Gaps,
    tally: Tally,
    limits: Limits,
}

impl<F: Clone + PartialEq> AddrSpace<F> {
    /// Makes the books of the `len` bytes at `start`, in pages of `page_size` bytes.
    ///
    /// Nothing is mapped. A length of zero is a space in which every map fails.
    ///
    /// # Errors
    ///
    /// - [`Error::PageSize`] if `page_size` is not a power of two.
    /// - [`Error::Geometry`] if `start` or `len` is not a multiple of it, or the
    ///   end is past 2^64.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Error};
    ///
    /// // A space may end at 2^64.
    /// let top: AddrSpace = AddrSpace::new(0xffff_8000_0000_0000, 1 << 47, 1 << 12)?;
    /// assert_eq!(top.span().unwrap().last(), u64::MAX);
    ///
    /// let odd = AddrSpace::<u32>::new(0x800, 0x1000, 0x1000);
    /// assert!(matches!(odd, Err(Error::Geometry { .. })));
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn new(start: u64, len: u64, page_size: u64) -> Result<Self, Error> {
        let page = PageSize::new(page_size).ok_or(Error::PageSize { page_size })?;
        let geometry =
            Geometry::new(start, len, page).ok_or(Error::Geometry { start, len, page_size })?;
        Ok(Self::with_geometry(geometry))
    }

    /// Makes the books of all 2^64 bytes.
    ///
    /// # Errors
    ///
    /// - [`Error::PageSize`] if `page_size` is not a power of two.
    /// - [`Error::Geometry`] if it is 1, because 2^64 pages cannot be counted.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::AddrSpace;
    ///
    /// let space: AddrSpace = AddrSpace::whole(4096)?;
    /// assert_eq!(space.span().unwrap().len(), None); // 2^64
    /// AddrSpace::<u32>::whole(1).unwrap_err();
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn whole(page_size: u64) -> Result<Self, Error> {
        let page = PageSize::new(page_size).ok_or(Error::PageSize { page_size })?;
        let geometry =
            Geometry::whole(page).ok_or(Error::Geometry { start: 0, len: 0, page_size })?;
        Ok(Self::with_geometry(geometry))
    }

    fn with_geometry(geometry: Geometry) -> Self {
        Self {
            areas: Areas::new(),
            geometry,
            gaps: Gaps::default(),
            tally: Tally::ZERO,
            limits: Limits::default(),
        }
    }

    /// The same space with its gaps owned as `gaps` says.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Gaps, Mapping, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x10000, 0x1000)?.with_gaps(Gaps::Owned);
    /// for addr in [0x1000, 0x5000] {
    ///     space.map_at(addr, 0x1000, Mapping::anonymous(Prot::READ), ignore)?;
    /// }
    /// let mut spans = Vec::new();
    /// space.unmap(0, 0x10000, |update| spans.push(update.span().to_string()))?;
    /// assert_eq!(spans, ["0x1000..=0x5fff"]);
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    #[must_use]
    pub fn with_gaps(mut self, gaps: Gaps) -> Self {
        self.gaps = gaps;
        self
    }

    /// Gives the gaps to whom `gaps` says.
    #[cfg(feature = "capi")]
    pub(crate) const fn set_gaps(&mut self, gaps: Gaps) {
        self.gaps = gaps;
    }

    /// Forgets all mappings and reports nothing.
    ///
    /// This is the one change that a host does not hear of.
    /// Bounds, limits and the ownership of gaps stay.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Mapping, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x10000, 0x1000)?;
    /// space.map_at(0, 0x1000, Mapping::anonymous(Prot::READ), ignore)?;
    /// space.reset();
    /// assert_eq!(space.regions().count(), 0);
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn reset(&mut self) {
        // In this order the books are right also when dropping a handle panics.
        self.tally = Tally::ZERO;
        self.areas.clear();
    }

    /// Secures the memory for an edit of `range` and finds where it lies.
    #[inline]
    fn secure(&mut self, call: Call, range: &Range<u64>, extent: Extent) -> Result<Spot, Error> {
        let spot = self.areas.spot(range, extent);
        if spot.has_room() { Ok(spot) } else { self.secure_more(call, range, extent) }
    }

    #[cold]
    fn secure_more(
        &mut self,
        call: Call,
        range: &Range<u64>,
        extent: Extent,
    ) -> Result<Spot, Error> {
        self.areas.try_reserve_edit(range.clone()).map_err(|_| call.no_memory())?;
        Ok(self.areas.spot(range, extent))
    }

    /// Walks every invariant of the books; for tests.
    ///
    /// # Panics
    ///
    /// Panics if one is broken.
    #[doc(hidden)]
    pub fn check(&self) {
        // 1. The map of ranges is sound, coalesced among others.
        self.areas.check();
        // 2. Every area lies in the space.
        if let Some((last, _)) = self.areas.last() {
            assert!(last.end <= self.geometry.all().end, "invariant 2: {last:?} leaves the space");
        }
        // 3. The usage is the sum over the areas.
        assert!(self.tally == self.tally_of(self.geometry.all()), "invariant 3: {:?}", self.tally);
    }
}

impl<F: Clone + PartialEq> PartialEq for AddrSpace<F> {
    fn eq(&self, other: &Self) -> bool {
        self.geometry == other.geometry && self.areas.iter().eq(other.areas.iter())
    }
}

impl<F: Clone + Eq> Eq for AddrSpace<F> {}

/// The arguments of an operation, for the error that may name them.
#[derive(Clone, Copy, Debug)]
struct Call {
    verb: Verb,
    addr: u64,
    len: u64,
}

impl Call {
    /// The pages that the call names.
    #[inline]
    fn range(self, geometry: Geometry) -> Result<Range<u64>, Error> {
        geometry.pages_of(self.addr, self.len).map_err(|fault| self.error(fault))
    }

    const fn error(self, fault: Fault) -> Error {
        let Self { verb, addr, len } = self;
        match fault {
            Fault::Zero => Error::ZeroLength { verb, addr },
            Fault::Unaligned => Error::Unaligned { verb, addr, len },
            Fault::Outside => Error::OutOfBounds { verb, addr, len },
        }
    }

    const fn no_memory(self) -> Error {
        Error::NoMemory { verb: self.verb, addr: self.addr, len: self.len }
    }

    const fn no_room(self) -> Error {
        Error::NoRoom { verb: self.verb, len: self.len }
    }

    const fn occupied(self, conflict: Span) -> Error {
        Error::Occupied { verb: self.verb, addr: self.addr, len: self.len, conflict }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::area::Area;
    use super::usage::Tally;
    use crate::{AddrSpace, Mapping, Prot, ignore};
    use alloc::string::String;
    use core::panic::AssertUnwindSafe;
    use std::panic::catch_unwind;

    /// What `check` says of books that were sound before `harm`.
    fn found(harm: impl FnOnce(&mut AddrSpace)) -> String {
        let mut space: AddrSpace = AddrSpace::new(0, 0x4000, 0x1000).unwrap();
        space.map_at(0, 0x2000, Mapping::anonymous(Prot::READ), ignore).unwrap();
        space.check();
        harm(&mut space);
        let broken = catch_unwind(AssertUnwindSafe(|| space.check())).unwrap_err();
        *broken.downcast::<String>().unwrap()
    }

    #[test]
    fn broken_books_are_found() {
        let area = || Area::new(0, Mapping::anonymous(Prot::WRITE));
        let outside = found(|space| drop(space.areas.insert(3..5, area())));
        assert!(outside.starts_with("invariant 2"), "{outside}");
        let miscounted = found(|space| space.tally = Tally::ZERO);
        assert!(miscounted.starts_with("invariant 3"), "{miscounted}");
        let uncounted = found(|space| drop(space.areas.insert(3..4, area())));
        assert!(uncounted.starts_with("invariant 3"), "{uncounted}");
    }
}
