//! The handle to the table of agents that all modules share.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use ironic_text::Secret;
use ironic_transport::Endpoint;
use ironic_transport::grpc::{InvalidEndpoint, TlsFiles};
use tokio::sync::mpsc;

use super::attachment::{AttachmentSlot, HeldRequest, HeldRequests};
use super::client::Client;
use super::proofs::Proofs;
use super::record::ExecutedCommand;
use super::registry::{AgentKey, Entry, Generation, NewAgent, Registry};
use crate::metrics::Metrics;

/// Requests that wait for agents that are away, all together: as many workers of conductors wait
/// with them.
const HELD: usize = 512;

/// The agents that this shim knows. Cheap to clone; all clones share the table.
#[derive(Debug, Clone)]
pub struct AgentRegistry {
    registry: Arc<RwLock<Registry<Arc<Client>>>>,
    proofs: Proofs,
    /// Whether agents attach.
    attaches: bool,
    held: HeldRequests,
    since: Instant,
    /// The receiver of the commands that agents which attach were given.
    executed: Option<mpsc::Sender<ExecutedCommand>>,
}

/// An agent that listens.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Where it serves.
    pub endpoint: Endpoint,
    /// The files for TLS with it.
    pub files: TlsFiles,
    /// The token that it holds, as far as it is known.
    pub token: Option<Secret>,
    /// Its version; empty when it has not said.
    pub version: String,
}

/// An agent, for one request.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Calls it.
    pub client: Arc<Client>,
    /// The token that a caller must show, as far as it is known. Without one nobody passes but
    /// who shows a proved one.
    pub token: Option<Secret>,
    /// It is not served any more.
    pub closed: bool,
}

impl Default for AgentRegistry {
    fn default() -> Self {
        Self::new(Proofs::default())
    }
}

impl AgentRegistry {
    /// No agents yet: each is registered. Whose tokens are known is in `proofs`.
    #[must_use]
    pub fn new(proofs: Proofs) -> Self {
        Self {
            registry: Arc::default(),
            proofs,
            attaches: false,
            held: HeldRequests::new(HELD, Metrics::new()),
            since: Instant::now(),
            executed: None,
        }
    }

    /// The same for agents that attach: a node whose token was proved is known, also while its
    /// agent is away.
    ///
    /// What they are given to do is sent to `executed`, where somebody wants to know.
    #[must_use]
    pub fn of_gateway(
        proofs: Proofs,
        metrics: Metrics,
        executed: Option<mpsc::Sender<ExecutedCommand>>,
    ) -> Self {
        Self {
            attaches: true,
            held: HeldRequests::new(HELD, metrics),
            executed,
            ..Self::new(proofs)
        }
    }

    /// Where what happens to agents and calls is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        self.held.metrics()
    }

    /// The tokens that are known.
    #[must_use]
    pub fn proofs(&self) -> &Proofs {
        &self.proofs
    }

    /// The agent of a node that some gateway has to do with, which listens nowhere: the one that
    /// is known, or a new one that is away.
    pub fn node(&self, node_uuid: &str) -> (Arc<Client>, Generation) {
        let key = AgentKey::Node(node_uuid.to_owned());
        let known = |registry: &Registry<Arc<Client>>| {
            let entry = registry.get(&key)?;
            Some((Arc::clone(&entry.connection), entry.generation))
        };
        if let Some(found) = known(&self.read()) {
            return found;
        }
        let now = self.now();
        let mut registry = self.write();
        // Another call may have come first.
        if let Some(found) = known(&registry) {
            return found;
        }
        let agent = self.away(node_uuid);
        let client = Arc::clone(&agent.connection);
        let generation = registry.register(key.clone(), agent, now);
        (client, generation)
    }

    /// The agent of a node of which nothing is known.
    fn away(&self, node_uuid: &str) -> NewAgent<Arc<Client>> {
        let slot = AttachmentSlot::new(self.held.clone());
        let client = Client::attached(slot, node_uuid, self.executed.clone());
        NewAgent {
            connection: Arc::new(client),
            token: None,
            version: String::new(),
        }
    }

    /// From now on callers of a node pass with this token, which was proved; its agent has this
    /// version, and has given a sign of life. Each heartbeat does it: it takes the table once, and
    /// changes nothing that is the same.
    pub fn trust(&self, node_uuid: &str, token: &str, version: &str) {
        let key = AgentKey::Node(node_uuid.to_owned());
        let now = self.now();
        let mut registry = self.write();
        if registry.get(&key).is_none() {
            registry.register(key.clone(), self.away(node_uuid), now);
        }
        let Some(entry) = registry.get_mut(&key) else {
            return;
        };
        entry.seen = now;
        if entry.version != version {
            version.clone_into(&mut entry.version);
        }
        let is_held = entry.token.as_ref().map(Secret::reveal) == Some(token);
        if !is_held {
            entry.token = Some(Secret::new(token));
        }
    }

    /// Forgets a node whose agent is away and whom nobody calls. What is known of it for good is
    /// that its token was proved; the rest would hold a page of memory each.
    pub fn forget_if_idle(&self, node_uuid: &str) {
        let key = AgentKey::Node(node_uuid.to_owned());
        let mut registry = self.write();
        let is_idle = |entry: &Entry<Arc<Client>>| {
            let is_empty = entry.connection.slot().is_some_and(AttachmentSlot::is_idle);
            !entry.closed && is_empty && Arc::strong_count(&entry.connection) == 1
        };
        // Nobody gets another handle while the table is locked.
        if let Some(entry) = registry.get(&key).filter(|entry| is_idle(entry)) {
            let generation = entry.generation;
            registry.remove(&key, generation);
        }
    }

    /// The slot of a node, if anything of the node has been here.
    #[must_use]
    pub fn slot(&self, node_uuid: &str) -> Option<AttachmentSlot> {
        let registry = self.read();
        let entry = registry.get(&AgentKey::Node(node_uuid.to_owned()))?;
        entry.connection.slot().cloned()
    }

    /// Whether the service of a node has ended here.
    #[must_use]
    pub fn is_closed(&self, node_uuid: &str) -> bool {
        let registry = self.read();
        let entry = registry.get(&AgentKey::Node(node_uuid.to_owned()));
        entry.is_some_and(|entry| entry.closed)
    }

    /// Leave for one more request to wait for an agent that is away, of a caller that may call the
    /// node or of a stranger. `None`: too many do.
    #[must_use]
    pub fn hold(&self, is_proved: bool) -> Option<HeldRequest> {
        self.held.hold(is_proved)
    }

    /// Registers an agent; a client for it connects when the first call comes. Must
    /// be called within a runtime.
    ///
    /// # Errors
    /// The address or the files make no sense.
    pub fn register(
        &self,
        key: AgentKey,
        agent: Registration,
    ) -> Result<Generation, InvalidEndpoint> {
        let client = Client::new(&agent.endpoint, &agent.files)?;
        Ok(self.register_client(key, client, agent.token, agent.version))
    }

    /// Registers an agent that is already connected.
    pub fn register_client(
        &self,
        key: AgentKey,
        client: Client,
        token: Option<Secret>,
        version: String,
    ) -> Generation {
        let now = self.now();
        let agent = NewAgent {
            connection: Arc::new(client),
            token,
            version,
        };
        self.write().register(key, agent, now)
    }

    /// Replaces the token. Whether the agent of that generation is still there.
    pub fn set_token(&self, key: &AgentKey, generation: Generation, token: Secret) -> bool {
        let mut registry = self.write();
        let entry = registry.current(key, generation);
        entry.map(|entry| entry.token = Some(token)).is_some()
    }

    /// Notes a sign of life. Whether the agent of that generation is still there.
    pub fn seen(&self, key: &AgentKey, generation: Generation, version: &str) -> bool {
        let now = self.now();
        let mut registry = self.write();
        let entry = registry.current(key, generation);
        entry
            .map(|entry| {
                entry.seen = now;
                version.clone_into(&mut entry.version);
            })
            .is_some()
    }

    /// Removes an agent, unless another one was registered under its key.
    pub fn remove(&self, key: &AgentKey, generation: Generation) -> bool {
        self.write().remove(key, generation)
    }

    /// Ends the service of an agent: from now on its callers get no answer.
    pub fn close(&self, key: &AgentKey, generation: Generation) -> bool {
        self.set_closed(key, generation, true)
    }

    /// Serves an agent again: its machine has booted.
    pub fn reopen(&self, key: &AgentKey, generation: Generation) -> bool {
        self.set_closed(key, generation, false)
    }

    /// The same for a node of which another gateway says so: nothing more need be known of it here.
    pub fn reopen_node(&self, node_uuid: &str) {
        let key = AgentKey::Node(node_uuid.to_owned());
        let closed = {
            let registry = self.read();
            let entry = registry.get(&key).filter(|entry| entry.closed);
            entry.map(|entry| entry.generation)
        };
        if let Some(generation) = closed {
            self.reopen(&key, generation);
            self.forget_if_idle(node_uuid);
        }
    }

    fn set_closed(&self, key: &AgentKey, generation: Generation, closed: bool) -> bool {
        let mut registry = self.write();
        let entry = registry.current(key, generation);
        entry.map(|entry| entry.closed = closed).is_some()
    }

    /// The agent with a key, and the generation of its registration.
    #[must_use]
    pub fn find(&self, key: &AgentKey) -> Option<(Agent, Generation)> {
        if let AgentKey::Node(node_uuid) = key
            && self.attaches
            && self.proofs.knows(node_uuid)
        {
            self.node(node_uuid);
        }
        let registry = self.read();
        let entry = registry.get(key)?;
        let agent = Agent {
            client: Arc::clone(&entry.connection),
            token: entry.token.clone(),
            closed: entry.closed,
        };
        Some((agent, entry.generation))
    }

    /// Milliseconds since the registry was made.
    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    // A writer that panicked has left the table whole: every change is one insertion.
    fn read(&self) -> RwLockReadGuard<'_, Registry<Arc<Client>>> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Registry<Arc<Client>>> {
        self.registry
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ironic_tunnel::Pings;
    use tokio::time::sleep;

    use super::*;
    use crate::agents::AttachmentId;
    use crate::agents::attachment::HoldTerms;

    #[test]
    fn a_heartbeat_is_noted_where_the_node_is_known_and_makes_it_known() {
        let agents = AgentRegistry::of_gateway(Proofs::default(), Metrics::new(), None);
        let key = AgentKey::Node("n".to_owned());
        assert!(agents.find(&key).is_none());
        agents.trust("n", "t", "1");
        let (first, generation) = agents.find(&key).unwrap();
        agents.close(&key, generation);
        agents.trust("n", "u", "2");
        let (agent, again) = agents.find(&key).unwrap();
        assert_eq!((again, agent.closed), (generation, true));
        assert_eq!(agent.token.as_ref().map(Secret::reveal), Some("u"));
        assert!(Arc::ptr_eq(&agent.client, &first.client));
        assert_eq!(agents.read().get(&key).unwrap().version, "2");
    }

    /// The nodes are many, and what anybody may ask of each waits for its agent.
    #[tokio::test(start_paused = true)]
    async fn what_anybody_may_ask_of_agents_that_are_away_takes_no_place_of_a_conductor() {
        let agents = AgentRegistry::of_gateway(Proofs::default(), Metrics::new(), None);
        for number in 0..HELD {
            let (client, _) = agents.node(&format!("node-{number}"));
            tokio::spawn(async move {
                if number % 2 == 0 {
                    drop(client.status().await);
                } else {
                    client.takes(&Secret::new("a guess")).await;
                }
            });
        }
        sleep(Duration::from_secs(1)).await;
        let (client, _) = agents.node("another");
        let slot = client.slot().unwrap().clone();
        let waiting = tokio::spawn({
            let slot = slot.clone();
            async move { slot.channel(HoldTerms::now(true)).await.map(|_| ()) }
        });
        sleep(Duration::from_secs(1)).await;
        let (ours, _theirs) = tokio::io::duplex(1024);
        let (channel, driver) = ironic_tunnel::connect(ours, Pings::Never).await.unwrap();
        tokio::spawn(driver);
        let id = AttachmentId {
            boot_id: "b".into(),
            counter: 1,
        };
        slot.attach(id, channel).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }
}
