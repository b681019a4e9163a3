//! What is printed: a line per trace, the totals, the first mismatches.

use core::time::Duration;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::session::{Findings, Mismatch, Tally};

/// How many mismatches are printed in detail.
const DETAILS: usize = 8;

/// The table, and the totals of what it has shown.
#[derive(Debug)]
pub(crate) struct Table {
    /// The width of the first column.
    width: usize,
    traces: u64,
    total: Findings,
}

impl Table {
    /// A table for these files.
    pub(crate) fn new(files: &[PathBuf]) -> Self {
        let names = files.iter().map(|file| short(file).chars().count());
        Self {
            width: names.max().unwrap_or(0).max("total".len()),
            traces: 0,
            total: Findings::default(),
        }
    }

    /// Prints the head.
    pub(crate) fn head(&self, out: &mut dyn Write) -> io::Result<()> {
        let columns =
            ["trace", "calls", "compared", "mismatches", "forks", "exits", "regions", "ns/call"];
        self.row(out, columns.map(str::to_owned))
    }

    /// Prints the line of one trace.
    pub(crate) fn line(
        &mut self,
        out: &mut dyn Write,
        file: &Path,
        findings: &Findings,
    ) -> io::Result<()> {
        self.findings(out, &short(file), findings)?;
        self.traces = self.traces.saturating_add(1);
        self.total.add(findings);
        Ok(())
    }

    /// Prints the totals.
    pub(crate) fn total(&self, out: &mut dyn Write) -> io::Result<()> {
        self.findings(out, "total", &self.total)?;
        writeln!(out)?;
        let total = &self.total;
        write!(out, "{} traces: {} calls compared with the kernel, ", self.traces, total.compared)?;
        writeln!(
            out,
            "{} mismatches; forks equal {}, exits equal {}",
            total.mismatches,
            Share(total.forks),
            Share(total.exits)
        )?;
        let told = total.told_how_far;
        writeln!(out, "refused MREMAP_FIXED whose progress was taken from the trace: {told}")
    }

    fn findings(&self, out: &mut dyn Write, name: &str, findings: &Findings) -> io::Result<()> {
        let columns = [
            name.to_owned(),
            findings.calls.to_string(),
            findings.compared.to_string(),
            findings.mismatches.to_string(),
            Share(findings.forks).to_string(),
            Share(findings.exits).to_string(),
            findings.peak_regions.to_string(),
            nanoseconds(findings.spent, findings.busy_calls),
        ];
        self.row(out, columns)
    }

    fn row(
        &self,
        out: &mut dyn Write,
        [name, calls, compared, mismatches, forks, exits, regions, time]: [String; 8],
    ) -> io::Result<()> {
        let width = self.width;
        writeln!(
            out,
            "{name:width$} {calls:>8} {compared:>9} {mismatches:>11} {forks:>9} {exits:>9} {regions:>8} {time:>8}"
        )
    }
}

impl Findings {
    /// Adds those of another trace; the most regions are the most of both.
    fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.calls, other.calls),
            (&mut self.compared, other.compared),
            (&mut self.mismatches, other.mismatches),
            (&mut self.forks.all, other.forks.all),
            (&mut self.forks.equal, other.forks.equal),
            (&mut self.exits.all, other.exits.all),
            (&mut self.exits.equal, other.exits.equal),
            (&mut self.busy_calls, other.busy_calls),
            (&mut self.told_how_far, other.told_how_far),
        ];
        for (mine, theirs) in pairs {
            *mine = mine.saturating_add(theirs);
        }
        self.peak_regions = self.peak_regions.max(other.peak_regions);
        self.spent = self.spent.saturating_add(other.spent);
    }
}

/// Prints the first mismatches of all traces, each with both sides.
pub(crate) fn details(out: &mut dyn Write, found: &[(&Path, Findings)]) -> io::Result<()> {
    let all = found
        .iter()
        .flat_map(|(file, findings)| findings.details.iter().map(move |mismatch| (file, mismatch)));
    for (file, mismatch) in all.take(DETAILS) {
        let Mismatch { line, text, differences, refusal } = mismatch;
        writeln!(out, "\n{} line {line}: {text}", short(file))?;
        if let Some(refusal) = refusal {
            writeln!(out, "  the library refused: {refusal}")?;
        }
        for difference in differences {
            writeln!(out, "  {difference}")?;
        }
    }
    Ok(())
}

/// Prints the last layouts, where there are any.
pub(crate) fn layouts(out: &mut dyn Write, found: &[(&Path, Findings)]) -> io::Result<()> {
    for (file, findings) in found {
        for (mm, layout) in &findings.maps {
            write!(out, "\n{} address space {mm}\n{layout}", short(file))?;
        }
    }
    Ok(())
}

/// The name of a trace: that of its file, without what all of them end with.
fn short(file: &Path) -> String {
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    name.strip_suffix(".mt.gz").unwrap_or(&name).to_owned()
}

/// How many of how many.
struct Share(Tally);

impl core::fmt::Display for Share {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}/{}", self.0.equal, self.0.all)
    }
}

fn nanoseconds(spent: Duration, calls: u64) -> String {
    match spent.as_nanos().checked_div(u128::from(calls)) {
        Some(each) => each.to_string(),
        None => "-".to_owned(),
    }
}
