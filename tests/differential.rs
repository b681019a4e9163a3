//! The comparison with the kernel: that books and kernel agree about random calls, that
//! each rule is met on the way, and that a difference would be found.
//!
//! The modules under test are those of the `differential` example.
#![cfg(all(target_os = "linux", target_pointer_width = "64"))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::std_instead_of_alloc,
    clippy::unwrap_used,
    reason = "a test that overflows or unwraps nothing fails, as it should"
)]

#[path = "../examples/differential/books.rs"]
mod books;
#[path = "../examples/differential/call.rs"]
mod call;
#[path = "../examples/differential/child.rs"]
mod child;
#[path = "../examples/differential/cli.rs"]
mod cli;
#[path = "../examples/differential/expect/mod.rs"]
mod expect;
#[path = "../examples/differential/generate.rs"]
mod generate;
#[path = "../examples/differential/ground.rs"]
mod ground;
#[path = "../examples/differential/kernel.rs"]
mod kernel;
#[path = "../examples/differential/numbers.rs"]
mod numbers;
#[path = "../examples/differential/pages.rs"]
mod pages;
#[path = "../examples/differential/rule.rs"]
mod rule;
#[path = "../examples/differential/shrink.rs"]
mod shrink;
#[path = "../examples/differential/stream.rs"]
mod stream;
#[path = "../examples/differential/tally.rs"]
mod tally;
#[path = "../examples/differential/world.rs"]
mod world;

use call::{ANONYMOUS, Call, DONT_FORK, FIXED, NO_FILE, Name, PRIVATE};
use cli::rules_of;
use expect::Mremap;
use ground::{PAGES, WINDOW};
use rule::Rule;
use tally::Tally;
use world::World;

/// The rules of the kernel that runs.
fn here() -> Mremap {
    rules_of(&std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap())
}

fn command(arguments: &[&str]) -> (u8, String) {
    let mut out = Vec::new();
    let arguments = arguments.iter().map(|argument| (*argument).to_owned());
    let status = cli::run(arguments, &mut out).unwrap();
    (status, String::from_utf8(out).unwrap())
}

fn map(addr: u64, len: u64) -> Call {
    let flags = PRIVATE | ANONYMOUS | FIXED;
    Call::new(Name::Mmap, [addr, len, 3, flags, NO_FILE, 0])
}

fn unmap(addr: u64, len: u64) -> Call {
    Call::new(Name::Munmap, [addr, len, 0, 0, 0, 0])
}

#[test]
fn books_and_kernel_agree_and_every_rule_is_met() {
    let mut total = Tally::default();
    // Those that hang on the machine or on long histories.
    let rare = [Rule::LowAddress, Rule::Apart, Rule::Before617, Rule::OntoItself];
    let missing = |total: &Tally| {
        Rule::ALL.into_iter().filter(|rule| !rare.contains(rule) && total.hits(*rule) == 0).count()
    };
    for seed in 0..30 {
        let (tally, difference) = stream::run(seed, here(), None).unwrap();
        assert!(difference.is_none(), "seed {seed}: {difference:?}");
        total.add(&tally);
        if missing(&total) == 0 {
            break;
        }
    }
    assert_eq!(missing(&total), 0, "{total}");
    assert!(total.changes * 4 > total.made, "most calls change nothing: {total}");
}

#[test]
fn the_same_seed_makes_the_same_calls() {
    let [first, second] = [7, 7].map(|seed| stream::run(seed, here(), None).unwrap().0.to_string());
    assert_eq!(first, second);
    assert_ne!(first, stream::run(8, here(), None).unwrap().0.to_string());
}

#[test]
fn what_the_books_do_not_hear_of_is_found() {
    let page = child::page_size().unwrap().bytes();
    let mut world = World::new(here()).unwrap();
    world.step(&map(WINDOW, 4 * page)).unwrap();
    assert_eq!(world.behind_the_back(&unmap(WINDOW + 2 * page, page)).unwrap(), 0);
    let what = world.step(&unmap(WINDOW + 9 * page, page)).unwrap_err();
    assert!(what.starts_with("page 0x2 of the window: the kernel has None"), "{what}");

    // Flags, which the list of pages does not show.
    let mut world = World::new(here()).unwrap();
    world.step(&map(WINDOW, 4 * page)).unwrap();
    world.compare_flags().unwrap();
    let keep = |advice| Call::new(Name::Madvise, [WINDOW + page, page, advice, 0, 0, 0]);
    assert_eq!(world.behind_the_back(&keep(DONT_FORK)).unwrap(), 0);
    let what = world.compare_flags().unwrap_err();
    assert!(
        what.ends_with("the kernel has Some(MapFlags(DONT_FORK)), the books Some(MapFlags(0x0))"),
        "{what}"
    );

    // Around the window.
    let mut world = World::new(here()).unwrap();
    world.compare_outside().unwrap();
    assert_eq!(world.behind_the_back(&unmap(WINDOW - page, page)).unwrap(), 0);
    world.compare_outside().unwrap_err();
}

#[test]
fn another_answer_is_found() {
    let page = child::page_size().unwrap().bytes();
    let mut world = World::new(here()).unwrap();
    // The kernel has no room at the top, of which the books know nothing.
    let top = WINDOW + (PAGES - 1) * page;
    assert!(world.behind_the_back(&map(top, page)).unwrap() > 0);
    let anywhere = Call::new(Name::Mmap, [0, page, 3, PRIVATE | ANONYMOUS, NO_FILE, 0]);
    let what = world.step(&anywhere).unwrap_err();
    let answers = format!("the kernel answers {:#x}, and not {top:#x}", top - page);
    assert!(what.starts_with(&answers), "{what}");
}

#[test]
fn the_rules_of_another_kernel_do_not_pass() {
    let other = if here() == Mremap::From617 { "before" } else { "from" };
    let (status, out) =
        command(&["--seed", "1", "--seconds", "600", "--children", "20", "--mremap", other]);
    assert_eq!(status, cli::DISAGREED, "{out}");
    // Few calls are left to show it, the last of them an mremap.
    let calls: Vec<_> = out.lines().skip_while(|line| !line.starts_with("DIFFERENCE")).collect();
    assert!(calls.len() < 12, "{out}");
    assert!(calls[calls.len() - 2].starts_with("  mremap("), "{out}");
}

#[test]
fn the_command_reports_what_it_did() {
    let (status, out) = command(&["--seed", "3", "--children", "1"]);
    assert_eq!(status, cli::AGREED, "{out}");
    assert!(out.contains("seed 3\n") && out.contains("in 1 children"), "{out}");
    for rule in Rule::ALL {
        assert_eq!(out.matches(rule.why()).count(), 1, "{rule:?}");
    }
    assert!(command(&["--help"]).1.contains("--seconds"));
    for wrong in [&["--seconds"][..], &["--seed", "x"], &["--mremap", "6.17"], &["seed", "1"]] {
        let arguments = wrong.iter().map(|argument| (*argument).to_owned());
        cli::run(arguments, &mut Vec::new()).unwrap_err();
    }
}

#[test]
fn a_kernels_release_tells_its_rules() {
    let table = [
        ("6.1.0-56-cloud-amd64", Mremap::Before617),
        ("6.16.12", Mremap::Before617),
        ("5.19", Mremap::Before617),
        ("6.17.0-rc1", Mremap::From617),
        ("6.18.44\n", Mremap::From617),
        ("7.0-custom", Mremap::From617),
    ];
    for (release, rules) in table {
        assert_eq!(rules_of(release), rules, "{release}");
    }
}

#[test]
fn shrinking_leaves_what_is_needed() {
    let calls: Vec<_> = (0..100).map(|nth| unmap(nth, 1)).collect();
    let needed = [unmap(3, 1), unmap(4, 1), unmap(77, 1)];
    let fewest = shrink::shrink(calls, |calls| needed.iter().all(|call| calls.contains(call)));
    assert_eq!(fewest, needed);
}
