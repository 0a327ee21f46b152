//! What exporters show to their destinations.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use super::config::{CredentialsConfig, SecretSource, UserConfig};
use super::oauth2::OAuth2;
use super::watched::{Source, Watched};
use crate::net::tls::Register;

/// The `authorization` of requests to one destination.
pub struct Credentials(Kind);

enum Kind {
    Fixed(HeaderValue),
    File(Arc<Watched<HeaderValue>>),
    OAuth2(Box<OAuth2>),
}

impl Credentials {
    /// Reads the files that the configuration names, and watches them from now on; nothing is
    /// fetched yet. `component` is what the configuration calls the exporter. To be called within
    /// a runtime.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn open(
        config: &CredentialsConfig,
        component: &str,
        register: &Register,
    ) -> Result<Self, String> {
        let whose = format!("{component}.auth");
        Ok(Self(match config {
            CredentialsConfig::Bearer(source) => token(source, &whose)?,
            CredentialsConfig::Basic(user) => password(user, &whose)?,
            CredentialsConfig::OAuth2(config) => {
                Kind::OAuth2(Box::new(OAuth2::open(config, &whose, register)?))
            }
        }))
    }

    /// What to show now. A token that must be fetched first is waited for.
    ///
    /// # Errors
    /// Why there is none, for a person; another try may have one.
    pub async fn header(&self) -> Result<HeaderValue, String> {
        match &self.0 {
            Kind::Fixed(value) => Ok(value.clone()),
            Kind::File(file) => Ok(file.current().as_ref().clone()),
            Kind::OAuth2(oauth2) => oauth2.header().await,
        }
    }

    /// The destination did not take `shown`: whether there may be something else to show now.
    pub async fn refused(&self, shown: &HeaderValue) -> bool {
        match &self.0 {
            Kind::Fixed(_) => false,
            Kind::File(file) => {
                file.look().await;
                file.current().as_ref() != shown
            }
            Kind::OAuth2(oauth2) => {
                oauth2.forget(shown).await;
                true
            }
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

fn token(config: &SecretSource, whose: &str) -> Result<Kind, String> {
    match (&config.token, &config.token_file) {
        (Some(token), _) => {
            let value = bearer(token.expose());
            Ok(Kind::Fixed(
                value.map_err(|what| format!("`{whose}.token` {what}"))?,
            ))
        }
        (None, Some(path)) => {
            let source = Source {
                key: format!("{whose}.token_file"),
                path: path.clone(),
                interval: config.reload_interval,
            };
            Ok(Kind::File(Watched::open(source, bearer)?))
        }
        (None, None) => Err(format!("{whose} needs `token` or `token_file`")),
    }
}

fn password(config: &UserConfig, whose: &str) -> Result<Kind, String> {
    let user = config.user.clone();
    match (&config.password, &config.password_file) {
        (Some(password), _) => {
            let value = basic(&user, password.expose());
            Ok(Kind::Fixed(
                value.map_err(|what| format!("`{whose}.password` {what}"))?,
            ))
        }
        (None, Some(path)) => {
            let source = Source {
                key: format!("{whose}.password_file"),
                path: path.clone(),
                interval: config.reload_interval,
            };
            let parse = move |text: &str| basic(&user, text.trim_end_matches(['\r', '\n']));
            Ok(Kind::File(Watched::open(source, parse)?))
        }
        (None, None) => Err(format!("{whose} needs `password` or `password_file`")),
    }
}

/// `Bearer TOKEN`; spaces and line breaks around the token are none of it.
pub(super) fn bearer(token: &str) -> Result<HeaderValue, String> {
    match token.trim() {
        "" => Err("is empty".to_owned()),
        token if token.contains(char::is_whitespace) => {
            Err("holds more than one token: there are spaces or line breaks in it".to_owned())
        }
        token => secret_header(&format!("Bearer {token}")),
    }
}

/// `Basic BASE64`
pub(super) fn basic(user: &str, password: &str) -> Result<HeaderValue, String> {
    match password {
        "" => Err("is empty".to_owned()),
        _ => secret_header(&format!(
            "Basic {}",
            STANDARD.encode(format!("{user}:{password}"))
        )),
    }
}

/// Marked, so that HTTP/2 does not keep it in its tables, and libraries do not print it.
fn secret_header(text: &str) -> Result<HeaderValue, String> {
    let value = HeaderValue::from_str(text);
    let mut value = value.map_err(|_| "has a character that no header may have".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::Secret;

    fn open(config: &CredentialsConfig) -> Result<Credentials, String> {
        Credentials::open(config, "exporters.out", &Register::default())
    }

    #[tokio::test]
    async fn a_token_of_a_file_is_read_again_when_it_was_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "one\n").unwrap();
        let source = SecretSource {
            token: None,
            token_file: Some(path.clone()),
            reload_interval: Duration::ZERO,
        };
        let credentials = open(&CredentialsConfig::Bearer(source)).unwrap();
        let shown = credentials.header().await.unwrap();
        assert_eq!(shown, "Bearer one");
        assert!(shown.is_sensitive());
        assert!(!credentials.refused(&shown).await);
        std::fs::write(&path, "two\n").unwrap();
        assert!(credentials.refused(&shown).await);
        assert_eq!(credentials.header().await.unwrap(), "Bearer two");
    }

    #[tokio::test]
    async fn a_user_and_a_password_are_what_rfc_7617_has() {
        let user = UserConfig {
            user: "Aladdin".to_owned(),
            password: Some(Secret::from("open sesame".to_owned())),
            password_file: None,
            reload_interval: Duration::ZERO,
        };
        let credentials = open(&CredentialsConfig::Basic(user)).unwrap();
        let shown = credentials.header().await.unwrap();
        assert_eq!(shown, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(!credentials.refused(&shown).await);
    }

    #[test]
    fn what_can_be_no_token_is_told_and_not_shown() {
        for (token, part) in [
            (" \n", "is empty"),
            ("a b", "more than one"),
            ("a\u{1}b", "no header"),
        ] {
            let said = bearer(token).unwrap_err();
            assert!(said.contains(part), "{said}");
        }
    }
}
