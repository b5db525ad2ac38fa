//! The cases of the hint language, mostly those of the Python agent's own tests.

use serde_json::json;

use ironic_text::error_chain;

use super::*;

fn disk(name: &str, size: u64) -> BlockDevice {
    BlockDevice {
        name: name.into(),
        size,
        ..BlockDevice::default()
    }
}

/// The disks of the Python agent's tests.
fn disks() -> Vec<BlockDevice> {
    let make = |name: &str, size, model: &str, serial: &str, wwn: &str| BlockDevice {
        model: model.into(),
        serial: Some(serial.into()),
        wwn: Some(wwn.into()),
        tran: Some("sas".into()),
        hctl: Some("1:0:0:0".into()),
        by_path: Some("/dev/disk/by-path/1:0:0:0".into()),
        ..disk(name, size)
    };
    let mut disks = vec![
        make("/dev/sda", 3116853504, "TinyUSB Drive", "sda123", "wwn0"),
        make(
            "/dev/sdb",
            10737418240,
            "Fastable SD131 7",
            "sdb123",
            "wwn1",
        ),
        make("/dev/sdc", 1765517033472, "NWD-BLP4-1600", "sdc123", "wwn2"),
    ];
    disks[2].rotational = true;
    disks
}

fn node(value: serde_json::Value) -> Node {
    Node(value.as_object().unwrap().clone())
}

fn with_hints(hints: serde_json::Value) -> Node {
    node(json!({"properties": {"root_device": hints}}))
}

fn chosen(devices: &[BlockDevice], node: &Node) -> String {
    match root_device(devices, node) {
        Ok(device) => device.name,
        Err(failure) => error_chain(&failure),
    }
}

#[test]
fn without_hints_the_smallest_of_four_gib_is_taken() {
    assert_eq!(chosen(&disks(), &Node::default()), "/dev/sdb");
    let four = 1 << 32;
    let cases = [
        (vec![disk("/dev/sda", four)], "/dev/sda"),
        (
            vec![disk("/dev/sdb", four), disk("/dev/sda", four)],
            "/dev/sda",
        ),
        (
            vec![disk("/dev/sda", four - 1), disk("/dev/sdb", four + 1)],
            "/dev/sdb",
        ),
    ];
    for (devices, name) in cases {
        assert_eq!(chosen(&devices, &Node::default()), name);
    }
    let read_only = BlockDevice {
        read_only: true,
        ..disk("/dev/sda", four)
    };
    assert_eq!(
        chosen(&[read_only, disk("/dev/sdb", four + 1)], &Node::default()),
        "/dev/sdb"
    );
}

#[test]
fn what_is_missing_names_the_limit_and_every_disk() {
    let devices = [disk("/dev/sda", 3116853504), disk("/dev/sdb", 4294967295)];
    let failure = root_device(&devices, &Node::default()).unwrap_err();
    assert_eq!(
        failure.to_string(),
        "No suitable device was found for deployment - root device hints were not provided \
         and all found block devices are smaller than 4294967296B. Disks: /dev/sda: 3116853504 \
         bytes are fewer than 4294967296; /dev/sdb: 4294967295 bytes are fewer than 4294967296"
    );
    let failure = root_device(&[], &Node::default()).unwrap_err();
    assert!(failure.to_string().ends_with("No disks were found at all."));
}

#[test]
fn a_simulation_has_no_smallest_size() {
    let file = BlockDevice {
        kind: DeviceKind::File,
        ..disk("/tmp/d", 4096)
    };
    assert_eq!(chosen(&[file], &Node::default()), "/tmp/d");
}

#[test]
fn hints_choose() {
    let cases = [
        (json!({"size": ">900"}), "/dev/sdc"),
        (json!({"size": 10}), "/dev/sdb"),
        (json!({"size": "10"}), "/dev/sdb"),
        (json!({"model": "fastable sd131 7"}), "/dev/sdb"),
        (json!({"model": "<in> fast", "size": ">= 10"}), "/dev/sdb"),
        (json!({"wwn": "wwn0"}), "/dev/sda"),
        (json!({"serial": "<or> none <or> sdc123"}), "/dev/sdc"),
        (json!({"rotational": true}), "/dev/sdc"),
        (json!({"rotational": "yes"}), "/dev/sdc"),
        (json!({"rotational": "off"}), "/dev/sda"),
        (json!({"name": "/dev/sdc"}), "/dev/sdc"),
        (json!({"by_path": "/dev/disk/by-path/1:0:0:0"}), "/dev/sda"),
        (
            json!({"hctl": "1:0:0:0", "name": "s!= /dev/sda"}),
            "/dev/sdb",
        ),
        (json!({"tran": "SAS"}), "/dev/sda"),
    ];
    for (hints, name) in cases {
        assert_eq!(
            chosen(&disks(), &with_hints(hints.clone())),
            name,
            "{hints}"
        );
    }
}

/// The three disks of Ironic's own tests of hints.
#[test]
fn hints_mean_what_ironic_means() {
    const GIB: u64 = 1 << 30;
    let make = |name: &str, size, rotational, model: &str| BlockDevice {
        rotational,
        model: model.into(),
        vendor: Some("fake vendor".into()),
        serial: Some(format!("serial {name}")),
        wwn: Some(format!("wwn {name}")),
        wwn_with_extension: Some(format!("wwn {name} ext")),
        wwn_vendor_extension: Some("ext".into()),
        tran: Some(
            if name == "/dev/nvme0n1" {
                "nvme"
            } else {
                "sas"
            }
            .into(),
        ),
        ..disk(name, size)
    };
    let disks = [
        make("/dev/sda", 60 * GIB, true, "big model"),
        make("/dev/sdb", 120 * GIB, true, "model 5"),
        make("/dev/nvme0n1", 10 * GIB, false, "small model"),
    ];
    let (first, second, third) = ("/dev/sda", "/dev/sdb", "/dev/nvme0n1");
    for (hints, expected) in [
        (json!({"size": ">= 70"}), second),
        (json!({"size": "120"}), second),
        (json!({"size": 120}), second),
        (json!({"size": "<or> 10 <or> 11"}), third),
        (json!({"size": "<range-in> ( 60 120 ]"}), second),
        (json!({"rotational": false}), third),
        (
            json!({"model": "<or> foo <or> small model <or>", "rotational": "f"}),
            third,
        ),
        (
            json!({"wwn": "WWN /dev/sdb", "vendor": "FAKE vendor"}),
            second,
        ),
        (json!({"wwn_with_extension": "wwn /dev/sda ext"}), first),
        (
            json!({"wwn_vendor_extension": "ext", "model": "s> model"}),
            second,
        ),
        (json!({"tran": "nvme"}), third),
        (json!({"tran": "sas"}), first),
    ] {
        assert_eq!(
            chosen(&disks, &with_hints(hints.clone())),
            expected,
            "{hints}"
        );
    }
    for word in ["1", "t", "true", "on", "y", "yes", "TRUE", "Yes"] {
        assert_eq!(
            chosen(&disks[1..], &with_hints(json!({"rotational": word}))),
            second
        );
    }
    for word in ["0", "f", "false", "off", "n", "no", "False"] {
        assert_eq!(
            chosen(&disks, &with_hints(json!({"rotational": word}))),
            third
        );
    }
    for hints in [
        json!({"size": -123}),
        json!({"size": 0}),
        json!({"size": "<or> 123 <or> non-int <or> 789"}),
        json!({"rotational": "not-bool"}),
        json!({"model": 123}),
    ] {
        let details = chosen(&disks, &with_hints(hints.clone()));
        assert!(details.contains("failed to validate"), "{hints}: {details}");
    }
    assert!(chosen(&disks, &with_hints(json!({"size": 11}))).starts_with("No suitable device"));
}

#[test]
fn every_name_of_a_disk_counts() {
    let device = BlockDevice {
        serial: Some("long".into()),
        other_serials: vec!["short".into()],
        ..disk("/dev/sda", 1)
    };
    for serial in ["long", "short", "<in> shor"] {
        assert_eq!(
            chosen(
                std::slice::from_ref(&device),
                &with_hints(json!({"serial": serial}))
            ),
            "/dev/sda"
        );
    }
    let details = chosen(
        std::slice::from_ref(&device),
        &with_hints(json!({"serial": "s!= short"})),
    );
    assert!(
        details.ends_with("/dev/sda: its serial 'long' or 'short' does not fulfil 's!= short'"),
        "{details}"
    );
}

#[test]
fn what_is_unknown_matches_nothing() {
    for hints in [
        json!({"vendor": "none"}),
        json!({"vendor": "s!= x"}),
        json!({"wwn_with_extension": "!= 5"}),
    ] {
        let details = chosen(&disks(), &with_hints(hints.clone()));
        assert!(details.contains("is unknown"), "{hints}: {details}");
    }
    let blank = BlockDevice {
        model: " ".into(),
        ..disk("/dev/sda", 1)
    };
    assert!(chosen(&[blank], &with_hints(json!({"model": "foo"}))).contains("model is unknown"));
}

#[test]
fn wrong_hints_are_named() {
    let cases = [
        (
            json!({"size": "not-int"}),
            "hint 'size' must be a whole number of GiB above 0",
        ),
        (
            json!({"size": "<in> 60"}),
            "hint 'size' cannot be compared by '<in>'",
        ),
        (
            json!({"rotational": "bla"}),
            "hint 'rotational' must be true or false",
        ),
        (
            json!({"model": 5}),
            "hint 'model' must be a text that is not empty, not 5",
        ),
        (json!({"model": ""}), "hint 'model' must be a text"),
        (
            json!({"colour": "red"}),
            "unknown hint 'colour'; the hints are: by_path, hctl, model,",
        ),
        (json!("size=5"), "hints must be an object"),
    ];
    for (hints, text) in cases {
        let failure = root_device(&disks(), &with_hints(hints.clone())).unwrap_err();
        let details = error_chain(&failure);
        assert!(
            details.contains("failed to validate. Error: "),
            "{}",
            details
        );
        assert!(details.contains(text), "{}", failure.to_string());
    }
}

#[test]
fn the_skip_list_hides_disks() {
    let skip = |list: serde_json::Value| node(json!({"properties": {"skip_block_devices": list}}));
    let remaining = |list| -> Vec<String> {
        let devices = without_skipped(&disks(), &skip(list)).unwrap();
        devices.into_iter().map(|device| device.name).collect()
    };
    assert_eq!(
        remaining(json!([{"name": "/dev/sdb"}])),
        ["/dev/sda", "/dev/sdc"]
    );
    assert_eq!(remaining(json!([{"name": "/dev/sdz"}])).len(), 3);
    assert_eq!(
        remaining(json!([{"size": "> 900"}, {"model": "TinyUSB Drive"}])),
        ["/dev/sdb"]
    );
    assert_eq!(remaining(json!([{"volume_name": "large"}])).len(), 3);
    assert_eq!(remaining(json!([{}])).len(), 3);
    assert!(
        remaining(json!([{"name": "<or> /dev/sda <or> /dev/sdb"}, {"wwn": "wwn2"}])).is_empty()
    );
    // Any of a disk's names is enough.
    let mut names = disks()[1].clone();
    names.other_wwns = vec!["wwn9".into()];
    let by_other = skip(json!([{"wwn": "wwn9"}]));
    assert!(
        without_skipped(&[names.clone()], &by_other)
            .unwrap()
            .is_empty()
    );
    assert!(chosen(&[names], &by_other).contains("skip_block_devices names it"));
    assert_eq!(remaining(json!([])).len(), 3);

    assert_eq!(
        chosen(&disks(), &skip(json!([{"name": "/dev/sdb"}]))),
        "/dev/sdc"
    );
    let details = chosen(&disks(), &skip(json!([{"tran": "sas"}])));
    assert!(
        details.contains(r#"skip_block_devices names it by {"tran":"sas"}"#),
        "{details}"
    );

    for wrong in [
        json!([{"nme": "/dev/sdb"}]),
        json!({"name": "/dev/sdb"}),
        json!(["/dev/sdb"]),
        json!([{"volume_name": 5}]),
        json!([{"volume_name": null}]),
        json!([{"volume_name": ""}]),
    ] {
        assert!(
            without_skipped(&disks(), &skip(wrong.clone())).is_err(),
            "{wrong}"
        );
        assert!(chosen(&disks(), &skip(wrong)).contains("skip_block_devices failed to validate"));
    }
}

/// An operator who wonders why it is not that disk finds each one in the log.
/// Partitions on the disks, of the size of another disk and of their own.
fn partitions() -> Vec<BlockDevice> {
    let mut partitions = Vec::new();
    for (index, holder) in disks().into_iter().enumerate() {
        for (number, size) in [(1, disks()[(index + 1) % 3].size), (2, 5 << 30)] {
            partitions.push(BlockDevice {
                name: format!("{}{number}", holder.name),
                kind: DeviceKind::Partition,
                size,
                by_path: Some(format!("/dev/disk/by-path/1:0:0:0-part{number}")),
                parent: Some(holder.name.clone()),
                ..holder.clone()
            });
        }
    }
    partitions
}

#[test]
fn the_skip_list_is_about_disks_unless_it_names_a_partition() {
    let names = |devices: Vec<BlockDevice>| -> Vec<String> {
        devices.into_iter().map(|device| device.name).collect()
    };
    let skipped = |devices: &[BlockDevice], hint: &serde_json::Value| {
        let node = node(json!({"properties": {"skip_block_devices": [hint]}}));
        let kept = names(without_skipped(devices, &node).unwrap());
        let mut names = names(devices.to_vec());
        names.retain(|name| !kept.contains(name));
        names
    };
    let all = [disks(), partitions()].concat();
    let about_disks = [
        json!({"size": 10}),
        json!({"size": "> 1"}),
        json!({"size": "<or> 5 <or> 10"}),
        json!({"rotational": true}),
        json!({"serial": "sdb123"}),
        json!({"model": "<in> usb", "size": "< 50"}),
        json!({"tran": "sas"}),
        json!({"name": "s!= /dev/sda"}),
        json!({"name": "s> /dev/sdb"}),
        json!({"by_path": "s!= /dev/disk/by-path/1:0:0:0"}),
        json!({"name": "!= 7", "size": 10}),
    ];
    for hint in &about_disks {
        assert_eq!(skipped(&all, hint), skipped(&disks(), hint), "{hint}");
    }
    for (hint, expected) in [
        (json!({"name": "/dev/sda2"}), vec!["/dev/sda2"]),
        (json!({"name": "s== /dev/sda2"}), vec!["/dev/sda2"]),
        (
            json!({"name": "<or> /dev/sdb <or> /dev/sda2"}),
            vec!["/dev/sdb", "/dev/sda2"],
        ),
        (
            json!({"name": "<in> sda"}),
            vec!["/dev/sda", "/dev/sda1", "/dev/sda2"],
        ),
        (
            json!({"by_path": "/dev/disk/by-path/1:0:0:0-part2", "serial": "sdc123"}),
            vec!["/dev/sdc2"],
        ),
        (json!({"name": "/dev/sda2", "size": 10}), vec![]),
    ] {
        assert_eq!(skipped(&all, &hint), expected, "{hint}");
    }
}

#[test]
fn every_disk_that_is_not_chosen_has_its_reason() {
    let mut node = with_hints(json!({"size": "> 3"}));
    node.0["properties"]["skip_block_devices"] = json!([{"serial": "sdx123"}]);
    let mut devices = disks();
    devices.push(BlockDevice {
        serial: Some("sdx123".into()),
        ..disk("/dev/sdx", 1 << 40)
    });
    let mut rejected = Vec::new();
    let chosen = choose(&devices, &node, &mut rejected).unwrap();
    assert_eq!(chosen.name, "/dev/sdb");
    let reasons: Vec<_> = rejected
        .iter()
        .map(|RejectedDisk { disk, reason }| format!("{disk}: {reason}"))
        .collect();
    assert_eq!(
        reasons,
        [
            r#"/dev/sdx: skip_block_devices names it by {"serial":"sdx123"}"#,
            "/dev/sda: its size of 2.90 GiB does not fulfil '> 3'",
            "/dev/sdc: it fulfils the hints, but /dev/sdb comes first",
        ]
    );
}

fn array(name: &str, size: u64, is_root: Option<bool>, disks: &[&str]) -> BlockDevice {
    BlockDevice {
        kind: DeviceKind::Raid,
        disks: disks.iter().map(|disk| (*disk).to_owned()).collect(),
        members: disks.iter().map(|disk| format!("{disk}1")).collect(),
        is_root_volume: is_root,
        ..disk(name, size)
    }
}

#[test]
fn arrays_say_whether_they_are_the_root() {
    const TIB: u64 = 1 << 40;
    let on = ["/dev/sda", "/dev/sdb"];
    let sda = || disk("/dev/sda", TIB);
    let sdb = || disk("/dev/sdb", TIB);
    let sda1 = || disk("/dev/sda1", TIB);
    let spare = || disk("/dev/sdc", TIB + 1);
    let md = |name, is_root| array(name, TIB - 2, is_root, &on);
    let hinted = with_hints(json!({"name": "/dev/sda"}));
    let none = Node::default();
    for (devices, node, expected) in [
        // Without a word an array is a disk like others, and smaller than those under it.
        (vec![sda(), sdb(), md("/dev/md0", None)], &none, "/dev/md0"),
        (
            vec![sda(), sdb(), md("/dev/md0", None)],
            &hinted,
            "/dev/sda",
        ),
        (
            vec![sda(), sdb(), md("/dev/md1", Some(true))],
            &hinted,
            "/dev/md1",
        ),
        (
            vec![
                sda(),
                sda1(),
                sdb(),
                md("/dev/md0", Some(false)),
                array("/dev/md1", TIB, None, &[]),
            ],
            &none,
            "/dev/md1",
        ),
        (
            vec![
                sda(),
                sdb(),
                md("/dev/md0", Some(false)),
                md("/dev/md1", Some(false)),
                spare(),
            ],
            &none,
            "/dev/sdc",
        ),
        (
            vec![
                sda(),
                sdb(),
                md("/dev/md0", Some(true)),
                md("/dev/md1", Some(false)),
            ],
            &none,
            "/dev/md0",
        ),
    ] {
        assert_eq!(chosen(&devices, node), expected);
    }
    let mut skipping = node(json!({"properties": {"skip_block_devices": [{"name": "/dev/sdc"}]}}));
    let left = [sda(), sdb(), md("/dev/md0", Some(false)), spare()];
    let details = chosen(&left, &skipping);
    assert!(
        details.contains("/dev/sdb: /dev/md0 was made as a volume that is not the root"),
        "{details}"
    );
    // An array that must be left alone is not a root volume either.
    skipping.0["properties"]["skip_block_devices"] = json!([{"name": "/dev/md0"}]);
    assert_eq!(
        chosen(&[md("/dev/md0", Some(true)), spare()], &skipping),
        "/dev/sdc"
    );
}

#[test]
fn damaged_input() {
    let disks = disks();
    let candidates: Vec<_> = disks.iter().collect();
    ironic_fuzz::run("hints", |bytes| {
        let Ok(hints) = serde_json::from_slice(bytes) else {
            return;
        };
        if let Ok(hints) = Hints::parse(&hints) {
            let _ = first_match(&candidates, &hints, &mut Vec::new());
        }
    });
}
