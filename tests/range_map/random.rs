//! Random operations against the dense model and `rangemap`.

use proptest::prelude::*;

use crate::range_model::dummy::{self, Dummy};
use crate::range_model::trio::TestValue;
use crate::range_model::window::{Celsius, Frame};
use crate::range_model::{Op, TestKey, Trio, Weights, Window};

/// Sequences of operations over that many cells.
fn ops(weights: Weights, cells: usize, most: usize) -> impl Strategy<Value = Vec<Op>> {
    let op = any::<[u32; 6]>().prop_map(move |words| weights.op(cells, words));
    prop::collection::vec(op, 0..most)
}

/// Runs the operations on a map with the default capacities and on three with
/// nodes so small that they restructure all the time.
fn agree<K: TestKey, V: TestValue>(window: &Window<K>, ops: &[Op]) {
    agree_at::<K, V, 3, 3, 3>(window, ops);
    agree_at::<K, V, 7, 3, 3>(window, ops);
    agree_at::<K, V, 7, 7, 7>(window, ops);
    agree_at::<K, V, 31, 15, 31>(window, ops);
}

fn agree_at<K: TestKey, V: TestValue, const S: usize, const L: usize, const I: usize>(
    window: &Window<K>,
    ops: &[Op],
) {
    let mut trio = Trio::<K, V, S, L, I>::new(window.clone());
    for op in ops {
        trio.step(op);
    }
}

/// Few cases by default, to keep `cargo test` short; `PROPTEST_CASES` sets the number.
pub(super) fn cases(default: u32) -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = default;
    }
    // Failures belong into a named test, not into a file of seeds.
    config.failure_persistence = None;
    config
}

macro_rules! agreement {
    ($(
        $name:ident, $cases:literal cases, $key:ty, $value:ty, $window:expr, $most:literal steps;
    )*) => {$(
        proptest! {
            #![proptest_config(cases($cases))]
            #[test]
            fn $name(ops in ops(Weights::EVEN, Window::<$key>::cells(&$window), $most)) {
                agree::<$key, $value>(&$window, &ops);
            }
        }
    )*};
}

agreement! {
    agrees_over_all_u8_keys, 60 cases, u8, u8, Window::lowest(255), 80 steps;
    agrees_over_few_keys, 200 cases, u8, u8, Window::of_keys(3, 24), 60 steps;
    agrees_over_all_i8_keys, 30 cases, i8, u8, Window::lowest(255), 80 steps;
    agrees_at_the_lowest_u64_keys, 60 cases, u64, u8, Window::lowest(48), 80 steps;
    agrees_at_the_highest_u64_keys, 60 cases, u64, u8, Window::highest(48), 80 steps;
    agrees_over_large_cells, 60 cases, u64, u8, Window::spread(48), 80 steps;
    agrees_at_the_lowest_i64_keys, 30 cases, i64, u8, Window::lowest(48), 80 steps;
    agrees_at_the_highest_i64_keys, 30 cases, i64, u8, Window::highest(48), 80 steps;
    agrees_around_zero, 60 cases, i64, u8, Window::around_zero(48), 80 steps;
    agrees_over_large_signed_cells, 30 cases, i64, u8, Window::spread(48), 80 steps;
    agrees_over_the_other_integers_u16, 20 cases, u16, u8, Window::spread(40), 60 steps;
    agrees_over_the_other_integers_u32, 20 cases, u32, u8, Window::highest(40), 60 steps;
    agrees_over_the_other_integers_i16, 20 cases, i16, u8, Window::around_zero(40), 60 steps;
    agrees_over_the_other_integers_i32, 20 cases, i32, u8, Window::spread(40), 60 steps;
    agrees_over_the_other_integers_usize, 30 cases, usize, u8, Window::highest(40), 60 steps;
    agrees_over_a_newtype, 30 cases, Frame, u8, Window::highest(40), 60 steps;
    agrees_over_a_newtype_with_its_own_origin, 30 cases, Celsius, u8, Window::lowest(300), 60 steps;
    agrees_with_values_that_own_memory, 40 cases, u64, String, Window::lowest(32), 60 steps;
}

proptest! {
    #![proptest_config(cases(60))]
    #[test]
    fn every_value_is_dropped_once(
        ops in ops(Weights { rough: false, ..Weights::EVEN }, 32, 80),
    ) {
        let before = dummy::live();
        agree::<u64, Dummy>(&Window::lowest(32), &ops);
        prop_assert_eq!(dummy::live(), before);
    }
}
