//! Records of the logs of nodes, as they come, also over broken connections.

use std::time::Duration;

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::follow_logs_response::Event;
use ironic_text::printable;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::super::Invocation;
use crate::arguments::{LogSourceArgument, LogsArguments};
use crate::connection::{CallFailure, ControlChannel, LostConnection};
use crate::error::ControlError;
use crate::exit_kind::ExitKind;
use crate::output::message::to_json;
use crate::output::{OutputError, Printer, complain};
use crate::targets::{NodeRef, each};

/// The pause after a stream that ended although more was asked for.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Prints the records of nodes. Exit: all that is kept was printed, or never with `--follow`.
pub(super) async fn print(
    invocation: &Invocation,
    channel: &ControlChannel,
    nodes: Vec<NodeRef>,
    arguments: &LogsArguments,
) -> Result<ExitKind, ControlError> {
    let parallel = if arguments.follow {
        // One that waits for its turn would wait until the end of the others.
        u16::try_from(nodes.len()).unwrap_or(u16::MAX)
    } else {
        invocation.connection.parallel
    };
    let names_nodes = nodes.len() > 1;
    let outcomes = each(nodes, parallel, async |node| {
        let reader = LogReader {
            channel,
            node,
            printer: &invocation.printer,
            arguments,
            names_nodes,
        };
        reader.read().await
    })
    .await;
    let mut kinds = Vec::new();
    for (node, outcome) in outcomes {
        match outcome {
            Ok(()) => {}
            // There is nobody to tell anything.
            Err(ControlError::Output(error)) => return Err(error.into()),
            Err(error) => {
                complain(Some(&node), &error);
                kinds.push(error.kind());
            }
        }
    }
    Ok(ExitKind::of_several(kinds))
}

/// Reads the logs of one node.
struct LogReader<'a> {
    channel: &'a ControlChannel,
    node: &'a NodeRef,
    printer: &'a Printer,
    arguments: &'a LogsArguments,
    /// Whether lines say of which node they are.
    names_nodes: bool,
}

impl LogReader<'_> {
    async fn read(&self) -> Result<(), ControlError> {
        let mut cursor = self.arguments.cursor.clone().unwrap_or_default();
        let mut lost = LostConnection::default();
        // Goal: every record once. Exit: the last one that is kept, unless more are to come.
        loop {
            match self.stream(&mut cursor, &mut lost).await {
                Ok(()) if !self.arguments.follow => return Ok(()),
                Ok(()) => sleep(AGAIN_AFTER).await,
                Err(ControlError::Call(failure))
                    if failure.error_info_reason == "LOG_READER_SLOW" => {}
                Err(ControlError::Call(failure)) => lost.wait(failure).await?,
                Err(error) => return Err(error),
            }
        }
    }

    async fn stream(
        &self,
        cursor: &mut String,
        lost: &mut LostConnection,
    ) -> Result<(), ControlError> {
        let begins = cursor.is_empty();
        let request = v1::FollowLogsRequest {
            sources: self.arguments.source.iter().map(source).collect(),
            follow: self.arguments.follow,
            tail: self.arguments.tail.filter(|_| begins),
            cursor: cursor.clone(),
        };
        let failure = |status| -> CallFailure { self.channel.failure(status) };
        let request = self.channel.stream_of_node(&self.node.uuid, request);
        let answer = self.channel.commands().follow_logs(request).await;
        let mut messages = answer.map_err(failure)?.into_inner();
        while let Some(message) = messages.message().await.map_err(failure)? {
            lost.found();
            match &message.event {
                Some(Event::Opening(opening)) if begins => self.say_unavailable(opening),
                Some(Event::Record(record)) => self.print(record, &message.cursor)?,
                Some(Event::Gap(gap)) => self.print_gap(gap, &message.cursor)?,
                Some(Event::Opening(_)) | None => {}
            }
            *cursor = message.cursor;
        }
        Ok(())
    }

    fn say_unavailable(&self, opening: &v1::LogOpening) {
        for missing in &opening.unavailable {
            let source = source_word(missing.source());
            let line = format!(
                "agentctl: {}: the log of the {source} cannot be read: {}",
                self.node.shown(),
                missing.reason
            );
            eprintln!("{}", printable(&line));
        }
    }

    fn print(&self, record: &v1::LogRecord, cursor: &str) -> Result<(), OutputError> {
        let value = || Ok(self.entry(to_json(record)?, cursor));
        self.printer.part(value, &record.text, || {
            let at = record.at.as_ref().map(ToString::to_string);
            let line = format!(
                "{}{} {} {} {}",
                self.prefix(),
                at.unwrap_or_default(),
                source_word(record.source()),
                level_word(record.level()),
                record.text
            );
            printable(&line).into_owned()
        })
    }

    fn print_gap(&self, gap: &v1::LogGap, cursor: &str) -> Result<(), OutputError> {
        let text = gap_text(gap);
        let value = || Ok(self.entry(json!({"gap": to_json(gap)?}), cursor));
        self.printer
            .part(value, &text, || format!("{}-- {text} --", self.prefix()))
    }

    /// An entry of `-o json`.
    fn entry(&self, mut value: Value, cursor: &str) -> Value {
        value["node"] = json!({"uuid": self.node.uuid, "name": self.node.name});
        value["cursor"] = cursor.into();
        value
    }

    fn prefix(&self) -> String {
        if self.names_nodes {
            format!("{} ", printable(self.node.shown()))
        } else {
            String::new()
        }
    }
}

fn source(source: &LogSourceArgument) -> i32 {
    let source = match source {
        LogSourceArgument::Agent => v1::LogSource::Agent,
        LogSourceArgument::Kernel => v1::LogSource::Kernel,
    };
    source.into()
}

fn source_word(source: v1::LogSource) -> &'static str {
    match source {
        v1::LogSource::Unspecified => "machine",
        v1::LogSource::Agent => "agent",
        v1::LogSource::Kernel => "kernel",
    }
}

fn level_word(level: v1::LogLevel) -> &'static str {
    match level {
        v1::LogLevel::Unspecified => "-",
        v1::LogLevel::Error => "error",
        v1::LogLevel::Warn => "warn",
        v1::LogLevel::Info => "info",
        v1::LogLevel::Debug => "debug",
    }
}

fn gap_text(gap: &v1::LogGap) -> String {
    let records = gap.records.map_or_else(
        || "records".to_owned(),
        |records| format!("{records} records"),
    );
    let why = match gap.reason() {
        v1::LogGapReason::Overwritten => "were overwritten before they were read",
        v1::LogGapReason::AgentRestarted => "are gone: the agent was started again",
        v1::LogGapReason::MachineRestarted => "are gone: the machine was started again",
        v1::LogGapReason::Unspecified => "are lost",
    };
    format!("{records} of the {} {why}", source_word(gap.source()))
}
