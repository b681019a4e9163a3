//! What a program without std has to bring: memory, and an answer to a panic.

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;

unsafe extern "C" {
    fn aligned_alloc(align: usize, size: usize) -> *mut u8;
    fn free(old: *mut u8);
    safe fn panicked(line: u32) -> !;
}

struct Memory;

// SAFETY: it is the C library's, which answers null or memory of the size and alignment.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size and alignment may be asked for.
        unsafe { aligned_alloc(layout.align(), layout.size()) }
    }

    unsafe fn dealloc(&self, old: *mut u8, _layout: Layout) {
        // SAFETY: the caller has it from `alloc`.
        unsafe { free(old) };
    }
}

#[global_allocator]
static MEMORY: Memory = Memory;

/// Asks where it was, or the compiler would leave the places out.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    panicked(info.location().map_or(0, |place| place.line()))
}
