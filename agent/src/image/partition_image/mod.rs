//! Partition images: the image is one file system, and everything around it is made here.
//!
//! ```text
//! PartitionSetup ──plan──▶ PartitionPlan ──clear──▶ no table ──pipeline into the root──▶ complete
//!             (or: the table, with what is preserved, and nothing bootable)
//! ```
//!
//! The image goes to its place before there is a table: a deployment that fails leaves a disk
//! without partitions, as with whole disks. Only when the ephemeral partition is to survive
//! is the table written first, because what survives must be found again after a power cut.

use std::sync::atomic::AtomicU64;

use ironic_document::JsonObject;
use ironic_ondisk::partition_table::guid::Guid;
use ironic_ondisk::serial_number;
use ironic_ondisk::size::MIB;
use serde_json::{Value, json};

use super::config_drive::ConfigDrive;
use super::decode::qcow2::RangedSource;
use super::deployment::{Deployment, WrittenImage};
use super::request::PartitionRequest;
use super::source::ImageStream;
use super::write::DiskExtent;
use crate::disk::partition::layout::{LayoutRequest, PartitionLayout, PlannedPartition, Role};
use crate::disk::partition::table::{Partition, PartitionTable};
use crate::machine::ironic_node::Node;
use crate::machine::{BootMode, boot_mode};
use crate::system::disk::{Disk, Geometry};

mod error;
mod loader;
mod make;

pub use error::PartitionImageError;
use error::{NoFileSystem, PartitioningError};
pub(super) use make::root_uuid;

/// FAT file systems are made without a program.
const FAT_FORMATS: [&str; 3] = ["vfat", "msdos", "fat"];

/// What is needed around an image on this machine: the request, and what node, machine and
/// configuration add to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartitionSetup {
    wish: LayoutRequest,
    ephemeral_format: String,
    is_ephemeral_preserved: bool,
    /// Whether Ironic wants to hear of PReP partitions.
    is_powerpc: bool,
    /// Whether only a loader that the image brings makes the machine boot.
    needs_loader: bool,
}

/// The partitions of one disk, decided and possible.
#[derive(Debug, Clone)]
pub(super) struct PartitionPlan {
    setup: PartitionSetup,
    layout: PartitionLayout,
    table: PartitionTable,
    geometry: Geometry,
    /// The table is on the disk before the image is.
    is_kept: bool,
    /// Identities of what is made here.
    swap_uuid: Guid,
    serial: u32,
}

impl PartitionSetup {
    /// Adds to a request what the deployment says.
    ///
    /// # Errors
    /// The machine could never boot it.
    pub(super) fn new(
        request: &PartitionRequest,
        deployment: Deployment<'_>,
    ) -> Result<Self, PartitionImageError> {
        let Deployment {
            system,
            config,
            node,
            ..
        } = deployment;
        let cpu = architecture(node);
        let boot_mode = node.boot_mode(boot_mode(system));
        let needs_loader = request.is_booted_locally && check_boot(deployment, boot_mode)?;
        Ok(Self {
            wish: LayoutRequest {
                boot_mode,
                label: node.disk_label(boot_mode),
                is_power: cpu.starts_with("ppc64"),
                efi_system: config.disk_utils.efi_system_partition_size.into(),
                bios_boot: config.disk_utils.bios_boot_partition_size.into(),
                ephemeral: request.ephemeral_mib,
                swap: request.swap_mib,
                config_drive: 0,
                root: request.root_mib,
            },
            ephemeral_format: request.ephemeral_format.clone(),
            is_ephemeral_preserved: request.is_ephemeral_preserved,
            is_powerpc: cpu.starts_with("ppc"),
            needs_loader,
        })
    }

    /// Refuses an image that needs a boot loader of its own and has none, if that shows
    /// from its first bytes and a few parts of it. What it is declared to be does not matter.
    ///
    /// # Errors
    /// It has no loader.
    pub(super) async fn check_loader(
        &self,
        head: &[u8],
        source: &ImageStream<'_>,
    ) -> Result<(), PartitionImageError> {
        if !self.needs_loader {
            return Ok(());
        }
        let read = AtomicU64::new(0);
        match loader::is_there(head, &RangedSource::new(source, &read)).await {
            Some(false) => Err(PartitionImageError::EfiLoader),
            Some(true) | None => Ok(()),
        }
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
    ) -> Result<PartitionPlan, PartitionImageError> {
        let geometry = disk.geometry();
        let mut wish = self.wish;
        if let Some(drive) = drive {
            let size = drive.size_on(geometry.sector_size)?;
            wish.config_drive = size.div_ceil(MIB).max(1);
        }
        let existing = if self.is_ephemeral_preserved {
            // In a damaged table nothing can be kept.
            PartitionTable::read(disk).unwrap_or_default()
        } else {
            None
        };
        let planned = self.lay_out(wish, existing.as_ref(), geometry, guid);
        planned.map_err(|error| partitioning_failed(name, error))
    }

    /// The partitions on a disk that has the table `existing`, if it is to be looked at.
    fn lay_out(
        &self,
        wish: LayoutRequest,
        existing: Option<&PartitionTable>,
        geometry: Geometry,
        guid: &mut dyn FnMut() -> Guid,
    ) -> Result<PartitionPlan, PartitioningError> {
        let mut layout = wish.layout(geometry)?;
        let kept = if self.is_ephemeral_preserved {
            layout.kept(existing, geometry.sector_size)?
        } else {
            None
        };
        if let Some(existing) = existing.filter(|_| kept.is_some()) {
            layout = layout.grown(existing, geometry.sector_size);
        }
        let table = layout.table(geometry, existing.zip(kept), guid)?;
        Ok(PartitionPlan {
            setup: self.clone(),
            layout,
            table,
            geometry,
            is_kept: kept.is_some(),
            swap_uuid: guid(),
            serial: guid().identifier(),
        })
    }
}

impl PartitionPlan {
    /// Where the image goes.
    pub(super) fn root(&self) -> DiskExtent {
        let root = self.layout.find(Role::Root);
        DiskExtent {
            start: root.map_or(0, |root| root.offset),
            length: root.map_or(0, |root| root.size),
        }
    }

    /// What will be done to a disk, one line for each change.
    pub(super) fn describe(&self, disk: &str) -> Vec<String> {
        let start = if self.is_kept {
            format!("Clear {disk}, except for the ephemeral partition")
        } else {
            format!("Clear {disk}, all of its partitions")
        };
        let describe = |planned: &PlannedPartition| {
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

    /// The partitions whose content is made here or comes with the image.
    fn made(&self) -> impl Iterator<Item = &PlannedPartition> {
        let is_kept = self.is_kept;
        let all = self.layout.partitions.iter();
        all.filter(move |planned| !(is_kept && planned.role == Role::Ephemeral))
    }

    /// The program that makes the ephemeral file system, if one is needed.
    fn mkfs(&self) -> Option<String> {
        let is_made = self.made().any(|planned| planned.role == Role::Ephemeral);
        let format = &self.setup.ephemeral_format;
        (is_made && !FAT_FORMATS.contains(&format.as_str())).then(|| format!("mkfs.{format}"))
    }

    fn outcome(&self, nodes: &[String], root_uuid: Option<String>) -> WrittenImage {
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
        let efi_system_uuid = has_esp.then(|| serial_number(self.serial));
        let mut uuids = JsonObject::new();
        uuids.insert("root uuid".to_owned(), json!(root_uuid));
        uuids.insert(
            format!("{} uuid", Role::EfiSystem.name()),
            json!(efi_system_uuid),
        );
        if self.setup.is_powerpc {
            uuids.insert(
                format!("{} uuid", Role::Prep.name()),
                json!(partuuid(Role::Prep)),
            );
        }
        let named = self.layout.partitions.iter().zip(nodes);
        let named: JsonObject = named
            .map(|(planned, node)| (planned.role.name().to_owned(), json!(node)))
            .collect();
        uuids.insert("partitions".to_owned(), Value::Object(named));
        WrittenImage {
            uuids,
            root_uuid,
            efi_system_uuid,
            warning: None,
        }
    }
}

/// Refuses what could be written and never be booted from its own disk: without a boot loader of
/// its own, which for BIOS no partition image has, it needs its GRUB to be run, which an operator
/// permits. For UEFI it may bring a loader; then the answer is whether it must.
fn check_boot(
    deployment: Deployment<'_>,
    boot_mode: BootMode,
) -> Result<bool, PartitionImageError> {
    let Deployment {
        system,
        config,
        task,
        ..
    } = deployment;
    if config.enable_bios_bootloader_install
        || config.ignore_bootloader_failure == Some(true)
        || system.simulation.is_some()
    {
        return Ok(false);
    }
    match boot_mode {
        BootMode::Bios => Err(PartitionImageError::BiosLoader),
        BootMode::Uefi => {
            task.warn(
                "this partition image boots only if it brings an EFI boot loader below \
                 /boot/efi/EFI: its own GRUB is not run unless the option \
                 enable_bios_bootloader_install permits it",
            );
            Ok(true)
        }
    }
}

/// The processor that Ironic knows the node by.
fn architecture(node: &Node) -> &str {
    let known = node.value("properties", "cpu_arch");
    known.and_then(Value::as_str).unwrap_or_default()
}

fn partitioning_failed(name: &str, source: impl Into<PartitioningError>) -> PartitionImageError {
    PartitionImageError::Partitioning {
        device: name.to_owned(),
        source: source.into(),
    }
}
