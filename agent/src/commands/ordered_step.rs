//! A step that a typed command asks for, run as if Ironic had sent it.

use ironic_document::JsonObject;
use serde_json::{Value, json};

use super::context::CommandContext;
use super::failure::Failure;
use super::plan::PlannedAction;
use super::step_context::{step_context, wait_for_disks};
use crate::hardware::{OrderedDisks, StepContext};
use crate::machine::ironic_node::Node;
use crate::steps::{self, StepPhase, StepRequest};
use crate::task::Task;

/// The step.
#[derive(Debug, Clone)]
pub(super) struct OrderedStep {
    /// The step machine that offers it.
    pub(super) phase: StepPhase,
    /// Its driver interface.
    pub(super) interface: &'static str,
    /// Its name.
    pub(super) name: &'static str,
    /// Its arguments.
    pub(super) arguments: JsonObject,
    /// The node as the order wants it.
    pub(super) node: Node,
}

impl OrderedStep {
    /// What it would do, on the disks that are `ordered`.
    ///
    /// # Errors
    /// What would keep it from starting.
    pub(super) async fn plan(
        &self,
        context: &CommandContext,
        ordered: Option<&OrderedDisks>,
    ) -> Result<Vec<PlannedAction>, Failure> {
        let config = context.config.current();
        let (document, none) = (self.document(), JsonObject::new());
        let task = Task::detached();
        let erasers = context.registry.erasers();
        let step_context = StepContext {
            erasers: &erasers,
            ordered,
            ..step_context(context, &config, &self.node, &[], &task)
        };
        let registry = context.registry.under(&context.system, &config);
        let request = self.request(&document, &none);
        Ok(steps::plan(request, &registry, step_context).await?)
    }

    /// Runs it on the disks that are `ordered`; answers what the step answered.
    ///
    /// # Errors
    /// Why it failed.
    pub(super) async fn run(
        &self,
        context: &CommandContext,
        task: &Task,
        ordered: Option<&OrderedDisks>,
    ) -> Result<Value, Failure> {
        let config = context.config.current();
        wait_for_disks(context, &config, &self.node).await;
        let (document, none) = (self.document(), JsonObject::new());
        let erasers = context.registry.erasers();
        let step_context = StepContext {
            erasers: &erasers,
            ordered,
            ..step_context(context, &config, &self.node, &[], task)
        };
        let registry = context.registry.under(&context.system, &config);
        let request = self.request(&document, &none);
        let mut answer = steps::execute(request, &registry, step_context).await?;
        let result = answer.get_mut(format!("{}_result", self.phase.word()));
        Ok(result.map(Value::take).unwrap_or_default())
    }

    fn document(&self) -> JsonObject {
        JsonObject::from_iter([
            ("interface".to_owned(), self.interface.into()),
            ("step".to_owned(), self.name.into()),
            ("args".to_owned(), json!(self.arguments)),
        ])
    }

    fn request<'a>(&self, step: &'a JsonObject, arguments: &'a JsonObject) -> StepRequest<'a> {
        StepRequest {
            phase: self.phase,
            step,
            version: None,
            arguments,
        }
    }
}
