//! Which devices may be erased. Everything is decided, for all of them, before the first one
//! is touched.

pub mod firmware_arrays;
pub mod keep_by_name;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;

use crate::disk::erase::guard::firmware_arrays::{Firmware, FirmwareArrays};
use crate::disk::erase::guard::keep_by_name::Fate;
use crate::failure::{Failure, FailureKind};
use crate::machine::block::guarded_filesystem::{self, Content};
use crate::machine::block::hints;
use crate::machine::block::{self, BlockDevice, Kind};
use crate::machine::ironic_node::Node;
use crate::machine::raid::{self, Array};
use crate::system::{DiskError, System};

/// Why what is left of an array is left alone.
pub const IDLE_MEMBER: &str =
    "it is a member of a RAID array that is not running; raid.delete_configuration removes it";
/// Why virtual media are left alone.
const VIRTUAL_MEDIA: &str = "it is virtual media of Ironic";

/// What to do about a device that is guarded.
const OVERRIDES: &str = "Detach the volume or name it in properties/skip_block_devices; only if \
                         it may be destroyed, set wipe_special_filesystems to true in the node's \
                         driver_info or guard_special_filesystems to false in the ramdisk's \
                         configuration.";

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
    /// What may be erased: partitions before the disk that holds them, since names are sorted
    /// backwards.
    pub erasable: Vec<Erasable>,
    /// Devices that are left alone, each with the reason.
    pub left_alone: Vec<(String, String)>,
    /// Arrays whose disks may be erased, since their metadata is firmware's.
    pub firmware: Firmware,
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

/// A device that passed every check: nobody but this module makes one.
#[derive(Debug)]
pub struct Erasable(BlockDevice);

impl Erasable {
    /// The device.
    #[must_use]
    pub fn device(&self) -> &BlockDevice {
        &self.0
    }
}

/// Looks at all disks, arrays and partitions and decides. `guard` keeps file systems that
/// other machines may be using, unless the node allows to erase them.
///
/// # Errors
/// `ProtectedDevice`: such a file system. `BlockDeviceErase`: a skip list that cannot be
/// understood, a device that cannot be examined, is read-only or in use; with nothing erased.
pub async fn select(
    system: &System,
    node: &Node,
    guard: bool,
    scope: Scope,
) -> Result<Selection, Failure> {
    let guarded = guard && !node.may_wipe_special_filesystems();
    let (system, node) = (system.clone(), node.clone());
    examine(move || decide(&system, &node, guarded, scope)).await
}

/// Makes sure that disks may be wiped whole although they are members of arrays, which
/// [`select`] leaves alone: nothing else on them is shared with other machines or in use.
/// What lies on the arrays is not looked at.
///
/// # Errors
/// As those of [`select`].
pub async fn check_disks(
    system: &System,
    node: &Node,
    guard: bool,
    disks: HashSet<String>,
) -> Result<(), Failure> {
    let guarded = guard && !node.may_wipe_special_filesystems();
    let system = system.clone();
    examine(move || {
        let all = block::probe_with_partitions(&system);
        let relations = Relations::new(&all, &all);
        let in_use = in_use(&system, &all);
        let mut busy = Vec::new();
        for device in all.iter().filter(|device| disks.contains(&device.name)) {
            // A disk that cannot be read is wiped as far as it can be written.
            let partitions = all.iter().filter(|other| is_partition_of(other, device));
            for examined in partitions.chain([device]).filter(|_| guarded) {
                if let Ok(content) = guarded_filesystem::probe(&system, examined) {
                    check_shared(examined, &content)?;
                }
            }
            let users = relations.on(device).into_iter();
            busy.extend(users.filter_map(|user| Some(format!("{user} ({})", in_use.get(user)?))));
        }
        refuse_busy(busy)
    })
    .await
}

/// Makes sure that nothing on some devices is shared with other machines: only what is found
/// there to be of no use is removed from them.
///
/// # Errors
/// `ProtectedDevice`.
pub async fn check_content(
    system: &System,
    node: &Node,
    guard: bool,
    devices: Vec<BlockDevice>,
) -> Result<(), Failure> {
    if !guard || node.may_wipe_special_filesystems() {
        return Ok(());
    }
    let system = system.clone();
    examine(move || {
        for device in &devices {
            // What cannot be read is written as far as it can be.
            if let Ok(content) = guarded_filesystem::probe(&system, device) {
                check_shared(device, &content)?;
            }
        }
        Ok(())
    })
    .await
}

/// Looks at disks, which blocks.
async fn examine<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let looked = tokio::task::spawn_blocking(look).await;
    looked.unwrap_or_else(|error| {
        Err(Failure::execution(format!(
            "The disks could not be examined: {error}"
        )))
    })
}

fn decide(system: &System, node: &Node, guarded: bool, scope: Scope) -> Result<Selection, Failure> {
    let all = block::probe_with_partitions(system);
    let allowed = hints::without_skipped(&all, node).map_err(|error| {
        failed(format!(
            "Nothing was erased, because skip_block_devices cannot be understood: {error}"
        ))
    })?;
    let contents = Contents::read(system, &all);
    let relations = Relations::new(&all, &allowed);
    let arrays = raid::probe(system, &all);
    let volumes = Volumes::new(node, &arrays);
    // Who takes only some disks takes none of an array.
    let firmware = FirmwareArrays::new(if scope == Scope::Some { &[] } else { &arrays });
    let in_use = in_use(system, &all);
    let skip_read_only = scope != Scope::Disks || node.erase_options().skip_read_only;

    let mut selection = Selection::default();
    let (mut busy, mut read_only) = (Vec::new(), Vec::new());
    for device in &all {
        let name = &device.name;
        if scope != Scope::Everything && device.kind == Kind::Partition {
            continue;
        }
        let reason = if let Some(reason) = relations.skipped(device) {
            Some(reason)
        } else if let Some(reason) = volumes.reason(device, &relations, scope) {
            Some(reason)
        } else if relations.is_member(device, &firmware) {
            Some("it is a member of a RAID array".to_owned())
        } else if contents.has_member(device, &all)? {
            // With a success, as in the Python agent; but the result says it.
            Some(IDLE_MEMBER.to_owned())
        } else if device.may_be_virtual_media()
            && (contents.of(device)?.virtual_media || is_labelled_virtual_media(system, name))
        {
            Some(VIRTUAL_MEDIA.to_owned())
        } else if device.read_only && skip_read_only {
            Some("it is read-only".to_owned())
        } else {
            None
        };
        if let Some(reason) = reason {
            selection.left_alone.push((name.clone(), reason));
            continue;
        }
        if guarded {
            check_shared(device, contents.of(device)?)?;
            // What the kernel made partitions of, by whatever table.
            for partition in all.iter().filter(|other| is_partition_of(other, device)) {
                check_shared(partition, contents.of(partition)?)?;
            }
        }
        if device.read_only {
            read_only.push(name.clone());
        }
        let users = relations.on(device).into_iter();
        busy.extend(users.filter_map(|user| Some(format!("{user} ({})", in_use.get(user)?))));
        let erasable = Erasable(device.clone());
        if firmware.is_on(device) {
            selection.firmware.arrays.push(erasable);
        } else {
            selection.erasable.push(erasable);
        }
    }
    stop_firmware(&mut selection, &firmware)?;
    if !read_only.is_empty() {
        return Err(failed(format!(
            "Nothing was erased, because these devices are read-only: {}. Lift their write \
             protection, set [deploy]erase_skip_read_only of the conductor, or name them in \
             properties/skip_block_devices of the node.",
            read_only.join(", ")
        )));
    }
    if busy.is_empty() {
        let free = selection.erasable.iter().filter(|erasable| {
            // Its array claims it, and goes.
            let device = erasable.device();
            let is_under = |member: &str| {
                relations.is_or_holds(device, member) || device.parent.as_deref() == Some(member)
            };
            !firmware.members().into_iter().any(is_under)
        });
        busy = claimed(system, free);
    }
    refuse_busy(busy)?;
    selection
        .erasable
        .sort_by(|left, right| right.0.name.cmp(&left.0.name));
    selection.devices = all;
    Ok(selection)
}

/// Of arrays whose disks are erased the disks are; others are erased themselves.
fn stop_firmware(selection: &mut Selection, firmware: &FirmwareArrays<'_>) -> Result<(), Failure> {
    let names = selection.erasable.iter().map(|erasable| erasable.device());
    let names: HashSet<&str> = names.map(|device| device.name.as_str()).collect();
    let to_stop = firmware.to_stop(&names).map_err(failed)?;
    let goes = |device: &BlockDevice| {
        let array = device.parent.as_ref().unwrap_or(&device.name);
        to_stop.contains(array)
    };
    let arrays = std::mem::take(&mut selection.firmware.arrays);
    let (arrays, others) = arrays.into_iter().partition(|array| goes(array.device()));
    selection.erasable.extend::<Vec<_>>(others);
    selection.firmware = Firmware { arrays, to_stop };
    Ok(())
}

fn refuse_busy(mut busy: Vec<String>) -> Result<(), Failure> {
    if busy.is_empty() {
        return Ok(());
    }
    busy.sort();
    busy.dedup();
    Err(failed(format!(
        "Nothing was erased, because these devices are in use: {}. Unmount them, or name them in \
         properties/skip_block_devices of the node.",
        busy.join(", ")
    )))
}

fn failed(details: String) -> Failure {
    Failure::new(FailureKind::BlockDeviceErase, details)
}

/// The devices that the kernel does not let us have for ourselves: whoever uses them is not in
/// the lists that we know, for example a mount of another name space.
fn claimed<'a>(system: &System, devices: impl Iterator<Item = &'a Erasable>) -> Vec<String> {
    let claimed = devices.filter_map(|Erasable(device)| {
        match system.disks.open(Path::new(&device.name)) {
            Err(DiskError::Busy { .. }) => Some(format!("{} (claimed)", device.name)),
            // Whatever else is wrong with it is found out by whoever erases it.
            _ => None,
        }
    });
    claimed.collect()
}

fn is_partition_of(partition: &BlockDevice, device: &BlockDevice) -> bool {
    partition.kind == Kind::Partition && partition.parent.as_deref() == Some(&device.name)
}

fn check_shared(device: &BlockDevice, content: &Content) -> Result<(), Failure> {
    let Some(shared) = content.shared.first() else {
        if content.is_cut {
            return Err(Failure::new(
                FailureKind::ProtectedDevice,
                format!(
                    "Nothing was erased: the partition tables on {} name more partitions than \
                     can be examined, and one of them may hold a file system that other machines \
                     use. {OVERRIDES}",
                    device.name
                ),
            ));
        }
        return Ok(());
    };
    let place = match &shared.partition {
        Some(partition) => format!("{partition} of {}", device.name),
        None => device.name.clone(),
    };
    Err(Failure::new(
        FailureKind::ProtectedDevice,
        format!(
            "Nothing was erased: protected {} found on {place}. Other machines may be using it. \
             {OVERRIDES}",
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
                .map(|device| {
                    (
                        device.name.clone(),
                        guarded_filesystem::probe(system, device),
                    )
                })
                .collect(),
        )
    }

    /// Whether it, or a partition of it, has a superblock of Linux RAID.
    fn has_member(&self, device: &BlockDevice, all: &[BlockDevice]) -> Result<bool, Failure> {
        let name = Some(device.name.as_str());
        let mut partitions = all.iter().filter(|other| other.parent.as_deref() == name);
        // What cannot be read is said when it is its own turn.
        let is_member = |device: &BlockDevice| self.of(device).is_ok_and(|found| found.raid_member);
        Ok(self.of(device)?.raid_member || partitions.any(is_member))
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
    all: &'a [BlockDevice],
    skipped: HashSet<&'a str>,
    by_name: HashMap<&'a str, &'a BlockDevice>,
}

impl<'a> Relations<'a> {
    fn new(all: &'a [BlockDevice], allowed: &[BlockDevice]) -> Self {
        let names: HashSet<&str> = allowed.iter().map(|device| device.name.as_str()).collect();
        Self {
            all,
            skipped: all
                .iter()
                .map(|device| device.name.as_str())
                .filter(|name| !names.contains(name))
                .collect(),
            by_name: all
                .iter()
                .map(|device| (device.name.as_str(), device))
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

    /// The device and everything that lies on it.
    fn on(&self, device: &BlockDevice) -> Vec<&'a str> {
        let lies_on = |other: &&BlockDevice| {
            let under = self.under(other);
            under.iter().any(|below| below.name == device.name)
        };
        self.all
            .iter()
            .filter(lies_on)
            .map(|other| other.name.as_str())
            .collect()
    }

    fn skipped(&self, device: &BlockDevice) -> Option<String> {
        let is_skipped = |name: &str| self.skipped.contains(name);
        if self
            .under(device)
            .iter()
            .any(|below| is_skipped(&below.name))
        {
            return Some("skip_block_devices names it, or the disk under it".to_owned());
        }
        let above = self.on(device).into_iter().find(|name| is_skipped(name))?;
        Some(format!(
            "skip_block_devices names {above}, which lies on it"
        ))
    }

    /// Whether it, or a partition of it, belongs to an array of Linux that is running.
    fn is_member(&self, device: &BlockDevice, firmware: &FirmwareArrays<'_>) -> bool {
        let members = self.all.iter().filter(|array| !firmware.is_on(array));
        let mut members = members.flat_map(|array| &array.members);
        members.any(|member| self.is_or_holds(device, member))
    }

    /// Whether a device is this one, or has it as a partition.
    fn is_or_holds(&self, device: &BlockDevice, name: &str) -> bool {
        let known = self.by_name.get(name);
        name == device.name
            || known.is_some_and(|member| member.parent.as_deref() == Some(&device.name))
    }
}

/// Whether udev calls it the medium with the ramdisk's configuration.
fn is_labelled_virtual_media(system: &System, name: &str) -> bool {
    let link = std::fs::read_link(system.root.path("/dev/disk/by-label/ir-vfd-dev"));
    link.is_ok_and(|target| target.file_name() == Path::new(name).file_name())
}

/// The arrays that the node's skip list keeps, by the names of their volumes.
struct Volumes(HashMap<String, Fate>);

impl Volumes {
    fn new(node: &Node, arrays: &[Array]) -> Self {
        let fates = keep_by_name::classify(arrays, &keep_by_name::volumes(node));
        let names = arrays.iter().map(|array| array.name.clone());
        Self(names.zip(fates).collect())
    }

    /// Why an array, or a partition of one, is left alone.
    fn reason(
        &self,
        device: &BlockDevice,
        relations: &Relations<'_>,
        scope: Scope,
    ) -> Option<String> {
        let below = relations.under(device);
        let array = below.iter().find(|below| below.kind == Kind::Raid)?;
        match self.0.get(&array.name)? {
            Fate::Keep => Some("skip_block_devices names its volume".to_owned()),
            // Such an array goes when the RAID configuration is deleted.
            Fate::Wipe { .. } if scope == Scope::Everything => {
                Some("it shares disks with a volume that skip_block_devices names".to_owned())
            }
            Fate::Wipe { .. } | Fate::Delete => None,
        }
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
        let is_listed = |name: &String| {
            let path = format!("/dev/{name}");
            devices.iter().any(|known| known.name == path)
        };
        let mut strangers = holders.into_iter().filter(|name| !is_listed(name));
        let holder = strangers.find(|name| name.starts_with("dm-"))?;
        Some((device.name.clone(), holder))
    });
    mounts
        .filter(|(source, _)| source.starts_with("/dev/"))
        .chain(swaps)
        .chain(mapped)
        .collect()
}
