//! The workloads: scripts, written before any clock runs, and the step that carries
//! out a line of one. What a step answers must be the same for all contenders.

use std::ops::Range;

use crate::books::{Books, Mapping};
use crate::layout::{Dice, Layout};

/// A place and what is to be mapped there.
#[derive(Clone, Copy, Debug)]
pub struct Spot {
    pub addr: u64,
    pub len: u64,
    pub mapping: Mapping,
}

impl Spot {
    pub fn new((range, mapping): (Range<u64>, Mapping)) -> Self {
        Self { addr: range.start, len: range.end - range.start, mapping }
    }
}

/// A run of neighbours: what to map over them, and what is there.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub over: Spot,
    pub there: [Spot; Run::LEN],
}

impl Run {
    pub const LEN: usize = 8;

    fn new(layout: &Layout, number: usize) -> Self {
        let first = number * Self::LEN;
        let there = std::array::from_fn(|nth| Spot::new(layout.mapping(first + nth)));
        let (start, end) =
            (layout.ranges()[first].start, layout.ranges()[first + Self::LEN - 1].end);
        let over = Spot::new((start..end, Mapping::new(u64::MAX - first as u64)));
        Self { over, there }
    }
}

fn spot(layout: &Layout, dice: &mut Dice) -> Spot {
    Spot::new(layout.mapping(dice.below(layout.len())))
}

/// W1: addresses that are mapped.
pub fn finds(layout: &Layout, dice: &mut Dice, count: usize) -> Vec<u64> {
    let mut addr = || {
        let Spot { addr, len, .. } = spot(layout, dice);
        dice.within(addr..addr + len)
    };
    (0..count).map(|_| addr()).collect()
}

pub fn find<B: Books>(books: &B, addr: u64) -> u64 {
    books.find(addr).unwrap_or(u64::MAX)
}

/// W2: mappings to unmap and to map again.
pub fn spots(layout: &Layout, dice: &mut Dice, count: usize) -> Vec<Spot> {
    (0..count).map(|_| spot(layout, dice)).collect()
}

pub fn unmap_and_map<B: Books>(books: &mut B, &Spot { addr, len, mapping }: &Spot) -> u64 {
    books.unmap(addr, len);
    books.map(addr, len, mapping);
    0
}

/// W3: what to unmap, and what to map at the lowest place that has room. It is
/// played through once, so that later lines know what earlier ones placed.
pub fn moves<B: Books>(books: &B, layout: &Layout, dice: &mut Dice, count: usize) -> Vec<Spot> {
    let mut books = books.clone();
    let mut ranges = layout.ranges().to_vec();
    let mut line = |number: usize| {
        let at = dice.below(ranges.len());
        let mapping = Mapping::new((layout.len() + number) as u64);
        let line = Spot::new((ranges[at].clone(), mapping));
        let addr = unmap_and_map_any(&mut books, &line);
        ranges[at] = addr..addr + line.len;
        line
    };
    (0..count).map(&mut line).collect()
}

pub fn unmap_and_map_any<B: Books>(books: &mut B, &Spot { addr, len, mapping }: &Spot) -> u64 {
    books.unmap(addr, len);
    books.map_any(len, mapping)
}

/// W4: parts of mappings that touch neither end.
pub fn insides(layout: &Layout, dice: &mut Dice, count: usize) -> Vec<Spot> {
    let unit = layout.unit();
    let mut inside = || {
        let spot = spot(layout, dice);
        let len = spot.len - unit * (2 + dice.next() % 2);
        Spot { addr: spot.addr + unit, len, ..spot }
    };
    (0..count).map(|_| inside()).collect()
}

pub fn protect_and_back<B: Books>(books: &mut B, &Spot { addr, len, .. }: &Spot) -> u64 {
    books.protect(addr, len, 1);
    books.protect(addr, len, 3);
    0
}

/// W5: runs to map over.
pub fn runs(layout: &Layout, dice: &mut Dice, count: usize) -> Vec<Run> {
    (0..count).map(|_| Run::new(layout, dice.below(layout.len() / Run::LEN))).collect()
}

/// Runs to map over in copies in which they stay so, with the number of the copy; and
/// how many copies that takes. In each the runs do not overlap and are a quarter of
/// what there is at the most, so that it keeps its size.
pub fn runs_in_copies(layout: &Layout, dice: &mut Dice) -> (usize, Vec<(usize, Run)>) {
    let all = layout.len() / Run::LEN;
    let per_copy = (all / 4).clamp(1, 128);
    let copies = 128 / per_copy;
    let mut script = Vec::with_capacity(copies * per_copy);
    for copy in 0..copies {
        let first = dice.below(all);
        let spread = |nth| (first + nth * (all / per_copy)) % all;
        script.extend((0..per_copy).map(|nth| (copy, Run::new(layout, spread(nth)))));
    }
    (copies, script)
}

pub fn overwrite<B: Books>(books: &mut B, Run { over, .. }: &Run) -> u64 {
    books.map(over.addr, over.len, over.mapping);
    0
}

pub fn overwrite_and_restore<B: Books>(books: &mut B, run: &Run) -> u64 {
    overwrite(books, run);
    for &Spot { addr, len, mapping } in &run.there {
        books.map(addr, len, mapping);
    }
    0
}

/// W6: what all mappings amount to, by `fold`, which `for_each` and `sum` are made of. (Not
/// three additions in a row, which take longer than the walk.)
pub fn iterate<B: Books>(books: &B) -> u64 {
    books.iter().fold(0u64, |sum, (start, end, word, _)| sum.wrapping_add((end - start) ^ word))
}

/// The same by a `for` loop, which takes one step after the other.
pub fn iterate_in_steps<B: Books>(books: &B) -> u64 {
    let mut sum = 0u64;
    for (start, end, word, _) in books.iter() {
        sum = sum.wrapping_add((end - start) ^ word);
    }
    sum
}

/// W8: the layout with every second mapping original.
pub fn half_original<B: Books>(layout: &Layout, order: &[usize]) -> B {
    let mut books = B::empty();
    for original in [true, false] {
        for &at in order.iter().filter(|&&at| at.is_multiple_of(2) == original) {
            let (range, mapping) = layout.mapping(at);
            books.map(range.start, range.end - range.start, mapping);
        }
        if original {
            books.mark_original();
        }
    }
    books
}
