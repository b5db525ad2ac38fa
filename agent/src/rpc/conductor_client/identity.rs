//! `IdentityService` of a gateway: the agent's certificate.

use futures_util::future::BoxFuture;
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::enroll_request::Proof;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tonic::{Code, Status};

use super::ConductorClient;
use super::connection::OpenConnection;
use super::error::ConductorCallError;
use crate::conductor::ConnectionError;
use crate::conductor::identity::{
    CertificateIssuer, IssuerError, IssuerInfo, NodeEvidence, SignedCertificate,
};
use crate::rpc::call_status::CallStatus;

impl CertificateIssuer for ConductorClient {
    fn info(&self) -> BoxFuture<'_, Result<IssuerInfo, IssuerError>> {
        Box::pin(async move {
            let request = v1::GetIdentityInfoRequest {};
            let call =
                async |mut open: OpenConnection| open.identity.get_identity_info(request).await;
            let info = self.call(call).await.map_err(unissued)?;
            let takes = |method: v1::EnrollmentMethod| info.methods.contains(&method.into());
            Ok(IssuerInfo {
                time: time(info.current_time, "current_time")?,
                takes_join_token: takes(v1::EnrollmentMethod::JoinToken),
                takes_agent_token: takes(v1::EnrollmentMethod::AgentToken),
            })
        })
    }

    fn enroll(
        &self,
        evidence: NodeEvidence,
        csr: Vec<u8>,
    ) -> BoxFuture<'_, Result<SignedCertificate, IssuerError>> {
        Box::pin(async move {
            let (proof, node_uuid) = match evidence {
                NodeEvidence::JoinToken { token, node_uuid } => {
                    let node_uuid = node_uuid.unwrap_or_default();
                    (Proof::JoinToken(token.reveal().to_owned()), node_uuid)
                }
                NodeEvidence::AgentToken { token, node_uuid } => {
                    (Proof::AgentToken(token.reveal().to_owned()), node_uuid)
                }
            };
            let request = v1::EnrollRequest {
                proof: Some(proof),
                node_uuid,
                csr,
            };
            let call = async |mut open: OpenConnection| open.identity.enroll(request).await;
            let answer = self.call(call).await.map_err(unissued)?;
            signed(answer.certificate, answer.current_time)
        })
    }

    fn renew(&self, csr: Vec<u8>) -> BoxFuture<'_, Result<SignedCertificate, IssuerError>> {
        Box::pin(async move {
            let request = v1::RenewCertificateRequest { csr };
            let call =
                async |mut open: OpenConnection| open.identity.renew_certificate(request).await;
            let answer = self.call(call).await.map_err(unissued)?;
            signed(answer.certificate, answer.current_time)
        })
    }

    fn show(
        &self,
        certificate: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> BoxFuture<'_, Result<(), rustls::Error>> {
        Box::pin(async move {
            match certificate {
                Some((chain, key)) => self.tls.certificate.set(chain, key)?,
                None => self.tls.certificate.clear(),
            }
            self.connections.renew().await;
            Ok(())
        })
    }
}

fn signed(
    certificate: Option<v1::NodeCertificate>,
    now: Option<prost_types::Timestamp>,
) -> Result<SignedCertificate, IssuerError> {
    let certificate = certificate.ok_or_else(|| damaged("certificate"))?;
    let now = time(now, "current_time")?;
    let not_after = time(certificate.not_after, "certificate.not_after")?;
    if certificate.chain.is_empty() || not_after.as_secs() <= now.as_secs() {
        return Err(damaged("certificate"));
    }
    Ok(SignedCertificate {
        chain: certificate
            .chain
            .into_iter()
            .map(CertificateDer::from)
            .collect(),
        node_uuid: certificate.node_uuid,
        not_after,
        now,
    })
}

fn time(
    timestamp: Option<prost_types::Timestamp>,
    field: &'static str,
) -> Result<UnixTime, IssuerError> {
    let seconds = timestamp.and_then(|timestamp| u64::try_from(timestamp.seconds).ok());
    let seconds = seconds.ok_or_else(|| damaged(field))?;
    Ok(UnixTime::since_unix_epoch(std::time::Duration::from_secs(
        seconds,
    )))
}

/// An answer that makes no sense.
fn damaged(field: &str) -> IssuerError {
    let status = Status::internal(format!("{field} of the answer makes no sense"));
    ConnectionError::new(ConductorCallError::from(status)).into()
}

fn unissued(error: ConductorCallError) -> IssuerError {
    if let ConductorCallError::Status(CallStatus(status)) = &error {
        match status.code() {
            Code::Unimplemented => return IssuerError::NotOffered,
            Code::Unauthenticated
            | Code::PermissionDenied
            | Code::InvalidArgument
            | Code::FailedPrecondition => {
                return IssuerError::Refused(status.message().to_owned());
            }
            _ => {}
        }
    }
    ConnectionError::new(error).into()
}
