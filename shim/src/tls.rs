//! TLS of the REST server: a certificate that is generated and given to Ironic, or the
//! operator's.
//!
//! The generated one is what the Python agent makes: self-signed, CN the host name, one
//! extension (critical, the address), an hour backdated because a node's clock may be
//! ahead, 30 days long. It is kept in the state directory, because Ironic refuses a node
//! whose certificate changes during a deployment.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ironic_program::state_file;
use ironic_transport::tls::{self, HalfPair, TlsSettingsError, TlsVersion};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SignatureAlgorithm,
};
use rustls::ServerConfig;
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use time::OffsetDateTime;
use tracing::{info, warn};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use crate::config::{Curve, ShimConfig};
use crate::metrics::CertificateEnd;

const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often a certificate is looked at that this program has signed.
const CHECK: Duration = Duration::from_secs(3600);
/// How long an authority of this program's own is valid.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Object identifier of the extension subjectAltName.
const SUBJECT_ALT_NAME: &[u64] = &[2, 5, 29, 17];

/// Why the REST server has no TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The pair holds no PEM of the right kind.
    #[error("the pair holds no usable {what}")]
    Pem {
        /// `certificate` or `private key`.
        what: &'static str,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// The certificate cannot be generated.
    #[error("cannot generate a certificate")]
    Generate(#[from] rcgen::Error),
    /// The options are unusable.
    #[error(transparent)]
    Settings(#[from] TlsSettingsError),
    /// Certificate, key and settings do not fit together.
    #[error("the REST server's TLS cannot be set up")]
    Library(#[from] rustls::Error),
}

/// A certificate and its key in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate, or a chain that begins with it.
    pub certificate: String,
    /// The key, PKCS#8. Secret.
    key: String,
}

impl Pair {
    /// A certificate and its key, both in PEM.
    #[must_use]
    pub fn new(certificate: String, key: String) -> Self {
        Self { certificate, key }
    }

    /// The key. Secret.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// What a generated certificate says.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The common name.
    pub host_name: String,
    /// The address that Ironic connects to.
    pub address: IpAddr,
    /// The key's curve. P-521 is not offered by the crypto library; P-384 stands in.
    pub curve: Curve,
    /// How far the beginning of its validity lies in the past.
    pub clock_skew: Duration,
}

/// The pair of an earlier life if it still fits, else a new one that is kept.
///
/// # Errors
/// The pair cannot be generated or kept.
pub fn load_or_generate(
    state: &Path,
    subject: &Subject,
    now: OffsetDateTime,
) -> Result<Pair, TlsError> {
    let certificate = state.join("agent.crt");
    let key = state.join("agent.key");
    if let (Ok(pem), Ok(secret)) = (fs::read_to_string(&certificate), fs::read_to_string(&key)) {
        let pair = Pair {
            certificate: pem,
            key: secret,
        };
        // A crash between the two files leaves a key that belongs to no certificate.
        let whole = server_config(&pair, TlsVersion::V1_3, None).is_ok();
        if whole && fits(&pair.certificate, subject, now) {
            info!(path = %certificate.display(), "the certificate of an earlier start is used");
            return Ok(pair);
        }
        warn!(path = %certificate.display(), "the certificate does not fit any more: a new one");
    }
    let pair = generate(subject, now)?;
    keep(&pair, &certificate, &key)?;
    Ok(pair)
}

/// Writes a pair into two files, the key first, and makes their directories.
///
/// # Errors
/// A file cannot be written.
pub fn keep(pair: &Pair, certificate: &Path, key: &Path) -> Result<(), TlsError> {
    for (path, text, mode) in [
        (key, &pair.key, 0o600),
        (certificate, &pair.certificate, 0o644),
    ] {
        let kept = state_file::replace_with_mode(path, text.as_bytes(), mode);
        kept.map_err(|source| TlsError::File {
            path: path.to_owned(),
            source,
        })?;
    }
    Ok(())
}

/// An authority of this program's own, which is kept in the state directory.
#[derive(Debug)]
pub struct OwnAuthority {
    /// Its certificate and key.
    pub pair: Pair,
    /// The file of the certificate.
    pub certificate: PathBuf,
    /// It was made at this start.
    pub is_new: bool,
}

/// Why there is no [`OwnAuthority`].
#[derive(Debug, Error)]
pub enum OwnAuthorityError {
    /// One of its two files is there and the other is not.
    #[error("{0} is missing beside the other file of the CA")]
    Half(PathBuf),
    /// It cannot be read, made or kept.
    #[error("the CA {certificate}")]
    Tls {
        /// The file of its certificate.
        certificate: PathBuf,
        /// Why.
        #[source]
        source: TlsError,
    },
}

impl OwnAuthority {
    /// The authority of an earlier start, or a new one that is kept as `STEM.crt` and `STEM.key`.
    ///
    /// # Errors
    /// It cannot be read, made or kept; a half is not replaced.
    pub fn load_or_make(
        state: &Path,
        stem: &str,
        name: &str,
        algorithm: &'static SignatureAlgorithm,
        clock_skew: Duration,
    ) -> Result<Self, OwnAuthorityError> {
        let certificate = state.join(format!("{stem}.crt"));
        let key = state.join(format!("{stem}.key"));
        let is_new = match (certificate.exists(), key.exists()) {
            (true, true) => false,
            (true, false) => return Err(OwnAuthorityError::Half(key)),
            // The key is written first: a crash in between has made nothing that anybody knows.
            (false, _) => true,
        };
        let pair = if is_new {
            make_authority(name, algorithm, clock_skew).and_then(|pair| {
                keep(&pair, &certificate, &key)?;
                Ok(pair)
            })
        } else {
            load(&certificate, &key)
        };
        match pair {
            Ok(pair) => Ok(Self {
                pair,
                certificate,
                is_new,
            }),
            Err(source) => Err(OwnAuthorityError::Tls {
                certificate,
                source,
            }),
        }
    }
}

fn make_authority(
    name: &str,
    algorithm: &'static SignatureAlgorithm,
    clock_skew: Duration,
) -> Result<Pair, TlsError> {
    let key = KeyPair::generate_for(algorithm)?;
    let now = OffsetDateTime::now_utc();
    let mut params = authority_params(name);
    params.not_before = now - clock_skew;
    params.not_after = now + AUTHORITY_LIFETIME;
    Ok(Pair::new(
        params.self_signed(&key)?.pem(),
        key.serialize_pem(),
    ))
}

/// What an own authority says of itself, but for its time.
#[must_use]
pub fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// The files of the operator's certificate and its key; `None` when neither is configured.
///
/// # Errors
/// Only one of them is configured.
pub fn configured_files(config: &ShimConfig) -> Result<Option<(&Path, &Path)>, HalfPair> {
    tls::certificate_and_key(
        ("tls_cert_file", config.tls_cert_file.as_deref()),
        ("tls_key_file", config.tls_key_file.as_deref()),
    )
}

/// The operator's pair.
///
/// # Errors
/// A file cannot be read.
pub fn load(certificate: &Path, key: &Path) -> Result<Pair, TlsError> {
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|source| TlsError::File {
            path: path.to_owned(),
            source,
        })
    };
    Ok(Pair {
        certificate: read(certificate)?,
        key: read(key)?,
    })
}

/// A new pair for `subject`, valid from `clock_skew` before `now` for 30 days.
///
/// # Errors
/// The crypto library refuses.
pub fn generate(subject: &Subject, now: OffsetDateTime) -> Result<Pair, TlsError> {
    let key = KeyPair::generate_for(algorithm(subject.curve))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(&subject.host_name);
    params.not_before = now - subject.clock_skew;
    params.not_after = now + LIFETIME;
    // rcgen writes the names as a non-critical extension; the Python agent's is critical.
    let mut names =
        CustomExtension::from_oid_content(SUBJECT_ALT_NAME, address_names(subject.address));
    names.set_criticality(true);
    params.custom_extensions = vec![names];
    let certificate = params.self_signed(&key)?;
    Ok(Pair {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// A distinguished name that consists of a common name.
pub fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

/// The signature algorithm of a generated key.
#[must_use]
pub fn algorithm(curve: Curve) -> &'static SignatureAlgorithm {
    match curve {
        Curve::P256 => &PKCS_ECDSA_P256_SHA256,
        Curve::P384 => &PKCS_ECDSA_P384_SHA384,
        Curve::P521 => {
            warn!("tls_certificate_curve = p521 is not offered: p384 is used");
            &PKCS_ECDSA_P384_SHA384
        }
    }
}

/// `SEQUENCE { [7] address }` in DER.
fn address_names(address: IpAddr) -> Vec<u8> {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    // 4 or 16 octets: every length fits one byte.
    let length = if octets.len() == 4 { 4 } else { 16 };
    let mut names = vec![0x30, length + 2, 0x87, length];
    names.extend(octets);
    names
}

/// The first certificate of a text in PEM.
#[must_use]
pub fn leaf(pem: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok()
}

/// From when until when a certificate is valid.
#[must_use]
pub fn validity(der: &[u8]) -> Option<Range<OffsetDateTime>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    Some(validity.not_before.to_datetime()..validity.not_after.to_datetime())
}

/// Has a certificate replaced that this program has signed: calls `renew` when the one that `shown`
/// answers has no more than `left` of its life, or is not valid yet. It is looked at each hour,
/// because the clock may jump. Never completes.
pub async fn keep_valid(
    left: Duration,
    shown: impl Fn() -> Option<CertificateDer<'static>>,
    renew: impl Fn(),
) {
    // Goal: a certificate that is valid by the clock as it is. Exit: the caller's.
    loop {
        tokio::time::sleep(CHECK).await;
        let validity = shown().and_then(|der| validity(&der));
        if validity.is_none_or(|validity| is_due(&validity, left, OffsetDateTime::now_utc())) {
            renew();
        }
    }
}

/// Whether a certificate of this program's own is to be replaced: little is left of its life, or a
/// clock that was set has made it one that is not valid yet.
fn is_due(validity: &Range<OffsetDateTime>, left: Duration, now: OffsetDateTime) -> bool {
    now < validity.start || now + left >= validity.end
}

/// When a certificate ends, by the clock as it is.
#[must_use]
pub fn end(name: &'static str, der: &[u8]) -> Option<CertificateEnd> {
    let left = validity(der)?.end - OffsetDateTime::now_utc();
    Some(CertificateEnd {
        name,
        ends_in_seconds: left.whole_seconds(),
    })
}

/// Whether a certificate is for this address and valid for another day.
fn fits(pem: &str, subject: &Subject, now: OffsetDateTime) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) else {
        return false;
    };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else {
        return false;
    };
    let validity = certificate.validity();
    let tomorrow = now + Duration::from_secs(24 * 3600);
    let valid = validity.not_before.timestamp() <= now.unix_timestamp()
        && validity.not_after.timestamp() >= tomorrow.unix_timestamp();
    let wanted = match subject.address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let named = certificate.extensions().iter().any(|extension| {
        matches!(extension.parsed_extension(), ParsedExtension::SubjectAlternativeName(names)
            if names.general_names.iter().any(|name| matches!(name, GeneralName::IPAddress(ip) if *ip == wanted)))
    });
    valid && named
}

/// The TLS settings of a REST server that always shows the same pair.
///
/// # Errors
/// The pair or the cipher suites are unusable.
pub fn server_config(
    pair: &Pair,
    oldest: TlsVersion,
    cipher_suites: Option<&str>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let key = SingleCertAndKey::from(Arc::unwrap_or_clone(certified_key(pair)?));
    server_config_by(Arc::new(key), oldest, cipher_suites)
}

/// The TLS settings of a REST server that shows what `certificates` says at each handshake.
///
/// # Errors
/// The cipher suites are unusable.
pub fn server_config_by(
    certificates: Arc<dyn ResolvesServerCert>,
    oldest: TlsVersion,
    cipher_suites: Option<&str>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let only_1_3 = oldest == TlsVersion::V1_3;
    let suites = tls::cipher_suites(cipher_suites.unwrap_or_default());
    let versions: &[_] = if only_1_3 {
        &[&rustls::version::TLS13]
    } else {
        &[&rustls::version::TLS13, &rustls::version::TLS12]
    };
    let mut config =
        ServerConfig::builder_with_provider(Arc::new(tls::provider(&suites, only_1_3)?))
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A pair as handshakes need it.
///
/// # Errors
/// It is not PEM, or the key is not the certificate's.
pub fn certified_key(pair: &Pair) -> Result<Arc<CertifiedKey>, TlsError> {
    let unusable = |what| move |source| TlsError::Pem { what, source };
    let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(unusable("certificate"))?;
    let key =
        PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(unusable("private key"))?;
    let provider = rustls::crypto::ring::default_provider();
    Ok(Arc::new(CertifiedKey::from_der(chain, key, &provider)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(address: &str) -> Subject {
        Subject {
            host_name: "node-1".into(),
            address: address.parse().unwrap(),
            curve: Curve::P384,
            clock_skew: Duration::from_secs(3600),
        }
    }

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_790_000_000).unwrap()
    }

    #[test]
    fn a_certificate_is_due_before_its_end_and_when_the_clock_was_set_back() {
        let (made, day) = (now(), Duration::from_secs(24 * 3600));
        let validity = made - day / 24..made + 90 * day;
        for (now, due) in [
            (made, false),
            (made + 59 * day, false),
            (made + 60 * day, true),
            (made + 180 * day, true),
            (made - day, true),
            (made - day * 400, true),
        ] {
            assert_eq!(is_due(&validity, 30 * day, now), due, "{now}");
        }
    }

    #[test]
    fn the_certificate_is_the_python_agents() {
        for address in ["10.0.0.7", "fc00:1111::4"] {
            let pair = generate(&subject(address), now()).unwrap();
            let der = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
            let (_, certificate) = X509Certificate::from_der(&der).unwrap();
            assert_eq!(certificate.subject().to_string(), "CN=node-1");
            assert_eq!(certificate.subject(), certificate.issuer());
            let validity = certificate.validity();
            assert_eq!(
                validity.not_before.timestamp(),
                now().unix_timestamp() - 3600
            );
            assert_eq!(
                validity.not_after.timestamp(),
                now().unix_timestamp() + 30 * 86400
            );
            let extensions = certificate.extensions();
            assert_eq!(extensions.len(), 1, "{extensions:?}");
            assert!(extensions[0].critical);
            assert!(fits(&pair.certificate, &subject(address), now()));
            // secp384r1: an uncompressed point of 97 bytes.
            assert_eq!(certificate.public_key().subject_public_key.data.len(), 97);
            server_config(&pair, TlsVersion::V1_3, None).unwrap();
        }
    }

    #[test]
    fn the_key_has_the_configured_curve() {
        // An uncompressed point: one byte and two coordinates. P-384 stands in for P-521.
        for (curve, bytes) in [(Curve::P256, 65), (Curve::P384, 97), (Curve::P521, 97)] {
            let subject = Subject {
                curve,
                ..subject("10.0.0.7")
            };
            let pair = generate(&subject, now()).unwrap();
            let der = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
            let (_, certificate) = X509Certificate::from_der(&der).unwrap();
            let key = &certificate.public_key().subject_public_key;
            assert_eq!(key.data.len(), bytes);
        }
    }

    #[test]
    fn a_restart_keeps_the_certificate_until_it_does_not_fit() {
        let state = tempfile::tempdir().unwrap();
        let first = load_or_generate(state.path(), &subject("10.0.0.7"), now()).unwrap();
        let again = load_or_generate(state.path(), &subject("10.0.0.7"), now()).unwrap();
        assert_eq!(first, again);
        let moved = load_or_generate(state.path(), &subject("10.0.0.8"), now()).unwrap();
        assert_ne!(first, moved);
        let late = now() + Duration::from_secs(29 * 86400 + 1);
        assert_ne!(
            moved,
            load_or_generate(state.path(), &subject("10.0.0.8"), late).unwrap()
        );

        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(state.path().join("agent.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn unknown_cipher_suites_are_named() {
        let pair = generate(&subject("10.0.0.7"), now()).unwrap();
        let error = server_config(&pair, TlsVersion::V1_2, Some("ROT13")).unwrap_err();
        assert!(error.to_string().contains("ROT13"), "{error}");
        server_config(
            &pair,
            TlsVersion::V1_2,
            Some("ECDHE-ECDSA-AES256-GCM-SHA384:ROT13"),
        )
        .unwrap();
    }
}
