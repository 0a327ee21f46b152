//! A set of keys, as RFC 7517 writes it.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Header};
use serde::Deserialize;
use serde_json::Value;

/// The most keys of a set. Those who rotate their keys have a handful.
const MAX_KEYS: usize = 100;

/// A token that names no key is tried with so many at most: each costs as much as a request.
const MAX_TRIED: usize = 4;

/// A public key.
#[derive(Debug)]
pub(super) struct Key {
    id: Option<String>,
    /// What it may verify.
    algorithms: Vec<Algorithm>,
    pub(super) decoding: DecodingKey,
}

/// Public keys.
#[derive(Debug)]
pub(in crate::auth) struct KeySet(Vec<Key>);

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a set. Keys of kinds that we do not know are passed over, as are those that are not
    /// for signatures, and secrets.
    ///
    /// # Errors
    /// What is wrong with it, without any of its content.
    pub(in crate::auth) fn parse(text: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(text).map_err(|error| {
            format!(
                "is no JWKS (wants {{\"keys\": [...]}}): line {}, column {}",
                error.line(),
                error.column()
            )
        })?;
        if document.keys.len() > MAX_KEYS {
            return Err(format!("has more than {MAX_KEYS} keys"));
        }
        let keys: Vec<Key> = document.keys.into_iter().filter_map(Key::read).collect();
        match keys.is_empty() {
            true => Err(
                "has no key that signatures could be verified with: RSA, or EC on P-256 \
                         or P-384, or OKP on Ed25519"
                    .to_owned(),
            ),
            false => Ok(Self(keys)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The keys that a token with this header may be of: those of its name, and those that have
    /// none.
    pub(super) fn fitting(&self, header: &Header) -> impl Iterator<Item = &Key> {
        let fits = |key: &&Key| {
            let named = match (&header.kid, &key.id) {
                (Some(wanted), Some(id)) => wanted == id,
                _ => true,
            };
            named && key.algorithms.contains(&header.alg)
        };
        self.0.iter().filter(fits).take(MAX_TRIED)
    }
}

impl Key {
    fn read(key: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(key).ok()?;
        let kind = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa.algorithms(),
            AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
                EllipticCurve::P256 => &[Algorithm::ES256],
                EllipticCurve::P384 => &[Algorithm::ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(pair) => match pair.curve {
                EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
                _ => return None,
            },
            _ => return None,
        };
        if matches!(&jwk.common.public_key_use, Some(usage) if *usage != PublicKeyUse::Signature) {
            return None;
        }
        let algorithms = match jwk.common.key_algorithm {
            None => kind.to_vec(),
            Some(own) => {
                let own = Algorithm::try_from(own).ok()?;
                kind.contains(&own).then(|| vec![own])?
            }
        };
        Some(Self {
            decoding: DecodingKey::from_jwk(&jwk).ok()?,
            id: jwk.common.key_id,
            algorithms,
        })
    }
}
