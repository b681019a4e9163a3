//! The sandbox: that the recorded programs run in it without a difference, that no
//! file it is given makes it panic, and that it would notice a difference.
//!
//! The modules under test are those of the `sandbox` example.
#![cfg(all(feature = "exec", target_os = "linux"))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::std_instead_of_alloc,
    clippy::unwrap_used,
    reason = "a test that overflows or unwraps nothing fails, as it should"
)]

#[path = "../examples/sandbox/bare.rs"]
mod bare;
#[path = "../examples/sandbox/build.rs"]
mod build;
#[path = "../examples/sandbox/cli.rs"]
mod cli;
#[path = "../examples/sandbox/costs.rs"]
mod costs;
#[path = "../examples/sandbox/deed.rs"]
mod deed;
#[path = "../examples/sandbox/files.rs"]
mod files;
#[path = "../examples/sandbox/guest.rs"]
mod guest;
#[path = "../examples/sandbox/image.rs"]
mod image;
#[path = "../examples/sandbox/layout.rs"]
mod layout;
#[path = "../examples/sandbox/load.rs"]
mod load;
#[path = "../examples/sandbox/recording.rs"]
mod recording;
#[path = "../examples/sandbox/report.rs"]
mod report;
#[path = "../examples/sandbox/scene.rs"]
mod scene;
#[allow(dead_code, reason = "the reader tells more than one program needs")]
#[path = "../examples/replay/trace/mod.rs"]
mod trace;
#[path = "../examples/sandbox/windows.rs"]
mod windows;

#[path = "sandbox/images.rs"]
mod images;
#[path = "sandbox/planted.rs"]
mod planted;
#[path = "sandbox/programs.rs"]
mod programs;
#[path = "sandbox/support.rs"]
mod support;

use support::{command, small_image, traces};

#[test]
fn every_shipped_trace_runs_without_a_difference() {
    let image = small_image();
    for trace in traces() {
        let (status, out, err) = command(&["--image", &image, "--rounds", "1", "--trace", &trace]);
        assert_eq!((status, err.as_str()), (cli::AGREED, ""), "{trace}\n{out}");
        assert!(out.contains(" 0 refused\n") && out.contains(": 0 differences\n"), "{out}");
        // It was measured, too.
        assert!(out.lines().any(|line| line.trim_start().starts_with("restore ")), "{out}");
    }
}

#[test]
fn without_arguments_a_program_is_built_and_everything_is_shown() {
    let (status, out, err) = command(&[]);
    assert_eq!((status, err.as_str()), (cli::AGREED, ""), "{out}");
    assert!(out.lines().count() <= 40, "{out}");
    for kind in ["execve", "mmap", "brk", "munmap", "mprotect", "mremap", "unmap_non_original"] {
        assert!(out.lines().any(|line| line.trim_start().starts_with(kind)), "{kind}\n{out}");
    }
    assert!(out.contains("as after loading"), "{out}");
    // After 1,000 calls, before and after the reset, and after the measurement.
    assert!(out.contains("verify   4 comparisons"), "{out}");
}

#[test]
fn help_is_printed_and_wrong_usage_is_refused() {
    assert!(command(&["--help"]).1.contains("Usage: sandbox"));
    for wrong in [
        &["--nonsense"][..],
        &["file"],
        &["--trace"],
        &["--image"],
        &["--rounds", "many"],
        &["--rounds", "-1"],
    ] {
        let (status, out, err) = command(wrong);
        assert_eq!((status, out.as_str()), (cli::UNREADABLE, ""), "{wrong:?}");
        assert!(err.starts_with("sandbox: ") && err.contains("--help"), "{err}");
    }
}
