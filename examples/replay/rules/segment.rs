//! System V shared memory: `shmat` and `shmdt`.

use addrspace::{Backing, Error, MapFlags};

use super::super::books::mapping;
use super::super::compare::Stretch;
use super::super::trace::{Call, Object};
use super::{Memory, System};

/// `shmat(2)`, done at `at`: the whole segment, from its beginning.
pub(super) fn attach(
    memory: &mut Memory,
    system: &mut System,
    call: &Call,
    at: u64,
) -> Result<(), Error> {
    const READ_ONLY: u64 = 0x1000;
    const EXECUTABLE: u64 = 0x8000;
    let (Some(Object::File(id)), Some(len)) = (call.extra.object, call.extra.len) else {
        return Ok(());
    };
    system.segments.insert(id, len);
    let read_only = call.args[2] & READ_ONLY != 0;
    let mut prot: u64 = if read_only { 1 } else { 3 };
    if call.args[2] & EXECUTABLE != 0 {
        prot |= 4;
    }
    let mut mapping =
        mapping(super::map::access(prot, system, call.tid), true, Object::File(id), 0);
    // The segment is opened anew for each attachment, and so only for reading.
    mapping.flags.set(MapFlags::NO_WRITE, read_only);
    memory.books.map(at, len, mapping)
}

/// `shmdt(2)`: unmaps what is left of the segment that was attached at the
/// address. The pieces of it are those that lie where the attachment put them.
pub(super) fn detach(memory: &mut Memory, system: &System, call: &Call) -> Result<(), Error> {
    let addr = call.args[0];
    let longest = system.segments.values().copied().max().unwrap_or(0);
    let mut attached = None;
    let mut pieces = Vec::new();
    let mut end = addr.saturating_add(longest);
    for piece in memory.books.pieces_in(Stretch { start: addr, end }) {
        let (start, Some(size)) = (piece.start(), piece.len()) else { continue };
        if start >= end {
            break;
        }
        let Backing::File { file, offset } = piece.backing else { continue };
        let Some(&len) = system.segments.get(file) else { continue };
        let in_place = start.wrapping_sub(addr) == offset;
        // The first piece in place says which segment it is about.
        if in_place && *attached.get_or_insert(*file) == *file {
            end = addr.saturating_add(system.pages(len).unwrap_or(0));
            pieces.push((start, size));
        }
    }
    pieces.into_iter().try_for_each(|(start, len)| memory.books.unmap(start, len))
}
