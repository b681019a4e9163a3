//! How much memory the books take, and when they ask for it; `tests/no_memory` has what
//! happens where there is none.
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

use addrspace::{AddrSpace, Error, MapFlags, Mapping, Prot, Remap, ignore};
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
    /// Bytes that this thread has not given back yet, which wrap where another thread
    /// gives back what this one took.
    static LIVE: Cell<usize> = const { Cell::new(0) };
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
        LIVE.set(LIVE.get().wrapping_add(layout.size()));
        // SAFETY: The caller's promises are those that are asked here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get().wrapping_sub(layout.size()));
        // SAFETY: The caller's promises are those that are asked here.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if Self::fails() {
            return ptr::null_mut();
        }
        LIVE.set(LIVE.get().wrapping_add(new_size).wrapping_sub(layout.size()));
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
    let anywhere = Place::anywhere(Policy::Highest);
    let (middle, end) = (3 * (regions / 2) * PAGE, (3 * regions + 2) * PAGE);
    let remap = |addr, old, new, target, keep| Op::remap(addr, [old, new], target, keep);
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

/// What `make` makes, and the bytes of heap that it takes.
fn weighed<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    let result = make();
    (result, LIVE.get().wrapping_sub(before))
}

#[test]
fn an_empty_space_takes_nothing_from_the_heap() {
    COUNTED.set(Some(0));
    let mut space: AddrSpace = AddrSpace::whole(PAGE).unwrap();
    space.mark_original();
    assert!(space.query(PAGE).is_none());
    let copies = [space.clone(), space.fork(|_| true)];
    // Guests unmap and protect what is not there.
    space.unmap(0, PAGE, ignore).unwrap();
    space.protect(0, PAGE, Prot::READ, ignore).unwrap();
    space.set_flags(0, PAGE, MapFlags::LOCKED, MapFlags::empty(), ignore).unwrap();
    space.unmap_non_original(ignore).unwrap();
    space.restore(&copies[0], ignore).unwrap();
    assert_eq!(COUNTED.take(), Some(0));
    assert!(copies.iter().all(|copy| *copy == space));

    let ((), bytes) = weighed(|| {
        let mut space = space_of(40);
        space.reset();
        // What it holds by now, if anything, is not given back.
        std::mem::forget(space);
    });
    assert_eq!(bytes, 0, "a reset gives everything back");
}

/// A space with so many mappings of two pages each, every second one beside the next.
fn space_of(mappings: u64) -> AddrSpace {
    let mut space = AddrSpace::new(0, 1 << 40, PAGE).unwrap();
    for i in 0..mappings {
        let addr = (2 * i + i / 2) * PAGE;
        space.map_at(addr, 2 * PAGE, Mapping::file(Prot::READ, 1, i << 40), ignore).unwrap();
    }
    assert_eq!(space.regions().len() as u64, mappings);
    space
}

#[test]
fn a_hundred_thousand_spaces_of_16_mappings_fit_in_200_megabytes() {
    const SPACES: usize = 100_000;
    // Mapped one by one, and copies: a fork of each.
    let parent = space_of(16);
    let makes: [&dyn Fn() -> AddrSpace; 2] = [&|| space_of(16), &|| parent.fork(|_| true)];
    for make in makes {
        let (spaces, bytes) = weighed(|| (0..SPACES).map(|_| make()).collect::<Vec<_>>());
        assert!(bytes <= 200_000_000, "{bytes} bytes");
        assert!(bytes > SPACES * 16 * 24, "{bytes} bytes: all of it was counted");
        assert_eq!(spaces.len(), SPACES);
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

/// Leaves of the tree that are full, and full but for one or two ranges, at each
/// place in them: where there is room for one range more and none for two.
#[test]
fn nothing_is_allocated_after_the_first_update_wherever_it_is() {
    records_without_memory_everywhere::<u32>();
    // What has to be dropped takes other ways through the tree.
    records_without_memory_everywhere::<std::rc::Rc<u32>>();
}

fn records_without_memory_everywhere<F: Clone + PartialEq>() {
    const REGIONS: u64 = 64;
    let prot = |nth: u64| if nth.is_multiple_of(2) { Prot::READ } else { Prot::WRITE };
    let build = |gap: u64, gone: &[u64]| {
        let stride = 3 + gap;
        let mut space: AddrSpace<F> =
            AddrSpace::new(0, (REGIONS + 1) * stride * PAGE, PAGE).unwrap();
        for nth in 0..REGIONS {
            let mapping = Mapping::anonymous(prot(nth));
            space.map_at(nth * stride * PAGE, 3 * PAGE, mapping, ignore).unwrap();
        }
        for nth in gone {
            space.unmap(nth * stride * PAGE, 3 * PAGE, ignore).unwrap();
        }
        space
    };
    let mut recorded = 0;
    for (gap, gone) in (0..REGIONS).flat_map(|nth| {
        [(0, vec![nth]), (1, vec![nth]), (1, vec![nth, nth + 1]), (0, vec![nth, nth + 2])]
    }) {
        let gone: Vec<u64> = gone.into_iter().filter(|nth| *nth < REGIONS).collect();
        let full = build(gap, &gone);
        let near = gone[0].saturating_sub(16)..(gone[0] + 17).min(REGIONS);
        for nth in near.filter(|nth| !gone.contains(nth)) {
            let start = nth * (3 + gap) * PAGE;
            for (from, pages) in [(0, 1), (1, 1), (2, 1), (0, 3), (0, 4), (2, 2)] {
                let (addr, len) = (start + from * PAGE, pages * PAGE);
                for verb in 0..4 {
                    // A clone has no room to spare.
                    let mut space = full.clone();
                    let count = allocations_after_the_first_update(|begin| match verb {
                        0 => space.unmap(addr, len, |_| begin()).unwrap(),
                        1 => space.protect(addr, len, Prot::EXEC, |_| begin()).unwrap(),
                        2 => {
                            let other = Mapping::anonymous(Prot::EXEC);
                            space.map_at(addr, len, other, |_| begin()).unwrap();
                        }
                        _ => {
                            // Equal to what comes before it, which it may join.
                            let like = Mapping::anonymous(prot(nth + REGIONS - 1));
                            space.map_at(addr, len, like, |_| begin()).unwrap();
                        }
                    });
                    assert_eq!(count, 0, "verb {verb}, {len:#x} at {addr:#x}, {gone:?} gone");
                    space.check();
                    recorded += 1;
                }
            }
        }
    }
    assert!(recorded > 50_000, "{recorded}");
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

/// Runs `verb` with a handler that starts to count, and tells how many
/// allocations came after the first update.
fn allocations_after_the_first_update(verb: impl FnOnce(&mut dyn FnMut())) -> u64 {
    verb(&mut || COUNTED.set(Some(COUNTED.get().unwrap_or(0))));
    COUNTED.take().unwrap_or(0)
}

/// The tree shrinks to one leaf on the way and grows again: what was secured
/// for the second half has to survive the first.
#[test]
fn going_from_one_place_to_another_allocates_before_the_first_update() {
    let there = 1 << 30;
    let regions = |start: u64, count: u64| {
        let mut space: AddrSpace = AddrSpace::new(0, 1 << 31, PAGE).unwrap();
        for i in 0..count {
            let prot = if i % 2 == 0 { Prot::READ } else { Prot::WRITE };
            space.map_at(start + i * PAGE, PAGE, Mapping::anonymous(prot), ignore).unwrap();
        }
        space
    };
    for count in [10, 31, 32, 33, 40, 100, 400, 3000] {
        let (from, to) = (regions(0, count), regions(there, count));
        let mut space = from.clone();
        let after = allocations_after_the_first_update(|begin| {
            space.restore(&to, |_| begin()).unwrap();
        });
        assert_eq!(after, 0, "restoring {count} regions elsewhere");
        assert!(space == to);

        let mut space = from.clone();
        let len = count * PAGE;
        let after = allocations_after_the_first_update(|begin| {
            space.remap(0, len, len, Remap::to(there), |_| begin()).unwrap();
        });
        assert_eq!(after, 0, "moving {count} regions");
        assert!(space == to);
    }
}

#[test]
fn restoring_any_space_from_any_other_allocates_before_the_first_update() {
    let mut seed = 1_u64;
    let mut below = |limit: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % limit
    };
    let mut random = |most: u64| {
        let mut space: AddrSpace = AddrSpace::new(0, 4096 * PAGE, PAGE).unwrap();
        for _ in 0..below(most) {
            let (addr, len) = (below(4000) * PAGE, (1 + below(20)) * PAGE);
            match below(6) {
                0 => space.unmap(addr, len, ignore).unwrap(),
                1 => space.mark_original(),
                n => {
                    let prot = Prot::from_bits_retain(u32::try_from(n).unwrap());
                    space.map_at(addr, len, Mapping::anonymous(prot), ignore).unwrap();
                }
            }
        }
        space
    };
    for round in 0..300 {
        let (mut space, to) = (random(2 + round * 3), random(2 + round * 3));
        let after = allocations_after_the_first_update(|begin| {
            space.restore(&to, |_| begin()).unwrap();
        });
        assert_eq!(after, 0, "round {round}");
        assert!(space == to);
    }
}

/// Both ends of a protect can split a leaf under one and the same full node.
#[test]
fn protecting_many_regions_allocates_before_the_first_update() {
    for count in (100..1000).chain([5000]) {
        let full = space(count);
        for (from, to) in [(count / 5, count * 7 / 10), (1, count - 1), (count / 2, count / 2 + 3)]
        {
            // A clone has no room to spare.
            let mut space = full.clone();
            let (from, to) = ((3 * from + 1) * PAGE, (3 * to + 1) * PAGE);
            let after = allocations_after_the_first_update(|begin| {
                space.protect(from, to - from, Prot::EXEC, |_| begin()).unwrap();
            });
            assert_eq!(after, 0, "{count} regions, {from:#x}..{to:#x}");
        }
    }
}

#[test]
fn a_copy_that_cannot_be_had_is_an_error() {
    for count in [0, 1, 20, 31, 32, 100, 3000] {
        let full = space(count);
        for fuse in 0.. {
            FAILED.set(0);
            FUSE.set(Some(fuse));
            let copy = full.try_clone();
            FUSE.set(None);
            match copy {
                Err(error) => assert!(matches!(error, Error::NoMemory { .. }), "{error}"),
                Ok(copy) => {
                    assert_eq!(FAILED.get(), 0, "what failed was told");
                    copy.check();
                    assert!(copy == full);
                    assert_eq!(fuse, if count == 0 { 0 } else { 1 + 2 * u64::from(count > 31) });
                    break;
                }
            }
        }
    }
}
