//! Checks of which web pages may send.

use http::HeaderName;

use super::Site;
use crate::receivers::otlp::cors::{CorsConfig, check_origin};

/// Browsers remember no answer for longer than a day.
const LONGEST_SECONDS: u64 = 86_400;

pub(super) fn check(config: &CorsConfig, site: &mut Site<'_>) {
    let origins = &["http", "cors", "allowed_origins"];
    if config.allowed_origins.is_empty() {
        site.problem(
            origins,
            &[],
            "`allowed_origins` names no page, so that none may send: name one, or leave out `cors`",
        );
    }
    for origin in &config.allowed_origins {
        if let Err(problem) = check_origin(origin) {
            let shown = shown(site, origins, origin);
            let sentence = format!(
                "an entry of `allowed_origins`{shown} {problem}; it wants an origin as browsers \
                 send it, such as \"https://app.example.com\", \"https://*.example.com\", \
                 \"http://localhost:*\", or \"*\" for every page"
            );
            site.problem(origins, &[], sentence);
        }
    }
    names(&config.allowed_headers, "allowed_headers", site);
    names(&config.exposed_headers, "exposed_headers", site);
    site.forbid(
        config.max_age.as_secs() > LONGEST_SECONDS,
        &["http", "cors", "max_age"],
        "`max_age` can not be above 24h: no browser remembers an answer for longer",
    );
}

fn names(names: &[String], key: &str, site: &mut Site<'_>) {
    let path = &["http", "cors", key];
    for name in names {
        if name != "*" && HeaderName::from_bytes(name.as_bytes()).is_err() {
            let shown = shown(site, path, name);
            let sentence = format!("an entry of `{key}`{shown} can not be the name of a header");
            site.problem(path, &[], sentence);
        }
    }
}

fn shown(site: &Site<'_>, path: &[&str], text: &str) -> String {
    site.shown(path, &format!("{text:?}"))
}
