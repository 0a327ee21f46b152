//! Tokens by OAuth 2.0 client credentials (RFC 6749, section 4.4).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::config::{ClientAuthentication, OAuth2Config};
use super::credentials::{basic, bearer};
use super::secret::Secret;
use super::watched::{Source, Watched};
use crate::net::fetch::{Answer, Fetch};
use crate::net::tls::Register;

/// Where tokens are had, and the one that we have.
pub(super) struct OAuth2 {
    fetch: Fetch,
    /// The URL without what may be secret in it, for sentences.
    url: String,
    client_id: String,
    client_secret: ClientSecret,
    authentication: ClientAuthentication,
    scope: String,
    params: BTreeMap<String, Secret>,
    /// Whoever fetches a token has it: one at a time.
    state: Mutex<State>,
}

enum ClientSecret {
    Fixed(Secret),
    File(Arc<Watched<Secret>>),
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    failed: Option<(Instant, String)>,
}

struct Token {
    value: HeaderValue,
    /// When another one is to be fetched; never by itself if not said.
    renew_at: Option<Instant>,
    expires_at: Option<Instant>,
}

/// A token is renewed so long before it expires, and not later than at four fifths of its life.
const MARGIN: Duration = Duration::from_secs(30);

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// The longest part of an answer that stands in a sentence, in characters.
const MAX_SAID: usize = 200;

impl OAuth2 {
    pub(super) fn open(
        config: &OAuth2Config,
        whose: &str,
        register: &Register,
    ) -> Result<Self, String> {
        let bounds = (config.timeout, MAX_ANSWER);
        let tls = config.tls.as_ref();
        let fetch = Fetch::new(&config.token_url, tls, (whose, register), bounds)
            .map_err(|what| format!("`{whose}.token_url`: {what}"))?;
        let client_secret = match (&config.client_secret, &config.client_secret_file) {
            (Some(secret), _) => ClientSecret::Fixed(secret.clone()),
            (None, Some(path)) => {
                let source = Source {
                    key: format!("{whose}.client_secret_file"),
                    path: path.clone(),
                    // It is read before each use.
                    interval: Duration::ZERO,
                };
                ClientSecret::File(Watched::open(source, client_secret)?)
            }
            (None, None) => {
                return Err(format!(
                    "{whose} needs `client_secret` or `client_secret_file`"
                ));
            }
        };
        let url = config.token_url.split('?').next().unwrap_or_default();
        Ok(Self {
            fetch,
            url: url.to_owned(),
            client_id: config.client_id.clone(),
            client_secret,
            authentication: config.client_authentication,
            scope: config.scopes.join(" "),
            params: config.params.clone(),
            state: Mutex::default(),
        })
    }

    /// The token that there is, or another one where that is about to expire.
    pub(super) async fn header(&self) -> Result<HeaderValue, String> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        let now = Instant::now();
        let is_before = |end: Option<Instant>| end.is_none_or(|end| now < end);
        if let Some(token) = state
            .token
            .as_ref()
            .filter(|token| is_before(token.renew_at))
        {
            return Ok(token.value.clone());
        }
        // Somebody has asked in vain while we waited for our turn: that answers us as well.
        if let Some((_, what)) = state.failed.as_ref().filter(|(at, _)| *at >= asked) {
            return Err(what.clone());
        }
        match self.ask().await {
            Ok(token) => {
                let value = token.value.clone();
                *state = State {
                    token: Some(token),
                    failed: None,
                };
                Ok(value)
            }
            Err(what) => {
                let what = format!("no token from {}: {what}", self.url);
                state.failed = Some((Instant::now(), what.clone()));
                let still = state
                    .token
                    .as_ref()
                    .filter(|token| is_before(token.expires_at));
                still.map(|token| token.value.clone()).ok_or(what)
            }
        }
    }

    /// This token is no good any more, whatever was said of its life.
    pub(super) async fn forget(&self, value: &HeaderValue) {
        let mut state = self.state.lock().await;
        if state
            .token
            .as_ref()
            .is_some_and(|token| token.value == value)
        {
            state.token = None;
        }
    }

    async fn ask(&self) -> Result<Token, String> {
        let secret = match &self.client_secret {
            ClientSecret::Fixed(secret) => secret.clone(),
            ClientSecret::File(file) => {
                file.look().await;
                file.current().as_ref().clone()
            }
        };
        let (headers, body) = self.request(&secret)?;
        let asked = Instant::now();
        let answer = self.fetch.post(headers, body).await;
        let answer = answer.map_err(|error| error.to_string())?;
        match answer.status {
            StatusCode::OK => read(&answer.body, asked),
            status => Err(format!("HTTP {status}{}", said(&answer, &secret))),
        }
    }

    fn request(&self, secret: &Secret) -> Result<(HeaderMap, Bytes), String> {
        let mut headers = HeaderMap::new();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, form);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let mut body = String::from("grant_type=client_credentials");
        match self.authentication {
            ClientAuthentication::Basic => {
                // Both are encoded as in a form before (RFC 6749, section 2.3.1).
                let user = encoded(&self.client_id);
                let value = basic(&user, &encoded(secret.expose()));
                let value = value.map_err(|what| format!("the client's secret {what}"))?;
                headers.insert(header::AUTHORIZATION, value);
            }
            ClientAuthentication::Body => {
                add(&mut body, "client_id", &self.client_id);
                add(&mut body, "client_secret", secret.expose());
            }
        }
        if !self.scope.is_empty() {
            add(&mut body, "scope", &self.scope);
        }
        for (name, value) in &self.params {
            add(&mut body, name, value.expose());
        }
        Ok((headers, body.into()))
    }
}

fn client_secret(text: &str) -> Result<Secret, String> {
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err("is empty".to_owned()),
        text => Ok(Secret::from(text.to_owned())),
    }
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: Option<String>,
    /// In seconds; some servers write it as a string.
    expires_in: Option<Value>,
}

/// What is said of the answer's content holds nothing of it.
fn read(body: &[u8], asked: Instant) -> Result<Token, String> {
    let granted: Granted = serde_json::from_slice(body)
        .map_err(|_| "the answer is no JSON with an `access_token`".to_owned())?;
    let kind = granted.token_type.as_deref().unwrap_or("bearer");
    if !kind.eq_ignore_ascii_case("bearer") {
        return Err("the token is of another type than Bearer".to_owned());
    }
    let value = bearer(&granted.access_token).map_err(|what| format!("the token {what}"))?;
    let life = granted.expires_in.as_ref().and_then(seconds);
    Ok(Token {
        value,
        renew_at: life.map(|life| asked + life - MARGIN.min(life / 5)),
        expires_at: life.map(|life| asked + life),
    })
}

/// A life of a year at most: longer ones are as good as that.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    let most = 365.0 * 24.0 * 3600.0;
    (seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(most)))
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

/// What the server says is wrong, without our secret, should it repeat that.
fn said(answer: &Answer, secret: &Secret) -> String {
    let Ok(refusal) = serde_json::from_slice::<Refusal>(&answer.body) else {
        return String::new();
    };
    let more = refusal.error_description.unwrap_or_default();
    let text = format!("{} {more}", refusal.error);
    let text = text.replace(secret.expose(), "...");
    let plain = text.chars().filter(|c| !c.is_control()).take(MAX_SAID);
    format!(": {}", plain.collect::<String>().trim_end())
}

fn add(body: &mut String, name: &str, value: &str) {
    *body += "&";
    *body += &encoded(name);
    *body += "=";
    *body += &encoded(value);
}

/// As forms are encoded in URLs.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            _ => {
                let written = write!(out, "%{byte:02X}");
                debug_assert!(written.is_ok(), "a string takes all that is written to it");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_encoded_as_browsers_do() {
        assert_eq!(encoded("a b&c=d/ä*~"), "a+b%26c%3Dd%2F%C3%A4*%7E");
    }

    #[test]
    fn a_token_is_renewed_before_it_expires() {
        let asked = Instant::now();
        let lives = |expires: &str| {
            let body = format!("{{\"access_token\":\"t\",\"token_type\":\"bearer\"{expires}}}");
            let token = read(body.as_bytes(), asked).unwrap();
            token.renew_at.map(|at| (at - asked).as_secs_f64())
        };
        assert_eq!(lives(""), None);
        assert_eq!(lives(",\"expires_in\":3600"), Some(3570.0));
        assert_eq!(lives(",\"expires_in\":\"10\""), Some(8.0));
        assert_eq!(lives(",\"expires_in\":-1"), None);
    }

    #[test]
    fn an_answer_that_holds_no_token_is_not_repeated() {
        for (body, part) in [
            ("hunter2", "no JSON"),
            ("{\"token\":\"hunter2\"}", "no JSON"),
            (
                "{\"access_token\":\"hunter2\",\"token_type\":\"mac\"}",
                "another type",
            ),
            ("{\"access_token\":\"\"}", "is empty"),
        ] {
            let said = read(body.as_bytes(), Instant::now()).err().unwrap();
            assert!(said.contains(part) && !said.contains("hunter2"), "{said}");
        }
    }
}
