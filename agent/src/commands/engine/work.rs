//! The task behind the engine: it alone owns the queue and the store, so everything happens
//! in one order.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tracing::{info, warn};

use super::{Caller, Ending, Message, Running, Watching};
use crate::commands::order::{Fingerprint, Order};
use crate::commands::queue::{Answer, Cancelled, End, Queue, Refusal, Submission, Turn};
use crate::commands::record::{CommandId, Outcome, Record};
use crate::commands::runner::{self, Job, Perform, Report};
use crate::commands::store::Store;
use crate::commands::verb::{Misuse, Verb};
use crate::commands::{Command, Workplace, flow, standby};
use crate::failure::Failure;
use crate::task::{Progress, Task};

/// Why an order is refused whatever else happens. Pure: the configuration is all it reads.
pub(super) fn objection(place: &Workplace, order: &Order) -> Option<Refusal> {
    let Ok(command) = &order.arguments else {
        return None;
    };
    let checked = match command {
        Command::StartFlow { flow } => flow::read(flow).and_then(|commands| {
            commands
                .iter()
                .try_for_each(|command| validate(place, command))
        }),
        command => validate(place, command),
    };
    checked.err().map(Refusal::Failure)
}

fn validate(place: &Workplace, command: &Command) -> Result<(), Failure> {
    match command {
        Command::PrepareImage { image_info, .. } => standby::validate_image(place, image_info),
        _ => Ok(()),
    }
}

/// What is needed to run an order once its turn comes.
#[derive(Debug)]
struct Payload {
    verb: Verb,
    command: Result<Command, Misuse>,
}

/// The engine's ends of what the handles hold.
#[derive(Debug)]
pub(super) struct Ends {
    pub inbox: mpsc::Receiver<Message>,
    /// For deadlines, which must not keep the engine alive.
    pub messages: mpsc::WeakSender<Message>,
    pub running: watch::Sender<Option<Running>>,
    pub ending: watch::Sender<Option<Ending>>,
    pub finished: Arc<Notify>,
}

/// The task behind an [`Engine`](super::Engine).
#[derive(Debug)]
pub struct Work {
    queue: Queue<Payload, Caller>,
    store: Option<Store>,
    place: Workplace,
    performer: Arc<dyn Perform>,
    ends: Ends,
    reports: mpsc::Sender<Report>,
    outcomes: mpsc::Receiver<Report>,
    live: Option<Live>,
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
    pub(super) fn new(
        place: Workplace,
        performer: Arc<dyn Perform>,
        state: &Path,
        now: SystemTime,
        ends: Ends,
    ) -> Self {
        // A verb's notes are few; a short queue only decouples the runner.
        const REPORTS: usize = 32;
        let boot = place.system.root.read("/proc/sys/kernel/random/boot_id");
        let (store, records) = match Store::open(state, boot.ok().as_deref(), now) {
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
            place,
            performer,
            ends,
            reports,
            outcomes,
            live: None,
            deadlines: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Serves the handles until all of them are gone. Commands that run then are dropped.
    pub async fn run(mut self) {
        // Goal: one thing after the other, reports before new messages, so that whoever asks
        // hears the latest. Exit: every handle is gone.
        loop {
            tokio::select! {
                biased;
                Some(report) = self.outcomes.recv() => self.report(report).await,
                Some(_) = self.tasks.join_next() => {}
                message = self.ends.inbox.recv() => match message {
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
        let messages = self.ends.messages.clone();
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
                lines: live.task.lines(),
            },
            _ => Watching {
                record: watch::channel(Arc::clone(record)).1,
                progress: watch::channel(None).1,
                lines: broadcast::channel(1).1,
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
                    self.ends.ending.send_replace(ending);
                }
                if record.background {
                    self.ends.finished.notify_one();
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
        self.ends
            .running
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
