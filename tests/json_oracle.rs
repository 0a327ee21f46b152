//! OTLP/JSON as we read it, with Google's own parser beside it (Python's `json_format`, with OTLP's
//! exceptions put in before it): the same texts are taken, and mean the same.
//!
//! Where the two differ, it is by one of the reasons that `tests/oracle/json_format.py` names as
//! quirks. It needs `tests/sdks/install.sh python`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
#![allow(
    clippy::explicit_write,
    reason = "one line must pass by what hides the output of tests"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Seek, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use otlpd::otlp::Signal;
use otlpd::otlp::json;
use otlpd::otlp::schema;
use otlpd::otlp::walk::{Validation, walk};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;

mod support {
    pub(crate) mod oracle;
    pub(crate) mod payloads;
    pub(crate) mod requests;
    pub(crate) mod texts;
    use otlpd::otlp::schema;
}
use support::oracle::decode;
use support::requests::{self, Spice};
use support::texts;

/// What the oracle says of a text.
#[derive(Debug)]
enum Answer {
    Taken {
        message: Vec<u8>,
        quirk: Option<String>,
    },
    Refused(String),
}

fn python() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join("sdks/python/bin/python")
}

/// A line for whoever reads the output of `cargo test`, which hides what passing tests print.
fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").unwrap();
}

/// The answers to these texts; nothing where there is no oracle.
fn ask(cases: &[(Signal, Vec<u8>)]) -> Option<Vec<Answer>> {
    if !python().is_file() {
        say("SKIPPED: Google's JSON parser: run tests/sdks/install.sh python");
        return None;
    }
    let mut input = tempfile::tempfile().unwrap();
    let mut lines = String::new();
    for (signal, text) in cases {
        let text = base64(text);
        writeln!(lines, r#"{{"signal":"{}","text":"{text}"}}"#, signal.name()).unwrap();
    }
    input.write_all(lines.as_bytes()).unwrap();
    input.rewind().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/json_format.py");
    let output = Command::new(python())
        .arg(script)
        .stdin(input)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Answer> = answers.lines().map(answer).collect();
    assert_eq!(answers.len(), cases.len(), "{said}");
    Some(answers)
}

fn answer(line: &str) -> Answer {
    let value: Value = serde_json::from_str(line).unwrap();
    match value["ok"].as_str() {
        Some(message) => Answer::Taken {
            message: from_base64(message),
            quirk: value["quirk"].as_str().map(str::to_owned),
        },
        None => Answer::Refused(value["error"].as_str().unwrap().to_owned()),
    }
}

/// By a way of its own, since ours is what is tested.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three
            .iter()
            .chain([&0; 2])
            .take(3)
            .fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        for n in 0..4 {
            let digit = char::from(DIGITS[bits >> (18 - 6 * n) & 63]);
            text.push(if n <= three.len() { digit } else { '=' });
        }
    }
    text
}

fn from_base64(text: &str) -> Vec<u8> {
    let value = format!(r#"{{"bytesValue":"{text}"}}"#);
    let record = format!(r#"{{"logRecords":[{{"body":{value}}}]}}"#);
    let text = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{record}]}}]}}"#);
    let mut out = Vec::new();
    json::read(Signal::Logs, text.as_bytes(), &mut out).unwrap();
    // It is the last field of every message around it.
    let mut rest = &out[..];
    for _ in 0..5 {
        let (content, length) = content(rest);
        rest = &rest[rest.len() - length..];
        assert_eq!(content, length);
    }
    rest.to_vec()
}

/// Behind a tag of one byte: the length that stands there, and how much follows it.
fn content(field: &[u8]) -> (usize, usize) {
    let mut value = 0;
    for (index, byte) in field[1..].iter().enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            return (value, field.len() - index - 2);
        }
    }
    panic!("no length");
}

fn written(signal: Signal, bytes: &[u8]) -> String {
    let mut text = Vec::new();
    json::write(signal, bytes, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// What is wrong with our reading of a text, given that of the oracle.
fn compare(signal: Signal, text: &[u8], answer: &Answer) -> Result<(), String> {
    let mut ours = Vec::new();
    let read = json::read(signal, text, &mut ours);
    match (read, answer) {
        (_, Answer::Taken { quirk: Some(_), .. }) | (Err(_), Answer::Refused(_)) => Ok(()),
        (Ok(()), Answer::Taken { message, .. }) => {
            if walk(signal, &ours, Validation::Items).is_err() {
                return Err("the walk refuses it".to_owned());
            }
            // prost does not go as deep; what does has one field in each message, and one order.
            match (decode(signal, &ours), decode(signal, message)) {
                (Ok(ours), Ok(theirs)) if ours.encoded() == theirs.encoded() => Ok(()),
                (Err(_), Err(_)) if written(signal, &ours) == written(signal, message) => Ok(()),
                _ => Err(format!(
                    "{} is not {}",
                    written(signal, &ours),
                    written(signal, message)
                )),
            }
        }
        (Ok(()), Answer::Refused(why)) => Err(format!("it is taken, but {why}")),
        (Err(error), Answer::Taken { .. }) => Err(format!("it is refused: {error}")),
    }
}

/// Compares all of them; how many were taken by both.
fn compare_all(cases: &[(Signal, Vec<u8>)]) -> Option<usize> {
    let answers = ask(cases)?;
    let mut faults = String::new();
    let mut taken = 0;
    for ((signal, text), answer) in cases.iter().zip(&answers) {
        match compare(*signal, text, answer) {
            Ok(()) => taken += usize::from(matches!(answer, Answer::Taken { quirk: None, .. })),
            Err(fault) => {
                let text = String::from_utf8_lossy(text);
                writeln!(faults, "{}: {text}\n    {fault}", signal.name()).unwrap();
            }
        }
    }
    assert!(faults.is_empty(), "{faults}");
    Some(taken)
}

#[test]
fn by_hand_the_same_texts_are_taken_and_mean_the_same() {
    let cases = texts::by_hand();
    let Some(taken) = compare_all(&cases) else {
        return;
    };
    let refused = cases.len() - taken;
    assert!(taken > 150 && refused > 150, "{taken} and {refused}");
}

#[test]
fn what_only_python_takes_is_named_and_refused() {
    let body = |fields: &str| {
        format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{{fields}}}]}}]}}]}}"#)
    };
    let cases = [
        (
            r#""body":[]"#,
            "a list or a string in the place of an object",
        ),
        (
            r#""body":"abc""#,
            "a list or a string in the place of an object",
        ),
        (
            r#""body":{"doubleValue":true}"#,
            "a truth value in the place of a number",
        ),
        (r#""severityNumber":2.5"#, "a fraction of an enum"),
        (r#""body":{"bytesValue":"AA!AA"}"#, "characters in base64"),
        (r#""body":{"intValue":"\t5"}"#, "white space, underscores"),
        (r#""body":{"intValue":"1_0"}"#, "white space, underscores"),
        (r#""body":{"doubleValue":"1_0"}"#, "underscores"),
        (r#""x":NaN"#, "without quotes is not JSON"),
        (
            r#""body":{"intValue":"x","intValue":1}"#,
            "a value that does not count is bad",
        ),
    ];
    let texts = cases.map(|(fields, _)| (Signal::Logs, body(fields).into_bytes()));
    let Some(answers) = ask(&texts) else { return };
    for (((fields, expected), (_, text)), answer) in cases.iter().zip(&texts).zip(&answers) {
        let Answer::Taken {
            quirk: Some(quirk), ..
        } = answer
        else {
            panic!("{fields}: {answer:?}");
        };
        assert!(quirk.contains(expected), "{fields}: {quirk}");
        assert!(
            json::read(Signal::Logs, text, &mut Vec::new()).is_err(),
            "{fields}"
        );
    }
}

#[test]
fn the_examples_of_the_specification_become_the_bytes_that_they_stand_for() {
    let Some(folder) = specification() else {
        say("SKIPPED: the examples of the specification are not in opentelemetry-proto's source");
        return;
    };
    let mut cases = Vec::new();
    for (name, signal, bytes) in [
        ("trace", Signal::Traces, 214),
        ("metrics", Signal::Metrics, 636),
        ("logs", Signal::Logs, 395),
        ("events", Signal::Logs, 373),
    ] {
        let text = std::fs::read(folder.join(name).with_extension("json")).unwrap();
        let mut out = Vec::new();
        json::read(signal, &text, &mut out).unwrap();
        let decoded = decode(signal, &out).unwrap().encoded();
        assert_eq!((out.len(), decoded.len()), (bytes, bytes), "{name}");
        cases.push((signal, text));
    }
    let taken = compare_all(&cases);
    assert!(taken.is_none_or(|taken| taken == 4));
}

/// The folder of the examples, which come with the source of opentelemetry-proto.
fn specification() -> Option<PathBuf> {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline"])
        // Of other systems nothing need be here.
        .args(["--filter-platform", &platform])
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .output()
        .ok()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).ok()?;
    let packages = metadata["packages"].as_array()?;
    let ours = packages
        .iter()
        .find(|package| package["name"] == "opentelemetry-proto")?;
    let manifest = Path::new(ours["manifest_path"].as_str()?);
    let folder = manifest.with_file_name("src/proto/opentelemetry-proto/examples");
    folder.is_dir().then_some(folder)
}

#[test]
fn mutated_texts_are_taken_or_refused_alike_and_mean_the_same() {
    let mut dice = SmallRng::seed_from_u64(8);
    let mut cases = Vec::new();
    let seeds = seeds(&mut dice);
    while cases.len() < 3000 {
        let (signal, seed) = seeds.choose(&mut dice).unwrap();
        let text = if dice.random_range(0..4) == 0 {
            damaged(seed.as_bytes(), &mut dice)
        } else {
            changed(seed, &mut dice).into_bytes()
        };
        cases.push((*signal, text));
    }
    let Some(taken) = compare_all(&cases) else {
        return;
    };
    assert!((600..2400).contains(&taken), "{taken} of {}", cases.len());
}

#[test]
fn what_we_write_is_read_by_the_oracle_as_what_it_was() {
    let mut dice = SmallRng::seed_from_u64(7);
    let mut texts = seeds(&mut dice);
    let special = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"histogram":{"dataPoints":[
        {"sum":"NaN","min":"-Infinity","max":"Infinity","explicitBounds":["Infinity",-0.0],
        "bucketCounts":["18446744073709551615"]}]}}]}]}]}"#;
    let mut bytes = Vec::new();
    json::read(Signal::Metrics, special.as_bytes(), &mut bytes).unwrap();
    texts.push((Signal::Metrics, written(Signal::Metrics, &bytes)));
    let texts: Vec<_> = texts
        .into_iter()
        .map(|(signal, text)| (signal, text.into_bytes()))
        .collect();
    let taken = compare_all(&texts);
    assert!(taken.is_none_or(|taken| taken == texts.len()), "{taken:?}");
}

/// Whole requests: those of the specification and of real clients, and some of every shape.
fn seeds(dice: &mut SmallRng) -> Vec<(Signal, String)> {
    let mut seeds = texts::whole();
    for signal in Signal::ALL {
        for _ in 0..40 {
            let mut choices = vec![0; dice.random_range(20..250)];
            dice.fill(&mut choices[..]);
            let body = requests::request(schema::request(signal), &choices, Spice::default());
            let mut text = Vec::new();
            json::write(signal, &body, &mut text).unwrap();
            seeds.push((signal, String::from_utf8(text).unwrap()));
        }
    }
    seeds
}

/// Values to be put anywhere.
const PALETTE: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "5.0",
    "1.5",
    "1e3",
    "1E+2",
    "1e-1",
    "-0.0",
    "2147483647",
    "2147483648",
    "-2147483648",
    "-2147483649",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "1e400",
    "NaN",
    "Infinity",
    "\"\"",
    "\"0\"",
    "\"1\"",
    "\"-1\"",
    "\"+1\"",
    "\"01\"",
    "\"1.0\"",
    "\"1.5\"",
    "\"1e3\"",
    "\" 1\"",
    "\"1_0\"",
    "\"NaN\"",
    "\"Infinity\"",
    "\"-Infinity\"",
    "\"nan\"",
    "\"inf\"",
    "\"abc\"",
    "\"AA==\"",
    "\"-_8\"",
    "\"ff\"",
    "\"FF\"",
    "\"5B8EFFF798038103D269B633813FC60C\"",
    "\"\\u0041\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud83d\"",
    "\"a\\/b\"",
    "\"é\"",
    "[]",
    "{}",
    "[null]",
    "[{}]",
    "[1,2]",
    "[\"1\"]",
    "{\"a\":1}",
    "[[]]",
    "\"SPAN_KIND_SERVER\"",
    "01",
    "1.",
    "tru",
];

/// Where a value of the palette goes.
const HOLE: &str = "HOLE IN THE TEXT";

/// A text of which one value, key or element is another.
fn changed(seed: &str, dice: &mut SmallRng) -> String {
    let mut value: Value = serde_json::from_str(seed).unwrap();
    let mut nodes = Vec::new();
    paths(&value, &mut Vec::new(), &mut nodes);
    let path = nodes.choose(dice).unwrap();
    let mut key = None;
    match (dice.random_range(0..8), path.split_last()) {
        (0, Some((last, parent))) => remove(at(&mut value, parent), last),
        (1, Some((last, parent))) => repeat(at(&mut value, parent), last),
        (2, Some((last, parent))) => key = rename(at(&mut value, parent), last, dice),
        _ => *at(&mut value, path) = HOLE.into(),
    }
    let put = PALETTE.choose(dice).unwrap();
    let text = serde_json::to_string(&value).unwrap();
    let text = text.replace(&format!("\"{HOLE}\""), put);
    match key {
        // A key comes again, with another value before or behind it.
        Some(key) => text.replace("\"AGAIN\":", &format!("\"{key}\":{put},\"{key}\":")),
        None => text,
    }
}

/// The way to every value: keys, and indices as text.
fn paths(value: &Value, path: &mut Vec<String>, all: &mut Vec<Vec<String>>) {
    all.push(path.clone());
    let inner: BTreeMap<String, &Value> = match value {
        Value::Object(fields) => fields.iter().map(|(k, v)| (k.clone(), v)).collect(),
        Value::Array(list) => (0..).map(|n: usize| n.to_string()).zip(list).collect(),
        _ => BTreeMap::new(),
    };
    for (step, value) in inner {
        path.push(step);
        paths(value, path, all);
        path.pop();
    }
}

fn at<'a>(value: &'a mut Value, path: &[String]) -> &'a mut Value {
    path.iter().fold(value, |value, step| match value {
        Value::Array(list) => &mut list[step.parse::<usize>().unwrap()],
        value => &mut value[step.as_str()],
    })
}

fn remove(parent: &mut Value, step: &str) {
    match parent {
        Value::Array(list) => drop(list.remove(step.parse().unwrap())),
        value => drop(value.as_object_mut().unwrap().remove(step)),
    }
}

/// An element comes twice; or a field has the value of another.
fn repeat(parent: &mut Value, step: &str) {
    match parent {
        Value::Array(list) => list.push(list[step.parse::<usize>().unwrap()].clone()),
        value => {
            let fields = value.as_object_mut().unwrap();
            let first = fields.values().next().unwrap().clone();
            fields.insert(step.to_owned(), first);
        }
    }
}

/// A key becomes another one, or comes twice.
fn rename(parent: &mut Value, step: &str, dice: &mut SmallRng) -> Option<String> {
    let fields = parent.as_object_mut()?;
    let value = fields.remove(step).unwrap();
    let snake: String = step
        .chars()
        .flat_map(|c| {
            c.is_uppercase()
                .then_some('_')
                .into_iter()
                .chain(c.to_lowercase())
        })
        .collect();
    match dice.random_range(0..5) {
        0 => drop(fields.insert(snake, value)),
        1 => drop(fields.insert("stringValue".to_owned(), value)),
        2 => drop(fields.insert(format!("{step}x"), value)),
        3 => drop(fields.insert(step.to_uppercase(), value)),
        _ => {
            fields.insert("AGAIN".to_owned(), value);
            return Some(step.to_owned());
        }
    }
    None
}

/// A text of which a few bytes are others.
fn damaged(seed: &[u8], dice: &mut SmallRng) -> Vec<u8> {
    const BYTES: &[u8] = b"{}[]\",:\\ntu0159-+.eE\n\t \xff\xc3\x00a";
    let mut text = seed.to_vec();
    for _ in 0..dice.random_range(1..4) {
        let place = dice.random_range(0..=text.len());
        let byte = *BYTES.choose(dice).unwrap();
        match dice.random_range(0..4) {
            0 => text.insert(place, byte),
            1 if place < text.len() => drop(text.remove(place)),
            2 if place < text.len() => text[place] = byte,
            _ => text.truncate(text.len().max(place + 8) - 8),
        }
    }
    text
}
