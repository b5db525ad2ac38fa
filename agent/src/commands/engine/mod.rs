//! The command engine: a task that owns the queue and the store, and the handle through
//! which everybody else talks to it.
//!
//! Requests, questions and the runner's reports arrive at that one task, so every answer is
//! given in the order of what happened, and a record is on disk before it is answered.
//! A caller that goes away changes nothing: what was admitted runs.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};

use super::context::CommandContext;
use super::plan::CommandPlan;
use super::queue::{CommandReply, Refusal};
use super::record::{CommandId, CommandRecord};
use super::request::CommandRequest;
use super::runner::Perform;
use crate::shutdown::ShutdownReason;
use crate::task::{LogLine, Progress};

mod activity;
mod engine_task;

pub use engine_task::EngineTask;
use engine_task::{EngineChannels, objection};

/// The handle. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    messages: mpsc::Sender<Message>,
    context: CommandContext,
    running: watch::Receiver<Option<RunningCommand>>,
    finished: Arc<Notify>,
    shutdown: watch::Receiver<Option<ShutdownReason>>,
    started_at: SystemTime,
}

/// The running command, readable without waiting for the engine.
#[derive(Debug, Clone)]
struct RunningCommand {
    record: Arc<CommandRecord>,
    progress: watch::Receiver<Option<Progress>>,
}

/// The status of the agent, which needs no token.
#[derive(Debug, Clone)]
pub struct EngineStatus {
    /// When the engine started.
    pub started_at: SystemTime,
    /// The record of the command that runs.
    pub running: Option<Arc<CommandRecord>>,
    /// The node that this machine is; empty before a lookup.
    pub node_uuid: String,
}

/// A command being followed.
#[derive(Debug)]
pub struct Watching {
    /// Its record: changes with every milestone and at the end.
    pub record: watch::Receiver<Arc<CommandRecord>>,
    /// Its latest progress.
    pub progress: watch::Receiver<Option<Progress>>,
    /// What it says from now on; closed when it has ended.
    pub lines: broadcast::Receiver<LogLine>,
}

/// A caller that waits for an answer.
type ReplySender = oneshot::Sender<CommandReply>;

#[derive(Debug)]
enum Message {
    Submit(Box<CommandRequest>, ReplySender),
    Get(CommandId, ReplySender),
    Wait(CommandId, ReplySender),
    List(oneshot::Sender<Vec<Arc<CommandRecord>>>),
    Watch(CommandId, oneshot::Sender<Result<Watching, Refusal>>),
    /// The caller, if any, hears the record; a deadline has none.
    Cancel(CommandId, String, Option<ReplySender>),
}

impl Engine {
    /// The handle and the task behind it, which has to be [run](EngineTask::run). Records of an
    /// earlier life are taken from the state directory; without one that can be written, the
    /// engine works from memory and says so.
    #[must_use]
    pub fn new(
        context: CommandContext,
        performer: Arc<dyn Perform>,
        state: &Path,
    ) -> (Self, EngineTask) {
        // Requests are few; a short queue only decouples the callers.
        const MESSAGES: usize = 32;
        let started_at = SystemTime::now();
        let (messages, inbox) = mpsc::channel(MESSAGES);
        let (publish, running) = watch::channel(None);
        let (announce, shutdown) = watch::channel(None);
        let finished = Arc::new(Notify::new());
        let channels = EngineChannels {
            inbox,
            messages: messages.downgrade(),
            running: publish,
            shutdown: announce,
            finished: Arc::clone(&finished),
        };
        let task = EngineTask::new(context.clone(), performer, state, started_at, channels);
        let engine = Self {
            messages,
            context,
            running,
            finished,
            shutdown,
            started_at,
        };
        (engine, task)
    }

    /// Admits a request. A background command is answered with its running record, the others
    /// when they have ended.
    ///
    /// # Errors
    /// Why nothing was started or recorded.
    pub async fn execute(&self, request: CommandRequest) -> Result<Arc<CommandRecord>, Refusal> {
        self.answer(|caller| Message::Submit(Box::new(request), caller))
            .await
    }

    /// What a request would do. Nothing is changed or recorded, and it works while another
    /// command runs.
    ///
    /// # Errors
    /// What would keep the command from starting.
    pub async fn plan(&self, request: &CommandRequest) -> Result<CommandPlan, Refusal> {
        if let Some(refusal) = objection(&self.context, request) {
            return Err(refusal);
        }
        match &request.command {
            Ok(command) => Ok(command.plan(&self.context).await?),
            Err(misuse) => Err(Refusal::Failure(misuse.failure(request.verb))),
        }
    }

    /// One record, as it is.
    ///
    /// # Errors
    /// There is no such command.
    pub async fn get(&self, id: CommandId) -> Result<Arc<CommandRecord>, Refusal> {
        self.answer(|caller| Message::Get(id, caller)).await
    }

    /// One record, when the command has ended.
    ///
    /// # Errors
    /// There is no such command.
    pub async fn wait(&self, id: CommandId) -> Result<Arc<CommandRecord>, Refusal> {
        self.answer(|caller| Message::Wait(id, caller)).await
    }

    /// All records in the order of execution.
    ///
    /// # Errors
    /// The agent stops.
    pub async fn list(&self) -> Result<Vec<Arc<CommandRecord>>, Refusal> {
        self.ask(Message::List).await
    }

    /// Follows one command.
    ///
    /// # Errors
    /// There is no such command.
    pub async fn watch(&self, id: CommandId) -> Result<Watching, Refusal> {
        self.ask(|reply| Message::Watch(id, reply)).await?
    }

    /// Asks a command to stop. Its record comes back as it is then.
    ///
    /// # Errors
    /// There is no such command.
    pub async fn cancel(
        &self,
        id: CommandId,
        reason: String,
    ) -> Result<Arc<CommandRecord>, Refusal> {
        self.answer(|caller| Message::Cancel(id, reason, Some(caller)))
            .await
    }

    /// The status of the agent.
    #[must_use]
    pub fn status(&self) -> EngineStatus {
        EngineStatus {
            started_at: self.started_at,
            running: self
                .running
                .borrow()
                .as_ref()
                .map(|running| Arc::clone(&running.record)),
            node_uuid: self.context.node.current().uuid().to_owned(),
        }
    }

    /// The latest progress of a command; `None` unless it runs and reports some.
    #[must_use]
    pub fn progress(&self, id: CommandId) -> Option<Progress> {
        let running = self.running.borrow();
        let running = running.as_ref().filter(|running| running.record.id == id)?;
        running.progress.borrow().clone()
    }

    /// Is notified whenever a background command has ended: the time for an early heartbeat.
    /// A notification that nobody awaits is kept. The loop of heartbeats awaits this one.
    #[must_use]
    pub fn finished(&self) -> Arc<Notify> {
        Arc::clone(&self.finished)
    }

    /// Changes when a command ended the agent's service. Nothing is admitted from then on. The
    /// answer to that command may still be on its way to the caller.
    #[must_use]
    pub fn shutdown(&self) -> watch::Receiver<Option<ShutdownReason>> {
        self.shutdown.clone()
    }

    /// What the verbs work with.
    #[must_use]
    pub fn context(&self) -> &CommandContext {
        &self.context
    }

    async fn answer(
        &self,
        message: impl FnOnce(ReplySender) -> Message,
    ) -> Result<Arc<CommandRecord>, Refusal> {
        match self.ask(message).await? {
            CommandReply::Record(record) => Ok(record),
            CommandReply::Refused(refusal) => Err(refusal),
        }
    }

    async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.messages
            .send(message(reply))
            .await
            .map_err(|_| Refusal::ShuttingDown)?;
        answer.await.map_err(|_| Refusal::ShuttingDown)
    }
}

#[cfg(test)]
mod tests;
