//! The device nodes of partitions.

use std::os::unix::fs::FileTypeExt as _;
use std::time::Duration;

use thiserror::Error;

use crate::disk::partition::layout::PartitionLayout;
use crate::machine::block::{device_path, kernel_name_of, mapped};
use crate::system::{Cmd, System};
use crate::task::Task;

/// How often a node that is not there yet is looked for.
const INTERVAL: Duration = Duration::from_millis(100);
/// What names of disks that are reached over iSCSI by path have in them.
const ISCSI: &str = "iqn.2008-10.org.openstack:";

/// The device node of a partition: what the kernel says, else by the kernel's rule.
#[must_use]
pub fn of(system: &System, disk: &str, number: u32) -> String {
    let known = of_disk(system, disk, number).or_else(|| of_map(system, disk, number));
    known.map_or_else(|| by_rule(disk, number), |entry| device_path(&entry))
}

/// The kernel's name of a partition that it knows.
fn of_disk(system: &System, disk: &str, number: u32) -> Option<String> {
    let block = block_of(disk)?;
    let wanted = number.to_string();
    let mut entries = system.root.names(&block).into_iter();
    entries.find(|entry| {
        system
            .root
            .read_optional(format!("{block}/{entry}/partition"))
            .is_some_and(|text| text == wanted)
    })
}

/// The number of a partition in its table: what the kernel says, or of a map's partition what its
/// identity says. The number in the name of a map is one of all maps.
#[must_use]
pub fn number_of(system: &System, node: &str) -> Option<u32> {
    let block = block_of(node)?;
    let number = system.root.read_optional(format!("{block}/partition"));
    let number = number.and_then(|text| text.parse().ok());
    number.or_else(|| {
        let identity = system.root.read_optional(format!("{block}/dm/uuid"))?;
        mapped::partition_number(&identity)
    })
}

/// Whether a disk is a map, of which the kernel reads no partition table.
#[must_use]
pub fn is_map(system: &System, disk: &str) -> bool {
    block_of(disk).is_some_and(|block| system.root.exists(format!("{block}/dm")))
}

/// The partition of a map is a map, too.
fn of_map(system: &System, disk: &str, number: u32) -> Option<String> {
    let mut known = partition_maps(system, disk);
    known.find_map(|(name, known)| (known == number).then_some(name))
}

/// The maps that are partitions of a map, with their numbers.
fn partition_maps(system: &System, disk: &str) -> impl Iterator<Item = (String, u32)> {
    let block = block_of(disk);
    let holders = block.map(|block| system.root.names(format!("{block}/holders")));
    holders.into_iter().flatten().filter_map(|name| {
        let identity = format!("/sys/class/block/{name}/dm/uuid");
        let identity = system.root.read_optional(identity)?;
        let number = mapped::partition_number(&identity)?;
        Some((name, number))
    })
}

fn block_of(disk: &str) -> Option<String> {
    let name = kernel_name_of(disk)?;
    Some(format!("/sys/class/block/{name}"))
}

/// Removes the partitions of a map, for example of a disk that is reached by several paths:
/// other than a disk's own they claim it, so nobody could write to it. A disk without such is
/// left alone. That they stay is only a warning: what opens the disk will say so.
pub async fn release(system: &System, disk: &str) {
    if partition_maps(system, disk).next().is_none() {
        return;
    }
    if let Err(error) = system.run.run(Cmd::new("kpartx").args(["-d", disk])).await {
        tracing::warn!(%disk, %error, "the partitions of the old table stay");
    }
}

fn by_rule(disk: &str, number: u32) -> String {
    if disk.contains(ISCSI) {
        return format!("{disk}-part{number}");
    }
    let needs_letter = disk.ends_with(|last: char| last.is_ascii_digit());
    format!("{disk}{}{number}", if needs_letter { "p" } else { "" })
}

/// Whether partitions of this disk become nodes: not those of a file.
#[must_use]
pub fn are_made(system: &System, disk: &str) -> bool {
    // Another name of a disk, for example by its path, is not known to the kernel.
    let is_device = std::fs::metadata(system.root.path(disk))
        .is_ok_and(|metadata| metadata.file_type().is_block_device());
    let is_known = block_of(disk).is_some_and(|block| system.root.exists(block));
    system.simulation.is_none() && (is_device || is_known)
}

/// The device of a partition did not appear.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the device {0} did not appear")]
pub struct MissingDevice(pub String);

/// Waits for the device of a new partition, at most ten seconds.
///
/// # Errors
/// It did not appear.
pub async fn wait_for(system: &System, node: &str) -> Result<(), MissingDevice> {
    const ATTEMPTS: u32 = 100;
    for _ in 0..ATTEMPTS {
        if system.root.exists(node) {
            return Ok(());
        }
        tokio::time::sleep(INTERVAL).await;
    }
    Err(MissingDevice(node.to_owned()))
}

/// Waits until every partition of a layout has its node, at most for `timeout`. Answers the
/// nodes in the order of the layout. With devtmpfs they are there when the kernel has read
/// the table; with udev a moment later. A kernel that cannot read the table is given its
/// partitions once.
///
/// # Errors
/// The first node that is missing.
pub async fn wait(
    system: &System,
    disk: &str,
    layout: &PartitionLayout,
    timeout: Duration,
    task: &Task,
) -> Result<Vec<String>, MissingDevice> {
    let deadline = tokio::time::Instant::now() + timeout;
    let mut nodes = Vec::new();
    let mut is_announced = false;
    for planned in &layout.partitions {
        let node = loop {
            let node = of(system, disk, planned.number);
            if system.root.exists(&node) {
                break node;
            }
            if !is_announced {
                is_announced = true;
                add_to_kernel(system, disk).await;
                continue;
            }
            if task.is_cancelled() || tokio::time::Instant::now() >= deadline {
                return Err(MissingDevice(node));
            }
            tokio::time::sleep(INTERVAL).await;
        };
        nodes.push(node);
    }
    Ok(nodes)
}

/// Lets the partitions of a map appear that was written before; those of a disk do by
/// themselves.
pub async fn announce(system: &System, disk: &str) {
    if is_map(system, disk) && partition_maps(system, disk).next().is_none() {
        add_to_kernel(system, disk).await;
    }
}

/// Adds the partitions of the table to the kernel's. A partition that it knows already is not a
/// failure; that it stays unknown shows when it is used.
pub async fn add_to_kernel(system: &System, disk: &str) {
    let add = if is_map(system, disk) {
        Cmd::new("kpartx").args(["-a", "-s", disk])
    } else {
        Cmd::new("partx").args(["-av", disk]).accept([0, 1])
    };
    if let Err(error) = system.run.run(add).await {
        tracing::warn!(%disk, %error, "the kernel was not notified of new partitions");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::partition::layout::LayoutRequest;
    use crate::machine::BootMode;
    use crate::machine::ironic_node::DiskLabel;
    use crate::machine::testing::FakeMachine;
    use crate::system::RunError;
    use crate::system::disk::Geometry;
    use crate::system::process::Script;

    #[test]
    fn nodes_are_what_the_kernel_calls_them() {
        let mut machine = FakeMachine::new();
        machine
            .file("sys/class/block/dm-0/dm-3/partition", "2")
            .directory("sys/class/block/sda")
            .file("sys/class/block/cciss!c0d0/cciss!c0d0p1/partition", "1");
        let system = machine.system();
        for (disk, number, node) in [
            ("/dev/cciss/c0d0", 1, "/dev/cciss/c0d0p1"),
            ("/dev/cciss/c0d0", 2, "/dev/cciss/c0d0p2"),
            ("/dev/dm-0", 2, "/dev/dm-3"),
            ("/dev/dm-0", 1, "/dev/dm-0p1"),
            ("/dev/sda", 3, "/dev/sda3"),
            ("/dev/nvme0n1", 3, "/dev/nvme0n1p3"),
            (
                "/dev/disk/by-path/ip-1:3260-iscsi-iqn.2008-10.org.openstack:x-lun-1",
                2,
                "/dev/disk/by-path/ip-1:3260-iscsi-iqn.2008-10.org.openstack:x-lun-1-part2",
            ),
        ] {
            assert_eq!(of(&system, disk, number), node);
        }
        assert!(are_made(&system, "/dev/sda"));
        assert!(are_made(&system, "/dev/cciss/c0d0"));
        assert!(!are_made(&system, "/tmp/sda"));
        assert!(!are_made(&system, "/tmp/disk.img"));
    }

    #[tokio::test]
    async fn the_partitions_of_a_map_come_and_go_by_their_own_program() {
        let mut machine = FakeMachine::new();
        machine
            .directory("sys/class/block/dm-0/holders/dm-1")
            .directory("sys/class/block/dm-0/dm")
            .file("sys/class/block/dm-1/dm/uuid", "part1-mpath-3600")
            .directory("sys/class/block/dm-2/holders/dm-3")
            .file("sys/class/block/dm-3/dm/uuid", "LVM-abc")
            .directory("sys/class/block/sda/sda1");
        let script = Script::new()
            .expect("kpartx -d /dev/dm-0", "")
            .expect("kpartx -a -s /dev/dm-0", "")
            .expect("partx -av /dev/sda", "");
        let script = std::sync::Arc::new(script);
        let system = machine.system_with(script.clone());
        assert_eq!(of(&system, "/dev/dm-0", 1), "/dev/dm-1");
        assert_eq!(number_of(&system, "/dev/dm-1"), Some(1));
        assert_eq!(number_of(&system, "/dev/dm-3"), None);
        // What is not a partition of it is not removed.
        for disk in ["/dev/dm-0", "/dev/dm-2", "/dev/sda"] {
            release(&system, disk).await;
        }
        for disk in ["/dev/dm-0", "/dev/sda"] {
            add_to_kernel(&system, disk).await;
        }
        script.assert_done();
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_comes_late_is_waited_for_and_one_that_never_comes_is_named() {
        let mut machine = FakeMachine::new();
        machine
            .directory("sys/class/block/sda")
            .file("dev/sda1", "");
        let script = Script::new()
            .expect("partx -av /dev/sda", "")
            .expect_result(
                "partx -av /dev/sda",
                Err(RunError::Missing {
                    program: "partx".into(),
                }),
            );
        let system = machine.system_with(std::sync::Arc::new(script));
        let geometry = Geometry {
            size: 1 << 30,
            sector_size: 512,
        };
        let layout = LayoutRequest {
            boot_mode: BootMode::Bios,
            label: DiskLabel::Msdos,
            is_power: false,
            efi_system: 0,
            bios_boot: 0,
            ephemeral: 0,
            swap: 10,
            config_drive: 0,
            root: 10,
        };
        let layout = layout.layout(geometry).unwrap();
        let task = Task::detached();
        let timeout = Duration::from_secs(3);
        let missing = wait(&system, "/dev/sda", &layout, timeout, &task).await;
        assert_eq!(missing, Err(MissingDevice("/dev/sda2".to_owned())));
        let late = machine.path().join("dev/sda2");
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            std::fs::write(late, "").unwrap();
        });
        let nodes = wait(&system, "/dev/sda", &layout, timeout, &task).await;
        assert_eq!(nodes.unwrap(), ["/dev/sda1", "/dev/sda2"]);
    }
}
