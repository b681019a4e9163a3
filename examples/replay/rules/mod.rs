//! The kernel's rules: what each call does to the books.
//!
//! From the trace come the arguments, the answer and the object of a call, and
//! nothing else; the one exception is named in [`remap`]. A call that changes
//! no mapping changes nothing here.

mod advise;
mod map;
mod protect;
mod remap;
mod segment;

use std::collections::{HashMap, HashSet};

use addrspace::{Error, PageSize};

use super::books::Books;
use super::kernel::KernelList;
use super::trace::{Call, Name, Outcome};

/// `ENOMEM`, `EACCES`, `EPERM` and `EINVAL`, as they stand in traces.
const EPERM: u32 = 1;
const ENOMEM: u32 = 12;
const EACCES: u32 = 13;
const EINVAL: u32 = 22;

/// One address space: its books and what the kernel keeps beside the list.
#[derive(Debug)]
pub(crate) struct Memory {
    /// The books under test.
    pub(crate) books: Books,
    /// The program break, in bytes.
    pub(crate) brk: u64,
    /// Whether memory that was not executable may not become so, and none may
    /// be writable and executable (`PR_SET_MDWE`).
    pub(crate) no_exec_gain: bool,
    /// Whether a child does not inherit that.
    pub(crate) no_exec_gain_ends: bool,
}

impl Memory {
    /// The memory of a program just loaded.
    pub(crate) fn new(books: Books, brk: u64) -> Self {
        Self { books, brk, no_exec_gain: false, no_exec_gain_ends: false }
    }

    /// The memory of a new child.
    pub(crate) fn fork(&mut self) -> Self {
        Self {
            books: self.books.fork(),
            brk: self.brk,
            no_exec_gain: self.no_exec_gain && !self.no_exec_gain_ends,
            no_exec_gain_ends: self.no_exec_gain_ends,
        }
    }
}

/// What belongs to no single address space.
#[derive(Debug)]
pub(crate) struct System {
    /// The size of a page.
    pub(crate) page: PageSize,
    /// The shared-memory segments, by object, with their lengths in bytes.
    pub(crate) segments: HashMap<u32, u64>,
    /// The threads for which readable memory is executable (`personality`).
    pub(crate) read_implies_exec: HashSet<u32>,
    /// How many refused `MREMAP_FIXED` had done something, and were told by
    /// the trace how much.
    pub(crate) told_how_far: u64,
}

impl System {
    /// A system on which nothing has happened yet.
    pub(crate) fn new(page: PageSize) -> Self {
        Self { page, segments: HashMap::new(), read_implies_exec: HashSet::new(), told_how_far: 0 }
    }

    /// The bytes of whole pages that `len` bytes need.
    fn pages(&self, len: u64) -> Option<u64> {
        self.page.round_up(len)
    }
}

/// Does to the books what the kernel did in this call.
///
/// `after` is the kernel's list when the call had returned, if the call changed
/// it. Only a refused `MREMAP_FIXED` looks at it.
///
/// # Errors
///
/// If the library refuses what the kernel did. The comparison that follows says
/// what is missing.
pub(crate) fn apply(
    memory: &mut Memory,
    system: &mut System,
    call: &Call,
    after: Option<&KernelList>,
) -> Result<(), Error> {
    match call.outcome {
        Outcome::Done(value) => done(memory, system, call, value),
        Outcome::Refused(errno) => match call.name {
            Name::Mprotect => protect::refused(memory, system, call, errno),
            Name::Madvise => advise::refused(memory, system, call, errno),
            Name::Mremap => {
                after.map_or(Ok(()), |after| remap::refused(memory, system, call, after))
            }
            _ => Ok(()),
        },
        // It may have been done or not. The trace says which in a later record.
        Outcome::Unknown => Ok(()),
    }
}

fn done(memory: &mut Memory, system: &mut System, call: &Call, value: u64) -> Result<(), Error> {
    match call.name {
        Name::Mmap => map::mmap(memory, system, call, value),
        Name::Munmap => memory.books.unmap(call.args[0], call.args[1]),
        Name::Brk => map::brk(memory, system, call, value),
        Name::RemapFilePages => map::remap_file_pages(memory, system, call),
        Name::MapShadowStack => map::shadow_stack(memory, system, call, value),
        Name::Mprotect => protect::done(memory, system, call),
        Name::Mremap => remap::done(memory, system, call, value),
        Name::Madvise => advise::done(memory, system, call),
        Name::ProcessMadvise => advise::process(memory, system, call, value),
        Name::Mseal => advise::seal(memory, system, call),
        Name::Shmat => segment::attach(memory, system, call, value),
        Name::Shmdt => segment::detach(memory, system, call),
        Name::Personality => {
            personality(system, call);
            Ok(())
        }
        Name::Prctl => {
            prctl(memory, call);
            Ok(())
        }
        // The session does these: they are about more than one space.
        Name::Clone | Name::Exec | Name::Other => Ok(()),
    }
}

/// `personality(2)`: one bit of it changes what `mmap` and `mprotect` do.
fn personality(system: &mut System, call: &Call) {
    const READ_IMPLIES_EXEC: u64 = 0x0040_0000;
    const ASK: u64 = 0xffff_ffff;
    // The argument is 32 bits wide; what stands above is not looked at.
    let persona = call.args[0] & ASK;
    if persona == ASK {
        return;
    }
    if persona & READ_IMPLIES_EXEC == 0 {
        system.read_implies_exec.remove(&call.tid);
    } else {
        system.read_implies_exec.insert(call.tid);
    }
}

/// `prctl(2)`: two of its options change what later calls do.
fn prctl(memory: &mut Memory, call: &Call) {
    const SET_MM: u64 = 35;
    const SET_MM_BRK: u64 = 7;
    const SET_MDWE: u64 = 65;
    const MDWE_NO_INHERIT: u64 = 2;
    match call.args {
        [SET_MM, SET_MM_BRK, addr, ..] => memory.brk = addr,
        [SET_MDWE, bits, ..] => {
            memory.no_exec_gain = bits & 1 != 0;
            memory.no_exec_gain_ends = bits & MDWE_NO_INHERIT != 0;
        }
        _ => {}
    }
}
