//! What the agent says unasked: inspection, lookup, heartbeat; and how it stays attached
//! where it has no port of its own ([`attachment`]), and proves which node it is ([`identity`]).
//!
//! The other end is a [`Conductor`]: the shim, a gateway, or an orchestrator. Pure functions decide
//! here when to speak ([`heartbeat::Schedule`], [`lookup::LookupSchedule`],
//! [`inspection::WAITS`]); the wire is `rpc::conductor_client`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use ironic_document::JsonObject;
use ironic_text::Secret;
use ironic_text::error_chain;
use thiserror::Error;

use crate::config::SessionOverrides;
use crate::machine::ironic_node::Node;
use crate::shutdown::ShutdownReason;

pub mod attachment;
pub mod backoff;
mod boot_file;
pub mod deferral;
#[cfg(test)]
pub(crate) mod fake;
pub mod heartbeat;
pub mod identity;
pub mod inspection;
pub mod jitter;
pub mod lookup;
pub mod token;

pub use lookup::LookupSession;

/// The conductor as the agent sees it. Each call is one attempt: schedules are ours.
pub trait Conductor: fmt::Debug + Send + Sync {
    /// Asks which node this machine is.
    fn lookup(&self, question: LookupRequest) -> BoxFuture<'_, LookupOutcome>;

    /// Hands over an inspection report.
    fn submit_inspection(&self, report: JsonObject) -> BoxFuture<'_, InspectionOutcome>;

    /// Opens a heartbeat session by saying hello.
    fn open(
        &self,
        hello: SessionOpen,
    ) -> BoxFuture<'_, Result<Box<dyn HeartbeatSession>, SessionLost>>;

    /// Attaches the agent's server to the conductor. Completes when the conductor has accepted
    /// it, which may wait for a heartbeat.
    fn attach(&self, hello: AttachHello) -> BoxFuture<'_, Result<OpenAttachment, SessionLost>>;
}

/// An attachment that the conductor has accepted.
pub struct OpenAttachment {
    /// Completes when it has ended.
    pub ended: BoxFuture<'static, SessionLost>,
    /// Completes when the conductor asks the agent to attach elsewhere, and otherwise never.
    pub draining: BoxFuture<'static, ()>,
    /// Says that the agent is attached elsewhere: calls in flight end here, and no new ones come.
    pub moved: Box<dyn FnOnce() + Send>,
}

impl fmt::Debug for OpenAttachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAttachment").finish_non_exhaustive()
    }
}

/// An open heartbeat session.
pub trait HeartbeatSession: fmt::Debug + Send {
    /// Sends one beat and waits, without limit, for what the conductor says about it.
    fn beat(&mut self, beat: Heartbeat) -> BoxFuture<'_, Result<Verdict, SessionLost>>;

    /// Completes when the other end closes the session. May be dropped and asked again.
    fn lost(&mut self) -> BoxFuture<'_, SessionLost>;

    /// Ends the session on purpose; best effort.
    fn farewell(self: Box<Self>, reason: ShutdownReason) -> BoxFuture<'static, ()>;
}

/// What identifies this machine before a lookup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LookupRequest {
    /// MAC addresses in the order of the inventory.
    pub addresses: Vec<String>,
    /// The machine's UUID as its firmware says it; empty when it says none.
    pub system_uuid: String,
    /// The machine's serial number as its firmware says it; empty when it says none.
    pub serial_number: String,
    /// The node's UUID when an inspection or an earlier lookup answered it.
    pub node_uuid: Option<String>,
}

/// What became of one lookup.
#[derive(Debug, Clone, PartialEq)]
pub enum LookupOutcome {
    /// The node was found.
    Found(Box<FoundNode>),
    /// Try again later.
    Retry {
        /// The node is locked (HTTP 409): a longer wait is asked for.
        conflict: bool,
        /// What happened.
        error: ConductorError,
    },
    /// The conductor has too much to do: try again after its time. No failure.
    Deferred(Deferral),
}

/// The conductor asks for a later attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deferral {
    /// How long, as it said it; [`deferral::pause`] makes a wait of it.
    pub retry_after: Duration,
    /// Why, for the log.
    pub reason: String,
}

/// A node that was found, already checked: it has a UUID, and the timeout is one.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundNode {
    /// The node.
    pub node: Node,
    /// The longest time between two heartbeats.
    pub timeout: heartbeat::Timeout,
    /// The token as it was answered: a token, `******`, or nothing.
    pub agent_token: Secret,
    /// What changes in the configuration.
    pub overrides: SessionOverrides,
    /// Whether Ironic has this node. A conductor that does not say is Ironic's.
    pub is_ironics: bool,
}

/// The agent that opens a heartbeat session. It repeats the lookup's answer, so that a shim that
/// was restarted can go on without one.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionOpen {
    /// The node's UUID.
    pub node_uuid: String,
    /// The token in force.
    pub agent_token: Option<Secret>,
    /// What the lookup changed in the configuration.
    pub overrides: SessionOverrides,
}

/// The agent that attaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachHello {
    /// The node's UUID.
    pub node_uuid: String,
    /// The token in force.
    pub agent_token: Option<Secret>,
    /// Identifies the boot of the machine.
    pub boot_id: String,
    /// Grows from one attachment of this boot to the next.
    pub counter: u64,
}

/// One sign of life.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heartbeat {
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
    /// Nobody has looked at the beat yet: it is repeated after this time. No error.
    Deferred(Deferral),
}

/// What became of an inspection report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InspectionOutcome {
    /// Taken; with the node's UUID when it was answered.
    Accepted {
        /// The node's UUID.
        node_uuid: Option<String>,
    },
    /// Refused for good.
    Refused(ConductorError),
    /// Unreachable, busy or broken: try again.
    Retry(ConductorError),
    /// The conductor has too much to do: try again after its time. No failure.
    Deferred(Deferral),
    /// No address takes reports.
    Disabled,
}

/// Why there is no session with the conductor, or none any more.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SessionLost {
    /// A beat was not answered in time.
    #[error("no verdict within {} s", .0.as_secs_f64())]
    NoVerdict(Duration),
    /// No session was open.
    #[error("there is no session")]
    Closed,
    /// The conductor is going to stop, and the next session is opened elsewhere.
    #[error("the conductor is draining: elsewhere")]
    Draining,
    /// The connection failed.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

/// Why the conductor could not be asked. What it was is the matter of the wire.
#[derive(Debug, Clone, Error)]
#[error(transparent)]
pub struct ConnectionError(Arc<dyn std::error::Error + Send + Sync>);

/// Two that read the same are the same.
impl PartialEq for ConnectionError {
    fn eq(&self, other: &Self) -> bool {
        error_chain(self) == error_chain(other)
    }
}

impl Eq for ConnectionError {}

impl ConnectionError {
    /// A failure of the wire.
    pub fn new(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }
}

/// Why the conductor did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConductorError {
    /// What it said.
    #[error("{0}")]
    Said(String),
    /// It was not reached, or its answer makes no sense.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

/// How long one call may take before it counts as failed: the other end tries every address
/// of Ironic, each with its timeouts for connecting and for reading, and needs a moment
/// itself.
#[must_use]
pub fn call_deadline(config: &crate::config::AgentConfig) -> Duration {
    const MIN_DEADLINE: Duration = Duration::from_secs(60);
    const MOMENT: Duration = Duration::from_secs(5);
    let addresses = u32::try_from(config.common.api_url.len()).unwrap_or(u32::MAX);
    let both = config.common.http_request_timeout.saturating_mul(2);
    both.saturating_mul(addresses)
        .saturating_add(MOMENT)
        .max(MIN_DEADLINE)
}
