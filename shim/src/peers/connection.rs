//! Connections to other replicas: one each, HTTP/2 over mutual TLS, opened when it is needed.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ironic_tunnel::{CONNECTION_WINDOW, STREAM_WINDOW};
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tracing::debug;

use super::tls::PeerTls;

/// How long TCP and TLS together may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long after a failure nobody tries again: requests come faster than replicas come back.
const PAUSE: Duration = Duration::from_millis(500);

/// A replica that does not answer a ping in time is gone, which requests then hear.
const PING_PERIOD: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body that passes between replicas broke off.
#[derive(Debug, Error)]
#[error("the body broke off")]
pub struct BrokenBody(#[source] BoxError);

/// The body of a request or an answer that passes between replicas. It is never whole in memory.
pub type PeerBody = UnsyncBoxBody<Bytes, BrokenBody>;

/// Why a replica cannot be reached. Nothing was sent.
#[derive(Debug, Error)]
#[error("the gateway {url} cannot be reached")]
pub struct Unreachable {
    /// Its `peer_url`.
    pub url: String,
    /// Why.
    #[source]
    source: io::Error,
}

/// The connections of this replica. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PeerConnections {
    tls: PeerTls,
    links: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<PeerLink>>>>>,
}

/// The connection to one replica.
#[derive(Debug, Default)]
struct PeerLink {
    sender: Option<SendRequest<PeerBody>>,
    failed_at: Option<Instant>,
}

impl PeerConnections {
    /// Without a connection.
    #[must_use]
    pub fn new(tls: PeerTls) -> Self {
        Self {
            tls,
            links: Arc::default(),
        }
    }

    /// The connection to a replica, which is opened if there is none.
    ///
    /// # Errors
    /// The replica cannot be reached, or could not be a moment ago.
    pub async fn to(&self, url: &str) -> Result<PeerSender, Unreachable> {
        let unreachable = |source| Unreachable {
            url: url.to_owned(),
            source,
        };
        let address = PeerAddress::of(url).map_err(unreachable)?;
        let link = {
            let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(links.entry(url.to_owned()).or_default())
        };
        // A caller that comes while it is being opened waits for that.
        let mut link = link.lock().await;
        let open = link.sender.as_ref().filter(|sender| !sender.is_closed());
        if let Some(sender) = open {
            return Ok(PeerSender::new(sender.clone(), address.uri));
        }
        link.sender = None;
        if link
            .failed_at
            .is_some_and(|failed| failed.elapsed() < PAUSE)
        {
            return Err(unreachable(io::ErrorKind::ConnectionRefused.into()));
        }
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, self.open(&address)).await;
        match opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(sender) => {
                link.failed_at = None;
                link.sender = Some(sender.clone());
                Ok(PeerSender::new(sender, address.uri))
            }
            Err(error) => {
                link.failed_at = Some(Instant::now());
                Err(unreachable(error))
            }
        }
    }

    /// Forgets the connection to a replica that is gone for good. Requests on it go on.
    pub fn forget(&self, url: &str) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.remove(url);
    }

    async fn open(&self, address: &PeerAddress) -> io::Result<SendRequest<PeerBody>> {
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(self.tls.client());
        let stream = connector.connect(address.name.clone(), stream).await?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING_PERIOD)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let url = address.uri.to_string();
        tokio::spawn(async move {
            let ended = connection.await;
            debug!(%url, ?ended, "the connection to a gateway has ended");
        });
        Ok(sender)
    }
}

/// A `peer_url`, taken apart.
struct PeerAddress {
    uri: Uri,
    host: String,
    port: u16,
    name: ServerName<'static>,
}

impl PeerAddress {
    fn of(url: &str) -> io::Result<Self> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "not https://HOST:PORT");
        let uri: Uri = url.parse().map_err(|_| invalid())?;
        if uri.scheme_str() != Some("https") {
            return Err(invalid());
        }
        let host = uri.host().ok_or_else(invalid)?;
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| invalid())?;
        let port = uri.port_u16().unwrap_or(443);
        Ok(Self {
            uri,
            host,
            port,
            name,
        })
    }
}

/// Sends requests to one replica.
#[derive(Debug)]
pub struct PeerSender {
    sender: SendRequest<PeerBody>,
    /// Scheme and authority of its URL.
    uri: Uri,
}

impl PeerSender {
    fn new(sender: SendRequest<PeerBody>, uri: Uri) -> Self {
        Self { sender, uri }
    }

    /// Sends a request, whose URI needs no more than a path.
    ///
    /// # Errors
    /// The connection broke; the replica may have got the request.
    pub async fn send(
        mut self,
        mut request: Request<PeerBody>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let mut parts = self.uri.into_parts();
        parts.path_and_query = request.uri().path_and_query().cloned();
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
        *request.version_mut() = http::Version::HTTP_2;
        self.sender.send_request(request).await
    }
}

/// A body with its bytes in memory.
#[must_use]
pub fn full_body(bytes: impl Into<Bytes>) -> PeerBody {
    let body = http_body_util::Full::new(bytes.into());
    body.map_err(|never| match never {}).boxed_unsync()
}

/// Any body, to pass between replicas.
#[must_use]
pub fn passing_body<B>(body: B) -> PeerBody
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(|error| BrokenBody(error.into()))
        .boxed_unsync()
}
