//! From a line of the sources to what people call it.

use super::linked::Location;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A place without its number: file, function, and what the line says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: String,
    pub function: String,
    pub text: String,
}

impl Place {
    /// Whether it is in the crate.
    pub fn is_ours(&self) -> bool {
        self.file.starts_with("src/")
    }
}

/// The place of `at`, unless it is in the embedder. Of other crates only the number of
/// the line is known.
pub fn place(root: &Path, at: &Location) -> Option<Place> {
    let path = Path::new(&at.file);
    let Ok(file) = path.strip_prefix(root) else {
        let name = at.file.rsplit_once("/library/").map_or(&*at.file, |(_, name)| name);
        let name = name.rsplit_once("/registry/src/").map_or(name, |(_, name)| name);
        let text = format!("line {}", at.line);
        return Some(Place { file: name.to_owned(), function: "-".to_owned(), text });
    };
    if !file.starts_with("src") {
        return None;
    }
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().take(at.line).collect();
    let here = lines.last().unwrap();
    Some(Place {
        file: file.to_str().unwrap().to_owned(),
        function: function(&lines),
        text: here.trim().to_owned(),
    })
}

/// The function that the last of the lines is in, with the type that it belongs to.
fn function(lines: &[&str]) -> String {
    let name = lines.iter().rev().find_map(|line| declared(line)).unwrap_or_default();
    let opened = lines.iter().rposition(|line| line.starts_with("impl"));
    let closed = lines.iter().rposition(|line| *line == "}");
    match opened.filter(|opened| closed.is_none_or(|closed| closed < *opened)) {
        Some(opened) => format!("{}::{name}", implementor(&lines[opened..].join(" "))),
        None => name.to_owned(),
    }
}

/// The function that a line begins.
fn declared(line: &str) -> Option<&str> {
    let (before, after) = line.trim_start().split_once("fn ")?;
    let modifiers = ["pub", "pub(super)", "pub(crate)", "const", "unsafe", "extern", "\"C\""];
    before.split_whitespace().all(|word| modifiers.contains(&word)).then(|| word(after))
}

/// The type that an `impl` is for.
fn implementor(text: &str) -> &str {
    let header = text.split('{').next().unwrap().trim_start_matches("impl");
    let mut depth = 0;
    let generics = header.find(|letter| {
        depth += i32::from(letter == '<') - i32::from(letter == '>');
        depth == 0
    });
    let header = header[generics.unwrap_or(0)..].trim_start_matches('>').trim_start();
    let name = header.split_once(" for ").map_or(header, |(_, name)| name);
    word(name.trim_start_matches('&'))
}

/// The identifier at the start.
fn word(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The function that a line makes public.
pub fn public(line: &str) -> Option<&str> {
    declared(line).filter(|_| line.trim_start().starts_with("pub "))
}

/// The text of a file, or of all files below a folder.
pub fn all(path: &Path) -> String {
    if path.is_dir() {
        return fs::read_dir(path).unwrap().map(|entry| all(&entry.unwrap().path())).collect();
    }
    fs::read_to_string(path).unwrap()
}

/// The identifiers in a text.
pub fn words(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    words.map(str::to_owned).collect()
}

#[test]
fn functions_are_named() {
    let text = "impl<T> Index<u32> for Arena<T> {\n    #[inline]\n    fn index(&self) -> &T {\n        &self.nodes[0]";
    assert_eq!(function(&text.lines().collect::<Vec<_>>()), "Arena::index");
    let text = "impl<'a, V, const S: usize>\n    Walk<'a, V, S>\n{\n    pub(super) const fn down(&self) {\n        let x";
    assert_eq!(function(&text.lines().collect::<Vec<_>>()), "Walk::down");
    let text = "impl X {\n    fn a() {}\n}\n\n/// Of a fn that is said.\nfn free<T>() {\n    // A fn of which is said";
    assert_eq!(function(&text.lines().collect::<Vec<_>>()), "free");
}
