//! Devices that passed every check.

use crate::machine::block::BlockDevice;

/// A device that passed every check: only the guard makes one.
#[derive(Debug)]
pub struct Erasable(BlockDevice);

impl Erasable {
    pub(super) fn new(device: &BlockDevice) -> Self {
        Self(device.clone())
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &BlockDevice {
        &self.0
    }
}
