//! The verbs: the books of a reservation, and the calls that make them true.

use super::compare::{Difference, Verdict, segments};
use super::error::{ExecError, Refusal, Syscall, Undiscardable};
use super::files::Files;
use super::listeners::Listeners;
use super::memory::{self, ADVISED, Memory, Options, Source, Way};
use super::mend::{About, Doubt, length, note_unlocked};
use super::publish::{Publisher, Reader};
use super::relocate::{self, Move, Old, Stop};
use super::reservation::Reservation;
use super::sys::Ground;
use super::view;
use crate::{
    AddrSpace, Backing, Error, Gaps, Limits, MapFlags, Mapping, OpError, Placement, Prot, Region,
    Remap, Span, Update, Verb,
};
use core::ptr;
use rustix::fd::BorrowedFd;
use rustix::mm::Advice;

/// A reservation, the books of what is mapped in it, and the calls that map it.
///
/// The verbs are those of [`AddrSpace`]; each makes the system calls for its change
/// and records what the kernel has done. At every return the books say what this
/// process's memory is, also when the kernel has refused:
///
/// - A refusal before the first call ([`ExecError::Refused`] among others) changes
///   nothing.
/// - After a refused call ([`ExecError::Kernel`]) the kernel is asked what stands in
///   the range, and the books say that. What the kernel has lost is reserved again,
///   leaves the books, and is named in the error. That can be what a refused move was
///   to replace, and before Linux 6.12 what any refused mapping was to replace.
/// - Between such a loss and its repair somebody else's `mmap` can land there. It is
///   left alone: the pages are out of the books, and what would change them is refused
///   ([`ExecError::Taken`]) until they are free. [`verify`](Self::verify) tries to get
///   them back, and so does each verb.
///
/// But for that, what is not mapped stays reserved, without access, and is never a hole
/// that somebody else's `mmap` could land in. New anonymous memory reads as zeroes,
/// whatever was mapped there before.
///
/// All of it is safe to call: it changes the memory of its own reservation alone
/// and hands out raw pointers. What is `unsafe` is to go through one of them. The
/// memory can change or go whenever a verb is called, so nobody should hold a
/// reference into it meanwhile.
///
/// # System calls
///
/// As few as the kernel allows: to map (also over what is mapped), to unmap and to
/// protect a run without gaps is one call each, whatever number of regions they
/// cross; to unmap across gaps is one call; [`unmap_non_original`] is one per stretch
/// between originals. A file is also asked who it is (`fstat`, and `fstatfs` for the
/// first of its device). What cannot be mapped by one call that fails without harm is
/// mapped at a scratch address first and then moved in: files of unknown file
/// systems, devices, and mappings with advice. What moves is moved by `mremap`, one
/// of the kernel's regions after the other, which are read from `/proc` (Linux 5.7;
/// 5.13 for files; memory of devices may not move at all).
///
/// # Threads and faults
///
/// A verb needs the executor for itself (`&mut`). Its changes are not one instant:
/// who touches the range of a running verb from another thread, a fault handler
/// among them, sees the memory before or after each of its calls, and the published
/// books ([`reader`](Self::reader)) before or after the verb. While no verb runs, a
/// fault handler may read [`space`](Self::space).
///
/// A child after `fork` has an executor of its own over its copy of the memory, where
/// what was mapped with [`MapFlags::DONT_FORK`] is a hole and not reserved.
///
/// # Examples
///
/// ```
/// use addrspace::{Executor, Memory, Placement, Prot, Reservation};
///
/// let mut guest = Executor::new(Reservation::new(1 << 32)?)?;
/// let rw = Prot::READ | Prot::WRITE;
/// let heap = guest.map_any(0x4000, Memory::anonymous(rw), Placement::lowest())?;
/// // SAFETY: the page was mapped just now and nobody else knows of it.
/// unsafe { heap.write(7) };
///
/// let addr = heap.addr() as u64;
/// guest.protect(addr, 0x1000, Prot::READ)?;
/// guest.unmap(addr + 0x3000, 0x1000)?;
/// assert_eq!(guest.space().regions().count(), 2);
/// assert!(guest.verify()?.is_empty()); // so says the kernel
/// # Ok::<(), addrspace::ExecError>(())
/// ```
///
/// [`unmap_non_original`]: Self::unmap_non_original
#[derive(Debug)]
pub struct Executor {
    pub(super) space: AddrSpace,
    pub(super) files: Files,
    pub(super) listeners: Listeners,
    publisher: Option<Publisher>,
    pub(super) reservation: Reservation,
}

/// A new mapping, ready to be made.
struct New<'fd> {
    mapping: Mapping,
    file: Option<BorrowedFd<'fd>>,
    options: Options,
    way: Way,
    /// What its place and length have to be a multiple of.
    granule: u64,
}

impl Executor {
    /// Takes over a reservation, in which nothing is mapped.
    ///
    /// # Errors
    ///
    /// None that a reservation can cause; the reservation would be given back.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Reservation};
    ///
    /// let reservation = Reservation::options().guarded(0x1000, 0x1000).reserve(0x10000)?;
    /// let (span, all) = (reservation.span(), reservation.guarded_span());
    /// let guest = Executor::new(reservation)?;
    /// assert_eq!(guest.space().span(), Some(span));
    /// assert_eq!(guest.space().gaps().collect::<Vec<_>>(), [span]);
    /// assert_eq!(guest.pointer(all.start()), None); // a guard
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub fn new(reservation: Reservation) -> Result<Self, ExecError> {
        let span = reservation.span();
        let page = super::reservation::system_page().bytes();
        let space = AddrSpace::new(span.start(), length(span), page)?.with_gaps(Gaps::Owned);
        Ok(Self {
            space,
            files: Files::new(),
            listeners: Listeners::default(),
            publisher: None,
            reservation,
        })
    }

    /// The books: what is mapped where in the reservation.
    ///
    /// Addresses are those of this process. A file is known by a number, the same
    /// for as long as it is mapped; shared anonymous memory is a file of its own.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Placement, Prot, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let ring = Memory::anonymous(Prot::READ | Prot::WRITE).shared();
    /// guest.map_any(0x1000, ring, Placement::lowest())?;
    /// guest.map_any(0x2000, ring, Placement::lowest())?;
    ///
    /// // Neighbours alike, but of two files.
    /// let books = guest.space();
    /// let files: Vec<_> = books.regions().map(|region| region.backing).collect();
    /// assert_eq!(files.len(), 2);
    /// assert_ne!(files[0], files[1]);
    /// assert_eq!(books.usage().shared, 0x3000);
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub const fn space(&self) -> &AddrSpace {
        &self.space
    }

    /// The region that the byte at `addr` belongs to.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Placement, Prot, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let text = guest.map_any(0x2000, Memory::anonymous(Prot::READ), Placement::lowest())?;
    /// let addr = text.addr() as u64;
    ///
    /// // Where a fault was: a write to what is only readable, or a touch of a gap?
    /// let fault = |at: u64| guest.query(at).map(|region| (region.start(), region.prot));
    /// assert_eq!(fault(addr + 0x1234), Some((addr, Prot::READ)));
    /// assert_eq!(fault(addr + 0x2000), None);
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub fn query(&self, addr: u64) -> Option<Region<'_>> {
        self.space.query(addr)
    }

    /// A pointer to the byte at `addr`, mapped or not; nothing outside of the
    /// reservation.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Reservation};
    ///
    /// let guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let start = guest.space().span().unwrap().start();
    /// assert_eq!(guest.pointer(start + 8).unwrap().addr() as u64, start + 8);
    /// assert_eq!(guest.pointer(u64::MAX), None);
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub fn pointer(&self, addr: u64) -> Option<*mut u8> {
        self.space.span()?.contains(addr).then(|| pointer(addr))
    }

    /// Sets the limits of the operations to come; see [`AddrSpace::set_limits`].
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Error, ExecError, Executor, Limits, Memory, Placement, Prot, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// guest.set_limits(Limits { regions: Some(2), ..Limits::default() });
    /// let memory = Memory::anonymous(Prot::READ | Prot::WRITE);
    /// let addr = guest.map_any(0x4000, memory, Placement::lowest())?.addr() as u64;
    ///
    /// // It would be three regions. The kernel is not asked.
    /// let refused = guest.protect(addr + 0x1000, 0x1000, Prot::READ);
    /// assert!(matches!(refused, Err(ExecError::Refused(Error::RegionLimit { limit: 2, .. }))));
    /// guest.protect(addr, 0x1000, Prot::READ)?;
    /// assert_eq!(guest.space().picture().to_string(), "rwww............");
    /// # Ok::<(), ExecError>(())
    /// ```
    pub const fn set_limits(&mut self, limits: Limits) {
        self.space.set_limits(limits);
    }

    /// Registers a listener, which hears of each change once, after the kernel has
    /// made it and before it is recorded: the pieces are what was there before.
    ///
    /// Corrections after a refusal are changes too. So an empty model that is fed by
    /// a listener is equal to the books after every operation, but for the marks of
    /// originals, and an emulator can drop its translations when it hears. A refused call is not heard of, nor is
    /// [`discard`](Self::discard), which changes bytes and no mapping, nor
    /// [`mark_original`](Self::mark_original).
    ///
    /// A listener that panics does no harm: the operation is completed, everybody is
    /// told, and then the panic goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Placement, Prot, Reservation};
    /// use std::sync::mpsc;
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let (changes, heard) = mpsc::channel();
    /// guest.observe(move |update| changes.send(update.span()).unwrap());
    /// guest.map_any(0x2000, Memory::anonymous(Prot::READ), Placement::lowest())?;
    /// assert_eq!(heard.recv().unwrap().len(), Some(0x2000));
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub fn observe(&mut self, listener: impl FnMut(Update<'_>) + Send + 'static) {
        self.listeners.add(Box::new(listener));
    }

    /// A reader of the books, for other threads.
    ///
    /// For as long as there is one, each operation ends with a copy of the books
    /// being put in place for it: microseconds for regions by the thousand.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Placement, Prot, Reader, Reservation};
    /// use std::thread;
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let page = guest.map_any(0x1000, Memory::anonymous(Prot::READ), Placement::lowest())?;
    /// let addr = page.addr() as u64;
    /// let reader = guest.reader(); // has what was mapped before
    /// let prot = move |reader: &Reader| reader.load().query(addr).map(|region| region.prot);
    /// assert_eq!(prot(&reader), Some(Prot::READ));
    ///
    /// guest.protect(addr, 0x1000, Prot::empty())?;
    /// let tool = reader.clone();
    /// assert_eq!(thread::spawn(move || prot(&tool)).join().unwrap(), Some(Prot::empty()));
    /// drop(guest);
    /// assert_eq!(prot(&reader), Some(Prot::empty())); // the last books stay readable
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub fn reader(&mut self) -> Reader {
        let publisher = self.publisher.get_or_insert_with(|| Publisher::new(&self.space));
        if !publisher.has_readers() {
            publisher.publish(&self.space);
        }
        publisher.reader()
    }

    /// Maps `len` bytes at a place that `placement` chooses.
    ///
    /// Nothing is replaced.
    ///
    /// # Errors
    ///
    /// If nothing has changed:
    ///
    /// - [`ExecError::Refused`] as of [`AddrSpace::map_any`];
    /// - [`ExecError::Flags`] for flags that no mapping here can have;
    /// - [`ExecError::LargePages`] if `len` is not whole pages of such a file. Its
    ///   place is then a multiple of their size;
    /// - [`ExecError::Taken`] if the place was lost before and somebody else has it.
    ///
    /// [`ExecError::Kernel`] if the kernel refuses: nothing is mapped there then, and
    /// nothing that was mapped has changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Error, ExecError, Executor, Memory, Placement, Prot, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let memory = Memory::anonymous(Prot::READ | Prot::WRITE);
    /// let heap = guest.map_any(0x4000, memory, Placement::lowest())?;
    /// let stack = guest.map_any(0x2000, memory, Placement::highest())?;
    /// assert_eq!(stack.addr() - heap.addr(), 0xe000);
    /// assert_eq!(guest.space().picture().to_string(), "wwww..........ww");
    ///
    /// let refused = guest.map_any(0xb000, memory, Placement::lowest());
    /// assert!(matches!(refused, Err(ExecError::Refused(Error::NoRoom { .. }))));
    /// # Ok::<(), ExecError>(())
    /// ```
    pub fn map_any(
        &mut self,
        len: u64,
        memory: Memory<'_>,
        placement: Placement,
    ) -> Result<*mut u8, ExecError> {
        let new = self.prepare(None, len, &memory)?;
        let placement = if new.granule > 1 { placement.coarser(new.granule) } else { placement };
        let Self { space, reservation: Reservation { ground }, listeners, .. } = self;
        let made = space
            .map_any(len, new.mapping, placement, |update| make(update, ground, listeners, &new));
        self.settle(made).map(pointer)
    }

    /// Maps the `len` bytes at `addr` and replaces what is there.
    ///
    /// # Errors
    ///
    /// If nothing has changed:
    ///
    /// - [`ExecError::Refused`] as of [`AddrSpace::map_at`];
    /// - [`ExecError::Flags`] for flags that no mapping here can have;
    /// - [`ExecError::LargePages`] if it would be a part of a large page of the file;
    /// - [`ExecError::Taken`] if a part was lost before and somebody else has it.
    ///
    /// [`ExecError::Kernel`] if the kernel refuses: what was there is there, but for
    /// what the error says is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Prot, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let start = guest.space().span().unwrap().start();
    /// let text = guest.map_at(start + 0x1000, 0x3000, Memory::anonymous(Prot::READ))?;
    /// assert_eq!(text.addr() as u64, start + 0x1000);
    /// guest.map_at(0x1000, 0x1000, Memory::anonymous(Prot::READ)).unwrap_err(); // outside
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub fn map_at(
        &mut self,
        addr: u64,
        len: u64,
        memory: Memory<'_>,
    ) -> Result<*mut u8, ExecError> {
        let new = self.prepare(Some(addr), len, &memory)?;
        let Self { space, reservation: Reservation { ground }, listeners, .. } = self;
        let made =
            space.map_at(addr, len, new.mapping, |update| make(update, ground, listeners, &new));
        self.settle(made).map(|()| pointer(addr))
    }

    /// Maps the `len` bytes at `addr` if none of their pages is mapped.
    ///
    /// # Errors
    ///
    /// As of [`map_at`](Self::map_at), and [`Error::Occupied`] in
    /// [`ExecError::Refused`] if a page is mapped: nothing has changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Error, ExecError, Executor, Memory, Prot, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let start = guest.space().span().unwrap().start();
    /// guest.map_at_no_replace(start + 0x1000, 0x1000, Memory::anonymous(Prot::READ))?;
    ///
    /// let memory = Memory::anonymous(Prot::READ | Prot::WRITE);
    /// let refused = guest.map_at_no_replace(start, 0x4000, memory).unwrap_err();
    /// assert!(matches!(refused, ExecError::Refused(Error::Occupied { .. })));
    /// assert_eq!(guest.space().picture().to_string(), ".r..............");
    /// guest.map_at_no_replace(start + 0x2000, 0x2000, memory)?;
    /// assert_eq!(guest.space().picture().to_string(), ".rww............");
    /// # Ok::<(), ExecError>(())
    /// ```
    pub fn map_at_no_replace(
        &mut self,
        addr: u64,
        len: u64,
        memory: Memory<'_>,
    ) -> Result<*mut u8, ExecError> {
        let new = self.prepare(Some(addr), len, &memory)?;
        let Self { space, reservation: Reservation { ground }, listeners, .. } = self;
        let made = space.map_at_no_replace(addr, len, new.mapping, |update| {
            make(update, ground, listeners, &new)
        });
        self.settle(made).map(|()| pointer(addr))
    }

    /// Unmaps every page of the `len` bytes at `addr`; they are reserved again.
    ///
    /// One call, from the first to the last mapped page of the range.
    ///
    /// # Errors
    ///
    /// [`ExecError::Refused`] as of [`AddrSpace::unmap`], and [`ExecError::Taken`] if
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
    /// Pages that are not mapped are skipped; see [`AddrSpace::protect`]. One call
    /// per run without gaps.
    ///
    /// # Errors
    ///
    /// [`ExecError::Refused`] as of [`AddrSpace::protect`]: nothing has changed.
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
    /// [`ExecError::Refused`] as of [`AddrSpace::set_flags`], and
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

    /// Resizes or moves the mapping of the `old_len` bytes at `addr`; see
    /// [`AddrSpace::remap`].
    ///
    /// The last page of a private file mapping that grows is not what it was for an
    /// instant: other threads of the guest must not touch it meanwhile. What moves
    /// leaves its old place readable until all has moved.
    ///
    /// # Errors
    ///
    /// If nothing has changed:
    ///
    /// - [`ExecError::Refused`] as of [`AddrSpace::remap`];
    /// - [`ExecError::PastObject`] for shared anonymous memory past its end;
    /// - [`ExecError::Backing`] if device memory is to grow or be duplicated, and
    ///   [`ExecError::LargePages`] if a file with large pages is in the old range.
    ///
    /// [`ExecError::Kernel`] if the kernel refuses, or [`ExecError::Taken`] if a part
    /// of the new place was lost before and somebody else has it: of what was to move,
    /// some may have, and the books say what. What was to be replaced is there where
    /// nothing has moved to, but for what the error says is lost.
    /// Going on is as of [`AddrSpace::remap`].
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Placement, Prot, Remap, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let rw = Prot::READ | Prot::WRITE;
    /// let page = guest.map_any(0x1000, Memory::anonymous(rw), Placement::lowest())?;
    /// // SAFETY: the page was mapped just now and nobody else knows of it.
    /// unsafe { page.write(7) };
    ///
    /// let moving = Remap::to(page.addr() as u64 + 0x8000);
    /// let moved = guest.remap(page.addr() as u64, 0x1000, 0x2000, moving)?;
    /// // SAFETY: so were these two pages.
    /// assert_eq!(unsafe { (moved.read(), moved.add(0x1000).read()) }, (7, 0));
    /// assert_eq!(guest.space().usage().mapped, 0x2000);
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub fn remap(
        &mut self,
        addr: u64,
        old_len: u64,
        new_len: u64,
        how: Remap,
    ) -> Result<*mut u8, ExecError> {
        self.check_remap(addr, old_len, new_len)?;
        let page = self.space.page_size().bytes();
        let Self { space, reservation: Reservation { ground }, listeners, .. } = self;
        let made = space.remap(addr, old_len, new_len, how, |update| {
            let locked = |region: &Region<'_>| region.flags.contains(MapFlags::LOCKED);
            match update {
                Update::Unmap { .. } => return close(update, ground, listeners),
                Update::Map { region, .. } => {
                    relocate::extend(ground, &region, page).map_err(|refusal| {
                        // The page before it, too, has been away.
                        let about = About::memory(before(region.span, page));
                        refusal.with(About { flags: locked(&region), ..about })
                    })
                }
                Update::Move { from, to, .. } if old_len == 0 => {
                    relocate::duplicate(ground, from, to).map_err(|refusal| {
                        refusal.with(About { spans: [Some(from), Some(to)], ..About::memory(to) })
                    })
                }
                Update::Move { from, to, keep_source, pieces, .. } => {
                    let journey = Move { from, to, keep_source };
                    relocate::travel(ground, &update, journey, page, Old::Reserved).map_err(
                        |Stop { refusal, upto, left }| {
                            // What has arrived is recorded, so it has to be heard of.
                            if let Some(part) = update.moved_below(upto) {
                                listeners.tell(part);
                            }
                            let flags = pieces.iter().any(|piece| locked(&piece));
                            let spans = [Some(from), Some(to)];
                            refusal.with(About { spans, wanted: None, left, flags })
                        },
                    )
                }
                _ => Ok(()),
            }?;
            listeners.tell(update);
            Ok(())
        });
        let made = made.inspect(|place| {
            if *place != addr && old_len != 0 {
                note_unlocked(space, listeners, addr, old_len);
            }
        });
        self.settle(made).map(pointer)
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
    /// all are mapped as before.
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
        let ground = &mut self.reservation.ground;
        ground
            .advise(span, Advice::LinuxDontNeed)
            .map_err(|errno| Refusal::of(Syscall::Madvise, span)(errno).into())
    }

    /// Marks all that is mapped now as original; see [`AddrSpace::mark_original`].
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Placement, Prot, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let reader = guest.reader();
    /// guest.map_any(0x3000, Memory::anonymous(Prot::READ), Placement::lowest())?;
    /// guest.mark_original();
    /// assert_eq!(reader.load().picture().to_string(), "RRR............."); // published, too
    ///
    /// let start = guest.space().span().unwrap().start();
    /// guest.protect(start, 0x1000, Prot::READ | Prot::WRITE)?; // stays one
    /// guest.map_at(start + 0x1000, 0x1000, Memory::anonymous(Prot::READ))?; // is none
    /// assert_eq!(guest.space().picture().to_string(), "WrR.............");
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub fn mark_original(&mut self) {
        self.space.mark_original();
        self.publish();
    }

    /// Unmaps all that is not original: one call per stretch between originals.
    ///
    /// Originals that were unmapped, replaced or protected since are as they are
    /// now: see [`restore`](Self::restore).
    ///
    /// # Errors
    ///
    /// As of [`unmap`](Self::unmap). After [`ExecError::Kernel`] or
    /// [`ExecError::Taken`], the stretches below the refused one are unmapped; calling
    /// again does the rest.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Placement, Prot, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let memory = Memory::anonymous(Prot::READ);
    /// guest.map_any(0x1000, memory, Placement::lowest())?;
    /// guest.mark_original();
    /// for _ in 0..5 {
    ///     guest.map_any(0x1000, memory, Placement::lowest())?;
    /// }
    /// guest.unmap_non_original()?;
    /// assert_eq!(guest.space().usage().mapped, 0x1000);
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub fn unmap_non_original(&mut self) -> Result<(), ExecError> {
        let Self { space, reservation: Reservation { ground }, listeners, .. } = self;
        let made = space.unmap_non_original(|update| close(update, ground, listeners));
        self.settle(made)
    }

    /// Makes the mappings equal to `snapshot`, a copy of [`space`](Self::space) from
    /// before, by the shortest way.
    ///
    /// Mappings come back, bytes do not: what is mapped anew reads as zeroes, and
    /// what was only protected has what the guest wrote to it. An original that was
    /// replaced is mapped anew also if it was replaced by its like.
    ///
    /// # Errors
    ///
    /// If nothing has changed:
    ///
    /// - [`ExecError::Refused`] as of [`AddrSpace::restore`];
    /// - [`ExecError::NeedsFile`] if something else than private anonymous memory
    ///   would have to be mapped;
    /// - [`ExecError::Flags`] if flags differ that cannot be changed.
    ///
    /// [`ExecError::Kernel`] if the kernel refuses, or [`ExecError::Taken`] if a part
    /// was lost before and somebody else has it: the steps before are done; calling
    /// again does the rest.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Placement, Prot, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let rw = Prot::READ | Prot::WRITE;
    /// let stack = guest.map_any(0x4000, Memory::anonymous(rw), Placement::highest())?;
    /// guest.mark_original();
    /// let clean = guest.space().clone();
    ///
    /// guest.protect(stack.addr() as u64, 0x1000, Prot::empty())?;
    /// guest.unmap(stack.addr() as u64 + 0x2000, 0x1000)?;
    /// guest.map_any(0x1000, Memory::anonymous(rw), Placement::lowest())?;
    /// guest.restore(&clean)?;
    /// assert_eq!(*guest.space(), clean);
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub fn restore(&mut self, snapshot: &AddrSpace) -> Result<(), ExecError> {
        for update in self.space.diff(snapshot)? {
            match update {
                Update::Map { region, .. }
                    if region.backing != Backing::Anonymous || region.is_shared() =>
                {
                    return Err(ExecError::NeedsFile { span: region.span });
                }
                Update::Map { region, .. } => memory::check_flags(region.flags)?,
                Update::Flags { set, clear, .. } => check_change(set.union(clear))?,
                _ => {}
            }
        }
        let Self { space, reservation: Reservation { ground }, listeners, .. } = self;
        let made = space.restore(snapshot, |update| match update {
            Update::Map { region, .. } => {
                memory::put(ground, &region, None, Options::default(), Way::Direct)
                    .map_err(|refusal| refusal.doubt(region.span))?;
                listeners.tell(update);
                Ok(())
            }
            Update::Protect { .. } => protect(update, ground, listeners),
            Update::Flags { .. } => flag(update, ground, listeners),
            _ => close(update, ground, listeners),
        });
        self.settle(made)
    }

    /// Compares the books with the kernel's own list of this process's memory, and
    /// lists every difference in ascending order.
    ///
    /// There is none, unless something else in the process has changed memory in
    /// the reservation, or a range was lost that cannot be reserved again, which is
    /// tried here. What the list shows are protection (read, write, execute), sharing,
    /// file and offset. Linear in the number of the kernel's regions.
    ///
    /// # Errors
    ///
    /// [`ExecError::Kernel`] if the list cannot be read: no mapping has changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Placement, Prot, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let rw = Prot::READ | Prot::WRITE;
    /// let heap = guest.map_any(0x4000, Memory::anonymous(rw), Placement::lowest())?;
    /// let addr = heap.addr() as u64;
    /// assert_eq!(guest.verify()?, []);
    ///
    /// // What the books cannot know of.
    /// // SAFETY: the pages were mapped just now and nobody else knows of them.
    /// assert_eq!(unsafe { libc::mprotect(heap.add(0x1000).cast(), 0x2000, libc::PROT_READ) }, 0);
    /// let differences = guest.verify()?;
    /// assert_eq!(differences.len(), 1);
    /// assert_eq!(differences[0].span.start(), addr + 0x1000);
    /// assert_eq!(differences[0].kernel.unwrap().prot, Prot::READ);
    ///
    /// guest.protect(addr, 0x4000, rw)?; // as the books say it is
    /// assert_eq!(guest.verify()?, []);
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub fn verify(&mut self) -> Result<Vec<Difference>, ExecError> {
        let span = self.reservation.span();
        self.reservation.ground.retry();
        let kernel = view::regions(span).map_err(Refusal::of(Syscall::Maps, span))?;
        let Self { space, files, .. } = self;
        Ok(segments(space, span, &kernel)
            .filter(|segment| segment.verdict(files) != Verdict::Same)
            .map(|segment| Difference::of(&segment))
            .collect())
    }

    /// Decides how `memory` is booked and mapped.
    #[inline]
    fn prepare<'fd>(
        &mut self,
        addr: Option<u64>,
        len: u64,
        memory: &Memory<'fd>,
    ) -> Result<New<'fd>, ExecError> {
        let Memory { prot, flags, source, options } = *memory;
        memory::check_flags(flags)?;
        let mut granule = 1;
        let (backing, file, way) = match source {
            Source::Anonymous if !flags.contains(MapFlags::SHARED) => {
                (Backing::Anonymous, None, Way::Direct)
            }
            Source::Anonymous => {
                // If it cannot be rounded it is refused below.
                let len = self.space.page_size().round_up(len).unwrap_or(len);
                let file = self.files.shared_memory(len, &self.space);
                (Backing::File { file, offset: 0 }, None, Way::Direct)
            }
            Source::File(fd, offset) => {
                let refused = Refusal::of(Syscall::Fstat, whole(len));
                let file = self.files.identify(fd, &self.space).map_err(refused)?;
                let way = if file.safe { Way::Direct } else { Way::Scratch };
                granule = file.granule;
                if granule > 1 {
                    check_large(addr.unwrap_or(0), len, granule)?;
                }
                (Backing::File { file: file.number, offset }, Some(fd), way)
            }
        };
        Ok(New { mapping: Mapping { prot, flags, backing }, file, options, way, granule })
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

    /// Refuses to let grow or move what cannot.
    fn check_remap(&self, addr: u64, old_len: u64, new_len: u64) -> Result<(), ExecError> {
        let page = self.space.page_size();
        for piece in self.space.regions_in(addr, old_len.max(1)) {
            let Backing::File { file, .. } = piece.backing else { continue };
            let size = self.files.granule(*file);
            if size > 1 {
                return Err(ExecError::LargePages { addr, len: old_len, size });
            }
        }
        let (Some(region), Some(new)) = (self.space.query(addr), page.round_up(new_len)) else {
            // The books refuse it.
            return Ok(());
        };
        if page.round_up(old_len).is_some_and(|old| old != 0 && new <= old) {
            return Ok(());
        }
        match region.backing {
            Backing::Physical { .. } | Backing::Tag { .. } => {
                Err(ExecError::Backing { span: region.span })
            }
            Backing::File { file, offset } => {
                let Some(object) = self.files.object(*file) else { return Ok(()) };
                let at = offset.saturating_add(addr.saturating_sub(region.start()));
                let end = object.saturating_sub(at);
                if new > end {
                    return Err(ExecError::PastObject { addr, new_len, end });
                }
                Ok(())
            }
            Backing::Anonymous => Ok(()),
        }
    }

    /// Ends a verb: after a refusal of the kernel the books are set right.
    #[inline]
    fn settle<T>(&mut self, made: Result<T, OpError<Box<Doubt>>>) -> Result<T, ExecError> {
        match made {
            Ok(answer) => {
                self.publish();
                self.listeners.resume();
                Ok(answer)
            }
            Err(OpError::Refused(error)) => Err(error.into()),
            Err(OpError::Handler { source, .. }) => Err(self.refused(*source)),
        }
    }

    #[cold]
    fn refused(&mut self, doubt: Doubt) -> ExecError {
        let lost = self.mend(doubt);
        self.publish();
        self.listeners.resume();
        doubt.refusal.with_lost(lost)
    }

    #[inline]
    fn publish(&mut self) {
        if let Some(publisher) = self.publisher.as_mut().filter(|p| p.has_readers()) {
            publisher.publish(&self.space);
        }
    }
}

impl Refusal {
    /// The refusal, with `span` in doubt.
    fn doubt(self, span: Span) -> Box<Doubt> {
        self.with(About::memory(span))
    }

    fn with(self, about: About) -> Box<Doubt> {
        Box::new(Doubt { refusal: self, about })
    }
}

/// Makes a new mapping.
#[inline]
fn make(
    update: Update<'_>,
    ground: &mut Ground,
    listeners: &mut Listeners,
    new: &New<'_>,
) -> Result<(), Box<Doubt>> {
    let Update::Map { region, .. } = update else { return Ok(()) };
    memory::put(ground, &region, new.file, new.options, new.way)
        .map_err(|refusal| refusal.doubt(region.span))?;
    listeners.tell(update);
    Ok(())
}

/// Refuses a part of a large page.
pub(super) fn check_large(addr: u64, len: u64, size: u64) -> Result<(), ExecError> {
    if addr.is_multiple_of(size) && len.is_multiple_of(size) {
        return Ok(());
    }
    Err(ExecError::LargePages { addr, len, size })
}

/// Makes an `Unmap`: the span is reserved again.
#[inline]
fn close(
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
fn protect(
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
fn flag(
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
fn check_change(flags: MapFlags) -> Result<(), ExecError> {
    let advised = ADVISED.iter().fold(MapFlags::LOCKED, |all, (flag, ..)| all | *flag);
    let noted = MapFlags::NO_READ | MapFlags::NO_WRITE | MapFlags::NO_EXEC;
    let fixed = MapFlags::NO_RESERVE | MapFlags::GROWS_DOWN | MapFlags::SEALED;
    debug_assert!(fixed.intersection(advised | noted).is_empty(), "each flag is of one kind");
    let odd = flags & fixed;
    if odd.is_empty() { Ok(()) } else { Err(ExecError::Flags { flags: odd }) }
}

/// `span` with the page before it.
fn before(span: Span, page: u64) -> Span {
    Span::new(span.start().saturating_sub(page), span.last()).unwrap_or(span)
}

/// So many bytes, of which it is not known yet where they will be.
fn whole(len: u64) -> Span {
    Span::new(0, len.saturating_sub(1)).unwrap_or_else(|| unreachable!("0 is not above it"))
}

/// The pointer to an address of a reservation, whose provenance was exposed.
fn pointer(addr: u64) -> *mut u8 {
    // An address of a reservation is one of this process.
    ptr::with_exposed_provenance_mut(usize::try_from(addr).unwrap_or(0))
}
