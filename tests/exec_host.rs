//! The calls alone, for books without a reservation, in a part of the address space
//! where nobody else maps anything unless a test does.
#![cfg(all(feature = "exec", target_os = "linux"))]
#![allow(
    unsafe_code,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::multiple_unsafe_ops_per_block,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test of system calls: a panic is a failure"
)]

mod exec_model;

use addrspace::{
    AddrSpace, Error, ExecError, Gaps, Ground, Host, Limits, MapFlags, Mapping, OpError, Placement,
    Prot, Remap, Reservation, Span, Syscall, Update, ignore,
};
use exec_model::{PAGE, read_word, test_file, write_word};
use proptest::prelude::*;
use std::fs::{self, File};
use std::os::fd::AsFd;

const RW: Prot = Prot::READ.union(Prot::WRITE);

/// An address of its own for each test, far below where the kernel maps.
fn area(nth: u64) -> u64 {
    0x2000_0000_0000 + nth * 0x1_0000_0000
}

/// Empty books of 64 pages, and the calls for them.
fn host(start: u64) -> (Host, AddrSpace) {
    // SAFETY: the books are empty, and what they get is mapped by the host.
    let host = Host::new(unsafe { Ground::anywhere() });
    (host, AddrSpace::new(start, 64 * PAGE, PAGE).unwrap())
}

/// Somebody else's memory, without access; it goes when the value does.
fn somebody(start: u64, pages: u64) -> Reservation {
    Reservation::options().at(start).reserve(pages * PAGE).unwrap()
}

/// What the kernel has there: a letter a page.
fn picture(start: u64, pages: u64) -> String {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let page = |addr: u64| {
        let inside = |line: &&str| {
            let (first, last) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let hex = |digits| u64::from_str_radix(digits, 16).unwrap();
            hex(first) <= addr && addr < hex(last)
        };
        match maps.lines().find(inside).map(|line| &line[line.find(' ').unwrap() + 1..][..4]) {
            None => '.',
            Some("---p") => '-',
            Some("r--p") => 'r',
            Some("rw-p") => 'w',
            Some("rw-s") => 's',
            Some(_) => '?',
        }
    };
    (0..pages).map(|nth| page(start + nth * PAGE)).collect()
}

fn taken(error: OpError<ExecError>) -> Option<Span> {
    match error {
        OpError::Handler { source: ExecError::Taken { taken, .. }, .. } => taken,
        other => panic!("{other}"),
    }
}

#[test]
fn it_maps_over_its_own_and_never_over_others() {
    let start = area(1);
    let (mut host, mut space) = host(start);
    let at = |page: u64| start + page * PAGE;
    for page in [1, 4] {
        space.map_at(at(page), PAGE, Mapping::anonymous(RW), |u| host.apply(u, None)).unwrap();
        assert!(write_word(at(page), 7));
    }
    let other = somebody(at(6), 2);
    let before = space.clone();
    // Gaps at 0, 2 and 5 are free, 6 is not.
    let refused =
        space.map_at(at(0), 8 * PAGE, Mapping::anonymous(Prot::READ), |u| host.apply(u, None));
    assert_eq!(taken(refused.unwrap_err()), Some(other.span()));
    assert_eq!(picture(start, 10), ".w..w.--..", "what was claimed is given back");
    assert_eq!(space, before);
    assert_eq!(read_word(at(4)), Some(7));
    // Up to it, all is replaced by one mapping.
    space.map_at(at(0), 6 * PAGE, Mapping::anonymous(Prot::READ), |u| host.apply(u, None)).unwrap();
    assert_eq!(picture(start, 10), "rrrrrr--..");
    assert_eq!(read_word(at(4)), Some(0));
    space.unmap(at(0), 64 * PAGE, |u| host.apply(u, None)).unwrap();
    assert_eq!(picture(start, 10), "......--..");
}

#[test]
fn a_place_that_is_taken_is_tried_around() {
    let start = area(2);
    let (mut host, mut space) = host(start);
    let at = |page: u64| start + page * PAGE;
    let others = [(1, 2), (5, 1), (60, 4)].map(|(page, pages)| somebody(at(page), pages));
    let rw = Mapping::anonymous(RW);
    let map = |host: &mut Host, space: &mut AddrSpace, pages: u64, placement| {
        host.map_any(space, pages * PAGE, &rw, placement, None)
    };
    let lowest = Placement::lowest();
    assert_eq!(map(&mut host, &mut space, 1, lowest), Ok(at(0)));
    assert_eq!(map(&mut host, &mut space, 3, lowest), Ok(at(6)), "after two that are taken");
    assert_eq!(map(&mut host, &mut space, 2, lowest), Ok(at(3)));
    assert_eq!(map(&mut host, &mut space, 2, Placement::highest()), Ok(at(58)));
    let near = lowest.near(at(61));
    assert_eq!(map(&mut host, &mut space, 1, near), Ok(at(9)));
    // The books have what was mapped, and nothing of what is somebody else's.
    assert_eq!(space.usage().mapped, 9 * PAGE);
    let full = map(&mut host, &mut space, 60, lowest).unwrap_err();
    assert!(matches!(full, OpError::Refused(Error::NoRoom { .. })), "{full}");
    // So it does without the helper: the error says what is taken.
    let refused = space.map_any(2 * PAGE, rw, lowest.near(at(60)), |u| host.apply(u, None));
    assert_eq!(taken(refused.unwrap_err()), Some(others[2].span()));
    let elsewhere = lowest.within(at(10), 20 * PAGE);
    space.map_any(2 * PAGE, rw, elsewhere, |u| host.apply(u, None)).unwrap();
    space.unmap(start, 64 * PAGE, |u| host.apply(u, None)).unwrap();
    assert_eq!(picture(start, 64).matches('-').count(), 7);
    assert_eq!(picture(start, 64).matches('.').count(), 57);
}

#[test]
fn what_lies_in_a_gap_is_left_alone_also_if_gaps_are_owned() {
    let start = area(3);
    let (mut host, space) = host(start);
    let mut space = space.with_gaps(Gaps::Owned);
    let at = |page: u64| start + page * PAGE;
    for page in [0, 1, 5] {
        space.map_at(at(page), PAGE, Mapping::anonymous(RW), |u| host.apply(u, None)).unwrap();
    }
    let _other = somebody(at(3), 1);
    space.unmap(start, 64 * PAGE, |u| host.apply(u, None)).unwrap();
    assert_eq!(picture(start, 8), "...-....");
}

#[test]
fn an_address_that_the_kernel_chose_is_recorded() {
    let got = Reservation::new(4 * PAGE).unwrap();
    let span = got.span();
    // SAFETY: the books have what the reservation owns, which is kept.
    let mut host = Host::new(unsafe { Ground::anywhere() });
    let mut space: AddrSpace = AddrSpace::whole(PAGE).unwrap();
    let none = Mapping::anonymous(Prot::empty());
    space.map_at(span.start(), 4 * PAGE, none, ignore).unwrap();
    space.protect(span.start() + PAGE, PAGE, RW, |u| host.apply(u, None)).unwrap();
    assert_eq!(picture(span.start(), 4), "-w--");
}

#[test]
fn what_a_refused_call_has_done_is_acknowledged() {
    let start = area(4);
    let (mut host, mut space) = host(start);
    let at = |page: u64| start + page * PAGE;
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    let read = Mapping::anonymous(Prot::READ);
    space.map_at(at(0), 2 * PAGE, read, |u| host.apply(u, None)).unwrap();
    let shared = Mapping::file(Prot::READ, 1, 0).shared();
    let no_file = space.map_at(at(2), PAGE, shared, |u| host.apply(u, None)).unwrap_err();
    assert!(matches!(no_file, OpError::Handler { source: ExecError::NoFile { .. }, .. }));
    let fd = Some(file.as_fd());
    space.map_at(at(2), 2 * PAGE, shared, |u| host.apply(u, fd)).unwrap();
    space.map_at(at(4), PAGE, read, |u| host.apply(u, None)).unwrap();
    let refused = space.protect(at(0), 5 * PAGE, RW, |u| host.apply(u, None)).unwrap_err();
    let OpError::Handler { at: stopped, source } = refused else { panic!() };
    assert_eq!(stopped, at(2));
    assert!(matches!(
        source,
        ExecError::Kernel { call: Syscall::Mprotect, errno: libc::EACCES, .. }
    ));
    assert_eq!(space.query(at(1)).unwrap().prot, RW);
    assert_eq!(space.query(at(2)).unwrap().prot, Prot::READ);
    // A tag is nothing that could be mapped, and what is refused claims nothing.
    let tag = space.map_at(at(20), PAGE, Mapping::tag(RW, 1, 2), |u| host.apply(u, None));
    assert!(matches!(tag, Err(OpError::Handler { source: ExecError::Backing { .. }, .. })));
    let denied =
        space.map_at(at(20), PAGE, Mapping::file(RW, 1, 0).shared(), |u| host.apply(u, fd));
    assert!(matches!(denied, Err(OpError::Handler { source: ExecError::Kernel { .. }, .. })));
    assert_eq!(picture(at(20), 1), ".");
    space.unmap(start, 64 * PAGE, |u| host.apply(u, None)).unwrap();
}

#[test]
fn it_grows_moves_and_locks() {
    let start = area(5);
    let (mut host, mut space) = host(start);
    let at = |page: u64| start + page * PAGE;
    let file = test_file(0x500);
    space.map_at(at(0), 2 * PAGE, Mapping::anonymous(RW), |u| host.apply(u, None)).unwrap();
    let shared = Mapping::file(RW, 1, PAGE).shared();
    space.map_at(at(10), 2 * PAGE, shared, |u| host.apply(u, Some(file.as_fd()))).unwrap();
    assert!(write_word(at(0), 1) && write_word(at(1), 2));
    let other = somebody(at(4), 1);

    // In place as far as the gap is free, and over a free gap at the new place.
    space.remap(at(0), 2 * PAGE, 4 * PAGE, Remap::in_place(), |u| host.apply(u, None)).unwrap();
    let blocked =
        space.remap(at(0), 4 * PAGE, 5 * PAGE, Remap::in_place(), |u| host.apply(u, None));
    assert_eq!(taken(blocked.unwrap_err()), Some(other.span()));
    space.remap(at(0), 4 * PAGE, 5 * PAGE, Remap::to(at(20)), |u| host.apply(u, None)).unwrap();
    assert_eq!(picture(start, 26), "....-.....ss........wwwww.");
    assert_eq!([20, 21, 22].map(|page| read_word(at(page))), [Some(1), Some(2), Some(0)]);
    // What grows in place is a mapping of its own to the host, and needs the file.
    let fd = Some(file.as_fd());
    space.remap(at(10), 2 * PAGE, 4 * PAGE, Remap::in_place(), |u| host.apply(u, fd)).unwrap();
    assert_eq!(read_word(at(13)), Some(0x504));
    // A second view of shared memory, by either way to ask for it.
    space.remap(at(11), 0, 2 * PAGE, Remap::to(at(30)), |u| host.apply(u, None)).unwrap();
    let keep = Remap::to(at(40)).keep_source();
    space.remap(at(10), 4 * PAGE, 4 * PAGE, keep, |u| host.apply(u, None)).unwrap();
    assert!(write_word(at(12), 9));
    assert_eq!([31, 42].map(|page| read_word(at(page))), [Some(9), Some(9)]);
    // Onto somebody else, nothing moves.
    let refused =
        space.remap(at(20), 5 * PAGE, 5 * PAGE, Remap::to(at(2)), |u| host.apply(u, None));
    assert_eq!(taken(refused.unwrap_err()), Some(other.span()));
    assert_eq!(picture(start, 5), "....-");

    let (locked, none) = (MapFlags::LOCKED, MapFlags::empty());
    space.set_flags(at(20), 2 * PAGE, locked, none, |u| host.apply(u, None)).unwrap();
    space.set_flags(at(20), 2 * PAGE, none, locked, |u| host.apply(u, None)).unwrap();
    let wipe = MapFlags::WIPE_ON_FORK;
    let refused = space.set_flags(at(10), PAGE, wipe, none, |u| host.apply(u, None)).unwrap_err();
    assert!(matches!(refused, OpError::Handler { source: ExecError::Kernel { .. }, .. }));
    assert_eq!(space.query(at(10)).unwrap().flags, MapFlags::SHARED);
    space.unmap(start, 64 * PAGE, |u| host.apply(u, None)).unwrap();
    assert_eq!(picture(start, 64).replace('.', ""), "-");
}

#[test]
fn what_it_cannot_do_right_it_refuses() {
    let start = area(6);
    let (mut host, mut space) = host(start);
    let at = |page: u64| start + page * PAGE;
    let other = somebody(at(1), 1);
    let refusal = |answer: Result<(), OpError<ExecError>>| match answer.unwrap_err() {
        OpError::Handler { source, .. } => source,
        OpError::Refused(error) => panic!("{error}"),
    };
    // SAFETY: the name is a string with a zero at its end.
    let fd = unsafe { libc::memfd_create(c"large".as_ptr(), libc::MFD_HUGETLB) };
    assert!(fd >= 0, "CANNOT RUN HERE: no large pages: {}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is new and nobody else's.
    let large = unsafe { <File as std::os::fd::FromRawFd>::from_raw_fd(fd) };
    let memory = Mapping::file(RW, 1, 0).shared().with_flags(MapFlags::NO_RESERVE);
    let part = space.map_at(at(0), PAGE, memory, |u| host.apply(u, Some(large.as_fd())));
    assert!(matches!(refusal(part), ExecError::LargePages { .. }));
    // Shared anonymous memory would be two objects and one region in the books.
    let nameless = Mapping::anonymous(RW).shared();
    let nameless = space.map_at(at(8), PAGE, nameless, |u| host.apply(u, None));
    assert!(matches!(refusal(nameless), ExecError::Backing { .. }));
    let locked = Mapping::anonymous(RW).with_flags(MapFlags::LOCKED);
    space.map_at(at(8), PAGE, locked, |u| host.apply(u, None)).unwrap();
    let keep = Remap::to(at(20)).keep_source();
    let kept = space.remap(at(8), PAGE, PAGE, keep, |u| host.apply(u, None)).map(drop);
    assert!(matches!(refusal(kept), ExecError::Flags { flags: MapFlags::LOCKED }));
    assert_eq!(picture(start, 22), ".-......w.............");
    space.unmap(start, 64 * PAGE, |u| host.apply(u, None)).unwrap();
    assert_eq!(other.span().start(), at(1));

    let mut small: AddrSpace = AddrSpace::new(start, 64 * PAGE, 512).unwrap();
    let part = small.map_at(at(30), 512, Mapping::anonymous(RW), |u| host.apply(u, None));
    assert!(matches!(refusal(part), ExecError::Page { page: 4096, .. }));
    small.map_at(at(30), PAGE, Mapping::anonymous(RW), |u| host.apply(u, None)).unwrap();
    let part = small.unmap(at(30), 512, |u| host.apply(u, None));
    assert!(matches!(refusal(part), ExecError::Page { .. }));
    let aside = Remap::to(at(40) + 512);
    let part = small.remap(at(30), PAGE, PAGE, aside, |u| host.apply(u, None)).map(drop);
    assert!(matches!(refusal(part), ExecError::Page { span, .. } if span.start() == at(40) + 512));
    small.unmap(at(30), PAGE, |u| host.apply(u, None)).unwrap();
}

/// What the kernel does not know is not booked, also where the rest of it is there already.
#[test]
fn an_unknown_protection_changes_nothing() {
    let start = area(11);
    let (mut host, mut space) = host(start);
    space.map_at(start, 4 * PAGE, Mapping::anonymous(RW), |u| host.apply(u, None)).unwrap();
    let before = space.clone();
    let odd = RW | Prot::from_bits_retain(0x4000);
    let refused = space.protect(start, 4 * PAGE, odd, |u| host.apply(u, None));
    assert!(matches!(
        refused,
        Err(OpError::Handler { source: ExecError::Kernel { errno: 22, .. }, .. })
    ));
    assert_eq!(space, before);
    let refused = space.map_at(start, PAGE, Mapping::anonymous(odd), |u| host.apply(u, None));
    assert!(matches!(
        refused,
        Err(OpError::Handler { source: ExecError::Kernel { errno: 22, .. }, .. })
    ));
    assert_eq!(space, before);
    space.unmap(start, 4 * PAGE, |u| host.apply(u, None)).unwrap();
}

#[test]
fn it_keeps_to_the_range_of_a_stack() {
    let start = area(7);
    let (mut host, mut space) = host(start);
    let there = std::ptr::with_exposed_provenance_mut(usize::try_from(start).unwrap());
    // SAFETY: nothing is replaced.
    let stack = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let flags = flags | libc::MAP_GROWSDOWN;
        libc::mmap(there, 4 * 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
    };
    assert_eq!(stack, there);
    // The books have its upper half, and PROT_GROWSDOWN would reach down to its start.
    space.map_at(start + 2 * PAGE, 2 * PAGE, Mapping::anonymous(RW), ignore).unwrap();
    let down = Prot::READ | Prot::from_bits_retain(1 << 24);
    let refused = space.protect(start + 3 * PAGE, PAGE, down, |u| host.apply(u, None));
    assert!(matches!(
        refused,
        Err(OpError::Handler { source: ExecError::Kernel { errno: libc::EINVAL, .. }, .. })
    ));
    assert_eq!(picture(start, 4), "wwww");
    // SAFETY: the test's own pages.
    assert_eq!(unsafe { libc::munmap(there, 4 * 4096) }, 0);
}

#[test]
fn several_shared_files_are_each_duplicated() {
    let start = area(8);
    let (mut host, mut space) = host(start);
    let at = |page: u64| start + page * PAGE;
    let files = [test_file(0x100), test_file(0x200)];
    for (nth, file) in files.iter().enumerate() {
        let number = u32::try_from(nth).unwrap();
        let (page, fd) = (2 * u64::from(number), Some(file.as_fd()));
        let shared = Mapping::file(RW, number, 0).shared();
        space.map_at(at(page), 2 * PAGE, shared, |u| host.apply(u, fd)).unwrap();
    }
    let keep = Remap::to(at(20)).keep_source();
    space.remap(at(0), 4 * PAGE, 4 * PAGE, keep, |u| host.apply(u, None)).unwrap();
    let words = [20, 21, 22, 23].map(|page| read_word(at(page)));
    assert_eq!(words, [Some(0x100), Some(0x101), Some(0x200), Some(0x201)]);
    space.unmap(start, 64 * PAGE, |u| host.apply(u, None)).unwrap();
}

#[test]
fn a_limit_is_no_obstacle_to_trying_elsewhere() {
    let start = area(10);
    let (mut host, mut space) = host(start);
    let _other = somebody(start, 2);
    space.set_limits(Limits { bytes: Some(2 * PAGE), ..Limits::default() });
    let rw = Mapping::anonymous(RW);
    let got = host.map_any(&mut space, 2 * PAGE, &rw, Placement::lowest(), None);
    assert_eq!(got, Ok(start + 2 * PAGE));
    space.unmap(start, 64 * PAGE, |u| host.apply(u, None)).unwrap();
}

/// A page, a number of pages, and what to do there.
fn change() -> impl Strategy<Value = (u64, u64, u8)> {
    (0_u64..60, 1_u64..9, 0_u8..8)
}

proptest! {
    /// Somebody else's pages keep what they hold, whatever the books are asked for;
    /// all others are what the books say.
    #[test]
    fn others_keep_what_they_have(
        foreign in prop::collection::btree_set(0_u64..64, 0..8),
        changes in prop::collection::vec(change(), 1..40),
    ) {
        let start = area(9);
        let (mut host, mut space) = host(start);
        let at = |page: u64| start + page * PAGE;
        let others: Vec<_> = foreign.iter().map(|&page| somebody(at(page), 1)).collect();
        for (page, pages, what) in changes {
            let (addr, len) = (at(page), pages.min(64 - page) * PAGE);
            let rw = Mapping::anonymous(RW);
            let mut apply = |u: Update<'_>| host.apply(u, None);
            let _ = match what {
                0 | 1 => space.map_at(addr, len, rw, &mut apply),
                2 => space.map_at(addr, len, Mapping::anonymous(Prot::READ), &mut apply),
                3 => space.unmap(addr, len, &mut apply),
                4 => space.protect(addr, len, Prot::READ, &mut apply),
                5 => space.remap(addr, len, len, Remap::to(at(60 - page / 2)), &mut apply).map(drop),
                6 => space.remap(addr, PAGE, len, Remap::in_place(), &mut apply).map(drop),
                _ => host.map_any(&mut space, len, &rw, Placement::lowest(), None).map(drop),
            };
            space.check();
            let expected: String = (0..64)
                .map(|page| match space.query(at(page)) {
                    Some(region) if region.prot == RW => 'w',
                    Some(_) => 'r',
                    None if foreign.contains(&page) => '-',
                    None => '.',
                })
                .collect();
            prop_assert!(!foreign.iter().any(|page| space.query(at(*page)).is_some()));
            prop_assert_eq!(picture(start, 64), expected);
        }
        space.unmap(start, 64 * PAGE, |u| host.apply(u, None)).unwrap();
        drop(others);
        prop_assert_eq!(picture(start, 64).replace('.', ""), "");
    }
}
