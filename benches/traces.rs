//! Recorded programs, and what their memory calls cost in the books.
//!
//! Each trace of `tests/traces` is replayed once as the `replay` example does it, which
//! compares the books with what the kernel had, and what it asked of the books is
//! written down. The same is then asked of an `AddrSpace`, and of a space that is
//! built on the crate `rangemap` with what that offers, in turns whose order
//! alternates. Both hear what each change displaces, as hosts have to.
//!
//! ```text
//! cargo bench --bench traces                # all of it, about half a minute
//! cargo bench --bench traces -- --quick     # fewer rounds
//! cargo bench --bench traces -- --test      # once; asserts that both agree at every end
//! cargo bench --bench traces -- --csv FILE  # writes the figures also to a file
//! ```
//!
//! A ratio is the median over the rounds of ours to theirs *in the same round*. What
//! the kernel refused, and what the books refused like it, is not replayed here.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a benchmark: it links std, the numbers are small, and a panic is a failure"
)]

// The replay itself is the example's, over books that keep a journal.
#[path = "traces/books.rs"]
mod books;
#[allow(dead_code, reason = "the example prints what is only summed up here")]
#[path = "../examples/replay/compare.rs"]
mod compare;
#[allow(dead_code, reason = "the example prints what is only summed up here")]
#[path = "../examples/replay/kernel.rs"]
mod kernel;
#[allow(dead_code, reason = "not all of it is needed to keep a journal")]
#[path = "../examples/replay/books.rs"]
mod plain;
#[path = "../examples/replay/rules/mod.rs"]
mod rules;
#[allow(dead_code, reason = "the example prints what is only summed up here")]
#[path = "../examples/replay/session.rs"]
mod session;
#[allow(dead_code, reason = "the example prints what is only summed up here")]
#[path = "../examples/replay/trace/mod.rs"]
mod trace;

#[allow(dead_code, reason = "some is for the benchmark of the peers alone")]
#[path = "peers/clock.rs"]
mod clock;
#[path = "traces/journal.rs"]
mod journal;
#[path = "traces/keepers.rs"]
mod keepers;
#[path = "traces/ranges.rs"]
mod ranges;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::hint::black_box;
use std::path::{Path, PathBuf};

use addrspace::AddrSpace;

use journal::Step;
use keepers::play;
use ranges::RangeSpace;

const TRACES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/traces");

fn traces() -> Vec<PathBuf> {
    let mut traces: Vec<PathBuf> = fs::read_dir(TRACES)
        .unwrap_or_else(|error| panic!("{TRACES}: {error}"))
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.to_string_lossy().ends_with(".mt.gz"))
        .collect();
    traces.sort();
    assert!(!traces.is_empty(), "{TRACES}: no traces");
    traces
}

/// What a trace asks of the books.
fn record(path: &Path) -> Vec<Step> {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut trace = trace::Trace::compressed(file).expect("a trace");
    let findings = session::replay(&mut trace, false).expect("a whole trace");
    assert!(findings.agree(), "{}: books and kernel differ", path.display());
    journal::take()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Nanoseconds per step of ours and of theirs, of several plays.
fn round(steps: &[Step], plays: usize, first: usize) -> [f64; 2] {
    let mut nanos = [0.0; 2];
    for turn in 0..2 {
        let who = (turn + first) % 2;
        let started = clock::now();
        for _ in 0..plays {
            black_box(if who == 0 {
                play::<AddrSpace, false>(steps)
            } else {
                play::<RangeSpace, false>(steps)
            });
        }
        nanos[who] = (clock::now() - started) as f64 / (plays * steps.len()) as f64;
    }
    nanos
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    // `cargo test --benches` runs this without `--bench`, and unoptimised.
    let test = has("--test") || !has("--bench");
    let rounds = match (test, has("--quick")) {
        (true, _) => 1,
        (false, true) => 15,
        (false, false) => 101,
    };
    println!(
        "{:<16} {:>8} {:>8} {:>14} {:>14} {:>16}",
        "trace", "verbs", "regions", "AddrSpace, ns", "rangemap, ns", "ours / rangemap"
    );
    let mut csv = "table,name,mappings,column,value\n".to_owned();
    let mut all = vec![[0.0; 2]; rounds];
    let mut verbs = 0;
    let mut line = |name: &str, steps: usize, regions: usize, rounds: &[[f64; 2]]| {
        let [ours, theirs] = [0, 1].map(|who| median(rounds.iter().map(|nanos| nanos[who])));
        let ratio = median(rounds.iter().map(|nanos| nanos[0] / nanos[1]));
        println!("{name:<16} {steps:>8} {regions:>8} {ours:>14.1} {theirs:>14.1} {ratio:>16.3}");
        for (column, value) in [("AddrSpace", ours), ("rangemap", theirs), ("ratio", ratio)] {
            writeln!(csv, "trace,{name},{regions},{column},{value}").expect("strings grow");
        }
        writeln!(csv, "trace,{name},{regions},verbs,{steps}").expect("strings grow");
    };
    let mut most = 0;
    for path in traces() {
        let steps = record(&path);
        let name = path.file_name().unwrap().to_string_lossy();
        let name = name.trim_end_matches(".mt.gz");
        let (ours, theirs) = (play::<AddrSpace, true>(&steps), play::<RangeSpace, true>(&steps));
        assert_eq!(ours, theirs, "{name}: the two differ");
        let plays = (20_000 / steps.len()).clamp(1, 64);
        let nanos: Vec<[f64; 2]> = (0..rounds).map(|nth| round(&steps, plays, nth)).collect();
        for (sum, nanos) in all.iter_mut().zip(&nanos) {
            *sum = [0, 1].map(|who| sum[who] + nanos[who] * steps.len() as f64);
        }
        verbs += steps.len();
        most = most.max(ours.most_regions);
        line(name, steps.len(), ours.most_regions, &nanos);
    }
    for sum in &mut all {
        *sum = sum.map(|nanos| nanos / verbs as f64);
    }
    line("all", verbs, most, &all);
    let csv_file = args
        .iter()
        .position(|arg| arg == "--csv")
        .map(|at| args.get(at + 1).expect("`--csv` is followed by the name of a file"));
    if let Some(file) = csv_file {
        fs::write(file, csv).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
}
