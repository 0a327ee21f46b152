//! Which web pages may send to us (the Fetch standard's CORS protocol). Browsers ask, by a
//! preflight request, and keep the answer of a page that was not allowed from its scripts; nobody
//! else cares.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode, request};
use http_body_util::Full;
use serde::Deserialize;

use crate::units;

/// `cors = { ... }`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorsConfig {
    /// The origins of the pages that may send: `https://app.example.com`, with one `*` for any
    /// part of the host or the port, or `*` for all.
    pub allowed_origins: Vec<String>,
    /// The headers that they may set, beside those that OTLP itself needs; `*` is any.
    #[serde(default)]
    pub allowed_headers: Vec<String>,
    /// The headers of answers that their scripts may read.
    #[serde(default = "default_exposed")]
    pub exposed_headers: Vec<String>,
    /// Whether browsers may send what they know of the user: cookies, authentication.
    #[serde(default)]
    pub allow_credentials: bool,
    /// How long a browser may remember the answer to a preflight.
    #[serde(default = "default_max_age", with = "units::duration")]
    pub max_age: Duration,
}

/// Without it no script could heed it.
fn default_exposed() -> Vec<String> {
    vec!["Retry-After".to_owned()]
}

fn default_max_age() -> Duration {
    Duration::from_secs(2 * 3600)
}

/// What OTLP/HTTP itself needs. `Accept` and its like need no permission.
const OWN_HEADERS: [HeaderName; 2] = [header::CONTENT_TYPE, header::CONTENT_ENCODING];

/// The same, ready to answer.
pub(super) struct Cors {
    origins: Vec<Origin>,
    /// Any header if absent.
    headers: Option<Vec<HeaderName>>,
    exposed: Option<HeaderValue>,
    credentials: bool,
    max_age: HeaderValue,
}

impl Cors {
    /// Of a configuration that was checked: what cannot be understood allows nothing.
    pub(super) fn new(config: &CorsConfig) -> Self {
        let listed = &config.allowed_headers;
        let any_header = listed.iter().any(|name| name == "*");
        let names = || listed.iter().filter_map(|name| name.parse().ok());
        Self {
            origins: config
                .allowed_origins
                .iter()
                .filter_map(|text| Origin::parse(text).ok())
                .collect(),
            headers: (!any_header).then(|| OWN_HEADERS.into_iter().chain(names()).collect()),
            exposed: HeaderValue::from_str(&config.exposed_headers.join(", "))
                .ok()
                .filter(|value| !value.is_empty()),
            credentials: config.allow_credentials,
            max_age: config.max_age.as_secs().into(),
        }
    }

    /// The answer to a preflight; `None` if the request is none. It needs no authentication:
    /// browsers never send any with it.
    pub(super) fn preflight(&self, head: &request::Parts) -> Option<Response<Full<Bytes>>> {
        let wanted = head.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        let origin = head.headers.get(header::ORIGIN)?;
        if head.method != Method::OPTIONS {
            return None;
        }
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(header::VARY, VARY_OF_PREFLIGHT);
        let asked = head
            .headers
            .get_all(header::ACCESS_CONTROL_REQUEST_HEADERS)
            .iter();
        let allowed: Option<Vec<HeaderName>> = asked
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|name| !name.is_empty())
            .map(|name| self.allowed_header(name))
            .collect();
        let Some(allowed) = allowed.filter(|_| wanted.as_bytes() == b"POST") else {
            return Some(response);
        };
        if self.allow(origin, headers) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, POST);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
            for name in allowed {
                headers.append(header::ACCESS_CONTROL_ALLOW_HEADERS, name.into());
            }
        }
        Some(response)
    }

    /// Marks any other answer, to a request from this origin if it names one.
    pub(super) fn mark(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        // Also where there is none: a cache must not give the answer to somebody else.
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if origin.is_some_and(|origin| self.allow(origin, headers))
            && let Some(exposed) = &self.exposed
        {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
        }
    }

    /// Says that the origin is allowed, if it is. With credentials a literal `*` would allow
    /// nobody.
    fn allow(&self, origin: &HeaderValue, headers: &mut HeaderMap) -> bool {
        let mut allowing = self.origins.iter().filter(|allowed| allowed.fits(origin));
        let Some(allowed) = allowing.next() else {
            return false;
        };
        let value = match allowed {
            Origin::Any if !self.credentials => HeaderValue::from_static("*"),
            _ => origin.clone(),
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value);
        if self.credentials {
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
        true
    }

    fn allowed_header(&self, name: &[u8]) -> Option<HeaderName> {
        let name = HeaderName::from_bytes(name).ok()?;
        let fits = |allowed: &Vec<HeaderName>| allowed.contains(&name);
        self.headers.as_ref().is_none_or(fits).then_some(name)
    }
}

const POST: HeaderValue = HeaderValue::from_static("POST");

const VARY_OF_PREFLIGHT: HeaderValue = HeaderValue::from_static(
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
);

/// One entry of `allowed_origins`.
#[derive(Debug, PartialEq, Eq)]
enum Origin {
    Any,
    /// In lower case, as browsers send it.
    Exactly(String),
    /// What stands before the `*` and behind it.
    Around(String, String),
}

impl Origin {
    /// Reads an entry; the error is a phrase for the operator.
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let text = text.to_ascii_lowercase();
        // What a page has that came from a file or in a sandbox.
        if text == "null" {
            return Ok(Self::Exactly(text));
        }
        let Some((scheme, host)) = text.split_once("://") else {
            return Err("has no scheme");
        };
        let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if scheme.is_empty() || !scheme.bytes().all(is_scheme) {
            return Err("has no scheme that a page can have");
        }
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]*".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_host) {
            return Err("goes on behind its host and port: an origin has no path");
        }
        match text.split_once('*') {
            None => Ok(Self::Exactly(text)),
            Some((_, after)) if after.contains('*') => Err("has more than one `*`"),
            Some((before, after)) => Ok(Self::Around(before.to_owned(), after.to_owned())),
        }
    }

    /// A `*` stands for one or more of what hosts and ports are made of, so that nothing but a
    /// subdomain or a port can come of it.
    fn fits(&self, origin: &HeaderValue) -> bool {
        let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.".contains(byte);
        match self {
            Self::Any => true,
            Self::Exactly(text) => origin.as_bytes().eq_ignore_ascii_case(text.as_bytes()),
            Self::Around(before, after) => {
                let origin = origin.as_bytes().to_ascii_lowercase();
                let rest = origin.strip_prefix(before.as_bytes());
                let between = rest.and_then(|rest| rest.strip_suffix(after.as_bytes()));
                between.is_some_and(|between| !between.is_empty() && between.iter().all(is_host))
            }
        }
    }
}

/// Checks an entry of `allowed_origins`.
///
/// # Errors
/// What is wrong with it, as in: it ...
pub fn check_origin(text: &str) -> Result<(), &'static str> {
    Origin::parse(text).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, origin: &'static str) -> bool {
        let origin = HeaderValue::from_static(origin);
        Origin::parse(pattern).unwrap().fits(&origin)
    }

    #[test]
    fn an_origin_fits_as_a_whole_and_without_case() {
        assert!(fits("https://App.example.com", "https://app.example.com"));
        assert!(!fits("https://app.example.com", "http://app.example.com"));
        assert!(!fits(
            "https://app.example.com",
            "https://app.example.com:8443"
        ));
        assert!(!fits(
            "https://app.example.com",
            "https://app.example.com.evil.net"
        ));
        assert!(fits("null", "null") && !fits("https://a", "null") && fits("*", "null"));
    }

    #[test]
    fn a_star_is_a_part_of_a_host_or_a_port_and_nothing_else() {
        let pattern = "https://*.example.com";
        assert!(fits(pattern, "https://app.example.com"));
        assert!(fits(pattern, "https://a.b-c.Example.com"));
        for other in [
            "https://example.com",
            "https://.example.com",
            "http://app.example.com",
            "https://evil.net/.example.com",
            "https://evil.net:1.example.com",
            "https://user@evil.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.net",
        ] {
            assert!(!fits(pattern, other), "{other}");
        }
        assert!(fits("http://localhost:*", "http://localhost:3000"));
        assert!(!fits("http://localhost:*", "http://localhost"));
    }

    #[test]
    fn what_is_no_origin_is_said() {
        for (text, problem) in [
            ("app.example.com", "no scheme"),
            ("", "no scheme"),
            ("*.example.com", "no scheme"),
            ("*://example.com", "no scheme"),
            ("https://example.com/", "no path"),
            ("https://", "no path"),
            ("https://*.*.example.com", "more than one"),
        ] {
            let said = check_origin(text).unwrap_err();
            assert!(said.contains(problem), "{text}: {said}");
        }
    }
}
