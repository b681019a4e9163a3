//! Looking at memory without being killed by it.
#![allow(unsafe_code, reason = "tests of real memory")]

use super::FILE_PAGES;
use addrspace::MapFlags;
use std::fs::File;
use std::os::fd::FromRawFd;
use std::os::unix::fs::FileExt;

pub const PAGE: u64 = 4096;

fn own_id() -> libc::pid_t {
    libc::pid_t::try_from(std::process::id()).unwrap()
}

/// The word at `addr`; nothing if it may not be read.
///
/// The kernel reads it for us, as of another process, and respects protections.
pub fn read_word(addr: u64) -> Option<u64> {
    let mut word = 0_u64;
    let here = libc::iovec { iov_base: (&raw mut word).cast(), iov_len: 8 };
    let there =
        libc::iovec { iov_base: std::ptr::without_provenance_mut(addr as usize), iov_len: 8 };
    // SAFETY: the kernel writes to `word` alone, and checks the other address.
    let read =
        unsafe { libc::process_vm_readv(own_id(), &raw const here, 1, &raw const there, 1, 0) };
    (read == 8).then_some(word)
}

/// Writes a word to `addr`; whether it may be written.
pub fn write_word(addr: u64, word: u64) -> bool {
    let here = libc::iovec { iov_base: (&raw const word).cast_mut().cast(), iov_len: 8 };
    let there =
        libc::iovec { iov_base: std::ptr::without_provenance_mut(addr as usize), iov_len: 8 };
    // SAFETY: the tests write to pages of their own reservation only.
    let wrote =
        unsafe { libc::process_vm_writev(own_id(), &raw const here, 1, &raw const there, 1, 0) };
    wrote == 8
}

/// The flags that the kernel tells of each page from `start` on.
pub fn kernel_flags(start: u64, pages: usize) -> Vec<MapFlags> {
    let named = |name| match name {
        "lo" => MapFlags::LOCKED,
        "dc" => MapFlags::DONT_FORK,
        "dd" => MapFlags::DONT_DUMP,
        "wf" => MapFlags::WIPE_ON_FORK,
        _ => MapFlags::empty(),
    };
    let mut flags = vec![MapFlags::empty(); pages];
    let mut region = 0..0;
    for line in std::fs::read_to_string("/proc/self/smaps").unwrap().lines() {
        let hex = |digits| u64::from_str_radix(digits, 16).ok();
        let ends = line.split(' ').next().unwrap().split_once('-');
        if let Some((first, last)) = ends.and_then(|(a, b)| hex(a).zip(hex(b))) {
            region = first..last;
        } else if let Some(names) = line.strip_prefix("VmFlags:") {
            let all = names.split_ascii_whitespace().map(named).collect::<MapFlags>();
            for (page, flags) in flags.iter_mut().enumerate() {
                if region.contains(&(start + page as u64 * PAGE)) {
                    *flags = all;
                }
            }
        }
    }
    flags
}

/// How much memory is locked, in bytes.
pub fn locked_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// A file of `FILE_PAGES` pages, each of which begins with a word: `first`, and one
/// more each.
pub fn test_file(first: u64) -> File {
    // SAFETY: the name is a string with a zero at its end.
    let fd = unsafe { libc::memfd_create(c"test".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0, "memfd_create: {}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is new and nobody else's.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(FILE_PAGES * PAGE).unwrap();
    for page in 0..FILE_PAGES {
        file.write_all_at(&(first + page).to_ne_bytes(), page * PAGE).unwrap();
    }
    file
}
