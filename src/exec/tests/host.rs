//! The same for the calls alone, at addresses where nobody else maps anything.

use super::super::compare::SHOWN;
use super::super::seam::{Failure, Plan};
use super::super::sys::lose;
use super::super::view;
use super::exec_model::{PAGE, read_word, test_file, write_word};
use crate::{AddrSpace, Ground, Host, MapFlags, Mapping, OpError, Prot, Remap, Span, Update};
use std::os::fd::AsFd;

const RW: Prot = Prot::READ.union(Prot::WRITE);
const START: u64 = 0x3000_0000_0000;
const FAILURES: [Failure; 3] = [Failure::Refused, Failure::Lost, Failure::Half];

/// What is done, on pages from `START` on.
#[derive(Clone, Copy, Debug)]
enum Verb {
    Map(u64, u64),
    MapFile(u64, u64),
    LockFile(u64, u64),
    Unmap(u64, u64),
    Protect(u64, u64),
    Lock(u64, u64),
    Remap(u64, [u64; 2], Remap),
}

struct Guest {
    host: Host,
    space: AddrSpace,
    file: std::fs::File,
}

impl Guest {
    /// Pages 0 to 2 anonymous, 3 and 4 a shared file, 8 and 9 anonymous, 10 a private
    /// file, locked.
    fn new() -> Self {
        let all = Span::of(START, 32 * PAGE).unwrap();
        let space = AddrSpace::new(START, 32 * PAGE, PAGE).unwrap();
        let mut guest = Self { host: Host::new(Ground::of(all)), space, file: test_file(0x40) };
        for verb in [Verb::Map(0, 3), Verb::MapFile(3, 2), Verb::Map(8, 2), Verb::LockFile(10, 1)] {
            guest.make(verb).unwrap();
        }
        for page in [0, 1, 2, 8, 9] {
            assert!(write_word(START + page * PAGE, 0x70 + page));
        }
        guest
    }

    fn make(&mut self, verb: Verb) -> Result<(), OpError<crate::ExecError>> {
        let Self { host, space, file } = self;
        let fd = Some(file.as_fd());
        let at = |page: u64| START + page * PAGE;
        let apply = |update: Update<'_>| host.apply(update, fd);
        match verb {
            Verb::Map(page, pages) => {
                space.map_at(at(page), pages * PAGE, Mapping::anonymous(RW), apply)
            }
            Verb::MapFile(page, pages) => {
                let shared = Mapping::file(RW, 1, 0).shared();
                space.map_at(at(page), pages * PAGE, shared, apply)
            }
            Verb::LockFile(page, pages) => {
                let locked = Mapping::file(RW, 1, 0).with_flags(MapFlags::LOCKED);
                space.map_at(at(page), pages * PAGE, locked, apply)
            }
            Verb::Unmap(page, pages) => space.unmap(at(page), pages * PAGE, apply),
            Verb::Protect(page, pages) => {
                // With a bit that the kernel does not tell (`PROT_SEM`).
                let prot = Prot::READ | Prot::from_bits_retain(8);
                space.protect(at(page), pages * PAGE, prot, apply)
            }
            Verb::Lock(page, pages) => {
                let (locked, none) = (MapFlags::LOCKED, MapFlags::empty());
                space.set_flags(at(page), pages * PAGE, locked, none, apply)
            }
            Verb::Remap(page, [old, new], how) => {
                space.remap(at(page), old * PAGE, new * PAGE, how, apply).map(drop)
            }
        }
    }

    /// Does what is said to be the caller's after a refused move.
    fn put_right(&mut self, answer: &Result<(), OpError<crate::ExecError>>) {
        if let Err(OpError::Handler { source: crate::ExecError::Kernel { lost, .. }, .. }) = answer
        {
            for span in lost {
                self.space.unmap(span.start(), span.len().unwrap(), crate::ignore).unwrap();
            }
        }
        let pages = 0..32;
        let locked = |page: &u64| {
            let region = self.space.query(START + page * PAGE);
            region.is_some_and(|region| region.flags.contains(MapFlags::LOCKED))
        };
        for page in pages.filter(locked).collect::<Vec<_>>() {
            let (at, locked, none) = (START + page * PAGE, MapFlags::LOCKED, MapFlags::empty());
            self.space.set_flags(at, PAGE, none, locked, crate::ignore).unwrap();
            self.make(Verb::Lock(page, 1)).unwrap();
        }
    }

    /// Whether the books and the kernel have the same; `but` for what could not be given
    /// back, which stays without access.
    fn agree(&self, case: &str, but: bool) {
        let all = Span::of(START, 32 * PAGE).unwrap();
        let kernel = view::regions(all).unwrap();
        for page in 0..32 {
            let addr = START + page * PAGE;
            let there = kernel.iter().find(|region| region.span.contains(addr));
            let there = there.map(|region| (region.prot, region.shared));
            let booked = self.space.query(addr);
            let booked = booked.map(|region| (region.prot & SHOWN, region.is_shared()));
            let stays = but && booked.is_none() && there == Some((Prot::empty(), false));
            assert!(booked == there || stays, "{case}: page {page}: {booked:?} {there:?}");
        }
        let booked = (0..32_u64).map(|page| {
            let region = self.space.query(START + page * PAGE);
            region.is_some_and(|region| region.flags.contains(MapFlags::LOCKED))
        });
        for flags in view::flags(all).unwrap() {
            let page = (flags.span.start() - START) / PAGE;
            let locked = flags.flags.contains(MapFlags::LOCKED);
            let nth = booked.clone().nth(usize::try_from(page).unwrap());
            assert_eq!(Some(locked), nth, "{case}: page {page}");
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        Plan::default().install();
        self.make(Verb::Unmap(0, 32)).unwrap();
        // What could not be given back would be in the way of the next.
        lose(Span::of(START, 32 * PAGE).unwrap());
    }
}

#[test]
fn every_call_of_the_host_is_refused() {
    let to = |page: u64| Remap::to(START + page * PAGE);
    let mut refused = 0;
    for verb in [
        Verb::Map(0, 12),
        Verb::MapFile(1, 9),
        Verb::Unmap(0, 12),
        Verb::Unmap(1, 1),
        Verb::Protect(0, 5),
        Verb::Lock(0, 5),
        Verb::Remap(0, [3, 3], to(12)),
        Verb::Remap(0, [5, 5], to(12)),
        Verb::Remap(0, [3, 5], to(7)),
        Verb::Remap(3, [2, 4], to(12)),
        Verb::Remap(3, [2, 3], Remap::in_place()),
        Verb::Remap(3, [2, 2], to(12).keep_source()),
        Verb::Remap(0, [3, 3], to(12).keep_source()),
        Verb::Remap(3, [0, 2], to(20)),
        Verb::Remap(10, [1, 3], to(20)),
        Verb::Remap(10, [1, 3], to(7)),
    ] {
        let mut guest = Guest::new();
        Plan::default().install();
        guest.make(verb).unwrap();
        let calls = Plan::default().install().calls.len();
        drop(guest);
        for (passes, failure) in (0..calls).flat_map(|passes| FAILURES.map(|how| (passes, how))) {
            // What is put back is refused as well: only a move is put right in other ways.
            for times in 1..=1 + usize::from(matches!(verb, Verb::Remap(..))) {
                let case = format!("{verb:?}, call {passes}, {failure:?} {times} times");
                let mut guest = Guest::new();
                let fails = Some((times, failure));
                // Where nothing can be seen, nothing is acknowledged: of two, both are changes.
                Plan { passes, fails, sees: times > 1, ..Plan::default() }.install();
                let answer = guest.make(verb);
                Plan::default().install();
                refused += usize::from(answer.is_err());
                if answer.is_err() && matches!(verb, Verb::Remap(..)) {
                    guest.put_right(&answer);
                }
                guest.space.check();
                guest.agree(&case, times > 1);
                for page in [0, 1, 2, 8, 9] {
                    let addr = START + page * PAGE;
                    let kept = guest.space.query(addr).is_some_and(|region| !region.is_shared());
                    if answer.is_err() && kept {
                        // Its own word, or that of what has moved here.
                        let word = read_word(addr).unwrap();
                        assert!((0x70..0x80).contains(&word), "{case}: page {page}: {word}");
                    }
                }
            }
        }
    }
    assert!(refused > 60, "{refused} operations failed");
}
