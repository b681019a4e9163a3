//! The reader of recorded traces, and the replay behind it, on arbitrary bytes.
#![no_main]

#[path = "../../examples/replay/books.rs"]
mod books;
#[path = "../../examples/replay/compare.rs"]
mod compare;
#[path = "../../examples/replay/kernel.rs"]
mod kernel;
#[path = "../../examples/replay/rules/mod.rs"]
mod rules;
#[path = "../../examples/replay/session.rs"]
mod session;
#[path = "../../examples/replay/trace/mod.rs"]
mod trace;

use libfuzzer_sys::fuzz_target;
use std::io::Cursor;
use trace::{Delta, Trace};

fuzz_target!(|data: &[u8]| {
    let open = |data: &[u8]| {
        let input = Cursor::new(data.to_vec());
        // As the magic number of gzip says.
        if data.starts_with(&[0x1f, 0x8b]) { Trace::compressed(input) } else { Trace::plain(input) }
    };
    let Ok(mut trace) = open(data) else { return };
    let read = read(&mut trace);
    let Ok(mut trace) = open(data) else { panic!("the second time it is another trace") };
    let replayed = session::replay(&mut trace, true);
    // What can be replayed to its end can be read, and what cannot be read is not.
    assert!(read || replayed.is_err());
    if let Ok(findings) = replayed {
        assert!(findings.compared.max(findings.mismatches) <= findings.calls);
        assert!(!findings.agree() || findings.details.is_empty());
        for mismatch in &findings.details {
            assert!(mismatch.line > 1 && !mismatch.text.is_empty());
            assert!(!mismatch.differences.is_empty() || mismatch.refusal.is_some());
        }
    }
});

/// Reads to the end, and looks at what the reader promises of each record.
fn read(trace: &mut Trace) -> bool {
    let mut line = 0;
    loop {
        match trace.next_event() {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(error) => {
                assert!(error.line >= line, "{error}");
                assert!(!error.to_string().is_empty());
                return false;
            }
        }
        assert!(trace.line() > line || line == 0, "records ascend");
        line = trace.line();
        assert!(trace.page_size().is_power_of_two());
        let deltas = trace.deltas().iter().filter_map(|delta| match delta {
            Delta::Now(area) => Some(area),
            Delta::Gone(_) => None,
        });
        for area in trace.areas().iter().chain(deltas) {
            assert!(area.start < area.end);
        }
        let ascend = trace.areas().is_sorted_by(|a, b| a.end <= b.start);
        assert!(ascend, "areas ascend");
    }
}
