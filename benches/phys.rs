//! What physical memory costs: a window beside `pread`, and a dump past the page cache
//! beside one through it.
//!
//! ```text
//! tests/vm/run --bench                  # on the real device, in both machines
//! cargo bench --bench phys              # on a file that stands in
//! cargo bench --bench phys -- --test    # once; asserts that both ways read the same
//! ```

#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a benchmark: the numbers are small, and a panic is a failure"
)]

#[cfg(all(feature = "phys", target_os = "linux"))]
mod linux {
    use addrspace::Prot;
    use addrspace::phys::{DumpOptions, PhysMem, Way};
    use std::env;
    use std::fs;
    use std::hint::black_box;
    use std::ops::ControlFlow;
    use std::path::PathBuf;
    use std::time::Instant;

    const MIB: u64 = 1 << 20;
    /// The bytes of a dump.
    const LEN: u64 = 8 * MIB;

    /// The device, its first address, and a folder for dumps.
    struct Place {
        path: PathBuf,
        first: u64,
        folder: PathBuf,
        /// Whether `path` is ours to remove.
        stands_in: bool,
    }

    impl Place {
        fn find() -> Self {
            if let (Ok(hidden), Some(folder)) = (env::var("VM_HIDDEN"), env::var_os("VM_DISK")) {
                let first = u64::from_str_radix(hidden.trim_start_matches("0x"), 16).unwrap();
                return Self {
                    path: "/dev/mem".into(),
                    first,
                    folder: folder.into(),
                    stands_in: false,
                };
            }
            let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
            let path = folder.join("stands-in-for-memory");
            fs::write(&path, vec![7; LEN as usize]).unwrap();
            Self { path, first: 0, folder, stands_in: true }
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            if self.stands_in {
                let _ = fs::remove_file(&self.path);
            }
        }
    }

    /// The median of `rounds` times of `act`, in nanoseconds, per one of `times`.
    fn median(rounds: usize, times: u32, mut act: impl FnMut()) -> f64 {
        let mut taken: Vec<f64> = (0..rounds)
            .map(|_| {
                let begun = Instant::now();
                for _ in 0..times {
                    act();
                }
                begun.elapsed().as_secs_f64() * 1e9 / f64::from(times)
            })
            .collect();
        taken.sort_by(f64::total_cmp);
        taken[taken.len() / 2]
    }

    pub(super) fn main() {
        let once = env::args().any(|argument| argument == "--test");
        let (rounds, times) = if once { (1, 1) } else { (21, 200) };
        let place = Place::find();
        let what = if place.stands_in { "a file that stands in" } else { "/dev/mem" };
        println!("{what}, medians of {rounds} rounds of {times}");
        println!("| | caching | bytes | window, ns | pread, ns | pread / window |");
        println!("|---|---|---|---|---|---|");
        for cached in [true, false] {
            let mut options = PhysMem::options().path(&place.path);
            if cached {
                options = options.cached();
            }
            let memory = options.open().unwrap();
            let range = place.first..=place.first + MIB - 1;
            let window = memory.window(range, Prot::READ).unwrap();
            let caching = if cached { "cached" } else { "uncached" };

            let mut word = [0; 4];
            memory.read(place.first + 8, &mut word).unwrap();
            assert_eq!(window.read::<u32>(8).unwrap(), u32::from_ne_bytes(word));
            let by_window = median(rounds, times, || {
                black_box(window.read::<u32>(black_box(8)).unwrap());
            });
            let by_pread = median(rounds, times, || {
                memory.read(black_box(place.first + 8), black_box(&mut word)).unwrap();
            });
            let row = |name: &str, bytes: usize, window: f64, pread: f64| {
                let ratio = pread / window;
                println!(
                    "| {name} | {caching} | {bytes} | {window:.1} | {pread:.1} | {ratio:.2} |"
                );
            };
            row("register", 4, by_window, by_pread);

            for len in [4096, 65536] {
                let (mut seen, mut read) = (vec![0; len], vec![0; len]);
                let times = if once { 1 } else { 20 };
                let by_window =
                    median(rounds, times, || window.copy_to(0, black_box(&mut seen)).unwrap());
                let by_pread = median(rounds, times, || {
                    memory.read(place.first, black_box(&mut read)).unwrap();
                });
                assert!(seen == read);
                row("copy", len, by_window, by_pread);
            }
        }

        println!("\n| dump of {} MiB, fsync included | MiB/s |", LEN / MIB);
        println!("|---|---|");
        let memory = PhysMem::options().path(&place.path).cached().open().unwrap();
        let mut files = Vec::new();
        for direct in [true, false] {
            let to = place.folder.join(if direct { "direct" } else { "buffered" });
            let options = DumpOptions { direct, ..DumpOptions::default() };
            let range = place.first..=place.first + LEN - 1;
            let mut way = Way::Buffered;
            let taken = median(rounds.min(5), 1, || {
                let go = |_| ControlFlow::Continue(());
                way = memory.dump(range.clone(), &to, &options, go).unwrap().way;
            });
            files.push(fs::read(&to).unwrap());
            fs::remove_file(&to).unwrap();
            println!("| {way:?} | {:.0} |", LEN as f64 / MIB as f64 / (taken / 1e9));
        }
        assert!(files[0] == files[1]);
    }
}

fn main() {
    #[cfg(all(feature = "phys", target_os = "linux"))]
    linux::main();
}
