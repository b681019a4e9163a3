//! The stream: calls of which most are sensible where they are made, and some have one
//! number that a hostile guest might pass.

use addrspace::Region;

use super::books::{Books, Object, shown};
use super::call::{
    ANONYMOUS, Call, DO_DUMP, DO_FORK, DONT_DUMP, DONT_FORK, DONT_UNMAP, FIXED, MAY_MOVE,
    MOVE_FIXED, NO_FILE, NO_REPLACE, NO_RESERVE, Name, POPULATE, POPULATE_READ, POPULATE_WRITE,
    PRIVATE, SHARED,
};
use super::ground::{FILES, PAGES, WINDOW};
use super::numbers::Numbers;

/// Where calls are aimed at.
#[derive(Debug)]
pub(crate) struct Aim<'a> {
    pub(crate) numbers: &'a mut Numbers,
    pub(crate) books: &'a Books,
    pub(crate) page: u64,
    /// The end of user memory.
    pub(crate) end: u64,
}

impl Aim<'_> {
    /// The next call of the stream.
    pub(crate) fn call(&mut self) -> Call {
        let mut call = match self.numbers.below(26) {
            0..=8 => self.mmap(),
            9..=11 => self.munmap(),
            12..=15 => self.mprotect(),
            16..=21 => self.mremap(),
            _ => self.madvise(),
        };
        if self.numbers.once_in(6) {
            self.spoil(&mut call);
        }
        call
    }

    fn mmap(&mut self) -> Call {
        let (addr, len) = (self.addr(), self.len());
        let anonymous = self.numbers.once_in(2);
        let mut flags = self.numbers.one_of(&[SHARED, PRIVATE]);
        flags |= self.numbers.one_of(&[0, 0, FIXED, FIXED, FIXED, NO_REPLACE, NO_REPLACE]);
        // Memory that was touched has a history.
        flags |= self.numbers.one_of(&[0, 0, 0, 0, 0, NO_RESERVE, POPULATE, POPULATE]);
        let addr = if self.numbers.once_in(8) { 0 } else { addr };
        let (mut file, mut offset) = (NO_FILE, 0);
        if anonymous {
            flags |= ANONYMOUS;
        } else {
            file = self.numbers.below(FILES);
            // Half of the files lie so that all pieces of one continue each other.
            let apart = self.numbers.once_in(2);
            offset = if apart { self.pages(PAGES * 2) } else { addr.wrapping_sub(WINDOW) };
        }
        let prot = self.prot();
        Call::new(Name::Mmap, [addr, len, prot, flags, file, offset])
    }

    fn munmap(&mut self) -> Call {
        Call::new(Name::Munmap, [self.addr(), self.len(), 0, 0, 0, 0])
    }

    fn mprotect(&mut self) -> Call {
        let (addr, len) = self.mapped();
        Call::new(Name::Mprotect, [addr, len, self.prot(), 0, 0, 0])
    }

    fn mremap(&mut self) -> Call {
        let (addr, old_len) = self.mapped();
        let old_len = if self.numbers.once_in(10) { 0 } else { old_len };
        let new_len = match self.numbers.below(5) {
            0 | 1 => old_len,
            2 => old_len.saturating_sub(self.pages(6)).max(1),
            3 => old_len.saturating_add(self.pages(6)).max(1),
            _ => self.len(),
        };
        let fixed = MAY_MOVE | MOVE_FIXED;
        let keep = MAY_MOVE | DONT_UNMAP;
        let flags = self.numbers.one_of(&[0, MAY_MOVE, MAY_MOVE, fixed, fixed, fixed | keep, keep]);
        // What stays is as long as what goes.
        let new_len =
            if flags & DONT_UNMAP == 0 || self.numbers.once_in(8) { new_len } else { old_len };
        let (old_len, new_len) = (self.ragged(old_len), self.ragged(new_len));
        // A duplicate onto itself is a case of its own.
        let to = match self.numbers.below(12) {
            0 => addr,
            1..=4 => self.beside_its_like(addr),
            _ => self.addr(),
        };
        Call::new(Name::Mremap, [addr, old_len, new_len, flags, to, 0])
    }

    fn madvise(&mut self) -> Call {
        let (addr, len) = self.mapped();
        let all = [DONT_FORK, DO_FORK, DONT_DUMP, DO_DUMP, POPULATE_READ, POPULATE_WRITE];
        let all = if self.numbers.once_in(2) { &all[4..] } else { &all[..] };
        Call::new(Name::Madvise, [addr, len, self.numbers.one_of(all), 0, 0, 0])
    }

    /// Makes one of the arguments wrong, or at least odd.
    fn spoil(&mut self, call: &mut Call) {
        let choice: &[usize] = match call.name {
            Name::Mmap => &[0, 0, 1, 1, 2, 3, 4, 5, 5],
            Name::Munmap | Name::Madvise => &[0, 1],
            Name::Mprotect => &[0, 0, 1, 1, 2],
            Name::Mremap => &[0, 0, 1, 1, 2, 2, 3, 4, 4],
        };
        let nth = self.numbers.one_of(choice);
        let old = call.args[nth];
        call.args[nth] = match (call.name, nth) {
            (Name::Mmap | Name::Mprotect, 2) => old | 0x4000_0000,
            (Name::Mmap, 3) => old & !(SHARED | PRIVATE),
            (Name::Mmap, 4) => NO_FILE,
            (Name::Mremap, 3) => self.numbers.below(16),
            _ => self.odd(old),
        };
    }

    /// A number that nobody expects.
    fn odd(&mut self, old: u64) -> u64 {
        let page = self.page;
        let window_end = WINDOW + PAGES * page;
        match self.numbers.below(16) {
            0 => 0,
            1 => u64::MAX,
            2 => u64::MAX - page + 1,
            3 => u64::MAX - page,
            4 => self.end,
            5 => self.end - page,
            6 => self.end.wrapping_sub(old),
            7 => 0_u64.wrapping_sub(old),
            8 => 1 << 63,
            9 => (1_u64 << 63).wrapping_sub(old),
            10 => WINDOW - page,
            11 => window_end - page,
            12 => self.numbers.bits(),
            13 => self.numbers.bits() & !(page - 1),
            _ => old.wrapping_add(1 + self.numbers.below(page - 1)),
        }
    }

    /// A page of the window; mostly one where something begins or ends.
    fn addr(&mut self) -> u64 {
        let page = WINDOW + self.pages(PAGES);
        if self.numbers.once_in(2) {
            return page;
        }
        let piece = self.books.space().regions_in(page, PAGES * self.page).next();
        let edge = piece.map_or(page, |piece| {
            if page & self.page == 0 { piece.start() } else { piece.last() + 1 }
        });
        let edge = match self.numbers.below(8) {
            0 => edge - self.page,
            1 => edge + self.page,
            _ => edge,
        };
        edge.clamp(WINDOW, WINDOW + (PAGES - 1) * self.page)
    }

    /// A length in bytes; mostly whole pages.
    fn len(&mut self) -> u64 {
        let most = self.numbers.one_of(&[3, 6, 12, 12, 40]);
        let len = self.page + self.pages(most);
        self.ragged(len)
    }

    /// The same number of pages, but perhaps not all bytes of the last.
    fn ragged(&mut self, len: u64) -> u64 {
        let less = if self.numbers.once_in(8) { self.numbers.below(self.page) } else { 0 };
        len.saturating_sub(less)
    }

    /// A range that is likely to begin in a mapping, and to end with it.
    fn mapped(&mut self) -> (u64, u64) {
        let addr = self.addr();
        let Some(region) = self.books.region_at(addr) else { return (addr, self.len()) };
        let addr = if self.numbers.once_in(2) { region.start() } else { addr };
        let rest = region.last() - addr + 1;
        let len = match self.numbers.below(4) {
            0 => self.len(),
            1 => self.pages(rest / self.page).max(1),
            _ => rest,
        };
        (addr, len)
    }

    /// Right after a mapping that is as the one at `addr`: what moves there becomes one
    /// with it in the books, and in the kernel if the history of both allows.
    fn beside_its_like(&mut self, addr: u64) -> u64 {
        let Some(region) = self.books.region_at(addr) else { return self.addr() };
        let alike = |other: &Region<'_, Object>| {
            (other.prot, other.flags, shown(other).0) == (region.prot, region.flags, None)
        };
        let all = self.books.space().regions_in(WINDOW, (PAGES - 1) * self.page);
        let ends: Vec<u64> = all.filter(alike).map(|other| other.last() + 1).collect();
        if ends.is_empty() { self.addr() } else { self.numbers.one_of(&ends) }
    }

    fn prot(&mut self) -> u64 {
        self.numbers.one_of(&[0, 1, 1, 2, 3, 3, 3, 3, 3, 4, 5, 7])
    }

    /// Fewer than `end` pages, in bytes.
    fn pages(&mut self, end: u64) -> u64 {
        self.numbers.below(end) * self.page
    }
}
