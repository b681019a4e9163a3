//! From one space to another, and limits.

use super::{PAGE, R, RW, RX, drawn, space, span, spans};
use addrspace::{
    AddrSpace, Error, Limits, MapFlags, Mapping, Placement, Prot, Update, Verb, ignore,
};

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

/// What is set is the same on both pages, and what is cleared is not; and the other way.
#[test]
fn flags_that_differ_in_part_are_two_updates() {
    let (locked, fork, dump) = (MapFlags::LOCKED, MapFlags::DONT_FORK, MapFlags::DONT_DUMP);
    let pages = |flags: [MapFlags; 2]| {
        let mut space = drawn("rr");
        for (addr, flags) in [0, PAGE].into_iter().zip(flags) {
            space.set_flags(addr, PAGE, flags, MapFlags::empty(), ignore).unwrap();
        }
        space
    };
    for (ours, theirs) in [
        ([locked, locked | dump], [fork, fork]),
        ([locked, locked], [fork, fork | dump]),
        ([locked, fork], [dump, dump]),
    ] {
        let (mut space, target) = (pages(ours), pages(theirs));
        let calls = spans(|handler| space.restore(&target, handler).unwrap());
        assert_eq!(calls, [span(0, 0xfff), span(0x1000, 0x1fff)], "{ours:?} to {theirs:?}");
        assert_eq!(space, target);
    }
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
fn a_restore_over_a_limit_names_the_whole_space() {
    let (mut space, target) = (drawn("........"), drawn("r.r....."));
    let (verb, addr, len) = (Verb::Restore, 0, 8 * PAGE);
    space.set_limits(Limits { bytes: Some(PAGE), ..Limits::default() });
    let refused = space.restore(&target, ignore);
    assert_eq!(refused, Err(Error::ByteLimit { verb, len, limit: PAGE }));
    space.set_limits(Limits { regions: Some(1), ..Limits::default() });
    let refused = space.restore(&target, ignore);
    assert_eq!(refused, Err(Error::RegionLimit { verb, addr, len, limit: 1 }));
    assert!(space.regions().next().is_none());
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

/// Two that touch and become alike are still two if their bytes do not follow each other.
#[test]
fn the_limit_on_regions_counts_what_a_change_does_not_join() {
    for second in [Mapping::file(RW, 3, 8 * PAGE), Mapping::file(RW, 4, 2 * PAGE)] {
        for (limit, fits) in [(3, false), (4, true)] {
            let mut space: AddrSpace = AddrSpace::new(0, 4 * PAGE, PAGE).unwrap();
            space.map_at(0, 2 * PAGE, Mapping::file(R, 3, 0), ignore).unwrap();
            space.map_at(2 * PAGE, 2 * PAGE, second, ignore).unwrap();
            space.set_limits(Limits { regions: Some(limit), ..Limits::default() });
            let (verb, addr, len) = (Verb::Protect, PAGE, 2 * PAGE);
            let changed = space.protect(addr, len, RX, ignore);
            let refused = Err(Error::RegionLimit { verb, addr, len, limit });
            assert_eq!(changed, if fits { Ok(()) } else { refused });
            assert_eq!(space.usage().regions, if fits { 4 } else { 2 });
        }
    }
}
