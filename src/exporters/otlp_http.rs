//! OTLP over HTTP/1.1, in binary protobuf or JSON.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Collected, Limited};
use serde::Deserialize;

use super::Compression;
use super::authorization::{Authorization, Setback};
use super::outgoing::{self, MAX_ANSWER, Outgoing, USER_AGENT};
use crate::auth::CredentialsConfig;
use crate::batch::{Batch, Chunks};
use crate::component::{Delivered, Exporter, Failure};
use crate::host::workers::Workers;
use crate::net::compression::{self, Encoding};
use crate::net::dial::{Dialler, Target};
use crate::net::pool::Pool;
use crate::net::tls::{Alpn, ClientTlsConfig, Register};
use crate::otlp::status::{self, Status, Verdict};
use crate::otlp::{Format, Signal, response};
use crate::units;

/// `type = "otlp_http"`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtlpHttpConfig {
    /// `http://HOST:PORT[/PATH]`, `https://HOST:PORT[/PATH]` or `unix:PATH`; `/v1/traces` and so
    /// on are added.
    pub endpoint: String,
    /// How its server is believed, and believes us; as `https` does by itself if absent.
    #[serde(default)]
    pub tls: Option<ClientTlsConfig>,
    /// What is shown to the destination; nothing if absent. Read apart.
    #[serde(skip)]
    pub auth: Option<CredentialsConfig>,
    /// How requests are written.
    #[serde(default)]
    pub encoding: Format,
    /// How requests are compressed.
    #[serde(default)]
    pub compression: Compression,
    /// Sent with each request; the values may be secret.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The age at which a connection is replaced and the name looked up again.
    #[serde(
        default = "super::otlp_grpc::default_connection_age",
        with = "units::duration"
    )]
    pub max_connection_age: Duration,
}

/// The destination, and how requests to it look.
pub struct OtlpHttp {
    target: Target,
    pool: Pool<Outgoing>,
    format: Format,
    compression: Option<Encoding>,
    headers: HeaderMap,
    authorization: Authorization,
    workers: Workers,
}

impl OtlpHttp {
    /// An exporter to this destination; nothing is connected yet.
    ///
    /// # Errors
    /// A sentence, where the endpoint or a header cannot be read.
    pub fn new(
        config: &OtlpHttpConfig,
        workers: Workers,
        whose: (&str, &Register),
    ) -> Result<Self, String> {
        let tls = config.tls.as_ref();
        let dialler = Dialler::new((&config.endpoint, 80), tls, Alpn::Http1, whose)?;
        let mut headers = outgoing::headers(&config.headers)?;
        let compression = config.compression.encoding();
        let host =
            HeaderValue::from_str(&dialler.target.authority).map_err(|error| error.to_string())?;
        headers.insert(header::HOST, host);
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(config.encoding.media_type()),
        );
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        if let Some(encoding) = compression {
            headers.insert(
                header::CONTENT_ENCODING,
                HeaderValue::from_static(encoding.name()),
            );
        }
        let target = dialler.target.clone();
        let pool = Pool::new(dialler, config.max_connection_age);
        Ok(Self {
            target,
            pool,
            format: config.encoding,
            compression,
            headers,
            authorization: Authorization::open(config.auth.as_ref(), whose)?,
            workers,
        })
    }

    async fn attempt(&self, batch: &Batch) -> Result<Delivered, Failure> {
        let message = match self.format {
            Format::Protobuf => outgoing::encode(batch, self.compression, &self.workers).await?,
            Format::Json => outgoing::to_json(batch, self.compression, &self.workers).await?,
        };
        let send = |shown| self.send(batch.signal, message.clone(), shown);
        self.authorization.deliver(&self.headers, send).await
    }

    async fn send(
        &self,
        signal: Signal,
        message: Chunks,
        shown: Option<HeaderValue>,
    ) -> Result<Delivered, Setback> {
        let path = format!("{}{}", self.target.path, signal.http_path());
        let mut request = Request::post(path)
            .body(Outgoing::plain(message))
            .map_err(|error| Failure::Permanent {
                cause: error.to_string(),
            })?;
        *request.headers_mut() = self.headers.clone();
        if let Some(shown) = shown {
            request.headers_mut().insert(header::AUTHORIZATION, shown);
        }
        let mut connection = self
            .pool
            .take()
            .await
            .map_err(|e| outgoing::unreachable(&e))?;
        let response = connection
            .send(request)
            .await
            .map_err(|e| outgoing::unreachable(&e))?;
        let (head, body) = response.into_parts();
        let answer = Limited::new(body, MAX_ANSWER)
            .collect()
            .await
            .map(Collected::to_bytes);
        let verdict = status::classify_http(head.status.as_u16(), &head.headers, SystemTime::now());
        let answer = match (answer, verdict) {
            (Ok(answer), _) => {
                self.pool.give_back(connection);
                plain(&answer, &head.headers)
            }
            // It said yes; what else it meant to say is not worth sending everything again.
            (Err(_broken), Verdict::Delivered) => Vec::new(),
            (Err(error), _) => return Err(outgoing::broken_answer(error.as_ref()).into()),
        };
        let cause = || {
            let status = match format(&head.headers) {
                Format::Protobuf => Status::decode(&answer),
                Format::Json => Status::decode_json(&answer),
            };
            let said = status.map_or(String::new(), |status| status.message);
            in_words(head.status, &head.headers, &said)
        };
        if head.status == StatusCode::UNAUTHORIZED {
            return Err(Setback::Unauthenticated { cause: cause() });
        }
        outgoing::judge(verdict, cause)?;
        Ok(outgoing::delivered(&match format(&head.headers) {
            Format::Protobuf => answer,
            Format::Json => response::from_json(signal, &answer),
        }))
    }
}

impl Exporter for OtlpHttp {
    fn export<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Delivered, Failure>> {
        self.attempt(batch).boxed()
    }
}

/// A refusal in words. Redirects are not followed, since many turn a POST into a GET; whoever
/// reads this has to change the endpoint.
fn in_words(status: StatusCode, headers: &HeaderMap, said: &str) -> String {
    let place = headers.get(header::LOCATION);
    match place.and_then(|place| place.to_str().ok()) {
        Some(place) if status.is_redirection() => {
            format!("HTTP {status}: redirected to {place}, which is not followed")
        }
        _ => format!("HTTP {status}: {said}"),
    }
}

/// How the answer is written, whatever the request was: what does not say so is protobuf.
fn format(headers: &HeaderMap) -> Format {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    kind.and_then(Format::from_media_type).unwrap_or_default()
}

/// The answer, inflated where it says so.
fn plain(answer: &Bytes, headers: &HeaderMap) -> Vec<u8> {
    let encoding = headers
        .get(header::CONTENT_ENCODING)
        .and_then(|value| value.to_str().ok());
    match encoding.and_then(|name| compression::parse_coding(name).ok().flatten()) {
        Some(encoding) => {
            compression::inflate(encoding, answer, MAX_ANSWER, &mut |_| true).unwrap_or_default()
        }
        None => answer.to_vec(),
    }
}
