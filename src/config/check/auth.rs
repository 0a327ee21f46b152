//! Checks of credentials: those that are asked for, and those that are shown. No sentence holds
//! one.

use super::endpoint;
use super::{Site, tls};
use crate::auth::{AuthConfig, CredentialsConfig, FileFault, JwtConfig, OAuth2Config, Secret};
use crate::config::Config;
use crate::config::problem::Findings;
use crate::config::tree::Node;
use crate::exporters::ExporterConfig;
use crate::receivers::ReceiverConfig;

/// The furthest that clocks may be apart.
const MAX_LEEWAY_SECONDS: u64 = 3600;

const NOBODY: &str = "nobody could send";

/// Checks who is let in.
pub(in crate::config) fn incoming(config: &AuthConfig, node: &Node, findings: &mut Findings) {
    let mut site = Site { node, findings };
    match config {
        AuthConfig::Bearer(bearer) => {
            let none = bearer.tokens.is_empty() && bearer.tokens_file.is_none();
            needs_one(none, ["tokens", "tokens_file"], NOBODY, &mut site);
            for (index, token) in bearer.tokens.iter().enumerate() {
                token_and_name(token, index, &mut site);
            }
        }
        AuthConfig::Basic(basic) => {
            let none = basic.users.is_empty() && basic.users_file.is_none();
            needs_one(none, ["users", "users_file"], NOBODY, &mut site);
            for (name, password) in &basic.users {
                let path = ["users", name];
                let sentence = "this password is empty: whoever knows the name could send";
                site.forbid(password.is_empty(), &path, sentence);
                let sentence = "the name of a user can have no colon (RFC 7617)";
                site.forbid(name.contains(':'), &path, sentence);
            }
        }
        AuthConfig::Mtls(mtls) => {
            for (index, name) in mtls.allowed_names.iter().enumerate() {
                allowed_name(name, index, &mut site);
            }
        }
        AuthConfig::Jwt(jwt) => self::jwt(jwt, &mut site),
    }
}

fn needs_one(none: bool, [first, second]: [&str; 2], what: &str, site: &mut Site<'_>) {
    if none {
        let sentence = format!("{what}: give it `{first}` or `{second}`");
        site.problem(&[], &[&[first], &[second]], sentence);
    }
}

fn not_both(both: bool, [first, second]: [&str; 2], site: &mut Site<'_>) {
    if both {
        let sentence = format!("there are both `{first}` and `{second}`: leave one of them out");
        site.problem(&[second], &[], sentence);
    }
}

fn token_and_name(token: &Secret, index: usize, site: &mut Site<'_>) {
    let words = token.expose().split_ascii_whitespace().count();
    let path = ["tokens", &index.to_string()];
    site.forbid(words == 0, &path, "this token is empty");
    let sentence = "`tokens` wants a token, or a name, a space and a token";
    site.forbid(words > 2, &path, sentence);
}

fn allowed_name(name: &str, index: usize, site: &mut Site<'_>) {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    let path = ["allowed_names", &index.to_string()];
    site.forbid(
        rest.is_empty() || (rest.contains('*') && !rest.contains("://")),
        &path,
        "`allowed_names` wants names as they stand in certificates; `*.` may stand in front, for \
         exactly one label: \"*.apps.example\"",
    );
}

fn jwt(jwt: &JwtConfig, site: &mut Site<'_>) {
    let none = jwt.jwks_file.is_none() && jwt.jwks_url.is_none();
    let keys = "there are no keys to verify tokens with";
    needs_one(none, ["jwks_file", "jwks_url"], keys, site);
    let both = jwt.jwks_file.is_some() && jwt.jwks_url.is_some();
    not_both(both, ["jwks_file", "jwks_url"], site);
    if let Some(url) = &jwt.jwks_url {
        self::url(url, "jwks_url", site);
        tls::client(jwt.tls.as_ref(), url, site);
    }
    site.not_zero(
        jwt.refresh_interval.is_zero(),
        &["refresh_interval"],
        "keys that were withdrawn would be believed for ever",
    );
    site.not_zero(
        jwt.min_refresh_interval.is_zero(),
        &["min_refresh_interval"],
        "whoever sends made-up tokens could have the keys fetched for each",
    );
    site.forbid(
        jwt.algorithms.is_empty(),
        &["algorithms"],
        "`algorithms` is empty, so that no token would be taken: leave it out for all",
    );
    site.forbid(
        jwt.leeway.as_secs() > MAX_LEEWAY_SECONDS,
        &["leeway"],
        "`leeway` wants an hour at most: tokens that have expired are taken for as long",
    );
    for (name, values) in &jwt.required_claims {
        let path = ["required_claims", name];
        let sentence = "no value is named, so that no token would be taken";
        site.forbid(values.0.is_empty(), &path, sentence);
    }
    if jwt.audience.is_empty()
        && let Some(place) = site.node.place(&["audience"])
    {
        let sentence = "there is no `audience`: tokens that the same issuer has made for any other \
                        service are taken as well";
        site.findings.warning(place, sentence);
    }
}

/// Whoever is in between must neither read nor replace what is fetched.
fn url(text: &str, key: &str, site: &mut Site<'_>) {
    if let Err(problem) = endpoint::url(text) {
        site.problem(&[key], &[], format!("`{key}` {problem}"));
    } else if endpoint::is_exposed(text)
        && let Some(place) = site.node.place(&[key])
    {
        let sentence = format!(
            "`{key}` is asked in the clear on another machine: whoever is in between can read and \
             replace the answer; use https://"
        );
        site.findings.warning(place, sentence);
    }
}

/// Certificates are asked for in the TLS handshake of each listener.
pub(in crate::config) fn certificates(
    config: &AuthConfig,
    receiver: &ReceiverConfig,
    node: &Node,
    findings: &mut Findings,
) {
    let AuthConfig::Mtls(_) = config else { return };
    let ReceiverConfig::Otlp(otlp) = receiver else {
        return;
    };
    let grpc = otlp.grpc.as_ref().map(|grpc| &grpc.tls);
    let http = otlp.http.as_ref().filter(|_| !otlp.shares_a_port());
    let http = http.map(|http| &http.tls);
    for (listener, tls) in [("grpc", grpc), ("http", http)] {
        if tls.is_some_and(|tls| tls.as_ref().is_none_or(|tls| tls.client_ca_file.is_none())) {
            let sentence = format!(
                "certificates are asked for in the TLS handshake: give the {listener} listener \
                 `tls` with `client_ca_file`"
            );
            Site { node, findings }.problem(&["auth"], &[], sentence);
        }
    }
}

/// Reads the files that every `auth` names, and says what is wrong with them.
pub(super) fn files(config: &Config, site: &mut Site<'_>) {
    if let Some(auth) = &config.admin.auth {
        report(auth.check_file(), &["admin", "auth"], site);
    }
    for (name, receiver) in &config.receivers {
        let ReceiverConfig::Otlp(otlp) = receiver else {
            continue;
        };
        if let Some(auth) = &otlp.auth {
            report(auth.check_file(), &["receivers", name, "auth"], site);
        }
    }
    for (name, exporter) in &config.exporters {
        let auth = match &exporter.kind {
            ExporterConfig::OtlpGrpc(config) => &config.auth,
            ExporterConfig::OtlpHttp(config) => &config.auth,
            ExporterConfig::File(_) | ExporterConfig::Debug(_) | ExporterConfig::Discard(_) => {
                continue;
            }
        };
        if let Some(auth) = auth {
            report(auth.check_file(), &["exporters", name, "auth"], site);
        }
    }
}

fn report(found: Result<(), FileFault>, path: &[&str], site: &mut Site<'_>) {
    let Err(FileFault {
        key,
        path: file,
        what,
    }) = found
    else {
        return;
    };
    let path = [path, &[key]].concat();
    let sentence = match site.node.is_secret(&path) {
        true => format!("`{key}`: {what}"),
        false => format!("`{key}` {}: {what}", file.display()),
    };
    site.problem(&path, &[], sentence);
}

/// Checks what is shown to a destination.
pub(in crate::config) fn outgoing(
    config: &CredentialsConfig,
    node: &Node,
    findings: &mut Findings,
) {
    let mut site = Site { node, findings };
    match config {
        CredentialsConfig::Bearer(source) => {
            let given = (&source.token, source.token_file.is_some());
            one_secret(given, ["token", "token_file"], &mut site);
        }
        CredentialsConfig::Basic(user) => {
            let given = (&user.password, user.password_file.is_some());
            one_secret(given, ["password", "password_file"], &mut site);
            let sentence = "`user` can have no colon (RFC 7617)";
            site.forbid(user.user.contains(':'), &["user"], sentence);
        }
        CredentialsConfig::OAuth2(oauth2) => self::oauth2(oauth2, &mut site),
    }
}

fn one_secret((secret, file): (&Option<Secret>, bool), keys: [&str; 2], site: &mut Site<'_>) {
    let [key, _] = keys;
    needs_one(
        secret.is_none() && !file,
        keys,
        "there is nothing to show",
        site,
    );
    not_both(secret.is_some() && file, keys, site);
    if let Some(secret) = secret {
        let text = secret.expose();
        let is_empty = text.trim().is_empty();
        site.forbid(is_empty, &[key], &format!("`{key}` is empty"));
        let has_control = text.trim().contains(|c: char| c.is_control());
        let sentence = format!("`{key}` has a character that no header may have");
        site.forbid(has_control, &[key], &sentence);
    }
}

fn oauth2(config: &OAuth2Config, site: &mut Site<'_>) {
    let given = (&config.client_secret, config.client_secret_file.is_some());
    one_secret(given, ["client_secret", "client_secret_file"], site);
    url(&config.token_url, "token_url", site);
    tls::client(config.tls.as_ref(), &config.token_url, site);
    let sentence = "`client_id` is empty";
    site.forbid(config.client_id.is_empty(), &["client_id"], sentence);
    site.not_zero(
        config.timeout.is_zero(),
        &["timeout"],
        "no token could be had",
    );
    for name in ["grant_type", "client_id", "client_secret", "scope"] {
        let path = ["params", name];
        let sentence = "this parameter is sent by itself: take it out of `params`";
        site.forbid(config.params.contains_key(name), &path, sentence);
    }
}

/// What is shown must have one source, and must not be shown to everybody.
pub(in crate::config) fn shown(exporter: &ExporterConfig, node: &Node, findings: &mut Findings) {
    let (endpoint, headers) = match exporter {
        ExporterConfig::OtlpGrpc(config) => (&config.endpoint, &config.headers),
        ExporterConfig::OtlpHttp(config) => (&config.endpoint, &config.headers),
        _ => return,
    };
    for name in headers.keys() {
        if name.eq_ignore_ascii_case("authorization") {
            let sentence = "`auth` says what the header `authorization` holds: leave one of them \
                            out";
            Site { node, findings }.problem(&["headers", name], &[], sentence);
        }
    }
    if let Some(place) = node.place(&["endpoint"])
        && endpoint::is_exposed(endpoint)
    {
        let sentence = "credentials are sent in the clear to another machine: use https://";
        findings.warning(place, sentence);
    }
}
