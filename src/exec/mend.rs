//! After a refusal: what the kernel has in the range is what the books will say.
//!
//! A refused call may have done part of its work (`mprotect` over two of the
//! kernel's regions), or have lost what was there (`MAP_FIXED` with a driver that
//! then refuses). Nothing is concluded from the kind of call or of error: the kernel
//! is asked.

use super::compare::{SHOWN, Segment, Verdict, segments};
use super::error::{Refusal, Rest};
use super::executor::Executor;
use super::listeners::Listeners;
use super::view::{self, KernelRegion};
use crate::{AddrSpace, Backing, Limits, MapFlags, Mapping, Prot, Region, Span};

/// A refused call, and what it leaves in doubt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    pub(super) refusal: Refusal,
    pub(super) about: About,
}

impl Refusal {
    /// The refusal, with `span` in doubt.
    pub(super) fn doubt(self, span: Span) -> Box<Doubt> {
        self.with(About::memory(span))
    }

    pub(super) fn with(self, about: About) -> Box<Doubt> {
        Box::new(Doubt { refusal: self, about })
    }
}

/// What has to be looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    /// One range, or two.
    pub(super) spans: [Option<Span>; 2],
    /// The protection that a range may have got in part.
    pub(super) wanted: Option<Prot>,
    /// What is mapped by us and is not to be.
    pub(super) left: Option<Span>,
    /// Whether mappings may have other flags.
    pub(super) flags: bool,
}

impl About {
    pub(super) const fn memory(span: Span) -> Self {
        Self { spans: [Some(span), None], wanted: None, left: None, flags: false }
    }
}

impl Executor {
    /// Sets the books to what the kernel has, and tells what is gone.
    pub(super) fn mend(&mut self, Doubt { refusal, about }: Doubt) -> Vec<Span> {
        // A correction is not a request: no limit stands in its way.
        let limits = self.space.limits();
        self.space.set_limits(Limits::default());
        let left = if let Rest::Left(span) = refusal.rest { Some(span) } else { about.left };
        let about = About { left, ..about };
        let mut lost = Vec::new();
        for span in about.spans.into_iter().flatten() {
            self.mend_memory(span, &about, &mut lost);
            if about.flags {
                self.mend_flags(span, &mut lost);
            }
        }
        if let Rest::Emptied(span) = refusal.rest {
            self.note_emptied(span, &mut lost);
        }
        self.space.set_limits(limits);
        lost
    }

    fn mend_memory(&mut self, span: Span, about: &About, lost: &mut Vec<Span>) {
        let Ok(kernel) = view::regions(span) else { return self.blank(span, lost) };
        let found: Vec<_> = segments(&self.space, span, &kernel)
            .map(|segment| (segment, segment.verdict(&mut self.files)))
            .filter(|(_, verdict)| *verdict != Verdict::Same)
            .collect();
        for (Segment { span, kernel, .. }, verdict) in found {
            let ground = &mut self.reservation.ground;
            match kernel {
                Some(kernel) if verdict == Verdict::Protection => {
                    let prot = about.wanted.filter(|prot| *prot & SHOWN == kernel.prot);
                    self.note_protection(span, prot.unwrap_or(kernel.prot));
                    continue;
                }
                Some(kernel) if kernel.is_reserved() => {}
                Some(kernel) if about.left.is_some_and(|left| left.contains(span.start())) => {
                    if ground.close(span).is_err() {
                        self.accept(span, kernel, lost);
                        continue;
                    }
                }
                // Neither the books nor the call explain it: the kernel has lost what
                // was here, and somebody else was quicker.
                Some(_) => ground.give_up(span),
                None => ground.fill(span),
            }
            self.note_loss(span, lost);
        }
    }

    /// Takes `kernel` into the books, which was seen in `span` and cannot be removed,
    /// as far as it is still there.
    fn accept(&mut self, span: Span, kernel: KernelRegion, lost: &mut Vec<Span>) {
        let left = view::regions(span).unwrap_or_else(|_| vec![kernel]);
        let found: Vec<_> = segments(&self.space, span, &left).collect();
        for Segment { span, kernel: now, .. } in found {
            let same = |now: &KernelRegion| {
                (now.prot, now.shared, now.file) == (kernel.prot, kernel.shared, kernel.file)
            };
            match now {
                Some(now) if now.is_reserved() => {}
                Some(now) if same(&now) => {
                    self.adopt(KernelRegion { span, ..now }, lost);
                    continue;
                }
                Some(_) => self.reservation.ground.give_up(span),
                None => self.reservation.ground.fill(span),
            }
            self.note_loss(span, lost);
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
        self.mend_flags(kernel.span, lost);
    }

    /// Replaces `span`, which cannot be looked at, by reserved memory.
    fn blank(&mut self, span: Span, lost: &mut Vec<Span>) {
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
    fn note_emptied(&mut self, span: Span, lost: &mut Vec<Span>) {
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
        let Ok(kernel) = view::flags(span) else { return self.blank(span, lost) };
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

/// Notes that the kernel has unlocked what moved and stays mapped at its old place.
pub(super) fn note_unlocked(space: &mut AddrSpace, listeners: &mut Listeners, addr: u64, len: u64) {
    let locked = |region: &Region<'_>| region.flags.contains(MapFlags::LOCKED);
    let pieces = space.regions_in(addr, len).filter(locked);
    let spans: Vec<Span> = pieces.map(|piece| piece.span).collect();
    // A correction is not a request.
    let limits = space.limits();
    space.set_limits(Limits::default());
    for span in spans {
        let (none, locked) = (MapFlags::empty(), MapFlags::LOCKED);
        // It fails only without memory for a region that is cut in two.
        let _ = space.set_flags(span.start(), length(span), none, locked, |update| {
            listeners.tell(update);
        });
    }
    space.set_limits(limits);
}

/// The length of a span of a reservation, which is never all of 2^64.
pub(super) fn length(span: Span) -> u64 {
    span.len().unwrap_or(u64::MAX)
}
