//! Writes an image to a disk, as a typed command says it. What is done is what
//! `standby.prepare_image` does.

use std::sync::OnceLock;

use ironic_document::JsonObject;
use serde_json::{Value, json};

use super::Verb;
use crate::commands::arguments::VerbArguments;
use crate::commands::context::CommandContext;
use crate::commands::disk_selector::{DiskSelector, node_with};
use crate::commands::document_fields::{DocumentFields, FieldProblem, InvalidOrderField};
use crate::commands::failure::Failure;
use crate::commands::image_order::{self, RequestedFirmware};
use crate::commands::plan::CommandPlan;
use crate::commands::root_device::{disks, refreshed_node, root_device};
use crate::commands::step_context::wait_for_disks;
use crate::image::{self, Deployment, ImageRequest};
use crate::machine::block::BlockDevice;
use crate::machine::ironic_node::Node;
use crate::task::Task;

/// The verb with its arguments.
#[derive(Debug, Clone)]
pub struct WriteImage {
    fields: DocumentFields,
    order: OnceLock<WriteOrder>,
}

/// What the arguments ask for.
#[derive(Debug, Clone)]
struct WriteOrder {
    request: ImageRequest,
    configdrive: Option<String>,
    /// `None`: the node's root device.
    target: Option<DiskSelector>,
    firmware: Option<RequestedFirmware>,
    /// The field that says so.
    firmware_field: String,
}

impl Verb for WriteImage {
    fn read(arguments: VerbArguments) -> Option<Self> {
        let path = arguments.verb().verb;
        Some(Self {
            fields: DocumentFields::new(path, arguments.named()),
            order: OnceLock::new(),
        })
    }

    fn check(&self, context: &CommandContext) -> Result<(), Failure> {
        Ok(self.order()?.fit(&context.node.current())?)
    }

    async fn plan(&self, context: &CommandContext) -> Result<CommandPlan, Failure> {
        let order = self.order()?;
        let node = context.node.with_hints().await;
        let (device, node) = order.resolve(context, &node).await?;
        let config = context.config.current();
        let task = Task::detached();
        let deployment = Deployment {
            system: &context.system,
            config: &config,
            node: &node,
            request: &order.request,
            configdrive: order.configdrive.as_deref(),
            device: &device,
            task: &task,
            installed: &context.installed,
        };
        let lines = image::plan(deployment).await?;
        Ok(CommandPlan::overwriting(&device.name, lines))
    }

    /// Answers a `WriteImageResult`.
    ///
    /// # Errors
    /// Whatever keeps the image from being on the disk.
    async fn run(self, context: &CommandContext, task: &Task) -> Result<Value, Failure> {
        let order = self.order()?;
        let config = context.config.current();
        let node = refreshed_node(context, task).await?;
        wait_for_disks(context, &config, &node).await;
        let (device, node) = order.resolve(context, &node).await?;
        let deployment = Deployment {
            system: &context.system,
            config: &config,
            node: &node,
            request: &order.request,
            configdrive: order.configdrive.as_deref(),
            device: &device,
            task,
            installed: &context.installed,
        };
        let summary = image::prepare(deployment).await?;
        let uuids = context.installed.partition_uuids();
        let uuid = |name: &str| uuids.get(name).cloned().unwrap_or_else(|| "".into());
        Ok(json!({
            "device": device.name,
            "root_uuid": uuid("root uuid"),
            "efi_system_partition_uuid": uuid("efi system partition uuid"),
            "summary": summary,
        }))
    }
}

impl WriteImage {
    /// What the arguments ask for, read the first time that somebody asks.
    fn order(&self) -> Result<&WriteOrder, Failure> {
        if let Some(order) = self.order.get() {
            return Ok(order);
        }
        let order = WriteOrder::read(&self.fields)?;
        Ok(self.order.get_or_init(|| order))
    }
}

impl WriteOrder {
    fn read(fields: &DocumentFields) -> Result<Self, InvalidOrderField> {
        let image = fields.required("image", "say which image")?;
        let firmware = image_order::firmware(fields)?;
        let partitions = fields.document("partitions");
        let partition = partitions
            .as_ref()
            .map(image_order::partition)
            .transpose()?;
        let drive = fields.document("config_drive");
        let target = fields.document("target");
        Ok(Self {
            request: ImageRequest {
                partition,
                is_uefi: firmware == Some(RequestedFirmware::Uefi),
                ..image_order::image(&image)?
            },
            configdrive: drive.as_ref().map(image_order::config_drive).transpose()?,
            target: target.as_ref().map(DiskSelector::read).transpose()?,
            firmware,
            firmware_field: fields.path("boot_mode"),
        })
    }

    /// Whether the node can be started as the order says.
    fn fit(&self, node: &Node) -> Result<(), InvalidOrderField> {
        let (ordered, node) = match self.firmware {
            Some(RequestedFirmware::Bios) if node.wants_secure_boot() => (
                "FIRMWARE_MODE_BIOS",
                "the node's capability secure_boot is true, which needs UEFI: order \
                 FIRMWARE_MODE_UEFI, or take secure_boot off instance_info/capabilities and \
                 properties/capabilities",
            ),
            Some(RequestedFirmware::Uefi)
                if self.request.partition.is_some() && node.wants_msdos_label() =>
            {
                (
                    "FIRMWARE_MODE_UEFI",
                    "the node's capability disk_label is msdos, while UEFI gets a GPT: order \
                     FIRMWARE_MODE_BIOS, or take disk_label off instance_info/capabilities and \
                     properties/capabilities",
                )
            }
            _ => return Ok(()),
        };
        Err(InvalidOrderField {
            path: self.firmware_field.clone(),
            problem: FieldProblem::AgainstNode { ordered, node },
        })
    }

    /// The disk, and the node as the order wants it.
    async fn resolve(
        &self,
        context: &CommandContext,
        node: &Node,
    ) -> Result<(BlockDevice, Node), Failure> {
        // The node may be another than when the order was checked.
        self.fit(node)?;
        let device = match &self.target {
            Some(target) => target.choose(&disks(context).await?, node)?,
            None => root_device(context).await?,
        };
        Ok((device, self.ordered_node(node)))
    }

    /// The node as the order wants it.
    fn ordered_node(&self, node: &Node) -> Node {
        let wish = self
            .firmware
            .map(|firmware| ("deploy_boot_mode".to_owned(), firmware.word().into()));
        let entries = wish.into_iter().collect::<JsonObject>();
        node_with(node, "instance_info", entries)
    }
}

#[cfg(test)]
mod tests;
