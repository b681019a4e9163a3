//! `mmap`.

use addrspace::{Backing, Error, MapFlags, Mapping, Prot};

use super::super::books::{Books, Object};
use super::super::call::{
    ACCESS, ANONYMOUS, Call, FIXED, MAP_TYPE, NO_FILE, NO_REPLACE, NO_RESERVE, PRIVATE, SHARED,
    WRITE,
};
use super::super::ground::READ_ONLY;
use super::super::rule::Rule;
use super::{EACCES, EBADF, EINVAL, EOVERFLOW, EPERM, Expected, Scene, answer};

/// Where Linux ends files (`MAX_LFS_FILESIZE`).
const FILE_END: u64 = u64::MAX >> 1;

pub(super) fn mmap(call: &Call, books: &mut Books, scene: &Scene<'_>) -> Expected {
    if let Some(expected) = early(call, scene) {
        return expected;
    }
    let mapping = mapping_of(call, scene);
    let said = answer(map(call, books, scene, mapping));
    if too_far(call, scene) {
        books.undo();
        // That is found out when there is a place.
        let near = Mapping { backing: Backing::Anonymous, ..mapping };
        let placed = answer(map(call, books, scene, near));
        books.undo();
        let expected = if placed < 0 { placed } else { EOVERFLOW };
        return if said == expected {
            Expected::Books(said)
        } else {
            Expected::Rule(Rule::FileLimit, expected)
        };
    }
    match late(call) {
        Some(expected) if said >= 0 => {
            books.undo();
            expected
        }
        _ => Expected::Books(said),
    }
}

/// What is refused before the kernel looks for a place.
fn early(call: &Call, scene: &Scene<'_>) -> Option<Expected> {
    let [addr, len, _, flags, file, offset] = call.args;
    let anonymous = flags & ANONYMOUS != 0;
    if !scene.page.is_aligned(offset) {
        return anonymous.then_some(Expected::Rule(Rule::Arguments, EINVAL));
    }
    if !anonymous && file == NO_FILE {
        return Some(Expected::Rule(Rule::NoFile, EBADF));
    }
    let len = scene.page.round_up(len).filter(|len| *len > 0 && *len <= scene.end)?;
    if flags & (FIXED | NO_REPLACE) == 0 {
        return None;
    }
    if (-4095..0).contains(&addr.cast_signed()) {
        return Some(Expected::Rule(Rule::AddressIsError, addr.cast_signed()));
    }
    let low = addr < scene.low && addr <= scene.end - len && scene.page.is_aligned(addr);
    low.then_some(Expected::Rule(Rule::LowAddress, EPERM))
}

/// What is refused after a place was found.
fn late(call: &Call) -> Option<Expected> {
    let [_, _, prot, flags, file, _] = call.args;
    match flags & MAP_TYPE {
        SHARED if flags & ANONYMOUS == 0 && file == READ_ONLY && prot & WRITE != 0 => {
            Some(Expected::Rule(Rule::Rights, EACCES))
        }
        SHARED | PRIVATE => None,
        _ => Some(Expected::Rule(Rule::Arguments, EINVAL)),
    }
}

/// Whether a file is too short for this, even the longest.
fn too_far(call: &Call, scene: &Scene<'_>) -> bool {
    let [_, len, _, flags, _, offset] = call.args;
    let len = scene.page.round_up(len).unwrap_or(0);
    flags & ANONYMOUS == 0 && scene.page.is_aligned(offset) && offset > FILE_END.saturating_sub(len)
}

/// What is to be mapped.
fn mapping_of(call: &Call, scene: &Scene<'_>) -> Mapping<Object> {
    let [_, _, prot, flags, file, offset] = call.args;
    let prot = Prot::from_bits_retain(u32::try_from(prot & ACCESS).unwrap_or(0));
    let (shared, anonymous) = (flags & MAP_TYPE == SHARED, flags & ANONYMOUS != 0);
    let mapping = match (anonymous, shared) {
        (true, false) => Mapping::anonymous(prot),
        (true, true) => Mapping::file(prot, Object::Shared(scene.made), 0),
        (false, _) => Mapping::file(prot, Object::File(file), offset),
    };
    let mut kept = MapFlags::empty();
    kept.set(MapFlags::SHARED, shared);
    kept.set(MapFlags::NO_WRITE, shared && !anonymous && file == READ_ONLY);
    kept.set(MapFlags::NO_RESERVE, flags & NO_RESERVE != 0);
    mapping.with_flags(kept)
}

/// The verb that says it.
fn map(
    call: &Call,
    books: &mut Books,
    scene: &Scene<'_>,
    mapping: Mapping<Object>,
) -> Result<u64, Error> {
    let [addr, len, _, flags, ..] = call.args;
    if flags & NO_REPLACE != 0 {
        books.change(|space, note| space.map_at_no_replace(addr, len, mapping, note)).map(|()| addr)
    } else if flags & FIXED != 0 {
        books.change(|space, note| space.map_at(addr, len, mapping, note)).map(|()| addr)
    } else {
        let placement = books.placement(scene.page.round_down(addr));
        books.change(|space, note| space.map_any(len, mapping, placement, note))
    }
}
