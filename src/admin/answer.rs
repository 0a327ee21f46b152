//! The paths of the admin listener, and the format that each request asks for.

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use super::{Sources, scrape, status};
use crate::auth::{Denied, Outcome};
use crate::telemetry::metrics::Exposition;

/// Every path there is, with a line on what it says.
const PATHS: [(&str, &str); 4] = [
    ("/livez", "whether the process runs at all"),
    ("/readyz", "whether clients should send to it, and why not"),
    ("/status", "pipelines, lanes, budget and ledger"),
    ("/metrics", "for Prometheus, as text or OpenMetrics"),
];

type Answer = Response<Full<Bytes>>;

/// Whether everybody may read this path: probes have no credentials.
pub(super) fn is_open(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz")
}

/// The answer to somebody who may not read what was asked for.
pub(super) fn denied(denied: &Denied) -> Answer {
    let code = match denied.reason.outcome() {
        Outcome::Unauthenticated => StatusCode::UNAUTHORIZED,
        Outcome::Forbidden => StatusCode::FORBIDDEN,
        Outcome::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    };
    let error = denied.message();
    let mut answer = json(code, &Refusal { error });
    if let Some(challenge) = denied.challenge() {
        let challenge = HeaderValue::from_static(challenge);
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    answer
}

#[derive(Serialize)]
struct Refusal {
    error: &'static str,
}

/// Answers one request of somebody who may read everything, or only what is open.
pub(super) fn answer<B>(sources: &Sources, request: &Request<B>, everything: bool) -> Answer {
    let (method, path) = (request.method(), request.uri().path());
    let known = path == "/" || PATHS.iter().any(|(known, _)| *known == path);
    if !known {
        let error = format!("there is nothing at {path}");
        return json(StatusCode::NOT_FOUND, &Directory::with(Some(error)));
    }
    if method != Method::GET && method != Method::HEAD {
        let error = format!("{path} can only be read: use GET, not {method}");
        let mut answer = json(
            StatusCode::METHOD_NOT_ALLOWED,
            &Directory::with(Some(error)),
        );
        answer
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    match path {
        "/livez" => json(StatusCode::OK, &Live { live: true }),
        "/readyz" => readyz(sources, everything),
        "/status" => json(StatusCode::OK, &status::status(sources)),
        "/metrics" => metrics(sources, request.headers()),
        _ => json(StatusCode::OK, &Directory::with(None)),
    }
}

#[derive(Serialize)]
struct Live {
    live: bool,
}

#[derive(Serialize)]
struct Directory {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    paths: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    path: &'static str,
    what: &'static str,
}

impl Directory {
    fn with(error: Option<String>) -> Self {
        let paths = PATHS.map(|(path, what)| Entry { path, what });
        Self {
            error,
            paths: paths.into(),
        }
    }
}

/// Why it is not ready is only for those who may read everything: the reasons tell of exporters
/// and their errors.
fn readyz(sources: &Sources, everything: bool) -> Answer {
    let mut readiness = sources.readiness(&sources.lanes.snapshots());
    let code = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    if !everything {
        readiness.reasons.clear();
    }
    json(code, &readiness)
}

fn metrics(sources: &Sources, headers: &HeaderMap) -> Answer {
    let accept: Vec<&str> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let format = negotiate(&accept.join(","));
    let page = scrape::page(sources).render(format);
    respond(StatusCode::OK, format.content_type(), page.into())
}

/// OpenMetrics only where the client says that it can read it, and likes it no less than text
/// (RFC 9110, 12.5.1): `*/*` is what a person's curl sends.
fn negotiate(accept: &str) -> Exposition {
    let ranges: Vec<Range<'_>> = accept.split(',').filter_map(Range::parse).collect();
    let best = |fits: fn(&Range<'_>) -> bool| {
        let weights = ranges.iter().filter(|range| fits(range)).map(|r| r.weight);
        weights.fold(0.0, f32::max)
    };
    let openmetrics = best(|range| {
        range
            .media_type
            .eq_ignore_ascii_case("application/openmetrics-text")
            && range.version.is_none_or(|version| version == "1.0.0")
    });
    let text = best(|range| {
        range.media_type.eq_ignore_ascii_case("text/plain")
            && range.version.is_none_or(|version| version == "0.0.4")
    });
    if openmetrics > 0.0 && openmetrics >= text {
        Exposition::OpenMetrics
    } else {
        Exposition::Text
    }
}

/// One media range of an `Accept` header.
struct Range<'a> {
    media_type: &'a str,
    version: Option<&'a str>,
    weight: f32,
}

impl<'a> Range<'a> {
    /// `None` if it is empty or its weight is no number.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next().filter(|name| !name.is_empty())?;
        let mut range = Self {
            media_type,
            version: None,
            weight: 1.0,
        };
        for part in parts {
            match part.split_once('=') {
                Some(("q", weight)) => range.weight = weight.parse().ok()?,
                Some(("version", version)) => range.version = Some(version.trim_matches('"')),
                _ => {}
            }
        }
        Some(range)
    }
}

/// Indented: whoever reads it is as often a person as a program.
fn json(code: StatusCode, body: &impl Serialize) -> Answer {
    match serde_json::to_vec_pretty(body) {
        Ok(mut text) => {
            text.push(b'\n');
            respond(code, "application/json", text.into())
        }
        Err(error) => respond(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/plain; charset=utf-8",
            format!("the answer could not be written: {error}\n").into(),
        ),
    }
}

fn respond(code: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = code;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_the_client_likes_best() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,\
            application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
            encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
            text/plain;version=0.0.4;escaping=allow-utf-8;q=0.3,*/*;q=0.2";
        for (accept, format) in [
            (prometheus_2, Exposition::OpenMetrics),
            (prometheus_3, Exposition::OpenMetrics),
            ("application/openmetrics-text", Exposition::OpenMetrics),
            (
                "Application/OpenMetrics-Text; version=\"1.0.0\"",
                Exposition::OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=0.0.1",
                Exposition::Text,
            ),
            ("application/openmetrics-text;q=0", Exposition::Text),
            (
                "text/plain;version=0.0.4, application/openmetrics-text;q=0.9",
                Exposition::Text,
            ),
            ("*/*", Exposition::Text),
            ("", Exposition::Text),
            ("nonsense;;q=,=", Exposition::Text),
        ] {
            assert_eq!(negotiate(accept), format, "{accept}");
        }
    }
}
