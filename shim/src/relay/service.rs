//! `ConductorService`, answered with what Ironic says.

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::conductor_service_server::ConductorService;
use ironic_tunnel::keep_alive;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::info;

use super::agent_peer::AgentPeer;
use super::attachment;
use super::context::Relay;
use super::convert::{
    deferred_inspection, deferred_lookup, inspection_response, inspection_result, lookup_outcome,
    lookup_response, lookup_result,
};
use super::placement::Placement;
use super::session;
use crate::ironic::LookupAnswer;
use crate::metrics::labels::AttachOutcome;
use crate::pacing::CallKind;

type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Relay {
    /// One lookup, in its turn.
    async fn look_up(
        &self,
        peer: &AgentPeer,
        request: v1::LookupRequest,
    ) -> Result<v1::LookupResponse, Status> {
        let machine = request.addresses.join(",");
        let claimed = Some(request.node_uuid.as_str()).filter(|uuid| !uuid.is_empty());
        if let Some(claimed) = claimed {
            peer.speaks_for(claimed)?;
        }
        let permit = match self.acquire(CallKind::Lookup(&machine)).await {
            Ok(permit) => permit,
            Err(retry_after) => return Ok(deferred_lookup(retry_after, None)),
        };
        let mut answer = self.upstream.lookup(peer.node_uuid(), request).await;
        let mut is_own = Ok(());
        if let LookupAnswer::Found(found) = &answer
            && let Some(reason) = self.token_refusal(found).await
        {
            let status = None;
            answer = LookupAnswer::Retry { status, reason };
        }
        if let LookupAnswer::Found(found) = &mut answer {
            is_own = peer.speaks_for(&found.node_uuid);
            if is_own.is_ok() {
                self.mask(found);
            }
        }
        match &answer {
            LookupAnswer::Found(found) if !self.upstream.is_ironic() => {
                info!(node = %found.node_uuid, "the gateway knows the node");
            }
            LookupAnswer::Found(found) => info!(node = %found.node_uuid, "Ironic knows the node"),
            LookupAnswer::Retry { reason, .. } => info!(%reason, "the lookup has no answer yet"),
        }
        let retry_after = permit.and_then(|permit| permit.finish(lookup_outcome(&answer)));
        is_own?;
        Ok(match retry_after {
            Some(retry_after) => deferred_lookup(retry_after, Some(answer)),
            None => lookup_response(answer),
        })
    }
}

#[tonic::async_trait]
impl ConductorService for Relay {
    async fn lookup(
        &self,
        request: Request<v1::LookupRequest>,
    ) -> Result<Response<v1::LookupResponse>, Status> {
        self.placement.accept_session()?;
        let peer = AgentPeer::of(request.extensions());
        let response = self.look_up(&peer, request.into_inner()).await?;
        if let Some(metrics) = self.placement.metrics() {
            metrics.lookup(lookup_result(&response));
        }
        Ok(Response::new(response))
    }

    type HeartbeatStream = ResponseStream<v1::HeartbeatResponse>;

    async fn heartbeat(
        &self,
        request: Request<Streaming<v1::HeartbeatRequest>>,
    ) -> Result<Response<Self::HeartbeatStream>, Status> {
        self.placement.accept_session()?;
        let peer = AgentPeer::of(request.extensions());
        let (answers, verdicts) = mpsc::channel(4);
        let relay = self.clone();
        let (messages, peer) = (Box::new(request.into_inner()), Box::new(peer));
        tokio::spawn(async move {
            let session = session::run(&relay, messages, peer, &answers);
            if let Err(status) = session.await {
                // An agent that hung up does not hear why.
                let _ = answers.send(Box::new(Err(status))).await;
            }
        });
        let verdicts = ReceiverStream::new(verdicts).map(|verdict| *verdict);
        let verdicts = keep_alive(verdicts, || Ok(v1::HeartbeatResponse::default()));
        Ok(Response::new(Box::pin(verdicts)))
    }

    async fn submit_inspection(
        &self,
        request: Request<v1::SubmitInspectionRequest>,
    ) -> Result<Response<v1::SubmitInspectionResponse>, Status> {
        self.placement.accept_session()?;
        let peer = AgentPeer::of(request.extensions());
        let request = request.into_inner();
        let system_uuid = request.system_uuid;
        let report = request
            .report
            .ok_or_else(|| Status::invalid_argument("SubmitInspectionRequest.report is missing"))?;
        let report = ironic_document::object(report, "report")
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let interfaces = report.get("inventory");
        let interfaces = interfaces.and_then(|inventory| inventory.get("interfaces"));
        let machine = interfaces.map(ToString::to_string).unwrap_or_default();
        // It says nothing about the API: a report may go to another service, and takes its time.
        let response = match self.acquire(CallKind::Inspection(&machine)).await {
            Ok(_permit) => {
                let certified = peer.node_uuid();
                let submitting = self
                    .upstream
                    .submit_inspection(certified, report, system_uuid);
                let answer = submitting.await;
                info!(?answer, "inspection report");
                inspection_response(answer)
            }
            Err(retry_after) => deferred_inspection(retry_after),
        };
        if let Some(metrics) = self.placement.metrics() {
            metrics.inspection(inspection_result(&response));
        }
        Ok(Response::new(response))
    }

    type AttachStream = ResponseStream<v1::AttachResponse>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let Placement::Gateway(gateway) = self.placement.clone() else {
            return Err(Status::failed_precondition(
                "this shim stands beside its agent and reaches it at the address of option agent: \
                 agents attach to a gateway (option gateway_url)",
            ));
        };
        self.placement
            .accept_session()
            .inspect_err(|_| gateway.agents().metrics().attach(AttachOutcome::Draining))?;
        let peer = AgentPeer::of(request.extensions());
        let (verdict, decided) = oneshot::channel();
        let (requests, peer) = (Box::new(request.into_inner()), Box::new(peer));
        tokio::spawn(async move {
            attachment::run(&gateway, requests, peer, verdict).await;
        });
        Ok(Response::new(Box::pin(attachment::responses(decided))))
    }
}
