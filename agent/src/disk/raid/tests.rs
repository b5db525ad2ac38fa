use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Mutex;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use ironic_ondisk::size::MIB;

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::disk::partition::table::PartitionTable;
use crate::failure::{Failure, FailureKind};
use crate::machine::block;
use crate::machine::block::DeviceKind;
use crate::machine::block::guarded_filesystem::tests::superblock;
use crate::machine::ironic_node::Node;
use crate::machine::raid::tests::member;
use crate::machine::testing::FakeMachine;
use crate::system::process::{Output, Script};
use crate::system::{Cmd, Disk, DiskError, Run, RunError, System};
use crate::task::Task;

const SIZE: u64 = 8 << 30;

fn node(document: Value) -> Node {
    Node(document.as_object().unwrap().clone())
}

/// A file of so many bytes that takes no room.
fn sparse(machine: &FakeMachine, name: &str, size: u64) {
    let path = machine.path().join("dev").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::File::create(path).unwrap().set_len(size).unwrap();
}

/// Empty disks of 8 GiB; their first two partitions have nodes as soon as anyone looks.
fn machine(names: &[&str]) -> FakeMachine {
    let mut machine = FakeMachine::new();
    for (port, name) in (1..).zip(names) {
        machine.sata_disk(name, SIZE, port);
        sparse(&machine, name, SIZE);
        for number in 1..3 {
            sparse(&machine, &format!("{name}{number}"), MIB);
        }
    }
    machine
}

fn ten_and_rest() -> Value {
    json!({"logical_disks": [
        {"size_gb": "2", "raid_level": "1", "controller": "software"},
        {"size_gb": "MAX", "raid_level": "0", "controller": "software"}]})
}

async fn planned(machine: &FakeMachine, node: &Node, config: &Value) -> Result<Creation, Failure> {
    let planned = plan_creation(&machine.system(), node, true, config, false).await;
    planned.map_err(Failure::from)
}

#[tokio::test]
async fn tables_are_written_and_arrays_made_of_their_partitions() {
    let machine = machine(&["sda", "sdb"]);
    let creation = planned(&machine, &Node::default(), &ten_and_rest())
        .await
        .unwrap();
    let both = json!(["/dev/sda", "/dev/sdb"]);
    assert_eq!(creation.result["logical_disks"][1]["block_devices"], both);
    let detail = |device: &str, members: &[&str]| {
        let rows: String = members
            .iter()
            .map(|member| format!("   0  8  1  0  active sync   {member}\n"))
            .collect();
        format!("{device}:\n   Name : box:/dev/sdx\n   Events : 1\n{rows}")
    };
    // Superblocks of arrays that were there once: of the disk, and where a partition will be.
    let old = [0, SIZE - MIB, MIB + 4096, MIB + (2 << 30) - 65536];
    {
        let mut disk = machine.system().disks.open("/dev/sda".as_ref()).unwrap();
        for offset in old {
            disk.write_at(offset, &[0xaa; 4096]).unwrap();
        }
    }
    let script = Script::new()
        .expect(
            "mdadm --create /dev/md0 --force --run --metadata=1 --level 1 --name md0 \
             --raid-devices 2 /dev/sda1 /dev/sdb1",
            "",
        )
        .expect(
            "mdadm --detail /dev/md0",
            &detail("/dev/md0", &["/dev/sda1", "/dev/sdb1"]),
        )
        .expect(
            "mdadm --create /dev/md1 --force --run --metadata=1 --level 0 --name md1 \
             --raid-devices 2 /dev/sda2 /dev/sdb2",
            "",
        )
        // One did not make it.
        .expect(
            "mdadm --detail /dev/md1",
            &detail("/dev/md1", &["/dev/sda2"]),
        )
        .expect_result("mdadm --add /dev/md1 /dev/sdb2", refused("busy"))
        .expect("mdadm --add /dev/md1 /dev/sdb2", "");
    let script = Arc::new(script);
    let system = machine.system_with(script.clone());
    let layout = creation.layout.unwrap();
    create(&system, &layout, &Task::detached()).await.unwrap();
    script.assert_done();
    for name in ["/dev/sda", "/dev/sdb"] {
        let mut disk = system.disks.open(name.as_ref()).unwrap();
        let table = PartitionTable::read(disk.as_mut()).unwrap().unwrap();
        let parts: Vec<_> = table
            .partitions(512)
            .into_iter()
            .map(|part| (part.number, part.offset, part.size))
            .collect();
        let first = (1, MIB, 2 << 30);
        let second = (2, MIB + (2 << 30), SIZE - MIB - (2 << 30));
        assert_eq!(parts, [first, second]);
        assert!(matches!(table, PartitionTable::Mbr(_)));
        for offset in &old[1..] {
            let mut bytes = [1; 4096];
            disk.read_at(*offset, &mut bytes).unwrap();
            assert!(bytes.iter().all(|byte| *byte == 0), "{offset}");
        }
    }
}

fn refused(stderr: &str) -> Result<Output, RunError> {
    Err(RunError::Failed {
        program: "mdadm".into(),
        command: "mdadm".into(),
        status: 1,
        stderr: stderr.into(),
    })
}

#[tokio::test]
async fn which_array_is_the_root_is_remembered() {
    let mut machine = machine(&["sda", "sdb"]);
    let config = json!({"logical_disks": [
        {"size_gb": 2, "raid_level": "1", "controller": "software", "is_root_volume": true},
        {"size_gb": "MAX", "raid_level": "0", "controller": "software", "is_root_volume": false}]});
    let creation = planned(&machine, &Node::default(), &config).await.unwrap();
    let layout = creation.layout.unwrap();
    let said: Vec<_> = layout.arrays.iter().map(|array| array.is_root).collect();
    assert_eq!(said, [Some(true), Some(false)]);
    // Remembered before an array is made, so that it is not made without.
    let script = Script::new().expect_result(
        "mdadm --create /dev/md0 --force --run --metadata=1 --level 1 --name md0 \
         --raid-devices 2 /dev/sda1 /dev/sdb1",
        refused("no"),
    );
    let system = machine.system_with(Arc::new(script));
    let created = create(&system, &layout, &Task::detached()).await;
    assert!(
        created
            .unwrap_err()
            .to_string()
            .contains("Failed to create md device")
    );
    for (name, member, port) in [("md0", "sdx", 3), ("md1", "sdy", 4)] {
        let path = machine.sata_disk(member, SIZE, port);
        machine.array(name, "raid1", MIB, &[&path]);
        sparse(&machine, name, MIB);
    }
    let devices = block::probe(&machine.system());
    let said: Vec<_> = devices
        .iter()
        .filter(|device| device.kind == DeviceKind::Raid)
        .map(|device| {
            (
                device.name.as_str(),
                device.is_root_volume,
                device.disks.join(" "),
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            ("/dev/md0", Some(true), "/dev/sdx".to_owned()),
            ("/dev/md1", Some(false), "/dev/sdy".to_owned()),
        ]
    );
}

/// What Ironic lent to the machine is gone when it boots the next time.
#[tokio::test]
async fn virtual_media_are_no_members() {
    let mut machine = machine(&["sda", "sdb"]);
    machine.usb_disk("sdc", 64 * MIB, "medium");
    machine.link("dev/disk/by-label/ir-vfd-dev", "dev/sdc");
    sparse(&machine, "sdc", 64 * MIB);
    let creation = planned(&machine, &Node::default(), &ten_and_rest()).await;
    let disks: Vec<_> = creation
        .unwrap()
        .layout
        .unwrap()
        .disks
        .into_keys()
        .collect();
    assert_eq!(disks, ["/dev/sda", "/dev/sdb"]);
}

#[tokio::test]
async fn what_is_not_free_is_not_written() {
    let config = ten_and_rest();
    let mut partitioned = machine(&["sda"]);
    let sdb = partitioned.sata_disk("sdb", SIZE, 2);
    partitioned.partition(&sdb, "sdb1", "8:17", MIB);
    for (name, size) in [("sdb", SIZE), ("sdb1", MIB)] {
        sparse(&partitioned, name, size);
    }
    let failure = planned(&partitioned, &Node::default(), &config)
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::SoftwareRaid);
    let text = "Partitions detected on devices /dev/sdb during RAID config";
    assert!(failure.details.ends_with(text), "{}", failure.details);

    // Two free ones and one that is to be left alone.
    let three = machine(&["sda", "sdb", "sdc"]);
    let skip = node(json!({"uuid": "u",
        "properties": {"skip_block_devices": [{"name": "/dev/sdb"}]}}));
    let creation = planned(&three, &skip, &config).await.unwrap();
    let disks: Vec<_> = creation.layout.unwrap().disks.into_keys().collect();
    assert_eq!(disks, ["/dev/sda", "/dev/sdc"]);

    let nothing = planned(&three, &Node::default(), &Value::Null)
        .await
        .unwrap();
    assert_eq!((nothing.layout, nothing.result), (None, json!({})));
    let wrong = json!({"logical_disks": [{"controller": "software"}]});
    let failure = planned(&three, &skip, &wrong).await.unwrap_err();
    assert!(
        failure.details.contains("config for u: logical_disks[0]"),
        "{}",
        failure.details
    );
}

/// Arrays as (name, volume, disks); each lies on a partition of every disk.
fn with_arrays(arrays: &[(&str, &str, &[&str])]) -> FakeMachine {
    let mut machine = FakeMachine::new();
    let mut paths: BTreeMap<String, (String, u32)> = BTreeMap::new();
    for (name, volume, disks) in arrays {
        let mut members = Vec::new();
        for disk in *disks {
            if !paths.contains_key(*disk) {
                let port = u32::try_from(paths.len()).unwrap() + 1;
                let path = machine.sata_disk(disk, SIZE, port);
                sparse(&machine, disk, SIZE);
                paths.insert((*disk).to_owned(), (path, 0));
            }
            let (path, count) = paths.get_mut(*disk).unwrap();
            *count += 1;
            let partition = format!("{disk}{count}");
            let number = u32::from(disk.as_bytes()[2] - b'a') * 16 + *count;
            machine.partition(path, &partition, &format!("8:{number}"), MIB);
            let bytes = member(1 << 20, &format!("box:{volume}"));
            machine.bytes(&format!("dev/{partition}"), &bytes);
            members.push(format!("{path}/{partition}"));
        }
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        machine.array(name, "raid1", MIB, &members);
        sparse(&machine, name, MIB);
    }
    machine
}

fn skipping(volumes: &[&str]) -> Node {
    let list: Vec<_> = volumes
        .iter()
        .map(|name| json!({"volume_name": name}))
        .collect();
    node(json!({"uuid": "u", "properties": {"skip_block_devices": list}}))
}

fn volumes(names: &[&str]) -> Value {
    let list: Vec<_> = names
        .iter()
        .map(|name| {
            json!({"size_gb": 1, "raid_level": "1", "controller": "software",
            "volume_name": name})
        })
        .collect();
    json!({"logical_disks": list})
}

#[tokio::test]
async fn arrays_that_are_kept_are_never_relabelled() {
    let pair: &[&str] = &["sda", "sdb"];
    let kept = with_arrays(&[("md0", "large", pair)]);
    // Only its own disks are there: it is not destroyed to make room.
    let failure = planned(&kept, &skipping(&["large"]), &volumes(&["small", "large"])).await;
    assert!(failure.unwrap_err().details.contains("at least 2 disks"));
    // There are others: those are taken, and another number.
    let apart = {
        let mut machine = with_arrays(&[("md0", "saved", pair)]);
        for (port, name) in [(3, "sdc"), (4, "sdd")] {
            machine.sata_disk(name, SIZE, port);
            sparse(&machine, name, SIZE);
        }
        machine
    };
    let layout = planned(&apart, &skipping(&["saved"]), &volumes(&["new"]))
        .await
        .unwrap()
        .layout;
    let layout = layout.unwrap();
    assert_eq!(
        layout.disks.into_keys().collect::<Vec<_>>(),
        ["/dev/sdc", "/dev/sdd"]
    );
    assert_eq!(layout.arrays[0].device, "/dev/md1");
    // None is there: all are made, with their names.
    let none = machine(&["sda", "sdb"]);
    let layout = planned(&none, &skipping(&["large"]), &volumes(&["small", "large"])).await;
    let arrays = layout.unwrap().layout.unwrap().arrays;
    let made: Vec<_> = arrays
        .iter()
        .map(|array| (&*array.device, &*array.name))
        .collect();
    assert_eq!(made, [("/dev/md0", "small"), ("/dev/md1", "large")]);
    // All that is asked for is there.
    let kept = with_arrays(&[("md0", "root", pair), ("md1", "data", pair)]);
    let wanted = volumes(&["root", "data"]);
    let creation = planned(&kept, &skipping(&["root", "data"]), &wanted).await;
    assert_eq!(creation.unwrap().layout, None);
    let both = with_arrays(&[("md0", "root", pair), ("md1", "data", pair)]);
    let creation = planned(&both, &skipping(&["data"]), &volumes(&["root", "data"]))
        .await
        .unwrap();
    assert_eq!(
        (creation.layout, creation.result),
        (None, volumes(&["root", "data"]))
    );
    // Arrays that nobody expects, and one without a name.
    let other = with_arrays(&[("md0", "small", &["sdc", "sdd"]), ("md1", "large", pair)]);
    let failure = planned(&other, &skipping(&["large"]), &volumes(&["small", "large"])).await;
    assert!(failure.unwrap_err().details.contains("should not be there"));
    let unnamed = with_arrays(&[("md0", "", pair)]);
    let failure = planned(&unnamed, &skipping(&["large"]), &volumes(&["large"])).await;
    assert!(failure.unwrap_err().details.contains("has no volume name"));
}

/// Programs that do what they are asked to: arrays vanish when they are stopped.
#[derive(Debug)]
struct Machine {
    root: std::path::PathBuf,
    stubborn: bool,
    ran: Mutex<Vec<String>>,
}

impl Run for Machine {
    fn run(&self, cmd: Cmd) -> BoxFuture<'_, Result<Output, RunError>> {
        crate::system::process::recording::record(&cmd);
        let line = cmd.to_string();
        if let Some(name) = line.strip_prefix("mdadm --stop /dev/")
            && !self.stubborn
        {
            std::fs::remove_file(self.root.join("sys/class/block").join(name)).unwrap();
        }
        self.ran.lock().unwrap().push(line);
        std::future::ready(Ok(Output::default())).boxed()
    }
}

async fn deleted(
    machine: &FakeMachine,
    node: &Node,
    stubborn: bool,
) -> (Result<Vec<(String, String)>, Failure>, Vec<String>) {
    let run = Arc::new(Machine {
        root: machine.path().to_owned(),
        stubborn,
        ran: Mutex::default(),
    });
    let system = machine.system_with(run.clone());
    let result = delete(&system, node, true, &Task::detached()).await;
    let ran = run.ran.lock().unwrap().clone();
    (result.map_err(Failure::from), ran)
}

#[tokio::test]
async fn arrays_superblocks_and_tables_go() {
    let pair: &[&str] = &["sda", "sdb"];
    let mut machine = with_arrays(&[("md0", "root", pair), ("md1", "data", pair)]);
    {
        let mut disk = machine.system().disks.open("/dev/sdb".as_ref()).unwrap();
        disk.write_at(0, &[0xaa; 512]).unwrap();
    }
    // A card with its write protection on is nobody's concern here.
    let sdc = machine.sata_disk("sdc", SIZE, 3);
    machine.file(&format!("{sdc}/ro"), "1");
    sparse(&machine, "sdc", SIZE);
    let (result, ran) = deleted(&machine, &Node::default(), false).await;
    assert_eq!(result, Ok(Vec::new()));
    let mut expected = vec!["mdadm --assemble --scan".to_owned()];
    let clear = |expected: &mut Vec<String>, name: &str| {
        expected.push(format!("mdadm --examine {name}"));
        expected.push(format!("mdadm --zero-superblock {name}"));
    };
    for (array, members) in [
        ("/dev/md0", ["/dev/sda1", "/dev/sdb1"]),
        ("/dev/md1", ["/dev/sda2", "/dev/sdb2"]),
    ] {
        expected.push(format!("wipefs -af {array}"));
        expected.push(format!("mdadm --stop {array}"));
        members.iter().for_each(|name| clear(&mut expected, name));
    }
    for name in [
        "/dev/sdb2",
        "/dev/sdb1",
        "/dev/sda2",
        "/dev/sda1",
        "/dev/sdb",
        "/dev/sda",
    ] {
        clear(&mut expected, name);
    }
    expected.extend(["wipefs -af /dev/sda", "wipefs -af /dev/sdb"].map(str::to_owned));
    expected.push("mdadm --assemble --scan".to_owned());
    assert_eq!(ran, expected);

    let mut first = [1; 512];
    let mut disk = machine.system().disks.open("/dev/sdb".as_ref()).unwrap();
    disk.read_at(0, &mut first).unwrap();
    assert_eq!(first, [0; 512]);

    let machine = with_arrays(&[("md0", "root", pair)]);
    let (result, _) = deleted(&machine, &Node::default(), true).await;
    let text = "Unable to clean all softraid correctly. Remaining ['/dev/md0']";
    assert!(result.unwrap_err().details.ends_with(text));
}

/// Kept arrays, those beside them and those apart: what may be run at all.
#[tokio::test]
async fn only_what_is_apart_from_kept_arrays_is_taken_apart() {
    let pair: &[&str] = &["sda", "sdb"];
    let mut machine = with_arrays(&[("md0", "other", pair), ("md1", "small", pair)]);
    machine.sata_disk("sdc", SIZE, 3);
    sparse(&machine, "sdc", SIZE);
    let (result, ran) = deleted(&machine, &skipping(&["small"]), false).await;
    assert_eq!(result, Ok(Vec::new()));
    assert_eq!(
        ran,
        [
            "mdadm --assemble --scan",
            "wipefs -af /dev/md0",
            "mdadm --examine /dev/sdc",
            "mdadm --zero-superblock /dev/sdc",
            "mdadm --assemble --scan",
        ]
    );

    let apart: &[&str] = &["sdc", "sdd"];
    let machine = with_arrays(&[
        ("md0", "data", pair),
        ("md1", "root", apart),
        ("md2", "esp", apart),
    ]);
    let (result, ran) = deleted(&machine, &skipping(&["data"]), false).await;
    assert_eq!(result, Ok(Vec::new()));
    let mut expected = vec!["mdadm --assemble --scan".to_owned()];
    let clear = |name: &str| {
        let clears = ["examine", "zero-superblock"];
        clears.map(|verb| format!("mdadm --{verb} {name}"))
    };
    for (array, members) in [
        ("/dev/md1", ["/dev/sdc1", "/dev/sdd1"]),
        ("/dev/md2", ["/dev/sdc2", "/dev/sdd2"]),
    ] {
        expected.push(format!("wipefs -af {array}"));
        expected.push(format!("mdadm --stop {array}"));
        expected.extend(members.iter().flat_map(|name| clear(name)));
    }
    let rest = [
        "/dev/sdd2",
        "/dev/sdd1",
        "/dev/sdc2",
        "/dev/sdc1",
        "/dev/sdd",
        "/dev/sdc",
    ];
    expected.extend(rest.iter().flat_map(|name| clear(name)));
    expected.extend(["wipefs -af /dev/sdc", "wipefs -af /dev/sdd"].map(str::to_owned));
    expected.push("mdadm --assemble --scan".to_owned());
    assert_eq!(ran, expected);
}

/// Nothing is half done where a disk does not take its table.
#[tokio::test]
async fn a_disk_that_cannot_be_written_is_named() {
    let machine = machine(&["sda", "sdb"]);
    let creation = planned(&machine, &Node::default(), &ten_and_rest()).await;
    let layout = creation.unwrap().layout.unwrap();
    std::fs::remove_file(machine.path().join("dev/sdb")).unwrap();
    let created = create(&machine.system(), &layout, &Task::detached()).await;
    let failure = Failure::from(created.unwrap_err());
    assert_eq!(failure.kind, FailureKind::SoftwareRaid);
    let text = "Failed to create partitions on /dev/sdb";
    assert!(failure.details.contains(text), "{}", failure.details);
    let mut disk = machine.system().disks.open("/dev/sda".as_ref()).unwrap();
    assert!(PartitionTable::read(disk.as_mut()).unwrap().is_none());
}

/// A member that never comes back.
#[tokio::test]
async fn a_missing_member_is_added_three_times_at_most() {
    let machine = machine(&["sda", "sdb"]);
    let config = json!({"logical_disks": [
        {"size_gb": "MAX", "raid_level": "1", "controller": "software"}]});
    let layout = planned(&machine, &Node::default(), &config)
        .await
        .unwrap()
        .layout;
    let add = "mdadm --add /dev/md0 /dev/sdb1";
    let script = Script::new()
        .expect(
            "mdadm --create /dev/md0 --force --run --metadata=1 --level 1 --name md0 \
             --raid-devices 2 /dev/sda1 /dev/sdb1",
            "",
        )
        .expect(
            "mdadm --detail /dev/md0",
            "/dev/md0:\n 0 8 1 0 active sync /dev/sda1",
        )
        .expect_result(add, refused("busy"))
        .expect_result(add, refused("busy"))
        .expect_result(add, refused("busy"));
    let script = Arc::new(script);
    let system = machine.system_with(script.clone());
    let created = create(&system, &layout.unwrap(), &Task::detached()).await;
    let failure = Failure::from(created.unwrap_err());
    assert!(
        failure
            .details
            .contains("Failed re-add /dev/sdb1 to /dev/md0")
    );
    assert_eq!(failure.program.as_deref(), Some("mdadm"));
    script.assert_done();
}

#[tokio::test]
async fn what_is_kept_is_not_touched() {
    let machine = with_arrays(&[
        ("md0", "data", &["sda", "sdb"]),
        ("md1", "root", &["sdc", "sdd"]),
        ("md2", "other", &["sda", "sdb"]),
    ]);
    let (result, ran) = deleted(&machine, &skipping(&["data"]), false).await;
    assert_eq!(result, Ok(Vec::new()));
    assert!(ran.contains(&"mdadm --stop /dev/md1".to_owned()));
    // It shares disks with the one that is kept: its content goes, it stays.
    let on_kept: Vec<_> = ran
        .iter()
        .filter(|line| {
            ["/dev/sda", "/dev/sdb", "/dev/md0", "/dev/md2"]
                .iter()
                .any(|name| line.contains(name))
        })
        .collect();
    assert_eq!(on_kept, ["wipefs -af /dev/md2"]);

    // So do disks that are named themselves, whatever array they once were in.
    let mut machine = with_arrays(&[("md0", "root", &["sda", "sdb"])]);
    machine.sata_disk("sdc", SIZE, 3);
    machine.bytes("dev/sdc", &member(1 << 20, "box:old"));
    let sdc = std::fs::OpenOptions::new()
        .write(true)
        .open(machine.path().join("dev/sdc"));
    sdc.unwrap().set_len(SIZE).unwrap();
    let skip = node(json!({"uuid": "u",
        "properties": {"skip_block_devices": [{"name": "/dev/sdc"}]}}));
    let (result, ran) = deleted(&machine, &skip, false).await;
    let reason = "skip_block_devices names it, or the disk under it".to_owned();
    assert_eq!(result, Ok(vec![("/dev/sdc".to_owned(), reason)]));
    assert!(!ran.iter().any(|line| line.contains("sdc")), "{ran:?}");

    // Of an array that does not run nobody knows the disks.
    let mut machine = with_arrays(&[("md0", "root", &["sda", "sdb"])]);
    let sdc = machine.sata_disk("sdc", SIZE, 3);
    machine.partition(&sdc, "sdc1", "8:33", MIB);
    sparse(&machine, "sdc", SIZE);
    machine.bytes("dev/sdc1", &member(1 << 20, "box:data"));
    let (result, ran) = deleted(&machine, &skipping(&["data"]), false).await;
    let details = result.unwrap_err().to_string();
    assert!(details.contains("a member is on /dev/sdc1"), "{details}");
    assert_eq!(ran, ["mdadm --assemble --scan"]);

    // What else is on the disks of an array keeps it, too.
    let mut machine = with_arrays(&[("md0", "root", &["sda", "sdb"])]);
    let sda = "sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda";
    machine.partition(sda, "sda9", "8:9", MIB);
    machine.file("proc/self/mounts", "/dev/sda9 /mnt ext4 rw 0 0");
    let (result, ran) = deleted(&machine, &Node::default(), false).await;
    let details = result.unwrap_err().to_string();
    assert!(details.contains("in use: /dev/sda9 (/mnt)"), "{details}");
    assert_eq!(ran, ["mdadm --assemble --scan"]);
    let machine = with_arrays(&[("md0", "root", &["sda", "sdb"])]);
    {
        let mut disk = machine.system().disks.open("/dev/sdb".as_ref()).unwrap();
        let gfs = [0x01, 0x16, 0x19, 0x70, 0, 0, 0, 1];
        disk.write_at(65536, &[&gfs[..], &[0; 504]].concat())
            .unwrap();
    }
    let (result, ran) = deleted(&machine, &Node::default(), false).await;
    let failure = result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::ProtectedDevice, "{failure}");
    assert_eq!(ran, ["mdadm --assemble --scan"]);

    // A mounted array keeps everything from being removed.
    let mut machine = with_arrays(&[("md0", "root", &["sda", "sdb"])]);
    machine.file("proc/self/mounts", "/dev/md0 /mnt ext4 rw 0 0");
    let (result, ran) = deleted(&machine, &Node::default(), false).await;
    assert!(
        result
            .unwrap_err()
            .details
            .contains("in use: /dev/md0 (/mnt)")
    );
    assert_eq!(ran, ["mdadm --assemble --scan"]);
}

/// Two mirrors, joined by a third: themselves, or a partition of each. Its name is `data`.
fn nested(is_partitioned: bool) -> FakeMachine {
    let mut machine = with_arrays(&[
        ("md0", "low0", &["sda", "sdb"]),
        ("md1", "low1", &["sdc", "sdd"]),
    ]);
    let mut members = Vec::new();
    for (number, array) in ["md0", "md1"].into_iter().enumerate() {
        let path = format!("sys/devices/virtual/block/{array}");
        let mut name = array.to_owned();
        if is_partitioned {
            name = format!("{array}p1");
            machine.partition(&path, &name, &format!("259:{number}"), MIB);
            members.push(format!("{path}/{name}"));
        } else {
            members.push(path);
        }
        machine.bytes(&format!("dev/{name}"), &member(1 << 20, "box:data"));
    }
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    machine.array("md2", "raid0", MIB, &members);
    sparse(&machine, "md2", MIB);
    machine
}

/// The devices that were written.
fn changed_since(machine: &FakeMachine, before: &[(String, Vec<u8>)]) -> Vec<String> {
    let now = ends_of(machine).into_iter().zip(before);
    let changed = now.filter(|(now, before)| now != *before);
    changed.map(|((name, _), _)| name).collect()
}

/// The first MiB of each device.
fn ends_of(machine: &FakeMachine) -> Vec<(String, Vec<u8>)> {
    let mut names: Vec<_> = machine.system().root.names("/dev");
    names.sort();
    let content = |name: String| {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(machine.path().join("dev").join(&name)).unwrap();
        file.take(MIB).read_to_end(&mut bytes).unwrap();
        (name, bytes)
    };
    names.into_iter().map(content).collect()
}

#[tokio::test]
async fn what_a_kept_array_lies_on_is_kept_to_the_bottom() {
    let named = node(json!({"uuid": "u",
        "properties": {"skip_block_devices": [{"name": "/dev/sda"}]}}));
    for is_partitioned in [false, true] {
        for skip in [&skipping(&["data"]), &named] {
            let machine = nested(is_partitioned);
            let devices = block::probe(&machine.system());
            let array = devices.iter().find(|device| device.name == "/dev/md2");
            let disks = ["/dev/sda", "/dev/sdb", "/dev/sdc", "/dev/sdd"];
            assert_eq!(array.unwrap().disks, disks);
            let before = ends_of(&machine);
            let (result, ran) = deleted(&machine, skip, false).await;
            assert_eq!(result, Ok(Vec::new()));
            let assemble = "mdadm --assemble --scan";
            assert_eq!(ran, [assemble, assemble], "{is_partitioned}");
            let changed = changed_since(&machine, &before);
            assert!(changed.is_empty(), "{changed:?}");
        }
    }
    // Nor is another array made there, and the lower ones need not be asked for.
    let mut machine = nested(false);
    for (port, name) in [(5, "sde"), (6, "sdf")] {
        machine.sata_disk(name, SIZE, port);
        sparse(&machine, name, SIZE);
    }
    let planned = planned(&machine, &skipping(&["data"]), &volumes(&["new"])).await;
    let disks = planned.unwrap().layout.unwrap().disks;
    assert_eq!(
        disks.into_keys().collect::<Vec<_>>(),
        ["/dev/sde", "/dev/sdf"]
    );
}

/// The partitions of a disk that is reached by several paths claim it.
#[tokio::test]
async fn the_partitions_of_a_map_go_before_its_superblock() {
    let mut machine = FakeMachine::new();
    let sda = machine.sata_disk("sda", 4 * MIB, 1);
    let disk = machine.map("dm-0", 4 * MIB, "mpath-3600", &[&sda]);
    machine.map("dm-1", MIB, "part1-mpath-3600", &[&disk]);
    machine.bytes("dev/dm-0", &member(4 << 20, "box:old"));
    sparse(&machine, "dm-1", MIB);
    let (result, ran) = deleted(&machine, &Node::default(), false).await;
    assert_eq!(result, Ok(Vec::new()));
    let place = |line: &str| ran.iter().position(|ran| ran == line).unwrap();
    let released = place("kpartx -d /dev/dm-0");
    assert!(place("mdadm --zero-superblock /dev/dm-1") < released);
    assert!(released < place("mdadm --zero-superblock /dev/dm-0"));
}

/// Members that an array runs without, by what their superblocks say.
#[tokio::test]
async fn members_that_a_kept_array_runs_without_are_kept() {
    const OURS: [u8; 16] = [7; 16];
    let of_array = |uuid: [u8; 16], name: &str| {
        let mut bytes = member(1 << 20, name);
        bytes[4096 + 16..4096 + 32].copy_from_slice(&uuid);
        bytes
    };
    let machine = |uuid, name: &str, is_partition| {
        let mut machine = with_arrays(&[("md0", "data", &["sda", "sdb"])]);
        for running in ["sda1", "sdb1"] {
            machine.bytes(&format!("dev/{running}"), &of_array(OURS, "box:data"));
        }
        let sdc = machine.sata_disk("sdc", SIZE, 3);
        let holder = if is_partition {
            machine.partition(&sdc, "sdc1", "8:33", MIB);
            sparse(&machine, "sdc", SIZE);
            "sdc1"
        } else {
            "sdc"
        };
        machine.bytes(&format!("dev/{holder}"), &of_array(uuid, name));
        if !is_partition {
            let path = machine.path().join("dev/sdc");
            let file = std::fs::OpenOptions::new().write(true).open(path);
            file.unwrap().set_len(SIZE).unwrap();
        }
        (machine, format!("/dev/{holder}"))
    };
    let skip = skipping(&["data"]);
    for is_partition in [true, false] {
        for (uuid, name, is_kept) in [
            (OURS, "box:data", true),
            (OURS, "box:renamed", true),
            ([9; 16], "other:data", true),
            ([9; 16], "box:old", false),
            ([0; 16], "", false),
        ] {
            let (machine, holder) = machine(uuid, name, is_partition);
            let (result, ran) = deleted(&machine, &skip, false).await;
            let left: Vec<_> = result.unwrap().into_iter().map(|(name, _)| name).collect();
            let is_cleared = ran.contains(&format!("mdadm --zero-superblock {holder}"));
            let expected = if is_kept { vec![holder] } else { Vec::new() };
            assert_eq!((left, is_cleared), (expected, !is_kept), "{name}");
            assert!(!is_kept || !ran.iter().any(|line| line.contains("sdc")));
        }
    }

    // Nor is another array made there.
    let (mut machine, _) = machine(OURS, "box:data", true);
    for (port, name) in [(4, "sdd"), (5, "sde")] {
        machine.sata_disk(name, SIZE, port);
        sparse(&machine, name, SIZE);
    }
    let planned = planned(&machine, &skip, &volumes(&["new"])).await;
    let disks = planned.unwrap().layout.unwrap().disks;
    assert_eq!(
        disks.into_keys().collect::<Vec<_>>(),
        ["/dev/sdd", "/dev/sde"]
    );
}

/// One superblock of each version, on a disk or a partition that is alone: a disk that came
/// from another machine, or that lost the other half.
#[tokio::test]
async fn a_superblock_without_its_array_goes_from_disks_and_partitions() {
    let size = 8 << 20;
    let oldest = (size & !0xffff) - 0x1_0000;
    for place in [0, 4096, size - 8192, oldest] {
        for is_partition in [false, true] {
            let mut machine = FakeMachine::new();
            let sda = machine.sata_disk("sda", size as u64, 1);
            machine.bytes("dev/sda", &vec![0xaa; size]);
            let name = if is_partition {
                machine.partition(&sda, "sda1", "8:1", size as u64);
                "sda1"
            } else {
                "sda"
            };
            let mut bytes = vec![0xaa; size];
            superblock(&mut bytes, place, "box:root");
            if place == oldest {
                bytes[place + 4..place + 8].fill(0);
                bytes[place + 32..place + 36].fill(0);
            }
            machine.bytes(&format!("dev/{name}"), &bytes);
            // Its `mdadm` knows nothing of it, or is not there.
            let (result, ran) = deleted(&machine, &Node::default(), false).await;
            assert_eq!(result, Ok(Vec::new()), "{place} {is_partition}");
            assert!(ran.contains(&format!("mdadm --examine /dev/{name}")));
            let after = std::fs::read(machine.path().join("dev").join(name)).unwrap();
            assert!(after[place..place + 4096].iter().all(|byte| *byte == 0));
            let is_kept = |range: std::ops::Range<usize>| after[range].iter().all(|b| *b == 0xaa);
            assert!(is_kept(0..place) && is_kept(place + 4096..size), "{place}");
        }
    }
}

#[tokio::test]
async fn irremovable_superblocks_fail_and_kept_ones_are_reported() {
    let mut machine = FakeMachine::new();
    let sda = machine.sata_disk("sda", 8 * MIB, 1);
    machine.bytes("dev/sda", &member(8 << 20, "box:old"));
    machine.file(&format!("{sda}/ro"), "1");
    let (result, ran) = deleted(&machine, &Node::default(), false).await;
    let reason = "it is read-only".to_owned();
    assert_eq!(result, Ok(vec![("/dev/sda".to_owned(), reason)]));
    let assemble = "mdadm --assemble --scan";
    assert_eq!(ran, [assemble, assemble]);

    // It is there to be read, and cannot be opened to be written.
    machine.file(&format!("{sda}/ro"), "0");
    let system = System {
        disks: Arc::new(Claimed),
        ..machine.system_with(Arc::new(Machine {
            root: machine.path().to_owned(),
            stubborn: false,
            ran: Mutex::default(),
        }))
    };
    let result = delete(&system, &Node::default(), true, &Task::detached()).await;
    let details = result.unwrap_err().to_string();
    assert!(
        details.contains("Remaining ['/dev/sda' (its superblock: /dev/sda is in use"),
        "{details}"
    );

    // What lies there beside it may be in use elsewhere.
    let mut shared = member(80 << 20, "box:old");
    shared[65536..65544].copy_from_slice(&[0x01, 0x16, 0x19, 0x70, 0, 0, 0, 1]);
    let mut machine = FakeMachine::new();
    machine.sata_disk("sda", 80 * MIB, 1);
    machine.bytes("dev/sda", &shared);
    let (result, ran) = deleted(&machine, &Node::default(), false).await;
    assert_eq!(result.unwrap_err().kind, FailureKind::ProtectedDevice);
    assert_eq!(ran, ["mdadm --assemble --scan"]);
}

/// Disks that others have claimed.
#[derive(Debug)]
struct Claimed;

impl crate::system::Disks for Claimed {
    fn open(&self, name: &std::path::Path) -> Result<Box<dyn Disk>, DiskError> {
        Err(DiskError::Busy { path: name.into() })
    }

    fn open_shared(&self, name: &std::path::Path) -> Result<Box<dyn Disk>, DiskError> {
        self.open(name)
    }

    fn open_to_read(&self, name: &std::path::Path) -> Result<Box<dyn Disk>, DiskError> {
        self.open(name)
    }
}

/// The superblocks that real programs see on files, also where we made them.
#[test]
fn mdadm_sees_the_superblocks_that_we_see() {
    let Some(programs) = std::env::var_os("TEST_PROGRAMS") else {
        assert!(std::env::var_os("CI").is_none(), "TEST_PROGRAMS is not set");
        eprintln!("SKIPPED: needs TEST_PROGRAMS; run `make unit`");
        return;
    };
    let size = 8 << 20;
    for (place, version) in [(0, "1.1"), (4096, "1.2"), (size - 8192, "1.0")] {
        let mut bytes = vec![0; size];
        superblock(&mut bytes, place, "box:root");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let mdadm = std::path::Path::new(&programs).join("mdadm");
        #[expect(clippy::disallowed_methods, reason = "no machine is asked")]
        let examine = std::process::Command::new(mdadm)
            .arg("--examine")
            .arg(file.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&examine.stdout);
        let said = text.lines().find(|line| line.contains("Version : "));
        assert!(said.is_some_and(|line| line.ends_with(version)), "{text}");
        assert!(text.contains("Name : box:root"), "{text}");
    }
}
