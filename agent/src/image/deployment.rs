//! What writing one image needs to know, and what it leaves behind.

use ironic_document::JsonObject;
use serde_json::Value;

use super::last_deployment::LastDeployment;
use super::request::ImageRequest;
use crate::config::AgentConfig;
use crate::machine::block::BlockDevice;
use crate::machine::ironic_node::Node;
use crate::system::System;
use crate::task::Task;

/// Everything that writing an image needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Deployment<'a> {
    /// The machine.
    pub system: &'a System,
    /// The configuration in force.
    pub config: &'a AgentConfig,
    /// The node that this machine is.
    pub node: &'a Node,
    /// Which image.
    pub request: &'a ImageRequest,
    /// URL or inline config drive; wins over the one in the request.
    pub configdrive: Option<&'a str>,
    /// The disk to overwrite.
    pub device: &'a BlockDevice,
    /// Progress and cancellation.
    pub task: &'a Task,
    /// Where the outcome is remembered.
    pub installed: &'a LastDeployment,
}

/// What an image write leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrittenImage {
    /// What `get_partition_uuids` answers.
    pub(super) uuids: JsonObject,
    pub(super) root_uuid: String,
    pub(super) efi_system_uuid: Option<String>,
    /// What the image had that is not on the disk.
    pub(super) warning: Option<String>,
}

impl WrittenImage {
    /// Of a whole disk only the identifier is reported.
    pub(super) fn whole(identifier: String) -> Self {
        let uuid = Value::String(identifier.clone());
        Self {
            uuids: JsonObject::from_iter([("root uuid".to_owned(), uuid)]),
            root_uuid: identifier,
            efi_system_uuid: None,
            warning: None,
        }
    }
}
