//! An authority that is known by its digest alone: what fits on a kernel command line.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use thiserror::Error as ThisError;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::ServerClock;
use crate::Sha256Digest;

/// SHA-256 of the DER of an authority's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthorityPin(Sha256Digest);

/// A text that is no [`AuthorityPin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
#[error("expected 64 hexadecimal digits, with or without colons between them")]
pub struct InvalidAuthorityPin;

impl AuthorityPin {
    /// The digest of a certificate.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256Digest::of(certificate))
    }
}

impl FromStr for AuthorityPin {
    type Err = InvalidAuthorityPin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digest = text.replace(':', "").parse();
        digest.map(Self).map_err(|_| InvalidAuthorityPin)
    }
}

impl fmt::Display for AuthorityPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

ironic_options::parsed_value!(
    AuthorityPin,
    "SHA256",
    "the SHA-256 of a certificate: 64 hexadecimal digits, with or without colons"
);

/// The server does not show the authority.
#[derive(Debug, ThisError)]
#[error(
    "no authority that the server shows has the SHA-256 {0}: compare it with the one that the \
     gateway's log names, and see that its certificate file holds the authority, too"
)]
struct NotShown(AuthorityPin);

/// Verifies as webpki does, with the one authority in the server's chain that has the digest.
#[derive(Debug)]
pub(crate) struct PinnedAuthority {
    pin: AuthorityPin,
    clock: ServerClock,
    provider: Arc<CryptoProvider>,
}

impl PinnedAuthority {
    /// While `clock` does not know the server's time, the dates of the certificate do not count:
    /// the machine's own clock may be days off.
    pub(crate) fn new(
        pin: AuthorityPin,
        clock: ServerClock,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        Self {
            pin,
            clock,
            provider,
        }
    }

    fn verifier(&self, chain: &[CertificateDer<'_>]) -> Result<Arc<WebPkiServerVerifier>, Error> {
        let mut shown = chain.iter();
        let authority = shown.find(|shown| AuthorityPin::of(shown) == self.pin);
        // The library would print another kind of error as its type.
        let authority = authority.ok_or_else(|| Error::General(NotShown(self.pin).to_string()))?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let provider = Arc::clone(&self.provider);
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| Error::General(error.to_string()))
    }
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verifier = self.verifier(intermediates)?;
        let verify = |now| {
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        match verify(now) {
            Err(error) if is_about_dates(&error) && !self.clock.is_settled() => {
                verify(within(end_entity).ok_or(error)?)
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn is_about_dates(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
        )
    )
}

/// A time at which a certificate is valid.
fn within(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let seconds = u64::try_from(certificate.validity().not_before.timestamp()).ok()?;
    Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(
        seconds,
    )))
}
