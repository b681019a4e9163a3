//! How mirrors end, and what happens when the source does.

use crate::alone::alone;
use crate::support::{PAGE, Pages, can, get, in_child, listed, pointer, set};
use addrspace::alias::{AliasError, Guarantee, Mirror, SharedMemory, Way};
use addrspace::{Prot, Span};
use std::thread;

fn numbered(pages: u64) -> Pages {
    let memory = Pages::new(pages);
    (0..pages).for_each(|page| memory.fill(page, page + 1));
    memory
}

fn lazy() -> impl Iterator<Item = Way> {
    [Way::FaultHandler, Way::WriteProtect].into_iter().filter(|way| can(*way))
}

/// The threads of mirrors in this process.
fn held() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().filter(|task| {
        let name = task.as_ref().unwrap().path().join("comm");
        std::fs::read_to_string(name).is_ok_and(|name| name.trim() == "mirror")
    });
    threads.count()
}

/// Touches an address in a child, and answers how the child ended.
fn touched(addr: u64) -> i32 {
    in_child(|| i32::from(get(addr) != 0))
}

#[test]
fn a_dropped_mirror_leaves_no_thread_and_no_memory() {
    alone("life::a_dropped_mirror_leaves_no_thread_and_no_memory", || {
        for way in lazy() {
            let source = numbered(8);
            for touched in 0..8 {
                let mirror = Mirror::by(way, &[source.span()]).unwrap();
                let span = mirror.span();
                // The other pages are never delivered.
                (0..touched).for_each(|page| assert_eq!(get(span.start() + page * PAGE), page + 1));
                assert_eq!(held(), 1);
                drop(mirror);
                assert_eq!((held(), listed(span)), (0, vec![]));
            }
            assert_eq!(listed(source.span()).len(), 1);
        }
    });
}

/// Threads that read a mirror while it goes find its page, or a fault: never zeroes.
#[test]
fn a_fault_while_the_mirror_is_dropped_is_no_page_of_zeroes() {
    alone("life::a_fault_while_the_mirror_is_dropped_is_no_page_of_zeroes", || {
        for way in lazy() {
            let mut faulted = 0;
            for round in 0..4000_u64 {
                if round >= 40 && faulted > 0 {
                    break;
                }
                let ended = in_child(|| {
                    let source = numbered(256);
                    let Ok(mirror) = Mirror::by(way, &[source.span()]) else { return 9 };
                    let start = mirror.span().start();
                    let reader = thread::spawn(move || {
                        (0..256).all(|page| get(start + page * PAGE) == page + 1)
                    });
                    let mut spin = 0;
                    while mirror.delivered() < 1 + round % 40 * 5 {
                        spin += 1;
                        if spin > 1_000_000 {
                            thread::yield_now();
                        }
                        if reader.is_finished() {
                            break;
                        }
                    }
                    drop(mirror);
                    // If it is still there, it has found all pages as they should be.
                    i32::from(!reader.join().unwrap())
                });
                assert!(ended == 0 || ended == -libc::SIGSEGV, "{way}: {ended}");
                faulted += i32::from(ended != 0);
            }
            assert!(faulted > 0, "{way}: no fault ever met a drop");
        }
    });
}

/// Writers who wait for a copy go on when the mirror is dropped.
#[test]
fn writers_are_never_left_waiting() {
    alone("life::writers_are_never_left_waiting", || {
        if !can(Way::WriteProtect) {
            return;
        }
        let source = numbered(64);
        for round in 0..100 {
            thread::scope(|scope| {
                let mirror = Mirror::by(Way::WriteProtect, &[source.span()]).unwrap();
                for nth in 0..2 {
                    let source = &source;
                    scope.spawn(move || {
                        (0..64).for_each(|page| set(source.page(page).start() + nth * 8, round));
                    });
                }
                drop(mirror);
            });
        }
        assert!((0..64).all(|page| get(source.page(page).start()) == 99));
    });
}

#[test]
fn a_child_does_not_get_the_mirror() {
    alone("life::a_child_does_not_get_the_mirror", || {
        let shared = SharedMemory::new(PAGE).unwrap();
        let view = shared.map(0, PAGE, Prot::READ).unwrap();
        let live = Mirror::new(&[view.span()], Guarantee::Live).unwrap();
        assert_eq!(touched(live.span().start()), -libc::SIGSEGV);

        for way in lazy().chain(Some(Way::CheckedCopy).filter(|way| can(*way))) {
            let source = numbered(4);
            let mut slot = Some(Mirror::by(way, &[source.span()]).unwrap());
            let span = slot.as_ref().unwrap().span();
            assert_eq!(get(span.start()), 1);
            assert_eq!(touched(span.start()), -libc::SIGSEGV, "{way}: delivered");
            assert_eq!(touched(span.start() + PAGE), -libc::SIGSEGV, "{way}: not delivered");

            // The value can be dropped there; what is at its addresses by then stays.
            let ended = in_child(|| {
                let mut mirror = slot.take().unwrap();
                if mirror.refresh() != Err(AliasError::Forked) {
                    return 1;
                }
                source.fill(1, 77); // not protected in the child
                let (len, flags) = (4 * PAGE as usize, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
                let at = pointer(span.start()).cast();
                // SAFETY: nothing is mapped there in the child.
                let mine = unsafe { libc::mmap(at, len, libc::PROT_READ, flags, -1, 0) };
                drop(mirror);
                i32::from(mine != at) * 2 + i32::from(listed(span).is_empty()) * 4
            });
            assert_eq!(ended, 0, "{way}");
            // The parent's is untouched by all this.
            let pages: Vec<u64> = (0..4).map(|page| get(span.start() + page * PAGE)).collect();
            assert_eq!(pages, [1, 2, 3, 4], "{way}");
        }
    });
}

/// A child keeps the descriptors of the faults open. Nobody may wait because of that.
#[test]
fn a_child_that_lives_on_holds_nobody_up() {
    alone("life::a_child_that_lives_on_holds_nobody_up", || {
        for way in lazy() {
            let source = numbered(64);
            let mirror = Mirror::by(way, &[source.span()]).unwrap();
            // SAFETY: the child does nothing but wait to be ended.
            let child = unsafe { libc::fork() };
            if child == 0 {
                loop {
                    // SAFETY: it waits for a signal.
                    unsafe { libc::pause() };
                }
            }
            drop(mirror);
            (0..64).for_each(|page| source.fill(page, 9));
            let again = Mirror::by(way, &[source.span()]).unwrap();
            assert_eq!(get(again.span().start()), 9);
            drop(again);
            // SAFETY: it is the test's own child.
            assert_eq!(unsafe { libc::kill(child, libc::SIGKILL) }, 0);
            let mut status = 0;
            // SAFETY: the kernel writes `status` alone.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        }
    });
}

/// What the source loses before it is copied is lost, and never zeroes or others' bytes.
#[test]
fn a_page_that_the_source_loses_is_a_bus_error() {
    alone("life::a_page_that_the_source_loses_is_a_bus_error", || {
        for way in lazy() {
            // In a process of its own, which ends by the touch: `touch` is the page.
            let ends = |lose: &dyn Fn(&Pages), touch: u64| {
                in_child(|| {
                    let source = numbered(8);
                    let Ok(mirror) = Mirror::by(way, &[source.span()]) else { return 9 };
                    let page = |nth: u64| mirror.span().start() + nth * PAGE;
                    if get(page(0)) != 1 {
                        return 8;
                    }
                    lose(&source);
                    // What was delivered stays, and so does what lies around.
                    if get(page(0)) != 1 || get(page(7)) != 8 {
                        return 7;
                    }
                    i32::try_from(get(page(touch))).unwrap_or(6)
                })
            };
            let unmapped = |source: &Pages| (0..4).for_each(|page| source.unmap(page));
            assert_eq!(ends(&unmapped, 4), 5, "{way}: its neighbour");
            for page in 1..4 {
                let ended = ends(&unmapped, page);
                assert!([-libc::SIGBUS, -libc::SIGSEGV].contains(&ended), "{way}: {ended}");
            }
            if way == Way::FaultHandler {
                continue; // It shows what is there, as of the first touch.
            }
            // Thrown away, and something else in its place; moved away.
            let discarded = |source: &Pages| (0..3).for_each(|page| source.discard(page));
            let replaced = |source: &Pages| {
                for page in 0..3 {
                    source.unmap(page);
                    let at = pointer(source.page(page).start()).cast();
                    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
                    let prot = libc::PROT_READ | libc::PROT_WRITE;
                    // SAFETY: nothing is mapped there.
                    let made = unsafe { libc::mmap(at, PAGE as usize, prot, flags, -1, 0) };
                    assert_eq!(made, at);
                    set(source.page(page).start(), 55);
                }
            };
            let moved = |source: &Pages| {
                let to = Pages::new(3);
                // SAFETY: both places are the test's own.
                let made = unsafe {
                    libc::mremap(
                        pointer(source.span().start()).cast(),
                        3 * PAGE as usize,
                        3 * PAGE as usize,
                        libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
                        pointer(to.span().start()),
                    )
                };
                assert_eq!(made.addr() as u64, to.span().start());
                // Where it is now, nobody is held up.
                (0..3).for_each(|page| to.fill(page, 66));
            };
            for lose in [&discarded as &dyn Fn(&Pages), &replaced, &moved] {
                for page in 1..3 {
                    let ended = ends(lose, page);
                    assert!([-libc::SIGBUS, -libc::SIGSEGV].contains(&ended), "{way}: {ended}");
                }
                assert_eq!(ends(lose, 3), 4);
            }
        }
    });
}

/// After the source has come back, a refresh shows it.
#[test]
fn a_refresh_finds_what_has_come_back() {
    alone("life::a_refresh_finds_what_has_come_back", || {
        lazy().for_each(comes_back);
    });
}

fn comes_back(way: Way) {
    let source = numbered(4);
    let mut mirror = Mirror::by(way, &[source.span()]).unwrap();
    let at = mirror.span().start();
    assert_eq!(get(at), 1);
    source.unmap(2);
    let gone = AliasError::NotMapped { span: source.page(2) };
    assert_eq!(mirror.refresh(), Err(gone), "{way}");
    assert_eq!((get(at), get(at + PAGE)), (1, 2), "{way}: as it was");
    if way == Way::WriteProtect {
        while mirror.lost() != 1 {
            thread::yield_now();
        }
    }
    let page = pointer(source.page(2).start()).cast();
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: nothing is mapped there.
    assert_eq!(unsafe { libc::mmap(page, PAGE as usize, prot, flags, -1, 0) }, page);
    source.fill(2, 33);
    mirror.refresh().unwrap();
    source.fill(3, 44);
    let pages: Vec<u64> = (0..4).map(|page| get(at + page * PAGE)).collect();
    let last = if way == Way::WriteProtect { 4 } else { 44 };
    assert_eq!(pages, [1, 2, 33, last], "{way}");
    assert_eq!(mirror.lost(), 0);
}

/// Making one and giving it up, again and again, leaves nothing behind.
#[test]
fn nothing_is_left_behind() {
    alone("life::nothing_is_left_behind", || {
        let source = numbered(4);
        let count = || {
            let files = std::fs::read_dir("/proc/self/fd").unwrap().count();
            let regions = listed(Span::new(0, u64::MAX).unwrap()).len();
            (held(), files, regions)
        };
        let round = || {
            for way in lazy().chain(Some(Way::CheckedCopy).filter(|way| can(*way))) {
                let mut mirror = Mirror::by(way, &[source.span()]).unwrap();
                get(mirror.span().start());
                mirror.refresh().unwrap();
            }
            Mirror::by(Way::Shared, &[source.span()]).unwrap_err();
        };
        (0..5).for_each(|_| round());
        count(); // takes memory, too
        let before = count();
        (0..50).for_each(|_| round());
        let after = count();
        assert_eq!((before.0, before.1), (0, after.1));
        assert_eq!(after.0, 0);
        // The allocator may have taken a region or two.
        assert!(after.2 <= before.2 + 3, "{before:?}, {after:?}");
    });
}
