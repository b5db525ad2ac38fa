//! The manager of machines in general.

use std::borrow::Cow;

use super::{HardwareManager, ManagerIdentity, Step, Support};
use crate::system::System;

mod apply_configuration;
pub mod burnin;
pub mod clean_uefi_nvram;
mod create_configuration;
mod delete_configuration;
mod erase_devices;
mod erase_devices_express;
mod erase_devices_metadata;
mod erase_pstore;
pub mod error;
mod execute_bootc_install;
#[cfg(test)]
mod guarded_disks;
pub mod inject_files;
#[cfg(test)]
mod multipath;
mod selection;
#[cfg(test)]
mod testing;
mod vendor_erase;
mod write_image;

/// What any machine can do.
#[derive(Debug, Clone, Copy, Default)]
pub struct GenericManager;

static IDENTITY: ManagerIdentity = ManagerIdentity {
    class: Cow::Borrowed("GenericHardwareManager"),
    name: Cow::Borrowed("generic_hardware_manager"),
    version: Cow::Borrowed("1.2"),
};

/// The steps, in the order in which they are listed.
const STEPS: &[&dyn Step] = &[
    &erase_devices::EraseDevices,
    &erase_devices_metadata::EraseDevicesMetadata,
    &erase_devices_express::EraseDevicesExpress,
    &erase_pstore::ErasePstore,
    &clean_uefi_nvram::CleanUefiNvram,
    &delete_configuration::DeleteConfiguration,
    &apply_configuration::ApplyConfiguration,
    &create_configuration::CreateConfiguration,
    &burnin::CPU,
    &burnin::GPU,
    &burnin::DISK,
    &burnin::MEMORY,
    &burnin::NETWORK,
    &write_image::WriteImageStep,
    &inject_files::InjectFiles,
    &execute_bootc_install::ExecuteBootcInstallStep,
];

impl HardwareManager for GenericManager {
    fn identity(&self) -> &ManagerIdentity {
        &IDENTITY
    }

    fn support(&self, _system: &System) -> Support {
        Support::Generic
    }

    fn steps(&self) -> Vec<&dyn Step> {
        STEPS.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AgentConfig;
    use crate::hardware::StepPhase;

    type Known = (&'static str, &'static str, [Option<(u32, bool)>; 3]);

    /// Steps of the Python agent's generic manager in its order, with their priorities for
    /// cleaning, deployment and service, and whether they may be aborted there.
    const KNOWN: [Known; 16] = [
        ("erase_devices", "deploy", [Some((10, true)), None, None]),
        (
            "erase_devices_metadata",
            "deploy",
            [Some((99, true)), Some((0, false)), None],
        ),
        (
            "erase_devices_express",
            "deploy",
            [Some((0, true)), None, None],
        ),
        ("erase_pstore", "deploy", [Some((0, true)), None, None]),
        (
            "clean_uefi_nvram",
            "deploy",
            [Some((0, true)), Some((0, false)), None],
        ),
        (
            "delete_configuration",
            "raid",
            [Some((0, true)), None, Some((0, true))],
        ),
        (
            "apply_configuration",
            "raid",
            [None, Some((0, false)), Some((0, false))],
        ),
        (
            "create_configuration",
            "raid",
            [Some((0, true)), None, Some((0, true))],
        ),
        (
            "burnin_cpu",
            "deploy",
            [Some((0, true)), None, Some((0, true))],
        ),
        (
            "burnin_gpu",
            "deploy",
            [Some((0, true)), None, Some((0, true))],
        ),
        ("burnin_disk", "deploy", [Some((0, true)), None, None]),
        (
            "burnin_memory",
            "deploy",
            [Some((0, true)), None, Some((0, true))],
        ),
        (
            "burnin_network",
            "deploy",
            [Some((0, true)), None, Some((0, true))],
        ),
        (
            "write_image",
            "deploy",
            [None, Some((0, false)), Some((0, false))],
        ),
        (
            "inject_files",
            "deploy",
            [None, Some((0, false)), Some((0, false))],
        ),
        (
            "execute_bootc_install",
            "deploy",
            [None, Some((0, false)), Some((0, false))],
        ),
    ];

    #[test]
    fn steps_are_offered_as_the_python_agent_offers_them() {
        let config = AgentConfig::default();
        let mut last = 0;
        for step in STEPS {
            let description = step.description();
            let name = &*description.name;
            let at = KNOWN
                .iter()
                .position(|(known, ..)| *known == name)
                .unwrap_or_else(|| panic!("{name} is not a step of the Python agent"));
            assert!(at >= last, "{name} is listed too late");
            last = at;
            let (_, interface, offers) = KNOWN[at];
            assert_eq!(description.interface, interface, "{name}");
            assert!(!description.reboot_requested, "{name}");
            for (phase, offer) in [StepPhase::Clean, StepPhase::Deploy, StepPhase::Service]
                .into_iter()
                .zip(offers)
            {
                let offered = step.offer(phase, &config);
                let found =
                    offered.map(|offer| (offer.priority, offer.abortable.unwrap_or_default()));
                assert_eq!(found, offer, "{name} {phase:?}");
            }
        }
    }
}
