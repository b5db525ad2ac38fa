//! Devices that are in use.

use std::collections::HashMap;
use std::path::Path;

use crate::disk::erase::guard::error::GuardError;
use crate::machine::block::{BlockDevice, device_path, kernel_name_of};
use crate::system::{DiskError, System};

/// What is mounted.
const MOUNTS: &str = "/proc/self/mounts";
/// What is used for swapping.
const SWAPS: &str = "/proc/swaps";

/// Devices that are mounted, used for swapping or under device-mapper (LVM, encryption,
/// multipath), with the place.
///
/// # Errors
/// The kernel does not tell what is mounted or used for swapping: anything could be.
pub(super) fn in_use(
    system: &System,
    devices: &[BlockDevice],
) -> Result<HashMap<String, String>, GuardError> {
    let unknown = |list: &'static str| move |source| GuardError::UnknownUse { list, source };
    let mounts = system.root.read(MOUNTS).map_err(unknown(MOUNTS))?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    });
    // A kernel without swapping has no such file.
    let swaps = system.root.read_if_there(SWAPS).map_err(unknown(SWAPS))?;
    let swaps = swaps.unwrap_or_default();
    let swaps = swaps.lines().skip(1).filter_map(|line| {
        let name = line.split_whitespace().next()?;
        Some((name.to_owned(), "swap".to_owned()))
    });
    let mapped = devices.iter().filter_map(|device| {
        let kernel_name = kernel_name_of(&device.name)?;
        let holders = system
            .root
            .names(format!("/sys/class/block/{kernel_name}/holders"));
        let is_listed = |name: &String| {
            let path = device_path(name);
            devices.iter().any(|known| known.name == path)
        };
        let mut unknown = holders.into_iter().filter(|name| !is_listed(name));
        let holder = unknown.find(|name| name.starts_with("dm-"))?;
        Some((device.name.clone(), holder))
    });
    Ok(mounts
        .filter(|(source, _)| source.starts_with("/dev/"))
        .chain(swaps)
        .chain(mapped)
        .collect())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing::FakeMachine;

    /// Each list as the kernel has it, missing, and unreadable (here a directory).
    #[test]
    fn a_list_that_cannot_be_read_is_no_empty_list() {
        type Make = fn(&mut FakeMachine, &str);
        let states: [(&str, Make); 3] = [
            ("there", |machine, path| {
                machine.file(path, "Filename Type\n/dev/sda1 /mnt ext4 rw 0 0");
            }),
            ("missing", |_, _| {}),
            ("unreadable", |machine, path| {
                machine.directory(path);
            }),
        ];
        for (mounts, make_mounts) in states {
            for (swaps, make_swaps) in states {
                let mut machine = FakeMachine::new();
                std::fs::remove_file(machine.path().join("proc/self/mounts")).unwrap();
                make_mounts(&mut machine, "proc/self/mounts");
                make_swaps(&mut machine, "proc/swaps");
                let found = in_use(&machine.system(), &[]);
                let is_known = mounts == "there" && swaps != "unreadable";
                assert_eq!(found.is_ok(), is_known, "mounts {mounts}, swaps {swaps}");
                if let Ok(found) = found {
                    let place = if swaps == "there" { "swap" } else { "/mnt" };
                    assert_eq!(found["/dev/sda1"], place);
                }
            }
        }
    }
}
