//! `mremap`, as it is from Linux 6.17 on.

use addrspace::{Error, Remap};

use super::super::books::Books;
use super::super::call::{Call, DONT_UNMAP, MAY_MOVE, MOVE_FIXED};
use super::super::rule::Rule;
use super::{EFAULT, EINVAL, Expected, Mremap, Scene, answer, remap_before};

/// The arguments, the old length rounded as the kernel does it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) addr: u64,
    pub(super) old_len: u64,
    pub(super) new_len: u64,
    pub(super) may_move: bool,
    pub(super) fixed: bool,
    pub(super) keep: bool,
    pub(super) to: u64,
}

pub(super) fn mremap(call: &Call, books: &mut Books, scene: &Scene<'_>) -> Expected {
    let [addr, old_len, new_len, flags, to, _] = call.args;
    let [may_move, fixed, keep] = [MAY_MOVE, MOVE_FIXED, DONT_UNMAP].map(|bit| flags & bit != 0);
    if flags & !(MAY_MOVE | MOVE_FIXED | DONT_UNMAP) != 0 || ((fixed || keep) && !may_move) {
        return Expected::Rule(Rule::Arguments, EINVAL);
    }
    let rounded = scene.page.round_up(old_len);
    let plan = Plan { addr, old_len: rounded.unwrap_or(0), new_len, may_move, fixed, keep, to };
    let now = from_6_17(&plan, books, scene);
    let expected = match scene.mremap {
        Mremap::From617 => now,
        Mremap::Before617 => {
            let after = books.space().clone();
            books.undo();
            let raw = [old_len, new_len];
            let then = remap_before::mremap(&plan, raw, books, scene);
            match (said(now), then) {
                // The same, and for the reason that is known already.
                (Some(answer), Some(then)) if answer == then && *books.space() == after => now,
                (_, Some(then)) => Expected::Rule(Rule::Before617, then),
                (_, None) => Expected::LeftOut(Rule::OwnMemory),
            }
        }
    };
    match (rounded, expected) {
        (None, Expected::Books(answer)) => Expected::Rule(Rule::OldLengthWraps, answer),
        _ => expected,
    }
}

const fn said(expected: Expected) -> Option<i64> {
    match expected {
        Expected::Books(answer) | Expected::Rule(_, answer) => Some(answer),
        Expected::Either(..) | Expected::Anything(_) | Expected::LeftOut(_) => None,
    }
}

/// What the books say, but where a rule says something else.
fn from_6_17(plan: &Plan, books: &mut Books, scene: &Scene<'_>) -> Expected {
    let Plan { addr, old_len, new_len, may_move, fixed, keep, to } = *plan;
    let how = match (fixed, may_move) {
        (true, _) => Remap::to(to),
        (false, true) => Remap::may_move(books.placement(if keep { to } else { 0 })),
        (false, false) => Remap::in_place(),
    };
    let how = if keep { how.keep_source() } else { how };
    let result = books.change(|space, note| space.remap(addr, old_len, new_len, how, note));
    let said = answer(result);
    if said == EINVAL && !(fixed && old_len == 0 && to == addr) {
        return Expected::Books(said);
    }
    let Some(new_pages) = scene.page.round_up(new_len) else { return Expected::Books(said) };
    if keep && !fixed && !plan.can_be_at(to, new_pages, scene) {
        books.undo();
        return Expected::Rule(Rule::HintChecked, EINVAL);
    }
    if addr.checked_add(old_len).is_none_or(|end| end > scene.end) {
        return leaving(plan, new_pages, books, scene);
    }
    let kept = old_len.min(new_pages);
    let one = old_len < new_pages || (fixed && old_len != new_pages) || (keep && !fixed);
    let apart = scene.area_end(addr).is_some_and(|end| end < addr + kept);
    if one && apart && said != EFAULT {
        books.undo();
        return Expected::Rule(Rule::Apart, EFAULT);
    }
    if let (true, Err(Error::Overlap { .. }), 0) = (fixed && to == addr, result, old_len) {
        let _ = books.change(|space, note| space.unmap(to, new_len, note));
        return Expected::Rule(Rule::OntoItself, EFAULT);
    }
    Expected::Books(said)
}

/// An old range that reaches past the end of user memory.
fn leaving(plan: &Plan, new_pages: u64, books: &mut Books, scene: &Scene<'_>) -> Expected {
    let Plan { addr, old_len, fixed, keep, to, .. } = *plan;
    let rule = |answer| Expected::Rule(Rule::OldRangeLeaves, answer);
    if fixed && !plan.can_be_at(to, new_pages, scene) {
        return rule(EINVAL);
    }
    let mapped = books.region_at(addr).is_some();
    if !mapped || old_len < new_pages || (keep && !fixed) {
        return Expected::Books(EFAULT);
    }
    match (fixed, old_len == new_pages) {
        (false, true) => rule(addr.cast_signed()),
        (false, false) => rule(EINVAL),
        // It would move what the child has above the window.
        (true, true) => Expected::LeftOut(Rule::OwnMemory),
        (true, false) if !books.in_window(addr, addr) => Expected::LeftOut(Rule::OwnMemory),
        (true, false) => {
            if scene.area_end(addr).is_none_or(|end| end < addr.saturating_add(new_pages)) {
                return Expected::Books(EFAULT);
            }
            // The new place is cleared first. A sum that wraps hides that it is the old.
            let _ = books.change(|space, note| space.unmap(to, new_pages, note));
            rule(if books.region_at(addr).is_some() { EINVAL } else { EFAULT })
        }
    }
}

impl Plan {
    /// Whether `to` passes for a new place of `len` bytes.
    pub(super) fn can_be_at(&self, to: u64, len: u64, scene: &Scene<'_>) -> bool {
        // The sums wrap in the kernel, too.
        let overlap = self.addr.wrapping_add(self.old_len) > to && to.wrapping_add(len) > self.addr;
        scene.page.is_aligned(to) && len <= scene.end && to <= scene.end - len && !overlap
    }
}
