//! The `auth` tables. Each has a `type` of its own, and is read apart from the table that it
//! stands in.

use super::build::{no_such_type, read, take_type};
use super::check;
use super::problem::Findings;
use super::tree::{Entry, Node};
use crate::auth::{AuthConfig, CredentialsConfig};

/// The key of these tables.
pub(super) const KEY: &str = "auth";

/// A table `auth`, taken out of the one around it while that is read.
pub(super) struct Aside(Option<Entry>);

impl Aside {
    pub(super) fn take(around: &mut Node) -> Self {
        let table = around.table_mut();
        Self(table.and_then(|table| table.entries.remove(KEY)))
    }

    /// Puts it back, for checks of what stands where.
    pub(super) fn put_back(self, around: &mut Node) {
        if let (Some(entry), Some(table)) = (self.0, around.table_mut()) {
            table.entries.insert(KEY.to_owned(), entry);
        }
    }

    /// Who is let in, where it says so; `name` is what the table around it is called.
    pub(super) fn incoming(&mut self, name: &str, findings: &mut Findings) -> Option<AuthConfig> {
        let (node, name) = self.named(name)?;
        let kind = take_type(node, &name, &AuthConfig::TYPES, findings)?;
        let config = read(node, &name, &["type"], findings, |table| {
            AuthConfig::read(&kind, table).unwrap_or_else(|| Err(no_such_type()))
        })?;
        check::incoming(&config, node, findings);
        Some(config)
    }

    /// What is shown to a destination, where it says so.
    pub(super) fn outgoing(
        &mut self,
        name: &str,
        findings: &mut Findings,
    ) -> Option<CredentialsConfig> {
        let (node, name) = self.named(name)?;
        let kind = take_type(node, &name, &CredentialsConfig::TYPES, findings)?;
        let config = read(node, &name, &["type"], findings, |table| {
            CredentialsConfig::read(&kind, table).unwrap_or_else(|| Err(no_such_type()))
        })?;
        check::outgoing(&config, node, findings);
        Some(config)
    }

    fn named(&mut self, name: &str) -> Option<(&mut Node, String)> {
        let entry = self.0.as_mut()?;
        Some((&mut entry.node, format!("{name}.{KEY}")))
    }
}
