//! `type = "basic"`: users and passwords.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use super::Identity;
use super::config::BasicConfig;
use super::denied::{Denied, Reason, Scheme};
use super::header::credentials;
use super::secret::Digest;
use super::watched::{Source, Watched};

/// The users of the configuration, and those of a file.
#[derive(Debug)]
pub(super) struct Basic {
    configured: Users,
    file: Option<Arc<Watched<Users>>>,
}

impl Basic {
    pub(super) fn open(config: &BasicConfig, whose: &str) -> Result<Self, String> {
        let configured = config.users.iter().map(|(name, password)| {
            let password = Digest::of(password.expose().as_bytes());
            (Digest::of(name.as_bytes()), password, Identity::named(name))
        });
        let source = config.users_file.clone().map(|path| Source {
            key: format!("{whose}.users_file"),
            path,
            interval: config.reload_interval,
        });
        let file = source.map(|source| Watched::open(source, Users::parse));
        Ok(Self {
            configured: Users(configured.collect()),
            file: file.transpose()?,
        })
    }

    pub(super) fn check(&self, headers: &HeaderMap) -> Result<Identity, Denied> {
        let malformed = || {
            let detail = "no base64 of a user and a password";
            Denied::new(Scheme::Basic, Reason::Malformed, detail)
        };
        let text = credentials(headers, Scheme::Basic, "basic")?;
        let pair = STANDARD.decode(text).map_err(|_| malformed())?;
        let colon = pair.iter().position(|byte| *byte == b':');
        let (name, password) = pair.split_at(colon.ok_or_else(malformed)?);
        let password = password.get(1..).unwrap_or_default();
        let (name, password) = (Digest::of(name), Digest::of(password));
        let found = self.configured.find(&name, &password);
        let found = found.or_else(|| self.file.as_ref()?.current().find(&name, &password));
        found.ok_or_else(|| {
            let detail = "no such user, or another password";
            Denied::new(Scheme::Basic, Reason::Invalid, detail)
        })
    }
}

/// Users: the digests of name and password, and the name.
#[derive(Debug, Default)]
pub(super) struct Users(Vec<(Digest, Digest, Identity)>);

/// Before the SHA-256 of a password that does not stand there itself.
pub(super) const HASHED: &str = "{SHA256}";

impl Users {
    /// One user a line, `NAME:PASSWORD` or `NAME:{SHA256}HEX`; empty lines, and those that begin
    /// with `#`, are passed over.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut users = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_end_matches('\r');
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what: &str| format!("line {} {what}", index + 1);
            let (name, password) = line
                .split_once(':')
                .ok_or_else(|| wrong("is not NAME:PASSWORD"))?;
            let password = match password.strip_prefix(HASHED) {
                Some(hash) => Digest::from_hex(hash)
                    .ok_or_else(|| wrong("has no 64 hexadecimal digits behind {SHA256}"))?,
                None if password.is_empty() => return Err(wrong("has an empty password")),
                None => Digest::of(password.as_bytes()),
            };
            users.push((Digest::of(name.as_bytes()), password, Identity::named(name)));
        }
        Ok(Self(users))
    }

    /// Looks at all of them, and at both digests of each, whichever it is.
    fn find(&self, name: &Digest, password: &Digest) -> Option<Identity> {
        let mut found = None;
        for (known, its_password, identity) in &self.0 {
            if known.is(name) & its_password.is(password) {
                found = Some(identity);
            }
        }
        found.cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_stand_in_the_file_as_they_are_or_hashed() {
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let text = format!("# users\nann:a:b c\n\nbob:{{SHA256}}{hash}\n");
        let users = Users::parse(&text).unwrap();
        let named = |name: &str, password: &str| {
            users.find(
                &Digest::of(name.as_bytes()),
                &Digest::of(password.as_bytes()),
            )
        };
        assert_eq!(named("ann", "a:b c"), Some(Identity::named("ann")));
        assert_eq!(named("bob", "abc"), Some(Identity::named("bob")));
        for (name, password) in [("ann", "abc"), ("bob", hash), ("", ""), ("ann", "")] {
            assert_eq!(named(name, password), None, "{name}");
        }
    }

    #[test]
    fn what_is_no_user_is_told_by_its_line_and_not_shown() {
        for (text, expected) in [
            ("ann:x\nhunter2", "line 2 is not NAME:PASSWORD"),
            ("ann:", "line 1 has an empty password"),
            (
                "ann:{SHA256}12",
                "line 1 has no 64 hexadecimal digits behind {SHA256}",
            ),
        ] {
            assert_eq!(Users::parse(text).unwrap_err(), expected);
        }
    }
}
