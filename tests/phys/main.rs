//! Physical memory where there is none: a file stands in for the device, whose
//! offsets are addresses as well. What only a real device can show is in
//! `tests/devmem.rs`.
#![cfg(all(feature = "phys", target_os = "linux"))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::reversed_empty_ranges,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    unsafe_code,
    reason = "a test: it links std, a panic is a failure, and it looks at real memory"
)]

mod dumps;
mod executor;
mod iomem;
#[path = "../iomem_model/mod.rs"]
mod iomem_model;
mod modes;
mod support;
mod windows;
