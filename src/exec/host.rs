//! The calls alone: a handler for books without a reservation.

use super::compare::SHOWN;
use super::error::{ExecError, Refusal, Rest, Syscall};
use super::files;
use super::map::check_large;
use super::memory::{self, Options, Way};
use super::mend::length;
use super::relocate::{self, Move, Old, Stop};
use super::seam;
use super::sys::{Errno, Ground};
use super::view;
use crate::{
    AddrSpace, Backing, Limits, MapFlags, Mapping, OpError, Pieces, Placement, Region, Span,
    Update, ignore,
};
use rustix::fd::BorrowedFd;
use rustix::fs;

/// Makes, in this process's memory, the changes that an [`AddrSpace`] reports.
///
/// For those who keep books of their own and have no reservation, such as an
/// emulator whose guest addresses are those of the host: [`apply`](Self::apply) is
/// called by their handler. What is unmapped is free for anybody.
///
/// It never overwrites memory that the books do not have. To map, it first takes
/// every gap in the range, without access, in a way that replaces nothing
/// (`MAP_FIXED_NOREPLACE`), and maps over the whole range only then; if somebody
/// has a page there, the change is refused ([`ExecError::Taken`]) and what was taken
/// is given back. [`map_any`](Self::map_any) then tries elsewhere.
///
/// Memory that the kernel has placed, at an address that it chose, gets into the
/// books by [`AddrSpace::map_at`] with [`ignore`].
///
/// # Examples
///
/// ```
/// use addrspace::{AddrSpace, Ground, Host, Mapping, Placement, Prot};
///
/// // SAFETY: the books are empty, and all that they will have is mapped by `host`.
/// let mut host = Host::new(unsafe { Ground::anywhere() });
/// let mut space: AddrSpace = AddrSpace::new(0x10_0000_0000, 1 << 32, 4096)?;
/// let rw = Mapping::anonymous(Prot::READ | Prot::WRITE);
///
/// let addr = host.map_any(&mut space, 0x4000, &rw, Placement::lowest(), None)?;
/// space.protect(addr, 0x1000, Prot::READ, |update| host.apply(update, None))?;
/// space.unmap(addr, 0x4000, |update| host.apply(update, None))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Host {
    ground: Ground,
}

impl Host {
    /// Makes changes on `ground` only; all others are refused.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Ground, Host, Mapping, Prot};
    /// use core::ptr;
    ///
    /// // SAFETY: both books are empty, and all that they will have is mapped by `host`.
    /// let mut host = Host::new(unsafe { Ground::anywhere() });
    /// let mut code: AddrSpace = AddrSpace::new(0x11_0000_0000, 0x10000, 4096)?;
    /// let mut data: AddrSpace<String> = AddrSpace::new(0x11_1000_0000, 0x10000, 4096)?;
    /// let read = Mapping::anonymous(Prot::READ);
    /// code.map_at(0x11_0000_0000, 0x1000, read, |u| host.apply(u, None))?;
    /// let rw = Mapping::anonymous(Prot::READ | Prot::WRITE);
    /// data.map_at(0x11_1000_0000, 0x1000, rw, |u| host.apply(u, None))?;
    ///
    /// let word: *mut u32 = ptr::with_exposed_provenance_mut(0x11_1000_0000);
    /// // SAFETY: the page was mapped just now and nobody else knows of it.
    /// assert_eq!(unsafe { word.read() }, 0);
    /// // What is mapped outlives the host and the books, unless it is unmapped.
    /// code.unmap(0x11_0000_0000, 0x1000, |u| host.apply(u, None))?;
    /// data.unmap(0x11_1000_0000, 0x1000, |u| host.apply(u, None))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn new(ground: Ground) -> Self {
        Self { ground }
    }

    /// Makes one change; `file` is the file of a new mapping of one, or the device
    /// of physical memory. A file mapping that grows in place is a new mapping.
    ///
    /// # Errors
    ///
    /// What was done in part is acknowledged ([`Update::made_to`]), so the books
    /// are right when the handler answers the error:
    ///
    /// - [`ExecError::Taken`] if somebody else has memory where something is to be
    ///   mapped; nothing has changed;
    /// - [`ExecError::NoFile`] or [`ExecError::Backing`] if it is not known what to
    ///   map; nothing has changed;
    /// - [`ExecError::LargePages`], [`ExecError::Page`] or [`ExecError::Flags`] for
    ///   what cannot be done right; nothing has changed;
    /// - [`ExecError::Kernel`] if the kernel refuses. If it has lost what a new
    ///   mapping was to replace, the error names it, and it is gone from the books.
    ///   What a refused *move* was to replace cannot be acknowledged: if the error
    ///   names something as lost, take it out of the books with [`ignore`].
    ///   Flags that were changed before a refusal are put back, as far as the kernel
    ///   allows it. What was locked may have lost its lock in a refused move, both what
    ///   has moved and what has not, and has its flag in the books all the same: clear
    ///   that with [`ignore`], and set it again.
    ///
    /// After a refusal `/proc/self/maps` is read; where it cannot be, nothing is
    /// acknowledged and nothing given back.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, ExecError, Ground, Host, Mapping, OpError, Prot};
    /// use core::ptr;
    /// use std::fs::File;
    /// use std::os::fd::AsFd;
    ///
    /// // SAFETY: the books are empty, and all that they will have is mapped by `host`.
    /// let mut host = Host::new(unsafe { Ground::anywhere() });
    /// let mut space: AddrSpace<&str> = AddrSpace::new(0x12_0000_0000, 1 << 32, 4096)?;
    /// let (addr, exe) = (0x12_0000_0000, Mapping::file(Prot::READ, "exe", 0));
    ///
    /// let refused = space.map_at(addr, 0x1000, exe, |update| host.apply(update, None));
    /// assert!(matches!(refused, Err(OpError::Handler { source: ExecError::NoFile { .. }, .. })));
    /// assert_eq!(space.query(addr), None);
    ///
    /// let file = File::open("/proc/self/exe")?;
    /// space.map_at(addr, 0x1000, exe, |update| host.apply(update, Some(file.as_fd())))?;
    /// let header: *const [u8; 4] = ptr::with_exposed_provenance(addr as usize);
    /// // SAFETY: the page was mapped just now and nobody unmaps it meanwhile.
    /// assert_eq!(unsafe { header.read() }, *b"\x7fELF");
    /// space.unmap(addr, 0x1000, |update| host.apply(update, None))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn apply<F: Clone + PartialEq>(
        &mut self,
        update: Update<'_, F>,
        file: Option<BorrowedFd<'_>>,
    ) -> Result<(), ExecError> {
        let page = super::reservation::system_page();
        let odd = [Some(update.span()), update.target()].into_iter().flatten().find(|span| {
            !page.is_aligned(span.start()) || !page.is_aligned(span.last().wrapping_add(1))
        });
        if let Some(span) = odd {
            return Err(ExecError::Page { span, page: page.bytes() });
        }
        match update {
            Update::Map { region, replaced } => self.map(&update, &region, replaced, file),
            Update::Unmap { pieces, .. } => self.unmap(&update, pieces),
            Update::Protect { span, prot, pieces } => {
                self.ground.protect(span, prot).map_err(|errno| {
                    let changed = |region: &view::KernelRegion| region.prot == prot & SHOWN;
                    let upto = prefix(span, changed);
                    // Of what looked like that before, nobody knows whether other bits are
                    // new: the first of these is where it ends.
                    let alike = |piece: &Region<'_, F>| piece.prot & SHOWN == prot & SHOWN;
                    let other = !prot.difference(SHOWN).is_empty();
                    let same = pieces.iter().find(alike).filter(|_| other);
                    update.made_to(same.map_or(upto, |piece| upto.min(piece.start())));
                    Refusal::of(Syscall::Mprotect, span)(errno).into()
                })
            }
            Update::Flags { span, set, clear, pieces } => self.flag(span, set, clear, pieces),
            Update::Move { from, to, keep_source, pieces, replaced } => {
                self.relocate(&update, Move { from, to, keep_source }, pieces, replaced)
            }
        }
    }

    /// Maps `len` bytes at a place that `placement` chooses and that is free, also
    /// of memory that the books do not know; tells the address.
    ///
    /// Where somebody else's memory turns out to be in the way, the next place is
    /// tried: a copy of the books, for the search alone, then has what is taken.
    ///
    /// # Errors
    ///
    /// As of [`AddrSpace::map_any`] and [`apply`](Self::apply); nothing has changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Ground, Host, Mapping, Placement, Prot};
    ///
    /// // SAFETY: both books are empty, and all that they will have is mapped by `host`.
    /// let mut host = Host::new(unsafe { Ground::anywhere() });
    /// let mut mine: AddrSpace = AddrSpace::new(0x13_0000_0000, 1 << 32, 4096)?;
    /// let mut yours = mine.clone();
    /// let memory = Mapping::anonymous(Prot::READ | Prot::WRITE);
    ///
    /// let first = host.map_any(&mut mine, 0x4000, &memory, Placement::lowest(), None)?;
    /// assert_eq!(first, 0x13_0000_0000);
    /// // The other books know nothing of it, but the kernel does.
    /// let second = host.map_any(&mut yours, 0x4000, &memory, Placement::lowest(), None)?;
    /// assert_eq!(second, 0x13_0000_4000);
    /// assert_eq!(yours.usage().mapped, 0x4000);
    ///
    /// mine.unmap(first, 0x4000, |update| host.apply(update, None))?;
    /// yours.unmap(second, 0x4000, |update| host.apply(update, None))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map_any<F: Clone + PartialEq>(
        &mut self,
        space: &mut AddrSpace<F>,
        len: u64,
        mapping: &Mapping<F>,
        placement: Placement,
        file: Option<BorrowedFd<'_>>,
    ) -> Result<u64, OpError<ExecError>> {
        let handler = |update: Update<'_, F>| self.apply(update, file);
        let mut answer = space.map_any(len, mapping.clone(), placement, handler);
        let mut search: Option<AddrSpace<F>> = None;
        while let Err(OpError::Handler {
            source: ExecError::Taken { span, taken: Some(taken) },
            ..
        }) = answer
        {
            let search = search.get_or_insert_with(|| {
                let mut search = space.clone();
                search.set_limits(Limits::default());
                search
            });
            // Only what is in the way of this try is sure to be in the space.
            let start = search.page_size().round_down(taken.start()).max(span.start());
            let last = taken.last().min(span.last());
            let blocked = Span::new(start, last).and_then(Span::len).unwrap_or(1);
            search.map_at(start, blocked, Mapping::anonymous(crate::Prot::empty()), ignore)?;
            let addr = search.clone().map_any(len, mapping.clone(), placement, ignore)?;
            let handler = |update: Update<'_, F>| self.apply(update, file);
            answer = space.map_at_no_replace(addr, len, mapping.clone(), handler).map(|()| addr);
        }
        answer
    }

    fn map<F: Clone + PartialEq>(
        &mut self,
        update: &Update<'_, F>,
        region: &Region<'_, F>,
        replaced: Pieces<'_, F>,
        file: Option<BorrowedFd<'_>>,
    ) -> Result<(), ExecError> {
        let span = region.span;
        match (region.backing, file) {
            (Backing::Tag { .. }, _) => return Err(ExecError::Backing { span }),
            (Backing::Anonymous, _) if region.is_shared() => {
                return Err(ExecError::Backing { span });
            }
            (Backing::File { .. } | Backing::Physical { .. }, None) => {
                return Err(ExecError::NoFile { span });
            }
            _ => {}
        }
        if let Some(file) = file {
            let stat =
                seam::gate_file(|| fs::fstat(file)).map_err(Refusal::of(Syscall::Fstat, span))?;
            let size = files::granule(file, &stat).map_err(Refusal::of(Syscall::Fstat, span))?;
            check_large(span.start(), length(span), size)?;
        }
        let claims = self.claim_gaps(span, replaced)?;
        let file = file.filter(|_| !matches!(region.backing, Backing::Anonymous));
        // A file's own mmap could fail after the old mapping went.
        let way = if file.is_some() { Way::Scratch } else { Way::Direct };
        memory::put(&mut self.ground, region, file, Options::default(), way).map_err(|refusal| {
            self.give_back(&claims);
            let lost = lost(span, replaced);
            if !lost.is_empty() {
                // The kernel loses all or nothing.
                update.made_to(span.last().saturating_add(1));
            }
            refusal.with_lost(lost)
        })
    }

    fn unmap<F: Clone + PartialEq>(
        &mut self,
        update: &Update<'_, F>,
        pieces: Pieces<'_, F>,
    ) -> Result<(), ExecError> {
        let mut pieces = pieces.iter().map(|piece| piece.span).peekable();
        while let Some(mut run) = pieces.next() {
            while let Some(next) = pieces.next_if(|next| run.end() == Some(next.start())) {
                run = Span::new(run.start(), next.last()).unwrap_or(run);
            }
            self.ground.unmap(run).map_err(Refusal::of(Syscall::Munmap, run))?;
            update.made_to(run.last().saturating_add(1));
        }
        Ok(())
    }

    fn flag<F: Clone + PartialEq>(
        &mut self,
        span: Span,
        set: MapFlags,
        clear: MapFlags,
        pieces: Pieces<'_, F>,
    ) -> Result<(), ExecError> {
        memory::change_flags(&mut self.ground, span, set, clear).map_err(|refusal| {
            // Some of it may be done. What was there before is what it goes back to.
            let touched = set.union(clear);
            for piece in pieces {
                let (old, new) = (piece.flags & touched, touched.difference(piece.flags));
                let _ = memory::change_flags(&mut self.ground, piece.span, old, new);
            }
            refusal.into()
        })
    }

    fn relocate<F: Clone + PartialEq>(
        &mut self,
        update: &Update<'_, F>,
        journey: Move,
        pieces: Pieces<'_, F>,
        replaced: Pieces<'_, F>,
    ) -> Result<(), ExecError> {
        let Move { from, to, keep_source } = journey;
        let locked = |piece: &Region<'_, F>| piece.flags.contains(MapFlags::LOCKED);
        if keep_source && pieces.iter().any(|piece| locked(&piece)) {
            // The kernel would unlock it, and the books not know.
            return Err(ExecError::Flags { flags: MapFlags::LOCKED });
        }
        let page = super::reservation::system_page().bytes();
        let large = view::sized_regions(from).map_err(Refusal::of(Syscall::Maps, from))?;
        if let Some(large) = large.iter().find(|region| region.page_size > page) {
            let (addr, len) = (from.start(), length(from));
            return Err(ExecError::LargePages { addr, len, size: large.page_size });
        }
        let claims = self.claim_gaps(to, replaced)?;
        // What is shared is at its old place as well as before when it stays there.
        let shared = pieces.iter().all(|piece| piece.is_shared());
        let made = if keep_source && shared {
            self.duplicate(update, from, to, pieces)
        } else {
            relocate::travel(&mut self.ground, update, journey, page, Old::Freed)
        };
        made.map_err(|Stop { refusal, upto, .. }| {
            // Below where something has arrived there is no claim left.
            let arrived = to.start().saturating_add(upto.saturating_sub(from.start()));
            let left = claims
                .iter()
                .filter_map(|claim| Span::new(claim.start().max(arrived), claim.last()))
                .collect::<Vec<_>>();
            if let Rest::Closed(span) | Rest::Left(span) = refusal.rest {
                // What cannot be given back stays.
                let _ = self.ground.unmap(span);
            }
            self.give_back(&left);
            let mut lost = lost(to, replaced);
            if let Rest::Emptied(last) | Rest::Closed(last) = refusal.rest
                && last.start() < arrived
            {
                lost.push(last);
            }
            refusal.with_lost(lost)
        })
    }

    /// Maps a second time what is shared at `from`, piece by piece.
    fn duplicate<F: Clone + PartialEq>(
        &mut self,
        update: &Update<'_, F>,
        from: Span,
        to: Span,
        pieces: Pieces<'_, F>,
    ) -> Result<(), Stop> {
        let mut upto = from.start();
        for piece in pieces.iter().map(|piece| piece.span) {
            let skipped = piece.start().saturating_sub(from.start());
            let start = to.start().saturating_add(skipped);
            // The last one may be longer at the new place.
            let last = if piece.last() == from.last() {
                to.last()
            } else {
                start.saturating_add(length(piece)).saturating_sub(1)
            };
            let there = Span::new(start, last).unwrap_or(to);
            relocate::duplicate(&mut self.ground, piece, there).map_err(|refusal| Stop {
                refusal,
                upto,
                left: None,
            })?;
            upto = piece.last().saturating_add(1);
            update.made_to(upto);
        }
        Ok(())
    }

    /// Takes all of `span` that the pieces do not have.
    fn claim_gaps<F: Clone + PartialEq>(
        &mut self,
        span: Span,
        pieces: Pieces<'_, F>,
    ) -> Result<Vec<Span>, ExecError> {
        let mut claims = Vec::new();
        let mut next = Some(span.start());
        let ends = pieces.iter().map(|piece| (piece.start(), piece.end()));
        for (start, end) in ends.chain([(span.last().saturating_add(1), None)]) {
            let gap = next.zip(start.checked_sub(1)).and_then(|(from, last)| Span::new(from, last));
            next = end;
            let Some(gap) = gap else { continue };
            if let Err(errno) = self.ground.claim(gap) {
                self.give_back(&claims);
                return Err(match errno {
                    Errno::EXIST => ExecError::Taken { span, taken: view::first(gap) },
                    errno => Refusal::of(Syscall::Mmap, gap)(errno).into(),
                });
            }
            claims.push(gap);
        }
        Ok(claims)
    }

    /// Gives back what is still there of the claims: a refused call may have lost a
    /// part of it, and somebody else may have that by now.
    fn give_back(&mut self, claims: &[Span]) {
        for claim in claims {
            let here = view::regions(*claim).unwrap_or_default();
            for region in here.iter().filter(|region| region.is_reserved()) {
                // What cannot be given back stays, without access.
                let _ = self.ground.unmap(region.span);
            }
        }
    }
}

/// How far from its start on `span` is as `changed` wants it.
fn prefix(span: Span, changed: impl Fn(&view::KernelRegion) -> bool) -> u64 {
    let mut upto = span.start();
    for region in view::regions(span).unwrap_or_default() {
        if region.span.start() != upto || !changed(&region) {
            break;
        }
        upto = region.span.last().saturating_add(1);
    }
    upto
}

/// Those pieces that the kernel no longer has.
fn lost<F: Clone + PartialEq>(span: Span, pieces: Pieces<'_, F>) -> Vec<Span> {
    // If it cannot be looked at, they are believed to be there.
    let Ok(kernel) = view::regions(span) else { return Vec::new() };
    let there = |piece: &Span| kernel.iter().any(|region| region.span.contains(piece.start()));
    pieces.iter().map(|piece| piece.span).filter(|piece| !there(piece)).collect()
}
