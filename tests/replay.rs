//! The replay of recorded memory calls: that books and kernel agree about all
//! traces that the crate ships, and that the replay would notice if they did not.
//!
//! The modules under test are those of the `replay` example.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::unwrap_used,
    reason = "a test that overflows or unwraps nothing fails, as it should"
)]

#[path = "../examples/replay/books.rs"]
mod books;
#[path = "../examples/replay/cli.rs"]
mod cli;
#[path = "../examples/replay/compare.rs"]
mod compare;
#[path = "../examples/replay/kernel.rs"]
mod kernel;
#[path = "../examples/replay/report.rs"]
mod report;
#[path = "../examples/replay/rules/mod.rs"]
mod rules;
#[path = "../examples/replay/session.rs"]
mod session;
#[path = "../examples/replay/trace/mod.rs"]
mod trace;

#[path = "replay/planted.rs"]
mod planted;
#[path = "replay/reader.rs"]
mod reader;
#[path = "replay/rule.rs"]
mod rule;
#[path = "replay/scale.rs"]
mod scale;
#[path = "replay/support.rs"]
mod support;

use support::command;

#[test]
fn books_and_kernel_agree_about_all_shipped_traces() {
    let (status, out, err) = command(&[]);
    assert_eq!((status, err.as_str()), (cli::AGREED, ""), "{out}");

    let total = out.lines().find(|line| line.starts_with("total ")).unwrap();
    let columns: Vec<_> = total.split_whitespace().collect();
    // Calls, compared, mismatches, forks and exits; the rest varies.
    assert_eq!(columns[1..6], ["19681", "19427", "0", "75/75", "121/121"], "{out}");
    assert_eq!(out.lines().next().unwrap().split_whitespace().count(), columns.len());
}

#[test]
fn maps_prints_the_last_layout_of_every_space() {
    let (status, out, _) = command(&["--maps", &support::shipped("hello_static")]);
    assert_eq!(status, cli::AGREED);
    let layout = out.split_once("address space 1\n").unwrap().1;
    let first = layout.lines().next().unwrap();
    assert_eq!(
        first,
        "00400000-00401000 r--p 00000000 fe:00 5359875                            /app/hello_static"
    );
    assert!(layout.contains("[vdso]"), "{layout}");
}

#[test]
fn help_is_printed_and_an_unknown_option_is_refused() {
    assert!(command(&["--help"]).1.contains("Usage: replay"));
    let (status, _, err) = command(&["--nonsense"]);
    assert_eq!(status, cli::UNREADABLE);
    assert!(err.contains("--nonsense"), "{err}");
}

#[test]
fn missing_shipped_traces_are_complained_about_with_the_place_they_should_be_in() {
    for folder in ["/nowhere/at/all", env!("CARGO_MANIFEST_DIR")] {
        let complaint = cli::shipped(std::path::Path::new(folder)).unwrap_err();
        assert!(
            complaint.contains(folder) && complaint.contains("name a trace file"),
            "{complaint}"
        );
    }
}
