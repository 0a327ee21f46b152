//! `type = "jwt"`: tokens that somebody has signed whom we believe.

use std::sync::Arc;

use http::HeaderMap;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, get_current_timestamp};
use serde_json::{Map, Value};

use self::key_set::Key;
pub(super) use self::key_set::KeySet;
use self::keys::{Keys, Renewal};
use self::verified::{Good, Verified, fingerprint};
use super::Identity;
use super::config::JwtConfig;
use super::denied::{Denied, Reason, Scheme};
use super::header::credentials;
use crate::net::tls::Register;

mod claims;
mod key_set;
mod keys;
#[cfg(test)]
mod tests;
mod verified;

/// The keys that tokens are verified with, and what must stand in them.
#[derive(Debug)]
pub(super) struct Jwt {
    keys: Keys,
    rules: Rules,
    verified: Verified,
}

/// What is asked of a token beside its signature.
#[derive(Debug)]
struct Rules {
    algorithms: Vec<Algorithm>,
    validation: Validation,
    required: claims::Required,
    identity: String,
}

impl Jwt {
    pub(super) fn open(
        config: &JwtConfig,
        whose: &str,
        register: &Register,
    ) -> Result<Self, String> {
        Ok(Self {
            keys: Keys::open(config, whose, register)?,
            rules: Rules::new(config),
            verified: Verified::default(),
        })
    }

    /// Asks for the keys once, if there are none, so that no client is told that there are none
    /// only because nobody has asked.
    pub(super) async fn look(&self) {
        self.keys.look().await;
    }

    pub(super) async fn check(&self, headers: &HeaderMap) -> Result<Identity, Denied> {
        let token = credentials(headers, Scheme::Bearer, "bearer")?;
        let known = self.keys.current();
        let (print, now) = (fingerprint(token), get_current_timestamp());
        let again = |known| self.verified.find(&print, known, now);
        if let Some(identity) = known.as_ref().and_then(again) {
            return Ok(identity);
        }
        let header = self.rules.header(token)?;
        let known = known.ok_or_else(|| denied(Reason::NoKeys, "there are no keys yet"))?;
        let judge = |known: &Arc<KeySet>| {
            let judged = self.rules.judge(token, &header, known)?;
            Some(judged.map(|good| {
                let identity = good.identity.clone();
                self.verified.keep(print, known, good, now);
                identity
            }))
        };
        if let Some(judged) = judge(&known) {
            return judged;
        }
        match self.keys.renew(&known).await {
            Renewal::New(known) => judge(&known).unwrap_or_else(|| Err(unknown_key(&header))),
            Renewal::Same => Err(unknown_key(&header)),
            Renewal::Failed => {
                let detail = "it may be of a key that is new, and the keys can not be read again";
                Err(denied(Reason::NoKeys, detail))
            }
        }
    }
}

impl Rules {
    fn new(config: &JwtConfig) -> Self {
        let algorithms = config.algorithms.iter().map(|name| name.algorithm());
        let mut validation = Validation::new(Algorithm::ES256);
        validation.leeway = config.leeway.as_secs();
        validation.validate_nbf = true;
        let mut required = vec!["exp"];
        validation.validate_aud = !config.audience.is_empty();
        if !config.audience.is_empty() {
            validation.set_audience(&config.audience);
            required.push("aud");
        }
        if !config.issuer.is_empty() {
            validation.set_issuer(&config.issuer);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        Self {
            algorithms: algorithms.collect(),
            validation,
            required: claims::Required::new(&config.required_claims),
            identity: config.identity_claim.clone(),
        }
    }

    /// What the token says of its signature, if we take such signatures. An algorithm that we do
    /// not know, and `none` is one of them, is no header.
    fn header(&self, token: &str) -> Result<Header, Denied> {
        let header = decode_header(token).map_err(|_| {
            let detail = "it is no JWT, or has a signature of a kind that is not taken";
            denied(Reason::Malformed, detail)
        })?;
        match self.algorithms.contains(&header.alg) {
            true => Ok(header),
            false => {
                let detail = format!("the algorithm {:?} is not allowed", header.alg);
                Err(denied(Reason::Invalid, detail))
            }
        }
    }

    /// What comes of the token; `None` if it is of no key of these.
    fn judge(&self, token: &str, header: &Header, keys: &KeySet) -> Option<Result<Good, Denied>> {
        let mut outcome = None;
        for key in keys.fitting(header) {
            let judged = self.verify(token, header.alg, key);
            let is_of_it = !matches!(&judged, Err(denied) if denied.reason == Reason::Invalid);
            outcome = Some(judged);
            if is_of_it {
                break;
            }
        }
        outcome
    }

    fn verify(&self, token: &str, algorithm: Algorithm, key: &Key) -> Result<Good, Denied> {
        // Nothing that the token says can make another algorithm of it: the key has its own.
        let mut validation = self.validation.clone();
        validation.algorithms = vec![algorithm];
        let decoded = decode::<Map<String, Value>>(token, &key.decoding, &validation);
        let claims = decoded.map_err(|error| refused(error.kind()))?.claims;
        if let Some(missing) = self.required.missing_in(&claims) {
            let name = claims::text(&claims, &self.identity).unwrap_or_default();
            let detail = format!("{name:?} has not the claim {missing:?} that is required");
            return Err(denied(Reason::NotAllowed, detail));
        }
        let name = claims::text(&claims, &self.identity).unwrap_or_default();
        let expires = claims
            .get("exp")
            .and_then(Value::as_f64)
            .unwrap_or_default();
        Ok(Good {
            identity: Identity::named(&name),
            until: (expires as u64).saturating_add(self.validation.leeway),
        })
    }
}

fn refused(why: &ErrorKind) -> Denied {
    match why {
        ErrorKind::ExpiredSignature => denied(Reason::Expired, ""),
        ErrorKind::ImmatureSignature => denied(Reason::NotYetValid, ""),
        ErrorKind::InvalidAudience => denied(Reason::WrongAudience, ""),
        ErrorKind::InvalidIssuer => denied(Reason::WrongIssuer, ""),
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
            let detail = format!("the claim {claim} is missing, or of another type");
            let reason = match claim.as_str() {
                "aud" => Reason::WrongAudience,
                "iss" => Reason::WrongIssuer,
                _ => Reason::Malformed,
            };
            denied(reason, detail)
        }
        ErrorKind::InvalidSignature => denied(Reason::Invalid, "the signature is not of its key"),
        ErrorKind::Json(_) | ErrorKind::Base64(_) | ErrorKind::Utf8(_) => {
            denied(Reason::Malformed, "it is no JWT")
        }
        _ => denied(Reason::Invalid, "it does not fit the key that it names"),
    }
}

fn unknown_key(header: &Header) -> Denied {
    let detail = match &header.kid {
        Some(kid) => {
            let shown: String = kid.chars().take(64).collect();
            format!("there is no key {shown:?} for {:?}", header.alg)
        }
        None => format!("there is no key for {:?}", header.alg),
    };
    denied(Reason::Invalid, detail)
}

fn denied(reason: Reason, detail: impl Into<String>) -> Denied {
    Denied::new(Scheme::Bearer, reason, detail)
}
