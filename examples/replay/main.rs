//! Replays recorded memory calls of real programs and compares books and kernel.
//!
//! `cargo run --release --example replay -- FILE...` is the whole use of it;
//! `--help` says the rest. The same modules run in `cargo test`, from
//! `tests/replay.rs`.

mod books;
mod cli;
mod compare;
mod kernel;
mod report;
mod rules;
mod session;
mod trace;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let status =
        cli::run(std::env::args().skip(1), &mut out, &mut io::stderr().lock()).and_then(|status| {
            out.flush()?;
            Ok(status)
        });
    match status {
        Ok(status) => status.into(),
        // The reader of our output went away; it has what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("replay: {error}");
            cli::UNREADABLE.into()
        }
    }
}
