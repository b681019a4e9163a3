//! `mprotect` and `pkey_mprotect`, done and refused.

use addrspace::{Error, MapFlags, Prot, Region};

use super::super::compare::Stretch;
use super::super::trace::Call;
use super::map::access;
use super::{EACCES, ENOMEM, EPERM, Memory, System};

const PROT_GROWSDOWN: u64 = 0x0100_0000;

/// A call that changed all it was asked to.
pub(super) fn done(memory: &mut Memory, system: &System, call: &Call) -> Result<(), Error> {
    match range(memory, system, call) {
        Some(range) => protect(memory, system, call, range),
        None => Ok(()),
    }
}

/// A call that was refused. It walks upwards, and what lies below the place
/// where it was refused stays changed. The error says which kind of place.
pub(super) fn refused(
    memory: &mut Memory,
    system: &System,
    call: &Call,
    errno: u32,
) -> Result<(), Error> {
    let Some(range) = range(memory, system, call) else { return Ok(()) };
    let prot = access(call.args[2], system, call.tid);
    let no_exec_gain = memory.no_exec_gain;
    let obstacle = match errno {
        EACCES => memory.books.first_piece(range, |piece| may_not(piece, prot, no_exec_gain)),
        EPERM => memory.books.first_piece(range, |piece| piece.flags.contains(MapFlags::SEALED)),
        ENOMEM => memory.books.first_gap(range).or_else(|| no_memory(memory, range, prot)),
        // Any other refusal comes before the walk.
        _ => None,
    };
    match obstacle {
        Some(Stretch { start, .. }) if start > range.start => {
            protect(memory, system, call, Stretch { end: start, ..range })
        }
        _ => Ok(()),
    }
}

/// The pages that a call is about; `None` if it is refused before the walk, or
/// has nothing to do.
fn range(memory: &mut Memory, system: &System, call: &Call) -> Option<Stretch> {
    let [addr, len, prot, ..] = call.args;
    if len == 0 || !system.page.is_aligned(addr) {
        return None;
    }
    let end = addr.checked_add(system.pages(len)?)?;
    let mut start = addr;
    if prot & PROT_GROWSDOWN != 0 {
        // The change reaches down to the beginning of the growing area.
        let region = memory
            .books
            .region_at(addr)
            .filter(|region| region.flags.contains(MapFlags::GROWS_DOWN))?;
        start = region.start();
    }
    (end > start).then_some(Stretch { start, end })
}

fn protect(memory: &mut Memory, system: &System, call: &Call, range: Stretch) -> Result<(), Error> {
    let prot = access(call.args[2], system, call.tid);
    memory.books.protect(range.start, range.end.abs_diff(range.start), Prot::from_bits_retain(prot))
}

/// Whether the pages of `piece` may not be given `prot`.
fn may_not(piece: &Region<'_>, prot: u32, no_exec_gain: bool) -> bool {
    let prot = Prot::from_bits_retain(prot);
    let forbidden = [
        (Prot::READ, MapFlags::NO_READ),
        (Prot::WRITE, MapFlags::NO_WRITE),
        (Prot::EXEC, MapFlags::NO_EXEC),
    ];
    forbidden.into_iter().any(|(access, flag)| prot.contains(access) && piece.flags.contains(flag))
        || (no_exec_gain
            && prot.contains(Prot::EXEC)
            && (prot.contains(Prot::WRITE) || !piece.prot.contains(Prot::EXEC)))
}

/// Where a walk over mapped pages alone can have been refused for memory.
///
/// The kernel has to cut an area in two at an end of the range, and cannot when
/// it has as many areas as it may have. Between the ends it cuts nothing.
fn no_memory(memory: &mut Memory, range: Stretch, prot: u32) -> Option<Stretch> {
    let prot = Prot::from_bits_retain(prot);
    for (edge, cut_before) in [(range.start, true), (range.end, false)] {
        // The page that an area would be cut at the outer side of.
        let page = if cut_before { edge } else { edge.saturating_sub(1) };
        let Some(region) = memory.books.region_at(page) else { continue };
        let is_cut = if cut_before { region.start() < edge } else { region.last() > page };
        if is_cut && region.prot != prot {
            return Some(Stretch { start: region.start().max(range.start), end: range.end });
        }
    }
    // Refused for another reason, with nothing done that a list shows.
    None
}
