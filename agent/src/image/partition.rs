//! Partition images: the image is one file system, and everything around it is made here.
//!
//! ```text
//! Wanted ──plan──▶ Parts ──clear──▶ no table ──pipeline into the root──▶ complete ──▶ Outcome
//!                                   (or: the table, with what is preserved, and nothing bootable)
//! ```
//!
//! The image goes to its place before there is a table: a deployment that fails leaves a disk
//! without partitions, as with whole disks. Only when the ephemeral partition is to survive
//! is the table written first, because what survives must be found again after a power cut.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::configdrive::ConfigDrive;
use super::write::Extent;
use super::{Deployment, Object, Outcome};
use crate::disk::gpt::Guid;
use crate::disk::layout::{Layout, LayoutError, Planned, Role, Wish};
use crate::disk::table::{Partition, Table};
use crate::disk::{fat, identity, metadata, node, swap};
use crate::failure::{Failure, FailureKind};
use crate::machine::boot_mode;
use crate::machine::node::{Node, as_flag};
use crate::system::disk::{Disk, Geometry};
use crate::system::{Cmd, RunError};

const MIB: u64 = 1 << 20;
/// What the file systems are called.
const EFI_LABEL: &str = "efi-part";
const SWAP_LABEL: &str = "swap1";
const EPHEMERAL_LABEL: &str = "ephemeral0";
/// What Ironic means when it does not say.
const EPHEMERAL_FORMAT: &str = "ext4";
/// FAT file systems are made without a program.
const FAT_FORMATS: [&str; 3] = ["vfat", "msdos", "fat"];
/// These ask before they take a whole device.
const FORCED_FORMATS: [&str; 3] = ["ext2", "ext3", "ext4"];
/// A file system of many terabytes takes its time.
const MKFS_TIMEOUT: Duration = Duration::from_secs(3600);
/// How long a node may be missing, for each attempt of the option.
const ATTEMPT: Duration = Duration::from_secs(1);

/// What Ironic asks for around the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    wish: Wish,
    ephemeral_format: String,
    is_ephemeral_preserved: bool,
    /// Whether Ironic wants to hear of PReP partitions.
    is_powerpc: bool,
}

/// The partitions of one disk, decided and possible.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    wanted: Wanted,
    layout: Layout,
    table: Table,
    geometry: Geometry,
    /// The table is on the disk before the image is.
    is_kept: bool,
    /// Identities of what is made here.
    swap_uuid: Guid,
    serial: u32,
}

impl Wanted {
    /// Reads `image_info` and the node.
    ///
    /// # Errors
    /// `InvalidCommandParams`, naming the field.
    pub(super) fn new(deployment: Deployment<'_>) -> Result<Self, Failure> {
        let Deployment {
            system,
            image_info: info,
            config,
            node,
            ..
        } = deployment;
        let root = size(info, "root_mb")?;
        if root == 0 {
            return Err(refused(
                "Partition images need image_info.root_mb, the size of the root partition in MiB.",
            ));
        }
        let format = info.get("ephemeral_format").and_then(Value::as_str);
        let format = format.filter(|text| !text.is_empty());
        let ephemeral_format = format.unwrap_or(EPHEMERAL_FORMAT).to_owned();
        // It becomes part of a program's name.
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if ephemeral_format.len() > 16 || !ephemeral_format.bytes().all(is_name) {
            return Err(refused(format!(
                "image_info.ephemeral_format must be the name of a file system, not \
                 {ephemeral_format:?}."
            )));
        }
        let is_ephemeral_preserved = match info.get("preserve_ephemeral") {
            None | Some(Value::Null) => false,
            Some(value) => as_flag(value).ok_or_else(|| {
                refused(format!(
                    "image_info.preserve_ephemeral must be true or false, not {value}."
                ))
            })?,
        };
        let cpu = architecture(node);
        let boot_mode = node.boot_mode(boot_mode(system));
        Ok(Self {
            wish: Wish {
                boot_mode,
                label: node.disk_label(boot_mode),
                is_power: cpu.starts_with("ppc64"),
                efi_system: config.disk_utils.efi_system_partition_size.into(),
                bios_boot: config.disk_utils.bios_boot_partition_size.into(),
                ephemeral: size(info, "ephemeral_mb")?,
                swap: size(info, "swap_mb")?,
                config_drive: 0,
                root,
            },
            ephemeral_format,
            is_ephemeral_preserved,
            is_powerpc: cpu.starts_with("ppc"),
        })
    }

    /// Lays the partitions out on a disk, which is only read. `guid` makes new identities.
    ///
    /// # Errors
    /// They do not fit, or what is to be preserved is not there.
    pub(super) fn plan(
        &self,
        disk: &mut dyn Disk,
        name: &str,
        drive: Option<&ConfigDrive>,
        guid: &mut dyn FnMut() -> Guid,
    ) -> Result<Parts, Failure> {
        let impossible = |error: LayoutError| partitioning_failed(name, &error);
        let geometry = disk.geometry();
        let mut wish = self.wish;
        if let Some(drive) = drive {
            let size = drive.size_on(geometry.sector_size)?;
            wish.config_drive = size.div_ceil(MIB).max(1);
        }
        let mut layout = wish.layout(geometry).map_err(impossible)?;
        let existing = if self.is_ephemeral_preserved {
            // A damaged table is no table to keep anything in.
            Table::read(disk).unwrap_or_default()
        } else {
            None
        };
        let kept = if self.is_ephemeral_preserved {
            layout
                .kept(existing.as_ref(), geometry.sector_size)
                .map_err(impossible)?
        } else {
            None
        };
        if let Some(existing) = existing.as_ref().filter(|_| kept.is_some()) {
            layout = layout.grown(existing, geometry.sector_size);
        }
        let table = Table::new(&layout, geometry, existing.as_ref().zip(kept), guid)
            .map_err(|error| partitioning_failed(name, &error))?;
        Ok(Parts {
            wanted: self.clone(),
            layout,
            table,
            geometry,
            is_kept: kept.is_some(),
            swap_uuid: guid(),
            serial: guid().identifier(),
        })
    }
}

impl Parts {
    /// Where the image goes.
    pub(super) fn root(&self) -> Extent {
        let root = self.layout.find(Role::Root);
        Extent {
            start: root.map_or(0, |root| root.offset),
            length: root.map_or(0, |root| root.size),
        }
    }

    /// Refuses what would fail later: an image that is larger than its partition (`None`: its
    /// size is not known), or a file system that cannot be made.
    ///
    /// # Errors
    /// `InvalidCommandParams`, `FileSystemNotSupported`.
    pub(super) async fn check(
        &self,
        deployment: Deployment<'_>,
        image: Option<u64>,
    ) -> Result<(), Failure> {
        let root = self.root().length;
        if let Some(image) = image.filter(|image| *image > root) {
            return Err(refused(format!(
                "Root partition is too small for requested image. Image virtual size: {} MB, \
                 Root size: {} MB",
                image.div_ceil(MIB),
                root / MIB
            )));
        }
        self.check_programs(deployment).await
    }

    /// Refuses what would fail at the end for want of a program or of a partition's node.
    async fn check_programs(&self, deployment: Deployment<'_>) -> Result<(), Failure> {
        let system = deployment.system;
        let Some(program) = self.mkfs().filter(|_| system.simulation.is_none()) else {
            return Ok(());
        };
        let missing = |why: &str| {
            Failure::new(
                FailureKind::FileSystemNotSupported,
                format!(
                    "Failed to create a file system. File system {} is not supported.{why}",
                    self.wanted.ephemeral_format
                ),
            )
        };
        if !node::are_made(system, &deployment.device.name) {
            return Err(missing(&format!(
                " {} is a file, and only FAT can be made in a part of one.",
                deployment.device.name
            )));
        }
        match system.run.run(Cmd::new(program).arg("-V")).await {
            Err(RunError::Missing { program }) => {
                Err(missing(&format!(" {program} is not installed.")))
            }
            // It is there; not every one knows the option.
            _ => Ok(()),
        }
    }

    /// Makes the disk one that holds nothing of what it did, except for what is preserved.
    ///
    /// # Errors
    /// The disk is in use, or failed.
    pub(super) async fn clear(&self, deployment: Deployment<'_>) -> Result<(), Failure> {
        let Deployment {
            system,
            device,
            node,
            task,
            ..
        } = deployment;
        if !self.is_kept {
            let destroyed = metadata::destroy(system, device, node.uuid(), task).await;
            return destroyed.map_err(|failure| Failure {
                kind: FailureKind::ImageWrite,
                ..failure
            });
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
            disk.reread_table()
        })
        .await
    }

    /// Makes everything around the image, which is on the disk and verified, and the table.
    /// `root_uuid` is the identity of the image's file system.
    ///
    /// # Errors
    /// A disk or a program failed.
    pub(super) async fn complete(
        self,
        deployment: Deployment<'_>,
        drive: &Arc<Option<ConfigDrive>>,
        root_uuid: Option<String>,
    ) -> Result<Outcome, Failure> {
        let Deployment {
            system,
            config,
            device,
            task,
            ..
        } = deployment;
        let name = &device.name;
        task.check()?;
        let (parts, drive) = (self.clone(), Arc::clone(drive));
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
        let nodes = if node::are_made(system, name) {
            let attempts = config.disk_utils.partition_detection_attempts.max(1);
            node::wait(system, name, &self.layout, ATTEMPT * attempts, task)
                .await
                .map_err(|missing| {
                    task.check().err().unwrap_or_else(|| {
                        Failure::new(
                            FailureKind::Deployment,
                            format!("Unable to stat device {missing} after creating partitions."),
                        )
                    })
                })?
        } else {
            let numbers = self.layout.partitions.iter();
            numbers
                .map(|planned| node::of(system, name, planned.number))
                .collect()
        };
        self.make_ephemeral(deployment, &nodes).await?;
        Ok(self.outcome(&nodes, root_uuid))
    }

    /// The partitions whose content is made here or comes with the image.
    fn made(&self) -> impl Iterator<Item = &Planned> {
        let is_kept = self.is_kept;
        let all = self.layout.partitions.iter();
        all.filter(move |planned| !(is_kept && planned.role == Role::Ephemeral))
    }

    /// Makes what needs no program.
    fn fill(&self, disk: &mut dyn Disk, drive: Option<&ConfigDrive>) -> Result<(), PartError> {
        for planned in self.made() {
            let Planned { offset, size, .. } = *planned;
            match planned.role {
                Role::Root => {}
                Role::ConfigDrive => {
                    if let Some(drive) = drive {
                        drive.put(disk, offset, size)?;
                    }
                }
                Role::BiosBoot | Role::Prep => disk.zero(offset, size)?,
                Role::Swap => {
                    zero_ends(disk, offset, size)?;
                    if let Some(page) = swap::header(size, SWAP_LABEL, self.swap_uuid) {
                        disk.write_at(offset, &page)?;
                    }
                }
                Role::EfiSystem => self.fill_fat(disk, planned, EFI_LABEL)?,
                Role::Ephemeral if self.mkfs().is_none() => {
                    self.fill_fat(disk, planned, EPHEMERAL_LABEL)?;
                }
                Role::Ephemeral => zero_ends(disk, offset, size)?,
            }
        }
        Ok(())
    }

    fn fill_fat(
        &self,
        disk: &mut dyn Disk,
        planned: &Planned,
        label: &str,
    ) -> Result<(), PartError> {
        let Planned { offset, size, .. } = *planned;
        let volume = fat::format(size, self.geometry.sector_size, label, self.serial)
            .map_err(PartError::Format)?;
        zero_ends(disk, offset, size)?;
        disk.zero(offset, fat::tables(size).min(size))?;
        Ok(volume.write_to(disk, offset)?)
    }

    /// Reads the table back.
    fn verify(&self, disk: &mut dyn Disk) -> Result<(), PartError> {
        let sector_size = self.geometry.sector_size;
        let found = Table::read(disk).map_err(|error| PartError::Unread(error.to_string()))?;
        let found = found.map(|table| table.partitions(sector_size));
        if found.as_ref() == Some(&self.table.partitions(sector_size)) {
            return Ok(());
        }
        Err(PartError::Unread(
            "the disk does not have the partitions that were written".to_owned(),
        ))
    }

    /// The program that makes the ephemeral file system, if one is needed.
    fn mkfs(&self) -> Option<String> {
        let is_made = self.made().any(|planned| planned.role == Role::Ephemeral);
        let format = &self.wanted.ephemeral_format;
        (is_made && !FAT_FORMATS.contains(&format.as_str())).then(|| format!("mkfs.{format}"))
    }

    async fn make_ephemeral(
        &self,
        deployment: Deployment<'_>,
        nodes: &[String],
    ) -> Result<(), Failure> {
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
        let is_forced = FORCED_FORMATS.contains(&self.wanted.ephemeral_format.as_str());
        let made = system
            .run
            .run(
                Cmd::new(program)
                    .args(is_forced.then_some("-F"))
                    .args(["-L", EPHEMERAL_LABEL, node])
                    .timeout(MKFS_TIMEOUT),
            )
            .await;
        made.map_err(|error| program_failed(&device.name, error))?;
        task.phase(format!("ephemeral file system on {node} made"));
        Ok(())
    }

    fn outcome(&self, nodes: &[String], root_uuid: Option<String>) -> Outcome {
        let partitions = self.table.partitions(self.geometry.sector_size);
        let partuuid = |role| {
            let planned = self.layout.find(role)?;
            let same = |partition: &&Partition| partition.number == planned.number;
            let partition = partitions.iter().find(same)?;
            Some(self.table.partuuid(*partition))
        };
        let root_uuid = root_uuid
            .or_else(|| partuuid(Role::Root))
            .unwrap_or_default();
        let has_esp = self.layout.find(Role::EfiSystem).is_some();
        let efi_system_uuid = has_esp.then(|| identity::serial(self.serial));
        let mut uuids = Object::new();
        uuids.insert("root uuid".to_owned(), json!(root_uuid));
        uuids.insert(
            format!("{} uuid", Role::EfiSystem.name()),
            json!(efi_system_uuid),
        );
        if self.wanted.is_powerpc {
            uuids.insert(
                format!("{} uuid", Role::Prep.name()),
                json!(partuuid(Role::Prep)),
            );
        }
        let named = self.layout.partitions.iter().zip(nodes);
        let named: Object = named
            .map(|(planned, node)| (planned.role.name().to_owned(), json!(node)))
            .collect();
        uuids.insert("partitions".to_owned(), Value::Object(named));
        Outcome {
            uuids,
            root_uuid,
            efi_system_uuid,
        }
    }

    /// What will be done to a disk, one line for each change.
    pub(super) fn describe(&self, disk: &str) -> Vec<String> {
        let start = if self.is_kept {
            format!("Clear {disk}, except for the ephemeral partition")
        } else {
            format!("Clear {disk}, all of its partitions")
        };
        let describe = |planned: &Planned| {
            let what = match planned.role {
                Role::Ephemeral if self.is_kept => "Keep",
                _ => "Make",
            };
            let (name, size) = (planned.role.name(), planned.size / MIB);
            format!("{what} partition {}: {name}, {size} MiB", planned.number)
        };
        let partitions = self.layout.partitions.iter().map(describe);
        std::iter::once(start).chain(partitions).collect()
    }
}

/// Why the partitions around the image are not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum PartError {
    #[error(transparent)]
    Disk(#[from] crate::system::DiskError),
    #[error("no FAT file system can be made: {0}")]
    Format(std::io::Error),
    #[error(transparent)]
    Drive(#[from] super::configdrive::PutError),
    #[error("{0}")]
    Unread(String),
}

/// The identity of the file system that came as an image.
pub(super) fn root_uuid(root: &mut dyn Disk, device: &str) -> Result<Option<String>, Failure> {
    let size = root.geometry().size;
    identity::read(root, 0, size).map_err(|error| partitioning_failed(device, &error))
}

/// The size of a partition in MiB; absent means none.
fn size(info: &Object, field: &str) -> Result<u64, Failure> {
    match info.get(field) {
        None | Some(Value::Null) => Ok(0),
        Some(value) => {
            let text = value.as_str().map(str::trim);
            let number = value
                .as_u64()
                .or_else(|| text.and_then(|text| text.parse().ok()));
            number.ok_or_else(|| {
                refused(format!(
                    "image_info.{field} must be a whole number of MiB, not {value}."
                ))
            })
        }
    }
}

/// The processor that Ironic knows the node by.
fn architecture(node: &Node) -> &str {
    let known = node.value("properties", "cpu_arch");
    known.and_then(Value::as_str).unwrap_or_default()
}

/// Old signatures at both ends of a partition must not outlive what was there.
fn zero_ends(disk: &mut dyn Disk, offset: u64, size: u64) -> Result<(), crate::system::DiskError> {
    let edge = metadata::EDGE.min(size);
    disk.zero(offset, edge)?;
    disk.zero(offset + size - edge, edge)
}

/// Does something with the open disk on a thread that may block.
async fn on_disk<E: std::error::Error + Send + 'static>(
    deployment: Deployment<'_>,
    work: impl FnOnce(&mut dyn Disk) -> Result<(), E> + Send + 'static,
) -> Result<(), Failure> {
    let name = &deployment.device.name;
    let disks = Arc::clone(&deployment.system.disks);
    let path = PathBuf::from(name);
    let done = tokio::task::spawn_blocking(move || {
        let mut disk = disks.open(&path).map_err(|error| error.to_string())?;
        work(disk.as_mut()).map_err(|error| error.to_string())
    });
    done.await
        .map_err(|error| Failure::execution(format!("shaping {name} failed: {error}")))?
        .map_err(|error| partitioning_failed(name, &error))
}

fn partitioning_failed(name: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        FailureKind::Deployment,
        format!("Disk partitioning failed on device {name}. Error: {error}"),
    )
}

fn program_failed(name: &str, error: RunError) -> Failure {
    let mut failure = Failure::new(
        FailureKind::ImageWrite,
        format!("Writing image to device {name} failed: {error}"),
    );
    if let RunError::Failed {
        program,
        status,
        stderr,
        ..
    } = error
    {
        failure.program = Some(program);
        failure.exit_status = Some(status);
        failure.stderr_tail = stderr;
    }
    failure
}

fn refused(details: impl Into<String>) -> Failure {
    Failure::new(FailureKind::InvalidCommandParams, details)
}
