//! Differences that are planted: that each is noticed.

#![allow(unsafe_code, reason = "memory is changed behind the executor's back")]

use addrspace::Executor;
use libc::{MAP_ANONYMOUS, MAP_FAILED, MAP_FIXED, MAP_PRIVATE, PROT_NONE, PROT_READ, c_void};

use crate::cli;
use crate::support::{meddled, program, small_image};

/// A page of the reservation: the last one, which is of the stack, or another that
/// nothing is mapped at.
fn last_page(exec: &Executor) -> *mut c_void {
    let last = exec.space().span().unwrap().last();
    exec.pointer(last - 0xfff).unwrap().cast()
}

fn free_page(exec: &Executor) -> *mut c_void {
    let gap = exec.space().gaps().next().unwrap();
    exec.pointer(gap.start()).unwrap().cast()
}

fn noticed(name: &str, meddle: impl FnOnce(&Executor)) -> String {
    let trace = program(name, "E 1 10 1 mmap 500000 1000 3 32 ffffffff 0 = 500000\n");
    let arguments = ["--image", &small_image(), "--trace", &trace];
    let (status, out, err) = meddled(&arguments, meddle);
    assert_eq!((status, err.as_str()), (cli::DISAGREED, ""), "{out}");
    assert!(out.contains(": 1 difference\n"), "{out}");
    // What it would cost is of no interest then.
    assert!(!out.contains("costs"), "{out}");
    out
}

#[test]
fn memory_that_somebody_has_unmapped_is_noticed() {
    let out = noticed("unmapped.mt.gz", |exec| {
        let page = last_page(exec);
        // As `munmap` leaves it, but that no other test's memory can come to lie
        // there: the executor would map over that.
        // SAFETY: nobody looks at the guest's memory.
        let gone = unsafe {
            libc::mmap(page, 0x1000, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)
        };
        assert_ne!(gone, MAP_FAILED);
    });
    assert!(out.contains("the books have rw-p") && out.contains("the kernel ---p"), "{out}");
}

#[test]
fn memory_that_somebody_has_mapped_is_noticed() {
    let out = noticed("mapped.mt.gz", |exec| {
        let page = free_page(exec);
        // SAFETY: nothing is mapped there.
        let new = unsafe {
            libc::mmap(page, 0x1000, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)
        };
        assert_ne!(new, MAP_FAILED);
    });
    assert!(out.contains("the books have a reserved gap"), "{out}");
    // It is still there after the reset, which knows nothing of it.
    assert!(out.contains("NOT as it was"), "{out}");
}

#[test]
fn memory_that_somebody_has_protected_is_noticed() {
    noticed("protected.mt.gz", |exec| {
        // SAFETY: nobody writes to the guest's memory.
        assert_eq!(unsafe { libc::mprotect(last_page(exec), 0x1000, PROT_READ) }, 0);
    });
}

/// In a process of its own, since the hole is anybody's.
#[test]
fn a_hole_is_noticed() {
    const CHILD: &str = "ADDRSPACE_SANDBOX_HOLE";
    if std::env::var_os(CHILD).is_some() {
        let out = noticed("hole.mt.gz", |exec| {
            // SAFETY: nobody looks at the guest's memory.
            assert_eq!(unsafe { libc::munmap(last_page(exec), 0x1000) }, 0);
        });
        assert!(out.contains("the kernel nothing"), "{out}");
        return;
    }
    let this = std::env::current_exe().unwrap();
    let output = std::process::Command::new(this)
        .args(["--exact", "planted::a_hole_is_noticed", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
