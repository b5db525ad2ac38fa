//! What the gateway's REST server shows: the operator's certificate, or one of a CA of its own.
//!
//! A CA is made at the first start and kept in the state directory. Ironic is given the CA and
//! never the certificate that it signs, which changes: Ironic refuses a node whose
//! `agent_verify_ca` does.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ironic_transport::tls::HalfPair;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use thiserror::Error;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{Curve, GatewayUrl, ShimConfig};
use crate::metrics::CertificateEnd;
use crate::tls::{self, OwnAuthority, OwnAuthorityError, Pair, TlsError};

/// The common name of the CA. Certificates name their issuer by it.
const CA_NAME: &str = "ironic-shim gateway CA";
/// A certificate of the own CA lives so long, and is replaced when so much is left of it.
const LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);
const LEFT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Why the gateway has no certificate.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// One half of certificate and key is configured.
    #[error(transparent)]
    Half(#[from] HalfPair),
    /// Both are configured, and the gateway does not speak TLS.
    #[error("gateway_url is {0}: certificates need an https:// address")]
    NotTls(GatewayUrl),
    /// The file of the operator's CA cannot be read.
    #[error("option gateway_ca_file: cannot read {path}")]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file of the operator's CA holds no certificate.
    #[error("option gateway_ca_file: {0} holds no certificate in PEM")]
    NoAuthority(PathBuf),
    /// One file of the kept CA is there and the other is not.
    #[error(
        "{missing} is missing beside the other file of the CA: restore it, or remove both and have every node deployed anew"
    )]
    HalfAuthority {
        /// The file that is not there.
        missing: PathBuf,
    },
    /// Certificate and key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A certificate cannot be made.
    #[error("cannot generate the gateway's certificate")]
    Generate(#[from] rcgen::Error),
}

impl From<OwnAuthorityError> for CertificateError {
    fn from(error: OwnAuthorityError) -> Self {
        match error {
            OwnAuthorityError::Half(missing) => Self::HalfAuthority { missing },
            OwnAuthorityError::Tls { source, .. } => Self::Tls(source),
        }
    }
}

/// The certificate of the REST server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ServerCertificate(Arc<CertificateState>);

#[derive(Debug)]
struct CertificateState {
    source: CertificateSource,
    /// What Ironic is given; each session of an agent holds it.
    verify_ca: Option<Arc<str>>,
    current: Arc<CurrentCertificate>,
}

/// Where the certificate comes from.
#[derive(Debug)]
enum CertificateSource {
    Operator {
        certificate: PathBuf,
        key: PathBuf,
        /// The CA that Ironic is given, in PEM.
        authority: Option<String>,
    },
    Own {
        authority: Pair,
        /// It was made at this start.
        is_new: bool,
        url: GatewayUrl,
        curve: Curve,
        clock_skew: Duration,
    },
}

/// The certificate that handshakes show from now on.
#[derive(Debug)]
struct CurrentCertificate(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Every change is one assignment.
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}

impl ServerCertificate {
    /// The certificate for this URL; none where it is not https.
    ///
    /// # Errors
    /// The operator's files cannot be used, or the own CA cannot be kept.
    pub fn of(url: &GatewayUrl, config: &ShimConfig) -> Result<Option<Self>, CertificateError> {
        let source = match tls::configured_files(config)? {
            Some(_) if !url.is_https() => return Err(CertificateError::NotTls(url.clone())),
            Some((certificate, key)) => CertificateSource::Operator {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
                authority: operators_authority(config)?,
            },
            None if !url.is_https() => return Ok(None),
            None => {
                let (authority, is_new) = load_or_make_authority(config)?;
                CertificateSource::Own {
                    authority,
                    is_new,
                    url: url.clone(),
                    curve: config.tls_certificate_curve,
                    clock_skew: config.auto_tls_allowed_clock_skew,
                }
            }
        };
        let current = source.issue()?;
        let verify_ca = match &source {
            CertificateSource::Operator { authority, .. } => authority.as_deref(),
            CertificateSource::Own { authority, .. } => Some(authority.certificate.as_str()),
        };
        Ok(Some(Self(Arc::new(CertificateState {
            verify_ca: verify_ca.map(Arc::from),
            source,
            current: Arc::new(CurrentCertificate(RwLock::new(current))),
        }))))
    }

    /// What Ironic verifies the certificate with; `None` where the conductor's own CAs do.
    #[must_use]
    pub fn verify_ca(&self) -> Option<Arc<str>> {
        self.0.verify_ca.clone()
    }

    /// Says what to do where several gateways share their nodes and this one has just made a CA
    /// of its own.
    pub fn warn_if_unshared(&self) {
        if let CertificateSource::Own { is_new: true, .. } = &self.0.source {
            warn!(
                "this gateway has made a CA, and all gateways must give Ironic the same one: stop \
                 the others, copy gateway-ca.crt and gateway-ca.key from this state_dir into \
                 theirs, and start them again; or give all the same tls_cert_file and gateway_ca_file"
            );
        }
    }

    /// For the handshakes of the server.
    #[must_use]
    pub fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::clone(&self.0.current) as Arc<dyn ResolvesServerCert>
    }

    /// Reads the operator's files again, or signs a new certificate. [`apply`](Self::apply) makes
    /// it count.
    ///
    /// # Errors
    /// The files cannot be used.
    pub fn issue(&self) -> Result<Arc<CertifiedKey>, CertificateError> {
        self.0.source.issue()
    }

    /// Handshakes show this certificate from now on.
    pub fn apply(&self, new: Arc<CertifiedKey>) {
        let current = &self.0.current.0;
        *current.write().unwrap_or_else(PoisonError::into_inner) = new;
        info!("the REST server shows its certificate as it is now");
    }

    /// When what Ironic is shown ends: the certificate, and the own CA.
    #[must_use]
    pub fn ends(&self) -> Vec<CertificateEnd> {
        let own = match &self.0.source {
            CertificateSource::Operator { .. } => None,
            CertificateSource::Own { authority, .. } => tls::leaf(&authority.certificate),
        };
        let shown = self.shown();
        let shown = shown.as_deref().and_then(|der| tls::end("rest", der));
        let authority = own.as_deref().and_then(|der| tls::end("gateway_ca", der));
        shown.into_iter().chain(authority).collect()
    }

    /// The certificate that handshakes show.
    fn shown(&self) -> Option<CertificateDer<'static>> {
        let current = self.0.current.0.read();
        let current = current.unwrap_or_else(PoisonError::into_inner);
        current.cert.first().cloned()
    }

    /// Replaces the certificates of the own CA before they end.
    pub async fn renew_until(self, stop: CancellationToken) {
        if matches!(self.0.source, CertificateSource::Operator { .. }) {
            return;
        }
        let renew = || match self.issue() {
            Ok(new) => self.apply(new),
            Err(error) => warn!(
                error = &error as &dyn std::error::Error,
                "no new certificate"
            ),
        };
        let keeping = tls::keep_valid(LEFT, || self.shown(), renew);
        stop.run_until_cancelled(keeping).await;
    }
}

impl CertificateSource {
    fn issue(&self) -> Result<Arc<CertifiedKey>, CertificateError> {
        let pair = match self {
            Self::Operator {
                certificate, key, ..
            } => tls::load(certificate, key)?,
            Self::Own {
                authority,
                url,
                curve,
                clock_skew,
                ..
            } => {
                let key = KeyPair::generate_for(tls::algorithm(*curve))?;
                sign(authority, url, &key, *clock_skew)?
            }
        };
        Ok(tls::certified_key(&pair)?)
    }
}

fn operators_authority(config: &ShimConfig) -> Result<Option<String>, CertificateError> {
    let Some(path) = &config.gateway_ca_file else {
        return Ok(None);
    };
    let text = fs::read_to_string(path).map_err(|source| CertificateError::Authority {
        path: path.clone(),
        source,
    })?;
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        return Err(CertificateError::NoAuthority(path.clone()));
    }
    Ok(Some(text))
}

/// The CA of an earlier start, or a new one that is kept; and whether it is new.
fn load_or_make_authority(config: &ShimConfig) -> Result<(Pair, bool), CertificateError> {
    let algorithm = tls::algorithm(config.tls_certificate_curve);
    let skew = config.auto_tls_allowed_clock_skew;
    let own =
        OwnAuthority::load_or_make(&config.state_dir, "gateway-ca", CA_NAME, algorithm, skew)?;
    if own.is_new {
        info!(path = %own.certificate.display(), "a CA for this gateway was made: keep the state directory");
    }
    Ok((own.pair, own.is_new))
}

/// A certificate for the host of a URL, signed by the own CA.
fn sign(
    authority: &Pair,
    url: &GatewayUrl,
    key: &KeyPair,
    clock_skew: Duration,
) -> Result<Pair, CertificateError> {
    let issuer = Issuer::new(
        tls::authority_params(CA_NAME),
        KeyPair::from_pem(authority.key())?,
    );
    let mut params = CertificateParams::new(vec![url.host().to_owned()])?;
    params.distinguished_name = tls::common_name(url.host());
    params.use_authority_key_identifier_extension = true;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = OffsetDateTime::now_utc();
    params.not_before = now - clock_skew;
    params.not_after = now + LIFETIME;
    let certificate = params.signed_by(key, &issuer)?;
    Ok(Pair::new(certificate.pem(), key.serialize_pem()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(state: &Path) -> ShimConfig {
        ShimConfig {
            state_dir: state.to_owned(),
            ..ShimConfig::default()
        }
    }

    fn url(text: &str) -> GatewayUrl {
        text.parse().unwrap()
    }

    fn shown(certificate: &ServerCertificate) -> Vec<u8> {
        certificate.shown().unwrap().to_vec()
    }

    #[test]
    fn ironic_is_given_the_ca_which_outlives_certificates_and_restarts() {
        let state = tempfile::tempdir().unwrap();
        let config = config(state.path());
        for address in [
            "https://gw.example:9999",
            "https://192.0.2.7",
            "https://[2001:db8::1]:1",
        ] {
            let certificate = ServerCertificate::of(&url(address), &config)
                .unwrap()
                .unwrap();
            let authority = certificate.verify_ca().unwrap();
            let before = shown(&certificate);
            certificate.apply(certificate.issue().unwrap());
            assert_ne!(shown(&certificate), before, "a new certificate");
            assert_eq!(certificate.verify_ca().unwrap(), authority);
            let again = ServerCertificate::of(&url(address), &config)
                .unwrap()
                .unwrap();
            assert_eq!(again.verify_ca().unwrap(), authority);

            // What Ironic's client does: verify the certificate with the CA, for the host.
            use rustls::pki_types::pem::PemObject;
            use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
            let mut roots = rustls::RootCertStore::empty();
            let authority = CertificateDer::from_pem_slice(authority.as_bytes()).unwrap();
            roots.add(authority).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(
                Arc::new(roots),
                provider,
            );
            let leaf = CertificateDer::from(shown(&certificate));
            let verify = |host: &str| {
                use rustls::client::danger::ServerCertVerifier;
                let verifier = verifier.clone().build().unwrap();
                let name = ServerName::try_from(host.to_owned()).unwrap();
                verifier.verify_server_cert(&leaf, &[], &name, &[], UnixTime::now())
            };
            verify(url(address).host()).unwrap();
            assert!(verify("other.example").is_err());
        }
    }

    #[test]
    fn the_curve_is_the_one_of_the_options() {
        for (curve, bits) in [(Curve::P256, 256), (Curve::P384, 384)] {
            let state = tempfile::tempdir().unwrap();
            let config = ShimConfig {
                tls_certificate_curve: curve,
                ..config(state.path())
            };
            let address = url("https://gw.example");
            let certificate = ServerCertificate::of(&address, &config).unwrap().unwrap();
            let authority = certificate.verify_ca().unwrap();
            let authority = tls::leaf(&authority).unwrap();
            for der in [shown(&certificate), authority.to_vec()] {
                use x509_parser::prelude::{FromDer, X509Certificate};
                let (_, parsed) = X509Certificate::from_der(&der).unwrap();
                let key = parsed.public_key().parsed().unwrap();
                assert_eq!(key.key_size(), bits, "{curve:?}");
            }
            let ends = certificate.ends();
            let names: Vec<_> = ends.iter().map(|end| end.name).collect();
            assert_eq!(names, ["rest", "gateway_ca"]);
            let ninety_days = i64::try_from(LIFETIME.as_secs()).unwrap();
            assert!(
                (ninety_days - ends[0].ends_in_seconds).abs() < 60,
                "{ends:?}"
            );
        }
    }

    #[test]
    fn half_of_a_ca_is_not_replaced_in_silence() {
        let state = tempfile::tempdir().unwrap();
        let config = config(state.path());
        let address = url("https://gw.example");
        ServerCertificate::of(&address, &config).unwrap();
        fs::remove_file(state.path().join("gateway-ca.key")).unwrap();
        let error = ServerCertificate::of(&address, &config).unwrap_err();
        assert!(
            error.to_string().contains("gateway-ca.key is missing"),
            "{error}"
        );
    }

    #[test]
    fn the_operators_files_are_read_again_and_kept_when_they_are_damaged() {
        let state = tempfile::tempdir().unwrap();
        let (certificate_file, key_file) = (state.path().join("c.pem"), state.path().join("k.pem"));
        let replace = || {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec!["gw.example".to_owned()]).unwrap();
            let pem = params.self_signed(&key).unwrap().pem();
            fs::write(&certificate_file, &pem).unwrap();
            fs::write(&key_file, key.serialize_pem()).unwrap();
            pem
        };
        let authority = replace();
        let ca_file = state.path().join("ca.pem");
        fs::write(&ca_file, &authority).unwrap();
        let config = ShimConfig {
            tls_cert_file: Some(certificate_file.clone()),
            tls_key_file: Some(key_file.clone()),
            gateway_ca_file: Some(ca_file),
            ..config(state.path())
        };
        let certificate = ServerCertificate::of(&url("https://gw.example"), &config);
        let certificate = certificate.unwrap().unwrap();
        assert_eq!(*certificate.verify_ca().unwrap(), *authority);
        let before = shown(&certificate);
        replace();
        certificate.apply(certificate.issue().unwrap());
        let after = shown(&certificate);
        assert_ne!(before, after);
        fs::write(&certificate_file, "nothing").unwrap();
        certificate.issue().unwrap_err();
        assert_eq!(shown(&certificate), after);
    }

    #[test]
    fn what_does_not_fit_the_url_is_refused() {
        let state = tempfile::tempdir().unwrap();
        let plain = url("http://gw.example");
        let config = config(state.path());
        assert!(ServerCertificate::of(&plain, &config).unwrap().is_none());
        let half = ShimConfig {
            tls_cert_file: Some("/c".into()),
            ..config.clone()
        };
        let half = ServerCertificate::of(&plain, &half).unwrap_err();
        assert!(matches!(half, CertificateError::Half(_)), "{half}");
        let both = ShimConfig {
            tls_cert_file: Some("/c".into()),
            tls_key_file: Some("/k".into()),
            ..config
        };
        let both = ServerCertificate::of(&plain, &both).unwrap_err();
        assert!(matches!(both, CertificateError::NotTls(_)), "{both}");
    }
}
