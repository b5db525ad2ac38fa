//! What is to be erased, and what may be.

use crate::disk::erase::guard::erasable::Erasable;
use crate::disk::erase::guard::firmware_arrays::StoppedArrays;
use crate::machine::block::BlockDevice;

/// Why what is left of an array is left alone.
pub const IDLE_MEMBER: &str =
    "it is a member of a RAID array that is not running; raid.delete_configuration removes it";
/// Why virtual media are left alone.
pub(super) const VIRTUAL_MEDIA: &str = "it is virtual media of Ironic";

/// What is to be erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Disks and arrays with all that is on them. A read-only one is a failure unless the
    /// node's options say otherwise.
    Disks,
    /// Partitions, too, each by itself, and content of arrays that share disks with an array
    /// that is kept is left alone.
    Everything,
    /// Disks and arrays, as [`Scope::Disks`], for what takes only some of them: a read-only one
    /// is left alone.
    Some,
}

/// The devices that may be erased, and why others may not.
#[derive(Debug, Default)]
pub struct Selection {
    /// What may be erased: names backwards, partitions directly before the disk that holds them.
    pub erasable: Vec<Erasable>,
    /// Devices that are left alone, each with the reason.
    pub left_alone: Vec<(String, String)>,
    /// Arrays whose disks may be erased, since their metadata is firmware's.
    pub firmware: StoppedArrays,
    /// All devices of the machine, partitions included.
    pub devices: Vec<BlockDevice>,
}

impl Selection {
    /// Whether a device is left alone because Ironic put it into the machine for a while.
    #[must_use]
    pub fn is_virtual_media(&self, name: &str) -> bool {
        let mut left = self.left_alone.iter();
        left.any(|(device, reason)| device == name && reason == VIRTUAL_MEDIA)
    }
}
