//! The program that runs containers, as far as the machine is concerned.

use super::ID_FILE;
use super::error::ContainerStepError;
use crate::system::{Cmd, System};

/// Programs that can run containers.
const RUNNERS: [&str; 2] = ["podman", "docker"];
/// Where they may be.
const DIRECTORIES: [&str; 6] = [
    "/usr/bin",
    "/bin",
    "/usr/local/bin",
    "/usr/sbin",
    "/sbin",
    "/usr/local/sbin",
];

/// Whether any container runtime runs in this ramdisk. Being there is not enough: it is asked
/// for its version, which a program without its libraries or for another processor cannot say.
pub(in crate::hardware) async fn has_runtime(system: &System) -> bool {
    // A simulation runs no programs.
    if system.simulation.is_some() {
        return false;
    }
    for runner in RUNNERS {
        let is_there = |directory| system.root.exists(format!("{directory}/{runner}"));
        if DIRECTORIES.iter().any(is_there) {
            match system.run.run(version(runner)).await {
                Ok(_) => return true,
                Err(error) => tracing::warn!(%runner, %error, "no steps in containers by this one"),
            }
        }
    }
    false
}

pub(super) fn version(runner: &str) -> Cmd {
    Cmd::new(runner).arg("--version")
}

/// The runner does not start a container while the file of the last one is there.
pub(super) fn forget_container(system: &System) -> Result<(), ContainerStepError> {
    let file = system.root.writable(ID_FILE)?;
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory)?;
    }
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// The container does not end with the program that started it.
pub(super) async fn remove_container(system: &System, runner: &str) {
    let Some(id) = system.root.read_optional(ID_FILE) else {
        return;
    };
    let command = Cmd::new(runner).args(["rm", "--force", id.as_str()]);
    if let Err(error) = system.run.run(command).await {
        tracing::warn!(container = %id, %error, "may be there still");
    }
}
