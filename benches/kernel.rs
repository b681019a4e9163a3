//! What the books add to the system calls.
//!
//! An executor, and the bare calls that it makes, do the same to the same pages, in
//! turns whose order alternates: unmap a random mapping and map it again, and take
//! a mapping's access away and give it back. Each pair of calls leaves the memory as
//! it was, so the executor need not know that it was not alone.
//!
//! ```text
//! cargo bench --bench kernel              # all of it, about half a minute
//! cargo bench --bench kernel -- --quick   # fewer rounds
//! cargo bench --bench kernel -- --test    # once; asserts that books and kernel agree
//! cargo bench --bench kernel -- --calls executor   # a hundred pairs of one of them,
//! cargo bench --bench kernel -- --calls libc       # for strace to compare
//! ```
//!
//! The bare calls are made twice: by libc's functions, as other programs make them,
//! and written into the loop itself, which is as fast as a call can be. How the code
//! around a system call lies in memory matters, because after it the processor has
//! forgotten most of what it knew; so this is built as a release is that cares
//! (`[profile.bench]`: one codegen unit, fat LTO).
//!
//! A share is the median over the rounds of what the executor took more than the
//! bare calls *in the same round*, so that what else the machine does cancels out.

#![allow(
    unsafe_code,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::inline_always,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a benchmark: the numbers are small, and a panic is a failure"
)]

#[cfg(all(feature = "exec", target_os = "linux"))]
mod linux {
    use addrspace::{Executor, Memory, Prot, Reservation};
    use std::time::Instant;

    const PAGE: u64 = 4096;
    const RW: Prot = Prot::READ.union(Prot::WRITE);

    /// How the mappings lie.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Layout {
        /// A page each, and a page between them.
        Gaps,
        /// Side by side, every other one writable.
        Stripes,
    }

    struct Bench {
        exec: Executor,
        layout: Layout,
        start: u64,
        mappings: u64,
        seed: u64,
    }

    fn pointer(addr: u64) -> *mut libc::c_void {
        std::ptr::with_exposed_provenance_mut(addr as usize)
    }

    /// By libc's functions.
    fn libc_map(addr: u64, prot: Prot, flags: i32) {
        let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        // SAFETY: the page belongs to the executor's reservation, and nobody holds a
        // reference into it.
        let got = unsafe {
            libc::mmap(pointer(addr), PAGE as usize, prot.bits().cast_signed(), flags, -1, 0)
        };
        assert_ne!(got, libc::MAP_FAILED);
    }

    fn libc_protect(addr: u64, prot: Prot) {
        // SAFETY: as above.
        let answer =
            unsafe { libc::mprotect(pointer(addr), PAGE as usize, prot.bits().cast_signed()) };
        assert_eq!(answer, 0);
    }

    /// In place.
    #[inline(always)]
    fn inline_map(addr: u64, prot: Prot, flags: rustix::mm::MapFlags) {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        let flags = flags | MapFlags::PRIVATE | MapFlags::FIXED;
        let prot = ProtFlags::from_bits_retain(prot.bits());
        // SAFETY: as above.
        unsafe { mmap_anonymous(pointer(addr), PAGE as usize, prot, flags) }.unwrap();
    }

    #[inline(always)]
    fn inline_protect(addr: u64, prot: Prot) {
        let prot = rustix::mm::MprotectFlags::from_bits_retain(prot.bits());
        // SAFETY: as above.
        unsafe { rustix::mm::mprotect(pointer(addr), PAGE as usize, prot) }.unwrap();
    }

    /// Who makes the calls.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Who {
        Libc,
        Inline,
        Executor,
    }

    /// A pair of calls.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Pair {
        UnmapMap,
        ProtectTwice,
    }

    impl Bench {
        fn new(mappings: u64, layout: Layout) -> Self {
            let stride = if layout == Layout::Gaps { 2 } else { 1 };
            let len = (mappings * stride + 2) * PAGE;
            let exec = Executor::new(Reservation::new(len).unwrap()).unwrap();
            let start = exec.space().span().unwrap().start() + PAGE;
            let mut bench = Self { exec, layout, start, mappings, seed: 0x9e37_79b9_7f4a_7c15 };
            for nth in 0..mappings {
                let (addr, prot) = bench.mapping(nth);
                bench.exec.map_at(addr, PAGE, Memory::anonymous(prot)).unwrap();
            }
            assert_eq!(bench.exec.space().regions().len() as u64, mappings);
            bench
        }

        fn mapping(&self, nth: u64) -> (u64, Prot) {
            match self.layout {
                Layout::Gaps => (self.start + nth * 2 * PAGE, RW),
                Layout::Stripes => {
                    let prot = if nth.is_multiple_of(2) { RW } else { Prot::READ };
                    (self.start + nth * PAGE, prot)
                }
            }
        }

        fn next(&mut self) -> (u64, Prot) {
            self.seed ^= self.seed << 13;
            self.seed ^= self.seed >> 7;
            self.seed ^= self.seed << 17;
            self.mapping((self.seed >> 20) % self.mappings)
        }

        fn libc(&mut self, pair: Pair) {
            let (addr, prot) = self.next();
            match pair {
                Pair::UnmapMap => {
                    libc_map(addr, Prot::empty(), libc::MAP_NORESERVE);
                    libc_map(addr, prot, 0);
                }
                Pair::ProtectTwice => {
                    libc_protect(addr, Prot::empty());
                    libc_protect(addr, prot);
                }
            }
        }

        #[inline(always)]
        fn inline(&mut self, pair: Pair) {
            let (addr, prot) = self.next();
            match pair {
                Pair::UnmapMap => {
                    inline_map(addr, Prot::empty(), rustix::mm::MapFlags::NORESERVE);
                    inline_map(addr, prot, rustix::mm::MapFlags::empty());
                }
                Pair::ProtectTwice => {
                    inline_protect(addr, Prot::empty());
                    inline_protect(addr, prot);
                }
            }
        }

        fn executor(&mut self, pair: Pair) {
            let (addr, prot) = self.next();
            match pair {
                Pair::UnmapMap => {
                    self.exec.unmap(addr, PAGE).unwrap();
                    self.exec.map_at(addr, PAGE, Memory::anonymous(prot)).unwrap();
                }
                Pair::ProtectTwice => {
                    self.exec.protect(addr, PAGE, Prot::empty()).unwrap();
                    self.exec.protect(addr, PAGE, prot).unwrap();
                }
            }
        }

        fn pairs(&mut self, who: Who, pair: Pair, pairs: u32) {
            match who {
                Who::Libc => (0..pairs).for_each(|_| self.libc(pair)),
                Who::Inline => (0..pairs).for_each(|_| self.inline(pair)),
                Who::Executor => (0..pairs).for_each(|_| self.executor(pair)),
            }
        }

        /// Nanoseconds per pair, of libc, in place, and by the executor.
        fn round(&mut self, pair: Pair, pairs: u32, first: usize) -> [f64; 3] {
            let mut nanos = [0.0; 3];
            // All go over the same mappings.
            let seed = self.seed;
            for nth in 0..3 {
                let who = (first + nth) % 3;
                self.seed = seed;
                let begun = Instant::now();
                self.pairs([Who::Libc, Who::Inline, Who::Executor][who], pair, pairs);
                nanos[who] = begun.elapsed().as_nanos() as f64 / f64::from(pairs);
            }
            nanos
        }
    }

    fn median(values: impl Iterator<Item = f64>) -> f64 {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    fn calls(who: &str) {
        let mut bench = Bench::new(16, Layout::Gaps);
        let who = match who {
            "libc" => Who::Libc,
            "inline" => Who::Inline,
            _ => Who::Executor,
        };
        for pair in [Pair::UnmapMap, Pair::ProtectTwice] {
            bench.pairs(who, pair, 100);
        }
    }

    pub(crate) fn main() {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let has = |flag: &str| args.iter().any(|arg| arg == flag);
        if let Some(at) = args.iter().position(|arg| arg == "--calls") {
            return calls(args.get(at + 1).map_or("executor", String::as_str));
        }
        // `cargo test --benches` runs this without `--bench`, and unoptimised.
        let test = has("--test") || !has("--bench");
        let (rounds, pairs): (usize, u32) = match (test, has("--quick")) {
            (true, _) => (1, 20),
            (false, true) => (31, 200),
            (false, false) => (151, 400),
        };
        println!(
            "{:<14} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10} {:>10}",
            "", "", "", "libc", "in place", "executor", "more than", "more than"
        );
        println!(
            "{:<14} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10} {:>10}",
            "", "mappings", "layout", "ns", "ns", "ns", "libc", "in place"
        );
        let mut agreed = 0;
        for (mappings, layout) in [
            (16, Layout::Gaps),
            (256, Layout::Gaps),
            (4096, Layout::Gaps),
            (30_000, Layout::Gaps),
            (60_000, Layout::Stripes),
        ] {
            let mut bench = Bench::new(mappings, layout);
            for pair in [Pair::UnmapMap, Pair::ProtectTwice] {
                bench.round(pair, pairs, 0);
                let rounds: Vec<[f64; 3]> =
                    (0..rounds).map(|nth| bench.round(pair, pairs, nth)).collect();
                assert_eq!(bench.exec.verify().unwrap(), [], "books and kernel differ");
                agreed += 1;
                let nanos = |who: usize| median(rounds.iter().map(|nanos| nanos[who]));
                let more = |than: usize| {
                    100.0 * median(rounds.iter().map(|nanos| nanos[2] / nanos[than] - 1.0))
                };
                println!(
                    "{:<14} {mappings:>9} {:>9} {:>9.0} {:>9.0} {:>9.0} {:>9.1}% {:>9.1}%",
                    if pair == Pair::UnmapMap { "unmap, map" } else { "protect, back" },
                    if layout == Layout::Gaps { "gaps" } else { "adjacent" },
                    nanos(0),
                    nanos(1),
                    nanos(2),
                    more(0),
                    more(1),
                );
            }
        }
        println!("books and kernel agreed after each of {agreed} workloads");
    }
}

fn main() {
    #[cfg(all(feature = "exec", target_os = "linux"))]
    linux::main();
    #[cfg(not(all(feature = "exec", target_os = "linux")))]
    println!("the executor needs Linux and the feature `exec`");
}
