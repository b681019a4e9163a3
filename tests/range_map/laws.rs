//! Laws that hold for every map.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::ops::Range;

use addrspace::range_map::RangeMap;
use proptest::prelude::*;

use crate::range_model::Rng;

const KEYS: u64 = 96;

/// Ranges, some empty, some overlapping, and their values.
fn contents() -> impl Strategy<Value = Vec<(Range<u64>, u8)>> {
    let entry =
        (0..KEYS, 0..7_u64, 0..3_u8).prop_map(|(start, len, value)| (start..start + len, value));
    prop::collection::vec(entry, 0..80)
}

/// A range that may be empty or reversed.
fn range() -> impl Strategy<Value = Range<u64>> {
    (0..KEYS + 8, 0..KEYS + 8).prop_map(|(start, end)| start..end)
}

fn build<const S: usize, const L: usize, const I: usize>(
    contents: &[(Range<u64>, u8)],
) -> RangeMap<u64, u8, S, L, I> {
    let mut map = RangeMap::default();
    for (range, value) in contents {
        map.insert(range.clone(), *value);
    }
    map.check();
    map
}

/// `from_sorted` with the capacities of another map.
fn sorted_like<const S: usize, const L: usize, const I: usize>(
    _: &RangeMap<u64, u8, S, L, I>,
    ranges: impl IntoIterator<Item = (Range<u64>, u8)>,
) -> RangeMap<u64, u8, S, L, I> {
    RangeMap::from_sorted(ranges)
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Makes a test of a law about the map `$map` of the contents `$contents`, in
/// all capacities; each `$arg` is drawn for all of them alike.
macro_rules! law {
    (
        $(#[$doc:meta])*
        $name:ident($contents:ident, $map:ident $(, $arg:ident in $strategy:expr)*) $body:block
    ) => {
        proptest! {
            $(#[$doc])*
            #[test]
            fn $name($contents in contents() $(, $arg in $strategy)*) {
                { let $map = build::<3, 3, 3>(&$contents); $body }
                { let $map = build::<7, 3, 3>(&$contents); $body }
                { let $map = build::<7, 7, 7>(&$contents); $body }
                { let $map = build::<31, 15, 31>(&$contents); $body }
            }
        }
    };
}

#[test]
fn a_hash_is_of_the_ranges_and_their_values() {
    let maps = [
        RangeMap::<u64, u8>::new(),
        RangeMap::from([(1..3, 1)]),
        RangeMap::from([(1..3, 2)]),
        RangeMap::from([(1..4, 1)]),
        RangeMap::from([(2..3, 1)]),
        RangeMap::from([(1..2, 1), (2..3, 2)]),
    ];
    assert_eq!(maps.each_ref().map(RangeMap::len), [0, 1, 1, 1, 1, 2]);
    for (nth, map) in maps.iter().enumerate() {
        assert!(maps[..nth].iter().all(|other| hash(other) != hash(map)), "{map:?}");
    }
}

law!(pieces_and_gaps_tile_the_query(contents, map, query in range()) {
    let mut tiles: Vec<Range<u64>> = map.pieces(query.clone()).map(|(range, _)| range).collect();
    tiles.extend(map.gaps(query.clone()));
    tiles.sort_by_key(|tile| tile.start);
    let mut at = query.start;
    for tile in tiles {
        prop_assert_eq!(at, tile.start);
        prop_assert!(tile.start < tile.end);
        at = tile.end;
    }
    prop_assert_eq!(at, query.end.max(query.start));
});

law!(pieces_are_what_overlaps_clipped(contents, map, query in range()) {
    let clipped = map
        .overlapping(query.clone())
        .map(|(range, value)| (range.start.max(query.start)..range.end.min(query.end), value));
    prop_assert!(clipped.eq(map.pieces(query.clone())));
});

law!(insert_then_remove_is_remove(contents, map, range in range(), value in 0..3_u8) {
    let mut inserted = map.clone();
    inserted.insert(range.clone(), value);
    inserted.remove(range.clone());
    let mut removed = map;
    removed.remove(range.clone());
    inserted.check();
    prop_assert_eq!(inserted, removed);
});

law!(insert_twice_is_insert_once(contents, map, range in range(), value in 0..3_u8) {
    let mut once = map;
    once.insert(range.clone(), value);
    let mut twice = once.clone();
    twice.insert(range.clone(), value);
    twice.check();
    prop_assert_eq!(once, twice);
});

law!(
    /// However contents came about, the maps are equal, compare as equal and hash alike.
    equal_contents_are_equal_maps(contents, map, seed in any::<u64>()) {
        let mut keys: Vec<(u64, u8)> =
            map.iter().flat_map(|(range, value)| range.map(|key| (key, *value))).collect();
        let mut rng = Rng(seed);
        for at in (1..keys.len()).rev() {
            keys.swap(at, rng.below(at as u64 + 1) as usize);
        }
        let mut by_key = map.clone();
        by_key.clear();
        for (key, value) in keys {
            by_key.insert(key..key + 1, value);
        }
        by_key.check();
        prop_assert_eq!(&by_key, &map);
        prop_assert_eq!(by_key.cmp(&map), std::cmp::Ordering::Equal);
        prop_assert_eq!(hash(&by_key), hash(&map));
        prop_assert_eq!(format!("{by_key:?}"), format!("{map:?}"));
    }
);

law!(
    /// Maps are ordered as the lists of their ranges are, and only equal ones are equal.
    maps_are_ordered_like_their_lists(contents, map, other in contents()) {
        let mut other_map = map.clone();
        other_map.clear();
        other_map.extend(other.iter().cloned());
        let list = |map: &mut dyn Iterator<Item = (Range<u64>, u8)>| -> Vec<(u64, u64, u8)> {
            map.map(|(range, value)| (range.start, range.end, value)).collect()
        };
        let left = list(&mut map.clone().into_iter());
        let right = list(&mut other_map.clone().into_iter());
        prop_assert_eq!(map.cmp(&other_map), left.cmp(&right));
        prop_assert_eq!(map.partial_cmp(&other_map), left.partial_cmp(&right));
        prop_assert_eq!(map == other_map, left == right);
    }
);

law!(from_sorted_equals_inserts(contents, map) {
    let from_any_order = sorted_like(&map, contents.iter().cloned());
    from_any_order.check();
    prop_assert_eq!(&from_any_order, &map);
    // Sorted, but not joined: every key by itself.
    let keys = map.iter().flat_map(|(range, value)| range.map(|key| (key..key + 1, *value)));
    let from_keys = sorted_like(&map, keys);
    from_keys.check();
    prop_assert_eq!(&from_keys, &map);
    // Sorted at first, then not.
    let and_again = map.iter().chain(map.iter()).map(|(range, value)| (range, *value));
    prop_assert_eq!(&sorted_like(&map, and_again), &map);
});

law!(into_iter_then_collect_is_identity(contents, map) {
    let mut collected = map.clone();
    collected = collected.into_iter().collect();
    collected.check();
    prop_assert_eq!(&collected, &map);
    collected = collected.into_iter().rev().collect();
    collected.check();
    prop_assert_eq!(&collected, &map);
    prop_assert!(map.iter().eq(&map));
});

law!(
    into_iter_gives_the_same_from_both_ends(
        contents, map, ends in any::<u64>(), steps in 0..90_usize
    ) {
        let mut left: std::collections::VecDeque<(Range<u64>, u8)> =
            map.iter().map(|(range, value)| (range, *value)).collect();
        let mut iter = map.into_iter();
        for step in 0..steps {
            prop_assert_eq!(iter.len(), left.len());
            let (got, want) = match (ends >> (step % 64)) & 1 {
                0 => (iter.next(), left.pop_front()),
                _ => (iter.next_back(), left.pop_back()),
            };
            prop_assert_eq!(got, want);
        }
    }
);

law!(
    /// `nth_placement` lists exactly the places where each key is free, ascending.
    nth_placement_enumerates_the_placements(
        contents, map, within in range(), len in 0..9_u64, align in 0..9_u64
    ) {
        let fits = |at: u64| {
            let is_free = (at..at + len).all(|key| !map.contains(key));
            len > 0 && at.is_multiple_of(align.max(1)) && at + len <= within.end && is_free
        };
        let places: Vec<u64> = within.clone().filter(|&at| fits(at)).collect();
        prop_assert_eq!(map.placements(len, align, within.clone()), places.len() as u64);
        for n in 0..places.len() + 2 {
            let nth = map.nth_placement(n as u64, len, align, within.clone());
            prop_assert_eq!(nth, places.get(n).copied());
        }
        prop_assert_eq!(map.first_gap(len, align, within.clone()), places.first().copied());
        prop_assert_eq!(map.last_gap(len, align, within.clone()), places.last().copied());
    }
);

law!(update_with_identity_changes_nothing(contents, map, range in range()) {
    let mut updated = map.clone();
    let mut seen = Vec::new();
    updated.update(range.clone(), |range, value| seen.push((range, *value)));
    updated.check();
    prop_assert_eq!(&updated, &map);
    let pieces = map.pieces(range.clone()).map(|(range, value)| (range, *value));
    prop_assert!(seen.into_iter().eq(pieces));
});

law!(update_is_inserting_the_changed_pieces(
    contents, map, range in range(), values in any::<[u8; 3]>()
) {
    let change = |value: u8| values[usize::from(value)] % 3;
    let mut updated = map.clone();
    updated.update(range.clone(), |_, value| *value = change(*value));
    updated.check();
    let mut inserted = map.clone();
    for (range, value) in map.pieces(range.clone()) {
        inserted.insert(range, change(*value));
    }
    prop_assert_eq!(updated, inserted);
});

law!(displaced_pieces_put_back_restore_the_map(contents, map, range in range(), value in 0..4_u8) {
    let mut edited = map.clone();
    // A value of 3 stands for a removal.
    let displaced: Vec<(Range<u64>, u8)> = if value < 3 {
        edited.insert(range.clone(), value).collect()
    } else {
        edited.remove(range.clone()).collect()
    };
    edited.check();
    edited.remove(range.clone());
    edited.check();
    edited.extend(displaced);
    edited.check();
    prop_assert_eq!(edited, map);
});

law!(retain_is_removing_the_rest(contents, map, kept in any::<u64>()) {
    let keep = |range: &Range<u64>| (kept >> (range.start % 64)) & 1 == 1;
    let mut retained = map.clone();
    retained.retain(|range, _| keep(&range));
    retained.check();
    let mut removed = map.clone();
    for (range, _) in map.iter().filter(|(range, _)| !keep(range)) {
        removed.remove(range);
    }
    prop_assert_eq!(retained, removed);
});

law!(a_clone_is_independent(contents, map, range in range()) {
    let before: Vec<(Range<u64>, u8)> = map.iter().map(|(range, value)| (range, *value)).collect();
    let mut copy = map.clone();
    copy.check();
    copy.insert(range.clone(), 9);
    copy.remove(0..KEYS / 2);
    copy.check();
    map.check();
    prop_assert!(map.into_iter().eq(before));
});
