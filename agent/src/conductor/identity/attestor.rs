//! What proves that a machine is a node.

use std::fmt;

use ironic_text::Secret;

use super::{IssuerInfo, KnownNode};

/// A proof, as a gateway takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeEvidence {
    /// A join token, and the node as far as the machine knows it.
    JoinToken {
        /// The token.
        token: Secret,
        /// The node's UUID.
        node_uuid: Option<String>,
    },
    /// The agent token of a node.
    AgentToken {
        /// The token.
        token: Secret,
        /// The node's UUID.
        node_uuid: String,
    },
}

/// Makes proofs. A TPM would be another one of these: its evidence is the certificate of its
/// endorsement key and the answer to the gateway's challenge, for which `EnrollRequest.proof` has
/// room.
pub trait NodeAttestor: fmt::Debug + Send + Sync {
    /// What it is called in the log.
    fn name(&self) -> &'static str;

    /// A proof that the gateway accepts, made from what is known now; `None` if there is nothing to
    /// make it from.
    fn evidence(&self, issuer: &IssuerInfo, known: &KnownNode) -> Option<NodeEvidence>;
}

/// The join token of the configuration.
#[derive(Debug, Clone)]
pub struct JoinTokenAttestor(pub Secret);

impl NodeAttestor for JoinTokenAttestor {
    fn name(&self) -> &'static str {
        "join_token"
    }

    fn evidence(&self, issuer: &IssuerInfo, known: &KnownNode) -> Option<NodeEvidence> {
        issuer.takes_join_token.then(|| NodeEvidence::JoinToken {
            token: self.0.clone(),
            node_uuid: known.node_uuid.clone(),
        })
    }
}

/// The token that the conductor has given the node.
#[derive(Debug, Clone, Copy)]
pub struct AgentTokenAttestor;

impl NodeAttestor for AgentTokenAttestor {
    fn name(&self) -> &'static str {
        "agent_token"
    }

    fn evidence(&self, issuer: &IssuerInfo, known: &KnownNode) -> Option<NodeEvidence> {
        let token = known.agent_token.clone()?;
        let node_uuid = known.node_uuid.clone()?;
        let evidence = NodeEvidence::AgentToken { token, node_uuid };
        issuer.takes_agent_token.then_some(evidence)
    }
}
