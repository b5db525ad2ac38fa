//! Drives that answer no read because an erase of theirs was interrupted, for example by a loss of
//! power: they are locked with the password that it set.

use crate::disk::erase::guard::error::GuardError;
use crate::disk::erase::{ata, forget_partitions, nvme};
use crate::machine::block::{self, DeviceKind};
use crate::system::System;

/// Unlocks a device that cannot be read, if it is such a drive. Nothing on it changes. Answers
/// whether it may be examined again.
///
/// # Errors
/// It is locked, and not with our password.
pub(super) async fn unlock(system: &System, name: &str) -> Result<bool, GuardError> {
    let (machine, wanted) = (system.clone(), name.to_owned());
    let found = tokio::task::spawn_blocking(move || {
        let mut devices = block::probe(&machine).into_iter();
        devices.find(|device| device.name == wanted)
    });
    let is_drive = found
        .await?
        .is_some_and(|device| device.kind == DeviceKind::Disk && !nvme::is_namespace(&device));
    if !is_drive {
        return Ok(false);
    }
    let unlocked = ata::unlock_interrupted(system, name).await;
    let unlocked = unlocked.map_err(|source| GuardError::Locked {
        device: name.to_owned(),
        source,
    })?;
    if unlocked {
        // The kernel could not read its partition table before.
        forget_partitions(system, name).await;
    }
    Ok(unlocked)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex};

    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;
    use serde_json::json;

    use crate::disk::erase::ata::tests::identity;
    use crate::disk::erase::guard::{GuardError, Scope, select};
    use crate::machine::ironic_node::Node;
    use crate::machine::testing::FakeMachine;
    use crate::system::process::{Cmd, Output, Run, RunError};

    const SIZE: usize = 4 << 20;

    /// The drive `/dev/sda`, which answers reads once it was given its password.
    #[derive(Debug)]
    struct LockedDrive {
        content: PathBuf,
        password: &'static str,
        is_frozen: bool,
        asked: Mutex<usize>,
    }

    impl LockedDrive {
        fn answer(&self, line: &str) -> String {
            *self.asked.lock().unwrap() += 1;
            let given = line.strip_prefix("hdparm --user-master u --security-unlock ");
            if given == Some(&format!("{} /dev/sda", self.password)) {
                std::fs::write(&self.content, vec![0; SIZE]).unwrap();
            }
            if given.is_some() {
                return String::new();
            }
            assert_eq!(line, "hdparm -I /dev/sda");
            let is_locked = std::fs::read(&self.content).unwrap().is_empty();
            let word = |is_so, word| format!("{}\t{word}", if is_so { "" } else { "not" });
            identity(&[
                "\tsupported",
                "\tenabled",
                &word(is_locked, "locked"),
                &word(self.is_frozen, "frozen"),
            ])
        }
    }

    impl Run for LockedDrive {
        fn run(&self, cmd: Cmd) -> BoxFuture<'_, Result<Output, RunError>> {
            let output = Output {
                stdout: self.answer(&cmd.to_string()).into(),
                ..Output::default()
            };
            std::future::ready(Ok(output)).boxed()
        }
    }

    /// What is selected on a machine with such a drive and another disk, and how many programs
    /// were run.
    async fn selected(
        password: &'static str,
        is_frozen: bool,
        node: &Node,
    ) -> (Result<Vec<String>, GuardError>, usize) {
        let mut machine = FakeMachine::new();
        machine.file("proc/self/mounts", "");
        machine.sata_disk("sda", SIZE as u64, 1);
        machine.sata_disk("sdb", SIZE as u64, 2);
        machine
            .bytes("dev/sda", &[])
            .bytes("dev/sdb", &vec![0; SIZE]);
        let drive = Arc::new(LockedDrive {
            content: machine.path().join("dev/sda"),
            password,
            is_frozen,
            asked: Mutex::default(),
        });
        let system = machine.system_with(drive.clone());
        let selection = select(&system, node, true, Scope::Disks).await;
        let names = selection.map(|selection| {
            let erasable = selection.erasable.iter();
            erasable
                .map(|erasable| erasable.device().name.clone())
                .collect()
        });
        let asked = *drive.asked.lock().unwrap();
        (names, asked)
    }

    #[tokio::test]
    async fn a_drive_that_an_interrupted_erase_locked_is_unlocked() {
        for (password, programs) in [("NULL", 3), ("", 5)] {
            let (names, asked) = selected(password, false, &Node::default()).await;
            assert_eq!(names.unwrap(), ["/dev/sdb", "/dev/sda"], "{password}");
            assert_eq!(asked, programs, "{password}");
        }
        for (is_frozen, programs, text) in [
            (
                false,
                5,
                "/dev/sda cannot be read: it is locked with a password that is not ours",
            ),
            (true, 1, "/dev/sda could not be examined"),
        ] {
            let (names, asked) = selected("theirs", is_frozen, &Node::default()).await;
            let error = names.unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
            assert_eq!(asked, programs);
        }
        let skip = json!({"properties": {"skip_block_devices": [{"name": "/dev/sda"}]}});
        let node = Node(skip.as_object().unwrap().clone());
        let (names, asked) = selected("NULL", false, &node).await;
        assert_eq!((names.unwrap(), asked), (vec!["/dev/sdb".to_owned()], 0));
    }
}
