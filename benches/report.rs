//! Writes what the benchmarks found into `docs/benchmarks.md`, `docs/benchmarks.svg`
//! and the README. `.ci/benchmarks` measures first and then runs this.
//!
//! ```text
//! cargo bench --bench report -- --figures FOLDER   # from peers.csv, traces.csv, kernel.txt
//! cargo bench --bench report -- --test             # draws and writes a sample, nowhere
//! ```

#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    unreachable_pub,
    reason = "a program around benchmarks: it links std, and a panic is a failure"
)]

#[path = "report/figures.rs"]
mod figures;
#[path = "report/machine.rs"]
mod machine;
#[path = "report/plot.rs"]
mod plot;
#[path = "report/text.rs"]
mod text;

use std::fs;
use std::path::Path;

use figures::Figures;
use text::Measured;

const HOME: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    println!("written: {}", path.display());
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let home = Path::new(HOME);
    let readme = read(&home.join("README.md"));
    let counts = read(&home.join("benches/instructions.tsv"));
    let folder = args.iter().position(|arg| arg == "--figures").and_then(|at| args.get(at + 1));
    let Some(folder) = folder else {
        assert!(!has("--figures"), "`--figures` is followed by a folder");
        let figures = Figures::sample();
        let measured = Measured { figures: &figures, counts: &counts, kernel: "", quick: true };
        text::with_section(&readme, &measured.short());
        assert!(measured.full().contains("| find |"), "the sample is in the text");
        assert!(plot::svg(&figures).ends_with("</svg>\n"), "the sample can be drawn");
        println!("a sample was drawn and written; `.ci/benchmarks` measures");
        return;
    };
    let folder = Path::new(folder);
    let mut figures = Figures::default();
    figures.read(&read(&folder.join("peers.csv")));
    figures.read(&read(&folder.join("traces.csv")));
    let kernel = read(&folder.join("kernel.txt"));
    let measured =
        Measured { figures: &figures, counts: &counts, kernel: &kernel, quick: has("--quick") };
    write(&home.join("docs/benchmarks.svg"), &plot::svg(&figures));
    write(&home.join("docs/benchmarks.md"), &measured.full());
    write(&home.join("README.md"), &text::with_section(&readme, &measured.short()));
}
