//! A machine that can do no harm: files in a directory are its disks, programs that could
//! change something are refused, and power is only logged.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::clock::ForeignClock;
use super::disk::{Disk, DiskError, Disks, LinuxDisks};
use super::power::{Power, PowerAction, PowerError};
use super::process::{Cmd, Output, Programs, Run, RunError};

/// The programs that only look. Everything else is refused.
const READERS: [&str; 12] = [
    "cat",
    "df",
    "dmesg",
    "dmidecode",
    "ip",
    "journalctl",
    "lscpu",
    "lspci",
    "lsusb",
    "ps",
    "uname",
    "uptime",
];

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

    /// The paths of the disks with their sizes in bytes, by name; hidden files are no disks.
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
pub(super) struct SimulatedDisks(pub(super) Simulation);

impl Disks for SimulatedDisks {
    fn open(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError> {
        let not_a_disk = |reason: String| DiskError::NotADisk {
            path: name.to_owned(),
            reason,
        };
        let disks = self
            .0
            .disks()
            .map_err(|error| not_a_disk(error.to_string()))?;
        if disks.iter().any(|(path, _)| path == name) {
            LinuxDisks.open(name)
        } else {
            Err(not_a_disk(format!(
                "the disks of this simulation are the files in {}",
                self.0.directory.display()
            )))
        }
    }
}

/// Runs programs that look, refuses those that change.
#[derive(Debug)]
pub(super) struct SimulatedPrograms;

impl Run for SimulatedPrograms {
    fn run(&self, cmd: Cmd) -> BoxFuture<'_, Result<Output, RunError>> {
        if READERS.contains(&cmd.program.as_str()) {
            return Programs.run(cmd);
        }
        tracing::info!(command = %cmd, "not run in a simulation");
        let refused = RunError::Broken {
            command: cmd.to_string(),
            reason: "programs that could change the machine are not run in a simulation".into(),
        };
        Box::pin(std::future::ready(Err(refused)))
    }
}

/// Says what would happen.
#[derive(Debug)]
pub(super) struct SimulatedPower;

impl Power for SimulatedPower {
    fn shut_down(&self, action: PowerAction) -> BoxFuture<'_, Result<(), PowerError>> {
        tracing::info!(?action, "a simulation stays on");
        Box::pin(std::future::ready(Ok(())))
    }
}

impl super::System {
    /// A machine whose disks are the files in `directory`; it can neither run programs that
    /// change something nor lose power. Facts that are only read are the real machine's.
    #[must_use]
    pub fn simulated(directory: impl Into<PathBuf>) -> Self {
        let simulation = Simulation::new(directory);
        Self {
            run: Arc::new(SimulatedPrograms),
            disks: Arc::new(SimulatedDisks(simulation.clone())),
            power: Arc::new(SimulatedPower),
            clock: Arc::new(ForeignClock),
            simulation: Some(simulation),
            ..Self::linux()
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

        let wipe = Cmd::new("wipefs").args(["--force", "--all", "/dev/sda"]);
        assert!(system.run.run(wipe).await.is_err());
        system.power.shut_down(PowerAction::PowerOff).await.unwrap();
    }
}
