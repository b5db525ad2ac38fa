//! The handle to the nodes of a gateway that all modules share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ironic_agent_protocol::v1;
use tokio::sync::watch;
use uuid::Uuid;

use super::access::NodeView;
use super::clock::now;
use super::error::FleetError;
use super::history::HistoryEntry;
use super::node_log::{Expired, Labels, NodeChange};
use super::node_table::NodeTable;
use crate::identity::NodeLabels;

/// Changes that are kept for watches that are behind. Each is a node of some 500 bytes.
const CHANGES: usize = 32_768;

/// The nodes of a gateway, and what changes about them. Cheap to clone; all clones share them.
#[derive(Debug, Clone)]
pub struct Fleet(Arc<FleetState>);

#[derive(Debug)]
struct FleetState {
    /// Distinguishes this process from earlier ones, whose numbers mean nothing here.
    epoch: String,
    table: Mutex<NodeTable>,
    /// The number of the latest change: wakes who waits for one.
    latest: watch::Sender<u64>,
    /// Whether anything is noted.
    is_kept: bool,
}

/// A place in the sequence of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChangeNumber(pub(super) u64);

/// Nodes as they were at one place of the sequence.
#[derive(Debug)]
pub(super) struct NodeSnapshot {
    pub(super) nodes: Vec<Arc<v1::Node>>,
    pub(super) at: ChangeNumber,
}

/// Which attachment of a node one is, for [`Fleet::lost`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttachmentNumber(u64);

impl Default for Fleet {
    fn default() -> Self {
        Self::keeping(CHANGES)
    }
}

impl Fleet {
    /// No nodes yet. Nobody watches them, and no change is kept.
    #[must_use]
    pub fn unwatched() -> Self {
        Self::keeping(0)
    }

    /// No nodes, ever: nobody asks for any, and nothing is noted.
    #[must_use]
    pub fn unlisted() -> Self {
        Self::with(0, false)
    }

    /// No nodes yet; at most `changes` changes are kept.
    pub(super) fn keeping(changes: usize) -> Self {
        Self::with(changes, true)
    }

    fn with(changes: usize, is_kept: bool) -> Self {
        let epoch = Uuid::new_v4().simple().to_string();
        Self(Arc::new(FleetState {
            epoch: epoch[..12].to_owned(),
            table: Mutex::new(NodeTable::new(changes)),
            latest: watch::Sender::new(0),
            is_kept,
        }))
    }

    /// Keeps what happens to nodes from now on, for [`history`](Self::history).
    pub(super) fn keep_history(&self) {
        self.table().history.keep();
    }

    /// The last that has happened to a node, oldest first.
    pub(super) fn history(&self, uuid: &str) -> Vec<HistoryEntry> {
        self.table().history.of(uuid)
    }

    /// The last that has happened to nodes, without the phases of commands: at most `most`, with
    /// the UUIDs, oldest first.
    pub(super) fn latest_events(
        &self,
        most: usize,
        select: impl Fn(&v1::Node) -> bool,
    ) -> Vec<(String, HistoryEntry)> {
        let table = self.table();
        let events = table.history.latest();
        let events = events.filter(|(uuid, _)| table.get(uuid).is_some_and(|node| select(node)));
        let mut events: Vec<_> = events
            .take(most)
            .map(|(uuid, entry)| (uuid.to_owned(), entry.clone()))
            .collect();
        events.reverse();
        events
    }

    /// Notes that a node is known.
    pub fn add(&self, uuid: &str) {
        self.change(|table| table.add(uuid, now()));
    }

    /// Gives a node its name and labels.
    pub fn describe(&self, uuid: &str, name: &str, labels: &Labels) {
        self.change(|table| table.describe(uuid, name, labels, now()));
    }

    /// Forgets a node that is not described any more; one whose agent is attached, here or to
    /// another gateway, only loses its name and labels.
    pub fn undescribe(&self, uuid: &str) {
        self.change(|table| {
            if table.is_attached(uuid) || table.is_elsewhere(uuid) {
                table.describe(uuid, "", &Labels::new(), now());
            } else {
                table.remove(uuid, now());
            }
        });
    }

    /// Whether the agent of a node is attached.
    #[must_use]
    pub fn is_attached(&self, uuid: &str) -> bool {
        self.table().is_attached(uuid)
    }

    /// Notes that the agent of a node has attached.
    pub fn attached(&self, uuid: &str, attachment: v1::NodeAttachment) -> AttachmentNumber {
        let since = Some(now());
        let attachment = v1::NodeAttachment {
            since,
            ..attachment
        };
        AttachmentNumber(self.change(|table| table.attached(uuid, attachment)))
    }

    /// Notes that an attachment has ended, unless a later one has taken its place.
    pub fn lost(&self, uuid: &str, attachment: AttachmentNumber) {
        self.change(|table| table.lost(uuid, attachment.0, now()));
    }

    /// Notes which other gateway holds a node; `None`: none does.
    pub(super) fn elsewhere(&self, uuid: &str, gateway: Option<&str>) {
        self.change(|table| table.move_to(uuid, gateway, now()));
    }

    /// The nodes that other gateways hold.
    pub(super) fn nodes_elsewhere(&self) -> Vec<String> {
        self.table().elsewhere().cloned().collect()
    }

    /// Notes that a machine was handed over or locked down.
    pub fn closed(&self, uuid: &str) {
        self.change(|table| table.closed(uuid, now()));
    }

    /// Notes a sign of life of a node, which is known from now on.
    pub fn heard(&self, uuid: &str) {
        self.change(|table| {
            table.add(uuid, now());
            table.heard(uuid, now());
        });
    }

    /// Notes that the gateway has taken an inspection report of a node.
    pub fn inspected(&self, uuid: &str) {
        let kind = v1::NodeEventKind::Inspected;
        self.change(|table| table.happened(uuid, kind, now()));
    }

    /// Notes the order that a caller gave for a node.
    pub(super) fn ordered(&self, uuid: &str, order: v1::NodeOrder) {
        self.change(|table| table.ordered(uuid, order, now()));
    }

    /// Notes what became of a command.
    pub fn command(&self, uuid: &str, command: v1::NodeCommand) {
        self.change(|table| table.command(uuid, command, now()));
    }

    /// The node with a UUID.
    #[must_use]
    pub fn get(&self, uuid: &str) -> Option<Arc<v1::Node>> {
        self.table().get(uuid).cloned()
    }

    /// The node that somebody means by a UUID or a name.
    ///
    /// # Errors
    /// There is none, or several have the name.
    pub fn resolve(&self, text: &str) -> Result<Arc<v1::Node>, FleetError> {
        self.resolve_for(text, &NodeView::default())
    }

    /// The same among the nodes that a caller sees.
    pub(super) fn resolve_for(
        &self,
        text: &str,
        view: &NodeView,
    ) -> Result<Arc<v1::Node>, FleetError> {
        let sees = |node: &v1::Node| view.sees(&node.labels);
        self.table().resolve(text, sees).cloned()
    }

    /// All nodes that `select` takes.
    pub(super) fn snapshot(&self, select: impl Fn(&v1::Node) -> bool) -> NodeSnapshot {
        let table = self.table();
        NodeSnapshot {
            nodes: table.all().filter(|node| select(node)).cloned().collect(),
            at: ChangeNumber(table.log.latest()),
        }
    }

    /// At most `most` nodes that `select` takes, in the order of their UUIDs, after this one.
    pub(super) fn page(
        &self,
        after: &str,
        most: usize,
        select: impl Fn(&v1::Node) -> bool,
    ) -> NodeSnapshot {
        let table = self.table();
        let selected = table.after(after).filter(|node| select(node));
        NodeSnapshot {
            nodes: selected.take(most).cloned().collect(),
            at: ChangeNumber(table.log.latest()),
        }
    }

    /// At most `most` changes after one.
    pub(super) fn changes(
        &self,
        after: ChangeNumber,
        most: usize,
    ) -> Result<Vec<(ChangeNumber, NodeChange)>, Expired> {
        let changes = self.table().log.after(after.0, most)?;
        let numbered = changes.into_iter();
        Ok(numbered
            .map(|(number, change)| (ChangeNumber(number), change))
            .collect())
    }

    /// Whether a watch at this place must hurry if it is not to lose changes.
    pub(super) fn is_far_behind(&self, after: ChangeNumber) -> bool {
        self.table().log.is_far_behind(after.0)
    }

    /// Changes with each change.
    pub(super) fn latest(&self) -> watch::Receiver<u64> {
        self.0.latest.subscribe()
    }

    /// A place as callers are given it.
    pub(super) fn resume_token(&self, at: ChangeNumber) -> String {
        format!("{}-{}", self.0.epoch, at.0)
    }

    /// The place that a caller was given.
    ///
    /// # Errors
    /// It is none of this process.
    pub(super) fn resume(&self, token: &str) -> Result<ChangeNumber, FleetError> {
        let number = token.strip_prefix(self.0.epoch.as_str());
        let number = number.and_then(|rest| rest.strip_prefix('-'));
        let number = number.and_then(|number| number.parse().ok());
        number.map(ChangeNumber).ok_or(FleetError::WatchExpired)
    }

    /// Whether all that came after a place is kept.
    pub(super) fn is_kept(&self, at: ChangeNumber) -> bool {
        self.changes(at, 1).is_ok()
    }

    fn change<T: Default>(&self, change: impl FnOnce(&mut NodeTable) -> T) -> T {
        if !self.0.is_kept {
            return T::default();
        }
        let mut table = self.table();
        let changed = change(&mut table);
        let latest = table.log.latest();
        // Within the lock: numbers never go back.
        self.0.latest.send_if_modified(|known| {
            let is_new = *known != latest;
            *known = latest;
            is_new
        });
        changed
    }

    // A thread that panicked has left the table whole: each step of a change is one insertion.
    fn table(&self) -> MutexGuard<'_, NodeTable> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NodeLabels for Fleet {
    fn labels(&self, node_uuid: &str) -> BTreeMap<String, String> {
        let node = self.get(node_uuid);
        let labels = node.iter().flat_map(|node| &node.labels);
        labels
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}
