//! Extension `system`: leaving the network.

use ironic_agent_protocol::v1;

use super::{Parsed, Verb};

/// The verb of `system.<command>`.
pub(super) fn verb(command: &str) -> Parsed {
    match command {
        "lockdown" => Some(Ok(Verb::Lockdown(v1::LockdownCommand {}))),
        _ => None,
    }
}
