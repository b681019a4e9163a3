//! Somebody else's memory, seen at another address.
//!
//! `ways`: what can be promised, and how. `sources`: what is shown where. `lazy`: the
//! thread that copies pages when they are needed. `copied`: a copy of one instant.
//! `physical`: the frames of private memory.

mod copied;
mod lazy;
mod physical;
mod sources;
mod ways;
mod writable;

use super::error::{AliasError, Unsuited};
use super::sys::Mapped;
use crate::{Prot, Span};
use alloc::sync::Arc;
use lazy::Handler;
use physical::Frames;
use sources::Parts;
pub use ways::{Guarantee, Missing, Way};

/// Memory that was not made for sharing, shown read-only at another address.
///
/// One or several scattered ranges of this process's memory, side by side. The caller
/// names what is to be promised ([`Guarantee`]), and gets the first way that keeps it and
/// can be had here ([`Guarantee::ways`]), or an error that says what is missing.
///
/// It is safe to make one of any memory, whosever it is: what is not mapped, or cannot be
/// read, is an error, and the source is never changed. What is `unsafe` is to read through
/// [`pointer`](Self::pointer), and the guarantee says what will be found there.
///
/// # When things happen to the source
///
/// - A page of the source that is thrown away, unmapped or moved before its copy was
///   needed is *lost*: to touch it in a snapshot or a mirror as of the first touch is a
///   bus error (`SIGBUS`; before Linux 6.6 `SIGSEGV`), and [`lost`](Self::lost) counts it
///   when that is known. Pages that were delivered stay. If something else was mapped
///   there, a snapshot's page is lost, while a mirror as of the first touch shows what is
///   there. A live mirror keeps showing the memory that it was made of.
/// - A child after `fork` does not get the mirror: its addresses are a hole there, the
///   value can be dropped there without harm, and [`refresh`](Self::refresh) answers
///   [`AliasError::Forked`]. The source is the child's own and not protected.
///
/// # Threads
///
/// A snapshot by [`Way::WriteProtect`] and a mirror as of the first touch have a thread
/// that copies pages. It ends when the mirror is dropped, also if a page was never
/// delivered. To touch the mirror then is to touch unmapped memory, as always after a
/// drop; a touch that waits for its page at that moment ends in `SIGSEGV`, and never in a
/// page of zeroes. A write to the source that waits goes on.
///
/// Signal handlers that run on any thread can run on that one: such a handler must not
/// write to the source of a snapshot.
///
/// # Examples
///
/// ```
/// use addrspace::Span;
/// use addrspace::alias::{Guarantee, Mirror, SharedMemory};
/// use addrspace::Prot;
///
/// let theirs = SharedMemory::new(0x2000)?;
/// let source = theirs.map(0, 0x2000, Prot::READ | Prot::WRITE)?;
/// let mirror = Mirror::new(&[source.span()], Guarantee::Live)?;
/// // SAFETY: the source is mapped, and nobody else has it.
/// unsafe { source.pointer().write(7) };
/// // SAFETY: the mirror is mapped.
/// assert_eq!(unsafe { mirror.pointer().read_volatile() }, 7);
/// # Ok::<(), addrspace::alias::AliasError>(())
/// ```
#[derive(Debug)]
pub struct Mirror {
    /// Ends before the memory goes.
    handler: Option<Handler>,
    memory: Arc<Mapped>,
    /// Where the pages of a physical alias are; lets the source go after it is unmapped.
    frames: Option<Frames>,
    parts: Arc<Parts>,
    way: Way,
    /// Reading, or reading and writing.
    prot: Prot,
    /// The process that it belongs to.
    owner: u32,
}

impl Mirror {
    /// Shows `sources` side by side, in the given order.
    ///
    /// # Errors
    ///
    /// Nothing is shown, and no thread is started.
    ///
    /// - [`AliasError::Range`] if there are no sources, or more than there are addresses;
    /// - [`AliasError::Alignment`] if one is not whole pages;
    /// - [`AliasError::Overlap`] if two have bytes in common;
    /// - [`AliasError::NotMapped`] if nothing is mapped at a part of one;
    /// - [`AliasError::Unsuited`] if the guarantee cannot be kept for a part of one, as
    ///   for private memory that is to be live;
    /// - [`AliasError::Missing`] if no way to keep it can be had here; of several, what
    ///   the last one misses;
    /// - [`AliasError::Changing`] if a snapshot has to be copied at once, and the source
    ///   does not hold still;
    /// - [`AliasError::Kernel`] if the kernel refuses something else.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Span;
    /// use addrspace::alias::{AliasError, Guarantee, Mirror, Unsuited, Way};
    ///
    /// // A stack is private: its pages cannot be mapped a second time, unless by their
    /// // frames, where the machine allows it.
    /// let local = 7_u64;
    /// let page = std::ptr::from_ref(&local).addr() as u64 & !0xfff;
    /// let stack = Span::of(page, 0x1000).unwrap();
    /// let refused = Mirror::by(Way::Shared, &[stack]).unwrap_err();
    /// assert!(matches!(refused, AliasError::Unsuited { why: Unsuited::Private, .. }));
    /// if let Err(missing) = Way::Physical.check() {
    ///     let (refused, guarantee) = (Mirror::new(&[stack], Guarantee::Live), Guarantee::Live);
    ///     assert_eq!(refused.unwrap_err(), AliasError::Missing { guarantee, missing });
    /// }
    ///
    /// let top = Span::of(0u64.wrapping_sub(0x2000), 0x1000).unwrap();
    /// let refused = Mirror::new(&[top], Guarantee::FirstTouch).unwrap_err();
    /// assert_eq!(refused, AliasError::NotMapped { span: top });
    /// ```
    pub fn new(sources: &[Span], guarantee: Guarantee) -> Result<Self, AliasError> {
        Self::first(sources, guarantee, Prot::READ)
    }

    /// The first way that can be had here and that the sources are fit for.
    #[expect(clippy::unreachable, reason = "`ways` names at least one for each guarantee")]
    fn first(sources: &[Span], guarantee: Guarantee, prot: Prot) -> Result<Self, AliasError> {
        let mut refused = None;
        for &way in guarantee.ways() {
            match way.check() {
                Ok(()) => match Self::made(way, sources, prot) {
                    Err(error @ AliasError::Unsuited { why: Unsuited::Private, .. }) => {
                        refused = Some(error);
                    }
                    made => return made,
                },
                Err(missing) => refused = Some(AliasError::Missing { guarantee, missing }),
            }
        }
        Err(refused.unwrap_or_else(|| unreachable!()))
    }

    /// The same, by one certain way.
    ///
    /// # Errors
    ///
    /// As of [`new`](Self::new).
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Prot;
    /// use addrspace::alias::{Mirror, SharedMemory, Way};
    ///
    /// let theirs = SharedMemory::new(0x2000)?.map(0, 0x2000, Prot::READ)?;
    /// let mirror = Mirror::by(Way::Shared, &[theirs.span()])?;
    /// assert_eq!(mirror.way(), Way::Shared);
    /// assert_eq!(mirror.span().len(), Some(0x2000));
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub fn by(way: Way, sources: &[Span]) -> Result<Self, AliasError> {
        let guarantee = way.guarantee();
        way.check().map_err(|missing| AliasError::Missing { guarantee, missing })?;
        Self::made(way, sources, Prot::READ)
    }

    fn made(way: Way, sources: &[Span], prot: Prot) -> Result<Self, AliasError> {
        let parts = Arc::new(Parts::new(sources)?);
        parts.examine(way, |_, _| Ok(()))?;
        let (memory, frames) = match way {
            Way::WriteProtect | Way::FaultHandler => {
                let blank = Mapped::anonymous(parts.len, Prot::READ);
                (blank.map_err(AliasError::kernel("mmap"))?, None)
            }
            _ => eager(way, &parts, prot)?,
        };
        memory.stay().map_err(AliasError::kernel("madvise"))?;
        let memory = Arc::new(memory);
        let handler = match way {
            Way::WriteProtect | Way::FaultHandler => Some(Handler::start(way, &memory, &parts)?),
            _ => None,
        };
        Ok(Self { handler, frames, memory, parts, way, prot, owner: std::process::id() })
    }

    /// Starts over: the source is shown as it is from now on.
    ///
    /// A snapshot is of a new instant, and a mirror as of the first touch forgets what was
    /// touched. Who reads while this runs finds, page by page, the old or the new.
    ///
    /// # Errors
    ///
    /// As of [`new`](Self::new), and [`AliasError::Forked`] in a child process. The mirror
    /// shows what it showed before; only if `mremap` is refused in the midst
    /// ([`AliasError::Kernel`]), a part of it can be new.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Prot;
    /// use addrspace::alias::{Guarantee, Mirror, SharedMemory, Way};
    ///
    /// if let Err(missing) = Way::FaultHandler.check() {
    ///     eprintln!("not shown here: {missing}");
    ///     return Ok(());
    /// }
    /// let source = SharedMemory::new(0x1000)?.map(0, 0x1000, Prot::READ | Prot::WRITE)?;
    /// let mut mirror = Mirror::new(&[source.span()], Guarantee::FirstTouch)?;
    /// // SAFETY: both are mapped, and nobody else has the source.
    /// let write_and_read = |mirror: &Mirror, byte| unsafe {
    ///     source.pointer().write_volatile(byte);
    ///     mirror.pointer().read_volatile()
    /// };
    /// assert_eq!(write_and_read(&mirror, 1), 1); // the first touch
    /// assert_eq!(write_and_read(&mirror, 2), 1);
    /// mirror.refresh()?;
    /// assert_eq!(write_and_read(&mirror, 3), 3);
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub fn refresh(&mut self) -> Result<(), AliasError> {
        if self.is_forked() {
            return Err(AliasError::Forked);
        }
        self.parts.examine(self.way, |_, _| Ok(()))?;
        if let Some(handler) = &self.handler {
            return handler.start_over(&self.parts);
        }
        let (new, frames) = eager(self.way, &self.parts, self.prot)?;
        new.stay().map_err(AliasError::kernel("madvise"))?;
        self.memory.replace(new).map_err(AliasError::kernel("mremap"))?;
        self.frames = frames;
        Ok(())
    }

    /// Whether a live mirror still shows the pages that the source has; others show what
    /// they promise, and are always current.
    ///
    /// It was so when it was looked at: see [`Way::Physical`] for why that can change by
    /// itself. A mirror of shared memory ceases to be current when something else is
    /// mapped at the source. [`refresh`](Self::refresh) makes it current again.
    ///
    /// # Errors
    ///
    /// [`AliasError::Kernel`] or [`AliasError::Phys`] if it cannot be looked at.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Prot;
    /// use addrspace::alias::{Guarantee, Mirror, SharedMemory};
    ///
    /// let theirs = SharedMemory::new(0x1000)?.map(0, 0x1000, Prot::READ)?;
    /// let mirror = Mirror::new(&[theirs.span()], Guarantee::Live)?;
    /// assert!(mirror.is_current()?);
    /// drop(theirs);
    /// assert!(!mirror.is_current()?); // it has the pages, and the source does not
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    #[expect(
        clippy::unreachable,
        reason = "the memory is as long as all parts, and each is named with its place"
    )]
    pub fn is_current(&self) -> Result<bool, AliasError> {
        if let Some(frames) = &self.frames {
            return frames.are_current(&self.parts);
        }
        if self.way != Way::Shared {
            return Ok(true);
        }
        let start = self.memory.span().start();
        let mut same = true;
        let looked = self.parts.examine(self.way, |at, region| {
            let place = start.checked_add(at).zip(region.span.len());
            let place = place.and_then(|(start, len)| Span::of(start, len));
            let part = place.unwrap_or_else(|| unreachable!());
            let shown = crate::exec::regions(part);
            let shown = shown.map_err(AliasError::kernel("reading /proc/self/maps"))?;
            same &= shown.iter().all(|shown| {
                let skipped = shown.span.start().wrapping_sub(part.start());
                let offset = region.offset.wrapping_add(skipped);
                shown.file == region.file && shown.offset == offset
            });
            Ok(())
        });
        match looked {
            Ok(()) => Ok(same),
            Err(AliasError::NotMapped { .. } | AliasError::Unsuited { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Where it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Prot;
    /// use addrspace::alias::{Guarantee, Mirror, SharedMemory};
    ///
    /// let memory = SharedMemory::new(0x3000)?;
    /// let (one, two) = (memory.map(0, 0x1000, Prot::READ)?, memory.map(0, 0x3000, Prot::READ)?);
    /// let mirror = Mirror::new(&[one.span(), two.span()], Guarantee::Live)?;
    /// assert_eq!(mirror.span().len(), Some(0x4000));
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub fn span(&self) -> Span {
        self.memory.span()
    }

    /// A pointer to its first byte: to read through, until the mirror is dropped.
    ///
    /// Only the guarantee says whether the bytes can change, so in general no reference
    /// should be made of it.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Prot;
    /// use addrspace::alias::{Guarantee, Mirror, SharedMemory};
    ///
    /// let theirs = SharedMemory::new(0x1000)?.map(0, 0x1000, Prot::READ)?;
    /// let mirror = Mirror::new(&[theirs.span()], Guarantee::Live)?;
    /// // SAFETY: the mirror is mapped, and nobody writes the memory.
    /// assert_eq!(unsafe { mirror.pointer().read() }, 0);
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub fn pointer(&self) -> *const u8 {
        self.memory.pointer()
    }

    /// How it was made.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Prot;
    /// use addrspace::alias::{Guarantee, Mirror, SharedMemory, Way};
    ///
    /// let theirs = SharedMemory::new(0x1000)?.map(0, 0x1000, Prot::READ)?;
    /// assert_eq!(Mirror::new(&[theirs.span()], Guarantee::Live)?.way(), Way::Shared);
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub const fn way(&self) -> Way {
        self.way
    }

    /// Whether a system call may be given bytes of the mirror that nobody has touched
    /// yet, as in a `write` from it.
    ///
    /// If not, it answers `EFAULT` for them; code can read them all the same. That is so
    /// for [`Way::FaultHandler`] in a process without the privilege to handle faults of
    /// the kernel.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Prot;
    /// use addrspace::alias::{Guarantee, Mirror, SharedMemory};
    ///
    /// let theirs = SharedMemory::new(0x1000)?.map(0, 0x1000, Prot::READ)?;
    /// assert!(Mirror::new(&[theirs.span()], Guarantee::Live)?.serves_the_kernel());
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub fn serves_the_kernel(&self) -> bool {
        self.handler.as_ref().is_none_or(Handler::serves_the_kernel)
    }

    /// How many pages were copied since the mirror was made or refreshed; all, or none,
    /// where no thread copies them.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Prot;
    /// use addrspace::alias::{Guarantee, Mirror, SharedMemory};
    ///
    /// let theirs = SharedMemory::new(0x1000)?.map(0, 0x1000, Prot::READ)?;
    /// let live = Mirror::new(&[theirs.span()], Guarantee::Live)?;
    /// assert_eq!(live.delivered(), 0); // it shows the pages themselves
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub fn delivered(&self) -> u64 {
        match (&self.handler, self.way) {
            (Some(handler), _) => handler.pages().0,
            (None, Way::CheckedCopy) => crate::exec::system_page().pages_floor(self.parts.len),
            (None, _) => 0,
        }
    }

    /// How many pages are known to be lost, because the source lost them first.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Prot;
    /// use addrspace::alias::{Guarantee, Mirror, SharedMemory};
    ///
    /// let theirs = SharedMemory::new(0x1000)?.map(0, 0x1000, Prot::READ)?;
    /// let live = Mirror::new(&[theirs.span()], Guarantee::Live)?;
    /// drop(theirs);
    /// assert_eq!(live.lost(), 0); // it has the pages, too
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub fn lost(&self) -> u64 {
        self.handler.as_ref().map_or(0, |handler| handler.pages().1)
    }

    fn is_forked(&self) -> bool {
        self.owner != std::process::id()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        if self.is_forked() {
            // The memory did not come along: the addresses may be anybody's by now.
            core::mem::forget(Arc::clone(&self.memory));
            if let Some(handler) = &mut self.handler {
                handler.abandon();
            }
        } else if self.handler.is_some() {
            // Who waits for a page wakes when the thread ends, and finds no zeroes.
            let _ = self.memory.protect(self.memory.span(), Prot::empty());
        }
    }
}

/// What the ways make that need no thread.
fn eager(way: Way, parts: &Parts, prot: Prot) -> Result<(Mapped, Option<Frames>), AliasError> {
    match way {
        Way::Physical => physical::map(parts, prot).map(|(memory, frames)| (memory, Some(frames))),
        Way::Shared => shown_again(parts, prot).map(|memory| (memory, None)),
        _ => copied::copy(parts).map(|memory| (memory, None)),
    }
}

/// Maps shared memory a second time.
#[expect(
    clippy::unreachable,
    reason = "the memory is as long as all parts, and each is named with its place"
)]
fn shown_again(parts: &Parts, prot: Prot) -> Result<Mapped, AliasError> {
    let memory = Mapped::anonymous(parts.len, Prot::empty());
    let memory = memory.map_err(AliasError::kernel("mmap"))?;
    let start = memory.span().start();
    parts.examine(Way::Shared, |at, region| {
        let place = start.checked_add(at).zip(region.span.len());
        let place = place.and_then(|(start, len)| Span::of(start, len));
        let part = place.unwrap_or_else(|| unreachable!());
        memory.show(part, region.span).map_err(AliasError::kernel("mremap"))?;
        memory.protect(part, prot).map_err(AliasError::kernel("mprotect"))
    })?;
    Ok(memory)
}
