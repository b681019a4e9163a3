//! Mirrors under load: threads that read random pages while the source changes.
//!
//! `ALIAS_LOAD_MIB` says of how much memory, and `ALIAS_LOAD_TOUCHES` how often each
//! thread reads a page. Without them it is little.

use crate::support::{Dice, PAGE, Pages, Stop, can, get, same_words};
use addrspace::alias::{Guarantee, Mirror, SharedMemory, Way};
use addrspace::{Prot, Span};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const THREADS: u64 = 8;

fn asked(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn pages() -> u64 {
    asked("ALIAS_LOAD_MIB", 8) * 256
}

fn touches() -> u64 {
    asked("ALIAS_LOAD_TOUCHES", 2000)
}

/// Eight threads call `read` with random pages; `write` runs until they are done.
/// What the threads found is answered, of each.
fn under_load<T: Send>(
    pages: u64,
    write: impl Fn(&AtomicBool) + Send + Sync,
    read: impl Fn(u64) -> T + Send + Sync,
) -> Vec<HashMap<u64, T>> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| write(&stop));
        let _stop = Stop(&stop);
        let readers: Vec<_> = (1..=THREADS)
            .map(|seed| {
                let read = &read;
                scope.spawn(move || {
                    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                    (0..touches())
                        .map(|_| dice.roll(pages))
                        .map(|page| (page, read(page)))
                        .collect()
                })
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    })
}

/// The source writes a version into every word; no page of a snapshot mixes versions, and
/// all are of the one instant.
#[test]
fn a_snapshot_never_mixes_versions() {
    for way in Guarantee::Snapshot.ways().iter().copied().filter(|way| can(*way)) {
        let pages = pages();
        let source = Pages::new(pages);
        (0..pages).for_each(|page| source.fill(page, 1));
        let mut mirror = Mirror::by(way, &[source.span()]).unwrap();
        let start = mirror.span().start();
        let write = |stop: &AtomicBool| {
            for version in 2.. {
                for page in 0..pages {
                    source.fill(page, version);
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            }
        };
        let found = under_load(pages, write, |page| same_words(start + page * PAGE));
        for (page, words) in found.into_iter().flatten() {
            assert_eq!(words, Ok(1), "{way}: page {page}");
        }
        assert_eq!(mirror.lost(), 0);
        assert!(mirror.delivered() <= pages);

        // Of an instant in the midst of the writing: the pages that were written in a
        // round by then come first, and are one version ahead of the others; at the
        // border there is one page with both.
        if way == Way::WriteProtect {
            (0..pages).for_each(|page| source.fill(page, 1));
            let stop = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| write(&stop));
                let _stop = Stop(&stop);
                for _ in 0..3 {
                    mirror.refresh().unwrap();
                    let mut words =
                        (0..pages).flat_map(|page| (0..PAGE / 8).map(move |word| (page, word)));
                    let word = |(page, word): (u64, u64)| get(start + page * PAGE + word * 8);
                    let first = word(words.next().unwrap());
                    let fell = words.find(|at| word(*at) != first);
                    if let Some(at) = fell {
                        let second = word(at);
                        assert_eq!(second, first - 1);
                        let rest = words.find(|at| word(*at) != second);
                        assert_eq!(rest, None, "the writes of one thread, in their order");
                    }
                }
            });
        }
    }
}

/// All readers see the same bytes; no page is copied twice, and none is lost.
#[test]
fn all_readers_of_a_first_touch_see_equal_bytes() {
    if !can(Way::FaultHandler) {
        return;
    }
    let pages = pages();
    let source = Pages::new(pages);
    (0..pages).for_each(|page| source.fill(page, 1));
    let mirror = Mirror::new(&[source.span()], Guarantee::FirstTouch).unwrap();
    let start = mirror.span().start();
    let write = |stop: &AtomicBool| {
        for version in 2.. {
            for page in 0..pages {
                source.fill(page, version);
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    };
    let read = |page: u64| -> Vec<u64> {
        (0..PAGE / 8).map(|word| get(start + page * PAGE + word * 8)).collect()
    };
    let digest = |words: &[u64]| {
        words.iter().fold(0_u64, |sum, word| sum.wrapping_mul(0x100_0000_01b3).wrapping_add(*word))
    };
    let found = under_load(pages, write, |page| {
        let words = read(page);
        // Torn between two neighbouring versions, but no word is anything else.
        assert!(words.iter().all(|word| *word > 0), "page {page}");
        digest(&words)
    });
    let mut first = HashMap::new();
    for (page, words) in found.into_iter().flatten() {
        assert_eq!(*first.entry(page).or_insert(words), words, "page {page}");
    }
    // Also now, by yet another reader.
    for (page, words) in &first {
        assert_eq!(digest(&read(*page)), *words, "page {page}");
    }
    assert_eq!(mirror.delivered(), first.len() as u64, "each page once");
    assert_eq!(mirror.lost(), 0);
}

/// What is written is in the mirror at once, for all who look.
#[test]
fn a_live_mirror_is_never_behind() {
    let pages = pages();
    let memory = SharedMemory::new(pages * PAGE).unwrap();
    let source = memory.map(0, pages * PAGE, Prot::READ | Prot::WRITE).unwrap();
    let half = pages / 2 * PAGE;
    let from = source.span().start();
    // The halves change places.
    let parts = [Span::of(from + half, half).unwrap(), Span::of(from, half).unwrap()];
    let mirror = Mirror::new(&parts, Guarantee::Live).unwrap();
    let start = mirror.span().start();
    let place = |page: u64| start + (page * PAGE + half) % (2 * half);
    let write = |stop: &AtomicBool| {
        for version in 1.. {
            for page in 0..pages / 2 * 2 {
                crate::support::set(from + page * PAGE, version);
                assert_eq!(get(place(page)), version, "page {page}");
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    };
    let found = under_load(pages / 2 * 2, write, |page| {
        // Source, mirror, source: versions only grow.
        let (before, seen, after) =
            (get(from + page * PAGE), get(place(page)), get(from + page * PAGE));
        before <= seen && seen <= after
    });
    assert!(found.into_iter().flatten().all(|(_, in_order)| in_order));
}
