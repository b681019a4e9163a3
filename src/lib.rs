//! placeholder
#![cfg_attr(not(feature = "std"), no_std)]
extern crate alloc;
pub mod range_map;
pub use range_map::RangeMap;
