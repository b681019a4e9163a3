//! Chunks of shared memories, side by side.

use super::error::AliasError;
use super::shared::SharedMemory;
use crate::{AddrSpace, Executor, Prot, Region, Reservation, Span};

/// A part of a [`SharedMemory`].
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// The memory.
    pub memory: &'a SharedMemory,
    /// Where in it the part begins, in bytes.
    pub offset: u64,
    /// The length in bytes.
    pub len: u64,
}

/// Chunks of shared memories in one stretch of addresses, without a copy.
///
/// Any chunks, in any order, of any number of memories, and each as often as one likes;
/// neighbours that continue each other are mapped by one call. A chunk can be replaced
/// in place: the others do not move, and are not touched.
///
/// The stretch is a reservation with an [`Executor`] of its own. So its books say which
/// chunk is where ([`space`](Self::space)), also when the kernel refuses a change, and
/// can be compared with what the kernel has ([`verify`](Self::verify)). To have chunks
/// side by side in a guest's space, map them there ([`SharedMemory::memory`]).
///
/// # Examples
///
/// ```
/// use addrspace::Prot;
/// use addrspace::alias::{Chunk, ContiguousView, SharedMemory};
///
/// let memory = SharedMemory::new(0x3000)?;
/// for (page, letter) in [b'a', b'b', b'c'].into_iter().enumerate() {
///     memory.write_at(page as u64 * 0x1000, &[letter; 0x1000])?;
/// }
/// let chunk = |page: u64| Chunk { memory: &memory, offset: page * 0x1000, len: 0x1000 };
/// let mut view = ContiguousView::new(&[chunk(2), chunk(0), chunk(2)], Prot::READ)?;
/// // SAFETY: the view is mapped, and nobody writes the memory.
/// let letter = |view: &ContiguousView, at| char::from(unsafe { view.pointer().add(at).read() });
/// assert_eq!((letter(&view, 0), letter(&view, 0x1fff), letter(&view, 0x2000)), ('c', 'a', 'c'));
///
/// view.replace(1, chunk(1))?;
/// assert_eq!((letter(&view, 0), letter(&view, 0x1fff), letter(&view, 0x2000)), ('c', 'b', 'c'));
/// # Ok::<(), addrspace::alias::AliasError>(())
/// ```
#[derive(Debug)]
pub struct ContiguousView {
    exec: Executor,
    prot: Prot,
    /// Where each chunk begins in the view, and at last its length.
    bounds: Vec<u64>,
}

impl ContiguousView {
    /// Shows `chunks` side by side, all with the protection `prot`.
    ///
    /// # Errors
    ///
    /// Nothing is mapped.
    ///
    /// - [`AliasError::Range`] if there are no chunks, if one is not a part of its
    ///   memory, or if all together are longer than there are addresses;
    /// - [`AliasError::Alignment`] if one is not whole pages of its memory;
    /// - [`AliasError::ChunkPlace`] if one of large pages would lie between two of them;
    /// - [`AliasError::Exec`] if the kernel refuses: it has a limit of mappings
    ///   (`/proc/sys/vm/max_map_count`, 65,530 mostly), and each chunk that does not
    ///   continue the one before is one.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Prot;
    /// use addrspace::alias::{AliasError, Chunk, ContiguousView, SharedMemory};
    ///
    /// let memory = SharedMemory::new(0x2000)?;
    /// let past = Chunk { memory: &memory, offset: 0x1000, len: 0x2000 };
    /// let refused = ContiguousView::new(&[past], Prot::READ).unwrap_err();
    /// assert_eq!(refused, AliasError::Range { at: 0x1000, len: 0x2000, of: 0x2000 });
    /// ContiguousView::new(&[], Prot::READ).unwrap_err();
    /// # Ok::<(), AliasError>(())
    /// ```
    pub fn new(chunks: &[Chunk<'_>], prot: Prot) -> Result<Self, AliasError> {
        let (mut bounds, mut align) = (Vec::with_capacity(chunks.len().saturating_add(1)), 1);
        let mut end = 0_u64;
        for chunk in chunks {
            chunk.check(end)?;
            align = align.max(chunk.memory.page_size().bytes());
            bounds.push(end);
            let past = AliasError::Range { at: end, len: chunk.len, of: u64::MAX };
            end = end.checked_add(chunk.len).ok_or(past)?;
        }
        bounds.push(end);
        if end == 0 {
            return Err(AliasError::Range { at: 0, len: 0, of: 0 });
        }
        let exec = Executor::new(Reservation::options().aligned(align).reserve(end)?)?;
        let mut view = Self { exec, prot, bounds };
        let mut at = 0_u64;
        for run in chunks.chunk_by(Chunk::is_continued_by) {
            // The sum is a part of the view's length.
            let len = run.iter().fold(0, |len: u64, chunk| len.saturating_add(chunk.len));
            if let Some(first) = run.first() {
                view.put(at, Chunk { len, ..*first })?;
            }
            at = at.saturating_add(len);
        }
        Ok(view)
    }

    /// Shows the `len` bytes of `memory` from `offset` on twice in a row: a ring whose
    /// wrap-around is plain memory, readable and writable.
    ///
    /// What is written past the end is at the start, so a message of up to `len` bytes
    /// can begin anywhere in the first half and be one stretch.
    ///
    /// # Errors
    ///
    /// As of [`new`](Self::new).
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::alias::{ContiguousView, SharedMemory};
    ///
    /// let memory = SharedMemory::new(0x1000)?;
    /// let ring = ContiguousView::ring(&memory, 0, 0x1000)?;
    /// // SAFETY: the ring is mapped, two pages long, and nobody else has it.
    /// unsafe { ring.pointer().add(0xffe).cast::<[u8; 4]>().write_unaligned(*b"wrap") };
    /// // SAFETY: as above.
    /// assert_eq!(unsafe { ring.pointer().cast::<[u8; 2]>().read() }, *b"ap");
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub fn ring(memory: &SharedMemory, offset: u64, len: u64) -> Result<Self, AliasError> {
        Self::new(&[Chunk { memory, offset, len }; 2], Prot::READ | Prot::WRITE)
    }

    /// Shows `chunk` in place of chunk number `index`, which is as long: one call.
    ///
    /// Who looks at the same time sees the old or the new one, page by page.
    ///
    /// # Errors
    ///
    /// If nothing has changed:
    ///
    /// - [`AliasError::NoChunk`] if there is none with this number;
    /// - [`AliasError::ChunkLength`] if the new one has another length;
    /// - what [`new`](Self::new) refuses of a chunk.
    ///
    /// [`AliasError::Exec`] if the kernel refuses: the old chunk is there, but for what
    /// the error says is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Prot;
    /// use addrspace::alias::{AliasError, Chunk, ContiguousView, SharedMemory};
    ///
    /// let memory = SharedMemory::new(0x2000)?;
    /// let one = Chunk { memory: &memory, offset: 0, len: 0x1000 };
    /// let mut view = ContiguousView::new(&[one, one], Prot::READ)?;
    /// view.replace(0, Chunk { offset: 0x1000, ..one })?;
    ///
    /// let refused = view.replace(2, one).unwrap_err();
    /// assert_eq!(refused, AliasError::NoChunk { index: 2, count: 2 });
    /// let refused = view.replace(0, Chunk { len: 0x2000, ..one }).unwrap_err();
    /// assert_eq!(refused, AliasError::ChunkLength { len: 0x1000, new_len: 0x2000 });
    /// # Ok::<(), AliasError>(())
    /// ```
    pub fn replace(&mut self, index: usize, chunk: Chunk<'_>) -> Result<(), AliasError> {
        let (at, len) = self.place(index)?;
        if chunk.len != len {
            return Err(AliasError::ChunkLength { len, new_len: chunk.len });
        }
        chunk.check(at)?;
        let page = chunk.memory.page_size();
        if !page.is_aligned(self.span().start().wrapping_add(at)) {
            return Err(AliasError::ChunkPlace { at, page: page.bytes() });
        }
        self.put(at, chunk)
    }

    /// How many chunks there are.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::alias::{ContiguousView, SharedMemory};
    ///
    /// assert_eq!(ContiguousView::ring(&SharedMemory::new(0x1000)?, 0, 0x1000)?.chunks(), 2);
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub const fn chunks(&self) -> usize {
        // The last bound is the end.
        self.bounds.len().saturating_sub(1)
    }

    /// Where chunk number `index` is.
    ///
    /// # Errors
    ///
    /// [`AliasError::NoChunk`] if there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::alias::{ContiguousView, SharedMemory};
    ///
    /// let ring = ContiguousView::ring(&SharedMemory::new(0x1000)?, 0, 0x1000)?;
    /// assert_eq!(ring.chunk(1)?.start(), ring.span().start() + 0x1000);
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    #[expect(
        clippy::unreachable,
        reason = "`place` finds chunks of the view, which ends below 2^64"
    )]
    pub fn chunk(&self, index: usize) -> Result<Span, AliasError> {
        let (at, len) = self.place(index)?;
        let start = self.span().start().checked_add(at);
        let span = start.and_then(|start| Span::of(start, len));
        Ok(span.unwrap_or_else(|| unreachable!()))
    }

    /// Where all of it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::alias::{ContiguousView, SharedMemory};
    ///
    /// let ring = ContiguousView::ring(&SharedMemory::new(0x1000)?, 0, 0x1000)?;
    /// assert_eq!(ring.span().len(), Some(0x2000));
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    #[expect(
        clippy::unreachable,
        reason = "the books of a reservation have its pages, one at the least"
    )]
    pub fn span(&self) -> Span {
        let span = self.exec.space().span();
        span.unwrap_or_else(|| unreachable!())
    }

    /// A pointer to its first byte; as of [`View::pointer`](super::View::pointer).
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::alias::{ContiguousView, SharedMemory};
    ///
    /// let ring = ContiguousView::ring(&SharedMemory::new(0x1000)?, 0, 0x1000)?;
    /// assert_eq!(ring.pointer().addr() as u64, ring.span().start());
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    #[expect(clippy::unreachable, reason = "its first address lies in a reservation")]
    pub fn pointer(&self) -> *mut u8 {
        let pointer = self.exec.pointer(self.span().start());
        pointer.unwrap_or_else(|| unreachable!())
    }

    /// The books of the view: each memory is a file, at its offset.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Backing;
    /// use addrspace::alias::{ContiguousView, SharedMemory};
    ///
    /// let ring = ContiguousView::ring(&SharedMemory::new(0x1000)?, 0, 0x1000)?;
    /// let is_start = |backing| matches!(backing, Backing::File { offset: 0, .. });
    /// assert!(ring.space().regions().all(|region| is_start(region.backing)));
    /// assert_eq!(ring.space().regions().count(), 2);
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub const fn space(&self) -> &AddrSpace {
        self.exec.space()
    }

    /// Where in the view the `len` bytes of `memory` from `offset` on are shown.
    ///
    /// # Errors
    ///
    /// [`AliasError::Exec`], which nothing should cause.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::alias::{ContiguousView, SharedMemory};
    ///
    /// let memory = SharedMemory::new(0x1000)?;
    /// let ring = ContiguousView::ring(&memory, 0, 0x1000)?;
    /// let start = ring.span().start();
    /// let places = ring.pieces_of(&memory, 0x10, 1)?;
    /// let starts: Vec<u64> = places.iter().map(|piece| piece.start() - start).collect();
    /// assert_eq!(starts, [0x10, 0x1010]);
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub fn pieces_of(
        &self,
        memory: &SharedMemory,
        offset: u64,
        len: u64,
    ) -> Result<Vec<Region<'_>>, AliasError> {
        Ok(self.exec.pieces_of(memory, offset, len)?)
    }

    /// Compares the books with the kernel's own list; see [`Executor::verify`].
    ///
    /// # Errors
    ///
    /// [`AliasError::Exec`] if the list cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::alias::{ContiguousView, SharedMemory};
    ///
    /// let mut ring = ContiguousView::ring(&SharedMemory::new(0x1000)?, 0, 0x1000)?;
    /// assert!(ring.verify()?.is_empty());
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub fn verify(&mut self) -> Result<Vec<crate::Difference>, AliasError> {
        Ok(self.exec.verify()?)
    }

    /// Where in the view a chunk begins, and its length.
    fn place(&self, index: usize) -> Result<(u64, u64), AliasError> {
        let bounds = index.checked_add(1).and_then(|next| self.bounds.get(index..=next));
        let Some(&[at, end]) = bounds else {
            return Err(AliasError::NoChunk { index, count: self.chunks() });
        };
        // Bounds ascend.
        Ok((at, end.saturating_sub(at)))
    }

    fn put(&mut self, at: u64, chunk: Chunk<'_>) -> Result<(), AliasError> {
        // The place lies in the reservation.
        let addr = self.span().start().wrapping_add(at);
        self.exec.map_at(addr, chunk.len, chunk.memory.memory(chunk.offset, self.prot))?;
        Ok(())
    }
}

impl Chunk<'_> {
    /// Refuses what is not in the memory, or cannot be `at` bytes into a view.
    fn check(&self, at: u64) -> Result<(), AliasError> {
        self.memory.check(self.offset, self.len)?;
        let page = self.memory.page_size();
        if !page.is_aligned(at) {
            return Err(AliasError::ChunkPlace { at, page: page.bytes() });
        }
        Ok(())
    }

    /// Whether one call can map both.
    fn is_continued_by(&self, next: &Self) -> bool {
        core::ptr::eq(self.memory, next.memory)
            && self.offset.checked_add(self.len) == Some(next.offset)
    }
}
