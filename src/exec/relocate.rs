//! What grows or moves inside a reservation.
//!
//! A plain `mremap` is never right there. In place it would grow into the reserved
//! pages behind, which are a mapping of our own; with a place of its own choice it
//! would leave the reservation; and where it takes pages away it leaves a hole, into
//! which anybody's `mmap` could land. So what moves leaves its old place mapped
//! (`MREMAP_DONTUNMAP`), and what comes in comes from a scratch address.

use super::error::{Refusal, Syscall};
use super::memory::{self, Options, Way};
use super::sys::{Errno, Ground, Leave};
use super::view;
use crate::{Backing, Region, Span, Update};

/// Maps `region`, which continues the mapping that ends right before it.
pub(super) fn extend<F>(
    ground: &mut Ground,
    region: &Region<'_, F>,
    page: u64,
) -> Result<(), Refusal> {
    if matches!(region.backing, Backing::Anonymous) {
        return memory::put(ground, region, None, Options::default(), Way::Direct);
    }
    let span = region.span;
    let refused = Refusal::of(Syscall::Mremap, span);
    let last = span.start().checked_sub(page).and_then(|start| Span::of(start, page));
    let last = last.ok_or_else(|| refused(Errno::FAULT))?;
    let sizes = usize::try_from(page)
        .ok()
        .and_then(|page| Some((page, usize::try_from(span.len()?).ok()?.checked_add(page)?)));
    let (page, len) = sizes.ok_or_else(|| refused(Errno::NOMEM))?;
    if region.is_shared() {
        // A second mapping of the same bytes, of which the first page is too many.
        let mut scratch = ground.duplicate(last, len).map_err(refused)?;
        return scratch.move_to(ground, page, span).map_err(refused);
    }
    // Only a private mapping itself can grow. Its last page goes out, grows, and
    // comes back with what follows it.
    let both = last.end().and_then(|_| Span::new(last.start(), span.last()));
    let both = both.ok_or_else(|| refused(Errno::FAULT))?;
    let mut scratch = ground.take_out(last).map_err(refused)?;
    let grown = scratch.grow(span, len);
    let back = grown.and_then(|()| scratch.move_to(ground, 0, both));
    back.map_err(|errno| {
        let mut refusal = refused(errno);
        if scratch.shrink(page).and_then(|()| scratch.move_to(ground, 0, last)).is_err() {
            // What the page had is gone. What is there now, the file's own bytes,
            // must not pass for it.
            refusal.emptied = ground.close(last).is_err().then_some(last);
        }
        refusal
    })
}

/// A move as the books report it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    pub(super) from: Span,
    pub(super) to: Span,
    pub(super) keep_source: bool,
}

/// What becomes of addresses that something has moved away from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Old {
    /// They are reserved again.
    Reserved,
    /// Anybody can get them.
    Freed,
}

/// Where a move was refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    pub(super) refusal: Refusal,
    /// The old address below which all has moved, and is acknowledged.
    pub(super) upto: u64,
}

/// Moves the pages of `from` to `to`, one of the kernel's regions after the other,
/// and acknowledges each.
pub(super) fn travel<F: Clone + PartialEq>(
    ground: &mut Ground,
    update: &Update<'_, F>,
    journey: Move,
    page: u64,
    old: Old,
) -> Result<(), Stop> {
    let Move { from, to, keep_source } = journey;
    let mut upto = from.start();
    let mut all = || {
        let refused = Refusal::of(Syscall::Mremap, to);
        // The kernel's regions are not the books': it cuts where pages were touched.
        let regions = view::regions(from).map_err(Refusal::of(Syscall::Maps, from))?;
        let stays = keep_source || old == Old::Reserved;
        let leave = if stays { Leave::Mapped } else { Leave::Nothing };
        for region in regions {
            let skipped = region.span.start().saturating_sub(from.start());
            let there = to.start().checked_add(skipped).zip(region.span.len());
            let there = there.and_then(|(start, len)| Span::of(start, len));
            let there = there.ok_or_else(|| refused(Errno::FAULT))?;
            ground.travel(region.span, there, leave).map_err(refused)?;
            upto = region.span.last().saturating_add(1);
            update.made_to(upto);
        }
        if !keep_source && old == Old::Reserved {
            ground.close(from).map_err(Refusal::of(Syscall::Mmap, from))?;
        }
        lengthen(ground, update, journey, page)
    };
    all().map_err(|refusal| Stop { refusal, upto })
}

/// Maps what `to` has more than `from`.
fn lengthen<F: Clone + PartialEq>(
    ground: &mut Ground,
    update: &Update<'_, F>,
    Move { from, to, .. }: Move,
    page: u64,
) -> Result<(), Refusal> {
    let moved = from.len().and_then(|len| Span::of(to.start(), len));
    let Some(extension) = moved.and_then(|moved| Span::new(moved.end()?, to.last())) else {
        return Ok(());
    };
    // Only one mapping grows, so the last piece is what continues.
    let Some(piece) = update.pieces().iter().next_back() else { return Ok(()) };
    let mut region = piece;
    region.span = extension;
    if let Backing::File { offset, .. } | Backing::Physical { addr: offset } = &mut region.backing {
        *offset = offset.wrapping_add(piece.len().unwrap_or(0));
    }
    extend(ground, &region, page)
}

/// Maps what is shared at `from` a second time, over `to`.
pub(super) fn duplicate(ground: &mut Ground, from: Span, to: Span) -> Result<(), Refusal> {
    let refused = Refusal::of(Syscall::Mremap, to);
    let len = to.len().and_then(|len| usize::try_from(len).ok());
    let len = len.ok_or_else(|| refused(Errno::NOMEM))?;
    let mut scratch = ground.duplicate(from, len).map_err(refused)?;
    scratch.move_to(ground, 0, to).map_err(refused)
}
