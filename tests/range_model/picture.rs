//! Maps drawn as text: the column is the key, a letter the value, a dot a gap.

use addrspace::range_map::RangeMap;

/// The map of a picture, with the capacities of the one that is asked for.
pub fn picture<const S: usize, const L: usize, const I: usize>(
    text: &str,
) -> RangeMap<u8, char, S, L, I> {
    let mut map = RangeMap::default();
    for (column, letter) in (0..).zip(text.chars()) {
        if letter != '.' {
            map.insert(column..column + 1, letter);
        }
    }
    map.check();
    map
}

/// The picture of a map, in as many columns.
pub fn draw<const S: usize, const L: usize, const I: usize>(
    map: &RangeMap<u8, char, S, L, I>,
    columns: usize,
) -> String {
    map.check();
    (0..columns).map(|column| map.get(column as u8).copied().unwrap_or('.')).collect()
}
