#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "std"), no_std)]
// A panic that can be reached is a bug: each of those that are written says why it cannot.
#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::todo,
    clippy::unimplemented,
    clippy::unreachable,
    clippy::unwrap_used
)]
#![cfg_attr(
    test,
    allow(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used,
        reason = "a test that panics has failed"
    )
)]

extern crate alloc;
// The model that tests in here share with those in `tests` names the crate.
#[cfg(all(test, feature = "exec", target_os = "linux"))]
extern crate self as addrspace;

#[cfg(all(feature = "alias", target_os = "linux"))]
pub mod alias;
#[cfg(feature = "capi")]
pub mod capi;
#[cfg(all(feature = "exec", target_os = "linux"))]
mod exec;
mod page;
#[cfg(all(feature = "phys", target_os = "linux"))]
pub mod phys;
mod prot;
#[allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    reason = "tests/panics/list.txt has a proof for each place that is linked"
)]
pub mod range_map;
mod space;

#[cfg(all(feature = "exec", target_os = "linux"))]
pub use exec::{
    Difference, ExecError, Executor, Found, Ground, Host, Memory, PublishedSpace, Reader,
    Reservation, ReservationOptions, Syscall, Undiscardable,
};
pub use page::{PageSize, Span};
pub use prot::{MapFlags, Prot};
pub use range_map::RangeMap;
pub use space::{
    AddrSpace, Answer, Backing, Error, Gaps, Label, Limits, Mapping, Maps, OpError, Picture,
    Pieces, PiecesIter, Placement, Region, Remap, Update, Usage, Verb, ignore,
};
