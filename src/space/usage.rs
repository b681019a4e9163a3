//! How much is mapped, and the limits on it.

use super::area::Area;
use super::commit::Change;
use super::error::Error;
use super::{AddrSpace, Call};
use crate::{MapFlags, Prot};
use core::ops::Range;

/// How much of a space is mapped.
///
/// # Units
///
/// Bytes. In a space of 2^64 bytes that is mapped from end to end, they are one
/// more than a `u64` can say: the count is then [`u64::MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Usage {
    /// Bytes that are mapped.
    pub mapped: u64,
    /// Bytes that are writable and not shared.
    pub writable_private: u64,
    /// Bytes that are executable.
    pub executable: u64,
    /// Bytes that are shared.
    pub shared: u64,
    /// The number of regions.
    pub regions: usize,
}

/// What an embedder allows a space; nothing is limited by default.
///
/// A limit that is lower than what is in use refuses only what would add to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Limits {
    /// The most bytes that may be mapped at a time, rounded down to pages.
    ///
    /// What a new mapping replaces is not counted against it, as by `RLIMIT_AS`.
    pub bytes: Option<u64>,
    /// The most regions that there may be after an operation.
    pub regions: Option<usize>,
}

/// Pages by class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    mapped: u64,
    writable_private: u64,
    executable: u64,
    shared: u64,
}

// No sum of pages here can wrap: each counts different pages of one space, whose
// number fits a `u64`. A tally that is a difference may be below zero and wrap; so
// does the sum that it is added to, back to what it has to be.
impl Tally {
    pub(super) const ZERO: Self = Self { mapped: 0, writable_private: 0, executable: 0, shared: 0 };

    /// Adds the pages of `range`.
    #[inline]
    pub(super) fn count(&mut self, prot: Prot, flags: MapFlags, range: &Range<u64>) {
        self.count_pages(prot, flags, range.end.wrapping_sub(range.start));
    }

    /// Takes the pages of `range` away.
    #[inline]
    pub(super) fn discount(&mut self, prot: Prot, flags: MapFlags, range: &Range<u64>) {
        self.count_pages(prot, flags, range.start.wrapping_sub(range.end));
    }

    #[inline]
    fn count_pages(&mut self, prot: Prot, flags: MapFlags, pages: u64) {
        let add = |count: &mut u64| *count = count.wrapping_add(pages);
        add(&mut self.mapped);
        if flags.contains(MapFlags::SHARED) {
            add(&mut self.shared);
        } else if prot.contains(Prot::WRITE) {
            add(&mut self.writable_private);
        }
        if prot.contains(Prot::EXEC) {
            add(&mut self.executable);
        }
    }

    pub(super) const fn add(&mut self, other: Self) {
        self.mapped = self.mapped.wrapping_add(other.mapped);
        self.writable_private = self.writable_private.wrapping_add(other.writable_private);
        self.executable = self.executable.wrapping_add(other.executable);
        self.shared = self.shared.wrapping_add(other.shared);
    }

    pub(super) const fn sub(&mut self, other: Self) {
        self.mapped = self.mapped.wrapping_sub(other.mapped);
        self.writable_private = self.writable_private.wrapping_sub(other.writable_private);
        self.executable = self.executable.wrapping_sub(other.executable);
        self.shared = self.shared.wrapping_sub(other.shared);
    }

    pub(super) const fn mapped(self) -> u64 {
        self.mapped
    }
}

impl<F: Clone + PartialEq> AddrSpace<F> {
    /// How much is mapped, in constant time.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Mapping, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x10000, 0x1000)?;
    /// space.map_at(0, 0x3000, Mapping::anonymous(Prot::READ | Prot::WRITE), ignore)?;
    /// space.map_at(0x8000, 0x1000, Mapping::file(Prot::READ | Prot::EXEC, 1, 0).shared(), ignore)?;
    ///
    /// let usage = space.usage();
    /// assert_eq!((usage.mapped, usage.regions), (0x4000, 2));
    /// assert_eq!(usage.writable_private, 0x3000);
    /// assert_eq!((usage.executable, usage.shared), (0x1000, 0x1000));
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn usage(&self) -> Usage {
        let Tally { mapped, writable_private, executable, shared } = self.tally;
        let bytes = |pages| self.geometry.page().bytes_of(pages).unwrap_or(u64::MAX);
        Usage {
            mapped: bytes(mapped),
            writable_private: bytes(writable_private),
            executable: bytes(executable),
            shared: bytes(shared),
            regions: self.areas.len(),
        }
    }

    /// The limits in force.
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// Sets the limits of the operations to come.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Error, Limits, Mapping, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x10000, 0x1000)?;
    /// space.set_limits(Limits { bytes: Some(0x2000), ..Limits::default() });
    /// space.map_at(0, 0x2000, Mapping::anonymous(Prot::READ), ignore)?;
    /// space.map_at(0, 0x2000, Mapping::anonymous(Prot::WRITE), ignore)?; // replaces
    /// let refused = space.map_at(0x8000, 1, Mapping::anonymous(Prot::READ), ignore);
    /// assert!(matches!(refused, Err(Error::ByteLimit { limit: 0x2000, .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Refuses to map `added` pages when those of `replaced` go.
    #[inline]
    pub(super) fn check_bytes(
        &self,
        call: Call,
        added: u64,
        replaced: impl IntoIterator<Item = Range<u64>>,
    ) -> Result<(), Error> {
        let Some(limit) = self.limits.bytes else { return Ok(()) };
        let mut gone = Tally::ZERO;
        for range in replaced {
            gone.add(self.tally_of(range));
        }
        // What goes is mapped now, so the subtraction comes first.
        let after = self.tally.mapped.wrapping_sub(gone.mapped).saturating_add(added);
        if after > self.geometry.page().pages_floor(limit) && after > self.tally.mapped {
            return Err(Error::ByteLimit { verb: call.verb, len: call.len, limit });
        }
        Ok(())
    }

    /// What is mapped in `range`.
    pub(super) fn tally_of(&self, range: Range<u64>) -> Tally {
        let mut tally = Tally::ZERO;
        for (piece, area) in self.areas.pieces(range) {
            tally.count(area.prot, area.flags, &piece);
        }
        tally
    }

    /// Refuses a change of `range` after which there would be too many regions.
    #[inline]
    pub(super) fn check_regions(
        &self,
        call: Call,
        range: &Range<u64>,
        change: &Change<F>,
    ) -> Result<(), Error> {
        if self.limits.regions.is_none() {
            return Ok(());
        }
        self.count_regions(call, range, change)
    }

    /// The same with a limit.
    #[cold]
    fn count_regions(
        &self,
        call: Call,
        range: &Range<u64>,
        change: &Change<F>,
    ) -> Result<(), Error> {
        let after = match change {
            Change::Unmap => self.starts_replaced(range, None),
            Change::Map(area) => self.starts_replaced(range, Some(area)),
            Change::Protect(_) | Change::Flags { .. } | Change::Unmark => {
                self.starts_altered(range, change)
            }
        };
        self.check_starts(call, self.starts(range), after)
    }

    /// Refuses a change by which so many starts of regions become so many.
    pub(super) fn check_starts(
        &self,
        call: Call,
        before: usize,
        after: usize,
    ) -> Result<(), Error> {
        let Some(limit) = self.limits.regions else { return Ok(()) };
        let now = self.areas.len();
        let then = now.saturating_sub(before).saturating_add(after);
        if then > limit && then > now {
            let Call { verb, addr, len } = call;
            return Err(Error::RegionLimit { verb, addr, len, limit });
        }
        Ok(())
    }

    // A change of a range can only change where regions start from the first
    // page of the range up to the page after it. So that is what is counted.

    /// The regions that start in `range` or right after it.
    pub(super) fn starts(&self, range: &Range<u64>) -> usize {
        let inside = self.areas.overlapping(range.clone()).filter(|(r, _)| r.start >= range.start);
        let after = self.areas.get_range(range.end).is_some_and(|(r, _)| r.start == range.end);
        inside.count().saturating_add(usize::from(after))
    }

    /// The same when `new`, or nothing, is all that is in `range`.
    fn starts_replaced(&self, range: &Range<u64>, new: Option<&Area<F>>) -> usize {
        let first = new.is_some() && self.area_before(range.start) != new;
        let next = self.areas.get(range.end);
        let after = next.is_some() && next != new;
        usize::from(first).saturating_add(usize::from(after))
    }

    /// The same when `change` has altered what is in `range`.
    fn starts_altered(&self, range: &Range<u64>, change: &Change<F>) -> usize {
        let mut starts = 0_usize;
        let mut left =
            self.area_before(range.start).map(|area| (range.start, area, area.attributes()));
        let pieces = self.areas.pieces(range.clone()).map(|(r, a)| (r, a, change.applied_to(a)));
        let next =
            self.areas.get_range(range.end).map(|(r, a)| (range.end..r.end, a, a.attributes()));
        for (piece, area, attributes) in pieces.chain(next) {
            let joins = left.is_some_and(|(end, other, others)| {
                end == piece.start && others == attributes && other.same_holder(area)
            });
            if !joins {
                starts = starts.saturating_add(1);
            }
            left = Some((piece.end, area, attributes));
        }
        starts
    }

    /// What is mapped on the page before `page`.
    pub(super) fn area_before(&self, page: u64) -> Option<&Area<F>> {
        page.checked_sub(1).and_then(|before| self.areas.get(before))
    }
}
