//! Software RAID as a node's configuration asks for it: checked, with the disks and the
//! partitions of every volume. Data in, data out; nothing here touches a disk.

mod config;
mod layout;

pub use config::{
    InvalidRaidConfig, RaidConfigProblem, RaidVolume, VolumeProblem, VolumeSize, read,
};
pub use layout::{
    PlannedArray, RaidLayout, RaidLayoutError, RaidPartition, Volumes, choose, lay_out,
};

#[cfg(test)]
mod tests;
