//! Fewer calls that show the same.

use super::call::Call;

/// Leaves calls out as long as `fails` says that those which remain still do.
pub(crate) fn shrink(mut calls: Vec<Call>, mut fails: impl FnMut(&[Call]) -> bool) -> Vec<Call> {
    let mut size = calls.len() / 2;
    while size > 0 {
        let mut from = 0;
        while from < calls.len() {
            let upto = (from + size).min(calls.len());
            let fewer =
                [calls.get(..from), calls.get(upto..)].map(Option::unwrap_or_default).concat();
            if fails(&fewer) {
                calls = fewer;
            } else {
                from = upto;
            }
        }
        size /= 2;
    }
    calls
}
