//! Where a mapping goes.

use super::{PAGE, R, drawn, space, span};
use addrspace::{AddrSpace, Error, Mapping, Placement, Verb, ignore};

#[test]
fn an_unaligned_hint_is_rounded_down() {
    let mut space = space();
    let read = Mapping::anonymous(R);
    assert_eq!(space.map_any(PAGE, read, Placement::lowest().near(0x14fff), ignore), Ok(0x14000));
    // Taken now: the policy decides, and not the next place.
    assert_eq!(space.map_any(PAGE, read, Placement::lowest().near(0x14fff), ignore), Ok(0x10000));
    assert_eq!(space.map_any(PAGE, read, Placement::highest().near(0x14fff), ignore), Ok(0x1f000));
    // To the alignment, too; outside, it is nothing.
    let aligned = Placement::lowest().aligned(0x4000);
    assert_eq!(space.map_any(PAGE, read, aligned.near(0x1bfff), ignore), Ok(0x18000));
    assert_eq!(space.map_any(PAGE, read, aligned.near(u64::MAX), ignore), Ok(0x1c000));
}

#[test]
fn each_failure_of_map_any_has_its_name() {
    let mut space = drawn("rrr.");
    let read = Mapping::anonymous(R);
    let mut any = |len, placement| space.map_any(len, read, placement, ignore).unwrap_err();
    let lowest = Placement::lowest();
    assert_eq!(any(2 * PAGE, lowest), Error::NoRoom { verb: Verb::Map, len: 2 * PAGE });
    assert_eq!(any(PAGE, Placement::nth(1)), Error::NoRoom { verb: Verb::Map, len: PAGE });
    assert_eq!(
        any(PAGE, lowest.aligned(PAGE + 1)),
        Error::Alignment { align: PAGE + 1, offset: 0 }
    );
    assert_eq!(
        any(PAGE, lowest.aligned_at(2 * PAGE, 1)),
        Error::Alignment { align: 2 * PAGE, offset: 1 }
    );
    assert_eq!(any(0, lowest), Error::ZeroLength { verb: Verb::Map, addr: 0 });
}

#[test]
fn guards_are_free_pages_in_the_space() {
    let mut space = drawn("....r.....");
    let read = Mapping::anonymous(R);
    let guarded = Placement::lowest().guarded(PAGE, 1);
    assert_eq!(space.map_any(2 * PAGE, read, guarded, ignore), Ok(0x1000));
    // Between: .rr.r.....
    assert_eq!(
        space.map_any(PAGE, read, Placement::highest().guarded(0, PAGE), ignore),
        Ok(0x8000)
    );
    assert_eq!(space.picture().to_string(), ".rr.r...r.");
    // They are not remembered.
    assert_eq!(space.map_any(PAGE, read, Placement::lowest(), ignore), Ok(0));
}

#[test]
fn bounds_hold_the_mapping_but_not_its_guards() {
    let mut space = space();
    let read = Mapping::anonymous(R);
    let within = Placement::lowest().within(0x12800, 0x2000).guarded(PAGE, PAGE);
    assert_eq!(space.map_any(PAGE, read, within, ignore), Ok(0x13000));
    let whole = Placement::highest().within(0, u64::MAX);
    assert_eq!(space.map_any(PAGE, read, whole, ignore), Ok(0x1f000));
    let nowhere = Placement::lowest().within(0x30000, 0x10000);
    space.map_any(PAGE, read, nowhere, ignore).unwrap_err();
}

#[test]
fn a_hint_out_of_the_bounds_is_nothing() {
    let bounds = Placement::lowest().within(0x12000, 4 * PAGE);
    let table = [
        (0x10000, 0x12000),
        (0x11000, 0x12000), // its first page is outside
        (0x12000, 0x12000),
        (0x14000, 0x14000),
        (0x15000, 0x12000), // its last page
        (0x18000, 0x12000),
    ];
    for (hint, place) in table {
        let found = space().map_any(2 * PAGE, Mapping::anonymous(R), bounds.near(hint), ignore);
        assert_eq!(found, Ok(place), "near {hint:#x}");
    }
}

#[test]
fn alignment_is_that_of_the_address_not_of_the_distance() {
    let mut space: AddrSpace = AddrSpace::new(0x11000, 16 * PAGE, PAGE).unwrap();
    let read = Mapping::anonymous(R);
    assert_eq!(space.map_any(PAGE, read, Placement::lowest().aligned(0x8000), ignore), Ok(0x18000));
    let odd = Placement::lowest().aligned_at(0x8000, 0x3000);
    assert_eq!(space.map_any(PAGE, read, odd, ignore), Ok(0x13000));
    // Any multiple of a page will do.
    let three = Placement::highest().aligned(3 * PAGE);
    assert_eq!(space.map_any(PAGE, read, three, ignore), Ok(0x1e000));
}

#[test]
fn random_placement_is_uniform() {
    // Gaps of 2, 5 and 9 pages: 1 + 4 + 8 places for two pages.
    let space = drawn("..r.....w.........");
    let placement = Placement::default();
    let count = space.placements(2 * PAGE, placement).unwrap();
    assert_eq!(count, 13);
    // With as many draws, evenly spread over the 2^64, each place comes up equally often.
    let times = if cfg!(miri) { 10_u64 } else { 1000 };
    let draws = 13 * times;
    let mut found = std::collections::BTreeMap::new();
    for i in 0..draws {
        let bits = ((u128::from(i) << 64) / u128::from(draws)) as u64 + 1;
        let mut copy = space.clone();
        let read = Mapping::anonymous(R);
        let addr = copy.map_any(2 * PAGE, read, Placement::random(bits), ignore).unwrap();
        *found.entry(addr).or_insert(0) += 1;
    }
    let places: Vec<u64> = (0..count)
        .map(|n| {
            let mut copy = space.clone();
            copy.map_any(2 * PAGE, Mapping::anonymous(R), Placement::nth(n), ignore).unwrap()
        })
        .collect();
    assert!(places.is_sorted());
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), places);
    assert!(found.values().all(|&n| n == times), "{found:?}");
}

#[test]
fn an_occupied_place_names_the_first_region_in_the_way() {
    let mut space = drawn(".rr.w...");
    let refused = space.map_at_no_replace(0x2000, 4 * PAGE, Mapping::anonymous(R), ignore);
    let conflict = span(0x1000, 0x2fff);
    let error = Error::Occupied { verb: Verb::Map, addr: 0x2000, len: 4 * PAGE, conflict };
    assert_eq!(refused, Err(error));
    assert_eq!(error.errno(), 17);
    assert_eq!(error.to_string(), "cannot map 0x4000 bytes at 0x2000: 0x1000..=0x2fff is mapped");
    space.map_at_no_replace(0x3000, PAGE, Mapping::anonymous(R), ignore).unwrap();
}
