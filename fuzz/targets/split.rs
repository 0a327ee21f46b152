#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use otlpd::otlp::Signal;
use otlpd::otlp::split::{SplitLimit, split};
use otlpd::otlp::walk::{Validation, walk};
use otlpd_fuzz::{accepted, assert_good, request};

fuzz_target!(|input: &[u8]| {
    let Some(([bytes, items], rest)) = input.split_first_chunk::<2>().map(|(a, b)| (*a, b)) else {
        return;
    };
    let limit = SplitLimit {
        max_bytes: usize::from(bytes) * 16,
        max_items: u64::from(items),
    };
    let Some((signal, body)) = request(rest) else {
        return;
    };
    drop(split(signal, &Bytes::copy_from_slice(body), limit).count());
    if signal == Signal::Profiles {
        return;
    }
    let Some((body, items)) = accepted(signal, body) else {
        return;
    };
    let mut seen = 0;
    for part in split(signal, &Bytes::from(body), limit) {
        let walked = walk(signal, &part.bytes, Validation::Full).expect("a part is good");
        assert_good(signal, &part.bytes, walked.items);
        assert_eq!(part.items, walked.items);
        seen += walked.items;
    }
    assert_eq!(seen, items);
});
