//! What is printed: sizes, layouts, counts, the table of costs.

use core::fmt;
use core::time::Duration;
use std::io::{self, Write};

use super::costs::Cost;
use super::guest::Run;
use super::layout::Line;
use super::load::Loaded;

/// How many lines of a layout are printed at its beginning and at its end.
const ENDS: usize = 5;
/// How many differences and refusals are printed.
const DETAILS: usize = 8;

/// Bytes, as people say them.
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let fits = UNITS.into_iter().find(|(bits, _)| self.0 >> bits != 0);
        let Some((bits, unit)) = fits else { return f.pad(&format!("{} B", self.0)) };
        let whole = self.0 >> bits;
        let tenths = (self.0 & !(u64::MAX << bits)).saturating_mul(10) >> bits;
        if tenths == 0 || whole >= 100 {
            f.pad(&format!("{whole} {unit}"))
        } else {
            f.pad(&format!("{whole}.{tenths} {unit}"))
        }
    }
}

/// One more of something, or several.
pub(crate) struct Count(pub(crate) u64, pub(crate) &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, what) = self;
        write!(f, "{count} {what}{}", if *count == 1 { "" } else { "s" })
    }
}

/// Prints a layout, addresses counted from `start`.
pub(crate) fn layout(
    out: &mut dyn Write,
    lines: &[Line],
    start: u64,
    loaded: Loaded,
    full: bool,
) -> io::Result<()> {
    let last_ones = lines.len().saturating_sub(ENDS);
    for (nth, line) in lines.iter().enumerate() {
        if !full && last_ones > ENDS.saturating_add(1) && (ENDS..last_ones).contains(&nth) {
            if nth == ENDS {
                writeln!(out, "         .. {} more ..", last_ones.abs_diff(ENDS))?;
            }
            continue;
        }
        let name = match line.file.as_str() {
            "" if loaded.has_stack(line.start) => "stack",
            "" if loaded.has_program(line.start) => "program",
            "" => "",
            file => file,
        };
        let at = line.start.saturating_sub(start);
        let text = format!("         +{at:09x}  {}  {:>9}  {name}", line.perms, Size(line.len()));
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

/// Prints what became of the recorded calls.
pub(crate) fn run(out: &mut dyn Write, run: &Run) -> io::Result<()> {
    let (areas, calls) = (Count(run.areas, "area"), Count(run.calls, "call"));
    let refused = run.refused.len();
    writeln!(out, "         {areas}, then {calls}: {} made, {refused} refused", run.made)?;
    for refusal in run.refused.iter().take(DETAILS) {
        writeln!(out, "         refused: {refusal}")?;
    }
    let mut skipped: Vec<_> =
        run.skipped.iter().map(|(why, count)| format!("{count} {}", why.name())).collect();
    if run.explained != 0 {
        skipped.push(format!("{} refused because of these", run.explained));
    }
    if !skipped.is_empty() {
        writeln!(out, "         not made: {}", skipped.join(", "))?;
    }
    Ok(())
}

/// Prints how the comparisons with the kernel ended.
pub(crate) fn verified(out: &mut dyn Write, run: &Run) -> io::Result<()> {
    let (times, found) = (Count(run.verified, "comparison"), run.differences.len());
    let found = Count(u64::try_from(found).unwrap_or(u64::MAX), "difference");
    writeln!(out, "verify   {times} with the kernel's list: {found}")?;
    for difference in run.differences.iter().take(DETAILS) {
        writeln!(out, "         {difference}")?;
    }
    Ok(())
}

/// Prints the table of costs.
pub(crate) fn costs(out: &mut dyn Write, costs: &[Cost], rounds: u32) -> io::Result<()> {
    writeln!(
        out,
        "costs    ns per verb, and the same system calls by hand; medians of {rounds} rounds"
    )?;
    writeln!(
        out,
        "         {:18} {:>6} {:>9} {:>9} {:>9} {:>6}",
        "", "verbs", "syscalls", "executor", "bare", "ratio"
    )?;
    for cost in costs {
        line(out, cost)?;
    }
    let sum =
        |of: fn(&Cost) -> u32| costs.iter().fold(0_u32, |sum, cost| sum.saturating_add(of(cost)));
    let time = |of: fn(&Cost) -> Duration| costs.iter().map(of).sum();
    let total = Cost {
        name: "all",
        verbs: sum(|cost| cost.verbs),
        calls: sum(|cost| cost.calls),
        executor: time(|cost| cost.executor),
        bare: time(|cost| cost.bare),
    };
    line(out, &total)
}

fn line(out: &mut dyn Write, cost: &Cost) -> io::Result<()> {
    let Cost { name, verbs, calls, executor, bare } = cost;
    let each = |spent: &Duration| spent.as_nanos().checked_div(u128::from(*verbs)).unwrap_or(0);
    let (ours, theirs) = (each(executor), each(bare));
    // A bare call of no time is one that was not made.
    let ratio = match executor.as_secs_f64() / bare.as_secs_f64() {
        ratio if *calls != 0 && ratio.is_finite() => format!("{ratio:.2}"),
        _ => "-".to_owned(),
    };
    writeln!(out, "         {name:18} {verbs:>6} {calls:>9} {ours:>9} {theirs:>9} {ratio:>6}")
}
