//! The `authorization` header.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::denied::{Denied, Reason, Scheme};

/// What stands behind the name of the scheme in the one `authorization` header.
pub(super) fn credentials<'a>(
    headers: &'a HeaderMap,
    scheme: Scheme,
    name: &str,
) -> Result<&'a str, Denied> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (Some(value), None) => value,
        (None, _) => return Err(Denied::new(scheme, Reason::Missing, "")),
        (Some(_), Some(_)) => {
            let detail = "more than one authorization header";
            return Err(Denied::new(scheme, Reason::Malformed, detail));
        }
    };
    let malformed = |detail: &str| Denied::new(scheme, Reason::Malformed, detail);
    let value = value.to_str();
    let value = value.map_err(|_| malformed("the authorization header is no text"))?;
    let (found, rest) = value.split_once(' ').unwrap_or((value, ""));
    if !found.eq_ignore_ascii_case(name) {
        return Err(malformed("the authorization header has another scheme"));
    }
    match rest.trim_matches(' ') {
        "" => Err(malformed("the authorization header holds only a scheme")),
        rest => Ok(rest),
    }
}
