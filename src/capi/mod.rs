//! The books for C: names and types, translation only.
//!
//! The functions are meant to be called from C; their contracts stand in the two
//! headers in `include/`, `mmap_c.h` (what zyedidia/libmmap offers) and
//! `addrspace.h` (the whole [`AddrSpace`](crate::AddrSpace)).

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
