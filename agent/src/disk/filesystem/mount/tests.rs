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
        let mount_point = machine.path().join("mnt").display().to_string();
        let script = Arc::new(
            Script::new()
                .expect(
                    &format!("mount -t {kind} -o ro /dev/sda1 {mount_point}"),
                    "",
                )
                .expect(&format!("mount -t sysfs /dev/sda1 {mount_point}"), "")
                .expect(&format!("mount -o bind /dev/sda1 {mount_point}"), "")
                .expect(&format!("mount -o ro LABEL=x {mount_point}"), ""),
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
    let mount_point = machine.path().join("mnt").display().to_string();
    (machine, mount_point)
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
        let (machine, mount_point) = btrfs(directories);
        let mut script = Script::new().expect(
            &format!("mount -t btrfs -o nodev /dev/sda1 {mount_point}"),
            "",
        );
        if let Some(name) = subvolume {
            let mount = format!("mount -t btrfs -o nodev,subvol={name} /dev/sda1 {mount_point}");
            script = script
                .expect(&format!("umount {mount_point}"), "")
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
        let (mut machine, mount_point) = btrfs(&[]);
        machine.file("proc/filesystems", loaded);
        let mount_line = format!("mount -t btrfs -o ro /dev/sda1 {mount_point}");
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
