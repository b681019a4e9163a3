//! Memory that the kernel does not have: read, written, mapped, dumped. What is
//! written here the host looks for afterwards.

use crate::machine::{Kind, Machine, SEEDED, layout};
use addrspace::phys::{By, DumpOptions, Mode, PhysMem, Unreadable, Way};
use addrspace::{
    Backing, ExecError, Executor, Memory, Placement, Prot, Remap, Reservation, Span, Undiscardable,
};
use rustix::io::Errno;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

const BOTH: [Kind; 2] = [Kind::Uml, Kind::Qemu];
const PAGE: u64 = 0x1000;
const RW: Prot = Prot::READ.union(Prot::WRITE);

#[test]
fn hidden_memory_is_read_and_written_in_both_modes() {
    let name = "hidden_memory_is_read_and_written_in_both_modes";
    let Some(machine) = Machine::of(&BOTH, name) else { return };
    let hidden = machine.hidden;
    let modes = [
        (Mode::Seek, layout::SEEK, b"ANSWER-BY-SEEK--"),
        (Mode::Mapped(hidden..=hidden + 0xffff), layout::MAPPED, b"ANSWER-BY-MAPPED"),
    ];
    for (mode, place, answer) in modes {
        for cached in [false, true] {
            let mut options = PhysMem::options().writable().mode(mode.clone());
            if cached {
                options = options.cached();
            }
            let memory = options.open().unwrap();
            let mut bytes = [0; 16];
            memory.read(hidden + layout::SEED, &mut bytes).unwrap();
            assert_eq!(&bytes, SEEDED, "{mode:?}, {cached}");
            memory.write(hidden + place + 3, answer).unwrap();
            memory.read(hidden + place + 3, &mut bytes).unwrap();
            assert_eq!(&bytes, answer);
        }
    }
    let read_only = PhysMem::open().unwrap();
    read_only.write(hidden, b"no").unwrap_err();
    let mut bytes = [0; 16];
    read_only.read(hidden, &mut bytes).unwrap();
    assert_eq!(&bytes, SEEDED);
}

#[test]
fn hidden_memory_is_seen_through_a_window() {
    let name = "hidden_memory_is_seen_through_a_window";
    let Some(machine) = Machine::of(&BOTH, name) else { return };
    let hidden = machine.hidden;
    let memory = PhysMem::options().writable().open().unwrap();
    // Not at a page, and across one.
    let (first, last) = (hidden + layout::WINDOW - 8, hidden + layout::WINDOW + 0x1007);
    let window = memory.window(first..=last, RW).unwrap();
    drop(memory);
    window.copy_from(11, b"ANSWER-BY-WINDOW").unwrap();
    window.write(0x100c, 0x1234_5678_u32).unwrap();
    assert_eq!(window.set_bits(0x100c, 1_u8).unwrap(), 0x78);
    assert_eq!(window.read::<u32>(0x100c).unwrap(), 0x1234_5679);
    window.read::<u32>(0x1010).unwrap_err();

    let mut seen = [0; 4];
    let memory = PhysMem::open().unwrap();
    memory.read(last - 3, &mut seen).unwrap();
    assert_eq!(u32::from_ne_bytes(seen), 0x1234_5679, "by the other way");
}

#[test]
fn a_dump_goes_past_the_page_cache() {
    let name = "a_dump_goes_past_the_page_cache";
    let Some(machine) = Machine::of(&BOTH, name) else { return };
    let first = machine.hidden + layout::RANDOM;
    let last = first + layout::RANDOM_LEN - 1;
    let memory = PhysMem::options().cached().open().unwrap();
    let mut expected = vec![0; layout::RANDOM_LEN as usize];
    memory.read(first, &mut expected).unwrap();
    assert!(expected.iter().any(|byte| *byte != expected[0]), "the host has filled it");

    let go = |_| ControlFlow::Continue(());
    // The host compares this one with what it has.
    let to = machine.disk.join("dump");
    let options = DumpOptions { chunk: 0x6000, ..DumpOptions::default() };
    let dump = memory.dump(first..=last, &to, &options, go).unwrap();
    assert!(matches!(dump.way, Way::Direct { align } if align >= 512), "{:?}", dump.way);
    assert!(fs::read(&to).unwrap() == expected);

    for by in [By::Windows, By::Reading] {
        let to = machine.disk.join("odd");
        let options = DumpOptions { chunk: 0x4000, by, ..DumpOptions::default() };
        let dump = memory.dump(first + 13..=last - 1001, &to, &options, go).unwrap();
        assert!(matches!(dump.way, Way::Direct { .. }));
        assert!(fs::read(&to).unwrap() == expected[13..expected.len() - 1001]);
        fs::remove_file(&to).unwrap();
    }

    // hostfs of one machine and tmpfs of the other's kernel take no O_DIRECT.
    let dump = memory.dump(first..=last, "/run/dump", &options, go).unwrap();
    assert_eq!(dump.way, Way::FellBack { errno: 22 });
    assert!(fs::read("/run/dump").unwrap() == expected);
    fs::remove_file("/run/dump").unwrap();
}

#[test]
fn the_obvious_dump_is_a_fault() {
    let Some(machine) = Machine::of(&BOTH, "the_obvious_dump_is_a_fault") else { return };
    let first = machine.hidden + layout::RANDOM;
    let memory = PhysMem::options().cached().open().unwrap();
    let window = memory.window(first..=first + 0xffff, Prot::READ).unwrap();
    let path = machine.disk.join("naive");
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(libc::O_DIRECT)
        .open(&path)
        .unwrap();
    // SAFETY: the kernel reads readable memory, which lives as long as `window`.
    let written = unsafe { libc::pwrite(file.as_raw_fd(), window.as_ptr().cast(), 0x10000, 0) };
    let errno = std::io::Error::last_os_error().raw_os_error();
    assert_eq!((written, errno), (-1, Some(libc::EFAULT)));
    // The same file takes the same bytes from ordinary memory.
    let dump = memory.dump(first..=first + 0xffff, &path, &DumpOptions::default(), |_| {
        ControlFlow::Continue(())
    });
    assert!(matches!(dump.unwrap().way, Way::Direct { .. }));
    fs::remove_file(&path).unwrap();
}

#[test]
fn a_dump_leaves_out_what_is_refused() {
    let Some(machine) = Machine::of(&[Kind::Qemu], "a_dump_leaves_out_what_is_refused") else {
        return;
    };
    let hidden = machine.hidden;
    let memory = PhysMem::options().cached().open().unwrap();
    // Three pages of memory that the kernel has, then our own.
    let range = hidden - 3 * PAGE..=hidden + 4 * PAGE - 1;
    let mut expected = vec![0; 7 * PAGE as usize];
    memory.read(hidden, &mut expected[3 * PAGE as usize..]).unwrap();
    for by in [By::Windows, By::Reading] {
        for unreadable in [Unreadable::Zero, Unreadable::Skip] {
            let to = machine.disk.join("refused");
            let options = DumpOptions { unreadable, by, ..DumpOptions::default() };
            let go = |_| ControlFlow::Continue(());
            let dump = memory.dump(range.clone(), &to, &options, go).unwrap();
            assert_eq!(dump.unreadable, [Span::of(hidden - 3 * PAGE, 3 * PAGE).unwrap()]);
            let words = dump.first_refusal.unwrap().to_string();
            assert!(words.contains("System RAM"), "{words}");
            assert!(fs::read(&to).unwrap() == expected);
            fs::remove_file(&to).unwrap();
        }
        let to = machine.disk.join("refused");
        let options = DumpOptions { by, ..DumpOptions::default() };
        let refused = memory.dump(range.clone(), &to, &options, |_| ControlFlow::Continue(()));
        assert_eq!(refused.unwrap_err().errno(), 1);
    }
}

#[test]
fn the_executor_maps_physical_memory() {
    let Some(machine) = Machine::of(&BOTH, "the_executor_maps_physical_memory") else { return };
    let phys = machine.hidden + layout::EXECUTOR;
    let memory = PhysMem::options().writable().open().unwrap();
    let mut guest = Executor::new(Reservation::new(0x10_0000).unwrap()).unwrap();
    let heap = guest.map_any(PAGE, Memory::anonymous(RW), Placement::lowest()).unwrap();
    guest.mark_original();
    let clean = guest.space().clone();
    let check = |guest: &mut Executor| assert_eq!(guest.verify().unwrap(), []);

    let device = Memory::physical(RW, &memory, phys);
    let addr = guest.map_any(4 * PAGE, device, Placement::lowest()).unwrap().addr() as u64;
    check(&mut guest);
    let byte = |guest: &Executor, at: u64| guest.pointer(at).unwrap();
    for (nth, letter) in (0..).zip(b"ANSWER-EXECUTOR-") {
        // SAFETY: mapped, writable, and nobody unmaps it.
        unsafe { byte(&guest, addr + 5 + nth).write_volatile(*letter) };
    }
    let mut seen = [0; 16];
    memory.read(phys + 5, &mut seen).unwrap();
    assert_eq!(&seen, b"ANSWER-EXECUTOR-");

    // Split by protection, and merged again.
    let physical = |guest: &Executor| {
        let regions = guest.space().regions().filter_map(|region| match region.backing {
            Backing::Physical { addr } => {
                Some((region.start().wrapping_sub(addr), region.len().unwrap()))
            }
            _ => None,
        });
        regions.collect::<Vec<_>>()
    };
    let origin = addr.wrapping_sub(phys);
    guest.protect(addr + PAGE, PAGE, Prot::READ).unwrap();
    assert_eq!(physical(&guest), [(origin, PAGE), (origin, PAGE), (origin, 2 * PAGE)]);
    check(&mut guest);
    if machine.kind == Kind::Qemu {
        let protected = byte(&guest, addr + PAGE);
        assert!(faults(|| {
            // SAFETY: it is a fault, in a process that is for that.
            unsafe { protected.write_volatile(1) }
        }));
        assert!(!faults(|| {
            // SAFETY: mapped and readable.
            let _ = unsafe { protected.read_volatile() };
        }));
    }
    guest.protect(addr + PAGE, PAGE, RW).unwrap();
    assert_eq!(physical(&guest), [(origin, 4 * PAGE)]);
    check(&mut guest);

    // A hole in the midst, which stays reserved.
    guest.unmap(addr + 2 * PAGE, PAGE).unwrap();
    assert_eq!(physical(&guest), [(origin, 2 * PAGE), (origin, PAGE)]);
    check(&mut guest);

    // Over what is mapped, and over memory.
    let device = Memory::physical(Prot::READ, &memory, phys);
    guest.map_at(addr + PAGE, 3 * PAGE, device).unwrap();
    // SAFETY: mapped and readable.
    assert_eq!(unsafe { byte(&guest, addr + PAGE + 5).read_volatile() }, b'A');
    check(&mut guest);

    // What the kernel would refuse.
    let grown = guest.remap(addr, PAGE, 5 * PAGE, Remap::may_move(Placement::lowest()));
    assert!(matches!(grown, Err(ExecError::Backing { .. })), "{grown:?}");
    let moved = guest.remap(addr, PAGE, PAGE, Remap::to(addr + 0x8_0000));
    assert!(matches!(moved, Err(ExecError::Backing { .. })), "{moved:?}");
    let discarded = guest.discard(addr, PAGE);
    assert!(matches!(discarded, Err(ExecError::Discard { why: Undiscardable::Device, .. })));
    assert!(matches!(guest.direct_buffer(addr, PAGE), Err(ExecError::NotDirect { .. })));
    check(&mut guest);

    // Refused by the machine: what was there is there.
    if machine.kind == Kind::Qemu {
        // SAFETY: mapped and writable.
        unsafe { heap.write(7) };
        let before = guest.space().clone();
        let ram = Memory::physical(RW, &memory, machine.hidden - PAGE);
        let refused = guest.map_at(heap.addr() as u64, PAGE, ram).unwrap_err();
        assert_eq!(refused.errno(), Errno::PERM.raw_os_error());
        // SAFETY: mapped and readable.
        assert_eq!(unsafe { heap.read() }, 7);
        assert_eq!(*guest.space(), before);
        check(&mut guest);
    }

    guest.unmap_non_original().unwrap();
    assert_eq!(*guest.space(), clean);
    check(&mut guest);
}

/// Whether `touch` is a fault, found out in a child.
fn faults(touch: impl FnOnce()) -> bool {
    // SAFETY: the child touches one byte and exits.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        touch();
        // SAFETY: nothing of the parent's is run.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: `status` is ours.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    libc::WIFSIGNALED(status)
}
