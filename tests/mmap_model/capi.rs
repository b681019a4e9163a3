//! The functions for C behind the words of the model, and both in step.

#![allow(
    unsafe_code,
    clippy::as_conversions,
    clippy::multiple_unsafe_ops_per_block,
    reason = "calls what C calls, all of it with the same handle"
)]

use super::{Answer, Mmap, Model, Op, Run, Tell};
use addrspace::capi::mmap_c::{
    MMapAddrSpace, MMapInfo, MMapUpdateFn, mmap_create, mmap_destroy, mmap_enable_aslr,
    mmap_map_any, mmap_map_at, mmap_mark_original, mmap_protect, mmap_query_page, mmap_reset,
    mmap_unmap, mmap_unmap_non_original,
};
use std::ffi::c_void;

/// Where the space lies, and its pages.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub start: usize,
    pub len: usize,
    pub page: usize,
}

impl Place {
    pub fn first(self) -> usize {
        self.start - self.start % self.page
    }
}

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

/// Makes the calls on both, and compares after each what was seen and every page.
pub fn play(Place { start, len, page }: Place, calls: &[Op], reactions: &[Vec<Op>]) {
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
