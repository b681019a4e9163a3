//! What a shared memory, a view or a mirror can be refused.

use super::mirror::{Guarantee, Missing};
use crate::{ExecError, Span};

/// Why memory could not be shown at another address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AliasError {
    /// There are no such bytes: the length is zero, or the end lies past that of the
    /// memory, or past 2^64.
    #[error("no {len:#x} bytes at {at:#x}: there are {of:#x}")]
    Range {
        /// The offset in the memory, or the address.
        at: u64,
        /// The length that was asked for.
        len: u64,
        /// How many bytes there are from 0 on.
        of: u64,
    },
    /// The range does not consist of whole pages.
    #[error("{len:#x} bytes at {at:#x} are not whole pages of {page:#x} bytes")]
    Alignment {
        /// The offset in the memory, or the address.
        at: u64,
        /// The length.
        len: u64,
        /// The size of a page.
        page: u64,
    },
    /// A size of pages that is no power of two, or not above that of the system.
    #[error("there are no large pages of {size:#x} bytes")]
    PageSize {
        /// The size that was asked for.
        size: u64,
    },
    /// Memory that can grow but never shrink: a file that can be cut short is refused,
    /// because a touch of what is gone would be a bus error.
    #[error("the file can be cut short under its views: it is not sealed against shrinking")]
    Shrinkable,
    /// The memory cannot be made shorter.
    #[error("cannot shrink from {len:#x} to {new_len:#x} bytes")]
    Shorter {
        /// The length.
        len: u64,
        /// The length that was asked for.
        new_len: u64,
    },
    /// A contiguous view has no such chunk.
    #[error("no chunk {index}: the view has {count}")]
    NoChunk {
        /// The number that was asked for.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A chunk is replaced by one of its own length.
    #[error("cannot replace {len:#x} bytes by {new_len:#x}")]
    ChunkLength {
        /// The length of the chunk.
        len: u64,
        /// That of the one that was to replace it.
        new_len: u64,
    },
    /// A chunk of memory with large pages lies where none of them can begin.
    #[error("no page of {page:#x} bytes can begin {at:#x} bytes into the view")]
    ChunkPlace {
        /// Where in the view the chunk would begin.
        at: u64,
        /// The size of its pages.
        page: u64,
    },
    /// Two sources of a mirror have bytes in common.
    #[error("{span} is shown twice")]
    Overlap {
        /// The bytes.
        span: Span,
    },
    /// A source of a mirror that is not mapped.
    #[error("nothing is mapped at {span}")]
    NotMapped {
        /// The first bytes that are missing.
        span: Span,
    },
    /// Memory that the guarantee cannot be kept for.
    #[error("{guarantee} cannot be kept for {span}: {why}")]
    Unsuited {
        /// What was asked for.
        guarantee: Guarantee,
        /// The first piece that it cannot be kept for.
        span: Span,
        /// What is the matter with it.
        why: Unsuited,
    },
    /// This machine, or this process, lacks something.
    #[error("{guarantee} needs more than there is here: {missing}")]
    Missing {
        /// What was asked for.
        guarantee: Guarantee,
        /// What is lacking.
        missing: Missing,
    },
    /// A snapshot by copying was tried several times, and the source did not hold
    /// still for as long as it takes.
    ///
    /// The mirror shows what it showed before. With the privilege to handle faults of
    /// the kernel ([`Way::WriteProtect`](super::Way::WriteProtect)) the source need not
    /// hold still.
    #[error(
        "the source has changed during each of {passes} copies, at last {bytes:#x} bytes of it"
    )]
    Changing {
        /// How often was copied.
        passes: u32,
        /// How much had changed during the last one.
        bytes: u64,
    },
    /// A page of the source has another frame than before it was mapped: the kernel has
    /// moved it, or somebody has unlocked it. Nothing is shown; it can be tried again.
    #[error("a page of the source has moved while it was mapped")]
    Moved,
    /// A mirror belongs to the process that made it, and this is a child of it.
    #[error("the mirror belongs to the parent process")]
    Forked,
    /// The kernel refused a call. Nothing has changed, unless the method says so.
    #[error("{call} failed: {}", std::io::Error::from_raw_os_error(*errno))]
    Kernel {
        /// The call.
        call: &'static str,
        /// The error number, positive.
        errno: i32,
    },
    /// Physical memory could not be reached; the error names the rule that keeps it so.
    #[error(transparent)]
    Phys(#[from] crate::phys::Error),
    /// The executor of a contiguous view was refused something.
    #[error(transparent)]
    Exec(#[from] ExecError),
}

/// Why a guarantee cannot be kept for some memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Unsuited {
    /// It is private, so there is nothing to map a second time.
    #[error("it is private memory, whose pages cannot be mapped a second time")]
    Private,
    /// It is shared, so who writes it elsewhere is not held up.
    #[error("it is shared memory, which others can write elsewhere")]
    Shared,
    /// It is a private view of a file, so who writes the file is not held up.
    #[error("it is a view of a file, which others can write elsewhere")]
    File,
    /// Another fault handler has it already.
    #[error("somebody else handles its faults already")]
    Handled,
    /// It cannot be read.
    #[error("it cannot be read")]
    Unreadable,
}

impl AliasError {
    /// The error number that fits, positive: the kernel's own, or what Linux answers
    /// to such a call.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::alias::SharedMemory;
    ///
    /// let empty = SharedMemory::new(0).unwrap_err();
    /// assert_eq!(empty.errno(), 22); // EINVAL
    /// ```
    pub const fn errno(&self) -> i32 {
        use rustix::io::Errno;
        let errno = match self {
            Self::Kernel { errno, .. } => return *errno,
            Self::Exec(error) => return error.errno(),
            Self::Phys(error) => return error.errno(),
            Self::Shrinkable | Self::Missing { .. } => Errno::PERM,
            Self::NotMapped { .. } => Errno::FAULT,
            Self::Unsuited { why: Unsuited::Handled, .. } => Errno::BUSY,
            Self::Changing { .. } | Self::Moved => Errno::AGAIN,
            Self::Forked => Errno::SRCH,
            _ => Errno::INVAL,
        };
        errno.raw_os_error()
    }

    /// A call that the kernel refused.
    pub(super) const fn kernel(call: &'static str) -> impl Fn(rustix::io::Errno) -> Self + Copy {
        move |errno| Self::Kernel { call, errno: errno.raw_os_error() }
    }
}
