//! Which devices may be erased. Everything is decided, for all of them, before the first one
//! is touched.

mod contents;
mod decide;
mod erasable;
mod error;
mod firmware_arrays;
mod in_use;
pub mod keep_by_name;
mod locked;
mod relations;
mod selection;

use std::collections::HashSet;

use contents::check_shared;
use relations::{Relations, is_partition_of};

use crate::machine::block::guarded_filesystem;
use crate::machine::block::{self, BlockDevice};
use crate::machine::ironic_node::Node;
use crate::system::System;

pub use erasable::Erasable;
pub use error::GuardError;
pub use firmware_arrays::StoppedArrays;
pub use selection::{IDLE_MEMBER, Scope, Selection};

/// Looks at all disks, arrays and partitions and decides. `guard` keeps file systems that
/// other machines may be using, unless the node allows to erase them. A drive that an interrupted
/// erase left locked is unlocked, since it cannot be examined before.
///
/// # Errors
/// Such a file system; a skip list that cannot be understood; a device that cannot be examined,
/// is read-only or in use. Nothing is erased then.
pub async fn select(
    system: &System,
    node: &Node,
    guard: bool,
    scope: Scope,
) -> Result<Selection, GuardError> {
    select_ordered(system, node, guard, scope, None).await
}

/// The same among the disks and arrays that an order names; `None`: all. Nothing is erased when
/// one of them is not what it was when it was chosen.
///
/// # Errors
/// As those of [`select`]; a disk that was chosen is gone.
pub async fn select_ordered(
    system: &System,
    node: &Node,
    guard: bool,
    scope: Scope,
    ordered: Option<&[BlockDevice]>,
) -> Result<Selection, GuardError> {
    let guarded = guard && !node.may_wipe_special_filesystems();
    let mut unlocked = HashSet::new();
    loop {
        let (machine, node) = (system.clone(), node.clone());
        let ordered = ordered.map(<[BlockDevice]>::to_vec);
        let look = move || decide::decide(&machine, &node, guarded, scope, ordered.as_deref());
        let decided = examine(look).await;
        match decided {
            // Each device once: what cannot be read after that is broken.
            Err(GuardError::Unreadable { device, source }) => {
                if !unlocked.insert(device.clone()) || !locked::unlock(system, &device).await? {
                    return Err(GuardError::Unreadable { device, source });
                }
            }
            decided => return decided,
        }
    }
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
) -> Result<(), GuardError> {
    let guarded = guard && !node.may_wipe_special_filesystems();
    let system = system.clone();
    examine(move || {
        let all = block::probe_with_partitions(&system);
        let relations = Relations::new(&all, &all);
        let in_use = in_use::in_use(&system, &all)?;
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
        in_use::refuse(busy)
    })
    .await
}

/// Makes sure that nothing on some devices is shared with other machines, before superblocks of
/// arrays are removed from them.
///
/// # Errors
/// Something is.
pub async fn check_content(
    system: &System,
    node: &Node,
    guard: bool,
    devices: Vec<BlockDevice>,
) -> Result<(), GuardError> {
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
    look: impl FnOnce() -> Result<T, GuardError> + Send + 'static,
) -> Result<T, GuardError> {
    tokio::task::spawn_blocking(look).await?
}
