//! The functions of `mmap_c.h`, called as C calls them, against libmmap page by page:
//! random calls whose callbacks make further calls, three deep.

#![cfg(feature = "capi")]
#![allow(
    unsafe_code,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::multiple_unsafe_ops_per_block,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test that calls what C calls: a panic is a failure"
)]

mod mmap_model;

use addrspace::capi::mmap_c::{
    MMapAddrSpace, MMapInfo, MMapUpdateFn, mmap_create, mmap_destroy, mmap_enable_aslr,
    mmap_map_any, mmap_map_at, mmap_mark_original, mmap_protect, mmap_query_page, mmap_reset,
    mmap_unmap, mmap_unmap_non_original,
};
use mmap_model::{Answer, Mmap, Model, Op, Run, Tell};
use proptest::collection::vec;
use proptest::prelude::*;
use std::ffi::c_void;

/// The functions for C behind the words of the model.
struct Capi(*mut MMapAddrSpace);

impl Drop for Capi {
    fn drop(&mut self) {
        // SAFETY: nobody else has the handle.
        unsafe { mmap_destroy(self.0) };
    }
}

unsafe extern "C" fn hear(start: usize, len: usize, info: MMapInfo, tell: *mut c_void) {
    // SAFETY: `call` passes a pointer to its `tell`.
    let tell = unsafe { *tell.cast::<Tell<'_>>() };
    tell(start, len, info);
}

impl Mmap for Capi {
    fn call(&self, op: &Op, tell: Tell<'_>) -> Answer {
        let mm = self.0;
        let mut tell = tell;
        let udata: *mut c_void = (&raw mut tell).cast();
        let ufn = |told| -> Option<MMapUpdateFn> { if told { Some(hear) } else { None } };
        // SAFETY: the handle is alive, `hear` may be called with `udata`, and `info` has
        // its place.
        unsafe {
            match *op {
                Op::Any { hint, len, info: MMapInfo { prot, flags, fd, offset, .. } } => {
                    Answer::Addr(mmap_map_any(mm, hint, len, prot, flags, fd, offset))
                }
                Op::At { addr, len, info: MMapInfo { prot, flags, fd, offset, .. }, told } => {
                    let told = ufn(told);
                    Answer::Addr(mmap_map_at(mm, addr, len, prot, flags, fd, offset, told, udata))
                }
                Op::Unmap { addr, len, told } => {
                    Answer::Error(mmap_unmap(mm, addr, len, ufn(told), udata) as i32)
                }
                Op::Protect { addr, len, prot, told } => {
                    Answer::Error(mmap_protect(mm, addr, len, prot, ufn(told), udata) as i32)
                }
                Op::Query { addr } => {
                    let mut info = INFO;
                    let mapped = mmap_query_page(mm, addr, &raw mut info);
                    Answer::Info(mapped.then_some(info))
                }
                Op::Mark => {
                    mmap_mark_original(mm);
                    Answer::Nothing
                }
                Op::UnmapNonOriginal { told } => {
                    mmap_unmap_non_original(mm, ufn(told), udata);
                    Answer::Nothing
                }
                Op::Reset => {
                    mmap_reset(mm);
                    Answer::Nothing
                }
                Op::Random { seed } => {
                    mmap_enable_aslr(mm, seed);
                    Answer::Nothing
                }
            }
        }
    }
}

const INFO: MMapInfo = MMapInfo { prot: 0, flags: 0, fd: 0, offset: 0, original: false };

/// Where the space lies, and its pages.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: usize,
    len: usize,
    page: usize,
}

impl Place {
    fn first(self) -> usize {
        self.start - self.start % self.page
    }
}

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

/// Plays a script on both, and compares after each call what was seen and every page.
fn play((place, calls, reactions): &Script) {
    let Place { start, len, page } = *place;
    let capi = Capi(mmap_create(start, len, page));
    assert!(!capi.0.is_null());
    let model = Model::new(start, len, page);
    let (of_c, of_model) = (Run::new(&capi, reactions), Run::new(&model, reactions));
    for op in calls {
        of_c.call(op);
        of_model.call(op);
        assert_eq!(of_c.seen.take(), of_model.seen.take(), "{op:x?}");
        for page in 0..model.len() {
            let query = Op::Query { addr: model.addr(page) };
            let silent: Tell<'_> = &|_, _, _| ();
            assert_eq!(
                capi.call(&query, silent),
                model.call(&query, silent),
                "page {page} after {op:x?}"
            );
        }
    }
}

proptest! {
    #[test]
    fn c_answers_like_libmmap_page_by_page(script in scripts()) {
        play(&script);
    }
}
