//! Starting the kernel of a deployed system from here, without the firmware.
//!
//! The kernel, its initial ramdisk and its arguments are found as the system's own boot loader
//! would find them. They are loaded by `kexec_file_load`, so it is the running kernel that judges
//! whether they may be started: one that is locked down refuses what is not signed.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::kernel_entry::{self, KernelEntry};
use crate::disk::filesystem::mount::{MountError, mount_system, unmount};
use crate::machine::block;
use crate::system::foreign_root::{EntryKind, ForeignRoot};
use crate::system::{Cmd, RunError, System};
use crate::task::{Cancelled, Task};

/// Where a file system of the deployed system is mounted for a moment.
const MOUNT_POINT: &str = "/run/ironic-agent/kexec";
/// Nothing of it is to be changed, run or talked to as a device.
const OPTIONS: &str = "ro,nodev,nosuid,noexec";
/// A directory that every root file system has.
const SYSTEM: &str = "etc";
/// Directories of entries of the Boot Loader Specification.
const ENTRIES: [&str; 2] = ["loader/entries", "boot/loader/entries"];
/// GRUB's menu, on a root file system and on one for `/boot` alone.
const MENUS: [&str; 4] = [
    "boot/grub/grub.cfg",
    "boot/grub2/grub.cfg",
    "grub/grub.cfg",
    "grub2/grub.cfg",
];
/// The largest configuration that is read.
const MAX_CONFIG_BYTES: u64 = 16 << 20;
/// The administrator's switch that turns loading off until the next boot.
const DISABLED: &str = "/proc/sys/kernel/kexec_load_disabled";
/// What the kernel forbids to root itself.
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Why the kernel of the deployed system is not loaded.
#[derive(Debug, Error)]
pub enum KexecError {
    /// The command was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// This machine loads no kernels any more.
    #[error("{DISABLED} is 1: this machine starts no other kernel before it is rebooted")]
    Disabled,
    /// No partition says what to boot.
    #[error(
        "no partition of {disk} says which kernel to boot, by loader/entries or GRUB's menu: reboot \
         by the firmware instead{}",
        skipped.iter().map(|reason| format!("; {reason}")).collect::<String>()
    )]
    NoKernel {
        /// The disk.
        disk: String,
        /// Partitions that could not be looked at, and why.
        skipped: Vec<String>,
    },
    /// The kernel's tool takes one initial ramdisk.
    #[error("{kernel} on {partition} has {count} initial ramdisks: reboot by the firmware instead")]
    SeveralInitrds {
        /// The kernel.
        kernel: String,
        /// Where it is.
        partition: String,
        /// How many.
        count: usize,
    },
    /// A file of the entry is not there, or leads out of the file system.
    #[error("{path} on {partition} cannot be loaded")]
    File {
        /// The file, as the entry names it.
        path: String,
        /// Where it is.
        partition: String,
        /// Why.
        source: io::Error,
    },
    /// The file system could not be unmounted.
    #[error("the file system of {partition} cannot be unmounted")]
    Unmount {
        /// Where it is.
        partition: String,
        /// Why.
        source: MountError,
    },
    /// The running kernel refused.
    #[error("the kernel was not loaded{}", lockdown_note(*is_locked_down))]
    Load {
        /// Whether it is locked down.
        is_locked_down: bool,
        /// What the program said.
        source: RunError,
    },
    /// A thread was lost.
    #[error("looking for partitions failed")]
    Thread(#[from] tokio::task::JoinError),
}

fn lockdown_note(is_locked_down: bool) -> &'static str {
    if is_locked_down {
        ": this kernel is locked down (Secure Boot) and starts only signed ones"
    } else {
        ""
    }
}

/// Loads the kernel of the system on a disk.
///
/// # Errors
/// No kernel can be found, or the running one refuses it.
pub async fn load(system: &System, disk: &str, task: &Task) -> Result<(), KexecError> {
    if system.root.read_optional(DISABLED).as_deref() == Some("1") {
        return Err(KexecError::Disabled);
    }
    let mut skipped = Vec::new();
    for partition in partitions(system, disk).await? {
        task.check()?;
        let mounted = mount_system(system, OPTIONS, &partition, MOUNT_POINT, SYSTEM).await;
        let mounted = match mounted {
            Ok(mounted) => mounted,
            Err(error) => {
                skipped.push(format!("{partition} is not mounted: {error}"));
                continue;
            }
        };
        let loaded = match find(&mounted) {
            Some(entry) => Some(load_entry(system, &partition, &mounted, &entry).await),
            None => None,
        };
        let unmounted = unmount(system, MOUNT_POINT).await;
        if let Some(loaded) = loaded {
            let sentence = loaded?;
            unmounted.map_err(|source| KexecError::Unmount { partition, source })?;
            task.phase_ended(sentence);
            return Ok(());
        }
        unmounted.map_err(|source| KexecError::Unmount { partition, source })?;
    }
    let disk = disk.to_owned();
    Err(KexecError::NoKernel { disk, skipped })
}

/// The command that starts the kernel that was loaded. It does not return where it succeeds.
#[must_use]
pub fn start() -> Cmd {
    Cmd::new("kexec").arg("--exec")
}

/// The partitions of a disk, in their order.
async fn partitions(system: &System, disk: &str) -> Result<Vec<String>, KexecError> {
    let (system, disk) = (system.clone(), disk.to_owned());
    let found = tokio::task::spawn_blocking(move || {
        let devices = block::probe_with_partitions(&system).into_iter();
        let own = devices.filter(|device| device.parent.as_ref() == Some(&disk));
        own.map(|device| device.name).collect()
    });
    Ok(found.await?)
}

/// What the file system says is booted, if it says so.
fn find(mounted: &Path) -> Option<KernelEntry> {
    let tree = ForeignRoot::open(mounted).ok()?;
    let text = |path: &str| {
        let bytes = tree.read(path, MAX_CONFIG_BYTES).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    let by_specification = ENTRIES.iter().find_map(|directory| {
        let names = tree.entries(directory).ok()?.into_iter();
        let files = names.filter(|(_, kind)| *kind == EntryKind::File);
        let newest = kernel_entry::newest(files.map(|(name, _)| name).collect())?;
        kernel_entry::of_loader_entry(&text(&format!("{directory}/{newest}"))?)
    });
    by_specification.or_else(|| {
        let menus = MENUS.iter();
        let mut entries = menus.filter_map(|menu| kernel_entry::of_grub(&text(menu)?));
        entries.next()
    })
}

/// Loads what an entry says. Answers a sentence.
async fn load_entry(
    system: &System,
    partition: &str,
    mounted: &Path,
    entry: &KernelEntry,
) -> Result<String, KexecError> {
    let initrd = match entry.initrds.as_slice() {
        [] => None,
        [one] => Some(one),
        several => {
            return Err(KexecError::SeveralInitrds {
                kernel: entry.kernel.clone(),
                partition: partition.to_owned(),
                count: several.len(),
            });
        }
    };
    let file = |path: &String| {
        inside(mounted, path).map_err(|source| KexecError::File {
            path: path.clone(),
            partition: partition.to_owned(),
            source,
        })
    };
    let kernel = file(&entry.kernel)?;
    let initrd = initrd.map(file).transpose()?;
    let initrd = initrd.map(|path| format!("--initrd={}", path.display()));
    let load = Cmd::new("kexec")
        .args(["--kexec-file-syscall", "--load"])
        .args(initrd)
        .arg(format!("--command-line={}", entry.arguments))
        .arg(kernel.display().to_string());
    match system.run.run(load).await {
        Ok(_) => Ok(format!(
            "{} of {partition} is loaded, with: {}",
            entry.kernel, entry.arguments
        )),
        Err(source) => Err(KexecError::Load {
            is_locked_down: is_locked_down(system),
            source,
        }),
    }
}

/// The path of a regular file within a mounted file system. Its links may not lead out of it.
fn inside(mounted: &Path, path: &str) -> io::Result<PathBuf> {
    let root = mounted.canonicalize()?;
    let file = root.join(path.trim_start_matches('/')).canonicalize()?;
    if !file.starts_with(&root) {
        return Err(io::Error::other("it leads out of the file system"));
    }
    if !file.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

/// Whether the kernel forbids what is not signed: `none [integrity] confidentiality`.
fn is_locked_down(system: &System) -> bool {
    let modes = system.root.read_optional(LOCKDOWN);
    modes.is_some_and(|modes| modes.contains('[') && !modes.contains("[none]"))
}

#[cfg(test)]
mod tests;
