//! What the last image write left behind, for the commands that come after it, also those
//! after a restart of the agent within one boot.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ironic_document::JsonObject;
use ironic_program::state_file;
use serde_json::{Value, json};

/// The memory of the last image write; empty until there was one.
#[derive(Debug, Default)]
pub struct LastDeployment {
    uuids: Mutex<JsonObject>,
    keeper: Option<DeploymentFile>,
}

/// Where the memory is kept, and for which boot of the machine.
#[derive(Debug)]
struct DeploymentFile {
    path: PathBuf,
    boot: String,
}

impl LastDeployment {
    /// A memory that is kept in the state directory. What an earlier boot left there is not
    /// believed; a kernel that does not tell its boots apart has none.
    #[must_use]
    pub fn kept(state: &Path, boot: Option<&str>) -> Self {
        let Some(boot) = boot else {
            return Self::default();
        };
        let keeper = DeploymentFile {
            path: state.join("installed.json"),
            boot: boot.to_owned(),
        };
        Self {
            uuids: Mutex::new(keeper.load().unwrap_or_default()),
            keeper: Some(keeper),
        }
    }

    /// The partition UUIDs under the names that Ironic reads, for example `root uuid`.
    #[must_use]
    pub fn partition_uuids(&self) -> JsonObject {
        self.uuids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Forgets the last image: its disk is about to be overwritten.
    pub(super) fn forget(&self) {
        self.remember(JsonObject::new());
    }

    /// Remembers what was written.
    pub(crate) fn remember(&self, uuids: JsonObject) {
        if let Some(keeper) = &self.keeper
            && let Err(error) = keeper.store(&uuids)
        {
            tracing::warn!(%error, "what was written would not survive a restart of the agent");
        }
        *self.uuids.lock().unwrap_or_else(PoisonError::into_inner) = uuids;
    }
}

impl DeploymentFile {
    fn load(&self) -> Option<JsonObject> {
        let text = fs::read(&self.path).ok()?;
        let mut document: JsonObject = serde_json::from_slice(&text).ok()?;
        if document.get("boot").and_then(Value::as_str) != Some(&self.boot) {
            return None;
        }
        match document.remove("uuids") {
            Some(Value::Object(uuids)) => Some(uuids),
            _ => None,
        }
    }

    /// Whole or not at all.
    fn store(&self, uuids: &JsonObject) -> io::Result<()> {
        let text = json!({"boot": self.boot, "uuids": uuids}).to_string();
        state_file::replace(&self.path, text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uuids() -> JsonObject {
        JsonObject::from_iter([("root uuid".to_owned(), "0x1234".into())])
    }

    #[test]
    fn remembers_the_last_write_only() {
        let installed = LastDeployment::default();
        assert!(installed.partition_uuids().is_empty());
        installed.remember(uuids());
        assert_eq!(installed.partition_uuids(), uuids());
        installed.forget();
        assert!(installed.partition_uuids().is_empty());
    }

    #[test]
    fn a_restart_within_one_boot_forgets_nothing() {
        let dir = tempfile::tempdir().unwrap();
        LastDeployment::kept(dir.path(), Some("one")).remember(uuids());
        let later = LastDeployment::kept(dir.path(), Some("one"));
        assert_eq!(later.partition_uuids(), uuids());
        for boot in [Some("two"), None] {
            let later = LastDeployment::kept(dir.path(), boot);
            assert!(later.partition_uuids().is_empty());
        }
        later.forget();
        let later = LastDeployment::kept(dir.path(), Some("one"));
        assert!(later.partition_uuids().is_empty());
        fs::write(dir.path().join("installed.json"), "{").unwrap();
        let later = LastDeployment::kept(dir.path(), Some("one"));
        assert!(later.partition_uuids().is_empty());
    }
}
