//! Devices of the kernel's device mapper: which of them are disks. The identity of a map begins
//! with the name of the program that made it: `LVM-`, `CRYPT-`, `mpath-`.

use std::collections::BTreeSet;

use crate::machine::block::kernel_name::device_path;
use crate::machine::topology::Chain;
use crate::system::PathPrefix;

/// What a map is, where it is anything that systems are put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Map {
    /// One disk that is reached by several paths.
    Multipath,
    /// An array of a firmware's RAID.
    Raid,
    /// A partition of another map.
    Partition,
}

impl Map {
    /// Reads the identity; `None` for volumes, encrypted disks and the like.
    pub(super) fn of(identity: &str) -> Option<Self> {
        let (word, _) = identity.split_once('-')?;
        match word {
            "mpath" => Some(Self::Multipath),
            "DMRAID" => Some(Self::Raid),
            // kpartx: `part2-mpath-...`.
            _ if word.strip_prefix("part").is_some_and(is_number) => Some(Self::Partition),
            _ => None,
        }
    }

    /// What the kernel says of a device; `None` when it is not a map.
    pub(super) fn read(chain: &Chain<'_>) -> Option<Self> {
        Self::of(&chain.attribute("dm/uuid")?)
    }
}

/// The number of a partition of a map, by the partition's identity.
#[must_use]
pub fn partition_number(identity: &str) -> Option<u32> {
    let (word, _) = identity.split_once('-')?;
    word.strip_prefix("part")?.parse().ok()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The kernel's names of what a map lies on.
pub(super) fn below(root: &PathPrefix, kernel_name: &str) -> Vec<String> {
    root.names(format!("/sys/class/block/{kernel_name}/slaves"))
}

/// Device paths of all paths of multipath maps. They are not disks of their own: what is
/// written to one is written to the map, and a path that stands by answers with errors.
pub(super) fn paths(root: &PathPrefix) -> BTreeSet<String> {
    let names = root.names("/sys/class/block");
    let maps = names.iter().filter(|name| name.starts_with("dm-"));
    maps.filter(|name| {
        let identity = root.read_optional(format!("/sys/class/block/{name}/dm/uuid"));
        identity.and_then(|identity| Map::of(&identity)) == Some(Map::Multipath)
    })
    .flat_map(|name| below(root, name))
    .map(|name| device_path(&name))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_of_a_map_tells_what_it_is() {
        for (identity, map) in [
            (
                "mpath-360002ac0000000000000000c00012345",
                Some(Map::Multipath),
            ),
            ("DMRAID-isw_volume", Some(Map::Raid)),
            (
                "part1-mpath-360002ac0000000000000000c00012345",
                Some(Map::Partition),
            ),
            ("part12-DMRAID-isw_volume", Some(Map::Partition)),
            ("LVM-aYhUbnNHLGUsKWn2ZPnm3Z6Iv7yT1b0n", None),
            ("CRYPT-LUKS2-0123-luks", None),
            ("partition-x", None),
            ("mpath", None),
            ("", None),
        ] {
            assert_eq!(Map::of(identity), map, "{identity}");
        }
        assert_eq!(partition_number("part12-mpath-3600"), Some(12));
        assert_eq!(partition_number("mpath-3600"), None);
    }
}
