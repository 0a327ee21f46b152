//! What requests show to their destination, and what is done when that is not taken: it may have
//! been replaced a moment ago, and then what replaced it is shown once.

use http::{HeaderMap, HeaderValue};

use crate::auth::{Credentials, CredentialsConfig};
use crate::component::{Delivered, Failure};
use crate::net::tls::Register;

/// What is shown; nothing, where nothing is configured.
pub(super) struct Authorization(Option<Credentials>);

/// The destination does not have the request.
pub(super) enum Setback {
    /// It does not take what was shown.
    Unauthenticated {
        /// What it said, for a person.
        cause: String,
    },
    /// Anything else.
    Failed(Failure),
}

impl From<Failure> for Setback {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Authorization {
    /// # Errors
    /// A sentence, where a file can not be read.
    pub(super) fn open(
        config: Option<&CredentialsConfig>,
        (component, register): (&str, &Register),
    ) -> Result<Self, String> {
        let credentials = config.map(|config| Credentials::open(config, component, register));
        Ok(Self(credentials.transpose()?))
    }

    /// Has a request sent with what is to be shown, and once more where that was not taken and
    /// something else is there by then. The secrets among `headers` are kept out of what is said.
    pub(super) async fn deliver<F>(
        &self,
        headers: &HeaderMap,
        send: impl Fn(Option<HeaderValue>) -> F,
    ) -> Result<Delivered, Failure>
    where
        F: Future<Output = Result<Delivered, Setback>>,
    {
        let shown = self.shown().await?;
        let mut outcome = send(shown.clone()).await;
        let other = self.instead(&outcome, shown.as_ref()).await?;
        if other.is_some() {
            outcome = send(other.clone()).await;
        }
        outcome.map_err(|setback| setback.failure(headers, other.or(shown).as_ref()))
    }

    /// What to show now.
    async fn shown(&self) -> Result<Option<HeaderValue>, Failure> {
        match &self.0 {
            Some(credentials) => credentials.header().await.map(Some).map_err(retryable),
            None => Ok(None),
        }
    }

    /// What to show in place of what was not taken; `None` where that is not how it went, or
    /// nothing else is there.
    async fn instead(
        &self,
        outcome: &Result<Delivered, Setback>,
        shown: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Failure> {
        let (Err(Setback::Unauthenticated { .. }), Some(credentials), Some(shown)) =
            (outcome, &self.0, shown)
        else {
            return Ok(None);
        };
        match credentials.refused(shown).await {
            true => self.shown().await,
            false => Ok(None),
        }
    }
}

fn retryable(cause: String) -> Failure {
    Failure::Retryable { after: None, cause }
}

impl Setback {
    /// The failure that it comes to. Destinations may repeat what they were shown: the secrets
    /// among these headers are taken out of what they said.
    fn failure(self, headers: &HeaderMap, shown: Option<&HeaderValue>) -> Failure {
        let secrets = || headers.values().filter(|value| value.is_sensitive());
        let clean = |cause: String| secrets().chain(shown).fold(cause, without);
        match self {
            Self::Unauthenticated { cause } => Failure::Permanent {
                cause: clean(cause),
            },
            Self::Failed(Failure::Permanent { cause }) => Failure::Permanent {
                cause: clean(cause),
            },
            Self::Failed(Failure::Retryable { after, cause }) => Failure::Retryable {
                after,
                cause: clean(cause),
            },
        }
    }
}

/// Shorter ones stand in other words too often to be looked for.
const SHORTEST: usize = 4;

/// The text without this value, and without what stands behind its first word.
fn without(text: String, value: &HeaderValue) -> String {
    let value = value.to_str().unwrap_or_default();
    let behind = value.split_once(' ').map_or("", |(_, rest)| rest);
    let secrets = [value, behind].into_iter();
    let secrets = secrets.filter(|secret| secret.len() >= SHORTEST);
    secrets.fold(text, |text, secret| text.replace(secret, "..."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_destination_repeats_of_secrets_is_taken_out() {
        let mut headers = HeaderMap::new();
        let mut key = HeaderValue::from_static("key-1234");
        key.set_sensitive(true);
        headers.insert("x-key", key);
        headers.insert("x-open", HeaderValue::from_static("visible"));
        let shown = HeaderValue::from_static("Bearer hunter2");
        let said = |cause: &str| {
            let cause = cause.to_owned();
            match (Setback::Unauthenticated { cause }).failure(&headers, Some(&shown)) {
                Failure::Permanent { cause } => cause,
                Failure::Retryable { .. } => panic!("not worth another try"),
            }
        };
        assert_eq!(said("no such token: hunter2!"), "no such token: ...!");
        assert_eq!(said("key-1234 visible Bearer hunter2"), "... visible ...");
        assert_eq!(said("Bearer is missing"), "Bearer is missing");
    }
}
