#![no_main]

use std::time::SystemTime;

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use otlpd::net::compression::parse_coding;
use otlpd::otlp::status::{
    GRPC_MESSAGE, GRPC_STATUS, GRPC_STATUS_DETAILS, MAX_DELAY, RETRY_INFO_TRAILER, Status,
    from_grpc_trailers, grpc_trailers, parse_grpc_timeout, parse_retry_after, percent_decode,
    percent_encode, retry_after_header,
};

fuzz_target!(|input: &[u8]| {
    if let Some(status) = Status::decode(input) {
        assert!(status.retry_delay().is_none_or(|delay| delay <= MAX_DELAY));
        // What we send of it can be read again.
        let sent = from_grpc_trailers(&grpc_trailers(&status));
        assert_eq!(
            (sent.code, sent.retry_delay()),
            (status.code, status.retry_delay())
        );
    }
    if let Ok(text) = std::str::from_utf8(input) {
        assert_eq!(percent_decode(percent_encode(text).as_bytes()), text);
        if parse_coding(text).is_ok_and(|coding| coding.is_some()) {
            assert!(text.to_ascii_lowercase().contains('z'));
        }
    }
    let Ok(value) = HeaderValue::from_bytes(input) else {
        return;
    };
    drop(parse_grpc_timeout(&value));
    if let Some(delay) = parse_retry_after(&value, SystemTime::UNIX_EPOCH) {
        assert!(delay <= MAX_DELAY);
        drop(retry_after_header(delay));
    }
    for name in [
        GRPC_STATUS,
        GRPC_MESSAGE,
        GRPC_STATUS_DETAILS,
        RETRY_INFO_TRAILER,
    ] {
        let mut trailers = HeaderMap::new();
        trailers.insert(name, value.clone());
        let status = from_grpc_trailers(&trailers);
        assert!(status.retry_delay().is_none_or(|delay| delay <= MAX_DELAY));
    }
});
