//! Files whose identity panics when it is compared, or dropped.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test"
)]

use addrspace::{AddrSpace, Error, MapFlags, Mapping, Prot, Remap, ignore};
use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::LocalKey;

thread_local! {
    /// After how many further comparisons one panics, and after how many drops.
    static EQ: Cell<Option<u32>> = const { Cell::new(None) };
    static DROP: Cell<Option<u32>> = const { Cell::new(None) };
}

fn burn(fuse: &'static LocalKey<Cell<Option<u32>>>) {
    match fuse.get() {
        Some(0) if !std::thread::panicking() => {
            fuse.set(None);
            resume_unwind(Box::new("blown"));
        }
        left => fuse.set(left.map(|left| left.saturating_sub(1))),
    }
}

#[derive(Clone, Debug)]
struct Handle(u32);

impl PartialEq for Handle {
    fn eq(&self, other: &Self) -> bool {
        burn(&EQ);
        self.0 == other.0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        burn(&DROP);
    }
}

const PAGE: u64 = 0x1000;
const R: Prot = Prot::READ;

/// Makes a space, and what it was before.
type Spaces = fn() -> (AddrSpace<Handle>, AddrSpace<Handle>);
type Verb = fn(&mut AddrSpace<Handle>, &AddrSpace<Handle>) -> Result<(), Error>;

fn file(number: u32, page: u64) -> Mapping<Handle> {
    Mapping::file(R, Handle(number), page * PAGE)
}

fn remap(
    space: &mut AddrSpace<Handle>,
    first: u64,
    old: u64,
    new: u64,
    how: Remap,
) -> Result<(), Error> {
    space.remap(first * PAGE, old * PAGE, new * PAGE, how, ignore).map(|_| ())
}

/// Each with all that it does accepted.
const VERBS: [(&str, Verb); 14] = [
    ("map over many", |s, _| s.map_at(2 * PAGE, 8 * PAGE, file(1, 2), ignore)),
    ("map into one", |s, _| s.map_at(2 * PAGE, PAGE, file(7, 2), ignore)),
    ("unmap many", |s, _| s.unmap(PAGE, 9 * PAGE, ignore)),
    ("unmap in one", |s, _| s.unmap(PAGE, PAGE, ignore)),
    ("protect", |s, _| s.protect(PAGE, 9 * PAGE, Prot::WRITE, ignore)),
    ("set flags", |s, _| s.set_flags(PAGE, 9 * PAGE, MapFlags::LOCKED, MapFlags::empty(), ignore)),
    ("unmap non-original", |s, _| s.unmap_non_original(ignore)),
    ("move many", |s, _| remap(s, 0, 9, 9, Remap::to(12 * PAGE))),
    ("copy one", |s, _| remap(s, 7, 2, 2, Remap::to(12 * PAGE).keep_source())),
    ("grow and move", |s, _| remap(s, 0, 1, 4, Remap::to(12 * PAGE))),
    ("grow", |s, _| remap(s, 12, 2, 4, Remap::in_place())),
    ("shrink and move", |s, _| remap(s, 0, 4, 1, Remap::to(12 * PAGE))),
    ("reset", |s, _| {
        s.reset();
        Ok(())
    }),
    ("restore", |s, saved| s.restore(saved, ignore)),
];

/// A space with several files, and what it was before.
fn spaces() -> (AddrSpace<Handle>, AddrSpace<Handle>) {
    let mut space = AddrSpace::new(0, 24 * PAGE, PAGE).unwrap();
    space.map_at(0, 4 * PAGE, file(1, 0), ignore).unwrap();
    space.mark_original();
    let saved = space.clone();
    for (first, pages, mapping) in [
        (4, 1, file(2, 0)),
        (6, 1, file(3, 0)),
        (7, 2, file(1, 7)),
        (12, 2, file(4, 0)),
        (18, 1, file(3, 12)),
    ] {
        space.map_at(first * PAGE, pages * PAGE, mapping, ignore).unwrap();
    }
    (space, saved)
}

/// What reaches over many regions.
const WIDE_VERBS: [(&str, Verb); 4] = [
    ("map over many", |s, _| s.map_at(2 * PAGE, 90 * PAGE, file(1, 2), ignore)),
    ("unmap many", |s, _| s.unmap(PAGE, 95 * PAGE, ignore)),
    ("unmap non-original", |s, _| s.unmap_non_original(ignore)),
    ("reset", |s, _| {
        s.reset();
        Ok(())
    }),
];

/// The same with a file on each of a hundred pages, the first and the last ten original.
fn wide_spaces() -> (AddrSpace<Handle>, AddrSpace<Handle>) {
    let mut space = AddrSpace::new(0, 100 * PAGE, PAGE).unwrap();
    let mut map = |pages: Range<u32>| {
        for nth in pages {
            space.map_at(u64::from(nth) * PAGE, PAGE, file(nth, 0), ignore).unwrap();
        }
        space.clone()
    };
    map(0..10);
    map(90..100).mark_original();
    let saved = map(0..0);
    (map(10..90), saved)
}

/// What is on each page, joined or not.
fn pages(space: &AddrSpace<Handle>) -> Vec<String> {
    let page = |nth| {
        space
            .regions_in(nth * PAGE, 1)
            .next()
            .map_or_else(String::new, |piece| format!("{piece:?}"))
    };
    (0..space.span().unwrap().end().unwrap() / PAGE).map(page).collect()
}

/// Blows each comparison, or each drop, in turn, and shows what is left.
fn blow(
    fuse: &'static LocalKey<Cell<Option<u32>>>,
    (verbs, spaces): (&[(&str, Verb)], Spaces),
    mut show: impl FnMut(&str, [&[String]; 3]),
) {
    for (name, verb) in verbs {
        for nth in 0.. {
            let (before, saved) = spaces();
            let (mut whole, mut space) = (before.clone(), before.clone());
            verb(&mut whole, &saved).unwrap();
            fuse.set(Some(nth));
            let blown = catch_unwind(AssertUnwindSafe(|| verb(&mut space, &saved))).is_err();
            fuse.set(None);
            if !blown {
                assert_eq!(pages(&space), pages(&whole), "{name}");
                break;
            }
            // The usage is that of the regions, among others.
            space.check();
            show(&format!("{name}, {nth}"), [&pages(&before), &pages(&space), &pages(&whole)]);
        }
    }
}

/// What was accepted is booked.
#[test]
fn a_drop_that_panics_leaves_the_books_right() {
    let mut shown = 0;
    blow(&DROP, (&VERBS, spaces), |what, [before, now, whole]| {
        shown += 1;
        let between = before.iter().zip(now).zip(whole).all(|((a, now), b)| now == a || now == b);
        // These two have several updates, and the panic ends them after one.
        let several = what.starts_with("restore") || what.starts_with("move many");
        assert!(now == whole || several && between, "{what}: {now:#?}");
    });
    assert!(shown > 20, "{shown}");
}

/// The drop of one value does not keep the others, in leaves of their own.
#[test]
fn a_drop_that_panics_among_many_regions_leaves_the_books_right() {
    let mut shown = 0;
    blow(&DROP, (&WIDE_VERBS, wide_spaces), |what, [_, now, whole]| {
        shown += 1;
        assert!(now == whole, "{what}: {now:#?}");
    });
    assert!(shown > 300, "{shown}");
}

/// An `==` that panics is before all, or in recording, which may unmap what it
/// could not compare; the books are sound and nothing is mapped that should not be.
#[test]
fn an_eq_that_panics_leaves_sound_books() {
    let mut shown = 0;
    blow(&EQ, (&VERBS, spaces), |what, [before, now, whole]| {
        shown += 1;
        for ((before, now), whole) in before.iter().zip(now).zip(whole) {
            assert!(now == before || now == whole || now.is_empty(), "{what}: {now}");
        }
    });
    assert!(shown > 3, "{shown}");
}
