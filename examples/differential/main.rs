//! Makes random memory calls twice, in a forked child by the kernel and in the books of
//! an `AddrSpace`, and compares answer and pages after each.
//!
//! `cargo run --release --example differential -- --seconds 60` is the whole use of it;
//! `--help` says the rest. The same modules run in `cargo test`, from
//! `tests/differential.rs`.
#![cfg_attr(
    all(target_os = "linux", target_pointer_width = "64"),
    allow(
        clippy::arithmetic_side_effects,
        clippy::std_instead_of_alloc,
        reason = "a test program: it links std, and an overflow is a failure"
    )
)]

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod books;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod call;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod child;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod cli;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod expect;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod generate;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod ground;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod kernel;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod numbers;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod pages;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod rule;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod shrink;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod stream;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod tally;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod world;

use std::process::ExitCode;

/// The arguments make no sense, or there is nothing to compare with.
const CANNOT_RUN: u8 = 2;

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn main() -> ExitCode {
    match cli::run(std::env::args().skip(1), &mut std::io::stdout().lock()) {
        Ok(status) => status.into(),
        Err(error) => {
            eprintln!("differential: CANNOT RUN HERE: {error}");
            CANNOT_RUN.into()
        }
    }
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn main() -> ExitCode {
    eprintln!("differential: CANNOT RUN HERE: it compares with a 64-bit Linux kernel");
    CANNOT_RUN.into()
}
