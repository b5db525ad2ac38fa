//! The decision which devices may be erased, of what is known of all of them.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::disk::erase::guard::contents::{Contents, check_shared};
use crate::disk::erase::guard::erasable::Erasable;
use crate::disk::erase::guard::error::GuardError;
use crate::disk::erase::guard::firmware_arrays::{FirmwareArrays, StoppedArrays};
use crate::disk::erase::guard::in_use;
use crate::disk::erase::guard::keep_by_name::{self, ArrayDecision};
use crate::disk::erase::guard::relations::{Relations, is_partition_of};
use crate::disk::erase::guard::selection::{IDLE_MEMBER, Scope, Selection, VIRTUAL_MEDIA};
use crate::machine::block::{self, BlockDevice, DeviceKind, hints};
use crate::machine::ironic_node::Node;
use crate::machine::raid::{self, Array};
use crate::system::System;

/// Decides for all devices of the machine, before the first one is touched. `guarded` keeps
/// file systems that other machines may be using. Where disks are `ordered`, nothing else is
/// erased, whatever has appeared since.
pub(super) fn decide(
    system: &System,
    node: &Node,
    guarded: bool,
    scope: Scope,
    ordered: Option<&[BlockDevice]>,
) -> Result<Selection, GuardError> {
    let all = block::probe_with_partitions(system);
    refuse_gone(&all, ordered)?;
    let allowed = hints::without_skipped(&all, node).map_err(GuardError::SkipList)?;
    let arrays = raid::probe(system, &all);
    // An erasure of some disks only takes none of an array.
    let firmware = FirmwareArrays::new(if scope == Scope::Some { &[] } else { &arrays });
    let known = DeviceFacts {
        system,
        contents: Contents::read(system, &all),
        relations: Relations::new(&all, &allowed).with_order(ordered),
        volumes: KeptVolumes::new(node, &arrays),
        firmware,
        all: &all,
        scope,
        skips_read_only: scope != Scope::Disks || node.erase_options().skip_read_only,
    };
    let mut selection = known.select(guarded)?;
    // The name of a partition need not begin with that of its disk: a map's does not.
    selection.erasable.sort_by_cached_key(|erasable| {
        let device = erasable.device();
        let disk = device.parent.as_ref().unwrap_or(&device.name);
        let is_whole = device.kind != DeviceKind::Partition;
        (
            Reverse(disk.clone()),
            is_whole,
            Reverse(device.name.clone()),
        )
    });
    selection.devices = all;
    Ok(selection)
}

/// Refuses disks that were chosen and are gone, or whose name another one has got.
fn refuse_gone(all: &[BlockDevice], ordered: Option<&[BlockDevice]>) -> Result<(), GuardError> {
    let is_there = |disk: &BlockDevice| {
        let mut known = all.iter();
        known.any(|known| known.name == disk.name && known.has_hardware_of(disk))
    };
    let mut ordered = ordered.into_iter().flatten();
    match ordered.find(|disk| !is_there(disk)) {
        Some(disk) => Err(GuardError::Gone(disk.name.clone())),
        None => Ok(()),
    }
}

/// What is known of the machine's devices.
struct DeviceFacts<'a> {
    system: &'a System,
    all: &'a [BlockDevice],
    contents: Contents,
    relations: Relations<'a>,
    volumes: KeptVolumes,
    firmware: FirmwareArrays<'a>,
    scope: Scope,
    skips_read_only: bool,
}

impl DeviceFacts<'_> {
    /// Selects among all devices. `guarded` keeps file systems that other machines may be
    /// using.
    fn select(&self, guarded: bool) -> Result<Selection, GuardError> {
        let in_use = in_use::in_use(self.system, self.all)?;
        let mut selection = Selection::default();
        let (mut busy, mut read_only) = (Vec::new(), Vec::new());
        for device in self.all {
            if self.scope != Scope::Everything && device.kind == DeviceKind::Partition {
                continue;
            }
            // Not left alone with a reason: who orders some disks knows that others stay.
            if !self.relations.is_ordered(device) {
                continue;
            }
            if let Some(reason) = self.reason_to_leave(device)? {
                selection.left_alone.push((device.name.clone(), reason));
                continue;
            }
            if guarded {
                self.check_shared(device)?;
            }
            if device.read_only {
                read_only.push(device.name.clone());
            }
            let users = self.relations.on(device).into_iter();
            busy.extend(users.filter_map(|user| Some(format!("{user} ({})", in_use.get(user)?))));
            let erasable = Erasable::new(device);
            if self.firmware.is_on(device) {
                selection.firmware.arrays.push(erasable);
            } else {
                selection.erasable.push(erasable);
            }
        }
        stop_firmware(&mut selection, &self.firmware)?;
        if !read_only.is_empty() {
            return Err(GuardError::ReadOnly(read_only));
        }
        if busy.is_empty() {
            busy = self.claimed(&selection);
        }
        in_use::refuse(busy)?;
        Ok(selection)
    }

    /// Why a device is left alone without a failure.
    fn reason_to_leave(&self, device: &BlockDevice) -> Result<Option<String>, GuardError> {
        let relations = &self.relations;
        let named = relations
            .unordered(device)
            .or_else(|| relations.skipped(device))
            .or_else(|| self.volumes.reason(device, relations, self.scope));
        if named.is_some() {
            return Ok(named);
        }
        let reason = if relations.is_member(device, &self.firmware) {
            "it is a member of a RAID array"
        } else if self.contents.has_member(device, self.all)? {
            // With a success, as in the Python agent; but the result says it.
            IDLE_MEMBER
        } else if device.may_be_virtual_media() && self.is_virtual_media(device)? {
            VIRTUAL_MEDIA
        } else if device.read_only && self.skips_read_only {
            "it is read-only"
        } else {
            return Ok(None);
        };
        Ok(Some(reason.to_owned()))
    }

    fn is_virtual_media(&self, device: &BlockDevice) -> Result<bool, GuardError> {
        let is_labelled = self.contents.of(device)?.virtual_media;
        Ok(is_labelled || is_labelled_virtual_media(self.system, &device.name))
    }

    /// Refuses a device that holds what other machines may be using.
    fn check_shared(&self, device: &BlockDevice) -> Result<(), GuardError> {
        check_shared(device, self.contents.of(device)?)?;
        // What the kernel made partitions of, by whatever table.
        let others = self.all.iter();
        for partition in others.filter(|other| is_partition_of(other, device)) {
            check_shared(partition, self.contents.of(partition)?)?;
        }
        Ok(())
    }

    /// The selected devices that the kernel does not let us have for ourselves.
    fn claimed(&self, selection: &Selection) -> Vec<String> {
        let devices = selection.erasable.iter().map(Erasable::device);
        let free = devices.filter(|device| {
            // Its array claims it, and goes.
            let is_under = |member: &str| {
                self.relations.is_or_holds(device, member)
                    || device.parent.as_deref() == Some(member)
            };
            !self.firmware.members().into_iter().any(is_under)
        });
        in_use::claimed(self.system, free.flat_map(|device| self.told_by(device)))
    }

    /// The devices that tell by whether they are claimed whether one is. The partitions of a map
    /// claim it, other than a disk's own, and go with it.
    fn told_by<'b>(&'b self, device: &'b BlockDevice) -> Vec<&'b BlockDevice> {
        let others = self.all.iter();
        let partitions = others.filter(|other| is_partition_of(other, device) && other.is_map());
        let partitions: Vec<_> = partitions.collect();
        if partitions.is_empty() {
            vec![device]
        } else {
            partitions
        }
    }
}

/// Of arrays whose disks are erased the disks are; others are erased themselves.
fn stop_firmware(
    selection: &mut Selection,
    firmware: &FirmwareArrays<'_>,
) -> Result<(), GuardError> {
    let names = selection.erasable.iter().map(Erasable::device);
    let names: HashSet<&str> = names.map(|device| device.name.as_str()).collect();
    let to_stop = firmware.to_stop(&names)?;
    let goes = |device: &BlockDevice| {
        let array = device.parent.as_ref().unwrap_or(&device.name);
        to_stop.contains(array)
    };
    let arrays = std::mem::take(&mut selection.firmware.arrays);
    let (arrays, others) = arrays.into_iter().partition(|array| goes(array.device()));
    selection.erasable.extend::<Vec<_>>(others);
    selection.firmware = StoppedArrays { arrays, to_stop };
    Ok(())
}

/// Whether udev calls it the medium with the ramdisk's configuration.
fn is_labelled_virtual_media(system: &System, name: &str) -> bool {
    let link = std::fs::read_link(system.root.path("/dev/disk/by-label/ir-vfd-dev"));
    link.is_ok_and(|target| target.file_name() == Path::new(name).file_name())
}

/// The arrays that the node's skip list keeps, by the names of their volumes.
pub(super) struct KeptVolumes(HashMap<String, ArrayDecision>);

impl KeptVolumes {
    pub(super) fn new(node: &Node, arrays: &[Array]) -> Self {
        let decisions = keep_by_name::classify(arrays, &keep_by_name::volumes(node));
        let names = arrays.iter().map(|array| array.name.clone());
        Self(names.zip(decisions).collect())
    }

    /// Why an array, or a partition of one, is left alone.
    pub(super) fn reason(
        &self,
        device: &BlockDevice,
        relations: &Relations<'_>,
        scope: Scope,
    ) -> Option<String> {
        let below = relations.under(device);
        let array = below.iter().find(|below| below.kind == DeviceKind::Raid)?;
        match self.0.get(&array.name)? {
            ArrayDecision::Keep => Some("skip_block_devices names its volume".to_owned()),
            // Such an array goes when the RAID configuration is deleted.
            ArrayDecision::Wipe { .. } if scope == Scope::Everything => {
                Some("it shares disks with a volume that skip_block_devices names".to_owned())
            }
            ArrayDecision::Wipe { .. } | ArrayDecision::Delete => None,
        }
    }
}
