//! Random operations on real memory: after each one the books, the kernel's own
//! list, a model fed by a listener and the contents of every page agree.
#![cfg(all(feature = "exec", target_os = "linux"))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    reason = "a test: a panic is a failure"
)]

mod exec_model;

use addrspace::Prot;
use exec_model::generate::{PAGES, op};
use exec_model::{Mem, Op, Target, Where, World};
use proptest::prelude::*;

proptest! {
    #[test]
    fn books_kernel_and_contents_agree(ops in prop::collection::vec(op(), 1..40)) {
        let mut world = World::new(PAGES);
        for op in ops {
            let _ = world.step(&op);
        }
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
