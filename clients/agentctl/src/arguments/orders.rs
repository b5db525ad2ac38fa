//! The arguments of what nodes are asked to do, and of how it is carried out.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use ironic_agent_protocol::v1;

use super::disk::disk;
use super::{NodeTargets, seconds};

/// A command that can be planned or given.
#[derive(Debug, Subcommand)]
pub(crate) enum OrderArguments {
    /// Erases the disks of nodes
    Erase(EraseArguments),
    /// Writes an image to the root disk of nodes
    Write(Box<WriteArguments>),
    /// Makes or removes software RAID
    Raid(RaidArguments),
    /// Runs a step, or any command of the protocol
    Run(RunArguments),
    /// Powers nodes off, or boots them into the deployed system
    Power(PowerArguments),
}

impl OrderArguments {
    /// The nodes that it is for.
    pub(crate) fn targets(&self) -> &NodeTargets {
        match self {
            Self::Erase(order) => &order.targets,
            Self::Write(order) => &order.targets,
            Self::Raid(order) => &order.targets,
            Self::Run(order) => &order.targets,
            Self::Power(order) => &order.targets,
        }
    }
}

/// How a command is carried out.
#[derive(Debug, Args)]
#[command(next_help_heading = "Execution")]
pub(crate) struct ExecutionArguments {
    /// Do not ask before data is lost
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Give the command and end, without following it
    #[arg(long)]
    pub(crate) detach: bool,
    /// Cancel the command after this time
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) deadline: Option<Duration>,
    /// What Ctrl-C does to commands that run
    #[arg(long, value_name = "WHAT", default_value = "ask")]
    pub(crate) on_interrupt: OnInterrupt,
}

/// What Ctrl-C does to commands that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnInterrupt {
    /// Ask; without a terminal as detach
    Ask,
    /// Cancel them
    Cancel,
    /// Leave them running
    Detach,
}

/// Arguments of `erase`.
#[derive(Debug, Args)]
pub(crate) struct EraseArguments {
    #[command(flatten)]
    pub(crate) targets: NodeTargets,
    /// How thoroughly
    #[arg(long, default_value = "data")]
    pub(crate) method: EraseKind,
    /// Only this disk, a path or KEY=VALUE,... that describes it; may be repeated
    #[arg(long, value_name = "DISK", value_parser = disk)]
    pub(crate) disk: Vec<v1::DiskSelector>,
    /// How many disks of a node at the same time
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) concurrency: u32,
    /// Let NVMe and SCSI drives sanitize themselves where they can
    #[arg(long)]
    pub(crate) sanitize: bool,
    /// Leave read-only disks alone, which otherwise fail the command
    #[arg(long)]
    pub(crate) skip_read_only: bool,
}

/// How thoroughly disks are erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EraseKind {
    /// All data, by the drive itself where it can
    Data,
    /// Partition tables and signatures only: seconds, and the data can be found again
    Metadata,
    /// All data of NVMe drives, by formatting, and the metadata of other disks
    Express,
}

/// Arguments of `write`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("digest").args(["sha256", "sha384", "sha512"])))]
pub(crate) struct WriteArguments {
    #[command(flatten)]
    pub(crate) targets: NodeTargets,
    /// Where the image is; repeated: tried in this order
    #[arg(long, value_name = "URL", required = true)]
    pub(crate) image: Vec<String>,
    /// SHA-256 of the image, or the URL of a list as sha256sum writes it
    #[arg(long, value_name = "DIGEST|URL")]
    pub(crate) sha256: Option<String>,
    /// SHA-384 of the image, or the URL of a list
    #[arg(long, value_name = "DIGEST|URL")]
    pub(crate) sha384: Option<String>,
    /// SHA-512 of the image, or the URL of a list
    #[arg(long, value_name = "DIGEST|URL")]
    pub(crate) sha512: Option<String>,
    /// What the image is; without it qcow2 and disks with a partition table are found out
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<ImageFormatArgument>,
    /// The disk, a path or KEY=VALUE,... that describes it; the node's root device when not given
    #[arg(long, value_name = "DISK", value_parser = disk)]
    pub(crate) disk: Option<v1::DiskSelector>,
    /// A config drive: a URL, or a file with an ISO 9660 or VFAT image, as it is or packed by gzip
    #[arg(long, value_name = "URL|FILE")]
    pub(crate) config_drive: Option<String>,
    /// How the deployed system boots; as the node or the ramdisk does when not given
    #[arg(long, value_name = "MODE")]
    pub(crate) boot_mode: Option<BootModeArgument>,
    /// The user at the image server
    #[arg(long, value_name = "NAME", requires = "image_password_file")]
    pub(crate) image_user: Option<String>,
    /// Its first line is the password of --image-user
    #[arg(long, value_name = "FILE", requires = "image_user")]
    pub(crate) image_password_file: Option<PathBuf>,
    /// Its first line is sent to the image server as Authorization header
    #[arg(long, value_name = "FILE", conflicts_with = "image_user")]
    pub(crate) image_authorization_file: Option<PathBuf>,
}

/// What an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImageFormatArgument {
    /// The bytes of a disk, also compressed
    Raw,
    /// QEMU's copy-on-write format
    Qcow2,
}

/// How firmware starts a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BootModeArgument {
    /// UEFI
    Uefi,
    /// BIOS
    Bios,
}

/// Arguments of `raid`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("raid").args(["layout", "delete"]).required(true)))]
pub(crate) struct RaidArguments {
    #[command(flatten)]
    pub(crate) targets: NodeTargets,
    /// The arrays to make: a JSON or YAML file with the `volumes` of a RaidCommand
    #[arg(long, value_name = "FILE")]
    pub(crate) layout: Option<PathBuf>,
    /// Remove all arrays
    #[arg(long)]
    pub(crate) delete: bool,
    /// Keep the arrays that there are, beside the new ones
    #[arg(long, requires = "layout")]
    pub(crate) keep_existing: bool,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").args(["step", "command", "file"]).required(true)))]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) targets: NodeTargets,
    /// A step by interface and name, for example deploy.erase_devices_metadata
    #[arg(long, value_name = "INTERFACE.STEP")]
    pub(crate) step: Option<String>,
    /// The step machine of the step
    #[arg(long, requires = "step", default_value = "clean")]
    pub(crate) phase: StepPhaseArgument,
    /// An argument of the step; a value that is not JSON is a text. May be repeated
    #[arg(long = "argument", value_name = "KEY=VALUE", requires = "step")]
    pub(crate) arguments: Vec<String>,
    /// A file, JSON or YAML, with the node as the step sees it; its UUID is added
    #[arg(long, value_name = "FILE", requires = "step")]
    pub(crate) node_document: Option<PathBuf>,
    /// A message ironic.agent.v1.Command as JSON, for example '{"sync": {}}'
    #[arg(long, value_name = "JSON")]
    pub(crate) command: Option<String>,
    /// A file with such a message, JSON or YAML
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// A step machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StepPhaseArgument {
    /// Before a node becomes available
    Clean,
    /// Deployment of an instance
    Deploy,
    /// Servicing of a node that holds an instance
    Service,
}

/// Arguments of `power`.
#[derive(Debug, Args)]
pub(crate) struct PowerArguments {
    /// What to do
    pub(crate) change: PowerChange,
    #[command(flatten)]
    pub(crate) targets: NodeTargets,
}

/// What to do with the power of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PowerChange {
    /// Power the machine off
    Off,
    /// Boot into the deployed system
    Reboot,
    /// Start the kernel of the deployed system without the firmware's second pass
    Kexec,
}
