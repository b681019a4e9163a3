//! No input makes the pure rooms panic: the places from where they could are listed in
//! `tests/panics/list.txt`, each function with its proof that none does.
//!
//! Every panic carries its place (`core::panic::Location`). Two small embedders call
//! all that is public, one without std and one with the functions for C, optimised and
//! with overflow checks; the places that are left in what is linked are those that the
//! compiler could not exclude. A new one fails the test, until the list has it and
//! somebody has looked at the proof:
//!
//! ```text
//! PANICS=update cargo test --test panics
//! ```
//!
//! writes the list anew, keeps the proofs, and puts a `?` before what is new. The list
//! is that of one compiler: another one excludes other places, so with another one the
//! differences are shown, and nothing is decided.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test: it links std, and a panic is a failure"
)]

#[path = "panics/linked.rs"]
mod linked;
#[path = "panics/list.rs"]
mod list;
#[path = "panics/source.rs"]
mod source;

use list::List;
use std::collections::BTreeSet;
use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Builds the embedder, and says where its library is.
fn build(features: &str) -> PathBuf {
    // Each its own, so that neither is built again for the other's sake.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("panics").join(features);
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--release", "--quiet", "--features", features])
        .arg("--manifest-path")
        .arg(root().join("tests/panics/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target);
    // What the tests are built with (for coverage, say) is not what an embedder builds.
    for flags in
        ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"]
    {
        cargo.env_remove(flags);
    }
    assert!(cargo.status().unwrap().success(), "the embedder with {features:?} cannot be built");
    target.join("release/libaddrspace_panics.so")
}

/// What compiles here, and for what.
fn compiler() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).arg("-vV").output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    let field = |name| said.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    format!("rustc {} {}", field("release:"), field("host:"))
}

/// The places that are linked into either embedder.
fn places() -> BTreeSet<source::Place> {
    let mut places = BTreeSet::new();
    for features in ["pure", "capi"] {
        let found = linked::locations(&build(features));
        assert!(found.len() > 100, "the places of the embedder with {features:?} were found");
        // What std brings for itself is not ours.
        let ours = found.iter().filter_map(|at| source::place(root(), at));
        places.extend(ours.filter(|place| features != "capi" || place.is_ours()));
    }
    places
}

#[test]
fn every_panic_that_is_linked_is_proven_unreachable() {
    let path = root().join("tests/panics/list.txt");
    let list = List::read(&path);
    let (places, compiler) = (places(), compiler());
    if env::var("PANICS").is_ok_and(|what| what == "update") {
        return list.updated(places, &compiler).write(&path);
    }
    let faults = list.compare(&places);
    if list.compiler == compiler {
        assert!(faults.is_empty(), "tests/panics/list.txt:\n{}", faults.join("\n"));
    } else {
        // Not by a macro: what those print is shown of failures only.
        let mut out = std::io::stderr();
        writeln!(out, "!!! THE LIST OF PANICS IS ANOTHER COMPILER'S: {}", list.compiler).unwrap();
        writeln!(out, "!!! and this is {compiler}. Nothing is decided. It would differ by:")
            .unwrap();
        writeln!(out, "{}", faults.join("\n")).unwrap();
    }
}

/// What the embedders do not call is not in the list.
#[test]
fn every_public_function_is_called() {
    let calls = source::words(&source::all(&root().join("tests/panics/src")));
    // Panics when the books are broken, for tests.
    let meant_to = "check";
    let mut found = 0;
    for room in ["page.rs", "prot.rs", "range_map", "space"] {
        for line in source::all(&root().join("src").join(room)).lines() {
            let Some(name) = source::public(line).filter(|name| *name != meant_to) else {
                continue;
            };
            assert!(calls.contains(name), "no embedder in tests/panics/src calls `{name}`");
            found += 1;
        }
    }
    assert!(found > 80, "the public functions were found: {found}");
}
