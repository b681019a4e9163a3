//! What an executor, a reservation or a host handler can be refused.

use super::sys::Errno;
use super::view;
use crate::{Error, MapFlags, Span};
use core::fmt;

/// A system call of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Syscall {
    /// `mmap`.
    Mmap,
    /// `munmap`.
    Munmap,
    /// `mprotect`.
    Mprotect,
    /// `mremap`.
    Mremap,
    /// `madvise`.
    Madvise,
    /// `mlock`.
    Mlock,
    /// `munlock`.
    Munlock,
    /// `fstat`, which tells one file from another.
    Fstat,
    /// A look at `/proc/self/maps`.
    Maps,
}

impl fmt::Display for Syscall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mmap => "mmap",
            Self::Munmap => "munmap",
            Self::Mprotect => "mprotect",
            Self::Mremap => "mremap",
            Self::Madvise => "madvise",
            Self::Mlock => "mlock",
            Self::Munlock => "munlock",
            Self::Fstat => "fstat",
            Self::Maps => "reading /proc/self/maps",
        })
    }
}

/// Why an operation on this process's memory failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The books refused: the kernel was not asked, and nothing has changed.
    #[error(transparent)]
    Refused(#[from] Error),
    /// The kernel refused a call.
    ///
    /// What the operation had done before the call stays done and is in the books.
    /// Of the call itself the books say what the kernel was then found to have.
    #[error("{call} of {span} failed: {}{}", reason(*errno), Lost(lost))]
    Kernel {
        /// The call.
        call: Syscall,
        /// The bytes that it was to change; of a move, those of the new place. Where
        /// a place was not chosen yet, as many bytes from 0 on.
        span: Span,
        /// The error number, positive.
        errno: i32,
        /// What was mapped before and is gone: the kernel has lost it, or it was in
        /// doubt and could not be looked at. It is reserved again, without access,
        /// and no longer in the books. Mostly empty.
        ///
        /// If not even reserving it is possible, the books have what is there: a
        /// mapping, but not its contents.
        lost: Vec<Span>,
    },
    /// A length of zero cannot be reserved, nor what would end past 2^64 or begin
    /// below 0 with its guards.
    #[error("cannot reserve {len:#x} bytes at {at:#x}")]
    Range {
        /// The address; 0 if none was asked for.
        at: u64,
        /// The length, without guards.
        len: u64,
    },
    /// The alignment is not a power of two, or the fixed address is not aligned.
    #[error("cannot reserve at {at:#x}: not aligned to {align:#x} bytes")]
    Alignment {
        /// The address; 0 if none was asked for.
        at: u64,
        /// The alignment.
        align: u64,
    },
    /// Somebody has memory where it was to be reserved or mapped.
    #[error("{span} is not free: {} is mapped there", Taken(taken))]
    Taken {
        /// The bytes that were asked for.
        span: Span,
        /// The first mapping in the way, if it could be found out.
        taken: Option<Span>,
    },
    /// Flags that this process's memory cannot have, or that cannot be changed.
    ///
    /// Nothing has changed.
    #[error("no mapping can be given or lose the flags {flags:?} here")]
    Flags {
        /// The flags that are too many.
        flags: MapFlags,
    },
    /// Shared anonymous memory cannot grow past the length it was made with.
    ///
    /// The kernel would allow it, and a touch of what is past the end be a bus
    /// error. Nothing has changed.
    #[error(
        "cannot grow to {new_len:#x} bytes at {addr:#x}: the shared memory ends after {end:#x}"
    )]
    PastObject {
        /// The address.
        addr: u64,
        /// The length that was asked for.
        new_len: u64,
        /// How many bytes there are from `addr` on.
        end: u64,
    },
    /// Only private anonymous memory can be mapped again: an executor keeps no file,
    /// and shared memory that is gone is gone.
    ///
    /// Nothing has changed. Map the file with
    /// [`Executor::map_at`](super::Executor::map_at), and take a new snapshot.
    #[error("cannot restore {span}: it is not private anonymous memory")]
    NeedsFile {
        /// The bytes that the file is to show again.
        span: Span,
    },
    /// A handler has no file for a mapping of one.
    #[error("cannot map {span}: no file was given")]
    NoFile {
        /// The bytes that were to show it.
        span: Span,
    },
    /// Only private, unlocked memory can be discarded; nothing was.
    #[error("cannot discard {span}: {why}")]
    Discard {
        /// The first piece, or gap, in the way, cut to the range.
        span: Span,
        /// What is the matter with it.
        why: Undiscardable,
    },
    /// The backing is one that the operation is not for: memory of a device, or an
    /// embedder's own; for a [`Host`](super::Host) also shared anonymous memory,
    /// which has no identity there. Nothing has changed.
    #[error("cannot do this to {span}: its backing is not one that it can be done to")]
    Backing {
        /// The piece with such a backing.
        span: Span,
    },
    /// Direct input and output (`O_DIRECT`) pins the memory that it goes to or from,
    /// and there is nothing to pin. The kernel would say `EFAULT`.
    #[error("{len:#x} bytes at {addr:#x} are no memory for direct input and output: {}", Unpinned(*device))]
    NotDirect {
        /// The address.
        addr: u64,
        /// The length.
        len: u64,
        /// The first piece that is memory of a device; nothing if a part is not
        /// mapped, or without access.
        device: Option<Span>,
    },
    /// A file with large pages is mapped in whole ones, at multiples of their size,
    /// and stays where it is: the kernel would round, and reach past what is asked
    /// for. Nothing has changed.
    #[error("cannot map or move {len:#x} bytes at {addr:#x}: pages of {size:#x} bytes stay whole")]
    LargePages {
        /// The address; 0 if it was not chosen yet.
        addr: u64,
        /// The length.
        len: u64,
        /// The size of a page of the file.
        size: u64,
    },
    /// The pages of the books are smaller than the system's. Nothing has changed.
    #[error("cannot change {span}: the system's pages have {page:#x} bytes")]
    Page {
        /// The bytes of the change.
        span: Span,
        /// The size of the system's pages.
        page: u64,
    },
}

/// Why [`Executor::discard`](super::Executor::discard) refuses a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Undiscardable {
    /// Nothing is mapped there. (The kernel would discard the rest and then say
    /// `ENOMEM`.)
    NotMapped,
    /// It is shared: the kernel would say yes and every byte would stay.
    Shared,
    /// It is locked.
    Locked,
    /// It is memory of a device.
    Device,
}

impl fmt::Display for Undiscardable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotMapped => "nothing is mapped there",
            Self::Shared => "it is shared, and its bytes would stay",
            Self::Locked => "it is locked in memory",
            Self::Device => "it is memory of a device",
        })
    }
}

impl ExecError {
    /// The error number that fits, positive: the kernel's own, or what Linux
    /// answers to such a call.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let span = guest.space().span().unwrap();
    /// let taken = Reservation::options().at(span.start()).reserve(0x10000).unwrap_err();
    /// assert_eq!(taken.errno(), 17); // EEXIST, as of MAP_FIXED_NOREPLACE
    /// let gap = guest.discard(span.start(), 0x1000).unwrap_err();
    /// assert_eq!(gap.errno(), 12); // ENOMEM, as of madvise
    /// let unaligned = guest.unmap(span.start() + 1, 0x1000).unwrap_err();
    /// assert_eq!(unaligned.errno(), 22); // EINVAL, as the books say
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub const fn errno(&self) -> i32 {
        match self {
            Self::Refused(error) => error.errno(),
            Self::Kernel { errno, .. } => *errno,
            Self::Taken { .. } => Errno::EXIST.raw_os_error(),
            Self::Discard { why: Undiscardable::NotMapped, .. } => Errno::NOMEM.raw_os_error(),
            Self::Range { .. }
            | Self::Alignment { .. }
            | Self::Flags { .. }
            | Self::PastObject { .. }
            | Self::NeedsFile { .. }
            | Self::Discard { .. }
            | Self::Backing { .. }
            | Self::LargePages { .. }
            | Self::Page { .. } => Errno::INVAL.raw_os_error(),
            Self::NotDirect { .. } => Errno::FAULT.raw_os_error(),
            Self::NoFile { .. } => Errno::BADF.raw_os_error(),
        }
    }
}

/// The system's words for an error number.
fn reason(errno: i32) -> std::io::Error {
    std::io::Error::from_raw_os_error(errno)
}

struct Lost<'a>(&'a [Span]);

impl fmt::Display for Lost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(nth, span)| {
            write!(f, "{}{span}", if nth == 0 { "; lost: " } else { ", " })
        })
    }
}

struct Unpinned(Option<Span>);

impl fmt::Display for Unpinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(span) => write!(f, "{span} is memory of a device"),
            None => f.write_str("not all of them are mapped and accessible"),
        }
    }
}

struct Taken<'a>(&'a Option<Span>);

impl fmt::Display for Taken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(span) => write!(f, "{span}"),
            None => f.write_str("something"),
        }
    }
}

/// A call that the kernel refused, before it is known what it has done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    pub(super) call: Syscall,
    pub(super) span: Span,
    pub(super) errno: Errno,
    pub(super) rest: Rest,
}

/// What a refused call leaves behind, as far as its caller knows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rest {
    Nothing,
    /// Mapped as it was, and without its contents.
    Emptied(Span),
    /// Without access: it had mapped this, or taken it away for a while.
    Closed(Span),
    /// Mapped by it, and not to be closed.
    Left(Span),
}

impl Refusal {
    pub(super) const fn of(call: Syscall, span: Span) -> impl Fn(Errno) -> Self + Copy {
        move |errno| Self { call, span, errno, rest: Rest::Nothing }
    }

    pub(super) fn with_lost(self, lost: Vec<Span>) -> ExecError {
        let Self { call, span, errno, .. } = self;
        if errno == Errno::EXIST {
            // What was lost before, and somebody else has now.
            return ExecError::Taken { span, taken: view::first(span) };
        }
        ExecError::Kernel { call, span, errno: errno.raw_os_error(), lost }
    }
}

impl From<Refusal> for ExecError {
    fn from(refusal: Refusal) -> Self {
        refusal.with_lost(Vec::new())
    }
}
