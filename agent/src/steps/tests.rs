//! The machinery with managers that do nothing but count.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::FutureExt as _;

use ironic_document::JsonObject;

use super::*;
use crate::config::AgentConfig;
use crate::failure::{Failure, FailureKind};
use crate::hardware::{
    Argument, ArgumentKind, Description, HardwareManager, ManagerIdentity, NoHardwareManager,
    Offer, PlanFuture, RunFuture, Support,
};
use crate::image::LastDeployment;
use crate::machine::ironic_node::Node;
use crate::machine::testing::FakeMachine;
use crate::system::{RunError, System};
use crate::task::Task;

/// Makes what a step ends with.
type FakeOutcome = fn() -> Result<Value, StepError>;

#[derive(Debug)]
struct FakeStep {
    description: Description,
    offers: Vec<(StepPhase, Offer)>,
    outcome: FakeOutcome,
    runs: AtomicU32,
}

impl FakeStep {
    fn new(name: &'static str, priority: u32) -> Self {
        Self {
            description: Description {
                name: name.into(),
                interface: "deploy".into(),
                reboot_requested: false,
                arguments: Cow::Borrowed(&[]),
            },
            offers: vec![(StepPhase::Clean, Offer::abortable_at(priority))],
            outcome: || Ok(json!("done")),
            runs: AtomicU32::new(0),
        }
    }

    fn outcome(self, outcome: FakeOutcome) -> Self {
        Self { outcome, ..self }
    }

    fn phase(mut self, phase: StepPhase) -> Self {
        self.offers.push((phase, Offer::at(0)));
        self
    }

    fn arguments(mut self, arguments: Vec<Argument>) -> Self {
        self.description.arguments = arguments.into();
        self
    }
}

impl Step for FakeStep {
    fn description(&self) -> &Description {
        &self.description
    }

    fn offer(&self, phase: StepPhase, _config: &AgentConfig) -> Option<Offer> {
        let found = self.offers.iter().find(|(offered, _)| *offered == phase);
        found.map(|(_, offer)| *offer)
    }

    fn plan<'a>(&'a self, _ctx: StepContext<'a>, _arguments: &'a JsonObject) -> PlanFuture<'a> {
        let planned = match (self.outcome)() {
            Err(error) => Err(error),
            Ok(_) => Ok(vec![PlannedAction {
                description: format!("run {}", self.description.name),
                ..PlannedAction::default()
            }]),
        };
        std::future::ready(planned).boxed()
    }

    fn run<'a>(&'a self, _ctx: StepContext<'a>, arguments: &'a JsonObject) -> RunFuture<'a> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let outcome = match (self.outcome)() {
            Ok(Value::String(word)) if word == "arguments" => Ok(Value::Object(arguments.clone())),
            outcome => outcome,
        };
        std::future::ready(outcome).boxed()
    }
}

#[derive(Debug)]
struct FakeManager {
    identity: ManagerIdentity,
    support: Support,
    steps: Vec<&'static dyn Step>,
}

impl HardwareManager for FakeManager {
    fn identity(&self) -> &ManagerIdentity {
        &self.identity
    }

    fn support(&self, _system: &System) -> Support {
        self.support
    }

    fn steps(&self) -> Vec<&dyn Step> {
        self.steps.clone()
    }
}

fn manager(
    class: &'static str,
    support: Support,
    steps: Vec<FakeStep>,
) -> Arc<dyn HardwareManager> {
    // Tests end soon; leaking gives the steps the lifetime of compiled-in ones.
    let leak = |step| Box::leak(Box::new(step)) as &'static dyn Step;
    Arc::new(FakeManager {
        identity: ManagerIdentity {
            class: class.into(),
            name: class.into(),
            version: "1".into(),
        },
        support,
        steps: steps.into_iter().map(leak).collect(),
    })
}

fn registry(managers: impl IntoIterator<Item = Arc<dyn HardwareManager>>) -> ManagerRegistry {
    ManagerRegistry::new(managers, &System::linux()).unwrap()
}

fn object(value: Value) -> JsonObject {
    value.as_object().unwrap().clone()
}

/// What a step machinery is given.
struct Case {
    phase: StepPhase,
    step: Value,
    version: Value,
    arguments: Value,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            phase: StepPhase::Clean,
            step: json!({"step": "wipe", "interface": "deploy"}),
            version: Value::Null,
            arguments: json!({}),
        }
    }
}

impl Case {
    /// Answers what Ironic sees.
    async fn run(self, registry: &ManagerRegistry) -> Result<Value, Failure> {
        let ran = self
            .ask(async |order, ctx| execute(order, registry, ctx).await)
            .await;
        ran.map_err(Failure::from)
    }

    async fn plan(self, registry: &ManagerRegistry) -> Result<Vec<PlannedAction>, Failure> {
        let planned = self
            .ask(async |order, ctx| plan(order, registry, ctx).await)
            .await;
        planned.map_err(Failure::from)
    }

    async fn ask<T>(self, question: impl AsyncFnOnce(StepRequest<'_>, StepContext<'_>) -> T) -> T {
        let machine = FakeMachine::new();
        let (system, config, node) = (machine.system(), AgentConfig::default(), Node::default());
        let (task, installed) = (Task::detached(), LastDeployment::default());
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
        let (step, arguments) = (object(self.step), object(self.arguments));
        let order = StepRequest {
            phase: self.phase,
            step: &step,
            version: Some(&self.version),
            arguments: &arguments,
        };
        question(order, ctx).await
    }
}

async fn listed(phase: StepPhase, registry: &ManagerRegistry) -> Value {
    let machine = FakeMachine::new();
    let (system, config, node) = (machine.system(), AgentConfig::default(), Node::default());
    let (task, installed) = (Task::detached(), LastDeployment::default());
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
    list(phase, registry, ctx).await.unwrap()
}

#[tokio::test]
async fn of_equal_steps_the_best_managers_is_listed() {
    let registry = registry([
        manager(
            "ZManager",
            Support::Generic,
            vec![
                FakeStep::new("duped_ml", 20),
                FakeStep::new("duped_gn", 30),
                FakeStep::new("z_higher", 100),
            ],
        ),
        manager(
            "AManager",
            Support::Generic,
            vec![
                FakeStep::new("duped_ml", 20),
                FakeStep::new("duped_gn", 30),
                FakeStep::new("z_higher", 1),
            ],
        ),
        manager(
            "MManager",
            Support::Mainline,
            vec![FakeStep::new("duped_ml", 20)],
        ),
        manager("NManager", Support::None, vec![FakeStep::new("never", 20)]),
        manager("EManager", Support::Generic, vec![]),
    ]);
    let answer = listed(StepPhase::Clean, &registry).await;
    let names: Vec<_> = answer["clean_steps"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(class, steps)| {
            let steps: Vec<_> = steps
                .as_array()
                .unwrap()
                .iter()
                .map(|s| &s["step"])
                .collect();
            format!("{class} {}", json!(steps))
        })
        .collect();
    assert_eq!(
        names,
        [
            r#"MManager ["duped_ml"]"#,
            r#"ZManager ["z_higher"]"#,
            r#"AManager ["duped_gn"]"#
        ]
    );
    let versions: Vec<_> = answer["hardware_manager_version"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(versions, ["MManager", "ZManager", "AManager", "EManager"]);
}

#[tokio::test]
async fn a_step_is_listed_with_what_ironic_reads() {
    let argument = |name: &'static str, advertised| Argument {
        name: name.into(),
        description: "Why.".into(),
        required: true,
        kind: ArgumentKind::List,
        advertised,
    };
    let step = FakeStep::new("wipe", 99)
        .phase(StepPhase::Deploy)
        .arguments(vec![argument("files", true), argument("inner", false)]);
    let registry = registry([manager("Manager", Support::Generic, vec![step])]);
    assert_eq!(
        listed(StepPhase::Clean, &registry).await.to_string(),
        r#"{"clean_steps":{"Manager":[{"step":"wipe","priority":99,"interface":"deploy","reboot_requested":false,"abortable":true,"argsinfo":{"files":{"description":"Why.","required":true}}}]},"hardware_manager_version":{"Manager":"1"}}"#
    );
    let deploy = listed(StepPhase::Deploy, &registry).await;
    assert_eq!(deploy["deploy_steps"]["Manager"][0].get("abortable"), None);
    assert_eq!(
        listed(StepPhase::Service, &registry).await["service_steps"],
        json!({})
    );
}

#[tokio::test]
async fn the_answer_echoes_the_step_as_it_came() {
    let registry = registry([manager(
        "Manager",
        Support::Generic,
        vec![
            FakeStep::new("wipe", 1)
                .phase(StepPhase::Deploy)
                .phase(StepPhase::Service),
        ],
    )]);
    for (phase, word) in [
        (StepPhase::Clean, "clean"),
        (StepPhase::Deploy, "deploy"),
        (StepPhase::Service, "service"),
    ] {
        let step = json!({"step": "wipe", "priority": 10, "odd": [1], "args": null});
        let case = Case {
            phase,
            step: step.clone(),
            version: json!({"Manager": "1"}),
            ..Case::default()
        };
        assert_eq!(
            case.run(&registry).await.unwrap(),
            json!({format!("{word}_result"): "done", format!("{word}_step"): step})
        );
    }
}

#[tokio::test]
async fn other_versions_are_a_mismatch() {
    let registry = registry([manager(
        "Manager",
        Support::Generic,
        vec![FakeStep::new("wipe", 1)],
    )]);
    for version in [
        json!({"Other": "1"}),
        json!({}),
        json!("1"),
        json!({"Manager": 1}),
    ] {
        let case = Case {
            version: version.clone(),
            ..Case::default()
        };
        let failure = case.run(&registry).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::VersionMismatch);
        assert_eq!(
            failure.details,
            format!(
                "Current versions: {{'Manager': '1'}}, versions used by ironic: {}",
                python::repr(&version)
            )
        );
    }
}

#[tokio::test]
async fn only_declared_steps_of_the_phase_run() {
    let registry = registry([manager(
        "Manager",
        Support::Generic,
        vec![FakeStep::new("wipe", 1)],
    )]);
    let cases = [
        (
            StepPhase::Clean,
            json!({"step": "get_version"}),
            "get_version",
        ),
        (StepPhase::Deploy, json!({"step": "wipe"}), "wipe"),
        (StepPhase::Clean, json!({"step": null}), "None"),
    ];
    for (phase, step, name) in cases {
        let case = Case {
            phase,
            step,
            ..Case::default()
        };
        let failure = case.run(&registry).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::HardwareManagerMethodNotFound);
        assert_eq!(failure.details, format!("Could not find method: {name}"));
    }
    let case = Case {
        phase: StepPhase::Service,
        step: json!({"interface": "deploy", "args": {"a": [true]}}),
        ..Case::default()
    };
    let failure = case.run(&registry).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::CommandExecution);
    assert_eq!(
        failure.details,
        "Malformed service_step, no \"step\" key: {'interface': 'deploy', 'args': {'a': [True]}}"
    );
}

#[tokio::test]
async fn arguments_are_overlaid_and_checked_before_anything_runs() {
    let argument = |name: &'static str, required, kind| Argument {
        name: name.into(),
        description: "".into(),
        required,
        kind,
        advertised: true,
    };
    let step = FakeStep::new("wipe", 1)
        .outcome(|| Ok(json!("arguments")))
        .arguments(vec![
            argument("needed", true, ArgumentKind::Object),
            argument("wanted", false, ArgumentKind::Text),
        ]);
    let registry = registry([manager("Manager", Support::Generic, vec![step])]);
    let case = |arguments, args| Case {
        arguments,
        step: json!({"step": "wipe", "args": args}),
        ..Case::default()
    };
    let answer = case(json!({"needed": {}, "wanted": "a"}), json!({"wanted": "b"}))
        .run(&registry)
        .await
        .unwrap();
    assert_eq!(answer["clean_result"], json!({"needed": {}, "wanted": "b"}));

    let wrong = [
        (
            json!({}),
            json!({}),
            "missing 1 required positional argument: 'needed'",
        ),
        (
            json!({}),
            json!({"needed": null}),
            "missing 1 required positional argument: 'needed'",
        ),
        (
            json!({}),
            json!({"needed": {}, "x": 1}),
            "unexpected keyword argument 'x'; it takes 'needed', 'wanted'",
        ),
        (
            json!({}),
            json!({"needed": []}),
            "argument 'needed' must be an object, not a list",
        ),
        (
            json!({"needed": {}}),
            json!({"wanted": 5}),
            "argument 'wanted' must be a text, not a number",
        ),
        (
            json!({"needed": {}}),
            json!([]),
            "the step's 'args' must be an object, not a list",
        ),
    ];
    for (arguments, args, text) in wrong {
        let failure = case(arguments, args).run(&registry).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Cleaning);
        assert!(
            failure
                .details
                .starts_with("Unexpected exception performing clean step wipe. TypeError: "),
            "{}",
            failure.details
        );
        assert!(failure.details.contains(text), "{}", failure.details);
    }
    let answer = case(json!({"needed": {}}), json!({"wanted": null}))
        .run(&registry)
        .await;
    assert!(answer.is_ok());
}

#[tokio::test]
async fn what_is_known_passes_and_what_is_not_gets_the_phases_class() {
    let known = || Failure::new(FailureKind::BlockDeviceErase, "sda");
    let registry = registry([manager(
        "Manager",
        Support::Generic,
        vec![
            FakeStep::new("known", 1)
                .outcome(|| Err(Failure::new(FailureKind::BlockDeviceErase, "sda").into())),
            FakeStep::new("program", 1).outcome(|| {
                Err(RunError::Failed {
                    program: "hdparm".into(),
                    command: "hdparm -I /dev/sda".into(),
                    status: 5,
                    stderr: "no".into(),
                }
                .into())
            }),
        ],
    )]);
    let run = |name| Case {
        step: json!({"step": name}),
        ..Case::default()
    };
    assert_eq!(run("known").run(&registry).await.unwrap_err(), known());
    let failure = run("program").run(&registry).await.unwrap_err();
    assert_eq!(
        failure,
        Failure {
            kind: FailureKind::Cleaning,
            details: "Unexpected exception performing clean step program. \
                      ProcessExecutionError: hdparm -I /dev/sda ended with status 5: no"
                .into(),
            program: Some("hdparm".into()),
            exit_status: Some(5),
            stderr_tail: "no".into(),
        }
    );
}

#[tokio::test]
async fn an_incompatible_manager_leaves_the_step_to_the_next() {
    let incompatible: FakeOutcome = || Err(StepError::Incompatible("not mine".to_owned()));
    let first = || FakeStep::new("wipe", 1).outcome(incompatible);
    let registry_of = |second: FakeStep| {
        registry([
            manager("Generic", Support::Generic, vec![second]),
            manager("Vendor", Support::ServiceProvider(3), vec![first()]),
        ])
    };
    let answer = Case::default()
        .run(&registry_of(FakeStep::new("wipe", 1)))
        .await;
    assert_eq!(answer.unwrap()["clean_result"], "done");
    let planned = Case::default()
        .plan(&registry_of(FakeStep::new("wipe", 1)))
        .await;
    assert_eq!(planned.unwrap()[0].description, "run wipe");
    for failure in [
        Case::default().run(&registry_of(first())).await.err(),
        Case::default().plan(&registry_of(first())).await.err(),
    ] {
        assert_eq!(failure.unwrap().details, "Could not find method: wipe");
    }
    // Any other error is final.
    let broken = registry([
        manager("Generic", Support::Generic, vec![FakeStep::new("wipe", 1)]),
        manager(
            "Vendor",
            Support::Mainline,
            vec![FakeStep::new("wipe", 1).outcome(|| Err(io::Error::other("broken").into()))],
        ),
    ]);
    assert_eq!(
        Case::default().run(&broken).await.unwrap_err().kind,
        FailureKind::Cleaning
    );
}

#[tokio::test]
async fn the_best_managers_answer_counts_even_if_it_is_nothing() {
    let registry = registry([
        manager(
            "Generic",
            Support::Generic,
            vec![FakeStep::new("wipe", 1), FakeStep::new("only", 1)],
        ),
        manager(
            "Vendor",
            Support::ServiceProvider(3),
            vec![FakeStep::new("wipe", 1).outcome(|| Ok(Value::Null))],
        ),
    ]);
    let answer = Case::default().run(&registry).await.unwrap();
    assert_eq!(answer["clean_result"], Value::Null);
    let only = Case {
        step: json!({"step": "only"}),
        ..Case::default()
    };
    assert_eq!(only.run(&registry).await.unwrap()["clean_result"], "done");
}

#[test]
fn without_any_manager_there_is_no_registry() {
    let none = [manager("Manager", Support::None, vec![])];
    let error = ManagerRegistry::new(none, &System::linux()).unwrap_err();
    assert_eq!(error, NoHardwareManager);
}
