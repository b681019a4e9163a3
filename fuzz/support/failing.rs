//! Memory that runs out where the input says.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;

thread_local! {
    /// How many allocations succeed before all fail; endlessly many if none.
    static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
    static FAILED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `body` with memory for so many allocations; tells whether it wanted more.
pub(crate) fn with_memory_for<A>(allocations: u64, body: impl FnOnce() -> A) -> (A, bool) {
    FAILED.set(false);
    LEFT.set(Some(allocations));
    let answer = body();
    LEFT.set(None);
    (answer, FAILED.get())
}

struct Failing;

impl Failing {
    fn fails() -> bool {
        let Some(left) = LEFT.get() else { return false };
        LEFT.set(Some(left.saturating_sub(1)));
        if left == 0 {
            FAILED.set(true);
        }
        left == 0
    }
}

// SAFETY: it is the system's allocator, or answers that there is no memory.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if Self::fails() {
            return ptr::null_mut();
        }
        // SAFETY: the caller's promises are those that are asked here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are those that are asked here.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if Self::fails() {
            return ptr::null_mut();
        }
        // SAFETY: the caller's promises are those that are asked here.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Failing = Failing;
