//! The functions of `addrspace.h`, called as C calls them, beside the same calls in Rust.
#![no_main]

#[path = "../../tests/model/mod.rs"]
mod model;
#[path = "../support/numbers.rs"]
mod numbers;
#[path = "../../tests/space_c/mod.rs"]
mod space_c;

use libfuzzer_sys::fuzz_target;
use numbers::records;

fuzz_target!(|data: &[u8]| {
    let mut records = records(data);
    if let Some(mut space) = records.next() {
        space_c::play(&mut space, records);
    }
});
