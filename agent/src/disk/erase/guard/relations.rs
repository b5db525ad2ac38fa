//! Which device lies on which: partitions on disks, arrays on members.

use std::collections::HashSet;

use crate::disk::erase::guard::firmware_arrays::FirmwareArrays;
use crate::machine::block::{BlockDevice, DeviceKind, StackedDevices};

/// Which device lies on which.
pub(super) struct Relations<'a> {
    all: &'a [BlockDevice],
    skipped: HashSet<&'a str>,
    /// The disks and arrays that an order names; `None`: all.
    ordered: Option<HashSet<&'a str>>,
    stacked: StackedDevices<'a>,
}

impl<'a> Relations<'a> {
    pub(super) fn new(all: &'a [BlockDevice], allowed: &[BlockDevice]) -> Self {
        let names: HashSet<&str> = allowed.iter().map(|device| device.name.as_str()).collect();
        Self {
            all,
            skipped: all
                .iter()
                .map(|device| device.name.as_str())
                .filter(|name| !names.contains(name))
                .collect(),
            ordered: None,
            stacked: StackedDevices::new(all),
        }
    }

    /// The same where an order names some disks and arrays.
    pub(super) fn with_order(mut self, ordered: Option<&'a [BlockDevice]>) -> Self {
        self.ordered = ordered.map(|disks| disks.iter().map(|disk| disk.name.as_str()).collect());
        self
    }

    /// Whether it, or the disk that it is a partition of, may be erased by the order.
    pub(super) fn is_ordered(&self, device: &BlockDevice) -> bool {
        let disk = device.parent.as_ref().unwrap_or(&device.name);
        let ordered = self.ordered.as_ref();
        ordered.is_none_or(|names| names.contains(disk.as_str()))
    }

    /// Why what an order names is left alone: it would take something else with it.
    pub(super) fn unordered(&self, device: &BlockDevice) -> Option<String> {
        let mut below = self.under(device).into_iter();
        if let Some(below) = below.find(|below| !self.is_ordered(below)) {
            let name = &below.name;
            return Some(format!("it lies on {name}, which the order does not name"));
        }
        let is_other = |name: &&str| {
            let other = self.stacked.get(name);
            other.is_some_and(|other| !self.is_ordered(other))
        };
        let above = self.on(device).into_iter().find(is_other)?;
        Some(format!(
            "{above}, which the order does not name, lies on it"
        ))
    }

    /// The device and everything that it lies on.
    pub(super) fn under<'b>(&'b self, device: &'b BlockDevice) -> Vec<&'b BlockDevice> {
        self.stacked.under(device)
    }

    /// The device and everything that lies on it.
    pub(super) fn on(&self, device: &BlockDevice) -> Vec<&'a str> {
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

    pub(super) fn skipped(&self, device: &BlockDevice) -> Option<String> {
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

    /// Whether it, or a partition of it, belongs to an array that is running, of Linux or mapped.
    /// What lies under anything else, a cache for example, is no member: it is in use.
    pub(super) fn is_member(&self, device: &BlockDevice, firmware: &FirmwareArrays<'_>) -> bool {
        let is_array = |device: &BlockDevice| device.kind == DeviceKind::Raid || device.is_map();
        let arrays = self.all.iter().filter(|array| is_array(array));
        let arrays = arrays.filter(|array| !firmware.is_on(array));
        let mut members = arrays.flat_map(|array| &array.members);
        members.any(|member| self.is_or_holds(device, member))
    }

    /// Whether a device is this one, or has it as a partition.
    pub(super) fn is_or_holds(&self, device: &BlockDevice, name: &str) -> bool {
        let known = self.stacked.get(name);
        name == device.name
            || known.is_some_and(|member| member.parent.as_deref() == Some(&device.name))
    }
}

/// Whether a device is a partition of another.
pub(super) fn is_partition_of(partition: &BlockDevice, device: &BlockDevice) -> bool {
    partition.kind == DeviceKind::Partition && partition.parent.as_deref() == Some(&device.name)
}
