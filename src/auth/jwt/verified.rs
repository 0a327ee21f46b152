//! Tokens that were verified a moment ago: a client shows the same one with each of its requests,
//! and a signature costs more to verify than many a request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::key_set::KeySet;
use crate::auth::Identity;

/// A token that is good.
#[derive(Clone, Debug)]
pub(super) struct Good {
    pub(super) identity: Identity,
    /// Until when, in seconds since 1970, leeway included.
    pub(super) until: u64,
}

/// What tells one token from another: its SHA-256, so that none is kept.
pub(super) type Fingerprint = [u8; 32];

/// Good tokens, by their fingerprints.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// What they were verified with: under other keys they mean nothing.
    keys: Option<Arc<KeySet>>,
    tokens: HashMap<Fingerprint, Good>,
}

/// The most tokens that are kept, some hundred bytes each.
const MAX_TOKENS: usize = 1024;

pub(super) fn fingerprint(token: &str) -> Fingerprint {
    Sha256::digest(token.as_bytes()).into()
}

impl Verified {
    /// Who shows this token, if it was good under these keys, and is at `now`.
    pub(super) fn find(
        &self,
        token: &Fingerprint,
        keys: &Arc<KeySet>,
        now: u64,
    ) -> Option<Identity> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.keys.as_ref().filter(|known| Arc::ptr_eq(known, keys));
        let good = known.and_then(|_| kept.tokens.get(token));
        good.filter(|good| now <= good.until)
            .map(|good| good.identity.clone())
    }

    /// Keeps a token that is good under these keys. Where there are too many, those that have
    /// expired go, and else all of them.
    pub(super) fn keep(&self, token: Fingerprint, keys: &Arc<KeySet>, good: Good, now: u64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept
            .keys
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, keys))
        {
            kept.tokens.clear();
            kept.keys = Some(Arc::clone(keys));
        }
        if kept.tokens.len() >= MAX_TOKENS {
            kept.tokens.retain(|_, good| now <= good.until);
        }
        if kept.tokens.len() >= MAX_TOKENS {
            kept.tokens.clear();
        }
        kept.tokens.insert(token, good);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Arc<KeySet> {
        let text = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        Arc::new(KeySet::parse(text).unwrap())
    }

    #[test]
    fn a_token_is_good_until_it_expires_or_the_keys_change() {
        let (verified, old, new) = (Verified::default(), keys(), keys());
        let token = fingerprint("a");
        let good = Good {
            identity: Identity::named("shop"),
            until: 100,
        };
        verified.keep(token, &old, good.clone(), 50);
        let found = |keys, now| verified.find(&token, keys, now).map(|found| found.name);
        assert_eq!(found(&old, 100).as_deref(), Some("shop"));
        assert_eq!((found(&old, 101), found(&new, 50)), (None, None));
        verified.keep(fingerprint("b"), &new, good, 50);
        assert_eq!((found(&old, 50), found(&new, 50)), (None, None));
    }

    #[test]
    fn no_more_are_kept_than_may_be() {
        let (verified, keys) = (Verified::default(), keys());
        for number in 0..3 * MAX_TOKENS {
            let good = Good {
                identity: Identity::named(""),
                until: if number % 2 == 0 { 10 } else { 100 },
            };
            verified.keep(fingerprint(&number.to_string()), &keys, good, 50);
            assert!(verified.0.lock().unwrap().tokens.len() <= MAX_TOKENS);
        }
    }
}
