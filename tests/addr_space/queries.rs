//! Looking into the books.

use super::{PAGE, R, RW, drawn, space, span};
use addrspace::{AddrSpace, Backing, Mapping, Region, ignore};

/// Where a file's bytes are seen: the span, and the offset of its first byte.
fn seen(pieces: &mut dyn Iterator<Item = Region<'_>>) -> Vec<(u64, u64, u64)> {
    pieces
        .map(|piece| match piece.backing {
            Backing::File { file: 7, offset } => (piece.start(), piece.last(), offset),
            other => panic!("not the file: {other:?}"),
        })
        .collect()
}

#[test]
fn bytes_of_a_file_are_found_wherever_they_are_mapped() {
    let mut space = space();
    // Its pages 2, 3, 4 at 0x11000; page 4 again at 0x18000; and what is not it.
    space.map_at(0x11000, 3 * PAGE, Mapping::file(R, 7, 2 * PAGE), ignore).unwrap();
    space.map_at(0x18000, PAGE, Mapping::file(RW, 7, 4 * PAGE), ignore).unwrap();
    space.map_at(0x1a000, 4 * PAGE, Mapping::file(R, 8, 2 * PAGE), ignore).unwrap();
    space.map_at(0x1e000, PAGE, Mapping::tag(R, 7, 2 * PAGE), ignore).unwrap();
    let (first, second) = ((0x11000, 0x13fff, 0x2000), (0x18000, 0x18fff, 0x4000));
    let table = [
        ((0, u64::MAX), vec![first, second]),
        ((0x1fff, 1), vec![]),
        ((0x1fff, 2), vec![(0x11000, 0x11000, 0x2000)]),
        ((0x2fff, 2), vec![(0x11fff, 0x12000, 0x2fff)]),
        ((0x3fff, 2), vec![(0x12fff, 0x13000, 0x3fff), (0x18000, 0x18000, 0x4000)]),
        ((0x4fff, 2), vec![(0x13fff, 0x13fff, 0x4fff), (0x18fff, 0x18fff, 0x4fff)]),
        ((0x5000, u64::MAX), vec![]),
        ((0x3000, 0), vec![]),
        ((u64::MAX, 1), vec![]),
    ];
    for ((offset, len), pieces) in table {
        assert_eq!(
            seen(&mut space.pieces_of(&7, offset, len)),
            pieces,
            "{len:#x} bytes at {offset:#x}"
        );
    }
    assert_eq!(space.pieces_of(&9, 0, u64::MAX).count(), 0);
    // What else the region says is said of the piece.
    let piece = space.pieces_of(&7, 0x4fff, 1).next_back().unwrap();
    assert_eq!((piece.prot, piece.span), (RW, span(0x18fff, 0x18fff)));
}

#[test]
fn a_region_has_both_ends_and_a_length() {
    let mut space: AddrSpace = AddrSpace::whole(PAGE).unwrap();
    let top = 0_u64.wrapping_sub(2 * PAGE);
    for addr in [PAGE, top] {
        space.map_at(addr, 2 * PAGE, Mapping::anonymous(R), ignore).unwrap();
    }
    let ends = |addr| {
        let region = space.query(addr).unwrap();
        (region.start(), region.last(), region.end(), region.len())
    };
    let len = Some(2 * PAGE);
    assert_eq!(ends(2 * PAGE), (PAGE, 3 * PAGE - 1, Some(3 * PAGE), len));
    assert_eq!(ends(u64::MAX), (top, u64::MAX, None, len));
}

#[test]
fn a_range_is_fully_mapped_if_none_of_its_pages_is_a_gap() {
    let space = drawn(".rw..x");
    let table = [
        ((0x1000, 0x2000), true),
        ((0x1800, 1), true),
        ((0x0fff, 2), false),
        ((0x1000, 0x2001), false),
        ((0x3000, 0x1000), false),
        ((0x2fff, 0x2002), false),
        ((0x5000, 0x1000), true),
        ((0x5000, u64::MAX), false),
        ((0x3000, 0), true),
    ];
    for ((addr, len), fully) in table {
        assert_eq!(space.is_fully_mapped(addr, len), fully, "{len:#x} bytes at {addr:#x}");
    }
}

#[test]
fn what_is_collected_starts_with_room_for_what_is_surely_there() {
    let space = drawn(".rw.");
    let mut regions = space.regions_in(0, 4 * PAGE);
    assert_eq!(regions.size_hint(), (2, Some(2)));
    assert_eq!(regions.by_ref().count(), 2);
    assert_eq!(regions.size_hint(), (0, Some(0)));
}
