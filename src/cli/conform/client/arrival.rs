//! One request as it came: how it was framed, and which items it carries.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;

use http::request::Parts;
use http::{HeaderMap, Version};
use serde_json::Value as Json;
use tokio::time::Instant;

use crate::cli::bench::wire::{Fields, Value, grpc_message};
use crate::otlp::Signal;

/// The most that a compressed body is read to: above the limit of 64 MiB that requests have.
const MAX_PLAIN_BYTES: u64 = 80 << 20;

/// How a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli::conform) enum Wire {
    Grpc,
    HttpProtobuf,
    HttpJson,
}

impl Wire {
    pub(in crate::cli::conform) const ALL: [Self; 3] =
        [Self::Grpc, Self::HttpProtobuf, Self::HttpJson];

    /// Its name in `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub(in crate::cli::conform) const fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::HttpProtobuf => "http/protobuf",
            Self::HttpJson => "http/json",
        }
    }

    pub(in crate::cli::conform) const fn content_type(self) -> &'static str {
        match self {
            Self::Grpc => "application/grpc",
            Self::HttpProtobuf => "application/x-protobuf",
            Self::HttpJson => "application/json",
        }
    }

    fn of(headers: &HeaderMap) -> Option<Self> {
        let kind = text(headers, "content-type")?;
        let kind = kind.split(';').next()?.trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/x-protobuf" => Some(Self::HttpProtobuf),
            "application/json" => Some(Self::HttpJson),
            "application/grpc" => Some(Self::Grpc),
            kind if kind.starts_with("application/grpc+") => Some(Self::Grpc),
            _ => None,
        }
    }
}

/// A request, and what became of it.
#[derive(Clone, Debug)]
pub(in crate::cli::conform) struct Arrival {
    /// When its head had come.
    pub(in crate::cli::conform) at: Instant,
    /// When it was answered.
    pub(in crate::cli::conform) answered: Option<Instant>,
    /// When its client went away without an answer.
    pub(in crate::cli::conform) left: Option<Instant>,
    /// The scenario whose request it is, and how often that had come before.
    pub(in crate::cli::conform) case: Option<(usize, usize)>,
    /// Which connection it came by.
    pub(in crate::cli::conform) connection: u64,
    pub(in crate::cli::conform) version: Version,
    pub(in crate::cli::conform) method: http::Method,
    pub(in crate::cli::conform) path: String,
    pub(in crate::cli::conform) headers: HeaderMap,
    pub(in crate::cli::conform) content: Contents,
}

/// What was found in a body.
#[derive(Clone, Debug)]
pub(in crate::cli::conform) struct Contents {
    pub(in crate::cli::conform) wire: Wire,
    pub(in crate::cli::conform) signal: Signal,
    /// A hash for each item; metrics count as a whole.
    pub(in crate::cli::conform) items: Vec<u64>,
    pub(in crate::cli::conform) plain_bytes: usize,
    pub(in crate::cli::conform) is_compressed: bool,
    /// What is wrong with the framing.
    pub(in crate::cli::conform) faults: Vec<String>,
}

impl Arrival {
    /// The value of a header field, where it is text.
    pub(in crate::cli::conform) fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

impl Contents {
    /// Reads a request whatever it is; what is wrong with it is told in `faults`.
    pub(in crate::cli::conform) fn read(head: &Parts, body: &[u8]) -> Self {
        let mut faults = Vec::new();
        let by_path = Signal::from_grpc_path(head.uri.path());
        let wire = Wire::of(&head.headers).unwrap_or_else(|| {
            let kind = text(&head.headers, "content-type").unwrap_or("none");
            faults.push(format!("the content type is {kind}"));
            match by_path {
                Some(_) => Wire::Grpc,
                None => Wire::HttpProtobuf,
            }
        });
        let is_gzip = text(&head.headers, encoding_field(wire)) == Some("gzip");
        let (is_compressed, message) = match wire {
            Wire::Grpc => grpc_message(body).unwrap_or_else(|| {
                faults.push("the body is not one gRPC message".to_owned());
                (false, &[])
            }),
            _ => (is_gzip, body),
        };
        let plain = plain(is_compressed, is_gzip, message).unwrap_or_else(|fault| {
            faults.push(fault);
            Cow::Borrowed(&[])
        });
        let found = match wire {
            Wire::HttpJson => json_items(&plain),
            _ => protobuf_items(&plain).map(|items| (None, items)),
        };
        let (by_content, items) = found.unwrap_or_else(|| {
            faults.push(format!("the body is not {}", wire.content_type()));
            (None, Vec::new())
        });
        let by_path = by_path.or_else(|| by_end_of_path(head.uri.path()));
        Self {
            wire,
            signal: by_path.or(by_content).unwrap_or(Signal::Traces),
            items,
            plain_bytes: plain.len(),
            is_compressed,
            faults,
        }
    }
}

/// How a request is framed, and of which signal it is, by its head alone.
pub(in crate::cli::conform) fn framing(head: &Parts) -> (Wire, Signal) {
    let path = head.uri.path();
    let signal = Signal::from_grpc_path(path).or_else(|| by_end_of_path(path));
    let wire = Wire::of(&head.headers).unwrap_or(Wire::HttpProtobuf);
    (wire, signal.unwrap_or(Signal::Traces))
}

/// The message in a body, inflated; `None` where its framing is wrong.
pub(in crate::cli::conform) fn unpacked(
    headers: &HeaderMap,
    wire: Wire,
    body: &[u8],
) -> Option<Vec<u8>> {
    let is_gzip = text(headers, encoding_field(wire)) == Some("gzip");
    let (is_compressed, message) = match wire {
        Wire::Grpc => grpc_message(body)?,
        _ => (is_gzip, body),
    };
    plain(is_compressed, is_gzip, message)
        .ok()
        .map(Cow::into_owned)
}

/// A path that was configured may have anything before it.
fn by_end_of_path(path: &str) -> Option<Signal> {
    Signal::ALL
        .into_iter()
        .find(|signal| path.ends_with(signal.http_path()))
}

const fn encoding_field(wire: Wire) -> &'static str {
    match wire {
        Wire::Grpc => "grpc-encoding",
        _ => "content-encoding",
    }
}

fn plain(is_compressed: bool, is_gzip: bool, message: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if !is_compressed {
        return match message {
            [0x1f, 0x8b, ..] => Err("the body is gzip, and no header says so".to_owned()),
            _ => Ok(Cow::Borrowed(message)),
        };
    }
    if !is_gzip {
        return Err("the body is said to be compressed, but not by gzip".to_owned());
    }
    let mut plain = Vec::new();
    flate2::bufread::MultiGzDecoder::new(message)
        .take(MAX_PLAIN_BYTES)
        .read_to_end(&mut plain)
        .map_err(|error| format!("the header says gzip, the body is not: {error}"))?;
    Ok(plain.into())
}

fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The items of any signal: field 2 of field 2 of field 1.
fn protobuf_items(request: &[u8]) -> Option<Vec<u64>> {
    let mut items = Vec::new();
    for resource in messages(request, 1)? {
        for scope in messages(resource, 2)? {
            items.extend(messages(scope, 2)?.into_iter().map(hash));
        }
    }
    Some(items)
}

fn messages(message: &[u8], number: u64) -> Option<Vec<&[u8]>> {
    let mut fields = Fields::of(message);
    let mut found = Vec::new();
    for field in fields.by_ref() {
        if let (field, Value::Bytes(bytes)) = field
            && field == number
        {
            found.push(bytes);
        }
    }
    (!fields.torn).then_some(found)
}

const JSON_KEYS: [(Signal, &str, &str, &str); 4] = [
    (Signal::Traces, "resourceSpans", "scopeSpans", "spans"),
    (
        Signal::Metrics,
        "resourceMetrics",
        "scopeMetrics",
        "metrics",
    ),
    (Signal::Logs, "resourceLogs", "scopeLogs", "logRecords"),
    (
        Signal::Profiles,
        "resourceProfiles",
        "scopeProfiles",
        "profiles",
    ),
];

fn json_items(request: &[u8]) -> Option<(Option<Signal>, Vec<u64>)> {
    let request: Json = serde_json::from_slice(request).ok()?;
    let request = request.as_object()?;
    let list = |value: &Json, key: &str| value.get(key).and_then(Json::as_array).cloned();
    for (signal, resources, scopes, items) in JSON_KEYS {
        let Some(found) = request.get(resources).and_then(Json::as_array) else {
            continue;
        };
        let scopes = found.iter().filter_map(|one| list(one, scopes)).flatten();
        let items = scopes.filter_map(|one| list(&one, items)).flatten();
        let items = items.map(|item| hash(&item.to_string())).collect();
        return Some((Some(signal), items));
    }
    Some((None, Vec::new()))
}
