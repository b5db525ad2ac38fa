//! Which disk becomes the root disk.

use super::block::BlockDevice;
use super::node::Node;
use crate::failure::{Failure, FailureKind};

/// The disk to deploy to, by the node's root device hints or, without any, the smallest that
/// has 4 GiB.
///
/// # Errors
/// `DeviceNotFound`, with the reason for each disk.
pub fn root_device(_devices: &[BlockDevice], _node: &Node) -> Result<BlockDevice, Failure> {
    Err(Failure::new(
        FailureKind::DeviceNotFound,
        "This part of the agent is not built yet",
    ))
}
