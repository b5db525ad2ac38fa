//! A record as a JSON document: what a file of the store holds.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::commands::fingerprint::Fingerprint;
use crate::commands::record::{
    CommandId, CommandOutcome, CommandRecord, CommandState, Milestone, MilestoneKind,
};
use crate::failure::{Failure, FailureKind};

/// Why a document is not a record.
#[derive(Debug, Error)]
pub(super) enum InvalidRecordFile {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("\"{field}\" holds {value:?}")]
    Field { field: &'static str, value: String },
    #[error("\"{0}\" is missing")]
    Missing(&'static str),
}

#[derive(Debug, Serialize, Deserialize)]
struct RecordFile {
    id: String,
    name: String,
    background: bool,
    fingerprint: String,
    started_us: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline_us: Option<u64>,
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_us: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<FailureEntry>,
    milestones: Vec<MilestoneEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FailureEntry {
    kind: String,
    details: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    program: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exit_status: Option<i32>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    stderr_tail: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct MilestoneEntry {
    sequence: u64,
    at_us: u64,
    kind: String,
    text: String,
}

const KINDS: [(MilestoneKind, &str); 4] = [
    (MilestoneKind::Started, "started"),
    (MilestoneKind::PhaseEnded, "phase"),
    (MilestoneKind::Warning, "warning"),
    (MilestoneKind::Finished, "finished"),
];

pub(super) fn write(record: &CommandRecord) -> Result<Vec<u8>, serde_json::Error> {
    let (state, ended_us, result, failure) = match &record.state {
        CommandState::Running => ("RUNNING", None, None, None),
        CommandState::Ended { outcome, at } => (
            outcome.word(),
            Some(micros(*at)),
            match outcome {
                CommandOutcome::Succeeded(result) => Some(Value::clone(result)),
                _ => None,
            },
            outcome.failure().map(failure_entry),
        ),
    };
    serde_json::to_vec(&RecordFile {
        id: record.id.to_string(),
        name: record.name.clone(),
        background: record.background,
        fingerprint: hex::encode(record.fingerprint.0),
        started_us: micros(record.started_at),
        deadline_us: record.deadline.map(micros),
        state: state.to_owned(),
        ended_us,
        result,
        failure,
        milestones: record
            .milestones
            .iter()
            .map(|milestone| MilestoneEntry {
                sequence: milestone.sequence,
                at_us: micros(milestone.at),
                kind: KINDS
                    .iter()
                    .find(|(kind, _)| *kind == milestone.kind)
                    .map_or("", |(_, word)| word)
                    .to_owned(),
                text: milestone.text.clone(),
            })
            .collect(),
    })
}

pub(super) fn read(text: &[u8]) -> Result<CommandRecord, InvalidRecordFile> {
    let file: RecordFile = serde_json::from_slice(text)?;
    let mut fingerprint = [0; 32];
    hex::decode_to_slice(&file.fingerprint, &mut fingerprint)
        .map_err(|_| invalid("fingerprint", &file.fingerprint))?;
    let failure = |file: Option<FailureEntry>| {
        read_failure(file.ok_or(InvalidRecordFile::Missing("failure"))?)
    };
    let outcome = match file.state.as_str() {
        "RUNNING" => None,
        "SUCCEEDED" => Some(CommandOutcome::Succeeded(Arc::new(
            file.result.unwrap_or_default(),
        ))),
        "FAILED" => Some(CommandOutcome::Failed(failure(file.failure)?)),
        "VERSION_MISMATCH" => Some(CommandOutcome::VersionMismatch(failure(file.failure)?)),
        "CANCELLED" => Some(CommandOutcome::Cancelled(failure(file.failure)?)),
        other => return Err(invalid("state", other)),
    };
    let state = match outcome {
        None => CommandState::Running,
        Some(outcome) => CommandState::Ended {
            outcome,
            at: time(
                file.ended_us
                    .ok_or(InvalidRecordFile::Missing("ended_us"))?,
            ),
        },
    };
    let milestones = file.milestones.into_iter().map(|milestone| {
        Ok(Milestone {
            sequence: milestone.sequence,
            at: time(milestone.at_us),
            kind: KINDS
                .iter()
                .find(|(_, word)| *word == milestone.kind)
                .map(|(kind, _)| *kind)
                .ok_or_else(|| invalid("kind", &milestone.kind))?,
            text: milestone.text,
        })
    });
    Ok(CommandRecord {
        id: CommandId::parse(&file.id).ok_or_else(|| invalid("id", &file.id))?,
        name: file.name,
        background: file.background,
        fingerprint: Fingerprint(fingerprint),
        started_at: time(file.started_us),
        deadline: file.deadline_us.map(time),
        state,
        milestones: milestones.collect::<Result<_, InvalidRecordFile>>()?,
    })
}

fn failure_entry(failure: &Failure) -> FailureEntry {
    FailureEntry {
        kind: failure.kind.name().to_owned(),
        details: failure.details.clone(),
        program: failure.program.clone(),
        exit_status: failure.exit_status,
        stderr_tail: failure.stderr_tail.clone(),
    }
}

fn read_failure(file: FailureEntry) -> Result<Failure, InvalidRecordFile> {
    Ok(Failure {
        kind: FailureKind::from_name(&file.kind)
            .ok_or_else(|| invalid("failure.kind", &file.kind))?,
        details: file.details,
        program: file.program,
        exit_status: file.exit_status,
        stderr_tail: file.stderr_tail,
    })
}

fn invalid(field: &'static str, value: &str) -> InvalidRecordFile {
    InvalidRecordFile::Field {
        field,
        value: value.to_owned(),
    }
}

/// Microseconds since 1970; a clock before that reads as 0.
fn micros(time: SystemTime) -> u64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// A number that no clock shows reads as 1970.
fn time(micros: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_micros(micros))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}
