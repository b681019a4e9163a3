//! What the optional features add.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    missing_docs,
    reason = "tests: they link std, the numbers are small, and a panic is a failure"
)]

#[cfg(any(feature = "serde", feature = "rangemap"))]
use addrspace::range_map::RangeMap;

/// That many ranges, of which some touch.
#[cfg(any(feature = "serde", feature = "rangemap"))]
fn ranges(count: i64) -> impl Iterator<Item = (std::ops::Range<i64>, String)> {
    (0..count).map(move |n| (n * 3 - count..n * 3 - count + 1 + n % 3, format!("value {}", n % 2)))
}

#[cfg(feature = "serde")]
mod serde_round_trips {
    use super::{RangeMap, ranges};
    use serde_json::{from_str, to_string};

    fn round_trip<const S: usize, const L: usize, const I: usize>(count: i64) {
        let map: RangeMap<i64, String, S, L, I> = ranges(count).collect();
        let text = to_string(&map).unwrap();
        let back: RangeMap<i64, String, S, L, I> = from_str(&text).unwrap();
        back.check();
        assert_eq!(back, map, "{text}");
        assert_eq!(to_string(&back).unwrap(), text);
    }

    #[test]
    fn a_map_comes_back_equal() {
        for count in [0, 1, 3, 4, 31, 32, 200] {
            round_trip::<3, 3, 3>(count);
            round_trip::<7, 7, 7>(count);
            round_trip::<31, 15, 31>(count);
        }
    }

    #[test]
    fn capacities_do_not_show() {
        let small: RangeMap<i64, String, 3, 3, 3> = ranges(50).collect();
        let usual: RangeMap<i64, String> = from_str(&to_string(&small).unwrap()).unwrap();
        usual.check();
        assert!(usual.iter().eq(small.iter()));
    }

    #[test]
    fn a_map_is_a_list_of_start_end_and_value() {
        let map = RangeMap::<u8, char>::from_iter([(3..5, 'a'), (7..255, 'b')]);
        assert_eq!(to_string(&map).unwrap(), r#"[[3,5,"a"],[7,255,"b"]]"#);
    }

    #[test]
    fn the_ends_of_the_keys_come_back() {
        let map = RangeMap::<u64, u8>::from_iter([(0..1, 1), (u64::MAX - 1..u64::MAX, 2)]);
        assert_eq!(from_str::<RangeMap<u64, u8>>(&to_string(&map).unwrap()).unwrap(), map);
        let map = RangeMap::<i8, u8>::from_iter([(i8::MIN..-1, 1), (-1..i8::MAX, 2)]);
        assert_eq!(from_str::<RangeMap<i8, u8>>(&to_string(&map).unwrap()).unwrap(), map);
    }

    #[test]
    fn unordered_overlapping_and_unjoined_input_becomes_a_whole_map() {
        let map: RangeMap<u8, char> =
            from_str(r#"[[7,9,"b"],[0,4,"a"],[4,4,"x"],[3,8,"a"],[8,9,"b"]]"#).unwrap();
        map.check();
        assert!(map.iter().eq([(0..8, &'a'), (8..9, &'b')]));
    }

    #[test]
    fn a_reversed_range_is_refused() {
        let refused = from_str::<RangeMap<u8, char>>(r#"[[0,4,"a"],[9,7,"b"]]"#).unwrap_err();
        assert!(refused.to_string().contains('9'), "{refused}");
    }

    #[test]
    fn what_is_no_map_is_refused() {
        for text in ["{}", "3", "[[1,2]]", r#"[[1,300,"a"]]"#, r#"[[1,2,"a"]"#] {
            assert!(from_str::<RangeMap<u8, char>>(text).is_err(), "{text}");
        }
    }
}

#[cfg(feature = "serde")]
mod serde_spaces {
    use addrspace::{AddrSpace, Gaps, Limits, MapFlags, Mapping, Prot, ignore};
    use serde_json::{from_str, to_string};

    const RW: Prot = Prot::READ.union(Prot::WRITE);

    fn round_trip(space: &AddrSpace<String>) {
        let text = to_string(space).unwrap();
        let back: AddrSpace<String> = from_str(&text).unwrap();
        back.check();
        assert_eq!(&back, space, "{text}");
        assert_eq!(back.limits(), space.limits());
        assert_eq!(back.usage(), space.usage());
        assert_eq!(to_string(&back).unwrap(), text, "gaps and all");
    }

    fn full(start: u64, page: u64) -> AddrSpace<String> {
        let file = |name: &str, offset| Mapping::file(Prot::READ, name.to_owned(), offset);
        let mut space = AddrSpace::new(start, 16 * page, page).unwrap().with_gaps(Gaps::Owned);
        space.map_at(start, 3 * page, file("libc", 7 * page).shared(), ignore).unwrap();
        space.map_at(start + 3 * page, page, Mapping::anonymous(RW), ignore).unwrap();
        space.mark_original();
        space.map_at(start + page, page, Mapping::tag(RW, "mine".to_owned(), 5), ignore).unwrap();
        let last =
            Mapping::physical(Prot::READ, 4 * page).with_flags(MapFlags::from_bits_retain(1 << 31));
        space.map_at(start + 15 * page, page, last, ignore).unwrap();
        space.set_limits(Limits { bytes: Some(9 * page), regions: Some(6) });
        space
    }

    #[test]
    fn a_space_comes_back_equal() {
        round_trip(&full(0, 1));
        round_trip(&full(0x10000, 0x1000));
        round_trip(&full(0u64.wrapping_sub(16 << 12), 1 << 12)); // ends at 2^64
        round_trip(&AddrSpace::new(0x1000, 0, 0x1000).unwrap());
    }

    #[test]
    fn the_space_of_all_2_to_the_64_bytes_comes_back_equal() {
        let mut space = AddrSpace::whole(1 << 63).unwrap();
        round_trip(&space);
        for half in [0, 1 << 63] {
            space.map_at(half, 1 << 63, Mapping::anonymous(RW), ignore).unwrap();
        }
        assert_eq!(space.usage().regions, 1);
        round_trip(&space);
    }

    #[test]
    fn books_that_cannot_be_are_refused() {
        let text = to_string(&full(0x10000, 0x1000)).unwrap();
        let refused = |from: &str, to: &str| {
            assert!(text.contains(from), "{from} in {text}");
            let books = from_str::<AddrSpace<String>>(&text.replacen(from, to, 1));
            books.unwrap_err().to_string()
        };
        assert!(refused("\"page_size\":4096", "\"page_size\":4095").contains("4095"));
        assert!(
            refused("\"len\":65536", "\"len\":null").contains("0x10000"),
            "all from 0 on, not from there"
        );
        assert!(refused("\"start\":69632", "\"start\":69633").contains("0x11001"), "unaligned");
        assert!(refused("\"start\":69632", "\"start\":65536").contains("0x10000"), "occupied");
        assert!(refused("\"start\":69632", "\"start\":4096").contains("0x1000"), "outside");
    }

    /// No length is 2^64 bytes: of a region that starts at 0, in a space that has as many,
    /// and of memory without an offset.
    #[test]
    fn only_what_can_be_endless_is() {
        let mut space: AddrSpace<String> = AddrSpace::whole(1 << 63).unwrap();
        space.map_at(0, 1 << 63, Mapping::anonymous(RW), ignore).unwrap();
        space.map_at(1 << 63, 1 << 63, Mapping::anonymous(RW), ignore).unwrap();
        let text = to_string(&space).unwrap();
        let read = |text: &str| from_str::<AddrSpace<String>>(text).map_err(|e| e.to_string());
        assert_eq!(read(&text).unwrap(), space);
        let regions = text.find("regions").unwrap();
        let changed = |from: &str, to: &str| {
            let (head, tail) = text.split_at(regions);
            assert!(tail.contains(from), "{from} in {tail}");
            read(&format!("{head}{}", tail.replacen(from, to, 1))).unwrap_err()
        };
        let half = "\"start\":9223372036854775808";
        assert!(changed("\"start\":0", half).contains("0x8000000000000000"), "not from there");
        let file = "{\"File\":{\"file\":\"libc\",\"offset\":0}}";
        assert!(changed("\"Anonymous\"", file).contains("0xffffffffffffffff"), "no file");

        let mut smaller: AddrSpace<String> = AddrSpace::new(0, 0x10000, 0x1000).unwrap();
        smaller.map_at(0, 0x10000, Mapping::anonymous(RW), ignore).unwrap();
        let text = to_string(&smaller).unwrap();
        let endless = text.replacen(
            "\"start\":0,\"len\":65536,\"mapping",
            "\"start\":0,\"len\":null,\"mapping",
            1,
        );
        assert_ne!(endless, text);
        assert!(read(&endless).unwrap_err().contains("0xffffffffffffffff"), "no small space");
    }
}

#[cfg(feature = "rangemap")]
mod rangemap_conversions {
    use super::{RangeMap, ranges};

    #[test]
    fn a_map_goes_there_and_back() {
        for count in [0, 1, 3, 31, 32, 500] {
            let map: RangeMap<i64, String> = ranges(count).collect();
            let peer = rangemap::RangeMap::from(map.clone());
            assert!(peer.iter().map(|(range, value)| (range.clone(), value)).eq(map.iter()));
            let back = RangeMap::from(peer);
            back.check();
            assert_eq!(back, map);
        }
    }

    #[test]
    fn a_map_comes_from_there_joined_as_there() {
        let peer = rangemap::RangeMap::from_iter([
            (0_u8..4, 'a'),
            (4..6, 'a'),
            (6..255, 'b'),
            (9..10, 'c'),
        ]);
        let map = RangeMap::from(peer.clone());
        map.check();
        assert!(map.iter().eq(peer.iter().map(|(range, value)| (range.clone(), value))));
        assert_eq!(map.first(), Some((0..6, &'a')));
    }
}
