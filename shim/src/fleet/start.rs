//! How what is served at `fleet_listen` is put together.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use super::access::FleetAccess;
use super::elsewhere;
use super::follower::CommandFollower;
use super::handle::Fleet;
use super::inspections::Inspections;
use super::join_tokens::JoinTokenApi;
use super::proxy::{AttachedAgents, NodeProxy, calls_of_gateways};
use super::server::{FleetServer, FleetServerError, FleetServices};
use super::service::{DrainRequests, FleetApi};
use crate::agents::AgentRegistry;
use crate::config::{NodeCertificates, ShimConfig};
use crate::identity::join_token::JoinTokens;
use crate::peers::Peers;

/// What a gateway gives its listener for orchestrators and operators.
#[derive(Debug)]
pub struct FleetParts {
    /// The nodes.
    pub fleet: Fleet,
    /// Their agents.
    pub agents: AgentRegistry,
    /// The access of callers.
    pub access: FleetAccess,
    /// Follows what agents do; `None` where nobody can watch.
    pub follower: Option<CommandFollower>,
    /// Requests to drain the gateway.
    pub drain: DrainRequests,
    /// Ends all of it.
    pub stop: CancellationToken,
}

/// A listener that is open, and who may do what there.
#[derive(Debug)]
pub struct OpenFleet {
    /// The listener.
    pub server: FleetServer,
    /// Reads its policy again when it is asked to.
    pub access: FleetAccess,
    fleet: Fleet,
    attached: AttachedAgents,
    peers: Arc<OnceLock<Peers>>,
    stop: CancellationToken,
}

impl OpenFleet {
    /// From now on calls of nodes that other gateways hold go there, and theirs are answered.
    pub fn share_with(&self, peers: &Peers) {
        peers.serve_grpc(calls_of_gateways(self.attached.clone()));
        // They are given once.
        let _ = self.peers.set(peers.clone());
        let following = elsewhere::follow(self.fleet.clone(), peers.clone());
        tokio::spawn(self.stop.clone().run_until_cancelled_owned(following));
    }
}

/// Answers the calls of other gateways where no fleet is served.
pub fn serve_gateways(peers: &Peers, agents: AgentRegistry) {
    peers.serve_grpc(calls_of_gateways(AttachedAgents::new(agents, None)));
}

impl FleetParts {
    /// Opens the listener that `config` names; none if it names none.
    ///
    /// # Errors
    /// An option cannot work, or the address cannot be listened at.
    pub async fn open(self, config: &ShimConfig) -> Result<Option<OpenFleet>, FleetServerError> {
        let Some(listen) = &config.fleet_listen else {
            return Ok(None);
        };
        let inspections = Inspections::new(&config.state_dir);
        let (fleet, access, stop) = (self.fleet, self.access, self.stop);
        let attached = AttachedAgents::new(self.agents, self.follower);
        let peers: Arc<OnceLock<Peers>> = Arc::default();
        let proxy_peers = Arc::clone(&peers);
        let are_taken = config.node_certificates != NodeCertificates::None;
        let tokens = JoinTokens::new(&config.state_dir);
        let services = FleetServices {
            proxy: NodeProxy::new(fleet.clone(), access.clone(), attached.clone(), proxy_peers),
            join_tokens: JoinTokenApi::new(tokens, access.clone(), are_taken),
            api: FleetApi::new(
                fleet.clone(),
                inspections,
                access.clone(),
                self.drain,
                stop.clone(),
            ),
        };
        let server = FleetServer::bind(listen, config, services).await?;
        Ok(Some(OpenFleet {
            server,
            access,
            fleet,
            attached,
            peers,
            stop,
        }))
    }
}
