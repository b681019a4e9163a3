//! `AddrSpace` against a model of pages; and, in spaces of which there can be no model,
//! with numbers from all of `u64`.
#![no_main]

#[path = "../../tests/hostile_model/mod.rs"]
mod hostile_model;
#[path = "../../tests/model/mod.rs"]
mod model;
#[path = "../support/numbers.rs"]
mod numbers;
#[path = "../support/tell.rs"]
mod tell;

use arbitrary::Unstructured;
use hostile_model::GEOMETRIES;
use libfuzzer_sys::fuzz_target;
use model::{Pair, step};
use numbers::records;
use tell::tell;

fuzz_target!(|data: &[u8]| {
    let Some((&kind, bytes)) = data.split_first() else { return };
    if kind % 4 == 3 {
        let mut bytes = Unstructured::new(bytes);
        let geometry = GEOMETRIES[usize::from(kind / 4) % GEOMETRIES.len()];
        let calls = bytes.len().div_ceil(24);
        let dice = |limit: u64| bytes.int_in_range(0..=limit - 1).unwrap_or(0);
        return hostile_model::play(dice, geometry, calls);
    }
    let mut records = records(bytes);
    let Some(mut space) = records.next() else { return };
    let mut pair: Pair<u32> = space.pair();
    for mut record in records {
        let op = record.op(&pair.model);
        tell(format_args!("{}{op:x?}", pair.space.picture()));
        step(&mut pair, &op, None);
    }
});
