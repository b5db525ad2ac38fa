//! The handle to the table of agents that all rooms share.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use ironic_text::Secret;
use ironic_transport::Endpoint;
use ironic_transport::grpc::TlsFiles;

use super::client::Client;
use super::connect::InvalidEndpoint;
use super::registry::{Generation, NewAgent, Place, Registry};

/// The agents that this shim knows. Cheap to clone; all clones share the table.
#[derive(Debug, Clone)]
pub struct Roster {
    registry: Arc<RwLock<Registry<Arc<Client>>>>,
    since: Instant,
}

/// An agent that wants to be known.
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
    /// The connection.
    pub client: Arc<Client>,
    /// The token that a caller must show. Without one nobody passes.
    pub token: Option<Secret>,
    /// Its door stays shut.
    pub closed: bool,
}

impl Default for Roster {
    fn default() -> Self {
        Self {
            registry: Arc::default(),
            since: Instant::now(),
        }
    }
}

impl Roster {
    /// Puts an agent in its place; a client for it connects when the first call comes. Must
    /// be called within a runtime.
    ///
    /// # Errors
    /// The address or the files make no sense.
    pub fn register(
        &self,
        place: Place,
        agent: Registration,
    ) -> Result<Generation, InvalidEndpoint> {
        let client = Client::new(&agent.endpoint, &agent.files)?;
        Ok(self.register_client(place, client, agent.token, agent.version))
    }

    /// Puts an agent in its place that is already connected.
    pub fn register_client(
        &self,
        place: Place,
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
        self.write().register(place, agent, now)
    }

    /// Replaces the token. Whether the agent of that generation is still there.
    pub fn set_token(&self, place: &Place, generation: Generation, token: Secret) -> bool {
        let mut registry = self.write();
        let entry = registry.current(place, generation);
        entry.map(|entry| entry.token = Some(token)).is_some()
    }

    /// Notes a sign of life. Whether the agent of that generation is still there.
    pub fn seen(&self, place: &Place, generation: Generation, version: &str) -> bool {
        let now = self.now();
        let mut registry = self.write();
        let entry = registry.current(place, generation);
        entry
            .map(|entry| {
                entry.seen = now;
                version.clone_into(&mut entry.version);
            })
            .is_some()
    }

    /// Empties a place, unless somebody newer stands there.
    pub fn remove(&self, place: &Place, generation: Generation) -> bool {
        self.write().remove(place, generation)
    }

    /// Shuts the door of an agent: from now on nobody answers its callers.
    pub fn close(&self, place: &Place, generation: Generation) -> bool {
        let mut registry = self.write();
        let entry = registry.current(place, generation);
        entry.map(|entry| entry.closed = true).is_some()
    }

    /// The agent in a place and the generation of its registration.
    #[must_use]
    pub fn find(&self, place: &Place) -> Option<(Agent, Generation)> {
        let registry = self.read();
        let entry = registry.get(place)?;
        let agent = Agent {
            client: Arc::clone(&entry.connection),
            token: entry.token.clone(),
            closed: entry.closed,
        };
        Some((agent, entry.generation))
    }

    /// Milliseconds since the roster was made.
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
