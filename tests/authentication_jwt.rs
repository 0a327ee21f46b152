//! Signed tokens: keys that come from a server that may be away, keys that change, tokens that were
//! made up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use otlpd::otlp::status::GrpcCode;
use serde_json::{Value, json};

#[path = "support/door.rs"]
mod door;

use door::{Answer, DISCARD, Daemon, H2, PROTOBUF, Raw, Setup, TRACES, framed, free_port, until};

/// Somebody who signs.
struct Issuer {
    key: EncodingKey,
    id: &'static str,
}

impl Issuer {
    fn new(id: &'static str) -> Self {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        let key = EncodingKey::from_ec_der(pair.unwrap().as_ref());
        Self { key, id }
    }

    fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        serde_json::to_value(jwk).unwrap()
    }

    /// A token for us, with these claims besides.
    fn token(&self, more: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.id.to_owned());
        let mut claims = json!({
            "iss": "https://idp", "aud": "otlpd", "sub": "shop", "team": "a",
            "exp": get_current_timestamp() + 600,
        });
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        encode(&header, &claims, &self.key).unwrap()
    }
}

fn set(keys: &[&Issuer]) -> String {
    let keys: Vec<Value> = keys.iter().map(|issuer| issuer.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

/// An identity provider: a server that answers everything with what it was given last.
#[derive(Clone)]
struct Provider {
    address: SocketAddr,
    answer: Arc<Mutex<(u16, String)>>,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    fn start(answer: (u16, String)) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), answer)
    }

    fn on(listener: TcpListener, answer: (u16, String)) -> Self {
        let provider = Self {
            address: listener.local_addr().unwrap(),
            answer: Arc::new(Mutex::new(answer)),
            asked: Arc::default(),
        };
        let serving = provider.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut read = Vec::new();
                while !read.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).unwrap_or(0) == 0 {
                        break;
                    }
                    read.push(byte[0]);
                }
                let (code, body) = serving.answer.lock().unwrap().clone();
                serving.asked.fetch_add(1, Ordering::Relaxed);
                let length = body.len();
                let head = format!("HTTP/1.1 {code} X\r\ncontent-length: {length}\r\n\r\n");
                // Who has gone away needs no answer.
                stream.write_all((head + &body).as_bytes()).ok();
            }
        });
        provider
    }

    fn say(&self, code: u16, body: String) {
        *self.answer.lock().unwrap() = (code, body);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// A daemon that has its keys from there.
fn start(provider: SocketAddr, more: &str) -> Daemon {
    Daemon::start(&Setup {
        sections: &format!(
            "{DISCARD}\n[receivers.apps.auth]\ntype = \"jwt\"\n\
             jwks_url = \"http://{provider}/keys\"\naudience = \"otlpd\"\n\
             issuer = \"https://idp\"\n{more}"
        ),
        ..Setup::default()
    })
}

fn post(daemon: &Daemon, token: &str) -> Answer {
    let headers = format!("{PROTOBUF}authorization: Bearer {token}\r\n");
    Raw::connect(daemon.http).post("/v1/traces", &headers, b"")
}

async fn call(daemon: &Daemon, token: &str) -> GrpcCode {
    let mut h2 = H2::connect(daemon.grpc).await;
    let value = format!("Bearer {token}");
    let headers = [("authorization", value.as_str())];
    let called = h2.call(TRACES, &headers, framed(0, b"")).await;
    called.status.code
}

fn denied(daemon: &Daemon, reason: &str) -> u64 {
    daemon.metric(&format!(
        "otlpd_receiver_denied_requests_total{{receiver=\"apps\",transport=\"http\",\
         reason=\"{reason}\"}}"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_decide_over_both_protocols() {
    let issuer = Issuer::new("one");
    let provider = Provider::start((200, set(&[&issuer])));
    let daemon = start(
        provider.address,
        "required_claims = { team = [\"a\", \"b\"] }",
    );
    until("the keys are there", || {
        post(&daemon, &issuer.token(&json!({}))).code == 200
    });
    assert_eq!(call(&daemon, &issuer.token(&json!({}))).await, GrpcCode::Ok);
    let now = get_current_timestamp();
    for (claims, reason) in [
        (json!({ "exp": now - 120 }), "expired"),
        (json!({ "nbf": now + 120 }), "not_yet_valid"),
        (json!({ "aud": "another" }), "wrong_audience"),
        (json!({ "iss": "https://another" }), "wrong_issuer"),
        (json!({ "team": "c" }), "not_allowed"),
    ] {
        let token = issuer.token(&claims);
        let (http, grpc, challenge) = match reason {
            "not_allowed" => (403, GrpcCode::PermissionDenied, "insufficient_scope"),
            _ => (401, GrpcCode::Unauthenticated, "invalid_token"),
        };
        let answer = post(&daemon, &token);
        assert_eq!(answer.code, http, "{reason}");
        let header = answer.header("www-authenticate").unwrap();
        assert!(header.contains(challenge), "{header}");
        assert_eq!(answer.status().code, grpc);
        assert_eq!(call(&daemon, &token).await, grpc, "{reason}");
        assert_eq!(denied(&daemon, reason), 1, "{reason}");
    }
    assert!(!daemon.log().contains(&issuer.token(&json!({}))[..40]));
}

/// A public key is known to everybody: it must not be taken for a shared secret.
#[test]
fn what_nobody_has_signed_is_not_taken() {
    let issuer = Issuer::new("one");
    let provider = Provider::start((200, set(&[&issuer])));
    let daemon = start(provider.address, "");
    let good = issuer.token(&json!({}));
    until("the keys are there", || post(&daemon, &good).code == 200);
    let claims = json!({
        "iss": "https://idp", "aud": "otlpd", "exp": get_current_timestamp() + 600,
    });
    let jwk = issuer.jwk();
    for secret in [
        jwk["x"].as_str().unwrap(),
        &jwk.to_string(),
        &set(&[&issuer]),
    ] {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("one".to_owned());
        let key = EncodingKey::from_secret(secret.as_bytes()).unwrap();
        let forged = encode(&header, &claims, &key).unwrap();
        assert_eq!(post(&daemon, &forged).code, 401);
    }
    // {"alg":"none","typ":"JWT"}, {"alg":"NONE"} and {}, in base64.
    let payload = good.split('.').nth(1).unwrap();
    for header in [
        "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0",
        "eyJhbGciOiJOT05FIn0",
        "e30",
    ] {
        for signature in ["", "AAAA"] {
            let forged = format!("{header}.{payload}.{signature}");
            assert_eq!(post(&daemon, &forged).code, 401, "{forged}");
        }
    }
    let other = Issuer::new("one");
    assert_eq!(post(&daemon, &other.token(&json!({}))).code, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn until_there_are_keys_clients_are_told_to_come_back() {
    let issuer = Issuer::new("one");
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let daemon = start(address, "");
    let token = issuer.token(&json!({}));
    let answer = post(&daemon, &token);
    assert_eq!(answer.code, 503);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(answer.header("www-authenticate"), None);
    let status = answer.status();
    assert_eq!(status.code, GrpcCode::Unavailable);
    assert!(status.retry_delay().is_some());
    assert_eq!(call(&daemon, &token).await, GrpcCode::Unavailable);
    assert_eq!(denied(&daemon, "no_keys"), 1);
    // Who shows nothing is told so all the same.
    let mut raw = Raw::connect(daemon.http);
    assert_eq!(raw.post("/v1/traces", PROTOBUF, b"").code, 401);
    until("the log says why", || {
        daemon.log().contains("there are no keys yet")
    });
    assert!(daemon.log().contains("/keys"), "{}", daemon.log());
    let listener = TcpListener::bind(address).unwrap();
    let provider = Provider::on(listener, (500, String::new()));
    until("it is asked", || provider.asked() > 0);
    assert_eq!(post(&daemon, &token).code, 503);
    provider.say(200, set(&[&issuer]));
    until("the keys are there", || post(&daemon, &token).code == 200);
    assert_eq!(call(&daemon, &token).await, GrpcCode::Ok);
}

/// So that an upgrade or a restart refuses nobody.
#[test]
fn keys_that_can_be_had_are_there_before_the_first_request() {
    let issuer = Issuer::new("one");
    let provider = Provider::start((200, set(&[&issuer])));
    for _ in 0..5 {
        let daemon = start(provider.address, "");
        assert_eq!(post(&daemon, &issuer.token(&json!({}))).code, 200);
    }
    // Once each; more often where an answer was not there in time.
    assert!(provider.asked() >= 5);
}

#[test]
fn keys_may_change_while_it_runs() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let provider = Provider::start((200, set(&[&old])));
    let daemon = start(
        provider.address,
        "refresh_interval = \"1h\"\nmin_refresh_interval = \"1ms\"",
    );
    let code = |issuer: &Issuer| post(&daemon, &issuer.token(&json!({}))).code;
    until("the keys are there", || code(&old) == 200);
    // The first token of a key that is new is taken at once.
    provider.say(200, set(&[&old, &new]));
    assert_eq!([code(&new), code(&old)], [200, 200]);
    // While the keys can not be had, those that are known are good, and of others nobody knows.
    let third = Issuer::new("third");
    provider.say(500, String::new());
    assert_eq!([code(&third), code(&new)], [503, 200]);
    provider.say(200, "not keys".to_owned());
    assert_eq!([code(&third), code(&old)], [503, 200]);
    // One that was withdrawn is good until they are read again.
    provider.say(200, set(&[&third]));
    assert_eq!([code(&third), code(&old)], [200, 401]);
}

#[test]
fn a_key_that_was_withdrawn_is_good_no_longer_than_the_interval() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let provider = Provider::start((200, set(&[&old])));
    let daemon = start(provider.address, "refresh_interval = \"50ms\"");
    let code = |issuer: &Issuer| post(&daemon, &issuer.token(&json!({}))).code;
    until("the keys are there", || code(&old) == 200);
    provider.say(200, set(&[&new]));
    until("the old one is withdrawn", || code(&old) == 401);
    assert_eq!(code(&new), 200);
}

#[test]
fn tokens_that_were_made_up_do_not_have_the_keys_fetched_each_time() {
    let issuer = Issuer::new("one");
    let provider = Provider::start((200, set(&[&issuer])));
    let daemon = start(provider.address, "min_refresh_interval = \"1h\"");
    until("the keys are there", || {
        post(&daemon, &issuer.token(&json!({}))).code == 200
    });
    let asked = provider.asked();
    let stranger = Issuer::new("stranger");
    for _ in 0..20 {
        assert_eq!(post(&daemon, &stranger.token(&json!({}))).code, 401);
    }
    assert_eq!(provider.asked(), asked);
}

/// One that was taken once is not taken for ever.
#[test]
fn a_token_expires_while_it_is_in_use() {
    let issuer = Issuer::new("one");
    let provider = Provider::start((200, set(&[&issuer])));
    let daemon = start(provider.address, "leeway = \"0s\"");
    until("the keys are there", || {
        post(&daemon, &issuer.token(&json!({}))).code == 200
    });
    // One that lives long enough to be shown, which on a slow machine takes longer.
    let (mut life, mut token) = (1, String::new());
    until("one is taken", || {
        life *= 2;
        token = issuer.token(&json!({ "exp": get_current_timestamp() + life }));
        post(&daemon, &token).code == 200
    });
    let before = denied(&daemon, "expired");
    until("it has expired", || post(&daemon, &token).code == 401);
    assert_eq!(denied(&daemon, "expired"), before + 1);
}

/// An answer without an end is not read to it.
#[test]
fn keys_that_are_more_than_anybody_has_are_not_taken() {
    let issuer = Issuer::new("one");
    let provider = Provider::start((200, " ".repeat(2 << 20) + &set(&[&issuer])));
    let daemon = start(provider.address, "");
    until("the log says why", || {
        daemon.log().contains("above the limit")
    });
    assert_eq!(post(&daemon, &issuer.token(&json!({}))).code, 503);
    let many: Vec<&Issuer> = std::iter::repeat_n(&issuer, 101).collect();
    provider.say(200, set(&many));
    until("the log says why", || {
        daemon.log().contains("more than 100 keys")
    });
    provider.say(200, set(&[&issuer]));
    until("the keys are there", || {
        post(&daemon, &issuer.token(&json!({}))).code == 200
    });
}
