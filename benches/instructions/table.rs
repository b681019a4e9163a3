//! The committed table: a line per operation and size, and who compiled it.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, ExitCode};

use crate::valgrind::Row;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.tsv");

/// How much more than the table says is too much.
const MORE: f64 = 0.03;

const HEAD: &str = "operation\tmappings\tinstructions\tcompiler";

type Counts = BTreeMap<(String, usize), (f64, String)>;

/// What compiles this, and for what.
fn compiler() -> String {
    let said = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .arg("-vV")
        .output()
        .expect("`rustc` has compiled this");
    let said = String::from_utf8(said.stdout).expect("`rustc` writes UTF-8");
    let field = |name: &str| {
        said.lines().find_map(|line| line.strip_prefix(name)).expect("`rustc -vV` names it").trim()
    };
    format!("rustc {} {}", field("release:"), field("host:"))
}

fn is_peer(row: &Row) -> bool {
    row.operation.starts_with("rangemap ") || row.operation.starts_with("nodit ")
}

/// Writes the table.
pub fn update(counted: &[Row]) -> ExitCode {
    let compiler = compiler();
    let lines =
        counted.iter().filter(|row| !is_peer(row)).map(|Row { operation, mappings, count }| {
            format!("{operation}\t{mappings}\t{count:.1}\t{compiler}\n")
        });
    let text = lines.fold(format!("{HEAD}\n"), |text, line| text + &line);
    fs::write(TABLE, text).expect("the sources can be written to");
    println!("{} rows written to {TABLE}", counted.len());
    ExitCode::SUCCESS
}

fn read() -> Result<Counts, String> {
    let text = fs::read_to_string(TABLE).map_err(|error| format!("{TABLE}: {error}"))?;
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        return Err(format!("{TABLE}: the first line is not {HEAD:?}"));
    }
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [operation, mappings, count, compiler] = fields[..] else {
                return Err(format!("{TABLE}: not a row: {line:?}"));
            };
            let (Ok(mappings), Ok(count)) = (mappings.parse(), count.parse()) else {
                return Err(format!("{TABLE}: not a number: {line:?}"));
            };
            Ok(((operation.to_owned(), mappings), (count, compiler.to_owned())))
        })
        .collect()
}

/// Compares what was counted with the table, and says so.
pub fn compare(counted: &[Row]) -> ExitCode {
    let mut table = match read() {
        Ok(table) => table,
        Err(why) => {
            eprintln!("!!! NO TABLE: {why}; `--update` writes one");
            return ExitCode::FAILURE;
        }
    };
    let compiler = compiler();
    let (mut failures, mut fewer, mut others) = (Vec::new(), 0, Vec::new());
    println!("{:<34} {:>9} {:>12} {:>12} {:>8}", "", "mappings", "instructions", "table", "");
    for row in counted {
        let Row { operation, mappings, count } = row;
        let at = format!("{operation:<34} {mappings:>9} {count:>12.1}");
        if is_peer(row) {
            println!("{at}");
            continue;
        }
        let Some((known, by)) = table.remove(&(operation.clone(), *mappings)) else {
            println!("{at} {:>12}", "missing");
            failures.push(format!("{operation}, {mappings} mappings: not in the table"));
            continue;
        };
        let growth = count / known - 1.0;
        println!("{at} {known:>12.1} {:>+7.1}%", 100.0 * growth);
        if by != compiler {
            others.push(by);
        } else if growth > MORE {
            failures.push(format!("{operation}, {mappings} mappings: {known} -> {count:.1}"));
        } else if growth < -MORE {
            fewer += 1;
        }
    }
    for (operation, mappings) in table.keys() {
        failures.push(format!("{operation}, {mappings} mappings: in the table, and not counted"));
    }
    if fewer > 0 {
        println!("{fewer} take fewer than the table says: `--update` holds later changes to that");
    }
    if let Some(other) = others.first() {
        println!("!!! THE TABLE IS ANOTHER COMPILER'S: {other}, and this is {compiler}.");
        println!("!!! {} rows were not judged; `--update` writes a new table.", others.len());
    }
    if failures.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("FAILED:");
    for failure in &failures {
        println!("  {failure}");
    }
    ExitCode::FAILURE
}
