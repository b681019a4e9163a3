//! A child and the books of its memory, call by call.

use std::{fs, io};

use super::books::{Books, Object, shown};
use super::call::{ANONYMOUS, Call, MAP_TYPE, Name, SHARED};
use super::expect::{Expected, Mremap, Scene, expect};
use super::generate::Aim;
use super::ground::{Ground, PAGES, WINDOW};
use super::kernel::Area;
use super::numbers::Numbers;
use super::pages::{Page, Pages, compare};
use super::tally::{Tally, errno};
use addrspace::MapFlags;

/// After so many calls flags are compared as well.
const FLAGS_EVERY: u64 = 100;

/// A child and its books.
#[derive(Debug)]
pub(crate) struct World {
    ground: Ground,
    books: Books,
    mremap: Mremap,
    /// The kernel's list up to the end of the window.
    areas: Vec<Area>,
    /// The inodes of the shared memories, in the order of making.
    made: Vec<u64>,
    pub(crate) tally: Tally,
}

impl World {
    /// A child that has made no call yet.
    ///
    /// # Errors
    ///
    /// As of [`Ground::new`].
    pub(crate) fn new(mremap: Mremap) -> io::Result<Self> {
        let mut ground = Ground::new()?;
        let mut areas = Vec::new();
        ground.look(&mut areas)?;
        let (end, page) = (ground.end, ground.page.bytes());
        let books = Books::new(end, page, ground.window, &ground.outside);
        let books = books.map_err(io::Error::other)?;
        Ok(Self { ground, books, mremap, areas, made: Vec::new(), tally: Tally::of_a_child() })
    }

    /// A call that suits what is mapped.
    pub(crate) fn next(&self, numbers: &mut Numbers) -> Call {
        let (page, end) = (self.ground.page.bytes(), self.ground.end);
        Aim { numbers, books: &self.books, page, end }.call()
    }

    /// Makes a call on both sides.
    ///
    /// # Errors
    ///
    /// What differs afterwards.
    pub(crate) fn step(&mut self, call: &Call) -> Result<(), String> {
        self.books.begin();
        let scene = Scene {
            page: self.ground.page,
            low: self.ground.low,
            end: self.ground.end,
            areas: &self.areas,
            mremap: self.mremap,
            made: self.made.len(),
        };
        let expected = expect(call, &mut self.books, &scene);
        if let Some(rule) = expected.rule() {
            self.tally.hit(rule);
        }
        if let Expected::LeftOut(_) = expected {
            self.books.undo();
            return Ok(());
        }
        let answer = self.ground.child.make(call).map_err(|error| format!("the child: {error}"))?;
        self.tally.made(answer, self.books.changed());
        if let Some(wanted) = expected.misses(answer) {
            let (kernel, wanted) = (errno(answer), errno(wanted));
            return Err(format!("the kernel answers {kernel}, and not {wanted}{expected}"));
        }
        self.ground.look(&mut self.areas).map_err(|error| format!("the list: {error}"))?;
        if answer > 0 {
            self.recognize(call, answer.cast_unsigned());
        }
        self.compare()?;
        self.books.space().check();
        // That list is slow to read.
        if self.tally.made.is_multiple_of(FLAGS_EVERY) { self.compare_flags() } else { Ok(()) }
    }

    /// Compares those flags of every page of the window that the kernel tells.
    ///
    /// # Errors
    ///
    /// What differs.
    pub(crate) fn compare_flags(&self) -> Result<(), String> {
        let mut told = MapFlags::DONT_FORK | MapFlags::DONT_DUMP;
        let overcommit = fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap_or_default();
        if overcommit.trim() != "2" {
            // Where it is never allowed the kernel ignores the flag.
            told |= MapFlags::NO_RESERVE;
        }
        let kernel = self.ground.flags().map_err(|error| format!("the flags: {error}"))?;
        let size = self.ground.page.bytes();
        for addr in (WINDOW..WINDOW + PAGES * size).step_by(usize::try_from(size).unwrap_or(1)) {
            let area = kernel.iter().find(|(start, end, _)| *start <= addr && addr < *end);
            let area = area.map(|(.., flags)| *flags & told);
            let books = self.books.region_at(addr).map(|region| region.flags & told);
            if area != books {
                return Err(format!("{addr:#x}: the kernel has {area:?}, the books {books:?}"));
            }
        }
        Ok(())
    }

    /// Whether everything around the window is as it was. Nothing is left in it.
    ///
    /// # Errors
    ///
    /// That it is not.
    pub(crate) fn compare_outside(&mut self) -> Result<(), String> {
        match self.ground.is_whole() {
            Ok(true) => Ok(()),
            Ok(false) => Err("the memory around the window has changed".to_owned()),
            Err(error) => Err(format!("the child: {error}")),
        }
    }

    /// Does something to the child that the books do not hear of.
    #[cfg(test)]
    pub(crate) fn behind_the_back(&mut self, call: &Call) -> io::Result<i64> {
        self.ground.child.make(call)
    }

    /// Notes the inode of a shared memory that was made at `place`.
    fn recognize(&mut self, call: &Call, place: u64) {
        let [_, _, _, flags, ..] = call.args;
        if call.name == Name::Mmap && flags & ANONYMOUS != 0 && flags & MAP_TYPE == SHARED {
            let area = self.areas.iter().find(|area| area.start <= place && place < area.end);
            self.made.push(area.map_or(0, |area| area.inode));
        }
    }

    /// The inode of what a page shows; one that no file has, if it is not known.
    fn inode(&self, object: Option<Object>) -> u64 {
        let inode = match object {
            None | Some(Object::Outside) => Some(0),
            Some(Object::Shared(nth)) => self.made.get(nth).copied(),
            Some(Object::File(nth)) => {
                usize::try_from(nth).ok().and_then(|nth| self.ground.child.inode(nth))
            }
        };
        inode.unwrap_or(u64::MAX)
    }

    /// Compares every page of the window.
    fn compare(&self) -> Result<(), String> {
        let size = self.ground.page.bytes();
        let kernel = self.areas.iter().map(|area| {
            let Area { start, end, prot, shared, inode, offset, .. } = *area;
            (start, end, Page { prot, shared, inode, offset })
        });
        let books = self.books.space().regions_in(WINDOW, PAGES * size).map(|region| {
            let (object, offset) = shown(&region);
            let (prot, shared) = (region.prot.bits(), region.is_shared());
            let page = Page { prot, shared, inode: self.inode(object), offset };
            (region.start(), region.last() + 1, page)
        });
        let count = usize::try_from(PAGES).unwrap_or(0);
        let pages = Pages { start: WINDOW, count, size };
        compare(&pages.shown(kernel), &pages.shown(books))
    }
}
