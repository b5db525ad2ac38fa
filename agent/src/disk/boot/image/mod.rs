//! What a partition image has to offer for booting: it has no EFI system partition of its
//! own, but often the files for one, below `/boot/efi`. They are copied without running
//! anything that the image brought.

use std::io;

use crate::disk::boot::error::{BootCause, BootError};
use crate::disk::boot::layout::LocatedPartition;
use crate::disk::filesystem::mount::{mount, mount_system, unmount};
use crate::system::System;
use crate::system::foreign_root::{EntryKind, ForeignRoot};
use crate::task::Task;

/// Where the image's root file system is mounted.
pub(super) const ROOT: &str = "/run/ironic-agent/root";
/// A directory that every root file system has.
pub(super) const SYSTEM: &str = "etc";
/// Where the EFI system partition is mounted.
pub(super) const ESP: &str = "/run/ironic-agent/esp-copy";
/// Where an image keeps the files.
const ASSETS: &str = "boot/efi/EFI";
/// GRUB's configuration, which loaders look for beside themselves.
const GRUB_FILES: [&str; 2] = ["grub.cfg", "grubenv"];
/// Where it is in the image.
const GRUB: [&str; 2] = ["boot/grub2", "boot/grub"];
/// Directories within directories, at most: a damaged FAT may have a directory within itself.
const MAX_DEPTH: usize = 32;
/// Files and directories, at most: an EFI system partition has some hundred.
const MAX_ENTRIES: usize = 100_000;
/// The largest text that is read into memory: `fstab`, GRUB's menu.
const MAX_TEXT_BYTES: u64 = 16 << 20;
/// Nothing of the tenant's file system is to be run or talked to as a device.
const OPTIONS: &str = "nodev,nosuid,noexec";

/// Copies the image's EFI files to the EFI system partition and enters that into the image's
/// `fstab`. `false`: the image has none, and nothing was changed.
///
/// # Errors
/// A file system cannot be mounted, or the files do not fit.
pub async fn copy_assets(
    system: &System,
    root: &str,
    esp: &LocatedPartition,
    task: &Task,
) -> Result<bool, BootError> {
    let copied = try_copy_assets(system, root, esp).await;
    let files = copied.map_err(|source| BootError::EfiFiles {
        partition: esp.node.clone(),
        source,
    })?;
    if files > 0 {
        task.phase_ended(format!(
            "{files} EFI files of the image copied to {}",
            esp.node
        ));
    }
    Ok(files > 0)
}

async fn try_copy_assets(
    system: &System,
    root: &str,
    esp: &LocatedPartition,
) -> Result<usize, BootCause> {
    let source = mount_system(system, OPTIONS, root, ROOT, SYSTEM).await?;
    let has_assets = ForeignRoot::open(&source).is_ok_and(|tree| tree.has_directory(ASSETS));
    let copied = if has_assets {
        copy_to(system, esp).await
    } else {
        Ok(0)
    };
    let unmounted = unmount(system, ROOT).await;
    let files = copied?;
    unmounted?;
    Ok(files)
}

async fn copy_to(system: &System, esp: &LocatedPartition) -> Result<usize, BootCause> {
    let target = mount(system, &["-t", "vfat"], &esp.node, ESP).await?;
    let (source, entry) = (system.root.path(ROOT), fstab_line(esp));
    let copied = tokio::task::spawn_blocking(move || {
        let source = ForeignRoot::open(&source)?;
        let files = copy(&source, ASSETS, &ForeignRoot::open(&target)?, "EFI")?;
        // Directories alone are nothing to boot from, and the caller tries something else.
        if files == 0 {
            return io::Result::Ok(files);
        }
        copy_grub(&source, &ForeignRoot::open(&target)?)?;
        if let Err(error) = enter_fstab(&source, &entry) {
            // The system boots without it.
            tracing::warn!(%error, "/etc/fstab was not changed");
        }
        Ok(files)
    })
    .await;
    let unmounted = unmount(system, ESP).await;
    let files = copied??;
    unmounted?;
    Ok(files)
}

/// Copies a directory with all that is in it. Files may have any size that the target has room
/// for: kernels and initial ramdisks lie on EFI system partitions, too. Answers how many files
/// it has.
///
/// # Errors
/// Those of the file systems; what cannot be copied whole is not passed over.
pub(super) fn copy(
    source: &ForeignRoot,
    from: &str,
    target: &ForeignRoot,
    to: &str,
) -> io::Result<usize> {
    let (mut files, mut entries) = (0, 0);
    let mut directories = vec![(from.to_owned(), to.to_owned(), 0)];
    while let Some((from, to, depth)) = directories.pop() {
        if depth > MAX_DEPTH {
            return Err(io::Error::other(format!(
                "{from}: directories are nested more than {MAX_DEPTH} times"
            )));
        }
        for (name, kind) in source.entries(&from)? {
            let (from, to) = (format!("{from}/{name}"), format!("{to}/{name}"));
            entries += 1;
            if entries > MAX_ENTRIES {
                return Err(io::Error::other(format!("more than {MAX_ENTRIES} files")));
            }
            match kind {
                EntryKind::Directory => directories.push((from, to, depth + 1)),
                EntryKind::File => {
                    target.make_parent(&to, None)?;
                    target.copy_from(source, &from, &to)?;
                    files += 1;
                }
                EntryKind::Other => {}
            }
        }
    }
    Ok(files)
}

/// Whether an EFI system partition has a loader where firmware looks without an entry:
/// `\EFI\BOOT\BOOTX64.EFI` and its like. FAT does not know capitals from small letters.
///
/// # Errors
/// It cannot be mounted.
pub async fn has_fallback_loader(
    system: &System,
    esp: &LocatedPartition,
) -> Result<bool, BootError> {
    let found = try_find_fallback_loader(system, esp).await;
    found.map_err(|source| BootError::FallbackLoader {
        partition: esp.node.clone(),
        source,
    })
}

async fn try_find_fallback_loader(
    system: &System,
    esp: &LocatedPartition,
) -> Result<bool, BootCause> {
    let mounted = mount(system, &["-t", "vfat", "-o", "ro"], &esp.node, ESP).await?;
    let found = tokio::task::spawn_blocking(move || {
        let tree = ForeignRoot::open(&mounted)?;
        let mut directories = vec![String::new()];
        for wanted in ["efi", "boot"] {
            let mut next = Vec::new();
            for directory in directories {
                for (name, kind) in tree.entries(&directory)? {
                    if kind == EntryKind::Directory && name.eq_ignore_ascii_case(wanted) {
                        next.push(format!("{directory}/{name}"));
                    }
                }
            }
            directories = next;
        }
        for directory in directories {
            for (name, kind) in tree.entries(&directory)? {
                let name = name.to_ascii_lowercase();
                if kind == EntryKind::File && name.starts_with("boot") && name.ends_with(".efi") {
                    return Ok(true);
                }
            }
        }
        io::Result::Ok(false)
    })
    .await;
    let unmounted = unmount(system, ESP).await;
    let found = found??;
    unmounted?;
    Ok(found)
}

/// Puts GRUB's configuration beside each vendor's loader that has none.
fn copy_grub(source: &ForeignRoot, esp: &ForeignRoot) -> io::Result<()> {
    for file in GRUB_FILES {
        let found = GRUB.iter().find_map(|directory| {
            source
                .read(&format!("{directory}/{file}"), MAX_TEXT_BYTES)
                .ok()
        });
        let Some(content) = found else {
            continue;
        };
        for (vendor, kind) in esp.entries("EFI")? {
            let names: Vec<String> = match kind {
                EntryKind::Directory => esp
                    .entries(&format!("EFI/{vendor}"))?
                    .into_iter()
                    .map(|(name, _)| name.to_ascii_lowercase())
                    .collect(),
                _ => continue,
            };
            if !names.iter().any(|name| name == file) {
                esp.write(&format!("EFI/{vendor}/{file}"), &content)?;
            }
        }
    }
    Ok(())
}

/// Where the deployed system finds its EFI system partition.
pub(super) fn fstab_line(esp: &LocatedPartition) -> String {
    let name = if esp.is_partition_uuid {
        "PARTUUID"
    } else {
        "UUID"
    };
    format!("{name}={}\t/boot/efi\tvfat\tumask=0077\t0\t1\n", esp.uuid)
}

/// Adds a line to the image's `fstab`, unless there is no such file or it mounts something at
/// that place already.
pub(super) fn enter_fstab(root: &ForeignRoot, entry: &str) -> io::Result<()> {
    const FSTAB: &str = "etc/fstab";
    let text = match root.read(FSTAB, MAX_TEXT_BYTES) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let text = String::from_utf8(text).map_err(io::Error::other)?;
    match with_line(&text, entry) {
        Some(text) => root.write(FSTAB, text.as_bytes()),
        None => Ok(()),
    }
}

fn with_line(fstab: &str, entry: &str) -> Option<String> {
    let mount_point = |line: &str| -> Option<String> {
        let mut fields = line.split_whitespace();
        let device = fields.next()?;
        (!device.starts_with('#')).then(|| fields.next().map(str::to_owned))?
    };
    let wanted = mount_point(entry);
    if fstab.lines().any(|line| mount_point(line) == wanted) {
        return None;
    }
    let separator = if fstab.is_empty() || fstab.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    Some(format!("{fstab}{separator}{entry}"))
}

#[cfg(test)]
mod tests;
