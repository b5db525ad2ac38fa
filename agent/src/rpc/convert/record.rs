//! Records as they go out.

use std::time::SystemTime;

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command_record::TypedResult;
use ironic_agent_protocol::verbs::VerbDescriptor;
use ironic_document::to_value;
use prost_types::value::Kind;

use super::failure::failure;
use crate::commands::{
    CommandOutcome, CommandPlan, CommandRecord, CommandState, Milestone, MilestoneKind,
};
use crate::failure::Failure;
use crate::task::{LogLine, Progress};

/// A record, with the latest progress of its command if it runs.
///
/// A result that does not fit the protocol makes the record a failed one that says so: one
/// odd number must not keep a caller from the list.
#[must_use]
pub fn record(record: &CommandRecord, latest: Option<&Progress>) -> v1::CommandRecord {
    use v1::CommandState as S;
    let (state, failure, result, finished_at) = match &record.state {
        CommandState::Running => (S::Running, None, None, None),
        CommandState::Ended { outcome, at } => {
            let (state, failure, result) = match outcome {
                CommandOutcome::Succeeded(result) => {
                    match to_value(serde_json::Value::clone(result), "result") {
                        Ok(result) => (S::Succeeded, None, Some(result)),
                        Err(error) => {
                            let details =
                                format!("The command succeeded, but not its answer: {error}");
                            let error = Failure::execution(details);
                            (S::Failed, Some(failure(&error)), None)
                        }
                    }
                }
                CommandOutcome::Failed(error) => (S::Failed, Some(failure(error)), None),
                CommandOutcome::VersionMismatch(error) => {
                    (S::VersionMismatch, Some(failure(error)), None)
                }
                CommandOutcome::Cancelled(error) => (S::Cancelled, Some(failure(error)), None),
            };
            (state, failure, result, Some(timestamp(*at)))
        }
    };
    let typed_result = result
        .as_ref()
        .and_then(|result| typed_result(&record.name, result));
    v1::CommandRecord {
        id: record.id.to_string(),
        name: record.name.clone(),
        state: state.into(),
        failure,
        result,
        background: record.background,
        started_at: Some(timestamp(record.started_at)),
        finished_at,
        deadline: record.deadline.map(timestamp),
        progress: latest.map(progress),
        last_sequence: record.last_sequence(),
        typed_result,
    }
}

/// A milestone.
#[must_use]
pub fn milestone(milestone: &Milestone) -> v1::Milestone {
    use v1::MilestoneKind as K;
    v1::Milestone {
        sequence: milestone.sequence,
        at: Some(timestamp(milestone.at)),
        kind: match milestone.kind {
            MilestoneKind::Started => K::Started,
            MilestoneKind::PhaseEnded => K::Phase,
            MilestoneKind::Warning => K::Warning,
            MilestoneKind::Finished => K::Finished,
        }
        .into(),
        text: milestone.text.clone(),
    }
}

/// A line of a command's log.
#[must_use]
pub fn line(line: &LogLine) -> v1::LogLine {
    v1::LogLine {
        at: Some(timestamp(line.at)),
        level: line.level.word().to_owned(),
        text: line.text.clone(),
    }
}

/// Where a command stands.
#[must_use]
pub fn progress(progress: &Progress) -> v1::Progress {
    v1::Progress {
        phase: progress.phase.clone().into_owned(),
        done: progress.done,
        total: progress.total,
        rate: progress.rate,
        // Longer than a Duration holds is as good as unknown.
        remaining: progress.remaining.and_then(|time| time.try_into().ok()),
        unit: progress.unit.clone().into_owned(),
        subject: progress.subject.clone(),
        written: progress.written,
        known_phase: known_phase(&progress.phase).into(),
    }
}

/// What a command would do.
#[must_use]
pub fn plan(plan: CommandPlan) -> v1::Plan {
    let actions = plan.actions.into_iter().map(|action| v1::PlannedAction {
        description: action.description,
        device: action.device,
        destructive: action.destructive,
    });
    v1::Plan {
        actions: actions.collect(),
    }
}

/// A time by the agent's clock.
#[must_use]
pub fn timestamp(time: SystemTime) -> prost_types::Timestamp {
    time.into()
}

/// The phase as a value of the closed set; unspecified for one that only a hardware manager has.
fn known_phase(phase: &str) -> v1::ProgressPhase {
    let name = format!("PROGRESS_PHASE_{}", phase.to_ascii_uppercase());
    v1::ProgressPhase::from_str_name(&name).unwrap_or_default()
}

/// What a typed command answered, as its message.
fn typed_result(name: &str, result: &prost_types::Value) -> Option<TypedResult> {
    let verb = VerbDescriptor::by_name(name)?;
    match &result.kind {
        Some(Kind::StructValue(document)) => verb.typed_result(document.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::commands::testing;

    #[test]
    fn an_answer_that_does_not_fit_fails_its_record_only() {
        let mut ended = testing::record(1);
        let answer = json!({ "serial": u64::MAX });
        ended.end(CommandOutcome::Succeeded(Arc::new(answer)), testing::at(2));
        let message = record(&ended, None);
        assert_eq!(message.state(), v1::CommandState::Failed);
        assert!(message.result.is_none());
        let details = message.failure.unwrap().details;
        assert!(details.contains("result.serial"), "{details}");
        assert!(details.contains("18446744073709551615"), "{details}");
    }

    #[test]
    fn a_failure_keeps_the_output_of_the_program() {
        let mut ended = testing::record(1);
        let failed = Failure {
            program: Some("hdparm".to_owned()),
            exit_status: Some(5),
            stderr_tail: "no".to_owned(),
            ..Failure::execution("hdparm said no")
        };
        ended.end(CommandOutcome::Failed(failed), testing::at(2));
        let failure = record(&ended, None).failure.unwrap();
        assert_eq!(
            (
                failure.program.as_str(),
                failure.exit_status,
                failure.stderr_tail.as_str()
            ),
            ("hdparm", Some(5), "no")
        );
        assert_eq!(
            (
                failure.kind.as_str(),
                failure.message.as_str(),
                failure.details.as_str()
            ),
            (
                "CommandExecutionError",
                "Command execution failed",
                "hdparm said no"
            )
        );
    }
}
