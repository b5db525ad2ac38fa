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
use crate::hardware::Step;
use crate::machine::testing::FakeMachine;
use crate::system::process::{Cmd, Output, Run, RunError, recording};
use crate::system::{Disk, DiskError, Disks};

const SIZE: u64 = 4 << 20;

/// The program that removes the partition of the map.
const RELEASE: &str = "kpartx -d /dev/dm-0";

/// Disks of which one is claimed: by another map, or by a mount elsewhere.
#[derive(Debug)]
struct MappedDisks {
    inner: Arc<dyn Disks>,
    programs: Arc<Programs>,
    claimed: Option<&'static str>,
}

impl Disks for MappedDisks {
    fn open(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError> {
        let ran = self.programs.ran.lock().unwrap();
        let is_held = name == Path::new("/dev/dm-0") && !ran.iter().any(|line| line == RELEASE);
        if is_held || self.claimed.map(Path::new) == Some(name) {
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

fn machine() -> FakeMachine {
    let mut machine = FakeMachine::new();
    machine.file("proc/self/mounts", "");
    let paths = [("sda", 1), ("sdb", 2)].map(|(name, port)| machine.sata_disk(name, SIZE, port));
    let disk = machine.map("dm-0", SIZE, "mpath-3600", &[&paths[0], &paths[1]]);
    machine.map("dm-1", 1 << 20, "part1-mpath-3600", &[&disk]);
    for name in ["dm-0", "dm-1"] {
        machine.bytes(&format!("dev/{name}"), &vec![0xaa; 4 << 20]);
    }
    machine
}

#[tokio::test]
async fn the_partitions_of_a_map_go_before_it_is_written() {
    let wipe = |name: &str| format!("wipefs --force --all /dev/{name}");
    let shred = "shred --force --zero --verbose --iterations 1 /dev/dm-0".to_owned();
    let release = RELEASE.to_owned();
    let all = vec![wipe("dm-1"), release.clone(), wipe("dm-0")];
    let steps: [(&dyn Step, Vec<String>); 3] = [
        (&EraseDevices, vec![release, shred]),
        (&EraseDevicesExpress, all.clone()),
        (&EraseDevicesMetadata, all),
    ];
    for (step, expected) in steps {
        for claimed in [None, Some("/dev/dm-1")] {
            let bench = Bench::new(machine());
            let programs = Arc::new(Programs::default());
            let mut system = bench.machine.system_with(programs.clone());
            system.disks = Arc::new(MappedDisks {
                inner: system.disks.clone(),
                programs: programs.clone(),
                claimed,
            });
            let (result, _) = bench.run_on(step, &system).await;
            let mut ran = programs.ran.lock().unwrap().clone();
            if claimed.is_some() {
                let failure = failure(result);
                let text = "in use: /dev/dm-1 (claimed)";
                assert!(failure.details.contains(text), "{failure}");
                assert!(ran.is_empty(), "{ran:?}");
                continue;
            }
            result.unwrap();
            ran.retain(|line| !line.starts_with("hdparm -I") && !line.starts_with("smartctl"));
            assert_eq!(ran, expected);
        }
    }
}
