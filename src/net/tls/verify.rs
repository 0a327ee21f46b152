//! Whom to believe: certificates of CAs, and those that are on the list themselves. A certificate
//! that was signed by itself is usually a CA's by its own account, which the library does not take
//! for anybody else's; but who names it as the only one to be believed has said what to do.

use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use super::provider;

/// Certificates that are believed as they are.
#[derive(Debug)]
struct Listed(Vec<CertificateDer<'static>>);

impl Listed {
    /// Whether it is one of them and in its time; else what was wrong with it before.
    fn accept(
        &self,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
        error: Error,
    ) -> Result<(), Error> {
        if !self.0.contains(certificate) {
            return Err(error);
        }
        let (_, parsed) = X509Certificate::from_der(certificate)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let now = ASN1Time::from_timestamp(seconds).map_err(|_| error)?;
        let validity = parsed.validity();
        match (now < validity.not_before, now > validity.not_after) {
            (true, _) => Err(CertificateError::NotValidYet.into()),
            (_, true) => Err(CertificateError::Expired.into()),
            (false, false) => Ok(()),
        }
    }
}

/// Verifies servers.
#[derive(Debug)]
pub(super) struct Servers {
    by_cas: Arc<WebPkiServerVerifier>,
    listed: Listed,
}

impl Servers {
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        listed: Vec<CertificateDer<'static>>,
    ) -> Result<Self, VerifierBuilderError> {
        let by_cas = WebPkiServerVerifier::builder_with_provider(roots, provider()).build()?;
        let listed = Listed(listed);
        Ok(Self { by_cas, listed })
    }
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let by_cas = self
            .by_cas
            .verify_server_cert(certificate, between, name, ocsp, now);
        by_cas.or_else(|error| {
            self.listed.accept(certificate, now, error)?;
            verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
            Ok(ServerCertVerified::assertion())
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_cas
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_cas
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_cas.supported_verify_schemes()
    }
}

/// Verifies clients, each of which must show a certificate.
#[derive(Debug)]
pub(super) struct Clients {
    by_cas: Arc<dyn ClientCertVerifier>,
    listed: Listed,
}

impl Clients {
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        listed: Vec<CertificateDer<'static>>,
    ) -> Result<Self, VerifierBuilderError> {
        let by_cas = WebPkiClientVerifier::builder_with_provider(roots, provider()).build()?;
        let listed = Listed(listed);
        Ok(Self { by_cas, listed })
    }
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.by_cas.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let by_cas = self.by_cas.verify_client_cert(certificate, between, now);
        by_cas.or_else(|error| {
            self.listed.accept(certificate, now, error)?;
            Ok(ClientCertVerified::assertion())
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_cas
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_cas
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_cas.supported_verify_schemes()
    }
}

/// Believes every server, as `insecure_skip_verify` says.
#[derive(Debug)]
pub(super) struct Anybody(WebPkiSupportedAlgorithms);

impl Default for Anybody {
    fn default() -> Self {
        Self(provider().signature_verification_algorithms)
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
