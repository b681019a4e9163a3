//! Small images and traces made by hand, and the command run on files.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;

use addrspace::Executor;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::cli;

/// Runs the command: its exit status, its output, its complaints.
pub(crate) fn command(arguments: &[&str]) -> (u8, String, String) {
    meddled(arguments, |_| ())
}

/// The same, with somebody who meddles with the guest's memory.
pub(crate) fn meddled(arguments: &[&str], meddle: impl FnOnce(&Executor)) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = arguments.iter().map(|&argument| argument.to_owned());
    let status = cli::run(arguments, meddle, &mut out, &mut err).unwrap();
    (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// The paths of the traces that the crate ships.
pub(crate) fn traces() -> Vec<String> {
    let folder = PathBuf::from(cli::SHIPPED).parent().unwrap().to_owned();
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut traces: Vec<_> = paths
        .map(|path| path.into_os_string().into_string().unwrap())
        .filter(|path| path.ends_with(".mt.gz"))
        .collect();
    traces.sort();
    assert_eq!(traces.len(), 25);
    traces
}

/// The text of the shipped trace `name`.
pub(crate) fn text_of(name: &str) -> String {
    let path = traces().into_iter().find(|path| path.ends_with(&format!("/{name}.mt.gz")));
    let mut text = String::new();
    GzDecoder::new(fs::File::open(path.unwrap()).unwrap()).read_to_string(&mut text).unwrap();
    text
}

/// Compresses `text` as a trace is.
pub(crate) fn compress(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// Writes a file for the command to read, and answers its path.
pub(crate) fn file(name: &str, bytes: &[u8]) -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sandbox");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    // In one step: a process that a test starts writes the same file while this one reads.
    let new = folder.join(format!("{name}.{}", std::process::id()));
    fs::write(&new, bytes).unwrap();
    fs::rename(new, &path).unwrap();
    path.into_os_string().into_string().unwrap()
}

/// Writes a trace of one program, which has a page of code and does `lines`.
pub(crate) fn program(name: &str, lines: &str) -> String {
    let text = format!(
        "\
memtrace 1
H name by_hand
H page_size 1000
O 1 fe:00 11 /bin/program
O 2 fe:00 12 /var/lib/some data
e 1 10 0 execve = 0 cmm=1 ctid=10 obj=1
S 1 exec 1 total_vm=1 data_vm=0 locked_kb=0 start_brk=20000 start_stack=0
=400000 401000 r-xp 0 1 rd,ex,mr,mw,me
{lines}Z events=1 procs=1 threads=1 mms=1 peak_vmas=1 gaps=0
"
    );
    file(name, &compress(&text))
}

/// The path of an image made by hand.
pub(crate) fn small_image() -> String {
    // Tests run side by side, and write it side by side.
    let name = format!("image-{:?}.elf", std::thread::current().id());
    file(&name, &elf(&[TEXT, DATA]))
}

/// A program header: type, flags, offset, address, bytes in the file, in memory.
pub(crate) type Header = (u32, u32, u64, u64, u64, u64);

pub(crate) const LOAD: u32 = 1;
/// A page of code, with the file's first bytes.
pub(crate) const TEXT: Header = (LOAD, 5, 0, 0x40_0000, 0x100, 0x100);
/// Data from the midst of a page on, and two pages and more of zeroes behind it.
pub(crate) const DATA: Header = (LOAD, 6, 0x100, 0x40_2100, 0x40, 0x2800);

/// An ELF file of at least 0x140 bytes with these program headers.
pub(crate) fn elf(headers: &[Header]) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    let half = |bytes: &mut Vec<u8>, value: u16| bytes.extend(value.to_le_bytes());
    let word = |bytes: &mut Vec<u8>, value: u32| bytes.extend(value.to_le_bytes());
    let long = |bytes: &mut Vec<u8>, value: u64| bytes.extend(value.to_le_bytes());
    // Type, machine, version; entry, program headers, sections; flags and sizes.
    half(&mut bytes, 2);
    half(&mut bytes, 62);
    word(&mut bytes, 1);
    for value in [0x40_0080, 64, 0] {
        long(&mut bytes, value);
    }
    word(&mut bytes, 0);
    for value in [64, 56, u16::try_from(headers.len()).unwrap(), 64, 0, 0] {
        half(&mut bytes, value);
    }
    for &(kind, flags, offset, addr, in_file, in_memory) in headers {
        word(&mut bytes, kind);
        word(&mut bytes, flags);
        for value in [offset, addr, addr, in_file, in_memory, 0x1000] {
            long(&mut bytes, value);
        }
    }
    let rest = 0x140_usize.saturating_sub(bytes.len());
    bytes.extend((1..=u8::MAX).cycle().take(rest));
    bytes
}

/// Numbers that look random: the same for the same seed (xorshift64).
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }
}
