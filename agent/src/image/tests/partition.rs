//! Partition images: what is around them, and what is left when something fails.

use ironic_ondisk::partition_table::guid::Guid;

use super::*;
use crate::disk::filesystem::identity;
use crate::disk::partition::table::PartitionTable;
use crate::machine::testing::{FakeMachine, Programs};
use crate::system::Disks;
use crate::system::disk::testing::{CacheLoss, FedDisks, PowerCut};
use crate::system::process::Script;
use crate::system::{RunError, disk::LinuxDisks};

const UEFI: &str = r#"{"instance_info": {"deploy_boot_mode": "uefi"}}"#;
const BIOS: &str = r#"{"instance_info": {"deploy_boot_mode": "bios"}}"#;
/// What survives in the tests of preserving.
const PRECIOUS: u8 = 0x77;

fn node(text: &str) -> Node {
    let Ok(Value::Object(document)) = serde_json::from_str(text) else {
        panic!("{text}")
    };
    Node(document)
}

/// The content of a root partition: an ext4 file system, as far as anybody looks.
fn root_image(length: usize) -> Vec<u8> {
    let mut image = noise(length);
    image[1024..2048].fill(0);
    image[1080..1082].copy_from_slice(&[0x53, 0xef]);
    image[1128..1144].copy_from_slice(&[0x11; 16]);
    image
}

const ROOT_UUID: &str = "11111111-1111-1111-1111-111111111111";

fn partition_info(url: &str, image: &[u8], more: Value) -> Value {
    let mut info = info(url, image);
    let all = info.as_object_mut().unwrap();
    all.insert("image_type".to_owned(), json!("partition"));
    all.extend(more.as_object().unwrap().clone());
    info
}

/// A machine with small partitions, so that disks are small files.
fn bench(size: usize, document: &str) -> Bench {
    let mut bench = Bench::new(size);
    bench.config.disk_utils.efi_system_partition_size = 4;
    bench.node = node(document);
    bench
}

fn at(disk: &[u8], start: u64, length: usize) -> &[u8] {
    let start = usize::try_from(start).unwrap();
    &disk[start..start + length]
}

#[tokio::test]
async fn everything_around_the_image_is_made_on_a_gpt() {
    let bench = bench(64 * MIB, UEFI);
    let image = root_image(5 * MIB + 1234);
    let server = Server::start([("/i", Page::new(image.clone()))]).await;
    let mut drive = vec![0; 100 * 1024];
    drive[32768..32774].copy_from_slice(b"\x01CD001");
    drive[32808..32816].copy_from_slice(b"config-2");
    let asked = json!({"root_mb": 16, "swap_mb": 2, "ephemeral_mb": 5,
        "ephemeral_format": "vfat", "deploy_boot_mode": "uefi"});
    let said = bench
        .deploy(
            partition_info(&server.url("/i"), &image, asked),
            Some(&gzip_base64(&drive)),
        )
        .await
        .unwrap();

    let table = read_gpt(&bench.device.name);
    let serials = [1, 2].map(|number| {
        let start = usize::try_from(table[number].starting_lba * 512).unwrap();
        let boot = bench.disk()[start..start + 512].to_vec();
        if boot[82..87] == *b"FAT32" {
            boot[67..71].to_vec()
        } else {
            boot[39..43].to_vec()
        }
    });
    assert_ne!(serials[0], serials[1], "two file systems with one identity");
    let kinds: Vec<_> = (1..=5).map(|n| table[n].partition_type_guid).collect();
    let data = table[5].partition_type_guid;
    assert_eq!(
        kinds[0],
        ironic_ondisk::partition_table::kinds::EFI_SYSTEM.gpt.0
    );
    assert_eq!((kinds[1], kinds[3]), (data, data));
    assert!(table[6].is_unused());
    let mib = |n: u32| {
        (
            table[n].starting_lba / 2048,
            table[n].size().unwrap() / 2048,
        )
    };
    assert_eq!(
        [1, 2, 3, 4, 5].map(mib),
        [(1, 4), (5, 5), (10, 2), (12, 1), (13, 16)]
    );

    let disk = bench.disk();
    let mut heads = [1, 2, 3, 4].map(|n| at(&disk, table[n].starting_lba * 512, 68 << 10));
    let identities = [0, 1].map(|n| identity::find(heads[n]).unwrap().identity);
    assert_eq!(identities[0].label.as_deref(), Some("efi-part"));
    assert_eq!(identities[1].label.as_deref(), Some("ephemeral0"));
    assert_eq!(&heads[2][1052..1057], b"swap1");
    assert!(heads[3][..68 << 10] == drive[..68 << 10]);
    assert!(at(&disk, table[5].starting_lba * 512, image.len()) == image);

    let efi = identities[0].uuid.clone().unwrap();
    let name = &bench.device.name;
    assert_eq!(
        said,
        format!(
            "image (img) written to device {name} root_uuid={ROOT_UUID} \
             efi_system_partition_uuid={efi}"
        )
    );
    assert_eq!(
        Value::Object(bench.installed.partition_uuids()),
        json!({"root uuid": ROOT_UUID, "efi system partition uuid": efi, "partitions": {
            "efi system partition": format!("{name}1"), "ephemeral": format!("{name}2"),
            "swap": format!("{name}3"), "configdrive": format!("{name}4"),
            "root": format!("{name}5")}})
    );
    heads.reverse();
}

#[tokio::test]
async fn a_master_boot_record_is_made_for_bios_and_names_partitions_itself() {
    let bench = bench(32 * MIB, BIOS);
    // Nothing that has an identity of its own.
    let image = noise(3 * MIB);
    let server = Server::start([("/i", Page::new(image.clone()))]).await;
    let asked = json!({"root_mb": "8", "swap_mb": 1, "ephemeral_mb": 0, "ephemeral_format": null,
        "preserve_ephemeral": "false"});
    let said = bench
        .deploy(partition_info(&server.url("/i"), &image, asked), None)
        .await
        .unwrap();
    let mut file = std::fs::File::open(&bench.device.name).unwrap();
    let record = mbrman::MBRHeader::read_from(&mut file).unwrap();
    assert!(record[1].is_used() && record[2].is_used() && record[3].is_unused());
    assert_eq!((record[1].sys, record[2].sys), (0x82, 0x83));
    assert!(record[2].is_active() && !record[1].is_active());
    assert_eq!(record[2].starting_lba, 2 * 2048);
    assert!(bench.disk()[2 * MIB..5 * MIB] == image);
    let signature = u32::from_le_bytes(record.disk_signature);
    assert_ne!(signature, 0);
    assert!(
        said.ends_with(&format!("root_uuid={signature:08x}-02")),
        "{said}"
    );
    let uuids = bench.installed.partition_uuids();
    assert_eq!(uuids["efi system partition uuid"], Value::Null);
}

#[tokio::test]
async fn power_machines_get_what_their_firmware_boots() {
    let document = r#"{"properties": {"cpu_arch": "ppc64le", "capabilities": "boot_mode:bios"}}"#;
    let bench = bench(32 * MIB, document);
    let image = root_image(2 * MIB);
    let server = Server::start([("/i", Page::new(image.clone()))]).await;
    bench
        .deploy(
            partition_info(&server.url("/i"), &image, json!({"root_mb": 4})),
            None,
        )
        .await
        .unwrap();
    let mut file = std::fs::File::open(&bench.device.name).unwrap();
    let record = mbrman::MBRHeader::read_from(&mut file).unwrap();
    assert_eq!((record[1].sys, record[2].sys), (0x41, 0x83));
    assert!(record[1].is_active());
    // An old boot program there would be started.
    assert!(bench.disk()[MIB..9 * MIB].iter().all(|byte| *byte == 0));
    let signature = u32::from_le_bytes(record.disk_signature);
    let uuids = bench.installed.partition_uuids();
    let prep = format!("{signature:08x}-01");
    assert_eq!(uuids["PReP Boot partition uuid"], json!(prep));
}

#[tokio::test]
async fn what_cannot_work_is_refused_before_the_disk_is_touched() {
    let image = root_image(3 * MIB);
    let server = Server::start([("/i", Page::new(image.clone()))]).await;
    use FailureKind::{Deployment, FileSystemNotSupported, InvalidCommandParams};
    for (asked, kind, text) in [
        (json!({}), InvalidCommandParams, "image_info.root_mb"),
        (
            json!({"root_mb": 0}),
            InvalidCommandParams,
            "image_info.root_mb",
        ),
        (
            json!({"root_mb": 2}),
            InvalidCommandParams,
            "Root partition is too small for requested image. Image virtual size: 3 MB, Root \
             size: 2 MB",
        ),
        (
            json!({"root_mb": 4, "swap_mb": -1}),
            InvalidCommandParams,
            "image_info.swap_mb must be a whole number of MiB, not -1",
        ),
        (
            json!({"root_mb": 4, "ephemeral_mb": 1, "ephemeral_format": "../sh"}),
            InvalidCommandParams,
            "ephemeral_format",
        ),
        (
            json!({"root_mb": 4, "preserve_ephemeral": "perhaps"}),
            InvalidCommandParams,
            "preserve_ephemeral",
        ),
        (
            json!({"root_mb": 4, "swap_mb": 1000}),
            Deployment,
            "Disk partitioning failed",
        ),
        (
            json!({"root_mb": 4, "ephemeral_mb": 2, "preserve_ephemeral": true}),
            Deployment,
            "the disk has no partition of 2 MiB at 5 MiB in a gpt partition table",
        ),
    ] {
        let bench = bench(32 * MIB, UEFI);
        let info = partition_info(&server.url("/i"), &image, asked.clone());
        let failure = bench.deploy(info, None).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{asked}: {failure}");
        assert!(failure.details.contains(text), "{asked}: {failure}");
        bench.assert_untouched();
    }
    // There is no FAT of three terabytes.
    let mut huge = bench(32 * MIB, UEFI);
    huge.device.size = 4 << 40;
    let file = std::fs::File::options().write(true).open(&huge.device.name);
    file.unwrap().set_len(huge.device.size).unwrap();
    let asked = json!({"root_mb": 4, "ephemeral_mb": 3 << 20, "ephemeral_format": "vfat"});
    let info = partition_info(&server.url("/i"), &image, asked);
    let failure = huge.deploy(info, None).await.unwrap_err();
    assert!(failure.details.contains("no FAT file system"), "{failure}");
    let mut head = vec![0; 32 * MIB];
    let mut disk = std::fs::File::open(&huge.device.name).unwrap();
    std::io::Read::read_exact(&mut disk, &mut head).unwrap();
    assert!(head.iter().all(|byte| *byte == 0xAA));
    // A file has no partition that a program could work on.
    let mut bench = bench(32 * MIB, UEFI);
    bench.system.simulation = None;
    bench.system.disks = Arc::new(LinuxDisks);
    let asked = json!({"root_mb": 4, "ephemeral_mb": 2});
    let info = partition_info(&server.url("/i"), &image, asked);
    let failure = bench.deploy(info, None).await.unwrap_err();
    assert_eq!(failure.kind, FileSystemNotSupported);
    bench.assert_untouched();
}

/// Firmware would find nothing to start, and only the image's GRUB could help.
#[tokio::test]
async fn what_could_never_boot_is_refused_before_the_disk_is_touched() {
    let image = root_image(3 * MIB);
    let server = Server::start([("/i", Page::new(image.clone()))]).await;
    let asked = |boot: &str| json!({"root_mb": 4, "boot_option": boot});
    let bench = |document: &str| {
        let mut bench = bench(32 * MIB, document);
        bench.system.simulation = None;
        bench
    };
    let info = |boot: &str| partition_info(&server.url("/i"), &image, asked(boot));
    let failing = bench(BIOS);
    let failure = failing.deploy(info("local"), None).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::InvalidImage);
    let option = "enable_bios_bootloader_install";
    assert!(failure.details.contains(option), "{failure}");
    failing.assert_untouched();
    assert!(server.seen().is_empty(), "not even the image is asked for");
    // A node that boots from the network, may run GRUB, or has UEFI is not refused.
    let mut permitted = bench(BIOS);
    permitted.config.enable_bios_bootloader_install = true;
    let mut ignored = bench(BIOS);
    ignored.config.ignore_bootloader_failure = Some(true);
    for (bench, boot) in [
        (permitted, "local"),
        (ignored, "local"),
        (bench(BIOS), "netboot"),
        (bench(UEFI), "local"),
    ] {
        let before = server.seen().len();
        if let Err(failure) = bench.deploy(info(boot), None).await {
            assert!(!failure.details.contains(option), "{boot}: {failure}");
        }
        assert!(
            server.seen().len() > before,
            "{boot}: the image is asked for"
        );
    }
}

/// A file system with these files, made by its own program.
fn ext(programs: &Programs, options: &[&str], files: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    for file in files {
        let path = tree.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        if !file.ends_with('/') {
            std::fs::write(path, "").unwrap();
        }
    }
    let image = dir.path().join("image");
    std::fs::write(&image, vec![0; 12 * MIB]).unwrap();
    let made = programs
        .command("mke2fs")
        .args(["-q", "-F"])
        .args(options)
        .arg("-d")
        .args([&tree, &image])
        .output()
        .unwrap();
    assert!(made.status.success(), "mke2fs {options:?}: {made:?}");
    std::fs::read(image).unwrap()
}

#[tokio::test]
async fn an_image_that_needs_a_loader_and_has_none_is_refused_before_the_disk_is_touched() {
    let name = "an_image_that_needs_a_loader_and_has_none_is_refused_before_the_disk_is_touched";
    let Some(programs) = Programs::find(name) else {
        return;
    };
    // Enough that the directories lie behind what is read anyway.
    let mut many: Vec<_> = (0..3000).map(|number| format!("a/{number}")).collect();
    many.extend(["boot/efi/EFI/BOOT/BOOTX64.EFI", "etc/fstab"].map(str::to_owned));
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let none = &many[..3000];
    let with = |more: &'static str| [none, &[more]].concat();
    // Files; whether they are refused.
    let trees = [
        (many.clone(), false),
        (none.to_vec(), true),
        (with("boot/vmlinuz"), true),
        (with("boot/efi/file"), true),
        (with("boot/efi/EFI/"), true),
        (with("boot/efi/EFI/debian/shimx64.efi"), false),
    ];
    let kinds: [&[&str]; 4] = [
        &["-t", "ext4", "-N", "4096"],
        &["-t", "ext4", "-N", "4096", "-b", "1024", "-O", "^64bit"],
        &["-t", "ext3", "-N", "4096", "-b", "4096"],
        &["-t", "ext2", "-N", "4096", "-b", "1024", "-I", "128"],
    ];
    for options in kinds {
        for (files, is_refused) in &trees {
            let image = ext(&programs, options, files);
            let page = Page {
                ranges: true,
                ..Page::new(image.clone())
            };
            let server = Server::start([("/i", page)]).await;
            let mut bench = bench(64 * MIB, UEFI);
            bench.system.simulation = None;
            let asked = json!({"root_mb": 16, "boot_option": "local"});
            let info = partition_info(&server.url("/i"), &image, asked);
            let done = bench.deploy(info, None).await;
            let what = format!("{options:?} {:?}: {done:?}", files.last());
            if *is_refused {
                let failure = done.unwrap_err();
                assert_eq!(failure.kind, FailureKind::InvalidImage, "{what}");
                assert!(failure.details.contains("no EFI boot loader"), "{what}");
                bench.assert_untouched();
            } else {
                let details = done.err().map(|failure| failure.details);
                let details = details.unwrap_or_default();
                assert!(!details.contains("no EFI boot loader"), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_checksum_leaves_a_disk_without_partitions() {
    for document in [UEFI, BIOS] {
        let bench = bench(32 * MIB, document);
        let image = root_image(3 * MIB);
        let server = Server::start([("/i", Page::new(image))]).await;
        let asked = json!({"root_mb": 4, "swap_mb": 1});
        let wrong = partition_info(&server.url("/i"), b"something else", asked);
        let failure = bench.deploy(wrong, None).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::ImageChecksum);
        bench.assert_unbootable();
        bench.assert_next_works().await;
    }
}

/// Deploys with an ephemeral partition of 3 MiB and fills that.
async fn with_precious_data(image: &[u8], url: &str, document: &str) -> Bench {
    let mut bench = bench(16 * MIB, document);
    bench.config.disk_utils.efi_system_partition_size = 1;
    let asked = json!({"root_mb": 7, "swap_mb": 2, "ephemeral_mb": 3});
    bench
        .deploy(partition_info(url, image, asked), None)
        .await
        .unwrap();
    let ephemeral = ephemeral(&bench);
    let mut disk = bench.disk();
    let start = usize::try_from(ephemeral.offset).unwrap();
    disk[start..start + 3 * MIB].fill(PRECIOUS);
    std::fs::write(&bench.device.name, disk).unwrap();
    bench
}

fn ephemeral(bench: &Bench) -> crate::disk::partition::table::Partition {
    let mut disk = LinuxDisks.open(Path::new(&bench.device.name)).unwrap();
    let table = PartitionTable::read(disk.as_mut()).unwrap().unwrap();
    let partitions = table.partitions(512);
    let mut partitions = partitions.into_iter();
    partitions.find(|it| it.size == 3 * MIB as u64).unwrap()
}

fn is_precious(bench: &Bench, ephemeral: crate::disk::partition::table::Partition) -> bool {
    let disk = bench.disk();
    *at(&disk, ephemeral.offset, 3 * MIB) == vec![PRECIOUS; 3 * MIB][..]
}

#[tokio::test]
async fn what_is_ephemeral_can_be_preserved() {
    let image = root_image(3 * MIB);
    let server = Server::start([("/i", Page::new(image.clone()))]).await;
    let url = server.url("/i");
    for document in [UEFI, BIOS] {
        let bench = with_precious_data(&image, &url, document).await;
        let before = ephemeral(&bench);
        // Another swap, and a config drive that was not there.
        let asked = json!({"root_mb": 8, "swap_mb": 1, "ephemeral_mb": 3,
            "preserve_ephemeral": true});
        let mut drive = vec![0; 40 << 10];
        drive[32768..32774].copy_from_slice(b"\x01CD001");
        let info = partition_info(&url, &image, asked);
        bench
            .deploy(info, Some(&gzip_base64(&drive)))
            .await
            .unwrap();
        assert_eq!(ephemeral(&bench), before);
        assert!(is_precious(&bench, before));
        let uuids = bench.installed.partition_uuids();
        assert_eq!(uuids["root uuid"], json!(ROOT_UUID));
        assert!(uuids["partitions"]["configdrive"].is_string());

        // A wrong image destroys the root and nothing else.
        let asked = json!({"root_mb": 8, "ephemeral_mb": 3, "preserve_ephemeral": true});
        let wrong = partition_info(&url, b"something else", asked);
        let failure = bench.deploy(wrong, None).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::ImageChecksum);
        assert_eq!(ephemeral(&bench), before);
        assert!(is_precious(&bench, before));
        let mut disk = LinuxDisks.open(Path::new(&bench.device.name)).unwrap();
        let table = PartitionTable::read(disk.as_mut()).unwrap().unwrap();
        let root = *table.partitions(512).last().unwrap();
        let bytes = bench.disk();
        assert!(at(&bytes, root.offset, MIB).iter().all(|byte| *byte == 0));
    }
}

/// The same machine, whose disk loses power after so many changes.
fn cut(bench: &Bench, changes: usize, loss: CacheLoss) -> Bench {
    Bench {
        system: System {
            disks: Arc::new(FedDisks {
                disks: Arc::clone(&bench.system.disks),
                power: PowerCut::after(changes, true).losing(loss),
            }),
            ..bench.system.clone()
        },
        device: bench.device.clone(),
        config: bench.config.clone(),
        installed: LastDeployment::default(),
        node: bench.node.clone(),
        _dir: tempfile::tempdir().unwrap(),
    }
}

/// After 0, 1, 2, ... changes, with each kind of loss.
fn moments_and_losses() -> impl Iterator<Item = (usize, CacheLoss)> {
    (0..).flat_map(|changes| CacheLoss::KINDS.map(|loss| (changes, loss)))
}

/// The old disk, a disk without a table, or one with all that was asked for: nothing else.
#[tokio::test]
async fn a_partition_image_survives_a_power_cut_at_any_moment() {
    let image = root_image(2 * MIB);
    let server = Server::start([("/i", Page::new(image.clone()))]).await;
    for document in [UEFI, BIOS] {
        let bench = bench(24 * MIB, document);
        let saved = gpt_image(24 * MIB);
        let mut moments = 0;
        for (changes, loss) in moments_and_losses() {
            std::fs::write(&bench.device.name, &saved).unwrap();
            let cut = cut(&bench, changes, loss);
            let asked = json!({"root_mb": 8, "swap_mb": 1});
            let info = partition_info(&server.url("/i"), &image, asked);
            let deployed = cut.deploy(info, None).await;
            let disk = bench.disk();
            let what = format!("{document}: after {changes} changes, losing {loss:?}");
            // Between the places of tables.
            let is_old = disk[MIB..23 * MIB] == saved[MIB..23 * MIB];
            let mut seen = LinuxDisks.open(Path::new(&bench.device.name)).unwrap();
            // A record that protects a GPT which is not there yet is not a table.
            let table = PartitionTable::read(seen.as_mut()).ok().flatten();
            let table = table.filter(PartitionTable::has_partitions);
            if let Some(table) = table
                && !is_old
            {
                let root = *table.partitions(512).last().unwrap();
                let count = if document == UEFI { 3 } else { 2 };
                assert_eq!(table.partitions(512).len(), count, "{what}");
                assert!(*at(&disk, root.offset, image.len()) == image[..], "{what}");
            }
            if deployed.is_ok() {
                break;
            }
            moments += 1;
        }
        assert!(moments >= 32, "only {moments} moments were tried");
    }
}

#[tokio::test]
async fn what_is_preserved_survives_a_power_cut_at_any_moment() {
    let image = root_image(2 * MIB);
    let server = Server::start([("/i", Page::new(image.clone()))]).await;
    let url = server.url("/i");
    for document in [UEFI, BIOS] {
        let bench = with_precious_data(&image, &url, document).await;
        let before = ephemeral(&bench);
        let saved = bench.disk();
        let mut moments = 0;
        for (changes, loss) in moments_and_losses() {
            std::fs::write(&bench.device.name, &saved).unwrap();
            let cut = cut(&bench, changes, loss);
            let asked = json!({"root_mb": 8, "swap_mb": 1, "ephemeral_mb": 3,
                "preserve_ephemeral": true});
            let deployed = cut.deploy(partition_info(&url, &image, asked), None).await;
            assert!(
                is_precious(&bench, before),
                "after {changes} changes, losing {loss:?}"
            );
            // The table tells where it is, or its backup does.
            if document == UEFI {
                let table = read_gpt(&bench.device.name);
                let found = table
                    .iter()
                    .find(|(_, entry)| entry.starting_lba * 512 == before.offset);
                let (_, entry) = found.unwrap();
                assert_eq!(Some(Guid(entry.unique_partition_guid)), before.guid);
            } else {
                assert_eq!(ephemeral(&bench), before);
            }
            if deployed.is_ok() {
                break;
            }
            moments += 1;
        }
        assert!(moments >= 8, "only {moments} moments were tried");
    }
}

/// A machine whose disk has nodes for its partitions, with scripted programs.
fn machine(script: Script, nodes: u32) -> (FakeMachine, Bench, Arc<Script>) {
    let script = Arc::new(script);
    let mut machine = FakeMachine::new();
    machine
        .bytes("dev/sda", &vec![0xAA; 32 * MIB])
        .directory("sys/class/block/sda");
    for number in 1..=nodes {
        machine.file(&format!("dev/sda{number}"), "");
    }
    let mut bench = bench(MIB, UEFI);
    bench.system = machine.system_with(Arc::clone(&script) as _);
    bench.device.name = "/dev/sda".to_owned();
    bench.device.size = 32 * MIB as u64;
    (machine, bench, script)
}

fn missing(program: &str) -> Result<crate::system::Output, RunError> {
    Err(RunError::Missing {
        program: program.to_owned(),
    })
}

#[tokio::test]
async fn the_ephemeral_file_system_is_made_by_its_program_on_its_node() {
    let image = root_image(2 * MIB);
    let server = Server::start([("/i", Page::new(image.clone()))]).await;
    for (format, command) in [
        ("ext4", "mkfs.ext4 -F -L ephemeral0 /dev/sda2"),
        ("ext2", "mkfs.ext2 -F -L ephemeral0 /dev/sda2"),
        ("ext3", "mkfs.ext3 -F -L ephemeral0 /dev/sda2"),
        ("xfs", "mkfs.xfs -L ephemeral0 /dev/sda2"),
        ("btrfs", "mkfs.btrfs -L ephemeral0 /dev/sda2"),
        ("f2fs", "mkfs.f2fs -l ephemeral0 /dev/sda2"),
    ] {
        let script = Script::new()
            .expect(&format!("mkfs.{format} -V"), "")
            .expect("wipefs --force --all /dev/sda", "")
            .expect(command, "");
        let (machine, bench, script) = machine(script, 3);
        let asked = json!({"root_mb": 8, "ephemeral_mb": 3, "ephemeral_format": format});
        let info = partition_info(&server.url("/i"), &image, asked);
        bench.deploy(info, None).await.unwrap();
        script.assert_done();
        let disk = std::fs::read(machine.path().join("dev/sda")).unwrap();
        assert!(at(&disk, 8 << 20, image.len()) == image);
        // What the program will work on has lost its old signatures.
        assert!(at(&disk, 5 << 20, MIB).iter().all(|byte| *byte == 0));
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_of_programs_and_the_kernel_are_reported() {
    let image = root_image(2 * MIB);
    let server = Server::start([("/i", Page::new(image.clone()))]).await;
    let asked = json!({"root_mb": 8, "ephemeral_mb": 3, "ephemeral_format": "xfs"});
    let info = partition_info(&server.url("/i"), &image, asked);

    // Missing: reported before anything is destroyed.
    let script = Script::new().expect_result("mkfs.xfs -V", missing("mkfs.xfs"));
    let (gone, bench, _) = machine(script, 3);
    let failure = bench.deploy(info.clone(), None).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::FileSystemNotSupported);
    assert!(failure.details.contains("File system xfs is not supported"));
    let disk = std::fs::read(gone.path().join("dev/sda")).unwrap();
    assert!(disk.iter().all(|byte| *byte == 0xAA));

    // Failing: the program's own words.
    let broken = RunError::Failed {
        program: "mkfs.xfs".to_owned(),
        command: "mkfs.xfs".to_owned(),
        status: 1,
        stderr: "size 3m is too small".to_owned(),
    };
    let script = Script::new()
        .expect("mkfs.xfs -V", "")
        .expect("wipefs --force --all /dev/sda", "")
        .expect_result("mkfs.xfs -L ephemeral0 /dev/sda2", Err(broken));
    let (_machine, bench, script) = machine(script, 3);
    let failure = bench.deploy(info, None).await.unwrap_err();
    script.assert_done();
    assert_eq!(failure.kind, FailureKind::ImageWrite);
    assert_eq!(failure.program.as_deref(), Some("mkfs.xfs"));
    assert!(failure.details.contains("too small"), "{failure}");
    assert!(bench.installed.partition_uuids().is_empty());

    // The kernel shows one partition only.
    let script = Script::new()
        .expect("wipefs --force --all /dev/sda", "")
        .expect("partx -av /dev/sda", "");
    let (_machine, bench, _) = machine(script, 1);
    let asked = json!({"root_mb": 8});
    let info = partition_info(&server.url("/i"), &image, asked);
    let failure = bench.deploy(info, None).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Deployment);
    assert!(failure.details.contains("/dev/sda2"), "{failure}");
}

#[tokio::test]
async fn a_plan_tells_every_change_and_makes_none() {
    let bench = bench(32 * MIB, UEFI);
    let asked = json!({"root_mb": 8, "swap_mb": 1});
    let info = partition_info("http://nowhere.invalid/i", b"", asked);
    let request = request(info, &bench.config).unwrap();
    let deployment = Deployment {
        system: &bench.system,
        config: &bench.config,
        node: &bench.node,
        request: &request,
        configdrive: None,
        device: &bench.device,
        task: &Task::detached(),
        installed: &bench.installed,
    };
    let lines = plan(deployment).await.unwrap();
    let name = &bench.device.name;
    assert_eq!(
        lines,
        [
            format!("Clear {name}, all of its partitions"),
            "Make partition 1: efi system partition, 4 MiB".to_owned(),
            "Make partition 2: swap, 1 MiB".to_owned(),
            "Make partition 3: root, 8 MiB".to_owned(),
            format!("Write image img to {name}"),
        ]
    );
    bench.assert_untouched();
}

#[tokio::test]
async fn a_config_drive_goes_where_a_master_boot_record_reaches() {
    let bench = Bench::new(8 * MIB);
    let file = std::fs::File::options()
        .write(true)
        .open(&bench.device.name);
    // A disk of 3 TiB, most of it a hole.
    file.unwrap().set_len(3 << 40).unwrap();
    let image = mbr_image(3 * MIB);
    let server = Server::start([("/i", Page::new(image.clone()))]).await;
    let drive = noise(50_000);
    let mut drive = [vec![0; 32768], b"\x01CD001".to_vec(), drive].concat();
    drive.resize(90_000, 1);
    bench
        .deploy(info(&server.url("/i"), &image), Some(&gzip_base64(&drive)))
        .await
        .unwrap();
    let mut disk = LinuxDisks.open(Path::new(&bench.device.name)).unwrap();
    let table = PartitionTable::read(disk.as_mut()).unwrap().unwrap();
    let placed = table.partitions(512)[1];
    assert!(placed.offset + placed.size <= 2 << 40);
    assert!(placed.offset + placed.size > (2 << 40) - 2 * MIB as u64);
    assert!(placed.size >= 64 * MIB as u64);
    let mut bytes = vec![0; drive.len()];
    disk.read_at(placed.offset, &mut bytes).unwrap();
    assert!(bytes == drive);
}

/// An image as another program packs it; `None` where there is no such program.
fn qcow2(image: &[u8], options: &[&str]) -> Option<Vec<u8>> {
    let programs = Programs::find("packed_images_go_into_their_partition")?;
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("raw"), image).unwrap();
    let made = programs
        .command("qemu-img")
        .args(["convert", "-f", "raw", "-O", "qcow2"])
        .args(options)
        .args([path("raw"), path("qcow2")])
        .output()
        .unwrap();
    assert!(made.status.success(), "qemu-img {options:?}: {made:?}");
    Some(std::fs::read(path("qcow2")).unwrap())
}

#[tokio::test]
async fn packed_images_go_into_their_partition() {
    let image = root_image(5 * MIB);
    let mut packed = Vec::new();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&image).unwrap();
    packed.push(("raw", gzip.finish().unwrap()));
    for options in [&[][..], &["-c"]] {
        let qcow2 = qcow2(&image, options);
        packed.extend(qcow2.map(|bytes| ("qcow2", bytes)));
    }
    for (format, bytes) in packed {
        let server = Server::start([("/i", Page::new(bytes.clone()))]).await;
        let bench = bench(32 * MIB, UEFI);
        let asked = json!({"root_mb": 8, "swap_mb": 1, "disk_format": format});
        let info = partition_info(&server.url("/i"), &bytes, asked);
        let said = bench.deploy(info, None).await.unwrap();
        assert!(said.contains(ROOT_UUID), "{said}");
        let table = read_gpt(&bench.device.name);
        let disk = bench.disk();
        assert!(*at(&disk, table[3].starting_lba * 512, image.len()) == image);
        assert_eq!(
            &at(&disk, table[2].starting_lba * 512, 4096)[1052..1057],
            b"swap1"
        );

        // Its file is smaller than it is.
        let bench = self::bench(32 * MIB, UEFI);
        let asked = json!({"root_mb": 4, "disk_format": format});
        let info = partition_info(&server.url("/i"), &bytes, asked);
        let failure = bench.deploy(info, None).await.unwrap_err();
        if format == "qcow2" {
            let text = "Image virtual size: 5 MB, Root size: 4 MB";
            assert!(failure.details.contains(text), "{failure}");
            bench.assert_untouched();
        } else {
            assert_eq!(failure.kind, FailureKind::ImageWrite);
            bench.assert_unbootable();
        }
    }
}

/// The programs of a test with loop devices. These need root, which `.ci/run` sees to in CI;
/// `None`, with a line, for others.
fn programs_with_loops(test: &str) -> Option<Programs> {
    if rustix::process::geteuid().is_root() && Path::new("/dev/loop-control").exists() {
        return Programs::find(test);
    }
    assert!(std::env::var_os("CI").is_none(), "no root or loop devices");
    // Not by a macro, whose output the test harness keeps to itself.
    let line = format!("SKIPPED {test}: needs root and loop devices\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    None
}

/// A loop device over a file, gone with the test.
struct Loop<'a> {
    programs: &'a Programs,
    name: String,
    _file: tempfile::NamedTempFile,
}

impl<'a> Loop<'a> {
    fn new(programs: &'a Programs, size: u64, sector_size: u32) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(size).unwrap();
        let (sector, path) = (sector_size.to_string(), file.path().to_str().unwrap());
        let words = ["losetup", "-P", "-f", "--show", "-b", &sector, path];
        let name = run(programs, &words).trim().to_owned();
        Self {
            programs,
            name,
            _file: file,
        }
    }
}

impl Drop for Loop<'_> {
    fn drop(&mut self) {
        let mut detach = self.programs.command("losetup");
        let detached = detach.args(["-d", &self.name]).status();
        assert!(detached.unwrap().success() || std::thread::panicking());
    }
}

/// What a program says that has to succeed.
fn run(programs: &Programs, words: &[&str]) -> String {
    let mut command = programs.command(words[0]);
    let done = command.args(&words[1..]).output().unwrap();
    assert!(done.status.success(), "{words:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

#[tokio::test]
async fn a_kernel_sees_what_was_made() {
    let Some(programs) = programs_with_loops("a_kernel_sees_what_was_made") else {
        return;
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(20 << 20).unwrap();
    let path = file.path().to_str().unwrap();
    let words = ["mkfs.ext4", "-q", "-F", "-b", "4096", "-U", ROOT_UUID, path];
    run(&programs, &words);
    let image = std::fs::read(file.path()).unwrap();
    let server = Server::start([("/i", Page::new(image.clone()))]).await;
    for (sector_size, document) in [(512, UEFI), (4096, UEFI), (512, BIOS), (4096, BIOS)] {
        let disk = Loop::new(&programs, 256 << 20, sector_size);
        let mut bench = bench(MIB, document);
        bench.config.disk_utils.efi_system_partition_size = 40;
        bench.system = System::linux();
        bench.device.name = disk.name.clone();
        bench.device.size = 256 << 20;
        let drive = include_bytes!("../../../../crates/fuzz/corpus/iso9660/rock-ridge.iso.gz");
        let drive = STANDARD.encode(drive);
        let mut ephemeral = String::new();
        for is_preserved in [false, true] {
            let asked = json!({"root_mb": 64, "swap_mb": 8, "ephemeral_mb": 32,
                "preserve_ephemeral": is_preserved});
            let info = partition_info(&server.url("/i"), &image, asked);
            let said = bench.deploy(info, Some(&drive)).await.unwrap();
            let uuids = bench.installed.partition_uuids();
            let partitions = uuids["partitions"].as_object().unwrap();
            for (role, node) in partitions {
                let node = node.as_str().unwrap();
                let seen = run(&programs, &["blkid", "-p", "-o", "export", node]);
                let expected = match role.as_str() {
                    "efi system partition" => "LABEL=efi-part",
                    "swap" => "LABEL=swap1",
                    "ephemeral" => "LABEL=ephemeral0",
                    "configdrive" if sector_size == 512 => "LABEL=config-2",
                    "configdrive" => "LABEL=CONFIG-2",
                    _ => ROOT_UUID,
                };
                assert!(seen.contains(expected), "{role} {sector_size}: {seen}");
                if role == "ephemeral" {
                    // Its identity is that of the first deployment.
                    assert!(!is_preserved || seen == ephemeral);
                    ephemeral = seen;
                }
            }
            assert!(said.contains(ROOT_UUID));
            let root = partitions["root"].as_str().unwrap();
            let bytes = std::fs::read(root).unwrap();
            assert!(bytes.len() == 64 * MIB && bytes[..image.len()] == image);
        }
    }
}
