//! What an operation has to do, found out page by page.

use super::{Effect, Model, Op, Page, Place, Policy, Target};
use addrspace::{Backing, Gaps, MapFlags, Mapping};
use std::ops::Range;

const ENOMEM: i32 = 12;
const EFAULT: i32 = 14;
const EEXIST: i32 = 17;
const EINVAL: i32 = 22;
const EOVERFLOW: i32 = 75;

/// The answer of the verb and what it does, or the errno.
type Plan = Result<(Option<u64>, Vec<Effect>), i32>;

impl Model {
    pub fn plan(&self, op: &Op, saved: &Model) -> Plan {
        let plan = match *op {
            Op::MapAny { len, ref mapping, place } => self.plan_map_any(len, mapping, place),
            Op::MapAt { addr, len, ref mapping, replace } => {
                self.plan_map_at(addr, len, mapping, replace)
            }
            Op::Unmap { addr, len } => self.range(addr, len, EINVAL).map(|range| {
                let over_gaps = self.gaps == Gaps::Owned;
                let effects = self.mapped_runs(&range, over_gaps, |_| true);
                (None, effects.into_iter().map(|range| Effect::Unmap { range }).collect())
            }),
            Op::Protect { addr, len, prot } => self.range(addr, len, ENOMEM).map(|range| {
                let runs = self.mapped_runs(&range, false, |_| true).into_iter();
                (None, runs.map(|range| Effect::Protect { range, prot }).collect())
            }),
            Op::SetFlags { addr, len, set, clear } => {
                let range = self.range(addr, len, ENOMEM)?;
                if (set | clear).contains(MapFlags::SHARED) {
                    return Err(EINVAL);
                }
                let runs = self.mapped_runs(&range, false, |_| true).into_iter();
                Ok((None, runs.map(|range| Effect::Flags { range, set, clear }).collect()))
            }
            Op::Remap { addr, old_len, new_len, target, keep_source } => {
                self.plan_remap(addr, old_len, new_len, target, keep_source)
            }
            Op::UnmapNonOriginal => {
                let over_gaps = self.gaps == Gaps::Owned;
                let all = 0..self.pages.len();
                let runs = self.mapped_runs(&all, over_gaps, |page| !page.original).into_iter();
                Ok((None, runs.map(|range| Effect::Unmap { range }).collect()))
            }
            Op::Restore => Ok((None, self.way_to(saved))),
            Op::MarkOriginal | Op::Reset | Op::Limit { .. } | Op::Snapshot => {
                Ok((None, Vec::new()))
            }
        };
        let (answer, effects) = plan?;
        self.check_limits(&effects)?;
        Ok((answer, effects))
    }

    /// A limit refuses what ends above it and above what is now.
    fn check_limits(&self, effects: &[Effect]) -> Result<(), i32> {
        let mut after = self.clone();
        for effect in effects {
            after.apply(effect, None);
        }
        let pages = |model: &Model| model.pages.iter().flatten().count();
        let regions = |model: &Model| model.runs(&(0..model.pages.len())).len();
        let (pages, pages_now) = (pages(&after), pages(self));
        let (regions, regions_now) = (regions(&after), regions(self));
        let too_many =
            self.page_limit.is_some_and(|limit| pages as u64 > limit && pages > pages_now);
        let too_cut =
            self.region_limit.is_some_and(|limit| regions > limit && regions > regions_now);
        if too_many || too_cut { Err(ENOMEM) } else { Ok(()) }
    }

    fn pages_ceil(&self, len: u64) -> u128 {
        u128::from(len).div_ceil(self.page)
    }

    /// The pages of a range that has to be right; what is outside gives `outside`.
    fn range(&self, addr: u64, len: u64, outside: i32) -> Result<Range<usize>, i32> {
        let addr = u128::from(addr);
        if len == 0 || !addr.is_multiple_of(self.page) {
            return Err(EINVAL);
        }
        let end = addr + self.pages_ceil(len) * self.page;
        if addr < self.start || end > self.addr(self.pages.len()) {
            return Err(outside);
        }
        let first = (addr - self.start) / self.page;
        Ok(first as usize..((end - self.start) / self.page) as usize)
    }

    /// The maximal runs of pages of `range` that are mapped and `wanted`.
    fn mapped_runs(
        &self,
        range: &Range<usize>,
        over_gaps: bool,
        wanted: impl Fn(Page) -> bool,
    ) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        let mut broken = true;
        for i in range.clone() {
            match self.pages[i] {
                Some(page) if wanted(page) => {
                    match runs.last_mut() {
                        Some(run) if !broken => run.end = i + 1,
                        _ => runs.push(i..i + 1),
                    }
                    broken = false;
                }
                Some(_) => broken = true,
                None => broken |= !over_gaps,
            }
        }
        runs
    }

    /// The pages of a new mapping.
    fn new_pages(&self, mapping: &Mapping, count: usize) -> Vec<Page> {
        let Mapping { prot, flags, backing } = *mapping;
        let first = Page { prot, flags, backing, original: false };
        (0..count).map(|i| self.advanced(first, i)).collect()
    }

    fn check_backing(&self, len: u64, backing: Backing<u32>) -> Result<(), i32> {
        let (Backing::File { offset, .. } | Backing::Physical { addr: offset }) = backing else {
            return Ok(());
        };
        if !u128::from(offset).is_multiple_of(self.page) || len == 0 {
            return Err(EINVAL);
        }
        let len = self.pages_ceil(len) * self.page;
        if len > u128::from(u64::MAX) {
            return Err(ENOMEM);
        }
        if u128::from(offset) + len > u128::from(u64::MAX) { Err(EOVERFLOW) } else { Ok(()) }
    }

    fn plan_map_any(&self, len: u64, mapping: &Mapping, place: Place) -> Plan {
        self.check_backing(len, mapping.backing)?;
        let first = self.choose(len, place)?;
        let range = first..first + self.pages_ceil(len) as usize;
        let pages = self.new_pages(mapping, range.len());
        Ok((Some(self.addr(first) as u64), vec![Effect::Map { range, pages }]))
    }

    fn plan_map_at(&self, addr: u64, len: u64, mapping: &Mapping, replace: bool) -> Plan {
        self.check_backing(len, mapping.backing)?;
        let down = u128::from(addr) / self.page * self.page;
        // Being outside comes before being unaligned.
        if len > 0 {
            self.range(down as u64, len, ENOMEM)?;
        }
        let range = self.range(addr, len, ENOMEM)?;
        if !replace && range.clone().any(|i| self.pages[i].is_some()) {
            return Err(EEXIST);
        }
        let pages = self.new_pages(mapping, range.len());
        Ok((None, vec![Effect::Map { range, pages }]))
    }

    /// The first page of every place for `len` bytes.
    pub fn places(&self, len: u64, place: Place) -> Vec<usize> {
        let pages = self.pages_ceil(len);
        let (below, above) = (self.pages_ceil(place.guard.0), self.pages_ceil(place.guard.1));
        let all = self.pages.len() as u128;
        let bounds = place.within.unwrap_or((0, u64::MAX));
        // In bytes; without bounds the last byte of all counts too.
        let end = match place.within {
            Some((addr, len)) => u128::from(addr) + u128::from(len),
            None => 1 << 64,
        };
        let align = if place.align == 0 { 1 } else { u128::from(place.align) };
        let offset = u128::from(place.offset);
        let fits = |first: &usize| {
            let first = *first as u128;
            let addr = self.addr(first as usize);
            // An address may be less than the offset, so a multiple is added.
            let aligned = self.page.is_multiple_of(align)
                || (addr + offset.div_ceil(align) * align - offset).is_multiple_of(align);
            aligned
                && first >= below
                && first + pages + above <= all
                && addr >= u128::from(bounds.0)
                && addr + pages * self.page <= end
                && (first - below..first + pages + above).all(|i| self.pages[i as usize].is_none())
        };
        (0..self.pages.len()).filter(fits).collect()
    }

    fn choose(&self, len: u64, place: Place) -> Result<usize, i32> {
        if len == 0 {
            return Err(EINVAL);
        }
        let (align, offset) = (u128::from(place.align), u128::from(place.offset));
        let fine = align == 0 || align.is_multiple_of(self.page) || self.page.is_multiple_of(align);
        if !fine || !offset.is_multiple_of(self.page) {
            return Err(EINVAL);
        }
        let places = self.places(len, place);
        let hinted = place.hint.map(u128::from).and_then(|hint| {
            if hint < self.start || hint >= self.addr(self.pages.len()) {
                return None;
            }
            // The highest page at or below the hint that is aligned.
            let page = ((hint - self.start) / self.page) as usize;
            let free = Model { pages: vec![None; self.pages.len()], ..self.clone() };
            let anywhere = Place { within: None, guard: (0, 0), ..place };
            let down = free.places(1, anywhere).into_iter().rfind(|&first| first <= page)?;
            places.contains(&down).then_some(down)
        });
        let chosen = hinted.or_else(|| match place.policy {
            Policy::Lowest => places.first().copied(),
            Policy::Highest => places.last().copied(),
            Policy::Nth(n) => places.get(usize::try_from(n).unwrap_or(usize::MAX)).copied(),
            Policy::Random(bits) => {
                places.get(((u128::from(bits) * places.len() as u128) >> 64) as usize).copied()
            }
        });
        chosen.ok_or(ENOMEM)
    }

    fn plan_remap(
        &self,
        addr: u64,
        old_len: u64,
        new_len: u64,
        target: Target,
        keep_source: bool,
    ) -> Plan {
        let (old, new) = (self.pages_ceil(old_len), self.pages_ceil(new_len));
        if !u128::from(addr).is_multiple_of(self.page) || new == 0 || new > self.pages.len() as u128
        {
            return Err(EINVAL);
        }
        if keep_source && (matches!(target, Target::InPlace) || old != new) {
            return Err(EINVAL);
        }
        let fixed = match target {
            Target::At(to) => Some(self.range(to, new_len, EINVAL)?),
            _ => None,
        };
        let from = self.range(addr, old_len, EFAULT);
        if let (Ok(from), Some(to)) = (&from, &fixed)
            && from.start.max(to.start) < from.end.min(to.end)
        {
            return Err(EINVAL);
        }
        if let (0, Ok(at), Some(to)) = (old_len, self.range(addr, 1, EFAULT), &fixed)
            && to.start < at.start
            && at.start < to.end
        {
            return Err(EINVAL);
        }
        if old_len == 0 {
            return self.plan_duplicate(addr, new_len, target, fixed);
        }
        let (from, new) = (from?, new as usize);
        let first = self.pages[from.start].ok_or(EFAULT)?;
        let kept = from.start..from.end.min(from.start + new);
        let tail = self.mapped_runs(&(kept.end..from.end), self.gaps == Gaps::Owned, |_| true);
        let mut effects: Vec<Effect> =
            tail.into_iter().map(|range| Effect::Unmap { range }).collect();
        let grows = new > from.len();

        if let Some(to) = fixed {
            if new != from.len() && !self.one_mapping(&kept) {
                return Err(EFAULT);
            }
            if grows {
                self.check_backing(new_len, first.backing).map_err(|_| EINVAL)?;
            }
            let answer = self.addr(to.start) as u64;
            effects.extend(self.moves(&kept, to, keep_source));
            return Ok((Some(answer), effects));
        }
        if new < from.len() || (new == from.len() && !keep_source) {
            return Ok((Some(addr), effects));
        }
        if !self.one_mapping(&from) {
            return Err(EFAULT);
        }
        if grows {
            self.check_backing(new_len, first.backing).map_err(|_| EINVAL)?;
            let extension = from.end..from.start + new;
            if extension.end <= self.pages.len()
                && extension.clone().all(|i| self.pages[i].is_none())
            {
                let first = Page { original: false, ..first };
                let pages =
                    extension.clone().map(|i| self.advanced(first, i - from.start)).collect();
                return Ok((Some(addr), vec![Effect::Map { range: extension, pages }]));
            }
        }
        let Target::Anywhere(place) = target else { return Err(ENOMEM) };
        let to = self.choose(new_len, place)?;
        let effects = self.moves(&from, to..to + new, keep_source);
        Ok((Some(self.addr(to) as u64), effects))
    }

    /// Whether all of `range` is mapped, and one mapping but for the mark.
    fn one_mapping(&self, range: &Range<usize>) -> bool {
        range.clone().all(|i| match (self.pages[i], i + 1 < range.end) {
            (None, _) => false,
            (Some(_), false) => true,
            (Some(a), true) => self.pages[i + 1].is_some_and(|b| self.continues(a, b)),
        })
    }

    /// One move per run of `from`; `to` is longer only if that is one mapping.
    fn moves(&self, from: &Range<usize>, to: Range<usize>, keep_source: bool) -> Vec<Effect> {
        let longer = to.len().saturating_sub(from.len());
        let runs = self.mapped_runs(from, false, |_| true).into_iter();
        let moves = runs.map(|run| {
            let start = to.start + (run.start - from.start);
            let first = self.pages[run.start].unwrap();
            let page = |i: usize| match self.pages.get(run.start + i).filter(|_| i < run.len()) {
                Some(page) => Page { original: false, ..page.unwrap() },
                None => self.advanced(Page { original: false, ..first }, i),
            };
            let pages: Vec<Page> = (0..run.len() + longer).map(page).collect();
            Effect::Move { to: start..start + pages.len(), from: run, pages, keep_source }
        });
        moves.collect()
    }

    fn plan_duplicate(
        &self,
        addr: u64,
        new_len: u64,
        target: Target,
        fixed: Option<Range<usize>>,
    ) -> Plan {
        let page = self.range(addr, 1, EFAULT)?.start;
        let first = self.pages[page].ok_or(EFAULT)?;
        if !first.flags.contains(MapFlags::SHARED) {
            return Err(EINVAL);
        }
        self.check_backing(new_len, first.backing).map_err(|_| EINVAL)?;
        if fixed.as_ref().is_some_and(|to| to.start == page) {
            return Err(EINVAL);
        }
        let new = self.pages_ceil(new_len) as usize;
        let to = match (target, fixed) {
            (_, Some(to)) => to,
            (Target::Anywhere(place), _) => {
                let first = self.choose(new_len, place)?;
                first..first + new
            }
            _ => return Err(ENOMEM),
        };
        let mut end = page + 1;
        while end < self.pages.len() && end < page + new && self.joined(end - 1) {
            end += 1;
        }
        let first = Page { original: false, ..first };
        let pages = (0..new).map(|i| self.advanced(first, i)).collect();
        let answer = self.addr(to.start) as u64;
        Ok((Some(answer), vec![Effect::Move { from: page..end, to, pages, keep_source: true }]))
    }

    /// The effects that make this equal to `target`.
    fn way_to(&self, target: &Model) -> Vec<Effect> {
        /// What a lane says about a page; equal neighbours are one effect.
        #[derive(Clone, Copy, PartialEq)]
        enum Say {
            Unmap,
            Map { region: usize },
            Protect(addrspace::Prot),
            Flags(MapFlags, MapFlags),
            Unmark,
        }
        let regions = target.runs(&(0..target.pages.len()));
        let region = |i: usize| regions.iter().position(|run| run.contains(&i)).unwrap();
        let again = |ours: Page, theirs: Page| {
            let shared = |page: Page| page.flags.contains(MapFlags::SHARED);
            ours.backing != theirs.backing
                || shared(ours) != shared(theirs)
                || (theirs.original && !ours.original)
        };
        let say = |lane: usize, i: usize| match (lane, self.pages[i], target.pages[i]) {
            (0, Some(_), None) => Some(Say::Unmap),
            (0, None, Some(_)) => Some(Say::Map { region: region(i) }),
            (_, Some(a), Some(b)) if again(a, b) => {
                (lane == 0).then(|| Say::Map { region: region(i) })
            }
            (0, Some(a), Some(b)) => (a.prot != b.prot).then_some(Say::Protect(b.prot)),
            (1, Some(a), Some(b)) => {
                (a.flags != b.flags).then(|| Say::Flags(b.flags - a.flags, a.flags - b.flags))
            }
            (2, Some(a), Some(b)) => (a.original != b.original).then_some(Say::Unmark),
            _ => None,
        };
        let mut effects: Vec<(Range<usize>, Say)> = Vec::new();
        for lane in 0..3 {
            let mut runs: Vec<(Range<usize>, Say)> = Vec::new();
            for i in 0..self.pages.len() {
                let Some(said) = say(lane, i) else { continue };
                let gap = |run: &Range<usize>| {
                    (run.end..i).all(|i| self.pages[i].is_none() && target.pages[i].is_none())
                };
                match runs.last_mut() {
                    Some((run, last))
                        if *last == said
                            && (run.end == i
                                || (said == Say::Unmap
                                    && self.gaps == Gaps::Owned
                                    && gap(run))) =>
                    {
                        run.end = i + 1;
                    }
                    _ => runs.push((i..i + 1, said)),
                }
            }
            effects.extend(runs);
        }
        effects.sort_by_key(|(range, _)| range.start); // stable: the lanes stay in order
        let effect = |(range, said): (Range<usize>, Say)| match said {
            Say::Unmap => Effect::Unmap { range },
            Say::Map { .. } => {
                let pages = range.clone().map(|i| target.pages[i].unwrap()).collect();
                Effect::Map { range, pages }
            }
            Say::Protect(prot) => Effect::Protect { range, prot },
            Say::Flags(set, clear) => Effect::Flags { range, set, clear },
            Say::Unmark => Effect::Unmark { range },
        };
        effects.into_iter().map(effect).collect()
    }
}
