//! What grows or moves inside a reservation.
//!
//! A plain `mremap` is never right there. In place it would grow into the reserved
//! pages behind, which are a mapping of our own; with a place of its own choice it
//! would leave the reservation; and where it takes pages away it leaves a hole, into
//! which anybody's `mmap` could land. So what moves leaves its old place mapped
//! (`MREMAP_DONTUNMAP`), and what comes in comes from a scratch address.

use super::error::{Refusal, Rest, Syscall};
use super::memory::{self, Options, Way};
use super::sys::{Errno, Ground, Leave, Scratch};
use super::view;
use crate::{Backing, MapFlags, Region, Span, Update};

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
    let both = span.start().checked_sub(page).and_then(|start| Span::new(start, span.last()));
    let last = both.and_then(|both| Span::of(both.start(), page));
    let (both, last) = both.zip(last).ok_or_else(|| refused(Errno::FAULT))?;
    let size = |span: Span| span.len().and_then(|len| usize::try_from(len).ok());
    let (page, len) = size(last).zip(size(both)).ok_or_else(|| refused(Errno::NOMEM))?;
    if region.is_shared() {
        // A second mapping of the same bytes, of which the first page is too many.
        let mut scratch = ground.duplicate(last, len).map_err(refused)?;
        return scratch.move_to(ground, page, span).map_err(refused);
    }
    // Only a private mapping itself can grow. Its last page goes out, grows, and
    // comes back with what follows it.
    let locked = region.flags.contains(MapFlags::LOCKED);
    if locked {
        ground.unlock(last).map_err(Refusal::of(Syscall::Munlock, last))?;
    }
    let mut grow = || {
        let scratch = Scratch::blank(last).map_err(Refusal::of(Syscall::Mmap, last))?;
        let mut scratch = ground.take_out(last, scratch).map_err(refused)?;
        let grown = scratch.grow(span, len);
        let back = grown.and_then(|()| scratch.move_to(ground, 0, both));
        back.map_err(|errno| {
            let mut refusal = refused(errno);
            if scratch.shrink(last, page).and_then(|()| scratch.move_to(ground, 0, last)).is_err() {
                // What the page had is gone. What is there now, the file's own bytes,
                // must not pass for it.
                let closed = ground.close(last).is_ok();
                refusal.rest = if closed { Rest::Closed(last) } else { Rest::Emptied(last) };
            }
            refusal
        })
    };
    match grow() {
        Ok(()) if locked => ground.lock_on_fault(both).map_err(|errno| {
            // It grows with its lock or not at all.
            let mut refusal = Refusal::of(Syscall::Mlock, both)(errno);
            let closed = ground.close(span).is_ok();
            refusal.rest = if closed { Rest::Closed(span) } else { Rest::Left(span) };
            // If it fails, the books will not have the flag.
            let _ = ground.lock_on_fault(last);
            refusal
        }),
        Err(refusal) if locked && !matches!(refusal.rest, Rest::Closed(_)) => {
            // If it fails, the books will not have the flag.
            let _ = ground.lock_on_fault(last);
            Err(refusal)
        }
        answer => answer,
    }
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
    /// What of the old place could not be closed.
    pub(super) left: Option<Span>,
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
    let made = move_regions(ground, update, journey, page, old, &mut upto);
    // Where it was unlocked to be moved, it is locked again, wherever it is now. If
    // that fails after a refusal, the books will not have the flag.
    let locked = relock(ground, update, journey, upto);
    let made = made.and(locked);

    // What has left is closed, all of it or as far as it came.
    let gone = upto.checked_sub(1).and_then(|last| Span::new(from.start(), last));
    let gone = gone.filter(|_| !keep_source && old == Old::Reserved);
    let closed =
        gone.map_or(Ok(()), |gone| ground.close(gone).map_err(Refusal::of(Syscall::Mmap, gone)));
    let left = gone.filter(|_| closed.is_err());
    let made = made.and(closed).and_then(|()| {
        let Some(extension) = extension(from, to) else { return Ok(()) };
        // Only one mapping grows, so the last piece is what continues.
        let Some(piece) = update.pieces().iter().next_back() else { return Ok(()) };
        extend(ground, &Region { span: extension, ..piece }, page)
    });
    made.map_err(|refusal| Stop { refusal, upto, left })
}

fn move_regions<F: Clone + PartialEq>(
    ground: &mut Ground,
    update: &Update<'_, F>,
    Move { from, to, keep_source }: Move,
    page: u64,
    old: Old,
    upto: &mut u64,
) -> Result<(), Refusal> {
    let refused = Refusal::of(Syscall::Mremap, to);
    // The kernel's regions are not the books': it cuts where pages were touched.
    let mut regions = view::sized_regions(from).map_err(Refusal::of(Syscall::Maps, from))?;
    // The kernel rounds a part of a large page up, at both places.
    if regions.iter().any(|region| region.page_size > page) {
        return Err(refused(Errno::INVAL));
    }
    // `mremap` would take the lock away from the whole region that a part leaves,
    // and go on counting it.
    for piece in locked_pieces(update) {
        ground.unlock(piece).map_err(Refusal::of(Syscall::Munlock, piece))?;
    }
    if locked_pieces(update).next().is_some() {
        // That has cut regions in two.
        regions = view::regions(from).map_err(Refusal::of(Syscall::Maps, from))?;
    }
    let stays = keep_source || old == Old::Reserved;
    let leave = if stays { Leave::Mapped } else { Leave::Nothing };
    for region in regions {
        let there = target(region.span, from, to).ok_or_else(|| refused(Errno::FAULT))?;
        ground.travel(region.span, there, leave).map_err(refused)?;
        *upto = region.span.last().saturating_add(1);
        update.made_to(*upto);
    }
    Ok(())
}

/// Where a part of `from` comes to lie in `to`.
fn target(part: Span, from: Span, to: Span) -> Option<Span> {
    let skipped = part.start().checked_sub(from.start())?;
    Span::of(to.start().checked_add(skipped)?, part.len()?)
}

fn locked_pieces<F: Clone + PartialEq>(update: &Update<'_, F>) -> impl Iterator<Item = Span> {
    let locked = |piece: &Region<'_, F>| piece.flags.contains(MapFlags::LOCKED);
    update.pieces().iter().filter(locked).map(|piece| piece.span)
}

fn relock<F: Clone + PartialEq>(
    ground: &mut Ground,
    update: &Update<'_, F>,
    Move { from, to, .. }: Move,
    upto: u64,
) -> Result<(), Refusal> {
    let mut made = Ok(());
    for piece in locked_pieces(update) {
        let moved = upto.checked_sub(1).and_then(|u| Span::new(piece.start(), piece.last().min(u)));
        let stayed = Span::new(piece.start().max(upto), piece.last());
        let moved = moved.and_then(|moved| target(moved, from, to));
        for part in [moved, stayed].into_iter().flatten() {
            let locked = ground.lock_on_fault(part);
            made = made.and(locked.map_err(Refusal::of(Syscall::Mlock, part)));
        }
    }
    made
}

/// What `to` has more than `from`.
fn extension(from: Span, to: Span) -> Option<Span> {
    let moved = from.len().and_then(|len| Span::of(to.start(), len))?;
    Span::new(moved.end()?, to.last())
}

/// Maps what is shared at `from` a second time, over `to`.
pub(super) fn duplicate(ground: &mut Ground, from: Span, to: Span) -> Result<(), Refusal> {
    let refused = Refusal::of(Syscall::Mremap, to);
    let len = to.len().and_then(|len| usize::try_from(len).ok());
    let len = len.ok_or_else(|| refused(Errno::NOMEM))?;
    let mut scratch = ground.duplicate(from, len).map_err(refused)?;
    scratch.move_to(ground, 0, to).map_err(refused)
}
