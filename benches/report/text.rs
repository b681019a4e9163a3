//! The figures as tables for people.

use std::fmt::Write;

use crate::figures::Figures;
use crate::machine;

const BEGIN: &str = "<!-- What `.ci/benchmarks` has measured. -->\n";
const END: &str = "<!-- The end of that. -->\n";

/// The sizes that the README shows.
const SHORT: [usize; 3] = [16, 4096, 1_000_000];

/// Everything that was measured.
#[derive(Clone, Copy)]
pub struct Measured<'a> {
    pub figures: &'a Figures,
    /// `benches/instructions.tsv`.
    pub counts: &'a str,
    /// What the benchmark of the system calls has printed.
    pub kernel: &'a str,
    pub quick: bool,
}

/// The README with another section between the two comments.
pub fn with_section(readme: &str, section: &str) -> String {
    let parts =
        readme.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.expect("the README has a place for the figures");
    format!("{before}{BEGIN}{section}{END}{after}")
}

/// A figure with as many digits as mean something.
fn digits(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) if value >= 0.1 => format!("{value:.2}"),
        Some(value) if value >= 0.01 => format!("{value:.3}"),
        Some(value) => format!("{value:.5}"),
    }
}

/// A row of a table.
fn row(cells: impl IntoIterator<Item = String>) -> String {
    let cells: Vec<String> = cells.into_iter().collect();
    format!("| {} |\n", cells.join(" | "))
}

/// The head of a table: the first column is text, all others are figures.
fn head(cells: &[&str]) -> String {
    let rule = cells.iter().enumerate().map(|(at, _)| if at == 0 { "---" } else { "--:" });
    row(cells.iter().map(|&cell| cell.to_owned())) + &row(rule.map(str::to_owned))
}

impl Measured<'_> {
    fn when(&self) -> String {
        let quick = if self.quick { " (with `--quick`, so that they say less)" } else { "" };
        format!("Measured by `.ci/benchmarks`{quick}: {}.\n", machine::describe())
    }

    /// For the README.
    pub fn short(&self) -> String {
        let mut text = head(&[
            "",
            "mappings",
            "`RangeMap`, ns",
            "`AddrSpace`, ns",
            "`rangemap`, ns",
            "`nodit`, ns",
            "ours / `rangemap`",
        ]);
        for name in self.figures.names("ns") {
            for size in self.figures.sizes("ns", name) {
                if SHORT.contains(&size) && !name.ends_with("(each)") {
                    let ns = |who| digits(self.figures.get("ns", name, size, who));
                    let ratio = self.figures.get("ns ratio", name, size, "RangeMap/rangemap");
                    let nanos = ["RangeMap", "AddrSpace", "rangemap", "nodit"].map(ns);
                    let cells = [name.to_owned(), size.to_string()].into_iter().chain(nanos);
                    text += &row(cells.chain([digits(ratio)]));
                }
            }
        }
        text + "\n" + &self.when()
    }

    /// For `docs/benchmarks.md`.
    pub fn full(&self) -> String {
        let mut text = String::from("# What the books cost, beside others\n\n");
        text += &self.when();
        text += "\n![Nanoseconds over the number of mappings](benchmarks.svg)\n\n";
        text += "## In one process, in turns\n\n`cargo bench --bench peers`; its source says \
            what each workload does. Medians of\nnanoseconds, of this thread's own time; the \
            ratios are medians of what was measured\nin the same round. \"With index\" is \
            `rangemap` with an index of its gaps beside it.\nWhere a name ends in \"(each)\", \
            figures are per mapping.\n\n";
        text += &self.table("ns");
        text += "\n### From 4,096 mappings to the most\n\nHow many times as long it takes.\n\n";
        text += &self.table("growth");
        text += "\n## Bytes of heap per mapping\n\nAs asked of the allocator, which adds a few \
            bytes for each block.\n\n";
        text += &self.table("bytes");
        text += "\n## Copies, each contender in a process of its own\n\nNanoseconds per copy, of \
            many that live at the same time.\n\n";
        text += &self.table("ns alone");
        text += "\n## The longest single operation\n\nOf a sequence that was played 20 times, \
            each operation counting with the least of its\ntimes. \"While a block grew\": the \
            allocator and the kernel took part.\n\n";
        text += &head(&["", "mappings", "ns", ""]);
        for name in self.figures.names("longest") {
            for size in self.figures.sizes("longest", name) {
                for column in self.figures.columns("longest") {
                    if let Some(value) = self.figures.get("longest", name, size, column) {
                        let what = column.trim_start_matches("ns").trim().to_owned();
                        text +=
                            &row([name.to_owned(), size.to_string(), format!("{value:.0}"), what]);
                    }
                }
            }
        }
        text += "\n## Recorded programs\n\n`cargo bench --bench traces`: what each asked of the \
            books, asked again; nanoseconds\nper call of the library.\n\n";
        text += &head(&["", "calls", "regions", "`AddrSpace`", "on `rangemap`", "ratio"]);
        for name in self.figures.names("trace") {
            for regions in self.figures.sizes("trace", name) {
                let figure = |column| digits(self.figures.get("trace", name, regions, column));
                let calls = self.figures.get("trace", name, regions, "verbs").unwrap_or(0.0);
                let named = [name.to_owned(), format!("{calls:.0}"), regions.to_string()];
                text +=
                    &row(named.into_iter().chain(["AddrSpace", "rangemap", "ratio"].map(figure)));
            }
        }
        text += "\n## Instructions\n\n`cargo bench --bench instructions --features capi`, which \
            is what changes are held to.\n\n";
        text += &self.instructions();
        text += "\n## Beside the system calls\n\n`cargo bench --bench kernel`\n\n```text\n";
        write!(text, "{}\n```\n", self.kernel.trim_end()).expect("strings grow");
        text
    }

    /// A table with all its columns and those of its ratios.
    fn table(&self, table: &str) -> String {
        let ratios = format!("{table} ratio");
        let (columns, ratio_columns) = (self.figures.columns(table), self.figures.columns(&ratios));
        let mut heads = vec!["", "mappings"];
        heads.extend(columns.iter().chain(&ratio_columns));
        let mut text = head(&heads);
        for name in self.figures.names(table) {
            for size in self.figures.sizes(table, name) {
                let of = |table: &str, columns: &[&str]| -> Vec<String> {
                    let get = |column: &&str| digits(self.figures.get(table, name, size, column));
                    columns.iter().map(get).collect()
                };
                let cells = [name.to_owned(), size.to_string()].into_iter();
                text += &row(cells.chain(of(table, &columns)).chain(of(&ratios, &ratio_columns)));
            }
        }
        text
    }

    fn instructions(&self) -> String {
        let mut lines = self.counts.lines().map(|line| line.split('\t').collect::<Vec<&str>>());
        let mut text = lines.next().map_or_else(String::new, |titles| {
            head(&titles.iter().take(3).copied().collect::<Vec<&str>>())
        });
        for line in lines {
            text += &row(line.iter().take(3).map(|&cell| cell.to_owned()));
        }
        text
    }
}
