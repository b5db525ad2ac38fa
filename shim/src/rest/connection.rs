//! One connection: TLS, HTTP/1.1, and its end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use ironic_transport::listener::Connection;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::service::{ConnectionInfo, RestService, Unanswered};
use crate::peers::connection::PeerBody;

/// Request line and headers together. A token and the conductor's usual headers take 500
/// bytes, and a stranger's connection may cost this much.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// After an answer to a request that was not read to its end: how long what still comes is
/// thrown away. Closing at once would reset the connection, and the answer with it.
const LINGER: Duration = Duration::from_secs(5);

/// After so many answers, a connection that has shown no token gets one in a period: who asks
/// without end, and perhaps reads nothing, must not take the time of the others.
const FREE_ANSWERS: u32 = 64;
const PACE: Duration = Duration::from_millis(250);

/// The answer to a client that never asked anything.
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// The first byte of every TLS connection: a handshake record.
const HANDSHAKE: u8 = 0x16;

/// How long a connection may be quiet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a request's head is complete, from the connection or from the last answer on.
    pub head: Duration,
    /// Until the TLS handshake is done.
    pub handshake: Duration,
}

/// What all connections of a listener share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpServer {
    /// What answers requests.
    pub service: Arc<RestService>,
    /// How long a connection may be quiet.
    pub timeouts: Timeouts,
    /// Ends the connections once the request at hand is answered.
    pub stop: CancellationToken,
}

/// Serves what comes over TCP, until it ends or, after [`HttpServer::stop`], the request
/// at hand is answered.
pub async fn serve_tcp(
    server: HttpServer,
    stream: Connection<TcpStream>,
    info: ConnectionInfo,
    tls: Option<TlsAcceptor>,
) {
    let Some(tls) = tls else {
        return serve(server, stream, info).await;
    };
    match timeout(server.timeouts.handshake, handshake(&tls, stream)).await {
        Ok(Ok(stream)) => serve(server, stream, info).await,
        Ok(Err(error)) => debug!(peer = %info.peer, %error, "no TLS"),
        Err(_) => debug!(peer = %info.peer, "TLS handshake timed out"),
    }
}

async fn handshake(
    tls: &TlsAcceptor,
    mut stream: Connection<TcpStream>,
) -> io::Result<tokio_rustls::server::TlsStream<Connection<TcpStream>>> {
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

/// What has happened on a connection, for its end.
#[derive(Debug, Default)]
struct ConnectionActivity {
    /// A request has come.
    asked: AtomicBool,
    /// A request was not read to its end.
    unread: AtomicBool,
    /// Requests that were answered.
    answers: AtomicU32,
}

/// Serves what comes over any stream.
pub async fn serve<S>(server: HttpServer, stream: S, info: ConnectionInfo)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let HttpServer {
        service,
        timeouts,
        stop,
    } = server;
    let (peer, slot) = (info.peer, info.slot.clone());
    let progress = Arc::new(ConnectionActivity::default());
    let answering = service_fn({
        let progress = Arc::clone(&progress);
        move |request| {
            progress.asked.store(true, Ordering::Relaxed);
            info.slot.serving();
            let (service, info) = (Arc::clone(&service), info.clone());
            let progress = Arc::clone(&progress);
            async move { answer(&service, request, &info, &progress).await }
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.head)
        .title_case_headers(true)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), answering);
    // Goal: answer until the client has no more requests. Exit: the connection is done, or
    // was stopped and has answered what it was asked, or has to make way for another one.
    let evicted = slot.evicted();
    tokio::pin!(evicted);
    let mut stopping = false;
    let outcome = loop {
        let polled = std::future::poll_fn(|context| Pin::new(&mut connection).poll(context));
        tokio::select! {
            outcome = polled => break outcome,
            () = &mut evicted => {
                debug!(%peer, "closed: too slow, or to make room");
                return;
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let parts = connection.into_parts();
    slot.waiting();
    // An idle client needs no words.
    let idle = progress.asked.load(Ordering::Relaxed) && parts.read_buf.is_empty();
    let mut stream = parts.io.into_inner();
    match outcome {
        Ok(()) if progress.unread.load(Ordering::Relaxed) => linger(&mut stream).await,
        Ok(()) => {}
        Err(error) if error.is_timeout() && !idle => send_last(&mut stream, TOO_SLOW).await,
        Err(error) if error.is_timeout() => {}
        Err(error) => debug!(%peer, %error, "connection"),
    }
}

/// Answers one request, in turns with others as long as the connection has shown no token.
async fn answer(
    service: &Arc<RestService>,
    request: Request<Incoming>,
    info: &ConnectionInfo,
    progress: &ConnectionActivity,
) -> Result<Response<PeerBody>, Unanswered> {
    let answer = service.answer(request, info).await?;
    info.slot.waiting();
    if !info.slot.is_authenticated() {
        // Requests that were sent ahead are answered in turns with the others'.
        tokio::task::yield_now().await;
        if progress.answers.fetch_add(1, Ordering::Relaxed) >= FREE_ANSWERS {
            tokio::time::sleep(PACE).await;
        }
    }
    if !answer.whole {
        progress.unread.store(true, Ordering::Relaxed);
    }
    Ok(answer.response)
}

async fn send_last(stream: &mut (impl AsyncWrite + Unpin), words: &[u8]) {
    let said = timeout(LINGER, async {
        stream.write_all(words).await?;
        stream.shutdown().await
    });
    if let Ok(Err(error)) = said.await {
        debug!(%error, "an answer at the end of a connection was not sent");
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

#[cfg(test)]
mod tests {
    use ironic_transport::listener::Slot;
    use tokio::io::DuplexStream;
    use tokio::sync::watch;
    use tokio::time::Instant;

    use super::*;
    use crate::agents::AgentRegistry;
    use crate::rest::body::BodyLimits;
    use crate::rest::memory::Memory;
    use crate::rest::renewal::Renewal;

    const TIMEOUTS: Timeouts = Timeouts {
        head: Duration::from_secs(10),
        handshake: Duration::from_secs(10),
    };

    /// A client of a server that knows no agent.
    fn client(stop: &CancellationToken) -> DuplexStream {
        let limits = BodyLimits {
            size: 100,
            stall: Duration::from_secs(10),
            whole: Duration::from_secs(60),
        };
        let service = RestService {
            agents: AgentRegistry::default(),
            peers: None,
            limits,
            refused: limits,
            memory: Memory::of(limits.size, limits.size),
            renewal: Renewal::default(),
            closing: watch::Sender::new(None),
        };
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let info = ConnectionInfo {
            peer: ([127, 0, 0, 1], 1).into(),
            port: 9999,
            secure: false,
            slot: Slot::unlimited(),
        };
        let server = HttpServer {
            service: Arc::new(service),
            timeouts: TIMEOUTS,
            stop: stop.clone(),
        };
        let serving = serve(server, theirs, info);
        tokio::spawn(serving);
        ours
    }

    /// Everything that the server sends until it closes the connection.
    async fn rest(client: &mut DuplexStream) -> String {
        let mut said = Vec::new();
        client.read_to_end(&mut said).await.unwrap();
        String::from_utf8(said).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_answered_after_ten_seconds() {
        for begun in ["", "GET / HT"] {
            let start = Instant::now();
            let mut client = client(&CancellationToken::new());
            client.write_all(begun.as_bytes()).await.unwrap();
            let said = rest(&mut client).await;
            assert!(
                said.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
                "{said}"
            );
            assert!(said.ends_with("\r\n\r\n"), "{said}");
            assert_eq!(start.elapsed().as_secs(), 10, "{begun:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_speaks_no_http_is_answered() {
        for nonsense in [
            "BOGUS\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "\x16\x03\x01\r\n",
        ] {
            let mut client = client(&CancellationToken::new());
            client.write_all(nonsense.as_bytes()).await.unwrap();
            let said = rest(&mut client).await;
            assert!(
                said.starts_with("HTTP/1.1 400 Bad Request\r\n"),
                "{nonsense:?} {said}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_client_is_left_after_ten_seconds_without_a_word() {
        let mut client = client(&CancellationToken::new());
        let request = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
        client.write_all(request).await.unwrap();
        // A pause of nine seconds is not idleness yet.
        tokio::time::sleep(Duration::from_secs(9)).await;
        client.write_all(request).await.unwrap();
        let start = Instant::now();
        let said = rest(&mut client).await;
        assert_eq!(start.elapsed().as_secs(), 10);
        assert_eq!(said.matches("HTTP/1.1 ").count(), 2, "{said}");
        assert!(!said.contains("408"), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_client_is_left_at_once_when_the_server_stops() {
        let stop = CancellationToken::new();
        let mut client = client(&stop);
        client
            .write_all(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let mut first = [0; 12];
        client.read_exact(&mut first).await.unwrap();
        let start = Instant::now();
        stop.cancel();
        rest(&mut client).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
