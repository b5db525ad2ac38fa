//! The agent token: which one counts after a lookup, and the memory of it across a restart of
//! the process.
//!
//! Ironic hands a token out once and answers `******` ever after, so the Python agent that is
//! restarted can do nothing but idle. Ours keeps the token in its state directory, which lives
//! in memory and dies with the boot, and goes on. A token of another boot or another node is
//! not taken.

use std::io;
use std::path::Path;

use ironic_program::{MASKED_TOKEN, is_agent_token};
use ironic_text::Secret;
use serde::{Deserialize, Serialize};

use super::boot_file::BootFile;
use crate::system::PathPrefix;

/// What a lookup's answer means for the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Use this one from now on.
    Adopt(Secret),
    /// Go on with the one that is held, or with none.
    Keep,
    /// Somebody else was given the token: nothing this agent says will be believed.
    Taken,
}

/// Decides by the answered text, the configured token and the one that this boot's earlier
/// process was given.
#[must_use]
pub fn decide(answered: &Secret, held: Option<&Secret>, remembered: Option<Secret>) -> Decision {
    let text = answered.reveal();
    if text == MASKED_TOKEN {
        // What was adopted replaced what was configured, so it comes first again.
        return match (remembered, held) {
            (Some(remembered), _) => Decision::Adopt(remembered),
            (None, Some(_)) => Decision::Keep,
            (None, None) => Decision::Taken,
        };
    }
    if is_agent_token(text) {
        return Decision::Adopt(answered.clone());
    }
    Decision::Keep
}

/// The memory of the token: one file that only root can read.
#[derive(Debug, Clone)]
pub struct TokenMemory(BootFile);

#[derive(Serialize, Deserialize)]
struct StoredToken {
    node_uuid: String,
    agent_token: String,
}

impl TokenMemory {
    /// The memory in a state directory, for the boot that `root` is in.
    #[must_use]
    pub fn new(state_dir: &Path, root: &PathPrefix) -> Self {
        Self(BootFile::new(state_dir.join("agent-token.json"), root))
    }

    /// The token of a node, if this boot's earlier process adopted one.
    #[must_use]
    pub fn recall(&self, node_uuid: &str) -> Option<Secret> {
        let remembered: StoredToken = self.0.recall()?;
        let ours = remembered.node_uuid == node_uuid;
        ours.then(|| Secret::new(remembered.agent_token))
    }

    /// Remembers the token of a node.
    ///
    /// # Errors
    /// Those of writing; the old memory is whole then.
    pub fn keep(&self, node_uuid: &str, token: &Secret) -> io::Result<()> {
        self.0.keep(&StoredToken {
            node_uuid: node_uuid.to_owned(),
            agent_token: token.reveal().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conductor::boot_file::tests::machine;

    const LONG: &str = "0123456789abcdef0123456789abcdef";

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    /// Contract rows 85 to 88.
    #[test]
    fn short_and_masked_answers_do_not_replace_a_token() {
        let configured = || Some(secret("K"));
        let remembered = || Some(secret("R"));
        let cases = [
            (LONG, None, None, Decision::Adopt(secret(LONG))),
            (
                LONG,
                configured(),
                remembered(),
                Decision::Adopt(secret(LONG)),
            ),
            (&LONG[1..], None, None, Decision::Keep),
            ("********", None, None, Decision::Keep),
            ("", None, None, Decision::Keep),
            ("", None, remembered(), Decision::Keep),
            ("******", configured(), None, Decision::Keep),
            ("******", None, None, Decision::Taken),
            ("******", None, remembered(), Decision::Adopt(secret("R"))),
            (
                "******",
                configured(),
                remembered(),
                Decision::Adopt(secret("R")),
            ),
        ];
        for (answered, held, remembered, decision) in cases {
            let decided = decide(&secret(answered), held.as_ref(), remembered);
            assert_eq!(decided, decision, "{answered}");
        }
    }

    #[test]
    fn remembers_within_one_boot_and_for_one_node() {
        let state = tempfile::tempdir().unwrap();
        let state = state.path();
        let (_first, first) = machine("boot-1\n");
        let memory = TokenMemory::new(state, &first);
        assert_eq!(memory.recall("node"), None);
        memory.keep("node", &secret("old")).unwrap();
        memory.keep("node", &secret("new")).unwrap();

        let again = TokenMemory::new(state, &first);
        assert_eq!(again.recall("node"), Some(secret("new")));
        assert_eq!(again.recall("other"), None);
        let (_second, second) = machine("boot-2\n");
        assert_eq!(TokenMemory::new(state, &second).recall("node"), None);
    }
}
