//! What it costs to see memory at another address: a view beside a copy, and a page by a
//! fault handler beside a page that is copied by hand when it is first needed.
//!
//! ```text
//! cargo bench --features alias --bench alias              # medians, in turns
//! cargo bench --features alias --bench alias -- --test    # once, and little of it
//! ```

#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::multiple_unsafe_ops_per_block,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a benchmark: the numbers are small, and a panic is a failure"
)]

#[cfg(target_os = "linux")]
mod linux {
    #![allow(unsafe_code, reason = "it reads and writes the memory that it measures")]

    use addrspace::alias::{Chunk, ContiguousView, Mirror, SharedMemory, Way};
    use addrspace::{Prot, Span};
    use std::hint::black_box;
    use std::time::Instant;

    const PAGE: usize = 4096;
    const RW: Prot = Prot::READ.union(Prot::WRITE);

    /// Nanoseconds of each contender, of which the median is taken.
    fn medians<const N: usize>(rounds: usize, mut round: impl FnMut() -> [f64; N]) -> [f64; N] {
        let measured: Vec<[f64; N]> = (0..rounds).map(|_| round()).collect();
        std::array::from_fn(|nth| {
            let mut column: Vec<f64> = measured.iter().map(|row| row[nth]).collect();
            column.sort_by(f64::total_cmp);
            column[column.len() / 2]
        })
    }

    fn timed<T>(job: impl FnOnce() -> T) -> (f64, T) {
        let begun = Instant::now();
        let made = job();
        (begun.elapsed().as_nanos() as f64, made)
    }

    /// Reads a byte of each page.
    fn touch(start: *const u8, len: usize) -> u64 {
        // SAFETY: the callers have mapped `len` bytes there.
        (0..len).step_by(PAGE).map(|at| u64::from(unsafe { start.add(at).read_volatile() })).sum()
    }

    fn views(small: bool) {
        println!(
            "| bytes | copy, ns | view, ns | view and touch, ns | chunk replaced, ns | copy / view and touch |"
        );
        println!("|---|---|---|---|---|---|");
        let largest = if small { 1 << 20 } else { 1 << 30 };
        let mut len = PAGE;
        while len <= largest {
            let memory = SharedMemory::new(len as u64).unwrap();
            let source = memory.map(0, len as u64, RW).unwrap();
            // SAFETY: mapped just now, and nobody else has it.
            unsafe { source.pointer().write_bytes(7, len) };
            let mut target = vec![1_u8; len];
            let chunk = Chunk { memory: &memory, offset: 0, len: len as u64 };
            let mut contiguous = ContiguousView::new(&[chunk, chunk], Prot::READ).unwrap();
            let rounds = if small { 3 } else { (1 << 28) / len.clamp(1 << 18, 1 << 26) };
            let pages = (len / PAGE) as u64;
            let row = medians(rounds.clamp(3, 301), || {
                let (copy, ()) = timed(|| {
                    // SAFETY: both have `len` bytes, and they are two memories.
                    unsafe { target.as_mut_ptr().copy_from_nonoverlapping(source.pointer(), len) };
                    black_box(&mut target);
                });
                let (view, ()) = timed(|| drop(memory.map(0, len as u64, Prot::READ).unwrap()));
                let (touched, sum) = timed(|| {
                    let view = memory.map(0, len as u64, Prot::READ).unwrap();
                    touch(view.pointer(), len)
                });
                assert_eq!((sum, target[len - 1]), (7 * pages, 7), "both show the bytes");
                let (replaced, ()) = timed(|| contiguous.replace(1, chunk).unwrap());
                [copy, view, touched, replaced]
            });
            let [copy, view, touched, replaced] = row;
            println!(
                "| {len} | {copy:.0} | {view:.0} | {touched:.0} | {replaced:.0} | {:.2} |",
                copy / touched
            );
            len *= 16;
            if len > largest && len / 16 < largest {
                len = largest;
            }
        }
    }

    /// Nanoseconds for a page that is read for the first time, and for one that is written
    /// for the first time, at the source.
    fn pages(small: bool) {
        let pages = if small { 64 } else { 16_384 };
        let len = pages * PAGE;
        let rounds = if small { 3 } else { 21 };
        let source = Ordinary::new(len);
        println!("\n| a page | by hand, ns | mirror, ns | mirror / by hand |");
        println!("|---|---|---|---|");
        let per_page = |time: f64| time / pages as f64;
        let print = |what: &str, [hand, mirror]: [f64; 2]| {
            println!("| {what} | {hand:.0} | {mirror:.0} | {:.2} |", mirror / hand);
        };
        // By hand: whoever reads looks whether the page is there, and copies it if not.
        let by_hand = || {
            let mut copy: Vec<u8> = Vec::with_capacity(len);
            let (time, ()) = timed(|| {
                for at in (0..len).step_by(PAGE) {
                    // SAFETY: both have the page, and they are two memories.
                    unsafe {
                        let from = source.start.add(at);
                        copy.as_mut_ptr().add(at).copy_from_nonoverlapping(from, PAGE);
                    }
                    black_box(&mut copy);
                }
            });
            per_page(time)
        };
        for (way, what) in [
            (Way::FaultHandler, "read first (first touch)"),
            (Way::WriteProtect, "read first (snapshot)"),
        ] {
            if let Err(missing) = way.check() {
                println!("NOT MEASURED HERE: {way}: {missing}");
                continue;
            }
            let mut mirror = Mirror::by(way, &[source.span()]).unwrap();
            print(
                what,
                medians(rounds, || {
                    mirror.refresh().unwrap();
                    let hand = by_hand();
                    let (time, sum) = timed(|| touch(mirror.pointer(), len));
                    assert_eq!(sum, 7 * pages as u64);
                    [hand, per_page(time)]
                }),
            );
            if way == Way::WriteProtect {
                print(
                    "written first at the source of a snapshot",
                    medians(rounds, || {
                        mirror.refresh().unwrap();
                        let hand = by_hand();
                        let (time, ()) = timed(|| {
                            for at in (0..len).step_by(PAGE) {
                                // SAFETY: the memory is ours, and no reference points into it.
                                unsafe { source.start.add(at).write_volatile(7) };
                            }
                        });
                        [hand, per_page(time)]
                    }),
                );
            }
        }
        if let Err(missing) = Way::CheckedCopy.check() {
            println!("NOT MEASURED HERE: {}: {missing}", Way::CheckedCopy);
            return;
        }
        print(
            "snapshot copied at once",
            medians(rounds, || {
                let hand = by_hand();
                let make = || Mirror::by(Way::CheckedCopy, &[source.span()]).unwrap();
                let (time, mirror) = timed(make);
                assert_eq!(touch(mirror.pointer(), len), 7 * pages as u64);
                [hand, per_page(time)]
            }),
        );
    }

    /// Ordinary memory, full of sevens.
    struct Ordinary {
        _bytes: Vec<u8>,
        start: *mut u8,
        len: usize,
    }

    impl Ordinary {
        fn new(len: usize) -> Self {
            let mut bytes = vec![7_u8; len + PAGE];
            let skipped = bytes.as_ptr().align_offset(PAGE);
            let start = bytes.as_mut_ptr().wrapping_add(skipped);
            Self { _bytes: bytes, start, len }
        }

        fn span(&self) -> Span {
            Span::of(self.start.expose_provenance() as u64, self.len as u64).unwrap()
        }
    }

    pub(super) fn main() {
        let small = std::env::args().any(|argument| argument == "--test");
        views(small);
        pages(small);
    }
}

fn main() {
    #[cfg(target_os = "linux")]
    linux::main();
}
