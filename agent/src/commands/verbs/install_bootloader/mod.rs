//! Makes the machine boot what was written.

use ironic_document::JsonObject;
use serde_json::Value;

use super::Verb;
use crate::commands::arguments::VerbArguments;
use crate::commands::context::CommandContext;
use crate::commands::failure::{Failure, FailureKind};
use crate::commands::plan::CommandPlan;
use crate::commands::root_device::root_device;
use crate::disk::boot::efi::Entries;
use crate::disk::boot::grub::GrubInstall;
use crate::disk::boot::layout::{BootLayout, LocatedPartition};
use crate::disk::boot::{BootError, efi, grub, image, raid};
use crate::machine::block::{BlockDevice, DeviceKind};
use crate::machine::{self, BootMode};
use crate::system::System;
use crate::task::{Progress, Task};

/// GRUB's word for this processor with UEFI.
const UEFI_PLATFORM: &str = if cfg!(target_arch = "aarch64") {
    "arm64-efi"
} else {
    "x86_64-efi"
};
/// The identifier of a disk that has none.
const NO_IDENTIFIER: &str = "0x00000000";

/// The verb with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallBootloader {
    /// UUID of the root file system, or the disk identifier; may be empty.
    pub root_uuid: String,
    /// UUID of the EFI system partition.
    pub efi_system_part_uuid: Option<String>,
    /// UUID of the PReP partition.
    pub prep_boot_part_uuid: Option<String>,
    /// `uefi` or `bios`.
    pub target_boot_mode: String,
    /// Overrides the configuration.
    pub ignore_bootloader_failure: Option<bool>,
}

impl Verb for InstallBootloader {
    fn read(mut arguments: VerbArguments) -> Option<Self> {
        let mode = arguments.text("target_boot_mode");
        Some(Self {
            root_uuid: arguments.text("root_uuid").unwrap_or_default(),
            efi_system_part_uuid: arguments.text("efi_system_part_uuid"),
            prep_boot_part_uuid: arguments.text("prep_boot_part_uuid"),
            target_boot_mode: mode.unwrap_or_else(|| "bios".to_owned()),
            ignore_bootloader_failure: arguments.flag("ignore_bootloader_failure"),
        })
    }

    async fn plan(&self, context: &CommandContext) -> Result<CommandPlan, Failure> {
        let device = root_device(context).await?;
        let may_run_grub = context.config.current().enable_bios_bootloader_install;
        let description = match boot_mode(&context.system) {
            Some(BootMode::Uefi) => format!("Make firmware boot entries for {}", device.name),
            Some(BootMode::Bios) if may_run_grub && names_a_file_system(&self.root_uuid) => {
                format!("Run the image's GRUB for {}", device.name)
            }
            Some(BootMode::Bios) | None => format!("Leave {} as it is", device.name),
        };
        Ok(CommandPlan::of(description))
    }

    /// Answers null.
    ///
    /// # Errors
    /// Whatever keeps the machine from booting, unless failures are to be ignored.
    async fn run(self, context: &CommandContext, task: &Task) -> Result<Value, Failure> {
        let ignored = self
            .ignore_bootloader_failure
            .or(context.config.current().ignore_bootloader_failure)
            .unwrap_or(false);
        match make_bootable(context, task, &self, ignored).await {
            Err(failure) if ignored && !task.is_cancelled() => {
                tracing::warn!(error = %failure, "the boot loader failed, which is to be ignored");
                task.warn(failure.to_string());
                Ok(Value::Null)
            }
            result => result.map(|()| Value::Null),
        }
    }
}

async fn make_bootable(
    context: &CommandContext,
    task: &Task,
    arguments: &InstallBootloader,
    ignored: bool,
) -> Result<(), Failure> {
    let device = root_device(context).await?;
    let Some(current) = boot_mode(&context.system) else {
        task.warn("a simulation has no firmware: no boot entry was written");
        return Ok(());
    };
    let setup = BootSetup {
        system: &context.system,
        device: &device,
        task,
        arguments,
        current,
        target: target_mode(arguments, current),
    };
    setup.begin();
    let mut entries = None;
    if current == BootMode::Uefi {
        match setup.make_entries().await {
            Ok(Entries::Made) => return Ok(()),
            Ok(other) => entries = Some(other),
            // The root file system may have what is missing here.
            Err(error) if ignored && !task.is_cancelled() => {
                task.warn(Failure::from(error).to_string());
            }
            Err(error) => return Err(error.into()),
        }
    }
    if setup.is_left_to_the_image(&context.installed.partition_uuids()) {
        // Whole disks bring their boot loader with them, or nothing ever starts them.
        return match entries {
            Some(Entries::NoLoader { partition }) => Err(setup.no_loader(&partition)),
            _ => Ok(()),
        };
    }
    let may_run_grub = context.config.current().enable_bios_bootloader_install;
    if setup.target == BootMode::Uefi && device.kind != DeviceKind::Raid {
        match setup.use_own_files(may_run_grub).await? {
            OwnFiles::Boot => return Ok(()),
            OwnFiles::LackEntries(made) => entries = Some(made),
            OwnFiles::None => {}
        }
    }
    if let Some(Entries::NoLoader { partition }) = &entries {
        warn_of_no_loader(task, partition);
    }
    if !may_run_grub {
        return Err(grub_is_not_permitted(setup.target, entries.as_ref()));
    }
    run_grub(&setup).await?;
    match current {
        BootMode::Uefi => setup.make_entries_of_grub().await,
        BootMode::Bios => Ok(()),
    }
}

/// What became of the EFI files that the image has in its own root file system.
enum OwnFiles {
    /// The machine boots by them.
    Boot,
    /// They were copied, and the firmware has no entry for them.
    LackEntries(Entries),
    /// The image brings no such files, or they cannot be used.
    None,
}

/// A disk that is to be booted, and by what.
struct BootSetup<'a> {
    system: &'a System,
    device: &'a BlockDevice,
    task: &'a Task,
    arguments: &'a InstallBootloader,
    /// The firmware that this ramdisk found.
    current: BootMode,
    /// The firmware that the machine is to boot by.
    target: BootMode,
}

impl BootSetup<'_> {
    fn begin(&self) {
        let (wanted, current) = (&self.arguments.target_boot_mode, self.current.word());
        if !wanted.eq_ignore_ascii_case(current) {
            self.task.warn(format!(
                "the machine booted in mode {current} and is to boot in mode {wanted}"
            ));
        }
        self.task.progress(Progress {
            phase: grub::PHASE.into(),
            subject: self.device.name.clone(),
            ..Progress::default()
        });
    }

    fn esp(&self) -> Option<&str> {
        self.arguments.efi_system_part_uuid.as_deref()
    }

    /// Gives the firmware entries for the loaders on the EFI system partition.
    async fn make_entries(&self) -> Result<Entries, BootError> {
        efi::install(self.system, self.device, self.esp(), self.task).await
    }

    /// Whether nothing is to be put on the disk besides what the image brought.
    fn is_left_to_the_image(&self, uuids: &JsonObject) -> bool {
        let root = self.arguments.root_uuid.as_str();
        // On an array even those need help: firmware does not start what is written there.
        let is_whole_disk = self.device.kind != DeviceKind::Raid
            && uuids.get("root uuid").and_then(Value::as_str) == Some(root)
            && !uuids.contains_key("partitions");
        is_whole_disk || !names_a_file_system(root)
    }

    /// Copies the image's own EFI files to the EFI system partition, which runs nothing of it.
    async fn use_own_files(&self, may_run_grub: bool) -> Result<OwnFiles, Failure> {
        let root = &self.arguments.root_uuid;
        let copied = copy_assets(self.system, self.device, root, self.esp(), self.task).await;
        let copied = match copied {
            // The image's GRUB may do better.
            Err(failure) if may_run_grub => {
                self.task.warn(failure.to_string());
                false
            }
            copied => copied?,
        };
        if !copied {
            return Ok(OwnFiles::None);
        }
        if self.current == BootMode::Uefi {
            return Ok(match self.make_entries().await? {
                Entries::Made => OwnFiles::Boot,
                other => OwnFiles::LackEntries(other),
            });
        }
        if !boots_without_entry(self.system, self.device, self.esp()).await? {
            return Ok(OwnFiles::None);
        }
        self.task.warn(
            "this ramdisk was not booted by UEFI: the firmware gets no boot entry and starts \
             \\EFI\\BOOT",
        );
        Ok(OwnFiles::Boot)
    }

    /// GRUB does not see the firmware's variables, and put its loader where firmware looks first.
    async fn make_entries_of_grub(&self) -> Result<(), Failure> {
        match self.make_entries().await {
            Ok(Entries::NoLoader { partition }) => return Err(self.no_loader(&partition)),
            Ok(Entries::Made | Entries::NoProgram) => {}
            Err(error) if self.task.is_cancelled() => return Err(error.into()),
            Err(error) => self.task.warn(Failure::from(error).to_string()),
        }
        Ok(())
    }

    fn no_loader(&self, partition: &str) -> Failure {
        warn_of_no_loader(self.task, partition);
        no_loader(self.device)
    }
}

/// Said when nothing puts a loader there any more, which the image's own files may do.
fn warn_of_no_loader(task: &Task, partition: &str) {
    task.warn(format!(
        "the EFI system partition {partition} holds no boot loader that this machine can start"
    ));
}

/// The machine would look for something to start and find nothing.
fn no_loader(device: &BlockDevice) -> Failure {
    Failure::new(
        FailureKind::InvalidImage,
        format!(
            "The EFI system partition of {} holds no boot loader that this machine can start, so \
             it would not boot. The image must bring one, for example \\EFI\\BOOT\\BOOTX64.EFI.",
            device.name
        ),
    )
}

/// Only the image's own GRUB could help, and that is code of the tenant's.
fn grub_is_not_permitted(target: BootMode, entries: Option<&Entries>) -> Failure {
    let details = match (target, entries) {
        (BootMode::Bios, _) => {
            "Install of legacy BIOS bootloaders disabled by CONF.enable_bios_bootloader_install as \
             part of CVE-2026-43003 mitigation."
        }
        (BootMode::Uefi, Some(Entries::NoProgram)) => {
            "The firmware cannot be given a boot entry, because efibootmgr is not installed in \
             this ramdisk, and the image's own GRUB is not run unless the option \
             enable_bios_bootloader_install permits it (off because of CVE-2026-43003)."
        }
        (BootMode::Uefi, _) => {
            "The image brings no EFI boot loader: there is none below /boot/efi/EFI that this \
             machine can start. Use an image that has one, or permit the image's own GRUB to be \
             run by the option enable_bios_bootloader_install (off because of CVE-2026-43003)."
        }
    };
    Failure::new(FailureKind::InvalidImage, details)
}

/// Copies the image's own EFI files, which runs nothing of the image. `false`: there are
/// none.
async fn copy_assets(
    system: &System,
    device: &BlockDevice,
    root: &str,
    esp: Option<&str>,
    task: &Task,
) -> Result<bool, Failure> {
    let layout = BootLayout::read(system, &device.name).await?;
    let root = layout.find(root)?;
    match efi_system(&layout, esp)? {
        Some(esp) => Ok(image::copy_assets(system, &root.node, &esp, task).await?),
        None => Ok(false),
    }
}

/// The firmware that the machine is to boot by: what this ramdisk found, or UEFI if Ironic
/// says so. A UEFI that is there always gets its boot entries: many who mean it leave the
/// mode out, which stands for a BIOS.
fn target_mode(arguments: &InstallBootloader, current: BootMode) -> BootMode {
    let uefi = BootMode::Uefi.word();
    if arguments.target_boot_mode.eq_ignore_ascii_case(uefi) {
        BootMode::Uefi
    } else {
        current
    }
}

/// Whether firmware finds a loader on the EFI system partition by itself.
async fn boots_without_entry(
    system: &System,
    device: &BlockDevice,
    esp: Option<&str>,
) -> Result<bool, Failure> {
    let layout = BootLayout::read(system, &device.name).await?;
    match efi_system(&layout, esp)? {
        Some(esp) => Ok(image::has_fallback_loader(system, &esp).await?),
        None => Ok(false),
    }
}

/// The partition that is marked, else the one that was named.
fn efi_system(
    layout: &BootLayout,
    uuid: Option<&str>,
) -> Result<Option<LocatedPartition>, BootError> {
    match (layout.efi_system(), uuid) {
        (Some(partition), _) => Ok(Some(partition)),
        (None, Some(uuid)) => layout.find(uuid).map(Some),
        (None, None) => Ok(None),
    }
}

async fn run_grub(setup: &BootSetup<'_>) -> Result<(), Failure> {
    let BootSetup {
        system,
        device,
        task,
        arguments,
        current,
        target,
    } = *setup;
    let layout = BootLayout::read(system, &device.name).await?;
    let is_array = device.kind == DeviceKind::Raid;
    let root = if is_array {
        layout.root_of_array(&arguments.root_uuid)?
    } else {
        layout.find(&arguments.root_uuid)?
    };
    let prep = arguments.prep_boot_part_uuid.as_deref();
    let mut order = GrubInstall {
        disk: device.name.clone(),
        root: root.node,
        esp: None,
        targets: vec![device.name.clone()],
        is_array,
        platform: (current != target).then_some(UEFI_PLATFORM),
        names: layout.names().collect(),
    };
    if target == BootMode::Uefi {
        let esp = efi_system(&layout, setup.esp());
        order.esp = if is_array {
            Some(esp_of_array(setup, esp).await?)
        } else {
            esp?
        };
        let esp = order.esp.iter().filter(|esp| !esp.uuid.is_empty());
        order
            .names
            .extend(esp.map(|esp| (esp.name(), esp.node.clone())));
    } else if let Some(prep) = prep {
        order.targets = vec![layout.find(prep)?.node];
    } else if is_array {
        order.targets = raid::prepare_bios(system, device).await?;
    } else if layout.has_boot_code {
        task.phase_ended(format!("{} has a boot loader of its own", device.name));
        return Ok(());
    }
    Ok(grub::install(system, &order, task).await?)
}

/// The EFI system partition of an array, which is made where the disks do not have it yet.
async fn esp_of_array(
    setup: &BootSetup<'_>,
    esp: Result<Option<LocatedPartition>, BootError>,
) -> Result<LocatedPartition, Failure> {
    let BootSetup { system, device, .. } = *setup;
    let array = match (esp, setup.esp()) {
        (Ok(esp), _) => raid::prepare_uefi(system, device, esp.as_ref(), setup.task).await?,
        // One that was moved to the disks before has left its identity there.
        (Err(error), Some(named)) => raid::moved(system, device, named).await?.ok_or(error)?,
        (Err(error), None) => return Err(error.into()),
    };
    Ok(LocatedPartition {
        number: 0,
        uuid: raid::identity_of(system, &array.node).await,
        node: array.node,
        is_partition_uuid: false,
    })
}

fn names_a_file_system(root_uuid: &str) -> bool {
    !root_uuid.is_empty() && root_uuid != NO_IDENTIFIER
}

/// How the machine boots; `None` in a simulation.
fn boot_mode(system: &System) -> Option<BootMode> {
    system
        .simulation
        .is_none()
        .then(|| machine::boot_mode(system))
}

#[cfg(test)]
mod tests;
