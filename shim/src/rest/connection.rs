//! One connection: TLS, HTTP/1.1, and its end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::service::{Line, Service};

/// Request line and headers together. A token and the conductor's usual headers take 500
/// bytes.
const LARGEST_HEAD: usize = 64 * 1024;

/// After an answer to a request that was not read to its end: how long what still comes is
/// thrown away. Closing at once would reset the connection, and the answer with it.
const LINGER: Duration = Duration::from_secs(10);

/// What a client that never asked anything is told.
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// The first byte of every TLS connection: a handshake record.
const HANDSHAKE: u8 = 0x16;

/// How long a connection may be quiet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Until a request's head is complete, from the connection or from the last answer on.
    pub head: Duration,
    /// Until the TLS handshake is done.
    pub handshake: Duration,
}

/// Serves what comes over TCP, until it ends or, after `stop`, the request at hand is
/// answered.
pub async fn serve_tcp(
    service: Arc<Service>,
    stream: TcpStream,
    line: Line,
    tls: Option<TlsAcceptor>,
    patience: Patience,
    stop: CancellationToken,
) {
    // Small answers: waiting for more to send would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "TCP_NODELAY");
    }
    let Some(tls) = tls else {
        return serve(service, stream, line, patience, stop).await;
    };
    match timeout(patience.handshake, handshake(&tls, stream)).await {
        Ok(Ok(stream)) => serve(service, stream, line, patience, stop).await,
        Ok(Err(error)) => debug!(peer = %line.peer, %error, "no TLS"),
        Err(_) => debug!(peer = %line.peer, "TLS handshake timed out"),
    }
}

async fn handshake(
    tls: &TlsAcceptor,
    stream: TcpStream,
) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
        // Plain HTTP. To close with its request unread resets the connection, which is what
        // the Python agent does.
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the client does not speak TLS",
        ));
    }
    tls.accept(stream).await
}

/// Serves what comes over any stream.
pub async fn serve<S>(
    service: Arc<Service>,
    stream: S,
    line: Line,
    patience: Patience,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = line.peer;
    let asked = Arc::new(AtomicBool::new(false));
    let unread = Arc::new(AtomicBool::new(false));
    let answering = service_fn({
        let (asked, unread) = (Arc::clone(&asked), Arc::clone(&unread));
        move |request| {
            asked.store(true, Ordering::Relaxed);
            let (service, line, unread) = (Arc::clone(&service), line.clone(), Arc::clone(&unread));
            async move {
                let answer = service.answer(request, &line).await?;
                if !answer.whole {
                    unread.store(true, Ordering::Relaxed);
                }
                Ok::<_, super::service::Shut>(answer.response)
            }
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .title_case_headers(true)
        .max_buf_size(LARGEST_HEAD)
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(stream), answering);
    // Goal: answer until the client has no more requests. Exit: the connection is done, or
    // was stopped and has answered what it was asked.
    let mut stopping = false;
    let outcome = loop {
        let polled = std::future::poll_fn(|context| Pin::new(&mut connection).poll(context));
        tokio::select! {
            outcome = polled => break outcome,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    match outcome {
        Err(error) if error.is_timeout() => {
            let idle = asked.load(Ordering::Relaxed) && parts.read_buf.is_empty();
            if !idle {
                say(&mut stream, TOO_SLOW).await;
            }
        }
        Err(error) => debug!(%peer, %error, "connection"),
        Ok(()) if unread.load(Ordering::Relaxed) => linger(&mut stream).await,
        Ok(()) => {}
    }
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), words: &[u8]) {
    let said = timeout(LINGER, async {
        stream.write_all(words).await?;
        stream.shutdown().await
    });
    if let Ok(Err(error)) = said.await {
        debug!(%error, "last words");
    }
}

/// Throws away what still comes, so that the client gets to read the answer.
async fn linger(stream: &mut (impl AsyncRead + Unpin)) {
    let mut waste = vec![0; 64 * 1024];
    // Nothing depends on how this ends.
    let _ = timeout(LINGER, async {
        while let Ok(1..) = stream.read(&mut waste).await {}
    })
    .await;
}
