//! What is mapped in the reservation, as the kernel lists it.

use std::fs;
use std::io;

use addrspace::Span;

/// A line of the list, or several that continue each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// As the kernel writes it, such as `rw-p`.
    pub(crate) perms: String,
    /// Where the first byte lies in the file.
    offset: u64,
    /// The file; nothing if it is anonymous.
    pub(crate) file: String,
}

/// What is mapped in `span` with some access: addresses that are reserved have none.
pub(crate) fn read(span: Span) -> io::Result<Vec<Line>> {
    Ok(parse(&fs::read_to_string("/proc/self/maps")?, span))
}

/// The same, out of the text of a list.
pub(crate) fn parse(text: &str, span: Span) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for line in text.lines().filter_map(line) {
        let end = span.end().unwrap_or(u64::MAX);
        let clipped = Line { start: line.start.max(span.start()), end: line.end.min(end), ..line };
        if clipped.start >= clipped.end || clipped.perms.starts_with("---") {
            continue;
        }
        match lines.last_mut() {
            Some(last) if last.goes_on_as(&clipped) => last.end = clipped.end,
            _ => lines.push(clipped),
        }
    }
    lines
}

impl Line {
    fn goes_on_as(&self, next: &Self) -> bool {
        let len = self.end.abs_diff(self.start);
        self.end == next.start
            && self.perms == next.perms
            && self.file == next.file
            && (self.file.is_empty() || self.offset.checked_add(len) == Some(next.offset))
    }

    pub(crate) fn len(&self) -> u64 {
        self.end.abs_diff(self.start)
    }
}

/// Start, end, permissions, offset, device, inode and name.
fn line(text: &str) -> Option<Line> {
    let mut fields = text.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let perms = fields.next()?.to_owned();
    let offset = hex(fields.next()?)?;
    let _device = fields.next()?;
    let _inode = fields.next()?;
    let name = fields.next().unwrap_or("").trim_start();
    let name = name.strip_suffix(" (deleted)").unwrap_or(name);
    let file = name.strip_prefix("/memfd:").unwrap_or(name).to_owned();
    Some(Line { start: hex(start)?, end: hex(end)?, perms, offset, file })
}
