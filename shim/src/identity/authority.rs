//! The authority that signs the certificates of nodes: the operator's, or one of this gateway's own.
//!
//! The own one is made at the first start and kept in the state directory: every agent that pins
//! it, and every certificate that it has signed, depends on it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ironic_transport::tls::{HalfPair, certificate_and_key};
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SanType, SerialNumber,
};
use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use thiserror::Error;
use time::OffsetDateTime;
use tracing::info;
use uuid::Uuid;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::csr::RequestedKey;
use super::spiffe::TrustDomain;
use crate::config::ShimConfig;
use crate::tls::{self, OwnAuthority, OwnAuthorityError, Pair, TlsError};

const CA_NAME: &str = "ironic-shim nodes CA";
/// A certificate for this gateway's own listener; a new one is signed every day.
pub const SERVER_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Why no certificate can be signed.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// One half of the operator's pair is configured.
    #[error(transparent)]
    Half(#[from] HalfPair),
    /// One file of the kept authority is there and the other is not.
    #[error(
        "{missing} is missing beside the other file of the nodes' CA: restore it, or remove both \
         and have every node enrol again"
    )]
    HalfKept {
        /// The file that is not there.
        missing: PathBuf,
    },
    /// The pair cannot be read or kept.
    #[error("the nodes' CA {path}")]
    Pair {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: TlsError,
    },
    /// The certificate may not sign others.
    #[error(
        "{0} is not a certificate of an authority that may sign others (basicConstraints, keyUsage)"
    )]
    NoAuthority(PathBuf),
    /// Its time is over, or has not come.
    #[error(
        "the certificate of the nodes' CA is not valid now: renew {0}, and see that the clock is right"
    )]
    NotNow(PathBuf),
    /// The library refuses.
    #[error("a certificate cannot be signed")]
    Sign(#[from] rcgen::Error),
    /// The certificate that was signed cannot be used.
    #[error("the gateway's certificate cannot be used")]
    Unusable(#[from] rustls::Error),
}

impl From<OwnAuthorityError> for AuthorityError {
    fn from(error: OwnAuthorityError) -> Self {
        match error {
            OwnAuthorityError::Half(missing) => Self::HalfKept { missing },
            OwnAuthorityError::Tls {
                certificate,
                source,
            } => unusable(&certificate)(source),
        }
    }
}

/// The authority. Its key is a secret.
#[derive(Debug)]
pub struct NodeAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    path: PathBuf,
    validity: (i64, i64),
    trust_domain: TrustDomain,
    lifetime: Duration,
    clock_skew: Duration,
}

/// A certificate of a node.
#[derive(Debug, Clone)]
pub struct IssuedCertificate {
    /// The node's certificate, then the authority's.
    pub chain: Vec<CertificateDer<'static>>,
    /// The node that it names.
    pub node_uuid: String,
    /// When it ends.
    pub not_after: UnixTime,
}

impl NodeAuthority {
    /// The operator's authority, the kept one, or a new one that is kept.
    ///
    /// # Errors
    /// A file cannot be used or written.
    pub fn load(config: &ShimConfig, trust_domain: TrustDomain) -> Result<Self, AuthorityError> {
        let operators = certificate_and_key(
            ("nodes_ca_cert_file", config.nodes_ca_cert_file.as_deref()),
            ("nodes_ca_key_file", config.nodes_ca_key_file.as_deref()),
        )?;
        let (path, pair) = match operators {
            Some((certificate, key)) => {
                let pair = tls::load(certificate, key).map_err(unusable(certificate))?;
                (certificate.to_owned(), pair)
            }
            None => kept(config)?,
        };
        // Also whether the key is the certificate's.
        let certified = tls::certified_key(&pair).map_err(unusable(&path))?;
        let no_authority = || AuthorityError::NoAuthority(path.clone());
        let certificate = certified.cert.first().ok_or_else(no_authority)?.clone();
        let validity = authority_validity(&certificate).ok_or_else(no_authority)?;
        let key = KeyPair::from_pem(pair.key())?;
        Ok(Self {
            issuer: Issuer::from_ca_cert_der(&certificate, key)?,
            certificate,
            path,
            validity,
            trust_domain,
            lifetime: config.node_certificate_lifetime,
            clock_skew: config.auto_tls_allowed_clock_skew,
        })
    }

    /// The authority's certificate, in DER.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// What the names of nodes begin with.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// What certificates of nodes are verified with.
    ///
    /// # Errors
    /// The library refuses the authority.
    pub fn roots(&self) -> Result<RootCertStore, AuthorityError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        Ok(roots)
    }

    /// Signs the certificate of a node. It ends with the authority's own at the latest.
    ///
    /// # Errors
    /// The authority is not valid now.
    pub fn sign_node(
        &self,
        node_uuid: &str,
        key: &RequestedKey,
        now: UnixTime,
    ) -> Result<IssuedCertificate, AuthorityError> {
        let mut params = self.params(node_uuid, self.lifetime, now)?;
        let id = self.trust_domain.spiffe_id(node_uuid);
        params.subject_alt_names = vec![SanType::URI(id.try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let end = params.not_after.unix_timestamp();
        let signed = params.signed_by(key.public(), &self.issuer)?;
        Ok(IssuedCertificate {
            chain: vec![signed.der().clone(), self.certificate.clone()],
            node_uuid: node_uuid.to_owned(),
            not_after: UnixTime::since_unix_epoch(Duration::from_secs(
                u64::try_from(end).unwrap_or_default(),
            )),
        })
    }

    /// A certificate of this gateway's own listener, for a name or an address, with a new key.
    ///
    /// # Errors
    /// The authority is not valid now.
    pub fn sign_server(
        &self,
        host: &str,
        now: UnixTime,
    ) -> Result<Arc<CertifiedKey>, AuthorityError> {
        let mut params = self.params(host, SERVER_LIFETIME, now)?;
        params.subject_alt_names = CertificateParams::new(vec![host.to_owned()])?.subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let signed = params.signed_by(&key, &self.issuer)?;
        let chain = vec![signed.der().clone(), self.certificate.clone()];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes())
            .map_err(|_| rustls::Error::General("the key is not PEM".to_owned()))?;
        let provider = rustls::crypto::ring::default_provider();
        Ok(Arc::new(CertifiedKey::from_der(chain, key, &provider)?))
    }

    /// What all certificates say.
    fn params(
        &self,
        name: &str,
        lifetime: Duration,
        now: UnixTime,
    ) -> Result<CertificateParams, AuthorityError> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let (from, until) = self.validity;
        let not_now = || AuthorityError::NotNow(self.path.clone());
        if now < from || now >= until {
            return Err(not_now());
        }
        let time = |at| OffsetDateTime::from_unix_timestamp(at).map_err(|_| not_now());
        let mut params = CertificateParams::default();
        params.distinguished_name = tls::common_name(name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.serial_number = Some(serial_number());
        params.not_before = time(now.saturating_sub(seconds(self.clock_skew)).max(from))?;
        params.not_after = time(now.saturating_add(seconds(lifetime)).min(until))?;
        Ok(params)
    }
}

/// 122 random bits, positive.
fn serial_number() -> SerialNumber {
    let mut bytes = Uuid::new_v4().into_bytes();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn unusable(path: &std::path::Path) -> impl Fn(TlsError) -> AuthorityError {
    move |source| AuthorityError::Pair {
        path: path.to_owned(),
        source,
    }
}

/// From when until when an authority may sign others; `None` if it may not.
fn authority_validity(certificate: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let constraints = certificate.basic_constraints().ok()??;
    let usage = certificate.key_usage().ok()?;
    if !constraints.value.ca || usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return None;
    }
    let validity = certificate.validity();
    Some((
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    ))
}

/// The authority of an earlier start, or a new one that is kept.
fn kept(config: &ShimConfig) -> Result<(PathBuf, Pair), AuthorityError> {
    let (state, skew) = (&config.state_dir, config.auto_tls_allowed_clock_skew);
    let own =
        OwnAuthority::load_or_make(state, "nodes-ca", CA_NAME, &PKCS_ECDSA_P384_SHA384, skew)?;
    if own.is_new {
        info!(path = %own.certificate.display(), "a CA for the nodes was made: keep the state directory");
    }
    Ok((own.certificate, own.pair))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use rcgen::{BasicConstraints, DnType};
    use rustls::server::WebPkiClientVerifier;

    use super::*;

    const NODE: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
    const HOUR: u64 = 3600;

    fn config(state: &Path) -> ShimConfig {
        ShimConfig {
            state_dir: state.to_owned(),
            node_certificate_lifetime: Duration::from_secs(HOUR),
            ..ShimConfig::default()
        }
    }

    fn authority(config: &ShimConfig) -> Result<NodeAuthority, AuthorityError> {
        NodeAuthority::load(config, "gw.example".parse().unwrap())
    }

    fn key() -> RequestedKey {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["other.example".to_owned()]).unwrap();
        RequestedKey::of_csr(params.serialize_request(&key).unwrap().der()).unwrap()
    }

    fn after(now: UnixTime, seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs() + seconds))
    }

    #[test]
    fn a_node_is_believed_for_its_time_and_by_this_authority_alone() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ours = authority(&config(first.path())).unwrap();
        let other = authority(&config(second.path())).unwrap();
        let now = UnixTime::now();
        let issued = ours.sign_node(NODE, &key(), now).unwrap();
        assert_eq!(issued.not_after, after(now, HOUR));
        let named = ours.trust_domain().node_of(&issued.chain[0]).unwrap();
        assert_eq!(named.node_uuid, NODE);
        assert_eq!(named.not_after, issued.not_after);
        let is_believed = |by: &NodeAuthority, at: UnixTime| {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let roots = Arc::new(by.roots().unwrap());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = verifier.build().unwrap();
            verifier
                .verify_client_cert(&issued.chain[0], &issued.chain[1..], at)
                .is_ok()
        };
        assert!(is_believed(&ours, now) && is_believed(&ours, after(now, HOUR)));
        assert!(!is_believed(&ours, after(now, HOUR + 2)));
        assert!(!is_believed(&other, now));
        // After a restart it is the same authority.
        assert!(is_believed(&authority(&config(first.path())).unwrap(), now));
        // A node is no server, and a server no node.
        let server = ours.sign_server("127.0.0.1", now).unwrap();
        assert!(ours.trust_domain().node_of(&server.cert[0]).is_err());
    }

    #[test]
    fn nothing_outlives_its_authority() {
        let state = tempfile::tempdir().unwrap();
        let (certificate, key_file) = (state.path().join("ca.pem"), state.path().join("ca.key"));
        let write = |is_ca: IsCa, until: OffsetDateTime| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::default();
            params
                .distinguished_name
                .push(DnType::OrganizationName, "Größe");
            params.is_ca = is_ca;
            params.not_before = OffsetDateTime::now_utc() - Duration::from_secs(60);
            params.not_after = until;
            fs::write(&certificate, params.self_signed(&key).unwrap().pem()).unwrap();
            fs::write(&key_file, key.serialize_pem()).unwrap();
        };
        let config = ShimConfig {
            nodes_ca_cert_file: Some(certificate.clone()),
            nodes_ca_key_file: Some(key_file.clone()),
            ..config(state.path())
        };
        let soon = OffsetDateTime::now_utc() + Duration::from_secs(600);
        write(IsCa::Ca(BasicConstraints::Unconstrained), soon);
        let operators = authority(&config).unwrap();
        let now = UnixTime::now();
        let issued = operators.sign_node(NODE, &key(), now).unwrap();
        assert_eq!(
            i64::try_from(issued.not_after.as_secs()),
            Ok(soon.unix_timestamp())
        );
        let later = operators.sign_node(NODE, &key(), after(now, HOUR));
        assert!(matches!(later, Err(AuthorityError::NotNow(_))), "{later:?}");

        write(IsCa::NoCa, soon);
        let error = authority(&config).unwrap_err().to_string();
        assert!(
            error.contains("ca.pem is not a certificate of an authority"),
            "{error}"
        );
        let half = ShimConfig {
            nodes_ca_key_file: None,
            ..config
        };
        let error = authority(&half).unwrap_err().to_string();
        assert_eq!(
            error,
            "option nodes_ca_cert_file needs option nodes_ca_key_file beside it"
        );
    }

    #[test]
    fn half_of_an_authority_is_not_replaced_in_silence() {
        let state = tempfile::tempdir().unwrap();
        let config = config(state.path());
        authority(&config).unwrap();
        fs::remove_file(state.path().join("nodes-ca.key")).unwrap();
        let error = authority(&config).unwrap_err().to_string();
        assert!(error.contains("nodes-ca.key is missing"), "{error}");
    }
}
