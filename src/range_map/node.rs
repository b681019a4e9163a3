//! The two kinds of nodes, and what can be done to one of them alone.

use core::hint::select_unpredictable;
use core::mem::{needs_drop, replace};

#[cfg(test)]
use super::effort;
use super::shelf::Shelf;

/// No node.
pub(super) const NIL: u32 = u32::MAX;

/// A start that no range has: ranges are not empty, so all start below it.
/// Unused slots hold it, so that a search needs no length.
pub(super) const UNUSED: u64 = u64::MAX;

/// Widens a node id to an index.
#[inline]
#[allow(
    clippy::as_conversions,
    reason = "u32 to usize; ids are only given out for nodes that exist"
)]
pub(super) const fn ix(id: u32) -> usize {
    id as usize
}

/// Narrows a slot, or a number of slots.
#[inline]
#[allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "a node has at most 63 slots"
)]
pub(super) const fn narrow(slot: usize) -> u8 {
    slot as u8
}

/// Counts the elements below `key`; `keys` ascends and has 2^k - 1 slots.
///
/// The steps depend on neither data nor length, so nothing is mispredicted; they are
/// written out, because where size counts no compiler unrolls a loop.
#[inline]
fn rank<const N: usize>(keys: &[u64; N], key: u64) -> usize {
    let mut below = 0;
    let mut step = |half: usize| {
        if half <= N {
            let upper = below + half;
            below = select_unpredictable(keys[upper - 1] < key, upper, below);
        }
    };
    step(32);
    step(16);
    step(8);
    step(4);
    step(2);
    step(1);
    below
}

/// Up to `N` ranges with their values, ascending.
#[derive(Clone, Copy)]
pub(super) struct Leaf<V, const N: usize> {
    /// The leaves before and after this one; `next` also links free leaves.
    pub(super) prev: u32,
    pub(super) next: u32,
    pub(super) starts: [u64; N],
    pub(super) ends: [u64; N],
    pub(super) vals: Shelf<V, N>,
}

/// What an edit of one leaf did that concerns the rest of the tree.
#[derive(Clone, Copy)]
pub(super) struct Edit {
    /// Ranges added, or removed if negative.
    pub(super) grew: isize,
    /// The largest gap between two ranges of the leaf that was not there before.
    pub(super) opened: u64,
    /// The largest gap between two ranges of the leaf that is there no more.
    pub(super) closed: u64,
    /// Whether it is known to be the only one.
    pub(super) only: bool,
    /// Whether the first start and the last end of the leaf are known to be the same.
    pub(super) inside: bool,
}

impl Edit {
    pub(super) const NOTHING: Self =
        Edit { grew: 0, opened: 0, closed: 0, only: false, inside: false };
}

/// The slots of a leaf whose ranges overlap a range of keys; if none does, both
/// are where such a range would go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Slots {
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Slots {
    #[inline]
    pub(super) const fn count(self) -> usize {
        self.to - self.from
    }
}

/// Values that an edit displaced, to be dropped when the tree is whole again.
pub(super) type Doomed<V> = [Option<V>; 2];

/// The leaf has too few free slots for the edit, and is unchanged.
pub(super) struct Full;

impl<V, const N: usize> Leaf<V, N> {
    /// Fewest ranges in a leaf that has a parent.
    pub(super) const MIN: usize = if N / 4 == 0 { 1 } else { N / 4 };
    /// Two neighbours with at most this many ranges in all become one leaf; of more, half
    /// is at least [`MIN`](Self::MIN).
    pub(super) const MERGE: usize = N * 3 / 4;
    /// Free slots that any single edit can do with.
    pub(super) const SLACK: usize = 2;

    pub(super) const fn new() -> Self {
        const {
            assert!(
                (N + 1).is_power_of_two() && N >= 3 && N <= 63,
                "capacities are 3, 7, 15, 31 or 63"
            );
        }
        Leaf { prev: NIL, next: NIL, starts: [UNUSED; N], ends: [0; N], vals: Shelf::new() }
    }

    /// Counts the ranges that start below `key`.
    #[inline]
    pub(super) fn rank(&self, key: u64) -> usize {
        rank(&self.starts, key)
    }

    /// The slots of the ranges that overlap `start..end`, which is not empty.
    #[inline(always)]
    pub(super) fn slots(&self, start: u64, end: u64) -> Slots {
        let below = self.rank(start + 1);
        let from = below - usize::from(below > 0 && self.ends[below - 1] > start);
        // Few, as a rule; unused slots start at or behind every end.
        let mut to = below;
        while to < N && self.starts[to] < end {
            to += 1;
        }
        Slots { from, to }
    }

    /// How many ranges there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.vals.len()
    }

    #[inline]
    fn set_len(&mut self, len: usize) {
        self.vals.set_len(len);
    }

    /// The length, in a form that lets the compiler see that it bounds the arrays.
    #[inline]
    pub(super) fn live(&self) -> usize {
        self.len().min(N)
    }

    pub(super) fn last_end(&self) -> u64 {
        self.live().checked_sub(1).map_or(0, |last| self.ends[last])
    }

    /// The gap between the ranges in slots `at - 1` and `at`; 0 at the edges.
    #[inline]
    pub(super) fn gap_before(&self, at: usize) -> u64 {
        if at == 0 || at >= self.live() { 0 } else { self.starts[at] - self.ends[at - 1] }
    }

    /// The largest of the gaps before the slots `from` to `to`.
    pub(super) fn gaps_before(&self, from: usize, to: usize) -> u64 {
        (from..=to).fold(0, |max, at| max.max(self.gap_before(at)))
    }

    pub(super) fn max_gap(&self) -> u64 {
        let len = self.live();
        let later = self.starts[..len].iter().skip(1);
        self.ends.iter().zip(later).fold(0, |max, (end, start)| max.max(start - end))
    }

    #[inline]
    pub(super) fn val(&self, at: usize) -> &V {
        self.vals[at].as_ref().expect("slots below `len` hold a value")
    }

    /// The range in slot `at`.
    #[inline]
    pub(super) fn entry(&self, at: usize) -> (u64, u64, &V) {
        (self.starts[at], self.ends[at], self.val(at))
    }

    /// Opens `COUNT` slots at `at`; what was there moves up.
    ///
    /// All that a slot has moves in one loop: few do, and copying each array by itself
    /// costs more.
    #[inline(always)]
    fn open<const COUNT: usize>(&mut self, at: usize) {
        #[cfg(test)]
        effort::moved(self.live().saturating_sub(at));
        let len = self.len().min(N - COUNT);
        let unused: [u8; COUNT] = core::array::from_fn(|nth| self.vals.place(len + nth));
        for from in (at..len).rev() {
            let to = from + COUNT;
            self.starts[to] = self.starts[from];
            self.ends[to] = self.ends[from];
            self.vals.set_place(to, self.vals.place(from));
        }
        for (nth, place) in unused.into_iter().enumerate() {
            self.vals.set_place(at + nth, place);
        }
        self.set_len(len + COUNT);
    }

    /// The same for any number.
    fn open_many(&mut self, at: usize, count: usize) {
        match count {
            1 => return self.open::<1>(at),
            2 => return self.open::<2>(at),
            _ => {}
        }
        #[cfg(test)]
        effort::moved(self.live().saturating_sub(at));
        let len = self.live();
        for from in (at..len).rev() {
            let to = from + count;
            self.starts[to] = self.starts[from];
            self.ends[to] = self.ends[from];
            self.vals.swap(to, from);
        }
        self.set_len(len + count);
    }

    /// Closes `COUNT` slots from `at`, whose values are gone or need no drop.
    #[inline(always)]
    fn close<const COUNT: usize>(&mut self, at: usize) {
        #[cfg(test)]
        effort::moved(self.live().saturating_sub(at));
        let left = self.live().saturating_sub(COUNT);
        let unused: [u8; COUNT] = core::array::from_fn(|nth| self.vals.place(at + nth));
        for to in at..left {
            let from = to + COUNT;
            self.starts[to] = self.starts[from];
            self.ends[to] = self.ends[from];
            self.vals.set_place(to, self.vals.place(from));
        }
        for (nth, place) in unused.into_iter().enumerate() {
            self.starts[left + nth] = UNUSED;
            self.vals.set_place(left + nth, place);
            self.vals[left + nth] = None;
        }
        self.set_len(left);
    }

    /// The same for the slots `from..to`.
    fn close_many(&mut self, from: usize, to: usize) {
        match to - from {
            1 => return self.close::<1>(from),
            2 => return self.close::<2>(from),
            _ => {}
        }
        #[cfg(test)]
        effort::moved(self.live().saturating_sub(from));
        let len = self.live();
        for source in to..len {
            let at = from + (source - to);
            self.starts[at] = self.starts[source];
            self.ends[at] = self.ends[source];
            self.vals.swap(at, source);
        }
        self.set_len(len - (to - from));
        for at in self.len()..len {
            self.starts[at] = UNUSED;
            self.vals[at] = None;
        }
    }

    #[inline]
    fn set(&mut self, at: usize, start: u64, end: u64, val: V) {
        self.starts[at] = start;
        self.ends[at] = end;
        self.vals[at] = Some(val);
    }

    /// Appends a range that lies after all others.
    pub(super) fn push(&mut self, start: u64, end: u64, val: V) {
        let at = self.len();
        self.set(at, start, end, val);
        self.set_len(at + 1);
    }

    /// Takes out slot `at`.
    pub(super) fn take(&mut self, at: usize) -> (Edit, Option<V>) {
        let val = self.vals[at].take();
        (self.remove(at), val)
    }

    /// Removes slot `at`, whose value is gone or needs no drop.
    #[inline(always)]
    fn remove(&mut self, at: usize) -> Edit {
        let closed = self.gap_before(at).max(self.gap_before(at + 1));
        self.close::<1>(at);
        let inside = at > 0 && at < self.len();
        Edit { grew: -1, opened: self.gap_before(at), closed, only: false, inside }
    }

    /// Takes the first range out and answers its end and value.
    pub(super) fn take_first(&mut self) -> (u64, Option<V>) {
        let (end, val) = (self.ends[0], self.vals[0].take());
        self.close::<1>(0);
        (end, val)
    }

    /// Removes what lies below `end`, which `beyond` ranges start below and some lie behind,
    /// of values that need no drop; answers how many ranges are gone.
    pub(super) fn cut_front(&mut self, beyond: usize, end: u64) -> usize {
        let trims = self.ends[beyond - 1] > end;
        let gone = beyond - usize::from(trims);
        if trims {
            self.starts[gone] = end;
        }
        if gone > 0 {
            self.close_many(0, gone);
        }
        gone
    }

    /// Lets the last range end at `end`.
    pub(super) fn extend_last(&mut self, end: u64) {
        let last = self.live() - 1;
        self.ends[last] = end;
    }

    /// Calls `change` for the ranges that start in `start..end`.
    pub(super) fn change(
        &mut self,
        start: u64,
        end: u64,
        change: &mut dyn FnMut(u64, u64, &mut V),
    ) {
        for at in self.rank(start)..self.live() {
            if self.starts[at] >= end {
                return;
            }
            let val = self.vals[at].as_mut().expect("live slots hold a value");
            change(self.starts[at], self.ends[at], val);
        }
    }

    /// Calls `change` for the range in slot `at`.
    #[inline]
    pub(super) fn change_slot(&mut self, at: usize, change: &mut dyn FnMut(u64, u64, &mut V)) {
        let val = self.vals[at].as_mut().expect("live slots hold a value");
        change(self.starts[at], self.ends[at], val);
    }

    /// Joins equal neighbours that touch at or between `start` and `end`; where
    /// values need a drop, one pair per call.
    ///
    /// Answers by how many ranges the leaf grew. This changes no gap and neither
    /// edge of the leaf.
    pub(super) fn merge(&mut self, start: u64, end: u64, doomed: &mut Doomed<V>) -> isize
    where
        V: PartialEq,
    {
        let mut grew = 0;
        let mut at = self.rank(start).max(1);
        while at < self.live() && self.starts[at] <= end {
            if self.ends[at - 1] != self.starts[at] || self.val(at - 1) != self.val(at) {
                at += 1;
                continue;
            }
            self.ends[at - 1] = self.ends[at];
            let gone = self.vals[at].take();
            self.close::<1>(at);
            grew -= 1;
            if needs_drop::<V>() {
                doomed[0] = gone;
                break;
            }
        }
        grew
    }

    /// Keeps the ranges that `keep` wants. It is asked about all of them first, so
    /// that they stay as they are if it panics. Answers the other values, if they
    /// need a drop.
    pub(super) fn retain(&mut self, keep: &mut dyn FnMut(u64, u64, &V) -> bool) -> [Option<V>; N] {
        let len = self.live();
        let mut kept = [false; N];
        for (at, kept) in kept[..len].iter_mut().enumerate() {
            *kept = keep(self.starts[at], self.ends[at], self.val(at));
        }
        let mut gone = [const { None }; N];
        let mut to = 0;
        for at in 0..len {
            if kept[at] {
                self.starts[to] = self.starts[at];
                self.ends[to] = self.ends[at];
                self.vals.swap(to, at);
                to += 1;
            } else if needs_drop::<V>() {
                gone[at] = self.vals[at].take();
            } else {
                self.vals[at] = None;
            }
        }
        self.starts[to..len].fill(UNUSED);
        self.set_len(to);
        gone
    }

    /// Moves the first `count` ranges of `right` behind those of `self`.
    pub(super) fn pull(&mut self, right: &mut Self, count: usize) {
        #[cfg(test)]
        effort::moved(count);
        let len = self.live();
        self.starts[len..len + count].copy_from_slice(&right.starts[..count]);
        self.ends[len..len + count].copy_from_slice(&right.ends[..count]);
        for at in 0..count {
            self.vals[len + at] = right.vals[at].take();
        }
        self.set_len(len + count);
        right.close_many(0, count);
    }

    /// Moves the last `count` ranges of `self` before those of `right`.
    pub(super) fn push_into(&mut self, right: &mut Self, count: usize) {
        #[cfg(test)]
        effort::moved(count);
        let len = self.live();
        let from = len - count;
        right.open_many(0, count);
        right.starts[..count].copy_from_slice(&self.starts[from..len]);
        right.ends[..count].copy_from_slice(&self.ends[from..len]);
        for at in 0..count {
            right.vals[at] = self.vals[from + at].take();
        }
        self.starts[from..len].fill(UNUSED);
        self.set_len(from);
    }

    /// Cuts the range in slot `at` at `start` and `end`, where it reaches past them;
    /// answers which slot then holds what lies between, and by how many ranges the
    /// leaf grew.
    ///
    /// This changes no gap and neither edge of the leaf.
    #[inline]
    pub(super) fn isolate_slot(
        &mut self,
        at: usize,
        (start, end): (u64, u64),
        dup: &mut dyn FnMut(u64, &V) -> V,
    ) -> Result<(usize, usize), Full> {
        let (head, tail) = (self.starts[at], self.ends[at]);
        let (below, above) = (usize::from(head < start), usize::from(end < tail));
        if self.live() + below + above > N {
            return Err(Full);
        }
        if below + above == 0 {
            return Ok((at, 0));
        }
        // Both copies first: one that panics finds the leaf unchanged.
        let left = (head < start).then(|| dup(start, self.val(at)));
        let right = (end < tail).then(|| dup(end, self.val(at)));
        // Here and where it is undone: a call would cost a thirtieth of the pair.
        if below + above == 2 {
            self.open::<2>(at + 1);
        } else {
            self.open::<1>(at + 1);
        }
        let middle = at + below;
        if let Some(left) = left {
            self.vals.swap(at, middle);
            self.set(at, head, start, left);
            self.starts[middle] = start;
        }
        self.ends[middle] = end.min(tail);
        if let Some(right) = right {
            self.set(middle + 1, end, tail, right);
        }
        Ok((middle, below + above))
    }

    /// Joins the range in slot `at` with its neighbours where they touch and are
    /// equal, and answers by how many ranges the leaf grew.
    ///
    /// This changes no gap and neither edge of the leaf.
    #[inline]
    pub(super) fn merge_around(&mut self, at: usize, doomed: &mut Doomed<V>) -> isize
    where
        V: PartialEq,
    {
        // All comparisons first: one that panics finds the leaf unchanged.
        let (mut first, mut last) = (at, at);
        if at > 0 && self.ends[at - 1] == self.starts[at] && self.val(at - 1) == self.val(at) {
            first -= 1;
        }
        let next = at + 1;
        if next < self.live()
            && self.starts[next] == self.ends[at]
            && self.val(next) == self.val(at)
        {
            last += 1;
        }
        if first == last {
            return 0;
        }
        self.ends[first] = self.ends[last];
        if needs_drop::<V>() {
            for (doomed, at) in doomed.iter_mut().zip(first + 1..=last) {
                *doomed = self.vals[at].take();
            }
        }
        if last - first == 2 {
            self.close::<2>(first + 1);
        } else {
            self.close::<1>(first + 1);
        }
        -(last - first).cast_signed()
    }

    /// Cuts the ranges around `start` and around `end`, if there are any, in two
    /// there, once if the two are the same, and answers by how many ranges the leaf grew.
    ///
    /// This changes no gap and neither edge of the leaf.
    pub(super) fn isolate(
        &mut self,
        start: u64,
        end: u64,
        dup: &mut dyn FnMut(u64, &V) -> V,
    ) -> Result<isize, Full> {
        let (at, to) = (self.rank(start), self.rank(end));
        let cut_left = at > 0 && self.ends[at - 1] > start;
        let cut_right = start < end && to > 0 && self.ends[to - 1] > end;
        if self.live() + usize::from(cut_left) + usize::from(cut_right) > N {
            return Err(Full);
        }
        let left = cut_left.then(|| dup(start, self.val(at - 1)));
        let right = cut_right.then(|| dup(end, self.val(to - 1)));
        let mut grew = 0;
        if right.is_some() {
            // The upper one first: it leaves the slots of the lower one in place.
            let tail = replace(&mut self.ends[to - 1], end);
            self.open::<1>(to);
            (self.starts[to], self.ends[to], self.vals[to]) = (end, tail, right);
            grew += 1;
        }
        if left.is_some() {
            let tail = replace(&mut self.ends[at - 1], start);
            self.open::<1>(at);
            (self.starts[at], self.ends[at], self.vals[at]) = (start, tail, left);
            grew += 1;
        }
        Ok(grew)
    }

    /// Removes `start..end`, which overlaps the ranges in `slots`.
    ///
    /// Where values need a drop, at most one range disappears per call; the
    /// caller calls again until nothing is left.
    #[inline(always)]
    pub(super) fn cut(
        &mut self,
        slots: Slots,
        (start, end): (u64, u64),
        dup: &mut dyn FnMut(u64, &V) -> V,
        doomed: &mut Doomed<V>,
    ) -> Result<Edit, Full> {
        let at = slots.from;
        if slots.count() == 1 && self.starts[at] == start && self.ends[at] == end {
            if needs_drop::<V>() {
                doomed[0] = self.vals[at].take();
            }
            return Ok(self.remove(at));
        }
        self.cut_parts(slots, (start, end), dup, doomed)
    }

    /// The same where it is not just one whole range.
    #[inline(never)]
    fn cut_parts(
        &mut self,
        slots: Slots,
        (start, end): (u64, u64),
        dup: &mut dyn FnMut(u64, &V) -> V,
        doomed: &mut Doomed<V>,
    ) -> Result<Edit, Full> {
        let Slots { mut from, mut to } = slots;
        if from == to {
            return Ok(Edit::NOTHING);
        }
        let trim_left = self.starts[from] < start;
        let trim_right = self.ends[to - 1] > end;
        if trim_left && trim_right && slots.count() == 1 {
            // [---v---)  becomes  [-v)  [-v)
            if self.live() == N {
                return Err(Full);
            }
            let val = dup(start, self.val(from));
            let tail = replace(&mut self.ends[from], start);
            self.open::<1>(to);
            self.set(to, end, tail, val);
            return Ok(Edit { grew: 1, opened: end - start, inside: true, ..Edit::NOTHING });
        }
        from += usize::from(trim_left);
        to -= usize::from(trim_right);
        let closed = self.gaps_before(from, to);
        if trim_left {
            self.ends[from - 1] = start;
        }
        if trim_right {
            self.starts[to] = end;
        }
        if to > from {
            if needs_drop::<V>() {
                // Only the last one goes now; its neighbours stay as they are.
                from = to - 1;
                doomed[0] = self.vals[from].take();
            }
            self.close_many(from, to);
        }
        let grew = -to.wrapping_sub(from).cast_signed();
        let inside = from > 0 && from < self.len();
        Ok(Edit { grew, opened: self.gap_before(from), closed, only: false, inside })
    }

    /// Puts `val` on `start..end`, which lies in the gap before slot `at`, and joins
    /// equal neighbours; for the rest see [`put`](Self::put).
    #[inline(always)]
    fn fill(
        &mut self,
        at: usize,
        (start, end): (u64, u64),
        val: &mut Option<V>,
        doomed: &mut Doomed<V>,
    ) -> Result<Edit, Full>
    where
        V: PartialEq,
    {
        let len = self.live();
        let joins_left = at > 0 && self.ends[at - 1] == start && self.vals[at - 1] == *val;
        let joins_right = at < len && self.starts[at] == end && self.vals[at] == *val;
        let inside = at > 0 && at < len;
        let mut edit = Edit { closed: self.gap_before(at), only: true, inside, ..Edit::NOTHING };
        if joins_left && joins_right {
            self.ends[at - 1] = self.ends[at];
            doomed[0] = self.vals[at].take();
            self.close::<1>(at);
            edit.grew = -1;
        } else if joins_left {
            self.ends[at - 1] = end;
            edit.opened = self.gap_before(at);
        } else if joins_right {
            self.starts[at] = start;
            edit.opened = self.gap_before(at);
        } else if len == N {
            return Err(Full);
        } else {
            self.open::<1>(at);
            (self.starts[at], self.ends[at], self.vals[at]) = (start, end, val.take());
            edit.grew = 1;
            edit.opened = self.gap_before(at).max(self.gap_before(at + 1));
        }
        Ok(edit)
    }

    /// Puts `val` on `start..end`, over the ranges in `slots`, and joins equal
    /// neighbours.
    ///
    /// Nothing outside this leaf may overlap or continue the range, and where
    /// values need a drop no whole range may lie inside it. `val` is left where the
    /// leaf is full or an equal value is in place.
    #[inline(always)]
    pub(super) fn put(
        &mut self,
        slots: Slots,
        keys: (u64, u64),
        val: &mut Option<V>,
        dup: &mut dyn FnMut(u64, &V) -> V,
        doomed: &mut Doomed<V>,
    ) -> Result<Edit, Full>
    where
        V: PartialEq,
    {
        if slots.count() == 0 {
            self.fill(slots.from, keys, val, doomed)
        } else {
            self.overwrite(slots, keys, val, dup, doomed)
        }
    }

    /// The same where something is in the way.
    #[inline(never)]
    fn overwrite(
        &mut self,
        Slots { from, to }: Slots,
        (start, end): (u64, u64),
        val: &mut Option<V>,
        dup: &mut dyn FnMut(u64, &V) -> V,
        doomed: &mut Doomed<V>,
    ) -> Result<Edit, Full>
    where
        V: PartialEq,
    {
        let len = self.live();
        let new = val.as_ref().expect("put is called with a value");

        // The new range may reach into one neighbour on each side and swallow
        // any number between them; an equal neighbour becomes part of it:
        //
        //      before   [---a---)   [-b-) [-c-)   [---d---)
        //      put            [---------val---------)
        //      after    [--a--)[--------val---------)[-d--)
        //
        // `first..beyond` are the slots that it takes the place of.
        let (mut first, mut beyond) = (from, to);
        let (mut new_start, mut new_end) = (start, end);
        let (mut trim_left, mut trim_right) = (false, false);
        let mut tail = None;
        if self.starts[from] < start {
            let left_end = self.ends[from];
            if self.val(from) == new {
                if left_end >= end {
                    return Ok(Edit::NOTHING);
                }
                new_start = self.starts[from];
            } else {
                trim_left = true;
                first += 1;
                if left_end > end {
                    tail = Some(left_end);
                }
            }
        } else if from > 0 && self.ends[from - 1] == start && self.val(from - 1) == new {
            new_start = self.starts[from - 1];
            first -= 1;
        }
        if tail.is_some() {
            // What reaches past the end is the other half of the left neighbour.
        } else if self.ends[to - 1] > end {
            if self.val(to - 1) == new {
                new_end = self.ends[to - 1];
            } else {
                trim_right = true;
                beyond -= 1;
            }
        } else if to < len && self.starts[to] == end && self.val(to) == new {
            new_end = self.ends[to];
            beyond += 1;
        }
        let replaced = beyond - first;
        let added = if tail.is_some() { 2 } else { 1 };
        if len + added > N + replaced {
            return Err(Full);
        }
        let tail = tail.map(|tail_end| (tail_end, dup(start, self.val(from))));

        let closed = self.gaps_before(first, beyond);
        if trim_left {
            self.ends[from] = start;
        }
        if trim_right {
            self.starts[to - 1] = end;
        }
        if replaced == 0 {
            self.open_many(first, added);
            self.starts[first] = new_start;
            self.ends[first] = new_end;
            self.vals[first] = val.take();
            if let Some((tail_end, copy)) = tail {
                self.set(first + 1, end, tail_end, copy);
            }
        } else {
            self.starts[first] = new_start;
            self.ends[first] = new_end;
            let old = replace(&mut self.vals[first], val.take());
            if replaced > 1 {
                let last = self.vals[beyond - 1].take();
                self.close_many(first + 1, beyond);
                if needs_drop::<V>() {
                    doomed[1] = last;
                }
            }
            if needs_drop::<V>() {
                doomed[0] = old;
            }
        }
        let opened = self.gap_before(first).max(self.gap_before(first + added));
        let grew = added.wrapping_sub(replaced).cast_signed();
        let inside = first > 0 && first + added < self.len();
        Ok(Edit { grew, opened, closed, only: false, inside })
    }
}

/// Up to `N` children: for each the first start, the last end and the largest gap.
///
/// The gap before child `t` belongs to slot `t`, so that a search scans one
/// array; the one before child 0 belongs to the slot of this node in its parent.
#[derive(Clone, Copy)]
pub(super) struct Inner<const N: usize> {
    pub(super) len: usize,
    pub(super) child: [u32; N],
    pub(super) firsts: [u64; N],
    pub(super) lasts: [u64; N],
    pub(super) gaps: [u64; N],
}

/// What a parent knows of a child.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Summary {
    pub(super) first: u64,
    pub(super) last: u64,
    /// The largest gap between two ranges under the child.
    pub(super) gap: u64,
}

impl<const N: usize> Inner<N> {
    /// Fewest children of a node that is not the root; never one, so that a
    /// child always has a sibling.
    pub(super) const MIN: usize = if N / 4 < 2 { 2 } else { N / 4 };
    /// Two neighbours with at most this many children in all become one node.
    pub(super) const MERGE: usize =
        if N * 3 / 4 < 2 * Self::MIN - 1 { 2 * Self::MIN - 1 } else { N * 3 / 4 };

    pub(super) const fn new() -> Self {
        const {
            assert!(
                (N + 1).is_power_of_two() && N >= 3 && N <= 63,
                "capacities are 3, 7, 15, 31 or 63"
            );
        }
        Inner { len: 0, child: [NIL; N], firsts: [UNUSED; N], lasts: [0; N], gaps: [0; N] }
    }

    #[inline]
    pub(super) fn live(&self) -> usize {
        self.len.min(N)
    }

    /// The slot of the child that holds the last range that starts below `key`,
    /// or the first slot.
    #[inline]
    pub(super) fn slot(&self, key: u64) -> usize {
        rank(&self.firsts, key).saturating_sub(1)
    }

    pub(super) fn max_gap(&self) -> u64 {
        // Over all slots, as unused ones hold 0: a loop of known length.
        self.gaps.iter().copied().fold(0, u64::max)
    }

    pub(super) fn summary(&self) -> Summary {
        Summary {
            first: self.firsts[0],
            last: self.live().checked_sub(1).map_or(0, |last| self.lasts[last]),
            gap: self.max_gap(),
        }
    }

    /// The gap between the children in slots `at - 1` and `at`.
    #[inline]
    pub(super) fn lead(&self, at: usize) -> u64 {
        if at == 0 { 0 } else { self.firsts[at] - self.lasts[at - 1] }
    }

    /// Writes what is known of the child in slot `at`.
    pub(super) fn set(&mut self, at: usize, summary: Summary) {
        self.firsts[at] = summary.first;
        self.lasts[at] = summary.last;
        self.gaps[at] = summary.gap.max(self.lead(at));
    }

    /// Adds `child` in slot `at`, with nothing known of it yet.
    pub(super) fn insert(&mut self, at: usize, child: u32) {
        #[cfg(test)]
        effort::moved(self.live().saturating_sub(at));
        let len = self.live();
        self.child.copy_within(at..len, at + 1);
        self.firsts.copy_within(at..len, at + 1);
        self.lasts.copy_within(at..len, at + 1);
        self.gaps.copy_within(at..len, at + 1);
        self.child[at] = child;
        self.len = len + 1;
    }

    /// Removes slot `at`; the gaps around it are the caller's to mend.
    pub(super) fn remove(&mut self, at: usize) {
        #[cfg(test)]
        effort::moved(self.live().saturating_sub(at));
        let len = self.live();
        self.child.copy_within(at + 1..len, at);
        self.firsts.copy_within(at + 1..len, at);
        self.lasts.copy_within(at + 1..len, at);
        self.gaps.copy_within(at + 1..len, at);
        self.firsts[len - 1] = UNUSED;
        self.gaps[len - 1] = 0;
        self.len = len - 1;
    }

    /// Moves the first `count` children of `right` behind those of `self`.
    pub(super) fn pull(&mut self, right: &mut Self, count: usize) {
        let (to, len) = (self.live(), right.live());
        self.copy_from(to, right, 0, count);
        self.len = to + count;
        let all = *right;
        right.copy_from(0, &all, count, len - count);
        right.truncate(len - count);
    }

    /// Moves the last `count` children of `self` before those of `right`.
    pub(super) fn push_into(&mut self, right: &mut Self, count: usize) {
        let (len, right_len) = (self.live(), right.live());
        let all = *right;
        right.copy_from(count, &all, 0, right_len);
        right.copy_from(0, self, len - count, count);
        right.len = right_len + count;
        self.truncate(len - count);
    }

    fn copy_from(&mut self, to: usize, other: &Self, from: usize, count: usize) {
        #[cfg(test)]
        effort::moved(count);
        self.child[to..to + count].copy_from_slice(&other.child[from..from + count]);
        self.firsts[to..to + count].copy_from_slice(&other.firsts[from..from + count]);
        self.lasts[to..to + count].copy_from_slice(&other.lasts[from..from + count]);
        self.gaps[to..to + count].copy_from_slice(&other.gaps[from..from + count]);
    }

    fn truncate(&mut self, len: usize) {
        self.firsts[len..].fill(UNUSED);
        self.gaps[len..].fill(0);
        self.len = len;
    }
}
