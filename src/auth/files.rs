//! The files of a configuration, looked at before anything is served by them.

use std::path::{Path, PathBuf};

use http::HeaderValue;

use super::basic::{HASHED, Users};
use super::bearer::Tokens;
use super::config::{AuthConfig, CredentialsConfig};
use super::credentials::{basic, bearer};
use super::jwt::KeySet;
use super::watched::read;

/// A file that can not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFault {
    /// The key that names it.
    pub key: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong, and what to do; it holds nothing of the file.
    pub what: String,
}

impl AuthConfig {
    /// Reads the file that it names, if it names one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_file(&self) -> Result<(), FileFault> {
        match self {
            Self::Bearer(config) => {
                let parse = |text: &str| Tokens::parse(text).map(drop);
                check("tokens_file", config.tokens_file.as_deref(), parse)
            }
            Self::Basic(config) => {
                let parse = |text: &str| Users::parse(text).map(drop);
                check("users_file", config.users_file.as_deref(), parse)
            }
            Self::Jwt(config) => {
                let parse = |text: &str| KeySet::parse(text.as_bytes()).map(drop);
                check("jwks_file", config.jwks_file.as_deref(), parse)
            }
            Self::Mtls(_) => Ok(()),
        }
    }

    /// What one of those who are let in would show, for commands that have the same
    /// configuration; `None` where it holds nothing that could be shown.
    pub fn one_of_them(&self) -> Option<HeaderValue> {
        let file = |path: Option<&Path>| read(path?).ok();
        let is_entry = |line: &&str| !line.trim().is_empty() && !line.starts_with('#');
        match self {
            Self::Bearer(config) => {
                let text = match config.tokens.first() {
                    Some(token) => token.expose().to_owned(),
                    None => file(config.tokens_file.as_deref())?,
                };
                let entry = text.lines().find(is_entry)?;
                bearer(entry.split_ascii_whitespace().last()?).ok()
            }
            Self::Basic(config) => match config.users.first_key_value() {
                Some((user, password)) => basic(user, password.expose()).ok(),
                None => {
                    let text = file(config.users_file.as_deref())?;
                    let mut entries = text.lines().filter(is_entry);
                    let (user, password) = entries.find_map(|entry| {
                        let pair = entry.split_once(':')?;
                        (!pair.1.starts_with(HASHED)).then_some(pair)
                    })?;
                    basic(user, password).ok()
                }
            },
            Self::Mtls(_) | Self::Jwt(_) => None,
        }
    }
}

impl CredentialsConfig {
    /// Reads the file that it names, if it names one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_file(&self) -> Result<(), FileFault> {
        match self {
            Self::Bearer(config) => {
                let parse = |text: &str| bearer(text).map(drop);
                check("token_file", config.token_file.as_deref(), parse)
            }
            Self::Basic(config) => {
                check("password_file", config.password_file.as_deref(), not_empty)
            }
            Self::OAuth2(config) => {
                let path = config.client_secret_file.as_deref();
                check("client_secret_file", path, not_empty)
            }
        }
    }
}

fn check(
    key: &'static str,
    path: Option<&Path>,
    parse: impl Fn(&str) -> Result<(), String>,
) -> Result<(), FileFault> {
    let Some(path) = path else {
        return Ok(());
    };
    read(path)
        .and_then(|text| parse(&text))
        .map_err(|what| FileFault {
            key,
            path: path.to_owned(),
            what,
        })
}

fn not_empty(text: &str) -> Result<(), String> {
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err("is empty".to_owned()),
        _ => Ok(()),
    }
}
