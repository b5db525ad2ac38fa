//! A step of a manager that is a program of its own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::peer::{Answer, Event, Lost, Order, StepDescribed};
use super::program::Program;
use crate::config::Config;
use crate::failure::{Failure, FailureKind};
use crate::hardware::{
    Action, Description, Object, Offer, Phase, Planning, Running, Step, StepContext, StepError,
};

/// How long a program may think about what a step would do.
const PLAN_PATIENCE: Duration = Duration::from_secs(30);
/// How long the news of a program's end may take longer than that of its connection's.
const NEWS_PATIENCE: Duration = Duration::from_secs(1);

/// The step.
#[derive(Debug)]
pub(super) struct ExternalStep {
    program: Arc<Program>,
    described: StepDescribed,
}

impl ExternalStep {
    pub(super) fn new(program: Arc<Program>, described: StepDescribed) -> Self {
        Self { program, described }
    }

    fn order(&self, ctx: StepContext<'_>, arguments: &Object) -> Order {
        Order {
            name: self.described.description.name.clone().into_owned(),
            node: ctx.node.0.clone(),
            ports: ctx.ports.to_vec(),
            arguments: arguments.clone(),
        }
    }

    /// A failure of the machinery around the step.
    fn broken(&self, what: &str) -> StepError {
        StepError::Unexpected {
            class: "HardwareManagerError",
            text: format!("hardware manager {}: {what}", self.program.name()),
            program: None,
        }
    }

    fn check_up(&self) -> Result<(), StepError> {
        match self.program.down() {
            None => Ok(()),
            Some(reason) => Err(self.broken(&format!("it is not running: {reason}"))),
        }
    }

    /// Why a call got no answer. A program that died is a better reason than its connection.
    async fn lost(&self, lost: Lost) -> StepError {
        match tokio::time::timeout(NEWS_PATIENCE, self.program.ended()).await {
            Ok(reason) => self.broken(&format!("{reason} while the step ran")),
            Err(_) => self.broken(&lost.reason),
        }
    }

    fn judge<T>(&self, answer: Answer<T>) -> Result<T, StepError> {
        match answer {
            Answer::Done(result) => Ok(result),
            Answer::Failed(failure) => Err(failure.into()),
            Answer::Unexpected { class, text } if class.is_empty() => Err(self.broken(&text)),
            Answer::Unexpected { class, text } => Err(self.broken(&format!("{class}: {text}"))),
            Answer::Incompatible(reason) => {
                Err(Failure::new(FailureKind::IncompatibleHardwareMethod, reason).into())
            }
        }
    }
}

impl Step for ExternalStep {
    fn description(&self) -> &Description {
        &self.described.description
    }

    fn offer(&self, phase: Phase, _config: &Config) -> Option<Offer> {
        let offers = &self.described.offers;
        let found = offers.iter().find(|(offered, _)| *offered == phase);
        found.map(|(_, offer)| *offer)
    }

    fn plan<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a Object) -> Planning<'a> {
        async move {
            self.check_up()?;
            let call = self.program.peer().plan(self.order(ctx, arguments));
            let answer = match tokio::time::timeout(PLAN_PATIENCE, call).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(lost)) => return Err(self.lost(lost).await),
                Err(_) => {
                    let seconds = PLAN_PATIENCE.as_secs();
                    return Err(self.broken(&format!("no plan within {seconds} s")));
                }
            };
            let name = &self.described.description.name;
            Ok(self.judge(answer)?.unwrap_or_else(|| {
                vec![Action {
                    description: format!(
                        "Run step {name} of hardware manager {}, which does not tell what it would do",
                        self.program.name()
                    ),
                    ..Action::default()
                }]
            }))
        }
        .boxed()
    }

    fn run<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a Object) -> Running<'a> {
        async move {
            self.check_up()?;
            let mut heard = |event| match event {
                Event::Progress(progress) => ctx.task.progress(progress),
                Event::Phase(text) => ctx.task.phase(text),
                Event::Warning(text) => ctx.task.warn(text),
            };
            let deadline = self.described.deadline;
            let ended = tokio::select! {
                answer = self.program.peer().execute(self.order(ctx, arguments), &mut heard) => {
                    match answer {
                        Ok(answer) => return self.judge(answer),
                        Err(lost) => Err(lost),
                    }
                }
                () = ctx.task.cancelled() => Ok(StepError::from(ctx.task.cancellation())),
                () = tokio::time::sleep(deadline) => Ok(self.broken(&format!(
                    "the step did not end within its {} s", deadline.as_secs()
                ))),
            };
            let error = match ended {
                Err(lost) => self.lost(lost).await,
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
