//! The `auth` tables. Each has a `type` of its own, and is read apart from the table that it
//! stands in.

use super::build::{no_such_type, read, take_type};
use super::check;
use super::problem::Findings;
use super::tree::Node;
use crate::auth::{AuthConfig, CredentialsConfig};

/// The table `auth` of a receiver or of the admin listener, if there is one; with the node, for
/// checks of what else stands around it.
pub(super) fn incoming(
    around: &mut Node,
    name: &str,
    findings: &mut Findings,
) -> Option<(AuthConfig, Node)> {
    let (mut node, name) = take(around, name)?;
    let kind = take_type(&mut node, &name, &AuthConfig::TYPES, findings)?;
    let config = read(&mut node, &name, &["type"], findings, |table| {
        AuthConfig::read(&kind, table).unwrap_or_else(|| Err(no_such_type()))
    })?;
    check::incoming(&config, &node, findings);
    Some((config, node))
}

/// The table `auth` of an exporter, if there is one.
pub(super) fn outgoing(
    around: &mut Node,
    name: &str,
    findings: &mut Findings,
) -> Option<(CredentialsConfig, Node)> {
    let (mut node, name) = take(around, name)?;
    let kind = take_type(&mut node, &name, &CredentialsConfig::TYPES, findings)?;
    let config = read(&mut node, &name, &["type"], findings, |table| {
        CredentialsConfig::read(&kind, table).unwrap_or_else(|| Err(no_such_type()))
    })?;
    check::outgoing(&config, &node, findings);
    Some((config, node))
}

fn take(around: &mut Node, name: &str) -> Option<(Node, String)> {
    let entry = around.table_mut()?.entries.remove("auth")?;
    Some((entry.node, format!("{name}.auth")))
}
