//! Why the steps of a phase were not listed, or one of them did not run.

use serde_json::Value;
use thiserror::Error;

use super::python::repr;
use crate::hardware::{ManagerError, StepError, StepPhase};

/// Why the steps of a phase were not listed, or one of them did not run.
#[derive(Debug, Error)]
pub enum StepsError {
    /// A hardware manager is set up wrongly.
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// Ironic planned with other hardware managers.
    #[error(
        "Current versions: {}, versions used by ironic: {}",
        repr(current),
        repr(planned)
    )]
    VersionMismatch {
        /// Those of this agent.
        current: Box<Value>,
        /// Those that Ironic sent.
        planned: Box<Value>,
    },
    /// The step has no name.
    #[error("Malformed {}_step, no \"step\" key: {}", phase.word(), repr(step))]
    NoName {
        /// The step machine.
        phase: StepPhase,
        /// The step as Ironic sent it.
        step: Value,
    },
    /// No hardware manager has such a step here.
    #[error("Could not find method: {name}")]
    Unknown {
        /// The step's name.
        name: String,
    },
    /// The step failed.
    #[error(transparent)]
    Step(Box<StepFailed>),
}

/// A step failed.
#[derive(Debug, Error)]
#[error("{} step {name}: {source}", phase.word())]
pub struct StepFailed {
    /// The step machine.
    pub phase: StepPhase,
    /// The step's name.
    pub name: String,
    /// Why.
    pub source: StepError,
}
