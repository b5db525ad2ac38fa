//! The table of agents. Pure: it neither connects nor looks at a clock.
//!
//! ```text
//! register ──▶ generation n ──▶ seen, token ──▶ remove(n)
//!                  │
//!                  └─ register again ──▶ generation n+1: remove(n) changes nothing
//! ```

use std::collections::HashMap;
use std::fmt;

use ironic_text::Secret;

/// Where the REST interface of an agent stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AgentKey {
    /// At the root: the one agent that the shim stands beside.
    Root,
    /// Below `/nodes/<uuid>`: one of many behind a gateway.
    Node(String),
}

impl fmt::Display for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("/"),
            Self::Node(uuid) => write!(f, "/nodes/{uuid}"),
        }
    }
}

/// Which registration of a key: a later one is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(u64);

/// What is known of one agent. `C` is how it is reached.
#[derive(Debug, Clone)]
pub struct Entry<C> {
    /// The registration that made this entry.
    pub generation: Generation,
    /// How it is reached.
    pub connection: C,
    /// The token that conductor and agent share.
    pub token: Option<Secret>,
    /// The agent's version; empty when it has not said.
    pub version: String,
    /// When it was last heard of, in the caller's own measure.
    pub seen: u64,
    /// It was handed over to a rescuer or locked down: it is not served any more.
    pub closed: bool,
}

/// The agents by key.
#[derive(Debug)]
pub struct Registry<C> {
    entries: HashMap<AgentKey, Entry<C>>,
    latest: u64,
}

/// An agent that is registered.
#[derive(Debug)]
pub struct NewAgent<C> {
    /// How it is reached.
    pub connection: C,
    /// The token that it holds, as far as it is known.
    pub token: Option<Secret>,
    /// Its version; empty when it has not said.
    pub version: String,
}

impl<C> Default for Registry<C> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            latest: 0,
        }
    }
}

impl<C> Registry<C> {
    /// Registers an agent. The one that had its key is gone.
    pub fn register(&mut self, key: AgentKey, agent: NewAgent<C>, now: u64) -> Generation {
        self.latest += 1;
        let generation = Generation(self.latest);
        let entry = Entry {
            generation,
            connection: agent.connection,
            token: agent.token,
            version: agent.version,
            seen: now,
            closed: false,
        };
        self.entries.insert(key, entry);
        generation
    }

    /// The agent with a key.
    #[must_use]
    pub fn get(&self, key: &AgentKey) -> Option<&Entry<C>> {
        self.entries.get(key)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, key: &AgentKey) -> Option<&mut Entry<C>> {
        self.entries.get_mut(key)
    }

    /// The agent with a key, if it is still the one of this generation.
    pub fn current(&mut self, key: &AgentKey, generation: Generation) -> Option<&mut Entry<C>> {
        self.entries
            .get_mut(key)
            .filter(|entry| entry.generation == generation)
    }

    /// Removes an agent, unless another one was registered under its key.
    pub fn remove(&mut self, key: &AgentKey, generation: Generation) -> bool {
        let current = self.current(key, generation).is_some();
        if current {
            self.entries.remove(key);
        }
        current
    }

    /// How many agents there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn add(
        registry: &mut Registry<&'static str>,
        key: &AgentKey,
        name: &'static str,
    ) -> Generation {
        let agent = NewAgent {
            connection: name,
            token: None,
            version: String::new(),
        };
        registry.register(key.clone(), agent, 0)
    }

    #[test]
    fn a_late_clean_up_never_removes_a_newer_connection() {
        let mut registry = Registry::default();
        let key = AgentKey::Node("1be26c0b".into());
        let old = add(&mut registry, &key, "old");
        let new = add(&mut registry, &key, "new");
        assert!(!registry.remove(&key, old));
        assert!(registry.current(&key, old).is_none());
        assert_eq!(registry.get(&key).unwrap().connection, "new");
        assert!(registry.remove(&key, new));
        assert!(!registry.remove(&key, new));
        assert!(registry.is_empty());
    }

    #[test]
    fn the_root_is_no_node() {
        let mut registry = Registry::default();
        let root = add(&mut registry, &AgentKey::Root, "beside");
        add(&mut registry, &AgentKey::Node("a".into()), "a");
        assert_eq!(registry.len(), 2);
        assert!(registry.remove(&AgentKey::Root, root));
        assert!(registry.get(&AgentKey::Node("a".into())).is_some());
    }

    #[derive(Debug, Clone)]
    enum Act {
        Register(u8),
        /// Remove the n-th registration ever made.
        Remove(usize),
    }

    proptest! {
        /// Against a model: of each key the latest registration counts, until that very
        /// registration is removed.
        #[test]
        fn only_the_latest_registration_of_a_place_counts(
            acts in prop::collection::vec(
                prop_oneof![
                    (0..3_u8).prop_map(Act::Register),
                    (0..20_usize).prop_map(Act::Remove),
                ],
                0..40,
            )
        ) {
            let key = |number: u8| AgentKey::Node(number.to_string());
            let mut registry = Registry::default();
            let mut made: Vec<(u8, Generation)> = Vec::new();
            let mut model: HashMap<u8, Generation> = HashMap::new();
            for act in acts {
                match act {
                    Act::Register(number) => {
                        let agent = NewAgent {
                            connection: (),
                            token: None,
                            version: String::new(),
                        };
                        let generation = registry.register(key(number), agent, 0);
                        made.push((number, generation));
                        model.insert(number, generation);
                    }
                    Act::Remove(at) => if let Some((number, generation)) = made.get(at) {
                        let expected = model.get(number) == Some(generation);
                        prop_assert_eq!(registry.remove(&key(*number), *generation), expected);
                        if expected {
                            model.remove(number);
                        }
                    }
                }
                prop_assert_eq!(registry.len(), model.len());
                for number in 0..3 {
                    let held = registry.get(&key(number)).map(|entry| entry.generation);
                    prop_assert_eq!(held, model.get(&number).copied());
                }
            }
        }
    }
}
