//! Hardware managers that are programs of their own: what a vendor or an operator puts into
//! a directory of the ramdisk, in any language.
//!
//! Each program is started with `--socket PATH`, serves `HardwareManagerService` there, and is
//! asked what it is ([`peer`]). From then on its manager stands in the registry like one of
//! ours. The program is watched ([`program`]): when it dies, the step that it was running has
//! failed ([`step`]) and it is started again; the agent serves on.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use error::UnsafeProgram;

use super::manager::{HardwareManager, ManagerIdentity, Support};
use super::step::Step;
use crate::config::AgentConfig;
use crate::system::System;

pub mod error;
pub mod peer;
pub mod program;
mod step;

pub use error::{PeerError, ReportedFailure};
pub use peer::{
    ConnectPeer, ExternalStepDescription, ExternalStepRequest, ManagerDescription, ManagerPeer,
    StepAnswer, StepEvent,
};
use program::ManagerProgram;
use step::ExternalStep;

/// A manager that is a program of its own.
#[derive(Debug)]
pub struct ExternalManager {
    identity: ManagerIdentity,
    support: Support,
    steps: Vec<ExternalStep>,
}

impl ExternalManager {
    fn new(program: Arc<ManagerProgram>, described: &ManagerDescription) -> Self {
        let steps = described
            .steps
            .iter()
            .map(|step| ExternalStep::new(Arc::clone(&program), step.clone()))
            .collect();
        Self {
            identity: described.identity.clone(),
            support: described.support,
            steps,
        }
    }
}

impl HardwareManager for ExternalManager {
    fn identity(&self) -> &ManagerIdentity {
        &self.identity
    }

    fn support(&self, _system: &System) -> Support {
        self.support
    }

    fn steps(&self) -> Vec<&dyn Step> {
        let steps = self.steps.iter().map(|step| step as &dyn Step);
        steps.filter(|step| !is_eraser(*step)).collect()
    }

    fn eraser(&self) -> Option<&dyn Step> {
        let mut steps = self.steps.iter().map(|step| step as &dyn Step);
        steps.find(|step| is_eraser(*step))
    }
}

/// The name of the step by which a manager erases its own kind of disk.
pub const ERASER: &str = "erase_block_device";

fn is_eraser(step: &dyn Step) -> bool {
    step.description().name == ERASER
}

/// Starts the programs in `hardware_managers_dir`, all at once, and answers the managers of
/// those that say what they are, in the order of their file names. The others are left out
/// with a line in the log: a broken one must not keep a machine from being provisioned.
pub async fn start(config: &AgentConfig, dial: &ConnectPeer) -> Vec<ExternalManager> {
    if config.simulate.is_some()
        && config.hardware_managers_dir == AgentConfig::default().hardware_managers_dir
    {
        // They know nothing of a simulation. Only those that somebody wants to try are started.
        return Vec::new();
    }
    let programs = find(&config.hardware_managers_dir);
    if programs.is_empty() {
        return Vec::new();
    }
    let sockets = config.state_dir.join("managers");
    if let Err(error) = private_directory(&sockets) {
        tracing::error!(directory = %sockets.display(), %error,
            "no directory for the sockets of hardware managers: they are left out");
        return Vec::new();
    }
    let starting = programs.into_iter().map(|path| {
        let sockets = &sockets;
        async move {
            let started = ManagerProgram::start(path.clone(), sockets, dial).await;
            started
                .inspect_err(|reason| {
                    tracing::error!(program = %path.display(), %reason,
                        "the hardware manager is left out");
                })
                .ok()
        }
    });
    let started = futures_util::future::join_all(starting).await;
    let managers = started.into_iter().flatten();
    let new = |(program, described)| ExternalManager::new(program, &described);
    managers.map(new).collect()
}

/// The programs in a directory, by name.
fn find(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| match check(path) {
            Ok(()) => true,
            Err(reason) => {
                tracing::warn!(path = %path.display(), %reason, "this is not a hardware manager");
                false
            }
        })
        .collect();
    paths.sort();
    paths
}

/// Whether a file may be started. It would run as the agent does.
fn check(path: &Path) -> Result<(), UnsafeProgram> {
    let metadata = std::fs::metadata(path)?;
    let mode = metadata.permissions().mode();
    if !metadata.is_file() {
        Err(UnsafeProgram::NotAFile)
    } else if mode & 0o111 == 0 {
        Err(UnsafeProgram::NotExecutable)
    } else if mode & 0o022 != 0 {
        Err(UnsafeProgram::WritableByOthers)
    } else {
        Ok(())
    }
}

fn private_directory(directory: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests;
