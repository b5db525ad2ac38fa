//! What the members of an array say about it.

use crate::machine::block::device::BlockDevice;
use crate::machine::block::guarded_filesystem;
use crate::machine::block::stacked_devices::StackedDevices;
use crate::system::System;

/// What the creator of an array called it: an array does not know, its members do.
pub(in crate::machine) fn volume_name(
    system: &System,
    members: &[String],
    devices: &[BlockDevice],
) -> Option<String> {
    members
        .iter()
        .filter_map(|member| devices.iter().find(|device| device.name == *member))
        .find_map(|member| guarded_filesystem::probe(system, member).ok()?.volume_name)
}

/// The disks that hold members, sorted.
pub(in crate::machine) fn disks_of(
    members: &[String],
    devices: &StackedDevices<'_>,
) -> Vec<String> {
    let mut disks = devices.disks(members);
    disks.sort();
    disks
}
