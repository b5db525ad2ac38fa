//! What podman is asked for, and what its answers mean.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ironic_text::Secret;
use serde_json::json;

use super::private_file::PrivateFile;
use super::{BootcError, BootcInstall, ContainerReference, PullError};
use crate::system::{Cmd, Output, RunError, System};

/// Where the credential is while the image is pulled.
pub(super) const PRIVATE: &str = "/run/ironic-agent/bootc";
/// What podman says of an option that it does not have.
const UNKNOWN_OPTION: &str = "unknown flag: --retry-delay";
/// Images are large and registries slow, but not slower than this.
const PULL_TIMEOUT: Duration = Duration::from_secs(2 * 3600);

/// Gets the image. The credential is deleted as soon as that has ended, however it did.
pub(super) async fn pull(
    install: BootcInstall<'_>,
    reference: &ContainerReference,
) -> Result<(), BootcError> {
    let secret = install.pull_secret;
    let secret = secret.filter(|secret| !secret.reveal().is_empty());
    let credential = secret.map(|secret| keep(install.system, &reference.registry, secret));
    let credential = credential.transpose()?;
    let authfile = credential
        .as_ref()
        .map(|credential| format!("--authfile={}", credential.path().display()));
    let pull = async |options: &[&str]| {
        let cmd = Cmd::new("podman")
            .arg("pull")
            .args(authfile.as_deref())
            .args(options.iter().copied())
            .arg(&reference.image)
            .timeout(PULL_TIMEOUT);
        tokio::select! {
            () = install.task.cancelled() => Err(install.task.cancellation()),
            pulled = install.system.run.run(cmd) => Ok(pulled),
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
        credential.remove().map_err(PullError::Delete)?;
    }
    pulled.map_err(PullError::Run)?;
    Ok(())
}

/// Keeps a credential where only podman reads it.
fn keep(system: &System, registry: &str, secret: &Secret) -> Result<PrivateFile, PullError> {
    let text = credential(registry, secret)?;
    PrivateFile::new(&system.root, PRIVATE, "ipa-container-auth-", &text).map_err(PullError::Keep)
}

/// The file that podman reads a registry's credential from.
fn credential(registry: &str, secret: &Secret) -> Result<String, PullError> {
    let decoded = STANDARD
        .decode(secret.reveal().trim())
        .map_err(|_| PullError::NotBase64)?;
    let auth = String::from_utf8(decoded).map_err(|_| PullError::NotText)?;
    Ok(json!({"auths": {registry: {"auth": auth.trim()}}}).to_string())
}

/// The installation, decided.
#[derive(Debug, Clone, Copy)]
pub(super) struct InstallCommand<'a> {
    pub(super) image: &'a str,
    pub(super) device: &'a str,
    pub(super) root_size: u64,
    pub(super) keys: Option<&'a Path>,
    pub(super) needs_tpm: bool,
    pub(super) has_selinux: bool,
}

impl InstallCommand<'_> {
    pub(super) fn cmd(&self) -> Cmd {
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

/// What the end of the installation means.
pub(super) fn judge(device: &str, done: Result<Output, RunError>) -> Result<(), BootcError> {
    const NO_BOOTC: &str = "executable file `bootc` not found";
    let lacks_bootc = match &done {
        Ok(output) => [&output.stdout, &output.stderr]
            .into_iter()
            .any(|text| String::from_utf8_lossy(text).contains(NO_BOOTC)),
        Err(RunError::Failed { stderr, .. }) => stderr.contains(NO_BOOTC),
        Err(_) => false,
    };
    if lacks_bootc {
        return Err(BootcError::NoBootc);
    }
    done.map(drop).map_err(|source| BootcError::Install {
        device: device.to_owned(),
        source,
    })
}
