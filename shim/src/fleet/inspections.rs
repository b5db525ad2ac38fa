//! The last inspection report of each node, as a file in the state directory.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ironic_program::state_file;
use prost_types::Timestamp;
use serde_json::{Map, Value};
use thiserror::Error;

/// The largest report that is kept, in bytes of JSON. It fits into a message of gRPC.
const MAX_REPORT_BYTES: usize = 3 * 1024 * 1024;

/// A log archive, which a report may carry, is not kept.
const LOGS: &str = "logs";

/// Why a report is not kept or not found.
#[derive(Debug, Error)]
pub enum InspectionError {
    /// It is too large.
    #[error("the report has {0} bytes, of which {MAX_REPORT_BYTES} are kept at most")]
    TooLarge(usize),
    /// It is no JSON, or cannot be written as such.
    #[error("{path} is not a report")]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The file cannot be written or read.
    #[error("{path} cannot be used")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A report that was kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct KeptInspection {
    pub(super) report: Map<String, Value>,
    /// When it came, by this program's clock.
    pub(super) received_at: Timestamp,
}

/// The reports of all nodes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Inspections {
    directory: PathBuf,
}

impl Inspections {
    /// Reports below a state directory.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self {
            directory: state.join("inspections"),
        }
    }

    /// Keeps a report in place of the last one. Blocks.
    ///
    /// # Errors
    /// It is too large, or cannot be written; the last one stays.
    pub fn keep(&self, node_uuid: &str, report: Map<String, Value>) -> Result<(), InspectionError> {
        let mut report = report;
        report.remove(LOGS);
        let path = self.path(node_uuid);
        let text = serde_json::to_vec(&report).map_err(|source| InspectionError::Json {
            path: path.clone(),
            source,
        })?;
        if text.len() > MAX_REPORT_BYTES {
            return Err(InspectionError::TooLarge(text.len()));
        }
        let kept = state_file::replace(&path, &text);
        kept.map_err(|source| InspectionError::File { path, source })
    }

    /// The last report of a node; `None` if there is none. Blocks.
    pub(super) fn get(&self, node_uuid: &str) -> Result<Option<KeptInspection>, InspectionError> {
        let path = self.path(node_uuid);
        let unusable = |source| InspectionError::File {
            path: path.clone(),
            source,
        };
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(error)),
        };
        let metadata = fs::metadata(&path).map_err(unusable)?;
        let report = serde_json::from_slice(&text).map_err(|source| InspectionError::Json {
            path: path.clone(),
            source,
        })?;
        Ok(Some(KeptInspection {
            report,
            received_at: Timestamp {
                seconds: metadata.mtime(),
                nanos: i32::try_from(metadata.mtime_nsec()).unwrap_or_default(),
            },
        }))
    }

    fn path(&self, node_uuid: &str) -> PathBuf {
        self.directory.join(format!("{node_uuid}.json"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn the_last_report_is_kept_without_its_logs() {
        let state = tempfile::tempdir().unwrap();
        let inspections = Inspections::new(state.path());
        assert_eq!(inspections.get("n").unwrap(), None);
        inspections
            .keep("n", object(json!({"inventory": 1})))
            .unwrap();
        let report = object(json!({"inventory": 2, "logs": "x".repeat(MAX_REPORT_BYTES)}));
        inspections.keep("n", report).unwrap();
        let large = object(json!({"inventory": "x".repeat(MAX_REPORT_BYTES)}));
        let error = inspections.keep("n", large).unwrap_err();
        assert!(matches!(error, InspectionError::TooLarge(_)), "{error}");
        let kept = Inspections::new(state.path()).get("n").unwrap().unwrap();
        assert_eq!(kept.report, object(json!({"inventory": 2})));
        assert!(kept.received_at.seconds > 1_600_000_000);
        assert_eq!(inspections.get("m").unwrap(), None);
    }
}
