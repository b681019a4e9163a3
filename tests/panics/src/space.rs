//! `space`: the verbs, and the looks at what they have done.

use crate::foreign::{File, Host, Space};
use addrspace::{
    Backing, Error, Gaps, Limits, MapFlags, Mapping, OpError, PageSize, Placement, Prot, Region,
    Remap, Span, Update, Usage, ignore,
};

type Answer<T = ()> = Result<T, OpError<i32>>;

#[unsafe(no_mangle)]
pub fn space_new(start: u64, len: u64, page: u64, gaps: Gaps) -> Result<Space, Error> {
    let space = if len == 0 { Space::whole(page) } else { Space::new(start, len, page) };
    space.map(|space| space.with_gaps(gaps))
}

#[unsafe(no_mangle)]
pub fn space_map_any(
    space: &mut Space,
    len: u64,
    mapping: Mapping<File>,
    placement: Placement,
    host: Host,
) -> Answer<u64> {
    space.map_any(len, mapping, placement, host)
}

#[unsafe(no_mangle)]
pub fn space_map_at(
    space: &mut Space,
    addr: u64,
    len: u64,
    mapping: Mapping<File>,
    host: Host,
) -> Answer {
    space.map_at(addr, len, mapping, host)
}

#[unsafe(no_mangle)]
pub fn space_map_at_no_replace(
    space: &mut Space,
    addr: u64,
    len: u64,
    mapping: Mapping<File>,
    host: Host,
) -> Answer {
    space.map_at_no_replace(addr, len, mapping, host)
}

#[unsafe(no_mangle)]
pub fn space_unmap(space: &mut Space, addr: u64, len: u64, host: Host) -> Answer {
    space.unmap(addr, len, host)
}

#[unsafe(no_mangle)]
pub fn space_protect(space: &mut Space, addr: u64, len: u64, prot: Prot, host: Host) -> Answer {
    space.protect(addr, len, prot, host)
}

#[unsafe(no_mangle)]
pub fn space_set_flags(
    space: &mut Space,
    addr: u64,
    len: u64,
    flags: [MapFlags; 2],
    host: Host,
) -> Answer {
    space.set_flags(addr, len, flags[0], flags[1], host)
}

#[unsafe(no_mangle)]
pub fn space_remap(
    space: &mut Space,
    addr: u64,
    old: u64,
    new: u64,
    how: Remap,
    host: Host,
) -> Answer<u64> {
    space.remap(addr, old, new, how, host)
}

/// The verbs whose handlers cannot refuse.
#[unsafe(no_mangle)]
pub fn space_ignored(
    space: &mut Space,
    addr: u64,
    len: u64,
    mapping: Mapping<File>,
    how: Remap,
) -> Result<(), Error> {
    space.map_at(addr, len, mapping, ignore)?;
    space.unmap(addr, len, ignore)?;
    space.remap(addr, len, len, how, ignore)?;
    space.unmap_non_original(ignore)
}

#[unsafe(no_mangle)]
pub fn space_mark_original(space: &mut Space) {
    space.mark_original();
}

#[unsafe(no_mangle)]
pub fn space_unmap_non_original(space: &mut Space, host: Host) -> Answer {
    space.unmap_non_original(host)
}

#[unsafe(no_mangle)]
pub fn space_reset(space: &mut Space) {
    space.reset();
}

#[unsafe(no_mangle)]
pub fn space_restore(space: &mut Space, saved: &Space, host: Host) -> Answer {
    space.restore(saved, host)
}

#[unsafe(no_mangle)]
pub fn space_diff(space: &Space, target: &Space, host: Host) -> Result<usize, Error> {
    Ok(space.diff(target)?.filter(|update| host(*update).is_ok()).count())
}

#[unsafe(no_mangle)]
pub fn space_copies(
    space: &Space,
    keep: fn(Region<'_, File>) -> bool,
) -> Result<[Space; 3], Error> {
    Ok([space.try_clone()?, space.fork(keep), space.clone()])
}

#[unsafe(no_mangle)]
pub fn space_equal(one: &Space, other: &Space) -> bool {
    one == other
}

#[unsafe(no_mangle)]
pub fn space_drop(space: Space) {
    drop(space);
}

#[unsafe(no_mangle)]
pub fn space_limits(space: &mut Space, limits: Limits) -> (Usage, Limits) {
    let before = space.limits();
    space.set_limits(limits);
    (space.usage(), before)
}

#[unsafe(no_mangle)]
pub fn space_bounds(space: &Space, addr: u64, len: u64) -> (Option<Span>, PageSize, bool) {
    (space.span(), space.page_size(), space.is_fully_mapped(addr, len))
}

#[unsafe(no_mangle)]
pub fn region(region: Region<'_, File>) -> (Mapping<File>, Backing<File>, u64, Option<u64>) {
    let first = if region.is_shared() { region.start() } else { region.last() };
    (region.mapping(), region.backing.cloned(), first, region.len().or(region.end()))
}

#[unsafe(no_mangle)]
pub fn space_query(space: &Space, addr: u64) -> Option<Region<'_, File>> {
    space.query(addr)
}

#[unsafe(no_mangle)]
pub fn space_regions(space: &Space, addr: u64, len: u64) -> [Option<Region<'_, File>>; 5] {
    [
        space.regions().next(),
        space.regions().next_back(),
        space.regions().nth(space.regions().len()),
        space.regions_in(addr, len).last(),
        space.regions_in(addr, len).rev().last(),
    ]
}

#[unsafe(no_mangle)]
pub fn space_gaps(space: &Space, addr: u64, len: u64) -> [Option<Span>; 4] {
    [
        space.gaps().last(),
        space.gaps().rev().last(),
        space.gaps_in(addr, len).last(),
        space.gaps_in(addr, len).rev().last(),
    ]
}

#[unsafe(no_mangle)]
pub fn space_pieces_of<'s>(
    space: &'s Space,
    file: &'s File,
    offset: u64,
    len: u64,
) -> Option<Region<'s, File>> {
    space.pieces_of(file, offset, len).last()
}

#[unsafe(no_mangle)]
pub fn space_placements(space: &Space, len: u64, placement: Placement) -> Result<u64, Error> {
    space.placements(len, placement)
}

/// Every way to say where.
#[unsafe(no_mangle)]
pub fn placement(what: u8, a: u64, b: u64) -> Placement {
    let start = match what & 3 {
        0 => Placement::lowest(),
        1 => Placement::highest(),
        2 => Placement::nth(a),
        _ => Placement::random(b),
    };
    match what >> 2 {
        0 => start,
        1 => start.near(a),
        2 => start.within(a, b),
        3 => start.aligned(a),
        4 => start.aligned_at(a, b),
        5 => start.guarded(a, b),
        _ => Placement::default(),
    }
}

/// Every way to say what, and how to remap.
#[unsafe(no_mangle)]
pub fn mapping(what: u8, prot: Prot, number: u64, place: Placement) -> (Mapping<File>, Remap) {
    let mapping = match what & 3 {
        0 => Mapping::anonymous(prot),
        1 => Mapping::file(prot, File(7), number),
        2 => Mapping::physical(prot, number),
        _ => Mapping::tag(prot, File(7), number),
    };
    let remap = match what >> 2 {
        0 => Remap::in_place(),
        1 => Remap::may_move(place),
        _ => Remap::to(number).keep_source(),
    };
    (mapping.shared().with_flags(MapFlags::LOCKED), remap)
}

/// What a handler can do with an update.
#[unsafe(no_mangle)]
pub fn update(update: Update<'_, File>, addr: u64) -> (Span, Option<Mapping<File>>, usize) {
    update.made_to(addr);
    let pieces = update.pieces();
    let first = pieces.iter().next().map(|piece| piece.mapping());
    let last = pieces.iter().next_back().and_then(|piece| piece.end());
    let count = if pieces.is_empty() { 0 } else { pieces.into_iter().count() };
    (update.span(), first.filter(|_| last.is_some()), count)
}
