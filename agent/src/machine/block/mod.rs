//! The machine's disks, as the kernel shows them in `/sys/class/block`. udev's database is
//! asked where there is one; without it the same facts are read from the kernel.

use crate::machine::raid::root_volume;
use crate::system::{Simulation, System};
use sysfs::SysfsDevice;

mod array_members;
mod device;
pub mod device_file;
pub mod guarded_filesystem;
pub mod hints;
mod identity;
pub(super) mod kernel_name;
pub mod mapped;
mod path_id;
mod scsi;
mod scsi_address;
mod stacked_devices;
mod sysfs;
mod transport;
pub mod udev;

pub(super) use array_members::{disks_of, volume_name};
pub use device::{BlockDevice, DeviceKind, MAX_VIRTUAL_MEDIUM_BYTES};
pub(super) use kernel_name::is_array;
pub use kernel_name::{device_path, kernel_name_of};
pub use stacked_devices::StackedDevices;

/// The disks that an operating system could be put on, in the order of their device numbers.
/// In a simulation the files of its directory. Blocks for milliseconds.
#[must_use]
pub fn probe(system: &System) -> Vec<BlockDevice> {
    let mut devices = probe_with_partitions(system);
    devices.retain(|device| device.kind != DeviceKind::Partition);
    devices
}

/// The same disks with the partitions that the kernel found on them.
#[must_use]
pub fn probe_with_partitions(system: &System) -> Vec<BlockDevice> {
    if let Some(simulation) = &system.simulation {
        return simulated(simulation);
    }
    let links = sysfs::by_path_links(&system.root);
    let mut devices: Vec<_> = system
        .root
        .names("/sys/class/block")
        .iter()
        .filter(|name| !is_ignored(name))
        .filter_map(|name| SysfsDevice::read(&system.root, name)?.numbered_device(&links))
        .collect();
    // Device numbers follow detection within a driver, and put sda before sdaa.
    devices.sort_by_key(|(number, _)| *number);
    let disks: Vec<String> = devices
        .iter()
        .filter(|(_, device)| device.kind != DeviceKind::Partition)
        .map(|(_, device)| device.name.clone())
        .collect();
    let paths = mapped::paths(&system.root);
    let is_known = |device: &BlockDevice| {
        let disk = device.parent.as_ref();
        disk.is_none_or(|disk| disks.contains(disk) && !paths.contains(disk))
            && !paths.contains(&device.name)
    };
    let mut devices: Vec<BlockDevice> = devices
        .into_iter()
        .map(|(_, device)| device)
        .filter(is_known)
        .collect();
    add_what_arrays_are(system, &mut devices);
    devices
}

fn add_what_arrays_are(system: &System, devices: &mut [BlockDevice]) {
    let roots = root_volume::read(&system.root);
    let stacked = StackedDevices::new(devices);
    let facts: Vec<_> = devices
        .iter()
        .map(|device| match device.kind {
            DeviceKind::Raid => (
                array_members::volume_name(system, &device.members, devices),
                array_members::disks_of(&device.members, &stacked),
                roots.get(&device.name).copied(),
            ),
            _ => Default::default(),
        })
        .collect();
    for (device, (name, disks, is_root)) in devices.iter_mut().zip(facts) {
        device.volume_name = name;
        device.disks = disks;
        device.is_root_volume = is_root;
    }
}

/// Loop devices, memory, floppies and optical drives: nothing is installed to them.
fn is_ignored(name: &str) -> bool {
    let numbered = |prefix: &str| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    ["loop", "ram", "zram", "fd", "sr", "nbd"]
        .into_iter()
        .any(numbered)
}

fn simulated(simulation: &Simulation) -> Vec<BlockDevice> {
    let disks = simulation.disks().unwrap_or_else(|error| {
        tracing::warn!(%error, "the directory of the simulated disks cannot be read");
        Vec::new()
    });
    disks
        .into_iter()
        .filter(|(_, size)| *size > 0)
        .map(|(path, size)| BlockDevice {
            name: path.to_string_lossy().into_owned(),
            kind: DeviceKind::File,
            size,
            logical_sectors: Some(512),
            physical_sectors: Some(512),
            ..BlockDevice::default()
        })
        .collect()
}

#[cfg(test)]
mod tests;
