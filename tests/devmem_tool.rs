//! The `devmem` example, with a file for the device.
#![cfg(all(feature = "phys", target_os = "linux"))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test: it links std, and a panic is a failure"
)]

#[path = "../examples/devmem/cli.rs"]
mod cli;

use std::fs;
use std::path::PathBuf;

struct Device(PathBuf);

impl Device {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("addrspace-tool-{name}-{}", std::process::id()));
        let bytes: Vec<u8> =
            (0..0x3000).map(|at: u32| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
        fs::write(&path, bytes).unwrap();
        Self(path)
    }

    /// What a command line prints, or why it fails and with which status.
    fn run(&self, line: &str) -> Result<String, (u8, String)> {
        let file = self.0.to_str().unwrap();
        let mut words = vec!["--file".to_owned(), file.to_owned()];
        words.extend(line.split_whitespace().map(str::to_owned));
        run(&words)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn run(words: &[String]) -> Result<String, (u8, String)> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    match cli::run(words, &mut out, &mut err, true) {
        Ok(()) => Ok(String::from_utf8(out).unwrap()),
        Err(failure) => Err((failure.status(), failure.to_string())),
    }
}

#[test]
fn registers_are_printed_at_their_width() {
    let device = Device::new("read");
    let word = if cfg!(target_endian = "little") { "0x13121110" } else { "0x10111213" };
    assert_eq!(device.run("read 0x10").unwrap(), format!("0x0000000010: {word}\n"));
    assert_eq!(device.run("read 16").unwrap(), device.run("read 0x10 1 --width 32").unwrap());
    let bytes = "0x0000000fff: 0xf0\n0x0000001000: 0x10\n";
    assert_eq!(device.run("--width 8 read 0xfff 2").unwrap(), bytes);
    assert_eq!(device.run("read 0x10 4 --width 16").unwrap().lines().count(), 4);
}

#[test]
fn a_register_is_written_and_nothing_else() {
    let device = Device::new("write");
    let mut expected = fs::read(&device.0).unwrap();
    let said = device.run("write 0x1004 0xdeadbeef").unwrap();
    assert_eq!(said, "0x0000001004: 0xdeadbeef written\n");
    expected[0x1004..0x1008].copy_from_slice(&0xdead_beef_u32.to_ne_bytes());
    device.run("write 0x1001 7 --width 8").unwrap();
    expected[0x1001] = 7;
    assert!(fs::read(&device.0).unwrap() == expected);
    let (status, words) = device.run("write 0x1000 256 --width 8").unwrap_err();
    assert_eq!((status, words.contains("0x100 has more than 8 bits")), (2, true), "{words}");
    assert!(fs::read(&device.0).unwrap() == expected);
}

#[test]
fn memory_is_printed_in_lines_of_sixteen() {
    let device = Device::new("map");
    let said = device.run("map 0x3e 20").unwrap();
    let expected = "\
000000000030                                             3e 3f                |>?|
000000000040  40 41 42 43 44 45 46 47  48 49 4a 4b 4c 4d 4e 4f  |@ABCDEFGHIJKLMNO|
000000000050  50 51                                             |PQ|
";
    assert_eq!(said, expected);
}

#[test]
fn a_dump_says_which_way_it_went() {
    let device = Device::new("dump");
    let to = Device::new("dumped");
    let said = device.run(&format!("dump 0x800 4K {}", to.0.display())).unwrap();
    assert!(said.starts_with("4096 bytes to ") && said.contains("the page cache"), "{said}");
    assert!(fs::read(&to.0).unwrap() == fs::read(&device.0).unwrap()[0x800..0x1800]);
    let line = format!("dump 0x2800 4K {} --unreadable zero --buffered", to.0.display());
    let said = device.run(&line).unwrap();
    assert!(said.contains("unreadable: ") && said.contains("the device ends"), "{said}");
    assert_eq!(fs::read(&to.0).unwrap().len(), 0x1000);
    let (status, words) = device.run(&format!("dump 0x2800 4K {}", to.0.display())).unwrap_err();
    assert_eq!((status, words.contains("the device ends")), (1, true), "{words}");
}

#[test]
fn pages_of_this_process_are_translated() {
    let byte = Box::new(1_u8);
    let addr = (&raw const *byte).addr();
    let words = ["translate", "self", &format!("{addr:#x}")].map(str::to_owned);
    let said = run(&words).unwrap();
    assert!(said.starts_with(&format!("{:#014x}: ", addr & !0xfff)), "{said}");
    let said = run(&["translate", "self", "0"].map(str::to_owned)).unwrap();
    assert_eq!(said, "0x000000000000: nothing is mapped there\n");
}

#[test]
fn a_wrong_command_line_is_explained() {
    let device = Device::new("usage");
    let table = [
        ("", "no command"),
        ("peek 0", "`peek` is no command"),
        ("read", "too few"),
        ("read 1 2 3", "too many"),
        ("read 12z", "`12z` is no number"),
        ("read 0x", "`0x` is no number"),
        ("read 0x10000000000000000", "is no number of 64 bits"),
        ("read 0 0", "too few"),
        ("read 0 0x4000000000000000", "too many"),
        ("read 0xfffffffffffffffe", "pass the last address"),
        ("read 0 --width 24", "`24` is no width"),
        ("read 0 --width", "--width needs a value"),
        ("read 0 --wide", "no option --wide"),
        ("map 0 0", "`0` is no length"),
        ("map 0 99999999999G", "is no length"),
        ("dump 0 4K x --unreadable what", "`what` is none of"),
        ("translate me 0", "`me` is no number"),
        ("translate 4294967296 0", "is no process"),
    ];
    for (line, expected) in table {
        let (status, words) = device.run(line).unwrap_err();
        assert!(status == 2 && words.contains(expected), "{line}: {words}");
    }
    let (status, words) = device.run("read 0x1001").unwrap_err();
    assert_eq!((status, words.contains("not a multiple of 4")), (1, true), "{words}");
    let (status, words) = run(&["--file", "/no/mem", "read", "0"].map(str::to_owned)).unwrap_err();
    assert_eq!((status, words.contains("/no/mem")), (1, true), "{words}");
    assert!(device.run("--help").unwrap().contains("usage: devmem"));
}
