//! `type = "bearer"`: tokens that are known one by one.

use std::sync::Arc;

use http::HeaderMap;

use super::Identity;
use super::config::BearerConfig;
use super::denied::{Denied, Reason, Scheme};
use super::header::credentials;
use super::secret::Digest;
use super::watched::{Source, Watched};

/// The tokens of the configuration, and those of a file.
#[derive(Debug)]
pub(super) struct Bearer {
    configured: Tokens,
    file: Option<Arc<Watched<Tokens>>>,
}

impl Bearer {
    pub(super) fn open(config: &BearerConfig, whose: &str) -> Result<Self, String> {
        let configured = Tokens::read(config.tokens.iter().map(|token| token.expose()))
            .map_err(|what| format!("`{whose}.tokens`: {what}"))?;
        let source = config.tokens_file.clone().map(|path| Source {
            key: format!("{whose}.tokens_file"),
            path,
            interval: config.reload_interval,
        });
        let file = source.map(|source| Watched::open(source, Tokens::parse));
        Ok(Self {
            configured,
            file: file.transpose()?,
        })
    }

    pub(super) fn check(&self, headers: &HeaderMap) -> Result<Identity, Denied> {
        let token = Digest::of(credentials(headers, Scheme::Bearer, "bearer")?.as_bytes());
        let found = self.configured.find(&token);
        let found = found.or_else(|| self.file.as_ref()?.current().find(&token));
        found.ok_or_else(|| Denied::new(Scheme::Bearer, Reason::Invalid, "no such token"))
    }
}

/// Tokens, by their digests, with their names.
#[derive(Debug, Default)]
pub(super) struct Tokens(Vec<(Digest, Identity)>);

impl Tokens {
    /// One token a line, with a name before it or not; empty lines, and those that begin with
    /// `#`, are passed over.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim);
        Self::read(lines.filter(|line| !line.is_empty() && !line.starts_with('#')))
    }

    fn read<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut tokens = Vec::new();
        for (index, line) in lines.enumerate() {
            let mut words = line.split_ascii_whitespace();
            let (name, token) = match (words.next(), words.next(), words.next()) {
                (Some(token), None, _) => ("", token),
                (Some(name), Some(token), None) => (name, token),
                _ => {
                    let number = index + 1;
                    return Err(format!(
                        "entry {number} is neither a token nor a name and a token"
                    ));
                }
            };
            tokens.push((Digest::of(token.as_bytes()), Identity::named(name)));
        }
        Ok(Self(tokens))
    }

    /// Looks at all of them, whichever it is.
    fn find(&self, token: &Digest) -> Option<Identity> {
        let mut found = None;
        for (known, identity) in &self.0 {
            if known.is(token) {
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
    fn a_token_may_have_a_name_and_lines_may_be_comments() {
        let tokens = Tokens::parse("# ours\n\n  one \nshop two\r\n#three\n").unwrap();
        let named = |token: &str| tokens.find(&Digest::of(token.as_bytes()));
        assert_eq!(named("one"), Some(Identity::named("")));
        assert_eq!(named("two"), Some(Identity::named("shop")));
        assert_eq!((named("three"), named("shop")), (None, None));
        let wrong = Tokens::parse("one\na b secret").unwrap_err();
        assert_eq!(wrong, "entry 2 is neither a token nor a name and a token");
    }
}
