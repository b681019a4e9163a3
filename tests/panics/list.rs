//! The list: a line per function, `file <tab> function <tab> proof`, and under it,
//! indented, what is written at the places in it. A `?` is before what nobody has
//! looked at.

use super::source::Place;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

const NEW: &str = "?";

#[derive(Debug, Default)]
pub struct List {
    pub compiler: String,
    /// The proof for a function of a file, and the places, some of them marked as new.
    functions: BTreeMap<(String, String), (String, BTreeSet<String>)>,
}

impl List {
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut lines = text.lines();
        let compiler = lines.next().unwrap_or_default().trim_start_matches("# ").to_owned();
        let mut list = Self { compiler, ..Self::default() };
        let mut current = None;
        for line in lines.filter(|line| !line.starts_with('#')) {
            if let Some(place) = line.strip_prefix('\t') {
                let key = current.as_ref().expect("a function comes before its places");
                list.functions.get_mut(key).unwrap().1.insert(place.to_owned());
                continue;
            }
            let fields: Vec<&str> = line.splitn(3, '\t').collect();
            let [file, function, proof] = fields[..] else { panic!("no function: {line:?}") };
            let key = (file.to_owned(), function.to_owned());
            list.functions.insert(key.clone(), (proof.to_owned(), BTreeSet::new()));
            current = Some(key);
        }
        list
    }

    /// What is linked and not listed, listed and not linked, or not proven.
    pub fn compare(&self, places: &BTreeSet<Place>) -> Vec<String> {
        let mut faults = Vec::new();
        let mut left = self.places();
        for place in places {
            let Place { file, function, text } = place;
            if !left.remove(place) {
                faults.push(format!("  new, can it panic?  {file}, {function}: {text}"));
            }
        }
        for Place { file, function, text } in left {
            faults.push(format!("  is not linked:      {file}, {function}: {text}"));
        }
        for ((file, function), (proof, _)) in &self.functions {
            if proof.starts_with(NEW) || proof.len() < 20 {
                faults.push(format!("  has no proof:       {file}, {function}"));
            }
        }
        faults
    }

    fn places(&self) -> BTreeSet<Place> {
        let all = self.functions.iter().flat_map(|((file, function), (_, places))| {
            places.iter().map(|text| Place {
                file: file.clone(),
                function: function.clone(),
                text: text.clone(),
            })
        });
        all.collect()
    }

    /// The list of `places`, with the proofs of this one.
    pub fn updated(&self, places: BTreeSet<Place>, compiler: &str) -> Self {
        let known = self.places();
        let mut new = Self { compiler: compiler.to_owned(), ..Self::default() };
        for place in places {
            let mark = if known.contains(&place) { "" } else { NEW };
            let key = (place.file, place.function);
            let proof = self.functions.get(&key).map_or(NEW, |(proof, _)| proof);
            let function = new.functions.entry(key).or_insert((proof.to_owned(), BTreeSet::new()));
            function.1.insert(format!("{mark}{}", place.text));
        }
        new
    }

    pub fn write(&self, path: &Path) {
        let mut text = format!("# {}\n", self.compiler);
        for ((file, function), (proof, places)) in &self.functions {
            writeln!(text, "{file}\t{function}\t{proof}").unwrap();
            for place in places {
                writeln!(text, "\t{place}").unwrap();
            }
        }
        fs::write(path, text).unwrap();
    }
}

#[test]
fn differences_are_found() {
    let place = |function: &str, text: &str| Place {
        file: "src/a.rs".to_owned(),
        function: function.to_owned(),
        text: text.to_owned(),
    };
    let places = BTreeSet::from([place("f", "a[0]"), place("f", "b[0]")]);
    let mut list = List::default().updated(places.clone(), "rustc 0");
    assert_eq!(list.compare(&places).len(), 5, "two places and a function are new: {list:?}");
    let function = ("src/a.rs".to_owned(), "f".to_owned());
    let places_of_f = ["a[0]", "b[0]"].map(str::to_owned);
    list.functions.insert(function, ("both arrays have an element".to_owned(), places_of_f.into()));
    assert!(list.compare(&places).is_empty());
    let fewer = BTreeSet::from([place("f", "a[0]")]);
    assert_eq!(list.compare(&fewer), ["  is not linked:      src/a.rs, f: b[0]"]);
    let other = BTreeSet::from([place("f", "a[0]"), place("f", "b[0]"), place("g", "a[0]")]);
    assert_eq!(list.compare(&other), ["  new, can it panic?  src/a.rs, g: a[0]"]);
}
