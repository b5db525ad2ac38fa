//! Keeps an agent without a port of its own attached to its conductor.
//!
//! The agent's server is reached through a call that the agent makes. When that call ends, the
//! agent calls again after a pause with full jitter: a gateway that dies must not get all of its
//! agents back in the same second. When a gateway is draining, the agent attaches elsewhere first,
//! and gives the earlier attachment up once the new one is accepted.

use std::time::Duration;

use ironic_text::error_chain;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::heartbeat::Control;
use super::jitter::Jitter;
use super::{AttachHello, Conductor, OpenAttachment, SessionLost};

/// Attaches again whenever the attachment has ended, with a hello of its own each time. Never
/// returns.
pub async fn keep<J: Jitter>(
    conductor: &dyn Conductor,
    hello: impl Fn() -> AttachHello,
    mut backoff: Backoff<J>,
    control: &Control,
) {
    loop {
        let (lost, pause) = match conductor.attach(hello()).await {
            Err(lost) => (lost, backoff.failed()),
            Ok(open) => {
                let (lost, lasted) =
                    until_lost(conductor, &hello, &mut backoff, control, open).await;
                tracing::info!(?lasted, "the attachment has ended");
                (lost, backoff.lost(lasted))
            }
        };
        tracing::warn!(reason = %error_chain(&lost), retry_in = ?pause, "not attached");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // The conductor is there. Its own pace keeps agents from coming all at once.
            () = control.heartbeat_accepted() => {}
        }
    }
}

/// Waits for the end of an attachment, and of those that follow it while the conductor is
/// draining. Answers how long the last one lasted.
async fn until_lost<J: Jitter>(
    conductor: &dyn Conductor,
    hello: &impl Fn() -> AttachHello,
    backoff: &mut Backoff<J>,
    control: &Control,
    mut open: OpenAttachment,
) -> (SessionLost, Duration) {
    loop {
        tracing::info!(event = %"attached", "milestone");
        let since = Instant::now();
        let OpenAttachment {
            mut ended,
            draining,
            moved,
        } = open;
        tokio::select! {
            lost = &mut ended => return (lost, since.elapsed()),
            () = draining => {}
        }
        tracing::info!(event = %"conductor_draining", "milestone");
        // The next gateway believes an attachment when a heartbeat has proved it.
        control.force();
        open = tokio::select! {
            lost = &mut ended => return (lost, since.elapsed()),
            next = attach_elsewhere(conductor, hello, backoff) => next,
        };
        moved();
    }
}

/// Attaches, for as long as it takes.
async fn attach_elsewhere<J: Jitter>(
    conductor: &dyn Conductor,
    hello: &impl Fn() -> AttachHello,
    backoff: &mut Backoff<J>,
) -> OpenAttachment {
    loop {
        let lost = match conductor.attach(hello()).await {
            Ok(open) => return open,
            Err(lost) => lost,
        };
        let pause = backoff.failed();
        tracing::info!(reason = %error_chain(&lost), retry_in = ?pause, "not attached elsewhere yet");
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conductor::fake::{Event, FakeConductor};
    use crate::conductor::jitter::Scripted;
    use std::sync::atomic::{AtomicU64, Ordering};

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
        let control = Control::default();
        let keeping = keep(&conductor, hello, backoff, &control);
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

    fn hello() -> AttachHello {
        AttachHello {
            node_uuid: "U".into(),
            agent_token: None,
            boot_id: "B".into(),
            counter: 1,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_draining_conductor_is_left_when_the_next_attachment_is_accepted() {
        let conductor = FakeConductor::attached_for([
            Ok(Duration::MAX),
            // Elsewhere nobody answers at first.
            Err(()),
            Ok(Duration::MAX),
        ])
        .draining_after([Some(Duration::from_secs(10)), None, None]);
        let backoff = Backoff::new(Scripted::new([1.0]));
        let control = Control::default();
        let keeping = keep(&conductor, hello, backoff, &control);
        let ended = tokio::time::timeout(Duration::from_secs(1000), keeping).await;
        assert!(ended.is_err(), "the last attachment lasts");
        let seen: Vec<_> = conductor
            .events()
            .into_iter()
            .map(|(at, event)| (at.as_secs(), event == Event::Moved))
            .collect();
        assert_eq!(seen, [(0, false), (10, false), (11, false), (11, true)]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_accepted_heartbeat_ends_the_pause() {
        let refused = std::iter::repeat_n(Err(()), 6);
        let conductor = FakeConductor::attached_for(refused.chain([Ok(Duration::MAX)]));
        let backoff = Backoff::new(Scripted::new([1.0; 6]));
        let control = Control::default();
        let keeping = keep(&conductor, hello, backoff, &control);
        let beating = async {
            // The sixth pause is 30 s long and begins after 31 s.
            tokio::time::sleep(Duration::from_secs(35)).await;
            control.note_accepted();
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        tokio::select! {
            () = keeping => {}
            () = beating => {}
        }
        let last = conductor.events().pop().unwrap();
        assert_eq!(last.0.as_secs(), 35, "{:?}", conductor.events());
    }
}
