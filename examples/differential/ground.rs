//! A child in which everything is mapped but a window of a few hundred pages: so the
//! kernel has room nowhere else, and what it chooses and refuses is for the books to know.

use std::fs::{self, File};
use std::io;

use addrspace::{MapFlags, PageSize, Span};

use super::call::{ANONYMOUS, Call, NO_FILE, NO_REPLACE, NO_RESERVE, Name, PRIVATE, SHARED};
use super::child::{Child, memory_file, page_size, read_only};
use super::kernel::{Area, read, read_flags};
use super::tally::errno;

/// Where the window is: below all that a process has by itself, so that its lines are
/// the first of the list.
pub(crate) const WINDOW: u64 = 0x2_0000_0000;
/// Its length, less than a huge page: the kernel places what is larger in its own way.
pub(crate) const PAGES: u64 = 300;
/// The number of files; the last was opened for reading alone.
pub(crate) const FILES: u64 = 3;
/// The file that was opened for reading alone.
pub(crate) const READ_ONLY: u64 = 2;
/// How long the files are, in pages: some mappings reach past their ends.
const FILE_PAGES: u64 = 400;
/// Linux keeps so many pages free below a stack.
const STACK_GAP: u64 = 256;

/// The child, and what is around the window.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) child: Child,
    maps: File,
    pub(crate) page: PageSize,
    pub(crate) window: Span,
    /// The lowest address that this process may map.
    pub(crate) low: u64,
    /// The end of user memory.
    pub(crate) end: u64,
    pub(crate) outside: Vec<Area>,
}

impl Ground {
    /// A child in which the window is free.
    ///
    /// # Errors
    ///
    /// If there is none to be had, or the window is not free, or the kernel does not
    /// choose the highest place.
    pub(crate) fn new() -> io::Result<Self> {
        let page = page_size()?;
        let size = page.bytes();
        let window = Span::of(WINDOW, PAGES * size).ok_or_else(|| io::Error::other("no window"))?;
        let file = || memory_file(FILE_PAGES * size);
        let mut child = Child::start(vec![file()?, file()?, read_only(&file()?)?])?;
        let mut maps = child.maps()?;
        let mut outside = Vec::new();
        read(&mut maps, 1 << 63, &mut outside)?;
        let end = user_end(&mut child, &outside, size)?;
        let low = fill(&mut child, &outside, window, end, size)?;
        read(&mut maps, end, &mut outside)?;
        chooses_the_highest(&mut child, window.last() + 1 - size, size)?;
        Ok(Self { child, maps, page, window, low, end, outside })
    }

    /// Reads the kernel's list up to the end of the window.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(crate) fn look(&mut self, areas: &mut Vec<Area>) -> io::Result<()> {
        read(&mut self.maps, self.window.last(), areas)
    }

    /// The flags of what is mapped up to the end of the window, as the kernel tells them.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(crate) fn flags(&self) -> io::Result<Vec<(u64, u64, MapFlags)>> {
        read_flags(self.child.details()?, self.window.last())
    }

    /// Clears the window, and answers whether everything around it is as it was.
    ///
    /// # Errors
    ///
    /// If the child is gone.
    pub(crate) fn is_whole(&mut self) -> io::Result<bool> {
        let all = [WINDOW, PAGES * self.page.bytes(), 0, 0, 0, 0];
        self.child.make(&Call::new(Name::Munmap, all))?;
        let mut now = Vec::new();
        read(&mut self.maps, self.end, &mut now)?;
        // A stack may have grown.
        let fixed = |area: &&Area| !area.stack;
        Ok(now.iter().filter(fixed).eq(self.outside.iter().filter(fixed)))
    }
}

/// The end of user memory: the lowest address up to which nothing can be unmapped.
fn user_end(child: &mut Child, areas: &[Area], page: u64) -> io::Result<u64> {
    let top = areas.last().map_or(0, |area| area.end);
    // In pages: below `low` everything is user memory, from `high` on nothing.
    let (mut low, mut high) = (top / page, (1 << 63) / page);
    while low < high {
        let middle = low.midpoint(high);
        // Nothing is mapped up there.
        let call = Call::new(Name::Munmap, [middle * page, page, 0, 0, 0, 0]);
        if child.make(&call)? == 0 { low = middle + 1 } else { high = middle }
    }
    Ok(low * page)
}

/// Maps, without access, all that is free around the window, and answers from where on
/// this process may map.
fn fill(child: &mut Child, areas: &[Area], window: Span, end: u64, page: u64) -> io::Result<u64> {
    let text = fs::read_to_string("/proc/sys/vm/mmap_min_addr").unwrap_or_default();
    let bound = text.trim().parse().unwrap_or(0_u64).next_multiple_of(page).max(page);
    // Below it only the privileged may map.
    let low = if occupy(child, 0, bound)? < 0 { bound } else { 0 };
    let hole = Area { start: window.start(), end: window.last() + 1, ..NOTHING };
    let rest = Area { start: end, end, ..NOTHING };
    let mut all: Vec<Area> = areas.iter().copied().chain([hole, rest]).collect();
    all.sort_unstable_by_key(|area| area.start);

    let mut from = bound;
    for area in all {
        // No mapping may come near to a stack, but the stack is to grow.
        let upto = if area.stack { area.start - STACK_GAP * page } else { area.start };
        if upto > from {
            let answer = occupy(child, from, upto)?;
            if answer < 0 {
                return Err(io::Error::other(format!("{from:#x} to {upto:#x}: {}", errno(answer))));
            }
        }
        if window.start() < from && from <= window.last() {
            return Err(io::Error::other(format!("the window is not free: {area:x?}")));
        }
        from = from.max(area.end);
    }
    Ok(low)
}

fn occupy(child: &mut Child, from: u64, upto: u64) -> io::Result<i64> {
    // Shared, so that nothing in the window merges with it.
    let flags = SHARED | ANONYMOUS | NO_RESERVE | NO_REPLACE;
    child.make(&Call::new(Name::Mmap, [from, upto - from, 0, flags, NO_FILE, 0]))
}

/// Makes sure that the kernel chooses as the books do.
fn chooses_the_highest(child: &mut Child, highest: u64, page: u64) -> io::Result<()> {
    let flags = PRIVATE | ANONYMOUS;
    let place = child.make(&Call::new(Name::Mmap, [0, page, 0, flags, NO_FILE, 0]))?;
    if place != highest.cast_signed() {
        let place = errno(place);
        return Err(io::Error::other(format!("the kernel maps at {place}, not {highest:#x}")));
    }
    child.make(&Call::new(Name::Munmap, [highest, page, 0, 0, 0, 0]))?;
    Ok(())
}

/// No area at all.
const NOTHING: Area =
    Area { start: 0, end: 0, prot: 0, shared: false, offset: 0, inode: 0, stack: false };
