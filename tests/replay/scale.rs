//! The replay takes time in proportion to the trace, however many regions and
//! threads there are.

use core::fmt::{Arguments, Write};

use crate::support::findings;

/// As many regions as Linux allows by default, less those of the program.
const REGIONS: u64 = 65_000;
const THREADS: u64 = 140;
const BASE: u64 = 0x1_0000_0000;

/// The address of the n-th region: one page, and a hole of one behind it.
fn addr(region: u64) -> u64 {
    BASE + region * 0x2000
}

/// A trace in which many threads map, protect and unmap single pages, with a
/// copy of the whole space in between.
fn trace() -> String {
    let mut text = String::new();
    for thread in 1..THREADS {
        let tid = 10 + thread;
        writeln!(text, "e 2 10 1 clone 3d0f00 0 0 0 0 = {tid:x} child={tid} cmm=1").unwrap();
    }
    let mut call = |what: Arguments<'_>, region: u64| {
        let tid = 10 + region % THREADS;
        writeln!(text, "E 3 {tid} 1 {what}").unwrap();
    };
    for region in 0..REGIONS {
        let (start, end) = (addr(region), addr(region) + 0x1000);
        call(
            format_args!(
                "mmap {start:x} 1000 3 32 ffffffff 0 = {start:x}\n+{start:x} {end:x} rw-p 0 0"
            ),
            region,
        );
    }
    // Widely scattered, so that no position can be kept; and calls that change
    // nothing, which must not cost more.
    for step in 0..REGIONS {
        let region = step * 7919 % REGIONS;
        let (start, end) = (addr(region), addr(region) + 0x1000);
        call(format_args!("mprotect {start:x} 1000 1 = 0\n+{start:x} {end:x} r--p 0 0"), region);
        call(format_args!("mprotect {start:x} 2000 1 = -12"), region);
        call(format_args!("madvise {start:x} 1000 4 = 0"), region);
    }
    text.push_str("e 4 10 1 fork = ffff child=65535 cmm=2\n");
    snapshot(&mut text, 2, "fork");
    for region in 0..REGIONS {
        let start = addr(region);
        writeln!(text, "E 5 10 1 munmap {start:x} 1000 = 0\n-{start:x}").unwrap();
    }
    text.push_str("X 65535 2 0\n");
    snapshot(&mut text, 2, "exit");
    text
}

/// A snapshot of the space when all regions are there.
fn snapshot(text: &mut String, mm: u64, kind: &str) {
    writeln!(text, "S {mm} {kind} {} start_brk=20000\n=400000 401000 r-xp 0 1 rd", REGIONS + 1)
        .unwrap();
    for region in 0..REGIONS {
        let (start, end) = (addr(region), addr(region) + 0x1000);
        writeln!(text, "={start:x} {end:x} r--p 0 0 rd").unwrap();
    }
}

/// With a walk over all regions per call this would be 20 thousand million steps, and
/// nobody would wait for its end.
#[test]
fn many_regions_and_threads_take_linear_time() {
    let trace = trace();
    let found = findings(&trace);
    assert!(found.agree(), "{:#?}", found.details);
    assert_eq!(found.compared, 5 * REGIONS);
    assert_eq!((found.forks.all, found.exits.all), (1, 1));
    assert_eq!(found.peak_regions as u64, REGIONS + 1);
}
