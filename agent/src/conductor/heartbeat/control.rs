//! How the rest of the agent speaks to the loop of heartbeats.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::shutdown::ShutdownReason;

/// The handle by which the rest of the agent speaks to the loop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Control {
    /// Holds one permit at most: a force that nobody waits for yet is kept, and two count as one.
    forced: Arc<Notify>,
    stop: watch::Sender<Option<ShutdownReason>>,
    /// How many heartbeats were accepted.
    accepted: watch::Sender<u64>,
}

impl Control {
    /// A handle whose loop is also forced by `forced`.
    #[must_use]
    pub fn new(forced: Arc<Notify>) -> Self {
        Self {
            forced,
            stop: watch::Sender::new(None),
            accepted: watch::Sender::new(0),
        }
    }

    /// A command has entered a phase: the conductor hears of it soon. Wakes the loop at once.
    pub fn force(&self) {
        self.forced.notify_one();
    }

    /// Ends the loop. No last beat is sent; the session ends with this reason.
    pub fn stop(&self, reason: ShutdownReason) {
        self.stop.send_if_modified(|slot| {
            let first = slot.is_none();
            slot.get_or_insert(reason);
            first
        });
    }

    /// Completes when a heartbeat is accepted from now on: the conductor is there.
    pub async fn heartbeat_accepted(&self) {
        // The sender lives as long as we do, so waiting cannot fail.
        let _ = self.accepted.subscribe().changed().await;
    }

    /// A heartbeat was accepted.
    pub(in crate::conductor) fn note_accepted(&self) {
        self.accepted.send_modify(|count| *count += 1);
    }

    /// Completes when a beat is forced.
    pub(super) async fn forced(&self) {
        self.forced.notified().await;
    }

    /// Completes when the loop is to end.
    pub(super) async fn stopped(&self) -> ShutdownReason {
        let mut stop = self.stop.subscribe();
        // The sender lives as long as we do, so waiting cannot fail.
        let reason = stop.wait_for(Option::is_some).await;
        reason
            .ok()
            .and_then(|reason| *reason)
            .unwrap_or(ShutdownReason::Stopped)
    }
}

impl Default for Control {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}
