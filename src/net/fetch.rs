//! One small request and its answer: for what is not telemetry, such as keys and tokens.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::causes::causes;
use super::dial::Dialler;
use super::tls::{Alpn, ClientTlsConfig, Register};

/// A resource at a URL, asked for over HTTP/1.1 and a connection of its own each time.
#[derive(Clone, Debug)]
pub struct Fetch {
    dialler: Dialler,
    path: String,
    /// The longest that a request may take, from the connection to the end of the answer.
    timeout: Duration,
    /// The largest answer that is read, in bytes.
    max_answer: usize,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Any status: redirects are not followed.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as it came.
    pub body: Bytes,
}

impl Fetch {
    /// What is at `url`: `http://`, `https://` or `unix:`. Nothing is connected yet. `component`
    /// is what the configuration calls whoever asks, for the watch over the files of `tls`. To be
    /// called within a runtime.
    ///
    /// # Errors
    /// A sentence, where the URL or a file cannot be read.
    pub fn new(
        url: &str,
        tls: Option<&ClientTlsConfig>,
        (component, register): (&str, &Register),
        (timeout, max_answer): (Duration, usize),
    ) -> Result<Self, String> {
        let (base, path) = split(url);
        let dialler = Dialler::new((base, 80), tls, Alpn::Http1, (component, register))?;
        Ok(Self {
            dialler,
            path: path.to_owned(),
            timeout,
            max_answer,
        })
    }

    /// The same server and bounds, another path, which begins with a slash.
    #[must_use]
    pub fn at(&self, path: &str) -> Self {
        Self {
            path: path.to_owned(),
            ..self.clone()
        }
    }

    /// Asks for it.
    ///
    /// # Errors
    /// A sentence with the causes: no connection, no answer in time, or one above the limit.
    pub async fn get(&self, headers: HeaderMap) -> io::Result<Answer> {
        self.ask(Method::GET, headers, Bytes::new()).await
    }

    /// Sends it a body, whose type is among the headers.
    ///
    /// # Errors
    /// As for [`Fetch::get`].
    pub async fn post(&self, headers: HeaderMap, body: Bytes) -> io::Result<Answer> {
        self.ask(Method::POST, headers, body).await
    }

    async fn ask(&self, method: Method, headers: HeaderMap, body: Bytes) -> io::Result<Answer> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.path.parse().map_err(io::Error::other)?;
        *request.headers_mut() = headers;
        let host = HeaderValue::try_from(&self.dialler.target.authority);
        let own = request.headers_mut();
        own.insert(HOST, host.map_err(io::Error::other)?);
        own.insert(CONNECTION, HeaderValue::from_static("close"));
        let agent = concat!("otlpd/", env!("CARGO_PKG_VERSION"));
        own.entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(agent));
        match timeout(self.timeout, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_elapsed) => {
                let what = format!("no whole answer within {:?}", self.timeout);
                Err(io::Error::new(io::ErrorKind::TimedOut, what))
            }
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> io::Result<Answer> {
        let stream = self.dialler.dial().await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(told)?;
        // It ends with this function, whatever else does.
        let answer = async {
            let response = sender.send_request(request).await.map_err(told)?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, self.max_answer).collect().await;
            let body = body.map_err(|error| match error.is::<LengthLimitError>() {
                true => io::Error::other(format!(
                    "the answer is above the limit of {} bytes",
                    self.max_answer
                )),
                false => io::Error::other(causes(error.as_ref())),
            })?;
            Ok(Answer {
                status: head.status,
                headers: head.headers,
                body: body.to_bytes(),
            })
        };
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            biased;
            answer = answer.as_mut() => answer,
            // What it has read before its end is still an answer.
            _ended = connection => answer.await,
        }
    }
}

/// What is dialled, and what is asked for there.
fn split(url: &str) -> (&str, &str) {
    if url.starts_with("unix:") {
        return (url, "/");
    }
    let host = url.find("://").map_or(0, |at| at + 3);
    let rest = url.get(host..).unwrap_or_default();
    match rest.find(['/', '?']) {
        Some(end) => {
            let (base, path) = url.split_at(host + end);
            (base, path)
        }
        None => (url, "/"),
    }
}

fn told(error: hyper::Error) -> io::Error {
    io::Error::other(causes(&error))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Asks somebody who says this, whatever they are asked: the answer, and what they were asked.
    async fn ask_one_that_says(said: &'static str, limit: usize) -> (io::Result<Answer>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys?a=b", listener.local_addr().unwrap());
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 4096];
            let count = stream.read(&mut asked).await.unwrap();
            stream.write_all(said.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&asked[..count]).into_owned()
        };
        let bounds = (Duration::from_secs(60), limit);
        let fetch = Fetch::new(&url, None, ("test", &Register::default()), bounds).unwrap();
        tokio::join!(fetch.get(HeaderMap::new()), server)
    }

    #[tokio::test]
    async fn an_answer_is_read_with_its_status_and_headers() {
        let said = "HTTP/1.1 404 Not Found\r\nx-why: no\r\ncontent-length: 4\r\n\r\nnone";
        let (answer, asked) = ask_one_that_says(said, 4).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.headers["x-why"], "no");
        assert_eq!(&answer.body[..], b"none");
        assert!(asked.starts_with("GET /keys?a=b HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("host: 127.0.0.1:"), "{asked}");
    }

    #[tokio::test]
    async fn an_answer_that_ends_with_its_connection_is_whole() {
        let (answer, _) = ask_one_that_says("HTTP/1.1 200 OK\r\n\r\nall of it", 64).await;
        assert_eq!(&answer.unwrap().body[..], b"all of it");
    }

    #[tokio::test]
    async fn an_answer_above_the_limit_is_an_error() {
        let said = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n12345";
        let (answer, _) = ask_one_that_says(said, 4).await;
        let error = answer.unwrap_err().to_string();
        assert_eq!(error, "the answer is above the limit of 4 bytes");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_answer_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let bounds = (Duration::from_secs(60), 1);
        let fetch = Fetch::new(&url, None, ("test", &Register::default()), bounds).unwrap();
        let error = fetch.get(HeaderMap::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_url_is_a_server_and_what_is_asked_for_there() {
        for (url, base, path) in [
            ("https://h/keys", "https://h", "/keys"),
            ("https://h:1", "https://h:1", "/"),
            ("http://h/a/b?c=d", "http://h", "/a/b?c=d"),
            ("unix:/run/x.sock", "unix:/run/x.sock", "/"),
        ] {
            assert_eq!(split(url), (base, path));
        }
    }
}
