//! Calls that change flags alone: `madvise`, `process_madvise`, `mseal`.
//!
//! Of all advice only what `fork` and core dumps look at is kept; the rest
//! changes no mapping.

use addrspace::{Backing, Error, MapFlags, Region};

use super::super::books::{IO, SPECIAL};
use super::super::compare::Stretch;
use super::super::trace::Call;
use super::{EINVAL, ENOMEM, Memory, System};

/// What a piece of advice does to the flags.
#[derive(Clone, Copy)]
struct Change {
    set: MapFlags,
    clear: MapFlags,
    /// The mappings to which the advice may not be given.
    refuses: fn(&Region<'_>) -> bool,
}

/// What `advice` does, if it does anything to the flags that are kept.
fn change(advice: u64) -> Option<Change> {
    let none = MapFlags::empty();
    let set = |set, refuses| Change { set, clear: none, refuses };
    let clear = |clear, refuses| Change { set: none, clear, refuses };
    Some(match advice {
        10 => set(MapFlags::DONT_FORK, |_| false),
        11 => clear(MapFlags::DONT_FORK, |piece| piece.flags.contains(IO)),
        16 => set(MapFlags::DONT_DUMP, |_| false),
        17 => clear(MapFlags::DONT_DUMP, |piece| piece.flags.contains(SPECIAL)),
        18 => set(MapFlags::WIPE_ON_FORK, |piece| {
            piece.is_shared() || !matches!(piece.backing, Backing::Anonymous)
        }),
        19 => clear(MapFlags::WIPE_ON_FORK, |_| false),
        _ => return None,
    })
}

/// Advice that was taken everywhere.
pub(super) fn done(memory: &mut Memory, system: &System, call: &Call) -> Result<(), Error> {
    let [addr, len, advice, ..] = call.args;
    match (change(advice), range(system, addr, len)) {
        (Some(change), Some(range)) => give(memory, change, range),
        _ => Ok(()),
    }
}

/// Advice that was refused: for a gap, and then all that is mapped has it
/// nevertheless; or at the first mapping that must not have it.
pub(super) fn refused(
    memory: &mut Memory,
    system: &System,
    call: &Call,
    errno: u32,
) -> Result<(), Error> {
    let [addr, len, advice, ..] = call.args;
    let (Some(change), Some(range)) = (change(advice), range(system, addr, len)) else {
        return Ok(());
    };
    match errno {
        ENOMEM if memory.books.first_gap(range).is_some() => give(memory, change, range),
        EINVAL => match memory.books.first_piece(range, change.refuses) {
            Some(Stretch { start, .. }) if start > range.start => {
                give(memory, change, Stretch { end: start, ..range })
            }
            _ => Ok(()),
        },
        // Refused at once; or for want of memory, before the first change.
        _ => Ok(()),
    }
}

/// `process_madvise(2)`, which answers how many bytes it came to. The caller can
/// give flags to itself alone.
pub(super) fn process(
    memory: &mut Memory,
    system: &System,
    call: &Call,
    mut bytes: u64,
) -> Result<(), Error> {
    let advice = call.args[3];
    let Some(change) = change(advice) else { return Ok(()) };
    for &(addr, len) in &call.extra.ranges {
        let len = len.min(bytes);
        bytes = bytes.saturating_sub(len);
        if let Some(range) = range(system, addr, len) {
            give(memory, change, range)?;
        }
    }
    Ok(())
}

/// `mseal(2)`, which seals all or nothing.
pub(super) fn seal(memory: &mut Memory, system: &System, call: &Call) -> Result<(), Error> {
    let [addr, len, ..] = call.args;
    let Some(range) = range(system, addr, len) else { return Ok(()) };
    let change = Change { set: MapFlags::SEALED, clear: MapFlags::empty(), refuses: |_| false };
    give(memory, change, range)
}

/// The pages that a call is about; `None` if there are none, or if it is
/// refused before it looks at them.
fn range(system: &System, addr: u64, len: u64) -> Option<Stretch> {
    if len == 0 || !system.page.is_aligned(addr) {
        return None;
    }
    Some(Stretch { start: addr, end: addr.checked_add(system.pages(len)?)? })
}

fn give(memory: &mut Memory, change: Change, range: Stretch) -> Result<(), Error> {
    // Linux lets advice reach past the last user address, where nothing is.
    let end = range.end.min(super::Books::everything().end);
    if end <= range.start {
        return Ok(());
    }
    memory.books.set_flags(range.start, end.abs_diff(range.start), change.set, change.clear)
}
