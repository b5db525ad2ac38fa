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

use std::sync::atomic::AtomicU64;

use ironic_ondisk::partition_table::guid::Guid;
use ironic_ondisk::serial_number;
use serde_json::{Value, json};

use super::config_drive::ConfigDrive;
use super::decode::qcow2::Ranged;
use super::deployment::{Deployment, Object, Outcome};
use super::source::Source;
use super::write::Extent;
use crate::disk::partition::layout::{Layout, LayoutError, Planned, Role, Wish};
use crate::disk::partition::table::{Partition, Table};
use crate::failure::{Failure, FailureKind};
use crate::machine::ironic_node::{Node, as_flag};
use crate::machine::{BootMode, boot_mode};
use crate::system::disk::{Disk, Geometry};

mod loader;
mod make;

pub(super) use make::root_uuid;

const MIB: u64 = 1 << 20;
/// What Ironic means when it does not say.
const EPHEMERAL_FORMAT: &str = "ext4";
/// FAT file systems are made without a program.
const FAT_FORMATS: [&str; 3] = ["vfat", "msdos", "fat"];

/// What Ironic asks for around the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    wish: Wish,
    ephemeral_format: String,
    is_ephemeral_preserved: bool,
    /// Whether Ironic wants to hear of PReP partitions.
    is_powerpc: bool,
    /// Whether only a loader that the image brings makes the machine boot.
    needs_loader: bool,
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
        let needs_loader = check_boot(deployment, boot_mode)?;
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
            needs_loader,
        })
    }

    /// Refuses an image that needs a boot loader of its own and has none, if that can be told
    /// from its first bytes and a few parts of it. What it is declared to be does not matter.
    ///
    /// # Errors
    /// `InvalidImage`.
    pub(super) async fn check_loader(
        &self,
        head: &[u8],
        source: &Source<'_>,
    ) -> Result<(), Failure> {
        if !self.needs_loader {
            return Ok(());
        }
        let read = AtomicU64::new(0);
        match loader::is_there(head, &Ranged::new(source, &read)).await {
            Some(false) => Err(Failure::new(
                FailureKind::InvalidImage,
                "The image brings no EFI boot loader: there is nothing below /boot/efi/EFI. \
                 Nothing was written: use an image that has one, or permit the image's own GRUB \
                 to be run by the option enable_bios_bootloader_install (off because of \
                 CVE-2026-43003).",
            )),
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

    /// The partitions whose content is made here or comes with the image.
    fn made(&self) -> impl Iterator<Item = &Planned> {
        let is_kept = self.is_kept;
        let all = self.layout.partitions.iter();
        all.filter(move |planned| !(is_kept && planned.role == Role::Ephemeral))
    }

    /// The program that makes the ephemeral file system, if one is needed.
    fn mkfs(&self) -> Option<String> {
        let is_made = self.made().any(|planned| planned.role == Role::Ephemeral);
        let format = &self.wanted.ephemeral_format;
        (is_made && !FAT_FORMATS.contains(&format.as_str())).then(|| format!("mkfs.{format}"))
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
        let efi_system_uuid = has_esp.then(|| serial_number(self.serial));
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
            warning: None,
        }
    }
}

/// Refuses what could be written and never be booted: without a boot loader of its own, which
/// for BIOS no partition image has, it needs its GRUB to be run, which an operator permits. For
/// UEFI it may bring a loader; then the answer is whether it must.
///
/// # Errors
/// `InvalidImage`, naming the option.
fn check_boot(deployment: Deployment<'_>, boot_mode: BootMode) -> Result<bool, Failure> {
    let Deployment {
        system,
        image_info: info,
        config,
        task,
        ..
    } = deployment;
    if config.enable_bios_bootloader_install
        || config.ignore_bootloader_failure == Some(true)
        || system.simulation.is_some()
        // Whoever boots the machine from the network, or does not say, needs no boot loader.
        || info.get("boot_option").and_then(Value::as_str) != Some("local")
    {
        return Ok(false);
    }
    match boot_mode {
        BootMode::Bios => Err(Failure::new(
            FailureKind::InvalidImage,
            "A partition image boots on a BIOS machine only by its own GRUB, which is not run \
             unless the option enable_bios_bootloader_install permits it (off because of \
             CVE-2026-43003). Nothing was written: permit it, or use a whole disk image.",
        )),
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

fn partitioning_failed(name: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        FailureKind::Deployment,
        format!("Disk partitioning failed on device {name}. Error: {error}"),
    )
}

fn refused(details: impl Into<String>) -> Failure {
    Failure::new(FailureKind::InvalidCommandParams, details)
}
