//! The same memory at several addresses, on real memory.
#![cfg(all(feature = "alias", target_os = "linux"))]
#![allow(
    unsafe_code,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::multiple_unsafe_ops_per_block,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test of system calls: a panic is a failure"
)]

#[path = "../exec_model/alone.rs"]
mod alone;
mod contiguous;
mod life;
mod load;
mod mirrors;
mod shared;
mod support;
