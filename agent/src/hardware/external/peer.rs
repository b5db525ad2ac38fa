//! What is said between the agent and a manager that is a program of its own. `rpc` speaks
//! it over gRPC; here it is data.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::failure::Failure;
use crate::hardware::{Action, Description, Identity, Object, Offer, Phase, Support};
use crate::task::Progress;

/// Makes the peer of a program that serves at a socket. Nothing is connected yet.
pub type Dial = Arc<dyn Fn(&Path) -> Arc<dyn Peer> + Send + Sync>;

/// What a manager says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// How it is known.
    pub identity: Identity,
    /// How well it knows this machine.
    pub support: Support,
    /// All steps that it may ever offer.
    pub steps: Vec<StepDescribed>,
}

/// One of its steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepDescribed {
    /// How it is known and what it takes.
    pub description: Description,
    /// The phases that it is offered in.
    pub offers: Vec<(Phase, Offer)>,
    /// When a run that has not ended is ended.
    pub deadline: Duration,
}

/// A step that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The step's name.
    pub name: String,
    /// The node as Ironic stores it.
    pub node: Object,
    /// Its ports.
    pub ports: Vec<Object>,
    /// Checked arguments.
    pub arguments: Object,
}

/// What a step tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Where it stands.
    Progress(Progress),
    /// A phase of it ended.
    Phase(String),
    /// Something to know that is no failure.
    Warning(String),
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// It is done, with this result.
    Done(T),
    /// It failed in one of the classes that Ironic knows.
    Failed(Failure),
    /// It failed otherwise: a class name of the manager's own, and what happened.
    Unexpected {
        /// The manager's own word for it; may be empty.
        class: String,
        /// What happened.
        text: String,
    },
    /// It does not fit this hardware, and why.
    Incompatible(String),
}

/// The program did not answer as agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Why, for an operator.
    pub reason: String,
    /// Whether nobody listens at the socket (yet).
    pub unreachable: bool,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// The other end of the socket. Connects when it is used, again after a restart of the
/// program. None of the calls has a limit of its own.
pub trait Peer: fmt::Debug + Send + Sync {
    /// What the manager is and offers.
    fn describe(&self) -> BoxFuture<'_, Result<Described, Lost>>;

    /// What a step would do; `Done(None)` when it does not tell.
    fn plan(&self, order: Order) -> BoxFuture<'_, Result<Answer<Option<Vec<Action>>>, Lost>>;

    /// Runs a step and hands over what it tells. Dropping the future cancels the call.
    fn execute<'a>(
        &'a self,
        order: Order,
        heard: &'a mut (dyn FnMut(Event) + Send),
    ) -> BoxFuture<'a, Result<Answer<Value>, Lost>>;
}
