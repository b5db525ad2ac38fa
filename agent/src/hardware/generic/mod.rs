//! The manager of machines in general.

use std::borrow::Cow;

use super::{HardwareManager, Identity, Step, Support};
use crate::system::System;

mod clean_uefi_nvram;
mod erase_devices;
mod erase_devices_express;
mod erase_devices_metadata;
mod erase_pstore;
mod execute_bootc_install;
mod inject_files;
#[cfg(test)]
mod testing;
mod write_image;

/// What any machine can do.
#[derive(Debug, Clone, Copy, Default)]
pub struct GenericManager;

static IDENTITY: Identity = Identity {
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
    &write_image::WriteImage,
    &inject_files::InjectFiles,
    &execute_bootc_install::ExecuteBootcInstall,
];

impl HardwareManager for GenericManager {
    fn identity(&self) -> &Identity {
        &IDENTITY
    }

    fn support(&self, _system: &System) -> Support {
        Support::Generic
    }

    fn steps(&self) -> Vec<&dyn Step> {
        STEPS.to_vec()
    }
}
