//! The guest: a recorded program's steps, made on the executor's memory.

#![expect(clippy::std_instead_of_alloc, reason = "a program has no need to do without std")]

use core::ops::Range;
use std::collections::BTreeMap;

use addrspace::{Difference, ExecError, Executor, Prot, RangeMap, Remap};

use super::deed::Deed;
use super::files::Files;
use super::recording::{Act, Kind, Skip, Step};
use super::windows::Windows;

/// After how many calls books and kernel are compared.
pub(crate) const INTERVAL: u64 = 1000;

/// A guest that runs.
pub(crate) struct Guest<'a> {
    exec: &'a mut Executor,
    files: &'a Files,
    windows: &'a Windows,
    /// Addresses of the trace at which the guest may not have what the recorded
    /// program had.
    odd: RangeMap<u64, ()>,
    run: Run,
}

/// What became of it.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// What was done, in order.
    pub(crate) deeds: Vec<(Kind, Deed)>,
    /// The recorded calls, and how many of them were repeated.
    pub(crate) calls: u64,
    pub(crate) made: u64,
    /// The areas of the program before its first call.
    pub(crate) areas: u64,
    pub(crate) skipped: BTreeMap<Skip, u64>,
    /// What the executor refused although the recorded kernel did it.
    pub(crate) refused: Vec<String>,
    /// The same, of memory that the guest may not have as the program had it.
    pub(crate) explained: u64,
    /// How often books and kernel were compared.
    pub(crate) verified: u64,
    /// Each of the differences once, however long it lasted.
    pub(crate) differences: Vec<Difference>,
}

impl Run {
    /// Compares the books of `exec` with the kernel's list.
    pub(crate) fn verify(&mut self, exec: &mut Executor) -> Result<(), ExecError> {
        count(&mut self.verified);
        for difference in exec.verify()? {
            if !self.differences.contains(&difference) {
                self.differences.push(difference);
            }
        }
        Ok(())
    }
}

/// What became of one step.
enum Fate {
    Made,
    Skipped(Skip),
    Refused(ExecError),
    Explained,
}

impl<'a> Guest<'a> {
    pub(crate) fn new(exec: &'a mut Executor, files: &'a Files, windows: &'a Windows) -> Self {
        Self { exec, files, windows, odd: RangeMap::new(), run: Run::default() }
    }

    /// Makes all `steps` and answers what became of them.
    ///
    /// # Errors
    ///
    /// If the kernel's list cannot be read.
    pub(crate) fn run(mut self, steps: &[Step]) -> Result<Run, ExecError> {
        for step in steps {
            let fate = self.step(step);
            let run = &mut self.run;
            if let Fate::Refused(error) = &fate {
                let call = step.kind.name();
                run.refused.push(format!("line {}: {call}: {error}", step.line));
            }
            match step.kind {
                Kind::Aside => continue,
                Kind::Exec => {
                    if matches!(fate, Fate::Made) {
                        count(&mut run.areas);
                    }
                    continue;
                }
                _ => count(&mut run.calls),
            }
            match fate {
                Fate::Made => count(&mut run.made),
                Fate::Skipped(why) => count(run.skipped.entry(why).or_default()),
                Fate::Refused(_) => {}
                Fate::Explained => count(&mut run.explained),
            }
            if run.calls.is_multiple_of(INTERVAL) {
                run.verify(self.exec)?;
            }
        }
        Ok(self.run)
    }

    fn step(&mut self, step: &Step) -> Fate {
        let kind = step.kind;
        match step.act {
            Act::Map { at, len, prot, file } => {
                let Some(to) = self.windows.place(at, len) else {
                    return self.lack(at, len, Skip::NoRoom);
                };
                let prot = Prot::from_bits_retain(prot);
                match self.perform(kind, Deed::Map { at: to, len, prot, file }) {
                    Ok(()) => {
                        self.odd.remove(range(at, len));
                        Fate::Made
                    }
                    Err(error) => {
                        self.odd.insert(range(at, len), ());
                        Fate::Refused(error)
                    }
                }
            }
            Act::Unmap { at, len } => {
                let odd = self.is_odd(at, len);
                self.odd.remove(range(at, len));
                match self.unmap(kind, at, len) {
                    Ok(true) => Fate::Made,
                    Ok(false) => Fate::Skipped(if odd { Skip::Lacking } else { Skip::NoChange }),
                    Err(error) => Fate::Refused(error),
                }
            }
            Act::Protect { at, len, prot, to_gap } => self.protect(kind, at, len, prot, to_gap),
            Act::Remap { from, old_len, new_len, to, keep_source } => {
                self.remap(kind, (from, old_len), (to, new_len), keep_source)
            }
            Act::Lack { at, len, why } => self.lack(at, len, why),
            Act::Vacate { at, len } => {
                self.odd.remove(range(at, len));
                self.unmap(kind, at, len).map_or_else(Fate::Refused, |_| Fate::Made)
            }
            Act::Doubt { at, len } => {
                self.odd.insert(range(at, len), ());
                Fate::Made
            }
            Act::Nothing(why) => Fate::Skipped(why),
        }
    }

    fn protect(&mut self, kind: Kind, at: u64, len: u64, prot: u32, to_gap: bool) -> Fate {
        let prot = Prot::from_bits_retain(prot);
        let odd = self.is_odd(at, len);
        let mut made = false;
        let pieces: Vec<_> = self.windows.pieces(at, len).collect();
        for (at, len) in pieces {
            let gap = self.exec.space().gaps_in(at, len).next().filter(|_| to_gap);
            let mapped = gap.map_or(len, |gap| gap.start().abs_diff(at));
            if mapped != 0 && self.has(at, mapped) {
                if let Err(error) = self.perform(kind, Deed::Protect { at, len: mapped, prot }) {
                    return if odd { Fate::Explained } else { Fate::Refused(error) };
                }
                made = true;
            }
            if gap.is_some() {
                break;
            }
        }
        match (made, odd, to_gap) {
            (true, ..) => Fate::Made,
            (_, true, _) => Fate::Skipped(Skip::Lacking),
            // The first page was the gap.
            (_, _, true) => Fate::Skipped(Skip::Refused),
            _ => Fate::Skipped(Skip::NoRoom),
        }
    }

    /// `mremap`, which left at `new` what was at `old`: addresses and lengths.
    fn remap(
        &mut self,
        kind: Kind,
        old: (u64, u64),
        new: (Option<u64>, u64),
        keep_source: bool,
    ) -> Fate {
        let ((from, old_len), (to, new_len)) = (old, new);
        let at = to.unwrap_or(from);
        let odd = self.is_odd(from, old_len);
        let may_differ = odd || self.is_odd(at, new_len);
        let places = (self.windows.place(from, old_len), self.windows.place(at, new_len));
        let fate = match places {
            (Some(guest), Some(target)) if !odd || self.has(guest, old_len) => {
                let how = match to {
                    None => Remap::in_place(),
                    Some(_) if keep_source => Remap::to(target).keep_source(),
                    Some(_) => Remap::to(target),
                };
                match self.perform(kind, Deed::Remap { from: guest, old_len, new_len, how }) {
                    Ok(()) => Fate::Made,
                    Err(ExecError::Refused(_)) if may_differ => Fate::Explained,
                    Err(error) => Fate::Refused(error),
                }
            }
            (Some(_), Some(_)) => Fate::Skipped(Skip::Lacking),
            _ => Fate::Skipped(Skip::NoRoom),
        };
        let made = matches!(fate, Fate::Made);
        if !made {
            self.clear(at, new_len);
        }
        if to.is_some() && !keep_source {
            if !made {
                self.clear(from, old_len);
            }
            self.odd.remove(range(from, old_len));
        } else if to.is_none() && new_len < old_len {
            self.odd.remove(range(from.saturating_add(new_len), old_len.abs_diff(new_len)));
        }
        if !made || odd {
            self.odd.insert(range(at, new_len), ());
        } else {
            self.odd.remove(range(at, new_len));
        }
        fate
    }

    /// The program has something there that the guest will not have.
    fn lack(&mut self, at: u64, len: u64, why: Skip) -> Fate {
        self.clear(at, len);
        self.odd.insert(range(at, len), ());
        Fate::Skipped(why)
    }

    /// Unmaps what the guest has there and the program has no longer.
    fn clear(&mut self, at: u64, len: u64) {
        if let Err(error) = self.unmap(Kind::Munmap, at, len) {
            self.run.refused.push(format!("unmapping {at:#x}: {error}"));
        }
    }

    /// Unmaps the range, as far as something is mapped there: whether it is.
    fn unmap(&mut self, kind: Kind, at: u64, len: u64) -> Result<bool, ExecError> {
        let mut made = false;
        let pieces: Vec<_> = self.windows.pieces(at, len).collect();
        for (at, len) in pieces {
            if self.has(at, len) {
                self.perform(kind, Deed::Unmap { at, len })?;
                made = true;
            }
        }
        Ok(made)
    }

    /// Whether the guest has a page there.
    fn has(&self, at: u64, len: u64) -> bool {
        self.exec.space().regions_in(at, len).next().is_some()
    }

    fn is_odd(&self, at: u64, len: u64) -> bool {
        let range = range(at, len);
        !range.is_empty() && self.odd.overlaps(range)
    }

    fn perform(&mut self, kind: Kind, deed: Deed) -> Result<(), ExecError> {
        deed.perform(self.exec, self.files)?;
        self.run.deeds.push((kind, deed));
        Ok(())
    }
}

fn range(at: u64, len: u64) -> Range<u64> {
    at..at.saturating_add(len)
}

/// Counts one more. The lines of a file do not reach 2^64.
fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}
