//! What the commands of the step machines share: the node that comes with them, and what a
//! step may touch.

use ironic_document::JsonObject;

use super::context::CommandContext;
use super::descriptor::VerbDescriptor;
use super::failure::Failure;
use crate::config::AgentConfig;
use crate::hardware::{self, StepContext};
use crate::machine::ironic_node::Node;
use crate::steps::StepPhase;
use crate::task::Task;

/// The step machine of a command: its extension.
pub(super) fn step_phase(verb: &VerbDescriptor) -> Option<StepPhase> {
    [StepPhase::Clean, StepPhase::Deploy, StepPhase::Service]
        .into_iter()
        .find(|phase| phase.word() == verb.extension())
}

/// Commands after this one act for this node. The disks of a machine that just started may
/// still be coming up.
pub(super) async fn remember(
    context: &CommandContext,
    config: &AgentConfig,
    node: JsonObject,
) -> Result<Node, Failure> {
    let node = identified(node)?;
    context.node.remember(node.clone());
    wait_for_disks(context, config, &node).await;
    Ok(node)
}

/// Waits for the disks of a machine that just started, before the first command that needs them.
pub(super) async fn wait_for_disks(context: &CommandContext, config: &AgentConfig, node: &Node) {
    if context.node.is_first_to_need_disks(node.uuid()) {
        hardware::wait_for_disks(&context.system, config, node).await;
    }
}

/// The node of a command; one without a UUID is refused.
pub(super) fn identified(node: JsonObject) -> Result<Node, Failure> {
    let node = Node(node);
    if node.uuid().is_empty() {
        return Err(Failure::execution(
            "The node that came with the command has no \"uuid\"",
        ));
    }
    Ok(node)
}

/// What a step may touch.
pub(super) fn step_context<'a>(
    context: &'a CommandContext,
    config: &'a AgentConfig,
    node: &'a Node,
    ports: &'a [JsonObject],
    task: &'a Task,
) -> StepContext<'a> {
    StepContext {
        system: &context.system,
        config,
        node,
        ports,
        task,
        installed: &context.installed,
        erasers: &[],
        ordered: None,
    }
}
