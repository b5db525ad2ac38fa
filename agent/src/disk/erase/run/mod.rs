//! Waiting for one disk: progress, a deadline, an alarm when nothing moves, and cancellation
//! where the drive can be stopped.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::BoxFuture;
use ironic_text::error_chain;
use tokio::time::Instant;

use crate::disk::erase::error::{MethodError, StatusError};
use crate::disk::erase::time::in_words;
use crate::machine::block::{BlockDevice, kernel_name_of};
use crate::system::{Cmd, Output, RunError, System};
use crate::task::{Progress, Task};

/// How often a disk is looked at.
const TICK: Duration = Duration::from_secs(5);
/// Thousandths: how far a disk is.
const WHOLE: u64 = 1000;
/// How often in succession a drive may not tell where it stands.
const MAX_STATUS_ERRORS: u32 = 12;
/// What a drive may take to tell where it stands.
pub(super) const LOOK: Duration = Duration::from_secs(20);
/// What the alarm says of what tells its progress.
const NO_MOVE: &str = "has not moved for";

/// The progress of several disks as that of one command.
#[derive(Debug)]
pub(super) struct EraseProgress<'a> {
    pub(super) task: &'a Task,
    /// Size and thousandths done, by name.
    disks: Mutex<BTreeMap<String, (u64, u64)>>,
}

impl<'a> EraseProgress<'a> {
    pub(super) fn new<'b>(task: &'a Task, disks: impl Iterator<Item = &'b BlockDevice>) -> Self {
        let disks = disks.map(|disk| (disk.name.clone(), (disk.size, 0)));
        Self {
            task,
            disks: Mutex::new(disks.collect()),
        }
    }

    /// Says how far one disk is, in thousandths.
    pub(super) fn report(&self, name: &str, done: u64) {
        let Ok(mut disks) = self.disks.lock() else {
            return;
        };
        if let Some(entry) = disks.get_mut(name) {
            entry.1 = done.min(WHOLE);
        }
        let share = |(size, done): &(u64, u64)| size / WHOLE * done + size % WHOLE * done / WHOLE;
        let subject: Vec<_> = disks
            .iter()
            .filter(|(_, (_, done))| (1..WHOLE).contains(done))
            .map(|(name, (_, done))| format!("{name} {} %", done / 10))
            .collect();
        self.task.progress(Progress {
            phase: "erase".into(),
            done: disks.values().map(share).sum(),
            total: Some(disks.values().map(|(size, _)| size).sum()),
            subject: if subject.is_empty() {
                name.to_owned()
            } else {
                subject.join(", ")
            },
            ..Progress::default()
        });
    }

    pub(super) fn finish(&self, name: &str) {
        self.report(name, WHOLE);
    }
}

/// The wait for one disk.
#[derive(Debug)]
pub(super) struct EraseWatch<'a> {
    pub(super) board: &'a EraseProgress<'a>,
    pub(super) device: &'a BlockDevice,
    /// When the time began that it has.
    pub(super) began: Instant,
    /// It is given up after this time.
    pub(super) deadline: Duration,
    /// When nothing has moved for so long, a warning says so.
    pub(super) stall: Duration,
}

/// How a running program's progress is known.
enum ProgressSource {
    /// Not at all.
    None,
    /// It takes about so long.
    Time(Duration),
    /// By the sectors that the kernel has written to the disk: from, in all.
    Sectors { from: u64, total: u64 },
}

/// Where a drive stands that erases itself in the background.
#[derive(Debug)]
pub(super) enum EraseState {
    /// Thousandths done.
    At(u64),
    /// It could not be asked, which may pass: the reason.
    Unknown(StatusError),
    /// It has ended well.
    Done,
}

impl<'a> EraseWatch<'a> {
    fn name(&self) -> &'a str {
        &self.device.name
    }

    /// Runs a program that makes the drive erase itself; it cannot be stopped.
    pub(super) async fn run(
        &self,
        system: &System,
        command: Cmd,
        estimate: Option<Duration>,
    ) -> Result<Output, MethodError> {
        let gauge = estimate.map_or(ProgressSource::None, ProgressSource::Time);
        self.wait(system, command, gauge, false).await
    }

    /// Runs a program that writes the whole disk so many times; it is stopped when the command
    /// is cancelled.
    pub(super) async fn run_writer(
        &self,
        system: &System,
        command: Cmd,
        passes: u64,
    ) -> Result<Output, MethodError> {
        let gauge = match sectors_written(system, self.name()) {
            Some(from) => ProgressSource::Sectors {
                from,
                total: (self.device.size / 512).saturating_mul(passes),
            },
            None => ProgressSource::None,
        };
        self.wait(system, command, gauge, true).await
    }

    async fn wait(
        &self,
        system: &System,
        command: Cmd,
        gauge: ProgressSource,
        may_stop: bool,
    ) -> Result<Output, MethodError> {
        let left = self.deadline.saturating_sub(self.began.elapsed());
        let running = system.run.run(command.timeout(left));
        tokio::pin!(running);
        let mut alarm = StallWarning::new(self);
        let start = Instant::now();
        loop {
            tokio::select! {
                biased;
                ended = &mut running => return ended.map_err(|error| self.error(error)),
                () = self.board.task.cancelled(), if may_stop => {
                    return Err(MethodError::Cancelled);
                }
                () = tokio::time::sleep(TICK) => {
                    let done = match gauge {
                        ProgressSource::None => {
                            alarm.look(0, "has given no sign for");
                            continue;
                        }
                        ProgressSource::Time(all) => {
                            let done = ratio(start.elapsed().as_secs(), all.as_secs());
                            alarm.look(done.min(WHOLE), "is later than the drive said by");
                            done
                        }
                        ProgressSource::Sectors { from, total } => {
                            let now = sectors_written(system, self.name()).unwrap_or(from);
                            alarm.look(now, NO_MOVE);
                            ratio(now.saturating_sub(from), total)
                        }
                    };
                    // Only the end is the end.
                    self.board.report(self.name(), done.min(WHOLE - 1));
                }
            }
        }
    }

    /// Asks a drive that erases itself in the background until it is done. `look` answers
    /// where it stands, or why it has failed.
    pub(super) async fn poll<'b>(
        &self,
        look: impl Fn() -> BoxFuture<'b, Result<EraseState, MethodError>> + Send,
    ) -> Result<(), MethodError> {
        let mut alarm = StallWarning::new(self);
        let (mut done, mut unknown) = (0, 0);
        loop {
            match look().await? {
                EraseState::Done => return Ok(()),
                EraseState::At(now) => (done, unknown) = (now, 0),
                // A bus that was reset, for example: the drive goes on.
                EraseState::Unknown(reason) => {
                    unknown += 1;
                    if unknown > MAX_STATUS_ERRORS {
                        return Err(MethodError::StatusUnknown(reason));
                    }
                    let reason = error_chain(&reason);
                    tracing::info!(device = self.name(), %reason, "is asked again");
                }
            }
            alarm.look(done, NO_MOVE);
            self.board.report(self.name(), done.min(WHOLE - 1));
            if self.began.elapsed() >= self.deadline {
                return Err(MethodError::DeadlinePassed {
                    percent: done / 10,
                    limit: self.deadline,
                });
            }
            tokio::time::sleep(TICK).await;
        }
    }

    fn error(&self, error: RunError) -> MethodError {
        match error {
            RunError::TimedOut { .. } => MethodError::TimedOut {
                limit: self.deadline,
                source: error,
            },
            other => other.into(),
        }
    }
}

/// Warns once when an erase makes no progress.
struct StallWarning<'a> {
    watch: &'a EraseWatch<'a>,
    last: Option<u64>,
    since: Instant,
    is_raised: bool,
}

impl<'a> StallWarning<'a> {
    fn new(watch: &'a EraseWatch<'_>) -> StallWarning<'a> {
        StallWarning {
            watch,
            last: None,
            since: Instant::now(),
            is_raised: false,
        }
    }

    fn look(&mut self, now: u64, what: &str) {
        if self.last != Some(now) {
            self.last = Some(now);
            self.since = Instant::now();
            self.is_raised = false;
        } else if !self.is_raised && self.since.elapsed() >= self.watch.stall {
            self.is_raised = true;
            let (name, time) = (self.watch.name(), in_words(self.watch.stall));
            let text = format!("the erase of {name} {what} {time}");
            tracing::warn!(device = %name, "{text}");
            self.watch.board.task.warn(text);
        }
    }
}

fn ratio(done: u64, all: u64) -> u64 {
    let done = u128::from(done) * u128::from(WHOLE) / u128::from(all.max(1));
    u64::try_from(done).unwrap_or(WHOLE)
}

/// Sectors of 512 bytes that were written to a device since it appeared.
fn sectors_written(system: &System, device: &str) -> Option<u64> {
    let kernel_name = kernel_name_of(device)?;
    let statistics = system
        .root
        .read_optional(format!("/sys/class/block/{kernel_name}/stat"))?;
    statistics.split_whitespace().nth(6)?.parse().ok()
}

/// Both outputs of a program as one text.
pub(super) fn text_of(output: &Output) -> String {
    output.text() + &String::from_utf8_lossy(&output.stderr)
}

#[cfg(test)]
mod tests;
