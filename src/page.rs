//! Units: pages, bytes and the checked ways between them.
//!
//! The only module that shifts.
//! Elsewhere an address or a length in bytes is a `u64` of the public interface,
//! and a page is its index from the start of the space.

use core::fmt;
use core::ops::Range;

/// The size of a page: a power of two from 1 byte to 2^63 bytes.
///
/// # Examples
///
/// ```
/// use addrspace::PageSize;
///
/// let page = PageSize::new(4096).unwrap();
/// assert_eq!(page.bytes(), 4096);
/// assert_eq!(page.round_down(0x1fff), 0x1000);
/// assert_eq!(page.round_up(0x1001), Some(0x2000));
/// assert_eq!(page.round_up(u64::MAX), None); // 2^64 is not a `u64`
/// assert_eq!(PageSize::new(3000), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageSize {
    /// The binary logarithm of the size, at most 63.
    shift: u32,
}

impl PageSize {
    /// Makes a page size of `bytes`, or nothing if `bytes` is not a power of two.
    pub const fn new(bytes: u64) -> Option<Self> {
        if bytes.is_power_of_two() { Some(Self { shift: bytes.trailing_zeros() }) } else { None }
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        1 << self.shift
    }

    /// Whether `addr` is the first byte of a page.
    pub const fn is_aligned(self, addr: u64) -> bool {
        addr & self.mask() == 0
    }

    /// The first byte of the page that `addr` lies in.
    pub const fn round_down(self, addr: u64) -> u64 {
        addr & !self.mask()
    }

    /// `len` bytes rounded up to whole pages, in bytes; nothing if that is 2^64.
    pub const fn round_up(self, len: u64) -> Option<u64> {
        self.bytes_of(self.pages_ceil(len))
    }

    /// The bits of an address inside a page.
    const fn mask(self) -> u64 {
        // The size is at least 1, so there is something to take 1 from.
        self.bytes().wrapping_sub(1)
    }

    /// Counts the whole pages in `len` bytes.
    #[inline]
    pub(crate) const fn pages_floor(self, len: u64) -> u64 {
        len >> self.shift
    }

    /// Counts the pages that `len` bytes need; cannot overflow.
    #[inline]
    pub(crate) const fn pages_ceil(self, len: u64) -> u64 {
        // Not `div_ceil`, which divides: the compiler does not know that the size is a
        // power of two. Where a length can be unaligned there is room for one more.
        let pages = self.pages_floor(len);
        if self.is_aligned(len) { pages } else { pages.wrapping_add(1) }
    }

    /// The bytes of `pages` pages; nothing if they do not fit a `u64`.
    pub(crate) const fn bytes_of(self, pages: u64) -> Option<u64> {
        if pages <= u64::MAX >> self.shift { Some(pages << self.shift) } else { None }
    }
}

impl fmt::Debug for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PageSize({})", self.bytes())
    }
}

/// A range of addresses that is never empty and may end at 2^64.
///
/// What a space answers is a span.
/// It stores its first and its last byte,
/// because a half-open range cannot say 2^64.
///
/// # Examples
///
/// ```
/// use addrspace::Span;
///
/// let page = Span::new(0x1000, 0x1fff).unwrap();
/// assert_eq!((page.start(), page.last()), (0x1000, 0x1fff));
/// assert_eq!((page.len(), page.end()), (Some(0x1000), Some(0x2000)));
///
/// let top = Span::new(0xffff_ffff_ffff_f000, u64::MAX).unwrap();
/// assert_eq!((top.len(), top.end()), (Some(0x1000), None));
///
/// let everything = Span::new(0, u64::MAX).unwrap();
/// assert_eq!((everything.len(), everything.end()), (None, None));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    first: u64,
    last: u64,
}

#[expect(clippy::len_without_is_empty, reason = "a span is never empty")]
impl Span {
    /// Makes the span from the byte `first` to the byte `last`, both included;
    /// nothing if `last` comes before `first`.
    pub const fn new(first: u64, last: u64) -> Option<Self> {
        if first <= last { Some(Self { first, last }) } else { None }
    }

    /// Makes the span of the `len` bytes at `start`; nothing if there are none, or
    /// the end is past 2^64.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Span;
    ///
    /// assert_eq!(Span::of(0x1000, 0x1000), Span::new(0x1000, 0x1fff));
    /// assert_eq!(Span::of(0x1000, 0), None);
    /// assert_eq!(Span::of(u64::MAX, 1).unwrap().last(), u64::MAX);
    /// assert_eq!(Span::of(u64::MAX, 2), None);
    /// ```
    pub const fn of(start: u64, len: u64) -> Option<Self> {
        let Some(extent) = len.checked_sub(1) else { return None };
        match start.checked_add(extent) {
            Some(last) => Some(Self { first: start, last }),
            None => None,
        }
    }

    /// The address of the first byte.
    pub const fn start(self) -> u64 {
        self.first
    }

    /// The address of the last byte, which belongs to the span.
    pub const fn last(self) -> u64 {
        self.last
    }

    /// The length in bytes; nothing if it is 2^64.
    pub const fn len(self) -> Option<u64> {
        self.extent().checked_add(1)
    }

    /// The address after the last byte; nothing if it is 2^64.
    pub const fn end(self) -> Option<u64> {
        self.last.checked_add(1)
    }

    /// Whether the byte at `addr` belongs to the span.
    pub const fn contains(self, addr: u64) -> bool {
        self.first <= addr && addr <= self.last
    }

    /// Whether the two spans have a byte in common.
    pub const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The distance from the first to the last byte, one less than the length.
    const fn extent(self) -> u64 {
        // `new` has seen that `first` is not above `last`.
        self.last.wrapping_sub(self.first)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..={:#x}", self.first, self.last)
    }
}

/// Why `(addr, len)` names no range of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Zero,
    Unaligned,
    Outside,
}

/// Where a space lies, and its pages.
///
/// A page is known by its index from the start of the space.
/// So the highest index is the number of pages, which fits a `u64` for every
/// space but that of 2^64 pages of one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    start: u64,
    pages: u64,
    page: PageSize,
}

impl Geometry {
    /// Nothing if `start` or `len` is unaligned or the end is past 2^64.
    pub(crate) const fn new(start: u64, len: u64, page: PageSize) -> Option<Self> {
        if !page.is_aligned(start) || !page.is_aligned(len) {
            return None;
        }
        // The last byte has to have an address; there is none if `len` is zero.
        if len > 0 && start.checked_add(len.wrapping_sub(1)).is_none() {
            return None;
        }
        Some(Self { start, pages: page.pages_floor(len), page })
    }

    /// All 2^64 bytes; nothing for pages of one byte, whose number does not fit.
    pub(crate) const fn whole(page: PageSize) -> Option<Self> {
        match page.pages_floor(u64::MAX).checked_add(1) {
            Some(pages) => Some(Self { start: 0, pages, page }),
            None => None,
        }
    }

    pub(crate) const fn page(self) -> PageSize {
        self.page
    }

    pub(crate) const fn start(self) -> u64 {
        self.start
    }

    /// All pages of the space.
    pub(crate) const fn all(self) -> Range<u64> {
        0..self.pages
    }

    /// The number of the space's first page, counted from address zero.
    pub(crate) const fn first_page(self) -> u64 {
        self.page.pages_floor(self.start)
    }

    /// The whole space; nothing if its length is zero.
    pub(crate) const fn span(self) -> Option<Span> {
        if self.pages == 0 { None } else { Some(self.span_of(0, self.pages)) }
    }

    /// The page that `addr` lies in.
    pub(crate) const fn page_at(self, addr: u64) -> Option<u64> {
        match addr.checked_sub(self.start) {
            Some(distance) => {
                let page = self.page.pages_floor(distance);
                if page < self.pages { Some(page) } else { None }
            }
            None => None,
        }
    }

    /// The boundary of pages at or below `addr`, from the first page to the end.
    pub(crate) const fn boundary_at(self, addr: u64) -> u64 {
        let page = self.page.pages_floor(addr.saturating_sub(self.start));
        if page < self.pages { page } else { self.pages }
    }

    /// The address of a page's first byte.
    ///
    /// The end of the space is an answer too; it is 0 if the space ends at 2^64.
    #[inline]
    pub(crate) const fn addr_of(self, page: u64) -> u64 {
        debug_assert!(page <= self.pages, "the page belongs to the space");
        // A page of the space starts below 2^64. The end alone may wrap, to zero:
        // the shift loses at most the one bit that stands for 2^64.
        self.start.wrapping_add(page << self.page.shift)
    }

    /// The addresses of the pages from `first` up to `end`.
    #[inline]
    pub(crate) const fn span_of(self, first: u64, end: u64) -> Span {
        debug_assert!(first < end, "a span is never empty");
        // `end` may be 2^64, whose predecessor wraps back to the last byte.
        Span { first: self.addr_of(first), last: self.addr_of(end).wrapping_sub(1) }
    }

    /// The bytes in `pages` pages, which may wrap to 0 for all 2^64.
    pub(crate) const fn distance(self, pages: u64) -> u64 {
        pages << self.page.shift
    }

    /// The pages of the `len` bytes at `addr`, `len` rounded up.
    #[inline]
    pub(crate) const fn pages_of(self, addr: u64, len: u64) -> Result<Range<u64>, Fault> {
        if len == 0 {
            return Err(Fault::Zero);
        }
        let Some(distance) = addr.checked_sub(self.start) else {
            return Err(if self.page.is_aligned(addr) { Fault::Outside } else { Fault::Unaligned });
        };
        if !self.page.is_aligned(distance) {
            return Err(Fault::Unaligned);
        }
        let first = self.page.pages_floor(distance);
        // Both sides of the sum are counts of pages: with pages of one byte the
        // sum overflows although neither does.
        match first.checked_add(self.page.pages_ceil(len)) {
            Some(end) if end <= self.pages => Ok(first..end),
            _ => Err(Fault::Outside),
        }
    }

    /// The pages of the space that have a byte among the `len` bytes at `addr`.
    pub(crate) const fn touched(self, addr: u64, len: u64) -> Range<u64> {
        let Some(extent) = len.checked_sub(1) else { return 0..0 };
        let last = addr.saturating_add(extent);
        if self.pages == 0 || last < self.start {
            return 0..0;
        }
        let last = self.page.pages_floor(last.wrapping_sub(self.start));
        // A last page below the number of pages has a successor.
        let end = if last < self.pages { last.wrapping_add(1) } else { self.pages };
        self.boundary_at(addr)..end
    }

    /// The pages of the space that lie wholly in the `len` bytes at `addr`.
    pub(crate) const fn within(self, addr: u64, len: u64) -> Range<u64> {
        let before = self.start.saturating_sub(addr);
        let Some(len) = len.checked_sub(before) else { return 0..0 };
        let from = addr.saturating_sub(self.start);
        let first = self.page.pages_ceil(from);
        // Bytes past 2^64 do not exist, so the end saturates; when it does, it
        // stands for 2^64, which is a boundary of pages.
        let end = match from.checked_add(len) {
            Some(end) => self.page.pages_floor(end),
            None => self.pages,
        };
        first..if end < self.pages { end } else { self.pages }
    }
}
