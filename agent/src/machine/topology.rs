//! Where a device hangs: the chain of its parents below `/sys/devices`, and what follows
//! from it — the transport of a disk and its name by path.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::system::Root;

/// The nodes of devices, of the disks that they are partitions of, of what they lie on, and of
/// all their partitions.
#[must_use]
pub fn connected_nodes(root: &Root, devices: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<String> = devices.iter().map(|device| (*device).to_owned()).collect();
    let disks = root.names("/sys/class/block");
    while let Some(device) = waiting.pop() {
        let name = device.rsplit('/').next().unwrap_or(&device);
        let block = format!("/sys/class/block/{name}");
        let is_partition_of = |disk: &str, name: &str| {
            root.exists(format!("/sys/class/block/{disk}/{name}/partition"))
        };
        let disk = disks.iter().filter(|disk| is_partition_of(disk, name));
        let partitions = root.names(&block).into_iter();
        let partitions = partitions.filter(|entry| is_partition_of(name, entry));
        let below = root.names(format!("{block}/slaves"));
        let related = disk.cloned().chain(partitions).chain(below);
        waiting.extend(
            related
                .map(|name| format!("/dev/{name}"))
                .filter(|node| !found.contains(node)),
        );
        found.insert(device);
    }
    found
}

/// A device and its parents.
#[derive(Debug, Clone)]
pub(crate) struct Chain<'a> {
    root: &'a Root,
    /// Absolute path below the root, links resolved.
    path: PathBuf,
}

impl<'a> Chain<'a> {
    /// Resolves a path below `/sys`.
    pub(crate) fn resolve(root: &'a Root, path: impl AsRef<Path>) -> Option<Self> {
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
    fn members(&self) -> impl Iterator<Item = &Path> {
        self.path
            .ancestors()
            .take_while(|path| *path != Path::new("/sys/devices") && *path != Path::new("/"))
    }

    /// The nearest member that belongs to a subsystem and has an attribute, with its value.
    pub(crate) fn nearest(&self, subsystem: &str, name: &str) -> Option<String> {
        self.members()
            .filter(|path| self.subsystem(path).as_deref() == Some(subsystem))
            .find_map(|path| attribute(self.root, path, name))
    }

    /// Whether a parent's name begins with this and a digit follows.
    fn has_parent(&self, prefix: &str) -> bool {
        self.members()
            .any(|path| number_after(name_of(path), prefix).is_some())
    }

    fn subsystem(&self, path: &Path) -> Option<String> {
        let link = std::fs::read_link(self.root.path(path).join("subsystem")).ok()?;
        Some(link.file_name()?.to_str()?.to_owned())
    }

    /// How the disk is attached, in the words of `lsblk`.
    pub(crate) fn transport(&self) -> Option<&'static str> {
        let name = name_of(&self.path);
        if name.starts_with("nvme") {
            return Some("nvme");
        }
        if name.starts_with("mmcblk") {
            return Some("mmc");
        }
        let tests: [(&str, &'static str); 5] = [
            ("end_device-", "sas"),
            ("rport-", "fc"),
            ("session", "iscsi"),
            ("usb", "usb"),
            ("virtio", "virtio"),
        ];
        for (prefix, transport) in tests {
            // A virtio SCSI controller is a SCSI controller.
            let scsi = transport == "virtio" && self.has_parent("host");
            if self.has_parent(prefix) && !scsi {
                return Some(transport);
            }
        }
        let driver = self.members().find_map(|path| {
            let host = name_of(path);
            number_after(host, "host")?;
            attribute(self.root, path, &format!("scsi_host/{host}/proc_name"))
        })?;
        match driver.as_str() {
            driver if driver.starts_with("ahci") || driver.starts_with("sata") => Some("sata"),
            driver if driver.contains("ata") => Some("ata"),
            _ => None,
        }
    }

    /// The name that udev gives in `/dev/disk/by-path`, for example
    /// `pci-0000:00:1f.2-ata-1`; `None` when nothing but numbering tells the disk apart.
    ///
    /// The same walk from the disk upwards as udev's `path_id`: every kind of bus adds what
    /// is fixed in it, and only the bus that is plugged into the machine ends it well.
    pub(crate) fn by_path(&self) -> Option<String> {
        let mut parts: Vec<String> = Vec::new();
        let mut seen = Vec::new();
        let mut plugged = false;
        for path in self.members().skip(1) {
            let Some(subsystem) = self.subsystem(path) else {
                continue;
            };
            let name = name_of(path);
            let part = match subsystem.as_str() {
                // One controller in front of another is the same path.
                bus @ ("pci" | "platform" | "acpi" | "vmbus") if !seen.contains(&subsystem) => {
                    plugged = true;
                    Some(format!("{bus}-{name}"))
                }
                "nvme" if !seen.contains(&subsystem) => {
                    self.attribute("nsid").map(|nsid| format!("nvme-{nsid}"))
                }
                "usb" if !seen.contains(&subsystem) => {
                    let (_, port) = name.split_once('-')?;
                    Some(format!("usb-0:{port}"))
                }
                "scsi" if !seen.contains(&subsystem) => Some(self.scsi_part(path)?),
                _ => None,
            };
            if let Some(part) = part {
                parts.push(part);
                seen.push(subsystem);
            }
        }
        parts.reverse();
        (plugged && !parts.is_empty()).then(|| parts.join("-"))
    }

    /// The part of a SCSI device, whose name is `host:channel:target:lun`.
    fn scsi_part(&self, device: &Path) -> Option<String> {
        let mut address = name_of(device).split(':');
        let host = address.next()?;
        let (channel, target, lun) = (address.next()?, address.next()?, address.next()?);
        let parent = |prefix| {
            self.members()
                .find(|path| number_after(name_of(path), prefix).is_some())
        };
        if let Some(end) = parent("end_device-") {
            return self.sas_part(end, lun);
        }
        if parent("rport-").is_some() {
            let remote = self.members().find_map(|path| {
                let target = name_of(path);
                number_after(target, "target")?;
                attribute(self.root, path, &format!("fc_transport/{target}/port_name"))
            })?;
            return Some(format!("fc-{remote}-lun-{lun}"));
        }
        if parent("session").is_some() {
            return None;
        }
        if let Some(ata) = parent("ata") {
            let name = name_of(ata);
            let port = attribute(self.root, ata, &format!("ata_port/{name}/port_no"))?;
            return Some(format!("ata-{port}"));
        }
        // The host's number counts all controllers of the machine; what is fixed is its place
        // among the hosts of its own controller.
        let host_path = parent("host")?;
        let number: u32 = host.parse().ok()?;
        let first = self
            .root
            .names(host_path.parent()?)
            .iter()
            .filter_map(|name| number_after(name, "host"))
            .min()?;
        let place = number.checked_sub(first)?;
        Some(format!("scsi-{place}:{channel}:{target}:{lun}"))
    }

    /// The part of a SAS device behind `end`, a directory `end_device-<host>:<n>`.
    fn sas_part(&self, end: &Path, lun: &str) -> Option<String> {
        let of_device = |device: &Path, name: &str| {
            let path = format!("sas_device/{}/{name}", name_of(device));
            attribute(self.root, device, &path)
        };
        let port = end.parent()?;
        let phys = format!("sas_port/{}/num_phys", name_of(port));
        if attribute(self.root, port, &phys).as_deref() != Some("1") {
            let address = of_device(end, "sas_address")?;
            return Some(format!("sas-{address}-lun-{lun}"));
        }
        let phy = of_device(end, "phy_identifier")?;
        let expander = port
            .parent()
            .and_then(|path| of_device(path, "sas_address"));
        Some(match expander {
            Some(address) => format!("sas-exp{address}-phy{phy}-lun-{lun}"),
            None => format!("sas-phy{phy}-lun-{lun}"),
        })
    }
}

fn attribute(root: &Root, device: &Path, name: &str) -> Option<String> {
    let bytes = std::fs::read(root.path(device).join(name)).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

fn name_of(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

/// The number between a prefix and the end of a name or what is no digit: 3 of `host3`.
fn number_after(name: &str, prefix: &str) -> Option<u32> {
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
        let root = &machine.system().root;
        for (devices, expected) in [
            (vec!["/dev/sda"], "/dev/sda /dev/sda1"),
            (vec!["/dev/sda1", "/dev/sda"], "/dev/sda /dev/sda1"),
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
