//! What all contenders can do, in the words of an address space.

use std::ops::Range;

use crate::layout::{Layout, PAGE, SPACE};

/// What an address space stores for a mapping: 24 bytes, and a niche beside them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// Keeps neighbours apart, as the origins of two file mappings do.
    pub word: u64,
    pub prot: u32,
    pub flags: u32,
    holder: Holder,
}

/// The kind of backing with its handle, and the mark in each variant, where it takes
/// no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Holder {
    #[allow(dead_code, reason = "it is there to be told apart, as in the address space")]
    Anonymous {
        original: bool,
    },
    Tag {
        original: bool,
        handle: u32,
    },
}

impl Mapping {
    pub const HANDLE: u32 = 3;

    pub const fn new(word: u64) -> Self {
        let holder = Holder::Tag { original: false, handle: Self::HANDLE };
        Self { word, prot: 3, flags: 2, holder }
    }

    pub const fn with_prot(self, prot: u32) -> Self {
        Self { prot, ..self }
    }

    pub const fn original(self) -> bool {
        match self.holder {
            Holder::Anonymous { original } | Holder::Tag { original, .. } => original,
        }
    }

    pub const fn marked(mut self) -> Self {
        match &mut self.holder {
            Holder::Anonymous { original } | Holder::Tag { original, .. } => *original = true,
        }
        self
    }
}

const _: () = assert!(size_of::<Mapping>() == 24 && size_of::<Option<Mapping>>() == 24);

/// The books of an address space, as far as the workloads need them.
///
/// Addresses and lengths are in pages, or in bytes if the contender checks them.
pub trait Books: Clone {
    /// Whether a search for room looks at each gap on its way.
    const LOOKS_AT_ALL_GAPS: bool;
    fn empty() -> Self;
    /// The word of the mapping at `addr`.
    fn find(&self, addr: u64) -> Option<u64>;
    /// Maps `len` at `addr`, over whatever is there.
    fn map(&mut self, addr: u64, len: u64, mapping: Mapping);
    /// Maps `len` at the lowest place that has room for it.
    fn map_any(&mut self, len: u64, mapping: Mapping) -> u64;
    fn unmap(&mut self, addr: u64, len: u64);
    /// Sets the protection of what is mapped.
    fn protect(&mut self, addr: u64, len: u64, prot: u32);
    /// Makes what is mapped now original.
    fn mark_original(&mut self);
    fn unmap_non_original(&mut self);
    /// The mappings, ascending: start, end, word and protection.
    fn iter(&self) -> impl Iterator<Item = (u64, u64, u64, u32)>;
    fn check(&self);
}

/// What the contents amount to, for a comparison.
pub fn digest(books: &impl Books) -> u64 {
    let mut sum = 0u64;
    for (start, end, word, prot) in books.iter() {
        for word in [start, end, word, u64::from(prot)] {
            sum = sum.wrapping_mul(0x0100_0000_01b3) ^ word;
        }
    }
    sum
}

/// Maps all of `layout`, mapping by mapping in the order of `order`.
pub fn build<B: Books>(layout: &Layout, order: &[usize]) -> B {
    let mut books = B::empty();
    for &at in order {
        let (Range { start, end }, mapping) = layout.mapping(at);
        books.map(start, end - start, mapping);
    }
    books
}

/// Books in pages behind the checks that an address space makes of a guest's numbers.
#[derive(Clone)]
pub struct Checked<B>(pub B);

/// The pages of `len` bytes at `addr`.
fn pages(addr: u64, len: u64) -> (u64, u64) {
    let last = len.checked_sub(1).and_then(|rest| addr.checked_add(rest)).expect("no overflow");
    assert!(addr.is_multiple_of(PAGE) && last / PAGE < SPACE.end, "in the space, and aligned");
    (addr / PAGE, len.div_ceil(PAGE))
}

impl<B: Books> Books for Checked<B> {
    const LOOKS_AT_ALL_GAPS: bool = B::LOOKS_AT_ALL_GAPS;
    fn empty() -> Self {
        Self(B::empty())
    }
    fn find(&self, addr: u64) -> Option<u64> {
        if addr / PAGE < SPACE.end { self.0.find(addr / PAGE) } else { None }
    }
    fn map(&mut self, addr: u64, len: u64, mapping: Mapping) {
        let (addr, len) = pages(addr, len);
        self.0.map(addr, len, mapping);
    }
    fn map_any(&mut self, len: u64, mapping: Mapping) -> u64 {
        let (_, len) = pages(0, len);
        self.0.map_any(len, mapping) * PAGE
    }
    fn unmap(&mut self, addr: u64, len: u64) {
        let (addr, len) = pages(addr, len);
        self.0.unmap(addr, len);
    }
    fn protect(&mut self, addr: u64, len: u64, prot: u32) {
        let (addr, len) = pages(addr, len);
        self.0.protect(addr, len, prot);
    }
    fn mark_original(&mut self) {
        self.0.mark_original();
    }
    fn unmap_non_original(&mut self) {
        self.0.unmap_non_original();
    }
    fn iter(&self) -> impl Iterator<Item = (u64, u64, u64, u32)> {
        self.0.iter().map(|(start, end, word, prot)| (start * PAGE, end * PAGE, word, prot))
    }
    fn check(&self) {
        self.0.check();
    }
}
