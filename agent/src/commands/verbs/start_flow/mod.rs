//! Runs several commands one after another, as one.
//!
//! The whole flow is read before its first command runs: a spelling mistake in the last
//! command must not be found on a machine that the others have half changed.

use ironic_document::JsonObject;
use serde_json::Value;

use super::{Command, Verb};
use crate::commands::arguments::{GivenArguments, VerbArguments};
use crate::commands::context::CommandContext;
use crate::commands::descriptor::{VerbDescriptor, bare};
use crate::commands::failure::{Failure, FailureKind};
use crate::commands::plan::CommandPlan;
use crate::task::Task;

/// The verb with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct StartFlow {
    /// One object per command, `{"<extension>.<command>": parameters}`.
    pub flow: Vec<Value>,
}

impl Verb for StartFlow {
    fn read(mut arguments: VerbArguments) -> Option<Self> {
        Some(Self {
            flow: arguments.list("flow"),
        })
    }

    fn check(&self, context: &CommandContext) -> Result<(), Failure> {
        let commands = self.commands()?;
        commands
            .iter()
            .try_for_each(|command| command.check(context))
    }

    async fn plan(&self, context: &CommandContext) -> Result<CommandPlan, Failure> {
        let mut whole = CommandPlan::default();
        for command in self.commands()? {
            whole.actions.extend(command.plan(context).await?.actions);
        }
        Ok(whole)
    }

    /// Answers null. The first command that does not succeed ends the flow.
    ///
    /// # Errors
    /// What is wrong with the flow, or the first command that failed.
    async fn run(self, context: &CommandContext, task: &Task) -> Result<Value, Failure> {
        let commands = self.commands()?;
        let total = commands.len();
        for (number, command) in (1..).zip(commands) {
            task.check()?;
            let name = command.verb.name;
            let done = command.run(context, task).await;
            done.map_err(|failure| stopped(name, failure))?;
            task.phase_ended(format!("command {number} of {total}, {name}, succeeded"));
        }
        Ok(Value::Null)
    }
}

impl StartFlow {
    /// The commands that would run.
    ///
    /// # Errors
    /// `InvalidCommandParams`, and `InvalidCommand` for a name without an extension: the
    /// request is refused and leaves no record.
    fn commands(&self) -> Result<Vec<Command>, Failure> {
        let mut commands = Vec::new();
        for (index, entry) in self.flow.iter().enumerate() {
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
                    Value::Null => JsonObject::new(),
                    Value::Object(parameters) => parameters.clone(),
                    _ => {
                        return Err(wrong(format!(
                            "'flow[{index}]': the parameters of {name} must be an object"
                        )));
                    }
                };
                commands.push(command(verb(name)?, parameters)?);
            }
        }
        Ok(commands)
    }
}

fn command(verb: &'static VerbDescriptor, parameters: JsonObject) -> Result<Command, Failure> {
    let given = GivenArguments::from_object(verb, parameters);
    let arguments =
        VerbArguments::check(verb, given).map_err(|misuse| wrong(misuse.sentence(verb)))?;
    Command::read(arguments).ok_or_else(|| unknown(verb.extension(), verb.command()))
}

fn verb(name: &str) -> Result<&'static VerbDescriptor, Failure> {
    let Some((extension, _)) = name.split_once('.') else {
        return Err(Failure::new(
            FailureKind::InvalidCommand,
            "Command name must be of the form <extension>.<name>",
        ));
    };
    if !VerbDescriptor::of_ironic().any(|verb| verb.extension() == extension) {
        return Err(wrong(format!("Extension with id {extension} not found.")));
    }
    let verb = VerbDescriptor::of_ironic().find(|verb| verb.name == name);
    let verb = verb.ok_or_else(|| unknown(extension, bare(name)))?;
    if verb.verb == "start_flow" {
        return Err(wrong(
            "A flow cannot hold another flow: put its commands here",
        ));
    }
    if verb.ends_service.is_some() {
        // Their success is what ends the service, and it is the flow that would be running.
        return Err(wrong(format!(
            "{name} ends the agent's service and cannot be part of a flow: send it by itself"
        )));
    }
    Ok(verb)
}

fn unknown(extension: &str, command: &str) -> Failure {
    wrong(format!(
        "Extension {extension} doesn't provide {command} method"
    ))
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

#[cfg(test)]
mod tests;
