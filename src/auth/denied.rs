//! A request that is not let in, and why: as its sender hears it, as it is counted, as it is
//! logged.

/// Why a request was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It carries no credentials.
    Missing,
    /// What it carries is no credentials of the kind that is asked for.
    Malformed,
    /// No such token or user, another password, or a signature that is not of a key we know.
    Invalid,
    /// The token was valid once.
    Expired,
    /// The token is not valid yet.
    NotYetValid,
    /// The token was issued for somebody else.
    WrongAudience,
    /// The token was issued by somebody else.
    WrongIssuer,
    /// We know who it is, and that is nobody who may send here.
    NotAllowed,
    /// There are no keys to judge it by: that is our fault, and passes.
    NoKeys,
}

/// What a sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// UNAUTHENTICATED, 401.
    Unauthenticated,
    /// PERMISSION_DENIED, 403.
    Forbidden,
    /// UNAVAILABLE, 503: come back.
    Unavailable,
}

impl Reason {
    /// Every reason; `as usize` is the index into it.
    pub const ALL: [Self; 9] = [
        Self::Missing,
        Self::Malformed,
        Self::Invalid,
        Self::Expired,
        Self::NotYetValid,
        Self::WrongAudience,
        Self::WrongIssuer,
        Self::NotAllowed,
        Self::NoKeys,
    ];

    /// The word for it in metric labels and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Invalid => "invalid",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongAudience => "wrong_audience",
            Self::WrongIssuer => "wrong_issuer",
            Self::NotAllowed => "not_allowed",
            Self::NoKeys => "no_keys",
        }
    }

    /// What its sender is told.
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::NotAllowed => Outcome::Forbidden,
            Self::NoKeys => Outcome::Unavailable,
            _ => Outcome::Unauthenticated,
        }
    }
}

/// How a sender is to show who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// `authorization: Bearer TOKEN`
    Bearer,
    /// `authorization: Basic ...`
    Basic,
    /// By a certificate, in the TLS handshake.
    Certificate,
}

/// A request that is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Why.
    pub reason: Reason,
    /// More about it for our own log; never a secret.
    pub detail: String,
    scheme: Scheme,
}

impl Denied {
    pub(super) fn new(scheme: Scheme, reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            scheme,
        }
    }

    /// What its sender is told. It is no more than whoever guesses may know.
    pub fn message(&self) -> &'static str {
        match (self.reason, self.scheme) {
            (Reason::Missing, Scheme::Bearer) => {
                "no credentials: send them as authorization: Bearer TOKEN"
            }
            (Reason::Missing, Scheme::Basic) => {
                "no credentials: send them as authorization: Basic, a user and a password"
            }
            (Reason::Missing, Scheme::Certificate) => {
                "no credentials: connect over TLS, with a client certificate"
            }
            (Reason::Malformed, Scheme::Bearer) => {
                "the authorization header is not one Bearer token"
            }
            (Reason::Malformed, Scheme::Basic) => {
                "the authorization header is not Basic with a user and a password in base64"
            }
            (Reason::Malformed, Scheme::Certificate) => "the client certificate can not be read",
            (Reason::Invalid, Scheme::Basic) => "no such user, or another password",
            (Reason::Invalid, _) => "the token is not valid here",
            (Reason::Expired, _) => "the token has expired",
            (Reason::NotYetValid, _) => "the token is not valid yet: compare the clocks",
            (Reason::WrongAudience, _) => "the token was issued for another audience",
            (Reason::WrongIssuer, _) => "the token was issued by another issuer",
            (Reason::NotAllowed, Scheme::Certificate) => {
                "the client certificate is valid, but has no name that may send here"
            }
            (Reason::NotAllowed, _) => {
                "the token is valid, but lacks a claim that is required here"
            }
            (Reason::NoKeys, _) => {
                "the keys that tokens are verified with can not be had at the moment; try again \
                 later"
            }
        }
    }

    /// The value of `WWW-Authenticate`; `None` where it was no matter of credentials.
    pub fn challenge(&self) -> Option<&'static str> {
        match (self.reason.outcome(), self.scheme, self.reason) {
            (Outcome::Unavailable, ..) => None,
            (Outcome::Forbidden, Scheme::Bearer, _) => {
                Some("Bearer realm=\"otlpd\", error=\"insufficient_scope\"")
            }
            (Outcome::Forbidden, ..) => None,
            (_, Scheme::Bearer, Reason::Missing) => Some("Bearer realm=\"otlpd\""),
            (_, Scheme::Bearer, Reason::Malformed) => {
                Some("Bearer realm=\"otlpd\", error=\"invalid_request\"")
            }
            (_, Scheme::Bearer, _) => Some("Bearer realm=\"otlpd\", error=\"invalid_token\""),
            (_, Scheme::Basic, _) => Some("Basic realm=\"otlpd\", charset=\"UTF-8\""),
            // No scheme is registered for it, and the header must be there.
            (_, Scheme::Certificate, _) => Some("ClientCertificate realm=\"otlpd\""),
        }
    }
}
