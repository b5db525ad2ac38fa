//! Messages for the time when there is nothing to say.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use tokio::time::{Instant, Sleep, sleep_until};

/// The longest silence of a long-lived stream. A proxy that understands HTTP/2 answers pings
/// itself and ends a call in which no message has passed for a while: nginx after 60 s,
/// HAProxy after 50 s as Debian configures it, in each direction by itself.
pub const KEEP_ALIVE: Duration = Duration::from_secs(25);

/// A stream that says something at least every [`KEEP_ALIVE`].
#[derive(Debug)]
pub struct KeptAlive<S, F> {
    messages: S,
    keep_alive: F,
    /// When something was said the last time.
    said: Instant,
    /// Ends when the silence could be too long: it is set anew only then, because messages come by the
    /// thousand. Boxed, because the streams around it move.
    silence: Pin<Box<Sleep>>,
}

/// Adds a message to `messages` whenever none has come for [`KEEP_ALIVE`]. Must be called
/// within a runtime.
pub fn keep_alive<S, F>(messages: S, keep_alive: F) -> KeptAlive<S, F>
where
    S: Stream + Unpin,
    F: Fn() -> S::Item + Unpin,
{
    let said = Instant::now();
    KeptAlive {
        messages,
        keep_alive,
        said,
        silence: Box::pin(sleep_until(said + KEEP_ALIVE)),
    }
}

impl<S, F> Stream for KeptAlive<S, F>
where
    S: Stream + Unpin,
    F: Fn() -> S::Item + Unpin,
{
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(next) = Pin::new(&mut self.messages).poll_next(context) {
            self.said = Instant::now();
            return Poll::Ready(next);
        }
        // Goal: the end of the silence. Exit: it is the one that counts, or still to come.
        loop {
            ready!(self.silence.as_mut().poll(context));
            let now = Instant::now();
            let is_over = now >= self.said + KEEP_ALIVE;
            if is_over {
                self.said = now;
            }
            let end = self.said + KEEP_ALIVE;
            self.silence.as_mut().reset(end);
            if is_over {
                return Poll::Ready(Some((self.keep_alive)()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tokio::sync::mpsc;
    use tokio::time::sleep;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_is_never_longer_than_the_period() {
        let start = Instant::now();
        let (sender, messages) = mpsc::channel(8);
        tokio::spawn(async move {
            for pause in [1, 24, 25, 60, 5] {
                sleep(Duration::from_secs(pause)).await;
                sender.send("message").await.unwrap();
            }
        });
        let mut kept = keep_alive(ReceiverStream::new(messages), || "keep-alive");
        let mut seen = Vec::new();
        while let Some(message) = kept.next().await {
            seen.push((start.elapsed().as_secs(), message));
        }
        let messages: Vec<u64> = seen
            .iter()
            .filter(|(_, it)| *it == "message")
            .map(|(at, _)| *at)
            .collect();
        assert_eq!(messages, [1, 25, 50, 110, 115]);
        let mut last = 0;
        for (at, message) in &seen {
            assert!(at - last <= 25, "{seen:?}");
            // And nothing is added where something is said.
            assert!(*message == "message" || at - last == 25, "{seen:?}");
            last = *at;
        }
        assert!(seen.iter().any(|(_, it)| *it == "keep-alive"), "{seen:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn messages_that_come_at_once_leave_the_timer_as_it_is() {
        let messages = futures_util::stream::iter(0..3).chain(futures_util::stream::pending());
        let mut kept = keep_alive(messages, || 9);
        let before = kept.silence.deadline();
        sleep(Duration::from_secs(1)).await;
        for number in 0..3 {
            assert_eq!(kept.next().await, Some(number));
        }
        assert_eq!(kept.silence.deadline(), before);
        let said = Instant::now();
        assert_eq!(kept.next().await, Some(9));
        assert_eq!(said.elapsed(), KEEP_ALIVE);
    }

    #[tokio::test(start_paused = true)]
    async fn end_of_the_messages_is_the_end() {
        let mut kept = keep_alive(futures_util::stream::iter([1]), || 0);
        assert_eq!(kept.next().await, Some(1));
        assert_eq!(kept.next().await, None);
    }
}
