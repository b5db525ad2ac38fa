//! The client's side of HTTP/2 over a socket.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::Status;
use tonic::body::Body;
use tower::Service;

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

/// The client's side of a connection: a service for generated clients, cheap to clone.
///
/// A call that cannot be made, or whose connection is lost before it has ended, fails with
/// `UNAVAILABLE`, whichever layer noticed the loss. It connects once: a connection that has ended
/// stays closed. A request needs a scheme and an authority, which a generated client takes from
/// [`ORIGIN`] if nothing better is known.
#[derive(Clone)]
pub struct GrpcChannel(SendRequest<Body>);

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
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    if let Pings::Every { period, timeout } = pings {
        builder
            .keep_alive_interval(period)
            .keep_alive_timeout(timeout)
            .keep_alive_while_idle(true);
    }
    let (sender, connection) = builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADERS)
        .handshake(TokioIo::new(socket))
        .await
        .map_err(io::Error::other)?;
    let driver = async { connection.await.map_err(io::Error::other) };
    Ok((GrpcChannel(sender), Box::pin(driver)))
}

impl GrpcChannel {
    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
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
        let answer = self.0.send_request(request);
        // The driver ends with the last handle, also while an answer is being read.
        let handle = self.0.clone();
        Box::pin(async move {
            let answer = answer.await.map_err(unavailable)?;
            let error = move |error| {
                let _held = &handle;
                unless_reset(error)
            };
            Ok(answer.map(|body| Body::new(body.map_err(error))))
        })
    }
}

/// The connection is gone: hyper tells it in several ways.
fn unavailable(error: hyper::Error) -> Status {
    let mut status = Status::unavailable("the connection was lost");
    status.set_source(std::sync::Arc::new(error));
    status
}

/// A peer that resets one stream says why by a code, which tonic reads; all else is a loss.
fn unless_reset(error: hyper::Error) -> Status {
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<h2::Error>());
    match source {
        Some(reset) if reset.is_reset() => Status::from_error(Box::new(error)),
        _ => unavailable(error),
    }
}
