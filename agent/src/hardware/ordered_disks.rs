//! The disks that an order to erase names, and what a step makes of them.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::machine::block::BlockDevice;

/// The disks of an order to erase. A list of what may be erased, not of what may not: the list of
/// all others is out of date as soon as a disk appears.
#[derive(Debug, Default)]
pub struct OrderedDisks {
    named: Option<Vec<BlockDevice>>,
    selected: Mutex<Option<BTreeSet<String>>>,
}

impl OrderedDisks {
    /// An order for these disks as they were seen last; `None`: for all.
    #[must_use]
    pub fn new(named: Option<Vec<BlockDevice>>) -> Self {
        Self {
            named,
            selected: Mutex::default(),
        }
    }

    /// The disks; `None`: all.
    #[must_use]
    pub fn named(&self) -> Option<&[BlockDevice]> {
        self.named.as_deref()
    }

    /// Notes which devices a step is about to erase.
    pub fn note_selected(&self, names: BTreeSet<String>) {
        let mut selected = self.selected.lock().unwrap_or_else(PoisonError::into_inner);
        *selected = Some(names);
    }

    /// What a step selected; `None`: it did not say, as those of other programs do not.
    #[must_use]
    pub fn selected(&self) -> Option<BTreeSet<String>> {
        let selected = self.selected.lock().unwrap_or_else(PoisonError::into_inner);
        selected.clone()
    }
}
