//! Extension `log`: the log archive.

use ironic_agent_protocol::v1;

use super::{Parsed, Verb};

/// The verb of `log.<command>`.
pub(super) fn verb(command: &str) -> Parsed {
    match command {
        "collect_system_logs" => Some(Ok(Verb::CollectSystemLogs(v1::CollectSystemLogsCommand {}))),
        _ => None,
    }
}
