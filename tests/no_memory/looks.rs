//! What needs no memory at all: to look, to mark, to forget, to print.

use super::books::{PAGE, furnished};
use super::counting::Failing;
use addrspace::{AddrSpace, Gaps, Label, Limits, Placement, Update, ignore};
use std::fmt::{self, Write};

/// Counts what is written.
struct Sink(usize);

impl Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

#[test]
fn looking_needs_no_memory() {
    for regions in [1, 31, 500] {
        let space = furnished::<u32>(regions, Gaps::Owned);
        let other = furnished::<u32>(regions / 2, Gaps::Owned);
        let other: AddrSpace = AddrSpace::new(0, space.span().unwrap().len().unwrap(), PAGE)
            .map(|mut same| {
                for region in other.regions() {
                    same.map_at(region.start(), PAGE, region.mapping(), ignore).unwrap();
                }
                same
            })
            .unwrap();
        let failing = Failing::for_good_after(0);
        let all = space.span().unwrap().len().unwrap();
        let seen = [
            usize::from(space.query(0).is_some()),
            space.regions().count() + space.regions().rev().count(),
            space.regions_in(0, all).rev().count(),
            space.gaps().count() + space.gaps_in(0, all).rev().count(),
            space.pieces_of(&1, 0, all).count(),
            usize::from(!space.is_fully_mapped(0, all)),
            usize::try_from(space.placements(PAGE, Placement::lowest()).unwrap()).unwrap(),
            space
                .diff(&other)
                .unwrap()
                .map(|update: Update<'_>| update.pieces().iter().count())
                .sum(),
            usize::from(space != other),
            space.usage().regions,
        ];
        let mut sink = Sink(0);
        let label = |_: addrspace::Region<'_>| Label { device: (0, 0), inode: 0, name: Some("x") };
        write!(sink, "{space}{space:?}{}{}", space.maps(label), space.picture()).unwrap();
        assert!(!failing.end(), "something was allocated");
        assert!(seen.iter().all(|count| *count > 0) && sink.0 > 100, "{seen:?}");
    }
}

#[test]
fn marking_and_forgetting_need_no_memory() {
    for regions in [1, 31, 500] {
        let mut space = furnished::<u32>(regions, Gaps::Foreign);
        let failing = Failing::for_good_after(0);
        space.set_limits(Limits { regions: Some(1), ..Limits::default() });
        space.mark_original();
        let marked = space.regions().all(|region| region.original);
        space.reset();
        assert!(!failing.end(), "something was allocated");
        assert!(marked && space.regions().len() == 0);
        space.check();
    }
}

/// Also where the host refuses in the midst of a region, of which a part then stays.
#[test]
fn going_back_to_the_start_needs_no_memory() {
    for regions in [1, 31, 500] {
        for part in [0, PAGE / 2, PAGE, 3 * PAGE] {
            for nth in [0, regions / 3, regions] {
                let mut space = furnished::<u32>(regions, Gaps::Owned);
                let failing = Failing::for_good_after(0);
                let mut told = 0;
                let answer = space.unmap_non_original(|update| {
                    told += 1;
                    if told <= nth {
                        return Ok(());
                    }
                    update.made_to(update.span().start().saturating_add(part));
                    Err(())
                });
                assert!(!failing.end(), "something was allocated");
                assert!(answer.is_ok() || told == nth + 1);
                space.check();
            }
        }
    }
}
