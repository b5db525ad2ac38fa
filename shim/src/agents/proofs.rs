//! The tokens that are known to be their nodes': whose sessions are believed.
//!
//! Any caller that reaches `ConductorService` may open a session and say anything. Only Ironic
//! and the agent know the node's token, so a session is proved by a heartbeat that Ironic
//! accepts, by the lookup in which this program handed the token out, or by the agent itself,
//! which takes that token. Digests of proved tokens are kept in the state directory: after a
//! restart an agent's next session is proved by its first message, not by a heartbeat minutes
//! later.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ironic_text::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

/// A line of the file: a node and the digest of its token. Of a node's lines the last counts.
#[derive(Debug, Serialize, Deserialize)]
struct ProofLine {
    node_uuid: String,
    token_sha256: TokenDigest,
}

/// SHA-256 of a token, in hexadecimal. Comparing digests takes a time that says nothing about
/// the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenDigest(String);

impl TokenDigest {
    /// The digest of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        let digest = Sha256::digest(token.as_bytes());
        Self(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The proved tokens by node, in memory only unless they have a state directory. Cheap to clone;
/// all clones share them.
#[derive(Debug, Clone, Default)]
pub struct Proofs(Arc<ProofTable>);

#[derive(Debug, Default)]
struct ProofTable {
    /// Where they are kept.
    file: Option<PathBuf>,
    proved: Mutex<HashMap<String, TokenDigest>>,
    /// Where proofs are appended; made when the first comes.
    log: Mutex<Option<File>>,
    /// Why the last proof was not kept.
    problem: Mutex<Option<String>>,
    /// Who waits for the proof of a node.
    waiting: Mutex<HashMap<String, Arc<Notify>>>,
}

impl Proofs {
    /// Reads what an earlier process kept in the state directory.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        let file = state.join("proved-tokens.jsonl");
        let text = fs::read_to_string(&file).unwrap_or_default();
        // A line that a crash cut short is the last one; its node is proved again.
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<ProofLine>(line).ok());
        let proved = lines
            .map(|line| (line.node_uuid, line.token_sha256))
            .collect();
        Self(Arc::new(ProofTable {
            file: Some(file),
            proved: Mutex::new(proved),
            log: Mutex::new(None),
            problem: Mutex::default(),
            waiting: Mutex::default(),
        }))
    }

    /// Whether this token is known to be this node's. No token never is.
    #[must_use]
    pub fn is_proved(&self, node: &str, token: &str) -> bool {
        let proved = lock(&self.0.proved);
        let digest = proved.get(node);
        !token.is_empty() && digest.is_some_and(|digest| *digest == TokenDigest::of(token))
    }

    /// Whether some token of this node was proved.
    #[must_use]
    pub fn knows(&self, node: &str) -> bool {
        lock(&self.0.proved).contains_key(node)
    }

    /// How many nodes are known.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.0.proved).len()
    }

    /// Why the last proof was not kept, for a person: nothing is wrong until one is not.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        lock(&self.0.problem).clone()
    }

    /// Whether a token of another node was proved: a program beside one agent serves one node.
    #[must_use]
    pub fn knows_other_than(&self, node: &str) -> bool {
        lock(&self.0.proved).keys().any(|known| known != node)
    }

    /// From now on this token is the node's, and no earlier one.
    pub fn prove(&self, node: &str, token: &str) {
        if token.is_empty() {
            return;
        }
        let digest = TokenDigest::of(token);
        let earlier = lock(&self.0.proved).insert(node.to_owned(), digest.clone());
        if earlier.as_ref() != Some(&digest) {
            self.keep(node, digest);
        }
        if let Some(waiting) = lock(&self.0.waiting).remove(node) {
            waiting.notify_waiters();
        }
    }

    /// Completes when this token is proved to be this node's. The number of callers is theirs to
    /// bound.
    pub async fn wait(&self, node: &str, token: &Secret) {
        loop {
            let notify = {
                let mut waiting = lock(&self.0.waiting);
                Arc::clone(waiting.entry(node.to_owned()).or_default())
            };
            let notified = notify.notified();
            tokio::pin!(notified);
            // From here on no proof is missed.
            notified.as_mut().enable();
            if self.is_proved(node, token.reveal()) {
                return;
            }
            notified.await;
        }
    }

    /// Forgets that somebody waited: call it when [`wait`](Self::wait) was given up.
    pub fn stop_waiting(&self, node: &str) {
        let mut waiting = lock(&self.0.waiting);
        if waiting
            .get(node)
            .is_some_and(|notify| Arc::strong_count(notify) == 1)
        {
            waiting.remove(node);
        }
    }

    fn keep(&self, node: &str, digest: TokenDigest) {
        let Some(file) = &self.0.file else {
            return;
        };
        let line = ProofLine {
            node_uuid: node.to_owned(),
            token_sha256: digest,
        };
        let mut log = lock(&self.0.log);
        let kept = self.append(file, &mut log, &line);
        let path = file.display();
        *lock(&self.0.problem) = kept.as_ref().err().map(|error| {
            format!("proofs of tokens cannot be kept in {path}: {error}: free space in state_dir")
        });
        if let Err(error) = kept {
            tracing::warn!(%error, %path,
                "after a restart, this agent is believed from its next heartbeat on");
            *log = None;
        }
    }

    fn append(&self, path: &Path, log: &mut Option<File>, line: &ProofLine) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        match log {
            Some(log) => log.write_all(&text),
            // The first proof of this process: what is known is written whole, without the
            // lines that others have replaced.
            None => self.rewrite(path).map(|file| *log = Some(file)),
        }
    }

    fn rewrite(&self, path: &Path) -> io::Result<File> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut text = Vec::new();
        for (node_uuid, digest) in &*lock(&self.0.proved) {
            let line = ProofLine {
                node_uuid: node_uuid.clone(),
                token_sha256: digest.clone(),
            };
            serde_json::to_writer(&mut text, &line)?;
            text.push(b'\n');
        }
        let new = path.with_extension("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        Ok(file)
    }
}

// Every change is one insertion or removal.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_was_proved_is_believed_also_after_a_restart() {
        let state = tempfile::tempdir().unwrap();
        let proofs = Proofs::new(state.path());
        assert!(!proofs.is_proved("n", "t"));
        proofs.prove("n", "t");
        proofs.prove("m", "s");
        for proofs in [&proofs, &Proofs::new(state.path())] {
            assert!(proofs.is_proved("n", "t") && proofs.is_proved("m", "s"));
            assert!(!proofs.is_proved("n", "s") && !proofs.is_proved("n", ""));
            assert!(!proofs.is_proved("o", "t"));
            assert!(proofs.knows("m") && !proofs.knows("o"));
            assert!(proofs.knows_other_than("n"));
        }
        // Ironic gave the node a new token.
        proofs.prove("n", "u");
        for proofs in [&proofs, &Proofs::new(state.path())] {
            assert!(!proofs.is_proved("n", "t"));
            assert!(proofs.is_proved("n", "u"));
        }
        let text = fs::read_to_string(state.path().join("proved-tokens.jsonl")).unwrap();
        assert!(!text.contains("\"u\""), "{text}");
    }

    #[test]
    fn a_line_that_a_crash_cut_short_costs_only_its_node() {
        let state = tempfile::tempdir().unwrap();
        let proofs = Proofs::new(state.path());
        proofs.prove("n", "t");
        proofs.prove("m", "s");
        let path = state.path().join("proved-tokens.jsonl");
        let text = fs::read(&path).unwrap();
        fs::write(&path, &text[..text.len() - 5]).unwrap();
        let proofs = Proofs::new(state.path());
        assert!(proofs.is_proved("n", "t") && !proofs.knows("m"));
        // What follows is whole.
        proofs.prove("o", "r");
        let proofs = Proofs::new(state.path());
        assert!(proofs.is_proved("n", "t") && proofs.is_proved("o", "r"));
    }

    #[test]
    fn no_token_proves_nothing() {
        let state = tempfile::tempdir().unwrap();
        let proofs = Proofs::new(state.path());
        proofs.prove("n", "");
        assert!(!proofs.is_proved("n", "") && !proofs.knows("n"));
    }

    #[test]
    fn a_state_directory_that_cannot_be_used_costs_only_the_memory() {
        let proofs = Proofs::new(Path::new("/proc/no-such-place"));
        proofs.prove("n", "t");
        assert!(proofs.is_proved("n", "t"));
        let problem = proofs.problem().unwrap();
        assert!(problem.contains("/proc/no-such-place"), "{problem}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_proof_is_awaited_for_its_node_and_token_alone() {
        let state = tempfile::tempdir().unwrap();
        let proofs = Proofs::new(state.path());
        let token = Secret::new("t");
        let waiting = proofs.wait("n", &token);
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        proofs.prove("n", "another");
        proofs.prove("m", "t");
        let soon = Duration::from_secs(1);
        assert!(tokio::time::timeout(soon, &mut waiting).await.is_err());
        proofs.prove("n", "t");
        waiting.await;
        proofs.wait("n", &token).await;
    }
}
