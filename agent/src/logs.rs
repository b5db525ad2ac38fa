//! What the program tells people: one line per event on standard error. A serial console and
//! a journal are the readers, so there is no colour, and a line break inside an event is
//! written as `\n`.

use std::io::{self, Write};

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

pub mod archive;

/// What the names of our own modules begin with.
const OURS: [&str; 2] = ["ironic_agent", "ironic_shim"];

/// Starts the log of this process. A second call changes nothing.
///
/// `debug` lets more of our own lines through, never those of libraries: at that level HTTP
/// libraries print headers and URLs, and with them tokens.
pub fn start(debug: bool) {
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .with_writer(|| Lines(io::stderr()))
        .with_filter(filter(debug));
    // Fails only when there is a log already.
    let _ = tracing_subscriber::registry().with(layer).try_init();
}

fn filter(debug: bool) -> Targets {
    let ours = if debug { Level::DEBUG } else { Level::INFO };
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_targets(OURS.map(|target| (target, ours)))
}

/// Writes each event, which arrives whole and with a line break at its end, as one line and
/// by one system call, so that lines of several threads do not mix.
struct Lines<W>(W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = event.strip_suffix(b"\n").unwrap_or(event);
        let mut line = Vec::with_capacity(event.len() + 1);
        for byte in text {
            match byte {
                b'\n' => line.extend(b"\\n"),
                b'\r' => line.extend(b"\\r"),
                byte => line.push(*byte),
            }
        }
        line.push(b'\n');
        self.0.write_all(&line)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Debug, Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written while `events` run.
    fn written(debug: bool, events: impl FnOnce()) -> Vec<String> {
        let page = Page::default();
        let sink = page.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_target(false)
            .without_time()
            .with_writer(move || Lines(sink.clone()))
            .with_filter(filter(debug));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, events);
        let bytes = page.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines()
            .map(|line| line.trim_start().to_owned())
            .collect()
    }

    #[test]
    fn one_event_is_one_line() {
        let lines = written(false, || {
            tracing::info!(stderr = %"one\ntwo\r\nthree", "program failed");
            tracing::warn!("second");
        });
        assert_eq!(
            lines,
            [
                r"INFO program failed stderr=one\ntwo\r\nthree",
                "WARN second"
            ]
        );
    }

    /// The demo reads these lines from a console: no quotes, decimal numbers.
    #[test]
    fn progress_and_milestones_are_plain_words() {
        let lines = written(false, || {
            let (command, phase) = ("execute_deploy_step", "write_image");
            tracing::info!(%command, %phase, bytes = 123_456_u64, total = 0_u64, rate = 35_u64, "progress");
            tracing::info!(event = %"heartbeat_accepted", "milestone");
        });
        assert_eq!(
            lines,
            [
                "INFO progress command=execute_deploy_step phase=write_image bytes=123456 total=0 rate=35",
                "INFO milestone event=heartbeat_accepted",
            ]
        );
    }

    #[test]
    fn debug_is_for_our_own_lines() {
        let events = || {
            tracing::debug!("ours");
            tracing::debug!(target: "h2::codec", "agent-token: T");
            tracing::info!(target: "reqwest::connect", "agent_token=T");
            tracing::warn!(target: "rustls::conn", "theirs");
        };
        assert_eq!(written(false, events), ["WARN theirs"]);
        assert_eq!(written(true, events), ["DEBUG ours", "WARN theirs"]);
    }
}
