//! After a refusal: what the kernel has in the range is what the books will say.
//!
//! A refused call may have done part of its work (`mprotect` over two of the
//! kernel's regions), or have lost what was there (`MAP_FIXED` with a driver that
//! then refuses). Nothing is concluded from the kind of call or of error: the kernel
//! is asked.

use super::compare::{SHOWN, Verdict, segments};
use super::error::Refusal;
use super::executor::Executor;
use super::view::{self, KernelRegion};
use crate::{Backing, Limits, MapFlags, Mapping, Prot, Span};

/// A refused call, and what it leaves in doubt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    pub(super) refusal: Refusal,
    pub(super) about: About,
}

/// What has to be looked at.
#[derive(Clone, Copy, Debug)]
pub(super) enum About {
    /// What is mapped in one range, or two.
    Memory(Span, Option<Span>),
    /// How far a range has got this protection.
    Protection(Span, Prot),
    /// How far the flags of a range have changed.
    Flags(Span),
}

impl Executor {
    /// Sets the books to what the kernel has, and tells what is gone.
    pub(super) fn mend(&mut self, about: About) -> Vec<Span> {
        // A correction is not a request: no limit stands in its way.
        let limits = self.space.limits();
        self.space.set_limits(Limits::default());
        let mut lost = Vec::new();
        match about {
            About::Memory(first, second) => {
                for span in [Some(first), second].into_iter().flatten() {
                    self.mend_memory(span, None, &mut lost);
                }
            }
            About::Protection(span, prot) => self.mend_memory(span, Some(prot), &mut lost),
            About::Flags(span) => self.mend_flags(span, &mut lost),
        }
        self.space.set_limits(limits);
        lost
    }

    fn mend_memory(&mut self, span: Span, wanted: Option<Prot>, lost: &mut Vec<Span>) {
        let Ok(kernel) = view::regions(span) else { return self.give_up(span, lost) };
        let found: Vec<_> = segments(&self.space, span, &kernel)
            .map(|segment| (segment, segment.verdict(&mut self.files)))
            .filter(|(_, verdict)| *verdict != Verdict::Same)
            .collect();
        for (segment, verdict) in found {
            match (verdict, segment.kernel) {
                (Verdict::Protection, Some(kernel)) => {
                    let prot = wanted.filter(|prot| *prot & SHOWN == kernel.prot);
                    self.note_protection(segment.span, prot.unwrap_or(kernel.prot));
                }
                (_, kernel) => self.replace(segment.span, kernel, lost),
            }
        }
    }

    /// Reserves `span` again, where the kernel has something else than the books.
    fn replace(&mut self, span: Span, kernel: Option<KernelRegion>, lost: &mut Vec<Span>) {
        let ground = &mut self.reservation.ground;
        match kernel {
            None => ground.fill(span),
            Some(kernel) if kernel.is_reserved() => {}
            Some(kernel) => {
                if ground.close(span).is_err() {
                    // What was seen before may be what this call has lost.
                    let left = view::regions(span).unwrap_or_else(|_| vec![kernel]);
                    return self.accept(span, &left, lost);
                }
            }
        }
        self.note_loss(span, lost);
    }

    /// Takes into the books what of `span` is left and cannot be removed.
    fn accept(&mut self, span: Span, left: &[KernelRegion], lost: &mut Vec<Span>) {
        let found: Vec<_> = segments(&self.space, span, left).collect();
        for segment in found {
            match segment.kernel {
                Some(kernel) if !kernel.is_reserved() => {
                    self.adopt(KernelRegion { span: segment.span, ..kernel }, lost);
                    continue;
                }
                Some(_) => {}
                None => self.reservation.ground.fill(segment.span),
            }
            self.note_loss(segment.span, lost);
        }
    }

    /// Takes what the kernel has into the books, because it cannot be removed.
    fn adopt(&mut self, kernel: KernelRegion, lost: &mut Vec<Span>) {
        self.note_loss(kernel.span, lost);
        let backing = if kernel.file.is_anonymous() {
            Backing::Anonymous
        } else {
            let file = self.files.found(kernel.file, &self.space);
            Backing::File { file, offset: kernel.offset }
        };
        let flags = if kernel.shared { MapFlags::SHARED } else { MapFlags::empty() };
        let mapping = Mapping { prot: kernel.prot, flags, backing };
        let (start, len) = (kernel.span.start(), length(kernel.span));
        let Self { space, listeners, .. } = self;
        // Without memory for it the books say less than there is: the span counts
        // as reserved, which is what the next mapping there will make of it.
        let _ = space.map_at(start, len, mapping, |update| listeners.tell(update));
    }

    /// Replaces `span`, which cannot be looked at, by reserved memory.
    fn give_up(&mut self, span: Span, lost: &mut Vec<Span>) {
        // If not even that is possible, nothing is known and nothing changes.
        if self.reservation.ground.close(span).is_ok() {
            self.note_loss(span, lost);
        }
    }

    /// Takes out of the books what of `span` was mapped.
    fn note_loss(&mut self, span: Span, lost: &mut Vec<Span>) {
        for piece in self.space.regions_in(span.start(), length(span)) {
            match lost.last_mut() {
                Some(run) if run.end() == Some(piece.start()) => {
                    *run = Span::new(run.start(), piece.last()).unwrap_or(*run);
                }
                _ => lost.push(piece.span),
            }
        }
        let Self { space, listeners, .. } = self;
        // It fails only if a region is cut in two and there is no memory for that.
        let _ = space.unmap(span.start(), length(span), |update| listeners.tell(update));
    }

    /// Says of `span` that it is mapped anew, as it was.
    pub(super) fn note_emptied(&mut self, span: Span, lost: &mut Vec<Span>) {
        let pieces = self.space.regions_in(span.start(), length(span));
        let pieces: Vec<_> = pieces.map(|piece| (piece.span, piece.mapping())).collect();
        let Self { space, listeners, .. } = self;
        for (span, mapping) in pieces {
            lost.push(span);
            // As above.
            let _ = space.map_at(span.start(), length(span), mapping, |update| {
                listeners.tell(update);
            });
        }
    }

    fn note_protection(&mut self, span: Span, prot: Prot) {
        let Self { space, listeners, .. } = self;
        // As above.
        let _ = space.protect(span.start(), length(span), prot, |update| listeners.tell(update));
    }

    fn mend_flags(&mut self, span: Span, lost: &mut Vec<Span>) {
        const TOLD: MapFlags = MapFlags::LOCKED
            .union(MapFlags::DONT_FORK)
            .union(MapFlags::DONT_DUMP)
            .union(MapFlags::WIPE_ON_FORK);
        let Ok(kernel) = view::flags(span) else { return self.give_up(span, lost) };
        let mut wrong = Vec::new();
        for found in kernel {
            let pieces = self.space.regions_in(found.span.start(), length(found.span));
            wrong.extend(pieces.filter_map(|piece| {
                let booked = piece.flags & TOLD;
                (booked != found.flags).then_some((piece.span, found.flags, booked))
            }));
        }
        let Self { space, listeners, .. } = self;
        for (span, found, booked) in wrong {
            let (set, clear) = (found.difference(booked), booked.difference(found));
            // As above.
            let _ = space.set_flags(span.start(), length(span), set, clear, |update| {
                listeners.tell(update);
            });
        }
    }
}

/// The length of a span of a reservation, which is never all of 2^64.
pub(super) fn length(span: Span) -> u64 {
    span.len().unwrap_or(u64::MAX)
}
