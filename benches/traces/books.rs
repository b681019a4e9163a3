//! The books of the `replay` example, and a note in the journal for each thing that
//! is asked of them.

use core::time::Duration;

use addrspace::{Error, MapFlags, Mapping, Prot, Region};

use crate::compare::{Run, Stretch};
use crate::journal::{self, Ask, Space};
use crate::plain;
use crate::trace::{Area, Trace};

pub(crate) use plain::{Destination, IO, SPECIAL, mapping};

#[derive(Debug)]
pub(crate) struct Books {
    books: plain::Books,
    space: Space,
}

impl Drop for Books {
    fn drop(&mut self) {
        journal::note(self.space, Ask::Gone);
    }
}

impl Books {
    pub(crate) fn new(page_size: u64) -> Result<Self, Error> {
        let books = plain::Books::new(page_size)?;
        let space = journal::next_space();
        journal::note(space, Ask::New { page_size });
        Ok(Self { books, space })
    }

    pub(crate) fn map(&mut self, addr: u64, len: u64, mapping: Mapping) -> Result<(), Error> {
        self.books.map(addr, len, mapping)?;
        journal::note(self.space, Ask::Map { addr, len, mapping });
        Ok(())
    }

    pub(crate) fn unmap(&mut self, addr: u64, len: u64) -> Result<(), Error> {
        self.books.unmap(addr, len)?;
        journal::note(self.space, Ask::Unmap { addr, len });
        Ok(())
    }

    pub(crate) fn protect(&mut self, addr: u64, len: u64, prot: Prot) -> Result<(), Error> {
        self.books.protect(addr, len, prot)?;
        journal::note(self.space, Ask::Protect { addr, len, prot });
        Ok(())
    }

    pub(crate) fn set_flags(
        &mut self,
        addr: u64,
        len: u64,
        set: MapFlags,
        clear: MapFlags,
    ) -> Result<(), Error> {
        self.books.set_flags(addr, len, set, clear)?;
        journal::note(self.space, Ask::SetFlags { addr, len, set, clear });
        Ok(())
    }

    pub(crate) fn remap(
        &mut self,
        addr: u64,
        old_len: u64,
        new_len: u64,
        to: Destination,
    ) -> Result<(), Error> {
        self.books.remap(addr, old_len, new_len, to)?;
        journal::note(self.space, Ask::Remap { addr, old_len, new_len, to });
        Ok(())
    }

    pub(crate) fn fork(&mut self) -> Self {
        let books = self.books.fork();
        journal::note(self.space, Ask::Fork);
        Self { books, space: journal::next_space() }
    }

    pub(crate) fn take_over(
        &mut self,
        within: Stretch,
        areas: impl Iterator<Item = Area>,
    ) -> Result<(), Error> {
        self.unmap(within.start, within.end.saturating_sub(within.start))?;
        for area in areas {
            self.map_area(&plain::clipped(area, within))?;
        }
        Ok(())
    }

    pub(crate) fn map_area(&mut self, area: &Area) -> Result<(), Error> {
        let mapping = plain::mapping_of(area);
        self.map(area.start, area.end.saturating_sub(area.start), mapping)
    }

    pub(crate) fn region_at(&mut self, addr: u64) -> Option<Region<'_>> {
        journal::note(self.space, Ask::Query { addr });
        self.books.region_at(addr)
    }

    pub(crate) fn first_piece(
        &mut self,
        within: Stretch,
        mut wanted: impl FnMut(&Region<'_>) -> bool,
    ) -> Option<Stretch> {
        let mut count = 0;
        let found = self.books.first_piece(within, |piece| {
            count += 1;
            wanted(piece)
        });
        journal::note(self.space, Ask::Walk { within, count });
        found
    }

    pub(crate) fn first_gap(&mut self, within: Stretch) -> Option<Stretch> {
        journal::note(self.space, Ask::Gap { within });
        self.books.first_gap(within)
    }

    pub(crate) fn pieces_in(&self, within: Stretch) -> impl Iterator<Item = Region<'_>> {
        self.books.pieces_in(within)
    }

    pub(crate) fn runs_in(&self, within: Stretch) -> impl Iterator<Item = Run> {
        self.books.runs_in(within)
    }

    pub(crate) fn everything() -> Stretch {
        plain::Books::everything()
    }

    pub(crate) fn regions(&self) -> usize {
        self.books.regions()
    }

    pub(crate) fn drain_changed(&mut self, into: &mut Vec<Stretch>) {
        self.books.drain_changed(into);
    }

    pub(crate) fn drain_spent(&mut self) -> (Duration, u64) {
        self.books.drain_spent()
    }

    pub(crate) fn draw(&self, trace: &Trace) -> String {
        self.books.draw(trace)
    }
}
