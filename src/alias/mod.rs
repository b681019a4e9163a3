//! The same memory at several addresses.
//!
//! - [`SharedMemory`]: memory that is made to be mapped any number of times, here with
//!   one protection and there with another.
//! - [`ContiguousView`]: chunks of such memories side by side in one stretch.
//! - [`Mirror`]: memory that somebody else allocated, shown read-only at another address.
//!
//! Everything here hands out raw pointers, as the executor does: what is `unsafe` is to
//! go through one.

// - `sys`: memory that this room owns, and the calls on it. `uffd`: the kernel's
//   interface for faults. These two have the room's `unsafe`.
// - `shared`, `view`, `contiguous`: one memory, one view of it, several in a row.
// - `mirror`: what a mirror is, and the ways it can be made.

mod contiguous;
mod error;
mod mirror;
mod shared;
mod sys;
mod uffd;
mod view;

pub use contiguous::{Chunk, ContiguousView};
pub use error::{AliasError, Unsuited};
pub use mirror::{Guarantee, Mirror, Missing, Way};
pub use shared::{Seal, SharedMemory, SharedMemoryOptions};
pub use view::View;

// Promised to those who move them into another thread.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    const fn send<T: Send>() {}
    shared::<SharedMemory>();
    shared::<View>();
    shared::<Mirror>();
    send::<ContiguousView>();
    shared::<AliasError>();
};
