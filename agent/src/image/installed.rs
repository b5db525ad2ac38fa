//! What the last image write left behind, for the commands that come after it.

use std::sync::{Mutex, PoisonError};

use super::Object;

/// The memory of the last image write; empty until there was one.
#[derive(Debug, Default)]
pub struct Installed(Mutex<Object>);

impl Installed {
    /// The partition UUIDs under the names that Ironic reads, for example `root uuid`.
    #[must_use]
    pub fn partition_uuids(&self) -> Object {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Forgets the last image: its disk is about to be overwritten.
    pub(super) fn forget(&self) {
        self.remember(Object::new());
    }

    /// Remembers what was written.
    pub(super) fn remember(&self, uuids: Object) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = uuids;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_last_write_only() {
        let installed = Installed::default();
        assert!(installed.partition_uuids().is_empty());
        let uuids = Object::from_iter([("root uuid".to_owned(), "0x1234".into())]);
        installed.remember(uuids.clone());
        assert_eq!(installed.partition_uuids(), uuids);
        installed.forget();
        assert!(installed.partition_uuids().is_empty());
    }
}
