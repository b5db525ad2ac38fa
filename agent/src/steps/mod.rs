//! Clean, deploy and service steps: one machinery, three phases.
//!
//! Ironic asks for the list of a phase's steps, plans with it, and sends the steps back one by
//! one together with the versions that it planned with.

use ironic_document::JsonObject;
use serde_json::{Value, json};

use crate::hardware::{ManagerRegistry, PlannedAction, Step, StepContext, StepError};

pub use crate::hardware::StepPhase;

mod arguments;
mod collect;
mod error;
mod python;

pub use error::{StepFailed, StepsError};

/// A request to run one step.
#[derive(Debug, Clone, Copy)]
pub struct StepRequest<'a> {
    /// Which step machine.
    pub phase: StepPhase,
    /// The step as Ironic sent it.
    pub step: &'a JsonObject,
    /// The versions that Ironic planned with; `None` and null skip the check.
    pub version: Option<&'a Value>,
    /// Further named arguments; the step's own `args` win.
    pub arguments: &'a JsonObject,
}

/// The steps of a phase with the managers' versions:
/// `{"clean_steps": {class: [step, ...]}, "hardware_manager_version": {name: version}}`.
///
/// # Errors
/// A manager failed.
pub async fn list(
    phase: StepPhase,
    registry: &ManagerRegistry,
    ctx: StepContext<'_>,
) -> Result<Value, StepsError> {
    for ranked in registry.managers() {
        ranked.manager.check()?;
    }
    let steps = collect::collect(phase, registry, ctx.config);
    Ok(json!({
        format!("{}_steps", phase.word()): steps,
        "hardware_manager_version": registry.versions(),
    }))
}

/// Runs one step and answers `{"clean_result": ..., "clean_step": <as received>}`.
///
/// # Errors
/// Other versions, no such step, or the step failed.
pub async fn execute(
    request: StepRequest<'_>,
    registry: &ManagerRegistry,
    ctx: StepContext<'_>,
) -> Result<Value, StepsError> {
    let word = request.phase.word();
    let prepared = prepare(request, registry, ctx)?;
    for step in &prepared.steps {
        tracing::info!(step = %prepared.name, phase = word, "step started");
        match step.run(ctx, &prepared.arguments).await {
            Ok(result) => {
                tracing::info!(step = %prepared.name, phase = word, "step finished");
                return Ok(json!({
                    format!("{word}_result"): result,
                    format!("{word}_step"): request.step,
                }));
            }
            Err(StepError::Incompatible(reason)) => {
                tracing::info!(step = %prepared.name, %reason, "not compatible");
            }
            Err(error) => return Err(request.failed(prepared.name, error)),
        }
    }
    Err(StepsError::Unknown {
        name: prepared.name,
    })
}

/// What [`execute`] would do, found out without changing anything.
///
/// # Errors
/// What would keep the step from starting.
pub async fn plan(
    request: StepRequest<'_>,
    registry: &ManagerRegistry,
    ctx: StepContext<'_>,
) -> Result<Vec<PlannedAction>, StepsError> {
    let prepared = prepare(request, registry, ctx)?;
    for step in prepared.steps {
        match step.plan(ctx, &prepared.arguments).await {
            Ok(actions) => return Ok(actions),
            Err(StepError::Incompatible(_)) => {}
            Err(error) => return Err(request.failed(prepared.name, error)),
        }
    }
    Err(StepsError::Unknown {
        name: prepared.name,
    })
}

/// A step that may run.
struct Prepared<'a> {
    name: String,
    /// The step as each manager has it, best manager first; not empty.
    steps: Vec<&'a dyn Step>,
    arguments: JsonObject,
}

/// Everything that is checked before anything is touched.
fn prepare<'a>(
    request: StepRequest<'_>,
    registry: &'a ManagerRegistry,
    ctx: StepContext<'_>,
) -> Result<Prepared<'a>, StepsError> {
    check_versions(registry, request.version)?;
    let name = request.name()?;
    let offered = |step: &&'a dyn Step| {
        step.description().name == name && step.offer(request.phase, ctx.config).is_some()
    };
    let steps: Vec<_> = registry
        .managers()
        .iter()
        .filter_map(|ranked| ranked.manager.steps().into_iter().find(offered))
        .collect();
    let Some(step) = steps.first() else {
        return Err(StepsError::Unknown { name });
    };
    let arguments = arguments::overlay(request.arguments, request.step)
        .and_then(|merged| arguments::check(step.description(), &merged).map(|()| merged));
    let arguments = match arguments {
        Ok(arguments) => arguments,
        Err(error) => return Err(request.failed(name, error.into())),
    };
    Ok(Prepared {
        name,
        steps,
        arguments,
    })
}

/// Steps planned with other versions may have changed since.
fn check_versions(registry: &ManagerRegistry, planned: Option<&Value>) -> Result<(), StepsError> {
    let current = Value::Object(registry.versions());
    match planned {
        None | Some(Value::Null) => Ok(()),
        Some(planned) if *planned == current => Ok(()),
        Some(planned) => Err(StepsError::VersionMismatch {
            current: Box::new(current),
            planned: Box::new(planned.clone()),
        }),
    }
}

impl StepRequest<'_> {
    /// The step's name.
    fn name(&self) -> Result<String, StepsError> {
        match self.step.get("step") {
            Some(Value::String(name)) => Ok(name.clone()),
            Some(other) => Ok(python::repr(other)),
            None => Err(StepsError::NoName {
                phase: self.phase,
                step: Value::Object(self.step.clone()),
            }),
        }
    }

    fn failed(&self, name: String, source: StepError) -> StepsError {
        StepsError::Step(Box::new(StepFailed {
            phase: self.phase,
            name,
            source,
        }))
    }
}

#[cfg(test)]
mod tests;
