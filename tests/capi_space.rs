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
    clippy::option_option,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used,
    reason = "a test that calls what C calls, with live handles and structs: a panic is a failure"
)]

mod model;

use addrspace::capi::addrspace_h::*;
use addrspace::capi::status::Status;
use addrspace::capi::structs::*;
use addrspace::{AddrSpace, Backing, Mapping, OpError, Region, Update};
use model::generate::Numbers;
use model::{Op, Place, Policy, Refusal, Target, run};
use proptest::prelude::*;
use std::ffi::{CStr, c_int, c_void};
use std::ptr::{null, null_mut};

/// A handle that is given back.
struct Handle(*mut Addrspace);

impl Drop for Handle {
    fn drop(&mut self) {
        unsafe { addrspace_destroy(self.0) };
    }
}

impl Handle {
    fn new(start: u64, len: u64, page: u64) -> Self {
        let mut space = null_mut();
        assert_eq!(unsafe { addrspace_create(start, len, page, &raw mut space) }, Status::Ok);
        Self(space)
    }

    fn copy(&self) -> Self {
        let mut copy = null_mut();
        assert_eq!(unsafe { addrspace_clone(self.0, &raw mut copy) }, Status::Ok);
        Self(copy)
    }

    fn regions(&self) -> Vec<AddrspaceRegion> {
        all(|cursor, out| unsafe { addrspace_next_region(self.0, cursor, out) })
    }

    fn error(&self) -> AddrspaceError {
        let mut error = AddrspaceError::NONE;
        assert_eq!(unsafe { addrspace_last_error(self.0, &raw mut error) }, Status::Ok);
        error
    }

    fn message(&self) -> String {
        let mut text = [0x55; 200];
        let len = unsafe { addrspace_error_message(self.0, text.as_mut_ptr(), text.len()) };
        let text = unsafe { CStr::from_ptr(text.as_ptr()) }.to_str().unwrap().to_owned();
        assert_eq!(len, text.len());
        text
    }
}

/// All that an iteration gives.
fn all(
    next: impl Fn(*mut AddrspaceCursor, *mut AddrspaceRegion) -> Status,
) -> Vec<AddrspaceRegion> {
    let (mut cursor, mut region) = (AddrspaceCursor::NONE, AddrspaceRegion::NONE);
    let mut found = Vec::new();
    loop {
        match next(&raw mut cursor, &raw mut region) {
            Status::Ok => found.push(region),
            Status::Nothing => return found,
            other => panic!("{other:?}"),
        }
    }
}

fn region_of(region: &Region<'_>) -> AddrspaceRegion {
    let (backing, handle, offset) = match region.backing {
        Backing::Anonymous => (0, 0, 0),
        Backing::File { file, offset } => (1, *file, offset),
        Backing::Physical { addr } => (2, 0, addr),
        Backing::Tag { handle, value } => (3, *handle, value),
    };
    AddrspaceRegion {
        backing,
        start: region.start(),
        last: region.last(),
        prot: region.prot.bits(),
        flags: region.flags.bits(),
        handle,
        original: u32::from(region.original),
        offset,
        ..AddrspaceRegion::NONE
    }
}

/// An update with all that can be asked about it.
#[derive(Debug, PartialEq)]
struct Seen {
    update: AddrspaceUpdate,
    region: Option<AddrspaceRegion>,
    pieces: Vec<AddrspaceRegion>,
    replaced: Vec<AddrspaceRegion>,
}

fn seen_by_c(update: *const AddrspaceUpdate) -> Seen {
    let mut region = AddrspaceRegion::NONE;
    let is_map = unsafe { addrspace_update_region(update, &raw mut region) } == Status::Ok;
    Seen {
        update: unsafe { *update },
        region: is_map.then_some(region),
        pieces: all(|cursor, out| unsafe { addrspace_update_next_piece(update, cursor, out) }),
        replaced: all(|cursor, out| unsafe { addrspace_update_next_replaced(update, cursor, out) }),
    }
}

fn seen_by_rust(update: Update<'_>) -> Seen {
    let span = update.span();
    let mut c = AddrspaceUpdate { start: span.start(), last: span.last(), ..AddrspaceUpdate::NONE };
    let (mut new, mut over) = (None, None);
    match update {
        Update::Map { region, replaced } => {
            (c.kind, c.prot, c.set) = (0, region.prot.bits(), region.flags.bits());
            (new, over) = (Some(region_of(&region)), Some(replaced));
        }
        Update::Unmap { .. } => c.kind = 1,
        Update::Protect { prot, .. } => (c.kind, c.prot) = (2, prot.bits()),
        Update::Flags { set, clear, .. } => {
            (c.kind, c.set, c.clear) = (3, set.bits(), clear.bits());
        }
        Update::Move { to, keep_source, replaced, .. } => {
            (c.kind, c.to_start, c.to_last) = (4, to.start(), to.last());
            c.keep_source = u32::from(keep_source);
            over = Some(replaced);
        }
    }
    Seen {
        update: c,
        region: new,
        pieces: update.pieces().iter().map(|piece| region_of(&piece)).collect(),
        replaced: over.iter().flatten().map(|piece| region_of(&piece)).collect(),
    }
}

/// A host that keeps what it saw, and refuses as it was told.
struct Host {
    refusal: Option<Refusal>,
    page: u64,
    seen: Vec<Seen>,
}

const CODE: c_int = -77;

impl Host {
    fn new(refusal: Option<Refusal>, page: u64) -> Self {
        Self { refusal, page, seen: Vec::new() }
    }

    /// What to acknowledge up to, if this is the update to refuse.
    fn refuses(&self, start: u64) -> Option<Option<u64>> {
        let refusal = self.refusal.filter(|refusal| refusal.at == self.seen.len())?;
        let made = |pages: u64| start.saturating_add(pages.saturating_mul(self.page));
        Some(refusal.made.map(made))
    }
}

unsafe extern "C" fn host_of_c(update: *const AddrspaceUpdate, user: *mut c_void) -> c_int {
    let host = unsafe { &mut *user.cast::<Host>() };
    let refuses = host.refuses(unsafe { (*update).start });
    host.seen.push(seen_by_c(update));
    match refuses {
        None => 0,
        Some(made) => {
            if let Some(addr) = made {
                assert_eq!(unsafe { addrspace_update_made_to(update, addr) }, Status::Ok);
            }
            CODE
        }
    }
}

fn placement(place: Place) -> AddrspacePlacement {
    let (policy, number) = match place.policy {
        Policy::Lowest => (0, 0),
        Policy::Highest => (1, 0),
        Policy::Nth(n) => (2, n),
        Policy::Random(bits) => (3, bits),
    };
    let (within_start, within_len) = place.within.unwrap_or((0, 0));
    AddrspacePlacement {
        policy,
        options: u32::from(place.hint.is_some()) | (u32::from(place.within.is_some()) << 1),
        number,
        hint: place.hint.unwrap_or(0),
        within_start,
        within_len,
        align: place.align,
        align_offset: place.offset,
        guard_below: place.guard.0,
        guard_above: place.guard.1,
        ..AddrspacePlacement::NONE
    }
}

fn mapping(mapping: &Mapping) -> AddrspaceMapping {
    let (backing, handle, offset) = match mapping.backing {
        Backing::Anonymous => (0, 0, 0),
        Backing::File { file, offset } => (1, file, offset),
        Backing::Physical { addr } => (2, 0, addr),
        Backing::Tag { handle, value } => (3, handle, value),
    };
    let (prot, flags) = (mapping.prot.bits(), mapping.flags.bits());
    AddrspaceMapping { backing, prot, flags, handle, offset, ..AddrspaceMapping::NONE }
}

/// The call of `op` from C, with what it tells in its out-pointer.
fn run_c(space: &Handle, op: &Op, saved: &Handle, host: &mut Host) -> (Status, Option<u64>) {
    let (c, page) = (space.0, host.page);
    let user: *mut c_void = (&raw mut *host).cast();
    let hear: Option<UpdateFn> = Some(host_of_c);
    let mut out = 0;
    let status = unsafe {
        match *op {
            Op::MapAny { len, mapping: ref m, place } => {
                let (m, p) = (mapping(m), placement(place));
                let out = &raw mut out;
                addrspace_map_any(c, len, &raw const m, &raw const p, hear, user, out)
            }
            Op::MapAt { addr, len, mapping: ref m, replace } => {
                let map = if replace { addrspace_map_at } else { addrspace_map_at_no_replace };
                let m = mapping(m);
                map(c, addr, len, &raw const m, hear, user)
            }
            Op::Unmap { addr, len } => addrspace_unmap(c, addr, len, hear, user),
            Op::Protect { addr, len, prot } => {
                addrspace_protect(c, addr, len, prot.bits(), hear, user)
            }
            Op::SetFlags { addr, len, set, clear } => {
                addrspace_set_flags(c, addr, len, set.bits(), clear.bits(), hear, user)
            }
            Op::Remap { addr, old_len, new_len, target, keep_source } => {
                let mut how = AddrspaceRemapping::NONE;
                how.keep_source = u32::from(keep_source);
                let mut place = placement(Place::anywhere(Policy::Lowest));
                match target {
                    Target::InPlace => how.target = 0,
                    Target::Anywhere(there) => (how.target, place) = (1, placement(there)),
                    Target::At(addr) => (how.target, how.to) = (2, addr),
                }
                let (how, place, out) = (&raw const how, &raw const place, &raw mut out);
                addrspace_remap(c, addr, old_len, new_len, how, place, hear, user, out)
            }
            Op::UnmapNonOriginal => addrspace_unmap_non_original(c, hear, user),
            Op::Restore => addrspace_restore(c, saved.0, hear, user),
            Op::MarkOriginal => addrspace_mark_original(c),
            Op::Reset => addrspace_reset(c),
            Op::Limit { pages, regions } => {
                let bytes = pages.and_then(|pages| pages.checked_mul(page));
                let limits = AddrspaceLimits {
                    which: u32::from(bytes.is_some()) | (u32::from(regions.is_some()) << 1),
                    bytes: bytes.unwrap_or(0),
                    regions: regions.unwrap_or(0) as u64,
                    ..AddrspaceLimits::NONE
                };
                addrspace_set_limits(c, &raw const limits)
            }
            Op::Snapshot => Status::Ok,
        }
    };
    let tells = matches!(op, Op::MapAny { .. } | Op::Remap { .. }) && status == Status::Ok;
    (status, tells.then_some(out))
}

/// What C has to answer where Rust answers `result`.
fn compare_answers(c: &Handle, status: Status, result: Result<(), OpError<()>>) {
    match result {
        Ok(()) => assert_eq!(status, Status::Ok),
        Err(OpError::Refused(error)) => {
            assert_eq!(status, Status::from(&error), "{error}");
            assert_eq!(c.error().status, status.number());
            assert_eq!(c.error().sys_errno, error.errno(), "{error}");
            assert_eq!(c.message(), error.to_string());
        }
        Err(OpError::Handler { at, .. }) => {
            assert_eq!(status, Status::Handler);
            assert_eq!((c.error().at, c.error().handler, c.error().sys_errno), (at, CODE, 125));
            assert_eq!(c.message(), format!("the host refused from {at:#x} on: code {CODE}"));
        }
    }
}

fn compare_books(c: &Handle, rust: &AddrSpace) {
    let regions: Vec<_> = rust.regions().map(|region| region_of(&region)).collect();
    assert_eq!(c.regions(), regions);
    let (mut usage, mut limits) = (AddrspaceUsage::NONE, AddrspaceLimits::NONE);
    assert_eq!(unsafe { addrspace_usage_of(c.0, &raw mut usage) }, Status::Ok);
    assert_eq!(usage, rust.usage().into());
    assert_eq!(unsafe { addrspace_limits_of(c.0, &raw mut limits) }, Status::Ok);
    assert_eq!(limits, rust.limits().into());
    let (mut cursor, mut gap, mut gaps) = (AddrspaceCursor::NONE, AddrspaceSpan::NONE, vec![]);
    while unsafe { addrspace_next_gap(c.0, &raw mut cursor, &raw mut gap) } == Status::Ok {
        gaps.push(gap);
    }
    assert_eq!(gaps, rust.gaps().map(AddrspaceSpan::from).collect::<Vec<_>>());
}

/// Looks at both in random places.
fn compare_looks<I: Iterator<Item = u16>>(
    c: &Handle,
    rust: &AddrSpace,
    numbers: &mut Numbers<I>,
    model: &model::Model,
) {
    let (addr, len) = (numbers.addr(model), numbers.len(model));
    let mut region = AddrspaceRegion::NONE;
    let status = unsafe { addrspace_query(c.0, addr, &raw mut region) };
    let found = (status == Status::Ok).then_some(region);
    assert_eq!(found, rust.query(addr).map(|region| region_of(&region)));
    let mut full = false;
    let status = unsafe { addrspace_is_fully_mapped(c.0, addr, len, &raw mut full) };
    assert_eq!((status, full), (Status::Ok, rust.is_fully_mapped(addr, len)));
    if let Some(span) = addrspace::Span::of(addr, len) {
        let mut cursor =
            AddrspaceCursor { next: span.start(), last: span.last(), ..AddrspaceCursor::NONE };
        let mut pieces = Vec::new();
        while unsafe { addrspace_next_region(c.0, &raw mut cursor, &raw mut region) } == Status::Ok
        {
            pieces.push(region);
        }
        let wanted: Vec<_> = rust.regions_in(addr, len).map(|piece| region_of(&piece)).collect();
        assert_eq!(pieces, wanted, "{span}");
    }
    let place = numbers.place(model);
    let mut count = 0;
    let c_place = placement(place);
    let status = unsafe { addrspace_placements(c.0, len, &raw const c_place, &raw mut count) };
    match rust.placements(len, place.placement()) {
        Ok(places) => assert_eq!((status, count), (Status::Ok, places)),
        Err(error) => assert_eq!(status, Status::from(&error)),
    }
}

/// The updates from one space to another, on both sides.
fn compare_ways(c: &Handle, to: &Handle, rust: &AddrSpace, target: &AddrSpace) {
    let mut host = Host::new(None, 1);
    let user = (&raw mut host).cast();
    let status = unsafe { addrspace_diff(c.0, to.0, Some(host_of_c), user) };
    assert_eq!(status, Status::Ok);
    assert_eq!(host.seen, rust.diff(target).unwrap().map(seen_by_rust).collect::<Vec<_>>());
    let mut equal = false;
    assert_eq!(unsafe { addrspace_equal(c.0, to.0, &raw mut equal) }, Status::Ok);
    assert_eq!(equal, rust == target);
}

fn play(space: &[u16], ops: &[Vec<u16>]) {
    let model = Numbers(space.iter().copied()).model();
    let page = u64::try_from(model.page).unwrap();
    let mut rust: AddrSpace = model.space();
    let c = match rust.span() {
        Some(span) if span.len().is_none() => {
            let mut space = null_mut();
            let status = unsafe { addrspace_create_whole(page, &raw mut space) };
            assert_eq!(status, Status::Ok);
            Handle(space)
        }
        Some(span) => Handle::new(span.start(), span.len().unwrap(), page),
        None => Handle::new(u64::try_from(model.start).unwrap(), 0, page),
    };
    let owned = u32::from(model.gaps == addrspace::Gaps::Owned);
    assert_eq!(unsafe { addrspace_set_gaps(c.0, owned) }, Status::Ok);
    let (mut rust_saved, mut c_saved) = (rust.clone(), c.copy());
    for op in ops {
        let mut numbers = Numbers(op.iter().copied());
        let refusal = numbers.refusal();
        let op = numbers.op(&model);
        let (mut of_c, mut of_rust) = (Host::new(refusal, page), Host::new(refusal, page));
        let result = run(&mut rust, &op, &rust_saved, |update| {
            let refuses = of_rust.refuses(update.span().start());
            of_rust.seen.push(seen_by_rust(update));
            let Some(made) = refuses else { return Ok(()) };
            if let Some(addr) = made {
                update.made_to(addr);
            }
            Err(())
        });
        let (status, out) = run_c(&c, &op, &c_saved, &mut of_c);
        assert_eq!(of_c.seen, of_rust.seen, "{op:x?}");
        assert_eq!(out, *result.as_ref().unwrap_or(&None), "{op:x?}");
        compare_answers(&c, status, result.map(|_| ()));
        if matches!(op, Op::Snapshot) {
            (rust_saved, c_saved) = (rust.clone(), c.copy());
        }
        compare_books(&c, &rust);
        compare_looks(&c, &rust, &mut numbers, &model);
        compare_ways(&c, &c_saved, &rust, &rust_saved);
    }
}

fn numbers() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(any::<u16>(), 48)
}

proptest! {
    #[test]
    fn c_and_rust_answer_report_and_record_the_same(
        space in numbers(),
        ops in prop::collection::vec(numbers(), 0..40),
    ) {
        play(&space, &ops);
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
