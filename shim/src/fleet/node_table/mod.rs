//! The nodes of a gateway and what is known of them. Pure: times are arguments, and nobody is
//! woken.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use ironic_agent_protocol::v1;
use prost_types::Timestamp;

use super::error::FleetError;
use super::history::NodeHistory;
use super::node_log::{Labels, NodeChange, NodeLog};

/// The longest part of a caller's text that an error repeats, in characters.
const MAX_REPEATED_CHARS: usize = 255;
/// Nodes that an error names.
const MAX_NAMED_NODES: usize = 4;

/// The nodes by UUID, and their latest changes.
#[derive(Debug)]
pub(super) struct NodeTable {
    nodes: BTreeMap<String, Arc<v1::Node>>,
    names: HashMap<String, BTreeSet<String>>,
    /// The attachments that count, by node.
    attachments: HashMap<String, u64>,
    last_attachment: u64,
    /// The other gateways that hold nodes, by node.
    elsewhere: HashMap<String, String>,
    /// The command before the one that a node holds, by node: what comes late of it is ignored.
    earlier_commands: HashMap<String, String>,
    pub(super) log: NodeLog,
    pub(super) history: NodeHistory,
}

impl NodeTable {
    /// An empty table, which keeps at most `changes` changes.
    pub(super) fn new(changes: usize) -> Self {
        Self {
            nodes: BTreeMap::new(),
            names: HashMap::new(),
            attachments: HashMap::new(),
            last_attachment: 0,
            elsewhere: HashMap::new(),
            earlier_commands: HashMap::new(),
            log: NodeLog::new(changes),
            history: NodeHistory::default(),
        }
    }

    /// The node with a UUID.
    pub(super) fn get(&self, uuid: &str) -> Option<&Arc<v1::Node>> {
        self.nodes.get(uuid)
    }

    /// Whether the agent of a node is attached.
    pub(super) fn is_attached(&self, uuid: &str) -> bool {
        self.attachments.contains_key(uuid)
    }

    /// The nodes that other gateways hold.
    pub(super) fn elsewhere(&self) -> impl Iterator<Item = &String> {
        self.elsewhere.keys()
    }

    /// Whether another gateway holds a node.
    pub(super) fn is_elsewhere(&self, uuid: &str) -> bool {
        self.elsewhere.contains_key(uuid)
    }

    /// All nodes in the order of their UUIDs.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<v1::Node>> {
        self.nodes.values()
    }

    /// The nodes whose UUIDs come after this one.
    pub(super) fn after(&self, uuid: &str) -> impl Iterator<Item = &Arc<v1::Node>> {
        let later = (Bound::Excluded(uuid), Bound::Unbounded);
        self.nodes.range::<str, _>(later).map(|(_, node)| node)
    }

    /// The node that a caller means by a UUID or a name, among those that the caller sees.
    pub(super) fn resolve(
        &self,
        text: &str,
        sees: impl Fn(&v1::Node) -> bool,
    ) -> Result<&Arc<v1::Node>, FleetError> {
        let unknown = || FleetError::NodeNotFound(text.chars().take(MAX_REPEATED_CHARS).collect());
        if let Ok(uuid) = uuid::Uuid::try_parse(text)
            && let Some(node) = self.nodes.get(uuid.hyphenated().to_string().as_str())
        {
            return Some(node).filter(|node| sees(node)).ok_or_else(unknown);
        }
        let named = self.names.get(text).ok_or_else(unknown)?;
        let named = named.iter().filter_map(|uuid| self.nodes.get(uuid));
        let mut named = named.filter(|node| sees(node));
        let node = named.next().ok_or_else(unknown)?;
        match named.next() {
            None => Ok(node),
            Some(second) => Err(FleetError::NameAmbiguous {
                name: text.to_owned(),
                nodes: [node, second]
                    .into_iter()
                    .chain(named)
                    .take(MAX_NAMED_NODES)
                    .map(|node| node.uuid.clone())
                    .collect(),
            }),
        }
    }

    /// Notes that a node is known. Whether that is new.
    pub(super) fn add(&mut self, uuid: &str, at: Timestamp) -> bool {
        let is_new = !self.nodes.contains_key(uuid);
        if is_new {
            self.change(uuid, v1::NodeEventKind::Added, at, |_| ());
        }
        is_new
    }

    /// Gives a node its name and labels. Whether they are others than before.
    pub(super) fn describe(
        &mut self,
        uuid: &str,
        name: &str,
        labels: &Labels,
        at: Timestamp,
    ) -> bool {
        let kind = match self.nodes.get(uuid) {
            None => v1::NodeEventKind::Added,
            Some(node) if node.name == name && node.labels == *labels => return false,
            Some(_) => v1::NodeEventKind::Changed,
        };
        self.change(uuid, kind, at, |node| {
            name.clone_into(&mut node.name);
            node.labels.clone_from(labels);
        });
        true
    }

    /// Forgets a node. Whether it was known.
    pub(super) fn remove(&mut self, uuid: &str, at: Timestamp) -> bool {
        let Some(node) = self.nodes.remove(uuid) else {
            return false;
        };
        self.attachments.remove(uuid);
        self.elsewhere.remove(uuid);
        self.earlier_commands.remove(uuid);
        self.unname(&node.name, uuid);
        let mut last = Arc::unwrap_or_clone(node);
        last.sequence = self.log.next();
        self.history.note(v1::NodeEventKind::Removed, &last, at);
        self.log.push(NodeChange {
            kind: v1::NodeEventKind::Removed,
            node: Arc::new(last),
            at,
            labels_before: None,
            order: None,
        });
        true
    }

    /// Notes that a node's agent has attached. Answers which attachment this is, for
    /// [`lost`](Self::lost).
    pub(super) fn attached(&mut self, uuid: &str, attachment: v1::NodeAttachment) -> u64 {
        self.last_attachment += 1;
        self.attachments
            .insert(uuid.to_owned(), self.last_attachment);
        self.elsewhere.remove(uuid);
        let at = attachment.since.unwrap_or_default();
        self.change(uuid, v1::NodeEventKind::Attached, at, |node| {
            node.state = v1::NodeState::Attached.into();
            node.gateway.clear();
            node.last_seen_at = Some(at);
            node.attachment = Some(attachment);
        });
        self.last_attachment
    }

    /// Notes that an attachment has ended. Whether it was the one that counted.
    pub(super) fn lost(&mut self, uuid: &str, attachment: u64, at: Timestamp) -> bool {
        if self.attachments.get(uuid) != Some(&attachment) {
            return false;
        }
        self.attachments.remove(uuid);
        self.change(uuid, v1::NodeEventKind::Lost, at, |node| {
            // A closed node stays closed until its agent attaches again.
            if node.state() == v1::NodeState::Attached {
                node.state = v1::NodeState::Away.into();
            }
            node.attachment = None;
            node.last_seen_at = Some(at);
        });
        self.show_elsewhere(uuid, at);
        true
    }

    /// Notes which other gateway holds a node; `None`: none does.
    pub(super) fn move_to(&mut self, uuid: &str, gateway: Option<&str>, at: Timestamp) {
        match gateway {
            Some(gateway) => {
                self.elsewhere.insert(uuid.to_owned(), gateway.to_owned());
                if !self.is_attached(uuid) {
                    self.show_elsewhere(uuid, at);
                }
            }
            None => {
                self.elsewhere.remove(uuid);
                let node = self.nodes.get(uuid);
                if node.is_some_and(|node| node.state() == v1::NodeState::Elsewhere) {
                    self.change(uuid, v1::NodeEventKind::Lost, at, |node| {
                        node.state = v1::NodeState::Away.into();
                        node.gateway.clear();
                    });
                }
            }
        }
    }

    /// Shows the other gateway that holds a node, if one does and it is not shown.
    fn show_elsewhere(&mut self, uuid: &str, at: Timestamp) {
        let Some(gateway) = self.elsewhere.get(uuid).cloned() else {
            return;
        };
        let is_shown = |node: &Arc<v1::Node>| {
            node.state() == v1::NodeState::Elsewhere && node.gateway == gateway
        };
        if self.nodes.get(uuid).is_some_and(is_shown) {
            return;
        }
        self.change(uuid, v1::NodeEventKind::Elsewhere, at, |node| {
            node.state = v1::NodeState::Elsewhere.into();
            node.gateway = gateway;
        });
    }

    /// Notes that a machine was handed over or locked down. Whether that is new.
    pub(super) fn closed(&mut self, uuid: &str, at: Timestamp) -> bool {
        let known = self.nodes.get(uuid);
        if known.is_some_and(|node| node.state() == v1::NodeState::Closed) {
            return false;
        }
        self.change(uuid, v1::NodeEventKind::Closed, at, |node| {
            node.state = v1::NodeState::Closed.into();
        });
        true
    }

    /// Notes a sign of life, which is no event.
    pub(super) fn heard(&mut self, uuid: &str, at: Timestamp) {
        if let Some(node) = self.nodes.get_mut(uuid) {
            Arc::make_mut(node).last_seen_at = Some(at);
        }
    }

    /// Notes what became of a command. An earlier command is not looked at any more when a later
    /// one has begun, and one that has ended does not go on. Whether that is new.
    pub(super) fn command(&mut self, uuid: &str, command: v1::NodeCommand, at: Timestamp) -> bool {
        let is_running = command.state() == v1::CommandState::Running;
        if self.earlier_commands.get(uuid) == Some(&command.id) {
            return false;
        }
        let known = self.nodes.get(uuid).and_then(|node| node.command.as_ref());
        let earlier = known.map(|known| known.id.clone());
        let kind = match known.filter(|known| known.id == command.id) {
            Some(known) if known.state() != v1::CommandState::Running => return false,
            Some(known) if *known == command => return false,
            Some(_) if is_running => v1::NodeEventKind::CommandProgress,
            Some(_) => v1::NodeEventKind::CommandEnded,
            None => v1::NodeEventKind::CommandStarted,
        };
        if let Some(earlier) = earlier.filter(|earlier| *earlier != command.id) {
            self.earlier_commands.insert(uuid.to_owned(), earlier);
        }
        let is_begun_and_ended = kind == v1::NodeEventKind::CommandStarted && !is_running;
        if is_begun_and_ended {
            let begun = v1::NodeCommand {
                state: v1::CommandState::Running.into(),
                failure: None,
                finished_at: None,
                ..command.clone()
            };
            self.change(uuid, kind, at, |node| node.command = Some(begun));
            let kind = v1::NodeEventKind::CommandEnded;
            self.change(uuid, kind, at, |node| node.command = Some(command));
        } else {
            self.change(uuid, kind, at, |node| node.command = Some(command));
        }
        true
    }

    /// Notes something that changes nothing of what the node holds.
    pub(super) fn happened(&mut self, uuid: &str, kind: v1::NodeEventKind, at: Timestamp) {
        self.change(uuid, kind, at, |_| ());
    }

    /// Notes the order that a caller gave for a node that is known.
    pub(super) fn ordered(&mut self, uuid: &str, order: v1::NodeOrder, at: Timestamp) {
        let Some(node) = self.nodes.get_mut(uuid) else {
            return;
        };
        Arc::make_mut(node).sequence = self.log.next();
        self.log.push(NodeChange {
            kind: v1::NodeEventKind::Ordered,
            node: Arc::clone(node),
            at,
            labels_before: None,
            order: Some(Arc::new(order)),
        });
    }

    /// Changes a node, which is known from now on.
    fn change(
        &mut self,
        uuid: &str,
        kind: v1::NodeEventKind,
        at: Timestamp,
        change: impl FnOnce(&mut v1::Node),
    ) {
        let before = self.nodes.get(uuid).cloned();
        let mut node = before.as_deref().cloned().unwrap_or_else(|| v1::Node {
            uuid: uuid.to_owned(),
            state: v1::NodeState::Away.into(),
            ..v1::Node::default()
        });
        change(&mut node);
        node.sequence = self.log.next();
        let name_before = before.as_ref().map(|before| before.name.as_str());
        if name_before.unwrap_or_default() != node.name {
            self.unname(name_before.unwrap_or_default(), uuid);
            if !node.name.is_empty() {
                let named = self.names.entry(node.name.clone()).or_default();
                named.insert(uuid.to_owned());
            }
        }
        let labels_before = before
            .filter(|before| before.labels != node.labels)
            .map(|before| before.labels.clone());
        self.history.note(kind, &node, at);
        let node = Arc::new(node);
        self.nodes.insert(uuid.to_owned(), Arc::clone(&node));
        self.log.push(NodeChange {
            kind,
            node,
            at,
            labels_before,
            order: None,
        });
    }

    fn unname(&mut self, name: &str, uuid: &str) {
        if let Some(named) = self.names.get_mut(name) {
            named.remove(uuid);
            if named.is_empty() {
                self.names.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
