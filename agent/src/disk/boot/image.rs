//! What a partition image has to offer for booting: it has no EFI system partition of its
//! own, but often the files for one, below `/boot/efi`. They are copied without running
//! anything that the image brought.

use std::io;

use crate::disk::boot::place::Place;
use crate::disk::filesystem::mount::{mount, mount_system, unmount};
use crate::failure::Failure;
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
const DEEPEST: usize = 32;
/// Files and directories, at most: an EFI system partition has some hundred.
const MOST_ENTRIES: usize = 100_000;
/// The largest text that is read into memory: `fstab`, GRUB's menu.
const LARGEST_TEXT: u64 = 16 << 20;
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
    esp: &Place,
    task: &Task,
) -> Result<bool, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::execution(format!(
            "Copying the EFI files of the image to {} failed: {error}",
            esp.node
        ))
    };
    let source = mount_system(system, OPTIONS, root, ROOT, SYSTEM)
        .await
        .map_err(|error| failed(&error))?;
    let has_assets = ForeignRoot::open(&source).is_ok_and(|tree| tree.has_directory(ASSETS));
    let copied = if has_assets {
        copy_to(system, esp).await
    } else {
        Ok(0)
    };
    let unmounted = unmount(system, ROOT).await;
    let files = copied.map_err(|error| failed(&error))?;
    unmounted.map_err(|error| failed(&error))?;
    if files > 0 {
        task.phase(format!(
            "{files} EFI files of the image copied to {}",
            esp.node
        ));
    }
    Ok(files > 0)
}

async fn copy_to(system: &System, esp: &Place) -> Result<usize, String> {
    let target = mount(system, &["-t", "vfat"], &esp.node, ESP)
        .await
        .map_err(|error| error.to_string())?;
    let (source, entry) = (system.root.path(ROOT), fstab_line(esp));
    let copied = tokio::task::spawn_blocking(move || {
        let source = ForeignRoot::open(&source)?;
        let files = copy(&source, ASSETS, &ForeignRoot::open(&target)?, "EFI")?;
        copy_grub(&source, &ForeignRoot::open(&target)?)?;
        if let Err(error) = enter_fstab(&source, &entry) {
            // The system boots without it.
            tracing::warn!(%error, "/etc/fstab was not changed");
        }
        io::Result::Ok(files)
    })
    .await;
    let unmounted = unmount(system, ESP).await;
    let files = copied
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    unmounted.map_err(|error| error.to_string())?;
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
        if depth > DEEPEST {
            return Err(io::Error::other(format!(
                "{from}: directories are nested more than {DEEPEST} times"
            )));
        }
        for (name, kind) in source.entries(&from)? {
            let (from, to) = (format!("{from}/{name}"), format!("{to}/{name}"));
            entries += 1;
            if entries > MOST_ENTRIES {
                return Err(io::Error::other(format!("more than {MOST_ENTRIES} files")));
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
pub async fn has_fallback_loader(system: &System, esp: &Place) -> Result<bool, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::execution(format!(
            "Looking for a boot loader on {}: {error}",
            esp.node
        ))
    };
    let mounted = mount(system, &["-t", "vfat", "-o", "ro"], &esp.node, ESP)
        .await
        .map_err(|error| failed(&error))?;
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
    let found = found
        .map_err(|error| failed(&error))?
        .map_err(|error| failed(&error))?;
    unmounted.map_err(|error| failed(&error))?;
    Ok(found)
}

/// Puts GRUB's configuration beside each vendor's loader that has none.
fn copy_grub(source: &ForeignRoot, esp: &ForeignRoot) -> io::Result<()> {
    for file in GRUB_FILES {
        let found = GRUB
            .iter()
            .find_map(|place| source.read(&format!("{place}/{file}"), LARGEST_TEXT).ok());
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
pub(super) fn fstab_line(esp: &Place) -> String {
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
    let text = match root.read(FSTAB, LARGEST_TEXT) {
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
    let place = |line: &str| -> Option<String> {
        let mut fields = line.split_whitespace();
        let device = fields.next()?;
        (!device.starts_with('#')).then(|| fields.next().map(str::to_owned))?
    };
    let wanted = place(entry);
    if fstab.lines().any(|line| place(line) == wanted) {
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
mod tests {
    use std::fs::{create_dir_all, read, read_to_string, write};
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::system::process::Script;
    use crate::system::{PathPrefix, RunError};

    /// Copies between two directories.
    fn copied(source: &std::path::Path, target: &std::path::Path) -> io::Result<usize> {
        let (source, target) = (ForeignRoot::open(source)?, ForeignRoot::open(target)?);
        copy(&source, "EFI", &target, "EFI")
    }

    /// Unified kernel images, and kernels with their initial ramdisks, have hundreds of MiB.
    #[test]
    fn files_of_any_size_are_copied() {
        let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let deep = (1..=DEEPEST - 1).map(|level| format!("d{level}"));
        let deep = deep.collect::<Vec<_>>().join("/");
        for (path, size) in [
            ("EFI/Linux/small.efi".to_owned(), 0),
            ("EFI/Linux/at-the-old-limit.efi".to_owned(), 64 << 20),
            ("EFI/Linux/beyond-it.efi".to_owned(), (64 << 20) + 1),
            ("EFI/Linux/unified.efi".to_owned(), 200 << 20),
            (format!("EFI/{deep}/kernel"), 3),
        ] {
            let path = source.path().join(path);
            create_dir_all(path.parent().unwrap()).unwrap();
            let file = std::fs::File::create(&path).unwrap();
            file.set_len(size).unwrap();
            std::os::unix::fs::FileExt::write_at(&file, b"MZ", size.saturating_sub(2)).unwrap();
        }
        assert_eq!(copied(source.path(), target.path()).unwrap(), 5);
        let large = target.path().join("EFI/Linux/unified.efi");
        let mut end = [0; 2];
        let file = std::fs::File::open(&large).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 200 << 20);
        std::os::unix::fs::FileExt::read_at(&file, &mut end, (200 << 20) - 2).unwrap();
        assert_eq!(&end, b"MZ");
        assert!(target.path().join(format!("EFI/{deep}/kernel")).exists());
    }

    /// What does not fit, or has no end, is an error and never left out.
    #[test]
    fn what_cannot_be_copied_whole_is_refused() {
        let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let levels = (0..=DEEPEST + 1).map(|level| format!("d{level}"));
        let too_deep = source
            .path()
            .join("EFI")
            .join(levels.collect::<Vec<_>>().join("/"));
        create_dir_all(&too_deep).unwrap();
        let error = copied(source.path(), target.path()).unwrap_err();
        assert!(error.to_string().contains("nested more than"), "{error}");

        let source = tempfile::tempdir().unwrap();
        create_dir_all(source.path().join("EFI")).unwrap();
        let file = std::fs::File::create(source.path().join("EFI/endless")).unwrap();
        // A hole costs the image nothing.
        file.set_len(1 << 43).unwrap();
        let error = copied(source.path(), target.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
        let left = std::fs::metadata(target.path().join("EFI/endless")).unwrap();
        assert_eq!(left.len(), 0);
    }

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for place in [ROOT, ESP] {
                create_dir_all(dir.path().join(&place[1..])).unwrap();
            }
            Self(dir)
        }

        fn path(&self, place: &str, path: &str) -> PathBuf {
            self.0.path().join(&place[1..]).join(path)
        }

        fn put(&self, path: &str, text: &str) {
            let path = self.path(ROOT, path);
            create_dir_all(path.parent().unwrap()).unwrap();
            write(path, text).unwrap();
        }

        fn shown(&self, place: &str) -> String {
            self.0.path().join(&place[1..]).display().to_string()
        }

        async fn copy(&self, script: Script) -> Result<bool, Failure> {
            let script = Arc::new(script);
            let system = System {
                run: script.clone(),
                root: PathPrefix::new(self.0.path()),
                ..System::linux()
            };
            let esp = Place {
                node: "/dev/sda1".into(),
                number: 1,
                uuid: "1234-ABCD".into(),
                is_partition_uuid: false,
            };
            let done = copy_assets(&system, "/dev/sda2", &esp, &Task::detached()).await;
            script.assert_done();
            done
        }

        fn mounts(&self) -> Script {
            let (root, esp) = (self.shown(ROOT), self.shown(ESP));
            Script::new()
                .expect(
                    &format!("mount -o nodev,nosuid,noexec /dev/sda2 {root}"),
                    "",
                )
                .expect(&format!("mount -t vfat /dev/sda1 {esp}"), "")
        }
    }

    #[tokio::test]
    async fn the_images_files_go_to_the_partition_and_its_fstab_knows() {
        let machine = Machine::new();
        machine.put("boot/efi/EFI/BOOT/BOOTX64.EFI", "MZ1");
        machine.put("boot/efi/EFI/vendor/shimx64.efi", "MZ2");
        machine.put("boot/efi/EFI/vendor/GRUB.CFG", "own");
        machine.put("boot/grub2/grub.cfg", "menu");
        machine.put("etc/fstab", "UUID=x / ext4 defaults 0 1");
        symlink("/etc/shadow", machine.path(ROOT, "boot/efi/EFI/BOOT/link")).unwrap();
        let (root, esp) = (machine.shown(ROOT), machine.shown(ESP));
        let script = machine
            .mounts()
            .expect(&format!("umount {esp}"), "")
            .expect(&format!("umount {root}"), "");
        assert_eq!(machine.copy(script).await, Ok(true));
        let on_esp = |path: &str| read_to_string(machine.path(ESP, path)).unwrap();
        assert_eq!(on_esp("EFI/BOOT/BOOTX64.EFI"), "MZ1");
        assert_eq!(on_esp("EFI/vendor/shimx64.efi"), "MZ2");
        assert_eq!(on_esp("EFI/BOOT/grub.cfg"), "menu");
        assert!(!machine.path(ESP, "EFI/vendor/grub.cfg").exists());
        assert!(!machine.path(ESP, "EFI/BOOT/link").exists());
        assert_eq!(
            read_to_string(machine.path(ROOT, "etc/fstab")).unwrap(),
            "UUID=x / ext4 defaults 0 1\n\
             UUID=1234-ABCD\t/boot/efi\tvfat\tumask=0077\t0\t1\n"
        );
    }

    #[tokio::test]
    async fn an_image_without_files_is_left_as_it_is() {
        let machine = Machine::new();
        machine.put("etc/fstab", "x");
        let root = machine.shown(ROOT);
        let script = Script::new()
            .expect(
                &format!("mount -o nodev,nosuid,noexec /dev/sda2 {root}"),
                "",
            )
            .expect(&format!("umount {root}"), "");
        assert_eq!(machine.copy(script).await, Ok(false));
        assert_eq!(read(machine.path(ROOT, "etc/fstab")).unwrap(), b"x");
    }

    #[tokio::test]
    async fn what_cannot_be_mounted_is_said_and_nothing_stays_mounted() {
        let machine = Machine::new();
        machine.put("boot/efi/EFI/BOOT/BOOTX64.EFI", "MZ");
        let (root, esp) = (machine.shown(ROOT), machine.shown(ESP));
        let refused = Err(RunError::Failed {
            program: "mount".into(),
            command: "mount".into(),
            status: 32,
            stderr: "wrong fs type".into(),
        });
        let script = Script::new()
            .expect(
                &format!("mount -o nodev,nosuid,noexec /dev/sda2 {root}"),
                "",
            )
            .expect_result(&format!("mount -t vfat /dev/sda1 {esp}"), refused)
            .expect(&format!("umount {root}"), "");
        let failure = machine.copy(script).await.unwrap_err();
        assert!(failure.details.contains("wrong fs type"), "{failure}");
    }

    #[test]
    fn a_line_is_added_once() {
        let entry = "UUID=1\t/boot/efi\tvfat\tumask=0077\t0\t1\n";
        for (fstab, changed) in [
            ("", Some(entry.to_owned())),
            ("a / b\n", Some(format!("a / b\n{entry}"))),
            ("a / b", Some(format!("a / b\n{entry}"))),
            (
                "# UUID=2 /boot/efi vfat\n",
                Some(format!("# UUID=2 /boot/efi vfat\n{entry}")),
            ),
            ("UUID=2 /boot/efi vfat defaults 0 2\n", None),
            (entry, None),
        ] {
            assert_eq!(with_line(fstab, entry), changed, "{fstab:?}");
        }
    }
}
