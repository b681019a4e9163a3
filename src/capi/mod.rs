//! The books for C: names and types, translation only.
//!
//! The functions are meant to be called from C; their contracts stand in the two
//! headers in `include/`, `mmap_c.h` (what zyedidia/libmmap offers) and
//! `addrspace.h` (the whole [`AddrSpace`](crate::AddrSpace)).

// A panic that can be reached is a bug: each of those that are written says why not.
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

pub mod addrspace_h;
mod boxed;
mod failure;
pub mod mmap_c;
mod reentrant;
#[cfg(all(not(feature = "std"), panic = "abort"))]
mod runtime;
pub mod status;
pub mod structs;
mod versioned;
