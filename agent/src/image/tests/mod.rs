//! Whole deployments on files, from a server that may misbehave.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::*;
use crate::config::AgentConfig;
use crate::failure::{Failure, FailureKind};
use crate::machine::block::BlockDevice;
use crate::machine::ironic_node::Node;
use crate::system::System;
use crate::system::disk::testing::HangingDisks;
use crate::task::{Progress, Task};

mod compressed;
mod interrupted;
mod partition;
mod server;
mod table;

use server::{Page, Server};

const MIB: usize = 1 << 20;

/// What Ironic's document asks for.
fn request(image_info: Value, config: &AgentConfig) -> Result<ImageRequest, Failure> {
    let Value::Object(image_info) = image_info else {
        panic!("{image_info}")
    };
    Ok(ImageRequest::from_document(
        &image_info,
        config.md5_enabled,
    )?)
}

/// A simulated machine with one disk, full of what was there before.
struct Bench {
    _dir: tempfile::TempDir,
    system: System,
    device: BlockDevice,
    config: AgentConfig,
    installed: LastDeployment,
    node: Node,
}

impl Bench {
    fn new(size: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sda");
        std::fs::write(&path, vec![0xAA; size]).unwrap();
        Self {
            system: System::simulated(dir.path()),
            device: BlockDevice {
                name: path.to_str().unwrap().to_owned(),
                size: size as u64,
                ..BlockDevice::default()
            },
            config: AgentConfig {
                image_download_connection_retries: 0,
                image_download_connection_retry_interval: Duration::ZERO,
                image_download_connection_timeout: Duration::from_secs(30),
                ..AgentConfig::default()
            },
            installed: LastDeployment::default(),
            node: Node::default(),
            _dir: dir,
        }
    }

    async fn deploy(
        &self,
        image_info: Value,
        configdrive: Option<&str>,
    ) -> Result<String, Failure> {
        self.deploy_with(image_info, configdrive, &Task::detached())
            .await
    }

    async fn deploy_with(
        &self,
        image_info: Value,
        configdrive: Option<&str>,
        task: &Task,
    ) -> Result<String, Failure> {
        let request = request(image_info, &self.config)?;
        let written = prepare(Deployment {
            system: &self.system,
            config: &self.config,
            node: &self.node,
            request: &request,
            configdrive,
            device: &self.device,
            task,
            installed: &self.installed,
        });
        Ok(written.await?)
    }

    fn disk(&self) -> Vec<u8> {
        std::fs::read(&self.device.name).unwrap()
    }

    /// Nothing was written at all.
    fn assert_untouched(&self) {
        assert!(self.disk().iter().all(|byte| *byte == 0xAA));
    }

    /// No boot sector, no partition table, neither its backup.
    fn assert_unbootable(&self) {
        let disk = self.disk();
        assert!(disk[..MIB].iter().all(|byte| *byte == 0));
        let end = disk.len() - 33 * 512;
        assert!(disk[end..].iter().all(|byte| *byte == 0));
        assert!(self.installed.partition_uuids().is_empty());
    }

    /// The agent is ready for the next command, and that works.
    async fn assert_next_works(&self) {
        let image = mbr_image(3 * MIB);
        let server = Server::start([("/good", Page::new(image.clone()))]).await;
        let deployed = self.deploy(info(&server.url("/good"), &image), None).await;
        deployed.unwrap();
        assert_eq!(self.disk()[..image.len()], image);
    }
}

fn info(url: &str, image: &[u8]) -> Value {
    json!({
        "id": "img",
        "urls": [url],
        "disk_format": "raw",
        "stream_raw_images": true,
        "os_hash_algo": "sha256",
        "os_hash_value": hex::encode(Sha256::digest(image)),
    })
}

/// Bytes without a pattern; the same every time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// An image with a master boot record, one partition to its end, and a hole in the middle.
fn mbr_image(length: usize) -> Vec<u8> {
    let mut image = noise(length);
    image[MIB..2 * MIB].fill(0);
    image[..512].fill(0);
    image[440..444].copy_from_slice(&0x1234_abcd_u32.to_le_bytes());
    image[446] = 0x80;
    image[450] = 0x83;
    let sectors = u32::try_from(length / 512 - 2048).unwrap();
    image[454..458].copy_from_slice(&2048_u32.to_le_bytes());
    image[458..462].copy_from_slice(&sectors.to_le_bytes());
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image
}

/// An image with a GUID partition table, as another library makes it.
fn gpt_image(length: usize) -> Vec<u8> {
    let mut image = noise(length);
    image[..MIB].fill(0);
    image[length - MIB..].fill(0);
    let mut cursor = std::io::Cursor::new(image);
    let mut table = gptman::GPT::new_from(&mut cursor, 512, [7; 16]).unwrap();
    table[1] = gptman::GPTPartitionEntry {
        partition_type_guid: ironic_ondisk::partition_table::kinds::EFI_SYSTEM.gpt.0,
        unique_partition_guid: [1; 16],
        starting_lba: 2048,
        ending_lba: 4095,
        attribute_bits: 0,
        partition_name: "ESP".into(),
    };
    gptman::GPT::write_protective_mbr_into(&mut cursor, 512).unwrap();
    table.write_into(&mut cursor).unwrap();
    cursor.into_inner()
}

fn gzip_base64(bytes: &[u8]) -> String {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    STANDARD.encode(encoder.finish().unwrap())
}

fn read_gpt(path: &str) -> gptman::GPT {
    gptman::GPT::read_from(&mut std::fs::File::open(path).unwrap(), 512).unwrap()
}

#[tokio::test]
async fn an_image_arrives_byte_for_byte_with_progress() {
    let bench = Bench::new(8 * MIB);
    // Not a multiple of blocks, nor of sectors.
    let image = mbr_image(5 * MIB + 1234);
    let server = Server::start([("/a/image.raw", Page::new(image.clone()))]).await;
    let (task, heard) = Task::new();
    let said = bench
        .deploy_with(info(&server.url("/a/image.raw"), &image), None, &task)
        .await
        .unwrap();
    let name = &bench.device.name;
    assert_eq!(
        said,
        format!("image (img) written to device {name} root_uuid=0x1234abcd")
    );
    assert_eq!(
        Value::Object(bench.installed.partition_uuids()),
        json!({"root uuid": "0x1234abcd"})
    );
    let disk = bench.disk();
    assert!(disk[..image.len()] == image);
    // The rest of the last sector is clean, what follows is not ours.
    let sector_end = image.len().next_multiple_of(512);
    assert!(disk[image.len()..sector_end].iter().all(|byte| *byte == 0));
    assert!(disk[sector_end..7 * MIB].iter().all(|byte| *byte == 0xAA));
    let total = Some(image.len() as u64);
    let last = heard.progress.borrow().clone().unwrap();
    assert!(
        matches!(&last, Progress { phase, done, total: all, .. } if phase == "write_image" && Some(*done) == total && *all == total),
        "{last:?}"
    );
    // The table in the first block comes last, and is not counted.
    let written = usize::try_from(last.written.unwrap()).unwrap();
    assert!(
        (image.len() - 2 * MIB..=sector_end).contains(&written),
        "{last:?}"
    );
}

#[tokio::test]
async fn a_gpt_is_fitted_to_the_disk_and_gets_a_config_drive() {
    let bench = Bench::new(80 * MIB);
    let image = gpt_image(8 * MIB);
    let mut drive = vec![0; 100 * 1024];
    drive[32768..32774].copy_from_slice(b"\x01CD001");
    drive[32808..32816].copy_from_slice(b"config-2");
    drive[99_000..].fill(0x42);
    let server = Server::start([("/i", Page::new(image.clone()))]).await;
    let inline = gzip_base64(&drive);
    let said = bench
        .deploy(info(&server.url("/i"), &image), Some(&inline))
        .await
        .unwrap();
    assert!(said.ends_with("root_uuid=0x00000000"), "{said}");

    let table = read_gpt(&bench.device.name);
    let sectors = 80 * MIB as u64 / 512;
    assert_eq!(table.header.backup_lba, sectors - 1);
    assert_eq!(table.header.disk_guid, [7; 16]);
    assert_eq!(table[1].partition_name.as_str(), "ESP");
    assert!(table[2].is_used() && table[3].is_unused());
    assert_eq!(table[2].starting_lba % 2048, 0);
    assert!(table[2].size().unwrap() * 512 >= 64 * MIB as u64);
    assert_eq!(table[2].ending_lba, table.header.last_usable_lba);
    let disk = bench.disk();
    let at = usize::try_from(table[2].starting_lba).unwrap() * 512;
    assert!(disk[at..at + drive.len()] == drive);
    // The image itself is unchanged between the tables.
    assert!(disk[MIB..7 * MIB] == image[MIB..7 * MIB]);
    // The backup alone is a whole table, too.
    std::fs::write(&bench.device.name, [&vec![0; MIB], &disk[MIB..]].concat()).unwrap();
    let backup = read_gpt(&bench.device.name);
    assert_eq!(
        (backup.header.primary_lba, backup[2].clone()),
        (sectors - 1, table[2].clone())
    );
    // The record that protects the table covers the larger disk.
    assert_eq!(
        disk[458..462],
        u32::try_from(sectors - 1).unwrap().to_le_bytes()
    );
}

#[tokio::test]
async fn config_drives_of_every_kind_find_their_place() {
    let image = mbr_image(3 * MIB);
    let mut drive = vec![0; 50_000];
    drive[32768..32774].copy_from_slice(b"\x01CD001");
    drive[49_999] = 9;
    let server = Server::start([
        ("/i", Page::new(image.clone())),
        ("/packed", Page::new(gzip_base64(&drive))),
        ("/verbatim", Page::new(drive.clone())),
    ])
    .await;
    for value in [
        gzip_base64(&drive),
        STANDARD.encode(&drive),
        server.url("/packed"),
        server.url("/verbatim"),
    ] {
        // Less than 64 MiB are free behind the image: what is needed is enough.
        let bench = Bench::new(8 * MIB);
        bench
            .deploy(info(&server.url("/i"), &image), Some(&value))
            .await
            .unwrap();
        let mut file = std::fs::File::open(&bench.device.name).unwrap();
        let record = mbrman::MBRHeader::read_from(&mut file).unwrap();
        assert!(record[1].is_used() && record[3].is_unused());
        assert_eq!((record[2].sys, record[2].starting_lba), (0x0c, 3 * 2048));
        let at = 3 * MIB;
        assert!(bench.disk()[at..at + drive.len()] == drive);
        assert!(
            bench.disk()[at + drive.len()..]
                .iter()
                .all(|byte| *byte == 0)
        );
    }
}

#[tokio::test]
async fn a_partition_made_for_the_config_drive_is_used() {
    let mut image = mbr_image(6 * MIB);
    // Partition 1 ends before partition 2, 4 MiB to 5 MiB, which holds an empty FAT file system with that label.
    image[458..462].copy_from_slice(&2048_u32.to_le_bytes());
    image[462..478].copy_from_slice(&[0, 0, 0, 0, 0x0c, 0, 0, 0, 0, 32, 0, 0, 0, 8, 0, 0]);
    let labelled = crate::machine::block::guarded_filesystem::tests::fat(*b"CONFIG-2   ");
    image[4 * MIB..5 * MIB].copy_from_slice(&labelled);
    let mut drive = vec![3; 40_000];
    drive[32768..32774].copy_from_slice(b"\x01CD001");
    let server = Server::start([("/i", Page::new(image.clone()))]).await;
    let bench = Bench::new(8 * MIB);
    bench
        .deploy(info(&server.url("/i"), &image), Some(&gzip_base64(&drive)))
        .await
        .unwrap();
    let disk = bench.disk();
    assert_eq!(disk[..512], image[..512]);
    assert!(disk[4 * MIB..4 * MIB + drive.len()] == drive);

    // More than it holds is refused, and the disk does not boot.
    let large = [drive, vec![0; MIB]].concat();
    let refused = bench
        .deploy(info(&server.url("/i"), &image), Some(&gzip_base64(&large)))
        .await;
    assert!(
        refused
            .unwrap_err()
            .details
            .contains("partition 2 is labelled config-2")
    );
    bench.assert_unbootable();
}

#[tokio::test]
async fn two_partitions_for_the_config_drive_are_refused() {
    let mut image = mbr_image(6 * MIB);
    image[458..462].copy_from_slice(&2048_u32.to_le_bytes());
    // Partitions 2 and 3: empty FAT file systems with that label.
    for (entry, at) in [(462, 4), (478, 5)] {
        let start = u32::try_from(at * 2048).unwrap().to_le_bytes();
        image[entry..entry + 8].copy_from_slice(&[0, 0, 0, 0, 0x0c, 0, 0, 0]);
        image[entry + 8..entry + 12].copy_from_slice(&start);
        image[entry + 12..entry + 16].copy_from_slice(&2048_u32.to_le_bytes());
        let labelled = crate::machine::block::guarded_filesystem::tests::fat(*b"CONFIG-2   ");
        image[at * MIB..(at + 1) * MIB].copy_from_slice(&labelled);
    }
    let mut drive = vec![3; 40_000];
    drive[32768..32774].copy_from_slice(b"\x01CD001");
    let server = Server::start([("/i", Page::new(image.clone()))]).await;
    let bench = Bench::new(8 * MIB);
    let image_info = info(&server.url("/i"), &image);
    let refused = bench.deploy(image_info, Some(&gzip_base64(&drive))).await;
    let said = refused.unwrap_err().details;
    assert!(
        said.contains("More than one partition with label config-2"),
        "{said}"
    );
    assert!(said.contains("numbers 2 and 3"), "{said}");
    bench.assert_unbootable();
}

#[tokio::test]
async fn a_bad_config_drive_is_refused_before_the_disk_is_touched() {
    let image = mbr_image(3 * MIB);
    let server = Server::start([("/i", Page::new(image.clone()))]).await;
    let too_large = gzip_base64(&vec![0; 64 * MIB + 1]);
    let truncated = STANDARD.encode([0x1f, 0x8b, 8, 0, 0, 0]);
    for (value, text) in [
        ("malformed", "not base64 encoded"),
        (&too_large, "exceeds maximum limit of 64MiB"),
        (&truncated, "decompressing"),
        ("aGVsbG8=", "neither gzip data nor a file system"),
        (
            &server.url("/missing"),
            "Can't download the configdrive content for node local",
        ),
    ] {
        let bench = Bench::new(8 * MIB);
        let failure = bench
            .deploy(info(&server.url("/i"), &image), Some(value))
            .await
            .unwrap_err();
        assert_eq!(failure.kind, FailureKind::Deployment);
        assert!(failure.details.contains(text), "{failure}");
        bench.assert_untouched();
    }
}

#[tokio::test]
async fn a_wrong_checksum_leaves_an_unbootable_disk() {
    // As large as the disk, so that its last sectors are the disk's.
    for image in [mbr_image(8 * MIB), gpt_image(8 * MIB), mbr_image(3 * MIB)] {
        let bench = Bench::new(8 * MIB);
        let server = Server::start([("/i", Page::new(image.clone()))]).await;
        let wrong = info(&server.url("/i"), b"something else");
        let failure = bench.deploy(wrong, None).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::ImageChecksum);
        let found = hex::encode(Sha256::digest(&image));
        assert!(
            failure.details.contains(&found) && failure.details.contains("img"),
            "{failure}"
        );
        assert_eq!(server.seen().len(), 1, "asking again would not help");
        bench.assert_unbootable();
        bench.assert_next_works().await;
    }
}

#[tokio::test]
async fn an_image_larger_than_the_disk_is_refused() {
    let bench = Bench::new(4 * MIB);
    let image = mbr_image(5 * MIB);
    let announced = Page::new(image.clone());
    let server = Server::start([("/i", announced)]).await;
    let failure = bench
        .deploy(info(&server.url("/i"), &image), None)
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::ImageWrite);
    let numbers = format!("{} bytes and the disk only {}", 5 * MIB, 4 * MIB);
    assert!(failure.details.contains(&numbers), "{failure}");
    bench.assert_untouched();
    bench.assert_next_works().await;
}

#[tokio::test]
async fn what_does_not_exist_leaves_the_disk_alone() {
    let bench = Bench::new(4 * MIB);
    let server = Server::start(std::iter::empty::<(&str, Page)>()).await;
    let failure = bench
        .deploy(info(&server.url("/gone"), b""), None)
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::ImageDownload);
    assert!(
        failure.details.contains("Received status code 404"),
        "{failure}"
    );
    assert!(failure.details.contains("/gone"), "{failure}");
    bench.assert_untouched();
    bench.assert_next_works().await;
}

#[tokio::test]
async fn a_server_that_stalls_or_breaks_off_is_an_error() {
    let image = mbr_image(8 * MIB);
    let half = Page {
        stop_at: Some(4 * MIB + 77),
        ..Page::new(image.clone())
    };
    let silent = Page {
        stalls: true,
        ..half.clone()
    };
    let lying = Page {
        claimed: Some(8 * MIB as u64 - 512),
        ..Page::new(image.clone())
    };
    let boasting = Page {
        claimed: Some(8 * MIB as u64),
        ..Page::new(&image[..5 * MIB])
    };
    let cases = [
        (half, FailureKind::ImageDownload, "broke off"),
        (silent, FailureKind::ImageDownload, "sent nothing for"),
        (boasting, FailureKind::ImageDownload, "broke off"),
        (lying, FailureKind::ImageChecksum, "verification checksum"),
    ];
    for (page, kind, text) in cases {
        let mut bench = Bench::new(8 * MIB);
        // The one time that must pass in earnest: the sockets are real.
        bench.config.image_download_connection_timeout = Duration::from_millis(300);
        let server = Server::start([("/i", page)]).await;
        let failure = bench
            .deploy(info(&server.url("/i"), &image), None)
            .await
            .unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.details.contains(text), "{failure}");
        bench.assert_unbootable();
        bench.config.image_download_connection_timeout = Duration::from_secs(30);
        bench.assert_next_works().await;
    }
}

#[tokio::test]
async fn a_dropped_connection_is_resumed_without_sending_anything_twice() {
    let image = mbr_image(8 * MIB);
    for ranges in [true, false] {
        let mut bench = Bench::new(8 * MIB);
        bench.config.image_download_connection_retries = 1;
        let page = Page {
            stop_at: Some(5 * MIB + 77),
            only_once: true,
            ranges,
            ..Page::new(image.clone())
        };
        let server = Server::start([("/i", page)]).await;
        bench
            .deploy(info(&server.url("/i"), &image), None)
            .await
            .unwrap();
        assert!(bench.disk() == image);
        let seen = server.seen();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[1].1["range"], format!("bytes={}-", 5 * MIB + 77));
        assert_eq!(seen[1].1["if-range"], "\"v1\"");
    }
}

#[tokio::test]
async fn another_server_is_tried_when_the_first_has_nothing_or_rubbish() {
    let image = mbr_image(3 * MIB);
    let server = Server::start([
        ("/rubbish", Page::new(noise(3 * MIB))),
        ("/good", Page::new(image.clone())),
    ])
    .await;
    for first in ["/gone", "/rubbish"] {
        let bench = Bench::new(8 * MIB);
        let mut info = info(&server.url("/good"), &image);
        info["urls"] = json!([server.url(first), server.url("/good")]);
        bench.deploy(info, None).await.unwrap();
        assert!(bench.disk()[..image.len()] == image);
    }
}

/// Not only a digest tells bytes that are wrong: a decoder does, too, and sooner.
#[tokio::test]
async fn another_server_is_tried_when_the_first_sends_what_cannot_be_decoded() {
    let image = mbr_image(3 * MIB);
    let page = "<html><body>The storage is being serviced.</body></html>";
    for (file, disk_format) in [
        (compressed::zstd(&image), "raw"),
        (interrupted::qcow2(&image), "qcow2"),
    ] {
        let mut damaged = file.clone();
        let middle = damaged.len() / 2;
        // In zstd the middle; in qcow2 the tables, which lie at the end.
        damaged[middle..].reverse();
        let server = Server::start([
            ("/damaged", Page::new(damaged)),
            ("/page", Page::new(page)),
            ("/good", Page::new(file.clone())),
        ])
        .await;
        for first in ["/damaged", "/page"] {
            let bench = Bench::new(8 * MIB);
            let mut info = info("", &file);
            info["disk_format"] = json!(disk_format);
            info["urls"] = json!([server.url(first), server.url("/good")]);
            let (task, mut heard) = Task::new();
            bench.deploy_with(info.clone(), None, &task).await.unwrap();
            assert!(
                bench.disk()[..image.len()] == image,
                "{disk_format} {first}"
            );
            let mut warned = false;
            while let Ok(note) = heard.notes.try_recv() {
                warned |= format!("{note:?}").contains("Downloading once more");
            }
            assert!(warned, "{disk_format} {first}");
            // One server's only answer does not change by asking again.
            info["urls"] = json!([server.url(first)]);
            let before = server.seen().len();
            bench.deploy(info, None).await.unwrap_err();
            assert!(disk_format == "qcow2" || server.seen().len() == before + 1);
        }
    }
}

#[tokio::test]
async fn a_missing_disk_is_named() {
    let mut bench = Bench::new(MIB);
    bench.device.name = "/dev/no-such-disk".into();
    let image = mbr_image(3 * MIB);
    let server = Server::start([("/i", Page::new(image.clone()))]).await;
    let failure = bench
        .deploy(info(&server.url("/i"), &image), None)
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::DeviceNotFound);
    assert!(failure.details.contains("/dev/no-such-disk"), "{failure}");
}

#[tokio::test]
async fn images_that_are_no_raw_disks_are_refused_before_the_disk_is_touched() {
    let mut qcow2 = mbr_image(3 * MIB);
    qcow2[..4].copy_from_slice(b"QFI\xfb");
    let server = Server::start([
        ("/qcow2", Page::new(qcow2.clone())),
        ("/empty", Page::new("")),
    ])
    .await;
    for (image_info, text) in [
        (info(&server.url("/qcow2"), &qcow2), "actually qcow2"),
        (info(&server.url("/empty"), b""), "empty"),
    ] {
        let bench = Bench::new(8 * MIB);
        let failure = bench.deploy(image_info, None).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::InvalidImage);
        assert!(failure.details.contains(text), "{failure}");
        bench.assert_untouched();
    }
}

#[tokio::test]
async fn an_image_without_a_partition_table_is_refused_before_the_disk_is_touched() {
    let bench = Bench::new(8 * MIB);
    let mut empty = vec![0; 2 * MIB];
    empty[510..512].copy_from_slice(&[0x55, 0xaa]);
    for (image, text) in [
        (noise(2 * MIB), "unrecognised disk label"),
        (empty, "the partition table has no partition"),
    ] {
        let server = Server::start([("/i", Page::new(image.clone()))]).await;
        let failure = bench
            .deploy(info(&server.url("/i"), &image), None)
            .await
            .unwrap_err();
        assert_eq!(failure.kind, FailureKind::Deployment);
        assert!(failure.details.contains(text), "{failure}");
        bench.assert_untouched();
    }
    bench.assert_next_works().await;
}

#[tokio::test]
async fn a_checksum_file_is_fetched_and_read() {
    let image = mbr_image(3 * MIB);
    let digest = hex::encode(Sha256::digest(&image));
    let server = Server::start([
        ("/image.raw", Page::new(image.clone())),
        (
            "/sums",
            Page::new(format!(
                "{}  other.raw\n{digest}  image.raw\n",
                "0".repeat(64)
            )),
        ),
        (
            "/foreign",
            Page::new(format!("{digest}  other.raw\n{digest}  more.raw\n")),
        ),
    ])
    .await;
    let bench = Bench::new(8 * MIB);
    let mut image_info = info(&server.url("/image.raw?sig=1"), &image);
    image_info["os_hash_value"] = json!(server.url("/sums"));
    image_info["urls"] = json!([server.url("/image.raw")]);
    bench.deploy(image_info.clone(), None).await.unwrap();
    assert!(bench.disk()[..image.len()] == image);

    image_info["os_hash_value"] = json!(server.url("/foreign"));
    let failure = bench.deploy(image_info, None).await.unwrap_err();
    assert!(
        failure.details.contains("does not contain name image.raw"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_checksum_that_cannot_be_had_names_its_url() {
    let image = mbr_image(3 * MIB);
    let server = Server::start([("/i", Page::new(image.clone()))]).await;
    let bench = Bench::new(8 * MIB);
    let mut image_info = info(&server.url("/i"), &image);
    image_info["os_hash_value"] = json!(server.url("/no-sums"));
    let failure = bench.deploy(image_info, None).await.unwrap_err();
    let text = failure.to_string();
    assert!(
        text.contains(&server.url("/no-sums")) && text.contains("404"),
        "{text}"
    );
    bench.assert_untouched();
    assert!(server.seen().iter().all(|(path, _)| path == "/no-sums"));
}

#[tokio::test]
async fn an_undeclared_format_is_detected() {
    let image = mbr_image(3 * MIB);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &image).unwrap();
    let packed = packed.finish().unwrap();
    for file in [&image, &packed] {
        let server = Server::start([("/i", Page::new(file.clone()))]).await;
        for (disk_format, streamed) in [
            (Value::Null, json!(true)),
            (json!("unknown"), json!(false)),
            (json!("raw"), Value::Null),
        ] {
            let bench = Bench::new(8 * MIB);
            let mut image_info = info(&server.url("/i"), file);
            image_info["disk_format"] = disk_format;
            image_info["stream_raw_images"] = streamed;
            bench.deploy(image_info, None).await.unwrap();
            assert!(bench.disk()[..image.len()] == image);
        }
    }
}

#[tokio::test]
async fn credentials_go_to_the_image_server() {
    let image = mbr_image(3 * MIB);
    let server = Server::start([("/i", Page::new(image.clone()))]).await;
    let bench = Bench::new(8 * MIB);
    let mut image_info = info(&server.url("/i"), &image);
    image_info["image_request_authorization"] = json!("QmVhcmVyIGYwMA==");
    bench.deploy(image_info.clone(), None).await.unwrap();
    image_info["image_request_authorization"] = Value::Null;
    image_info["image_server_auth_strategy"] = json!("http_basic");
    image_info["image_server_user"] = json!("me");
    image_info["image_server_password"] = json!("word");
    bench.deploy(image_info, None).await.unwrap();
    let sent: Vec<_> = server
        .seen()
        .into_iter()
        .map(|(_, headers)| headers["authorization"].clone())
        .collect();
    assert_eq!(
        sent,
        [
            "Bearer f00",
            &format!("Basic {}", STANDARD.encode("me:word"))
        ]
    );
}

/// A registry with one image, whose blob lies on another server. All its documents are behind
/// the same listener.
async fn registry(image: &[u8], challenge: Option<(String, String)>) -> (Server, Server) {
    let digest = |bytes: &[u8]| format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
    let blobs = Server::start([("/store", Page::new(image))]).await;
    let layer = json!({"mediaType": "application/octet-stream", "digest": digest(image),
                       "size": image.len()});
    let manifest = json!({"schemaVersion": 2, "layers": [layer]}).to_string();
    let entry = json!({"digest": digest(manifest.as_bytes()), "annotations": {"disktype": "raw"}});
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    let behind = |page: Page| Page {
        challenge: challenge.clone(),
        ..page
    };
    let elsewhere = Page {
        status: 307,
        location: Some(blobs.url("/store")),
        ..Page::new("")
    };
    let base = "/v2/os/image";
    let by_digest = format!("{base}/manifests/{}", digest(manifest.as_bytes()));
    let registry = Server::start([
        (format!("{base}/manifests/1.0"), behind(Page::new(index))),
        (by_digest, behind(Page::new(manifest))),
        (format!("{base}/blobs/{}", digest(image)), behind(elsewhere)),
    ])
    .await;
    (registry, blobs)
}

#[tokio::test]
async fn an_image_comes_from_a_registry() {
    let image = mbr_image(3 * MIB);
    let token = Page::new(json!({"token": "t1", "expires_in": 60}).to_string());
    let tokens = Server::start([("/token?scope=repository:os/image:pull", token)]).await;
    let basic = format!("Basic {}", STANDARD.encode("me:word"));
    let bearer = format!("Bearer realm=\"{}\"", tokens.url("/token"));
    for (challenge, password) in [
        (None, false),
        (Some((basic, "Basic realm=\"r\"".to_owned())), true),
        (Some(("Bearer t1".to_owned(), bearer)), false),
    ] {
        let (registry, blobs) = registry(&image, challenge).await;
        let host = registry.url("");
        let host = host.strip_prefix("http://").unwrap();
        let mut bench = Bench::new(8 * MIB);
        // A registry of this machine need not have a certificate.
        bench.config.common.insecure = true;
        let url = format!("oci://{host}/os/image:1.0");
        let mut image_info = json!({"id": "img", "urls": [url], "disk_format": "raw"});
        if password {
            image_info["image_server_auth_strategy"] = json!("http_basic");
            image_info["image_server_user"] = json!("me");
            image_info["image_server_password"] = json!("word");
        }
        // Nobody said a checksum: the digest of the blob is one.
        bench.deploy(image_info, None).await.unwrap();
        assert!(bench.disk()[..image.len()] == image);
        // What the registry is shown is not for the server behind it.
        let asked = blobs.seen();
        assert!(
            asked
                .iter()
                .all(|(_, headers)| !headers.contains_key("authorization"))
        );
        assert_eq!(asked.len(), 1);
    }
    assert_eq!(tokens.seen().len(), 1);
}

#[tokio::test]
async fn a_cancelled_deployment_leaves_an_unbootable_disk() {
    let image = mbr_image(8 * MIB);
    let silent = Page {
        stop_at: Some(4 * MIB),
        stalls: true,
        ..Page::new(image.clone())
    };
    let server = Server::start([("/i", silent)]).await;
    let bench = Bench::new(8 * MIB);
    let task = Task::detached();
    let image_info = info(&server.url("/i"), &image);
    let cancel = async {
        // The beginning of the disk is zeroed once blocks arrive at the writer.
        while std::fs::read(Path::new(&bench.device.name)).unwrap()[0] != 0 {
            tokio::task::yield_now().await;
        }
        task.cancel("deadline");
    };
    let (deployed, ()) = tokio::join!(bench.deploy_with(image_info, None, &task), cancel);
    assert_eq!(deployed.unwrap_err(), task.cancellation().into());
    bench.assert_unbootable();
    bench.assert_next_works().await;
}

/// The controller is lost in the middle of an image: the command can be cancelled, and when
/// the disk comes back nothing more of the image is written.
#[tokio::test]
async fn a_command_whose_disk_hangs_can_be_cancelled() {
    let mut bench = Bench::new(16 * MIB);
    let disks = Arc::new(HangingDisks::new());
    bench.system.disks = disks.clone();
    let image = mbr_image(12 * MIB);
    let server = Server::start([("/image", Page::new(image.clone()))]).await;
    let task = Task::detached();
    let image_info = info(&server.url("/image"), &image);
    let deploying = bench.deploy_with(image_info, None, &task);
    tokio::pin!(deploying);
    while !disks.hangs() {
        // Others are served meanwhile: this runs on the same thread.
        tokio::select! {
            ended = &mut deploying => panic!("{ended:?}"),
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
    }
    task.cancel("operator");
    // Time passes a second for each turn of another thread, until it has given the disk up.
    tokio::time::pause();
    let begin = std::time::Instant::now();
    let failure = loop {
        let passing = async {
            tokio::task::spawn_blocking(|| ()).await.unwrap();
            tokio::time::advance(Duration::from_secs(1)).await;
        };
        tokio::select! {
            biased;
            ended = &mut deploying => break ended.unwrap_err(),
            () = passing => assert!(begin.elapsed() < Duration::from_secs(60)),
        }
    };
    tokio::time::resume();
    assert!(failure.details.contains("operator"), "{failure}");
    assert!(failure.details.contains("does not answer"), "{failure}");
    disks.let_go();
    while Arc::strong_count(&disks) > 2 || disks.hangs() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_ne!(bench.disk()[..image.len()], image);
}
