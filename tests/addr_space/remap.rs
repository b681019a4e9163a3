//! The rules of mremap(2), as Linux has them since 6.17.

use super::{PAGE, R, RW, drawn, offset, span, spans};
use addrspace::{
    AddrSpace, Error, Limits, MapFlags, Mapping, Placement, Remap, Update, Verb, ignore,
};

const STAY: Remap = Remap::in_place();
const MOVE: Remap = Remap::may_move(Placement::lowest());

/// The handler of what reports nothing.
fn nothing(update: Update<'_>) {
    panic!("{update:?}");
}

fn errno(space: &mut AddrSpace, first: u64, old: u64, new: u64, how: Remap) -> i32 {
    let before = space.clone();
    let refused = space.remap(first * PAGE, old * PAGE, new * PAGE, how, nothing);
    assert_eq!(*space, before);
    refused.unwrap_err().errno()
}

#[test]
fn the_same_size_in_place_is_nothing_even_over_gaps() {
    let mut space = drawn("r.w");
    assert_eq!(space.remap(0, 3 * PAGE, 3 * PAGE, STAY, nothing), Ok(0));
    assert_eq!(space.remap(0, 3 * PAGE, 3 * PAGE, MOVE, nothing), Ok(0));
}

#[test]
fn shrinking_unmaps_the_tail_over_gaps_and_mappings() {
    let mut space = drawn("rr.wx");
    let calls = spans(|handler| assert_eq!(space.remap(0, 5 * PAGE, 1, STAY, handler), Ok(0)));
    assert_eq!(calls, [span(0x1000, 0x1fff), span(0x3000, 0x4fff)]);
    assert_eq!(space.picture().to_string(), "r....");
}

#[test]
fn growing_in_place_maps_the_extension_with_the_backing_continued() {
    let mut space: AddrSpace = AddrSpace::new(0, 8 * PAGE, PAGE).unwrap();
    space.map_at(0, 2 * PAGE, Mapping::file(R, 3, PAGE), ignore).unwrap();
    space
        .remap(0, 2 * PAGE, 4 * PAGE, MOVE, |update| {
            let Update::Map { region, replaced } = update else { panic!("{update:?}") };
            assert_eq!((region.span, replaced.is_empty()), (span(0x2000, 0x3fff), true));
            assert_eq!(offset(Some(region)), 0x3000);
        })
        .unwrap();
    assert_eq!(space.usage().regions, 1);
}

#[test]
fn what_cannot_grow_in_place_moves_if_it_may() {
    // The next page is taken; the old range ends inside of the mapping.
    for (picture, len, after) in [("rw....", 1, ".wrr.."), ("rrr...", 1, "??????")] {
        let mut space = drawn(picture);
        assert_eq!(errno(&mut space, 0, len, 2, STAY), 12);
        if after.contains('?') {
            let moved = space.remap(0, len * PAGE, 2 * PAGE, MOVE, ignore);
            assert_eq!((moved, space.picture().to_string().as_str()), (Ok(3 * PAGE), ".rrrr."));
        } else {
            space.remap(0, len * PAGE, 2 * PAGE, MOVE, ignore).unwrap();
            assert_eq!(space.picture().to_string(), after);
        }
    }
}

#[test]
fn a_move_keeps_the_offset_and_loses_the_mark() {
    let mut space: AddrSpace = AddrSpace::new(0, 16 * PAGE, PAGE).unwrap();
    space.map_at(0, 4 * PAGE, Mapping::file(R, 3, 0x8000), ignore).unwrap();
    space.mark_original();
    space
        .remap(PAGE, 2 * PAGE, 3 * PAGE, Remap::to(0x9000), |update| {
            let Update::Move { from, to, keep_source, pieces, replaced } = update else {
                panic!("{update:?}")
            };
            assert_eq!((from, to), (span(0x1000, 0x2fff), span(0x9000, 0xbfff)));
            assert_eq!((keep_source, pieces.iter().count(), replaced.is_empty()), (false, 1, true));
        })
        .unwrap();
    assert_eq!(space.picture().to_string(), "R..R.....rrr....");
    assert_eq!(offset(space.query(0x9000)), 0x9000);
}

#[test]
fn a_pure_move_takes_several_mappings_and_leaves_what_is_under_gaps() {
    let mut space = drawn("r.w..xxx");
    let calls = spans(|handler| {
        space.remap(0, 3 * PAGE, 3 * PAGE, Remap::to(5 * PAGE), handler).unwrap();
    });
    assert_eq!(calls, [span(0, 0xfff), span(0x2000, 0x2fff)]);
    assert_eq!(space.picture().to_string(), ".....rxw");
    // Not so where the size changes or the place is free to choose.
    let mut space = drawn("rw......");
    assert_eq!(errno(&mut space, 0, 2, 3, Remap::to(4 * PAGE)), 14);
    assert_eq!(errno(&mut space, 0, 2, 2, MOVE.keep_source()), 14);
    assert_eq!(errno(&mut space, 0, 2, 3, MOVE), 14);
}

#[test]
fn the_mark_does_not_make_two_mappings() {
    let mut space = drawn("Rr......");
    space.remap(0, 2 * PAGE, 3 * PAGE, STAY, ignore).unwrap();
    assert_eq!(space.picture().to_string(), "Rrr.....");
}

#[test]
fn shrinking_and_moving_shrinks_first() {
    let mut space = drawn("rrr.....");
    let calls = spans(|handler| {
        space.remap(0, 3 * PAGE, PAGE, Remap::to(5 * PAGE), handler).unwrap();
    });
    assert_eq!(calls, [span(0x1000, 0x2fff), span(0, 0xfff)]);
    assert_eq!(space.picture().to_string(), ".....r..");
}

#[test]
fn a_source_can_be_kept_at_the_same_size_only() {
    let mut space = drawn("rr......");
    assert_eq!(errno(&mut space, 0, 2, 3, MOVE.keep_source()), 22);
    assert_eq!(errno(&mut space, 0, 2, 2, STAY.keep_source()), 22);
    assert_eq!(space.remap(0, 2 * PAGE, 2 * PAGE, MOVE.keep_source(), ignore), Ok(0x2000));
    assert_eq!(space.picture().to_string(), "rrrr....");
}

#[test]
fn an_old_length_of_zero_duplicates_what_is_shared() {
    let mut space: AddrSpace = AddrSpace::new(0, 8 * PAGE, PAGE).unwrap();
    space.map_at(0, 2 * PAGE, Mapping::file(RW, 3, 0).shared(), ignore).unwrap();
    space.map_at(0x3000, PAGE, Mapping::file(RW, 3, 0), ignore).unwrap();
    assert_eq!(errno(&mut space, 3, 0, 1, MOVE), 22);
    assert_eq!(errno(&mut space, 1, 0, 1, STAY), 12);
    assert_eq!(errno(&mut space, 2, 0, 1, MOVE), 14);
    assert_eq!(space.remap(PAGE, 0, 3 * PAGE, Remap::to(0x5000), ignore), Ok(0x5000));
    assert_eq!(offset(space.query(0x5000)), PAGE);
    assert!(space.query(0x7fff).unwrap().flags.contains(MapFlags::SHARED));
    assert_eq!(space.picture().to_string(), "ww.w.www");
}

#[test]
fn a_duplicate_goes_where_there_is_room() {
    let mut space = drawn("rr.r....");
    space.map_at(0, PAGE, Mapping::anonymous(R).shared(), ignore).unwrap();
    let above = Remap::may_move(Placement::highest());
    assert_eq!(space.remap(0, 0, PAGE, MOVE, ignore), Ok(2 * PAGE));
    assert_eq!(space.remap(0, 0, 2 * PAGE, above, ignore), Ok(6 * PAGE));
    assert_eq!(space.picture().to_string(), "rrrr..rr");
    // In place is nowhere.
    let refused = space.remap(0, 0, PAGE, STAY, nothing);
    assert_eq!(refused, Err(Error::NoRoom { verb: Verb::Remap, len: PAGE }));
}

/// What is asked for is what is refused, not what there was before.
#[test]
fn errors_of_growth_have_the_new_length() {
    let mut space = drawn("r.rr....");
    let no_room = |len| Err(Error::NoRoom { verb: Verb::Remap, len });
    assert_eq!(space.remap(0, PAGE, 3 * PAGE, STAY, nothing), no_room(3 * PAGE));
    assert_eq!(space.remap(0, PAGE, 5 * PAGE, MOVE, nothing), no_room(5 * PAGE));
    space.set_limits(Limits { bytes: Some(3 * PAGE), ..Limits::default() });
    let refused = space.remap(0, PAGE, 2 * PAGE, STAY, nothing);
    let limit = Error::ByteLimit { verb: Verb::Remap, len: 2 * PAGE, limit: 3 * PAGE };
    assert_eq!(refused, Err(limit));
}

/// A file that would grow up to 2^64 does so neither where it is nor elsewhere.
#[test]
fn no_move_makes_a_file_longer_than_files_are() {
    let mut space: AddrSpace = AddrSpace::new(0, 8 * PAGE, PAGE).unwrap();
    let last = 0_u64.wrapping_sub(3 * PAGE);
    space.map_at(0, 2 * PAGE, Mapping::file(R, 3, last), ignore).unwrap();
    for how in [STAY, MOVE, Remap::to(4 * PAGE)] {
        let refused = space.remap(0, 2 * PAGE, 3 * PAGE, how, nothing).unwrap_err();
        assert!(
            matches!(refused, Error::OffsetOverflow { len, .. } if len == 3 * PAGE),
            "{refused}"
        );
    }
    assert_eq!(space.remap(0, 2 * PAGE, 2 * PAGE, Remap::to(4 * PAGE), ignore), Ok(4 * PAGE));
}

#[test]
fn a_remap_that_cannot_be_has_linuxs_errno() {
    let mut space = drawn("rr..w...");
    let to = |page| Remap::to(page * PAGE);
    let refused = space.remap(1, PAGE, PAGE, STAY, ignore).unwrap_err();
    assert_eq!(refused, Error::Unaligned { verb: Verb::Remap, addr: 1, len: PAGE });
    assert_eq!(errno(&mut space, 0, 1, 0, STAY), 22);
    assert_eq!(errno(&mut space, 0, 1, 9, MOVE), 22); // larger than the space
    assert_eq!(errno(&mut space, 0, 2, 2, to(1)), 22); // onto itself
    assert_eq!(errno(&mut space, 0, 2, 2, to(7)), 22); // out of the space
    assert_eq!(errno(&mut space, 2, 1, 1, to(7)), 14); // nothing there
    assert_eq!(errno(&mut space, 8, 1, 1, STAY), 14);
    assert_eq!(errno(&mut space, 0, 3, 4, MOVE), 14); // a gap
    assert_eq!(errno(&mut space, 0, 2, 6, MOVE), 12); // no room
}

#[test]
fn a_move_counts_against_the_limits_what_it_adds() {
    let mut space = drawn("rr..w...");
    space.set_limits(Limits { bytes: Some(3 * PAGE), regions: Some(2) });
    assert_eq!(errno(&mut space, 0, 2, 3, STAY), 12);
    assert_eq!(errno(&mut space, 0, 2, 2, MOVE.keep_source()), 12);
    assert_eq!(errno(&mut space, 0, 1, 1, Remap::to(6 * PAGE)), 12); // three regions
    space.remap(0, 2 * PAGE, 2 * PAGE, Remap::to(6 * PAGE), ignore).unwrap();
    // What it replaces goes.
    space.remap(6 * PAGE, 2 * PAGE, 3 * PAGE, Remap::to(3 * PAGE), ignore).unwrap();
    assert_eq!(space.picture().to_string(), "...rrr..");
}

/// Every move on a few spaces, with a limit that is just met and one that is not.
#[test]
fn a_move_counts_the_regions_that_it_leaves() {
    let mut refused = 0;
    for picture in ["rrwrr.rr", "r.rw.wrr", "wrrr..rw", "rwrwrw..", ".rrrrrr.", "r.w.r.w."] {
        let space = drawn(picture);
        let (pages, before) = (picture.len() as u64, space.usage().regions);
        let range = |len| (0..pages).flat_map(move |a| (0..pages).map(move |b| (a, b, len)));
        for (from, to, len) in (1..4).flat_map(range) {
            for (new, keep) in [(len, false), (len, true), (1, false)] {
                let how = Remap::to(to * PAGE);
                let how = if keep { how.keep_source() } else { how };
                let moves = |limit| {
                    let mut space = space.clone();
                    space.set_limits(Limits { regions: limit, ..Limits::default() });
                    let moved = space.remap(from * PAGE, len * PAGE, new * PAGE, how, ignore);
                    moved.map(|_| space.usage().regions)
                };
                let Ok(after) = moves(None) else { continue };
                let what = format!("{picture}: {len} pages at {from} to {new} at {to}, {keep}");
                assert_eq!(moves(Some(after)), Ok(after), "{what}");
                let less = moves(Some(after.saturating_sub(1)));
                assert_eq!(less.is_err(), after > before, "{what}: {before} and then {after}");
                refused += u32::from(less.is_err());
            }
        }
    }
    assert!(refused > 100, "{refused} were refused");
}

#[test]
fn a_duplicate_may_not_overwrite_the_page_it_is_made_of() {
    // To which page, how many, and what is there then: a letter for each offset.
    let table = [
        (3, 3, None),
        (2, 3, None),
        (4, 1, None),
        (4, 4, None),
        (5, 1, Some("....aac.........")),
        (5, 2, Some("....aab.........")),
        (3, 1, Some("...aabc.........")),
        (8, 3, Some("....abc.abc.....")),
    ];
    for (to, len, after) in table {
        let mut space: AddrSpace = AddrSpace::new(0, 16 * PAGE, PAGE).unwrap();
        space.map_at(4 * PAGE, 3 * PAGE, Mapping::file(R, 3, 0).shared(), ignore).unwrap();
        let Some(after) = after else {
            assert_eq!(errno(&mut space, 4, 0, len, Remap::to(to * PAGE)), 22, "{len} to {to}");
            continue;
        };
        space.remap(4 * PAGE, 0, len * PAGE, Remap::to(to * PAGE), ignore).unwrap();
        let letter = |page: u64| match space.regions_in(page * PAGE, 1).next() {
            Some(piece) => char::from(b'a' + (offset(Some(piece)) / PAGE) as u8),
            None => '.',
        };
        assert_eq!((0..16).map(letter).collect::<String>(), after, "{len} to {to}");
    }
}

#[test]
fn a_duplicate_into_its_own_place_is_refused_before_its_source_is_looked_at() {
    let mut space = drawn("rr......");
    let to = |page| Remap::to(page * PAGE);
    // Of nothing, of what is private, and of nothing right at the new place.
    assert_eq!(errno(&mut space, 4, 0, 4, to(3)), 22);
    assert_eq!(errno(&mut space, 1, 0, 3, to(0)), 22);
    assert_eq!(errno(&mut space, 4, 0, 4, to(4)), 14);
}

#[test]
fn a_refused_move_goes_on_from_where_it_stopped() {
    let mut space: AddrSpace = AddrSpace::new(0, 16 * PAGE, PAGE).unwrap();
    space.map_at(0, 3 * PAGE, Mapping::file(R, 3, 0), ignore).unwrap();
    let mut unrefused = space.clone();
    unrefused.remap(0, 3 * PAGE, 3 * PAGE, Remap::to(8 * PAGE), ignore).unwrap();
    let refused = space.remap(0, 3 * PAGE, 3 * PAGE, Remap::to(8 * PAGE), |update| {
        update.made_to(PAGE);
        Err("enough")
    });
    let at = PAGE;
    assert_eq!(refused, Err(addrspace::OpError::Handler { at, source: "enough" }));
    // The same call finds that the first page has left.
    assert_eq!(errno(&mut space, 0, 3, 3, Remap::to(8 * PAGE)), 14);
    space.remap(at, 3 * PAGE - at, 3 * PAGE - at, Remap::to(8 * PAGE + at), ignore).unwrap();
    assert!(space == unrefused);
}
