//! The reader: what it says about files that are no traces, or not whole.

use std::fs;

use crate::cli;
use crate::support::{
    PROGRAM, command, compress, file, findings, plain, shipped, text_of, with_end,
};
use crate::trace::{Event, Name, Object, Outcome, Problem, Trace, TraceError};

/// The error that reading `text` to its end meets.
fn error_of(text: &str) -> TraceError {
    let read = || -> Result<(), TraceError> {
        let mut trace = plain(text)?;
        while trace.next_event()?.is_some() {}
        Ok(())
    };
    read().unwrap_err()
}

#[test]
fn a_file_that_is_not_gzip_is_refused() {
    let path = file("not_gzip.mt.gz", PROGRAM.as_bytes());
    let (status, _, err) = command(&[&path]);
    assert_eq!(status, cli::UNREADABLE);
    assert!(err.contains("line 1: not a gzip file"), "{err}");

    let empty = file("empty.mt.gz", b"");
    assert_eq!(command(&[&empty]).0, cli::UNREADABLE);
}

#[test]
fn a_missing_file_is_named() {
    let (status, _, err) = command(&["/nowhere/at_all.mt.gz"]);
    assert_eq!(status, cli::UNREADABLE);
    assert!(err.contains("/nowhere/at_all.mt.gz"), "{err}");
}

#[test]
fn another_version_is_refused() {
    let path = file("version.mt.gz", &compress("memtrace 2\nZ\n"));
    let (status, _, err) = command(&[&path]);
    assert_eq!(status, cli::UNREADABLE);
    assert!(err.contains("line 1") && err.contains("memtrace 2"), "{err}");
}

#[test]
fn gzip_data_cut_short_are_truncated_wherever_they_are_cut() {
    let whole = fs::read(shipped("hello_static")).unwrap();
    for len in [2, 11, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
        let path = file("cut.mt.gz", &whole[..len]);
        let (status, _, err) = command(&[&path]);
        assert_eq!(status, cli::UNREADABLE, "{len} bytes");
        assert!(err.contains("truncated") && err.contains("line "), "{len} bytes: {err}");
    }
}

#[test]
fn damaged_gzip_data_are_not_mistaken_for_an_end() {
    let mut bytes = fs::read(shipped("hello_static")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8].fill(0xff);
    let (status, _, err) = command(&[&file("damaged.mt.gz", &bytes)]);
    assert_eq!(status, cli::UNREADABLE, "{err}");
}

#[test]
fn a_trace_without_its_last_line_is_truncated() {
    let text = text_of("hello_static");
    let lines = text.lines().count() as u64;
    let cut = text.rsplit_once("\nZ ").unwrap().0;
    let error = error_of(&format!("{cut}\n"));
    assert!(matches!(error.problem, Problem::Truncated), "{error}");
    assert_eq!(error.line, lines);

    // In the middle of a line, of a list of changes, of a snapshot.
    for len in [cut.len() - 3, text.find("\n+").unwrap() + 4, text.find("\n=").unwrap() + 2] {
        let error = error_of(&text[..len]);
        assert!(matches!(error.problem, Problem::Truncated), "{error}");
    }
}

#[test]
fn a_bad_line_is_named_with_its_number_and_its_text() {
    let head = PROGRAM.lines().count() as u64;
    let bad = [
        "E 2 10 1 munmap 400000 1000",                // no answer
        "E 2 10 1 munmap 40z000 1000 = 0",            // no number
        "E 2 10 1 munmap 400000 1000 = zero",         // no answer either
        "E 2 10 1 munmap 1 2 3 4 5 6 7 = 0",          // too many
        "E 2 10 1 mmap 0 1000 1 2 3 0 = 5000 obj=77", // never defined
        "E 2 10",                                     // half a call
        "+5000 6000 rw-p 0 0",                        // belongs to nothing
        "S 1 exit many",                              // no number
        "S 1 nap 0",                                  // no kind
        "O 9 fe:00 many /path",                       // no inode
        "H page_size 1001",                           // no power of two
        "G 10",                                       // no space
    ];
    for line in bad {
        let error = error_of(&with_end(&format!("{line}\n")));
        assert_eq!(error.line, head + 1, "{line}: {error}");
        assert!(error.to_string().contains(line), "{line}: {error}");
    }
    let bad_areas = [
        "+6000 5000 rw-p 0 0",
        "+5000 6001 rw-p 0 0",
        "+5000 6000 rwxq 0 0",
        "+5000 6000 rw-p 0 9",
        "-",
    ];
    for line in bad_areas {
        let error = error_of(&with_end(&format!("E 2 10 1 brk 0 = 0\n{line}\n")));
        assert_eq!(error.line, head + 2, "{line}: {error}");
    }
    let error = error_of(&with_end("S 1 exit 2\n=400000 401000 r-xp 0 1 rd\n"));
    assert_eq!(error.line, head + 3, "one area too few: {error}");
}

#[test]
fn a_trace_that_contradicts_itself_is_unreadable() {
    let contradictions = [
        "E 2 10 7 munmap 0 1000 = 0\n",        // a space nobody announced
        "E 2 10 1 munmap 0 1000 = 0\n-5000\n", // what goes was never there
        "S 7 exit 0\n",                        // the end of an unknown space
        "e 2 10 1 fork = b\n",                 // whose child?
    ];
    for lines in contradictions {
        let path = file("contradiction.mt.gz", &compress(&with_end(lines)));
        let (status, _, err) = command(&[&path]);
        assert_eq!(status, cli::UNREADABLE, "{lines}: {err}");
        assert!(err.contains("line 11"), "{lines}: {err}");
    }
}

#[test]
fn a_line_of_an_unknown_kind_is_passed_over() {
    assert!(findings("? something of the future\n\nW 1 2 3\n").agree());
}

#[test]
fn records_are_read_with_all_that_is_said() {
    let lines = "\
E 2 10 1 mmap 0 1000 1 2 3 4000 = 5000 obj=2 acc=r fsize=9000
+5000 6000 r--p 4000 2
E 3 10 1 munmap 5001 0 = -22
e 4 10 1 mprotect 5000 1000 0 = ?
S 1 exit 1 start_brk=20000
=5000 6000 r--p 4000 2 rd
";
    let mut trace = plain(&with_end(lines)).unwrap();
    let mut calls = Vec::new();
    while let Some(event) = trace.next_event().unwrap() {
        if let Event::Call(call) = event {
            calls.push((call, trace.deltas().len(), trace.line()));
        } else if let Event::Snapshot { .. } = event {
            assert_eq!(trace.areas().len(), 1);
        }
    }
    assert_eq!(calls.len(), 4);
    let (mmap, deltas, line) = &calls[1];
    assert_eq!((mmap.name, *deltas, *line), (Name::Mmap, 1, 11));
    assert_eq!(mmap.args, [0, 0x1000, 1, 2, 3, 0x4000]);
    assert_eq!(mmap.outcome, Outcome::Done(0x5000));
    assert_eq!((mmap.extra.object, mmap.extra.read_only), (Some(Object::File(2)), true));
    assert_eq!(trace.name(2).unwrap().path, "/var/lib/some data");
    assert_eq!((calls[2].0.outcome, calls[2].1), (Outcome::Refused(22), 0));
    assert_eq!((calls[3].0.outcome, calls[3].0.checked), (Outcome::Unknown, false));
}

#[test]
fn a_trace_of_several_gzip_members_is_one_trace() {
    let text = with_end("");
    let (head, tail) = text.split_at(200);
    let bytes = [compress(head), compress(tail)].concat();
    let mut trace = Trace::compressed(std::io::Cursor::new(bytes)).unwrap();
    while trace.next_event().unwrap().is_some() {}
}
