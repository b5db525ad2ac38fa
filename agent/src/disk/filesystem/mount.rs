//! File systems of the deployed system, mounted for a moment.
//!
//! Which are mounted, and by which driver, is said by [`ironic_ondisk::signature`];
//! `ramdisk/modules.list` has the same drivers, which a test compares.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ironic_ondisk::signature;
use thiserror::Error;

use crate::machine::block::device_file::DeviceFile;
use crate::system::foreign_root::ForeignRoot;
use crate::system::{Cmd, RunError, System};

/// How often a file system that is busy is asked to go.
const ATTEMPTS: usize = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// File systems whose driver is a module of another name.
const MODULES: [(&str, &str); 1] = [("iso9660", "isofs")];

/// Where installers put a root file system that is a subvolume of btrfs, when it is not the
/// default one: Ubuntu and Arch Linux, Debian, Fedora.
const SUBVOLUMES: [&str; 3] = ["@", "@rootfs", "root"];
/// What the kernel has drivers for, as far as they are loaded.
const LOADED: &str = "/proc/filesystems";

/// Why a file system is not mounted or unmounted.
#[derive(Debug, Error)]
pub enum MountError {
    /// The directory for it cannot be made.
    #[error("{command}")]
    MountPoint {
        /// The command line that was to be run.
        command: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel does not know the file system.
    #[error("{command}")]
    NoDriver {
        /// The command line.
        command: String,
        /// What is missing.
        source: MissingDriver,
    },
    /// `mount` or `umount` failed.
    #[error(transparent)]
    Program(#[from] RunError),
}

/// The kernel of this ramdisk has no driver for a file system.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{device} holds a file system {kind}, and the kernel of this ramdisk has no driver for it: add \
     the module {module} to the ramdisk"
)]
pub struct MissingDriver {
    /// The device.
    pub device: String,
    /// The file system, as the kernel calls it.
    pub kind: &'static str,
    /// The module that is missing.
    pub module: &'static str,
}

/// Mounts `source` at `place`, an absolute path that is made if need be. Answers where that
/// is on this machine.
///
/// Without `-t` among the options the type is looked for: the kernel loads a driver only for
/// a type that it is given.
///
/// # Errors
/// What the system or `mount` said.
pub async fn mount(
    system: &System,
    options: &[&str],
    source: &str,
    place: &str,
) -> Result<PathBuf, MountError> {
    let path = system.root.path(place);
    let shown = path.display().to_string();
    let is_plain = !options.iter().any(|option| ["-t", "bind"].contains(option));
    let kind = if is_plain {
        kind_of(system, source).await
    } else {
        None
    };
    let cmd = Cmd::new("mount")
        .args(kind.into_iter().flat_map(|kind| ["-t", kind]))
        .args(options.iter().copied())
        .args([source, &shown]);
    let command = cmd.to_string();
    let made = system.root.writable(place).and_then(fs::create_dir_all);
    if let Err(source) = made {
        return Err(MountError::MountPoint { command, source });
    }
    match (system.run.run(cmd).await, kind) {
        (Ok(_), _) => Ok(path),
        // The kernel says "No such device" of the driver, which reads as if the disk were gone.
        (Err(RunError::Failed { .. }), Some(kind)) if lacks_driver(system, kind) => {
            Err(MountError::NoDriver {
                command,
                source: MissingDriver {
                    device: source.to_owned(),
                    kind,
                    module: module_of(kind),
                },
            })
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// Mounts the file system of a deployed system that has the directory `wanted`. On btrfs that
/// may be a subvolume: the default one, else one of those that installers make.
///
/// # Errors
/// What the system or `mount` said.
pub async fn mount_system(
    system: &System,
    options: &str,
    source: &str,
    place: &str,
    wanted: &str,
) -> Result<PathBuf, MountError> {
    let path = mount(system, &["-o", options], source, place).await?;
    if kind_of(system, source).await != Some("btrfs") {
        return Ok(path);
    }
    let subvolume = ForeignRoot::open(&path).ok().and_then(|tree| {
        let has = |above: &str| tree.has_directory(&format!("{above}/{wanted}"));
        let mut known = SUBVOLUMES.into_iter().filter(|name| has(name));
        known.next().filter(|_| !has(""))
    });
    let Some(subvolume) = subvolume else {
        return Ok(path);
    };
    unmount(system, place).await?;
    let options = format!("{options},subvol={subvolume}");
    mount(system, &["-o", &options], source, place).await
}

/// Whether the kernel does not know a file system, after it was asked to mount one.
fn lacks_driver(system: &System, kind: &str) -> bool {
    let loaded = system.root.read_optional(LOADED);
    loaded.is_some_and(|text| {
        let mut names = text.lines().filter_map(|line| line.split('\t').nth(1));
        !names.any(|name| name == kind)
    })
}

/// Unmounts what is at `place`. It may stay busy for a moment.
///
/// # Errors
/// The last of three refusals.
pub async fn unmount(system: &System, place: &str) -> Result<(), MountError> {
    let shown = system.root.path(place).display().to_string();
    let mut attempt = 1;
    loop {
        match system.run.run(Cmd::new("umount").arg(&shown)).await {
            Ok(_) => return Ok(()),
            Err(error) if attempt == ATTEMPTS => return Err(error.into()),
            Err(_) => attempt += 1,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn kind_of(system: &System, source: &str) -> Option<&'static str> {
    let device = system.root.path(source);
    // Blocks for a moment at most.
    let found = tokio::task::spawn_blocking(move || kind_in(&device)).await;
    found.ok().flatten()
}

fn kind_in(device: &Path) -> Option<&'static str> {
    signature::driver(DeviceFile::open(device).ok()?)
        .ok()
        .flatten()
}

/// The kernel module with the driver of a file system.
fn module_of(kind: &'static str) -> &'static str {
    let other = MODULES.iter().find(|(name, _)| *name == kind);
    other.map_or(kind, |(_, module)| module)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ironic_text::error_chain;

    use super::*;
    use crate::machine::block::guarded_filesystem::tests::fat;
    use crate::machine::testing::FakeMachine;
    use crate::system::process::Script;

    /// The beginning of a file system of each kind, and its driver.
    fn file_systems() -> Vec<(&'static str, Vec<u8>)> {
        let with = |parts: &[(usize, &[u8])]| {
            let mut bytes = vec![0; 1 << 20];
            for (at, part) in parts {
                bytes[*at..at + part.len()].copy_from_slice(part);
            }
            bytes
        };
        // Blocks of 4 KiB, 64 of them in one group; sectors and inodes of 512 bytes.
        let xfs: [(usize, &[u8]); 8] = [
            (0, b"XFSB\0\0\x10\0"),
            (8, &64_u64.to_be_bytes()),
            (80, &1_u32.to_be_bytes()),
            (84, &64_u32.to_be_bytes()),
            (88, &1_u32.to_be_bytes()),
            (102, &512_u16.to_be_bytes()),
            (104, &512_u16.to_be_bytes()),
            (120, &[12, 9, 9, 3]),
        ];
        vec![
            ("ext4", with(&[(1024 + 0x38, &[0x53, 0xef])])),
            ("xfs", with(&xfs)),
            (
                "btrfs",
                with(&[(0x1_0040, b"_BHRfS_M"), (0x1_0090, &[0, 16])]),
            ),
            ("f2fs", with(&[(1024, &[0x10, 0x20, 0xf5, 0xf2])])),
            ("vfat", fat(*b"NO NAME    ")),
        ]
    }

    #[tokio::test]
    async fn the_kernel_gets_the_type_of_what_it_mounts() {
        for (kind, bytes) in file_systems() {
            let mut machine = FakeMachine::new();
            machine.bytes("dev/sda1", &bytes);
            let place = machine.path().join("mnt").display().to_string();
            let script = Arc::new(
                Script::new()
                    .expect(&format!("mount -t {kind} -o ro /dev/sda1 {place}"), "")
                    .expect(&format!("mount -t sysfs /dev/sda1 {place}"), "")
                    .expect(&format!("mount -o bind /dev/sda1 {place}"), "")
                    .expect(&format!("mount -o ro LABEL=x {place}"), ""),
            );
            let system = machine.system_with(script.clone());
            for (options, source) in [
                (["-o", "ro"], "/dev/sda1"),
                (["-t", "sysfs"], "/dev/sda1"),
                (["-o", "bind"], "/dev/sda1"),
                (["-o", "ro"], "LABEL=x"),
            ] {
                mount(&system, &options, source, "/mnt").await.unwrap();
            }
            script.assert_done();
        }
    }

    #[test]
    fn what_is_unknown_or_short_has_no_type() {
        let dir = tempfile::tempdir().unwrap();
        for content in [&b""[..], b"LVM2", &[0; 4096]] {
            let path = dir.path().join("device");
            fs::write(&path, content).unwrap();
            assert_eq!(kind_in(&path), None);
        }
        assert_eq!(kind_in(&dir.path().join("none")), None);
    }

    /// A machine whose `/dev/sda1` is btrfs, and what "mount" would show at `/mnt`.
    fn btrfs(directories: &[&str]) -> (FakeMachine, String) {
        let mut machine = FakeMachine::new();
        let mut known = file_systems().into_iter();
        let (_, bytes) = known.find(|(kind, _)| *kind == "btrfs").unwrap();
        machine.bytes("dev/sda1", &bytes);
        for directory in directories {
            machine.directory(&format!("mnt/{directory}"));
        }
        let place = machine.path().join("mnt").display().to_string();
        (machine, place)
    }

    #[tokio::test]
    async fn a_system_in_a_subvolume_is_found() {
        // What the default subvolume has; what is mounted then.
        let cases: [(&[&str], Option<&str>); 6] = [
            (&["etc", "@/etc"], None),
            (&["@/etc", "@home"], Some("@")),
            (&["@rootfs/etc"], Some("@rootfs")),
            (&["root/etc", "home"], Some("root")),
            (&["@/usr", "snapshots/etc"], None),
            (&[], None),
        ];
        for (directories, subvolume) in cases {
            let (machine, place) = btrfs(directories);
            let mut script =
                Script::new().expect(&format!("mount -t btrfs -o nodev /dev/sda1 {place}"), "");
            if let Some(name) = subvolume {
                let mount = format!("mount -t btrfs -o nodev,subvol={name} /dev/sda1 {place}");
                script = script
                    .expect(&format!("umount {place}"), "")
                    .expect(&mount, "");
            }
            let script = Arc::new(script);
            let system = machine.system_with(script.clone());
            let mounted = mount_system(&system, "nodev", "/dev/sda1", "/mnt", "etc").await;
            mounted.unwrap();
            script.assert_done();
        }
    }

    #[tokio::test]
    async fn a_missing_driver_is_named() {
        let refused = || RunError::Failed {
            program: "mount".into(),
            command: "mount".into(),
            status: 255,
            stderr: "mount: mounting /dev/sda1 on /mnt failed: No such device".into(),
        };
        // What the kernel knows; what is said.
        for (loaded, text) in [
            (
                "nodev\ttmpfs\n\text4\n",
                "has no driver for it: add the module btrfs",
            ),
            ("nodev\ttmpfs\n\tbtrfs\n", "No such device"),
        ] {
            let (mut machine, place) = btrfs(&[]);
            machine.file("proc/filesystems", loaded);
            let mount_line = format!("mount -t btrfs -o ro /dev/sda1 {place}");
            let script = Script::new().expect_result(&mount_line, Err(refused()));
            let system = machine.system_with(Arc::new(script));
            let error = mount(&system, &["-o", "ro"], "/dev/sda1", "/mnt").await;
            let error = error_chain(&error.unwrap_err());
            assert!(error.contains(text), "{error}");
        }
    }

    /// What is mounted here and what the ramdisk brings are one list.
    #[test]
    fn the_ramdisk_has_the_drivers_of_what_is_mounted() {
        use std::collections::BTreeSet;
        // Of files in memory; of the firmware.
        const OTHERS: [&str; 2] = ["loop", "efivarfs"];
        let ramdisk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ramdisk");
        let list = fs::read_to_string(ramdisk.join("modules.list")).unwrap();
        let (_, section) = list.split_once("# File systems").unwrap();
        let lines = section.lines().skip(1).take_while(|line| !line.is_empty());
        let modules: BTreeSet<_> = lines
            .flat_map(str::split_whitespace)
            .filter(|word| !OTHERS.contains(word) && !word.starts_with("nls_"))
            .collect();
        let known = signature::SIGNATURES.iter();
        let kinds: BTreeSet<_> = known.filter_map(|known| known.driver).collect();
        let needed: BTreeSet<_> = kinds.iter().map(|kind| module_of(kind)).collect();
        assert_eq!(modules, needed);
        // What `mount` goes through where the type is not known.
        let tried = fs::read_to_string(ramdisk.join("root/etc/filesystems")).unwrap();
        let tried: BTreeSet<_> = tried.lines().collect();
        assert_eq!(tried, kinds);
    }
}
