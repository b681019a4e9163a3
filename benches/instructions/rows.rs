//! What is counted.

use std::hint::black_box;

use addrspace::{AddrSpace, RangeMap};
use nodit::{Interval, NoditMap};

use crate::books::{Books, Mapping, build};
use crate::c;
use crate::layout::{Dice, Layout, PAGE};
use crate::scripts;

/// Lines of a script.
pub const COUNT: usize = 4096;

/// The loop in which valgrind counts, and nothing else: [`crate::valgrind`] knows it
/// by this name.
#[inline(never)]
fn loop_that_is_counted<S>(script: &[S], mut step: impl FnMut(&S) -> u64) -> u64 {
    script.iter().fold(0, |sum: u64, line| sum.wrapping_mul(31).wrapping_add(step(black_box(line))))
}

/// The rows of one contender at one size.
pub struct Rows {
    pub contender: &'static str,
    pub mappings: usize,
    /// Whether each row is announced, as [`crate::valgrind`] expects.
    pub announced: bool,
}

impl Rows {
    /// A row whose lines are an operation each.
    pub fn row<S>(&self, operation: &str, script: &[S], step: impl FnMut(&S) -> u64) {
        self.row_of(operation, script, 1, step);
    }

    /// Carries out a script: not at all, an eighth of it so that the rest finds things
    /// as they usually are, and the rest.
    fn row_of<S>(
        &self,
        operation: &str,
        script: &[S],
        per_line: usize,
        mut step: impl FnMut(&S) -> u64,
    ) {
        let (warm_up, rest) = script.split_at(script.len() / 8);
        if self.announced {
            println!(
                "{} {operation}\t{}\t{}",
                self.contender,
                self.mappings,
                rest.len() * per_line
            );
        }
        black_box(loop_that_is_counted(rest, |_| 0));
        // One call in a loop, so that the loop is compiled once.
        for part in [warm_up, rest] {
            black_box(loop_that_is_counted(part, &mut step));
        }
    }

    /// All rows of books in this unit, in which `find` is the name of the first.
    fn of<B: Books>(&self, find: &str, unit: u64) {
        let layout = Layout::new(self.mappings, unit);
        let mut books: B = build(&layout, &layout.scattered());
        let mut dice = Dice(77);

        let script = scripts::finds(&layout, &mut dice, COUNT);
        self.row(find, &script, |addr| scripts::find(&books, *addr));
        let script = scripts::spots(&layout, &mut dice, COUNT);
        self.row("unmap+map", &script, |spot| scripts::unmap_and_map(&mut books, spot));
        let script = scripts::moves(&books, &layout, &mut dice, COUNT);
        let mut copy = books.clone();
        self.row("unmap+map_any", &script, |spot| scripts::unmap_and_map_any(&mut copy, spot));
        let script = scripts::insides(&layout, &mut dice, COUNT);
        self.row("protect twice", &script, |spot| scripts::protect_and_back(&mut books, spot));
        let script = scripts::runs(&layout, &mut dice, COUNT);
        let mut copy = books.clone();
        self.row("overwrite 8+restore", &script, |run| {
            scripts::overwrite_and_restore(&mut copy, run)
        });
        let (copies, script) = scripts::runs_in_copies(&layout, &mut dice);
        let mut copies = vec![books.clone(); copies];
        self.row("overwrite 8", &script, |(copy, run)| scripts::overwrite(&mut copies[*copy], run));
        self.row_of("iterate", &[(); 16], self.mappings, |()| scripts::iterate(&books));
        self.row_of("iterate in steps", &[(); 16], self.mappings, |()| {
            scripts::iterate_in_steps(&books)
        });
        books.check();
    }
}

/// Carries out all rows.
pub fn all(announced: bool, peers: bool) {
    for mappings in [16, 4096, 65_536] {
        let rows = |contender| Rows { contender, mappings, announced };
        rows("RangeMap").of::<RangeMap<u64, Mapping>>("find", 1);
        rows("AddrSpace").of::<AddrSpace>("query", PAGE);
        c::all(&rows("mmap_c.h"));
        if peers {
            rows("rangemap").of::<rangemap::RangeMap<u64, Mapping>>("find", 1);
            rows("nodit").of::<NoditMap<u64, Interval<u64>, Mapping>>("find", 1);
        }
    }
}
