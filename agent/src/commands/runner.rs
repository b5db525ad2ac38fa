//! Runs one command: the verb as a task of its own, beside it a listener that logs what the
//! verb says and passes its milestones on. Whatever happens to the verb, an end is reported.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::{Instrument, info, info_span};

use super::context::CommandContext;
use super::descriptor::{VerbDescriptor, wrap};
use super::failure::Failure;
use super::misuse::Misuse;
use super::queue::End;
use super::record::{CommandOutcome, CommandRecord, MilestoneKind};
use super::verbs::{Command, VerbFuture};
use crate::task::{Progress, Task, TaskListener, TaskNote};

/// Executes commands: [`OwnVerbs`]; tests use a script instead.
pub trait Perform: fmt::Debug + Send + Sync {
    /// Carries out one command. Texts in the answer are wrapped by the runner.
    fn perform<'a>(
        &'a self,
        context: &'a CommandContext,
        task: &'a Task,
        command: Command,
    ) -> VerbFuture<'a, Value>;
}

/// Carries out the commands that this agent has.
#[derive(Debug, Clone, Copy, Default)]
pub struct OwnVerbs;

impl Perform for OwnVerbs {
    fn perform<'a>(
        &'a self,
        context: &'a CommandContext,
        task: &'a Task,
        command: Command,
    ) -> VerbFuture<'a, Value> {
        command.run(context, task)
    }
}

/// A command to run.
#[derive(Debug)]
pub(super) struct RunnerJob {
    pub record: Arc<CommandRecord>,
    pub verb: &'static VerbDescriptor,
    pub command: Result<Command, Misuse>,
    pub task: Task,
    pub listener: TaskListener,
}

/// What the runner tells the engine.
#[derive(Debug)]
pub(super) enum RunnerEvent {
    Note(Arc<CommandRecord>, MilestoneKind, String),
    Ended(Arc<CommandRecord>, End),
}

/// Runs a job to its end and reports it.
pub(super) async fn run(
    job: RunnerJob,
    performer: Arc<dyn Perform>,
    context: CommandContext,
    reports: mpsc::Sender<RunnerEvent>,
) {
    let RunnerJob {
        record,
        verb,
        command,
        task,
        mut listener,
    } = job;
    let span = info_span!("command", id = %record.id, name = %record.name);
    let mut worker = {
        let task = task.clone();
        let work = async move {
            match command {
                Ok(command) => performer.perform(&context, &task, command).await,
                Err(misuse) => Err(misuse.failure(verb)),
            }
        };
        tokio::spawn(work.instrument(span.clone()))
    };
    let ended = async {
        let result = listen(&record, &mut worker, &mut listener, &reports).await;
        if let Err(failure) = &result {
            task.say_failure(failure);
        }
        let mut end = judge(verb, &task, result);
        if let Some(other) = end.1.take() {
            report_note(&record, &reports, MilestoneKind::Warning, other).await;
        }
        end.0
    }
    .instrument(span)
    .await;
    // Without an engine there is nobody left to tell.
    let _ = reports.send(RunnerEvent::Ended(record, ended)).await;
}

/// Passes notes on and logs progress, at most once a second, until the verb ends.
async fn listen(
    record: &Arc<CommandRecord>,
    worker: &mut JoinHandle<Result<Value, Failure>>,
    listener: &mut TaskListener,
    reports: &mpsc::Sender<RunnerEvent>,
) -> Result<Value, Failure> {
    const PAUSE: Duration = Duration::from_secs(1);
    let mut unprinted = false;
    let mut progress_open = true;
    let mut next_print = Instant::now();
    // Goal: every note is passed on in order. Exit: the verb has ended, and then the notes
    // that it left in the channel are taken before its result.
    let result = loop {
        tokio::select! {
            biased;
            Some(note) = listener.notes.recv() => pass(record, reports, note).await,
            changed = listener.progress.changed(), if progress_open && !unprinted => {
                progress_open = changed.is_ok();
                unprinted = changed.is_ok();
            }
            () = sleep_until(next_print), if unprinted => {
                print(record, &mut listener.progress);
                unprinted = false;
                next_print = Instant::now() + PAUSE;
            }
            result = &mut *worker => break result,
        }
    };
    while let Ok(note) = listener.notes.try_recv() {
        pass(record, reports, note).await;
    }
    match result {
        Ok(result) => result,
        // The release build aborts instead, and the store then tells what was running.
        Err(error) => Err(Failure::execution(format!(
            "The agent has a defect, and its log says where: {error}"
        ))),
    }
}

/// How a verb's result ends the command, and a failure that would otherwise be lost.
fn judge(
    verb: &VerbDescriptor,
    task: &Task,
    result: Result<Value, Failure>,
) -> (End, Option<String>) {
    use crate::failure::FailureKind::VersionMismatch;
    let outcome = match result {
        Ok(answer) => CommandOutcome::Succeeded(Arc::new(wrap(verb, answer))),
        Err(failure) if task.is_cancelled() => {
            let cancellation = Failure::from(task.cancellation());
            let other = (failure != cancellation).then(|| failure.to_string());
            return (End::Ran(CommandOutcome::Cancelled(cancellation)), other);
        }
        Err(failure) if failure.kind.is_refusal() && !verb.background => {
            return (End::Refused(failure), None);
        }
        Err(failure) if failure.kind == VersionMismatch && verb.background => {
            CommandOutcome::VersionMismatch(failure)
        }
        Err(failure) => CommandOutcome::Failed(failure),
    };
    (End::Ran(outcome), None)
}

async fn pass(record: &Arc<CommandRecord>, reports: &mpsc::Sender<RunnerEvent>, note: TaskNote) {
    let (kind, text) = match note {
        TaskNote::PhaseEnded(text) => (MilestoneKind::PhaseEnded, text),
        TaskNote::Warning(text) => (MilestoneKind::Warning, text),
    };
    report_note(record, reports, kind, text).await;
}

async fn report_note(
    record: &Arc<CommandRecord>,
    reports: &mpsc::Sender<RunnerEvent>,
    kind: MilestoneKind,
    text: String,
) {
    let command = record.bare_name();
    match kind {
        MilestoneKind::Warning => {
            info!(event = %"command_warning", %command, ?text, "milestone");
        }
        _ => info!(event = %"command_phase", %command, ?text, "milestone"),
    }
    // Without an engine there is nobody left to tell.
    let _ = reports
        .send(RunnerEvent::Note(Arc::clone(record), kind, text))
        .await;
}

fn print(record: &CommandRecord, progress: &mut watch::Receiver<Option<Progress>>) {
    let Some(progress) = progress.borrow_and_update().clone() else {
        return;
    };
    let command = record.bare_name();
    let total = progress.total.unwrap_or(0);
    if progress.unit.is_empty() {
        info!(
            command = %command,
            phase = %progress.phase,
            bytes = progress.done,
            total,
            rate = progress.rate,
            "progress"
        );
    } else {
        info!(
            command = %command,
            phase = %progress.phase,
            done = progress.done,
            total,
            rate = progress.rate,
            unit = %progress.unit,
            "progress"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::commands::testing;
    use crate::config::AgentConfig;

    /// Reports a thousand times in ten seconds.
    #[derive(Debug)]
    struct Talkative;

    impl Perform for Talkative {
        fn perform<'a>(
            &'a self,
            _: &'a CommandContext,
            task: &'a Task,
            _: Command,
        ) -> VerbFuture<'a, Value> {
            Box::pin(async move {
                for step in 1..=1000 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    task.progress(Progress {
                        phase: "write_image".into(),
                        done: step * 4096,
                        total: Some(4_096_000),
                        rate: 409_600,
                        ..Progress::default()
                    });
                }
                task.phase_ended("image written");
                task.progress(Progress {
                    phase: "erase".into(),
                    done: 1,
                    unit: "devices".into(),
                    ..Progress::default()
                });
                tokio::time::sleep(Duration::from_secs(2)).await;
                Ok(Value::Null)
            })
        }
    }

    #[derive(Debug, Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn progress_is_logged_once_a_second_in_the_agreed_form() {
        let page = Page::default();
        let writer = page.clone();
        let log = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_target(false)
            .without_time()
            .with_writer(move || writer.clone());
        let _log = tracing::subscriber::set_default(tracing_subscriber::registry().with(log));
        let (task, listener) = Task::new();
        let request = testing::request("standby.power_off", serde_json::json!({}));
        let job = RunnerJob {
            record: Arc::new(testing::record(1)),
            verb: request.verb,
            command: request.command,
            task,
            listener,
        };
        let (reports, mut heard) = mpsc::channel(8);
        let context = testing::context(AgentConfig::default());
        tokio::spawn(run(job, Arc::new(Talkative), context, reports));
        let mut notes = 0;
        while let Some(RunnerEvent::Note(..)) = heard.recv().await {
            notes += 1;
        }
        assert_eq!(notes, 1);
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split_once("progress ").map(|(_, line)| line))
            .collect();
        assert_eq!(
            lines[0],
            "command=execute_clean_step phase=write_image bytes=4096 total=4096000 rate=409600"
        );
        let writing = lines.iter().filter(|line| line.contains("write_image"));
        assert!((10..=11).contains(&writing.count()), "{text}");
        assert_eq!(
            lines.last(),
            Some(&"command=execute_clean_step phase=erase done=1 total=0 rate=0 unit=devices")
        );
        let noted = text.lines().find(|line| line.contains("milestone "));
        assert!(
            noted.is_some_and(|line| line.ends_with(
                "milestone event=command_phase command=execute_clean_step text=\"image written\""
            )),
            "{text}"
        );
    }
}
