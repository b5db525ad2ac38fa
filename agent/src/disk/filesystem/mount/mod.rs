//! File systems of the deployed system, mounted for a moment.
//!
//! Which are mounted, and by which driver, is said by [`ironic_ondisk::signature`];
//! `ramdisk/modules.list` has the same drivers, which a test compares.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ironic_ondisk::signature;
use thiserror::Error;

use crate::machine::block::device_file::DeviceFile;
use crate::system::foreign_root::ForeignRoot;
use crate::system::{Cmd, RunError, System};

/// How often a file system that is busy is asked to go.
const ATTEMPTS: usize = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// File systems whose driver is a module of another name.
const MODULES: [(&str, &str); 1] = [("iso9660", "isofs")];

/// Where installers put a root file system that is a subvolume of btrfs, when it is not the
/// default one: Ubuntu and Arch Linux, Debian, Fedora.
const SUBVOLUMES: [&str; 3] = ["@", "@rootfs", "root"];
/// What the kernel has drivers for, as far as they are loaded.
const LOADED: &str = "/proc/filesystems";

/// Why a file system is not mounted or unmounted.
#[derive(Debug, Error)]
pub enum MountError {
    /// The directory for it cannot be made.
    #[error("{command}")]
    MountPoint {
        /// The command line that was to be run.
        command: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel does not know the file system.
    #[error("{command}")]
    NoDriver {
        /// The command line.
        command: String,
        /// What is missing.
        source: MissingDriver,
    },
    /// `mount` or `umount` failed.
    #[error(transparent)]
    Program(#[from] RunError),
}

/// The kernel of this ramdisk has no driver for a file system.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{device} holds a file system {kind}, and the kernel of this ramdisk has no driver for it: add \
     the module {module} to the ramdisk"
)]
pub struct MissingDriver {
    /// The device.
    pub device: String,
    /// The file system, as the kernel calls it.
    pub kind: &'static str,
    /// The module that is missing.
    pub module: &'static str,
}

/// Mounts `source` at `mount_point`, an absolute path that is made if need be. Answers where that
/// is on this machine.
///
/// Without `-t` among the options the type is looked for: the kernel loads a driver only for
/// a type that it is given.
///
/// # Errors
/// What the system or `mount` said.
pub async fn mount(
    system: &System,
    options: &[&str],
    source: &str,
    mount_point: &str,
) -> Result<PathBuf, MountError> {
    let path = system.root.path(mount_point);
    let shown = path.display().to_string();
    let is_plain = !options.iter().any(|option| ["-t", "bind"].contains(option));
    let kind = if is_plain {
        kind_of(system, source).await
    } else {
        None
    };
    let cmd = Cmd::new("mount")
        .args(kind.into_iter().flat_map(|kind| ["-t", kind]))
        .args(options.iter().copied())
        .args([source, &shown]);
    let command = cmd.to_string();
    let made = system
        .root
        .writable(mount_point)
        .and_then(fs::create_dir_all);
    if let Err(source) = made {
        return Err(MountError::MountPoint { command, source });
    }
    match (system.run.run(cmd).await, kind) {
        (Ok(_), _) => Ok(path),
        // The kernel says "No such device" of the driver, which reads as if the disk were gone.
        (Err(RunError::Failed { .. }), Some(kind)) if lacks_driver(system, kind) => {
            Err(MountError::NoDriver {
                command,
                source: MissingDriver {
                    device: source.to_owned(),
                    kind,
                    module: module_of(kind),
                },
            })
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// Mounts the file system of a deployed system that has the directory `wanted`. On btrfs that
/// may be a subvolume: the default one, else one of those that installers make.
///
/// # Errors
/// What the system or `mount` said.
pub async fn mount_system(
    system: &System,
    options: &str,
    source: &str,
    mount_point: &str,
    wanted: &str,
) -> Result<PathBuf, MountError> {
    let path = mount(system, &["-o", options], source, mount_point).await?;
    if kind_of(system, source).await != Some("btrfs") {
        return Ok(path);
    }
    let subvolume = ForeignRoot::open(&path).ok().and_then(|tree| {
        let has = |above: &str| tree.has_directory(&format!("{above}/{wanted}"));
        let mut known = SUBVOLUMES.into_iter().filter(|name| has(name));
        known.next().filter(|_| !has(""))
    });
    let Some(subvolume) = subvolume else {
        return Ok(path);
    };
    unmount(system, mount_point).await?;
    let options = format!("{options},subvol={subvolume}");
    mount(system, &["-o", &options], source, mount_point).await
}

/// Whether the kernel does not know a file system, after it was asked to mount one.
fn lacks_driver(system: &System, kind: &str) -> bool {
    let loaded = system.root.read_optional(LOADED);
    loaded.is_some_and(|text| {
        let mut names = text.lines().filter_map(|line| line.split('\t').nth(1));
        !names.any(|name| name == kind)
    })
}

/// Unmounts what is at `mount_point`. It may stay busy for a moment.
///
/// # Errors
/// The last of three refusals.
pub async fn unmount(system: &System, mount_point: &str) -> Result<(), MountError> {
    let shown = system.root.path(mount_point).display().to_string();
    let mut attempt = 1;
    loop {
        match system.run.run(Cmd::new("umount").arg(&shown)).await {
            Ok(_) => return Ok(()),
            Err(error) if attempt == ATTEMPTS => return Err(error.into()),
            Err(_) => attempt += 1,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn kind_of(system: &System, source: &str) -> Option<&'static str> {
    let device = system.root.path(source);
    // Blocks for a moment at most.
    let found = tokio::task::spawn_blocking(move || kind_in(&device)).await;
    found.ok().flatten()
}

fn kind_in(device: &Path) -> Option<&'static str> {
    signature::driver(DeviceFile::open(device).ok()?)
        .ok()
        .flatten()
}

/// The kernel module with the driver of a file system.
fn module_of(kind: &'static str) -> &'static str {
    let other = MODULES.iter().find(|(name, _)| *name == kind);
    other.map_or(kind, |(_, module)| module)
}

#[cfg(test)]
mod tests;
