//! Programs that are shell scripts, and peers that answer for them.

use std::borrow::Cow;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use ironic_document::JsonObject;
use serde_json::{Value, json};

use super::*;
use crate::hardware::{
    Description, ManagerRegistry, Offer, PlannedAction, StepContext, StepError, StepPhase,
};
use crate::image::LastDeployment;
use crate::machine::ironic_node::Node;
use crate::machine::testing::FakeMachine;
use crate::task::Task;

/// A program that makes something at its socket's place and lives on.
const PATIENT: &str = "#!/bin/sh\n: > \"$2\"; exec sleep 1000\n";

/// Makes an answer.
type FakeAnswer = fn() -> Result<StepAnswer<Value>, PeerError>;

/// Answers as it is configured; `None` never.
#[derive(Debug)]
struct FakePeer {
    class: String,
    deadline: Duration,
    answer: Option<FakeAnswer>,
}

impl ManagerPeer for FakePeer {
    fn describe(&self) -> BoxFuture<'_, Result<ManagerDescription, PeerError>> {
        let described = ManagerDescription {
            identity: ManagerIdentity {
                class: self.class.clone().into(),
                name: self.class.clone().into(),
                version: "1".into(),
            },
            support: Support::ServiceProvider(3),
            steps: vec![ExternalStepDescription {
                description: Description {
                    name: "work".into(),
                    interface: "deploy".into(),
                    reboot_requested: false,
                    arguments: Cow::Borrowed(&[]),
                },
                offers: vec![(StepPhase::Clean, Offer::at(5))],
                deadline: self.deadline,
            }],
        };
        std::future::ready(Ok(described)).boxed()
    }

    fn plan(
        &self,
        _order: ExternalStepRequest,
    ) -> BoxFuture<'_, Result<StepAnswer<Option<Vec<PlannedAction>>>, PeerError>> {
        std::future::ready(Ok(StepAnswer::Done(None))).boxed()
    }

    fn execute<'a>(
        &'a self,
        order: ExternalStepRequest,
        heard: &'a mut (dyn FnMut(StepEvent) + Send),
    ) -> BoxFuture<'a, Result<StepAnswer<Value>, PeerError>> {
        assert_eq!(order.name, "work");
        heard(StepEvent::Warning("started".to_owned()));
        match &self.answer {
            Some(answer) => std::future::ready(answer()).boxed(),
            None => std::future::pending().boxed(),
        }
    }
}

fn dial(deadline: Duration, answer: Option<FakeAnswer>) -> ConnectPeer {
    Arc::new(move |socket: &Path| {
        let class = socket.file_stem().unwrap().to_str().unwrap();
        Arc::new(FakePeer {
            // What follows a dash tells programs of one class apart.
            class: class.split('-').next().unwrap().to_owned(),
            deadline,
            answer,
        }) as Arc<dyn ManagerPeer>
    })
}

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("programs")).unwrap();
        Self { directory }
    }

    fn program(self, name: &str, text: &str, mode: u32) -> Self {
        let path = self.directory.path().join("programs").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    async fn start(&self, dial: &ConnectPeer) -> Vec<ExternalManager> {
        let config = AgentConfig {
            state_dir: self.directory.path().to_owned(),
            hardware_managers_dir: self.directory.path().join("programs"),
            ..AgentConfig::default()
        };
        start(&config, dial).await
    }
}

fn classes(managers: &[ExternalManager]) -> Vec<&str> {
    let all = managers.iter();
    all.map(|manager| manager.identity.class.as_ref()).collect()
}

async fn run(manager: &ExternalManager, task: &Task) -> Result<Value, StepError> {
    let system = FakeMachine::new().system();
    let (config, node, installed) = (
        AgentConfig::default(),
        Node::default(),
        LastDeployment::default(),
    );
    let ctx = StepContext {
        system: &system,
        config: &config,
        node: &node,
        ports: &[],
        task,
        installed: &installed,
        erasers: &[],
        ordered: None,
    };
    manager.steps()[0].run(ctx, &JsonObject::new()).await
}

#[tokio::test]
async fn only_programs_that_are_safe_to_start_are_started() {
    let place = Place::new()
        .program("good", PATIENT, 0o755)
        .program("good-again", PATIENT, 0o755)
        .program("notes.txt", "read me", 0o644)
        .program("open", PATIENT, 0o777)
        .program("quick", "#!/bin/sh\nexit 3\n", 0o755)
        .program("better", PATIENT, 0o500);
    let managers = place.start(&dial(Duration::from_secs(9), None)).await;
    assert_eq!(classes(&managers), ["better", "good", "good"]);
    // Of those that claim to be the same, the first.
    let machine = FakeMachine::new();
    let registry = ManagerRegistry::with(managers, &machine.system(), &AgentConfig::default())
        .await
        .unwrap();
    let ranked = registry.managers().iter();
    let external: Vec<_> = ranked
        .map(|ranked| ranked.manager.identity().class.as_ref())
        .filter(|class| ["better", "good"].contains(class))
        .collect();
    assert_eq!(external, ["better", "good"]);
    let sockets = fs::metadata(place.directory.path().join("managers")).unwrap();
    assert_eq!(sockets.permissions().mode() & 0o777, 0o700);
    assert_eq!(
        Place::new().start(&dial(Duration::ZERO, None)).await.len(),
        0
    );
}

/// Of the agent's own managers, by class, and of one that is not on this machine.
#[tokio::test]
async fn no_program_takes_the_place_of_a_manager_of_the_agent() {
    let place = Place::new()
        .program("GenericHardwareManager", PATIENT, 0o755)
        .program("MellanoxDeviceHardwareManager", PATIENT, 0o755)
        .program("ContainerHardwareManager", PATIENT, 0o755)
        .program("good", PATIENT, 0o755);
    let managers = place.start(&dial(Duration::from_secs(9), None)).await;
    assert_eq!(managers.len(), 4);
    let machine = FakeMachine::new();
    let system = machine.system();
    let registry =
        crate::hardware::ManagerRegistry::with(managers, &system, &AgentConfig::default())
            .await
            .unwrap();
    let classes: Vec<_> = registry
        .managers()
        .iter()
        .map(|ranked| ranked.manager.identity().class.to_string())
        .collect();
    assert_eq!(classes, ["good", "GenericHardwareManager"]);
}

fn reported(kind: &str) -> ReportedFailure {
    ReportedFailure {
        kind: kind.to_owned(),
        details: "smoke".to_owned(),
        program: None,
        exit_status: None,
        stderr_tail: String::new(),
    }
}

fn peer_error(text: &str) -> PeerError {
    PeerError {
        source: text.into(),
        unreachable: false,
    }
}

async fn answered(answer: FakeAnswer) -> Result<Value, StepError> {
    let place = Place::new().program("good", PATIENT, 0o755);
    let dial = dial(Duration::from_secs(9), Some(answer));
    let managers = place.start(&dial).await;
    run(&managers[0], &Task::detached()).await
}

#[tokio::test]
async fn answers_become_those_of_a_step() {
    let done = answered(|| Ok(StepAnswer::Done(json!(7)))).await;
    assert_eq!(done.unwrap(), json!(7));
    let failures: [FakeAnswer; 3] = [
        || Ok(StepAnswer::Failed(reported("CommandExecutionError"))),
        || Ok(StepAnswer::Failed(reported("CardError"))),
        || Ok(StepAnswer::Failed(reported(""))),
    ];
    for (answer, kind) in failures
        .into_iter()
        .zip(["CommandExecutionError", "CardError", ""])
    {
        let Err(StepError::Reported(error)) = answered(answer).await else {
            panic!("{kind}: it did not fail")
        };
        assert_eq!(
            (error.manager.as_str(), error.failure),
            ("good", reported(kind))
        );
    }
    let lost = answered(|| Err(peer_error("no end"))).await.unwrap_err();
    assert!(matches!(lost, StepError::External(_)), "{lost:?}");
    assert_eq!(lost.to_string(), "hardware manager good: no end");
    let other = answered(|| Ok(StepAnswer::Incompatible("no card".to_owned()))).await;
    assert!(matches!(other, Err(StepError::Incompatible(reason)) if reason == "no card"));
}

#[tokio::test]
async fn nothing_of_a_step_goes_on_after_its_end() {
    let lost: FakeAnswer = || Err(peer_error("the connection was reset"));
    for (milliseconds, cancelled, answer, said) in [
        (60_000, true, None, ""),
        (20, false, None, "did not end within"),
        (60_000, false, Some(lost), "the connection was reset"),
    ] {
        let place = Place::new().program("good", PATIENT, 0o755);
        let deadline = Duration::from_millis(milliseconds);
        let managers = place.start(&dial(deadline, answer)).await;
        let task = Task::detached();
        if cancelled {
            task.cancel("operator");
        }
        let error = run(&managers[0], &task).await.unwrap_err();
        match error {
            StepError::Cancelled(error) => assert!(cancelled, "{error}"),
            StepError::External(error) => {
                assert!(!cancelled && error.to_string().contains(said), "{error}");
            }
            other => panic!("{other:?}"),
        }
        // The program has gone with the step, and the next step hears of that at once.
        let next = run(&managers[0], &Task::detached()).await.unwrap_err();
        assert!(matches!(next, StepError::External(_)), "{next:?}");
        let text = next.to_string();
        assert!(
            text.contains("it is not running: the program was ended by signal 15"),
            "{text}"
        );
    }
}
