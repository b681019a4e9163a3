//! `userfaultfd`: who touches a page that is not there, or writes one that is protected,
//! waits until somebody answers.
//!
//! # Safety
//!
//! A userfaultfd can change what memory holds. Here pages are put into memory of a
//! [`Mapped`] alone, which is ours and which no reference points into. Other memory is
//! only ever protected against writes for a while: whoever writes it waits, and finds it
//! as it was. The structures are laid out as the kernel's `linux/userfaultfd.h` has them.

#![allow(unsafe_code, reason = "the calls of the kernel's fault handling")]

use super::sys::{Errno, Mapped};
use crate::Span;
use core::ffi::c_void;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, Mode, OFlags};
use rustix::ioctl::{self, opcode};
use rustix::mm::{UserfaultfdFlags, userfaultfd};

/// What a userfaultfd is asked for.
pub(super) mod feature {
    /// A write to a protected page tells that it is one.
    pub(crate) const WRITE_PROTECT: u64 = 1 << 0;
    /// A source that moves is told.
    pub(crate) const EVENT_REMAP: u64 = 1 << 2;
    /// Pages that are thrown away are told.
    pub(crate) const EVENT_REMOVE: u64 = 1 << 3;
    /// Memory that is unmapped is told.
    pub(crate) const EVENT_UNMAP: u64 = 1 << 6;
    /// Pages that are not there yet can be protected (Linux 6.4).
    pub(crate) const UNPOPULATED: u64 = 1 << 13;
    /// A page can be made one whose touch is a bus error (Linux 6.6).
    pub(crate) const POISON: u64 = 1 << 14;
    /// The kernel itself answers writes to protected pages, and keeps a list of them
    /// (Linux 6.7).
    pub(crate) const ASYNC: u64 = 1 << 15;
}

/// Which faults wait for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Faults {
    /// Of a page that is not there.
    Missing,
    /// Of a write to a protected page.
    Protected,
}

/// What a userfaultfd tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Somebody waits for the page at this address.
    Fault(u64),
    /// These bytes lose what they held.
    Gone(Span),
    /// What was at the first place is at the second.
    Moved(Span, Span),
    /// Anything else.
    Other,
}

/// Faults of the kernel, in a system call that is given such memory, are handled too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those too.
    Kernel,
    /// Only those of code: a system call fails with `EFAULT`.
    User,
}

/// An open userfaultfd.
#[derive(Debug)]
pub(super) struct Uffd {
    file: OwnedFd,
    reach: Reach,
    features: u64,
}

#[repr(C)]
struct Api {
    version: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct Register {
    range: Range,
    mode: u64,
    ioctls: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Range {
    start: u64,
    len: u64,
}

#[repr(C)]
struct PageCopy {
    dst: u64,
    src: u64,
    len: u64,
    mode: u64,
    copied: i64,
}

#[repr(C)]
struct WriteProtect {
    range: Range,
    mode: u64,
}

#[repr(C)]
struct Poison {
    range: Range,
    mode: u64,
    updated: i64,
}

#[repr(C)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    inverted: u64,
    mask: u64,
    any_of: u64,
    returned: u64,
}

/// A part of what a scan found.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    start: u64,
    end: u64,
    categories: u64,
}

impl Found {
    pub(super) fn span(&self) -> Option<Span> {
        Span::new(self.start, self.end.checked_sub(1)?)
    }
}

const API: ioctl::Opcode = opcode::read_write::<Api>(0xaa, 0x3f);
const REGISTER: ioctl::Opcode = opcode::read_write::<Register>(0xaa, 0x00);
const UNREGISTER: ioctl::Opcode = opcode::read::<Range>(0xaa, 0x01);
const WAKE: ioctl::Opcode = opcode::read::<Range>(0xaa, 0x02);
const COPY: ioctl::Opcode = opcode::read_write::<PageCopy>(0xaa, 0x03);
const WRITE_PROTECT: ioctl::Opcode = opcode::read_write::<WriteProtect>(0xaa, 0x06);
const POISON: ioctl::Opcode = opcode::read_write::<Poison>(0xaa, 0x08);
const NEW: ioctl::Opcode = opcode::none(0xaa, 0x00);
const SCAN: ioctl::Opcode = opcode::read_write::<Scan>(b'f', 16);

/// Makes a userfaultfd by the device, which an administrator may open to more people.
struct New;

// SAFETY: the opcode takes its flags as a number and gives back a descriptor.
unsafe impl ioctl::Ioctl for New {
    type Output = OwnedFd;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> ioctl::Opcode {
        NEW
    }

    fn as_ptr(&mut self) -> *mut c_void {
        let flags = UserfaultfdFlags::CLOEXEC | UserfaultfdFlags::NONBLOCK;
        core::ptr::without_provenance_mut(usize::try_from(flags.bits()).unwrap_or(0))
    }

    unsafe fn output_from_ptr(out: ioctl::IoctlOutput, _: *mut c_void) -> Result<OwnedFd, Errno> {
        use rustix::fd::FromRawFd;
        // SAFETY: the call answers with a new descriptor, which nobody else has.
        Ok(unsafe { OwnedFd::from_raw_fd(out) })
    }
}

/// Opens one of the most reach that this process may have, and at least of `reach`.
fn open(reach: Reach) -> Result<(OwnedFd, Reach), Errno> {
    let flags = UserfaultfdFlags::CLOEXEC | UserfaultfdFlags::NONBLOCK;
    // SAFETY: what it can do to memory is what the methods here do.
    let refused = match unsafe { userfaultfd(flags) } {
        Ok(file) => return Ok((file, Reach::Kernel)),
        Err(errno) => errno,
    };
    let device = fs::open("/dev/userfaultfd", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    if let Ok(device) = device {
        // SAFETY: the descriptor is that of the device, to which the opcode belongs.
        if let Ok(file) = unsafe { ioctl::ioctl(&device, New) } {
            return Ok((file, Reach::Kernel));
        }
    }
    if reach == Reach::Kernel {
        return Err(refused);
    }
    let flags = flags | UserfaultfdFlags::from_bits_retain(1); // UFFD_USER_MODE_ONLY
    // SAFETY: as above.
    unsafe { userfaultfd(flags) }.map(|file| (file, Reach::User))
}

/// The features that this kernel has.
pub(super) fn features(reach: Reach) -> Result<u64, Errno> {
    let (file, reach) = open(reach)?;
    // The handshake with no feature answers with all that there are.
    let mut uffd = Uffd { file, reach, features: 0 };
    uffd.greet(0)
}

impl Uffd {
    /// Opens one that has all of `needed`, and of `liked` what the kernel has.
    pub(super) fn new(reach: Reach, needed: u64, liked: u64) -> Result<Self, Errno> {
        let has = features(reach)?;
        if has & needed != needed {
            return Err(Errno::NOSYS);
        }
        let (file, reach) = open(reach)?;
        let features = needed | (has & liked);
        let mut uffd = Self { file, reach, features };
        uffd.greet(features)?;
        Ok(uffd)
    }

    pub(super) const fn reach(&self) -> Reach {
        self.reach
    }

    /// Asks for features, and answers with all that there are.
    fn greet(&mut self, features: u64) -> Result<u64, Errno> {
        let mut api = Api { version: 0xaa, features, ioctls: 0 };
        // SAFETY: the opcode belongs to this structure.
        let call = unsafe { ioctl::Updater::<API, Api>::new(&mut api) };
        // SAFETY: the descriptor is a userfaultfd, and no memory is registered yet.
        unsafe { ioctl::ioctl(&self.file, call) }?;
        Ok(api.features)
    }

    /// Handles such faults of `span` from now on.
    ///
    /// Of memory that is not ours only [`Faults::Protected`]: it changes nothing before
    /// something is protected.
    pub(super) fn register(&self, span: Span, faults: Faults) -> Result<(), Errno> {
        let mode = match faults {
            Faults::Missing => 1,
            Faults::Protected => 2,
        };
        let mut register = Register { range: range(span)?, mode, ioctls: 0 };
        // SAFETY: the opcode belongs to this structure.
        let call = unsafe { ioctl::Updater::<REGISTER, Register>::new(&mut register) };
        // SAFETY: no byte changes. Who waits is answered, or woken when this is closed.
        unsafe { ioctl::ioctl(&self.file, call) }
    }

    /// Handles no faults of `span` any more, protects nothing there, and wakes who waits.
    ///
    /// That is not left to the end of the descriptor: a child after `fork` has it too, and
    /// keeps it open.
    pub(super) fn release(&self, span: Span) {
        let unregister = |span| {
            let mut range = range(span)?;
            // SAFETY: the opcode belongs to this structure, which the kernel reads.
            let call = unsafe { ioctl::Updater::<UNREGISTER, Range>::new(&mut range) };
            // SAFETY: no byte changes, and who waits goes on.
            unsafe { ioctl::ioctl(&self.file, call) }
        };
        if unregister(span).is_ok() {
            return;
        }
        // Something else is mapped in a part of it, and keeps the kernel from all.
        let page = crate::exec::system_page();
        let half = page.round_down(span.len().unwrap_or(0) / 2);
        let Some(middle) = span.start().checked_add(half).filter(|_| half > 0) else { return };
        let below = middle.checked_sub(1).and_then(|last| Span::new(span.start(), last));
        let above = Span::new(middle, span.last());
        below.into_iter().chain(above).for_each(|part| self.release(part));
    }

    /// Puts a copy of the bytes at `source` into `part` of `memory`, where no pages are
    /// yet, and wakes who waits for it. Answers how many bytes were put.
    ///
    /// A page is there as a whole or not at all. `EEXIST` if the first one is there,
    /// `EFAULT` if the source cannot be read, `EAGAIN` while memory is being unmapped.
    pub(super) fn copy(&self, memory: &Mapped, part: Span, source: u64) -> Result<u64, Errno> {
        let all = memory.span();
        let Range { start: dst, len } = range(part)?;
        if part.start() < all.start() || all.last() < part.last() {
            return Err(Errno::FAULT);
        }
        let mut copy = PageCopy { dst, src: source, len, mode: 0, copied: 0 };
        // SAFETY: the opcode belongs to this structure.
        let call = unsafe { ioctl::Updater::<COPY, PageCopy>::new(&mut copy) };
        // SAFETY:
        // 1. The pages that come are in memory of ours, which no reference points into,
        //    and only where none were.
        // 2. The source is read by the kernel, which answers with an error if it cannot
        //    be read, and for which it is bytes, whoever writes them.
        let made = unsafe { ioctl::ioctl(&self.file, call) };
        match (made, u64::try_from(copy.copied)) {
            // A part was done before something was in the way.
            (Err(_), Ok(copied)) if copied > 0 => Ok(copied),
            (made, _) => made.map(|()| len),
        }
    }

    /// Makes each touch of `part` of `memory`, where no pages are yet, a bus error.
    pub(super) fn poison(&self, memory: &Mapped, part: Span) -> Result<(), Errno> {
        if self.features & feature::POISON == 0 {
            return Err(Errno::NOSYS);
        }
        let all = memory.span();
        if part.start() < all.start() || all.last() < part.last() {
            return Err(Errno::FAULT);
        }
        let mut poison = Poison { range: range(part)?, mode: 0, updated: 0 };
        // SAFETY: the opcode belongs to this structure.
        let call = unsafe { ioctl::Updater::<POISON, Poison>::new(&mut poison) };
        // SAFETY: the memory is ours, and no reference points into it.
        unsafe { ioctl::ioctl(&self.file, call) }
    }

    /// Holds up who writes to `span`.
    pub(super) fn protect(&self, span: Span) -> Result<(), Errno> {
        self.write_protect(span, 1)
    }

    /// Lets those go on who write to `span`.
    pub(super) fn unprotect(&self, span: Span) -> Result<(), Errno> {
        self.write_protect(span, 0)
    }

    fn write_protect(&self, span: Span, mode: u64) -> Result<(), Errno> {
        let mut protect = WriteProtect { range: range(span)?, mode };
        // SAFETY: the opcode belongs to this structure.
        let call = unsafe { ioctl::Updater::<WRITE_PROTECT, WriteProtect>::new(&mut protect) };
        // SAFETY: no byte changes. Who waits is answered, or woken when this is closed.
        unsafe { ioctl::ioctl(&self.file, call) }
    }

    /// Lets those try again who wait for a page of `span`.
    pub(super) fn wake(&self, span: Span) -> Result<(), Errno> {
        let mut range = range(span)?;
        // SAFETY: the opcode belongs to this structure, which the kernel reads.
        let call = unsafe { ioctl::Updater::<WAKE, Range>::new(&mut range) };
        // SAFETY: no byte changes: who is woken without cause waits again.
        unsafe { ioctl::ioctl(&self.file, call) }
    }

    /// Calls `each` with what there is to tell, and returns when there is nothing more.
    pub(super) fn read(&self, mut each: impl FnMut(Message)) -> Result<(), Errno> {
        /// Of the kernel's `struct uffd_msg`.
        const SIZE: usize = 32;
        // Several at a time: events come after the faults, and must not starve.
        let mut bytes = [0; SIZE * 32];
        loop {
            match rustix::io::read(&self.file, &mut bytes) {
                Ok(0) | Err(Errno::AGAIN) => return Ok(()),
                Ok(read) => {
                    let (messages, _) = bytes.get(..read).unwrap_or(&[]).as_chunks::<SIZE>();
                    messages.iter().map(parse).for_each(&mut each);
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl AsFd for Uffd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn parse(message: &[u8; 32]) -> Message {
    let word = |nth: usize| {
        let bytes = message.as_chunks::<8>().0.get(nth).copied().unwrap_or_default();
        u64::from_ne_bytes(bytes)
    };
    match message.first().copied().unwrap_or(0) {
        // The second word is the kind of fault.
        0x12 => Message::Fault(word(2)),
        0x14 => match (Span::of(word(1), word(3)), Span::of(word(2), word(3))) {
            (Some(from), Some(to)) => Message::Moved(from, to),
            _ => Message::Other,
        },
        0x15 | 0x16 => {
            let span = word(2).checked_sub(1).and_then(|last| Span::new(word(1), last));
            span.map_or(Message::Other, Message::Gone)
        }
        _ => Message::Other,
    }
}

fn range(span: Span) -> Result<Range, Errno> {
    Ok(Range { start: span.start(), len: span.len().ok_or(Errno::INVAL)? })
}

/// `/proc/self/pagemap`, for the list that the kernel keeps of writes.
#[derive(Debug)]
pub(super) struct Writes(OwnedFd);

impl Writes {
    pub(super) fn open() -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        fs::open("/proc/self/pagemap", flags, Mode::empty()).map(Self)
    }

    /// Lists what of `span` was written since the last look, into `found`, and how many
    /// entries of that it took. A second look starts at the address that is answered.
    ///
    /// The memory is that of a userfaultfd with [`feature::ASYNC`]; what is listed is
    /// protected anew by the same step.
    pub(super) fn since(&self, span: Span, found: &mut [Found]) -> Result<(usize, u64), Errno> {
        const PROTECT_MATCHING: u64 = 1;
        const CHECK_ASYNC: u64 = 2;
        const WRITTEN: u64 = 1 << 1;
        let Range { start, len } = range(span)?;
        let mut asked = Scan {
            // The kernel wants to know which version of the structure it is.
            size: u64::try_from(size_of::<Scan>()).unwrap_or(0),
            flags: PROTECT_MATCHING | CHECK_ASYNC,
            start,
            end: start.saturating_add(len),
            walk_end: 0,
            vec: u64::try_from(found.as_mut_ptr().expose_provenance()).unwrap_or(0),
            vec_len: u64::try_from(found.len()).unwrap_or(0),
            max_pages: 0,
            inverted: 0,
            mask: WRITTEN,
            any_of: 0,
            returned: WRITTEN,
        };
        let listed = {
            let call = Listing(&mut asked);
            // SAFETY:
            // 1. The opcode belongs to this structure, whose size it carries.
            // 2. The kernel writes it and as many entries as `found` has.
            unsafe { ioctl::ioctl(&self.0, call) }
        }?;
        Ok((listed, asked.walk_end))
    }
}

/// The scan answers how many entries it has written.
struct Listing<'a>(&'a mut Scan);

// SAFETY: the opcode belongs to the structure, which the kernel reads and writes.
unsafe impl ioctl::Ioctl for Listing<'_> {
    type Output = usize;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> ioctl::Opcode {
        SCAN
    }

    fn as_ptr(&mut self) -> *mut c_void {
        core::ptr::from_mut(self.0).cast()
    }

    unsafe fn output_from_ptr(out: ioctl::IoctlOutput, _: *mut c_void) -> Result<usize, Errno> {
        Ok(usize::try_from(out).unwrap_or(0))
    }
}
