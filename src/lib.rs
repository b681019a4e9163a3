#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod page;
mod prot;
pub mod range_map;
mod space;

pub use page::{PageSize, Span};
pub use prot::{MapFlags, Prot};
pub use range_map::RangeMap;
pub use space::{
    AddrSpace, Answer, Backing, Error, Gaps, Label, Limits, Mapping, Maps, OpError, Picture,
    Pieces, PiecesIter, Placement, Region, Remap, Update, Usage, Verb, ignore,
};
