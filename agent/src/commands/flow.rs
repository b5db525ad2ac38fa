//! Extension `flow`: several commands one after another, as one.
//!
//! The whole flow is read before its first command runs: a spelling mistake in the last
//! command must not be found on a machine that the others have half changed.

use serde_json::Value;

use super::verb::{Misuse, bare};
use super::{Command, ExecuteStep, InstallBootloader, Object, Perform, Verb, Verbs, Workplace};
use crate::failure::{Failure, FailureKind};
use crate::steps::Phase;
use crate::task::Task;

/// Runs the commands of a flow in their order. Answers null. The first command that does not
/// succeed ends the flow.
///
/// # Errors
/// What is wrong with the flow, or the first command that failed.
pub async fn start_flow(place: &Workplace, task: &Task, flow: &[Value]) -> Result<Value, Failure> {
    let commands = read(flow)?;
    let total = commands.len();
    for (number, command) in (1..).zip(commands) {
        task.check()?;
        let name = command.verb().name();
        let done = Verbs.perform(place, task, command).await;
        done.map_err(|failure| stopped(name, failure))?;
        task.phase(format!("command {number} of {total}, {name}, succeeded"));
    }
    Ok(Value::Null)
}

/// The commands that would run.
///
/// # Errors
/// `InvalidCommandParams`, and `InvalidCommand` for a name without an extension: the order is
/// refused and leaves no record.
pub fn read(flow: &[Value]) -> Result<Vec<Command>, Failure> {
    let mut commands = Vec::new();
    for (index, entry) in flow.iter().enumerate() {
        let Value::Object(entry) = entry else {
            return Err(wrong(format!(
                "'flow[{index}]' must be an object that maps a command to its parameters, \
                 such as {{\"standby.sync\": {{}}}}"
            )));
        };
        // Documents lose the order of their keys on the wire, and here it would matter.
        if entry.len() > 1 {
            return Err(wrong(format!(
                "'flow[{index}]' holds several commands: give each an object of its own, so \
                 that their order is clear"
            )));
        }
        for (name, parameters) in entry {
            let parameters = match parameters {
                Value::Null => Object::new(),
                Value::Object(parameters) => parameters.clone(),
                _ => {
                    return Err(wrong(format!(
                        "'flow[{index}]': the parameters of {name} must be an object"
                    )));
                }
            };
            let verb = verb(name)?;
            commands.push(Parameters::of(verb, parameters).command()?);
        }
    }
    Ok(commands)
}

fn verb(name: &str) -> Result<Verb, Failure> {
    let Some((extension, _)) = name.split_once('.') else {
        return Err(Failure::new(
            FailureKind::InvalidCommand,
            "Command name must be of the form <extension>.<name>",
        ));
    };
    let belongs = |verb: &Verb| {
        let known = verb.name().split_once('.');
        known.is_some_and(|(known, _)| known == extension)
    };
    if !Verb::ALL.iter().any(belongs) {
        return Err(wrong(format!("Extension with id {extension} not found.")));
    }
    let verb = Verb::by_name(name).ok_or_else(|| {
        wrong(format!(
            "Extension {extension} doesn't provide {} method",
            bare(name)
        ))
    })?;
    match verb {
        Verb::StartFlow => Err(wrong(
            "A flow cannot hold another flow: put its commands here",
        )),
        // Their success is what ends the service, and it is the flow that would be running.
        Verb::FinalizeRescue | Verb::Lockdown => Err(wrong(format!(
            "{name} ends the agent's service and cannot be part of a flow: send it by itself"
        ))),
        verb => Ok(verb),
    }
}

fn stopped(name: &str, failure: Failure) -> Failure {
    Failure {
        kind: FailureKind::CommandExecution,
        details: format!("{name} was failed: {failure}"),
        ..failure
    }
}

fn wrong(details: impl Into<String>) -> Failure {
    Failure::new(FailureKind::InvalidCommandParams, details)
}

/// The parameters of one command, taken out one after another. What is left over is one too
/// many.
struct Parameters {
    verb: Verb,
    given: Object,
}

impl Parameters {
    fn of(verb: Verb, given: Object) -> Self {
        Self { verb, given }
    }

    fn command(mut self) -> Result<Command, Failure> {
        let command = match self.verb {
            Verb::GetSteps(phase) => Command::GetSteps {
                phase,
                node: self.needed("node", Self::object)?,
                ports: self.objects("ports")?,
            },
            Verb::ExecuteStep(phase) => return self.execute_step(phase),
            Verb::PrepareImage => Command::PrepareImage {
                image_info: self.object("image_info")?.unwrap_or_default(),
                configdrive: self.text("configdrive")?,
            },
            Verb::ExecuteBootcInstall => Command::ExecuteBootcInstall(super::BootcInstall {
                image_source: self.needed("image_source", Self::text)?,
                instance_info: self.object("instance_info")?.unwrap_or_default(),
                pull_secret: self.text("pull_secret")?.map(ironic_text::Secret::new),
                configdrive: self.text("configdrive")?,
            }),
            Verb::InstallBootloader => Command::InstallBootloader(InstallBootloader {
                root_uuid: self.needed("root_uuid", Self::text)?,
                efi_system_part_uuid: self.text("efi_system_part_uuid")?,
                prep_boot_part_uuid: self.text("prep_boot_part_uuid")?,
                target_boot_mode: self
                    .text("target_boot_mode")?
                    .unwrap_or_else(|| "bios".to_owned()),
                ignore_bootloader_failure: self.flag("ignore_bootloader_failure")?,
            }),
            Verb::SetNodeInfo => Command::SetNodeInfo {
                node_info: self.object("node_info")?.unwrap_or_default(),
            },
            Verb::RunImage => Command::RunImage,
            Verb::PowerOff => Command::PowerOff,
            Verb::Sync => Command::Sync,
            Verb::GetPartitionUuids => Command::GetPartitionUuids,
            Verb::CollectSystemLogs => Command::CollectSystemLogs,
            Verb::GetHardwareInfo => Command::GetHardwareInfo,
            Verb::StartFlow | Verb::FinalizeRescue | Verb::Lockdown => {
                return Err(wrong(format!("{} in a flow", self.verb.name())));
            }
        };
        match self.given.keys().next() {
            None => Ok(command),
            Some(name) => Err(self.misuse(&Misuse::Unexpected(name.clone()))),
        }
    }

    /// The only command that takes arguments which it does not name: they are the step's.
    fn execute_step(mut self, phase: Phase) -> Result<Command, Failure> {
        let version = self.given.remove(&format!("{}_version", phase.word()));
        Ok(Command::ExecuteStep(Box::new(ExecuteStep {
            phase,
            step: self.needed("step", Self::object)?,
            node: self.needed("node", Self::object)?,
            ports: self.objects("ports")?,
            version: version.filter(|version| !version.is_null()),
            arguments: self.given,
        })))
    }

    fn needed<T>(
        &mut self,
        name: &'static str,
        take: fn(&mut Self, &str) -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        take(self, name)?.ok_or_else(|| self.misuse(&Misuse::Missing(vec![name])))
    }

    fn take<T>(
        &mut self,
        name: &str,
        kind: &str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        match self.given.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value)
                .map(Some)
                .ok_or_else(|| wrong(format!("'{name}' of {} must be {kind}", self.verb.name()))),
        }
    }

    fn object(&mut self, name: &str) -> Result<Option<Object>, Failure> {
        self.take(name, "an object", |value| match value {
            Value::Object(object) => Some(object),
            _ => None,
        })
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, Failure> {
        self.take(name, "a text", |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })
    }

    fn flag(&mut self, name: &str) -> Result<Option<bool>, Failure> {
        self.take(name, "true or false", |value| value.as_bool())
    }

    /// Ironic sends no ports as an empty object, too.
    fn objects(&mut self, name: &str) -> Result<Vec<Object>, Failure> {
        let taken = self.take(name, "a list of objects", |value| match value {
            Value::Object(none) if none.is_empty() => Some(Vec::new()),
            Value::Array(values) => values
                .into_iter()
                .map(|value| match value {
                    Value::Object(object) => Some(object),
                    _ => None,
                })
                .collect(),
            _ => None,
        })?;
        Ok(taken.unwrap_or_default())
    }

    fn misuse(&self, misuse: &Misuse) -> Failure {
        wrong(misuse.failure(self.verb).details)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing;
    use crate::config::Config;

    fn flow(value: Value) -> Vec<Value> {
        match value {
            Value::Array(flow) => flow,
            other => panic!("a flow is a list: {other}"),
        }
    }

    #[test]
    fn commands_are_read_in_their_order() {
        let names: Vec<_> = read(&flow(json!([
            {"poll.get_hardware_info": {}},
            {"standby.sync": null},
            {"clean.get_clean_steps": {"node": {"uuid": "u"}, "ports": {}}},
            {"clean.execute_clean_step": {
                "step": {"step": "erase_devices_metadata"}, "node": {"uuid": "u"}, "ports": [{}],
                "clean_version": {"generic": "1"}, "further": 1
            }},
            {"standby.prepare_image": {"image_info": {"id": "i"}, "configdrive": "H4"}},
            {"standby.execute_bootc_install": {"image_source": "oci://r/i"}},
            {"image.install_bootloader": {"root_uuid": ""}},
            {"standby.power_off": {}}
        ])))
        .unwrap()
        .iter()
        .map(|command| command.verb().name())
        .collect();
        assert_eq!(
            names,
            [
                "poll.get_hardware_info",
                "standby.sync",
                "clean.get_clean_steps",
                "clean.execute_clean_step",
                "standby.prepare_image",
                "standby.execute_bootc_install",
                "image.install_bootloader",
                "standby.power_off",
            ]
        );
    }

    #[test]
    fn a_step_keeps_what_it_does_not_name() {
        let commands = read(&flow(json!([{"clean.execute_clean_step": {
            "step": {"step": "s"}, "node": {"uuid": "u"}, "ports": null,
            "clean_version": {"generic": "1"}, "further": 1
        }}])));
        let Ok([Command::ExecuteStep(step)]) = commands.as_deref() else {
            panic!("{commands:?}")
        };
        assert_eq!(step.version, Some(json!({"generic": "1"})));
        assert_eq!(Value::Object(step.arguments.clone()), json!({"further": 1}));
    }

    #[test]
    fn what_is_wrong_is_said_before_anything_runs() {
        use FailureKind::{InvalidCommand, InvalidCommandParams};
        let cases = [
            (
                json!(["x"]),
                InvalidCommandParams,
                "'flow[0]' must be an object",
            ),
            (json!([{"x": {}}]), InvalidCommand, "<extension>.<name>"),
            (
                json!([{"fake.sync": {}}]),
                InvalidCommandParams,
                "Extension with id fake not found.",
            ),
            (
                json!([{"standby.sync": {}}, {"standby.fake": {}}]),
                InvalidCommandParams,
                "Extension standby doesn't provide fake method",
            ),
            (
                json!([{"standby.sync": {}, "standby.power_off": {}}]),
                InvalidCommandParams,
                "'flow[0]' holds several commands",
            ),
            (
                json!([{"standby.sync": []}]),
                InvalidCommandParams,
                "must be an object",
            ),
            (
                json!([{"standby.sync": {"x": 1}}]),
                InvalidCommandParams,
                "unexpected keyword argument 'x'",
            ),
            (
                json!([{"image.install_bootloader": {}}]),
                InvalidCommandParams,
                "missing 1 required positional argument: 'root_uuid'",
            ),
            (
                json!([{"image.install_bootloader": {"root_uuid": 5}}]),
                InvalidCommandParams,
                "'root_uuid' of image.install_bootloader must be a text",
            ),
            (
                json!([{"flow.start_flow": {}}]),
                InvalidCommandParams,
                "another flow",
            ),
            (
                json!([{"system.lockdown": {}}]),
                InvalidCommandParams,
                "by itself",
            ),
            (
                json!([{"rescue.finalize_rescue": {}}]),
                InvalidCommandParams,
                "by itself",
            ),
        ];
        for (given, kind, text) in cases {
            let failure = read(&flow(given.clone())).unwrap_err();
            assert_eq!(failure.kind, kind, "{given}");
            assert!(failure.details.contains(text), "{given}: {failure}");
        }
    }

    #[tokio::test]
    async fn the_first_failure_ends_a_flow() {
        let place = testing::place(Config::default());
        let (task, mut listener) = Task::new();
        let commands = flow(json!([
            {"standby.get_partition_uuids": {}},
            {"standby.sync": {}},
            {"clean.execute_clean_step": {"step": {"step": "no_such"}, "node": {"uuid": "u"}}},
            {"standby.power_off": {}},
        ]));
        let failure = start_flow(&place, &task, &commands).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::CommandExecution);
        assert!(
            failure
                .details
                .starts_with("clean.execute_clean_step was failed: "),
            "{failure}"
        );
        drop(task);
        let mut phases = Vec::new();
        while let Some(crate::task::Note::Phase(text)) = listener.notes.recv().await {
            phases.push(text);
        }
        assert_eq!(
            phases,
            [
                "command 1 of 4, standby.get_partition_uuids, succeeded",
                "command 2 of 4, standby.sync, succeeded"
            ]
        );
        assert_eq!(
            start_flow(&place, &Task::detached(), &[]).await,
            Ok(Value::Null)
        );
    }

    #[tokio::test]
    async fn a_cancelled_flow_goes_no_further() {
        let place = testing::place(Config::default());
        let task = Task::detached();
        task.cancel("enough");
        let commands = flow(json!([{"standby.power_off": {}}]));
        let failure = start_flow(&place, &task, &commands).await.unwrap_err();
        assert_eq!(failure, task.cancellation());
    }
}
