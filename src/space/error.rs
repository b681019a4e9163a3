//! What can be refused, and how Linux would say it.

use crate::Span;
use core::fmt;

/// The operation that an [`Error`] refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Verb {
    /// One of the `map` verbs.
    Map,
    /// `unmap` or `unmap_non_original`.
    Unmap,
    /// `protect`.
    Protect,
    /// `set_flags`.
    SetFlags,
    /// `remap`.
    Remap,
    /// `diff` or `restore`.
    Restore,
    /// `discard` of an executor.
    Discard,
    /// [`AddrSpace::try_clone`](crate::AddrSpace::try_clone).
    Copy,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Map => "map",
            Self::Unmap => "unmap",
            Self::Protect => "protect",
            Self::SetFlags => "set the flags of",
            Self::Remap => "remap",
            Self::Restore => "restore",
            Self::Discard => "discard",
            Self::Copy => "copy",
        })
    }
}

/// Why an operation was refused before anything was reported or changed.
///
/// Addresses and lengths are bytes, as the caller gave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The size of a page is a power of two.
    #[error("{page_size} bytes are no page size: it has to be a power of two")]
    PageSize {
        /// The size that was asked for.
        page_size: u64,
    },
    /// A space starts and ends at a page boundary, the end being 2^64 at most.
    ///
    /// For all 2^64 bytes there is [`AddrSpace::whole`](crate::AddrSpace::whole),
    /// unless a page is one byte.
    #[error("a space cannot have {len:#x} bytes at {start:#x} in pages of {page_size:#x} bytes")]
    Geometry {
        /// The first address.
        start: u64,
        /// The length.
        len: u64,
        /// The size of a page.
        page_size: u64,
    },
    /// The address is not the start of a page.
    #[error("cannot {verb} {len:#x} bytes at {addr:#x}: the address is not page-aligned")]
    Unaligned {
        /// What was tried.
        verb: Verb,
        /// The address.
        addr: u64,
        /// The length.
        len: u64,
    },
    /// The length is zero.
    #[error("cannot {verb} zero bytes at {addr:#x}")]
    ZeroLength {
        /// What was tried.
        verb: Verb,
        /// The address.
        addr: u64,
    },
    /// The range, its length rounded up to pages, is not wholly in the space.
    #[error("cannot {verb} {len:#x} bytes at {addr:#x}: they leave the space")]
    OutOfBounds {
        /// What was tried.
        verb: Verb,
        /// The address.
        addr: u64,
        /// The length.
        len: u64,
    },
    /// The offset of the backing is not a multiple of the page size.
    ///
    /// A [`Tag`](crate::Backing::Tag) has no offset and may carry any number.
    #[error("cannot map {len:#x} bytes at offset {offset:#x}: the offset is not page-aligned")]
    UnalignedOffset {
        /// The length.
        len: u64,
        /// The offset, or the physical address.
        offset: u64,
    },
    /// The end of the backing, offset and length together, would not be below 2^64.
    #[error("cannot {verb} {len:#x} bytes at offset {offset:#x}: the end overflows")]
    OffsetOverflow {
        /// What was tried.
        verb: Verb,
        /// The length.
        len: u64,
        /// The offset, or the physical address.
        offset: u64,
    },
    /// Pages of the range are mapped, and they were not to be replaced.
    #[error("cannot {verb} {len:#x} bytes at {addr:#x}: {conflict} is mapped")]
    Occupied {
        /// What was tried.
        verb: Verb,
        /// The address.
        addr: u64,
        /// The length.
        len: u64,
        /// The first region in the way, the whole of it.
        conflict: Span,
    },
    /// No gap in the bounds is large enough, or the chosen placement does not exist.
    #[error("no room for {len:#x} bytes")]
    NoRoom {
        /// What was tried.
        verb: Verb,
        /// The length.
        len: u64,
    },
    /// The alignment is neither a multiple nor a divisor of the page size,
    /// or the offset from it is not a multiple of the page size.
    #[error("pages cannot be aligned to {align:#x} bytes plus {offset:#x}")]
    Alignment {
        /// The alignment.
        align: u64,
        /// The offset.
        offset: u64,
    },
    /// The old range of a `remap` has a page that is not mapped.
    #[error("cannot remap {len:#x} bytes at {addr:#x}: {gap} is not mapped")]
    NotMapped {
        /// The old address.
        addr: u64,
        /// The old length.
        len: u64,
        /// The first gap, cut to the range.
        gap: Span,
    },
    /// The old range of a `remap` that grows or chooses its place has several mappings.
    #[error("cannot remap {len:#x} bytes at {addr:#x}: the mapping ends with {region}")]
    SeveralMappings {
        /// The old address.
        addr: u64,
        /// The old length.
        len: u64,
        /// The region that ends too early.
        region: Span,
    },
    /// The old and the new range of a `remap` overlap.
    #[error("cannot remap {len:#x} bytes at {addr:#x}: old and new place overlap at {conflict}")]
    Overlap {
        /// The old address.
        addr: u64,
        /// The old length.
        len: u64,
        /// The pages that are in both.
        conflict: Span,
    },
    /// The new range of a `remap` is not wholly in the space.
    #[error("cannot remap to {len:#x} bytes at {addr:#x}: they leave the space")]
    BadDestination {
        /// The new address.
        addr: u64,
        /// The new length.
        len: u64,
    },
    /// The options of a `remap` contradict each other or the mapping.
    ///
    /// A source can be kept only if the mapping moves and keeps its length,
    /// and only a shared mapping can be duplicated by an old length of zero.
    #[error("cannot remap {len:#x} bytes at {addr:#x} in this way")]
    BadRemap {
        /// The old address.
        addr: u64,
        /// The old length.
        len: u64,
    },
    /// Whether a mapping is shared cannot be changed.
    #[error("cannot change whether {len:#x} bytes at {addr:#x} are shared")]
    SharedFlag {
        /// The address.
        addr: u64,
        /// The length.
        len: u64,
    },
    /// More bytes would be mapped than [`Limits::bytes`](crate::Limits::bytes) allows.
    #[error("cannot {verb} {len:#x} bytes: more than {limit:#x} would be mapped")]
    ByteLimit {
        /// What was tried.
        verb: Verb,
        /// The length.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// There would be more regions than [`Limits::regions`](crate::Limits::regions) allows.
    #[error("cannot {verb} {len:#x} bytes at {addr:#x}: more than {limit} regions")]
    RegionLimit {
        /// What was tried.
        verb: Verb,
        /// The address.
        addr: u64,
        /// The length.
        len: u64,
        /// The limit.
        limit: usize,
    },
    /// The two spaces differ in start, length or page size.
    #[error("the spaces differ in start, length or page size")]
    OtherGeometry,
    /// The books cannot have the memory that recording the change may need.
    #[error("no memory to {verb} {len:#x} bytes at {addr:#x}")]
    NoMemory {
        /// What was tried.
        verb: Verb,
        /// The address.
        addr: u64,
        /// The length.
        len: u64,
    },
}

/// Linux's numbers, which are the same on every architecture that Rust knows.
mod errno {
    pub(super) const ENOMEM: i32 = 12;
    pub(super) const EFAULT: i32 = 14;
    pub(super) const EEXIST: i32 = 17;
    pub(super) const EINVAL: i32 = 22;
    pub(super) const EOVERFLOW: i32 = 75;
}

impl Error {
    /// What Linux answers to such a call, as a positive number.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x10000, 4096)?;
    /// let outside = space.protect(0x10000, 1, Prot::READ, ignore).unwrap_err();
    /// assert_eq!(outside.errno(), 12); // ENOMEM, as of mprotect
    /// let outside = space.unmap(0x10000, 1, ignore).unwrap_err();
    /// assert_eq!(outside.errno(), 22); // EINVAL, as of munmap
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub const fn errno(&self) -> i32 {
        use errno::{EEXIST, EFAULT, EINVAL, ENOMEM, EOVERFLOW};
        match self {
            Self::OutOfBounds { verb, .. } => match verb {
                Verb::Unmap => EINVAL,
                Verb::Remap => EFAULT,
                _ => ENOMEM,
            },
            Self::OffsetOverflow { verb, .. } => match verb {
                Verb::Remap => EINVAL,
                _ => EOVERFLOW,
            },
            Self::Occupied { .. } => EEXIST,
            Self::NotMapped { .. } | Self::SeveralMappings { .. } => EFAULT,
            Self::NoRoom { .. }
            | Self::ByteLimit { .. }
            | Self::RegionLimit { .. }
            | Self::NoMemory { .. } => ENOMEM,
            Self::PageSize { .. }
            | Self::Geometry { .. }
            | Self::Unaligned { .. }
            | Self::ZeroLength { .. }
            | Self::UnalignedOffset { .. }
            | Self::Alignment { .. }
            | Self::Overlap { .. }
            | Self::BadDestination { .. }
            | Self::BadRemap { .. }
            | Self::SharedFlag { .. }
            | Self::OtherGeometry => EINVAL,
        }
    }
}

/// What a verb answers when its handler can refuse an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpError<E> {
    /// The space refused; nothing was reported and nothing has changed.
    #[error(transparent)]
    Refused(#[from] Error),
    /// The handler refused an update.
    ///
    /// The updates before it are recorded,
    /// and so is what the handler acknowledged of this one.
    /// The same call again does the rest; only for `remap` it is another call, as
    /// [`AddrSpace::remap`](crate::AddrSpace::remap) says.
    #[error("the host refused from {at:#x} on: {source}")]
    Handler {
        /// From this address on, nothing was done.
        ///
        /// Of a move it is an address in the old place.
        at: u64,
        /// The answer of the handler.
        source: E,
    },
}
