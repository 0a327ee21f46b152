//! Tokens that are right, and tokens that were made up.

use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{EncodingKey, encode, get_current_timestamp};
use serde_json::json;

use super::*;
use crate::auth::config::{JwtAlgorithm, Values};

/// Somebody who signs.
struct Issuer {
    algorithm: Algorithm,
    key: EncodingKey,
    id: &'static str,
}

impl Issuer {
    fn new(algorithm: Algorithm, id: &'static str) -> Self {
        let random = SystemRandom::new();
        let key = match algorithm {
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
                EncodingKey::from_ec_der(pair.unwrap().as_ref())
            }
            Algorithm::EdDSA => {
                let pair = Ed25519KeyPair::generate_pkcs8v1(&random).unwrap();
                EncodingKey::from_ed_der(pair.as_ref())
            }
            _ => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
                let pkcs8 = pair.as_der().unwrap();
                // Behind what says that it is one lies the key itself, which is asked for here.
                EncodingKey::from_rsa_der(&pkcs8.as_ref()[26..])
            }
        };
        Self { algorithm, key, id }
    }

    fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        serde_json::to_value(jwk).unwrap()
    }

    fn token(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.to_owned());
        encode(&header, claims, &self.key).unwrap()
    }
}

fn config(file: &std::path::Path) -> JwtConfig {
    JwtConfig {
        jwks_file: Some(file.to_owned()),
        audience: vec!["otlpd".to_owned()],
        issuer: vec!["https://idp".to_owned()],
        min_refresh_interval: Duration::from_nanos(1),
        ..JwtConfig::default()
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://idp", "aud": ["x", "otlpd"], "sub": "shop",
        "exp": get_current_timestamp() + 600, "nbf": get_current_timestamp() - 5,
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

/// What is judged by the keys of a file.
struct Door {
    jwt: Jwt,
    file: tempfile::NamedTempFile,
}

impl Door {
    fn open(keys: &[Value], change: impl Fn(&mut JwtConfig)) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), json!({ "keys": keys }).to_string()).unwrap();
        let mut config = config(file.path());
        change(&mut config);
        let jwt = Jwt::open(&config, "test", &Register::default()).unwrap();
        Self { jwt, file }
    }

    async fn check(&self, token: &str) -> Result<String, Reason> {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        headers.insert(AUTHORIZATION, value);
        let outcome = self.jwt.check(&headers).await;
        outcome
            .map(|identity| identity.name.to_string())
            .map_err(|denied| denied.reason)
    }
}

#[tokio::test]
async fn a_token_of_each_kind_of_key_is_taken() {
    let issuers = [
        Issuer::new(Algorithm::RS256, "r"),
        Issuer::new(Algorithm::PS384, "p"),
        Issuer::new(Algorithm::ES256, "e"),
        Issuer::new(Algorithm::EdDSA, "d"),
    ];
    let keys = issuers.each_ref().map(Issuer::jwk);
    let door = Door::open(&keys, |_| {});
    for issuer in &issuers {
        let outcome = door.check(&issuer.token(&claims())).await;
        assert_eq!(outcome, Ok("shop".to_owned()), "{}", issuer.id);
    }
}

#[tokio::test]
async fn claims_decide_with_a_reason_each() {
    let issuer = Issuer::new(Algorithm::ES256, "e");
    let door = Door::open(&[issuer.jwk()], |config| {
        let teams = Values(vec!["a".to_owned(), "b".to_owned()]);
        config.required_claims.insert("team".to_owned(), teams);
    });
    let now = get_current_timestamp();
    let mut whole = claims();
    whole["team"] = json!("b");
    assert_eq!(
        door.check(&issuer.token(&whole)).await,
        Ok("shop".to_owned())
    );
    let late = Reason::Expired;
    for (name, value, expected) in [
        ("exp", json!(now - 61), Err(late)),
        ("exp", json!(now - 30), Ok("shop".to_owned())),
        ("exp", Value::Null, Err(Reason::Malformed)),
        ("exp", json!("tomorrow"), Err(Reason::Malformed)),
        ("nbf", json!(now + 120), Err(Reason::NotYetValid)),
        ("nbf", json!(now + 30), Ok("shop".to_owned())),
        ("aud", json!("other"), Err(Reason::WrongAudience)),
        ("aud", Value::Null, Err(Reason::WrongAudience)),
        ("aud", json!(5), Err(Reason::WrongAudience)),
        ("iss", json!("https://idp/"), Err(Reason::WrongIssuer)),
        ("iss", Value::Null, Err(Reason::WrongIssuer)),
        ("team", json!("c"), Err(Reason::NotAllowed)),
        ("team", Value::Null, Err(Reason::NotAllowed)),
        ("sub", Value::Null, Ok(String::new())),
    ] {
        let mut claims = whole.clone();
        claims[name] = value.clone();
        let outcome = door.check(&issuer.token(&claims)).await;
        assert_eq!(outcome, expected, "{name} {value}");
    }
}

#[tokio::test]
async fn what_nobody_has_signed_is_not_taken() {
    let issuer = Issuer::new(Algorithm::RS256, "r");
    let other = Issuer::new(Algorithm::RS256, "r");
    let door = Door::open(&[issuer.jwk()], |_| {});
    let token = issuer.token(&claims());
    let parts: Vec<&str> = token.split('.').collect();
    let text = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let none = text(&json!({ "alg": "none", "typ": "JWT" }));
    let payload = text(&with("sub", json!("admin")));
    // The public key, which everybody has, as the secret of another algorithm.
    let public = issuer.jwk()["n"].as_str().unwrap().to_owned();
    let secret = EncodingKey::from_secret(public.as_bytes()).unwrap();
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("r".to_owned());
    let confused = encode(&header, &claims(), &secret).unwrap();
    let swapped = text(&json!({ "alg": "PS256", "kid": "r" }));
    let critical = text(&json!({ "alg": "RS256", "kid": "r", "crit": ["exp"] }));
    for (token, expected) in [
        (other.token(&claims()), Reason::Invalid),
        (confused, Reason::Invalid),
        (format!("{none}.{payload}."), Reason::Malformed),
        (format!("{none}.{payload}.{}", parts[2]), Reason::Malformed),
        (format!("{}.{}.", parts[0], parts[1]), Reason::Invalid),
        (
            format!("{}.{payload}.{}", parts[0], parts[2]),
            Reason::Invalid,
        ),
        (
            format!("{swapped}.{}.{}", parts[1], parts[2]),
            Reason::Invalid,
        ),
        (
            format!("{critical}.{}.{}", parts[1], parts[2]),
            Reason::Invalid,
        ),
        (format!("{}.{}", parts[0], parts[1]), Reason::Malformed),
        (format!("{token}.{}", parts[2]), Reason::Malformed),
        ("hunter2".to_owned(), Reason::Malformed),
        ("..".to_owned(), Reason::Malformed),
    ] {
        assert_eq!(door.check(&token).await, Err(expected), "{token}");
    }
}

#[tokio::test]
async fn only_algorithms_that_are_allowed_are_taken() {
    let [one, other] = [Algorithm::ES256, Algorithm::EdDSA].map(|a| Issuer::new(a, "k"));
    let keys = [one.jwk(), other.jwk()];
    let door = Door::open(&keys, |config| {
        config.algorithms = vec![JwtAlgorithm::EdDSA]
    });
    assert!(door.check(&other.token(&claims())).await.is_ok());
    let refused = door.check(&one.token(&claims())).await;
    assert_eq!(refused, Err(Reason::Invalid));
}

#[tokio::test]
async fn a_key_that_is_new_is_found_and_one_that_is_withdrawn_is_forgotten() {
    let old = Issuer::new(Algorithm::ES256, "old");
    let new = Issuer::new(Algorithm::ES256, "new");
    let door = Door::open(&[old.jwk()], |_| {});
    assert_eq!(
        door.check(&new.token(&claims())).await,
        Err(Reason::Invalid)
    );
    let both = json!({ "keys": [old.jwk(), new.jwk()] }).to_string();
    std::fs::write(door.file.path(), both).unwrap();
    assert!(door.check(&new.token(&claims())).await.is_ok());
    assert!(door.check(&old.token(&claims())).await.is_ok());
    // A file that is broken changes nothing for keys that are known, and tells nothing of others.
    let third = Issuer::new(Algorithm::ES256, "third");
    std::fs::write(door.file.path(), "{\"keys\":").unwrap();
    assert_eq!(
        door.check(&third.token(&claims())).await,
        Err(Reason::NoKeys)
    );
    assert!(door.check(&old.token(&claims())).await.is_ok());
    let only = json!({ "keys": [third.jwk()] }).to_string();
    std::fs::write(door.file.path(), only).unwrap();
    assert!(door.check(&third.token(&claims())).await.is_ok());
    assert_eq!(
        door.check(&old.token(&claims())).await,
        Err(Reason::Invalid)
    );
}

#[tokio::test]
async fn keys_without_a_name_and_tokens_without_one_fit_each_other() {
    let issuer = Issuer::new(Algorithm::EdDSA, "d");
    let mut nameless = issuer.jwk();
    nameless.as_object_mut().unwrap().remove("kid");
    let door = Door::open(&[nameless], |_| {});
    assert!(door.check(&issuer.token(&claims())).await.is_ok());
    let named = Door::open(&[issuer.jwk()], |_| {});
    let token = encode(&Header::new(Algorithm::EdDSA), &claims(), &issuer.key).unwrap();
    assert!(named.check(&token).await.is_ok());
}

/// RFC 7515, appendix A.3: a signature that is not of our making. The token expired in 2011, which
/// is looked at only once its signature was found to be right.
#[tokio::test]
async fn the_example_of_the_standard_has_the_right_signature() {
    let key = json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    });
    let token = "eyJhbGciOiJFUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0\
        cnVlfQ.\
        DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let door = Door::open(&[key], |config| config.audience.clear());
    assert_eq!(door.check(token).await, Err(Reason::Expired));
    let wrong = token.replace("DtEh", "DtEi");
    assert_eq!(door.check(&wrong).await, Err(Reason::Invalid));
}

#[tokio::test]
async fn another_claim_may_say_who_sends() {
    let issuer = Issuer::new(Algorithm::EdDSA, "d");
    let door = Door::open(&[issuer.jwk()], |config| {
        config.identity_claim = "team.id".to_owned();
    });
    let token = issuer.token(&with("team", json!({ "id": 7 })));
    assert_eq!(door.check(&token).await, Ok("7".to_owned()));
}

#[test]
fn a_set_is_bounded_and_only_public_keys_for_signatures_are_of_use() {
    let issuer = Issuer::new(Algorithm::ES256, "e");
    let parse = |keys: &[Value]| KeySet::parse(json!({ "keys": keys }).to_string().as_bytes());
    let secret = json!({ "kty": "oct", "kid": "s", "k": "aGVsbG8", "alg": "HS256" });
    let mut encrypting = issuer.jwk();
    encrypting["use"] = json!("enc");
    let mut for_another = issuer.jwk();
    for_another["alg"] = json!("RS256");
    let p521 = json!({ "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA" });
    let odd = [secret, encrypting, for_another, p521, json!(5), json!({})];
    for key in &odd {
        assert!(parse(std::slice::from_ref(key)).is_err(), "{key}");
    }
    let all = [&odd[..], &[issuer.jwk()]].concat();
    assert_eq!(parse(&all).unwrap().len(), 1);
    assert!(parse(&vec![issuer.jwk(); 101]).is_err());
    let said = KeySet::parse(b"hunter2").unwrap_err();
    assert!(!said.contains("hunter2"), "{said}");
}
