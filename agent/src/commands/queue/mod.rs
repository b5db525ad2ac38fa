//! Which command is next: the rules of admission, and the records in their order. Pure: no clock, no
//! task, no lock; time and identifiers are arguments, and what has to be done outside comes
//! back as [`QueueEffects`].
//!
//! ```text
//!              background runs: BUSY
//!            ┌────────────────────────▶ refused
//! submit ────┤ idle
//!            ├─────────────▶ running ───finish──▶ ended (recorded) ──▶ first of those waiting
//!            │ immediate runs   ▲
//!            └────▶ waiting ────┘ (turn comes; refused as BUSY if the one before it
//!                                  started a background command)
//! ```
//!
//! * One command runs at a time. Only a background command makes others BUSY; behind an
//!   immediate one, callers wait for their turn, first come, first served.
//! * A background command is in the list from its start, an immediate one from its end; one
//!   that is refused is never recorded. No record ever leaves the list.
//! * An identifier belongs to one request forever: its repetition joins the request that exists.
//! * A request that is cancelled before its turn is recorded as cancelled.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::SystemTime;

use super::fingerprint::Fingerprint;
use super::record::{
    CommandId, CommandOutcome, CommandRecord, CommandState, LARGE_RESULT, MilestoneKind, shortened,
    size,
};
use crate::failure::Failure;

/// A request to the queue. `P` is what the runner needs to run it.
#[derive(Debug)]
pub struct Submission<P> {
    /// Its identifier.
    pub id: CommandId,
    /// Ironic's full name.
    pub name: &'static str,
    /// Whether it runs in the background.
    pub background: bool,
    /// What tells it from another request.
    pub fingerprint: Fingerprint,
    /// When it is cancelled.
    pub deadline: Option<SystemTime>,
    /// What the runner needs.
    pub payload: P,
}

/// What a caller hears.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandReply {
    /// The record.
    Record(Arc<CommandRecord>),
    /// Nothing was started or recorded.
    Refused(Refusal),
}

/// Why nothing was started or recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A background command runs.
    #[error("Agent is busy: executing command {command}")]
    Busy {
        /// Its bare name.
        command: String,
    },
    /// The identifier belongs to another request.
    #[error("The identifier {0} belongs to another command: choose a new one")]
    IdReused(CommandId),
    /// No command has this identifier.
    #[error("Not found: Command Result with id {0} not found.")]
    NotFound(String),
    /// The verb refuses its arguments.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The agent stops.
    #[error("The agent is shutting down")]
    ShuttingDown,
}

/// What has to be done after a change, in this order: keep, start, answer.
#[derive(Debug)]
#[must_use]
pub struct QueueEffects<P, W> {
    /// Records to keep, with their place in the list; `None` is the immediate command that
    /// is running and has no place yet.
    pub keep: Vec<(Option<usize>, Arc<CommandRecord>)>,
    /// The running immediate command ended without a record.
    pub forget: bool,
    /// A command to start.
    pub start: Option<(Arc<CommandRecord>, P)>,
    /// Callers to answer.
    pub answers: Vec<(W, CommandReply)>,
}

impl<P, W> QueueEffects<P, W> {
    fn new() -> Self {
        Self {
            keep: Vec::new(),
            forget: false,
            start: None,
            answers: Vec::new(),
        }
    }

    fn answer(waiter: W, answer: CommandReply) -> Self {
        let mut effects = Self::new();
        effects.answers.push((waiter, answer));
        effects
    }

    fn refuse(waiter: W, refusal: Refusal) -> Self {
        Self::answer(waiter, CommandReply::Refused(refusal))
    }
}

/// How the runner reports the end of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// It ran.
    Ran(CommandOutcome),
    /// An immediate command refused its arguments: no record.
    Refused(Failure),
}

/// What a cancellation met.
#[derive(Debug, Clone, PartialEq)]
pub enum CancelResult {
    /// The command is running and has to be stopped by the runner.
    Running(Arc<CommandRecord>),
    /// It has ended: now, before its turn came, or already.
    Ended(Arc<CommandRecord>),
    /// There is no such command.
    NotFound,
}

/// The queue. `P` is what the runner needs to run a request, `W` how a caller is answered.
#[derive(Debug)]
pub struct Queue<P, W> {
    records: Vec<Arc<CommandRecord>>,
    indices: HashMap<CommandId, usize>,
    running: Option<ActiveCommand<W>>,
    /// Not empty only while an immediate command runs.
    waiting: VecDeque<Waiting<P, W>>,
    /// The record whose large result is kept whole.
    whole: Option<usize>,
    open: bool,
}

#[derive(Debug)]
struct ActiveCommand<W> {
    /// The record; for a background command the same as in the list.
    record: Arc<CommandRecord>,
    /// The callers that get the final record.
    waiters: Vec<W>,
}

#[derive(Debug)]
struct Waiting<P, W> {
    submission: Submission<P>,
    waiters: Vec<W>,
}

impl<P, W> Default for Queue<P, W> {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl<P, W> Queue<P, W> {
    /// A queue with the records of an earlier life, all ended.
    #[must_use]
    pub fn new(records: Vec<CommandRecord>) -> Self {
        let indices = records
            .iter()
            .enumerate()
            .map(|(index, record)| (record.id, index))
            .collect();
        Self {
            records: records.into_iter().map(Arc::new).collect(),
            indices,
            running: None,
            waiting: VecDeque::new(),
            whole: None,
            open: true,
        }
    }

    /// All records in the order of execution.
    #[must_use]
    pub fn records(&self) -> &[Arc<CommandRecord>] {
        &self.records
    }

    /// The command that runs, recorded or not.
    #[must_use]
    pub fn running(&self) -> Option<&Arc<CommandRecord>> {
        self.running.as_ref().map(|running| &running.record)
    }

    /// The record of a command that runs or has ended.
    #[must_use]
    pub fn record(&self, id: CommandId) -> Option<&Arc<CommandRecord>> {
        match self.running() {
            Some(record) if record.id == id => Some(record),
            _ => self.records.get(*self.indices.get(&id)?),
        }
    }

    /// Whether the identifier belongs to a request: one that waits, runs or has ended.
    #[must_use]
    pub fn knows(&self, id: CommandId) -> bool {
        self.record(id).is_some() || self.waits(id)
    }

    /// Whether the identifier belongs to a request that waits or runs, and can be cancelled.
    #[must_use]
    pub fn is_pending(&self, id: CommandId) -> bool {
        match self.record(id) {
            Some(record) => !record.has_ended(),
            None => self.waits(id),
        }
    }

    fn waits(&self, id: CommandId) -> bool {
        let mut waiting = self.waiting.iter();
        waiting.any(|waiting| waiting.submission.id == id)
    }

    /// The refusal of any new request, if all would be refused.
    #[must_use]
    pub fn busy(&self) -> Option<Refusal> {
        if !self.open {
            return Some(Refusal::ShuttingDown);
        }
        self.running()
            .filter(|record| record.background)
            .map(|record| Refusal::Busy {
                command: record.bare_name().to_owned(),
            })
    }

    /// Takes a request. Its caller is answered at its start if it is a background command,
    /// else at its end.
    pub fn submit(
        &mut self,
        submission: Submission<P>,
        waiter: W,
        now: SystemTime,
    ) -> QueueEffects<P, W> {
        if let Some(record) = self.record(submission.id) {
            if record.fingerprint != submission.fingerprint {
                return QueueEffects::refuse(waiter, Refusal::IdReused(submission.id));
            }
            let record = Arc::clone(record);
            return match &mut self.running {
                Some(running) if running.record.id == submission.id && !record.background => {
                    running.waiters.push(waiter);
                    QueueEffects::new()
                }
                _ => QueueEffects::answer(waiter, CommandReply::Record(record)),
            };
        }
        if let Some(twin) = self
            .waiting
            .iter_mut()
            .find(|waiting| waiting.submission.id == submission.id)
        {
            if twin.submission.fingerprint != submission.fingerprint {
                return QueueEffects::refuse(waiter, Refusal::IdReused(submission.id));
            }
            twin.waiters.push(waiter);
            return QueueEffects::new();
        }
        if let Some(refusal) = self.busy() {
            return QueueEffects::refuse(waiter, refusal);
        }
        let waiting = Waiting {
            submission,
            waiters: vec![waiter],
        };
        let mut effects = QueueEffects::new();
        if self.running.is_some() {
            self.waiting.push_back(waiting);
        } else {
            self.start(waiting, now, &mut effects);
        }
        effects
    }

    /// Answers when the command has ended: at once if it has, or if there is none.
    pub fn wait(&mut self, id: CommandId, waiter: W) -> QueueEffects<P, W> {
        match &mut self.running {
            Some(running) if running.record.id == id => {
                running.waiters.push(waiter);
                QueueEffects::new()
            }
            _ => match self.record(id) {
                Some(record) => {
                    QueueEffects::answer(waiter, CommandReply::Record(Arc::clone(record)))
                }
                None => QueueEffects::refuse(waiter, Refusal::NotFound(id.to_string())),
            },
        }
    }

    /// Drops the waiters that `gone` picks, for callers that hung up.
    pub fn forget_waiters(&mut self, mut gone: impl FnMut(&W) -> bool) {
        if let Some(running) = &mut self.running {
            running.waiters.retain(|waiter| !gone(waiter));
        }
        for waiting in &mut self.waiting {
            waiting.waiters.retain(|waiter| !gone(waiter));
        }
    }

    /// Adds a milestone to the command that runs. Nothing happens when another one does.
    pub fn note(
        &mut self,
        id: CommandId,
        kind: MilestoneKind,
        text: String,
        now: SystemTime,
    ) -> QueueEffects<P, W> {
        let mut effects = QueueEffects::new();
        if let Some(running) = self.running.as_mut().filter(|r| r.record.id == id) {
            let before = running.record.last_sequence();
            Arc::make_mut(&mut running.record).note(kind, text, now);
            let record = Arc::clone(&running.record);
            if record.last_sequence() != before {
                effects.keep.push((self.replace(&record), record));
            }
        }
        effects
    }

    /// Ends the command that runs. Nothing happens when another one does.
    pub fn finish(&mut self, id: CommandId, end: End, now: SystemTime) -> QueueEffects<P, W> {
        let mut effects = QueueEffects::new();
        let Some(mut running) = self.running.take_if(|running| running.record.id == id) else {
            return effects;
        };
        let answer = match end {
            End::Refused(failure) if !running.record.background => {
                effects.forget = true;
                CommandReply::Refused(Refusal::Failure(failure))
            }
            End::Refused(failure) => self.end(
                &mut running,
                CommandOutcome::Failed(failure),
                now,
                &mut effects,
            ),
            End::Ran(outcome) => self.end(&mut running, outcome, now, &mut effects),
        };
        for waiter in running.waiters {
            effects.answers.push((waiter, answer.clone()));
        }
        self.advance(now, &mut effects);
        effects
    }

    /// Ends a command that has not begun, or says what has to be stopped.
    pub fn cancel(
        &mut self,
        id: CommandId,
        failure: impl FnOnce() -> Failure,
        now: SystemTime,
    ) -> (CancelResult, QueueEffects<P, W>) {
        let mut effects = QueueEffects::new();
        if let Some(record) = self.running().filter(|record| record.id == id) {
            return (CancelResult::Running(Arc::clone(record)), effects);
        }
        if let Some(record) = self.record(id) {
            return (CancelResult::Ended(Arc::clone(record)), effects);
        }
        let Some(at) = self
            .waiting
            .iter()
            .position(|waiting| waiting.submission.id == id)
        else {
            return (CancelResult::NotFound, effects);
        };
        let Some(Waiting {
            submission,
            waiters,
        }) = self.waiting.remove(at)
        else {
            return (CancelResult::NotFound, effects);
        };
        let mut record = admitted(&submission, now);
        record.end(CommandOutcome::Cancelled(failure()), now);
        let record = Arc::new(record);
        effects
            .keep
            .push((Some(self.append(&record)), Arc::clone(&record)));
        for waiter in waiters {
            effects
                .answers
                .push((waiter, CommandReply::Record(Arc::clone(&record))));
        }
        (CancelResult::Ended(record), effects)
    }

    /// Admits nothing more; waiting requests are refused.
    pub fn close(&mut self) -> QueueEffects<P, W> {
        self.open = false;
        let mut effects = QueueEffects::new();
        for waiting in mem::take(&mut self.waiting) {
            for waiter in waiting.waiters {
                effects
                    .answers
                    .push((waiter, CommandReply::Refused(Refusal::ShuttingDown)));
            }
        }
        effects
    }

    /// Starts the first that waits. A background command turns the rest away.
    fn advance(&mut self, now: SystemTime, effects: &mut QueueEffects<P, W>) {
        let Some(next) = self.waiting.pop_front() else {
            return;
        };
        self.start(next, now, effects);
        if let Some(refusal) = self.busy() {
            for waiting in mem::take(&mut self.waiting) {
                for waiter in waiting.waiters {
                    effects
                        .answers
                        .push((waiter, CommandReply::Refused(refusal.clone())));
                }
            }
        }
    }

    fn start(&mut self, waiting: Waiting<P, W>, now: SystemTime, effects: &mut QueueEffects<P, W>) {
        let Waiting {
            submission,
            waiters,
        } = waiting;
        let record = Arc::new(admitted(&submission, now));
        let mut index = None;
        let mut remaining = Vec::new();
        if submission.background {
            index = Some(self.append(&record));
            for waiter in waiters {
                effects
                    .answers
                    .push((waiter, CommandReply::Record(Arc::clone(&record))));
            }
        } else {
            remaining = waiters;
        }
        self.running = Some(ActiveCommand {
            record: Arc::clone(&record),
            waiters: remaining,
        });
        effects.keep.push((index, Arc::clone(&record)));
        effects.start = Some((record, submission.payload));
    }

    fn end(
        &mut self,
        running: &mut ActiveCommand<W>,
        outcome: CommandOutcome,
        now: SystemTime,
        effects: &mut QueueEffects<P, W>,
    ) -> CommandReply {
        let large =
            matches!(&outcome, CommandOutcome::Succeeded(result) if size(result) > LARGE_RESULT);
        Arc::make_mut(&mut running.record).end(outcome, now);
        let record = Arc::clone(&running.record);
        let index = self
            .replace(&record)
            .unwrap_or_else(|| self.append(&record));
        if large {
            self.shorten_before(index);
        }
        effects.keep.push((Some(index), Arc::clone(&record)));
        CommandReply::Record(record)
    }

    /// The record at `index` is now the one whose large result is kept whole. What the store
    /// holds is shortened anyway, so the older record need not be kept again.
    fn shorten_before(&mut self, index: usize) {
        let Some(old) = self.whole.replace(index) else {
            return;
        };
        if let Some(record) = self.records.get_mut(old)
            && let CommandState::Ended {
                outcome: CommandOutcome::Succeeded(result),
                ..
            } = &mut Arc::make_mut(record).state
        {
            *result = Arc::new(shortened(result));
        }
    }

    fn append(&mut self, record: &Arc<CommandRecord>) -> usize {
        let index = self.records.len();
        self.records.push(Arc::clone(record));
        self.indices.insert(record.id, index);
        index
    }

    /// Puts a newer version of a record in its place, if it has one.
    fn replace(&mut self, record: &Arc<CommandRecord>) -> Option<usize> {
        let index = *self.indices.get(&record.id)?;
        *self.records.get_mut(index)? = Arc::clone(record);
        Some(index)
    }
}

fn admitted<P>(submission: &Submission<P>, now: SystemTime) -> CommandRecord {
    let mut record = CommandRecord {
        id: submission.id,
        name: submission.name.to_owned(),
        background: submission.background,
        fingerprint: submission.fingerprint,
        started_at: now,
        deadline: submission.deadline,
        state: CommandState::Running,
        milestones: Vec::new(),
    };
    record.note(MilestoneKind::Started, "Admitted.", now);
    record
}

#[cfg(test)]
mod tests;
