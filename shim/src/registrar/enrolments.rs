//! The machines that were taken although no file describes them, and their names.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Machines that are taken at most.
const MAX_ENROLMENTS: usize = 65_536;

/// Why a machine is not taken.
#[derive(Debug, Error)]
pub enum AdmissionError {
    /// There are as many as there may be.
    #[error("{MAX_ENROLMENTS} machines were taken already: describe this one in node_dir")]
    Full,
    /// It could not be noted, and would have another name after a restart.
    #[error("{path} cannot be written")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct EnrolmentLine {
    uuid: String,
    name: String,
}

/// The machines that were taken, with their names, kept in the state directory.
#[derive(Debug)]
pub struct Enrolments {
    file: PathBuf,
    names: Mutex<HashMap<String, String>>,
}

impl Enrolments {
    /// Reads what an earlier process kept in the state directory.
    ///
    /// # Errors
    /// The file is there and cannot be read: names would be given twice.
    pub fn open(state: &Path) -> io::Result<Self> {
        let file = state.join("enrolled-nodes.jsonl");
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        // A line that a crash cut short was never answered to its machine.
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<EnrolmentLine>(line).ok());
        let names = lines.map(|line| (line.uuid, line.name)).collect();
        Ok(Self {
            file,
            names: Mutex::new(names),
        })
    }

    /// The machines and their names.
    #[must_use]
    pub fn all(&self) -> Vec<(String, String)> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs = names.iter();
        pairs
            .map(|(uuid, name)| (uuid.clone(), name.clone()))
            .collect()
    }

    /// The name of a machine, which is taken from now on.
    ///
    /// # Errors
    /// It was not taken.
    pub fn enrol(&self, uuid: &str) -> Result<String, AdmissionError> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names.get(uuid) {
            return Ok(name.clone());
        }
        if names.len() >= MAX_ENROLMENTS {
            return Err(AdmissionError::Full);
        }
        let line = EnrolmentLine {
            uuid: uuid.to_owned(),
            name: format!("node-{}", names.len() + 1),
        };
        let kept = self.append(&line);
        kept.map_err(|source| AdmissionError::Unwritable {
            path: self.file.clone(),
            source,
        })?;
        names.insert(line.uuid, line.name.clone());
        Ok(line.name)
    }

    fn append(&self, line: &EnrolmentLine) -> io::Result<()> {
        if let Some(directory) = self.file.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.file)?;
        // It begins with a line break: what a crash cut short must not take this line with it.
        let text = format!("\n{}\n", serde_json::to_string(line)?);
        file.write_all(text.as_bytes())?;
        file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0a000000-0000-4000-8000-000000000000";
    const B: &str = "0b000000-0000-4000-8000-000000000000";

    #[test]
    fn names_survive_a_restart_and_a_line_that_was_cut_short() {
        let state = tempfile::tempdir().unwrap();
        let enrolments = Enrolments::open(state.path()).unwrap();
        assert_eq!(enrolments.enrol(A).unwrap(), "node-1");
        assert_eq!(enrolments.enrol(A).unwrap(), "node-1");
        let path = state.path().join("enrolled-nodes.jsonl");
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"\n{\"uuid\": \"0c").unwrap();
        let enrolments = Enrolments::open(state.path()).unwrap();
        assert_eq!(enrolments.enrol(B).unwrap(), "node-2");
        let enrolments = Enrolments::open(state.path()).unwrap();
        assert_eq!(enrolments.all().len(), 2);
        assert_eq!(enrolments.enrol(B).unwrap(), "node-2");
    }

    #[test]
    fn a_machine_that_cannot_be_noted_is_not_taken() {
        let enrolments = Enrolments::open(Path::new("/proc/no-such-place")).unwrap();
        let error = enrolments.enrol(A).unwrap_err();
        assert!(matches!(error, AdmissionError::Unwritable { .. }));
        assert_eq!(enrolments.all(), []);
    }
}
