use std::fs;

use super::*;
use crate::failure::{Failure, FailureKind};
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

    fn open_shared(&self, name: &std::path::Path) -> Result<Box<dyn Disk>, DiskError> {
        self.open(name)
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
        let mount_point = self.inside("").display().to_string();
        format!("umount {}", mount_point.trim_end_matches('/'))
    }

    async fn inject(&self, file: &InjectedFile, script: Script) -> Result<(), Failure> {
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
        done.map_err(Failure::from)
    }
}

fn write(path: &str, file_system: FileSystemChoice) -> InjectedFile {
    InjectedFile {
        path: path.to_owned(),
        file_system,
        change: FileChange::Write(b"text".to_vec()),
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

/// Looking at the table of a disk that LVM uses neither claims nor changes it.
#[tokio::test]
async fn a_disk_in_use_is_looked_at_without_a_claim() {
    let machine = Machine::new();
    let disk = machine.device.name.clone();
    let claimed = Claimed.open(disk.as_ref());
    assert!(matches!(claimed, Err(DiskError::Busy { .. })));
    let script = Script::new()
        .expect(&machine.mount(&format!("{disk}1")), "")
        .expect(&machine.unmount(), "");
    let file = write("/etc/motd", FileSystemChoice::WithDirectory);
    machine.inject(&file, script).await.unwrap();
}

#[tokio::test]
async fn a_named_partition_is_mounted_and_unmounted() {
    let machine = Machine::new();
    for (file_system, source) in [
        (
            FileSystemChoice::Partition(2),
            format!("{}2", machine.device.name),
        ),
        (FileSystemChoice::Named("/dev/on".into()), "/dev/on".into()),
        (
            FileSystemChoice::Named("LABEL=data".into()),
            "LABEL=data".into(),
        ),
    ] {
        let script = Script::new()
            .expect(&machine.mount(&source), "")
            .expect(&machine.unmount(), "");
        let file = write("/new/file", file_system);
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
        .inject(&write("/etc/motd", FileSystemChoice::WithDirectory), script)
        .await
        .unwrap();
    assert_eq!(fs::read(machine.inside("etc/motd")).unwrap(), b"text");
}

#[tokio::test]
async fn the_directory_is_found_in_a_logical_partition() {
    use ironic_ondisk::partition_table::testing::mbr;
    let machine = Machine::new();
    let disk = &machine.device.name;
    let mut bytes = vec![0; 8 << 20];
    mbr(&mut bytes, 0, &[(0x05, 2048, 12_000)]);
    mbr(&mut bytes, 2048 * 512, &[(0x83, 2048, 2048)]);
    fs::write(disk, &bytes).unwrap();
    // The extended partition holds no file system.
    let extended = machine.mount(&format!("{disk}1"));
    let script = Script::new()
        .expect_result(&extended, Err(refused(&extended)))
        .expect(&machine.mount(&format!("{disk}5")), "")
        .expect(&machine.unmount(), "");
    machine
        .inject(&write("/etc/motd", FileSystemChoice::WithDirectory), script)
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
        .inject(&write("/srv/file", FileSystemChoice::WithDirectory), script)
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
    let remove = |path: &str| InjectedFile {
        change: FileChange::Remove,
        ..write(path, FileSystemChoice::Partition(1))
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
    let absent = InjectedFile {
        change: FileChange::Keep,
        attributes: Attributes {
            mode: Some(0o600),
            ..Attributes::default()
        },
        ..write("/etc/absent", FileSystemChoice::Partition(1))
    };
    machine.inject(&absent, script()).await.unwrap_err();
}
