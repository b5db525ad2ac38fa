//! The order of a deployment: what is asked of whom, and when the disk changes.

use std::path::PathBuf;
use std::sync::Arc;

use ironic_ondisk::partition_table::guid::Guid;

use super::checksum::{self, Expected};
use super::config_drive::{ConfigDrive, ConfigDrivePurpose};
use super::decode::format::{Format, FormatError};
use super::deployment::{Deployment, WrittenImage};
use super::error::ImageError;
use super::oci::Registries;
use super::partition_image::{self, PartitionPlan, PartitionSetup};
use super::pipeline::{self, BlockReader, Finish, WriteTarget};
use super::recognize::{RecognizedImage, TableStrategy, recognize};
use super::request::ImageRequest;
use super::source::{Download, SourceError};
use super::{partition_table, write};
use crate::disk::partition::device;
use crate::system::disk::Disk;

/// Fresh downloads after one whose bytes were wrong although every server was asked.
const EXTRA_DOWNLOADS: usize = 1;

/// Writes an image and its config drive to a disk. Answers the sentence that Ironic logs.
///
/// Until the image is verified the disk has no partition table: what fails or is cancelled
/// leaves a disk that does not boot. What is wrong before the first byte is written leaves
/// the disk as it was.
///
/// # Errors
/// What kept the image from being on the disk.
pub async fn prepare(deployment: Deployment<'_>) -> Result<String, ImageError> {
    let Deployment {
        config,
        request,
        device,
        task,
        installed,
        ..
    } = deployment;
    installed.forget();
    let setup = setup(deployment)?;
    let credentials =
        request
            .credentials
            .resolve(config)
            .map_err(|source| SourceError::Credentials {
                id: request.id.clone(),
                source,
            })?;
    let drive = config_drive(deployment).await?;
    let registries = Registries::new(deployment.system.fetch.as_ref());
    let mut download = Download::new(&registries, config, task);
    download.template.credentials = credentials;
    download.template.proxies = request.proxies.clone();
    download.template.is_verified = true;
    let expected = checksum::expected(request, &registries, &download).await?;

    device::release(deployment.system, &device.name).await;
    let pass = DownloadPass {
        deployment,
        expected,
        setup,
        drive: Arc::new(drive),
    };
    let written = pass.repeat(&download).await?;
    task.phase_ended(format!("image {} is on {}", request.id, device.name));
    let sentence = sentence(deployment, &written);
    installed.remember(written.uuids);
    Ok(sentence)
}

/// What [`prepare`] would do, one line for each change of the disk. The disk is only read, and
/// of the network only a config drive.
///
/// # Errors
/// What would keep it from starting.
pub async fn plan(deployment: Deployment<'_>) -> Result<Vec<String>, ImageError> {
    let request = deployment.request;
    let name = &deployment.device.name;
    let image = format!("Write image {} to {name}", request.id);
    let Some(setup) = setup(deployment)? else {
        let given = deployment.configdrive.or(request.configdrive.as_deref());
        let drive = given.map(|_| format!("Place the config drive at the end of {name}"));
        return Ok(std::iter::once(image).chain(drive).collect());
    };
    let drive = config_drive(deployment).await?;
    let mut disk = open(deployment).await?;
    let partitions = setup.plan(disk.as_mut(), name, drive.as_ref(), &mut new_guid)?;
    partitions.check(deployment, None).await?;
    let mut lines = partitions.describe(name);
    lines.push(image);
    Ok(lines)
}

/// The sentence that Ironic logs. It reads the words with `=`; what is for people comes last.
fn sentence(deployment: Deployment<'_>, written: &WrittenImage) -> String {
    let Deployment {
        request,
        device,
        task,
        ..
    } = deployment;
    let efi_system = written.efi_system_uuid.as_ref();
    let efi_system = efi_system.filter(|_| request.is_uefi);
    let efi_system = efi_system.map(|uuid| format!(" efi_system_partition_uuid={uuid}"));
    let warning = written.warning.as_ref().map(|warning| {
        task.warn(format!("Image {}: {warning}.", request.id));
        format!(" (warning: {warning})")
    });
    format!(
        "image ({}) written to device {} root_uuid={}{}{}",
        request.id,
        device.name,
        written.root_uuid,
        efi_system.unwrap_or_default(),
        warning.unwrap_or_default()
    )
}

/// The ways from a server to the disk: all that they have in common.
struct DownloadPass<'a> {
    deployment: Deployment<'a>,
    expected: Expected,
    /// Of a partition image.
    setup: Option<PartitionSetup>,
    drive: Arc<Option<ConfigDrive>>,
}

impl DownloadPass<'_> {
    /// Passes, until one succeeds or another one would help no more.
    async fn repeat(&self, download: &Download<'_>) -> Result<WrittenImage, ImageError> {
        let Deployment {
            request,
            device,
            task,
            ..
        } = self.deployment;
        let mut downloads_left = request.urls.len() - 1 + EXTRA_DOWNLOADS;
        let mut urls = request.urls.clone();
        let mut tables = TableStrategy::default();
        loop {
            let source = download.clone().open(&request.id, &urls).await?;
            let mut reader = BlockReader::new(source, task, &device.name);
            let error = match self.write(&mut reader, &tables).await {
                Ok(written) => return Ok(written),
                Err(error) => error.with_coding(reader.source().coding()),
            };
            if tables.changes() {
                task.warn(format!(
                    "{error}. The server sends whole files only: reading the file for its \
                     tables, then once more."
                ));
                continue;
            }
            // Another server, or one answer instead of a joined one, may have better bytes, and
            // so may one that has another version by now. One server's only answer does not
            // change by asking again.
            let may_differ =
                reader.source().connections() > 1 || urls.len() > 1 || error.saw_another_version();
            if !error.is_about_bytes() || downloads_left == 0 || !may_differ {
                return Err(error);
            }
            downloads_left -= 1;
            task.warn(format!("{error}. Downloading once more."));
            urls.rotate_left(1);
        }
    }

    /// One pass from a server to the disk.
    async fn write(
        &self,
        reader: &mut BlockReader<'_>,
        tables: &TableStrategy,
    ) -> Result<WrittenImage, ImageError> {
        let deployment = self.deployment;
        let Deployment {
            request,
            device,
            task,
            ..
        } = deployment;
        check_length(request, reader.source().length())?;
        let mut disk = open(deployment).await?;
        let partitions = self.fit(disk.as_mut())?;
        let head = reader.block().await?.ok_or(FormatError::Empty)?;
        let available = disk.geometry().size;
        let image = recognize(deployment, &head, reader.source(), available, tables).await?;
        match &partitions {
            Some(partitions) => partitions.check(deployment, image.size).await?,
            None => self.check_whole(disk.as_ref(), &image)?,
        }
        if let Some(setup) = &self.setup
            && image.format == Format::Raw
        {
            setup.check_loader(&head, reader.source()).await?;
        }
        task.check()?;
        let plan = image.plan;
        if let Some(partitions) = &partitions {
            // It opens the disk itself, and a disk has one owner.
            drop(disk);
            partitions.clear(deployment).await?;
            disk = open(deployment).await?;
        }
        let target = WriteTarget {
            disk,
            device: device.name.clone(),
            extent: partitions.as_ref().map(PartitionPlan::root),
            plan,
            finish: self.finish(),
        };
        let (identity, trailer) =
            pipeline::run(reader, head, &self.expected, &request.id, target).await?;
        let mut written = match partitions {
            Some(partitions) => {
                let drive = Arc::clone(&self.drive);
                partitions.complete(deployment, drive, identity).await?
            }
            None => WrittenImage::whole(identity.unwrap_or_default()),
        };
        written.warning = trailer.map(|trailer| trailer.to_string());
        Ok(written)
    }

    /// Refuses what cannot be placed on this disk around the image. Answers the partitions that a
    /// partition image gets.
    fn fit(&self, disk: &mut dyn Disk) -> Result<Option<PartitionPlan>, ImageError> {
        let drive = self.drive.as_ref().as_ref();
        let Some(setup) = &self.setup else {
            if let Some(drive) = drive {
                drive.size_on(disk.geometry().sector_size)?;
            }
            return Ok(None);
        };
        let name = &self.deployment.device.name;
        Ok(Some(setup.plan(disk, name, drive, &mut new_guid)?))
    }

    /// Refuses a whole-disk image that this disk could not boot.
    fn check_whole(&self, disk: &dyn Disk, image: &RecognizedImage<'_>) -> Result<(), ImageError> {
        let name = &self.deployment.device.name;
        let geometry = disk.geometry();
        write::check_size(image.size, geometry.size)
            .map_err(|error| ImageError::of_decoding(name, error))?;
        let has_drive = self.drive.is_some();
        let checked = partition_table::check_beginning(
            &image.beginning,
            image.size,
            geometry,
            has_drive,
            name,
        );
        Ok(checked?)
    }

    /// What belongs to the image before the disk may boot.
    fn finish(&self) -> Finish {
        let drive = Arc::clone(&self.drive);
        let name = self.deployment.device.name.clone();
        if self.setup.is_some() {
            return Box::new(move |disk| Ok(partition_image::root_uuid(disk, &name)?));
        }
        Box::new(move |disk| {
            let drive = drive.as_ref().as_ref();
            Ok(Some(partition_table::finish(
                disk,
                drive,
                new_guid(),
                &name,
            )?))
        })
    }
}

/// What is needed around a partition image; `None` for a whole disk.
fn setup(deployment: Deployment<'_>) -> Result<Option<PartitionSetup>, ImageError> {
    let request = deployment.request.partition.as_ref();
    let setup = request.map(|request| PartitionSetup::new(request, deployment));
    Ok(setup.transpose()?)
}

/// Refuses a server that has an image of another size.
fn check_length(request: &ImageRequest, length: Option<u64>) -> Result<(), ImageError> {
    match (request.size, length) {
        (Some(expected), Some(found)) if expected != found => Err(ImageError::Size {
            id: request.id.clone(),
            expected,
            found,
        }),
        _ => Ok(()),
    }
}

/// Opens the disk, before anything is changed.
async fn open(deployment: Deployment<'_>) -> Result<Box<dyn Disk>, ImageError> {
    let name = &deployment.device.name;
    let disks = Arc::clone(&deployment.system.disks);
    let path = PathBuf::from(name);
    let opened = tokio::task::spawn_blocking(move || disks.open(&path)).await;
    opened
        .map_err(|source| ImageError::Thread {
            work: format!("opening {name}"),
            source,
        })?
        .map_err(ImageError::Open)
}

fn new_guid() -> Guid {
    Guid(uuid::Uuid::new_v4().to_bytes_le())
}

async fn config_drive(deployment: Deployment<'_>) -> Result<Option<ConfigDrive>, ImageError> {
    let Deployment {
        config,
        node,
        request,
        ..
    } = deployment;
    let given = deployment.configdrive.or(request.configdrive.as_deref());
    let Some(value) = given.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let uuid = Some(node.uuid()).filter(|uuid| !uuid.is_empty());
    let uuid = uuid.or(request.node_uuid.as_deref()).unwrap_or("local");
    let download = Download::new(deployment.system.fetch.as_ref(), config, deployment.task);
    let purpose = ConfigDrivePurpose {
        is_to_measure: request.partition.is_some(),
        is_fat_wanted: config.config_drive_rebuild,
    };
    let drive = ConfigDrive::load(value, uuid, download, purpose).await?;
    Ok(Some(drive))
}
