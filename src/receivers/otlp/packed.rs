//! Answers in gzip, for clients that ask for it.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, Response};
use http_body_util::Full;

use crate::net::compression::{self, Encoding};

/// Answers of fewer bytes are hardly any smaller in gzip, and fit into the same packet.
const LEAST: usize = 256;

/// How gRPC says what HTTP says in `Accept-Encoding`.
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// Whether a gRPC client with these headers reads gzip.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    accepts(headers, &GRPC_ACCEPT_ENCODING)
}

/// The bytes in gzip, where that is asked for and helps.
pub(super) fn pack(plain: &[u8], takes_gzip: bool) -> Option<Bytes> {
    if !takes_gzip || plain.len() < LEAST {
        return None;
    }
    let chunks = [Bytes::copy_from_slice(plain)];
    let packed = compression::deflate(Encoding::Gzip, &chunks).ok()?;
    (packed.len() < plain.len()).then_some(packed)
}

/// An answer over HTTP to a request with these headers.
pub(super) fn response(body: Bytes, asked: &HeaderMap) -> Response<Full<Bytes>> {
    let is_worth_it = body.len() >= LEAST;
    let packed = pack(&body, accepts(asked, &header::ACCEPT_ENCODING));
    let is_packed = packed.is_some();
    let mut response = Response::new(Full::new(packed.unwrap_or(body)));
    let headers = response.headers_mut();
    if is_worth_it {
        let vary = HeaderValue::from_static("Accept-Encoding");
        headers.append(header::VARY, vary);
    }
    if is_packed {
        let gzip = HeaderValue::from_static("gzip");
        headers.insert(header::CONTENT_ENCODING, gzip);
    }
    response
}

/// Whether a list of codings in these headers has gzip, or anything, with a weight that is not
/// zero (RFC 9110 section 12.5.3).
fn accepts(headers: &HeaderMap, name: &HeaderName) -> bool {
    let (mut any, mut gzip) = (false, None);
    let lines = headers.get_all(name).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    for entry in lines.flat_map(|line| line.split(',')) {
        let (coding, weight) = entry.split_once(';').unwrap_or((entry, ""));
        let coding = coding.trim();
        let is_wanted = !is_zero(weight);
        if ["gzip", "x-gzip"]
            .iter()
            .any(|name| coding.eq_ignore_ascii_case(name))
        {
            gzip = Some(is_wanted);
        } else if coding == "*" {
            any = is_wanted;
        }
    }
    gzip.unwrap_or(any)
}

/// Whether this is a weight of zero: `q=0`, `q=0.0`.
fn is_zero(weight: &str) -> bool {
    let value = weight.trim().strip_prefix(['q', 'Q']);
    let value = value.and_then(|rest| rest.trim_start().strip_prefix('='));
    value.is_some_and(|value| value.trim().parse() == Ok(0.0_f32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn gzip_is_given_to_who_asks_for_it() {
        for (lines, gzip) in [
            (&["gzip"][..], true),
            (&["deflate, GZIP;q=0.5, br"], true),
            (&["identity", "x-gzip ; q=1"], true),
            (&["*"], true),
            (&["*, gzip;q=0"], false),
            (&["gzip; q=0.000"], false),
            (&["*;q=0"], false),
            (&["deflate, br"], false),
            (&["gzipped"], false),
            (&[""], false),
            (&[], false),
        ] {
            assert_eq!(
                accepts(&asked(lines), &header::ACCEPT_ENCODING),
                gzip,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn what_is_small_or_would_not_be_smaller_stays_as_it_is() {
        let mut noise = vec![0; 1000];
        rand::fill(&mut noise[..]);
        for (plain, packs) in [
            (vec![b'x'; LEAST], true),
            (vec![b'x'; LEAST - 1], false),
            (noise, false),
        ] {
            assert_eq!(pack(&plain, true).is_some(), packs);
            assert!(pack(&plain, false).is_none());
        }
    }
}
