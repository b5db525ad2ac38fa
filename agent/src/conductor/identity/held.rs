//! The key of this machine, and its certificate.

use std::time::Duration;

use ironic_text::Secret;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::SignedCertificate;

/// Why a key or certificate cannot be used.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The key or the request for it cannot be made.
    #[error("a key cannot be made")]
    Make(#[from] rcgen::Error),
    /// The key or certificate cannot be read.
    #[error("the certificate or its key cannot be read")]
    Read(#[from] rustls_pki_types::pem::Error),
    /// They do not fit each other.
    #[error("the certificate is not one of the key")]
    Unfit(#[from] rustls::Error),
}

/// A key that was just made.
#[derive(Debug)]
pub struct NewKey {
    key: KeyPair,
    /// The request for its certificate, PKCS #10 in DER.
    pub csr: Vec<u8>,
}

impl NewKey {
    /// Makes a key on the curve P-256.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        // Whatever is asked for is not taken: the gateway knows the node's name.
        params.distinguished_name = DistinguishedName::new();
        let csr = params.serialize_request(&key)?.der().to_vec();
        Ok(Self { key, csr })
    }

    /// With its certificate, which is renewed when `share` of two thirds of its life are over.
    #[must_use]
    pub fn certified(self, signed: SignedCertificate, share: f64) -> HeldCertificate {
        let life = signed
            .not_after
            .as_secs()
            .saturating_sub(signed.now.as_secs());
        let pause = Duration::from_secs(life).mul_f64(2.0 / 3.0 * share.clamp(0.0, 1.0));
        let pem = |der: &CertificateDer<'static>| der.to_vec();
        HeldCertificate {
            chain: signed.chain.iter().map(pem).collect(),
            key_pem: self.key.serialize_pem(),
            node_uuid: signed.node_uuid,
            not_after: signed.not_after.as_secs(),
            renew_at: signed.now.as_secs().saturating_add(pause.as_secs()),
        }
    }
}

/// A certificate with its key.
#[derive(Clone, Serialize, Deserialize)]
pub struct HeldCertificate {
    /// In DER.
    chain: Vec<Vec<u8>>,
    /// Secret.
    key_pem: String,
    /// The node that it names.
    pub node_uuid: String,
    not_after: u64,
    renew_at: u64,
}

impl std::fmt::Debug for HeldCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeldCertificate")
            .field("node_uuid", &self.node_uuid)
            .field("not_after", &self.not_after)
            .field("key", &Secret::new(""))
            .finish_non_exhaustive()
    }
}

impl HeldCertificate {
    /// Whether it is valid for another moment.
    #[must_use]
    pub fn is_valid(&self, now: UnixTime) -> bool {
        const MOMENT: u64 = 30;
        now.as_secs().saturating_add(MOMENT) < self.not_after
    }

    /// How long it is until it should be renewed.
    #[must_use]
    pub fn until_renewal(&self, now: UnixTime) -> Duration {
        Duration::from_secs(self.renew_at.saturating_sub(now.as_secs()))
    }

    /// As TLS takes it.
    ///
    /// # Errors
    /// The key is no PEM.
    pub fn for_tls(
        &self,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), KeyError> {
        let chain = self.chain.iter().cloned().map(CertificateDer::from);
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes())?;
        Ok((chain.collect(), key))
    }
}
