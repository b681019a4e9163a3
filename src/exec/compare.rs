//! The books beside the kernel's list.

use super::files::Files;
use super::view::KernelRegion;
use crate::{AddrSpace, Backing, MapFlags, Mapping, Prot, Span};
use core::fmt;

/// A range over which the books and the kernel have one thing each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) span: Span,
    /// The mapping, with what its first byte comes from.
    pub(super) books: Option<Mapping>,
    pub(super) kernel: Option<KernelRegion>,
}

/// Whether the books and the kernel have the same in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    /// The same but for the protection.
    Protection,
    Different,
}

/// What the list of the kernel can show of a protection.
pub(super) const SHOWN: Prot = Prot::READ.union(Prot::WRITE).union(Prot::EXEC);

impl Segment {
    pub(super) fn verdict(&self, files: &mut Files) -> Verdict {
        let (books, kernel) = match (&self.books, &self.kernel) {
            (Some(books), Some(kernel)) => (books, kernel),
            (None, Some(kernel)) if kernel.is_reserved() => return Verdict::Same,
            _ => return Verdict::Different,
        };
        let shared = books.flags.contains(MapFlags::SHARED);
        let same = shared == kernel.shared
            && match books.backing {
                Backing::Anonymous => kernel.file.is_anonymous(),
                Backing::File { file, offset } => files.matches(file, offset, kernel),
                Backing::Physical { addr } => kernel.offset == addr && !kernel.file.is_anonymous(),
                Backing::Tag { .. } => false,
            };
        match (same, books.prot & SHOWN == kernel.prot) {
            (true, true) => Verdict::Same,
            (true, false) => Verdict::Protection,
            (false, _) => Verdict::Different,
        }
    }
}

/// Walks the segments of `span`; `kernel` is what the kernel has there.
pub(super) fn segments<'a>(
    space: &'a AddrSpace,
    span: Span,
    kernel: &'a [KernelRegion],
) -> impl Iterator<Item = Segment> + 'a {
    let mut pieces = space.regions_in(span.start(), span.len().unwrap_or(u64::MAX)).peekable();
    let mut kernel = kernel.iter().peekable();
    let mut at = Some(span.start());
    core::iter::from_fn(move || {
        let start = at?;
        while pieces.next_if(|piece| piece.last() < start).is_some() {}
        while kernel.next_if(|region| region.span.last() < start).is_some() {}
        let last = [pieces.peek().map(|piece| piece.span), kernel.peek().map(|k| k.span)]
            .into_iter()
            .flatten()
            // Up to where one of them ends, or begins.
            .map(
                |next| {
                    if next.contains(start) { next.last() } else { next.start().wrapping_sub(1) }
                },
            )
            .fold(span.last(), u64::min);
        let books = pieces.peek().filter(|piece| piece.span.contains(start));
        let found = kernel.peek().filter(|region| region.span.contains(start));
        at = last.checked_add(1).filter(|next| *next <= span.last());
        Some(Segment {
            span: Span::new(start, last)?,
            books: books.map(|piece| {
                let mut mapping = piece.mapping();
                let skipped = start.wrapping_sub(piece.start());
                if let Backing::File { offset, .. } | Backing::Physical { addr: offset } =
                    &mut mapping.backing
                {
                    *offset = offset.wrapping_add(skipped);
                }
                mapping
            }),
            kernel: found.map(|region| {
                let skipped = start.wrapping_sub(region.span.start());
                KernelRegion { offset: region.offset.wrapping_add(skipped), ..**region }
            }),
        })
    })
}

/// Bytes about which the books and the kernel disagree.
///
/// # Examples
///
/// ```
/// use addrspace::{Executor, Reservation};
/// use core::ptr;
///
/// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
/// let gap = guest.space().span().unwrap().start() + 0x3000;
/// let place: *mut u8 = guest.pointer(gap).unwrap();
/// let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
/// // SAFETY: the page is reserved, and nothing is mapped there.
/// let planted = unsafe { libc::mmap(place.cast(), 0x1000, libc::PROT_READ, flags, -1, 0) };
/// assert!(ptr::eq(planted, place.cast()));
///
/// let differences = guest.verify()?;
/// assert_eq!(differences.len(), 1);
/// assert_eq!((differences[0].span.start(), differences[0].span.len()), (gap, Some(0x1000)));
/// assert_eq!(differences[0].books, None);
/// let words = differences[0].to_string();
/// assert!(words.ends_with("the books have a reserved gap, the kernel r--p anonymous memory"));
/// # Ok::<(), addrspace::ExecError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The bytes.
    pub span: Span,
    /// What the books have; nothing if they are reserved.
    pub books: Option<Mapping>,
    /// What the kernel has; nothing if anybody could map something there.
    pub kernel: Option<Found>,
}

/// What the kernel says of a mapping.
///
/// # Examples
///
/// ```
/// use addrspace::{Executor, Memory, Placement, Prot, Reservation};
///
/// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
/// let rw = Prot::READ | Prot::WRITE;
/// let ring = guest.map_any(0x4000, Memory::anonymous(rw).shared(), Placement::lowest())?;
/// // SAFETY: the pages were mapped just now and nobody else knows of them.
/// assert_eq!(unsafe { libc::mprotect(ring.add(0x2000).cast(), 0x1000, libc::PROT_READ) }, 0);
///
/// let found = guest.verify()?[0].kernel.unwrap();
/// assert_eq!(found.prot, Prot::READ);
/// // To the kernel, shared memory is a file, and this its third page.
/// assert!(found.shared && found.inode != 0);
/// assert_eq!(found.offset, 0x2000);
/// # Ok::<(), addrspace::ExecError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// What may be done with the bytes: read, written, executed.
    pub prot: Prot,
    /// Whether writes reach the backing.
    pub shared: bool,
    /// Where the first byte lies in the file.
    pub offset: u64,
    /// Major and minor number of the file's device; zero without a file.
    pub device: (u32, u32),
    /// The file's inode; zero without a file.
    pub inode: u64,
}

impl Difference {
    pub(super) fn of(segment: &Segment) -> Self {
        Self {
            span: segment.span,
            books: segment.books,
            kernel: segment.kernel.map(|region| Found {
                prot: region.prot,
                shared: region.shared,
                offset: region.offset,
                device: (region.file.major, region.file.minor),
                inode: region.file.inode,
            }),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: the books have ", self.span)?;
        match &self.books {
            Some(Mapping { prot, flags, backing }) => {
                let shared = flags.contains(MapFlags::SHARED);
                write!(f, "{} {backing:?}", Perms(*prot, shared))?;
            }
            None => f.write_str("a reserved gap")?,
        }
        f.write_str(", the kernel ")?;
        match &self.kernel {
            Some(Found { prot, shared, device: (0, 0), inode: 0, .. }) => {
                write!(f, "{} anonymous memory", Perms(*prot, *shared))
            }
            Some(Found { prot, shared, offset, device: (major, minor), inode }) => {
                let perms = Perms(*prot, *shared);
                write!(f, "{perms} {offset:#x} of inode {inode} on {major:02x}:{minor:02x}")
            }
            None => f.write_str("nothing"),
        }
    }
}

/// Protection and sharing as `/proc/PID/maps` has them.
struct Perms(Prot, bool);

impl fmt::Display for Perms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bit, letter) in [(Prot::READ, "r"), (Prot::WRITE, "w"), (Prot::EXEC, "x")] {
            f.write_str(if self.0.contains(bit) { letter } else { "-" })?;
        }
        f.write_str(if self.1 { "s" } else { "p" })
    }
}
