//! Where on a disk something is that booting needs: partitions by the identities that Ironic
//! remembers, those of file systems and those of partitions.

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::boot::error::{BootCause, BootError};
use crate::disk::filesystem::identity;
use crate::disk::partition::device;
use crate::disk::partition::table::{Partition, PartitionTable};
use crate::system::{Disk, System};

/// A partition and how it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocatedPartition {
    /// Its device node.
    pub node: String,
    /// Its number.
    pub number: u32,
    /// The identity by which it was found.
    pub uuid: String,
    /// Whether that is the partition's own, and not its file system's.
    pub is_partition_uuid: bool,
}

/// What the installation of a boot loader sees of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootLayout {
    disk: String,
    partitions: Vec<KnownPartition>,
    /// Whether the first sector holds code for a BIOS.
    pub has_boot_code: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct KnownPartition {
    partition: Partition,
    node: String,
    partition_uuid: String,
    file_system: Option<String>,
}

impl LocatedPartition {
    /// The name by which programs look for it.
    #[must_use]
    pub fn name(&self) -> String {
        name(self.is_partition_uuid, &self.uuid)
    }
}

fn name(is_partition_uuid: bool, uuid: &str) -> String {
    let kind = if is_partition_uuid {
        "partuuid"
    } else {
        "uuid"
    };
    format!("/dev/disk/by-{kind}/{uuid}")
}

impl BootLayout {
    /// Reads a disk.
    ///
    /// # Errors
    /// The disk cannot be read, or its table makes no sense.
    pub async fn read(system: &System, disk: &str) -> Result<Self, BootError> {
        let read = Self::try_read(system, disk).await;
        read.map_err(|source| BootError::Partitions {
            disk: disk.to_owned(),
            source,
        })
    }

    async fn try_read(system: &System, disk: &str) -> Result<Self, BootCause> {
        let disks = Arc::clone(&system.disks);
        let path = PathBuf::from(disk);
        let read = tokio::task::spawn_blocking(move || {
            let mut disk = disks.open_to_read(&path)?;
            look(disk.as_mut())
        });
        let (found, has_boot_code) = read.await??;
        let partitions = found
            .into_iter()
            .map(|(partition, partition_uuid, file_system)| KnownPartition {
                node: device::of(system, disk, partition.number),
                partition,
                partition_uuid,
                file_system,
            });
        Ok(Self {
            disk: disk.to_owned(),
            partitions: partitions.collect(),
            has_boot_code,
        })
    }

    /// The partition of this identity, a file system's or its own.
    ///
    /// # Errors
    /// No partition has it, or two have it.
    pub fn find(&self, uuid: &str) -> Result<LocatedPartition, BootError> {
        self.look_for(uuid)?.ok_or_else(|| self.not_found(uuid))
    }

    /// The root file system of an image on an array: the partition of this identity, else the
    /// first one, because an Ironic without an image service does not know the identity
    /// (software RAID in Ironic's administrator guide).
    ///
    /// # Errors
    /// No partition has it, or two have it.
    pub fn root_of_array(&self, uuid: &str) -> Result<LocatedPartition, BootError> {
        self.look_for(uuid)?
            .or_else(|| self.numbered(1))
            .ok_or_else(|| self.not_found(uuid))
    }

    fn look_for(&self, uuid: &str) -> Result<Option<LocatedPartition>, BootError> {
        let same = |other: &str| !uuid.is_empty() && other.eq_ignore_ascii_case(uuid);
        for is_partition_uuid in [false, true] {
            let mut found = self.partitions.iter().filter(|known| {
                if is_partition_uuid {
                    same(&known.partition_uuid)
                } else {
                    known.file_system.as_deref().is_some_and(same)
                }
            });
            let Some(known) = found.next() else {
                continue;
            };
            if found.next().is_some() {
                return Err(BootError::AmbiguousPartition {
                    uuid: uuid.to_owned(),
                    disk: self.disk.clone(),
                });
            }
            return Ok(Some(known.located(is_partition_uuid)));
        }
        Ok(None)
    }

    fn not_found(&self, uuid: &str) -> BootError {
        BootError::NoPartition {
            uuid: uuid.to_owned(),
            disk: self.disk.clone(),
        }
    }

    /// The names by which programs look for the partitions, with their nodes.
    pub fn names(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.partitions.iter().flat_map(|known| {
            let own = std::iter::once(name(true, &known.partition_uuid));
            let file_system = known.file_system.iter().map(|uuid| name(false, uuid));
            let node = &known.node;
            own.chain(file_system).map(move |name| (name, node.clone()))
        })
    }

    /// The EFI system partition, if one is marked.
    #[must_use]
    pub fn efi_system(&self) -> Option<LocatedPartition> {
        let known = self
            .partitions
            .iter()
            .find(|known| known.partition.is_efi_system)?;
        Some(known.located(known.file_system.is_none()))
    }

    /// Whether the partition with this number is marked as an EFI system partition.
    #[must_use]
    pub fn is_efi_system(&self, number: u32) -> bool {
        self.partitions
            .iter()
            .any(|known| known.partition.number == number && known.partition.is_efi_system)
    }

    /// The partition with this number.
    #[must_use]
    pub fn numbered(&self, number: u32) -> Option<LocatedPartition> {
        let known = self
            .partitions
            .iter()
            .find(|known| known.partition.number == number)?;
        Some(known.located(known.file_system.is_none()))
    }
}

impl KnownPartition {
    fn located(&self, is_partition_uuid: bool) -> LocatedPartition {
        let uuid = match &self.file_system {
            Some(uuid) if !is_partition_uuid => uuid,
            _ => &self.partition_uuid,
        };
        LocatedPartition {
            node: self.node.clone(),
            number: self.partition.number,
            uuid: uuid.clone(),
            is_partition_uuid,
        }
    }
}

/// Partitions with their own identities and those of their file systems.
type Identities = Vec<(Partition, String, Option<String>)>;

/// The partitions of a disk, and whether its first sector holds code for a BIOS.
fn look(disk: &mut dyn Disk) -> Result<(Identities, bool), BootCause> {
    // The code of a master boot record ends here.
    const CODE: usize = 440;
    let mut head = [0; 512];
    disk.read_at(0, &mut head)?;
    let has_boot_code = head[..CODE].iter().any(|byte| *byte != 0);
    let Some(table) = PartitionTable::read(disk)? else {
        return Ok((Vec::new(), has_boot_code));
    };
    let mut found = Vec::new();
    for partition in table.all(disk)? {
        // A partition that cannot be read has no file system that anybody needs.
        let file_system = identity::read(disk, partition.offset, partition.size)
            .ok()
            .flatten();
        found.push((partition, table.partuuid(partition), file_system));
    }
    Ok((found, has_boot_code))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root file system of an MS-DOS table is often in a logical partition.
    #[test]
    fn logical_partitions_are_seen() {
        use crate::system::Disks as _;
        use ironic_ondisk::partition_table::testing::mbr;
        let mut bytes = vec![0; 8 << 20];
        mbr(&mut bytes, 0, &[(0x83, 64, 64), (0x05, 2048, 12_000)]);
        mbr(&mut bytes, 2048 * 512, &[(0x83, 2048, 2048)]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let disks = crate::system::disk::LinuxDisks;
        let mut disk = disks.open(file.path()).unwrap();
        let (found, _) = look(disk.as_mut()).unwrap();
        let found: Vec<_> = found.iter().map(|(_, uuid, _)| uuid.as_str()).collect();
        assert_eq!(found, ["00000000-01", "00000000-02", "00000000-05"]);
    }

    fn known(number: u32, partition_uuid: &str, file_system: Option<&str>) -> KnownPartition {
        KnownPartition {
            partition: Partition {
                number,
                offset: 0,
                size: 0,
                is_efi_system: number == 1,
                guid: None,
            },
            node: format!("/dev/sda{number}"),
            partition_uuid: partition_uuid.to_owned(),
            file_system: file_system.map(str::to_owned),
        }
    }

    fn layout() -> BootLayout {
        BootLayout {
            disk: "/dev/sda".to_owned(),
            partitions: vec![
                known(1, "aaaa", Some("1234-ABCD")),
                known(2, "bbbb", Some("root")),
                known(3, "cccc", Some("twin")),
                known(4, "dddd", Some("twin")),
                known(5, "eeee", None),
            ],
            has_boot_code: false,
        }
    }

    #[test]
    fn partitions_are_found_by_either_identity() {
        for (uuid, node, is_partition_uuid) in [
            ("1234-abcd", "/dev/sda1", false),
            ("ROOT", "/dev/sda2", false),
            ("BBBB", "/dev/sda2", true),
            ("eeee", "/dev/sda5", true),
        ] {
            let located = layout().find(uuid).unwrap();
            assert_eq!(
                (located.node.as_str(), located.is_partition_uuid),
                (node, is_partition_uuid)
            );
        }
        assert_eq!(layout().efi_system().unwrap().uuid, "1234-ABCD");
        let names: Vec<_> = layout().names().collect();
        for (name, node) in [
            ("/dev/disk/by-uuid/root", "/dev/sda2"),
            ("/dev/disk/by-partuuid/bbbb", "/dev/sda2"),
        ] {
            assert!(
                names.contains(&(name.to_owned(), node.to_owned())),
                "{name}"
            );
        }
        assert_eq!(
            layout().efi_system().unwrap().name(),
            "/dev/disk/by-uuid/1234-ABCD"
        );
    }

    #[test]
    fn what_is_not_there_or_not_clear_is_not_guessed() {
        for (uuid, text) in [
            (
                "none",
                "No partition with UUID none found on device /dev/sda",
            ),
            ("", "No partition"),
            ("twin", "More than one partition with UUID twin"),
        ] {
            let failure = layout().find(uuid).unwrap_err();
            assert!(failure.to_string().contains(text), "{failure}");
        }
    }

    #[test]
    fn the_root_of_an_array_defaults_to_its_first_partition() {
        for (uuid, number) in [("root", 2), ("0x0000abcd", 1)] {
            assert_eq!(layout().root_of_array(uuid).unwrap().number, number);
        }
        let error = layout().root_of_array("twin").unwrap_err();
        assert!(
            matches!(error, BootError::AmbiguousPartition { .. }),
            "{error}"
        );
        let mut empty = layout();
        empty.partitions.clear();
        let error = empty.root_of_array("none").unwrap_err();
        assert!(matches!(error, BootError::NoPartition { .. }), "{error}");
    }
}
