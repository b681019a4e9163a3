//! This crate's map, and the address space that is built on it.

use addrspace::{AddrSpace, Backing, MapFlags, Placement, Prot, RangeMap, Region, ignore};

use crate::books::{Books, Mapping};
use crate::layout::{PAGE, SPACE};

impl Books for RangeMap<u64, Mapping> {
    const LOOKS_AT_ALL_GAPS: bool = false;
    fn empty() -> Self {
        Self::new()
    }
    fn find(&self, addr: u64) -> Option<u64> {
        self.get(addr).map(|mapping| mapping.word)
    }
    fn map(&mut self, addr: u64, len: u64, mapping: Mapping) {
        self.insert(addr..addr + len, mapping);
    }
    fn map_any(&mut self, len: u64, mapping: Mapping) -> u64 {
        let addr = self.first_gap(len, 1, SPACE).expect("there is room");
        self.insert(addr..addr + len, mapping);
        addr
    }
    fn unmap(&mut self, addr: u64, len: u64) {
        self.remove(addr..addr + len);
    }
    fn protect(&mut self, addr: u64, len: u64, prot: u32) {
        self.update(addr..addr + len, |_, mapping| mapping.prot = prot);
    }
    fn mark_original(&mut self) {
        self.update(SPACE, |_, mapping| *mapping = mapping.marked());
    }
    fn unmap_non_original(&mut self) {
        self.retain(|_, mapping| mapping.original());
    }
    fn iter(&self) -> impl Iterator<Item = (u64, u64, u64, u32)> {
        self.iter().map(|(range, mapping)| (range.start, range.end, mapping.word, mapping.prot))
    }
    fn check(&self) {
        self.check();
    }
}

/// The word that [`Mapping`] has.
fn word(region: &Region<'_>) -> u64 {
    match region.backing {
        Backing::Tag { value, .. } => value,
        _ => unreachable!("nothing else is mapped"),
    }
}

fn tagged(mapping: Mapping) -> addrspace::Mapping {
    let Mapping { word, prot, flags, .. } = mapping;
    addrspace::Mapping::tag(Prot::from_bits_retain(prot), Mapping::HANDLE, word)
        .with_flags(MapFlags::from_bits_retain(flags))
}

impl Books for AddrSpace {
    const LOOKS_AT_ALL_GAPS: bool = false;
    fn empty() -> Self {
        Self::new(SPACE.start * PAGE, (SPACE.end - SPACE.start) * PAGE, PAGE).expect("good bounds")
    }
    fn find(&self, addr: u64) -> Option<u64> {
        self.query(addr).map(|region| word(&region))
    }
    fn map(&mut self, addr: u64, len: u64, mapping: Mapping) {
        self.map_at(addr, len, tagged(mapping), ignore).expect("good numbers");
    }
    fn map_any(&mut self, len: u64, mapping: Mapping) -> u64 {
        self.map_any(len, tagged(mapping), Placement::lowest(), ignore).expect("there is room")
    }
    fn unmap(&mut self, addr: u64, len: u64) {
        self.unmap(addr, len, ignore).expect("good numbers");
    }
    fn protect(&mut self, addr: u64, len: u64, prot: u32) {
        self.protect(addr, len, Prot::from_bits_retain(prot), ignore).expect("good numbers");
    }
    fn mark_original(&mut self) {
        self.mark_original();
    }
    fn unmap_non_original(&mut self) {
        self.unmap_non_original(ignore).expect("nothing refuses");
    }
    fn iter(&self) -> impl Iterator<Item = (u64, u64, u64, u32)> {
        self.regions().map(|region| {
            let end = region.span.end().expect("the space ends below 2^64");
            (region.span.start(), end, word(&region), region.prot.bits())
        })
    }
    fn check(&self) {
        self.check();
    }
}
