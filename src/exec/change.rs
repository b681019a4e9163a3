//! Mappings that go, stay and change, or lose what they hold.

use super::error::{ExecError, Refusal, Syscall, Undiscardable};
use super::executor::Executor;
use super::listeners::Listeners;
use super::memory::{self, ADVISED};
use super::mend::{About, Doubt, length};
use super::reservation::Reservation;
use super::sys::Ground;
use crate::{Backing, Error, MapFlags, Prot, Span, Update, Verb};
use rustix::mm::Advice;

impl Executor {
    /// Unmaps every page of the `len` bytes at `addr`; they are reserved again.
    ///
    /// One call, from the first to the last mapped page of the range.
    ///
    /// # Errors
    ///
    /// [`ExecError::Refused`] as of [`AddrSpace::unmap`](crate::AddrSpace::unmap), and [`ExecError::Taken`] if
    /// a part was lost before and somebody else has it: nothing has changed.
    /// [`ExecError::Kernel`] if the kernel refuses: what was there is there, but for
    /// what the error says is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Placement, Prot, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let memory = Memory::anonymous(Prot::READ | Prot::WRITE);
    /// let heap = guest.map_any(0x4000, memory, Placement::lowest())?;
    /// let addr = heap.addr() as u64;
    /// // SAFETY: the pages were mapped just now and nobody else knows of them.
    /// unsafe { heap.add(0x1000).write(7) };
    ///
    /// guest.unmap(addr + 0x1000, 0x2000)?;
    /// guest.unmap(addr + 0x2000, 0x1000)?; // which nothing has to be mapped for
    /// assert_eq!(guest.space().picture().to_string(), "w..w............");
    /// guest.map_at(addr + 0x1000, 0x1000, memory)?;
    /// // SAFETY: so was this page.
    /// assert_eq!(unsafe { heap.add(0x1000).read() }, 0);
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub fn unmap(&mut self, addr: u64, len: u64) -> Result<(), ExecError> {
        let Self { space, reservation: Reservation { ground }, listeners, .. } = self;
        let made = space.unmap(addr, len, |update| close(update, ground, listeners));
        self.settle(made)
    }

    /// Unmaps everything: one call.
    ///
    /// # Errors
    ///
    /// As of [`unmap`](Self::unmap): all is mapped as before, but for what is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{ExecError, Executor, Memory, Placement, Prot, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let span = guest.space().span().unwrap();
    /// guest.map_any(0x4000, Memory::anonymous(Prot::READ), Placement::lowest())?;
    /// guest.map_any(0x1000, Memory::anonymous(Prot::READ), Placement::highest())?;
    ///
    /// guest.reset()?;
    /// assert_eq!(guest.space().usage().mapped, 0);
    /// // The addresses are still the guest's.
    /// let other = Reservation::options().at(span.start()).reserve(0x10000);
    /// assert!(matches!(other, Err(ExecError::Taken { .. })));
    /// # Ok::<(), ExecError>(())
    /// ```
    pub fn reset(&mut self) -> Result<(), ExecError> {
        let span = self.reservation.span();
        self.unmap(span.start(), length(span))
    }

    /// Gives the mapped pages of the `len` bytes at `addr` the protection `prot`.
    ///
    /// Pages that are not mapped are skipped; see [`AddrSpace::protect`](crate::AddrSpace::protect). One call
    /// per run without gaps.
    ///
    /// # Errors
    ///
    /// [`ExecError::Refused`] as of [`AddrSpace::protect`](crate::AddrSpace::protect): nothing has changed.
    /// [`ExecError::Kernel`] if the kernel refuses (a shared file that was opened
    /// read-only, say, with `EACCES`): the pages before those that it refused about
    /// have the new protection, and the books say which these are.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{ExecError, Executor, Memory, Prot, Reservation};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let start = guest.space().span().unwrap().start();
    /// let read_only = std::fs::File::open("/proc/self/exe")?;
    /// guest.map_at(start, 0x1000, Memory::anonymous(Prot::READ))?;
    /// guest.map_at(start + 0x2000, 0x1000, Memory::anonymous(Prot::READ))?;
    /// guest.map_at(start + 0x3000, 0x1000, Memory::file(Prot::READ, &read_only, 0).shared())?;
    ///
    /// let rw = Prot::READ | Prot::WRITE;
    /// guest.protect(start, 0x3000, rw)?; // skips the gap
    /// guest.protect(start, 0x3000, Prot::READ)?;
    /// let refused = guest.protect(start + 0x2000, 0x2000, rw).unwrap_err();
    /// assert_eq!(refused.errno(), 13); // EACCES, after it had done the first page
    /// assert!(matches!(refused, ExecError::Kernel { lost, .. } if lost.is_empty()));
    /// assert_eq!(guest.query(start + 0x2000).unwrap().prot, rw);
    /// assert_eq!(guest.query(start + 0x3000).unwrap().prot, Prot::READ);
    /// # Ok(())
    /// # }
    /// ```
    pub fn protect(&mut self, addr: u64, len: u64, prot: Prot) -> Result<(), ExecError> {
        let Self { space, reservation: Reservation { ground }, listeners, .. } = self;
        let made = space.protect(addr, len, prot, |update| protect(update, ground, listeners));
        self.settle(made)
    }

    /// Clears the flags `clear` of the mapped pages of the `len` bytes at `addr`,
    /// then sets the flags `set`.
    ///
    /// The kernel is asked for `LOCKED`, `DONT_FORK`, `DONT_DUMP` and
    /// `WIPE_ON_FORK`, one call for each and per run without gaps. Bits without a
    /// name, and `NO_READ`, `NO_WRITE` and `NO_EXEC`, are only noted.
    ///
    /// # Errors
    ///
    /// [`ExecError::Refused`] as of [`AddrSpace::set_flags`](crate::AddrSpace::set_flags), and
    /// [`ExecError::Flags`] for flags that cannot be changed: nothing has changed.
    /// [`ExecError::Kernel`] if the kernel refuses: some pages may have some of the
    /// new flags; the books have those that the kernel was then found to have.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{ExecError, Executor, MapFlags, Memory, Placement, Prot, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let memory = Memory::anonymous(Prot::READ | Prot::WRITE);
    /// let addr = guest.map_any(0x4000, memory, Placement::lowest())?.addr() as u64;
    ///
    /// // The second page is to be left out of core dumps, and then not any more.
    /// let (none, secret) = (MapFlags::empty(), MapFlags::DONT_DUMP);
    /// guest.set_flags(addr + 0x1000, 0x1000, secret, none)?;
    /// assert_eq!(guest.query(addr + 0x1000).unwrap().flags, secret);
    /// assert_eq!(guest.space().usage().regions, 3);
    /// guest.set_flags(addr, 0x4000, none, secret)?;
    /// assert_eq!(guest.space().usage().regions, 1);
    ///
    /// let fixed = guest.set_flags(addr, 0x1000, MapFlags::NO_RESERVE, none);
    /// assert_eq!(fixed, Err(ExecError::Flags { flags: MapFlags::NO_RESERVE }));
    /// # Ok::<(), ExecError>(())
    /// ```
    pub fn set_flags(
        &mut self,
        addr: u64,
        len: u64,
        set: MapFlags,
        clear: MapFlags,
    ) -> Result<(), ExecError> {
        check_change(set.union(clear))?;
        let Self { space, reservation: Reservation { ground }, listeners, .. } = self;
        let made = space.set_flags(addr, len, set, clear, |update| flag(update, ground, listeners));
        self.settle(made)
    }

    /// Drops the contents of the `len` bytes at `addr` (`MADV_DONTNEED`): anonymous
    /// memory reads as zeroes, a private file as the file.
    ///
    /// The mapping stays, and nobody hears of it.
    ///
    /// # Errors
    ///
    /// [`ExecError::Refused`] if the range is no range of pages of the reservation;
    /// [`ExecError::Discard`] if a part of it is not mapped, shared, locked, or
    /// memory of a device. Nothing is discarded then.
    ///
    /// [`ExecError::Kernel`] if the kernel refuses: some pages may be discarded, and
    /// all are mapped as before, but for what the error says is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Placement, Prot, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let rw = Prot::READ | Prot::WRITE;
    /// let page = guest.map_any(0x1000, Memory::anonymous(rw), Placement::lowest())?;
    /// // SAFETY: the page was mapped just now and nobody else knows of it.
    /// unsafe { page.write(7) };
    /// guest.discard(page.addr() as u64, 0x1000)?;
    /// // SAFETY: as above.
    /// assert_eq!(unsafe { page.read() }, 0);
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub fn discard(&mut self, addr: u64, len: u64) -> Result<(), ExecError> {
        let span = self.pages(addr, len)?;
        let refuse = |span, why| Err(ExecError::Discard { span, why });
        let pieces = self.space.regions_in(addr, length(span));
        let odd = pieces.filter_map(|piece| {
            let why = match piece.backing {
                Backing::Physical { .. } => Undiscardable::Device,
                _ if piece.is_shared() => Undiscardable::Shared,
                _ if piece.flags.contains(MapFlags::LOCKED) => Undiscardable::Locked,
                _ => return None,
            };
            Some((piece.span, why))
        });
        let gaps = self.space.gaps_in(addr, length(span));
        let gaps = gaps.map(|gap| (gap, Undiscardable::NotMapped));
        if let Some((span, why)) = odd.chain(gaps).min_by_key(|(span, _)| span.start()) {
            return refuse(span, why);
        }
        let made = self.reservation.ground.advise(span, Advice::LinuxDontNeed);
        made.map_err(|errno| self.refused(*Refusal::of(Syscall::Madvise, span)(errno).doubt(span)))
    }

    /// A pointer to the `len` bytes at `addr`, for direct input and output
    /// (`O_DIRECT`).
    ///
    /// What alignment the file needs is another matter (`statx`).
    ///
    /// # Errors
    ///
    /// [`ExecError::NotDirect`] if one of them is memory of a device, not mapped or
    /// without access: the kernel would answer `EFAULT`. Copy it to other memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{ExecError, Executor, Memory, Placement, Prot, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let rw = Prot::READ | Prot::WRITE;
    /// let page = guest.map_any(0x1000, Memory::anonymous(rw), Placement::lowest())?;
    /// let addr = page.addr() as u64;
    /// assert_eq!(guest.direct_buffer(addr, 0x1000)?, page);
    /// let refused = guest.direct_buffer(addr, 0x1001).unwrap_err();
    /// assert_eq!(refused, ExecError::NotDirect { addr, len: 0x1001, device: None });
    /// # Ok::<(), ExecError>(())
    /// ```
    pub fn direct_buffer(&self, addr: u64, len: u64) -> Result<*mut u8, ExecError> {
        let refuse = |device| Err(ExecError::NotDirect { addr, len, device });
        let mut next = Some(addr);
        let Some(span) = Span::of(addr, len) else { return refuse(None) };
        for piece in self.space.regions_in(addr, len) {
            if matches!(piece.backing, Backing::Physical { .. }) {
                return refuse(Some(piece.span));
            }
            if next.is_none_or(|next| next < piece.start()) || piece.prot.is_empty() {
                return refuse(None);
            }
            next = piece.end();
        }
        if next.is_some_and(|next| next <= span.last()) {
            return refuse(None);
        }
        self.pointer(addr).map_or_else(|| refuse(None), Ok)
    }

    /// The pages of the `len` bytes at `addr`, or why there are none.
    fn pages(&self, addr: u64, len: u64) -> Result<Span, Error> {
        let (verb, page) = (Verb::Discard, self.space.page_size());
        if len == 0 {
            return Err(Error::ZeroLength { verb, addr });
        }
        if !page.is_aligned(addr) {
            return Err(Error::Unaligned { verb, addr, len });
        }
        let span = page.round_up(len).and_then(|len| Span::of(addr, len));
        let all = self.reservation.span();
        span.filter(|span| all.contains(span.start()) && all.contains(span.last()))
            .ok_or(Error::OutOfBounds { verb, addr, len })
    }
}

/// Makes an `Unmap`: the span is reserved again.
#[inline]
pub(super) fn close(
    update: Update<'_>,
    ground: &mut Ground,
    listeners: &mut Listeners,
) -> Result<(), Box<Doubt>> {
    let span = update.span();
    ground.close(span).map_err(|errno| Refusal::of(Syscall::Mmap, span)(errno).doubt(span))?;
    listeners.tell(update);
    Ok(())
}

/// Makes a `Protect`.
#[inline]
pub(super) fn protect(
    update: Update<'_>,
    ground: &mut Ground,
    listeners: &mut Listeners,
) -> Result<(), Box<Doubt>> {
    let Update::Protect { span, prot, .. } = update else { return Ok(()) };
    ground.protect(span, prot).map_err(|errno| {
        let refusal = Refusal::of(Syscall::Mprotect, span)(errno);
        refusal.with(About { wanted: Some(prot), ..About::memory(span) })
    })?;
    listeners.tell(update);
    Ok(())
}

/// Makes a change of flags.
pub(super) fn flag(
    update: Update<'_>,
    ground: &mut Ground,
    listeners: &mut Listeners,
) -> Result<(), Box<Doubt>> {
    let Update::Flags { span, set, clear, .. } = update else { return Ok(()) };
    memory::change_flags(ground, span, set, clear)
        .map_err(|refusal| refusal.with(About { flags: true, ..About::memory(span) }))?;
    listeners.tell(update);
    Ok(())
}

/// Refuses to change flags that belong to a mapping for good.
pub(super) fn check_change(flags: MapFlags) -> Result<(), ExecError> {
    let advised = ADVISED.iter().fold(MapFlags::LOCKED, |all, (flag, ..)| all | *flag);
    let noted = MapFlags::NO_READ | MapFlags::NO_WRITE | MapFlags::NO_EXEC;
    let fixed = MapFlags::NO_RESERVE | MapFlags::GROWS_DOWN | MapFlags::SEALED;
    debug_assert!(fixed.intersection(advised | noted).is_empty(), "each flag is of one kind");
    let odd = flags & fixed;
    if odd.is_empty() { Ok(()) } else { Err(ExecError::Flags { flags: odd }) }
}
