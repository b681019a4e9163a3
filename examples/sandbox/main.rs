//! A sandbox: a program is loaded into reserved memory, a recorded program runs
//! over it by real system calls, and all that it did is undone again.
//!
//! `cargo run --release --example sandbox` is the whole use of it; `--help` says
//! the rest. The same modules run in `cargo test`, from `tests/sandbox.rs`.

#[cfg(target_os = "linux")]
mod bare;
#[cfg(target_os = "linux")]
mod build;
#[cfg(target_os = "linux")]
mod cli;
#[cfg(target_os = "linux")]
mod costs;
#[cfg(target_os = "linux")]
mod deed;
#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod guest;
#[cfg(target_os = "linux")]
mod image;
#[cfg(target_os = "linux")]
mod layout;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod recording;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod scene;
#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "the reader tells more than one program needs")]
#[path = "../replay/trace/mod.rs"]
mod trace;
#[cfg(target_os = "linux")]
mod windows;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use std::io::{self, BufWriter, Write};

    let mut out = BufWriter::new(io::stdout().lock());
    let arguments = std::env::args().skip(1);
    let status = cli::run(arguments, |_| (), &mut out, &mut io::stderr()).and_then(|status| {
        out.flush()?;
        Ok(status)
    });
    match status {
        Ok(status) => status.into(),
        // The reader of our output went away; it has what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sandbox: {error}");
            cli::UNREADABLE.into()
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("sandbox: the executor needs Linux");
    ExitCode::from(2)
}
