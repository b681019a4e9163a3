//! The functions of `addrspace.h`, called as C calls them, beside the same calls in Rust:
//! the same answers, the same updates with the same pieces, the same books.

#![cfg(feature = "capi")]
#![allow(
    unsafe_code,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::multiple_unsafe_ops_per_block,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used,
    reason = "a test that calls what C calls, with live handles and structs: a panic is a failure"
)]

mod model;
mod space_c;

use addrspace::capi::addrspace_h::*;
use addrspace::capi::status::Status;
use addrspace::capi::structs::*;
use model::generate::Numbers;
use proptest::prelude::*;
use space_c::{Handle, play};
use std::ffi::{CStr, c_int, c_void};
use std::ptr::{null, null_mut};

fn numbers() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(any::<u16>(), 48)
}

proptest! {
    #[test]
    fn c_and_rust_answer_report_and_record_the_same(
        space in numbers(),
        ops in prop::collection::vec(numbers(), 0..40),
    ) {
        let mut space = Numbers(space.into_iter());
        play(&mut space, ops.into_iter().map(|op| Numbers(op.into_iter())));
    }
}

const RW: AddrspaceMapping = AddrspaceMapping { prot: 3, ..AddrspaceMapping::NONE };

/// Calls everything on the space that is changed.
unsafe extern "C" fn call_back(update: *const AddrspaceUpdate, user: *mut c_void) -> c_int {
    let space: *mut Addrspace = user.cast();
    let (mut region, mut cursor) = (AddrspaceRegion::NONE, AddrspaceCursor::NONE);
    let (mut out, mut flag, mut copy) = (0, false, null_mut());
    let (region, cursor, flag) = (&raw mut region, &raw mut cursor, &raw mut flag);
    let answers = unsafe {
        [
            addrspace_map_any(space, 1, &RW, null(), None, null_mut(), &raw mut out),
            addrspace_map_at(space, 0, 1, &RW, None, null_mut()),
            addrspace_unmap(space, 0, 1, None, null_mut()),
            addrspace_protect(space, 0, 1, 1, None, null_mut()),
            addrspace_reset(space),
            addrspace_mark_original(space),
            addrspace_unmap_non_original(space, None, null_mut()),
            addrspace_restore(space, space, None, null_mut()),
            addrspace_query(space, 0, region),
            addrspace_next_region(space, cursor, region),
            addrspace_is_fully_mapped(space, 0, 1, flag),
            addrspace_equal(space, space, flag),
            addrspace_clone(space, &raw mut copy),
        ]
    };
    assert!(answers.iter().all(|answer| *answer == Status::Busy), "{answers:?}");
    assert!(copy.is_null());
    assert_eq!(unsafe { addrspace_page_size(space) }, 0);
    // What was handed in can be asked.
    assert_eq!(unsafe { addrspace_update_region(update, region) }, Status::Ok);
    0
}

#[test]
fn a_space_is_busy_while_its_host_is_asked() {
    let space = Handle::new(0, 0x10000, 0x1000);
    let user = space.0.cast();
    let answer = unsafe { addrspace_map_at(space.0, 0, 0x1000, &RW, Some(call_back), user) };
    assert_eq!(answer, Status::Ok);
    assert_eq!(space.regions().len(), 1);
}

unsafe extern "C" fn keep_first(region: *const AddrspaceRegion, space: *mut c_void) -> c_int {
    let mut found = AddrspaceRegion::NONE;
    let space: *mut Addrspace = space.cast();
    let region = unsafe { *region };
    // A fork only looks: so may its callback.
    assert_eq!(unsafe { addrspace_query(space, region.start, &raw mut found) }, Status::Ok);
    assert_eq!(found, region);
    assert_eq!(unsafe { addrspace_reset(space) }, Status::Busy);
    c_int::from(region.start == 0)
}

#[test]
fn a_fork_has_what_was_wanted() {
    let space = Handle::new(0, 0x10000, 0x1000);
    for addr in [0, 0x4000, 0x8000] {
        let answer = unsafe { addrspace_map_at(space.0, addr, 1, &RW, None, null_mut()) };
        assert_eq!(answer, Status::Ok);
    }
    let mut child = null_mut();
    let user = space.0.cast();
    let answer = unsafe { addrspace_fork(space.0, Some(keep_first), user, &raw mut child) };
    assert_eq!(answer, Status::Ok);
    let child = Handle(child);
    assert_eq!(child.regions().iter().map(|region| region.start).collect::<Vec<_>>(), [0]);
    assert_eq!(space.regions().len(), 3);
}

#[test]
fn no_pointer_is_no_crash() {
    let space = Handle::new(0, 0x10000, 0x1000);
    let (mut region, mut out) = (AddrspaceRegion::NONE, 0);
    let mut equal = false;
    let answers = unsafe {
        addrspace_destroy(null_mut());
        assert_eq!(addrspace_page_size(null()), 0);
        assert_eq!(addrspace_error_message(null(), null_mut(), 9), 0);
        assert_eq!(addrspace_error_message(space.0, null_mut(), 9), 0);
        [
            addrspace_create(0, 0x1000, 0x1000, null_mut()),
            addrspace_create_whole(0x1000, null_mut()),
            addrspace_clone(space.0, null_mut()),
            addrspace_clone(null(), null_mut()),
            addrspace_reset(null_mut()),
            addrspace_map_any(space.0, 1, null(), null(), None, null_mut(), &raw mut out),
            addrspace_map_any(space.0, 1, &RW, null(), None, null_mut(), null_mut()),
            addrspace_map_at(space.0, 0, 1, null(), None, null_mut()),
            addrspace_remap(space.0, 0, 1, 1, null(), null(), None, null_mut(), &raw mut out),
            addrspace_restore(space.0, null(), None, null_mut()),
            addrspace_restore(null_mut(), space.0, None, null_mut()),
            addrspace_equal(space.0, null(), &raw mut equal),
            addrspace_equal(space.0, space.0, null_mut()),
            addrspace_bounds(space.0, null_mut()),
            addrspace_next_region(space.0, null_mut(), &raw mut region),
            addrspace_usage_of(space.0, null_mut()),
            addrspace_set_limits(space.0, null()),
            addrspace_update_made_to(null(), 0),
            addrspace_update_region(null(), &raw mut region),
            addrspace_last_error(null(), null_mut()),
            addrspace_last_error(space.0, null_mut()),
        ]
    };
    assert!(answers.iter().all(|answer| *answer == Status::Null), "{answers:?}");
    assert!(space.regions().is_empty());
}

#[test]
fn numbers_that_name_no_choice_are_refused() {
    let space = Handle::new(0, 0x10000, 0x1000);
    let map = |mapping: AddrspaceMapping| unsafe {
        addrspace_map_at(space.0, 0, 1, &raw const mapping, None, null_mut())
    };
    assert_eq!(map(AddrspaceMapping { backing: 4, ..RW }), Status::Argument);
    assert_eq!(map(AddrspaceMapping { reserved: 1, ..RW }), Status::Struct);
    let place = |place: AddrspacePlacement| unsafe {
        let mut count = 0;
        addrspace_placements(space.0, 1, &raw const place, &raw mut count)
    };
    let none = AddrspacePlacement::NONE;
    assert_eq!(place(AddrspacePlacement { policy: 4, ..none }), Status::Argument);
    assert_eq!(place(AddrspacePlacement { options: 4, ..none }), Status::Argument);
    assert_eq!(place(AddrspacePlacement { reserved: 1, ..none }), Status::Struct);
    let remap = |how: AddrspaceRemapping| unsafe {
        let mut out = 0;
        let how = &raw const how;
        addrspace_remap(space.0, 0, 1, 1, how, null(), None, null_mut(), &raw mut out)
    };
    let none = AddrspaceRemapping::NONE;
    assert_eq!(remap(AddrspaceRemapping { target: 3, ..none }), Status::Argument);
    assert_eq!(remap(AddrspaceRemapping { keep_source: 2, ..none }), Status::Argument);
    assert_eq!(remap(AddrspaceRemapping { reserved: 1, ..none }), Status::Struct);
    let limits = AddrspaceLimits { which: 4, ..AddrspaceLimits::NONE };
    let set = unsafe { addrspace_set_limits(space.0, &raw const limits) };
    assert_eq!(set, Status::Argument);
    assert_eq!(unsafe { addrspace_set_gaps(space.0, 2) }, Status::Argument);
    assert_eq!(space.error().sys_errno, 22);
    assert!(space.regions().is_empty());
}

/// A struct of a program that is older or newer than the library.
#[repr(C)]
struct Other {
    mapping: AddrspaceMapping,
    more: [u32; 4],
}

#[test]
fn structs_grow_in_both_directions() {
    let space = Handle::new(0, 0x10000, 0x1000);
    let map = |size: usize, more: [u32; 4]| {
        let mut other = Other { mapping: RW, more };
        other.mapping.size = u32::try_from(size).unwrap();
        let what: *const Other = &raw const other;
        unsafe { addrspace_map_at(space.0, 0, 1, what.cast(), None, null_mut()) }
    };
    let known = size_of::<AddrspaceMapping>();
    assert_eq!(map(known, [9; 4]), Status::Ok);
    assert_eq!(map(known + 16, [0; 4]), Status::Ok);
    assert_eq!(map(known + 16, [0, 0, 0, 1 << 24]), Status::Struct);
    assert_eq!(map(known - 1, [0; 4]), Status::Struct);
    assert_eq!(map(0, [0; 4]), Status::Struct);
    assert_eq!(space.error().sys_errno, 7);

    // What the program does not know is not written, nor is what the library does not.
    let mut usage = [u64::MAX; 8];
    for (words, written) in [(6, 6), (8, 6), (5, 0)] {
        usage.fill(u64::MAX);
        let out: *mut u64 = usage.as_mut_ptr();
        unsafe { out.cast::<u32>().write(words * 8) };
        let status = unsafe { addrspace_usage_of(space.0, out.cast()) };
        assert_eq!(status, if written == 0 { Status::Struct } else { Status::Ok });
        assert!(usage[written.max(1)..].iter().all(|word| *word == u64::MAX));
    }
}

#[test]
fn messages_are_cut_like_those_of_snprintf() {
    let space = Handle::new(0, 0x10000, 0x1000);
    assert_eq!(space.message(), "");
    let answer = unsafe { addrspace_unmap(space.0, 0x800, 0x1000, None, null_mut()) };
    assert_eq!(answer, Status::Unaligned);
    let whole = "cannot unmap 0x1000 bytes at 0x800: the address is not page-aligned";
    assert_eq!(space.message(), whole);
    for cap in 0..=whole.len() + 2 {
        let mut text = vec![0x55; whole.len() + 3];
        let len = unsafe { addrspace_error_message(space.0, text.as_mut_ptr(), cap) };
        assert_eq!(len, whole.len());
        assert!(text[cap..].iter().all(|byte| *byte == 0x55), "no more than {cap} bytes");
        if cap > 0 {
            let text = unsafe { CStr::from_ptr(text.as_ptr()) }.to_str().unwrap();
            assert_eq!(text, &whole[..whole.len().min(cap - 1)]);
        }
    }
}

#[test]
fn what_is_no_space_is_told_without_one() {
    let create = |start, len, page| {
        let mut space: *mut Addrspace = std::ptr::dangling_mut();
        let status = unsafe { addrspace_create(start, len, page, &raw mut space) };
        assert!(space.is_null());
        status
    };
    assert_eq!(create(0, 0x1000, 0), Status::PageSize);
    assert_eq!(create(0x800, 0x1000, 0x1000), Status::Geometry);
    assert_eq!(create(u64::MAX - 0xfff, 0x2000, 0x1000), Status::Geometry);
    for (nth, status) in Status::ALL.iter().enumerate() {
        assert_eq!(status.number(), nth as i32, "the numbers do not change");
        let text = unsafe { CStr::from_ptr(addrspace_status_text(status.number())) };
        assert!(!text.is_empty());
    }
    let text = |status| unsafe { CStr::from_ptr(addrspace_status_text(status)) };
    assert_eq!(text(Status::NoRoom.number()), c"there is no room");
    assert_eq!((text(-1), text(1000)), (c"no status", c"no status"));
    let version = unsafe { CStr::from_ptr(addrspace_version()) };
    assert_eq!(version.to_str(), Ok(env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_diff_and_a_restore_of_other_spaces_are_refused() {
    let (space, other) = (Handle::new(0, 0x10000, 0x1000), Handle::new(0, 0x20000, 0x1000));
    let restored = unsafe { addrspace_restore(space.0, other.0, None, null_mut()) };
    let told = unsafe { addrspace_diff(space.0, other.0, None, null_mut()) };
    assert_eq!((restored, told), (Status::OtherGeometry, Status::OtherGeometry));
}
