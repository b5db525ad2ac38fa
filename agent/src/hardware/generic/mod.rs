//! The manager of machines in general.

use super::{HardwareManager, Identity, Step, Support};
use crate::system::System;

mod erase_devices_metadata;
mod write_image;

/// What any machine can do.
#[derive(Debug, Clone, Copy, Default)]
pub struct GenericManager;

/// The steps, in the order in which they are listed.
const STEPS: &[&dyn Step] = &[
    &erase_devices_metadata::EraseDevicesMetadata,
    &write_image::WriteImage,
];

impl HardwareManager for GenericManager {
    fn identity(&self) -> Identity {
        Identity {
            class: "GenericHardwareManager",
            name: "generic_hardware_manager",
            version: "1.2",
        }
    }

    fn support(&self, _system: &System) -> Support {
        Support::Generic
    }

    fn steps(&self) -> &[&dyn Step] {
        STEPS
    }
}
