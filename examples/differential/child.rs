//! The process in which the kernel makes the calls.
//!
//! It is a fork of this one that reads calls from a pipe, makes them, and writes the
//! answers to another. It never allocates: nothing of its memory changes but by the
//! calls that it is given.
#![allow(unsafe_code, reason = "a fork, and calls that change memory")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::fs::MetadataExt;

use addrspace::PageSize;

use super::call::{Call, NO_FILE, Name};

/// A number and six arguments.
const WORDS: usize = 7;

/// The forked process. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Child {
    id: libc::pid_t,
    calls: File,
    answers: File,
    files: Vec<File>,
}

impl Child {
    /// Forks one that can map `files`.
    ///
    /// # Errors
    ///
    /// If there is no process to be had, or no pipe.
    pub(crate) fn start(files: Vec<File>) -> io::Result<Self> {
        let (theirs, calls) = pipe()?;
        let (answers, out) = pipe()?;
        // SAFETY: what the child does from here on needs no lock that another thread of
        // this process may hold.
        let id = unsafe { libc::fork() };
        match id {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                // Without them the child would not see the parent close its ends.
                drop((calls, answers));
                serve(theirs.as_raw_fd(), out.as_raw_fd())
            }
            _ => Ok(Self { id, calls, answers, files }),
        }
    }

    /// The child's `/proc/PID/maps`.
    ///
    /// # Errors
    ///
    /// If it cannot be opened.
    pub(crate) fn maps(&self) -> io::Result<File> {
        File::open(format!("/proc/{}/maps", self.id))
    }

    /// The child's `/proc/PID/smaps`.
    ///
    /// # Errors
    ///
    /// If it cannot be opened.
    pub(crate) fn details(&self) -> io::Result<File> {
        File::open(format!("/proc/{}/smaps", self.id))
    }

    /// The inode of a file, by number.
    pub(crate) fn inode(&self, file: usize) -> Option<u64> {
        Some(self.files.get(file)?.metadata().ok()?.ino())
    }

    /// Makes a call, and answers what the kernel does: an address, or an error number
    /// as a negative one.
    ///
    /// # Errors
    ///
    /// If the child is gone.
    pub(crate) fn make(&mut self, call: &Call) -> io::Result<i64> {
        let mut args = call.args;
        if call.name == Name::Mmap && args[4] != NO_FILE {
            let file = usize::try_from(args[4]).ok().and_then(|nth| self.files.get(nth));
            let descriptor = file.map_or(-1, File::as_raw_fd);
            args[4] = i64::from(descriptor).cast_unsigned();
        }
        let mut bytes = [0; WORDS * 8];
        let words = [call.number().cast_unsigned()].into_iter().chain(args);
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        self.calls.write_all(&bytes)?;
        let mut answer = [0; 8];
        self.answers.read_exact(&mut answer)?;
        Ok(i64::from_ne_bytes(answer))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let mut status = 0;
        // SAFETY: the process is a child of this one that nobody has waited for.
        unsafe { libc::kill(self.id, libc::SIGKILL) };
        // SAFETY: as above; `status` has its place.
        unsafe { libc::waitpid(self.id, &raw mut status, 0) };
    }
}

/// Makes the calls that come until none comes any more.
fn serve(calls: RawFd, answers: RawFd) -> ! {
    // SAFETY: this concerns the child alone.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let mut words = [0_i64; WORDS];
    loop {
        let size = size_of_val(&words);
        // SAFETY: the words have that size. A pipe of this size is not read in parts.
        let read = unsafe { libc::read(calls, words.as_mut_ptr().cast(), size) };
        if usize::try_from(read) != Ok(size) {
            // SAFETY: the child has nothing to put in order.
            unsafe { libc::_exit(0) };
        }
        let [number, args @ ..] = words;
        // SAFETY: whoever sends the call keeps it to memory that the child does not use.
        let mut answer =
            unsafe { libc::syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]) };
        if answer == -1 {
            let errno = io::Error::last_os_error().raw_os_error();
            answer = -errno.map_or(0, i64::from);
        }
        // SAFETY: the answer has its place.
        unsafe { libc::write(answers, (&raw const answer).cast(), size_of_val(&answer)) };
    }
}

fn pipe() -> io::Result<(File, File)> {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptors are new and nobody else's.
    Ok(ends.map(|end| unsafe { File::from_raw_fd(end) }).into())
}

/// A file in memory of `len` bytes.
///
/// # Errors
///
/// If there is none to be had.
pub(crate) fn memory_file(len: u64) -> io::Result<File> {
    // SAFETY: the name is a string with a zero at its end.
    let descriptor = unsafe { libc::memfd_create(c"differential".as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let file = unsafe { File::from_raw_fd(descriptor) };
    file.set_len(len)?;
    Ok(file)
}

/// `file` once more, opened for reading alone.
///
/// # Errors
///
/// If it cannot be opened.
pub(crate) fn read_only(file: &File) -> io::Result<File> {
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// The size of a page.
///
/// # Errors
///
/// If the system does not know it.
pub(crate) fn page_size() -> io::Result<PageSize> {
    // SAFETY: it only answers.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let bytes = u64::try_from(bytes).ok().and_then(PageSize::new);
    bytes.ok_or_else(io::Error::last_os_error)
}
