//! Files that hold a secret.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ironic_text::Secret;

use super::{ConfigError, MAX_SECRET_BYTES};

/// A file that the value of a secret option is read from.
#[derive(Debug)]
pub(super) struct SecretFile {
    /// The secret option.
    pub(super) option: &'static str,
    /// The file.
    pub(super) path: PathBuf,
}

/// What a [`SecretFile`] holds.
pub(super) struct SecretText {
    pub(super) text: Secret,
    /// Whether every user of the machine can read the file.
    pub(super) is_readable_by_all: bool,
}

impl SecretFile {
    /// Reads the file, once: it may be a pipe.
    pub(super) fn read(&self) -> Result<SecretText, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable {
            path: self.path.clone(),
            source,
        };
        let (bytes, mode) = read_bounded(&self.path).map_err(unreadable)?;
        let text = String::from_utf8(bytes).unwrap_or_default();
        let text = text.trim_end();
        if text.is_empty() || text.len() > MAX_SECRET_BYTES || text.contains(char::is_control) {
            return Err(ConfigError::NoSecret {
                option: self.option,
                path: self.path.clone(),
            });
        }
        Ok(SecretText {
            text: Secret::new(text),
            is_readable_by_all: mode & 0o004 != 0,
        })
    }
}

/// The beginning of a file, enough to see that it is too long, and the file's mode.
fn read_bounded(path: &Path) -> std::io::Result<(Vec<u8>, u32)> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    let most = u64::try_from(MAX_SECRET_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    file.take(most + 2).read_to_end(&mut bytes)?;
    Ok((bytes, mode))
}
