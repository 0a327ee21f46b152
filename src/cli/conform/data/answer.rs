//! What an answer says: `partial_success`, and `google.rpc.Status`.

use serde_json::Value as Json;

use super::super::wire::http1::Answer;
use super::super::{JSON, PROTOBUF};
use crate::cli::bench::wire::{Fields, Value};
use crate::otlp::Signal;

/// `partial_success`, where it is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Partial {
    /// `rejected_spans` and its like.
    pub(crate) rejected: i64,
    pub(crate) message: String,
    /// In JSON, whether the number was written as OTLP has it: a decimal string.
    pub(crate) is_text: bool,
}

/// Reads `Export*ServiceResponse`. The error is a phrase.
pub(crate) fn partial(response: &[u8]) -> Result<Option<Partial>, String> {
    let mut found = None;
    let mut fields = Fields::of(response);
    for field in fields.by_ref() {
        let (1, Value::Bytes(message)) = field else {
            continue;
        };
        let partial: &mut Partial = found.get_or_insert_default();
        let mut parts = Fields::of(message);
        for part in parts.by_ref() {
            match part {
                (1, Value::Number(number)) => partial.rejected = number.cast_signed(),
                (2, Value::Bytes(text)) => {
                    partial.message = String::from_utf8_lossy(text).into_owned();
                }
                _ => {}
            }
        }
        if parts.torn {
            return Err("a partial_success that is not protobuf".to_owned());
        }
    }
    if fields.torn {
        return Err("a body that is not protobuf".to_owned());
    }
    Ok(found)
}

/// The same in JSON. `null` is as good as absent: the JSON mapping of protobuf says so.
pub(crate) fn partial_json(signal: Signal, body: &[u8]) -> Result<Option<Partial>, String> {
    let value: Json = serde_json::from_slice(body).map_err(|error| format!("no JSON: {error}"))?;
    let object = value.as_object().ok_or("JSON that is no object")?;
    let Some(partial) = object
        .get("partialSuccess")
        .filter(|found| !found.is_null())
    else {
        return Ok(None);
    };
    let rejected = partial.get(rejected_key(signal));
    let text = rejected.and_then(Json::as_str);
    let number = match rejected {
        None | Some(Json::Null) => Some(0),
        Some(Json::String(text)) => text.parse().ok(),
        Some(other) => other.as_i64(),
    };
    let message = partial.get("errorMessage").and_then(Json::as_str);
    Ok(Some(Partial {
        rejected: number.ok_or("a count that is no number")?,
        message: message.unwrap_or_default().to_owned(),
        is_text: text.is_some(),
    }))
}

/// The JSON name of what counts rejected items.
pub(crate) const fn rejected_key(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "rejectedSpans",
        Signal::Metrics => "rejectedDataPoints",
        Signal::Logs => "rejectedLogRecords",
        Signal::Profiles => "rejectedProfiles",
    }
}

/// A `google.rpc.Status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) message: String,
    /// The types of its details, without what stands before the last slash.
    pub(crate) details: Vec<String>,
}

/// Reads the Status in the body of a failure, in the encoding that its content type names. The
/// error is a phrase.
pub(crate) fn status(answer: &Answer) -> Result<Status, String> {
    if answer.body.is_empty() {
        return Err("no body".to_owned());
    }
    match answer.media_type().as_str() {
        PROTOBUF => protobuf_status(&answer.body),
        JSON => json_status(&answer.body),
        "" => Err("a body without a content type".to_owned()),
        other => Err(format!("a body of {other}")),
    }
}

fn protobuf_status(body: &[u8]) -> Result<Status, String> {
    let mut status = Status::default();
    let mut fields = Fields::of(body);
    for field in fields.by_ref() {
        match field {
            (1, Value::Number(_)) => {}
            (2, Value::Bytes(text)) => {
                let text = std::str::from_utf8(text).map_err(|_| "a message that is not UTF-8")?;
                text.clone_into(&mut status.message);
            }
            (3, Value::Bytes(any)) => status.details.extend(type_of(any)),
            (number, _) => return Err(format!("a protobuf with field {number}: no Status")),
        }
    }
    if fields.torn {
        return Err("a body that is not protobuf".to_owned());
    }
    Ok(status)
}

fn type_of(any: &[u8]) -> Option<String> {
    let url = crate::cli::bench::wire::find_bytes(any, 1)?;
    let url = std::str::from_utf8(url).ok()?;
    Some(last_part(url))
}

fn last_part(url: &str) -> String {
    url.rsplit('/').next().unwrap_or(url).to_owned()
}

fn json_status(body: &[u8]) -> Result<Status, String> {
    let value: Json =
        serde_json::from_slice(body).map_err(|error| format!("a body that is no JSON: {error}"))?;
    let object = value.as_object().ok_or("JSON that is no object")?;
    let unknown = object
        .keys()
        .find(|key| !["code", "message", "details"].contains(&key.as_str()));
    if let Some(key) = unknown {
        return Err(format!("JSON with the key {key:?}: no Status"));
    }
    let code = object.get("code");
    if code.is_some_and(|code| !code.is_number() && !code.is_null()) {
        return Err("JSON whose code is no number: no Status".to_owned());
    }
    let message = match object.get("message") {
        None | Some(Json::Null) => "",
        Some(Json::String(text)) => text.as_str(),
        Some(_) => return Err("JSON whose message is no text: no Status".to_owned()),
    };
    let details = object.get("details").and_then(Json::as_array);
    let types = details.into_iter().flatten().filter_map(|detail| {
        let url = detail.get("@type")?.as_str()?;
        Some(last_part(url))
    });
    Ok(Status {
        message: message.to_owned(),
        details: types.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: &str, body: &[u8]) -> Answer {
        Answer {
            code: 400,
            headers: vec![("content-type".to_owned(), kind.to_owned())],
            body: body.to_vec(),
            sent: 0,
        }
    }

    #[test]
    fn a_status_is_read_in_both_encodings_and_nothing_else_is_one() {
        let protobuf =
            b"\x08\x03\x12\x03bad\x1a\x2d\x0a\x2btype.googleapis.com/google.rpc.BadRequest!!!!!";
        let mut protobuf = protobuf.to_vec();
        protobuf.truncate(protobuf.len() - 5);
        let url = b"type.googleapis.com/google.rpc.BadRequest";
        protobuf[8] = u8::try_from(url.len() + 2).unwrap();
        protobuf[10] = u8::try_from(url.len()).unwrap();
        let expected = Status {
            message: "bad".to_owned(),
            details: vec!["google.rpc.BadRequest".to_owned()],
        };
        assert_eq!(status(&answer(PROTOBUF, &protobuf[..])).unwrap(), expected);
        let json = br#"{"code":3,"message":"bad","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest"}]}"#;
        assert_eq!(
            status(&answer("application/json; charset=utf-8", json)).unwrap(),
            expected
        );
        for (kind, body) in [
            ("text/plain", &b"bad request"[..]),
            (PROTOBUF, b""),
            (PROTOBUF, b"bad request"),
            (JSON, b"bad request"),
            (JSON, br#"{"error":"bad"}"#),
            (JSON, br#"{"message":7}"#),
            ("", b"x"),
        ] {
            assert!(status(&answer(kind, body)).is_err(), "{kind} {body:?}");
        }
    }

    #[test]
    fn partial_success_is_read_in_both_encodings() {
        assert_eq!(partial(b"").unwrap(), None);
        assert_eq!(partial(b"\x0a\x00").unwrap(), Some(Partial::default()));
        let some = partial(b"\x0a\x06\x08\x05\x12\x02no").unwrap().unwrap();
        assert_eq!((some.rejected, some.message.as_str()), (5, "no"));
        assert!(partial(b"{}").is_err());
        for (body, expected) in [
            ("{}", None),
            (r#"{"partialSuccess":null}"#, None),
            (r#"{"partialSuccess":{}}"#, Some((0, false))),
            (
                r#"{"partialSuccess":{"rejectedSpans":"5"}}"#,
                Some((5, true)),
            ),
            (
                r#"{"partialSuccess":{"rejectedSpans":5}}"#,
                Some((5, false)),
            ),
        ] {
            let found = partial_json(Signal::Traces, body.as_bytes()).unwrap();
            let found = found.map(|partial| (partial.rejected, partial.is_text));
            assert_eq!(found, expected, "{body}");
        }
        assert!(partial_json(Signal::Traces, b"").is_err());
    }
}
