//! Files whose identity is not a plain number: it counts its clones, or panics.
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

use addrspace::{AddrSpace, Backing, Gaps, MapFlags, Mapping, Prot, Update, ignore};
use model::generate::Numbers;
use model::{File, Model, Op, Pair, Place, Policy, Target, run, step};
use proptest::prelude::*;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

thread_local! {
    static CLONES: Cell<u64> = const { Cell::new(0) };
    /// After how many further clones one panics.
    static FUSE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// What a clone panics with.
struct Blown;

#[derive(Debug, PartialEq)]
struct Handle(u32);

impl Clone for Handle {
    fn clone(&self) -> Self {
        CLONES.set(CLONES.get() + 1);
        match FUSE.get() {
            Some(0) => resume_unwind(Box::new(Blown)),
            fuse => FUSE.set(fuse.map(|left| left - 1)),
        }
        Self(self.0)
    }
}

impl File for Handle {
    fn make(number: u32) -> Self {
        Self(number)
    }
    fn number(&self) -> u32 {
        self.0
    }
    fn clones() -> u64 {
        CLONES.get()
    }
}

fn numbers() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(any::<u16>(), 24)
}

proptest! {
    #[test]
    fn recording_never_clones(
        space in numbers(),
        ops in prop::collection::vec(numbers(), 0..40),
    ) {
        // `step` compares the number of clones after the last update.
        let mut pair: Pair<Handle> = Numbers(space.into_iter()).pair();
        for op in ops {
            let mut numbers = Numbers(op.into_iter());
            let refusal = numbers.refusal();
            let op = numbers.op(&pair.model);
            step(&mut pair, &op, refusal);
        }
    }
}

/// Runs `verb` and tells how many clones it made.
fn clones<A>(verb: impl FnOnce() -> A) -> u64 {
    let before = CLONES.get();
    verb();
    CLONES.get() - before
}

fn three_pages() -> AddrSpace<Handle> {
    let mut space = AddrSpace::new(0, 0x10000, 0x1000).unwrap();
    let file = Mapping::file(Prot::READ, Handle(1), 0);
    assert_eq!(clones(|| space.map_at(0x1000, 0x3000, file, ignore)), 0);
    space
}

#[test]
fn looking_never_clones() {
    let space = three_pages();
    let looked = clones(|| {
        assert_eq!(
            space.query(0x1000).unwrap().backing,
            Backing::File { file: &Handle(1), offset: 0 }
        );
        assert_eq!(space.regions().count() + space.regions_in(0x2000, 1).count(), 2);
        assert_eq!(space.gaps().count(), 2);
        assert_eq!(space.usage().regions, 1);
        assert!(!space.picture().to_string().is_empty());
    });
    assert_eq!(looked, 0);
}

#[test]
fn a_change_clones_once_for_each_region_that_it_cuts_in_two() {
    let write = Prot::READ | Prot::WRITE;
    let unmap = |addr, len| clones(|| three_pages().unmap(addr, len, ignore));
    let protect = |addr, len| clones(|| three_pages().protect(addr, len, write, ignore));
    let map =
        |addr, len| clones(|| three_pages().map_at(addr, len, Mapping::anonymous(write), ignore));
    // All of it; its head; its tail; its middle.
    assert_eq!(
        [unmap(0, 0x10000), unmap(0, 0x2000), unmap(0x2000, 0x2000), unmap(0x2000, 1)],
        [0, 0, 0, 1]
    );
    assert_eq!(
        [map(0, 0x10000), map(0, 0x2000), map(0x2000, 0x2000), map(0x2000, 1)],
        [0, 0, 0, 1]
    );
    assert_eq!(
        [protect(0, 0x10000), protect(0, 0x2000), protect(0x2000, 0x2000), protect(0x2000, 1)],
        [0, 1, 1, 2]
    );
}

/// A range that begins where a region does cuts it once at most.
#[test]
fn a_change_at_an_edge_clones_for_the_other_one() {
    let write = Prot::READ | Prot::WRITE;
    let head = 0x1000..0x2000;
    let (addr, len) = (head.start, head.end - head.start);
    assert_eq!(clones(|| three_pages().unmap(addr, len, ignore)), 0);
    assert_eq!(clones(|| three_pages().protect(addr, len, write, ignore)), 1);
    let map =
        |space: &mut AddrSpace<Handle>| space.map_at(addr, len, Mapping::anonymous(write), ignore);
    assert_eq!(clones(|| map(&mut three_pages())), 0);
}

/// What is done in part is cut where it ends: the copy is made when that is said, and not
/// when it is recorded.
#[test]
fn a_part_that_is_acknowledged_clones_where_it_cuts() {
    // The second region is another file.
    let two = || {
        let mut space = three_pages();
        let file = Mapping::file(Prot::READ, Handle(2), 0);
        space.map_at(0x4000, 0x3000, file, ignore).unwrap();
        space
    };
    let refused = |upto: u64, said: &Cell<u64>, update: &Update<'_, Handle>| {
        let before = CLONES.get();
        update.made_to(upto);
        said.set(CLONES.get() - before);
        Err::<(), ()>(())
    };
    // Of an unmap, and of a protect: the range, how far it comes, and the clones.
    for (addr, upto, unmap, protect) in [
        (0x1000, 0x3000, 0, 1), // the head of the first
        (0x2000, 0x3000, 1, 1), // its middle
        (0x2000, 0x4000, 0, 0), // its tail
        (0x1000, 0x4000, 0, 0), // all of it
        (0x3000, 0x5000, 0, 1), // its tail and the head of the other
    ] {
        let len = 0x7000 - addr;
        let said = Cell::new(0);
        let mut space = two();
        let all = clones(|| space.unmap(addr, len, |update| refused(upto, &said, &update)));
        assert_eq!((said.get(), all), (unmap, unmap), "unmap from {addr:#x} to {upto:#x}");
        let gone = upto - addr;
        assert_eq!(space.usage().mapped, 0x6000 - gone);

        let mut space = two();
        let cut = u64::from(addr > 0x1000);
        let all =
            clones(|| space.protect(addr, len, Prot::EXEC, |update| refused(upto, &said, &update)));
        assert_eq!(
            (said.get(), all),
            (protect, protect + cut),
            "protect from {addr:#x} to {upto:#x}"
        );
        let changed = space.regions_in(addr, len).filter(|region| region.prot == Prot::EXEC);
        assert_eq!(changed.map(|region| region.len().unwrap()).sum::<u64>(), gone);
    }
}

/// Whatever clone panics, the books say what the handler has acknowledged.
#[test]
fn a_clone_that_panics_leaves_the_books_right() {
    let page = 0x1000;
    let file = |n| Mapping::file(Prot::READ, n, 0).shared();
    let anywhere = Place::anywhere(Policy::Lowest);
    let remap = |first: u64, old: u64, new: u64, target, keep| {
        Op::remap(first * page, [old * page, new * page], target, keep)
    };
    let ops = [
        Op::MapAt { addr: 2 * page, len: page, mapping: file(7), replace: true },
        Op::Unmap { addr: 2 * page, len: page },
        Op::Unmap { addr: 2 * page, len: 12 * page },
        Op::Protect { addr: 2 * page, len: page, prot: Prot::EXEC },
        Op::Protect { addr: 2 * page, len: 12 * page, prot: Prot::EXEC },
        Op::SetFlags {
            addr: 2 * page,
            len: 12 * page,
            set: MapFlags::LOCKED,
            clear: MapFlags::empty(),
        },
        Op::UnmapNonOriginal,
        Op::MarkOriginal,
        Op::Restore,
        remap(2, 12, 1, Target::InPlace, false),
        remap(14, 2, 3, Target::InPlace, false),
        remap(2, 1, 5, Target::Anywhere(anywhere), false),
        remap(2, 12, 12, Target::At(17 * page), false),
        remap(10, 2, 2, Target::At(2 * page), true),
        remap(2, 3, 1, Target::At(13 * page), false),
        remap(10, 0, 2, Target::At(2 * page), false),
    ];
    for gaps in [Gaps::Foreign, Gaps::Owned] {
        let mut model = Model::new(0, page, 40);
        model.gaps = gaps;
        let mut pair = Pair::<Handle>::new(model);
        for (first, pages, number) in [(1, 5, 1), (8, 4, 2), (13, 3, 3), (20, 8, 1)] {
            let (addr, len) = (first * page, pages * page);
            step(&mut pair, &Op::MapAt { addr, len, mapping: file(number), replace: true }, None);
            if first == 8 {
                step(&mut pair, &Op::MarkOriginal, None);
                step(&mut pair, &Op::Snapshot, None);
                step(
                    &mut pair,
                    &Op::Protect { addr: 3 * page, len: page, prot: Prot::empty() },
                    None,
                );
                step(&mut pair, &Op::Unmap { addr: 9 * page, len: page }, None);
            }
        }
        for op in &ops {
            for made in [None, Some(1)] {
                for fuse in 0.. {
                    if !blow(&mut pair.clone(), op, fuse, made) {
                        break;
                    }
                }
            }
        }
    }
}

/// Runs `op` with the clone number `fuse` panicking; tells whether one did.
///
/// The handler acknowledges `made` pages of each update, then makes all of it.
fn blow(pair: &mut Pair<Handle>, op: &Op, fuse: u64, made: Option<u64>) -> bool {
    let (_, effects) = pair.model.plan(op, &pair.saved.1).unwrap();
    let heard = Cell::new(0);
    FUSE.set(Some(fuse));
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        run(&mut pair.space, op, &pair.saved.0, |update: Update<'_, Handle>| {
            if let Some(made) = made {
                update.made_to(update.span().start() + made * 0x1000);
            }
            heard.set(heard.get() + 1);
            Ok(())
        })
    }));
    FUSE.set(None);
    let blown = match outcome {
        Ok(outcome) => {
            outcome.unwrap();
            false
        }
        Err(payload) if payload.is::<Blown>() => true,
        Err(payload) => resume_unwind(payload),
    };
    if blown && matches!(op, Op::Restore) {
        // Marks go between the updates; that the books are sound is all we ask.
        pair.space.check();
        pair.space.restore(&pair.saved.0, ignore).unwrap();
        assert_eq!(pair.space, pair.saved.0);
        return blown;
    }
    for effect in effects.iter().take(heard.get()) {
        pair.model.apply(effect, None);
    }
    if !blown {
        effects.iter().skip(heard.get()).for_each(|effect| pair.model.apply(effect, None));
    }
    if matches!(op, Op::MarkOriginal) && !blown {
        pair.model.mark_original();
    }
    pair.model.compare(&pair.space);
    blown
}
