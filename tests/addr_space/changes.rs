//! Protection, flags and marks, and what updates tell.

use super::{PAGE, R, RW, RX, drawn, span, spans};
use addrspace::{Backing, Error, Gaps, Limits, MapFlags, Mapping, OpError, Remap, Update, ignore};

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
    let mut space = drawn("rw....");
    let mut shown = Vec::new();
    let mut show = |update: Update<'_>| {
        let copy = update;
        shown.push(format!("{copy:?}"));
        let left = copy.pieces().iter();
        assert_eq!(format!("{left:?}"), format!("{:?}", update.pieces()));
    };
    let (none, locked) = (MapFlags::empty(), MapFlags::LOCKED);
    space.protect(0, 2 * PAGE, R, &mut show).unwrap();
    space.set_flags(0, PAGE, locked, none, &mut show).unwrap();
    space.remap(0, 2 * PAGE, 2 * PAGE, Remap::to(2 * PAGE), &mut show).unwrap();
    space.map_at(3 * PAGE, PAGE, Mapping::anonymous(RW), &mut show).unwrap();
    space.unmap(2 * PAGE, 2 * PAGE, &mut show).unwrap();
    let begins = [
        "Protect { span: 0x0..=0x1fff, prot: Prot(READ), pieces: [Region {",
        "Flags { span: 0x0..=0xfff, set: MapFlags(LOCKED), clear: MapFlags(0x0), pieces: [Region {",
        "Move { from: 0x0..=0x1fff, to: 0x2000..=0x3fff, keep_source: false, pieces: [Region {",
        "Map { region: Region { span: 0x3000..=0x3fff",
        "Unmap { span: 0x2000..=0x3fff, pieces: [Region {",
    ];
    for (shown, begin) in shown.iter().zip(begins) {
        assert!(shown.starts_with(begin), "{shown}");
    }
    assert_eq!(shown.len(), begins.len());
}
