//! Random operations, sensible ones mostly, as proptest makes them.

use super::exec_model::{FILE_PAGES, Kind, Mem, Op, PAGES, Target, Where};
use addrspace::{MapFlags, Prot};
use proptest::prelude::*;

/// A bit of a protection that the kernel does not know.
pub(crate) const UNKNOWN: u32 = 0x4000;

fn prot() -> impl Strategy<Value = Prot> {
    let rw = Prot::READ | Prot::WRITE;
    prop_oneof![
        4 => Just(rw),
        2 => Just(Prot::READ),
        1 => Just(Prot::empty()),
        1 => Just(rw | Prot::EXEC),
        1 => Just(Prot::READ | Prot::EXEC),
        1 => Just(Prot::WRITE),
        // One that the kernel knows and does not tell (PROT_SEM), or not even that.
        1 => prop_oneof![Just(0x8), Just(UNKNOWN)].prop_map(move |bit| rw | Prot::from_bits_retain(bit)),
    ]
}

/// One of the flags that the kernel is asked for.
fn flag() -> impl Strategy<Value = MapFlags> {
    prop_oneof![
        Just(MapFlags::LOCKED),
        Just(MapFlags::DONT_FORK),
        Just(MapFlags::DONT_DUMP),
        Just(MapFlags::WIPE_ON_FORK),
        Just(MapFlags::from_bits_retain(1 << 31)),
        Just(MapFlags::NO_RESERVE),
    ]
}

fn mem() -> impl Strategy<Value = Mem> {
    let flags = prop_oneof![6 => Just(MapFlags::empty()), 1 => flag()];
    // Low pages, so that all that can be mapped and grow has a file below it.
    let kind = prop_oneof![
        3 => Just(Kind::Anonymous),
        2 => (0_usize..3, 0..FILE_PAGES - PAGES).prop_map(|(nth, page)| Kind::File { nth, page }),
    ];
    let options = (prop::bool::weighted(0.15), prop::bool::weighted(0.1));
    (prot(), kind, prop::bool::weighted(0.45), flags, options).prop_map(
        |(prot, kind, shared, flags, (populate, huge))| Mem {
            prot,
            kind,
            shared,
            flags,
            populate,
            huge,
        },
    )
}

/// A range of pages that mostly lies in the reservation.
fn range() -> impl Strategy<Value = (u64, u64)> {
    (0..PAGES, 1_u64..12).prop_map(|(page, pages)| (page, pages.min(PAGES + 1 - page)))
}

fn place() -> impl Strategy<Value = Where> {
    prop_oneof![
        Just(Where::Lowest),
        Just(Where::Highest),
        (0..PAGES).prop_map(Where::At),
        (0..PAGES).prop_map(Where::At),
        (0..PAGES).prop_map(Where::NoReplace),
    ]
}

/// Mostly from the first page of a region on.
fn inset() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(0), 2 => 0_u64..8]
}

fn remap() -> impl Strategy<Value = Op> {
    let target = prop_oneof![
        2 => Just(Target::InPlace),
        1 => Just(Target::Anywhere),
        2 => (0..PAGES).prop_map(Target::At),
    ];
    // Lengths that are equal half of the time, and sometimes nothing.
    let sizes = prop_oneof![
        3 => (1_u64..8).prop_map(|len| (len, len)),
        3 => (1_u64..5, 1_u64..5),
        2 => (1_u64..6).prop_map(|new| (0, new)),
    ];
    (0..PAGES, sizes, target, prop::bool::weighted(0.2)).prop_map(
        |(page, (old, new), target, keep_source)| Op::Remap { page, old, new, target, keep_source },
    )
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (place(), 1_u64..10, mem()).prop_map(|(place, pages, mem)| Op::Map { place, pages, mem }),
        4 => range().prop_map(|(page, pages)| Op::Unmap { page, pages }),
        4 => (range(), prot())
            .prop_map(|((page, pages), prot)| Op::Protect { page, pages, prot }),
        2 => (range(), flag(), any::<bool>()).prop_map(|((page, pages), flag, give)| {
            let none = MapFlags::empty();
            let (set, clear) = if give { (flag, none) } else { (none, flag) };
            Op::Flags { page, pages, set, clear }
        }),
        8 => (any::<usize>(), inset(), remap()).prop_map(|(nth, inset, op)| {
            Op::Aimed { nth, inset, op: Box::new(op) }
        }),
        2 => remap(),
        2 => (any::<usize>(), inset(), range()).prop_map(|(nth, inset, (page, pages))| {
            Op::Aimed { nth, inset, op: Box::new(Op::Discard { page, pages }) }
        }),
        1 => range().prop_map(|(page, pages)| Op::Discard { page, pages }),
        1 => Just(Op::Mark),
        1 => Just(Op::UnmapNonOriginal),
        1 => Just(Op::Snapshot),
        1 => Just(Op::Restore),
        1 => (prop::option::of(0..=9_usize), prop::option::of(0..=PAGES))
            .prop_map(|(regions, pages)| Op::Limit { regions, pages }),
        1 => Just(Op::Read),
        1 => (any::<u8>(), odd(), odd()).prop_map(|(verb, addr, len)| Op::Odd { verb, addr, len }),
    ]
}

/// Numbers that a hostile guest might pass.
fn odd() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(u64::MAX),
        Just(u64::MAX - 4095),
        Just(1 << 63),
        Just(1 << 47),
        any::<u64>(),
        any::<u64>().prop_map(|n| n & !0xfff),
    ]
}
