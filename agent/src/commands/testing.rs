//! What the tests of this module share: a context in which nothing is real.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ironic_document::JsonObject;
use serde_json::{Value, json};

use super::arguments::GivenArguments;
use super::context::{CommandContext, NodeMemory};
use super::descriptor::VerbDescriptor;
use super::failure::{Failure, FailureKind};
use super::fingerprint::Fingerprint;
use super::record::{CommandId, CommandRecord, CommandState, MilestoneKind};
use super::request::CommandRequest;
use super::runner::Perform;
use super::verbs::{Command, VerbCall, VerbFuture};
use crate::config::{self, AgentConfig};
use crate::hardware::ManagerRegistry;
use crate::system::{PathPrefix, System};
use crate::task::{Progress, Task};

/// A context whose machine has no files and runs no programs.
pub(crate) fn context(config: AgentConfig) -> CommandContext {
    let directory = std::env::temp_dir().join("ironic-agent-tests-no-such-directory");
    let mut system = System::simulated(&directory);
    system.root = PathPrefix::new(directory);
    let registry =
        ManagerRegistry::compiled_in(&system).expect("the generic manager takes any machine");
    CommandContext {
        system,
        registry: Arc::new(registry),
        config: config::Shared::new(config),
        installed: Arc::default(),
        node: NodeMemory::default(),
    }
}

/// The identifier with this number.
pub(crate) fn id(number: u8) -> CommandId {
    let text = format!("00000000-0000-4000-8000-0000000000{number:02x}");
    CommandId::parse(&text).expect("the text is a UUID")
}

/// Some seconds after 1970.
pub(crate) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A running background command.
pub(crate) fn record(number: u8) -> CommandRecord {
    let mut record = CommandRecord {
        id: id(number),
        name: "clean.execute_clean_step".to_owned(),
        background: true,
        fingerprint: Fingerprint([number; 32]),
        started_at: at(1),
        deadline: None,
        state: CommandState::Running,
        milestones: Vec::new(),
    };
    record.note(MilestoneKind::Started, "Admitted.", at(1));
    record
}

/// Verbs that do what their arguments say: `execute_step` by its step, `get_steps` by its
/// node, in a key `do`; everything else answers null.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Script;

impl Perform for Script {
    fn perform<'a>(
        &'a self,
        _context: &'a CommandContext,
        task: &'a Task,
        command: Command,
    ) -> VerbFuture<'a, Value> {
        let script = match command.call {
            VerbCall::ExecuteStep(verb) => verb.step,
            VerbCall::GetSteps(verb) => verb.node,
            _ => JsonObject::new(),
        };
        Box::pin(play(task, script))
    }
}

async fn play(task: &Task, script: JsonObject) -> Result<Value, Failure> {
    let number = |key: &str| script.get(key).and_then(Value::as_u64).unwrap_or(0);
    match script.get("do").and_then(Value::as_str) {
        None => Ok(Value::Null),
        Some("answer") => Ok(script.get("value").cloned().unwrap_or_default()),
        Some("fill") => Ok(Value::String(
            "x".repeat(usize::try_from(number("bytes")).unwrap_or(0)),
        )),
        Some("fail") => {
            let kind = script.get("kind").and_then(Value::as_str).unwrap_or("");
            let kind = FailureKind::from_name(kind).unwrap_or(FailureKind::CommandExecution);
            Err(Failure::new(kind, "as the script says"))
        }
        Some("panic") => panic!("as the script says"),
        // Works `phases` times one second, and says so.
        Some("work") => {
            let phases = number("phases");
            for phase in 1..=phases {
                tokio::select! {
                    () = task.cancelled() => return Err(task.cancellation().into()),
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
                }
                task.progress(Progress {
                    phase: "work".into(),
                    done: phase,
                    total: Some(phases),
                    ..Progress::default()
                });
                task.phase_ended(format!("phase {phase}"));
            }
            if script.contains_key("end") {
                return Err(Failure::execution("as the script says"));
            }
            Ok(Value::Null)
        }
        // Hears nothing.
        Some("sleep") => {
            tokio::time::sleep(Duration::from_secs(number("seconds"))).await;
            Ok(Value::Null)
        }
        Some(other) => panic!("no such act: {other}"),
    }
}

/// A request for the command of this name.
pub(crate) fn request(name: &str, arguments: Value) -> CommandRequest {
    let verb = VerbDescriptor::by_name(name).expect("the protocol has it");
    let Value::Object(arguments) = arguments else {
        panic!("arguments are an object: {arguments}");
    };
    let given = GivenArguments::from_object(verb, arguments);
    CommandRequest::new(verb, given).expect("the agent has it")
}

/// Carries out the command of this name.
pub(crate) async fn run(name: &str, context: &CommandContext) -> Result<Value, Failure> {
    let command = request(name, json!({})).command;
    let command = command.expect("it needs no arguments");
    command.run(context, &Task::detached()).await
}

/// A background request that follows a script.
pub(crate) fn background(script: Value) -> CommandRequest {
    let arguments = json!({"step": script, "node": {}});
    request("clean.execute_clean_step", arguments)
}

/// An immediate request that follows a script.
pub(crate) fn immediate(script: Value) -> CommandRequest {
    request("clean.get_clean_steps", json!({"node": script}))
}
