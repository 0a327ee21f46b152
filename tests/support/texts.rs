//! OTLP/JSON by hand: texts of every kind that the mapping knows, good and bad, and whole requests
//! as real clients send them.

#![allow(dead_code, reason = "each test that includes it uses a part")]

use otlpd::otlp::{Signal, json};

use super::payloads;

/// What the HTTP exporter of JavaScript sends: integers as numbers, `null` for what JSON has no
/// number for, and `{}` for an attribute without a value.
pub(crate) const JAVASCRIPT: &str = r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"js"}},{"key":"none","value":{}},{"key":"ratio","value":{"doubleValue":null}},{"key":"n","value":{"intValue":1}}],"droppedAttributesCount":0},"scopeMetrics":[{"scope":{"name":"m","version":""},"metrics":[{"name":"g","description":"","unit":"","gauge":{"dataPoints":[{"attributes":[],"startTimeUnixNano":"1790000000000000000","timeUnixNano":"1790000000000000001","asDouble":null},{"attributes":[],"timeUnixNano":"1","asDouble":1}]}},{"name":"h","description":"","unit":"ms","histogram":{"aggregationTemporality":2,"dataPoints":[{"attributes":[{"key":"a","value":{"arrayValue":{"values":[{"intValue":1},{"boolValue":false},{}]}}}],"bucketCounts":[0,3,18014398509481984],"explicitBounds":[0,5.5],"count":3,"sum":6,"min":1,"max":3,"startTimeUnixNano":"1","timeUnixNano":"2"}]}}],"schemaUrl":null}]}]}"#;

/// What the HTTP exporter of Rust sends: indented, with every default and every `null`.
pub(crate) const RUST: &str = r#"{
  "resourceLogs": [
    {
      "resource": {
        "attributes": [
          {
            "key": "service.name",
            "value": {
              "stringValue": "rust"
            }
          }
        ],
        "droppedAttributesCount": 0,
        "entityRefs": []
      },
      "scopeLogs": [
        {
          "scope": null,
          "logRecords": [
            {
              "timeUnixNano": "0",
              "observedTimeUnixNano": "1790000000000000000",
              "severityNumber": 0,
              "severityText": "",
              "body": null,
              "attributes": [],
              "droppedAttributesCount": 0,
              "flags": 0,
              "traceId": "",
              "spanId": "",
              "eventName": ""
            }
          ],
          "schemaUrl": ""
        }
      ],
      "schemaUrl": ""
    }
  ]
}"#;

/// Ids in capitals, as a client in Go that formats them itself writes them; a whole number with a
/// fraction of zeros, as writers have it that know no integers; slashes escaped, as PHP does it.
pub(crate) const CAPITALS: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","parentSpanId":"EEE19B7EC3C1B173","name":"GET \/a","kind":2,"links":[{"traceId":"AB8EFFF798038103D269B633813FC60C","spanId":"00F067AA0BA902B7"}],"attributes":[{"key":"n","value":{"intValue":5.0}},{"key":"b","value":{"bytesValue":"\/\/8="}}]}]}]}]}"#;

/// Whole requests.
pub(crate) fn whole() -> Vec<(Signal, String)> {
    let mut all: Vec<_> = [
        (Signal::Metrics, JAVASCRIPT),
        (Signal::Logs, RUST),
        (Signal::Traces, CAPITALS),
    ]
    .map(|(signal, text)| (signal, text.to_owned()))
    .into();
    for (signal, body) in [
        (Signal::Traces, payloads::traces(2)),
        (Signal::Metrics, payloads::metrics(4)),
        (Signal::Logs, payloads::logs(2)),
    ] {
        let mut text = Vec::new();
        json::write(signal, &body, &mut text).unwrap();
        all.push((signal, String::from_utf8(text).unwrap()));
    }
    all
}

const SPAN: [&str; 2] = [r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"#, "}]}]}]}"];
const RECORD: [&str; 2] = [
    r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"#,
    "}]}]}]}",
];
const BODY: [&str; 2] = [
    r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"#,
    "}}]}]}]}",
];
const METRIC: [&str; 2] = [
    r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"#,
    "}]}]}]}",
];
const PROFILE: [&str; 2] = [
    r#"{"resourceProfiles":[{"scopeProfiles":[{"profiles":[{"#,
    "}]}]}]}",
];

/// A signal, what stands around its fields, fields with `$` for a value, and the values.
type Group = (
    Signal,
    [&'static str; 2],
    &'static [&'static str],
    &'static [&'static str],
);

/// Fields of every kind of value, one text for each of the values.
const FIELDS: &[Group] = &[
    // Ids: J1 to J5.
    (
        Signal::Traces,
        SPAN,
        &[
            r#""traceId":$"#,
            r#""parentSpanId":$"#,
            r#""links":[{"spanId":$}]"#,
        ],
        &[
            r#""5b8efff798038103d269b633813fc60c""#,
            r#""EEE19B7EC3C1B174""#,
            r#""""#,
            "null",
            r#""W47/95gDgQPSabYzgT/GDA==""#,
            r#""abc""#,
            r#""zz""#,
            r#""0xab""#,
            "5",
            "[]",
            "{}",
            "true",
            r#""\u0061b""#,
        ],
    ),
    (
        Signal::Logs,
        RECORD,
        &[r#""traceId":$"#, r#""spanId":$"#],
        &[r#""ABcd""#, r#""a""#, "null", r#""===="#],
    ),
    // Enums, and 32-bit numbers: J7, J8, J15.
    (
        Signal::Traces,
        SPAN,
        &[r#""kind":$"#, r#""status":{"code":$}"#],
        &[
            "0",
            "2",
            "99",
            "-1",
            "2147483647",
            "2147483648",
            "-2147483649",
            "2.0",
            "2e0",
            "2.5",
            r#""2""#,
            r#""99""#,
            r#""-3""#,
            r#""2.0""#,
            r#""SPAN_KIND_SERVER""#,
            r#""x""#,
            r#""""#,
            "true",
            "null",
            "[]",
            "{}",
        ],
    ),
    (
        Signal::Traces,
        SPAN,
        &[r#""flags":$"#, r#""droppedLinksCount":$"#],
        &[
            "0",
            "257",
            r#""257""#,
            "4294967295",
            "4294967296",
            "-1",
            "-0",
            r#""-0""#,
            "1e3",
            "1.0",
            "1.5",
            r#""4294967296""#,
            "null",
            "false",
            r#""a""#,
        ],
    ),
    (
        Signal::Metrics,
        METRIC,
        &[r#""exponentialHistogram":{"dataPoints":[{"scale":$,"positive":{"offset":$}}]}"#],
        &[
            "0",
            "1",
            "-1",
            "2147483647",
            "-2147483648",
            "2147483648",
            "-2147483649",
            r#""-7""#,
            "-3.0",
            "null",
        ],
    ),
    // Whole numbers of 64 bits: J10 to J14, J35.
    (
        Signal::Logs,
        BODY,
        &[
            r#""intValue":$"#,
            r#""arrayValue":{"values":[{"intValue":$}]}"#,
        ],
        &[
            "0",
            "1",
            "-0",
            "-5",
            "5.0",
            "1e3",
            "1E3",
            "1.5e1",
            "1.25e1",
            "-1.0e2",
            "1e-1",
            "10e-1",
            "9007199254740993",
            "9007199254740993.0",
            "1.5e18",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551615",
            "123456789012345678901234567890",
            "9223372036854775807.0",
            "1e18",
            "1e19",
            "1e400",
            "0.5",
            "1.5",
            r#""0""#,
            r#""-0""#,
            r#""5""#,
            r#""-5""#,
            r#""+5""#,
            r#""007""#,
            r#""-007""#,
            r#""5.0""#,
            r#""5.""#,
            r#"".5""#,
            r#""1e3""#,
            r#""1e-1""#,
            r#""1.5""#,
            r#""9223372036854775807""#,
            r#""-9223372036854775808""#,
            r#""9223372036854775808""#,
            r#""99999999999999999999""#,
            r#""1e400""#,
            r#""""#,
            r#"" 5""#,
            r#""5 ""#,
            r#""\t5""#,
            r#""1_000""#,
            r#""0x10""#,
            r#""abc""#,
            r#""NaN""#,
            r#""Infinity""#,
            r#""--5""#,
            r#""5\u0030""#,
            "true",
            "false",
            "null",
            "[]",
            "{}",
            "[1]",
            "NaN",
            "+5",
            "05",
            "0x5",
            "5.",
            ".5",
            "-",
            "1e",
            "\"٣\"",
        ],
    ),
    (
        Signal::Traces,
        SPAN,
        &[
            r#""startTimeUnixNano":$"#,
            r#""events":[{"timeUnixNano":$}]"#,
        ],
        &[
            "0",
            "1790000000000000000",
            r#""1790000000000000000""#,
            "18446744073709551615",
            r#""18446744073709551615""#,
            "18446744073709551616",
            r#""18446744073709551616""#,
            "-1",
            r#""-1""#,
            "1.79e18",
            "1.5",
            "null",
            "1.8446744073709551615e19",
        ],
    ),
    (
        Signal::Metrics,
        METRIC,
        &[
            r#""gauge":{"dataPoints":[{"asInt":$}]}"#,
            r#""sum":{"dataPoints":[{"exemplars":[{"asInt":$}]}]}"#,
        ],
        &[
            "0",
            "-7",
            r#""-7""#,
            r#""9223372036854775807""#,
            "9223372036854775808",
            "null",
            "1.5",
        ],
    ),
    // Doubles: J16, J17.
    (
        Signal::Logs,
        BODY,
        &[
            r#""doubleValue":$"#,
            r#""kvlistValue":{"values":[{"key":"k","value":{"doubleValue":$}}]}"#,
        ],
        &[
            "0",
            "-0",
            "0.0",
            "-0.0",
            "1",
            "1.5",
            "-1.5e-7",
            "5e-324",
            "1e-400",
            "2.5e-324",
            "1.7976931348623157e308",
            "1.7976931348623159e308",
            "1e309",
            "-1e309",
            "0.1",
            "123456789012345678",
            "123456789012345678901234567890",
            r#""1.5""#,
            r#""1""#,
            r#""-0""#,
            r#"" 1.5 ""#,
            r#""1.""#,
            r#"".5""#,
            r#""+1.5""#,
            r#""1e400""#,
            r#""NaN""#,
            r#""Infinity""#,
            r#""-Infinity""#,
            r#""nan""#,
            r#""inf""#,
            r#""-inf""#,
            r#""INF""#,
            r#""+Infinity""#,
            r#""1_0""#,
            r#""1,5""#,
            r#""""#,
            r#"" ""#,
            r#""abc""#,
            r#""0x1p3""#,
            r#""1.5f""#,
            r#""\u0031.5""#,
            "true",
            "null",
            "[]",
            "{}",
            "NaN",
            "Infinity",
            "-Infinity",
        ],
    ),
    (
        Signal::Metrics,
        METRIC,
        &[
            r#""gauge":{"dataPoints":[{"asDouble":$}]}"#,
            r#""histogram":{"dataPoints":[{"sum":$,"min":$,"explicitBounds":[1,$]}]}"#,
            r#""summary":{"dataPoints":[{"sum":$,"quantileValues":[{"quantile":$}]}]}"#,
        ],
        &[
            "0",
            "-0.0",
            "1",
            "1.5",
            r#""NaN""#,
            r#""-Infinity""#,
            r#""2.5""#,
            r#""x""#,
            "1e400",
        ],
    ),
    // Truth values.
    (
        Signal::Logs,
        BODY,
        &[r#""boolValue":$"#],
        &[
            "true",
            "false",
            "null",
            r#""true""#,
            "1",
            "0",
            "[]",
            "{}",
            "True",
            "tru",
            "truefalse",
        ],
    ),
    // Text: J27, J28.
    (
        Signal::Logs,
        BODY,
        &[
            r#""stringValue":$"#,
            r#""kvlistValue":{"values":[{"key":$}]}"#,
        ],
        &[
            r#""""#,
            r#""a""#,
            r#""\u0000""#,
            r#""\ud83d\ude00""#,
            r#""\ud83d""#,
            r#""\ude00""#,
            r#""\ud83dx""#,
            r#""\ud83d\u0041""#,
            r#""\uD83D\uDE00\u00e9\u20ac""#,
            r#""\"\\\/\b\f\n\r\t""#,
            r#""\x41""#,
            r#""\u12""#,
            r#""\u12g4""#,
            r#""\'""#,
            "\"é😀\"",
            "\"\u{7f}\"",
            "\"\t\"",
            "\"\n\"",
            "\"\u{1}\"",
            "'a'",
            "a",
            "1",
            "true",
            "[]",
            "{}",
            "null",
            r#""unclosed"#,
            r#""\"#,
        ],
    ),
    // Bytes: J21.
    (
        Signal::Logs,
        BODY,
        &[r#""bytesValue":$"#],
        &[
            r#""""#,
            r#""AA==""#,
            r#""AA""#,
            r#""AA=""#,
            r#""AA===""#,
            r#""AAA=""#,
            r#""AAA""#,
            r#""AAAA""#,
            r#""AAAA=""#,
            r#""+/8=""#,
            r#""-_8=""#,
            r#""-_8""#,
            r#""+_8""#,
            r#""\/\/8=""#,
            r#""\u002b\/8=""#,
            r#""AB==""#,
            r#""A""#,
            r#""AAAAA""#,
            r#""AA==AA==""#,
            r#""A A=""#,
            r#""AA\n==""#,
            r#""!!!!""#,
            "\"é\"",
            r#""=""#,
            r#""QUJDREVGR0hJSktM""#,
            "null",
            "1",
            "[]",
            "true",
            "{}",
        ],
    ),
    // Messages and lists, and null: J18 to J20.
    (
        Signal::Logs,
        RECORD,
        &[r#""body":$"#, r#""attributes":[{"key":"k","value":$}]"#],
        &[
            "null",
            "{}",
            r#"{"arrayValue":{}}"#,
            r#"{"kvlistValue":{}}"#,
            r#"{"arrayValue":null}"#,
            r#"{"arrayValue":{"values":null}}"#,
            r#"{"arrayValue":{"values":[]}}"#,
            r#"{"arrayValue":{"values":[null]}}"#,
            r#"{"arrayValue":{"values":[{}]}}"#,
            r#"{"arrayValue":{"values":{}}}"#,
            r#"{"arrayValue":[]}"#,
            r#"{"arrayValue":""}"#,
            r#"{"kvlistValue":{"values":[{}]}}"#,
            r#"{"kvlistValue":{"values":[{"value":{}}]}}"#,
            r#"{"stringValue":null}"#,
            r#"{"stringValue":"a","intValue":null}"#,
            r#"{"intValue":null,"stringValue":"a"}"#,
            r#"{"stringValue":"a","intValue":1}"#,
            r#"{"boolValue":false,"doubleValue":0}"#,
            r#"{"stringValue":"a","stringValue":"b"}"#,
            r#"{"stringValue":"a","stringValue":null}"#,
            r#"{"intValue":1,"intValue":null,"stringValue":"a"}"#,
            r#"{"arrayValue":{"values":[{"intValue":1}]},"arrayValue":{}}"#,
            r#"{"stringValueStrindex":3}"#,
            r#"{"string_value":"a"}"#,
            r#"{"unknown":[1,{"a":[]}]}"#,
            "[]",
            r#""""#,
            r#""abc""#,
            "5",
            "true",
        ],
    ),
    (
        Signal::Traces,
        SPAN,
        &[r#""attributes":$"#, r#""events":$"#],
        &[
            "null", "[]", "[{}]", "[{},{}]", "[null]", "[[]]", "{}", r#""""#, "1", "[1]", "[{},]",
            "[,]",
        ],
    ),
    (
        Signal::Metrics,
        METRIC,
        &[r#""histogram":{"dataPoints":[{"bucketCounts":$}]}"#],
        &[
            "null",
            "[]",
            "[0]",
            r#"[1,"2",3.0,1e1]"#,
            "[-1]",
            "[null]",
            "{}",
            "1",
            r#""1""#,
            "[18446744073709551615]",
            "[[1]]",
            "[1 2]",
        ],
    ),
    (
        Signal::Metrics,
        METRIC,
        &["$"],
        &[
            r#""gauge":{}"#,
            r#""gauge":null"#,
            r#""gauge":null,"sum":{}"#,
            r#""gauge":{},"sum":{}"#,
            r#""sum":{"isMonotonic":true,"aggregationTemporality":2}"#,
            r#""name":"n","name":"m""#,
            r#""gauge":{"dataPoints":[{"asInt":1,"asDouble":1}]}"#,
            r#""gauge":{"dataPoints":[{"asInt":null,"asDouble":1}]}"#,
            r#""metadata":[{"key":"a","value":{"intValue":"1"}}]"#,
            r#""":0"#,
            r#""n\u0061me":"n""#,
            r#""\ud800":1"#,
            r#""Name":"n""#,
            r#""NAME":"n""#,
            r#""name ":"n""#,
        ],
    ),
    // Profiles.
    (
        Signal::Profiles,
        PROFILE,
        &["$"],
        &[
            r#""profileId":"5b8efff798038103d269b633813fc60c""#,
            r#""profileId":"W47/95gDgQPS""#,
            r#""samples":[{"stackIndex":1,"values":["1",-2],"timestampsUnixNano":[1,"2"]}]"#,
            r#""attributeIndices":[1,-1,"3"]"#,
            r#""originalPayload":"AAEC""#,
            r#""originalPayload":"zz""#,
            r#""sampleType":{"typeStrindex":1,"unitStrindex":-1}"#,
            r#""period":"-1","durationNano":"18446744073709551615""#,
        ],
    ),
];

/// Whole texts, of logs.
const TEXTS: &[&str] = &[
    // J26, J28, J29, and what is no JSON.
    "{}",
    " { } ",
    "\n\t\r{}\n",
    "",
    " ",
    "null",
    "[]",
    "[{}]",
    "\"\"",
    "\"a\"",
    "1",
    "true",
    "\u{feff}{}",
    "{}{}",
    "{} {}",
    "{},",
    "{}x",
    "{}\u{0}",
    "{",
    "}",
    "{\"a\"",
    "{\"a\":",
    "{\"a\":1",
    "{\"a\":1,",
    "{\"a\":1,}",
    "{,}",
    "{1:2}",
    "{a:1}",
    "{'a':1}",
    "{\"a\" 1}",
    "{\"a\":1 \"b\":2}",
    "/**/{}",
    "{}//",
    "{\"a\":\u{a0}1}",
    "{\"a\":1}\u{c}",
    "{\"a\":NaN}",
    "{\"a\":-Infinity}",
    "{\"a\":01}",
    "{\"a\":1e5}",
    "{\"a\":1e400}",
    "{\"a\":-}",
    "{\"a\":\"\\ud800\"}",
    "{\"\\ud800\":1}",
    "{\"a\":\"\t\"}",
    "{\"a\":nul}",
    "{\"a\":[1,2}",
    "{\"a\":{\"b\":1]}",
    // J6, J9, J36.
    r#"{"a":1,"a":2}"#,
    r#"{"resource_logs":[{"scope_logs":[]}]}"#,
    r#"{"resource_logs":5}"#,
    r#"{"resourceLogs":[{"instrumentationLibraryLogs":[{"logRecords":[{}]}]}]}"#,
    r#"{"instrumentationLibrarySpans":[]}"#,
    r#"{"resourceLogs":[{"x":{"y":[{"z":null}]}}]}"#,
    r#"{"[a.b]":1}"#,
    r#"{"@type":"x"}"#,
    r#"{"resourceSpans":[{"scopeSpans":5}]}"#,
    // Lists and messages one for the other.
    r#"{"resourceLogs":null}"#,
    r#"{"resourceLogs":[]}"#,
    r#"{"resourceLogs":{}}"#,
    r#"{"resourceLogs":""}"#,
    r#"{"resourceLogs":[null]}"#,
    r#"{"resourceLogs":[[]]}"#,
    r#"{"resourceLogs":[{"resource":null,"scopeLogs":null,"schemaUrl":null}]}"#,
    r#"{"resourceLogs":[{"resource":[],"scopeLogs":[]}]}"#,
    r#"{"resourceLogs":[{"resource":{}}],"resourceLogs":[{"schemaUrl":"b"}]}"#,
    r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"a"}]},"resource":{}}]}"#,
];

/// All of them.
pub(crate) fn by_hand() -> Vec<(Signal, Vec<u8>)> {
    let mut all = Vec::new();
    for (signal, around, fields, values) in FIELDS {
        for field in *fields {
            for value in *values {
                let field = field.replace('$', value);
                all.push((*signal, [around[0], &field, around[1]].concat().into()));
            }
        }
    }
    all.extend(
        TEXTS
            .iter()
            .map(|text| (Signal::Logs, text.as_bytes().to_vec())),
    );
    for bytes in [
        &b"{\"a\":\"\xff\"}"[..],
        b"{\"\xc3\":1}",
        b"{}\x80",
        b"{\"a\":\"\xed\xa0\x80\"}",
    ] {
        all.push((Signal::Logs, bytes.to_vec()));
    }
    // J22 and J23: values in values. The request and three messages are above the first.
    for (levels, open, close) in [
        (10, r#"{"arrayValue":{"values":["#, "]}}"),
        (
            30,
            r#"{"kvlistValue":{"values":[{"key":"k","value":"#,
            "}]}}",
        ),
        (47, r#"{"arrayValue":{"values":["#, "]}}"),
        (48, r#"{"arrayValue":{"values":["#, "]}}"),
        (49, r#"{"arrayValue":{"values":["#, "]}}"),
        (60, r#"{"arrayValue":{"values":["#, "]}}"),
        (500, r#"{"arrayValue":{"values":["#, "]}}"),
    ] {
        let value = [
            &open.repeat(levels),
            r#"{"intValue":"1"}"#,
            &close.repeat(levels),
        ]
        .concat();
        let field = format!(r#""body":{value}"#);
        all.push((Signal::Logs, [RECORD[0], &field, RECORD[1]].concat().into()));
    }
    all.extend(
        whole()
            .into_iter()
            .map(|(signal, text)| (signal, text.into_bytes())),
    );
    all
}
