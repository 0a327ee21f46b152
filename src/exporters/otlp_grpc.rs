//! OTLP over gRPC.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;

use super::Compression;
use super::authorization::{Authorization, Setback};
use super::outgoing::{self, MAX_ANSWER, Outgoing, USER_AGENT};
use crate::auth::CredentialsConfig;
use crate::batch::{Batch, Chunks};
use crate::component::{Delivered, Exporter, Failure};
use crate::host::workers::Workers;
use crate::net::channel::Channel;
use crate::net::compression::{self, Encoding};
use crate::net::dial::Dialler;
use crate::net::tls::{Alpn, ClientTlsConfig, Register};
use crate::otlp::Signal;
use crate::otlp::status::{self, GrpcCode};
use crate::units;

/// `type = "otlp_grpc"`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtlpGrpcConfig {
    /// `http://HOST:PORT`, `https://HOST:PORT`, `HOST:PORT` or `unix:PATH`.
    pub endpoint: String,
    /// How its server is believed, and believes us; as `https` does by itself if absent.
    #[serde(default)]
    pub tls: Option<ClientTlsConfig>,
    /// What is shown to the destination; nothing if absent. Read apart.
    #[serde(skip)]
    pub auth: Option<CredentialsConfig>,
    /// How requests are compressed.
    #[serde(default)]
    pub compression: Compression,
    /// Sent with each request; the values may be secret.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The age at which a connection is replaced and the name looked up again.
    #[serde(default = "default_connection_age", with = "units::duration")]
    pub max_connection_age: Duration,
}

/// Five minutes: a destination that moves is followed within that time even if the old address
/// still answers.
pub(super) fn default_connection_age() -> Duration {
    Duration::from_secs(300)
}

/// The destination, and how requests to it look.
pub struct OtlpGrpc {
    channel: Channel<Outgoing>,
    authority: String,
    scheme: &'static str,
    compression: Option<Encoding>,
    headers: HeaderMap,
    authorization: Authorization,
    workers: Workers,
}

impl OtlpGrpc {
    /// An exporter to this destination; nothing is connected yet.
    ///
    /// # Errors
    /// A sentence, where the endpoint or a header cannot be read.
    pub fn new(
        config: &OtlpGrpcConfig,
        workers: Workers,
        whose: (&str, &Register),
    ) -> Result<Self, String> {
        let tls = config.tls.as_ref();
        let dialler = Dialler::new((&config.endpoint, 4317), tls, Alpn::Http2, whose)?;
        let mut headers = outgoing::headers(&config.headers)?;
        let compression = config.compression.encoding();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/grpc"),
        );
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.insert(
            "grpc-accept-encoding",
            HeaderValue::from_static("identity,gzip"),
        );
        if let Some(encoding) = compression {
            headers.insert("grpc-encoding", HeaderValue::from_static(encoding.name()));
        }
        let (authority, scheme) = (dialler.target.authority.clone(), dialler.scheme());
        let channel = Channel::new(dialler, config.max_connection_age);
        Ok(Self {
            channel,
            authority,
            scheme,
            compression,
            headers,
            authorization: Authorization::open(config.auth.as_ref(), whose)?,
            workers,
        })
    }

    async fn attempt(&self, batch: &Batch) -> Result<Delivered, Failure> {
        let message = outgoing::encode(batch, self.compression, &self.workers).await?;
        let send = |shown| self.send(batch.signal, message.clone(), shown);
        self.authorization.deliver(&self.headers, send).await
    }

    async fn send(
        &self,
        signal: Signal,
        message: Chunks,
        shown: Option<HeaderValue>,
    ) -> Result<Delivered, Setback> {
        let mut request = self.request(signal, message)?;
        if let Some(shown) = shown {
            request.headers_mut().insert(header::AUTHORIZATION, shown);
        }
        let mut sender = self
            .channel
            .sender()
            .await
            .map_err(|e| outgoing::unreachable(&e))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|e| outgoing::unreachable(&e))?;
        if response.status() != http::StatusCode::OK {
            let status = response.status();
            let cause = format!("the answer is HTTP {status}, not gRPC");
            if status == http::StatusCode::UNAUTHORIZED {
                return Err(Setback::Unauthenticated { cause });
            }
            let verdict =
                status::classify_http(status.as_u16(), response.headers(), SystemTime::now());
            outgoing::judge(verdict, || cause)?;
        }
        self.answer(response).await
    }

    fn request(&self, signal: Signal, message: Chunks) -> Result<Request<Outgoing>, Failure> {
        let uri = Uri::builder()
            .scheme(self.scheme)
            .authority(self.authority.as_str())
            .path_and_query(signal.grpc_path())
            .build();
        let permanent = |error: http::Error| Failure::Permanent {
            cause: error.to_string(),
        };
        let body = Outgoing::framed(message, self.compression.is_some());
        let mut request = Request::post(uri.map_err(permanent)?)
            .body(body)
            .map_err(permanent)?;
        *request.headers_mut() = self.headers.clone();
        Ok(request)
    }

    async fn answer(&self, response: http::Response<Incoming>) -> Result<Delivered, Setback> {
        let (head, body) = response.into_parts();
        let collected = Limited::new(body, MAX_ANSWER)
            .collect()
            .await
            .map_err(|error| outgoing::broken_answer(error.as_ref()))?;
        let trailers = collected.trailers().cloned();
        let trailers = trailers.filter(|trailers| trailers.contains_key("grpc-status"));
        let status = status::from_grpc_trailers(trailers.as_ref().unwrap_or(&head.headers));
        let cause = || format!("{}: {}", status.code.name(), status.message);
        if status.code == GrpcCode::Unauthenticated {
            return Err(Setback::Unauthenticated { cause: cause() });
        }
        outgoing::judge(status::classify_grpc(&status), cause)?;
        let encoding = head
            .headers
            .get("grpc-encoding")
            .and_then(|value| value.to_str().ok());
        Ok(outgoing::delivered(&unframed(
            &collected.to_bytes(),
            encoding,
        )))
    }
}

impl Exporter for OtlpGrpc {
    fn export<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Delivered, Failure>> {
        self.attempt(batch).boxed()
    }
}

/// The message behind gRPC's five bytes. What cannot be read counts as an empty answer: the
/// destination said OK.
fn unframed(body: &Bytes, encoding: Option<&str>) -> Vec<u8> {
    let Some((prefix, message)) = body.split_first_chunk::<5>() else {
        return Vec::new();
    };
    let encoding = encoding.and_then(|name| compression::parse_coding(name).ok().flatten());
    match (prefix.first(), encoding) {
        (Some(1), Some(encoding)) => {
            compression::inflate(encoding, message, MAX_ANSWER, &mut |_| true).unwrap_or_default()
        }
        _ => message.to_vec(),
    }
}
