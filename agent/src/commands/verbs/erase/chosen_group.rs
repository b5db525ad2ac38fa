//! The disks of an order to erase: chosen before anything is touched, and found again before the
//! step of their group, since names of disks may change while another group is erased for hours.

use ironic_document::JsonObject;

use crate::commands::disk_selector::DiskSelector;
use crate::commands::document_fields::{FieldProblem, InvalidOrderField};
use crate::commands::erase_order::EraseGroup;
use crate::commands::failure::Failure;
use crate::commands::ordered_step::OrderedStep;
use crate::commands::plan::PlannedAction;
use crate::hardware::OrderedDisks;
use crate::machine::block::BlockDevice;
use crate::machine::ironic_node::Node;
use crate::steps::StepPhase;

/// A group whose disks are chosen.
pub(super) struct ChosenGroup<'a> {
    group: &'a EraseGroup,
    /// The disks; `None`: all.
    disks: Option<Vec<ChosenDisk>>,
}

/// A disk as it was when it was chosen.
struct ChosenDisk {
    /// The field of the order that selects it.
    path: String,
    disk: BlockDevice,
    /// Whether it differs from all others by more than its name.
    is_unique: bool,
}

/// A group that may be erased now.
pub(super) struct ReadyGroup {
    pub(super) step: OrderedStep,
    pub(super) ordered: OrderedDisks,
    /// Disks that are there and not meant.
    others: Vec<String>,
}

impl<'a> ChosenGroup<'a> {
    /// Chooses the disks of a group.
    ///
    /// # Errors
    /// A selector describes no disk.
    pub(super) fn new(
        group: &'a EraseGroup,
        devices: &[BlockDevice],
        node: &Node,
    ) -> Result<Self, Failure> {
        let disks = match &group.disks {
            Some(selectors) => {
                let selectors = selectors.iter();
                let chosen = selectors.map(|selector| ChosenDisk::new(selector, devices, node));
                Some(chosen.collect::<Result<Vec<_>, Failure>>()?)
            }
            None => None,
        };
        Ok(Self { group, disks })
    }

    /// The group with its disks as they are called now.
    ///
    /// # Errors
    /// One of them is gone.
    pub(super) fn ready(
        &self,
        devices: &[BlockDevice],
        node: &Node,
    ) -> Result<ReadyGroup, Failure> {
        let mut own = Vec::new();
        for chosen in self.disks.iter().flatten() {
            own.push(chosen.find_again(devices)?.clone());
        }
        // The order itself names what is erased; this is for managers that are programs of their
        // own, which know the node's list.
        let is_other = |device: &&BlockDevice| own.iter().all(|disk| disk.name != device.name);
        let others: Vec<String> = match self.disks {
            Some(_) => devices
                .iter()
                .filter(is_other)
                .map(|device| device.name.clone())
                .collect(),
            None => Vec::new(),
        };
        let policy = &self.group.policy;
        Ok(ReadyGroup {
            step: OrderedStep {
                phase: StepPhase::Clean,
                interface: "deploy",
                name: policy.step,
                arguments: JsonObject::new(),
                node: policy.node(node, &others),
            },
            ordered: OrderedDisks::new(self.disks.as_ref().map(|_| own)),
            others,
        })
    }
}

/// Refuses groups of which two have the same disk.
pub(super) fn refuse_twice(groups: &[ChosenGroup<'_>]) -> Result<(), InvalidOrderField> {
    let mut seen: Vec<&ChosenDisk> = Vec::new();
    for chosen in groups.iter().flat_map(|group| group.disks.iter().flatten()) {
        let name = &chosen.disk.name;
        if let Some(earlier) = seen.iter().find(|earlier| earlier.disk.name == *name) {
            return Err(InvalidOrderField {
                path: chosen.path.clone(),
                problem: FieldProblem::SelectedTwice {
                    disk: name.clone(),
                    earlier: earlier.path.clone(),
                },
            });
        }
        seen.push(chosen);
    }
    Ok(())
}

impl ChosenDisk {
    fn new(selector: &DiskSelector, devices: &[BlockDevice], node: &Node) -> Result<Self, Failure> {
        let disk = selector.choose(devices, node)?;
        let same = devices.iter();
        let same = same.filter(|device| device.has_hardware_of(&disk)).count();
        Ok(Self {
            path: selector.path.clone(),
            is_unique: disk.has_identity() && same == 1,
            disk,
        })
    }

    /// The disk among those that are there now. Under another name it is known only by what no
    /// other disk had.
    fn find_again<'a>(&self, devices: &'a [BlockDevice]) -> Result<&'a BlockDevice, Failure> {
        let same = devices.iter();
        let same: Vec<&BlockDevice> = same
            .filter(|device| device.has_hardware_of(&self.disk))
            .collect();
        let mut named = same.iter().copied();
        match (named.find(|device| device.name == self.disk.name), &*same) {
            (Some(device), _) => Ok(device),
            (None, [device]) if self.is_unique => Ok(*device),
            _ => Err(Failure::execution(format!(
                "{}: {}, which it selected, is gone, or another disk has its name. It was not \
                 erased; look at the machine's disks and order it again.",
                self.path, self.disk.name
            ))),
        }
    }
}

impl ReadyGroup {
    /// Whether a device of the step's answer is meant, and not one that is left alone because it
    /// is not.
    pub(super) fn is_meant(&self, device: &str) -> bool {
        self.others.iter().all(|other| other != device)
    }

    /// Whether an action is about a disk that is meant.
    pub(super) fn is_meant_by(&self, action: &PlannedAction) -> bool {
        action.destructive || self.is_meant(&action.device)
    }
}
