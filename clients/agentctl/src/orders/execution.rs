//! Gives an order to nodes, several at once, and follows what becomes of it.

use std::time::Duration;

use ironic_agent_protocol::v1;
use tokio::sync::watch;
use uuid::Uuid;

use super::board::NodeBoard;
use super::command::PreparedOrder;
use super::delivery::OrderDelivery;
use super::follow::{FollowedOrder, ended_well, state_word};
use super::interrupt::{InterruptDecision, interruption, listen};
use crate::arguments::ExecutionArguments;
use crate::connection::ControlChannel;
use crate::error::ControlError;
use crate::output::quantity;
use crate::targets::{NodeOutcomes, NodeRef, at_once};
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
        let outcomes = tokio::select! {
            outcomes = at_once(tasks, self.parallel) => outcomes,
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
        mut decision: watch::Receiver<InterruptDecision>,
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
        let mut delivery = OrderDelivery::new(self.channel, node, request);
        let given = tokio::select! {
            given = delivery.give() => Some(given),
            () = interruption(&mut decision) => None,
        };
        let followed = FollowedOrder {
            channel: self.channel,
            node,
            id: &id,
            board,
            line,
        };
        let Some(given) = given else {
            return followed.interrupted(delivery.is_open(), decision).await;
        };
        let mut record = given.map_err(|error| delivery.failure(error))?;
        let runs = record.state() == v1::CommandState::Running;
        if runs && !self.arguments.detach {
            let ended = followed.to_the_end(decision).await;
            record = ended.map_err(|error| error.after_order(&id))?;
        }
        ended_well(record)
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
