//! What it costs to come from C.
//!
//! The functions of `mmap_c.h`, called through pointers as a C program calls them, and
//! the same changes to an `AddrSpace` of Rust, in turns whose order alternates: unmap a
//! random mapping and map it again, each time hearing of what was there, and ask for a
//! page. Both hold the same mappings, and have the same at the end.
//!
//! ```text
//! cargo bench --bench capi --features capi            # all of it, some ten seconds
//! cargo bench --bench capi --features capi -- --test  # once; asserts that both agree
//! ```
//!
//! A ratio is the median over the rounds of what C took for what Rust took *in the same
//! round*, so that what else the machine does cancels out.

#![allow(
    unsafe_code,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a benchmark: the numbers are small, and a panic is a failure"
)]

use addrspace::capi::mmap_c::{
    MMapAddrSpace, MMapError, MMapInfo, MMapUpdateFn, mmap_create, mmap_destroy, mmap_map_at,
    mmap_query_page, mmap_unmap,
};
use addrspace::{AddrSpace, Backing, MapFlags, Mapping, Prot, Region};
use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::time::Instant;

const PAGE: usize = 4096;

/// What is told of a mapping, summed up so that telling cannot be left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    pieces: u64,
    bytes: u64,
    offsets: u64,
}

impl Told {
    fn hear(&mut self, len: u64, info: &MMapInfo) {
        self.pieces += 1;
        self.bytes += len;
        self.offsets = self.offsets.wrapping_add(info.offset.cast_unsigned());
    }
}

unsafe extern "C" fn hear(_start: usize, len: usize, info: MMapInfo, told: *mut c_void) {
    // SAFETY: every call below passes a `Told` that nobody else uses meanwhile.
    unsafe { &mut *told.cast::<Told>() }.hear(len as u64, &info);
}

/// The two functions of a pair, behind pointers that the compiler cannot see through.
struct C {
    mm: *mut MMapAddrSpace,
    map_at: unsafe extern "C" fn(
        *mut MMapAddrSpace,
        usize,
        usize,
        c_int,
        c_int,
        c_int,
        i64,
        Option<MMapUpdateFn>,
        *mut c_void,
    ) -> usize,
    unmap: unsafe extern "C" fn(
        *mut MMapAddrSpace,
        usize,
        usize,
        Option<MMapUpdateFn>,
        *mut c_void,
    ) -> MMapError,
    query: unsafe extern "C" fn(*const MMapAddrSpace, usize, *mut MMapInfo) -> bool,
    told: Told,
}

struct Rust {
    space: AddrSpace,
    told: Told,
}

/// Both in one shape, so that the loops around them are the same code.
trait Books {
    fn map(&mut self, addr: usize, mapping: &MMapInfo);
    fn unmap(&mut self, addr: usize);
    /// Writes what the page is, if it is mapped.
    fn query(&self, addr: usize, info: &mut MMapInfo) -> bool;
    fn told(&self) -> Told;
}

impl Books for C {
    fn map(&mut self, addr: usize, mapping: &MMapInfo) {
        let &MMapInfo { prot, flags, fd, offset, .. } = mapping;
        let told = (&raw mut self.told).cast();
        // SAFETY: the handle is alive, and `hear` may be called with `told`.
        let got = unsafe {
            (self.map_at)(self.mm, addr, PAGE, prot, flags, fd, offset, Some(hear), told)
        };
        assert_eq!(got, addr);
    }

    fn unmap(&mut self, addr: usize) {
        let told = (&raw mut self.told).cast();
        // SAFETY: the handle is alive, and `hear` may be called with `told`.
        let got = unsafe { (self.unmap)(self.mm, addr, PAGE, Some(hear), told) };
        assert_eq!(got, MMapError::Ok);
    }

    fn query(&self, addr: usize, info: &mut MMapInfo) -> bool {
        // SAFETY: the handle is alive, and the answer has its place.
        unsafe { (self.query)(self.mm, addr, info) }
    }

    fn told(&self) -> Told {
        self.told
    }
}

impl Drop for C {
    fn drop(&mut self) {
        // SAFETY: nobody else has the handle.
        unsafe { mmap_destroy(self.mm) };
    }
}

const NOTHING: MMapInfo = MMapInfo { prot: 0, flags: 0, fd: 0, offset: 0, original: false };

fn info(region: &Region<'_>) -> MMapInfo {
    let Backing::Tag { handle, value } = region.backing else { unreachable!() };
    MMapInfo {
        prot: region.prot.bits().cast_signed(),
        flags: region.flags.bits().cast_signed(),
        fd: handle.cast_signed(),
        offset: value.cast_signed(),
        original: region.original,
    }
}

impl Books for Rust {
    fn map(&mut self, addr: usize, mapping: &MMapInfo) {
        let &MMapInfo { prot, flags, fd, offset, .. } = mapping;
        let prot = Prot::from_bits_retain(prot.cast_unsigned());
        let flags = MapFlags::from_bits_retain(flags.cast_unsigned());
        let mapping =
            Mapping::tag(prot, fd.cast_unsigned(), offset.cast_unsigned()).with_flags(flags);
        let told = &mut self.told;
        let heard = self.space.map_at(addr as u64, PAGE as u64, mapping, |update| {
            for piece in update.pieces() {
                told.hear(piece.span.len().unwrap(), &info(&piece));
            }
        });
        heard.unwrap();
    }

    fn unmap(&mut self, addr: usize) {
        let told = &mut self.told;
        let heard = self.space.unmap(addr as u64, PAGE as u64, |update| {
            for piece in update.pieces() {
                told.hear(piece.span.len().unwrap(), &info(&piece));
            }
        });
        heard.unwrap();
    }

    fn query(&self, addr: usize, into: &mut MMapInfo) -> bool {
        let found = self.space.query(addr as u64);
        if let Some(region) = found {
            *into = info(&region);
        }
        found.is_some()
    }

    fn told(&self) -> Told {
        self.told
    }
}

/// A step of splitmix64.
fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits ^ (bits >> 27)
}

/// The mappings: a page each, no two equal, with or without a page between them.
#[derive(Clone, Copy)]
struct Layout {
    mappings: usize,
    stride: usize,
}

impl Layout {
    fn addr(self, at: usize) -> usize {
        PAGE + at * self.stride
    }

    fn len(self) -> usize {
        self.addr(self.mappings + 1)
    }

    fn mapping(at: usize) -> MMapInfo {
        MMapInfo { prot: 3, flags: 2, fd: 5, offset: at as i64 * 8192, original: false }
    }

    fn any(self, seed: &mut u64) -> usize {
        random(seed) as usize % self.mappings
    }
}

fn fill(books: &mut impl Books, layout: Layout) {
    for at in 0..layout.mappings {
        books.map(layout.addr(at), &Layout::mapping(at));
    }
}

fn pairs(books: &mut impl Books, layout: Layout, seed: u64, count: u32) -> f64 {
    let mut seed = seed;
    let begun = Instant::now();
    for _ in 0..count {
        let at = layout.any(&mut seed);
        books.unmap(layout.addr(at));
        books.map(layout.addr(at), &Layout::mapping(at));
    }
    begun.elapsed().as_nanos() as f64 / f64::from(count)
}

fn queries(books: &impl Books, layout: Layout, seed: u64, count: u32) -> f64 {
    let (mut seed, mut info) = (seed, NOTHING);
    let begun = Instant::now();
    for _ in 0..count {
        let at = layout.any(&mut seed);
        assert!(books.query(layout.addr(at) + 5, &mut info));
        black_box(&info);
    }
    begun.elapsed().as_nanos() as f64 / f64::from(count)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Medians of what C and Rust take, of their ratios and of their differences.
fn turns(rounds: u64, mut c: impl FnMut(u64) -> f64, mut rust: impl FnMut(u64) -> f64) -> [f64; 4] {
    let mut took = [const { Vec::new() }; 4];
    for round in 0..rounds {
        let (c, rust) = if round % 2 == 0 {
            let c = c(round);
            (c, rust(round))
        } else {
            let rust = rust(round);
            (c(round), rust)
        };
        for (values, value) in took.iter_mut().zip([c, rust, c / rust, c - rust]) {
            values.push(value);
        }
    }
    took.map(median)
}

fn main() {
    let test = std::env::args().any(|arg| arg == "--test");
    let (rounds, count) = if test { (1, 100) } else { (101, 10_000) };
    println!(
        "{:>8} {:>8} | {:>9} {:>9} {:>7} | {:>9} {:>9} {:>7}",
        "mappings", "", "unmap+map", "Rust, ns", "C/Rust", "query", "Rust, ns", "C more"
    );
    for mappings in [16, 256, 4096, 65_536] {
        for (name, stride) in [("apart", 2 * PAGE), ("touching", PAGE)] {
            let layout = Layout { mappings, stride };
            let mut c = C {
                mm: mmap_create(0, layout.len(), PAGE),
                map_at: black_box(mmap_map_at),
                unmap: black_box(mmap_unmap),
                query: black_box(mmap_query_page),
                told: Told::default(),
            };
            assert!(!c.mm.is_null());
            let space = AddrSpace::new(0, layout.len() as u64, PAGE as u64).unwrap();
            let mut rust = Rust { space, told: Told::default() };
            fill(&mut c, layout);
            fill(&mut rust, layout);
            let pair = turns(
                rounds,
                |round| pairs(&mut c, layout, round, count),
                |round| pairs(&mut rust, layout, round, count),
            );
            let query = turns(
                rounds,
                |round| queries(&c, layout, round, count),
                |round| queries(&rust, layout, round, count),
            );
            assert_eq!(c.told(), rust.told(), "both have told the same");
            for page in 0..layout.len() / PAGE {
                let mut infos = [NOTHING; 2];
                let [of_c, of_rust] = &mut infos;
                let mapped = c.query(page * PAGE, of_c);
                assert_eq!(mapped, rust.query(page * PAGE, of_rust), "page {page}");
                assert_eq!(infos[0], infos[1], "page {page}");
            }
            println!(
                "{mappings:>8} {name:>8} | {:>9.1} {:>9.1} {:>7.2} | {:>9.1} {:>9.1} {:>+7.1}",
                pair[0], pair[1], pair[2], query[0], query[1], query[3]
            );
        }
    }
}
