//! The client of the Ironic API: lookup, heartbeat, inspection.
//!
//! Each call is one attempt over all configured addresses; the caller owns the schedule
//! of retries. Which microversion a request carries, which keys it has and what an answer
//! means are contracts with every supported Ironic (Yoga to today).

mod client;
mod version;
mod wire;

pub use client::{Ironic, IronicError, IronicSettings, UnknownVersion};
pub use version::ApiVersion;
pub use wire::{Found, LookupConfig, error_text};

use std::fmt;

/// What Ironic said to a lookup.
#[derive(Debug)]
pub enum LookupAnswer {
    /// The node was found.
    Found(Box<Found>),
    /// Not now.
    Retry {
        /// The HTTP status; `None` when no address answered, or not to the question. 409: the
        /// node is locked, and Ironic asks to wait longer.
        status: Option<u16>,
        /// What happened, for a log.
        reason: String,
    },
}

/// What Ironic said to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BeatAnswer {
    /// HTTP 202, the only success.
    Accepted,
    /// HTTP 409: the node is locked.
    Conflict(String),
    /// Any other status.
    Refused {
        /// The status.
        status: u16,
        /// Ironic's words.
        reason: String,
    },
    /// No address answered.
    Unreachable(String),
}

/// What Ironic said to an inspection report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InspectionAnswer {
    /// Taken; the node's UUID if Ironic sent it.
    Accepted(Option<String>),
    /// Refused for good.
    Refused(String),
    /// Unreachable, HTTP 409, or 500 and above.
    Retry(String),
    /// No address is configured: nobody asked for an inspection.
    Disabled,
}

/// A heartbeat's body.
#[derive(Clone)]
pub struct Beat<'a> {
    /// The node's UUID.
    pub node_uuid: &'a str,
    /// Where the conductor reaches the REST server; no slash at its end.
    pub callback_url: &'a str,
    /// The token in force.
    pub agent_token: Option<&'a str>,
    /// The agent's version.
    pub agent_version: &'a str,
    /// The PEM of the generated certificate.
    pub agent_verify_ca: Option<&'a str>,
    /// What the agent is doing, for a person.
    pub agent_status_message: Option<&'a str>,
}

impl fmt::Debug for Beat<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beat")
            .field("node_uuid", &self.node_uuid)
            .field("callback_url", &self.callback_url)
            .finish_non_exhaustive()
    }
}
