//! A step of a manager that is a program of its own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use ironic_document::JsonObject;

use super::error::{
    ExternalStepCause, ExternalStepError, ManagerFailure, PeerError, ReportedFailure,
};
use super::peer::{ExternalStepDescription, ExternalStepRequest, StepAnswer, StepEvent};
use super::program::ManagerProgram;
use crate::config::AgentConfig;
use crate::hardware::{
    Description, Offer, PlanFuture, PlannedAction, RunFuture, Step, StepContext, StepError,
    StepPhase,
};

/// How long a program may think about what a step would do.
const PLAN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the news of a program's end may take longer than that of its connection's.
const NEWS_TIMEOUT: Duration = Duration::from_secs(1);

/// The step.
#[derive(Debug)]
pub(super) struct ExternalStep {
    program: Arc<ManagerProgram>,
    described: ExternalStepDescription,
}

impl ExternalStep {
    pub(super) fn new(program: Arc<ManagerProgram>, described: ExternalStepDescription) -> Self {
        Self { program, described }
    }

    fn request(&self, ctx: StepContext<'_>, arguments: &JsonObject) -> ExternalStepRequest {
        ExternalStepRequest {
            name: self.described.description.name.clone().into_owned(),
            node: ctx.node.0.clone(),
            ports: ctx.ports.to_vec(),
            arguments: arguments.clone(),
        }
    }

    /// The error of what went wrong around the step.
    fn broken(&self, source: ExternalStepCause) -> StepError {
        let manager = self.program.name().to_owned();
        ExternalStepError { manager, source }.into()
    }

    fn check_up(&self) -> Result<(), StepError> {
        match self.program.down() {
            None => Ok(()),
            Some(down) => Err(self.broken(ExternalStepCause::NotRunning(down))),
        }
    }

    /// Why a call got no answer. A program that died is a better reason than its connection.
    async fn lost(&self, error: PeerError) -> StepError {
        let ended = tokio::time::timeout(NEWS_TIMEOUT, self.program.ended()).await;
        self.broken(match ended {
            Ok(down) => ExternalStepCause::Ended(down),
            Err(_) => error.into(),
        })
    }

    fn result<T>(&self, answer: StepAnswer<T>) -> Result<T, StepError> {
        match answer {
            StepAnswer::Done(result) => Ok(result),
            StepAnswer::Failed(failure) => Err(self.reported(failure)),
            StepAnswer::Incompatible(reason) => Err(StepError::Incompatible(reason)),
        }
    }

    fn reported(&self, failure: ReportedFailure) -> StepError {
        StepError::Reported(Box::new(ManagerFailure {
            manager: self.program.name().to_owned(),
            failure,
        }))
    }
}

impl Step for ExternalStep {
    fn description(&self) -> &Description {
        &self.described.description
    }

    fn offer(&self, phase: StepPhase, _config: &AgentConfig) -> Option<Offer> {
        let offers = &self.described.offers;
        let found = offers.iter().find(|(offered, _)| *offered == phase);
        found.map(|(_, offer)| *offer)
    }

    fn plan<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a JsonObject) -> PlanFuture<'a> {
        async move {
            self.check_up()?;
            let call = self.program.peer().plan(self.request(ctx, arguments));
            let answer = match tokio::time::timeout(PLAN_TIMEOUT, call).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => return Err(self.lost(error).await),
                Err(_) => {
                    let seconds = PLAN_TIMEOUT.as_secs();
                    return Err(self.broken(ExternalStepCause::NoPlan { seconds }));
                }
            };
            let name = &self.described.description.name;
            Ok(self.result(answer)?.unwrap_or_else(|| {
                vec![PlannedAction {
                    description: format!(
                        "Run step {name} of hardware manager {}, which does not tell what it would do",
                        self.program.name()
                    ),
                    ..PlannedAction::default()
                }]
            }))
        }
        .boxed()
    }

    fn run<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a JsonObject) -> RunFuture<'a> {
        async move {
            self.check_up()?;
            let mut heard = |event| match event {
                StepEvent::Progress(progress) => ctx.task.progress(progress),
                StepEvent::PhaseEnded(text) => ctx.task.phase_ended(text),
                StepEvent::Warning(text) => ctx.task.warn(text),
            };
            let deadline = self.described.deadline;
            let ended = tokio::select! {
                answer = self.program.peer().execute(self.request(ctx, arguments), &mut heard) => {
                    match answer {
                        Ok(answer) => return self.result(answer),
                        Err(error) => Err(error),
                    }
                }
                () = ctx.task.cancelled() => Ok(StepError::from(ctx.task.cancellation())),
                () = tokio::time::sleep(deadline) => Ok(self.broken(ExternalStepCause::Deadline {
                    seconds: deadline.as_secs(),
                })),
            };
            let error = match ended {
                Err(error) => self.lost(error).await,
                Ok(error) => error,
            };
            // Nothing of the step may go on once its record says that it has ended, also if
            // only the connection was lost.
            if self.program.down().is_none() {
                self.program.restart().await;
            }
            Err(error)
        }
        .boxed()
    }
}
