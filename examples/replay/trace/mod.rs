//! The recorded traces: their records as types, and a reader that streams them.
//!
//! The format is described in `tests/traces/README.md`. This module knows
//! nothing of the library or of the replay, so that other programs can include
//! it as it stands:
//!
//! ```ignore
//! #[path = "../examples/replay/trace/mod.rs"]
//! mod trace;
//! ```

mod error;
mod fields;
mod reader;

pub(crate) use error::{Problem, TraceError};
pub(crate) use reader::Trace;

/// What one record of a trace says.
///
/// The lists that belong to a record are lent by the reader until the next
/// record is read: [`Trace::deltas`] after [`Event::Call`] and [`Event::Gap`],
/// [`Trace::areas`] after [`Event::Snapshot`].
#[derive(Debug)]
pub(crate) enum Event {
    /// One memory call.
    Call(Call),
    /// The kernel's list of address space `mm` changed outside a checked call.
    Gap {
        /// The address space.
        mm: u32,
    },
    /// The kernel's whole list of address space `mm`.
    Snapshot {
        /// The address space.
        mm: u32,
        /// The occasion.
        kind: Kind,
        /// The lowest program break, where the snapshot names it.
        start_brk: u64,
    },
    /// Thread `tid` is gone.
    ThreadExit {
        /// The thread.
        tid: u32,
    },
}

/// The occasion of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A program was just loaded.
    Exec,
    /// The space was just copied.
    Fork,
    /// The last user of the space is about to leave.
    Exit,
}

/// One memory call: what the program asked, and what the kernel answered.
#[derive(Debug)]
pub(crate) struct Call {
    /// Whether the changes that follow are exactly those of this call.
    pub(crate) checked: bool,
    /// The calling thread.
    pub(crate) tid: u32,
    /// The caller's address space. 0 is never recorded: ignore it.
    pub(crate) mm: u32,
    /// Which call.
    pub(crate) name: Name,
    /// The raw arguments; those that are not recorded are 0.
    pub(crate) args: [u64; 6],
    /// The answer.
    pub(crate) outcome: Outcome,
    /// What the arguments alone do not say.
    pub(crate) extra: Extra,
}

/// The calls that a replay must tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// `mmap`
    Mmap,
    /// `munmap`
    Munmap,
    /// `mprotect` and `pkey_mprotect`
    Mprotect,
    /// `mremap`
    Mremap,
    /// `brk`
    Brk,
    /// `madvise`
    Madvise,
    /// `process_madvise`
    ProcessMadvise,
    /// `mseal`
    Mseal,
    /// `shmat`
    Shmat,
    /// `shmdt`
    Shmdt,
    /// `remap_file_pages`
    RemapFilePages,
    /// `map_shadow_stack`
    MapShadowStack,
    /// `personality`
    Personality,
    /// `prctl`
    Prctl,
    /// `clone`, `clone3`, `fork` and `vfork`
    Clone,
    /// `execve` and `execveat`
    Exec,
    /// Any other call; none of them changes what is mapped where.
    Other,
}

/// What the kernel answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Success, with this value.
    Done(u64),
    /// A refusal, with this error number (positive).
    Refused(u32),
    /// Unknown: the thread was killed inside the call.
    Unknown,
}

/// The keys behind the answer of a call.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    /// The object that was mapped.
    pub(crate) object: Option<Object>,
    /// Whether the descriptor was opened without permission to write.
    pub(crate) read_only: bool,
    /// The length of the shared-memory segment, in bytes.
    pub(crate) len: Option<u64>,
    /// The thread that `clone` made.
    pub(crate) child: Option<u32>,
    /// The address space of the new thread or the new program.
    pub(crate) child_mm: Option<u32>,
    /// The thread's number after `execve`.
    pub(crate) exec_tid: Option<u32>,
    /// The ranges of `process_madvise`: address and length.
    pub(crate) ranges: Vec<(u64, u64)>,
    /// The process that `process_madvise` speaks about.
    pub(crate) target: Option<u32>,
}

/// What pages show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Object {
    /// Plain anonymous memory; heap, stack and named anonymous memory too.
    Anonymous,
    /// A special mapping of the kernel (`[vdso]` and its like), by its number
    /// in the trace. It has no offsets.
    Special(u32),
    /// A file, by its number in the trace.
    File(u32),
}

/// One line of a kernel list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    /// The first byte.
    pub(crate) start: u64,
    /// The byte after the last.
    pub(crate) end: u64,
    /// Read 1, write 2, execute 4, as `PROT_*`.
    pub(crate) prot: u32,
    /// Whether the mapping is shared.
    pub(crate) shared: bool,
    /// What it shows.
    pub(crate) object: Object,
    /// The offset into the object, in bytes.
    pub(crate) offset: u64,
    /// The flags of `/proc/PID/smaps`, where the trace has them.
    pub(crate) flags: Option<VmFlags>,
}

bitflags::bitflags! {
    /// Those `VmFlags` of `/proc/PID/smaps` that later calls depend on.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct VmFlags: u32 {
        /// `mr`: may be made readable.
        const MAY_READ = 1;
        /// `mw`: may be made writable.
        const MAY_WRITE = 1 << 1;
        /// `me`: may be made executable.
        const MAY_EXEC = 1 << 2;
        /// `gd`: grows downwards.
        const GROWS_DOWN = 1 << 3;
        /// `dc`: not copied by `fork`.
        const DONT_FORK = 1 << 4;
        /// `dd`: left out of core dumps.
        const DONT_DUMP = 1 << 5;
        /// `wf`: wiped by `fork`.
        const WIPE_ON_FORK = 1 << 6;
        /// `nr`: no swap space is set aside.
        const NO_RESERVE = 1 << 7;
        /// `io`: memory of a device, or the kernel's own.
        const IO = 1 << 8;
        /// `de`: must not grow.
        const DONT_EXPAND = 1 << 9;
        /// `pf`: page frames without a `struct page`.
        const PAGE_FRAMES = 1 << 10;
        /// `sl`: sealed.
        const SEALED = 1 << 11;
    }
}

/// One change of a kernel list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delta {
    /// The area that started here is gone.
    Gone(u64),
    /// The area that starts where this one starts is now this one.
    Now(Area),
}

/// How an object is shown to people.
#[derive(Clone, Debug, Default)]
pub(crate) struct ObjectName {
    /// Major and minor number of the device, as text.
    pub(crate) device: String,
    /// The file's number on the device; 0 for a label.
    pub(crate) inode: u64,
    /// The path, or the label.
    pub(crate) path: String,
}
