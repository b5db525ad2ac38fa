//! The machine as software RAID sees it.

use std::collections::HashSet;

use crate::disk::erase::guard::keep_by_name::{self, ArrayDecision};
use crate::disk::raid::error::RaidError;
use crate::disk::raid::superblocks::Superblocks;
use crate::machine::block::{BlockDevice, DeviceKind, StackedDevices, guarded_filesystem, hints};
use crate::machine::ironic_node::Node;
use crate::machine::raid::{self, Array};
use crate::system::System;

/// The machine's devices and arrays, and what may happen to the arrays.
pub(super) struct RaidFacts {
    pub(super) devices: Vec<BlockDevice>,
    /// Those that stay have the disks of all their members, also of those that are not running.
    pub(super) arrays: Vec<Array>,
    /// In the order of the arrays.
    pub(super) decisions: Vec<ArrayDecision>,
    /// Disks that the node's skip list describes.
    pub(super) skipped: HashSet<String>,
}

impl RaidFacts {
    /// Looks at the arrays on some devices.
    pub(super) async fn read(
        system: &System,
        node: &Node,
        devices: Vec<BlockDevice>,
    ) -> Result<Self, RaidError> {
        let (system, node) = (system.clone(), node.clone());
        let read = move || Self::read_blocking(&system, &node, devices);
        tokio::task::spawn_blocking(read).await?
    }

    fn read_blocking(
        system: &System,
        node: &Node,
        devices: Vec<BlockDevice>,
    ) -> Result<Self, RaidError> {
        let allowed = hints::without_skipped(&devices, node).map_err(RaidError::SkipList)?;
        let allowed: HashSet<&String> = allowed.iter().map(|device| &device.name).collect();
        let skipped: HashSet<String> = devices
            .iter()
            .filter(|device| !allowed.contains(&device.name))
            .flat_map(|device| [Some(device.name.clone()), device.parent.clone()])
            .flatten()
            .collect();
        let mut arrays = raid::probe(system, &devices);
        let volumes = keep_by_name::volumes(node);
        refuse_idle(system, &devices, &arrays, &volumes)?;
        // What an array that stays runs without stays, too, and so do its neighbours.
        let superblocks = Superblocks::read(system, &devices);
        let is_named = |array: &Array| {
            let name = array.volume_name.as_ref();
            name.is_some_and(|name| volumes.contains(name))
        };
        for array in arrays.iter_mut().filter(|array| is_named(array)) {
            superblocks.add_disks(array, &volumes);
        }
        let mut decisions = keep_by_name::classify(&arrays, &volumes);
        for (array, decision) in arrays.iter().zip(&mut decisions) {
            let below = array
                .disks
                .iter()
                .chain(&array.members)
                .chain([&array.name]);
            if below.into_iter().any(|name| skipped.contains(name)) {
                *decision = ArrayDecision::Keep;
            }
        }
        let stacked = StackedDevices::new(&devices);
        loop {
            for (array, decision) in arrays.iter_mut().zip(&decisions) {
                if *decision != ArrayDecision::Delete {
                    superblocks.add_disks(array, &volumes);
                }
            }
            // What stays may lie on arrays, and these on others.
            if !keep_by_name::keep_lower(&arrays, &stacked, &mut decisions) {
                break;
            }
        }
        Ok(Self {
            devices,
            arrays,
            decisions,
            skipped,
        })
    }

    /// Each array with its decision.
    pub(super) fn existing(&self) -> impl Iterator<Item = (&Array, &ArrayDecision)> {
        self.arrays.iter().zip(&self.decisions)
    }
}

/// What is kept must be running: nobody knows which disks an array has that is not, and its
/// neighbours on them would be taken for free.
fn refuse_idle(
    system: &System,
    devices: &[BlockDevice],
    arrays: &[Array],
    kept: &HashSet<String>,
) -> Result<(), RaidError> {
    let is_running = |volume: &String| {
        let mut names = arrays.iter().map(|array| array.volume_name.as_ref());
        names.any(|name| name == Some(volume))
    };
    let idle: HashSet<&String> = kept.iter().filter(|volume| !is_running(volume)).collect();
    if idle.is_empty() {
        return Ok(());
    }
    for device in devices
        .iter()
        .filter(|device| device.kind != DeviceKind::Raid)
    {
        // A disk that cannot be read is named when it is to be written.
        let content = guarded_filesystem::probe(system, device).unwrap_or_default();
        if let Some(volume) = content.volume_name.filter(|name| idle.contains(name)) {
            return Err(RaidError::IdleVolume {
                volume,
                device: device.name.clone(),
            });
        }
    }
    Ok(())
}
