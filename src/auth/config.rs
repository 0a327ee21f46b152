//! What an operator writes about credentials.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::secret::Secret;
use crate::net::tls::ClientTlsConfig;
use crate::units;

/// `[receivers.NAME.auth]` and `[admin.auth]`: who is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthConfig {
    /// Whoever has a token that is known.
    Bearer(BearerConfig),
    /// Users with passwords.
    Basic(BasicConfig),
    /// Whoever has shown a certificate of a CA that we believe.
    Mtls(MtlsConfig),
    /// Whoever has a token that somebody has signed whom we believe.
    Jwt(Box<JwtConfig>),
}

impl AuthConfig {
    /// Every `type` there is, with a line on what it is for.
    pub const TYPES: [(&'static str, &'static str); 4] = [
        ("bearer", "tokens that are known one by one"),
        ("basic", "users and passwords"),
        ("mtls", "certificates of clients"),
        ("jwt", "signed tokens (JSON Web Tokens)"),
    ];

    /// Reads the table of this type; `None` if there is no such type.
    pub fn read<'de, D: Deserializer<'de>>(kind: &str, table: D) -> Option<Result<Self, D::Error>> {
        Some(match kind {
            "bearer" => BearerConfig::deserialize(table).map(Self::Bearer),
            "basic" => BasicConfig::deserialize(table).map(Self::Basic),
            "mtls" => MtlsConfig::deserialize(table).map(Self::Mtls),
            "jwt" => JwtConfig::deserialize(table).map(|jwt| Self::Jwt(Box::new(jwt))),
            _ => return None,
        })
    }

    /// The word for it in TOML.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bearer(_) => "bearer",
            Self::Basic(_) => "basic",
            Self::Mtls(_) => "mtls",
            Self::Jwt(_) => "jwt",
        }
    }
}

/// `type = "bearer"`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BearerConfig {
    /// `TOKEN`, or `NAME TOKEN`.
    pub tokens: Vec<Secret>,
    /// A file with one of these a line.
    pub tokens_file: Option<PathBuf>,
    /// How often the file is read again; 0 is never.
    #[serde(with = "units::duration")]
    pub reload_interval: Duration,
}

impl Default for BearerConfig {
    fn default() -> Self {
        Self {
            tokens: Vec::new(),
            tokens_file: None,
            reload_interval: default_reload_interval(),
        }
    }
}

/// `type = "basic"`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BasicConfig {
    /// Passwords by user.
    pub users: BTreeMap<String, Secret>,
    /// A file with one `NAME:PASSWORD` or `NAME:{SHA256}HEX` a line.
    pub users_file: Option<PathBuf>,
    /// How often the file is read again; 0 is never.
    #[serde(with = "units::duration")]
    pub reload_interval: Duration,
}

impl Default for BasicConfig {
    fn default() -> Self {
        Self {
            users: BTreeMap::new(),
            users_file: None,
            reload_interval: default_reload_interval(),
        }
    }
}

/// `type = "mtls"`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MtlsConfig {
    /// The names that may send: exact, or with `*.` for one label. Empty: whatever the name.
    pub allowed_names: Vec<String>,
}

/// `type = "jwt"`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JwtConfig {
    /// Where the keys are: a file.
    pub jwks_file: Option<PathBuf>,
    /// Where the keys are: a URL.
    pub jwks_url: Option<String>,
    /// How the server of `jwks_url` is believed.
    pub tls: Option<ClientTlsConfig>,
    /// How often the keys are read again.
    #[serde(with = "units::duration")]
    pub refresh_interval: Duration,
    /// How soon after that they are read again because a token names a key that is not there.
    #[serde(with = "units::duration")]
    pub min_refresh_interval: Duration,
    /// Whom tokens must be issued for; any of these. Empty: whomever.
    #[serde(deserialize_with = "one_or_many")]
    pub audience: Vec<String>,
    /// Who must have issued them; any of these. Empty: whoever has the keys.
    #[serde(deserialize_with = "one_or_many")]
    pub issuer: Vec<String>,
    /// The algorithms that signatures may have.
    pub algorithms: Vec<JwtAlgorithm>,
    /// How far the clocks may be apart.
    #[serde(with = "units::duration")]
    pub leeway: Duration,
    /// What else must stand in a token: claims, and the values that they may have.
    pub required_claims: BTreeMap<String, Values>,
    /// The claim that says who sends.
    pub identity_claim: String,
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self {
            jwks_file: None,
            jwks_url: None,
            tls: None,
            refresh_interval: Duration::from_secs(300),
            min_refresh_interval: Duration::from_secs(10),
            audience: Vec::new(),
            issuer: Vec::new(),
            algorithms: JwtAlgorithm::ALL.to_vec(),
            leeway: Duration::from_secs(60),
            required_claims: BTreeMap::new(),
            identity_claim: "sub".to_owned(),
        }
    }
}

/// An algorithm of signatures by key pairs. Those with one shared secret, and `none`, are not to
/// be had: whoever can verify the former can make them up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the names are those of RFC 7518, section 3.1")]
pub enum JwtAlgorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl JwtAlgorithm {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    pub(super) fn algorithm(self) -> Algorithm {
        match self {
            Self::RS256 => Algorithm::RS256,
            Self::RS384 => Algorithm::RS384,
            Self::RS512 => Algorithm::RS512,
            Self::PS256 => Algorithm::PS256,
            Self::PS384 => Algorithm::PS384,
            Self::PS512 => Algorithm::PS512,
            Self::ES256 => Algorithm::ES256,
            Self::ES384 => Algorithm::ES384,
            Self::EdDSA => Algorithm::EdDSA,
        }
    }
}

/// `[exporters.NAME.auth]`: what is shown to the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialsConfig {
    /// A token.
    Bearer(SecretSource),
    /// A user and a password.
    Basic(UserConfig),
    /// A token that is fetched.
    OAuth2(Box<OAuth2Config>),
}

impl CredentialsConfig {
    /// Every `type` there is, with a line on what it is for.
    pub const TYPES: [(&'static str, &'static str); 3] = [
        ("bearer", "a token"),
        ("basic", "a user and a password"),
        ("oauth2", "a token by OAuth 2.0 client credentials"),
    ];

    /// Reads the table of this type; `None` if there is no such type.
    pub fn read<'de, D: Deserializer<'de>>(kind: &str, table: D) -> Option<Result<Self, D::Error>> {
        Some(match kind {
            "bearer" => SecretSource::deserialize(table).map(Self::Bearer),
            "basic" => UserConfig::deserialize(table).map(Self::Basic),
            "oauth2" => OAuth2Config::deserialize(table).map(|o| Self::OAuth2(Box::new(o))),
            _ => return None,
        })
    }
}

/// `type = "bearer"` of an exporter
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecretSource {
    /// The token.
    pub token: Option<Secret>,
    /// A file that holds it.
    pub token_file: Option<PathBuf>,
    /// How often the file is read again; 0 is only when the destination refuses the token.
    #[serde(with = "units::duration")]
    pub reload_interval: Duration,
}

impl Default for SecretSource {
    fn default() -> Self {
        Self {
            token: None,
            token_file: None,
            reload_interval: default_reload_interval(),
        }
    }
}

/// `type = "basic"` of an exporter
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// The user.
    pub user: String,
    /// Its password.
    #[serde(default)]
    pub password: Option<Secret>,
    /// A file that holds it.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// How often the file is read again; 0 is only when the destination refuses the password.
    #[serde(default = "default_reload_interval", with = "units::duration")]
    pub reload_interval: Duration,
}

/// `type = "oauth2"`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OAuth2Config {
    /// Where tokens are had.
    pub token_url: String,
    /// How its server is believed, and believes us.
    #[serde(default)]
    pub tls: Option<ClientTlsConfig>,
    /// Who we are there.
    pub client_id: String,
    /// What shows that we are.
    #[serde(default)]
    pub client_secret: Option<Secret>,
    /// A file that holds it.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// How both are sent.
    #[serde(default)]
    pub client_authentication: ClientAuthentication,
    /// What the token is to be good for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Further parameters of the request.
    #[serde(default)]
    pub params: BTreeMap<String, Secret>,
    /// The longest that the server may take.
    #[serde(default = "default_timeout", with = "units::duration")]
    pub timeout: Duration,
}

/// `client_authentication = "basic" | "body"`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthentication {
    /// By HTTP basic authentication, as every server must understand.
    #[default]
    Basic,
    /// As parameters of the request.
    Body,
}

/// Often enough for a token that is replaced a minute before the old one ends.
fn default_reload_interval() -> Duration {
    Duration::from_secs(10)
}

/// Shorter than an attempt of an exporter may take by default, of which it is a part.
fn default_timeout() -> Duration {
    Duration::from_secs(5)
}

/// `"value"`, or `["value", "or this"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values(pub Vec<String>);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_or_many(deserializer).map(Self)
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    deserializer.deserialize_any(OneOrMany)
}

struct OneOrMany;

impl<'de> Visitor<'de> for OneOrMany {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, or an array of strings")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<String>, E> {
        Ok(vec![text.to_owned()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<String>, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = items.next_element()? {
            texts.push(text);
        }
        Ok(texts)
    }
}
