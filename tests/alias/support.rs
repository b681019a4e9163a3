//! What the tests look with, and memory for them to look at.

use crate::alone::is_alone;
use addrspace::{Prot, Span};
use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) const PAGE: u64 = 4096;
pub(crate) const RW: Prot = Prot::READ.union(Prot::WRITE);

/// One line of the kernel's list: addresses, protection and sharing, offset, name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) span: Span,
    pub(crate) prot: String,
    pub(crate) offset: u64,
    pub(crate) name: String,
}

/// What the kernel lists in `span`.
pub(crate) fn listed(span: Span) -> Vec<Line> {
    let hex = |digits: &str| u64::from_str_radix(digits, 16).unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let lines = maps.lines().map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next().unwrap().split_once('-').unwrap();
        Line {
            span: Span::of(hex(start), hex(end) - hex(start)).unwrap(),
            prot: words.next().unwrap().to_owned(),
            offset: hex(words.next().unwrap()),
            name: words.skip(2).collect::<Vec<_>>().join(" "),
        }
    });
    lines.filter(|line| line.span.overlaps(span)).collect()
}

/// Ordinary private memory, not made for sharing; unmapped on drop.
pub(crate) struct Pages {
    start: *mut u64,
    pub(crate) pages: u64,
}

// SAFETY: the memory is not bound to a thread, and is touched as atomics alone.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    pub(crate) fn new(pages: u64) -> Self {
        let (prot, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let len = (pages * PAGE) as usize;
        // SAFETY: the kernel chooses addresses that nobody has.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        start.expose_provenance();
        Self { start: start.cast(), pages }
    }

    pub(crate) fn span(&self) -> Span {
        Span::of(self.start.addr() as u64, self.pages * PAGE).unwrap()
    }

    pub(crate) fn page(&self, nth: u64) -> Span {
        Span::of(self.span().start() + nth * PAGE, PAGE).unwrap()
    }

    /// Writes a number into every word of a page.
    pub(crate) fn fill(&self, page: u64, number: u64) {
        assert!(page < self.pages);
        for word in 0..PAGE / 8 {
            set(self.span().start() + page * PAGE + word * 8, number);
        }
    }

    /// Does to a page what leaves its memory behind: by `munmap`.
    ///
    /// In a process of its own: else another test's thread is given the hole, and loses
    /// what it has there when this is dropped.
    pub(crate) fn unmap(&self, page: u64) {
        assert!(is_alone(), "a hole where other tests map");
        let at = self.page(page).start();
        // SAFETY: the page is the test's own, and no reference points into it.
        assert_eq!(unsafe { libc::munmap(pointer(at).cast(), PAGE as usize) }, 0);
    }

    /// Throws the bytes of a page away.
    pub(crate) fn discard(&self, page: u64) {
        let at = self.page(page).start();
        // SAFETY: the page is the test's own, and no reference points into it.
        let done = unsafe { libc::madvise(pointer(at).cast(), PAGE as usize, libc::MADV_DONTNEED) };
        assert_eq!(done, 0);
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the memory is the test's own, and no reference points into it.
        unsafe { libc::munmap(self.start.cast(), (self.pages * PAGE) as usize) };
    }
}

pub(crate) fn pointer(addr: u64) -> *mut u64 {
    std::ptr::with_exposed_provenance_mut(addr as usize)
}

/// The word at an address that is mapped.
pub(crate) fn get(addr: u64) -> u64 {
    // SAFETY: the tests read what they have mapped, as atomics, since others write it.
    unsafe { std::sync::atomic::AtomicU64::from_ptr(pointer(addr)) }.load(Ordering::Relaxed)
}

/// Writes a word to an address that is mapped.
pub(crate) fn set(addr: u64, word: u64) {
    // SAFETY: the tests write what they have mapped, as atomics, since others read it.
    unsafe { std::sync::atomic::AtomicU64::from_ptr(pointer(addr)) }.store(word, Ordering::Relaxed);
}

/// The one number that all words of a page have; an error with two that differ.
pub(crate) fn same_words(page: u64) -> Result<u64, (u64, u64)> {
    let first = get(page);
    match (1..PAGE / 8).map(|word| get(page + word * 8)).find(|word| *word != first) {
        Some(other) => Err((first, other)),
        None => Ok(first),
    }
}

/// What a child process says in its exit status, or minus the signal that ended it.
///
/// It is a fork, of a process in which nobody else has threads.
pub(crate) fn in_child(job: impl FnOnce() -> i32) -> i32 {
    assert!(is_alone(), "a fork while other tests' threads hold locks");
    // SAFETY: the child calls what the test gives it, and leaves without destructors.
    match unsafe { libc::fork() } {
        0 => {
            // What it says is to be seen: the test's own output is not written in a child.
            std::panic::set_hook(Box::new(|panic| {
                let _ = writeln!(std::io::stderr(), "in a child process: {panic}");
            }));
            let status = catch_unwind(AssertUnwindSafe(job)).unwrap_or(101);
            // SAFETY: it ends the child alone.
            unsafe { libc::_exit(status) }
        }
        child => {
            assert!(child > 0);
            let mut status = 0;
            // SAFETY: the kernel writes `status` alone.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            if libc::WIFEXITED(status) {
                libc::WEXITSTATUS(status)
            } else {
                -libc::WTERMSIG(status)
            }
        }
    }
}

/// Numbers that look random, the same in each run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Whether a way can be gone here. If not, that is said, and the error is checked.
pub(crate) fn can(way: addrspace::alias::Way) -> bool {
    use addrspace::alias::{AliasError, Mirror};
    let Err(missing) = way.check() else { return true };
    cannot(&format!("{way}: {missing}"));
    let pages = Pages::new(1);
    let refused = Mirror::by(way, &[pages.span()]).unwrap_err();
    assert_eq!(refused, AliasError::Missing { guarantee: way.guarantee(), missing });
    false
}

/// Says that something was not tested. Not by a macro, whose output the test harness
/// would keep.
pub(crate) fn cannot(what: &str) {
    let line = format!("CANNOT RUN HERE, NOT TESTED: {what}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Ends the writer, also when a reader has failed.
pub(crate) struct Stop<'a>(pub(crate) &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
