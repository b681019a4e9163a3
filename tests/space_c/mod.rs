//! The functions of `addrspace.h`, called as C calls them, beside the same calls in Rust:
//! the same answers, the same updates with the same pieces, the same books.

#![allow(
    unsafe_code,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::multiple_unsafe_ops_per_block,
    clippy::option_option,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "calls what C calls, with live handles and structs: a panic is a failure"
)]

use super::model::generate::Numbers;
use super::model::{self, Op, Pair, Place, Policy, Refusal, Target, run};
use addrspace::capi::addrspace_h::*;
use addrspace::capi::status::Status;
use addrspace::capi::structs::*;
use addrspace::{AddrSpace, Backing, Mapping, OpError, Region, Update};
use std::ffi::{CStr, c_int, c_void};
use std::ptr::null_mut;

/// A handle that is given back.
pub struct Handle(pub *mut Addrspace);

impl Drop for Handle {
    fn drop(&mut self) {
        unsafe { addrspace_destroy(self.0) };
    }
}

impl Handle {
    pub fn new(start: u64, len: u64, page: u64) -> Self {
        let mut space = null_mut();
        assert_eq!(unsafe { addrspace_create(start, len, page, &raw mut space) }, Status::Ok);
        Self(space)
    }

    pub fn copy(&self) -> Self {
        let mut copy = null_mut();
        assert_eq!(unsafe { addrspace_clone(self.0, &raw mut copy) }, Status::Ok);
        Self(copy)
    }

    pub fn regions(&self) -> Vec<AddrspaceRegion> {
        all(|cursor, out| unsafe { addrspace_next_region(self.0, cursor, out) })
    }

    pub fn error(&self) -> AddrspaceError {
        let mut error = AddrspaceError::NONE;
        assert_eq!(unsafe { addrspace_last_error(self.0, &raw mut error) }, Status::Ok);
        error
    }

    pub fn message(&self) -> String {
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

/// Maps in C what there is in Rust.
fn furnish(c: &Handle, rust: &AddrSpace) {
    let (marked, others): (Vec<_>, Vec<_>) = rust.regions().partition(|region| region.original);
    for region in &marked {
        map(c, region);
    }
    assert_eq!(unsafe { addrspace_mark_original(c.0) }, Status::Ok);
    for region in &others {
        map(c, region);
    }
    compare_books(c, rust);
}

fn map(c: &Handle, region: &Region<'_>) {
    let mapping = mapping(&region.mapping());
    let (start, len) = (region.start(), region.len().unwrap());
    let answer = unsafe { addrspace_map_at(c.0, start, len, &raw const mapping, None, null_mut()) };
    assert_eq!(answer, Status::Ok);
}

/// Does on both sides what the numbers say, those of the space and those of each call, and
/// compares after each.
pub fn play<I: Iterator<Item = u16>>(
    space: &mut Numbers<I>,
    calls: impl IntoIterator<Item = Numbers<I>>,
) {
    let Pair { model, space: mut rust, .. } = space.pair::<u32>();
    let page = u64::try_from(model.page).unwrap();
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
    furnish(&c, &rust);
    let (mut rust_saved, mut c_saved) = (rust.clone(), c.copy());
    for mut numbers in calls {
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
