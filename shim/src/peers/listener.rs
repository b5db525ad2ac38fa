//! Where other replicas call: HTTP/2 over mutual TLS.
//!
//! A request for a node is answered by the service that also answers callers from outside, if
//! the node is attached here. It is never forwarded from here.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ironic_transport::listener::{Connection, ConnectionLimits, Listener, Slot};
use ironic_tunnel::{CONNECTION_WINDOW, STREAM_WINDOW};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};
use tracing::{debug, warn};

use super::connection::{PeerBody, full_body, passing_body};
use super::forward::{self, RequestOrigin};
use super::wire::{MAX_UPDATE_BYTES, UPDATE_PATH, Update};
use super::{PEER_STREAMS, Peers};
use crate::descriptors;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an update may take to arrive.
const UPDATE_TIMEOUT: Duration = Duration::from_secs(30);
const PING_PERIOD: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// How long requests may go on when the program stops, as those of conductors may.
const CLOSING: Duration = Duration::from_secs(5);

/// The paths of gRPC methods that concern a node.
const GRPC_PREFIX: &str = "/ironic.agent.v1.";

const LIMITS: ConnectionLimits = ConnectionLimits {
    authenticated: 64,
    unauthenticated: 64,
    per_peer: 16,
    wait: Duration::from_secs(15),
    stall: Duration::from_secs(30),
};

/// Answers forwarded requests for the REST API of nodes: with the request, where it came from
/// and the slot of the connection between the replicas.
pub type NodeHandler = Arc<
    dyn Fn(Request<PeerBody>, RequestOrigin, Slot) -> BoxFuture<'static, Response<PeerBody>>
        + Send
        + Sync,
>;

/// Answers forwarded gRPC calls, whose metadata say which node they are for.
pub type GrpcHandler = BoxCloneSyncService<Request<PeerBody>, Response<PeerBody>, Infallible>;

/// How often a line says that a caller was refused.
const REPORT: Duration = Duration::from_secs(10);

/// When a refused caller was last named in the log, which strangers must not fill.
#[derive(Debug, Default)]
struct RefusalReport(Mutex<Option<Instant>>);

impl RefusalReport {
    fn report(&self, peer: Option<SocketAddr>, error: &io::Error) {
        let now = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| now < last + REPORT) {
            return;
        }
        *last = Some(now);
        warn!(?peer, %error, "a caller of peer_listen shows no certificate of peer_tls_ca_file");
    }
}

/// What all connections share. Cheap to clone.
#[derive(Clone)]
struct PeerServer {
    peers: Peers,
    nodes: NodeHandler,
    refusals: Arc<RefusalReport>,
    stop: CancellationToken,
}

/// Serves other replicas until `stop`, and then the requests at hand.
pub(super) async fn serve(
    peers: Peers,
    listener: TcpListener,
    nodes: NodeHandler,
    stop: CancellationToken,
) {
    let mut listener = Listener::new(
        listener,
        "peers",
        LIMITS.within_descriptors(descriptors::PEERS),
    );
    let server = PeerServer {
        peers,
        nodes,
        refusals: Arc::default(),
        stop: stop.clone(),
    };
    let mut connections = JoinSet::new();
    // Goal: a task per connection. Exit: the program stops.
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    warn!(%error, "the task of a gateway's connection ended early");
                }
            }
            connection = listener.accept() => {
                connections.spawn(server.clone().connect(connection));
            }
        }
    }
    drop(listener);
    let finishing = async { while connections.join_next().await.is_some() {} };
    // Those that are still at it are dropped with the set.
    let _ = tokio::time::timeout(CLOSING, finishing).await;
}

impl PeerServer {
    /// Serves one connection to its end or, when the program stops, until the requests at hand
    /// are answered.
    async fn connect(self, connection: Connection<TcpStream>) {
        let peer = connection.peer();
        let slot = connection.slot().clone();
        let acceptor = TlsAcceptor::from(self.peers.tls().server());
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(connection)).await;
        let stream = match handshake.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => stream,
            Err(error) => return self.refusals.report(peer, &error),
        };
        slot.authenticated();
        let Self {
            peers, nodes, stop, ..
        } = self;
        let answering = service_fn(move |request: Request<Incoming>| {
            let (peers, nodes, slot) = (peers.clone(), Arc::clone(&nodes), slot.clone());
            async move { Ok::<_, Infallible>(answer(&peers, request, &nodes, slot).await) }
        });
        let served = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(PEER_STREAMS)
            .keep_alive_interval(PING_PERIOD)
            .keep_alive_timeout(PING_TIMEOUT)
            .serve_connection(TokioIo::new(stream), answering);
        tokio::pin!(served);
        let ended = tokio::select! {
            ended = &mut served => ended,
            () = stop.cancelled() => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        };
        if let Err(error) = ended {
            debug!(?peer, %error, "the connection of a gateway");
        }
    }
}

async fn answer(
    peers: &Peers,
    mut request: Request<Incoming>,
    nodes: &NodeHandler,
    slot: Slot,
) -> Response<PeerBody> {
    if request.uri().path() == UPDATE_PATH {
        return take_update(peers, request).await;
    }
    let (node, origin) = forward::arrive(&mut request);
    let Some(node) = node else {
        return status(StatusCode::NOT_FOUND);
    };
    if !peers.is_here(&node) {
        return forward::not_here();
    }
    if request.uri().path().starts_with(GRPC_PREFIX) {
        return match peers.grpc() {
            Some(service) => call(service, request.map(passing_body)).await,
            None => status(StatusCode::NOT_FOUND),
        };
    }
    let Some(origin) = origin else {
        return status(StatusCode::BAD_REQUEST);
    };
    // As it was when it arrived from the conductor.
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(http::Uri::default, http::Uri::from);
    nodes(request.map(passing_body), origin, slot).await
}

async fn call(mut service: GrpcHandler, request: Request<PeerBody>) -> Response<PeerBody> {
    let Ok(service) = service.ready().await;
    let Ok(response) = service.call(request).await;
    response
}

/// Takes in what another replica says of itself.
async fn take_update(peers: &Peers, request: Request<Incoming>) -> Response<PeerBody> {
    let body = Limited::new(request.into_body(), MAX_UPDATE_BYTES).collect();
    let body = match tokio::time::timeout(UPDATE_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return status(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => return status(StatusCode::REQUEST_TIMEOUT),
    };
    match serde_json::from_slice::<Update>(&body) {
        Ok(update) => {
            peers.apply(update);
            status(StatusCode::NO_CONTENT)
        }
        Err(error) => {
            warn!(%error, "an update of a gateway is not understood: do all have one version?");
            status(StatusCode::BAD_REQUEST)
        }
    }
}

fn status(status: StatusCode) -> Response<PeerBody> {
    let mut response = Response::new(full_body(""));
    *response.status_mut() = status;
    response
}
