//! Numbers that are wrong, in spaces that no model can hold page by page: at both
//! ends of `u64`, between pages, past every end.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "for tests and fuzz targets"
)]

use addrspace::{
    AddrSpace, Gaps, Limits, MapFlags, Mapping, OpError, Placement, Prot, Remap, Update, ignore,
};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// A start, a length (0 for all 2^64 bytes) and the size of a page.
pub const GEOMETRIES: [(u64, u64, u64); 10] = [
    (0, u64::MAX, 1),
    (1, u64::MAX, 1),
    (5, u64::MAX - 20, 1),
    (7, 24, 1),
    (0, 0, 2),
    (0, 0, 0x1000),
    (0, 0, 1 << 63),
    (1 << 63, 1 << 63, 1 << 63),
    (0x10000, 0x10000, 0x1000),
    (0_u64.wrapping_sub(0x10000), 0x10000, 0x1000),
];

/// What the handler panics with.
struct Thrown;

/// Makes calls with numbers that are near something that matters, or are anything.
struct Guest<D> {
    /// Answers a number below the one it is given.
    dice: D,
    geometry: (u64, u64, u64),
}

impl<D: FnMut(u64) -> u64> Guest<D> {
    fn below(&mut self, limit: u64) -> u64 {
        (self.dice)(limit)
    }

    fn one_of(&mut self, choices: &[u64]) -> u64 {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn bits(&mut self) -> u64 {
        self.below(1 << 32) << 32 | self.below(1 << 32)
    }

    fn number(&mut self) -> u64 {
        if self.below(16) == 15 {
            return self.bits();
        }
        let (start, len, page) = self.geometry;
        let end = start.wrapping_add(len);
        let middle = start.wrapping_add(len / 2);
        let near = [0, 1, page, start, end, middle, len, 1 << 62, 1 << 63, u64::MAX];
        let near = self.one_of(&near);
        let pages = |n: u64| page.wrapping_mul(n);
        let off = self.one_of(&[0, 0, 0, 1, page / 2, page, pages(2), pages(5)]);
        if self.below(2) == 0 { near.wrapping_add(off) } else { near.wrapping_sub(off) }
    }

    fn placement(&mut self) -> Placement {
        let mut placement = match self.below(4) {
            0 => Placement::lowest(),
            1 => Placement::highest(),
            2 => Placement::nth(self.number()),
            _ => Placement::random(self.bits()),
        };
        if self.below(2) == 0 {
            placement = placement.near(self.number());
        }
        if self.below(3) == 0 {
            placement = placement.within(self.number(), self.number());
        }
        if self.below(3) == 0 {
            placement = placement.aligned_at(self.number(), self.number());
        }
        if self.below(3) == 0 {
            placement = placement.guarded(self.number(), self.number());
        }
        placement
    }

    fn mapping(&mut self) -> Mapping {
        let offset = self.number();
        let mapping = match self.below(4) {
            0 => Mapping::anonymous(Prot::READ),
            1 => Mapping::file(Prot::WRITE, 1, offset),
            2 => Mapping::physical(Prot::EXEC, offset),
            _ => Mapping::tag(Prot::empty(), 2, offset),
        };
        if self.below(2) == 0 { mapping.shared() } else { mapping }
    }

    fn remap(&mut self) -> Remap {
        let how = match self.below(3) {
            0 => Remap::in_place(),
            1 => Remap::may_move(self.placement()),
            _ => Remap::to(self.number()),
        };
        if self.below(4) == 0 { how.keep_source() } else { how }
    }

    fn space(&mut self) -> AddrSpace {
        let (start, len, page) = self.geometry;
        let space =
            if len == 0 { AddrSpace::whole(page) } else { AddrSpace::new(start, len, page) };
        let gaps = if self.below(3) == 0 { Gaps::Owned } else { Gaps::Foreign };
        space.unwrap().with_gaps(gaps)
    }

    /// Calls some verb; if it maps, answers the address and the length too.
    fn call(
        &mut self,
        space: &mut AddrSpace,
        saved: &AddrSpace,
        mut handler: impl FnMut(Update<'_>) -> Result<(), ()>,
    ) -> Result<Option<(u64, u64)>, OpError<()>> {
        let (addr, len, other) = (self.number(), self.number(), self.number());
        let (mapping, placement) = (self.mapping(), self.placement());
        let mapped = Some((addr, len));
        match self.below(12) {
            0 | 1 => {
                let addr = space.map_any(len, mapping, placement, handler)?;
                return Ok(Some((addr, len)));
            }
            2 | 3 => return space.map_at(addr, len, mapping, handler).map(|()| mapped),
            4 => return space.map_at_no_replace(addr, len, mapping, handler).map(|()| mapped),
            5 => space.unmap(addr, len, handler)?,
            6 => space.protect(addr, len, Prot::from_bits_retain(other as u32), handler)?,
            7 => {
                let flags = MapFlags::from_bits_retain(other as u32).difference(MapFlags::SHARED);
                space.set_flags(addr, len, flags, MapFlags::LOCKED, handler)?;
            }
            8 | 9 => {
                let how = self.remap();
                let to = space.remap(addr, len, other, how, &mut handler)?;
                // Of the same size it may have gaps, and shrunk in place too.
                let pages = |len: u64| len.div_ceil(space.page_size().bytes());
                let grown = pages(other) > pages(len);
                return Ok(Some((to, other)).filter(|_| grown));
            }
            10 => {
                if other & 1 == 0 {
                    space.mark_original();
                }
                space.unmap_non_original(handler)?;
            }
            _ => {
                space.restore(saved, handler)?;
                assert!(space == saved, "a restored space is equal");
            }
        }
        Ok(None)
    }
}

/// Makes so many calls on a space, each with a handler that answers anything, and
/// looks at the books after each. `dice` answers a number below the one it is given.
pub fn play(dice: impl FnMut(u64) -> u64, geometry: (u64, u64, u64), calls: usize) {
    let mut guest = Guest { dice, geometry };
    let mut space = guest.space();
    let mut saved = space.clone();
    for _ in 0..calls {
        let before = space.clone();
        let mut updates = 0;
        let (answer, made) = (guest.below(6), [guest.number(), guest.number()]);
        let result = catch_unwind(AssertUnwindSafe(|| {
            guest.call(&mut space, &saved, |update| {
                updates += 1;
                for addr in made {
                    update.made_to(addr);
                }
                match answer {
                    0 => Err(()),
                    1 => resume_unwind(Box::new(Thrown)),
                    _ => Ok(()),
                }
            })
        }));
        match result {
            Err(panic) => assert!(panic.is::<Thrown>(), "only the handler panics"),
            Ok(Err(OpError::Refused(error))) => {
                assert!(space == before && updates == 0, "{error} has changed something");
                assert!([12, 14, 17, 22, 75].contains(&error.errno()), "{error}");
            }
            Ok(Ok(Some((addr, len)))) => {
                assert!(space.is_fully_mapped(addr, len), "{len:#x} at {addr:#x} in\n{space}");
            }
            Ok(_) => {}
        }
        space.check();
        look_around(&mut guest, &space, &saved);
        if guest.below(8) == 0 {
            saved = space.clone();
        }
        if guest.below(12) == 0 {
            let limits =
                Limits { bytes: Some(guest.number()), regions: Some(guest.below(5) as usize) };
            space.set_limits(limits);
        }
    }
}

/// Calls all that only looks.
fn look_around<D: FnMut(u64) -> u64>(guest: &mut Guest<D>, space: &AddrSpace, saved: &AddrSpace) {
    let (addr, len, placement) = (guest.number(), guest.number(), guest.placement());
    assert!(!(space.to_string() + &space.picture().to_string() + &format!("{space:?}")).is_empty());
    let mapped = space.is_fully_mapped(addr, len);
    assert!(!mapped || len == 0 || space.query(addr).is_some());
    assert_eq!(space.regions_in(addr, len).count(), space.regions_in(addr, len).rev().count());
    assert_eq!(space.gaps_in(addr, len).count(), space.gaps_in(addr, len).rev().count());
    assert!(space.usage().mapped >= space.usage().shared);
    space.fork(|region| region.start() % 2 == 0).check();
    assert_eq!(
        space.diff(saved).unwrap().next().is_none(),
        space.diff(saved).unwrap().count() == 0
    );
    // There is a place exactly if the count says so, but perhaps no nth.
    let Ok(places) = space.placements(len, placement) else { return };
    let mut copy = space.clone();
    copy.set_limits(Limits::default());
    let last = copy.map_any(len, Mapping::anonymous(Prot::READ), placement, ignore);
    let nth = format!("{placement:?}").contains("Nth");
    assert!(
        last.is_ok() == (places > 0) || (nth && last.is_err()),
        "{last:?} of {places} places, {placement:?}"
    );
}
