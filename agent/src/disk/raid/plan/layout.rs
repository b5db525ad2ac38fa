//! The disks of each volume, and the partitions on them.

use std::collections::{BTreeMap, BTreeSet};

use ironic_ondisk::partition_table::mbr;
use ironic_ondisk::size::{GIB, MIB};
use serde_json::Value;
use thiserror::Error;

use crate::disk::raid::plan::config::{LEVELS, RaidVolume, VolumeSize};
use crate::machine::BootMode;
use crate::machine::block::BlockDevice;
use crate::machine::block::hints::{self, InvalidHint};
use crate::machine::ironic_node::DiskLabel;

/// Arrays are numbered from 0 and below this.
const MAX_ARRAYS: u32 = 128;

/// Why volumes do not fit the disks.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RaidLayoutError {
    /// A hint for a disk is invalid.
    #[error(transparent)]
    Hint(#[from] InvalidHint),
    /// No disk fulfils a hint.
    #[error("No candidates for physical disk {hint}")]
    NoCandidates {
        /// The hint.
        hint: Value,
    },
    /// Every disk that fulfils a hint is taken by another one.
    #[error("No candidates left for physical disk {hint}")]
    NoCandidatesLeft {
        /// The hint.
        hint: Value,
    },
    /// A level needs more disks.
    #[error("RAID level {level} needs at least {fewest} disks, logical_disks[{index}] has {found}")]
    TooFewDisks {
        /// Ironic's word for the level.
        level: &'static str,
        /// How many it needs.
        fewest: usize,
        /// The volume.
        index: usize,
        /// How many it has.
        found: usize,
    },
    /// There are too many arrays.
    #[error("all {MAX_ARRAYS} array numbers are used")]
    NoNumber,
    /// A disk is smaller than what is asked of it.
    #[error("{disk} has {has} GiB, the logical disks need {needed} GiB of it")]
    TooSmall {
        /// The disk.
        disk: String,
        /// Its size in GiB.
        has: u64,
        /// What is asked of it.
        needed: u64,
    },
    /// A partition is beyond what the table can name.
    #[error(
        "a master boot record reaches {reach} MiB of {disk} and the partition for \
         logical_disks[{index}] would end at {needed} MiB: set the capability disk_label to gpt"
    )]
    BeyondReach {
        /// The disk.
        disk: String,
        /// The volume.
        index: usize,
        /// MiB to the end of the partition.
        needed: u64,
        /// MiB that can be named.
        reach: u64,
    },
    /// Nothing is left on a disk.
    #[error("{disk} has no room left for logical_disks[{index}]")]
    NoRoom {
        /// The disk.
        disk: String,
        /// The volume.
        index: usize,
    },
}

/// The disks of each volume, in the order of the volumes.
///
/// # Errors
/// An invalid hint, or one that no free disk fulfils; too few disks.
pub fn choose(
    volumes: &[RaidVolume],
    disks: &[BlockDevice],
) -> Result<Vec<Vec<String>>, RaidLayoutError> {
    let chosen = volumes.iter().map(|volume| {
        let mut taken: Vec<String> = Vec::new();
        for hint in &volume.hints {
            let found = hints::matching(disks, hint)?;
            if found.is_empty() {
                return Err(RaidLayoutError::NoCandidates { hint: hint.clone() });
            }
            let free = found.iter().find(|disk| !taken.contains(&disk.name));
            let free =
                free.ok_or_else(|| RaidLayoutError::NoCandidatesLeft { hint: hint.clone() })?;
            taken.push(free.name.clone());
        }
        if volume.hints.is_empty() {
            taken = disks.iter().map(|disk| disk.name.clone()).collect();
        }
        let level = LEVELS.iter().find(|(_, level, _)| *level == volume.level);
        match level {
            Some((word, _, fewest)) if taken.len() < *fewest => Err(RaidLayoutError::TooFewDisks {
                level: word,
                fewest: *fewest,
                index: volume.index,
                found: taken.len(),
            }),
            _ => Ok(taken),
        }
    });
    chosen.collect()
}

/// A partition to make on a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaidPartition {
    /// Its number, from 1.
    pub number: u32,
    /// Where it starts.
    pub offset: u64,
    /// How long it is.
    pub size: u64,
}

/// An array to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedArray {
    /// The place of its volume in the configuration.
    pub index: usize,
    /// Its device: `/dev/md0`.
    pub device: String,
    /// What it will be called.
    pub name: String,
    /// `mdadm`'s word for its level.
    pub level: &'static str,
    /// Disk and number of each of its partitions.
    pub members: Vec<(String, u32)>,
    /// Whether a system is to be put on it, if the operator says so.
    pub is_root: Option<bool>,
}

/// All that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaidLayout {
    /// The kind of the partition tables.
    pub label: DiskLabel,
    /// The partitions of each disk.
    pub disks: BTreeMap<String, Vec<RaidPartition>>,
    /// The arrays in the order in which they are made; the one that takes the rest is last.
    pub arrays: Vec<PlannedArray>,
}

/// Volumes with the disks that [`choose`] chose for them, and how the machine boots.
#[derive(Debug, Clone, Copy)]
pub struct Volumes<'a> {
    /// The volumes.
    pub volumes: &'a [RaidVolume],
    /// The disks of each.
    pub chosen: &'a [Vec<String>],
    /// How the deployed system boots.
    pub boot_mode: BootMode,
    /// The kind of the partition tables.
    pub label: DiskLabel,
}

/// Lays volumes out on disks. `taken` are the numbers of arrays that there are.
///
/// # Errors
/// A disk is too small or larger than its table can name, or there are too many arrays.
pub fn lay_out(
    volumes: Volumes<'_>,
    disks: &[BlockDevice],
    taken: &BTreeSet<u32>,
) -> Result<RaidLayout, RaidLayoutError> {
    let mut layout = RaidLayout {
        label: volumes.label,
        disks: BTreeMap::new(),
        arrays: Vec::new(),
    };
    let mut spaces = BTreeMap::new();
    let mut order: Vec<_> = volumes.volumes.iter().zip(volumes.chosen).collect();
    order.sort_by_key(|(volume, _)| volume.size == VolumeSize::Max);
    let mut numbers = (0..MAX_ARRAYS).filter(|number| !taken.contains(number));
    for (volume, names) in order {
        let number = numbers.next().ok_or(RaidLayoutError::NoNumber)?;
        let mut members = Vec::new();
        for name in names {
            let space = spaces
                .entry(name)
                .or_insert_with(|| DiskSpace::new(name, disks, &volumes));
            let partitions = layout.disks.entry(name.clone()).or_default();
            let (offset, size) = space.take(volume)?;
            let number = u32::try_from(partitions.len()).unwrap_or(u32::MAX);
            let number = number.saturating_add(1);
            partitions.push(RaidPartition {
                number,
                offset,
                size,
            });
            members.push((name.clone(), number));
        }
        layout.arrays.push(PlannedArray {
            index: volume.index,
            device: format!("/dev/md{number}"),
            name: volume.name.clone().unwrap_or_else(|| format!("md{number}")),
            level: volume.level,
            members,
            is_root: volume.is_root,
        });
    }
    Ok(layout)
}

/// What is left of a disk.
struct DiskSpace<'a> {
    name: &'a str,
    size: u64,
    /// Where the next partition starts.
    next: u64,
    /// Where the last one must end.
    end: u64,
    /// What the operator has asked for so far.
    asked: u64,
    /// Where the table can name nothing any more.
    reach: u64,
}

impl<'a> DiskSpace<'a> {
    fn new(name: &'a str, disks: &[BlockDevice], volumes: &Volumes<'_>) -> Self {
        let disk = disks.iter().find(|disk| disk.name == name);
        let size = disk.map_or(0, |disk| disk.size);
        let sector = disk.and_then(|disk| disk.logical_sectors).unwrap_or(512);
        let reach = match volumes.label {
            DiskLabel::Gpt => u64::MAX,
            DiskLabel::Msdos => mbr::REACH * u64::from(sector),
        };
        // Room for what firmware boots from.
        let lead = match (volumes.boot_mode, volumes.label) {
            (BootMode::Uefi, _) => 551 * MIB,
            (BootMode::Bios, DiskLabel::Gpt) => 8 * MIB,
            (BootMode::Bios, DiskLabel::Msdos) => MIB,
        };
        // A GPT keeps its backup in the last MiB.
        let backup = if volumes.label == DiskLabel::Gpt {
            MIB
        } else {
            0
        };
        Self {
            name,
            size,
            next: lead,
            end: size.saturating_sub(backup) / MIB * MIB,
            asked: 0,
            reach,
        }
    }

    /// Takes the partition of a volume: where it starts and how long it is.
    fn take(&mut self, volume: &RaidVolume) -> Result<(u64, u64), RaidLayoutError> {
        let left = self.end.saturating_sub(self.next);
        let size = match volume.size {
            VolumeSize::Max => left,
            VolumeSize::Gib(gib) => {
                let bytes = gib.saturating_mul(GIB);
                self.asked = self.asked.saturating_add(bytes);
                // The operator counts from the beginning of the disk: what comes first there may
                // make the last part smaller, and nothing else may.
                if self.asked > self.size {
                    return Err(RaidLayoutError::TooSmall {
                        disk: self.name.to_owned(),
                        has: self.size / GIB,
                        needed: self.asked / GIB,
                    });
                }
                bytes.min(left)
            }
        };
        if size < MIB {
            return Err(RaidLayoutError::NoRoom {
                disk: self.name.to_owned(),
                index: volume.index,
            });
        }
        let offset = self.next;
        let end = offset.saturating_add(size);
        if end > self.reach {
            return Err(RaidLayoutError::BeyondReach {
                disk: self.name.to_owned(),
                index: volume.index,
                needed: end / MIB,
                reach: self.reach / MIB,
            });
        }
        self.next += size;
        Ok((offset, size))
    }
}
