//! Mappings that go.

use super::commit::{Change, Commit};
use super::error::Verb;
use super::update::{Answer, Update};
use super::{AddrSpace, Call};
use core::ops::Range;

impl<F: Clone + PartialEq> AddrSpace<F> {
    /// Unmaps every page of the `len` bytes at `addr`.
    ///
    /// Pages that are not mapped are skipped: `handler` hears of one
    /// [`Update::Unmap`] per maximal run of mapped pages, or of one from the first
    /// to the last mapped page if the gaps are [`Owned`](crate::Gaps::Owned).
    ///
    /// # Errors
    ///
    /// If nothing was reported and nothing has changed:
    ///
    /// - [`Error::ZeroLength`](crate::Error::ZeroLength),
    ///   [`Error::Unaligned`](crate::Error::Unaligned) or
    ///   [`Error::OutOfBounds`](crate::Error::OutOfBounds) if the range is no range
    ///   of pages of the space;
    /// - [`Error::RegionLimit`](crate::Error::RegionLimit) if it would cut a region
    ///   in two and there may be no more;
    /// - [`Error::NoMemory`](crate::Error::NoMemory) if the books cannot grow.
    ///
    /// If the handler refuses ([`OpError::Handler`](crate::OpError::Handler)), or
    /// panics, pages below `at` are unmapped, those from `at` on are as before.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Mapping, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x10000, 0x1000)?;
    /// space.map_at(0, 0x4000, Mapping::anonymous(Prot::READ), ignore)?;
    /// space.unmap(0x1000, 0x1000, ignore)?;
    /// assert!(space.is_fully_mapped(0, 0x1000));
    /// assert!(space.is_fully_mapped(0x2000, 0x2000));
    /// assert_eq!(space.query(0x1000), None);
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn unmap<A: Answer>(
        &mut self,
        addr: u64,
        len: u64,
        handler: impl FnMut(Update<'_, F>) -> A,
    ) -> Result<(), A::Error> {
        let call = Call { verb: Verb::Unmap, addr, len };
        let range = call.range(self.geometry)?;
        self.alter(call, range, Change::Unmap, handler)
    }

    /// Reports and records a change of what is mapped in `range`.
    pub(super) fn alter<A: Answer>(
        &mut self,
        call: Call,
        range: Range<u64>,
        change: Change<F>,
        handler: impl FnMut(Update<'_, F>) -> A,
    ) -> Result<(), A::Error> {
        self.check_regions(call, &range, &change)?;
        let spot = self.secure(call, &range, change.extent())?;
        Commit::new(self, range, spot, change).report_runs(handler)
    }
}
