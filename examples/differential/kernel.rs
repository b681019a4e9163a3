//! The kernel's list of a process: `/proc/PID/maps`, and `/proc/PID/smaps` for flags.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::str;

use addrspace::MapFlags;

/// One line of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Read 1, write 2, execute 4.
    pub(crate) prot: u32,
    pub(crate) shared: bool,
    pub(crate) offset: u64,
    /// 0 if there is no file.
    pub(crate) inode: u64,
    /// Whether it grows downwards, as far as a list shows.
    pub(crate) stack: bool,
}

/// Reads into `areas` what the list has below `end`.
///
/// Areas come in ascending order, so that not more is read than is wanted.
///
/// # Errors
///
/// If the list cannot be read, or does not look like one.
pub(crate) fn read(maps: &mut File, end: u64, areas: &mut Vec<Area>) -> io::Result<()> {
    areas.clear();
    maps.rewind()?;
    let mut text = Vec::with_capacity(1 << 12);
    let mut chunk = [0; 1 << 12];
    loop {
        let len = maps.read(&mut chunk)?;
        text.extend_from_slice(chunk.get(..len).unwrap_or_default());
        let lines = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        for line in text.drain(..lines).as_slice().split(|byte| *byte == b'\n') {
            if line.is_empty() {
                continue;
            }
            let area = str::from_utf8(line).ok().and_then(parse).ok_or_else(|| {
                io::Error::other(format!("no line of a list: {}", String::from_utf8_lossy(line)))
            })?;
            if area.start >= end {
                return Ok(());
            }
            areas.push(area);
        }
        if len == 0 {
            return Ok(());
        }
    }
}

/// Start, end and flags of what the detailed list has below `end`.
///
/// # Errors
///
/// If the list cannot be read.
pub(crate) fn read_flags(smaps: File, end: u64) -> io::Result<Vec<(u64, u64, MapFlags)>> {
    const NAMES: [(&str, MapFlags); 3] =
        [("dc", MapFlags::DONT_FORK), ("dd", MapFlags::DONT_DUMP), ("nr", MapFlags::NO_RESERVE)];
    let mut found = Vec::new();
    let mut current = None;
    for line in BufReader::new(smaps).lines() {
        let line = line?;
        if let Some(names) = line.strip_prefix("VmFlags:") {
            let has = |name| names.split_ascii_whitespace().any(|other| other == name);
            let flags = NAMES.iter().filter(|(name, _)| has(*name)).map(|(_, flag)| *flag);
            let area: Option<Area> = current.take();
            found.extend(area.map(|area| (area.start, area.end, flags.collect())));
        } else if let Some(area) = parse(&line) {
            if area.start >= end {
                break;
            }
            current = Some(area);
        }
    }
    Ok(found)
}

fn parse(line: &str) -> Option<Area> {
    let hex = |digits| u64::from_str_radix(digits, 16).ok();
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let flags = fields.next()?.as_bytes();
    let prot = [(b'r', 1), (b'w', 2), (b'x', 4)];
    let prot = prot.iter().zip(flags).filter(|((letter, _), flag)| letter == *flag);
    let offset = hex(fields.next()?)?;
    let _device = fields.next()?;
    Some(Area {
        start: hex(start)?,
        end: hex(end)?,
        prot: prot.map(|((_, bit), _)| bit).sum(),
        shared: flags.get(3) == Some(&b's'),
        offset,
        inode: fields.next()?.parse().ok()?,
        stack: fields.next() == Some("[stack]"),
    })
}
