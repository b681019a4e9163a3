//! Small traces written by hand, and the command run on files.

use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::PathBuf;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::cli;
use crate::session::{Findings, replay};
use crate::trace::{Trace, TraceError};

/// The beginning of a trace with one program, in space 1, that has one page of
/// its own. Objects 2 and 3 are files that it may map.
pub(crate) const PROGRAM: &str = "\
memtrace 1
H name by_hand
H page_size 1000
O 1 fe:00 11 /bin/program
O 2 fe:00 12 /var/lib/some data
O 3 00:01 13 /SYSV00000000
e 1 10 0 execve = 0 cmm=1 ctid=10 obj=1
L 1 as=inf data=inf stack=800000 memlock=800000
S 1 exec 1 total_vm=1 data_vm=0 locked_kb=0 start_brk=20000 start_stack=0
=400000 401000 r-xp 0 1 rd,ex,mr,mw,me
";

/// The program's trace with `lines` behind it, and its end.
pub(crate) fn with_end(lines: &str) -> String {
    format!("{PROGRAM}{lines}Z events=1 procs=1 threads=1 mms=1 peak_vmas=1 gaps=0\n")
}

/// Reads a trace that is given as text.
pub(crate) fn plain(text: &str) -> Result<Trace, TraceError> {
    Trace::plain(Cursor::new(text.as_bytes().to_vec()))
}

/// What the replay finds in the program's trace with `lines` behind it.
pub(crate) fn findings(lines: &str) -> Findings {
    replay(&mut plain(&with_end(lines)).unwrap(), true).unwrap()
}

/// Runs the command: its exit status, its output, its complaints.
pub(crate) fn command(arguments: &[&str]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status =
        cli::run(arguments.iter().map(|&argument| argument.to_owned()), &mut out, &mut err)
            .unwrap();
    (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// The path of a trace that the crate ships.
pub(crate) fn shipped(name: &str) -> String {
    format!("{}/{name}.mt.gz", cli::SHIPPED)
}

/// The text of a trace that the crate ships.
pub(crate) fn text_of(name: &str) -> String {
    let mut bytes = Vec::new();
    GzDecoder::new(fs::File::open(shipped(name)).unwrap()).read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Compresses `text` as a trace is.
pub(crate) fn compress(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// Writes a file for the command to read, and answers its path.
pub(crate) fn file(name: &str, bytes: &[u8]) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, bytes).unwrap();
    path.into_os_string().into_string().unwrap()
}
