//! What is asked of addresses, lengths and bounds.

use super::{PAGE, R, space, span, spans};
use addrspace::{AddrSpace, Error, MapFlags, Mapping, Placement, Verb, ignore};

#[test]
fn addresses_past_the_end_are_outside() {
    let mut space = space();
    for addr in [0x20000, 0x21000, 0x20_0000, 0xf000, 0, 0xffff_ffff_ffff_f000] {
        let outside = |verb| Err(Error::OutOfBounds { verb, addr, len: PAGE });
        assert_eq!(space.map_at(addr, PAGE, Mapping::anonymous(R), ignore), outside(Verb::Map));
        assert_eq!(space.unmap(addr, PAGE, ignore), outside(Verb::Unmap));
        assert_eq!(space.protect(addr, PAGE, R, ignore), outside(Verb::Protect));
        assert_eq!(space.query(addr), None);
    }
    assert_eq!(space.usage().mapped, 0);
}

#[test]
fn lengths_that_overflow_are_outside() {
    let mut space = space();
    for len in [16 * PAGE + 1, u64::MAX, u64::MAX - 0x10000, 1 << 63, 0_u64.wrapping_sub(PAGE)] {
        let mapped = space.map_at(0x10000, len, Mapping::anonymous(R), ignore);
        assert_eq!(mapped, Err(Error::OutOfBounds { verb: Verb::Map, addr: 0x10000, len }));
        space.unmap(0x11000, len, ignore).unwrap_err();
        let any = space.map_any(len, Mapping::anonymous(R), Placement::lowest(), ignore);
        assert_eq!(any, Err(Error::NoRoom { verb: Verb::Map, len }));
    }
    assert_eq!(space.usage().mapped, 0);
}

#[test]
fn zero_lengths_are_refused() {
    let mut space = space();
    let zero = |verb, addr| Err(Error::ZeroLength { verb, addr });
    let read = Mapping::anonymous(R);
    assert_eq!(space.map_at(0x10000, 0, read, ignore), zero(Verb::Map, 0x10000));
    assert_eq!(space.unmap(0x10000, 0, ignore), zero(Verb::Unmap, 0x10000));
    assert_eq!(space.protect(0x10000, 0, R, ignore), zero(Verb::Protect, 0x10000));
    let none = MapFlags::empty();
    assert_eq!(space.set_flags(0x10000, 0, none, none, ignore), zero(Verb::SetFlags, 0x10000));
    assert_eq!(
        space.map_any(0, read, Placement::lowest(), ignore),
        Err(Error::ZeroLength { verb: Verb::Map, addr: 0 })
    );
    assert!(space.is_fully_mapped(0x10000, 0));
    assert_eq!(space.regions_in(0x10000, 0).count(), 0);
}

#[test]
fn unaligned_addresses_are_refused_and_lengths_rounded_up() {
    let mut space = space();
    let read = Mapping::anonymous(R);
    let unaligned = Error::Unaligned { verb: Verb::Map, addr: 0x10001, len: PAGE };
    assert_eq!(space.map_at(0x10001, PAGE, read, ignore), Err(unaligned));
    space.unmap(0x10fff, PAGE, ignore).unwrap_err();
    space.protect(0x10fff, PAGE, R, ignore).unwrap_err();

    space.map_at(0x10000, 1, read, ignore).unwrap();
    assert_eq!(space.query(0x10fff).unwrap().span, span(0x10000, 0x10fff));
    space.map_at(0x11000, PAGE + 1, read, ignore).unwrap();
    assert_eq!(space.query(0x10000).unwrap().span, span(0x10000, 0x12fff));
    space.unmap(0x10000, 2 * PAGE + 1, ignore).unwrap();
    assert_eq!(space.usage().mapped, 0);
}

#[test]
fn a_map_that_is_both_outside_and_unaligned_is_outside() {
    // So Linux sees it: ENOMEM comes before EINVAL.
    let error = space().map_at(0x30001, PAGE, Mapping::anonymous(R), ignore).unwrap_err();
    assert_eq!(error.errno(), 12);
    let error = space().protect(0x30001, PAGE, R, ignore).unwrap_err();
    assert_eq!(error.errno(), 22);
}

#[test]
fn the_first_and_the_last_page_can_be_used() {
    let mut space = space();
    let read = Mapping::anonymous(R);
    space.map_at(0x10000, PAGE, read, ignore).unwrap();
    space.map_at(0x1f000, PAGE, read, ignore).unwrap();
    assert_eq!(space.query(0x10000).unwrap().span, span(0x10000, 0x10fff));
    assert_eq!(space.query(0x1ffff).unwrap().span, span(0x1f000, 0x1ffff));
    assert_eq!((space.query(0xffff), space.query(0x20000)), (None, None));
    space.map_at(0x1f000, 2 * PAGE, read, ignore).unwrap_err();
    assert_eq!(spans(|handler| space.unmap(0x10000, 16 * PAGE, handler).unwrap()).len(), 2);
}

#[test]
fn every_power_of_two_is_a_page_size() {
    for shift in 0..64 {
        let page = 1_u64 << shift;
        let len = page.saturating_mul(4).max(page) / page * page;
        let mut space: AddrSpace = AddrSpace::new(0, len, page).unwrap();
        assert_eq!(space.page_size().bytes(), page);
        space.map_at(0, 1, Mapping::anonymous(R), ignore).unwrap();
        assert_eq!(space.query(page - 1).unwrap().span, span(0, page - 1));
        assert_eq!(space.query(page), None);
        space.check();
    }
    for page_size in [0, 3, 4095, u64::MAX] {
        assert_eq!(AddrSpace::<u32>::new(0, 0, page_size), Err(Error::PageSize { page_size }));
    }
}

#[test]
fn a_space_may_end_at_2_to_the_64() {
    for page in [1, PAGE, 1 << 32, 1 << 63] {
        let start = 0_u64.wrapping_sub(page);
        let mut space: AddrSpace = AddrSpace::new(start, page, page).unwrap();
        assert_eq!(space.span(), Some(span(start, u64::MAX)));
        space.map_at(start, page, Mapping::anonymous(R), ignore).unwrap();
        let region = space.query(u64::MAX).unwrap();
        assert_eq!((region.last(), region.end(), region.len()), (u64::MAX, None, Some(page)));
        assert!(space.is_fully_mapped(u64::MAX, 1));
        assert!(!space.is_fully_mapped(u64::MAX, 2));
        assert_eq!(
            spans(|handler| space.unmap(start, page, handler).unwrap()),
            [span(start, u64::MAX)]
        );
    }
    let past = AddrSpace::<u32>::new(2 * PAGE, 0_u64.wrapping_sub(PAGE), PAGE);
    assert!(matches!(past, Err(Error::Geometry { .. })));
    AddrSpace::<u32>::new(2, u64::MAX, 1).unwrap_err();
    AddrSpace::<u32>::new(1, u64::MAX, 1).unwrap();
}

#[test]
fn the_space_of_all_2_to_the_64_bytes() {
    let mut space: AddrSpace = AddrSpace::whole(PAGE).unwrap();
    space.map_at(0, 1 << 63, Mapping::anonymous(R), ignore).unwrap();
    space.map_at(1 << 63, 1 << 63, Mapping::anonymous(R), ignore).unwrap();
    let region = space.query(12345).unwrap();
    assert_eq!((region.span, region.len(), region.end()), (span(0, u64::MAX), None, None));
    assert_eq!(space.usage().mapped, u64::MAX, "one byte less than there are");
    assert_eq!(space.gaps().count(), 0);
    let calls = spans(|handler| space.unmap(0, u64::MAX, handler).unwrap());
    assert_eq!(calls, [span(0, u64::MAX)]);

    AddrSpace::<u32>::whole(2).unwrap();
    assert_eq!(AddrSpace::<u32>::whole(1), Err(Error::Geometry { start: 0, len: 0, page_size: 1 }));
}

#[test]
fn unaligned_bounds_are_refused() {
    for (start, len) in [(0x10800, PAGE), (0x10000, 0x800), (1, 0)] {
        let refused = AddrSpace::<u32>::new(start, len, PAGE);
        assert_eq!(refused, Err(Error::Geometry { start, len, page_size: PAGE }));
    }
}

#[test]
fn in_a_space_of_length_zero_every_map_fails() {
    let mut space: AddrSpace = AddrSpace::new(0x10000, 0, PAGE).unwrap();
    assert_eq!(space.span(), None);
    let read = Mapping::anonymous(R);
    space.map_at(0x10000, 1, read, ignore).unwrap_err();
    space.map_any(1, read, Placement::lowest().near(0x10000), ignore).unwrap_err();
    assert_eq!(space.placements(1, Placement::default()), Ok(0));
    assert_eq!((space.query(0x10000), space.gaps().count()), (None, 0));
    space.unmap_non_original(ignore).unwrap();
    assert_eq!((space.picture().to_string(), space.to_string()), (String::new(), String::new()));
}

#[test]
fn pages_of_one_byte_end_before_2_to_the_64_too() {
    for start in [0, 1] {
        let mut space: AddrSpace = AddrSpace::new(start, u64::MAX, 1).unwrap();
        let (addr, read) = (u64::MAX - 10, Mapping::anonymous(R));
        space.map_at(addr, 10, read, ignore).unwrap();
        // It has no room to grow, and its end no place to come from.
        let full = space.clone();
        let stuck = space.remap(addr, 10, 100, addrspace::Remap::in_place(), ignore);
        assert!(matches!(stuck, Err(Error::NoRoom { .. })), "{stuck:?}");
        assert!(space == full);
        let moved = addrspace::Remap::may_move(Placement::lowest());
        assert_eq!(space.remap(addr, 10, 100, moved, ignore), Ok(start));
        assert_eq!((space.query(addr), space.usage().mapped), (None, 100));
        space.check();

        let mut space: AddrSpace = AddrSpace::new(start, u64::MAX, 1).unwrap();
        space.map_at(1 << 63, 1, read, ignore).unwrap();
        let long = space.remap(1 << 63, 1, (1 << 63) + 100, addrspace::Remap::in_place(), ignore);
        assert!(matches!(long, Err(Error::NoRoom { .. })), "{long:?}");
        space.check();
    }
}
