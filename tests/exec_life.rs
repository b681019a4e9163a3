//! The life of reservations and executors, and who may look on.
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
    Backing, Error, ExecError, Executor, MapFlags, Mapping, Memory, Placement, Prot, Remap,
    Reservation, Undiscardable, ignore,
};
use exec_model::{PAGE, alone, read_word, test_file, write_word};
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const RW: Prot = Prot::READ.union(Prot::WRITE);

fn executor(pages: u64) -> (Executor, u64) {
    let exec = Executor::new(Reservation::new(pages * PAGE).unwrap()).unwrap();
    let start = exec.space().span().unwrap().start();
    (exec, start)
}

/// What the kernel lists between two addresses, a line each.
fn listed(start: u64, end: u64) -> Vec<String> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let inside = |line: &&str| {
        let (first, last) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let hex = |digits| u64::from_str_radix(digits, 16).unwrap();
        hex(first) < end && hex(last) > start
    };
    maps.lines().filter(inside).map(str::to_owned).collect()
}

/// The kernel's regions and resident pages of this process.
fn footprint() -> (usize, u64) {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let resident = statm.split(' ').nth(1).unwrap().parse().unwrap();
    (fs::read_to_string("/proc/self/maps").unwrap().lines().count(), resident)
}

#[test]
fn a_reservation_is_what_was_asked_for() {
    alone("a_reservation_is_what_was_asked_for", || {
        for (align, below, above, len) in [
            (1, 0, 0, 1),
            (1 << 16, 1, 1, 5000),
            (1 << 21, 0, 1 << 16, 1 << 21),
            (1 << 30, 1 << 20, 3, 1 << 32),
        ] {
            let options = Reservation::options().aligned(align).guarded(below, above);
            let reservation = options.reserve(len).unwrap();
            let (span, all) = (reservation.span(), reservation.guarded_span());
            assert!(span.start().is_multiple_of(align.max(PAGE)));
            assert_eq!(span.len().unwrap(), len.next_multiple_of(PAGE));
            assert_eq!(span.start() - all.start(), u64::next_multiple_of(below, PAGE));
            assert_eq!(all.last() - span.last(), u64::next_multiple_of(above, PAGE));
            // All of it is there, without access; of what was too much, nothing is left.
            for line in listed(all.start(), all.end().unwrap()) {
                assert!(line.contains("---p"), "{line}");
            }
            let kept = catch_unwind(|| listed(all.start(), all.start() + 1)).unwrap();
            assert_eq!(kept.len(), 1);
            drop(reservation);
            // Given back: somebody else can have it.
            drop(Reservation::options().at(all.start()).reserve(all.len().unwrap()).unwrap());
        }
    });
}

#[test]
fn a_reservation_at_an_address_replaces_nothing() {
    alone("a_reservation_at_an_address_replaces_nothing", || {
        let first = Reservation::new(16 * PAGE).unwrap();
        let start = first.span().start();
        for (at, len) in [(start, PAGE), (start - PAGE, 2 * PAGE), (start + 15 * PAGE, 9 * PAGE)] {
            let refused = Reservation::options().at(at).reserve(len).unwrap_err();
            let ExecError::Taken { taken: Some(taken), .. } = refused else { panic!("{refused}") };
            assert!(taken.last() >= at && taken.start() < at + len);
        }
        // Nor do its guards.
        drop(first);
        let second = Reservation::options().at(start + PAGE).reserve(PAGE).unwrap();
        let guarded = Reservation::options().at(start + 2 * PAGE).guarded(1, 0);
        assert!(matches!(guarded.reserve(PAGE), Err(ExecError::Taken { .. })));
        drop(second);
        drop(guarded.reserve(PAGE).unwrap());
    });
}

#[test]
fn nonsense_is_not_reserved() {
    let options = Reservation::options();
    for (options, len) in [
        (options, 0),
        (options, u64::MAX),
        (options.guarded(u64::MAX, 0), PAGE),
        (options.guarded(1 << 63, 1 << 63), PAGE),
        (options.aligned(1 << 63), u64::MAX - 2 * PAGE),
        (options.at(u64::MAX - PAGE + 1), 2 * PAGE),
        (options.at(0).guarded(1, 0), PAGE),
    ] {
        assert!(
            matches!(options.reserve(len), Err(ExecError::Range { .. })),
            "{options:?} {len:#x}"
        );
    }
    for options in
        [options.aligned(0), options.aligned(3), options.at(1), options.at(PAGE).aligned(1 << 20)]
    {
        assert!(matches!(options.reserve(PAGE), Err(ExecError::Alignment { .. })), "{options:?}");
    }
    for (options, len) in
        [(options, 1 << 60), (options.at(1 << 62), PAGE), (options.aligned(1 << 62), PAGE)]
    {
        assert!(
            matches!(options.reserve(len), Err(ExecError::Kernel { .. })),
            "{options:?} {len:#x}"
        );
    }
}

#[test]
fn a_hundred_thousand_lives_leave_nothing_behind() {
    alone("a_hundred_thousand_lives_leave_nothing_behind", || {
        let file = test_file(5);
        let life = |round: u64| {
            let (mut exec, start) = executor(64);
            exec.map_any(3 * PAGE, Memory::anonymous(RW), Placement::lowest()).unwrap();
            exec.map_any(PAGE, Memory::anonymous(RW).shared(), Placement::lowest()).unwrap();
            exec.map_at(start + 8 * PAGE, 2 * PAGE, Memory::file(RW, &file, 0)).unwrap();
            exec.unmap(start + PAGE, PAGE).unwrap();
            if round.is_multiple_of(16) {
                assert!(write_word(start, round));
                exec.remap(start, PAGE, 3 * PAGE, Remap::to(start + 20 * PAGE)).unwrap();
                exec.remap(start + 8 * PAGE, 2 * PAGE, 5 * PAGE, Remap::in_place()).unwrap();
            }
            exec.reset().unwrap();
        };
        for round in 0..100 {
            life(round);
        }
        let (regions, resident) = footprint();
        for round in 0..100_000 {
            life(round);
        }
        let (regions_after, resident_after) = footprint();
        assert!(regions_after <= regions + 8, "{regions} regions, then {regions_after}");
        assert!(resident_after <= resident + 64, "{resident} pages, then {resident_after}");
    });
}

#[test]
fn nobody_lands_in_what_was_unmapped() {
    alone("nobody_lands_in_what_was_unmapped", || {
        let (mut exec, start) = executor(1024);
        let end = start + 1024 * PAGE;
        exec.map_at(start, 1024 * PAGE, Memory::anonymous(RW)).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        // Somebody who takes memory wherever the kernel likes, as any thread does.
        let other = std::thread::spawn(move || {
            let mut landed = 0;
            while !stopped.load(Ordering::Relaxed) {
                let got = Reservation::new(PAGE).unwrap().span().start();
                landed += usize::from((start..end).contains(&got));
            }
            landed
        });
        for round in 0..3000_u64 {
            let page = start + (round * 7 % 1000) * PAGE;
            exec.unmap(page, 20 * PAGE).unwrap();
            exec.map_at(page, 4 * PAGE, Memory::anonymous(RW)).unwrap();
            exec.remap(page, 4 * PAGE, 4 * PAGE, Remap::to(page + 8 * PAGE)).unwrap();
            exec.map_at(page, 20 * PAGE, Memory::anonymous(RW)).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(other.join().unwrap(), 0);
        assert!(exec.verify().unwrap().is_empty());
    });
}

#[test]
fn two_executors_do_not_disturb_each_other() {
    alone("two_executors_do_not_disturb_each_other", || {
        let threads: Vec<_> = (0..2_u64)
            .map(|nth| {
                std::thread::spawn(move || {
                    let (mut exec, start) = executor(256);
                    for round in 0..5000_u64 {
                        let page = start + (round * 13 % 250) * PAGE;
                        exec.map_at(page, 3 * PAGE, Memory::anonymous(RW)).unwrap();
                        assert_eq!(read_word(page), Some(0), "new memory reads as zero");
                        assert!(write_word(page, nth * 1_000_000 + round));
                        exec.protect(page + PAGE, PAGE, Prot::READ).unwrap();
                        assert_eq!(read_word(page), Some(nth * 1_000_000 + round));
                        if round.is_multiple_of(3) {
                            exec.unmap(page, 2 * PAGE).unwrap();
                        }
                        if round.is_multiple_of(50) {
                            assert!(exec.verify().unwrap().is_empty());
                        }
                    }
                    // An executor may end in another thread than it began in.
                    exec
                })
            })
            .collect();
        for thread in threads {
            assert!(thread.join().unwrap().verify().unwrap().is_empty());
        }
    });
}

/// What a fault handler looks at. The tests that use it do not run side by side.
static BOOKS: AtomicPtr<Executor> = AtomicPtr::new(std::ptr::null_mut());
static SEEN: AtomicU64 = AtomicU64::new(0);
static READER: Mutex<Option<addrspace::Reader>> = Mutex::new(None);

/// A protection in the low bits, and whether there is a region at all.
fn seen(region: Option<addrspace::Region<'_>>) -> u64 {
    region.map_or(1, |region| 2 | u64::from(region.prot.bits()) << 8)
}

/// Looks into the books, and skips the faulting instruction by making it read from
/// a page that is there: the test's own probe reads through a register it gives up.
extern "C" fn on_fault(_signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands out a valid structure, and the signal has an address.
    let addr = unsafe { (*info).si_addr() }.addr() as u64;
    let books = BOOKS.load(Ordering::SeqCst);
    if !books.is_null() {
        // SAFETY: the pointer is that of an executor that no verb has at work.
        let books = unsafe { &*books };
        SEEN.store(seen(books.query(addr)), Ordering::SeqCst);
    }
    // The probe goes on at the address that it has put into a register.
    // SAFETY: the kernel hands out a valid context, which it takes back on return.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    #[cfg(target_arch = "x86_64")]
    {
        let registers = &mut context.uc_mcontext.gregs;
        registers[libc::REG_RIP as usize] = registers[libc::REG_RDX as usize];
    }
    #[cfg(target_arch = "aarch64")]
    {
        context.uc_mcontext.pc = context.uc_mcontext.regs[2];
    }
}

/// Reads a byte at `addr`; nothing if that is a fault.
fn probe(addr: u64) -> Option<u8> {
    let (value, ok): (u64, u64);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: it reads one byte into a register, or is led on by `on_fault`.
    unsafe {
        std::arch::asm!(
            "xor {ok:e}, {ok:e}",
            "lea rdx, [rip + 2f]",
            "movzx {value:e}, byte ptr [{addr}]",
            "mov {ok:e}, 1",
            "2:",
            addr = in(reg) addr, value = out(reg) value, ok = out(reg) ok, out("rdx") _,
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!(
            "mov {ok}, #0",
            "adr x2, 2f",
            "ldrb {value:w}, [{addr}]",
            "mov {ok}, #1",
            "2:",
            addr = in(reg) addr, value = out(reg) value, ok = out(reg) ok, out("x2") _,
        );
    }
    (ok == 1).then(|| u8::try_from(value & 0xff).unwrap())
}

fn handle_faults() {
    // SAFETY: all zeroes is a valid value of the structure.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = (on_fault as *const ()).addr();
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the handler is one for SA_SIGINFO, and only reads and sets registers.
    let set = unsafe { libc::sigaction(libc::SIGSEGV, &raw const action, std::ptr::null_mut()) };
    assert_eq!(set, 0);
}

#[test]
fn a_fault_handler_reads_the_books() {
    alone("a_fault_handler_reads_the_books", || {
        handle_faults();
        let (mut exec, start) = executor(64);
        exec.map_at(start, 2 * PAGE, Memory::anonymous(RW)).unwrap();
        exec.protect(start + PAGE, PAGE, Prot::empty()).unwrap();
        assert!(write_word(start, 7));
        BOOKS.store(&raw mut exec, Ordering::SeqCst);
        assert_eq!(probe(start), Some(7));
        assert_eq!(probe(start + PAGE), None);
        assert_eq!(SEEN.load(Ordering::SeqCst), 2, "a region without access");
        assert_eq!(probe(start + 2 * PAGE), None);
        assert_eq!(SEEN.load(Ordering::SeqCst), 1, "a gap");
        BOOKS.store(std::ptr::null_mut(), Ordering::SeqCst);
    });
}

/// While a verb runs, another thread that touches its range sees the memory before
/// or after the change, and the published books before or after it.
#[test]
fn a_fault_during_a_verb_sees_either_side() {
    alone("a_fault_during_a_verb_sees_either_side", || {
        handle_faults();
        let (mut exec, start) = executor(64);
        exec.map_at(start, 4 * PAGE, Memory::anonymous(RW)).unwrap();
        let reader = exec.reader();
        *READER.lock().unwrap() = Some(reader.clone());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let counts = Arc::new([const { AtomicU64::new(0) }; 4]);
        let counting = Arc::clone(&counts);
        let toucher = std::thread::spawn(move || {
            let reader = READER.lock().unwrap().take().unwrap();
            while !stopped.load(Ordering::Relaxed) {
                let before = seen(reader.load().query(start + PAGE));
                let read = probe(start + PAGE);
                let after = seen(reader.load().query(start + PAGE));
                let readable = 2 | u64::from(RW.bits()) << 8;
                for books in [before, after] {
                    assert!([1, 2, readable].contains(&books), "{books:#x}: no state between two");
                }
                // New memory reads as zero, so nothing else is ever seen.
                assert!(matches!(read, None | Some(0)));
                counting[usize::from(read.is_some())].fetch_add(1, Ordering::Relaxed);
                counting[2 + usize::from(before == readable)].fetch_add(1, Ordering::Relaxed);
            }
        });
        let seen_all = || counts.iter().all(|count| count.load(Ordering::Relaxed) > 0);
        // On a busy machine it can take a while until the other thread has seen all.
        for round in 0..2_000_000 {
            if round > 10_000 && seen_all() {
                break;
            }
            exec.protect(start + PAGE, PAGE, Prot::empty()).unwrap();
            exec.unmap(start + PAGE, PAGE).unwrap();
            exec.map_at(start + PAGE, PAGE, Memory::anonymous(RW)).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        toucher.join().unwrap();
        assert!(seen_all(), "both sides were seen, of the memory and of the books: {counts:?}");
        assert_eq!(seen(reader.load().query(start + PAGE)), 2 | u64::from(RW.bits()) << 8);
    });
}

#[test]
fn readers_see_whole_books_and_keep_them() {
    let (mut exec, start) = executor(256);
    exec.map_at(start, PAGE, Memory::anonymous(RW)).unwrap();
    let reader = exec.reader();
    let kept = reader.load();
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (reader, stop) = (reader.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                loop {
                    let books = reader.load();
                    books.check();
                    // Each verb below leaves an even number of pages behind page 0.
                    assert_eq!(books.usage().mapped % (2 * PAGE), PAGE);
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            })
        })
        .collect();
    for round in 0..3000_u64 {
        let page = start + (1 + 2 * (round * 5 % 120)) * PAGE;
        exec.map_at(page, 2 * PAGE, Memory::anonymous(RW)).unwrap();
        if round.is_multiple_of(2) {
            exec.unmap(page, 2 * PAGE).unwrap();
        }
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
    assert_eq!(*reader.load(), *exec.space());
    assert_eq!(kept.usage().mapped, PAGE, "an old copy stays what it was");
    drop(exec);
    assert!(reader.load().usage().mapped > 0, "also after the executor");
}

#[test]
fn a_listener_that_panics_does_no_harm() {
    let (mut exec, start) = executor(64);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = Arc::clone(&heard);
    exec.observe(|update| assert!(update.span().len() != Some(2 * PAGE), "two pages"));
    exec.observe(move |update| hearing.lock().unwrap().push(update.span()));
    let map = |exec: &mut Executor, page: u64, pages: u64| {
        exec.map_at(start + page * PAGE, pages * PAGE, Memory::anonymous(RW)).map(drop)
    };
    map(&mut exec, 0, 1).unwrap();
    catch_unwind(AssertUnwindSafe(|| map(&mut exec, 4, 2))).unwrap_err();
    map(&mut exec, 8, 3).unwrap();
    assert_eq!(exec.space().regions().count(), 3);
    assert_eq!(heard.lock().unwrap().len(), 3);
    assert!(exec.verify().unwrap().is_empty());
    // Three runs in one verb, of which the listener dislikes the second.
    let protect = |exec: &mut Executor| exec.protect(start, 12 * PAGE, Prot::READ);
    catch_unwind(AssertUnwindSafe(|| protect(&mut exec))).unwrap_err();
    assert!(exec.space().regions().all(|region| region.prot == Prot::READ));
    assert_eq!(heard.lock().unwrap().len(), 6);
    assert!(exec.verify().unwrap().is_empty());
}

#[test]
fn panics_of_two_listeners_are_one() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "a payload that panics when it is dropped");
        }
    }
    let (mut exec, start) = executor(64);
    exec.observe(|_| std::panic::panic_any(1));
    exec.observe(|_| std::panic::panic_any(Bomb));
    let map = AssertUnwindSafe(|| exec.map_at(start, PAGE, Memory::anonymous(RW)).map(drop));
    let payload = catch_unwind(map).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&1));
    assert_eq!(exec.space().regions().len(), 1);
    assert_eq!(exec.verify().unwrap(), []);
}

#[test]
fn a_snapshot_that_cannot_be_is_refused() {
    let (mut exec, start) = executor(64);
    for mapping in [
        Mapping::anonymous(RW).shared(),
        Mapping::file(RW, 7, 0),
        Mapping::physical(RW, 0),
        Mapping::tag(RW, 1, 2),
    ] {
        let mut forged = exec.space().clone();
        forged.map_at(start, PAGE, mapping, ignore).unwrap();
        let refused = exec.restore(&forged).unwrap_err();
        assert!(matches!(refused, ExecError::NeedsFile { .. }), "{refused}");
    }
    let mut forged = exec.space().clone();
    let sealed = Mapping::anonymous(RW).with_flags(MapFlags::SEALED);
    forged.map_at(start, PAGE, sealed, ignore).unwrap();
    assert_eq!(exec.restore(&forged), Err(ExecError::Flags { flags: MapFlags::SEALED }));
    exec.map_at(start, PAGE, Memory::anonymous(RW)).unwrap();
    assert_eq!(exec.restore(&forged), Err(ExecError::Flags { flags: MapFlags::SEALED }));
    assert_eq!(exec.space().regions().len(), 1);
    assert_eq!(exec.verify().unwrap(), []);
}

/// The kernel moves memory of a device only if its old place is left a hole.
#[test]
fn memory_of_a_device_stays_where_it_is() {
    let (mut exec, start) = executor(64);
    let at = |page: u64| start + page * PAGE;
    // Stands in for /dev/mem.
    let device = test_file(1);
    exec.map_at(at(0), 4 * PAGE, Memory::physical(RW, &device, 0)).unwrap();
    let before = exec.space().clone();
    let away = Remap::to(at(20));
    for (old, new, how) in [
        (4, 4, away),
        (4, 2, away),
        (4, 4, away.keep_source()),
        (4, 6, Remap::in_place()),
        (4, 6, Remap::may_move(Placement::lowest())),
        (0, 2, away),
    ] {
        let refused = exec.remap(at(0), old * PAGE, new * PAGE, how).unwrap_err();
        assert!(matches!(refused, ExecError::Backing { .. }), "{old} to {new}: {refused}");
        assert_eq!(*exec.space(), before);
    }
    exec.remap(at(0), 4 * PAGE, 4 * PAGE, Remap::in_place()).unwrap();
    exec.remap(at(0), 4 * PAGE, 2 * PAGE, Remap::may_move(Placement::lowest())).unwrap();
    assert_eq!(exec.query(at(0)).unwrap().len(), Some(2 * PAGE));
    assert_eq!(exec.verify().unwrap(), []);
}

#[test]
fn verify_finds_what_others_do() {
    let (mut exec, start) = executor(64);
    let at = |page: u64| start + page * PAGE;
    let pointer = |page| std::ptr::with_exposed_provenance_mut(usize::try_from(at(page)).unwrap());
    let (file, other) = (test_file(1), test_file(2));
    exec.map_at(at(0), 4 * PAGE, Memory::anonymous(RW)).unwrap();
    exec.map_at(at(8), 4 * PAGE, Memory::file(RW, &file, 2 * PAGE).shared()).unwrap();
    exec.map_at(at(16), 4 * PAGE, Memory::anonymous(RW).shared()).unwrap();
    assert_eq!(exec.verify().unwrap(), []);
    // SAFETY: the pages are the test's own, and nobody holds a reference.
    unsafe {
        use std::os::fd::AsRawFd;
        let fixed = libc::MAP_FIXED;
        assert_eq!(libc::munmap(pointer(1), 4096), 0);
        assert_eq!(libc::mprotect(pointer(3), 4096, libc::PROT_READ), 0);
        let (shared, private) = (libc::MAP_SHARED, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let rw = libc::PROT_READ | libc::PROT_WRITE;
        // The same file at another offset, another at the same, another sharing.
        libc::mmap(pointer(8), 4096, rw, shared | fixed, file.as_raw_fd(), 0);
        libc::mmap(pointer(9), 4096, rw, shared | fixed, other.as_raw_fd(), 3 * 4096);
        libc::mmap(pointer(10), 4096, rw, libc::MAP_PRIVATE | fixed, file.as_raw_fd(), 4 * 4096);
        // Other shared memory at the right offset.
        libc::mmap(pointer(16), 4096, rw, shared | fixed | libc::MAP_ANONYMOUS, -1, 0);
        // A guest in a gap.
        libc::mmap(pointer(30), 2 * 4096, libc::PROT_READ, private | fixed, -1, 0);
    }
    let differences = exec.verify().unwrap();
    let found: Vec<u64> = differences.iter().map(|d| (d.span.start() - start) / PAGE).collect();
    assert_eq!(found, [1, 3, 8, 9, 10, 16, 30], "{differences:#?}");
    assert_eq!(differences[0].kernel, None);
    assert_eq!(differences[6].books, None);
    assert_eq!(differences[6].span.len(), Some(2 * PAGE));
    assert_eq!(
        differences[1].to_string(),
        format!(
            "{}: the books have rw-p Anonymous, the kernel r--p anonymous memory",
            differences[1].span
        )
    );
    // A reset makes the reservation one's own again.
    exec.reset().unwrap();
    let left: Vec<u64> =
        exec.verify().unwrap().iter().map(|d| (d.span.start() - start) / PAGE).collect();
    assert_eq!(left, [30], "what lies behind the last mapping was not asked about");
}

#[test]
fn discard_answers_the_traps_with_errors() {
    let (mut exec, start) = executor(64);
    let at = |page: u64| start + page * PAGE;
    let file = test_file(0x77);
    exec.map_at(at(0), 4 * PAGE, Memory::anonymous(RW)).unwrap();
    exec.map_at(at(4), 2 * PAGE, Memory::file(RW, &file, PAGE)).unwrap();
    exec.map_at(at(6), PAGE, Memory::anonymous(RW).shared()).unwrap();
    exec.map_at(at(8), PAGE, Memory::anonymous(RW).locked()).unwrap();
    for page in 0..7 {
        assert!(write_word(at(page), 9));
    }
    let refused = |exec: &mut Executor, page, pages: u64| match exec.discard(at(page), pages * PAGE)
    {
        Err(ExecError::Discard { span, why }) => ((span.start() - start) / PAGE, why),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&mut exec, 0, 9), (6, Undiscardable::Shared));
    assert_eq!(refused(&mut exec, 7, 2), (7, Undiscardable::NotMapped));
    assert_eq!(refused(&mut exec, 8, 1), (8, Undiscardable::Locked));
    for page in 0..7 {
        assert_eq!(read_word(at(page)), Some(9), "a refusal discards nothing");
    }
    for (addr, len, errno) in [
        (at(0) + 1, PAGE, 22),
        (at(0), 0, 22),
        (at(60), 5 * PAGE, 12),
        (0, PAGE, 12),
        (at(0), u64::MAX, 12),
    ] {
        let Err(ExecError::Refused(error)) = exec.discard(addr, len) else { panic!() };
        assert_eq!(error.errno(), errno, "{error}");
    }
    exec.discard(at(1), 4 * PAGE + 1).unwrap();
    let words: Vec<_> = (0..7).map(|page| read_word(at(page)).unwrap()).collect();
    assert_eq!(words, [9, 0, 0, 0, 0x78, 0x79, 9]);
}

#[test]
fn growth_has_its_limits() {
    let (mut exec, start) = executor(64);
    exec.map_at(start, 4 * PAGE, Memory::anonymous(RW).shared()).unwrap();
    let grow = |exec: &mut Executor, addr, old: u64, new: u64| {
        exec.remap(addr, old * PAGE, new * PAGE, Remap::in_place()).map(drop)
    };
    let refused = grow(&mut exec, start, 4, 5).unwrap_err();
    assert!(matches!(refused, ExecError::PastObject { end: 0x4000, .. }), "{refused}");
    // After it was cut it may grow back, and its bytes are there again.
    assert!(write_word(start + 3 * PAGE, 7));
    grow(&mut exec, start, 4, 2).unwrap();
    grow(&mut exec, start, 2, 4).unwrap();
    assert_eq!(read_word(start + 3 * PAGE), Some(7));
    let duplicate = Remap::to(start + 20 * PAGE);
    let refused = exec.remap(start + 2 * PAGE, 0, 3 * PAGE, duplicate).unwrap_err();
    assert!(matches!(refused, ExecError::PastObject { end: 0x2000, .. }), "{refused}");
    exec.remap(start + 2 * PAGE, 0, 2 * PAGE, duplicate).unwrap();
    assert_eq!(read_word(start + 21 * PAGE), Some(7));
    // Two such mappings side by side are two objects.
    exec.map_at(start + 4 * PAGE, 4 * PAGE, Memory::anonymous(RW).shared()).unwrap();
    assert_eq!(exec.space().regions().count(), 3);
    assert!(exec.verify().unwrap().is_empty());
}

#[test]
fn flags_that_cannot_be_are_refused() {
    let (mut exec, start) = executor(64);
    for flag in [MapFlags::GROWS_DOWN, MapFlags::SEALED] {
        let memory = Memory::anonymous(RW).with_flags(flag | MapFlags::LOCKED);
        let refused = exec.map_at(start, PAGE, memory).unwrap_err();
        assert_eq!(refused, ExecError::Flags { flags: flag });
    }
    exec.map_at(start, PAGE, Memory::anonymous(RW)).unwrap();
    let none = MapFlags::empty();
    for flag in [MapFlags::GROWS_DOWN, MapFlags::SEALED, MapFlags::NO_RESERVE] {
        let refused = exec.set_flags(start, PAGE, none, flag).unwrap_err();
        assert_eq!(refused, ExecError::Flags { flags: flag });
    }
    let shared = exec.set_flags(start, PAGE, MapFlags::SHARED, none).unwrap_err();
    assert!(matches!(shared, ExecError::Refused(Error::SharedFlag { .. })));
    // An embedder's own bits are noted, and the kernel is not asked.
    let mine = MapFlags::from_bits_retain(1 << 31);
    exec.set_flags(start, PAGE, mine, none).unwrap();
    assert_eq!(exec.query(start).unwrap().flags, mine);
}

#[test]
fn the_kernel_has_the_options() {
    alone("the_kernel_has_the_options", || {
        let (mut exec, start) = executor(2048);
        let at = |page: u64| start + page * PAGE;
        exec.map_at(at(0), 8 * PAGE, Memory::anonymous(RW).populate()).unwrap();
        exec.map_at(at(10), 8 * PAGE, Memory::anonymous(RW).locked()).unwrap();
        exec.map_at(at(20), 8 * PAGE, Memory::anonymous(RW).huge_pages()).unwrap();
        exec.map_at(at(30), 8 * PAGE, Memory::anonymous(RW).no_huge_pages().populate()).unwrap();
        exec.map_at(at(40), 8 * PAGE, Memory::anonymous(RW).no_reserve()).unwrap();
        let private = MapFlags::DONT_FORK | MapFlags::DONT_DUMP | MapFlags::WIPE_ON_FORK;
        exec.map_at(at(50), 8 * PAGE, Memory::anonymous(RW).with_flags(private)).unwrap();
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let about = |page: u64, key: &str| {
            let from = smaps.find(&format!("{:x}-", at(page))).unwrap();
            let line = smaps[from..].lines().find(|line| line.starts_with(key)).unwrap();
            line[key.len()..].trim().to_owned()
        };
        assert_eq!(about(0, "Rss:"), "32 kB");
        assert!(about(10, "VmFlags:").contains("lo"));
        assert!(about(20, "VmFlags:").contains("hg"));
        assert!(about(30, "VmFlags:").contains("nh"));
        assert_eq!(about(30, "Rss:"), "32 kB");
        assert!(about(40, "VmFlags:").contains("nr"));
        for name in ["dc", "dd", "wf"] {
            assert!(about(50, "VmFlags:").contains(name), "{name}");
        }
        assert!(exec.verify().unwrap().is_empty());
    });
}

#[test]
fn large_pages_are_whole_or_refused() {
    const LARGE: u64 = 1 << 21;
    let reservation = Reservation::options().aligned(LARGE).reserve(8 * LARGE).unwrap();
    let mut exec = Executor::new(reservation).unwrap();
    let start = exec.space().span().unwrap().start();
    // SAFETY: the name is a string with a zero at its end.
    let fd =
        unsafe { libc::memfd_create(c"large".as_ptr(), libc::MFD_HUGETLB | libc::MFD_HUGE_2MB) };
    assert!(fd >= 0, "CANNOT RUN HERE: no large pages: {}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is new and nobody else's.
    let file = unsafe { <File as std::os::fd::FromRawFd>::from_raw_fd(fd) };
    // Nobody needs to have any for this: none is touched.
    let memory = Memory::file(RW, &file, 0).shared().no_reserve();
    for (addr, len) in [(0, PAGE), (0, LARGE + PAGE), (PAGE, LARGE), (LARGE / 2, LARGE)] {
        let refused = exec.map_at(start + addr, len, memory).unwrap_err();
        assert!(matches!(refused, ExecError::LargePages { size: LARGE, .. }), "{refused}");
    }
    let refused = exec.map_any(PAGE, memory, Placement::lowest()).unwrap_err();
    assert!(matches!(refused, ExecError::LargePages { .. }), "{refused}");
    assert_eq!(exec.space().regions().len(), 0);

    exec.map_at(start, PAGE, Memory::anonymous(RW)).unwrap();
    let odd = Placement::lowest().aligned_at(LARGE, PAGE);
    let got = exec.map_any(2 * LARGE, memory, odd).unwrap().addr() as u64;
    assert_eq!(got, start + LARGE, "at the next place where it can lie");
    assert_eq!(exec.verify().unwrap(), []);
    // They stay where they are, and go as a whole.
    for (addr, old, new, how) in [
        (got, PAGE, PAGE, Remap::to(start + 5 * LARGE)),
        (got, 2 * LARGE, 2 * LARGE, Remap::to(start + 4 * LARGE)),
        (got, 2 * LARGE, 3 * LARGE, Remap::in_place()),
        (got, 0, PAGE, Remap::to(start + 5 * LARGE)),
    ] {
        let refused = exec.remap(addr, old, new, how).unwrap_err();
        assert!(matches!(refused, ExecError::LargePages { .. }), "{refused}");
    }
    let refused = exec.unmap(got, PAGE).unwrap_err();
    assert_eq!(refused.errno(), libc::EINVAL, "{refused}");
    assert_eq!(exec.verify().unwrap(), []);
    exec.unmap(got, LARGE).unwrap();
    exec.unmap(got + LARGE, LARGE).unwrap();
    assert_eq!(exec.verify().unwrap(), []);
}

#[test]
fn what_is_too_much_of_a_reservation_is_given_back() {
    alone("what_is_too_much_of_a_reservation_is_given_back", || {
        let pages = || {
            let statm = fs::read_to_string("/proc/self/statm").unwrap();
            statm.split(' ').next().unwrap().parse::<u64>().unwrap()
        };
        let before = pages();
        let options = Reservation::options().aligned(1 << 30).guarded(5 * PAGE, 7 * PAGE);
        let reservation = options.reserve(100 * PAGE).unwrap();
        // And one page that makes room at the limit of mappings.
        assert_eq!(pages() - before, 100 + 5 + 7 + 1);
        drop(reservation);
        assert_eq!(pages(), before);
    });
}

#[test]
fn locked_memory_stays_locked_where_it_goes() {
    alone("locked_memory_stays_locked_where_it_goes", || {
        let (mut exec, start) = executor(64);
        let file = test_file(3);
        for round in 0..20 {
            exec.map_at(start, 8 * PAGE, Memory::anonymous(RW).locked()).unwrap();
            exec.map_at(start + 8 * PAGE, 2 * PAGE, Memory::file(RW, &file, 0).locked()).unwrap();
            assert!(write_word(start + 9 * PAGE, round + 100));
            // A part of it, which the kernel alone would take all the locks for.
            exec.remap(start + PAGE, PAGE, PAGE, Remap::to(start + 20 * PAGE)).unwrap();
            exec.remap(start + 8 * PAGE, 2 * PAGE, 4 * PAGE, Remap::in_place()).unwrap();
            assert_eq!(read_word(start + 9 * PAGE), Some(round + 100));
            assert_eq!(exec_model::locked_bytes(), 12 * PAGE);
            // What stays behind is not locked: so does Linux.
            let keep = Remap::to(start + 30 * PAGE).keep_source();
            exec.set_limits(addrspace::Limits { regions: Some(5), ..Default::default() });
            exec.remap(start + 4 * PAGE, PAGE, PAGE, keep).unwrap();
            exec.set_limits(addrspace::Limits::default());
            assert!(!exec.query(start + 4 * PAGE).unwrap().flags.contains(MapFlags::LOCKED));
            assert!(exec.query(start + 30 * PAGE).unwrap().flags.contains(MapFlags::LOCKED));
            assert_eq!(exec_model::locked_bytes(), 12 * PAGE);
            exec.reset().unwrap();
            assert_eq!(exec_model::locked_bytes(), 0, "after round {round}");
        }
    });
}

#[test]
fn a_file_keeps_its_number_while_it_is_mapped() {
    let (mut exec, start) = executor(64);
    let file = test_file(9);
    exec.map_at(start, PAGE, Memory::file(RW, &file, 0)).unwrap();
    for _ in 0..2000 {
        exec.map_at(start + 20 * PAGE, PAGE, Memory::anonymous(RW).shared()).unwrap();
    }
    exec.map_at(start + PAGE, PAGE, Memory::file(RW, &file, PAGE)).unwrap();
    assert_eq!(exec.query(start).unwrap().len(), Some(2 * PAGE), "it continues");
}

#[test]
fn a_reader_that_comes_late_sees_what_is() {
    let (mut exec, start) = executor(64);
    drop(exec.reader());
    exec.map_at(start, PAGE, Memory::anonymous(RW)).unwrap();
    assert_eq!(*exec.reader().load(), *exec.space());
}

/// What a failing assertion on one prints.
#[test]
fn debug_shows_the_books_and_who_follows_them() {
    let (mut exec, start) = executor(64);
    exec.observe(|_| {});
    let reader = exec.reader();
    exec.map_at(start, PAGE, Memory::anonymous(RW)).unwrap();
    assert_eq!(format!("{reader:?}"), "Reader { regions: 1 }");
    let books = format!("{:?}", exec.space());
    assert_eq!(format!("{:?}", reader.load()), books);
    let shown = format!("{exec:?}");
    for part in [books.as_str(), "1 listeners", "Publisher of "] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
}

#[test]
fn copies_that_nobody_reads_are_freed() {
    alone("copies_that_nobody_reads_are_freed", || {
        let (mut exec, start) = executor(8192);
        for page in 0..2000 {
            exec.map_at(start + 2 * page * PAGE, PAGE, Memory::anonymous(RW)).unwrap();
        }
        let reader = exec.reader();
        let kept = reader.load();
        let change = |exec: &mut Executor| {
            exec.protect(start, PAGE, Prot::READ).unwrap();
            exec.protect(start, PAGE, RW).unwrap();
        };
        for _ in 0..20 {
            change(&mut exec);
        }
        let (_, before) = footprint();
        for _ in 0..1000 {
            change(&mut exec);
        }
        let (_, after) = footprint();
        // All copies would be tens of thousands of pages.
        assert!(after < before + 1000, "{before} pages, then {after}");
        assert_eq!(kept.regions().len(), 2000);
    });
}

#[test]
fn restore_brings_mappings_back() {
    let (mut exec, start) = executor(64);
    let at = |page: u64| start + page * PAGE;
    let file = test_file(0x100);
    exec.map_at(at(0), 8 * PAGE, Memory::anonymous(RW)).unwrap();
    exec.map_at(at(10), 4 * PAGE, Memory::file(Prot::READ, &file, 0)).unwrap();
    for page in 0..8 {
        assert!(write_word(at(page), 9));
    }
    exec.mark_original();
    let clean = exec.space().clone();
    exec.protect(at(0), PAGE, Prot::empty()).unwrap();
    exec.unmap(at(2), PAGE).unwrap();
    exec.map_at(at(4), PAGE, Memory::anonymous(RW)).unwrap();
    exec.set_flags(at(6), PAGE, MapFlags::DONT_DUMP, MapFlags::empty()).unwrap();
    exec.protect(at(11), PAGE, Prot::empty()).unwrap();
    exec.map_any(9 * PAGE, Memory::anonymous(RW), Placement::highest()).unwrap();
    exec.restore(&clean).unwrap();
    assert_eq!(*exec.space(), clean);
    assert!(exec.verify().unwrap().is_empty());
    let words: Vec<_> = (0..8).map(|page| read_word(at(page)).unwrap()).collect();
    assert_eq!(words, [9, 9, 0, 9, 0, 9, 9, 9], "what was lost reads as zero");
    assert_eq!(read_word(at(11)), Some(0x101));

    // A file is another matter: it has to be mapped by somebody who has it.
    exec.unmap(at(12), PAGE).unwrap();
    exec.unmap(at(0), PAGE).unwrap();
    let before = exec.space().clone();
    let refused = exec.restore(&clean).unwrap_err();
    let ExecError::NeedsFile { span } = refused else { panic!("{refused}") };
    assert_eq!((span.start(), span.len()), (at(12), Some(PAGE)));
    assert_eq!(*exec.space(), before, "nothing has changed");
    exec.map_at(at(12), PAGE, Memory::file(Prot::READ, &file, 2 * PAGE)).unwrap();
    // It is the same file again, but not an original: that takes a new snapshot.
    assert_eq!(exec.query(at(12)).unwrap().backing, before.query(at(13)).unwrap().backing_before());
}

trait Before {
    fn backing_before(&self) -> Backing<&u32>;
}

impl Before for addrspace::Region<'_> {
    /// What the page before the region would have to show for the two to be one.
    fn backing_before(&self) -> Backing<&u32> {
        match self.backing {
            Backing::File { file, offset } => Backing::File { file, offset: offset - PAGE },
            other => other,
        }
    }
}

#[test]
fn files_of_any_kind() {
    let (mut exec, start) = executor(64);
    let at = |page: u64| start + page * PAGE;
    // A device whose private mapping is anonymous memory, and whose shared one is a
    // new object each time.
    let zero = File::options().read(true).write(true).open("/dev/zero").unwrap();
    exec.map_at(at(0), 4 * PAGE, Memory::file(RW, &zero, 0)).unwrap();
    exec.map_at(at(8), 4 * PAGE, Memory::file(RW, &zero, 0).shared()).unwrap();
    exec.map_at(at(16), 4 * PAGE, Memory::file(RW, &zero, 0).shared()).unwrap();
    // A file on whatever the tests are built on, and one without a name there.
    let path = std::env::current_exe().unwrap();
    let program = File::open(path).unwrap();
    exec.map_at(at(24), 4 * PAGE, Memory::file(Prot::READ, &program, 3 * PAGE)).unwrap();
    let maps = File::open("/proc/self/maps").unwrap();
    let refused = exec.map_at(at(24), PAGE, Memory::file(Prot::READ, &maps, 0)).unwrap_err();
    assert_eq!(refused.errno(), libc::ENODEV);
    let folder = File::open("/").unwrap();
    let refused = exec.map_at(at(24), PAGE, Memory::file(Prot::READ, &folder, 0)).unwrap_err();
    assert_eq!(refused.errno(), libc::ENODEV);
    assert_eq!(exec.verify().unwrap(), []);
    exec.protect(at(25), PAGE, Prot::empty()).unwrap();
    assert!(exec.verify().unwrap().is_empty());
    // Offsets are refused before the kernel is asked.
    for offset in [1, u64::MAX, u64::MAX - PAGE + 1, !0xfff] {
        let refused = exec.map_at(at(24), 2 * PAGE, Memory::file(Prot::READ, &program, offset));
        assert!(matches!(refused, Err(ExecError::Refused(_))), "{offset:#x}: {refused:?}");
    }
    // One file by two descriptors is one file, and continues.
    let again = File::open(std::env::current_exe().unwrap()).unwrap();
    exec.map_at(at(28), 4 * PAGE, Memory::file(Prot::READ, &again, 7 * PAGE)).unwrap();
    assert_eq!(exec.query(at(30)).unwrap().len(), Some(6 * PAGE));
    assert!(exec.verify().unwrap().is_empty());
}
