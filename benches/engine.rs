//! Why not the `rangemap` crate underneath? The figures that answer it.
//!
//! Three keepers of the same books do the same work in one process, in turns
//! whose order rotates: this crate's `RangeMap`, `rangemap::RangeMap`, and the
//! latter with an index of its gaps beside it.
//!
//! ```text
//! cargo bench --bench engine              # all of it, about 20 seconds
//! cargo bench --bench engine -- --quick   # fewer rounds, a few seconds
//! cargo bench --bench engine -- --test    # each workload once; asserts that all three agree
//! ```
//!
//! A ratio is the median over the rounds of ours to theirs *in the same round*,
//! so that what else the machine does cancels out; below 1 ours is faster. The
//! three evict each other's cache lines between their turns, as a program
//! around one of them would. The nanoseconds are medians too, and say less.

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

#[path = "engine/books.rs"]
mod books;
#[path = "engine/gap_index.rs"]
mod gap_index;
#[path = "engine/layout.rs"]
mod layout;
#[path = "engine/table.rs"]
mod table;
#[path = "engine/workloads.rs"]
mod workloads;

use std::time::Instant;

use addrspace::range_map::RangeMap;

use books::Mapping;
use gap_index::GapIndexed;
use workloads::Bench;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    // `cargo test --benches` runs this without `--bench`, and unoptimised.
    let test = has("--test") || !has("--bench");
    let (rounds, sizes): (usize, &[usize]) = match (test, has("--quick")) {
        (true, _) => (1, &[16, 256, 4096]),
        (false, true) => (15, &[16, 256, 4096, 65_536]),
        (false, false) => (101, &[16, 256, 4096, 65_536]),
    };
    let started = Instant::now();
    let mut table = table::Table::default();
    for &ranges in sizes {
        let layout = layout::Layout::new(ranges);
        let ours: RangeMap<u64, Mapping> = books::build(&layout);
        let peer: rangemap::RangeMap<u64, Mapping> = books::build(&layout);
        let indexed: GapIndexed<Mapping> = books::build(&layout);
        let mut bench = Bench::new(layout, ours, peer, indexed);
        bench.run(rounds, &mut table);
    }
    if test {
        println!(
            "all three agree on {} workloads ({:.1} s)",
            table.len(),
            started.elapsed().as_secs_f64()
        );
    } else {
        println!("{table}\n{rounds} rounds, {:.1} s", started.elapsed().as_secs_f64());
    }
}
