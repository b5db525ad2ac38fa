//! What the calls of the service share: Ironic, and where this program stands.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ironic_agent_protocol::v1;
use ironic_program::MASKED_TOKEN;
use tokio::sync::watch;
use tracing::{info, warn};

use super::convert::status_message;
use super::placement::Placement;
use super::upstream::Upstream;
use crate::agents::{NodeKey, TokenDigest};
use crate::ironic::{Beat, BeatAnswer, Found};
use crate::pacing::{CallKind, CallPermit, Pacing, RetryAfter};
use crate::rest_server::Advertised;

/// The service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Relay {
    pub(super) upstream: Upstream,
    pub(super) placement: Placement,
    pub(super) locks: PerNodeLock,
    /// When calls go to Ironic. Beside an agent there is nothing to decide: they go at once.
    pub(super) pacing: Option<Pacing>,
    handed: Arc<Mutex<HashMap<NodeKey, TokenDigest>>>,
}

/// Nodes whose tokens are remembered as handed out. A shim beside its agent has one.
const MAX_NODES: usize = 65_536;

/// One heartbeat of a node at a time: sessions of the same node, of which all but one are
/// forgotten connections, wait for each other.
#[derive(Debug, Clone, Default)]
pub(super) struct PerNodeLock(Arc<Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>>);

impl PerNodeLock {
    pub(super) fn of(&self, node: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = nodes.get(node).and_then(Weak::upgrade) {
            return lock;
        }
        nodes.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        nodes.insert(node.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

impl Relay {
    /// Answers what `upstream` says, which is asked at this pace, or else at once.
    #[must_use]
    pub fn new(upstream: Upstream, placement: Placement, pacing: Option<Pacing>) -> Self {
        Self {
            upstream,
            placement,
            locks: PerNodeLock::default(),
            pacing,
            handed: Arc::default(),
        }
    }

    /// Hands a token out once, as Ironic does: a later caller is not the one that was given it.
    pub(super) fn mask(&self, found: &mut Found) {
        let Some(token) = &mut found.config.agent_token else {
            return;
        };
        let mut handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = TokenDigest::of(token);
        let node = NodeKey::from(found.node_uuid.as_str());
        if handed.get(&node) == Some(&digest) {
            warn!(node = %found.node_uuid, "the token was handed out before: it is masked");
            MASKED_TOKEN.clone_into(token);
            return;
        }
        if handed.len() >= MAX_NODES {
            handed.clear();
        }
        if token != MASKED_TOKEN {
            handed.insert(node, digest);
            if matches!(self.placement, Placement::Gateway(_)) {
                // Ironic gives each token to one caller, which from now on is that node.
                self.placement.proofs().prove(&found.node_uuid, token);
            }
        }
    }

    /// Why a machine gets no new token of this gateway: its node is attached to another one, or
    /// that cannot be ruled out. Ironic knows by itself to whom it has given one.
    pub(super) async fn token_refusal(&self, found: &Found) -> Option<String> {
        let token = found.config.agent_token.as_deref();
        if self.upstream.is_ironic() || token.is_none_or(|token| token == MASKED_TOKEN) {
            return None;
        }
        let node = &found.node_uuid;
        match self.placement.gateway()?.peers()?.holder(node).await {
            Ok(None) => None,
            Ok(Some(_)) => Some(format!(
                "node {node} is attached to another gateway: it gets a new token when that \
                 connection has ended"
            )),
            Err(error) => Some(format!(
                "node {node} gets no new token while it may be attached to another gateway: {error}"
            )),
        }
    }

    /// Leave for a call that is no heartbeat; none is needed beside an agent.
    pub(super) async fn acquire(
        &self,
        kind: CallKind<'_>,
    ) -> Result<Option<CallPermit>, RetryAfter> {
        match &self.pacing {
            Some(pacing) => pacing.acquire(kind).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether Ironic answered the last time; `None` where there is no Ironic.
    pub(super) fn reachable(&self) -> Option<watch::Receiver<Option<bool>>> {
        self.upstream.reachable()
    }

    /// Sends one beat to Ironic.
    pub(super) async fn beat(
        &self,
        hello: &v1::Hello,
        advertised: &Advertised,
        beat: &v1::Beat,
    ) -> BeatAnswer {
        let message = status_message(&beat.status_message);
        let answer = self
            .upstream
            .heartbeat(Beat {
                node_uuid: &hello.node_uuid,
                callback_url: &advertised.callback_url,
                agent_token: Some(hello.agent_token.as_str()).filter(|token| !token.is_empty()),
                agent_version: &hello.agent_version,
                agent_verify_ca: advertised.verify_ca.as_deref(),
                agent_status_message: message.as_deref(),
            })
            .await;
        match &answer {
            BeatAnswer::Accepted if !self.upstream.is_ironic() => {
                info!(node = %hello.node_uuid, "heartbeat");
            }
            BeatAnswer::Accepted => info!(node = %hello.node_uuid, "Ironic accepted a heartbeat"),
            BeatAnswer::Conflict(reason)
            | BeatAnswer::Refused { reason, .. }
            | BeatAnswer::Unreachable(reason) => {
                if self.upstream.is_ironic() {
                    warn!(node = %hello.node_uuid, %reason, "Ironic did not accept a heartbeat");
                } else {
                    warn!(node = %hello.node_uuid, %reason, "a heartbeat was not accepted");
                }
            }
        }
        answer
    }
}
