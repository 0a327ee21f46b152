use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use hyper::rt::{Read, ReadBuf, Write};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::UnixTime;
use rustls::pki_types::pem::PemObject;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::*;
use crate::net::corked::Corked;
use crate::net::dial::Dialler;
use crate::net::listen::Listener;

/// A CA, and what it has signed for this machine, in a folder.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = KeyPair::generate().unwrap();
        let put =
            |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
        put("ca.crt", ca.self_signed(&ca_key).unwrap().pem());
        let issuer = Issuer::new(ca, ca_key);
        for name in ["server", "client"] {
            let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            put(&format!("{name}.crt"), certificate.pem());
            put(&format!("{name}.key"), key.serialize_pem());
        }
        Self(folder)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn server(&self, asks: bool) -> ServerTlsConfig {
        ServerTlsConfig {
            cert_file: self.at("server.crt"),
            key_file: self.at("server.key"),
            client_ca_file: asks.then(|| self.at("ca.crt")),
            min_version: MinVersion::default(),
            reload_interval: Duration::ZERO,
            handshake_timeout: Duration::from_secs(60),
        }
    }

    fn client(&self, shows: bool) -> ClientTlsConfig {
        ClientTlsConfig {
            ca_file: Some(self.at("ca.crt")),
            cert_file: shows.then(|| self.at("client.crt")),
            key_file: shows.then(|| self.at("client.key")),
            ..ClientTlsConfig::default()
        }
    }
}

/// A listener with this TLS, and where it is.
async fn listen(config: &ServerTlsConfig) -> (Listener, String) {
    let tls = Server::open(config, Alpn::Any, "test", &Register::default()).unwrap();
    let listener = Listener::bind("127.0.0.1:0", "test").await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    (listener.with_tls(Some(tls)), endpoint)
}

fn dialler(endpoint: &str, config: &ClientTlsConfig) -> Dialler {
    let whose = ("test", &Register::default());
    Dialler::new((endpoint, 0), Some(config), Alpn::Http2, whose).unwrap()
}

async fn read_all(stream: &mut Corked) -> Vec<u8> {
    let mut all = Vec::new();
    let mut memory = vec![0; 48 << 10];
    // Small and large reads take different ways.
    for room in [10, 100, 40 << 10, 48 << 10].into_iter().cycle() {
        let mut buf = ReadBuf::new(&mut memory[..room]);
        let read = std::future::poll_fn(|cx| {
            std::pin::Pin::new(&mut *stream).poll_read(cx, buf.unfilled())
        });
        read.await.unwrap();
        if buf.filled().is_empty() {
            return all;
        }
        all.extend_from_slice(buf.filled());
    }
    all
}

async fn write_all(stream: &mut Corked, bytes: &[u8]) {
    let mut left = bytes;
    for piece in [1, 7, 900, 20 << 10, 300 << 10].into_iter().cycle() {
        let (now, _) = left.split_at(piece.min(left.len()));
        let mut pin = std::pin::Pin::new(&mut *stream);
        let count = std::future::poll_fn(|cx| pin.as_mut().poll_write(cx, now))
            .await
            .unwrap();
        left = &left[count..];
        if left.is_empty() {
            break;
        }
        std::future::poll_fn(|cx| pin.as_mut().poll_flush(cx))
            .await
            .unwrap();
    }
    let mut pin = std::pin::Pin::new(&mut *stream);
    std::future::poll_fn(|cx| pin.as_mut().poll_shutdown(cx))
        .await
        .unwrap();
}

#[tokio::test]
async fn bytes_are_the_same_at_the_other_end_whatever_their_pieces() {
    let files = Files::new();
    let (mut listener, endpoint) = listen(&files.server(false)).await;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let server = async {
        let (stream, peer) = listener.accept().await.greet().await.unwrap();
        assert!(peer.certificates.is_none());
        let mut stream = Corked::new(stream);
        let read = read_all(&mut stream).await;
        write_all(&mut stream, &read).await;
    };
    let client = async {
        let stream = dialler(&endpoint, &files.client(false))
            .dial()
            .await
            .unwrap();
        assert_eq!(stream.protocol(), Some(&b"h2"[..]));
        let mut stream = Corked::new(stream);
        write_all(&mut stream, &bytes).await;
        read_all(&mut stream).await
    };
    let ((), back) = tokio::join!(server, client);
    assert!(back == bytes);
}

#[tokio::test]
async fn what_a_client_has_shown_is_known_of_the_peer() {
    let files = Files::new();
    let (mut listener, endpoint) = listen(&files.server(true)).await;
    let dialler = dialler(&endpoint, &files.client(true));
    let (greeted, dialled) = tokio::join!(
        async { listener.accept().await.greet().await },
        dialler.dial()
    );
    dialled.unwrap();
    let (_, peer) = greeted.unwrap();
    let shown = peer.certificates.unwrap();
    let expected = rustls::pki_types::CertificateDer::from_pem_file(files.at("client.crt"));
    assert_eq!(shown.first(), Some(&expected.unwrap()));
    assert_eq!(Leaf::read(&shown[0]).unwrap().subject, "CN=client");
}

#[tokio::test]
async fn each_way_to_fail_is_counted_as_what_it_is() {
    let files = Files::new();
    let register = Register::default();
    let config = ServerTlsConfig {
        handshake_timeout: Duration::from_millis(50),
        ..files.server(true)
    };
    let tls = Server::open(&config, Alpn::Http2, "impatient", &register).unwrap();
    let listener = Listener::bind("127.0.0.1:0", "test").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut listener = listener.with_tls(Some(tls));
    let record = register.records().remove(0);
    let _silent = TcpStream::connect(address).await.unwrap();
    assert!(listener.accept().await.greet().await.is_none());
    let counts = record.failed_handshakes().unwrap();
    assert_eq!(counts[HandshakeFailure::Timeout as usize], 1);
    assert_eq!(counts.iter().sum::<u64>(), 1);

    // The others have all the time that they need.
    let register = Register::default();
    let config = ServerTlsConfig {
        handshake_timeout: Duration::from_secs(600),
        ..files.server(true)
    };
    let tls = Server::open(&config, Alpn::Http2, "test", &register).unwrap();
    let listener = Listener::bind("127.0.0.1:0", "test").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut listener = listener.with_tls(Some(tls));
    let record = register.records().remove(0);
    let count = |why| record.failed_handshakes().unwrap()[why as usize];

    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(listener.accept().await.greet().await.is_none());
    assert_eq!(count(HandshakeFailure::NotTls), 1);

    drop(TcpStream::connect(address).await.unwrap());
    assert!(listener.accept().await.greet().await.is_none());
    assert_eq!(count(HandshakeFailure::BrokenOff), 1);

    let endpoint = format!("https://{address}");
    let bare = dialler(&endpoint, &files.client(false));
    let (greeted, _) = tokio::join!(
        async { listener.accept().await.greet().await },
        // With TLS 1.3 a client is done before it is refused.
        bare.dial()
    );
    assert!(greeted.is_none());
    assert_eq!(count(HandshakeFailure::ClientCertificate), 1);
    assert_eq!(record.failed_handshakes().unwrap().iter().sum::<u64>(), 3);
}

#[test]
fn a_certificate_that_ends_soon_or_has_ended_is_worth_a_warning() {
    let now = SystemTime::now();
    let leaf = |until: SystemTime| Leaf {
        not_after: until,
        serial: "01".to_owned(),
        subject: "CN=x".to_owned(),
    };
    let day = Duration::from_secs(24 * 3600);
    assert_eq!(leaf(now + 8 * day).warning(now), None);
    let soon = leaf(now + 2 * day).warning(now).unwrap();
    assert!(
        soon.contains("CN=x (serial 01) expires in 48 hours"),
        "{soon}"
    );
    let over = leaf(now - day);
    assert!(over.warning(now).unwrap().contains("has expired on"));
    assert!((over.left_seconds(now) + 86_400.0).abs() < 1.0);
}

#[test]
fn a_certificate_on_the_list_is_believed_in_its_time_and_no_other() {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let certificate = certificate.der().clone();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let servers = verify::Servers::new(Arc::new(roots), vec![certificate.clone()]).unwrap();
    let verify = |name: &'static str, at: u64| {
        use rustls::client::danger::ServerCertVerifier;
        let name = name.try_into().unwrap();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
        let verified = servers.verify_server_cert(&certificate, &[], &name, &[], at);
        verified.map(drop).map_err(|error| error.to_string())
    };
    // Days of January 2020, the last of 2019, and the second of February.
    assert_eq!(verify("localhost", 1_579_000_000), Ok(()));
    assert!(verify("elsewhere", 1_579_000_000).is_err());
    assert!(verify("localhost", 1_577_800_000).is_err());
    assert!(
        verify("localhost", 1_580_700_000)
            .unwrap_err()
            .contains("xpired")
    );
}

#[tokio::test]
async fn whoever_writes_on_a_closed_connection_is_told_why_it_was_closed() {
    let files = Files::new();
    let (mut listener, endpoint) = listen(&files.server(true)).await;
    let bare = dialler(&endpoint, &files.client(false));
    let (greeted, dialled) =
        tokio::join!(async { listener.accept().await.greet().await }, bare.dial());
    assert!(greeted.is_none());
    let mut stream = dialled.unwrap();
    // The system takes some of it before it knows that nobody reads.
    let error = loop {
        if let Err(error) = stream.write_all(b"a request").await {
            break error;
        }
    };
    let said = error.to_string();
    assert!(said.contains("CertificateRequired"), "{said}");
}
