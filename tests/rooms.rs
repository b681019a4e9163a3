//! The house rules that no compiler checks: data flows one way through the
//! rooms, and `unsafe` has an address.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms in order. A file of a room may name its own and those before it,
/// but for neighbours on the same floor.
const ROOMS: [(&str, u8); 8] = [
    ("page", 1),
    ("prot", 1),
    ("range_map", 2),
    ("space", 3),
    ("exec", 4),
    ("phys", 5),
    ("alias", 5),
    ("capi", 6),
];

/// Where `unsafe` may stand, relative to `src`.
const UNSAFE: [&str; 0] = [];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

/// The room of a file, by the first part of its path under `src`.
fn room_of(path: &Path) -> Option<(&'static str, u8)> {
    let first = path.components().next()?.as_os_str().to_str()?.trim_end_matches(".rs").to_owned();
    ROOMS.into_iter().find(|(room, _)| *room == first)
}

/// The code of a line, without what a comment says.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or("")
}

/// The rooms that a line of code names by a path from the crate's root.
fn rooms_named(line: &str) -> impl Iterator<Item = (&'static str, u8)> + '_ {
    let names_room = |room: &str| {
        line.match_indices("crate::").any(|(at, prefix)| {
            let rest = &line[at + prefix.len()..];
            let inner = rest.strip_prefix('{').unwrap_or(rest);
            let list = inner.split('}').next().unwrap_or(inner);
            list.split([',', ' ']).any(|name| name.split("::").next() == Some(room))
        })
    };
    ROOMS.into_iter().filter(move |(room, _)| names_room(room))
}

fn breaches(path: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (nth, line) in text.lines().enumerate() {
        let line_code = code(line);
        let place = format!("{}:{}", path.display(), nth + 1);
        if let Some((room, floor)) = room_of(path) {
            for (named, other) in rooms_named(line_code) {
                if named != room && (other > floor || (other == floor && floor > 1)) {
                    found.push(format!(
                        "{place}: room `{room}` names `{named}`, which is not above it"
                    ));
                }
            }
        }
        let is_unsafe = line_code
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|word| word == "unsafe");
        if is_unsafe && !UNSAFE.iter().any(|allowed| path == Path::new(allowed)) {
            found.push(format!("{place}: `unsafe` outside the modules that may have it"));
        }
    }
    found
}

#[test]
fn rooms_know_only_those_above_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 15, "the sources were found");
    let mut found = Vec::new();
    for file in files {
        found.extend(breaches(
            file.strip_prefix(&src).unwrap(),
            &fs::read_to_string(&file).unwrap(),
        ));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_breach_is_found() {
    let breach = |path, line| breaches(Path::new(path), line).len();
    assert_eq!(breach("range_map/tree.rs", "use crate::space::AddrSpace;"), 1);
    assert_eq!(breach("range_map/tree.rs", "use crate::{page::Span, exec};"), 1);
    assert_eq!(breach("phys/mod.rs", "use crate::alias::Mirror;"), 1);
    assert_eq!(breach("space/mod.rs", "use crate::range_map::RangeMap; // not crate::exec"), 0);
    assert_eq!(breach("prot.rs", "use crate::page::Span;"), 0);
    assert_eq!(breach("space/mod.rs", "unsafe { spell() }"), 1);
    assert_eq!(breach("space/mod.rs", "#![deny(unsafe_code)]"), 0);
}
