//! Several gateways that share their nodes behind one address, each called a replica.
//!
//! ```text
//! conductor ──▶ any replica ──▶ the replica that the agent is attached to ──▶ agent
//!                    │  [forward], [connection], [listener]: whole requests, mutual TLS
//!                    └─ [directory]: who are the others, who holds the node?
//! ```
//!
//! [`locations`] is the pure table of where nodes are, by [`claim`]s of which the latest counts;
//! [`replicas`] is the table of the others. What a replica learns and proves it tells the others
//! directly ([`sync`]); [`wire`] is how all of it is written, [`tls`] who is believed.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use http::{Request, Response};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

pub mod claim;
pub mod connection;
pub mod directory;
pub mod forward;
pub mod listener;
pub mod locations;
mod moves;
pub mod options;
pub mod replicas;
pub mod route;
mod sync;
pub mod tls;
pub mod wire;

use crate::agents::{AgentRegistry, AttachmentId, NodeWaiters, Proofs};
use connection::{PeerBody, PeerConnections, PeerSender, passing_body};
use directory::{Directory, DirectoryMember};
use forward::{ForwardError, RequestOrigin};
use listener::{GrpcHandler, NodeHandler};
use locations::{ClaimLine, ClaimSource, Learned, Locations};
use moves::MOVES;
pub use moves::{HolderUnknown, NodeMoves};
use replicas::{Introduction, Replicas};
use tls::PeerTls;
use wire::{LocateAnswer, Presence, Update};

/// Requests that one replica forwards to another at once; more wait for their turn.
const PEER_STREAMS: u32 = 1024;

/// The replicas, as this one knows them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Peers(Arc<PeersState>);

struct PeersState {
    presence: Presence,
    agents: AgentRegistry,
    tls: PeerTls,
    connections: PeerConnections,
    locations: Mutex<Locations>,
    revision: watch::Sender<u64>,
    moves: broadcast::Sender<Arc<str>>,
    replicas: Mutex<Replicas>,
    /// Requests that wait for a node to be found.
    waiting: NodeWaiters,
    directory: OnceLock<Box<dyn Directory>>,
    grpc: OnceLock<GrpcHandler>,
    stop: CancellationToken,
}

impl std::fmt::Debug for PeersState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PeersState")
            .field("presence", &self.presence)
            .field("replicas", &self.replicas)
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// What health and metrics say of the replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeersStatus {
    /// Whether the directory can be reached.
    pub directory_connected: bool,
    /// Other replicas that are known.
    pub replicas: usize,
    /// Nodes that are attached to this one.
    pub nodes_here: usize,
    /// Nodes that are attached to others, as far as this one has heard.
    pub nodes_elsewhere: usize,
}

impl Peers {
    /// A replica that knows no other. Agents and their proofs are those of `agents`.
    #[must_use]
    pub fn new(
        presence: Presence,
        agents: AgentRegistry,
        tls: PeerTls,
        stop: CancellationToken,
    ) -> Self {
        Self(Arc::new(PeersState {
            presence,
            agents,
            connections: PeerConnections::new(tls.clone()),
            tls,
            locations: Mutex::default(),
            revision: watch::Sender::new(0),
            moves: broadcast::Sender::new(MOVES),
            replicas: Mutex::default(),
            waiting: NodeWaiters::default(),
            directory: OnceLock::new(),
            grpc: OnceLock::new(),
            stop,
        }))
    }

    /// Asks this directory from now on.
    pub fn join(&self, directory: Box<dyn Directory>) {
        // A second one is never given.
        let _ = self.0.directory.set(directory);
    }

    /// Answers other replicas: `nodes` answers requests for the REST API. It ends when the
    /// program stops.
    pub fn serve(&self, listener: TcpListener, nodes: NodeHandler) {
        let stop = self.0.stop.clone();
        tokio::spawn(listener::serve(self.clone(), listener, nodes, stop));
    }

    /// From now on forwarded gRPC calls are answered by this service.
    pub fn serve_grpc(&self, service: GrpcHandler) {
        // A second one is never given.
        let _ = self.0.grpc.set(service);
    }

    /// The state of all of it, for health and metrics.
    #[must_use]
    pub fn status(&self) -> PeersStatus {
        let directory = self.0.directory.get();
        let (nodes_here, nodes_elsewhere) = self.locations().count();
        PeersStatus {
            directory_connected: directory.is_some_and(|directory| directory.is_connected()),
            replicas: lock(&self.0.replicas).len(),
            nodes_here,
            nodes_elsewhere,
        }
    }

    /// Reads the files for TLS between replicas again, for connections to come.
    ///
    /// # Errors
    /// A file cannot be used; all stays as it was.
    pub fn reload(&self) -> Result<(), tls::PeerTlsError> {
        self.0.tls.reload()
    }

    /// Whether a later attachment of the same boot is known, wherever it is.
    #[must_use]
    pub fn is_superseded(&self, node_uuid: &str, id: &AttachmentId) -> bool {
        self.locations().is_superseded(node_uuid, id)
    }

    /// An agent has attached to this replica.
    pub fn attached(&self, node_uuid: &str, id: &AttachmentId) {
        let revision = self.locations().attach(node_uuid, id);
        self.0.revision.send_replace(revision);
        self.wake(node_uuid);
    }

    /// An attachment to this replica has ended; `is_closed` if the node is served no more.
    pub fn detached(&self, node_uuid: &str, id: &AttachmentId, is_closed: bool) {
        let revision = self.locations().detach(node_uuid, id, is_closed);
        if let Some(revision) = revision {
            self.0.revision.send_replace(revision);
        }
    }

    /// Whether the node's agent is attached to this replica, with a connection that is open.
    #[must_use]
    pub fn is_here(&self, node_uuid: &str) -> bool {
        let slot = self.0.agents.slot(node_uuid);
        slot.is_some_and(|slot| slot.is_open())
    }

    /// Whether a token is known to be a node's.
    #[must_use]
    pub fn is_proved(&self, node_uuid: &str, token: &str) -> bool {
        self.proofs().is_proved(node_uuid, token)
    }

    /// The connection to the replica that holds a node. Nothing is sent yet.
    ///
    /// # Errors
    /// The replica cannot be reached; the node is looked for elsewhere from now on, as long as
    /// others can be asked.
    pub async fn connect(
        &self,
        node_uuid: &str,
        replica: &Arc<str>,
    ) -> Result<PeerConnection, ForwardError> {
        match self.0.connections.to(replica).await {
            Ok(sender) => Ok(PeerConnection {
                peers: self.clone(),
                node_uuid: node_uuid.to_owned(),
                replica: Arc::clone(replica),
                sender,
            }),
            Err(error) => {
                // The task that sends it what is new says once that it cannot be reached.
                debug!(node = %node_uuid, error = &error as &dyn std::error::Error,
                    "the gateway that holds the node");
                self.locations().unreachable(node_uuid, replica);
                self.moved(node_uuid);
                Err(error.into())
            }
        }
    }

    fn locations(&self) -> MutexGuard<'_, Locations> {
        lock(&self.0.locations)
    }

    fn tls(&self) -> &PeerTls {
        &self.0.tls
    }

    fn connections(&self) -> &PeerConnections {
        &self.0.connections
    }

    fn proofs(&self) -> &Proofs {
        self.0.agents.proofs()
    }

    fn grpc(&self) -> Option<GrpcHandler> {
        self.0.grpc.get().cloned()
    }

    fn url(&self) -> &str {
        &self.0.presence.peer_url
    }

    fn claims_since(&self, revision: u64, most: usize) -> (Vec<ClaimLine>, u64) {
        self.locations().since(revision, most)
    }

    /// Says when there are newer claims, and newer proofs.
    fn revisions(&self) -> (watch::Receiver<u64>, watch::Receiver<u64>) {
        (self.0.revision.subscribe(), self.proofs().revisions())
    }

    /// Takes in what another replica says of itself, over mutual TLS.
    fn apply(&self, update: Update) {
        let replica = lock(&self.0.replicas).find(&update.peer_url);
        let replica = replica.unwrap_or_else(|| update.peer_url.as_str().into());
        for proof in update.proofs {
            self.proofs().merge(proof);
        }
        for line in update.claims {
            let learned = self.locations().learn(&line, &replica, ClaimSource::Holder);
            if learned == Learned::Nothing {
                continue;
            }
            // Its machine has booted again, and attached where it is served.
            if learned == Learned::Attached && !line.closed {
                self.0.agents.reopen_node(&line.node_uuid);
            }
            let slot = self.0.agents.slot(&line.node_uuid);
            if let Some(slot) = slot.filter(|slot| line.attached || slot.is_open()) {
                info!(node = %line.node_uuid, gateway = %replica, "the node is attached elsewhere");
                slot.leave();
            }
            self.moved(&line.node_uuid);
            self.wake(&line.node_uuid);
        }
    }

    /// Takes in what the directory has answered.
    fn hear(&self, node_uuid: &str, answers: &[LocateAnswer]) {
        for answer in answers {
            // Requests go to replicas that have introduced themselves, and to nobody else.
            let replica = lock(&self.0.replicas).find(&answer.peer_url);
            let line = answer.claim.as_ref();
            if let (Some(replica), Some(line)) = (replica, line)
                && line.node_uuid == node_uuid
            {
                self.locations()
                    .learn(line, &replica, ClaimSource::Directory);
            }
        }
    }

    fn wake(&self, node_uuid: &str) {
        self.0.waiting.wake(node_uuid);
    }

    /// Names what must be the same for all replicas and is not.
    fn compare(&self, other: &Presence) {
        let own = &self.0.presence;
        if own.gateway_url != other.gateway_url {
            error!(gateway = %other.peer_url, ours = %own.gateway_url, theirs = %other.gateway_url,
                "gateway_url differs between gateways: Ironic refuses a node whose URL changes");
        }
        if own.verify_ca_sha256 != other.verify_ca_sha256 {
            error!(gateway = %other.peer_url, ours = ?own.verify_ca_sha256,
                theirs = ?other.verify_ca_sha256,
                "the CA that Ironic is given differs between gateways, and Ironic refuses a node \
                 whose CA changes: copy gateway-ca.crt and gateway-ca.key from the state_dir of \
                 one to all, or give all the same tls_cert_file and gateway_ca_file");
        }
    }
}

impl DirectoryMember for Peers {
    fn presence(&self) -> Presence {
        self.0.presence.clone()
    }

    fn meet(&self, presence: Presence) -> bool {
        if presence.peer_url == self.0.presence.peer_url {
            if presence.replica != self.0.presence.replica {
                error!(url = %presence.peer_url, "another gateway has the same peer_url");
            }
            return false;
        }
        let introduction = lock(&self.0.replicas).meet(presence.clone(), Instant::now());
        match introduction {
            Introduction::Known => false,
            Introduction::Refused => {
                warn!(url = %presence.peer_url, "too many gateways use this directory prefix");
                false
            }
            Introduction::New(url, tasks) => {
                info!(event = %"gateway_met", gateway = %url, "milestone");
                self.compare(&presence);
                self.all_moved(&url);
                let stop = self.0.stop.clone();
                let syncing = sync::run(self.clone(), url, tasks);
                tokio::spawn(stop.run_until_cancelled_owned(syncing));
                true
            }
        }
    }

    fn answer(&self, node_uuid: &str) -> LocateAnswer {
        let locations = self.locations();
        LocateAnswer {
            peer_url: self.0.presence.peer_url.clone(),
            known: self.proofs().knows(node_uuid) || locations.knows(node_uuid),
            claim: locations.line(node_uuid),
        }
    }

    fn forget_absent(&self) {
        for url in lock(&self.0.replicas).forget_absent(Instant::now()) {
            warn!(event = %"gateway_gone", gateway = %url, "milestone");
            self.0.connections.forget(&url);
            self.all_moved(&url);
        }
    }
}

/// A connection to the replica that holds a node.
#[derive(Debug)]
pub struct PeerConnection {
    peers: Peers,
    node_uuid: String,
    replica: Arc<str>,
    sender: PeerSender,
}

impl PeerConnection {
    /// Forwards a request as it is, and gives back the answer as it comes. `origin` is the
    /// connection that the request came over, for the REST API.
    ///
    /// # Errors
    /// There is no answer. Only after [`ForwardError::NotThere`] may the request be sent again.
    pub async fn send(
        self,
        mut request: Request<PeerBody>,
        origin: Option<RequestOrigin>,
    ) -> Result<Response<PeerBody>, ForwardError> {
        forward::depart(&mut request, &self.node_uuid, origin);
        let answered = self.sender.send(request).await;
        let response = answered.map_err(|source| ForwardError::Lost {
            url: self.replica.to_string(),
            source,
        })?;
        let judged = forward::judge(response, &self.replica);
        if let Err(ForwardError::NotThere(_)) = &judged {
            let (node, replica) = (&self.node_uuid, &self.replica);
            self.peers.locations().not_there(node, replica);
            self.peers.moved(node);
        }
        judged.map(|response| response.map(passing_body))
    }
}

// Every change is whole before anything can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
