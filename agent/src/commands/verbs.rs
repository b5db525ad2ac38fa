//! The agent's own verbs: from an order to the function that carries it out.

use serde_json::Value;

use super::runner::{Perform, Work};
use super::{Command, Workplace, bootloader, flow, log, poll, rescue, standby, stepping};
use crate::task::Task;

/// Carries out the commands that this agent has.
#[derive(Debug, Clone, Copy, Default)]
pub struct Verbs;

impl Perform for Verbs {
    fn perform<'a>(&'a self, place: &'a Workplace, task: &'a Task, command: Command) -> Work<'a> {
        Box::pin(async move {
            match command {
                Command::GetSteps { phase, node, ports } => {
                    stepping::get_steps(place, task, phase, node, &ports).await
                }
                Command::ExecuteStep(order) => stepping::execute_step(place, task, *order).await,
                Command::PrepareImage {
                    image_info,
                    configdrive,
                } => standby::prepare_image(place, task, &image_info, configdrive.as_deref()).await,
                Command::ExecuteBootcInstall(arguments) => {
                    standby::execute_bootc_install(place, task, &arguments).await
                }
                Command::RunImage => standby::run_image(place, task).await,
                Command::PowerOff => standby::power_off(place, task).await,
                Command::Sync => standby::sync(place, task).await,
                Command::GetPartitionUuids => Ok(standby::get_partition_uuids(place)),
                Command::InstallBootloader(arguments) => {
                    bootloader::install_bootloader(place, task, &arguments).await
                }
                Command::CollectSystemLogs => log::collect_system_logs(place).await,
                Command::FinalizeRescue { password, hashed } => {
                    rescue::finalize_rescue(place, task, &password, hashed).await
                }
                // Its end is its effect: the engine announces it.
                Command::Lockdown => Ok(Value::Null),
                Command::GetHardwareInfo => poll::get_hardware_info(place).await,
                Command::SetNodeInfo { node_info } => poll::set_node_info(place, &node_info),
                Command::StartFlow { flow } => flow::start_flow(place, task, &flow).await,
            }
        })
    }
}
