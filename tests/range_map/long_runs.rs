//! Runs of thousands of steps in phases, so that deep trees restructure.

use crate::range_model::ops::effort;
use crate::range_model::trio::TestValue;
use crate::range_model::{Op, Rng, TestKey, Trio, Weights, Window};

/// `steps` steps, the kind of which changes from phase to phase: growing,
/// churning at full size, shrinking, and everything at random.
fn in_phases<K: TestKey, V: TestValue, const S: usize, const L: usize, const I: usize>(
    window: Window<K>,
    steps: usize,
    seed: u64,
) {
    let cells = window.cells();
    let mut trio = Trio::<K, V, S, L, I>::new(window).comparing_every(25);
    let mut rng = Rng(seed);
    let phases = [
        Weights::GROW,
        Weights::CHURN,
        Weights::SHRINK,
        Weights::GROW,
        Weights::EVEN,
        Weights::SHRINK,
    ];
    for step in 0..steps {
        let phase = phases[step * phases.len() / steps];
        trio.step(&phase.op(cells, rng.words()));
    }
    trio.compare();
}

#[test]
fn small_nodes_grow_churn_and_shrink() {
    for seed in 0..effort(3) {
        in_phases::<u64, u8, 3, 3, 3>(Window::lowest(400), 3000, seed);
        in_phases::<u64, u8, 7, 3, 3>(Window::highest(400), 3000, seed);
        in_phases::<u64, u8, 7, 7, 7>(Window::spread(400), 3000, seed);
    }
}

#[test]
fn nodes_of_the_default_size_grow_churn_and_shrink() {
    for seed in 0..effort(1) {
        in_phases::<u64, u8, 31, 15, 31>(Window::highest(2000), 8000, seed);
        in_phases::<i64, u8, 31, 15, 31>(Window::spread(2000), 8000, seed);
    }
}

#[test]
fn values_that_own_memory_move_between_nodes() {
    for seed in 0..effort(1) {
        in_phases::<u64, String, 3, 3, 3>(Window::lowest(300), 2500, seed);
        in_phases::<i8, String, 7, 3, 3>(Window::lowest(255), 2500, seed);
    }
}

/// The order in which a map is filled or emptied.
#[derive(Clone, Copy, Debug)]
enum Order {
    Ascending,
    Descending,
    Scattered,
    OutwardFromTheMiddle,
}

impl Order {
    fn of(self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        match self {
            Self::Ascending => {}
            Self::Descending => order.reverse(),
            Self::Scattered => {
                let mut rng = Rng(count as u64);
                for at in (1..count).rev() {
                    order.swap(at, rng.below(at as u64 + 1) as usize);
                }
            }
            Self::OutwardFromTheMiddle => order.sort_by_key(|&at| at.abs_diff(count / 2)),
        }
        order
    }
}

/// Fills every second cell, or every cell with a value unlike its neighbours',
/// then empties the map.
fn fill_and_empty<const S: usize, const L: usize, const I: usize>(
    ranges: usize,
    with_gaps: bool,
    orders: [Order; 2],
) {
    let mut map = addrspace::range_map::RangeMap::<u64, u64, S, L, I>::default();
    let width = if with_gaps { 2 } else { 1 };
    let at = |number: usize| number as u64 * width;
    let check_every = 1 + ranges / 64;
    for (step, number) in orders[0].of(ranges).into_iter().enumerate() {
        assert!(map.insert(at(number)..at(number) + 1, number as u64).next().is_none());
        if step % check_every == 0 {
            map.check();
        }
        assert_eq!(map.len(), step + 1);
    }
    map.check();
    assert_eq!(map.first_gap(1, 1, 0..u64::MAX), Some(if with_gaps { 1 } else { at(ranges) }));
    for (step, number) in orders[1].of(ranges).into_iter().enumerate() {
        let mut removed = map.remove(at(number)..at(number) + 1);
        assert_eq!(removed.next(), Some((at(number)..at(number) + 1, number as u64)), "{orders:?}");
        drop(removed);
        if step % check_every == 0 {
            map.check();
        }
        assert_eq!(map.len(), ranges - step - 1);
    }
    map.check();
    assert!(map.is_empty());
}

#[test]
fn a_map_of_thousands_of_ranges_shrinks_to_nothing() {
    use Order::{Ascending, Descending, OutwardFromTheMiddle, Scattered};
    for with_gaps in [false, true] {
        for filled in [Ascending, Descending, Scattered, OutwardFromTheMiddle] {
            for emptied in [Ascending, Descending, Scattered, OutwardFromTheMiddle] {
                fill_and_empty::<3, 3, 3>(600, with_gaps, [filled, emptied]);
                fill_and_empty::<7, 3, 3>(300, with_gaps, [filled, emptied]);
                fill_and_empty::<7, 7, 7>(1000, with_gaps, [filled, emptied]);
                fill_and_empty::<31, 15, 31>(4000, with_gaps, [filled, emptied]);
            }
        }
    }
}

#[test]
fn one_edit_of_thousands_of_ranges() {
    fn sweep<const S: usize, const L: usize, const I: usize>() {
        let ranges = || (0..3000_u64).map(|n| (n * 2..n * 2 + 1, n));
        let full = addrspace::range_map::RangeMap::<u64, u64, S, L, I>::from_sorted(ranges());
        full.check();
        // All but one range at either end, or cutting into it.
        for (from, to) in
            [(0, 6000), (2, 5998), (1, 5999), (1999, 2801), (2000, 2801), (5, 5000), (4990, 6100)]
        {
            let inside = |n: u64| from <= n * 2 && n * 2 < to;
            let mut map = full.clone();
            assert!(
                map.remove(from..to)
                    .eq(full.pieces(from..to).map(|(range, value)| (range, *value)))
            );
            map.check();
            assert!(
                map.iter().eq(full.iter().filter(|(_, n)| !inside(**n))),
                "remove {from}..{to}"
            );

            let mut map = full.clone();
            map.remove(from..to);
            map.check();
            assert!(
                map.iter().eq(full.iter().filter(|(_, n)| !inside(**n))),
                "remove {from}..{to}, ignored"
            );

            let mut map = full.clone();
            map.insert(from..to, u64::MAX);
            map.check();
            assert_eq!(map.get_range(from), Some((from..to, &u64::MAX)), "insert {from}..{to}");
            assert_eq!(map.len() as u64, 3001 - (0..3000).filter(|&n| inside(n)).count() as u64);

            let mut map = full.clone();
            map.update(from..to, |_, value| *value = u64::MAX);
            map.check();
            assert_eq!(map.len(), 3000, "update {from}..{to}");
            assert_eq!(
                map.iter().filter(|(_, value)| **value == u64::MAX).count(),
                (0..3000).filter(|&n| inside(n)).count()
            );

            let mut map = full.clone();
            map.retain(|range, _| !inside(range.start / 2));
            map.check();
            assert!(
                map.iter().eq(full.iter().filter(|(_, n)| !inside(**n))),
                "retain outside of {from}..{to}"
            );
        }
        // Every range becomes equal to its neighbours, which touch.
        let mut map: addrspace::range_map::RangeMap<u64, u64, S, L, I> =
            (0..3000).map(|n| (n..n + 1, n)).collect();
        map.update(0..3000, |_, value| *value = 7);
        map.check();
        assert!(map.iter().eq([(0..3000, &7)]));
    }
    sweep::<3, 3, 3>();
    sweep::<7, 3, 3>();
    sweep::<7, 7, 7>();
    sweep::<31, 15, 31>();
}

/// Shrinking a failing run ends at words of zero, which should say little.
/// As a fuzz target does it.
#[test]
fn a_run_made_of_bytes() {
    let mut rng = Rng(11);
    let bytes: Vec<u8> = (0..200 * 24 + 5).map(|_| rng.next() as u8).collect();
    let mut trio = Trio::<u8, u8, 3, 3, 3>::new(Window::lowest(255));
    let mut steps = 0;
    for op in Weights::EVEN.ops_of_bytes(255, &bytes) {
        trio.step(&op);
        steps += 1;
    }
    assert_eq!(steps, 200);
}

#[test]
fn words_of_zero_make_the_simplest_operation() {
    assert!(matches!(Weights::EVEN.op(8, [0; 6]), Op::Insert { from: 0, to: 0, .. }));
}

/// Of leaves that must hold more than one range, two that one edit reaches into can both
/// be left with too few.
fn edit_in_all_widths<const S: usize, const L: usize, const I: usize>() {
    const CELLS: u64 = 2_000;
    let mut map = addrspace::range_map::RangeMap::<u64, u64, S, L, I>::default();
    let mut cells = vec![None; CELLS as usize];
    let mut rng = Rng(L as u64);
    for step in 0..3_000 {
        // As many narrow ones come as wide ones take away.
        let widest = if rng.below(16) == 0 { 400 } else { 9 };
        let start = rng.below(CELLS - 400);
        let end = start + 1 + rng.below(widest);
        let edited = &mut cells[start as usize..end as usize];
        match rng.below(8) {
            0 | 1 => {
                drop(map.remove(start..end));
                edited.fill(None);
            }
            // What becomes equal is joined, from one leaf to the next as well.
            2 => {
                map.update(start..end, |_, value| *value = 0);
                edited.iter_mut().flatten().for_each(|value| *value = 0);
            }
            _ => {
                drop(map.insert(start..end, step));
                edited.fill(Some(step));
            }
        }
        map.check();
        if step % 100 == 0 {
            let found = (0..CELLS).map(|cell| map.get(cell).copied());
            assert!(found.eq(cells.iter().copied()), "step {step}");
        }
    }
    assert!(map.len() > S, "{} ranges are one leaf", map.len());
}

#[test]
fn edits_of_all_widths_leave_leaves_that_are_full_enough() {
    edit_in_all_widths::<31, 15, 31>();
    edit_in_all_widths::<15, 15, 3>();
    edit_in_all_widths::<31, 31, 7>();
    edit_in_all_widths::<63, 63, 63>();
}

/// Also where the last leaf would have too few, and takes some of the one before.
#[test]
fn lists_of_all_lengths_become_leaves_that_are_full_enough() {
    fn holds<const S: usize, const L: usize, const I: usize>() {
        for count in 0..5 * L as u64 {
            let map = addrspace::range_map::RangeMap::<u64, u64, S, L, I>::from_sorted(
                (0..count).map(|n| (n * 2..n * 2 + 1, n)),
            );
            map.check();
            assert!(map.iter().map(|(_, n)| *n).eq(0..count), "{count}");
        }
    }
    holds::<3, 3, 3>();
    holds::<31, 15, 31>();
    holds::<31, 31, 7>();
    holds::<63, 63, 63>();
}

/// A leaf that has as few ranges as it may gives its first one to the leaf before.
#[test]
fn a_leaf_whose_first_range_is_joined_stays_full_enough() {
    fn holds<const S: usize, const L: usize, const I: usize>() {
        let touching = (0..200_u64).map(|n| (n * 2..n * 2 + 2, n));
        let full = addrspace::range_map::RangeMap::<u64, u64, S, L, I>::from_sorted(touching);
        for first in 0..150 {
            for gone in 1..L as u64 {
                let mut map = full.clone();
                map.remove(first * 2 + 4..(first + gone) * 2 + 4);
                map.update(first * 2..first * 2 + 4, |_, value| *value = 1_000);
                map.check();
                assert_eq!(map.get_range(first * 2), Some((first * 2..first * 2 + 4, &1_000)));
                assert_eq!(map.len() as u64, 199 - gone.min(198 - first));
            }
        }
    }
    holds::<3, 3, 3>();
    holds::<31, 15, 31>();
    holds::<31, 15, 3>();
    holds::<31, 31, 7>();
}

/// Where the leaf that was joined goes into the last one, which ends where the keys do.
#[test]
fn ranges_up_to_the_last_key_are_joined() {
    fn holds<const S: usize, const L: usize, const I: usize>() {
        const COUNT: u64 = 48;
        let at = |nth: u64| u64::MAX - 2 * (COUNT - nth);
        let touching = (0..COUNT).map(|n| (at(n)..at(n + 1), n));
        let full = addrspace::range_map::RangeMap::<u64, u64, S, L, I>::from_sorted(touching);
        for first in 0..COUNT {
            for last in first + 1..=COUNT {
                for gone in 0..=L as u64 {
                    let hole = COUNT - 1 - gone..COUNT - 1;
                    let mut map = full.clone();
                    map.remove(at(hole.start)..at(hole.end));
                    map.update(at(first)..at(last), |_, value| *value = 1_000);
                    map.check();
                    for nth in 0..COUNT {
                        let value = if (first..last).contains(&nth) { 1_000 } else { nth };
                        let there = (!hole.contains(&nth)).then_some(&value);
                        assert_eq!(map.get(at(nth)), there, "{nth} of {first}..{last}, {hole:?}");
                    }
                }
            }
        }
    }
    holds::<7, 7, 3>();
    holds::<31, 15, 31>();
}
