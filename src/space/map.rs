//! New mappings.

use super::area::Area;
use super::commit::{Change, Commit};
use super::error::{Error, Verb};
use super::placement::Placement;
use super::region::{Backing, Mapping};
use super::update::{Answer, Update};
use super::{AddrSpace, Call};
use crate::page::{Fault, Geometry};
use core::ops::Range;

impl<F: Clone + PartialEq> AddrSpace<F> {
    /// Maps `len` bytes at a place that `placement` chooses, and tells the address.
    ///
    /// Nothing is replaced. `handler` hears of one [`Update::Map`].
    ///
    /// # Errors
    ///
    /// As of [`map_at`](Self::map_at), and:
    ///
    /// - [`Error::NoRoom`] if there is no such place;
    /// - [`Error::Alignment`] if pages cannot be aligned like that.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Mapping, Placement, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0x10000, 0x10000, 0x1000)?;
    /// let memory = Mapping::anonymous(Prot::READ | Prot::WRITE);
    /// let first = space.map_any(0x1800, memory, Placement::lowest(), ignore)?;
    /// let second = space.map_any(1, memory, Placement::lowest().near(0x15123), ignore)?;
    /// let third = space.map_any(1, memory, Placement::highest().aligned(0x4000), ignore)?;
    /// assert_eq!([first, second, third], [0x10000, 0x15000, 0x1c000]);
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn map_any<A: Answer>(
        &mut self,
        len: u64,
        mapping: Mapping<F>,
        placement: Placement,
        handler: impl FnMut(Update<'_, F>) -> A,
    ) -> Result<u64, A::Error> {
        let call = Call { verb: Verb::Map, addr: 0, len };
        check_backing(self.geometry, call, &mapping.backing)?;
        let page = self.choose(call, placement)?;
        let call = Call { addr: self.geometry.addr_of(page), ..call };
        let range = call.range(self.geometry)?;
        self.put(call, range, Area::new(call.addr, mapping), handler)?;
        Ok(call.addr)
    }

    /// Maps the `len` bytes at `addr` and replaces what is there.
    ///
    /// Pages that are replaced are no longer original.
    /// `handler` hears of one [`Update::Map`].
    ///
    /// # Errors
    ///
    /// If nothing was reported and nothing has changed:
    ///
    /// - [`Error::ZeroLength`], [`Error::Unaligned`] or [`Error::OutOfBounds`] if
    ///   the range is no range of pages of the space;
    /// - [`Error::UnalignedOffset`] or [`Error::OffsetOverflow`] if the offset of a
    ///   file, or the physical address, is not a multiple of the page size, or is
    ///   less than `len` below 2^64;
    /// - [`Error::ByteLimit`] or [`Error::RegionLimit`] if a limit is in the way;
    /// - [`Error::NoMemory`] if the books cannot grow.
    ///
    /// If the handler refuses ([`OpError::Handler`](crate::OpError::Handler)), or
    /// panics, the mapping was not made, and the old pieces below what it has
    /// acknowledged are gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Backing, Mapping, Prot, Update, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x10000, 0x1000)?;
    /// space.map_at(0, 0x3000, Mapping::file(Prot::READ, 3, 0), ignore)?;
    /// space.map_at(0x1000, 0x1000, Mapping::anonymous(Prot::READ), |update| {
    ///     let Update::Map { region, replaced } = update else { unreachable!() };
    ///     assert_eq!(region.backing, Backing::Anonymous);
    ///     let old = replaced.iter().next().unwrap();
    ///     assert_eq!(old.backing, Backing::File { file: &3, offset: 0x1000 });
    /// })?;
    /// assert_eq!(space.regions().count(), 3);
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn map_at<A: Answer>(
        &mut self,
        addr: u64,
        len: u64,
        mapping: Mapping<F>,
        handler: impl FnMut(Update<'_, F>) -> A,
    ) -> Result<(), A::Error> {
        let call = Call { verb: Verb::Map, addr, len };
        let range = self.check_map(call, &mapping)?;
        self.put(call, range, Area::new(addr, mapping), handler)
    }

    /// Maps the `len` bytes at `addr` if none of their pages is mapped.
    ///
    /// `handler` hears of one [`Update::Map`].
    ///
    /// # Errors
    ///
    /// As of [`map_at`](Self::map_at), and [`Error::Occupied`] if a page is mapped,
    /// with the first region in the way.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Error, Mapping, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x10000, 0x1000)?;
    /// space.map_at(0x2000, 0x2000, Mapping::anonymous(Prot::READ), ignore)?;
    /// let refused = space.map_at_no_replace(0x3000, 0x4000, Mapping::anonymous(Prot::READ), ignore);
    /// let Err(Error::Occupied { conflict, .. }) = refused else { unreachable!() };
    /// assert_eq!((conflict.start(), conflict.last()), (0x2000, 0x3fff));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn map_at_no_replace<A: Answer>(
        &mut self,
        addr: u64,
        len: u64,
        mapping: Mapping<F>,
        handler: impl FnMut(Update<'_, F>) -> A,
    ) -> Result<(), A::Error> {
        let call = Call { verb: Verb::Map, addr, len };
        let range = self.check_map(call, &mapping)?;
        if let Some((conflict, _)) = self.areas.overlapping(range.clone()).next() {
            let conflict = self.geometry.span_of(conflict.start, conflict.end);
            return Err(call.occupied(conflict).into());
        }
        self.put(call, range, Area::new(addr, mapping), handler)
    }

    /// The checks of a map at a place of the caller's choice.
    pub(super) fn check_map(&self, call: Call, mapping: &Mapping<F>) -> Result<Range<u64>, Error> {
        let geometry = self.geometry;
        check_backing(geometry, call, &mapping.backing)?;
        call.range(geometry).map_err(|error| {
            // Linux looks whether the range fits before it looks at the alignment.
            let down = Call { addr: geometry.page().round_down(call.addr), ..call };
            match (error, down.range(geometry)) {
                (Error::Unaligned { .. }, Err(_)) => call.error(Fault::Outside),
                _ => error,
            }
        })
    }

    /// Reports and records `area` over `range`, which were checked.
    pub(super) fn put<A: Answer>(
        &mut self,
        call: Call,
        range: Range<u64>,
        area: Area<F>,
        handler: impl FnMut(Update<'_, F>) -> A,
    ) -> Result<(), A::Error> {
        let pages = range.end.saturating_sub(range.start);
        let change = Change::Map(area);
        self.check_bytes(call, pages, [range.clone()])?;
        self.check_regions(call, &range, &change)?;
        let spot = self.secure(call, &range, change.extent())?;
        Commit::new(self, range, spot, change).report_map(handler)
    }
}

/// Refuses an offset between pages, and a backing that would pass 2^64.
///
/// Not even the last page below 2^64 can be mapped. So the end of a file's piece
/// is a `u64`, and no two pieces are neighbours by wrapping.
pub(super) fn check_backing<F>(
    geometry: Geometry,
    call: Call,
    backing: &Backing<F>,
) -> Result<(), Error> {
    let Call { verb, addr, len } = call;
    let (Backing::File { offset, .. } | Backing::Physical { addr: offset }) = *backing else {
        return Ok(());
    };
    if !geometry.page().is_aligned(offset) {
        return Err(Error::UnalignedOffset { len, offset });
    }
    if len == 0 {
        return Err(Error::ZeroLength { verb, addr });
    }
    match geometry.page().round_up(len) {
        Some(len) if offset.checked_add(len).is_some() => Ok(()),
        // All 2^64 bytes: Linux looks at the length before it looks at the file.
        None if verb == Verb::Map => Err(Error::OutOfBounds { verb, addr, len }),
        _ => Err(Error::OffsetOverflow { verb, len, offset }),
    }
}
