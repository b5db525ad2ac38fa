//! Records as they go out.

use std::time::SystemTime;

use ironic_agent_protocol::v1;
use ironic_document::to_value;

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
                            let failure = self::failure(&Failure::execution(details));
                            (S::Failed, Some(failure), None)
                        }
                    }
                }
                CommandOutcome::Failed(failure) => (S::Failed, Some(self::failure(failure)), None),
                CommandOutcome::VersionMismatch(failure) => {
                    (S::VersionMismatch, Some(self::failure(failure)), None)
                }
                CommandOutcome::Cancelled(failure) => {
                    (S::Cancelled, Some(self::failure(failure)), None)
                }
            };
            (state, failure, result, Some(timestamp(*at)))
        }
    };
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
            MilestoneKind::Phase => K::Phase,
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

fn failure(failure: &Failure) -> v1::Failure {
    v1::Failure {
        kind: failure.kind.name().to_owned(),
        code: failure.kind.code(),
        message: failure.message().to_owned(),
        details: failure.details.clone(),
        program: failure.program.clone().unwrap_or_default(),
        exit_status: failure.exit_status,
        stderr_tail: failure.stderr_tail.clone(),
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
    fn a_failure_keeps_what_the_program_said() {
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
