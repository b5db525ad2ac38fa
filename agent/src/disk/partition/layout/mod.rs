//! The partitions around the image of one partition: which, where, how large.
//!
//! In comes what Ironic asked for, out comes a list of extents; nothing here touches a disk.
//! The order is the Python agent's: what boots, ephemeral, swap, config drive, and the root
//! last, so that it can grow. All sizes are whole MiB and all partitions touch, as parted
//! makes them.

use ironic_ondisk::partition_table::guid::Guid;
use ironic_ondisk::partition_table::kinds::{self, PartitionKind};
use ironic_ondisk::partition_table::mbr;
use ironic_ondisk::size::MIB;
use thiserror::Error;

use crate::disk::partition::table::{Partition, PartitionEntry, PartitionTable, TableError};
use crate::machine::BootMode;
use crate::machine::ironic_node::DiskLabel;
use crate::system::disk::Geometry;

/// Where the first partition starts.
const FIRST: u64 = MIB;
/// What firmware of POWER machines loads a boot program from has this many MiB.
const PREP_MIB: u64 = 8;
/// A master boot record has so many primary partitions, and no others are made.
const MAX_PRIMARY_PARTITIONS: usize = 4;

/// What a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Where UEFI firmware looks for boot loaders.
    EfiSystem,
    /// Where GRUB keeps its core on a GPT that BIOS boots.
    BiosBoot,
    /// What POWER firmware boots.
    Prep,
    /// Space that may survive when the machine is deployed again.
    Ephemeral,
    /// Swap space.
    Swap,
    /// What tells the deployed system who it is.
    ConfigDrive,
    /// The image.
    Root,
}

impl Role {
    /// The name in the result of a deployment, as the Python agent answers it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EfiSystem => "efi system partition",
            Self::BiosBoot => "BIOS Boot partition",
            Self::Prep => "PReP Boot partition",
            Self::Ephemeral => "ephemeral",
            Self::Swap => "swap",
            Self::ConfigDrive => "configdrive",
            Self::Root => "root",
        }
    }

    /// The type of such a partition.
    #[must_use]
    pub fn kind(self) -> PartitionKind {
        match self {
            Self::EfiSystem => kinds::EFI_SYSTEM,
            Self::BiosBoot => kinds::BIOS_BOOT,
            Self::Prep => kinds::PREP,
            Self::Swap => kinds::SWAP,
            Self::Ephemeral | Self::ConfigDrive | Self::Root => kinds::LINUX,
        }
    }
}

/// What is asked for. Sizes are MiB; a size of 0 asks for nothing, but for the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayoutRequest {
    /// How the deployed system boots.
    pub boot_mode: BootMode,
    /// The kind of table.
    pub label: DiskLabel,
    /// Whether the machine is a POWER machine (`cpu_arch` begins with `ppc64`).
    pub is_power: bool,
    /// Size of an EFI system partition.
    pub efi_system: u64,
    /// Size of a BIOS boot partition.
    pub bios_boot: u64,
    /// Size of the ephemeral partition.
    pub ephemeral: u64,
    /// Size of the swap space.
    pub swap: u64,
    /// Size of the config drive.
    pub config_drive: u64,
    /// Size of the root partition.
    pub root: u64,
}

/// A partition to make. Offsets and sizes are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedPartition {
    /// Its number, from 1.
    pub number: u32,
    /// What it is for.
    pub role: Role,
    /// Where it starts.
    pub offset: u64,
    /// How long it is.
    pub size: u64,
    /// Whether BIOS starts from it: the active partition of a master boot record.
    pub is_active: bool,
}

/// All partitions of a disk, in the order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionLayout {
    /// The kind of table.
    pub label: DiskLabel,
    /// The partitions; the root is the last.
    pub partitions: Vec<PlannedPartition>,
}

/// Why there is no such layout.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// No root.
    #[error("the root partition has no size: give image_info.root_mb")]
    NoRoot,
    /// The disk is too small.
    #[error(
        "the partitions need {needed} MiB and the disk has room for {available} MiB: ask for \
         smaller ones ({parts}), or choose a larger disk with root device hints"
    )]
    TooLarge {
        /// MiB from the beginning of the disk to the end of the last partition.
        needed: u64,
        /// MiB that a partition may end at.
        available: u64,
        /// The partitions with their sizes in MiB.
        parts: String,
    },
    /// Beyond what the table can name.
    #[error(
        "a master boot record reaches {reach} MiB of this disk and the partitions end at \
         {needed} MiB: set the capability disk_label to gpt"
    )]
    BeyondReach {
        /// MiB to the end of the last partition.
        needed: u64,
        /// MiB that can be named.
        reach: u64,
    },
    /// More than a master boot record has.
    #[error(
        "{0} partitions are needed and a master boot record has 4: set the capability disk_label \
         to gpt, or do without swap, ephemeral or config drive"
    )]
    TooMany(usize),
    /// What is to be kept is not there.
    #[error(
        "the ephemeral partition is to be preserved (image_info.preserve_ephemeral), and the disk \
         has no partition of {size} MiB at {offset} MiB in a {label} partition table"
    )]
    NothingToKeep {
        /// MiB from the beginning of the disk.
        offset: u64,
        /// MiB.
        size: u64,
        /// The table that was looked for.
        label: &'static str,
    },
}

impl LayoutRequest {
    /// Lays the partitions out on a disk.
    ///
    /// # Errors
    /// They do not fit.
    pub fn layout(&self, geometry: Geometry) -> Result<PartitionLayout, LayoutError> {
        if self.root == 0 {
            return Err(LayoutError::NoRoot);
        }
        let is_bios = self.boot_mode == BootMode::Bios;
        let is_gpt = self.label == DiskLabel::Gpt;
        let if_wanted = |wanted: bool, size: u64| if wanted { size } else { 0 };
        let wanted = [
            (Role::EfiSystem, if_wanted(!is_bios, self.efi_system)),
            (
                Role::BiosBoot,
                if_wanted(is_bios && is_gpt && !self.is_power, self.bios_boot),
            ),
            (Role::Prep, if_wanted(is_bios && self.is_power, PREP_MIB)),
            (Role::Ephemeral, self.ephemeral),
            (Role::Swap, self.swap),
            (Role::ConfigDrive, self.config_drive),
            (Role::Root, self.root),
        ];
        let wanted: Vec<_> = wanted.into_iter().filter(|(_, size)| *size > 0).collect();
        if !is_gpt && wanted.len() > MAX_PRIMARY_PARTITIONS {
            return Err(LayoutError::TooMany(wanted.len()));
        }
        // Untrusted numbers: saturated, they do not fit any disk.
        let mut end = FIRST;
        let mut partitions = Vec::new();
        for (number, (role, size)) in (1..).zip(&wanted) {
            let size = size.saturating_mul(MIB);
            let is_boot = match role {
                Role::Prep => true,
                Role::Root => is_bios && !self.is_power,
                _ => false,
            };
            partitions.push(PlannedPartition {
                number,
                role: *role,
                offset: end,
                size,
                is_active: is_boot && !is_gpt,
            });
            end = end.saturating_add(size);
        }
        let layout = PartitionLayout {
            label: self.label,
            partitions,
        };
        layout.fitted(geometry, end)
    }
}

impl PartitionLayout {
    /// The last partition may lose less than a MiB, which the table's backup takes from a
    /// disk that was filled to its end.
    fn fitted(mut self, geometry: Geometry, end: u64) -> Result<Self, LayoutError> {
        let sector = u64::from(geometry.sector_size);
        let usable = match self.label {
            // The backup: one sector for the header, 16 KiB for the entries.
            DiskLabel::Gpt => geometry.size.saturating_sub(sector + (16 << 10)),
            DiskLabel::Msdos => geometry.size,
        } / sector
            * sector;
        if end.saturating_sub(usable) >= MIB {
            let sizes = self.partitions.iter();
            let parts: Vec<_> = sizes
                .map(|part| format!("{} {}", part.role.name(), part.size / MIB))
                .collect();
            return Err(LayoutError::TooLarge {
                needed: end / MIB,
                available: usable / MIB,
                parts: parts.join(", "),
            });
        }
        let reach = mbr::REACH.saturating_mul(sector);
        if self.label == DiskLabel::Msdos && end > reach {
            return Err(LayoutError::BeyondReach {
                needed: end / MIB,
                reach: reach / MIB,
            });
        }
        if let Some(last) = self.partitions.last_mut() {
            last.size = last.size.min(usable.saturating_sub(last.offset));
        }
        Ok(self)
    }

    /// The table of this layout. `kept` is the table that the disk has when one of its partitions
    /// survives, and that partition; their identities stay. New ones come from `guid`.
    ///
    /// # Errors
    /// The layout is not one for this disk.
    pub fn table(
        &self,
        geometry: Geometry,
        kept: Option<(&PartitionTable, Partition)>,
        guid: &mut dyn FnMut() -> Guid,
    ) -> Result<PartitionTable, TableError> {
        let (existing, kept) = kept.unzip();
        let identity = existing.map_or_else(&mut *guid, PartitionTable::identity);
        let mut table = PartitionTable::empty(self.label, geometry, identity)?;
        for planned in &self.partitions {
            let same = kept.filter(|kept| kept.offset == planned.offset);
            table.insert(
                geometry.sector_size,
                PartitionEntry {
                    number: planned.number,
                    offset: planned.offset,
                    size: planned.size,
                    kind: planned.role.kind(),
                    guid: same.and_then(|kept| kept.guid).unwrap_or_else(&mut *guid),
                    is_active: planned.is_active,
                },
            )?;
        }
        Ok(table)
    }

    /// The partition of a role.
    #[must_use]
    pub fn find(&self, role: Role) -> Option<PlannedPartition> {
        let mut partitions = self.partitions.iter();
        partitions.find(|planned| planned.role == role).copied()
    }

    /// What the existing table of a disk says about the ephemeral partition of this layout,
    /// which is to survive. `None`: this layout has none.
    ///
    /// # Errors
    /// It is not where it would be: writing the others would destroy it.
    pub fn kept(
        &self,
        existing: Option<&PartitionTable>,
        sector_size: u32,
    ) -> Result<Option<Partition>, LayoutError> {
        let Some(planned) = self.find(Role::Ephemeral) else {
            return Ok(None);
        };
        let is_same_kind = matches!(
            (self.label, existing),
            (DiskLabel::Gpt, Some(PartitionTable::Gpt(..)))
                | (DiskLabel::Msdos, Some(PartitionTable::Mbr(_)))
        );
        existing
            .filter(|_| is_same_kind)
            .and_then(|table| {
                let partitions = table.partitions(sector_size);
                let mut partitions = partitions.into_iter();
                partitions.find(|old| (old.offset, old.size) == (planned.offset, planned.size))
            })
            .map(Some)
            .ok_or(LayoutError::NothingToKeep {
                offset: planned.offset / MIB,
                size: planned.size / MIB,
                label: match self.label {
                    DiskLabel::Gpt => "gpt",
                    DiskLabel::Msdos => "msdos",
                },
            })
    }

    /// Takes over the size of an existing root partition that starts where this one does and
    /// is larger: the deployed system has let it grow, and may keep what it has.
    #[must_use]
    pub fn grown(mut self, existing: &PartitionTable, sector_size: u32) -> Self {
        if let Some(root) = self.partitions.last_mut() {
            let old = existing.partitions(sector_size);
            let same = old.iter().find(|old| old.offset == root.offset);
            root.size = same.map_or(root.size, |old| root.size.max(old.size));
        }
        self
    }
}

#[cfg(test)]
mod tests;
