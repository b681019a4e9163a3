//! What each guarantee promises, and what happens when it cannot be had.

use crate::alone::alone;
use crate::support::{Dice, PAGE, Pages, RW, Stop, can, cannot, get, listed, same_words, set};
use addrspace::alias::{AliasError, Guarantee, Mirror, Missing, SharedMemory, Unsuited, Way};
use addrspace::{Prot, Span};
use std::io::Write;
use std::thread;

fn shown(mirror: &Mirror) -> Vec<u64> {
    let pages = mirror.span().len().unwrap() / PAGE;
    (0..pages).map(|page| get(mirror.span().start() + page * PAGE)).collect()
}

/// Pages with their numbers in all their words.
fn numbered(pages: u64) -> Pages {
    let memory = Pages::new(pages);
    (0..pages).for_each(|page| memory.fill(page, page + 1));
    memory
}

/// Drops all privileges of the calling process, as a program does that starts as root.
fn become_nobody() {
    // SAFETY: these change what the process may do, and no memory.
    let made = unsafe {
        [
            libc::setgroups(0, std::ptr::null()),
            libc::setresgid(65534, 65534, 65534),
            libc::setresuid(65534, 65534, 65534),
            // As it is for a program that was started by this user.
            libc::prctl(libc::PR_SET_DUMPABLE, 1),
        ]
    };
    assert_eq!(made, [0; 4]);
}

fn is_root() -> bool {
    // SAFETY: it only answers.
    unsafe { libc::geteuid() == 0 }
}

#[test]
fn scattered_ranges_are_side_by_side_in_the_given_order() {
    let (one, two) = (numbered(4), numbered(2));
    let sources = [one.page(3), two.span(), one.page(0)];
    for way in [Way::FaultHandler, Way::WriteProtect, Way::CheckedCopy] {
        if can(way) {
            let mirror = Mirror::by(way, &sources).unwrap();
            assert_eq!(shown(&mirror), [4, 1, 2, 1], "{way}");
            assert_eq!(mirror.delivered(), 4, "{way}");
            let lines = listed(mirror.span());
            assert!(lines.iter().all(|line| line.prot == "r--p"), "{way}: {lines:?}");
        }
    }
    let shared = SharedMemory::new(4 * PAGE).unwrap();
    let view = shared.map(0, 4 * PAGE, RW).unwrap();
    let page = |nth| Span::of(view.span().start() + nth * PAGE, PAGE).unwrap();
    (0..4).for_each(|nth| set(page(nth).start(), nth + 1));
    let mirror = Mirror::new(&[page(2), page(0)], Guarantee::Live).unwrap();
    assert_eq!(shown(&mirror), [3, 1]);
    assert!(listed(mirror.span()).iter().all(|line| line.prot == "r--s"));
}

#[test]
fn live_is_the_same_pages() {
    // Nobody else may map something where the source was.
    alone("mirrors::live_is_the_same_pages", || {
        let shared = SharedMemory::new(4 * PAGE).unwrap();
        let source = shared.map(PAGE, 2 * PAGE, RW).unwrap();
        let mut mirror = Mirror::new(&[source.span()], Guarantee::Live).unwrap();
        for number in 1..100 {
            set(source.span().start() + PAGE, number);
            assert_eq!(shown(&mirror), [0, number]);
        }
        mirror.refresh().unwrap();
        assert_eq!(shown(&mirror), [0, 99]);
        // It has the memory for its own, whatever becomes of the source.
        let at = source.span();
        drop((source, shared));
        assert_eq!(listed(at), []);
        assert_eq!(shown(&mirror), [0, 99]);
        assert_eq!(mirror.refresh(), Err(AliasError::NotMapped { span: at }));
        assert_eq!(shown(&mirror), [0, 99]);
    });
}

#[test]
fn first_touch_shows_each_page_as_of_its_first_read() {
    if !can(Way::FaultHandler) {
        return;
    }
    let source = numbered(4);
    let mut mirror = Mirror::new(&[source.span()], Guarantee::FirstTouch).unwrap();
    let page = |nth: u64| mirror.span().start() + nth * PAGE;
    let pages = [page(0), page(1), page(2), page(3)];
    assert_eq!((mirror.delivered(), get(pages[1])), (0, 2));
    (0..4).for_each(|page| source.fill(page, 50 + page));
    assert_eq!(pages.map(get), [50, 2, 52, 53]);
    (0..4).for_each(|page| source.fill(page, 70 + page));
    assert_eq!(pages.map(get), [50, 2, 52, 53]);
    assert_eq!(mirror.delivered(), 4);
    mirror.refresh().unwrap();
    assert_eq!(mirror.delivered(), 0);
    assert_eq!(pages.map(get), [70, 71, 72, 73]);
}

#[test]
fn a_snapshot_is_of_the_instant_it_was_made() {
    for way in Guarantee::Snapshot.ways().iter().copied().filter(|way| can(*way)) {
        let source = numbered(8);
        source.discard(5); // a page that is not there is one of zeroes
        let mut mirror = Mirror::by(way, &[source.span()]).unwrap();
        let page = |nth: u64| mirror.span().start() + nth * PAGE;
        let pages = [0, 1, 2, 3, 4, 5, 6, 7].map(page);
        assert_eq!(get(pages[1]), 2);
        (0..8).for_each(|page| source.fill(page, 50 + page));
        assert_eq!(pages.map(get), [1, 2, 3, 4, 5, 0, 7, 8], "{way}");
        assert!(pages.iter().all(|page| same_words(*page).is_ok()));
        assert_eq!(mirror.delivered(), 8);
        mirror.refresh().unwrap();
        (0..8).for_each(|page| source.fill(page, 70 + page));
        assert_eq!(pages.map(get), [50, 51, 52, 53, 54, 55, 56, 57], "{way}");
        mirror.refresh().unwrap();
        drop(mirror);
        source.fill(0, 99); // nobody is held up any more
    }
}

/// Writes that the kernel makes for somebody are held up as well.
#[test]
fn a_read_into_the_source_of_a_snapshot_waits_for_the_copy() {
    if !can(Way::WriteProtect) {
        return;
    }
    let source = numbered(2);
    let mirror = Mirror::by(Way::WriteProtect, &[source.span()]).unwrap();
    assert!(mirror.serves_the_kernel());
    let zero = std::fs::File::open("/dev/zero").unwrap();
    let at = crate::support::pointer(source.page(1).start());
    // SAFETY: the page is the test's own, and no reference points into it.
    let read =
        unsafe { libc::read(std::os::fd::AsRawFd::as_raw_fd(&zero), at.cast(), PAGE as usize) };
    assert_eq!(read, PAGE as isize);
    assert_eq!((get(source.page(1).start()), shown(&mirror)), (0, vec![1, 2]));
}

/// The source of a snapshot can be what this very test and its threads live on.
#[test]
fn the_heap_and_the_stack_can_be_the_source() {
    if !can(Way::WriteProtect) {
        return;
    }
    let lines = std::fs::read_to_string("/proc/self/maps").unwrap();
    let heap = lines.lines().find(|line| line.ends_with("[heap]")).map(|line| {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let hex = |digits| u64::from_str_radix(digits, 16).unwrap();
        Span::of(hex(start), hex(end) - hex(start)).unwrap()
    });
    let local = 7_u64;
    let here = std::ptr::from_ref(&local).addr() as u64;
    let stack = Span::of(here & !(PAGE - 1), PAGE).unwrap();
    let sources: Vec<Span> = heap.into_iter().chain([stack]).collect();
    for _ in 0..20 {
        let mut mirror = match Mirror::by(Way::WriteProtect, &sources) {
            Ok(mirror) => mirror,
            // Another test's thread has grown or cut the heap meanwhile.
            Err(AliasError::NotMapped { .. }) => continue,
            Err(other) => panic!("{other}"),
        };
        let boxes: Vec<Box<u64>> = (0..1000).map(Box::new).collect();
        let last = mirror.span().last() + 1 - PAGE + (here & (PAGE - 1));
        assert_eq!(get(last), 7);
        let threads: Vec<_> = (0..4)
            .map(|nth| thread::spawn(move || vec![nth; 10_000].into_iter().sum::<u64>()))
            .collect();
        for (nth, thread) in threads.into_iter().enumerate() {
            assert_eq!(thread.join().unwrap(), nth as u64 * 10_000);
        }
        if mirror.refresh().is_ok() {
            assert_eq!(get(last), 7);
        }
        assert_eq!(boxes.iter().map(|number| **number).sum::<u64>(), 499_500);
    }
}

#[test]
fn wrong_sources_are_refused_with_their_numbers() {
    use Guarantee::{FirstTouch, Live, Snapshot};
    let pages = numbered(4);
    let whole = pages.span();
    let start = whole.start();
    let span = |at, len| Span::of(at, len).unwrap();
    let shared = SharedMemory::new(PAGE).unwrap().map(0, PAGE, Prot::READ).unwrap();
    let closed = SharedMemory::new(PAGE).unwrap().map(0, PAGE, Prot::empty()).unwrap();
    let unsuited = |guarantee, span, why| AliasError::Unsuited { guarantee, span, why };
    for (sources, guarantee, error) in [
        (vec![], Live, AliasError::Range { at: 0, len: 0, of: 0 }),
        (
            vec![span(start + 8, PAGE)],
            Live,
            AliasError::Alignment { at: start + 8, len: PAGE, page: PAGE },
        ),
        (vec![span(start, 8)], Live, AliasError::Alignment { at: start, len: 8, page: PAGE }),
        (vec![whole, pages.page(2)], Snapshot, AliasError::Overlap { span: pages.page(2) }),
        (
            vec![Span::new(0, u64::MAX).unwrap()],
            FirstTouch,
            AliasError::Alignment { at: 0, len: u64::MAX, page: PAGE },
        ),
        (vec![shared.span()], Snapshot, unsuited(Snapshot, shared.span(), Unsuited::Shared)),
        (
            vec![closed.span()],
            FirstTouch,
            unsuited(FirstTouch, closed.span(), Unsuited::Unreadable),
        ),
    ] {
        if guarantee.ways().iter().any(|way| way.check().is_ok()) {
            assert_eq!(Mirror::new(&sources, guarantee).unwrap_err(), error);
        }
    }
    let private = Mirror::by(Way::Shared, &[shared.span(), whole]).unwrap_err();
    assert_eq!(private, unsuited(Live, whole, Unsuited::Private));
    // By frames, where the machine allows it.
    if can(Way::Physical) {
        assert_eq!(Mirror::new(&[whole], Live).unwrap().way(), Way::Physical);
    }
    // What somebody else handles already.
    if can(Way::WriteProtect) {
        let first = Mirror::by(Way::WriteProtect, &[pages.page(1)]).unwrap();
        let second = Mirror::by(Way::WriteProtect, &[whole]).unwrap_err();
        assert_eq!(second, unsuited(Snapshot, whole, Unsuited::Handled));
        drop(first);
        Mirror::by(Way::WriteProtect, &[whole]).unwrap();
        assert_eq!(listed(whole).len(), 1, "it is one mapping again");
    }
}

#[test]
fn a_hole_in_the_source_is_refused_with_its_numbers() {
    alone("mirrors::a_hole_in_the_source_is_refused_with_its_numbers", || {
        if can(Way::FaultHandler) {
            let source = Pages::new(3);
            source.unmap(1);
            let hole = AliasError::NotMapped { span: source.page(1) };
            let refused = Mirror::new(&[source.span()], Guarantee::FirstTouch);
            assert_eq!(refused.unwrap_err(), hole);
        }
    });
}

/// Without privilege: the clear error, and what works all the same.
#[test]
fn without_privilege_a_snapshot_is_copied_at_once() {
    if !is_root() {
        return cannot("giving up privileges takes root");
    }
    alone("mirrors::without_privilege_a_snapshot_is_copied_at_once", || {
        become_nobody();
        let sysctl = std::fs::read_to_string("/proc/sys/vm/unprivileged_userfaultfd");
        let everybody_may = sysctl.is_ok_and(|text| text.trim() == "1");
        let source = numbered(4);
        let refused = Mirror::by(Way::WriteProtect, &[source.span()]);
        if !everybody_may && Way::FaultHandler.check().is_ok() {
            let missing = Missing::Privilege { errno: libc::EPERM };
            let guarantee = Guarantee::Snapshot;
            assert_eq!(refused.unwrap_err(), AliasError::Missing { guarantee, missing });
            assert!(missing.to_string().contains("CAP_SYS_PTRACE"));
        }
        if can(Way::CheckedCopy) {
            let mirror = Mirror::new(&[source.span()], Guarantee::Snapshot).unwrap();
            source.fill(0, 50);
            assert_eq!(shown(&mirror), [1, 2, 3, 4]);
        }
        if can(Way::FaultHandler) {
            let source = numbered(4);
            let mirror = Mirror::new(&[source.span()], Guarantee::FirstTouch).unwrap();
            assert_eq!(mirror.serves_the_kernel(), everybody_may);
            // A page that nobody has touched cannot be given to a system call.
            let untouched = std::ptr::with_exposed_provenance::<u8>(mirror.span().start() as usize);
            // SAFETY: the kernel reads the mirror, which is mapped.
            let bytes = unsafe { std::slice::from_raw_parts(untouched, 8) };
            let (_reader, mut pipe) = std::io::pipe().unwrap();
            if !everybody_may {
                let refused = pipe.write(bytes).unwrap_err();
                assert_eq!(refused.raw_os_error(), Some(libc::EFAULT));
            }
            assert_eq!(shown(&mirror), [1, 2, 3, 4]);
        }
    });
}

/// A snapshot that is copied at once is either of one instant or refused.
#[test]
fn a_source_that_does_not_hold_still_is_said_to() {
    const WRITTEN: [u64; 8] = [0, 9, 18, 27, 36, 45, 54, 63];
    if !can(Way::CheckedCopy) {
        return;
    }
    let source = Pages::new(64);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let at = |page: u64| source.page(page).start();
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| {
            let mut number = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                // One after the other, so that none is ahead of the first, or behind it by
                // more than one.
                number += 1;
                for page in WRITTEN {
                    set(at(page), number);
                }
            }
        });
        for round in 0..300 {
            // The writer is at work now.
            let before = get(at(0));
            while get(at(0)) == before {
                std::hint::spin_loop();
            }
            match Mirror::by(Way::CheckedCopy, &[source.span()]) {
                Ok(mirror) => {
                    let shown = shown(&mirror);
                    let words = WRITTEN.map(|page| shown[page as usize]);
                    let in_order = words.is_sorted_by(|one, next| one >= next);
                    assert!(in_order && words[0] - words[7] <= 1, "{round}: {words:?}");
                }
                Err(AliasError::Changing { passes, bytes }) => {
                    assert!(passes > 0 && bytes > 0 && bytes <= 8 * PAGE);
                }
                Err(other) => panic!("{other}"),
            }
        }
    });
    Mirror::by(Way::CheckedCopy, &[source.span()]).unwrap();
    // A copy leaves nothing behind at the source.
    let mut dice = Dice(1);
    for _ in 0..100 {
        let page = dice.roll(64);
        source.fill(page, 7);
        assert_eq!(same_words(source.page(page).start()), Ok(7));
    }
}
