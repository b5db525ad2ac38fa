//! The verbs. Everything is an enum before it gets here; nothing dispatches on strings.

use serde_json::{Map, Value};

use crate::steps::Phase;

/// A JSON object.
pub type Object = Map<String, Value>;

/// One order to the agent, already checked for shape.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Lists the steps of a phase.
    GetSteps {
        /// Which step machine.
        phase: Phase,
        /// The node as Ironic stores it.
        node: Object,
        /// Its ports.
        ports: Vec<Object>,
    },
    /// Runs one step.
    ExecuteStep(Box<ExecuteStep>),
    /// Writes an image to the root device.
    PrepareImage {
        /// Ironic's `image_info`.
        image_info: Object,
        /// URL or inline config drive.
        configdrive: Option<String>,
    },
    /// Reboots into the deployed system.
    RunImage,
    /// Powers the machine off.
    PowerOff,
    /// Flushes caches to the disks.
    Sync,
    /// Answers what the last image write left behind.
    GetPartitionUuids,
    /// Makes the firmware boot what was written.
    InstallBootloader {
        /// UUID of the root file system, or the disk identifier.
        root_uuid: String,
        /// UUID of the EFI system partition.
        efi_system_part_uuid: Option<String>,
        /// UUID of the PReP partition.
        prep_boot_part_uuid: Option<String>,
        /// `uefi` or `bios`.
        target_boot_mode: String,
        /// Overrides the configuration.
        ignore_bootloader_failure: Option<bool>,
    },
    /// Gathers logs.
    CollectSystemLogs,
    /// Answers the inventory.
    GetHardwareInfo,
    /// Gives a standalone agent what a lookup would have answered.
    SetNodeInfo {
        /// `{"node": ..., "config": ...}`.
        node_info: Object,
    },
}

/// Arguments of [`Command::ExecuteStep`].
#[derive(Debug, Clone, PartialEq)]
pub struct ExecuteStep {
    /// Which step machine.
    pub phase: Phase,
    /// The step as Ironic sent it.
    pub step: Object,
    /// The node as Ironic stores it.
    pub node: Object,
    /// Its ports.
    pub ports: Vec<Object>,
    /// The versions that Ironic planned with; `None` skips the check.
    pub version: Option<Value>,
    /// Further named arguments; the step's own `args` win.
    pub arguments: Object,
}
