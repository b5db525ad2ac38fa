//! The configuration of software RAID, read and checked.

use std::collections::BTreeSet;

use serde_json::Value;
use thiserror::Error;

/// The superblock has so much room for a name.
const MAX_NAME_BYTES: usize = 32;

/// The size of a volume's part on each disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeSize {
    /// GiB.
    Gib(u64),
    /// What is left.
    Max,
}

/// One logical disk of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct RaidVolume {
    /// Its place in the configuration.
    pub index: usize,
    /// Its name, if the operator gave one.
    pub name: Option<String>,
    /// Its size.
    pub size: VolumeSize,
    /// `mdadm`'s word for its level.
    pub level: &'static str,
    /// Hints, one for each of its disks; empty: all disks.
    pub hints: Vec<Value>,
    /// Whether a system is to be put on it, if the operator says so.
    pub is_root: Option<bool>,
}

/// Levels: Ironic's word, `mdadm`'s word, the fewest disks.
pub(super) const LEVELS: [(&str, &str, usize); 5] = [
    ("0", "0", 1),
    ("1", "1", 2),
    ("1+0", "10", 2),
    ("5", "5", 3),
    ("6", "6", 4),
];

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{}", joined(.0))]
pub struct InvalidRaidConfig(pub Vec<RaidConfigProblem>);

fn joined(problems: &[RaidConfigProblem]) -> String {
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// Something that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RaidConfigProblem {
    /// It has no volumes.
    #[error("RAID config contains no logical disks")]
    NoVolumes,
    /// It has too many.
    #[error("Software RAID configuration requires one or two logical disks")]
    TooManyVolumes,
    /// Some volumes are for another controller.
    #[error("Software RAID configuration requires controller=software for all logical disks")]
    OtherController,
    /// Several are to be the root volume.
    #[error("only one logical disk may have is_root_volume")]
    SeveralRoots,
    /// The volume of this index is wrong.
    #[error("logical_disks[{index}]{problem}")]
    Volume {
        /// Its place in the configuration.
        index: usize,
        /// What is wrong with it.
        problem: VolumeProblem,
    },
    /// No firmware boots from it.
    #[error("the first logical disk must have raid_level 1: machines boot from it")]
    NotBootable,
    /// Several are to take what is left.
    #[error("only one logical disk may have size_gb MAX")]
    SeveralMax,
}

/// Something that is wrong with one volume. The text follows the volume's name.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum VolumeProblem {
    /// Its size.
    #[error(": size_gb must be a number of GiB or MAX")]
    Size,
    /// Its level.
    #[error(": raid_level must be 0, 1, 1+0, 5 or 6")]
    Level,
    /// Its name.
    #[error(
        ": volume_name must have up to {MAX_NAME_BYTES} letters, digits, '.', '_' and '-', the last \
         not in front, not {0}"
    )]
    Name(Value),
    /// The hints for its disks.
    #[error(": physical_disks must be a list of at least two hints, not {0}")]
    Disks(Value),
    /// Another volume has the same name.
    #[error(": volume_name '{0}' is used twice")]
    NameTwice(String),
    /// It has no name and needs one.
    #[error(" has no volume_name, and skip_block_devices keeps volumes by name")]
    NoName,
}

/// Reads a configuration. `None`: it asks for no software RAID. `needs_names` says that the
/// node's skip list keeps volumes by their names.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(
    config: &Value,
    needs_names: bool,
) -> Result<Option<Vec<RaidVolume>>, InvalidRaidConfig> {
    let disks = match config.get("logical_disks") {
        None if is_empty(config) => return Ok(None),
        Some(Value::Array(disks)) if !disks.is_empty() => disks,
        _ => return Err(InvalidRaidConfig(vec![RaidConfigProblem::NoVolumes])),
    };
    if !disks.iter().any(is_software) {
        return Ok(None);
    }
    let mut problems = problems_of_all(disks);
    let mut volumes = Vec::new();
    for (index, disk) in disks.iter().enumerate() {
        let found = volume(index, disk).and_then(|volume| {
            let problem = problem_of_name(&volume, &volumes, needs_names);
            volumes.push(volume);
            problem.map_or(Ok(()), |problem| Err(vec![problem]))
        });
        let wrong = found.err().unwrap_or_default().into_iter();
        problems.extend(wrong.map(|problem| RaidConfigProblem::Volume { index, problem }));
    }
    let first = volumes.first();
    if first.is_some_and(|first| first.index == 0 && first.level != "1") {
        problems.push(RaidConfigProblem::NotBootable);
    }
    let takes_rest = |volume: &&RaidVolume| volume.size == VolumeSize::Max;
    if volumes.iter().filter(takes_rest).count() > 1 {
        problems.push(RaidConfigProblem::SeveralMax);
    }
    if problems.is_empty() {
        Ok(Some(volumes))
    } else {
        Err(InvalidRaidConfig(problems))
    }
}

fn is_software(disk: &Value) -> bool {
    disk.get("controller").is_some_and(|c| c == "software")
}

/// What is wrong with the volumes together.
fn problems_of_all(disks: &[Value]) -> Vec<RaidConfigProblem> {
    let mut problems = Vec::new();
    if disks.len() > 2 {
        problems.push(RaidConfigProblem::TooManyVolumes);
    }
    if !disks.iter().all(is_software) {
        problems.push(RaidConfigProblem::OtherController);
    }
    let roots = disks
        .iter()
        .filter(|disk| disk.get("is_root_volume") == Some(&Value::Bool(true)));
    if roots.count() > 1 {
        problems.push(RaidConfigProblem::SeveralRoots);
    }
    problems
}

fn problem_of_name(
    volume: &RaidVolume,
    others: &[RaidVolume],
    needs_names: bool,
) -> Option<VolumeProblem> {
    let names: BTreeSet<_> = others
        .iter()
        .filter_map(|other| other.name.as_ref())
        .collect();
    match &volume.name {
        Some(name) if names.contains(name) => Some(VolumeProblem::NameTwice(name.clone())),
        None if needs_names => Some(VolumeProblem::NoName),
        _ => None,
    }
}

fn is_empty(config: &Value) -> bool {
    match config {
        Value::Null => true,
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

fn volume(index: usize, disk: &Value) -> Result<RaidVolume, Vec<VolumeProblem>> {
    let mut wrong = Vec::new();
    let given = |key: &str| disk.get(key).filter(|value| !value.is_null());
    let size = match given("size_gb") {
        Some(Value::String(text)) if text == "MAX" => Some(VolumeSize::Max),
        Some(Value::String(text)) => text.trim().parse().ok().map(VolumeSize::Gib),
        Some(value) => value.as_u64().map(VolumeSize::Gib),
        None => None,
    }
    .filter(|size| *size != VolumeSize::Gib(0));
    if size.is_none() {
        wrong.push(VolumeProblem::Size);
    }
    let level = given("raid_level")
        .and_then(Value::as_str)
        .and_then(|word| LEVELS.iter().find(|(known, ..)| *known == word));
    if level.is_none() {
        wrong.push(VolumeProblem::Level);
    }
    let name = match given("volume_name") {
        None => None,
        Some(Value::String(name)) if is_name(name) => Some(name.clone()),
        Some(other) => {
            wrong.push(VolumeProblem::Name(other.clone()));
            None
        }
    };
    let hints = match given("physical_disks") {
        None => Vec::new(),
        Some(Value::Array(hints)) if hints.len() >= 2 && hints.iter().all(Value::is_object) => {
            hints.clone()
        }
        Some(other) => {
            wrong.push(VolumeProblem::Disks(other.clone()));
            Vec::new()
        }
    };
    match (size, level) {
        (Some(size), Some((_, level, _))) if wrong.is_empty() => Ok(RaidVolume {
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
        && name.len() <= MAX_NAME_BYTES
        && name.chars().all(is_portable)
        && !name.starts_with('-')
}
