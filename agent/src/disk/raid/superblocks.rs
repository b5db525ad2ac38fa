//! Members that an array runs without: they dropped out, or came after it was started. The kernel
//! does not name them, but their superblocks name the array.

use std::collections::HashSet;

use crate::machine::block::guarded_filesystem;
use crate::machine::block::{BlockDevice, DeviceKind};
use crate::machine::raid::Array;
use crate::system::System;

/// What the superblocks of Linux RAID say, one for each device that has one.
pub(super) struct Superblocks(Vec<Superblock>);

struct Superblock {
    device: String,
    /// The disk that holds it.
    disk: String,
    array_uuid: Option<String>,
    volume_name: Option<String>,
}

impl Superblocks {
    /// Reads those of some devices. One that cannot be read has none that anybody could remove.
    pub(super) fn read(system: &System, devices: &[BlockDevice]) -> Self {
        let lower = devices
            .iter()
            .filter(|device| device.kind != DeviceKind::Raid);
        let read = lower.filter_map(|device| {
            let content = guarded_filesystem::probe(system, device).ok()?;
            content.raid_member.then(|| Superblock {
                device: device.name.clone(),
                disk: device.parent.as_ref().unwrap_or(&device.name).clone(),
                array_uuid: content.array_uuid,
                volume_name: content.volume_name,
            })
        });
        Self(read.collect())
    }

    /// Adds to the disks of an array those with a member of it that is not running. A name makes
    /// a member only if it is one of `volumes`, which an operator wrote down: others (`esp`) are
    /// those of many arrays.
    pub(super) fn add_disks(&self, array: &mut Array, volumes: &HashSet<String>) {
        let running = self
            .0
            .iter()
            .filter(|superblock| array.members.contains(&superblock.device));
        let uuids: HashSet<&String> = running.flat_map(|running| &running.array_uuid).collect();
        let name = array.volume_name.as_ref();
        let name = name.filter(|name| volumes.contains(*name));
        for superblock in &self.0 {
            let is_same = |uuid| uuids.contains(uuid);
            let is_member = superblock.array_uuid.as_ref().is_some_and(is_same)
                || (name.is_some() && superblock.volume_name.as_ref() == name);
            if is_member && !array.disks.contains(&superblock.disk) {
                array.disks.push(superblock.disk.clone());
            }
        }
        array.disks.sort();
    }
}
