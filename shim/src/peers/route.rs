//! Where a request for a node goes, and how long it waits for that to be known.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

use super::directory::DirectoryAway;
use super::locations::Location;
use super::{Peers, lock};
use crate::agents::attachment::{Away, HOLD, HeldRequest};

/// How often the directory is asked again while a request waits.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Where a request for a node goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeRoute {
    /// To the agent, which is attached here.
    Here,
    /// To this replica.
    At(Arc<str>),
    /// Nowhere: the service of this node has ended.
    Closed,
    /// Nowhere: nobody knows the node.
    Unknown,
}

/// A search for a node, which goes on when the request failed at what it found.
#[derive(Debug)]
pub struct Search<'a> {
    peers: &'a Peers,
    node_uuid: &'a str,
    deadline: Instant,
    /// Whether the caller has shown that it may call the node.
    is_proved: bool,
    /// Where the request has just failed.
    failed: Option<Arc<str>>,
    /// Leave to wait.
    held: Option<HeldRequest>,
}

/// Why a node was not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(transparent)]
pub struct NotFound(#[from] pub Away);

impl Peers {
    /// Begins to look for a node; a request waits 45 s at most. Those of callers that have not shown
    /// a token that is proved have few places to wait.
    #[must_use]
    pub fn search<'a>(&'a self, node_uuid: &'a str, is_proved: bool) -> Search<'a> {
        Search {
            is_proved,
            ..self.search_until(node_uuid, Instant::now() + HOLD)
        }
    }

    /// Begins to look for a node for a caller that may call it, with a deadline of the caller's.
    #[must_use]
    pub fn search_until<'a>(&'a self, node_uuid: &'a str, deadline: Instant) -> Search<'a> {
        Search {
            peers: self,
            node_uuid,
            deadline,
            is_proved: true,
            failed: None,
            held: None,
        }
    }
}

impl Search<'_> {
    /// Says that the request failed at a replica: it is tried there again only after a pause.
    pub fn failed(&mut self, replica: &Arc<str>) {
        self.failed = Some(Arc::clone(replica));
    }

    /// Where the request goes. Waits for the agent to attach somewhere if it is known and away.
    ///
    /// # Errors
    /// It did not in time, or too many requests wait.
    pub async fn route(&mut self) -> Result<NodeRoute, NotFound> {
        // Goal: a route. Exit: there is one, or the time is over.
        loop {
            let waiter = self.peers.0.waiting.join(self.node_uuid);
            if let Some(route) = self.look(&waiter.happened).await? {
                return Ok(route);
            }
        }
    }

    /// Looks once, and waits for a change if nothing was found.
    async fn look(&mut self, notify: &Notify) -> Result<Option<NodeRoute>, NotFound> {
        let notified = notify.notified();
        tokio::pin!(notified);
        // From here on no attachment is missed.
        notified.as_mut().enable();
        let is_known = match self.known_route() {
            Ok(route) => return Ok(Some(route)),
            Err(is_known) => is_known,
        };
        let is_known = match self.ask().await {
            Ok(Some(route)) => return Ok(Some(route)),
            Ok(None) => true,
            Err(DirectoryAway) => match self.once_more() {
                Some(replica) => return Ok(Some(NodeRoute::At(replica))),
                None => is_known,
            },
        };
        self.hold(is_known)?;
        let again = Instant::now() + ASK_AGAIN;
        tokio::select! {
            () = notified => {}
            () = tokio::time::sleep_until(again.min(self.deadline)) => {}
        }
        self.failed = None;
        if Instant::now() >= self.deadline {
            return Err(Away::TimedOut.into());
        }
        Ok(None)
    }

    /// The replica that holds the node by its own word and could not be reached before. The next
    /// word of it, or the directory's return, may be long in coming.
    fn once_more(&self) -> Option<Arc<str>> {
        // It has just failed for this request: after a pause.
        if self.failed.is_some() {
            return None;
        }
        self.peers.locations().retry(self.node_uuid)
    }

    /// What is known without asking; else whether the node is known at all.
    fn known_route(&self) -> Result<NodeRoute, bool> {
        let node = self.node_uuid;
        if self.peers.is_here(node) {
            return Ok(NodeRoute::Here);
        }
        let is_proved = self.peers.proofs().knows(node);
        let is_closed_here = self.peers.0.agents.is_closed(node);
        let locations = self.peers.locations();
        match locations.find(node) {
            Some(Location::At(replica)) if self.failed.as_ref() != Some(&replica) => {
                Ok(NodeRoute::At(replica))
            }
            _ if is_closed_here || locations.is_closed(node) => Ok(NodeRoute::Closed),
            _ => Err(is_proved || locations.knows(node)),
        }
    }

    /// Asks the other replicas. Nothing if the node is known and away.
    async fn ask(&self) -> Result<Option<NodeRoute>, DirectoryAway> {
        // Others would be no UUID of a node, and no word of a subject.
        let canonical = Uuid::try_parse(self.node_uuid).map(|uuid| uuid.hyphenated().to_string());
        if canonical.as_deref() != Ok(self.node_uuid) {
            return Ok(Some(NodeRoute::Unknown));
        }
        let directory = self.peers.0.directory.get().ok_or(DirectoryAway)?;
        let expected = lock(&self.peers.0.replicas).len();
        let located = directory.locate(self.node_uuid, expected).await?;
        self.peers.hear(self.node_uuid, &located.answers);
        match self.known_route() {
            Ok(route) => Ok(Some(route)),
            Err(false) if located.is_complete && !located.answers.iter().any(|one| one.known) => {
                Ok(Some(NodeRoute::Unknown))
            }
            Err(_) => Ok(None),
        }
    }

    /// Takes leave to wait. For nodes that are not known, and of strangers, a few may wait.
    fn hold(&mut self, is_known: bool) -> Result<(), NotFound> {
        if self.held.is_some() {
            return Ok(());
        }
        self.held = self.peers.0.agents.hold(is_known && self.is_proved);
        match self.held {
            Some(_) => Ok(()),
            None => Err(Away::TooMany.into()),
        }
    }
}
