//! `IdentityService`: certificates for machines that prove which node they are.

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::enroll_request::Proof;
use ironic_agent_protocol::v1::identity_service_server::IdentityService;
use ironic_text::{Secret, error_chain};
use ironic_transport::listener::admission::Peer;
use rustls_pki_types::UnixTime;
use tonic::{Code, Request, Response, Status};
use tracing::{info, warn};

use super::agent_peer::AgentPeer;
use super::refusal::refused;
use crate::config::NodeCertificates;
use crate::identity::join_token::{JoinTokenRefusal, JoinTokenStoreError};
use crate::identity::{Enrolment, EnrolmentError, IssuedCertificate, NodeProof};

/// The service of one gateway.
#[derive(Debug, Clone)]
pub(super) struct IdentityApi(pub(super) Enrolment);

#[tonic::async_trait]
impl IdentityService for IdentityApi {
    async fn get_identity_info(
        &self,
        _: Request<v1::GetIdentityInfoRequest>,
    ) -> Result<Response<v1::GetIdentityInfoResponse>, Status> {
        use v1::EnrollmentMethod::{AgentToken, JoinToken};
        let methods = match self.0.proofs_taken() {
            NodeCertificates::None => vec![],
            NodeCertificates::JoinToken => vec![JoinToken.into()],
            NodeCertificates::AgentToken => vec![JoinToken.into(), AgentToken.into()],
        };
        Ok(Response::new(v1::GetIdentityInfoResponse {
            current_time: Some(timestamp(UnixTime::now())),
            trust_domain: self.0.authority().trust_domain().to_string(),
            methods,
        }))
    }

    async fn enroll(
        &self,
        request: Request<v1::EnrollRequest>,
    ) -> Result<Response<v1::EnrollResponse>, Status> {
        let peer = AgentPeer::of(request.extensions())
            .caller
            .and_then(|caller| caller.peer);
        let v1::EnrollRequest {
            proof,
            node_uuid,
            csr,
        } = request.into_inner();
        let proof = match proof {
            Some(Proof::JoinToken(token)) => NodeProof::JoinToken(Secret::new(token)),
            Some(Proof::AgentToken(token)) => NodeProof::AgentToken(Secret::new(token)),
            None => {
                let text = "EnrollRequest.proof is empty: a join token or an agent token is needed";
                return Err(Status::invalid_argument(text));
            }
        };
        let enrolment = self.0.clone();
        let now = UnixTime::now();
        // The tokens are in a file.
        let issued = tokio::task::spawn_blocking(move || {
            let claimed = Some(node_uuid.as_str()).filter(|node| !node.is_empty());
            enrolment.enroll(&proof, claimed, &csr, (Peer::of(peer), now))
        });
        let issued = issued.await.map_err(|_| Status::unavailable("stopping"))?;
        let issued = issued.map_err(|error| {
            warn!(?peer, error = %error_chain(&error), "a machine gets no certificate");
            status(&error)
        })?;
        info!(event = %"node_enrolled", node = %issued.node_uuid, ?peer, "milestone");
        Ok(Response::new(v1::EnrollResponse {
            certificate: Some(certificate(issued)),
            current_time: Some(timestamp(now)),
        }))
    }

    async fn renew_certificate(
        &self,
        request: Request<v1::RenewCertificateRequest>,
    ) -> Result<Response<v1::RenewCertificateResponse>, Status> {
        let peer = AgentPeer::of(request.extensions());
        // The gate has let nobody else in.
        let node = peer.node_uuid().ok_or_else(|| {
            let text = "a certificate is renewed by the one that is still valid";
            refused(Code::Unauthenticated, "CERTIFICATE_REQUIRED", text)
        })?;
        let now = UnixTime::now();
        let issued = self.0.renew(node, &request.get_ref().csr, now);
        let issued = issued.map_err(|error| {
            warn!(%node, error = %error_chain(&error), "a certificate is not renewed");
            status(&error)
        })?;
        info!(node = %issued.node_uuid, "a certificate was renewed");
        Ok(Response::new(v1::RenewCertificateResponse {
            certificate: Some(certificate(issued)),
            current_time: Some(timestamp(now)),
        }))
    }
}

fn certificate(issued: IssuedCertificate) -> v1::NodeCertificate {
    v1::NodeCertificate {
        chain: issued.chain.iter().map(|one| one.to_vec()).collect(),
        node_uuid: issued.node_uuid,
        not_after: Some(timestamp(issued.not_after)),
    }
}

fn timestamp(time: UnixTime) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        nanos: 0,
    }
}

fn status(error: &EnrolmentError) -> Status {
    use JoinTokenRefusal as Refusal;
    let (code, reason) = match error {
        EnrolmentError::TooManyAttempts(_) => (Code::ResourceExhausted, "TOO_MANY_ATTEMPTS"),
        EnrolmentError::MethodOff(_) => (Code::FailedPrecondition, "ENROLLMENT_METHOD_OFF"),
        EnrolmentError::Csr(_) => (Code::InvalidArgument, "CSR_INVALID"),
        EnrolmentError::NodeUuid
        | EnrolmentError::JoinToken(JoinTokenStoreError::Refused(Refusal::NodeUnknown(_))) => {
            (Code::InvalidArgument, "NODE_UNKNOWN")
        }
        EnrolmentError::AgentTokenUnproved(_) => (Code::Unauthenticated, "AGENT_TOKEN_UNPROVED"),
        EnrolmentError::JoinToken(JoinTokenStoreError::Refused(refusal)) => match refusal {
            Refusal::Expired(_) => (Code::Unauthenticated, "JOIN_TOKEN_EXPIRED"),
            Refusal::Revoked(_) => (Code::Unauthenticated, "JOIN_TOKEN_REVOKED"),
            Refusal::Used { .. } => (Code::Unauthenticated, "JOIN_TOKEN_USED"),
            Refusal::OtherNode(_) | Refusal::Labels { .. } => {
                (Code::PermissionDenied, "JOIN_TOKEN_OTHER_NODE")
            }
            Refusal::Invalid | Refusal::NodeUnknown(_) => {
                (Code::Unauthenticated, "JOIN_TOKEN_INVALID")
            }
        },
        // What is wrong with a file or the clock of the gateway is the matter of its log.
        EnrolmentError::JoinToken(_) | EnrolmentError::Authority(_) => {
            let text = "the gateway cannot issue certificates now: its log says why";
            return refused(Code::Unavailable, "STATE_UNUSABLE", text);
        }
    };
    refused(code, reason, error.to_string())
}
