//! A command as the fleet shows it: of bounded size, without its result.

use ironic_agent_protocol::v1;

/// The longest name or identifier, in characters.
const NAME: usize = 255;

/// The longest text of a failure, in characters. CommandService.GetCommand answers all of it.
const TEXT: usize = 2000;

/// What the fleet shows of a record.
pub(super) fn node_command(record: v1::CommandRecord) -> v1::NodeCommand {
    v1::NodeCommand {
        id: cut(record.id, NAME),
        name: cut(record.name, NAME),
        state: record.state,
        failure: record.failure.map(failure),
        background: record.background,
        started_at: record.started_at,
        finished_at: record.finished_at,
        progress: record.progress.map(progress),
    }
}

/// A command of which the agent does not know any more how it has ended.
pub(super) fn unknown_end(command: v1::NodeCommand) -> v1::NodeCommand {
    v1::NodeCommand {
        state: v1::CommandState::Unspecified.into(),
        ..command
    }
}

/// Progress whose texts are of bounded size.
pub(super) fn progress(progress: v1::Progress) -> v1::Progress {
    v1::Progress {
        phase: cut(progress.phase, NAME),
        unit: cut(progress.unit, NAME),
        subject: cut(progress.subject, NAME),
        ..progress
    }
}

fn failure(failure: v1::Failure) -> v1::Failure {
    v1::Failure {
        kind: cut(failure.kind, NAME),
        message: cut(failure.message, TEXT),
        details: cut(failure.details, TEXT),
        program: cut(failure.program, TEXT),
        stderr_tail: cut(failure.stderr_tail, TEXT),
        ..failure
    }
}

/// The beginning of a text.
pub(super) fn cut(text: String, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        // A new allocation: the old one would stay as large as it was.
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_cannot_make_a_node_large() {
        let long = || "ä".repeat(100_000);
        let record = v1::CommandRecord {
            id: long(),
            name: long(),
            failure: Some(v1::Failure {
                kind: long(),
                message: long(),
                details: long(),
                program: long(),
                stderr_tail: long(),
                ..v1::Failure::default()
            }),
            progress: Some(v1::Progress {
                phase: long(),
                unit: long(),
                subject: long(),
                ..v1::Progress::default()
            }),
            ..v1::CommandRecord::default()
        };
        let command = node_command(record);
        assert!(prost::Message::encoded_len(&command) < 32 * 1024);
        assert_eq!(cut("äöü".into(), 2), "äö");
        assert_eq!(cut("äöü".into(), 3), "äöü");
    }
}
