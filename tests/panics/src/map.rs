//! `range_map`, of the files and of plain values, over keys of two kinds.

use crate::foreign::File;
use addrspace::RangeMap;
use addrspace::range_map::Key;
use core::cmp::Ordering;
use core::hash::{Hash, Hasher};
use core::ops::Range;

/// Every method of a map for one type of keys and of values.
macro_rules! methods {
    ($prefix:ident, $key:ty, $value:ty) => {
        mod $prefix {
            use super::*;

            type Map = RangeMap<$key, $value>;

            #[unsafe(export_name = concat!("map_build_", stringify!($prefix)))]
            pub fn build(ranges: &mut dyn Iterator<Item = (Range<$key>, $value)>) -> [Map; 4] {
                let sorted = Map::from_sorted(&mut *ranges);
                let mut extended = Map::default();
                extended.extend(&mut *ranges);
                [sorted, extended, ranges.collect(), Map::new()]
            }

            #[unsafe(export_name = concat!("map_edit_", stringify!($prefix)))]
            pub fn edit(map: &mut Map, range: Range<$key>, value: $value, what: u8) -> usize {
                match what {
                    0 => return map.insert(range, value).map(drop).count(),
                    1 => return map.insert(range, value).rev().map(drop).count(),
                    2 => return map.remove(range).map(drop).count(),
                    3 => return map.remove(range).rev().map(drop).count(),
                    4 => drop(map.insert(range, value)),
                    5 => drop(map.remove(range)),
                    6 => return usize::from(map.try_reserve_edit(range).is_ok()),
                    7 => map.clear(),
                    _ => map.shrink_to_fit(),
                }
                map.len()
            }

            #[unsafe(export_name = concat!("map_change_", stringify!($prefix)))]
            pub fn change(
                map: &mut Map,
                range: Range<$key>,
                change: fn(Range<$key>, &mut $value),
                keep: fn(Range<$key>, &$value) -> bool,
            ) {
                map.update(range, change);
                map.retain(keep);
            }

            #[unsafe(export_name = concat!("map_look_", stringify!($prefix)))]
            pub fn look<'m>(
                map: &'m Map,
                key: $key,
                range: &Range<$key>,
                what: u8,
            ) -> Option<(Range<$key>, &'m $value)> {
                let range = range.clone();
                match what {
                    0 => map.get(key).map(|value| (range, value)),
                    1 => map.get_range(key),
                    2 => map.first(),
                    3 => map.last(),
                    4 => map.iter().next(),
                    5 => map.iter().nth(map.len()),
                    6 => map.overlapping(range).last(),
                    7 => map.overlapping(range).next_back(),
                    8 => map.pieces(range).last(),
                    9 => map.pieces(range).rev().last(),
                    10 => map.iter().rev().last(),
                    _ => None,
                }
            }

            #[unsafe(export_name = concat!("map_search_", stringify!($prefix)))]
            pub fn search(
                map: &Map,
                len: u64,
                align: u64,
                n: u64,
                range: &Range<$key>,
            ) -> Option<($key, $key, $key, u64)> {
                let range = || range.clone();
                let count = map.placements(len, align, range());
                let nth = map.nth_placement(n, len, align, range());
                let first = map.first_gap(len, align, range());
                Some((nth?, first?, map.last_gap(len, align, range())?, count))
            }

            #[unsafe(export_name = concat!("map_gaps_", stringify!($prefix)))]
            pub fn gaps(
                map: &Map,
                key: $key,
                range: &Range<$key>,
            ) -> (bool, bool, usize, Option<Range<$key>>, Option<Range<$key>>) {
                let gaps = map.gaps(range.clone());
                let answers = (map.contains(key), map.overlaps(range.clone()));
                let (first, last) = (gaps.clone().next(), gaps.rev().last());
                (answers.0 && map.is_empty(), answers.1, map.len(), first, last)
            }

            #[unsafe(export_name = concat!("map_copy_", stringify!($prefix)))]
            pub fn copy(map: &Map) -> (Map, bool) {
                let copy = map.try_clone().ok().unwrap_or_else(|| map.clone());
                let same = copy == *map;
                (copy, same)
            }

            #[unsafe(export_name = concat!("map_take_", stringify!($prefix)))]
            pub fn take(map: Map, forwards: bool) -> Option<(Range<$key>, $value)> {
                let mut all = map.into_iter();
                if forwards { all.next() } else { all.next_back() }
            }
        }
    };
}

methods!(files, u64, File);
methods!(numbers, i32, u64);

#[unsafe(no_mangle)]
pub fn map_order(
    one: &RangeMap<u64, u64>,
    other: &RangeMap<u64, u64>,
    mut hasher: &mut dyn Hasher,
) -> Ordering {
    one.hash(&mut hasher);
    one.cmp(other)
}

#[unsafe(no_mangle)]
pub fn keys(index: u64) -> [u64; 10] {
    [
        u8::from_index(index).to_index(),
        u16::from_index(index).to_index(),
        u32::from_index(index).to_index(),
        u64::from_index(index).to_index(),
        usize::from_index(index).to_index(),
        i8::from_index(index).to_index(),
        i16::from_index(index).to_index(),
        i32::from_index(index).to_index(),
        i64::from_index(index).to_index(),
        i64::ORIGIN,
    ]
}
