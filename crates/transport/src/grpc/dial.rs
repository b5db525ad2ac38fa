//! Connects to a gRPC server: TCP, TLS with a certificate of our own, or a socket of the file
//! system.
//!
//! TLS is done here and not by tonic, because its connect timeout covers TCP only: a server
//! that accepts and stays mute would hang the handshake forever.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UdpSocket, UnixStream};
use tokio_rustls::TlsConnector;

use super::{TlsFiles, TlsOptionNames};
use crate::Endpoint;
use crate::tls::{AuthorityPin, ClientCertificate, HalfPair, PinnedAuthority, ServerClock};

/// How long one of several addresses of a name may take to accept.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_secs(3);

/// Why an address can never be connected to like this.
#[derive(Debug, Error)]
pub enum InvalidEndpoint {
    /// Not a URL with a host.
    #[error(
        "{0} is not an address to connect to: expected http://HOST:PORT, https://HOST:PORT or unix:/PATH"
    )]
    Url(String),
    /// There is nothing to verify the server's certificate with.
    #[error("{url} needs {option}: without it the server's certificate cannot be verified")]
    NoAuthority {
        /// The address.
        url: String,
        /// The option that would name the authorities.
        option: &'static str,
    },
    /// The authority is given twice.
    #[error("grpc_tls_ca_file and conductor_ca_sha256 both say whom to believe: keep one of them")]
    TwoAuthorities,
    /// One half of certificate and key is configured.
    #[error(transparent)]
    Half(#[from] HalfPair),
    /// A file that does not hold what it should.
    #[error("option {option}: {path} cannot be used")]
    File {
        /// The option that names it.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Certificates that TLS does not take.
    #[error(
        "the files of options {}, {} and {} do not fit",
        .options.authorities,
        .options.certificate,
        .options.key
    )]
    Tls {
        /// The options that name the files.
        options: TlsOptionNames,
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

/// How a client verifies its server, and who it is itself.
#[derive(Debug, Clone, Default)]
pub struct ClientTls {
    /// Authorities of the server, and a certificate that does not change.
    pub files: TlsFiles,
    /// The options that name the files, for errors.
    pub options: TlsOptionNames,
    /// The server's authority by its digest, in place of a file: option `conductor_ca_sha256`.
    pub pin: Option<AuthorityPin>,
    /// What the dates of a server with a pinned authority are compared with.
    pub clock: ServerClock,
    /// What the client shows when `files` has no certificate.
    pub certificate: ClientCertificate,
}

/// Any byte stream that HTTP/2 runs on.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// Connects to one server, again and again. Everything that can fail for good was looked at when
/// it was made.
#[derive(Clone)]
pub struct Dialer {
    endpoint: Endpoint,
    destination: Destination,
}

#[derive(Clone)]
enum Destination {
    Tcp {
        host: String,
        port: u16,
        tls: Option<(TlsConnector, ServerName<'static>)>,
    },
    Unix(PathBuf),
}

impl Dialer {
    /// Reads the address and the files for TLS.
    ///
    /// # Errors
    /// One of them makes no sense.
    pub fn new(endpoint: &Endpoint, files: &TlsFiles) -> Result<Self, InvalidEndpoint> {
        let tls = ClientTls {
            files: files.clone(),
            ..ClientTls::default()
        };
        Self::with(endpoint, &tls)
    }

    /// The same with a pinned authority and a certificate that changes.
    ///
    /// # Errors
    /// One of them makes no sense.
    pub fn with(endpoint: &Endpoint, tls: &ClientTls) -> Result<Self, InvalidEndpoint> {
        Ok(Self {
            endpoint: endpoint.clone(),
            destination: Destination::new(endpoint, tls)?,
        })
    }

    /// The address that it was made of.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Host and port as a URL, for the head of requests. Its scheme says nothing.
    #[must_use]
    pub fn authority(&self) -> Uri {
        match &self.destination {
            Destination::Tcp { host, port, .. } => {
                let bracketed = if host.contains(':') {
                    format!("http://[{host}]:{port}")
                } else {
                    format!("http://{host}:{port}")
                };
                bracketed
                    .parse()
                    .unwrap_or_else(|_| Uri::from_static("http://server"))
            }
            Destination::Unix(_) => Uri::from_static("http://localhost"),
        }
    }

    /// The address from which this machine reaches the server; `None` over a socket in the file
    /// system. Nothing is sent.
    ///
    /// # Errors
    /// The name is unknown, or no route leads there.
    pub async fn source_address(&self) -> io::Result<Option<IpAddr>> {
        let Destination::Tcp { host, port, .. } = &self.destination else {
            return Ok(None);
        };
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in tokio::net::lookup_host((host.as_str(), *port)).await? {
            let any: IpAddr = match address {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            // A UDP socket that is connected knows the source address of the route.
            let socket = UdpSocket::bind((any, 0)).await?;
            match socket.connect(address).await {
                Ok(()) => return socket.local_addr().map(|local| Some(local.ip())),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Connects to the first address that accepts, within `timeout`, TLS included. `order` may
    /// rearrange the addresses of a name that has several.
    ///
    /// # Errors
    /// Nobody accepts, or not in time.
    pub async fn dial(
        &self,
        timeout: Duration,
        order: impl FnOnce(&mut [SocketAddr]),
    ) -> io::Result<Box<dyn Socket>> {
        tokio::time::timeout(timeout, self.destination.dial(order))
            .await
            .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Dialer")
            .field(&self.endpoint)
            .finish()
    }
}

impl Destination {
    fn new(endpoint: &Endpoint, settings: &ClientTls) -> Result<Self, InvalidEndpoint> {
        let (url, default_port, tls) = match endpoint {
            Endpoint::Unix(path) => return Ok(Self::Unix(path.clone())),
            Endpoint::Http(url) => (url, 80, false),
            Endpoint::Https(url) => (url, 443, true),
        };
        let invalid = || InvalidEndpoint::Url(url.clone());
        let uri: Uri = url.parse().map_err(|_| invalid())?;
        let host = uri.host().ok_or_else(invalid)?;
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let tls = if tls {
            let name = ServerName::try_from(host.clone()).map_err(|_| invalid())?;
            Some((client_connector(url, settings)?, name))
        } else {
            None
        };
        Ok(Self::Tcp {
            host,
            port: uri.port_u16().unwrap_or(default_port),
            tls,
        })
    }

    async fn dial(&self, order: impl FnOnce(&mut [SocketAddr])) -> io::Result<Box<dyn Socket>> {
        match self {
            Self::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Self::Tcp { host, port, tls } => {
                let found = tokio::net::lookup_host((host.as_str(), *port)).await?;
                let mut addresses: Vec<_> = found.collect();
                order(&mut addresses);
                let stream = connect_to_any(&addresses).await?;
                stream.set_nodelay(true)?;
                Ok(match tls {
                    None => Box::new(stream),
                    Some((tls, name)) => Box::new(tls.connect(name.clone(), stream).await?),
                })
            }
        }
    }
}

/// One address that is down must not use up the time of the others.
async fn connect_to_any(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (at, address) in addresses.iter().enumerate() {
        let connecting = TcpStream::connect(address);
        let is_last = at + 1 == addresses.len();
        let connected = if is_last {
            connecting.await
        } else {
            let connected = tokio::time::timeout(NEXT_ADDRESS_AFTER, connecting).await;
            connected.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Connects by TLS to the server at `url`, which is named in errors.
///
/// # Errors
/// The files cannot be used, or say nothing about whom to believe.
pub fn client_connector(url: &str, tls: &ClientTls) -> Result<TlsConnector, InvalidEndpoint> {
    let (files, options) = (&tls.files, &tls.options);
    let unfit = |source| InvalidEndpoint::Tls {
        options: *options,
        source,
    };
    // The provider is named: a default for the process is set only where programs start.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clock: Arc<dyn TimeProvider> = match tls.pin {
        Some(_) => Arc::new(tls.clock.clone()),
        None => Arc::new(DefaultTimeProvider),
    };
    let builder = rustls::ClientConfig::builder_with_details(Arc::clone(&provider), clock)
        .with_safe_default_protocol_versions()
        .map_err(unfit)?;
    let builder = match (&files.authorities, tls.pin) {
        (None, None) => {
            return Err(InvalidEndpoint::NoAuthority {
                url: url.to_owned(),
                option: options.authorities,
            });
        }
        (Some(_), Some(_)) => return Err(InvalidEndpoint::TwoAuthorities),
        (Some(file), None) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in certificates(options.authorities, file)? {
                roots.add(certificate).map_err(unfit)?;
            }
            builder.with_root_certificates(roots)
        }
        (None, Some(pin)) => {
            let verifier = PinnedAuthority::new(pin, tls.clock.clone(), provider);
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    let mut config = match files.identity(options)? {
        None => builder.with_client_cert_resolver(Arc::new(tls.certificate.clone())),
        Some((certificate, key)) => {
            let chain = certificates(options.certificate, certificate)?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|source| unusable(options.key, key, source))?;
            builder.with_client_auth_cert(chain, key).map_err(unfit)?
        }
    };
    // A resumed session would go on with the certificate of the one before it.
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(
    option: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, InvalidEndpoint> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|source| unusable(option, path, source))
}

fn unusable(
    option: &'static str,
    path: &Path,
    source: rustls::pki_types::pem::Error,
) -> InvalidEndpoint {
    InvalidEndpoint::File {
        option,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_never_connect_is_named() {
        let endpoint = |text: &str| text.parse::<Endpoint>().unwrap();
        let refused = |text: &str, files: TlsFiles| {
            Dialer::new(&endpoint(text), &files)
                .err()
                .map(|error| error.to_string())
        };
        let none = TlsFiles::default;
        assert_eq!(refused("http://127.0.0.1:9998", none()), None);
        assert_eq!(refused("unix:/run/agent.sock", none()), None);
        assert_eq!(
            refused("https://127.0.0.1:9998", none()).unwrap(),
            "https://127.0.0.1:9998 needs grpc_tls_ca_file: without it the server's certificate cannot be verified"
        );
        let absent = TlsFiles {
            authorities: Some("/nonexistent/ca.pem".into()),
            ..none()
        };
        assert_eq!(
            refused("https://[::1]:9998", absent).unwrap(),
            "option grpc_tls_ca_file: /nonexistent/ca.pem cannot be used"
        );
    }

    #[test]
    fn half_an_identity_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        std::fs::write(&ca, certificate.pem()).unwrap();
        let files = TlsFiles {
            authorities: Some(ca.clone()),
            certificate: Some(ca),
            key: None,
        };
        let endpoint = "https://localhost:9998".parse().unwrap();
        assert!(matches!(
            Dialer::new(&endpoint, &files),
            Err(InvalidEndpoint::Half(_))
        ));
    }

    #[tokio::test]
    async fn the_route_says_from_which_address_a_server_is_reached() {
        let source = async |text: &str| {
            let dialer = Dialer::new(&text.parse().unwrap(), &TlsFiles::default()).unwrap();
            dialer.source_address().await.unwrap()
        };
        let loopback = Some(IpAddr::from(Ipv4Addr::LOCALHOST));
        assert_eq!(source("http://127.0.0.1:9998").await, loopback);
        assert_eq!(source("unix:/a").await, None);
    }

    #[test]
    fn an_address_without_a_port_has_the_usual_one() {
        let authority = |text: &str| {
            let endpoint = text.parse().unwrap();
            Dialer::new(&endpoint, &TlsFiles::default())
                .unwrap()
                .authority()
                .to_string()
        };
        assert_eq!(authority("http://agent"), "http://agent:80/");
        assert_eq!(authority("http://[::1]:9998"), "http://[::1]:9998/");
        assert_eq!(authority("unix:/a"), "http://localhost/");
    }
}
