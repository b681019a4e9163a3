//! The command: its arguments, its output, its exit status.

use core::time::Duration;
use std::fs;
use std::io::{self, Write};
use std::time::{Instant, SystemTime};

use super::expect::Mremap;
use super::numbers::Numbers;
use super::shrink::shrink;
use super::stream::{Difference, replay, run as run_stream};
use super::tally::Tally;

/// Books and kernel agreed about every call.
pub(crate) const AGREED: u8 = 0;
/// They disagreed.
pub(crate) const DISAGREED: u8 = 1;

const HELP: &str = "\
Makes random memory calls (mmap, munmap, mprotect, mremap, madvise; right and wrong
ones) in a forked child, and on the books of an `AddrSpace` of the same addresses;
compares each answer, and every page of the window against /proc/PID/maps.

Usage: differential [--seconds N] [--seed N] [--children N] [--mremap before|from]

  --seconds N    how long, 10 seconds without it
  --seed N       of the first child; without it another each time. A child is the same
                 for the same seed
  --children N   no more than so many, each with 2000 calls
  --mremap WHICH the rules of mremap before, or from, Linux 6.17; without it those of
                 the kernel that runs
  --help         print this

A difference is printed with its seed and the fewest calls that show it.

Exit status: 0 if everything agreed, 1 if something did not, 2 if it cannot run here.
";

/// What the arguments ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    help: bool,
    time: Duration,
    seed: Option<u64>,
    children: u64,
    mremap: Option<Mremap>,
}

/// Runs the command and answers its exit status.
///
/// # Errors
///
/// If there is no child to be had, or nothing can be written to `out` any more.
pub(crate) fn run(
    arguments: impl IntoIterator<Item = String>,
    out: &mut dyn Write,
) -> io::Result<u8> {
    let wish = parse(arguments)?;
    if wish.help {
        out.write_all(HELP.as_bytes())?;
        return Ok(AGREED);
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mremap = wish.mremap.unwrap_or_else(|| rules_of(&release));
    let seed = wish.seed.unwrap_or_else(of_the_moment);
    writeln!(out, "kernel {}, mremap as {mremap:?}, seed {seed}", release.trim())?;
    out.flush()?;

    let begun = Instant::now();
    // A time that no clock reaches is none.
    let until = begun.checked_add(wish.time);
    let mut total = Tally::default();
    for nth in 0..wish.children {
        // The first child has the seed that was given, so that it can be given again.
        let seed = if nth == 0 { seed } else { Numbers::new(seed.wrapping_add(nth)).bits() };
        let (tally, difference) = run_stream(seed, mremap, until)?;
        total.add(&tally);
        if let Some(difference) = difference {
            write!(out, "{total}")?;
            tell(out, seed, mremap, difference)?;
            return Ok(DISAGREED);
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
    }
    if total.made == 0 {
        return Err(io::Error::other("there was no time for a single call"));
    }
    writeln!(out, "{total}books and kernel agreed, {} s", begun.elapsed().as_secs())?;
    Ok(AGREED)
}

/// Prints a difference.
fn tell(out: &mut dyn Write, seed: u64, mremap: Mremap, found: Difference) -> io::Result<()> {
    let Difference { what, calls } = found;
    writeln!(out, "\nDIFFERENCE of seed {seed} after {} calls: {what}", calls.len())?;
    let fewest = shrink(calls, |calls| matches!(replay(calls, mremap), Ok(Some(_))));
    for call in &fewest {
        writeln!(out, "  {call}")?;
    }
    let what = replay(&fewest, mremap)?.unwrap_or_else(|| "not seen again".to_owned());
    writeln!(out, "  {what}")
}

fn parse(arguments: impl IntoIterator<Item = String>) -> io::Result<Wish> {
    let mut wish = Wish {
        help: false,
        time: Duration::from_secs(10),
        seed: None,
        children: u64::MAX,
        mremap: None,
    };
    let mut arguments = arguments.into_iter();
    while let Some(option) = arguments.next() {
        if option == "--help" || option == "-h" {
            wish.help = true;
            continue;
        }
        let value = arguments.next().unwrap_or_default();
        let wrong = || io::Error::other(format!("{option} {value}: --help says more"));
        let number = || value.parse().map_err(|_| wrong());
        match (option.as_str(), value.as_str()) {
            ("--seconds", _) => wish.time = Duration::from_secs(number()?),
            ("--seed", _) => wish.seed = Some(number()?),
            ("--children", _) => wish.children = number()?,
            ("--mremap", "before") => wish.mremap = Some(Mremap::Before617),
            ("--mremap", "from") => wish.mremap = Some(Mremap::From617),
            _ => return Err(wrong()),
        }
    }
    Ok(wish)
}

/// The rules of a kernel, by its release.
pub(crate) fn rules_of(release: &str) -> Mremap {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < (6, 17) => Mremap::Before617,
        _ => Mremap::From617,
    }
}

/// A seed that is another each time.
fn of_the_moment() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::from(since.subsec_nanos()) ^ since.as_secs() << 20
}
