//! Virtual media: what Ironic hands to a machine that it boots from an image which the BMC
//! plays as a drive. There may be further parameters of the agent, and files of its
//! configuration, for example the certificate by which Ironic's API is believed.
//!
//! Only a medium that a BMC could play is read: a CD, or a small disk on USB. A label on a
//! disk of the machine, which the last tenant may have written, means nothing.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use ironic_ondisk::read::Area;
use ironic_ondisk::signature::{self, FoundFormat};
use ironic_options::virtual_media::{DIRECTORY, PARAMETERS};
use ironic_program::state_file;
use ironic_text::error_chain;
use thiserror::Error;

use crate::disk::filesystem::mount::{MountError, mount, unmount};
use crate::machine::block::MAX_VIRTUAL_MEDIUM_BYTES;
use crate::machine::block::device_file::DeviceFile;
use crate::system::System;

const PARAMETERS_LABEL: &str = "ir-vfd-dev";
const FILES_LABELS: [&str; 2] = ["config-2", "vmedia_boot_iso"];
const MODEL: &str = "virtual media";
/// Directories whose files are copied to the same places here.
const DIRECTORIES: [&str; 2] = ["etc/ironic-python-agent", "etc/ironic-python-agent.d"];
/// The label is within this; a CD may not be readable to its end.
const HEAD: u64 = 64 << 20;
const CD_HEAD: u64 = 1 << 20;
/// The kind of SCSI device that CDs are.
const CD: &str = "5";

/// What a medium could not give.
#[derive(Debug, Error)]
pub enum VirtualMediaError {
    /// It cannot be mounted.
    #[error("virtual media {device}")]
    Mount {
        /// The drive.
        device: String,
        /// What `mount` said.
        source: MountError,
    },
    /// A file of it cannot be taken over.
    #[error("{path} of virtual media cannot be copied")]
    Copy {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of it is larger than any that is meant.
    #[error("{path} of virtual media has more than {limit} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How large it may be.
        limit: u64,
    },
}

/// A drive that a BMC may play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaDrive {
    /// Its device, `/dev/sr0`.
    pub device: String,
    kind: &'static str,
    /// The label of its file system; empty without one.
    pub label: String,
    /// The publisher of its ISO 9660; empty without one. Ironic writes an identity here, and the
    /// same into the kernel command line.
    pub publisher: String,
    model: String,
}

/// Takes parameters and files over from the media that are there; without any, nothing.
/// `program` keeps programs apart that do so at the same time.
///
/// # Errors
/// A medium is there and cannot be read.
pub async fn take(system: &System, program: &str) -> Result<(), VirtualMediaError> {
    let media = probe(system);
    let labelled = |label: &str| {
        let mut all = media.iter();
        all.find(|medium| medium.label.eq_ignore_ascii_case(label))
    };
    let named = || media.iter().find(|medium| medium.model.contains(MODEL));
    if let Some(medium) = labelled(PARAMETERS_LABEL).or_else(named) {
        visit(system, medium, program, |mounted| {
            let from = mounted.join(PARAMETERS);
            let directory = system.root.path(DIRECTORY);
            // The token may be among them.
            let made = DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&directory);
            match made.and_then(|()| copy(&from, &directory.join(PARAMETERS))) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other.map_err(|source| VirtualMediaError::Copy { path: from, source }),
            }
        })
        .await?;
    }
    if let Some(medium) = FILES_LABELS.iter().find_map(|label| labelled(label)) {
        visit(system, medium, program, |mounted| {
            DIRECTORIES
                .iter()
                .try_for_each(|directory| copy_files(system, mounted, directory))
        })
        .await?;
    }
    Ok(())
}

/// The text of a file of a medium, `path` below its root; `None` when it has no such file. Bytes
/// that are not UTF-8 become replacement characters.
///
/// # Errors
/// The medium or the file cannot be read, or the file has more than `limit` bytes.
pub async fn read_text(
    system: &System,
    medium: &MediaDrive,
    program: &str,
    (path, limit): (&str, u64),
) -> Result<Option<String>, VirtualMediaError> {
    let mut found = None;
    visit(system, medium, program, |mounted| {
        let path = mounted.join(path);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() && metadata.len() > limit => {
                Err(VirtualMediaError::TooLarge { path, limit })
            }
            Ok(metadata) if metadata.is_file() => match fs::read(&path) {
                Ok(content) => {
                    found = Some(String::from_utf8_lossy(&content).into_owned());
                    Ok(())
                }
                Err(source) => Err(VirtualMediaError::Copy { path, source }),
            },
            _ => Ok(()),
        }
    })
    .await?;
    Ok(found)
}

async fn visit(
    system: &System,
    medium: &MediaDrive,
    program: &str,
    work: impl FnOnce(&Path) -> Result<(), VirtualMediaError>,
) -> Result<(), VirtualMediaError> {
    let device = &medium.device;
    let mount_point = format!("{DIRECTORY}/{program}");
    let options = ["-t", medium.kind, "-o", "ro,nodev,nosuid,noexec"];
    // The kernel refuses to mount a drive read-only that other software left mounted for
    // writing; what that software mounted is shown here, too.
    let elsewhere = Mounted::read(system)
        .into_iter()
        .find(|mounted| mounted.source == *device);
    let shown = match elsewhere {
        Some(Mounted {
            mount_point: other, ..
        }) => mount(system, &["-o", "bind"], &other, &mount_point)
            .await
            .ok(),
        None => None,
    };
    let mounted = match shown {
        Some(mounted) => Ok(mounted),
        None => mount(system, &options, device, &mount_point).await,
    };
    let mounted = mounted.map_err(|source| VirtualMediaError::Mount {
        device: device.clone(),
        source,
    })?;
    let done = work(&mounted);
    if let Err(error) = unmount(system, &mount_point).await {
        let error = error_chain(&error);
        tracing::warn!(%device, %error, "virtual media stay mounted");
    }
    done
}

/// Where cloud-init, glean and the like mount a configuration drive.
const CONFIG_DRIVE: &str = "/mnt/config";
/// How many mounts on top of each other are undone.
const LAYERS: usize = 16;

/// Unmounts the configuration drive that other software of the ramdisk left mounted: a disk
/// with a mounted file system can be neither erased nor written.
pub async fn release_config_drive(system: &System) {
    for _ in 0..LAYERS {
        let mounted = Mounted::read(system);
        let Some(Mounted { source, .. }) = mounted
            .iter()
            .find(|found| found.mount_point == CONFIG_DRIVE)
        else {
            return;
        };
        tracing::info!(device = %source, place = CONFIG_DRIVE, "unmounting the configuration drive");
        if let Err(error) = unmount(system, CONFIG_DRIVE).await {
            let error = error_chain(&error);
            tracing::warn!(device = %source, %error, "the configuration drive stays mounted");
            return;
        }
    }
}

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mounted {
    /// The device.
    source: String,
    /// The directory.
    mount_point: String,
}

impl Mounted {
    /// All that are mounted, the latest first.
    fn read(system: &System) -> Vec<Self> {
        let text = system
            .root
            .read_optional("/proc/self/mounts")
            .unwrap_or_default();
        // Blanks within names are written as octal numbers.
        let plain = |text: &str| text.replace("\\040", " ").replace("\\011", "\t");
        let mut all: Vec<_> = text
            .lines()
            .filter_map(|line| {
                let mut fields = line.split_whitespace();
                let (source, mount_point) = (plain(fields.next()?), plain(fields.next()?));
                Some(Self {
                    source,
                    mount_point,
                })
            })
            .collect();
        all.reverse();
        all
    }
}

fn copy_files(system: &System, mounted: &Path, directory: &str) -> Result<(), VirtualMediaError> {
    let from = mounted.join(directory);
    let to = system.root.path(directory);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| VirtualMediaError::Copy { path, source }
    };
    let entries = match fs::read_dir(&from) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(&from)(error)),
    };
    fs::create_dir_all(&to).map_err(failed(&to))?;
    for entry in entries {
        let entry = entry.map_err(failed(&from))?;
        let path = entry.path();
        // No directories below, and no links out of the medium.
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            copy(&path, &to.join(entry.file_name())).map_err(failed(&path))?;
        }
    }
    Ok(())
}

/// Copies a file at once: another program may be reading it, or copying the same.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    state_file::replace(to, &fs::read(from)?)
}

/// The publisher in the primary volume descriptor of an ISO 9660, without the blanks behind it.
fn publisher(medium: DeviceFile) -> String {
    const PUBLISHER: (u64, usize) = (32768 + 318, 128);
    let mut head = Area::new(medium, 0, CD_HEAD);
    let found = ironic_ondisk::read::bytes(&mut head, PUBLISHER.0, PUBLISHER.1);
    let bytes = found.ok().flatten().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.trim_matches(['\0', ' ']).to_owned()
}

/// The drives that a BMC may play, by name.
#[must_use]
pub fn probe(system: &System) -> Vec<MediaDrive> {
    let root = &system.root;
    let read = |name: &str| {
        let directory = format!("/sys/block/{name}");
        let attribute = |name: &str| root.read_optional(format!("{directory}/{name}"));
        let size = attribute("size")?.parse::<u64>().ok()?.checked_mul(512)?;
        let is_cd = attribute("device/type").as_deref().map(str::trim) == Some(CD);
        let on_usb = fs::canonicalize(root.path(&directory)).is_ok_and(|path| {
            let mut parts = path.components();
            parts.any(|part| part.as_os_str().to_string_lossy().starts_with("usb"))
        });
        if size == 0 || !(is_cd || on_usb && size < MAX_VIRTUAL_MEDIUM_BYTES) {
            return None;
        }
        let device = format!("/dev/{name}");
        let medium = DeviceFile::open(&root.path(&device)).ok()?;
        let head = Area::new(medium, 0, if is_cd { CD_HEAD } else { HEAD });
        let found = signature::find(head, 512).ok()?;
        let is_iso = |found: &&FoundFormat| found.signature.name == "iso9660";
        // A CD may have both formats of CDs; that of the kernel is this one.
        let found = found.iter().find(is_iso).or_else(|| found.first());
        let publisher = match found.filter(is_iso) {
            Some(_) => publisher(DeviceFile::open(&root.path(&device)).ok()?),
            None => String::new(),
        };
        Some(MediaDrive {
            device,
            publisher,
            kind: found
                .and_then(|found| found.signature.driver)
                .unwrap_or("vfat"),
            label: found
                .and_then(|found| found.identity.label.clone())
                .unwrap_or_default(),
            model: attribute("device/model")
                .unwrap_or_default()
                .to_ascii_lowercase(),
        })
    };
    root.names("/sys/block")
        .iter()
        .filter_map(|name| read(name))
        .collect()
}

#[cfg(test)]
mod tests;
