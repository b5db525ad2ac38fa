//! Waiting for one disk: progress, a deadline, an alarm when nothing moves, and cancellation
//! where the drive can be stopped.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::machine::block::BlockDevice;
use crate::system::{Cmd, Output, RunError, System};
use crate::task::{Progress, Task};

/// How often a disk is looked at.
const TICK: Duration = Duration::from_secs(5);
/// Thousandths: how far a disk is.
const WHOLE: u64 = 1000;
/// How often in succession a drive may not tell where it stands.
const PATIENCE: u32 = 12;
/// What a drive may take to tell where it stands.
pub(super) const LOOK: Duration = Duration::from_secs(20);
/// What the alarm says of what tells its progress.
const NO_MOVE: &str = "has not moved for";

/// The progress of several disks as that of one command.
#[derive(Debug)]
pub(super) struct Board<'a> {
    pub(super) task: &'a Task,
    /// Size and thousandths done, by name.
    disks: Mutex<BTreeMap<String, (u64, u64)>>,
}

impl<'a> Board<'a> {
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
pub(super) struct Watch<'a> {
    pub(super) board: &'a Board<'a>,
    pub(super) device: &'a BlockDevice,
    /// When the time began that it has.
    pub(super) began: Instant,
    /// It is given up after this time.
    pub(super) deadline: Duration,
    /// When nothing has moved for so long, somebody is told.
    pub(super) stall: Duration,
}

/// How a running program's progress is known.
enum Gauge {
    /// Not at all.
    None,
    /// It takes about so long.
    Time(Duration),
    /// By the sectors that the kernel has written to the disk: from, in all.
    Sectors { from: u64, total: u64 },
}

/// Where a drive stands that erases itself in the background.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stand {
    /// Thousandths done.
    At(u64),
    /// It could not be asked, which may pass: the reason.
    Unknown(String),
    /// It has ended well.
    Done,
}

impl<'a> Watch<'a> {
    fn name(&self) -> &'a str {
        &self.device.name
    }

    /// Runs a program that makes the drive erase itself; it cannot be stopped.
    pub(super) async fn run(
        &self,
        system: &System,
        command: Cmd,
        estimate: Option<Duration>,
    ) -> Result<Output, String> {
        let gauge = estimate.map_or(Gauge::None, Gauge::Time);
        self.wait(system, command, gauge, false).await
    }

    /// Runs a program that writes the whole disk so many times; it is stopped when the command
    /// is cancelled.
    pub(super) async fn run_writer(
        &self,
        system: &System,
        command: Cmd,
        passes: u64,
    ) -> Result<Output, String> {
        let gauge = match sectors_written(system, self.name()) {
            Some(from) => Gauge::Sectors {
                from,
                total: (self.device.size / 512).saturating_mul(passes),
            },
            None => Gauge::None,
        };
        self.wait(system, command, gauge, true).await
    }

    async fn wait(
        &self,
        system: &System,
        command: Cmd,
        gauge: Gauge,
        may_stop: bool,
    ) -> Result<Output, String> {
        let left = self.deadline.saturating_sub(self.began.elapsed());
        let running = system.run.run(command.timeout(left));
        tokio::pin!(running);
        let mut alarm = Alarm::new(self);
        let start = Instant::now();
        loop {
            tokio::select! {
                biased;
                ended = &mut running => return ended.map_err(|error| self.reason(&error)),
                () = self.board.task.cancelled(), if may_stop => {
                    return Err("it was stopped, because the command was cancelled".to_owned());
                }
                () = tokio::time::sleep(TICK) => {
                    let done = match gauge {
                        Gauge::None => {
                            alarm.look(0, "has given no sign for");
                            continue;
                        }
                        Gauge::Time(all) => {
                            let done = ratio(start.elapsed().as_secs(), all.as_secs());
                            alarm.look(done.min(WHOLE), "is later than the drive said by");
                            done
                        }
                        Gauge::Sectors { from, total } => {
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
        look: impl Fn() -> BoxFuture<'b, Result<Stand, String>> + Send,
    ) -> Result<(), String> {
        let mut alarm = Alarm::new(self);
        let (mut done, mut unknown) = (0, 0);
        loop {
            match look().await? {
                Stand::Done => return Ok(()),
                Stand::At(now) => (done, unknown) = (now, 0),
                // A bus that was reset, for example: the drive goes on.
                Stand::Unknown(reason) => {
                    unknown += 1;
                    if unknown > PATIENCE {
                        return Err(format!("where it stands is not known any more: {reason}"));
                    }
                    tracing::info!(device = self.name(), %reason, "is asked again");
                }
            }
            alarm.look(done, NO_MOVE);
            self.board.report(self.name(), done.min(WHOLE - 1));
            if self.began.elapsed() >= self.deadline {
                return Err(format!(
                    "it is at {} % after {} and was given up; it goes on by itself",
                    done / 10,
                    in_words(self.deadline)
                ));
            }
            tokio::time::sleep(TICK).await;
        }
    }

    fn reason(&self, error: &RunError) -> String {
        match error {
            RunError::TimedOut { .. } => format!(
                "it was given up after {} ({error}); the drive may still be at it",
                in_words(self.deadline)
            ),
            other => other.to_string(),
        }
    }
}

/// Tells somebody once when nothing moves.
struct Alarm<'a> {
    watch: &'a Watch<'a>,
    last: Option<u64>,
    since: Instant,
    is_raised: bool,
}

impl<'a> Alarm<'a> {
    fn new(watch: &'a Watch<'_>) -> Alarm<'a> {
        Alarm {
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
    let kernel_name = device.strip_prefix("/dev/")?.replace('/', "!");
    let statistics = system
        .root
        .read_optional(format!("/sys/class/block/{kernel_name}/stat"))?;
    statistics.split_whitespace().nth(6)?.parse().ok()
}

/// `90 min`, `36 h`.
pub(super) fn in_words(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    if minutes >= 300 {
        format!("{} h", minutes / 60)
    } else {
        format!("{minutes} min")
    }
}

/// Both outputs of a program as one text.
pub(super) fn text_of(output: &Output) -> String {
    output.text() + &String::from_utf8_lossy(&output.stderr)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::machine::testing::FakeMachine;
    use crate::system::Run;
    use crate::task::Note;

    /// Programs that run for ten minutes.
    #[derive(Debug)]
    struct Slow;

    impl Run for Slow {
        fn run(&self, cmd: Cmd) -> BoxFuture<'_, Result<Output, RunError>> {
            async move {
                let work = tokio::time::sleep(Duration::from_secs(600));
                match tokio::time::timeout(cmd.timeout, work).await {
                    Ok(()) => Ok(Output::default()),
                    Err(_) => Err(RunError::TimedOut {
                        command: cmd.to_string(),
                        timeout: cmd.timeout,
                    }),
                }
            }
            .boxed()
        }
    }

    fn disk() -> BlockDevice {
        BlockDevice {
            name: "/dev/sda".into(),
            size: 1 << 30,
            ..BlockDevice::default()
        }
    }

    fn watch<'a>(board: &'a Board<'a>, device: &'a BlockDevice, minutes: u64) -> Watch<'a> {
        Watch {
            board,
            device,
            began: Instant::now(),
            deadline: Duration::from_secs(60 * minutes),
            stall: Duration::from_secs(300),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn sectors_tell_the_progress_and_their_lack_raises_the_alarm() {
        let mut machine = FakeMachine::new();
        machine.sata_disk("sda", 1 << 30, 1);
        let system = machine.system_with(std::sync::Arc::new(Slow));
        let stat = |machine: &mut FakeMachine, sectors: u64| {
            machine.file(
                "sys/class/block/sda/stat",
                &format!("  1 0 8 0  9 0 {sectors} 0 0 0 0"),
            );
        };
        stat(&mut machine, 1000);
        let (task, mut heard) = Task::new();
        let device = disk();
        let board = Board::new(&task, std::iter::once(&device));
        let watch = watch(&board, &device, 60);
        let running = watch.run_writer(&system, Cmd::new("shred"), 2);
        let moving = async {
            tokio::time::sleep(Duration::from_secs(61)).await;
            stat(&mut machine, 1000 + (1 << 20));
        };
        let (result, ()) = tokio::join!(running, moving);
        result.unwrap();
        let progress = heard.progress.borrow_and_update().clone().unwrap();
        assert_eq!((&*progress.phase, progress.done), ("erase", 1 << 28));
        assert_eq!(progress.total, Some(1 << 30));
        assert_eq!(progress.subject, "/dev/sda 25 %");
        let warning = heard.notes.try_recv().unwrap();
        let text = "the erase of /dev/sda has not moved for 5 min".to_owned();
        assert_eq!(warning, Note::Warning(text));
        assert!(heard.notes.try_recv().is_err(), "one alarm is enough");
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_ends_the_wait() {
        let machine = FakeMachine::new();
        let system = machine.system_with(std::sync::Arc::new(Slow));
        let (task, _heard) = Task::new();
        let device = disk();
        let board = Board::new(&task, std::iter::once(&device));
        let watch = watch(&board, &device, 5);
        let reason = watch
            .run(&system, Cmd::new("hdparm"), None)
            .await
            .unwrap_err();
        assert!(
            reason.starts_with("it was given up after 5 min"),
            "{reason}"
        );
        // What follows has no time of its own.
        let start = Instant::now();
        let polled = watch
            .poll(|| std::future::ready(Ok(Stand::At(421))).boxed())
            .await
            .unwrap_err();
        assert!(polled.starts_with("it is at 42 % after 5 min"), "{polled}");
        assert_eq!(start.elapsed(), Duration::ZERO);
        let again = super::tests::watch(&board, &device, 5);
        let polled = again.poll(|| std::future::ready(Ok(Stand::At(421))).boxed());
        assert!(polled.await.is_err());
        assert_eq!(start.elapsed(), Duration::from_secs(300));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drive_that_does_not_answer_is_asked_again_for_a_while() {
        let (task, _heard) = Task::new();
        let device = disk();
        let board = Board::new(&task, std::iter::once(&device));
        let watch = watch(&board, &device, 60);
        let asked = std::sync::atomic::AtomicU32::new(0);
        let answers = |silent: u32| {
            let number = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let stand = match number {
                0 => Stand::At(100),
                number if number <= silent => Stand::Unknown("unit attention".into()),
                _ => Stand::Done,
            };
            std::future::ready(Ok(stand)).boxed()
        };
        assert_eq!(watch.poll(|| answers(PATIENCE)).await, Ok(()));
        asked.store(0, std::sync::atomic::Ordering::Relaxed);
        let lost = watch.poll(|| answers(PATIENCE + 1)).await.unwrap_err();
        assert!(lost.ends_with("unit attention"), "{lost}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_drive_that_tells_nothing_raises_the_alarm_when_it_is_late() {
        let machine = FakeMachine::new();
        let system = machine.system_with(std::sync::Arc::new(Slow));
        for (estimate, text) in [
            (None, "has given no sign for 5 min"),
            (Some(120), "is later than the drive said by 5 min"),
        ] {
            let (task, mut heard) = Task::new();
            let device = disk();
            let board = Board::new(&task, std::iter::once(&device));
            let watch = watch(&board, &device, 60);
            let estimate = estimate.map(Duration::from_secs);
            let ran = watch.run(&system, Cmd::new("hdparm"), estimate).await;
            ran.unwrap();
            let warning = heard.notes.try_recv().unwrap();
            let text = format!("the erase of /dev/sda {text}");
            assert_eq!(warning, Note::Warning(text));
            assert!(heard.notes.try_recv().is_err(), "one alarm is enough");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_can_be_stopped_is() {
        let machine = FakeMachine::new();
        let system = machine.system_with(std::sync::Arc::new(Slow));
        let (task, _heard) = Task::new();
        let device = disk();
        let board = Board::new(&task, std::iter::once(&device));
        let watch = watch(&board, &device, 60);
        task.cancel("enough");
        assert!(watch.run(&system, Cmd::new("hdparm"), None).await.is_ok());
        let start = Instant::now();
        let stopped = watch.run_writer(&system, Cmd::new("shred"), 1).await;
        assert!(stopped.unwrap_err().contains("cancelled"));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
