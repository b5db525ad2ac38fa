//! The tokens in the state directory, which the gateway and `ironic-shim token` share.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use ironic_program::state_file;
use ironic_text::Secret;
use rustls_pki_types::UnixTime;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{InvalidNewJoinToken, JoinTokenRecord, JoinTokenRefusal, NewJoinToken};

/// Tokens at a time. Each has some 300 bytes in the file, which is written at each use.
const MAX_TOKENS: usize = 10_000;

/// Why the tokens could not be asked or changed.
#[derive(Debug, Error)]
pub enum JoinTokenStoreError {
    /// The file cannot be read or written.
    #[error("the join tokens in {path} cannot be read or written")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "the file {path} does not hold join tokens: restore it, or remove it and make new tokens"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// No token has this identifier.
    #[error("there is no join token {0}")]
    NotFound(String),
    /// There are as many as there may be.
    #[error(
        "there are {MAX_TOKENS} join tokens: revoke some, or wait until they have ended for a day"
    )]
    TooMany,
    /// The new token makes no sense.
    #[error(transparent)]
    Invalid(#[from] InvalidNewJoinToken),
    /// The token proves nothing.
    #[error(transparent)]
    Refused(#[from] JoinTokenRefusal),
}

/// The join tokens of a state directory. Its operations wait for the disk.
#[derive(Debug, Clone)]
pub struct JoinTokens {
    file: PathBuf,
}

/// The content of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JoinTokenFile {
    join_tokens: Vec<JoinTokenRecord>,
}

impl JoinTokens {
    /// The tokens of this directory.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self {
            file: state_dir.join("join-tokens.json"),
        }
    }

    /// Makes a token. What is answered beside its record is the token itself, which is kept
    /// nowhere.
    ///
    /// # Errors
    /// It makes no sense, there are too many, or the file cannot be written.
    pub fn create(
        &self,
        new: NewJoinToken,
        now: UnixTime,
    ) -> Result<(JoinTokenRecord, Secret), JoinTokenStoreError> {
        let (record, token) = new.make(now)?;
        self.change(now, |tokens| {
            if tokens.len() >= MAX_TOKENS {
                return Err(JoinTokenStoreError::TooMany);
            }
            tokens.push(record.clone());
            Ok(())
        })?;
        Ok((record, token))
    }

    /// The tokens, the oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn list(&self, now: UnixTime) -> Result<Vec<JoinTokenRecord>, JoinTokenStoreError> {
        let mut tokens = self.read()?.join_tokens;
        tokens.retain(|token| token.is_remembered(now));
        Ok(tokens)
    }

    /// Ends a token.
    ///
    /// # Errors
    /// There is none with this identifier, or the file cannot be written.
    pub fn revoke(&self, id: &str, now: UnixTime) -> Result<JoinTokenRecord, JoinTokenStoreError> {
        self.change(now, |tokens| {
            let token = tokens.iter_mut().find(|token| token.id == id);
            let token = token.ok_or_else(|| JoinTokenStoreError::NotFound(id.to_owned()))?;
            token.revoked = true;
            Ok(token.clone())
        })
    }

    /// Uses a token once, for a machine that says that it is the node `claimed`. Answers which node
    /// it is. `labels` says those of a node.
    ///
    /// # Errors
    /// The token proves nothing, or the use cannot be written down.
    pub fn redeem(
        &self,
        token: &Secret,
        claimed: Option<&str>,
        labels: impl FnOnce(&str) -> BTreeMap<String, String>,
        now: UnixTime,
    ) -> Result<String, JoinTokenStoreError> {
        let parts = token.reveal().split_once('.');
        let (id, secret) = parts.ok_or(JoinTokenRefusal::Invalid)?;
        self.change(now, |tokens| {
            let record = tokens.iter_mut().find(|token| token.id == id);
            let record = record.ok_or(JoinTokenRefusal::Invalid)?;
            let node_uuid = record.admit(secret, claimed, labels, now)?;
            record.uses += 1;
            Ok(node_uuid)
        })
    }

    /// Changes the tokens while nobody else does. Nothing is written if `change` refuses.
    fn change<T>(
        &self,
        now: UnixTime,
        change: impl FnOnce(&mut Vec<JoinTokenRecord>) -> Result<T, JoinTokenStoreError>,
    ) -> Result<T, JoinTokenStoreError> {
        let _lock = self.lock().map_err(|source| self.failed(source))?;
        let mut file = self.read()?;
        let tokens = &mut file.join_tokens;
        tokens.retain(|token| token.is_remembered(now));
        let answer = change(tokens)?;
        self.write(&file).map_err(|source| self.failed(source))?;
        Ok(answer)
    }

    /// The lock of the file, which ends with what is answered.
    fn lock(&self) -> io::Result<File> {
        if let Some(directory) = self.file.parent() {
            fs::create_dir_all(directory)?;
        }
        let path = self.file.with_extension("lock");
        let lock = match state_file::create(&path, 0o600) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                OpenOptions::new().write(true).open(&path)?
            }
            made => made?,
        };
        lock.lock()?;
        Ok(lock)
    }

    fn read(&self) -> Result<JoinTokenFile, JoinTokenStoreError> {
        let text = match fs::read(&self.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(JoinTokenFile::default());
            }
            read => read.map_err(|source| self.failed(source))?,
        };
        serde_json::from_slice(&text).map_err(|source| JoinTokenStoreError::Damaged {
            path: self.file.clone(),
            source,
        })
    }

    fn write(&self, file: &JoinTokenFile) -> io::Result<()> {
        state_file::replace(&self.file, &serde_json::to_vec(file)?)
    }

    fn failed(&self, source: io::Error) -> JoinTokenStoreError {
        JoinTokenStoreError::File {
            path: self.file.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    use std::time::Duration;

    use super::*;

    const NODE: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    fn new(max_uses: u32) -> NewJoinToken {
        NewJoinToken {
            node_uuid: None,
            labels: BTreeMap::new(),
            max_uses,
            lifetime: Duration::from_secs(100),
        }
    }

    fn redeem(tokens: &JoinTokens, token: &Secret, now: u64) -> Result<String, String> {
        let redeemed = tokens.redeem(token, Some(NODE), |_| BTreeMap::new(), at(now));
        redeemed.map_err(|error| error.to_string())
    }

    #[test]
    fn uses_are_counted_across_restarts_and_handles() {
        let state = tempfile::tempdir().unwrap();
        let tokens = JoinTokens::new(&state.path().join("made/on/demand"));
        let (record, token) = tokens.create(new(2), at(0)).unwrap();
        assert_eq!(redeem(&tokens, &token, 1), Ok(NODE.to_owned()));
        let again = JoinTokens::new(&state.path().join("made/on/demand"));
        assert_eq!(redeem(&again, &token, 2), Ok(NODE.to_owned()));
        let refused = redeem(&tokens, &token, 3).unwrap_err();
        assert!(
            refused.contains("was used as often as it may be (2)"),
            "{refused}"
        );
        let listed = again.list(at(3)).unwrap();
        assert_eq!(
            (listed.len(), listed[0].uses, &listed[0].id),
            (1, 2, &record.id)
        );
        let mode = fs::metadata(&tokens.file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // A day after its end it is forgotten.
        assert_eq!(tokens.list(at(100 + 24 * 3600)).unwrap(), []);
    }

    #[test]
    fn tokens_that_root_makes_can_be_redeemed_by_the_gateway() {
        let state = tempfile::tempdir().unwrap();
        if fs::metadata(state.path()).unwrap().uid() != 0 {
            eprintln!("not run: only root can give files away");
            return;
        }
        chown(state.path(), Some(4711), Some(4711)).unwrap();
        JoinTokens::new(state.path()).create(new(1), at(0)).unwrap();
        for name in ["join-tokens.json", "join-tokens.lock"] {
            let made = fs::metadata(state.path().join(name)).unwrap();
            assert_eq!((made.uid(), made.mode() & 0o777), (4711, 0o600), "{name}");
        }
    }

    #[test]
    fn a_single_use_token_is_redeemed_once() {
        let state = tempfile::tempdir().unwrap();
        let tokens = JoinTokens::new(state.path());
        let (_, token) = tokens.create(new(1), at(0)).unwrap();
        let taken = std::thread::scope(|scope| {
            let racing: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| redeem(&JoinTokens::new(state.path()), &token, 1).is_ok()))
                .collect();
            let ended = racing.into_iter().map(|one| one.join().unwrap());
            ended.filter(|taken| *taken).count()
        });
        assert_eq!(taken, 1);
    }

    #[test]
    fn a_revoked_token_and_strangers_are_refused() {
        let state = tempfile::tempdir().unwrap();
        let tokens = JoinTokens::new(state.path());
        let (record, token) = tokens.create(new(5), at(0)).unwrap();
        let wrong = Secret::new(format!("{}.{}", record.id, "0".repeat(64)));
        for wrong in [
            &wrong,
            &Secret::new("x"),
            &Secret::new(""),
            &Secret::new("a.b"),
        ] {
            let refused = redeem(&tokens, wrong, 1).unwrap_err();
            assert!(refused.contains("is not known here"), "{refused}");
        }
        assert!(tokens.revoke(&record.id, at(1)).unwrap().revoked);
        let refused = redeem(&tokens, &token, 1).unwrap_err();
        assert!(refused.contains("was revoked"), "{refused}");
        let missing = tokens.revoke("nobody", at(1)).unwrap_err().to_string();
        assert_eq!(missing, "there is no join token nobody");
    }

    #[test]
    fn a_damaged_file_is_named_and_kept() {
        let state = tempfile::tempdir().unwrap();
        let tokens = JoinTokens::new(state.path());
        fs::write(&tokens.file, "{").unwrap();
        let error = tokens.create(new(1), at(0)).unwrap_err().to_string();
        assert!(
            error.contains("join-tokens.json does not hold join tokens"),
            "{error}"
        );
        assert_eq!(fs::read(&tokens.file).unwrap(), b"{");
    }
}
