//! Random operations on real memory: after each one the books, the kernel's own
//! list, a model fed by a listener and the contents of every page agree.
#![cfg(all(feature = "exec", target_os = "linux"))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::std_instead_of_alloc,
    clippy::unwrap_used,
    reason = "a test: a panic is a failure"
)]

mod exec_model;
#[path = "exec_model/generate.rs"]
mod generate;

use addrspace::Prot;
use exec_model::{Mem, Op, PAGES, Target, Where, World};
use generate::op;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// What an operation that goes well does.
fn name(op: &Op, world: &World) -> &'static str {
    match world.aim(op) {
        Op::Map { .. } => "map",
        Op::Unmap { .. } => "unmap",
        Op::Protect { .. } => "protect",
        Op::Flags { .. } => "flags",
        Op::Remap { old: 0, .. } => "duplicate",
        Op::Remap { keep_source: true, .. } => "move and keep",
        Op::Remap { target: Target::At(_), old, new, .. } if new > old => "move and grow",
        Op::Remap { target: Target::At(_), .. } => "move",
        Op::Remap { old, new, .. } if new > old => "grow",
        Op::Remap { old, new, .. } if new < old => "shrink",
        Op::Discard { .. } => "discard",
        Op::Restore => "restore",
        Op::UnmapNonOriginal => "unmap non-original",
        Op::Limit { .. } => "limit",
        Op::Read => "read",
        _ => "other",
    }
}

#[test]
fn books_kernel_and_contents_agree() {
    let done = Mutex::new(BTreeMap::<_, usize>::new());
    let mut runner = TestRunner::default();
    let cases = usize::try_from(runner.config().cases).unwrap();
    let run = runner.run(&prop::collection::vec(op(), 1..40), |ops| {
        let mut world = World::new(PAGES);
        for op in ops {
            let name = name(&op, &world);
            if world.step(&op).is_ok() {
                *done.lock().unwrap().entry(name).or_default() += 1;
            }
        }
        Ok(())
    });
    run.unwrap();
    let done = done.into_inner().unwrap();
    println!("{done:?}");
    // Each kind of operation has gone well often enough to mean something: the rarest does so
    // in one of thirteen cases. Of few cases chance would decide.
    let least = if cases < 256 { 0 } else { cases / 64 };
    for name in [
        "map",
        "unmap",
        "protect",
        "flags",
        "duplicate",
        "move and keep",
        "move and grow",
        "move",
        "grow",
        "shrink",
        "discard",
        "restore",
        "unmap non-original",
        "limit",
        "read",
    ] {
        let count = done.get(name).copied().unwrap_or(0);
        assert!(count >= least, "{name}: {count} times in {cases} cases");
    }
}

#[test]
fn a_private_file_that_grows_keeps_what_was_written() {
    let rw = Prot::READ | Prot::WRITE;
    for (target, keep) in [(Target::InPlace, 0), (Target::At(20), 20)] {
        let mut world = World::new(PAGES);
        world.step(&Op::Map { place: Where::At(0), pages: 3, mem: Mem::file(rw, 0, 2) }).unwrap();
        world.step(&Op::Remap { page: 0, old: 3, new: 7, target, keep_source: false }).unwrap();
        assert_eq!(world.exec.query(world.start() + keep * 4096).unwrap().len(), Some(7 * 4096));
    }
}
