//! The workloads against the clock.

use std::hint::black_box;

use crate::books::{Books, build, digest};
use crate::clock::{Turn, timed};
use crate::contenders::{COUNT, Contenders, Work};
use crate::heap::weighed;
use crate::layout::{Dice, Layout};
use crate::scripts::{self, Run, Spot};
use crate::table::{Table, Unit};

/// The contenders over one layout.
pub struct Bench {
    layout: Layout,
    books: Contenders,
    /// With every second mapping original.
    marked: Contenders,
}

/// Maps the layout in some order, and answers the bytes of heap that a mapping takes.
struct Fill<'a>(&'a Layout, &'a [usize]);

impl Work for Fill<'_> {
    type Answer = f64;
    fn run<B: Books>(&self, books: &mut B) -> f64 {
        let (filled, bytes) = weighed(|| build::<B>(self.0, self.1));
        *books = filled;
        bytes as f64 / self.0.len() as f64
    }
}

struct FillHalfOriginal<'a>(&'a Layout, &'a [usize]);

impl Work for FillHalfOriginal<'_> {
    type Answer = ();
    fn run<B: Books>(&self, books: &mut B) {
        *books = scripts::half_original(self.0, self.1);
    }
}

impl Bench {
    pub fn new(layout: Layout, table: &mut Table) -> Self {
        let [mut books, mut marked] = [Contenders::empty(), Contenders::empty()];
        // What stays is scattered, as an address space that has lived for a while.
        let (ascending, order): (Vec<usize>, _) = ((0..layout.len()).collect(), layout.scattered());
        for (name, order) in [("built ascending", &ascending), ("built at random", &order)] {
            books = Contenders::empty();
            table.add(Unit::Bytes, name, layout.len(), books.each(0, &Fill(&layout, order)));
        }
        marked.each(0, &FillHalfOriginal(&layout, &order));
        Self { layout, books, marked }
    }

    /// Every workload once.
    pub fn round(&mut self, round: usize, table: &mut Table) {
        let Self { layout, books, marked } = self;
        let mut dice = Dice(round as u64 + 77);
        let mappings = layout.len();
        let mut add =
            |name: &str, nanos: [f64; COUNT]| table.add(Unit::Nanos, name, mappings, nanos);

        let script = scripts::finds(layout, &mut dice, 8192);
        add("find", books.race(round, &Find(&script)));
        let script = scripts::spots(layout, &mut dice, 4096);
        add("unmap and map", books.race(round, &UnmapAndMap(&script)));
        let script = books.run(0, &WriteMoves { layout, seed: dice.next(), count: 4096 });
        add("unmap and map anywhere", books.race(round, &UnmapAndMapAny::new(mappings, &script)));
        let script = scripts::insides(layout, &mut dice, 4096);
        add("protect and back", books.race(round, &ProtectAndBack(&script)));
        let (copies, script) = scripts::runs_in_copies(layout, &mut dice);
        add("overwrite 8", books.race(round, &OverwriteInCopies(copies, script)));
        let script = scripts::runs(layout, &mut dice, 1024);
        add("overwrite 8 and restore", books.race(round, &OverwriteAndRestore(&script)));
        // What takes time for each mapping is timed less often where there are many.
        if mappings <= 4096 || round.is_multiple_of(5) {
            add("iterate (each)", books.race(round, &Iterate { mappings, in_steps: false }));
            add(
                "iterate in steps (each)",
                books.race(round, &Iterate { mappings, in_steps: true }),
            );
            add("clone and drop (each)", books.race(round, &Copy { mappings }));
            add("unmap the rest (each)", marked.race(round, &UnmapNonOriginal { mappings }));
            // All hold what the layout says, and so the same.
            let contents = books.each(round, &Check);
            assert_eq!(contents, [contents[0]; COUNT], "the contents differ");
        }
    }
}

struct Check;

impl Work for Check {
    type Answer = u64;
    fn run<B: Books>(&self, books: &mut B) -> u64 {
        books.check();
        digest(books)
    }
}

struct Find<'a>(&'a [u64]);

impl Work for Find<'_> {
    type Answer = Turn;
    fn run<B: Books>(&self, books: &mut B) -> Turn {
        timed(self.0, |addr| scripts::find(books, *addr))
    }
}

struct UnmapAndMap<'a>(&'a [Spot]);

impl Work for UnmapAndMap<'_> {
    type Answer = Turn;
    fn run<B: Books>(&self, books: &mut B) -> Turn {
        timed(self.0, |spot| scripts::unmap_and_map(books, spot))
    }
}

/// Plays moves through to write them down.
struct WriteMoves<'a> {
    layout: &'a Layout,
    seed: u64,
    count: usize,
}

impl Work for WriteMoves<'_> {
    type Answer = Vec<Spot>;
    fn run<B: Books>(&self, books: &mut B) -> Vec<Spot> {
        scripts::moves(books, self.layout, &mut Dice(self.seed), self.count)
    }
}

/// Who looks at each gap does only the part that is common to all, which is compared.
struct UnmapAndMapAny<'a> {
    common: &'a [Spot],
    more: &'a [Spot],
}

impl<'a> UnmapAndMapAny<'a> {
    fn new(mappings: usize, script: &'a [Spot]) -> Self {
        let common = match mappings {
            0..=256 => script.len(),
            257..=4096 => 384,
            4097..=65_536 => 48,
            _ => 8,
        };
        let (common, more) = script.split_at(common);
        Self { common, more }
    }
}

impl Work for UnmapAndMapAny<'_> {
    type Answer = Turn;
    fn run<B: Books>(&self, books: &mut B) -> Turn {
        let mut books = books.clone();
        let mut step = |spot: &Spot| scripts::unmap_and_map_any(&mut books, spot);
        let mut turn = timed(self.common, &mut step);
        if !B::LOOKS_AT_ALL_GAPS && !self.more.is_empty() {
            turn.nanos = timed(self.more, &mut step).nanos;
        }
        books.check();
        turn
    }
}

struct ProtectAndBack<'a>(&'a [Spot]);

impl Work for ProtectAndBack<'_> {
    type Answer = Turn;
    fn run<B: Books>(&self, books: &mut B) -> Turn {
        timed(self.0, |spot| scripts::protect_and_back(books, spot))
    }
}

/// How many copies, which are made before the clock starts, and the script.
struct OverwriteInCopies(usize, Vec<(usize, Run)>);

impl Work for OverwriteInCopies {
    type Answer = Turn;
    fn run<B: Books>(&self, books: &mut B) -> Turn {
        let mut copies = vec![books.clone(); self.0];
        let turn = timed(&self.1, |(copy, run)| scripts::overwrite(&mut copies[*copy], run));
        copies[0].check();
        Turn { answer: digest(&copies[0]), ..turn }
    }
}

struct OverwriteAndRestore<'a>(&'a [Run]);

impl Work for OverwriteAndRestore<'_> {
    type Answer = Turn;
    fn run<B: Books>(&self, books: &mut B) -> Turn {
        // In a copy: what is mapped again one by one lies less densely than before, and
        // the other workloads are to find what was built.
        let mut books = books.clone();
        let turn = timed(self.0, |run| scripts::overwrite_and_restore(&mut books, run));
        Turn { answer: digest(&books), ..turn }
    }
}

struct Iterate {
    mappings: usize,
    in_steps: bool,
}

impl Work for Iterate {
    type Answer = Turn;
    fn run<B: Books>(&self, books: &mut B) -> Turn {
        let passes = vec![(); (65_536 / self.mappings).max(2)];
        let turn = if self.in_steps {
            timed(&passes, |()| scripts::iterate_in_steps(books))
        } else {
            timed(&passes, |()| scripts::iterate(books))
        };
        each(self.mappings, turn)
    }
}

struct Copy {
    mappings: usize,
}

impl Work for Copy {
    type Answer = Turn;
    fn run<B: Books>(&self, books: &mut B) -> Turn {
        let copies = vec![(); (65_536 / self.mappings).clamp(2, 512)];
        let copy = |(): &()| {
            drop(black_box(books.clone()));
            0
        };
        each(self.mappings, timed(&copies, copy))
    }
}

struct UnmapNonOriginal {
    mappings: usize,
}

impl Work for UnmapNonOriginal {
    type Answer = Turn;
    fn run<B: Books>(&self, books: &mut B) -> Turn {
        let mut copies = vec![books.clone(); (4096 / self.mappings).clamp(1, 64)];
        let numbers: Vec<usize> = (0..copies.len()).collect();
        let unmap = |number: &usize| {
            copies[*number].unmap_non_original();
            0
        };
        let turn = each(self.mappings, timed(&numbers, unmap));
        copies[0].check();
        Turn { answer: digest(&copies[0]), ..turn }
    }
}

/// Per mapping.
fn each(mappings: usize, turn: Turn) -> Turn {
    Turn { nanos: turn.nanos / mappings as f64, ..turn }
}
