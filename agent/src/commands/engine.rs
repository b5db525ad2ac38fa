//! The command engine: a task that owns the queue and the store, and the handle through
//! which everybody else talks to it.
//!
//! Orders, questions and the runner's reports arrive at that one task, so every answer is
//! given in the order of what happened, and a record is on disk before anybody hears of it.
//! A caller that goes away changes nothing: what was admitted runs.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tracing::{info, warn};

use super::order::{Fingerprint, Order};
use super::plan::Plan;
use super::queue::{Answer, Cancelled, End, Queue, Refusal, Submission, Turn};
use super::record::{CommandId, Outcome, Record};
use super::runner::{self, Job, Perform, Report};
use super::store::Store;
use super::verb::{Misuse, NOT_BUILT, Verb};
use super::{Command, Workplace, standby};
use crate::failure::Failure;
use crate::task::{Progress, Task};

/// The handle. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    messages: mpsc::Sender<Message>,
    place: Workplace,
    running: watch::Receiver<Option<Running>>,
    finished: Arc<Notify>,
    ending: watch::Receiver<Option<Ending>>,
    started_at: SystemTime,
}

/// The command that runs, as anybody may see it without waiting for the engine.
#[derive(Debug, Clone)]
struct Running {
    record: Arc<Record>,
    progress: watch::Receiver<Option<Progress>>,
}

/// What the agent tells anybody.
#[derive(Debug, Clone)]
pub struct Status {
    /// When the engine started.
    pub started_at: SystemTime,
    /// The record of the command that runs.
    pub running: Option<Arc<Record>>,
    /// The node that this machine is; empty before a lookup.
    pub node_uuid: String,
}

/// How the agent's service ends by command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The machine was handed over to a rescuer.
    Rescued,
    /// The machine has to leave the network.
    LockedDown,
}

/// A command being followed.
#[derive(Debug)]
pub struct Watching {
    /// Its record: changes with every milestone and at the end.
    pub record: watch::Receiver<Arc<Record>>,
    /// Its latest progress.
    pub progress: watch::Receiver<Option<Progress>>,
}

/// A caller that waits for an answer.
type Caller = oneshot::Sender<Answer>;

#[derive(Debug)]
enum Message {
    Submit(Box<Order>, Fingerprint, Caller),
    Get(CommandId, Caller),
    Wait(CommandId, Caller),
    List(oneshot::Sender<Vec<Arc<Record>>>),
    Watch(CommandId, oneshot::Sender<Result<Watching, Refusal>>),
    /// The caller, if any, hears the record; a deadline has none.
    Cancel(CommandId, String, Option<Caller>),
    Close(oneshot::Sender<()>),
}

impl Engine {
    /// The handle and the task behind it, which has to be [run](Work::run). Records of an
    /// earlier life are taken from the state directory; without one that can be written, the
    /// engine works from memory and says so.
    #[must_use]
    pub fn new(place: Workplace, performer: Arc<dyn Perform>, state: &Path) -> (Self, Work) {
        // Orders are few; a short queue only decouples the callers.
        const MESSAGES: usize = 32;
        let now = SystemTime::now();
        let boot = place
            .system
            .root
            .read("/proc/sys/kernel/random/boot_id")
            .ok();
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
        let (messages, inbox) = mpsc::channel(MESSAGES);
        let (reports, outcomes) = mpsc::channel(MESSAGES);
        let (publish, running) = watch::channel(None);
        let (announce, ending) = watch::channel(None);
        let finished = Arc::new(Notify::new());
        let engine = Self {
            messages: messages.clone(),
            place: place.clone(),
            running,
            finished: Arc::clone(&finished),
            ending,
            started_at: now,
        };
        let work = Work {
            queue: Queue::new(records),
            store,
            place,
            performer,
            inbox,
            messages: messages.downgrade(),
            reports,
            outcomes,
            running: publish,
            live: None,
            finished,
            ending: announce,
            deadlines: HashMap::new(),
            tasks: JoinSet::new(),
        };
        (engine, work)
    }

    /// Admits an order. A background command is answered with its running record, the others
    /// when they have ended.
    ///
    /// # Errors
    /// Why nothing was started or recorded.
    pub async fn execute(&self, order: Order) -> Result<Arc<Record>, Refusal> {
        // Here and not in the engine: an inline config drive takes its time.
        let fingerprint = order.fingerprint();
        self.answer(|caller| Message::Submit(Box::new(order), fingerprint, caller))
            .await
    }

    /// What an order would do. Nothing is changed or recorded, and being busy is no obstacle.
    ///
    /// # Errors
    /// What would keep the order from starting.
    pub async fn plan(&self, order: &Order) -> Result<Plan, Refusal> {
        if let Some(refusal) = objection(&self.place, order) {
            return Err(refusal);
        }
        if let Some(misuse) = order.misuse() {
            return Err(Refusal::Failure(misuse.failure(order.verb)));
        }
        match &order.arguments {
            Ok(command) => Ok(super::plan::plan(&self.place, command).await?),
            Err(_) => Ok(Plan::default()),
        }
    }

    /// One record, as it is.
    ///
    /// # Errors
    /// There is no such command.
    pub async fn get(&self, id: CommandId) -> Result<Arc<Record>, Refusal> {
        self.answer(|caller| Message::Get(id, caller)).await
    }

    /// One record, when the command has ended.
    ///
    /// # Errors
    /// There is no such command.
    pub async fn wait(&self, id: CommandId) -> Result<Arc<Record>, Refusal> {
        self.answer(|caller| Message::Wait(id, caller)).await
    }

    /// All records in the order of execution.
    ///
    /// # Errors
    /// The agent stops.
    pub async fn list(&self) -> Result<Vec<Arc<Record>>, Refusal> {
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
    pub async fn cancel(&self, id: CommandId, reason: String) -> Result<Arc<Record>, Refusal> {
        self.answer(|caller| Message::Cancel(id, reason, Some(caller)))
            .await
    }

    /// Admits nothing more. What runs goes on as long as the task behind the engine does.
    pub async fn close(&self) {
        // An engine that is gone admits nothing either.
        let _ = self.ask(Message::Close).await;
    }

    /// What the agent tells anybody.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            started_at: self.started_at,
            running: self
                .running
                .borrow()
                .as_ref()
                .map(|running| Arc::clone(&running.record)),
            node_uuid: self.place.node.current().uuid().to_owned(),
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
    /// A notification that nobody awaits is kept.
    #[must_use]
    pub fn finished(&self) -> Arc<Notify> {
        Arc::clone(&self.finished)
    }

    /// Changes when a command ended the agent's service. The answer to that command may
    /// still be on its way to the caller.
    #[must_use]
    pub fn ending(&self) -> watch::Receiver<Option<Ending>> {
        self.ending.clone()
    }

    /// What the verbs work with.
    #[must_use]
    pub fn place(&self) -> &Workplace {
        &self.place
    }

    async fn answer(
        &self,
        message: impl FnOnce(Caller) -> Message,
    ) -> Result<Arc<Record>, Refusal> {
        match self.ask(message).await? {
            Answer::Record(record) => Ok(record),
            Answer::Refused(refusal) => Err(refusal),
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

/// Why an order is refused whatever else happens. Pure: the configuration is all it reads.
fn objection(place: &Workplace, order: &Order) -> Option<Refusal> {
    if NOT_BUILT.contains(&order.verb) {
        return Some(Refusal::NotBuilt(order.verb.not_built()));
    }
    match &order.arguments {
        Ok(Command::PrepareImage { image_info, .. }) => standby::validate_image(place, image_info)
            .err()
            .map(Refusal::Failure),
        _ => None,
    }
}

/// What is needed to run an order once its turn comes.
#[derive(Debug)]
struct Payload {
    verb: Verb,
    command: Result<Command, Misuse>,
}

/// The task behind an [`Engine`].
#[derive(Debug)]
pub struct Work {
    queue: Queue<Payload, Caller>,
    store: Option<Store>,
    place: Workplace,
    performer: Arc<dyn Perform>,
    inbox: mpsc::Receiver<Message>,
    /// For deadlines, which must not keep the engine alive.
    messages: mpsc::WeakSender<Message>,
    reports: mpsc::Sender<Report>,
    outcomes: mpsc::Receiver<Report>,
    running: watch::Sender<Option<Running>>,
    live: Option<Live>,
    finished: Arc<Notify>,
    ending: watch::Sender<Option<Ending>>,
    deadlines: HashMap<CommandId, AbortHandle>,
    tasks: JoinSet<()>,
}

/// The command that runs, for those who follow or stop it.
#[derive(Debug)]
struct Live {
    task: Task,
    record: watch::Sender<Arc<Record>>,
    progress: watch::Receiver<Option<Progress>>,
}

impl Work {
    /// Serves the handles until all of them are gone. Commands that run then are dropped.
    pub async fn run(mut self) {
        // Goal: one thing after the other, reports before new messages, so that whoever asks
        // hears the latest. Exit: every handle is gone.
        loop {
            tokio::select! {
                biased;
                Some(report) = self.outcomes.recv() => self.report(report).await,
                Some(_) = self.tasks.join_next() => {}
                message = self.inbox.recv() => match message {
                    Some(message) => self.handle(message).await,
                    None => return,
                },
            }
        }
    }

    async fn handle(&mut self, message: Message) {
        match message {
            Message::Submit(order, fingerprint, caller) => {
                self.submit(*order, fingerprint, caller).await;
            }
            Message::Get(id, caller) => {
                let answer = match self.queue.record(id) {
                    Some(record) => Answer::Record(Arc::clone(record)),
                    None => Answer::Refused(Refusal::NotFound(id.to_string())),
                };
                reply(caller, answer);
            }
            Message::Wait(id, caller) => {
                self.queue.forget_waiters(oneshot::Sender::is_closed);
                let turn = self.queue.wait(id, caller);
                self.follow(turn).await;
            }
            Message::List(caller) => reply(caller, self.queue.records().to_vec()),
            Message::Watch(id, caller) => reply(caller, self.watch(id)),
            Message::Cancel(id, reason, caller) => self.cancel(id, reason, caller).await,
            Message::Close(caller) => {
                let turn = self.queue.close();
                self.follow(turn).await;
                reply(caller, ());
            }
        }
    }

    async fn submit(&mut self, order: Order, fingerprint: Fingerprint, caller: Caller) {
        let now = SystemTime::now();
        let known = order.id.is_some_and(|id| self.queue.knows(id));
        // A validator speaks before anything is recorded, but a repetition is no new order,
        // and being busy comes first.
        if !known
            && self.queue.busy().is_none()
            && let Some(refusal) = objection(&self.place, &order)
        {
            return reply(caller, Answer::Refused(refusal));
        }
        let id = order.id.unwrap_or_else(CommandId::random);
        let misuse = order.misuse();
        let deadline = order.deadline.and_then(|limit| now.checked_add(limit));
        let limit = order.deadline;
        let submission = Submission {
            id,
            name: order.verb.name(),
            background: order.verb.background(),
            fingerprint,
            deadline,
            payload: Payload {
                verb: order.verb,
                command: match (misuse, order.arguments) {
                    (None, Ok(command)) => Ok(command),
                    (Some(misuse), _) => Err(misuse),
                    (None, Err(missing)) => Err(Misuse::Missing(missing)),
                },
            },
        };
        let turn = self.queue.submit(submission, caller, now);
        if let Some(limit) = limit
            && !known
            && self.queue.knows(id)
        {
            self.set_deadline(id, limit);
        }
        self.follow(turn).await;
    }

    /// Cancels the command in time, unless the deadline is taken back first.
    fn set_deadline(&mut self, id: CommandId, limit: Duration) {
        let messages = self.messages.clone();
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

    fn watch(&self, id: CommandId) -> Result<Watching, Refusal> {
        let Some(record) = self.queue.record(id) else {
            return Err(Refusal::NotFound(id.to_string()));
        };
        Ok(match &self.live {
            Some(live) if live.record.borrow().id == id => Watching {
                record: live.record.subscribe(),
                progress: live.progress.clone(),
            },
            _ => Watching {
                record: watch::channel(Arc::clone(record)).1,
                progress: watch::channel(None).1,
            },
        })
    }

    async fn cancel(&mut self, id: CommandId, reason: String, caller: Option<Caller>) {
        let failure = || {
            let task = Task::detached();
            task.cancel(reason.clone());
            task.cancellation()
        };
        let (cancelled, turn) = self.queue.cancel(id, failure, SystemTime::now());
        self.follow(turn).await;
        let answer = match cancelled {
            Cancelled::Running(record) => {
                if let Some(live) = &self.live {
                    live.task.cancel(reason);
                }
                Answer::Record(record)
            }
            Cancelled::Ended(record) => Answer::Record(record),
            Cancelled::NotFound => Answer::Refused(Refusal::NotFound(id.to_string())),
        };
        if let Some(caller) = caller {
            reply(caller, answer);
        }
    }

    async fn report(&mut self, report: Report) {
        let now = SystemTime::now();
        match report {
            Report::Note(record, kind, text) => {
                let turn = self.queue.note(record.id, kind, text, now);
                self.follow(turn).await;
            }
            Report::Ended(record, end) => {
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
                let ending = ending(&record, &end);
                let turn = self.queue.finish(record.id, end, now);
                self.follow(turn).await;
                if ending.is_some() {
                    self.ending.send_replace(ending);
                }
                if record.background {
                    self.finished.notify_one();
                }
            }
        }
    }

    /// Does what a change of the queue asks for: keep, start, answer.
    async fn follow(&mut self, turn: Turn<Payload, Caller>) {
        self.keep(turn.keep.clone(), turn.forget).await;
        for (_, record) in &turn.keep {
            if record.has_ended()
                && let Some(timer) = self.deadlines.remove(&record.id)
            {
                timer.abort();
            }
            if let Some(live) = &self.live
                && live.record.borrow().id == record.id
            {
                live.record.send_replace(Arc::clone(record));
            }
        }
        if let Some((record, payload)) = turn.start {
            self.start(record, payload);
        } else if self.queue.running().is_none() {
            self.live = None;
        }
        self.running
            .send_replace(self.live.as_ref().map(|live| Running {
                record: live.record.borrow().clone(),
                progress: live.progress.clone(),
            }));
        for (caller, answer) in turn.answers {
            reply(caller, answer);
        }
    }

    fn start(&mut self, record: Arc<Record>, payload: Payload) {
        info!(
            event = %"command_started",
            command = %record.bare_name(),
            id = %record.id,
            "milestone"
        );
        let (task, listener) = Task::new();
        self.live = Some(Live {
            task: task.clone(),
            record: watch::channel(Arc::clone(&record)).0,
            progress: listener.progress.clone(),
        });
        let job = Job {
            record,
            verb: payload.verb,
            command: payload.command,
            task,
            listener,
        };
        self.tasks.spawn(runner::run(
            job,
            Arc::clone(&self.performer),
            self.place.clone(),
            self.reports.clone(),
        ));
    }

    /// Writes records to disk, off the reactor. A record that cannot be written is still in
    /// the list, so that is a warning.
    async fn keep(&mut self, records: Vec<(Option<usize>, Arc<Record>)>, forget: bool) {
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
            for (place, record) in records {
                if let Err(error) = store.keep(place, &record) {
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
fn ending(record: &Record, end: &End) -> Option<Ending> {
    match (Verb::by_name(&record.name)?, end) {
        (Verb::FinalizeRescue, End::Ran(Outcome::Succeeded(_))) => Some(Ending::Rescued),
        (Verb::Lockdown, End::Ran(Outcome::Succeeded(_))) => Some(Ending::LockedDown),
        _ => None,
    }
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

#[cfg(test)]
mod tests;
