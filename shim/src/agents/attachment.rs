//! Where the calls to a node go whose agent listens nowhere: over the connection that the agent
//! has opened, whichever that is at the moment.

use std::sync::Arc;
use std::time::Duration;

use ironic_tunnel::GrpcChannel;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::labels::DropReason;
use crate::metrics::{GaugeGuard, Metrics};

/// How long a request waits for an agent that is away. The conductor gives a request up after
/// 60 s (`command_timeout`) and takes an error for the end of the deployment, a broken connection
/// for something to try again.
pub const HOLD: Duration = Duration::from_secs(45);

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
    /// It is attached to another gateway by now.
    #[error("the agent is attached to another gateway")]
    Elsewhere,
    /// It did not come back in time.
    #[error("the agent is not attached, and has not come back within {} s", HOLD.as_secs())]
    TimedOut,
    /// Too many requests wait already.
    #[error("the agent is not attached, and too many requests wait for such agents")]
    TooMany,
}

/// How the one who serves an attachment hears that it is to end.
#[derive(Debug, Clone, Default)]
pub struct AttachmentSignals {
    /// Cancelled when a later attachment takes its place.
    pub displaced: CancellationToken,
    /// Cancelled when its agent does not take what it is sent.
    pub stalled: CancellationToken,
}

/// One connection that an agent has opened.
#[derive(Debug, Clone)]
struct Attachment {
    id: AttachmentId,
    channel: GrpcChannel,
    signals: AttachmentSignals,
}

impl Away {
    /// As it is counted.
    #[must_use]
    pub fn drop_reason(self) -> DropReason {
        match self {
            Self::TimedOut => DropReason::AgentAway,
            Self::TooMany => DropReason::TooMany,
            Self::Elsewhere => DropReason::Elsewhere,
        }
    }
}

/// How a request may wait for an agent that is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldTerms {
    /// Until when: [`HOLD`] from its arrival, whatever it has waited for before.
    pub until: Instant,
    /// Whether its caller has shown that it may call the node.
    pub is_proved: bool,
}

impl HoldTerms {
    /// Those of a request that arrives now.
    #[must_use]
    pub fn now(is_proved: bool) -> Self {
        Self {
            until: Instant::now() + HOLD,
            is_proved,
        }
    }
}

/// Requests of callers that have not shown that they may call the node, or for nodes that nobody
/// here knows, wait in few places of their own: what anybody can ask takes none from a conductor.
pub const STRANGERS_HELD: usize = 64;

/// Where requests wait for agents that are away, all together: the conductor's workers wait with
/// them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HeldRequests {
    permits: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    metrics: Metrics,
}

impl HeldRequests {
    /// Room for `most` requests beside those of strangers; all are counted.
    #[must_use]
    pub fn new(most: usize, metrics: Metrics) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(most)),
            strangers: Arc::new(Semaphore::new(STRANGERS_HELD)),
            metrics,
        }
    }

    /// Where they are counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Leave for one more request to wait, of a caller that may call the node or of a stranger.
    /// `None`: too many do.
    #[must_use]
    pub fn hold(&self, is_proved: bool) -> Option<HeldRequest> {
        let permits = if is_proved {
            &self.permits
        } else {
            &self.strangers
        };
        let permit = Arc::clone(permits).try_acquire_owned().ok()?;
        Some(HeldRequest {
            _permit: permit,
            _counted: self.metrics.request_held(),
        })
    }
}

/// A request that waits, until it is dropped.
#[derive(Debug)]
pub struct HeldRequest {
    _permit: OwnedSemaphorePermit,
    _counted: GaugeGuard,
}

/// What is known of a node's attachment.
#[derive(Debug, Default)]
enum SlotState {
    /// The agent is away.
    #[default]
    Empty,
    /// Another gateway that shares this node has a later attachment.
    Elsewhere,
    /// It is here.
    Attached(Attachment),
}

impl SlotState {
    fn attachment(&self) -> Option<&Attachment> {
        match self {
            Self::Attached(attachment) => Some(attachment),
            Self::Empty | Self::Elsewhere => None,
        }
    }

    /// The connection, unless it has ended.
    fn open(&self) -> Option<OpenChannel> {
        let attachment = self.attachment()?;
        (!attachment.channel.is_closed()).then(|| OpenChannel {
            channel: attachment.channel.clone(),
            boot_id: attachment.id.boot_id.clone(),
            stalled: attachment.signals.stalled.clone(),
        })
    }
}

/// The place of a node's attachment. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AttachmentSlot {
    current: Arc<watch::Sender<SlotState>>,
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
    /// To be cancelled when the agent does not take what it is sent: the attachment ends then.
    pub stalled: CancellationToken,
}

impl AttachmentSlot {
    /// An empty slot.
    #[must_use]
    pub fn new(held: HeldRequests) -> Self {
        Self {
            current: Arc::new(watch::Sender::new(SlotState::Empty)),
            held,
        }
    }

    /// Whether a later attachment of the same boot is here.
    #[must_use]
    pub fn is_superseded(&self, id: &AttachmentId) -> bool {
        let current = self.current.borrow();
        let current = current.attachment();
        current.is_some_and(|current| current.id.is_later_than(id))
    }

    /// Puts a connection here; the one before it is displaced. What it answers says when this one
    /// is to end in turn.
    ///
    /// # Errors
    /// A later attachment of the same boot is here.
    pub fn attach(
        &self,
        id: AttachmentId,
        channel: GrpcChannel,
    ) -> Result<AttachmentSignals, Superseded> {
        let signals = AttachmentSignals::default();
        let new = Attachment {
            id,
            channel,
            signals: signals.clone(),
        };
        let mut superseded = false;
        self.current.send_if_modified(|current| {
            let later = |current: &Attachment| current.id.is_later_than(&new.id);
            superseded = current.attachment().is_some_and(later);
            if superseded {
                return false;
            }
            if let Some(earlier) = current.attachment() {
                earlier.signals.displaced.cancel();
            }
            *current = SlotState::Attached(new);
            true
        });
        if superseded {
            return Err(Superseded);
        }
        Ok(signals)
    }

    /// Empties the slot, unless a later attachment is here.
    pub fn detach(&self, id: &AttachmentId) {
        self.current.send_if_modified(|current| {
            let is_ours = current
                .attachment()
                .is_some_and(|current| current.id == *id);
            if is_ours {
                *current = SlotState::Empty;
            }
            is_ours
        });
    }

    /// Another gateway has a later attachment: the one here is displaced, and who waits for one
    /// hears at once that it does not come.
    pub fn leave(&self) {
        self.current.send_if_modified(|current| {
            if let Some(earlier) = current.attachment() {
                earlier.signals.displaced.cancel();
            }
            let is_news = !matches!(current, SlotState::Elsewhere);
            *current = SlotState::Elsewhere;
            is_news
        });
    }

    /// Whether the agent is away, is not known to be elsewhere, and nobody waits for it.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let is_empty = matches!(*self.current.borrow(), SlotState::Empty);
        is_empty && Arc::strong_count(&self.current) == 1
    }

    /// Whether the agent is attached here now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.current.borrow().open().is_some()
    }

    /// The connection. Waits for the agent to open one if it has not.
    ///
    /// # Errors
    /// There is none in time.
    pub async fn channel(&self, terms: HoldTerms) -> Result<OpenChannel, Away> {
        if let Some(settled) = settled(&self.current.borrow()) {
            return settled;
        }
        let _held = self.held.hold(terms.is_proved).ok_or(Away::TooMany)?;
        let mut current = self.current.subscribe();
        let attached = current.wait_for(|current| settled(current).is_some());
        match tokio::time::timeout_at(terms.until, attached).await {
            Ok(Ok(current)) => settled(&current).unwrap_or(Err(Away::TimedOut)),
            // The sender is ours.
            Ok(Err(_)) | Err(_) => Err(Away::TimedOut),
        }
    }

    /// The connection, if the agent has one open here.
    #[must_use]
    pub fn open(&self) -> Option<OpenChannel> {
        self.current.borrow().open()
    }

    /// Where what happens to calls is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        self.held.metrics()
    }
}

/// What a caller is answered; nothing while the agent may still come.
fn settled(current: &SlotState) -> Option<Result<OpenChannel, Away>> {
    match current {
        SlotState::Elsewhere => Some(Err(Away::Elsewhere)),
        SlotState::Empty | SlotState::Attached(_) => current.open().map(Ok),
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

    fn terms() -> HoldTerms {
        HoldTerms::now(true)
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
            async move { slot.channel(terms()).await.map(|open| open.boot_id) }
        });
        tokio::time::sleep(HOLD - Duration::from_secs(1)).await;
        let (channel, _other_end) = connection().await;
        slot.attach(id("b", 1), channel).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok("b".to_owned()));
        assert!(slot.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn how_long_and_how_many_requests_are_held_is_bounded() {
        let slot = slot(1);
        let start = Instant::now();
        let waiting = tokio::spawn({
            let slot = slot.clone();
            async move { slot.channel(terms()).await.map(|_| ()) }
        });
        tokio::task::yield_now().await;
        assert_eq!(slot.channel(terms()).await.map(|_| ()), Err(Away::TooMany));
        assert_eq!(waiting.await.unwrap(), Err(Away::TimedOut));
        assert_eq!(start.elapsed(), HOLD);
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_take_no_place_of_those_that_may_call_the_node() {
        let slot = slot(1);
        let strangers: Vec<_> = (0..=STRANGERS_HELD)
            .map(|_| {
                let slot = slot.clone();
                tokio::spawn(async move { slot.channel(HoldTerms::now(false)).await.map(|_| ()) })
            })
            .collect();
        tokio::task::yield_now().await;
        let waiting = tokio::spawn({
            let slot = slot.clone();
            async move { slot.channel(terms()).await.map(|open| open.boot_id) }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (channel, _other_end) = connection().await;
        slot.attach(id("b", 1), channel).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok("b".to_owned()));
        let mut heard = Vec::new();
        for stranger in strangers {
            heard.push(stranger.await.unwrap());
        }
        assert_eq!(heard.pop(), Some(Err(Away::TooMany)));
        assert!(heard.iter().all(Result::is_ok), "{heard:?}");
    }

    #[tokio::test]
    async fn a_connection_that_has_ended_is_none() {
        let slot = slot(0);
        let (channel, other_end) = connection().await;
        slot.attach(id("b", 1), channel.clone()).unwrap();
        assert!(slot.channel(terms()).await.is_ok());
        drop(other_end);
        while !channel.is_closed() {
            tokio::task::yield_now().await;
        }
        assert_eq!(slot.channel(terms()).await.map(|_| ()), Err(Away::TooMany));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_an_agent_that_is_elsewhere_hears_so_at_once() {
        let slot = slot(1);
        let (channel, _other_end) = connection().await;
        let displaced = slot.attach(id("b", 1), channel).unwrap().displaced;
        slot.leave();
        assert!(displaced.is_cancelled() && !slot.is_open());
        slot.detach(&id("b", 1));
        assert_eq!(
            slot.channel(terms()).await.map(|_| ()),
            Err(Away::Elsewhere)
        );
        // It comes back here, and is away again, and then elsewhere while somebody waits.
        let (channel, other_end) = connection().await;
        slot.attach(id("b", 3), channel.clone()).unwrap();
        assert!(slot.channel(terms()).await.is_ok());
        drop(other_end);
        slot.detach(&id("b", 3));
        let start = Instant::now();
        let waiting = tokio::spawn({
            let slot = slot.clone();
            async move { slot.channel(terms()).await.map(|_| ()) }
        });
        tokio::task::yield_now().await;
        slot.leave();
        assert_eq!(waiting.await.unwrap(), Err(Away::Elsewhere));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn the_later_attachment_counts_and_a_late_clean_up_never_removes_it() {
        let slot = slot(0);
        let mut ends = Vec::new();
        let mut attach = async |id: &AttachmentId| {
            let (channel, other_end) = connection().await;
            ends.push(other_end);
            let attached = slot.attach(id.clone(), channel);
            attached.map(|signals| signals.displaced)
        };
        let (first, second) = (id("b", 1), id("b", 2));
        let displaced = attach(&first).await.unwrap();
        let current = attach(&second).await.unwrap();
        assert!(displaced.is_cancelled() && !current.is_cancelled());
        // One that was overtaken on its way.
        assert!(attach(&first).await.is_err());
        slot.detach(&first);
        assert!(slot.is_open() && !current.is_cancelled());
        // The machine has booted again: its counter says nothing.
        let rebooted = id("c", 1);
        attach(&rebooted).await.unwrap();
        assert!(current.is_cancelled());
        slot.detach(&second);
        assert!(slot.is_open());
        slot.detach(&rebooted);
        assert!(!slot.is_open());
    }
}
