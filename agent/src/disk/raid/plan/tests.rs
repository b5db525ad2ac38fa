use std::collections::{BTreeMap, BTreeSet};

use ironic_ondisk::size::{GIB, MIB};
use serde_json::{Value, json};

use super::*;
use crate::machine::BootMode;
use crate::machine::block::BlockDevice;
use crate::machine::ironic_node::DiskLabel;

fn config(disks: Value) -> Value {
    let mut disks = disks;
    for disk in disks.as_array_mut().unwrap() {
        let disk = disk.as_object_mut().unwrap();
        disk.entry("controller").or_insert(json!("software"));
        disk.entry("raid_level").or_insert(json!("1"));
    }
    json!({"logical_disks": disks})
}

fn disks(sizes: &[u64]) -> Vec<BlockDevice> {
    ('a'..)
        .zip(sizes)
        .map(|(letter, size)| BlockDevice {
            name: format!("/dev/sd{letter}"),
            size: *size,
            ..BlockDevice::default()
        })
        .collect()
}

fn laid_out(
    disks_given: Value,
    disks: &[BlockDevice],
    boot_mode: BootMode,
    label: DiskLabel,
) -> Result<RaidLayout, RaidLayoutError> {
    let volumes = read(&config(disks_given), false).unwrap().unwrap();
    let placed = Volumes {
        chosen: &choose(&volumes, disks)?,
        volumes: &volumes,
        boot_mode,
        label,
    };
    lay_out(placed, disks, &BTreeSet::new())
}

#[test]
fn every_error_of_a_configuration_is_reported_at_once() {
    for (given, text) in [
        (json!({"logical_disks": []}), "contains no logical disks"),
        (json!({"logical_disks": null}), "contains no logical disks"),
        (
            config(json!([{"size_gb": 1}, {"size_gb": 1}, {"size_gb": 1}])),
            "one or two",
        ),
        (
            config(json!([{"size_gb": 1}, {"size_gb": 1, "controller": "x"}])),
            "for all",
        ),
        (
            config(json!([{"size_gb": 1, "raid_level": "0"}])),
            "first logical disk",
        ),
        (
            config(json!([{"size_gb": 1}, {"size_gb": 1, "raid_level": "42"}])),
            "raid_level",
        ),
        (
            config(json!([{"size_gb": "MAX"}, {"size_gb": "MAX"}])),
            "one logical disk may have size_gb",
        ),
        (config(json!([{}])), "[0]: size_gb must be"),
        (config(json!([{"size_gb": 0}])), "[0]: size_gb must be"),
        (
            config(json!([{"size_gb": 1, "volume_name": "a"}, {"size_gb": 1, "volume_name": "a"}])),
            "twice",
        ),
        (
            config(json!([{"size_gb": 1, "volume_name": "a b"}])),
            "volume_name must have",
        ),
        (
            config(
                json!([{"size_gb": 1, "is_root_volume": true}, {"size_gb": 1, "is_root_volume": true}]),
            ),
            "is_root_volume",
        ),
        (
            config(json!([{"size_gb": 1, "physical_disks": ["sda", "sdb"]}])),
            "physical_disks must",
        ),
        (
            config(json!([{"size_gb": 1, "physical_disks": [{"name": "/dev/sda"}]}])),
            "physical_disks must",
        ),
    ] {
        let error = read(&given, false).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
    let both = read(&config(json!([{"raid_level": "9"}])), false);
    let both = both.unwrap_err().to_string();
    assert!(both.contains("size_gb") && both.contains("; ") && both.contains("raid_level"));
    let unnamed = config(json!([{"size_gb": 1}]));
    assert!(
        read(&unnamed, true)
            .unwrap_err()
            .to_string()
            .contains("has no volume_name")
    );
    assert!(read(&unnamed, false).is_ok());
    for none in [
        json!(null),
        json!({}),
        json!({"logical_disks": [{"controller": "hba"}]}),
    ] {
        assert_eq!(read(&none, false), Ok(None));
    }
}

#[test]
fn disks_are_chosen_by_hints_or_all_are() {
    let disks = disks(&[100 * GIB, 100 * GIB, 40 * GIB, 60 * GIB]);
    let chosen = |given: Value| {
        let volumes = read(&config(given), false).unwrap().unwrap();
        choose(&volumes, &disks)
    };
    let hint = |text: &str| json!({"size": text});
    assert_eq!(
        chosen(json!([
            {"size_gb": 1, "physical_disks": [hint(">= 50"), hint(">= 50")]},
            {"size_gb": 1, "physical_disks": [{"name": "/dev/sdd"}, {"name": "/dev/sdc"}]}
        ])),
        Ok(vec![
            vec!["/dev/sda".into(), "/dev/sdb".into()],
            vec!["/dev/sdd".into(), "/dev/sdc".into()]
        ])
    );
    assert_eq!(chosen(json!([{"size_gb": 1}])).unwrap()[0].len(), 4);
    let pair = |first: Value, second: Value| {
        chosen(json!([{"size_gb": 1, "physical_disks": [first, second]}]))
            .unwrap_err()
            .to_string()
    };
    assert!(pair(hint(">= 500"), hint("1")).starts_with("No candidates for"));
    let same = json!({"name": "/dev/sda"});
    assert!(pair(same.clone(), same).starts_with("No candidates left"));
    for (level, hints, enough) in [
        ("5", 3, true),
        ("6", 4, true),
        ("5", 2, false),
        ("6", 3, false),
    ] {
        let hints: Vec<_> = (0..hints).map(|_| hint(">= 1")).collect();
        let found = chosen(json!([{"size_gb": 1},
            {"size_gb": 1, "raid_level": level, "physical_disks": hints}]));
        assert_eq!(found.is_ok(), enough, "{level}: {found:?}");
    }
}

#[test]
fn parts_follow_each_other_behind_what_firmware_needs() {
    use BootMode::{Bios, Uefi};
    use DiskLabel::{Gpt, Msdos};
    let pair = disks(&[100 * GIB, 100 * GIB]);
    let ten_and_rest = json!([{"size_gb": "10"}, {"size_gb": "MAX", "raid_level": "0"}]);
    for (mode, label, lead, end) in [
        (Bios, Msdos, MIB, 100 * GIB),
        (Bios, Gpt, 8 * MIB, 100 * GIB - MIB),
        (Uefi, Gpt, 551 * MIB, 100 * GIB - MIB),
    ] {
        let layout = laid_out(ten_and_rest.clone(), &pair, mode, label).unwrap();
        let first = RaidPartition {
            number: 1,
            offset: lead,
            size: 10 * GIB,
        };
        let second = RaidPartition {
            number: 2,
            offset: lead + 10 * GIB,
            size: end - lead - 10 * GIB,
        };
        let parts = vec![first, second];
        let expected = [("/dev/sda", parts.clone()), ("/dev/sdb", parts)];
        let expected: BTreeMap<_, _> = expected
            .into_iter()
            .map(|(name, parts)| (name.to_owned(), parts))
            .collect();
        assert_eq!(layout.disks, expected);
        let found: Vec<_> = layout
            .arrays
            .iter()
            .map(|array| (&*array.device, &*array.name, array.level, &array.members[1]))
            .collect();
        assert_eq!(
            found,
            [
                ("/dev/md0", "md0", "1", &("/dev/sdb".to_owned(), 1)),
                ("/dev/md1", "md1", "0", &("/dev/sdb".to_owned(), 2)),
            ]
        );
    }
    // What takes the rest is made last, and keeps its own place in the configuration.
    let layout = laid_out(
        json!([{"size_gb": "MAX"}, {"size_gb": 20, "raid_level": "1+0"}]),
        &pair,
        Bios,
        Msdos,
    )
    .unwrap();
    let order: Vec<_> = layout
        .arrays
        .iter()
        .map(|array| (array.index, array.level))
        .collect();
    assert_eq!(order, [(1, "10"), (0, "1")]);
    assert_eq!(layout.disks["/dev/sda"][1].offset, MIB + 20 * GIB);
    // Filled to the end: the last part is what is left.
    let full = laid_out(json!([{"size_gb": 40}, {"size_gb": 60}]), &pair, Uefi, Gpt).unwrap();
    let last = full.disks["/dev/sdb"][1];
    assert_eq!(last.offset + last.size, 100 * GIB - MIB);
    let more = laid_out(json!([{"size_gb": 40}, {"size_gb": 61}]), &pair, Bios, Gpt);
    assert!(more.unwrap_err().to_string().contains("need 101 GiB"));
}

/// What is laid out fits the table, for it is made when the old arrays are gone.
#[test]
fn no_part_is_beyond_what_its_table_can_name() {
    use crate::disk::partition::table::{PartitionEntry, PartitionTable};
    use crate::system::disk::Geometry;
    use DiskLabel::{Gpt, Msdos};
    use ironic_ondisk::partition_table::guid::Guid;
    use ironic_ondisk::partition_table::kinds::LINUX_RAID;
    const TIB: u64 = 1 << 40;
    let mut refused = 0;
    for size in [TIB, 2 * TIB, 2 * TIB + MIB, 3 * TIB, 5 * TIB, 20 * TIB] {
        for first in [100, 1500, 2047, 2048, 3000] {
            for (label, sector) in [(Msdos, 512), (Msdos, 4096), (Gpt, 512)] {
                let mut pair = disks(&[size, size]);
                for disk in &mut pair {
                    disk.logical_sectors = Some(sector);
                }
                let volumes = json!([{"size_gb": first}, {"size_gb": "MAX", "raid_level": "0"}]);
                let layout = match laid_out(volumes, &pair, BootMode::Bios, label) {
                    Ok(layout) => layout,
                    Err(RaidLayoutError::BeyondReach { needed, reach, .. }) => {
                        assert!(label == Msdos && needed >= reach);
                        refused += 1;
                        continue;
                    }
                    Err(RaidLayoutError::TooSmall { .. } | RaidLayoutError::NoRoom { .. }) => {
                        continue;
                    }
                    Err(other) => panic!("{other}"),
                };
                let geometry = Geometry {
                    size,
                    sector_size: sector,
                };
                let guid = Guid([7; 16]);
                let mut table = PartitionTable::empty(label, geometry, guid).unwrap();
                for part in &layout.disks["/dev/sda"] {
                    let entry = PartitionEntry {
                        number: part.number,
                        offset: part.offset,
                        size: part.size,
                        kind: LINUX_RAID,
                        guid,
                        is_active: false,
                    };
                    table.insert(sector, entry).unwrap();
                }
            }
        }
    }
    assert!(refused > 5, "{refused}");
}

#[test]
fn parts_have_their_own_numbers_on_every_disk() {
    let four = disks(&[100 * GIB; 4]);
    let named = |names: [&str; 2]| names.map(|name| json!({"name": format!("/dev/{name}")}));
    let members = |second: [&str; 2]| {
        let given = json!([
            {"size_gb": 10, "physical_disks": named(["sda", "sdb"])},
            {"size_gb": "MAX", "raid_level": "0", "physical_disks": named(second)}]);
        let layout = laid_out(given, &four, BootMode::Bios, DiskLabel::Gpt).unwrap();
        let second = layout.arrays[1].members.clone();
        second
            .into_iter()
            .map(|(disk, number)| format!("{disk}:{number}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(members(["sdc", "sdd"]), ["/dev/sdc:1", "/dev/sdd:1"]);
    assert_eq!(members(["sdb", "sdd"]), ["/dev/sdb:2", "/dev/sdd:1"]);
}

#[test]
fn numbers_of_other_arrays_are_not_used() {
    let pair = disks(&[100 * GIB, 100 * GIB]);
    let volumes = read(
        &config(json!([{"size_gb": 1, "volume_name": "root"}])),
        true,
    );
    let volumes = volumes.unwrap().unwrap();
    let chosen = choose(&volumes, &pair).unwrap();
    let with = |taken: BTreeSet<u32>| {
        let placed = Volumes {
            volumes: &volumes,
            chosen: &chosen,
            boot_mode: BootMode::Bios,
            label: DiskLabel::Gpt,
        };
        lay_out(placed, &pair, &taken)
    };
    let layout = with([0, 1].into()).unwrap();
    assert_eq!(
        (&*layout.arrays[0].device, &*layout.arrays[0].name),
        ("/dev/md2", "root")
    );
    let none_left = with((0..128).collect()).unwrap_err();
    assert_eq!(none_left, RaidLayoutError::NoNumber);
}
