//! What the contenders take from the heap.
#![allow(unsafe_code, reason = "a global allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout as Block, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes not given back yet, and allocations so far. Nothing here has a second
/// thread, so that adding needs no locked instruction, which would show in the times.
static LIVE: AtomicUsize = AtomicUsize::new(0);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

fn add(counter: &AtomicUsize, number: usize) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(number), Ordering::Relaxed);
}

fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

pub fn allocations() -> usize {
    ALLOCATIONS.load(Ordering::Relaxed)
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every block comes from and goes back to `System` with the layout that the
// caller gave, and counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, block: Block) -> *mut u8 {
        add(&LIVE, block.size());
        add(&ALLOCATIONS, 1);
        // SAFETY: the caller promises what `System` asks for.
        unsafe { System.alloc(block) }
    }

    unsafe fn dealloc(&self, at: *mut u8, block: Block) {
        add(&LIVE, block.size().wrapping_neg());
        // SAFETY: the caller promises that `at` is from here with this layout.
        unsafe { System.dealloc(at, block) }
    }

    unsafe fn realloc(&self, at: *mut u8, block: Block, size: usize) -> *mut u8 {
        add(&LIVE, size.wrapping_sub(block.size()));
        add(&ALLOCATIONS, 1);
        // SAFETY: as for `dealloc`, and the caller promises that `size` is sound.
        unsafe { System.realloc(at, block, size) }
    }
}

/// What `make` makes, and the bytes that it has taken from the heap.
pub fn weighed<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let before = live();
    let result = make();
    (result, live() - before)
}
