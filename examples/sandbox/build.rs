//! A program to load, built by the machine's own compiler.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

/// With constants, data and zeroed data, so that it has each kind of segment.
const RUST: &str = r#"
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
static ZEROED: [AtomicU8; 1 << 18] = [const { AtomicU8::new(0) }; 1 << 18];
static WRITTEN: [AtomicU8; 1 << 14] = [const { AtomicU8::new(1) }; 1 << 14];
fn main() {
    let nth = std::env::args().count();
    println!("{}", ZEROED[nth].fetch_add(WRITTEN[nth].load(Relaxed), Relaxed));
}
"#;

/// The same for a machine whose `rustc` cannot be run from here.
const C: &str = r"
static volatile char zeroed[1 << 18], written[1 << 14] = {1};
int main(int argc, char **argv) { (void)argv; return zeroed[argc] + written[argc]; }
";

/// A program, and who built it.
pub(crate) struct Built {
    pub(crate) by: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// Builds the program.
///
/// # Errors
///
/// A sentence, if no compiler can.
pub(crate) fn build() -> Result<Built, String> {
    let complaint = |error: io::Error| format!("cannot build a program to load: {error}");
    let folder = Folder::new().map_err(complaint)?;
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    // Without symbols, which no loader needs and which are most of the file.
    let with_rustc = ["--edition=2021", "-Cstrip=symbols", "-o"];
    let attempts = [
        ("rustc", rustc, RUST, "program.rs", &with_rustc[..]),
        ("cc", "cc".into(), C, "program.c", &["-s", "-o"][..]),
    ];
    let mut failures = Vec::new();
    for (by, compiler, text, source, options) in attempts {
        let source = folder.0.join(source);
        fs::write(&source, text).map_err(complaint)?;
        let program = folder.0.join(by);
        match compile(compiler, options, &source, &program) {
            Ok(()) => {
                let bytes = fs::read(&program).map_err(complaint)?;
                return Ok(Built { by, bytes });
            }
            Err(why) => failures.push(format!("{by}: {why}")),
        }
    }
    let failures = failures.join("; ");
    Err(format!("cannot build a program to load ({failures}); name one with --image"))
}

fn compile(
    compiler: OsString,
    options: &[&str],
    source: &Path,
    program: &Path,
) -> Result<(), String> {
    let mut command = Command::new(compiler);
    command.args(options).arg(program).arg(source).stdin(Stdio::null());
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let complaints = String::from_utf8_lossy(&output.stderr);
    Err(complaints.lines().next().unwrap_or("it failed").to_owned())
}

/// A folder that goes with this value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        // A name that is taken is somebody else's.
        for nth in 0..100 {
            let path = env::temp_dir().join(format!("addrspace-sandbox-{}-{nth}", process::id()));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|()| Self(path)),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind, it does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}
