//! The step on machines made of files: `/dev/sda` is a file below the machine's root.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use ironic_document::JsonObject;
use serde_json::{Value, json};

use super::*;
use crate::failure::{Failure, FailureKind};
use crate::hardware::StepError;
use crate::image::LastDeployment;
use crate::machine::block::guarded_filesystem::tests::msdos;
use crate::machine::block::guarded_filesystem::tests::superblock;
use crate::machine::ironic_node::Node;
use crate::machine::testing::FakeMachine;
use crate::system::process::{Output, Script};
use crate::system::{Disk, DiskError, Disks, Run, RunError, System};
use crate::task::{Task, TaskNote};

const MIB: usize = 1 << 20;
const DIRTY: u8 = 0xaa;

/// What a run of the step needs.
struct Bench {
    machine: FakeMachine,
    config: AgentConfig,
    node: Node,
}

impl Bench {
    fn new(machine: FakeMachine) -> Self {
        Self {
            machine,
            config: AgentConfig::default(),
            node: Node::default(),
        }
    }

    fn node(mut self, node: Value) -> Self {
        self.node = Node(node.as_object().unwrap().clone());
        self
    }

    /// Runs the step without `wipefs`; answers the result and the warnings.
    async fn run(&self, wiped: &[&str]) -> (Result<Value, StepError>, Vec<String>) {
        let script = wiped.iter().fold(Script::new(), |script, name| {
            let missing = RunError::Missing {
                program: "wipefs".into(),
            };
            script.expect_result(&format!("wipefs --force --all {name}"), Err(missing))
        });
        self.run_with(script).await
    }

    async fn run_with(&self, script: Script) -> (Result<Value, StepError>, Vec<String>) {
        let script = Arc::new(script);
        let system = self.machine.system_with(script.clone());
        let (result, warnings) = self.run_on(&system).await;
        script.assert_done();
        (result, warnings)
    }

    async fn run_on(&self, system: &System) -> (Result<Value, StepError>, Vec<String>) {
        let (task, mut heard) = Task::new();
        let installed = LastDeployment::default();
        let ctx = StepContext {
            system,
            config: &self.config,
            node: &self.node,
            ports: &[],
            task: &task,
            installed: &installed,
            erasers: &[],
            ordered: None,
        };
        let arguments = JsonObject::new();
        let result = EraseDevicesMetadata.run(ctx, &arguments).await;
        let mut warnings = Vec::new();
        while let Ok(note) = heard.notes.try_recv() {
            if let TaskNote::Warning(text) = note
                && !text.contains("wipefs is not installed")
            {
                warnings.push(text);
            }
        }
        (result, warnings)
    }

    fn is_erased(&self, name: &str) -> bool {
        let bytes = std::fs::read(self.machine.path().join("dev").join(name)).unwrap();
        let ends = [bytes[0], bytes[bytes.len() - 1]];
        assert!(
            ends == [0, 0] || ends == [DIRTY, DIRTY],
            "half erased: {name} {ends:?}"
        );
        ends == [0, 0]
    }
}

fn failure(result: Result<Value, StepError>) -> Failure {
    match result.unwrap_err() {
        StepError::Failure(failure) => failure,
        other => panic!("{other:?}"),
    }
}

/// Full of bytes that are neither zeros nor a signature.
fn dirty(machine: &mut FakeMachine, name: &str, size: usize) -> Vec<u8> {
    let bytes = vec![DIRTY; size];
    machine.bytes(&format!("dev/{name}"), &bytes);
    bytes
}

/// Two SATA disks of 4 MiB, the first with a partition.
fn machine() -> FakeMachine {
    let mut machine = FakeMachine::new();
    let sda = machine.sata_disk("sda", 4 * MIB as u64, 1);
    machine.sata_disk("sdb", 4 * MIB as u64, 2);
    machine.partition(&sda, "sda1", "8:1", MIB as u64);
    for (name, size) in [("sda", 4 * MIB), ("sdb", 4 * MIB), ("sda1", MIB)] {
        dirty(&mut machine, name, size);
    }
    machine
}

#[tokio::test]
async fn partitions_go_before_their_disk_and_names_backwards() {
    let bench = Bench::new(machine());
    let (result, warnings) = bench.run(&["/dev/sdb", "/dev/sda1", "/dev/sda"]).await;
    assert_eq!(result.unwrap(), Value::Null);
    assert_eq!(warnings, [""; 0]);
    for name in ["sda", "sda1", "sdb"] {
        assert!(bench.is_erased(name), "{name}");
    }
}

#[tokio::test]
async fn what_must_stay_is_left_alone_with_a_reason() {
    let mut machine = machine();
    let sdc = machine.sata_disk("sdc", 4 * MIB as u64, 3);
    machine.file(&format!("{sdc}/ro"), "1");
    let sdd = machine.sata_disk("sdd", 4 * MIB as u64, 4);
    machine.partition(&sdd, "sdd1", "8:49", 2 * MIB as u64);
    machine.array("md0", "raid1", MIB as u64, &[&format!("{sdd}/sdd1")]);
    machine.usb_disk("sde", 4 * MIB as u64, "stick");
    machine.link("dev/disk/by-label/ir-vfd-dev", "dev/sde");
    machine.sata_disk("sdf", 4 * MIB as u64, 5);
    for name in ["sdc", "sdd", "sdd1", "sde", "sdf"] {
        dirty(&mut machine, name, 4 * MIB);
    }
    dirty(&mut machine, "md0", MIB);
    // A member of an array that is not running.
    let mut member = dirty(&mut machine, "sdf", 4 * MIB);
    superblock(&mut member, 4096, "box:old");
    machine.bytes("dev/sdf", &member);

    let bench = Bench::new(machine).node(json!({
        "uuid": "u", "properties": {"skip_block_devices": [{"name": "/dev/sda"}]}}));
    let (result, mut warnings) = bench.run(&["/dev/sdb", "/dev/md0"]).await;
    warnings.sort();
    // The result says the same.
    let result = result.unwrap();
    let said = result["left_alone"].as_object().unwrap().iter();
    let said =
        said.map(|(name, reason)| format!("{name} is left alone: {}", reason.as_str().unwrap()));
    let mut said: Vec<_> = said.collect();
    said.sort();
    assert_eq!(said, warnings);
    assert_eq!(
        warnings,
        [
            "/dev/sda is left alone: skip_block_devices names it, or the disk under it",
            "/dev/sda1 is left alone: skip_block_devices names it, or the disk under it",
            "/dev/sdc is left alone: it is read-only",
            "/dev/sdd is left alone: it is a member of a RAID array",
            "/dev/sdd1 is left alone: it is a member of a RAID array",
            "/dev/sde is left alone: it is virtual media of Ironic",
            "/dev/sdf is left alone: it is a member of a RAID array that is not running; \
             raid.delete_configuration removes it",
        ]
    );
    for (name, erased) in [
        ("sda", false),
        ("sda1", false),
        ("sdb", true),
        ("sdc", false),
        ("sdd", false),
        ("sdd1", false),
        ("sde", false),
        ("md0", true),
    ] {
        assert_eq!(bench.is_erased(name), erased, "{name}");
    }
}

/// A partition has another name than any disk: a denial would keep every disk with partitions.
#[tokio::test]
async fn a_denial_in_the_skip_list_is_about_disks() {
    let bench = Bench::new(machine()).node(json!({
        "uuid": "u", "properties": {"skip_block_devices": [{"name": "s!= /dev/sda"}]}}));
    let (result, _) = bench.run(&["/dev/sda1", "/dev/sda"]).await;
    let left = result.unwrap();
    assert_eq!(left["left_alone"].as_object().unwrap().len(), 1, "{left}");
    assert!(left["left_alone"]["/dev/sdb"].is_string());
    assert!(bench.is_erased("sda") && bench.is_erased("sda1") && !bench.is_erased("sdb"));
}

#[tokio::test]
async fn a_named_volume_stays_and_so_do_its_neighbours() {
    let mut machine = machine();
    let sdc = machine.sata_disk("sdc", 4 * MIB as u64, 3);
    for (partition, number) in [("sdc1", "8:33"), ("sdc2", "8:34")] {
        machine.partition(&sdc, partition, number, MIB as u64);
    }
    machine.array("md0", "raid1", MIB as u64, &[&format!("{sdc}/sdc1")]);
    machine.array("md1", "raid1", MIB as u64, &[&format!("{sdc}/sdc2")]);
    dirty(&mut machine, "sdc", 4 * MIB);
    for (partition, name) in [("sdc1", "box:large"), ("sdc2", "box:small")] {
        let mut member = vec![DIRTY; MIB];
        superblock(&mut member, 4096, name);
        machine.bytes(&format!("dev/{partition}"), &member);
    }
    for array in ["md0", "md1"] {
        dirty(&mut machine, array, MIB);
    }
    let bench = Bench::new(machine).node(json!({
        "uuid": "u", "properties": {"skip_block_devices": [{"volume_name": "large"}]}}));
    let (result, _) = bench.run(&["/dev/sdb", "/dev/sda1", "/dev/sda"]).await;
    assert!(result.unwrap()["left_alone"]["/dev/md0"].is_string());
    assert!(!bench.is_erased("md0") && !bench.is_erased("md1"));

    // Nobody names it: the arrays become blank, their members stay members.
    let bench = bench.node(json!({"uuid": "u"}));
    let wiped = ["/dev/sdb", "/dev/sda1", "/dev/sda", "/dev/md1", "/dev/md0"];
    let left = bench.run(&wiped).await.0.unwrap();
    assert_eq!(left["left_alone"].as_object().unwrap().len(), 3, "{left}");
    assert!(bench.is_erased("md0") && bench.is_erased("md1") && !bench.is_erased("sdc"));
}

#[tokio::test]
async fn a_shared_file_system_keeps_everything_from_being_erased() {
    let protected = || {
        let mut machine = machine();
        let mut disk = vec![DIRTY; 4 * MIB];
        disk[446..510].fill(0);
        msdos(&mut disk, 0, &[(0x83, 8, 8), (0xfb, 16, 8)]);
        machine.bytes("dev/sda", &disk);
        Bench::new(machine)
    };
    let bench = protected();
    let failure = failure(bench.run(&[]).await.0);
    assert_eq!(failure.kind, FailureKind::ProtectedDevice);
    assert!(
        failure
            .details
            .starts_with("Nothing was erased: protected VMFS found on partition 2 of /dev/sda."),
        "{}",
        failure.details
    );
    assert!(!bench.is_erased("sdb") && !bench.is_erased("sda1"));

    let all = ["/dev/sdb", "/dev/sda1", "/dev/sda"];
    let mut off = protected();
    off.config.guard_special_filesystems = false;
    assert_eq!(off.run(&all).await.0.unwrap(), Value::Null);
    let allowed =
        protected().node(json!({"uuid": "u", "driver_info": {"wipe_special_filesystems": true}}));
    assert_eq!(allowed.run(&all).await.0.unwrap(), Value::Null);
    let skipped = protected()
        .node(json!({"uuid": "u", "properties": {"skip_block_devices": [{"name": "/dev/sda"}]}}));
    let left = skipped.run(&["/dev/sdb"]).await.0.unwrap();
    assert!(left["left_alone"]["/dev/sda"].is_string());
}

#[tokio::test]
async fn doubt_keeps_everything_from_being_erased() {
    // A skip list with a typing error.
    let typo = Bench::new(machine())
        .node(json!({"uuid": "u", "properties": {"skip_block_devices": [{"nme": "/dev/sda"}]}}));
    // A disk that cannot be read.
    let mut unreadable = machine();
    unreadable.sata_disk("sdc", 4 * MIB as u64, 3);
    // A mounted partition.
    let mut mounted = machine();
    mounted.file(
        "proc/self/mounts",
        "/dev/sda1 /mnt ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0",
    );
    // The root file system of a machine with LVM.
    let mut mapped = machine();
    let dm = mapped.virtual_block("dm-0", "253:0", MIB as u64);
    mapped.link("sys/class/block/sdb/holders/dm-0", &dm);
    for (bench, text) in [
        (Bench::new(mapped), "in use: /dev/sdb (dm-0)"),
        (typo, "unknown hint 'nme'"),
        (Bench::new(unreadable), "/dev/sdc could not be examined"),
        (Bench::new(mounted), "in use: /dev/sda1 (/mnt)"),
    ] {
        let script = if text.contains("examined") {
            Script::new().expect("hdparm -I /dev/sdc", "")
        } else {
            Script::new()
        };
        let failure = failure(bench.run_with(script).await.0);
        assert_eq!(failure.kind, FailureKind::BlockDeviceErase);
        assert!(
            failure.details.starts_with("Nothing was erased"),
            "{}",
            failure.details
        );
        assert!(failure.details.contains(text), "{}", failure.details);
        assert!(!bench.is_erased("sda") && !bench.is_erased("sdb"));
    }
}

/// Disks of which one is claimed by another driver.
#[derive(Debug)]
struct PartlyClaimed {
    inner: Arc<dyn Disks>,
    claimed: &'static str,
}

impl Disks for PartlyClaimed {
    fn open(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError> {
        if name == Path::new(self.claimed) {
            return Err(DiskError::Busy { path: name.into() });
        }
        self.inner.open(name)
    }

    fn open_shared(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError> {
        self.inner.open_shared(name)
    }

    fn open_to_read(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError> {
        self.inner.open_to_read(name)
    }
}

/// It would stay as it is, and the step would succeed.
#[tokio::test]
async fn a_disk_under_a_cache_is_in_use_and_no_member_of_an_array() {
    let mut machine = machine();
    let cache = machine.virtual_block("bcache0", "252:0", 4 * MIB as u64);
    machine.link(&format!("{cache}/slaves/sdb"), "sys/class/block/sdb");
    dirty(&mut machine, "bcache0", 4 * MIB);
    let bench = Bench::new(machine);
    let mut system = bench.machine.system();
    system.disks = Arc::new(PartlyClaimed {
        inner: system.disks.clone(),
        claimed: "/dev/sdb",
    });
    let failure = failure(bench.run_on(&system).await.0);
    let text = "in use: /dev/sdb (claimed)";
    assert!(failure.details.contains(text), "{}", failure.details);
    for name in ["sda", "sdb", "bcache0"] {
        assert!(!bench.is_erased(name), "{name}");
    }
}

#[tokio::test]
async fn one_that_fails_does_not_keep_the_others() {
    let bench = Bench::new(machine());
    let fails = |name: &str| RunError::Failed {
        program: "wipefs".into(),
        command: format!("wipefs --force --all {name}"),
        status: 1,
        stderr: "broken".into(),
    };
    let script = Script::new()
        .expect_result("wipefs --force --all /dev/sdb", Err(fails("/dev/sdb")))
        .expect_result("wipefs --force --all /dev/sda1", Ok(Output::default()))
        .expect_result("wipefs --force --all /dev/sda", Err(fails("/dev/sda")));
    let error = bench.run_with(script).await.0.unwrap_err();
    assert!(matches!(error, StepError::Erase(_)), "{error:?}");
    let text = error.to_string();
    let start = "Failed to erase the metadata on the device(s): \"/dev/sdb\": ";
    assert!(text.starts_with(start), "{text}");
    assert!(text.contains("; \"/dev/sda\": "), "{text}");
    let failure = Failure::from(error);
    assert_eq!(
        (failure.program.as_deref(), failure.exit_status),
        (Some("wipefs"), Some(1))
    );
    assert!(bench.is_erased("sda1") && !bench.is_erased("sdb") && !bench.is_erased("sda"));
}

#[tokio::test]
async fn files_of_a_simulation_are_erased_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["disk0", "disk1"] {
        std::fs::write(directory.path().join(name), vec![DIRTY; 4 * MIB]).unwrap();
    }
    let bench = Bench::new(machine());
    let system = System::simulated(directory.path());
    let (result, warnings) = bench.run_on(&system).await;
    assert_eq!((result.unwrap(), warnings), (Value::Null, Vec::new()));
    for name in ["disk0", "disk1"] {
        let bytes = std::fs::read(directory.path().join(name)).unwrap();
        assert_eq!(
            [bytes[0], bytes[2 * MIB], bytes[4 * MIB - 1]],
            [0, DIRTY, 0]
        );
    }
    assert!(!bench.is_erased("sda"));
}

/// A world in which a cancellation comes with the first program.
#[derive(Debug)]
struct Cancelling(Task);

impl Run for Cancelling {
    fn run(&self, cmd: crate::system::Cmd) -> BoxFuture<'_, Result<Output, RunError>> {
        crate::system::process::recording::record(&cmd);
        self.0.cancel("enough");
        let missing = RunError::Missing {
            program: cmd.program,
        };
        std::future::ready(Err(missing)).boxed()
    }
}

#[tokio::test]
async fn a_cancelled_step_says_so() {
    let bench = Bench::new(machine());
    let task = Task::detached();
    let system = bench
        .machine
        .system_with(Arc::new(Cancelling(task.clone())));
    let installed = LastDeployment::default();
    let ctx = StepContext {
        system: &system,
        config: &bench.config,
        node: &bench.node,
        ports: &[],
        task: &task,
        installed: &installed,
        erasers: &[],
        ordered: None,
    };
    let arguments = JsonObject::new();
    let error = EraseDevicesMetadata.run(ctx, &arguments).await.unwrap_err();
    assert_eq!(error.to_string(), "The command was cancelled: enough");
    assert!(!bench.is_erased("sda"));
}

#[tokio::test]
async fn the_plan_names_every_device_and_touches_none() {
    let mut machine = machine();
    let sdc = machine.sata_disk("sdc", 4 * MIB as u64, 3);
    machine.file(&format!("{sdc}/ro"), "1");
    dirty(&mut machine, "sdc", 4 * MIB);
    let bench = Bench::new(machine);
    let system = bench.machine.system();
    let (task, installed) = (Task::detached(), LastDeployment::default());
    let ctx = StepContext {
        system: &system,
        config: &bench.config,
        node: &bench.node,
        ports: &[],
        task: &task,
        installed: &installed,
        erasers: &[],
        ordered: None,
    };
    let arguments = JsonObject::new();
    let actions = EraseDevicesMetadata.plan(ctx, &arguments).await.unwrap();
    let devices: Vec<_> = actions
        .iter()
        .map(|action| action.device.as_str())
        .collect();
    assert_eq!(devices, ["/dev/sdb", "/dev/sda1", "/dev/sda", "/dev/sdc"]);
    let destructive: Vec<_> = actions.iter().map(|action| action.destructive).collect();
    assert_eq!(destructive, [true, true, true, false]);
    assert_eq!(
        actions[3].description,
        "Leave /dev/sdc alone: it is read-only"
    );
    assert!(!bench.is_erased("sda"));
}

/// Disks of an array whose metadata is Intel's: the Python agent erases them, too.
#[tokio::test]
async fn disks_of_firmware_raid_are_erased_after_their_array_was_stopped() {
    let mut machine = FakeMachine::new();
    let disks = [("sda", 1), ("sdb", 2)].map(|(name, port)| {
        dirty(&mut machine, name, 4 * MIB);
        machine.sata_disk(name, 4 * MIB as u64, port)
    });
    let members = [disks[0].as_str(), disks[1].as_str()];
    for (array, size, version) in [
        ("md126", 2 * MIB as u64, "external:/md127/0"),
        ("md127", 0, "external:imsm"),
    ] {
        let path = machine.array(array, "raid1", size, &members);
        machine.file(&format!("{path}/md/metadata_version"), version);
    }
    dirty(&mut machine, "md126", 2 * MIB);
    let bench = Bench::new(machine);
    let script = Script::new()
        .expect("wipefs --force --all /dev/md126", "")
        .expect("mdadm --stop /dev/md126", "")
        .expect("mdadm --stop /dev/md127", "")
        .expect("wipefs --force --all /dev/sdb", "")
        .expect("wipefs --force --all /dev/sda", "");
    let (result, warnings) = bench.run_with(script).await;
    assert_eq!((result.unwrap(), warnings), (Value::Null, Vec::new()));
    for name in ["sda", "sdb", "md126"] {
        assert!(bench.is_erased(name), "{name}");
    }

    // One that goes on keeps its disks from being erased.
    for name in ["sda", "sdb"] {
        std::fs::write(
            bench.machine.path().join("dev").join(name),
            vec![DIRTY; 4 * MIB],
        )
        .unwrap();
    }
    let stop = Err(RunError::Failed {
        program: "mdadm".into(),
        command: "mdadm".into(),
        status: 1,
        stderr: "mdadm: Cannot get exclusive access".into(),
    });
    let script = Script::new()
        .expect("wipefs --force --all /dev/md126", "")
        .expect_result("mdadm --stop /dev/md126", stop);
    let failure = failure(bench.run_with(script).await.0);
    assert!(
        failure.details.contains("could not be stopped"),
        "{failure}"
    );
    assert!(!bench.is_erased("sda") && !bench.is_erased("sdb"));

    // Half of an array cannot go.
    let bench = bench.node(json!({"uuid": "u",
        "properties": {"skip_block_devices": [{"name": "/dev/sda"}]}}));
    let failure = self::failure(bench.run(&[]).await.0);
    assert!(
        failure.details.contains("is a member of array /dev/md126"),
        "{failure}"
    );
    assert!(!bench.is_erased("sdb"));
}
