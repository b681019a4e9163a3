//! Runs this program under valgrind and reads what it counted.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// With this argument the program is the one that is counted in.
pub const COUNTED: &str = "--counted";

/// Matches the loop in all its forms.
const LOOP: &str = "*loop_that_is_counted";

/// Instructions of an operation.
pub struct Row {
    pub operation: String,
    pub mappings: usize,
    pub count: f64,
}

/// Counts the instructions of every row, those of other crates included if `peers`.
pub fn count(peers: bool) -> Result<Vec<Row>, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("instructions");
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    // Old dumps would be taken for new ones.
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(failed)?;
    }
    fs::create_dir_all(&folder).map_err(failed)?;
    let dump = folder.join("dump");

    let program = std::env::current_exe().map_err(failed)?;
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--error-exitcode=1", "--quiet"])
        .arg(format!("--toggle-collect={LOOP}"))
        .arg(format!("--dump-after={LOOP}"))
        .arg(format!("--callgrind-out-file={}", dump.display()))
        .arg(program)
        .arg(COUNTED)
        .args(peers.then_some("--peers"))
        // The C library picks its `memcpy` by what the processor can do.
        .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX512F,-AVX512VL,-ERMS,-FSRM")
        .stderr(Stdio::inherit());
    let output = valgrind
        .output()
        .map_err(|error| format!("valgrind: {error}; the package is called `valgrind`"))?;
    if !output.status.success() {
        return Err(format!("valgrind: {}", output.status));
    }
    let said = String::from_utf8(output.stdout).map_err(|error| error.to_string())?;
    // The loop without operations, the warm-up, the operations.
    let collected = |number: usize| total(&dump.with_extension(number.to_string()));
    said.lines()
        .enumerate()
        .map(|(nth, line)| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [operation, mappings, operations] = fields[..] else {
                return Err(format!("not a row: {line}"));
            };
            let number =
                |text: &str| text.parse::<usize>().map_err(|_| format!("not a row: {line}"));
            let [nothing, work] = [collected(3 * nth + 1)?, collected(3 * nth + 3)?];
            let count = work.checked_sub(nothing).ok_or_else(|| {
                format!("{operation}: {work} instructions, but {nothing} without operations")
            })?;
            let count = count as f64 / number(operations)? as f64;
            Ok(Row { operation: operation.to_owned(), mappings: number(mappings)?, count })
        })
        .collect()
}

/// The instructions of a dump.
fn total(dump: &Path) -> Result<u64, String> {
    let text = fs::read_to_string(dump).map_err(|error| format!("{}: {error}", dump.display()))?;
    text.lines()
        .find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok())
        .ok_or_else(|| format!("{}: no line of totals", dump.display()))
}
