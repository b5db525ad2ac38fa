//! Brings one order to one node, also over connections and answers that are lost.

use ironic_agent_protocol::v1;

use crate::connection::{ControlChannel, LostConnection};
use crate::error::ControlError;
use crate::targets::NodeRef;

/// An order on its way to a node.
#[derive(Debug)]
pub(super) struct OrderDelivery<'a> {
    channel: &'a ControlChannel,
    node: &'a NodeRef,
    request: v1::ExecuteCommandRequest,
    /// The boot of the machine in which it was sent first.
    sent_in: Option<String>,
    /// Whether the agent may have taken it, and its answer has not come.
    is_open: bool,
}

impl<'a> OrderDelivery<'a> {
    /// An order whose identifier the caller has chosen: one whose answer is lost is repeated and
    /// executed once.
    pub(super) fn new(
        channel: &'a ControlChannel,
        node: &'a NodeRef,
        request: v1::ExecuteCommandRequest,
    ) -> Self {
        Self {
            channel,
            node,
            request,
            sent_in: None,
            is_open: false,
        }
    }

    /// Whether the agent may have taken the order, and its answer has not come.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Why it failed: with the identifier of the command that may run all the same.
    pub(super) fn failure(&self, error: ControlError) -> ControlError {
        if self.is_open {
            error.after_order(&self.request.id)
        } else {
            error
        }
    }

    /// Orders, again and again while the answer is lost or late, but in one boot of the machine
    /// only.
    ///
    /// # Errors
    /// The order was refused, or its answer did not come.
    pub(super) async fn give(&mut self) -> Result<v1::CommandRecord, ControlError> {
        let mut lost = LostConnection::default();
        loop {
            match self.attempt().await {
                Err(ControlError::Call(failure)) if self.is_open => {
                    lost.wait_for_answer(failure).await?;
                }
                Err(ControlError::Call(failure)) => lost.wait(failure).await?,
                ended => return ended,
            }
        }
    }

    /// Orders once. Another boot of the machine has no record of an order whose answer was lost,
    /// and would execute it a second time.
    async fn attempt(&mut self) -> Result<v1::CommandRecord, ControlError> {
        let channel = self.channel;
        let mut calls = channel.commands();
        let status = channel.of_node(&self.node.uuid, v1::GetStatusRequest {});
        let status = calls.get_status(status).await;
        let boot = status
            .map_err(|status| channel.failure(status))?
            .into_inner()
            .boot_id;
        if *self.sent_in.get_or_insert_with(|| boot.clone()) != boot {
            return Err(ControlError::CommandForgotten);
        }
        let request = channel.of_node(&self.node.uuid, self.request.clone());
        let was_open = std::mem::replace(&mut self.is_open, true);
        let answer = match calls.execute_command(request).await {
            Ok(answer) => answer,
            Err(status) => {
                let failure = channel.failure(status);
                self.is_open = was_open || failure.is_lost() || failure.is_late();
                return Err(failure.into());
            }
        };
        let record = answer.into_inner().command;
        record.ok_or(ControlError::Incomplete("command"))
    }
}
