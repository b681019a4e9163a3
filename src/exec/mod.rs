//! This process's own memory: real mappings that never differ from the books.
//!
//! - `reservation`: addresses taken from the system.
//! - `executor`: what owns the books and the memory, and who may look on. Its verbs
//!   are in `map`, `change`, `remap` and `original`; each asks the books first, then
//!   makes the system calls (`memory` for new mappings, `relocate` for what grows or
//!   moves).
//! - `mend`: what happens after a refusal: the kernel is asked what stands there
//!   (`view`, `compare`), and the books follow. `verify` is the same look without
//!   a reason.
//! - `host`: the calls alone, for books without a reservation.
//! - `sys`: the only module with `unsafe`. `seam`: where a test makes calls fail.

mod change;
mod compare;
mod error;
mod executor;
mod files;
mod host;
mod listeners;
mod map;
mod memory;
mod mend;
mod original;
mod publish;
mod relocate;
mod remap;
mod reservation;
mod seam;
mod sys;
#[cfg(test)]
mod tests;
mod view;

pub use compare::{Difference, Found};
pub use error::{ExecError, Syscall, Undiscardable};
pub use executor::Executor;
pub use host::Host;
pub use memory::Memory;
pub use publish::{PublishedSpace, Reader};
pub use reservation::{Reservation, ReservationOptions};
pub use sys::Ground;

// For the rooms below.
#[cfg(feature = "alias")]
pub(crate) use {reservation::system_page, view::KernelRegion, view::regions};

// Promised to those who move them into another thread.
const _: () = {
    const fn send<T: Send>() {}
    const fn shared<T: Send + Sync>() {}
    send::<Executor>();
    shared::<Reservation>();
    shared::<Reader>();
    shared::<Host>();
    shared::<ExecError>();
};
