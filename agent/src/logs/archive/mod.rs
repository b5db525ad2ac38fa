//! The archive of logs: a gzip of a tar with what explains a failure afterwards.
//!
//! Ironic waits a minute for it, and it is made in the memory of a ramdisk: programs have
//! seconds, files a share, and every member is compressed and dropped before the next is read.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use ironic_document::JsonObject;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::task::JoinError;
use tokio::time::Instant;

use super::secrets::without_secrets;
use crate::machine::block::udev::Properties;
use crate::machine::block::{self, BlockDevice, DeviceKind};
use crate::system::{Cmd, PathPrefix, RunError, System};

/// How long all programs together may take. Ironic gives up after 60 s.
const ALL_PROGRAMS: Duration = Duration::from_secs(30);
/// How long one program may take.
const ONE_PROGRAM: Duration = Duration::from_secs(10);
/// The journal's lines when the caller sets no limit: about 15 MiB.
const JOURNAL_LINES: u32 = 100_000;
/// Bytes taken from the end of a file.
const ONE_FILE: u64 = 8 << 20;
/// Bytes taken of all files.
const ALL_FILES: u64 = 64 << 20;

/// Programs by the names of their members. What fails is left out.
const PROGRAMS: [(&str, &[&str]); 11] = [
    ("df", &["df", "-a"]),
    ("dmesg", &["dmesg"]),
    ("efibootmgr", &["efibootmgr", "-v"]),
    ("iptables", &["iptables", "-L"]),
    ("ip_addr", &["ip", "addr"]),
    ("lsblk", &["lsblk", "--all", LSBLK_COLUMNS]),
    (
        "lsblk-full",
        &["lsblk", "--all", "--bytes", "--output-all", "--pairs"],
    ),
    ("multipath", &["multipath", "-ll"]),
    ("parted", &["parted", "-l"]),
    ("ps", &["ps", "au"]),
    // The slowest comes last.
    ("lshw", &["lshw", "-quiet", "-json"]),
];
const LSBLK_COLUMNS: &str =
    "-oKNAME,MODEL,SIZE,ROTA,TYPE,UUID,PARTUUID,SERIAL,WWN,LOG-SEC,PHY-SEC,TRAN";

/// Files of the kernel by the names of their members.
const KERNEL_FILES: [(&str, &str); 5] = [
    ("mdstat", "/proc/mdstat"),
    ("mount", "/proc/self/mounts"),
    ("meminfo", "/proc/meminfo"),
    ("modules", "/proc/modules"),
    ("partitions", "/proc/partitions"),
];

/// Gathers what explains a failure afterwards: the journal or `/var/log`, kernel messages,
/// mounts, addresses, boot entries, RAID and the disks. What cannot be read is left out.
/// `journal_lines` limits the journal to its last lines.
///
/// Secrets that may be on the kernel's command line, and so among its messages, stay out.
///
/// # Errors
/// The archive cannot be made.
pub async fn collect(system: &System, journal_lines: Option<u32>) -> Result<Vec<u8>, ArchiveError> {
    let deadline = Instant::now() + ALL_PROGRAMS;
    let lines = journal_lines.unwrap_or(JOURNAL_LINES).to_string();
    let journalctl = Cmd::new("journalctl").args(["--full", "--no-pager", "-b", "-n", &lines]);
    let mut archive = Archive::new();
    let journal = output(system, journalctl, deadline).await;
    // The program without its service answers this line, and successfully.
    let has_journal = journal
        .as_ref()
        .is_some_and(|text| !text.starts_with(b"-- No entries"));
    if let Some(bytes) = journal {
        archive = archive
            .with(move |archive| archive.add("journal", &bytes))
            .await?;
    }
    for (name, argv) in PROGRAMS {
        let Some((program, args)) = argv.split_first() else {
            continue;
        };
        let cmd = Cmd::new(*program).args(args.iter().copied());
        if let Some(bytes) = output(system, cmd, deadline).await {
            archive = archive
                .with(move |archive| archive.add(name, &bytes))
                .await?;
        }
    }
    let system = system.clone();
    archive
        .with(move |archive| {
            if !has_journal {
                archive.add_folder(&system.root, "/var/log")?;
            }
            archive.add_machine(&system)
        })
        .await?
        .finish()
        .map_err(ArchiveError::Io)
}

/// The archive could not be made.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// It could not be packed.
    #[error("The logs cannot be packed: {0}")]
    Io(#[source] io::Error),
    /// The packing thread ended early.
    #[error("The logs cannot be packed: {0}")]
    Thread(#[source] JoinError),
}

async fn output(system: &System, cmd: Cmd, deadline: Instant) -> Option<Vec<u8>> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        tracing::warn!(command = %cmd, "left out of the logs: there is no time left");
        return None;
    }
    match system.run.run(cmd.timeout(ONE_PROGRAM.min(left))).await {
        Ok(output) => Some(output.stdout),
        Err(RunError::Missing { .. }) => None,
        Err(error) => {
            tracing::info!(%error, "left out of the logs");
            None
        }
    }
}

/// A device with everything that is known of it.
fn describe(device: &BlockDevice) -> Value {
    let mut document = device.to_json();
    let kind = match device.kind {
        DeviceKind::Disk => "disk",
        DeviceKind::Partition => "part",
        DeviceKind::Raid => "raid",
        DeviceKind::File => "file",
    };
    document["kind"] = kind.into();
    document["parent"] = json!(device.parent);
    document["members"] = json!(device.members);
    document["read_only"] = device.read_only.into();
    document["other_serials"] = json!(device.other_serials);
    document["other_wwns"] = json!(device.other_wwns);
    document["other_paths"] = json!(device.other_paths);
    document
}

/// A tar being compressed into memory.
struct Archive {
    tar: tar::Builder<GzEncoder<Vec<u8>>>,
    now: u64,
    /// Bytes that may still be taken of files.
    budget: u64,
}

impl Archive {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            tar: tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast())),
            now: now.map_or(0, |since| since.as_secs()),
            budget: ALL_FILES,
        }
    }

    /// Packs on a thread that may block.
    async fn with(
        mut self,
        pack: impl FnOnce(&mut Self) -> io::Result<()> + Send + 'static,
    ) -> Result<Self, ArchiveError> {
        let packed = tokio::task::spawn_blocking(move || pack(&mut self).map(|()| self)).await;
        packed
            .map_err(ArchiveError::Thread)?
            .map_err(ArchiveError::Io)
    }

    /// What the kernel and udev tell without programs.
    fn add_machine(&mut self, system: &System) -> io::Result<()> {
        for (name, path) in KERNEL_FILES {
            // Files of the kernel have no size and may hold any bytes.
            if let Ok(bytes) = std::fs::read(system.root.path(path)) {
                self.add(name, &bytes)?;
            }
        }
        let devices = block::probe_with_partitions(system);
        let listing: Vec<Value> = devices.iter().map(describe).collect();
        self.add("disks", &serde_json::to_vec_pretty(&listing)?)?;
        for name in system.root.names("/sys/class/block") {
            let number = system
                .root
                .read_optional(format!("/sys/class/block/{name}/dev"));
            let properties = number.map(|number| Properties::of_block(&system.root, &number));
            let document: JsonObject = properties
                .iter()
                .flat_map(Properties::sorted)
                .map(|(key, value)| (key.to_owned(), value.into()))
                .collect();
            if !document.is_empty() {
                self.add(
                    &format!("udev/{name}"),
                    &serde_json::to_vec_pretty(&document)?,
                )?;
            }
        }
        Ok(())
    }

    fn add(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let bytes = &*without_secrets(bytes);
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(self.now);
        self.tar.append_data(&mut header, name, bytes)
    }

    /// Adds the ends of the regular files below a folder, under their own paths. Links could
    /// lead anywhere and are left out.
    fn add_folder(&mut self, root: &PathPrefix, folder: &str) -> io::Result<()> {
        let mut folders = vec![PathBuf::from(folder)];
        while let Some(folder) = folders.pop() {
            for name in root.names(&folder) {
                let path = folder.join(name);
                let Ok(metadata) = std::fs::symlink_metadata(root.path(&path)) else {
                    continue;
                };
                if metadata.is_dir() {
                    folders.push(path);
                } else if metadata.is_file() {
                    self.add_file(root, &path)?;
                }
            }
        }
        Ok(())
    }

    fn add_file(&mut self, root: &PathPrefix, path: &Path) -> io::Result<()> {
        let share = ONE_FILE.min(self.budget);
        let bytes = match end_of_file(&root.path(path), share) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::info!(path = %path.display(), %error, "left out of the logs");
                return Ok(());
            }
        };
        self.budget -= bytes.len() as u64;
        let name = path.to_string_lossy();
        self.add(name.trim_start_matches('/'), &bytes)
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        self.tar.into_inner()?.finish()
    }
}

/// At most `limit` bytes, from the end.
fn end_of_file(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(limit)))?;
    let mut bytes = Vec::new();
    // It may grow while it is read.
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
