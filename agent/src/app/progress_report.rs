//! Progress for a person: a bar that stays in its line on a terminal, lines elsewhere.

use std::time::{Duration, Instant};

use crate::task::Progress;

/// Characters between the brackets.
const BAR: u64 = 30;
/// Time between two lines where there is no terminal.
const LINES: Duration = Duration::from_secs(5);
/// Goes to the beginning of the line and empties it.
const AGAIN: &str = "\r\x1b[K";

/// Turns progress into text. Time is an argument.
#[derive(Debug)]
pub(super) struct ProgressReport {
    is_terminal: bool,
    /// A bar stands in the last line.
    is_open: bool,
    last_line: Option<Instant>,
}

impl ProgressReport {
    pub(super) fn new(is_terminal: bool) -> Self {
        Self {
            is_terminal,
            is_open: false,
            last_line: None,
        }
    }

    /// What to print for this progress; may be nothing.
    pub(super) fn progress(&mut self, progress: &Progress, now: Instant) -> String {
        if self.is_terminal {
            self.is_open = true;
            return format!("{AGAIN}{}{}", bar(progress), figures(progress));
        }
        let is_early = self
            .last_line
            .is_some_and(|last| now.duration_since(last) < LINES);
        if is_early && progress.total != Some(progress.done) {
            return String::new();
        }
        self.last_line = Some(now);
        format!("{}\n", figures(progress))
    }

    /// What to print before something else is.
    pub(super) fn end(&mut self) -> String {
        if std::mem::take(&mut self.is_open) {
            "\n".to_owned()
        } else {
            String::new()
        }
    }
}

fn bar(progress: &Progress) -> String {
    let Some(total) = progress.total.filter(|total| *total > 0) else {
        return String::new();
    };
    let share = |of: u64| u128::from(progress.done.min(total)) * u128::from(of) / u128::from(total);
    let filled = usize::try_from(share(BAR)).unwrap_or(0);
    let rest = usize::try_from(BAR).unwrap_or(0) - filled;
    format!(
        "[{}{}] {:3} % ",
        "#".repeat(filled),
        ".".repeat(rest),
        share(100)
    )
}

fn figures(progress: &Progress) -> String {
    let mut text = bytes(progress.done);
    if let Some(total) = progress.total {
        text += &format!(" of {}", bytes(total));
    }
    if let Some(written) = progress.written {
        text += &format!(" read, {} written", bytes(written));
    }
    text += &format!(", {}/s", bytes(progress.rate));
    match progress.remaining {
        Some(left) if progress.total != Some(progress.done) => {
            text += &format!(", {} s left", left.as_secs());
        }
        _ => {}
    }
    text
}

/// `1.25 GB`, `310 MB`.
fn bytes(count: u64) -> String {
    const MB: u64 = 1_000_000;
    if count >= 1000 * MB {
        format!("{}.{:02} GB", count / (1000 * MB), count / (10 * MB) % 100)
    } else {
        format!("{} MB", count / MB)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(done: u64, total: Option<u64>) -> Progress {
        Progress {
            done,
            total,
            rate: 1_250_000_000,
            written: total.map(|_| done / 2),
            remaining: total.map(|_| Duration::from_secs(2)),
            ..Progress::default()
        }
    }

    #[test]
    fn a_terminal_shows_one_line_that_changes() {
        let mut report = ProgressReport::new(true);
        let now = Instant::now();
        assert_eq!(report.end(), "");
        assert_eq!(
            report.progress(&progress(1_000_000_000, Some(4_000_000_000)), now),
            "\r\x1b[K[#######.......................]  25 % 1.00 GB of 4.00 GB read, 500 MB \
             written, 1.25 GB/s, 2 s left"
        );
        assert_eq!(
            report.progress(&progress(4_000_000_000, Some(4_000_000_000)), now),
            "\r\x1b[K[##############################] 100 % 4.00 GB of 4.00 GB read, 2.00 GB \
             written, 1.25 GB/s"
        );
        assert_eq!(
            report.progress(&progress(7_000_000, None), now),
            "\r\x1b[K7 MB, 1.25 GB/s"
        );
        assert_eq!(report.end(), "\n");
        assert_eq!(report.end(), "");
    }

    #[test]
    fn elsewhere_there_are_few_lines_and_always_the_last() {
        let mut report = ProgressReport::new(false);
        let start = Instant::now();
        let mut lines = String::new();
        for half_second in 0..=20 {
            let now = start + Duration::from_millis(half_second * 500);
            lines += &report.progress(
                &progress(half_second * 50_000_000, Some(1_000_000_000)),
                now,
            );
        }
        assert_eq!(lines.lines().count(), 3, "{lines}");
        assert!(
            lines.ends_with("1.00 GB of 1.00 GB read, 500 MB written, 1.25 GB/s\n"),
            "{lines}"
        );
        assert_eq!(report.end(), "");
    }
}
