//! Every refusal names region, rule and way out.

use crate::machine::{Kind, Machine, layout, pci_region};
use addrspace::Prot;
use addrspace::phys::{Error, Frame, Iomem, Pagemap, PhysMem, Rule};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

const BOTH: [Kind; 2] = [Kind::Uml, Kind::Qemu];

/// Runs `act` in a thread without `lost`.
fn without<T: Send>(lost: CapabilitySet, act: impl FnOnce() -> T + Send) -> T {
    let run = || {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(lost);
        set_capabilities(None, sets).unwrap();
        act()
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}

#[test]
fn memory_of_the_kernel_is_refused_by_name() {
    let name = "memory_of_the_kernel_is_refused_by_name";
    let Some(machine) = Machine::of(&[Kind::Qemu], name) else { return };
    let memory = PhysMem::options().writable().open().unwrap();
    let ram = machine.hidden - 0x2000;
    let mut bytes = [0; 16];
    // The range that is half ours is refused as a whole.
    let refusals = [
        memory.window(ram..=ram + 0xfff, Prot::READ).map(drop),
        memory.window(ram + 0x1000..=ram + 0x2fff, Prot::READ).map(drop),
        memory.read(ram, &mut bytes),
        memory.write(ram, &bytes),
    ];
    for refused in refusals {
        let refused = refused.unwrap_err();
        let words = refused.to_string();
        assert_eq!((refused.errno(), refused.rule()), (1, Some(&Rule::StrictDevmem)), "{words}");
        for part in ["`System RAM`", "CONFIG_STRICT_DEVMEM", "memmap="] {
            assert!(words.contains(part), "{words}");
        }
        let Error::Refused { why, done: 0, .. } = refused else { panic!("{words}") };
        let (region, _) = why.region.unwrap();
        assert!(region.contains(ram), "{words}");
    }
}

#[test]
fn registers_of_a_driver_are_refused_by_name() {
    let name = "registers_of_a_driver_are_refused_by_name";
    let Some(_machine) = Machine::of(&[Kind::Qemu], name) else { return };
    let (first, ..) = pci_region("0x1b36", "0x0010", 0);
    let memory = PhysMem::open().unwrap();
    let refused = memory.window(first..=first + 0xfff, Prot::READ).unwrap_err();
    let words = refused.to_string();
    let driver = Some("nvme".to_owned());
    assert_eq!(refused.rule(), Some(&Rule::IoStrictDevmem { driver }), "{words}");
    for part in ["`nvme`", "CONFIG_IO_STRICT_DEVMEM", "iomem=relaxed", "unbind"] {
        assert!(words.contains(part), "{words}");
    }
}

#[test]
fn no_such_address() {
    let Some(_machine) = Machine::of(&[Kind::Qemu], "no_such_address") else { return };
    let memory = PhysMem::open().unwrap();
    for phys in [1_u64 << 52, 1 << 63, u64::MAX - 0xfff] {
        let refused = memory.window(phys..=phys + 0xfff, Prot::READ).unwrap_err();
        assert_eq!(refused.rule(), Some(&Rule::NoSuchAddress), "{refused}");
        let refused = memory.read(phys, &mut [0; 4]).unwrap_err();
        assert_eq!(refused.rule(), Some(&Rule::BeyondSeek), "{refused}");
    }
}

#[test]
fn without_privilege_the_rule_is_named() {
    let name = "without_privilege_the_rule_is_named";
    let Some(machine) = Machine::of(&BOTH, name) else { return };
    // What was opened before goes on.
    let memory = PhysMem::open().unwrap();
    let hidden = machine.hidden + layout::SEED;
    without(CapabilitySet::SYS_RAWIO, move || {
        let refused = PhysMem::open().unwrap_err();
        let words = refused.to_string();
        assert_eq!((refused.errno(), refused.rule()), (1, Some(&Rule::Capability)), "{words}");
        assert!(words.contains("CAP_SYS_RAWIO") && words.contains("/dev/mem"), "{words}");
        memory.window(hidden..=hidden + 0xfff, Prot::READ).unwrap();
    });
    // The mode of the node, for those whom it does concern.
    let to_nobody = || {
        // By the bare call, which changes this thread alone.
        // SAFETY: it changes who the thread is, and no memory.
        assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) }, 0);
        let refused = PhysMem::open().unwrap_err();
        assert_eq!((refused.errno(), refused.rule()), (13, Some(&Rule::Permissions)), "{refused}");
    };
    std::thread::scope(|scope| scope.spawn(to_nobody).join().unwrap());

    // Frames are hidden, and so are addresses.
    let byte = Box::new(1_u8);
    let addr = (&raw const *byte).addr() as u64;
    without(CapabilitySet::SYS_ADMIN, || {
        let page = Pagemap::of_self().unwrap().page(addr).unwrap();
        assert_eq!(page.frame, Frame::Hidden);
        let refused = Pagemap::of_self().unwrap().translate(addr).unwrap_err();
        assert!(refused.to_string().contains("CAP_SYS_ADMIN"), "{refused}");
        if machine.kind == Kind::Qemu {
            assert!(Iomem::read().unwrap().is_hidden());
        }
    });
    Pagemap::of_self().unwrap().translate(addr).unwrap();
}

#[test]
fn a_missing_node_and_a_missing_driver_are_told_apart() {
    let name = "a_missing_node_and_a_missing_driver_are_told_apart";
    let Some(_machine) = Machine::of(&BOTH, name) else { return };
    let refused = PhysMem::options().path("/dev/no-mem").open().unwrap_err();
    assert_eq!(refused.rule(), Some(&Rule::NoNode), "{refused}");
    let path = "/run/no-driver";
    let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::RUSR);
    // A major number that nobody has.
    let device = rustix::fs::makedev(243, 77);
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, device).unwrap();
    let refused = PhysMem::options().path(path).open().unwrap_err();
    std::fs::remove_file(path).unwrap();
    assert_eq!((refused.errno(), refused.rule()), (6, Some(&Rule::NoDriver)), "{refused}");
    assert!(refused.to_string().contains("CONFIG_DEVMEM"));
}

#[test]
fn lockdown_is_named() {
    let Some(_machine) = Machine::of(&[Kind::Locked], "lockdown_is_named") else { return };
    let refused = PhysMem::open().unwrap_err();
    let rule = Rule::Lockdown(Some("integrity".to_owned()));
    assert_eq!((refused.errno(), refused.rule()), (1, Some(&rule)), "{refused}");
    assert!(refused.to_string().contains("lockdown"), "{refused}");
}
