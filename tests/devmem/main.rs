//! Physical memory on real kernels: the tests that a stand-in cannot do.
//!
//! `tests/vm/run` runs them in two virtual machines and looks for the line that each
//! prints in the end, and for the bytes that they write. Elsewhere each says what it
//! has not tested.
#![cfg(all(feature = "phys", target_os = "linux"))]
#![allow(
    unsafe_code,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_ptr_alignment,
    clippy::multiple_unsafe_ops_per_block,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test: it links std, a panic is a failure, and it looks at real memory"
)]

mod devices;
mod frames;
mod machine;
mod memory;
#[cfg(feature = "alias")]
mod mirrors;
mod refusals;
