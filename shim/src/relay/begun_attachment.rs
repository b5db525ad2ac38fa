//! An attachment whose agent can be called, from its beginning to its end.

use std::io;

use ironic_agent_protocol::v1;
use ironic_text::error_chain;
use ironic_tunnel::ConnectionDriver;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{info, warn};

use crate::agents::{AttachmentId, AttachmentSignals};
use crate::fleet::AttachmentNumber;
use crate::gateway::Gateway;
use crate::metrics::labels::DetachCause;

/// An attachment whose agent can be called.
pub(super) struct BegunAttachment<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) node: &'a str,
    pub(super) id: &'a AttachmentId,
    /// As the fleet knows it.
    pub(super) shown: AttachmentNumber,
    /// Whether it is to end.
    pub(super) signals: AttachmentSignals,
    /// Cancelled when the agent says that it is attached elsewhere.
    pub(super) moved: CancellationToken,
}

impl BegunAttachment<'_> {
    /// Drives the connection. Answers why it has ended, and what the agent hears if this program
    /// ends it.
    pub(super) async fn until_it_ends(
        &self,
        mut driver: ConnectionDriver,
        leave: oneshot::Sender<v1::AttachDraining>,
    ) -> (DetachCause, Option<Status>) {
        let stop = self.gateway.stopping();
        let AttachmentSignals { displaced, stalled } = &self.signals;
        let mut asking = std::pin::pin!(self.ask_to_leave(leave));
        let (mut is_asked, mut has_moved) = (false, false);
        // Goal: calls are carried for as long as there are any. Exit: the connection ends, also
        // because the agent is attached elsewhere and its last call here has ended; or this
        // program has another reason to end it.
        loop {
            tokio::select! {
                // A displaced connection has no caller any more, which ends it, too.
                biased;
                // An agent that was asked to leave is attached elsewhere, as that gateway has said.
                () = displaced.cancelled(), if is_asked && !has_moved => {
                    has_moved = true;
                    self.leave();
                }
                () = displaced.cancelled(), if !is_asked => {
                    let status = Status::aborted("a later attachment took its place");
                    return (DetachCause::Replaced, Some(status));
                }
                () = stalled.cancelled() => {
                    warn!(node = %self.node, "the agent does not take what it is sent: its attachment ends");
                    let status = Status::unavailable("the agent does not take what it is sent");
                    return (DetachCause::Lost, Some(status));
                }
                () = stop.cancelled() => {
                    let status = Status::unavailable("the gateway stops");
                    return (DetachCause::Stopped, Some(status));
                }
                () = self.moved.cancelled(), if !has_moved => {
                    has_moved = true;
                    self.leave();
                }
                ended = &mut driver => return (self.ended(ended, has_moved), None),
                () = &mut asking, if !is_asked => is_asked = true,
            }
        }
    }

    /// Nothing new is asked of the agent here. Without a handle its connection ends after the last
    /// call, and who follows its commands lets go of it when it is shown as lost.
    fn leave(&self) {
        self.gateway.detach(self.node, self.id);
        self.gateway.fleet().lost(self.node, self.shown);
    }

    /// Asks the agent to attach elsewhere, when its turn has come in a drain.
    async fn ask_to_leave(&self, leave: oneshot::Sender<v1::AttachDraining>) {
        let plan = self.gateway.draining().await;
        tokio::time::sleep_until(plan.ask_at(self.node)).await;
        let left = plan.ends_at().saturating_duration_since(Instant::now());
        let ends_in = prost_types::Duration::try_from(left).ok();
        // An attachment that ends hears nothing.
        let _ = leave.send(v1::AttachDraining { ends_in });
    }

    fn ended(&self, ended: io::Result<()>, has_moved: bool) -> DetachCause {
        let (cause, reason) = match ended {
            _ if has_moved => (DetachCause::Moved, "attached elsewhere".to_owned()),
            Ok(()) => (DetachCause::Closed, "closed".to_owned()),
            Err(error) => (DetachCause::Lost, error_chain(&error)),
        };
        info!(event = %"agent_detached", node = %self.node, %reason, "milestone");
        cause
    }
}
