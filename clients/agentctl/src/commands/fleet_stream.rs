//! The changes of a gateway's nodes, also over broken connections.

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::watch_nodes_response::Content;
use tonic::{Request, Streaming};

use crate::arguments::{LabelSelector, NodeTargets};
use crate::connection::{CallFailure, ControlChannel, LostConnection};
use crate::error::ControlError;
use crate::targets::resolve;

/// What a stream of changes brings.
pub(super) enum FleetChange {
    /// Changes may be missing here, by the reason of the protocol: the list comes anew.
    Gap(String),
    /// The list of all nodes begins: what is known is forgotten.
    Anew,
    /// A part of the list.
    Listed(Vec<v1::Node>),
    /// The list is complete.
    Complete,
    /// Something has changed.
    Event(Box<v1::NodeEvent>),
}

/// The changes of the nodes that are meant.
pub(super) struct FleetStream<'a> {
    channel: &'a ControlChannel,
    selector: Option<LabelSelector>,
    /// The nodes by UUID; empty means all.
    uuids: Vec<String>,
    /// Goes on after what was seen.
    resume_token: String,
    /// The token of the message that is being read.
    next_token: String,
    messages: Option<Streaming<v1::WatchNodesResponse>>,
    /// What came and was not yet answered, the last first.
    waiting: Vec<FleetChange>,
    /// Whether a message has come: the token is one of this stream.
    has_read: bool,
    lost: LostConnection,
}

impl<'a> FleetStream<'a> {
    /// Watches the nodes that are named, or all; from a token, or from the list of nodes.
    ///
    /// # Errors
    /// A node is not known.
    pub(super) async fn new(
        channel: &'a ControlChannel,
        targets: &NodeTargets,
        resume_token: Option<String>,
    ) -> Result<Self, ControlError> {
        let mut uuids = Vec::new();
        if !targets.nodes.is_empty() {
            let nodes = resolve(channel, targets).await?;
            uuids.extend(nodes.into_iter().map(|node| node.uuid));
        }
        Ok(Self {
            channel,
            selector: targets.selector.clone(),
            uuids,
            resume_token: resume_token.unwrap_or_default(),
            next_token: String::new(),
            messages: None,
            waiting: Vec::new(),
            has_read: false,
            lost: LostConnection::default(),
        })
    }

    /// The token that goes on after the last change that was answered. A token is for a whole
    /// message: within one it is that of the message before, so that nothing is lost.
    pub(super) fn resume_token(&self) -> &str {
        &self.resume_token
    }

    /// The next change.
    ///
    /// # Errors
    /// The watch has failed, and going on makes no sense.
    pub(super) async fn next(&mut self) -> Result<FleetChange, CallFailure> {
        loop {
            if let Some(change) = self.waiting.pop() {
                if self.waiting.is_empty() && !self.next_token.is_empty() {
                    self.resume_token = std::mem::take(&mut self.next_token);
                }
                return Ok(change);
            }
            match self.read().await {
                Ok(Some(message)) => self.take(message),
                // The gateway ended the stream.
                Ok(None) => self.messages = None,
                Err(failure) => self.recover(failure).await?,
            }
        }
    }

    async fn read(&mut self) -> Result<Option<v1::WatchNodesResponse>, CallFailure> {
        let channel = self.channel;
        let failure = |status| channel.failure(status);
        let messages = match &mut self.messages {
            Some(messages) => messages,
            none => {
                let request = v1::WatchNodesRequest {
                    selector: self.selector.as_ref().map(LabelSelector::message),
                    resume_token: self.resume_token.clone(),
                };
                if self.resume_token.is_empty() {
                    self.waiting.push(FleetChange::Anew);
                }
                let answer = channel.fleet().watch_nodes(Request::new(request)).await;
                none.insert(answer.map_err(failure)?.into_inner())
            }
        };
        messages.message().await.map_err(failure)
    }

    fn take(&mut self, message: v1::WatchNodesResponse) {
        self.lost.found();
        self.has_read = true;
        let token = message.resume_token;
        let is_meant = |uuid: &String| self.uuids.is_empty() || self.uuids.contains(uuid);
        match message.content {
            Some(Content::Nodes(mut list)) => {
                list.nodes.retain(|node| is_meant(&node.uuid));
                if list.complete {
                    self.waiting.insert(0, FleetChange::Complete);
                }
                self.waiting
                    .insert(usize::from(list.complete), FleetChange::Listed(list.nodes));
            }
            Some(Content::Events(events)) => {
                let events = events.events.into_iter().rev();
                let meant = events
                    .filter(|event| event.node.as_ref().is_some_and(|node| is_meant(&node.uuid)));
                let changes = meant.map(|event| FleetChange::Event(Box::new(event)));
                let changes: Vec<_> = changes.collect();
                self.waiting.splice(0..0, changes);
            }
            Some(Content::Bookmark(_)) | None => {}
        }
        if self.waiting.is_empty() && !token.is_empty() {
            self.resume_token = token;
        } else {
            self.next_token = token;
        }
    }

    async fn recover(&mut self, failure: CallFailure) -> Result<(), CallFailure> {
        self.messages = None;
        match failure.error_info_reason.as_str() {
            // A token that the caller has given is the caller's to give up.
            "WATCH_EXPIRED" | "POLICY_CHANGED" if self.has_read => {
                self.resume_token.clear();
                self.next_token.clear();
                self.waiting = vec![FleetChange::Gap(failure.error_info_reason)];
                Ok(())
            }
            "WATCHER_SLOW" => Ok(()),
            _ => {
                self.waiting
                    .retain(|change| !matches!(change, FleetChange::Anew));
                self.lost.wait(failure).await
            }
        }
    }
}
