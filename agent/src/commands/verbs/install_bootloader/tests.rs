use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::commands::testing;
use crate::config::AgentConfig;
use crate::machine::ironic_node::Node;
use crate::machine::testing::FakeMachine;
use crate::system::RunError;
use crate::system::process::Script;

const GIB: u64 = 1 << 30;
const ROOT_UUID: &str = "11111111-1111-1111-1111-111111111111";

/// A machine with one disk of two partitions, the first for EFI, the second the root.
struct Machine {
    fake: FakeMachine,
    config: AgentConfig,
    arguments: InstallBootloader,
    wrote: Value,
    node: Node,
}

impl Machine {
    fn new(is_uefi: bool) -> Self {
        let mut fake = FakeMachine::new();
        fake.sata_disk("sda", 8 * GIB, 1);
        fake.directory("dev");
        if is_uefi {
            fake.directory("sys/firmware/efi");
        }
        let path = fake.path().join("dev/sda");
        let mut file = std::fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .unwrap();
        file.set_len(GIB).unwrap();
        let mut table = gptman::GPT::new_from(&mut file, 512, [7; 16]).unwrap();
        let kinds = [
            ironic_ondisk::partition_table::kinds::EFI_SYSTEM.gpt.0,
            [9; 16],
        ];
        for (number, kind) in (1..).zip(kinds) {
            table[number] = gptman::GPTPartitionEntry {
                partition_type_guid: kind,
                unique_partition_guid: [if number == 2 { 0x11 } else { 0x22 }; 16],
                starting_lba: u64::from(number) * 409_600,
                ending_lba: u64::from(number) * 409_600 + 409_599,
                attribute_bits: 0,
                partition_name: "".into(),
            };
        }
        gptman::GPT::write_protective_mbr_into(&mut file, 512).unwrap();
        table.write_into(&mut file).unwrap();
        gptman::GPT::write_protective_mbr_into(&mut file, 512).unwrap();
        Self {
            fake,
            config: AgentConfig::default(),
            arguments: InstallBootloader {
                root_uuid: ROOT_UUID.into(),
                efi_system_part_uuid: None,
                prep_boot_part_uuid: None,
                target_boot_mode: if is_uefi { "uefi" } else { "bios" }.into(),
                ignore_bootloader_failure: None,
            },
            wrote: json!({}),
            node: Node::default(),
        }
    }

    /// Two disks without a GPT whose first partitions are `md0`, on which the image is.
    fn with_array() -> Self {
        let mut machine = Self::new(false);
        let image = machine.fake.path().join("dev/sda");
        std::fs::rename(image, machine.fake.path().join("dev/md0")).unwrap();
        let mut members = Vec::new();
        for (index, name) in (0..).zip(["sdb", "sdc"]) {
            let disk = machine.fake.sata_disk(name, 8 * GIB, index + 2);
            let member = format!("{name}1");
            let numbers = format!("8:{}", 16 * (index + 1) + 1);
            machine.fake.partition(&disk, &member, &numbers, 7 * GIB);
            members.push(format!("{disk}/{member}"));
            machine.fake.file(&format!("dev/{name}"), &" ".repeat(512));
        }
        let members: Vec<_> = members.iter().map(String::as_str).collect();
        machine.fake.array("md0", "raid1", 7 * GIB, &members);
        let properties = json!({"root_device": {"name": "/dev/md0"}});
        machine.node.0.insert("properties".into(), properties);
        machine
    }

    fn inside(&self, place: &str) -> String {
        self.fake.path().join(place).display().to_string()
    }

    /// How the firmware learns what is on the EFI system partition.
    fn looks(&self, script: Script) -> Script {
        let esp = self.inside("run/ironic-agent/esp");
        script
            .expect("efibootmgr --version", "version 18")
            .expect(&format!("mount -t vfat -o ro /dev/sda1 {esp}"), "")
            .expect(&format!("umount {esp}"), "")
    }

    /// What happens when the image's GRUB is installed on disks.
    fn grub(&self, node: &str, disks: &[&str], seen: &str) -> Script {
        let root = self.inside("run/ironic-agent/root");
        let mut script = Script::new().expect(&format!("mount -o nodev,nosuid {node} {root}"), "");
        // It sees what it is for, by the names that it knows, and no other disk.
        let partitions = node.trim_end_matches(|digit: char| digit.is_ascii_digit());
        let names = [("1", 2), ("2", 1)].map(|(digit, number)| {
            let uuid = [8, 4, 4, 4, 12]
                .map(|length| digit.repeat(length))
                .join("-");
            format!("/dev/disk/by-partuuid/{uuid}={partitions}{number}")
        });
        let chroot = format!(
            "unshare -m -u -i -p -n -f {} run-in-image {root} {seen} {} --",
            std::env::current_exe().unwrap().display(),
            names.join(" "),
        );
        for disk in disks {
            script = script.expect(&format!("{chroot} grub-install {disk}"), "");
        }
        script = script.expect(
            &format!(
                "{chroot} GRUB_DISABLE_OS_PROBER=true GRUB_SAVEDEFAULT=true grub-mkconfig -o \
                 /boot/grub/grub.cfg"
            ),
            "",
        );
        script.expect(&format!("umount {root}"), "")
    }

    async fn install(&self, script: Script) -> Result<Value, Failure> {
        let script = Arc::new(script);
        let mut place = testing::context(self.config.clone());
        place.system = self.fake.system_with(script.clone());
        place.node.remember(self.node.clone());
        if let Value::Object(uuids) = &self.wrote {
            place.installed.remember(uuids.clone());
        }
        let verb = self.arguments.clone();
        let done = verb.run(&place, &Task::detached()).await;
        script.assert_done();
        done
    }
}

fn refused(program: &str) -> RunError {
    RunError::Failed {
        program: program.into(),
        command: program.into(),
        status: 1,
        stderr: "no".into(),
    }
}

fn is_disabled(done: Result<Value, Failure>) {
    let failure = done.unwrap_err();
    assert_eq!(failure.kind, FailureKind::InvalidImage);
    assert!(failure.details.contains("CVE-2026-43003"), "{failure}");
}

#[tokio::test]
async fn grub_is_not_run_unless_the_operator_allows_it() {
    is_disabled(Machine::new(false).install(Script::new()).await);
    let mut machine = Machine::new(false);
    machine.arguments.ignore_bootloader_failure = Some(true);
    assert_eq!(machine.install(Script::new()).await, Ok(Value::Null));
    // The order's word wins over the configuration's.
    let mut machine = Machine::new(false);
    machine.config.ignore_bootloader_failure = Some(true);
    machine.arguments.ignore_bootloader_failure = Some(false);
    is_disabled(machine.install(Script::new()).await);
}

#[tokio::test]
async fn whole_disks_bring_their_own() {
    for root in ["", "0x00000000"] {
        let mut machine = Machine::new(false);
        machine.arguments.root_uuid = root.into();
        assert_eq!(machine.install(Script::new()).await, Ok(Value::Null));
    }
    let mut machine = Machine::new(false);
    machine.wrote = json!({"root uuid": ROOT_UUID});
    assert_eq!(machine.install(Script::new()).await, Ok(Value::Null));
    let mut machine = Machine::new(false);
    machine.wrote = json!({"root uuid": ROOT_UUID, "partitions": {}});
    is_disabled(machine.install(Script::new()).await);
}

#[tokio::test]
async fn an_allowed_grub_runs_in_the_image_on_a_bios_machine() {
    let mut machine = Machine::new(false);
    machine.config.enable_bios_bootloader_install = true;
    let script = machine.grub("/dev/sda2", &["/dev/sda"], "/dev/sda /dev/sda2");
    assert_eq!(machine.install(script).await, Ok(Value::Null));
}

/// Firmware would find nothing to start, whatever Ironic knows of the image.
#[tokio::test]
async fn a_whole_disk_without_a_loader_is_no_deployment() {
    for (root, wrote) in [
        ("", json!({})),
        ("0x00000000", json!({})),
        (ROOT_UUID, json!({"root uuid": ROOT_UUID})),
    ] {
        let mut machine = Machine::new(true);
        machine.arguments.root_uuid = root.into();
        machine.wrote = wrote;
        let script = machine.looks(Script::new());
        let failure = machine.install(script).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::InvalidImage);
        assert!(
            failure
                .details
                .contains("holds no boot loader that this machine can start"),
            "{failure}"
        );
        machine.arguments.ignore_bootloader_failure = Some(true);
        let script = machine.looks(Script::new());
        assert_eq!(machine.install(script).await, Ok(Value::Null));
    }
}

/// It ran, and its own words say that all is well.
#[tokio::test]
async fn a_grub_that_installed_nothing_is_no_deployment() {
    let mut machine = Machine::new(true);
    machine.config.enable_bios_bootloader_install = true;
    let root = machine.inside("run/ironic-agent/root");
    let script = machine
        .looks(Script::new())
        .expect(
            &format!("mount -o nodev,nosuid,noexec /dev/sda2 {root}"),
            "",
        )
        .expect(&format!("umount {root}"), "");
    let names = [("1", 2), ("2", 1)].map(|(digit, number)| {
        let uuid = [8, 4, 4, 4, 12]
            .map(|length| digit.repeat(length))
            .join("-");
        format!("/dev/disk/by-partuuid/{uuid}=/dev/sda{number}")
    });
    let chroot = format!(
        "unshare -m -u -i -p -n -f {} run-in-image {root} /dev/sda /dev/sda1 /dev/sda2 {} \
         --efi-system=/dev/sda1 --",
        std::env::current_exe().unwrap().display(),
        names.join(" "),
    );
    let script = script
        .expect(&format!("mount -o nodev,nosuid /dev/sda2 {root}"), "")
        .expect(&format!("{chroot} grub-install"), "")
        .expect(&format!("{chroot} grub-install --removable"), "")
        .expect(
            &format!(
                "{chroot} GRUB_DISABLE_OS_PROBER=true GRUB_SAVEDEFAULT=true grub-mkconfig -o \
                 /boot/grub/grub.cfg"
            ),
            "",
        )
        .expect(&format!("umount {root}"), "");
    let script = machine.looks(script);
    let failure = machine.install(script).await.unwrap_err();
    assert!(
        failure.details.contains("holds no boot loader"),
        "{failure}"
    );
}

/// Firmware starts what is on the disks, and Ironic may know no more than the identifier of
/// the image's table.
#[tokio::test]
async fn a_whole_disk_on_an_array_gets_grub_on_each_disk() {
    let mut machine = Machine::with_array();
    machine.arguments.root_uuid = "0x4c414221".into();
    machine.wrote = json!({"root uuid": "0x4c414221"});
    is_disabled(machine.install(Script::new()).await);
    machine.config.enable_bios_bootloader_install = true;
    let script = machine.grub(
        "/dev/md0p1",
        &["/dev/sdb", "/dev/sdc"],
        "/dev/md0 /dev/md0p1 /dev/sdb /dev/sdb1 /dev/sdc /dev/sdc1",
    );
    assert_eq!(machine.install(script).await, Ok(Value::Null));
}

#[tokio::test]
async fn a_disk_with_boot_code_is_left_alone() {
    use std::io::Write;
    let mut machine = Machine::new(false);
    machine.config.enable_bios_bootloader_install = true;
    let path = machine.fake.path().join("dev/sda");
    let mut file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all(b"\xeb\x63\x90").unwrap();
    assert_eq!(machine.install(Script::new()).await, Ok(Value::Null));
}

#[tokio::test]
async fn a_partition_image_boots_by_uefi_from_the_files_that_it_brought() {
    let mut machine = Machine::new(true);
    let root = machine.inside("run/ironic-agent/root");
    let esp = machine.inside("run/ironic-agent/esp-copy");
    let assets = "run/ironic-agent/root/boot/efi/EFI/BOOT/BOOTX64.EFI";
    machine.fake.bytes(assets, b"MZ");
    // One partition, seen at two places.
    machine
        .fake
        .directory("run/ironic-agent/esp-copy")
        .link("run/ironic-agent/esp", "run/ironic-agent/esp-copy");
    let script = machine
        .looks(Script::new())
        .expect(
            &format!("mount -o nodev,nosuid,noexec /dev/sda2 {root}"),
            "",
        )
        .expect(&format!("mount -t vfat /dev/sda1 {esp}"), "")
        .expect(&format!("umount {esp}"), "")
        .expect(&format!("umount {root}"), "");
    let script = machine
        .looks(script)
        .expect("efibootmgr -v", "")
        .expect(
            "efibootmgr -v -c -d /dev/sda -p 1 -w -L ironic1 -l \\EFI\\BOOT\\BOOTX64.EFI",
            "",
        )
        .expect("sync", "");
    assert_eq!(machine.install(script).await, Ok(Value::Null));
}

/// A ramdisk that was booted by a BIOS, or by network boot without UEFI, serves machines that
/// boot by UEFI afterwards: Ironic names the mode.
fn for_uefi_from_bios() -> Machine {
    let mut machine = Machine::new(false);
    machine.arguments.target_boot_mode = "UEFI".into();
    machine
}

#[tokio::test]
async fn a_ramdisk_booted_by_bios_installs_for_the_mode_that_ironic_names() {
    let look = |machine: &Machine| {
        let root = machine.inside("run/ironic-agent/root");
        Script::new()
            .expect(
                &format!("mount -o nodev,nosuid,noexec /dev/sda2 {root}"),
                "",
            )
            .expect(&format!("umount {root}"), "")
    };
    // Without permission its GRUB is not run for this mode either.
    let machine = for_uefi_from_bios();
    is_disabled(machine.install(look(&machine)).await);

    let mut machine = for_uefi_from_bios();
    machine.config.enable_bios_bootloader_install = true;
    let root = machine.inside("run/ironic-agent/root");
    let (one, two) = (
        "11111111-1111-1111-1111-111111111111",
        "22222222-2222-2222-2222-222222222222",
    );
    let chroot = format!(
        "unshare -m -u -i -p -n -f {} run-in-image {root} /dev/sda /dev/sda1 /dev/sda2 \
         /dev/disk/by-partuuid/{one}=/dev/sda2 /dev/disk/by-partuuid/{two}=/dev/sda1 \
         --efi-system=/dev/sda1 --",
        std::env::current_exe().unwrap().display(),
    );
    let install = format!("{chroot} grub-install --target={UEFI_PLATFORM} --no-nvram");
    let script = look(&machine)
        .expect(&format!("mount -o nodev,nosuid /dev/sda2 {root}"), "")
        .expect(&install, "")
        .expect(&format!("{install} --removable"), "")
        .expect(
            &format!(
                "{chroot} GRUB_DISABLE_OS_PROBER=true GRUB_SAVEDEFAULT=true grub-mkconfig -o \
                 /boot/grub/grub.cfg"
            ),
            "",
        )
        .expect(&format!("umount {root}"), "");
    assert_eq!(machine.install(script).await, Ok(Value::Null));

    // A BIOS stays a BIOS.
    for mode in ["bios", "BIOS", ""] {
        let mut machine = Machine::new(false);
        machine.arguments.target_boot_mode = mode.into();
        is_disabled(machine.install(Script::new()).await);
    }
}

/// Firmware without an entry starts what is at one place.
#[tokio::test]
async fn without_firmware_entries_the_files_of_an_image_must_have_the_fallback_loader() {
    for (file, boots) in [("BOOT/BOOTX64.EFI", true), ("debian/shimx64.efi", false)] {
        let mut machine = for_uefi_from_bios();
        let root = machine.inside("run/ironic-agent/root");
        let esp = machine.inside("run/ironic-agent/esp-copy");
        let assets = format!("run/ironic-agent/root/boot/efi/EFI/{file}");
        machine.fake.bytes(&assets, b"MZ");
        machine.fake.directory("run/ironic-agent/esp-copy");
        let script = Script::new()
            .expect(
                &format!("mount -o nodev,nosuid,noexec /dev/sda2 {root}"),
                "",
            )
            .expect(&format!("mount -t vfat /dev/sda1 {esp}"), "")
            .expect(&format!("umount {esp}"), "")
            .expect(&format!("umount {root}"), "")
            .expect(&format!("mount -t vfat -o ro /dev/sda1 {esp}"), "")
            .expect(&format!("umount {esp}"), "");
        let done = machine.install(script).await;
        if boots {
            assert_eq!(done, Ok(Value::Null));
        } else {
            is_disabled(done);
        }
    }
}

#[tokio::test]
async fn a_partition_image_without_such_files_needs_grub() {
    let machine = Machine::new(true);
    let root = machine.inside("run/ironic-agent/root");
    let script = machine
        .looks(Script::new())
        .expect(
            &format!("mount -o nodev,nosuid,noexec /dev/sda2 {root}"),
            "",
        )
        .expect(&format!("umount {root}"), "");
    let failure = machine.install(script).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::InvalidImage);
    for text in [
        "The image brings no EFI boot loader",
        "/boot/efi/EFI",
        "enable_bios_bootloader_install",
        "CVE-2026-43003",
    ] {
        assert!(failure.details.contains(text), "{failure}");
    }
    assert!(!failure.details.contains("legacy"), "{failure}");
}

#[tokio::test]
async fn the_firmwares_refusal_may_be_ignored_and_the_rest_is_still_tried() {
    let mut machine = Machine::new(true);
    let version = || Script::new().expect_result("efibootmgr --version", Err(refused("x")));
    let failure = Machine::new(true).install(version()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::CommandExecution);
    machine.arguments.ignore_bootloader_failure = Some(true);
    let root = machine.inside("run/ironic-agent/root");
    let script = version()
        .expect(
            &format!("mount -o nodev,nosuid,noexec /dev/sda2 {root}"),
            "",
        )
        .expect(&format!("umount {root}"), "");
    assert_eq!(machine.install(script).await, Ok(Value::Null));
}

#[tokio::test]
async fn without_efibootmgr_the_decision_is_grubs() {
    let missing = RunError::Missing {
        program: "efibootmgr".into(),
    };
    let mut machine = Machine::new(true);
    machine.arguments.root_uuid = String::new();
    let script = Script::new().expect_result("efibootmgr --version", Err(missing));
    assert_eq!(machine.install(script).await, Ok(Value::Null));
}
