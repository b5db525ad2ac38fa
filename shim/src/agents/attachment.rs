//! Where the calls to a node go whose agent listens nowhere: over the connection that the agent
//! has opened, whichever that is at the moment.

use std::sync::Arc;
use std::time::Duration;

use ironic_tunnel::GrpcChannel;
use thiserror::Error;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::metrics::labels::DropReason;

/// How long a request waits for an agent that is away. The conductor gives a request up after
/// 60 s (`command_timeout`) and takes an error for the end of the deployment, a broken connection
/// for something to try again.
const HOLD: Duration = Duration::from_secs(45);

/// Which attachment of an agent this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachmentId {
    /// Identifies the boot of the machine.
    pub boot_id: String,
    /// Grows from one attachment of a boot to the next.
    pub counter: u64,
}

impl AttachmentId {
    /// Whether it is certain that this one was opened after the other.
    fn is_later_than(&self, other: &Self) -> bool {
        self.boot_id == other.boot_id && self.counter > other.counter
    }
}

/// A later attachment of this boot is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a later attachment of this agent is here")]
pub struct Superseded;

/// The agent is away, and nobody can wait for it any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Away {
    /// It did not come back in time.
    #[error("the agent is not attached, and has not come back within {} s", HOLD.as_secs())]
    TimedOut,
    /// Too many requests wait already.
    #[error("the agent is not attached, and too many requests wait for such agents")]
    TooMany,
}

/// One connection that an agent has opened.
#[derive(Debug, Clone)]
struct Attachment {
    id: AttachmentId,
    channel: GrpcChannel,
    displaced: CancellationToken,
}

impl Away {
    /// As it is counted.
    #[must_use]
    pub fn drop_reason(self) -> DropReason {
        match self {
            Self::TimedOut => DropReason::AgentAway,
            Self::TooMany => DropReason::TooMany,
        }
    }
}

/// Where requests wait for agents that are away, all together: the conductor's workers wait with
/// them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HeldRequests {
    places: Arc<Semaphore>,
    metrics: Metrics,
}

impl HeldRequests {
    /// Room for `most` requests, which are counted.
    #[must_use]
    pub fn new(most: usize, metrics: Metrics) -> Self {
        Self {
            places: Arc::new(Semaphore::new(most)),
            metrics,
        }
    }

    /// Where they are counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

/// The place of a node's attachment. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AttachmentSlot {
    current: Arc<watch::Sender<Option<Attachment>>>,
    /// Shared by the slots of all nodes.
    held: HeldRequests,
}

/// An open attachment, as a caller uses it.
#[derive(Debug, Clone)]
pub struct OpenChannel {
    /// For a generated client.
    pub channel: GrpcChannel,
    /// A command whose answer was lost is repeated within one boot only: an agent of the next
    /// one does not know that it was begun.
    pub boot_id: String,
}

impl AttachmentSlot {
    /// An empty slot.
    #[must_use]
    pub fn new(held: HeldRequests) -> Self {
        Self {
            current: Arc::new(watch::Sender::new(None)),
            held,
        }
    }

    /// Whether a later attachment of the same boot is here.
    #[must_use]
    pub fn is_superseded(&self, id: &AttachmentId) -> bool {
        let current = self.current.borrow();
        current
            .as_ref()
            .is_some_and(|current| current.id.is_later_than(id))
    }

    /// Puts a connection here; the one before it is displaced. The token that it answers is
    /// cancelled when this one is displaced in turn.
    ///
    /// # Errors
    /// A later attachment of the same boot is here.
    pub fn attach(
        &self,
        id: AttachmentId,
        channel: GrpcChannel,
    ) -> Result<CancellationToken, Superseded> {
        let displaced = CancellationToken::new();
        let new = Attachment {
            id,
            channel,
            displaced: displaced.clone(),
        };
        let mut superseded = false;
        self.current.send_if_modified(|current| {
            let later = |current: &Attachment| current.id.is_later_than(&new.id);
            superseded = current.as_ref().is_some_and(later);
            if superseded {
                return false;
            }
            if let Some(earlier) = current.replace(new) {
                earlier.displaced.cancel();
            }
            true
        });
        if superseded {
            return Err(Superseded);
        }
        Ok(displaced)
    }

    /// Empties the slot, unless a later attachment is here.
    pub fn detach(&self, id: &AttachmentId) {
        self.current.send_if_modified(|current| {
            let is_ours = current.as_ref().is_some_and(|current| current.id == *id);
            if is_ours {
                *current = None;
            }
            is_ours
        });
    }

    /// The connection. Waits for the agent to open one if it has not.
    ///
    /// # Errors
    /// There is none in time.
    pub async fn channel(&self) -> Result<OpenChannel, Away> {
        if let Some(open) = self.open() {
            return Ok(open);
        }
        let _place = self.held.places.try_acquire().map_err(|_| Away::TooMany)?;
        let _counted = self.held.metrics.request_held();
        let mut current = self.current.subscribe();
        let attached = current.wait_for(|current| current.as_ref().is_some_and(is_open));
        match tokio::time::timeout(HOLD, attached).await {
            Ok(Ok(current)) => current.as_ref().map(opened).ok_or(Away::TimedOut),
            // The sender is ours.
            Ok(Err(_)) | Err(_) => Err(Away::TimedOut),
        }
    }

    /// Where what happens to calls is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        self.held.metrics()
    }

    fn open(&self) -> Option<OpenChannel> {
        let current = self.current.borrow();
        current
            .as_ref()
            .filter(|current| is_open(current))
            .map(opened)
    }
}

fn is_open(attachment: &Attachment) -> bool {
    !attachment.channel.is_closed()
}

fn opened(attachment: &Attachment) -> OpenChannel {
    OpenChannel {
        channel: attachment.channel.clone(),
        boot_id: attachment.id.boot_id.clone(),
    }
}

#[cfg(test)]
mod tests {
    use ironic_tunnel::Pings;
    use tokio::io::DuplexStream;

    use super::*;

    fn slot(held: usize) -> AttachmentSlot {
        AttachmentSlot::new(HeldRequests::new(held, Metrics::new()))
    }

    fn id(boot: &str, counter: u64) -> AttachmentId {
        AttachmentId {
            boot_id: boot.into(),
            counter,
        }
    }

    /// A connection, and its other end, without which it is closed.
    async fn connection() -> (GrpcChannel, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1024);
        let (channel, driver) = ironic_tunnel::connect(ours, Pings::Never).await.unwrap();
        tokio::spawn(driver);
        (channel, theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_held_until_the_agent_is_back() {
        let slot = slot(1);
        let waiting = tokio::spawn({
            let slot = slot.clone();
            async move { slot.channel().await.map(|open| open.boot_id) }
        });
        tokio::time::sleep(HOLD - Duration::from_secs(1)).await;
        let (channel, _other_end) = connection().await;
        slot.attach(id("b", 1), channel).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok("b".to_owned()));
        assert!(slot.open().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn how_long_and_how_many_requests_are_held_is_bounded() {
        let slot = slot(1);
        let start = tokio::time::Instant::now();
        let waiting = tokio::spawn({
            let slot = slot.clone();
            async move { slot.channel().await.map(|_| ()) }
        });
        tokio::task::yield_now().await;
        assert_eq!(slot.channel().await.map(|_| ()), Err(Away::TooMany));
        assert_eq!(waiting.await.unwrap(), Err(Away::TimedOut));
        assert_eq!(start.elapsed(), HOLD);
    }

    #[tokio::test]
    async fn a_connection_that_has_ended_is_none() {
        let slot = slot(0);
        let (channel, other_end) = connection().await;
        slot.attach(id("b", 1), channel.clone()).unwrap();
        assert!(slot.channel().await.is_ok());
        drop(other_end);
        while !channel.is_closed() {
            tokio::task::yield_now().await;
        }
        assert_eq!(slot.channel().await.map(|_| ()), Err(Away::TooMany));
    }

    #[tokio::test]
    async fn the_later_attachment_counts_and_a_late_clean_up_never_removes_it() {
        let slot = slot(0);
        let mut ends = Vec::new();
        let mut attach = async |id: &AttachmentId| {
            let (channel, other_end) = connection().await;
            ends.push(other_end);
            slot.attach(id.clone(), channel)
        };
        let (first, second) = (id("b", 1), id("b", 2));
        let displaced = attach(&first).await.unwrap();
        let current = attach(&second).await.unwrap();
        assert!(displaced.is_cancelled() && !current.is_cancelled());
        // One that was overtaken on its way.
        assert!(attach(&first).await.is_err());
        slot.detach(&first);
        assert!(slot.open().is_some() && !current.is_cancelled());
        // The machine has booted again: its counter says nothing.
        let rebooted = id("c", 1);
        attach(&rebooted).await.unwrap();
        assert!(current.is_cancelled());
        slot.detach(&second);
        assert!(slot.open().is_some());
        slot.detach(&rebooted);
        assert!(slot.open().is_none());
    }
}
