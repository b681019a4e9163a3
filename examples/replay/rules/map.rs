//! Calls that map: `mmap`, `brk`, `remap_file_pages`, `map_shadow_stack`.

use core::cmp::Ordering;

use addrspace::{Backing, Error, MapFlags};

use super::super::books::mapping;
use super::super::trace::{Call, Object};
use super::{Memory, System};

/// `PROT_READ`, `PROT_WRITE` and `PROT_EXEC`; a list shows no other bit.
pub(super) const ACCESS: u32 = 7;
/// `PROT_READ | PROT_WRITE`.
pub(super) const READ_WRITE: u32 = 3;
const READ: u32 = 1;
const EXEC: u32 = 4;

/// The protection that a list shows for the bits that a call was given.
pub(super) fn access(bits: u64, system: &System, tid: u32) -> u32 {
    // Masked to three bits, it fits.
    let prot = u32::try_from(bits & u64::from(ACCESS)).unwrap_or(0);
    if prot & READ != 0 && system.read_implies_exec.contains(&tid) { prot | EXEC } else { prot }
}

/// `mmap(2)`, done at `at`.
///
/// Wherever the kernel put it, it is there now and nothing else is, so a plain
/// replacing map says it, with or without `MAP_FIXED`.
pub(super) fn mmap(
    memory: &mut Memory,
    system: &System,
    call: &Call,
    at: u64,
) -> Result<(), Error> {
    const TYPE: u64 = 0xf;
    const SHARED: u64 = 1;
    const SHARED_VALIDATE: u64 = 3;
    const ANONYMOUS: u64 = 0x20;
    const GROWS_DOWN: u64 = 0x100;
    const NO_RESERVE: u64 = 0x4000;
    let [_, len, prot, flags, _, offset] = call.args;
    let anonymous = flags & ANONYMOUS != 0;
    let shared = matches!(flags & TYPE, SHARED | SHARED_VALIDATE);
    let object = match call.extra.object {
        Some(object) if !anonymous || shared || is_huge(flags) => object,
        _ => Object::Anonymous,
    };
    // Without a file the offset is not looked at.
    let offset = if anonymous { 0 } else { offset };
    let mut kept = MapFlags::empty();
    // A descriptor opened for reading lends no right to write to the file. (A
    // private mapping writes to copies and needs none.)
    kept.set(MapFlags::NO_WRITE, shared && !anonymous && call.extra.read_only);
    kept.set(MapFlags::GROWS_DOWN, flags & GROWS_DOWN != 0);
    kept.set(MapFlags::NO_RESERVE, flags & NO_RESERVE != 0);
    let mapping = mapping(access(prot, system, call.tid), shared, object, offset).with_flags(kept);
    memory.books.map(at, huge_len(len, flags), mapping)
}

const HUGETLB: u64 = 0x4_0000;

fn is_huge(flags: u64) -> bool {
    flags & HUGETLB != 0
}

/// The length of a mapping: huge pages come whole. (The library rounds up to
/// ordinary pages by itself.)
fn huge_len(len: u64, flags: u64) -> u64 {
    const SIZE_SHIFT: u32 = 26;
    const SIZE_MASK: u64 = 0x3f;
    const TWO_MEBIBYTES: u32 = 21;
    if !is_huge(flags) {
        return len;
    }
    let order = match u32::try_from((flags >> SIZE_SHIFT) & SIZE_MASK) {
        Ok(0) | Err(_) => TWO_MEBIBYTES,
        Ok(order) => order,
    };
    len.checked_next_multiple_of(1 << order).unwrap_or(len)
}

/// `brk(2)`, which answers the break that it left.
///
/// An answer other than what was asked for means that nothing changed.
pub(super) fn brk(
    memory: &mut Memory,
    system: &System,
    call: &Call,
    now: u64,
) -> Result<(), Error> {
    let before = core::mem::replace(&mut memory.brk, now);
    if now != call.args[0] {
        return Ok(());
    }
    let (Some(from), Some(to)) = (system.pages(before), system.pages(now)) else { return Ok(()) };
    match to.cmp(&from) {
        Ordering::Greater => {
            let prot = access(u64::from(READ_WRITE), system, call.tid);
            memory.books.map(from, to.abs_diff(from), mapping(prot, false, Object::Anonymous, 0))
        }
        Ordering::Less => memory.books.unmap(to, from.abs_diff(to)),
        Ordering::Equal => Ok(()),
    }
}

/// `remap_file_pages(2)`: what is mapped at the address, at another offset.
///
/// The kernel does it by a fixed mapping over the range.
pub(super) fn remap_file_pages(
    memory: &mut Memory,
    system: &System,
    call: &Call,
) -> Result<(), Error> {
    let [addr, len, _, page_offset, ..] = call.args;
    let (start, len) = (system.page.round_down(addr), system.page.round_down(len));
    let Some(region) = memory.books.region_at(start) else { return Ok(()) };
    let mut mapping = region.mapping();
    if let Backing::File { offset, .. } = &mut mapping.backing {
        *offset = page_offset.wrapping_mul(system.page.bytes());
    }
    memory.books.map(start, len, mapping)
}

/// `map_shadow_stack(2)`, done at `at`.
pub(super) fn shadow_stack(
    memory: &mut Memory,
    system: &System,
    call: &Call,
    at: u64,
) -> Result<(), Error> {
    let len = system.pages(call.args[1]).unwrap_or(0);
    memory.books.map(at, len, mapping(READ_WRITE, false, Object::Anonymous, 0))
}
