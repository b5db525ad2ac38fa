//! Where a device hangs: the chain of its parents below `/sys/devices`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::machine::block::kernel_name::{device_path, kernel_name_of};
use crate::system::PathPrefix;

/// The nodes of devices, of the disks that they are partitions of, of what they lie on, and of
/// all their partitions.
#[must_use]
pub fn connected_nodes(root: &PathPrefix, devices: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<String> = devices.iter().map(|device| (*device).to_owned()).collect();
    let disks = root.names("/sys/class/block");
    while let Some(device) = waiting.pop() {
        let Some(name) = kernel_name_of(&device) else {
            found.insert(device);
            continue;
        };
        let block = format!("/sys/class/block/{name}");
        let is_partition_of = |disk: &str, name: &str| {
            root.exists(format!("/sys/class/block/{disk}/{name}/partition"))
        };
        let disk = disks.iter().filter(|disk| is_partition_of(disk, &name));
        let partitions = root.names(&block).into_iter();
        let partitions = partitions.filter(|entry| is_partition_of(&name, entry));
        let below = root.names(format!("{block}/slaves"));
        let related = disk.cloned().chain(partitions).chain(below);
        waiting.extend(
            related
                .map(|name| device_path(&name))
                .filter(|node| !found.contains(node)),
        );
        found.insert(device);
    }
    found
}

/// A device and its parents.
#[derive(Debug, Clone)]
pub(crate) struct Chain<'a> {
    root: &'a PathPrefix,
    /// Absolute path below the root, links resolved.
    path: PathBuf,
}

impl<'a> Chain<'a> {
    /// Resolves a path below `/sys`.
    pub(crate) fn resolve(root: &'a PathPrefix, path: impl AsRef<Path>) -> Option<Self> {
        let top = std::fs::canonicalize(root.path("/")).ok()?;
        let real = std::fs::canonicalize(root.path(path)).ok()?;
        let path = Path::new("/").join(real.strip_prefix(top).ok()?);
        Some(Self { root, path })
    }

    /// The resolved path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// An attribute of the device itself.
    pub(crate) fn attribute(&self, name: &str) -> Option<String> {
        attribute(self.root, &self.path, name)
    }

    /// The device and its parents, the device first, down to `/sys/devices`.
    pub(super) fn members(&self) -> impl Iterator<Item = &Path> {
        self.path
            .ancestors()
            .take_while(|path| *path != Path::new("/sys/devices") && *path != Path::new("/"))
    }

    /// The nearest member that belongs to a subsystem and has a name of this form.
    pub(super) fn nearest(&self, subsystem: &str, is_named: fn(&str) -> bool) -> Option<&Path> {
        self.members().find(|path| {
            is_named(name_of(path)) && self.subsystem(path).as_deref() == Some(subsystem)
        })
    }

    /// Whether a parent's name begins with this and a digit follows.
    pub(super) fn has_parent(&self, prefix: &str) -> bool {
        self.members()
            .any(|path| number_after(name_of(path), prefix).is_some())
    }

    /// The bus or class that a member belongs to.
    pub(super) fn subsystem(&self, member: &Path) -> Option<String> {
        self.link_name(&member.join("subsystem"))
    }

    /// The last part of a link's target.
    pub(super) fn link_name(&self, link: &Path) -> Option<String> {
        let target = std::fs::read_link(self.root.path(link)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// The device that a member lies below. Directories in between that only group devices
    /// (`nvme`, `block`) are not devices: they have no `uevent`. Root bridges of PCI belong to
    /// no subsystem and end a row of PCI devices.
    pub(super) fn parent_device(&self, member: &Path) -> Option<PathBuf> {
        let is_device = |path: &&Path| {
            let directory = self.root.path(path);
            directory.join("uevent").exists()
                || directory.join("subsystem").is_symlink()
                || name_of(path).starts_with("pci")
        };
        let parents = member.ancestors().skip(1);
        parents
            .take_while(|path| *path != Path::new("/sys/devices") && *path != Path::new("/"))
            .find(is_device)
            .map(Path::to_owned)
    }

    /// The last of the devices from `member` upwards that follow each other in a subsystem.
    pub(super) fn last_in_subsystem(&self, member: &Path, subsystem: &str) -> PathBuf {
        let mut last = member.to_owned();
        while let Some(parent) = self.parent_device(&last) {
            if self.subsystem(&parent).as_deref() != Some(subsystem) {
                break;
            }
            last = parent;
        }
        last
    }

    /// An attribute of a member.
    pub(super) fn attribute_of(&self, member: &Path, name: &str) -> Option<String> {
        attribute(self.root, member, name)
    }

    /// An attribute of the object of a class that describes a member: for SAS
    /// `end_device-4:0/sas_device/end_device-4:0/phy_identifier`, which
    /// `/sys/class/sas_device` links to.
    pub(super) fn class_attribute(&self, member: &Path, class: &str, name: &str) -> Option<String> {
        let own = name_of(member);
        self.attribute_of(member, &format!("{class}/{own}/{name}"))
            .or_else(|| {
                self.attribute_of(Path::new("/sys/class"), &format!("{class}/{own}/{name}"))
            })
    }

    /// The root that all paths are below.
    pub(super) fn root(&self) -> &'a PathPrefix {
        self.root
    }
}

fn attribute(root: &PathPrefix, device: &Path, name: &str) -> Option<String> {
    let bytes = std::fs::read(root.path(device).join(name)).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

pub(super) fn name_of(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

/// The number that follows a prefix, up to the first character that is not a digit: 3 of
/// `host3`.
pub(super) fn number_after(name: &str, prefix: &str) -> Option<u32> {
    let rest = name.strip_prefix(prefix)?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing::FakeMachine;

    #[test]
    fn a_device_has_its_disk_its_partitions_and_what_it_lies_on() {
        const SIZE: u64 = 1 << 30;
        let mut machine = FakeMachine::new();
        let mut members = Vec::new();
        for (index, name) in (0..).zip(["sda", "sdb", "sdc", "sdd"]) {
            let disk = machine.sata_disk(name, SIZE, index + 1);
            let partition = format!("{name}1");
            machine.partition(&disk, &partition, &format!("8:{}", 16 * index + 1), SIZE);
            members.push(format!("{disk}/{partition}"));
        }
        let array = machine.array("md0", "raid1", SIZE, &[&members[1], &members[2]]);
        machine.partition(&array, "md0p1", "259:0", SIZE);
        let card = machine.block("pci0000:00/0000:00:05.0", "cciss!c0d0", "104:0", SIZE);
        machine.partition(&card, "cciss!c0d0p1", "104:1", SIZE);
        let root = &machine.system().root;
        for (devices, expected) in [
            (vec!["/dev/sda"], "/dev/sda /dev/sda1"),
            (vec!["/dev/sda1", "/dev/sda"], "/dev/sda /dev/sda1"),
            (
                vec!["/dev/cciss/c0d0p1"],
                "/dev/cciss/c0d0 /dev/cciss/c0d0p1",
            ),
            (
                vec!["/dev/md0p1"],
                "/dev/md0 /dev/md0p1 /dev/sdb /dev/sdb1 /dev/sdc /dev/sdc1",
            ),
        ] {
            let nodes: Vec<_> = connected_nodes(root, &devices).into_iter().collect();
            assert_eq!(nodes.join(" "), expected);
        }
    }
}
