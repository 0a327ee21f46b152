use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use prost::Message;

use super::*;

/// The same messages by prost, to read and write what we write and read.
mod oracle {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Status {
        #[prost(int32, tag = "1")]
        pub(super) code: i32,
        #[prost(string, tag = "2")]
        pub(super) message: String,
        #[prost(message, repeated, tag = "3")]
        pub(super) details: Vec<Any>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Any {
        #[prost(string, tag = "1")]
        pub(super) type_url: String,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) value: Vec<u8>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct RetryInfo {
        #[prost(message, optional, tag = "1")]
        pub(super) retry_delay: Option<Duration>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Duration {
        #[prost(int64, tag = "1")]
        pub(super) seconds: i64,
        #[prost(int32, tag = "2")]
        pub(super) nanos: i32,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct BadRequest {
        #[prost(message, repeated, tag = "1")]
        pub(super) field_violations: Vec<FieldViolation>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct FieldViolation {
        #[prost(string, tag = "1")]
        pub(super) field: String,
        #[prost(string, tag = "2")]
        pub(super) description: String,
    }
}

// Written by googleapis-common-protos 1.76 in Python, serialized and in base64.
const UNAVAILABLE: &str = "CA4SHHRoZSBxdWV1ZSBvZiBiYWNrZW5kIGlzIGZ1bGwaNgoodHlwZS5nb29nbGVhcGlz\
                           LmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIKCggIARCAyrXuAQ==";
const UNAVAILABLE_INFO: &str = "CggIARCAyrXuAQ==";
const BAD: &str = "CAMSCXRydW5jYXRlZBpgCil0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuQmFkUmVxdWVz\
                   dBIzCjEKEXJlc291cmNlX3NwYW5zWzBdEhx0aGUgbGVuZ3RoIHJ1bnMgcGFzdCB0aGUgZW5k";
const NEGATIVE_INFO: &str = "ChYI////////////ARCAtsqR/v////8B";
const EXHAUSTED_WITH_DEBUG_INFO: &str = "CAgSAsOpGi8KKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5EZWJ1Z0luZm8SAxIBeBoqCih0eXBlLmdv\
     b2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuUmV0cnlJbmZv";

fn full_queue() -> Status {
    Status::unavailable("the queue of backend is full", Duration::from_millis(1500))
}

fn truncated() -> Status {
    Status::invalid_argument(
        "truncated",
        "resource_spans[0]",
        "the length runs past the end",
    )
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap()
}

#[test]
fn statuses_are_byte_for_byte_what_googles_library_writes() {
    for (status, expected) in [(full_queue(), UNAVAILABLE), (truncated(), BAD)] {
        let expected = base64::decode(expected.as_bytes()).unwrap();
        assert_eq!(status.encode(), expected);
        assert_eq!(Status::decode(&expected), Some(status));
    }
}

#[test]
fn the_json_form_is_that_of_protojson() {
    for (status, expected) in [
        (
            full_queue(),
            r#"{"code":14,"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"1.500000000s"}],"message":"the queue of backend is full"}"#,
        ),
        (
            truncated(),
            r#"{"code":3,"details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"description":"the length runs past the end","field":"resource_spans[0]"}]}],"message":"truncated"}"#,
        ),
        (
            Status::new(GrpcCode::Unimplemented, "no such path"),
            r#"{"code":12,"message":"no such path"}"#,
        ),
    ] {
        assert_eq!(status.encode_json(), expected);
    }
}

#[test]
fn details_of_other_types_are_passed_over() {
    let bytes = base64::decode(EXHAUSTED_WITH_DEBUG_INFO.as_bytes()).unwrap();
    let status = Status::decode(&bytes).unwrap();
    assert_eq!(status.code, GrpcCode::ResourceExhausted);
    assert_eq!(status.message, "é");
    assert_eq!(status.retry_delay(), Some(Duration::ZERO));
}

#[test]
fn a_negative_delay_is_no_delay_and_a_huge_one_is_capped() {
    let negative = base64::decode(NEGATIVE_INFO.as_bytes()).unwrap();
    assert_eq!(decode_retry_info(&negative), Some(Duration::ZERO));
    for seconds in [MAX_DELAY.as_secs() + 1, i64::MAX as u64, u64::MAX >> 1] {
        let info = encode_retry_info(Duration::from_secs(seconds));
        assert_eq!(decode_retry_info(&info), Some(MAX_DELAY));
    }
}

#[test]
fn the_trailers_of_an_overload_carry_the_delay_twice() {
    let trailers = grpc_trailers(&full_queue());
    let unpadded = |text: &'static str| text.trim_end_matches('=');
    assert_eq!(trailers["grpc-status"], "14");
    assert_eq!(trailers["grpc-message"], "the queue of backend is full");
    assert_eq!(trailers["grpc-status-details-bin"], unpadded(UNAVAILABLE));
    assert_eq!(
        trailers["google.rpc.retryinfo-bin"],
        unpadded(UNAVAILABLE_INFO)
    );
    assert_eq!(from_grpc_trailers(&trailers), full_queue());
}

#[test]
fn the_trailers_of_bad_data_carry_the_field_and_no_delay() {
    let trailers = grpc_trailers(&truncated());
    assert_eq!(trailers["grpc-status-details-bin"], BAD);
    assert!(!trailers.contains_key("google.rpc.retryinfo-bin"));
    assert_eq!(from_grpc_trailers(&trailers), truncated());
}

#[test]
fn a_status_without_details_needs_two_trailers_and_success_only_one() {
    let plain = Status::new(GrpcCode::Unimplemented, "grpc-encoding \"br\" at 100%\n");
    let trailers = grpc_trailers(&plain);
    assert_eq!(trailers.len(), 2);
    assert_eq!(
        trailers["grpc-message"],
        "grpc-encoding \"br\" at 100%25%0A"
    );
    assert_eq!(from_grpc_trailers(&trailers), plain);
    let ok = grpc_trailers(&Status::new(GrpcCode::Ok, ""));
    assert_eq!((ok.len(), &ok["grpc-status"]), (1, &header("0")));
}

#[test]
fn trailers_of_others_are_read_with_and_without_padding_and_in_part() {
    let mut trailers = HeaderMap::new();
    let unknown = from_grpc_trailers(&trailers);
    assert_eq!(unknown.code, GrpcCode::Unknown);

    trailers.insert("grpc-status", header("14"));
    trailers.insert("grpc-status-details-bin", header(UNAVAILABLE));
    assert_eq!(from_grpc_trailers(&trailers), full_queue());

    let twice = format!("{}, AAAA", UNAVAILABLE.trim_end_matches('='));
    trailers.insert("grpc-status-details-bin", header(&twice));
    assert_eq!(from_grpc_trailers(&trailers), full_queue());

    trailers.insert("grpc-status-details-bin", header("not base64!"));
    assert_eq!(from_grpc_trailers(&trailers).retry_delay(), None);

    trailers.insert("google.rpc.retryinfo-bin", header(UNAVAILABLE_INFO));
    assert_eq!(
        from_grpc_trailers(&trailers).retry_delay(),
        full_queue().retry_delay()
    );
}

#[test]
fn the_code_of_the_trailer_outranks_that_of_the_details() {
    let mut trailers = grpc_trailers(&full_queue());
    trailers.insert("grpc-status", header("13"));
    assert_eq!(from_grpc_trailers(&trailers).code, GrpcCode::Internal);
    for nonsense in ["17", "-1", "x", ""] {
        trailers.insert("grpc-status", header(nonsense));
        assert_eq!(from_grpc_trailers(&trailers).code, GrpcCode::Unknown);
    }
}

#[test]
fn a_long_message_is_shortened_to_what_headers_can_carry() {
    let status = Status::unavailable("ü".repeat(5000), Duration::from_secs(1));
    assert!(status.message.len() <= MAX_MESSAGE_BYTES && status.message.ends_with("ü..."));
    let size: usize = grpc_trailers(&status)
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 32)
        .sum();
    assert!(size < 8 << 10, "{size} bytes of trailers");
}

#[test]
fn every_code_has_its_number_http_status_and_retryability() {
    let table = [
        (GrpcCode::Ok, 200, false),
        (GrpcCode::Cancelled, 503, true),
        (GrpcCode::Unknown, 500, false),
        (GrpcCode::InvalidArgument, 400, false),
        (GrpcCode::DeadlineExceeded, 503, true),
        (GrpcCode::NotFound, 500, false),
        (GrpcCode::AlreadyExists, 500, false),
        (GrpcCode::PermissionDenied, 403, false),
        (GrpcCode::ResourceExhausted, 429, false),
        (GrpcCode::FailedPrecondition, 500, false),
        (GrpcCode::Aborted, 503, true),
        (GrpcCode::OutOfRange, 503, true),
        (GrpcCode::Unimplemented, 404, false),
        (GrpcCode::Internal, 500, false),
        (GrpcCode::Unavailable, 503, true),
        (GrpcCode::DataLoss, 503, true),
        (GrpcCode::Unauthenticated, 401, false),
    ];
    for (number, (code, http, retryable)) in table.into_iter().enumerate() {
        assert_eq!(usize::from(code.number()), number);
        assert_eq!(GrpcCode::from_number(number as u64), code);
        assert_eq!(code.http_status(), http, "{code:?}");
        assert_eq!(code.is_retryable(), retryable, "{code:?}");
        let verdict = classify_grpc(&Status::new(code, ""));
        let expected = match code {
            GrpcCode::Ok => Verdict::Delivered,
            _ if retryable => Verdict::Retryable { after: None },
            _ => Verdict::Permanent,
        };
        assert_eq!(verdict, expected, "{code:?}");
        let name = format!("{code:?}").to_lowercase();
        assert_eq!(code.name().replace('_', "").to_lowercase(), name);
    }
    assert_eq!(GrpcCode::from_number(17), GrpcCode::Unknown);
    assert_eq!(GrpcCode::from_number(u64::MAX), GrpcCode::Unknown);
}

#[test]
fn oversize_never_looks_like_overload() {
    let oversize = Status::too_large("more than 64MiB");
    assert_eq!(oversize.http_status(), 413);
    assert_eq!(classify_grpc(&oversize), Verdict::Permanent);
    let overload = Status {
        code: GrpcCode::ResourceExhausted,
        ..full_queue()
    };
    let after = Some(Duration::from_millis(1500));
    assert_eq!(overload.http_status(), 429);
    assert_eq!(classify_grpc(&overload), Verdict::Retryable { after });
}

#[test]
fn a_delay_with_a_permanent_code_changes_nothing() {
    let status = Status {
        code: GrpcCode::Internal,
        ..full_queue()
    };
    assert_eq!(classify_grpc(&status), Verdict::Permanent);
}

#[test]
fn http_answers_are_worth_another_try_only_with_four_statuses() {
    let none = HeaderMap::new();
    let mut wait = HeaderMap::new();
    wait.insert("retry-after", header("3"));
    for status in 100..600 {
        let (plain, after) = (
            classify_http(status, &none, UNIX_EPOCH),
            classify_http(status, &wait, UNIX_EPOCH),
        );
        let expected = match status {
            200..300 => [Verdict::Delivered; 2],
            429 | 502 | 503 | 504 => {
                [None, Some(Duration::from_secs(3))].map(|after| Verdict::Retryable { after })
            }
            _ => [Verdict::Permanent; 2],
        };
        assert_eq!([plain, after], expected, "{status}");
    }
}

#[test]
fn a_bare_http_status_becomes_the_code_that_grpc_says() {
    for (status, code) in [
        (400, GrpcCode::Internal),
        (401, GrpcCode::Unauthenticated),
        (403, GrpcCode::PermissionDenied),
        (404, GrpcCode::Unimplemented),
        (429, GrpcCode::Unavailable),
        (500, GrpcCode::Unknown),
        (502, GrpcCode::Unavailable),
        (503, GrpcCode::Unavailable),
        (504, GrpcCode::Unavailable),
        (302, GrpcCode::Unknown),
    ] {
        assert_eq!(GrpcCode::from_http(status), code, "{status}");
    }
}

#[test]
fn retry_after_is_written_in_seconds_rounded_up() {
    for (millis, expected) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (7500, "8")] {
        assert_eq!(retry_after_header(Duration::from_millis(millis)), expected);
    }
}

#[test]
fn retry_after_is_read_as_seconds_or_a_date_and_never_without_bound() {
    // Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110.
    let now: SystemTime = UNIX_EPOCH + Duration::from_secs(784_111_777 - 10);
    let seconds = |n| Some(Duration::from_secs(n));
    for (text, expected) in [
        ("0", seconds(0)),
        ("2", seconds(2)),
        (" 2 ", seconds(2)),
        ("300", seconds(300)),
        ("301", Some(MAX_DELAY)),
        ("99999999999999999999999999", Some(MAX_DELAY)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", seconds(10)),
        ("Sunday, 06-Nov-94 08:49:37 GMT", seconds(10)),
        ("Sun Nov  6 08:49:37 1994", seconds(10)),
        ("Sat, 06 Nov 2094 08:49:37 GMT", Some(MAX_DELAY)),
        ("Sun, 06 Nov 1994 08:49:26 GMT", None),
        ("Mon, 01 Jan 1900 00:00:00 GMT", None),
        ("1.5", None),
        ("-1", None),
        ("+1", None),
        ("soon", None),
        ("", None),
    ] {
        assert_eq!(parse_retry_after(&header(text), now), expected, "{text:?}");
    }
    let not_text = HeaderValue::from_bytes(b"\xff").unwrap();
    assert_eq!(parse_retry_after(&not_text, now), None);
}

#[test]
fn grpc_timeout_is_up_to_eight_digits_and_a_unit() {
    for (text, expected) in [
        ("1H", Some(Duration::from_secs(3600))),
        ("2M", Some(Duration::from_secs(120))),
        ("10S", Some(Duration::from_secs(10))),
        ("9999m", Some(Duration::from_millis(9999))),
        ("5u", Some(Duration::from_micros(5))),
        ("0n", Some(Duration::ZERO)),
        ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
        ("100000000n", None),
        ("S", None),
        ("10", None),
        ("10s", None),
        ("-1S", None),
        ("1.5S", None),
        ("", None),
    ] {
        assert_eq!(parse_grpc_timeout(&header(text)), expected, "{text:?}");
    }
}

#[test]
fn what_is_not_an_escape_is_taken_as_it_stands() {
    for (text, expected) in [
        ("100%", "100%"),
        ("%4", "%4"),
        ("%zz%41", "%zzA"),
        ("%c3%A9", "é"),
        ("%ff", "\u{fffd}"),
        ("%+1", "%+1"),
    ] {
        assert_eq!(percent_decode(text.as_bytes()), expected);
    }
}

#[test]
fn base64_is_that_of_rfc_4648() {
    for (plain, coded) in [
        ("", ""),
        ("f", "Zg"),
        ("fo", "Zm8"),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg"),
        ("fooba", "Zm9vYmE"),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(base64::encode(plain.as_bytes()), coded);
        assert_eq!(base64::decode(coded.as_bytes()).unwrap(), plain.as_bytes());
    }
    assert_eq!(base64::decode(b"Zg==").unwrap(), b"f");
    assert_eq!(base64::encode(&[0xfb, 0xff]), "+/8");
    for bad in ["Z", "Zm9vY", "Z===", "====", "Zm-v", "Zh", "Zg=", "Zm9v="] {
        assert_eq!(base64::decode(bad.as_bytes()), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn every_status_survives_prost_and_the_trailers(
        code in 0..17_u64,
        message in ".{0,40}",
        delay in proptest::option::of(0..300_000_000_000_u64),
        violations in proptest::collection::vec((".{0,9}", ".{0,9}"), 0..3),
    ) {
        let status = Status {
            retry_delay: delay.map(Duration::from_nanos),
            violations: violations
                .into_iter()
                .map(|(field, description)| FieldViolation { field, description })
                .collect(),
            ..Status::new(GrpcCode::from_number(code), message)
        };
        let theirs = oracle::Status::decode(&status.encode()[..]).unwrap();
        prop_assert_eq!(theirs.code as u64, code);
        prop_assert_eq!(&theirs.message, &status.message);
        for any in &theirs.details {
            if any.type_url.ends_with("RetryInfo") {
                let delay = oracle::RetryInfo::decode(&any.value[..]).unwrap().retry_delay.unwrap();
                let read = Duration::new(delay.seconds as u64, delay.nanos as u32);
                prop_assert_eq!(Some(read), status.retry_delay);
            } else {
                let read = oracle::BadRequest::decode(&any.value[..]).unwrap();
                prop_assert_eq!(read.field_violations.len(), status.violations.len());
            }
        }
        prop_assert_eq!(Status::decode(&theirs.encode_to_vec()), Some(status.clone()));
        prop_assert_eq!(from_grpc_trailers(&grpc_trailers(&status)), status);
    }

    #[test]
    fn noise_is_no_status_or_one_that_prost_reads_too(
        bytes in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        if oracle::Status::decode(&bytes[..]).is_ok_and(|status| status.details.is_empty()) {
            // Groups, which prost skips, are the one thing that we do not read.
            let groups = bytes.iter().any(|byte| matches!(byte & 7, 3 | 4));
            prop_assert!(groups || Status::decode(&bytes).is_some());
        }
    }

    #[test]
    fn any_bytes_survive_base64_and_any_text_the_percent_encoding(
        bytes in proptest::collection::vec(any::<u8>(), 0..60),
        text in ".{0,60}",
    ) {
        prop_assert_eq!(base64::decode(base64::encode(&bytes).as_bytes()), Some(bytes));
        let encoded = percent_encode(&text);
        prop_assert!(encoded.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        prop_assert_eq!(percent_decode(encoded.as_bytes()), text);
    }
}

#[test]
fn the_json_form_is_read_without_its_details() {
    let status = Status::invalid_argument("no such field", "spans[0]", "is not there");
    let read = Status::decode_json(&status.encode_json()).unwrap();
    assert_eq!(read, Status::new(status.code, "no such field"));
    for (text, code) in [
        (r#"{"code":14}"#, GrpcCode::Unavailable),
        (
            r#"{"code":"8","message":null,"details":5}"#,
            GrpcCode::ResourceExhausted,
        ),
        ("{}", GrpcCode::Ok),
    ] {
        assert_eq!(Status::decode_json(text.as_bytes()).unwrap().code, code);
    }
    for text in ["", "[]", "<html>", r#"{"code":"UNAVAILABLE"}"#] {
        assert_eq!(Status::decode_json(text.as_bytes()), None);
    }
}
