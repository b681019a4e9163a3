//! Growing, shrinking and moving what is mapped: the rules of mremap(2).

use super::area::Area;
use super::commit::{Change, Commit};
use super::error::{Error, Verb};
use super::map::check_backing;
use super::placement::Placement;
use super::relocate::Journey;
use super::update::{Answer, Update};
use super::{AddrSpace, Call};
use crate::MapFlags;
use crate::page::Fault;
use crate::range_map::Extent;
use core::cmp::Ordering;
use core::ops::Range;

/// Where [`AddrSpace::remap`] may put a mapping.
///
/// # Examples
///
/// ```
/// use addrspace::{AddrSpace, Mapping, Placement, Prot, Remap, ignore};
///
/// let mut space: AddrSpace = AddrSpace::new(0, 0x8000, 0x1000)?;
/// space.map_at(0, 0x2000, Mapping::anonymous(Prot::READ), ignore)?;
/// space.remap(0, 0x2000, 0x2000, Remap::to(0x3000), ignore)?;
/// assert_eq!(space.picture().to_string(), "...rr...");
///
/// // To the highest place, and the old one stays mapped.
/// let copy = Remap::may_move(Placement::highest()).keep_source();
/// space.remap(0x3000, 0x2000, 0x2000, copy, ignore)?;
/// assert_eq!(space.picture().to_string(), "...rr.rr");
/// space.remap(0x3000, 0x2000, 0x3000, Remap::in_place(), ignore)?;
/// assert_eq!(space.picture().to_string(), "...rrrrr");
/// # Ok::<(), addrspace::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Remap {
    target: Target,
    keep_source: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Target {
    InPlace,
    Anywhere(Placement),
    At(u64),
}

impl Remap {
    /// It stays where it is (no flag of mremap).
    pub const fn in_place() -> Self {
        Self { target: Target::InPlace, keep_source: false }
    }

    /// If it cannot grow where it is, it moves to where `placement` says
    /// (`MREMAP_MAYMOVE`).
    pub const fn may_move(placement: Placement) -> Self {
        Self { target: Target::Anywhere(placement), keep_source: false }
    }

    /// It moves to `addr` and replaces what is there (`MREMAP_FIXED`).
    pub const fn to(addr: u64) -> Self {
        Self { target: Target::At(addr), keep_source: false }
    }

    /// The old place stays mapped (`MREMAP_DONTUNMAP`).
    #[must_use]
    pub const fn keep_source(mut self) -> Self {
        self.keep_source = true;
        self
    }

    /// Whether it goes elsewhere even if it does not grow.
    #[cfg(all(feature = "exec", target_os = "linux"))]
    pub(crate) const fn leaves(&self) -> bool {
        self.keep_source || matches!(self.target, Target::At(_))
    }
}

impl<F: Clone + PartialEq> AddrSpace<F> {
    /// Resizes or moves the mapping of the `old_len` bytes at `addr` to `new_len`
    /// bytes where `how` says, and tells its new address.
    ///
    /// - Shrinking is one [`Update::Unmap`] per run at the old end.
    /// - Growing in place, if the pages after it are free, is one [`Update::Map`]
    ///   of the pages that are new, with the backing continued.
    /// - Moving is one [`Update::Move`] per run without gaps, after shrinking.
    ///   What is moved is not original at its new place.
    /// - An `old_len` of zero duplicates the shared mapping at `addr`, which is a
    ///   move that keeps its source. The new place may overlap what follows the
    ///   page at `addr`, and then overwrites it, but not that page.
    ///
    /// Only a move to a given address at the same length may cover several
    /// mappings, and gaps, under which what is there stays; so does Linux since
    /// 6.17. Whether two neighbours differ in the original mark does not matter.
    ///
    /// # Errors
    ///
    /// If nothing was reported and nothing has changed:
    ///
    /// - [`Error::Unaligned`], [`Error::ZeroLength`] (the new length),
    ///   [`Error::OutOfBounds`] (the old range), [`Error::BadDestination`] or
    ///   [`Error::Overlap`] if a range cannot be;
    /// - [`Error::BadRemap`] if the options contradict each other, or a private
    ///   mapping is to be duplicated;
    /// - [`Error::NotMapped`] or [`Error::SeveralMappings`] if the old range is not
    ///   of one mapping where it has to be;
    /// - [`Error::NoRoom`] if it cannot stay and has nowhere to go,
    ///   [`Error::Alignment`] as of [`map_any`](Self::map_any);
    /// - [`Error::OffsetOverflow`] if its file would pass 2^64;
    /// - [`Error::ByteLimit`], [`Error::RegionLimit`] or [`Error::NoMemory`].
    ///
    /// If the handler refuses ([`OpError::Handler`](crate::OpError::Handler)), or
    /// panics, the updates before are recorded, and of this one what it has
    /// acknowledged; `at` is an address of the old place. What has moved is no
    /// longer there: going on is a call with what is left from `at` on and, for a
    /// move to a given address, the target as much further.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Error, Mapping, Placement, Prot, Remap, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x10000, 0x1000)?;
    /// space.map_at(0x1000, 0x1000, Mapping::file(Prot::READ, 3, 0), ignore)?;
    /// space.map_at(0x3000, 0x1000, Mapping::anonymous(Prot::READ), ignore)?;
    ///
    /// // Two pages fit where one is, three do not.
    /// assert_eq!(space.remap(0x1000, 0x1000, 0x2000, Remap::in_place(), ignore)?, 0x1000);
    /// let stuck = space.remap(0x1000, 0x2000, 0x3000, Remap::in_place(), ignore);
    /// assert!(matches!(stuck, Err(Error::NoRoom { .. })));
    /// let moving = Remap::may_move(Placement::lowest());
    /// assert_eq!(space.remap(0x1000, 0x2000, 0x3000, moving, ignore)?, 0x4000);
    /// assert_eq!(space.query(0x4000).unwrap().len(), Some(0x3000));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn remap<A: Answer>(
        &mut self,
        addr: u64,
        old_len: u64,
        new_len: u64,
        how: Remap,
        mut handler: impl FnMut(Update<'_, F>) -> A,
    ) -> Result<u64, A::Error> {
        let call = Call { verb: Verb::Remap, addr, len: old_len };
        let page = self.geometry.page();
        let sizes = page.pages_ceil(new_len).cmp(&page.pages_ceil(old_len));
        let to = self.check_remap(call, new_len, how, sizes)?;
        if old_len == 0 {
            return self.duplicate(call, new_len, how.target, to, handler);
        }
        let from = call.range(self.geometry)?;
        self.check_start(call, from.start)?;
        // Checked against the space if it moves; otherwise it is where it was.
        // With pages of one byte the sum can pass 2^64: no space reaches that far.
        let fits = from.start.checked_add(page.pages_ceil(new_len));
        let fits = fits.filter(|end| *end <= self.geometry.all().end);
        let end = fits.unwrap_or(u64::MAX);

        if let Some(to) = to {
            let kept = from.start..from.end.min(end);
            if sizes != Ordering::Equal {
                self.one_mapping(call, &kept)?;
            }
            return self.travel(call, from, kept, to, how.keep_source, handler);
        }
        match sizes {
            Ordering::Equal if !how.keep_source => Ok(addr),
            Ordering::Less => {
                self.alter(call, end..from.end, Change::Unmap, handler)?;
                Ok(addr)
            }
            Ordering::Equal => {
                self.one_mapping(call, &from)?;
                self.wander(call, new_len, from, how, handler)
            }
            Ordering::Greater => {
                let area = self.one_mapping(call, &from)?;
                self.check_growth(new_len, from.start, area)?;
                let extension = from.end..end;
                if fits.is_none() || self.areas.overlaps(extension.clone()) {
                    return self.wander(call, new_len, from, how, handler);
                }
                let mut area = area.clone();
                area.set_original(false);
                self.put(Call { len: new_len, ..call }, extension, area, &mut handler)?;
                Ok(addr)
            }
        }
    }

    /// The checks that need no look into the books, and the new place if it is given.
    fn check_remap(
        &self,
        call: Call,
        new_len: u64,
        how: Remap,
        sizes: Ordering,
    ) -> Result<Option<Range<u64>>, Error> {
        let Call { verb, addr, len } = call;
        let page = self.geometry.page();
        if !page.is_aligned(addr) {
            return Err(Error::Unaligned { verb, addr, len });
        }
        if new_len == 0 {
            return Err(Error::ZeroLength { verb, addr });
        }
        if page.pages_ceil(new_len) > self.geometry.all().end {
            return Err(Error::BadDestination { addr, len: new_len });
        }
        if how.keep_source && (how.target == Target::InPlace || sizes != Ordering::Equal) {
            return Err(Error::BadRemap { addr, len });
        }
        let Target::At(new) = how.target else { return Ok(None) };
        let to = self.geometry.pages_of(new, new_len).map_err(|fault| match fault {
            Fault::Outside => Error::BadDestination { addr: new, len: new_len },
            fault => Call { verb, addr: new, len: new_len }.error(fault),
        })?;
        if let Ok(from) = self.geometry.pages_of(addr, len) {
            let (first, end) = (from.start.max(to.start), from.end.min(to.end));
            if first < end {
                let conflict = self.geometry.span_of(first, end);
                return Err(Error::Overlap { addr, len, conflict });
            }
        }
        // A length of zero is no range, but it lies between two pages.
        if len == 0 && self.geometry.page_at(addr).is_some_and(|at| to.start < at && at < to.end) {
            let conflict = self.geometry.span_of(to.start, to.end);
            return Err(Error::Overlap { addr, len: new_len, conflict });
        }
        Ok(Some(to))
    }

    /// What is mapped on the first page of the old range, which has to be.
    fn check_start(&self, call: Call, page: u64) -> Result<(Range<u64>, &Area<F>), Error> {
        self.areas.get_range(page).ok_or_else(|| {
            let gap = self.geometry.span_of(page, page.saturating_add(1));
            Error::NotMapped { addr: call.addr, len: call.len, gap }
        })
    }

    /// The area of `range`, all of which has to be one mapping.
    fn one_mapping(&self, call: Call, range: &Range<u64>) -> Result<&Area<F>, Error> {
        let Call { addr, len, .. } = call;
        let (mut whole, area) = self.check_start(call, range.start)?;
        for (next, other) in self.areas.overlapping(whole.end..range.end.max(whole.end)) {
            if next.start != whole.end {
                break;
            }
            if !area.continues(other) {
                let region = self.geometry.span_of(whole.start, whole.end);
                return Err(Error::SeveralMappings { addr, len, region });
            }
            whole.end = next.end;
        }
        if whole.end < range.end {
            let gaps = self.areas.gaps(whole.end..range.end).next();
            let gap = gaps.unwrap_or(whole.end..range.end);
            let gap = self.geometry.span_of(gap.start, gap.end);
            return Err(Error::NotMapped { addr, len, gap });
        }
        Ok(area)
    }

    /// Refuses to let a file grow past 2^64.
    fn check_growth(&self, new_len: u64, page: u64, area: &Area<F>) -> Result<(), Error> {
        let addr = self.geometry.addr_of(page);
        let call = Call { verb: Verb::Remap, addr, len: new_len };
        check_backing(self.geometry, call, &area.backing(addr))
    }

    /// Makes a second mapping of what is shared at the address of `call`.
    fn duplicate<A: Answer>(
        &mut self,
        call: Call,
        new_len: u64,
        target: Target,
        to: Option<Range<u64>>,
        handler: impl FnMut(Update<'_, F>) -> A,
    ) -> Result<u64, A::Error> {
        let Call { verb, addr, len } = call;
        let page = self.geometry.page_at(addr).ok_or(Error::OutOfBounds { verb, addr, len })?;
        let (whole, area) = self.check_start(call, page)?;
        if !area.flags.contains(MapFlags::SHARED) {
            return Err(Error::BadRemap { addr, len }.into());
        }
        self.check_growth(new_len, page, area)?;
        if let Some(to) = to.as_ref().filter(|to| to.start == page) {
            // Linux unmaps the new place first, and then finds nothing to duplicate.
            let conflict = self.geometry.span_of(to.start, to.end);
            return Err(Error::Overlap { addr, len: new_len, conflict }.into());
        }
        let pages = self.geometry.page().pages_ceil(new_len);
        let from = page..whole.end.min(page.saturating_add(pages));
        let to = match (target, to) {
            (_, Some(to)) => to,
            (Target::Anywhere(placement), None) => self.choose_range(call, new_len, placement)?,
            _ => return Err(Call { len: new_len, ..call }.no_room().into()),
        };
        self.travel(call, from.clone(), from, to, true, handler)
    }

    /// Moves `from` to where `how` has room for `new_len` bytes.
    fn wander<A: Answer>(
        &mut self,
        call: Call,
        new_len: u64,
        from: Range<u64>,
        how: Remap,
        handler: impl FnMut(Update<'_, F>) -> A,
    ) -> Result<u64, A::Error> {
        let Target::Anywhere(placement) = how.target else {
            return Err(Call { len: new_len, ..call }.no_room().into());
        };
        let to = self.choose_range(call, new_len, placement)?;
        self.travel(call, from.clone(), from, to, how.keep_source, handler)
    }

    fn choose_range(
        &self,
        call: Call,
        len: u64,
        placement: Placement,
    ) -> Result<Range<u64>, Error> {
        let page = self.choose(Call { len, ..call }, placement)?;
        Ok(page..page.saturating_add(self.geometry.page().pages_ceil(len)))
    }

    /// Unmaps what `from` has beyond `kept`, then moves `kept` to `to`.
    fn travel<A: Answer>(
        &mut self,
        call: Call,
        from: Range<u64>,
        kept: Range<u64>,
        to: Range<u64>,
        keep_source: bool,
        mut handler: impl FnMut(Update<'_, F>) -> A,
    ) -> Result<u64, A::Error> {
        let addr = self.geometry.addr_of(to.start);
        let tail = kept.end..from.end;
        let grows = to.end.saturating_sub(to.start) > kept.end.saturating_sub(kept.start);
        if grows {
            let new_len = self.geometry.distance(to.end.saturating_sub(to.start));
            let (_, area) = self.check_start(call, kept.start)?;
            self.check_growth(new_len, kept.start, area)?;
        }
        let journey = Journey { from: kept, to, keep_source };
        let moved = self.plan(call, &journey, &from)?;
        if !tail.is_empty() {
            let spot = self.secure(call, &tail, Extent::Cut)?;
            Commit::new(self, tail, spot, Change::Unmap).report_runs(&mut handler)?;
        }
        self.relocate(&journey, moved, handler)?;
        Ok(addr)
    }
}
