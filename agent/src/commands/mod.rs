//! The verbs. Everything is an enum before it gets here; nothing dispatches on strings.
//!
//! An [`Order`] comes in from `rpc`; the [`Engine`] admits it by the rules of [`queue`], runs
//! the verb as a task ([`runner`]), keeps the [`Record`] ([`store`]) and answers whoever waits.
//! One file per extension of Ironic holds the verbs themselves; each is an
//! `async fn(&Workplace, &Task, arguments) -> Result<Value, Failure>`.

use ironic_text::Secret;
use serde_json::{Map, Value};

use crate::steps::Phase;

pub mod bootloader;
pub mod context;
pub mod engine;
pub mod failure;
pub mod flow;
pub mod lockdown;
pub mod log;
pub mod order;
pub mod plan;
pub mod poll;
pub mod queue;
pub mod record;
pub mod rescue;
pub mod runner;
pub mod standby;
pub mod stepping;
pub mod store;
pub mod verb;
pub mod verbs;

#[cfg(test)]
pub(crate) mod testing;

pub use context::{NodeMemory, NodeSource, Workplace};
pub use engine::{Ending, Engine, Status, Watching, Work};
pub use order::Order;
pub use plan::{Plan, PlannedAction};
pub use queue::Refusal;
pub use record::{CommandId, Milestone, MilestoneKind, Outcome, Record, State};
pub use runner::Perform;
pub use verb::Verb;
pub use verbs::Verbs;

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
        /// Ironic's `image_info`; empty when it was not sent.
        image_info: Object,
        /// URL or inline config drive.
        configdrive: Option<String>,
    },
    /// Installs a bootable container image on the root device.
    ExecuteBootcInstall(BootcInstall),
    /// Reboots into the deployed system.
    RunImage,
    /// Powers the machine off.
    PowerOff,
    /// Flushes caches to the disks.
    Sync,
    /// Answers what the last image write left behind.
    GetPartitionUuids,
    /// Makes the firmware boot what was written.
    InstallBootloader(InstallBootloader),
    /// Gathers logs.
    CollectSystemLogs,
    /// Answers the inventory.
    GetHardwareInfo,
    /// Hands the machine over to a rescuer.
    FinalizeRescue {
        /// The rescuer's password, or its crypt(3) hash.
        password: Secret,
        /// Whether it is a hash.
        hashed: bool,
    },
    /// Takes the machine off the network.
    Lockdown,
    /// Gives a standalone agent what a lookup would have answered.
    SetNodeInfo {
        /// `{"node": ..., "config": ...}`.
        node_info: Object,
    },
    /// Runs several commands one after another.
    StartFlow {
        /// One object per command, `{"<extension>.<command>": parameters}`.
        flow: Vec<Value>,
    },
}

/// Arguments of [`Command::ExecuteBootcInstall`].
#[derive(Debug, Clone, PartialEq)]
pub struct BootcInstall {
    /// The container image: `oci://registry/name:tag`.
    pub image_source: String,
    /// Ironic's `instance_info` of the node.
    pub instance_info: Object,
    /// Base64 of the registry's credential.
    pub pull_secret: Option<Secret>,
    /// URL or inline config drive.
    pub configdrive: Option<String>,
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

/// Arguments of [`Command::InstallBootloader`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallBootloader {
    /// UUID of the root file system, or the disk identifier; may be empty.
    pub root_uuid: String,
    /// UUID of the EFI system partition.
    pub efi_system_part_uuid: Option<String>,
    /// UUID of the PReP partition.
    pub prep_boot_part_uuid: Option<String>,
    /// `uefi` or `bios`.
    pub target_boot_mode: String,
    /// Overrides the configuration.
    pub ignore_bootloader_failure: Option<bool>,
}
