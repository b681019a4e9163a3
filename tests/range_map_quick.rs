//! `RangeMap` against its two oracles in two instances, which compile in a moment: what
//! `.ci/mutants` builds first. `range_map` has the other instances, and all else.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_lossless,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::type_complexity,
    clippy::unwrap_used,
    missing_docs,
    reason = "tests: they link std, the numbers are small or meant to wrap, and a panic is a failure"
)]

mod range_model;

use range_model::dummy::{Dummy, live};
use range_model::trio::TestValue;
use range_model::{Trio, Weights, Window, ops::Rng};

/// Steps of all kinds, first of those that make the map grow.
fn walk<V: TestValue, const S: usize, const L: usize, const I: usize>(
    window: &Window<u64>,
    steps: usize,
) {
    for (seed, weights) in (0..).zip([Weights::EVEN, Weights::GROW, Weights::CHURN]) {
        let cells = window.cells();
        let mut trio = Trio::<u64, V, S, L, I>::new(window.clone());
        let mut rng = Rng(seed);
        for step in 0..steps {
            let kind = if step < steps / 2 { &weights } else { &Weights::EVEN };
            // What is displaced and forgotten is never dropped.
            let kind = Weights { rough: !std::mem::needs_drop::<V>(), ..*kind };
            trio.step(&kind.op(cells, rng.words()));
        }
    }
}

#[test]
fn small_nodes_agree_with_both_oracles() {
    walk::<u8, 7, 3, 3>(&Window::highest(60), 400);
    walk::<u8, 7, 3, 3>(&Window::lowest(300), 400);
}

#[test]
fn values_with_a_drop_agree_with_both_oracles() {
    let before = live();
    walk::<Dummy, 31, 15, 31>(&Window::lowest(400), 400);
    assert_eq!(live(), before, "every value is dropped once");
}
