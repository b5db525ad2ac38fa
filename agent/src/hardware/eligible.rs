//! Which devices a step that erases may touch.

use std::collections::{HashMap, HashSet};
use std::io;

use serde_json::Value;

use super::StepContext;
use crate::failure::{Failure, FailureKind};
use crate::machine::block::{self, BlockDevice, Kind};
use crate::machine::content::{self, Content};
use crate::machine::hints;
use crate::machine::node::Node;
use crate::system::System;

/// The devices that may be erased, and why others may not.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// What may be erased: partitions before the disk that holds them, since names are sorted
    /// backwards.
    pub(super) erasable: Vec<Erasable>,
    /// Devices that are left alone, each with the reason.
    pub(super) left_alone: Vec<(String, String)>,
}

/// A device that passed every check: nobody but this module makes one.
#[derive(Debug)]
pub(super) struct Erasable(BlockDevice);

impl Erasable {
    pub(super) fn device(&self) -> &BlockDevice {
        &self.0
    }
}

/// Looks at all disks, arrays and partitions and decides. Everything is decided before the
/// first device is touched.
///
/// # Errors
/// `ProtectedDevice`: a file system that other machines may be using, unless the guard is off
/// or the node allows it. `BlockDeviceErase`: a skip list that cannot be understood, a device
/// that cannot be examined or is mounted; with nothing erased.
pub(super) async fn select(ctx: StepContext<'_>) -> Result<Selection, Failure> {
    let guarded = ctx.config.guard_special_filesystems && !ctx.node.may_wipe_special_filesystems();
    let (system, node) = (ctx.system.clone(), ctx.node.clone());
    let decided = tokio::task::spawn_blocking(move || decide(&system, &node, guarded)).await;
    decided.unwrap_or_else(|error| {
        Err(Failure::execution(format!(
            "The disks could not be examined: {error}"
        )))
    })
}

fn decide(system: &System, node: &Node, guarded: bool) -> Result<Selection, Failure> {
    let failed = |details| Failure::new(FailureKind::BlockDeviceErase, details);
    let all = block::probe_with_partitions(system);
    let allowed = hints::without_skipped(&all, node).map_err(|error| {
        failed(format!(
            "Nothing was erased, because skip_block_devices cannot be understood: {error}"
        ))
    })?;
    let contents = Contents::read(system, &all);
    let relations = Relations::new(&all, &allowed);
    let volumes = Volumes::new(node, &all, &contents, &relations);
    let in_use = in_use(system, &all);

    let mut selection = Selection::default();
    let mut mounted = Vec::new();
    for device in &all {
        let name = &device.name;
        let reason = if relations.is_skipped(device) {
            Some("skip_block_devices names it, or the disk under it".to_owned())
        } else if let Some(reason) = volumes.reason(device, &relations) {
            Some(reason)
        } else if relations.is_member(device) || contents.of(device)?.raid_member {
            Some("it is a member of a RAID array".to_owned())
        } else if contents.of(device)?.virtual_media || relations.is_virtual_media(system, name) {
            Some("it is virtual media of Ironic".to_owned())
        } else if device.read_only {
            Some("it is read-only".to_owned())
        } else {
            None
        };
        match reason {
            Some(reason) => selection.left_alone.push((name.clone(), reason)),
            None => {
                if guarded {
                    check_shared(device, contents.of(device)?)?;
                }
                if let Some(place) = in_use.get(name) {
                    mounted.push(format!("{name} ({place})"));
                }
                selection.erasable.push(Erasable(device.clone()));
            }
        }
    }
    if !mounted.is_empty() {
        return Err(failed(format!(
            "Nothing was erased, because these devices are in use: {}. Unmount them, or name \
             them in properties/skip_block_devices of the node.",
            mounted.join(", ")
        )));
    }
    selection
        .erasable
        .sort_by(|left, right| right.0.name.cmp(&left.0.name));
    Ok(selection)
}

fn check_shared(device: &BlockDevice, content: &Content) -> Result<(), Failure> {
    let Some(shared) = content.shared.first() else {
        return Ok(());
    };
    let place = match shared.partition {
        Some(number) => format!("partition {number} of {}", device.name),
        None => device.name.clone(),
    };
    Err(Failure::new(
        FailureKind::ProtectedDevice,
        format!(
            "Nothing was erased: protected {} found on {place}. Other machines may be using it. \
             Detach the volume or name it in properties/skip_block_devices; only if it may be \
             destroyed, set wipe_special_filesystems to true in the node's driver_info or \
             guard_special_filesystems to false in the ramdisk's configuration.",
            shared.what
        ),
    ))
}

/// What lies on each device, or why that could not be read.
struct Contents(HashMap<String, io::Result<Content>>);

impl Contents {
    fn read(system: &System, devices: &[BlockDevice]) -> Self {
        Self(
            devices
                .iter()
                .map(|device| (device.name.clone(), content::probe(system, device)))
                .collect(),
        )
    }

    fn of(&self, device: &BlockDevice) -> Result<&Content, Failure> {
        let reason = match self.0.get(&device.name) {
            Some(Ok(content)) => return Ok(content),
            Some(Err(error)) => error.to_string(),
            None => "it was not examined".to_owned(),
        };
        Err(Failure::new(
            FailureKind::BlockDeviceErase,
            format!(
                "Nothing was erased, because {} could not be examined: {reason}. Repair it, or \
                 name it in properties/skip_block_devices of the node.",
                device.name
            ),
        ))
    }
}

/// Which device lies on which.
struct Relations<'a> {
    skipped: HashSet<&'a str>,
    by_name: HashMap<&'a str, &'a BlockDevice>,
    members: HashSet<&'a str>,
}

impl<'a> Relations<'a> {
    fn new(all: &'a [BlockDevice], allowed: &[BlockDevice]) -> Self {
        let names: HashSet<&str> = allowed.iter().map(|device| device.name.as_str()).collect();
        Self {
            skipped: all
                .iter()
                .map(|device| device.name.as_str())
                .filter(|name| !names.contains(name))
                .collect(),
            by_name: all
                .iter()
                .map(|device| (device.name.as_str(), device))
                .collect(),
            members: all
                .iter()
                .flat_map(|device| device.members.iter().map(String::as_str))
                .collect(),
        }
    }

    /// The device and everything that it lies on.
    fn under<'b>(&'b self, device: &'b BlockDevice) -> Vec<&'b BlockDevice> {
        let mut found = vec![device];
        let mut next = 0;
        while let Some(device) = found.get(next).copied() {
            next += 1;
            let below = device.parent.iter().chain(&device.members);
            for name in below {
                if let Some(below) = self.by_name.get(name.as_str())
                    && !found.iter().any(|known| known.name == below.name)
                {
                    found.push(below);
                }
            }
        }
        found
    }

    fn is_skipped(&self, device: &BlockDevice) -> bool {
        self.under(device)
            .iter()
            .any(|below| self.skipped.contains(below.name.as_str()))
    }

    /// Whether it, or a partition of it, belongs to an array that is running.
    fn is_member(&self, device: &BlockDevice) -> bool {
        self.members.iter().any(|member| {
            *member == device.name
                || self
                    .by_name
                    .get(member)
                    .is_some_and(|member| member.parent.as_deref() == Some(&device.name))
        })
    }

    /// Whether udev calls it the medium with the ramdisk's configuration.
    fn is_virtual_media(&self, system: &System, name: &str) -> bool {
        let link = std::fs::read_link(system.root.path("/dev/disk/by-label/ir-vfd-dev"));
        link.is_ok_and(|target| target.file_name() == std::path::Path::new(name).file_name())
    }

    /// The whole disks under a device.
    fn disks(&self, device: &BlockDevice) -> HashSet<String> {
        self.under(device)
            .into_iter()
            .filter(|below| below.kind == Kind::Disk)
            .map(|below| below.name.clone())
            .collect()
    }
}

/// The arrays that the node's skip list keeps, by the names of their volumes.
struct Volumes {
    kept: Vec<String>,
    /// Disks under the arrays that are kept.
    disks: HashSet<String>,
}

impl Volumes {
    fn new(
        node: &Node,
        all: &[BlockDevice],
        contents: &Contents,
        relations: &Relations<'_>,
    ) -> Self {
        let names: Vec<&str> = node
            .skip_block_devices()
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.get("volume_name")?.as_str())
            .collect();
        // An array does not know its name; its members do.
        let name_of = |array: &BlockDevice| {
            array.members.iter().find_map(|member| {
                let content = contents.0.get(member)?.as_ref().ok()?;
                content.volume_name.clone()
            })
        };
        let kept: Vec<&BlockDevice> = all
            .iter()
            .filter(|device| device.kind == Kind::Raid)
            .filter(|array| name_of(array).is_some_and(|name| names.contains(&name.as_str())))
            .collect();
        Self {
            disks: kept
                .iter()
                .flat_map(|array| relations.disks(array))
                .collect(),
            kept: kept.iter().map(|array| array.name.clone()).collect(),
        }
    }

    /// Why an array, or a partition of one, is left alone.
    fn reason(&self, device: &BlockDevice, relations: &Relations<'_>) -> Option<String> {
        let below = relations.under(device);
        let array = below.iter().find(|below| below.kind == Kind::Raid)?;
        if self.kept.contains(&array.name) {
            return Some("skip_block_devices names its volume".to_owned());
        }
        // Another array on the same disks goes when the RAID configuration is deleted.
        let shares = !relations.disks(array).is_disjoint(&self.disks);
        shares.then(|| "it shares disks with a volume that skip_block_devices names".to_owned())
    }
}

/// Devices that are mounted, used for swapping or under device-mapper (LVM, encryption,
/// multipath), with the place.
fn in_use(system: &System, devices: &[BlockDevice]) -> HashMap<String, String> {
    let mounts = system
        .root
        .read_optional("/proc/self/mounts")
        .unwrap_or_default();
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    });
    let swaps = system.root.read_optional("/proc/swaps").unwrap_or_default();
    let swaps = swaps.lines().skip(1).filter_map(|line| {
        let name = line.split_whitespace().next()?;
        Some((name.to_owned(), "swap".to_owned()))
    });
    let mapped = devices.iter().filter_map(|device| {
        let kernel_name = device.name.strip_prefix("/dev/")?.replace('/', "!");
        let holders = system
            .root
            .names(format!("/sys/class/block/{kernel_name}/holders"));
        let holder = holders.into_iter().find(|name| name.starts_with("dm-"))?;
        Some((device.name.clone(), holder))
    });
    mounts
        .filter(|(source, _)| source.starts_with("/dev/"))
        .chain(swaps)
        .chain(mapped)
        .collect()
}
