//! Where this program stands: beside one agent, or as a gateway for many.

use ironic_agent_protocol::v1;
use ironic_text::{Secret, error_chain};
use tonic::{Code, Status};
use tracing::warn;

use super::refusal::refused;
use crate::agents::Proofs;
use crate::gateway::Gateway;
use crate::metrics::Metrics;
use crate::rest::CloseReason;
use crate::rest_server::{Advertised, AgentSession, RestServer, RestServerError};

/// Where this program stands.
#[derive(Debug, Clone)]
pub enum Placement {
    /// Beside its agent; the first session starts the REST server.
    Beside(RestServer),
    /// Before many agents, which listen nowhere.
    Gateway(Gateway),
}

impl Placement {
    pub(super) fn proofs(&self) -> &Proofs {
        match self {
            Self::Beside(server) => server.proofs(),
            Self::Gateway(gateway) => gateway.agents().proofs(),
        }
    }

    /// The gateway, if this program is one.
    pub(super) fn gateway(&self) -> Option<&Gateway> {
        match self {
            Self::Beside(_) => None,
            Self::Gateway(gateway) => Some(gateway),
        }
    }

    /// Refuses what an agent begins, when this gateway is draining: the agent tries another one.
    ///
    /// # Errors
    /// It is draining.
    pub(super) fn accept_session(&self) -> Result<(), Status> {
        if !self.gateway().is_some_and(Gateway::is_draining) {
            return Ok(());
        }
        let text = "this gateway is draining: try another one";
        Err(refused(Code::Unavailable, "GATEWAY_DRAINING", text))
    }

    /// Where what happens is counted; beside an agent nobody reads it.
    pub(super) fn metrics(&self) -> Option<&Metrics> {
        self.gateway().map(|gateway| gateway.agents().metrics())
    }

    /// Readies the REST API for an agent that opens a session, and answers what Ironic is given.
    pub(super) async fn open(&self, hello: &v1::Hello) -> Result<Advertised, Status> {
        match self {
            Self::Beside(server) => {
                if server.proofs().knows_other_than(&hello.node_uuid) {
                    return Err(Status::permission_denied(
                        "this shim is another node's, whose token Ironic has accepted: restart \
                         the shim, without its state directory, if the node has changed",
                    ));
                }
                let agent = agent_session(hello);
                let advertised = server.start(&agent).await.map_err(closed)?;
                let proofs = self.proofs();
                let is_unproved = !proofs.is_proved(&hello.node_uuid, &hello.agent_token);
                if is_unproved && server.is_agents(&agent).await {
                    proofs.prove(&hello.node_uuid, &hello.agent_token);
                }
                Ok(advertised)
            }
            Self::Gateway(gateway) => Ok(gateway.advertised(&hello.node_uuid)),
        }
    }

    /// From now on callers pass with the token of this session, which was proved.
    pub(super) fn believe(&self, hello: &v1::Hello) {
        match self {
            Self::Beside(server) => server.trust(&agent_session(hello)),
            Self::Gateway(gateway) => {
                gateway.trust(&hello.node_uuid, &hello.agent_token, &hello.agent_version);
            }
        }
    }

    /// Ends the service of the agent of this session.
    pub(super) fn close(&self, hello: &v1::Hello, reason: CloseReason) {
        match self {
            Self::Beside(server) => server.close(reason),
            Self::Gateway(gateway) => gateway.close(&hello.node_uuid),
        }
    }
}

fn agent_session(hello: &v1::Hello) -> AgentSession {
    let config = hello.config.clone().unwrap_or_default();
    AgentSession {
        token: Some(hello.agent_token.as_str())
            .filter(|token| !token.is_empty())
            .map(Secret::new),
        version: hello.agent_version.clone(),
        tls_min_version: config.tls_min_version,
        tls_cipher_suites: config.tls_cipher_suites,
    }
}

fn closed(error: RestServerError) -> Status {
    let text = error_chain(&error);
    warn!(error = %text, "the REST server does not start");
    match error {
        RestServerError::Advertise(_) | RestServerError::Version(_) => Status::unavailable(text),
        _ => Status::failed_precondition(text),
    }
}
