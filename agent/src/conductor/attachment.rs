//! Keeps an agent without a port of its own attached to its conductor.
//!
//! The agent's server is reached through a call that the agent makes. When that call ends, the
//! agent calls again after a pause with full jitter: a gateway that dies must not get all of its
//! agents back in the same second.

use ironic_text::error_chain;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::jitter::Jitter;
use super::{AttachHello, Conductor};

/// Attaches again whenever the attachment has ended, with a hello of its own each time. Never
/// returns.
pub async fn keep<J: Jitter>(
    conductor: &dyn Conductor,
    hello: impl Fn() -> AttachHello,
    mut backoff: Backoff<J>,
) {
    loop {
        let (lost, pause) = match conductor.attach(hello()).await {
            Err(lost) => (lost, backoff.failed()),
            Ok(ended) => {
                tracing::info!(event = %"attached", "milestone");
                let since = Instant::now();
                let lost = ended.await;
                tracing::info!(lasted = ?since.elapsed(), "the attachment has ended");
                (lost, backoff.lost(since.elapsed()))
            }
        };
        tracing::warn!(reason = %error_chain(&lost), again = ?pause, "not attached");
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::conductor::fake::{Event, FakeConductor};
    use crate::conductor::jitter::Scripted;

    #[tokio::test(start_paused = true)]
    async fn an_attachment_that_ends_is_followed_by_another_after_a_pause() {
        let conductor = FakeConductor::attached_for([
            Err(()),
            Ok(Duration::from_secs(5)),
            Ok(Duration::from_secs(100)),
            Ok(Duration::MAX),
        ]);
        let count = AtomicU64::new(0);
        let hello = || AttachHello {
            node_uuid: "U".into(),
            agent_token: None,
            boot_id: "B".into(),
            counter: count.fetch_add(1, Ordering::Relaxed),
        };
        let backoff = Backoff::new(Scripted::new([1.0, 1.0, 1.0]));
        let keeping = keep(&conductor, hello, backoff);
        let ended = tokio::time::timeout(Duration::from_secs(1000), keeping).await;
        assert!(ended.is_err(), "the last attachment lasts");
        let seen: Vec<_> = conductor
            .events()
            .into_iter()
            .map(|(at, event)| match event {
                Event::Attach(hello) => (at.as_secs(), hello.counter),
                other => panic!("{other:?}"),
            })
            .collect();
        // Pauses of 1 s and 2 s; after a long attachment they begin anew.
        assert_eq!(seen, [(0, 0), (1, 1), (8, 2), (109, 3)]);
    }
}
