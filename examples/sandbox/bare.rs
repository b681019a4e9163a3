//! The system calls alone, on a reservation without books: what the executor is
//! measured beside.

#![allow(unsafe_code, reason = "system calls that change memory")]

use core::ptr;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use addrspace::{AddrSpace, Backing, Error, Prot, Region, Span, Update};
use libc::{
    MAP_ANONYMOUS, MAP_FAILED, MAP_FIXED, MAP_NORESERVE, MAP_PRIVATE, MREMAP_DONTUNMAP,
    MREMAP_FIXED, MREMAP_MAYMOVE, PROT_NONE, c_int, c_void, off_t,
};

use super::files::Files;

/// One system call, at an offset in the reservation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    Map {
        at: usize,
        len: usize,
        prot: c_int,
        file: Option<(RawFd, off_t)>,
    },
    /// Reserves again.
    Close {
        at: usize,
        len: usize,
    },
    Protect {
        at: usize,
        len: usize,
        prot: c_int,
    },
    /// What was at `from` is at `to`. The old place stays mapped: as a hole, anybody
    /// could map something there.
    Move {
        from: usize,
        to: usize,
        len: usize,
    },
}

/// The calls that make the changes which a verb on `books` reports.
pub(crate) fn calls(
    books: &mut AddrSpace,
    files: &Files,
    verb: impl FnOnce(&mut AddrSpace, &mut dyn FnMut(Update<'_>)) -> Result<(), Error>,
) -> Result<Vec<Call>, Error> {
    let start = books.span().map_or(0, Span::start);
    let mut calls = Vec::new();
    verb(books, &mut |update| translate(update, start, files, &mut calls))?;
    Ok(calls)
}

/// Adds the calls for one change.
fn translate(update: Update<'_>, books: u64, files: &Files, calls: &mut Vec<Call>) {
    // Nothing here is longer than the reservation, which the machine could map.
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(0);
    let place =
        |span: Span| (size(span.start().saturating_sub(books)), size(span.len().unwrap_or(0)));
    let access = |prot: Prot| c_int::try_from(prot.bits()).unwrap_or(PROT_NONE);
    let map = |region: &Region<'_>| {
        let (at, len) = place(region.span);
        let file = match region.backing {
            Backing::File { file, offset } => {
                let offset = off_t::try_from(offset).unwrap_or(off_t::MAX);
                Some((files.get(*file).as_raw_fd(), offset))
            }
            _ => None,
        };
        Call::Map { at, len, prot: access(region.prot), file }
    };
    match update {
        Update::Map { region, .. } => calls.push(map(&region)),
        Update::Unmap { span, .. } => {
            let (at, len) = place(span);
            calls.push(Call::Close { at, len });
        }
        Update::Protect { span, prot, .. } => {
            let (at, len) = place(span);
            calls.push(Call::Protect { at, len, prot: access(prot) });
        }
        Update::Move { from, to, keep_source, pieces, .. } => {
            // One after the other: the kernels before 6.17 take no more at once.
            for mut piece in pieces {
                let (at, len) = place(piece.span);
                let skipped = piece.start().saturating_sub(from.start());
                let start = to.start().saturating_add(skipped);
                calls.push(Call::Move { from: at, to: size(start.saturating_sub(books)), len });
                // What grows is one piece, and its mapping goes on behind it.
                let moved = piece.len().unwrap_or(0);
                let rest = start.saturating_add(moved).max(to.start());
                let last = piece.last() == from.last();
                if let Some(rest) = Span::new(rest, to.last()).filter(|_| last) {
                    piece.span = rest;
                    if let Backing::File { offset, .. } = &mut piece.backing {
                        *offset = offset.saturating_add(moved);
                    }
                    calls.push(map(&piece));
                }
            }
            if !keep_source {
                let (at, len) = place(from);
                calls.push(Call::Close { at, len });
            }
        }
        Update::Flags { .. } => unreachable!("no guest here changes flags"),
    }
}

/// Reserved addresses.
#[derive(Debug)]
pub(crate) struct Bare {
    start: *mut c_void,
    len: usize,
    /// Whether all calls were done.
    whole: bool,
}

impl Bare {
    /// Reserves `len` bytes.
    pub(crate) fn reserve(len: u64) -> io::Result<Self> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        // SAFETY: a mapping at a place of the kernel's choice replaces nothing.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, PROT_NONE, flags, -1, 0) };
        if start == MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start, len, whole: true })
    }

    /// Makes one call; whether the kernel did it.
    pub(crate) fn make(&mut self, call: Call) -> bool {
        const FLAGS: c_int = MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED;
        let done = match call {
            Call::Map { at, len, prot, file } => {
                let Some(to) = self.place(at, len) else { return false };
                let (fd, offset, flags) = match file {
                    Some((fd, offset)) => (fd, offset, FLAGS),
                    None => (-1, 0, FLAGS | MAP_ANONYMOUS),
                };
                // SAFETY: it replaces memory of this reservation alone, to which
                // nobody has a reference.
                (unsafe { libc::mmap(to, len, prot, flags, fd, offset) }) != MAP_FAILED
            }
            Call::Close { at, len } => {
                let Some(to) = self.place(at, len) else { return false };
                let flags = FLAGS | MAP_ANONYMOUS;
                // SAFETY: as above.
                (unsafe { libc::mmap(to, len, PROT_NONE, flags, -1, 0) }) != MAP_FAILED
            }
            Call::Protect { at, len, prot } => {
                let Some(to) = self.place(at, len) else { return false };
                // SAFETY: as above; nobody needs the access that goes.
                (unsafe { libc::mprotect(to, len, prot) }) == 0
            }
            Call::Move { from, to, len } => {
                let (Some(from), Some(to)) = (self.place(from, len), self.place(to, len)) else {
                    return false;
                };
                let flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
                // SAFETY: as above, of both places.
                (unsafe { libc::mremap(from, len, len, flags, to) }) != MAP_FAILED
            }
        };
        self.whole &= done;
        done
    }

    /// The address of `len` bytes at the offset `at`, which are of the reservation.
    fn place(&self, at: usize, len: usize) -> Option<*mut c_void> {
        (at.checked_add(len)? <= self.len).then(|| self.start.wrapping_byte_add(at))
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // A refused call may have left a hole, and somebody else be in it.
        if self.whole {
            // SAFETY: the reservation is ours, with all that was mapped in it, and
            // nobody has a reference into it.
            unsafe { libc::munmap(self.start, self.len) };
        }
    }
}
