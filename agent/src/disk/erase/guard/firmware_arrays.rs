//! Arrays that firmware made (IMSM, DDF). Linux RAID is left to the step that removes the RAID
//! configuration; the disks of these are erased like others, and so the arrays are stopped
//! before.

use std::collections::HashSet;

use crate::disk::erase::guard::erasable::Erasable;
use crate::disk::erase::guard::error::GuardError;
use crate::machine::block::BlockDevice;
use crate::machine::raid::Array;
use crate::system::{Cmd, System};
use crate::task::Task;

/// Arrays whose disks are erased.
#[derive(Debug, Default)]
pub struct StoppedArrays {
    /// The arrays and their partitions.
    pub arrays: Vec<Erasable>,
    /// The names of the arrays and of the containers around them, in the order of stopping.
    pub to_stop: Vec<String>,
}

impl StoppedArrays {
    /// Stops the arrays, so that their disks are free.
    ///
    /// # Errors
    /// One cannot be stopped.
    pub async fn stop(&self, system: &System, task: &Task) -> Result<(), GuardError> {
        for name in &self.to_stop {
            let stop = Cmd::new("mdadm").args(["--stop", name]);
            let stopped = system.run.run(stop).await;
            stopped.map_err(|source| GuardError::ArrayNotStopped {
                array: name.clone(),
                source,
            })?;
            task.phase_ended(format!("array {name} stopped"));
        }
        Ok(())
    }
}

/// The arrays of firmware that are running.
#[derive(Debug)]
pub(super) struct FirmwareArrays<'a>(Vec<&'a Array>);

impl<'a> FirmwareArrays<'a> {
    /// Those of some arrays. Containers come last: they cannot be stopped before.
    pub(super) fn new(arrays: &'a [Array]) -> Self {
        let known = arrays.iter().filter(|array| array.firmware.is_some());
        let mut known: Vec<_> = known.collect();
        known.sort_by_key(|array| (array.firmware, &array.name));
        Self(known)
    }

    /// Whether a device is such an array, or a partition of one.
    pub(super) fn is_on(&self, device: &BlockDevice) -> bool {
        let array = device.parent.as_ref().unwrap_or(&device.name);
        self.0.iter().any(|known| known.name == *array)
    }

    /// The disks in them.
    pub(super) fn members(&self) -> HashSet<&str> {
        let members = self.0.iter().flat_map(|array| &array.members);
        members.map(String::as_str).collect()
    }

    /// The names of the arrays whose disks are among those that are `erased`: all, or none.
    ///
    /// # Errors
    /// Some of an array's disks are, others are not.
    pub(super) fn to_stop(&self, erased: &HashSet<&str>) -> Result<Vec<String>, GuardError> {
        let mut names = Vec::new();
        for array in &self.0 {
            let (go, stay): (Vec<_>, Vec<_>) = array
                .members
                .iter()
                .partition(|member| erased.contains(member.as_str()));
            match (go.first(), stay.first()) {
                (Some(goes), Some(stays)) => {
                    return Err(GuardError::SplitArray {
                        array: array.name.clone(),
                        erased: (*goes).clone(),
                        kept: (*stays).clone(),
                    });
                }
                (Some(_), None) => names.push(array.name.clone()),
                (None, _) => {}
            }
        }
        Ok(names)
    }
}
