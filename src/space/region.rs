//! What a mapping is, as callers give it and as they see it.

use crate::{MapFlags, Prot, Span};

/// What the bytes of a mapping come from.
///
/// `F` identifies a file: equal means the same file for as long as it is mapped.
/// Neighbours merge when the one continues the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Backing<F> {
    /// Zeroes that belong to nobody else.
    ///
    /// Shared anonymous memory that has to be told apart, as it has on Linux,
    /// wants an identity: make it a [`File`](Self::File).
    Anonymous,
    /// A file from `offset` on; the offset advances over a split.
    File {
        /// The identity of the file.
        file: F,
        /// The offset in bytes, a multiple of the page size.
        offset: u64,
    },
    /// Physical memory from `addr` on; the address advances over a split.
    Physical {
        /// The physical address, a multiple of the page size.
        addr: u64,
    },
    /// The embedder's own; the value does not advance over a split.
    Tag {
        /// The identity.
        handle: F,
        /// Any number.
        value: u64,
    },
}

impl<F: Clone> Backing<&F> {
    /// The backing with a handle of its own.
    pub fn cloned(self) -> Backing<F> {
        match self {
            Self::Anonymous => Backing::Anonymous,
            Self::File { file, offset } => Backing::File { file: file.clone(), offset },
            Self::Physical { addr } => Backing::Physical { addr },
            Self::Tag { handle, value } => Backing::Tag { handle: handle.clone(), value },
        }
    }
}

/// The attributes of a mapping: protection, flags and backing.
///
/// # Examples
///
/// ```
/// use addrspace::{MapFlags, Mapping, Prot};
///
/// let text: Mapping = Mapping::file(Prot::READ | Prot::EXEC, 7, 0x1000);
/// let ring: Mapping<&str> = Mapping::file(Prot::READ | Prot::WRITE, "ring", 0).shared();
/// assert!(ring.flags.contains(MapFlags::SHARED));
/// assert!(text.flags.is_empty());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Mapping<F = u32> {
    /// What may be done with the bytes.
    pub prot: Prot,
    /// What else is to be known.
    pub flags: MapFlags,
    /// What the bytes come from.
    pub backing: Backing<F>,
}

impl<F> Mapping<F> {
    /// Private memory that starts as zeroes.
    pub const fn anonymous(prot: Prot) -> Self {
        Self { prot, flags: MapFlags::empty(), backing: Backing::Anonymous }
    }

    /// A private view of `file` from `offset` (bytes) on.
    pub const fn file(prot: Prot, file: F, offset: u64) -> Self {
        Self { prot, flags: MapFlags::empty(), backing: Backing::File { file, offset } }
    }

    /// Physical memory from `addr` on.
    pub const fn physical(prot: Prot, addr: u64) -> Self {
        Self { prot, flags: MapFlags::empty(), backing: Backing::Physical { addr } }
    }

    /// The embedder's own kind of memory.
    pub const fn tag(prot: Prot, handle: F, value: u64) -> Self {
        Self { prot, flags: MapFlags::empty(), backing: Backing::Tag { handle, value } }
    }

    /// The same with `flags` added.
    #[must_use]
    pub const fn with_flags(mut self, flags: MapFlags) -> Self {
        self.flags = self.flags.union(flags);
        self
    }

    /// The same, shared.
    #[must_use]
    pub const fn shared(self) -> Self {
        self.with_flags(MapFlags::SHARED)
    }
}

/// A maximal range with one mapping, or a piece of it; handles are lent.
///
/// # Examples
///
/// ```
/// use addrspace::{AddrSpace, Backing, Mapping, Prot, ignore};
///
/// let mut space = AddrSpace::new(0, 0x10000, 0x1000)?;
/// space.map_at(0x4000, 0x3000, Mapping::file(Prot::READ, "libc.so", 0x8000), ignore)?;
/// space.unmap(0x4000, 0x1000, ignore)?;
///
/// let region = space.query(0x5123).unwrap();
/// assert_eq!((region.start(), region.len()), (0x5000, Some(0x2000)));
/// assert_eq!(region.backing, Backing::File { file: &"libc.so", offset: 0x9000 });
/// # Ok::<(), addrspace::Error>(())
/// ```
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Region<'a, F = u32> {
    /// Where the bytes are.
    pub span: Span,
    /// What may be done with them.
    pub prot: Prot,
    /// What else is known of them.
    pub flags: MapFlags,
    /// What the first byte, and those after it, come from.
    pub backing: Backing<&'a F>,
    /// Whether the pages are marked by
    /// [`mark_original`](crate::AddrSpace::mark_original).
    pub original: bool,
}

// Derived, these would ask the same of `F`, which is only lent.
impl<F> Clone for Region<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for Region<'_, F> {}

#[expect(clippy::len_without_is_empty, reason = "a region is never empty")]
impl<F> Region<'_, F> {
    /// The address of the first byte.
    pub const fn start(&self) -> u64 {
        self.span.start()
    }

    /// The address of the last byte.
    pub const fn last(&self) -> u64 {
        self.span.last()
    }

    /// The length in bytes; nothing if it is 2^64.
    pub const fn len(&self) -> Option<u64> {
        self.span.len()
    }

    /// The address after the last byte; nothing if it is 2^64.
    pub const fn end(&self) -> Option<u64> {
        self.span.end()
    }

    /// Whether writes reach the backing.
    pub const fn is_shared(&self) -> bool {
        self.flags.contains(MapFlags::SHARED)
    }
}

impl<F: Clone> Region<'_, F> {
    /// The mapping, with a handle of its own.
    pub fn mapping(&self) -> Mapping<F> {
        Mapping { prot: self.prot, flags: self.flags, backing: self.backing.cloned() }
    }
}
