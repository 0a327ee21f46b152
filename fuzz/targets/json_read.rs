#![no_main]

use libfuzzer_sys::fuzz_target;
use otlpd::otlp::Signal;
use otlpd::otlp::json;
use otlpd::otlp::walk::{Validation, walk};
use otlpd_fuzz::{assert_decodes, request};
use serde::de::IgnoredAny;

fuzz_target!(|input: &[u8]| {
    let Some((signal, text)) = request(input) else {
        return;
    };
    let Ok(bytes) = read(signal, text) else {
        return;
    };
    assert_is_json(text);
    // Only the length of an id can be wrong with it, which costs items and not the request.
    let walked = walk(signal, &bytes, Validation::Items).expect("its framing is whole");
    if let Ok(strict) = walk(signal, &bytes, Validation::Full) {
        let rejected = strict.rejected.map_or(0, |rejected| rejected.items);
        assert_eq!(strict.items + rejected, walked.items);
    }
    assert_decodes(signal, &bytes);
    let once = written(signal, &bytes);
    let again = read(signal, &once).expect("what we write we read");
    assert_eq!(written(signal, &again), once);
    assert_eq!(read(signal, &written(signal, &again)).as_ref(), Ok(&again));
});

fn read(signal: Signal, text: &[u8]) -> Result<Vec<u8>, json::JsonError> {
    let mut out = Vec::new();
    match json::read(signal, text, &mut out) {
        Ok(()) => Ok(out),
        Err(error) => {
            assert!(out.is_empty() && error.offset <= text.len());
            assert!(!error.to_string().is_empty());
            Err(error)
        }
    }
}

fn written(signal: Signal, bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    json::write(signal, bytes, &mut text).expect("its framing is whole");
    text
}

/// serde_json does not go as deep, takes no half of a surrogate pair, and reads numbers that we
/// only pass over.
fn assert_is_json(text: &[u8]) {
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(text) {
        let error = error.to_string();
        let is_its_opinion = [
            "recursion limit",
            "surrogate",
            "hex escape",
            "number out of range",
        ]
        .iter()
        .any(|opinion| error.contains(opinion));
        assert!(is_its_opinion, "{error}");
    }
}
