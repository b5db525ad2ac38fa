//! A disk's partition table, of either kind. Which of several counts is decided in
//! [`ironic_ondisk::partition_table::decide`].

use ironic_ondisk::Source;
use ironic_ondisk::partition_table::decide::{Absence, Decision, Flaw, decide};
use ironic_ondisk::partition_table::gpt::{EFI_SYSTEM, Gpt, GptError, GptPartition};
use ironic_ondisk::partition_table::guid::Guid;
use ironic_ondisk::partition_table::logical::{ChainError, Logical};
use ironic_ondisk::partition_table::mbr::{Mbr, MbrError, MbrPartition};
use thiserror::Error;

use crate::disk::partition::layout::Layout;
use crate::machine::ironic_node::DiskLabel;
use crate::system::disk::{Disk, DiskError, Geometry};

/// Type of EFI system partitions in a master boot record.
const MBR_EFI_SYSTEM: u8 = 0xef;

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Table {
    /// A GUID partition table, with the record that announces it.
    Gpt(Gpt, Mbr),
    /// A master boot record.
    Mbr(Mbr),
}

/// A partition, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 1.
    pub number: u32,
    /// Where it starts.
    pub offset: u64,
    /// How long it is.
    pub size: u64,
    /// Whether firmware looks for boot loaders there.
    pub is_efi_system: bool,
    /// Its identity in a GPT.
    pub guid: Option<Guid>,
}

/// A partition to be entered. Offsets and sizes are bytes, multiples of the sector size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 1.
    pub number: u32,
    /// Where it starts.
    pub offset: u64,
    /// How long it is.
    pub size: u64,
    /// What it is for, in a GPT.
    pub gpt_kind: Guid,
    /// What it is for, in a master boot record.
    pub mbr_kind: u8,
    /// Its identity in a GPT.
    pub guid: Guid,
    /// Whether BIOS starts it: only in a master boot record.
    pub is_active: bool,
}

/// What is wrong with a table.
#[derive(Debug, Error)]
pub enum TableError {
    /// A GPT.
    #[error(transparent)]
    Gpt(#[from] GptError),
    /// A master boot record.
    #[error(transparent)]
    Mbr(#[from] MbrError),
    /// The logical partitions of a master boot record.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Something says that there is a table, and there is none.
    #[error(transparent)]
    Absent(Absence),
    /// No table for Linux.
    #[error("there is a GUID partition table that does not count: {0}")]
    DoesNotCount(Flaw),
    /// The disk itself.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Table {
    /// The table of a layout. `existing` is what the disk has when one of its partitions
    /// survives, `kept`; their identities stay. New ones come from `guid`.
    ///
    /// # Errors
    /// The layout is not one for this disk.
    pub fn new(
        layout: &Layout,
        geometry: Geometry,
        kept: Option<(&Self, Partition)>,
        guid: &mut dyn FnMut() -> Guid,
    ) -> Result<Self, TableError> {
        let (existing, kept) = kept.unzip();
        let identity = match existing {
            Some(Self::Gpt(table, _)) => Some(table.disk_guid()),
            Some(Self::Mbr(record)) => Some(Guid::of_identifier(record.identifier())),
            None => None,
        };
        let identity = identity.unwrap_or_else(&mut *guid);
        let mut table = Self::empty(layout.label, geometry, identity)?;
        for planned in &layout.partitions {
            let same = kept.filter(|kept| kept.offset == planned.offset);
            table.insert(
                geometry.sector_size,
                Entry {
                    number: planned.number,
                    offset: planned.offset,
                    size: planned.size,
                    gpt_kind: planned.role.gpt_kind(),
                    mbr_kind: planned.role.mbr_kind(),
                    guid: same.and_then(|kept| kept.guid).unwrap_or_else(&mut *guid),
                    is_active: planned.is_active,
                },
            )?;
        }
        Ok(table)
    }

    /// A table without partitions for a whole disk. `identity` becomes the disk's; a master
    /// boot record takes its first four bytes.
    ///
    /// # Errors
    /// The disk is too small for a table.
    pub fn empty(label: DiskLabel, geometry: Geometry, identity: Guid) -> Result<Self, TableError> {
        Ok(match label {
            DiskLabel::Gpt => {
                let record = Mbr::protective(geometry);
                Self::Gpt(Gpt::new(geometry, identity)?, record)
            }
            DiskLabel::Msdos => Self::Mbr(Mbr::new(geometry, identity.identifier())),
        })
    }

    /// Puts a partition into the entry of its number, whatever was there.
    ///
    /// # Errors
    /// There is no such entry, or the partition lies outside of what the table can name.
    pub fn insert(&mut self, sector_size: u32, entry: Entry) -> Result<(), TableError> {
        let sector = u64::from(sector_size);
        let (number, first) = (entry.number, entry.offset / sector);
        match self {
            Self::Gpt(table, _) => table.insert(GptPartition {
                number,
                kind: entry.gpt_kind,
                guid: entry.guid,
                first,
                last: (entry.offset.saturating_add(entry.size) / sector).saturating_sub(1),
            })?,
            Self::Mbr(record) => record.insert(MbrPartition {
                number,
                kind: entry.mbr_kind,
                first,
                sectors: entry.size / sector,
                is_active: entry.is_active,
            })?,
        }
        Ok(())
    }

    /// The identity of a partition as Linux calls it, `PARTUUID`.
    #[must_use]
    pub fn partuuid(&self, partition: Partition) -> String {
        match (self, partition.guid) {
            (Self::Mbr(record), _) => {
                format!("{:08x}-{:02x}", record.identifier(), partition.number)
            }
            (Self::Gpt(..), guid) => guid.unwrap_or(Guid([0; 16])).to_string(),
        }
    }

    /// Reads the table of a disk: the one that counts for Linux. `None`: it has none.
    ///
    /// # Errors
    /// What says that there is one and what is there contradict each other.
    pub fn read(disk: &mut dyn Disk) -> Result<Option<Self>, TableError> {
        let geometry = disk.geometry();
        match decide(disk, geometry)? {
            Decision::Gpt { table, record, .. } => Ok(Some(Self::Gpt(table, record))),
            Decision::Mbr(record) => Ok(Some(Self::Mbr(record))),
            Decision::Repairable { flaw, .. } => Err(TableError::DoesNotCount(flaw)),
            Decision::Nothing(absence) if absence.is_contradiction() => {
                Err(TableError::Absent(absence))
            }
            Decision::Nothing(_) => Ok(None),
        }
    }

    /// The logical partitions of a master boot record, from number 5 on; a GPT has none. They
    /// end where the disk ends.
    ///
    /// # Errors
    /// What the disk said.
    pub fn logical(&self, disk: &mut dyn Disk) -> Result<Vec<Partition>, DiskError> {
        let Self::Mbr(record) = self else {
            return Ok(Vec::new());
        };
        let geometry = disk.geometry();
        let found = Logical::read(disk, record)?.partitions.into_iter();
        let inside = found.filter(|found| found.first < geometry.sectors());
        let clipped = inside.map(|found| {
            let end = found.end().min(geometry.sectors());
            let sectors = end - found.first;
            partition_of(&MbrPartition { sectors, ..found }, geometry.sector())
        });
        Ok(clipped.collect())
    }

    /// Refuses a table whose partitions contradict the disk or each other.
    ///
    /// # Errors
    /// The first contradiction within, or what the source said.
    pub fn check<S: Source + ?Sized>(
        &self,
        source: &mut S,
        geometry: Geometry,
    ) -> Result<Result<(), TableError>, S::Error> {
        let record = match self {
            Self::Gpt(table, _) => return Ok(table.check_fit().map_err(TableError::from)),
            Self::Mbr(record) => record,
        };
        if let Err(error) = record.check() {
            return Ok(Err(error.into()));
        }
        let logical = Logical::read(source, record)?;
        Ok(logical.check(geometry).map_err(TableError::from))
    }

    /// Whether there are partitions that partitioning tools show.
    #[must_use]
    pub fn has_partitions(&self) -> bool {
        match self {
            Self::Gpt(table, _) => table.partitions().next().is_some(),
            Self::Mbr(record) => record.partitions().any(|entry| entry.has_type()),
        }
    }

    /// The partitions in the order of their numbers, without those of [`Table::logical`].
    #[must_use]
    pub fn partitions(&self, sector_size: u32) -> Vec<Partition> {
        let sector = u64::from(sector_size);
        match self {
            Self::Gpt(table, _) => table
                .partitions()
                .map(|partition| Partition {
                    number: partition.number,
                    offset: partition.first.saturating_mul(sector),
                    size: (partition.last.saturating_sub(partition.first))
                        .saturating_add(1)
                        .saturating_mul(sector),
                    is_efi_system: partition.kind == EFI_SYSTEM,
                    guid: Some(partition.guid),
                })
                .collect(),
            Self::Mbr(record) => record
                .partitions()
                .map(|partition| partition_of(&partition, sector))
                .collect(),
        }
    }

    /// Makes the table that of the whole disk. Answers whether that changed anything; a
    /// master boot record needs no change.
    ///
    /// # Errors
    /// A partition lies outside of the disk.
    pub fn fit(&mut self) -> Result<bool, TableError> {
        match self {
            Self::Gpt(table, record) => {
                let is_changed = table.fit()?;
                if is_changed {
                    record.protect();
                }
                Ok(is_changed)
            }
            Self::Mbr(_) => Ok(false),
        }
    }

    /// Adds a partition at the end: of `wanted` bytes if they are free there, else of what is
    /// free if that is at least `needed`. `guid` becomes its identity in a GPT.
    ///
    /// # Errors
    /// No room, or no entry.
    pub fn add_last(
        &mut self,
        sector_size: u32,
        wanted: u64,
        needed: u64,
        guid: Guid,
    ) -> Result<Partition, TableError> {
        let number = match self {
            Self::Gpt(table, _) => table.add_last(wanted, needed, guid)?.number,
            Self::Mbr(record) => record.add_last(wanted, needed)?.number,
        };
        self.partitions(sector_size)
            .into_iter()
            .find(|partition| partition.number == number)
            .ok_or(TableError::Gpt(GptError::Full(number)))
    }

    /// Writes the table.
    ///
    /// # Errors
    /// What the disk said.
    pub fn write(&self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        match self {
            Self::Gpt(table, record) => {
                for copy in table.copies() {
                    for (offset, bytes) in copy {
                        disk.write_at(offset, &bytes)?;
                    }
                    // One copy is whole at any time, also if the power goes.
                    disk.sync()?;
                }
                disk.write_at(0, record.bytes())
            }
            Self::Mbr(record) => disk.write_at(0, record.bytes()),
        }
    }
}

/// A partition of a master boot record, in bytes.
fn partition_of(partition: &MbrPartition, sector: u64) -> Partition {
    Partition {
        number: partition.number,
        offset: partition.first.saturating_mul(sector),
        size: partition.sectors.saturating_mul(sector),
        is_efi_system: partition.kind == MBR_EFI_SYSTEM,
        guid: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::partition::layout::{Role, Wish};
    use crate::machine::BootMode;
    use crate::system::Disks;
    use crate::system::disk::LinuxDisks;

    const MIB: u64 = 1 << 20;

    fn wish(boot_mode: BootMode, label: DiskLabel) -> Wish {
        Wish {
            boot_mode,
            label,
            is_power: false,
            efi_system: 4,
            bios_boot: 1,
            ephemeral: 3,
            swap: 2,
            config_drive: 1,
            root: 8,
        }
    }

    fn disk(size: u64) -> (tempfile::NamedTempFile, Box<dyn Disk>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(size).unwrap();
        let disk = LinuxDisks.open(file.path()).unwrap();
        (file, disk)
    }

    /// Identities that count up.
    fn counting(mut from: u8) -> impl FnMut() -> Guid {
        move || {
            from += 1;
            Guid([from; 16])
        }
    }

    #[test]
    fn another_library_reads_a_new_gpt() {
        for sector_size in [512_u32, 4096] {
            let (file, mut disk) = disk(32 * MIB);
            let geometry = Geometry {
                size: 32 * MIB,
                sector_size,
            };
            let layout = wish(BootMode::Uefi, DiskLabel::Gpt)
                .layout(geometry)
                .unwrap();
            let table = Table::new(&layout, geometry, None, &mut counting(0)).unwrap();
            table.write(disk.as_mut()).unwrap();
            let sector = u64::from(sector_size);
            let other = gptman::GPT::read_from(&mut file.reopen().unwrap(), sector).unwrap();
            assert_eq!(other.header.disk_guid, [1; 16]);
            assert_eq!(other.iter().filter(|(_, entry)| entry.is_used()).count(), 5);
            for (planned, identity) in layout.partitions.iter().zip(2..) {
                let entry = &other[planned.number];
                assert_eq!(entry.starting_lba * sector, planned.offset);
                assert_eq!(entry.size().unwrap() * sector, planned.size);
                assert_eq!(entry.unique_partition_guid, [identity; 16]);
                assert_eq!(entry.partition_type_guid, planned.role.gpt_kind().0);
            }
            let mut record = [0; 512];
            disk.read_at(0, &mut record).unwrap();
            let sectors = u32::try_from(32 * MIB / sector - 1).unwrap();
            assert_eq!(record[446..454], [0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff]);
            assert_eq!(record[454..458], [1, 0, 0, 0]);
            assert_eq!(record[458..462], sectors.to_le_bytes());
        }
    }

    #[test]
    fn another_library_reads_a_new_master_boot_record() {
        let (file, mut disk) = disk(32 * MIB);
        let layout = wish(BootMode::Bios, DiskLabel::Msdos)
            .layout(disk.geometry())
            .unwrap();
        let table = Table::new(&layout, disk.geometry(), None, &mut counting(0x11)).unwrap();
        table.write(disk.as_mut()).unwrap();
        let other = mbrman::MBRHeader::read_from(&mut file.reopen().unwrap()).unwrap();
        assert_eq!(other.disk_signature, [0x12; 4]);
        let kinds: Vec<_> = other.iter().map(|(_, entry)| entry.sys).collect();
        assert_eq!(kinds, [0x83, 0x82, 0x83, 0x83]);
        let active: Vec<_> = other.iter().map(|(_, entry)| entry.is_active()).collect();
        assert_eq!(active, [false, false, false, true]);
        assert_eq!(other[4].starting_lba, 7 * 2048);
        let read = Table::read(disk.as_mut()).unwrap().unwrap();
        let root = read.partitions(512)[3];
        assert_eq!(read.partuuid(root), "12121212-04");
    }

    #[test]
    fn what_is_kept_keeps_its_identity() {
        for (boot_mode, label) in [
            (BootMode::Uefi, DiskLabel::Gpt),
            (BootMode::Bios, DiskLabel::Msdos),
        ] {
            let geometry = Geometry {
                size: 32 * MIB,
                sector_size: 512,
            };
            let old = wish(boot_mode, label).layout(geometry).unwrap();
            let old = Table::new(&old, geometry, None, &mut counting(0)).unwrap();
            // The next deployment has another swap and no config drive.
            let next = Wish {
                swap: 3,
                config_drive: 0,
                ..wish(boot_mode, label)
            };
            let next = next.layout(geometry).unwrap();
            let kept = next.kept(Some(&old), 512).unwrap().unwrap();
            let table =
                Table::new(&next, geometry, Some((&old, kept)), &mut counting(100)).unwrap();
            let ephemeral = next.find(Role::Ephemeral).unwrap();
            let partitions = table.partitions(512);
            let same = partitions[ephemeral.number as usize - 1];
            assert_eq!(same, kept);
            assert_eq!(old.partuuid(kept), table.partuuid(same));
            // A table of the other kind, none, or another size: not the same partition.
            assert!(next.kept(None, 512).is_err());
            let larger = Wish {
                ephemeral: 4,
                ..wish(boot_mode, label)
            };
            let larger = larger.layout(geometry).unwrap();
            assert!(larger.kept(Some(&old), 512).is_err());
        }
    }

    /// Images made by `dd` over an older disk are like that: firmware and Linux go by the record.
    #[test]
    fn what_is_left_of_an_older_gpt_does_not_count() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(8 << 20).unwrap();
        let mut cursor = std::io::Cursor::new(vec![0; 8 << 20]);
        let mut old = gptman::GPT::new_from(&mut cursor, 512, [7; 16]).unwrap();
        gptman::GPT::write_protective_mbr_into(&mut cursor, 512).unwrap();
        old.write_into(&mut cursor).unwrap();
        let mut bytes = cursor.into_inner();
        for (kind, is_gpt) in [(0xee, true), (0x83, false)] {
            bytes[450] = kind;
            std::fs::write(file.path(), &bytes).unwrap();
            let mut disk = LinuxDisks.open(file.path()).unwrap();
            let table = Table::read(disk.as_mut()).unwrap().unwrap();
            assert_eq!(matches!(table, Table::Gpt(..)), is_gpt, "{kind:x}");
        }
    }

    #[test]
    fn foreign_bytes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        crate::fuzz::run("table", |bytes| {
            std::fs::write(file.path(), bytes).unwrap();
            // A larger disk than the image, and one of the same size.
            for size in [128 << 10, bytes.len().next_multiple_of(512).max(512) as u64] {
                file.as_file().set_len(size).unwrap();
                let mut disk = LinuxDisks.open(file.path()).unwrap();
                let Ok(Some(mut table)) = Table::read(disk.as_mut()) else {
                    continue;
                };
                for partition in table.partitions(512) {
                    let _ = table.partuuid(partition);
                }
                for partition in table.logical(disk.as_mut()).unwrap() {
                    let (offset, size) = (partition.offset, partition.size);
                    assert!(offset.checked_add(size).is_some());
                    let _ = crate::disk::filesystem::identity::label(disk.as_mut(), offset, size);
                }
                let _ = table.fit();
                let _ = table.add_last(512, 4096, 512, Guid([5; 16]));
                let _ = table.write(disk.as_mut());
            }
        });
    }
}
