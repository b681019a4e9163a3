//! `docs/supply.md` lists every package of the lock files once, where it belongs.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::std_instead_of_alloc,
    clippy::unwrap_used,
    reason = "a test: it links std, and a panic is a failure"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

type Names = BTreeSet<String>;

fn text(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The packages that the sections of a manifest name whose last word is `kind`.
fn named(manifest: &str, kind: &str) -> Names {
    let mut names = Names::new();
    let mut here = false;
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            here = section.trim_end_matches(']').rsplit('.').next() == Some(kind);
        } else if here && let Some((name, _)) = line.split_once(" = ") {
            names.insert(name.to_owned());
        }
    }
    names
}

/// Each package of a lock file, and what it depends on.
fn locked(lock: &str) -> BTreeMap<String, Names> {
    let mut packages = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let name = package.lines().find_map(|line| line.strip_prefix("name = ")).unwrap();
        let needs = package.lines().filter_map(|line| line.strip_prefix(" \""));
        // A version follows the name where there are several.
        let needs = needs.map(|line| line.split(['"', ' ']).next().unwrap().to_owned());
        packages.insert(name.trim_matches('"').to_owned(), needs.collect());
    }
    packages
}

/// `names`, and all that they depend on.
fn closure(packages: &BTreeMap<String, Names>, names: &Names) -> Names {
    let mut all = Names::new();
    let mut left: Vec<&String> = names.iter().collect();
    while let Some(name) = left.pop() {
        if all.insert(name.clone()) {
            left.extend(&packages[name]);
        }
    }
    all
}

/// The first cells of the table under a heading, and the text of all others.
fn table(list: &str, heading: &str) -> BTreeMap<String, String> {
    let lines = list.lines().skip_while(|line| line.trim_start_matches('#').trim() != heading);
    let lines = lines.skip(1).take_while(|line| !line.starts_with('#'));
    let rows = lines.filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")).skip(1);
    let rows = rows.map(|row| row.split_once(" | ").unwrap());
    rows.map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect()
}

#[test]
fn the_list_of_packages_is_that_of_the_lock_file() {
    let (list, manifest) = (text("docs/supply.md"), text("Cargo.toml"));
    let packages = locked(&text("Cargo.lock"));
    let (run, dev) = (named(&manifest, "dependencies"), named(&manifest, "dev-dependencies"));
    let (all_run, all_dev) = (closure(&packages, &run), closure(&packages, &dev));
    let minus = |all: &Names, others: &[&Names]| -> Names {
        all.iter()
            .filter(|name| !others.iter().any(|other| other.contains(*name)))
            .cloned()
            .collect()
    };
    let expected = [
        ("Run-time", run.clone()),
        ("What those bring", minus(&all_run, &[&run])),
        ("Tests, benchmarks and examples", dev.clone()),
        ("What those bring along", minus(&all_dev, &[&dev, &all_run])),
    ];
    for (heading, names) in expected {
        let rows = table(&list, heading);
        assert!(rows.values().all(|rest| rest.len() > 2), "each has a reason: {rows:?}");
        assert_eq!(rows.into_keys().collect::<Names>(), names, "under `{heading}`");
    }
    let everything = closure(&packages, &Names::from(["addrspace".to_owned()]));
    assert_eq!(packages.into_keys().collect::<Names>(), everything, "all of it is accounted for");
}

#[test]
fn other_lock_files_add_what_is_listed() {
    let list = text("docs/supply.md");
    let known: Names = locked(&text("Cargo.lock")).into_keys().collect();
    let added = |lock: &str, ours: &str| -> Names {
        let all = locked(&text(lock)).into_keys();
        all.filter(|name| !known.contains(name) && name != ours).collect()
    };
    let rows = table(&list, "Fuzzing");
    assert!(rows.values().all(|rest| rest.len() > 2), "each has a reason: {rows:?}");
    assert_eq!(rows.into_keys().collect::<Names>(), added("fuzz/Cargo.lock", "addrspace-fuzz"));
    assert_eq!(Names::new(), added("tests/panics/Cargo.lock", "addrspace-panics"));
}

/// Whoever is named as the way that a package comes in depends on it, by some way.
#[test]
fn the_ways_are_those_of_the_lock_file() {
    let list = text("docs/supply.md");
    let packages = locked(&text("Cargo.lock"));
    let mut ways = 0;
    for heading in ["What those bring", "What those bring along"] {
        for (name, rest) in table(&list, heading) {
            for way in rest.split(" | ").next().unwrap().split(", ") {
                let brings = closure(&packages, &Names::from([way.to_owned()]));
                assert!(way != name && brings.contains(&name), "{name} by way of {way}");
                ways += 1;
            }
        }
    }
    assert!(ways > 20, "the ways were found: {ways}");
}

#[test]
fn manifests_and_tables_are_read() {
    let manifest = "[dependencies]\n# Why.\na = \"1\"\n[target.'cfg(x)'.dependencies]\nb = { v = 1 }\n\
                    [dev-dependencies]\nc = \"1\"\n[lints.rust]\nd = \"deny\"";
    assert_eq!(named(manifest, "dependencies"), Names::from(["a", "b"].map(str::to_owned)));
    assert_eq!(named(manifest, "dev-dependencies"), Names::from(["c".to_owned()]));
    let lock = "[[package]]\nname = \"a\"\ndependencies = [\n \"b 1.0\",\n \"c\",\n]\n\
                [[package]]\nname = \"b\"\n[[package]]\nname = \"c\"\n";
    let all = closure(&locked(lock), &Names::from(["a".to_owned()]));
    assert_eq!(all, Names::from(["a", "b", "c"].map(str::to_owned)));
    let list =
        "## One\n| x | y |\n|---|---|\n| a | b | c |\n## Two\n| x | y |\n|---|---|\n| d | e |";
    assert_eq!(table(list, "One"), BTreeMap::from([("a".to_owned(), "b | c".to_owned())]));
}
