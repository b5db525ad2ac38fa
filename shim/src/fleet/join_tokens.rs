//! `JoinTokenService`: the join tokens of the state directory, which `ironic-shim token` manages
//! on the same machine.

use std::time::Duration;

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::join_token_service_server::JoinTokenService;
use ironic_text::error_chain;
use rustls_pki_types::UnixTime;
use tonic::{Code, Request, Response, Status};
use tracing::{info, warn};

use super::access::{FleetAccess, FleetCaller, FleetRequest, RequestTarget};
use super::error::status;
use crate::identity::join_token::{
    JoinTokenRecord, JoinTokenStoreError, JoinTokens, NewJoinToken, USUAL_LIFE,
};

const CREATE: &str = "/ironic.agent.v1.JoinTokenService/CreateJoinToken";
const LIST: &str = "/ironic.agent.v1.JoinTokenService/ListJoinTokens";
const REVOKE: &str = "/ironic.agent.v1.JoinTokenService/RevokeJoinToken";

/// Manages the join tokens of a gateway.
#[derive(Debug, Clone)]
pub struct JoinTokenApi {
    tokens: JoinTokens,
    access: FleetAccess,
    /// Whether this gateway takes join tokens.
    are_taken: bool,
}

impl JoinTokenApi {
    /// Manages these tokens.
    #[must_use]
    pub fn new(tokens: JoinTokens, access: FleetAccess, are_taken: bool) -> Self {
        Self {
            tokens,
            access,
            are_taken,
        }
    }

    /// The caller, checked.
    fn admit<T>(&self, request: &Request<T>, method: &str) -> Result<FleetCaller, Status> {
        let caller = FleetCaller::in_extensions(request.extensions());
        self.access.admit(FleetRequest {
            caller: &caller,
            method,
            target: RequestTarget::Gateway,
            ordered: None,
        })?;
        Ok(caller)
    }

    /// Asks the store, which waits for the disk.
    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&JoinTokens, UnixTime) -> Result<T, JoinTokenStoreError> + Send + 'static,
    ) -> Result<T, Status> {
        let tokens = self.tokens.clone();
        let asked = tokio::task::spawn_blocking(move || ask(&tokens, UnixTime::now()));
        let asked = asked
            .await
            .map_err(|_| Status::unavailable("the gateway stops"))?;
        asked.map_err(|error| refusal(&error))
    }
}

#[tonic::async_trait]
impl JoinTokenService for JoinTokenApi {
    async fn create_join_token(
        &self,
        request: Request<v1::CreateJoinTokenRequest>,
    ) -> Result<Response<v1::CreateJoinTokenResponse>, Status> {
        let caller = self.admit(&request, CREATE)?;
        if !self.are_taken {
            let text = "this gateway issues no certificates, so that a join token proves nothing: \
                        option node_certificates";
            return Err(status(
                Code::FailedPrecondition,
                "ENROLLMENT_METHOD_OFF",
                text,
            ));
        }
        let new = wanted(request.into_inner())?;
        let (record, secret) = self.ask(|tokens, now| tokens.create(new, now)).await?;
        let (id, node) = (&record.id, record.node_uuid.as_deref());
        info!(%caller, peer = ?caller.peer, token = %id, node, "a join token was made");
        Ok(Response::new(v1::CreateJoinTokenResponse {
            join_token: Some(join_token(record)),
            secret: secret.reveal().to_owned(),
        }))
    }

    async fn list_join_tokens(
        &self,
        request: Request<v1::ListJoinTokensRequest>,
    ) -> Result<Response<v1::ListJoinTokensResponse>, Status> {
        self.admit(&request, LIST)?;
        let tokens = self.ask(JoinTokens::list).await?;
        Ok(Response::new(v1::ListJoinTokensResponse {
            join_tokens: tokens.into_iter().map(join_token).collect(),
        }))
    }

    async fn revoke_join_token(
        &self,
        request: Request<v1::RevokeJoinTokenRequest>,
    ) -> Result<Response<v1::RevokeJoinTokenResponse>, Status> {
        let caller = self.admit(&request, REVOKE)?;
        let id = request.into_inner().id;
        let record = self.ask(move |tokens, now| tokens.revoke(&id, now)).await?;
        info!(%caller, peer = ?caller.peer, token = %record.id, "a join token was revoked");
        Ok(Response::new(v1::RevokeJoinTokenResponse {
            join_token: Some(join_token(record)),
        }))
    }
}

/// What a request wants.
fn wanted(request: v1::CreateJoinTokenRequest) -> Result<NewJoinToken, Status> {
    let lifetime = request.lifetime.map(Duration::try_from).transpose();
    let lifetime = lifetime.map_err(|_| {
        let text = "lifetime is negative";
        status(Code::InvalidArgument, "JOIN_TOKEN_REQUEST_INVALID", text)
    })?;
    Ok(NewJoinToken {
        node_uuid: Some(request.node_uuid).filter(|node| !node.is_empty()),
        labels: request.labels.into_iter().collect(),
        max_uses: request.max_uses.max(1),
        lifetime: lifetime.unwrap_or(USUAL_LIFE),
    })
}

fn join_token(record: JoinTokenRecord) -> v1::JoinToken {
    v1::JoinToken {
        id: record.id,
        node_uuid: record.node_uuid.unwrap_or_default(),
        labels: record.labels.into_iter().collect(),
        max_uses: record.max_uses,
        uses: record.uses,
        created_at: Some(timestamp(record.created_at)),
        expires_at: Some(timestamp(record.expires_at)),
        revoked: record.revoked,
    }
}

fn timestamp(seconds: u64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        nanos: 0,
    }
}

fn refusal(error: &JoinTokenStoreError) -> Status {
    let (code, reason) = match error {
        JoinTokenStoreError::Invalid(_) => (Code::InvalidArgument, "JOIN_TOKEN_REQUEST_INVALID"),
        JoinTokenStoreError::NotFound(_) => (Code::NotFound, "JOIN_TOKEN_NOT_FOUND"),
        JoinTokenStoreError::TooMany => (Code::ResourceExhausted, "TOO_MANY_JOIN_TOKENS"),
        JoinTokenStoreError::File { .. }
        | JoinTokenStoreError::Damaged { .. }
        | JoinTokenStoreError::Refused(_) => {
            warn!(error = %error_chain(error), "the join tokens cannot be managed");
            let text = "the gateway cannot read or write its join tokens: its log says why";
            return status(Code::Unavailable, "STATE_UNUSABLE", text);
        }
    };
    status(code, reason, &error.to_string())
}
