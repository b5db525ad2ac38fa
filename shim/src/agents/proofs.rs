//! The tokens that are known to be their nodes': whose sessions are believed.
//!
//! Any caller that reaches `ConductorService` may open a session and say anything. Only Ironic
//! and the agent know the node's token, so a session is proved by a heartbeat that Ironic
//! accepts, by the lookup in which this program handed the token out, or by the agent itself,
//! which takes that token. Digests of proved tokens are kept in the state directory: after a
//! restart an agent's next session is proved by its first message, not by a heartbeat minutes
//! later. Gateways that share their nodes exchange these lines: each has a [`LogicalTime`], of
//! a node's proofs the latest counts, and a [revision](Proofs::since) says what is new.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ironic_program::state_file;
use ironic_text::{Secret, constant_time_eq};
use ironic_transport::Sha256Digest;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::watch;

use super::logical_time::LogicalTime;
use super::node_key::NodeKey;
use super::waiters::NodeWaiters;

/// A node and the digest of its token: a line of the file, where of a node's lines the last
/// counts, and what gateways that share their nodes give each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofLine {
    /// The node.
    pub node_uuid: String,
    /// Its token.
    pub token_sha256: TokenDigest,
    /// When the token was proved.
    #[serde(default)]
    pub proved_at: LogicalTime,
}

/// SHA-256 of a token; in files and between gateways in hexadecimal. Comparing digests takes a time
/// that says nothing about the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenDigest(Sha256Digest);

impl TokenDigest {
    /// The digest of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256Digest::of(token))
    }

    /// Whether it is the digest of this token. It takes the same time wherever the digests differ.
    #[must_use]
    pub fn is_of(&self, token: &str) -> bool {
        constant_time_eq(self.0.as_bytes(), Self::of(token).0.as_bytes())
    }
}

impl From<TokenDigest> for String {
    fn from(digest: TokenDigest) -> Self {
        digest.0.to_string()
    }
}

/// A text is not the digest of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a digest of a token is 64 hexadecimal digits")]
pub struct InvalidDigest;

impl TryFrom<String> for TokenDigest {
    type Error = InvalidDigest;

    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        text.parse().map(Self).map_err(|_| InvalidDigest)
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
    proved: Mutex<ProvedTokens>,
    /// The latest revision, for those who pass proofs on.
    revision: watch::Sender<u64>,
    /// Where proofs are appended; made when the first comes.
    log: Mutex<Option<File>>,
    /// Why the last proof was not kept.
    problem: Mutex<Option<String>>,
    /// Callers that wait for the proof of a node.
    waiting: NodeWaiters,
}

#[derive(Debug, Default)]
struct ProvedTokens {
    nodes: HashMap<NodeKey, ProvedToken>,
    /// Grows by one with each change.
    revision: u64,
}

#[derive(Debug)]
struct ProvedToken {
    digest: TokenDigest,
    at: LogicalTime,
    revision: u64,
}

impl ProvedTokens {
    /// Replaces the token of a node. The revision of the change.
    fn insert(&mut self, line: ProofLine) -> u64 {
        self.revision += 1;
        let token = ProvedToken {
            digest: line.token_sha256,
            at: line.proved_at,
            revision: self.revision,
        };
        self.nodes.insert(line.node_uuid.as_str().into(), token);
        self.revision
    }

    fn line(&self, node: &NodeKey) -> Option<ProofLine> {
        let token = self.nodes.get(node)?;
        Some(ProofLine {
            node_uuid: node.to_string(),
            token_sha256: token.digest,
            proved_at: token.at,
        })
    }
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
        let mut proved = ProvedTokens::default();
        for line in lines {
            proved.insert(line);
        }
        Self(Arc::new(ProofTable {
            file: Some(file),
            revision: watch::Sender::new(proved.revision),
            proved: Mutex::new(proved),
            log: Mutex::new(None),
            problem: Mutex::default(),
            waiting: NodeWaiters::default(),
        }))
    }

    /// Whether this token is known to be this node's. No token never is.
    #[must_use]
    pub fn is_proved(&self, node: &str, token: &str) -> bool {
        // Digest and key are made before the table is locked, for which all others wait.
        !token.is_empty() && self.has(node, TokenDigest::of(token))
    }

    /// The same by the digest of the token, for who asks again and again.
    #[must_use]
    pub fn has(&self, node: &str, digest: TokenDigest) -> bool {
        let node = NodeKey::from(node);
        let proved = lock(&self.0.proved);
        let known = proved.nodes.get(&node);
        known.is_some_and(|known| known.digest == digest)
    }

    /// Whether some token of this node was proved.
    #[must_use]
    pub fn knows(&self, node: &str) -> bool {
        let node = NodeKey::from(node);
        lock(&self.0.proved).nodes.contains_key(&node)
    }

    /// How many nodes are known.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.0.proved).nodes.len()
    }

    /// Why the last proof was not kept, for a person: nothing is wrong until one is not.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        lock(&self.0.problem).clone()
    }

    /// The nodes of which some token was proved.
    #[must_use]
    pub fn nodes(&self) -> Vec<String> {
        let proved = lock(&self.0.proved);
        proved.nodes.keys().map(ToString::to_string).collect()
    }

    /// Whether a token of another node was proved: a program beside one agent serves one node.
    #[must_use]
    pub fn knows_other_than(&self, node: &str) -> bool {
        let node = NodeKey::from(node);
        let proved = lock(&self.0.proved);
        proved.nodes.keys().any(|known| *known != node)
    }

    /// From now on this token is the node's, and no earlier one.
    pub fn prove(&self, node: &str, token: &str) {
        if !token.is_empty() {
            self.prove_digest(node, TokenDigest::of(token));
        }
    }

    /// The same by the digest of a token that is not empty.
    pub fn prove_digest(&self, node: &str, digest: TokenDigest) {
        // Almost every heartbeat, which need not wait for the file.
        if self.has(node, digest) {
            return self.0.waiting.wake(node);
        }
        self.record(node, |known| {
            let is_known = known.is_some_and(|known| known.digest == digest);
            let earlier = known.map(|known| known.at).unwrap_or_default();
            (!is_known).then(|| ProofLine {
                node_uuid: node.to_owned(),
                token_sha256: digest,
                proved_at: earlier.next(),
            })
        });
    }

    /// Takes over what another gateway has proved, unless a later proof is known. Whether it
    /// was news.
    pub fn merge(&self, line: ProofLine) -> bool {
        let node = line.node_uuid.clone();
        // Two gateways that prove different tokens at the same instant agree on one.
        let rank = (line.proved_at, line.token_sha256);
        self.record(&node, |known| {
            let is_news = known.is_none_or(|known| (known.at, known.digest) < rank);
            is_news.then_some(line)
        })
    }

    /// At most `most` proofs that are newer than a revision, and the revision of the last of
    /// them, from which to go on.
    #[must_use]
    pub fn since(&self, revision: u64, most: usize) -> (Vec<ProofLine>, u64) {
        let proved = lock(&self.0.proved);
        let tokens = proved.nodes.iter();
        let mut newer: Vec<_> = tokens
            .filter(|(_, token)| token.revision > revision)
            .map(|(node, token)| (token.revision, node))
            .collect();
        newer.sort_unstable_by_key(|(revision, _)| *revision);
        newer.truncate(most);
        let last = newer.last().map_or(revision, |(revision, _)| *revision);
        let lines = newer.into_iter();
        let lines = lines.filter_map(|(_, node)| proved.line(node)).collect();
        (lines, last)
    }

    /// Says when there are newer proofs than before.
    #[must_use]
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.0.revision.subscribe()
    }

    /// Keeps what is new beside what is known of a node, and wakes those who waited for a proof of it.
    /// Whether anything was new.
    fn record(
        &self,
        node: &str,
        news: impl FnOnce(Option<&ProvedToken>) -> Option<ProofLine>,
    ) -> bool {
        // The file has the lines in the order in which they came to count: its last one does after a
        // restart. Callers that only ask what is proved do not wait for the file.
        let key = NodeKey::from(node);
        let mut log = lock(&self.0.log);
        let new = {
            let mut proved = lock(&self.0.proved);
            let line = news(proved.nodes.get(&key));
            line.map(|line| (proved.insert(line.clone()), line))
        };
        let is_news = new.is_some();
        if let Some((revision, line)) = new {
            self.keep(&mut log, &line);
            self.0.revision.send_replace(revision);
        }
        drop(log);
        self.0.waiting.wake(node);
        is_news
    }

    /// Completes when this token is proved to be this node's. The number of callers is theirs to
    /// bound.
    pub async fn wait(&self, node: &str, token: &Secret) {
        loop {
            let waiter = self.0.waiting.join(node);
            let notified = waiter.happened.notified();
            tokio::pin!(notified);
            // From here on no proof is missed.
            notified.as_mut().enable();
            if self.is_proved(node, token.reveal()) {
                return;
            }
            notified.await;
        }
    }

    fn keep(&self, log: &mut Option<File>, line: &ProofLine) {
        let Some(file) = &self.0.file else {
            return;
        };
        let kept = self.append(file, log, line);
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
        let mut text = Vec::new();
        let (lines, _) = self.since(0, usize::MAX);
        for line in &lines {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        state_file::replace(path, &text)?;
        OpenOptions::new().append(true).open(path)
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

    /// Two heartbeats with different tokens of a node, and what another gateway says of it.
    #[test]
    fn after_a_restart_the_proof_counts_that_counted_before() {
        let state = tempfile::tempdir().unwrap();
        let proofs = Proofs::new(state.path());
        for round in 0..100 {
            let node = format!("n{round}");
            std::thread::scope(|scope| {
                for token in ["a", "b", "c", "d"] {
                    let (proofs, node) = (&proofs, &node);
                    scope.spawn(move || proofs.prove(node, token));
                }
            });
        }
        let lines = |proofs: &Proofs| {
            let mut lines = proofs.since(0, usize::MAX).0;
            lines.sort_by(|one, other| one.node_uuid.cmp(&other.node_uuid));
            lines
        };
        assert_eq!(lines(&Proofs::new(state.path())), lines(&proofs));
    }

    #[test]
    fn a_digest_is_read_as_it_is_written_and_nothing_else_is() {
        let digest = TokenDigest::of("t");
        let text = String::from(digest);
        assert_eq!(TokenDigest::try_from(text.clone()), Ok(digest));
        for wrong in [
            String::new(),
            text[..62].to_owned(),
            format!("{text}00"),
            format!("+{}", &text[1..]),
            format!("{}ß", &text[..62]),
        ] {
            assert_eq!(TokenDigest::try_from(wrong), Err(InvalidDigest));
        }
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
    fn of_two_gateways_proofs_the_later_counts_in_any_order_of_arrival() {
        let (here, there) = (Proofs::default(), Proofs::default());
        let news = |proofs: &Proofs| proofs.since(0, usize::MAX).0;
        here.prove("n", "first");
        for line in news(&here) {
            assert!(there.merge(line.clone()));
            assert!(!there.merge(line), "it is known");
        }
        let first = news(&here);
        there.prove("n", "second");
        for line in news(&there) {
            assert!(here.merge(line));
        }
        for line in first {
            assert!(!here.merge(line.clone()) && !there.merge(line));
        }
        for proofs in [&here, &there] {
            assert!(proofs.is_proved("n", "second") && !proofs.is_proved("n", "first"));
        }
        // Proved by both in the same instant: they agree whichever hears first.
        let line = |token: &str| ProofLine {
            node_uuid: "m".into(),
            token_sha256: TokenDigest::of(token),
            proved_at: LogicalTime::default(),
        };
        for (proofs, order) in [(&here, ["a", "b"]), (&there, ["b", "a"])] {
            for token in order {
                proofs.merge(line(token));
            }
        }
        assert_eq!(here.is_proved("m", "a"), there.is_proved("m", "a"));
    }

    #[test]
    fn new_proofs_since_a_revision_come_in_parts() {
        let proofs = Proofs::default();
        for node in ["a", "b", "c"] {
            proofs.prove(node, "t");
        }
        let named = |lines: Vec<ProofLine>| -> Vec<String> {
            lines.into_iter().map(|line| line.node_uuid).collect()
        };
        let (lines, revision) = proofs.since(0, 2);
        assert_eq!(named(lines), ["a", "b"]);
        let (lines, revision) = proofs.since(revision, 2);
        assert_eq!(named(lines), ["c"]);
        assert_eq!(*proofs.revisions().borrow(), revision);
        // The same token again is no news, another one is.
        proofs.prove("a", "t");
        proofs.prove("b", "u");
        let (lines, _) = proofs.since(revision, 2);
        assert_eq!(named(lines), ["b"]);
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
        // An agent that hangs up while it waits leaves nothing.
        {
            let given_up = proofs.wait("n", &token);
            tokio::pin!(given_up);
            assert!(futures_util::poll!(&mut given_up).is_pending());
            assert_eq!(proofs.0.waiting.count(), 1);
        }
        assert_eq!(proofs.0.waiting.count(), 0);
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
