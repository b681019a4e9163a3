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
    let Some((&[kind, window, weights], bytes)) = data.split_first_chunk() else { return };
    let weights = match weights % 4 {
        0 | 1 => Weights::EVEN,
        2 => Weights::GROW,
        _ => Weights::CHURN,
    };
    let play = Play { weights, bytes };
    let window_of_u64 = || match window % 3 {
        0 => Window::lowest(48),
        1 => Window::highest(48),
        _ => Window::spread(300),
    };
    match kind % 10 {
        0 => play.at::<u64, u8, 3, 3, 3>(&window_of_u64()),
        1 => play.at::<u64, u8, 7, 3, 3>(&window_of_u64()),
        2 => play.at::<u64, u8, 7, 7, 7>(&window_of_u64()),
        3 => play.at::<u64, u8, 31, 15, 31>(&window_of_u64()),
        4 => play.at::<u64, u8, 31, 15, 31>(&Window::lowest(2000)),
        5 => play.at::<u8, u8, 3, 3, 3>(&Window::lowest(255)),
        6 => play.at::<i64, u8, 7, 3, 3>(&Window::around_zero(48)),
        7 => play.at::<i64, u8, 7, 3, 3>(&Window::spread(300)),
        // What is leaked on purpose is none of the leaks to look for.
        8 => play.gently().at::<u64, String, 3, 3, 3>(&Window::lowest(40)),
        _ => {
            play.gently().at::<u64, Dummy, 7, 3, 3>(&Window::lowest(40));
            assert_eq!(dummy::live(), 0, "every value is dropped once");
        }
    }
});

struct Play<'a> {
    weights: Weights,
    bytes: &'a [u8],
}

impl Play<'_> {
    fn gently(self) -> Self {
        Self { weights: Weights { rough: false, ..self.weights }, ..self }
    }

    fn at<K: TestKey, V: TestValue, const S: usize, const L: usize, const I: usize>(
        &self,
        window: &Window<K>,
    ) {
        let mut trio =
            Trio::<K, V, S, L, I>::new(window.clone()).comparing_every(1 + window.cells() / 100);
        for op in self.weights.ops_of_bytes(window.cells(), self.bytes) {
            trio.step(&op);
        }
        trio.compare();
    }
}
