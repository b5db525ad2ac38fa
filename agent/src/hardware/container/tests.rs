//! What may run, and how it is run.

use std::sync::Arc;

use futures_util::FutureExt as _;
use ironic_document::JsonObject;
use serde_json::{Value, json};

use super::ID_FILE;
use super::error::{ContainerStepError, InvalidSteps};
use super::run::argument;
use super::*;
use crate::hardware::{StepContext, StepError, StepPhase};
use crate::image::LastDeployment;
use crate::machine::ironic_node::Node;
use crate::machine::testing::FakeMachine;
use crate::system::process::Script;
use crate::system::{Cmd, RunError};
use crate::task::Task;

const FILE: &str = "steps:\n- name: ours\n  image: oci://example.com/ours\n  interface: raid\n  \
                    reboot_requested: true\n  abortable: false\n  priority: 20\n  \
                    run_options: --privileged\n";

fn machine() -> FakeMachine {
    let mut machine = FakeMachine::new();
    machine
        .file("usr/bin/podman", "")
        .file("etc/ironic-python-agent.d/mysteps.yaml", FILE);
    machine
}

async fn run(
    config: &AgentConfig,
    step: usize,
    arguments: Value,
    script: Script,
) -> Result<Value, StepError> {
    let script = Arc::new(script);
    let machine = machine();
    let system = machine.system_with(script.clone());
    let manager = ContainerManager::new(&system, config, Arc::default(), true);
    let (task, node, installed) = (Task::detached(), Node::default(), LastDeployment::default());
    let ctx = StepContext {
        system: &system,
        config,
        node: &node,
        ports: &[],
        task: &task,
        installed: &installed,
        erasers: &[],
        ordered: None,
    };
    let arguments = arguments.as_object().unwrap();
    let result = manager.steps()[step].run(ctx, arguments).await;
    script.assert_done();
    result
}

fn config(change: impl FnOnce(&mut crate::config::Container)) -> AgentConfig {
    let mut config = AgentConfig::default();
    change(&mut config.container);
    config
}

fn container_error(result: Result<Value, StepError>) -> ContainerStepError {
    match result {
        Err(StepError::Container(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_runtime_makes_the_manager_and_the_file_its_steps() {
    let config = AgentConfig::default();
    let bare = FakeMachine::new().system();
    let manager = ContainerManager::new(&bare, &config, Arc::default(), false);
    assert_eq!(manager.support(&bare), Support::None);
    let machine = machine();
    let system = machine.system();
    let manager = ContainerManager::new(&system, &config, Arc::default(), true);
    assert_eq!(manager.support(&system), Support::Mainline);
    assert!(manager.check().is_ok());
    let steps = manager.steps();
    let names: Vec<_> = steps.iter().map(|step| &*step.description().name).collect();
    assert_eq!(
        names,
        ["generic_container_step", "container_clean_step", "ours"]
    );
    let priority = |phase| steps[2].offer(phase, &config).unwrap().priority;
    assert_eq!(
        [StepPhase::Clean, StepPhase::Deploy, StepPhase::Service].map(priority),
        [20, 0, 0]
    );

    let taken = ContainerManager::new(&system, &config, ["ours".to_owned()].into(), true);
    let problem = taken.check().unwrap_err();
    let ManagerError::StepsFile(problem) = problem;
    assert!(
        matches!(problem.source, InvalidSteps::NameTaken(_)),
        "{problem}"
    );
    assert_eq!(taken.steps().len(), 2);
}

/// The file alone is not enough: the program may lack its libraries, or be for another
/// processor.
#[tokio::test]
async fn a_runtime_that_cannot_run_does_not_count() {
    let broken = || RunError::Broken {
        command: "podman --version".to_owned(),
        source: std::io::Error::other("Exec format error"),
    };
    let mut machine = machine();
    machine.file("usr/bin/docker", "");
    let asked = |podman, docker| {
        Script::new()
            .expect_result("podman --version", podman)
            .expect_result("docker --version", docker)
    };
    let ran = || Ok(crate::system::Output::default());
    for (script, expected) in [
        (asked(Err(broken()), Err(broken())), false),
        (asked(Err(broken()), ran()), true),
        (
            Script::new().expect("podman --version", "podman version 5"),
            true,
        ),
    ] {
        let script = Arc::new(script);
        let system = machine.system_with(script.clone());
        assert_eq!(has_runtime(&system).await, expected);
        script.assert_done();
    }
    // Where there is none, nothing is run.
    assert!(!has_runtime(&FakeMachine::new().system()).await);
}

#[test]
fn a_lookup_may_name_another_file_of_steps() {
    let mut machine = machine();
    machine.file("etc/others.yaml", &FILE.replace("ours", "theirs"));
    let system = machine.system();
    let reserved: Arc<[String]> = ["erase_devices".to_owned()].into();
    let manager = ContainerManager::new(&system, &AgentConfig::default(), reserved, true);
    assert!(manager.under(&system, &AgentConfig::default()).is_none());
    let named = |file: &str| {
        let config = config(|container| container.container_steps_file = file.into());
        manager.under(&system, &config).unwrap()
    };
    let other = named("/etc/others.yaml");
    assert_eq!(other.steps()[2].description().name, "theirs");
    // None is there: no steps and no problem. What is reserved stays so.
    let none = named("/etc/none.yaml");
    assert_eq!((none.steps().len(), none.check().is_ok()), (2, true));
    machine.file("etc/bad.yaml", &FILE.replace("ours", "erase_devices"));
    assert!(named("/etc/bad.yaml").check().is_err());
}

#[tokio::test]
async fn by_default_nothing_runs() {
    let asked = json!({"container_url": "docker://example.com/tool:1"});
    let refused = run(&AgentConfig::default(), 0, asked, Script::new()).await;
    assert!(matches!(
        container_error(refused),
        ContainerStepError::NotPermitted { .. }
    ));
}

#[tokio::test]
async fn an_allowed_image_runs_with_the_configured_options_only() {
    let config = config(|container| {
        container.allowed_containers = vec!["docker://example.com/tool:1".to_owned()];
        container.pull_options = vec!["--quiet --tls-verify=true".to_owned()];
    });
    let asked = json!({
        "container_url": "oci://example.com/tool:1", "run_options": "--privileged -v /:/host",
    });
    let script = Script::new()
        .expect("podman --version", "")
        .expect(
            "podman pull --quiet --tls-verify=true docker://example.com/tool:1",
            "",
        )
        .expect(
            "podman run --cidfile /run/ironic-agent/container-id --rm --network=host docker://example.com/tool:1",
            "",
        );
    assert_eq!(run(&config, 1, asked, script).await.unwrap(), Value::Null);
    for other in [
        json!("containers-storage:example.com/tool:1"),
        json!("example.com/tool:2"),
    ] {
        let refused = run(&config, 0, json!({"container_url": other}), Script::new()).await;
        assert!(matches!(
            container_error(refused),
            ContainerStepError::NotPermitted { .. }
        ));
    }
    for wrong in [json!(3), json!(""), json!("--privileged")] {
        let refused = run(&config, 0, json!({"container_url": wrong}), Script::new()).await;
        assert!(matches!(
            container_error(refused),
            ContainerStepError::NoUrl | ContainerStepError::UrlIsOption
        ));
    }
}

#[tokio::test]
async fn the_ramdisks_steps_and_arbitrary_images_bring_their_own_options() {
    let script = Script::new()
        .expect("podman --version", "")
        .expect("podman pull docker://example.com/ours", "")
        .expect("podman run --cidfile /run/ironic-agent/container-id --privileged docker://example.com/ours", "");
    let result = run(&AgentConfig::default(), 2, json!({}), script).await;
    assert_eq!(result.unwrap(), Value::Null);

    let config = config(|container| container.allow_arbitrary_containers = true);
    let asked = json!({"container_url": "x/y", "run_options": ["--rm -it"], "pull_options": null});
    let script = Script::new()
        .expect("podman --version", "")
        .expect("podman pull x/y", "")
        .expect(
            "podman run --cidfile /run/ironic-agent/container-id --rm -it x/y",
            "",
        );
    assert_eq!(run(&config, 0, asked, script).await.unwrap(), Value::Null);
}

/// To podman `oci://example.com/tool` is a directory, and docker knows no such words at all.
#[test]
fn a_runner_gets_the_name_of_an_image_in_its_own_words() {
    for (image, podman, docker) in [
        ("oci://h/x:1", "docker://h/x:1", "h/x:1"),
        (
            "docker://h/x@sha256:0",
            "docker://h/x@sha256:0",
            "h/x@sha256:0",
        ),
        ("h/x", "h/x", "h/x"),
        (
            "containers-storage:h/x",
            "containers-storage:h/x",
            "containers-storage:h/x",
        ),
    ] {
        assert_eq!(argument(image, "podman"), podman);
        assert_eq!(argument(image, "docker"), docker);
    }
}

/// A runner whose containers do not end by themselves.
#[derive(Debug)]
struct Endless {
    root: std::path::PathBuf,
    removed: std::sync::Mutex<Vec<String>>,
}

impl crate::system::Run for Endless {
    fn run(
        &self,
        cmd: Cmd,
    ) -> futures_util::future::BoxFuture<'_, Result<crate::system::Output, RunError>> {
        crate::system::process::recording::record(&cmd);
        async move {
            match cmd.args[0].as_str() {
                "run" => {
                    std::fs::write(self.root.join(&ID_FILE[1..]), "f00d\n").unwrap();
                    std::future::pending().await
                }
                "rm" => self.removed.lock().unwrap().push(cmd.to_string()),
                _ => {}
            }
            Ok(crate::system::Output::default())
        }
        .boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_ends_with_its_step() {
    let machine = machine();
    let endless = Arc::new(Endless {
        root: machine.path().to_owned(),
        removed: std::sync::Mutex::default(),
    });
    let system = machine.system_with(endless.clone());
    let config = AgentConfig::default();
    let manager = ContainerManager::new(&system, &config, Arc::default(), true);
    let (task, node, installed) = (Task::detached(), Node::default(), LastDeployment::default());
    let ctx = StepContext {
        system: &system,
        config: &config,
        node: &node,
        ports: &[],
        task: &task,
        installed: &installed,
        erasers: &[],
        ordered: None,
    };
    let cancelling = async {
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        task.cancel("enough");
    };
    let arguments = JsonObject::default();
    let steps = manager.steps();
    let (ended, ()) = tokio::join!(steps[2].run(ctx, &arguments), cancelling);
    assert!(ended.is_err());
    let removed = endless.removed.lock().unwrap().clone();
    assert_eq!(removed, ["podman rm --force f00d"]);
}

#[tokio::test]
async fn a_runner_that_is_not_there_is_a_matter_of_configuration() {
    let config = config(|container| container.allow_arbitrary_containers = true);
    let missing = RunError::Missing {
        program: "podman".to_owned(),
    };
    let script = Script::new().expect_result("podman --version", Err(missing));
    let refused = run(&config, 0, json!({"container_url": "x/y"}), script).await;
    assert!(matches!(
        container_error(refused),
        ContainerStepError::Runner { .. }
    ));
}
