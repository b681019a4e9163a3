//! Every system call of every operation refused in turn, in every way.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::std_instead_of_alloc,
    clippy::unwrap_used,
    reason = "tests: a panic is a failure"
)]

#[path = "../../../tests/exec_model/mod.rs"]
mod exec_model;

mod calls;
mod host;
mod refusals;
