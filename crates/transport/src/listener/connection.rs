//! An accepted connection, which ends when its slot is taken away.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tracing::debug;

use super::LARGE_QUEUE;
use super::admission::Slot;
use crate::socket;

/// A connection with its slot. Reading and writing fail once the slot was taken away, and
/// dropping it then drops what the peer never read.
pub struct Connection<S: AsFd> {
    stream: S,
    peer: Option<SocketAddr>,
    slot: Slot,
    evicted: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Whether the peer takes no more bytes now.
    blocked: bool,
    /// Whether its queues in the kernel have grown.
    large: bool,
}

impl<S: AsFd> fmt::Debug for Connection<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl<S: AsFd> Connection<S> {
    pub(super) fn new(stream: S, peer: Option<SocketAddr>, slot: Slot) -> Self {
        Self {
            stream,
            peer,
            evicted: Box::pin(slot.evicted()),
            slot,
            blocked: false,
            large: false,
        }
    }

    /// Who called; `None` over a socket in the file system.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The slot, to say what the connection does.
    #[must_use]
    pub fn slot(&self) -> &Slot {
        &self.slot
    }

    fn check(&self) -> io::Result<()> {
        if self.slot.is_evicted() {
            return Err(closed());
        }
        Ok(())
    }

    /// Nothing moves: the task is woken when the slot is taken away. While something moves it asks
    /// for itself, which costs less.
    fn pending<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let evicted = self.evicted.as_mut().poll(context);
        evicted.map(|()| Err(closed()))
    }

    /// Bytes have moved, or not.
    fn note(&mut self, blocked: bool) {
        if blocked != self.blocked {
            self.blocked = blocked;
            self.slot.blocked(blocked);
        }
    }
}

impl Connection<TcpStream> {
    /// Looks at bytes that came without taking them.
    ///
    /// # Errors
    /// The connection is broken, or its slot was taken away.
    pub async fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        tokio::select! {
            biased;
            () = &mut self.evicted => Err(closed()),
            read = std::future::poll_fn(|context| {
                let mut buffer = ReadBuf::new(&mut *buffer);
                let peeked = self.stream.poll_peek(context, &mut buffer);
                if peeked.is_pending() {
                    self.slot.starved();
                }
                peeked
            }) => read,
        }
    }
}

fn closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "the connection was too slow, or was closed for want of room",
    )
}

impl<S: AsyncRead + Unpin + AsFd> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        self.grow();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_pending() {
            self.slot.starved();
            return self.pending(context);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin + AsFd> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.wrote(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_pending() {
            return self.pending(context);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: AsFd> Connection<S> {
    fn wrote(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.note(written.is_pending());
        self.grow();
        if written.is_pending() {
            return self.pending(context);
        }
        written
    }

    /// Gives a peer that has shown a token the queues that large bodies and answers need.
    fn grow(&mut self) {
        if !self.large && self.slot.is_authenticated() {
            self.large = true;
            if let Err(error) = socket::grow(&self.stream, LARGE_QUEUE) {
                debug!(%error, "queues of a connection");
            }
        }
    }
}

impl<S: AsFd> Drop for Connection<S> {
    fn drop(&mut self) {
        // A peer that is behind would have the kernel keep what it does not take.
        if self.slot.is_evicted() || self.blocked {
            // A Unix socket has no such option and needs none.
            let _ = socket::abort_on_close(&self.stream);
        }
    }
}
