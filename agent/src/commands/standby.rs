//! Extension `standby`: images, power, the end of a deploy.

use std::sync::Arc;

use serde_json::Value;

use super::{BootcInstall, Object, Plan, PlannedAction, Workplace};
use crate::config::Config;
use crate::failure::{Failure, FailureKind};
use crate::image::bootc::{self, Install};
use crate::image::{self, Deployment};
use crate::machine::block::hints;
use crate::machine::block::{self, BlockDevice};
use crate::machine::ironic_node::Node;
use crate::system::{Cmd, PowerAction, RunError, System};
use crate::task::Task;

/// Checks what can be checked before `prepare_image` is admitted.
///
/// # Errors
/// `InvalidCommandParams`: the order is refused and leaves no record.
pub fn validate_image(place: &Workplace, image_info: &Object) -> Result<(), Failure> {
    image::validate(image_info, &place.config.current())
}

/// Writes an image to the root device of the remembered node. Answers a sentence.
///
/// # Errors
/// Whatever keeps the image from being on the disk.
pub async fn prepare_image(
    place: &Workplace,
    task: &Task,
    image_info: &Object,
    configdrive: Option<&str>,
) -> Result<Value, Failure> {
    let config = place.config.current();
    let node = refreshed(place, task).await?;
    let device = install_device(place).await?;
    image::prepare(Deployment {
        system: &place.system,
        config: &config,
        node: &node,
        image_info,
        configdrive,
        device: &device,
        task,
        installed: &place.installed,
    })
    .await
    .map(Value::String)
}

/// What `prepare_image` would do.
///
/// # Errors
/// Whatever would keep it from starting.
pub async fn plan_prepare_image(
    place: &Workplace,
    image_info: &Object,
    configdrive: Option<&str>,
) -> Result<Plan, Failure> {
    validate_image(place, image_info)?;
    let config = place.config.current();
    // What it says must be what will be done.
    let node = place.node.with_hints().await;
    let device = install_device(place).await?;
    let lines = image::plan(Deployment {
        system: &place.system,
        config: &config,
        node: &node,
        image_info,
        configdrive,
        device: &device,
        task: &Task::detached(),
        installed: &place.installed,
    })
    .await?;
    let actions = lines.into_iter().map(|description| PlannedAction {
        description,
        device: device.name.clone(),
        destructive: true,
    });
    Ok(Plan {
        actions: actions.collect(),
    })
}

/// Installs a bootable container image on the root device. Answers a sentence.
///
/// # Errors
/// Whatever keeps the container from being installed.
pub async fn execute_bootc_install(
    place: &Workplace,
    task: &Task,
    arguments: &BootcInstall,
) -> Result<Value, Failure> {
    let config = place.config.current();
    // Before anything is looked for: a site that does not want this has no right disk either.
    bootc::permitted(&config)?;
    refreshed(place, task).await?;
    let device = install_device(place).await?;
    bootc::install(Install {
        system: &place.system,
        config: &config,
        image_source: &arguments.image_source,
        instance_info: &arguments.instance_info,
        pull_secret: arguments.pull_secret.as_ref(),
        configdrive: arguments.configdrive.as_deref(),
        device: &device,
        task,
        installed: &place.installed,
    })
    .await
    .map(Value::String)
}

/// What `execute_bootc_install` would do.
///
/// # Errors
/// Whatever would keep it from starting.
pub async fn plan_bootc_install(
    place: &Workplace,
    arguments: &BootcInstall,
) -> Result<Plan, Failure> {
    bootc::permitted(&place.config.current())?;
    place.node.with_hints().await;
    let device = install_device(place).await?.name;
    Ok(Plan {
        actions: vec![PlannedAction {
            description: format!("Install container {} on {device}", arguments.image_source),
            device,
            destructive: true,
        }],
    })
}

/// Reboots. Answers null.
///
/// # Errors
/// `SystemReboot`.
pub async fn run_image(place: &Workplace, task: &Task) -> Result<Value, Failure> {
    shut_down(place, task, PowerAction::Reboot).await
}

/// Powers off. Answers null.
///
/// # Errors
/// `SystemReboot`.
pub async fn power_off(place: &Workplace, task: &Task) -> Result<Value, Failure> {
    shut_down(place, task, PowerAction::PowerOff).await
}

/// Flushes caches to the disks. Answers null.
///
/// # Errors
/// The caches could not be flushed.
pub async fn sync(place: &Workplace, task: &Task) -> Result<Value, Failure> {
    flush(&place.system, task).await.map(|()| Value::Null)
}

/// What the last image write left behind; an empty object before any.
#[must_use]
pub fn get_partition_uuids(place: &Workplace) -> Value {
    let uuids = place.installed.partition_uuids();
    if uuids.is_empty() {
        tracing::warn!("no image was written since the agent started");
    }
    Value::Object(uuids)
}

/// The node that an image is for: what overwrites a disk must know its hints.
async fn refreshed(place: &Workplace, task: &Task) -> Result<Arc<Node>, Failure> {
    tokio::select! {
        node = place.node.with_hints() => Ok(node),
        () = task.cancelled() => Err(task.cancellation()),
    }
}

/// The disk that the node's hints choose.
pub(super) async fn install_device(place: &Workplace) -> Result<BlockDevice, Failure> {
    let system = place.system.clone();
    let devices = tokio::task::spawn_blocking(move || block::probe(&system))
        .await
        .map_err(|error| Failure::execution(format!("looking for disks failed: {error}")))?;
    hints::root_device(&devices, &place.node.current())
}

/// Sets the clock, flushes, and asks for the end. Only the last may fail, unless the operator
/// wants the clock to be right.
async fn shut_down(place: &Workplace, task: &Task, action: PowerAction) -> Result<Value, Failure> {
    task.check()?;
    let config = place.config.current();
    if place.system.simulation.is_none() {
        set_clock(&place.system, &config, task).await?;
    }
    if let Err(failure) = flush(&place.system, task).await {
        task.warn(failure.to_string());
    }
    place
        .system
        .power
        .shut_down(action)
        .await
        .map_err(|error| {
            let mut failure = Failure::new(
                FailureKind::SystemReboot,
                format!(
                    "Reboot script failed with exit code {}. stdout: . stderr: {}. {}",
                    error
                        .status
                        .map_or_else(|| "unknown".to_owned(), |status| status.to_string()),
                    error.reason,
                    error.source
                ),
            );
            failure.program = Some(error.program.to_owned());
            failure.exit_status = error.status;
            failure
        })?;
    Ok(Value::Null)
}

/// Writes all caches out, drops them, and flushes the disks' own. Only the first may fail.
async fn flush(system: &System, task: &Task) -> Result<(), Failure> {
    if system.simulation.is_some() {
        // The files of a simulation were synced when they were written.
        return Ok(());
    }
    system.run.run(Cmd::new("sync")).await.map_err(|error| {
        Failure::execution(format!("Flushing file system buffers failed: {error}"))
    })?;
    let caches = system.root.writable("/proc/sys/vm/drop_caches");
    if let Err(error) = caches.and_then(|caches| std::fs::write(caches, "3")) {
        tracing::warn!(%error, "caches are not dropped");
    }
    let probed = system.clone();
    let devices = tokio::task::spawn_blocking(move || block::probe(&probed)).await;
    for device in devices.unwrap_or_default() {
        task.check()?;
        let flush = Cmd::new("blockdev").args(["--flushbufs", &device.name]);
        if let Err(error) = system.run.run(flush).await {
            tracing::warn!(device = %device.name, %error, "buffers are not flushed");
        }
    }
    Ok(())
}

/// Sets the clock by the NTP server, if there is one, and the hardware clock by it.
///
/// # Errors
/// `ClockSync`, only when the operator insists on a right clock.
async fn set_clock(system: &System, config: &Config, task: &Task) -> Result<(), Failure> {
    let forgiven = |failure: Failure| {
        if config.fail_if_clock_not_set {
            return Err(failure);
        }
        task.warn(failure.to_string());
        Ok(())
    };
    if let Some(server) = config.ntp_server.as_deref()
        && let Err(failure) = ask_the_time(system, server).await
    {
        forgiven(failure)?;
    }
    let store = Cmd::new("hwclock").args(["-v", "--systohc"]);
    match system.run.run(store).await {
        Ok(_) => Ok(()),
        // A machine without such a clock can still be powered off.
        Err(error @ RunError::Missing { .. }) => {
            task.warn(error.to_string());
            Ok(())
        }
        Err(error) => forgiven(Failure::new(
            FailureKind::ClockSync,
            format!("Failed to sync hardware clock: {error}"),
        )),
    }
}

/// Sets the system's clock with chrony, or else ntpdate, or else without any program.
///
/// # Errors
/// The server is none or tells no time, or the program failed.
pub async fn ask_the_time(system: &System, server: &str) -> Result<(), Failure> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".:_-".contains(&byte);
    if server.is_empty() || server.len() > 253 || !server.bytes().all(is_name) {
        return Err(Failure::execution(format!(
            "Invalid NTP server address: {server}"
        )));
    }
    let failed = |error: &dyn std::error::Error| {
        Failure::execution(format!(
            "Failed to sync time with ntp server: {server}: {error}"
        ))
    };
    let is_there = async |probe: Cmd| {
        !matches!(
            system.run.run(probe).await,
            Err(RunError::Missing { .. } | RunError::Failed { .. })
        )
    };
    let set = if is_there(Cmd::new("chronyd").arg("-h")).await {
        let stop = Cmd::new("chronyc").arg("shutdown").accept([0, 1]);
        system.run.run(stop).await.map_err(|error| failed(&error))?;
        Cmd::new("chronyd").args(["-q".to_owned(), format!("server {server} iburst")])
    } else if is_there(Cmd::new("ntpdate").arg("-v").accept([0, 1])).await {
        Cmd::new("ntpdate").arg(server)
    } else {
        let set = system.clock.set_by(server).await;
        let correction = set.map_err(|error| failed(&error))?;
        tracing::info!(server, %correction, "the clock was set");
        return Ok(());
    };
    system
        .run
        .run(set)
        .await
        .map(drop)
        .map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::system::PathPrefix;
    use crate::system::clock::{Clock, ClockError, Correction};
    use crate::system::power::MachinePower;
    use crate::system::process::{Output, Script};

    /// A machine without disks whose programs are scripted.
    struct Machine {
        dir: tempfile::TempDir,
        place: Workplace,
        script: Arc<Script>,
    }

    fn machine(config: Config, script: Script) -> Machine {
        let dir = tempfile::tempdir().unwrap();
        for path in ["proc/sys/vm/drop_caches", "proc/sysrq-trigger"] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let script = Arc::new(script);
        let root = PathPrefix::new(dir.path());
        let mut place = testing::place(config);
        place.system = System {
            run: script.clone(),
            power: Arc::new(MachinePower {
                run: script.clone(),
                root: root.clone(),
            }),
            root,
            simulation: None,
            ..place.system
        };
        Machine { dir, place, script }
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

    fn insisting() -> Config {
        Config {
            ntp_server: Some("192.168.1.1".into()),
            fail_if_clock_not_set: true,
            ..Config::default()
        }
    }

    #[tokio::test]
    async fn the_clock_is_set_and_caches_flushed_before_the_power_goes() {
        let script = Script::new()
            .expect("hwclock -v --systohc", "")
            .expect("sync", "")
            .expect("poweroff", "");
        let machine = machine(Config::default(), script);
        let done = power_off(&machine.place, &Task::detached()).await;
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
        let machine = machine(Config::default(), script);
        let done = run_image(&machine.place, &Task::detached()).await;
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
        let mut place = machine.place;
        place.system.run = script.clone();
        place.system.power = Arc::new(MachinePower {
            run: script,
            root: place.system.root.clone(),
        });
        let failure = run_image(&place, &Task::detached()).await.unwrap_err();
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
        let failure = power_off(&machine_one.place, &Task::detached())
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
        let failure = power_off(&machine_two.place, &Task::detached())
            .await
            .unwrap_err();
        assert_eq!(failure.kind, FailureKind::ClockSync);
        machine_two.script.assert_done();
    }

    #[tokio::test]
    async fn a_server_that_is_no_name_is_never_given_to_a_program() {
        for server in ["", "a b", "a'b", "$(x)", "`x`", "a|b", "a&&b"] {
            let machine = machine(Config::default(), Script::new());
            let failure = ask_the_time(&machine.place.system, server)
                .await
                .unwrap_err();
            assert_eq!(
                failure.details,
                format!("Invalid NTP server address: {server}")
            );
        }
        for server in ["fd00::1", "ntp-1.example.org"] {
            let script = Script::new()
                .expect("chronyd -h", "")
                .expect("chronyc shutdown", "")
                .expect(&format!("chronyd -q server {server} iburst"), "");
            let machine = machine(Config::default(), script);
            assert_eq!(ask_the_time(&machine.place.system, server).await, Ok(()));
        }
    }

    /// Remembers whom it was asked to believe.
    #[derive(Debug, Default)]
    struct AskedClock(std::sync::Mutex<Vec<String>>);

    impl Clock for AskedClock {
        fn set_by<'a>(
            &'a self,
            server: &'a str,
        ) -> futures_util::future::BoxFuture<'a, Result<Correction, ClockError>> {
            self.0.lock().unwrap().push(server.to_owned());
            let set = if server == "broken.example" {
                Err(ClockError::LeftAlone)
            } else {
                Ok(Correction(1.0))
            };
            Box::pin(std::future::ready(set))
        }
    }

    #[tokio::test]
    async fn without_a_time_program_the_agent_asks_the_server_itself() {
        let clock = Arc::new(AskedClock::default());
        for (server, set) in [("192.168.1.1", true), ("broken.example", false)] {
            let script = Script::new()
                .expect_result("chronyd -h", missing("chronyd"))
                .expect_result("ntpdate -v", missing("ntpdate"));
            let mut machine = machine(Config::default(), script);
            machine.place.system.clock = clock.clone();
            let asked = ask_the_time(&machine.place.system, server).await;
            machine.script.assert_done();
            assert_eq!(asked.is_ok(), set, "{asked:?}");
            if let Err(failure) = asked {
                let expected = "Failed to sync time with ntp server: broken.example: ";
                assert!(failure.details.starts_with(expected), "{failure}");
            }
        }
        assert_eq!(*clock.0.lock().unwrap(), ["192.168.1.1", "broken.example"]);
    }

    #[tokio::test]
    async fn only_a_failing_sync_fails_the_command() {
        let script = Script::new().expect_result("sync", failed("sync"));
        let machine = machine(Config::default(), script);
        std::fs::remove_file(machine.dir.path().join("proc/sys/vm/drop_caches")).unwrap();
        let failure = sync(&machine.place, &Task::detached()).await.unwrap_err();
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
        let mut machine = machine(Config::default(), script);
        machine.place.system.root = disks.system().root;
        assert_eq!(
            sync(&machine.place, &Task::detached()).await,
            Ok(Value::Null)
        );
        machine.script.assert_done();
    }

    #[tokio::test]
    async fn a_simulation_stays_on() {
        let place = testing::place(Config::default());
        assert_eq!(power_off(&place, &Task::detached()).await, Ok(Value::Null));
        assert_eq!(sync(&place, &Task::detached()).await, Ok(Value::Null));
        assert_eq!(get_partition_uuids(&place), Value::Object(Object::new()));
    }
}
