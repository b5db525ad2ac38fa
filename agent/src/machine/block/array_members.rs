//! What the members of an array say about it.

use std::collections::BTreeSet;

use crate::machine::block::device::BlockDevice;
use crate::machine::block::guarded_filesystem;
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

/// The disks that hold members. A member that the kernel does not show stands for itself.
pub(in crate::machine) fn disks_of(
    members: &[String],
    devices: &[BlockDevice],
) -> BTreeSet<String> {
    let disk = |member: &String| {
        let device = devices.iter().find(|device| device.name == *member);
        device
            .and_then(|device| device.parent.clone())
            .unwrap_or_else(|| member.clone())
    };
    members.iter().map(disk).collect()
}
