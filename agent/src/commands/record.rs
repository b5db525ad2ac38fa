//! A command and what became of it.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::Value;
use uuid::Uuid;

use super::fingerprint::Fingerprint;
use crate::failure::Failure;

/// Identifier of a command: a UUID, lower case with hyphens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandId(Uuid);

impl CommandId {
    /// A new random identifier.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Reads the usual text form, 36 characters with hyphens; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        const TEXT_LENGTH: usize = 36;
        (text.len() == TEXT_LENGTH)
            .then(|| Uuid::try_parse(text).ok())
            .flatten()
            .map(Self)
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A command and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandRecord {
    /// Chosen by the caller or by the agent.
    pub id: CommandId,
    /// Ironic's full name, for example `clean.execute_clean_step`.
    pub name: String,
    /// Whether it runs in the background or is answered when done.
    pub background: bool,
    /// What was ordered, for telling a repetition from another order.
    pub fingerprint: Fingerprint,
    /// When it was admitted.
    pub started_at: SystemTime,
    /// When it will be cancelled unless it has ended.
    pub deadline: Option<SystemTime>,
    /// How far it is.
    pub state: CommandState,
    /// What happened, numbered from 1 without gaps.
    pub milestones: Vec<Milestone>,
}

/// How far a command is.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandState {
    /// At work.
    Running,
    /// Done, one way or another.
    Ended {
        /// Which way.
        outcome: CommandOutcome,
        /// When.
        at: SystemTime,
    },
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandOutcome {
    /// Well, with this answer.
    Succeeded(Arc<Value>),
    /// Badly.
    Failed(Failure),
    /// Without a start: the hardware managers are not those that Ironic planned with.
    VersionMismatch(Failure),
    /// By request or by its deadline.
    Cancelled(Failure),
}

impl CommandOutcome {
    /// The word for the log: `SUCCEEDED`, `FAILED`, `VERSION_MISMATCH` or `CANCELLED`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Succeeded(_) => "SUCCEEDED",
            Self::Failed(_) => "FAILED",
            Self::VersionMismatch(_) => "VERSION_MISMATCH",
            Self::Cancelled(_) => "CANCELLED",
        }
    }

    /// Why it did not end well.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Succeeded(_) => None,
            Self::Failed(failure) | Self::VersionMismatch(failure) | Self::Cancelled(failure) => {
                Some(failure)
            }
        }
    }
}

/// Something that happened once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Milestone {
    /// Number within the command, from 1, without gaps.
    pub sequence: u64,
    /// When.
    pub at: SystemTime,
    /// What kind of thing.
    pub kind: MilestoneKind,
    /// One line for a person.
    pub text: String,
}

/// Kinds of milestones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MilestoneKind {
    /// The command was admitted.
    Started,
    /// A phase of it ended.
    PhaseEnded,
    /// Something to know that is not a failure.
    Warning,
    /// The command ended.
    Finished,
}

/// Phases and warnings beyond this number are not kept, so that a verb which warns in a
/// loop cannot fill the memory. The last one kept says so.
pub const MAX_MILESTONES: usize = 1000;

impl CommandRecord {
    /// The sequence number of the latest milestone; 0 before the first.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.milestones
            .last()
            .map_or(0, |milestone| milestone.sequence)
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.state, CommandState::Ended { .. })
    }

    /// The name without its extension.
    #[must_use]
    pub fn bare_name(&self) -> &str {
        super::descriptor::bare(&self.name)
    }

    /// Adds a milestone and numbers it. A phase or warning beyond [`MAX_MILESTONES`] is
    /// dropped.
    pub fn note(&mut self, kind: MilestoneKind, text: impl Into<String>, at: SystemTime) {
        let mut text = text.into();
        if matches!(kind, MilestoneKind::PhaseEnded | MilestoneKind::Warning) {
            match self.milestones.len() {
                few if few < MAX_MILESTONES => {}
                MAX_MILESTONES => "Further milestones are not kept.".clone_into(&mut text),
                _ => return,
            }
        }
        self.milestones.push(Milestone {
            sequence: self.last_sequence() + 1,
            at,
            kind,
            text,
        });
    }

    /// Ends it.
    pub fn end(&mut self, outcome: CommandOutcome, at: SystemTime) {
        let text = match outcome.failure() {
            None => "Succeeded.".to_owned(),
            Some(failure) => failure.to_string(),
        };
        self.state = CommandState::Ended { outcome, at };
        self.note(MilestoneKind::Finished, text, at);
    }
}

/// Results larger than this many bytes of JSON are kept whole only until the next such
/// result. Log archives and the echo of a step with an inline config drive are megabytes
/// each, the agent lives in a ramdisk, and Ironic reads such an answer once.
pub const LARGE_RESULT: usize = 256 * 1024;

/// A result without its long texts: each becomes a note of its length, everything else
/// stays, so that what Ironic compares (`interface` and `step` of an echoed step) is kept.
/// A result that is large without long texts is replaced as a whole.
#[must_use]
pub fn shortened(result: &Value) -> Value {
    const LONG_TEXT: usize = 4 * 1024;
    fn shorten(value: &Value) -> Value {
        match value {
            Value::String(text) if text.len() > LONG_TEXT => {
                Value::String(format!("<{} bytes, not kept>", text.len()))
            }
            Value::Array(items) => items.iter().map(shorten).collect(),
            Value::Object(object) => object
                .iter()
                .map(|(key, value)| (key.clone(), shorten(value)))
                .collect(),
            other => other.clone(),
        }
    }
    let short = shorten(result);
    match size(&short) {
        few if few <= LARGE_RESULT => short,
        many => serde_json::json!({ "not_kept": format!("<{many} bytes, not kept>") }),
    }
}

/// The length of a value as JSON, in bytes.
#[must_use]
pub fn size(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting takes every byte, and the keys of a JSON value are strings.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn identifiers_have_one_text_form() {
        let id = "6dd11111-2222-4333-8444-555555555555";
        assert_eq!(CommandId::parse(id).unwrap().to_string(), id);
        assert_eq!(CommandId::parse(&id.to_uppercase()), CommandId::parse(id));
        for text in [
            "",
            "abc",
            "6dd11111222243338444555555555555",
            "{6dd11111-2222-4333-8444-555555555555}",
            "urn:uuid:6dd11111-2222-4333-8444-555555555555",
            "6dd11111-2222-4333-8444-55555555555g",
        ] {
            assert_eq!(CommandId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn shortening_keeps_what_ironic_compares() {
        let drive = "x".repeat(1_000_000);
        let result = json!({"deploy_result": null, "deploy_step":
            {"interface": "deploy", "step": "write_image", "args": {"configdrive": drive}}});
        assert!(size(&result) > LARGE_RESULT);
        assert_eq!(
            shortened(&result),
            json!({"deploy_result": null, "deploy_step":
                {"interface": "deploy", "step": "write_image",
                 "args": {"configdrive": "<1000000 bytes, not kept>"}}})
        );
        let numbers: Value = (0..200_000).map(Value::from).collect();
        assert!(size(&shortened(&numbers)) < 100);
    }

    #[test]
    fn a_flood_of_warnings_is_cut_and_the_end_still_comes() {
        let mut record = crate::commands::testing::record(1);
        for _ in 0..2 * MAX_MILESTONES {
            record.note(MilestoneKind::Warning, "again", SystemTime::UNIX_EPOCH);
        }
        record.end(
            CommandOutcome::Succeeded(Arc::new(Value::Null)),
            SystemTime::UNIX_EPOCH,
        );
        let sequences: Vec<u64> = record.milestones.iter().map(|m| m.sequence).collect();
        let expected: Vec<u64> = (1..=MAX_MILESTONES as u64 + 2).collect();
        assert_eq!(sequences, expected);
        assert_eq!(
            record.milestones.last().unwrap().kind,
            MilestoneKind::Finished
        );
    }
}
