//! Addresses taken from the system.

use super::error::{ExecError, Refusal, Syscall};
use super::sys::{Errno, Ground, Place};
use super::view;
use crate::{PageSize, Span};

/// A range of addresses that this process has to itself, without access.
///
/// It costs address space and no memory (`PROT_NONE`, private, `MAP_NORESERVE`). It
/// is given back, once, when it is dropped; what of it cannot be given back, because
/// it was sealed, stays mapped until the process ends.
///
/// Beside it, it keeps one page somewhere else, for when the kernel's limit of mappings
/// is reached. So who wants several exact ranges should not count on what is free
/// between two of these calls: as with any allocation, it may be there that it goes.
///
/// # Examples
///
/// ```
/// use addrspace::Reservation;
///
/// let guest = Reservation::options().aligned(1 << 30).guarded(0x10000, 0x10000).reserve(1 << 32)?;
/// assert_eq!(guest.span().start() % (1 << 30), 0);
/// assert_eq!(guest.span().len(), Some(1 << 32));
/// # Ok::<(), addrspace::ExecError>(())
/// ```
#[derive(Debug)]
pub struct Reservation {
    pub(super) ground: Ground,
}

impl Reservation {
    /// Reserves `len` bytes, rounded up to whole pages, where the system likes.
    ///
    /// # Errors
    ///
    /// As of [`ReservationOptions::reserve`].
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Reservation;
    ///
    /// let all = Reservation::new(1 << 32)?;
    /// assert_eq!(all.span().len(), Some(1 << 32));
    /// Reservation::new(0).unwrap_err();
    /// Reservation::new(u64::MAX).unwrap_err();
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub fn new(len: u64) -> Result<Self, ExecError> {
        Self::options().reserve(len)
    }

    /// Where and how to reserve.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Reservation;
    ///
    /// let options = Reservation::options().guarded(0x10000, 0x10000);
    /// let (one, two) = (options.reserve(0x4000)?, options.reserve(0x8000)?);
    /// assert!(!one.guarded_span().overlaps(two.guarded_span()));
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub const fn options() -> ReservationOptions {
        ReservationOptions { at: None, align: 1, below: 0, above: 0 }
    }

    /// The addresses, without the guard pages.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{PageSize, Reservation};
    ///
    /// let page = Reservation::new(1)?; // is rounded up
    /// let size = page.span().len().and_then(PageSize::new).unwrap();
    /// assert!(size.is_aligned(page.span().start()));
    /// assert!(size.bytes() >= 4096);
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub const fn span(&self) -> Span {
        self.ground.span()
    }

    /// The same with the guard pages: all that goes back to the system.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Reservation;
    ///
    /// let guest = Reservation::options().guarded(0x10000, 0x20000).reserve(0x40000)?;
    /// let (inner, all) = (guest.span(), guest.guarded_span());
    /// assert_eq!((inner.start() - all.start(), all.last() - inner.last()), (0x10000, 0x20000));
    /// let plain = Reservation::new(0x40000)?;
    /// assert_eq!(plain.guarded_span(), plain.span());
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub const fn guarded_span(&self) -> Span {
        match self.ground.reserved() {
            Some(all) => all,
            None => self.ground.span(),
        }
    }
}

/// Where and how to reserve addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservationOptions {
    at: Option<u64>,
    align: u64,
    below: u64,
    above: u64,
}

impl ReservationOptions {
    /// At the address `at` and nowhere else; nobody's memory is replaced.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{ExecError, Reservation};
    ///
    /// let first = Reservation::new(0x10000)?;
    /// let again = Reservation::options().at(first.span().start()).reserve(0x10000);
    /// assert!(matches!(again, Err(ExecError::Taken { taken: Some(_), .. })));
    /// # Ok::<(), ExecError>(())
    /// ```
    #[must_use]
    pub const fn at(mut self, at: u64) -> Self {
        self.at = Some(at);
        self
    }

    /// At a multiple of `align` bytes, a power of two.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{ExecError, Reservation};
    ///
    /// let guest = Reservation::options().aligned(0x20_0000).reserve(0x10000)?;
    /// assert_eq!(guest.span().start() % 0x20_0000, 0);
    /// assert_eq!(guest.span().len(), Some(0x10000)); // nothing is kept for the alignment
    /// let refused = Reservation::options().aligned(3).reserve(0x10000).unwrap_err();
    /// assert_eq!(refused, ExecError::Alignment { at: 0, align: 3 });
    /// # Ok::<(), ExecError>(())
    /// ```
    #[must_use]
    pub const fn aligned(mut self, align: u64) -> Self {
        self.align = align;
        self
    }

    /// With so many bytes `below` and `above`, rounded up to pages, in which nothing
    /// will ever be mapped.
    ///
    /// A guest that runs off an end of its memory then finds a fault, not the
    /// memory of somebody else.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Error, ExecError, Executor, Memory, Prot, Reservation};
    ///
    /// let reservation = Reservation::options().guarded(0, 0x10000).reserve(0x10000)?;
    /// let guard = reservation.span().end().unwrap();
    /// let mut guest = Executor::new(reservation)?;
    /// let refused = guest.map_at(guard, 0x1000, Memory::anonymous(Prot::READ));
    /// assert!(matches!(refused, Err(ExecError::Refused(Error::OutOfBounds { .. }))));
    /// // Nor can anybody else reserve it.
    /// let other = Reservation::options().at(guard).reserve(0x10000);
    /// assert!(matches!(other, Err(ExecError::Taken { .. })));
    /// # Ok::<(), ExecError>(())
    /// ```
    #[must_use]
    pub const fn guarded(mut self, below: u64, above: u64) -> Self {
        self.below = below;
        self.above = above;
        self
    }

    /// Reserves `len` bytes, rounded up to whole pages.
    ///
    /// # Errors
    ///
    /// Nothing is reserved then.
    ///
    /// - [`ExecError::Range`] if `len` is zero, or the range cannot be;
    /// - [`ExecError::Alignment`] if the alignment is not a power of two, or the
    ///   address is not aligned;
    /// - [`ExecError::Taken`] if somebody has memory at the fixed address;
    /// - [`ExecError::Kernel`] if the system refuses.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{ExecError, Reservation};
    ///
    /// let guest = Reservation::options().reserve(0x10000)?;
    /// let at = guest.span().start();
    /// let beside = Reservation::options().at(at + 1).reserve(0x10000);
    /// assert!(matches!(beside, Err(ExecError::Alignment { .. })));
    /// let empty = Reservation::options().at(at).reserve(0).unwrap_err();
    /// assert_eq!(empty, ExecError::Range { at, len: 0 });
    /// // With the guard it would begin below 0.
    /// let below = Reservation::options().at(0x10000).guarded(0x20000, 0).reserve(0x10000);
    /// assert_eq!(below.unwrap_err(), ExecError::Range { at: 0x10000, len: 0x10000 });
    /// # Ok::<(), ExecError>(())
    /// ```
    pub fn reserve(self, len: u64) -> Result<Reservation, ExecError> {
        let Self { at, align, .. } = self;
        let misplaced = ExecError::Alignment { at: at.unwrap_or(0), align };
        if !align.is_power_of_two() {
            return Err(misplaced);
        }
        let page = system_page();
        let align = align.max(page.bytes());
        if at.is_some_and(|at| !at.is_multiple_of(align)) {
            return Err(misplaced);
        }
        let plan = self.plan(page, len, align);
        let plan = plan.ok_or(ExecError::Range { at: at.unwrap_or(0), len })?;
        let place = if at.is_some() { Place::There } else { Place::Anywhere };
        let refused = |errno| match errno {
            Errno::EXIST => ExecError::Taken { span: plan.asked, taken: view::first(plan.asked) },
            errno => Refusal::of(Syscall::Mmap, plan.asked)(errno).into(),
        };
        let mut ground = Ground::reserve(plan.asked, place).map_err(refused)?;
        let got = ground.span();
        let (inner, kept) = plan.within(got, align).ok_or(ExecError::Range { at: 0, len })?;
        ground.trim(kept, inner).map_err(Refusal::of(Syscall::Munmap, got))?;
        Ok(Reservation { ground })
    }

    /// In whole pages, what to ask the system for.
    fn plan(self, page: PageSize, len: u64, align: u64) -> Option<Plan> {
        let (below, above) = (page.round_up(self.below)?, page.round_up(self.above)?);
        let len = page.round_up(len)?;
        Span::of(0, len)?;
        let total = below.checked_add(len)?.checked_add(above)?;
        let asked = match self.at {
            Some(at) => Span::of(at.checked_sub(below)?, total)?,
            // With room to move the start up to the alignment.
            None => Span::of(0, total.checked_add(align.checked_sub(page.bytes())?)?)?,
        };
        Some(Plan { asked, below, len, above })
    }
}

/// A reservation in bytes, all of them whole pages.
struct Plan {
    /// What to ask for, from 0 on if the system chooses the place.
    asked: Span,
    below: u64,
    len: u64,
    above: u64,
}

impl Plan {
    /// In what the system gave, the first aligned place for the bytes, and the same
    /// with the guards.
    fn within(&self, got: Span, align: u64) -> Option<(Span, Span)> {
        let start = got.start().checked_add(self.below)?.checked_next_multiple_of(align)?;
        let inner = Span::of(start, self.len)?;
        let total = self.below.checked_add(self.len)?.checked_add(self.above)?;
        Some((inner, Span::of(start.checked_sub(self.below)?, total)?))
    }
}

/// The size of the system's pages.
#[expect(clippy::expect_used, reason = "the kernel has no pages of another kind")]
pub(crate) fn system_page() -> PageSize {
    let bytes = u64::try_from(rustix::param::page_size()).ok();
    bytes.and_then(PageSize::new).expect("the size of the system's pages is a power of two")
}
