//! What became of a command, parsed once where it comes in.

use std::fmt;

use ironic_agent_protocol::v1;
use thiserror::Error;

/// A command and what became of it.
#[derive(Clone, PartialEq)]
pub struct CommandResult {
    /// UUID, lower case with hyphens.
    pub id: String,
    /// Ironic's full name: `clean.execute_clean_step`.
    pub name: String,
    /// How far it is.
    pub state: State,
    /// Whether it was answered while it ran.
    pub background: bool,
    /// What it answered.
    pub result: Option<prost_types::Value>,
}

/// How far a command is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// At work.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended with a failure. Cancelled commands are failed ones for Ironic.
    Failed(CommandError),
    /// Not run: the hardware managers are not those that Ironic planned with.
    VersionMismatch(CommandError),
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandError {
    /// The error class as Ironic knows it: `CommandExecutionError`.
    pub kind: String,
    /// HTTP-like code of the class.
    pub code: i32,
    /// The sentence of the class.
    pub message: String,
    /// What happened this time.
    pub details: String,
}

/// A record that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidRecord {
    /// The answer holds no record.
    #[error("the answer holds no command record")]
    Absent,
    /// No identifier or no name.
    #[error("the command record has no {0}")]
    Missing(&'static str),
    /// A state that this program does not know.
    #[error("the command record has the unknown state {0}")]
    State(i32),
}

impl CommandResult {
    /// The name without its extension: `execute_clean_step`.
    #[must_use]
    pub fn bare_name(&self) -> &str {
        bare(&self.name)
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.state != State::Running
    }
}

/// A name without its extension.
#[must_use]
pub fn bare(name: &str) -> &str {
    name.split_once('.').map_or(name, |(_, command)| command)
}

impl TryFrom<Option<v1::CommandRecord>> for CommandResult {
    type Error = InvalidRecord;

    fn try_from(record: Option<v1::CommandRecord>) -> Result<Self, InvalidRecord> {
        use v1::CommandState;
        let record = record.ok_or(InvalidRecord::Absent)?;
        let failure = || CommandError::from(record.failure.clone().unwrap_or_default());
        let state = match record.state() {
            CommandState::Unspecified => return Err(InvalidRecord::State(record.state)),
            CommandState::Running => State::Running,
            CommandState::Succeeded => State::Succeeded,
            CommandState::Failed | CommandState::Cancelled => State::Failed(failure()),
            CommandState::VersionMismatch => State::VersionMismatch(failure()),
        };
        if record.id.is_empty() {
            return Err(InvalidRecord::Missing("id"));
        }
        if record.name.is_empty() {
            return Err(InvalidRecord::Missing("name"));
        }
        Ok(Self {
            id: record.id,
            name: record.name,
            state,
            background: record.background,
            result: record.result,
        })
    }
}

impl From<v1::Failure> for CommandError {
    fn from(failure: v1::Failure) -> Self {
        Self {
            kind: failure.kind,
            code: failure.code,
            message: failure.message,
            details: failure.details,
        }
    }
}

/// Without the result, which may hold the credentials of an image.
impl fmt::Debug for CommandResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandResult")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("state", &self.state)
            .field("background", &self.background)
            .finish_non_exhaustive()
    }
}

/// A command that an agent which attaches has taken.
#[derive(Debug, Clone)]
pub struct ExecutedCommand {
    /// The agent's node.
    pub node_uuid: String,
    /// The agent's answer, without the command's result.
    pub record: v1::CommandRecord,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_parsed_or_refused() {
        let wire = v1::CommandRecord {
            id: "6dd11111-2222-4333-8444-555555555555".into(),
            name: "clean.execute_clean_step".into(),
            state: v1::CommandState::Cancelled.into(),
            failure: Some(v1::Failure {
                kind: "CommandExecutionError".into(),
                code: 500,
                message: "Command execution failed".into(),
                details: "stopped".into(),
                ..Default::default()
            }),
            background: true,
            ..Default::default()
        };
        let record = CommandResult::try_from(Some(wire.clone())).unwrap();
        assert_eq!(record.bare_name(), "execute_clean_step");
        assert!(matches!(&record.state, State::Failed(failure) if failure.details == "stopped"));

        let wrong = [
            (None, InvalidRecord::Absent),
            (
                Some(v1::CommandRecord {
                    id: String::new(),
                    ..wire.clone()
                }),
                InvalidRecord::Missing("id"),
            ),
            (
                Some(v1::CommandRecord {
                    name: String::new(),
                    ..wire.clone()
                }),
                InvalidRecord::Missing("name"),
            ),
            (
                Some(v1::CommandRecord { state: 77, ..wire }),
                InvalidRecord::State(77),
            ),
        ];
        for (wire, error) in wrong {
            assert_eq!(CommandResult::try_from(wire), Err(error));
        }
    }
}
