//! One memory, several views of it.

use crate::support::{PAGE, RW, cannot, get, listed, set};
use addrspace::alias::{AliasError, Seal, SharedMemory};
use addrspace::{Backing, Executor, Placement, Prot, Remap, Reservation};
use std::os::fd::AsFd;

#[test]
fn views_show_each_other_s_writes_in_both_directions() {
    let memory = SharedMemory::new(4 * PAGE).unwrap();
    let one = memory.map(0, 4 * PAGE, RW).unwrap();
    let two = memory.map(PAGE, 2 * PAGE, RW).unwrap();
    for word in 0..2 * PAGE / 8 {
        set(two.span().start() + word * 8, word);
        assert_eq!(get(one.span().start() + PAGE + word * 8), word);
        set(one.span().start() + PAGE + word * 8, !word);
        assert_eq!(get(two.span().start() + word * 8), !word);
    }
    // The pages around are as they were.
    assert_eq!((get(one.span().start()), get(one.span().start() + 3 * PAGE)), (0, 0));
}

#[test]
fn each_view_has_its_own_protection() {
    let memory = SharedMemory::options().named("views").create(3 * PAGE).unwrap();
    for (prot, shown) in [
        (Prot::empty(), "---s"),
        (Prot::READ, "r--s"),
        (RW, "rw-s"),
        (Prot::READ | Prot::EXEC, "r-xs"),
    ] {
        let mut view = memory.map(PAGE, PAGE, prot).unwrap();
        let line = &listed(view.span())[0];
        assert_eq!((line.prot.as_str(), line.offset, line.span), (shown, PAGE, view.span()));
        assert_eq!(line.name, "/memfd:views (deleted)");
        view.protect(Prot::READ).unwrap();
        assert_eq!(listed(view.span())[0].prot, "r--s");
        let gone = view.span();
        drop(view);
        // Another test may have got its place by now.
        assert!(listed(gone).iter().all(|line| line.name != "/memfd:views (deleted)"));
    }
}

/// A code buffer that is never both writable and executable.
#[test]
fn a_jit_emits_a_function_and_runs_it() {
    // f(a, b) = a + b, then f(a, b) = a * b, in the calling convention of System V.
    let (add, multiply): (&[u8], &[u8]) = if cfg!(target_arch = "x86_64") {
        (&[0x8d, 0x04, 0x37, 0xc3], &[0x89, 0xf8, 0x0f, 0xaf, 0xc6, 0xc3])
    } else {
        return cannot("a function for this processor");
    };
    let code = SharedMemory::options().named("code").create(PAGE).unwrap();
    let writable = code.map(0, PAGE, RW).unwrap();
    let executable = code.map(0, PAGE, Prot::READ | Prot::EXEC).unwrap();
    let emit = |bytes: &[u8]| {
        // SAFETY: the page is mapped and writable, and nothing of it runs meanwhile.
        unsafe { writable.pointer().copy_from(bytes.as_ptr(), bytes.len()) };
    };
    emit(add);
    // SAFETY: the page is executable and has such a function in it.
    let function: extern "sysv64" fn(i32, i32) -> i32 =
        unsafe { std::mem::transmute(executable.pointer()) };
    assert_eq!(function(6, 7), 13);
    emit(multiply);
    assert_eq!(function(6, 7), 42);

    let views = [writable.span(), executable.span()];
    let prots = views.map(|span| listed(span).remove(0).prot);
    assert_eq!(prots, ["rw-s", "r-xs"]);
}

#[test]
fn seals_hold_for_everyone() {
    let memory = SharedMemory::new(PAGE).unwrap();
    let before = memory.map(0, PAGE, RW).unwrap();
    memory.seal(Seal::NewWriters).unwrap();
    let theirs = SharedMemory::from_file(memory.as_fd().try_clone_to_owned().unwrap()).unwrap();
    assert_eq!(theirs.map(0, PAGE, RW).unwrap_err().errno(), libc::EPERM);
    let mut reader = theirs.map(0, PAGE, Prot::READ).unwrap();
    assert_eq!(reader.protect(RW).unwrap_err().errno(), libc::EACCES);
    assert_eq!(reader.prot(), Prot::READ);
    assert_eq!(theirs.write_at(0, &[1]).unwrap_err().errno(), libc::EPERM);
    set(before.span().start(), 7); // who was there before may write
    assert_eq!(get(reader.span().start()), 7);

    assert_eq!(memory.seal(Seal::Writes).unwrap_err().errno(), libc::EBUSY);
    drop(before);
    memory.seal(Seal::Writes).unwrap();
    memory.seal(Seal::Growth).unwrap();
    assert_eq!(theirs.grow(2 * PAGE).unwrap_err().errno(), libc::EPERM);
    memory.seal(Seal::Seals).unwrap();
    assert!(theirs.is_sealed(Seal::Seals).unwrap());
    assert_eq!(theirs.seal(Seal::Growth).unwrap_err().errno(), libc::EPERM);
    // It was sealed against shrinking already, so it is taken all the same.
    SharedMemory::from_file(memory.as_fd().try_clone_to_owned().unwrap()).unwrap();
}

#[test]
fn it_grows_and_nobody_can_cut_it_short() {
    let memory = SharedMemory::new(PAGE).unwrap();
    let first = memory.map(0, PAGE, RW).unwrap();
    set(first.span().start(), 7);
    memory.grow(3 * PAGE - 1).unwrap(); // is rounded up
    assert_eq!(memory.len(), Ok(3 * PAGE));
    let all = memory.map(0, 3 * PAGE, Prot::READ).unwrap();
    assert_eq!((get(all.span().start()), get(all.span().start() + 2 * PAGE)), (7, 0));
    let cut = std::fs::File::from(memory.as_fd().try_clone_to_owned().unwrap()).set_len(0);
    assert_eq!(cut.unwrap_err().raw_os_error(), Some(libc::EPERM));
}

#[test]
fn wrong_numbers_change_nothing() {
    let memory = SharedMemory::new(4 * PAGE).unwrap();
    let of = 4 * PAGE;
    let range = |at, len| AliasError::Range { at, len, of };
    let alignment = |at, len| AliasError::Alignment { at, len, page: PAGE };
    for (offset, len, error) in [
        (0, 0, range(0, 0)),
        (4 * PAGE, PAGE, range(4 * PAGE, PAGE)),
        (PAGE, 4 * PAGE, range(PAGE, 4 * PAGE)),
        (u64::MAX, 1, range(u64::MAX, 1)),
        (PAGE, u64::MAX, range(PAGE, u64::MAX)),
        (1, PAGE, alignment(1, PAGE)),
        (0, PAGE + 1, alignment(0, PAGE + 1)),
    ] {
        assert_eq!(memory.map(offset, len, Prot::READ).unwrap_err(), error);
    }
    for len in [0, u64::MAX, i64::MAX as u64 + 1] {
        assert!(matches!(SharedMemory::new(len), Err(AliasError::Range { .. })), "{len:#x}");
        memory.grow(len).unwrap_err();
    }
    // Writing has no bits of its own here: the kernel grows nothing.
    let growing = Prot::from_bits_retain(0x0100_0000);
    assert_eq!(
        memory.map(0, PAGE, Prot::READ).unwrap().protect(growing).unwrap_err().errno(),
        libc::EINVAL
    );
    for size in [0, 1, 3, PAGE, PAGE + 1] {
        let refused = SharedMemory::options().large_pages(size).create(1).unwrap_err();
        assert_eq!(refused, AliasError::PageSize { size });
    }
    assert_eq!(memory.len(), Ok(of));
}

/// The pool of large pages is the system's: it is filled for the test where that can be.
#[test]
fn large_pages_are_whole_ones() {
    const LARGE: u64 = 2 << 20;
    let pool = "/proc/sys/vm/nr_hugepages";
    let before = std::fs::read_to_string(pool).unwrap_or_default();
    if let Err(error) = std::fs::write(pool, "4") {
        cannot(&format!("filling the pool of large pages: {error}"));
    }
    let memory = match SharedMemory::options().large_pages(LARGE).create(2 * LARGE) {
        Ok(memory) => memory,
        Err(error) => {
            assert!(matches!(error, AliasError::Kernel { call: "memfd_create", .. }), "{error}");
            return cannot(&format!("large pages: {error}"));
        }
    };
    let part = memory.map(0, PAGE, RW).unwrap_err();
    assert_eq!(part, AliasError::Alignment { at: 0, len: PAGE, page: LARGE });
    match (memory.map(0, 2 * LARGE, RW), memory.map(LARGE, LARGE, Prot::READ)) {
        (Ok(all), Ok(last)) => {
            set(all.span().start() + LARGE, 7);
            assert_eq!(get(last.span().start()), 7);
            let mut guest =
                Executor::new(Reservation::options().aligned(LARGE).reserve(4 * LARGE).unwrap())
                    .unwrap();
            let start = guest.space().span().unwrap().start();
            guest.map_at(start + PAGE, LARGE, memory.memory(0, RW)).unwrap_err();
            guest.map_at(start, LARGE, memory.memory(LARGE, RW)).unwrap();
            assert_eq!(get(start), 7);
        }
        (refused, _) => {
            assert_eq!(refused.unwrap_err().errno(), libc::ENOMEM);
            cannot("large pages: the pool is empty");
        }
    }
    let _ = std::fs::write(pool, before.trim());
}

/// In a guest's space the memory is a file whose offset follows splits and merges.
#[test]
fn the_books_follow_the_offset_and_know_who_maps_what() {
    let memory = SharedMemory::new(8 * PAGE).unwrap();
    let other = SharedMemory::new(8 * PAGE).unwrap();
    let mut guest = Executor::new(Reservation::new(32 * PAGE).unwrap()).unwrap();
    let start = guest.space().span().unwrap().start();
    let at = |page: u64| start + page * PAGE;
    assert_eq!(guest.pieces_of(&memory, 0, u64::MAX).unwrap(), []);

    guest.map_at(at(0), 8 * PAGE, memory.memory(0, RW)).unwrap();
    guest.map_at(at(10), 8 * PAGE, other.memory(0, RW)).unwrap();
    guest.map_at(at(20), 2 * PAGE, memory.memory(3 * PAGE, Prot::READ)).unwrap();
    guest.protect(at(2), 2 * PAGE, Prot::READ).unwrap(); // splits the first in three

    let places = |guest: &Executor, offset, len| -> Vec<(u64, u64, u64)> {
        let pieces = guest.pieces_of(&memory, offset, len).unwrap();
        let shown = pieces.iter().map(|piece| match piece.backing {
            Backing::File { offset, .. } => (piece.start() - start, piece.len().unwrap(), offset),
            other => panic!("{other:?}"),
        });
        shown.collect()
    };
    // One byte, in a page that two show.
    let byte = 3 * PAGE + 5;
    assert_eq!(places(&guest, byte, 1), [(byte, 1, byte), (20 * PAGE + 5, 1, byte)]);
    // Bytes that reach over the splits.
    assert_eq!(
        places(&guest, PAGE + 8, 4 * PAGE),
        [
            (PAGE + 8, PAGE - 8, PAGE + 8),
            (2 * PAGE, 2 * PAGE, 2 * PAGE),
            (4 * PAGE, PAGE + 8, 4 * PAGE),
            (20 * PAGE, 2 * PAGE, 3 * PAGE),
        ]
    );
    assert_eq!(places(&guest, 8 * PAGE, u64::MAX), []);
    assert_eq!(places(&guest, 0, 0), []);

    // Merged again, it is one.
    guest.protect(at(2), 2 * PAGE, RW).unwrap();
    assert_eq!(places(&guest, 0, u64::MAX).len(), 2);
    // It moves with what shows it.
    guest.remap(at(20), 2 * PAGE, 2 * PAGE, Remap::to(at(24))).unwrap();
    assert_eq!(places(&guest, byte, 1), [(byte, 1, byte), (24 * PAGE + 5, 1, byte)]);
    guest.unmap(at(3), PAGE).unwrap();
    assert_eq!(places(&guest, byte, 1), [(24 * PAGE + 5, 1, byte)]);
    assert!(guest.verify().unwrap().is_empty());

    // And so says the memory itself: a mark written through the file is at each place.
    memory.write_at(4 * PAGE, &9_u64.to_ne_bytes()).unwrap();
    for (place, ..) in places(&guest, 4 * PAGE, 8) {
        assert_eq!(get(start + place), 9);
    }
    let any = guest.map_any(PAGE, memory.memory(4 * PAGE, Prot::READ), Placement::lowest());
    assert_eq!(get(any.unwrap().addr() as u64), 9);
    assert_eq!(places(&guest, 4 * PAGE, 8).len(), 3);
}
