use std::fs::{self, File};
use std::path::Path;

use ironic_ondisk::signature;

use super::*;
use crate::failure::{Failure, FailureKind};
use crate::machine::block::device_file::DeviceFile;
use crate::machine::block::guarded_filesystem::tests::fat;
use crate::machine::testing::FakeMachine;
use crate::system::RunError;
use crate::system::process::Script;

const GIB: u64 = 1 << 30;

/// Two disks of 2 GiB, whose first partitions are the array `md0`. Room for an EFI system
/// partition is in front of them.
fn machine(has_table: bool) -> (FakeMachine, BlockDevice) {
    let mut machine = FakeMachine::new();
    let mut members = Vec::new();
    for (index, name) in (0..).zip(["sda", "sdb"]) {
        let disk = machine.sata_disk(name, 2 * GIB, index + 1);
        let member = format!("{name}1");
        machine.partition(&disk, &member, &format!("8:{}", index * 16 + 1), GIB);
        members.push(format!("{disk}/{member}"));
        disk_file(&mut machine, name, has_table);
        // The node that appears.
        machine.file(&format!("dev/{name}2"), "");
    }
    let array = array_of(&mut machine, &members);
    (machine, array)
}

/// The array `md0` of these members, by their paths in `/sys`, and room for another one.
fn array_of(machine: &mut FakeMachine, members: &[String]) -> BlockDevice {
    let paths: Vec<_> = members.iter().map(String::as_str).collect();
    machine.array("md0", "raid1", GIB, &paths);
    // The array that is made.
    let new = File::create(machine.path().join("dev/md1")).unwrap();
    new.set_len(549 * MIB).unwrap();
    let names = paths.iter().filter_map(|path| path.rsplit('/').next());
    BlockDevice {
        name: "/dev/md0".into(),
        kind: DeviceKind::Raid,
        size: GIB,
        members: names.map(|name| format!("/dev/{name}")).collect(),
        ..BlockDevice::default()
    }
}

/// A disk of 2 GiB with room in front of its first partition.
fn disk_file(machine: &mut FakeMachine, name: &str, has_table: bool) {
    machine.directory("dev");
    let path = machine.path().join("dev").join(name);
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .unwrap();
    file.set_len(2 * GIB).unwrap();
    if has_table {
        let mut table = gptman::GPT::new_from(&mut file, 512, [7; 16]).unwrap();
        table[1] = gptman::GPTPartitionEntry {
            partition_type_guid: [1; 16],
            unique_partition_guid: [2; 16],
            starting_lba: 551 * 2048,
            ending_lba: 1024 * 2048 - 1,
            attribute_bits: 0,
            partition_name: "".into(),
        };
        gptman::GPT::write_protective_mbr_into(&mut file, 512).unwrap();
        table.write_into(&mut file).unwrap();
        gptman::GPT::write_protective_mbr_into(&mut file, 512).unwrap();
    }
}

/// The same where each disk is reached by several paths: its partitions are maps, whose numbers
/// are not those of the partitions.
fn machine_of_maps() -> (FakeMachine, BlockDevice, Vec<String>) {
    let mut machine = FakeMachine::new();
    let (mut firsts, mut seconds) = (Vec::new(), Vec::new());
    let names = [
        ["sda", "dm-0", "dm-2", "dm-4"],
        ["sdb", "dm-1", "dm-3", "dm-5"],
    ];
    for (index, [path, disk, first, second]) in (0..).zip(names) {
        let path = machine.sata_disk(path, 2 * GIB, index + 1);
        let map = machine.map(disk, 2 * GIB, &format!("mpath-{disk}"), &[&path]);
        let mut part = |name: &str, number: u32, size: u64| {
            let identity = format!("part{number}-mpath-{disk}");
            machine.map(name, size, &identity, &[&map])
        };
        firsts.push(part(first, 1, GIB));
        // The one that appears.
        seconds.push(part(second, 2, 550 * MIB));
        machine.file(&format!("dev/{second}"), "");
        disk_file(&mut machine, disk, true);
    }
    let array = array_of(&mut machine, &firsts);
    (machine, array, seconds)
}

const ADD: [&str; 2] = ["partx --add --nr 2 /dev/sda", "partx --add --nr 2 /dev/sdb"];
const CREATE: &str = "mdadm --create /dev/md1 --force --run --metadata=1.0 --level 1 --name esp \
    --raid-devices 2 /dev/sda2 /dev/sdb2";

async fn prepare(
    machine: &FakeMachine,
    array: &BlockDevice,
    source: Option<&LocatedPartition>,
    script: Script,
) -> Result<EspArray, Failure> {
    let script = Arc::new(script);
    let system = machine.system_with(script.clone());
    let done = prepare_uefi(&system, array, source, &Task::detached()).await;
    script.assert_done();
    done.map_err(Failure::from)
}

fn partitions_of(machine: &FakeMachine, name: &str) -> Vec<(u32, u64, u64, bool)> {
    let mut file = File::open(machine.path().join("dev").join(name)).unwrap();
    let table = gptman::GPT::read_from(&mut file, 512).unwrap();
    table
        .iter()
        .filter(|(_, entry)| entry.is_used())
        .map(|(number, entry)| {
            let size = (entry.ending_lba - entry.starting_lba + 1) / 2048;
            let is_esp = entry.partition_type_guid == EFI_SYSTEM.gpt.0;
            (number, entry.starting_lba / 2048, size, is_esp)
        })
        .collect()
}

/// The names of a disk's partitions, as another library reads them.
fn names_of(machine: &FakeMachine, name: &str) -> Vec<String> {
    let mut file = File::open(machine.path().join("dev").join(name)).unwrap();
    let table = gptman::GPT::read_from(&mut file, 512).unwrap();
    let used = table.iter().filter(|(_, entry)| entry.is_used());
    used.map(|(_, entry)| entry.partition_name.as_str().to_owned())
        .collect()
}

/// Deployed systems and operators find them below `/dev/disk/by-partlabel`.
#[tokio::test]
async fn boot_partitions_have_the_names_that_the_python_agent_gives() {
    let (uefi, array) = machine(true);
    let script = Script::new()
        .expect(ADD[0], "")
        .expect(ADD[1], "")
        .expect(CREATE, "");
    prepare(&uefi, &array, None, script).await.unwrap();
    let (bios, array) = machine(true);
    let script = Script::new().expect(ADD[0], "").expect(ADD[1], "");
    prepare_bios(&bios.system_with(Arc::new(script)), &array)
        .await
        .unwrap();
    for (number, disk) in ["sda", "sdb"].into_iter().enumerate() {
        let ours = format!("uefi-holder-{number}");
        assert_eq!(names_of(&uefi, disk)[1], ours);
        let ours = format!("bios-boot-part-{number}");
        assert_eq!(names_of(&bios, disk)[1], ours);
    }
}

/// Label and identity of the file system in the new array.
fn made(machine: &FakeMachine) -> (String, Option<String>) {
    identity_in(&machine.path().join("dev/md1"))
}

fn identity_in(path: &Path) -> (String, Option<String>) {
    let device = DeviceFile::open(path).unwrap();
    let found = signature::identify(device, 512).unwrap().certain();
    let identity = found.unwrap().identity;
    (identity.label.unwrap_or_default(), identity.uuid)
}

fn source() -> LocatedPartition {
    LocatedPartition {
        node: "/dev/md0p1".into(),
        number: 1,
        uuid: "0B8C-37B6".into(),
        is_partition_uuid: false,
    }
}

/// A FAT file system with this label.
fn fat_with(label: &str) -> Vec<u8> {
    fat(format!("{label:11}").as_bytes().try_into().unwrap())
}

#[tokio::test]
async fn every_disk_gets_a_partition_and_all_are_one_mirror() {
    let (machine, array) = machine(true);
    let script = Script::new()
        .expect(ADD[0], "")
        .expect(ADD[1], "")
        .expect(CREATE, "");
    let esp = prepare(&machine, &array, None, script).await.unwrap();
    assert_eq!(esp.node, "/dev/md1");
    assert_eq!(made(&machine).0, "efi-part");
    assert_eq!(
        esp.members,
        [("/dev/sda".to_owned(), 2), ("/dev/sdb".to_owned(), 2)]
    );
    for name in ["sda", "sdb"] {
        assert_eq!(
            partitions_of(&machine, name),
            [(1, 551, 473, false), (2, 1, 550, true)]
        );
    }
}

#[tokio::test]
async fn disks_with_several_paths_get_their_partitions_as_maps() {
    let (mut machine, array, made) = machine_of_maps();
    let script = Script::new()
        .expect("kpartx -a -s /dev/dm-0", "")
        .expect("kpartx -a -s /dev/dm-1", "")
        .expect(&CREATE.replace("sda2", "dm-4").replace("sdb2", "dm-5"), "");
    let esp = prepare(&machine, &array, None, script).await.unwrap();
    let members = [("/dev/dm-0".to_owned(), 2), ("/dev/dm-1".to_owned(), 2)];
    assert_eq!(esp.members, members);
    for name in ["dm-0", "dm-1"] {
        assert_eq!(partitions_of(&machine, name)[1], (2, 1, 550, true));
    }
    // It is found again, by the partitions' numbers.
    let made: Vec<_> = made.iter().map(String::as_str).collect();
    machine.array("md1", "raid1", 549 * MIB, &made);
    let found = existing(&machine.system(), &array).await.unwrap();
    assert_eq!(found, Some(esp));
}

#[tokio::test]
async fn the_images_files_move_with_their_identity() {
    let (mut machine, array) = machine(true);
    machine.bytes("dev/md0p1", &fat_with("EFI-SYS"));
    let from = machine.path().join(&SOURCE[1..]);
    let to = machine.path().join(&TARGET[1..]);
    fs::create_dir_all(from.join("EFI/BOOT")).unwrap();
    fs::create_dir_all(&to).unwrap();
    fs::write(from.join("EFI/BOOT/BOOTX64.EFI"), "MZ").unwrap();
    let (shown_from, shown_to) = (from.display(), to.display());
    let script = Script::new()
        .expect(ADD[0], "")
        .expect(ADD[1], "")
        .expect(CREATE, "")
        .expect(&format!("mount -t vfat -o ro /dev/md0p1 {shown_from}"), "")
        .expect(&format!("mount -t vfat /dev/md1 {shown_to}"), "")
        .expect(&format!("umount {shown_to}"), "")
        .expect(&format!("umount {shown_from}"), "")
        .expect("wipefs -a /dev/md0p1", "");
    prepare(&machine, &array, Some(&source()), script)
        .await
        .unwrap();
    assert_eq!(fs::read(to.join("EFI/BOOT/BOOTX64.EFI")).unwrap(), b"MZ");
    assert_eq!(
        made(&machine),
        ("EFI-SYS".to_owned(), Some("0B8C-37B6".to_owned()))
    );
}

#[tokio::test]
async fn what_cannot_be_copied_is_not_wiped() {
    let (mut machine, array) = machine(true);
    machine.bytes("dev/md0p1", &fat_with("NO NAME"));
    let from = machine.path().join(&SOURCE[1..]).display().to_string();
    let to = machine.path().join(&TARGET[1..]).display().to_string();
    let refused = RunError::Failed {
        program: "mount".into(),
        command: "mount".into(),
        status: 32,
        stderr: "no".into(),
    };
    let script = Script::new()
        .expect(ADD[0], "")
        .expect(ADD[1], "")
        .expect(CREATE, "")
        .expect(&format!("mount -t vfat -o ro /dev/md0p1 {from}"), "")
        .expect_result(&format!("mount -t vfat /dev/md1 {to}"), Err(refused))
        .expect(&format!("umount {from}"), "");
    let failure = prepare(&machine, &array, Some(&source()), script)
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::SoftwareRaid);
}

/// Makes the second partitions, an EFI system partition or something else, and their mirror.
fn add_mirror(machine: &mut FakeMachine, kind: Guid) {
    let mut members = Vec::new();
    for (name, number) in [("sda", "8:2"), ("sdb", "8:18")] {
        let disk = fs::canonicalize(machine.path().join("sys/class/block").join(name)).unwrap();
        let top = fs::canonicalize(machine.path()).unwrap();
        let disk = disk.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
        let path = machine.path().join("dev").join(name);
        let mut file = File::options().read(true).write(true).open(path).unwrap();
        let mut table = gptman::GPT::read_from(&mut file, 512).unwrap();
        table[2] = gptman::GPTPartitionEntry {
            partition_type_guid: kind.0,
            unique_partition_guid: [3; 16],
            starting_lba: 1100 * 2048,
            ending_lba: 1650 * 2048 - 1,
            attribute_bits: 0,
            partition_name: "".into(),
        };
        gptman::GPT::write_protective_mbr_into(&mut file, 512).unwrap();
        table.write_into(&mut file).unwrap();
        machine.partition(&disk, &format!("{name}2"), number, 550 * MIB);
        members.push(format!("{disk}/{name}2"));
    }
    let members: Vec<_> = members.iter().map(String::as_str).collect();
    machine.array("md127", "raid1", 549 * MIB, &members);
}

#[tokio::test]
async fn a_small_mirror_of_something_else_is_left_alone() {
    let (mut machine, array) = machine(true);
    add_mirror(&mut machine, Guid([9; 16]));
    for name in ["sda3", "sdb3"] {
        machine.file(&format!("dev/{name}"), "");
    }
    let script = Script::new()
        .expect(&ADD[0].replace("2 ", "3 "), "")
        .expect(&ADD[1].replace("2 ", "3 "), "")
        .expect(&CREATE.replace("sda2", "sda3").replace("sdb2", "sdb3"), "");
    let esp = prepare(&machine, &array, None, script).await.unwrap();
    assert_eq!(esp.node, "/dev/md1");
}

#[tokio::test]
async fn a_mirror_that_is_there_is_used_and_loses_what_an_earlier_deployment_left() {
    let (mut machine, array) = machine(true);
    add_mirror(&mut machine, EFI_SYSTEM.gpt);
    let path = machine.path().join("dev/md127");
    let left = fat_with("EARLIER");
    // This image's own partition went there, or this image has none.
    let moved = LocatedPartition {
        is_partition_uuid: true,
        ..source()
    };
    for (source, label) in [(Some(&moved), "EARLIER"), (None, "efi-part")] {
        fs::write(&path, &left).unwrap();
        File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(549 * MIB))
            .unwrap();
        let esp = prepare(&machine, &array, source, Script::new()).await;
        let expected = EspArray {
            node: "/dev/md127".into(),
            members: vec![("/dev/sda".into(), 2), ("/dev/sdb".into(), 2)],
        };
        assert_eq!(esp, Ok(expected));
        assert_eq!(identity_in(&path).0, label);
    }
}

/// The kernel knows it, and it has neither members nor a size.
#[tokio::test]
async fn an_array_that_does_not_run_keeps_its_name() {
    let (mut machine, array) = machine(true);
    machine.directory("sys/block/md1");
    let free = File::create(machine.path().join("dev/md2")).unwrap();
    free.set_len(549 * MIB).unwrap();
    let script = Script::new()
        .expect(ADD[0], "")
        .expect(ADD[1], "")
        .expect(&CREATE.replace("md1", "md2"), "");
    let esp = prepare(&machine, &array, None, script).await.unwrap();
    assert_eq!(esp.node, "/dev/md2");
}

/// What is on the array, with a first partition of this kind, and on the mirror on its disks.
fn add_image_and_mirror(machine: &mut FakeMachine, kind: Guid) {
    add_mirror(machine, EFI_SYSTEM.gpt);
    let mut disk = std::io::Cursor::new(vec![0; 8 << 20]);
    let mut table = gptman::GPT::new_from(&mut disk, 512, [7; 16]).unwrap();
    table[1] = gptman::GPTPartitionEntry {
        partition_type_guid: kind.0,
        unique_partition_guid: [2; 16],
        starting_lba: 2048,
        ending_lba: 4095,
        attribute_bits: 0,
        partition_name: "".into(),
    };
    gptman::GPT::write_protective_mbr_into(&mut disk, 512).unwrap();
    table.write_into(&mut disk).unwrap();
    machine.bytes("dev/md0", &disk.into_inner());
    let mut mirror = fat(*b"esp        ");
    mirror[38] = 0x29;
    mirror[39..43].copy_from_slice(&0x0b8c_37b6_u32.to_le_bytes());
    machine.bytes("dev/md127", &mirror);
    machine.bytes("run/ironic-agent/esp/EFI/BOOT/BOOTX64.EFI", b"MZ");
}

/// The image's own partition is empty since then, or not even marked; its files and its identity
/// are on the mirror.
#[tokio::test]
async fn an_array_is_made_bootable_twice() {
    let identity = Some("0B8C-37B6");
    for (kind, named) in [
        (EFI_SYSTEM.gpt, None),
        (EFI_SYSTEM.gpt, identity),
        (Guid([9; 16]), identity),
    ] {
        let (mut machine, array) = machine(true);
        add_image_and_mirror(&mut machine, kind);
        let place = machine.path().join("run/ironic-agent/esp");
        let mut script = Script::new()
            .expect("efibootmgr --version", "version 18")
            .expect(
                &format!("mount -t vfat -o ro /dev/md127 {}", place.display()),
                "",
            )
            .expect(&format!("umount {}", place.display()), "");
        for (index, name) in ["sda", "sdb"].iter().enumerate() {
            let make = format!(
                "efibootmgr -v -c -d /dev/{name} -p 2 -w -L ironic1 (RAID, part{index}) -l \
                 \\EFI\\BOOT\\BOOTX64.EFI"
            );
            script = script.expect("efibootmgr -v", "").expect(&make, "");
        }
        let script = Arc::new(script.expect("sync", ""));
        let system = machine.system_with(script.clone());
        let task = Task::detached();
        let done = crate::disk::boot::efi::install(&system, &array, named, &task).await;
        let made = crate::disk::boot::efi::Entries::Made;
        assert_eq!(done.unwrap(), made, "{named:?}");
        script.assert_done();
    }
}

/// The mirror on the disks is of an earlier deployment.
#[tokio::test]
async fn an_image_without_loaders_does_not_boot_those_of_the_last() {
    for named in [None, Some("4C65-6674")] {
        let (mut machine, array) = machine(true);
        add_image_and_mirror(&mut machine, Guid([9; 16]));
        let script = Arc::new(Script::new().expect("efibootmgr --version", "version 18"));
        let system = machine.system_with(script.clone());
        let task = Task::detached();
        let done = crate::disk::boot::efi::install(&system, &array, named, &task).await;
        let is_missing = matches!(done, Err(BootError::NoEfiSystemPartition { .. }));
        assert!(is_missing, "{done:?}");
        script.assert_done();
    }
}

#[tokio::test]
async fn no_disk_is_changed_when_one_has_no_table() {
    let (machine, array) = machine(false);
    let before = fs::read(machine.path().join("dev/sda")).unwrap();
    let failure = prepare(&machine, &array, None, Script::new())
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::SoftwareRaid);
    assert!(
        failure
            .details
            .contains("/dev/sda: it has no GUID partition table"),
        "{failure}"
    );
    assert!(before == fs::read(machine.path().join("dev/sda")).unwrap());
}

#[tokio::test]
async fn a_bios_gets_its_partition_once() {
    let (machine, array) = machine(true);
    for added in [&ADD[..], &[]] {
        let script = added
            .iter()
            .fold(Script::new(), |script, add| script.expect(add, ""));
        let script = Arc::new(script);
        let system = machine.system_with(script.clone());
        let disks = prepare_bios(&system, &array).await.unwrap();
        script.assert_done();
        assert_eq!(disks, ["/dev/sda", "/dev/sdb"]);
        for name in ["sda", "sdb"] {
            assert_eq!(
                partitions_of(&machine, name),
                [(1, 551, 473, false), (2, 1, 2, false)]
            );
        }
    }
}

#[test]
fn gaps_are_found_in_front_between_and_behind() {
    let taken = |ranges: &[(u64, u64)]| -> Vec<Partition> {
        ranges
            .iter()
            .map(|(offset, size)| Partition {
                number: 1,
                offset: offset * MIB,
                size: size * MIB,
                is_efi_system: false,
                guid: None,
            })
            .collect()
    };
    for (ranges, size, start) in [
        (&[][..], 10, Some(1)),
        (&[(551, 400)], 550, Some(1)),
        (&[(551, 400)], 551, None),
        (&[(1, 10), (50, 50)], 39, Some(11)),
        (&[(50, 50), (1, 10)], 40, Some(100)),
        (&[(1, 99)], 900, Some(100)),
        (&[(1, 99)], 901, None),
        (&[(1, 999)], 1, None),
    ] {
        let found = gap(&taken(ranges), MIB, 1000 * MIB, size * MIB);
        assert_eq!(found.map(|bytes| bytes / MIB), start, "{ranges:?} {size}");
    }
}

#[test]
fn names_of_arrays_are_taken_in_their_order() {
    let taken = ["/dev/md0", "/dev/md1", "/dev/md3"];
    let free = free_name(|name| taken.contains(&name));
    assert_eq!(free.as_deref(), Some("/dev/md2"));
    assert_eq!(free_name(|_| true), None);
}

#[test]
fn labels_that_programs_would_misread_are_not_copied() {
    for (label, portable) in [
        ("EFI-SYS", true),
        ("-n", false),
        ("", false),
        ("a\n", false),
    ] {
        assert_eq!(is_portable(label), portable, "{label}");
    }
}
