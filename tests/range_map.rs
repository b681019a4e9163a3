//! `RangeMap` against pictures, two oracles and its laws.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_lossless,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::reversed_empty_ranges,
    clippy::single_range_in_vec_init,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::type_complexity,
    clippy::unwrap_used,
    missing_docs,
    reason = "tests: they link std, the numbers are small or meant to wrap, reversed ranges and \
              lists of one range are cases, and a panic is a failure"
)]

mod range_model;

#[path = "range_map/crash.rs"]
mod crash;
#[path = "range_map/edges.rs"]
mod edges;
#[path = "range_map/laws.rs"]
mod laws;
#[path = "range_map/long_runs.rs"]
mod long_runs;
#[path = "range_map/pictures.rs"]
mod pictures;
#[path = "range_map/random.rs"]
mod random;
