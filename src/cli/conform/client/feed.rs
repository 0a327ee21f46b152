//! Gives a collector under test something to send: one span at a time, by OTLP over HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::cli::bench::wire::{put_bytes, put_fixed64, put_message};
use crate::net::fetch::Fetch;
use crate::net::tls::Register;
use crate::otlp::Signal;

/// The time between two tries where the collector does not take a span.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest that one try may take, and the most that is read of an answer.
const BOUNDS: (Duration, usize) = (Duration::from_secs(30), 64 << 10);

/// The receiver of the collector under test.
#[derive(Clone)]
pub(super) struct Feed {
    fetch: Arc<Fetch>,
}

impl Feed {
    /// The error is a sentence about the URL.
    pub(super) fn new(url: &str) -> Result<Self, String> {
        let url = url.trim_end_matches('/').to_owned();
        let path = format!("{url}{}", Signal::Traces.http_path());
        let fetch = Fetch::new(&path, None, ("--feed", &Register::default()), BOUNDS)
            .map_err(|error| format!("--feed: {error}"))?;
        let fetch = Arc::new(fetch);
        Ok(Self { fetch })
    }

    /// Sends one span that no other is like, in the background: a collector may answer only once
    /// it has delivered. One that is not taken is sent again, but not once it `came`.
    pub(super) fn send(&self, patience: Duration, came: &Arc<AtomicBool>) -> JoinHandle<String> {
        let (feed, came) = (self.clone(), Arc::clone(came));
        let body = Bytes::from(one_span());
        tokio::spawn(async move {
            let give_up = Instant::now() + patience;
            loop {
                let problem = match timeout_at(give_up, feed.post(body.clone())).await {
                    Ok(Ok(200)) => return "it answers 200".to_owned(),
                    Ok(Ok(status)) => format!("it answers {status}"),
                    Ok(Err(problem)) => problem,
                    Err(_) => "it does not answer".to_owned(),
                };
                if came.load(Ordering::Relaxed) || Instant::now() >= give_up {
                    return problem;
                }
                sleep(PAUSE).await;
            }
        })
    }

    async fn post(&self, body: Bytes) -> Result<u16, String> {
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/x-protobuf");
        headers.insert(CONTENT_TYPE, kind);
        let answer = self.fetch.post(headers, body).await;
        let answer = answer.map_err(|error| error.to_string())?;
        Ok(answer.status.as_u16())
    }
}

/// A trace of one span, with ids of its own.
fn one_span() -> Vec<u8> {
    let (trace, span): ([u8; 16], [u8; 8]) = (rand::random(), rand::random());
    let mut request = Vec::new();
    put_message(&mut request, 1, |resource| {
        put_message(resource, 2, |scope| {
            put_message(scope, 2, |item| {
                put_bytes(item, 1, &trace);
                put_bytes(item, 2, &span);
                put_bytes(item, 5, b"conformance");
                put_fixed64(item, 7, 1_700_000_000_000_000_000);
                put_fixed64(item, 8, 1_700_000_000_001_000_000);
            });
        });
    });
    request
}
