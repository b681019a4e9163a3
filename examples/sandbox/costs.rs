//! What it costs: the same run again and again, through the executor and by bare
//! system calls in turns.

use core::time::Duration;
use std::io;
use std::time::Instant;

use addrspace::{AddrSpace, Error, ExecError, Executor, Span};

use super::bare::{self, Bare, Call};
use super::deed::Deed;
use super::files::Files;
use super::recording::Kind;

/// The kinds of calls that have a line each, and the two steps of a reset.
const LINES: [&str; 8] = [
    Kind::Exec.name(),
    Kind::Mmap.name(),
    Kind::Brk.name(),
    Kind::Munmap.name(),
    Kind::Mprotect.name(),
    Kind::Mremap.name(),
    "unmap_non_original",
    "restore",
];
const RESET: usize = 6;

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Cost {
    pub(crate) name: &'static str,
    /// How many verbs of the executor it is, and how many system calls do the same.
    pub(crate) verbs: u32,
    pub(crate) calls: u32,
    /// The times of all of them in one round: the medians over all rounds.
    pub(crate) executor: Duration,
    pub(crate) bare: Duration,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unmeasured {
    #[error("the executor refused in a later round: {0}")]
    Executor(#[from] ExecError),
    #[error("the books differ from the snapshot after a later round")]
    Different,
    #[error("the books refused what the executor had done: {0}")]
    Books(#[from] Error),
    #[error("no second reservation: {0}")]
    Reservation(#[from] io::Error),
    #[error("the kernel refused a bare call: {0:?}")]
    Bare(Call),
}

impl Unmeasured {
    /// Whether it speaks against the executor, and not against the machine.
    pub(crate) const fn is_ours(&self) -> bool {
        !matches!(self, Self::Reservation(_) | Self::Bare(_))
    }
}

/// The calls of a run, each with its line and with the bare calls for it.
struct Plan {
    run: Vec<(usize, Deed, Vec<Call>)>,
    reset: [Vec<Call>; 2],
}

/// Runs `deeds` on `exec` and resets to `snapshot`, `rounds` times.
///
/// `exec` has what `snapshot` says, and has it again at the end.
pub(crate) fn measure(
    exec: &mut Executor,
    snapshot: &AddrSpace,
    deeds: &[(Kind, Deed)],
    files: &Files,
    rounds: u32,
) -> Result<Vec<Cost>, Unmeasured> {
    let plan = plan(snapshot, deeds, files)?;
    let mut bare = furnished(snapshot, files)?;
    let mut spent: [Vec<[Duration; 2]>; LINES.len()] = Default::default();
    for _ in 0..rounds {
        let mut round = [[Duration::ZERO; 2]; LINES.len()];
        through_executor(exec, snapshot, files, &plan, &mut round)?;
        by_hand(&mut bare, &plan, &mut round)?;
        for (all, spent) in spent.iter_mut().zip(round) {
            all.push(spent);
        }
    }
    let mut verbs = [0_u32; LINES.len()];
    let mut calls = [0_u32; LINES.len()];
    let run = plan.run.iter().map(|(line, _, calls)| (*line, calls));
    for (line, made) in run.chain((RESET..).zip(&plan.reset)) {
        if let (Some(verbs), Some(calls)) = (verbs.get_mut(line), calls.get_mut(line)) {
            *verbs = verbs.saturating_add(1);
            *calls = calls.saturating_add(u32::try_from(made.len()).unwrap_or(u32::MAX));
        }
    }
    let counted = verbs.into_iter().zip(calls);
    let costs = LINES.into_iter().zip(spent).zip(counted).map(|((name, spent), (verbs, calls))| {
        let [executor, bare] = [0, 1].map(|side| median(&spent, side));
        Cost { name, verbs, calls, executor, bare }
    });
    Ok(costs.filter(|cost| cost.verbs != 0).collect())
}

/// Does everything in books alone, to hear which calls it takes.
fn plan(snapshot: &AddrSpace, deeds: &[(Kind, Deed)], files: &Files) -> Result<Plan, Error> {
    let mut books = snapshot.clone();
    let mut run = Vec::new();
    for &(kind, deed) in deeds {
        let calls = bare::calls(&mut books, files, |books, host| deed.book(books, host))?;
        // What a child did not inherit counts with what was unmapped.
        let name = if kind == Kind::Aside { Kind::Munmap.name() } else { kind.name() };
        let line = LINES.iter().position(|line| *line == name).unwrap_or(0);
        run.push((line, deed, calls));
    }
    let unmap = bare::calls(&mut books, files, |books, host| books.unmap_non_original(host))?;
    let restore = bare::calls(&mut books, files, |books, host| books.restore(snapshot, host))?;
    Ok(Plan { run, reset: [unmap, restore] })
}

/// A bare reservation with what `snapshot` has.
fn furnished(snapshot: &AddrSpace, files: &Files) -> Result<Bare, Unmeasured> {
    let len = snapshot.span().and_then(Span::len).unwrap_or(0);
    let mut bare = Bare::reserve(len)?;
    let mut books = snapshot.clone();
    books.reset();
    let calls = bare::calls(&mut books, files, |books, host| books.restore(snapshot, host))?;
    calls.into_iter().try_for_each(|call| made(&mut bare, call))?;
    Ok(bare)
}

fn through_executor(
    exec: &mut Executor,
    snapshot: &AddrSpace,
    files: &Files,
    plan: &Plan,
    round: &mut [[Duration; 2]; LINES.len()],
) -> Result<(), Unmeasured> {
    for (line, deed, _) in &plan.run {
        let begun = Instant::now();
        deed.perform(exec, files)?;
        add(round, *line, 0, begun.elapsed());
    }
    let begun = Instant::now();
    exec.unmap_non_original()?;
    add(round, RESET, 0, begun.elapsed());
    let begun = Instant::now();
    exec.restore(snapshot)?;
    add(round, RESET + 1, 0, begun.elapsed());
    if exec.space() == snapshot { Ok(()) } else { Err(Unmeasured::Different) }
}

fn by_hand(
    bare: &mut Bare,
    plan: &Plan,
    round: &mut [[Duration; 2]; LINES.len()],
) -> Result<(), Unmeasured> {
    let run = plan.run.iter().map(|(line, _, calls)| (*line, calls));
    for (line, calls) in run.chain((RESET..).zip(&plan.reset)) {
        let begun = Instant::now();
        for call in calls {
            made(bare, *call)?;
        }
        add(round, line, 1, begun.elapsed());
    }
    Ok(())
}

fn made(bare: &mut Bare, call: Call) -> Result<(), Unmeasured> {
    if bare.make(call) { Ok(()) } else { Err(Unmeasured::Bare(call)) }
}

fn add(round: &mut [[Duration; 2]], line: usize, side: usize, spent: Duration) {
    if let Some(sum) = round.get_mut(line).and_then(|sides| sides.get_mut(side)) {
        *sum = sum.saturating_add(spent);
    }
}

fn median(spent: &[[Duration; 2]], side: usize) -> Duration {
    let mut spent: Vec<_> = spent.iter().filter_map(|sides| sides.get(side)).collect();
    spent.sort_unstable();
    spent.get(spent.len() / 2).map_or(Duration::ZERO, |median| **median)
}
