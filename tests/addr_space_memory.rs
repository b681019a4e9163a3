//! Memory that cannot be had: an allocator that fails where the test says.
#![allow(unsafe_code, reason = "a global allocator is unsafe")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test"
)]

mod model;

use addrspace::{AddrSpace, Error, MapFlags, Mapping, OpError, Prot, ignore};
use model::{Op, Place, Policy, Target, run};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;

thread_local! {
    /// After how many allocations one fails.
    static FUSE: Cell<Option<u64>> = const { Cell::new(None) };
    /// How many have failed.
    static FAILED: Cell<u64> = const { Cell::new(0) };
    /// Whether to count, and how many there were.
    static COUNTED: Cell<Option<u64>> = const { Cell::new(None) };
}

struct Failing;

impl Failing {
    fn fails() -> bool {
        COUNTED.set(COUNTED.get().map(|count| count + 1));
        let fuse = FUSE.get();
        FUSE.set(fuse.and_then(|left| left.checked_sub(1)));
        let fails = fuse == Some(0);
        FAILED.set(FAILED.get() + u64::from(fails));
        fails
    }
}

// SAFETY: It is the system's allocator, or answers that there is no memory.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if Self::fails() {
            return ptr::null_mut();
        }
        // SAFETY: The caller's promises are those that are asked here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: The caller's promises are those that are asked here.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if Self::fails() {
            return ptr::null_mut();
        }
        // SAFETY: The caller's promises are those that are asked here.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Failing = Failing;

const PAGE: u64 = 0x1000;

/// A space with so many regions of two pages each, a page between them.
fn space(regions: u64) -> AddrSpace {
    let mut space = AddrSpace::new(0, (3 * regions + 64) * PAGE, PAGE).unwrap();
    for i in 0..regions {
        let prot = if i % 2 == 0 { Prot::READ } else { Prot::READ | Prot::WRITE };
        space.map_at(3 * i * PAGE, 2 * PAGE, Mapping::file(prot, 1, 0).shared(), ignore).unwrap();
        if i == regions / 2 {
            space.mark_original();
        }
    }
    space
}

fn ops(regions: u64) -> Vec<Op> {
    let mapping = Mapping::anonymous(Prot::EXEC);
    let anywhere = Place {
        policy: Policy::Highest,
        hint: None,
        within: None,
        align: 1,
        offset: 0,
        guard: (0, 0),
    };
    let (middle, end) = (3 * (regions / 2) * PAGE, (3 * regions + 2) * PAGE);
    let remap = |addr, old_len, new_len, target, keep_source| Op::Remap {
        addr,
        old_len,
        new_len,
        target,
        keep_source,
    };
    vec![
        Op::MapAny { len: PAGE, mapping, place: anywhere },
        Op::MapAt { addr: middle, len: PAGE, mapping, replace: true },
        Op::MapAt { addr: middle + 2 * PAGE, len: PAGE, mapping, replace: false },
        Op::Unmap { addr: middle, len: PAGE },
        Op::Unmap { addr: 0, len: middle + PAGE },
        Op::Protect { addr: middle + PAGE, len: PAGE, prot: Prot::empty() },
        Op::Protect { addr: PAGE, len: middle, prot: Prot::empty() },
        Op::SetFlags { addr: PAGE, len: PAGE, set: MapFlags::LOCKED, clear: MapFlags::empty() },
        Op::UnmapNonOriginal,
        Op::Restore,
        remap(middle, 2 * PAGE, PAGE, Target::InPlace, false),
        remap(middle, 2 * PAGE, 3 * PAGE, Target::InPlace, false),
        remap(middle, 2 * PAGE, 4 * PAGE, Target::Anywhere(anywhere), false),
        remap(0, 40 * PAGE, 40 * PAGE, Target::At(end), false),
        remap(0, 40 * PAGE, 40 * PAGE, Target::At(end), true),
        remap(middle, 0, PAGE, Target::At(PAGE), false),
    ]
}

#[test]
fn memory_that_cannot_be_had_is_an_error_and_changes_nothing() {
    for regions in [16, 31, 200, 1000] {
        let full = space(regions);
        for op in ops(regions) {
            for fuse in 0.. {
                // A clone has room to spare or has not; it must not matter.
                let mut space = full.clone();
                let mut updates = 0;
                let failed = FAILED.get();
                FUSE.set(Some(fuse));
                let result = run(&mut space, &op, &space_to_restore(regions), |_| {
                    updates += 1;
                    Ok(())
                });
                FUSE.set(None);
                if FAILED.get() == failed {
                    result.unwrap();
                    break;
                }
                assert!(
                    matches!(result, Err(OpError::Refused(Error::NoMemory { .. }))),
                    "{op:?}: {result:?}"
                );
                assert_eq!(updates, 0, "{op:?}");
                assert!(space == full, "{op:?} without memory has changed something");
                space.check();
            }
        }
    }
}

/// A space of the same geometry with something else in it.
fn space_to_restore(regions: u64) -> AddrSpace {
    // Made without the fuse, which is for the verb.
    let fuse = FUSE.replace(None);
    let mut space = AddrSpace::new(0, (3 * regions + 64) * PAGE, PAGE).unwrap();
    for i in 0..20 {
        space.map_at(5 * i * PAGE, 2 * PAGE, Mapping::anonymous(Prot::READ), ignore).unwrap();
    }
    FUSE.set(fuse);
    space
}

#[test]
fn nothing_is_allocated_after_the_first_update() {
    for regions in [16, 31, 200, 1000] {
        let full = space(regions);
        let saved = space_to_restore(regions);
        for op in ops(regions) {
            let mut space = full.clone();
            let mut refused = full.clone();
            run(&mut space, &op, &saved, |_| {
                COUNTED.set(Some(COUNTED.get().unwrap_or(0)));
                Ok(())
            })
            .unwrap();
            assert_eq!(COUNTED.take().unwrap_or(0), 0, "{op:?} allocates to record");

            let result = run(&mut refused, &op, &saved, |update| {
                COUNTED.set(Some(COUNTED.get().unwrap_or(0)));
                update.made_to(update.span().start() + PAGE);
                Err(())
            });
            assert!(result.is_err());
            assert_eq!(COUNTED.take().unwrap_or(0), 0, "{op:?} allocates to record a part");
        }
    }
}

#[test]
fn the_common_verbs_allocate_nothing_where_there_is_room() {
    let mut space = space(8);
    let mapping = Mapping::anonymous(Prot::READ);
    // Makes what room there is.
    space.map_at(27 * PAGE, PAGE, mapping, ignore).unwrap();
    space.unmap(27 * PAGE, PAGE, ignore).unwrap();
    COUNTED.set(Some(0));
    for _ in 0..100 {
        space.map_at(27 * PAGE, PAGE, mapping, ignore).unwrap();
        space.protect(27 * PAGE, PAGE, Prot::EXEC, ignore).unwrap();
        space.unmap(27 * PAGE, PAGE, ignore).unwrap();
    }
    assert_eq!(COUNTED.take(), Some(0));
}
