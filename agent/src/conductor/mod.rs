//! What we say unasked: inspection, lookup, heartbeat.
//!
//! The other end is a [`Conductor`]: the shim, or an orchestrator. When to speak is decided
//! here and purely ([`heartbeat::Schedule`], [`lookup::Schedule`], [`inspection::WAITS`]);
//! the wire is `rpc::conductor_client`.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use ironic_text::Secret;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::config::SessionOverrides;
use crate::machine::ironic_node::Node;
use crate::shutdown::ShutdownReason;

pub mod backoff;
#[cfg(test)]
pub(crate) mod fake;
pub mod heartbeat;
pub mod inspection;
pub mod jitter;
pub mod lookup;
pub mod storm;
pub mod token;

pub use lookup::Session;

/// The conductor as the agent sees it. Each call is one attempt: schedules are ours.
pub trait Conductor: fmt::Debug + Send + Sync {
    /// Asks who this machine is.
    fn lookup(&self, question: Question) -> BoxFuture<'_, Answer>;

    /// Hands over an inspection report.
    fn submit_inspection(&self, report: Map<String, Value>) -> BoxFuture<'_, Submission>;

    /// Opens a heartbeat session by saying hello.
    fn open(&self, hello: Hello) -> BoxFuture<'_, Result<Box<dyn Pulse>, Lost>>;
}

/// An open heartbeat session.
pub trait Pulse: fmt::Debug + Send {
    /// Sends one beat and waits, without limit, for what the conductor says about it.
    fn beat(&mut self, beat: Beat) -> BoxFuture<'_, Result<Verdict, Lost>>;

    /// Completes when the other end closes the session. May be dropped and asked again.
    fn lost(&mut self) -> BoxFuture<'_, Lost>;

    /// Ends the session on purpose; best effort.
    fn farewell(self: Box<Self>, reason: ShutdownReason) -> BoxFuture<'static, ()>;
}

/// What identifies this machine before anybody knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// MAC addresses in the order of the inventory.
    pub addresses: Vec<String>,
    /// The node's UUID when an inspection or an earlier lookup told it.
    pub node_uuid: Option<String>,
}

/// What became of one lookup.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The node was found.
    Found(Box<Found>),
    /// Try again later.
    Retry {
        /// The node is locked (HTTP 409): more patience is asked for.
        conflict: bool,
        /// What happened, for the log.
        reason: String,
    },
}

/// A node that was found, already checked: it has a UUID, and the timeout is one.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The node.
    pub node: Node,
    /// The longest time between two heartbeats.
    pub timeout: heartbeat::Timeout,
    /// The token as it was answered: a token, `******`, or nothing.
    pub agent_token: Secret,
    /// What changes in the configuration.
    pub overrides: SessionOverrides,
}

/// Who opens a heartbeat session. It repeats the lookup's answer, so that a shim that was
/// restarted can go on without one.
#[derive(Debug, Clone, PartialEq)]
pub struct Hello {
    /// The node's UUID.
    pub node_uuid: String,
    /// The token in force.
    pub agent_token: Option<Secret>,
    /// What the lookup changed in the configuration.
    pub overrides: SessionOverrides,
}

/// One sign of life.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beat {
    /// Whether it is sent early because something happened.
    pub forced: bool,
    /// What the agent is doing, in one line for a person. Empty says nothing.
    pub status_message: String,
}

/// What the conductor said about one beat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// HTTP 202, the only success.
    Accepted,
    /// HTTP 409: the node is locked.
    Conflict {
        /// For the log.
        reason: String,
    },
    /// Any other status.
    Refused {
        /// HTTP status; 0 when the answer made no sense.
        status: i32,
        /// For the log.
        reason: String,
    },
    /// No address of Ironic answered.
    Unreachable {
        /// For the log.
        reason: String,
    },
}

/// What became of an inspection report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submission {
    /// Taken; with the node's UUID when it was answered.
    Accepted {
        /// The node's UUID.
        node_uuid: Option<String>,
    },
    /// Refused for good.
    Refused {
        /// For the log.
        reason: String,
    },
    /// Unreachable, busy or broken: try again.
    Retry {
        /// For the log.
        reason: String,
    },
    /// No address takes reports.
    Disabled,
}

/// The connection to the conductor is gone, or never came to be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct Lost {
    /// What happened, for the log.
    pub reason: String,
}

impl Lost {
    /// Gone for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// How long one call may take before it counts as failed: the other end tries every address
/// of Ironic, each with its patience for connecting and for reading, and needs a moment
/// itself.
#[must_use]
pub fn call_deadline(config: &crate::config::Config) -> Duration {
    const AT_LEAST: Duration = Duration::from_secs(60);
    const MOMENT: Duration = Duration::from_secs(5);
    let addresses = u32::try_from(config.common.api_url.len()).unwrap_or(u32::MAX);
    let patience = config.common.http_request_timeout.saturating_mul(2);
    patience
        .saturating_mul(addresses)
        .saturating_add(MOMENT)
        .max(AT_LEAST)
}
