//! The listener of the page: HTTP/1.1 and HTTP/2, with the TLS of the fleet.

use std::convert::Infallible;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use ironic_transport::Listen;
use ironic_transport::grpc::{self, BindError, Bound, ServerTls, ServerTlsError};
use ironic_transport::listener::{Connection, ConnectionLimits, Slot};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::response::PageBody;
use super::service::{PageCaller, PageService};
use crate::config::ShimConfig;
use crate::descriptors;
use crate::fleet::{FleetCaller, FleetTls, demands_certificates};

/// A browser opens some six connections.
const LIMITS: ConnectionLimits = ConnectionLimits {
    authenticated: 256,
    unauthenticated: 128,
    per_peer: 96,
    wait: Duration::from_secs(30),
    stall: Duration::from_secs(20),
};

/// How long the head of a request may take, or the next request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);

/// The largest head of a request, in bytes.
const MAX_HEAD_BYTES: u16 = 16 * 1024;

/// Requests at once on a connection of HTTP/2.
const STREAMS: u32 = 32;
const PING_PERIOD: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Why the page is not served.
#[derive(Debug, Error)]
pub enum PageServerError {
    /// The address cannot be used.
    #[error("option page_listen cannot be used")]
    Listen(#[from] BindError),
    /// Anybody could look.
    #[error(
        "option page_listen = {0} can be reached from other machines, and viewers need no \
         certificate: any of them could see every node. Listen at a unix: socket or a loopback \
         address, demand client certificates by fleet_tls_cert_file, fleet_tls_key_file and \
         fleet_tls_ca_file, or accept it by --insecure_fleet_listen"
    )]
    Open(Listen),
    /// The TLS options are unusable.
    #[error(transparent)]
    Tls(#[from] ServerTlsError),
}

/// A listener for the page.
#[derive(Debug)]
pub struct PageServer {
    bound: Bound,
    /// Where it listens; the port is the real one.
    pub listen: Listen,
    tls: Option<FleetTls>,
    service: PageService,
}

impl PageServer {
    /// Opens the listener at `listen`.
    ///
    /// # Errors
    /// The address is taken or not ours, or a certificate is missing.
    pub async fn bind(
        listen: &Listen,
        config: &ShimConfig,
        service: PageService,
    ) -> Result<Self, PageServerError> {
        let tls = FleetTls::for_browsers(config)?;
        if listen.is_open_to_other_machines() && !demands_certificates(config) {
            if !config.insecure_fleet_listen {
                return Err(PageServerError::Open(listen.clone()));
            }
            warn!(%listen, "any machine that reaches this address may see every node: insecure_fleet_listen");
        }
        let limits = LIMITS.within_descriptors(descriptors::PAGE);
        let (bound, listen) = grpc::bind(listen, "page", limits).await?;
        info!(%listen, "the page is served");
        Ok(Self {
            bound,
            listen,
            tls,
            service,
        })
    }

    /// TLS of the listener, if it has any.
    #[must_use]
    pub fn tls(&self) -> Option<&FleetTls> {
        self.tls.as_ref()
    }

    /// Serves until `stop` is cancelled.
    pub async fn serve(self, stop: CancellationToken) {
        let Self {
            bound,
            tls,
            service,
            ..
        } = self;
        let acceptor = PageAcceptor {
            service,
            tls: tls.map(|tls| tls.server_tls()),
            stop: stop.clone(),
        };
        let serving = async {
            match bound {
                Bound::Tcp(listener) => acceptor.accept(listener.into_stream()).await,
                Bound::Unix(listener) => acceptor.accept(listener.into_stream()).await,
            }
        };
        stop.run_until_cancelled(serving).await;
    }
}

/// What all connections share. Cheap to clone.
#[derive(Debug, Clone)]
struct PageAcceptor {
    service: PageService,
    tls: Option<ServerTls>,
    stop: CancellationToken,
}

impl PageAcceptor {
    /// Serves each connection in a task of its own. The listener bounds them.
    async fn accept<S>(self, connections: impl Stream<Item = std::io::Result<Connection<S>>>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + AsFd + 'static,
    {
        let mut connections = std::pin::pin!(connections);
        while let Some(Ok(connection)) = connections.next().await {
            let acceptor = self.clone();
            let stop = self.stop.clone();
            let conversation = async move { acceptor.converse(connection).await };
            tokio::spawn(stop.run_until_cancelled_owned(conversation));
        }
    }

    async fn converse<S>(self, connection: Connection<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + AsFd + 'static,
    {
        let slot = connection.slot().clone();
        let peer = connection.peer();
        if peer.is_none() {
            // The socket's mode lets nobody else in.
            slot.authenticated();
        }
        let Some(tls) = self.tls else {
            let caller = PageCaller {
                caller: FleetCaller::new(Vec::new(), peer),
                checks_host: peer.is_some(),
            };
            return serve(self.service, connection, caller, slot).await;
        };
        match tls.handshake(connection).await {
            Ok(stream) => {
                let (_, session) = stream.get_ref();
                let certificates = session.peer_certificates().unwrap_or_default();
                let caller = PageCaller {
                    caller: FleetCaller::new(certificates.to_vec(), peer),
                    checks_host: false,
                };
                serve(self.service, stream, caller, slot).await;
            }
            Err(error) => debug!(%error, "a handshake of the page failed"),
        }
    }
}

/// Answers what comes over a connection until it ends.
async fn serve<S>(service: PageService, stream: S, caller: PageCaller, slot: Slot)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let requests = Arc::new(AtomicUsize::new(0));
    let answering = service_fn(move |request: Request<Incoming>| {
        let active = ActiveRequest::begin(&slot, &requests);
        let response = service.answer(&request, &caller);
        std::future::ready(Ok::<_, Infallible>(held(response, active)))
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES.into());
    server
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD_BYTES.into())
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(Some(PING_PERIOD))
        .keep_alive_timeout(PING_TIMEOUT);
    let served = server.serve_connection(TokioIo::new(stream), answering);
    if let Err(error) = served.await {
        debug!(%error, "a connection to the page");
    }
}

/// A request whose answer has not ended. While a connection has one, it is not its peer's turn.
struct ActiveRequest {
    slot: Slot,
    requests: Arc<AtomicUsize>,
}

impl ActiveRequest {
    fn begin(slot: &Slot, requests: &Arc<AtomicUsize>) -> Self {
        if requests.fetch_add(1, Ordering::Relaxed) == 0 {
            slot.serving();
        }
        Self {
            slot: slot.clone(),
            requests: Arc::clone(requests),
        }
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        if self.requests.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.slot.waiting();
        }
    }
}

/// The answer, with which the request ends. Its length, which the wrapped body does not know, is in
/// its head.
fn held(mut response: Response<PageBody>, active: ActiveRequest) -> Response<PageBody> {
    let length = response.body().size_hint().exact();
    if let Some(length) = length.filter(|_| response.status() != StatusCode::NOT_MODIFIED) {
        let head = response.headers_mut().entry(CONTENT_LENGTH);
        head.or_insert(HeaderValue::from(length));
    }
    response.map(|body| {
        body.map_frame(move |frame| {
            let _held = &active;
            frame
        })
        .boxed_unsync()
    })
}
