//! Physical memory in a guest's space.

use super::support::{Scratch, pattern};
use addrspace::{
    Backing, ExecError, Executor, MapFlags, Memory, Placement, Prot, Remap, Reservation, Syscall,
    Undiscardable,
};

const PAGE: u64 = 0x1000;
const RW: Prot = Prot::READ.union(Prot::WRITE);

fn guest() -> (Executor, u64) {
    let guest = Executor::new(Reservation::new(16 * PAGE).unwrap()).unwrap();
    let start = guest.space().span().unwrap().start();
    (guest, start)
}

/// Start (in pages from `start`), length, protection and physical page of each region.
fn regions(guest: &Executor, start: u64) -> Vec<(u64, u64, Prot, u64)> {
    let regions = guest.space().regions().filter_map(|region| {
        let Backing::Physical { addr } = region.backing else { return None };
        let at = (region.start() - start) / PAGE;
        Some((at, region.len().unwrap() / PAGE, region.prot, addr / PAGE))
    });
    regions.collect()
}

fn read(guest: &Executor, addr: u64) -> u8 {
    // SAFETY: the test has mapped it readable.
    unsafe { guest.pointer(addr).unwrap().read_volatile() }
}

#[test]
fn split_and_merge_follow_the_physical_address() {
    let file = Scratch::memory(0x8000);
    let device = file.device().writable().open().unwrap();
    let (mut guest, start) = guest();
    let at = |page: u64| start + page * PAGE;
    guest.map_at(at(2), 6 * PAGE, Memory::physical(RW, &device, PAGE)).unwrap();
    assert_eq!(regions(&guest, start), [(2, 6, RW, 1)]);

    guest.protect(at(4), PAGE, Prot::READ).unwrap();
    assert_eq!(regions(&guest, start), [(2, 2, RW, 1), (4, 1, Prot::READ, 3), (5, 3, RW, 4)]);
    guest.protect(at(4), PAGE, RW).unwrap();
    assert_eq!(regions(&guest, start), [(2, 6, RW, 1)], "one again");

    guest.unmap(at(4), PAGE).unwrap();
    assert_eq!(regions(&guest, start), [(2, 2, RW, 1), (5, 3, RW, 4)]);
    // The page that is missing joins all; another physical page does not.
    guest.map_at(at(4), PAGE, Memory::physical(RW, &device, 7 * PAGE)).unwrap();
    assert_eq!(regions(&guest, start).len(), 3);
    guest.map_at(at(4), PAGE, Memory::physical(RW, &device, 3 * PAGE)).unwrap();
    assert_eq!(regions(&guest, start), [(2, 6, RW, 1)]);
    assert_eq!(guest.verify().unwrap(), []);

    for page in 2..8 {
        let phys = (page - 1) * PAGE + 5;
        assert_eq!(read(&guest, at(page) + 5), pattern(usize::try_from(phys).unwrap()));
        // SAFETY: mapped and writable.
        unsafe { guest.pointer(at(page)).unwrap().write_volatile(0x90 + page as u8) };
        assert_eq!(file.bytes()[usize::try_from(phys - 5).unwrap()], 0x90 + page as u8);
    }
}

#[test]
fn any_placement_will_do_and_a_snapshot_knows_it() {
    let file = Scratch::memory(0x8000);
    let device = file.device().writable().open().unwrap();
    let (mut guest, start) = guest();
    let low = guest.map_any(PAGE, Memory::physical(RW, &device, 0), Placement::lowest()).unwrap();
    let high = guest.map_any(PAGE, Memory::physical(RW, &device, 0), Placement::highest()).unwrap();
    assert_eq!((low.addr() as u64, high.addr() as u64), (start, start + 15 * PAGE));
    guest.mark_original();
    let clean = guest.space().clone();
    guest.map_any(PAGE, Memory::physical(RW, &device, PAGE), Placement::lowest()).unwrap();
    guest.protect(start, PAGE, Prot::READ).unwrap();
    guest.unmap_non_original().unwrap();
    guest.restore(&clean).unwrap();
    assert_eq!(*guest.space(), clean);
    assert_eq!(guest.verify().unwrap(), []);
    guest.unmap(start, PAGE).unwrap();
    assert!(matches!(guest.restore(&clean), Err(ExecError::NeedsFile { .. })));
}

#[test]
fn what_such_memory_cannot_is_refused_before_the_kernel_is_asked() {
    let file = Scratch::memory(0x8000);
    let device = file.device().writable().open().unwrap();
    let (mut guest, start) = guest();
    guest.map_at(start, 2 * PAGE, Memory::physical(RW, &device, 0)).unwrap();
    let before = guest.space().clone();
    let backing = |result: Result<*mut u8, ExecError>| {
        assert!(matches!(result, Err(ExecError::Backing { .. })), "{result:?}");
    };
    backing(guest.remap(start, 2 * PAGE, 3 * PAGE, Remap::in_place()));
    backing(guest.remap(start, 2 * PAGE, 3 * PAGE, Remap::may_move(Placement::lowest())));
    backing(guest.remap(start, 2 * PAGE, 2 * PAGE, Remap::to(start + 8 * PAGE)));
    backing(guest.remap(start, 2 * PAGE, PAGE, Remap::to(start + 8 * PAGE)));
    backing(guest.remap(start, 0, PAGE, Remap::to(start + 8 * PAGE)));
    let discarded = guest.discard(start, PAGE);
    assert!(matches!(discarded, Err(ExecError::Discard { why: Undiscardable::Device, .. })));
    let direct = guest.direct_buffer(start + PAGE, PAGE).unwrap_err();
    assert!(matches!(direct, ExecError::NotDirect { device: Some(_), .. }), "{direct}");
    assert_eq!(direct.errno(), 14);
    let odd = guest.map_at(start, PAGE, Memory::physical(RW, &device, 0x800));
    assert!(matches!(odd, Err(ExecError::Refused(_))));
    let flags = MapFlags::GROWS_DOWN;
    let odd = guest.map_at(start, PAGE, Memory::physical(RW, &device, 0).with_flags(flags));
    assert_eq!(odd, Err(ExecError::Flags { flags }));
    assert_eq!(*guest.space(), before);
    assert_eq!(guest.verify().unwrap(), []);
    // To shrink is to unmap.
    guest.remap(start, 2 * PAGE, PAGE, Remap::in_place()).unwrap();
    assert_eq!(regions(&guest, start), [(0, 1, RW, 0)]);
}

#[test]
fn direct_memory_is_mapped_and_accessible_throughout() {
    let (mut guest, start) = guest();
    guest.map_at(start + PAGE, 2 * PAGE, Memory::anonymous(RW)).unwrap();
    guest.map_at(start + 3 * PAGE, PAGE, Memory::anonymous(Prot::empty())).unwrap();
    guest.direct_buffer(start + PAGE + 7, 2 * PAGE - 7).unwrap();
    for (page, len) in [(0, PAGE), (0, 2 * PAGE), (2, 2 * PAGE), (3, 1), (4, 1), (1, 0)] {
        let addr = start + page * PAGE;
        let refused = guest.direct_buffer(addr, len);
        assert_eq!(refused, Err(ExecError::NotDirect { addr, len, device: None }));
    }
    for (addr, len) in [(0, 1), (u64::MAX, 1), (u64::MAX, u64::MAX), (start, u64::MAX)] {
        guest.direct_buffer(addr, len).unwrap_err();
    }
}

#[test]
fn a_device_that_refuses_costs_nothing_that_was_there() {
    let file = Scratch::memory(0x8000);
    let read_only = file.device().open().unwrap();
    let (mut guest, start) = guest();
    guest.map_at(start, 4 * PAGE, Memory::anonymous(RW)).unwrap();
    // SAFETY: mapped just now.
    unsafe { guest.pointer(start).unwrap().write(7) };
    let refused = guest.map_at(start, PAGE, Memory::physical(RW, &read_only, 0)).unwrap_err();
    let ExecError::Kernel { call: Syscall::Mmap, errno: 13, ref lost, .. } = refused else {
        panic!("{refused}")
    };
    assert!(lost.is_empty());
    assert_eq!(read(&guest, start), 7);
    assert_eq!(guest.space().regions().count(), 1);
    assert_eq!(guest.verify().unwrap(), []);
}
