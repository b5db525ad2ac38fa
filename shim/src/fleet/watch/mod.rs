//! A watch: the list of nodes, and then their changes, for as long as its caller reads.
//!
//! A watch holds a place in the sequence of changes and no queue of its own. One that does not
//! read for long, or that falls too far behind, is cut off while its place is still kept, so that
//! it can go on from there.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::watch_nodes_response::Content;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::access::NodeView;
use super::error::FleetError;
use super::handle::{ChangeNumber, Fleet};
use super::node_log::{Labels, NodeChange};
use super::policy::file::PolicyVersion;

/// Nodes or changes in a message: many small messages that nobody reads weigh more than their
/// bytes in HTTP/2.
const BATCH: usize = 100;

/// When nothing has changed for this long, a bookmark says where the watch is.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(30);

/// Changes that come within this time after a message come in the next one: of many watches, each
/// wakes up for some changes and not for every one.
const PACE: Duration = Duration::from_millis(10);

/// How long a message may wait for its reader.
const STALL: Duration = Duration::from_secs(30);
/// How often it is looked at whether a reader that keeps a message waiting loses its place.
const STALL_PERIOD: Duration = Duration::from_millis(250);

type WatchAnswer = Result<v1::WatchNodesResponse, Status>;

/// What a watch says; its last is why it was cut off.
pub type WatchMessage = Result<v1::WatchNodesResponse, FleetError>;

/// A watch that was admitted.
#[derive(Debug)]
pub struct NodeWatch {
    pub(super) fleet: Fleet,
    /// Labels that a node must have.
    pub(super) labels: Labels,
    /// The nodes that the caller may see.
    pub(super) view: NodeView,
    /// Says when another policy counts. `None`: there is no policy.
    pub(super) policy: Option<watch::Receiver<PolicyVersion>>,
    /// Where it goes on; `None` begins with the list.
    pub(super) resume: Option<ChangeNumber>,
    /// Leave to be one of the watches that there may be.
    pub(super) permit: OwnedSemaphorePermit,
    /// Cancelled when this program stops.
    pub(super) stop: CancellationToken,
}

/// Why a watch ends.
enum WatchEnd {
    /// Nobody is there to read.
    CallerGone,
    /// The caller is cut off.
    CutOff(FleetError),
}

impl From<FleetError> for WatchEnd {
    fn from(error: FleetError) -> Self {
        Self::CutOff(error)
    }
}

/// A place as the caller of a view is given it. Under another policy it means nothing.
pub(super) fn resume_token(fleet: &Fleet, view: &NodeView, at: ChangeNumber) -> String {
    let token = fleet.resume_token(at);
    match view.policy() {
        0 => token,
        policy => format!("{token}.{policy}"),
    }
}

/// The place that the caller of a view was given.
///
/// # Errors
/// It is none of this process or of this policy.
pub(super) fn resume(
    fleet: &Fleet,
    view: &NodeView,
    token: &str,
) -> Result<ChangeNumber, FleetError> {
    let (token, policy) = token.split_once('.').unwrap_or((token, "0"));
    if policy.parse() != Ok(view.policy()) {
        return Err(FleetError::WatchExpired);
    }
    fleet.resume(token)
}

/// Completes when another policy than that of a view counts.
async fn policy_changed(policy: Option<&mut watch::Receiver<PolicyVersion>>, view: &NodeView) {
    let Some(policy) = policy else {
        return std::future::pending().await;
    };
    let number = view.policy();
    if policy
        .wait_for(|version| version.number != number)
        .await
        .is_err()
    {
        // The policy is gone: the program stops.
        std::future::pending().await
    }
}

/// Whether a message has as many changes as one may have.
fn is_full(content: &Content) -> bool {
    matches!(content, Content::Events(events) if events.events.len() >= BATCH)
}

/// Whether a node has the labels.
pub(super) fn selects(labels: &Labels, of_node: &Labels) -> bool {
    labels
        .iter()
        .all(|(key, value)| of_node.get(key) == Some(value))
}

impl NodeWatch {
    /// Whether it goes on without the list.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.resume.is_some()
    }

    /// Starts it. It ends when the stream is dropped.
    pub(super) fn start(self) -> impl Stream<Item = WatchAnswer> + Send {
        let messages = self.messages();
        messages.map(|message| message.map_err(Status::from))
    }

    /// Starts it. It ends when the stream is dropped.
    pub fn messages(self) -> impl Stream<Item = WatchMessage> + Send {
        let (sender, messages) = mpsc::channel(1);
        let (end, ending) = oneshot::channel();
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = self.run(&sender) => ended,
                () = self.stop.cancelled() => Err(FleetError::GatewayStopping.into()),
            };
            drop(self.permit);
            if let Err(WatchEnd::CutOff(error)) = ended {
                // A caller that has hung up does not hear why.
                let _ = end.send(error);
            }
        });
        let ending = ending.map(Result::ok).into_stream();
        let ending = ending.filter_map(|error| std::future::ready(error.map(Err)));
        ReceiverStream::new(messages).map(Ok).chain(ending)
    }

    async fn run(&self, sender: &mpsc::Sender<v1::WatchNodesResponse>) -> Result<(), WatchEnd> {
        let mut latest = self.fleet.latest();
        let mut policy = self.policy.clone();
        let mut at = match self.resume {
            Some(at) => at,
            None => self.list(sender).await?,
        };
        let mut bookmark_at = Instant::now() + BOOKMARK_PERIOD;
        // Goal: each change that the caller selects, in its order. Exit: the caller is gone or
        // is cut off.
        loop {
            latest.borrow_and_update();
            let number = policy.as_ref().map(|policy| policy.borrow().number);
            if number.is_some_and(|number| number != self.view.policy()) {
                return Err(FleetError::PolicyChanged.into());
            }
            let (content, next) = self.next(at)?;
            at = next;
            if let Some(content) = content {
                let is_full = is_full(&content);
                self.send(sender, content, Some(at)).await?;
                bookmark_at = Instant::now() + BOOKMARK_PERIOD;
                if !is_full {
                    tokio::select! {
                        () = sender.closed() => return Err(WatchEnd::CallerGone),
                        () = sleep(PACE) => {}
                    }
                }
                continue;
            }
            let changed = tokio::select! {
                () = sender.closed() => return Err(WatchEnd::CallerGone),
                () = policy_changed(policy.as_mut(), &self.view) => continue,
                changed = timeout_at(bookmark_at, latest.changed()) => changed,
            };
            match changed {
                Ok(Ok(())) => {}
                // The fleet is gone: the program stops.
                Ok(Err(_)) => return Ok(()),
                Err(_) => {
                    let bookmark = Content::Bookmark(v1::Bookmark {});
                    self.send(sender, bookmark, Some(at)).await?;
                    bookmark_at = Instant::now() + BOOKMARK_PERIOD;
                }
            }
        }
    }

    /// Sends the list. Answers where the changes after it begin.
    async fn list(
        &self,
        sender: &mpsc::Sender<v1::WatchNodesResponse>,
    ) -> Result<ChangeNumber, WatchEnd> {
        let snapshot = self.fleet.snapshot(|node| self.shows(&node.labels));
        let parts = snapshot.nodes.len().div_ceil(BATCH).max(1);
        for part in 0..parts {
            let nodes = snapshot.nodes.iter().skip(part * BATCH).take(BATCH);
            let complete = part + 1 == parts;
            let list = v1::NodeList {
                nodes: nodes.map(|node| node.as_ref().clone()).collect(),
                complete,
            };
            let at = complete.then_some(snapshot.at);
            self.send(sender, Content::Nodes(list), at).await?;
        }
        Ok(snapshot.at)
    }

    /// The next changes after a place, if the caller selects any, and the place after them.
    fn next(&self, at: ChangeNumber) -> Result<(Option<Content>, ChangeNumber), WatchEnd> {
        let mut at = at;
        loop {
            let changes = self.fleet.changes(at, BATCH);
            let changes = changes.map_err(|_| FleetError::WatchExpired)?;
            let Some((last, _)) = changes.last() else {
                return Ok((None, at));
            };
            at = *last;
            let events: Vec<_> = changes
                .into_iter()
                .filter_map(|(_, change)| self.event(change))
                .collect();
            if !events.is_empty() {
                return Ok((Some(Content::Events(v1::NodeEvents { events })), at));
            }
        }
    }

    /// A change as this caller sees it.
    fn event(&self, change: NodeChange) -> Option<v1::NodeEvent> {
        let is_selected = self.shows(&change.node.labels);
        let was_selected = change
            .labels_before
            .map_or(is_selected, |before| self.shows(&before));
        let kind = match (was_selected, is_selected) {
            (true, true) => change.kind,
            (false, true) => v1::NodeEventKind::Added,
            (true, false) => v1::NodeEventKind::Removed,
            (false, false) => return None,
        };
        Some(v1::NodeEvent {
            kind: kind.into(),
            node: Some(change.node.as_ref().clone()),
            at: Some(change.at),
            order: change.order.map(Arc::unwrap_or_clone),
        })
    }

    /// Whether the caller selects and may see nodes with these labels.
    fn shows(&self, labels: &Labels) -> bool {
        selects(&self.labels, labels) && self.view.sees(labels)
    }

    async fn send(
        &self,
        sender: &mpsc::Sender<v1::WatchNodesResponse>,
        content: Content,
        at: Option<ChangeNumber>,
    ) -> Result<(), WatchEnd> {
        let message = v1::WatchNodesResponse {
            content: Some(content),
            resume_token: at
                .map_or_else(String::new, |at| resume_token(&self.fleet, &self.view, at)),
        };
        tokio::select! {
            biased;
            sent = sender.send(message) => sent.map_err(|_| WatchEnd::CallerGone),
            () = self.is_slow(at) => Err(FleetError::WatcherSlow.into()),
        }
    }

    /// Completes when a message has waited for too long, or while its reader's place is about to
    /// be lost.
    async fn is_slow(&self, at: Option<ChangeNumber>) {
        let until = Instant::now() + STALL;
        while Instant::now() < until {
            sleep(STALL_PERIOD).await;
            if at.is_some_and(|at| self.fleet.is_far_behind(at)) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
