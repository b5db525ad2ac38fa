//! Bodies of requests: read within a limit, or drained so that the connection stays usable.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::RestError;
use super::memory::{BodyShares, GrowingBody, Memory};

/// What a body may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// Its largest size in bytes.
    pub size: usize,
    /// How long nothing may arrive.
    pub stall: Duration,
    /// How long it may take in all.
    pub whole: Duration,
}

/// A body in memory.
#[derive(Debug)]
pub struct BufferedBody {
    /// The body.
    pub bytes: Vec<u8>,
    /// The shares that hold it. They belong to what becomes of the body, too.
    pub memory: Option<BodyShares>,
}

/// Reads a body, of a request for a node or for the one agent beside this program.
///
/// # Errors
/// It is too large, too slow or broken, or others have the memory. Then what is left of it
/// was not read.
pub async fn read<B>(
    body: B,
    limits: BodyLimits,
    memory: &Memory,
    node: Option<&str>,
) -> Result<BufferedBody, RestError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limits.size {
        return Err(RestError::too_large(limits.size));
    }
    // Address space only: pages that nothing arrives for are never touched.
    let mut bytes = Vec::with_capacity(announced);
    let mut flow = Flow::new(body, limits);
    let mut growing = GrowingBody::new(memory, node);
    while let Some(chunk) = flow.next().await? {
        let length = bytes.len() + chunk.len();
        if length > limits.size {
            return Err(RestError::too_large(limits.size));
        }
        // By what has arrived, not by what was announced: announcing is free. Small bodies
        // need no share.
        growing.reach(length).await?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(BufferedBody {
        bytes,
        memory: growing.into_shares(),
    })
}

/// Reads what nobody wants. Whether that was all of it.
pub async fn drain<B>(body: B, limits: BodyLimits) -> bool
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.is_end_stream() {
        return true;
    }
    let mut left = limits.size;
    let mut flow = Flow::new(body, limits);
    loop {
        match flow.next().await {
            Ok(None) => return true,
            Ok(Some(chunk)) if chunk.len() <= left => left -= chunk.len(),
            Ok(Some(_)) | Err(_) => return false,
        }
    }
}

/// The chunks of a body, each in time.
struct Flow<B> {
    body: B,
    stall: Duration,
    end: Instant,
}

impl<B: Body<Data = Bytes> + Unpin> Flow<B> {
    fn new(body: B, limits: BodyLimits) -> Self {
        Self {
            body,
            stall: limits.stall,
            end: Instant::now() + limits.whole,
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, RestError> {
        loop {
            let frame = timeout_at(self.end, timeout(self.stall, self.body.frame())).await;
            match frame {
                Ok(Ok(None)) => return Ok(None),
                Ok(Ok(Some(Ok(frame)))) => {
                    // Trailers mean nothing here.
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Ok(Ok(Some(Err(_)))) => return Err(RestError::broken_body()),
                Ok(Err(_)) | Err(_) => return Err(RestError::slow(self.stall.as_secs())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body_util::Full;
    use hyper::body::{Frame, SizeHint};

    use super::*;
    use crate::rest::memory::SHARE;

    const LIMITS: BodyLimits = BodyLimits {
        size: 10,
        stall: Duration::from_secs(10),
        whole: Duration::from_secs(60),
    };

    /// Sends one byte per period, forever or until it breaks off and stays mute.
    struct Drip {
        period: tokio::time::Interval,
        left: usize,
    }

    impl Drip {
        fn new(period: Duration, left: usize) -> Self {
            Self {
                period: tokio::time::interval(period),
                left,
            }
        }
    }

    impl Body for Drip {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.left == 0 {
                return Poll::Pending;
            }
            self.period.poll_tick(context).map(|_| {
                self.left -= 1;
                Some(Ok(Frame::data(Bytes::from_static(b"x"))))
            })
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::new()
        }
    }

    fn text(length: usize) -> Full<Bytes> {
        Full::new(Bytes::from(vec![b'x'; length]))
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_is_the_last_size_that_passes() {
        let memory = Memory::of(1, 1);
        let held = read(text(10), LIMITS, &memory, None).await.unwrap();
        assert_eq!(held.bytes.len(), 10);
        let refused = read(text(11), LIMITS, &memory, None).await.unwrap_err();
        assert_eq!(refused, RestError::too_large(10));
        // Without an announced length the bytes are counted.
        let drip = Drip::new(Duration::from_millis(1), 11);
        let refused = read(drip, LIMITS, &memory, None).await.unwrap_err();
        assert_eq!(refused, RestError::too_large(10));
        assert!(drain(text(10), LIMITS).await);
        assert!(!drain(text(11), LIMITS).await);
    }

    #[tokio::test]
    async fn bodies_share_their_memory() {
        let limits = BodyLimits {
            size: 4 * SHARE,
            ..LIMITS
        };
        let memory = Memory::of(4 * SHARE, 4 * SHARE);
        let first = read(text(3 * SHARE), limits, &memory, None).await.unwrap();
        let refused = read(text(2 * SHARE), limits, &memory, None)
            .await
            .unwrap_err();
        assert_eq!(refused, RestError::crowded());
        let small = read(text(SHARE - 1), limits, &memory, None).await;
        assert!(small.is_ok(), "small ones need no share");
        drop(first);
        assert!(read(text(4 * SHARE), limits, &memory, None).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_sender_is_given_up() {
        let start = Instant::now();
        let mute = Drip::new(Duration::from_secs(1), 3);
        let memory = Memory::of(1, 1);
        let refused = read(mute, LIMITS, &memory, None).await.unwrap_err();
        assert_eq!(refused, RestError::slow(10));
        assert_eq!(start.elapsed().as_secs(), 12);

        let start = Instant::now();
        let dripping = Drip::new(Duration::from_secs(9), usize::MAX);
        let refused = read(dripping, LIMITS, &memory, None).await.unwrap_err();
        assert_eq!(refused, RestError::slow(10));
        assert_eq!(start.elapsed().as_secs(), 60);
    }
}
