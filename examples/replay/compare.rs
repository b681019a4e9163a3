//! The comparison: two lists side by side, walked once.
//!
//! What is compared is the page, but pages are not looped over: both lists say
//! what whole runs of pages show, and where a run of one overlaps a run of the
//! other, all pages of the overlap agree or none does.

use core::fmt;

use super::trace::{Area, Object};

/// A half-open stretch of addresses, in bytes. Empty ones are harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stretch {
    /// The first byte.
    pub(crate) start: u64,
    /// The byte after the last.
    pub(crate) end: u64,
}

/// What one page shows, in a form that is the same for all pages of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// Read 1, write 2, execute 4.
    pub(crate) prot: u32,
    /// Whether writes are seen by others.
    pub(crate) shared: bool,
    /// What it shows.
    pub(crate) object: Object,
    /// Where the object's byte 0 would lie, wrapping; 0 where offsets do not
    /// count. Equal anchors mean equal offsets at equal addresses.
    pub(crate) anchor: u64,
}

impl Page {
    /// What the pages show when `offset` bytes into `object` stand at `addr`.
    pub(crate) fn new(prot: u32, shared: bool, object: Object, addr: u64, offset: u64) -> Self {
        let anchor = match object {
            Object::File(_) => addr.wrapping_sub(offset),
            Object::Anonymous | Object::Special(_) => 0,
        };
        Self { prot, shared, object, anchor }
    }

    /// What the pages show after they were moved up by `distance`, wrapping.
    pub(crate) fn moved_by(self, distance: u64) -> Self {
        match self.object {
            Object::File(_) => Self { anchor: self.anchor.wrapping_add(distance), ..self },
            Object::Anonymous | Object::Special(_) => self,
        }
    }

    /// What the pages of a kernel area show.
    pub(crate) fn of(area: &Area) -> Self {
        Self::new(area.prot, area.shared, area.object, area.start, area.offset)
    }

    /// The offset of the page at `addr`, in bytes.
    pub(crate) fn offset_at(&self, addr: u64) -> u64 {
        match self.object {
            Object::File(_) => addr.wrapping_sub(self.anchor),
            Object::Anonymous | Object::Special(_) => 0,
        }
    }
}

/// A run of pages that show the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The first byte.
    pub(crate) start: u64,
    /// The byte after the last.
    pub(crate) end: u64,
    /// What its pages show.
    pub(crate) page: Page,
}

/// A run of pages about which the two sides disagree, each in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Where.
    pub(crate) at: Stretch,
    /// What the books say; `None` is unmapped.
    pub(crate) books: Option<Page>,
    /// What the kernel says.
    pub(crate) kernel: Option<Page>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stretch { start, end } = self.at;
        write!(
            f,
            "{start:x}-{end:x}: books {}, kernel {}",
            Side(self.books, start),
            Side(self.kernel, start)
        )
    }
}

/// One side of a difference, at its first address.
struct Side(Option<Page>, u64);

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(page) = self.0 else { return f.write_str("unmapped") };
        for (bit, letter) in [(1, 'r'), (2, 'w'), (4, 'x')] {
            write!(f, "{}", if page.prot & bit == 0 { '-' } else { letter })?;
        }
        write!(f, "{} ", if page.shared { 's' } else { 'p' })?;
        match page.object {
            Object::Anonymous => f.write_str("anonymous"),
            Object::Special(id) => write!(f, "special object {id}"),
            Object::File(id) => write!(f, "object {id} at offset {:x}", page.offset_at(self.1)),
        }
    }
}

/// Compares two ascending lists of runs within one stretch, and hands each
/// difference to `found`.
///
/// Runs must not overlap within one list and must be clipped to `within`.
pub(crate) fn differences(
    within: Stretch,
    books: impl Iterator<Item = Run>,
    kernel: impl Iterator<Item = Run>,
    mut found: impl FnMut(Difference),
) {
    let (mut books, mut kernel) = (Cursor::new(books), Cursor::new(kernel));
    let mut last: Option<Difference> = None;
    let mut at = within.start;
    while at < within.end {
        let (left, left_until) = books.look(at);
        let (right, right_until) = kernel.look(at);
        let until = left_until.min(right_until).min(within.end);
        if left != right {
            match &mut last {
                // The same disagreement goes on where a list only has a seam.
                Some(last) if last.at.end == at && last.books == left && last.kernel == right => {
                    last.at.end = until;
                }
                _ => {
                    let next = Difference {
                        at: Stretch { start: at, end: until },
                        books: left,
                        kernel: right,
                    };
                    if let Some(done) = last.replace(next) {
                        found(done);
                    }
                }
            }
        }
        at = until;
    }
    if let Some(done) = last {
        found(done);
    }
}

/// A list of runs, asked from left to right.
struct Cursor<I> {
    runs: I,
    run: Option<Run>,
}

impl<I: Iterator<Item = Run>> Cursor<I> {
    fn new(mut runs: I) -> Self {
        let run = runs.next();
        Self { runs, run }
    }

    /// What is at `at`, and up to where nothing else is. `at` never goes back.
    fn look(&mut self, at: u64) -> (Option<Page>, u64) {
        while self.run.is_some_and(|run| run.end <= at) {
            self.run = self.runs.next();
        }
        match self.run {
            Some(run) if run.start <= at => (Some(run.page), run.end),
            Some(run) => (None, run.start),
            None => (None, u64::MAX),
        }
    }
}

/// Sorts stretches and joins those that overlap or touch.
pub(crate) fn join(stretches: &mut Vec<Stretch>) {
    stretches.retain(|stretch| stretch.start < stretch.end);
    stretches.sort_unstable();
    stretches.dedup_by(|next, kept| {
        let joins = next.start <= kept.end;
        if joins {
            kept.end = kept.end.max(next.end);
        }
        joins
    });
}
