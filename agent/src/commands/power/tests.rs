use std::sync::Arc;

use super::*;
use crate::commands::testing::{self, run};
use crate::config::AgentConfig;
use crate::system::power::MachinePower;
use crate::system::process::{Output, Script};
use crate::system::{PathPrefix, RunError};

/// A machine without disks whose programs are scripted.
struct Machine {
    dir: tempfile::TempDir,
    context: CommandContext,
    script: Arc<Script>,
}

fn machine(config: AgentConfig, script: Script) -> Machine {
    let dir = tempfile::tempdir().unwrap();
    for path in ["proc/sys/vm/drop_caches", "proc/sysrq-trigger"] {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    let script = Arc::new(script);
    let root = PathPrefix::new(dir.path());
    let mut context = testing::context(config);
    context.system = System {
        run: script.clone(),
        power: Arc::new(MachinePower {
            run: script.clone(),
            root: root.clone(),
        }),
        root,
        simulation: None,
        ..context.system
    };
    Machine {
        dir,
        context,
        script,
    }
}

fn failed(program: &str) -> Result<Output, RunError> {
    Err(RunError::Failed {
        program: program.into(),
        command: program.into(),
        status: 1,
        stderr: "no".into(),
    })
}

fn missing(program: &str) -> Result<Output, RunError> {
    Err(RunError::Missing {
        program: program.into(),
    })
}

fn insisting() -> AgentConfig {
    AgentConfig {
        ntp_server: Some("192.168.1.1".into()),
        fail_if_clock_not_set: true,
        ..AgentConfig::default()
    }
}

#[tokio::test]
async fn the_clock_is_set_and_caches_flushed_before_the_power_goes() {
    let script = Script::new()
        .expect("hwclock -v --systohc", "")
        .expect("sync", "")
        .expect("poweroff", "");
    let machine = machine(AgentConfig::default(), script);
    let done = run("standby.power_off", &machine.context).await;
    assert_eq!(done, Ok(Value::Null));
    machine.script.assert_done();
    let dropped = machine.dir.path().join("proc/sys/vm/drop_caches");
    assert_eq!(std::fs::read_to_string(dropped).unwrap(), "3");
}

#[tokio::test]
async fn nothing_but_the_power_itself_keeps_a_machine_from_going_down() {
    let script = Script::new()
        .expect_result("hwclock -v --systohc", missing("hwclock"))
        .expect_result("sync", failed("sync"))
        .expect_result("reboot", failed("reboot"));
    let machine = machine(AgentConfig::default(), script);
    let done = run("standby.run_image", &machine.context).await;
    assert_eq!(done, Ok(Value::Null));
    machine.script.assert_done();
    let asked = machine.dir.path().join("proc/sysrq-trigger");
    assert_eq!(std::fs::read_to_string(&asked).unwrap(), "b");

    std::fs::remove_file(asked).unwrap();
    let script = Script::new()
        .expect_result("hwclock -v --systohc", failed("hwclock"))
        .expect("sync", "")
        .expect_result("reboot", failed("reboot"));
    let script = Arc::new(script);
    let mut context = machine.context;
    context.system.run = script.clone();
    context.system.power = Arc::new(MachinePower {
        run: script,
        root: context.system.root.clone(),
    });
    let failure = run("standby.run_image", &context).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::SystemReboot);
    assert_eq!(failure.exit_status, Some(1));
}

#[tokio::test]
async fn an_operator_may_insist_on_the_clock() {
    let script = Script::new()
        .expect_result("chronyd -h", missing("chronyd"))
        .expect("ntpdate -v", "")
        .expect_result("ntpdate 192.168.1.1", failed("ntpdate"));
    let machine_one = machine(insisting(), script);
    let failure = run("standby.power_off", &machine_one.context)
        .await
        .unwrap_err();
    assert!(failure.details.contains("192.168.1.1"), "{failure}");
    machine_one.script.assert_done();

    let script = Script::new()
        .expect("chronyd -h", "")
        .expect("chronyc shutdown", "")
        .expect("chronyd -q server 192.168.1.1 iburst", "")
        .expect_result("hwclock -v --systohc", failed("hwclock"));
    let machine_two = machine(insisting(), script);
    let failure = run("standby.power_off", &machine_two.context)
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::ClockSync);
    machine_two.script.assert_done();
}

#[tokio::test]
async fn only_a_failing_sync_fails_the_command() {
    let script = Script::new().expect_result("sync", failed("sync"));
    let machine = machine(AgentConfig::default(), script);
    std::fs::remove_file(machine.dir.path().join("proc/sys/vm/drop_caches")).unwrap();
    let failure = run("standby.sync", &machine.context).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::CommandExecution);
    assert!(
        failure
            .details
            .starts_with("Flushing file system buffers failed")
    );
}

#[tokio::test]
async fn buffers_of_every_disk_are_flushed_and_one_that_fails_is_passed_over() {
    let mut disks = crate::machine::testing::FakeMachine::new();
    disks.sata_disk("sda", 8 << 30, 1);
    disks.nvme_disk("nvme0n1", 8 << 30, "S", "eui.1");
    let script = Script::new()
        .expect("sync", "")
        .expect_result("blockdev --flushbufs /dev/sda", failed("blockdev"))
        .expect("blockdev --flushbufs /dev/nvme0n1", "");
    let mut machine = machine(AgentConfig::default(), script);
    machine.context.system.root = disks.system().root;
    assert_eq!(run("standby.sync", &machine.context).await, Ok(Value::Null));
    machine.script.assert_done();
}

#[tokio::test]
async fn a_simulation_stays_on() {
    let context = testing::context(AgentConfig::default());
    assert_eq!(run("standby.power_off", &context).await, Ok(Value::Null));
    assert_eq!(run("standby.sync", &context).await, Ok(Value::Null));
    assert_eq!(
        run("standby.get_partition_uuids", &context).await,
        Ok(serde_json::json!({}))
    );
}
