//! Pictures: the column is the key, a letter a value, a dot a gap.

use std::ops::Range;

use addrspace::range_map::RangeMap;

use crate::range_model::picture::{draw, picture};

/// A map of `u8` keys whose every node holds at most three.
type Small = RangeMap<u8, char, 3, 3, 3>;

/// The ranges of a picture, one for each stretch of one letter; they may touch.
fn stretches(text: &str) -> Vec<(Range<u8>, char)> {
    picture::<31, 15, 31>(text).into_iter().collect()
}

/// Runs a table of `before`, `edit`, `after` through maps of all capacities.
fn table(rows: &[(&str, &str, &str)], edit: impl Fn(Edited<'_>, &str)) {
    for &(before, what, after) in rows {
        let row = format!("{what} on {before}");
        let mut tiny = picture::<3, 3, 3>(before);
        edit(Edited::Tiny(&mut tiny), what);
        assert_eq!(draw(&tiny, before.len()), after, "{row}");
        assert_eq!(tiny, picture(after), "{row}: not joined");
        let mut usual = picture::<31, 15, 31>(before);
        edit(Edited::Usual(&mut usual), what);
        assert_eq!(draw(&usual, before.len()), after, "{row}");
        assert_eq!(usual, picture(after), "{row}: not joined");
    }
}

enum Edited<'a> {
    Tiny(&'a mut Small),
    Usual(&'a mut RangeMap<u8, char>),
}

/// Does the same to whichever map it is.
macro_rules! on {
    ($edited:expr, $map:ident => $what:expr) => {
        match $edited {
            Edited::Tiny($map) => $what,
            Edited::Usual($map) => $what,
        }
    };
}

#[test]
fn insert_overwrites_splits_and_joins() {
    let rows = [
        // before      insert      after
        ("........", "..AAA...", "..AAA..."), // into nothing
        ("BBBBBBBB", "..AAA...", "BBAAABBB"), // splits one in two
        ("AA...AA.", "..AAA...", "AAAAAAA."), // bridges both neighbours
        ("AA...BB.", "..AAA...", "AAAAABB."), // joins the left one only
        ("BB...AA.", "..AAA...", "BBAAAAA."), // joins the right one only
        (".BCDB...", "..AA....", ".BAAB..."), // swallows two
        ("AAAAAAAA", "..AAA...", "AAAAAAAA"), // changes nothing
        ("..AAA...", "..AAA...", "..AAA..."), // exactly itself
        ("..BBB...", "..AAA...", "..AAA..."), // exactly another
        ("..BBB...", ".AAAAA..", ".AAAAA.."), // more on both sides
        ("..BBB...", ".AA.....", ".AABB..."), // clips the start
        ("..BBB...", "....AA..", "..BBAA.."), // clips the end
        ("..BBB...", "..A.....", "..ABB..."), // the first key
        ("..BBB...", "....A...", "..BBA..."), // the last key
        ("..AAA...", ".AA.....", ".AAAA..."), // grows to the left
        ("..AAA...", "....AA..", "..AAAA.."), // grows to the right
        ("A.B.A.B.", "AAAAAAAA", "AAAAAAAA"), // all there is
        ("A.B.A.B.", ".AAAAA..", "AAAAAAB."), // ends before a neighbour unlike it
        ("ABCABCAB", "..B.....", "ABBABCAB"), // joins the left one inside
        ("ABCABCAB", "..A.....", "ABAABCAB"), // joins the right one inside
        ("ABAB.BAB", "....B...", "ABABBBAB"), // the hole between two
        ("B......B", "BBBBBBBB", "BBBBBBBB"), // over both ends
    ];
    table(&rows, |map, what| {
        let (range, value) = stretches(what).remove(0);
        on!(map, map => drop(map.insert(range, value)));
    });
}

#[test]
fn remove_clips_and_splits() {
    let rows = [
        // before      remove      after
        ("........", "..xxx...", "........"),
        ("AAAAAAAA", "..xxx...", "AA...AAA"),
        ("AAABBBCC", "..xxx...", "AA...BCC"),
        ("AAABBBCC", "...xxx..", "AAA...CC"),
        ("AAABBBCC", "xxxxxxxx", "........"),
        ("AAABBBCC", "x.......", ".AABBBCC"),
        ("AAABBBCC", ".......x", "AAABBBC."),
        ("A.B.C.D.", ".xxxxx..", "A.....D."),
        ("A.B.C.D.", "x.......", "..B.C.D."),
        ("ABABABAB", "...x....", "ABA.ABAB"),
        ("..AA....", "xx......", "..AA...."), // touches the start
        ("..AA....", "....xx..", "..AA...."), // touches the end
    ];
    table(&rows, |map, what| {
        let (range, _) = stretches(what).remove(0);
        on!(map, map => drop(map.remove(range)));
    });
}

#[test]
fn update_isolates_changes_and_joins() {
    // Makes every value an A.
    let rows = [
        // before      update      after
        ("........", "..xxx...", "........"), // skips gaps
        ("BBBBBBBB", "..xxx...", "BBAAABBB"),
        ("BBBBBBBB", "xxx.....", "AAABBBBB"),
        ("BBBBBBBB", ".....xxx", "BBBBBAAA"),
        ("BBB..CCC", ".xxxxxx.", "BAA..AAC"),
        ("AABBCCAA", "..xxxx..", "AAAAAAAA"), // joins inside and both neighbours
        ("AABBCCDD", "..xxxx..", "AAAAAADD"), // joins the left neighbour
        ("DDBBCCAA", "..xxxx..", "DDAAAAAA"), // joins the right neighbour
        ("AAAAAAAA", "..xxxx..", "AAAAAAAA"), // isolates, changes nothing, joins again
        ("BABABABA", "xxxxxxxx", "AAAAAAAA"),
        ("B.B.B.B.", "xxxxxxxx", "A.A.A.A."),
        ("CBBBBBBC", ".xxxxxx.", "CAAAAAAC"),
    ];
    table(&rows, |map, what| {
        let (range, _) = stretches(what).remove(0);
        on!(map, map => map.update(range, |_, value| *value = 'A'));
    });
}

#[test]
fn update_tells_the_pieces_and_their_values() {
    let mut map = picture::<3, 3, 3>("BBB..CCCDD");
    let mut seen = Vec::new();
    map.update(1..9, |range, value| seen.push((range, *value)));
    assert_eq!(seen, [(1..3, 'B'), (5..8, 'C'), (8..9, 'D')]);
    assert_eq!(draw(&map, 10), "BBB..CCCDD");
}

#[test]
fn pieces_changed_before_a_panic_stay_changed_and_joined() {
    for stop in 0..4 {
        let mut map = picture::<3, 3, 3>("AABBCCDDAA");
        let mut calls = 0;
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            map.update(3..8, |_, value| {
                *value = 'A';
                if calls == stop {
                    std::panic::resume_unwind(Box::new(()));
                }
                calls += 1;
            });
        }));
        assert_eq!(outcome.is_err(), stop < 3);
        let after = ["AABACCDDAA", "AABAAADDAA", "AABAAAAAAA", "AABAAAAAAA"];
        assert_eq!(draw(&map, 10), after[stop]);
        assert_eq!(map, picture(after[stop]), "not joined");
    }
}

#[test]
fn retain_keeps_what_is_wanted() {
    let rows = [
        // before      kept        after
        ("........", "AB", "........"),
        ("AABBCC.A", "AB", "AABB...A"),
        ("AABBCC.A", "", "........"),
        ("AABBCC.A", "ABC", "AABBCC.A"),
        ("ABCABCAB", "C", "..C..C.."),
        ("ABCABCAB", "AB", "AB.AB.AB"), // what is left does not touch, so nothing joins
    ];
    table(&rows, |map, what| {
        on!(map, map => map.retain(|_, value| what.contains(*value)));
    });
}

#[test]
fn what_is_displaced_is_clipped_and_ascends() {
    let rows: [(&str, Range<u8>, &[(Range<u8>, char)]); 7] = [
        ("........", 2..5, &[]),
        ("AAAAAAAA", 2..5, &[(2..5, 'A')]),
        ("AAABBBCC", 2..7, &[(2..3, 'A'), (3..6, 'B'), (6..7, 'C')]),
        ("A.B.C.D.", 1..6, &[(2..3, 'B'), (4..5, 'C')]),
        ("A.B.C.D.", 0..8, &[(0..1, 'A'), (2..3, 'B'), (4..5, 'C'), (6..7, 'D')]),
        ("..AAA...", 5..8, &[]),
        ("..AAA...", 0..2, &[]),
    ];
    for (before, range, expected) in rows {
        for value in [None, Some('A'), Some('X')] {
            let edit = |map: &mut Small, back: bool| {
                let displaced = match value {
                    Some(value) => map.insert(range.clone(), value),
                    None => map.remove(range.clone()),
                };
                let mut all: Vec<(Range<u8>, char)> =
                    if back { displaced.rev().collect() } else { displaced.collect() };
                if back {
                    all.reverse();
                }
                all
            };
            let mut map = picture(before);
            assert_eq!(edit(&mut map, false), expected, "{value:?} to {range:?} of {before}");
            let mut again = picture(before);
            assert_eq!(
                edit(&mut again, true),
                expected,
                "{value:?} to {range:?} of {before} from the back"
            );
            assert_eq!(map, again);
            map.check();
        }
    }
}

#[test]
fn a_half_read_displaced_completes_the_edit_when_dropped() {
    for steps in 0..5 {
        for from_back in [false, true] {
            let mut map = picture::<3, 3, 3>("AABBCCDD");
            let mut displaced = map.insert(1..7, 'N');
            for _ in 0..steps {
                let _ = if from_back { displaced.next_back() } else { displaced.next() };
            }
            drop(displaced);
            assert_eq!(draw(&map, 8), "ANNNNNND", "{steps} steps, from the back: {from_back}");
        }
    }
}

#[test]
fn a_leaked_displaced_leaves_what_it_has_not_handed_out() {
    let mut map = picture::<3, 3, 3>("AABBCCDD");
    let mut displaced = map.insert(1..7, 'X');
    assert_eq!(displaced.next(), Some((1..2, 'A')));
    assert_eq!(displaced.next_back(), Some((6..7, 'D')));
    std::mem::forget(displaced);
    assert_eq!(draw(&map, 8), "A.BBCC.D");
}

#[test]
fn empty_and_reversed_ranges_read_as_nothing_and_write_nothing() {
    fn all<const S: usize, const L: usize, const I: usize>(text: &str) {
        let before = picture::<S, L, I>(text);
        let mut map = before.clone();
        for range in [0..0, 3..3, 8..8, 255..255, 5..2, 255..0, 4..3] {
            assert_eq!(map.insert(range.clone(), 'X').next(), None);
            assert_eq!(map.insert(range.clone(), 'X').next_back(), None);
            assert_eq!(map.remove(range.clone()).next(), None);
            assert_eq!(map.remove(range.clone()).next_back(), None);
            map.update(range.clone(), |range, _| panic!("{range:?} has no pieces"));
            map.extend([(range.clone(), 'X')]);
            map.try_reserve_edit(range.clone()).unwrap();
            map.check();
            assert_eq!(map, before, "{range:?}");
            assert!(!map.overlaps(range.clone()));
            assert_eq!(map.overlapping(range.clone()).next(), None);
            assert_eq!(map.overlapping(range.clone()).next_back(), None);
            assert_eq!(map.pieces(range.clone()).next(), None);
            assert_eq!(map.pieces(range.clone()).next_back(), None);
            assert_eq!(map.gaps(range.clone()).next(), None);
            assert_eq!(map.gaps(range.clone()).next_back(), None);
            for len in [0, 1, 255, u64::MAX] {
                assert_eq!(map.first_gap(len, 1, range.clone()), None);
                assert_eq!(map.last_gap(len, 1, range.clone()), None);
                assert_eq!(map.placements(len, 1, range.clone()), 0);
                assert_eq!(map.nth_placement(0, len, 1, range.clone()), None);
            }
        }
        let sorted = RangeMap::<u8, char, S, L, I>::from_sorted([(3..3, 'A'), (5..2, 'B')]);
        assert!(sorted.is_empty());
    }
    for text in ["........", "AAAAAAAA", "AABBCCDD", "A.B.C.D.", "ABABABABABABABABAB.BABA.BAB"] {
        all::<3, 3, 3>(text);
        all::<7, 3, 3>(text);
        all::<31, 15, 31>(text);
    }
}

#[test]
fn searches_in_pictures() {
    // map, length, alignment, within, where it fits
    let rows: [(&str, u64, u64, Range<u8>, &[u8]); 12] = [
        ("A..B...C....", 2, 1, 0..12, &[1, 4, 5, 8, 9, 10]),
        ("A..B...C....", 3, 1, 0..12, &[4, 8, 9]),
        ("A..B...C....", 3, 1, 5..11, &[8]),
        ("A..B...C....", 2, 2, 0..12, &[4, 8, 10]),
        ("A..B...C....", 2, 3, 0..12, &[9]),
        ("A..B...C....", 2, 0, 2..7, &[4, 5]), // align 0 counts as 1
        ("A..B...C....", 5, 1, 0..12, &[]),
        ("A..B...C....", 0, 1, 0..12, &[]), // nothing fits nowhere
        ("............", 4, 5, 0..12, &[0, 5]),
        ("............", 12, 1, 0..12, &[0]),
        ("............", 13, 1, 0..12, &[]),
        ("AAAAAAAAAAAA", 1, 1, 0..12, &[]),
    ];
    for (text, len, align, within, places) in rows {
        let map: Small = picture(text);
        let what = format!("{len} at {align} in {within:?} of {text}");
        assert_eq!(
            map.first_gap(len, align, within.clone()).as_ref(),
            places.first(),
            "first {what}"
        );
        assert_eq!(map.last_gap(len, align, within.clone()).as_ref(), places.last(), "last {what}");
        assert_eq!(
            map.placements(len, align, within.clone()),
            places.len() as u64,
            "count of {what}"
        );
        for n in 0..=places.len() {
            let nth = map.nth_placement(n as u64, len, align, within.clone());
            assert_eq!(nth.as_ref(), places.get(n), "placement {n} of {what}");
        }
    }
}

#[test]
fn a_map_prints_its_ranges() {
    let map: Small = picture("AA.BB");
    assert_eq!(format!("{map:?}"), "{0..2: 'A', 3..5: 'B'}");
}
