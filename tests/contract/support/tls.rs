//! A TLS client that believes one certificate, as the conductor does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Connects, verifying with `pem` as the only authority and the address as the name.
pub(crate) async fn connect(
    address: SocketAddr,
    pem: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(authority(pem))
        .with_no_client_auth();
    let peer = TcpStream::connect(address).await?;
    let name = ServerName::IpAddress(address.ip().into());
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, peer);
    let handshake = tokio::time::timeout(TIMEOUT, handshake).await;
    handshake.expect("nobody speaks TLS there")
}

/// Long for loopback; a test that waits so long has failed.
const TIMEOUT: Duration = Duration::from_secs(20);

fn authority(pem: &str) -> RootCertStore {
    let mut store = RootCertStore::empty();
    store
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    store
}

/// Whether a conductor whose clock shows `now` would believe the certificate.
pub(crate) fn is_believed(pem: &str, address: SocketAddr, now: UnixTime) -> bool {
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(authority(pem)), provider)
        .build()
        .unwrap();
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let name = ServerName::IpAddress(address.ip().into());
    verifier
        .verify_server_cert(&certificate, &[], &name, &[], now)
        .is_ok()
}

/// `GET /` over an open connection, which the shim answers without its agent.
pub(crate) async fn root<S>(mut peer: S) -> std::io::Result<String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    peer.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(TIMEOUT, peer.read_to_end(&mut answer));
    reading.await.expect("no answer came")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// An authority for a test.
pub(crate) struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    /// Its certificate.
    pub(crate) pem: String,
}

/// A certificate and its key.
pub(crate) struct Signed {
    /// The certificate in PEM.
    pub(crate) pem: String,
    /// The key in PEM.
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![
            rcgen::KeyUsagePurpose::KeyCertSign,
            rcgen::KeyUsagePurpose::CrlSign,
        ];
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = rcgen::Issuer::new(params, key);
        Self { issuer, pem }
    }

    /// For a server or a client at the loopback address.
    pub(crate) fn sign(&self) -> Signed {
        self.sign_until(4096)
    }

    /// The same, valid until the beginning of a year.
    pub(crate) fn sign_until(&self, year: i32) -> Signed {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned()];
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        // The default is the name of the authority, too: OpenSSL would take it for self-signed.
        let mut name = rcgen::DistinguishedName::new();
        name.push(rcgen::DnType::CommonName, "loopback");
        params.distinguished_name = name;
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Signed {
            pem,
            key: key.serialize_pem(),
        }
    }
}

impl Authority {
    /// For a person or a program: a subject, and a SPIFFE ID if it is not empty.
    pub(crate) fn sign_caller(&self, subject: &[(rcgen::DnType, &str)], spiffe: &str) -> Signed {
        self.sign_numbered(subject, spiffe, 1)
    }

    /// The same with a serial number.
    pub(crate) fn sign_numbered(
        &self,
        subject: &[(rcgen::DnType, &str)],
        spiffe: &str,
        serial: u16,
    ) -> Signed {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        if !spiffe.is_empty() {
            let uri = rcgen::SanType::URI(spiffe.try_into().unwrap());
            params.subject_alt_names = vec![uri];
        }
        params.serial_number = Some(rcgen::SerialNumber::from(u64::from(serial)));
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Signed {
            pem,
            key: key.serialize_pem(),
        }
    }

    /// The list of revoked certificates, by serial number.
    pub(crate) fn revoke(&self, serials: &[u16]) -> String {
        self.revoke_until(serials, 4096)
    }

    /// The same, whose next update is due when this year begins.
    pub(crate) fn revoke_until(&self, serials: &[u16], year: i32) -> String {
        let revoked = |serial: &u16| rcgen::RevokedCertParams {
            serial_number: rcgen::SerialNumber::from(u64::from(*serial)),
            revocation_time: rcgen::date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(year, 1, 1),
            crl_number: rcgen::SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// A certificate for the loopback address that is marked as an authority.
pub(crate) fn self_signed_authority() -> Signed {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    Signed {
        pem,
        key: key.serialize_pem(),
    }
}

/// A server's TLS, and the PEM of the authority that vouches for it.
pub(crate) fn server() -> (TlsAcceptor, String) {
    let authority = Authority::new();
    let signed = authority.sign();
    (acceptor(&signed), authority.pem)
}

/// A server that shows this certificate.
pub(crate) fn acceptor(signed: &Signed) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(signed.pem.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(signed.key.as_bytes()).unwrap(),
        )
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
