//! The task behind the engine: it alone owns the queue and the store, so everything happens
//! in one order.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tracing::{info, warn};

use super::{Message, ReplySender, RunningCommand, Watching};
use crate::commands::context::CommandContext;
use crate::commands::descriptor::{ServiceEnd, VerbDescriptor};
use crate::commands::failure::Failure;
use crate::commands::misuse::Misuse;
use crate::commands::queue::{
    CancelResult, CommandReply, End, Queue, QueueEffects, Refusal, Submission,
};
use crate::commands::record::{CommandId, CommandOutcome, CommandRecord};
use crate::commands::request::CommandRequest;
use crate::commands::runner::{self, Perform, RunnerEvent, RunnerJob};
use crate::commands::store::Store;
use crate::commands::verbs::Command;
use crate::shutdown::ShutdownReason;
use crate::task::{Progress, Task};

/// Why a request is refused whatever else happens. Pure: the configuration is all it reads.
pub(super) fn objection(context: &CommandContext, request: &CommandRequest) -> Option<Refusal> {
    let command = request.command.as_ref().ok();
    let command = command.or(request.without_unexpected.as_ref())?;
    command.check(context).err().map(Refusal::Failure)
}

/// What is needed to run a command once its turn comes.
#[derive(Debug)]
struct Payload {
    verb: &'static VerbDescriptor,
    command: Result<Command, Misuse>,
}

/// The engine's ends of what the handles hold.
#[derive(Debug)]
pub(super) struct EngineChannels {
    pub inbox: mpsc::Receiver<Message>,
    /// For deadlines, which must not keep the engine alive.
    pub messages: mpsc::WeakSender<Message>,
    pub running: watch::Sender<Option<RunningCommand>>,
    pub shutdown: watch::Sender<Option<ShutdownReason>>,
    pub finished: Arc<Notify>,
}

/// The task behind an [`Engine`](super::Engine).
#[derive(Debug)]
pub struct EngineTask {
    queue: Queue<Payload, ReplySender>,
    store: Option<Store>,
    context: CommandContext,
    performer: Arc<dyn Perform>,
    channels: EngineChannels,
    reports: mpsc::Sender<RunnerEvent>,
    outcomes: mpsc::Receiver<RunnerEvent>,
    live: Option<RunningTask>,
    deadlines: HashMap<CommandId, AbortHandle>,
    tasks: JoinSet<()>,
}

/// The running command, for callers that follow or stop it.
#[derive(Debug)]
struct RunningTask {
    task: Task,
    record: watch::Sender<Arc<CommandRecord>>,
    progress: watch::Receiver<Option<Progress>>,
}

impl EngineTask {
    pub(super) fn new(
        context: CommandContext,
        performer: Arc<dyn Perform>,
        state: &Path,
        now: SystemTime,
        channels: EngineChannels,
    ) -> Self {
        // A verb's notes are few; a short queue only decouples the runner.
        const REPORTS: usize = 32;
        let boot = context.system.root.boot_id();
        let (store, records) = match Store::open(state, boot.as_deref(), now) {
            Ok((store, records)) => (Some(store), records),
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "records of commands will not survive a restart of the agent: \
                     choose another --state-dir"
                );
                (None, Vec::new())
            }
        };
        let (reports, outcomes) = mpsc::channel(REPORTS);
        Self {
            queue: Queue::new(records),
            store,
            context,
            performer,
            channels,
            reports,
            outcomes,
            live: None,
            deadlines: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Serves the handles until all of them are gone. Commands that run then are dropped.
    pub async fn run(mut self) {
        let mut callers_turn = false;
        // Goal: one thing after the other, reports before new messages, so that a caller
        // hears the latest. But each report is written to disk: between two of them a caller
        // that waits has its turn, however much a verb says. Exit: every handle is gone.
        loop {
            let is_callers_turn = callers_turn && !self.channels.inbox.is_empty();
            tokio::select! {
                biased;
                Some(report) = self.outcomes.recv(), if !is_callers_turn => {
                    callers_turn = true;
                    self.report(report).await;
                }
                Some(_) = self.tasks.join_next() => {}
                message = self.channels.inbox.recv() => match message {
                    Some(message) => {
                        callers_turn = false;
                        self.handle(message).await;
                    }
                    None => return,
                },
            }
        }
    }

    async fn handle(&mut self, message: Message) {
        match message {
            Message::Submit(request, caller) => self.submit(*request, caller).await,
            Message::Get(id, caller) => {
                let answer = match self.queue.record(id) {
                    Some(record) => CommandReply::Record(Arc::clone(record)),
                    None => CommandReply::Refused(Refusal::NotFound(id.to_string())),
                };
                reply(caller, answer);
            }
            Message::Wait(id, caller) => {
                self.queue.forget_waiters(oneshot::Sender::is_closed);
                let effects = self.queue.wait(id, caller);
                self.follow(effects).await;
            }
            Message::List(caller) => reply(caller, self.queue.records().to_vec()),
            Message::Watch(id, caller) => reply(caller, self.watch(id)),
            Message::Cancel(id, reason, caller) => self.cancel(id, reason, caller).await,
        }
    }

    async fn submit(&mut self, request: CommandRequest, caller: ReplySender) {
        let now = SystemTime::now();
        let known = request.id.is_some_and(|id| self.queue.knows(id));
        // A verb's check speaks before anything is recorded, but a repetition is not a new
        // request, and being busy comes first.
        if !known
            && self.queue.busy().is_none()
            && let Some(refusal) = objection(&self.context, &request)
        {
            return reply(caller, CommandReply::Refused(refusal));
        }
        let id = request.id.unwrap_or_else(CommandId::random);
        let limit = request.deadline;
        let submission = Submission {
            id,
            name: request.verb.name,
            background: request.verb.background,
            fingerprint: request.fingerprint,
            deadline: limit.and_then(|limit| now.checked_add(limit)),
            payload: Payload {
                verb: request.verb,
                command: request.command,
            },
        };
        let effects = self.queue.submit(submission, caller, now);
        if let Some(limit) = limit
            && !known
            && self.queue.knows(id)
        {
            self.set_deadline(id, limit);
        }
        self.follow(effects).await;
    }

    /// Cancels the command in time, unless the deadline is taken back first.
    fn set_deadline(&mut self, id: CommandId, limit: Duration) {
        let messages = self.channels.messages.clone();
        let timer = self.tasks.spawn(async move {
            tokio::time::sleep(limit).await;
            let reason = format!("its deadline of {} s has passed", limit.as_secs_f64());
            if let Some(messages) = messages.upgrade() {
                // Without an engine there is nothing to cancel.
                let _ = messages.send(Message::Cancel(id, reason, None)).await;
            }
        });
        self.deadlines.insert(id, timer);
    }

    /// Takes back the deadlines of what neither waits nor runs any more. One that was refused is
    /// among it: its identifier may come again, with another deadline or without.
    fn end_deadlines(&mut self) {
        let queue = &self.queue;
        self.deadlines.retain(|id, timer| {
            let is_pending = queue.is_pending(*id);
            if !is_pending {
                timer.abort();
            }
            is_pending
        });
    }

    fn watch(&self, id: CommandId) -> Result<Watching, Refusal> {
        let Some(record) = self.queue.record(id) else {
            return Err(Refusal::NotFound(id.to_string()));
        };
        Ok(match &self.live {
            Some(live) if live.record.borrow().id == id => Watching {
                record: live.record.subscribe(),
                progress: live.progress.clone(),
                lines: live.task.lines(),
            },
            _ => Watching {
                record: watch::channel(Arc::clone(record)).1,
                progress: watch::channel(None).1,
                lines: broadcast::channel(1).1,
            },
        })
    }

    async fn cancel(&mut self, id: CommandId, reason: String, caller: Option<ReplySender>) {
        let failure = || {
            let task = Task::detached();
            task.cancel(reason.clone());
            Failure::from(task.cancellation())
        };
        let (cancelled, effects) = self.queue.cancel(id, failure, SystemTime::now());
        self.follow(effects).await;
        let answer = match cancelled {
            CancelResult::Running(record) => {
                if let Some(live) = &self.live {
                    live.task.cancel(reason);
                }
                CommandReply::Record(record)
            }
            CancelResult::Ended(record) => CommandReply::Record(record),
            CancelResult::NotFound => CommandReply::Refused(Refusal::NotFound(id.to_string())),
        };
        if let Some(caller) = caller {
            reply(caller, answer);
        }
    }

    async fn report(&mut self, report: RunnerEvent) {
        let now = SystemTime::now();
        match report {
            RunnerEvent::Note(record, kind, text) => {
                let effects = self.queue.note(record.id, kind, text, now);
                self.follow(effects).await;
            }
            RunnerEvent::Ended(record, end) => {
                let state = match &end {
                    End::Ran(outcome) => outcome.word(),
                    End::Refused(_) => "REFUSED",
                };
                info!(
                    event = %"command_finished",
                    command = %record.bare_name(),
                    id = %record.id,
                    state = %state,
                    failure = failure_of(&end).map(|failure| tracing::field::debug(failure.to_string())),
                    "milestone"
                );
                let shutdown = shutdown_reason(&record, &end);
                if shutdown.is_some() {
                    // First: the end of this one would begin the next, which nobody would finish.
                    let closed = self.queue.close();
                    self.follow(closed).await;
                }
                let effects = self.queue.finish(record.id, end, now);
                self.follow(effects).await;
                if shutdown.is_some() {
                    self.channels.shutdown.send_replace(shutdown);
                }
                if record.background {
                    self.channels.finished.notify_one();
                }
            }
        }
    }

    /// Does what a change of the queue asks for: keep, start, answer.
    async fn follow(&mut self, effects: QueueEffects<Payload, ReplySender>) {
        self.end_deadlines();
        self.keep(effects.keep.clone(), effects.forget).await;
        for (_, record) in &effects.keep {
            if let Some(live) = &self.live
                && live.record.borrow().id == record.id
            {
                live.record.send_replace(Arc::clone(record));
            }
        }
        if let Some((record, payload)) = effects.start {
            self.start(record, payload);
        } else if self.queue.running().is_none() {
            self.live = None;
        }
        self.channels
            .running
            .send_replace(self.live.as_ref().map(|live| RunningCommand {
                record: live.record.borrow().clone(),
                progress: live.progress.clone(),
            }));
        for (caller, answer) in effects.answers {
            reply(caller, answer);
        }
    }

    fn start(&mut self, record: Arc<CommandRecord>, payload: Payload) {
        info!(
            event = %"command_started",
            command = %record.bare_name(),
            id = %record.id,
            "milestone"
        );
        let (task, listener) = Task::new();
        self.live = Some(RunningTask {
            task: task.clone(),
            record: watch::channel(Arc::clone(&record)).0,
            progress: listener.progress.clone(),
        });
        let job = RunnerJob {
            record,
            verb: payload.verb,
            command: payload.command,
            task,
            listener,
        };
        self.tasks.spawn(runner::run(
            job,
            Arc::clone(&self.performer),
            self.context.clone(),
            self.reports.clone(),
        ));
    }

    /// Writes records to disk, off the reactor. A record that cannot be written is still in
    /// the list, so that is a warning.
    async fn keep(&mut self, records: Vec<(Option<usize>, Arc<CommandRecord>)>, forget: bool) {
        if records.is_empty() && !forget {
            return;
        }
        let Some(mut store) = self.store.take() else {
            return;
        };
        let written = tokio::task::spawn_blocking(move || {
            if forget {
                store.forget();
            }
            for (index, record) in records {
                if let Err(error) = store.keep(index, &record) {
                    warn!(
                        id = %record.id,
                        error = &error as &dyn std::error::Error,
                        "this record would not survive a restart of the agent"
                    );
                }
            }
            store
        });
        self.store = written.await.ok();
    }
}

/// What the end of a command means for the agent.
fn shutdown_reason(record: &CommandRecord, end: &End) -> Option<ShutdownReason> {
    let End::Ran(CommandOutcome::Succeeded(_)) = end else {
        return None;
    };
    let reason = match VerbDescriptor::by_name(&record.name)?.ends_service? {
        ServiceEnd::Rescued => ShutdownReason::Rescued,
        ServiceEnd::LockedDown => ShutdownReason::LockedDown,
    };
    Some(reason)
}

fn failure_of(end: &End) -> Option<&Failure> {
    match end {
        End::Ran(outcome) => outcome.failure(),
        End::Refused(failure) => Some(failure),
    }
}

fn reply<T>(caller: oneshot::Sender<T>, answer: T) {
    // A caller that hung up needs no answer.
    let _ = caller.send(answer);
}
