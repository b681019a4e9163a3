//! The file of a dump.

use super::dump::Way;
use super::error::Error;
use super::sys::{Buffer, Errno};
use super::window::wide;
use rustix::fd::OwnedFd;
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, StatxFlags};
use rustix::io;
use std::path::{Path, PathBuf};

/// A file that is written from its start to its end, directly if it can be.
#[derive(Debug)]
pub(super) struct Target {
    file: OwnedFd,
    path: PathBuf,
    way: Way,
    /// What offsets and lengths are multiples of.
    align: usize,
    at: u64,
}

impl Target {
    /// Makes the file at `path`, or empties it.
    pub(super) fn create(path: &Path, direct: bool) -> Result<Self, Error> {
        let page = rustix::param::page_size();
        let refused = |errno: Errno| Error::Target {
            path: path.to_owned(),
            call: "create",
            done: 0,
            errno: errno.raw_os_error(),
        };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let open = |more| fs::open(path, flags | more, mode);
        let mut way = Way::Buffered;
        let opened = if direct { open(OFlags::DIRECT) } else { open(OFlags::empty()) };
        let file = match opened {
            Err(Errno::INVAL) if direct => {
                way = Way::FellBack { errno: Errno::INVAL.raw_os_error() };
                open(OFlags::empty())
            }
            Ok(file) if direct => {
                way = Way::Direct { align: page };
                Ok(file)
            }
            opened => opened,
        };
        let file = file.map_err(refused)?;
        let stat = fs::fstat(&file).map_err(refused)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            // It could not be cut to the length of the dump.
            return Err(refused(Errno::INVAL));
        }
        fs::ftruncate(&file, 0).map_err(refused)?;
        let mut target = Self { file, path: path.to_owned(), way, align: page, at: 0 };
        if matches!(way, Way::Direct { .. }) {
            target.ask_alignment()?;
        }
        Ok(target)
    }

    /// Asks the file what direct writes have to be multiples of.
    fn ask_alignment(&mut self) -> Result<(), Error> {
        let flags = AtFlags::EMPTY_PATH;
        // A kernel that does not know the question leaves the answer out.
        let Ok(answer) = fs::statx(&self.file, "", flags, StatxFlags::DIOALIGN) else {
            return Ok(());
        };
        if answer.stx_mask & StatxFlags::DIOALIGN.bits() == 0 {
            return Ok(());
        }
        let size = |bytes: u32| usize::try_from(bytes).unwrap_or(usize::MAX);
        let (memory, offset) = (size(answer.stx_dio_mem_align), size(answer.stx_dio_offset_align));
        // 0 is a file that takes no direct writes; our buffers start with a page.
        if memory == 0 || offset == 0 || memory > rustix::param::page_size() {
            return self.fall_back(Errno::OPNOTSUPP);
        }
        self.align = offset;
        self.way = Way::Direct { align: offset };
        Ok(())
    }

    /// Goes on through the page cache.
    fn fall_back(&mut self, why: Errno) -> Result<(), Error> {
        let refused = |errno| self.refused("set the flags of", self.at, errno);
        let flags = fs::fcntl_getfl(&self.file).map_err(refused)?;
        fs::fcntl_setfl(&self.file, flags.difference(OFlags::DIRECT)).map_err(refused)?;
        self.way = Way::FellBack { errno: why.raw_os_error() };
        Ok(())
    }

    /// `len` as whole units of what is written at once.
    pub(super) fn round_up(&self, len: usize) -> Option<usize> {
        len.max(self.align)
            .checked_next_multiple_of(self.align)?
            .checked_next_multiple_of(rustix::param::page_size())
    }

    /// Writes the first `len` bytes of `buffer`, but for the holes, which the file
    /// will have, too, as far as whole units of it are in one.
    pub(super) fn put(
        &mut self,
        buffer: &Buffer,
        len: usize,
        holes: &[(usize, usize)],
    ) -> Result<(), Error> {
        let bytes = buffer.bytes();
        // The last unit may be in part: its rest is cut off in the end.
        let padded = len.checked_next_multiple_of(self.align).unwrap_or(len).min(bytes.len());
        let mut from = 0;
        for (start, hole) in holes {
            let end = start.saturating_add(*hole);
            // A hole to the end of the bytes ends with their last unit.
            let end = if end >= len {
                padded
            } else {
                end.saturating_sub(end.checked_rem(self.align).unwrap_or(0))
            };
            let start = start.checked_next_multiple_of(self.align).unwrap_or(end);
            if start < end {
                self.write(bytes.get(from..start).unwrap_or_default(), from)?;
                from = end;
            }
        }
        self.write(bytes.get(from..padded).unwrap_or_default(), from)?;
        self.at = self.at.saturating_add(wide(len));
        Ok(())
    }

    /// Writes all of `bytes`, `skipped` bytes after where the file is.
    fn write(&mut self, mut bytes: &[u8], skipped: usize) -> Result<(), Error> {
        let mut at = self.at.saturating_add(wide(skipped));
        while !bytes.is_empty() {
            match io::pwrite(&self.file, bytes, at) {
                Ok(0) => return Err(self.refused("write", at, Errno::IO)),
                Ok(count) => {
                    bytes = bytes.get(count..).unwrap_or_default();
                    at = at.saturating_add(wide(count));
                }
                Err(Errno::INTR) => {}
                // It said yes when it was opened.
                Err(errno @ (Errno::INVAL | Errno::OPNOTSUPP))
                    if matches!(self.way, Way::Direct { .. }) =>
                {
                    self.fall_back(errno)?;
                }
                Err(errno) => return Err(self.refused("write", at, errno)),
            }
        }
        Ok(())
    }

    /// Gives the file its length, and waits for its disk.
    pub(super) fn finish(self, len: u64, sync: bool) -> Result<Way, Error> {
        fs::ftruncate(&self.file, len).map_err(|errno| self.refused("cut", len, errno))?;
        if sync {
            fs::fsync(&self.file).map_err(|errno| self.refused("sync", len, errno))?;
        }
        Ok(self.way)
    }

    pub(super) fn refused(&self, call: &'static str, done: u64, errno: Errno) -> Error {
        Error::Target { path: self.path.clone(), call, done, errno: errno.raw_os_error() }
    }
}
