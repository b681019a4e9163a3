//! An embedder without std that calls every public verb of the pure rooms, with
//! numbers that the compiler knows nothing of. `tests/panics.rs` lists the places in
//! it from where it can panic.
#![cfg_attr(not(feature = "capi"), no_std)]
#![allow(clippy::double_ended_iterator_last, reason = "to walk is what the calls are for")]

mod foreign;
mod map;
mod pages;
#[cfg(not(feature = "capi"))]
mod runtime;
mod space;
mod text;
