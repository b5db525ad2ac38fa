//! A bounded listener: accepts connections of untrusted peers without letting any of them
//! take all places, all memory or all descriptors.
//!
//! A connection is *unauthenticated* until its server calls [`Slot::authenticated`]. New
//! connections are always accepted: when there is no room, an unauthenticated one is closed
//! for them, of the peer that holds the most, the one that has waited longest for its peer
//! first (see [`admission`]). So a client that asks at once is served at once, and one that
//! shares its address with an attacker is safe as soon as it has shown its token.
//!
//! What the kernel holds for a connection is bounded too: small queues, a deadline for sent
//! data, and a close that drops what the peer never read.

pub mod admission;
mod connection;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::socket;
use admission::{Admission, Peer};
pub use admission::{ConnectionLimits, DescriptorShare, Slot};
pub use connection::Connection;

/// How often deadlines are looked at.
const SWEEP: Duration = Duration::from_millis(500);

/// How long nothing is accepted after the system has refused a descriptor or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// How often a line says that connections were closed for want of room.
const REPORT: Duration = Duration::from_secs(10);

/// How many connections are accepted before others get to run: who was accepted must have its
/// first bytes read before the next ones compete with it.
const BATCH: u8 = 16;

/// Kernel queues of an unauthenticated connection, in bytes.
const SMALL_QUEUE: usize = 32 * 1024;

/// Kernel queues of an authenticated connection, in bytes. As much as systems allow without
/// being set up for it.
const LARGE_QUEUE: usize = 208 * 1024;

/// Something that accepts connections.
pub trait Accept {
    /// What is accepted.
    type Stream: AsyncRead + AsyncWrite + Unpin + AsFd;

    /// Accepts the next connection.
    ///
    /// # Errors
    /// As the kernel says.
    fn poll_accept(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Stream, Option<SocketAddr>)>>;

    /// Prepares the listener itself.
    ///
    /// # Errors
    /// The kernel refuses an option.
    fn prepare_listener(&self) -> io::Result<()> {
        Ok(())
    }

    /// Prepares a connection that was just accepted.
    ///
    /// # Errors
    /// The kernel refuses an option.
    fn prepare(_stream: &Self::Stream, _unacknowledged: Duration) -> io::Result<()> {
        Ok(())
    }
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    fn poll_accept(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(TcpStream, Option<SocketAddr>)>> {
        let accepted = Self::poll_accept(self, context);
        accepted.map_ok(|(stream, peer)| (stream, Some(peer)))
    }

    fn prepare_listener(&self) -> io::Result<()> {
        socket::deepen_backlog(self)
    }

    fn prepare(stream: &TcpStream, unacknowledged: Duration) -> io::Result<()> {
        // Small answers: waiting for more to send would only delay them.
        stream.set_nodelay(true)?;
        socket::bound(stream, SMALL_QUEUE, SMALL_QUEUE, unacknowledged)
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    fn poll_accept(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(UnixStream, Option<SocketAddr>)>> {
        Self::poll_accept(self, context).map_ok(|(stream, _)| (stream, None))
    }
}

/// A listener whose connections are bounded.
#[derive(Debug)]
pub struct Listener<L> {
    inner: L,
    admission: Arc<Admission>,
    sweep_at: Instant,
    paused_until: Option<Instant>,
    /// Accepted since others got to run.
    batch: u8,
    report: EvictionReport,
}

/// What was closed for want of room since the last line about it.
#[derive(Debug, Default)]
struct EvictionReport {
    evicted: u64,
    last: Option<Instant>,
}

impl<L: Accept> Listener<L> {
    /// Bounds what `inner` accepts. `name` is what the log calls the listener.
    #[must_use]
    pub fn new(inner: L, name: &'static str, limits: ConnectionLimits) -> Self {
        if let Err(error) = inner.prepare_listener() {
            debug!(%error, "options of a listener");
        }
        Self {
            inner,
            admission: Arc::new(Admission::new(name, limits)),
            sweep_at: Instant::now() + SWEEP,
            paused_until: None,
            batch: 0,
            report: EvictionReport::default(),
        }
    }

    /// The next connection. Errors of single connections are passed over; when the system
    /// has no descriptor or memory left, a connection without a token is closed, a line says
    /// so, and there is a pause.
    ///
    /// Cancel safe. It must be polled for the deadlines of connections to hold.
    pub async fn accept(&mut self) -> Connection<L::Stream> {
        if self.batch >= BATCH {
            self.batch = 0;
            tokio::task::yield_now().await;
        }
        // Goal: one connection. Exit: it is there and has a slot.
        loop {
            let now = Instant::now();
            if now >= self.sweep_at {
                self.sweep_at = now + SWEEP;
                self.admission.sweep(now);
                self.tell(now);
            }
            let wake = self
                .paused_until
                .map_or(self.sweep_at, |until| until.min(self.sweep_at));
            if self.paused_until.is_some_and(|until| now < until) {
                tokio::time::sleep_until(wake).await;
                continue;
            }
            self.paused_until = None;
            let room = self.admission.room();
            let inner = &self.inner;
            let accepting = async {
                // Connections that were closed for others are still being taken down.
                room.await;
                std::future::poll_fn(|context| inner.poll_accept(context)).await
            };
            let Ok(accepted) = tokio::time::timeout_at(wake, accepting).await else {
                continue;
            };
            match accepted {
                Ok((stream, peer)) => return self.admit(stream, peer),
                Err(error) if socket::is_exhaustion(&error) => {
                    let closed = self.admission.evict_for_descriptor();
                    let name = self.admission.name();
                    warn!(listener = name, %error, closed, "cannot accept connections: a pause");
                    self.paused_until = Some(Instant::now() + PAUSE);
                }
                // The peer went away before it was accepted.
                Err(error) => debug!(%error, "a connection that was not accepted"),
            }
        }
    }

    /// The connections as a stream that never ends.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Connection<L::Stream>>> {
        futures_util::stream::unfold(self, |mut listener| async move {
            let connection = listener.accept().await;
            Some((Ok(connection), listener))
        })
    }

    fn admit(&mut self, stream: L::Stream, peer: Option<SocketAddr>) -> Connection<L::Stream> {
        if let Err(error) = L::prepare(&stream, self.admission.limits().stall) {
            debug!(%error, "options of a connection");
        }
        self.batch += 1;
        let now = Instant::now();
        let (slot, evicted) = self.admission.admit(Peer::of(peer), now);
        self.report.evicted += u64::from(evicted);
        Connection::new(stream, peer, slot)
    }

    fn tell(&mut self, now: Instant) {
        let is_due = self.report.last.is_none_or(|last| now >= last + REPORT);
        if self.report.evicted > 0 && is_due {
            warn!(
                listener = self.admission.name(),
                closed = self.report.evicted,
                "full: the connections that waited longest without a token were closed"
            );
            self.report = EvictionReport {
                evicted: 0,
                last: Some(now),
            };
        }
    }
}

#[cfg(test)]
mod tests;
