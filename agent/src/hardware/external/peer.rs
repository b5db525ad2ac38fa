//! What is said between the agent and a manager that is a program of its own. `rpc` speaks
//! it over gRPC; here it is data.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use ironic_document::JsonObject;
use serde_json::Value;

use super::error::{PeerError, ReportedFailure};
use crate::hardware::{Description, ManagerIdentity, Offer, PlannedAction, StepPhase, Support};
use crate::task::Progress;

/// Makes the peer of a program that serves at a socket. Nothing is connected yet.
pub type ConnectPeer = Arc<dyn Fn(&Path) -> Arc<dyn ManagerPeer> + Send + Sync>;

/// What a manager says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagerDescription {
    /// How it is known.
    pub identity: ManagerIdentity,
    /// How well it knows this machine.
    pub support: Support,
    /// All steps that it may ever offer.
    pub steps: Vec<ExternalStepDescription>,
}

/// One of its steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalStepDescription {
    /// How it is known and what it takes.
    pub description: Description,
    /// The phases that it is offered in.
    pub offers: Vec<(StepPhase, Offer)>,
    /// When a run that has not ended is ended.
    pub deadline: Duration,
}

/// A step that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalStepRequest {
    /// The step's name.
    pub name: String,
    /// The node as Ironic stores it.
    pub node: JsonObject,
    /// Its ports.
    pub ports: Vec<JsonObject>,
    /// Checked arguments.
    pub arguments: JsonObject,
}

/// What a step tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepEvent {
    /// Where it stands.
    Progress(Progress),
    /// A phase of it ended.
    PhaseEnded(String),
    /// Something to know that is not a failure.
    Warning(String),
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepAnswer<T> {
    /// It is done, with this result.
    Done(T),
    /// It failed.
    Failed(ReportedFailure),
    /// It does not fit this hardware, and why.
    Incompatible(String),
}

/// The other end of the socket. Connects when it is used, again after a restart of the
/// program. None of the calls has a limit of its own.
pub trait ManagerPeer: fmt::Debug + Send + Sync {
    /// What the manager is and offers.
    fn describe(&self) -> BoxFuture<'_, Result<ManagerDescription, PeerError>>;

    /// What a step would do; `Done(None)` when it does not tell.
    fn plan(
        &self,
        order: ExternalStepRequest,
    ) -> BoxFuture<'_, Result<StepAnswer<Option<Vec<PlannedAction>>>, PeerError>>;

    /// Runs a step and hands over what it tells. Dropping the future cancels the call.
    fn execute<'a>(
        &'a self,
        order: ExternalStepRequest,
        heard: &'a mut (dyn FnMut(StepEvent) + Send),
    ) -> BoxFuture<'a, Result<StepAnswer<Value>, PeerError>>;
}
