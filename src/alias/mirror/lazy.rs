//! The thread that copies a page when it is needed, for a snapshot or at first touch.
//!
//! # Who owns what
//!
//! - The thread has the descriptors of the faults to itself, and alone puts pages into the
//!   mirror, throws them away, and protects the source. So there is nothing to lock.
//! - The mirror's memory is shared with the [`Mirror`](super::Mirror); the one who is last
//!   unmaps it. It is closed (no access) by the owner before the thread is told to end.
//! - What the thread writes while the source may be protected is its stack and the
//!   [`Cells`]: never the heap, which may be the source. It would wait for itself.
//!
//! # A page of a snapshot
//!
//! ```text
//! protected --- read in the mirror, or written at the source ---> staged
//!                                                                   |
//!      source unprotected: it was the same mapping all the time     |  it was not,
//!                                                                   |  or has lost
//! delivered <-------------------------------------------------------|  its pages
//!                                                                   '--------> lost
//! ```
//!
//! All sources are protected before any write is answered. So if one write came after
//! another, in the sense of the program, the snapshot never has the later one alone:
//! the earlier one would have been waiting still.

use super::super::error::AliasError;
use super::super::sys::{Cells, Errno, Mapped};
use super::super::uffd::{Faults, Message, Reach, Uffd, feature};
use super::sources::Parts;
use super::{Way, copied};
use crate::exec::system_page;
use crate::{PageSize, Prot, Span};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self, Mode, OFlags};
use std::thread::{self, JoinHandle};

/// What the owner tells the thread.
const START_OVER: u64 = 1;
const END: u64 = 1 << 32;

/// The numbers in the [`Cells`]: pages delivered, pages lost; then the bits.
const DELIVERED: usize = 0;
const LOST: usize = 1;
const HEAD: usize = 2;

/// The owner's end.
#[derive(Debug)]
pub(super) struct Handler {
    thread: Option<JoinHandle<()>>,
    lines: Arc<Lines>,
    cells: Arc<Cells>,
    reach: Reach,
}

/// How owner and thread talk: numbers that nobody allocates.
#[derive(Debug)]
struct Lines {
    command: OwnedFd,
    answer: OwnedFd,
}

impl Handler {
    /// Starts a thread that fills `memory`, and waits until it does.
    pub(super) fn start(
        way: Way,
        memory: &Arc<Mapped>,
        parts: &Arc<Parts>,
    ) -> Result<Self, AliasError> {
        let refused = AliasError::kernel("userfaultfd");
        let line = || eventfd(0, EventfdFlags::CLOEXEC).map_err(AliasError::kernel("eventfd"));
        let page = system_page();
        let mirror = Uffd::new(Reach::User, 0, feature::POISON).map_err(refused)?;
        let reach = mirror.reach();
        memory.small_pages().map_err(AliasError::kernel("madvise"))?;
        mirror.register(memory.span(), Faults::Missing).map_err(refused)?;
        let source = if way == Way::WriteProtect { Some(Source::open(page)?) } else { None };
        let words = page.pages_floor(parts.len).div_ceil(64);
        let words = usize::try_from(words).map_err(|_| refused(Errno::NOMEM))?;
        let count = words.saturating_mul(2).saturating_add(HEAD);
        let cells = Arc::new(Cells::new(count).map_err(AliasError::kernel("mmap"))?);
        let lines = Arc::new(Lines { command: line()?, answer: line()? });
        let worker = Worker {
            mirror,
            source,
            lines: Arc::clone(&lines),
            cells: Arc::clone(&cells),
            words,
            memory: Arc::clone(memory),
            parts: Arc::clone(parts),
            page,
        };
        let thread = thread::Builder::new().name("mirror".to_owned());
        let thread = thread.spawn(move || worker.run()).map_err(|error| {
            let errno = error.raw_os_error().unwrap_or(Errno::AGAIN.raw_os_error());
            AliasError::Kernel { call: "clone", errno }
        })?;
        let handler = Self { thread: Some(thread), lines, cells, reach };
        // If it is refused, the thread ends with `handler`.
        handler.start_over(parts)?;
        Ok(handler)
    }

    /// Has the thread forget all pages, and take the source as it is now.
    pub(super) fn start_over(&self, parts: &Parts) -> Result<(), AliasError> {
        tell(&self.lines.command, START_OVER);
        let answer = hear(&self.lines.answer).saturating_sub(1);
        // The number of the source in the way, and the error.
        let (nth, errno) = (answer >> 16, answer & 0xffff);
        let errno = i32::try_from(errno).unwrap_or(0);
        match (usize::try_from(nth), errno) {
            (_, 0) => Ok(()),
            (Ok(nth), _) if nth > 0 => {
                let part = parts.iter().nth(nth.saturating_sub(1));
                let errno = Errno::from_raw_os_error(errno);
                Err(part.map_or_else(
                    || AliasError::kernel("userfaultfd")(errno),
                    |part| copied::refused(part.source)(errno),
                ))
            }
            _ => Err(AliasError::Kernel { call: "madvise", errno }),
        }
    }

    /// Whether faults of the kernel are answered too.
    pub(super) fn serves_the_kernel(&self) -> bool {
        self.reach == Reach::Kernel
    }

    /// How many pages are delivered, and how many are lost.
    pub(super) fn pages(&self) -> (u64, u64) {
        let count = |nth: usize| self.cells.all().get(nth).map_or(0, |cell| cell.load(Relaxed));
        (count(DELIVERED), count(LOST))
    }

    /// In a child after `fork` there is no thread to end.
    pub(super) fn abandon(&mut self) {
        core::mem::forget(self.thread.take());
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            tell(&self.lines.command, END);
            // It does not panic; if it did all the same, it has ended.
            let _ = thread.join();
        }
    }
}

/// Adds to a line's number.
fn tell(line: &OwnedFd, number: u64) {
    while rustix::io::write(line, &number.to_ne_bytes()) == Err(Errno::INTR) {}
}

/// Waits for a line's number, which is zero afterwards.
fn hear(line: &OwnedFd) -> u64 {
    let mut number = [0; 8];
    while rustix::io::read(line, &mut number) == Err(Errno::INTR) {}
    u64::from_ne_bytes(number)
}

/// Of a snapshot: the source's end.
#[derive(Debug)]
struct Source {
    faults: Uffd,
    /// A page is read into this, and shown when it is known to be right.
    stage: Mapped,
    /// `/proc/self/mem`.
    process: OwnedFd,
}

impl Source {
    fn open(page: PageSize) -> Result<Self, AliasError> {
        let (reach, needed) = Way::WriteProtect.needs();
        let faults = Uffd::new(reach, needed, 0).map_err(AliasError::kernel("userfaultfd"))?;
        let rw = Prot::READ | Prot::WRITE;
        let stage = Mapped::anonymous(page.bytes(), rw).map_err(AliasError::kernel("mmap"))?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let process = fs::open("/proc/self/mem", flags, Mode::empty())
            .map_err(AliasError::kernel("opening /proc/self/mem"))?;
        Ok(Self { faults, stage, process })
    }
}

/// The thread's end.
struct Worker {
    mirror: Uffd,
    source: Option<Source>,
    lines: Arc<Lines>,
    cells: Arc<Cells>,
    words: usize,
    memory: Arc<Mapped>,
    parts: Arc<Parts>,
    page: PageSize,
}

/// Why a page is not there yet.
enum Setback {
    /// It has to be tried again.
    Again,
    /// Its bytes are gone for good.
    Gone,
}

impl Worker {
    /// Answers faults until it is told to end.
    fn run(self) {
        loop {
            let command = self.wait();
            if command >= END {
                break;
            }
            if command > 0 {
                // One more than the answer: a line does not tell zero.
                tell(&self.lines.answer, self.start_over().saturating_add(1));
            }
            // Events first: they say which pages may no longer be copied.
            if let Some(source) = &self.source {
                let _ = source.faults.read(|message| self.source_message(source, message));
            }
            let _ = self.mirror.read(|message| {
                if let Message::Fault(addr) = message {
                    self.wanted(addr);
                }
            });
        }
        // Before anything is written on the heap, as by the end of a thread.
        if let Some(source) = &self.source {
            self.parts.iter().for_each(|part| source.faults.release(part.source));
        }
        self.mirror.release(self.memory.span());
    }

    /// Waits until there is something to do, and answers with the owner's command.
    fn wait(&self) -> u64 {
        let (command, mirror) = (&self.lines.command, &self.mirror);
        // Without a source, the mirror twice.
        let source = self.source.as_ref().map_or(mirror.as_fd(), |source| source.faults.as_fd());
        let mut lines = [
            PollFd::new(command, PollFlags::IN),
            PollFd::from_borrowed_fd(source, PollFlags::IN),
            PollFd::new(mirror, PollFlags::IN),
        ];
        // A signal, or no memory for the kernel to wait with.
        while poll(&mut lines, None).is_err() {
            thread::yield_now();
        }
        let told = lines.first().is_some_and(|line| line.revents().contains(PollFlags::IN));
        if told { hear(command) } else { 0 }
    }

    /// Takes the source as it is now. Answers zero, or the number of the source in the way
    /// and an error; then all is as it was.
    fn start_over(&self) -> u64 {
        if let Some(source) = &self.source {
            for (nth, part) in self.parts.iter().enumerate() {
                let protected = source
                    .faults
                    .register(part.source, Faults::Protected)
                    .and_then(|()| self.protect(source, part.source));
                if let Err(errno) = protected {
                    let nth = u64::try_from(nth).unwrap_or(0).saturating_add(1);
                    return (nth << 16) | u64::from(errno.raw_os_error().unsigned_abs());
                }
            }
        }
        let all = self.memory.span();
        let emptied = self.memory.discard(all).and_then(|()| self.memory.protect(all, Prot::READ));
        if let Err(errno) = emptied {
            return u64::from(errno.raw_os_error().unsigned_abs());
        }
        self.cells.all().iter().for_each(|cell| cell.store(0, Relaxed));
        // Who came meanwhile comes again.
        if let Some(source) = &self.source {
            for part in self.parts.iter() {
                let _ = source.faults.wake(part.source);
            }
        }
        let _ = self.mirror.wake(all);
        0
    }

    /// Protects `span`, and hears meanwhile what would keep it from being protected.
    fn protect(&self, source: &Source, span: Span) -> Result<(), Errno> {
        loop {
            match source.faults.protect(span) {
                Err(Errno::AGAIN) => source.faults.read(|message| {
                    // Who waits at a fault is woken when all is protected.
                    if !matches!(message, Message::Fault(_)) {
                        self.source_message(source, message);
                    }
                })?,
                answer => return answer,
            }
        }
    }

    /// Somebody waits for a page of the mirror.
    fn wanted(&self, addr: u64) {
        let page = self.page.round_down(addr);
        let Some(at) = page.checked_sub(self.memory.span().start()) else { return };
        let Some(source) = self.parts.source_of(at) else { return };
        let made = match &self.source {
            _ if self.is(at, Bit::Lost) => Err(Setback::Gone),
            None => self.deliver(at, source),
            Some(_) if self.is(at, Bit::Delivered) => Err(Setback::Again),
            Some(end) => self.stage(end, at, source),
        };
        let Some(span) = Span::of(page, self.page.bytes()) else { return };
        match made {
            Ok(()) => {}
            Err(Setback::Again) => {
                let _ = self.mirror.wake(span);
            }
            Err(Setback::Gone) => self.bury(at, span),
        }
    }

    /// Something happens at the source.
    fn source_message(&self, source: &Source, message: Message) {
        match message {
            Message::Fault(addr) => {
                let addr = self.page.round_down(addr);
                let Some(page) = Span::of(addr, self.page.bytes()) else { return };
                let at = self.parts.place_of(addr);
                let due = at.filter(|at| !self.is(*at, Bit::Lost) && !self.is(*at, Bit::Delivered));
                let answered = match due.map(|at| (at, self.stage(source, at, addr))) {
                    Some((_, Ok(()))) => true,
                    Some((at, Err(Setback::Gone))) => {
                        self.mark(at, Bit::Lost);
                        false
                    }
                    Some((_, Err(Setback::Again))) => false,
                    // It may be written: it is copied, or lost, or not ours.
                    None => source.faults.unprotect(page).is_ok(),
                };
                if !answered {
                    let _ = source.faults.wake(page);
                }
            }
            Message::Gone(span) => self.lose(span),
            Message::Moved(from, to) => {
                self.lose(from);
                source.faults.release(to);
            }
            Message::Other => {}
        }
    }

    /// Copies the page of a snapshot, and lets go on who wants to write it.
    fn stage(&self, source: &Source, at: u64, addr: u64) -> Result<(), Setback> {
        let Some(page) = Span::of(addr, self.page.bytes()) else { return Err(Setback::Gone) };
        let fetched = source.stage.fetch(source.process.as_fd(), addr);
        fetched.map_err(|_| Setback::Gone)?;
        // Only what was registered and never unmapped can be unprotected. If something is
        // being unmapped, the event for it is to be heard first.
        match source.faults.unprotect(page) {
            Ok(()) => {}
            Err(Errno::AGAIN) => return Err(Setback::Again),
            Err(_) => return Err(Setback::Gone),
        }
        loop {
            match self.deliver(at, source.stage.span().start()) {
                // The page at the source may have changed by now: this is the last copy.
                Err(Setback::Again) if !self.is(at, Bit::Delivered) => thread::yield_now(),
                answer => return answer,
            }
        }
    }

    /// Puts a copy of the page at `source` into the mirror.
    fn deliver(&self, at: u64, source: u64) -> Result<(), Setback> {
        let target = self.memory.span().start().checked_add(at);
        let Some(page) = target.and_then(|start| Span::of(start, self.page.bytes())) else {
            return Err(Setback::Gone);
        };
        // Before, so that nobody sees a page that is not counted.
        let new = self.mark(at, Bit::Delivered);
        let made = match self.mirror.copy(&self.memory, page, source) {
            Ok(_) => return Ok(()),
            // Somebody else has asked for it too, and it is there.
            Err(Errno::EXIST) => return Err(Setback::Again),
            // Memory is short, or being rearranged.
            Err(Errno::AGAIN | Errno::INTR | Errno::NOMEM) => Err(Setback::Again),
            Err(_) => Err(Setback::Gone),
        };
        if new {
            self.unmark(at, Bit::Delivered);
        }
        made
    }

    /// Makes a touch of a page that is lost a fault.
    fn bury(&self, at: u64, page: Span) {
        self.mark(at, Bit::Lost);
        match self.mirror.poison(&self.memory, page) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(Errno::AGAIN) => {
                let _ = self.mirror.wake(page);
            }
            Err(_) => {
                // An older kernel. If that is refused too, who waits goes on waiting until
                // the mirror is dropped, and does not see what never was.
                if self.memory.protect(page, Prot::empty()).is_ok() {
                    let _ = self.mirror.wake(page);
                }
            }
        }
    }

    /// What is not copied yet of `span` will never be.
    fn lose(&self, span: Span) {
        for (at, len) in self.parts.places_in(span) {
            let mut next = at;
            let end = at.saturating_add(len);
            while next < end {
                if !self.is(next, Bit::Delivered) {
                    self.mark(next, Bit::Lost);
                }
                next = next.saturating_add(self.page.bytes());
            }
        }
    }

    fn is(&self, at: u64, bit: Bit) -> bool {
        self.bit(at, bit).is_some_and(|(word, mask)| word.load(Relaxed) & mask != 0)
    }

    /// Sets a bit, and counts it if it was not set; whether that was so.
    fn mark(&self, at: u64, bit: Bit) -> bool {
        let Some((word, mask)) = self.bit(at, bit) else { return false };
        let new = word.fetch_or(mask, Relaxed) & mask == 0;
        if new && let Some(counter) = self.cells.all().get(bit.counter()) {
            counter.fetch_add(1, Relaxed);
        }
        new
    }

    /// Takes back what `mark` has done.
    fn unmark(&self, at: u64, bit: Bit) {
        let Some((word, mask)) = self.bit(at, bit) else { return };
        word.fetch_and(!mask, Relaxed);
        if let Some(counter) = self.cells.all().get(bit.counter()) {
            counter.fetch_sub(1, Relaxed);
        }
    }

    /// The word and the bit in it of the page `at` bytes into the mirror.
    fn bit(&self, at: u64, bit: Bit) -> Option<(&AtomicU64, u64)> {
        let page = self.page.pages_floor(at);
        let first = match bit {
            Bit::Delivered => HEAD,
            Bit::Lost => HEAD.saturating_add(self.words),
        };
        let word = first.checked_add(usize::try_from(page / 64).ok()?)?;
        Some((self.cells.all().get(word)?, 1 << (page % 64)))
    }
}

/// What the thread remembers of a page.
#[derive(Clone, Copy)]
enum Bit {
    Delivered,
    Lost,
}

impl Bit {
    /// Which of the cells counts it.
    const fn counter(self) -> usize {
        match self {
            Self::Delivered => DELIVERED,
            Self::Lost => LOST,
        }
    }
}
