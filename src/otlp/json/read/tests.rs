//! Texts by hand. `tests/json_oracle.rs` has hundreds more, with Google's parser beside it.

use super::*;
use crate::otlp::json;
use crate::otlp::walk::{Validation, walk};

/// What a text becomes, written as JSON again: in the order and the form of the writer.
fn back(signal: Signal, text: &str) -> Result<String, JsonError> {
    let mut bytes = Vec::new();
    read(signal, text.as_bytes(), &mut bytes)?;
    walk(signal, &bytes, Validation::Items).unwrap();
    let mut again = Vec::new();
    json::write(signal, &bytes, &mut again).unwrap();
    Ok(String::from_utf8(again).unwrap())
}

/// A span of these fields, there and back.
fn span(fields: &str) -> Result<String, JsonError> {
    let around = [r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"#, "}]}]}]}"];
    let text = back(Signal::Traces, &[around[0], fields, around[1]].concat())?;
    let inside = text.strip_prefix(around[0]).unwrap();
    Ok(inside.strip_suffix(around[1]).unwrap().to_owned())
}

/// A log record whose body has these fields, there and back.
fn body(fields: &str) -> Result<String, JsonError> {
    let around = [
        r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"#,
        "}}]}]}]}",
    ];
    let text = back(Signal::Logs, &[around[0], fields, around[1]].concat())?;
    let inside = text.strip_prefix(around[0]).unwrap();
    Ok(inside.strip_suffix(around[1]).unwrap().to_owned())
}

/// A histogram point of these fields, there and back.
fn histogram(fields: &str) -> Result<String, JsonError> {
    let around = [
        r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"histogram":{"dataPoints":[{"#,
        "}]}}]}]}]}",
    ];
    let text = back(Signal::Metrics, &[around[0], fields, around[1]].concat())?;
    let inside = text.strip_prefix(around[0]).unwrap();
    Ok(inside.strip_suffix(around[1]).unwrap().to_owned())
}

/// What is said of a text that is refused.
fn refused(read: Result<String, JsonError>) -> String {
    read.unwrap_err().to_string()
}

#[test]
fn ids_are_hexadecimal_in_either_case_and_nothing_else() {
    let id = r#""traceId":"5B8EFFF798038103d269b633813fc60c""#;
    let lower = id.to_lowercase().replace("traceid", "traceId");
    assert_eq!(span(id).unwrap(), lower);
    assert_eq!(span(r#""traceId":"""#).unwrap(), "");
    assert_eq!(span(r#""traceId":null"#).unwrap(), "");
    // Two digits are a byte, escaped or not; that it is too short is for the walk to say.
    assert_eq!(span(r#""spanId":"\u0041b""#).unwrap(), r#""spanId":"ab""#);
    for id in [
        r#""abc""#,
        r#""zz""#,
        r#""0x5b8efff798038103""#,
        r#""W47/95gDgQPSabYzgT/GDA==""#,
        "5",
        "[]",
        "true",
    ] {
        let text = refused(span(&format!(r#""traceId":{id}"#)));
        assert!(text.starts_with(
            "resourceSpans[0].scopeSpans[0].spans[0].traceId must be an id of hexadecimal digits"
        ));
    }
}

#[test]
fn whole_numbers_are_taken_in_every_form_and_exactly() {
    for (json, expected) in [
        ("0", "0"),
        ("1", "1"),
        ("-7", "-7"),
        ("-0", "0"),
        (r#""12""#, "12"),
        (r#""-12""#, "-12"),
        ("1e3", "1000"),
        ("5.0", "5"),
        ("1.5E1", "15"),
        (r#""1e3""#, "1000"),
        (r#""1.0""#, "1"),
        (r#""+7""#, "7"),
        (r#""007""#, "7"),
        (r#""1\u0030""#, "10"),
        ("9223372036854775807", "9223372036854775807"),
        (r#""9223372036854775807""#, "9223372036854775807"),
        (r#""-9223372036854775808""#, "-9223372036854775808"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("12345678", "12345678"),
        ("123456789012345678", "123456789012345678"),
    ] {
        let read = body(&format!(r#""intValue":{json}"#)).unwrap();
        assert_eq!(read, format!(r#""intValue":"{expected}""#));
    }
    for json in [
        "9223372036854775808",
        "-9223372036854775809",
        r#""9223372036854775808""#,
        "18446744073709551616",
        "99999999999999999999999",
        "9223372036854775807.0",
        "1.5",
        r#""1.5""#,
        "1e400",
        r#""""#,
        r#"" 5""#,
        r#""5 ""#,
        r#""0x10""#,
        r#""1_000""#,
        r#""NaN""#,
        "true",
        "[]",
        "{}",
    ] {
        let text = refused(body(&format!(r#""intValue":{json}"#)));
        assert!(
            text.contains("body.intValue must be a whole number"),
            "{json}: {text}"
        );
    }
}

#[test]
fn numbers_keep_to_their_type() {
    let time = r#""startTimeUnixNano":"18446744073709551615""#;
    assert_eq!(span(time).unwrap(), time);
    assert_eq!(
        span(&time.replace("\"1", "1").replace("5\"", "5")).unwrap(),
        time
    );
    assert_eq!(span(r#""flags":"257""#).unwrap(), r#""flags":257"#);
    assert_eq!(span(r#""kind":99"#).unwrap(), r#""kind":99"#);
    assert_eq!(span(r#""kind":"3""#).unwrap(), r#""kind":3"#);
    assert_eq!(span(r#""kind":-1"#).unwrap(), r#""kind":-1"#);
    assert_eq!(span(r#""kind":0,"droppedLinksCount":0"#).unwrap(), "");
    for fields in [
        r#""startTimeUnixNano":"18446744073709551616""#,
        r#""startTimeUnixNano":-1"#,
        r#""flags":4294967296"#,
        r#""kind":2147483648"#,
        r#""kind":2.5"#,
        r#""kind":true"#,
        r#""kind":"SPAN_KIND_SERVER""#,
    ] {
        assert!(
            refused(span(fields)).contains("must be a whole number"),
            "{fields}"
        );
    }
}

#[test]
fn doubles_are_numbers_strings_and_three_words() {
    for (json, expected) in [
        ("1.5", "1.5"),
        ("3", "3.0"),
        (r#""1.5""#, "1.5"),
        (r#"" -2.5e-3 ""#, "-0.0025"),
        (r#""NaN""#, r#""NaN""#),
        (r#""Infinity""#, r#""Infinity""#),
        (r#""-Infinity""#, r#""-Infinity""#),
        (r#""1e400""#, r#""Infinity""#),
        ("-0.0", "-0.0"),
        ("0.1", "0.1"),
        ("5e-324", "5e-324"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
    ] {
        let read = body(&format!(r#""doubleValue":{json}"#)).unwrap();
        assert_eq!(read, format!(r#""doubleValue":{expected}"#));
    }
    for json in [r#""nan""#, r#""""#, r#""1,5""#, "true", "[]", r#""0x1p3""#] {
        let text = refused(body(&format!(r#""doubleValue":{json}"#)));
        assert!(
            text.contains("doubleValue must be a number"),
            "{json}: {text}"
        );
    }
    for json in ["1e400", "-1e309"] {
        let text = refused(body(&format!(r#""doubleValue":{json}"#)));
        assert!(text.contains("is beyond the largest"), "{json}: {text}");
    }
    for json in ["NaN", "Infinity", "01", ".5", "1.", "+1", "0x1", "1e"] {
        assert!(body(&format!(r#""doubleValue":{json}"#)).is_err(), "{json}");
    }
}

#[test]
fn bytes_are_base64_of_both_alphabets_with_or_without_padding() {
    for (json, expected) in [
        ("", ""),
        ("AA==", "AA=="),
        ("AA", "AA=="),
        ("+/8=", "+/8="),
        ("-_8", "+/8="),
        ("-_8=", "+/8="),
        ("\\u002b\\/8=", "+/8="),
        ("AAAA\\/w==", "AAAA/w=="),
        ("QUJDREVGR0g=", "QUJDREVGR0g="),
    ] {
        let read = body(&format!(r#""bytesValue":"{json}""#)).unwrap();
        assert_eq!(read, format!(r#""bytesValue":"{expected}""#));
    }
    for json in ["A", "AAAAA", "A A=", "AA==AA==", "é", "\\u00e9", "AA!="] {
        let text = refused(body(&format!(r#""bytesValue":"{json}""#)));
        assert!(
            text.contains("bytesValue must be a string in base64"),
            "{json}: {text}"
        );
    }
    // Longer than one group, with an escape, and a length of two bytes.
    let long = "QUJD".repeat(100);
    let read = body(&format!(r#""bytesValue":"\u0051UJD{long}""#)).unwrap();
    assert_eq!(read, format!(r#""bytesValue":"QUJD{long}""#));
}

#[test]
fn text_is_unescaped_and_half_a_pair_is_refused() {
    for (json, expected) in [
        (r#"a\"b\\c\/d"#, r#"a\"b\\c/d"#),
        (r"\b\f\n\r\t", r"\b\f\n\r\t"),
        (r"\u0000\u00e9\u20AC", "\\u0000é€"),
        (r"\ud83d\ude00", "😀"),
        ("é😀\u{7f}", "é😀\u{7f}"),
    ] {
        let read = body(&format!(r#""stringValue":"{json}""#)).unwrap();
        assert_eq!(read, format!(r#""stringValue":"{expected}""#));
    }
    let long = "x".repeat(300);
    let read = body(&format!(r#""stringValue":"\u0078{long}\u0078""#)).unwrap();
    assert_eq!(read, format!(r#""stringValue":"x{long}x""#));
    for json in [
        r"\ud83d",
        r"\ude00",
        r"\ud83d\u0041",
        r"\ud83dx",
        r"\ud83d\ud83d\ude00",
    ] {
        let text = refused(body(&format!(r#""stringValue":"{json}""#)));
        assert!(text.contains("half of a surrogate pair"), "{json}: {text}");
        assert!(body(&format!(r#""unknown":"{json}""#)).is_ok(), "{json}");
        assert!(body(&format!(r#""{json}":1"#)).is_ok(), "{json}");
    }
    for json in ["\\x", "\\u12", "\\u12g4", "\n", "\0", "\\"] {
        assert!(
            body(&format!(r#""stringValue":"{json}""#)).is_err(),
            "{json}"
        );
    }
}

#[test]
fn null_is_absence_except_in_lists() {
    let fields = [
        "traceId",
        "name",
        "kind",
        "startTimeUnixNano",
        "attributes",
        "status",
        "events",
        "flags",
    ];
    let nulls: Vec<_> = fields.map(|name| format!("\"{name}\": null")).into();
    assert_eq!(span(&nulls.join(",")).unwrap(), "");
    assert_eq!(body(r#""doubleValue":null"#).unwrap(), "");
    assert_eq!(
        body(r#""intValue":null,"stringValue":"a","arrayValue":null"#).unwrap(),
        r#""stringValue":"a""#
    );
    for fields in [r#""attributes":[null]"#, r#""events":[{},null]"#] {
        assert!(
            refused(span(fields)).contains("] must be an object"),
            "{fields}"
        );
    }
    assert!(body(r#""arrayValue":{"values":[null]}"#).is_err());
    assert!(histogram(r#""bucketCounts":[1,null]"#).is_err());
}

#[test]
fn names_that_we_do_not_know_are_passed_over_at_every_level() {
    let text = r#"{"a":[{"b":[[],{}]}],"resource_spans":[5],"instrumentationLibrarySpans":"x",
        "resourceSpans":[{"x":null,"scopeSpans":[{"spans":[{"nam\u0065":"n","name_":1,"[a.b]":1,
        "":0}],"y":{}}]}],"z":-1.5e9}"#;
    let expected = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"n"}]}]}]}"#;
    assert_eq!(back(Signal::Traces, text).unwrap(), expected);
}

#[test]
fn of_a_key_that_comes_again_the_last_value_counts() {
    for (fields, expected) in [
        (r#""name":"a","name":"b""#, r#""name":"b""#),
        (r#""name":"a","kind":2,"name":"""#, r#""kind":2"#),
        (r#""name":"a","name":null"#, ""),
        (
            r#""events":[{},{}],"events":[{"name":"e"}]"#,
            r#""events":[{"name":"e"}]"#,
        ),
        (
            r#""status":{"message":"m"},"name":"n","status":{"code":2}"#,
            r#""name":"n","status":{"code":2}"#,
        ),
        (
            r#""status":{"code":1,"code":2},"status":{"code":1,"code":1,"code":0}"#,
            r#""status":{}"#,
        ),
        (
            r#""flags":1,"flags":2,"flags":3,"kind":1,"kind":2"#,
            r#""flags":3,"kind":2"#,
        ),
    ] {
        assert_eq!(span(fields).unwrap(), expected, "{fields}");
    }
    let twice = r#""intValue":1,"intValue":null,"stringValue":"a""#;
    assert_eq!(body(twice).unwrap(), r#""stringValue":"a""#);
}

#[test]
fn a_value_of_two_kinds_is_refused() {
    let text = refused(body(r#""intValue":1,"stringValue":"a""#));
    assert_eq!(
        text,
        "resourceLogs[0].scopeLogs[0].logRecords[0].body has two values where it can have one \
         (line 1, column 83)"
    );
}

#[test]
fn lists_of_numbers_are_packed() {
    let counts = r#""bucketCounts":["1","0","18446744073709551615"]"#;
    assert_eq!(histogram(counts).unwrap(), counts);
    assert_eq!(
        histogram(r#""bucketCounts":[1, 0 ,"2"]"#).unwrap(),
        r#""bucketCounts":["1","0","2"]"#
    );
    assert_eq!(
        histogram(r#""bucketCounts":[],"explicitBounds":[ ]"#).unwrap(),
        ""
    );
    let bounds = r#""explicitBounds":[0.0,1.5,"Infinity","NaN"]"#;
    assert_eq!(histogram(bounds).unwrap(), bounds);
    let many = vec!["\"7\""; 1000].join(",");
    let many = format!(r#""bucketCounts":[{many}]"#);
    assert_eq!(histogram(&many).unwrap(), many);
    for fields in [
        r#""bucketCounts":1"#,
        r#""bucketCounts":{}"#,
        r#""bucketCounts":"1""#,
    ] {
        assert!(refused(histogram(fields)).contains("bucketCounts must be a list"));
    }
    let text = refused(histogram(r#""bucketCounts":[1,2,-3]"#));
    assert!(
        text.contains("dataPoints[0].bucketCounts[2] must be"),
        "{text}"
    );
}

#[test]
fn only_one_object_is_a_request() {
    assert_eq!(back(Signal::Logs, " \r\n\t{ } \n").unwrap(), "{}");
    for text in [
        "",
        " ",
        "null",
        "[]",
        "\"a\"",
        "1",
        "{",
        "{}}",
        "{} {}",
        "{},",
        "\u{feff}{}",
        "{}\0",
        "{\"a\":1",
        "{\"resourceLogs\":[}",
        "{'a':1}",
        "{\"a\":1,}",
        "{,}",
        "{\"resourceLogs\":{}}",
        "// {}\n{}",
    ] {
        let mut out = b"before".to_vec();
        assert!(
            read(Signal::Logs, text.as_bytes(), &mut out).is_err(),
            "{text}"
        );
        assert_eq!(out, b"before");
    }
    for bytes in [&b"{\"a\":\"\xff\"}"[..], b"{\"\xc3\":1}", b"{}\x80"] {
        let error = read(Signal::Logs, bytes, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("it is not UTF-8"));
    }
}

#[test]
fn depth_is_that_of_the_walk_and_costs_no_stack() {
    // The request, three messages down to the body, and two for each list in it.
    let nested = |lists: usize| {
        let open = r#""arrayValue":{"values":[{"#.repeat(lists);
        body(&[&open, r#""intValue":"1""#, &"}]}".repeat(lists)].concat())
    };
    assert!(nested(48).is_ok());
    for lists in [49, 100, 10_000, 1_000_000] {
        assert!(
            refused(nested(lists)).contains("nested more than 100 levels"),
            "{lists}"
        );
    }
    let unknown = ["{\"a\":", &"[".repeat(1_000_000)].concat();
    assert!(refused(back(Signal::Logs, &unknown)).contains("nested more than 1000"));
}

#[test]
fn faults_are_told_with_their_line_and_column() {
    let text =
        "{\n  \"é\": 1,\n  \"resourceSpans\": [{}, {\"scopeSpans\": [{\"é\":0, \"spans\": 5}]}]\n}";
    let error = read(Signal::Traces, text.as_bytes(), &mut Vec::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "resourceSpans[1].scopeSpans[0].spans must be a list (line 3, column 58)"
    );
    assert_eq!(text.as_bytes()[error.offset], b'5');
    let error = read(Signal::Traces, b"{\"a\":tru}", &mut Vec::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the request is not JSON: a value is missing here (line 1, column 6)"
    );
}

#[test]
fn what_grows_is_asked_for_and_a_refusal_ends_it() {
    let numbers = vec!["1"; 10_000].join(",");
    let text = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"histogram":{{"dataPoints":[{{"bucketCounts":[{numbers}]}}]}}}}]}}]}}]}}"#
    );
    let mut granted = 0;
    let mut out = Vec::new();
    let mut grant = |total| {
        granted = total;
        true
    };
    read_within(Signal::Metrics, text.as_bytes(), &mut out, &mut grant).unwrap();
    assert!(out.len() > 80_000 && out.capacity() <= granted, "{granted}");
    for most in [0, 1000, expected(text.len()), 80_000] {
        let mut out = Vec::new();
        let error = read_within(Signal::Metrics, text.as_bytes(), &mut out, &mut |total| {
            total <= most
        });
        assert_eq!(error.unwrap_err().problem, Problem::NoRoom);
        assert!(out.is_empty() && out.capacity() <= most);
    }
}
