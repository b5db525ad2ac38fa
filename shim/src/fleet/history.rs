//! What has happened to nodes, for people who look at them: of each node the last entries, and a
//! bounded number in all. Pure: times are arguments.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use ironic_agent_protocol::v1;
use prost_types::Timestamp;

use super::node_command::cut;

/// Entries of one node: some four commands with their phases.
const MAX_ENTRIES_PER_NODE: usize = 48;

/// Entries in all, of some 200 bytes each.
const MAX_ENTRIES: usize = 65_536;

/// The longest text of an entry, in characters.
const TEXT: usize = 255;

/// Something that happened to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// When, by the gateway's clock.
    pub at: Timestamp,
    /// What kind of thing. `CommandProgress` is the begin of a phase of the command.
    pub kind: v1::NodeEventKind,
    /// The command, or its phase. Empty for other kinds.
    pub name: String,
    /// How the command has ended, or `Running`. `Unspecified` for other kinds.
    pub state: v1::CommandState,
    /// The subject of a phase, why a command failed, or the version of the agent that attached.
    pub detail: String,
}

impl HistoryEntry {
    /// What an event says, of a node as it is after it.
    #[must_use]
    pub fn new(kind: v1::NodeEventKind, node: &v1::Node, at: Timestamp) -> Self {
        use v1::NodeEventKind::{Attached, CommandEnded, CommandProgress, CommandStarted};
        let mut entry = Self {
            at,
            kind,
            name: String::new(),
            state: v1::CommandState::Unspecified,
            detail: String::new(),
        };
        let command = node.command.as_ref();
        match kind {
            CommandStarted | CommandEnded => {
                if let Some(command) = command {
                    entry.name.clone_from(&command.name);
                    entry.state = command.state();
                    entry.detail = command.failure.as_ref().map(sentence).unwrap_or_default();
                }
            }
            CommandProgress => {
                if let Some(progress) = command.and_then(|command| command.progress.as_ref()) {
                    entry.name.clone_from(&progress.phase);
                    entry.state = v1::CommandState::Running;
                    entry.detail.clone_from(&progress.subject);
                }
            }
            Attached => {
                let attachment = node.attachment.as_ref();
                let version = attachment.map(|attachment| attachment.agent_version.clone());
                entry.detail = cut(version.unwrap_or_default(), TEXT);
            }
            _ => {}
        }
        entry
    }
}

/// Why a command failed, in short.
fn sentence(failure: &v1::Failure) -> String {
    let text = if failure.details.is_empty() {
        &failure.message
    } else {
        &failure.details
    };
    cut(text.clone(), TEXT)
}

/// The entries of all nodes, by number.
#[derive(Debug, Default)]
pub(super) struct NodeHistory {
    entries: BTreeMap<u64, (Arc<str>, HistoryEntry)>,
    of_nodes: HashMap<Arc<str>, VecDeque<u64>>,
    last: u64,
    /// How many entries are kept.
    most: usize,
}

impl NodeHistory {
    /// Keeps entries from now on.
    pub(super) fn keep(&mut self) {
        self.most = MAX_ENTRIES;
    }

    /// Notes an event of a node. Progress counts when it begins a phase.
    pub(super) fn note(&mut self, kind: v1::NodeEventKind, node: &v1::Node, at: Timestamp) {
        use v1::NodeEventKind::{CommandProgress, CommandStarted};
        if self.most == 0 {
            return;
        }
        if kind != CommandProgress {
            self.push(&node.uuid, HistoryEntry::new(kind, node, at));
        }
        // A command that is found running is in a phase already.
        if matches!(kind, CommandProgress | CommandStarted) {
            let entry = HistoryEntry::new(CommandProgress, node, at);
            if !entry.name.is_empty() && !self.has_phase(&node.uuid, &entry.name) {
                self.push(&node.uuid, entry);
            }
        }
    }

    /// Whether the command that runs has had this phase. One that comes back is not noted again:
    /// two that took turns would push everything else out.
    fn has_phase(&self, node: &str, phase: &str) -> bool {
        let numbers = self.of_nodes.get(node).into_iter().flatten().rev();
        let entries = numbers.filter_map(|number| self.entries.get(number));
        entries
            .map(|(_, entry)| entry)
            .take_while(|entry| entry.kind != v1::NodeEventKind::CommandStarted)
            .any(|entry| entry.kind == v1::NodeEventKind::CommandProgress && entry.name == phase)
    }

    fn push(&mut self, node: &str, entry: HistoryEntry) {
        let known = self.of_nodes.get_key_value(node);
        let node = known.map_or_else(|| Arc::from(node), |(node, _)| Arc::clone(node));
        self.last += 1;
        self.entries.insert(self.last, (Arc::clone(&node), entry));
        let numbers = self.of_nodes.entry(node).or_default();
        numbers.push_back(self.last);
        if numbers.len() > MAX_ENTRIES_PER_NODE
            && let Some(oldest) = numbers.pop_front()
        {
            self.entries.remove(&oldest);
        }
        while self.entries.len() > self.most
            && let Some((_, (node, _))) = self.entries.pop_first()
        {
            // It was the oldest of its node, too.
            if let Some(numbers) = self.of_nodes.get_mut(&node) {
                numbers.pop_front();
                if numbers.is_empty() {
                    self.of_nodes.remove(&node);
                }
            }
        }
    }

    /// What is kept of a node, oldest first.
    pub(super) fn of(&self, node: &str) -> Vec<HistoryEntry> {
        let numbers = self.of_nodes.get(node).into_iter().flatten();
        let entries = numbers.filter_map(|number| self.entries.get(number));
        entries.map(|(_, entry)| entry.clone()).collect()
    }

    /// The last entries of all nodes, without phases, latest first.
    pub(super) fn latest(&self) -> impl Iterator<Item = (&str, &HistoryEntry)> {
        let entries = self.entries.values().rev();
        entries
            .map(|(node, entry)| (node.as_ref(), entry))
            .filter(|(_, entry)| entry.kind != v1::NodeEventKind::CommandProgress)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use v1::NodeEventKind::{Attached, CommandEnded, CommandProgress, CommandStarted};

    use super::*;

    fn node(uuid: &str, phase: &str) -> v1::Node {
        let progress = (!phase.is_empty()).then(|| v1::Progress {
            phase: phase.into(),
            ..v1::Progress::default()
        });
        v1::Node {
            uuid: uuid.into(),
            command: Some(v1::NodeCommand {
                name: "standby.prepare_image".into(),
                progress,
                ..v1::NodeCommand::default()
            }),
            ..v1::Node::default()
        }
    }

    fn kept() -> NodeHistory {
        let mut history = NodeHistory::default();
        history.keep();
        history
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanos: 0 }
    }

    #[test]
    fn a_command_is_kept_with_the_begin_of_each_phase() {
        let mut history = kept();
        history.note(CommandStarted, &node("a", ""), at(1));
        for second in 2..500 {
            let phase = if second < 250 { "fetch" } else { "write_image" };
            history.note(CommandProgress, &node("a", phase), at(second));
            history.note(CommandProgress, &node("b", "erase"), at(second));
        }
        let mut failed = node("a", "write_image");
        let command = failed.command.as_mut().unwrap();
        command.set_state(v1::CommandState::Failed);
        command.failure = Some(v1::Failure {
            message: "Error writing image to device".into(),
            details: "ä".repeat(1000),
            ..v1::Failure::default()
        });
        history.note(CommandEnded, &failed, at(500));
        let entries: Vec<_> = history
            .of("a")
            .into_iter()
            .map(|entry| (entry.at.seconds, entry.kind, entry.name))
            .collect();
        let image = || "standby.prepare_image".to_owned();
        assert_eq!(
            entries,
            [
                (1, CommandStarted, image()),
                (2, CommandProgress, "fetch".to_owned()),
                (250, CommandProgress, "write_image".to_owned()),
                (500, CommandEnded, image()),
            ]
        );
        assert_eq!(history.of("a")[3].detail.chars().count(), TEXT);
        assert_eq!(history.of("b").len(), 1);
        let latest: Vec<_> = history.latest().map(|(_, entry)| entry.kind).collect();
        assert_eq!(latest, [CommandEnded, CommandStarted]);
        // The next command may have the same phases.
        history.note(CommandStarted, &node("a", "fetch"), at(600));
        assert_eq!(history.of("a").len(), 6);
    }

    #[test]
    fn without_viewers_no_history_is_kept() {
        let mut history = NodeHistory::default();
        history.note(Attached, &node("a", ""), at(1));
        assert!(history.of("a").is_empty());
    }

    proptest! {
        #[test]
        fn the_bounds_hold_and_the_latest_stay(
            acts in prop::collection::vec((0..6_u8, 0..8_u8), 0..400),
            most in 1..100_usize,
        ) {
            let mut history = kept();
            history.most = most;
            let mut pushed = Vec::new();
            for (second, (uuid, phase)) in acts.into_iter().enumerate() {
                let (uuid, second) = (uuid.to_string(), i64::try_from(second).unwrap());
                let kind = if phase == 0 { CommandStarted } else { Attached };
                history.note(kind, &node(&uuid, ""), at(second));
                pushed.push((uuid, second));
                prop_assert!(history.entries.len() <= most);
                let of_nodes: usize = history.of_nodes.values().map(VecDeque::len).sum();
                prop_assert_eq!(of_nodes, history.entries.len());
                prop_assert!(history.of_nodes.values().all(|of| (1..=MAX_ENTRIES_PER_NODE).contains(&of.len())));
            }
            if let Some((uuid, second)) = pushed.last() {
                prop_assert_eq!(history.of(uuid).last().unwrap().at.seconds, *second);
            }
        }
    }
}
