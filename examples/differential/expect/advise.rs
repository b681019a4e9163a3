//! `madvise`, as far as mappings remember it, and what only makes memory touched.

use addrspace::{Backing, MapFlags, Prot};

use super::super::books::Books;
use super::super::call::{Call, DO_DUMP, DO_FORK, DONT_DUMP, DONT_FORK, POPULATE_WRITE};
use super::super::rule::Rule;
use super::{EINVAL, ENOMEM, Expected, Mremap, Scene, said};

/// The kernel skips gaps as the books do, and answers in the end that there was one.
pub(super) fn madvise(call: &Call, books: &mut Books, scene: &Scene<'_>) -> Expected {
    let [addr, len, advice, ..] = call.args;
    let none = MapFlags::empty();
    let change = match advice {
        DONT_FORK => Some((MapFlags::DONT_FORK, none)),
        DO_FORK => Some((none, MapFlags::DONT_FORK)),
        DONT_DUMP => Some((MapFlags::DONT_DUMP, none)),
        DO_DUMP => Some((none, MapFlags::DONT_DUMP)),
        _ => None,
    };
    let end = scene.page.round_up(len).and_then(|len| addr.checked_add(len));
    let inside = end.is_some_and(|end| books.in_window(addr, end));
    let Some((set, clear)) = change else { return populate(call, end, inside, books, scene) };
    if !scene.page.is_aligned(addr) {
        return said(books.change(|space, note| space.set_flags(addr, len, set, clear, note)));
    }
    let Some(end) = end else { return Expected::Rule(Rule::AdviceWraps, EINVAL) };
    if len == 0 {
        return Expected::Rule(Rule::NoLength, 0);
    }
    if addr >= scene.end {
        return said(books.change(|space, note| space.set_flags(addr, len, set, clear, note)));
    }
    if !inside {
        return Expected::LeftOut(Rule::OwnMemory);
    }
    let hole = books.first_gap(addr, end).is_some();
    match books.change(|space, note| space.set_flags(addr, len, set, clear, note)) {
        Ok(()) if hole => Expected::Books(ENOMEM),
        result => said(result),
    }
}

/// Page by page, up to the first that is not mapped, or cannot be touched so. Older kernels
/// go on after a gap, and say in the end that there was one.
fn populate(
    call: &Call,
    end: Option<u64>,
    inside: bool,
    books: &Books,
    scene: &Scene<'_>,
) -> Expected {
    let [addr, len, advice, ..] = call.args;
    let rule = |answer| Expected::Rule(Rule::Populate, answer);
    let Some(end) = end.filter(|_| scene.page.is_aligned(addr)) else { return rule(EINVAL) };
    if len == 0 {
        return rule(0);
    }
    if !inside {
        return Expected::LeftOut(Rule::OwnMemory);
    }
    let wanted = if advice == POPULATE_WRITE { Prot::WRITE } else { Prot::READ };
    let (mut next, mut gap) = (addr, false);
    for piece in books.space().regions_in(addr, end - addr) {
        gap |= piece.start() > next;
        if gap && scene.mremap == Mremap::From617 {
            break;
        }
        if !piece.prot.contains(wanted) {
            // That of a kernel which is not as old as all that.
            let other = if gap { ENOMEM } else { EINVAL };
            return Expected::Either(Rule::Populate, [EINVAL, other]);
        }
        if !matches!(piece.backing, Backing::Anonymous) {
            // It may reach past the end of the file.
            return Expected::Anything(Rule::FileEnds);
        }
        next = piece.last() + 1;
    }
    rule(if gap || next < end { ENOMEM } else { 0 })
}
