//! The scenario, from an empty reservation back to a clean guest.

use core::time::Duration;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use addrspace::{AddrSpace, ExecError, Executor, Reservation};

use super::cli::Wish;
use super::files::Files;
use super::guest::Guest;
use super::image::Image;
use super::recording::{self, Recording};
use super::report::{self, Count, Size};
use super::trace::Trace;
use super::windows::Windows;
use super::{build, costs, layout, load};

/// The guest's addresses: 36 bits of them.
const SIZE: u64 = 1 << 36;
/// What they begin at a multiple of, and how much nobody has on either side.
const ALIGN: u64 = 1 << 30;
const GUARD: u64 = 1 << 20;
/// A file longer than this is no program to load.
const LONGEST_FILE: u64 = 1 << 30;

/// Why the scenario could not be played to its end.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// A file is not what it should be, or the machine cannot do it.
    Input(String),
    /// The executor did not do what it has to.
    Fault(String),
    /// Nothing can be printed any more.
    Output(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Turns an error about `what` into trouble.
fn about<E: core::fmt::Display>(what: impl core::fmt::Display) -> impl FnOnce(E) -> Trouble {
    move |error| Trouble::Input(format!("{what}: {error}"))
}

/// Turns a refusal that nothing excuses into trouble.
fn fault(what: &str) -> impl FnOnce(ExecError) -> Trouble {
    move |error| Trouble::Fault(format!("{what}: {error}"))
}

/// Plays the scenario; whether everything was as it should be.
pub(crate) fn play(
    wish: &Wish,
    meddle: impl FnOnce(&Executor),
    out: &mut dyn Write,
) -> Result<bool, Trouble> {
    // Input first: whatever is wrong with it is found before anything happens.
    let recording = record(&wish.trace).map_err(about(wish.trace.display()))?;
    let (name, file) = if let Some(path) = &wish.image {
        (path.display().to_string(), read(path).map_err(about(path.display()))?)
    } else {
        let built = build::build().map_err(Trouble::Input)?;
        (format!("a program that {} has just built", built.by), built.bytes)
    };

    let mut exec = reserve().map_err(about("no guest"))?;
    let page = exec.space().page_size();
    if page != recording.page {
        let (theirs, ours) = (recording.page.bytes(), page.bytes());
        let what = format!("recorded with pages of {theirs} bytes; here they have {ours}");
        return Err(about(wish.trace.display())(what));
    }
    let span = exec.space().span().ok_or_else(|| Trouble::Input("an empty guest".to_owned()))?;
    writeln!(out, "reserve  {} at {:#x}, {} guards", Size(SIZE), span.start(), Size(GUARD))?;

    let image = Image::read(&file, page).map_err(about(&name))?;
    let begun = Instant::now();
    let loaded = load::load(&mut exec, &image, &file).map_err(about(&name))?;
    exec.mark_original();
    let snapshot = exec.space().clone();
    let spent = Micros(begun.elapsed());
    let segments = Count(count(image.segments.len()), "segment");
    writeln!(out, "load     {name}: {segments}, {}, {spent}", Size(image.mapped()))?;
    let before = layout::read(span).map_err(about("the kernel's list"))?;
    report::layout(out, &before, span.start(), loaded, wish.full)?;

    let files = Files::like(&recording.files).map_err(about("files for the guest"))?;
    let windows =
        Windows::around(&recording.steps, &snapshot).map_err(about("windows for the guest"))?;
    let Recording { program, mm, steps, .. } = &recording;
    let mut run = Guest::new(&mut exec, &files, &windows).run(steps).map_err(fault("the guest"))?;
    let places = Count(count(windows.len()), "window");
    write!(out, "run      {program}, space {mm} of {}, in {places}", short(&wish.trace))?;
    if windows.left_out != 0 {
        write!(out, "; no room for {} more", windows.left_out)?;
    }
    writeln!(out)?;
    report::run(out, &run)?;

    let harm = load::harm(&image, loaded, page.bytes());
    for (_, deed) in harm {
        deed.perform(&mut exec, &files).map_err(fault("harm to the guest"))?;
    }
    run.deeds.extend(harm);
    writeln!(
        out,
        "harm     a page of the stack without access, the program's last page unmapped,\n         \
         another over its first; then:"
    )?;
    meddle(&exec);
    run.verify(&mut exec).map_err(fault("the comparison"))?;
    let after = layout::read(span).map_err(about("the kernel's list"))?;
    report::layout(out, &after, span.start(), loaded, wish.full)?;

    let undone = reset(&mut exec, &snapshot, out, harm.len())?;
    run.verify(&mut exec).map_err(fault("the comparison"))?;
    let again = layout::read(span).map_err(about("the kernel's list"))?;
    let same = undone && again == before;
    if same {
        writeln!(out, "         books equal to the snapshot, the kernel's list as after loading")?;
    } else {
        writeln!(out, "         NOT as it was after loading")?;
        report::layout(out, &again, span.start(), loaded, wish.full)?;
    }
    let mut well = same && run.differences.is_empty() && run.refused.is_empty();
    if well && wish.rounds != 0 {
        match costs::measure(&mut exec, &snapshot, &run.deeds, &files, wish.rounds) {
            Ok(costs) => {
                run.verify(&mut exec).map_err(fault("the comparison"))?;
                report::costs(out, &costs, wish.rounds)?;
            }
            Err(why) => {
                well = !why.is_ours();
                writeln!(out, "costs    {why}")?;
            }
        }
    }
    report::verified(out, &run)?;
    Ok(well && run.differences.is_empty())
}

/// Reads the recorded program.
fn record(path: &Path) -> Result<Recording, String> {
    let input = File::open(path).map_err(|error| error.to_string())?;
    let mut trace = Trace::compressed(input).map_err(|error| error.to_string())?;
    recording::read(&mut trace).map_err(|error| error.to_string())
}

/// Reads a file that is to be loaded.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Others may have no end, or wait for ever.
    let about = fs::metadata(path)?;
    if !about.is_file() || about.len() > LONGEST_FILE {
        return Err(io::Error::other(format!("not a file of at most {}", Size(LONGEST_FILE))));
    }
    fs::read(path)
}

/// Reserves the guest's addresses.
pub(crate) fn reserve() -> Result<Executor, ExecError> {
    Executor::new(Reservation::options().aligned(ALIGN).guarded(GUARD, GUARD).reserve(SIZE)?)
}

/// Undoes what the guest did; whether the books are what they were.
fn reset(
    exec: &mut Executor,
    snapshot: &AddrSpace,
    out: &mut dyn Write,
    harmed: usize,
) -> Result<bool, Trouble> {
    let regions = exec.space().regions().len();
    let begun = Instant::now();
    exec.unmap_non_original().map_err(fault("unmapping what is not original"))?;
    let unmapped = Micros(begun.elapsed());
    let begun = Instant::now();
    exec.restore(snapshot).map_err(fault("restoring the snapshot"))?;
    let restored = Micros(begun.elapsed());
    let left = exec.space().regions().len();
    writeln!(
        out,
        "reset    {regions} regions to {left}: unmap_non_original {unmapped}, \
         restore of {harmed} harmed originals {restored}"
    )?;
    Ok(exec.space() == snapshot)
}

/// The name of a trace: that of its file, without what all of them end with.
fn short(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    name.strip_suffix(".mt.gz").unwrap_or(&name).to_owned()
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// A time in microseconds.
struct Micros(Duration);

impl core::fmt::Display for Micros {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} µs", self.0.as_micros())
    }
}
