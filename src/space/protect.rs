//! Mappings that stay and change.

use super::commit::Change;
use super::error::{Error, Verb};
use super::update::{Answer, Update};
use super::{AddrSpace, Call};
use crate::{MapFlags, Prot};

impl<F: Clone + PartialEq> AddrSpace<F> {
    /// Gives the mapped pages of the `len` bytes at `addr` the protection `prot`.
    ///
    /// Pages that are not mapped are skipped; who must answer `ENOMEM` to that, as
    /// Linux does, asks [`is_fully_mapped`](Self::is_fully_mapped).
    /// `handler` hears of one [`Update::Protect`] per maximal run of mapped pages,
    /// also where the protection is `prot` already. Original pages stay original.
    ///
    /// # Errors
    ///
    /// If nothing was reported and nothing has changed:
    ///
    /// - [`Error::ZeroLength`], [`Error::Unaligned`] or [`Error::OutOfBounds`] if
    ///   the range is no range of pages of the space;
    /// - [`Error::RegionLimit`] if there would be more regions than may be;
    /// - [`Error::NoMemory`] if the books cannot grow.
    ///
    /// If the handler refuses ([`OpError::Handler`](crate::OpError::Handler)), or
    /// panics, pages below `at` have the new protection, those from `at` on the old.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Mapping, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x10000, 0x1000)?;
    /// space.map_at(0, 0x4000, Mapping::anonymous(Prot::READ | Prot::WRITE), ignore)?;
    /// space.protect(0x1000, 0x1000, Prot::READ, ignore)?;
    /// assert_eq!(space.picture().to_string(), "wrww............");
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn protect<A: Answer>(
        &mut self,
        addr: u64,
        len: u64,
        prot: Prot,
        handler: impl FnMut(Update<'_, F>) -> A,
    ) -> Result<(), A::Error> {
        let call = Call { verb: Verb::Protect, addr, len };
        let range = call.range(self.geometry)?;
        self.alter(call, range, Change::Protect(prot), handler)
    }

    /// Clears the flags `clear` of the mapped pages of the `len` bytes at `addr`,
    /// then sets the flags `set`.
    ///
    /// This is what `madvise`, `mlock` and `mseal` change about a mapping.
    /// `handler` hears of one [`Update::Flags`] per maximal run of mapped pages.
    ///
    /// # Errors
    ///
    /// As of [`protect`](Self::protect), and [`Error::SharedFlag`] if
    /// [`MapFlags::SHARED`] is among the flags, which belongs to a mapping for good.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, MapFlags, Mapping, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x10000, 0x1000)?;
    /// space.map_at(0, 0x4000, Mapping::anonymous(Prot::READ), ignore)?;
    /// space.set_flags(0x2000, 0x1000, MapFlags::DONT_FORK, MapFlags::empty(), ignore)?;
    ///
    /// let child = space.fork(|region| !region.flags.contains(MapFlags::DONT_FORK));
    /// assert_eq!(child.picture().to_string(), "rr.r............");
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn set_flags<A: Answer>(
        &mut self,
        addr: u64,
        len: u64,
        set: MapFlags,
        clear: MapFlags,
        handler: impl FnMut(Update<'_, F>) -> A,
    ) -> Result<(), A::Error> {
        let call = Call { verb: Verb::SetFlags, addr, len };
        let range = call.range(self.geometry)?;
        if set.union(clear).contains(MapFlags::SHARED) {
            return Err(Error::SharedFlag { addr, len }.into());
        }
        self.alter(call, range, Change::Flags { set, clear }, handler)
    }
}
