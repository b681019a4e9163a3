//! Values whose `clone`, `==` or `drop` panics, at every call in turn.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use addrspace::range_map::RangeMap;
use proptest::prelude::*;

use crate::range_model::dummy::{Call, Dummy, arm, disarm, live};
use crate::range_model::ops::{Taken, effort};
use crate::range_model::{Op, Rng, Trio, Weights, Window};

const CELLS: usize = 24;

/// What the cells hold.
fn cells<const S: usize, const L: usize, const I: usize>(
    map: &RangeMap<u64, Dummy, S, L, I>,
) -> Vec<Option<u8>> {
    (0..CELLS as u64).map(|key| map.get(key).map(|value| value.tag)).collect()
}

/// Does to the map what the operation says, and nothing else.
fn run<const S: usize, const L: usize, const I: usize>(
    map: &mut RangeMap<u64, Dummy, S, L, I>,
    op: &Op,
) {
    let keys = |from: usize, to: usize| from as u64..to as u64;
    match *op {
        Op::Insert { from, to, tag, taken } => {
            step(map.insert(keys(from, to), Dummy::new(tag)), taken);
        }
        Op::Remove { from, to, taken } => step(map.remove(keys(from, to)), taken),
        Op::Update { from, to, change, .. } => {
            let mut piece = 0;
            map.update(keys(from, to), |_, value| {
                // Changed in place or replaced, by turns.
                if piece % 2 == 0 {
                    value.tag = change.apply(piece, value.tag);
                } else {
                    *value = Dummy::new(change.apply(piece, value.tag));
                }
                piece += 1;
            });
        }
        Op::Retain { kept } => {
            let mut number = 0;
            map.retain(|_, value| {
                number += 1;
                kept >> ((number - 1 + usize::from(value.tag) * 5) % 32) & 1 == 1
            });
        }
        Op::Clear => map.clear(),
        Op::Extend { from, step, count, tag } => {
            map.extend((0..count).map(|n| {
                let start = (from + n * step) % (CELLS + 1);
                (keys(start, (start + n % 3).min(CELLS)), Dummy::new((tag + n as u8) % 3))
            }));
        }
        Op::Clone => {
            let copy = map.clone();
            assert!(copy == *map);
            *map = copy;
        }
        Op::Rebuild { sorted } => {
            // Half of it is read, the rest dropped with the iterator.
            let mut contents = map.clone().into_iter();
            let half: Vec<(Range<u64>, Dummy)> = contents.by_ref().take(map.len() / 2).collect();
            let rest: RangeMap<u64, Dummy, S, L, I> =
                if sorted { RangeMap::from_sorted(half) } else { half.into_iter().rev().collect() };
            drop(contents);
            drop(rest);
        }
        Op::ReserveEdit { from, to } => map.try_reserve_edit(keys(from, to)).unwrap(),
        Op::Get { .. } | Op::Query { .. } | Op::Search { .. } => {}
    }
}

fn step(mut displaced: impl DoubleEndedIterator<Item = (Range<u64>, Dummy)>, taken: Taken) {
    let (steps, ends) = match taken {
        Taken::Ignored => return,
        Taken::All => (u32::MAX, 0),
        Taken::AllFromBack => (u32::MAX, u32::MAX),
        Taken::Some { steps, ends } | Taken::Forgotten { steps, ends } => (steps, ends),
    };
    for step in 0..steps {
        let piece =
            if (ends >> (step % 32)) & 1 == 0 { displaced.next() } else { displaced.next_back() };
        if piece.is_none() {
            return;
        }
    }
}

/// All invariants, but that what is equal and touches may not be joined. Joins it.
fn check_but_for_joins<const S: usize, const L: usize, const I: usize>(
    map: &mut RangeMap<u64, Dummy, S, L, I>,
    what: &str,
) {
    let before = cells(map);
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| map.check())) {
        let message = payload.downcast_ref::<String>().map_or("no text", String::as_str);
        assert!(message.starts_with("invariant 3:"), "{message} after {what}");
    }
    // Every edit joins what it touches, so this leaves nothing apart.
    let touching: Vec<u64> = map.iter().map(|(range, _)| range.start).collect();
    for start in touching {
        map.update(start..start + 1, |_, _| {});
    }
    map.check();
    assert_eq!(cells(map), before, "joining after {what}");
}

/// Lets the k-th call panic during the operation, for every k.
fn every_call_panics<const S: usize, const L: usize, const I: usize>(ops: &[Op], last: &Op) {
    let at_start = live();
    let mut trio = Trio::<u64, Dummy, S, L, I>::new(Window::lowest(CELLS));
    for op in ops {
        trio.step(op);
    }
    let before = cells(&trio.map);
    for call in [Call::Clone, Call::Eq, Call::Drop] {
        for after in 0.. {
            let mut map = trio.map.clone();
            let mut done = trio.map.clone();
            run(&mut done, last);
            let done = cells(&done);

            arm(call, after);
            let outcome = catch_unwind(AssertUnwindSafe(|| run(&mut map, last)));
            let fired = !disarm();
            let what = format!("{call:?} number {after} of {last:?} on {:?}", trio.map);
            assert_eq!(outcome.is_err(), fired, "{what}");
            if !fired {
                assert_eq!(cells(&map), done, "{what}");
                map.check();
                break;
            }
            for (cell, now) in cells(&map).into_iter().enumerate() {
                // What is dropped is out of the map already, and the rest is done all
                // the same; where an update drops, the caller's own code does.
                let before = (call != Call::Drop || matches!(last, Op::Update { .. }))
                    && now == before[cell];
                // An extend sets a key more than once, so any of its values may
                // stand there; an insert that cannot compare may leave keys without.
                let known = before
                    || now == done[cell]
                    || matches!(last, Op::Extend { .. })
                    || (call == Call::Eq && now.is_none() && matches!(last, Op::Insert { .. }));
                assert!(known, "{now:?} at {cell}, neither before nor after: {what}");
            }
            check_but_for_joins(&mut map, &what);
            // The map can be used on.
            map.insert(3..5, Dummy::new(1));
            map.remove(10..12);
            map.check();
            map.insert(0..CELLS as u64, Dummy::new(0));
            map.check();
            assert_eq!(map.len(), 1);
        }
    }
    drop(trio);
    assert_eq!(live(), at_start, "leaked by {last:?}");
}

proptest! {
    #![proptest_config(super::random::cases(60))]
    #[test]
    fn any_call_of_a_value_may_panic(
        words in prop::collection::vec(any::<[u32; 6]>(), 0..40),
        last in any::<[u32; 6]>(),
    ) {
        let calm = Weights { rough: false, queries: 0, ..Weights::EVEN };
        let ops: Vec<Op> = words.into_iter().map(|words| calm.op(CELLS, words)).collect();
        let last = calm.op(CELLS, last);
        every_call_panics::<3, 3, 3>(&ops, &last);
        every_call_panics::<7, 3, 3>(&ops, &last);
        every_call_panics::<31, 15, 31>(&ops, &last);
    }
}

/// Ranges that all touch, in a tree of some height: every edit has neighbours
/// in other leaves.
#[test]
fn any_call_of_a_value_may_panic_in_a_deep_tree() {
    let calm = Weights { rough: false, queries: 0, reserve: 0, ..Weights::EVEN };
    let full: Vec<Op> = (0..CELLS)
        .map(|cell| Op::Insert {
            from: cell,
            to: cell + 1,
            tag: (cell % 3) as u8,
            taken: Taken::Ignored,
        })
        .collect();
    let mut rng = Rng(7);
    for _ in 0..effort(150) {
        every_call_panics::<3, 3, 3>(&full, &calm.op(CELLS, rng.words()));
    }
}

#[test]
fn a_panic_in_retain_keeps_the_ranges_from_there_on() {
    fn holds<const S: usize, const L: usize, const I: usize>() {
        for stop in 0..40 {
            let at_start = live();
            let mut map: RangeMap<u64, Dummy, S, L, I> =
                (0..40).map(|n| (n * 2..n * 2 + 1, Dummy::new((n % 3) as u8))).collect();
            let mut calls = 0;
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                map.retain(|range, _| {
                    if calls == stop {
                        std::panic::resume_unwind(Box::new(()));
                    }
                    calls += 1;
                    range.start % 6 == 0
                });
            }));
            assert!(outcome.is_err());
            map.check();
            // What it refused before may be gone or not.
            for n in 0..40 {
                assert!(map.contains(n * 2) || (n < stop && n % 3 != 0), "{n}, stopped at {stop}");
            }
            drop(map);
            assert_eq!(live(), at_start);
        }
    }
    holds::<3, 3, 3>();
    holds::<7, 7, 7>();
    holds::<31, 15, 31>();
}

/// The drop of a value that goes is nothing to the others: they go as well.
#[test]
fn a_panic_of_a_drop_is_after_all_is_done() {
    fn holds<const S: usize, const L: usize, const I: usize>() {
        type Edit<M> = (fn(&mut M), fn(&u8) -> bool);
        let edits: [Edit<RangeMap<u64, Dummy, S, L, I>>; 3] = [
            (|map| map.retain(|_, value| value.tag % 3 == 0), |n| n % 3 == 0),
            (|map| drop(map.remove(10..110)), |n| !(5..55).contains(n)),
            (|map| drop(map.insert(10..110, Dummy::new(99))), |n| !(5..55).contains(n)),
        ];
        for (nth, (edit, stays)) in edits.into_iter().enumerate() {
            for after in 0..40 {
                let mut map: RangeMap<u64, Dummy, S, L, I> =
                    (0..60).map(|n| (n * 2..n * 2 + 1, Dummy::new(n as u8))).collect();
                arm(Call::Drop, after);
                let outcome = catch_unwind(AssertUnwindSafe(|| edit(&mut map)));
                assert!(outcome.is_err() && !disarm(), "edit {nth}, {after}");
                map.check();
                let left = map.iter().map(|(_, value)| value.tag).filter(|&n| n != 99);
                assert!(left.eq((0..60).filter(stays)), "edit {nth}, {after}: {map:?}");
            }
        }
    }
    holds::<3, 3, 3>();
    holds::<7, 7, 7>();
    holds::<31, 15, 31>();
    holds::<63, 15, 31>();
}

/// A value that can be compared no more: a panic on every call must not become
/// a panic while unwinding from the first, which would abort.
#[test]
fn an_eq_that_always_panics_unwinds() {
    thread_local! {
        static BROKEN: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    #[derive(Clone, Debug)]
    struct Brittle(u8, #[expect(dead_code, reason = "makes it need a drop")] String);
    impl PartialEq for Brittle {
        fn eq(&self, other: &Self) -> bool {
            if BROKEN.get() {
                std::panic::resume_unwind(Box::new(()));
            }
            self.0 == other.0
        }
    }
    fn unwinds<const S: usize, const L: usize, const I: usize>() {
        let value = |tag: u8| Brittle(tag, String::from("on the heap"));
        let full: RangeMap<u8, Brittle, S, L, I> =
            (0..40).map(|n| (n..n + 1, value(n % 3))).collect();
        let edits: [&dyn Fn(&mut RangeMap<u8, Brittle, S, L, I>); 5] = [
            &|map| map.update(3..12, |_, value| value.0 = 1),
            &|map| drop(map.insert(3..12, value(1))),
            &|map| map.insert(3..12, value(1)).for_each(drop),
            &|map| map.insert(3..12, value(1)).rev().take(2).for_each(drop),
            &|map| map.extend([(3..5, value(1)), (5..9, value(1))]),
        ];
        for (number, edit) in edits.iter().enumerate() {
            let mut map = full.clone();
            BROKEN.set(true);
            let outcome = catch_unwind(AssertUnwindSafe(|| edit(&mut map)));
            BROKEN.set(false);
            assert!(outcome.is_err(), "edit {number}");
            map.insert(0..40, value(7));
            map.check();
            assert_eq!(map.len(), 1, "edit {number}");
        }
    }
    unwinds::<3, 3, 3>();
    unwinds::<31, 15, 31>();
}
