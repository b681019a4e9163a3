//! The verbs of an executor: also the memory is as it was, or as the verb has made it.
//!
//! Each in a child process, which may be ended by what asks the kernel for its list or
//! copies the books: of that `Executor` says that it needs memory like the rest of std.
#![allow(unsafe_code, reason = "children, and bytes in the guest's memory")]

use super::WAYS;
use super::books::PAGE;
use super::counting::Failing;
use addrspace::{
    Error, ExecError, Executor, MapFlags, Memory, Placement, Prot, Remap, Reservation,
};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

const RW: Prot = Prot::READ.union(Prot::WRITE);
const ALL: u64 = 400;

/// An executor with something in it.
struct Guest {
    exec: Executor,
    start: u64,
    known: File,
    other: File,
    clean: addrspace::AddrSpace,
}

type Verb = fn(&mut Guest) -> Result<(), ExecError>;

/// Those that make plain calls: they never end the process.
const PLAIN: [(&str, Verb); 15] = [
    ("map anywhere", |g| {
        g.exec.map_any(PAGE, Memory::anonymous(RW), Placement::highest()).map(drop)
    }),
    ("map in a region", |g| g.at(1, 1, Memory::anonymous(Prot::READ))),
    ("map over many", |g| g.at(1, 60, Memory::anonymous(Prot::READ))),
    ("map shared memory", |g| g.at(201, 1, Memory::anonymous(RW).shared())),
    ("map a file", |g| {
        let memory = Memory::file(Prot::READ, &g.known, 0);
        g.exec.map_at(g.start + 201 * PAGE, PAGE, memory).map(drop)
    }),
    ("map a file that is new", |g| {
        let memory = Memory::file(Prot::READ, &g.other, 0);
        g.exec.map_at(g.start + 201 * PAGE, PAGE, memory).map(drop)
    }),
    ("unmap in a region", |g| g.exec.unmap(g.start + PAGE, PAGE)),
    ("unmap across gaps", |g| g.exec.unmap(g.start + PAGE, 60 * PAGE)),
    ("protect in a region", |g| g.exec.protect(g.start + PAGE, PAGE, Prot::READ)),
    ("protect many", |g| g.exec.protect(g.start + PAGE, 60 * PAGE, Prot::READ)),
    ("set flags", |g| {
        g.exec.set_flags(g.start + PAGE, 3 * PAGE, MapFlags::DONT_DUMP, MapFlags::empty())
    }),
    ("discard", |g| g.exec.discard(g.start, 3 * PAGE)),
    ("shrink", |g| g.exec.remap(g.start, 3 * PAGE, PAGE, Remap::in_place()).map(drop)),
    ("unmap what is not original", |g| g.exec.unmap_non_original()),
    ("restore", |g| {
        let clean = &g.clean;
        g.exec.restore(clean)
    }),
];

/// Those that ask for the kernel's list, or copy the books for readers.
const ASKING: [(&str, Verb); 4] = [
    ("move", |g| g.to(0, 3, 300)),
    ("move onto something", |g| g.to(0, 3, 20)),
    ("move a region of several", |g| g.to(5, 2, 300)),
    ("publish", |g| {
        let _reader = g.exec.reader();
        g.exec.unmap(g.start + PAGE, PAGE)
    }),
];

impl Guest {
    /// Regions of three pages with a page between them, `regions` of them, the first
    /// half original, and a file behind.
    fn new(regions: u64) -> Self {
        let mut exec = Executor::new(Reservation::new(ALL * PAGE).unwrap()).unwrap();
        let start = exec.space().span().unwrap().start();
        let known = File::open("/proc/self/exe").unwrap();
        let other = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        for nth in 0..regions {
            let prot = if nth % 2 == 0 { RW } else { RW | Prot::EXEC };
            let addr = start + 4 * nth * PAGE;
            let region = exec.map_at(addr, 3 * PAGE, Memory::anonymous(prot)).unwrap();
            for page in 0..3_usize {
                // SAFETY: the page was mapped just now, and nobody else knows of it.
                unsafe { region.wrapping_add(page * 0x1000).write(u8::try_from(nth + 1).unwrap()) };
            }
            if nth == regions / 2 {
                exec.mark_original();
            }
        }
        let clean = exec.space().clone();
        exec.map_at(start + 200 * PAGE, PAGE, Memory::file(Prot::READ, &known, 0)).unwrap();
        // As many files as the tables of them have room for: one more, and they grow.
        for page in [204, 206] {
            exec.map_at(start + page * PAGE, PAGE, Memory::anonymous(RW).shared()).unwrap();
        }
        exec.unmap(start + 8 * PAGE, PAGE).unwrap();
        Self { exec, start, known, other, clean }
    }

    fn at(&mut self, page: u64, pages: u64, memory: Memory<'_>) -> Result<(), ExecError> {
        self.exec.map_at(self.start + page * PAGE, pages * PAGE, memory).map(drop)
    }

    fn to(&mut self, from: u64, pages: u64, to: u64) -> Result<(), ExecError> {
        let how = Remap::to(self.start + to * PAGE);
        self.exec.remap(self.start + from * PAGE, pages * PAGE, pages * PAGE, how).map(drop)
    }

    /// The first byte of each page that can be read.
    fn bytes(&self) -> Vec<Option<u8>> {
        let byte = |page| {
            let addr = self.start + page * PAGE;
            self.exec.query(addr).filter(|region| region.prot.contains(Prot::READ))?;
            let pointer = self.exec.pointer(addr)?;
            // SAFETY: the books, which the kernel's list was compared with, say that it
            // can be read.
            Some(unsafe { pointer.read() })
        };
        (0..ALL).map(byte).collect()
    }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// There was memory enough.
    Done,
    /// The verb said that there was not, and nothing had changed.
    Unchanged,
    /// It went on without, or something else was the matter; books and memory agree.
    Agreed,
    Aborted,
}

/// Runs the verb with `failing`, and looks at what is left.
fn attempt(regions: u64, verb: Verb, failing: fn(u64) -> Failing, allowed: u64) -> Ended {
    let mut guest = Guest::new(regions);
    assert_eq!(guest.exec.verify().unwrap(), []);
    let (before, bytes) = (guest.exec.space().clone(), guest.bytes());
    let failing = failing(allowed);
    let answer = verb(&mut guest);
    let failed = failing.end();
    guest.exec.space().check();
    assert_eq!(guest.exec.verify().unwrap(), [], "books and memory differ: {answer:?}");
    match answer {
        Ok(()) if failed => Ended::Agreed,
        Ok(()) => Ended::Done,
        Err(ExecError::Refused(Error::NoMemory { .. })) => {
            assert!(failed && *guest.exec.space() == before, "the books have changed");
            assert_eq!(guest.bytes(), bytes, "the memory has changed");
            Ended::Unchanged
        }
        Err(error) => {
            assert!(failed, "{error}");
            Ended::Agreed
        }
    }
}

/// The same in a child, which a missing allocation may end if it is `quiet`.
fn ended(what: &str, quiet: bool, run: impl FnOnce() -> Ended) -> Ended {
    // SAFETY: the child only runs `run` and ends.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "no child");
    if child == 0 {
        if quiet {
            // SAFETY: nobody but what says that there is no memory writes there.
            unsafe { libc::close(libc::STDERR_FILENO) };
        }
        let status = match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ended::Done) => 0,
            Ok(Ended::Unchanged) => 1,
            Ok(_) => 2,
            Err(_) => 101,
        };
        // SAFETY: it returns to nobody.
        unsafe { libc::_exit(status) };
    }
    let mut status = 0;
    // SAFETY: the child is ours, and the pointer to a local.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    if libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGABRT {
        return Ended::Aborted;
    }
    assert!(libc::WIFEXITED(status), "{what}: {status}");
    match libc::WEXITSTATUS(status) {
        0 => Ended::Done,
        1 => Ended::Unchanged,
        2 => Ended::Agreed,
        other => panic!("{what}: the child ended with {other}"),
    }
}

/// Lets each allocation of each verb fail, and answers how often what came of it.
fn starve(verbs: &[(&str, Verb)], quiet: bool) -> Vec<(String, Ended)> {
    let mut all = Vec::new();
    for (regions, (name, verb)) in
        [2, 16, 31, 50].into_iter().flat_map(|r| verbs.iter().map(move |v| (r, v)))
    {
        for (way, failing) in WAYS.into_iter().enumerate() {
            for allowed in 0.. {
                let what = format!("{name}, {regions} regions, way {way}, {allowed} allocations");
                let ended = ended(&what, quiet, || attempt(regions, *verb, failing, allowed));
                all.push((what, ended));
                if ended == Ended::Done {
                    break;
                }
            }
        }
    }
    all
}

#[test]
fn plain_verbs_change_neither_books_nor_memory() {
    let all = starve(&PLAIN, false);
    let odd: Vec<_> =
        all.iter().filter(|(_, e)| matches!(e, Ended::Aborted | Ended::Agreed)).collect();
    assert!(odd.is_empty(), "{odd:#?}");
    let unchanged = all.iter().filter(|(_, ended)| *ended == Ended::Unchanged).count();
    assert!(unchanged > 30, "{unchanged} times there was no memory");
}

/// Until the first call they may say that there is no memory; then they end the process.
#[test]
fn what_asks_the_kernel_or_copies_is_done_refused_or_aborted() {
    let all = starve(&ASKING, true);
    let count = |which| all.iter().filter(|(_, ended)| *ended == which).count();
    let [done, unchanged, aborted] = [Ended::Done, Ended::Unchanged, Ended::Aborted].map(count);
    assert_eq!(done + unchanged + aborted, all.len(), "{all:#?}");
    assert!(done > 20 && unchanged > 20 && aborted > 0, "{done}, {unchanged}, {aborted}");
}
