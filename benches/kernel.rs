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
//! cargo bench --bench kernel -- --calls executor   # a hundred pairs of one of the two
//! cargo bench --bench kernel -- --calls bare       # for strace to compare
//! ```
//!
//! The bare calls are made through libc's functions, as other programs make them.
//! A share is the median over the rounds of what the executor took more than the
//! bare calls *in the same round*, so that what else the machine does cancels out.

#![allow(
    unsafe_code,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
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

    fn bare_map(addr: u64, prot: Prot, flags: i32) {
        let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        // SAFETY: the page belongs to the executor's reservation, and nobody holds a
        // reference into it.
        let got = unsafe {
            libc::mmap(pointer(addr), PAGE as usize, prot.bits().cast_signed(), flags, -1, 0)
        };
        assert_ne!(got, libc::MAP_FAILED);
    }

    fn bare_protect(addr: u64, prot: Prot) {
        // SAFETY: as above.
        let answer =
            unsafe { libc::mprotect(pointer(addr), PAGE as usize, prot.bits().cast_signed()) };
        assert_eq!(answer, 0);
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

        fn bare(&mut self, pair: Pair) {
            let (addr, prot) = self.next();
            match pair {
                Pair::UnmapMap => {
                    bare_map(addr, Prot::empty(), libc::MAP_NORESERVE);
                    bare_map(addr, prot, 0);
                }
                Pair::ProtectTwice => {
                    bare_protect(addr, Prot::empty());
                    bare_protect(addr, prot);
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

        /// Nanoseconds per pair: bare, and by the executor.
        fn round(&mut self, pair: Pair, pairs: u32, bare_first: bool) -> [f64; 2] {
            let mut nanos = [0.0; 2];
            // Both go over the same mappings.
            let seed = self.seed;
            for nth in 0..2 {
                let who = usize::from(bare_first) ^ nth ^ 1;
                self.seed = seed;
                let begun = Instant::now();
                for _ in 0..pairs {
                    if who == 0 { self.bare(pair) } else { self.executor(pair) }
                }
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
        for pair in [Pair::UnmapMap, Pair::ProtectTwice] {
            for _ in 0..100 {
                if who == "bare" { bench.bare(pair) } else { bench.executor(pair) }
            }
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
        let (rounds, pairs) = match (test, has("--quick")) {
            (true, _) => (1, 20),
            (false, true) => (31, 200),
            (false, false) => (151, 400),
        };
        println!(
            "{:<14} {:>9} {:>9} {:>10} {:>12} {:>9}",
            "", "mappings", "layout", "bare, ns", "executor, ns", "books"
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
                bench.round(pair, pairs, false);
                let rounds: Vec<[f64; 2]> =
                    (0..rounds).map(|nth| bench.round(pair, pairs, nth % 2 == 0)).collect();
                assert_eq!(bench.exec.verify().unwrap(), [], "books and kernel differ");
                agreed += 1;
                println!(
                    "{:<14} {mappings:>9} {:>9} {:>10.0} {:>12.0} {:>8.1}%",
                    if pair == Pair::UnmapMap { "unmap, map" } else { "protect, back" },
                    if layout == Layout::Gaps { "gaps" } else { "adjacent" },
                    median(rounds.iter().map(|nanos| nanos[0])),
                    median(rounds.iter().map(|nanos| nanos[1])),
                    100.0 * median(rounds.iter().map(|nanos| nanos[1] / nanos[0] - 1.0)),
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
