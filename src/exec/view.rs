//! The kernel's own list of what this process has mapped.
//!
//! It is asked with the `ioctl` `PROCMAP_QUERY` where the kernel has it (Linux 6.11),
//! which looks at the asked addresses alone, and else read from `/proc/self/maps`.

use super::error::Syscall;
use super::seam;
use super::sys::{Errno, Maps, ProcmapQuery};
use crate::{MapFlags, Prot, Span};
use rustix::fs::{self, Mode, OFlags};
use std::fs::File;
use std::io::{BufRead, BufReader};

/// One mapping as the kernel lists it, cut to what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KernelRegion {
    pub(crate) span: Span,
    pub(crate) prot: Prot,
    pub(crate) shared: bool,
    /// Where the first byte lies in the file; without a meaning if there is none.
    pub(crate) offset: u64,
    pub(crate) file: Shown,
    /// The size of its pages in bytes; 0 where it is not told.
    pub(crate) page_size: u64,
}

/// A file as the kernel's list names it: device and inode. Both are zero for
/// private anonymous memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Shown {
    pub(super) major: u32,
    pub(super) minor: u32,
    pub(super) inode: u64,
}

impl Shown {
    pub(crate) const fn is_anonymous(self) -> bool {
        self.major == 0 && self.minor == 0 && self.inode == 0
    }
}

impl KernelRegion {
    /// Private anonymous memory without access: what a reservation is made of.
    pub(super) fn is_reserved(&self) -> bool {
        self.file.is_anonymous() && !self.shared && self.prot.is_empty()
    }

    fn clipped(mut self, to: Span) -> Option<Self> {
        let start = self.span.start().max(to.start());
        let span = Span::new(start, self.span.last().min(to.last()))?;
        self.offset = self.offset.wrapping_add(start.wrapping_sub(self.span.start()));
        self.span = span;
        Some(self)
    }
}

/// What the kernel has in `span`, in ascending order.
pub(crate) fn regions(span: Span) -> Result<Vec<KernelRegion>, Errno> {
    seam::gate(Syscall::Maps, span, |_| Ok(()))?;
    // The kernel may be older than the query, or a sandbox may forbid it.
    queried(span).or_else(|_| listed(span, "/proc/self/maps"))
}

/// The same, with the size of the pages.
pub(super) fn sized_regions(span: Span) -> Result<Vec<KernelRegion>, Errno> {
    seam::gate(Syscall::Maps, span, |_| Ok(()))?;
    queried(span).or_else(|_| listed(span, "/proc/self/smaps"))
}

/// The first of what the kernel has in `span`, the whole of it.
pub(super) fn first(span: Span) -> Option<Span> {
    let start = regions(span).ok()?.first()?.span.start();
    // Looked at again without the cut.
    let all = regions(Span::new(0, u64::MAX)?).ok()?;
    all.iter().map(|region| region.span).find(|whole| whole.contains(start))
}

fn open(path: &str) -> Result<BufReader<File>, Errno> {
    let file = fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(BufReader::new(File::from(file)))
}

/// The list by the `ioctl`.
fn queried(span: Span) -> Result<Vec<KernelRegion>, Errno> {
    /// Also a mapping that starts after the address will do.
    const COVERING_OR_NEXT: u64 = 0x10;
    const SHARED: u64 = 0x8;
    #[cfg(test)]
    if seam::Plan::text_alone() {
        return Err(Errno::NOTTY);
    }
    let maps = Maps::open()?;
    let mut found = Vec::new();
    let mut next = span.start();
    loop {
        let mut query = ProcmapQuery {
            query_flags: COVERING_OR_NEXT,
            query_addr: next,
            ..ProcmapQuery::default()
        };
        match maps.query(&mut query) {
            Ok(()) => {}
            Err(Errno::NOENT) => break,
            Err(errno) => return Err(errno),
        }
        let Some(region) = query.vma_end.checked_sub(1).and_then(|last| {
            let whole = Span::new(query.vma_start, last)?;
            // The kernel's first three bits are those of `PROT_*`.
            let prot = u32::try_from(query.vma_flags & 7).ok()?;
            let region = KernelRegion {
                span: whole,
                prot: Prot::from_bits_retain(prot),
                shared: query.vma_flags & SHARED != 0,
                offset: query.vma_offset,
                file: Shown { major: query.dev_major, minor: query.dev_minor, inode: query.inode },
                page_size: query.vma_page_size,
            };
            region.clipped(span)
        }) else {
            break;
        };
        found.push(region);
        if query.vma_end > span.last() {
            break;
        }
        next = query.vma_end;
    }
    Ok(found)
}

/// The list as text; `path` is that of a list with or without details.
fn listed(span: Span, path: &str) -> Result<Vec<KernelRegion>, Errno> {
    let mut lines = open(path)?;
    let (mut found, mut line) = (Vec::<KernelRegion>::new(), Vec::new());
    // Whether the details are those of the last one found.
    let mut inside = false;
    while next_line(&mut lines, &mut line)? {
        if let Some(region) = parse(&line) {
            if region.span.start() > span.last() {
                break;
            }
            let clipped = region.clipped(span);
            inside = clipped.is_some();
            found.extend(clipped);
        } else if let (true, Some(last)) = (inside, found.last_mut()) {
            last.page_size = page_size(&line).unwrap_or(last.page_size);
        }
    }
    Ok(found)
}

/// `KernelPageSize: 4 kB`, in bytes.
fn page_size(line: &[u8]) -> Option<u64> {
    let rest = core::str::from_utf8(line.strip_prefix(b"KernelPageSize:")?).ok()?;
    rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Reads a line; paths in it need not be UTF-8.
fn next_line(lines: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, Errno> {
    line.clear();
    let read = lines.read_until(b'\n', line);
    let read = read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(read > 0)
}

/// `start-end perms offset major:minor inode path`.
fn parse(line: &[u8]) -> Option<KernelRegion> {
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|f| !f.is_empty());
    let mut field = || core::str::from_utf8(fields.next()?).ok();
    let hex = |digits: &str| u64::from_str_radix(digits, 16).ok();
    let (start, end) = field()?.split_once('-')?;
    let perms = field()?.as_bytes();
    let offset = hex(field()?)?;
    let (major, minor) = field()?.split_once(':')?;
    let inode = field()?.parse().ok()?;
    let mut prot = Prot::empty();
    for (letter, bit) in [(b'r', Prot::READ), (b'w', Prot::WRITE), (b'x', Prot::EXEC)] {
        if perms.contains(&letter) {
            prot |= bit;
        }
    }
    Some(KernelRegion {
        span: Span::new(hex(start)?, hex(end)?.checked_sub(1)?)?,
        prot,
        shared: *perms.get(3)? == b's',
        offset,
        file: Shown {
            major: u32::from_str_radix(major, 16).ok()?,
            minor: u32::from_str_radix(minor, 16).ok()?,
            inode,
        },
        page_size: 0,
    })
}

/// Those flags of a mapping that the kernel tells: in `/proc/self/smaps`, which is
/// slow to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KernelFlags {
    pub(crate) span: Span,
    pub(super) flags: MapFlags,
}

/// The flags of what the kernel has in `span`, in ascending order.
pub(super) fn flags(span: Span) -> Result<Vec<KernelFlags>, Errno> {
    const NAMES: [(&str, MapFlags); 4] = [
        ("lo", MapFlags::LOCKED),
        ("dc", MapFlags::DONT_FORK),
        ("dd", MapFlags::DONT_DUMP),
        ("wf", MapFlags::WIPE_ON_FORK),
    ];
    seam::gate(Syscall::Maps, span, |_| Ok(()))?;
    let mut lines = open("/proc/self/smaps")?;
    let (mut found, mut line) = (Vec::new(), Vec::new());
    let mut current: Option<KernelRegion> = None;
    while next_line(&mut lines, &mut line)? {
        if let Some(region) = parse(&line) {
            if region.span.start() > span.last() {
                break;
            }
            current = region.clipped(span);
        } else if let (Some(region), Some(names)) = (current, line.strip_prefix(b"VmFlags:")) {
            let names = core::str::from_utf8(names).map_err(|_| Errno::IO)?;
            let mut flags = MapFlags::empty();
            for (name, flag) in NAMES {
                if names.split_ascii_whitespace().any(|other| other == name) {
                    flags |= flag;
                }
            }
            found.push(KernelFlags { span: region.span, flags });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_look_see_the_same() {
        // A part of our own program; other threads of it may change the rest.
        static CONSTANT: [u8; 0x3000] = [1; 0x3000];
        let code = u64::try_from(CONSTANT.as_ptr().addr()).unwrap();
        let all = listed(Span::new(0, u64::MAX).unwrap(), "/proc/self/maps").unwrap();
        let here = all.iter().find(|region| region.span.contains(code)).unwrap();
        assert!(here.prot == Prot::READ && here.file.inode != 0);
        let inner = Span::new(here.span.start() + 0x1000, here.span.last()).unwrap();
        for span in [here.span, inner] {
            let text = listed(span, "/proc/self/smaps").unwrap();
            assert_eq!((text.len(), text[0].page_size), (1, 4096));
            assert_eq!(text[0].offset, here.offset + (span.start() - here.span.start()));
            match queried(span) {
                Ok(query) => assert_eq!(query, text),
                Err(Errno::NOTTY) => eprintln!("this kernel has no PROCMAP_QUERY"),
                Err(errno) => panic!("{errno}"),
            }
        }
    }

    #[test]
    fn a_line_of_the_list_is_taken_apart() {
        let line = b"7f0000001000-7f0000003000 r-xs 0000a000 fd:1f 1234   /a b\xff (deleted)\n";
        let region = parse(line).unwrap();
        assert_eq!(region.span, Span::new(0x7f00_0000_1000, 0x7f00_0000_2fff).unwrap());
        assert_eq!((region.prot, region.shared), (Prot::READ | Prot::EXEC, true));
        assert_eq!(region.offset, 0xa000);
        assert_eq!(region.file, Shown { major: 0xfd, minor: 0x1f, inode: 1234 });
        assert_eq!(parse(b"Size:                  4 kB\n"), None);
        assert_eq!(parse(b"VmFlags: rd ex mr mw me\n"), None);
    }
}
