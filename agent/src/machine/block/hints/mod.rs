//! Which disk becomes the root disk, and which disks are left alone: hints that describe
//! disks, and the rule for nodes without any.

use ironic_document::JsonObject;
use serde_json::Value;
use thiserror::Error;

use crate::machine::block::{BlockDevice, DeviceKind};
use crate::machine::ironic_node::{Node, as_flag};

mod expression;

pub use expression::{Comparison, InvalidHint, Operator};
use expression::{Expression, SizeExpression};

/// The smallest disk that is taken for a node without hints: 4 GiB.
const MIN_DISK_BYTES: u64 = 4 << 30;

/// Why no disk is the root disk. Its text is Ironic's, with the reason for each disk.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoRootDevice {
    /// The node's skip list is invalid.
    #[error("No devices could be found because skip_block_devices failed to validate. Error")]
    SkipList(#[source] InvalidHint),
    /// The node's root device hints are invalid.
    #[error(
        "No devices could be found using the root device hints {hints} because they failed to \
         validate. Error"
    )]
    Hints {
        /// The hints.
        hints: Value,
        /// What is wrong with them.
        source: InvalidHint,
    },
    /// No disk fulfils the hints.
    #[error(
        "No suitable device was found for deployment using these hints {hints}. {}",
        listing(rejected)
    )]
    NoMatch {
        /// The hints.
        hints: Value,
        /// All disks.
        rejected: Vec<RejectedDisk>,
    },
    /// There are no hints, and no disk is large enough.
    #[error(
        "No suitable device was found for deployment - root device hints were not provided and all \
         found block devices are smaller than {MIN_DISK_BYTES}B. {}",
        listing(.0)
    )]
    TooSmall(Vec<RejectedDisk>),
}

/// The disk to deploy to, by the node's root device hints or, without any, the smallest that
/// has 4 GiB. In a simulation, where files are the disks, any size will do. Logs why each
/// other disk is not taken.
///
/// # Errors
/// No disk fits, with the reason for each.
pub fn root_device(devices: &[BlockDevice], node: &Node) -> Result<BlockDevice, NoRootDevice> {
    let mut rejected = Vec::new();
    let chosen = choose(devices, node, &mut rejected);
    for RejectedDisk { disk, reason } in &rejected {
        tracing::info!(%disk, %reason, "not the root disk");
    }
    if let Ok(device) = &chosen {
        tracing::info!(disk = %device.name, size = device.size, "the root disk");
    }
    chosen
}

/// The disk that an order describes, whatever the node's hints say: of those that the node does not
/// leave alone, the first that fulfils the description.
///
/// # Errors
/// No disk fits, with the reason for each.
pub fn described_device(
    devices: &[BlockDevice],
    node: &Node,
    hints: &Value,
) -> Result<BlockDevice, NoRootDevice> {
    let (candidates, mut rejected) =
        split_skipped(devices, node).map_err(NoRootDevice::SkipList)?;
    let parsed = Hints::parse(hints).map_err(|source| NoRootDevice::Hints {
        hints: hints.clone(),
        source,
    })?;
    let chosen = first_match(&candidates, &parsed, &mut rejected).cloned();
    chosen.ok_or_else(|| NoRootDevice::NoMatch {
        hints: hints.clone(),
        rejected,
    })
}

/// Like [`root_device`], without a word in the log: for looking again and again.
///
/// # Errors
/// As [`root_device`].
pub fn root_device_quietly(
    devices: &[BlockDevice],
    node: &Node,
) -> Result<BlockDevice, NoRootDevice> {
    choose(devices, node, &mut Vec::new())
}

fn choose(
    devices: &[BlockDevice],
    node: &Node,
    rejected: &mut Vec<RejectedDisk>,
) -> Result<BlockDevice, NoRootDevice> {
    let (candidates, skipped) = split_skipped(devices, node).map_err(NoRootDevice::SkipList)?;
    rejected.extend(skipped);
    let candidates = without_other_volumes(candidates, rejected);
    if let Some(device) = root_volume(&candidates, node, rejected) {
        return Ok(device.clone());
    }
    let Some(hints) = node.root_hints() else {
        let chosen = smallest_of(&candidates, rejected).cloned();
        return chosen.ok_or_else(|| NoRootDevice::TooSmall(rejected.clone()));
    };
    let parsed = Hints::parse(hints).map_err(|source| NoRootDevice::Hints {
        hints: hints.clone(),
        source,
    })?;
    let chosen = first_match(&candidates, &parsed, rejected).cloned();
    chosen.ok_or_else(|| NoRootDevice::NoMatch {
        hints: hints.clone(),
        rejected: rejected.clone(),
    })
}

/// The array that the operator called the root volume when it was made. It goes before hints.
fn root_volume<'a>(
    candidates: &[&'a BlockDevice],
    node: &Node,
    rejected: &mut Vec<RejectedDisk>,
) -> Option<&'a BlockDevice> {
    let is_root = |device: &&&BlockDevice| device.is_root_volume == Some(true);
    let device = *candidates.iter().find(is_root)?;
    if let Some(hints) = node.root_hints() {
        tracing::warn!(disk = %device.name, %hints, "the root volume goes before the hints");
    }
    let others = candidates.iter().filter(|other| other.name != device.name);
    rejected.extend(others.map(|other| RejectedDisk {
        disk: other.name.clone(),
        reason: format!("{} was made as the root volume", device.name),
    }));
    Some(device)
}

/// The devices without arrays that were made as something else than the root volume, and
/// without what these lie on.
fn without_other_volumes<'a>(
    devices: Vec<&'a BlockDevice>,
    rejected: &mut Vec<RejectedDisk>,
) -> Vec<&'a BlockDevice> {
    let others: Vec<_> = devices
        .iter()
        .copied()
        .filter(|device| device.is_root_volume == Some(false))
        .collect();
    let mut kept = Vec::new();
    for device in devices {
        let name = &device.name;
        let over = |array: &&&BlockDevice| {
            array.name == *name || array.disks.contains(name) || array.members.contains(name)
        };
        match others.iter().find(over) {
            None => kept.push(device),
            Some(array) => rejected.push(RejectedDisk {
                disk: name.clone(),
                reason: format!("{} was made as a volume that is not the root", array.name),
            }),
        }
    }
    kept
}

/// The disk that is taken without hints.
#[must_use]
pub fn smallest(devices: &[BlockDevice]) -> Option<&BlockDevice> {
    let candidates: Vec<_> = devices.iter().collect();
    smallest_of(&candidates, &mut Vec::new())
}

/// The devices without those that the node's `skip_block_devices` describes. Entries that
/// name a RAID volume are about arrays and describe no disk. Those that do not name a partition
/// describe none, whatever its size: they are about disks.
///
/// # Errors
/// An invalid entry: nothing may be erased then, since it is not known what must not.
pub fn without_skipped(
    devices: &[BlockDevice],
    node: &Node,
) -> Result<Vec<BlockDevice>, InvalidHint> {
    let (kept, skipped) = split_skipped(devices, node)?;
    for RejectedDisk { disk, reason } in skipped {
        tracing::warn!(%disk, %reason, "left alone");
    }
    Ok(kept.into_iter().cloned().collect())
}

/// The devices that fulfil one object of hints; none for an object without any.
///
/// # Errors
/// The hint is invalid.
pub fn matching<'a>(
    devices: &'a [BlockDevice],
    hint: &Value,
) -> Result<Vec<&'a BlockDevice>, InvalidHint> {
    let hints = Hints::parse(hint)?;
    let fulfils = |device: &&BlockDevice| !hints.0.is_empty() && hints.rejection(device).is_none();
    Ok(devices.iter().filter(fulfils).collect())
}

/// A disk that is not taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedDisk {
    disk: String,
    /// A sentence for the operator.
    reason: String,
}

fn listing(rejected: &[RejectedDisk]) -> String {
    if rejected.is_empty() {
        return "No disks were found at all.".to_owned();
    }
    let lines: Vec<_> = rejected
        .iter()
        .map(|RejectedDisk { disk, reason }| format!("{disk}: {reason}"))
        .collect();
    format!("Disks: {}", lines.join("; "))
}

type SkipSplit<'a> = (Vec<&'a BlockDevice>, Vec<RejectedDisk>);

fn split_skipped<'a>(
    devices: &'a [BlockDevice],
    node: &Node,
) -> Result<SkipSplit<'a>, InvalidHint> {
    let skip_list = match node.skip_block_devices() {
        None => Vec::new(),
        Some(Value::Array(entries)) => entries
            .iter()
            .filter_map(|entry| match entry.get("volume_name") {
                None => Some(Hints::parse(entry).map(|hints| (entry, hints))),
                // Those are about arrays.
                Some(Value::String(name)) if !name.is_empty() => None,
                Some(other) => Some(Err(InvalidHint::WrongValue {
                    name: "volume_name",
                    expected: "the name of an array",
                    found: other.to_string(),
                })),
            })
            .collect::<Result<Vec<_>, InvalidHint>>()?,
        Some(other) => {
            return Err(InvalidHint::WrongValue {
                name: "skip_block_devices",
                expected: "a list of hints",
                found: other.to_string(),
            });
        }
    };
    let (mut kept, mut skipped) = (Vec::new(), Vec::new());
    for device in devices {
        let hit = skip_list.iter().find(|(_, hints)| hints.describe(device));
        match hit {
            None => kept.push(device),
            Some((entry, _)) => skipped.push(RejectedDisk {
                disk: device.name.clone(),
                reason: format!("skip_block_devices names it by {entry}"),
            }),
        }
    }
    Ok((kept, skipped))
}

fn smallest_of<'a>(
    candidates: &[&'a BlockDevice],
    rejected: &mut Vec<RejectedDisk>,
) -> Option<&'a BlockDevice> {
    let mut sorted = candidates.to_vec();
    sorted.sort_by_key(|device| (device.size, &device.name));
    let mut chosen: Option<&BlockDevice> = None;
    for device in sorted {
        let reason = if device.kind != DeviceKind::File && device.size < MIN_DISK_BYTES {
            format!("{} bytes are fewer than {MIN_DISK_BYTES}", device.size)
        } else if device.read_only {
            "it is read-only".to_owned()
        } else if let Some(chosen) = chosen {
            format!("{} is smaller or comes first", chosen.name)
        } else {
            chosen = Some(device);
            continue;
        };
        rejected.push(RejectedDisk {
            disk: device.name.clone(),
            reason,
        });
    }
    chosen
}

fn first_match<'a>(
    candidates: &[&'a BlockDevice],
    hints: &Hints,
    rejected: &mut Vec<RejectedDisk>,
) -> Option<&'a BlockDevice> {
    let mut chosen: Option<&BlockDevice> = None;
    for device in candidates {
        let reason = match (hints.rejection(device), chosen) {
            (Some(reason), _) => reason,
            (None, Some(chosen)) => {
                format!("it fulfils the hints, but {} comes first", chosen.name)
            }
            (None, None) => {
                chosen = Some(device);
                continue;
            }
        };
        rejected.push(RejectedDisk {
            disk: device.name.clone(),
            reason,
        });
    }
    chosen
}

/// Hints that a disk must fulfil all of.
#[derive(Debug, Clone, PartialEq)]
struct Hints(Vec<Hint>);

/// One hint.
#[derive(Debug, Clone, PartialEq)]
enum Hint {
    Size(SizeExpression, String),
    Rotational(bool),
    Text(TextHint, Expression, String),
}

/// The hints that describe texts.
type TextHint = (&'static str, fn(&BlockDevice) -> Vec<&str>);

const TEXTS: [TextHint; 10] = [
    ("model", |device| vec![&device.model]),
    ("wwn", |device| {
        several(device.wwn.as_ref(), &device.other_wwns)
    }),
    ("serial", |device| {
        several(device.serial.as_ref(), &device.other_serials)
    }),
    ("vendor", |device| several(device.vendor.as_ref(), &[])),
    ("wwn_with_extension", |device| {
        several(device.wwn_with_extension.as_ref(), &[])
    }),
    ("wwn_vendor_extension", |device| {
        several(device.wwn_vendor_extension.as_ref(), &[])
    }),
    ("name", |device| vec![&device.name]),
    ("hctl", |device| several(device.hctl.as_ref(), &[])),
    ("by_path", |device| {
        several(device.by_path.as_ref(), &device.other_paths)
    }),
    ("tran", |device| several(device.tran.as_ref(), &[])),
];

fn several<'a>(first: Option<&'a String>, others: &'a [String]) -> Vec<&'a str> {
    first
        .into_iter()
        .chain(others)
        .map(String::as_str)
        .collect()
}

impl Hints {
    fn parse(value: &Value) -> Result<Self, InvalidHint> {
        let Value::Object(hints) = value else {
            return Err(InvalidHint::NotAnObject {
                found: value.to_string(),
            });
        };
        parse_all(hints).map(Self)
    }

    /// Whether an entry of the skip list with these hints is about a device. An empty one
    /// describes no disk, not every disk. Most partitions have the size of some other disk and
    /// another name than any: they are meant only where one is named.
    fn describe(&self, device: &BlockDevice) -> bool {
        let names = |hint: &Hint| match hint {
            Hint::Text((name, _), expression, _) => {
                matches!(*name, "name" | "by_path") && expression.names()
            }
            Hint::Size(..) | Hint::Rotational(_) => false,
        };
        let is_meant = device.kind != DeviceKind::Partition || self.0.iter().any(names);
        is_meant && !self.0.is_empty() && self.rejection(device).is_none()
    }

    /// Why a disk does not fulfil them; `None` when it does.
    fn rejection(&self, device: &BlockDevice) -> Option<String> {
        self.0.iter().find_map(|hint| hint.rejection(device))
    }
}

fn parse_all(hints: &JsonObject) -> Result<Vec<Hint>, InvalidHint> {
    hints
        .iter()
        .map(|(name, value)| match name.as_str() {
            "size" => {
                let text = match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                Ok(Hint::Size(SizeExpression::parse(&text)?, text))
            }
            "rotational" => {
                as_flag(value)
                    .map(Hint::Rotational)
                    .ok_or_else(|| InvalidHint::WrongValue {
                        name: "rotational",
                        expected: "true or false",
                        found: value.to_string(),
                    })
            }
            name => {
                let Some(hint) = TEXTS.iter().find(|(known, _)| *known == name) else {
                    let mut valid: Vec<_> = TEXTS.iter().map(|(name, _)| *name).collect();
                    valid.extend(["rotational", "size"]);
                    valid.sort_unstable();
                    return Err(InvalidHint::Unknown {
                        name: name.to_owned(),
                        valid: valid.join(", "),
                    });
                };
                let text = value.as_str().unwrap_or_default();
                let expression =
                    Expression::parse(text).ok_or_else(|| InvalidHint::WrongValue {
                        name: hint.0,
                        expected: "a text that is not empty",
                        found: value.to_string(),
                    })?;
                Ok(Hint::Text(*hint, expression, text.to_owned()))
            }
        })
        .collect()
}

impl Hint {
    fn rejection(&self, device: &BlockDevice) -> Option<String> {
        match self {
            Self::Size(expression, text) => {
                let gib = in_gib(device.size);
                (!expression.accepts(gib))
                    .then(|| format!("its size of {gib:.2} GiB does not fulfil '{text}'"))
            }
            Self::Rotational(wanted) => (device.rotational != *wanted).then(|| {
                let is = if device.rotational { "is" } else { "is not" };
                format!("it {is} rotational")
            }),
            Self::Text((name, values), expression, text) => {
                let values: Vec<_> = values(device)
                    .into_iter()
                    .filter(|value| !value.trim().is_empty())
                    .collect();
                if values.is_empty() {
                    return Some(format!("its {name} is unknown"));
                }
                let accepts = |value: &&str| expression.accepts_text(value);
                let fulfilled = if expression.denies() {
                    values.iter().all(accepts)
                } else {
                    values.iter().any(accepts)
                };
                (!fulfilled).then(|| {
                    let found = values.join("' or '");
                    format!("its {name} '{found}' does not fulfil '{text}'")
                })
            }
        }
    }
}

/// Exact below 2^53 bytes per GiB step, that is for every disk.
fn in_gib(bytes: u64) -> f64 {
    #[allow(
        clippy::cast_precision_loss,
        reason = "sizes of disks are far below 2^53 sectors"
    )]
    let sectors = (bytes / 512) as f64;
    sectors * 512.0 / f64::from(1 << 30)
}

#[cfg(test)]
mod tests;
