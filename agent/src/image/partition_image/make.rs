//! Making the partitions around an image, and telling what they are.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ironic_ondisk::size::MIB;

use super::{
    NoFileSystem, PartitionImageError, PartitionPlan, PartitioningError, partitioning_failed,
};
use crate::disk::erase::metadata;
use crate::disk::filesystem::image_in_memory::Volume;
use crate::disk::filesystem::{fat, identity, swap};
use crate::disk::partition::device;
use crate::disk::partition::layout::{PlannedPartition, Role};
use crate::disk::partition::table::PartitionTable;
use crate::image::config_drive::ConfigDrive;
use crate::image::deployment::{Deployment, WrittenImage};
use crate::system::disk::Disk;
use crate::system::{Cmd, RunError, memory};

/// What the file systems are called.
const EFI_LABEL: &str = "efi-part";
const SWAP_LABEL: &str = "swap1";
const EPHEMERAL_LABEL: &str = "ephemeral0";
/// These ask before they take a whole device.
const FORCED_FORMATS: [&str; 3] = ["ext2", "ext3", "ext4"];
/// A file system of many terabytes takes its time.
const MKFS_TIMEOUT: Duration = Duration::from_secs(3600);
/// How long a node may be missing, for each attempt of the option.
const ATTEMPT: Duration = Duration::from_secs(1);

impl PartitionPlan {
    /// Refuses what would fail later: an image that is larger than its partition (`None`: its
    /// size is not known), or a file system that cannot be made.
    ///
    /// # Errors
    /// Which of the two.
    pub(in crate::image) async fn check(
        &self,
        deployment: Deployment<'_>,
        image: Option<u64>,
    ) -> Result<(), PartitionImageError> {
        let root = self.root().length;
        if let Some(image) = image.filter(|image| *image > root) {
            return Err(PartitionImageError::TooLarge {
                image: image.div_ceil(MIB),
                root: root / MIB,
            });
        }
        for planned in self.made() {
            self.volume(planned).map_err(|error| {
                let error = PartitioningError::Format(error);
                partitioning_failed(&deployment.device.name, error)
            })?;
        }
        self.check_programs(deployment).await
    }

    /// The FAT file system of a partition that gets one. Its size may be impossible.
    fn volume(&self, planned: &PlannedPartition) -> std::io::Result<Option<Volume>> {
        let (label, serial) = match planned.role {
            Role::EfiSystem => (EFI_LABEL, self.serial),
            // Not that of the EFI system partition, which is mounted by it.
            Role::Ephemeral if self.mkfs().is_none() => (EPHEMERAL_LABEL, !self.serial),
            _ => return Ok(None),
        };
        fat::format(planned.size, self.geometry.sector_size, label, serial).map(Some)
    }

    /// Refuses what would fail at the end for want of a program or of a partition's node.
    async fn check_programs(&self, deployment: Deployment<'_>) -> Result<(), PartitionImageError> {
        let system = deployment.system;
        let Some(program) = self.mkfs().filter(|_| system.simulation.is_none()) else {
            return Ok(());
        };
        let unsupported = |reason| PartitionImageError::FileSystem {
            format: self.setup.ephemeral_format.clone(),
            reason,
        };
        if !device::are_made(system, &deployment.device.name) {
            let device = deployment.device.name.clone();
            return Err(unsupported(NoFileSystem::File { device }));
        }
        match system.run.run(Cmd::new(program).arg("-V")).await {
            Err(RunError::Missing { program }) => {
                Err(unsupported(NoFileSystem::NoProgram { program }))
            }
            // It is there; not every one knows the option.
            _ => Ok(()),
        }
    }

    /// Makes the disk one that holds nothing of what it did, except for what is preserved.
    ///
    /// # Errors
    /// The disk is in use, or failed.
    pub(in crate::image) async fn clear(
        &self,
        deployment: Deployment<'_>,
    ) -> Result<(), PartitionImageError> {
        let Deployment {
            system,
            device,
            node,
            task,
            ..
        } = deployment;
        if !self.is_kept {
            let destroyed = metadata::destroy(system, device, node.uuid(), task).await;
            return destroyed.map_err(|error| PartitionImageError::Clear(error.into()));
        }
        let parts = self.clone();
        on_disk(deployment, move |disk| {
            for planned in parts.made() {
                let head = MIB.min(planned.size);
                disk.zero(planned.offset, head)?;
            }
            disk.sync()?;
            parts.table.write(disk)?;
            disk.sync()?;
            Ok(disk.reread_table()?)
        })
        .await
    }

    /// Makes everything around the image, which is on the disk and verified, and the table.
    /// `root_uuid` is the identity of the image's file system.
    ///
    /// # Errors
    /// A disk or a program failed.
    pub(in crate::image) async fn complete(
        self,
        deployment: Deployment<'_>,
        drive: Arc<Option<ConfigDrive>>,
        root_uuid: Option<String>,
    ) -> Result<WrittenImage, PartitionImageError> {
        let Deployment {
            system,
            config,
            device,
            task,
            ..
        } = deployment;
        let name = &device.name;
        task.check()?;
        let parts = self.clone();
        on_disk(deployment, move |disk| {
            parts.fill(disk, drive.as_ref().as_ref())?;
            disk.sync()?;
            // What is in the partitions comes before what makes them known.
            if !parts.is_kept {
                parts.table.write(disk)?;
                disk.sync()?;
            }
            disk.reread_table()?;
            parts.verify(disk)
        })
        .await?;
        let count = self.layout.partitions.len();
        task.phase_ended(format!("{count} partitions of {name} made"));
        let nodes = if device::are_made(system, name) {
            let attempts = config.disk_utils.partition_detection_attempts.max(1);
            device::wait(system, name, &self.layout, ATTEMPT * attempts, task)
                .await
                .map_err(|missing| match task.check() {
                    Ok(()) => PartitionImageError::Missing { node: missing.0 },
                    Err(cancelled) => cancelled.into(),
                })?
        } else {
            let numbers = self.layout.partitions.iter();
            numbers
                .map(|planned| device::of(system, name, planned.number))
                .collect()
        };
        self.make_ephemeral(deployment, &nodes).await?;
        Ok(self.outcome(&nodes, root_uuid))
    }

    /// Makes what needs no program.
    fn fill(
        &self,
        disk: &mut dyn Disk,
        drive: Option<&ConfigDrive>,
    ) -> Result<(), PartitioningError> {
        for planned in self.made() {
            let PlannedPartition { offset, size, .. } = *planned;
            // Signatures at both ends must not outlive the file systems that were there.
            match planned.role {
                Role::Root => {}
                Role::ConfigDrive => {
                    if let Some(drive) = drive {
                        drive.put(disk, offset, size)?;
                    }
                }
                Role::BiosBoot | Role::Prep => disk.zero(offset, size)?,
                Role::Swap => {
                    metadata::zero_ends_of(disk, offset, size)?;
                    // As mkswap does: the deployed system is of this machine's kind.
                    let page = memory::page_size();
                    if let Some(page) = swap::header(size, SWAP_LABEL, self.swap_uuid, page) {
                        disk.write_at(offset, &page)?;
                    }
                }
                Role::EfiSystem | Role::Ephemeral => {
                    metadata::zero_ends_of(disk, offset, size)?;
                    if let Some(volume) = self.volume(planned).map_err(PartitioningError::Format)? {
                        disk.zero(offset, fat::tables(size))?;
                        volume.write_to(disk, offset)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads the table back.
    fn verify(&self, disk: &mut dyn Disk) -> Result<(), PartitioningError> {
        let sector_size = self.geometry.sector_size;
        let found = PartitionTable::read(disk)?;
        let found = found.map(|table| table.partitions(sector_size));
        if found.as_ref() == Some(&self.table.partitions(sector_size)) {
            return Ok(());
        }
        Err(PartitioningError::Different)
    }

    async fn make_ephemeral(
        &self,
        deployment: Deployment<'_>,
        nodes: &[String],
    ) -> Result<(), PartitionImageError> {
        let Deployment {
            system,
            device,
            task,
            ..
        } = deployment;
        let number = self.layout.find(Role::Ephemeral).map(|it| it.number);
        let node = number.and_then(|number| nodes.get(number as usize - 1));
        let (Some(program), Some(node)) = (self.mkfs(), node) else {
            return Ok(());
        };
        if system.simulation.is_some() {
            task.warn(format!(
                "a simulation runs no {program}: the ephemeral partition has no file system"
            ));
            return Ok(());
        }
        task.check()?;
        let format = self.setup.ephemeral_format.as_str();
        let is_forced = FORCED_FORMATS.contains(&format);
        // Only one of them has another letter for it.
        let label = if format == "f2fs" { "-l" } else { "-L" };
        let made = system
            .run
            .run(
                Cmd::new(program)
                    .args(is_forced.then_some("-F"))
                    .args([label, EPHEMERAL_LABEL, node])
                    .timeout(MKFS_TIMEOUT),
            )
            .await;
        made.map_err(|source| PartitionImageError::Mkfs {
            device: device.name.clone(),
            source,
        })?;
        task.phase_ended(format!("ephemeral file system on {node} made"));
        Ok(())
    }
}

/// The identity of the file system that came as an image.
pub(in crate::image) fn root_uuid(
    root: &mut dyn Disk,
    device: &str,
) -> Result<Option<String>, PartitionImageError> {
    let size = root.geometry().size;
    identity::read(root, 0, size).map_err(|error| partitioning_failed(device, error))
}

/// Does something with the open disk on a thread that may block.
async fn on_disk(
    deployment: Deployment<'_>,
    work: impl FnOnce(&mut dyn Disk) -> Result<(), PartitioningError> + Send + 'static,
) -> Result<(), PartitionImageError> {
    let name = &deployment.device.name;
    let disks = Arc::clone(&deployment.system.disks);
    let path = PathBuf::from(name);
    let done = tokio::task::spawn_blocking(move || {
        let mut disk = disks.open(&path)?;
        work(disk.as_mut())
    });
    done.await
        .map_err(|source| PartitionImageError::Thread {
            device: name.clone(),
            source,
        })?
        .map_err(|error| partitioning_failed(name, error))
}
