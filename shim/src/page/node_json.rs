//! Nodes and events as the page reads them. No secret is among them: a node of the fleet has none.

use std::collections::HashMap;

use ironic_agent_protocol::v1;
use serde::{Serialize, Serializer};

use crate::fleet::{HistoryEntry, Labels, now};

/// A time as browsers have it, in ms since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageTime(i64);

impl PageTime {
    /// A time of the protocol.
    fn of(time: &prost_types::Timestamp) -> Self {
        Self(time.seconds * 1000 + i64::from(time.nanos) / 1_000_000)
    }

    /// The time of the gateway's clock.
    pub(super) fn now() -> Self {
        Self::of(&now())
    }

    fn maybe(time: Option<&prost_types::Timestamp>) -> Option<Self> {
        time.map(Self::of)
    }
}

impl Serialize for PageTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

/// What the list shows of a node.
#[derive(Debug, Serialize)]
pub(super) struct NodeRow<'a> {
    uuid: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "HashMap::is_empty")]
    labels: &'a Labels,
    state: &'static str,
    /// Since when it is attached, or when it was last heard of.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<PageTime>,
    sequence: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<CommandJson<'a>>,
}

/// What the list shows of a command.
#[derive(Debug, Serialize)]
pub(super) struct CommandJson<'a> {
    name: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<PageTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<PageTime>,
    /// Why it failed, in one sentence.
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    progress: Option<ProgressJson<'a>>,
}

#[derive(Debug, Serialize)]
struct ProgressJson<'a> {
    phase: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    subject: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    unit: &'a str,
    done: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    rate: u64,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<i64>,
}

/// Something that happened.
#[derive(Debug, Serialize)]
pub(super) struct EventJson {
    at: PageTime,
    #[serde(skip_serializing_if = "String::is_empty")]
    uuid: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
}

/// All that the page shows of one node.
#[derive(Debug, Serialize)]
pub(super) struct NodeJson<'a> {
    uuid: &'a str,
    labels: &'a Labels,
    /// The other gateway that holds it.
    #[serde(skip_serializing_if = "str::is_empty")]
    gateway: &'a str,
    last_seen: Option<PageTime>,
    attachment: Option<AttachmentJson<'a>>,
    command: Option<CommandDetails<'a>>,
    history: Vec<EventJson>,
}

#[derive(Debug, Serialize)]
struct AttachmentJson<'a> {
    since: Option<PageTime>,
    version: &'a str,
    peer: &'a str,
    boot_id: &'a str,
}

#[derive(Debug, Serialize)]
struct CommandDetails<'a> {
    id: &'a str,
    name: &'a str,
    failure: Option<FailureJson<'a>>,
}

#[derive(Debug, Serialize)]
struct FailureJson<'a> {
    kind: &'a str,
    message: &'a str,
    details: &'a str,
    stderr: &'a str,
}

impl<'a> NodeRow<'a> {
    pub(super) fn of(node: &'a v1::Node) -> Self {
        let attachment = node.attachment.as_ref();
        let since = attachment.and_then(|attachment| attachment.since.as_ref());
        Self {
            uuid: &node.uuid,
            name: &node.name,
            labels: &node.labels,
            state: node_state(node.state()),
            since: PageTime::maybe(since.or(node.last_seen_at.as_ref())),
            sequence: node.sequence,
            command: node.command.as_ref().map(CommandJson::of),
        }
    }
}

impl<'a> CommandJson<'a> {
    fn of(command: &'a v1::NodeCommand) -> Self {
        let failure = command.failure.as_ref();
        Self {
            name: &command.name,
            state: command_state(command.state()),
            started: PageTime::maybe(command.started_at.as_ref()),
            ended: PageTime::maybe(command.finished_at.as_ref()),
            error: failure.map_or("", |failure| match failure.details.as_str() {
                "" => failure.message.as_str(),
                details => first_line(details),
            }),
            progress: command.progress.as_ref().map(ProgressJson::of),
        }
    }
}

impl<'a> ProgressJson<'a> {
    fn of(progress: &'a v1::Progress) -> Self {
        Self {
            phase: &progress.phase,
            subject: &progress.subject,
            unit: &progress.unit,
            done: progress.done,
            total: progress.total,
            rate: progress.rate,
            left: progress.remaining.as_ref().map(|left| left.seconds),
        }
    }
}

impl EventJson {
    pub(super) fn of(uuid: String, entry: HistoryEntry) -> Self {
        let has_state = entry.state != v1::CommandState::Unspecified
            || entry.kind == v1::NodeEventKind::CommandEnded;
        Self {
            at: PageTime::of(&entry.at),
            uuid,
            kind: event_kind(entry.kind),
            name: entry.name,
            state: has_state.then(|| command_state(entry.state)),
            detail: entry.detail,
        }
    }
}

impl<'a> NodeJson<'a> {
    pub(super) fn of(node: &'a v1::Node, history: Vec<HistoryEntry>) -> Self {
        let attachment = node.attachment.as_ref();
        let command = node.command.as_ref();
        Self {
            uuid: &node.uuid,
            labels: &node.labels,
            gateway: &node.gateway,
            last_seen: PageTime::maybe(node.last_seen_at.as_ref()),
            attachment: attachment.map(|attachment| AttachmentJson {
                since: PageTime::maybe(attachment.since.as_ref()),
                version: &attachment.agent_version,
                peer: &attachment.peer,
                boot_id: &attachment.boot_id,
            }),
            command: command.map(|command| CommandDetails {
                id: &command.id,
                name: &command.name,
                failure: command.failure.as_ref().map(|failure| FailureJson {
                    kind: &failure.kind,
                    message: &failure.message,
                    details: &failure.details,
                    stderr: &failure.stderr_tail,
                }),
            }),
            history: history
                .into_iter()
                .map(|entry| EventJson::of(String::new(), entry))
                .collect(),
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn node_state(state: v1::NodeState) -> &'static str {
    match state {
        v1::NodeState::Attached => "attached",
        v1::NodeState::Away | v1::NodeState::Unspecified => "away",
        v1::NodeState::Closed => "closed",
        v1::NodeState::Elsewhere => "elsewhere",
    }
}

fn command_state(state: v1::CommandState) -> &'static str {
    match state {
        v1::CommandState::Running => "running",
        v1::CommandState::Succeeded => "succeeded",
        v1::CommandState::Failed | v1::CommandState::VersionMismatch => "failed",
        v1::CommandState::Cancelled => "cancelled",
        v1::CommandState::Unspecified => "unknown",
    }
}

/// The page has words for these.
fn event_kind(kind: v1::NodeEventKind) -> &'static str {
    match kind {
        v1::NodeEventKind::Added => "added",
        v1::NodeEventKind::Changed => "changed",
        v1::NodeEventKind::Removed => "removed",
        v1::NodeEventKind::Attached => "attached",
        v1::NodeEventKind::Lost => "lost",
        v1::NodeEventKind::Closed => "closed",
        v1::NodeEventKind::CommandStarted => "started",
        v1::NodeEventKind::CommandProgress => "phase",
        v1::NodeEventKind::CommandEnded => "ended",
        v1::NodeEventKind::Inspected => "inspected",
        v1::NodeEventKind::Ordered => "ordered",
        v1::NodeEventKind::Elsewhere => "elsewhere",
        v1::NodeEventKind::Unspecified => "happened",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node() -> v1::Node {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 1 });
        v1::Node {
            uuid: "u".into(),
            name: "rack1-1".into(),
            state: v1::NodeState::Attached.into(),
            sequence: 7,
            attachment: Some(v1::NodeAttachment {
                since: at(2),
                ..v1::NodeAttachment::default()
            }),
            command: Some(v1::NodeCommand {
                id: "c".into(),
                name: "standby.prepare_image".into(),
                state: v1::CommandState::Running.into(),
                started_at: at(3),
                progress: Some(v1::Progress {
                    phase: "fetch".into(),
                    done: 5,
                    total: Some(10),
                    ..v1::Progress::default()
                }),
                ..v1::NodeCommand::default()
            }),
            ..v1::Node::default()
        }
    }

    fn value(data: impl Serialize) -> Value {
        serde_json::to_value(data).unwrap()
    }

    #[test]
    fn a_row_holds_what_the_list_shows_and_no_more() {
        let row = value(NodeRow::of(&node()));
        let expected = json!({"uuid": "u", "name": "rack1-1", "state": "attached", "since": 2000,
            "sequence": 7, "command": {"name": "standby.prepare_image", "state": "running",
            "started": 3000, "phase": "fetch", "done": 5, "total": 10}});
        assert_eq!(row, expected);
        let bare = v1::Node {
            uuid: "u".into(),
            ..v1::Node::default()
        };
        let row = value(NodeRow::of(&bare));
        assert_eq!(row, json!({"uuid": "u", "state": "away", "sequence": 0}));
    }

    #[test]
    fn a_node_is_shown_with_its_failure_and_history() {
        let mut node = node();
        let command = node.command.as_mut().unwrap();
        command.set_state(v1::CommandState::Failed);
        command.failure = Some(v1::Failure {
            kind: "ImageWriteError".into(),
            message: "Error writing image to device".into(),
            details: "the disk is gone\nlook at it".into(),
            ..v1::Failure::default()
        });
        let row = value(NodeRow::of(&node));
        assert_eq!(row["command"]["error"], "the disk is gone");
        let at = prost_types::Timestamp::default();
        let entry = HistoryEntry::new(v1::NodeEventKind::CommandEnded, &node, at);
        let shown = value(NodeJson::of(&node, vec![entry]));
        assert_eq!(shown["command"]["failure"]["kind"], "ImageWriteError");
        assert_eq!(shown["history"][0]["kind"], "ended");
        assert_eq!(shown["history"][0]["state"], "failed");
    }

    /// What the gateway sends, the script has a word for.
    #[test]
    fn the_page_has_a_word_for_every_kind_and_state() {
        let script = include_str!("web/page.js");
        let numbers = 1..;
        let kinds = numbers.map_while(|number| v1::NodeEventKind::try_from(number).ok());
        for kind in kinds {
            let word = event_kind(kind);
            assert!(
                script.contains(&format!("{word}: \"")) || script.contains(&format!("\"{word}\"")),
                "{word}"
            );
        }
        for state in ["succeeded", "failed", "cancelled", "unknown"] {
            assert!(script.contains(&format!("{state}: \"")), "{state}");
        }
    }
}
