//! Dumps of the file that stands in.

use super::support::{Scratch, pattern};
use addrspace::phys::{By, DumpOptions, Error, PhysMem, Progress, Unreadable, Way};
use addrspace::{Executor, Memory, Placement, Prot, Reservation, Span};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;

fn quiet(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn a_dump_is_the_memory_byte_for_byte() {
    let memory = Scratch::memory(0x21_357);
    let device = memory.device().cached().open().unwrap();
    let bytes = memory.bytes();
    let ranges =
        [(0, 0x21_356), (0x1001, 0x1001), (0xfff, 0x1000), (0x3000, 0x12fff), (7, 0x20_000)];
    for (first, last) in ranges {
        for direct in [true, false] {
            for by in [By::Windows, By::Reading] {
                for chunk in [1, 0x3000, 1 << 20] {
                    let to = Scratch::path_alone();
                    std::fs::write(to.path(), vec![0xee; 0x40_000]).unwrap();
                    let options = DumpOptions { direct, by, chunk, ..DumpOptions::default() };
                    let dump = device.dump(first..=last, to.path(), &options, quiet).unwrap();
                    assert_eq!(dump.len, last - first + 1);
                    assert_eq!(dump.unreadable, []);
                    assert_eq!(matches!(dump.way, Way::Buffered), !direct);
                    let expected = &bytes[first as usize..=last as usize];
                    assert!(to.bytes() == expected, "{first:#x}..={last:#x} {options:?}");
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_read_is_dealt_with_as_asked() {
    let memory = Scratch::memory(0x5123);
    let device = memory.device().cached().open().unwrap();
    let mut expected = memory.bytes()[0x800..].to_vec();
    expected.resize(0x20_000, 0);
    for by in [By::Windows, By::Reading] {
        for unreadable in [Unreadable::Zero, Unreadable::Skip] {
            let to = Scratch::path_alone();
            let options = DumpOptions { unreadable, by, chunk: 0x4000, ..DumpOptions::default() };
            let dump = device.dump(0x800..=0x207ff, to.path(), &options, quiet).unwrap();
            assert_eq!(dump.unreadable, [Span::new(0x5123, 0x2_07ff).unwrap()]);
            assert!(matches!(dump.first_refusal, Some(Error::End { .. })));
            assert!(to.bytes() == expected, "{options:?}");
            let on_disk = std::fs::metadata(to.path()).unwrap().blocks() * 512;
            assert_eq!(on_disk < 0x20_000, unreadable == Unreadable::Skip, "{on_disk:#x}");
        }
        let to = Scratch::path_alone();
        let options = DumpOptions { by, chunk: 0x4000, ..DumpOptions::default() };
        let refused = device.dump(0x800..=0x207ff, to.path(), &options, quiet).unwrap_err();
        assert!(matches!(refused, Error::End { .. }), "{refused}");
        assert_eq!(to.bytes(), expected[..0x4000], "what was read before");
    }
}

#[test]
fn progress_is_told_and_can_stop_it() {
    let memory = Scratch::memory(0x10_000);
    let device = memory.device().cached().open().unwrap();
    let to = Scratch::path_alone();
    let options = DumpOptions { chunk: 0x4000, ..DumpOptions::default() };
    let mut heard = Vec::new();
    let whole = device.dump(0..=0xffff, to.path(), &options, |progress| {
        heard.push(progress.done);
        assert_eq!((progress.len, progress.unreadable), (0x10_000, 0));
        ControlFlow::Continue(())
    });
    assert_eq!(heard, [0x4000, 0x8000, 0xc000, 0x10_000]);
    assert_eq!(whole.unwrap().len, 0x10_000);

    let stopped = device.dump(0..=0xffff, to.path(), &options, |progress| {
        if progress.done == 0x8000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(stopped, Err(Error::Stopped { done: 0x8000 }));
    assert_eq!(to.bytes(), memory.bytes()[..0x8000]);
}

#[test]
fn a_target_that_refuses_is_named() {
    let memory = Scratch::memory(0x4000);
    let device = memory.device().open().unwrap();
    let dump =
        |path: &str| device.dump(0..=0x3fff, path, &DumpOptions::default(), quiet).unwrap_err();
    assert!(matches!(dump("/no/such/folder/file"), Error::Target { errno: 2, .. }));
    assert!(matches!(dump("/dev/null"), Error::Target { errno: 22, .. }), "not a regular file");
    let to = Scratch::path_alone();
    let empty = device.dump(1..=0, to.path(), &DumpOptions::default(), quiet);
    assert_eq!(empty, Err(Error::Range { addr: 1, len: 0 }));
    assert!(!to.path().exists(), "no file was made");
    let huge = device.dump(0..=u64::MAX, to.path(), &DumpOptions::default(), quiet);
    assert!(matches!(huge, Err(Error::Range { .. })));
    let chunk = usize::MAX;
    let options = DumpOptions { chunk, ..DumpOptions::default() };
    let refused = device.dump(0..=0x3fff, to.path(), &options, quiet);
    assert!(matches!(refused, Err(Error::Range { .. } | Error::Target { .. })));
}

#[test]
fn a_hole_in_the_midst_keeps_everything_in_its_place() {
    const PAGE: u64 = 0x1000;
    // Our own memory is a device whose offsets are addresses, and a page of a file that
    // is empty is one that cannot be read.
    let mut guest = Executor::new(Reservation::new(16 * PAGE).unwrap()).unwrap();
    let rw = Prot::READ | Prot::WRITE;
    let start = guest.map_any(16 * PAGE, Memory::anonymous(rw), Placement::lowest()).unwrap();
    let addr = start.addr() as u64;
    let mut expected: Vec<u8> = (0..16 * PAGE as usize).map(pattern).collect();
    for (nth, byte) in expected.iter().enumerate() {
        // SAFETY: mapped just now, and nobody else knows of it.
        unsafe { start.wrapping_add(nth).write(*byte) };
    }
    let empty = Scratch::memory(0);
    let file = std::fs::File::open(empty.path()).unwrap();
    for page in [3, 4, 9, 15] {
        let at = addr + page * PAGE;
        guest.map_at(at, PAGE, Memory::file(Prot::READ, &file, 0).shared()).unwrap();
        expected[(page * PAGE) as usize..][..PAGE as usize].fill(0);
    }
    let device = PhysMem::options().path("/proc/self/mem").open().unwrap();
    let span = |page: u64, pages| Span::of(addr + page * PAGE, pages * PAGE).unwrap();
    for unreadable in [Unreadable::Zero, Unreadable::Skip] {
        for chunk in [0x2000, 0x10_000] {
            // Also where the file's units do not start with memory's pages.
            for skipped in [0, 0x123] {
                let to = Scratch::path_alone();
                let by = By::Reading;
                let options = DumpOptions { unreadable, by, chunk, ..DumpOptions::default() };
                let range = addr + skipped..=addr + 16 * PAGE - 1;
                let dump = device.dump(range, to.path(), &options, quiet).unwrap();
                assert_eq!(dump.unreadable, [span(3, 2), span(9, 1), span(15, 1)]);
                assert!(matches!(dump.first_refusal, Some(Error::Refused { errno: 5, .. })));
                assert!(to.bytes() == expected[skipped as usize..], "{options:?} {skipped}");
            }
        }
    }
}

/// A limit for the sizes of files stands for a file system that is full.
#[test]
fn a_full_file_system_ends_a_dump() {
    const CHILD: &str = "ADDRSPACE_TEST_FULL";
    if std::env::var_os(CHILD).is_none() {
        // The limit is the whole process's.
        let name = ["--exact", "dumps::a_full_file_system_ends_a_dump"];
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let output = child.args(name).env(CHILD, "").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let memory = Scratch::memory(0x5000);
    let to = Scratch::path_alone();
    let device = memory.device().cached().open().unwrap();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes `limit` alone.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) }, 0);
    let small = libc::rlimit { rlim_cur: 0x3000, ..limit };
    // SAFETY: without the signal, the call is refused.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    // SAFETY: the kernel reads `small` alone.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const small) }, 0);
    let results = [true, false].map(|direct| {
        let options = DumpOptions { direct, chunk: 0x1000, ..DumpOptions::default() };
        device.dump(0..=0x4fff, to.path(), &options, quiet)
    });
    // SAFETY: as above; what else the process writes has room again.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) }, 0);
    for result in results {
        let refused = Error::Target {
            path: to.path().to_owned(),
            call: "write",
            done: 0x3000,
            errno: libc::EFBIG,
        };
        assert_eq!(result.unwrap_err(), refused);
    }
    assert!(to.bytes() == memory.bytes()[..0x3000]);
}
