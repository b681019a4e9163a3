//! What a mirror shows: ranges of memory that somebody else has.

use super::super::error::{AliasError, Unsuited};
use super::{Guarantee, Way};
use crate::exec::{self, KernelRegion, system_page};
use crate::{Prot, Span};

/// One of the sources, and where in the mirror it is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// How many bytes into the mirror.
    pub(super) at: u64,
    pub(super) source: Span,
}

/// All sources. It is only read once it is made: threads that may not write on the heap
/// look things up in it.
#[derive(Debug)]
pub(super) struct Parts {
    /// In the order of the mirror.
    shown: Box<[Part]>,
    /// In the order of their addresses.
    sorted: Box<[Part]>,
    /// The length of the mirror.
    pub(super) len: u64,
}

impl Parts {
    /// Refuses what are not whole pages, or comes twice.
    pub(super) fn new(sources: &[Span]) -> Result<Self, AliasError> {
        let page = system_page();
        let mut shown = Vec::with_capacity(sources.len());
        let mut end = 0_u64;
        for &source in sources {
            let (at, len) = (source.start(), source.len().unwrap_or(u64::MAX));
            if !page.is_aligned(at) || !page.is_aligned(len) {
                return Err(AliasError::Alignment { at, len, page: page.bytes() });
            }
            shown.push(Part { at: end, source });
            end = end.checked_add(len).ok_or(AliasError::Range { at, len, of: u64::MAX })?;
        }
        if end == 0 {
            return Err(AliasError::Range { at: 0, len: 0, of: 0 });
        }
        let mut sorted = shown.clone();
        sorted.sort_unstable_by_key(|part| part.source.start());
        for pair in sorted.windows(2) {
            let &[below, above] = pair else { continue };
            if below.source.overlaps(above.source) {
                let last = below.source.last().min(above.source.last());
                let span = Span::new(above.source.start(), last).unwrap_or(above.source);
                return Err(AliasError::Overlap { span });
            }
        }
        Ok(Self { shown: shown.into(), sorted: sorted.into(), len: end })
    }

    /// In the order of the mirror.
    pub(super) fn iter(&self) -> impl Iterator<Item = Part> {
        self.shown.iter().copied()
    }

    /// The address of what is shown `at` bytes into the mirror.
    pub(super) fn source_of(&self, at: u64) -> Option<u64> {
        let nth = self.shown.partition_point(|part| part.at <= at).checked_sub(1)?;
        let part = self.shown.get(nth)?;
        let addr = part.source.start().checked_add(at.checked_sub(part.at)?)?;
        part.source.contains(addr).then_some(addr)
    }

    /// How many bytes into the mirror the byte at `addr` is shown.
    pub(super) fn place_of(&self, addr: u64) -> Option<u64> {
        let nth = self.sorted.partition_point(|part| part.source.start() <= addr).checked_sub(1)?;
        let part = self.sorted.get(nth)?;
        part.source.contains(addr).then(|| part.place_of(addr))
    }

    /// The parts of the mirror that show what is in `span`: the first byte and the length
    /// of each.
    pub(super) fn places_in(&self, span: Span) -> impl Iterator<Item = (u64, u64)> {
        let first = self.sorted.partition_point(|part| part.source.last() < span.start());
        let rest = self.sorted.get(first..).unwrap_or_default().iter();
        rest.take_while(move |part| part.source.start() <= span.last()).filter_map(move |part| {
            let start = part.source.start().max(span.start());
            let both = Span::new(start, part.source.last().min(span.last()))?;
            Some((part.place_of(both.start()), both.len()?))
        })
    }

    /// Looks at all sources, and calls `each` with every part of one that is one mapping
    /// of the kernel's, and where in the mirror it is shown.
    ///
    /// Refuses what is not mapped, or what cannot be shown by `way`.
    pub(super) fn examine(
        &self,
        way: Way,
        mut each: impl FnMut(u64, &KernelRegion) -> Result<(), AliasError>,
    ) -> Result<(), AliasError> {
        let guarantee = way.guarantee();
        for part in self.iter() {
            let found = exec::regions(part.source);
            let found = found.map_err(AliasError::kernel("reading /proc/self/maps"))?;
            let mut next = Some(part.source.start());
            for region in &found {
                if let Some(gap) = next.filter(|next| *next < region.span.start()) {
                    let span = Span::new(gap, region.span.start().saturating_sub(1));
                    return Err(AliasError::NotMapped { span: span.unwrap_or(part.source) });
                }
                if let Some(why) = unsuited(way, region) {
                    return Err(AliasError::Unsuited { guarantee, span: region.span, why });
                }
                each(part.place_of(region.span.start()), region)?;
                next = region.span.end();
            }
            if let Some(span) = next.and_then(|next| Span::new(next, part.source.last())) {
                return Err(AliasError::NotMapped { span });
            }
        }
        Ok(())
    }
}

impl Part {
    /// How many bytes into the mirror the byte at `addr`, which is of this part, is shown.
    const fn place_of(&self, addr: u64) -> u64 {
        self.at.saturating_add(addr.saturating_sub(self.source.start()))
    }
}

/// Why `region` cannot be shown by `way`, if it cannot.
fn unsuited(way: Way, region: &KernelRegion) -> Option<Unsuited> {
    if !region.prot.contains(Prot::READ) {
        return Some(Unsuited::Unreadable);
    }
    match way.guarantee() {
        Guarantee::Live if way == Way::Shared && !region.shared => Some(Unsuited::Private),
        Guarantee::Snapshot if region.shared => Some(Unsuited::Shared),
        Guarantee::Snapshot if !region.file.is_anonymous() => Some(Unsuited::File),
        _ => None,
    }
}
