//! An address space on the crate `rangemap`: what one would write without this crate.

use std::ops::Range;

use addrspace::{Backing, MapFlags, Mapping, Prot};
use rangemap::RangeMap;

use crate::compare::Stretch;
use crate::keepers::{Heard, Keeper};
use crate::plain::Destination;

/// What is stored of a mapping. Of a file the address at which its first byte would
/// lie, so that neighbours are equal exactly where the file goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stored {
    prot: Prot,
    flags: MapFlags,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Anonymous,
    Physical { origin: u64 },
    File { file: u32, origin: u64 },
    Tag { handle: u32, value: u64 },
}

impl Stored {
    fn new(addr: u64, Mapping { prot, flags, backing, .. }: Mapping) -> Self {
        let kind = match backing {
            Backing::Anonymous => Kind::Anonymous,
            Backing::Physical { addr: offset } => {
                Kind::Physical { origin: addr.wrapping_sub(offset) }
            }
            Backing::File { file, offset } => {
                Kind::File { file, origin: addr.wrapping_sub(offset) }
            }
            Backing::Tag { handle, value } => Kind::Tag { handle, value },
        };
        Self { prot, flags, kind }
    }

    fn backing(self, addr: u64) -> Backing<u32> {
        match self.kind {
            Kind::Anonymous => Backing::Anonymous,
            Kind::Physical { origin } => Backing::Physical { addr: addr.wrapping_sub(origin) },
            Kind::File { file, origin } => {
                Backing::File { file, offset: addr.wrapping_sub(origin) }
            }
            Kind::Tag { handle, value } => Backing::Tag { handle, value },
        }
    }

    /// The same bytes seen from another address.
    fn moved(mut self, distance: u64) -> Self {
        match &mut self.kind {
            Kind::Physical { origin } | Kind::File { origin, .. } => {
                *origin = origin.wrapping_add(distance);
            }
            Kind::Anonymous | Kind::Tag { .. } => {}
        }
        self
    }
}

pub(crate) struct RangeSpace {
    areas: RangeMap<u64, Stored>,
    page_size: u64,
}

impl RangeSpace {
    /// The bytes of whole pages.
    fn range(&self, addr: u64, len: u64) -> Range<u64> {
        assert!(addr.is_multiple_of(self.page_size) && len > 0, "an address and a length");
        let len = len.checked_next_multiple_of(self.page_size).expect("no overflow");
        addr..addr.checked_add(len).expect("no overflow")
    }

    /// What is mapped in the range, clipped to it.
    fn pieces<'a>(&'a self, range: &'a Range<u64>) -> impl Iterator<Item = (Range<u64>, Stored)> {
        let clip = |piece: &Range<u64>| piece.start.max(range.start)..piece.end.min(range.end);
        self.areas.overlapping(range).map(move |(piece, stored)| (clip(piece), *stored))
    }

    fn tell(&self, range: &Range<u64>, heard: &mut Heard) {
        for (piece, _) in self.pieces(range) {
            heard.piece(piece.end - piece.start);
        }
    }

    fn change(&mut self, range: &Range<u64>, heard: &mut Heard, change: impl Fn(&mut Stored)) {
        // The map cannot be changed while it is walked.
        let pieces: Vec<(Range<u64>, Stored)> = self.pieces(range).collect();
        for (piece, mut stored) in pieces {
            heard.piece(piece.end - piece.start);
            change(&mut stored);
            self.areas.insert(piece, stored);
        }
    }
}

impl Keeper for RangeSpace {
    fn empty(page_size: u64) -> Self {
        Self { areas: RangeMap::new(), page_size }
    }
    fn fork(&self) -> Self {
        let mut areas = self.areas.clone();
        for (range, stored) in self.areas.iter() {
            if stored.flags.contains(MapFlags::DONT_FORK) {
                areas.remove(range.clone());
            }
        }
        Self { areas, page_size: self.page_size }
    }
    fn map(&mut self, addr: u64, len: u64, mapping: Mapping, heard: &mut Heard) {
        let range = self.range(addr, len);
        self.tell(&range, heard);
        self.areas.insert(range, Stored::new(addr, mapping));
    }
    fn unmap(&mut self, addr: u64, len: u64, heard: &mut Heard) {
        let range = self.range(addr, len);
        self.tell(&range, heard);
        self.areas.remove(range);
    }
    fn protect(&mut self, addr: u64, len: u64, prot: Prot, heard: &mut Heard) {
        self.change(&self.range(addr, len), heard, |stored| stored.prot = prot);
    }
    fn set_flags(
        &mut self,
        addr: u64,
        len: u64,
        set: MapFlags,
        clear: MapFlags,
        heard: &mut Heard,
    ) {
        self.change(&self.range(addr, len), heard, |stored| {
            stored.flags = (stored.flags - clear) | set;
        });
    }
    fn remap(&mut self, addr: u64, old_len: u64, new_len: u64, to: Destination) {
        let new = self.range(addr, new_len);
        if old_len == 0 {
            let Destination::At { addr: target, .. } = to else { unreachable!("it is a copy") };
            let stored =
                self.areas.get(&addr).expect("it is mapped").moved(target.wrapping_sub(addr));
            self.areas.insert(self.range(target, new_len), stored);
            return;
        }
        let old = self.range(addr, old_len);
        if new.end < old.end {
            self.areas.remove(new.end..old.end);
        }
        let source = old.start..old.end.min(new.end);
        let mut pieces: Vec<(Range<u64>, Stored)> = self.pieces(&source).collect();
        if let Some((last, _)) = pieces.last_mut()
            && new.end > old.end
        {
            last.end = new.end;
        }
        match to {
            Destination::InPlace => {
                for (piece, stored) in pieces {
                    self.areas.insert(piece, stored);
                }
            }
            Destination::At { addr: target, keep_source } => {
                if !keep_source {
                    self.areas.remove(source);
                }
                let distance = target.wrapping_sub(addr);
                for (Range { start, end }, stored) in pieces {
                    let there = start.wrapping_add(distance)..end.wrapping_add(distance);
                    self.areas.insert(there, stored.moved(distance));
                }
            }
        }
    }
    fn query(&self, addr: u64) -> Option<u64> {
        self.areas.get_key_value(&addr).map(|(range, _)| range.end)
    }
    fn walk(&self, within: Stretch, count: usize) -> u64 {
        let range = within.start..within.end;
        let ends = self.pieces(&range).take(count).map(|(piece, _)| piece.end);
        ends.fold(0, u64::wrapping_add)
    }
    fn gap(&self, within: Stretch) -> Option<u64> {
        let range = within.start..within.end;
        if range.is_empty() { None } else { self.areas.gaps(&range).next().map(|gap| gap.start) }
    }
    fn regions(&self) -> usize {
        self.areas.len()
    }
    fn each(&self, mut show: impl FnMut(u64, u64, Prot, MapFlags, Backing<u32>)) {
        for (range, stored) in self.areas.iter() {
            show(range.start, range.end, stored.prot, stored.flags, stored.backing(range.start));
        }
    }
}
