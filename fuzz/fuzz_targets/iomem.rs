//! The reader of `/proc/iomem` on arbitrary bytes, and what it answers about them.
#![no_main]

#[path = "../../tests/iomem_model/mod.rs"]
mod iomem_model;

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|data: &[u8]| -> Corpus {
    // The file is read as text, and refused as a whole if it is none.
    let Ok(text) = std::str::from_utf8(data) else { return Corpus::Reject };
    iomem_model::check(text);
    Corpus::Keep
});
