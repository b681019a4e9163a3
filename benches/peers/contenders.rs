//! All contenders side by side, and whose turn it is.

use addrspace::{AddrSpace, RangeMap};
use nodit::{Interval, NoditMap};

use crate::books::{Books, Checked, Mapping};
use crate::clock::Turn;
use crate::gap_index::GapIndexed;

pub const COUNT: usize = 5;

/// In the order of all tables.
pub const NAMES: [&str; COUNT] = ["RangeMap", "AddrSpace", "rangemap", "nodit", "with index"];

type Ours = Checked<RangeMap<u64, Mapping>>;
type Range = Checked<rangemap::RangeMap<u64, Mapping>>;
type Nodit = Checked<NoditMap<u64, Interval<u64>, Mapping>>;
type Indexed = Checked<GapIndexed<Mapping>>;

/// What each contender is to do.
pub trait Work {
    type Answer;
    fn run<B: Books>(&self, books: &mut B) -> Self::Answer;
}

/// A contender of each kind.
pub struct Contenders {
    ours: Ours,
    space: AddrSpace,
    range: Range,
    nodit: Nodit,
    indexed: Indexed,
}

impl Contenders {
    pub fn empty() -> Self {
        Self {
            ours: Books::empty(),
            space: Books::empty(),
            range: Books::empty(),
            nodit: Books::empty(),
            indexed: Books::empty(),
        }
    }

    /// Lets number `who` do the work.
    pub fn run<W: Work>(&mut self, who: usize, work: &W) -> W::Answer {
        match who {
            0 => work.run(&mut self.ours),
            1 => work.run(&mut self.space),
            2 => work.run(&mut self.range),
            3 => work.run(&mut self.nodit),
            4 => work.run(&mut self.indexed),
            _ => unreachable!("there are five"),
        }
    }

    /// Lets all do the work, another one first in each round.
    pub fn each<W: Work>(&mut self, round: usize, work: &W) -> [W::Answer; COUNT] {
        let mut answers = [const { None }; COUNT];
        for turn in 0..COUNT {
            let who = (turn + round) % COUNT;
            answers[who] = Some(self.run(who, work));
        }
        answers.map(|answer| answer.expect("all had a turn"))
    }

    /// The same against the clock: nanoseconds of each. All must answer the same.
    pub fn race(&mut self, round: usize, work: &impl Work<Answer = Turn>) -> [f64; COUNT] {
        let turns = self.each(round, work);
        for (name, turn) in NAMES.iter().zip(&turns) {
            assert_eq!(turn.answer, turns[0].answer, "{name} answers something else");
        }
        turns.map(|turn| turn.nanos)
    }
}
