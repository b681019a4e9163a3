//! Frames of this process's own pages, and the same bytes through `/dev/mem`.

use crate::machine::{Kind, Machine, layout};
use addrspace::phys::{Error, Frame, Iomem, Pagemap, PhysMem, Ram, Untranslated};
use addrspace::{Executor, Memory, Placement, Prot, Reservation};

const BOTH: [Kind; 2] = [Kind::Uml, Kind::Qemu];
const RW: Prot = Prot::READ.union(Prot::WRITE);

/// Locked pages, each of which starts with its number.
fn locked(pages: usize) -> (Executor, *mut u8) {
    let mut guest = Executor::new(Reservation::new(0x10_0000).unwrap()).unwrap();
    let memory = Memory::anonymous(RW).locked();
    let start = guest.map_any(pages as u64 * 0x1000, memory, Placement::lowest()).unwrap();
    for nth in 0..pages {
        // SAFETY: mapped just now, and nobody else knows of it.
        unsafe { start.add(nth * 0x1000).write_volatile(nth as u8 + 1) };
    }
    (guest, start)
}

#[test]
fn a_page_is_seen_through_its_frame() {
    let Some(_machine) = Machine::of(&[Kind::Uml], "a_page_is_seen_through_its_frame") else {
        return;
    };
    let (_guest, start) = locked(16);
    let pagemap = Pagemap::of_self().unwrap();
    let memory = PhysMem::options().writable().cached().open().unwrap();
    for nth in 0..16_usize {
        let page = start.wrapping_add(nth * 0x1000);
        let phys = pagemap.translate(page.addr() as u64 + 8).unwrap();
        assert_eq!(phys % 0x1000, 8);
        let frame = phys - 8;
        let window = memory.window(frame..=frame + 0xfff, RW).unwrap();
        // Page to frame, by both ways.
        let mut byte = [0];
        memory.read(frame, &mut byte).unwrap();
        assert_eq!((byte[0], window.read::<u8>(0).unwrap()), (nth as u8 + 1, nth as u8 + 1));
        // And back.
        window.write(0x10, 0x1111_0000 + nth as u32).unwrap();
        memory.write(frame + 0x20, &[0xab, nth as u8]).unwrap();
        // SAFETY: mapped and readable.
        let seen = unsafe { page.add(0x10).cast::<u32>().read_volatile() };
        assert_eq!(seen, 0x1111_0000 + nth as u32);
        // SAFETY: as above.
        let seen = unsafe { page.add(0x20).cast::<[u8; 2]>().read_volatile() };
        assert_eq!(seen, [0xab, nth as u8]);
        assert_eq!(pagemap.translate(page.addr() as u64), Ok(frame), "it has not moved meanwhile");
    }
}

#[test]
fn a_frame_is_memory_that_the_kernel_manages() {
    let name = "a_frame_is_memory_that_the_kernel_manages";
    let Some(_machine) = Machine::of(&[Kind::Qemu], name) else { return };
    let (_guest, start) = locked(4);
    let list = Iomem::read().unwrap();
    let pages = Pagemap::of_self().unwrap().pages(start.addr() as u64, 0x4000).unwrap();
    let mut frames: Vec<u64> = pages
        .iter()
        .map(|page| match page.frame {
            Frame::At(frame) => frame,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(frames.iter().all(|frame| list.ram(*frame..=frame + 0xfff) == Ram::All));
    frames.sort_unstable();
    frames.dedup();
    assert_eq!(frames.len(), 4);
}

#[test]
fn a_missing_frame_has_its_reason() {
    let Some(machine) = Machine::of(&BOTH, "a_missing_frame_has_its_reason") else { return };
    let pagemap = Pagemap::of_self().unwrap();
    let why = |addr: u64| match pagemap.translate(addr) {
        Err(Error::Untranslated { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    let mut guest = Executor::new(Reservation::new(0x10_0000).unwrap()).unwrap();
    let fresh = guest.map_any(0x1000, Memory::anonymous(RW), Placement::lowest()).unwrap();
    assert_eq!(why(fresh.addr() as u64), Untranslated::NotPresent);
    // SAFETY: mapped just now.
    unsafe { fresh.write_volatile(1) };
    pagemap.translate(fresh.addr() as u64).unwrap();

    let memory = PhysMem::open().unwrap();
    let device = Memory::physical(Prot::READ, &memory, machine.hidden + layout::SCRATCH);
    let device = guest.map_any(0x1000, device, Placement::lowest()).unwrap();
    // SAFETY: mapped just now. It is there, and still pagemap has nothing to say.
    let _ = unsafe { device.read_volatile() };
    assert_eq!(why(device.addr() as u64), Untranslated::Device);
    assert_eq!(why(0), Untranslated::NotMapped);
    // Not by the kernel's own doing: no process has these.
    assert_eq!(why(1 << 63), Untranslated::NotMapped);
}

#[test]
fn a_write_after_fork_gives_another_frame() {
    let name = "a_write_after_fork_gives_another_frame";
    let Some(_machine) = Machine::of(&BOTH, name) else { return };
    let (_guest, start) = locked(1);
    let addr = start.addr() as u64;
    let before = Pagemap::of_self().unwrap().translate(addr).unwrap();
    let mut pipe = [0; 2];
    // SAFETY: two descriptors are written to.
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    // SAFETY: the child waits and exits.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let mut byte = 0_u8;
        // SAFETY: the child's own descriptors and byte; it ends when the parent says.
        unsafe {
            libc::close(pipe[1]);
            libc::read(pipe[0], (&raw mut byte).cast(), 1);
            libc::_exit(0);
        }
    }
    let child = Pagemap::of(pid.cast_unsigned()).unwrap();
    assert_eq!(child.translate(addr), Ok(before), "another process's frames, still shared");
    // SAFETY: mapped and writable.
    unsafe { start.write_volatile(9) };
    let after = Pagemap::of_self().unwrap().translate(addr).unwrap();
    assert_ne!(after, before, "locked, and yet it is somewhere else");
    assert_eq!(child.translate(addr), Ok(before));
    // SAFETY: our own descriptors, and our own child.
    unsafe {
        libc::close(pipe[1]);
        libc::close(pipe[0]);
        libc::waitpid(pid, std::ptr::null_mut(), 0);
    }
}
