//! The house rules that no compiler checks: data flows one way through the
//! rooms, and `unsafe` has an address.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::std_instead_of_alloc,
    clippy::unwrap_used,
    reason = "a test: it links std, and a panic is a failure"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms and their floors. A room may name those on lower floors, and on
/// the first floor its neighbours.
const ROOMS: [(&str, u8); 8] = [
    ("page", 1),
    ("prot", 1),
    ("range_map", 2),
    ("space", 3),
    ("exec", 4),
    ("phys", 5),
    ("alias", 6),
    ("capi", 7),
];

/// Where `unsafe` may stand, relative to `src`.
const UNSAFE: [&str; 9] = [
    "alias/mirror/writable.rs",
    "alias/sys.rs",
    "alias/uffd.rs",
    "capi/addrspace_h.rs",
    "capi/mmap_c.rs",
    "capi/runtime.rs",
    "capi/versioned.rs",
    "exec/sys.rs",
    "phys/sys.rs",
];

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

/// The code of a file, without what comments say.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The list that follows a path: the first word of each entry in its braces, or
/// its next word.
fn list(rest: &str) -> Vec<&str> {
    let Some(inner) = rest.strip_prefix('{') else { return words(rest).take(1).collect() };
    let mut depth = 1;
    let mut entries = vec![0];
    let mut end = inner.len();
    for (at, letter) in inner.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => entries.push(at + 1),
            _ => {}
        }
        if depth == 0 {
            end = at;
            break;
        }
    }
    entries.into_iter().filter_map(|at| words(inner.get(at..end)?).next()).collect()
}

/// What may follow `crate::`, and the room that it belongs to.
fn names(lib: &str) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    for (nth, (room, _)) in ROOMS.iter().enumerate() {
        names.insert((*room).to_owned(), nth);
        let exports = format!("pub use {room}::");
        for (at, prefix) in lib.match_indices(&exports) {
            let exported = list(&lib[at + prefix.len()..]);
            names.extend(exported.into_iter().map(|name| (name.to_owned(), nth)));
        }
    }
    names
}

fn breaches(names: &BTreeMap<String, usize>, path: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    // A module's own way up to the root is as good as a path from there.
    let module = path.with_extension("");
    let below_root = module.components().filter(|part| part.as_os_str() != "mod").count();
    let code = code(text).replace(&"super::".repeat(below_root), "crate::");
    let top = path.components().next().unwrap().as_os_str().to_str().unwrap();
    if let Some(own) = ROOMS.iter().position(|(room, _)| *room == top.trim_end_matches(".rs")) {
        for (at, prefix) in code.match_indices("crate::") {
            for name in list(&code[at + prefix.len()..]) {
                let Some(&other) = names.get(name) else { continue };
                let (floor, there) = (ROOMS[own].1, ROOMS[other].1);
                if other != own && (there > floor || (there == floor && floor > 1)) {
                    found.push(format!("{}: names `crate::{name}`", path.display()));
                }
            }
        }
    }
    if words(&code).any(|word| word == "unsafe")
        && !UNSAFE.iter().any(|file| path == Path::new(file))
    {
        found.push(format!("{}: `unsafe` outside the modules that may have it", path.display()));
    }
    found
}

#[test]
fn rooms_know_only_those_above_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let names = names(&fs::read_to_string(src.join("lib.rs")).unwrap());
    assert_eq!(ROOMS[names["AddrSpace"]].0, "space", "the exports were found");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 15, "the sources were found");
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        found.extend(breaches(&names, file.strip_prefix(&src).unwrap(), &text));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_breach_is_found() {
    let names = names("pub use range_map::RangeMap;\npub use space::{\n    AddrSpace, Error,\n};");
    let breaches = |path, text| breaches(&names, Path::new(path), text).len();
    assert_eq!(breaches("range_map/tree.rs", "use crate::space::AddrSpace;"), 1);
    assert_eq!(breaches("range_map/tree.rs", "use crate::{\n    AddrSpace,\n    exec,\n};"), 2);
    let nested = "use crate::{page::{Span, PageSize}, space::AddrSpace};";
    assert_eq!(breaches("range_map/tree.rs", nested), 1);
    assert_eq!(breaches("range_map/tree.rs", "use super::super::space::AddrSpace;"), 1);
    assert_eq!(
        breaches("range_map/tree.rs", "use super::space::AddrSpace;"),
        0,
        "a module of its own"
    );
    assert_eq!(breaches("range_map/mod.rs", "use super::space::AddrSpace;"), 1);
    assert_eq!(breaches("phys/mod.rs", "let mirror = crate::alias::Mirror::new();"), 1);
    assert_eq!(breaches("space/mod.rs", "use crate::RangeMap; // not crate::exec"), 0);
    assert_eq!(breaches("prot.rs", "use crate::page::Span;"), 0);
    assert_eq!(breaches("space/mod.rs", "unsafe { spell() }"), 1);
    assert_eq!(breaches("space/mod.rs", "#![deny(unsafe_code)]"), 0);
}
