//! What replicas say to each other, in JSON: over the directory who they are and where a node
//! is, directly and over mutual TLS what they hold and which tokens they have proved.

use serde::{Deserialize, Serialize};

use super::locations::ClaimLine;
use crate::agents::ProofLine;

/// The largest message of the directory that is read, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 4096;

/// Lines of each kind in one [`Update`].
pub const LINES: usize = 2048;

/// The largest [`Update`] that is read, in bytes: a line has some 250.
pub const MAX_UPDATE_BYTES: usize = 2 * LINES * 1024;

/// The path at which a replica takes an [`Update`].
pub const UPDATE_PATH: &str = "/replica/v1/update";

/// A replica, as it introduces itself in the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Chosen anew at each start.
    pub replica: String,
    /// Where other replicas reach it: its option `peer_url`.
    pub peer_url: String,
    /// Its option `gateway_url`, which all replicas share.
    pub gateway_url: String,
    /// SHA-256 of the `agent_verify_ca` that it gives to Ironic, in hexadecimal; `None` where it
    /// gives none.
    pub verify_ca_sha256: Option<String>,
}

/// What a replica answers when the directory asks where a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocateAnswer {
    /// The `peer_url` of the replica that answers.
    pub peer_url: String,
    /// Whether the node is known to it at all.
    pub known: bool,
    /// The latest attachment of the node to this replica.
    pub claim: Option<ClaimLine>,
}

/// What is new at a replica since the last update that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// The `peer_url` of the replica that sends this.
    pub peer_url: String,
    /// Attachments that began or ended.
    pub claims: Vec<ClaimLine>,
    /// Tokens that were proved.
    pub proofs: Vec<ProofLine>,
}
