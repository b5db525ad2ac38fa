//! The disk that an image goes to.

use std::sync::Arc;

use super::context::CommandContext;
use super::failure::Failure;
use crate::machine::block::hints;
use crate::machine::block::{self, BlockDevice};
use crate::machine::ironic_node::Node;
use crate::task::Task;

/// The node that an image is for: what overwrites a disk must know its hints.
pub(super) async fn refreshed_node(
    context: &CommandContext,
    task: &Task,
) -> Result<Arc<Node>, Failure> {
    tokio::select! {
        node = context.node.with_hints() => Ok(node),
        () = task.cancelled() => Err(task.cancellation().into()),
    }
}

/// The disk that the node's hints choose.
pub(super) async fn root_device(context: &CommandContext) -> Result<BlockDevice, Failure> {
    Ok(hints::root_device(
        &disks(context).await?,
        &context.node.current(),
    )?)
}

/// The machine's disks, as they are now.
pub(super) async fn disks(context: &CommandContext) -> Result<Vec<BlockDevice>, Failure> {
    let system = context.system.clone();
    tokio::task::spawn_blocking(move || block::probe(&system))
        .await
        .map_err(|error| Failure::execution(format!("looking for disks failed: {error}")))
}
