//! The books for C: names and types, translation only.
//!
//! The functions are meant to be called from C; their contracts stand in the two
//! headers in `include/`, `mmap_c.h` (what zyedidia/libmmap offers) and
//! `addrspace.h` (the whole [`AddrSpace`](crate::AddrSpace)).

mod boxed;
pub mod mmap_c;
mod reentrant;
#[cfg(all(not(feature = "std"), panic = "abort"))]
mod runtime;
