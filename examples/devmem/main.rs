//! Reads and writes physical memory by address: what devmem2 does, and dumps,
//! `/proc/iomem` and page frames.
//!
//! `cargo run --release --example devmem -- --help` says how. With `--file` another
//! file takes the place of `/dev/mem`. The module `cli` runs in `cargo test`, too,
//! from `tests/devmem_tool.rs`.

#[cfg(target_os = "linux")]
mod cli;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use std::io::{self, IsTerminal};

    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let bar = io::stderr().is_terminal();
    match cli::run(&arguments, &mut io::stdout().lock(), &mut io::stderr(), bar) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output went away; it has what it wanted.
        Err(cli::Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("devmem: {failure}");
            failure.status().into()
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("devmem: physical memory is reached through /dev/mem, which Linux has");
    ExitCode::FAILURE
}
