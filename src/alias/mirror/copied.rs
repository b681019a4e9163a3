//! A snapshot that is copied at once, and is known to be of one instant.
//!
//! The kernel notes what is written ([`Writes`]). A look at that protects what it lists
//! anew, so each look tells what was written since the one before. What was written is
//! copied again. When a look over all sources lists nothing, none was written since the
//! look before: the copy is what the source was at every moment between the two.

use super::super::error::{AliasError, Unsuited};
use super::super::sys::{Errno, Mapped};
use super::super::uffd::{Faults, Found, Uffd, Writes};
use super::sources::Parts;
use super::{Guarantee, Way};
use crate::{Prot, Span};

/// How many looks there are before the source is said not to hold still.
const PASSES: u32 = 16;

/// Copies all of `parts` into new memory.
pub(super) fn copy(parts: &Parts) -> Result<Mapped, AliasError> {
    let memory = Mapped::anonymous(parts.len, Prot::READ).map_err(AliasError::kernel("mmap"))?;
    memory.small_pages().map_err(AliasError::kernel("madvise"))?;
    let refused = AliasError::kernel("userfaultfd");
    let (reach, needed) = Way::CheckedCopy.needs();
    let source = Uffd::new(reach, needed, 0).map_err(refused)?;
    let target = Uffd::new(reach, 0, 0).map_err(refused)?;
    let made = copy_into(&memory, parts, &source, &target);
    parts.iter().for_each(|part| source.release(part.source));
    target.release(memory.span());
    made.map(|()| memory)
}

fn copy_into(
    memory: &Mapped,
    parts: &Parts,
    source: &Uffd,
    target: &Uffd,
) -> Result<(), AliasError> {
    for part in parts.iter() {
        source.register(part.source, Faults::Protected).map_err(refused(part.source))?;
    }
    target.register(memory.span(), Faults::Missing).map_err(refused(memory.span()))?;
    let writes = Writes::open().map_err(AliasError::kernel("opening /proc/self/pagemap"))?;
    let mut changed = 0;
    for pass in 0..=PASSES {
        changed = 0;
        for part in parts.iter() {
            look(&writes, part.source, |written| {
                changed = written.len().unwrap_or(0).saturating_add(changed);
                if pass == 0 {
                    // Nothing is copied yet, and all of it will be.
                    return Ok(());
                }
                for (at, len) in parts.places_in(written) {
                    let again = place(memory, at, len)?;
                    memory.discard(again).map_err(AliasError::kernel("madvise"))?;
                    put(target, memory, again, parts)?;
                }
                Ok(())
            })?;
        }
        if pass == 0 {
            put(target, memory, memory.span(), parts)?;
        } else if changed == 0 {
            return Ok(());
        }
    }
    Err(AliasError::Changing { passes: PASSES, bytes: changed })
}

/// Calls `each` with what of `span` was written since the last look.
fn look(
    writes: &Writes,
    span: Span,
    mut each: impl FnMut(Span) -> Result<(), AliasError>,
) -> Result<(), AliasError> {
    let mut found = [Found::default(); 64];
    let mut next = span.start();
    while let Some(rest) = Span::new(next, span.last()) {
        let listed = writes.since(rest, &mut found);
        let (count, end) = listed.map_err(AliasError::kernel("PAGEMAP_SCAN"))?;
        for written in found.iter().take(count).filter_map(Found::span) {
            each(written)?;
        }
        if end <= next {
            break;
        }
        next = end;
    }
    Ok(())
}

/// The `len` bytes that are `at` bytes into the mirror.
fn place(memory: &Mapped, at: u64, len: u64) -> Result<Span, AliasError> {
    let start = memory.span().start().checked_add(at);
    let span = start.and_then(|start| Span::of(start, len));
    span.ok_or(AliasError::Range { at, len, of: memory.span().len().unwrap_or(0) })
}

/// Copies what is to be shown at `target`, where no pages are.
fn put(uffd: &Uffd, memory: &Mapped, target: Span, parts: &Parts) -> Result<(), AliasError> {
    for part in parts.iter() {
        let shown = place(memory, part.at, part.source.len().unwrap_or(0))?;
        let start = shown.start().max(target.start());
        let Some(mut left) = Span::new(start, shown.last().min(target.last())) else { continue };
        loop {
            // The place lies in that of the part.
            let skipped = left.start().saturating_sub(shown.start());
            let source = part.source.start().saturating_add(skipped);
            let copied = match uffd.copy(memory, left, source) {
                Ok(copied) => copied,
                Err(Errno::AGAIN | Errno::INTR) => 0,
                Err(Errno::FAULT) => return Err(AliasError::NotMapped { span: part.source }),
                Err(errno) => return Err(AliasError::kernel("UFFDIO_COPY")(errno)),
            };
            match Span::new(left.start().saturating_add(copied), left.last()) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    }
    Ok(())
}

/// Why the faults of `span` cannot be handled.
pub(super) fn refused(span: Span) -> impl Fn(Errno) -> AliasError {
    move |errno| match errno {
        Errno::BUSY => {
            AliasError::Unsuited { guarantee: Guarantee::Snapshot, span, why: Unsuited::Handled }
        }
        // It was looked at, and has changed since.
        Errno::INVAL | Errno::PERM | Errno::FAULT | Errno::NOENT => AliasError::NotMapped { span },
        errno => AliasError::kernel("userfaultfd")(errno),
    }
}
