//! Runs an input in a process of its own, and tells the fuzzer what it reached there.

use std::process::abort;
use std::ptr;
use std::sync::OnceLock;

// The ends of the section that counts how often each edge of the program was taken, by
// the names that the linker gives them. The instrumentation declares these names for
// itself, and would be given others if Rust declared them too; so the assembler does.
std::arch::global_asm!(
    ".pushsection .data.edge_counters, \"aw\"",
    ".balign 8",
    "edge_counters: .quad __start___sancov_cntrs, __stop___sancov_cntrs",
    ".popsection",
);

unsafe extern "C" {
    static edge_counters: [*mut u8; 2];
}

/// How long a child may take, in seconds: far more than any does.
const PATIENCE: u32 = 20;

/// The counters of this process.
fn counters() -> (*mut u8, usize) {
    // SAFETY: it is defined above, and nobody writes to it.
    let [first, end] = unsafe { edge_counters };
    (first, end.addr() - first.addr())
}

/// As much memory as there are counters, which parent and child have in common.
fn shared() -> *mut u8 {
    static SHARED: OnceLock<usize> = OnceLock::new();
    let addr = SHARED.get_or_init(|| {
        let (prot, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: the kernel chooses a place that nobody has.
        let memory = unsafe { libc::mmap(ptr::null_mut(), counters().1, prot, flags, -1, 0) };
        assert_ne!(memory, libc::MAP_FAILED, "no memory for the counters");
        memory.expose_provenance()
    });
    ptr::with_exposed_provenance_mut(*addr)
}

/// Runs `body` in a child, and panics if that does not end well.
///
/// A panic in the child is reported there, as in the parent it would be: the fuzzer's
/// hook aborts, and its handler writes the input down.
pub(crate) fn forked(body: impl FnOnce()) {
    let (shared, (counters, len)) = (shared(), counters());
    // SAFETY: the fuzzer has no thread that holds a lock while an input is run.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        // SAFETY: calls that concern this process alone.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            libc::alarm(PATIENCE);
        }
        body();
        // SAFETY: both are `len` bytes long, and the parent waits.
        unsafe { ptr::copy_nonoverlapping(counters, shared, len) };
        // SAFETY: the process has nothing to put in order, and its parent's buffers are
        // not its own to flush.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: the child is this process's own, and `status` has its place.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } != child {
        if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            abort();
        }
    }
    assert_eq!(status, 0, "the child ended with the wait status {status:#x}");
    // SAFETY: as above; the child is gone. It had inherited the parent's counts.
    unsafe { ptr::copy_nonoverlapping(shared, counters, len) };
}
