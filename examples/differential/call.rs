//! A memory call as the kernel gets it.

use core::fmt;

/// Which call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Mmap,
    Munmap,
    Mprotect,
    Mremap,
    Madvise,
}

/// A call with its arguments as they are, right or wrong.
///
/// Of `mmap` the descriptor is the number of a file of ours, or [`NO_FILE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: Name,
    pub(crate) args: [u64; 6],
}

/// The descriptor that nobody has.
pub(crate) const NO_FILE: u64 = u64::MAX;

// The values of Linux on all architectures but a few old ones.
pub(crate) const SHARED: u64 = 1;
pub(crate) const PRIVATE: u64 = 2;
pub(crate) const MAP_TYPE: u64 = 0xf;
pub(crate) const FIXED: u64 = 0x10;
pub(crate) const ANONYMOUS: u64 = 0x20;
pub(crate) const NO_RESERVE: u64 = 0x4000;
pub(crate) const POPULATE: u64 = 0x8000;
pub(crate) const NO_REPLACE: u64 = 0x10_0000;

pub(crate) const MAY_MOVE: u64 = 1;
pub(crate) const MOVE_FIXED: u64 = 2;
pub(crate) const DONT_UNMAP: u64 = 4;

/// `PROT_READ | PROT_WRITE | PROT_EXEC`.
pub(crate) const ACCESS: u64 = 7;
pub(crate) const WRITE: u64 = 2;

pub(crate) const DONT_FORK: u64 = 10;
pub(crate) const DO_FORK: u64 = 11;
pub(crate) const DONT_DUMP: u64 = 16;
pub(crate) const DO_DUMP: u64 = 17;
pub(crate) const POPULATE_READ: u64 = 22;
pub(crate) const POPULATE_WRITE: u64 = 23;

impl Call {
    pub(crate) const fn new(name: Name, args: [u64; 6]) -> Self {
        Self { name, args }
    }

    /// The number of the system call.
    pub(crate) const fn number(&self) -> libc::c_long {
        match self.name {
            Name::Mmap => libc::SYS_mmap,
            Name::Munmap => libc::SYS_munmap,
            Name::Mprotect => libc::SYS_mprotect,
            Name::Mremap => libc::SYS_mremap,
            Name::Madvise => libc::SYS_madvise,
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [addr, len, third, fourth, fifth, last] = self.args;
        match self.name {
            Name::Mmap => {
                let (prot, flags) = (Bits(third, &PROTECTIONS), Bits(fourth, &MAP_FLAGS));
                let file = if fifth == NO_FILE { "-1".to_owned() } else { format!("file {fifth}") };
                write!(f, "mmap({addr:#x}, {len:#x}, {prot}, {flags}, {file}, {last:#x})")
            }
            Name::Munmap => write!(f, "munmap({addr:#x}, {len:#x})"),
            Name::Mprotect => {
                write!(f, "mprotect({addr:#x}, {len:#x}, {})", Bits(third, &PROTECTIONS))
            }
            Name::Mremap => {
                let flags = Bits(fourth, &MOVE_FLAGS);
                write!(f, "mremap({addr:#x}, {len:#x}, {third:#x}, {flags}, {fifth:#x})")
            }
            Name::Madvise => write!(f, "madvise({addr:#x}, {len:#x}, {third})"),
        }
    }
}

const PROTECTIONS: [(u64, &str); 3] = [(1, "READ"), (WRITE, "WRITE"), (4, "EXEC")];
const MAP_FLAGS: [(u64, &str); 7] = [
    (SHARED, "SHARED"),
    (PRIVATE, "PRIVATE"),
    (FIXED, "FIXED"),
    (ANONYMOUS, "ANONYMOUS"),
    (NO_RESERVE, "NORESERVE"),
    (POPULATE, "POPULATE"),
    (NO_REPLACE, "FIXED_NOREPLACE"),
];
const MOVE_FLAGS: [(u64, &str); 3] =
    [(MAY_MOVE, "MAYMOVE"), (MOVE_FIXED, "FIXED"), (DONT_UNMAP, "DONTUNMAP")];

/// Bits by their names; what is left as a number.
struct Bits<'a>(u64, &'a [(u64, &'a str)]);

impl fmt::Display for Bits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0;
        let mut joint = "";
        for (bit, name) in self.1 {
            if left & bit != 0 {
                write!(f, "{joint}{name}")?;
                joint = "|";
                left &= !bit;
            }
        }
        if left != 0 || joint.is_empty() { write!(f, "{joint}{left:#x}") } else { Ok(()) }
    }
}
