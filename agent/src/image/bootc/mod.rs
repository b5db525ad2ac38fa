//! Bootable containers: an OCI image that brings `bootc`, which installs itself on a disk.
//!
//! The container is the tenant's code and runs with every right. What it must not see is gone
//! before it starts: the registry's credential is deleted as soon as the image is there.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ironic_document::JsonObject;
use ironic_ondisk::partition_table::guid::Guid;
use ironic_ondisk::size::MIB;
use ironic_text::Secret;
use serde_json::Value;

use super::config_drive::{ConfigDrive, ConfigDrivePurpose};
use super::last_deployment::LastDeployment;
use super::partition_table::finish;
use super::source::Download;
use crate::config::AgentConfig;
use crate::disk::partition::device;
use crate::machine::block::BlockDevice;
use crate::system::{Cmd, DiskError, System};
use crate::task::Task;

mod error;
mod podman;
mod private_file;

pub use error::{BootcError, PullError};

use podman::InstallCommand;
use private_file::PrivateFile;

/// Where podman reads its settings.
const SETTINGS: &str = "/etc/containers/containers.conf.d";
/// A ramdisk's root cannot be pivoted away.
const SETTING: &str = "[engine]\nno_pivot_root = true\n";
/// Where the keys of the tenant's administrator are: the container sees this directory.
const SHARED: &str = "/tmp";
/// Left free behind the root file system, for the loader and a config drive. MiB.
const RESERVED: u64 = 768;
/// Writing a whole system takes its time.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(4 * 3600);
/// The node that messages about config drives name.
const NODE: &str = "local";

/// Everything that an installation needs to know.
#[derive(Debug, Clone, Copy)]
pub struct BootcInstall<'a> {
    /// The machine.
    pub system: &'a System,
    /// The configuration in force.
    pub config: &'a AgentConfig,
    /// The image: `oci://registry/name:tag`.
    pub image_source: &'a str,
    /// Ironic's `instance_info`: `bootc_authorized_keys`, `bootc_tpm2_luks`.
    pub instance_info: &'a JsonObject,
    /// Base64 of the registry's credential.
    pub pull_secret: Option<&'a Secret>,
    /// URL or inline config drive.
    pub configdrive: Option<&'a str>,
    /// The disk to overwrite.
    pub device: &'a BlockDevice,
    /// Progress and cancellation.
    pub task: &'a Task,
    /// What is on the disk is forgotten.
    pub installed: &'a LastDeployment,
}

/// Whether this site wants bootable containers at all.
///
/// # Errors
/// It does not.
pub fn permitted(config: &AgentConfig) -> Result<(), BootcError> {
    if config.disable_bootc_deploy {
        return Err(BootcError::Disabled);
    }
    Ok(())
}

/// Pulls the image, lets it install itself and places the config drive. Answers the sentence
/// that Ironic logs. All that can be wrong with the request is found before the disk is touched.
///
/// # Errors
/// What kept the system from being on the disk.
pub async fn install(install: BootcInstall<'_>) -> Result<String, BootcError> {
    let BootcInstall {
        system,
        config,
        device,
        task,
        ..
    } = install;
    permitted(config)?;
    let reference = ContainerReference::new(install.image_source)?;
    let options = InstanceOptions::new(install.instance_info)?;
    let root_size = root_size(device)?;
    let drive = config_drive(install).await?;
    write_settings(system).map_err(BootcError::Settings)?;

    podman::pull(install, &reference).await?;
    task.phase_ended(format!("container image {} pulled", reference.image));
    let has_selinux = has_selinux(system).await;
    task.check()?;

    install.installed.forget();
    // A name of its own: the container sees the whole directory.
    let keys = options
        .keys
        .map(|keys| PrivateFile::new(&system.root, SHARED, "ironic-agent-keys-", keys));
    let keys = keys.transpose().map_err(BootcError::Keys)?;
    let command = InstallCommand {
        image: &reference.image,
        device: &device.name,
        root_size,
        keys: keys.as_ref().map(PrivateFile::path),
        needs_tpm: options.tpm2_luks,
        has_selinux,
    };
    device::release(system, &device.name).await;
    // Not interrupted by a cancellation: podman would die and leave the container at work.
    let done = system.run.run(command.cmd().timeout(INSTALL_TIMEOUT)).await;
    drop(keys);
    podman::judge(&device.name, done)?;
    task.phase_ended(format!("container image {} installed", reference.image));
    task.check()?;
    complete(install, drive).await?;
    Ok(format!(
        "Container image ({}) written to device {}",
        install.image_source, device.name
    ))
}

async fn config_drive(install: BootcInstall<'_>) -> Result<Option<ConfigDrive>, BootcError> {
    let BootcInstall {
        system,
        config,
        task,
        ..
    } = install;
    let Some(value) = install.configdrive.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let download = Download::new(system.fetch.as_ref(), config, task);
    let purpose = ConfigDrivePurpose {
        is_to_measure: false,
        is_fat_wanted: config.config_drive_rebuild,
    };
    let drive = ConfigDrive::load(value, NODE, download, purpose).await?;
    Ok(Some(drive))
}

fn write_settings(system: &System) -> io::Result<()> {
    let settings = system.root.writable(SETTINGS)?;
    fs::create_dir_all(&settings)?;
    fs::write(settings.join("01-ipa.conf"), SETTING)
}

/// What the image is called at the registry.
#[derive(Debug, PartialEq, Eq)]
struct ContainerReference {
    registry: String,
    image: String,
}

impl ContainerReference {
    /// Scheme, query and fragment are not podman's.
    fn new(source: &str) -> Result<Self, BootcError> {
        let image = source.split(['?', '#']).next().unwrap_or(source);
        let image = image.split_once("://").map_or(image, |(_, rest)| rest);
        let is_plain = |character: char| !character.is_whitespace() && !character.is_control();
        // A leading hyphen would be an option.
        if image.is_empty() || image.starts_with('-') || !image.chars().all(is_plain) {
            return Err(BootcError::ImageSource(source.to_owned()));
        }
        let registry = image.split('/').next().unwrap_or(image);
        Ok(Self {
            registry: registry.to_owned(),
            image: image.to_owned(),
        })
    }
}

/// What the instance asks of the installation.
struct InstanceOptions<'a> {
    keys: Option<&'a str>,
    tpm2_luks: bool,
}

impl<'a> InstanceOptions<'a> {
    fn new(instance_info: &'a JsonObject) -> Result<Self, BootcError> {
        let wrong = |field, kind| BootcError::InstanceInfo { field, kind };
        let keys = match instance_info.get("bootc_authorized_keys") {
            None | Some(Value::Null) => None,
            Some(Value::String(keys)) => Some(keys.as_str()).filter(|keys| !keys.is_empty()),
            Some(_) => return Err(wrong("bootc_authorized_keys", "a text")),
        };
        let tpm2_luks = match instance_info.get("bootc_tpm2_luks") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => return Err(wrong("bootc_tpm2_luks", "true or false")),
        };
        Ok(Self { keys, tpm2_luks })
    }
}

/// MiB that the root file system may have.
fn root_size(device: &BlockDevice) -> Result<u64, BootcError> {
    let mib = device.size / MIB;
    let left = mib.checked_sub(RESERVED).filter(|left| *left > 0);
    left.ok_or_else(|| BootcError::TooSmall {
        device: device.name.clone(),
        mib,
    })
}

async fn has_selinux(system: &System) -> bool {
    let Ok(output) = system.run.run(Cmd::new("getenforce")).await else {
        return false;
    };
    let text = output.text();
    text.starts_with("Enforcing") || text.starts_with("Permissive")
}

/// What follows the installation: the table is looked at, the config drive placed.
async fn complete(install: BootcInstall<'_>, drive: Option<ConfigDrive>) -> Result<(), BootcError> {
    let disks = Arc::clone(&install.system.disks);
    let name = install.device.name.clone();
    let guid = Guid(uuid::Uuid::new_v4().to_bytes_le());
    let work = tokio::task::spawn_blocking(move || {
        let failed = |source: DiskError| BootcError::Disk {
            device: name.clone(),
            source,
        };
        let mut disk = disks.open(&PathBuf::from(&name)).map_err(failed)?;
        finish(disk.as_mut(), drive.as_ref(), guid, &name)?;
        disk.sync().map_err(failed)?;
        disk.reread_table().map_err(failed)
    });
    work.await.map_err(BootcError::Thread)?
}

#[cfg(test)]
mod tests;
