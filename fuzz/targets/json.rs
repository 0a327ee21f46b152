#![no_main]

use libfuzzer_sys::fuzz_target;
use otlpd::otlp::json;
use otlpd::otlp::walk::{Validation, walk};
use otlpd_fuzz::request;

fuzz_target!(|input: &[u8]| {
    let Some((signal, body)) = request(input) else {
        return;
    };
    let mut text = Vec::new();
    match json::write(signal, body, &mut text) {
        Ok(()) => assert_is_json(&text),
        Err(_) => {
            assert!(text.is_empty());
            assert!(walk(signal, body, Validation::Full).is_err());
        }
    }
});

/// One line of JSON. serde_json does not go as deep as a request may.
fn assert_is_json(text: &[u8]) {
    let text = std::str::from_utf8(text).expect("it is UTF-8");
    assert!(!text.contains('\n'));
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        assert!(error.to_string().contains("recursion limit"), "{error}");
    }
}
