//! Refusals by the real kernel, each in a process of its own: after each of them
//! books and memory agree, nothing has leaked, and the next operation works.
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
    ExecError, Executor, MapFlags, Memory, Placement, Prot, Remap, Reservation, Syscall,
};
use exec_model::{PAGE, alone, locked_bytes, read_word, write_word};
use std::fs::{self, File};
use std::os::fd::{AsRawFd, FromRawFd};

const RW: Prot = Prot::READ.union(Prot::WRITE);

fn executor(pages: u64) -> (Executor, u64) {
    let exec = Executor::new(Reservation::new(pages * PAGE).unwrap()).unwrap();
    let start = exec.space().span().unwrap().start();
    (exec, start)
}

fn agree(exec: &mut Executor) {
    let differences = exec.verify().unwrap();
    assert!(differences.is_empty(), "{differences:?}");
    exec.space().check();
}

/// What went wrong: the call, the error number, and how much is lost.
fn kernel(error: &ExecError) -> (Syscall, i32, usize) {
    match error {
        ExecError::Kernel { call, errno, lost, .. } => (*call, *errno, lost.len()),
        other => panic!("{other}"),
    }
}

fn limit(resource: libc::__rlimit_resource_t, soft: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes to `limit` alone.
    assert_eq!(unsafe { libc::getrlimit(resource, &raw mut limit) }, 0);
    let before = limit.rlim_cur;
    limit.rlim_cur = soft.min(limit.rlim_max);
    // SAFETY: the kernel reads `limit` alone.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
    before
}

#[test]
fn the_map_count_limit() {
    alone("the_map_count_limit", || {
        // The kernel lets the limit be passed by one, and then refuses every `mmap`:
        // with one mapping more or less beforehand, both ends are seen.
        for _ in 0..2 {
            reach_the_map_count_limit();
            // One, whatever is beside it: the kernel joins shared memory with nothing.
            let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
            // SAFETY: the kernel chooses a place that nobody has.
            let one =
                unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_NONE, flags, -1, 0) };
            assert_ne!(one, libc::MAP_FAILED);
        }
    });
}

fn reach_the_map_count_limit() {
    let most = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    let most: u64 = most.trim().parse().unwrap();
    assert!(most < 1_000_000, "vm.max_map_count is {most}: too many for this test to reach");
    let (mut exec, start) = executor(2 * most + 100);
    // A region of many pages, and then one-page regions until there are no more.
    let large = start + (2 * most + 10) * PAGE;
    exec.map_at(large, 80 * PAGE, Memory::anonymous(RW)).unwrap();
    let mut page = 0;
    let error = loop {
        match exec.map_at(start + 2 * page * PAGE, PAGE, Memory::anonymous(RW)) {
            Ok(_) => page += 1,
            Err(error) => break error,
        }
    };
    assert!(page > most / 4, "{page} regions, {error}");
    assert_eq!(kernel(&error), (Syscall::Mmap, libc::ENOMEM, 0));
    agree(&mut exec);
    // Not even to unmap is possible where it would cut a region, nor to protect, nor
    // to move, but for one or two that the reservation has in store.
    let mut cuts = (1..30).map(|cut| exec.unmap(large + 2 * cut * PAGE, PAGE));
    let cut = cuts.find_map(Result::err).unwrap();
    assert_eq!(kernel(&cut), (Syscall::Mmap, libc::ENOMEM, 0));
    let cut = exec.protect(large + 70 * PAGE, PAGE, Prot::READ).unwrap_err();
    assert_eq!(kernel(&cut), (Syscall::Mprotect, libc::ENOMEM, 0));
    let moved = Remap::to(large + 81 * PAGE);
    let cut = exec.remap(large + 70 * PAGE, PAGE, PAGE, moved).unwrap_err();
    assert_eq!(kernel(&cut), (Syscall::Mremap, libc::ENOMEM, 0));
    agree(&mut exec);
    assert!(exec.space().is_fully_mapped(large + 60 * PAGE, 20 * PAGE));
    // What needs no more regions goes on, and then there is room again.
    exec.unmap(start, 100 * PAGE).unwrap();
    exec.unmap(large + 70 * PAGE, PAGE).unwrap();
    exec.map_at(start, PAGE, Memory::anonymous(RW)).unwrap();
    agree(&mut exec);
}

#[test]
fn the_limit_of_address_space() {
    alone("the_limit_of_address_space", || {
        let (mut exec, start) = executor(4096);
        let at = |page: u64| start + page * PAGE;
        exec.map_at(at(0), 16 * PAGE, Memory::anonymous(RW)).unwrap();
        assert!(write_word(at(0), 7));
        // A reservation counts as a whole, so what is mapped in it costs no more:
        // only what needs a second place for an instant is refused.
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        let total: u64 = statm.split(' ').next().unwrap().parse().unwrap();
        let before = limit(libc::RLIMIT_AS, (total + 64) * PAGE);
        exec.map_at(at(16), 2000 * PAGE, Memory::anonymous(RW)).unwrap();
        exec.map_at(at(8), 2000 * PAGE, Memory::anonymous(RW)).unwrap();
        let refused = Reservation::new(2000 * PAGE).unwrap_err();
        assert_eq!(kernel(&refused), (Syscall::Mmap, libc::ENOMEM, 0));
        let huge = Memory::anonymous(RW).no_huge_pages();
        let refused = exec.map_at(at(0), 2000 * PAGE, huge).unwrap_err();
        assert_eq!(kernel(&refused), (Syscall::Mmap, libc::ENOMEM, 0));
        agree(&mut exec);
        assert_eq!(read_word(at(0)), Some(7));
        limit(libc::RLIMIT_AS, before);
        exec.map_at(at(0), 2000 * PAGE, huge).unwrap();
        agree(&mut exec);
    });
}

#[test]
fn a_sealed_file() {
    alone("a_sealed_file", || {
        let file = exec_model::test_file(1);
        // SAFETY: a call about a descriptor that is open.
        let sealed =
            unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_WRITE) };
        // Seals need a file that allows them.
        assert_eq!(sealed, -1);
        // SAFETY: the name is a string with a zero at its end.
        let fd = unsafe { libc::memfd_create(c"sealed".as_ptr(), libc::MFD_ALLOW_SEALING) };
        // SAFETY: the descriptor is new and nobody else's.
        let file = unsafe { File::from_raw_fd(fd) };
        file.set_len(16 * PAGE).unwrap();
        // SAFETY: as above.
        let sealed = unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_WRITE) };
        assert_eq!(sealed, 0);
        let (mut exec, start) = executor(64);
        exec.map_at(start, 4 * PAGE, Memory::anonymous(RW)).unwrap();
        assert!(write_word(start + PAGE, 7));
        let refused = exec.map_at(start + PAGE, PAGE, Memory::file(RW, &file, 0).shared());
        assert_eq!(kernel(&refused.unwrap_err()), (Syscall::Mmap, libc::EPERM, 0));
        agree(&mut exec);
        assert_eq!(read_word(start + PAGE), Some(7));
        exec.map_at(start + PAGE, PAGE, Memory::file(RW, &file, 0)).unwrap();
        agree(&mut exec);
        assert!(write_word(start + PAGE, 8), "a private view can be written");
    });
}

#[test]
fn a_file_that_was_opened_read_only() {
    alone("a_file_that_was_opened_read_only", || {
        let file = File::open(std::env::current_exe().unwrap()).unwrap();
        let (mut exec, start) = executor(64);
        let at = |page: u64| start + page * PAGE;
        let refused = exec.map_at(start, PAGE, Memory::file(RW, &file, 0).shared()).unwrap_err();
        assert_eq!(kernel(&refused), (Syscall::Mmap, libc::EACCES, 0));
        assert_eq!(exec.query(start), None);
        agree(&mut exec);
        // One run of three regions, of which the kernel changes the first.
        exec.map_at(at(0), 2 * PAGE, Memory::anonymous(Prot::READ)).unwrap();
        exec.map_at(at(2), 2 * PAGE, Memory::file(Prot::READ, &file, 0).shared()).unwrap();
        exec.map_at(at(4), 2 * PAGE, Memory::anonymous(Prot::READ)).unwrap();
        let reader = exec.reader();
        let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let hearing = std::sync::Arc::clone(&heard);
        exec.observe(move |update| hearing.lock().unwrap().push(update.span()));
        let refused = exec.protect(at(0), 6 * PAGE, RW).unwrap_err();
        assert_eq!(kernel(&refused), (Syscall::Mprotect, libc::EACCES, 0));
        let prots: Vec<Prot> = exec.space().regions().map(|region| region.prot).collect();
        assert_eq!(prots, [RW, Prot::READ, Prot::READ]);
        assert_eq!(*reader.load(), *exec.space(), "corrections are published");
        assert_eq!(*heard.lock().unwrap(), [exec.query(start).unwrap().span]);
        agree(&mut exec);
        exec.protect(at(4), 2 * PAGE, RW).unwrap();
        agree(&mut exec);
    });
}

/// A descriptor whose own `mmap` refuses most lengths, after the kernel has made
/// room for it.
fn counter() -> File {
    let mut attributes = [0_u64; 16];
    attributes[0] = 1 | (128 << 32); // a software event, and the size of this
    attributes[5] = 3 << 5; // of this process's own code, which needs no right
    // SAFETY: the kernel reads the structure, whose size stands in it.
    let fd =
        unsafe { libc::syscall(libc::SYS_perf_event_open, &raw const attributes, 0, -1, -1, 0) };
    assert!(fd >= 0, "CANNOT RUN HERE: perf_event_open: {}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is new and nobody else's.
    unsafe { File::from_raw_fd(i32::try_from(fd).unwrap()) }
}

#[test]
fn a_device_whose_mmap_fails() {
    alone("a_device_whose_mmap_fails", || {
        let device = counter();
        let (mut exec, start) = executor(64);
        exec.map_at(start, 8 * PAGE, Memory::anonymous(RW)).unwrap();
        assert!(write_word(start + PAGE, 7));
        // Four pages are not one more than a power of two.
        let wrong =
            exec.map_at(start + PAGE, 4 * PAGE, Memory::file(Prot::READ, &device, 0).shared());
        assert_eq!(kernel(&wrong.unwrap_err()), (Syscall::Mmap, libc::EINVAL, 0));
        assert_eq!(read_word(start + PAGE), Some(7), "nothing is lost by way of scratch");
        agree(&mut exec);
        let mapped = || fs::read_to_string("/proc/self/maps").unwrap().lines().count();
        let before = mapped();
        for _ in 0..1000 {
            let memory = Memory::file(Prot::READ, &device, 0).shared();
            exec.map_at(start + PAGE, 4 * PAGE, memory).unwrap_err();
            let fine = Memory::file(Prot::READ, &device, 0).shared();
            exec.map_at(start + 20 * PAGE, 2 * PAGE, fine).unwrap();
        }
        assert!(mapped() < before + 20, "nothing is left at the scratch address");
        exec.unmap(start + 20 * PAGE, 2 * PAGE).unwrap();
        // SAFETY: the pages are ours, and nobody holds a reference into them.
        let plain = unsafe {
            let there =
                std::ptr::with_exposed_provenance_mut(usize::try_from(start + PAGE).unwrap());
            let flags = libc::MAP_SHARED | libc::MAP_FIXED;
            libc::mmap(there, 4 * 4096, libc::PROT_READ, flags, device.as_raw_fd(), 0)
        };
        assert_eq!(plain, libc::MAP_FAILED);
        // That is what the kernel does to those who map over something directly. It
        // shows as a difference, and as one loss when the executor next looks.
        let differences = exec.verify().unwrap();
        assert_eq!(differences.len(), 1, "{differences:?}");
        assert!(differences[0].books.is_some() && differences[0].kernel.is_none());
        let refused = exec.protect(start, 8 * PAGE, Prot::READ).unwrap_err();
        let ExecError::Kernel { call: Syscall::Mprotect, errno: libc::ENOMEM, lost, .. } = refused
        else {
            panic!("{refused}")
        };
        assert_eq!(lost, [differences[0].span]);
        agree(&mut exec);
        exec.map_at(start + PAGE, 4 * PAGE, Memory::anonymous(RW)).unwrap();
        agree(&mut exec);
    });
}

fn mseal(addr: u64, len: u64) {
    // SAFETY: a call about the test's own pages.
    let sealed = unsafe { libc::syscall(462, addr, len, 0) };
    let error = std::io::Error::last_os_error();
    assert_eq!(sealed, 0, "CANNOT RUN HERE: mseal, from Linux 6.10 on: {error}");
}

#[test]
fn pages_that_are_sealed() {
    alone("pages_that_are_sealed", || {
        let (mut exec, start) = executor(64);
        let at = |page: u64| start + page * PAGE;
        exec.map_at(at(0), 3 * PAGE, Memory::anonymous(RW)).unwrap();
        exec.map_at(at(3), 2 * PAGE, Memory::anonymous(Prot::READ)).unwrap();
        exec.map_at(at(5), 3 * PAGE, Memory::anonymous(RW)).unwrap();
        mseal(at(3), 2 * PAGE);
        let sealed = |error: ExecError| assert_eq!(kernel(&error).1, libc::EPERM, "{error}");
        sealed(exec.map_at(at(2), 2 * PAGE, Memory::anonymous(RW)).unwrap_err());
        sealed(exec.unmap(at(0), 8 * PAGE).unwrap_err());
        sealed(exec.remap(at(0), PAGE, PAGE, Remap::to(at(4))).unwrap_err());
        agree(&mut exec);
        assert_eq!(exec.space().regions().count(), 3);
        // Of one call over all, the part before it is done.
        sealed(exec.protect(at(0), 8 * PAGE, Prot::empty()).unwrap_err());
        let prots: Vec<Prot> = exec.space().regions().map(|region| region.prot).collect();
        assert_eq!(prots, [Prot::empty(), Prot::READ, RW]);
        agree(&mut exec);
        exec.unmap(at(5), 3 * PAGE).unwrap();
        agree(&mut exec);
        // What cannot go stays, and all around it goes.
        drop(exec);
        for (page, pages) in [(0, 3), (5, 59)] {
            // One after the other: each keeps a page in store, which the kernel may place
            // in the room of the next.
            drop(Reservation::options().at(at(page)).reserve(pages * PAGE).unwrap());
        }
        let taken = Reservation::options().at(at(4)).reserve(PAGE).unwrap_err();
        assert!(matches!(taken, ExecError::Taken { .. }), "{taken}");
    });
}

/// Takes the right away to lock as much as one likes, which root has.
fn without_lock_right() {
    const LOCK: u32 = 14;
    #[repr(C)]
    struct Header(u32, i32);
    let header = Header(0x2008_0522, 0);
    let mut sets = [0_u32; 6];
    // SAFETY: the kernel reads the header and writes the two times three words.
    let got = unsafe { libc::syscall(libc::SYS_capget, &raw const header, &raw mut sets) };
    assert_eq!(got, 0);
    sets[0] &= !(1 << LOCK);
    // SAFETY: the kernel reads both.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const sets) };
    assert_eq!(set, 0);
}

#[test]
fn memory_locked_beyond_the_limit() {
    alone("memory_locked_beyond_the_limit", || {
        without_lock_right();
        limit(libc::RLIMIT_MEMLOCK, 16 * PAGE);
        let (mut exec, start) = executor(256);
        let at = |page: u64| start + page * PAGE;
        let refused = exec.map_at(at(0), 20 * PAGE, Memory::anonymous(RW).locked()).unwrap_err();
        assert_eq!(kernel(&refused), (Syscall::Mmap, libc::EAGAIN, 0));
        exec.map_at(at(0), 10 * PAGE, Memory::anonymous(RW).locked()).unwrap();
        exec.map_at(at(20), 10 * PAGE, Memory::anonymous(RW)).unwrap();
        let (locked, none) = (MapFlags::LOCKED, MapFlags::empty());
        let refused = exec.set_flags(at(20), 10 * PAGE, locked, none).unwrap_err();
        assert_eq!(kernel(&refused), (Syscall::Mlock, libc::ENOMEM, 0));
        assert!(!exec.query(at(20)).unwrap().flags.contains(locked));
        let refused = exec.remap(at(0), 10 * PAGE, 20 * PAGE, Remap::in_place()).unwrap_err();
        assert_eq!(kernel(&refused), (Syscall::Mmap, libc::EAGAIN, 0));
        agree(&mut exec);
        assert_eq!(locked_bytes(), 10 * PAGE);
        exec.set_flags(at(0), 5 * PAGE, none, locked).unwrap();
        exec.set_flags(at(20), 10 * PAGE, locked, none).unwrap();
        assert_eq!(locked_bytes(), 15 * PAGE);
        exec.unmap(at(0), 100 * PAGE).unwrap();
        assert_eq!(locked_bytes(), 0);
    });
}

/// Private file memory grows without its lock, and is locked again.
#[test]
fn a_locked_file_that_grows_beyond_the_limit() {
    alone("a_locked_file_that_grows_beyond_the_limit", || {
        without_lock_right();
        limit(libc::RLIMIT_MEMLOCK, 4 * PAGE);
        let (mut exec, start) = executor(64);
        let at = |page: u64| start + page * PAGE;
        let program = File::open("/proc/self/exe").unwrap();
        exec.map_at(at(0), 3 * PAGE, Memory::file(RW, &program, 0).locked()).unwrap();
        let before = exec.space().clone();
        let refused = exec.remap(at(0), 3 * PAGE, 9 * PAGE, Remap::in_place()).unwrap_err();
        assert_eq!(kernel(&refused), (Syscall::Mlock, libc::ENOMEM, 0));
        agree(&mut exec);
        assert_eq!(*exec.space(), before);
        assert_eq!(locked_bytes(), 3 * PAGE);

        let away = Remap::to(at(20));
        let refused = exec.remap(at(0), 3 * PAGE, 9 * PAGE, away).unwrap_err();
        assert_eq!(kernel(&refused), (Syscall::Mlock, libc::ENOMEM, 0));
        agree(&mut exec);
        assert_eq!(exec.query(at(20)).unwrap().span.len(), Some(3 * PAGE), "it has moved");
        assert_eq!(locked_bytes(), 3 * PAGE);
        let elsewhere = exec.remap(at(20), 3 * PAGE, 4 * PAGE, Remap::in_place()).unwrap();
        assert_eq!((elsewhere.addr() as u64, locked_bytes()), (at(20), 4 * PAGE));
        agree(&mut exec);
    });
}

#[test]
fn a_refused_move_of_locked_memory() {
    alone("a_refused_move_of_locked_memory", || {
        let (mut exec, start) = executor(64);
        let at = |page: u64| start + page * PAGE;
        exec.map_at(at(0), 2 * PAGE, Memory::anonymous(RW).locked()).unwrap();
        exec.map_at(at(2), 2 * PAGE, Memory::anonymous(Prot::READ)).unwrap();
        mseal(at(2), 2 * PAGE);
        let keep = Remap::to(at(20)).keep_source();
        let refused = exec.remap(at(0), 4 * PAGE, 4 * PAGE, keep).unwrap_err();
        assert_eq!(kernel(&refused), (Syscall::Mremap, libc::EPERM, 0));
        // What came before the sealed pages has moved, with its lock.
        let locked = |page| exec.query(at(page)).unwrap().flags.contains(MapFlags::LOCKED);
        assert_eq!([locked(0), locked(20)], [false, true]);
        assert_eq!(exec.query(at(22)), None);
        assert_eq!(locked_bytes(), 2 * PAGE);
        agree(&mut exec);
    });
}

/// A move that is refused after the kernel has unmapped its target leaves a hole until
/// that is looked at, and somebody can be quicker.
#[test]
fn a_stranger_in_a_hole_is_left_alone() {
    alone("a_stranger_in_a_hole_is_left_alone", || {
        let (mut exec, start) = executor(64);
        let at = |page: u64| start + page * PAGE;
        for page in [0, 10] {
            exec.map_at(at(page), PAGE, Memory::anonymous(RW)).unwrap();
        }
        let before = limit(libc::RLIMIT_AS, 1 << 20);
        let refused = exec.remap(at(0), PAGE, PAGE, Remap::to(at(10))).unwrap_err();
        limit(libc::RLIMIT_AS, before);
        let (call, errno, lost) = kernel(&refused);
        assert_eq!((call, errno), (Syscall::Mremap, libc::ENOMEM));
        if lost == 0 {
            println!("this kernel keeps the target of a refused move");
            return agree(&mut exec);
        }
        assert_eq!(exec.query(at(10)), None);
        let there = std::ptr::with_exposed_provenance_mut(usize::try_from(at(10)).unwrap());
        // SAFETY: nothing is replaced.
        let stranger = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
            libc::mmap(there, 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        assert_eq!(stranger, there, "the hole could not be filled within the limit");
        assert!(write_word(at(10), 77));
        let taken = exec.map_at(at(8), 4 * PAGE, Memory::anonymous(Prot::READ)).unwrap_err();
        assert!(matches!(taken, ExecError::Taken { taken: Some(_), .. }), "{taken}");
        assert_eq!((exec.query(at(10)), read_word(at(10))), (None, Some(77)));
        assert_eq!(exec.verify().unwrap().len(), 1);
        // All around it goes on, and when the stranger has gone it is ours again.
        exec.map_at(at(20), PAGE, Memory::anonymous(RW)).unwrap();
        // SAFETY: the stranger's own page.
        assert_eq!(unsafe { libc::munmap(there, 4096) }, 0);
        agree(&mut exec);
        exec.map_at(at(8), 4 * PAGE, Memory::anonymous(RW)).unwrap();
        agree(&mut exec);
    });
}

/// A page without access is locked and said to be refused, both at once.
#[test]
fn what_a_refused_lock_has_done_is_in_the_books() {
    alone("what_a_refused_lock_has_done_is_in_the_books", || {
        let (mut exec, start) = executor(64);
        exec.map_at(start, 4 * PAGE, Memory::anonymous(RW)).unwrap();
        exec.map_at(start + 4 * PAGE, 4 * PAGE, Memory::anonymous(Prot::empty())).unwrap();
        let (locked, none) = (MapFlags::LOCKED, MapFlags::empty());
        let refused = exec.set_flags(start, 8 * PAGE, locked, none).unwrap_err();
        assert_eq!(kernel(&refused), (Syscall::Mlock, libc::ENOMEM, 0));
        let booked: u64 = (exec.space().regions())
            .filter(|region| region.flags.contains(locked))
            .map(|region| region.len().unwrap())
            .sum();
        assert_eq!(booked, locked_bytes());
        assert!(booked > 0);
        agree(&mut exec);
    });
}

#[test]
fn a_placement_that_the_kernel_refuses_maps_nothing() {
    alone("a_placement_that_the_kernel_refuses_maps_nothing", || {
        let device = counter();
        let (mut exec, _) = executor(64);
        let memory = Memory::file(Prot::READ, &device, 0).shared();
        let refused = exec.map_any(4 * PAGE, memory, Placement::lowest()).unwrap_err();
        assert_eq!(kernel(&refused), (Syscall::Mmap, libc::EINVAL, 0));
        assert_eq!(exec.space().usage().mapped, 0);
        agree(&mut exec);
        // Three pages are one and two: it maps, and the books know it as a file.
        let got = exec.map_any(3 * PAGE, memory, Placement::lowest()).unwrap();
        assert_eq!(exec.query(u64::try_from(got.addr()).unwrap()).unwrap().len(), Some(3 * PAGE));
        agree(&mut exec);
    });
}

/// `mmap` would ignore such bits, and no `mprotect` could give them later.
#[test]
fn a_protection_that_the_kernel_does_not_know() {
    let (mut exec, start) = executor(4);
    let odd = RW | Prot::from_bits_retain(0x40);
    let growing = RW | Prot::from_bits_retain(0x0100_0000); // PROT_GROWSDOWN
    exec.map_at(start, PAGE, Memory::anonymous(RW)).unwrap();
    let clean = exec.space().clone();
    for prot in [odd, growing] {
        let refused = exec.map_at(start + PAGE, PAGE, Memory::anonymous(prot)).unwrap_err();
        assert_eq!(kernel(&refused), (Syscall::Mmap, libc::EINVAL, 0));
        let huge = Memory::anonymous(prot).huge_pages();
        let refused = exec.map_any(PAGE, huge, Placement::lowest()).unwrap_err();
        assert_eq!(kernel(&refused), (Syscall::Mmap, libc::EINVAL, 0));
        let refused = exec.protect(start, PAGE, prot).unwrap_err();
        assert_eq!(kernel(&refused), (Syscall::Mprotect, libc::EINVAL, 0));
        assert_eq!(*exec.space(), clean);
        agree(&mut exec);
    }
    // What has no meaning on this machine but is known is carried.
    let semaphores = RW | Prot::from_bits_retain(0x8);
    exec.map_at(start, PAGE, Memory::anonymous(semaphores)).unwrap();
    let snapshot = exec.space().clone();
    exec.protect(start, PAGE, Prot::READ).unwrap();
    exec.restore(&snapshot).unwrap();
    assert_eq!(*exec.space(), snapshot);
    agree(&mut exec);
}
