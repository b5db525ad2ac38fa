//! `FleetService`, answered from the table of nodes.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::fleet_service_server::FleetService;
use ironic_document::to_struct;
use ironic_text::error_chain;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::access::{FleetAccess, FleetCaller, FleetRequest};
use super::error::FleetError;
use super::handle::Fleet;
use super::inspections::Inspections;
use super::watch::{NodeWatch, selects};

/// Nodes in a page: some 500 bytes each, of the 4 MiB that clients take by default.
const PAGE: usize = 1000;

/// Watches at once.
const WATCHES: usize = 1024;

/// Answers for the nodes of a gateway.
#[derive(Debug, Clone)]
pub struct FleetApi {
    fleet: Fleet,
    inspections: Inspections,
    access: FleetAccess,
    watches: Arc<Semaphore>,
}

impl FleetApi {
    /// Answers for these nodes.
    #[must_use]
    pub fn new(fleet: Fleet, inspections: Inspections, access: FleetAccess) -> Self {
        Self {
            fleet,
            inspections,
            access,
            watches: Arc::new(Semaphore::new(WATCHES)),
        }
    }

    fn admit<T>(
        &self,
        request: &Request<T>,
        method: &str,
        node: Option<&v1::Node>,
    ) -> Result<(), Status> {
        let caller = FleetCaller::in_extensions(request.extensions());
        self.access.admit(FleetRequest {
            caller: &caller,
            method,
            node,
        })
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
        self.admit(&request, "/ironic.agent.v1.FleetService/ListNodes", None)?;
        let request = request.into_inner();
        let page = (!request.page_token.is_empty()).then(|| PageToken::parse(&request.page_token));
        let page = page.transpose()?;
        let labels = request.selector.unwrap_or_default().labels;
        let select = |node: &v1::Node| {
            selects(&labels, &node.labels)
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
            None => self.fleet.resume_token(snapshot.at),
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
        let node = self.fleet.resolve(&request.get_ref().node)?;
        self.admit(
            &request,
            "/ironic.agent.v1.FleetService/GetNode",
            Some(&node),
        )?;
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
        self.admit(&request, "/ironic.agent.v1.FleetService/WatchNodes", None)?;
        let request = request.into_inner();
        let permit = Arc::clone(&self.watches).try_acquire_owned();
        let permit = permit.map_err(|_| FleetError::TooManyWatchers)?;
        let resume = (!request.resume_token.is_empty())
            .then(|| self.fleet.resume(&request.resume_token))
            .transpose()?;
        let watch = NodeWatch {
            fleet: self.fleet.clone(),
            labels: request.selector.unwrap_or_default().labels,
            resume,
            permit,
        };
        Ok(Response::new(Box::pin(watch.start())))
    }

    async fn get_inspection(
        &self,
        request: Request<v1::GetInspectionRequest>,
    ) -> Result<Response<v1::GetInspectionResponse>, Status> {
        let node = self.fleet.resolve(&request.get_ref().node)?;
        self.admit(
            &request,
            "/ironic.agent.v1.FleetService/GetInspection",
            Some(&node),
        )?;
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
}
