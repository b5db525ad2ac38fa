use futures_util::FutureExt as _;

use super::*;
use crate::machine::testing::FakeMachine;
use crate::system::Run;
use crate::task::TaskNote;

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

fn watch<'a>(
    board: &'a EraseProgress<'a>,
    device: &'a BlockDevice,
    minutes: u64,
) -> EraseWatch<'a> {
    EraseWatch {
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
    let board = EraseProgress::new(&task, std::iter::once(&device));
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
    assert_eq!(warning, TaskNote::Warning(text));
    assert!(heard.notes.try_recv().is_err(), "one alarm is enough");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_the_wait() {
    let machine = FakeMachine::new();
    let system = machine.system_with(std::sync::Arc::new(Slow));
    let (task, _heard) = Task::new();
    let device = disk();
    let board = EraseProgress::new(&task, std::iter::once(&device));
    let watch = watch(&board, &device, 5);
    let ran = watch.run(&system, Cmd::new("hdparm"), None).await;
    let reason = ran.unwrap_err().to_string();
    assert!(
        reason.starts_with("it was given up after 5 min"),
        "{reason}"
    );
    // What follows has no time of its own.
    let start = Instant::now();
    let polled = watch
        .poll(|| std::future::ready(Ok(EraseState::At(421))).boxed())
        .await
        .unwrap_err()
        .to_string();
    assert!(polled.starts_with("it is at 42 % after 5 min"), "{polled}");
    assert_eq!(start.elapsed(), Duration::ZERO);
    let again = super::tests::watch(&board, &device, 5);
    let polled = again.poll(|| std::future::ready(Ok(EraseState::At(421))).boxed());
    assert!(polled.await.is_err());
    assert_eq!(start.elapsed(), Duration::from_secs(300));
}

#[tokio::test(start_paused = true)]
async fn a_drive_that_does_not_answer_is_asked_again_for_a_while() {
    let (task, _heard) = Task::new();
    let device = disk();
    let board = EraseProgress::new(&task, std::iter::once(&device));
    let watch = watch(&board, &device, 60);
    let asked = std::sync::atomic::AtomicU32::new(0);
    let answers = |silent: u32| {
        let number = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let stand = match number {
            0 => EraseState::At(100),
            number if number <= silent => {
                EraseState::Unknown(StatusError::Condition("unit attention".into()))
            }
            _ => EraseState::Done,
        };
        std::future::ready(Ok(stand)).boxed()
    };
    watch.poll(|| answers(MAX_STATUS_ERRORS)).await.unwrap();
    asked.store(0, std::sync::atomic::Ordering::Relaxed);
    let lost = watch.poll(|| answers(MAX_STATUS_ERRORS + 1)).await;
    let lost = error_chain(&lost.unwrap_err());
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
        let board = EraseProgress::new(&task, std::iter::once(&device));
        let watch = watch(&board, &device, 60);
        let estimate = estimate.map(Duration::from_secs);
        let ran = watch.run(&system, Cmd::new("hdparm"), estimate).await;
        ran.unwrap();
        let warning = heard.notes.try_recv().unwrap();
        let text = format!("the erase of /dev/sda {text}");
        assert_eq!(warning, TaskNote::Warning(text));
        assert!(heard.notes.try_recv().is_err(), "one alarm is enough");
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_can_be_stopped_is() {
    let machine = FakeMachine::new();
    let system = machine.system_with(std::sync::Arc::new(Slow));
    let (task, _heard) = Task::new();
    let device = disk();
    let board = EraseProgress::new(&task, std::iter::once(&device));
    let watch = watch(&board, &device, 60);
    task.cancel("enough");
    assert!(watch.run(&system, Cmd::new("hdparm"), None).await.is_ok());
    let start = Instant::now();
    let stopped = watch.run_writer(&system, Cmd::new("shred"), 1).await;
    assert!(matches!(stopped, Err(MethodError::Cancelled)));
    assert_eq!(start.elapsed(), Duration::ZERO);
}
