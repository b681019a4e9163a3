//! The command: its arguments, its exit status.

use std::io::{self, Write};
use std::path::PathBuf;

use addrspace::Executor;

use super::scene::{self, Trouble};

/// Nothing differed, and nothing was refused that should not have been.
pub(crate) const AGREED: u8 = 0;
/// Something did, or was.
pub(crate) const DISAGREED: u8 = 1;
/// A file could not be read, or the arguments make no sense.
pub(crate) const UNREADABLE: u8 = 2;

/// Of the traces that come with the crate, the one with each kind of call in it:
/// private files and anonymous memory mapped, unmapped, protected, and hundreds of
/// `mremap` that shrink, grow and move.
pub(crate) const SHIPPED: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/traces/sng_mremap.mt.gz");

const HELP: &str = "\
Loads a program into reserved memory, lets a recorded program run over it by real
system calls, compares the books with the kernel, and undoes all of it.

Usage: sandbox [--image FILE] [--trace FILE] [--rounds N] [--full]

  --image FILE   load this 64-bit little-endian ELF file; without it, a few lines
                 that rustc (or cc) compiles now. It is loaded and never executed
  --trace FILE   the recorded program (*.mt.gz); without it, stress-ng's mremap
                 stressor out of tests/traces, which has each kind of call in it
  --rounds N     how often the run is measured (15); 0 leaves the costs out
  --full         print layouts whole
  --help         print this

What happens:

  1. 64 GiB of addresses are reserved, with guards on either side.
  2. The program is loaded, a stack mapped, and both are marked as original.
  3. Of the trace, the address space with the most calls runs: from its execve on,
     and if it was forked, its ancestors' calls up to the fork. Its addresses are
     moved into the reservation, stretch by stretch. The kernel's choice of a place
     is taken from the trace. Files are empty memfds of the right size.
     Calls that the recorded kernel refused are not repeated, but for an mprotect
     that met a gap: what lies before the gap did change. Shared memory, System V
     segments, huge pages and the kernel's own mappings are skipped, and so is what
     is done to them later; advice is not counted. Nothing touches the memory, and
     none is set aside for it (MAP_NORESERVE).
     After every 1,000 calls, and at the end, the books are compared with the
     kernel's own list. That the executor refuses what the recorded kernel did is
     wrong as well, unless it is about memory that the guest may not have as the
     recorded program had it, because an earlier call was skipped.
  4. The guest harms what it started with: it takes access from a page of the stack,
     unmaps the last page of the program and maps another over its first.
  5. All that is not original is unmapped, and the snapshot restored. Mappings come
     back; a loader that needs the bytes of lost pages copies them in again.
  6. The run and the reset are done N times more, in turns with the bare system
     calls for the same changes on another reservation. The columns: verbs of the
     executor, by the recorded call that they repeat, and system calls that make
     the same changes; nanoseconds per verb for either, medians over the rounds.

Layouts are the kernel's list (/proc/self/maps); addresses are counted from the
start of the reservation. What is reserved, or has no access, is left out.

Exit status: 0 if books and kernel agreed and all was undone, 1 if anything
differed or was refused, 2 if a file cannot be read or the arguments make no sense.
";

/// What the arguments ask for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    help: bool,
    /// The program to load; none for one built now.
    pub(crate) image: Option<PathBuf>,
    pub(crate) trace: PathBuf,
    pub(crate) rounds: u32,
    /// Whether layouts are printed whole.
    pub(crate) full: bool,
}

/// Runs the command and answers its exit status.
///
/// `meddle` is what somebody else in the process does to the guest's memory before
/// the last comparison; nothing, but in tests.
///
/// # Errors
///
/// If nothing can be written to `out` or `err` any more.
pub(crate) fn run(
    arguments: impl IntoIterator<Item = String>,
    meddle: impl FnOnce(&Executor),
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let wish = match parse(arguments) {
        Ok(wish) => wish,
        Err(what) => {
            writeln!(err, "sandbox: {what}; --help says more")?;
            return Ok(UNREADABLE);
        }
    };
    if wish.help {
        out.write_all(HELP.as_bytes())?;
        return Ok(AGREED);
    }
    match scene::play(&wish, meddle, out) {
        Ok(true) => Ok(AGREED),
        Ok(false) => Ok(DISAGREED),
        Err(Trouble::Output(error)) => Err(error),
        Err(Trouble::Input(what)) => complain(UNREADABLE, &what, out, err),
        Err(Trouble::Fault(what)) => complain(DISAGREED, &what, out, err),
    }
}

fn complain(status: u8, what: &str, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    // What was printed so far goes first, wherever both end up.
    out.flush()?;
    writeln!(err, "sandbox: {what}")?;
    Ok(status)
}

fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Wish, String> {
    let mut wish =
        Wish { help: false, image: None, trace: SHIPPED.into(), rounds: 15, full: false };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--help" | "-h" => wish.help = true,
            "--full" => wish.full = true,
            "--image" => wish.image = Some(value()?.into()),
            "--trace" => wish.trace = value()?.into(),
            "--rounds" => {
                let rounds = value()?;
                wish.rounds = rounds
                    .parse()
                    .ok()
                    .filter(|rounds| *rounds <= 10_000)
                    .ok_or_else(|| format!("{rounds} is no number of rounds, 0 to 10000"))?;
            }
            _ => return Err(format!("unknown argument {argument}")),
        }
    }
    Ok(wish)
}
