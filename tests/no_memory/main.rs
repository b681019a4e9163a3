//! Memory that runs out: each allocation of each verb fails in turn, alone or with all
//! that come after it. A verb then answers `NoMemory`, and nothing has changed.
//!
//! `tests/range_map_memory.rs` is about the map, `tests/addr_space_memory.rs` about how
//! much is asked for and when, `tests/c/no_memory.c` about C.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test: it links std, the numbers are small, and a panic is a failure"
)]

#[path = "../model/mod.rs"]
mod model;

#[path = "../range_map_memory/counting.rs"]
#[allow(dead_code, reason = "what is counted is another test's")]
mod counting;

mod aborts;
mod books;
#[cfg(all(feature = "exec", target_os = "linux"))]
mod executor;
mod looks;

use counting::Failing;

/// Both ways to run out of memory: once, and for good.
const WAYS: [fn(u64) -> Failing; 2] = [Failing::after, Failing::for_good_after];
