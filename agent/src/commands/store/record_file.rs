//! A record as a JSON document: what a file of the store holds.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::commands::record::{CommandId, Milestone, MilestoneKind, Outcome, Record, State};
use crate::commands::request::Fingerprint;
use crate::failure::{Failure, FailureKind};

/// Why a document is no record.
#[derive(Debug, Error)]
pub(super) enum InvalidPage {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("\"{field}\" holds {value:?}")]
    Field { field: &'static str, value: String },
    #[error("\"{0}\" is missing")]
    Missing(&'static str),
}

#[derive(Debug, Serialize, Deserialize)]
struct Page {
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
    failure: Option<FailurePage>,
    milestones: Vec<MilestonePage>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FailurePage {
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
struct MilestonePage {
    sequence: u64,
    at_us: u64,
    kind: String,
    text: String,
}

const KINDS: [(MilestoneKind, &str); 4] = [
    (MilestoneKind::Started, "started"),
    (MilestoneKind::Phase, "phase"),
    (MilestoneKind::Warning, "warning"),
    (MilestoneKind::Finished, "finished"),
];

pub(super) fn write(record: &Record) -> Result<Vec<u8>, serde_json::Error> {
    let (state, ended_us, result, failure) = match &record.state {
        State::Running => ("RUNNING", None, None, None),
        State::Ended { outcome, at } => (
            outcome.word(),
            Some(micros(*at)),
            match outcome {
                Outcome::Succeeded(result) => Some(Value::clone(result)),
                _ => None,
            },
            outcome.failure().map(failure_page),
        ),
    };
    serde_json::to_vec(&Page {
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
            .map(|milestone| MilestonePage {
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

pub(super) fn read(text: &[u8]) -> Result<Record, InvalidPage> {
    let page: Page = serde_json::from_slice(text)?;
    let mut fingerprint = [0; 32];
    hex::decode_to_slice(&page.fingerprint, &mut fingerprint)
        .map_err(|_| invalid("fingerprint", &page.fingerprint))?;
    let failure =
        |page: Option<FailurePage>| read_failure(page.ok_or(InvalidPage::Missing("failure"))?);
    let outcome = match page.state.as_str() {
        "RUNNING" => None,
        "SUCCEEDED" => Some(Outcome::Succeeded(Arc::new(
            page.result.unwrap_or_default(),
        ))),
        "FAILED" => Some(Outcome::Failed(failure(page.failure)?)),
        "VERSION_MISMATCH" => Some(Outcome::VersionMismatch(failure(page.failure)?)),
        "CANCELLED" => Some(Outcome::Cancelled(failure(page.failure)?)),
        other => return Err(invalid("state", other)),
    };
    let state = match outcome {
        None => State::Running,
        Some(outcome) => State::Ended {
            outcome,
            at: time(page.ended_us.ok_or(InvalidPage::Missing("ended_us"))?),
        },
    };
    let milestones = page.milestones.into_iter().map(|milestone| {
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
    Ok(Record {
        id: CommandId::parse(&page.id).ok_or_else(|| invalid("id", &page.id))?,
        name: page.name,
        background: page.background,
        fingerprint: Fingerprint(fingerprint),
        started_at: time(page.started_us),
        deadline: page.deadline_us.map(time),
        state,
        milestones: milestones.collect::<Result<_, InvalidPage>>()?,
    })
}

fn failure_page(failure: &Failure) -> FailurePage {
    FailurePage {
        kind: failure.kind.name().to_owned(),
        details: failure.details.clone(),
        program: failure.program.clone(),
        exit_status: failure.exit_status,
        stderr_tail: failure.stderr_tail.clone(),
    }
}

fn read_failure(page: FailurePage) -> Result<Failure, InvalidPage> {
    Ok(Failure {
        kind: FailureKind::from_name(&page.kind)
            .ok_or_else(|| invalid("failure.kind", &page.kind))?,
        details: page.details,
        program: page.program,
        exit_status: page.exit_status,
        stderr_tail: page.stderr_tail,
    })
}

fn invalid(field: &'static str, value: &str) -> InvalidPage {
    InvalidPage::Field {
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
