//! Making UEFI firmware boot what was written: the boot loaders on the EFI system partition
//! become entries of the firmware's boot menu.

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::boot::entry;
use crate::disk::boot::loader::{self, Found, Loader, Machine};
use crate::disk::boot::place::Layout;
use crate::disk::boot::raid::{self, EspArray};
use crate::disk::filesystem::identity;
use crate::disk::filesystem::mount::{mount, unmount};
use crate::disk::partition::device;
use crate::disk::partition::table::{Partition, Table};
use crate::failure::{Failure, FailureKind};
use crate::machine::block::{BlockDevice, Kind};
use crate::system::{Cmd, Disk, RunError, System};
use crate::task::Task;

/// Where the partition is mounted.
const MOUNT_POINT: &str = "/run/ironic-agent/esp";
/// Whether the firmware is one of 64 bits.
const FIRMWARE_BITS: &str = "/sys/firmware/efi/fw_platform_size";
/// Where the firmware's variables are.
const VARIABLES: &str = "/sys/firmware/efi/efivars";

/// What became of making the firmware boot a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entries {
    /// The firmware has entries for the loaders.
    Made,
    /// The EFI system partition holds no loader that this machine could start. Nothing was
    /// changed.
    NoLoader,
    /// The program that speaks to the firmware is not installed. Nothing was looked at.
    NoProgram,
}

/// Finds the boot loaders on the EFI system partition of `device` and enters them into the
/// firmware's boot menu.
///
/// # Errors
/// No EFI system partition, or the firmware's variables cannot be written.
pub async fn install(
    system: &System,
    device: &BlockDevice,
    efi_system_part_uuid: Option<&str>,
    task: &Task,
) -> Result<Entries, Failure> {
    let name = &device.name;
    task.check()?;
    match system
        .run
        .run(Cmd::new("efibootmgr").arg("--version"))
        .await
    {
        Ok(_) => {}
        Err(RunError::Missing { program }) => {
            task.warn(format!(
                "{program} is not installed: the firmware learns nothing about {name}"
            ));
            return Ok(Entries::NoProgram);
        }
        Err(error) => return Err(failed(name, error)),
    }
    device::announce(system, name).await;
    let esp = find_esp(system, device, efi_system_part_uuid).await?;
    let node = match &esp {
        Esp::Own(number) => device::of(system, name, *number),
        Esp::Moved(array) => array.node.clone(),
    };
    let Found { loaders, left_out } = find_loaders(system, name, &node).await?;
    for why in left_out {
        task.warn(format!("the EFI system partition {node}: {why}"));
    }
    if loaders.is_empty() {
        task.warn(format!(
            "the EFI system partition {node} holds no boot loader that this machine can start"
        ));
        return Ok(Entries::NoLoader);
    }
    let targets = match esp {
        Esp::Own(number) => targets(system, device, number, task).await?,
        Esp::Moved(array) => on_members(array.members).collect(),
    };
    let mut entered = Ok(());
    for target in &targets {
        entered = enter(system, name, target, &loaders, task).await;
        if entered.is_err() {
            break;
        }
    }
    // Firmware may be reset right after this command.
    let synced = system.run.run(Cmd::new("sync")).await;
    entered?;
    synced.map_err(|error| failed(name, error))?;
    task.phase(format!("boot entries for {name} made"));
    Ok(Entries::Made)
}

/// What the firmware is told about: a disk, the partition on it, and what tells its entries
/// from those of the other disks of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    disk: String,
    number: u32,
    suffix: String,
}

/// Where the loaders are that the firmware can read. Those of an array it cannot: they move
/// to all of its disks first.
async fn targets(
    system: &System,
    device: &BlockDevice,
    number: u32,
    task: &Task,
) -> Result<Vec<Target>, Failure> {
    if device.kind != Kind::Raid {
        return Ok(vec![Target {
            disk: device.name.clone(),
            number,
            suffix: String::new(),
        }]);
    }
    let layout = Layout::read(system, &device.name).await?;
    let source = layout.numbered(number);
    let array = raid::prepare_uefi(system, device, source.as_ref(), task).await?;
    Ok(on_members(array.members).collect())
}

/// Where the EFI system partition is.
enum Esp {
    /// The partition of this number.
    Own(u32),
    /// Where it went when the array was made bootable before.
    Moved(EspArray),
}

/// Finds the EFI system partition. One on the array's disks counts only if it is this image's:
/// the image's own has lost its file system, or the one there has the identity that is asked
/// for. An earlier deployment may have left another.
async fn find_esp(
    system: &System,
    device: &BlockDevice,
    uuid: Option<&str>,
) -> Result<Esp, Failure> {
    let is_array = device.kind == Kind::Raid;
    let number = match (find_partition(system, &device.name, uuid).await, uuid) {
        (Ok(partition), _) => partition.number,
        (Err(failure), Some(uuid)) if is_array && failure.kind == FailureKind::DeviceNotFound => {
            let moved = raid::moved(system, device, uuid).await?;
            return moved.map(Esp::Moved).ok_or(failure);
        }
        (Err(failure), _) => return Err(failure),
    };
    if is_array {
        let layout = Layout::read(system, &device.name).await?;
        let own = layout.numbered(number);
        if own.is_none_or(|place| place.is_partition_uuid)
            && let Some(array) = raid::existing(system, device).await?
        {
            return Ok(Esp::Moved(array));
        }
    }
    Ok(Esp::Own(number))
}

/// An array has an entry for each of its disks.
fn on_members(members: Vec<(String, u32)>) -> impl Iterator<Item = Target> {
    let numbered = (0..).zip(members);
    numbered.map(|(index, (disk, number)): (u32, _)| Target {
        disk,
        number,
        suffix: format!(" (RAID, part{index})"),
    })
}

async fn find_partition(
    system: &System,
    name: &str,
    uuid: Option<&str>,
) -> Result<Partition, Failure> {
    let disks = Arc::clone(&system.disks);
    let (path, uuid) = (PathBuf::from(name), uuid.map(str::to_owned));
    let read = tokio::task::spawn_blocking(move || -> Result<_, String> {
        // Not alone: the partitions of a map claim it.
        let mut disk = disks
            .open_shared(&path)
            .map_err(|error| error.to_string())?;
        // The partition's node must be there when it is mounted.
        disk.reread_table().map_err(|error| error.to_string())?;
        let partitions = partitions(disk.as_mut())?;
        let chosen = choose(&partitions, uuid.as_deref());
        // Ironic names it by its file system, where we made it.
        let named = || {
            let mut known = partitions.iter().copied();
            known.find(|partition| {
                let found = identity::read(disk.as_mut(), partition.offset, partition.size);
                let found = found.ok().flatten();
                found
                    .zip(uuid.as_ref())
                    .is_some_and(|(found, uuid)| found.eq_ignore_ascii_case(uuid))
            })
        };
        Ok(chosen.or_else(named))
    });
    let chosen = read
        .await
        .map_err(|error| failed(name, error))?
        .map_err(|error| failed(name, error))?;
    chosen.ok_or_else(|| {
        Failure::new(
            FailureKind::DeviceNotFound,
            format!(
                "No EFI partition could be detected on device {name} and EFI partition UUID has \
                 not been recorded during deployment (which is often the case for whole disk \
                 images). Are you using a UEFI-compatible image?"
            ),
        )
    })
}

pub(crate) fn partitions(disk: &mut dyn Disk) -> Result<Vec<Partition>, String> {
    let sector_size = disk.geometry().sector_size;
    let table = Table::read(disk).map_err(|error| error.to_string())?;
    Ok(table
        .map(|table| table.partitions(sector_size))
        .unwrap_or_default())
}

/// The partition that is marked as what it is, else the one that was named.
fn choose(partitions: &[Partition], uuid: Option<&str>) -> Option<Partition> {
    let named = |partition: &&Partition| {
        partition
            .guid
            .zip(uuid)
            .is_some_and(|(guid, uuid)| guid.to_string().eq_ignore_ascii_case(uuid))
    };
    partitions
        .iter()
        .find(|partition| partition.is_efi_system)
        .or_else(|| partitions.iter().find(named))
        .copied()
}

/// Mounts the partition read-only, looks, and unmounts it again.
async fn find_loaders(system: &System, name: &str, node: &str) -> Result<Found, Failure> {
    let bits = system.root.read_optional(FIRMWARE_BITS);
    let firmware = Machine::of_firmware(std::env::consts::ARCH, bits.as_deref());
    let mounted = mount(system, &["-t", "vfat", "-o", "ro"], node, MOUNT_POINT).await;
    let mounted = mounted.map_err(|error| failed(name, error))?;
    let found = tokio::task::spawn_blocking(move || loader::search(&mounted, firmware)).await;
    let unmounted = unmount(system, MOUNT_POINT).await;
    let found = found.map_err(|error| failed(name, error))?;
    unmounted.map_err(|error| failed(name, error))?;
    found.map_err(|error| failed(name, format_args!("{node}: {error}")))
}

/// Replaces the entries of these labels. Deletions come first: some firmware takes back what
/// was added before a deletion.
async fn enter(
    system: &System,
    name: &str,
    target: &Target,
    loaders: &[Loader],
    task: &Task,
) -> Result<(), Failure> {
    let run = async |args: &[&str]| {
        let cmd = Cmd::new("efibootmgr").args(args.iter().copied());
        system
            .run
            .run(cmd)
            .await
            .map_err(|error| failed(name, error))
    };
    if system.root.exists(VARIABLES) && system.root.names(VARIABLES).is_empty() {
        let mount = ["-t", "efivarfs", "efivarfs", VARIABLES];
        // If that fails, efibootmgr says so better.
        let _ = system.run.run(Cmd::new("mount").args(mount)).await;
    }
    let number = target.number.to_string();
    for loader in loaders {
        let label = format!("{}{}", loader.label, target.suffix);
        let entries = entry::parse(&run(&["-v"]).await?.stdout);
        for entry in entries.iter().filter(|entry| entry.label == label) {
            run(&["-b", &entry.number, "-B"]).await?;
            task.say(format!("boot entry {} {label} removed", entry.number));
        }
        let place = ["-v", "-c", "-d", &target.disk, "-p", &number, "-w"];
        let what = ["-L", &label, "-l", &loader.path];
        let made = run(&[&place[..], &what[..]].concat()).await?;
        task.say(format!("boot entry {label} for {} made", loader.path));
        let entries = entry::parse(&made.stdout);
        if !entries.iter().any(|entry| entry.label == label) {
            task.warn(format!(
                "the firmware does not list the boot entry {label} after it was made"
            ));
        }
    }
    Ok(())
}

fn failed(name: &str, error: impl std::fmt::Display) -> Failure {
    Failure::execution(format!(
        "Could not configure UEFI boot on device {name}: {error}"
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::system::process::{Output, Script};
    use ironic_ondisk::partition_table::gpt::EFI_SYSTEM;
    use ironic_ondisk::partition_table::guid::Guid;

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
        let script = Arc::new(script);
        let system = System {
            run: script.clone(),
            root: crate::system::PathPrefix::new(dir.path()),
            ..System::linux()
        };
        let result = install(&system, device, uuid, &Task::detached()).await;
        script.assert_done();
        result
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
        let (dir, device) = machine(EFI_SYSTEM);
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
        let (dir, device) = machine(EFI_SYSTEM);
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
        let (dir, device) = machine(EFI_SYSTEM);
        assert_eq!(
            run(&dir, &device, None, mounted(&dir, &device)).await,
            Ok(Entries::NoLoader)
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
        assert_eq!(named, Ok(Entries::NoLoader));
        // So does that of its file system, by which Ironic knows what was made here.
        let mut disk = fs::read(&device.name).unwrap();
        let fat = crate::machine::block::guarded_filesystem::tests::fat(*b"NO NAME    ");
        disk[MIB..2 * MIB].copy_from_slice(&fat);
        disk[MIB + 38] = 0x29;
        disk[MIB + 39..MIB + 43].copy_from_slice(&0x0b8c_37b6_u32.to_le_bytes());
        fs::write(&device.name, disk).unwrap();
        let named = run(&dir, &device, Some("0b8c-37b6"), mounted(&dir, &device)).await;
        assert_eq!(named, Ok(Entries::NoLoader));
        run(&dir, &device, Some("0b8c-37b7"), version())
            .await
            .unwrap_err();
    }

    #[tokio::test]
    async fn only_the_type_makes_an_efi_system_partition() {
        // Partition 1 of a master boot record, which firmware may boot from.
        let boots = |kind: u8| {
            let (dir, device) = machine(EFI_SYSTEM);
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
            Ok(Entries::NoLoader)
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
            let entered = enter(&system, "/dev/md0", target, &loaders, &Task::detached()).await;
            entered.unwrap();
        }
        script.assert_done();
    }

    #[tokio::test]
    async fn what_fails_after_mounting_is_unmounted_and_told() {
        let (dir, device) = machine(EFI_SYSTEM);
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
        let (dir, device) = machine(EFI_SYSTEM);
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
        let (dir, device) = machine(EFI_SYSTEM);
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
                &format!(
                    "efibootmgr -v -c -d {disk} -p 3 -w -L debian -l \\EFI\\debian\\SHIMX64.EFI"
                ),
                "",
            )
            .expect("sync", "");
        assert_eq!(run(&dir, &device, None, script).await, Ok(Entries::Made));
    }
}
