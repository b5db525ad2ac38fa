//! Clean, deploy and service steps: one machinery, three phases.

use serde_json::Value;

use crate::failure::Failure;
use crate::hardware::{Action, Object, Registry, StepContext};

pub use crate::hardware::Phase;

/// An order to run one step.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// Which step machine.
    pub phase: Phase,
    /// The step as Ironic sent it.
    pub step: &'a Object,
    /// The versions that Ironic planned with; `None` and null skip the check.
    pub version: Option<&'a Value>,
    /// Further named arguments; the step's own `args` win.
    pub arguments: &'a Object,
}

/// The steps of a phase with the managers' versions:
/// `{"clean_steps": {class: [step, ...]}, "hardware_manager_version": {name: version}}`.
///
/// # Errors
/// A manager failed.
pub async fn list(
    _phase: Phase,
    _registry: &Registry,
    _ctx: StepContext<'_>,
) -> Result<Value, Failure> {
    Err(Failure::execution(
        "This part of the agent is not built yet",
    ))
}

/// Runs one step and answers `{"clean_result": ..., "clean_step": <as received>}`.
///
/// # Errors
/// `VersionMismatch`; `CommandExecution` when the step has no name;
/// `HardwareManagerMethodNotFound`; the step's own class, or the phase's.
pub async fn execute(
    _order: Order<'_>,
    _registry: &Registry,
    _ctx: StepContext<'_>,
) -> Result<Value, Failure> {
    Err(Failure::execution(
        "This part of the agent is not built yet",
    ))
}

/// What [`execute`] would do, found out without changing anything.
///
/// # Errors
/// What would keep the step from starting.
pub async fn plan(
    _order: Order<'_>,
    _registry: &Registry,
    _ctx: StepContext<'_>,
) -> Result<Vec<Action>, Failure> {
    Err(Failure::execution(
        "This part of the agent is not built yet",
    ))
}
