//! Removing every trace of what a disk was: partition tables, RAID, LVM, file systems.

use crate::failure::Failure;
use crate::machine::block::BlockDevice;
use crate::system::System;
use crate::task::Task;

/// Destroys the metadata of one disk or partition: all signatures, and both ends. In a
/// simulation only the ends.
///
/// # Errors
/// The device is in use or failed.
pub async fn destroy(
    _system: &System,
    _device: &BlockDevice,
    _node_uuid: &str,
    _task: &Task,
) -> Result<(), Failure> {
    Err(Failure::execution(
        "This part of the agent is not built yet",
    ))
}
