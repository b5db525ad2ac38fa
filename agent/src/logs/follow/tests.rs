//! Both logs, with a kernel that is scripted.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use proptest::prelude::*;
use tokio::sync::Notify;

use super::*;
use crate::machine::testing::FakeMachine;
use crate::system::KernelLog;
use crate::system::kernel_log::{KernelLogReader, KernelRecord};
use crate::task::Level;

const BOOT: &str = "6dd11111-2222-4333-8444-555555555555";

/// A kernel that keeps its last records.
#[derive(Debug, Clone, Default)]
struct FakeKernel(Arc<FakeRing>);

#[derive(Debug, Default)]
struct FakeRing {
    records: Mutex<VecDeque<KernelRecord>>,
    said: Notify,
}

#[derive(Debug)]
struct FakeReader(Arc<FakeRing>, u64);

impl FakeKernel {
    fn say(&self, sequence: u64, priority: u8, text: &str) {
        self.0.records.lock().unwrap().push_back(KernelRecord {
            sequence,
            since_boot: Duration::from_secs(sequence),
            priority,
            text: text.to_owned(),
        });
        self.0.said.notify_waiters();
    }

    fn forget(&self, records: usize) {
        self.0.records.lock().unwrap().drain(..records);
    }
}

impl KernelLog for FakeKernel {
    fn open(&self) -> io::Result<Box<dyn KernelLogReader>> {
        Ok(Box::new(FakeReader(Arc::clone(&self.0), 0)))
    }
}

impl KernelLogReader for FakeReader {
    fn read(&mut self) -> io::Result<Option<KernelRecord>> {
        let records = self.0.records.lock().unwrap();
        let next = records.iter().find(|record| record.sequence >= self.1);
        self.1 = next.map_or(self.1, |record| record.sequence + 1);
        Ok(next.cloned())
    }

    fn readable(&mut self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async {
            self.0.said.notified().await;
            Ok(())
        })
    }
}

/// A machine whose clock stands: the kernel's records are of long ago, the agent's of now.
fn logs(machine: &mut FakeMachine, kernel: &FakeKernel) -> FollowedLogs {
    machine.file("proc/sys/kernel/random/boot_id", BOOT);
    FollowedLogs {
        agent: KeptLog::with_capacity(1 << 20),
        system: System {
            kernel_log: Arc::new(kernel.clone()),
            ..machine.system()
        },
    }
}

fn write(logs: &FollowedLogs, text: &str) {
    let at = SystemTime::now() + Duration::from_secs(3600);
    logs.agent.write(at, tracing::Level::INFO, text);
}

/// An event in a word.
fn word(event: LogEvent) -> String {
    match event {
        LogEvent::Opening(opening) => format!("open {}", opening.sources.len()),
        LogEvent::Record(record) => record.text,
        LogEvent::Gap(gap) => format!("{gap:?}"),
    }
}

/// Everything that is there for a reader, and where it goes on.
async fn read(logs: &FollowedLogs, begin: FollowBegin) -> (Vec<String>, LogCursor) {
    let options = FollowOptions {
        begin,
        ..FollowOptions::default()
    };
    let mut follower = LogFollower::open(logs, &options).unwrap();
    let mut words = Vec::new();
    while let Some(event) = follower.next().await.unwrap() {
        words.push(word(event));
    }
    (words, follower.cursor())
}

#[tokio::test]
async fn both_logs_are_read_by_time_and_without_secrets() {
    let (mut machine, kernel) = (FakeMachine::new(), FakeKernel::default());
    let logs = logs(&mut machine, &kernel);
    write(&logs, "agent ipa-join-token=x");
    kernel.say(7, 4, "Command line: ipa-agent-token=hunter2 \u{1b}[2J");
    let options = FollowOptions::default();
    let mut follower = LogFollower::open(&logs, &options).unwrap();
    let mut next = async || follower.next().await.unwrap();
    let Some(LogEvent::Opening(opening)) = next().await else {
        panic!("it begins with its opening");
    };
    assert_eq!(opening.boot, BOOT);
    assert_eq!(opening.sources, [LogSource::Agent, LogSource::Kernel]);
    let records = [next().await, next().await].map(|event| match event {
        Some(LogEvent::Record(record)) => (record.source, record.level, record.text),
        other => panic!("{other:?}"),
    });
    let kernel = r"Command line: ipa-agent-token=******* \x1b[2J";
    assert_eq!(
        records,
        [
            (LogSource::Kernel, Level::Warn, kernel.to_owned()),
            (
                LogSource::Agent,
                Level::Info,
                "agent ipa-join-token=*".to_owned()
            ),
        ]
    );
    assert!(next().await.is_none());
}

#[tokio::test]
async fn a_tail_is_of_both_logs_together() {
    let (mut machine, kernel) = (FakeMachine::new(), FakeKernel::default());
    let logs = logs(&mut machine, &kernel);
    for number in 0..3 {
        kernel.say(number, 6, &format!("kernel {number}"));
        write(&logs, &format!("agent {number}"));
    }
    for (tail, expected) in [
        (0, &[][..]),
        (2, &["agent 1", "agent 2"]),
        (4, &["kernel 2", "agent 0", "agent 1", "agent 2"]),
    ] {
        let (words, _) = read(&logs, FollowBegin::Tail(tail)).await;
        assert_eq!(words[1..], *expected, "{tail}");
    }
    let (words, _) = read(&logs, FollowBegin::Tail(100)).await;
    assert_eq!(words.len(), 1 + 6);
}

#[tokio::test]
async fn lost_records_are_reported() {
    let (mut machine, kernel) = (FakeMachine::new(), FakeKernel::default());
    let mut logs = logs(&mut machine, &kernel);
    kernel.say(1, 6, "first");
    write(&logs, "agent");
    let (_, cursor) = read(&logs, FollowBegin::Oldest).await;
    let resume = || FollowBegin::Cursor(cursor.clone());
    assert_eq!(read(&logs, resume()).await.0, ["open 2"]);

    for number in 2..6 {
        kernel.say(number, 6, &format!("kernel {number}"));
    }
    kernel.forget(3);
    let gap = "Overwritten { source: Kernel, records: 2 }";
    let (words, _) = read(&logs, resume()).await;
    assert_eq!(words, ["open 2", gap, "kernel 4", "kernel 5"]);

    logs.agent = KeptLog::with_capacity(1000);
    write(&logs, "new agent");
    let (words, _) = read(&logs, resume()).await;
    let after = [
        "open 2",
        "AgentRestarted",
        gap,
        "kernel 4",
        "kernel 5",
        "new agent",
    ];
    assert_eq!(words, after);

    machine.file("proc/sys/kernel/random/boot_id", "another");
    let (words, _) = read(&logs, resume()).await;
    let anew = [
        "open 2",
        "MachineRestarted",
        "kernel 4",
        "kernel 5",
        "new agent",
    ];
    assert_eq!(words, anew);
}

#[tokio::test]
async fn new_records_wake_a_follower() {
    let (mut machine, kernel) = (FakeMachine::new(), FakeKernel::default());
    let logs = logs(&mut machine, &kernel);
    let options = FollowOptions {
        follow: true,
        begin: FollowBegin::Tail(0),
        ..FollowOptions::default()
    };
    let mut follower = LogFollower::open(&logs, &options).unwrap();
    follower.next().await.unwrap().unwrap();
    for text in ["one", "two"] {
        for by_kernel in [true, false] {
            let (event, ()) = tokio::join!(follower.next(), async {
                tokio::task::yield_now().await;
                if by_kernel {
                    kernel.say(text.len() as u64 + u64::from(text == "two"), 6, text);
                } else {
                    write(&logs, text);
                }
            });
            assert_eq!(word(event.unwrap().unwrap()), text);
        }
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_read_ends_only_who_asked_for_it() {
    let mut machine = FakeMachine::new();
    machine.file("proc/sys/kernel/random/boot_id", BOOT);
    let logs = FollowedLogs {
        agent: KeptLog::with_capacity(1000),
        system: machine.system(),
    };
    let mut options = FollowOptions::default();
    let mut follower = LogFollower::open(&logs, &options).unwrap();
    let Some(LogEvent::Opening(opening)) = follower.next().await.unwrap() else {
        panic!("it begins with its opening");
    };
    assert_eq!(opening.sources, [LogSource::Agent]);
    assert_eq!(opening.unavailable[0].0, LogSource::Kernel);
    options.sources = vec![LogSource::Kernel];
    let error = LogFollower::open(&logs, &options).unwrap_err();
    assert!(matches!(error, FollowError::Unavailable(_)), "{error}");
}

proptest! {
    /// Whenever a reader goes away and comes back, it gets every record once, except those that
    /// a gap counts.
    #[test]
    fn a_reader_that_comes_back_misses_and_repeats_nothing(
        acts in prop::collection::vec((0..4_u8, 1..20_u8), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (mut machine, kernel) = (FakeMachine::new(), FakeKernel::default());
        let mut logs = logs(&mut machine, &kernel);
        logs.agent = KeptLog::with_capacity(30 * (64 + 8));
        // In a log that was never read from nothing can be known to be lost.
        kernel.say(0, 6, "k0000000");
        let (mut said, mut agent_said) = (1, 0);
        let mut seen = [0; 2];
        let mut begin = FollowBegin::Oldest;
        for (act, count) in acts.into_iter().chain([(3, 1)]) {
            match act {
                0 => for _ in 0..count {
                    kernel.say(said, 6, &format!("k{said:07}"));
                    said += 1;
                },
                1 => for _ in 0..count {
                    write(&logs, &format!("a{agent_said:07}"));
                    agent_said += 1;
                },
                2 => {
                    let kept = kernel.0.records.lock().unwrap().len();
                    // The newest record stays: without one no loss can be known.
                    kernel.forget(usize::from(count).min(kept.saturating_sub(1)));
                }
                _ => {
                    let options = FollowOptions { begin, ..FollowOptions::default() };
                    let mut follower = LogFollower::open(&logs, &options).unwrap();
                    while let Some(event) = runtime.block_on(follower.next()).unwrap() {
                        match event {
                            LogEvent::Opening(_) => {}
                            LogEvent::Gap(LogGap::Overwritten { source, records }) => {
                                seen[usize::from(source == LogSource::Kernel)] += records;
                            }
                            LogEvent::Record(record) => {
                                let position = &mut seen[usize::from(record.source == LogSource::Kernel)];
                                let number: u64 = record.text[1..].parse().unwrap();
                                if options.begin == FollowBegin::Oldest && *position == 0 {
                                    *position = number;
                                }
                                prop_assert_eq!(number, *position);
                                *position += 1;
                            }
                            other @ LogEvent::Gap(_) => prop_assert!(false, "{:?}", other),
                        }
                    }
                    begin = FollowBegin::Cursor(follower.cursor());
                }
            }
        }
        prop_assert_eq!(seen, [agent_said, said]);
    }
}
