//! An allocator that counts what each thread takes, and fails when told to.

#![allow(unsafe_code, reason = "a global allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;

#[global_allocator]
static COUNTING: Counting = Counting;

/// What this thread has taken from the allocator. Each test runs on a thread of
/// its own, so tests do not disturb each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Usage {
    /// Allocations and reallocations so far.
    pub(crate) allocations: u64,
    /// Blocks not given back yet.
    pub(crate) blocks: i64,
    /// Bytes not given back yet.
    pub(crate) live: i64,
}

thread_local! {
    // Constant and without a destructor: reading it allocates nothing.
    static USAGE: Cell<Usage> = const { Cell::new(Usage { allocations: 0, blocks: 0, live: 0 }) };
    /// How many more allocations succeed, if any are to fail.
    static ALLOWED: Cell<Option<u64>> = const { Cell::new(None) };
    /// Whether those after the first that fails do so too.
    static FOR_GOOD: Cell<bool> = const { Cell::new(false) };
    static FAILED: Cell<bool> = const { Cell::new(false) };
}

pub(crate) fn usage() -> Usage {
    USAGE.get()
}

/// Lets an allocation of this thread fail while it lives.
#[must_use]
pub(crate) struct Failing(());

impl Failing {
    /// Lets the allocation after `allowed` others fail, and that one only: what
    /// the caller does about it may allocate.
    pub(crate) fn after(allowed: u64) -> Self {
        FAILED.set(false);
        FOR_GOOD.set(false);
        ALLOWED.set(Some(allowed));
        Self(())
    }

    /// Lets all allocations after `allowed` fail.
    #[allow(dead_code, reason = "not every test that counts needs it")]
    pub(crate) fn for_good_after(allowed: u64) -> Self {
        let failing = Self::after(allowed);
        FOR_GOOD.set(true);
        failing
    }

    /// Ends it, and says whether an allocation has failed.
    pub(crate) fn end(self) -> bool {
        let Self(()) = self;
        ALLOWED.set(None);
        FAILED.replace(false)
    }
}

/// Whether the allocation that is asked for is to fail.
fn fails() -> bool {
    match ALLOWED.get() {
        Some(0) => {
            if !FOR_GOOD.get() {
                ALLOWED.set(None);
            }
            FAILED.set(true);
            true
        }
        Some(left) => {
            ALLOWED.set(Some(left - 1));
            false
        }
        None => false,
    }
}

fn count(allocations: u64, blocks: i64, bytes: i64) {
    let usage = USAGE.get();
    USAGE.set(Usage {
        allocations: usage.allocations + allocations,
        blocks: usage.blocks + blocks,
        live: usage.live + bytes,
    });
}

fn bytes(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

struct Counting;

// SAFETY: every block comes from and goes back to `System` with the layout that
// the caller gave; null stands for failure, which the trait allows at any time.
// Counting touches thread-locals without destructors and never allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if fails() {
            return ptr::null_mut();
        }
        count(1, 1, bytes(layout.size()));
        // SAFETY: the caller promises what `System` asks for: a layout with a size.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(0, -1, -bytes(layout.size()));
        // SAFETY: the caller promises that `block` came from `alloc` or `realloc`
        // with this layout, and those take it from `System`.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if fails() {
            return ptr::null_mut();
        }
        count(1, 0, bytes(new_size) - bytes(layout.size()));
        // SAFETY: as for `dealloc`; the caller promises that `new_size` is not
        // zero and does not overflow when rounded up to the alignment.
        unsafe { System.realloc(block, layout, new_size) }
    }
}
