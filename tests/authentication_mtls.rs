//! Clients that are known by their certificates: TLS says whether one is ours, and its names
//! whether it may send.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use otlpd::otlp::status::{GrpcCode, Status, from_grpc_trailers};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/payloads.rs"]
mod payloads;
#[path = "support/pki.rs"]
mod pki;
#[path = "support/process.rs"]
mod process;

use daemon::Daemon;
use pki::{Authority, Pair, folder};

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// A daemon whose clients must have a certificate of the CA in this folder, with these sections
/// besides.
fn start(files: &tempfile::TempDir, sections: &str) -> Daemon {
    let files = files.path().display();
    Daemon::start_whole(|[grpc, http, admin]| {
        let tls = format!(
            "tls = {{ cert_file = \"{files}/tls.crt\", key_file = \"{files}/tls.key\", \
             client_ca_file = \"{files}/ca.crt\" }}"
        );
        format!(
            "[admin]\nendpoint = \"127.0.0.1:{admin}\"\n\
             [receivers.apps]\ntype = \"otlp\"\n\
             [receivers.apps.grpc]\nendpoint = \"127.0.0.1:{grpc}\"\n{tls}\n\
             [receivers.apps.http]\nendpoint = \"127.0.0.1:{http}\"\n{tls}\n{sections}\n\
             [exporters.out]\ntype = \"discard\"\n\
             [pipelines.main]\nreceivers = [\"apps\"]\nexporters = [\"out\"]\n"
        )
    })
}

/// A connection that shows this certificate.
async fn connect(
    address: SocketAddr,
    authority: &Authority,
    client: &Pair,
    protocol: &[u8],
) -> TokioIo<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(authority.certificate.as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let certificate = CertificateDer::from_pem_slice(client.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(client.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    TokioIo::new(connector.connect(name, stream).await.unwrap())
}

/// Three spans over HTTP/1.1: the status, the headers, and what was said.
async fn post(
    daemon: &Daemon,
    authority: &Authority,
    client: &Pair,
) -> (u16, HeaderMap, Option<Status>) {
    let io = connect(daemon.address("http"), authority, client, b"http/1.1").await;
    let (mut sender, connection) = http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("/v1/traces")
        .header("host", "localhost")
        .header("content-type", "application/x-protobuf")
        .body(Full::new(Bytes::from(payloads::traces(3))))
        .unwrap();
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), head.headers, Status::decode(&body))
}

/// An empty request over gRPC.
async fn call(daemon: &Daemon, authority: &Authority, client: &Pair) -> GrpcCode {
    let io = connect(daemon.address("grpc"), authority, client, b"h2").await;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("https://localhost{TRACES}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from_static(&[0; 5])))
        .unwrap();
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().filter(|found| !found.is_empty());
    from_grpc_trailers(trailers.unwrap_or(&head.headers)).code
}

#[tokio::test(flavor = "multi_thread")]
async fn the_names_of_a_certificate_say_who_may_send() {
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let daemon = start(
        &files,
        "[receivers.apps.auth]\ntype = \"mtls\"\n\
         allowed_names = [\"*.apps.example\", \"spiffe://mesh/shop\", \"batch job\"]",
    );
    for (common, names) in [
        ("anything", &["x.example", "shop.apps.example"][..]),
        ("anything", &["spiffe://mesh/shop"]),
        ("Batch Job", &[]),
    ] {
        let client = authority.issue_to(common, names);
        assert_eq!(post(&daemon, &authority, &client).await.0, 200, "{common}");
        assert_eq!(call(&daemon, &authority, &client).await, GrpcCode::Ok);
    }
    let strangers = [
        ("anything", &["apps.example", "a.b.apps.example"][..]),
        ("anything", &["spiffe://mesh/shops"]),
        ("batch", &[]),
    ];
    for (common, names) in strangers {
        let client = authority.issue_to(common, names);
        let (code, headers, said) = post(&daemon, &authority, &client).await;
        assert_eq!((code, headers.get("www-authenticate")), (403, None));
        assert_eq!(said.unwrap().code, GrpcCode::PermissionDenied);
        let code = call(&daemon, &authority, &client).await;
        assert_eq!(code, GrpcCode::PermissionDenied, "{common}");
    }
    let metrics = daemon.get("/metrics").body;
    for transport in ["grpc", "http"] {
        let line = format!(
            "otlpd_receiver_denied_requests_total{{receiver=\"apps\",transport=\"{transport}\",\
             reason=\"not_allowed\"}} {}",
            strangers.len()
        );
        assert!(metrics.lines().any(|found| found == line), "{line}");
    }
    // Which names it has is what whoever mends this has to know.
    assert!(
        daemon.log().contains("a.b.apps.example"),
        "{}",
        daemon.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_names_every_certificate_of_the_ca_will_do() {
    let authority = Authority::new("ours");
    let files = folder(&authority);
    let tenants = "[tenants]\nfrom = \"identity\"\n[tenants.limits.\"shop.example\"]\n";
    let auth = "[receivers.apps.auth]\ntype = \"mtls\"";
    let daemon = start(&files, &format!("{auth}\n{tenants}"));
    let client = authority.issue_to("shop", &["shop.example"]);
    assert_eq!(post(&daemon, &authority, &client).await.0, 200);
    assert_eq!(call(&daemon, &authority, &client).await, GrpcCode::Ok);
    // The first of its names is that of its tenant.
    let metrics = daemon.get("/metrics").body;
    let line = "otlpd_tenant_accepted_items_total{tenant=\"shop.example\",signal=\"traces\"} 3";
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
}
