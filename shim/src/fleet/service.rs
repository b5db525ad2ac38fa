//! `FleetService`, answered from the table of nodes.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::fleet_service_server::FleetService;
use ironic_document::to_struct;
use ironic_text::error_chain;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tracing::warn;

use super::access::{FleetAccess, FleetCaller, FleetRequest, NodeView, RequestTarget};
use super::error::FleetError;
use super::handle::Fleet;
use super::inspections::Inspections;
use super::watch::{NodeWatch, resume, resume_token, selects};

/// Nodes in a page: some 500 bytes each, of the 4 MiB that clients take by default.
const PAGE: usize = 1000;

const LIST_NODES: &str = "/ironic.agent.v1.FleetService/ListNodes";
const GET_NODE: &str = "/ironic.agent.v1.FleetService/GetNode";
const WATCH_NODES: &str = "/ironic.agent.v1.FleetService/WatchNodes";
const GET_INSPECTION: &str = "/ironic.agent.v1.FleetService/GetInspection";
const DRAIN: &str = "/ironic.agent.v1.FleetService/Drain";

/// Watches at once.
const WATCHES: usize = 1024;

/// Answers for the nodes of a gateway.
#[derive(Debug, Clone)]
pub struct FleetApi {
    fleet: Fleet,
    inspections: Inspections,
    access: FleetAccess,
    watches: Arc<Semaphore>,
    drain: DrainRequests,
    stop: CancellationToken,
}

/// How callers ask the gateway to be emptied. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DrainRequests {
    /// Cancelled when somebody asks.
    pub asked: CancellationToken,
    /// Cancelled when it has begun.
    pub begun: CancellationToken,
    /// After this time the gateway ends.
    pub timeout: Duration,
}

impl DrainRequests {
    /// Nobody has asked. `stop` ends the gateway in another way.
    #[must_use]
    pub fn new(stop: &CancellationToken, timeout: Duration) -> Self {
        Self {
            asked: stop.child_token(),
            begun: stop.child_token(),
            timeout,
        }
    }
}

impl FleetApi {
    /// Answers for these nodes, until `stop`.
    #[must_use]
    pub fn new(
        fleet: Fleet,
        inspections: Inspections,
        access: FleetAccess,
        drain: DrainRequests,
        stop: CancellationToken,
    ) -> Self {
        Self {
            fleet,
            inspections,
            access,
            watches: Arc::new(Semaphore::new(WATCHES)),
            drain,
            stop,
        }
    }

    /// The nodes that the caller of a request may see.
    fn view<T>(&self, request: &Request<T>, method: &str) -> Result<NodeView, Status> {
        let caller = FleetCaller::in_extensions(request.extensions());
        Ok(self.access.view(&caller, method)?)
    }

    /// The node that the caller of a request means, who may ask for this about it.
    fn node<T>(
        &self,
        request: &Request<T>,
        method: &str,
        text: &str,
    ) -> Result<Arc<v1::Node>, Status> {
        let caller = FleetCaller::in_extensions(request.extensions());
        let view = self.access.view(&caller, method)?;
        let node = self.fleet.resolve_for(text, &view)?;
        self.access.admit(FleetRequest {
            caller: &caller,
            method,
            target: RequestTarget::Node(&node),
            ordered: None,
        })?;
        Ok(node)
    }
}

/// Where a list goes on.
struct PageToken {
    /// The last node of the page before.
    uuid: String,
    /// Where the changes since the first page begin.
    resume_token: String,
}

impl PageToken {
    fn parse(text: &str) -> Result<Self, FleetError> {
        let (uuid, resume_token) = text.split_once('/').ok_or(FleetError::PageToken)?;
        Ok(Self {
            uuid: uuid.to_owned(),
            resume_token: resume_token.to_owned(),
        })
    }
}

#[tonic::async_trait]
impl FleetService for FleetApi {
    async fn list_nodes(
        &self,
        request: Request<v1::ListNodesRequest>,
    ) -> Result<Response<v1::ListNodesResponse>, Status> {
        let view = self.view(&request, LIST_NODES)?;
        let request = request.into_inner();
        let page = (!request.page_token.is_empty()).then(|| PageToken::parse(&request.page_token));
        let page = page.transpose()?;
        let labels = request.selector.unwrap_or_default().labels;
        let select = |node: &v1::Node| {
            selects(&labels, &node.labels)
                && view.sees(&node.labels)
                && (request.states.is_empty() || request.states.contains(&node.state))
        };
        let size = match usize::try_from(request.page_size) {
            Ok(size @ 1..=PAGE) => size,
            _ => PAGE,
        };
        let after = page.as_ref().map_or("", |page| page.uuid.as_str());
        // One more tells whether another page follows.
        let mut snapshot = self.fleet.page(after, size + 1, select);
        let is_last = snapshot.nodes.len() <= size;
        snapshot.nodes.truncate(size);
        let resume_token = match page {
            Some(page) => page.resume_token,
            None => resume_token(&self.fleet, &view, snapshot.at),
        };
        let last = snapshot.nodes.last().filter(|_| !is_last);
        Ok(Response::new(v1::ListNodesResponse {
            next_page_token: last
                .map(|last| format!("{}/{resume_token}", last.uuid))
                .unwrap_or_default(),
            nodes: snapshot
                .nodes
                .iter()
                .map(|node| node.as_ref().clone())
                .collect(),
            resume_token,
        }))
    }

    async fn get_node(
        &self,
        request: Request<v1::GetNodeRequest>,
    ) -> Result<Response<v1::GetNodeResponse>, Status> {
        let node = self.node(&request, GET_NODE, &request.get_ref().node)?;
        Ok(Response::new(v1::GetNodeResponse {
            node: Some(Arc::unwrap_or_clone(node)),
        }))
    }

    type WatchNodesStream =
        Pin<Box<dyn Stream<Item = Result<v1::WatchNodesResponse, Status>> + Send>>;

    async fn watch_nodes(
        &self,
        request: Request<v1::WatchNodesRequest>,
    ) -> Result<Response<Self::WatchNodesStream>, Status> {
        let policy = self.access.changes();
        let view = self.view(&request, WATCH_NODES)?;
        let request = request.into_inner();
        let permit = Arc::clone(&self.watches).try_acquire_owned();
        let permit = permit.map_err(|_| FleetError::TooManyWatchers)?;
        let resume = (!request.resume_token.is_empty())
            .then(|| resume(&self.fleet, &view, &request.resume_token))
            .transpose()?;
        let watch = NodeWatch {
            fleet: self.fleet.clone(),
            labels: request.selector.unwrap_or_default().labels,
            view,
            policy,
            resume,
            permit,
            stop: self.stop.clone(),
        };
        Ok(Response::new(Box::pin(watch.start())))
    }

    async fn get_inspection(
        &self,
        request: Request<v1::GetInspectionRequest>,
    ) -> Result<Response<v1::GetInspectionResponse>, Status> {
        let node = self.node(&request, GET_INSPECTION, &request.get_ref().node)?;
        let (inspections, uuid) = (self.inspections.clone(), node.uuid.clone());
        let reading = tokio::task::spawn_blocking(move || inspections.get(&uuid));
        let kept = reading
            .await
            .map_err(|_| Status::unavailable("the gateway stops"))?
            .map_err(|error| Status::internal(error_chain(&error)))?;
        let kept = kept.ok_or_else(|| FleetError::NoInspection(node.uuid.clone()))?;
        let report = to_struct(kept.report, "report");
        Ok(Response::new(v1::GetInspectionResponse {
            report: Some(report.map_err(|error| Status::data_loss(error.to_string()))?),
            received_at: Some(kept.received_at),
        }))
    }

    async fn drain(
        &self,
        request: Request<v1::DrainRequest>,
    ) -> Result<Response<v1::DrainResponse>, Status> {
        let caller = FleetCaller::in_extensions(request.extensions());
        self.access.admit(FleetRequest {
            caller: &caller,
            method: DRAIN,
            target: RequestTarget::Gateway,
            ordered: None,
        })?;
        warn!(%caller, peer = ?caller.peer, "a caller drains this gateway");
        self.drain.asked.cancel();
        self.drain.begun.cancelled().await;
        Ok(Response::new(v1::DrainResponse {
            // Options hold no time that is longer.
            timeout: self.drain.timeout.try_into().ok(),
        }))
    }
}
