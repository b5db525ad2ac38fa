//! Follows one command to its end, also over broken connections.

use std::time::Duration;

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::watch_command_response::Event;
use tokio::sync::watch;
use tokio::time::sleep;

use super::board::NodeBoard;
use super::interrupt::InterruptDecision;
use crate::connection::{CallFailure, ControlChannel, LostConnection};
use crate::error::{ControlError, OrderedCommand};
use crate::targets::NodeRef;
use crate::terminal::Screen;

/// The pause after a stream that ended too early.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A word for the state of a command.
pub(crate) fn state_word(state: v1::CommandState) -> &'static str {
    match state {
        // The machine has lost it by booting again.
        v1::CommandState::Unspecified => "lost",
        v1::CommandState::Running => "running",
        v1::CommandState::Succeeded => "succeeded",
        v1::CommandState::Failed => "failed",
        v1::CommandState::VersionMismatch => "version mismatch",
        v1::CommandState::Cancelled => "cancelled",
    }
}

/// A command that runs on a node.
#[derive(Debug)]
pub(super) struct FollowedOrder<'a> {
    pub(super) channel: &'a ControlChannel,
    pub(super) node: &'a NodeRef,
    /// Its identifier.
    pub(super) id: &'a str,
    pub(super) board: &'a NodeBoard,
    /// The line of the node.
    pub(super) line: usize,
}

impl FollowedOrder<'_> {
    /// Follows until the command has ended.
    ///
    /// # Errors
    /// It was left running, or it cannot be followed any longer.
    pub(super) async fn to_the_end(
        &self,
        mut decided: watch::Receiver<InterruptDecision>,
    ) -> Result<v1::CommandRecord, ControlError> {
        let mut after_sequence = 0;
        let mut lost = LostConnection::default();
        let mut is_cancelled = false;
        // Goal: the last record. Exit: it has come, or nobody wants it any more, or the connection
        // is lost for good.
        loop {
            let decision = *decided.borrow_and_update();
            match decision {
                InterruptDecision::Detach => {
                    return Err(ControlError::LeftRunning(self.ordered()));
                }
                InterruptDecision::Cancel if !is_cancelled => {
                    tokio::select! {
                        cancelled = self.cancel() => cancelled?,
                        // Who asks again does not want to wait for an answer.
                        _ = decided.changed() => continue,
                    }
                    is_cancelled = true;
                }
                InterruptDecision::Cancel | InterruptDecision::GoOn => {}
            }
            let watching = self.watch(&mut after_sequence, &mut lost);
            let watched = tokio::select! {
                watched = watching => watched,
                _ = decided.changed() => continue,
            };
            match watched {
                Ok(Some(record)) => return Ok(record),
                // The stream ended before its end.
                Ok(None) => sleep(AGAIN_AFTER).await,
                Err(failure) if failure.error_info_reason == "COMMAND_NOT_FOUND" => {
                    return Err(ControlError::CommandForgotten);
                }
                Err(failure) => {
                    if failure.is_lost() {
                        self.board
                            .activity(self.line, "the connection is lost, trying again");
                    }
                    lost.wait(failure).await?;
                }
            }
        }
    }

    /// What becomes of an order that was interrupted before its answer came. `is_open`: it was
    /// sent.
    ///
    /// # Errors
    /// It was not sent, it may run, or it was cancelled.
    pub(super) async fn interrupted(
        &self,
        is_open: bool,
        decided: watch::Receiver<InterruptDecision>,
    ) -> Result<v1::CommandRecord, ControlError> {
        if !is_open {
            return Err(ControlError::NotOrdered);
        }
        match self.to_the_end(decided).await {
            Ok(record) => ended_well(record),
            Err(ControlError::LeftRunning(command)) => Err(ControlError::LeftOpen(command)),
            // The order may still be on its way.
            Err(ControlError::Call(failure))
                if failure.error_info_reason == "COMMAND_NOT_FOUND" =>
            {
                Err(ControlError::LeftOpen(self.ordered()))
            }
            Err(error) => Err(error.after_order(self.id)),
        }
    }

    fn ordered(&self) -> OrderedCommand {
        let is_named = !self.channel.is_agent();
        OrderedCommand {
            id: self.id.to_owned(),
            node: is_named.then(|| self.node.shown().to_owned()),
        }
    }

    /// One stream of events; the last record if it came.
    async fn watch(
        &self,
        after_sequence: &mut u64,
        lost: &mut LostConnection,
    ) -> Result<Option<v1::CommandRecord>, CallFailure> {
        let request = v1::WatchCommandRequest {
            id: self.id.to_owned(),
            after_sequence: *after_sequence,
        };
        let request = self.channel.stream_of_node(&self.node.uuid, request);
        let failure = |status| self.channel.failure(status);
        let answer = self.channel.commands().watch_command(request).await;
        let mut events = answer.map_err(failure)?.into_inner();
        while let Some(event) = events.message().await.map_err(failure)? {
            lost.found();
            match event.event {
                Some(Event::Record(record)) if record.state() != v1::CommandState::Running => {
                    return Ok(Some(record));
                }
                Some(Event::Record(record)) => {
                    self.board.activity(self.line, &record.name);
                    if let Some(progress) = record.progress {
                        self.board.progress(self.line, progress);
                    }
                }
                Some(Event::Progress(progress)) => self.board.progress(self.line, progress),
                Some(Event::Milestone(milestone)) => {
                    *after_sequence = milestone.sequence;
                    let is_shown = matches!(
                        milestone.kind(),
                        v1::MilestoneKind::Phase | v1::MilestoneKind::Warning
                    );
                    if is_shown {
                        self.board.say(self.line, &milestone.text);
                    }
                }
                Some(Event::Log(_)) | None => {}
            }
        }
        Ok(None)
    }

    async fn cancel(&self) -> Result<(), ControlError> {
        let request = v1::CancelCommandRequest {
            id: self.id.to_owned(),
            reason: "interrupted at agentctl".to_owned(),
        };
        let request = self.channel.of_node(&self.node.uuid, request);
        let answer = self.channel.commands().cancel_command(request).await;
        answer.map_err(|status| self.channel.failure(status))?;
        self.board.activity(self.line, "is being cancelled");
        Ok(())
    }
}

/// The record of a command that runs or has succeeded.
///
/// # Errors
/// It has ended in another way.
pub(super) fn ended_well(record: v1::CommandRecord) -> Result<v1::CommandRecord, ControlError> {
    match record.state() {
        v1::CommandState::Running | v1::CommandState::Succeeded => Ok(record),
        _ => {
            let id = record.id.clone();
            Err(ControlError::CommandEnded(Box::new(record)).after_order(&id))
        }
    }
}

/// Follows the command that an agent is running, without a way to cancel it.
///
/// # Errors
/// It cannot be followed any longer, or did not end well.
pub(crate) async fn follow(
    channel: &ControlChannel,
    node: &NodeRef,
    id: &str,
    screen: Screen,
) -> Result<v1::CommandRecord, ControlError> {
    let board = NodeBoard::new(screen, [node.shown().to_owned()]);
    let (_decided, decision) = watch::channel(InterruptDecision::GoOn);
    let followed = FollowedOrder {
        channel,
        node,
        id,
        board: &board,
        line: 0,
    };
    let record = tokio::select! {
        record = followed.to_the_end(decision) => record?,
        never = board.keep_drawing() => match never {},
    };
    let is_good = record.state() == v1::CommandState::Succeeded;
    board.ended(
        0,
        is_good,
        &format!("{} {}", record.name, state_word(record.state())),
    );
    board.finish();
    if is_good {
        Ok(record)
    } else {
        Err(ControlError::CommandEnded(Box::new(record)))
    }
}
