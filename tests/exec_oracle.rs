//! The kernel is the oracle: the same random operations, done by an executor and, in
//! a forked child at the same addresses, by plain system calls, give one layout.
#![cfg(all(feature = "exec", target_os = "linux"))]
#![allow(
    unsafe_code,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::multiple_unsafe_ops_per_block,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test of system calls: a panic is a failure"
)]

mod exec_model;
#[path = "exec_model/generate.rs"]
mod generate;

use addrspace::{Error, ExecError, MapFlags, Prot, Reservation, Span, Syscall, Update};
use exec_model::{Kind, Mem, Op, PAGE, PAGES, Target, Where, World};
use generate::{UNKNOWN, op};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::{Arc, Mutex};

/// A plain system call.
#[derive(Clone, Debug)]
enum Plain {
    Map { addr: u64, len: u64, mem: Mem, replace: bool },
    Unmap(Span),
    Protect(Span, Prot),
    Remap { addr: u64, old: u64, new: u64, flags: i32, to: u64 },
}

/// What is done in the child for one operation, and what the executor answered.
#[derive(Debug)]
struct Step {
    op: Op,
    calls: Vec<Plain>,
    /// An error number, or 0.
    answer: i32,
    layout: String,
}

fn pointer(addr: u64) -> *mut libc::c_void {
    std::ptr::with_exposed_provenance_mut(usize::try_from(addr).unwrap())
}

impl Plain {
    /// Makes the call and answers its error number, or 0.
    fn make(&self, files: &[i32]) -> i32 {
        let size = |len: u64| usize::try_from(len).unwrap();
        let bits = |prot: Prot| i32::try_from(prot.bits()).unwrap();
        // SAFETY: the child has these addresses to itself.
        let failed = unsafe {
            match self {
                Self::Map { addr, len, mem, replace } => {
                    let mut flags =
                        if *replace { libc::MAP_FIXED } else { libc::MAP_FIXED_NOREPLACE };
                    flags |= if mem.shared { libc::MAP_SHARED } else { libc::MAP_PRIVATE };
                    let (fd, offset) = match mem.kind {
                        Kind::Anonymous => (-1, 0),
                        Kind::File { nth, page } => (files[nth], page * PAGE),
                    };
                    flags |= if fd == -1 { libc::MAP_ANONYMOUS } else { 0 };
                    let offset = i64::try_from(offset).unwrap();
                    let prot = bits(mem.prot);
                    libc::mmap(pointer(*addr), size(*len), prot, flags, fd, offset)
                        == libc::MAP_FAILED
                }
                Self::Unmap(span) => {
                    libc::munmap(pointer(span.start()), size(span.len().unwrap())) != 0
                }
                Self::Protect(span, prot) => {
                    let len = size(span.len().unwrap());
                    libc::mprotect(pointer(span.start()), len, bits(*prot)) != 0
                }
                Self::Remap { addr, old, new, flags, to } => {
                    let to = pointer(*to);
                    libc::mremap(pointer(*addr), size(*old), size(*new), *flags, to)
                        == libc::MAP_FAILED
                }
            }
        };
        if failed { std::io::Error::last_os_error().raw_os_error().unwrap() } else { 0 }
    }
}

/// What the kernel has in `span`, without what may be a reservation, as text in
/// which neighbours that continue each other are one.
fn layout(span: Span, inodes: &mut HashMap<String, usize>) -> String {
    let mut lines: Vec<(u64, u64, String, u64)> = Vec::new();
    for line in fs::read_to_string("/proc/self/maps").unwrap().lines() {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next().unwrap().split_once('-').unwrap();
        let hex = |digits: &str| u64::from_str_radix(digits, 16).unwrap();
        let (start, end) = (hex(start).max(span.start()), hex(end).min(span.last() + 1));
        if start >= end {
            continue;
        }
        let perms = fields.next().unwrap();
        let offset = hex(fields.next().unwrap());
        let (_, inode) = (fields.next(), fields.next().unwrap());
        if perms == "---p" && inode == "0" {
            continue;
        }
        let next = inodes.len();
        let anonymous = inode == "0";
        let number =
            if anonymous { 0 } else { *inodes.entry(inode.to_owned()).or_insert(next + 1) };
        let what = format!("{perms} {number}");
        let offset = if anonymous { 0 } else { offset };
        match lines.last_mut() {
            Some((first, last, other, from))
                if *last == start
                    && *other == what
                    && (anonymous || *from + (start - *first) == offset) =>
            {
                *last = end;
            }
            _ => lines.push((start, end, what, offset)),
        }
    }
    let line = |(start, end, what, offset): (u64, u64, String, u64)| {
        let page = |addr: u64| (addr - span.start()) / PAGE;
        format!("{}-{} {what} {:x}; ", page(start), page(end), offset)
    };
    lines.into_iter().map(line).collect()
}

/// The runs without gaps in a range, as the books have them.
fn runs(world: &World, addr: u64, len: u64) -> Vec<Span> {
    let mut runs: Vec<Span> = Vec::new();
    for piece in world.exec.space().regions_in(addr, len) {
        match runs.last_mut().filter(|run| run.end() == Some(piece.start())) {
            Some(run) => *run = Span::new(run.start(), piece.last()).unwrap(),
            None => runs.push(piece.span),
        }
    }
    runs
}

/// Why a refusal is none that the kernel would have to share.
fn left_out(op: &Op, error: &ExecError) -> Option<&'static str> {
    let in_place = matches!(op, Op::Remap { target: Target::InPlace, .. });
    match (op, error) {
        (_, ExecError::Refused(Error::OutOfBounds { .. } | Error::BadDestination { .. })) => {
            Some("the reservation ends where other memory begins")
        }
        (_, ExecError::Refused(Error::NoRoom { .. })) if !in_place => {
            Some("the kernel looks for a place outside of the reservation, too")
        }
        (_, ExecError::PastObject { .. }) => {
            Some("the kernel lets shared memory grow past its end, for a bus error there")
        }
        (Op::Map { mem, .. }, ExecError::Kernel { call: Syscall::Mmap, .. })
            if mem.prot.bits() & UNKNOWN != 0 =>
        {
            Some("mmap ignores protections that mprotect does not know")
        }
        (Op::Remap { old: 0, .. }, ExecError::Refused(Error::Overlap { .. })) => {
            Some("the kernel unmaps where a duplicate goes and finds that this was its source")
        }
        _ => None,
    }
}

/// Runs one operation on the executor and says what it is in plain calls; nothing if
/// the two are not to be compared.
fn step(world: &mut World, op: &Op, unmapped: &Mutex<Vec<Span>>) -> Option<(Vec<Plain>, i32)> {
    let at = |page: u64| world.start() + page * PAGE;
    let before = world.exec.space().clone();
    let protected = match op {
        Op::Protect { page, pages, .. } => runs(world, at(*page), pages * PAGE),
        _ => Vec::new(),
    };
    unmapped.lock().unwrap().clear();
    let result = world.run(op);
    let at = |page: u64| world.start() + page * PAGE;
    let answer = match &result {
        Ok(()) => 0,
        Err(error) if left_out(op, error).is_some() => return None,
        Err(error) => error.errno(),
    };
    let calls = match *op {
        Op::Map { place, pages, mem } => {
            let len = pages * PAGE;
            let (addr, replace) = match place {
                Where::At(page) => (at(page), true),
                Where::NoReplace(page) => (at(page), false),
                Where::Lowest | Where::Highest => {
                    let new = before.diff(world.exec.space()).unwrap();
                    let region = new.map(|update| match update {
                        Update::Map { region, .. } => region.span.start(),
                        other => panic!("{other:?}"),
                    });
                    let addr = region.min().unwrap();
                    (addr, false)
                }
            };
            vec![Plain::Map { addr, len, mem, replace }]
        }
        Op::Unmap { page, pages } => vec![Plain::Unmap(Span::of(at(page), pages * PAGE)?)],
        Op::Protect { prot, .. } => {
            // `protect` skips gaps, where the kernel would stop.
            protected.into_iter().map(|run| Plain::Protect(run, prot)).collect()
        }
        Op::Remap { page, old, new, target, keep_source } => {
            let (addr, old, new) = (at(page), old * PAGE, new * PAGE);
            let fixed = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
            let keep = if keep_source { libc::MREMAP_DONTUNMAP } else { 0 };
            // Where the executor has moved it, if it has.
            let place = world.last_place;
            let (flags, to) = match (target, place) {
                (Target::At(page), _) => (fixed | keep, at(page)),
                (_, Some(place)) if place != addr => (fixed | keep, place),
                // Of a duplicate the kernel says what it says to any that may not move.
                (Target::Anywhere, None) => return None,
                (Target::InPlace | Target::Anywhere, _) => (keep, 0),
            };
            vec![Plain::Remap { addr, old, new, flags, to }]
        }
        Op::UnmapNonOriginal | Op::Reset => {
            unmapped.lock().unwrap().iter().map(|span| Plain::Unmap(*span)).collect()
        }
        _ => Vec::new(),
    };
    Some((calls, answer))
}

/// Error numbers that say the same for different reasons, or depend on what the
/// kernel's regions were before.
fn excused(step: &Step, answer: i32) -> bool {
    match (&step.op, step.answer, answer) {
        // Old and new place are checked in another order by older kernels.
        (Op::Remap { .. }, libc::EINVAL | libc::EFAULT, libc::EINVAL | libc::EFAULT) => true,
        _ => false,
    }
}

/// Makes the calls of `steps` in a forked child, and answers, for each, the error
/// number and the layout.
fn in_child(span: Span, files: &[i32], steps: &[Step]) -> Vec<(i32, String)> {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two descriptors.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    // SAFETY: the child only makes system calls and allocates, and ends by `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        // SAFETY: the descriptor is open, and nobody else's in the child.
        let mut out = unsafe { File::from_raw_fd(ends[1]) };
        let mut inodes = HashMap::new();
        // What was the reservation is empty, between two pages that stop growth.
        let (below, above) = (span.start() - PAGE, span.last() + 1);
        for (addr, len) in [(span.start(), span.len().unwrap()), (below, PAGE), (above, PAGE)] {
            let len = usize::try_from(len).unwrap();
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
            // SAFETY: the child has the reservation's addresses to itself, and takes
            // the other two only if nobody has them.
            unsafe {
                if addr == span.start() {
                    libc::munmap(pointer(addr), len);
                } else {
                    libc::mmap(pointer(addr), len, libc::PROT_NONE, flags, -1, 0);
                }
            }
        }
        for step in steps {
            let mut answer = 0;
            for call in &step.calls {
                answer = call.make(files);
                if answer != 0 {
                    break;
                }
            }
            writeln!(out, "{answer} {}", layout(span, &mut inodes)).unwrap();
        }
        // SAFETY: nothing of the child has to be cleaned up.
        unsafe { libc::_exit(0) };
    }
    // SAFETY: both descriptors are open, and closed or owned once.
    let mut input = unsafe {
        libc::close(ends[1]);
        File::from_raw_fd(ends[0])
    };
    let mut text = String::new();
    input.read_to_string(&mut text).unwrap();
    let mut status = 0;
    // SAFETY: the kernel writes the status.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child failed after {text}");
    let parse = |line: &str| {
        let (answer, layout) = line.split_once(' ').unwrap();
        (answer.parse().unwrap(), layout.to_owned())
    };
    text.lines().map(parse).collect()
}

/// How many operations were compared, of them how many succeeded, and how many runs
/// ended early because the kernel refused for its regions' history.
#[derive(Debug, Default)]
struct Counts {
    compared: usize,
    done: usize,
    cut_short: usize,
}

fn compare(ops: &[Op], counts: &mut Counts) {
    let mut world = World::over(Reservation::new(PAGES * PAGE).unwrap());
    let span = world.exec.space().span().unwrap();
    let unmapped = Arc::new(Mutex::new(Vec::new()));
    let hearing = Arc::clone(&unmapped);
    world.exec.observe(move |update| {
        if let Update::Unmap { span, .. } = update {
            hearing.lock().unwrap().push(span);
        }
    });
    let mut inodes = HashMap::new();
    let mut steps = Vec::new();
    for op in ops {
        let op = world.aim(op);
        if matches!(op, Op::Discard { .. }) {
            // It changes bytes and no layout.
            continue;
        }
        let Some((calls, answer)) = step(&mut world, &op, &unmapped) else { continue };
        let layout = layout(span, &mut inodes);
        steps.push(Step { op, calls, answer, layout });
    }
    let files: Vec<i32> = world.files.iter().map(AsRawFd::as_raw_fd).collect();
    let found = in_child(span, &files, &steps);
    assert_eq!(found.len(), steps.len());
    for (step, (answer, layout)) in steps.iter().zip(found) {
        // The kernel grows and moves only what is one of its own regions. Where a
        // region in the books is several of them, because one part has been writable
        // and is accounted for, it refuses what the executor does by other means.
        let remaps = matches!(step.op, Op::Remap { .. });
        if remaps && step.answer == 0 && answer == libc::EFAULT {
            counts.cut_short += 1;
            return;
        }
        assert!(
            answer == step.answer || excused(step, answer),
            "{step:?}: the kernel says {answer}"
        );
        assert_eq!(step.layout, layout, "{step:?}");
        counts.compared += 1;
        counts.done += usize::from(answer == 0);
    }
}

#[test]
fn the_kernel_does_the_same() {
    let sensible = op().prop_filter("nothing that plain calls cannot say", |op| {
        !matches!(
            op,
            Op::Restore
                | Op::Snapshot
                | Op::Limit { .. }
                | Op::Odd { .. }
                | Op::Flags { .. }
                | Op::Discard { .. }
        )
    });
    let sensible = sensible.prop_map(|op| match op {
        Op::Map { place, pages, mem } => {
            let mem = Mem { flags: MapFlags::empty(), populate: false, huge: false, ..mem };
            Op::Map { place, pages, mem }
        }
        op => op,
    });
    let counts = Mutex::new(Counts::default());
    let mut runner = TestRunner::default();
    let cases = runner.config().cases as usize;
    runner
        .run(&prop::collection::vec(sensible, 1..40), |ops| {
            compare(&ops, &mut counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
            Ok(())
        })
        .unwrap();
    let counts = counts.into_inner().unwrap();
    println!("{counts:?}");
    assert!(counts.done > 5 * cases, "{counts:?}: the test compares hardly anything");
    assert!(counts.cut_short < cases / 4, "{counts:?}: too often the kernel is no help");
}
