//! Which device lies on which: partitions on disks and arrays, arrays on members, which may be
//! arrays themselves.

use std::collections::{HashMap, HashSet};

use crate::machine::block::device::{BlockDevice, DeviceKind};

/// Devices by their names, with what each lies on.
#[derive(Debug)]
pub struct StackedDevices<'a>(HashMap<&'a str, &'a BlockDevice>);

impl<'a> StackedDevices<'a> {
    /// Those of [`super::probe_with_partitions`].
    #[must_use]
    pub fn new(devices: &'a [BlockDevice]) -> Self {
        let named = devices.iter();
        Self(named.map(|device| (device.name.as_str(), device)).collect())
    }

    /// The device of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a BlockDevice> {
        self.0.get(name).copied()
    }

    /// The device and everything that it lies on.
    #[must_use]
    pub fn under<'b>(&self, device: &'b BlockDevice) -> Vec<&'b BlockDevice>
    where
        'a: 'b,
    {
        let mut found = vec![device];
        let mut next = 0;
        while let Some(device) = found.get(next).copied() {
            next += 1;
            let below = device.parent.iter().chain(&device.members);
            for name in below {
                if let Some(below) = self.get(name)
                    && !found.iter().any(|known| known.name == below.name)
                {
                    found.push(below);
                }
            }
        }
        found
    }

    /// The whole disks that hold these members of an array, in the order of the members, also
    /// where these are arrays or lie on some. What the kernel does not show stands for itself.
    #[must_use]
    pub fn disks(&self, members: &[String]) -> Vec<String> {
        let mut disks = Vec::new();
        let mut seen: HashSet<&str> = HashSet::new();
        let mut waiting: Vec<&str> = members.iter().rev().map(String::as_str).collect();
        while let Some(member) = waiting.pop() {
            let parent = self.get(member).and_then(|found| found.parent.as_deref());
            let holder = parent.unwrap_or(member);
            if !seen.insert(holder) {
                continue;
            }
            match self.get(holder) {
                Some(array) if array.kind == DeviceKind::Raid && !array.members.is_empty() => {
                    waiting.extend(array.members.iter().rev().map(String::as_str));
                }
                _ => disks.push(holder.to_owned()),
            }
        }
        disks
    }
}
