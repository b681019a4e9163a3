//! This crate beside its peers: the figures, and that all of them agree.
//!
//! Five keepers of the same books do the same work in one process, in turns whose
//! order rotates: this crate's `RangeMap`, its `AddrSpace`, the crates `rangemap` and
//! `nodit`, and `rangemap` with an index of its gaps beside it. All are asked in
//! bytes, and check what they are asked as an address space has to.
//!
//! ```text
//! cargo bench --bench peers                # all of it, some minutes
//! cargo bench --bench peers -- --quick     # fewer rounds, about a minute
//! cargo bench --bench peers -- --test      # each workload once; asserts that all agree
//! cargo bench --bench peers -- --csv FILE  # writes the figures also to a file
//! cargo bench --bench peers -- --sizes 16,4096   # these numbers of mappings alone
//! ```
//!
//! A ratio is the median over the rounds of ours to theirs *in the same round*, so
//! that what else the machine does cancels out; below 1 ours is faster. All evict each
//! other's cache lines between their turns, as a program around one of them would. The
//! nanoseconds, of this thread's own time, are medians too, and say less.
//!
//! Beside them: the heap that a mapping takes, copies made in a process of each
//! contender's own, and the longest that any one operation of ours took.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a benchmark: it links std, the numbers are small, and a panic is a failure"
)]

#[path = "peers/books.rs"]
mod books;
#[path = "peers/clock.rs"]
mod clock;
#[path = "peers/clones.rs"]
mod clones;
#[path = "peers/contenders.rs"]
mod contenders;
#[path = "peers/gap_index.rs"]
mod gap_index;
#[path = "peers/heap.rs"]
mod heap;
#[path = "peers/layout.rs"]
mod layout;
#[path = "peers/longest.rs"]
mod longest;
#[path = "peers/others.rs"]
mod others;
#[path = "peers/ours.rs"]
mod ours;
#[path = "peers/scripts.rs"]
mod scripts;
#[path = "peers/table.rs"]
mod table;
#[path = "peers/workloads.rs"]
mod workloads;

use std::time::Instant;

use layout::{Layout, PAGE};
use table::Table;
use workloads::Bench;

/// How much of it is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Extent {
    Test,
    Quick,
    Full,
}

impl Extent {
    fn sizes(self) -> &'static [usize] {
        match self {
            Self::Test => &[16, 256, 4096],
            Self::Quick | Self::Full => &[16, 256, 4096, 65_536, 1_000_000],
        }
    }

    fn rounds(self, mappings: usize) -> usize {
        match (self, mappings) {
            (Self::Test, _) => 1,
            (Self::Quick, ..=4096) => 15,
            (Self::Quick, ..=65_536) => 7,
            (Self::Quick, _) => 3,
            (Self::Full, ..=4096) => 101,
            (Self::Full, ..=65_536) => 51,
            (Self::Full, _) => 25,
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    if let [flag, who, mappings, ..] = &args[..]
        && flag == clones::ALONE
    {
        return clones::alone(who, mappings.parse().expect("a number of mappings"));
    }
    // `cargo test --benches` runs this without `--bench`, and unoptimised.
    let extent = match (has("--test") || !has("--bench"), has("--quick")) {
        (true, _) => Extent::Test,
        (false, true) => Extent::Quick,
        (false, false) => Extent::Full,
    };
    let after = |flag: &str| {
        let at = args.iter().position(|arg| arg == flag)?;
        Some(args.get(at + 1).unwrap_or_else(|| panic!("{flag} is followed by something")))
    };
    let sizes: Vec<usize> = after("--sizes").map_or(extent.sizes().to_vec(), |list| {
        list.split(',').map(|size| size.parse().expect("numbers of mappings, from 16")).collect()
    });

    let started = Instant::now();
    let mut table = Table::default();
    for &mappings in &sizes {
        let layout = Layout::new(mappings, PAGE);
        let mut bench = Bench::new(layout, &mut table);
        for round in 0..extent.rounds(mappings) {
            bench.round(round, &mut table);
        }
        eprintln!("{mappings} mappings: after {:.0} s", started.elapsed().as_secs_f64());
    }
    let (rounds, steps) = match extent {
        Extent::Test => (1, 100),
        Extent::Quick => (3, 5000),
        Extent::Full => (15, 20_000),
    };
    for mappings in [16, 4096] {
        clones::turns(mappings, rounds, &mut table);
    }
    let largest = sizes.last().expect("there are sizes");
    longest::measure(&Layout::new(*largest, PAGE), steps, &mut table);

    if extent == Extent::Test {
        println!("all agree on {} workloads", table.len());
    } else {
        println!("{table}");
    }
    println!("{:.0} s", started.elapsed().as_secs_f64());
    if let Some(file) = after("--csv") {
        std::fs::write(file, table.csv()).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
}
