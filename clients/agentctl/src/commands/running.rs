//! Which commands run, as a watch has seen them: also those of which a gateway that was started
//! again does not know yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ironic_agent_protocol::v1;
use tokio::time::Instant;

/// How long a node may be missing from the list, or be held by another gateway, until the end of
/// its command is given up. Agents attach to a gateway that was started again within half of it.
const UNSEEN_FOR: Duration = Duration::from_secs(60);

/// The commands that run, by the UUIDs of their nodes.
#[derive(Debug, Default)]
pub(super) struct RunningCommands {
    /// Nodes whose command ran when it was seen last, and since when this gateway does not see it.
    nodes: BTreeMap<String, Option<Instant>>,
    /// Nodes with a command that ran, and whose end nobody has seen.
    unknown: BTreeSet<String>,
}

impl RunningCommands {
    /// Notes a node as the gateway knows it now.
    pub(super) fn take(&mut self, node: &v1::Node, now: Instant) {
        let uuid = node.uuid.as_str();
        let command = node.command.as_ref().map(v1::NodeCommand::state);
        match (command, node.state()) {
            (Some(v1::CommandState::Running), _) => {
                self.unknown.remove(uuid);
                self.nodes.insert(uuid.to_owned(), None);
            }
            (Some(_), _) => self.forget(uuid),
            // The agent is there, or is gone for good, and nothing runs.
            (None, v1::NodeState::Attached | v1::NodeState::Closed) => {
                if self.nodes.remove(uuid).is_some() {
                    self.unknown.insert(uuid.to_owned());
                }
            }
            (None, v1::NodeState::Elsewhere) => self.unseen(uuid, now),
            // A gateway that was started again knows no command until the agent is back.
            (None, v1::NodeState::Away | v1::NodeState::Unspecified) => {
                if let Some(since) = self.nodes.get_mut(uuid) {
                    *since = None;
                }
            }
        }
    }

    /// Notes that a list of all nodes is complete. A gateway that was started again may list a
    /// node only when its agent is back.
    pub(super) fn listed(&mut self, is_listed: impl Fn(&str) -> bool, now: Instant) {
        let missing = self.nodes.keys().filter(|uuid| !is_listed(uuid));
        for uuid in missing.cloned().collect::<Vec<_>>() {
            self.unseen(&uuid, now);
        }
    }

    /// Notes that a node was removed, or that its command has ended.
    pub(super) fn forget(&mut self, uuid: &str) {
        self.nodes.remove(uuid);
        self.unknown.remove(uuid);
    }

    /// Whether any command runs.
    pub(super) fn any(&mut self, now: Instant) -> bool {
        let given_up = self.nodes.extract_if(.., |_, since| {
            since.is_some_and(|since| now.saturating_duration_since(since) >= UNSEEN_FOR)
        });
        self.unknown.extend(given_up.map(|(uuid, _)| uuid));
        !self.nodes.is_empty()
    }

    /// How many commands ran and have ended unseen.
    pub(super) fn unknown(&self) -> usize {
        self.unknown.len()
    }

    fn unseen(&mut self, uuid: &str, now: Instant) {
        if let Some(since) = self.nodes.get_mut(uuid) {
            since.get_or_insert(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(state: v1::NodeState, command: Option<v1::CommandState>) -> v1::Node {
        v1::Node {
            uuid: "u".to_owned(),
            state: state.into(),
            command: command.map(|state| v1::NodeCommand {
                state: state.into(),
                ..v1::NodeCommand::default()
            }),
            ..v1::Node::default()
        }
    }

    /// One command that was seen running.
    fn one(now: Instant) -> RunningCommands {
        let mut commands = RunningCommands::default();
        let state = v1::CommandState::Running;
        commands.take(&node(v1::NodeState::Attached, Some(state)), now);
        assert!(commands.any(now));
        commands
    }

    #[test]
    fn a_command_runs_until_its_agent_says_otherwise() {
        let now = Instant::now();
        let later = now + 10 * UNSEEN_FOR;
        let mut commands = one(now);
        commands.take(&node(v1::NodeState::Away, None), now);
        commands.listed(|_| true, now);
        assert!(commands.any(later), "the agent is not back");
        commands.take(&node(v1::NodeState::Attached, None), later);
        assert!(!commands.any(later));
        assert_eq!(commands.unknown(), 1);
        let mut commands = one(now);
        let ended = Some(v1::CommandState::Succeeded);
        commands.take(&node(v1::NodeState::Attached, ended), now);
        assert!(!commands.any(now));
        assert_eq!(commands.unknown(), 0);
    }

    #[test]
    fn a_command_that_this_gateway_cannot_see_is_given_up_after_a_while() {
        let now = Instant::now();
        let later = now + UNSEEN_FOR;
        for is_listed in [false, true] {
            let mut commands = one(now);
            if is_listed {
                commands.take(&node(v1::NodeState::Elsewhere, None), now);
            }
            commands.listed(|_| is_listed, now);
            assert!(commands.any(later - Duration::from_secs(1)));
            assert!(!commands.any(later));
            assert_eq!(commands.unknown(), 1);
            // It is back after all.
            let state = Some(v1::CommandState::Running);
            commands.take(&node(v1::NodeState::Attached, state), later);
            assert!(commands.any(later));
            assert_eq!(commands.unknown(), 0);
        }
        let mut commands = one(now);
        commands.forget("u");
        assert!(!commands.any(now));
        assert_eq!(commands.unknown(), 0);
    }
}
