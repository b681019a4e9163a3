//! How much work an operation is at the most, counted in the tests.
//!
//! A clock says little of that here: what else a machine does takes longer than the
//! longest operation.

extern crate std;

use core::cell::Cell;
use std::println;

use super::tree::Tree;

/// Looks at a node, and entries of a node that moved; a lookup of a node that was looked
/// at before counts again.
#[derive(Clone, Copy, Default, Debug)]
struct Effort {
    nodes: usize,
    entries: usize,
}

std::thread_local! {
    static EFFORT: Cell<Effort> = const { Cell::new(Effort { nodes: 0, entries: 0 }) };
}

pub(super) fn look() {
    let Effort { nodes, entries } = EFFORT.get();
    EFFORT.set(Effort { nodes: nodes + 1, entries });
}

pub(super) fn moved(count: usize) {
    let Effort { nodes, entries } = EFFORT.get();
    EFFORT.set(Effort { nodes, entries: entries + count });
}

/// Raises `most` to what `work` takes.
fn measure(most: &mut Effort, work: impl FnOnce()) {
    EFFORT.take();
    work();
    let taken = EFFORT.take();
    most.nodes = most.nodes.max(taken.nodes);
    most.entries = most.entries.max(taken.entries);
}

/// The most that each operation took in a tree of so many ranges that is churned.
fn longest(ranges: u64) -> (usize, [(&'static str, Effort); 6]) {
    let mut tree = Tree::<u64, 31, 15, 31>::new();
    let mut dup = |_, val: &u64| *val;
    let mut word = 1_u64;
    let mut dice = |bound: u64| {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (word >> 33) % bound
    };
    for nth in 0..ranges {
        tree.put(16 * nth, 16 * nth + 9, nth, &mut dup);
    }
    let mut most = [
        ("find", Effort::default()),
        ("unmap", Effort::default()),
        ("map", Effort::default()),
        ("map over 8", Effort::default()),
        ("unmap a part", Effort::default()),
        ("search for a gap", Effort::default()),
    ];
    for _ in 0..4 * ranges {
        let (at, val) = (16 * dice(ranges), dice(1 << 20));
        match dice(8) {
            0 | 1 => {
                measure(&mut most[1].1, || tree.cut(at, at + 9, &mut dup));
                measure(&mut most[2].1, || tree.put(at, at + 9, val, &mut dup));
            }
            2 => measure(&mut most[1].1, || tree.cut(at, at + 9, &mut dup)),
            3 | 4 => measure(&mut most[2].1, || tree.put(at, at + 7, val, &mut dup)),
            5 => measure(&mut most[3].1, || tree.put(at, at + 8 * 16, val, &mut dup)),
            6 => measure(&mut most[4].1, || tree.cut(at + 2, at + 4, &mut dup)),
            _ => {
                let len = 1 + dice(200);
                measure(&mut most[5].1, || _ = tree.next_gap(len, at, u64::MAX));
                measure(&mut most[5].1, || _ = tree.prev_gap(len, 0, at));
            }
        }
        measure(&mut most[0].1, || _ = tree.get(at));
    }
    (tree.height, most)
}

/// However large the map, an operation looks at nodes and moves entries as its height
/// has it, also when it splits or joins nodes on every level.
#[test]
fn no_operation_is_long() {
    for ranges in [100, 3_000, 50_000] {
        let (height, most) = longest(ranges);
        for (name, Effort { nodes, entries }) in most {
            println!("{ranges} ranges, height {height}: {name}: {nodes} looks, {entries} moves");
            assert!(nodes <= 40 * (height + 1), "{name}: {nodes} looks");
            assert!(entries <= 40 * (height + 1), "{name}: {entries} moves");
        }
    }
}
