//! The verbs of `AddrSpace`.

use super::WAYS;
use super::model::{File, Op, Place, Policy, Target, run};
use addrspace::{
    AddrSpace, Backing, Error, Gaps, MapFlags, Mapping, OpError, Prot, Update, ignore,
};

pub(super) const PAGE: u64 = 0x1000;

/// A file that has to be dropped, whose values take other ways through the tree. It
/// takes no memory itself.
#[derive(Clone, Debug, PartialEq)]
struct Handle(u32);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0 = u32::MAX;
    }
}

impl File for Handle {
    fn make(number: u32) -> Self {
        Self(number)
    }
    fn number(&self) -> u32 {
        self.0
    }
}

/// A space with so many regions of two pages, of which the first ones are original; a
/// page between any two, but for every fourth pair.
pub(super) fn furnished<F: File>(regions: u64, gaps: Gaps) -> AddrSpace<F> {
    let space = AddrSpace::new(0, (3 * regions + 64) * PAGE, PAGE).unwrap();
    let mut space = space.with_gaps(gaps);
    for nth in 0..regions {
        let prot = if nth % 2 == 0 { Prot::READ } else { Prot::READ | Prot::WRITE };
        let (start, pages) = (3 * nth, if nth % 4 == 3 { 3 } else { 2 });
        let mapping = Mapping::file(prot, F::make(1), start * PAGE).shared();
        space.map_at(start * PAGE, pages * PAGE, mapping, ignore).unwrap();
        if nth == regions / 2 {
            space.mark_original();
        }
    }
    space
}

/// Every verb that can change something, at the middle, at both ends and over all.
pub(super) fn ops(regions: u64) -> Vec<Op> {
    let mapping = Mapping::anonymous(Prot::EXEC);
    let like = Mapping::file(Prot::READ, 1, 0).shared();
    let (middle, end) = (3 * (regions / 2) * PAGE, (3 * regions + 2) * PAGE);
    let place = |policy| Place::anywhere(policy);
    let near = Place { hint: Some(middle), align: 2 * PAGE, ..place(Policy::Lowest) };
    let guarded = Place { guard: (PAGE, PAGE), ..place(Policy::Nth(1)) };
    let mut ops = Vec::new();
    for place in
        [place(Policy::Lowest), place(Policy::Highest), place(Policy::Random(7)), near, guarded]
    {
        ops.push(Op::MapAny { len: PAGE, mapping, place });
    }
    let all = (3 * regions + 1) * PAGE;
    for (addr, len) in
        [(0, PAGE), (middle, PAGE), (middle + PAGE, PAGE), (PAGE, middle.max(PAGE)), (0, all)]
    {
        ops.push(Op::MapAt { addr, len, mapping, replace: true });
        ops.push(Op::MapAt { addr, len, mapping: like, replace: true });
        ops.push(Op::Unmap { addr, len });
        ops.push(Op::Protect { addr, len, prot: Prot::empty() });
        ops.push(Op::SetFlags { addr, len, set: MapFlags::LOCKED, clear: MapFlags::empty() });
    }
    ops.push(Op::MapAt { addr: end, len: PAGE, mapping, replace: false });
    ops.push(Op::UnmapNonOriginal);
    ops.push(Op::MarkOriginal);
    ops.push(Op::Restore);
    ops.push(Op::Reset);
    let anywhere = Target::Anywhere(place(Policy::Highest));
    if regions > 0 {
        for (old, new, target, keep) in [
            (2, 1, Target::InPlace, false),
            (2, 3, Target::InPlace, false),
            (2, 4, anywhere, false),
            (1, 1, anywhere, true),
            (0, 1, Target::At(end), false),
            (2, 5, Target::At(end), false),
            (2, 1, Target::At(end), false),
        ] {
            ops.push(Op::remap(middle, [old * PAGE, new * PAGE], target, keep));
        }
    }
    if regions > 8 {
        // A run of three regions without a gap, over others and to a free place.
        let run = 9 * PAGE;
        ops.push(Op::remap(run, [3 * PAGE; 2], Target::At(end), false));
        ops.push(Op::remap(run, [3 * PAGE; 2], Target::At(end), true));
        ops.push(Op::remap(run, [3 * PAGE; 2], Target::At(18 * PAGE), false));
    }
    ops
}

/// What a handler answers: it refuses the update of a number, after so many pages.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    update: usize,
    pages: u64,
}

/// Runs `op`, and tells how many updates there were.
fn told<F: File>(
    space: &mut AddrSpace<F>,
    op: &Op,
    saved: &AddrSpace<F>,
    refusal: Option<Refusal>,
) -> (Result<Option<u64>, OpError<()>>, usize) {
    let mut updates = 0;
    let result = run(space, op, saved, |update: Update<'_, F>| {
        let number = updates;
        updates += 1;
        let Some(refusal) = refusal.filter(|refusal| refusal.update == number) else {
            return Ok(());
        };
        update.made_to(update.span().start() + refusal.pages * PAGE);
        Err(())
    });
    (result, updates)
}

/// All that one can see of a space.
fn assert_same<F: File>(space: &AddrSpace<F>, expected: &AddrSpace<F>, what: &str) {
    space.check();
    assert!(space == expected, "{what}: contents and marks");
    assert_eq!(space.usage(), expected.usage(), "{what}: usage");
    assert_eq!(space.limits(), expected.limits(), "{what}: limits");
    assert!(space.gaps().eq(expected.gaps()), "{what}: gaps");
    let starts = |space: &AddrSpace<F>| -> Vec<(u64, bool)> {
        space.regions().map(|region| (region.start(), region.original)).collect()
    };
    assert_eq!(starts(space), starts(expected), "{what}: regions");
}

fn starve<F: File>(regions: u64, gaps: Gaps) -> u64 {
    let full = furnished::<F>(regions, gaps);
    let mut saved = furnished::<F>(regions, gaps);
    for nth in 0..20 {
        let mapping = Mapping::tag(Prot::READ, F::make(2), nth);
        saved.map_at(3 * nth * PAGE + PAGE, PAGE, mapping, ignore).unwrap();
    }
    let mut refused = 0;
    let refusals = [(0, 0), (0, 1), (1, 0), (1, 1)];
    let refusals = refusals.map(|(update, pages)| Some(Refusal { update, pages }));
    for op in ops(regions) {
        for refusal in [None].into_iter().chain(refusals) {
            let mut whole = full.clone();
            let expected = told(&mut whole, &op, &saved, refusal);
            for (way, failing) in WAYS.iter().enumerate() {
                for allowed in 0.. {
                    let what = format!("{op:?}, {refusal:?}, way {way}, {allowed} allocations");
                    // A clone has no memory to spare.
                    let mut space = full.clone();
                    let failing = failing(allowed);
                    let answer = told(&mut space, &op, &saved, refusal);
                    let failed = failing.end();
                    if let (Err(OpError::Refused(Error::NoMemory { .. })), 0) = answer {
                        assert!(failed, "{what}: there was memory");
                        assert_same(&space, &full, &what);
                        refused += 1;
                        continue;
                    }
                    assert_eq!(answer, expected, "{what}");
                    assert_same(&space, &whole, &what);
                    if !failed {
                        break;
                    }
                }
            }
        }
    }
    refused
}

#[test]
fn without_memory_a_verb_changes_nothing_and_tells_nothing() {
    for gaps in [Gaps::Foreign, Gaps::Owned] {
        let mut refused = 0;
        for regions in [0, 1, 15, 16, 31, 32, 100, 500] {
            refused += starve::<u32>(regions, gaps) + starve::<Handle>(regions, gaps);
        }
        assert!(refused > 1000, "{refused} times there was no memory");
    }
}

/// A dull stream of random numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }

    fn op(&mut self) -> Op {
        let (addr, len) = (self.below(300) * PAGE, (1 + self.below(24)) * PAGE);
        let prot = Prot::from_bits_retain(u32::try_from(self.below(4)).unwrap());
        let mapping = Mapping::anonymous(prot);
        match self.below(12) {
            0..4 => Op::MapAt { addr, len: len.min(3 * PAGE), mapping, replace: true },
            4 => Op::MapAny { len, mapping, place: Place::anywhere(Policy::Highest) },
            5 => Op::Unmap { addr, len },
            6 => Op::Protect { addr, len, prot },
            7 => Op::remap(
                addr,
                [PAGE, len],
                Target::Anywhere(Place::anywhere(Policy::Lowest)),
                false,
            ),
            8 => Op::remap(addr, [len; 2], Target::At(self.below(300) * PAGE), false),
            9 if self.below(20) == 0 => Op::Restore,
            9 if self.below(20) == 0 => Op::UnmapNonOriginal,
            10 if self.below(20) == 0 => Op::MarkOriginal,
            _ => Op::SetFlags { addr, len, set: MapFlags::LOCKED, clear: MapFlags::empty() },
        }
    }
}

/// One goes without memory now and then, and its twin is spared what failed.
#[test]
fn a_space_that_went_without_memory_is_as_one_that_was_never_asked() {
    let saved = furnished::<u32>(80, Gaps::Foreign);
    let (mut without, mut done) = (0, 0);
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let mut space: AddrSpace = AddrSpace::new(0, (3 * 80 + 64) * PAGE, PAGE).unwrap();
        let mut twin = space.clone();
        for nth in 0..400 {
            let op = dice.op();
            let what = format!("seed {seed}, operation {nth}: {op:?}");
            let failing = WAYS[usize::try_from(dice.below(2)).unwrap()](dice.below(3));
            let answer = told(&mut space, &op, &saved, None).0;
            failing.end();
            if let Err(OpError::Refused(Error::NoMemory { .. })) = answer {
                without += 1;
            } else {
                assert_eq!(told(&mut twin, &op, &saved, None).0, answer, "{what}");
                done += u64::from(answer.is_ok());
            }
            assert_same(&space, &twin, &what);
        }
    }
    assert!(without > 200 && done > 5000, "{without} without memory, {done} done");
}

/// What the operations are for is there: regions that are joined, files and tags.
#[test]
fn the_furniture_is_of_several_nodes_and_kinds() {
    let space = furnished::<u32>(500, Gaps::Foreign);
    assert_eq!(space.regions().len(), 500);
    assert!(space.regions().any(|region| region.original));
    assert!(space.regions().all(|region| matches!(region.backing, Backing::File { .. })));
    assert!(space.is_fully_mapped(9 * PAGE, 3 * PAGE));
}
