//! One trace from its first record to its last: which address spaces there
//! are, and when their books are compared with the kernel's lists.
//!
//! After a call only what it touched is compared: what the kernel's changes
//! name, and what the books reported as changed. All else is equal as it was
//! before. Whole spaces are compared when they are copied and when they end.

use core::mem;
use core::time::Duration;
use std::collections::HashMap;

use addrspace::{Error, PageSize};

use super::books::Books;
use super::compare::{Difference, Stretch, differences, join};
use super::kernel::KernelList;
use super::rules::{self, Memory, System};
use super::trace::{Call, Event, Kind, Name, Outcome, Trace, TraceError};

/// How many mismatches are kept in detail.
const DETAILS: usize = 8;
/// How many differences of one mismatch are kept.
const DIFFERENCES: usize = 4;

/// What the replay of one trace found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Recorded calls, those of the recorder itself excepted.
    pub(crate) calls: u64,
    /// Calls after which books and kernel were compared.
    pub(crate) compared: u64,
    /// Calls after which a comparison found a difference, or which the library
    /// refused and the kernel did not, compared or not.
    pub(crate) mismatches: u64,
    /// Copies of a space, and how many were equal.
    pub(crate) forks: Tally,
    /// Ends of a space, and how many were equal.
    pub(crate) exits: Tally,
    /// The most regions that one space had.
    pub(crate) peak_regions: usize,
    /// Time spent in the library on behalf of calls.
    pub(crate) spent: Duration,
    /// Calls on whose behalf the library changed something or tried to.
    pub(crate) busy_calls: u64,
    /// Refused `MREMAP_FIXED` whose progress was taken from the trace.
    pub(crate) told_how_far: u64,
    /// The first mismatches.
    pub(crate) details: Vec<Mismatch>,
    /// The last layout of each space, if asked for.
    pub(crate) maps: Vec<(u32, String)>,
}

impl Findings {
    /// Whether books and kernel agreed about everything.
    pub(crate) fn agree(&self) -> bool {
        self.mismatches == 0 && self.forks.all_equal() && self.exits.all_equal()
    }

    fn keep(&mut self, mismatch: Mismatch) {
        if self.details.len() < DETAILS {
            self.details.push(mismatch);
        }
    }
}

/// How many there were, and how many of them were equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// How many were equal.
    pub(crate) equal: u64,
    /// How many there were.
    pub(crate) all: u64,
}

impl Tally {
    fn count(&mut self, equal: bool) {
        // Counts of lines of a file do not reach 2^64.
        self.all = self.all.saturating_add(1);
        self.equal = self.equal.saturating_add(u64::from(equal));
    }

    fn all_equal(self) -> bool {
        self.equal == self.all
    }
}

/// One comparison that found a difference.
#[derive(Debug)]
pub(crate) struct Mismatch {
    /// The line of the trace.
    pub(crate) line: u64,
    /// The record on it.
    pub(crate) text: String,
    /// The first differences.
    pub(crate) differences: Vec<Difference>,
    /// What the library said, if it refused what the kernel had done.
    pub(crate) refusal: Option<Error>,
}

/// Replays `trace` to its end. With `maps`, keeps the last layout of each space.
///
/// # Errors
///
/// If the trace cannot be read, or contradicts itself.
pub(crate) fn replay(trace: &mut Trace, maps: bool) -> Result<Findings, TraceError> {
    let mut session = Session::new(trace, maps)?;
    while let Some(event) = trace.next_event()? {
        match event {
            Event::Call(call) => session.call(trace, &call)?,
            Event::Gap { mm } => session.gap(trace, mm)?,
            Event::Snapshot { mm, kind: Kind::Exec, start_brk } => {
                session.exec(trace, mm, start_brk)?;
            }
            Event::Snapshot { mm, kind: Kind::Fork, .. } => session.forked(trace, mm)?,
            Event::Snapshot { mm, kind: Kind::Exit, .. } => session.exit(trace, mm)?,
            Event::ThreadExit { tid } => session.thread_exit(tid),
        }
    }
    Ok(session.finish(trace))
}

/// One address space: both sides of it.
struct Space {
    memory: Memory,
    kernel: KernelList,
    /// What changed and was not compared yet.
    touched: Vec<Stretch>,
    /// How many threads run in it.
    users: u64,
}

struct Session {
    spaces: HashMap<u32, Space>,
    /// The address space of each thread.
    threads: HashMap<u32, u32>,
    system: System,
    maps: bool,
    findings: Findings,
}

impl Session {
    fn new(trace: &Trace, maps: bool) -> Result<Self, TraceError> {
        Ok(Self {
            spaces: HashMap::new(),
            threads: HashMap::new(),
            system: System::new(page_size(trace)?),
            maps,
            findings: Findings::default(),
        })
    }

    fn call(&mut self, trace: &Trace, call: &Call) -> Result<(), TraceError> {
        // Space 0 is the recorder's own child, before it became a program.
        if call.mm != 0 {
            count(&mut self.findings.calls);
        }
        match (call.name, call.outcome) {
            (Name::Exec, Outcome::Done(_)) => {
                self.exec_call(call);
                return Ok(());
            }
            (Name::Clone, Outcome::Done(_)) => return self.clone_call(trace, call),
            _ if call.mm == 0 => return Ok(()),
            _ => {}
        }
        let space = self.spaces.get_mut(&call.mm).ok_or_else(|| unknown(trace, call.mm))?;
        if call.checked {
            space
                .kernel
                .apply(trace.deltas(), &mut space.touched)
                .map_err(|what| trace.contradiction(what))?;
        }
        // Only where the kernel changed something can a refused call have got
        // anywhere; and without a check its list is not the one after the call.
        let after = Some(&space.kernel).filter(|_| call.checked && !trace.deltas().is_empty());
        let answer = rules::apply(&mut space.memory, &mut self.system, call, after);
        self.findings.account(space);
        let differences = if call.checked {
            count(&mut self.findings.compared);
            space.compare_touched()
        } else {
            Vec::new()
        };
        // A refusal where the kernel refused nothing counts, even if no page shows it.
        if !differences.is_empty() || answer.is_err() {
            count(&mut self.findings.mismatches);
            self.findings.keep(Mismatch::new(trace, &differences, answer.err()));
            space.reload(&differences).map_err(|error| refused(trace, error))?;
        }
        Ok(())
    }

    /// The kernel changed something that no checked call explains: it is taken
    /// over.
    fn gap(&mut self, trace: &Trace, mm: u32) -> Result<(), TraceError> {
        if mm == 0 {
            return Ok(());
        }
        let space = self.spaces.get_mut(&mm).ok_or_else(|| unknown(trace, mm))?;
        space
            .kernel
            .apply(trace.deltas(), &mut space.touched)
            .map_err(|what| trace.contradiction(what))?;
        let differences = space.compare_touched();
        space.reload(&differences).map_err(|error| refused(trace, error))
    }

    /// A new program: its books are the kernel's list.
    fn exec(&mut self, trace: &Trace, mm: u32, start_brk: u64) -> Result<(), TraceError> {
        // The header has said it by now.
        self.system.page = page_size(trace)?;
        let mut books =
            Books::new(self.system.page.bytes()).map_err(|error| refused(trace, error))?;
        for area in trace.areas() {
            books.map_area(area).map_err(|error| refused(trace, error))?;
        }
        let memory = Memory::new(books, start_brk);
        let mut space = Space::new(memory, KernelList::from_snapshot(trace.areas()));
        // The thread that loaded it; all others ended.
        space.users = 1;
        // Making the books of a new program is many maps and no recorded call.
        space.memory.books.drain_spent();
        self.findings.account(&mut space);
        self.spaces.insert(mm, space);
        Ok(())
    }

    /// A copy is complete: it is compared as a whole.
    fn forked(&mut self, trace: &Trace, mm: u32) -> Result<(), TraceError> {
        let space = self.spaces.get_mut(&mm).ok_or_else(|| unknown(trace, mm))?;
        space.kernel = KernelList::from_snapshot(trace.areas());
        let differences = space.compare_all();
        self.findings.forks.count(differences.is_empty());
        if !differences.is_empty() {
            self.findings.keep(Mismatch::new(trace, &differences, None));
            space.reload(&differences).map_err(|error| refused(trace, error))?;
        }
        Ok(())
    }

    /// The last user leaves: the space is compared as a whole, and forgotten.
    fn exit(&mut self, trace: &Trace, mm: u32) -> Result<(), TraceError> {
        let mut space = self.spaces.remove(&mm).ok_or_else(|| unknown(trace, mm))?;
        space.kernel = KernelList::from_snapshot(trace.areas());
        let differences = space.compare_all();
        self.findings.exits.count(differences.is_empty());
        if !differences.is_empty() {
            self.findings.keep(Mismatch::new(trace, &differences, None));
        }
        self.draw(trace, mm, &space);
        Ok(())
    }

    fn thread_exit(&mut self, tid: u32) {
        self.system.read_implies_exec.remove(&tid);
        // The space stays: a snapshot of its end may follow.
        self.leave(tid);
    }

    /// A thread loads another program and leaves its space.
    fn exec_call(&mut self, call: &Call) {
        let tid = call.extra.exec_tid.unwrap_or(call.tid);
        let left = [self.leave(call.tid), self.leave(tid)];
        if let Some(mm) = call.extra.child_mm {
            self.threads.insert(tid, mm);
        }
        self.system.read_implies_exec.remove(&call.tid);
        self.system.read_implies_exec.remove(&tid);
        // The old space goes on if others use it. Otherwise nobody will hear of
        // it again, and long traces have many of them.
        for mm in left.into_iter().flatten() {
            if self.spaces.get(&mm).is_some_and(|space| space.users == 0) {
                self.spaces.remove(&mm);
            }
        }
    }

    /// Takes a thread out of the space it runs in, and answers which that is.
    fn leave(&mut self, tid: u32) -> Option<u32> {
        let mm = self.threads.remove(&tid)?;
        if let Some(space) = self.spaces.get_mut(&mm) {
            space.users = space.users.saturating_sub(1);
        }
        Some(mm)
    }

    /// A new thread, in the same space or in a copy of it.
    fn clone_call(&mut self, trace: &Trace, call: &Call) -> Result<(), TraceError> {
        let (Some(child), Some(mm)) = (call.extra.child, call.extra.child_mm) else {
            return Err(trace.contradiction("a new thread without child= and cmm="));
        };
        self.threads.insert(child, mm);
        if self.system.read_implies_exec.contains(&call.tid) {
            self.system.read_implies_exec.insert(child);
        }
        if call.mm == 0 {
            return Ok(());
        }
        let space = self.spaces.get_mut(&call.mm).ok_or_else(|| unknown(trace, call.mm))?;
        if mm == call.mm {
            count(&mut space.users);
        } else {
            let mut copy = Space::new(space.memory.fork(), KernelList::default());
            copy.users = 1;
            self.findings.account(space);
            self.spaces.insert(mm, copy);
        }
        Ok(())
    }

    /// Keeps the layout of `space` as text, if layouts are wanted.
    fn draw(&mut self, trace: &Trace, mm: u32, space: &Space) {
        if self.maps {
            self.findings.maps.push((mm, space.memory.books.draw(trace)));
        }
    }

    fn finish(mut self, trace: &Trace) -> Findings {
        // Those that were still running when the recording ended.
        let mut left: Vec<_> = mem::take(&mut self.spaces).into_iter().collect();
        left.sort_unstable_by_key(|(mm, _)| *mm);
        for (mm, space) in &left {
            self.draw(trace, *mm, space);
        }
        self.findings.told_how_far = self.system.told_how_far;
        self.findings
    }
}

impl Space {
    fn new(memory: Memory, kernel: KernelList) -> Self {
        Self { memory, kernel, touched: Vec::new(), users: 0 }
    }

    /// The differences in all that was touched since the last comparison.
    fn compare_touched(&mut self) -> Vec<Difference> {
        let mut touched = mem::take(&mut self.touched);
        self.memory.books.drain_changed(&mut touched);
        join(&mut touched);
        let mut found = Vec::new();
        for within in &touched {
            self.compare(*within, &mut found);
        }
        // Its room is good for the next call.
        touched.clear();
        self.touched = touched;
        found
    }

    /// The differences of the whole space.
    fn compare_all(&mut self) -> Vec<Difference> {
        let mut found = Vec::new();
        self.compare(Books::everything(), &mut found);
        found
    }

    fn compare(&self, within: Stretch, found: &mut Vec<Difference>) {
        let books = self.memory.books.runs_in(within);
        differences(within, books, self.kernel.runs_in(within), |difference| {
            found.push(difference);
        });
    }

    /// Sets the books to the kernel's list where they differ, so that one
    /// mistake neither hides others nor makes up more.
    fn reload(&mut self, differences: &[Difference]) -> Result<(), Error> {
        for difference in differences {
            self.memory
                .books
                .take_over(difference.at, self.kernel.areas_in(difference.at).copied())?;
        }
        // None of this is the work of a call, nor anything to compare.
        self.memory.books.drain_spent();
        self.memory.books.drain_changed(&mut self.touched);
        self.touched.clear();
        Ok(())
    }
}

impl Findings {
    /// Takes the time that the library needed for a call.
    fn account(&mut self, space: &mut Space) {
        let (spent, verbs) = space.memory.books.drain_spent();
        self.spent = self.spent.saturating_add(spent);
        if verbs != 0 {
            count(&mut self.busy_calls);
        }
        self.peak_regions = self.peak_regions.max(space.memory.books.regions());
    }
}

impl Mismatch {
    fn new(trace: &Trace, differences: &[Difference], refusal: Option<Error>) -> Self {
        let differences = differences.iter().take(DIFFERENCES).copied().collect();
        Self { line: trace.line(), text: trace.text().to_owned(), differences, refusal }
    }
}

/// The size of a page of the recorded machine.
fn page_size(trace: &Trace) -> Result<PageSize, TraceError> {
    PageSize::new(trace.page_size()).ok_or_else(|| trace.contradiction("no page size"))
}

fn unknown(trace: &Trace, mm: u32) -> TraceError {
    trace.contradiction(format!("address space {mm} was never announced"))
}

fn refused(trace: &Trace, error: Error) -> TraceError {
    trace.contradiction(format!("the library cannot hold the kernel's list: {error}"))
}

/// Counts one more. The lines of a file do not reach 2^64.
fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}
