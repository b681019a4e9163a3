//! What a handler hears, and what it can answer.

use super::area::Area;
use super::commit::Ack;
use super::error::{Error, OpError};
use super::region::Region;
use super::{AreaPieces, Areas};
use crate::page::Geometry;
use crate::{MapFlags, Prot, Span};
use core::fmt;
use core::iter::FusedIterator;
use core::ops::Range;

/// One change that a host can make with one call, and what was there before.
///
/// A verb of [`AddrSpace`](crate::AddrSpace) reports it to its handler first,
/// and records it when the handler has answered.
/// A handler is a closure that answers nothing, or a `Result<(), E>`:
///
/// - nothing or `Ok`: the change was made;
/// - `Err`, or a panic: it was not made, except for what was acknowledged by
///   [`made_to`](Self::made_to).
///
/// A fallible closure names its result where nothing else says it
/// (`|update| -> io::Result<()> { .. }`), and one that is kept in a variable
/// annotates its argument (`|update: Update<'_>| ..`).
///
/// # Examples
///
/// ```
/// use addrspace::{AddrSpace, Mapping, Prot, Update, ignore};
///
/// let mut space: AddrSpace = AddrSpace::new(0, 0x10000, 0x1000)?;
/// space.map_at(0x1000, 0x1000, Mapping::anonymous(Prot::READ), ignore)?;
/// space.map_at(0x2000, 0x1000, Mapping::anonymous(Prot::WRITE), ignore)?;
///
/// // Two regions side by side: one call of the host, one update.
/// let mut calls = Vec::new();
/// space.unmap(0, 0x10000, |update| match update {
///     Update::Unmap { span, pieces } => calls.push((span.start(), span.len(), pieces.iter().count())),
///     _ => unreachable!("only unmaps"),
/// })?;
/// assert_eq!(calls, [(0x1000, Some(0x2000), 2)]);
/// # Ok::<(), addrspace::Error>(())
/// ```
pub enum Update<'a, F = u32> {
    /// Map `region`; what is there is overwritten.
    Map {
        /// The new region.
        region: Region<'a, F>,
        /// What the new region overwrites; there may be gaps between the pieces.
        replaced: Pieces<'a, F>,
    },
    /// Unmap `span`.
    Unmap {
        /// The bytes to unmap.
        ///
        /// They are all mapped, unless the gaps of the space are
        /// [`Owned`](crate::Gaps::Owned).
        span: Span,
        /// What is mapped there.
        pieces: Pieces<'a, F>,
    },
    /// Give `span` the protection `prot`.
    Protect {
        /// The bytes to protect, all mapped.
        span: Span,
        /// The new protection.
        prot: Prot,
        /// What is mapped there, with the old protection.
        pieces: Pieces<'a, F>,
    },
    /// Change the flags of `span`.
    Flags {
        /// The bytes to change, all mapped.
        span: Span,
        /// The flags that are set, after those of `clear` were cleared.
        set: MapFlags,
        /// The flags that are cleared.
        clear: MapFlags,
        /// What is mapped there, with the old flags.
        pieces: Pieces<'a, F>,
    },
    /// Move what is at `from` to `to`, overwriting what is there.
    ///
    /// The bytes of `to` past the length of `from` are mapped anew and continue
    /// the backing.
    Move {
        /// The old place, all mapped.
        from: Span,
        /// The new place, at least as long.
        to: Span,
        /// Whether the old place stays mapped, but for what `to` overlaps of it.
        keep_source: bool,
        /// What is mapped at `from`.
        pieces: Pieces<'a, F>,
        /// What is overwritten at `to`; there may be gaps between the pieces.
        replaced: Pieces<'a, F>,
    },
}

impl<'a, F> Update<'a, F> {
    /// The bytes that change; of a move, those of the old place.
    pub const fn span(&self) -> Span {
        match self {
            Self::Map { region, .. } => region.span,
            Self::Unmap { span, .. } | Self::Protect { span, .. } | Self::Flags { span, .. } => {
                *span
            }
            Self::Move { from, .. } => *from,
        }
    }

    /// What is affected: the pieces in the way of a new mapping, those that
    /// change or go, and of a move those at the old place.
    pub const fn pieces(&self) -> Pieces<'a, F> {
        match self {
            Self::Map { replaced: pieces, .. }
            | Self::Unmap { pieces, .. }
            | Self::Protect { pieces, .. }
            | Self::Flags { pieces, .. }
            | Self::Move { pieces, .. } => *pieces,
        }
    }
}

impl<F> Update<'_, F> {
    /// Where a move goes.
    #[cfg(all(feature = "exec", target_os = "linux"))]
    pub(crate) const fn target(&self) -> Option<Span> {
        if let Self::Move { to, .. } = self { Some(*to) } else { None }
    }

    /// The part of a move below `addr`, an address of the old place: what is recorded
    /// of it when the handler has acknowledged so much and then refuses.
    #[cfg(all(feature = "exec", target_os = "linux"))]
    pub(crate) fn moved_below(&self, addr: u64) -> Option<Self> {
        let Self::Move { from, to, keep_source, pieces, replaced } = *self else { return None };
        let from = Span::new(from.start(), from.last().min(addr.checked_sub(1)?))?;
        let to = Span::of(to.start(), from.len()?)?;
        let (pieces, replaced) = (pieces.below(addr), replaced.below(to.end()?));
        Some(Self::Move { from, to, keep_source, pieces, replaced })
    }
}

impl<F: Clone + PartialEq> Update<'_, F> {
    /// Acknowledges that the host has made the change below `addr`.
    ///
    /// When the handler then answers `Err` or panics, what lies below `addr` is
    /// recorded all the same: the pages of an `Unmap`, `Protect` or `Flags` have
    /// changed, those of a `Move` have moved with what they overwrite, and of a
    /// `Map` the pieces that were there are gone, because the host has lost them.
    /// When the handler answers `Ok` it makes no difference.
    ///
    /// `addr` is an address of [`span`](Self::span); it is rounded down to a page
    /// and cut to the span. An acknowledgement is not taken back by a lower one.
    /// If the books will need a second copy of a file's identity, because `addr`
    /// is inside a region, it is made here.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Mapping, OpError, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x10000, 0x1000)?;
    /// space.map_at(0, 0x4000, Mapping::anonymous(Prot::READ), ignore)?;
    ///
    /// let refused = space.unmap(0, 0x4000, |update| {
    ///     update.made_to(0x3000); // three pages went well
    ///     Err("the host has enough")
    /// });
    /// assert_eq!(refused, Err(OpError::Handler { at: 0x3000, source: "the host has enough" }));
    /// assert_eq!(space.query(0x2000), None);
    /// assert_eq!(space.query(0x3000).unwrap().len(), Some(0x1000));
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn made_to(&self, addr: u64) {
        self.pieces().acknowledge(addr);
    }
}

impl<F> Clone for Update<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for Update<'_, F> {}

impl<F: Clone + PartialEq + fmt::Debug> fmt::Debug for Update<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map { region, replaced } => {
                f.debug_struct("Map").field("region", region).field("replaced", replaced).finish()
            }
            Self::Unmap { span, pieces } => {
                f.debug_struct("Unmap").field("span", span).field("pieces", pieces).finish()
            }
            Self::Protect { span, prot, pieces } => f
                .debug_struct("Protect")
                .field("span", span)
                .field("prot", prot)
                .field("pieces", pieces)
                .finish(),
            Self::Flags { span, set, clear, pieces } => f
                .debug_struct("Flags")
                .field("span", span)
                .field("set", set)
                .field("clear", clear)
                .field("pieces", pieces)
                .finish(),
            Self::Move { from, to, keep_source, pieces, replaced } => f
                .debug_struct("Move")
                .field("from", from)
                .field("to", to)
                .field("keep_source", keep_source)
                .field("pieces", pieces)
                .field("replaced", replaced)
                .finish(),
        }
    }
}

/// The pieces that an [`Update`] affects, as they are before it.
///
/// Looking at them clones nothing, and not looking costs nothing.
pub struct Pieces<'a, F = u32> {
    areas: &'a Areas<F>,
    geometry: Geometry,
    /// The pages of the update; not a `Range`, which could not be copied.
    first: u64,
    end: u64,
    /// Where the handler's acknowledgement goes; nothing waits for one in a diff.
    ack: Option<&'a Ack<F>>,
}

impl<'a, F> Pieces<'a, F> {
    pub(super) const fn new(
        areas: &'a Areas<F>,
        geometry: Geometry,
        range: &Range<u64>,
        ack: Option<&'a Ack<F>>,
    ) -> Self {
        Self { areas, geometry, first: range.start, end: range.end, ack }
    }
}

#[cfg(all(feature = "exec", target_os = "linux"))]
impl<F> Pieces<'_, F> {
    /// Those below `addr`.
    fn below(mut self, addr: u64) -> Self {
        self.end = self.geometry.boundary_at(addr).min(self.end).max(self.first);
        self
    }
}

#[cfg(feature = "capi")]
impl<F> Pieces<'_, F> {
    /// The pieces on the pages from that of `first` to that of `last`, cut to them.
    pub(crate) fn within(mut self, first: u64, last: u64) -> Self {
        let end = if last < self.geometry.addr_of(self.first) {
            self.first
        } else {
            self.geometry.boundary_at(last).saturating_add(1)
        };
        self.first = self.geometry.boundary_at(first).clamp(self.first, self.end);
        self.end = end.clamp(self.first, self.end);
        self
    }
}

impl<'a, F: Clone + PartialEq> Pieces<'a, F> {
    /// The pieces in ascending order.
    pub fn iter(&self) -> PiecesIter<'a, F> {
        PiecesIter { inner: self.areas.pieces(self.first..self.end), geometry: self.geometry }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        !self.areas.overlaps(self.first..self.end)
    }

    fn acknowledge(&self, addr: u64) {
        if let Some(ack) = self.ack {
            let page = self.geometry.boundary_at(addr).min(self.end);
            ack.acknowledge(self.areas, page);
        }
    }
}

impl<F> Clone for Pieces<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for Pieces<'_, F> {}

impl<F: Clone + PartialEq + fmt::Debug> fmt::Debug for Pieces<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, F: Clone + PartialEq> IntoIterator for Pieces<'a, F> {
    type Item = Region<'a, F>;
    type IntoIter = PiecesIter<'a, F>;

    fn into_iter(self) -> PiecesIter<'a, F> {
        self.iter()
    }
}

impl<'a, F: Clone + PartialEq> IntoIterator for &Pieces<'a, F> {
    type Item = Region<'a, F>;
    type IntoIter = PiecesIter<'a, F>;

    fn into_iter(self) -> PiecesIter<'a, F> {
        self.iter()
    }
}

/// The iterator of [`Pieces`] and of
/// [`AddrSpace::regions_in`](crate::AddrSpace::regions_in).
pub struct PiecesIter<'a, F = u32> {
    pub(super) inner: AreaPieces<'a, F>,
    pub(super) geometry: Geometry,
}

impl<'a, F: Clone + PartialEq> PiecesIter<'a, F> {
    fn region(geometry: Geometry, (range, area): (Range<u64>, &'a Area<F>)) -> Region<'a, F> {
        area.region(geometry, &range)
    }
}

impl<'a, F: Clone + PartialEq> Iterator for PiecesIter<'a, F> {
    type Item = Region<'a, F>;

    fn next(&mut self) -> Option<Self::Item> {
        self.inner.next().map(|piece| Self::region(self.geometry, piece))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}

impl<F: Clone + PartialEq> DoubleEndedIterator for PiecesIter<'_, F> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.inner.next_back().map(|piece| Self::region(self.geometry, piece))
    }
}

impl<F: Clone + PartialEq> FusedIterator for PiecesIter<'_, F> {}

impl<F: Clone + PartialEq> Clone for PiecesIter<'_, F> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), geometry: self.geometry }
    }
}

impl<F: Clone + PartialEq + fmt::Debug> fmt::Debug for PiecesIter<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// The handler that makes nothing: for books without a host.
///
/// Its name shows at the call that the host was not forgotten.
pub fn ignore<F>(_update: Update<'_, F>) {}

/// What a handler may answer: nothing, or a `Result<(), E>`.
///
/// It decides what the verb answers: a handler that cannot fail leaves [`Error`],
/// one that can gives [`OpError<E>`].
pub trait Answer: sealed::Sealed {
    /// The error of a verb with such a handler.
    type Error: From<Error>;

    /// The error of the verb, if the handler refused from `at` on.
    #[doc(hidden)]
    fn refusal(self, at: impl FnOnce() -> u64) -> Result<(), Self::Error>;
}

impl Answer for () {
    type Error = Error;

    fn refusal(self, _at: impl FnOnce() -> u64) -> Result<(), Error> {
        Ok(())
    }
}

impl<E> Answer for Result<(), E> {
    type Error = OpError<E>;

    fn refusal(self, at: impl FnOnce() -> u64) -> Result<(), OpError<E>> {
        self.map_err(|source| OpError::Handler { at: at(), source })
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for () {}
    impl<E> Sealed for Result<(), E> {}
}
