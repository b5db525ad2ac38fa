//! What a command would do, found out without changing anything.

use super::{Command, Workplace, bootloader, flow, standby, stepping};
use crate::failure::Failure;

/// The answer to an order that is only to be checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The actions in their order.
    pub actions: Vec<PlannedAction>,
}

/// One action of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlannedAction {
    /// One line for a person.
    pub description: String,
    /// The device that it changes, for example `/dev/sda`; empty when it changes none.
    pub device: String,
    /// Whether data on `device` would be lost.
    pub destructive: bool,
}

impl Plan {
    /// A plan of one action that changes no disk.
    #[must_use]
    pub fn of(description: impl Into<String>) -> Self {
        Self {
            actions: vec![PlannedAction {
                description: description.into(),
                ..PlannedAction::default()
            }],
        }
    }
}

/// What a command would do on this machine as it is now.
///
/// # Errors
/// What would keep the command from starting.
pub(super) async fn plan(place: &Workplace, command: &Command) -> Result<Plan, Failure> {
    if let Command::StartFlow { flow } = command {
        let mut whole = Plan::default();
        for command in flow::read(flow)? {
            whole.actions.extend(single(place, &command).await?.actions);
        }
        return Ok(whole);
    }
    single(place, command).await
}

async fn single(place: &Workplace, command: &Command) -> Result<Plan, Failure> {
    Ok(match command {
        Command::ExecuteBootcInstall(arguments) => {
            standby::plan_bootc_install(place, arguments).await?
        }
        Command::ExecuteStep(order) => stepping::plan_step(place, order).await?,
        Command::PrepareImage {
            image_info,
            configdrive,
        } => standby::plan_prepare_image(place, image_info, configdrive.as_deref()).await?,
        Command::InstallBootloader(arguments) => {
            bootloader::plan_install_bootloader(place, arguments).await?
        }
        Command::GetSteps { phase, .. } => {
            Plan::of(format!("List the {} steps of this machine.", phase.word()))
        }
        Command::RunImage => Plan::of("Flush all caches and reboot the machine."),
        Command::PowerOff => Plan::of("Flush all caches and power the machine off."),
        Command::Sync => Plan::of("Flush all caches to the disks."),
        Command::GetPartitionUuids => Plan::of("Answer what the last image write left behind."),
        Command::CollectSystemLogs => Plan::of("Gather the machine's logs in an archive."),
        Command::FinalizeRescue { .. } => {
            Plan::of("Leave the password for the rescue service and end the agent's service.")
        }
        Command::Lockdown => Plan::of("Take the machine off the network until it is restarted."),
        Command::GetHardwareInfo => Plan::of("Read the machine's inventory."),
        Command::SetNodeInfo { .. } => {
            Plan::of("Take over the node and the settings of the document.")
        }
        Command::StartFlow { .. } => Plan::default(),
    })
}
