//! What a space decides, one test for each decision.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test"
)]

use addrspace::{
    AddrSpace, Backing, Error, Gaps, Limits, MapFlags, Mapping, OpError, Placement, Prot, Region,
    Span, Update, Verb, ignore,
};

const R: Prot = Prot::READ;
const RW: Prot = Prot::READ.union(Prot::WRITE);
const RX: Prot = Prot::READ.union(Prot::EXEC);
const PAGE: u64 = 0x1000;

/// Sixteen pages at 0x10000.
fn space() -> AddrSpace {
    AddrSpace::new(0x10000, 16 * PAGE, PAGE).unwrap()
}

/// A space in which the letters of `picture` are mapped, as [`AddrSpace::picture`]
/// draws them; capitals are marked as original.
fn drawn(picture: &str) -> AddrSpace {
    let mut space = AddrSpace::new(0, picture.len() as u64 * PAGE, PAGE).unwrap();
    for originals in [true, false] {
        for (page, letter) in (0..).zip(picture.chars()) {
            let prot = match letter.to_ascii_lowercase() {
                'r' => R,
                'w' => RW,
                'x' => RX,
                '-' | '=' => Prot::empty(),
                _ => continue,
            };
            if (letter.is_ascii_uppercase() || letter == '=') == originals {
                space.map_at(page * PAGE, PAGE, Mapping::anonymous(prot), ignore).unwrap();
            }
        }
        if originals {
            space.mark_original();
        }
    }
    assert_eq!(space.picture().to_string(), picture);
    space
}

fn span(first: u64, last: u64) -> Span {
    Span::new(first, last).unwrap()
}

/// The spans that `verb` reports.
fn spans(verb: impl FnOnce(&mut dyn FnMut(Update<'_>))) -> Vec<Span> {
    let mut spans = Vec::new();
    verb(&mut |update| spans.push(update.span()));
    spans
}

fn offset(region: Option<Region<'_>>) -> u64 {
    match region.unwrap().backing {
        Backing::File { offset, .. } => offset,
        other => panic!("no file: {other:?}"),
    }
}

// ---- What is outside, unaligned or empty ----

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

// ---- Bounds ----

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
    assert_eq!(space.usage().mapped, 1 << 52);
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

// ---- Splitting and merging ----

#[test]
fn a_split_advances_the_offset() {
    let mut space = space();
    space.map_at(0x10000, 4 * PAGE, Mapping::file(R, 3, 0x8000), ignore).unwrap();
    space.unmap(0x10000, PAGE, ignore).unwrap();
    assert_eq!(offset(space.query(0x11000)), 0x9000);
    space.protect(0x12000, PAGE, RW, ignore).unwrap();
    assert_eq!(offset(space.query(0x12000)), 0xa000);
    assert_eq!(offset(space.query(0x13000)), 0xb000);
}

#[test]
fn only_neighbours_that_continue_each_other_merge() {
    let file = |file, offset| Mapping::file(R, file, offset);
    let table = [
        (file(3, 0), file(3, PAGE), 1),
        (file(3, 0), file(3, 0), 2),
        (file(3, PAGE), file(3, 0), 2),
        (file(3, 0), file(4, PAGE), 2),
        (file(3, 0), file(3, PAGE).shared(), 2),
        (file(3, 0), Mapping::file(RW, 3, PAGE), 2),
        (Mapping::physical(R, 0), Mapping::physical(R, PAGE), 1),
        (Mapping::physical(R, 0), Mapping::physical(R, 0), 2),
        (Mapping::physical(R, 0), file(0, PAGE), 2),
        (Mapping::tag(R, 3, 7), Mapping::tag(R, 3, 7), 1),
        (Mapping::tag(R, 3, 7), Mapping::tag(R, 3, 7 + PAGE), 2),
        (Mapping::anonymous(R), Mapping::anonymous(R), 1),
        (Mapping::anonymous(R), Mapping::anonymous(R).with_flags(MapFlags::NO_RESERVE), 2),
    ];
    for (left, right, regions) in table {
        let mut space = space();
        space.map_at(0x11000, PAGE, right, ignore).unwrap();
        space.map_at(0x10000, PAGE, left, ignore).unwrap();
        assert_eq!(space.usage().regions, regions, "{left:?} {right:?}");
    }
}

#[test]
fn a_split_that_is_undone_merges_again() {
    let mut space = space();
    space.map_at(0x10000, 8 * PAGE, Mapping::file(R, 3, PAGE), ignore).unwrap();
    let before = space.clone();
    space.protect(0x12000, PAGE, RW, ignore).unwrap();
    assert_eq!(space.usage().regions, 3);
    space.protect(0x12000, PAGE, R, ignore).unwrap();
    assert_eq!(space, before);
    space.unmap(0x12000, PAGE, ignore).unwrap();
    space.map_at(0x12000, PAGE, Mapping::file(R, 3, 0x3000), ignore).unwrap();
    assert_eq!(space, before);
}

#[test]
fn a_file_ends_before_its_byte_2_to_the_64() {
    let mut space = space();
    let last = 0_u64.wrapping_sub(PAGE);
    let map = |space: &mut AddrSpace, mapping| space.map_at(0x10000, PAGE, mapping, ignore);
    for backing in [Mapping::file(R, 3, last), Mapping::physical(R, last)] {
        let error = map(&mut space, backing).unwrap_err();
        assert_eq!(error, Error::OffsetOverflow { verb: Verb::Map, len: PAGE, offset: last });
        assert_eq!(error.errno(), 75);
    }
    map(&mut space, Mapping::file(R, 3, last - PAGE)).unwrap();
    // It cannot grow there either.
    let grown = space.remap(0x10000, PAGE, 2 * PAGE, addrspace::Remap::in_place(), ignore);
    assert_eq!(grown.unwrap_err().errno(), 22);
    map(&mut space, Mapping::tag(R, 3, u64::MAX)).unwrap();
}

#[test]
fn an_unaligned_offset_is_refused_but_of_a_tag() {
    let mut space = space();
    for mapping in [Mapping::file(R, 3, 0x800), Mapping::physical(R, 0x800)] {
        let error = space.map_at(0x10000, PAGE, mapping, ignore).unwrap_err();
        assert_eq!(error, Error::UnalignedOffset { len: PAGE, offset: 0x800 });
        assert_eq!(error.errno(), 22);
    }
    space.map_at(0x10000, PAGE, Mapping::tag(R, 3, 0x801), ignore).unwrap();
}

#[test]
fn unknown_bits_pass_through() {
    let (prot, flags) = (Prot::from_bits_retain(0x31), MapFlags::from_bits_retain(0x8000_0010));
    let mut space = space();
    space.map_at(0x10000, PAGE, Mapping::anonymous(prot).with_flags(flags), ignore).unwrap();
    let region = space.query(0x10000).unwrap();
    assert_eq!((region.prot.bits(), region.flags.bits()), (0x31, 0x8000_0010));
}

// ---- Protecting and flags ----

#[test]
fn protect_skips_gaps_and_a_query_tells_of_them() {
    let mut space = drawn("r.rr.w..");
    assert!(!space.is_fully_mapped(0, 8 * PAGE));
    let calls = spans(|handler| space.protect(0, 8 * PAGE, RX, handler).unwrap());
    assert_eq!(calls, [span(0, 0xfff), span(0x2000, 0x3fff), span(0x5000, 0x5fff)]);
    assert_eq!(space.picture().to_string(), "x.xx.x..");
    assert!(spans(|handler| space.protect(0x6000, PAGE, RX, handler).unwrap()).is_empty());
}

#[test]
fn protect_is_one_update_over_touching_regions_and_tells_the_old_ones() {
    let mut space = drawn(".rwxr...");
    let mut heard = Vec::new();
    space
        .protect(0x2000, 3 * PAGE, RX, |update| {
            let Update::Protect { span, prot, pieces } = update else { panic!("{update:?}") };
            heard.push((span, prot, pieces.iter().map(|piece| piece.prot).collect::<Vec<_>>()));
        })
        .unwrap();
    assert_eq!(heard, [(span(0x2000, 0x4fff), RX, vec![RW, RX, R])]);
    assert_eq!(space.usage().regions, 2);
}

#[test]
fn protect_reports_also_what_does_not_change() {
    let mut space = drawn("rr");
    assert_eq!(spans(|handler| space.protect(0, 2 * PAGE, R, handler).unwrap()).len(), 1);
}

#[test]
fn flags_keep_neighbours_apart_until_they_are_cleared() {
    let mut space = drawn("rrrr");
    let (lock, none) = (MapFlags::LOCKED, MapFlags::empty());
    space.set_flags(PAGE, PAGE, lock, none, ignore).unwrap();
    assert_eq!(space.usage().regions, 3);
    assert_eq!(space.query(PAGE).unwrap().flags, lock);
    space.set_flags(0, 4 * PAGE, none, lock, ignore).unwrap();
    assert_eq!(space, drawn("rrrr"));
    // What is both set and cleared is set.
    space.set_flags(0, PAGE, lock, lock, ignore).unwrap();
    assert_eq!(space.query(0).unwrap().flags, lock);
}

#[test]
fn whether_a_mapping_is_shared_cannot_be_changed() {
    let mut space = drawn("rr");
    let (shared, none) = (MapFlags::SHARED, MapFlags::empty());
    let refused = Err(Error::SharedFlag { addr: 0, len: PAGE });
    assert_eq!(space.set_flags(0, PAGE, shared, none, ignore), refused);
    assert_eq!(space.set_flags(0, PAGE, none, shared, ignore), refused);
}

// ---- Originals ----

#[test]
fn replacing_an_original_page_makes_it_not_original() {
    let mut space = drawn("RRRR");
    space.map_at(PAGE, PAGE, Mapping::anonymous(R), ignore).unwrap();
    assert_eq!(space.picture().to_string(), "RrRR");
    assert_eq!(space.usage().regions, 3);
}

#[test]
fn protecting_an_original_page_leaves_it_original() {
    let mut space = drawn("RRRR");
    space.protect(PAGE, PAGE, RW, ignore).unwrap();
    space.set_flags(PAGE, PAGE, MapFlags::LOCKED, MapFlags::empty(), ignore).unwrap();
    assert_eq!(space.picture().to_string(), "RWRR");
}

#[test]
fn marking_merges_neighbours_that_become_equal() {
    let mut space = drawn("RRrr");
    assert_eq!(space.usage().regions, 2);
    space.mark_original();
    assert_eq!((space.picture().to_string(), space.usage().regions), ("RRRR".to_owned(), 1));
}

#[test]
fn marking_twice_is_marking_once() {
    let mut space = drawn("rw.xx");
    space.mark_original();
    let once = space.clone();
    space.mark_original();
    assert_eq!(space, once);
}

#[test]
fn unmap_non_original_leaves_the_originals_in_between() {
    let mut foreign = drawn("rr.wRR.x.rWw.r");
    let mut owned = foreign.clone().with_gaps(Gaps::Owned);
    let calls = spans(|handler| foreign.unmap_non_original(handler).unwrap());
    let pages = |first: u64, last: u64| span(first * PAGE, last * PAGE + PAGE - 1);
    let runs = [(0, 1), (3, 3), (7, 7), (9, 9), (11, 11), (13, 13)];
    assert_eq!(calls, runs.map(|(first, last)| pages(first, last)));
    assert_eq!(foreign.picture().to_string(), "....RR....W...");

    // The gaps between two originals are the host's to touch.
    let calls = spans(|handler| owned.unmap_non_original(handler).unwrap());
    assert_eq!(calls, [pages(0, 3), pages(7, 9), pages(11, 13)]);
    assert_eq!(owned, foreign);
    assert!(spans(|handler| owned.unmap_non_original(handler).unwrap()).is_empty());
}

#[test]
fn with_owned_gaps_an_unmap_is_one_update() {
    let mut space = drawn("r.w..x.r").with_gaps(Gaps::Owned);
    let calls = spans(|handler| space.unmap(PAGE, 6 * PAGE, handler).unwrap());
    assert_eq!(calls, [span(0x2000, 0x5fff)]);
    assert_eq!(space.picture().to_string(), "r......r");
    assert!(spans(|handler| space.unmap(PAGE, 6 * PAGE, handler).unwrap()).is_empty());
}

#[test]
fn reset_forgets_everything_and_reports_nothing() {
    let mut space = drawn("RRww");
    space.set_limits(Limits { regions: Some(1), ..Limits::default() });
    space.reset();
    assert_eq!((space.usage().mapped, space.usage().regions), (0, 0));
    assert_eq!(space.limits().regions, Some(1));
}

// ---- What updates tell ----

#[test]
fn a_map_tells_what_is_new_and_what_it_replaces() {
    let mut space = drawn("rr.ww...");
    let mut heard = Vec::new();
    space
        .map_at(PAGE, 3 * PAGE, Mapping::file(RX, 7, 0), |update| {
            let Update::Map { region, replaced } = update else { panic!("{update:?}") };
            assert_eq!(region.backing, Backing::File { file: &7, offset: 0 });
            heard.extend(replaced.into_iter().map(|piece| (piece.span, piece.prot)));
        })
        .unwrap();
    assert_eq!(heard, [(span(0x1000, 0x1fff), R), (span(0x3000, 0x3fff), RW)]);
    assert_eq!(space.picture().to_string(), "rxxxw...");
}

#[test]
fn a_refusing_handler_is_told_from_where_on() {
    let mut space = drawn("r.w.x...");
    let mut left = 1;
    let refused = space.unmap(0, 8 * PAGE, |_| {
        left -= 1;
        if left < 0 { Err("boom") } else { Ok(()) }
    });
    assert_eq!(refused, Err(OpError::Handler { at: 0x2000, source: "boom" }));
    assert_eq!(space.picture().to_string(), "..w.x...");
    assert_eq!(refused.unwrap_err().to_string(), "the host refused from 0x2000 on: boom");
}

#[test]
fn an_update_can_be_copied_and_shown() {
    let mut space = drawn("rw");
    let mut shown = String::new();
    space
        .unmap(0, 2 * PAGE, |update| {
            let copy = update;
            shown = format!("{update:?}");
            assert_eq!(copy.pieces().iter().count(), 2);
        })
        .unwrap();
    assert!(shown.starts_with("Unmap { span: 0x0..=0x1fff, pieces: [Region {"), "{shown}");
}

// ---- Placement ----

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
    let draws = 13 * 1000_u64;
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
    assert!(found.values().all(|&times| times == 1000), "{found:?}");
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

// ---- Snapshots ----

#[test]
fn restore_brings_back_what_was_lost_and_what_was_protected() {
    let mut space = drawn("RRRRWW..");
    let clean = space.clone();
    space.protect(0, PAGE, RX, ignore).unwrap();
    space.map_at(PAGE, PAGE, Mapping::anonymous(R), ignore).unwrap(); // an original is lost
    space.unmap(0x3000, PAGE, ignore).unwrap();
    space.map_at(0x6000, PAGE, Mapping::anonymous(R), ignore).unwrap();
    let mut heard = Vec::new();
    space
        .restore(&clean, |update| {
            heard.push(match update {
                Update::Map { region, .. } => ("map", region.span),
                Update::Unmap { span, .. } => ("unmap", span),
                Update::Protect { span, .. } => ("protect", span),
                other => panic!("{other:?}"),
            });
        })
        .unwrap();
    let expected = [
        ("protect", span(0, 0xfff)),
        ("map", span(0x1000, 0x1fff)),
        ("map", span(0x3000, 0x3fff)),
        ("unmap", span(0x6000, 0x6fff)),
    ];
    assert_eq!(heard, expected);
    assert_eq!(space, clean);
    assert!(spans(|handler| space.restore(&clean, handler).unwrap()).is_empty());
}

#[test]
fn diff_takes_the_shortest_way() {
    // The same protection over regions that differ in flags is one update; so are
    // the same flags over different protections.
    let mut here = drawn("rwrwrw");
    let mut there = here.clone();
    there.protect(0, 5 * PAGE, RX, ignore).unwrap();
    there.set_flags(PAGE, 3 * PAGE, MapFlags::LOCKED, MapFlags::empty(), ignore).unwrap();
    let updates: Vec<String> = here
        .diff(&there)
        .unwrap()
        .map(|update| match update {
            Update::Protect { span, .. } => format!("protect {span}"),
            Update::Flags { span, .. } => format!("flags {span}"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(updates, ["protect 0x0..=0x4fff", "flags 0x1000..=0x3fff"]);
    here.restore(&there, ignore).unwrap();
    assert_eq!(here, there);
}

#[test]
fn spaces_of_another_geometry_have_no_difference() {
    let here = space();
    for there in [
        AddrSpace::new(0x10000, 15 * PAGE, PAGE),
        AddrSpace::new(0x11000, 16 * PAGE, PAGE),
        AddrSpace::new(0x10000, 16 * PAGE, 1),
    ] {
        let there = there.unwrap();
        assert_eq!(here.diff(&there).err(), Some(Error::OtherGeometry));
        assert_eq!(here.clone().restore(&there, ignore), Err(Error::OtherGeometry));
        assert_ne!(here, there);
    }
}

#[test]
fn a_fork_has_what_is_kept_and_counts_it() {
    let parent = drawn("rrRw.x");
    let child = parent.fork(|region| !region.prot.contains(Prot::WRITE));
    assert_eq!(child.picture().to_string(), "rrR..x");
    child.check();
    assert_eq!(parent, drawn("rrRw.x"));
}

// ---- Limits ----

#[test]
fn the_limit_on_bytes_counts_what_a_map_replaces() {
    let mut space = drawn("rrr.....");
    space.set_limits(Limits { bytes: Some(4 * PAGE + 1), ..Limits::default() });
    let write = Mapping::anonymous(RW);
    space.map_at(0, 4 * PAGE, write, ignore).unwrap();
    let refused = space.map_at(0, 5 * PAGE, write, ignore).unwrap_err();
    let limit = 4 * PAGE + 1;
    assert_eq!(refused, Error::ByteLimit { verb: Verb::Map, len: 5 * PAGE, limit });
    assert_eq!(refused.errno(), 12);
    space.map_any(PAGE, write, Placement::lowest(), ignore).unwrap_err();
    // A limit below what is in use refuses nothing that adds nothing.
    space.set_limits(Limits { bytes: Some(0), ..Limits::default() });
    space.map_at(0, 4 * PAGE, Mapping::anonymous(R), ignore).unwrap();
    space.unmap(0, PAGE, ignore).unwrap();
    space.map_at(0, PAGE, write, ignore).unwrap_err();
}

#[test]
fn the_limit_on_regions_is_on_what_there_is_afterwards() {
    let limited = |picture: &str| {
        let mut space = drawn(picture);
        let regions = Some(space.usage().regions);
        space.set_limits(Limits { regions, ..Limits::default() });
        space
    };
    // An edge can be cut, a middle cannot.
    limited("rrrr").unmap(0, PAGE, ignore).unwrap();
    let refused = limited("rrrr").unmap(PAGE, PAGE, ignore).unwrap_err();
    assert_eq!(refused, Error::RegionLimit { verb: Verb::Unmap, addr: PAGE, len: PAGE, limit: 1 });
    limited("rrrr").protect(PAGE, PAGE, RW, ignore).unwrap_err();
    limited("rrrr").protect(PAGE, PAGE, R, ignore).unwrap();
    limited("rrww").protect(PAGE, PAGE, RW, ignore).unwrap();
    // A map that merges adds nothing, even takes one away.
    limited("r.r.").map_at(PAGE, PAGE, Mapping::anonymous(R), ignore).unwrap();
    limited("r...").map_at(PAGE, PAGE, Mapping::anonymous(R), ignore).unwrap();
    limited("r...").map_at(PAGE, PAGE, Mapping::anonymous(RW), ignore).unwrap_err();
    limited("rwr.").map_at(PAGE, PAGE, Mapping::anonymous(RX), ignore).unwrap();
}

// ---- Text ----

#[test]
fn display_is_that_of_proc_pid_maps() {
    const RECORDED: &str = include_str!("data/maps.txt");
    let mut space: AddrSpace<u64> = AddrSpace::whole(PAGE).unwrap();
    // The names and devices are the embedder's: here, of the same text.
    let mut names = std::collections::BTreeMap::new();
    for line in RECORDED.lines() {
        let mut words = line.split_whitespace();
        let mut word = || words.next().unwrap_or_default();
        let (range, perms, offset, device, inode, name) =
            (word(), word(), word(), word(), word(), word());
        let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let (start, end) = range.split_once('-').map(|(a, b)| (hex(a), hex(b))).unwrap();
        let mut prot = Prot::empty();
        prot.set(Prot::READ, perms.contains('r'));
        prot.set(Prot::WRITE, perms.contains('w'));
        prot.set(Prot::EXEC, perms.contains('x'));
        let inode: u64 = inode.parse().unwrap();
        // What the kernel names itself is no anonymous memory that could merge.
        let mut mapping = match (inode, name) {
            (0, "") => Mapping::anonymous(prot),
            (0, _) => Mapping::tag(prot, start, 0),
            _ => Mapping::file(prot, inode, hex(offset)),
        };
        if perms.ends_with('s') {
            mapping = mapping.shared();
        }
        let (major, minor) = device.split_once(':').unwrap();
        let device =
            (u32::from_str_radix(major, 16).unwrap(), u32::from_str_radix(minor, 16).unwrap());
        names.insert(start, (device, inode, name));
        space.map_at(start, end - start, mapping, ignore).unwrap();
    }
    let maps = space.maps(|region| {
        let (device, inode, name) = names[&region.start()];
        addrspace::Label { device, inode, name: Some(name).filter(|name| !name.is_empty()) }
    });
    assert_eq!(maps.to_string(), RECORDED);

    // Without names: the identity of a file stands for its inode.
    let first = space.to_string().lines().next().unwrap().to_owned();
    assert_eq!(first, "56314ce52000-56314ce54000 r--p 00000000 00:00 247774 ");
}

#[test]
fn display_of_what_proc_has_not() {
    let mut space: AddrSpace = AddrSpace::whole(PAGE).unwrap();
    space.map_at(0, PAGE, Mapping::physical(RW, 0xfed0_0000), ignore).unwrap();
    let last = 0_u64.wrapping_sub(PAGE);
    space.map_at(last, PAGE, Mapping::tag(RX, 9, 0x77).shared(), ignore).unwrap();
    assert_eq!(
        space.to_string(),
        "00000000-00001000 rw-p fed00000 00:00 0                                   [physical]\n\
         fffffffffffff000-10000000000000000 r-xs 00000077 00:00 9                 [tag]\n"
    );
}

#[test]
fn the_picture_of_a_large_space_is_short() {
    let mut space: AddrSpace = AddrSpace::whole(PAGE).unwrap();
    space.map_at(0x1000, 0x3000, Mapping::anonymous(R), ignore).unwrap();
    space.map_at(0x10000, 0x20000, Mapping::anonymous(Prot::all()), ignore).unwrap();
    space.mark_original();
    assert_eq!(space.picture().to_string(), ".RRR............A{32}.{4503599627370448}");
}

#[test]
fn errors_say_what_was_wrong() {
    let mut space = space();
    let error = space.protect(0x10001, 5, R, ignore).unwrap_err();
    let text = "cannot protect 0x5 bytes at 0x10001: the address is not page-aligned";
    assert_eq!(error.to_string(), text);
    let wrapped: OpError<std::io::Error> = error.into();
    assert_eq!(wrapped.to_string(), text);
    assert!(std::error::Error::source(&wrapped).is_none());
}
