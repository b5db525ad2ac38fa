//! Devices that are in use.

use std::collections::HashMap;
use std::path::Path;

use crate::disk::erase::guard::error::GuardError;
use crate::machine::block::BlockDevice;
use crate::system::{DiskError, System};

/// Devices that are mounted, used for swapping or under device-mapper (LVM, encryption,
/// multipath), with the place.
pub(super) fn in_use(system: &System, devices: &[BlockDevice]) -> HashMap<String, String> {
    let mounts = system
        .root
        .read_optional("/proc/self/mounts")
        .unwrap_or_default();
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    });
    let swaps = system.root.read_optional("/proc/swaps").unwrap_or_default();
    let swaps = swaps.lines().skip(1).filter_map(|line| {
        let name = line.split_whitespace().next()?;
        Some((name.to_owned(), "swap".to_owned()))
    });
    let mapped = devices.iter().filter_map(|device| {
        let kernel_name = device.name.strip_prefix("/dev/")?.replace('/', "!");
        let holders = system
            .root
            .names(format!("/sys/class/block/{kernel_name}/holders"));
        let is_listed = |name: &String| {
            let path = format!("/dev/{name}");
            devices.iter().any(|known| known.name == path)
        };
        let mut unknown = holders.into_iter().filter(|name| !is_listed(name));
        let holder = unknown.find(|name| name.starts_with("dm-"))?;
        Some((device.name.clone(), holder))
    });
    mounts
        .filter(|(source, _)| source.starts_with("/dev/"))
        .chain(swaps)
        .chain(mapped)
        .collect()
}

/// The devices that the kernel does not let us have for ourselves: their user is not in the lists
/// that we know, for example a mount of another namespace.
pub(super) fn claimed<'a>(
    system: &System,
    devices: impl Iterator<Item = &'a BlockDevice>,
) -> Vec<String> {
    let claimed = devices.filter_map(|device: &BlockDevice| {
        match system.disks.open(Path::new(&device.name)) {
            Err(DiskError::Busy { .. }) => Some(format!("{} (claimed)", device.name)),
            // Any other fault shows when it is erased.
            _ => None,
        }
    });
    claimed.collect()
}

/// Refuses devices that are in use.
pub(super) fn refuse(mut busy: Vec<String>) -> Result<(), GuardError> {
    if busy.is_empty() {
        return Ok(());
    }
    busy.sort();
    busy.dedup();
    Err(GuardError::InUse(busy))
}
