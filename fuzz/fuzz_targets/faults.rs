//! What fails at a point that the input chooses: the handler, by an error or a panic and
//! after any part of an update; the memory; the clone, the comparison or the drop of a
//! file's identity. The books always are what was acknowledged.
#![no_main]

#[path = "../support/failing.rs"]
mod failing;
#[path = "../../tests/model/mod.rs"]
mod model;
#[path = "../support/numbers.rs"]
mod numbers;
#[path = "../support/tell.rs"]
mod tell;

use addrspace::{Error, OpError, ignore};
use failing::with_memory_for;
use libfuzzer_sys::fuzz_target;
use model::{Effect, File, Model, Op, Page, Pair, piece, run, step};
use numbers::records;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use tell::tell;

fuzz_target!(|data: &[u8]| {
    let mut records = records(data);
    let Some(mut space) = records.next() else { return };
    let mut pair: Pair<Handle> = space.pair();
    for mut record in records {
        let (kind, fuse) = (record.below(8), record.below(32));
        let refusal = record.some_refusal();
        let op = record.op(&pair.model);
        let picture = pair.space.picture();
        tell(format_args!("{picture}kind {kind}, fuse {fuse}, {refusal:?}: {op:x?}"));
        match kind {
            0 => {}
            // Refused, and then done to the end: the model says what is left to do.
            1 | 2 => _ = step(&mut pair, &op, Some(refusal)),
            3 | 4 => run_out_of_memory(&pair, &op, fuse),
            5 => blow(&pair, &op, Call::Clone, fuse),
            6 => blow(&pair, &op, Call::Eq, fuse),
            _ => blow(&pair, &op, Call::Drop, fuse),
        }
        step(&mut pair, &op, None);
    }
});

/// Memory that cannot be had is an error that changes nothing and reports nothing;
/// when the first update was reported, none is needed.
fn run_out_of_memory(pair: &Pair<Handle>, op: &Op, allocations: u64) {
    let (mut space, mut whole) = (pair.space.clone(), pair.space.clone());
    let wanted = run(&mut whole, op, &pair.saved.0, |_| Ok(()));
    let mut updates = 0;
    let (result, failed) = with_memory_for(allocations, || {
        run(&mut space, op, &pair.saved.0, |_| {
            updates += 1;
            Ok(())
        })
    });
    if let Err(OpError::Refused(Error::NoMemory { .. })) = result
        && result != wanted
    {
        assert!(failed, "{op:?} wants memory that it does not ask for");
        assert_eq!(updates, 0, "{op:?} has reported something");
        assert!(space == pair.space, "{op:?} without memory has changed something");
    } else {
        assert_eq!(result, wanted, "{op:?} with memory for {allocations} allocations");
        assert!(space == whole, "{op:?} with memory for {allocations} allocations");
    }
    space.check();
}

/// What a handle can be told to panic in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Clone,
    Eq,
    Drop,
}

thread_local! {
    static ARMED: Cell<Option<(Call, u64)>> = const { Cell::new(None) };
    static CLONES: Cell<u64> = const { Cell::new(0) };
}

/// What a handle panics with.
struct Blown;

fn burn(call: Call) {
    match ARMED.get() {
        Some((armed, 0)) if armed == call && !std::thread::panicking() => {
            ARMED.set(None);
            // Not `panic!`, at which the fuzzer would end.
            resume_unwind(Box::new(Blown));
        }
        Some((armed, left)) if armed == call => ARMED.set(Some((call, left.saturating_sub(1)))),
        _ => {}
    }
}

/// A file's identity, which counts its clones and may panic.
#[derive(Debug)]
struct Handle(u32);

impl Clone for Handle {
    fn clone(&self) -> Self {
        CLONES.set(CLONES.get() + 1);
        burn(Call::Clone);
        Self(self.0)
    }
}

impl PartialEq for Handle {
    fn eq(&self, other: &Self) -> bool {
        burn(Call::Eq);
        self.0 == other.0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        burn(Call::Drop);
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

/// Does `op` on a copy with a panic in the `fuse`th call of a kind, if there are so many.
fn blow(pair: &Pair<Handle>, op: &Op, call: Call, fuse: u64) {
    let Ok((_, effects)) = pair.model.plan(op, &pair.saved.1) else { return };
    let mut space = pair.space.clone();
    let heard = Cell::new(0);
    ARMED.set(Some((call, fuse)));
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        run(&mut space, op, &pair.saved.0, |_| {
            heard.set(heard.get() + 1);
            Ok(())
        })
    }));
    ARMED.set(None);
    match outcome {
        Ok(outcome) => assert!(outcome.is_ok(), "{op:?} gives {outcome:?}"),
        Err(payload) if payload.is::<Blown>() => {
            match (call, op) {
                // Between the updates of these is more that changes, and nobody hears of it.
                (_, Op::Restore | Op::MarkOriginal | Op::Reset) => {}
                // What cannot be compared may be unmapped, or not be joined.
                (Call::Eq, _) => is_between(pair, &effects, &pages(&pair.model, &space)),
                _ => {
                    let mut model = pair.model.clone();
                    let made = effects.iter().take(heard.get());
                    made.for_each(|effect| model.apply(effect, None));
                    model.compare(&space);
                }
            }
        }
        Err(payload) => resume_unwind(payload),
    }
    if call == Call::Eq {
        space.reset();
    } else {
        space.check();
    }
    // The books are good for more, whatever has happened to them.
    space.set_limits(addrspace::Limits::default());
    space.restore(&pair.space, ignore).expect("a space of the same bounds is restored");
    assert!(space == pair.space, "{op:?} leaves books that cannot be restored");
    space.check();
}

fn pages(model: &Model, space: &addrspace::AddrSpace<Handle>) -> Vec<Option<Page>> {
    let page = |nth| {
        let addr = u64::try_from(model.addr(nth)).expect("a page of the space");
        space.regions_in(addr, 1).next().map(|region| piece(&region).1)
    };
    (0..model.pages.len()).map(page).collect()
}

/// Each page is as before, or as it would have been, or not mapped.
fn is_between(pair: &Pair<Handle>, effects: &[Effect], pages: &[Option<Page>]) {
    let mut whole = pair.model.clone();
    effects.iter().for_each(|effect| whole.apply(effect, None));
    for (nth, page) in pages.iter().enumerate() {
        assert!(
            [pair.model.pages[nth], whole.pages[nth], None].contains(page),
            "page {nth} is {page:?}"
        );
    }
}
