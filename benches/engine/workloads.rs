//! The workloads. Each is a script, written once per round, that all contenders
//! carry out; what they answer must be the same.

use std::hint::black_box;
use std::ops::Range;
use std::time::Instant;

use addrspace::range_map::RangeMap;

use crate::books::{Books, Mapping};
use crate::gap_index::GapIndexed;
use crate::layout::{Dice, Layout, SPACE, mapping};
use crate::table::Table;

type Ours = RangeMap<u64, Mapping>;
type Peer = rangemap::RangeMap<u64, Mapping>;
type Indexed = GapIndexed<Mapping>;

/// Nanoseconds per operation, and what the contender answered.
struct Turn {
    nanos: f64,
    answer: u64,
}

/// Carries out the script: an eighth of it to warm up, the rest against the clock.
fn timed<S>(script: &[S], mut step: impl FnMut(&S) -> u64) -> Turn {
    let (warm_up, rest) = script.split_at(script.len() / 8);
    let mut answer =
        warm_up.iter().fold(0, |sum: u64, op| sum.wrapping_mul(31).wrapping_add(step(op)));
    let started = Instant::now();
    for op in rest {
        answer = answer.wrapping_mul(31).wrapping_add(step(op));
    }
    let nanos = started.elapsed().as_nanos() as f64 / rest.len() as f64;
    Turn { nanos, answer: black_box(answer) }
}

/// A workload for one size: a closure per contender.
type Work<'a, B> = &'a dyn Fn(&mut B) -> Turn;

/// The three contenders over one layout.
pub struct Bench {
    layout: Layout,
    ours: Ours,
    peer: Peer,
    indexed: Indexed,
}

impl Bench {
    pub fn new(layout: Layout, ours: Ours, peer: Peer, indexed: Indexed) -> Self {
        Self { layout, ours, peer, indexed }
    }

    pub fn run(&mut self, rounds: usize, table: &mut Table) {
        let ranges = self.layout.len();
        for round in 0..rounds {
            let mut dice = Dice(round as u64 + 77);
            let row = |what: &'static str| (what, ranges);

            let script = finds(&self.layout, &mut dice, 8192);
            table.add(
                row("find"),
                self.turns(round, &|b| find(b, &script), &|b| find(b, &script), &|b| {
                    find(b, &script)
                }),
            );

            let script = picks(&self.layout, &mut dice, 4096);
            table.add(
                row("unmap, map again"),
                self.turns(round, &|b| churn(b, &script), &|b| churn(b, &script), &|b| {
                    churn(b, &script)
                }),
            );

            // Linear searches are slow: fewer of them, and all contenders as many.
            let count = [(4096, 400), (65_536, 48)]
                .iter()
                .find(|(size, _)| *size == ranges)
                .map_or(2048, |(_, count)| *count);
            let script = moves(&self.layout, &self.ours, &mut dice, count);
            table.add(
                row("unmap, map anywhere"),
                self.turns(round, &|b| anywhere(b, &script), &|b| anywhere(b, &script), &|b| {
                    anywhere(b, &script)
                }),
            );

            let script = insides(&self.layout, &mut dice, 4096);
            table.add(
                row("protect and back"),
                self.turns(round, &|b| protect(b, &script), &|b| protect(b, &script), &|b| {
                    protect(b, &script)
                }),
            );

            let script = eights(&self.layout, &mut dice);
            table.add(
                row("overwrite 8"),
                self.turns(round, &|b| overwrite(b, &script), &|b| overwrite(b, &script), &|b| {
                    overwrite(b, &script)
                }),
            );

            let copies = (65_536 / ranges).clamp(2, 512);
            table.add(
                row("clone, drop"),
                self.turns(round, &|b| copy(b, copies), &|b| copy(b, copies), &|b| copy(b, copies)),
            );

            if ranges <= 4096 || round == 0 {
                self.agree();
            }
        }
    }

    /// Lets all three do the work, another one first in each round.
    fn turns(
        &mut self,
        round: usize,
        ours: Work<'_, Ours>,
        peer: Work<'_, Peer>,
        indexed: Work<'_, Indexed>,
    ) -> [f64; 3] {
        let mut nanos = [0.0; 3];
        let mut answers = [0; 3];
        for turn in 0..3 {
            let who = (turn + round) % 3;
            let result = match who {
                0 => ours(&mut self.ours),
                1 => peer(&mut self.peer),
                _ => indexed(&mut self.indexed),
            };
            (nanos[who], answers[who]) = (result.nanos, result.answer);
        }
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "the contenders answer differently"
        );
        nanos
    }

    /// Asserts that all three hold what the layout says.
    fn agree(&self) {
        let contents = self.ours.contents();
        let expected = (0..self.layout.len()).map(|at| self.layout.region(at));
        assert!(contents.iter().cloned().eq(expected), "ours is not as at the start");
        assert_eq!(contents, self.peer.contents(), "rangemap holds something else");
        assert_eq!(
            contents,
            self.indexed.contents(),
            "rangemap with an index holds something else"
        );
        Books::check(&self.ours);
        Books::check(&self.indexed);
    }
}

/// What the contents amount to, for a comparison.
fn digest(books: &impl Books) -> u64 {
    books.contents().into_iter().fold(0, |sum: u64, (range, mapping)| {
        let words = [range.start, range.end, mapping.origin, u64::from(mapping.prot)];
        words.iter().fold(sum, |sum, word| sum.wrapping_mul(0x0100_0000_01b3) ^ word)
    })
}

fn picks(layout: &Layout, dice: &mut Dice, count: usize) -> Vec<(Range<u64>, Mapping)> {
    (0..count).map(|_| layout.region(dice.below(layout.len()))).collect()
}

fn finds(layout: &Layout, dice: &mut Dice, count: usize) -> Vec<u64> {
    picks(layout, dice, count).into_iter().map(|(range, _)| dice.within(range)).collect()
}

fn find(books: &mut impl Books, script: &[u64]) -> Turn {
    timed(script, |addr| books.find(*addr).map_or(u64::MAX, |mapping| mapping.origin))
}

fn churn(books: &mut impl Books, script: &[(Range<u64>, Mapping)]) -> Turn {
    timed(script, |(range, mapping)| {
        books.unmap(range.clone());
        books.map(range.clone(), *mapping);
        0
    })
}

/// Which region to unmap and what to map instead. Played through once, so that
/// later steps know the regions that earlier ones placed.
fn moves(
    layout: &Layout,
    books: &Ours,
    dice: &mut Dice,
    count: usize,
) -> Vec<(Range<u64>, Mapping)> {
    let mut books = books.clone();
    let mut regions = layout.ranges().to_vec();
    let step = |number: usize| {
        let at = dice.below(regions.len());
        let old = regions[at].clone();
        let mapping = mapping((layout.len() + number) as u64);
        Books::unmap(&mut books, old.clone());
        let start = books.first_gap(old.end - old.start, 1, SPACE).unwrap();
        regions[at] = start..start + (old.end - old.start);
        books.map(regions[at].clone(), mapping);
        (old, mapping)
    };
    (0..count).map(step).collect()
}

fn anywhere<B: Books>(books: &mut B, script: &[(Range<u64>, Mapping)]) -> Turn {
    let mut books = books.clone();
    let mut turn = timed(script, |(old, mapping)| {
        books.unmap(old.clone());
        let len = old.end - old.start;
        let start = books.first_gap(len).unwrap();
        books.map(start..start + len, *mapping);
        start
    });
    books.check();
    turn.answer ^= digest(&books);
    turn
}

/// Parts of regions that touch neither end.
fn insides(layout: &Layout, dice: &mut Dice, count: usize) -> Vec<Range<u64>> {
    picks(layout, dice, count)
        .into_iter()
        .map(|(range, _)| range.start + 1..range.end - 1 - dice.next() % 2)
        .collect()
}

fn protect(books: &mut impl Books, script: &[Range<u64>]) -> Turn {
    timed(script, |range| {
        books.protect(range.clone(), 1);
        books.protect(range.clone(), 3);
        0
    })
}

/// For each of some copies, the runs of eight regions to overwrite in it.
fn eights(layout: &Layout, dice: &mut Dice) -> Vec<Vec<(Range<u64>, Mapping)>> {
    // A quarter of what there is at the most, so that copies keep their size.
    let per_copy = (layout.len() / 32).clamp(1, 128);
    let runs = layout.len() / 8;
    let run = |dice: &mut Dice| {
        let first = dice.below(runs) * 8;
        let ranges = &layout.ranges()[first..first + 8];
        (ranges[0].start..ranges[7].end, mapping(u64::MAX - first as u64))
    };
    (0..128 / per_copy).map(|_| (0..per_copy).map(|_| run(dice)).collect()).collect()
}

/// The copies are made before the clock starts, the first eighth of them to warm up.
fn overwrite<B: Books>(books: &mut B, script: &[Vec<(Range<u64>, Mapping)>]) -> Turn {
    let mut copies: Vec<B> = script.iter().map(|_| books.clone()).collect();
    // One copy serves as a script of its own, many as one script of copies.
    let mut turn = if let ([copy], [runs]) = (copies.as_mut_slice(), script) {
        timed(runs, |(range, mapping)| {
            copy.map(range.clone(), *mapping);
            0
        })
    } else {
        let mut copies = copies.iter_mut();
        let mut turn = timed(script, |runs| {
            let copy = copies.next().unwrap();
            for (range, mapping) in runs {
                copy.map(range.clone(), *mapping);
            }
            0
        });
        turn.nanos /= script[0].len() as f64;
        turn
    };
    for copy in copies.iter().take(4) {
        copy.check();
        turn.answer = turn.answer.wrapping_mul(31).wrapping_add(digest(copy));
    }
    turn
}

fn copy<B: Books>(books: &mut B, copies: usize) -> Turn {
    timed(&vec![(); copies.max(8)], |()| {
        drop(black_box(books.clone()));
        0
    })
}
