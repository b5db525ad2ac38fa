//! How the shim learns a token that its agent was given by somebody else: by
//! `poll.set_node_info` over gRPC, or by a restart.
//!
//! The agent decides which token is right. It is asked about the token that the shim holds,
//! once a second at most, and only when a request shows another one; while the agent still
//! takes the held one, no other passes. So strangers who guess cost one small call a second.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ironic_text::Secret;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::agents::{AgentKey, Client};

/// How long an answer of the agent about the held token counts.
const FRESH: Duration = Duration::from_secs(1);

/// What is known about the tokens that the shim holds.
#[derive(Debug, Default)]
pub struct Renewal {
    /// By agent: when it took the held token the last time.
    confirmed: std::sync::Mutex<HashMap<AgentKey, Arc<Mutex<Option<Instant>>>>>,
}

impl Renewal {
    /// Whether the agent takes `candidate` in place of the token that the shim holds.
    pub async fn accepts(
        &self,
        key: &AgentKey,
        client: &Client,
        held: &Secret,
        candidate: &Secret,
    ) -> bool {
        let confirmed = {
            let mut agents = self
                .confirmed
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            Arc::clone(agents.entry(key.clone()).or_default())
        };
        // One question at a time.
        let mut confirmed = confirmed.lock().await;
        if confirmed.is_some_and(|at| at.elapsed() < FRESH) {
            return false;
        }
        // An agent that does not answer has no say: the held token counts.
        if client.takes(held).await != Some(false) {
            *confirmed = Some(Instant::now());
            return false;
        }
        client.takes(candidate).await == Some(true)
    }
}
