//! As few system calls as the kernel allows.

use super::super::error::Syscall::{self, Madvise, Maps, Mmap, Mprotect, Mremap};
use super::super::seam::Plan;
use super::exec_model::{Mem, Op, Target, Where, World};
use crate::{MapFlags, Prot};

const RW: Prot = Prot::READ.union(Prot::WRITE);

fn calls(world: &mut World, op: &Op) -> Vec<Syscall> {
    Plan::default().install();
    world.run(op).unwrap();
    let calls = Plan::default().install().calls.into_iter().map(|(call, _)| call);
    // Who a file is has to be asked each time: what it is called by can be used again.
    calls.filter(|call| *call != Syscall::Fstat).collect()
}

/// Pages 0 to 19 with another protection each, and files between.
fn striped() -> World {
    let mut world = World::new(40);
    for page in 0..20 {
        let mem = match page % 4 {
            0 => Mem::anonymous(RW),
            1 => Mem::file(Prot::READ, 0, page),
            2 => Mem::anonymous(Prot::READ),
            _ => Mem::anonymous(RW).shared(),
        };
        world.step(&Op::Map { place: Where::At(page), pages: 1, mem }).unwrap();
    }
    assert_eq!(world.exec.space().regions().count(), 20);
    world
}

#[test]
fn a_change_of_one_run_is_one_call() {
    let anonymous = Mem::anonymous(RW);
    let map = |place, pages, mem| Op::Map { place, pages, mem };
    for (op, expected) in [
        (map(Where::Lowest, 5, anonymous), vec![Mmap]),
        (map(Where::Lowest, 5, anonymous.with(MapFlags::LOCKED)), vec![Mmap]),
        (map(Where::At(2), 15, anonymous), vec![Mmap]),
        (map(Where::At(2), 15, Mem::file(Prot::READ, 1, 0)), vec![Mmap]),
        (map(Where::At(30), 2, Mem { huge: true, ..anonymous }), vec![Mmap, Madvise, Mremap]),
        (Op::Unmap { page: 1, pages: 18 }, vec![Mmap]),
        (Op::Protect { page: 1, pages: 18, prot: Prot::empty() }, vec![Mprotect]),
        (Op::Discard { page: 0, pages: 3 }, vec![Madvise]),
        (Op::Reset, vec![Mmap]),
        (Op::UnmapNonOriginal, vec![Mmap]),
        (Op::Unmap { page: 30, pages: 3 }, vec![]),
    ] {
        assert_eq!(calls(&mut striped(), &op), expected, "{op:?}");
    }
}

#[test]
fn what_came_later_goes_with_one_call_per_stretch() {
    let mut world = World::new(40);
    for page in [5, 15, 25] {
        world.step(&Op::Map { place: Where::At(page), pages: 2, mem: Mem::anonymous(RW) }).unwrap();
    }
    world.step(&Op::Mark).unwrap();
    // Several in each stretch, with gaps between, and one stretch without any.
    for page in [0, 2, 8, 9, 12, 27, 29, 39] {
        let mem = Mem::anonymous(Prot::READ);
        world.step(&Op::Map { place: Where::At(page), pages: 1, mem }).unwrap();
    }
    assert_eq!(calls(&mut world, &Op::UnmapNonOriginal), [Mmap, Mmap, Mmap]);
    assert_eq!(world.exec.space().regions().count(), 3);
}

#[test]
fn growing_and_moving() {
    let mut world = World::new(40);
    let grow = |page, old, new, target| Op::Remap { page, old, new, target, keep_source: false };
    world.step(&Op::Map { place: Where::At(0), pages: 2, mem: Mem::anonymous(RW) }).unwrap();
    let in_place = Target::InPlace;
    assert_eq!(calls(&mut world, &grow(0, 2, 4, in_place)), [Mmap]);
    assert_eq!(calls(&mut world, &grow(0, 4, 3, in_place)), [Mmap]);
    assert_eq!(calls(&mut world, &grow(0, 3, 3, Target::At(10))), [Maps, Mremap, Mmap]);
    let file = Mem::file(RW, 0, 0).shared();
    world.step(&Op::Map { place: Where::At(20), pages: 2, mem: file }).unwrap();
    assert_eq!(calls(&mut world, &grow(20, 2, 4, in_place)), [Mremap, Mremap]);
    world.step(&Op::Map { place: Where::At(30), pages: 2, mem: Mem::file(RW, 0, 0) }).unwrap();
    // A place for the last page, out, longer, and back.
    assert_eq!(calls(&mut world, &grow(30, 2, 4, in_place)), [Mmap, Mremap, Mremap, Mremap]);
}
