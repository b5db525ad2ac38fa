//! Extensions `clean`, `deploy` and `service`: the node is remembered, the rest is the step
//! machinery's.

use serde_json::Value;

use super::{ExecuteStep, Object, Plan, PlannedAction, Workplace};
use crate::config::Config;
use crate::failure::Failure;
use crate::hardware::{self, StepContext};
use crate::machine::ironic_node::Node;
use crate::steps::{self, Phase};
use crate::task::Task;

/// Lists the steps of a phase.
///
/// # Errors
/// The node is none, or a hardware manager failed.
pub async fn get_steps(
    place: &Workplace,
    task: &Task,
    phase: Phase,
    node: Object,
    ports: &[Object],
) -> Result<Value, Failure> {
    let config = place.config.current();
    let node = remember(place, &config, node).await?;
    let context = context(place, &config, &node, ports, task);
    let registry = place.registry.under(&place.system, &config);
    steps::list(phase, &registry, context).await
}

/// Runs one step.
///
/// # Errors
/// The node is none, the versions differ, there is no such step, or the step failed.
pub async fn execute_step(
    place: &Workplace,
    task: &Task,
    order: ExecuteStep,
) -> Result<Value, Failure> {
    let config = place.config.current();
    let node = remember(place, &config, order.node).await?;
    let context = context(place, &config, &node, &order.ports, task);
    let order = steps::Order {
        phase: order.phase,
        step: &order.step,
        version: order.version.as_ref(),
        arguments: &order.arguments,
    };
    let registry = place.registry.under(&place.system, &config);
    steps::execute(order, &registry, context).await
}

/// What a step would do. The node is used and not remembered.
///
/// # Errors
/// What would keep it from starting.
pub async fn plan_step(place: &Workplace, order: &ExecuteStep) -> Result<Plan, Failure> {
    let config = place.config.current();
    let node = known(order.node.clone())?;
    let task = Task::detached();
    let context = context(place, &config, &node, &order.ports, &task);
    let order = steps::Order {
        phase: order.phase,
        step: &order.step,
        version: order.version.as_ref(),
        arguments: &order.arguments,
    };
    let registry = place.registry.under(&place.system, &config);
    let actions = steps::plan(order, &registry, context).await?;
    Ok(Plan {
        actions: actions.into_iter().map(PlannedAction::from).collect(),
    })
}

impl From<hardware::Action> for PlannedAction {
    fn from(action: hardware::Action) -> Self {
        Self {
            description: action.description,
            device: action.device,
            destructive: action.destructive,
        }
    }
}

/// Commands after this one act for this node. The disks of a machine that just started may
/// still be coming up.
async fn remember(place: &Workplace, config: &Config, node: Object) -> Result<Node, Failure> {
    let node = known(node)?;
    place.node.remember(node.clone());
    if place.node.is_first_to_need_disks(node.uuid()) {
        hardware::wait_for_disks(&place.system, config, &node).await;
    }
    Ok(node)
}

fn known(node: Object) -> Result<Node, Failure> {
    let node = Node(node);
    if node.uuid().is_empty() {
        return Err(Failure::execution(
            "The node that came with the command has no \"uuid\"",
        ));
    }
    Ok(node)
}

fn context<'a>(
    place: &'a Workplace,
    config: &'a Config,
    node: &'a Node,
    ports: &'a [Object],
    task: &'a Task,
) -> StepContext<'a> {
    StepContext {
        system: &place.system,
        config,
        node,
        ports,
        task,
        installed: &place.installed,
        managers: place.registry.managers(),
    }
}
