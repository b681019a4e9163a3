//! `/proc/iomem` as others might write it: lists that nest by chance, lines that are
//! none, and this machine's.

use crate::iomem_model::check;
use proptest::collection::vec;
use proptest::prelude::*;
use std::fmt::Write;

/// A list of what nests as it is told: how deep, where in what it lies in, what it is.
fn list(lines: &[(usize, u64, u64, &str)]) -> String {
    let mut text = String::new();
    let mut around = vec![(0, u64::MAX)];
    for (depth, from, to, name) in lines {
        around.truncate(depth + 1);
        let &(first, last) = around.last().unwrap();
        // Every other one at an edge of what it lies in.
        let within = |at: u64| first + at.checked_rem((last - first).saturating_add(1)).unwrap();
        let (from, to) = match from % 4 {
            0 => (first, within(*to)),
            1 => (within(*to), last),
            2 => (within(from / 4), within(from / 4)),
            _ => (within(from / 4), within(*to)),
        };
        let indent = 2 * (around.len() - 1);
        let (from, to) = (from.min(to), from.max(to));
        writeln!(text, "{:indent$}{from:08x}-{to:08x} : {name}", "").unwrap();
        around.push((from, to));
    }
    text
}

fn lists() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec![
        "System RAM",
        "System RAM (kmem)",
        "Reserved",
        "reserved",
        "PCI Bus 0000:00",
        "0000:00:04.0",
        "nvme",
        "",
    ]);
    let numbers = || prop_oneof![4 => 0..64_u64, 1 => any::<u64>()];
    vec((0..4_usize, numbers(), numbers(), names), 0..24).prop_map(|lines| list(&lines))
}

proptest! {
    #[test]
    fn a_list_answers_like_a_look_through_its_lines(text in lists()) {
        assert!(check(&text), "{text}");
    }

    #[test]
    fn one_wrong_letter_is_told_or_does_no_harm(
        text in lists(),
        at in any::<prop::sample::Index>(),
        letter in prop::sample::select(b" -:0f+x\n\r".as_slice()),
        instead in any::<bool>(),
    ) {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len() + 1);
        bytes.splice(at..bytes.len().min(at + usize::from(instead)), [letter]);
        check(&String::from_utf8(bytes).unwrap());
    }
}

#[test]
fn this_machines_list_is_one() {
    assert!(check(&std::fs::read_to_string("/proc/iomem").unwrap()));
}
