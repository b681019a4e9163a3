//! Where a new mapping may go.

use super::error::Error;
use super::{AddrSpace, Call};
use core::ops::Range;

/// Where a new mapping may go, and which of these places it takes.
///
/// # Examples
///
/// ```
/// use addrspace::{AddrSpace, Mapping, Placement, Prot, ignore};
///
/// let mut space: AddrSpace = AddrSpace::new(0, 0x10_0000, 0x1000)?;
/// let memory = Mapping::anonymous(Prot::READ);
///
/// // The highest place below 0x8_0000 with a free page on either side.
/// let below = Placement::highest().within(0, 0x8_0000).guarded(0x1000, 0x1000);
/// assert_eq!(space.map_any(0x2000, memory, below, ignore)?, 0x7_e000);
///
/// // Any place, each as likely as another: the caller brings the randomness.
/// let somewhere = Placement::random(0x9e37_79b9_7f4a_7c15);
/// space.map_any(0x2000, memory, somewhere, ignore)?;
/// # Ok::<(), addrspace::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Placement {
    policy: Policy,
    hint: Option<u64>,
    /// An address and a length.
    within: Option<(u64, u64)>,
    align: u64,
    offset: u64,
    guard_below: u64,
    guard_above: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
enum Policy {
    Lowest,
    Highest,
    Nth(u64),
    Random(u64),
}

impl Placement {
    const fn new(policy: Policy) -> Self {
        Self {
            policy,
            hint: None,
            within: None,
            align: 1,
            offset: 0,
            guard_below: 0,
            guard_above: 0,
        }
    }

    /// The lowest place, which is the default.
    pub const fn lowest() -> Self {
        Self::new(Policy::Lowest)
    }

    /// The highest place.
    pub const fn highest() -> Self {
        Self::new(Policy::Highest)
    }

    /// The place number `n` in ascending order, from 0.
    ///
    /// [`AddrSpace::placements`] tells how many there are;
    /// finding the place is linear in the gaps that may fit.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Mapping, Placement, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x8000, 0x1000)?;
    /// let memory = Mapping::anonymous(Prot::READ);
    /// space.map_at(0x2000, 0x1000, memory, ignore)?;
    /// // Two pages fit at 0, and at 0x3000 to 0x6000.
    /// assert_eq!(space.placements(0x2000, Placement::lowest())?, 5);
    /// assert_eq!(space.map_any(0x2000, memory, Placement::nth(1), ignore)?, 0x3000);
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub const fn nth(n: u64) -> Self {
        Self::new(Policy::Nth(n))
    }

    /// One of the places, chosen by `bits`, 64 random bits.
    ///
    /// If the bits are uniform, so is the choice: of the 2^64 values each place
    /// gets the same number, give or take one.
    pub const fn random(bits: u64) -> Self {
        Self::new(Policy::Random(bits))
    }

    /// Prefers the place at `addr`, rounded down to a page and to the alignment.
    ///
    /// If it is not free, or not within the bounds, the place is chosen as without
    /// it.
    #[must_use]
    pub const fn near(mut self, addr: u64) -> Self {
        self.hint = Some(addr);
        self
    }

    /// Only places in the `len` bytes at `addr`; of these, in the space.
    ///
    /// Guard pages may lie outside of the bounds.
    #[must_use]
    pub const fn within(mut self, addr: u64, len: u64) -> Self {
        self.within = Some((addr, len));
        self
    }

    /// Only addresses that are a multiple of `align` bytes.
    #[must_use]
    pub const fn aligned(self, align: u64) -> Self {
        self.aligned_at(align, 0)
    }

    /// Only addresses that are `offset` bytes past a multiple of `align` bytes.
    ///
    /// `align` is a multiple of the page size, not necessarily a power of two, or
    /// divides it, which asks for nothing; 0 counts as 1.
    /// `offset` is a multiple of the page size.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Mapping, Placement, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0x1000, 0x10_0000, 0x1000)?;
    /// let place = Placement::lowest().aligned_at(0x8000, 0x3000);
    /// let memory = Mapping::anonymous(Prot::READ);
    /// assert_eq!(space.map_any(0x2000, memory, place, ignore)?, 0x3000);
    /// assert_eq!(space.map_any(0x2000, memory, place, ignore)?, 0xb000);
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    #[must_use]
    pub const fn aligned_at(mut self, align: u64, offset: u64) -> Self {
        self.align = align;
        self.offset = offset;
        self
    }

    /// The same at multiples of `granule` bytes, if they are not already.
    #[cfg(all(feature = "exec", target_os = "linux"))]
    pub(crate) const fn coarser(mut self, granule: u64) -> Self {
        let fits = self.align > 0
            && self.align.is_multiple_of(granule)
            && self.offset.is_multiple_of(granule);
        if !fits {
            (self.align, self.offset) = (granule, 0);
        }
        self
    }

    /// Only places with so many bytes free `below` and `above`, rounded up to pages.
    ///
    /// The guards lie in the space. They constrain this one search and are not
    /// remembered; a lasting guard is a mapping without access.
    #[must_use]
    pub const fn guarded(mut self, below: u64, above: u64) -> Self {
        self.guard_below = below;
        self.guard_above = above;
        self
    }
}

impl Default for Placement {
    fn default() -> Self {
        Self::lowest()
    }
}

/// A search in pages: guards and mapping are one range, which has to be free.
struct Search {
    len: u64,
    /// How far into the range the mapping starts.
    guard: u64,
    align: u64,
    /// What the start of the range leaves when divided by `align`.
    phase: u64,
    within: Range<u64>,
}

impl<F: Clone + PartialEq> AddrSpace<F> {
    /// Counts the places where `len` bytes could be mapped: none for no bytes.
    ///
    /// The hint and the choice between the places do not matter.
    /// The time is linear in the gaps that may fit.
    ///
    /// # Errors
    ///
    /// [`Error::Alignment`] if pages cannot be aligned like that.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Mapping, Placement, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x10000, 0x1000)?;
    /// space.map_at(0x4000, 0x1000, Mapping::anonymous(Prot::READ), ignore)?;
    ///
    /// // Three in the gap of four pages, ten in that of eleven.
    /// assert_eq!(space.placements(0x2000, Placement::default())?, 13);
    /// let ninth = space.map_any(0x2000, Mapping::anonymous(Prot::READ), Placement::nth(9), ignore)?;
    /// assert_eq!(ninth, 0xb000);
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn placements(&self, len: u64, placement: Placement) -> Result<u64, Error> {
        let search = self.search(len, placement)?.filter(|_| len > 0);
        Ok(search.map_or(0, |search| self.count(&search)))
    }

    /// The page at which `placement` puts the bytes of `call`.
    pub(super) fn choose(&self, call: Call, placement: Placement) -> Result<u64, Error> {
        if call.len == 0 {
            return Err(Error::ZeroLength { verb: call.verb, addr: call.addr });
        }
        let search = self.search(call.len, placement)?.ok_or(call.no_room())?;
        let Search { len, align, phase, .. } = search;
        let within = search.within.clone();
        let found = self.hinted(&search, placement.hint).or_else(|| match placement.policy {
            Policy::Lowest => self.areas.first_gap_on(len, align, phase, within),
            Policy::Highest => self.areas.last_gap_on(len, align, phase, within),
            Policy::Nth(n) => self.areas.nth_placement_on(n, len, align, phase, within),
            Policy::Random(bits) => {
                let n = scale(bits, self.count(&search));
                self.areas.nth_placement_on(n, len, align, phase, within)
            }
        });
        found.and_then(|start| start.checked_add(search.guard)).ok_or(call.no_room())
    }

    fn count(&self, search: &Search) -> u64 {
        let Search { len, align, phase, .. } = *search;
        self.areas.placements_on(len, align, phase, search.within.clone())
    }

    /// The hint's place, if there is a hint and the place is free.
    fn hinted(&self, search: &Search, hint: Option<u64>) -> Option<u64> {
        let start = self.geometry.page_at(hint?)?.checked_sub(search.guard)?;
        // Down to the alignment.
        let start = start.checked_sub(past(start, search.phase, search.align))?;
        let end = start.checked_add(search.len)?;
        let fits = search.within.start <= start && end <= search.within.end;
        (fits && !self.areas.overlaps(start..end)).then_some(start)
    }

    /// In pages, what is looked for; nothing if no space has so many.
    fn search(&self, len: u64, placement: Placement) -> Result<Option<Search>, Error> {
        let geometry = self.geometry;
        let page = geometry.page();
        let Placement { align, offset, guard_below, guard_above, .. } = placement;
        let (below, above) = (page.pages_ceil(guard_below), page.pages_ceil(guard_above));
        let fine = align == 0 || page.bytes().is_multiple_of(align);
        if !page.is_aligned(offset) || !(fine || page.is_aligned(align)) {
            return Err(Error::Alignment { align, offset });
        }
        let align = if fine { 1 } else { page.pages_floor(align) };
        // The alignment is that of an address, and the start of the range stands
        // `below` pages before it: start + below + first_page = offset.
        let before = past(below, negative(geometry.first_page(), align), align);
        let phase = past(page.pages_floor(offset), before, align);
        let within =
            placement.within.map_or(geometry.all(), |(addr, len)| geometry.within(addr, len));
        let Some(len) =
            page.pages_ceil(len).checked_add(below).and_then(|len| len.checked_add(above))
        else {
            return Ok(None);
        };
        if within.is_empty() {
            return Ok(None);
        }
        let all = geometry.all();
        let within =
            within.start.saturating_sub(below)..within.end.saturating_add(above).min(all.end);
        Ok(Some(Search { len, guard: below, align, phase, within }))
    }
}

/// How far `a` is past `b` in the circle of `align` numbers.
fn past(a: u64, b: u64, align: u64) -> u64 {
    let (a, b) = (residue(a, align), residue(b, align));
    // Both are below `align`: where one is above the other, so is their difference.
    if a >= b { a.wrapping_sub(b) } else { align.wrapping_sub(b.wrapping_sub(a)) }
}

/// The number that, added to `a`, completes the circle.
fn negative(a: u64, align: u64) -> u64 {
    past(0, a, align)
}

fn residue(a: u64, align: u64) -> u64 {
    a.checked_rem(align).unwrap_or(0)
}

/// `bits` of 2^64 parts of `count`, rounded down.
fn scale(bits: u64, count: u64) -> u64 {
    const PARTS: u128 = 1 << 64;
    let product = u128::from(bits).wrapping_mul(u128::from(count)); // two u64 fit a u128
    u64::try_from(product.div_euclid(PARTS)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    /// A placement that asks for no less than the granule stays as it is.
    #[cfg(all(feature = "exec", target_os = "linux"))]
    #[test]
    fn coarser_places_are_multiples_of_the_granule() {
        use super::Placement;

        let table = [
            ((1, 0), (8, 0)),
            ((0, 0), (8, 0)),
            ((4, 4), (8, 0)),
            ((12, 0), (8, 0)),
            ((16, 4), (8, 0)),
            ((8, 0), (8, 0)),
            ((16, 8), (16, 8)),
            ((24, 16), (24, 16)),
        ];
        for ((align, offset), (coarse, kept)) in table {
            let place = Placement::highest().near(5).aligned_at(align, offset);
            assert_eq!(place.coarser(8), place.aligned_at(coarse, kept), "{offset} past {align}");
        }
    }
}
