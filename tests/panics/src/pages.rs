//! `page` and `prot`.

use addrspace::{MapFlags, PageSize, Prot, Span};

#[unsafe(no_mangle)]
pub fn page_size(bytes: u64, addr: u64) -> Option<(u64, bool, u64, Option<u64>)> {
    let page = PageSize::new(bytes)?;
    Some((page.bytes(), page.is_aligned(addr), page.round_down(addr), page.round_up(addr)))
}

#[unsafe(no_mangle)]
pub fn span(start: u64, len: u64, addr: u64, other: Span) -> Option<(Span, u64, bool, bool)> {
    let span = Span::of(start, len).or(Span::new(start, len))?;
    let ends = span.start() ^ span.last() ^ span.len()? ^ span.end()?;
    Some((span, ends, span.contains(addr), span.overlaps(other)))
}

#[unsafe(no_mangle)]
pub fn bits(prot: u32, flags: u32) -> (Prot, MapFlags, bool) {
    let (prot, flags) = (Prot::from_bits_retain(prot), MapFlags::from_bits_retain(flags));
    (prot | Prot::READ, flags - MapFlags::SHARED, flags.contains(MapFlags::SHARED))
}
