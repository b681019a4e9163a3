//! Planted errors: a kernel that did not do what it should must be found out.

use crate::cli;
use crate::compare::{Page, Run, Stretch, differences, join};
use crate::support::{command, compress, file, findings, text_of};
use crate::trace::Object;

/// Changes the first line of the trace that starts with `mark` and that
/// `change` has an answer for, and runs the command on it.
fn after(
    case: &str,
    name: &str,
    mark: &str,
    change: impl Fn(&str) -> Option<String>,
) -> (u8, String, u64) {
    let text = text_of(name);
    let mut planted = None;
    let lines: Vec<_> = text
        .lines()
        .zip(1..)
        .map(|(line, number)| {
            match (planted, line.starts_with(mark).then(|| change(line)).flatten()) {
                (None, Some(changed)) => {
                    planted = Some(number);
                    changed
                }
                _ => line.to_owned(),
            }
        })
        .collect();
    let path = file(&format!("planted_{case}.mt.gz"), &compress(&(lines.join("\n") + "\n")));
    let (status, out, err) = command(&[&path]);
    assert_eq!(err, "");
    (status, out, planted.unwrap())
}

/// The line of a change with one of its fields made another.
fn with_field(line: &str, index: usize, change: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut fields: Vec<_> = line.split(' ').map(str::to_owned).collect();
    fields[index] = change(&fields[index])?;
    Some(fields.join(" "))
}

#[test]
fn one_page_too_few_is_found() {
    let (status, out, line) = after("page", "fuzz_basic_1", "+", |line| {
        let start = line[1..].split(' ').next().unwrap().to_owned();
        with_field(line, 1, |end| {
            let end = u64::from_str_radix(end, 16).unwrap() - 0x1000;
            (end > u64::from_str_radix(&start, 16).unwrap()).then(|| format!("{end:x}"))
        })
    });
    assert_eq!(status, cli::DISAGREED, "{out}");
    // The call stands on the line before, or a little further up.
    let detail = out.lines().find(|text| text.starts_with("planted_page line "));
    let found: u64 = detail.unwrap().split([' ', ':']).nth(2).unwrap().parse().unwrap();
    assert!(found < line && line < found + 10, "planted in {line}, found in {found}");
    assert!(out.contains(", kernel unmapped"), "{out}");
}

#[test]
fn another_protection_is_found() {
    let (status, out, _) = after("protection", "ls", "+", |line| {
        with_field(line, 2, |perms| (perms == "rw-p").then(|| "r--p".to_owned()))
    });
    assert_eq!(status, cli::DISAGREED, "{out}");
    assert!(out.contains("books rw-p ") && out.contains("kernel r--p "), "{out}");
}

#[test]
fn another_offset_is_found() {
    let (status, out, _) = after("offset", "ls", "+", |line| {
        with_field(line, 3, |offset| {
            let offset = u64::from_str_radix(offset, 16).unwrap();
            (offset != 0).then(|| format!("{:x}", offset + 0x1000))
        })
    });
    assert_eq!(status, cli::DISAGREED, "{out}");
    assert!(out.contains("at offset"), "{out}");
}

#[test]
fn another_object_is_found() {
    let (status, out, _) = after("object", "ls", "+", |line| {
        with_field(line, 4, |object| (object != "0").then(|| "1".to_owned()))
    });
    assert_eq!(status, cli::DISAGREED, "{out}");
}

#[test]
fn sharing_instead_of_a_copy_is_found() {
    let (status, out, _) = after("sharing", "ls", "+", |line| {
        with_field(line, 2, |perms| Some(perms.replace('p', "s")))
    });
    assert_eq!(status, cli::DISAGREED, "{out}");
}

#[test]
fn an_area_that_ought_to_be_gone_is_found() {
    let found = findings(
        "E 2 10 1 mmap 5000 2000 3 32 ffffffff 0 = 5000\n+5000 7000 rw-p 0 0\nE 3 10 1 munmap 5000 2000 = 0\n",
    );
    assert_eq!((found.mismatches, found.agree()), (1, false));
    let mismatch = &found.details[0];
    assert_eq!(mismatch.text, "E 3 10 1 munmap 5000 2000 = 0");
    assert_eq!(
        mismatch.differences[0].to_string(),
        "5000-7000: books unmapped, kernel rw-p anonymous"
    );
}

#[test]
fn a_difference_at_a_fork_and_at_an_exit_is_found() {
    let (status, out, _) = after("snapshot", "bash_forks", "=", |line| {
        with_field(line, 2, |perms| (perms == "rw-p").then(|| "rwxp".to_owned()))
    });
    // The first snapshot is of an exec, from which the books are made; so the
    // first call and the exit of that program disagree with it, or its fork.
    assert_eq!(status, cli::DISAGREED, "{out}");

    let fork = "e 2 10 1 fork = b child=11 cmm=2\nS 2 fork 0\n";
    assert_eq!(findings(fork).forks.equal, 0);
    let exit = "X 10 1 0\nS 1 exit 0\n";
    assert_eq!((findings(exit).exits.equal, findings(exit).mismatches), (0, 0));
    assert!(!findings(exit).agree());
}

#[test]
fn one_mistake_is_counted_once() {
    // The books take the kernel's side over, so the second call agrees again.
    let found = findings(
        "E 2 10 1 mmap 5000 2000 3 32 ffffffff 0 = 5000\n+5000 7000 r--p 0 0\n\
         E 3 10 1 munmap 5000 1000 = 0\n-5000\n+6000 7000 r--p 0 0\n",
    );
    assert_eq!((found.compared, found.mismatches), (2, 1));
}

#[test]
fn comparing_by_runs_is_comparing_page_by_page() {
    let page = |letter: char| {
        (letter != '.').then(|| Page::new(letter as u32 % 8, false, Object::Anonymous, 0, 0))
    };
    let runs = |picture: &str| {
        let runs = picture.chars().enumerate().filter_map(move |(at, letter)| {
            let start = at as u64;
            Some(Run { start, end: start + 1, page: page(letter)? })
        });
        runs.collect::<Vec<_>>()
    };
    let table = [
        // books       kernel      where they differ
        ("........", "........", "........"),
        ("aabb..cc", "aabb..cc", "........"),
        ("aabb..cc", "aaab..cc", "..#....."),
        ("........", "..aa.b..", "..##.#.."),
        ("aaaaaaaa", "a......a", ".######."),
        ("abcabcab", "bcabcabc", "########"),
    ];
    for (books, kernel, expected) in table {
        let mut drawn = vec!['.'; 8];
        let within = Stretch { start: 0, end: 8 };
        let mut last = 0;
        differences(within, runs(books).into_iter(), runs(kernel).into_iter(), |difference| {
            assert!(last <= difference.at.start && difference.at.start < difference.at.end);
            last = difference.at.end;
            for at in difference.at.start..difference.at.end {
                let at = usize::try_from(at).unwrap();
                drawn[at] = '#';
                assert_eq!(difference.books, page(books.as_bytes()[at] as char));
                assert_eq!(difference.kernel, page(kernel.as_bytes()[at] as char));
            }
        });
        assert_eq!(drawn.into_iter().collect::<String>(), expected, "{books} and {kernel}");
    }
}

#[test]
fn stretches_are_joined_and_none_is_lost() {
    let stretch = |(start, end)| Stretch { start, end };
    let mut stretches: Vec<_> =
        [(5, 6), (1, 3), (2, 4), (4, 5), (9, 9), (8, 9)].map(stretch).into();
    join(&mut stretches);
    assert_eq!(stretches, [(1, 6), (8, 9)].map(stretch));
}
