//! New mappings.

use super::error::{ExecError, Refusal, Syscall};
use super::executor::{Executor, pointer};
use super::files;
use super::listeners::Listeners;
use super::memory::{self, Memory, Options, Source, Way};
use super::mend::Doubt;
use super::reservation::Reservation;
use super::sys::Ground;
use crate::{Backing, Error, MapFlags, Mapping, Placement, Span, Update, Verb};
use rustix::fd::BorrowedFd;

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
    /// Maps `len` bytes at a place that `placement` chooses.
    ///
    /// Nothing is replaced.
    ///
    /// # Errors
    ///
    /// If nothing has changed:
    ///
    /// - [`ExecError::Refused`] as of [`AddrSpace::map_any`](crate::AddrSpace::map_any);
    /// - [`ExecError::Flags`] for flags that no mapping here can have;
    /// - [`ExecError::LargePages`] if `len` is not whole pages of such a file. Its
    ///   place is then a multiple of their size;
    /// - [`ExecError::Taken`] if the place was lost before and somebody else has it.
    ///
    /// [`ExecError::Kernel`] if the kernel refuses: nothing is mapped there then, and
    /// nothing that was mapped has changed. So are bits of a protection that `mprotect`
    /// knows on no machine of this kind (`EINVAL`): `mmap` would ignore them, and no
    /// [`restore`](Self::restore) could give them back.
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
    /// - [`ExecError::Refused`] as of [`AddrSpace::map_at`](crate::AddrSpace::map_at);
    /// - [`ExecError::Flags`] for flags that no mapping here can have;
    /// - [`ExecError::LargePages`] if it would be a part of a large page of the file;
    /// - [`ExecError::Taken`] if a part was lost before and somebody else has it.
    ///
    /// [`ExecError::Kernel`] if the kernel refuses, or would not know the protection (as
    /// of [`map_any`](Self::map_any)): what was there is there, but for what the error
    /// says is lost.
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
        let no_memory = |_| Error::NoMemory { verb: Verb::Map, addr: addr.unwrap_or(0), len };
        let mut granule = 1;
        let (backing, file, way) = match source {
            Source::Anonymous if !flags.contains(MapFlags::SHARED) => {
                (Backing::Anonymous, None, Way::Direct)
            }
            Source::Anonymous => {
                self.files.secure().map_err(no_memory)?;
                // If it cannot be rounded it is refused below.
                let len = self.space.page_size().round_up(len).unwrap_or(len);
                let file = self.files.shared_memory(len, &self.space);
                (Backing::File { file, offset: 0 }, None, Way::Direct)
            }
            Source::File(fd, offset) => {
                self.files.secure().map_err(no_memory)?;
                let refused = Refusal::of(Syscall::Fstat, whole(len));
                let file = self.files.identify(fd, &self.space).map_err(refused)?;
                let way = if file.safe { Way::Direct } else { Way::Scratch };
                granule = file.granule;
                if granule > 1 {
                    check_large(addr.unwrap_or(0), len, granule)?;
                }
                (Backing::File { file: file.number, offset }, Some(fd), way)
            }
            Source::Physical(fd, phys) => {
                granule =
                    files::size_of_page(fd).map_err(Refusal::of(Syscall::Fstat, whole(len)))?;
                if granule > 1 {
                    check_large(addr.unwrap_or(0), len, granule)?;
                }
                // A device's own mmap could fail after the old mapping went.
                (Backing::Physical { addr: phys }, Some(fd), Way::Scratch)
            }
        };
        Ok(New { mapping: Mapping { prot, flags, backing }, file, options, way, granule })
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

/// So many bytes, of which it is not known yet where they will be.
#[expect(clippy::unreachable, reason = "0 is not above any address")]
fn whole(len: u64) -> Span {
    Span::new(0, len.saturating_sub(1)).unwrap_or_else(|| unreachable!())
}
