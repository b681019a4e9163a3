//! `RangeMap` against a dense model and `rangemap::RangeMap`, over several kinds of
//! keys, values and node sizes.
#![no_main]

#[path = "../../tests/range_model/mod.rs"]
mod range_model;

use libfuzzer_sys::fuzz_target;
use range_model::dummy::{self, Dummy};
use range_model::trio::TestValue;
use range_model::{TestKey, Trio, Weights, Window};

fuzz_target!(|data: &[u8]| {
    let Some((&[window, nodes, weights], bytes)) = data.split_first_chunk() else { return };
    match window % 8 {
        0 => play::<u8, u8>(nodes, weights, bytes, &Window::lowest(255)),
        1 => play::<u64, u8>(nodes, weights, bytes, &Window::lowest(48)),
        2 => play::<u64, u8>(nodes, weights, bytes, &Window::highest(48)),
        3 => play::<u64, u8>(nodes, weights, bytes, &Window::spread(300)),
        4 => play::<i64, u8>(nodes, weights, bytes, &Window::around_zero(48)),
        5 => play::<i64, u8>(nodes, weights, bytes, &Window::spread(300)),
        6 => play::<u64, String>(nodes, weights, bytes, &Window::lowest(32)),
        _ => {
            play::<u64, Dummy>(nodes, weights, bytes, &Window::lowest(32));
            assert_eq!(dummy::live(), 0, "every value is dropped once");
        }
    }
});

fn play<K: TestKey, V: TestValue>(nodes: u8, weights: u8, bytes: &[u8], window: &Window<K>) {
    let weights = match weights % 4 {
        0 | 1 => Weights::EVEN,
        2 => Weights::GROW,
        _ => Weights::CHURN,
    };
    // What is leaked on purpose is none of the leaks to look for.
    let weights = Weights { rough: size_of::<V>() == 1, ..weights };
    match nodes % 4 {
        0 => play_at::<K, V, 3, 3, 3>(weights, bytes, window),
        1 => play_at::<K, V, 7, 3, 3>(weights, bytes, window),
        2 => play_at::<K, V, 7, 7, 7>(weights, bytes, window),
        _ => play_at::<K, V, 31, 15, 31>(weights, bytes, window),
    }
}

fn play_at<K: TestKey, V: TestValue, const S: usize, const L: usize, const I: usize>(
    weights: Weights,
    bytes: &[u8],
    window: &Window<K>,
) {
    let mut trio = Trio::<K, V, S, L, I>::new(window.clone());
    for op in weights.ops_of_bytes(window.cells(), bytes) {
        trio.step(&op);
    }
}
