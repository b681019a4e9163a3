//! The functions of `mmap_c.h`, called as C calls them, against libmmap page by page:
//! random calls whose callbacks make further calls, three deep.

#![cfg(feature = "capi")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test that calls what C calls: a panic is a failure"
)]

mod mmap_model;

use addrspace::capi::mmap_c::MMapInfo;
use mmap_model::Op;
use mmap_model::capi::{Place, play};
use proptest::collection::vec;
use proptest::prelude::*;

fn places() -> impl Strategy<Value = Place> {
    let place = |start, len, page| Just(Place { start, len, page });
    prop_oneof![
        4 => place(0x10000, 24 * 0x1000, 0x1000),
        1 => place(0x10123, 90 * 0x1000 - 5, 0x1000),
        1 => place(0, 17, 1),
        1 => place(usize::MAX - 0x1_ffff, 0x2_0000, 0x2000),
        1 => place(0x4000, 0, 0x1000),
    ]
}

fn addr(place: Place) -> impl Strategy<Value = usize> {
    let pages = place.len.div_ceil(place.page);
    let page = move |at: usize| place.first().wrapping_add(at.wrapping_mul(place.page));
    prop_oneof![
        12 => (0..=pages).prop_map(page),
        1 => (0..=pages).prop_map(move |at| page(at).wrapping_add(1)),
        1 => (0..4_usize).prop_map(move |at| page(pages + at)),
        1 => prop_oneof![Just(0), Just(usize::MAX), Just(page(usize::MAX)), any::<usize>()],
    ]
}

fn len(place: Place) -> impl Strategy<Value = usize> {
    let bytes = move |pages: usize| pages.wrapping_mul(place.page);
    prop_oneof![
        10 => (1..8_usize).prop_map(bytes),
        2 => (1..8_usize).prop_map(move |pages| bytes(pages) - place.page / 2),
        1 => Just(place.len),
        1 => prop_oneof![Just(0), Just(usize::MAX), Just(0_usize.wrapping_sub(place.page))],
    ]
}

fn infos() -> impl Strategy<Value = MMapInfo> {
    (1..4_i32, 0..2_i32, prop_oneof![4 => Just(-1), 1 => Just(3)], 0..2_i64)
        .prop_map(|(prot, flags, fd, offset)| MMapInfo { prot, flags, fd, offset, original: false })
}

fn ops(place: Place) -> impl Strategy<Value = Op> {
    let told = || prop::bool::weighted(0.8);
    let hint = prop_oneof![2 => Just(0), 1 => addr(place)];
    prop_oneof![
        3 => (hint, len(place), infos()).prop_map(|(hint, len, info)| Op::Any { hint, len, info }),
        4 => (addr(place), len(place), infos(), told())
            .prop_map(|(addr, len, info, told)| Op::At { addr, len, info, told }),
        3 => (addr(place), len(place), told())
            .prop_map(|(addr, len, told)| Op::Unmap { addr, len, told }),
        3 => (addr(place), len(place), 1..4_i32, told())
            .prop_map(|(addr, len, prot, told)| Op::Protect { addr, len, prot, told }),
        1 => addr(place).prop_map(|addr| Op::Query { addr }),
        1 => Just(Op::Mark),
        1 => told().prop_map(|told| Op::UnmapNonOriginal { told }),
        1 => any::<u64>().prop_map(|seed| Op::Random { seed }),
        1 => Just(Op::Reset),
    ]
}

type Script = (Place, Vec<Op>, Vec<Vec<Op>>);

fn scripts() -> impl Strategy<Value = Script> {
    places().prop_flat_map(|place| {
        (Just(place), vec(ops(place), 1..24), vec(vec(ops(place), 0..3), 0..24))
    })
}

proptest! {
    #[test]
    fn c_answers_like_libmmap_page_by_page(script in scripts()) {
        let (place, calls, reactions) = &script;
        play(*place, calls, reactions);
    }
}
