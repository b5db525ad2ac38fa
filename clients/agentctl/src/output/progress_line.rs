//! One line for what a node is doing, with a bar where there is room.

use std::time::Duration;

use ironic_agent_protocol::v1;
use ironic_text::printable;
use unicode_width::UnicodeWidthStr as _;

use super::quantity;
use super::table::cut;

/// Columns of a bar without its brackets.
const MIN_BAR_COLUMNS: usize = 6;
const MAX_BAR_COLUMNS: usize = 40;

/// What one line says.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProgressLine {
    /// Which node.
    pub(crate) node: String,
    /// What it is doing, or how that ended.
    pub(crate) activity: String,
    /// How far it is.
    pub(crate) progress: Option<v1::Progress>,
    /// How it ended: true is well.
    pub(crate) ended: Option<bool>,
}

/// The line in at most `width` columns. `name_width` columns are for the name.
pub(crate) fn progress_line(
    line: &ProgressLine,
    name_width: usize,
    width: usize,
    colours: bool,
) -> String {
    let name = cut(&printable(&line.node), name_width);
    let mut text = format!("{name}{}", blanks(name_width.saturating_sub(name.width())));
    let activity = printable(&line.activity).into_owned();
    let Some(progress) = line.progress.as_ref().filter(|_| line.ended.is_none()) else {
        text.push_str("  ");
        text.push_str(&activity);
        return coloured(cut(&text, width), line.ended, colours);
    };
    let subject = match progress.subject.as_str() {
        "" => String::new(),
        subject => format!(" {}", printable(subject)),
    };
    text.push_str(&format!("  {}{subject}", printable(&progress.phase)));
    let figures = figures(progress);
    let room = width.saturating_sub(text.width() + 2);
    // What is shown: all figures and a bar, fewer figures, the share alone.
    let percent = quantity::percent(progress);
    let share = percent.map_or_else(
        || quantity::amount(progress.done, &progress.unit),
        |percent| format!("{percent:>3}%"),
    );
    let tail = match percent {
        Some(percent) if room >= figures.width() + MIN_BAR_COLUMNS + 4 => {
            let length = (room - figures.width() - 4).min(MAX_BAR_COLUMNS);
            format!("[{}] {figures}", bar(percent, length))
        }
        _ if room >= figures.width() => figures,
        _ => share,
    };
    if tail.width() > room {
        // The share counts more than the end of a long name.
        let kept = width.saturating_sub(tail.width() + 1);
        text = cut(&text, kept);
    }
    cut(&format!("{text} {tail}"), width)
}

/// Share, rate and time left.
fn figures(progress: &v1::Progress) -> String {
    let mut figures = match quantity::percent(progress) {
        Some(percent) => format!("{percent:>3}%"),
        None => quantity::amount(progress.done, &progress.unit),
    };
    if progress.rate > 0 {
        let rate = quantity::amount(progress.rate, &progress.unit);
        figures.push_str(&format!(" {rate}/s"));
    }
    let remaining = progress
        .remaining
        .and_then(|left| Duration::try_from(left).ok());
    if let Some(left) = remaining {
        figures.push_str(&format!(" {}", quantity::clock(left)));
    }
    figures
}

fn bar(percent: u64, length: usize) -> String {
    let filled = usize::try_from(percent).unwrap_or(100) * length / 100;
    let (filled, empty) = ("#".repeat(filled), "-".repeat(length - filled));
    format!("{filled}{empty}")
}

fn blanks(count: usize) -> String {
    " ".repeat(count)
}

fn coloured(text: String, ended: Option<bool>, colours: bool) -> String {
    match ended {
        Some(good) if colours => {
            let colour = if good { 32 } else { 31 };
            format!("\x1b[{colour}m{text}\x1b[0m")
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> ProgressLine {
        ProgressLine {
            node: "rack1-1".to_owned(),
            activity: "standby.prepare_image".to_owned(),
            progress: Some(v1::Progress {
                phase: "write_image".to_owned(),
                done: 512 << 20,
                total: Some(1 << 30),
                rate: 100 << 20,
                remaining: Some(prost_types::Duration {
                    seconds: 65,
                    nanos: 0,
                }),
                subject: "/dev/sda".to_owned(),
                ..v1::Progress::default()
            }),
            ended: None,
        }
    }

    #[test]
    fn a_wide_terminal_has_a_bar() {
        assert_eq!(
            progress_line(&line(), 8, 79, false),
            "rack1-1   write_image /dev/sda [###########-----------]  50% 100.0 MiB/s 1:05"
        );
    }

    #[test]
    fn every_width_is_kept_and_the_share_is_always_there() {
        for width in 20..120 {
            let text = progress_line(&line(), 8, width, true);
            assert!(text.width() <= width, "{width}: {text}");
            assert!(text.contains("50%"), "{width}: {text}");
        }
    }

    #[test]
    fn an_end_has_a_colour_unless_there_are_none() {
        let ended = ProgressLine {
            ended: Some(false),
            ..line()
        };
        let text = progress_line(&ended, 8, 60, true);
        assert_eq!(text, "\x1b[31mrack1-1   standby.prepare_image\x1b[0m");
        let text = progress_line(&ended, 8, 60, false);
        assert_eq!(text, "rack1-1   standby.prepare_image");
    }
}
