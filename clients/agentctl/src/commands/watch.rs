//! `agentctl watch`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ironic_agent_protocol::v1;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Invocation;
use super::events::event_line;
use super::fleet_stream::{FleetChange, FleetStream};
use super::nodes::node_state_word;
use super::running::RunningCommands;
use crate::arguments::{OutputFormat, WatchArguments};
use crate::connection::ControlChannel;
use crate::error::ControlError;
use crate::exit_kind::ExitKind;
use crate::orders::board::visible;
use crate::orders::{follow, state_word};
use crate::output::Printer;
use crate::output::message::to_json;
use crate::output::progress_line::ProgressLine;
use crate::targets::{NaturalOrder, NodeRef, resolve};
use crate::terminal::LiveLines;

/// How often the lines are drawn at most.
const REDRAW: Duration = Duration::from_millis(200);
/// How long nothing must run until that is the end: a command that was just ordered is seen by then.
const IDLE_FOR: Duration = Duration::from_secs(1);

/// Follows nodes. Exit: with `--until-idle` when no command runs, or when the reader goes away.
pub(super) async fn run(
    invocation: &Invocation,
    arguments: &WatchArguments,
) -> Result<ExitKind, ControlError> {
    let channel = invocation.channel().await?;
    if channel.is_agent() {
        return one_agent(invocation, &channel, arguments).await;
    }
    let mut stream = FleetStream::new(&channel, &arguments.targets, None).await?;
    let printer = &invocation.printer;
    let view = RefCell::new(FleetView::new(printer));
    // Goal: what is known is what the gateway knows. Exit: the watch has failed.
    let reading = async {
        loop {
            let change = stream.next().await?;
            view.borrow_mut().take(change)?;
        }
    };
    tokio::select! {
        failed = reading => failed,
        ending = show(&view, arguments.until_idle) => Ok(ending),
    }
}

/// Draws what changes. Exit: with `until_idle` when no command runs.
async fn show(view: &RefCell<FleetView<'_>>, until_idle: bool) -> ExitKind {
    let mut ticks = interval(REDRAW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut view = view.borrow_mut();
        view.draw();
        if until_idle && view.is_idle() {
            view.finish();
            return view.ending();
        }
    }
}

/// Follows the command that one agent runs.
async fn one_agent(
    invocation: &Invocation,
    channel: &ControlChannel,
    arguments: &WatchArguments,
) -> Result<ExitKind, ControlError> {
    let nodes = resolve(channel, &arguments.targets).await?;
    let request = channel.request(v1::GetStatusRequest {});
    let status = channel.commands().get_status(request).await;
    let status = status.map_err(|status| channel.failure(status))?;
    let Some(running) = status.into_inner().running else {
        return if arguments.until_idle {
            Ok(ExitKind::Done)
        } else {
            Err(ControlError::NothingRuns)
        };
    };
    let printer = &invocation.printer;
    for node in &nodes {
        let followed = follow(channel, node, &running.id, printer.screen).await;
        let record = match &followed {
            Ok(record) => Some(record),
            Err(error) => error.record(),
        };
        // A person has read it on standard error.
        if let Some(record) = record.filter(|_| printer.format != OutputFormat::Table) {
            printer.part(|| Ok(to_json(record)?), node.shown(), String::new)?;
        }
        followed?;
    }
    Ok(ExitKind::Done)
}

/// What is known of the nodes, and what of it is shown.
struct FleetView<'a> {
    printer: &'a Printer,
    /// Lines that are drawn again; without a terminal, or for programs, changes are printed.
    is_live: bool,
    nodes: BTreeMap<NaturalOrder, v1::Node>,
    /// While a list comes anew: those that were known before.
    before: Vec<v1::Node>,
    running: RunningCommands,
    is_complete: bool,
    is_changed: bool,
    idle_since: Option<Instant>,
    live: LiveLines,
}

impl<'a> FleetView<'a> {
    fn new(printer: &'a Printer) -> Self {
        let screen = printer.screen;
        let is_table = printer.format == OutputFormat::Table;
        Self {
            printer,
            is_live: is_table && screen.is_live() && screen.shows_output(),
            nodes: BTreeMap::new(),
            before: Vec::new(),
            running: RunningCommands::default(),
            is_complete: false,
            is_changed: false,
            idle_since: None,
            live: LiveLines::default(),
        }
    }

    fn take(&mut self, change: FleetChange) -> Result<(), ControlError> {
        self.is_changed = true;
        let now = Instant::now();
        match change {
            FleetChange::Gap(_) => {}
            // What ran runs on until its agent is back: the gateway may have been started again.
            FleetChange::Anew => {
                self.before
                    .extend(std::mem::take(&mut self.nodes).into_values());
                self.is_complete = false;
            }
            FleetChange::Listed(nodes) => {
                for node in nodes {
                    self.print(&node, false, || node_line(&node))?;
                    self.running.take(&node, now);
                    self.nodes.insert(NaturalOrder::of(&node), node);
                }
            }
            FleetChange::Complete => self.complete(now)?,
            FleetChange::Event(event) => self.event(&event, now)?,
        }
        Ok(())
    }

    /// The list is complete: nodes that are not in it any more are removed.
    fn complete(&mut self, now: Instant) -> Result<(), ControlError> {
        self.is_complete = true;
        let listed: BTreeSet<_> = self.nodes.values().map(|node| node.uuid.as_str()).collect();
        for node in self
            .before
            .iter()
            .filter(|node| !listed.contains(node.uuid.as_str()))
        {
            self.print(node, true, || removed_line(node))?;
        }
        self.running.listed(|uuid| listed.contains(uuid), now);
        self.before.clear();
        Ok(())
    }

    fn event(&mut self, event: &v1::NodeEvent, now: Instant) -> Result<(), ControlError> {
        let Some(node) = event.node.clone() else {
            return Ok(());
        };
        let is_removed = event.kind() == v1::NodeEventKind::Removed;
        let is_progress = event.kind() == v1::NodeEventKind::CommandProgress;
        // Two lines a second for each node are too many to read.
        if !is_progress || self.printer.format != OutputFormat::Table {
            let shown = NodeRef::of(&node);
            self.print(&node, is_removed, || event_line(event, shown.shown()))?;
        }
        // Its name may be another one.
        self.nodes.retain(|_, known| known.uuid != node.uuid);
        if is_removed {
            self.running.forget(&node.uuid);
        } else {
            self.running.take(&node, now);
            self.nodes.insert(NaturalOrder::of(&node), node);
        }
        Ok(())
    }

    fn print(
        &self,
        node: &v1::Node,
        is_removed: bool,
        line: impl FnOnce() -> String,
    ) -> Result<(), ControlError> {
        if self.is_live {
            return Ok(());
        }
        let name = NodeRef::of(node);
        let value = || {
            let mut value = to_json(node)?;
            if is_removed {
                value["removed"] = true.into();
            }
            Ok(value)
        };
        self.printer.part(value, name.shown(), line)?;
        Ok(())
    }

    fn draw(&mut self) {
        if !self.is_live || !self.is_changed {
            return;
        }
        self.is_changed = false;
        let lines: Vec<_> = self.nodes.values().map(progress).collect();
        let colours = self.printer.screen.has_colours();
        self.live.draw(&visible(&lines, LiveLines::room(), colours));
    }

    fn finish(&mut self) {
        self.is_changed = true;
        self.draw();
        self.live.keep();
    }

    /// Whether no command has run for a while.
    fn is_idle(&mut self) -> bool {
        let now = Instant::now();
        if !self.is_complete || self.running.any(now) {
            self.idle_since = None;
            return false;
        }
        let since = *self.idle_since.get_or_insert(now);
        now.saturating_duration_since(since) >= IDLE_FOR
    }

    /// How the last commands of the nodes have ended together.
    fn ending(&self) -> ExitKind {
        let commands = self.nodes.values().filter_map(|node| node.command.as_ref());
        let kinds = commands.map(|command| match command.state() {
            v1::CommandState::Succeeded | v1::CommandState::Running => ExitKind::Done,
            v1::CommandState::Cancelled => ExitKind::CommandCancelled,
            // The machine has lost it by booting again.
            v1::CommandState::Unspecified => ExitKind::OutcomeUnknown,
            v1::CommandState::Failed | v1::CommandState::VersionMismatch => ExitKind::CommandFailed,
        });
        let unknown = std::iter::repeat_n(ExitKind::OutcomeUnknown, self.running.unknown());
        ExitKind::of_several(kinds.chain(unknown))
    }
}

fn node_line(node: &v1::Node) -> String {
    let line = progress(node);
    let text = format!("{} {}", line.node, line.activity);
    ironic_text::printable(&text).into_owned()
}

fn removed_line(node: &v1::Node) -> String {
    let text = format!("{} removed", NodeRef::of(node).shown());
    ironic_text::printable(&text).into_owned()
}

/// What a node is doing, as a line.
fn progress(node: &v1::Node) -> ProgressLine {
    let state = node_state_word(node.state());
    let name = NodeRef::of(node).shown().to_owned();
    let Some(command) = &node.command else {
        return ProgressLine {
            node: name,
            activity: state.to_owned(),
            ..ProgressLine::default()
        };
    };
    let word = state_word(command.state());
    let is_attached = node.state() == v1::NodeState::Attached;
    let prefix = if is_attached {
        String::new()
    } else {
        format!("{state}, ")
    };
    let mut activity = format!("{prefix}{} {word}", command.name);
    if let Some(failure) = &command.failure {
        activity.push_str(&format!(": {}", failure.details));
    }
    let is_running = command.state() == v1::CommandState::Running;
    ProgressLine {
        node: name,
        activity,
        progress: command.progress.clone().filter(|_| is_running),
        ended: (!is_running).then(|| command.state() == v1::CommandState::Succeeded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::Screen;

    /// A node with the command that it has, if any.
    fn node(state: v1::NodeState, command: Option<v1::CommandState>) -> v1::Node {
        v1::Node {
            uuid: "u".to_owned(),
            name: "node-1".to_owned(),
            state: state.into(),
            command: command.map(|state| v1::NodeCommand {
                name: "order.erase".to_owned(),
                state: state.into(),
                ..v1::NodeCommand::default()
            }),
            ..v1::Node::default()
        }
    }

    fn printer() -> Printer {
        Printer {
            format: OutputFormat::Table,
            screen: Screen::default(),
        }
    }

    fn list(view: &mut FleetView<'_>, node: v1::Node) {
        view.take(FleetChange::Anew).unwrap();
        view.take(FleetChange::Listed(vec![node])).unwrap();
        view.take(FleetChange::Complete).unwrap();
    }

    #[test]
    fn a_gateway_that_was_started_again_makes_no_command_end() {
        let printer = printer();
        let mut view = FleetView::new(&printer);
        // Nothing is printed.
        view.is_live = true;
        let running = Some(v1::CommandState::Running);
        list(&mut view, node(v1::NodeState::Attached, running));
        list(&mut view, node(v1::NodeState::Away, None));
        assert!(!view.is_idle());
        assert_eq!(view.idle_since, None, "it waits for the agent");
        let ended = Some(v1::CommandState::Cancelled);
        list(&mut view, node(v1::NodeState::Attached, ended));
        assert!(!view.is_idle());
        assert_ne!(view.idle_since, None);
        assert_eq!(view.ending(), ExitKind::CommandCancelled);
    }

    #[test]
    fn lines_are_in_the_order_in_which_a_person_counts() {
        let printer = printer();
        let mut view = FleetView::new(&printer);
        view.is_live = true;
        let names = ["node-1", "node-9", "node-10"];
        let nodes = names.iter().rev().map(|name| v1::Node {
            uuid: format!("uuid of {name}"),
            name: (*name).to_owned(),
            ..v1::Node::default()
        });
        let nodes = nodes.collect();
        view.take(FleetChange::Listed(nodes)).unwrap();
        let shown: Vec<_> = view.nodes.values().map(|node| node.name.as_str()).collect();
        assert_eq!(shown, names);
    }

    #[test]
    fn an_end_that_nobody_saw_is_no_success() {
        let printer = printer();
        let mut view = FleetView::new(&printer);
        view.is_live = true;
        let running = Some(v1::CommandState::Running);
        list(&mut view, node(v1::NodeState::Attached, running));
        list(&mut view, node(v1::NodeState::Attached, None));
        assert!(!view.is_idle());
        assert_ne!(view.idle_since, None);
        assert_eq!(view.ending(), ExitKind::OutcomeUnknown);
    }
}
