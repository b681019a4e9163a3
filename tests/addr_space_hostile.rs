//! Random calls with numbers that are wrong: none of them breaks the books.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test"
)]

mod hostile_model;

use hostile_model::{GEOMETRIES, play};

#[test]
fn no_number_breaks_the_books() {
    for seed in 1..2000_u64 {
        let geometry = GEOMETRIES[seed as usize % GEOMETRIES.len()];
        let mut seed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let dice = |limit| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % limit
        };
        play(dice, geometry, 25);
    }
}
