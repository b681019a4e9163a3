//! How many instructions the hot operations take, against a committed table.
//!
//! Times vary with the machine and what else it does; the instructions of one
//! compiler do not. So these are what a change is held to.
//!
//! ```text
//! cargo bench --bench instructions --features capi              # compares with the table
//! cargo bench --bench instructions --features capi -- --update  # writes it
//! cargo bench --bench instructions --features capi -- --peers   # and shows what others take
//! cargo bench --bench instructions --features capi -- --test    # each operation once
//! ```
//!
//! The table is `benches/instructions.tsv`. A row that is missing, or that takes more
//! than 3 % more than the table says, is a failure. With another compiler than the
//! table's the differences are shown, and nothing is decided: a new table is due.
//!
//! Valgrind runs this program again and counts (`--tool=callgrind`), in one loop over
//! a script of operations that was written before. The same loop with an operation
//! that does nothing is subtracted. `RangeMap` is asked in pages; `AddrSpace` and the
//! functions of `mmap_c.h` in bytes, which they check.

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

#[allow(dead_code, reason = "some is for the benchmark of the peers alone")]
#[path = "peers/books.rs"]
mod books;
#[allow(dead_code, reason = "some is for the benchmark of the peers alone")]
#[path = "peers/gap_index.rs"]
mod gap_index;
#[path = "peers/layout.rs"]
mod layout;
#[allow(dead_code, reason = "some is for the benchmark of the peers alone")]
#[path = "peers/others.rs"]
mod others;
#[path = "peers/ours.rs"]
mod ours;
#[allow(dead_code, reason = "some is for the benchmark of the peers alone")]
#[path = "peers/scripts.rs"]
mod scripts;

#[path = "instructions/c.rs"]
mod c;
#[path = "instructions/rows.rs"]
mod rows;
#[path = "instructions/table.rs"]
mod table;
#[path = "instructions/valgrind.rs"]
mod valgrind;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    if has(valgrind::COUNTED) {
        rows::all(true, has("--peers"));
        return ExitCode::SUCCESS;
    }
    // `cargo test --benches` runs this without `--bench`, and unoptimised.
    if has("--test") || !has("--bench") {
        rows::all(false, true);
        println!("every operation ran; nothing was counted");
        return ExitCode::SUCCESS;
    }
    let counted = match valgrind::count(has("--peers")) {
        Ok(counted) => counted,
        Err(why) => {
            eprintln!("!!! CANNOT COUNT HERE: {why}");
            return ExitCode::FAILURE;
        }
    };
    if has("--update") { table::update(&counted) } else { table::compare(&counted) }
}
