//! Growing, shrinking and moving what is mapped.

use super::change::close;
use super::error::ExecError;
use super::executor::{Executor, pointer};
use super::mend::{About, note_unlocked};
use super::relocate::{self, Move, Old, Stop};
use super::reservation::Reservation;
use crate::{Backing, MapFlags, Region, Remap, Span, Update};

impl Executor {
    /// Resizes or moves the mapping of the `old_len` bytes at `addr`; see
    /// [`AddrSpace::remap`](crate::AddrSpace::remap).
    ///
    /// The last page of a private file mapping that grows is not what it was for an
    /// instant: other threads of the guest must not touch it meanwhile. What moves
    /// leaves its old place readable until all has moved.
    ///
    /// # Errors
    ///
    /// If nothing has changed:
    ///
    /// - [`ExecError::Refused`] as of [`AddrSpace::remap`](crate::AddrSpace::remap);
    /// - [`ExecError::PastObject`] for shared anonymous memory past its end;
    /// - [`ExecError::Backing`] if device memory is to grow, move or be duplicated, and
    ///   [`ExecError::LargePages`] if a file with large pages is in the old range.
    ///
    /// [`ExecError::Kernel`] if the kernel refuses, or [`ExecError::Taken`] if a part
    /// of the new place was lost before and somebody else has it: of what was to move,
    /// some may have, and the books say what. What was to be replaced is there where
    /// nothing has moved to, but for what the error says is lost.
    /// Going on is as of [`AddrSpace::remap`](crate::AddrSpace::remap).
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Placement, Prot, Remap, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let rw = Prot::READ | Prot::WRITE;
    /// let page = guest.map_any(0x1000, Memory::anonymous(rw), Placement::lowest())?;
    /// // SAFETY: the page was mapped just now and nobody else knows of it.
    /// unsafe { page.write(7) };
    ///
    /// let moving = Remap::to(page.addr() as u64 + 0x8000);
    /// let moved = guest.remap(page.addr() as u64, 0x1000, 0x2000, moving)?;
    /// // SAFETY: so were these two pages.
    /// assert_eq!(unsafe { (moved.read(), moved.add(0x1000).read()) }, (7, 0));
    /// assert_eq!(guest.space().usage().mapped, 0x2000);
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub fn remap(
        &mut self,
        addr: u64,
        old_len: u64,
        new_len: u64,
        how: Remap,
    ) -> Result<*mut u8, ExecError> {
        self.check_remap(addr, old_len, new_len, how)?;
        let page = self.space.page_size().bytes();
        let Self { space, reservation: Reservation { ground }, listeners, .. } = self;
        let made = space.remap(addr, old_len, new_len, how, |update| {
            let locked = |region: &Region<'_>| region.flags.contains(MapFlags::LOCKED);
            match update {
                Update::Unmap { .. } => return close(update, ground, listeners),
                Update::Map { region, .. } => {
                    relocate::extend(ground, &region, page).map_err(|refusal| {
                        // The page before it, too, has been away.
                        let about = About::memory(before(region.span, page));
                        refusal.with(About { flags: locked(&region), ..about })
                    })
                }
                Update::Move { from, to, .. } if old_len == 0 => {
                    relocate::duplicate(ground, from, to).map_err(|refusal| {
                        refusal.with(About { spans: [Some(from), Some(to)], ..About::memory(to) })
                    })
                }
                Update::Move { from, to, keep_source, pieces, .. } => {
                    let journey = Move { from, to, keep_source };
                    relocate::travel(ground, &update, journey, page, Old::Reserved).map_err(
                        |Stop { refusal, upto, left }| {
                            // What has arrived is recorded, so it has to be heard of.
                            if let Some(part) = update.moved_below(upto) {
                                listeners.tell(part);
                            }
                            let flags = pieces.iter().any(|piece| locked(&piece));
                            let spans = [Some(from), Some(to)];
                            refusal.with(About { spans, wanted: None, left, flags })
                        },
                    )
                }
                _ => Ok(()),
            }?;
            listeners.tell(update);
            Ok(())
        });
        let made = made.inspect(|place| {
            if *place != addr && old_len != 0 {
                note_unlocked(space, listeners, addr, old_len);
            }
        });
        self.settle(made).map(pointer)
    }

    /// Refuses to let grow or move what cannot.
    fn check_remap(
        &self,
        addr: u64,
        old_len: u64,
        new_len: u64,
        how: Remap,
    ) -> Result<(), ExecError> {
        let page = self.space.page_size();
        for piece in self.space.regions_in(addr, old_len.max(1)) {
            let file = match piece.backing {
                // The kernel moves such memory only if its old place is left a hole.
                Backing::Physical { .. } if how.leaves() => {
                    return Err(ExecError::Backing { span: piece.span });
                }
                Backing::File { file, .. } => file,
                _ => continue,
            };
            let size = self.files.granule(*file);
            if size > 1 {
                return Err(ExecError::LargePages { addr, len: old_len, size });
            }
        }
        let (Some(region), Some(new)) = (self.space.query(addr), page.round_up(new_len)) else {
            // The books refuse it.
            return Ok(());
        };
        if page.round_up(old_len).is_some_and(|old| old != 0 && new <= old) {
            return Ok(());
        }
        match region.backing {
            Backing::Physical { .. } | Backing::Tag { .. } => {
                Err(ExecError::Backing { span: region.span })
            }
            Backing::File { file, offset } => {
                let Some(object) = self.files.object(*file) else { return Ok(()) };
                let at = offset.saturating_add(addr.saturating_sub(region.start()));
                let end = object.saturating_sub(at);
                if new > end {
                    return Err(ExecError::PastObject { addr, new_len, end });
                }
                Ok(())
            }
            Backing::Anonymous => Ok(()),
        }
    }
}

/// `span` with the page before it.
fn before(span: Span, page: u64) -> Span {
    Span::new(span.start().saturating_sub(page), span.last()).unwrap_or(span)
}
