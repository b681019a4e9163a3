//! The books of a reservation, and who may look at them.

use super::compare::{Difference, Verdict, segments};
use super::error::{ExecError, Refusal, Syscall};
use super::files::Files;
use super::listeners::Listeners;
use super::mend::{Doubt, length};
use super::publish::{Publisher, Reader};
use super::reservation::Reservation;
use super::view;
use crate::{AddrSpace, Gaps, Limits, OpError, Region, Span, Update};
use core::ptr;
use rustix::fd::AsFd;

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
/// # Memory
///
/// Where there is no memory for the books a verb answers [`Error::NoMemory`](crate::Error::NoMemory)
/// and nothing has changed. What reads the kernel's list (a move, a refused call,
/// [`verify`](Self::verify)) and what copies the books for a [`reader`](Self::reader)
/// asks for memory as the rest of std does, which ends the process if there is none.
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
/// what was mapped with [`MapFlags::DONT_FORK`](crate::MapFlags::DONT_FORK) is a hole and not reserved.
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

    /// Every place where the `len` bytes of `file` from `offset` on are mapped: who maps
    /// these bytes?
    ///
    /// As of [`AddrSpace::pieces_of`]; the file is asked who it is, and not kept.
    ///
    /// # Errors
    ///
    /// [`ExecError::Kernel`] if the file cannot be asked.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Placement, Prot, Reservation};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let program = std::fs::File::open("/proc/self/exe")?;
    /// let at = Placement::lowest();
    /// let one = guest.map_any(0x2000, Memory::file(Prot::READ, &program, 0), at)?;
    /// let two = guest.map_any(0x1000, Memory::file(Prot::READ, &program, 0x1000), at)?;
    ///
    /// let places = guest.pieces_of(&program, 0x1000, 0x1000)?;
    /// let starts: Vec<u64> = places.iter().map(|piece| piece.start()).collect();
    /// assert_eq!(starts, [one.addr() as u64 + 0x1000, two.addr() as u64]);
    /// # Ok(())
    /// # }
    /// ```
    #[expect(clippy::unreachable, reason = "one byte at 0 is a span")]
    pub fn pieces_of(
        &self,
        file: &impl AsFd,
        offset: u64,
        len: u64,
    ) -> Result<Vec<Region<'_>>, ExecError> {
        let whole = Span::of(0, len).or(Span::of(0, 1)).unwrap_or_else(|| unreachable!());
        let refused = Refusal::of(Syscall::Fstat, whole);
        let number = self.files.number_of(file.as_fd()).map_err(refused)?;
        let Some(number) = number else { return Ok(Vec::new()) };
        Ok(self.space.pieces_of(&number, offset, len).collect())
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

    /// Ends a verb: after a refusal of the kernel the books are set right.
    #[inline]
    pub(super) fn settle<T>(
        &mut self,
        made: Result<T, OpError<Box<Doubt>>>,
    ) -> Result<T, ExecError> {
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
    pub(super) fn refused(&mut self, doubt: Doubt) -> ExecError {
        let lost = self.mend(doubt);
        self.publish();
        self.listeners.resume();
        doubt.refusal.with_lost(lost)
    }

    #[inline]
    pub(super) fn publish(&mut self) {
        if let Some(publisher) = self.publisher.as_mut().filter(|p| p.has_readers()) {
            publisher.publish(&self.space);
        }
    }
}

/// The pointer to an address of a reservation, whose provenance was exposed.
pub(super) fn pointer(addr: u64) -> *mut u8 {
    // An address of a reservation is one of this process.
    ptr::with_exposed_provenance_mut(usize::try_from(addr).unwrap_or(0))
}
