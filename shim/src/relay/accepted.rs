//! The token that Ironic has accepted, and for which node: whose sessions are believed.
//!
//! Any caller that reaches `ConductorService` may open a session and say anything. Only Ironic
//! and the agent know the node's token, so a session is proved by a heartbeat that Ironic
//! accepts, by the agent itself, which takes that token, or by the token of a session that was
//! proved before. The shim keeps a digest of that token in its state directory: after a restart
//! the agent's next session is proved by its `Hello`, not by a heartbeat minutes later.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A node and the digest of its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Proof {
    node_uuid: String,
    token_sha256: String,
}

impl Proof {
    fn new(node: &str, token: &str) -> Self {
        Self {
            node_uuid: node.to_owned(),
            token_sha256: digest(token),
        }
    }
}

/// What a session's `Hello` is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionTrust {
    /// Ironic has accepted this token for this node.
    Proved,
    /// Nobody has said anything about it yet.
    Unproved,
    /// Ironic has accepted a session of another node: this shim is that node's.
    OtherNode,
}

/// What Ironic has accepted so far.
#[derive(Debug)]
pub(super) struct Accepted {
    file: PathBuf,
    proof: Mutex<Option<Proof>>,
}

impl Accepted {
    /// What an earlier process of this boot kept in the state directory.
    pub(super) fn new(state: &Path) -> Self {
        let file = state.join("accepted-token.json");
        let proof = fs::read(&file)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        Self {
            file,
            proof: Mutex::new(proof),
        }
    }

    /// What a session of this node and token is worth.
    pub(super) fn trust(&self, node: &str, token: &str) -> SessionTrust {
        match &*self.lock() {
            None => SessionTrust::Unproved,
            Some(proof) if proof.node_uuid != node => SessionTrust::OtherNode,
            // Digests are compared: how long that takes tells nothing about the token.
            Some(proof) if !token.is_empty() && proof.token_sha256 == digest(token) => {
                SessionTrust::Proved
            }
            Some(_) => SessionTrust::Unproved,
        }
    }

    /// Ironic has accepted a heartbeat of this node with this token.
    pub(super) fn accept(&self, node: &str, token: &str) {
        let new = Proof::new(node, token);
        let mut proof = self.lock();
        if proof.as_ref() == Some(&new) {
            return;
        }
        if let Err(error) = write(&self.file, &new) {
            tracing::warn!(%error, path = %self.file.display(),
                "after a restart of the shim, its agent is believed from its next heartbeat on");
        }
        *proof = Some(new);
    }

    // Every change is one assignment.
    fn lock(&self) -> MutexGuard<'_, Option<Proof>> {
        self.proof.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hexadecimal SHA-256.
pub(super) fn digest(token: &str) -> String {
    let digest = Sha256::digest(token.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write(path: &Path, proof: &Proof) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let new = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(&serde_json::to_vec(proof)?)?;
    file.sync_all()?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ironic_accepted_is_proved_also_after_a_restart() {
        let state = tempfile::tempdir().unwrap();
        let accepted = Accepted::new(state.path());
        assert_eq!(accepted.trust("n", "t"), SessionTrust::Unproved);
        accepted.accept("n", "t");
        for accepted in [&accepted, &Accepted::new(state.path())] {
            assert_eq!(accepted.trust("n", "t"), SessionTrust::Proved);
            assert_eq!(accepted.trust("n", "other"), SessionTrust::Unproved);
            assert_eq!(accepted.trust("n", ""), SessionTrust::Unproved);
            assert_eq!(accepted.trust("m", "t"), SessionTrust::OtherNode);
        }
        // Ironic gave the node a new token.
        accepted.accept("n", "u");
        assert_eq!(accepted.trust("n", "t"), SessionTrust::Unproved);
        assert_eq!(accepted.trust("n", "u"), SessionTrust::Proved);
        let text = fs::read_to_string(state.path().join("accepted-token.json")).unwrap();
        assert!(!text.contains("\"u\""), "{text}");
    }

    #[test]
    fn a_session_without_a_token_is_never_proved() {
        let state = tempfile::tempdir().unwrap();
        let accepted = Accepted::new(state.path());
        accepted.accept("n", "");
        assert_eq!(accepted.trust("n", ""), SessionTrust::Unproved);
    }

    #[test]
    fn a_state_directory_that_cannot_be_used_costs_only_the_memory() {
        let accepted = Accepted::new(Path::new("/proc/no-such-place"));
        accepted.accept("n", "t");
        assert_eq!(accepted.trust("n", "t"), SessionTrust::Proved);
    }
}
