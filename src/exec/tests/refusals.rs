//! Whatever fails, and however, books and memory agree afterwards.

use super::super::error::Syscall;
use super::super::seam::{Failure, Plan};
use super::super::sys::{Bytes, Errno, Ground, Leave, Scratch, lose};
use super::super::view;
use super::exec_model::{Mem, Op, PAGE, Target, Where, World, alone};
use crate::{ExecError, Limits, MapFlags, Prot, Reservation, Span};

const RW: Prot = Prot::READ.union(Prot::WRITE);
const NONE: MapFlags = MapFlags::empty();

/// ```text
/// page  0....5....10...15...20...25...
///       AAAffSS.FFFF..OOO.nnO.n....LL.l
/// ```
/// A, n, L (locked): anonymous; f, l (locked), F: a private and a shared file; S: shared
/// anonymous; O: original.
fn furnished() -> World {
    let mut world = World::new(32);
    for (page, pages) in [(14, 3), (20, 1)] {
        map(&mut world, page, pages, Mem::anonymous(RW));
    }
    world.step(&Op::Mark).unwrap();
    world.step(&Op::Snapshot).unwrap();
    let clean = world.take_snapshot();
    let locked = Mem::anonymous(RW).with(MapFlags::LOCKED);
    for (page, pages, mem) in [
        (0, 3, Mem::anonymous(RW)),
        (3, 2, Mem::file(RW, 0, 5)),
        (5, 2, Mem::anonymous(RW).shared()),
        (8, 4, Mem::file(RW, 1, 0).shared()),
        (18, 2, Mem::anonymous(RW)),
        (22, 1, Mem::anonymous(Prot::READ)),
        (27, 2, locked),
        (30, 1, Mem::file(RW, 0, 20).with(MapFlags::LOCKED)),
    ] {
        map(&mut world, page, pages, mem);
    }
    // Each page has a word of its own, some by the second round of writing.
    world.step(&Op::Snapshot).unwrap();
    world.put_snapshot(clean);
    world
}

fn map(world: &mut World, page: u64, pages: u64, mem: Mem) {
    world.step(&Op::Map { place: Where::At(page), pages, mem }).unwrap();
}

fn remap(page: u64, [old, new]: [u64; 2], target: Target, keep_source: bool) -> Op {
    Op::Remap { page, old, new, target, keep_source }
}

/// Operations that make calls on `furnished`.
fn operations() -> Vec<(&'static str, Op)> {
    let at = |page, pages, mem| Op::Map { place: Where::At(page), pages, mem };
    let huge = Mem { huge: true, populate: true, ..Mem::anonymous(RW) };
    let dont_fork = Mem::file(RW, 2, 9).shared().with(MapFlags::DONT_FORK | MapFlags::DONT_DUMP);
    vec![
        ("map anywhere", Op::Map { place: Where::Lowest, pages: 4, mem: Mem::anonymous(RW) }),
        ("map over all kinds", at(1, 16, Mem::anonymous(RW))),
        ("map a file over all kinds", at(2, 12, Mem::file(Prot::READ, 2, 3))),
        ("map over locked memory", at(26, 2, Mem::anonymous(RW).shared())),
        ("map with advice, by scratch", at(4, 8, huge)),
        ("map a file with advice, by scratch", at(7, 6, dont_fork)),
        ("unmap in a region", Op::Unmap { page: 1, pages: 1 }),
        ("unmap across gaps", Op::Unmap { page: 2, pages: 20 }),
        ("protect across regions", Op::Protect { page: 1, pages: 12, prot: Prot::READ }),
        ("protect to nothing", Op::Protect { page: 14, pages: 6, prot: Prot::empty() }),
        ("lock", Op::Flags { page: 0, pages: 6, set: MapFlags::LOCKED, clear: NONE }),
        ("unlock", Op::Flags { page: 27, pages: 1, set: NONE, clear: MapFlags::LOCKED }),
        (
            "unlock, and keep from fork and dump",
            Op::Flags {
                page: 27,
                pages: 2,
                set: MapFlags::DONT_FORK | MapFlags::DONT_DUMP,
                clear: MapFlags::LOCKED,
            },
        ),
        (
            "keep from fork and dump",
            Op::Flags {
                page: 0,
                pages: 6,
                set: MapFlags::DONT_FORK | MapFlags::DONT_DUMP,
                clear: NONE,
            },
        ),
        (
            "wipe on fork",
            Op::Flags { page: 14, pages: 3, set: MapFlags::WIPE_ON_FORK, clear: NONE },
        ),
        ("shrink", remap(0, [3, 1], Target::InPlace, false)),
        ("grow anonymous memory", remap(14, [3, 4], Target::InPlace, false)),
        ("grow a private file", remap(3, [1, 2], Target::At(24), false)),
        ("grow a shared file", remap(8, [4, 6], Target::InPlace, false)),
        ("grow a locked private file", remap(30, [1, 2], Target::InPlace, false)),
        ("move", remap(0, [3, 3], Target::At(23), false)),
        ("move onto something", remap(0, [3, 3], Target::At(10), false)),
        ("move many kinds", remap(0, [7, 7], Target::At(23), false)),
        ("move many kinds onto as many", remap(0, [7, 7], Target::At(13), false)),
        ("move and grow anonymous memory", remap(0, [3, 5], Target::At(21), false)),
        ("move and grow a private file", remap(3, [2, 5], Target::At(21), false)),
        ("move and grow a shared file", remap(8, [4, 6], Target::At(21), false)),
        ("shrink and move", remap(8, [4, 2], Target::At(0), false)),
        ("move and keep", remap(0, [3, 3], Target::At(12), true)),
        ("move what is locked and keep", remap(27, [2, 2], Target::At(24), true)),
        ("move and grow what is locked", remap(27, [2, 3], Target::At(23), false)),
        ("move a shared file and keep", remap(8, [4, 4], Target::At(24), true)),
        ("duplicate", remap(9, [0, 5], Target::At(20), false)),
        ("discard", Op::Discard { page: 14, pages: 3 }),
        ("unmap what is not original", Op::UnmapNonOriginal),
        ("restore", Op::Restore),
        ("reset", Op::Reset),
    ]
}

/// Runs `op` as `plan` has it and answers the calls that there were.
fn run(world: &mut World, op: &Op, plan: Plan) -> (Result<(), ExecError>, Vec<(Syscall, Span)>) {
    plan.install();
    let result = world.run(op);
    (result, Plan::default().install().calls)
}

#[test]
fn every_call_of_every_operation_is_refused() {
    // In a process of its own, so that what leaks can be counted.
    alone("exec::tests::refusals::every_call_of_every_operation_is_refused", || {
        let mapped = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
        drop(furnished());
        let before = mapped();
        refuse_all();
        let after = mapped();
        assert!(after < before + 20, "{before} mappings of the process, then {after}");
    });
}

fn refuse_all() {
    let mut refused = 0;
    for (name, op) in operations() {
        let mut world = furnished();
        let (result, calls) = run(&mut world, &op, Plan::default());
        result.unwrap_or_else(|error| panic!("{name}: {error}"));
        for passes in 0..calls.len() {
            for failure in [Failure::Refused, Failure::Lost, Failure::Half] {
                if matches!((&op, failure), (Op::Discard { .. }, Failure::Half)) {
                    // Which bytes are gone then is nothing that the books say.
                    continue;
                }
                for (times, sees) in [(1, false), (2, false), (usize::MAX, true)] {
                    let plan =
                        Plan { passes, fails: Some((times, failure)), sees, ..Plan::default() };
                    let case = format!("{name}, call {passes} {failure:?} {times} times");
                    refused += usize::from(refuse(&case, &op, plan));
                }
            }
        }
    }
    assert!(refused > 500, "{refused} operations failed");
}

/// Whether the operation failed, which some calls do not make it do.
fn refuse(case: &str, op: &Op, plan: Plan) -> bool {
    println!("{case}");
    let mut world = furnished();
    let before = world.exec.space().clone();
    let (result, calls) = run(&mut world, op, plan);
    // Whatever the answer, a listener has heard what the books say.
    world.check_model();
    let failed = result.is_err();
    if let Err(error) = &result {
        let ExecError::Kernel { call, lost, .. } = error else { panic!("{case}: {error}") };
        assert!(calls.iter().any(|(made, _)| made == call), "{case}: {error}");
        // What is lost was there when the operation began, or had just arrived.
        let moved = matches!(op, Op::Remap { .. });
        let mut pages = lost.iter().flat_map(|span| (span.start()..span.last()).step_by(4096));
        assert!(pages.all(|page| moved || before.query(page).is_some()), "{case}: {error}");
    }
    // Holes that could not be reserved again are the one difference there may be.
    for difference in world.exec.verify().unwrap() {
        let page = (difference.span.start() - world.start()) / PAGE;
        let (result, picture) = (&result, world.exec.space().picture());
        assert!(
            difference.books.is_none() && difference.kernel.is_none(),
            "{case}: {difference}, page {page} {result:?} {picture}"
        );
        assert!(failed, "{case}: {difference}");
    }
    world.check_words();
    world.check_flags();
    world.shadow = world.exec.space().clone();

    // The same again goes well or is refused for good reasons; then all is as ever.
    let _ = world.run(op);
    world.shadow = world.exec.space().clone();
    world.check_model();
    world.step(&Op::Map { place: Where::At(0), pages: 32, mem: Mem::anonymous(RW) }).unwrap();
    world.step(&Op::Reset).unwrap();
    failed
}

/// All of it again, as on a kernel that has no query for one mapping.
#[test]
fn the_list_as_text_will_do() {
    for (name, op) in operations() {
        let mut world = furnished();
        Plan { text: true, ..Plan::default() }.install();
        world.step(&op).unwrap_or_else(|error| panic!("{name}: {error}"));
        let fails = Some((1, Failure::Lost));
        Plan { text: true, fails, ..Plan::default() }.install();
        let op = Op::Map { place: Where::At(2), pages: 8, mem: Mem::anonymous(RW) };
        world.run(&op).unwrap_err();
        Plan { text: true, ..Plan::default() }.install();
        world.check();
        Plan::default().install();
    }
}

#[test]
fn no_limit_stands_in_the_way_of_a_correction() {
    let mut world = furnished();
    let regions = world.exec.space().regions().len();
    let limits = Limits { regions: Some(regions + 1), bytes: Some(0) };
    world.exec.set_limits(limits);
    // Half of it is changed, which cuts a region that the request would not cut.
    let plan = Plan { fails: Some((1, Failure::Half)), ..Plan::default() };
    let op = Op::Protect { page: 8, pages: 3, prot: Prot::READ };
    run(&mut world, &op, plan).0.unwrap_err();
    world.check();
    let plan = Plan { fails: Some((1, Failure::Half)), ..Plan::default() };
    let op = Op::Protect { page: 14, pages: 3, prot: Prot::READ };
    run(&mut world, &op, plan).0.unwrap_err();
    assert_eq!(world.exec.space().limits(), limits);
    world.check();
}

#[test]
fn nothing_outside_of_a_reservation_is_touched() {
    let reservation = Reservation::options().guarded(PAGE, PAGE).reserve(4 * PAGE).unwrap();
    let inner = reservation.span();
    let mut ground = reservation.ground;
    let page = |addr| Span::of(addr, PAGE).unwrap();
    let (guard, end) = (page(inner.start() - PAGE), inner.last() + 1);
    for outside in [guard, page(end), Span::of(inner.start() - PAGE, 3 * PAGE).unwrap()] {
        let fault = Err(Errno::FAULT);
        assert_eq!(ground.close(outside), fault);
        assert_eq!(ground.claim(outside), fault);
        assert_eq!(ground.unmap(outside), fault);
        assert_eq!(ground.protect(outside, RW), fault);
        assert_eq!(ground.lock(outside), fault);
        assert_eq!(ground.unlock(outside), fault);
        assert_eq!(ground.lock_on_fault(outside), fault);
        let inside = page(inner.start());
        assert_eq!(ground.travel(outside, inside, Leave::Mapped), fault);
        assert_eq!(ground.travel(inside, outside, Leave::Mapped), fault);
        assert_eq!(ground.duplicate(outside, 4096).map(drop), fault);
        let scratch = Scratch::blank(outside).unwrap();
        assert_eq!(ground.take_out(outside, scratch).map(drop), fault);
        let mut scratch = Scratch::blank(outside).unwrap();
        assert_eq!(scratch.move_to(&mut ground, 0, outside), fault);
        // Nor is it given back, given up or made ground.
        assert_eq!(ground.trim(inner, outside), fault);
        ground.give_up(outside);
        ground.close(inside).unwrap();
    }
}

/// The kernel may have unmapped the place before it refused to move something there, and
/// then somebody else may have it.
#[test]
fn a_place_is_given_back_only_if_it_is_ours() {
    alone("exec::tests::refusals::a_place_is_given_back_only_if_it_is_ours", || {
        let mut ground = Reservation::new(4 * PAGE).unwrap().ground;
        let page = Span::of(ground.span().start(), PAGE).unwrap();
        let place = |scratch: &Scratch| {
            let text = format!("{scratch:?}");
            let start = text.split(['{', ',']).find_map(|part| part.trim().strip_prefix("start: "));
            Span::of(start.unwrap().parse().unwrap(), PAGE).unwrap()
        };
        // What becomes of the place after a refusal, when `happens` to it before.
        let mut after = |happens: fn(Span)| {
            let scratch = Scratch::blank(page).unwrap();
            let at = place(&scratch);
            happens(at);
            Plan { fails: Some((1, Failure::Refused)), ..Plan::default() }.install();
            ground.take_out(page, scratch).unwrap_err();
            Plan::default().install();
            view::regions(at).unwrap().first().map(|region| region.prot)
        };
        assert_eq!(after(|_| ()), None);
        assert_eq!(after(lose), None);
        let somebody = |at| {
            lose(at);
            let flags = rustix::mm::MapFlags::PRIVATE;
            Ground::of(at).map(at, Prot::READ, flags, Bytes::Zero).unwrap();
        };
        assert_eq!(after(somebody), Some(Prot::READ));
    });
}

#[test]
fn what_the_kernel_loses_is_reserved_again_and_named() {
    let mut world = furnished();
    let plan = Plan { fails: Some((1, Failure::Lost)), ..Plan::default() };
    let op = Op::Map { place: Where::At(2), pages: 8, mem: Mem::anonymous(RW) };
    let (result, _) = run(&mut world, &op, plan);
    let Err(ExecError::Kernel { call: Syscall::Mmap, span, errno: 12, lost }) = result else {
        panic!("{result:?}")
    };
    let start = world.start();
    let page = |page: u64| start + page * PAGE;
    assert_eq!(Some(span), Span::of(page(2), 8 * PAGE));
    let gone = [Span::of(page(2), 5 * PAGE).unwrap(), Span::of(page(8), 2 * PAGE).unwrap()];
    assert_eq!(lost, gone);
    assert!(world.exec.verify().unwrap().is_empty());
    assert_eq!(world.exec.query(page(2)), None);
    assert_eq!(world.exec.query(page(10)).unwrap().len(), Some(2 * PAGE));
}

#[test]
fn a_discard_that_meets_a_hole_says_so() {
    let mut world = furnished();
    let page = Span::of(world.start() + 15 * PAGE, PAGE).unwrap();
    lose(page);
    let (result, _) = run(&mut world, &Op::Discard { page: 14, pages: 3 }, Plan::default());
    let Err(ExecError::Kernel { call: Syscall::Madvise, errno: 12, lost, .. }) = result else {
        panic!("{result:?}")
    };
    assert_eq!(lost, [page]);
    assert_eq!(world.exec.query(page.start()), None);
    assert_eq!(world.exec.verify().unwrap(), []);
}

#[test]
fn addresses_that_somebody_else_got_are_left_alone() {
    alone("exec::tests::refusals::addresses_that_somebody_else_got_are_left_alone", || {
        let mut world = furnished();
        // The old mapping is lost and cannot be reserved again ..
        let plan = Plan { fails: Some((2, Failure::Lost)), sees: true, ..Plan::default() };
        let op = Op::Map { place: Where::At(0), pages: 2, mem: Mem::anonymous(RW) };
        run(&mut world, &op, plan).0.unwrap_err();
        // .. and a reservation lands there, or anybody's mmap.
        let other = Reservation::options().at(world.start()).reserve(PAGE).unwrap();
        run(&mut world, &op, Plan::default()).0.unwrap_err();
        run(&mut world, &Op::Reset, Plan::default()).0.unwrap();
        drop(world);
        let taken = Reservation::options().at(other.span().start()).reserve(PAGE).unwrap_err();
        assert!(matches!(taken, ExecError::Taken { .. }), "{taken}");
    });
}

#[test]
fn what_is_kept_in_store_lands_in_no_hole() {
    alone("exec::tests::refusals::what_is_kept_in_store_lands_in_no_hole", || {
        // No page is free above the world, so that a hole in it is where the kernel maps
        // next.
        let top = Reservation::new(64 * PAGE).unwrap().span().last();
        let _plugs: Vec<_> = core::iter::repeat_with(|| Reservation::new(PAGE).unwrap())
            .take_while(|page| page.span().start() > top)
            .collect();
        let mut world = furnished();
        // Pages are lost on the way; what they left is closed at the limit of mappings.
        let plan = Plan { passes: 2, fails: Some((2, Failure::Lost)), ..Plan::default() };
        let op = remap(0, [7, 7], Target::At(23), false);
        run(&mut world, &op, plan).0.unwrap_err();
        assert_eq!(world.exec.verify().unwrap(), []);
    });
}

#[test]
fn a_reservation_that_fails_half_way_leaves_nothing() {
    alone("exec::tests::refusals::a_reservation_that_fails_half_way_leaves_nothing", || {
        let align = 1 << 21;
        let free = Reservation::options().aligned(align).reserve(4 * align).unwrap().span();
        for passes in 0..2 {
            let plan = Plan { passes, fails: Some((1, Failure::Refused)), ..Plan::default() };
            plan.install();
            // One call to reserve, and one or two to give back what is too much.
            let refused = Reservation::options().aligned(align).reserve(4 * align);
            Plan::default().install();
            assert!(refused.is_err(), "{passes}");
            drop(refused);
            drop(Reservation::options().at(free.start()).reserve(4 * align).unwrap());
        }
    });
}
