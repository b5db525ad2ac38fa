//! Extensions `clean`, `deploy` and `service`: three names for one machinery.

use ironic_agent_protocol::v1;

use super::{Arguments, Parsed, Verb, WrongArgument};
use v1::StepPhase;

/// The verb of `<phase>.<command>`.
pub(super) fn verb(phase: StepPhase, command: &str, arguments: &mut Arguments) -> Parsed {
    let (get, execute, version) = match phase {
        StepPhase::Unspecified => return None,
        StepPhase::Clean => ("get_clean_steps", "execute_clean_step", "clean_version"),
        StepPhase::Deploy => ("get_deploy_steps", "execute_deploy_step", "deploy_version"),
        StepPhase::Service => (
            "get_service_steps",
            "execute_service_step",
            "service_version",
        ),
    };
    if command == get {
        Some(get_steps(phase, arguments))
    } else if command == execute {
        Some(execute_step(phase, version, arguments))
    } else {
        None
    }
}

fn get_steps(phase: StepPhase, arguments: &mut Arguments) -> Result<Verb, WrongArgument> {
    Ok(Verb::GetSteps(v1::GetStepsCommand {
        phase: phase.into(),
        node: arguments.object("node")?,
        ports: arguments.objects("ports")?,
    }))
}

/// Names that the command does not have are arguments of the step here.
fn execute_step(
    phase: StepPhase,
    version: &str,
    arguments: &mut Arguments,
) -> Result<Verb, WrongArgument> {
    Ok(Verb::ExecuteStep(v1::ExecuteStepCommand {
        phase: phase.into(),
        step: arguments.object("step")?,
        node: arguments.object("node")?,
        ports: arguments.objects("ports")?,
        version: arguments.value(version)?,
        arguments: Some(arguments.rest()?),
    }))
}
