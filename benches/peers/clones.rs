//! Copies, made in a process of each contender's own: in one process, whoever
//! recycles what another one has freed would win.

use std::hint::black_box;
use std::process::Command;

use crate::books::{Books, build};
use crate::clock::now;
use crate::contenders::{COUNT, Contenders, NAMES, Work};
use crate::layout::{Layout, PAGE};
use crate::table::{Table, Unit};

/// With this argument, a contender and a number the program only makes copies.
pub const ALONE: &str = "--copies-of";

struct Copies<'a>(&'a Layout);

impl Work for Copies<'_> {
    type Answer = f64;
    /// Nanoseconds per copy. Many live at the same time, as the processes of a
    /// machine do.
    fn run<B: Books>(&self, _: &mut B) -> f64 {
        let books: B = build(self.0, &self.0.scattered());
        let count = (262_144 / self.0.len()).clamp(16, 4096);
        let batch = || {
            let mut copies = Vec::with_capacity(count);
            let started = now();
            copies.extend((0..count).map(|_| black_box(books.clone())));
            let nanos = (now() - started) as f64 / count as f64;
            drop(black_box(copies));
            nanos
        };
        let mut batches: Vec<f64> = (0..15).map(|_| batch()).collect();
        batches.sort_by(f64::total_cmp);
        batches[batches.len() / 2]
    }
}

/// The process of a single contender.
pub fn alone(who: &str, mappings: usize) {
    let who = NAMES.iter().position(|name| *name == who).expect("a contender");
    println!("{}", Contenders::empty().run(who, &Copies(&Layout::new(mappings, PAGE))));
}

/// Starts a process for each contender in turns.
pub fn turns(mappings: usize, rounds: usize, table: &mut Table) {
    let program = std::env::current_exe().expect("this program is a file");
    for round in 0..rounds {
        let mut nanos = [0.0; COUNT];
        for turn in 0..COUNT {
            let who = (turn + round) % COUNT;
            let process = Command::new(&program)
                .args([ALONE, NAMES[who], &mappings.to_string()])
                .output()
                .expect("this program can be started");
            let said = String::from_utf8_lossy(&process.stdout);
            assert!(process.status.success(), "{}", String::from_utf8_lossy(&process.stderr));
            nanos[who] = said.trim().parse().expect("it says nanoseconds");
        }
        table.add(Unit::NanosAlone, "clone", mappings, nanos);
    }
}
