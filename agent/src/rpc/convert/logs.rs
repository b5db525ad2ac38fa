//! Requests for logs as they come in, and records as they go out.

use ironic_agent_protocol::v1;
use ironic_text::error_chain;
use thiserror::Error;
use v1::follow_logs_response::Event;

use super::record::timestamp;
use crate::logs::follow::{
    FollowBegin, FollowOptions, InvalidCursor, LogCursor, LogEvent, LogGap, LogOpening, LogRecord,
    LogSource,
};
use crate::task::Level;

/// What a [`v1::FollowLogsRequest`] may have wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidFollowRequest {
    /// No source has this number.
    #[error("'sources[{0}]' must be LOG_SOURCE_AGENT or LOG_SOURCE_KERNEL")]
    Source(usize),
    /// Two places to begin at.
    #[error("'tail' and 'cursor' both say where to begin: send one of them")]
    TwoBeginnings,
    /// The cursor.
    #[error(transparent)]
    Cursor(#[from] InvalidCursor),
}

/// What a reader wants.
///
/// # Errors
/// The first thing that is wrong with the message.
pub fn follow_options(
    message: v1::FollowLogsRequest,
) -> Result<FollowOptions, InvalidFollowRequest> {
    let mut sources = Vec::new();
    for (index, source) in message.sources.into_iter().enumerate() {
        sources.push(match v1::LogSource::try_from(source) {
            Ok(v1::LogSource::Agent) => LogSource::Agent,
            Ok(v1::LogSource::Kernel) => LogSource::Kernel,
            Ok(v1::LogSource::Unspecified) | Err(_) => {
                return Err(InvalidFollowRequest::Source(index));
            }
        });
    }
    let begin = match (message.tail, message.cursor.as_str()) {
        (None, "") => FollowBegin::Oldest,
        (Some(tail), "") => FollowBegin::Tail(tail),
        (None, cursor) => FollowBegin::Cursor(cursor.parse()?),
        (Some(_), _) => return Err(InvalidFollowRequest::TwoBeginnings),
    };
    Ok(FollowOptions {
        sources,
        follow: message.follow,
        begin,
    })
}

/// An event, with the place behind it.
#[must_use]
pub fn log_event(event: LogEvent, cursor: &LogCursor) -> v1::FollowLogsResponse {
    let event = match event {
        LogEvent::Opening(opening) => Event::Opening(self::opening(opening)),
        LogEvent::Record(record) => Event::Record(log_record(record)),
        LogEvent::Gap(gap) => Event::Gap(self::gap(gap)),
    };
    v1::FollowLogsResponse {
        event: Some(event),
        cursor: cursor.to_string(),
    }
}

fn opening(opening: LogOpening) -> v1::LogOpening {
    let unavailable = opening.unavailable.into_iter();
    v1::LogOpening {
        boot_id: opening.boot,
        sources: opening
            .sources
            .into_iter()
            .map(|source| log_source(source).into())
            .collect(),
        unavailable: unavailable
            .map(|(source, error)| v1::UnavailableLogSource {
                source: log_source(source).into(),
                reason: error_chain(&error),
            })
            .collect(),
    }
}

fn log_record(record: LogRecord) -> v1::LogRecord {
    let level = match record.level {
        Level::Error => v1::LogLevel::Error,
        Level::Warn => v1::LogLevel::Warn,
        Level::Info => v1::LogLevel::Info,
        Level::Debug => v1::LogLevel::Debug,
    };
    v1::LogRecord {
        source: log_source(record.source).into(),
        at: Some(timestamp(record.at)),
        level: level.into(),
        text: record.text,
    }
}

fn gap(gap: LogGap) -> v1::LogGap {
    use v1::LogGapReason as R;
    let (source, reason, records) = match gap {
        LogGap::Overwritten { source, records } => {
            (log_source(source), R::Overwritten, Some(records))
        }
        LogGap::AgentRestarted => (v1::LogSource::Agent, R::AgentRestarted, None),
        LogGap::MachineRestarted => (v1::LogSource::Unspecified, R::MachineRestarted, None),
    };
    v1::LogGap {
        source: source.into(),
        reason: reason.into(),
        records,
    }
}

fn log_source(source: LogSource) -> v1::LogSource {
    match source {
        LogSource::Agent => v1::LogSource::Agent,
        LogSource::Kernel => v1::LogSource::Kernel,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_makes_no_sense_is_refused_by_field() {
        let request = |sources: &[i32], tail, cursor: &str| {
            let options = follow_options(v1::FollowLogsRequest {
                sources: sources.to_vec(),
                follow: true,
                tail,
                cursor: cursor.to_owned(),
            });
            options.map(|options| (options.sources, options.begin))
        };
        let both = vec![LogSource::Kernel, LogSource::Agent];
        assert_eq!(
            request(&[2, 1], Some(3), ""),
            Ok((both, FollowBegin::Tail(3)))
        );
        assert_eq!(
            request(&[], None, ""),
            Ok((Vec::new(), FollowBegin::Oldest))
        );
        for (sources, tail, cursor, text) in [
            (&[1, 0][..], None, "", "'sources[1]' must be"),
            (&[3], None, "", "'sources[0]' must be"),
            (&[], Some(1), "1:b:-:-:1", "'tail' and 'cursor'"),
            (&[], None, "abc", "'cursor' must be"),
        ] {
            let error = request(sources, tail, cursor).unwrap_err().to_string();
            assert!(error.starts_with(text), "{error}");
        }
    }
}
