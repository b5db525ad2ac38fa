//! The file of a policy, which counts as it was when it was last right.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;
use tokio::sync::watch;

use super::rules::{InvalidPolicy, Policy};

/// The largest file, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A file that is no policy.
#[derive(Debug, Error)]
#[error("option fleet_policy_file: {path}, line {line}")]
pub struct PolicyFileError {
    /// The file.
    pub path: PathBuf,
    /// The line of the fault, from 1; 0 if the file cannot be read.
    pub line: u64,
    /// What it is.
    #[source]
    pub source: InvalidPolicy,
}

/// What counts since a change of the file.
#[derive(Debug, Clone)]
pub(in crate::fleet) struct PolicyVersion {
    /// Grows with each change.
    pub(in crate::fleet) number: u64,
    pub(in crate::fleet) policy: Arc<Policy>,
}

/// A policy that is read again when its file changes.
#[derive(Debug)]
pub(in crate::fleet) struct PolicyFile {
    path: PathBuf,
    /// What was read last, right or wrong. `None`: it could not be read.
    read: Mutex<Option<String>>,
    current: watch::Sender<PolicyVersion>,
}

impl PolicyFile {
    /// Reads a file. Blocks.
    pub(in crate::fleet) fn open(path: &Path) -> Result<Self, PolicyFileError> {
        let failed = |(line, source)| PolicyFileError {
            path: path.to_owned(),
            line,
            source,
        };
        let text = read(path).map_err(|source| failed((0, source)))?;
        let policy = Policy::parse(&text).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            read: Mutex::new(Some(text)),
            current: watch::Sender::new(PolicyVersion {
                number: 1,
                policy: Arc::new(policy),
            }),
        })
    }

    /// What counts.
    pub(in crate::fleet) fn current(&self) -> PolicyVersion {
        self.current.borrow().clone()
    }

    /// Says when something else counts.
    pub(in crate::fleet) fn changes(&self) -> watch::Receiver<PolicyVersion> {
        self.current.subscribe()
    }

    /// Reads the file again if it is another one. Whether something else counts from now on. Blocks.
    ///
    /// # Errors
    /// It is wrong: what counted still counts. Each wrong content is an error once.
    pub(in crate::fleet) fn refresh(&self) -> Result<bool, PolicyFileError> {
        let failed = |(line, source)| PolicyFileError {
            path: self.path.clone(),
            line,
            source,
        };
        let text = read(&self.path);
        let mut last = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let text = match text {
            Ok(text) if last.as_ref() == Some(&text) => return Ok(false),
            Ok(text) => last.insert(text).clone(),
            Err(_) if last.is_none() => return Ok(false),
            Err(source) => {
                *last = None;
                return Err(failed((0, source)));
            }
        };
        let policy = Arc::new(Policy::parse(&text).map_err(failed)?);
        Ok(self.current.send_if_modified(|current| {
            let is_new = *current.policy != *policy;
            if is_new {
                current.number += 1;
                current.policy = policy;
            }
            is_new
        }))
    }
}

fn read(path: &Path) -> Result<String, InvalidPolicy> {
    let mut text = String::new();
    let file = fs::File::open(path)?;
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(InvalidPolicy::TooLarge(MAX_FILE_BYTES / 1024));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use ironic_text::error_chain;

    use super::*;

    #[test]
    fn a_file_that_becomes_wrong_changes_nothing_and_is_named_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy.yaml");
        let write = |text: &str| fs::write(&path, text).unwrap();
        let missing = PolicyFile::open(&path).unwrap_err();
        assert!(
            error_chain(&missing).contains("cannot be read"),
            "{missing}"
        );
        write("rules: [{common_name: a, role: observer}]");
        let file = PolicyFile::open(&path).unwrap();
        assert!(!file.refresh().unwrap());
        let first = file.current();
        write("rules:\n  - {common_name: a, role: king}");
        let error = error_chain(&file.refresh().unwrap_err());
        assert!(error.contains("policy.yaml, line 2"), "{error}");
        assert!(!file.refresh().unwrap(), "it was named");
        assert_eq!(file.current().number, first.number);
        fs::remove_file(&path).unwrap();
        file.refresh().unwrap_err();
        assert!(!file.refresh().unwrap(), "it was named");
        // The same as at first in other words: nothing else counts.
        write("rules:\n  - common_name: a\n    role: observer\n");
        assert!(!file.refresh().unwrap());
        write("rules: []");
        assert!(file.refresh().unwrap());
        assert_eq!(file.current().number, first.number + 1);
    }
}
