//! Disks that are not there by themselves: those that firmware boots from over iSCSI, software
//! RAID and the maps of multipath. Brought up once, at start, before disks are looked for.
//! Each program may be missing; a machine that has no such disks needs none of them.

use crate::machine::block::guarded_filesystem;
use crate::machine::block::{self, BlockDevice};
use crate::machine::raid::{self, Array};
use crate::system::{Cmd, RunError, System};

/// The program that Red Hat's systems set multipath up with, and what it writes.
const MPATHCONF: &str = "/usr/sbin/mpathconf";
const MULTIPATH_CONF: &str = "/etc/multipath.conf";

/// Brings up what there is, and the drivers of the BMC where the ramdisk has not. Nothing of
/// it is fatal: a step that needs a disk that did not come up reports it.
pub async fn bring_up(system: &System) {
    if system.simulation.is_some() {
        return;
    }
    let disks = async {
        start_iscsi(system).await;
        assemble(system).await;
        start_multipath(system).await;
    };
    tokio::join!(disks, load_bmc_drivers(system));
}

/// Disks that the firmware's table names.
async fn start_iscsi(system: &System) {
    // It fails when firmware has left no table.
    if run(system, "iscsistart", &["-f"]).await.is_ok()
        && let Err(error) = run(system, "iscsistart", &["-b"]).await
    {
        tracing::warn!(%error, "the iSCSI disks of the firmware's table were not attached");
    }
}

/// Arrays keep the number that their name tells: which host made them is ignored (with `any` as
/// the host, an array that another one made gets a number from 127 down).
async fn assemble(system: &System) {
    let arguments = ["--assemble", "--scan", "--homehost=<ignore>", "--verbose"];
    match run(system, "mdadm", &arguments).await {
        Ok(()) => {}
        Err(error @ RunError::Missing { .. }) => {
            tracing::warn!(%error, "software RAID is not assembled");
        }
        // `mdadm` fails where it finds no array to assemble.
        Err(error) => tracing::info!(%error, "no software RAID was assembled"),
    }
}

/// Assembles arrays whose disks came up after the start: a search for the root disk would take a
/// member for it. Asks for nothing where every member is in use.
pub(super) async fn assemble_late(system: &System) {
    if system.simulation.is_some() {
        return;
    }
    let probed = system.clone();
    let is_needed = tokio::task::spawn_blocking(move || has_idle_members(&probed));
    if is_needed.await.unwrap_or_default() {
        assemble(system).await;
    }
}

/// Whether there is a disk or a partition that belongs to an array which is not there.
fn has_idle_members(system: &System) -> bool {
    let devices = block::probe_with_partitions(system);
    let arrays = raid::probe(system, &devices);
    let is_idle = |device: &&BlockDevice| {
        let holds_others = |other: &BlockDevice| other.parent.as_ref() == Some(&device.name);
        let is_member = |array: &Array| array.members.contains(&device.name);
        !arrays.iter().any(is_member) && !devices.iter().any(holds_others)
    };
    devices.iter().filter(is_idle).any(|device| {
        let content = guarded_filesystem::probe(system, device);
        content.is_ok_and(|content| content.raid_member)
    })
}

async fn load_bmc_drivers(system: &System) {
    let devices = ["/dev/ipmi0", "/dev/ipmi/0", "/dev/ipmidev/0"];
    if devices.iter().any(|path| system.root.exists(path)) {
        return;
    }
    for driver in ["ipmi_msghandler", "ipmi_devintf", "ipmi_si"] {
        attempt(system, "modprobe", &[driver]).await;
    }
}

/// The maps appear as disks, and hide the paths that they are made of.
async fn start_multipath(system: &System) {
    if system.root.exists(MPATHCONF) && !system.root.exists(MULTIPATH_CONF) {
        let arguments = [
            "--enable",
            "--find_multipaths",
            "yes",
            "--with_module",
            "y",
            "--with_multipathd",
            "y",
        ];
        attempt(system, MPATHCONF, &arguments).await;
    } else {
        for driver in ["dm_multipath", "multipath"] {
            attempt(system, "modprobe", &[driver]).await;
        }
    }
    // It fails when it is running already.
    attempt(system, "multipathd", &[]).await;
    if let Err(error) = run(system, "multipath", &["-ll"]).await {
        tracing::info!(%error, "no multipath");
    }
}

async fn run(system: &System, program: &str, arguments: &[&str]) -> Result<(), RunError> {
    let command = Cmd::new(program).args(arguments.iter().copied());
    system.run.run(command).await.map(|_| ())
}

async fn attempt(system: &System, program: &str, arguments: &[&str]) {
    if let Err(error) = run(system, program, arguments).await {
        let error = ironic_text::error_chain(&error);
        tracing::debug!(program, %error, "an optional program failed");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::machine::raid::tests::member;
    use crate::machine::testing::FakeMachine;
    use crate::system::process::{Output, Script};

    fn missing(program: &str) -> Result<Output, RunError> {
        Err(RunError::Missing {
            program: program.to_owned(),
        })
    }

    fn failed(program: &str) -> Result<Output, RunError> {
        Err(RunError::Failed {
            program: program.to_owned(),
            command: program.to_owned(),
            status: 1,
            stderr: String::new(),
        })
    }

    async fn runs(machine: &FakeMachine, script: Script) {
        let script = Arc::new(script);
        bring_up(&machine.system_with(script.clone())).await;
        script.assert_done();
    }

    #[tokio::test]
    async fn everything_that_may_hold_disks_is_brought_up() {
        let machine = FakeMachine::new();
        let script = Script::new()
            .expect("iscsistart -f", "")
            .expect_result("iscsistart -b", failed("iscsistart"))
            .expect("mdadm --assemble --scan --homehost=<ignore> --verbose", "")
            .expect("modprobe dm_multipath", "")
            .expect_result("modprobe multipath", failed("modprobe"))
            .expect_result("multipathd", failed("multipathd"))
            .expect("multipath -ll", "")
            .expect("modprobe ipmi_msghandler", "")
            .expect("modprobe ipmi_devintf", "")
            .expect_result("modprobe ipmi_si", failed("modprobe"));
        runs(&machine, script).await;
    }

    #[tokio::test]
    async fn what_is_not_installed_is_not_needed() {
        let mut machine = FakeMachine::new();
        machine.file("dev/ipmi0", "").file("usr/sbin/mpathconf", "");
        let configure = "/usr/sbin/mpathconf --enable --find_multipaths yes --with_module y \
                         --with_multipathd y";
        let without_programs = || {
            Script::new()
                .expect_result("iscsistart -f", missing("iscsistart"))
                .expect_result(
                    "mdadm --assemble --scan --homehost=<ignore> --verbose",
                    missing("mdadm"),
                )
        };
        let multipath = |script: Script| {
            script
                .expect_result("multipathd", missing("multipathd"))
                .expect_result("multipath -ll", missing("multipath"))
        };
        let script = without_programs().expect(configure, "");
        runs(&machine, multipath(script)).await;
        // An operator's own configuration stays.
        machine.file("etc/multipath.conf", "defaults {}");
        let script = without_programs()
            .expect("modprobe dm_multipath", "")
            .expect("modprobe multipath", "");
        runs(&machine, multipath(script)).await;
        // Files play the disks.
        let simulated = System::simulated(machine.path());
        bring_up(&simulated).await;
    }

    #[tokio::test]
    async fn arrays_whose_disks_came_late_are_assembled_then() {
        use ironic_ondisk::size::MIB;
        let mut machine = FakeMachine::new();
        let sda = machine.sata_disk("sda", 8 * MIB, 1);
        machine.partition(&sda, "sda1", "8:1", MIB);
        machine.bytes("dev/sda", &[0; 8 << 20]);
        machine.bytes("dev/sda1", &[0; 1 << 20]);
        // Nothing belongs to an array: no program is needed.
        assemble_late(&machine.system()).await;
        machine.bytes("dev/sda1", &member(1 << 20, "box:data"));
        let script =
            Script::new().expect("mdadm --assemble --scan --homehost=<ignore> --verbose", "");
        let script = Arc::new(script);
        assemble_late(&machine.system_with(script.clone())).await;
        script.assert_done();
        // It is there now.
        machine.array("md0", "raid1", MIB, &[&format!("{sda}/sda1")]);
        machine.bytes("dev/md0", &[0; 1 << 20]);
        assemble_late(&machine.system()).await;
    }
}
