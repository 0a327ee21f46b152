//! Who sends, and what we show to others: credentials that come in with requests, and those that
//! go out with ours.
//!
//! A request is judged by its headers and its connection alone, before anything of its body is
//! read and before anything is paid for it ([`Authenticator::check`]). What exporters show is in
//! [`Credentials`]. Secrets are [`Secret`]s from the configuration on: nothing prints them.

use std::sync::Arc;

use http::HeaderMap;

use crate::net::peer::Peer;
use crate::net::tls::Register;

mod basic;
mod bearer;
mod certificate;
mod config;
mod credentials;
mod denied;
mod files;
mod header;
mod jwt;
mod oauth2;
mod secret;
mod watched;

pub use config::{
    AuthConfig, BasicConfig, BearerConfig, ClientAuthentication, CredentialsConfig, JwtAlgorithm,
    JwtConfig, MtlsConfig, OAuth2Config, SecretSource, UserConfig, Values,
};
pub use credentials::Credentials;
pub use denied::{Denied, Outcome, Reason};
pub use files::FileFault;
pub use secret::Secret;

/// Who sends a request, as its credentials say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name of the token or the user, a name of the certificate, or a claim of the JWT; empty
    /// where the credentials have none.
    pub name: Arc<str>,
}

impl Identity {
    fn named(name: &str) -> Self {
        Self { name: name.into() }
    }
}

/// What lets requests in at a receiver, or at the admin listener.
#[derive(Debug)]
pub struct Authenticator {
    /// What the configuration calls whom it guards, such as `receivers.apps`.
    component: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Bearer(bearer::Bearer),
    Basic(basic::Basic),
    Mtls(certificate::Names),
    Jwt(Box<jwt::Jwt>),
}

impl Authenticator {
    /// Reads the files that the configuration names, and watches them from now on. Keys at a URL
    /// are asked for, and for as long as they can not be had again in the background. `component` is
    /// what the configuration calls whom it guards.
    ///
    /// # Errors
    /// A sentence that names the key and the file.
    pub async fn open(
        config: &AuthConfig,
        component: &str,
        register: &Register,
    ) -> Result<Arc<Self>, String> {
        let whose = format!("{component}.auth");
        let kind = match config {
            AuthConfig::Bearer(config) => Kind::Bearer(bearer::Bearer::open(config, &whose)?),
            AuthConfig::Basic(config) => Kind::Basic(basic::Basic::open(config, &whose)?),
            AuthConfig::Mtls(config) => Kind::Mtls(certificate::Names::new(config)),
            AuthConfig::Jwt(config) => {
                let jwt = jwt::Jwt::open(config, &whose, register)?;
                jwt.look().await;
                Kind::Jwt(Box::new(jwt))
            }
        };
        Ok(Arc::new(Self {
            component: component.to_owned(),
            kind,
        }))
    }

    /// What the configuration calls whom it guards.
    pub fn component(&self) -> &str {
        &self.component
    }

    /// Whether the sender of a request with these headers, over a connection of this peer, is let
    /// in, and who it is. It waits for nothing but keys that may be new, and for those a few
    /// seconds.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(&self, headers: &HeaderMap, peer: &Peer) -> Result<Identity, Denied> {
        match &self.kind {
            Kind::Bearer(bearer) => bearer.check(headers),
            Kind::Basic(basic) => basic.check(headers),
            Kind::Mtls(names) => names.check(peer),
            Kind::Jwt(jwt) => jwt.check(headers).await,
        }
    }
}
