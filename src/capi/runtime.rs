//! What a library without std has to bring into a C program: its allocator, which
//! is C's, and its answer to a panic, which is `abort`.
#![allow(unsafe_code, reason = "an allocator is unsafe by nature")]

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::c_void;
use core::panic::PanicInfo;

unsafe extern "C" {
    fn malloc(size: usize) -> *mut c_void;
    fn realloc(old: *mut c_void, size: usize) -> *mut c_void;
    fn free(old: *mut c_void);
    safe fn abort() -> !;
}

/// The C library's memory.
struct C;

/// What `malloc` aligns to on every platform: enough for a `double` or a pointer.
/// Nothing in the crate asks for more.
const ALIGNED: usize = align_of::<u64>();

// SAFETY: `malloc` and `realloc` answer null or memory of at least the size asked for,
// aligned to `ALIGNED`, apart from all other; what is aligned further gets null.
unsafe impl GlobalAlloc for C {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > ALIGNED {
            return core::ptr::null_mut();
        }
        // SAFETY: any size may be asked for.
        unsafe { malloc(layout.size()) }.cast()
    }

    unsafe fn dealloc(&self, old: *mut u8, _layout: Layout) {
        // SAFETY: the caller has it from `alloc` or `realloc`, which have it from C.
        unsafe { free(old.cast()) };
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.align() > ALIGNED {
            return core::ptr::null_mut();
        }
        // SAFETY: the caller has it from `alloc` or `realloc`, which have it from C.
        unsafe { realloc(old.cast(), size) }.cast()
    }
}

#[global_allocator]
static MEMORY: C = C;

/// A panic is a bug in this library; there is nobody to unwind to.
#[panic_handler]
fn panic(_info: &PanicInfo<'_>) -> ! {
    abort()
}

// Parts of the compiler's own library were built to unwind and name Rust's handler of it.
// Whoever links the archive whole has them; nothing unwinds, so it is never called.
// Weak and hidden: another Rust library in the program may bring the real one.
#[cfg(target_os = "linux")]
core::arch::global_asm!(
    ".weak rust_eh_personality",
    ".hidden rust_eh_personality",
    ".set rust_eh_personality, {}",
    sym unwound,
);

#[cfg(target_os = "linux")]
extern "C" fn unwound() -> ! {
    abort()
}
