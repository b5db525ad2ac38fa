//! Whether an agent that has attached takes what it is sent. One that reads nothing more would keep
//! every request for it, up to 160 MiB each, for as long as its connection lasts.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;

/// How long an agent may take nothing of a request that it has not got whole. As long as the pings
/// of its connection need to notice that it is gone; the slowest link carries a piece in a fraction
/// of it.
pub(super) const STALL: Duration = Duration::from_secs(30);

/// The most that leaves at once. A message is a single frame before, of which nobody sees how far
/// it is.
const PIECE: usize = 64 * 1024;

/// What an order holds of a memory that is bounded, until it was handed to the agent.
#[derive(Debug, Clone)]
pub struct OrderMemory {
    _held: Arc<dyn Any + Send + Sync>,
}

impl OrderMemory {
    /// Holds this.
    #[must_use]
    pub fn new(held: impl Any + Send + Sync) -> Self {
        Self {
            _held: Arc::new(held),
        }
    }
}

/// Says when pieces of a request are taken. It is closed when nothing is left of it.
#[derive(Debug)]
pub(super) struct Handover(watch::Receiver<()>);

impl Handover {
    /// The body that is to be sent in place of `body`, and how to watch it. What the order holds
    /// ends with the body.
    pub(super) fn of(body: Body, memory: Option<OrderMemory>) -> (Body, Self) {
        let (taken, pieces) = watch::channel(());
        let body = PacedBody {
            body,
            rest: Bytes::new(),
            taken,
            _memory: memory,
        };
        (Body::new(body), Self(pieces))
    }

    /// Completes when nothing was taken for [`STALL`] of a request that is not whole at the agent;
    /// else never.
    pub(super) async fn stalled(mut self) {
        loop {
            match tokio::time::timeout(STALL, self.0.changed()).await {
                Ok(Ok(())) => {}
                // Nothing is left, or the call has ended.
                Ok(Err(_)) => std::future::pending().await,
                Err(_) => return,
            }
        }
    }
}

/// A body that leaves in pieces.
#[derive(Debug)]
struct PacedBody {
    body: Body,
    /// What of the last frame is still to leave.
    rest: Bytes,
    taken: watch::Sender<()>,
    _memory: Option<OrderMemory>,
}

impl http_body::Body for PacedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                ended => return Poll::Ready(ended),
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let length = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(length);
        self.taken.send_replace(());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_passes_in_pieces_and_is_watched_until_its_end() {
        let text = Bytes::from(vec![b'x'; 2 * PIECE + 1]);
        let (mut body, handover) = Handover::of(Body::new(Full::new(text)), None);
        let begun = Instant::now();
        let stalled = tokio::spawn(async move {
            handover.stalled().await;
            begun.elapsed()
        });
        let mut lengths = Vec::new();
        for _ in 0..2 {
            // Slow, and not at a standstill.
            tokio::time::sleep(STALL / 2).await;
            let frame = body.frame().await.unwrap().unwrap();
            lengths.push(frame.into_data().unwrap().len());
        }
        assert_eq!(lengths, [PIECE, PIECE]);
        assert!(!http_body::Body::is_end_stream(&body));
        assert_eq!(stalled.await.unwrap(), 2 * STALL);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_taken_whole_may_take_long_and_holds_nothing() {
        let held = Arc::new(());
        let memory = OrderMemory::new(Arc::clone(&held));
        let (body, handover) = Handover::of(Body::new(Full::new("order".into())), Some(memory));
        assert_eq!(Arc::strong_count(&held), 2);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "order");
        assert_eq!(Arc::strong_count(&held), 1);
        let stalled = tokio::time::timeout(100 * STALL, handover.stalled());
        assert!(stalled.await.is_err());
    }
}
