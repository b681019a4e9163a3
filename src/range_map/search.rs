//! Searches for gaps. They go down only where a gap that is large enough lies,
//! so each visits at most two paths of the tree.

use super::tree::{Path, Tree, View};

/// Which starts are wanted: those that are `phase` modulo `align`.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    align: u64,
    phase: u64,
}

impl Grid {
    pub(super) const fn new(align: u64, phase: u64) -> Self {
        let align = if align == 0 { 1 } else { align };
        Grid { align, phase: phase % align }
    }

    /// The distance from the last wanted start at or below `key` to `key`.
    fn excess(self, key: u64) -> u64 {
        if self.align == 1 {
            return 0;
        }
        let rest = key % self.align;
        // Both are below `align`, and the branches keep the difference in range.
        if rest >= self.phase { rest - self.phase } else { self.align - (self.phase - rest) }
    }

    fn up(self, key: u64) -> Option<u64> {
        match self.excess(key) {
            0 => Some(key),
            excess => key.checked_add(self.align - excess),
        }
    }

    fn down(self, key: u64) -> Option<u64> {
        key.checked_sub(self.excess(key))
    }

    /// The lowest wanted start from which `len` keys lie in `gap`.
    pub(super) fn lowest_in(self, gap: (u64, u64), len: u64) -> Option<u64> {
        let start = self.up(gap.0)?;
        (start <= gap.1 && gap.1 - start >= len).then_some(start)
    }

    /// The highest wanted start from which `len` keys lie in `gap`.
    pub(super) fn highest_in(self, gap: (u64, u64), len: u64) -> Option<u64> {
        let start = self.down(gap.1.checked_sub(len)?)?;
        (start >= gap.0).then_some(start)
    }

    /// Counts the wanted starts from which `len` keys lie in `gap`.
    pub(super) fn count_in(self, gap: (u64, u64), len: u64) -> u64 {
        match (self.lowest_in(gap, len), self.highest_in(gap, len)) {
            (Some(lowest), Some(highest)) => (highest - lowest) / self.align + 1,
            _ => 0,
        }
    }

    /// The start that is `n` places above `start`.
    pub(super) fn nth_from(self, start: u64, n: u64) -> u64 {
        start + n * self.align
    }
}

impl<V, const SMALL: usize, const LEAF: usize, const INNER: usize> Tree<V, SMALL, LEAF, INNER> {
    /// The first gap, clipped to `low..high`, of at least `len` keys.
    pub(super) fn next_gap(&self, len: u64, low: u64, high: u64) -> Option<(u64, u64)> {
        if low >= high || high - low < len || len == 0 {
            return None;
        }
        let (mut start, mut end) = self.next_gap_from(len, low);
        if self.pending.opened >= len
            && let Some(gap) = (self.gaps_at_finger())
                .map(|gap| (gap.0.max(low), gap.1))
                .find(|gap| gap.1.saturating_sub(gap.0) >= len)
            && gap.0 < start
        {
            (start, end) = gap;
        }
        let end = end.min(high);
        (start <= end && end - start >= len).then_some((start, end))
    }

    /// The first gap of at least `len` keys at or above `low`, and clipped to
    /// that; the one behind the last range if no other is large enough.
    fn next_gap_from(&self, len: u64, low: u64) -> (u64, u64) {
        let mut path = Path::NOWHERE;
        if self.height > 0 {
            if self.finger_holds(low) {
                path.clone_from(&self.path);
            } else {
                self.descend(low, &mut path);
            }
        }
        let view = self.view(path.leaf);
        let mut at = view.starts.partition_point(|&start| start < low);
        let mut free = low;
        if at > 0 {
            free = free.max(view.ends[at - 1]);
        }
        while at < view.len() {
            if view.starts[at] - free >= len {
                return (free, view.starts[at]);
            }
            free = view.ends[at];
            at += 1;
        }
        for level in 1..=self.height {
            let (id, slot) = path.at(level);
            let node = &self.inners[id];
            for next in slot + 1..node.live() {
                if node.gaps[next] >= len {
                    // The gap before the child may lie below `low` in part.
                    if node.firsts[next] - free >= len {
                        return (free, node.firsts[next]);
                    }
                    if let Some(gap) = self.first_gap_under(len, level - 1, node.child[next]) {
                        return gap;
                    }
                }
                free = node.lasts[next];
            }
        }
        (free, u64::MAX)
    }

    fn first_gap_under(&self, len: u64, level: usize, id: u32) -> Option<(u64, u64)> {
        #[cfg(test)]
        tests::visit();
        if level == 0 {
            let leaf = &self.leaves[id];
            return (1..leaf.live())
                .map(|at| (leaf.ends[at - 1], leaf.starts[at]))
                .find(|gap| gap.1 - gap.0 >= len);
        }
        let node = &self.inners[id];
        let at = (0..node.live()).find(|&at| node.gaps[at] >= len)?;
        if node.lead(at) >= len {
            return Some((node.lasts[at - 1], node.firsts[at]));
        }
        self.first_gap_under(len, level - 1, node.child[at])
    }

    /// The gaps in and around the finger's leaf, ascending.
    fn gaps_at_finger(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> {
        let Path { leaf, before, limit, .. } = self.path;
        let View { starts, ends, .. } = self.view(leaf);
        (0..=starts.len()).map(move |at| {
            let from = at.checked_sub(1).map_or(before, |below| ends[below]);
            (from, starts.get(at).copied().unwrap_or(limit))
        })
    }

    /// The last gap, clipped to `low..high`, of at least `len` keys.
    pub(super) fn prev_gap(&self, len: u64, low: u64, high: u64) -> Option<(u64, u64)> {
        if low >= high || high - low < len || len == 0 {
            return None;
        }
        let (mut start, mut end) = self.prev_gap_from(len, high);
        if self.pending.opened >= len
            && let Some(gap) = (self.gaps_at_finger())
                .map(|gap| (gap.0, gap.1.min(high)))
                .rfind(|gap| gap.1.saturating_sub(gap.0) >= len)
            && gap.1 > end
        {
            (start, end) = gap;
        }
        let start = start.max(low);
        (start <= end && end - start >= len).then_some((start, end))
    }

    /// The last gap of at least `len` keys below `high`, and clipped to that;
    /// the one before the first range if no other is large enough.
    fn prev_gap_from(&self, len: u64, high: u64) -> (u64, u64) {
        let mut path = Path::NOWHERE;
        if self.height > 0 {
            self.descend(high, &mut path);
        }
        let view = self.view(path.leaf);
        let mut at = view.starts.partition_point(|&start| start < high);
        let mut free = high;
        while at > 0 {
            at -= 1;
            // The last range may reach past `high`.
            if free.saturating_sub(view.ends[at]) >= len {
                return (view.ends[at], free);
            }
            free = view.starts[at];
        }
        for level in 1..=self.height {
            let (id, slot) = path.at(level);
            let node = &self.inners[id];
            for next in (0..slot).rev() {
                // The gap behind the child, which belongs to the slot after it.
                if free.saturating_sub(node.lasts[next]) >= len {
                    return (node.lasts[next], free);
                }
                if node.gaps[next] >= len
                    && let Some(gap) = self.last_gap_under(len, level - 1, node.child[next])
                {
                    return gap;
                }
                free = node.firsts[next];
            }
        }
        (0, free)
    }

    fn last_gap_under(&self, len: u64, level: usize, id: u32) -> Option<(u64, u64)> {
        #[cfg(test)]
        tests::visit();
        if level == 0 {
            let leaf = &self.leaves[id];
            return (1..leaf.live())
                .rev()
                .map(|at| (leaf.ends[at - 1], leaf.starts[at]))
                .find(|gap| gap.1 - gap.0 >= len);
        }
        let node = &self.inners[id];
        for at in (0..node.live()).rev() {
            if node.gaps[at] >= len {
                // The bound may be that of the gap before the child, which is
                // the later choice here; then one look below is in vain.
                if let Some(gap) = self.last_gap_under(len, level - 1, node.child[at]) {
                    return Some(gap);
                }
                if node.lead(at) >= len {
                    return Some((node.lasts[at - 1], node.firsts[at]));
                }
            }
        }
        None
    }

    pub(super) fn first_fit(&self, len: u64, grid: Grid, low: u64, high: u64) -> Option<u64> {
        let mut from = low;
        loop {
            let gap = self.next_gap(len, from, high)?;
            if let Some(start) = grid.lowest_in(gap, len) {
                return Some(start);
            }
            from = gap.1;
        }
    }

    pub(super) fn last_fit(&self, len: u64, grid: Grid, low: u64, high: u64) -> Option<u64> {
        let mut to = high;
        loop {
            let gap = self.prev_gap(len, low, to)?;
            if let Some(start) = grid.highest_in(gap, len) {
                return Some(start);
            }
            to = gap.0;
        }
    }

    pub(super) fn count_fits(&self, len: u64, grid: Grid, low: u64, high: u64) -> u64 {
        let (mut from, mut count) = (low, 0u64);
        while let Some(gap) = self.next_gap(len, from, high) {
            count += grid.count_in(gap, len);
            from = gap.1;
        }
        count
    }

    pub(super) fn nth_fit(
        &self,
        mut n: u64,
        len: u64,
        grid: Grid,
        low: u64,
        high: u64,
    ) -> Option<u64> {
        let mut from = low;
        loop {
            let gap = self.next_gap(len, from, high)?;
            let count = grid.count_in(gap, len);
            if n < count {
                return grid.lowest_in(gap, len).map(|start| grid.nth_from(start, n));
            }
            n -= count;
            from = gap.1;
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::Tree;
    use core::cell::Cell;

    std::thread_local! {
        static VISITS: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn visit() {
        VISITS.set(VISITS.get() + 1);
    }

    /// The nodes that `search` visits below those on its first path.
    fn visits(search: impl FnOnce()) -> usize {
        VISITS.set(0);
        search();
        VISITS.get()
    }

    /// A gap under every leaf is opened and closed again, which leaves bounds
    /// that are only ever raised stale everywhere; then nothing fits.
    #[test]
    fn a_search_in_vain_visits_no_node_after_any_churn() {
        let mut tree = Tree::<u32, 31, 15, 31>::new();
        let mut dup = |_, val: &u32| *val;
        for nth in 0..100_000 {
            tree.put(nth * 10, nth * 10 + 9, 0, &mut dup);
        }
        for nth in (1..99_999).step_by(7) {
            tree.cut(nth * 10, nth * 10 + 9, &mut dup);
            tree.put(nth * 10, nth * 10 + 9, 0, &mut dup);
        }
        let end = 100_000 * 10 - 1;
        assert_eq!(visits(|| assert_eq!(tree.next_gap(2, 0, end), None)), 0);
        assert_eq!(visits(|| assert_eq!(tree.prev_gap(2, 0, end), None)), 0);
        assert_eq!(visits(|| assert_eq!(tree.next_gap(2, 499_995, end), None)), 0);
    }

    /// However many gaps are too small, a search goes down one path more, and
    /// looks in vain at most once per level.
    #[test]
    fn a_search_visits_two_paths_at_most() {
        let mut tree = Tree::<u32, 3, 3, 3>::new();
        let mut dup = |_, val: &u32| *val;
        for nth in 0..3_000 {
            // Gaps of 1 to 8 keys, the larger ones rarer.
            tree.put(nth * 10, nth * 10 + 9 - u64::from(nth.trailing_zeros().min(7)), 0, &mut dup);
        }
        let most = 2 * tree.height + 1;
        for len in 1..=9 {
            for low in (0..30_000).step_by(7) {
                let (next, prev) = (tree.next_gap(len, low, 30_000), tree.prev_gap(len, 0, low));
                assert!(visits(|| assert_eq!(tree.next_gap(len, low, 30_000), next)) <= most);
                assert!(visits(|| assert_eq!(tree.prev_gap(len, 0, low), prev)) <= most);
            }
        }
    }
}
