//! The command: its arguments, its output, its exit status.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::report::{Table, details, layouts};
use super::session::{Findings, replay};
use super::trace::Trace;

/// Books and kernel agreed about every trace.
pub(crate) const AGREED: u8 = 0;
/// They disagreed somewhere.
pub(crate) const DISAGREED: u8 = 1;
/// A trace could not be read, or the arguments make no sense.
pub(crate) const UNREADABLE: u8 = 2;

/// Where the traces lie that come with the crate.
pub(crate) const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/traces");

const HELP: &str = "\
Replays recorded memory calls of real programs through `addrspace`, and compares
its books with what the Linux kernel did: after every call, page by page.

Usage: replay [--maps] [FILE...]

  FILE     a trace (*.mt.gz); without any, those that come with the crate
  --maps   print the last layout of every address space
  --help   print this

The columns: calls recorded; calls after which books and kernel were compared;
how many of these found a difference; copies and ends of address spaces that
were equal, of how many; the most regions that one space had; and nanoseconds
spent in the library per call that reached it: its verbs, the handler that notes
the updates, and the clock itself, but neither reading nor comparing.

Exit status: 0 if everything agreed, 1 if anything did not, 2 if a file cannot
be read.
";

/// What the arguments ask for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wish {
    help: bool,
    maps: bool,
    files: Vec<PathBuf>,
}

/// Runs the command and answers its exit status.
///
/// # Errors
///
/// If nothing can be written to `out` or `err` any more.
pub(crate) fn run(
    arguments: impl IntoIterator<Item = String>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let wish = match parse(arguments) {
        Ok(wish) => wish,
        Err(what) => {
            writeln!(err, "replay: {what}; --help says more")?;
            return Ok(UNREADABLE);
        }
    };
    if wish.help {
        out.write_all(HELP.as_bytes())?;
        return Ok(AGREED);
    }
    let files = if wish.files.is_empty() {
        match shipped(Path::new(SHIPPED)) {
            Ok(files) => files,
            Err(what) => {
                writeln!(err, "replay: {what}")?;
                return Ok(UNREADABLE);
            }
        }
    } else {
        wish.files
    };

    let mut status = AGREED;
    let mut table = Table::new(&files);
    let mut found = Vec::new();
    table.head(out)?;
    for file in &files {
        match read(file, wish.maps) {
            Ok(findings) => {
                table.line(out, file, &findings)?;
                if !findings.agree() {
                    status = status.max(DISAGREED);
                }
                found.push((file.as_path(), findings));
            }
            Err(what) => {
                // What was printed so far goes first, wherever both end up.
                out.flush()?;
                writeln!(err, "replay: {}: {what}", file.display())?;
                status = UNREADABLE;
            }
        }
    }
    table.total(out)?;
    details(out, &found)?;
    layouts(out, &found)?;
    Ok(status)
}

fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Wish, String> {
    let mut wish = Wish::default();
    let mut only_files = false;
    for argument in arguments {
        match argument.as_str() {
            "--" if !only_files => only_files = true,
            "--maps" if !only_files => wish.maps = true,
            "--help" | "-h" if !only_files => wish.help = true,
            option if option.starts_with('-') && !only_files => {
                return Err(format!("unknown option {option}"));
            }
            _ => wish.files.push(argument.into()),
        }
    }
    Ok(wish)
}

/// The traces in `folder`, by name.
pub(crate) fn shipped(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let complaint = |why: &str| {
        format!(
            "the traces that come with the crate are not in {}: {why}; name a trace file",
            folder.display()
        )
    };
    let entries = fs::read_dir(folder).map_err(|error| complaint(&error.to_string()))?;
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(".mt.gz"))
        .collect();
    files.sort();
    if files.is_empty() { Err(complaint("there is none")) } else { Ok(files) }
}

fn read(file: &Path, maps: bool) -> Result<Findings, String> {
    let input = File::open(file).map_err(|error| error.to_string())?;
    let mut trace = Trace::compressed(input).map_err(|error| error.to_string())?;
    replay(&mut trace, maps).map_err(|error| error.to_string())
}
