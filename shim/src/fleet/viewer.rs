//! What a person sees of the fleet: the nodes, their changes, and what has happened to them.

use std::sync::Arc;

use ironic_agent_protocol::v1;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::access::{FleetAccess, FleetCaller, FleetRequest};
use super::handle::Fleet;
use super::history::HistoryEntry;
use super::node_log::Labels;
use super::watch::NodeWatch;

/// The methods of gRPC that show the same: who may call them may look.
const WATCH_NODES: &str = "/ironic.agent.v1.FleetService/WatchNodes";
const GET_NODE: &str = "/ironic.agent.v1.FleetService/GetNode";

/// Shows a fleet to people. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FleetViewer {
    fleet: Fleet,
    access: FleetAccess,
}

/// Why somebody sees nothing.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The caller may not see it. The sentence says why.
    #[error("{0}")]
    Forbidden(String),
    /// No node has this UUID.
    #[error("no node of this gateway has this UUID")]
    NodeNotFound,
}

impl ViewError {
    fn forbidden(status: &Status) -> Self {
        Self::Forbidden(status.message().to_owned())
    }
}

impl FleetViewer {
    /// Shows this fleet to those whom `access` admits. What happens to nodes is kept from now on.
    #[must_use]
    pub fn new(fleet: Fleet, access: FleetAccess) -> Self {
        fleet.keep_history();
        Self { fleet, access }
    }

    /// Watches the nodes that a caller may see. The watch goes on from a resume token, or begins
    /// with the list if there is none, or what came after it is not kept any more.
    ///
    /// # Errors
    /// The caller may not see any.
    pub fn watch(
        &self,
        caller: &FleetCaller,
        token: Option<&str>,
        permit: OwnedSemaphorePermit,
    ) -> Result<NodeWatch, ViewError> {
        self.admit(caller, WATCH_NODES, None)?;
        Ok(NodeWatch {
            fleet: self.fleet.clone(),
            labels: Labels::new(),
            resume: token.and_then(|token| self.fleet.resume_kept(token)),
            permit,
        })
    }

    /// The last that has happened to the nodes that a caller may see, without the phases of
    /// commands: at most `most`, with the UUIDs, oldest first.
    ///
    /// # Errors
    /// The caller may not see any.
    pub fn latest_events(
        &self,
        caller: &FleetCaller,
        most: usize,
    ) -> Result<Vec<(String, HistoryEntry)>, ViewError> {
        self.admit(caller, WATCH_NODES, None)?;
        Ok(self.fleet.latest_events(most, |_| true))
    }

    /// A node, and the last that has happened to it, oldest first.
    ///
    /// # Errors
    /// There is none, or the caller may not see it.
    pub fn node(
        &self,
        caller: &FleetCaller,
        uuid: &str,
    ) -> Result<(Arc<v1::Node>, Vec<HistoryEntry>), ViewError> {
        let node = self.fleet.get(uuid).ok_or(ViewError::NodeNotFound)?;
        self.admit(caller, GET_NODE, Some(&node))?;
        let history = self.fleet.history(uuid);
        Ok((node, history))
    }

    fn admit(
        &self,
        caller: &FleetCaller,
        method: &str,
        node: Option<&v1::Node>,
    ) -> Result<(), ViewError> {
        let request = FleetRequest {
            caller,
            method,
            node,
        };
        let admitted = self.access.admit(request);
        admitted.map_err(|status| ViewError::forbidden(&status))
    }
}
