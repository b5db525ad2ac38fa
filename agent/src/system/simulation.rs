//! A machine that can do no harm: files in a directory are its disks, and nothing else of it
//! can be changed.
//!
//! What [`System::simulated`](super::System::simulated) is made of has no way to start a
//! program, to send a request to a device or to write a file of the machine. That every verb
//! and every step keeps to it is proved by `agent/tests/simulated/`, which watches the
//! system calls.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, ready};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::clock::ForeignClock;
use super::coordination::{Coordination, CoordinationError, CoordinationSession};
use super::disk::{Disk, DiskError, Disks, LinuxDisks, NotADiskReason};
use super::ethernet::Frames;
use super::fetch::UrlFetch;
use super::ipmi::IpmiController;
use super::kernel_log::NoKernelLog;
use super::network::{KernelNetwork, Network, NetworkLink};
use super::path_prefix::PathPrefix;
use super::power::{Power, PowerAction, PowerError};
use super::process::{Cmd, Output, Run, RunError};

/// The directory whose files are the disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulation {
    directory: PathBuf,
}

impl Simulation {
    /// Takes the regular files in `directory` as disks.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// What stands for the UUID that firmware gives a machine: the same for as long as the
    /// directory has its name.
    #[must_use]
    pub fn system_uuid(&self) -> Uuid {
        let name = std::path::absolute(&self.directory);
        let name = name.unwrap_or_else(|_| self.directory.clone());
        let digest = Sha256::digest(name.as_os_str().as_encoded_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// The paths of the disks with their sizes in bytes, by name; hidden files are not disks.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn disks(&self) -> std::io::Result<Vec<(PathBuf, u64)>> {
        let mut disks = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            // A link could lead out of the directory.
            if entry.file_type()?.is_file() && !hidden {
                disks.push((entry.path(), entry.metadata()?.len()));
            }
        }
        disks.sort();
        Ok(disks)
    }
}

/// Opens the files of the directory and nothing else.
#[derive(Debug)]
struct SimulatedDisks(Simulation);

impl Disks for SimulatedDisks {
    fn open(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError> {
        let not_a_disk = |reason: NotADiskReason| DiskError::NotADisk {
            path: name.to_owned(),
            reason,
        };
        let disks = self.0.disks().map_err(|error| not_a_disk(error.into()))?;
        if disks.iter().any(|(path, _)| path == name) {
            LinuxDisks.open(name)
        } else {
            Err(not_a_disk(NotADiskReason::NotSimulated {
                directory: self.0.directory.clone(),
            }))
        }
    }

    // Files are opened by several at once, and nothing claims them.
    fn open_shared(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError> {
        self.open(name)
    }

    fn open_to_read(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError> {
        self.open(name)
    }
}

/// Runs no program at all. Also one that only looks would be looked up in a `PATH`, by the
/// user that the agent is.
#[derive(Debug)]
struct NoPrograms;

impl Run for NoPrograms {
    fn run(&self, cmd: Cmd) -> BoxFuture<'_, Result<Output, RunError>> {
        tracing::info!(command = %cmd, "not run in a simulation");
        let refused = RunError::Broken {
            command: cmd.to_string(),
            source: io::Error::other("a simulation runs no programs"),
        };
        Box::pin(ready(Err(refused)))
    }
}

/// Tells which interfaces the machine has. Nothing is asked of them or heard on them: to
/// listen for LLDP changes the mode of an interface.
#[derive(Debug)]
struct SilentNetwork;

impl Network for SilentNetwork {
    fn links(&self) -> io::Result<Vec<NetworkLink>> {
        KernelNetwork.links()
    }

    fn highest_speed(&self, _name: &str) -> Option<u32> {
        None
    }

    fn lldp_frames(&self, interfaces: &[NetworkLink], _timeout: Duration) -> Frames {
        let nothing = |link: &NetworkLink| (link.name.clone(), Ok(None));
        interfaces.iter().map(nothing).collect()
    }
}

/// There is no management controller.
#[derive(Debug)]
struct NoController;

impl IpmiController for NoController {
    fn exists(&self) -> bool {
        false
    }

    fn ask(&self, _network_function: u8, _command: u8, _data: &[u8]) -> io::Result<Vec<u8>> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "a simulation has no management controller",
        ))
    }
}

/// Other machines must not meet one that is not there.
#[derive(Debug)]
struct NoCoordination;

impl Coordination for NoCoordination {
    fn open<'a>(
        &'a self,
        _servers: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn CoordinationSession>, CoordinationError>> {
        Box::pin(ready(Err(CoordinationError::Simulated)))
    }
}

/// Says what would happen.
#[derive(Debug)]
struct SimulatedPower;

impl Power for SimulatedPower {
    fn shut_down(&self, action: PowerAction) -> BoxFuture<'_, Result<(), PowerError>> {
        tracing::info!(?action, "a simulation stays on");
        Box::pin(ready(Ok(())))
    }
}

impl super::System {
    /// A machine whose disks are the files in `directory`. It can run no programs, change no
    /// other file and lose no power. Facts that are read from files are the real machine's.
    ///
    /// Every handle is named: a new one must be made harmless before this compiles.
    #[must_use]
    pub fn simulated(directory: impl Into<PathBuf>) -> Self {
        let simulation = Simulation::new(directory);
        Self {
            run: Arc::new(NoPrograms),
            root: PathPrefix::new("/").read_only(),
            disks: Arc::new(SimulatedDisks(simulation.clone())),
            fetch: Arc::new(UrlFetch::default()),
            network: Arc::new(SilentNetwork),
            controller: Arc::new(NoController),
            coordination: Arc::new(NoCoordination),
            clock: Arc::new(ForeignClock),
            power: Arc::new(SimulatedPower),
            kernel_log: Arc::new(NoKernelLog),
            simulation: Some(simulation),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::System;
    use super::*;

    #[tokio::test]
    async fn only_files_of_the_directory_are_disks_and_nothing_is_run() {
        let outside = tempfile::NamedTempFile::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("sda");
        std::fs::write(&disk, [1; 4096]).unwrap();
        std::fs::write(dir.path().join(".hidden"), "").unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("link")).unwrap();

        let system = System::simulated(dir.path());
        let disks = system.simulation.as_ref().unwrap().disks().unwrap();
        assert_eq!(disks, [(disk.clone(), 4096)]);
        assert_eq!(system.disks.open(&disk).unwrap().geometry().size, 4096);
        for refused in [
            outside.path(),
            &dir.path().join("link"),
            Path::new("/dev/sda"),
        ] {
            assert!(system.disks.open(refused).is_err(), "{refused:?}");
        }

        for program in ["wipefs", "ip", "true", "/bin/true"] {
            let ran = system.run.run(Cmd::new(program)).await;
            assert!(matches!(ran, Err(RunError::Broken { .. })), "{program}");
        }
        assert!(system.root.writable("/run/x").is_err());
        assert!(!system.controller.exists());
        assert!(system.kernel_log.open().is_err());
        system.power.shut_down(PowerAction::PowerOff).await.unwrap();
    }
}
