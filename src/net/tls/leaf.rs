//! What there is to know of one's own certificate: when it expires, and which it is.

use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The certificate that is shown to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Until when it is valid.
    pub not_after: SystemTime,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// Whose it is.
    pub subject: String,
}

/// A certificate that is not replaced so long before its end is worth a warning.
const EXPIRES_SOON: Duration = Duration::from_secs(7 * 24 * 3600);

impl Leaf {
    /// Reads a certificate; `None` where that can not be done.
    pub fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let not_after = certificate.validity().not_after.timestamp();
        let not_after = Duration::from_secs(u64::try_from(not_after).unwrap_or(0));
        Some(Self {
            not_after: SystemTime::UNIX_EPOCH + not_after,
            serial: certificate.raw_serial_as_string(),
            subject: certificate.subject().to_string(),
        })
    }

    /// For how long it is still valid, in seconds; below zero since when it is not.
    pub fn left_seconds(&self, now: SystemTime) -> f64 {
        match self.not_after.duration_since(now) {
            Ok(left) => left.as_secs_f64(),
            Err(since) => -since.duration().as_secs_f64(),
        }
    }

    /// What is to be said of its end, if that is near or behind us.
    pub fn warning(&self, now: SystemTime) -> Option<String> {
        let left = self.left_seconds(now);
        if left > EXPIRES_SOON.as_secs_f64() {
            return None;
        }
        let Self {
            serial, subject, ..
        } = self;
        let end = httpdate::fmt_http_date(self.not_after);
        let of = format!("the certificate of {subject} (serial {serial})");
        Some(match left {
            ..0.0 => {
                format!("{of} has expired on {end}: whoever verifies it refuses to talk to us")
            }
            _ => format!(
                "{of} expires in {:.0} hours, on {end}: replace it; the file is read again when it \
                 changes",
                left / 3600.0
            ),
        })
    }
}
