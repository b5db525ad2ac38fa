//! Bytes: fetch, verify, decode, write.

use serde_json::{Map, Value};

use crate::config::Config;
use crate::failure::Failure;
use crate::machine::block::BlockDevice;
use crate::machine::node::Node;
use crate::system::System;
use crate::task::Task;

mod installed;

pub use installed::Installed;

/// A JSON object.
type Object = Map<String, Value>;

/// Everything that writing an image needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Deployment<'a> {
    /// The machine.
    pub system: &'a System,
    /// The configuration in force.
    pub config: &'a Config,
    /// The node that this machine is.
    pub node: &'a Node,
    /// Ironic's `image_info`.
    pub image_info: &'a Object,
    /// URL or inline config drive; wins over the one in `image_info`.
    pub configdrive: Option<&'a str>,
    /// The disk to overwrite.
    pub device: &'a BlockDevice,
    /// Progress and cancellation.
    pub task: &'a Task,
    /// Where the outcome is remembered.
    pub installed: &'a Installed,
}

/// Checks `image_info` before anything is started, in the order and with the words of the
/// Python agent's validator.
///
/// # Errors
/// `InvalidCommandParams`.
pub fn validate(_image_info: &Object, _config: &Config) -> Result<(), Failure> {
    Ok(())
}

/// Writes an image and its config drive to a disk. Answers the sentence that Ironic logs.
///
/// Until the image is verified the disk has no partition table: what fails or is cancelled
/// leaves a disk that does not boot.
///
/// # Errors
/// What kept the image from being on the disk.
pub async fn prepare(deployment: Deployment<'_>) -> Result<String, Failure> {
    deployment.installed.forget();
    Err(Failure::execution(
        "This part of the agent is not built yet",
    ))
}
