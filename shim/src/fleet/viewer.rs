//! What a person sees of the fleet: the nodes, their changes, and what has happened to them.

use std::sync::Arc;

use ironic_agent_protocol::v1;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::access::{FleetAccess, FleetCaller, FleetRequest, NodeView, RequestTarget};
use super::error::FleetError;
use super::handle::Fleet;
use super::history::HistoryEntry;
use super::node_log::Labels;
use super::watch::{NodeWatch, resume};

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
        let policy = self.access.changes();
        let view = self.view(caller, WATCH_NODES)?;
        let at = token.and_then(|token| resume(&self.fleet, &view, token).ok());
        Ok(NodeWatch {
            fleet: self.fleet.clone(),
            labels: Labels::new(),
            resume: at.filter(|at| self.fleet.is_kept(*at)),
            view,
            policy,
            permit,
            // The page's connections end with the program, and browsers come back by themselves.
            stop: CancellationToken::new(),
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
        let view = self.view(caller, WATCH_NODES)?;
        Ok(self
            .fleet
            .latest_events(most, |node| view.sees(&node.labels)))
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
        let view = self.view(caller, GET_NODE)?;
        let node = self.fleet.get(uuid).filter(|node| view.sees(&node.labels));
        let node = node.ok_or(ViewError::NodeNotFound)?;
        let request = FleetRequest {
            caller,
            method: GET_NODE,
            target: RequestTarget::Node(&node),
            ordered: None,
        };
        self.access.admit(request).map_err(forbidden)?;
        let history = self.fleet.history(uuid);
        Ok((node, history))
    }

    fn view(&self, caller: &FleetCaller, method: &str) -> Result<NodeView, ViewError> {
        self.access.view(caller, method).map_err(forbidden)
    }
}

fn forbidden(error: FleetError) -> ViewError {
    ViewError::Forbidden(error.to_string())
}
