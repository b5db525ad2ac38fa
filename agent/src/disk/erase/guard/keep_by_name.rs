//! What becomes of software RAID arrays when an operator keeps some of them by name.

use std::collections::HashSet;

use serde_json::Value;

use crate::machine::block::StackedDevices;
use crate::machine::ironic_node::Node;
use crate::machine::raid::Array;

/// The name of the array that holds the EFI system partition of the others.
const ESP: &str = "esp";

/// What may happen to an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArrayDecision {
    /// Nothing at all.
    Keep,
    /// Its content may go; the array stays, since it shares disks with one that is kept.
    Wipe {
        /// The volume that is kept.
        because_of: String,
    },
    /// It may be taken apart.
    Delete,
}

/// The names of volumes in the node's `skip_block_devices`.
#[must_use]
pub fn volumes(node: &Node) -> HashSet<String> {
    let entries = node.skip_block_devices().and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.get("volume_name")?.as_str()?.to_owned()))
        .collect()
}

/// The decision of each array, in the order of the arrays, which does not matter otherwise.
#[must_use]
pub fn classify(arrays: &[Array], volumes: &HashSet<String>) -> Vec<ArrayDecision> {
    let name = |array: &Array| array.volume_name.clone();
    let kept: Vec<&Array> = arrays
        .iter()
        .filter(|array| name(array).is_some_and(|name| volumes.contains(&name)))
        .collect();
    arrays
        .iter()
        .map(|array| {
            if kept.iter().any(|kept| kept.name == array.name) {
                return ArrayDecision::Keep;
            }
            let shares = |kept: &&&Array| kept.disks.iter().any(|disk| array.disks.contains(disk));
            match kept.iter().find(shares) {
                None => ArrayDecision::Delete,
                // Firmware boots what is kept from there.
                Some(_) if name(array).as_deref() == Some(ESP) => ArrayDecision::Keep,
                Some(kept) => ArrayDecision::Wipe {
                    because_of: name(kept).unwrap_or_default(),
                },
            }
        })
        .collect()
}

/// Keeps the arrays that others lie on which are not deleted: they are the disks of these.
/// Answers whether a decision has changed.
pub fn keep_lower(
    arrays: &[Array],
    devices: &StackedDevices<'_>,
    decisions: &mut [ArrayDecision],
) -> bool {
    let mut lower: HashSet<&str> = HashSet::new();
    for (array, decision) in arrays.iter().zip(&*decisions) {
        if *decision == ArrayDecision::Delete {
            continue;
        }
        for name in array.members.iter().chain(&array.disks) {
            lower.insert(name);
            let below = devices.get(name).map(|device| devices.under(device));
            let below = below.into_iter().flatten();
            lower.extend(below.map(|device| device.name.as_str()));
        }
    }
    let mut is_changed = false;
    for (array, decision) in arrays.iter().zip(decisions) {
        if lower.contains(array.name.as_str()) && *decision != ArrayDecision::Keep {
            *decision = ArrayDecision::Keep;
            is_changed = true;
        }
    }
    is_changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(name: &str, volume: &str, disks: &[&str]) -> Array {
        Array {
            name: format!("/dev/{name}"),
            volume_name: (!volume.is_empty()).then(|| volume.to_owned()),
            disks: disks.iter().map(|disk| (*disk).to_owned()).collect(),
            ..Array::default()
        }
    }

    fn decisions(arrays: &[Array], volumes: &[&str]) -> Vec<ArrayDecision> {
        let volumes = volumes.iter().map(|name| (*name).to_owned()).collect();
        classify(arrays, &volumes)
    }

    fn wipe(because_of: &str) -> ArrayDecision {
        ArrayDecision::Wipe {
            because_of: because_of.to_owned(),
        }
    }

    #[test]
    fn what_shares_disks_with_a_kept_array_stays_an_array() {
        let pair = ["sda", "sdb"];
        let root_and_data = [array("md0", "root", &pair), array("md1", "data", &pair)];
        assert_eq!(
            decisions(&root_and_data, &["data"]),
            [wipe("data"), ArrayDecision::Keep]
        );
        assert_eq!(
            decisions(&root_and_data, &[]),
            [ArrayDecision::Delete, ArrayDecision::Delete]
        );
        let both = [array("md0", "data1", &pair), array("md1", "data2", &pair)];
        assert_eq!(
            decisions(&both, &["data1", "data2"]),
            [ArrayDecision::Keep, ArrayDecision::Keep]
        );
        let apart = [array("md0", "data", &pair), array("md1", "", &["sdc"])];
        assert_eq!(
            decisions(&apart, &["data"]),
            [ArrayDecision::Keep, ArrayDecision::Delete]
        );
        // An array without a name shares, too.
        let unnamed = [array("md0", "data", &pair), array("md1", "", &["sdb"])];
        assert_eq!(
            decisions(&unnamed, &["data"]),
            [ArrayDecision::Keep, wipe("data")]
        );
    }

    #[test]
    fn the_esp_of_a_kept_array_is_kept_in_any_order() {
        let pair = ["sda", "sdb"];
        let mut arrays = [
            (array("md0", "root", &pair), wipe("data")),
            (array("md1", "data", &pair), ArrayDecision::Keep),
            (array("md2", "esp", &pair), ArrayDecision::Keep),
        ];
        for _ in 0..3 {
            arrays.rotate_left(1);
            let (given, expected): (Vec<_>, Vec<_>) = arrays.iter().cloned().unzip();
            assert_eq!(decisions(&given, &["data"]), expected);
        }
        let elsewhere = [array("md0", "data", &pair), array("md1", "esp", &["sdc"])];
        assert_eq!(
            decisions(&elsewhere, &["data"]),
            [ArrayDecision::Keep, ArrayDecision::Delete]
        );
    }
}
