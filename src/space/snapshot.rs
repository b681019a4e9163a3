//! Copies of a space, and the way from one to the other.

use super::area::Area;
use super::commit::{Change, Commit};
use super::error::{Error, Verb};
use super::region::Region;
use super::update::{Answer, Pieces, Update};
use super::usage::Tally;
use super::{AddrSpace, AreaPieces, Call, Gaps};
use crate::{MapFlags, Prot};
use alloc::vec::Vec;
use core::ops::Range;

impl<F: Clone + PartialEq> AddrSpace<F> {
    /// A copy of the space with the regions that `keep` chooses.
    ///
    /// Marks, limits and the ownership of gaps are copied too. A snapshot is a
    /// `clone`; for regions by the thousand it takes microseconds.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, MapFlags, Mapping, Prot, ignore};
    ///
    /// let mut parent: AddrSpace = AddrSpace::new(0, 0x8000, 0x1000)?;
    /// let memory = Mapping::anonymous(Prot::READ);
    /// parent.map_at(0, 0x1000, memory, ignore)?;
    /// parent.map_at(0x4000, 0x1000, memory.with_flags(MapFlags::DONT_FORK), ignore)?;
    /// let child = parent.fork(|region| !region.flags.contains(MapFlags::DONT_FORK));
    /// assert_eq!(child.picture().to_string(), "r.......");
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    #[must_use]
    pub fn fork(&self, keep: impl FnMut(Region<'_, F>) -> bool) -> Self {
        let mut child = self.clone();
        child.retain(keep);
        child
    }

    /// The same as `clone`, if there is memory for it.
    ///
    /// # Errors
    ///
    /// [`Error::NoMemory`] if there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Mapping, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x8000, 0x1000)?;
    /// space.map_at(0, 0x1000, Mapping::anonymous(Prot::READ), ignore)?;
    /// assert_eq!(space.try_clone()?, space);
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn try_clone(&self) -> Result<Self, Error> {
        let call = Call { verb: Verb::Copy, addr: self.geometry.start(), len: self.len_clamped() };
        let areas = self.areas.try_clone().map_err(|_| call.no_memory())?;
        Ok(Self { areas, ..*self })
    }

    /// Keeps the regions that `keep` wants, and tells nobody. Needs no memory.
    #[inline(never)]
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(Region<'_, F>) -> bool) {
        let (geometry, mut gone) = (self.geometry, Tally::ZERO);
        self.areas.retain(|range, area| {
            let kept = keep(area.region(geometry, &range));
            if !kept {
                gone.count(area.prot, area.flags, &range);
            }
            kept
        });
        self.tally.sub(gone);
    }

    /// The updates that make this space equal to `target`, the shortest way.
    ///
    /// What is mapped in one of the two is unmapped or mapped; where the backing
    /// is the same, a different protection or different flags are one update per
    /// maximal run. A page that is original in `target` alone has lost what it had
    /// and is mapped again. The updates come in ascending order of their first
    /// address, and their pieces are those of this space as it is now.
    ///
    /// A mark that `target` lacks is no matter of the host and not reported.
    ///
    /// # Errors
    ///
    /// [`Error::OtherGeometry`] if the spaces differ in start, length or page size.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Mapping, Prot, Update, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x8000, 0x1000)?;
    /// space.map_at(0, 0x4000, Mapping::anonymous(Prot::READ), ignore)?;
    /// let before = space.clone();
    /// space.unmap(0x1000, 0x1000, ignore)?;
    /// space.protect(0x3000, 0x1000, Prot::empty(), ignore)?;
    ///
    /// let way: Vec<String> = space
    ///     .diff(&before)?
    ///     .map(|update| match update {
    ///         Update::Map { region, .. } => format!("map {}", region.span),
    ///         Update::Protect { span, .. } => format!("protect {span}"),
    ///         _ => unreachable!(),
    ///     })
    ///     .collect();
    /// assert_eq!(way, ["map 0x1000..=0x1fff", "protect 0x3000..=0x3fff"]);
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn diff<'a>(
        &'a self,
        target: &'a Self,
    ) -> Result<impl Iterator<Item = Update<'a, F>>, Error> {
        let geometry = self.geometry;
        let steps = Steps::new(self, target)?.filter(|(_, step)| !matches!(step, Step::Unmark));
        Ok(steps.map(move |(range, step)| {
            let span = geometry.span_of(range.start, range.end);
            let pieces = Pieces::new(&self.areas, geometry, &range, None);
            match step {
                Step::Unmap | Step::Unmark => Update::Unmap { span, pieces },
                Step::Map { area, .. } => {
                    Update::Map { region: area.region(geometry, &range), replaced: pieces }
                }
                Step::Protect(prot) => Update::Protect { span, prot, pieces },
                Step::Flags { set, clear } => Update::Flags { span, set, clear, pieces },
            }
        }))
    }

    /// Makes this space equal to `snapshot` and reports the shortest way there.
    ///
    /// `handler` hears of the updates that [`diff`](Self::diff) tells.
    /// A second call reports nothing. Limits stay as they are.
    ///
    /// # Errors
    ///
    /// If nothing was reported and nothing has changed:
    ///
    /// - [`Error::OtherGeometry`] if the spaces differ in start, length or page
    ///   size;
    /// - [`Error::ByteLimit`] or [`Error::RegionLimit`] if the snapshot is over a
    ///   limit of this space;
    /// - [`Error::NoMemory`] if the books cannot grow.
    ///
    /// If the handler refuses ([`OpError::Handler`](crate::OpError::Handler)), or
    /// panics, the updates before are recorded, and of this one what it has
    /// acknowledged. Calling again does the rest.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Mapping, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x8000, 0x1000)?;
    /// space.map_at(0, 0x4000, Mapping::anonymous(Prot::READ), ignore)?;
    /// let clean = space.clone();
    ///
    /// space.map_at(0x2000, 0x4000, Mapping::anonymous(Prot::WRITE), ignore)?;
    /// space.restore(&clean, ignore)?;
    /// assert_eq!(space, clean);
    /// let mut updates = 0;
    /// space.restore(&clean, |_| updates += 1)?;
    /// assert_eq!(updates, 0);
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn restore<A: Answer>(
        &mut self,
        snapshot: &Self,
        mut handler: impl FnMut(Update<'_, F>) -> A,
    ) -> Result<(), A::Error> {
        let len = self.len_clamped();
        let call = Call { verb: Verb::Restore, addr: self.geometry.start(), len };
        let mut plan: Vec<(Range<u64>, Change<F>)> = Vec::new();
        for (range, step) in Steps::new(self, snapshot)? {
            plan.try_reserve(1).map_err(|_| call.no_memory())?;
            plan.push((range, step.into_change()));
        }
        // All that is mapped now is replaced by all that was.
        self.check_bytes(call, snapshot.tally.mapped(), [self.geometry.all()])?;
        self.check_starts(call, self.areas.len(), snapshot.areas.len())?;
        self.areas.try_reserve_inserts(plan.len()).map_err(|_| call.no_memory())?;
        for (range, change) in plan {
            let spot = self.areas.spot(&range, change.extent());
            match change {
                Change::Map(_) => {
                    Commit::new(self, range, spot, change).report_map(&mut handler)?;
                }
                Change::Unmark => Commit::new(self, range, spot, change).report_runs(|_| ())?,
                _ => Commit::new(self, range, spot, change).report_runs(&mut handler)?,
            }
        }
        Ok(())
    }
}

/// What makes a range of one space equal to that of another.
#[derive(Debug)]
enum Step<'a, F> {
    Unmap,
    /// `start` is the first page of the region in the target, which tells apart
    /// two regions that touch.
    Map {
        area: &'a Area<F>,
        start: u64,
    },
    Protect(Prot),
    Flags {
        set: MapFlags,
        clear: MapFlags,
    },
    Unmark,
}

impl<F: Clone> Step<'_, F> {
    fn into_change(self) -> Change<F> {
        match self {
            Self::Unmap => Change::Unmap,
            Self::Map { area, .. } => Change::Map(area.clone()),
            Self::Protect(prot) => Change::Protect(prot),
            Self::Flags { set, clear } => Change::Flags { set, clear },
            Self::Unmark => Change::Unmark,
        }
    }
}

impl<F> Step<'_, F> {
    /// Whether `next`, which touches this step, is a part of the same.
    fn continues(&self, next: &Self) -> bool {
        match (self, next) {
            (Self::Unmap, Self::Unmap) | (Self::Unmark, Self::Unmark) => true,
            (Self::Map { start: a, .. }, Self::Map { start: b, .. }) => a == b,
            (Self::Protect(a), Self::Protect(b)) => a == b,
            (Self::Flags { set: a, clear: b }, Self::Flags { set: c, clear: d }) => {
                a == c && b == d
            }
            _ => false,
        }
    }
}

/// The three things that can be said about a page, each by a walk of its own:
/// so each run is maximal, whatever the others say about the same pages.
#[derive(Clone, Copy)]
enum Lane {
    /// Unmap, map or protect.
    Main,
    Flags,
    Mark,
}

impl Lane {
    /// What this lane says where one space has `ours` and the other `theirs`.
    fn step<'a, F: PartialEq>(self, ours: Side<'a, F>, theirs: Side<'a, F>) -> Option<Step<'a, F>> {
        let (ours, (theirs, start)) = match (ours, theirs) {
            (None, None) => return None,
            (Some(_), None) => return matches!(self, Self::Main).then_some(Step::Unmap),
            (None, Some((area, start))) => {
                return matches!(self, Self::Main).then_some(Step::Map { area, start });
            }
            (Some((ours, _)), Some(theirs)) => (ours, theirs),
        };
        let lost = theirs.original() && !ours.original();
        if lost || !ours.same_backing(theirs) {
            return matches!(self, Self::Main).then_some(Step::Map { area: theirs, start });
        }
        match self {
            Self::Main => (ours.prot != theirs.prot).then_some(Step::Protect(theirs.prot)),
            Self::Flags => (ours.flags != theirs.flags).then(|| Step::Flags {
                set: theirs.flags.difference(ours.flags),
                clear: ours.flags.difference(theirs.flags),
            }),
            Self::Mark => (ours.original() != theirs.original()).then_some(Step::Unmark),
        }
    }
}

/// What a space has on a page: the area, and the first page of its region.
type Side<'a, F> = Option<(&'a Area<F>, u64)>;

/// The steps of all lanes, in ascending order of their first page.
struct Steps<'a, F: Clone + PartialEq> {
    lanes: [Runs<'a, F>; 3],
}

impl<'a, F: Clone + PartialEq> Steps<'a, F> {
    fn new(ours: &'a AddrSpace<F>, theirs: &'a AddrSpace<F>) -> Result<Self, Error> {
        if ours.geometry != theirs.geometry {
            return Err(Error::OtherGeometry);
        }
        Ok(Self {
            lanes: [Lane::Main, Lane::Flags, Lane::Mark].map(|lane| Runs::new(lane, ours, theirs)),
        })
    }
}

impl<'a, F: Clone + PartialEq> Iterator for Steps<'a, F> {
    type Item = (Range<u64>, Step<'a, F>);

    fn next(&mut self) -> Option<Self::Item> {
        let lowest = self.lanes.iter_mut().filter(|lane| lane.next.is_some());
        lowest.min_by_key(|lane| lane.next.as_ref().map(|(range, _)| range.start))?.take()
    }
}

/// The maximal runs of one lane.
struct Runs<'a, F: Clone + PartialEq> {
    lane: Lane,
    /// Whether an unmap may reach over gaps.
    over_gaps: bool,
    segments: Segments<'a, F>,
    /// The next run to give out.
    next: Option<(Range<u64>, Step<'a, F>)>,
    /// The step after it, which did not continue it.
    ahead: Option<(Range<u64>, Step<'a, F>)>,
}

impl<'a, F: Clone + PartialEq> Runs<'a, F> {
    fn new(lane: Lane, ours: &'a AddrSpace<F>, theirs: &'a AddrSpace<F>) -> Self {
        let segments = Segments::new(ours, theirs);
        let over_gaps = ours.gaps == Gaps::Owned;
        let mut runs = Self { lane, over_gaps, segments, next: None, ahead: None };
        runs.take();
        runs
    }

    /// Gives out the next run and gathers the one after it.
    fn take(&mut self) -> Option<(Range<u64>, Step<'a, F>)> {
        let mut run = self.ahead.take();
        for (range, ours, theirs) in self.segments.by_ref() {
            let step = self.lane.step(ours, theirs);
            match (&mut run, step) {
                (None, None) => {}
                (None, Some(step)) => run = Some((range, step)),
                (Some(_), None) => break,
                (Some((all, kind)), Some(step)) => {
                    let touches =
                        all.end == range.start || (self.over_gaps && matches!(kind, Step::Unmap));
                    if touches && kind.continues(&step) {
                        all.end = range.end;
                    } else {
                        self.ahead = Some((range, step));
                        break;
                    }
                }
            }
        }
        core::mem::replace(&mut self.next, run)
    }
}

/// The ranges over which both spaces have one thing each, gaps in both left out.
struct Segments<'a, F: Clone + PartialEq> {
    ours: Cursor<'a, F>,
    theirs: Cursor<'a, F>,
    /// The page up to which both are told.
    told: u64,
}

impl<'a, F: Clone + PartialEq> Segments<'a, F> {
    fn new(ours: &'a AddrSpace<F>, theirs: &'a AddrSpace<F>) -> Self {
        Self { ours: Cursor::new(ours), theirs: Cursor::new(theirs), told: 0 }
    }
}

impl<'a, F: Clone + PartialEq> Iterator for Segments<'a, F> {
    type Item = (Range<u64>, Side<'a, F>, Side<'a, F>);

    fn next(&mut self) -> Option<Self::Item> {
        self.ours.pass(self.told);
        self.theirs.pass(self.told);
        let start = [self.ours.start(), self.theirs.start()].into_iter().flatten().min()?;
        let start = start.max(self.told);
        let ends = [self.ours.change_after(start), self.theirs.change_after(start)];
        let end = ends.into_iter().flatten().min()?;
        self.told = end;
        Some((start..end, self.ours.side(start), self.theirs.side(start)))
    }
}

/// The region of one space that a walk has come to.
struct Cursor<'a, F: Clone + PartialEq> {
    areas: AreaPieces<'a, F>,
    current: Option<(Range<u64>, &'a Area<F>)>,
}

impl<'a, F: Clone + PartialEq> Cursor<'a, F> {
    fn new(space: &'a AddrSpace<F>) -> Self {
        let mut areas = space.areas.pieces(space.geometry.all());
        Self { current: areas.next(), areas }
    }

    /// Leaves a region that ends at `page` or before it.
    fn pass(&mut self, page: u64) {
        while self.current.as_ref().is_some_and(|(range, _)| range.end <= page) {
            self.current = self.areas.next();
        }
    }

    fn start(&self) -> Option<u64> {
        self.current.as_ref().map(|(range, _)| range.start)
    }

    /// Where, after `page`, the space has something else.
    fn change_after(&self, page: u64) -> Option<u64> {
        let (range, _) = self.current.as_ref()?;
        Some(if page < range.start { range.start } else { range.end })
    }

    fn side(&self, page: u64) -> Side<'a, F> {
        let (range, area) = self.current.as_ref()?;
        range.contains(&page).then_some((*area, range.start))
    }
}
