//! What `RangeMap` asks of the allocator, and what it does when that has nothing.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_lossless,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::reversed_empty_ranges,
    clippy::single_range_in_vec_init,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::type_complexity,
    clippy::unwrap_used,
    missing_docs,
    reason = "tests: they link std, the numbers are small or meant to wrap, reversed ranges and \
              lists of one range are cases, and a panic is a failure"
)]

use std::collections::TryReserveError;
use std::ops::Range;

use addrspace::range_map::RangeMap;

use range_model::ops::{Change, Taken, effort};
use range_model::{Op, Rng, Weights};

#[path = "range_map_memory/counting.rs"]
mod counting;
mod range_model;

use counting::{Failing, Usage, usage};

/// Runs `what` and says how many allocations it made.
fn allocations(what: impl FnOnce()) -> u64 {
    let before = usage().allocations;
    what();
    usage().allocations - before
}

#[test]
fn an_empty_map_owns_no_memory() {
    let before = usage();
    let allocations = allocations(|| {
        let map = RangeMap::<u64, u64>::new();
        let mut other = RangeMap::<u64, u64, 3, 3, 3>::default();
        other.remove(3..9);
        other.insert(9..9, 0);
        other.update(0..100, |_, _| unreachable!("there is nothing to change"));
        other.retain(|_, _| true);
        other.clear();
        assert!(map.clone().is_empty() && other.is_empty());
        assert!(map.try_clone().is_ok_and(|map| map.is_empty()));
        assert_eq!(other.first_gap(10, 1, 0..20), Some(0));
        assert!(RangeMap::<u64, u64>::from_sorted([]).into_iter().next().is_none());
    });
    assert_eq!(allocations, 0);
    assert_eq!(usage().live, before.live);
}

#[test]
fn a_map_of_up_to_31_ranges_is_one_block() {
    let before = usage();
    let mut map = RangeMap::<u64, u64>::new();
    for n in 0..31 {
        map.insert(n * 2..n * 2 + 1, n);
        assert_eq!(usage().blocks - before.blocks, 1, "{} ranges", n + 1);
    }
    let mut copy = None;
    assert_eq!(allocations(|| copy = Some(map.clone())), 1, "a clone is one block too");
    drop(copy);
    map = (0..10).map(|n| (n..n + 1, n)).collect();
    assert_eq!(usage().blocks - before.blocks, 1, "built from a list");
    let size = usage().live - before.live;
    assert!(size <= 31 * (16 + 16) + 64, "{size} bytes for up to 31 ranges of u64 to u64");
    drop(map);
    assert_eq!(usage(), Usage { allocations: usage().allocations, ..before });
}

#[test]
fn clear_gives_the_memory_back() {
    let before = usage();
    let mut map: RangeMap<u64, u64> = (0..1000).map(|n| (n..n + 1, n)).collect();
    assert!(usage().live > before.live);
    map.clear();
    assert_eq!(usage().live, before.live);
    map.check();
}

#[test]
fn thousands_of_small_values_take_few_bytes_each() {
    // A value of 24 bytes with a niche, as the address space has them.
    type Value = (u64, u64, std::num::NonZeroU64);
    let value = |n: u64| (n, n, std::num::NonZeroU64::MIN);
    let per_range = |build: &dyn Fn() -> RangeMap<u64, Value>| {
        let before = usage();
        let map = build();
        (usage().live - before.live) as f64 / map.len() as f64
    };
    let ranges = 65_536;
    let ascending = per_range(&|| {
        let mut map = RangeMap::new();
        (0..ranges).for_each(|n| drop(map.insert(2 * n..2 * n + 1, value(n))));
        map
    });
    let descending = per_range(&|| {
        let mut map = RangeMap::new();
        (0..ranges).rev().for_each(|n| drop(map.insert(2 * n..2 * n + 1, value(n))));
        map
    });
    let scattered = per_range(&|| {
        let mut map = RangeMap::new();
        (0..ranges).for_each(|n| {
            let n = n * 40_503 % ranges;
            map.insert(2 * n..2 * n + 1, value(n));
        });
        map
    });
    let sorted =
        per_range(&|| RangeMap::from_sorted((0..ranges).map(|n| (2 * n..2 * n + 1, value(n)))));
    let all = [ascending, descending, scattered, sorted];
    // 40 of them are the range and its value. Leaves of an ordered run are nearly full.
    assert!(ascending.max(descending) <= 46.5, "{all:.2?} bytes each");
    assert!(scattered.max(sorted) <= 55.0, "{all:.2?} bytes each");
}

/// Nodes that are emptied are used again.
#[test]
fn a_map_that_churns_does_not_grow() {
    fn holds<const S: usize, const L: usize, const I: usize>(ranges: u64) {
        let mut map = RangeMap::<u64, u64, S, L, I>::default();
        let mut rng = Rng(ranges);
        // A quarter stays, or the tree would shrink to one leaf and free all others.
        let quarter = ranges / 4;
        let mut churn = |map: &mut RangeMap<u64, u64, S, L, I>| {
            for n in 0..ranges {
                map.insert(2 * n..2 * n + 1, n);
            }
            for _ in 0..ranges {
                let n = quarter + rng.below(ranges - quarter);
                map.remove(2 * n..2 * n + 2 + rng.below(40));
                map.insert(2 * n..2 * n + 1, n);
            }
            map.remove(2 * quarter..2 * ranges);
        };
        churn(&mut map);
        let live = usage().live;
        for _ in 0..20 {
            churn(&mut map);
        }
        map.check();
        let now = usage().live;
        assert!(now <= live + live / 2, "{live} bytes have become {now}");
    }
    holds::<3, 3, 3>(300);
    holds::<7, 3, 3>(300);
    holds::<7, 7, 7>(500);
    holds::<31, 15, 31>(2000);
}

/// An edit of a range; the one that is reserved for.
fn edit<const S: usize, const L: usize, const I: usize>(
    map: &mut RangeMap<u64, u8, S, L, I>,
    range: Range<u64>,
    rng: &mut Rng,
) {
    let tag = rng.below(3) as u8;
    let steps = rng.below(5);
    let kind = rng.below(6);
    match kind {
        0 => drop(map.insert(range, tag)),
        1 => drop(map.remove(range)),
        2 => map.insert(range, tag).take(steps as usize).for_each(drop),
        3 => map.remove(range).rev().take(steps as usize).for_each(drop),
        4 => {
            map.update(range, |range, value| {
                *value = ((u64::from(*value) + range.start) % 3) as u8;
            });
        }
        _ => map.update(range, |_, value| *value = tag),
    }
}

/// A map that random edits have shaped.
fn shaped<const S: usize, const L: usize, const I: usize>(
    rng: &mut Rng,
    keys: u64,
) -> RangeMap<u64, u8, S, L, I> {
    let mut map = RangeMap::default();
    for weights in [Weights::GROW, Weights::CHURN] {
        for _ in 0..rng.below(300) {
            match weights.op(keys as usize, rng.words()) {
                Op::Insert { from, to, tag, .. } => drop(map.insert(from as u64..to as u64, tag)),
                Op::Remove { from, to, taken: Taken::Ignored } => {
                    map.remove(from as u64..to as u64);
                }
                Op::Update { from, to, change: change @ Change::Alternate(_), .. } => {
                    map.update(from as u64..to as u64, |range, value| {
                        *value = change.apply(range.start as usize, *value);
                    });
                }
                _ => {}
            }
        }
    }
    map
}

fn a_reserved_edit_does_not_allocate_in<const S: usize, const L: usize, const I: usize>(
    rounds: u64,
    keys: u64,
) {
    let mut rng = Rng(S as u64);
    for round in 0..effort(rounds) {
        let mut map = shaped::<S, L, I>(&mut rng, keys);
        for step in 0..20 {
            let start = rng.below(keys);
            let reach = if rng.below(3) == 0 { keys } else { 6 };
            let end = start + rng.below(reach);
            // A copy is allocated no more nodes than there are.
            map = map.clone();
            map.try_reserve_edit(start..end).unwrap();
            // The same range, or a shorter one with the same start.
            let end = if rng.below(2) == 0 { end } else { start + rng.below((end - start).max(1)) };
            let before = map.clone();
            let mut edits = rng.clone();
            let count = allocations(|| edit(&mut map, start..end, &mut rng));
            // Where the small leaf is no larger than others, an edit that shrinks
            // the tree to it gives memory back that it may need a moment later.
            // The default capacities leave room for that.
            let shrank_to_a_full_one = S == L && map.len() <= S + 2;
            if count > 0 && !shrank_to_a_full_one {
                let [tag, steps, kind] = [3, 5, 6].map(|bound| edits.below(bound));
                panic!(
                    "{count} allocations for edit {kind} with {tag}, {steps} of {start}..{end} \
                     of {before:?}, {S} {L} {I}, round {round} step {step}"
                );
            }
            map.check();
        }
    }
}

#[test]
fn a_reserved_edit_does_not_allocate() {
    a_reserved_edit_does_not_allocate_in::<3, 3, 3>(150, 200);
    a_reserved_edit_does_not_allocate_in::<7, 3, 3>(150, 200);
    a_reserved_edit_does_not_allocate_in::<7, 7, 7>(150, 400);
    a_reserved_edit_does_not_allocate_in::<31, 15, 31>(100, 1500);
}

/// The full small leaf becomes a tree, and the insert then splits two leaves of it.
#[test]
fn a_reserved_insert_may_grow_the_tree_and_split_twice() {
    let ranges = [
        (14..17, 1),
        (58..59, 0),
        (68..72, 1),
        (85..87, 0),
        (87..137, 2),
        (137..155, 0),
        (155..198, 2),
    ];
    // Inserted one by one: built at once they would be three leaves already.
    let mut map = RangeMap::<u64, u8, 7, 3, 3>::default();
    map.extend(ranges);
    map.try_reserve_edit(151..154).unwrap();
    assert_eq!(allocations(|| drop(map.insert(151..154, 2))), 0);
    map.check();
}

/// Inserting at every place of a map, reserved each time: every leaf gets full
/// once, and the root splits.
#[test]
fn a_map_filled_by_reserved_edits_never_allocates_in_one() {
    fn fill<const S: usize, const L: usize, const I: usize>(ranges: u64, step: u64) {
        let mut map = RangeMap::<u64, u64, S, L, I>::default();
        for n in 0..ranges {
            let n = n * step % ranges;
            map.try_reserve_edit(3 * n..3 * n + 2).unwrap();
            assert_eq!(
                allocations(|| drop(map.insert(3 * n..3 * n + 2, n))),
                0,
                "range {n} of {ranges}"
            );
        }
        map.check();
        // Cutting each range in two is the edit that needs most room.
        for n in 0..ranges {
            map.try_reserve_edit(3 * n + 1..3 * n + 2).unwrap();
            assert_eq!(
                allocations(|| map.update(3 * n + 1..3 * n + 2, |_, value| *value += ranges)),
                0
            );
        }
        map.check();
        assert_eq!(map.len() as u64, 2 * ranges);
    }
    for step in [1, 7919, 1999, 4001] {
        fill::<3, 3, 3>(2000, step);
        fill::<7, 3, 3>(2000, step);
        fill::<7, 7, 7>(2000, step);
        fill::<31, 15, 31>(4000, step);
    }
}

/// A full leaf under a full node, next to a node that has much room.
#[test]
fn room_of_a_neighbour_is_not_taken_for_its_own() {
    let ranges = 400;
    let mut full = RangeMap::<u64, u64, 7, 7, 7>::default();
    for n in 0..ranges {
        full.insert(3 * n..3 * n + 2, n); // ascending: full leaves
    }
    full.retain(|_, _| true); // full nodes above them
    for n in 35..ranges {
        let mut map = full.clone();
        map.remove(3 * (n - 35)..3 * (n - 2));
        // A copy is allocated no more nodes than there are.
        let mut map = map.clone();
        map.try_reserve_edit(3 * n..3 * n + 1).unwrap();
        let count = allocations(|| map.update(3 * n..3 * n + 1, |_, value| *value += ranges));
        assert_eq!(count, 0, "range {n}");
        map.check();
    }
}

/// Lets the k-th allocation of a reservation fail, for every k.
fn a_refused_reservation_changes_nothing_in<const S: usize, const L: usize, const I: usize>(
    rounds: u64,
    keys: u64,
) -> u64 {
    let mut rng = Rng(L as u64);
    let mut refused = 0;
    for _ in 0..effort(rounds) {
        let map = shaped::<S, L, I>(&mut rng, keys);
        let start = rng.below(keys);
        let range = start..start + rng.below(9);
        for allowed in 0.. {
            // A clone has no spare room, so that there is something to ask for.
            let mut clone = map.clone();
            let live = usage().live;
            let failing = Failing::after(allowed);
            let answer: Result<(), TryReserveError> = clone.try_reserve_edit(range.clone());
            let failed = failing.end();
            assert_eq!(
                answer.is_err(),
                failed,
                "{allowed} allocations allowed for {range:?} of {map:?}"
            );
            clone.check();
            assert_eq!(clone, map);
            if !failed {
                break;
            }
            refused += 1;
            assert!(usage().live >= live, "a refused reservation freed something");
            // Asking again, with memory, is enough.
            clone.try_reserve_edit(range.clone()).unwrap();
            let count = allocations(|| edit(&mut clone, range.clone(), &mut rng));
            assert!(count == 0 || (S == L && clone.len() <= S + 2), "{range:?} of {map:?}");
            clone.check();
        }
    }
    refused
}

#[test]
fn a_refused_reservation_is_an_error_and_changes_nothing() {
    let refused = a_refused_reservation_changes_nothing_in::<3, 3, 3>(200, 150)
        + a_refused_reservation_changes_nothing_in::<7, 3, 3>(200, 150)
        + a_refused_reservation_changes_nothing_in::<7, 7, 7>(200, 300)
        + a_refused_reservation_changes_nothing_in::<31, 15, 31>(200, 900);
    assert!(refused > 100, "only {refused} reservations asked for memory");
}

#[test]
fn the_first_edit_can_be_reserved_for() {
    let mut map = RangeMap::<u64, u64>::new();
    let failing = Failing::after(0);
    let answer = map.try_reserve_edit(0..5);
    assert!(failing.end() && answer.is_err());
    assert!(map.is_empty());
    map.try_reserve_edit(0..5).unwrap();
    assert_eq!(allocations(|| drop(map.insert(0..3, 1))), 0);
}

/// Queries, and edits that only take away, need no memory.
#[test]
fn reading_allocates_nothing() {
    let map: RangeMap<u64, u64, 3, 3, 3> = (0..500).map(|n| (3 * n..3 * n + 2, n)).collect();
    let allocations = allocations(|| {
        assert_eq!(map.get(300), Some(&100));
        assert_eq!(map.iter().rev().count(), 500);
        assert_eq!(map.pieces(100..200).count() + map.gaps(100..200).count(), 67);
        assert_eq!(map.overlapping(100..200).next_back(), Some((198..200, &66)));
        assert_eq!(map.first_gap(1, 7, 10..1500), Some(14));
        assert_eq!(map.last_gap(2, 1, 0..1510), Some(1508));
        assert_eq!(map.placements(1, 1, 0..1500), 500);
        assert_eq!(map.nth_placement(9, 1, 1, 0..1500), Some(29));
        assert!(map == map && !map.overlaps(2..3));
    });
    assert_eq!(allocations, 0);
}

#[test]
fn retain_and_clear_allocate_nothing() {
    let mut map: RangeMap<u64, u64, 3, 3, 3> = (0..500).map(|n| (3 * n..3 * n + 2, n)).collect();
    for divisor in [7, 5, 3, 2, 1] {
        assert_eq!(
            allocations(|| map.retain(|_, value| value % divisor != 0)),
            0,
            "divisor {divisor}"
        );
        map.check();
    }
    assert!(map.is_empty());
    assert_eq!(allocations(|| map.clear()), 0);
}

#[test]
fn whatever_is_done_every_byte_comes_back() {
    fn holds<const S: usize, const L: usize, const I: usize>(keys: u64) {
        let before = usage();
        let mut rng = Rng(keys);
        for _ in 0..20 {
            let map = shaped::<S, L, I>(&mut rng, keys);
            let strings: RangeMap<u64, String, S, L, I> =
                map.iter().map(|(range, value)| (range, format!("{value}, on the heap"))).collect();
            let mut copy = strings.clone();
            drop(copy.insert(keys / 3..keys / 2, String::from("x")).nth(2));
            drop(copy.remove(keys / 4..keys / 3).next_back());
            copy.update(0..keys / 2, |_, value| value.push('!'));
            copy.retain(|range, _| range.start % 3 != 0);
            drop(copy.into_iter().nth(5));
            drop(strings.into_iter().rev().nth(5));
        }
        assert_eq!(usage().live, before.live);
        assert_eq!(usage().blocks, before.blocks);
    }
    holds::<3, 3, 3>(200);
    holds::<7, 3, 3>(200);
    holds::<7, 7, 7>(300);
    holds::<31, 15, 31>(900);
}

/// Both ends of an edit can split a leaf under one and the same full node.
#[test]
fn a_reserved_edit_may_split_twice_under_one_parent() {
    for count in 100..1000 {
        let mut map = RangeMap::<u64, u64>::new();
        for n in 0..count {
            map.insert(n * 10..n * 10 + 8, n);
        }
        for (from, to) in [(count / 5, count * 7 / 10), (count / 10, count * 9 / 10)] {
            // A clone has no room to spare.
            let mut map = map.clone();
            let range = from * 10 + 4..to * 10 + 4;
            map.try_reserve_edit(range.clone()).unwrap();
            let allocations = allocations(|| map.update(range.clone(), |_, val| *val += count));
            assert_eq!(allocations, 0, "{count} ranges, {range:?}");
        }
    }
}

/// What is left of a large map is cloned at the cost of what is left.
#[test]
fn a_clone_takes_no_free_nodes_along() {
    let mut map = RangeMap::<u64, u64>::new();
    for n in 0..10_000 {
        map.insert(n * 10..n * 10 + 8, n);
    }
    map.remove(1000..100_000);
    let fresh: RangeMap<u64, u64> = map.iter().map(|(range, val)| (range, *val)).collect();
    let size = |map: &RangeMap<u64, u64>| {
        let before = usage();
        let copy = map.clone();
        copy.check();
        assert_eq!(copy, *map);
        usage().live - before.live
    };
    assert_eq!(size(&map), size(&fresh));

    let before = usage().live;
    map.shrink_to_fit();
    map.check();
    assert_eq!(map, fresh);
    assert!(usage().live < before / 10, "{before} bytes have become {}", usage().live);
}
