//! Software RAID as a node's configuration asks for it: checked, with the disks and the
//! partitions of every volume. Data in, data out; nothing here touches a disk.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::machine::BootMode;
use crate::machine::block::BlockDevice;
use crate::machine::block::hints;
use crate::machine::ironic_node::DiskLabel;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Arrays are numbered from 0 and below this.
const MOST_ARRAYS: u32 = 128;
/// The superblock has so much room for a name.
const LONGEST_NAME: usize = 32;

/// The size of a volume's part on each disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// GiB.
    Gib(u64),
    /// What is left.
    Max,
}

/// One logical disk of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// Its place in the configuration.
    pub index: usize,
    /// Its name, if the operator gave one.
    pub name: Option<String>,
    /// Its size.
    pub size: Size,
    /// `mdadm`'s word for its level.
    pub level: &'static str,
    /// Hints, one for each of its disks; empty: all disks.
    pub hints: Vec<Value>,
    /// Whether a system is to be put on it, if the operator says so.
    pub is_root: Option<bool>,
}

/// Levels: Ironic's word, `mdadm`'s word, the fewest disks.
const LEVELS: [(&str, &str, usize); 5] = [
    ("0", "0", 1),
    ("1", "1", 2),
    ("1+0", "10", 2),
    ("5", "5", 3),
    ("6", "6", 4),
];

/// Reads a configuration. `None`: it asks for no software RAID. `needs_names` says that the
/// node's skip list keeps volumes by their names.
///
/// # Errors
/// Everything that is wrong with it, joined by semicolons.
pub fn read(config: &Value, needs_names: bool) -> Result<Option<Vec<Volume>>, String> {
    let disks = match config.get("logical_disks") {
        None if is_empty(config) => return Ok(None),
        Some(Value::Array(disks)) if !disks.is_empty() => disks,
        _ => return Err("RAID config contains no logical disks".to_owned()),
    };
    let is_software = |disk: &&Value| disk.get("controller").is_some_and(|c| c == "software");
    if !disks.iter().any(|disk| is_software(&disk)) {
        return Ok(None);
    }
    let mut wrong = Vec::new();
    if disks.len() > 2 {
        wrong.push("Software RAID configuration requires one or two logical disks".to_owned());
    }
    if !disks.iter().all(|disk| is_software(&disk)) {
        wrong.push(
            "Software RAID configuration requires controller=software for all logical disks"
                .to_owned(),
        );
    }
    let roots = disks
        .iter()
        .filter(|disk| disk.get("is_root_volume") == Some(&Value::Bool(true)));
    if roots.count() > 1 {
        wrong.push("only one logical disk may have is_root_volume".to_owned());
    }
    let mut names = BTreeSet::new();
    let mut volumes = Vec::new();
    for (index, disk) in disks.iter().enumerate() {
        let which = format!("logical_disks[{index}]");
        match volume(index, disk, &which) {
            Ok(volume) => {
                match &volume.name {
                    Some(name) if !names.insert(name.clone()) => {
                        wrong.push(format!("{which}: volume_name '{name}' is used twice"));
                    }
                    None if needs_names => wrong.push(format!(
                        "{which} has no volume_name, and skip_block_devices keeps volumes by name"
                    )),
                    _ => {}
                }
                volumes.push(volume);
            }
            Err(reasons) => wrong.extend(reasons),
        }
    }
    if let Some(first) = volumes.first()
        && first.index == 0
        && first.level != "1"
    {
        wrong.push(
            "the first logical disk must have raid_level 1: machines boot from it".to_owned(),
        );
    }
    if volumes
        .iter()
        .filter(|volume| volume.size == Size::Max)
        .count()
        > 1
    {
        wrong.push("only one logical disk may have size_gb MAX".to_owned());
    }
    if wrong.is_empty() {
        Ok(Some(volumes))
    } else {
        Err(wrong.join("; "))
    }
}

fn is_empty(config: &Value) -> bool {
    match config {
        Value::Null => true,
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

fn volume(index: usize, disk: &Value, which: &str) -> Result<Volume, Vec<String>> {
    let mut wrong = Vec::new();
    let given = |key: &str| disk.get(key).filter(|value| !value.is_null());
    let size = match given("size_gb") {
        Some(Value::String(text)) if text == "MAX" => Some(Size::Max),
        Some(Value::String(text)) => text.trim().parse().ok().map(Size::Gib),
        Some(value) => value.as_u64().map(Size::Gib),
        None => None,
    }
    .filter(|size| *size != Size::Gib(0));
    if size.is_none() {
        wrong.push(format!("{which}: size_gb must be a number of GiB or MAX"));
    }
    let level = given("raid_level")
        .and_then(Value::as_str)
        .and_then(|word| LEVELS.iter().find(|(known, ..)| *known == word));
    if level.is_none() {
        wrong.push(format!("{which}: raid_level must be 0, 1, 1+0, 5 or 6"));
    }
    let name = match given("volume_name") {
        None => None,
        Some(Value::String(name)) if is_name(name) => Some(name.clone()),
        Some(other) => {
            wrong.push(format!(
                "{which}: volume_name must have up to {LONGEST_NAME} letters, digits, '.', '_' and \
                 '-', the last not in front, not {other}"
            ));
            None
        }
    };
    let hints = match given("physical_disks") {
        None => Vec::new(),
        Some(Value::Array(hints)) if hints.len() >= 2 && hints.iter().all(Value::is_object) => {
            hints.clone()
        }
        Some(other) => {
            wrong.push(format!(
                "{which}: physical_disks must be a list of at least two hints, not {other}"
            ));
            Vec::new()
        }
    };
    match (size, level) {
        (Some(size), Some((_, level, _))) if wrong.is_empty() => Ok(Volume {
            index,
            name,
            size,
            level,
            hints,
            is_root: disk.get("is_root_volume").and_then(Value::as_bool),
        }),
        _ => Err(wrong),
    }
}

/// What every version of `mdadm` takes.
fn is_name(name: &str) -> bool {
    let is_portable = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name.chars().all(is_portable)
        && !name.starts_with('-')
}

/// The disks of each volume, in the order of the volumes.
///
/// # Errors
/// A hint that is none, or that no free disk fulfils; too few disks.
pub fn choose(volumes: &[Volume], disks: &[BlockDevice]) -> Result<Vec<Vec<String>>, String> {
    let chosen = volumes.iter().map(|volume| {
        let mut taken: Vec<String> = Vec::new();
        for hint in &volume.hints {
            let found = hints::matching(disks, hint).map_err(|error| error.to_string())?;
            if found.is_empty() {
                return Err(format!("No candidates for physical disk {hint}"));
            }
            let free = found.iter().find(|disk| !taken.contains(&disk.name));
            let free =
                free.ok_or_else(|| format!("No candidates left for physical disk {hint}"))?;
            taken.push(free.name.clone());
        }
        if volume.hints.is_empty() {
            taken = disks.iter().map(|disk| disk.name.clone()).collect();
        }
        let level = LEVELS.iter().find(|(_, level, _)| *level == volume.level);
        match level {
            Some((word, _, fewest)) if taken.len() < *fewest => Err(format!(
                "RAID level {word} needs at least {fewest} disks, logical_disks[{}] has {}",
                volume.index,
                taken.len()
            )),
            _ => Ok(taken),
        }
    });
    chosen.collect()
}

/// A partition to make on a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its number, from 1.
    pub number: u32,
    /// Where it starts.
    pub offset: u64,
    /// How long it is.
    pub size: u64,
}

/// An array to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
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
pub struct Layout {
    /// The kind of the partition tables.
    pub label: DiskLabel,
    /// The partitions of each disk.
    pub disks: BTreeMap<String, Vec<Part>>,
    /// The arrays in the order in which they are made; the one that takes the rest is last.
    pub arrays: Vec<Planned>,
}

/// Lays out what [`choose`] chose. `taken` are the numbers of arrays that there are.
///
/// # Errors
/// A disk is too small, or there are too many arrays.
pub fn lay_out(
    volumes: &[Volume],
    chosen: &[Vec<String>],
    disks: &[BlockDevice],
    (boot_mode, label): (BootMode, DiskLabel),
    taken: &BTreeSet<u32>,
) -> Result<Layout, String> {
    // Room for what firmware boots from.
    let lead = match (boot_mode, label) {
        (BootMode::Uefi, _) => 551 * MIB,
        (BootMode::Bios, DiskLabel::Gpt) => 8 * MIB,
        (BootMode::Bios, DiskLabel::Msdos) => MIB,
    };
    let mut layout = Layout {
        label,
        disks: BTreeMap::new(),
        arrays: Vec::new(),
    };
    let mut order: Vec<_> = volumes.iter().zip(chosen).collect();
    order.sort_by_key(|(volume, _)| volume.size == Size::Max);
    let mut numbers = (0..MOST_ARRAYS).filter(|number| !taken.contains(number));
    // What the operator counted on each disk so far.
    let mut asked: BTreeMap<&str, u64> = BTreeMap::new();
    for (volume, names) in order {
        let number = numbers
            .next()
            .ok_or_else(|| format!("all {MOST_ARRAYS} array numbers are used"))?;
        let mut members = Vec::new();
        for name in names {
            let size = disks
                .iter()
                .find(|disk| disk.name == *name)
                .map_or(0, |disk| disk.size);
            // A GPT keeps its backup in the last MiB.
            let kept = if label == DiskLabel::Gpt { MIB } else { 0 };
            let end = size.saturating_sub(kept) / MIB * MIB;
            let parts = layout.disks.entry(name.clone()).or_default();
            let offset = parts.last().map_or(lead, |last| last.offset + last.size);
            let wanted = match volume.size {
                Size::Max => end.saturating_sub(offset),
                Size::Gib(gib) => {
                    let bytes = gib.saturating_mul(GIB);
                    let sum = asked.entry(name).or_default();
                    *sum = sum.saturating_add(bytes);
                    // The operator counts from the beginning of the disk: what comes first
                    // there may make the last part smaller, and nothing else may.
                    if *sum > size {
                        return Err(format!(
                            "{name} has {} GiB, the logical disks need {} GiB of it",
                            size / GIB,
                            *sum / GIB
                        ));
                    }
                    bytes.min(end.saturating_sub(offset))
                }
            };
            if wanted < MIB {
                return Err(format!(
                    "{name} has no room left for logical_disks[{}]",
                    volume.index
                ));
            }
            let part = Part {
                number: u32::try_from(parts.len())
                    .unwrap_or(u32::MAX)
                    .saturating_add(1),
                offset,
                size: wanted,
            };
            parts.push(part);
            members.push((name.clone(), part.number));
        }
        layout.arrays.push(Planned {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
        mode: BootMode,
        label: DiskLabel,
    ) -> Result<Layout, String> {
        let volumes = read(&config(disks_given), false)?.unwrap();
        let chosen = choose(&volumes, disks)?;
        lay_out(&volumes, &chosen, disks, (mode, label), &BTreeSet::new())
    }

    #[test]
    fn what_is_wrong_is_said_all_at_once() {
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
                config(
                    json!([{"size_gb": 1, "volume_name": "a"}, {"size_gb": 1, "volume_name": "a"}]),
                ),
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
            let error = read(&given, false).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
        let both = read(&config(json!([{"raid_level": "9"}])), false).unwrap_err();
        assert!(both.contains("size_gb") && both.contains("; ") && both.contains("raid_level"));
        let unnamed = config(json!([{"size_gb": 1}]));
        assert!(
            read(&unnamed, true)
                .unwrap_err()
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
            chosen(json!([{"size_gb": 1, "physical_disks": [first, second]}])).unwrap_err()
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
            let first = Part {
                number: 1,
                offset: lead,
                size: 10 * GIB,
            };
            let second = Part {
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
        assert!(more.unwrap_err().contains("need 101 GiB"));
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
            lay_out(
                &volumes,
                &chosen,
                &pair,
                (BootMode::Bios, DiskLabel::Gpt),
                &taken,
            )
        };
        let layout = with([0, 1].into()).unwrap();
        assert_eq!(
            (&*layout.arrays[0].device, &*layout.arrays[0].name),
            ("/dev/md2", "root")
        );
        assert!(with((0..128).collect()).unwrap_err().contains("all 128"));
    }
}
