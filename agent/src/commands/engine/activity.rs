//! What the agent is doing, in one line for the operator of the node: the phase, the
//! disk, how far it is and how fast. Heartbeats carry it, and Ironic shows it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use super::{Engine, RunningCommand};
use crate::commands::record::{CommandId, CommandRecord, CommandState};
use crate::task::Progress;

/// Longer lines are cut off: they are shown in one column.
const MAX_LINE_CHARS: usize = 255;
/// Phases of one command that are announced. A hardware manager's program names its own, and
/// each costs the conductor a heartbeat.
const MAX_ANNOUNCED_PHASES: usize = 8;
/// Before the first command.
const IDLE: &str = "waiting for commands";

impl Engine {
    /// Keeps `line` up to date, and calls `announce` once for each phase that a background
    /// command enters. Ends with the engine.
    pub async fn narrate(&self, line: &watch::Sender<String>, announce: impl Fn()) {
        let mut running = self.running.clone();
        let mut narrator = ActivityText::default();
        line.send_replace(IDLE.to_owned());
        loop {
            let now = running.borrow_and_update().clone();
            // What is answered at once is over before anybody could look.
            let now = now.filter(|running| running.record.background);
            let Some(RunningCommand {
                record,
                mut progress,
            }) = now
            else {
                if let Some(ended) = narrator.take_command()
                    && let Ok(record) = self.get(ended).await
                {
                    line.send_replace(narrator.ended(&record));
                }
                if running.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let latest = progress.borrow_and_update().clone();
            let (text, is_new) = narrator.running(&record, latest.as_ref());
            line.send_replace(text);
            if is_new {
                announce();
            }
            tokio::select! {
                changed = running.changed() => if changed.is_err() {
                    return;
                },
                // A command that is over reports nothing more, and the engine says so soon.
                Ok(()) = progress.changed() => {}
            }
        }
    }
}

/// Turns commands and their progress into lines.
#[derive(Debug, Default)]
struct ActivityText {
    command: Option<CommandId>,
    /// What it is called: its latest phase, before that its name.
    name: String,
    announced: BTreeSet<String>,
}

impl ActivityText {
    /// A line about a command that runs, and whether it has entered a phase.
    fn running(
        &mut self,
        record: &Arc<CommandRecord>,
        progress: Option<&Progress>,
    ) -> (String, bool) {
        if self.command.replace(record.id) != Some(record.id) {
            record.bare_name().clone_into(&mut self.name);
            self.announced.clear();
        }
        let Some(progress) = progress else {
            return (clean(&format!("{} is running", self.name)), false);
        };
        self.name = clean(&progress.phase);
        let is_new =
            self.announced.len() < MAX_ANNOUNCED_PHASES && self.announced.insert(self.name.clone());
        (clean(&figures(progress)), is_new)
    }

    fn take_command(&mut self) -> Option<CommandId> {
        self.command.take()
    }

    /// A line about a command that is over.
    fn ended(&self, record: &CommandRecord) -> String {
        let how = match &record.state {
            CommandState::Ended { outcome, .. } => outcome.word().to_lowercase().replace('_', " "),
            CommandState::Running => return clean(&format!("{} is running", self.name)),
        };
        clean(&format!("{}: {how}; {IDLE}", self.name))
    }
}

/// `write_image /dev/sda: 63 % (6.1 of 9.7 GB), 112 MB/s`.
fn figures(progress: &Progress) -> String {
    let Progress {
        phase,
        subject,
        done,
        total,
        rate,
        unit,
        ..
    } = progress;
    let mut text = phase.to_string();
    if !subject.is_empty() {
        text += &format!(" {subject}");
    }
    let amount = |count: u64| match unit.as_ref() {
        "" => bytes(count),
        unit => format!("{count} {unit}"),
    };
    match total {
        Some(total) if *total > 0 => {
            let percent = u128::from(*done.min(total)) * 100 / u128::from(*total);
            let (done, total) = (amount(*done), amount(*total));
            text += &format!(": {percent} % ({done} of {total})");
        }
        _ if *done > 0 => text += &format!(": {}", amount(*done)),
        _ => return text,
    }
    if *rate > 0 {
        text += &format!(", {}/s", amount(*rate));
    }
    text
}

/// `1.25 GB`, `310 MB`, `64 kB`.
fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1_000_000_000_000, "TB"),
        (1_000_000_000, "GB"),
        (1_000_000, "MB"),
        (1_000, "kB"),
    ];
    let Some((size, unit)) = UNITS.into_iter().find(|(size, _)| count >= *size) else {
        return format!("{count} B");
    };
    let hundredths = u128::from(count) * 100 / u128::from(size);
    if hundredths >= 10_000 {
        format!("{} {unit}", hundredths / 100)
    } else {
        format!("{}.{:02} {unit}", hundredths / 100, hundredths % 100)
    }
}

/// A line as it may be shown: a hardware manager's program has words of its own.
fn clean(text: &str) -> String {
    let plain = text.chars().filter(|letter| !letter.is_control());
    plain.take(MAX_LINE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::commands::testing;
    use crate::config::AgentConfig;

    fn progress(phase: &'static str, done: u64, total: Option<u64>) -> Progress {
        Progress {
            phase: phase.into(),
            subject: "/dev/sda".into(),
            done,
            total,
            ..Progress::default()
        }
    }

    #[test]
    fn a_line_says_phase_disk_share_and_rate() {
        let mut fast = progress("write_image", 6_100_000_000, Some(9_700_000_000));
        fast.rate = 1_120_000_000;
        let mut parts = progress("erase_devices_metadata", 2, Some(3));
        parts.unit = "devices".into();
        let cases = [
            (
                fast,
                "write_image /dev/sda: 62 % (6.10 GB of 9.70 GB), 1.12 GB/s",
            ),
            (
                parts,
                "erase_devices_metadata /dev/sda: 66 % (2 devices of 3 devices)",
            ),
            (
                progress("write_image", 123_456, None),
                "write_image /dev/sda: 123 kB",
            ),
            (
                progress("install_bootloader", 0, None),
                "install_bootloader /dev/sda",
            ),
            (progress("erase", 7, Some(0)), "erase /dev/sda: 7 B"),
            (
                progress("erase", u64::MAX, Some(1)),
                "erase /dev/sda: 100 % (18446744 TB of 1 B)",
            ),
        ];
        for (progress, line) in cases {
            assert_eq!(figures(&progress), line);
        }
    }

    #[test]
    fn untrusted_text_neither_controls_nor_fills_terminals() {
        let mut progress = progress("x", 1, None);
        progress.subject = format!("\x1b[2J\u{9b}{}", "y".repeat(10_000));
        let line = clean(&figures(&progress));
        assert_eq!(line.chars().count(), MAX_LINE_CHARS);
        assert!(!line.contains(char::is_control), "{line}");
    }

    #[test]
    fn each_phase_is_announced_once_and_no_flood_of_them() {
        let record = Arc::new(testing::record(1));
        let mut narrator = ActivityText::default();
        assert_eq!(
            narrator.running(&record, None),
            ("execute_clean_step is running".to_owned(), false)
        );
        let mut announced =
            |phase: &'static str| narrator.running(&record, Some(&progress(phase, 1, None))).1;
        assert!(announced("a"));
        assert!(!announced("a"));
        assert!(announced("b"));
        assert!(!announced("a"), "it was left and entered again");
        let flood = (0..1000).map(|number| format!("p{number}"));
        let heard = flood.filter(|phase| {
            let progress = Progress {
                phase: phase.clone().into(),
                ..Progress::default()
            };
            narrator.running(&record, Some(&progress)).1
        });
        assert_eq!(heard.count(), MAX_ANNOUNCED_PHASES - 2);
        // The next command starts anew.
        let record = Arc::new(testing::record(2));
        assert!(narrator.running(&record, Some(&progress("a", 1, None))).1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_line_follows_a_command_to_its_end_and_stays() {
        let state = tempfile::tempdir().unwrap();
        let context = testing::context(AgentConfig::default());
        let (engine, task) = Engine::new(context, Arc::new(testing::Script), state.path());
        tokio::spawn(task.run());
        let (sender, line) = watch::channel(String::new());
        let announced = Arc::new(AtomicUsize::new(0));
        let (narrated, count) = (engine.clone(), Arc::clone(&announced));
        tokio::spawn(async move {
            let announce = || {
                count.fetch_add(1, Ordering::Relaxed);
            };
            narrated.narrate(&sender, announce).await;
        });
        let shown = async |milliseconds: u64| {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            line.borrow().clone()
        };
        assert_eq!(shown(10).await, "waiting for commands");
        let work = testing::background(json!({"do": "work", "phases": 4}));
        let record = engine.execute(work).await.unwrap();
        assert_eq!(shown(500).await, "execute_clean_step is running");
        assert_eq!(shown(1000).await, "work: 25 % (1 B of 4 B)");
        assert_eq!(shown(1000).await, "work: 50 % (2 B of 4 B)");
        engine.wait(record.id).await.unwrap();
        let ended = "work: succeeded; waiting for commands";
        assert_eq!(shown(10).await, ended);
        // What is answered at once is not reported.
        engine.execute(testing::immediate(json!({}))).await.unwrap();
        assert_eq!(shown(10).await, ended);
        let failing = testing::background(json!({"do": "fail"}));
        let record = engine.execute(failing).await.unwrap();
        engine.wait(record.id).await.unwrap();
        let ended = "execute_clean_step: failed; waiting for commands";
        assert_eq!(shown(10).await, ended);
        assert_eq!(announced.load(Ordering::Relaxed), 1);
    }
}
