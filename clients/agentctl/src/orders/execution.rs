//! Gives an order to nodes, several at once, and follows what becomes of it.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use ironic_agent_protocol::v1;
use tokio::sync::watch;
use uuid::Uuid;

use super::board::NodeBoard;
use super::command::PreparedOrder;
use super::follow::{FollowedOrder, state_word};
use super::interrupt::{InterruptDecision, listen};
use crate::arguments::ExecutionArguments;
use crate::connection::{ControlChannel, LostConnection};
use crate::error::ControlError;
use crate::output::quantity;
use crate::targets::{NodeOutcomes, NodeRef};
use crate::terminal::Screen;

/// An order that is given to nodes.
#[derive(Debug)]
pub(crate) struct Execution<'a> {
    /// Where the nodes are.
    pub(crate) channel: &'a ControlChannel,
    /// What is ordered.
    pub(crate) order: &'a PreparedOrder,
    /// How.
    pub(crate) arguments: &'a ExecutionArguments,
    /// How many nodes at once.
    pub(crate) parallel: u16,
    /// Where it is shown.
    pub(crate) screen: Screen,
}

impl Execution<'_> {
    /// Gives commands, and follows each to its end unless it is detached.
    pub(crate) async fn run(&self, nodes: Vec<NodeRef>) -> NodeOutcomes<v1::CommandRecord> {
        let names = nodes.iter().map(|node| node.shown().to_owned());
        let board = NodeBoard::new(self.screen, names);
        let (decided, decision) = watch::channel(InterruptDecision::GoOn);
        let tasks = nodes.into_iter().enumerate().map(|(line, node)| {
            let (board, decision) = (&board, decision.clone());
            async move {
                let outcome = self.one(&node, line, board, decision).await;
                self.note(&outcome, line, board);
                (node, outcome)
            }
        });
        let working = stream::iter(tasks).buffered(usize::from(self.parallel));
        let outcomes = tokio::select! {
            outcomes = working.collect() => outcomes,
            never = board.keep_drawing() => match never {},
            () = listen(self.arguments.on_interrupt, self.screen, &board, &decided) => Vec::new(),
        };
        board.finish();
        outcomes
    }

    async fn one(
        &self,
        node: &NodeRef,
        line: usize,
        board: &NodeBoard,
        decision: watch::Receiver<InterruptDecision>,
    ) -> Result<v1::CommandRecord, ControlError> {
        if *decision.borrow() != InterruptDecision::GoOn {
            return Err(ControlError::NotOrdered);
        }
        board.activity(line, "is being ordered");
        // Chosen here: an order whose answer is lost is repeated and executed once.
        let id = Uuid::new_v4().to_string();
        let request = v1::ExecuteCommandRequest {
            command: Some(self.order.command(node)?),
            id: id.clone(),
            validate_only: false,
            deadline: self.arguments.deadline.map(protocol_duration),
        };
        let mut record = self.give(node, request).await?;
        let runs = record.state() == v1::CommandState::Running;
        if runs && !self.arguments.detach {
            let followed = FollowedOrder {
                channel: self.channel,
                node,
                id: &id,
                board,
                line,
            };
            record = followed.to_the_end(decision).await?;
        }
        match record.state() {
            v1::CommandState::Running | v1::CommandState::Succeeded => Ok(record),
            _ => Err(ControlError::CommandEnded(Box::new(record))),
        }
    }

    /// Gives a command, again and again while the answer is lost, but in one boot of the machine
    /// only.
    async fn give(
        &self,
        node: &NodeRef,
        request: v1::ExecuteCommandRequest,
    ) -> Result<v1::CommandRecord, ControlError> {
        let (mut lost, mut sent_in) = (LostConnection::default(), None);
        loop {
            match self.attempt(node, &request, &mut sent_in).await {
                Err(ControlError::Call(failure)) => lost.wait(failure).await?,
                ended => return ended,
            }
        }
    }

    /// Gives a command once. Another boot of the machine has no record of a command whose answer
    /// was lost, and would execute it a second time.
    async fn attempt(
        &self,
        node: &NodeRef,
        request: &v1::ExecuteCommandRequest,
        sent_in: &mut Option<String>,
    ) -> Result<v1::CommandRecord, ControlError> {
        let failure = |status| self.channel.failure(status);
        let mut calls = self.channel.commands();
        let status = self.channel.of_node(&node.uuid, v1::GetStatusRequest {});
        let status = calls.get_status(status).await.map_err(failure)?;
        let boot = status.into_inner().boot_id;
        if *sent_in.get_or_insert_with(|| boot.clone()) != boot {
            return Err(ControlError::CommandForgotten);
        }
        let request = self.channel.of_node(&node.uuid, request.clone());
        let answer = calls.execute_command(request).await.map_err(failure)?;
        let record = answer.into_inner().command;
        record.ok_or(ControlError::Incomplete("command"))
    }

    /// Shows how a node has ended.
    fn note(
        &self,
        outcome: &Result<v1::CommandRecord, ControlError>,
        line: usize,
        board: &NodeBoard,
    ) {
        match outcome {
            // What was answered at once is in the result.
            Ok(record)
                if !self.screen.is_live() && (!record.background || self.arguments.detach) => {}
            Ok(record) => {
                let word = state_word(record.state());
                let times = record.started_at.as_ref().zip(record.finished_at.as_ref());
                let took = times.map(|(from, to)| quantity::clock(quantity::between(from, to)));
                let took = took.map_or_else(String::new, |took| format!(" in {took}"));
                board.ended(line, true, &format!("{} {word}{took}", record.name));
            }
            // Said in full afterwards.
            Err(error) if self.screen.is_live() => board.ended(line, false, &error.to_string()),
            Err(_) => {}
        }
    }
}

fn protocol_duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).unwrap_or_default()
}
