//! The machine's software RAID arrays, also those that are not running: what they are made of
//! and what their creator called them.

pub mod root_volume;

use crate::machine::block::{self, BlockDevice, StackedDevices};
use crate::system::System;

/// A software RAID array.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Array {
    /// Device path: `/dev/md0`.
    pub name: String,
    /// What its creator called it, without the host's name.
    pub volume_name: Option<String>,
    /// The disks and partitions that it is made of, sorted.
    pub members: Vec<String>,
    /// The whole disks under it, sorted.
    pub disks: Vec<String>,
    /// What it is to firmware whose metadata it has (IMSM, DDF).
    pub firmware: Option<FirmwareArray>,
}

/// An array that firmware knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FirmwareArray {
    /// Data.
    Volume,
    /// All that its disks hold: the volumes are in it.
    Container,
}

/// All arrays that have members, by name. `devices` are those of
/// [`block::probe_with_partitions`]. Reads the members' superblocks; blocks.
#[must_use]
pub fn probe(system: &System, devices: &[BlockDevice]) -> Vec<Array> {
    if system.simulation.is_some() {
        return Vec::new();
    }
    let stacked = StackedDevices::new(devices);
    let names = system.root.names("/sys/class/block");
    let arrays = names.iter().filter(|name| block::is_array(name));
    let mut found: Vec<Array> = arrays
        .filter_map(|name| {
            let members: Vec<String> = system
                .root
                .names(format!("/sys/class/block/{name}/slaves"))
                .iter()
                .map(|name| block::device_path(name))
                .collect();
            (!members.is_empty()).then(|| Array {
                name: block::device_path(name),
                volume_name: block::volume_name(system, &members, devices),
                disks: block::disks_of(&members, &stacked),
                firmware: firmware(system, name),
                members,
            })
        })
        .collect();
    found.sort_by_key(|array| (array.name.len(), array.name.clone()));
    found
}

/// Linux writes the metadata of its own arrays and leaves other metadata to a program. A volume
/// names its container: `external:/md127/0`, with `-` for `/` while nobody may change it.
fn firmware(system: &System, name: &str) -> Option<FirmwareArray> {
    let path = format!("/sys/class/block/{name}/md/metadata_version");
    let version = system.root.read_optional(path)?;
    Some(match version.strip_prefix("external:")?.chars().next() {
        Some('/' | '-') => FirmwareArray::Volume,
        _ => FirmwareArray::Container,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::machine::block::guarded_filesystem::tests::superblock;
    use crate::machine::testing::FakeMachine;

    /// Bytes of a member, with a superblock of version 1.2.
    pub(crate) fn member(size: usize, name: &str) -> Vec<u8> {
        let mut bytes = vec![0xaa; size];
        superblock(&mut bytes, 4096, name);
        bytes
    }

    #[test]
    fn arrays_know_their_members_their_disks_and_their_names() {
        use ironic_ondisk::size::MIB;
        let mut machine = FakeMachine::new();
        let sda = machine.sata_disk("sda", 8 * MIB, 1);
        let sdb = machine.sata_disk("sdb", 8 * MIB, 2);
        let nvme0 = machine.nvme_disk("nvme0n1", 8 * MIB, "S0", "eui.00");
        machine.partition(&sda, "sda1", "8:1", MIB);
        machine.partition(&sdb, "sdb1", "8:17", MIB);
        let (sda1, sdb1) = (format!("{sda}/sda1"), format!("{sdb}/sdb1"));
        machine.array("md127", "raid1", MIB, &[&sda1, &sdb1]);
        // Whole disks; a name that looks like a path.
        machine.array("md5", "raid0", 8 * MIB, &[&nvme0]);
        // Assembled, not running: it has no size and no level.
        let md6 = machine.array("md6", "", 0, &[&sdb1]);
        std::fs::remove_file(machine.path().join(format!("{md6}/md/level"))).unwrap();
        // A partition of an array is not an array.
        let md127 = "sys/devices/virtual/block/md127";
        machine.partition(md127, "md127p1", "259:9", MIB);
        // Stopped: it has no members.
        machine.array("md7", "raid1", 0, &[]);
        for (name, text) in [
            ("sda1", "box:root"),
            ("sdb1", "root"),
            ("nvme0n1", "box:/dev/md0"),
        ] {
            let size = if name.starts_with("nvme") { 8 } else { 1 };
            machine.bytes(&format!("dev/{name}"), &member(size << 20, text));
        }
        let system = machine.system();
        let devices = block::probe_with_partitions(&system);
        let texts = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let array = |name: &str, volume: &str, members: &[&str], disks: &[&str]| Array {
            name: name.into(),
            volume_name: Some(volume.into()),
            members: texts(members),
            disks: texts(disks),
            firmware: None,
        };
        assert_eq!(
            probe(&system, &devices),
            [
                array("/dev/md5", "/dev/md0", &["/dev/nvme0n1"], &["/dev/nvme0n1"]),
                array("/dev/md6", "root", &["/dev/sdb1"], &["/dev/sdb"]),
                array(
                    "/dev/md127",
                    "root",
                    &["/dev/sda1", "/dev/sdb1"],
                    &["/dev/sda", "/dev/sdb"]
                ),
            ]
        );
        for (version, firmware) in [
            ("external:/md127/0", Some(FirmwareArray::Volume)),
            ("external:-md127/0", Some(FirmwareArray::Volume)),
            ("external:imsm", Some(FirmwareArray::Container)),
            ("1.2", None),
        ] {
            machine.file("sys/devices/virtual/block/md5/md/metadata_version", version);
            assert_eq!(probe(&system, &devices)[0].firmware, firmware, "{version}");
        }
        let partition = devices.iter().find(|device| device.name == "/dev/md127p1");
        assert_eq!(partition.unwrap().parent.as_deref(), Some("/dev/md127"));
        let names: Vec<_> = devices
            .iter()
            .filter_map(|device| device.volume_name.as_deref())
            .collect();
        assert_eq!(names, ["/dev/md0", "root"]);
    }
}
