//! Runs one step on a machine made of files.

use std::sync::Arc;

use ironic_document::JsonObject;
use serde_json::Value;

use super::error::EraseDevicesError;
use crate::config::AgentConfig;
use crate::failure::Failure;
use crate::hardware::{ManagerRegistry, PlannedAction, Step, StepContext, StepError, VendorEraser};
use crate::image::LastDeployment;
use crate::machine::ironic_node::Node;
use crate::machine::testing::FakeMachine;
use crate::system::System;
use crate::system::process::Script;
use crate::task::{Task, TaskNote};

/// What a run of a step needs.
pub(crate) struct Bench {
    pub(crate) machine: FakeMachine,
    pub(crate) config: AgentConfig,
    pub(crate) node: Node,
    /// Other hardware managers, which may be asked to erase disks.
    pub(crate) registry: Option<ManagerRegistry>,
    arguments: JsonObject,
}

impl Bench {
    pub(crate) fn new(machine: FakeMachine) -> Self {
        Self {
            machine,
            config: AgentConfig::default(),
            node: Node::default(),
            registry: None,
            arguments: JsonObject::new(),
        }
    }

    pub(crate) fn node(mut self, node: Value) -> Self {
        self.node = Node(node.as_object().unwrap().clone());
        self
    }

    pub(crate) fn arguments(mut self, arguments: Value) -> Self {
        self.arguments = arguments.as_object().unwrap().clone();
        self
    }

    /// Runs a step with exactly these programs; answers its result and the notes.
    pub(crate) async fn run(
        &self,
        step: &dyn Step,
        script: Script,
    ) -> (Result<Value, StepError>, Vec<String>) {
        let script = Arc::new(script);
        let system = self.machine.system_with(script.clone());
        let answer = self.run_on(step, &system).await;
        script.assert_done();
        answer
    }

    pub(crate) async fn run_on(
        &self,
        step: &dyn Step,
        system: &System,
    ) -> (Result<Value, StepError>, Vec<String>) {
        let (task, mut heard) = Task::new();
        let installed = LastDeployment::default();
        let erasers = self.erasers();
        let context = StepContext {
            erasers: &erasers,
            ..self.context(system, &task, &installed)
        };
        let result = step.run(context, &self.arguments).await;
        let mut notes = Vec::new();
        while let Ok(note) = heard.notes.try_recv() {
            let (TaskNote::Warning(text) | TaskNote::PhaseEnded(text)) = note;
            notes.push(text);
        }
        (result, notes)
    }

    /// Plans a step with exactly these programs.
    pub(crate) async fn plan(
        &self,
        step: &dyn Step,
        script: Script,
    ) -> Result<Vec<PlannedAction>, StepError> {
        let script = Arc::new(script);
        let system = self.machine.system_with(script.clone());
        let (task, installed) = (Task::detached(), LastDeployment::default());
        let erasers = self.erasers();
        let context = StepContext {
            erasers: &erasers,
            ..self.context(&system, &task, &installed)
        };
        let planned = step.plan(context, &self.arguments).await;
        script.assert_done();
        planned
    }

    pub(crate) fn context<'a>(
        &'a self,
        system: &'a System,
        task: &'a Task,
        installed: &'a LastDeployment,
    ) -> StepContext<'a> {
        StepContext {
            system,
            config: &self.config,
            node: &self.node,
            ports: &[],
            task,
            installed,
            erasers: &[],
            ordered: None,
        }
    }

    fn erasers(&self) -> Vec<VendorEraser<'_>> {
        let registry = self.registry.as_ref();
        registry.map(ManagerRegistry::erasers).unwrap_or_default()
    }
}

/// The failure of a step that failed in a module below.
pub(crate) fn failure(result: Result<Value, StepError>) -> Failure {
    match result.unwrap_err() {
        StepError::Failure(failure) => failure,
        other => panic!("{other:?}"),
    }
}

/// The error of a step that did not erase some devices.
pub(crate) fn erase_error(result: Result<Value, StepError>) -> EraseDevicesError {
    match result.unwrap_err() {
        StepError::Erase(error) => error,
        other => panic!("{other:?}"),
    }
}
