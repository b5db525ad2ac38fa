use std::fs::{create_dir_all, read, read_to_string, write};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::failure::Failure;
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
    let deep = (1..=MAX_DEPTH - 1).map(|level| format!("d{level}"));
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
    let levels = (0..=MAX_DEPTH + 1).map(|level| format!("d{level}"));
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
        let esp = LocatedPartition {
            node: "/dev/sda1".into(),
            number: 1,
            uuid: "1234-ABCD".into(),
            is_partition_uuid: false,
        };
        let done = copy_assets(&system, "/dev/sda2", &esp, &Task::detached()).await;
        script.assert_done();
        done.map_err(Failure::from)
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
async fn an_image_with_empty_directories_is_left_as_it_is() {
    for has_grub in [false, true] {
        let machine = Machine::new();
        create_dir_all(machine.path(ROOT, "boot/efi/EFI/vendor")).unwrap();
        machine.put("etc/fstab", "x");
        if has_grub {
            machine.put("boot/grub2/grub.cfg", "menu");
        }
        let (root, esp) = (machine.shown(ROOT), machine.shown(ESP));
        let script = machine
            .mounts()
            .expect(&format!("umount {esp}"), "")
            .expect(&format!("umount {root}"), "");
        assert_eq!(machine.copy(script).await, Ok(false));
        assert_eq!(read(machine.path(ROOT, "etc/fstab")).unwrap(), b"x");
        assert!(!machine.path(ESP, "EFI").exists());
    }
}

#[tokio::test]
async fn a_failed_mount_is_reported_and_nothing_stays_mounted() {
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
