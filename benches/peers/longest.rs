//! The longest that any one operation takes.
//!
//! Medians hide what a guest can do to its host: one operation that takes a thousand
//! times as long. Here a sequence of operations is played several times from the same
//! start, and each operation counts with the least of its times, since a thread that
//! only spins is held up for longer than this now and then. An operation in which a
//! block grew is told apart: that is the allocator's time, and the kernel's.

use addrspace::{AddrSpace, Placement, RangeMap, ignore};

use crate::books::{Books, Checked, Mapping, build};
use crate::clock::now;
use crate::heap::allocations;
use crate::layout::{Dice, Layout, PAGE, SPACE};
use crate::scripts::{self, Run, Spot};
use crate::table::Table;

/// How often the sequence is played.
const REPEATS: usize = 20;

/// Each is one operation.
#[derive(Clone, Copy, Debug)]
enum Step {
    Find(u64),
    Unmap(Spot),
    Map(Spot),
    MapAny(Spot),
    Protect(Spot, u32),
    Overwrite(Spot),
    /// Leaves one mapping more.
    Pierce(Spot),
}

impl Step {
    fn take<B: Books>(self, books: &mut B) {
        match self {
            Self::Find(addr) => drop(books.find(addr)),
            Self::Unmap(spot) | Self::Pierce(spot) => books.unmap(spot.addr, spot.len),
            Self::Map(spot) | Self::Overwrite(spot) => books.map(spot.addr, spot.len, spot.mapping),
            Self::MapAny(spot) => drop(books.map_any(spot.len, spot.mapping)),
            Self::Protect(spot, prot) => books.protect(spot.addr, spot.len, prot),
        }
    }

    const NAMES: [&str; 7] =
        ["find", "unmap", "map", "map_any", "protect", "overwrite 8", "unmap a part"];

    fn number(self) -> usize {
        match self {
            Self::Find(_) => 0,
            Self::Unmap(_) => 1,
            Self::Map(_) => 2,
            Self::MapAny(_) => 3,
            Self::Protect(..) => 4,
            Self::Overwrite(_) => 5,
            Self::Pierce(_) => 6,
        }
    }
}

/// A sequence in which everything happens everywhere.
fn sequence(layout: &Layout, count: usize) -> Vec<Step> {
    let mut dice = Dice(4711);
    let mut steps = Vec::with_capacity(count + Run::LEN);
    while steps.len() < count {
        let [spot] = scripts::spots(layout, &mut dice, 1)[..] else { unreachable!() };
        let [part] = scripts::insides(layout, &mut dice, 1)[..] else { unreachable!() };
        match dice.below(6) {
            0 => steps.push(Step::Find(dice.within(spot.addr..spot.addr + spot.len))),
            1 => steps.extend([Step::Unmap(spot), Step::Map(spot)]),
            2 => steps.extend([Step::Unmap(spot), Step::MapAny(spot)]),
            3 => steps.extend([Step::Protect(part, 1), Step::Protect(part, 3)]),
            4 => {
                let [run] = scripts::runs(layout, &mut dice, 1)[..] else { unreachable!() };
                steps.push(Step::Overwrite(run.over));
                steps.extend(run.there.map(Step::Map));
            }
            _ => steps.push(Step::Pierce(part)),
        }
    }
    steps
}

/// Asks for more room than there is between the mappings.
trait Search: Books {
    fn search_in_vain(&mut self, len: u64, end: u64);
}

impl Search for Checked<RangeMap<u64, Mapping>> {
    fn search_in_vain(&mut self, len: u64, end: u64) {
        assert_eq!(self.0.first_gap(len / PAGE, 1, SPACE.start..end / PAGE), None);
    }
}

impl Search for AddrSpace {
    fn search_in_vain(&mut self, len: u64, end: u64) {
        let below = Placement::lowest().within(0, end);
        let mapping = addrspace::Mapping::anonymous(addrspace::Prot::READ);
        self.map_any(len, mapping, below, ignore).expect_err("there is no room");
    }
}

/// What the clock takes by itself.
fn clock() -> u64 {
    (0..1000)
        .map(|_| now())
        .collect::<Vec<_>>()
        .windows(2)
        .map(|two| two[1] - two[0])
        .min()
        .unwrap()
}

fn of<B: Search>(who: &str, layout: &Layout, count: usize, table: &mut Table) {
    let steps = sequence(layout, count);
    let full: B = build(layout, &layout.scattered());
    let clock = clock();
    let mut least = vec![(u64::MAX, false); steps.len()];
    for _ in 0..REPEATS {
        let mut books = full.clone();
        for (step, (least, grew)) in steps.iter().zip(&mut least) {
            let before = allocations();
            let started = now();
            step.take(&mut books);
            *least = (now() - started).saturating_sub(clock).min(*least);
            *grew |= allocations() != before;
        }
        books.check();
    }
    for (number, name) in Step::NAMES.iter().enumerate() {
        let of_name = steps.iter().zip(&least).filter(|(step, _)| step.number() == number);
        let longest = |grown: bool| {
            let times = of_name.clone().filter(|(_, (_, grew))| *grew == grown);
            times.map(|(_, (nanos, _))| *nanos).max()
        };
        if let Some(nanos) = longest(false) {
            table.add_single(&format!("{who} {name}"), layout.len(), "ns", nanos as f64);
        }
        if let Some(nanos) = longest(true) {
            let name = format!("{who} {name}");
            table.add_single(&name, layout.len(), "ns while a block grew", nanos as f64);
        }
    }

    // Large holes are opened and closed all over; then a search finds none of them.
    // Bounds that are tightened by searches alone would make this one pay for all.
    let end = layout.ranges().last().expect("there are mappings").end;
    let churn = scripts::spots(layout, &mut Dice(815), 10 * count);
    let mut books = full;
    let mut least = u64::MAX;
    for _ in 0..REPEATS {
        for spot in &churn {
            scripts::unmap_and_map(&mut books, spot);
        }
        let started = now();
        books.search_in_vain(64 * PAGE, end);
        least = (now() - started).saturating_sub(clock).min(least);
    }
    let name = format!("{who} search in vain");
    table.add_single(&name, layout.len(), "ns after churn", least as f64);
}

pub fn measure(layout: &Layout, count: usize, table: &mut Table) {
    of::<Checked<RangeMap<u64, Mapping>>>("RangeMap", layout, count, table);
    of::<AddrSpace>("AddrSpace", layout, count, table);
}
