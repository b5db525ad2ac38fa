//! Documents in files of the operator: JSON or YAML, which holds JSON.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ironic_document::JsonObject;
use serde_json::Value;
use thiserror::Error;

/// Why a file gives no document.
#[derive(Debug, Error)]
pub(crate) enum DocumentFileError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is neither JSON nor YAML.
    #[error("{path} is neither JSON nor YAML")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong where.
        #[source]
        source: serde_saphyr::Error,
    },
    /// It holds something else than an object.
    #[error("{0} must hold an object")]
    NoObject(PathBuf),
}

/// The object in a file.
///
/// # Errors
/// It cannot be read, or holds something else.
pub(crate) fn read_object(path: &Path) -> Result<JsonObject, DocumentFileError> {
    let text = fs::read_to_string(path).map_err(|source| DocumentFileError::Read {
        path: path.to_owned(),
        source,
    })?;
    let value = serde_saphyr::from_str(&text).map_err(|source| DocumentFileError::Parse {
        path: path.to_owned(),
        source,
    })?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(DocumentFileError::NoObject(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_and_yaml_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("document");
        for text in [
            r#"{"logical_disks": [{"size_gb": "MAX", "raid_level": "1"}]}"#,
            "logical_disks:\n  - size_gb: MAX\n    raid_level: \"1\"\n",
        ] {
            fs::write(&path, text).unwrap();
            let expected = json!({"logical_disks": [{"size_gb": "MAX", "raid_level": "1"}]});
            assert_eq!(Value::Object(read_object(&path).unwrap()), expected);
        }
        fs::write(&path, "[1]").unwrap();
        assert!(matches!(
            read_object(&path),
            Err(DocumentFileError::NoObject(_))
        ));
        fs::write(&path, "{").unwrap();
        assert!(matches!(
            read_object(&path),
            Err(DocumentFileError::Parse { .. })
        ));
    }
}
