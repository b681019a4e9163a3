//! Handles for C: boxes that are made only if there is memory.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// Puts `value` on the heap; nothing if there is no memory.
pub(super) fn try_box<T>(value: T) -> Option<Box<[T; 1]>> {
    let mut one = Vec::new();
    one.try_reserve_exact(1).ok()?;
    one.push(value);
    one.into_boxed_slice().try_into().ok()
}
