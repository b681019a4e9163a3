//! Looking into the books.

use super::AddrSpace;
use super::region::{Backing, Region};
use super::update::PiecesIter;
use crate::{PageSize, Span};
use core::iter::FusedIterator;

impl<F> AddrSpace<F> {
    /// All addresses that are accounted for; nothing if the length is zero.
    pub const fn span(&self) -> Option<Span> {
        self.geometry.span()
    }

    /// The size of a page.
    pub const fn page_size(&self) -> PageSize {
        self.geometry.page()
    }

    /// The length in bytes, or the closest to it that a `u64` can say.
    pub(super) const fn len_clamped(&self) -> u64 {
        match self.geometry.span() {
            Some(span) => match span.len() {
                Some(len) => len,
                None => u64::MAX,
            },
            None => 0,
        }
    }
}

impl<F: Clone + PartialEq> AddrSpace<F> {
    /// The region that the byte at `addr` belongs to.
    ///
    /// Any address may be asked for, aligned or not, of the space or not.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Mapping, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0x10000, 0x10000, 0x1000)?;
    /// space.map_at(0x12000, 0x2000, Mapping::anonymous(Prot::READ), ignore)?;
    /// assert_eq!(space.query(0x13fff).unwrap().start(), 0x12000);
    /// assert_eq!(space.query(0x14000), None);
    /// assert_eq!(space.query(u64::MAX), None);
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn query(&self, addr: u64) -> Option<Region<'_, F>> {
        let page = self.geometry.page_at(addr)?;
        let (range, area) = self.areas.get_range(page)?;
        Some(area.region(self.geometry, &range))
    }

    /// All regions in ascending order.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Mapping, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x10000, 0x1000)?;
    /// for addr in [0x2000, 0x1000, 0x8000] {
    ///     space.map_at(addr, 0x1000, Mapping::anonymous(Prot::READ), ignore)?;
    /// }
    /// let starts: Vec<u64> = space.regions().map(|region| region.start()).collect();
    /// assert_eq!(starts, [0x1000, 0x8000]); // the first two are one
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn regions(
        &self,
    ) -> impl DoubleEndedIterator<Item = Region<'_, F>> + ExactSizeIterator + FusedIterator + Clone
    {
        self.areas.iter().map(|(range, area)| area.region(self.geometry, &range))
    }

    /// The pieces of regions on the pages that the `len` bytes at `addr` touch.
    ///
    /// A region that reaches past the pages is cut to them; [`query`](Self::query)
    /// tells the whole of it. Bytes outside of the space have no regions.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Mapping, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x10000, 0x1000)?;
    /// space.map_at(0x2000, 0x8000, Mapping::file(Prot::READ, 3, 0), ignore)?;
    /// let piece = space.regions_in(0x4010, 0x20).next().unwrap();
    /// assert_eq!((piece.start(), piece.len()), (0x4000, Some(0x1000)));
    /// assert_eq!(space.regions_in(0xa000, u64::MAX).count(), 0);
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn regions_in(&self, addr: u64, len: u64) -> PiecesIter<'_, F> {
        let range = self.geometry.touched(addr, len);
        PiecesIter { inner: self.areas.pieces(range), geometry: self.geometry }
    }

    /// All gaps between, before and after the regions, in ascending order.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Mapping, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x10000, 0x1000)?;
    /// space.map_at(0, 0x8000, Mapping::anonymous(Prot::READ), ignore)?;
    /// let gap = space.gaps().next().unwrap();
    /// assert_eq!((gap.start(), gap.last()), (0x8000, 0xffff));
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn gaps(&self) -> impl DoubleEndedIterator<Item = Span> + FusedIterator + Clone {
        let geometry = self.geometry;
        self.areas.gaps(geometry.all()).map(move |gap| geometry.span_of(gap.start, gap.end))
    }

    /// The gaps on the pages that the `len` bytes at `addr` touch, cut to them.
    ///
    /// Bytes outside of the space are in no gap.
    /// With [`regions_in`](Self::regions_in) they tile the pages.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Mapping, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x10000, 0x1000)?;
    /// space.map_at(0x4000, 0x1000, Mapping::anonymous(Prot::READ), ignore)?;
    /// let gaps: Vec<String> = space.gaps_in(0x3000, 0x3000).map(|gap| gap.to_string()).collect();
    /// assert_eq!(gaps, ["0x3000..=0x3fff", "0x5000..=0x5fff"]);
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn gaps_in(
        &self,
        addr: u64,
        len: u64,
    ) -> impl DoubleEndedIterator<Item = Span> + FusedIterator + Clone {
        let geometry = self.geometry;
        let range = geometry.touched(addr, len);
        self.areas.gaps(range).map(move |gap| geometry.span_of(gap.start, gap.end))
    }

    /// Whether each of the `len` bytes at `addr` is mapped.
    ///
    /// This is what has to be asked by those who answer `ENOMEM` over a gap, as
    /// Linux does to `mprotect`. No bytes are mapped, all of them; bytes outside
    /// of the space are not.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Mapping, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x10000, 0x1000)?;
    /// space.map_at(0, 0x2000, Mapping::anonymous(Prot::READ), ignore)?;
    /// assert!(space.is_fully_mapped(0x1ffe, 2));
    /// assert!(!space.is_fully_mapped(0x1ffe, 3));
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn is_fully_mapped(&self, addr: u64, len: u64) -> bool {
        let Some(extent) = len.checked_sub(1) else { return true };
        let last = addr.checked_add(extent).and_then(|last| self.geometry.page_at(last));
        let (Some(first), Some(last)) = (self.geometry.page_at(addr), last) else { return false };
        // A page of the space has a successor: the number of pages fits.
        self.areas.gaps(first..last.saturating_add(1)).next().is_none()
    }
}

impl<F: Clone + PartialEq> AddrSpace<F> {
    /// Every place where the `len` bytes of `file` from `offset` on are mapped: who maps
    /// these bytes?
    ///
    /// Each piece is cut to the bytes, not to pages, and its offset is that of its first
    /// byte. In ascending order of addresses; linear in the number of regions.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Backing, Mapping, Prot, ignore};
    ///
    /// let mut space: AddrSpace<&str> = AddrSpace::new(0, 0x10000, 0x1000)?;
    /// let text = Mapping::file(Prot::READ | Prot::EXEC, "program", 0);
    /// space.map_at(0x1000, 0x3000, text, ignore)?;
    /// space.map_at(0x8000, 0x1000, Mapping::file(Prot::WRITE, "program", 0x2000), ignore)?;
    ///
    /// let word = space.pieces_of(&"program", 0x2010, 8);
    /// let starts: Vec<u64> = word.map(|piece| piece.start()).collect();
    /// assert_eq!(starts, [0x3010, 0x8010]);
    ///
    /// let all = space.pieces_of(&"program", 0, u64::MAX).last().unwrap();
    /// assert_eq!(all.backing, Backing::File { file: &"program", offset: 0x2000 });
    /// assert_eq!(space.pieces_of(&"another", 0, u64::MAX).count(), 0);
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn pieces_of<'a>(
        &'a self,
        file: &F,
        offset: u64,
        len: u64,
    ) -> impl DoubleEndedIterator<Item = Region<'a, F>> + FusedIterator {
        // Bytes past 2^64 are nowhere.
        let asked = len.checked_sub(1).map(|extent| (offset, offset.saturating_add(extent)));
        self.regions().filter_map(move |region| {
            let Backing::File { file: shown, offset: first } = region.backing else { return None };
            let (from, to) = asked.filter(|_| shown == file)?;
            // The books refuse a mapping whose end in the file overflows.
            let place = |byte: u64| region.start().saturating_add(byte.saturating_sub(first));
            let extent = region.last().saturating_sub(region.start());
            let last = first.saturating_add(extent);
            if to < first || last < from {
                return None;
            }
            let (from, to) = (from.max(first), to.min(last));
            let span = Span::new(place(from), place(to))?;
            let backing = Backing::File { file: shown, offset: from };
            Some(Region { span, backing, ..region })
        })
    }
}
