//! The kernel's side: the list of areas of one address space, as the trace
//! tells it.

#![expect(clippy::std_instead_of_alloc, reason = "a program has no need to do without std")]

use std::collections::BTreeMap;

use super::compare::{Page, Run, Stretch};
use super::trace::{Area, Delta};

/// The kernel's list of one address space.
#[derive(Clone, Debug, Default)]
pub(crate) struct KernelList {
    /// By first byte, as the changes name them.
    areas: BTreeMap<u64, Area>,
}

impl KernelList {
    /// The list that a snapshot holds.
    pub(crate) fn from_snapshot(areas: &[Area]) -> Self {
        Self { areas: areas.iter().map(|area| (area.start, *area)).collect() }
    }

    /// Takes the changes over, and adds to `touched` where anything changed.
    ///
    /// # Errors
    ///
    /// A sentence, if an area is to go that the list does not have. The
    /// changes before it are made.
    pub(crate) fn apply(
        &mut self,
        deltas: &[Delta],
        touched: &mut Vec<Stretch>,
    ) -> Result<(), String> {
        // All that go come first: a new area may lie where an old one was.
        for delta in deltas {
            if let Delta::Gone(start) = *delta {
                let area = self
                    .areas
                    .remove(&start)
                    .ok_or_else(|| format!("no area starts at {start:x}, but one shall be gone"))?;
                touched.push(Stretch { start, end: area.end });
            }
        }
        for delta in deltas {
            if let Delta::Now(area) = *delta {
                let before = self.areas.insert(area.start, area).map_or(0, |before| before.end);
                touched.push(Stretch { start: area.start, end: area.end.max(before) });
            }
        }
        Ok(())
    }

    /// The areas that have a page in `within`, whole and ascending.
    pub(crate) fn areas_in(&self, within: Stretch) -> impl Iterator<Item = &Area> {
        // Only the last area that starts before can reach in.
        let before = self
            .areas
            .range(..within.start)
            .next_back()
            .map(|(_, area)| area)
            .filter(move |area| area.end > within.start);
        before.into_iter().chain(
            self.areas.range(within.start..within.end.max(within.start)).map(|(_, area)| area),
        )
    }

    /// What the pages in `within` show, clipped to it.
    pub(crate) fn runs_in(&self, within: Stretch) -> impl Iterator<Item = Run> {
        self.areas_in(within).map(move |area| Run {
            start: area.start.max(within.start),
            end: area.end.min(within.end),
            page: Page::of(area),
        })
    }
}
