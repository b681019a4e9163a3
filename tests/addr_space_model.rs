//! Random operations against the dull model, refused in every way.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test"
)]

mod model;

use addrspace::{Gaps, Prot, ignore};
use model::generate::Numbers;
use model::{File, Model, Op, Page, Pair, Refusal, event, piece, replay, run, step};
use proptest::prelude::*;

/// What one operation is made of.
fn numbers() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(any::<u16>(), 24)
}

fn play<F: File>(space: &[u16], ops: &[Vec<u16>], refusals: bool) -> Pair<F> {
    let mut pair = Pair::<F>::new(Numbers(space.iter().copied()).model());
    for op in ops {
        let mut numbers = Numbers(op.iter().copied());
        let refusal = numbers.refusal().filter(|_| refusals);
        let op = numbers.op(&pair.model);
        step(&mut pair, &op, refusal);
    }
    pair
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn a_space_does_what_the_model_does(
        space in numbers(),
        ops in prop::collection::vec(numbers(), 0..60),
    ) {
        play::<u32>(&space, &ops, true);
    }

    /// What the host has made is what the books say.
    #[test]
    fn updates_replayed_rebuild_the_space(
        space in numbers(),
        ops in prop::collection::vec(numbers(), 0..60),
    ) {
        let mut model = Numbers(space.iter().copied()).model();
        let mut space = model.space::<u32>();
        let mut saved = space.clone();
        for op in &ops {
            let mut numbers = Numbers(op.iter().copied());
            let refusal = numbers.refusal();
            let op = numbers.op(&model);
            let mut count = 0;
            let result = run(&mut space, &op, &saved, |update| {
                count += 1;
                if refusal.is_some_and(|refusal| refusal.at + 1 == count) {
                    return Err(());
                }
                replay(&mut model, &event(&update));
                Ok(())
            });
            let _ = result;
            match op {
                Op::Reset => model.pages.fill(None),
                Op::Snapshot => saved = space.clone(),
                _ => {}
            }
            // A host knows nothing of marks.
            for (i, page) in model.pages.iter().enumerate() {
                let addr = u64::try_from(model.addr(i)).unwrap();
                let found = space.regions_in(addr, 1).next().map(|region| piece(&region).1);
                let bare = |page: Page| Page { original: false, ..page };
                prop_assert_eq!(found.map(bare), page.map(bare));
            }
        }
    }

    #[test]
    fn protect_twice_is_protect_once(
        space in numbers(),
        ops in prop::collection::vec(numbers(), 0..30),
        (addr, len, prot) in (0..40_u64, 1..40_u64, 0..8_u32),
    ) {
        let mut once = play::<u32>(&space, &ops, false).space;
        let page = once.page_size().bytes();
        let start = once.span().map_or(0, addrspace::Span::start);
        let addr = start.wrapping_add(addr.wrapping_mul(page));
        let (len, prot) = (len.saturating_mul(page), Prot::from_bits_retain(prot));
        once.set_limits(addrspace::Limits::default());
        let first = once.protect(addr, len, prot, ignore);
        let mut twice = once.clone();
        prop_assert_eq!(twice.protect(addr, len, prot, ignore), first);
        prop_assert_eq!(once, twice);
    }

    /// In both directions, and the updates of `diff` are those of `restore`.
    #[test]
    fn diff_then_restore_is_equality(
        space in numbers(),
        ops in prop::collection::vec(numbers(), 0..30),
        more in prop::collection::vec(numbers(), 0..10),
    ) {
        let mut pair = play::<u32>(&space, &ops, false);
        let before = pair.space.clone();
        for op in &more {
            let op = Numbers(op.iter().copied()).op(&pair.model);
            step(&mut pair, &op, None);
        }
        for (here, there) in [(&pair.space, &before), (&before, &pair.space)] {
            let mut space = here.clone();
            space.set_limits(addrspace::Limits::default());
            let told = here.diff(there).unwrap().map(|update| update.span()).collect::<Vec<_>>();
            prop_assert!(told.is_sorted_by_key(|span| span.start()));
            let mut heard = Vec::new();
            space.restore(there, |update| heard.push(update.span())).unwrap();
            prop_assert_eq!(heard, told);
            prop_assert_eq!(&space, there);
            space.check();
            space.restore(there, |_| -> () { panic!("a second restore reports nothing") }).unwrap();
        }
    }

    /// Each of the updates of the last operation is refused, at each of its pages
    /// and at none, by an error and by a panic; then the operation is resumed.
    #[test]
    fn every_update_can_be_refused_at_every_page(
        space in numbers(),
        ops in prop::collection::vec(numbers(), 1..25),
    ) {
        let (last, ops) = ops.split_last().unwrap();
        // A small space: each of its pages is tried.
        let mut pair = Pair::<u32>::new(Numbers(space.iter().copied()).model());
        for op in ops {
            let op = Numbers(op.iter().copied().skip(5)).op(&pair.model);
            step(&mut pair, &op, None);
        }
        let last = Numbers(last.iter().copied().skip(5)).op(&pair.model);
        refuse_everywhere(&pair, &last);
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(400)
}

fn refuse_everywhere<F: File>(pair: &Pair<F>, op: &Op) {
    let mut unrefused = pair.clone();
    let updates = step(&mut unrefused, op, None);
    // A move finds what has moved no longer there, and the second of two places is
    // another one; a limit may be in the way of what is left.
    let model = &pair.model;
    let resumes = !matches!(op, Op::Remap { .. } | Op::MapAny { .. })
        && (model.page_limit, model.region_limit) == (None, None);
    for at in 0..updates {
        for made in (0..=pair.model.pages.len() as u64 + 1).map(Some).chain([None]) {
            for panics in [false, true] {
                let mut refused = pair.clone();
                step(&mut refused, op, Some(Refusal { at, made, panics }));
                // Again, to the end: the model says what is left to do.
                step(&mut refused, op, None);
                if resumes {
                    assert!(refused.space == unrefused.space, "{op:?} is not resumed");
                }
            }
        }
    }
}

/// The operations on a picture of many regions, so that each has several updates.
#[test]
fn each_verb_can_be_refused_at_every_step_and_resumed() {
    use addrspace::{MapFlags, Mapping};
    use model::{Place, Policy, Target};

    let page = 0x1000;
    let read = Mapping::<u32>::anonymous(Prot::READ);
    let write = Mapping::<u32>::anonymous(Prot::READ | Prot::WRITE);
    let file = Mapping::file(Prot::READ, 1, 0).shared();
    let anywhere = Place::anywhere(Policy::Highest);
    let remap = |first: u64, old: u64, new: u64, target, keep| {
        Op::remap(first * page, [old * page, new * page], target, keep)
    };
    let ops = [
        Op::MapAt { addr: page, len: 12 * page, mapping: file, replace: true },
        Op::MapAt { addr: 2 * page, len: page, mapping: write, replace: true },
        Op::MapAt { addr: 10 * page, len: page, mapping: write, replace: false },
        Op::MapAny { len: page, mapping: read, place: anywhere },
        Op::Unmap { addr: page, len: 12 * page },
        Op::Unmap { addr: 2 * page, len: page },
        Op::Protect { addr: page, len: 12 * page, prot: Prot::EXEC },
        Op::Protect { addr: 2 * page, len: page, prot: Prot::empty() },
        Op::SetFlags {
            addr: page,
            len: 12 * page,
            set: MapFlags::LOCKED,
            clear: MapFlags::empty(),
        },
        Op::UnmapNonOriginal,
        Op::Restore,
        remap(1, 12, 2, Target::InPlace, false),
        remap(11, 2, 3, Target::InPlace, false),
        remap(1, 3, 5, Target::Anywhere(anywhere), false),
        remap(1, 3, 3, Target::Anywhere(anywhere), true),
        remap(1, 10, 10, Target::At(14 * page), false),
        remap(1, 10, 10, Target::At(14 * page), true),
        remap(1, 11, 2, Target::At(14 * page), false),
        remap(1, 2, 4, Target::At(6 * page), false),
        remap(8, 2, 4, Target::At(0), false),
        remap(8, 0, 4, Target::At(page), false),
    ];
    for gaps in [Gaps::Foreign, Gaps::Owned] {
        // Pages 0 to 24:  rrrr.ww.ffff.rr.wwwwww..
        let mut model = Model::new(0, page, 24);
        model.gaps = gaps;
        let mut pair = Pair::<u32>::new(model);
        let maps = [(0, 4, read), (5, 2, write), (8, 4, file), (13, 2, read), (16, 6, write)];
        for (i, (first, pages, mapping)) in maps.into_iter().enumerate() {
            let (addr, len) = (first * page, pages * page);
            step(&mut pair, &Op::MapAt { addr, len, mapping, replace: true }, None);
            if i == 1 {
                step(&mut pair, &Op::MarkOriginal, None);
                step(&mut pair, &Op::Snapshot, None);
            }
        }
        step(&mut pair, &Op::Protect { addr: 0, len: 6 * page, prot: Prot::EXEC }, None);
        step(&mut pair, &Op::Unmap { addr: page, len: page }, None);
        for op in &ops {
            refuse_everywhere(&pair, op);
        }
    }
}
