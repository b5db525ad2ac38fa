//! What an order becomes, and how it is refused.

use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::*;
use crate::commands::arguments::GivenArguments;
use crate::commands::descriptor::VerbDescriptor;
use crate::commands::failure::FailureKind;
use crate::commands::testing;
use crate::config::AgentConfig;
use crate::image::{PartitionRequest, ServerCredentials};
use crate::machine::BootMode;
use crate::machine::ironic_node::DiskLabel;
use crate::system::System;

const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn verb(document: Value) -> WriteImage {
    let Value::Object(named) = document else {
        panic!("{document}");
    };
    let verb = VerbDescriptor::by_name("order.write_image").unwrap();
    let given = GivenArguments {
        named,
        ..GivenArguments::default()
    };
    WriteImage::read(VerbArguments::check(verb, given).unwrap()).unwrap()
}

fn image() -> Value {
    json!({
        "urls": ["https://host/a/debian.raw?token=secret", "oci://registry/x"],
        "digest": {"algorithm": "DIGEST_ALGORITHM_SHA256", "value": DIGEST},
        "format": "IMAGE_FORMAT_RAW",
        "size": "9007199254740993",
        "credentials": {"user": "u", "password": "p"},
    })
}

/// The document with something else in a place, or without it.
fn with(mut document: Value, path: &str, value: Value) -> Value {
    let (parent, name) = path.rsplit_once('/').unwrap();
    let fields = document
        .pointer_mut(parent)
        .unwrap()
        .as_object_mut()
        .unwrap();
    match value {
        Value::Null => drop(fields.remove(name)),
        value => drop(fields.insert(name.to_owned(), value)),
    }
    document
}

#[test]
fn an_order_becomes_what_ironics_document_becomes() {
    let call = verb(json!({
        "image": image(),
        "target": {"device": "/dev/sdb", "min_size_gib": 10, "transport": "nvme",
                   "rotational": false},
        "config_drive": {"content": "YWJj"},
        "partitions": {"root_mib": 10, "swap_mib": 3, "ephemeral_mib": 5,
                       "preserve_ephemeral": true},
        "boot_mode": "FIRMWARE_MODE_UEFI",
    }));
    let order = call.order().unwrap();
    let document = json!({
        "id": "debian.raw", "urls": image()["urls"], "disk_format": "raw",
        "os_hash_algo": "sha256", "os_hash_value": DIGEST, "image_type": "partition",
        "root_mb": 10, "swap_mb": 3, "ephemeral_mb": 5, "preserve_ephemeral": true,
        "ephemeral_format": "ext4", "boot_option": "local",
        "deploy_boot_mode": "uefi", "image_server_auth_strategy": "http_basic",
        "image_server_user": "u", "image_server_password": "p",
    });
    let ironic = ImageRequest::from_document(document.as_object().unwrap(), false).unwrap();
    let ordered = ImageRequest {
        size: None,
        ..order.request.clone()
    };
    assert_eq!(format!("{ordered:?}"), format!("{ironic:?}"));
    assert_eq!(order.request.size, Some((1 << 53) + 1));
    assert_eq!(order.configdrive.as_deref(), Some("YWJj"));
    assert_eq!(
        order.target.as_ref().unwrap().hints,
        json!({"name": "s== /dev/sdb", "tran": "nvme", "rotational": false, "size": ">= 10"})
    );
}

#[test]
fn only_the_image_is_required() {
    let call = verb(json!({"image": {"urls": ["oci://registry/x"]}}));
    let order = call.order().unwrap();
    assert_eq!(order.request.credentials, ServerCredentials::Configured);
    assert!(order.target.is_none() && order.configdrive.is_none() && order.firmware.is_none());
    let partition = verb(json!({"image": image(), "partitions": {"root_mib": 1}}));
    let partition = partition.order().unwrap().request.partition.clone();
    assert!(matches!(
        partition,
        Some(PartitionRequest { swap_mib: 0, .. })
    ));
}

#[test]
fn errors_name_their_field() {
    let whole = json!({"image": image()});
    let cases = [
        ("/image", Value::Null, "write_image.image: is missing"),
        (
            "/image/urls",
            Value::Null,
            "write_image.image.urls: is missing",
        ),
        (
            "/image/urls",
            json!(["http://a", "ftp://user:hunter2@b"]),
            "write_image.image.urls[1]: must be a URL with https://, http://, file:// or oci://, \
             not ftp",
        ),
        (
            "/image/digest/algorithm",
            json!("DIGEST_ALGORITHM_UNSPECIFIED"),
            "write_image.image.digest.algorithm: must be DIGEST_ALGORITHM_SHA256",
        ),
        (
            "/image/digest/algorithm",
            json!("77"),
            "write_image.image.digest.algorithm: must be",
        ),
        (
            "/image/digest/value",
            json!("abc"),
            "write_image.image.digest.value: must be as many hexadecimal digits",
        ),
        (
            "/image/digest/value",
            Value::Null,
            "write_image.image.digest.value: is missing",
        ),
        (
            "/image/digest/list_url",
            json!("https://x"),
            "write_image.image.digest.value: cannot be given together with list_url",
        ),
        (
            "/image/format",
            json!("9"),
            "write_image.image.format: must be IMAGE_FORMAT_RAW",
        ),
        (
            "/image/credentials/password",
            Value::Null,
            "write_image.image.credentials.user: needs password, too",
        ),
        (
            "/image/credentials/authorization",
            json!("Bearer hunter2"),
            "write_image.image.credentials.authorization: cannot be given together with user",
        ),
        ("/target", json!({}), "write_image.target: is missing"),
        (
            "/target",
            json!({"device": "sda"}),
            "write_image.target.device: must be a path such as /dev/sda",
        ),
        (
            "/target",
            json!({"device": "/dev/disk/by-id/x"}),
            "write_image.target.device: must be a path",
        ),
        (
            "/config_drive",
            json!({}),
            "write_image.config_drive: is missing: give content or url",
        ),
        (
            "/config_drive",
            json!({"url": "file:///x"}),
            "write_image.config_drive.url: must be a URL with https:// or http://, not file",
        ),
        (
            "/config_drive",
            json!({"url": "http://x", "content": "eA=="}),
            "write_image.config_drive.content: cannot be given together with url",
        ),
        (
            "/partitions",
            json!({}),
            "write_image.partitions.root_mib: is missing",
        ),
        (
            "/partitions",
            json!({"root_mib": 1, "ephemeral_mib": 1, "ephemeral_file_system": "ext4; rm"}),
            "write_image.partitions.ephemeral_file_system: must be the name of a file system",
        ),
        (
            "/partitions",
            json!({"root_mib": 1, "ephemeral_file_system": "ext4"}),
            "write_image.partitions.ephemeral_file_system: needs ephemeral_mib, too",
        ),
        (
            "/partitions",
            json!({"root_mib": 1, "preserve_ephemeral": true}),
            "write_image.partitions.preserve_ephemeral: needs ephemeral_mib, too",
        ),
        (
            "/image/urls",
            json!(["file:///a"]),
            "write_image.image.credentials: means nothing with urls that are all file://",
        ),
        (
            "/image/size",
            json!("0"),
            "write_image.image.size: must be at least 1, or absent, not 0",
        ),
        (
            "/boot_mode",
            json!("7"),
            "write_image.boot_mode: must be FIRMWARE_MODE_UEFI",
        ),
    ];
    let context = testing::context(AgentConfig::default());
    verb(whole.clone()).check(&context).unwrap();
    for (path, value, text) in cases {
        let document = with(whole.clone(), path, value);
        let failure = verb(document).check(&context).unwrap_err();
        assert_eq!(failure.kind, FailureKind::InvalidCommandParams);
        assert!(failure.details.starts_with(text), "{}", failure.details);
        assert!(!failure.details.contains("hunter2"), "{}", failure.details);
    }
    let no_digest = with(whole, "/image/digest", Value::Null);
    let alone = with(no_digest, "/image/urls", json!(["https://x"]));
    let failure = verb(alone).check(&context).unwrap_err();
    let text = "write_image.image.digest: is missing: nothing else could verify the image";
    assert_eq!(failure.details, text);
}

/// Every boot mode that can be ordered, on every node that says something of it: what passes is
/// done as ordered.
#[test]
fn the_firmware_that_is_ordered_is_the_one_that_the_node_gets() {
    let capabilities = [
        json!({}),
        json!({"secure_boot": "true"}),
        json!({"secure_boot": "false"}),
        json!("secure_boot:True,boot_mode:uefi"),
        json!({"boot_mode": "bios"}),
        json!({"boot_mode": "uefi"}),
        json!({"disk_label": "msdos"}),
        json!({"disk_label": "gpt"}),
    ];
    let modes = [
        ("FIRMWARE_MODE_UEFI", BootMode::Uefi),
        ("FIRMWARE_MODE_BIOS", BootMode::Bios),
    ];
    let context = testing::context(AgentConfig::default());
    let mut refused = Vec::new();
    for section in ["instance_info", "properties"] {
        for capability in &capabilities {
            let Value::Object(document) = json!({section: {"capabilities": capability}}) else {
                unreachable!()
            };
            context.node.remember(Node(document));
            for (name, mode) in modes {
                for partitions in [Value::Null, json!({"root_mib": 1})] {
                    let order = with(json!({"image": image()}), "/boot_mode", json!(name));
                    let call = verb(with(order, "/partitions", partitions.clone()));
                    if let Err(failure) = call.check(&context) {
                        assert_eq!(failure.kind, FailureKind::InvalidCommandParams);
                        refused.push(failure.details);
                        continue;
                    }
                    let order = call.order().unwrap();
                    let node = order.ordered_node(&context.node.current());
                    assert_eq!(node.boot_mode(BootMode::Bios), mode, "{capability} {name}");
                    assert_eq!(node.boot_mode(BootMode::Uefi), mode, "{capability} {name}");
                    if partitions.is_object() && node.wants_msdos_label() {
                        assert_eq!(node.disk_label(mode), DiskLabel::Msdos);
                    }
                }
            }
        }
    }
    let starts = |text: &str| refused.iter().filter(|said| said.starts_with(text)).count();
    let bios =
        "write_image.boot_mode: is FIRMWARE_MODE_BIOS, and the node's capability secure_boot";
    let uefi = "write_image.boot_mode: is FIRMWARE_MODE_UEFI, and the node's capability disk_label";
    assert_eq!(
        (starts(bios), starts(uefi), refused.len()),
        (8, 2, 10),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_node_that_has_changed_since_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let (context, image) = machine(directory.path());
    let call = verb(json!({
        "image": image, "boot_mode": "FIRMWARE_MODE_BIOS",
    }));
    call.check(&context).unwrap();
    let Value::Object(node) = json!({"properties": {"capabilities": "secure_boot:true",
                                                    "root_device": {"size": ">= 0"}}})
    else {
        unreachable!()
    };
    context.node.remember(Node(node));
    let failure = call.run(&context, &Task::detached()).await.unwrap_err();
    assert!(
        failure.details.starts_with("write_image.boot_mode: "),
        "{}",
        failure.details
    );
}

/// A machine with two disks that are files, and an image of a whole disk.
fn machine(directory: &Path) -> (CommandContext, Value) {
    let disks = directory.join("disks");
    std::fs::create_dir(&disks).unwrap();
    for name in ["sda", "sdb"] {
        let disk = std::fs::File::create(disks.join(name)).unwrap();
        disk.set_len(16 << 20).unwrap();
    }
    let mut image = vec![0_u8; 4 << 20];
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image[446..462].copy_from_slice(&[0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0]);
    image[1 << 20..].fill(7);
    let digest = hex::encode(Sha256::digest(&image));
    std::fs::write(directory.join("image"), &image).unwrap();
    let mut context = testing::context(AgentConfig::default());
    context.system = System::simulated(&disks);
    let image = json!({
        "urls": [format!("file://{}", directory.join("image").display())],
        "digest": {"algorithm": "DIGEST_ALGORITHM_SHA256", "value": digest},
        "format": "IMAGE_FORMAT_RAW",
        "size": 4 << 20,
    });
    (context, image)
}

#[tokio::test]
async fn the_disk_that_is_described_gets_the_image() {
    let directory = tempfile::tempdir().unwrap();
    let (context, image) = machine(directory.path());
    let device = directory.path().join("disks/sdb");
    // A file that plays a disk has another path than a device.
    let order = |image: Value| {
        let call = verb(json!({"image": image}));
        let mut order = call.order().unwrap().clone();
        order.target = Some(DiskSelector {
            path: "write_image.target".to_owned(),
            hints: json!({"name": format!("s== {}", device.display())}),
        });
        let call = verb(json!({}));
        call.order.set(order).unwrap();
        call
    };
    let plan = order(image.clone()).plan(&context).await.unwrap();
    assert_eq!(plan.actions[0].device, device.display().to_string());
    assert!(plan.actions[0].destructive);

    let other = with(json!({"image": image.clone()}), "/image/size", json!(5));
    let task = Task::detached();
    let failed = order(other["image"].clone()).run(&context, &task).await;
    let failure = failed.unwrap_err();
    assert_eq!(failure.kind, FailureKind::ImageChecksum);
    assert_eq!(
        failure.details,
        "image image has 4194304 bytes where it is, and 5 were asked for"
    );
    let untouched = std::fs::read(&device).unwrap();
    assert!(untouched.iter().all(|byte| *byte == 0));

    let answer = order(image).run(&context, &task).await.unwrap();
    assert_eq!(answer["device"], device.display().to_string());
    assert_eq!(answer["efi_system_partition_uuid"], "");
    assert!(
        answer["root_uuid"].as_str().unwrap().starts_with("0x"),
        "{answer}"
    );
    let written = std::fs::read(&device).unwrap();
    assert!(written[2 << 20..3 << 20].iter().all(|byte| *byte == 7));

    let mut nowhere = order(json!({"urls": ["oci://x/y"]}));
    let mut wrong = nowhere.order.take().unwrap();
    wrong.target = Some(DiskSelector {
        path: "write_image.target".to_owned(),
        hints: json!({"serial": "x"}),
    });
    nowhere.order.set(wrong).unwrap();
    let failure = nowhere.plan(&context).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::DeviceNotFound);
    assert!(
        failure.details.starts_with("write_image.target: "),
        "{}",
        failure.details
    );
}
