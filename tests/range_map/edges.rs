//! The odd cases, decided once: the ends of the keys, lengths that overflow,
//! what a key must keep.

use std::ops::Range;

use addrspace::range_map::RangeMap;

use crate::range_model::window::{Celsius, Frame};
use crate::range_model::{TestKey, Window};

/// A map with small nodes.
type Small<K, V> = RangeMap<K, V, 3, 3, 3>;

#[test]
fn keys_keep_their_order_as_indices_and_come_back() {
    fn holds<K: TestKey>(cells: usize) {
        for window in [
            Window::<K>::lowest(cells),
            Window::highest(cells),
            Window::around_zero(cells.min(250)),
            Window::spread(cells),
        ] {
            for cell in 0..=window.cells() {
                let key = window.cut(cell);
                assert_eq!(K::from_index(key.to_index()), key);
                let from_zero = i128::from(key.to_index()) - i128::from(K::ORIGIN);
                assert_eq!(from_zero, key.wide(), "{key:?} from key zero");
                if cell > 0 {
                    assert!(window.cut(cell - 1).to_index() < key.to_index(), "{key:?}");
                }
            }
        }
    }
    fn holds_unsigned<K: TestKey>(cells: usize) {
        for window in [Window::<K>::lowest(cells), Window::highest(cells), Window::spread(cells)] {
            for cell in 0..=window.cells() {
                let key = window.cut(cell);
                assert_eq!(K::from_index(key.to_index()), key);
                assert_eq!(i128::from(key.to_index()), key.wide(), "{key:?}");
            }
        }
    }
    holds_unsigned::<u8>(31);
    holds_unsigned::<u16>(300);
    holds_unsigned::<u32>(300);
    holds_unsigned::<u64>(300);
    holds_unsigned::<usize>(300);
    holds_unsigned::<Frame>(300);
    holds::<i8>(31);
    holds::<i16>(300);
    holds::<i32>(300);
    holds::<i64>(300);
    holds::<Celsius>(300);
}

#[test]
fn the_greatest_key_bounds_a_range_and_lies_in_none() {
    fn holds<const S: usize, const L: usize, const I: usize>() {
        let mut map = RangeMap::<u64, char, S, L, I>::default();
        assert!(map.insert(0..u64::MAX, 'a').next().is_none());
        assert_eq!(map.get(u64::MAX - 1), Some(&'a'));
        assert_eq!(map.get(u64::MAX), None);
        assert_eq!(map.get_range(u64::MAX), None);
        assert!(!map.contains(u64::MAX));
        assert_eq!(map.gaps(0..u64::MAX).next(), None);
        assert_eq!(map.first_gap(1, 1, 0..u64::MAX), None);
        assert!(map.insert(u64::MAX - 1..u64::MAX, 'b').eq([(u64::MAX - 1..u64::MAX, 'a')]));
        assert!(map.remove(0..1).eq([(0..1, 'a')]));
        map.check();
        assert!(map.iter().eq([(1..u64::MAX - 1, &'a'), (u64::MAX - 1..u64::MAX, &'b')]));
        assert!(
            map.remove(2..u64::MAX).eq([(2..u64::MAX - 1, 'a'), (u64::MAX - 1..u64::MAX, 'b')])
        );
        map.check();
        assert_eq!(map.last_gap(1, 1, 0..u64::MAX), Some(u64::MAX - 1));
    }
    holds::<3, 3, 3>();
    holds::<31, 15, 31>();
}

#[test]
fn many_ranges_at_the_highest_keys() {
    let mut map = Small::<u64, u64>::default();
    for n in 0..200 {
        map.insert(u64::MAX - 2 * n - 1..u64::MAX - 2 * n, n);
        map.check();
    }
    assert_eq!(map.last(), Some((u64::MAX - 1..u64::MAX, &0)));
    assert_eq!(map.last_gap(1, 1, 0..u64::MAX), Some(u64::MAX - 2));
    assert_eq!(map.last_gap(2, 1, 0..u64::MAX), Some(u64::MAX - 401));
    assert_eq!(map.first_gap(u64::MAX - 399, 1, 0..u64::MAX), Some(0));
    assert_eq!(map.first_gap(u64::MAX - 398, 1, 0..u64::MAX), None);
}

#[test]
fn lengths_and_alignments_may_be_as_large_as_the_keys() {
    const ALL: Range<u64> = 0..u64::MAX;
    let empty = Small::<u64, char>::default();
    assert_eq!(empty.first_gap(u64::MAX, 1, ALL), Some(0));
    assert_eq!(empty.last_gap(u64::MAX, 1, ALL), Some(0));
    assert_eq!(empty.placements(1, 1, ALL), u64::MAX);
    assert_eq!(empty.nth_placement(u64::MAX - 1, 1, 1, ALL), Some(u64::MAX - 1));
    assert_eq!(empty.nth_placement(u64::MAX, 1, 1, ALL), None);
    assert_eq!(empty.placements(u64::MAX, 1, ALL), 1);
    assert_eq!(empty.first_gap(u64::MAX, 1, 1..u64::MAX), None);
    assert_eq!(empty.last_gap(1, 1 << 63, ALL), Some(1 << 63));
    assert_eq!(empty.last_gap(1, u64::MAX, ALL), Some(0));
    assert_eq!(empty.first_gap(1, u64::MAX, 1..u64::MAX), None);
    assert_eq!(empty.placements(1, (1 << 63) + 1, ALL), 2);

    // Aligning the start of the last gap up would pass the greatest key.
    let high = Small::<u64, char>::from_iter([(0..u64::MAX - 5, 'a')]);
    assert_eq!(high.first_gap(1, 1 << 63, ALL), None);
    assert_eq!(high.first_gap(1, 16, ALL), None);
    assert_eq!(high.first_gap(1, 4, ALL), Some(u64::MAX - 3));
    assert_eq!(high.first_gap(3, 4, ALL), Some(u64::MAX - 3));
    assert_eq!(high.first_gap(4, 4, ALL), None);
    assert_eq!(high.last_gap(4, 1, ALL), Some(u64::MAX - 4));
}

#[test]
fn alignments_count_from_key_zero() {
    let map = Small::<i8, char>::from_iter([(0..3, 'a')]);
    assert_eq!(map.first_gap(1, 7, i8::MIN..i8::MAX), Some(-126));
    assert_eq!(map.last_gap(1, 7, i8::MIN..0), Some(-7));
    assert_eq!(map.first_gap(1, 7, 0..i8::MAX), Some(7));
    assert_eq!(map.first_gap(4, 4, -5..i8::MAX), Some(-4));
    assert_eq!(map.nth_placement(1, 4, 4, -5..i8::MAX), Some(4));
    assert_eq!(map.placements(1, 100, i8::MIN..i8::MAX), 2); // -100 and 100

    let temperatures = Small::<Celsius, char>::from_iter([(Celsius(-5)..Celsius(5), 'a')]);
    let above_absolute_zero = Celsius(-273)..Celsius(1000);
    assert_eq!(temperatures.first_gap(1, 100, above_absolute_zero.clone()), Some(Celsius(-200)));
    assert_eq!(temperatures.last_gap(5, 10, Celsius(-273)..Celsius(3)), Some(Celsius(-10)));
}

#[test]
fn a_signed_map_reaches_over_zero() {
    let mut map = RangeMap::new();
    map.insert(i64::MIN..0, 'a');
    map.insert(0..i64::MAX, 'a');
    assert_eq!(map.get_range(-1), Some((i64::MIN..i64::MAX, &'a')));
    assert_eq!(map.placements(1, 1, i64::MIN..i64::MAX), 0);
    map.remove(-1..1);
    assert!(map.gaps(i64::MIN..i64::MAX).eq([-1..1]));
    assert!(map.iter().eq([(i64::MIN..-1, &'a'), (1..i64::MAX, &'a')]));
}

#[test]
fn a_value_unlike_itself_is_never_joined() {
    let mut map = RangeMap::<u8, f64, 3, 3, 3>::default();
    for key in 0..20 {
        map.insert(key..key + 1, f64::NAN);
        map.check();
    }
    assert_eq!(map.len(), 20);
    map.update(3..9, |_, value| *value = 1.0);
    map.check();
    assert_eq!(map.get_range(5), Some((3..9, &1.0)));
    map.update(5..6, |_, value| *value = f64::NAN);
    map.check();
    assert_eq!(map.len(), 20 - 6 + 3);
}

#[test]
fn an_empty_map_can_be_a_constant() {
    static EMPTY: RangeMap<u64, String> = RangeMap::new();
    const ALSO: RangeMap<i8, char> = RangeMap::new();
    assert!(EMPTY.is_empty() && ALSO.is_empty());
    assert_eq!(EMPTY.first(), None);
    assert_eq!(EMPTY.last(), None);
    assert_eq!(EMPTY.iter().len(), 0);
    assert!(EMPTY.gaps(3..9).eq([3..9]));
    EMPTY.check();
}

#[test]
fn iterators_outlive_the_range_they_were_asked_with() {
    fn gaps_of<'a>(
        map: &'a RangeMap<u64, char>,
        from: &[u64],
    ) -> impl Iterator<Item = Range<u64>> + use<'a> {
        let query = from[0]..from[1];
        map.gaps(query)
    }
    let map = RangeMap::from_iter([(3..5, 'a')]);
    assert!(gaps_of(&map, &[0, 9]).eq([0..3, 5..9]));
}

#[test]
fn ranges_of_one_node_are_counted_before_they_come() {
    let few: RangeMap<u64, u64> = (0..20).map(|n| (2 * n..2 * n + 1, n)).collect();
    assert_eq!(few.iter().size_hint(), (20, Some(20)));
    let mut some = few.overlapping(4..11);
    assert_eq!(some.size_hint(), (4, Some(4)), "4..5, 6..7, 8..9, 10..11");
    some.next();
    some.next_back();
    assert_eq!(some.size_hint(), (2, Some(2)));
    assert_eq!(few.pieces(4..10).size_hint(), (3, Some(3)));

    let many: RangeMap<u64, u64, 3, 3, 3> = few.iter().map(|(at, val)| (at, *val)).collect();
    for count in [many.overlapping(0..99).size_hint(), many.pieces(0..99).size_hint()] {
        assert!((2..=20).contains(&count.0) && count.1.is_none(), "{count:?} of 20 in many nodes");
    }
}

#[test]
fn what_is_sent_between_threads_stays_sendable() {
    fn is<T: Send + Sync + Clone + 'static>(_: &T) {}
    is(&RangeMap::<u64, String>::new());
    is(&RangeMap::<Frame, u8, 3, 3, 3>::default());
}

/// What a failing assertion on one prints.
#[test]
fn debug_shows_what_is_there_and_what_is_left() {
    let mut map: Small<u8, char> = [(1..3, 'a'), (5..6, 'b')].into_iter().collect();
    assert_eq!(format!("{map:?}"), "{1..3: 'a', 5..6: 'b'}");
    let mut gaps = map.gaps(0..9);
    assert_eq!(format!("{gaps:?}"), "Gaps [0..1, 3..5, 6..9]");
    gaps.next();
    assert_eq!(format!("{gaps:?}"), "Gaps [3..5, 6..9]");
    let mut all = map.clone().into_iter();
    assert_eq!(format!("{all:?}"), "IntoIter { left: 2, .. }");
    all.next();
    assert_eq!((format!("{all:?}").as_str(), all.len()), ("IntoIter { left: 1, .. }", 1));
    assert_eq!(format!("{:?}", map.insert(8..9, 'c')), "Displaced { inserts: true, .. }");
    assert_eq!(format!("{:?}", map.remove(0..2)), "Displaced { inserts: false, .. }");
}
