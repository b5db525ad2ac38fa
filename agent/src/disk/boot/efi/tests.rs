use std::fs;

use super::*;
use crate::failure::{Failure, FailureKind};
use crate::system::process::{Output, Script};
use crate::system::{Disk, Disks};
use ironic_ondisk::partition_table::guid::Guid;
use ironic_ondisk::partition_table::kinds;

const MIB: usize = 1 << 20;

fn write(root: &std::path::Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A machine with one GPT disk whose partition 3 may be an EFI system partition. What
/// "mount" would show lies at the mount point from the start.
fn machine(kind: Guid) -> (tempfile::TempDir, BlockDevice) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sda");
    let mut cursor = std::io::Cursor::new(vec![0; 8 * MIB]);
    let mut table = gptman::GPT::new_from(&mut cursor, 512, [7; 16]).unwrap();
    table[3] = gptman::GPTPartitionEntry {
        partition_type_guid: kind.0,
        unique_partition_guid: [0x11; 16],
        starting_lba: 2048,
        ending_lba: 4095,
        attribute_bits: 0,
        partition_name: "".into(),
    };
    gptman::GPT::write_protective_mbr_into(&mut cursor, 512).unwrap();
    table.write_into(&mut cursor).unwrap();
    fs::write(&path, cursor.into_inner()).unwrap();
    let device = BlockDevice {
        name: path.to_str().unwrap().to_owned(),
        ..BlockDevice::default()
    };
    (dir, device)
}

async fn run(
    dir: &tempfile::TempDir,
    device: &BlockDevice,
    uuid: Option<&str>,
    script: Script,
) -> Result<Entries, Failure> {
    run_on(dir, device, uuid, (script, System::linux().disks)).await
}

async fn run_on(
    dir: &tempfile::TempDir,
    device: &BlockDevice,
    uuid: Option<&str>,
    (script, disks): (Script, Arc<dyn Disks>),
) -> Result<Entries, Failure> {
    let script = Arc::new(script);
    let system = System {
        run: script.clone(),
        root: crate::system::PathPrefix::new(dir.path()),
        disks,
        ..System::linux()
    };
    let result = install(&system, device, uuid, &Task::detached()).await;
    script.assert_done();
    result.map_err(Failure::from)
}

/// Disks of which a partition is in use.
#[derive(Debug)]
struct PartitionInUse(Arc<dyn Disks>);

impl Disks for PartitionInUse {
    fn open(&self, name: &std::path::Path) -> Result<Box<dyn Disk>, DiskError> {
        self.open_shared(name)
    }
    fn open_shared(&self, name: &std::path::Path) -> Result<Box<dyn Disk>, DiskError> {
        Ok(Box::new(KnownTable(self.0.open_shared(name)?)))
    }
    fn open_to_read(&self, name: &std::path::Path) -> Result<Box<dyn Disk>, DiskError> {
        self.0.open_to_read(name)
    }
}

#[derive(Debug)]
struct KnownTable(Box<dyn Disk>);

impl Disk for KnownTable {
    fn geometry(&self) -> ironic_ondisk::size::Geometry {
        self.0.geometry()
    }
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        self.0.read_at(offset, buffer)
    }
    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.0.write_at(offset, data)
    }
    fn zero(&mut self, offset: u64, length: u64) -> Result<(), DiskError> {
        self.0.zero(offset, length)
    }
    fn punch(&mut self, offset: u64, length: u64) -> Result<bool, DiskError> {
        self.0.punch(offset, length)
    }
    fn sync(&mut self) -> Result<(), DiskError> {
        self.0.sync()
    }
    fn reread_table(&mut self) -> Result<(), DiskError> {
        Err(DiskError::Busy {
            path: "/dev/sda".into(),
        })
    }
}

/// The kernel knows the table already, or learns the new partitions one by one.
#[tokio::test]
async fn a_partition_in_use_keeps_no_other_from_being_booted() {
    for has_node in [true, false] {
        let (dir, device) = machine(kinds::EFI_SYSTEM.gpt);
        let esp = dir.path().join("run/ironic-agent/esp");
        write(&esp, "EFI/BOOT/BOOTX64.EFI", b"MZ");
        let (disk, place) = (&device.name, esp.display());
        let mut script = Script::new().expect("efibootmgr --version", "version 18");
        if has_node {
            write(dir.path(), format!("{disk}3").trim_start_matches('/'), b"");
        } else {
            script = script.expect(&format!("partx -av {disk}"), "");
        }
        let make = "efibootmgr -v -c -d";
        let script = script
            .expect(&format!("mount -t vfat -o ro {disk}3 {place}"), "")
            .expect(&format!("umount {place}"), "")
            .expect("efibootmgr -v", "")
            .expect(
                &format!("{make} {disk} -p 3 -w -L ironic1 -l \\EFI\\BOOT\\BOOTX64.EFI"),
                "Boot0001* ironic1\tHD(1,GPT,1)/File(\\x)",
            )
            .expect("sync", "");
        let disks = Arc::new(PartitionInUse(System::linux().disks));
        let made = run_on(&dir, &device, None, (script, disks)).await;
        assert_eq!(made, Ok(Entries::Made), "{has_node}");
    }
}

fn no_loader(device: &BlockDevice, number: u32) -> Entries {
    Entries::NoLoader {
        partition: format!("{}{number}", device.name),
    }
}

fn mounted(dir: &tempfile::TempDir, device: &BlockDevice) -> Script {
    let place = dir.path().join("run/ironic-agent/esp");
    let (disk, place) = (&device.name, place.display());
    Script::new()
        .expect("efibootmgr --version", "version 18")
        .expect(&format!("mount -t vfat -o ro {disk}3 {place}"), "")
        .expect(&format!("umount {place}"), "")
}

#[tokio::test]
async fn a_list_names_the_only_entry_and_replaces_its_namesakes() {
    let (dir, device) = machine(kinds::EFI_SYSTEM.gpt);
    let esp = dir.path().join("run/ironic-agent/esp");
    let list = utf16("shimx64.efi,Vendor String,,Grub2MadeUSDoThis\n");
    write(&esp, "EFI/BOOT/BOOTX64.EFI", b"MZ");
    write(&esp, "EFI/vendor/BOOTX64.CSV", &list);
    write(&esp, "EFI/vendor/shimx64.efi", b"MZ");
    let before = "BootCurrent: 0001\n\
        Boot0000* Red Hat\tHD(1,GPT,1)/File(\\x)\n\
        Boot0001* Vendor String\tHD(1,GPT,1)/File(\\x)\n\
        Boot0002  Vendor String\tHD(1,GPT,1)/File(\\x)\n";
    let disk = &device.name;
    let script = mounted(&dir, &device)
        .expect("efibootmgr -v", before)
        .expect("efibootmgr -b 0001 -B", "")
        .expect("efibootmgr -b 0002 -B", "")
        .expect(
            &format!(
                "efibootmgr -v -c -d {disk} -p 3 -w -L Vendor String -l \\EFI\\vendor\\shimx64.efi"
            ),
            "Boot0001* Vendor String\tHD(1,GPT,1)/File(\\x)",
        )
        .expect("sync", "");
    assert_eq!(run(&dir, &device, None, script).await, Ok(Entries::Made));
}

#[tokio::test]
async fn without_a_list_every_loader_gets_an_entry() {
    let (dir, device) = machine(kinds::EFI_SYSTEM.gpt);
    let esp = dir.path().join("run/ironic-agent/esp");
    write(&esp, "EFI/BOOT/BOOTX64.EFI", b"MZ");
    write(&esp, "EFI/BOOT/grubx64.efi", b"MZ");
    write(&esp, "EFI/BOOT/BOOTIA32.EFI", b"MZ");
    let disk = &device.name;
    let mut script = mounted(&dir, &device);
    for (label, path) in [
        ("ironic1", "\\EFI\\BOOT\\BOOTIA32.EFI"),
        ("ironic2", "\\EFI\\BOOT\\BOOTX64.EFI"),
    ] {
        let make = format!("efibootmgr -v -c -d {disk} -p 3 -w -L {label} -l {path}");
        script = script.expect("efibootmgr -v", "").expect(&make, "");
    }
    let script = script.expect("sync", "");
    assert_eq!(run(&dir, &device, None, script).await, Ok(Entries::Made));
}

#[tokio::test]
async fn an_empty_partition_and_a_missing_program_change_nothing() {
    let (dir, device) = machine(kinds::EFI_SYSTEM.gpt);
    assert_eq!(
        run(&dir, &device, None, mounted(&dir, &device)).await,
        Ok(no_loader(&device, 3))
    );
    let missing = Err(RunError::Missing {
        program: "efibootmgr".into(),
    });
    let script = Script::new().expect_result("efibootmgr --version", missing);
    assert_eq!(
        run(&dir, &device, None, script).await,
        Ok(Entries::NoProgram)
    );
}

#[tokio::test]
async fn without_a_partition_the_image_is_suspected() {
    let (dir, device) = machine(Guid([9; 16]));
    let version = || Script::new().expect("efibootmgr --version", "");
    let failure = run(&dir, &device, None, version()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::DeviceNotFound);
    assert!(
        failure.details.contains("UEFI-compatible image"),
        "{failure}"
    );
    // Its UUID finds a partition that is not marked.
    let uuid = "11111111-1111-1111-1111-111111111111";
    let named = run(&dir, &device, Some(uuid), mounted(&dir, &device)).await;
    assert_eq!(named, Ok(no_loader(&device, 3)));
    // So does that of its file system, by which Ironic knows what was made here.
    let mut disk = fs::read(&device.name).unwrap();
    let fat = crate::machine::block::guarded_filesystem::tests::fat(*b"NO NAME    ");
    disk[MIB..2 * MIB].copy_from_slice(&fat);
    disk[MIB + 38] = 0x29;
    disk[MIB + 39..MIB + 43].copy_from_slice(&0x0b8c_37b6_u32.to_le_bytes());
    fs::write(&device.name, disk).unwrap();
    let named = run(&dir, &device, Some("0b8c-37b6"), mounted(&dir, &device)).await;
    assert_eq!(named, Ok(no_loader(&device, 3)));
    run(&dir, &device, Some("0b8c-37b7"), version())
        .await
        .unwrap_err();
}

#[tokio::test]
async fn only_the_type_makes_an_efi_system_partition() {
    // Partition 1 of a master boot record, which firmware may boot from.
    let boots = |kind: u8| {
        let (dir, device) = machine(kinds::EFI_SYSTEM.gpt);
        let mut disk = vec![0; 8 * MIB];
        disk[446..462].copy_from_slice(&[0x80, 0, 0, 0, kind, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0]);
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        fs::write(&device.name, disk).unwrap();
        (dir, device)
    };
    let (dir, device) = boots(0x83);
    let version = Script::new().expect("efibootmgr --version", "");
    let failure = run(&dir, &device, None, version).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::DeviceNotFound);
    let (dir, device) = boots(0xef);
    let place = dir.path().join("run/ironic-agent/esp");
    let (disk, place) = (&device.name, place.display());
    let script = Script::new()
        .expect("efibootmgr --version", "")
        .expect(&format!("mount -t vfat -o ro {disk}1 {place}"), "")
        .expect(&format!("umount {place}"), "");
    assert_eq!(
        run(&dir, &device, None, script).await,
        Ok(no_loader(&device, 1))
    );
}

#[tokio::test]
async fn entries_on_an_array_name_each_member() {
    let loaders = [Loader {
        path: "\\EFI\\BOOT\\BOOTX64.EFI".into(),
        label: "ironic1".into(),
    }];
    let mut script = Script::new();
    let targets: Vec<_> = on_members(vec![("/dev/sda".into(), 2), ("/dev/sdb".into(), 3)])
        .inspect(|target| assert!(target.suffix.starts_with(" (RAID")))
        .collect();
    for (disk, number, index) in [("sda", 2, 0), ("sdb", 3, 1)] {
        let label = format!("ironic1 (RAID, part{index})");
        script = script
            .expect("efibootmgr -v", &format!("Boot000{index}* {label}\tHD(1)"))
            .expect(&format!("efibootmgr -b 000{index} -B"), "")
            .expect(
                &format!(
                    "efibootmgr -v -c -d /dev/{disk} -p {number} -w -L {label} -l \
                     \\EFI\\BOOT\\BOOTX64.EFI"
                ),
                &format!("Boot000{index}* {label}\tHD(1)"),
            );
    }
    let script = Arc::new(script);
    let dir = tempfile::tempdir().unwrap();
    let system = System {
        run: script.clone(),
        root: crate::system::PathPrefix::new(dir.path()),
        ..System::linux()
    };
    for target in &targets {
        let entered = enter(&system, target, &loaders, &Task::detached()).await;
        entered.unwrap();
    }
    script.assert_done();
}

#[tokio::test]
async fn what_fails_after_mounting_is_unmounted_and_reported() {
    let (dir, device) = machine(kinds::EFI_SYSTEM.gpt);
    let esp = dir.path().join("run/ironic-agent/esp");
    write(&esp, "EFI/BOOT/BOOTX64.EFI", b"MZ");
    let refused = Err::<Output, _>(RunError::Failed {
        program: "efibootmgr".into(),
        command: "efibootmgr -v".into(),
        status: 2,
        stderr: "EFI variables are not supported on this system.".into(),
    });
    let script = mounted(&dir, &device)
        .expect_result("efibootmgr -v", refused)
        .expect("sync", "");
    let failure = run(&dir, &device, None, script).await.unwrap_err();
    assert!(
        failure
            .details
            .starts_with("Could not configure UEFI boot on device"),
        "{failure}"
    );
    assert!(failure.details.contains("not supported on this system"));
}

#[tokio::test]
async fn the_first_of_a_list_is_made_last_and_so_booted_first() {
    let (dir, device) = machine(kinds::EFI_SYSTEM.gpt);
    let esp = dir.path().join("run/ironic-agent/esp");
    write(&esp, "EFI/v/BOOTX64.CSV", b"a.efi,First\nb.efi,Second\n");
    write(&esp, "EFI/v/a.efi", b"MZ");
    write(&esp, "EFI/v/b.efi", b"MZ");
    let disk = &device.name;
    let mut script = mounted(&dir, &device);
    for (label, path) in [("Second", "\\EFI\\v\\b.efi"), ("First", "\\EFI\\v\\a.efi")] {
        let make = format!("efibootmgr -v -c -d {disk} -p 3 -w -L {label} -l {path}");
        script = script.expect("efibootmgr -v", "").expect(&make, "");
    }
    let script = script.expect("sync", "");
    assert_eq!(run(&dir, &device, None, script).await, Ok(Entries::Made));
}

/// What `grub-install` and `grub-install --removable` of Debian leave behind together: the
/// list in EFI/BOOT names a loader that lies only beside the other one.
#[tokio::test]
async fn no_entry_is_made_for_what_a_removable_installation_lists() {
    let (dir, device) = machine(kinds::EFI_SYSTEM.gpt);
    let esp = dir.path().join("run/ironic-agent/esp");
    let list = utf16("shimx64.efi,debian,,This is the boot entry for debian\n");
    for file in ["BOOT/BOOTX64.EFI", "BOOT/grubx64.efi", "debian/SHIMX64.EFI"] {
        write(&esp, &format!("EFI/{file}"), b"MZ");
    }
    write(&esp, "EFI/BOOT/BOOTX64.CSV", &list);
    write(&esp, "EFI/debian/BOOTX64.CSV", &list);
    let disk = &device.name;
    let script = mounted(&dir, &device)
        .expect("efibootmgr -v", "")
        .expect(
            &format!("efibootmgr -v -c -d {disk} -p 3 -w -L debian -l \\EFI\\debian\\SHIMX64.EFI"),
            "",
        )
        .expect("sync", "");
    assert_eq!(run(&dir, &device, None, script).await, Ok(Entries::Made));
}
