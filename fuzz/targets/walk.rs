#![no_main]

use libfuzzer_sys::fuzz_target;
use otlpd::otlp::walk::{Validation, walk};
use otlpd_fuzz::{accepted, assert_decodes, assert_good, request};

fuzz_target!(|input: &[u8]| {
    let Some((signal, body)) = request(input) else {
        return;
    };
    let by_items = walk(signal, body, Validation::Items);
    if let Some((rest, items)) = accepted(signal, body) {
        assert!(by_items.is_ok_and(|walked| walked.items >= items));
        assert_good(signal, &rest, items);
        assert_decodes(signal, &rest);
    }
});
