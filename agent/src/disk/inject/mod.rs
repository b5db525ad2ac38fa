//! Files that an operator puts into the deployed system.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ironic_text::error_chain;
use thiserror::Error;
use tokio::task::JoinError;

use crate::disk::filesystem::mount::{MountError, mount_system, unmount};
use crate::disk::partition::device;
use crate::disk::partition::table::{self, TableError};
use crate::machine::block::BlockDevice;
use crate::system::foreign_root::{Attributes, ForeignRoot};
use crate::system::{DiskError, RunError, System};

/// Where the partition is mounted.
const MOUNT_POINT: &str = "/run/ironic-agent/inject";
/// Nothing of the tenant's file system is to be run or talked to as a device.
const OPTIONS: &str = "nodev,nosuid,noexec";

/// A file and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InjectedFile {
    /// Its path in the file system.
    pub path: String,
    /// Which file system.
    pub file_system: FileSystemChoice,
    /// What happens to it.
    pub change: FileChange,
    /// What it is afterwards.
    pub attributes: Attributes,
    /// Permission bits of its directory, if that has to be made.
    pub directory_mode: Option<u32>,
}

/// The file system that a file is put into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSystemChoice {
    /// The first partition of the root device that has the first directory of the path.
    WithDirectory,
    /// The partition of the root device with this number.
    Partition(u32),
    /// What the operator named: a device, or `LABEL=...` as `mount` knows it.
    Named(String),
}

/// What happens to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileChange {
    /// It is removed, if there is one.
    Remove,
    /// It is made or overwritten.
    Write(Vec<u8>),
    /// Its content stays.
    Keep,
}

/// Why a file is not as the operator wants it.
#[derive(Debug, Error)]
pub enum InjectError {
    /// It could not be changed.
    #[error("Failed to process file {path}. {}", error_chain(source))]
    File {
        /// Its path.
        path: String,
        /// What stood in the way.
        source: InjectCause,
    },
    /// No file system has its first directory.
    #[error(
        "No partition found with path {path}, scanned: {nodes:?}{}",
        listed(unreadable)
    )]
    NoFileSystem {
        /// The path.
        path: String,
        /// The partitions that were mounted.
        nodes: Vec<String>,
        /// Why file systems that are known could not be mounted: one may be the right one.
        unreadable: Vec<MountError>,
    },
}

/// What stands in the way of changing a file.
#[derive(Debug, Error)]
pub enum InjectCause {
    /// A file system could not be mounted or unmounted.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The partition table is damaged.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The file itself.
    #[error(transparent)]
    File(#[from] io::Error),
    /// The work ended without a result.
    #[error(transparent)]
    Thread(#[from] JoinError),
}

fn listed(unreadable: &[MountError]) -> String {
    let reasons = unreadable.iter().map(|error| match error {
        MountError::MountPoint { source, .. } => format!("; {source}"),
        MountError::NoDriver { source, .. } => format!("; {source}"),
        MountError::Program(RunError::Broken { source, .. }) => format!("; {source}"),
        MountError::Program(other) => format!("; {other}"),
    });
    reasons.collect()
}

/// Puts one file into a file system of `device`, the root device.
///
/// # Errors
/// There is no such file system, or the file cannot be changed.
pub async fn inject(
    system: &System,
    device: &BlockDevice,
    file: &InjectedFile,
) -> Result<(), InjectError> {
    let failed = |source| InjectError::File {
        path: file.path.clone(),
        source,
    };
    let disk = &device.name;
    let named = match &file.file_system {
        FileSystemChoice::Partition(number) => Some(device::of(system, disk, *number)),
        FileSystemChoice::Named(name) => Some(name.clone()),
        FileSystemChoice::WithDirectory => None,
    };
    if let Some(source) = named {
        let first = first_directory(&file.path);
        mount_system(system, OPTIONS, &source, MOUNT_POINT, first)
            .await
            .map_err(|error| failed(error.into()))?;
        return apply(system, file).await.map_err(failed);
    }
    let numbers = partition_numbers(system, disk).await.map_err(failed)?;
    let nodes: Vec<_> = numbers
        .into_iter()
        .map(|number| device::of(system, disk, number))
        .collect();
    let unreadable = match mount_with_directory(system, &nodes, &file.path).await {
        Ok(()) => return apply(system, file).await.map_err(failed),
        Err(Unmounted::Nowhere(unreadable)) => unreadable,
        Err(Unmounted::Stuck(error)) => return Err(failed(error.into())),
    };
    Err(InjectError::NoFileSystem {
        path: file.path.clone(),
        nodes,
        unreadable,
    })
}

/// Why no file system is mounted.
enum Unmounted {
    /// None has the directory. Those that are known and could not be mounted may have it.
    Nowhere(Vec<MountError>),
    /// One that does not have it stays mounted.
    Stuck(MountError),
}

/// Mounts the first of some partitions that has the first directory of a path.
async fn mount_with_directory(
    system: &System,
    nodes: &[String],
    path: &str,
) -> Result<(), Unmounted> {
    let first = first_directory(path);
    let mut unreadable = Vec::new();
    for source in nodes {
        let root = match mount_system(system, OPTIONS, source, MOUNT_POINT, first).await {
            Ok(root) => root,
            // A swap area or a volume group cannot be mounted, and is not what is looked for.
            Err(MountError::Program(
                RunError::Missing { .. } | RunError::Failed { .. } | RunError::TimedOut { .. },
            )) => continue,
            Err(error) => {
                unreadable.push(error);
                continue;
            }
        };
        if ForeignRoot::open(&root).is_ok_and(|tree| tree.has_directory(first)) {
            return Ok(());
        }
        let unmounted = unmount(system, MOUNT_POINT).await;
        unmounted.map_err(Unmounted::Stuck)?;
    }
    Err(Unmounted::Nowhere(unreadable))
}

/// Changes the file in what is mounted, and unmounts that whatever happened.
async fn apply(system: &System, file: &InjectedFile) -> Result<(), InjectCause> {
    let root = system.root.path(MOUNT_POINT);
    let changed = file.clone();
    let done = tokio::task::spawn_blocking(move || {
        let tree = ForeignRoot::open(&root)?;
        let path = changed.path.as_str();
        match &changed.change {
            FileChange::Remove => return tree.remove(path).map(drop),
            FileChange::Write(content) => {
                tree.make_parent(path, changed.directory_mode)?;
                tree.write(path, content)?;
            }
            FileChange::Keep => {}
        }
        tree.change(path, changed.attributes)
    })
    .await;
    let unmounted = unmount(system, MOUNT_POINT).await;
    done??;
    Ok(unmounted?)
}

async fn partition_numbers(system: &System, disk: &str) -> Result<Vec<u32>, InjectCause> {
    let disks = Arc::clone(&system.disks);
    let path = PathBuf::from(disk);
    let read = tokio::task::spawn_blocking(move || -> Result<_, InjectCause> {
        let mut disk = disks.open_to_read(&path)?;
        Ok(table::partitions_of(disk.as_mut())?)
    });
    let found = read.await??;
    Ok(found.iter().map(|partition| partition.number).collect())
}

fn first_directory(path: &str) -> &str {
    path.split('/').find(|name| !name.is_empty()).unwrap_or("")
}

#[cfg(test)]
mod tests;
