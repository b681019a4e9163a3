//! The functions of `mmap_c.h`, called through pointers as a C program calls them.
#![allow(unsafe_code, reason = "C functions are unsafe to call")]

use std::ffi::c_void;
use std::hint::black_box;

use addrspace::capi::mmap_c::{
    MMapError, MMapInfo, mmap_create, mmap_destroy, mmap_map_at, mmap_query_page, mmap_unmap,
};

use crate::books::Mapping;
use crate::layout::{Dice, Layout, PAGE};
use crate::rows::{COUNT, Rows};
use crate::scripts::{self, Spot};

unsafe extern "C" fn hear(_start: usize, len: usize, _info: MMapInfo, told: *mut c_void) {
    // SAFETY: every call below passes a number that nobody else uses meanwhile.
    unsafe { *told.cast::<usize>() += len };
}

pub fn all(rows: &Rows) {
    let mappings = rows.mappings;
    let layout = Layout::new(mappings, PAGE);
    let mut dice = Dice(77);
    let len = layout.ranges()[mappings - 1].end + PAGE;
    let mm = mmap_create(0, len as usize, PAGE as usize);
    assert!(!mm.is_null());
    // The compiler cannot see through these.
    let (map_at, unmap) = (black_box(mmap_map_at), black_box(mmap_unmap));
    let query = black_box(mmap_query_page);

    let mut heard = 0usize;
    let map = |told: *mut c_void, &Spot { addr, len, mapping }: &Spot| {
        let (prot, flags) = (mapping.prot.cast_signed(), mapping.flags.cast_signed());
        let (fd, offset) = (Mapping::HANDLE.cast_signed(), mapping.word.cast_signed());
        let (addr, len) = (addr as usize, len as usize);
        // SAFETY: the handle is alive, and `hear` may be called with `told`.
        let got = unsafe { map_at(mm, addr, len, prot, flags, fd, offset, Some(hear), told) };
        assert_eq!(got, addr);
    };
    let told = (&raw mut heard).cast::<c_void>();
    for at in layout.scattered() {
        map(told, &Spot::new(layout.mapping(at)));
    }

    let script = scripts::finds(&layout, &mut dice, COUNT);
    let mut info = MMapInfo { prot: 0, flags: 0, fd: 0, offset: 0, original: false };
    rows.row("query_page", &script, |addr| {
        // SAFETY: the handle is alive, and the answer has its place.
        assert!(unsafe { query(mm, *addr as usize, &raw mut info) });
        info.offset.cast_unsigned()
    });
    let script = scripts::spots(&layout, &mut dice, COUNT);
    rows.row("unmap+map_at", &script, |spot| {
        // SAFETY: the handle is alive, and `hear` may be called with `told`.
        let got = unsafe { unmap(mm, spot.addr as usize, spot.len as usize, Some(hear), told) };
        assert_eq!(got, MMapError::Ok);
        map(told, spot);
        0
    });
    let unmapped: u64 = script.iter().map(|spot| spot.len).sum();
    assert_eq!(heard as u64, unmapped, "each mapping that went was told, and nothing else");
    // SAFETY: nobody else has the handle.
    unsafe { mmap_destroy(mm) };
}
