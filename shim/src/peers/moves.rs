//! Which nodes are attached to other replicas, for who shows that.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::broadcast;

use super::directory::DirectoryAway;
use super::locations::Location;
use super::{Peers, lock};

/// Moves that a reader may be behind.
pub(super) const MOVES: usize = 4096;

/// Names nodes of which something may have changed. One that is behind looks at all of them.
pub type NodeMoves = broadcast::Receiver<Arc<str>>;

/// Which replica holds a node cannot be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HolderUnknown {
    /// Nobody can be asked.
    #[error(transparent)]
    Directory(#[from] DirectoryAway),
    /// Fewer have answered than there are.
    #[error("another gateway does not answer, or is not known yet")]
    Silent,
}

impl Peers {
    /// Names each node from now on that moves to another replica, or away from it.
    #[must_use]
    pub fn moves(&self) -> NodeMoves {
        self.0.moves.subscribe()
    }

    /// The `peer_url` of the replica that holds a node; `None` if it is here or away, or its
    /// replica is gone.
    #[must_use]
    pub fn gateway_of(&self, node_uuid: &str) -> Option<Arc<str>> {
        let Some(Location::At(url)) = self.locations().find(node_uuid) else {
            return None;
        };
        lock(&self.0.replicas).find(&url)
    }

    /// The replica that a node is attached to, if it is another one: asks the others if it is not
    /// known here.
    ///
    /// # Errors
    /// Some of them have not answered: it may be attached there.
    pub async fn holder(&self, node_uuid: &str) -> Result<Option<Arc<str>>, HolderUnknown> {
        if let Some(gateway) = self.gateway_of(node_uuid) {
            return Ok(Some(gateway));
        }
        let directory = self.0.directory.get().ok_or(DirectoryAway)?;
        let expected = lock(&self.0.replicas).len();
        let located = directory.locate(node_uuid, expected).await?;
        self.hear(node_uuid, &located.answers);
        match self.gateway_of(node_uuid) {
            Some(gateway) => Ok(Some(gateway)),
            None if located.is_complete => Ok(None),
            None => Err(HolderUnknown::Silent),
        }
    }

    /// The nodes that any other replica has said it holds.
    #[must_use]
    pub fn nodes_elsewhere(&self) -> Vec<String> {
        self.locations().elsewhere(None)
    }

    /// A node has moved.
    pub(super) fn moved(&self, node_uuid: &str) {
        // Nobody may be there to hear.
        let _ = self.0.moves.send(node_uuid.into());
    }

    /// The nodes of a replica that has come or gone.
    pub(super) fn all_moved(&self, replica: &str) {
        let nodes = self.locations().elsewhere(Some(replica));
        for node in nodes {
            self.moved(&node);
        }
    }
}
