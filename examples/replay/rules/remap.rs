//! `mremap`, done and refused.

use addrspace::Error;

use super::super::books::{Books, Destination};
use super::super::compare::{Run, Stretch, differences};
use super::super::kernel::KernelList;
use super::super::trace::Call;
use super::{Memory, System};

const FIXED: u64 = 2;
const DONT_UNMAP: u64 = 4;

/// A call that was done, and left the mapping at `at`.
pub(super) fn done(
    memory: &mut Memory,
    system: &System,
    call: &Call,
    at: u64,
) -> Result<(), Error> {
    let [addr, old_len, new_len, flags, ..] = call.args;
    let (Some(old_len), Some(new_len)) = (system.pages(old_len), system.pages(new_len)) else {
        return Ok(());
    };
    // To keep the source or to duplicate it (no length) is to move it, even
    // where the kernel chose the place.
    let keep_source = flags & DONT_UNMAP != 0 || old_len == 0;
    let to = if flags & FIXED == 0 && at == addr && !keep_source {
        Destination::InPlace
    } else {
        Destination::At { addr: at, keep_source: flags & DONT_UNMAP != 0 }
    };
    memory.books.remap(addr, old_len, new_len, to)
}

/// A call that was refused.
///
/// With `MREMAP_FIXED` it may have done part of its work: cleared the place it
/// was to move to, cut off the end of the old place, and, where it moves several
/// of the kernel's areas, moved some of them. How far it got depends on things
/// that no trace shows, such as where the kernel's areas end and how many there
/// are. So that alone is taken from the kernel's list `after` the call: what lies
/// below must have become what the rule says, or the comparison finds it. Such
/// calls are counted.
pub(super) fn refused(
    memory: &mut Memory,
    system: &mut System,
    call: &Call,
    after: &KernelList,
) -> Result<(), Error> {
    let Some(plan) = Plan::of(system, call) else { return Ok(()) };
    let agree = |within| {
        let mut agree = true;
        let (books, kernel) = (memory.books.runs_in(within), after.runs_in(within));
        differences(within, books, kernel, |_| agree = false);
        agree
    };
    if agree(plan.from) && agree(plan.to) {
        return Ok(());
    }
    system.told_how_far = system.told_how_far.saturating_add(1);
    if plan.same_size {
        let moved = plan.moved(memory, after);
        let len = moved.abs_diff(plan.from.start);
        if len != 0 {
            let to = Destination::At { addr: plan.to.start, keep_source: plan.keep_source };
            memory.books.remap(plan.from.start, len, len, to)?;
        }
        let next = plan.next_target(memory, moved);
        clear_part(memory, next, after)
    } else {
        clear_part(memory, plan.to, after)?;
        clear_part(memory, plan.tail, after)
    }
}

/// What a call with `MREMAP_FIXED` was about.
#[derive(Clone, Copy, Debug)]
struct Plan {
    from: Stretch,
    to: Stretch,
    /// What is to be cut off the old place.
    tail: Stretch,
    same_size: bool,
    keep_source: bool,
}

impl Plan {
    /// The plan of a call, if it has one and can have done part of it.
    fn of(system: &System, call: &Call) -> Option<Self> {
        let [addr, old_len, new_len, flags, to_addr, ..] = call.args;
        let (old_len, new_len) = (system.pages(old_len)?, system.pages(new_len)?);
        let limit = Books::everything().end;
        let to = Stretch { start: to_addr, end: to_addr.checked_add(new_len)? };
        // The sums wrap in the kernel, too.
        let overlap = addr.wrapping_add(old_len) > to.start && to.end > addr;
        let aligned = system.page.is_aligned(addr) && system.page.is_aligned(to_addr);
        if flags & FIXED == 0 || !aligned || overlap || addr >= limit || to.end > limit {
            return None;
        }
        // An old place that reaches too far is found out late.
        let from = Stretch { start: addr, end: addr.saturating_add(old_len).min(limit) };
        let tail = Stretch { start: addr.saturating_add(new_len).min(from.end), ..from };
        let same_size = old_len == new_len;
        Some(Self { from, to, tail, same_size, keep_source: flags & DONT_UNMAP != 0 })
    }

    /// Where a page of the old place was to come to lie.
    fn target(&self, addr: u64) -> u64 {
        // Both places have the same length, so this one is in the new place.
        self.to.start.wrapping_add(addr.wrapping_sub(self.from.start))
    }

    /// Up to where the kernel moved the old place before it gave up.
    fn moved(&self, memory: &mut Memory, after: &KernelList) -> u64 {
        if memory.books.region_at(self.from.start).is_none() {
            // A walk that finds nothing at its start moves nothing.
            return self.from.start;
        }
        if !self.keep_source {
            // What is still mapped was not moved away.
            return after.runs_in(self.from).next().map_or(self.from.end, |run| run.start);
        }
        // What is not at its new place was not copied there.
        let copied = memory.books.runs_in(self.from).map(|run| Run {
            start: self.target(run.start),
            end: self.target(run.end),
            page: run.page.moved_by(self.target(0)),
        });
        let mut missing = None;
        differences(self.to, copied, after.runs_in(self.to), |difference| {
            if difference.books.is_some() {
                missing.get_or_insert(difference.at.start);
            }
        });
        missing.map_or(self.from.end, |addr| {
            self.from.start.wrapping_add(addr.wrapping_sub(self.to.start))
        })
    }

    /// Where the first piece that was not `moved` was to be moved to.
    fn next_target(&self, memory: &mut Memory, moved: u64) -> Stretch {
        let left = Stretch { start: moved, ..self.from };
        match memory.books.first_piece(left, |_| true) {
            Some(piece) => Stretch { start: self.target(piece.start), end: self.target(piece.end) },
            None => Stretch { start: self.to.end, end: self.to.end },
        }
    }
}

/// Unmaps what the kernel unmapped of `place`, from below.
fn clear_part(memory: &mut Memory, place: Stretch, after: &KernelList) -> Result<(), Error> {
    let left = after.runs_in(place).next().map_or(place.end, |run| run.start);
    match left.checked_sub(place.start) {
        None | Some(0) => Ok(()),
        Some(len) => memory.books.unmap(place.start, len),
    }
}
