//! Removing every trace of what a disk was: partition tables, RAID, LVM, file systems.

use std::path::PathBuf;

use ironic_ondisk::size::MIB;
use thiserror::Error;
use tokio::task::JoinError;

use crate::disk::partition::device;
use crate::machine::block::BlockDevice;
use crate::system::disk::{Disk, DiskError};
use crate::system::{Cmd, RunError, System};
use crate::task::{Cancelled, Task};

/// Why the metadata of a device is not destroyed.
#[derive(Debug, Error)]
pub enum MetadataError {
    /// The command was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// `wipefs` failed.
    #[error("Destroying metadata failed on device {device}. Error")]
    Program {
        /// The device.
        device: String,
        /// What it said.
        source: RunError,
    },
    /// The device is in use or failed.
    #[error("Destroying metadata failed on device {device}. Error")]
    Disk {
        /// The device.
        device: String,
        /// What it said.
        source: DiskError,
    },
    /// The work ended without a result.
    #[error("Destroying metadata failed on device {device}. Error")]
    Thread {
        /// The device.
        device: String,
        /// Why.
        source: JoinError,
    },
}

/// What is zeroed at both ends. It covers both partition tables (33 sectors), the superblocks
/// of RAID (at most 128 KiB from the end) and LVM, and the labels of ZFS (512 KiB).
pub const EDGE: u64 = MIB;

/// Zeros both ends of a disk, all of a smaller one.
///
/// # Errors
/// What the disk said.
pub fn zero_ends(disk: &mut dyn Disk) -> Result<(), DiskError> {
    let size = disk.geometry().size;
    zero_ends_of(disk, 0, size)?;
    disk.sync()
}

/// Zeros both ends of `size` bytes of a disk from `offset` on, without a flush.
///
/// # Errors
/// What the disk said.
pub fn zero_ends_of(disk: &mut dyn Disk, offset: u64, size: u64) -> Result<(), DiskError> {
    let edge = EDGE.min(size);
    // The backup first: when the power goes in between, the disk boots what it held, instead of
    // holding a backup that somebody may restore later.
    disk.zero(offset + size - edge, edge)?;
    disk.zero(offset, edge)
}

/// Destroys the metadata of one disk or partition: all signatures, and both ends. In a
/// simulation only the ends.
///
/// # Errors
/// The device is in use or failed.
pub async fn destroy(
    system: &System,
    device: &BlockDevice,
    node_uuid: &str,
    task: &Task,
) -> Result<(), MetadataError> {
    let name = &device.name;
    task.check()?;
    tracing::info!(device = %name, node = %node_uuid, "destroying metadata");
    device::release(system, name).await;
    if system.simulation.is_none() {
        wipe_signatures(system, name, task).await?;
        task.check()?;
    }
    let disks = std::sync::Arc::clone(&system.disks);
    let path = PathBuf::from(name);
    let zeroed = tokio::task::spawn_blocking(move || {
        let mut disk = disks.open(&path)?;
        zero_ends(disk.as_mut())?;
        disk.reread_table()
    });
    let zeroed = zeroed.await.map_err(|source| MetadataError::Thread {
        device: name.clone(),
        source,
    })?;
    zeroed.map_err(|source| MetadataError::Disk {
        device: name.clone(),
        source,
    })?;
    task.phase_ended(format!("metadata of {name} destroyed"));
    Ok(())
}

/// Finds signatures anywhere on the device, not only where we look.
async fn wipe_signatures(system: &System, name: &str, task: &Task) -> Result<(), MetadataError> {
    let wipe = |force: &'static [&'static str]| {
        let args = force.iter().copied().chain(["--all", name]);
        system.run.run(Cmd::new("wipefs").args(args))
    };
    let mut result = wipe(&["--force"]).await;
    // Busybox and old versions do not know the option.
    if matches!(&result, Err(RunError::Failed { stderr, .. }) if stderr.contains("--force")) {
        result = wipe(&[]).await;
    }
    match result {
        Ok(_) => Ok(()),
        Err(RunError::Missing { program }) => {
            task.warn(format!(
                "{program} is not installed: only both ends of {name} are wiped"
            ));
            Ok(())
        }
        Err(source) => Err(MetadataError::Program {
            device: name.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ironic_text::error_chain;

    use super::*;
    use crate::system::process::{Output, Script};

    /// A machine whose disk is a file of 0xAA bytes and whose programs are scripted.
    fn machine(script: Arc<Script>, size: usize) -> (tempfile::NamedTempFile, System, BlockDevice) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![0xAA; size]).unwrap();
        let device = BlockDevice {
            name: file.path().to_str().unwrap().to_owned(),
            ..BlockDevice::default()
        };
        let system = System {
            run: script,
            ..System::linux()
        };
        (file, system, device)
    }

    fn refused(stderr: &str) -> Result<Output, RunError> {
        Err(RunError::Failed {
            program: "wipefs".into(),
            command: "wipefs".into(),
            status: 1,
            stderr: stderr.into(),
        })
    }

    #[tokio::test]
    async fn signatures_and_both_ends_go_and_the_rest_stays() {
        let (file, _, device) = machine(Arc::default(), 4 << 20);
        let script = Script::new()
            .expect_result(
                &format!("wipefs --force --all {}", device.name),
                refused("unrecognized option: --force"),
            )
            .expect(&format!("wipefs --all {}", device.name), "");
        let script = Arc::new(script);
        let system = System {
            run: script.clone(),
            ..System::linux()
        };
        destroy(&system, &device, "uuid", &Task::detached())
            .await
            .unwrap();
        script.assert_done();
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(bytes[..1 << 20].iter().all(|byte| *byte == 0));
        assert!(bytes[1 << 20..3 << 20].iter().all(|byte| *byte == 0xAA));
        assert!(bytes[3 << 20..].iter().all(|byte| *byte == 0));
    }

    #[tokio::test]
    async fn a_device_smaller_than_its_ends_is_zeroed_whole() {
        // An extended partition shows as 1 KiB.
        let (file, system, device) = machine(Arc::default(), 1024);
        let script = Script::new().expect_result(
            &format!("wipefs --force --all {}", device.name),
            Err(RunError::Missing {
                program: "wipefs".into(),
            }),
        );
        let system = System {
            run: Arc::new(script),
            ..system
        };
        let (task, mut heard) = Task::new();
        destroy(&system, &device, "uuid", &task).await.unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), vec![0; 1024]);
        let warning = heard.notes.try_recv().unwrap();
        assert!(format!("{warning:?}").contains("wipefs is not installed"));
    }

    #[tokio::test]
    async fn a_failure_names_the_device_and_the_program() {
        let (file, system, device) = machine(Arc::default(), 1024);
        let script = Script::new().expect_result(
            &format!("wipefs --force --all {}", device.name),
            refused("probing initialization failed: Device or resource busy"),
        );
        let system = System {
            run: Arc::new(script),
            ..system
        };
        let error = destroy(&system, &device, "uuid", &Task::detached())
            .await
            .unwrap_err();
        assert!(matches!(error, MetadataError::Program { .. }), "{error:?}");
        let text = error_chain(&error);
        assert!(
            text.contains(&device.name) && text.contains("busy"),
            "{text}"
        );
        assert_eq!(std::fs::read(file.path()).unwrap(), vec![0xAA; 1024]);
    }
}
