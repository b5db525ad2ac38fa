//! Bootable containers: an OCI image that brings `bootc`, which installs itself on a disk.
//!
//! The container is the tenant's code and runs with every right. What it must not see is gone
//! before it starts: the registry's credential is deleted as soon as the image is there.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ironic_ondisk::partition_table::guid::Guid;
use ironic_text::Secret;
use serde_json::{Value, json};

use super::config_drive::{ConfigDrive, Purpose};
use super::deployment::Object;
use super::last_deployment::Installed;
use super::partition_table::finish;
use super::source::{patience, plain_request};
use crate::config::Config;
use crate::disk::partition::device;
use crate::failure::{Failure, FailureKind};
use crate::machine::block::BlockDevice;
use crate::system::{Cmd, Output, RunError, System};
use crate::task::Task;

/// Where podman reads its settings.
const SETTINGS: &str = "/etc/containers/containers.conf.d";
/// A ramdisk's root cannot be pivoted away.
const SETTING: &str = "[engine]\nno_pivot_root = true\n";
/// Where the credential is while the image is pulled.
const PRIVATE: &str = "/run/ironic-agent/bootc";
/// Where the keys of the tenant's administrator are: the container sees this directory.
const SHARED: &str = "/tmp";
/// Left free behind the root file system, for the loader and a config drive. MiB.
const RESERVED: u64 = 768;
/// What podman says of an option that it does not have.
const UNKNOWN_OPTION: &str = "unknown flag: --retry-delay";
/// Images are large and registries slow, but not slower than this.
const PULL_LIMIT: Duration = Duration::from_secs(2 * 3600);
/// Writing a whole system takes its time.
const INSTALL_LIMIT: Duration = Duration::from_secs(4 * 3600);
/// Whom config drives are for in messages.
const NODE: &str = "local";

/// Everything that an installation needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Install<'a> {
    /// The machine.
    pub system: &'a System,
    /// The configuration in force.
    pub config: &'a Config,
    /// The image: `oci://registry/name:tag`.
    pub image_source: &'a str,
    /// Ironic's `instance_info`: `bootc_authorized_keys`, `bootc_tpm2_luks`.
    pub instance_info: &'a Object,
    /// Base64 of the registry's credential.
    pub pull_secret: Option<&'a Secret>,
    /// URL or inline config drive.
    pub configdrive: Option<&'a str>,
    /// The disk to overwrite.
    pub device: &'a BlockDevice,
    /// Progress and cancellation.
    pub task: &'a Task,
    /// What is on the disk is forgotten.
    pub installed: &'a Installed,
}

/// Whether this site wants bootable containers at all.
///
/// # Errors
/// It does not.
pub fn permitted(config: &Config) -> Result<(), Failure> {
    if config.disable_bootc_deploy {
        return Err(Failure::execution(
            "Deployment of bootable containers is administratively disabled \
             (option disable_bootc_deploy).",
        ));
    }
    Ok(())
}

/// Pulls the image, lets it install itself and places the config drive. Answers the sentence
/// that Ironic logs. All that can be wrong with the order is found before the disk is touched.
///
/// # Errors
/// What kept the system from being on the disk.
pub async fn install(order: Install<'_>) -> Result<String, Failure> {
    let Install {
        system,
        config,
        device,
        task,
        ..
    } = order;
    permitted(config)?;
    let reference = Reference::new(order.image_source)?;
    let options = Options::new(order.instance_info)?;
    let root_size = root_size(device)?;
    let drive = match order.configdrive.filter(|value| !value.is_empty()) {
        None => None,
        Some(value) => {
            let request = plain_request(config);
            let fetch = system.fetch.as_ref();
            let purpose = Purpose {
                is_to_measure: false,
                is_fat_wanted: config.config_drive_rebuild,
            };
            let patience = patience(config);
            Some(ConfigDrive::load(value, NODE, fetch, request, patience, task, purpose).await?)
        }
    };
    let settings = system.root.writable(SETTINGS);
    settings
        .and_then(|settings| {
            fs::create_dir_all(&settings)?;
            fs::write(settings.join("01-ipa.conf"), SETTING)
        })
        .map_err(|error| {
            Failure::execution(format!("Failed to write the settings of podman: {error}"))
        })?;

    pull(order, &reference).await?;
    task.phase(format!("container image {} pulled", reference.image));
    let has_selinux = has_selinux(system).await;
    task.check()?;

    order.installed.forget();
    // A name of its own: the container sees the whole directory.
    let keys = options
        .keys
        .map(|keys| {
            let directory = system.root.writable(SHARED)?;
            PrivateFile::new(&directory, "ironic-agent-keys-", keys)
        })
        .transpose()
        .map_err(|error| {
            Failure::execution(format!("Failed to write the authorized keys: {error}"))
        })?;
    let plan = Plan {
        image: &reference.image,
        device: &device.name,
        root_size,
        keys: keys.as_ref().map(PrivateFile::path),
        needs_tpm: options.tpm2_luks,
        has_selinux,
    };
    device::release(system, &device.name).await;
    // Not interrupted by a cancellation: podman would die and leave the container at work.
    let done = system.run.run(plan.cmd().timeout(INSTALL_LIMIT)).await;
    drop(keys);
    judge(&device.name, done)?;
    task.phase(format!("container image {} installed", reference.image));
    task.check()?;
    complete(order, drive).await?;
    Ok(format!(
        "Container image ({}) written to device {}",
        order.image_source, device.name
    ))
}

/// What the image is called at the registry.
#[derive(Debug, PartialEq, Eq)]
struct Reference {
    registry: String,
    image: String,
}

impl Reference {
    /// Scheme, query and fragment are not podman's.
    fn new(source: &str) -> Result<Self, Failure> {
        let image = source.split(['?', '#']).next().unwrap_or(source);
        let image = image.split_once("://").map_or(image, |(_, rest)| rest);
        let is_plain = |character: char| !character.is_whitespace() && !character.is_control();
        // A leading hyphen would be an option.
        if image.is_empty() || image.starts_with('-') || !image.chars().all(is_plain) {
            return Err(Failure::new(
                FailureKind::InvalidImage,
                format!(
                    "'image_source' is not a container image such as \
                     oci://registry.example/name:tag: {source:?}"
                ),
            ));
        }
        let registry = image.split('/').next().unwrap_or(image);
        Ok(Self {
            registry: registry.to_owned(),
            image: image.to_owned(),
        })
    }
}

/// What the instance asks of the installation.
struct Options<'a> {
    keys: Option<&'a str>,
    tpm2_luks: bool,
}

impl<'a> Options<'a> {
    fn new(instance_info: &'a Object) -> Result<Self, Failure> {
        let wrong = |name: &str, kind: &str| {
            Failure::execution(format!("'instance_info.{name}' must be {kind}"))
        };
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
fn root_size(device: &BlockDevice) -> Result<u64, Failure> {
    let size = device.size >> 20;
    size.checked_sub(RESERVED)
        .filter(|left| *left > 0)
        .ok_or_else(|| {
            Failure::new(
                FailureKind::DeviceNotFound,
                format!(
                    "{} has {size} MiB, and a bootable container needs more than {RESERVED} MiB",
                    device.name
                ),
            )
        })
}

async fn pull(order: Install<'_>, reference: &Reference) -> Result<(), Failure> {
    let failed = |reason: &dyn std::fmt::Display| {
        Failure::new(
            FailureKind::ImageDownload,
            format!("Failed to pull container image: {reason}"),
        )
    };
    let credential = order
        .pull_secret
        .filter(|secret| !secret.reveal().is_empty())
        .map(|secret| {
            let text = credential(&reference.registry, secret)?;
            let directory = order.system.root.writable(PRIVATE);
            directory
                .and_then(|directory| PrivateFile::new(&directory, "ipa-container-auth-", &text))
                .map_err(|error| format!("the credential cannot be kept: {error}"))
        })
        .transpose()
        .map_err(|error| failed(&error))?;
    let authfile = credential
        .as_ref()
        .map(|credential| format!("--authfile={}", credential.path().display()));
    let pull = async |options: &[&str]| {
        let cmd = Cmd::new("podman")
            .arg("pull")
            .args(authfile.as_deref())
            .args(options.iter().copied())
            .arg(&reference.image)
            .timeout(PULL_LIMIT);
        tokio::select! {
            () = order.task.cancelled() => Err(order.task.cancellation()),
            pulled = order.system.run.run(cmd) => Ok(pulled),
        }
    };
    let pulled = match pull(&["--retry-delay=5s"]).await? {
        // Podman 4 tries again at its own pace.
        Err(RunError::Failed { stderr, .. }) if stderr.contains(UNKNOWN_OPTION) => {
            pull(&[]).await?
        }
        pulled => pulled,
    };
    if let Some(credential) = credential {
        // The tenant's code can read every file of the ramdisk.
        credential.remove().map_err(|error| {
            failed(&format!(
                "its credential cannot be deleted, and must not be there when it runs: {error}"
            ))
        })?;
    }
    pulled.map(drop).map_err(|error| failed(&error))
}

/// The file that podman reads a registry's credential from.
fn credential(registry: &str, secret: &Secret) -> Result<String, String> {
    let decoded = STANDARD
        .decode(secret.reveal().trim())
        .map_err(|_| "'pull_secret' is not base64".to_owned())?;
    let auth = String::from_utf8(decoded)
        .map_err(|_| "'pull_secret' does not hold text in base64".to_owned())?;
    Ok(json!({"auths": {registry: {"auth": auth.trim()}}}).to_string())
}

async fn has_selinux(system: &System) -> bool {
    let Ok(output) = system.run.run(Cmd::new("getenforce")).await else {
        return false;
    };
    let text = output.text();
    text.starts_with("Enforcing") || text.starts_with("Permissive")
}

/// The installation, decided.
#[derive(Debug, Clone, Copy)]
struct Plan<'a> {
    image: &'a str,
    device: &'a str,
    root_size: u64,
    keys: Option<&'a Path>,
    needs_tpm: bool,
    has_selinux: bool,
}

impl Plan<'_> {
    fn cmd(&self) -> Cmd {
        let mut cmd = Cmd::new("podman").args([
            "--log-level=debug",
            "run",
            "--rm",
            "--privileged",
            "--pid=host",
            "--pull=never",
            "-v",
            "/var/lib/containers:/var/lib/containers",
            "-v",
            "/dev:/dev",
        ]);
        if self.keys.is_some() {
            cmd = cmd.args(["-v", "/tmp:/tmp"]);
        }
        if self.has_selinux {
            cmd = cmd.args(["--security-opt", "label=type:unconfined_t"]);
        }
        cmd = cmd.args([self.image, "bootc", "install", "to-disk"]);
        cmd = cmd.args(["--wipe", "--skip-fetch-check"]);
        cmd = cmd.arg(format!("--root-size={}M", self.root_size));
        if self.needs_tpm {
            cmd = cmd.arg("--block-setup=tpm2-luks");
        }
        if let Some(keys) = self.keys {
            cmd = cmd.arg(format!("--root-ssh-authorized-keys={}", keys.display()));
        }
        if !self.has_selinux {
            cmd = cmd.arg("--disable-selinux");
        }
        cmd.arg(self.device)
    }
}

fn judge(device: &str, done: Result<Output, RunError>) -> Result<(), Failure> {
    const NO_BOOTC: &str = "executable file `bootc` not found";
    let lacks_bootc = match &done {
        Ok(output) => [&output.stdout, &output.stderr]
            .into_iter()
            .any(|text| String::from_utf8_lossy(text).contains(NO_BOOTC)),
        Err(RunError::Failed { stderr, .. }) => stderr.contains(NO_BOOTC),
        Err(_) => false,
    };
    if lacks_bootc {
        return Err(Failure::new(
            FailureKind::ImageDownload,
            "The container image does not contain bootc, so it cannot be installed.",
        ));
    }
    done.map(drop).map_err(|error| {
        let mut failure = Failure::new(
            FailureKind::ImageWrite,
            format!("Installing the container image on device {device} failed: {error}"),
        );
        if let RunError::Failed {
            program, status, ..
        } = error
        {
            failure.program = Some(program);
            failure.exit_status = Some(status);
        }
        failure
    })
}

/// What follows the installation: the table is looked at, the config drive placed.
async fn complete(order: Install<'_>, drive: Option<ConfigDrive>) -> Result<(), Failure> {
    let disks = Arc::clone(&order.system.disks);
    let name = order.device.name.clone();
    let guid = Guid(uuid::Uuid::new_v4().to_bytes_le());
    let work = tokio::task::spawn_blocking(move || {
        let broken = |error: &dyn std::fmt::Display| {
            Failure::new(FailureKind::ImageWrite, format!("{name}: {error}"))
        };
        let mut disk = disks
            .open(&PathBuf::from(&name))
            .map_err(|error| broken(&error))?;
        finish(disk.as_mut(), drive.as_ref(), guid, &name)?;
        disk.sync().map_err(|error| broken(&error))?;
        disk.reread_table().map_err(|error| broken(&error))
    });
    work.await
        .map_err(|error| Failure::execution(format!("completing the disk failed: {error}")))?
}

/// A file that only root may read and that does not outlive its owner.
#[derive(Debug)]
struct PrivateFile(Option<PathBuf>);

impl PrivateFile {
    fn new(directory: &Path, prefix: &str, text: &str) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        let path = directory.join(format!("{prefix}{}.json", uuid::Uuid::new_v4()));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        let kept = Self(Some(path));
        file.write_all(text.as_bytes())?;
        Ok(kept)
    }

    fn path(&self) -> &Path {
        self.0.as_deref().unwrap_or_else(|| Path::new(""))
    }

    fn remove(mut self) -> io::Result<()> {
        self.0.take().map_or(Ok(()), fs::remove_file)
    }
}

impl Drop for PrivateFile {
    fn drop(&mut self) {
        if let Some(path) = self.0.take()
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::warn!(path = %path.display(), %error, "a private file was not deleted");
        }
    }
}

#[cfg(test)]
mod tests;
