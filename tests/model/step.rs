//! One operation on both sides, with a handler that may refuse.

use super::{Effect, File, Model, Op, Page, Refusal, Target, event, mapping};
use addrspace::{
    AddrSpace, Backing, Limits, MapFlags, Mapping, OpError, Prot, Remap, Update, ignore,
};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Both sides, and what they remember for `Restore`.
#[derive(Clone, Debug)]
pub struct Pair<F: File> {
    pub space: AddrSpace<F>,
    pub model: Model,
    pub saved: (AddrSpace<F>, Model),
}

impl<F: File> Pair<F> {
    /// What an operation does to the model that no host hears of.
    fn follow(&mut self, op: &Op) {
        match op {
            Op::MarkOriginal => self.model.mark_original(),
            Op::Reset => self.model.pages.fill(None),
            Op::Limit { pages, regions } => {
                (self.model.page_limit, self.model.region_limit) = (*pages, *regions);
            }
            Op::Snapshot => self.save(),
            _ => {}
        }
    }

    pub fn new(model: Model) -> Self {
        let space = model.space();
        Self { saved: (space.clone(), model.clone()), space, model }
    }

    /// Maps a page of both, which were not limited.
    pub fn map_page(&mut self, page: usize, prot: Prot) {
        let addr = self.model.addr(page) as u64;
        self.space.map_at(addr, 1, Mapping::anonymous(prot), ignore).unwrap();
        let (flags, backing) = (MapFlags::empty(), Backing::Anonymous);
        self.model.pages[page] = Some(Page { prot, flags, backing, original: false });
    }

    pub fn mark_original(&mut self) {
        self.space.mark_original();
        self.model.mark_original();
    }

    /// Remembers both for `Restore`.
    pub fn save(&mut self) {
        self.saved = (self.space.clone(), self.model.clone());
    }
}

/// Tells, when a test fails, in which operation.
struct Context<'a>(&'a Op, Option<Refusal>, String);

impl Drop for Context<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(op, refusal, before) = self;
            eprintln!("on {before}: {op:x?}, refused: {refusal:?}");
        }
    }
}

/// What the refusing handler panics with.
struct Refused;

/// Applies `op` to both, with a handler that may refuse, and compares.
///
/// Tells how many updates there were.
pub fn step<F: File>(pair: &mut Pair<F>, op: &Op, refusal: Option<Refusal>) -> usize {
    let _context = Context(op, refusal, pair.space.picture().to_string());
    let mut events = Vec::new();
    let planned = pair.model.plan(op, &pair.saved.1);
    let (page, geometry) = (pair.model.page, pair.model.clone());
    let space = &mut pair.space;
    let before = space.clone();
    let mut refused_at = None;
    let clones = std::cell::Cell::new(None);
    let handler = |update: Update<'_, F>| -> Result<(), ()> {
        let number = events.len();
        events.push(event(&update));
        clones.set(Some(F::clones()));
        let Some(refusal) = refusal.filter(|refusal| refusal.at == number) else {
            // What is acknowledged before all is made makes no difference.
            let span = update.span();
            if u128::from(span.start()) / page % 2 == 0 {
                update.made_to(span.start() + (span.last() - span.start()) / 2);
                clones.set(Some(F::clones()));
            }
            return Ok(());
        };
        let span = update.span();
        refused_at = Some(span.start());
        if let Some(made) = refusal.made {
            let addr = u128::from(span.start()) + page * u128::from(made);
            // The middle of a page is as good as its start; 2^64 cannot be said.
            let addr = u64::try_from(addr + page / 2).unwrap_or(u64::MAX);
            update.made_to(addr);
            update.made_to(span.start()); // is not taken back
            let made = (u128::from(addr) - u128::from(span.start())) / page;
            let pages = (u128::from(span.last()) + 1 - u128::from(span.start())) / page;
            let at = u128::from(span.start()) + made.min(pages) * page;
            refused_at = Some(u64::try_from(at).unwrap());
            clones.set(Some(F::clones()));
        }
        if refusal.panics {
            resume_unwind(Box::new(Refused));
        }
        Err(())
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| run(space, op, &pair.saved.0, handler)));
    // After the last update comes only the dropping of marks, which a restore does.
    if let Some(clones) = clones.get().filter(|_| !matches!(op, Op::Restore)) {
        assert_eq!(F::clones(), clones, "recording clones");
    }
    let outcome = match outcome {
        Ok(outcome) => Some(outcome),
        Err(payload) if payload.is::<Refused>() => None,
        Err(payload) => resume_unwind(payload),
    };

    let (answer, effects) = match planned {
        Err(errno) => {
            let Some(Err(OpError::Refused(error))) = outcome else {
                panic!("{op:?} gives {outcome:?}, expected errno {errno}")
            };
            assert_eq!(error.errno(), errno, "{op:?} gives {error:?}");
            assert!(events.is_empty(), "an error comes before the first update");
            assert_eq!(*space, before, "an error changes nothing");
            return 0;
        }
        Ok(planned) => planned,
    };
    // What the handler heard up to the refusal, and what that has made.
    let mut heard = 0;
    for effect in &effects {
        let expected = pair.model.event(effect);
        if let Some(expected) = &expected {
            assert_eq!(events.get(heard), Some(expected), "update {heard} of {op:?}");
            heard += 1;
        }
        match refused_at.filter(|_| expected.is_some() && heard == events.len()) {
            Some(at) => {
                let start = match effect {
                    Effect::Map { range, .. }
                    | Effect::Unmap { range }
                    | Effect::Protect { range, .. }
                    | Effect::Flags { range, .. } => range.start,
                    Effect::Move { from, .. } => from.start,
                    Effect::Unmark { .. } => unreachable!(),
                };
                let made = (u128::from(at) - geometry.addr(start)) / page;
                pair.model.apply(effect, Some(made as usize));
                break;
            }
            None => pair.model.apply(effect, None),
        }
    }
    assert_eq!(events.len(), heard, "{op:?} reports more than expected: {events:?}");
    match (refused_at, outcome) {
        (None, outcome) => assert_eq!(outcome, Some(Ok(answer)), "{op:?}"),
        (Some(_), None) => {}
        (Some(at), outcome) => {
            assert_eq!(outcome, Some(Err(OpError::Handler { at, source: () })), "{op:?}");
        }
    }
    if matches!(op, Op::Restore) && refused_at.is_none() {
        assert_eq!(pair.space, pair.saved.0);
    }
    pair.follow(op);
    pair.model.compare(&pair.space);
    heard
}

/// Calls the verb of `op`.
pub fn run<F: File>(
    space: &mut AddrSpace<F>,
    op: &Op,
    saved: &AddrSpace<F>,
    handler: impl FnMut(Update<'_, F>) -> Result<(), ()>,
) -> Result<Option<u64>, OpError<()>> {
    match *op {
        Op::MapAny { len, mapping: ref m, place } => {
            return space.map_any(len, mapping(m), place.placement(), handler).map(Some);
        }
        Op::MapAt { addr, len, mapping: ref m, replace: true } => {
            space.map_at(addr, len, mapping(m), handler)?;
        }
        Op::MapAt { addr, len, mapping: ref m, replace: false } => {
            space.map_at_no_replace(addr, len, mapping(m), handler)?;
        }
        Op::Unmap { addr, len } => space.unmap(addr, len, handler)?,
        Op::Protect { addr, len, prot } => space.protect(addr, len, prot, handler)?,
        Op::SetFlags { addr, len, set, clear } => {
            space.set_flags(addr, len, set, clear, handler)?;
        }
        Op::Remap { addr, old_len, new_len, target, keep_source } => {
            let mut how = match target {
                Target::InPlace => Remap::in_place(),
                Target::Anywhere(place) => Remap::may_move(place.placement()),
                Target::At(addr) => Remap::to(addr),
            };
            if keep_source {
                how = how.keep_source();
            }
            return space.remap(addr, old_len, new_len, how, handler).map(Some);
        }
        Op::UnmapNonOriginal => space.unmap_non_original(handler)?,
        Op::Restore => space.restore(saved, handler)?,
        Op::MarkOriginal => space.mark_original(),
        Op::Reset => space.reset(),
        Op::Limit { pages, regions } => {
            let page = space.page_size().bytes();
            // 2^64 bytes are no limit.
            let bytes = pages.and_then(|pages| pages.checked_mul(page));
            space.set_limits(Limits { bytes, regions });
        }
        Op::Snapshot => {}
    }
    Ok(None)
}
