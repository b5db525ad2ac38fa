//! Files that an operator puts into the deployed system.

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::boot::efi::partitions;
use crate::disk::filesystem::mount::{mount_system, unmount};
use crate::disk::partition::device;
use crate::failure::{Failure, FailureKind};
use crate::machine::block::BlockDevice;
use crate::system::foreign_root::{Attributes, ForeignRoot};
use crate::system::{RunError, System};

/// Where the partition is mounted.
const MOUNT_POINT: &str = "/run/ironic-agent/inject";
/// Nothing of the tenant's file system is to be run or talked to as a device.
const OPTIONS: &str = "nodev,nosuid,noexec";

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path in the file system.
    pub path: String,
    /// Which file system.
    pub place: Place,
    /// What happens to it.
    pub change: Change,
    /// What it is afterwards.
    pub attributes: Attributes,
    /// Permission bits of its directory, if that has to be made.
    pub directory_mode: Option<u32>,
}

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The first partition of the root device that has the first directory of the path.
    Found,
    /// The partition of the root device with this number.
    Partition(u32),
    /// What the operator named: a device, or `LABEL=...` as `mount` knows it.
    Named(String),
}

/// What happens to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is removed, if there is one.
    Remove,
    /// It is made or overwritten.
    Write(Vec<u8>),
    /// Its content stays.
    Keep,
}

/// Puts one file into a file system of `device`, the root device.
///
/// # Errors
/// There is no such file system, or the file cannot be changed.
pub async fn inject(system: &System, device: &BlockDevice, file: &File) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::execution(format!("Failed to process file {}. {error}", file.path))
    };
    let disk = &device.name;
    let first = first_directory(&file.path);
    let named = match &file.place {
        Place::Partition(number) => Some(device::of(system, disk, *number)),
        Place::Named(name) => Some(name.clone()),
        Place::Found => None,
    };
    if let Some(source) = named {
        mount_system(system, OPTIONS, &source, MOUNT_POINT, first)
            .await
            .map_err(|error| failed(&error))?;
        return apply(system, file).await.map_err(|error| failed(&error));
    }
    let numbers = numbers(system, disk)
        .await
        .map_err(|error| failed(&error))?;
    let nodes: Vec<_> = numbers
        .into_iter()
        .map(|number| device::of(system, disk, number))
        .collect();
    let mut unreadable = String::new();
    for source in &nodes {
        let root = match mount_system(system, OPTIONS, source, MOUNT_POINT, first).await {
            Ok(root) => root,
            // The file system is known, and may well be the one that is looked for.
            Err(RunError::Broken { source, .. }) => {
                unreadable += &format!("; {source}");
                continue;
            }
            // A swap area or a volume group cannot be mounted, and is not what is looked for.
            Err(_) => continue,
        };
        let is_it = ForeignRoot::open(&root).is_ok_and(|tree| tree.has_directory(first));
        if is_it {
            return apply(system, file).await.map_err(|error| failed(&error));
        }
        unmount(system, MOUNT_POINT)
            .await
            .map_err(|error| failed(&error))?;
    }
    Err(Failure::new(
        FailureKind::DeviceNotFound,
        format!(
            "No partition found with path {}, scanned: {nodes:?}{unreadable}",
            file.path
        ),
    ))
}

/// Changes the file in what is mounted, and unmounts that whatever happened.
async fn apply(system: &System, file: &File) -> Result<(), String> {
    let root = system.root.path(MOUNT_POINT);
    let changed = file.clone();
    let done = tokio::task::spawn_blocking(move || {
        let tree = ForeignRoot::open(&root)?;
        let path = changed.path.as_str();
        match &changed.change {
            Change::Remove => return tree.remove(path).map(drop),
            Change::Write(content) => {
                tree.make_parent(path, changed.directory_mode)?;
                tree.write(path, content)?;
            }
            Change::Keep => {}
        }
        tree.change(path, changed.attributes)
    })
    .await;
    let unmounted = unmount(system, MOUNT_POINT).await;
    done.map_err(|error| error.to_string())?
        .map_err(|error: std::io::Error| error.to_string())?;
    unmounted.map_err(|error| error.to_string())
}

async fn numbers(system: &System, disk: &str) -> Result<Vec<u32>, String> {
    let disks = Arc::clone(&system.disks);
    let path = PathBuf::from(disk);
    let read = tokio::task::spawn_blocking(move || {
        let mut disk = disks
            .open_to_read(&path)
            .map_err(|error| error.to_string())?;
        partitions(disk.as_mut())
    });
    let found = read.await.map_err(|error| error.to_string())??;
    Ok(found.iter().map(|partition| partition.number).collect())
}

fn first_directory(path: &str) -> &str {
    path.split('/').find(|name| !name.is_empty()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::system::disk::LinuxDisks;
    use crate::system::process::Script;
    use crate::system::{Disk, DiskError, Disks, PathPrefix, RunError};

    /// Disks that somebody else has claimed.
    #[derive(Debug)]
    struct Claimed;

    impl Disks for Claimed {
        fn open(&self, name: &std::path::Path) -> Result<Box<dyn Disk>, DiskError> {
            Err(DiskError::Busy { path: name.into() })
        }

        fn open_to_read(&self, name: &std::path::Path) -> Result<Box<dyn Disk>, DiskError> {
            LinuxDisks.open_to_read(name)
        }
    }

    /// A machine with a disk of two partitions. What is in the directory at the mount point is
    /// in every file system.
    struct Machine {
        dir: tempfile::TempDir,
        device: BlockDevice,
    }

    impl Machine {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("sda");
            let mut cursor = std::io::Cursor::new(vec![0; 8 << 20]);
            let mut table = gptman::GPT::new_from(&mut cursor, 512, [7; 16]).unwrap();
            for (number, mark) in [(1, 1), (2, 2)] {
                table[number] = gptman::GPTPartitionEntry {
                    partition_type_guid: [1; 16],
                    unique_partition_guid: [mark; 16],
                    starting_lba: u64::from(number) * 2048,
                    ending_lba: u64::from(number) * 2048 + 2047,
                    attribute_bits: 0,
                    partition_name: "".into(),
                };
            }
            gptman::GPT::write_protective_mbr_into(&mut cursor, 512).unwrap();
            table.write_into(&mut cursor).unwrap();
            fs::write(&path, cursor.into_inner()).unwrap();
            fs::create_dir_all(dir.path().join("run/ironic-agent/inject/etc")).unwrap();
            let device = BlockDevice {
                name: path.to_str().unwrap().to_owned(),
                ..BlockDevice::default()
            };
            Self { dir, device }
        }

        fn inside(&self, path: &str) -> PathBuf {
            self.dir.path().join("run/ironic-agent/inject").join(path)
        }

        fn mount(&self, source: &str) -> String {
            format!(
                "mount -o nodev,nosuid,noexec {source} {}",
                self.inside("").display().to_string().trim_end_matches('/')
            )
        }

        fn unmount(&self) -> String {
            let place = self.inside("").display().to_string();
            format!("umount {}", place.trim_end_matches('/'))
        }

        async fn inject(&self, file: &File, script: Script) -> Result<(), Failure> {
            let script = Arc::new(script);
            let system = System {
                run: script.clone(),
                root: PathPrefix::new(self.dir.path()),
                // Volume groups, arrays and mounts claim their disks.
                disks: Arc::new(Claimed),
                ..System::linux()
            };
            let done = inject(&system, &self.device, file).await;
            script.assert_done();
            done
        }
    }

    fn write(path: &str, place: Place) -> File {
        File {
            path: path.to_owned(),
            place,
            change: Change::Write(b"text".to_vec()),
            attributes: Attributes::default(),
            directory_mode: None,
        }
    }

    fn refused(command: &str) -> RunError {
        RunError::Failed {
            program: "mount".into(),
            command: command.into(),
            status: 32,
            stderr: "unknown filesystem type 'LVM2_member'".into(),
        }
    }

    /// Looking at the table of a disk that LVM uses is no claim to it, and no writing.
    #[tokio::test]
    async fn a_disk_in_use_is_looked_at_without_a_claim() {
        let machine = Machine::new();
        let disk = machine.device.name.clone();
        let claimed = Claimed.open(disk.as_ref());
        assert!(matches!(claimed, Err(DiskError::Busy { .. })));
        let script = Script::new()
            .expect(&machine.mount(&format!("{disk}1")), "")
            .expect(&machine.unmount(), "");
        let file = write("/etc/motd", Place::Found);
        machine.inject(&file, script).await.unwrap();
    }

    #[tokio::test]
    async fn a_named_partition_is_mounted_and_unmounted() {
        let machine = Machine::new();
        for (place, source) in [
            (Place::Partition(2), format!("{}2", machine.device.name)),
            (Place::Named("/dev/on".into()), "/dev/on".into()),
            (Place::Named("LABEL=data".into()), "LABEL=data".into()),
        ] {
            let script = Script::new()
                .expect(&machine.mount(&source), "")
                .expect(&machine.unmount(), "");
            let file = write("/new/file", place);
            machine.inject(&file, script).await.unwrap();
            assert_eq!(fs::read(machine.inside("new/file")).unwrap(), b"text");
            fs::remove_dir_all(machine.inside("new")).unwrap();
        }
    }

    #[tokio::test]
    async fn the_first_partition_with_the_directory_is_taken() {
        let machine = Machine::new();
        let disk = &machine.device.name;
        let first = machine.mount(&format!("{disk}1"));
        let script = Script::new()
            .expect_result(&first, Err(refused(&first)))
            .expect(&machine.mount(&format!("{disk}2")), "")
            .expect(&machine.unmount(), "");
        machine
            .inject(&write("/etc/motd", Place::Found), script)
            .await
            .unwrap();
        assert_eq!(fs::read(machine.inside("etc/motd")).unwrap(), b"text");
    }

    #[tokio::test]
    async fn a_directory_that_is_nowhere_is_an_error() {
        let machine = Machine::new();
        let disk = &machine.device.name;
        let script = Script::new()
            .expect(&machine.mount(&format!("{disk}1")), "")
            .expect(&machine.unmount(), "")
            .expect(&machine.mount(&format!("{disk}2")), "")
            .expect(&machine.unmount(), "");
        let failure = machine
            .inject(&write("/srv/file", Place::Found), script)
            .await
            .unwrap_err();
        assert_eq!(failure.kind, FailureKind::DeviceNotFound);
        assert_eq!(
            failure.details,
            format!("No partition found with path /srv/file, scanned: [\"{disk}1\", \"{disk}2\"]")
        );
    }

    #[tokio::test]
    async fn what_is_to_be_gone_is_gone_and_a_failure_still_unmounts() {
        let machine = Machine::new();
        let source = format!("{}1", machine.device.name);
        let script = || {
            Script::new()
                .expect(&machine.mount(&source), "")
                .expect(&machine.unmount(), "")
        };
        let remove = |path: &str| File {
            change: Change::Remove,
            ..write(path, Place::Partition(1))
        };
        fs::write(machine.inside("etc/old"), "x").unwrap();
        for _ in 0..2 {
            machine.inject(&remove("/etc/old"), script()).await.unwrap();
            assert!(!machine.inside("etc/old").exists());
        }
        let failure = machine.inject(&remove("/etc"), script()).await.unwrap_err();
        assert!(
            failure.details.starts_with("Failed to process file /etc. "),
            "{failure}"
        );
        let absent = File {
            change: Change::Keep,
            attributes: Attributes {
                mode: Some(0o600),
                ..Attributes::default()
            },
            ..write("/etc/absent", Place::Partition(1))
        };
        machine.inject(&absent, script()).await.unwrap_err();
    }
}
