//! The client's side of HTTP/2 over a socket.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryFutureExt;
use h2::client::SendRequest;
use h2::{Ping, PingPong};
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{self, sleep};
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use crate::exchange;

/// Bytes that the peer may send on one stream before they are read.
pub const STREAM_WINDOW: u32 = 256 * 1024;

/// Bytes on all streams together. It is 64 stream windows, because streams that nobody reads
/// must not hold up the calls beside them, and because small messages weigh more than their
/// bytes: with a fifth of it a peer that sends a thousand of them a second loses its connection
/// when its reader pauses for seconds.
pub const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// Scheme and authority of requests whose server has no name of its own.
pub const ORIGIN: &str = "http://agent";

/// Metadata is a token and a few names; error details stay below half of this.
const HEADERS: u32 = 16 * 1024;

/// Bytes of headers that either side keeps to name them in later responses. Each response has another date,
/// so most would be kept in vain, and a server would take 12 KiB for them on each connection.
const HEADER_TABLE: u32 = 0;

/// The client's side of a connection: a service for generated clients, cheap to clone.
///
/// It is made of h2 alone: hyper's client keeps a queue of 8 KiB and two tasks for each connection, and a
/// gateway has ten thousand of them.
///
/// A call that cannot be made, or whose connection is lost before it has ended, fails with
/// `UNAVAILABLE`, whichever layer noticed the loss. It connects once: a connection that has ended
/// stays closed. A request needs a scheme and an authority, which a generated client takes from
/// [`ORIGIN`] if nothing better is known.
#[derive(Clone)]
pub struct GrpcChannel(SendRequest<Bytes>);

/// What drives a [`GrpcChannel`]. It ends when the connection has ended; no call makes progress
/// without it.
pub type ConnectionDriver = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// How a connection notices a peer that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pings {
    /// Not at all. Within a tunnel, pings wait behind a large message on a slow link, and a
    /// healthy peer is given up: the connection that carries the tunnel notices.
    Never,
    /// A ping each period, also while there are no calls; the connection ends when one is not
    /// answered in time.
    Every {
        /// From ping to ping. Proxies answer pings faster than every 20 s with GOAWAY.
        period: Duration,
        /// How long an answer may take.
        timeout: Duration,
    },
}

/// Opens the client's side of a connection.
///
/// # Errors
/// When the socket is closed during the preface.
pub async fn connect<T>(socket: T, pings: Pings) -> io::Result<(GrpcChannel, ConnectionDriver)>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, mut connection) = h2::client::Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADERS)
        .header_table_size(HEADER_TABLE)
        .handshake(socket)
        .await
        .map_err(io::Error::other)?;
    let (period, timeout, pinger) = match pings {
        Pings::Never => return Ok((GrpcChannel(sender), drive(connection))),
        Pings::Every { period, timeout } => (period, timeout, connection.ping_pong()),
    };
    let pinger = pinger.ok_or_else(|| io::Error::other("the connection cannot be pinged"))?;
    let connection = drive(connection);
    let driver = async move {
        tokio::select! {
            ended = connection => ended,
            lost = ping(pinger, period, timeout) => Err(lost),
        }
    };
    Ok((GrpcChannel(sender), Box::pin(driver)))
}

fn drive<T>(connection: h2::client::Connection<T, Bytes>) -> ConnectionDriver
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Not an async block, which would keep the connection twice: as it was given, and as it runs.
    Box::pin(connection.map_err(io::Error::other))
}

/// Pings each period. Ends when one is not answered in time.
async fn ping(mut pinger: PingPong, period: Duration, timeout: Duration) -> io::Error {
    loop {
        sleep(period).await;
        match time::timeout(timeout, pinger.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return io::Error::other(error),
            Err(_) => return io::Error::new(io::ErrorKind::TimedOut, "a ping got no answer"),
        }
    }
}

impl GrpcChannel {
    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        // The handle is new, so there is no request of it that could wait.
        let ready = self.0.clone().poll_ready(&mut context);
        matches!(ready, Poll::Ready(Err(_)))
    }
}

impl fmt::Debug for GrpcChannel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut channel = formatter.debug_struct("GrpcChannel");
        channel.field("closed", &self.is_closed()).finish()
    }
}

impl Service<Request<Body>> for GrpcChannel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    /// Always ready: a service that is not has no status to say why, so a call on a closed
    /// connection fails by itself.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(exchange::call(self.0.clone(), request))
    }
}
