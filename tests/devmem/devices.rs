//! What a PC has: firmware, devices, kinds of caching.

use crate::machine::{Kind, Machine, SEEDED, layout, pci_region};
use addrspace::phys::{Error, Iomem, PhysMem, Ram, Rule};
use addrspace::{Prot, Span};
use std::fs;
use std::time::Duration;

const RW: Prot = Prot::READ.union(Prot::WRITE);

#[test]
fn the_firmware_has_its_signatures() {
    let Some(_machine) = Machine::of(&[Kind::Qemu], "the_firmware_has_its_signatures") else {
        return;
    };
    let memory = PhysMem::open().unwrap();
    let window = memory.window(0xf0000..=0xfffff, Prot::READ).unwrap();
    let mut by_window = vec![0; window.len()];
    window.copy_to(0, &mut by_window).unwrap();
    let mut by_seek = vec![0; window.len()];
    memory.read(0xf0000, &mut by_seek).unwrap();
    assert!(by_window == by_seek);
    for signature in [&b"RSD PTR "[..], b"_SM_", b"_DMI_"] {
        let found = by_window.chunks(16).any(|chunk| chunk.starts_with(signature));
        assert!(found, "{}", String::from_utf8_lossy(signature));
    }
    // Where the processor starts: a far jump.
    assert_eq!(by_window[0xfff0], 0xea);
}

#[test]
fn a_device_answers_at_its_width() {
    let Some(_machine) = Machine::of(&[Kind::Qemu], "a_device_answers_at_its_width") else {
        return;
    };
    // qemu's `edu`, whose registers below 0x80 take accesses of four bytes alone.
    let (first, last, _) = pci_region("0x1234", "0x11e8", 0);
    let memory = PhysMem::options().writable().open().unwrap();
    let edu = memory.window(first..=last, RW).unwrap();
    assert_eq!(edu.read::<u32>(0).unwrap(), 0x0100_00ed);
    assert_ne!(edu.read::<u8>(0).unwrap(), 0xed, "an access of one byte is another");
    assert_ne!(edu.read::<u16>(0).unwrap(), 0x00ed);
    assert_ne!(edu.read::<u64>(0).unwrap() & 0xffff_ffff, 0x0100_00ed);
    // The register at 4 inverts what it is given: no other one is touched.
    edu.write(4, 0x1234_5678_u32).unwrap();
    assert_eq!(edu.read::<u32>(4).unwrap(), !0x1234_5678);
    assert_eq!(
        edu.registers::<u32>(0, 2).unwrap().collect::<Vec<_>>(),
        [0x0100_00ed, !0x1234_5678]
    );
    // The one at 8 takes its time to compute a factorial; bit 0 of the one at 0x20
    // says that it has not finished.
    edu.write(8, 5_u32).unwrap();
    edu.poll(0x20, Duration::from_secs(20), |status: u32| status & 1 == 0).unwrap();
    assert_eq!(edu.read::<u32>(8).unwrap(), 120);
    let never = edu.poll(0, Duration::from_millis(5), |id: u32| id == 0).unwrap_err();
    assert!(matches!(never, Error::Timeout { last: 0x0100_00ed, .. }), "{never}");
}

#[test]
fn a_devices_memory_is_shared_with_the_host() {
    let name = "a_devices_memory_is_shared_with_the_host";
    let Some(_machine) = Machine::of(&[Kind::Qemu], name) else { return };
    let (first, last, folder) = pci_region("0x1af4", "0x1110", 2);
    let memory = PhysMem::options().writable().open().unwrap();
    let shared = memory.window(first..=last, RW).unwrap();
    let mut bytes = [0; 16];
    shared.copy_to(0, &mut bytes).unwrap();
    assert_eq!(&bytes, SEEDED);
    shared.copy_from(0x1003, b"ANSWER-IVSHMEM--").unwrap();

    // Reading and writing do not reach it, and the error says what does.
    let beyond = memory.read(first, &mut bytes).unwrap_err();
    assert_eq!((beyond.rule(), beyond.errno()), (Some(&Rule::BeyondSeek), 14));
    assert!(beyond.to_string().contains("window"), "{beyond}");
    let beyond = memory.write(first, &bytes).unwrap_err();
    assert_eq!(beyond.rule(), Some(&Rule::BeyondSeek));

    // The same region by the file that sysfs has for it, whose offsets start with it.
    let resource = PhysMem::options().path(folder.join("resource2")).open().unwrap();
    let window = resource.window(0x1000..=0x1fff, Prot::READ).unwrap();
    window.copy_to(3, &mut bytes).unwrap();
    assert_eq!(&bytes, b"ANSWER-IVSHMEM--");
}

/// The kind of caching that the kernel lists for the page at `phys`.
fn caching(phys: u64) -> Option<String> {
    let list = fs::read_to_string("/sys/kernel/debug/x86/pat_memtype_list").unwrap();
    let start = format!("{phys:#018x}-");
    let line = list.lines().find(|line| line.contains(&start))?;
    Some(line.rsplit(' ').next().unwrap().to_owned())
}

#[test]
fn uncached_is_uncached() {
    let Some(machine) = Machine::of(&[Kind::Qemu], "uncached_is_uncached") else { return };
    let phys = machine.hidden + layout::SCRATCH;
    let range = phys..=phys + 0xfff;
    let uncached = PhysMem::open().unwrap();
    let cached = PhysMem::options().cached().open().unwrap();

    let window = uncached.window(range.clone(), Prot::READ).unwrap();
    assert_eq!(caching(phys).as_deref(), Some("uncached-minus"));
    drop(window);
    assert_eq!(caching(phys), None, "the window is gone");
    let window = cached.window(range.clone(), Prot::READ).unwrap();
    assert_eq!(caching(phys).as_deref(), Some("write-back"));

    // Both at once cannot be.
    let conflict = uncached.window(range, Prot::READ).unwrap_err();
    assert_eq!((conflict.rule(), conflict.errno()), (Some(&Rule::Caching), 11));
    assert!(conflict.to_string().contains("cached"), "{conflict}");
    drop(window);
}

#[test]
fn the_list_of_resources_is_this_machines() {
    let name = "the_list_of_resources_is_this_machines";
    let Some(machine) = Machine::of(&[Kind::Qemu], name) else { return };
    let list = Iomem::read().unwrap();
    assert!(!list.is_hidden());
    let hidden = machine.hidden;
    assert_eq!(list.at(hidden).unwrap().name(), "Reserved");
    assert_eq!(list.ram(hidden..=hidden + 0xff_ffff), Ram::None);
    assert_eq!(list.ram(hidden - 0x1000..=hidden - 1), Ram::All);
    assert_eq!(list.ram(hidden - 1..=hidden), Ram::Part);
    let (first, end, folder) = pci_region("0x1b36", "0x0010", 0);
    assert_eq!(list.driver(first), Some("nvme"));
    let path: Vec<_> = list.path(first).map(|resource| resource.name().to_owned()).collect();
    assert_eq!(path[1], folder.file_name().unwrap().to_str().unwrap(), "{path:?}");
    assert!(path[2].starts_with("PCI Bus"), "{path:?}");
    assert!(list.path(first).any(|resource| resource.span() == Span::new(first, end).unwrap()));
}
