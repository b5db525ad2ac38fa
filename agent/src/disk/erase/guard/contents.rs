//! What lies on devices that decides whether they may be erased.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use crate::disk::erase::guard::error::GuardError;
use crate::machine::block::BlockDevice;
use crate::machine::block::guarded_filesystem::{self, GuardedContent};
use crate::system::System;

/// What lies on each device, or why that could not be read.
pub(super) struct Contents(HashMap<String, Result<GuardedContent, Arc<io::Error>>>);

impl Contents {
    pub(super) fn read(system: &System, devices: &[BlockDevice]) -> Self {
        Self(
            devices
                .iter()
                .map(|device| {
                    (
                        device.name.clone(),
                        guarded_filesystem::probe(system, device).map_err(Arc::new),
                    )
                })
                .collect(),
        )
    }

    /// Whether it, or a partition of it, has a superblock of Linux RAID.
    pub(super) fn has_member(
        &self,
        device: &BlockDevice,
        all: &[BlockDevice],
    ) -> Result<bool, GuardError> {
        let name = Some(device.name.as_str());
        let mut partitions = all.iter().filter(|other| other.parent.as_deref() == name);
        // What cannot be read is said when it is its own turn.
        let is_member = |device: &BlockDevice| self.of(device).is_ok_and(|found| found.raid_member);
        Ok(self.of(device)?.raid_member || partitions.any(is_member))
    }

    pub(super) fn of(&self, device: &BlockDevice) -> Result<&GuardedContent, GuardError> {
        let unreadable = |source| GuardError::Unreadable {
            device: device.name.clone(),
            source,
        };
        match self.0.get(&device.name) {
            Some(Ok(content)) => Ok(content),
            Some(Err(error)) => Err(unreadable(Arc::clone(error))),
            None => Err(unreadable(Arc::new(io::Error::other(
                "it was not examined",
            )))),
        }
    }
}

/// Refuses what other machines may be using.
pub(super) fn check_shared(
    device: &BlockDevice,
    content: &GuardedContent,
) -> Result<(), GuardError> {
    let Some(shared) = content.shared.first() else {
        if content.is_cut {
            return Err(GuardError::TooManyPartitions {
                device: device.name.clone(),
            });
        }
        return Ok(());
    };
    let location = match &shared.partition {
        Some(partition) => format!("{partition} of {}", device.name),
        None => device.name.clone(),
    };
    Err(GuardError::SharedFileSystem {
        kind: shared.what,
        location,
    })
}
