//! Which neighbours are one region.

use super::{PAGE, R, RW, offset, space};
use addrspace::{AddrSpace, Error, MapFlags, Mapping, Prot, Verb, ignore};

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

    // Nor to the 2^64 bytes of a space that has them; to map so many is outside of any.
    let mut space: AddrSpace = AddrSpace::whole(PAGE).unwrap();
    let (file, len) = (Mapping::file(R, 3, 0), u64::MAX);
    space.map_at(0, PAGE, file, ignore).unwrap();
    let grown = space.remap(0, PAGE, len, addrspace::Remap::in_place(), ignore);
    assert_eq!(grown, Err(Error::OffsetOverflow { verb: Verb::Remap, len, offset: 0 }));
    let mapped = space.map_at(0, len, file, ignore);
    assert_eq!(mapped, Err(Error::OutOfBounds { verb: Verb::Map, addr: 0, len }));
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
