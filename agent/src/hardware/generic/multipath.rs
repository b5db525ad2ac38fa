//! Disks that are reached by several paths and have partitions, which are maps of their own and
//! claim their disk: the erasing steps.

use std::path::Path;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::erase_devices::EraseDevices;
use super::erase_devices_express::EraseDevicesExpress;
use super::erase_devices_metadata::EraseDevicesMetadata;
use super::testing::{Bench, failure};
use crate::failure::Failure;
use crate::hardware::Step;
use crate::machine::testing::FakeMachine;
use crate::system::process::{Cmd, Output, Run, RunError, recording};
use crate::system::{Disk, DiskError, Disks};

const SIZE: u64 = 4 << 20;

/// A map and its partition: in the order of their names, and not.
const MAPS: [[&str; 2]; 2] = [["dm-0", "dm-1"], ["dm-2", "dm-10"]];

/// The program that removes the partition of a map.
fn release(disk: &str) -> String {
    format!("kpartx -d /dev/{disk}")
}

/// Disks of which one is claimed: by another map, or by a mount elsewhere.
#[derive(Debug)]
struct MappedDisks {
    inner: Arc<dyn Disks>,
    programs: Arc<Programs>,
    disk: &'static str,
    claimed: Option<String>,
}

impl Disks for MappedDisks {
    fn open(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError> {
        let ran = self.programs.ran.lock().unwrap();
        let is_released = ran.contains(&release(self.disk));
        let is_held = name == Path::new("/dev").join(self.disk) && !is_released;
        if is_held || self.claimed.as_ref().map(Path::new) == Some(name) {
            let path = name.to_owned();
            return Err(DiskError::Busy { path });
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

/// Programs that do nothing.
#[derive(Debug, Default)]
struct Programs {
    ran: Mutex<Vec<String>>,
}

impl Run for Programs {
    fn run(&self, cmd: Cmd) -> BoxFuture<'_, Result<Output, RunError>> {
        recording::record(&cmd);
        self.ran.lock().unwrap().push(cmd.to_string());
        std::future::ready(Ok(Output::default())).boxed()
    }
}

fn machine([disk, partition]: [&str; 2]) -> FakeMachine {
    let mut machine = FakeMachine::new();
    machine.file("proc/self/mounts", "");
    let paths = [("sda", 1), ("sdb", 2)].map(|(name, port)| machine.sata_disk(name, SIZE, port));
    let path = machine.map(disk, SIZE, "mpath-3600", &[&paths[0], &paths[1]]);
    machine.map(partition, 1 << 20, "part1-mpath-3600", &[&path]);
    for name in [disk, partition] {
        machine.bytes(&format!("dev/{name}"), &vec![0xaa; 4 << 20]);
    }
    machine
}

/// Runs a step on a map with a partition, of which one may be claimed. Answers how it failed, and
/// the programs that ran.
async fn run(
    step: &dyn Step,
    names: [&'static str; 2],
    claimed: Option<String>,
) -> (Option<Failure>, Vec<String>) {
    let bench = Bench::new(machine(names));
    let programs = Arc::new(Programs::default());
    let mut system = bench.machine.system_with(programs.clone());
    system.disks = Arc::new(MappedDisks {
        inner: system.disks.clone(),
        programs: programs.clone(),
        disk: names[0],
        claimed,
    });
    let (result, _) = bench.run_on(step, &system).await;
    let mut ran = programs.ran.lock().unwrap().clone();
    ran.retain(|line| !line.starts_with("hdparm -I") && !line.starts_with("smartctl"));
    (result.is_err().then(|| failure(result)), ran)
}

#[tokio::test]
async fn the_partitions_of_a_map_go_before_it_is_written() {
    for names in MAPS {
        let [disk, partition] = names;
        let wipe = |name: &str| format!("wipefs --force --all /dev/{name}");
        let shred = format!("shred --force --zero --verbose --iterations 1 /dev/{disk}");
        let all = vec![wipe(partition), release(disk), wipe(disk)];
        let steps: [(&dyn Step, Vec<String>); 3] = [
            (&EraseDevices, vec![release(disk), shred]),
            (&EraseDevicesExpress, all.clone()),
            (&EraseDevicesMetadata, all),
        ];
        for (step, expected) in steps {
            let (failed, ran) = run(step, names, None).await;
            assert_eq!((failed, ran), (None, expected));
            let (failed, ran) = run(step, names, Some(format!("/dev/{partition}"))).await;
            let failure = failed.unwrap();
            let text = format!("in use: /dev/{partition} (claimed)");
            assert!(failure.details.contains(&text), "{failure}");
            assert!(ran.is_empty(), "{ran:?}");
        }
    }
}
