//! A server whose own certificate is the authority that the operator configured.
//!
//! `openssl req -x509` makes such certificates: self-signed, and marked as an authority.
//! OpenSSL, and with it the Python agent, accepts one as a server's when it is configured as
//! trusted; webpki refuses every authority as a server. Installations that have worked for
//! years are set up that way.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Verifies as webpki does, and lets a configured authority be the server itself.
#[derive(Debug)]
pub(super) struct Pinned {
    verifier: Arc<WebPkiServerVerifier>,
    configured: Vec<CertificateDer<'static>>,
}

impl Pinned {
    /// `configured` are the authorities of `verifier` that may be servers, too.
    pub(super) fn new(
        verifier: Arc<WebPkiServerVerifier>,
        configured: Vec<CertificateDer<'static>>,
    ) -> Self {
        Self {
            verifier,
            configured,
        }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // The refusal of an authority has no word of its own in rustls. The dates were
            // looked at before it, the name would have been looked at after it.
            Err(Error::InvalidCertificate(CertificateError::Other(_)))
                if self.configured.iter().any(|known| known == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
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
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
    use rustls::RootCertStore;

    use super::*;

    /// What `openssl req -x509` makes for 127.0.0.1: valid from 2020 to 2030.
    fn self_signed(is_ca: IsCa) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.is_ca = is_ca;
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2030, 1, 1);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn authority() -> CertificateDer<'static> {
        self_signed(IsCa::Ca(BasicConstraints::Unconstrained))
    }

    fn trusting(configured: &CertificateDer<'static>) -> Pinned {
        let mut store = RootCertStore::empty();
        store.add(configured.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider)
            .build()
            .unwrap();
        Pinned::new(verifier, vec![configured.clone()])
    }

    fn is_believed(
        verifier: &Pinned,
        shown: &CertificateDer<'static>,
        name: &'static str,
        year: u64,
    ) -> bool {
        let name = ServerName::try_from(name).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_557_600));
        verifier
            .verify_server_cert(shown, &[], &name, &[], now)
            .is_ok()
    }

    #[test]
    fn the_configured_certificate_itself_is_believed_where_it_holds() {
        for shown in [authority(), self_signed(IsCa::NoCa)] {
            let verifier = trusting(&shown);
            // Year, name, answer.
            for (year, name, believed) in [
                (2026, "127.0.0.1", true),
                (2026, "127.0.0.2", false),
                (2026, "ironic.example", false),
                (2019, "127.0.0.1", false),
                (2031, "127.0.0.1", false),
            ] {
                let found = is_believed(&verifier, &shown, name, year);
                assert_eq!(found, believed, "{name} in {year}");
            }
        }
    }

    #[test]
    fn another_authority_is_not_believed() {
        let verifier = trusting(&authority());
        assert!(!is_believed(&verifier, &authority(), "127.0.0.1", 2026));
    }
}
