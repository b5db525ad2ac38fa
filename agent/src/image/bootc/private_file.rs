//! Files that only root may read and that do not outlive their owner.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::system::PathPrefix;

/// A file that only root may read and that does not outlive its owner.
#[derive(Debug)]
pub(super) struct PrivateFile(Option<PathBuf>);

impl PrivateFile {
    /// A file in `directory` of the machine at `root`, which is made if it is missing.
    pub(super) fn new(
        root: &PathPrefix,
        directory: &str,
        prefix: &str,
        text: &str,
    ) -> io::Result<Self> {
        let directory = root.writable(directory)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)?;
        let path = directory.join(format!("{prefix}{}.json", uuid::Uuid::new_v4()));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        let kept = Self(Some(path));
        file.write_all(text.as_bytes())?;
        Ok(kept)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.as_deref().unwrap_or_else(|| Path::new(""))
    }

    pub(super) fn remove(mut self) -> io::Result<()> {
        self.0.take().map_or(Ok(()), fs::remove_file)
    }
}

impl Drop for PrivateFile {
    fn drop(&mut self) {
        if let Some(path) = self.0.take()
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::warn!(path = %path.display(), %error, "a private file was not deleted");
        }
    }
}
