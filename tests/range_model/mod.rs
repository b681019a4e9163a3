//! Two oracles for `RangeMap` and what drives all three through the same steps.
//!
//! Nothing here knows proptest, so that fuzz targets can include this module by
//! path: a target turns its bytes into words, the words into [`Op`]s, and lets
//! a [`Trio`] apply them.
//!
//! - `window`: which keys the cells of the model stand for
//! - `dense`: the dull model, one `Option` per cell
//! - `ops`: what can be done to a map, made from random words
//! - `trio`: the map, the model and `rangemap::RangeMap` in step
//! - `dummy`: a value that counts its copies and panics when told to
//! - `picture`: maps drawn as text

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "every binary that includes this module uses another part of it"
)]

pub mod dense;
pub mod dummy;
pub mod ops;
pub mod picture;
pub mod trio;
pub mod window;

pub use dense::Dense;
pub use ops::{Op, Rng, Weights};
pub use trio::Trio;
pub use window::{TestKey, Window};
