//! The order of a deployment: what is asked of whom, and when the disk changes.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ironic_ondisk::partition_table::guid::Guid;
use serde_json::Value;
use tokio::time::Instant;

use super::checksum::{self, Expected};
use super::config_drive::{ConfigDrive, Purpose};
use super::decode::format::{self, Format};
use super::decode::{self, qcow2};
use super::deployment::{Deployment, Outcome};
use super::oci::Registries;
use super::progress::Meter;
use super::request::{self, ImageRequest};
use super::source::{Source, download_failed, patience, plain_request};
use super::write::{self, WriteError};
use super::{block, partition_image, partition_table, pipeline};
use crate::disk::partition::device;
use crate::failure::{Failure, FailureKind};
use crate::system::disk::{Disk, DiskError};
use crate::system::fetch::Request;
use crate::task::Task;

/// Fresh downloads after one whose bytes were wrong although every server was asked.
const SECOND_CHANCES: usize = 1;

/// Writes an image and its config drive to a disk. Answers the sentence that Ironic logs.
///
/// Until the image is verified the disk has no partition table: what fails or is cancelled
/// leaves a disk that does not boot. What is wrong before the first byte is written leaves
/// the disk as it was.
///
/// # Errors
/// What kept the image from being on the disk.
pub async fn prepare(deployment: Deployment<'_>) -> Result<String, Failure> {
    let Deployment {
        config,
        image_info,
        device,
        task,
        installed,
        ..
    } = deployment;
    installed.forget();
    let request = ImageRequest::new(image_info, config)?;
    let wanted = if request.is_partition {
        Some(partition_image::Wanted::new(deployment)?)
    } else {
        None
    };
    let credentials = request::credentials(image_info, config)
        .map_err(|reason| download_failed(&request.id, &reason))?;
    let template = Request {
        credentials,
        proxies: request.proxies.clone(),
        is_verified: true,
        ..plain_request(config)
    };
    let drive = config_drive(deployment, &request).await?;
    let patience = patience(config);
    let registries = Registries::new(deployment.system.fetch.as_ref());
    let expected =
        checksum::expected(deployment, &request, &registries, &template, patience).await?;

    device::release(deployment.system, &device.name).await;
    let drive = Arc::new(drive);
    let mut chances = request.urls.len() - 1 + SECOND_CHANCES;
    let mut urls = request.urls.clone();
    let mut tables = Tables::default();
    let outcome = loop {
        let source = Source::open(
            &registries,
            task,
            &request.id,
            &urls,
            template.clone(),
            patience,
        )
        .await?;
        let wanted = wanted.as_ref();
        let pass = write(
            deployment, &request, &expected, source, &tables, &drive, wanted,
        )
        .await;
        match pass.written {
            Err(failure) if tables.are_read_first_now() => {
                task.warn(format!(
                    "{failure}. The server sends whole files only: reading the file for its \
                     tables, then once more."
                ));
            }
            // Another server, or one answer instead of a joined one, may have better bytes.
            // One server's only answer does not change by asking again.
            Err(failure)
                if pass.are_bytes_at_fault && chances > 0 && (pass.is_joined || urls.len() > 1) =>
            {
                chances -= 1;
                task.warn(format!("{failure}. Downloading once more."));
                urls.rotate_left(1);
            }
            written => break written?,
        }
    };
    task.phase(format!("image {} is on {}", request.id, device.name));
    let is_uefi = image_info.get("deploy_boot_mode").and_then(Value::as_str) == Some("uefi");
    let efi_system = outcome.efi_system_uuid.filter(|_| is_uefi);
    let efi_system = efi_system.map(|uuid| format!(" efi_system_partition_uuid={uuid}"));
    installed.remember(outcome.uuids);
    // Ironic reads the words with `=`; what is for people comes last.
    let warning = outcome.warning.map(|warning| {
        task.warn(format!("Image {}: {warning}.", request.id));
        format!(" (warning: {warning})")
    });
    Ok(format!(
        "image ({}) written to device {} root_uuid={}{}{}",
        request.id,
        device.name,
        outcome.root_uuid,
        efi_system.unwrap_or_default(),
        warning.unwrap_or_default()
    ))
}

/// Whether the bytes that came are at fault, rather than the disk or the network: they are not
/// those of the checksum, or not of the format, as an error page is not.
fn is_about_bytes(failure: &Failure) -> bool {
    matches!(
        failure.kind,
        FailureKind::ImageChecksum | FailureKind::InvalidImage
    )
}

/// How the tables of a qcow2 image are learnt from a server that sends whole files only.
#[derive(Debug, Default)]
struct Tables {
    /// One pass was not enough.
    are_needed: Arc<AtomicBool>,
    /// The file is read for them before it is written.
    are_read_first: bool,
}

impl Tables {
    /// Whether one pass was not enough and the next is to be another.
    fn are_read_first_now(&mut self) -> bool {
        let is_new = !self.are_read_first;
        self.are_read_first |= self.are_needed.load(Ordering::Acquire);
        is_new && self.are_read_first
    }

    async fn learn(
        &self,
        head: &[u8],
        source: &Source<'_>,
        available: u64,
        task: &Task,
        device: &str,
    ) -> Result<qcow2::Plan, Failure> {
        let (length, needed) = (source.length(), Arc::clone(&self.are_needed));
        // How much is to be read is known only of the whole file.
        let total = length.filter(|_| self.are_read_first);
        let mut meter = Meter::new("read_tables", device, total, Instant::now());
        let read = AtomicU64::new(0);
        let so_far = || read.load(Ordering::Relaxed);
        if self.are_read_first {
            let parts = qcow2::Reread::new(source, &read);
            let plan = qcow2::plan(head, &parts, length, available, needed);
            meter.during(task, so_far, plan).await
        } else {
            let parts = qcow2::Ranged::new(source, &read);
            let plan = qcow2::plan(head, &parts, length, available, needed);
            meter.during(task, so_far, plan).await
        }
    }
}

/// What [`prepare`] would do, one line for each change of the disk. The disk is only read, and
/// of the network only a config drive.
///
/// # Errors
/// What would keep it from starting.
pub async fn plan(deployment: Deployment<'_>) -> Result<Vec<String>, Failure> {
    let request = ImageRequest::new(deployment.image_info, deployment.config)?;
    let name = &deployment.device.name;
    let image = format!("Write image {} to {name}", request.id);
    if !request.is_partition {
        let given = deployment.configdrive.or(request.configdrive.as_deref());
        let drive = given.map(|_| format!("Place the config drive at the end of {name}"));
        return Ok(std::iter::once(image).chain(drive).collect());
    }
    let wanted = partition_image::Wanted::new(deployment)?;
    let drive = config_drive(deployment, &request).await?;
    let mut disk = open(deployment).await?;
    let Some(parts) = fit(deployment, disk.as_mut(), &drive, Some(&wanted))? else {
        return Ok(vec![image]);
    };
    parts.check(deployment, None).await?;
    let mut lines = parts.describe(name);
    lines.push(image);
    Ok(lines)
}

/// What one download came to.
struct Pass {
    written: Result<Outcome, Failure>,
    /// The bytes were joined from several answers.
    is_joined: bool,
    /// The bytes that came were refused, rather than something of the disk or the network.
    are_bytes_at_fault: bool,
}

/// One pass from a server to the disk.
async fn write(
    deployment: Deployment<'_>,
    request: &ImageRequest,
    expected: &Expected,
    source: Source<'_>,
    tables: &Tables,
    drive: &Arc<Option<ConfigDrive>>,
    wanted: Option<&partition_image::Wanted>,
) -> Pass {
    let Deployment {
        config,
        device,
        task,
        ..
    } = deployment;
    let length = source.length();
    let mut reader = pipeline::Reader::new(source, task, &device.name);
    let mut is_beginning_refused = false;
    let written = async {
        let mut disk = open(deployment).await?;
        let parts = fit(deployment, disk.as_mut(), drive, wanted)?;
        let head = reader
            .block()
            .await?
            .ok_or_else(|| Failure::new(FailureKind::InvalidImage, "The image is empty."))?;
        let format = format::decide(
            request.disk_format.as_deref(),
            &head,
            &config.permitted_image_formats,
            !config.disable_deep_image_inspection,
        )?;
        let available = disk.geometry().size;
        let (plan, size, beginning) = match format {
            Format::Qcow2 => {
                let plan = tables
                    .learn(&head, reader.source(), available, task, &device.name)
                    .await?;
                let size = plan.virtual_size();
                let beginning = Cow::Owned(plan.beginning(&head));
                (decode::Plan::Qcow2(plan), Some(size), beginning)
            }
            _ => {
                let plan = decode::Plan::of(format).ok_or_else(|| format.unsupported())?;
                if format.is_compression() {
                    let (size, inside) =
                        check_compressed(deployment, request, format, &head, length)?;
                    (plan, size, Cow::Owned(inside))
                } else {
                    (plan, length, Cow::Borrowed(&*head))
                }
            }
        };
        match &parts {
            Some(parts) => parts.check(deployment, size).await?,
            None => {
                write::check_size(size, available).map_err(|error| error.failure(&device.name))?;
                let (geometry, has_drive) = (disk.geometry(), drive.is_some());
                partition_table::check_beginning(
                    &beginning,
                    size,
                    geometry,
                    has_drive,
                    &device.name,
                )
                .inspect_err(|_| is_beginning_refused = true)?;
            }
        }
        if let Some(wanted) = wanted.filter(|_| format == Format::Raw) {
            wanted.check_loader(&head, reader.source()).await?;
        }
        task.check()?;
        if let Some(parts) = &parts {
            // It opens the disk itself, and a disk has one owner.
            drop(disk);
            parts.clear(deployment).await?;
            disk = open(deployment).await?;
        }
        let target = pipeline::Target {
            disk,
            device: device.name.clone(),
            extent: parts.as_ref().map(partition_image::Parts::root),
            plan,
            finish: finishing(deployment, drive, parts.is_some()),
        };
        let (root, trailer) =
            pipeline::run(&mut reader, head, expected, &request.id, target).await?;
        let mut outcome = match parts {
            Some(parts) => parts.complete(deployment, drive, root).await?,
            None => Outcome::whole(root.unwrap_or_default()),
        };
        outcome.warning = trailer.map(|trailer| trailer.to_string());
        Ok(outcome)
    };
    let mut written = written.await;
    let are_bytes_at_fault =
        is_beginning_refused || written.as_ref().err().is_some_and(is_about_bytes);
    if let (Err(failure), Some(coding), true) =
        (&mut written, reader.source().coding(), are_bytes_at_fault)
    {
        failure.details.push_str(&format!(
            " The server sent it with Content-Encoding: {coding}; if that is not how the file \
             itself is packed, have the server send the file as it is."
        ));
    }
    Pass {
        written,
        is_joined: reader.source().connections() > 1,
        are_bytes_at_fault,
    }
}

/// Looks into a compressed image as far as its first block goes, before anything is changed.
/// Answers how much it says that it unpacks to, and what it begins with.
fn check_compressed(
    deployment: Deployment<'_>,
    request: &ImageRequest,
    format: Format,
    head: &[u8],
    length: Option<u64>,
) -> Result<(Option<u64>, Vec<u8>), Failure> {
    let Deployment { config, device, .. } = deployment;
    let failed = |error: WriteError| error.failure(&device.name);
    let announced = decode::announced_length(format, head);
    let is_all = length == Some(head.len() as u64) || head.len() < block::BLOCK;
    let inside = decode::beginning(format, head, is_all).map_err(failed)?;
    if !config.disable_deep_image_inspection {
        format::check_inside(
            format,
            request.disk_format.as_deref(),
            &inside,
            &config.permitted_image_formats,
        )?;
    }
    Ok((announced, inside))
}

/// Opens the disk, before anything is changed.
async fn open(deployment: Deployment<'_>) -> Result<Box<dyn Disk>, Failure> {
    let name = &deployment.device.name;
    let disks = Arc::clone(&deployment.system.disks);
    let path = PathBuf::from(name);
    let opened = tokio::task::spawn_blocking(move || disks.open(&path)).await;
    opened
        .map_err(|error| Failure::execution(format!("opening {name} failed: {error}")))?
        .map_err(|error| {
            let kind = match error {
                DiskError::NotADisk { .. } => FailureKind::DeviceNotFound,
                _ => FailureKind::ImageWrite,
            };
            Failure::new(kind, error.to_string())
        })
}

/// Refuses what cannot be placed on this disk around the image. Answers the partitions that a
/// partition image gets.
fn fit(
    deployment: Deployment<'_>,
    disk: &mut dyn Disk,
    drive: &Option<ConfigDrive>,
    wanted: Option<&partition_image::Wanted>,
) -> Result<Option<partition_image::Parts>, Failure> {
    let drive = drive.as_ref();
    let Some(wanted) = wanted else {
        if let Some(drive) = drive {
            drive.size_on(disk.geometry().sector_size)?;
        }
        return Ok(None);
    };
    let name = &deployment.device.name;
    wanted.plan(disk, name, drive, &mut new_guid).map(Some)
}

fn new_guid() -> Guid {
    Guid(uuid::Uuid::new_v4().to_bytes_le())
}

/// What belongs to the image before the disk may boot. Answers the identity of what was
/// written: the disk's, or that of a partition image's file system.
type Finish = Box<dyn FnOnce(&mut dyn Disk) -> Result<Option<String>, Failure> + Send>;

fn finishing(
    deployment: Deployment<'_>,
    drive: &Arc<Option<ConfigDrive>>,
    is_partition: bool,
) -> Finish {
    let (drive, name) = (Arc::clone(drive), deployment.device.name.clone());
    if is_partition {
        return Box::new(move |disk| partition_image::root_uuid(disk, &name));
    }
    Box::new(move |disk| {
        partition_table::finish(disk, drive.as_ref().as_ref(), new_guid(), &name).map(Some)
    })
}

async fn config_drive(
    deployment: Deployment<'_>,
    request: &ImageRequest,
) -> Result<Option<ConfigDrive>, Failure> {
    let Deployment { config, node, .. } = deployment;
    let Some(value) = deployment
        .configdrive
        .or(request.configdrive.as_deref())
        .filter(|value| !value.is_empty())
    else {
        return Ok(None);
    };
    let uuid = Some(node.uuid()).filter(|uuid| !uuid.is_empty());
    let told = || {
        deployment
            .image_info
            .get("node_uuid")
            .and_then(Value::as_str)
    };
    ConfigDrive::load(
        value,
        uuid.or_else(told).unwrap_or("local"),
        deployment.system.fetch.as_ref(),
        plain_request(config),
        patience(config),
        deployment.task,
        Purpose {
            is_to_measure: request.is_partition,
            is_fat_wanted: config.config_drive_rebuild,
        },
    )
    .await
    .map(Some)
}
