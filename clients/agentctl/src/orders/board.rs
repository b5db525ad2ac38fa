//! What nodes that work on an order are doing, as lines: live on a terminal, else as they happen.

use std::cell::RefCell;
use std::time::Duration;

use ironic_agent_protocol::v1;
use ironic_text::printable;
use tokio::time::{MissedTickBehavior, interval};
use unicode_width::UnicodeWidthStr as _;

use crate::output::progress_line::{ProgressLine, progress_line};
use crate::terminal::{LiveLines, Screen};

/// How often lines are drawn at most.
const REDRAW: Duration = Duration::from_millis(200);
/// The widest name.
const WIDEST_NAME: usize = 24;

/// The lines of several nodes.
#[derive(Debug)]
pub(crate) struct NodeBoard {
    screen: Screen,
    state: RefCell<BoardState>,
}

#[derive(Debug, Default)]
struct BoardState {
    lines: Vec<ProgressLine>,
    live: LiveLines,
    is_changed: bool,
    /// While a question is asked, nothing is drawn.
    is_paused: bool,
}

impl NodeBoard {
    /// Lines for these nodes, which wait.
    pub(crate) fn new(screen: Screen, nodes: impl IntoIterator<Item = String>) -> Self {
        let lines = nodes.into_iter().map(|node| ProgressLine {
            node,
            activity: "waits".to_owned(),
            ..ProgressLine::default()
        });
        Self {
            screen,
            state: RefCell::new(BoardState {
                lines: lines.collect(),
                is_changed: true,
                ..BoardState::default()
            }),
        }
    }

    /// What a node is doing now.
    pub(crate) fn activity(&self, at: usize, activity: &str) {
        self.change(at, |line| activity.clone_into(&mut line.activity));
    }

    /// How far a node is.
    pub(crate) fn progress(&self, at: usize, progress: v1::Progress) {
        self.change(at, |line| line.progress = Some(progress));
    }

    /// How a node has ended.
    pub(crate) fn ended(&self, at: usize, is_good: bool, text: &str) {
        self.change(at, |line| {
            line.ended = Some(is_good);
            text.clone_into(&mut line.activity);
        });
        self.say(at, text);
    }

    /// Something that happened once: a line of its own where nothing is drawn live.
    pub(crate) fn say(&self, at: usize, text: &str) {
        if self.screen.is_live() {
            self.activity(at, text);
            return;
        }
        let state = self.state.borrow();
        let node = state.lines.get(at).map_or("", |line| line.node.as_str());
        eprintln!("{}: {}", printable(node), printable(text));
    }

    fn change(&self, at: usize, change: impl FnOnce(&mut ProgressLine)) {
        let mut state = self.state.borrow_mut();
        if let Some(line) = state.lines.get_mut(at) {
            change(line);
            state.is_changed = true;
        }
    }

    /// Stops or goes on drawing; stopping removes the lines.
    pub(crate) fn pause(&self, is_paused: bool) {
        let mut state = self.state.borrow_mut();
        if is_paused && self.screen.is_live() {
            state.live.clear();
        }
        state.is_paused = is_paused;
        state.is_changed = true;
    }

    /// Draws what changes. Exit: never; it is dropped when the work is done.
    pub(crate) async fn keep_drawing(&self) -> std::convert::Infallible {
        let mut ticks = interval(REDRAW);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.draw();
        }
    }

    /// Draws the last state and leaves it on the terminal.
    pub(crate) fn finish(&self) {
        self.draw();
        self.state.borrow_mut().live.keep();
    }

    fn draw(&self) {
        let mut state = self.state.borrow_mut();
        if !self.screen.is_live() || state.is_paused || !state.is_changed {
            return;
        }
        state.is_changed = false;
        let lines = visible(&state.lines, LiveLines::room(), self.screen.has_colours());
        state.live.draw(&lines);
    }
}

/// The lines that there is room for: those at work first, in their order, and a count of the rest.
pub(crate) fn visible(lines: &[ProgressLine], room: (usize, usize), colours: bool) -> Vec<String> {
    let (width, rows) = room;
    let name_width = lines.iter().map(|line| printable(&line.node).width()).max();
    let name_width = name_width.unwrap_or(0).min(WIDEST_NAME).min(width / 3);
    let show = |line: &ProgressLine| progress_line(line, name_width, width, colours);
    if lines.len() <= rows {
        return lines.iter().map(show).collect();
    }
    let is_at_work = |line: &&ProgressLine| line.progress.is_some() && line.ended.is_none();
    let (at_work, others): (Vec<_>, Vec<_>) = lines.iter().partition(is_at_work);
    let shown = at_work.iter().chain(&others).take(rows - 1);
    let mut texts: Vec<_> = shown.map(|line| show(line)).collect();
    let count = |ended| lines.iter().filter(|line| line.ended == ended).count();
    let rest = format!(
        "{} nodes: {} not ended, {} done, {} failed",
        lines.len(),
        count(None),
        count(Some(true)),
        count(Some(false))
    );
    texts.push(crate::output::table::cut(&rest, width));
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_works_is_seen_where_there_is_no_room_for_all() {
        let lines: Vec<_> = (0..30)
            .map(|number| ProgressLine {
                node: format!("node-{number}"),
                activity: "waits".to_owned(),
                progress: (number == 25).then(v1::Progress::default),
                ended: (number < 5).then_some(true),
            })
            .collect();
        let shown = visible(&lines, (40, 10), false);
        assert_eq!(shown.len(), 10);
        assert!(shown[0].starts_with("node-25"), "{shown:?}");
        assert_eq!(shown[9], "30 nodes: 25 not ended, 5 done, 0 failed");
        assert_eq!(visible(&lines, (40, 30), false).len(), 30);
        assert_eq!(visible(&lines, (40, 1), false).len(), 1);
    }
}
