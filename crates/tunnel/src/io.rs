//! The two streams of a call as a socket.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;
use tonic::transport::server::Connected;

/// The longest chunk, in bytes. It is a message of the call that carries it: a longer one would
/// hold up the other streams of that connection.
pub const CHUNK: usize = 64 * 1024;

/// A socket whose bytes arrive as the chunks of one stream and leave as those of another.
///
/// One chunk waits to be sent; a writer that is faster than its peer waits, too.
#[derive(Debug)]
pub struct Tunnel<S> {
    incoming: S,
    /// What has arrived and was not yet read.
    unread: Bytes,
    outgoing: ChunkSender,
}

/// Chunks are boxed, because a channel has room for 32 of them from its beginning, however few may
/// wait, for each of thousands of agents.
type ChunkSender = PollSender<Box<Bytes>>;

/// The chunks that a [`Tunnel`] sends. The stream ends when the tunnel is shut down or dropped.
#[derive(Debug)]
pub struct Outgoing(mpsc::Receiver<Box<Bytes>>);

impl<S: Stream<Item = io::Result<Bytes>> + Unpin> Tunnel<S> {
    /// A socket that reads from `incoming`, and the stream of what it writes.
    #[must_use]
    pub fn new(incoming: S) -> (Self, Outgoing) {
        let (sender, receiver) = mpsc::channel(1);
        let tunnel = Self {
            incoming,
            unread: Bytes::new(),
            outgoing: PollSender::new(sender),
        };
        (tunnel, Outgoing(receiver))
    }
}

impl<S> Tunnel<S> {
    fn poll_space(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let space = ready!(self.outgoing.poll_reserve(context));
        Poll::Ready(space.map_err(|_| io::Error::from(ErrorKind::BrokenPipe)))
    }

    fn send(&mut self, chunk: Bytes) -> io::Result<()> {
        let sent = self.outgoing.send_item(Box::new(chunk));
        sent.map_err(|_| io::Error::from(ErrorKind::BrokenPipe))
    }
}

impl Stream for Outgoing {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let chunk = self.0.poll_recv(context);
        chunk.map(|chunk| chunk.map(|chunk| *chunk))
    }
}

impl<S: Stream<Item = io::Result<Bytes>> + Unpin> AsyncRead for Tunnel<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // An empty chunk does not end the stream.
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.incoming).poll_next(context)) {
                Some(chunk) => self.unread = chunk?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..length]);
        self.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: Unpin> AsyncWrite for Tunnel<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_space(context))?;
        let length = bytes.len().min(CHUNK);
        self.send(Bytes::copy_from_slice(&bytes[..length]))?;
        Poll::Ready(Ok(length))
    }

    /// HTTP/2 writes the head of a frame and its payload: one chunk takes both.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_space(context))?;
        let length = slices
            .iter()
            .map(|slice| slice.len())
            .sum::<usize>()
            .min(CHUNK);
        let mut chunk = BytesMut::with_capacity(length);
        for slice in slices {
            let rest = length - chunk.len();
            chunk.extend_from_slice(&slice[..slice.len().min(rest)]);
        }
        self.send(chunk.freeze())?;
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.close();
        Poll::Ready(Ok(()))
    }
}

/// A server takes a tunnel as it takes a socket; the caller is known from the call that carries it.
impl<S> Connected for Tunnel<S> {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Two tunnels, each of which reads what the other writes.
    fn pair() -> (
        impl AsyncRead + AsyncWrite + Unpin,
        impl AsyncRead + AsyncWrite + Unpin,
    ) {
        let (to_right, from_left) = mpsc::channel(1);
        let (left, left_out) = Tunnel::new(Incoming(from_left));
        let (to_left, from_right) = mpsc::channel(1);
        let (right, right_out) = Tunnel::new(Incoming(from_right));
        tokio::spawn(carry(left_out, to_left));
        tokio::spawn(carry(right_out, to_right));
        (left, right)
    }

    struct Incoming(mpsc::Receiver<io::Result<Bytes>>);

    impl Stream for Incoming {
        type Item = io::Result<Bytes>;

        fn poll_next(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<io::Result<Bytes>>> {
            self.0.poll_recv(context)
        }
    }

    async fn carry(mut from: Outgoing, to: mpsc::Sender<io::Result<Bytes>>) {
        while let Some(chunk) = from.next().await {
            assert!(chunk.len() <= CHUNK, "{} bytes in one chunk", chunk.len());
            if to.send(Ok(chunk)).await.is_err() {
                return;
            }
        }
    }

    fn run<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(future)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn bytes_arrive_in_order_whatever_the_writes(
            writes in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..5000), any::<bool>()), 0..20),
            large in any::<bool>(),
        ) {
            let mut writes = writes;
            if large {
                writes.push((vec![7; 3 * CHUNK + 1], true));
            }
            let sent: Vec<u8> = writes.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
            let received = run(async move {
                let (mut left, mut right) = pair();
                let writer = tokio::spawn(async move {
                    for (bytes, vectored) in writes {
                        let mut rest = bytes.as_slice();
                        while !rest.is_empty() {
                            let (head, tail) = rest.split_at(rest.len() / 3);
                            let slices = [IoSlice::new(head), IoSlice::new(tail)];
                            let written = if vectored {
                                left.write_vectored(&slices).await
                            } else {
                                left.write(rest).await
                            };
                            rest = &rest[written.unwrap()..];
                        }
                    }
                    left.shutdown().await.unwrap();
                    left
                });
                let mut received = Vec::new();
                right.read_to_end(&mut received).await.unwrap();
                drop(writer.await.unwrap());
                received
            });
            prop_assert_eq!(received, sent);
        }
    }

    #[test]
    fn empty_chunk_does_not_end_the_stream() {
        run(async {
            let chunks = [Bytes::new(), Bytes::from_static(b"after")].map(Ok);
            let (mut tunnel, _outgoing) = Tunnel::new(futures_util::stream::iter(chunks));
            let mut text = String::new();
            tunnel.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "after");
        });
    }

    #[test]
    fn lost_call_is_an_error_of_reading() {
        run(async {
            let lost = Err(io::Error::from(ErrorKind::ConnectionReset));
            let (mut tunnel, _outgoing) = Tunnel::new(futures_util::stream::iter([lost]));
            let error = tunnel.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        });
    }

    #[test]
    fn writing_after_the_other_side_has_gone_is_a_broken_pipe() {
        run(async {
            let (mut tunnel, outgoing) = Tunnel::new(futures_util::stream::empty());
            drop(outgoing);
            let error = tunnel.write_all(b"x").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        });
    }

    #[test]
    fn writer_waits_for_a_reader_that_is_slow() {
        run(async {
            let (mut tunnel, mut outgoing) = Tunnel::new(futures_util::stream::empty());
            tunnel.write_all(b"first").await.unwrap();
            let mut second = Box::pin(tunnel.write_all(b"second"));
            assert!(futures_util::poll!(&mut second).is_pending());
            assert_eq!(outgoing.next().await.unwrap(), "first");
            second.await.unwrap();
            assert_eq!(outgoing.next().await.unwrap(), "second");
        });
    }
}
