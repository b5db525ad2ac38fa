//! Extensions `clean`, `deploy` and `service`: the node is remembered, the rest is the step
//! machinery's.

use serde_json::Value;

use super::{ExecuteStep, Object, Plan, Workplace};
use crate::failure::Failure;
use crate::machine::node::Node;
use crate::steps::Phase;
use crate::task::Task;

/// Lists the steps of a phase.
///
/// # Errors
/// The node is none, or a hardware manager failed.
pub async fn get_steps(
    place: &Workplace,
    _task: &Task,
    _phase: Phase,
    node: Object,
    _ports: Vec<Object>,
) -> Result<Value, Failure> {
    remember(place, node)?;
    Err(Failure::execution(
        "This part of the agent is not built yet",
    ))
}

/// Runs one step.
///
/// # Errors
/// The node is none, the versions differ, there is no such step, or the step failed.
pub async fn execute_step(
    place: &Workplace,
    _task: &Task,
    order: ExecuteStep,
) -> Result<Value, Failure> {
    remember(place, order.node)?;
    Err(Failure::execution(
        "This part of the agent is not built yet",
    ))
}

/// What a step would do.
///
/// # Errors
/// What would keep it from starting.
pub async fn plan_step(_place: &Workplace, _order: &ExecuteStep) -> Result<Plan, Failure> {
    Ok(Plan::default())
}

/// Commands after this one act for this node.
fn remember(place: &Workplace, node: Object) -> Result<(), Failure> {
    let node = Node(node);
    if node.uuid().is_empty() {
        return Err(Failure::execution(
            "The node that came with the command has no \"uuid\"",
        ));
    }
    place.node.remember(node);
    Ok(())
}
