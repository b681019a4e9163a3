//! The machine that the tests run in, as its first process announces it.

use std::env;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

/// What `tests/vm/run` has put into the memory that the kernel does not have: offsets
/// from its start.
pub(crate) mod layout {
    /// `SEED`, by the host.
    pub(crate) const SEED: u64 = 0;
    /// Where each test leaves its answer for the host.
    pub(crate) const WINDOW: u64 = 0x6000;
    pub(crate) const SEEK: u64 = 0x2000;
    pub(crate) const MAPPED: u64 = 0x3000;
    pub(crate) const EXECUTOR: u64 = 0x4000;
    /// A page for everybody's use, at a time.
    pub(crate) const SCRATCH: u64 = 0xa000;
    /// Random bytes by the host, which compares the dump of them.
    pub(crate) const RANDOM: u64 = 0x1_0000;
    pub(crate) const RANDOM_LEN: u64 = 0x4_0000;
}

pub(crate) const SEEDED: &[u8; 16] = b"SEEDED-BY-HOST!!";

/// A virtual machine of `tests/vm/run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// user-mode-linux: any memory may be accessed, nothing of a PC is there.
    Uml,
    /// qemu with a distribution's kernel: all the rules.
    Qemu,
    /// The same, locked down.
    Locked,
}

/// The machine, and the test that runs in it. When it is dropped in peace, the test
/// was done, and says so.
pub(crate) struct Machine {
    test: &'static str,
    pub(crate) kind: Kind,
    /// Memory that the kernel does not have and that the host looks into.
    pub(crate) hidden: u64,
    /// A folder on ext4.
    pub(crate) disk: PathBuf,
}

impl Machine {
    /// This machine if it is one of `kinds`; else it is said what was not tested.
    pub(crate) fn of(kinds: &[Kind], test: &'static str) -> Option<Self> {
        let kind = match env::var("VM_KIND").as_deref() {
            Ok("uml") => Some(Kind::Uml),
            Ok("qemu") => Some(Kind::Qemu),
            Ok("locked") => Some(Kind::Locked),
            Ok(other) => panic!("what is {other}?"),
            Err(_) => None,
        };
        if let Some(kind) = kind.filter(|kind| kinds.contains(kind)) {
            let hidden = env::var("VM_HIDDEN").expect("announced in every machine");
            let hidden = u64::from_str_radix(hidden.trim_start_matches("0x"), 16).unwrap();
            let disk = env::var_os("VM_DISK").expect("every machine has a disk").into();
            return Some(Self { test, kind, hidden, disk });
        }
        // Not by a macro, whose output the test harness would keep.
        let what = format!("SKIPPED-NOT-TESTED {test}: needs {kinds:?} of tests/vm/run\n");
        std::io::stderr().write_all(what.as_bytes()).unwrap();
        None
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let line = format!("\nVM-DONE {}\n", self.test);
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        }
    }
}

/// The first and last address of region `nth` of the PCI device, and its folder.
pub(crate) fn pci_region(vendor: &str, device: &str, nth: usize) -> (u64, u64, PathBuf) {
    for folder in fs::read_dir("/sys/bus/pci/devices").unwrap() {
        let folder = folder.unwrap().path();
        let is = |file: &str, value: &str| {
            fs::read_to_string(folder.join(file)).unwrap().trim() == value
        };
        if is("vendor", vendor) && is("device", device) {
            let regions = fs::read_to_string(folder.join("resource")).unwrap();
            let mut words = regions.lines().nth(nth).unwrap().split(' ');
            let mut hex =
                || u64::from_str_radix(words.next().unwrap().trim_start_matches("0x"), 16).unwrap();
            return (hex(), hex(), folder);
        }
    }
    panic!("no device {vendor}:{device}")
}
