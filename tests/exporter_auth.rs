//! What exporters show to their destinations: tokens and passwords, those that are replaced in a
//! file, and those that are fetched.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use otlpd::otlp::Signal;
use tokio::net::TcpListener;

#[path = "support/calls.rs"]
mod calls;
#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/payloads.rs"]
mod payloads;
#[path = "support/process.rs"]
mod process;

use calls::Client;
use daemon::{Daemon, assert_balances};
use process::until;

/// What a destination and its token server know, and what they have seen.
#[derive(Default)]
struct Known {
    /// What is taken as `authorization`; everything, if there is nothing.
    taken: Vec<String>,
    /// What requests for telemetry showed, in the order in which they came.
    shown: Vec<String>,
    /// The requests for tokens: what was shown, and the form.
    asked: Vec<(String, String)>,
    /// What the token server answers; tokens are `token-1`, `token-2` and so on if it is not said.
    answer: Option<(u16, String)>,
    /// How long tokens live, in seconds.
    expires_in: u64,
}

/// A destination, gRPC and HTTP on one port, with a token server at `/token`.
#[derive(Clone)]
struct Backend {
    address: SocketAddr,
    known: Arc<Mutex<Known>>,
}

type Body = BoxBody<Bytes, Infallible>;

impl Backend {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = Self {
            address: listener.local_addr().unwrap(),
            known: Arc::default(),
        };
        let serving = backend.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let backend = serving.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let backend = backend.clone();
                        async move { Ok::<_, Infallible>(backend.answer(request).await) }
                    });
                    let builder = auto::Builder::new(TokioExecutor::new());
                    // How it ends concerns the client.
                    drop(
                        builder
                            .serve_connection(TokioIo::new(stream), service)
                            .await,
                    );
                });
            }
        });
        backend
    }

    fn know<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.known.lock().unwrap())
    }

    fn shown(&self) -> Vec<String> {
        self.know(|known| known.shown.clone())
    }

    fn asked(&self) -> usize {
        self.know(|known| known.asked.len())
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let value = head.headers.get(header::AUTHORIZATION);
        let value = value.map_or("", |value| value.to_str().unwrap()).to_owned();
        if head.uri.path() == "/token" {
            let form = String::from_utf8(body.to_vec()).unwrap();
            return self.know(|known| token(known, (value, form)));
        }
        let taken = self.know(|known| {
            known.shown.push(value.clone());
            known.taken.is_empty() || known.taken.contains(&value)
        });
        telemetry(head.version == Version::HTTP_2, taken, &value)
    }
}

fn token(known: &mut Known, asked: (String, String)) -> Response<Body> {
    known.asked.push(asked);
    let number = known.asked.len();
    let (code, body) = known.answer.clone().unwrap_or_else(|| {
        let body = format!(
            "{{\"access_token\":\"token-{number}\",\"token_type\":\"Bearer\",\"expires_in\":{}}}",
            known.expires_in
        );
        (200, body)
    });
    let mut response = Response::new(Full::from(body).boxed());
    *response.status_mut() = code.try_into().unwrap();
    response
}

/// Whoever is not let in is told what it showed, as careless servers do.
fn telemetry(grpc: bool, taken: bool, shown: &str) -> Response<Body> {
    let said = format!("not taken: {shown}");
    if grpc {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", if taken { 0 } else { 16 }.into());
        trailers.insert("grpc-message", said.replace(' ', "%20").parse().unwrap());
        let body = Full::new(Bytes::from_static(&[0; 5]));
        let body = body.with_trailers(std::future::ready(Some(Ok(trailers))));
        let mut response = Response::new(body.boxed());
        let kind = header::HeaderValue::from_static("application/grpc");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        return response;
    }
    let status =
        otlpd::otlp::status::Status::new(otlpd::otlp::status::GrpcCode::Unauthenticated, said);
    let body = match taken {
        true => Bytes::new(),
        false => status.encode(),
    };
    let mut response = Response::new(Full::from(body).boxed());
    *response.status_mut() = if taken { 200 } else { 401 }.try_into().unwrap();
    response
}

/// A daemon that sends to this backend by this type of exporter, with this `auth`.
fn start(kind: &str, backend: &Backend, auth: &str) -> Daemon {
    Daemon::start(&format!(
        "[log]\nlevel = \"debug\"\n\
         [exporters.out]\ntype = \"{kind}\"\nendpoint = \"http://{}\"\ncompression = \"none\"\n\
         batch = {{ max_items = 1 }}\n\
         retry_on_failure = {{ initial_interval = \"10ms\", max_interval = \"50ms\" }}\n\
         breaker = {{ failures = 0 }}\n\
         [exporters.out.auth]\n{auth}\n\
         [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"out\"]\n",
        backend.address
    ))
}

/// Sends so many spans, which leave one by one.
async fn send(daemon: &Daemon, spans: usize) {
    let mut client = Client::http(daemon.address("http")).await;
    let heard = client.send(Signal::Traces, &payloads::traces(spans)).await;
    assert_eq!(heard.code, 200);
}

fn delivered(daemon: &Daemon) -> u64 {
    daemon.account("traces", "out")["delivered"]
        .as_u64()
        .unwrap()
}

const KINDS: [&str; 2] = ["otlp_grpc", "otlp_http"];

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_passwords_are_shown_with_each_request() {
    for kind in KINDS {
        for (auth, expected) in [
            ("type = \"bearer\"\ntoken = \"hunter2\"", "Bearer hunter2"),
            (
                "type = \"basic\"\nuser = \"Aladdin\"\npassword = \"open sesame\"",
                "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            ),
        ] {
            let backend = Backend::start().await;
            let mut daemon = start(kind, &backend, auth);
            send(&daemon, 3).await;
            until("all is delivered", || delivered(&daemon) == 3);
            assert_eq!(backend.shown(), vec![expected; 3]);
            let (status, ledger) = daemon.stop();
            assert!(status.success());
            assert_balances(&ledger);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_file_is_followed_as_it_changes() {
    for kind in KINDS {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, "one\n").unwrap();
        let backend = Backend::start().await;
        let auth = format!(
            "type = \"bearer\"\ntoken_file = \"{}\"\nreload_interval = \"20ms\"",
            file.display()
        );
        let daemon = start(kind, &backend, &auth);
        send(&daemon, 1).await;
        until("it is delivered", || delivered(&daemon) == 1);
        fs::write(&file, "two\n").unwrap();
        until("the change is seen", || {
            daemon.log().contains("has changed")
        });
        send(&daemon, 1).await;
        until("it is delivered", || delivered(&daemon) == 2);
        assert_eq!(backend.shown(), ["Bearer one", "Bearer two"]);
    }
}

/// Nothing is lost although nobody looked at the file in time.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_taken_is_read_again_at_once() {
    for kind in KINDS {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, "one\n").unwrap();
        let backend = Backend::start().await;
        let auth = format!(
            "type = \"bearer\"\ntoken_file = \"{}\"\nreload_interval = \"0s\"",
            file.display()
        );
        let mut daemon = start(kind, &backend, &auth);
        send(&daemon, 1).await;
        until("it is delivered", || delivered(&daemon) == 1);
        fs::write(&file, "two\n").unwrap();
        backend.know(|known| known.taken = vec!["Bearer two".to_owned()]);
        send(&daemon, 1).await;
        until("it is delivered", || delivered(&daemon) == 2);
        assert_eq!(backend.shown(), ["Bearer one", "Bearer one", "Bearer two"]);
        let (status, ledger) = daemon.stop();
        assert!(status.success());
        assert_balances(&ledger);
    }
}

/// There is nothing else to show: another try could not succeed.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_taken_and_stays_the_same_is_shown_once() {
    for kind in KINDS {
        let backend = Backend::start().await;
        backend.know(|known| known.taken = vec!["Bearer other".to_owned()]);
        let daemon = start(
            kind,
            &backend,
            "type = \"bearer\"\ntoken = \"hunter2-token\"",
        );
        send(&daemon, 1).await;
        let account = || daemon.account("traces", "out");
        until("it is given up", || account()["in_process"] == 0);
        assert_eq!(daemon::dropped(&account()), 1, "{}", account());
        assert_eq!(backend.shown(), ["Bearer hunter2-token"]);
        // What the destination repeats of the token is not repeated here.
        let (log, status) = (daemon.log(), daemon.status().to_string());
        assert!(log.contains("not taken: "), "{log}");
        for said in [log, status] {
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}

fn oauth2(backend: &Backend, more: &str) -> String {
    format!(
        "type = \"oauth2\"\ntoken_url = \"http://{}/token\"\nclient_id = \"otl pd\"\n{more}",
        backend.address
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_fetched_once_and_shown_until_it_is_about_to_expire() {
    for kind in KINDS {
        let backend = Backend::start().await;
        backend.know(|known| known.expires_in = 3600);
        let more = "client_secret = \"hunter2:ä\"\nscopes = [\"a\", \"b c\"]\n\
                    params = { audience = \"https://x\" }";
        let daemon = start(kind, &backend, &oauth2(&backend, more));
        send(&daemon, 20).await;
        until("all is delivered", || delivered(&daemon) == 20);
        assert_eq!(backend.shown(), vec!["Bearer token-1"; 20]);
        let asked = backend.know(|known| known.asked.clone());
        // base64 of "otl+pd:hunter2%3A%C3%A4".
        let shown = "Basic b3RsK3BkOmh1bnRlcjIlM0ElQzMlQTQ=".to_owned();
        let form = "grant_type=client_credentials&scope=a+b+c&audience=https%3A%2F%2Fx".to_owned();
        assert_eq!(asked, [(shown, form)]);
        assert!(!daemon.log().contains("hunter2"), "{}", daemon.log());
        assert!(!daemon.log().contains("token-1"), "{}", daemon.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_may_be_told_in_the_form_and_its_secret_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, "first\n").unwrap();
    let backend = Backend::start().await;
    let more = format!(
        "client_secret_file = \"{}\"\nclient_authentication = \"body\"",
        file.display()
    );
    let daemon = start("otlp_http", &backend, &oauth2(&backend, &more));
    // Tokens that are over as soon as they are there.
    backend.know(|known| known.expires_in = 0);
    send(&daemon, 1).await;
    until("it is delivered", || delivered(&daemon) == 1);
    fs::write(&file, "second\n").unwrap();
    send(&daemon, 1).await;
    until("it is delivered", || delivered(&daemon) == 2);
    let asked = backend.know(|known| known.asked.clone());
    let form = |secret: &str| {
        let form = format!("grant_type=client_credentials&client_id=otl+pd&client_secret={secret}");
        (String::new(), form)
    };
    assert_eq!(asked, [form("first"), form("second")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_is_fetched_anew_and_nothing_is_lost() {
    for kind in KINDS {
        let backend = Backend::start().await;
        backend.know(|known| known.expires_in = 3600);
        let mut daemon = start(kind, &backend, &oauth2(&backend, "client_secret = \"s\""));
        send(&daemon, 1).await;
        until("it is delivered", || delivered(&daemon) == 1);
        backend.know(|known| known.taken = vec!["Bearer token-2".to_owned()]);
        send(&daemon, 1).await;
        until("it is delivered", || delivered(&daemon) == 2);
        assert_eq!(
            backend.shown(),
            ["Bearer token-1", "Bearer token-1", "Bearer token-2"]
        );
        // One that is fresh and not taken either is no matter of age.
        backend.know(|known| known.taken = vec!["Bearer none".to_owned()]);
        send(&daemon, 1).await;
        let account = || daemon.account("traces", "out");
        until("it is given up", || account()["in_process"] == 0);
        assert_eq!(daemon::dropped(&account()), 1);
        assert_eq!(backend.shown().len(), 5);
        let (_, ledger) = daemon.stop();
        assert_balances(&ledger);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_no_token_can_be_had_nothing_is_lost_and_the_cause_is_told() {
    for kind in KINDS {
        let backend = Backend::start().await;
        backend.know(|known| {
            known.expires_in = 3600;
            let said = "{\"error\":\"invalid_client\",\"error_description\":\"not hunter2\"}";
            known.answer = Some((401, said.to_owned()));
        });
        let more = "client_secret = \"hunter2\"";
        let mut daemon = start(kind, &backend, &oauth2(&backend, more));
        send(&daemon, 5).await;
        until("it was asked for", || backend.asked() > 2);
        assert_eq!((delivered(&daemon), backend.shown().len()), (0, 0));
        let last = || daemon.lane("out")["last_error"].to_string();
        until("the cause is told", || {
            last().contains("invalid_client not ...")
        });
        assert!(last().contains("/token: HTTP 401"), "{}", last());
        backend.know(|known| known.answer = Some((200, "nonsense".to_owned())));
        until("the cause is told", || last().contains("no JSON"));
        backend.know(|known| known.answer = None);
        until("all is delivered", || delivered(&daemon) == 5);
        assert!(!daemon.log().contains("hunter2"), "{}", daemon.log());
        let (status, ledger) = daemon.stop();
        assert!(status.success());
        assert_balances(&ledger);
    }
}

/// Several attempts are under way, and wait for one another's token.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_expire_quickly_are_fetched_one_at_a_time() {
    let backend = Backend::start().await;
    backend.know(|known| known.expires_in = 1);
    let daemon = start(
        "otlp_grpc",
        &backend,
        &oauth2(&backend, "client_secret = \"s\""),
    );
    let mut sent = 0;
    until("several tokens were needed", || {
        sent += 1;
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(send(&daemon, 8));
        });
        backend.asked() >= 3
    });
    until("all is delivered", || delivered(&daemon) == 8 * sent);
    let mut by_token: BTreeMap<String, usize> = BTreeMap::new();
    for token in backend.shown() {
        *by_token.entry(token).or_default() += 1;
    }
    assert_eq!(by_token.values().sum::<usize>() as u64, 8 * sent);
    assert!(by_token.len() <= backend.asked(), "{by_token:?}");
}
