//! Physical memory to a file.

use super::error::{Access, Error};
use super::mem::PhysMem;
use super::sys::{Buffer, Errno};
use super::target::Target;
use super::window::wide;
use crate::{PageSize, Prot, Span};
use core::ops::{ControlFlow, RangeInclusive};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

/// What to do about bytes that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Unreadable {
    /// The dump ends there with the error.
    #[default]
    Stop,
    /// The file has zeroes there.
    Zero,
    /// The file has a hole there, which reads as zeroes and takes no space. What
    /// follows keeps its place.
    Skip,
}

/// How the bytes are got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum By {
    /// Through windows, one piece after the other: reaches devices, too.
    #[default]
    Windows,
    /// By [`PhysMem::read`], in the mode that the device was opened in.
    Reading,
}

/// How a dump is made.
///
/// # Examples
///
/// ```
/// use addrspace::phys::{DumpOptions, Unreadable};
///
/// let options = DumpOptions { unreadable: Unreadable::Skip, ..DumpOptions::default() };
/// assert!(options.direct && options.sync);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DumpOptions {
    /// What to do about bytes that cannot be read.
    pub unreadable: Unreadable,
    /// How the bytes are got.
    pub by: By,
    /// Whether the file is written past the page cache (`O_DIRECT`), if it can be.
    pub direct: bool,
    /// Whether the file is on its disk when the dump ends (`fsync`).
    pub sync: bool,
    /// The bytes of one write, rounded up to what the file needs.
    pub chunk: usize,
    /// How many chunks are in memory: one is read while others are written.
    pub chunks: usize,
}

impl Default for DumpOptions {
    fn default() -> Self {
        Self {
            unreadable: Unreadable::Stop,
            by: By::Windows,
            direct: true,
            sync: true,
            chunk: 1 << 20,
            chunks: 4,
        }
    }
}

/// How far a dump is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How many bytes have been read, or found to be unreadable.
    pub done: u64,
    /// How many there are.
    pub len: u64,
    /// How many were unreadable.
    pub unreadable: u64,
}

/// Which way the bytes went to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Way {
    /// Past the page cache, in multiples of `align` bytes.
    Direct {
        /// What the file's offsets are multiples of.
        align: usize,
    },
    /// Through the page cache, because nothing else was asked for.
    Buffered,
    /// Through the page cache, because the file cannot do without: the error number
    /// that it said so with.
    FellBack {
        /// The error number, positive.
        errno: i32,
    },
}

/// What a dump did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dump {
    /// The length of the file, which is that of the range.
    pub len: u64,
    /// The physical addresses that could not be read, in ascending order.
    pub unreadable: Vec<Span>,
    /// The error that the first of them was refused with.
    pub first_refusal: Option<Error>,
    /// Which way the bytes went.
    pub way: Way,
}

/// A chunk on its way to the file.
struct Chunk {
    buffer: Buffer,
    len: usize,
    /// The bytes of it that go to the file, in ascending order; all but for holes.
    holes: Vec<(usize, usize)>,
}

impl PhysMem {
    /// Writes the physical memory of `range` to the file at `path`, whose byte 0 is
    /// the range's first. The file is made, or replaced.
    ///
    /// `on_progress` hears of each chunk that was read, and can stop the dump.
    ///
    /// # Why there are buffers in between
    ///
    /// One would map `/dev/mem` and pass the mapping to a `write` with `O_DIRECT`.
    /// That fails with `EFAULT`, always: for direct input and output the kernel pins
    /// the pages that the bytes are in, and pages of such a mapping (`VM_PFNMAP`)
    /// have nothing to pin: they are numbers of frames, without the kernel's
    /// structures for memory. So each chunk is copied into ordinary memory at a page
    /// boundary, and from there it goes to the disk, while the next one is read.
    ///
    /// # Alignment
    ///
    /// The file says what it needs (`STATX_DIOALIGN`, Linux 6.1), else pages are
    /// taken to do. The range may have any length: the last write is padded, and the
    /// file then cut to its length.
    ///
    /// # Errors
    ///
    /// - [`Error::Range`] if the range is empty: no file was made.
    /// - [`Error::Refused`] and [`Error::End`], of [`Unreadable::Stop`] alone.
    /// - [`Error::Target`] if the file refuses; [`Error::Stopped`] by `on_progress`.
    ///
    /// Up to there the file has what was read, or less; it has not been synced.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::phys::{DumpOptions, PhysMem, Unreadable};
    /// use core::ops::ControlFlow;
    /// # let file = |name| std::env::temp_dir().join(format!("addrspace-dump-{name}-{}", std::process::id()));
    /// # let (path, to) = (file("mem"), file("out"));
    /// # std::fs::write(&path, [7; 0x3000]).unwrap();
    ///
    /// let memory = PhysMem::options().path(&path).cached().open()?;
    /// let options = DumpOptions { unreadable: Unreadable::Zero, ..DumpOptions::default() };
    /// let dump = memory.dump(0x1001..=0x4000, &to, &options, |progress| {
    ///     assert!(progress.done <= progress.len);
    ///     ControlFlow::Continue(())
    /// })?;
    /// assert_eq!(dump.len, 0x3000);
    /// assert_eq!(dump.unreadable[0].start(), 0x3000); // where our file ends
    /// assert_eq!(std::fs::read(&to).unwrap()[0x1ffe..=0x1fff], [7, 0]);
    /// # std::fs::remove_file(&path).unwrap();
    /// # std::fs::remove_file(&to).unwrap();
    /// # Ok::<(), addrspace::phys::Error>(())
    /// ```
    pub fn dump(
        &self,
        range: RangeInclusive<u64>,
        path: impl AsRef<Path>,
        options: &DumpOptions,
        mut on_progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Dump, Error> {
        let (first, last) = range.into_inner();
        let bad = || Error::Range { addr: first, len: last.wrapping_sub(first).wrapping_add(1) };
        let span = Span::new(first, last).ok_or_else(bad)?;
        let len = span.len().filter(|len| i64::try_from(*len).is_ok()).ok_or_else(bad)?;

        let mut target = Target::create(path.as_ref(), options.direct)?;
        let chunk = target.round_up(options.chunk.max(1)).ok_or_else(bad)?;
        let (full, to_write) = mpsc::channel::<Chunk>();
        let (empty, to_fill) = mpsc::channel::<Buffer>();
        for _ in 0..options.chunks.max(2) {
            let buffer =
                Buffer::new(chunk).map_err(|errno| target.refused("get memory for", 0, errno))?;
            // Its other end is right here.
            let _ = empty.send(buffer);
        }
        let mut source =
            Source { memory: self, by: options.by, unreadable: Vec::new(), first: None };
        let mut outcome = Ok(());
        let written = thread::scope(|scope| {
            let writer = scope.spawn(move || -> Result<Target, Error> {
                for chunk in to_write {
                    target.put(&chunk.buffer, chunk.len, &chunk.holes)?;
                    // When all is read, nobody waits for it.
                    let _ = empty.send(chunk.buffer);
                }
                Ok(target)
            });
            let mut done = 0;
            while done < len {
                // The writer ends before the reader only if it fails.
                let Ok(mut buffer) = to_fill.recv() else { break };
                let left = usize::try_from(len.saturating_sub(done)).unwrap_or(usize::MAX);
                let size = left.min(chunk);
                let bytes = buffer.bytes_mut().get_mut(..size).unwrap_or_default();
                // It is below the length, so the sum is not past the last address.
                let holes = match source.fill(first.saturating_add(done), bytes, options.unreadable)
                {
                    Ok(holes) => holes,
                    Err(error) => {
                        outcome = Err(error);
                        break;
                    }
                };
                done = done.saturating_add(wide(size));
                let holes = if options.unreadable == Unreadable::Skip { holes } else { Vec::new() };
                if full.send(Chunk { buffer, len: size, holes }).is_err() {
                    break;
                }
                let unreadable = source.unreadable.iter().filter_map(|span| span.len()).sum();
                if on_progress(Progress { done, len, unreadable }).is_break() && done < len {
                    outcome = Err(Error::Stopped { done });
                    break;
                }
            }
            drop(full);
            match writer.join() {
                Ok(written) => written,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        });
        let target = written?;
        outcome?;
        let way = target.finish(len, options.sync)?;
        Ok(Dump { len, unreadable: source.unreadable, first_refusal: source.first, way })
    }
}

/// Where the bytes come from.
struct Source<'a> {
    memory: &'a PhysMem,
    by: By,
    unreadable: Vec<Span>,
    first: Option<Error>,
}

impl Source<'_> {
    /// Fills `bytes` from `phys` on, and answers which of them could not be read and
    /// are zero: offset and length of each run.
    fn fill(
        &mut self,
        phys: u64,
        bytes: &mut [u8],
        unreadable: Unreadable,
    ) -> Result<Vec<(usize, usize)>, Error> {
        let error = match self.get(phys, bytes) {
            Ok(()) => return Ok(Vec::new()),
            Err(error) => error,
        };
        if unreadable == Unreadable::Stop || !is_of_the_bytes(&error) {
            return Err(error);
        }
        // Which of them it is: a range is refused for one page of it.
        let mut holes: Vec<(usize, usize)> = Vec::new();
        let mut at = 0;
        while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
            // It lies in the range of the dump.
            let here = phys.saturating_add(wide(at));
            let size = rest.len().min(to_next_page(here));
            let page = rest.get_mut(..size).unwrap_or_default();
            if let Err(error) = self.get(here, page) {
                if !is_of_the_bytes(&error) {
                    return Err(error);
                }
                // Of a page that a file ends in, its bytes are there.
                let kept = match error {
                    Error::End { done, .. } => usize::try_from(done).unwrap_or(0).min(size),
                    _ => 0,
                };
                let (head, tail) = page.split_at_mut(kept);
                if !head.is_empty() && self.get(here, head).is_err() {
                    head.fill(0);
                }
                tail.fill(0);
                self.note(here.saturating_add(wide(kept)), tail.len(), error);
                push_run(&mut holes, at.saturating_add(kept), size.saturating_sub(kept));
            }
            at = at.saturating_add(size);
        }
        Ok(holes)
    }

    fn get(&self, phys: u64, bytes: &mut [u8]) -> Result<(), Error> {
        match self.by {
            By::Reading => self.memory.read(phys, bytes),
            By::Windows => {
                let Some(span) = Span::of(phys, wide(bytes.len())) else { return Ok(()) };
                let window = self.memory.window(span.start()..=span.last(), Prot::READ)?;
                window.copy_to(0, bytes)
            }
        }
    }

    fn note(&mut self, phys: u64, len: usize, error: Error) {
        self.first.get_or_insert(error);
        let Some(span) = Span::of(phys, wide(len)) else { return };
        match self.unreadable.last_mut() {
            Some(run) if run.end() == Some(phys) => {
                *run = Span::new(run.start(), span.last()).unwrap_or(*run);
            }
            _ => self.unreadable.push(span),
        }
    }
}

/// Whether an error says that these bytes cannot be read, others perhaps can.
fn is_of_the_bytes(error: &Error) -> bool {
    match error {
        Error::End { .. } | Error::Outside { .. } => true,
        Error::Refused { access, errno, .. } => {
            let lacking = [Errno::NOMEM, Errno::NFILE, Errno::MFILE].map(Errno::raw_os_error);
            *access != Access::Write && !lacking.contains(errno)
        }
        _ => false,
    }
}

/// The bytes from `phys` to the end of its page.
fn to_next_page(phys: u64) -> usize {
    let size = rustix::param::page_size();
    let skipped =
        PageSize::new(wide(size)).map_or(0, |page| phys.wrapping_sub(page.round_down(phys)));
    size.saturating_sub(usize::try_from(skipped).unwrap_or(0)).max(1)
}

fn push_run(runs: &mut Vec<(usize, usize)>, at: usize, len: usize) {
    match runs.last_mut() {
        Some((start, before)) if start.saturating_add(*before) == at => {
            *before = before.saturating_add(len);
        }
        _ => runs.push((at, len)),
    }
}
