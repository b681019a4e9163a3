//! Traces: what is repeated and what is not, and broken ones.

use std::fs;
use std::io::Cursor;

use crate::cli;
use crate::files::Files;
use crate::guest::Guest;
use crate::recording::{self, Recording};
use crate::scene;
use crate::support::{Noise, command, compress, file, program, small_image, text_of};
use crate::trace::{Trace, TraceError};
use crate::windows::Windows;

/// Runs a program made by hand: the exit status and the output.
fn run(name: &str, lines: &str) -> (u8, String) {
    let trace = program(name, lines);
    let (status, out, err) =
        command(&["--image", &small_image(), "--rounds", "1", "--full", "--trace", &trace]);
    assert_eq!(err, "", "{out}");
    (status, out)
}

#[test]
fn files_lie_in_the_guest_as_they_did() {
    let (status, out) = run(
        "files.mt.gz",
        "\
E 1 10 1 mmap 0 5000 1 2 3 0 = 7f0000000000 obj=2 acc=r fsize=4567
E 2 10 1 mmap 7f0000002000 1000 5 12 3 2000 = 7f0000002000 obj=2 acc=r fsize=4567
E 3 10 1 mremap 7f0000003000 2000 4000 1 0 = 7f0000010000
",
    );
    assert_eq!(status, cli::AGREED, "{out}");
    let shown: Vec<_> = out
        .lines()
        .filter(|line| line.ends_with("some data"))
        .map(|line| line.split_whitespace().skip(1).take(3).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(shown, ["r--p 8 KiB", "r-xp 4 KiB", "r--p 16 KiB"], "{out}");
    assert!(out.contains("1 area, then 3 calls: 3 made, 0 refused"), "{out}");
}

#[test]
fn what_the_recorded_kernel_refused_is_not_repeated_but_for_its_part() {
    let (status, out) = run(
        "refused.mt.gz",
        "\
E 1 10 1 mmap 0 3000 3 22 ffffffff 0 = 7f0000000000
E 2 10 1 mmap 0 5000 3 22 ffffffff 0 = 7f0000004000
E 3 10 1 mprotect 7f0000001000 5000 1 = -12
E 4 10 1 mremap 7f0000003000 1000 2000 1 0 = -14
E 5 10 1 munmap 7f0000000001 1000 = -22
",
    );
    assert_eq!(status, cli::AGREED, "{out}");
    assert!(out.contains("5 calls: 3 made") && out.contains("2 refused when recorded"), "{out}");
    // Up to the gap, and nothing behind it.
    let own = out.lines().filter(|line| line.ends_with("KiB"));
    let own: Vec<_> = own.map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>()).collect();
    assert_eq!(own, [["rw-p", "4", "KiB"], ["r--p", "8", "KiB"], ["rw-p", "20", "KiB"]], "{out}");
}

#[test]
fn what_is_skipped_is_counted_and_so_is_what_needs_it() {
    let (status, out) = run(
        "skipped.mt.gz",
        "\
O 3 00:01 13 /SYSV00000000
E 1 10 1 mmap 0 4000 3 22 ffffffff 0 = 7f0000000000
E 2 10 1 mmap 7f0000001000 1000 3 31 ffffffff 0 = 7f0000001000
E 3 10 1 mmap 0 200000 3 40022 ffffffff 0 = 7f0000200000
E 4 10 1 shmat 1 0 0 = 7f0000010000 obj=3 len=1000
E 5 10 1 mprotect 7f0000001000 1000 1 = 0
E 6 10 1 mremap 7f0000001000 1000 1000 3 7f0000002000 = 7f0000002000
E 7 10 1 mremap 7f0000000000 4000 4000 3 7f0000020000 = 7f0000020000
E 8 10 1 mremap 7f0000020000 3000 9000 1 0 = 7f0000030000
E 9 10 1 munmap 7f0000010000 1000 = 0
E 10 10 1 brk 0 = 20000
",
    );
    assert_eq!(status, cli::AGREED, "{out}");
    assert!(out.contains("10 calls: 2 made, 0 refused"), "{out}");
    let skipped = out.lines().find(|line| line.contains("not made:")).unwrap();
    for what in [
        " 1 shared",
        " 1 huge pages",
        " 1 System V",
        " 3 about skipped memory",
        " 1 without effect",
        " 1 refused because of these",
    ] {
        assert!(skipped.contains(what), "{what}: {skipped}");
    }
}

#[test]
fn a_refusal_that_nothing_explains_ends_with_status_1() {
    let (status, out) = run(
        "impossible.mt.gz",
        "\
E 1 10 1 mmap 0 3000 3 22 ffffffff 0 = 7f0000000000
E 2 10 1 mremap 7f0000003000 1000 2000 1 0 = 7f0000006000
",
    );
    assert_eq!(status, cli::DISAGREED, "{out}");
    assert!(out.contains("1 refused\n") && out.contains("line 10: mremap: "), "{out}");
    assert!(out.contains(": 0 differences"), "{out}");
}

#[test]
fn addresses_without_room_are_left_out() {
    let (status, out) = run(
        "vast.mt.gz",
        "\
E 1 10 1 mmap 0 1000000000 0 4022 ffffffff 0 = 100000000000
E 2 10 1 mprotect 100000000000 1000 3 = 0
E 3 10 1 mmap 0 1000 3 22 ffffffff 0 = 7f0000000000
",
    );
    assert_eq!(status, cli::AGREED, "{out}");
    assert!(out.contains("in 2 windows; no room for 1 more"), "{out}");
    assert!(out.contains("1 outside"), "{out}");
}

#[test]
fn a_child_has_what_its_parent_had_and_did_not_keep_from_it() {
    let (status, out) = run(
        "child.mt.gz",
        "\
E 1 10 1 mmap 0 3000 3 22 ffffffff 0 = 7f0000000000
E 2 10 1 madvise 7f0000001000 1000 a = 0
E 3 10 1 clone 0 = 0 child=11 cmm=2
E 4 10 1 mmap 0 1000 3 22 ffffffff 0 = 7f0000100000
S 2 fork 3 total_vm=3 data_vm=0 locked_kb=0 start_brk=20000 start_stack=0
=400000 401000 r-xp 0 1 rd,ex,mr,mw,me
=7f0000000000 7f0000001000 rw-p 0 0 rd,wr
=7f0000002000 7f0000003000 rw-p 0 0 rd,wr
E 5 11 2 brk 0 = 20000
E 6 11 2 brk 22000 = 22000
E 7 11 2 munmap 7f0000002000 1000 = 0
",
    );
    assert_eq!(status, cli::AGREED, "{out}");
    assert!(out.contains("program, space 2 of child"), "{out}");
    assert!(out.contains("1 area, then 4 calls: 3 made"), "{out}");
    let guest = out.split_once("harm").unwrap().1.split_once("reset").unwrap().0;
    // The break, the page that is left, and none of the parent's later one.
    let own: Vec<_> = guest
        .lines()
        .filter(|line| line.ends_with("KiB"))
        .map(|line| line.split_once("rw-p").unwrap().1.trim())
        .collect();
    assert_eq!(own, ["8 KiB", "4 KiB"], "{out}");
}

#[test]
fn broken_traces_end_with_status_2() {
    let good = fs::read(cli::SHIPPED).unwrap();
    let nobody = "memtrace 1\nH page_size 1000\nZ events=0\n";
    for path in [
        file("cut.mt.gz", &good[..good.len() / 2]),
        file("empty.mt.gz", b""),
        file("text.mt.gz", b"memtrace 1\n"),
        file("other.mt.gz", &compress("memtrace 2\n")),
        file("nobody.mt.gz", &compress(nobody)),
        program("stranger.mt.gz", "E 1 10 7 munmap 0 1000 = 0\n"),
        program("malformed.mt.gz", "E 1 10 1 munmap zero 1000 = 0\n"),
        "/nowhere/at/all".to_owned(),
    ] {
        let (status, out, err) = command(&["--image", &small_image(), "--trace", &path]);
        assert_eq!((status, out.as_str()), (cli::UNREADABLE, ""), "{path}");
        assert!(err.contains(&path), "{err}");
    }
    let large = text_of("hello_static").replacen("page_size 1000", "page_size 10000", 1);
    let large = large.lines().filter(|line| !line.starts_with("S ") && !line.starts_with('='));
    let path = file("large.mt.gz", &compress(&(large.collect::<Vec<_>>().join("\n") + "\n")));
    assert_eq!(command(&["--image", &small_image(), "--trace", &path]).0, cli::UNREADABLE);
}

fn recorded(text: &str) -> Result<Recording, TraceError> {
    recording::read(&mut Trace::plain(Cursor::new(text.as_bytes().to_vec()))?)
}

/// Numbers of a real trace are exchanged for others, which may make no sense at
/// all: the guest may be refused anything, but books and kernel agree.
#[test]
fn traces_with_wrong_numbers_do_not_panic() {
    let text = text_of("fuzz_touch_1");
    let lines: Vec<&str> = text.lines().collect();
    let mut noise = Noise(0x2545_f491_4f6c_dd1d);
    let odd = ["0", "1", "fff", "7fffffffffff", "ffffffffffffffff", "8000000000000000", "40000000"];
    let mut ran = 0;
    for _ in 0..60 {
        let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        for _ in 0..=noise.below(40) {
            let nth = noise.below(changed.len());
            let mut fields: Vec<&str> = changed[nth].split(' ').collect();
            let field = noise.below(fields.len());
            let other = lines[noise.below(lines.len())].split(' ').collect::<Vec<_>>();
            if field >= 4 && changed[nth].starts_with('E') && !fields[field].contains('=') {
                let borrowed = other[noise.below(other.len())];
                let plain = u64::from_str_radix(borrowed, 16).is_ok();
                fields[field] = if plain { borrowed } else { odd[noise.below(odd.len())] };
                changed[nth] = fields.join(" ");
            }
        }
        let Ok(recording) = recorded(&(changed.join("\n") + "\n")) else { continue };
        let mut exec = scene::reserve().unwrap();
        let files = Files::like(&recording.files).unwrap();
        let windows = Windows::around(&recording.steps, exec.space()).unwrap();
        let mut run = Guest::new(&mut exec, &files, &windows).run(&recording.steps).unwrap();
        run.verify(&mut exec).unwrap();
        assert!(run.differences.is_empty(), "{:?}", run.differences);
        exec.space().check();
        ran += 1;
    }
    assert!(ran > 20, "only {ran} traces were read to the end");
}
